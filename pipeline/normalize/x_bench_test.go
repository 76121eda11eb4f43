package normalize

import (
	"testing"

	"github.com/hoptrace/hoptrace/internal/testevents"
)

// BenchmarkEvent is an event of 20 KB from its payload to the document that is kept.
func BenchmarkEvent(b *testing.B) {
	payload := testevents.Python(1, 7)
	n := NewNormalizer(Config{})
	var out []byte
	b.ReportAllocs()
	b.SetBytes(int64(len(payload)))
	for b.Loop() {
		if _, err := n.Event(Input{Payload: payload, Received: now.UnixNano(), RemoteAddr: "10.0.0.1"}); err != nil {
			b.Fatal(err)
		}
		out = n.AppendJSON(out[:0])
	}
	b.ReportMetric(float64(len(out)), "kept-B")
}
