package bound

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"
)

// event is JSON like that of an SDK: a stack trace of about n bytes.
func event(n int) []byte {
	var b bytes.Buffer
	b.WriteString(`{"event_id":"9ec79c33ec9942ab8353589fcb2e04dc","exception":{"values":[{"type":"CardDeclined","stacktrace":{"frames":[`)
	for i := 0; b.Len() < n; i++ {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"filename":"/srv/shop/payments/charge_%d.go","function":"charge","lineno":%d,"in_app":true,"context_line":"\treturn fmt.Errorf(\"cannot charge: %%w\", err)"}`, i, i)
	}
	b.WriteString(`]}}]}}`)
	return b.Bytes()
}

func BenchmarkMembers(b *testing.B) {
	data := event(20 << 10)
	b.Run("by=own", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		b.ReportAllocs()
		for b.Loop() {
			if err := Members(data, 200, func(_, _ []byte) error { return nil }); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("by=encoding/json", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		b.ReportAllocs()
		for b.Loop() {
			if !json.Valid(data) {
				b.Fatal("not valid")
			}
		}
	})
}
