package clickhouse

import (
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// BenchmarkFind looks records up over 24 hours: by a key that a few records have, by
// one that many have, by a message id and a conversation of one record, by the span
// that it carried, and what lies beside one. Budget at 10 million rows: 200 ms.
func BenchmarkFind(b *testing.B) {
	s, start := loadDay(b)
	at := start.Add(13 * time.Hour).UnixNano()
	row := schemas.Message{
		Project: 1, Side: schemas.SideProduce, Topic: "topic-03", Partition: 1, Offset: 1 << 40, Service: "s", Start: at, End: at + 1, TraceID: schemas.TraceID{9, 9}, SpanID: schemas.SpanID{9, 9},
		CreationTrace: schemas.TraceID{9, 8}, CreationSpan: schemas.SpanID{9, 8}, MessageID: "m-1", Conversation: "c-1", KeyHash: 77, HighWatermark: schemas.Unknown, BodySize: schemas.Unknown, Source: 1 << 40,
	}
	if err := s.WriteSpans(b.Context(), nil, []schemas.Message{row}); err != nil {
		b.Fatal(err)
	}
	day := exporters.Range{From: start, To: start.Add(25 * time.Hour)}
	rows, err := s.MessagesOfRecords(b.Context(), 1, []schemas.RecordRef{row.Record()}, 1)
	if err != nil || len(rows) != 1 {
		b.Fatal(rows, err)
	}
	some, err := s.Hops(b.Context(), exporters.HopQuery{Project: 1, Range: day, Limit: 1})
	if err != nil || len(some) == 0 {
		b.Fatal(some, err)
	}
	common := some[0].Consume.KeyHash
	f := func(name string, q exporters.FindQuery) {
		b.Run(name, func(b *testing.B) {
			q.Project, q.Range, q.Limit = 1, day, 51
			percentiles(b, func() {
				found, err := s.FindRecords(b.Context(), q)
				if err != nil || len(found) == 0 {
					b.Fatalf("found %d, %v", len(found), err)
				}
			})
		})
	}
	f("key=rare", exporters.FindQuery{By: exporters.FindByKey, Keys: []uint64{77}})
	f("key=workload", exporters.FindQuery{By: exporters.FindByKey, Keys: []uint64{common}})
	f("id", exporters.FindQuery{By: exporters.FindByMessageID, Text: "m-1"})
	f("conversation", exporters.FindQuery{By: exporters.FindByConversation, Text: "c-1"})
	f("span", exporters.FindQuery{By: exporters.FindBySpan, Span: row.CreationSpan})
	b.Run("near", func(b *testing.B) {
		percentiles(b, func() {
			if near, err := s.NearRecords(b.Context(), 1, row.Record()); err != nil || near.Before == nil {
				b.Fatal(near, err)
			}
		})
	})
}
