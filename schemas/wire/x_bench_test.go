package wire

import (
	"bytes"
	"testing"
)

// BenchmarkIngestEvent gives what wrapping an event of 20 KiB costs.
func BenchmarkIngestEvent(b *testing.B) {
	m := IngestEvent{
		Type: "event", Payload: bytes.Repeat([]byte("x"), 20<<10), StartTime: 1_790_000_000, EventID: id32, ProjectID: 7, RemoteAddr: "192.0.2.1",
	}
	raw := m.AppendMsgpack(nil)
	b.Run("append", func(b *testing.B) {
		b.ReportAllocs()
		var buf []byte
		for b.Loop() {
			buf = m.AppendMsgpack(buf[:0])
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		var out IngestEvent
		for b.Loop() {
			if err := out.DecodeMsgpack(raw); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkEventsInsert is the same of a grouped event with 20 KiB of data.
func BenchmarkEventsInsert(b *testing.B) {
	data := []byte(`{"frames":["` + string(bytes.Repeat([]byte("main.go "), 20<<10/8)) + `"]}`)
	m := EventsInsert{Event: InsertedEvent{EventID: id32, GroupID: 1, PrimaryHash: id32, ProjectID: 7, Datetime: "2026-11-30T10:00:00Z", Message: "boom", Platform: "go", Data: data}}
	raw := m.AppendJSON(nil)
	b.Run("append", func(b *testing.B) {
		b.ReportAllocs()
		var buf []byte
		for b.Loop() {
			buf = m.AppendJSON(buf[:0])
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		var out EventsInsert
		for b.Loop() {
			if err := out.DecodeJSON(raw); err != nil {
				b.Fatal(err)
			}
		}
	})
}
