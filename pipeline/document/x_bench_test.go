package document

import (
	"testing"

	"github.com/hoptrace/hoptrace/internal/testevents"
)

// BenchmarkParse reads an event of 20 KB.
func BenchmarkParse(b *testing.B) {
	payload := testevents.Python(1, 7)
	for _, how := range []struct {
		name string
		f    func(d *Document) error
	}{
		{"fast", func(d *Document) error { _, err := d.Parse(payload); return err }},
		{"slow", func(d *Document) error { d.Reset(); _, err := d.readSlowly(payload); return err }},
	} {
		b.Run("way="+how.name, func(b *testing.B) {
			var d Document
			b.SetBytes(int64(len(payload)))
			b.ReportAllocs()
			for b.Loop() {
				if err := how.f(&d); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
