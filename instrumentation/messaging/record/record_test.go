package record

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sink keeps what is exported to it, decoded.
type sink struct {
	mu       sync.Mutex
	requests []*collector.ExportTraceServiceRequest
	bodies   []int // bytes
	spans    []int // as told by Batch
}

func (s *sink) export(_ context.Context, b Batch) error {
	q := new(collector.ExportTraceServiceRequest)
	if err := proto.Unmarshal(b.Body, q); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, q)
	s.bodies = append(s.bodies, len(b.Body))
	s.spans = append(s.spans, b.Spans)
	return nil
}

// all returns the exported spans by id.
func (s *sink) all(t testing.TB) map[trace.SpanID]*otlp.Span {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	spans := map[trace.SpanID]*otlp.Span{}
	n := 0
	for i, q := range s.requests {
		inBatch := 0
		for _, rs := range q.ResourceSpans {
			for _, ss := range rs.ScopeSpans {
				for _, span := range ss.Spans {
					spans[trace.SpanID(span.SpanId)] = span
					inBatch++
				}
			}
		}
		if inBatch != s.spans[i] {
			t.Errorf("batch %d has %d spans and says %d", i, inBatch, s.spans[i])
		}
		n += inBatch
	}
	if n != len(spans) {
		t.Errorf("%d spans with %d ids were exported", n, len(spans))
	}
	return spans
}

// start makes a recorder that exports to a sink until the test ends.
func start(t testing.TB, o Options) (*Recorder, *sink) {
	t.Helper()
	s := new(sink)
	if o.Export == nil {
		o.Export = s.export
	}
	if o.Interval == 0 {
		o.Interval = time.Hour
	}
	r := New(o)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = r.Shutdown(ctx)
		<-r.ended
	})
	return r, s
}

func flush(t testing.TB, r *Recorder) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := r.Flush(ctx); err != nil {
		t.Fatal(err)
	}
}

// span returns the n-th span of a test.
func span(n uint64) Span {
	s := Span{Flags: 0x101, Start: 1_700_000_000_000_000_000 + int64(n), End: 1_700_000_000_000_500_000 + int64(n)}
	binary.BigEndian.PutUint64(s.TraceID[8:], n+1)
	s.TraceID[0] = 7
	binary.BigEndian.PutUint64(s.SpanID[:], n+1)
	return s
}

func spanContext(n byte, remote bool, state string) trace.SpanContext {
	ts, err := trace.ParseTraceState(state)
	if err != nil {
		panic(err)
	}
	return trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{n, 15: 1}, SpanID: trace.SpanID{n, 7: 1}, TraceFlags: trace.FlagsSampled | trace.FlagsRandom, Remote: remote, TraceState: ts,
	})
}

// sdk is OpenTelemetry's SDK with its OTLP exporter, without the network: what
// ours is compared with.
type sdk struct {
	provider *sdktrace.TracerProvider
	next     Span // whose ids the next span gets
	mu       sync.Mutex
	got      []*otlp.ResourceSpans
}

func newSDK(t testing.TB, resourceAttrs []attribute.KeyValue, schema string) *sdk {
	t.Helper()
	s := new(sdk)
	exporter, err := otlptrace.New(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	s.provider = sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithIDGenerator(s),
		sdktrace.WithSampler(sdktrace.AlwaysSample()), sdktrace.WithResource(resource.NewWithAttributes(schema, slices.Clone(resourceAttrs)...)))
	t.Cleanup(func() { _ = s.provider.Shutdown(context.Background()) })
	return s
}

func (s *sdk) NewIDs(context.Context) (trace.TraceID, trace.SpanID) {
	return s.next.TraceID, s.next.SpanID
}

func (s *sdk) NewSpanID(context.Context, trace.TraceID) trace.SpanID { return s.next.SpanID }
func (s *sdk) Start(context.Context) error                           { return nil }
func (s *sdk) Stop(context.Context) error                            { return nil }

func (s *sdk) UploadTraces(_ context.Context, rs []*otlp.ResourceSpans) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, rs...)
	return nil
}

// exported returns what the SDK exported, as it goes over the wire.
func (s *sdk) exported(t testing.TB) *collector.ExportTraceServiceRequest {
	t.Helper()
	if err := s.provider.ForceFlush(context.Background()); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := proto.Marshal(&collector.ExportTraceServiceRequest{ResourceSpans: s.got})
	if err != nil {
		t.Fatal(err)
	}
	q := new(collector.ExportTraceServiceRequest)
	if err := proto.Unmarshal(b, q); err != nil {
		t.Fatal(err)
	}
	return q
}

// sorted puts what has no order in OTLP in order.
func sorted(q *collector.ExportTraceServiceRequest) *collector.ExportTraceServiceRequest {
	byKey := func(kvs []*common.KeyValue) {
		slices.SortFunc(kvs, func(a, b *common.KeyValue) int { return cmp.Compare(a.Key, b.Key) })
	}
	for _, rs := range q.ResourceSpans {
		byKey(rs.GetResource().GetAttributes())
		slices.SortFunc(rs.ScopeSpans, func(a, b *otlp.ScopeSpans) int {
			return cmp.Compare(a.GetScope().GetName(), b.GetScope().GetName())
		})
		for _, ss := range rs.ScopeSpans {
			slices.SortFunc(ss.Spans, func(a, b *otlp.Span) int { return slices.Compare(a.SpanId, b.SpanId) })
			for _, s := range ss.Spans {
				byKey(s.Attributes)
			}
		}
	}
	return q
}

// same fails the test unless both are the same spans.
func same(t testing.TB, want, got *collector.ExportTraceServiceRequest) {
	t.Helper()
	want, got = sorted(want), sorted(got)
	if !proto.Equal(want, got) {
		diff := gocmp.Diff(want, got, protocmp.Transform())
		if len(diff) > 4000 {
			diff = diff[:4000] + "…"
		}
		t.Fatalf("not what the SDK writes (-SDK +ours):\n%s", diff)
	}
}

func (s *sink) one(t testing.TB) *collector.ExportTraceServiceRequest {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.requests) != 1 {
		t.Fatalf("%d batches; want 1", len(s.requests))
	}
	return s.requests[0]
}

func testName(i int) string { return fmt.Sprintf("case=%d", i) }
