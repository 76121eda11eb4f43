package bench

import "testing"

// BenchmarkQuery runs once (-benchtime 1x).
func BenchmarkQuery(b *testing.B) {
	dir, d := loadDay(b)
	b.Logf("%s %d", dir, d.traces())
}
