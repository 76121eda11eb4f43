package persist

import (
	"context"
	"strconv"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/pipeline/consume"
	"github.com/hoptrace/hoptrace/pipeline/hops"
	"github.com/hoptrace/hoptrace/pipeline/ingest"
	"github.com/hoptrace/hoptrace/pipeline/normalize"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/schemas/topics"
)

// benchRequest has spans as a service writes them: every second one is a
// process span with our times, the others have ten plain attributes.
func benchRequest(b *testing.B, n int) []byte {
	b.Helper()
	td := ptrace.NewTraces()
	rs := td.ResourceSpans().AppendEmpty()
	for i := range 8 {
		rs.Resource().Attributes().PutStr("resource.key."+strconv.Itoa(i), "value")
	}
	rs.Resource().Attributes().PutStr("service.name", "payments")
	rs.Resource().Attributes().PutStr("hoptrace.host.boot_id", "b007")
	ss := rs.ScopeSpans().AppendEmpty()
	ss.Scope().SetName("github.com/hoptrace/hoptrace/instrumentation/otelkafkago")
	for i := range n {
		s := ss.Spans().AppendEmpty()
		s.SetTraceID(pcommon.TraceID{1, byte(i), byte(i >> 8)})
		s.SetSpanID(pcommon.SpanID{2, byte(i), byte(i >> 8)})
		s.SetParentSpanID(pcommon.SpanID{3})
		s.SetStartTimestamp(pcommon.NewTimestampFromTime(received))
		s.SetEndTimestamp(pcommon.NewTimestampFromTime(received.Add(time.Millisecond)))
		a := s.Attributes()
		if i%2 == 0 {
			s.SetName("GET /orders/{id}")
			s.SetKind(ptrace.SpanKindServer)
			for j := range 9 {
				a.PutStr("attribute.key."+strconv.Itoa(j), "some value of it")
			}
			a.PutInt("http.response.status_code", 200)
			continue
		}
		s.SetName("process orders")
		s.SetKind(ptrace.SpanKindConsumer)
		a.PutStr("messaging.system", "kafka")
		a.PutStr("messaging.operation.type", "process")
		a.PutStr("messaging.operation.name", "process")
		a.PutStr("messaging.destination.name", "orders")
		a.PutStr("messaging.destination.partition.id", "3")
		a.PutInt("messaging.kafka.offset", int64(1_000_000+i))
		a.PutStr("messaging.consumer.group.name", "payments")
		a.PutStr("messaging.client.id", "payments-1")
		a.PutInt("messaging.message.body.size", 512)
		a.PutInt("hoptrace.consume.asked", received.UnixNano())
		a.PutInt("hoptrace.consume.answered", received.UnixNano())
		a.PutInt("hoptrace.consume.handed", received.UnixNano())
		a.PutInt("hoptrace.consume.record_time", received.UnixNano())
		l := s.Links().AppendEmpty()
		l.SetTraceID(pcommon.TraceID{9})
		l.SetSpanID(pcommon.SpanID{9})
	}
	value, err := ptraceotlp.NewExportRequestFromTraces(td).MarshalProto()
	if err != nil {
		b.Fatal(err)
	}
	return value
}

const benchSpans = 512

func perSpan(b *testing.B, value []byte) {
	n := float64(b.N) * benchSpans
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/n, "ns/span")
	b.ReportMetric(float64(len(value))/benchSpans, "wire-B/span")
}

func BenchmarkDecode(b *testing.B) {
	value := benchRequest(b, benchSpans)
	d := ingest.NewSpanDecoder(ingest.Limits{})
	var spans []schemas.Span
	b.ReportAllocs()
	for b.Loop() {
		d.Reset()
		var err error
		if spans, err = d.Decode(spans[:0], value); err != nil {
			b.Fatal(err)
		}
	}
	perSpan(b, value)
}

func BenchmarkDecodeNormalizeHops(b *testing.B) {
	value := benchRequest(b, benchSpans)
	d := ingest.NewSpanDecoder(ingest.Limits{})
	var spans []schemas.Span
	var messages []schemas.Message
	var dropped normalize.Dropped
	b.ReportAllocs()
	for b.Loop() {
		d.Reset()
		var err error
		if spans, err = d.Decode(spans[:0], value); err != nil {
			b.Fatal(err)
		}
		messages = messages[:0]
		kept := normalize.Spans(normalize.Config{}, spans, received.UnixNano(), &dropped)
		var rows hops.Request
		for i := range kept {
			messages, _ = rows.Derive(messages, &kept[i])
		}
		if len(kept) != benchSpans || len(messages) != benchSpans/2 {
			b.Fatalf("%d spans, %d messages", len(kept), len(messages))
		}
	}
	perSpan(b, value)
}

type sink struct{ spans, messages int }

func (s *sink) WriteSpans(_ context.Context, spans []schemas.Span, messages []schemas.Message) error {
	s.spans, s.messages = s.spans+len(spans), s.messages+len(messages)
	return nil
}

func (*sink) WrittenSpans(context.Context, schemas.Source, int64) (exporters.Written, error) {
	return exporters.Written{}, nil
}

// BenchmarkHandle is a whole batch of 50,000 spans without the store.
func BenchmarkHandle(b *testing.B) {
	value := benchRequest(b, benchSpans)
	h := NewSpans(&sink{}, nil, normalize.DefaultConfig(), ingest.Limits{}, 0, metrics(), quiet())
	ctx := context.Background()
	if err := h.Assigned(ctx, []consume.Partition{partition(schemas.TopicIngestSpans, 0, 0)}); err != nil {
		b.Fatal(err)
	}
	const records = 100
	offset := int64(0)
	batch := make([]consume.Record, records)
	b.ReportAllocs()
	for b.Loop() {
		for i := range batch {
			batch[i] = consume.Record{Topic: schemas.TopicIngestSpans, Offset: offset, Value: value, Headers: headersOnce}
			offset++
		}
		if _, err := h.Handle(ctx, batch); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*records*benchSpans), "ns/span")
}

var headersOnce = headers("42", schemas.SchemaOTLPTraces)

// BenchmarkEvents is a batch of rows without the store.
func BenchmarkEvents(b *testing.B) {
	h := NewEvents(rowSink{}, nil, normalize.DefaultConfig(), metrics(), quiet())
	ctx := context.Background()
	if err := h.Assigned(ctx, []consume.Partition{partition(topics.Events, 0, 0)}); err != nil {
		b.Fatal(err)
	}
	const records = 1000
	one := eventRecord(0, func(r *Row) {
		r.Ingest = 0 // the same record again and again
		r.Tags = []schemas.Attribute{{Key: "region", Value: "eu"}, {Key: "shard", Value: "7"}}
		r.Type, r.Value, r.Culprit, r.Topic, r.Group, r.SDK = "CardDeclined", "card of order 17 declined", "payments.step in run", "orders", "billing", "sentry.python/2.68.0"
	})
	batch := make([]consume.Record, records)
	offset := int64(0)
	b.ReportAllocs()
	for b.Loop() {
		for i := range batch {
			batch[i] = one
			batch[i].Offset = offset
			offset++
		}
		if _, err := h.Handle(ctx, batch); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*records), "ns/event")
}

type rowSink struct{}

func (rowSink) WriteEvents(context.Context, []schemas.Event) error { return nil }

func (rowSink) WrittenIngest(context.Context, schemas.Source, int64) (map[int64]struct{}, error) {
	return map[int64]struct{}{}, nil
}

func (rowSink) WrittenEvents(context.Context, schemas.Source, int64) (map[schemas.Position]struct{}, error) {
	return nil, nil
}
