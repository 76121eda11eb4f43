package otlp

import (
	"fmt"
	"testing"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// kafkaSpans is a request as our instrumentation sends it: spans of messages
// with some 15 attributes each.
func kafkaSpans(n int) ptrace.Traces {
	td := ptrace.NewTraces()
	rs := td.ResourceSpans().AppendEmpty()
	for _, k := range []string{"service.name", "service.version", "host.name", "host.id", "process.pid", "telemetry.sdk.name", "telemetry.sdk.language", "telemetry.sdk.version"} {
		rs.Resource().Attributes().PutStr(k, "some value of it")
	}
	ss := rs.ScopeSpans().AppendEmpty()
	ss.Scope().SetName("github.com/hoptrace/hoptrace/instrumentation/otelkafkago")
	for i := range n {
		s := ss.Spans().AppendEmpty()
		validSpan(s, i)
		s.SetName("process orders")
		s.SetKind(ptrace.SpanKindConsumer)
		a := s.Attributes()
		a.PutStr("messaging.system", "kafka")
		a.PutStr("messaging.operation.name", "process")
		a.PutStr("messaging.operation.type", "process")
		a.PutStr("messaging.destination.name", "orders")
		a.PutStr("messaging.destination.partition.id", "7")
		a.PutStr("messaging.consumer.group.name", "payments")
		a.PutInt("messaging.kafka.offset", int64(1_000_000+i))
		a.PutInt("messaging.message.body.size", 512)
		for _, k := range []string{"asked", "answered", "handed", "appended", "record_time", "high_watermark", "key_hash"} {
			a.PutInt("hoptrace.message."+k, int64(s.StartTimestamp()))
		}
		l := s.Links().AppendEmpty()
		l.SetTraceID(pcommon.TraceID{15: 9})
		l.SetSpanID(pcommon.SpanID{7: 9})
	}
	return td
}

func BenchmarkScan(b *testing.B) {
	data := encode(b, kafkaSpans(512))
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if r, err := Scan(data, testNow); err != nil || r.Items != 512 {
			b.Fatal(r, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/512, "ns/span")
}

func BenchmarkSplit(b *testing.B) {
	data := encode(b, kafkaSpans(8192))
	for _, maxBytes := range []int{MinRecordBytes, 900 << 10} {
		b.Run(fmt.Sprintf("max=%d", maxBytes), func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if _, r, err := Split(data, maxBytes, testNow); err != nil || r.Items != 8192 {
					b.Fatal(r, err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/8192, "ns/span")
		})
	}
}
