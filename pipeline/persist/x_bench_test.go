package persist

import (
	"context"
	"fmt"
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
		for i := range kept {
			messages, _ = hops.Derive(messages, &kept[i])
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

func BenchmarkEvent(b *testing.B) {
	h := NewEvents(newStore(), newStore(), newStore(), normalize.DefaultConfig(), metrics(), quiet())
	for _, frames := range []int{5, 50, 250} {
		payload := `{"event_id":"5c4f1b0a9d3e4f7a8b6c5d4e3f2a1b0c","timestamp":1795435198.25,"platform":"go","tags":{"a":"b"},"exception":[{"type":"*errors.errorString","value":"card 4711 declined","stacktrace":{"frames":[`
		for i := range frames {
			if i > 0 {
				payload += ","
			}
			payload += fmt.Sprintf(`{"function":"(*Service).step%d","module":"example.com/shop/payments","abs_path":"/src/payments/service.go","lineno":%d,"in_app":true,"context_line":"return s.next(ctx, order)"}`, i, i)
		}
		r := eventRecord(1, payload+`]}}]}`)
		b.Run(fmt.Sprintf("frames=%d", frames), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(r.Value)))
			for b.Loop() {
				if _, err := h.read(&r, 1, schemas.Position{Offset: 1}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
