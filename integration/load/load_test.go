package load

import (
	"testing"
	"time"

	collectortrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// decode reads all spans of a round by service and id.
func decode(t *testing.T, g *Generator, round uint64, requests [RequestsPerRound][]byte) map[[8]byte]*trace.Span {
	t.Helper()
	out := map[[8]byte]*trace.Span{}
	for i, body := range requests {
		var r collectortrace.ExportTraceServiceRequest
		if err := proto.Unmarshal(body, &r); err != nil {
			t.Fatalf("request %d is broken: %v", i, err)
		}
		n := 0
		want := g.RequestSpanIDs(round, i)
		for _, rs := range r.ResourceSpans {
			for _, ss := range rs.ScopeSpans {
				for _, s := range ss.Spans {
					if [8]byte(s.SpanId) != want[n] {
						t.Fatalf("span %d of request %d has id %x, want %x", n, i, s.SpanId, want[n])
					}
					n++
					out[[8]byte(s.SpanId)] = s
				}
			}
		}
		if n != SpansPerRequest {
			t.Errorf("request %d has %d spans, want %d", i, n, SpansPerRequest)
		}
	}
	return out
}

func attribute(s *trace.Span, key string) (text string, number int64) {
	for _, kv := range s.Attributes {
		if kv.Key == key {
			return kv.Value.GetStringValue(), kv.Value.GetIntValue()
		}
	}
	return "", 0
}

func TestEachRoundHoldsWholeTracesWithNewIdsAndTimesInOrder(t *testing.T) {
	g, err := NewGenerator(3)
	if err != nil {
		t.Fatal(err)
	}
	type record struct {
		topic, partition string
		offset           int64
	}
	ids, records := map[[8]byte]bool{}, map[record]bool{}
	now := time.Now()
	for round := range uint64(3) {
		spans := decode(t, g, round, g.Next(now))
		if len(spans) != TracesPerRound*spansPerTrace {
			t.Fatalf("round %d has %d different span ids, want %d", round, len(spans), TracesPerRound*spansPerTrace)
		}
		traces := g.TraceIDs(round)
		for i := range TracesPerRound {
			own := g.SpanIDs(round, i)
			for which, id := range own {
				s := spans[id]
				if s == nil {
					t.Fatalf("span %d of trace %d of round %d is not there", which, i, round)
				}
				if ids[id] {
					t.Fatalf("span id %x came before", id)
				}
				ids[id] = true
				if [16]byte(s.TraceId) != traces[i] {
					t.Fatalf("span %d of trace %d has trace id %x, want %x", which, i, s.TraceId, traces[i])
				}
				if s.StartTimeUnixNano >= s.EndTimeUnixNano || s.EndTimeUnixNano > uint64(now.UnixNano()) {
					t.Fatalf("span %q runs from %d to %d, now is %d", s.Name, s.StartTimeUnixNano, s.EndTimeUnixNano, now.UnixNano())
				}
				if s.Kind == trace.Span_SPAN_KIND_PRODUCER {
					topic, _ := attribute(s, "messaging.destination.name")
					partition, _ := attribute(s, "messaging.destination.partition.id")
					_, offset := attribute(s, "messaging.kafka.offset")
					r := record{topic, partition, offset}
					if records[r] {
						t.Fatalf("record %v was sent before", r)
					}
					records[r] = true
				}
			}
			for consumer, producer := range map[int]int{process1: send1, process2: send2} {
				c, p := spans[own[consumer]], spans[own[producer]]
				if len(c.Links) != 1 || [8]byte(c.Links[0].SpanId) != own[producer] || [8]byte(c.ParentSpanId) != own[producer] {
					t.Fatalf("process span of trace %d does not link to its producer", i)
				}
				for _, key := range []string{"messaging.destination.name", "messaging.destination.partition.id", "hoptrace.key_hash"} {
					a, _ := attribute(c, key)
					if b, _ := attribute(p, key); a != b || a == "" {
						t.Fatalf("%s is %q at the producer and %q at the consumer", key, b, a)
					}
				}
				_, a := attribute(c, "messaging.kafka.offset")
				if _, b := attribute(p, "messaging.kafka.offset"); a != b || a < firstOffset {
					t.Fatalf("offset is %d at the producer and %d at the consumer", b, a)
				}
				_, asked := attribute(c, "hoptrace.consume.asked")
				_, answered := attribute(c, "hoptrace.consume.answered")
				_, handed := attribute(c, "hoptrace.consume.handed")
				_, written := attribute(p, "hoptrace.produce.written")
				_, acked := attribute(p, "hoptrace.produce.acked")
				if written <= int64(p.StartTimeUnixNano) || acked <= written || answered <= acked || handed <= answered || asked >= answered || handed != int64(c.StartTimeUnixNano) {
					t.Fatalf("times of trace %d are out of order: start %d written %d acked %d asked %d answered %d handed %d", i, p.StartTimeUnixNano, written, acked, asked, answered, handed)
				}
			}
		}
	}
}

func TestTwoSeedsShareNoTrace(t *testing.T) {
	a, b := &Generator{seed: 1}, &Generator{seed: 2}
	seen := map[[16]byte]bool{}
	for round := range uint64(10) {
		for _, g := range []*Generator{a, b} {
			for _, id := range g.TraceIDs(round) {
				if seen[id] {
					t.Fatalf("trace %x came twice", id)
				}
				seen[id] = true
			}
		}
	}
}

func BenchmarkNext(b *testing.B) {
	g, err := NewGenerator(0)
	if err != nil {
		b.Fatal(err)
	}
	var size int
	for _, body := range g.Next(time.Now()) {
		size += len(body)
	}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		g.Next(time.Now())
		n++
	}
	const spans = SpansPerRequest * RequestsPerRound
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n)/spans, "ns/span")
	b.ReportMetric(float64(size)/spans, "B/span")
}
