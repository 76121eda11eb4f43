package collector

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/hoptrace/hoptrace/schemas"
)

var (
	asProto = map[string]string{"Content-Type": "application/x-protobuf"}
	asJSON  = map[string]string{"Content-Type": "application/json"}
)

// request has n valid spans under one resource; change may spoil span i.
func request(n int, change func(i int, s ptrace.Span)) ptraceotlp.ExportRequest {
	td := ptrace.NewTraces()
	rs := td.ResourceSpans().AppendEmpty()
	rs.Resource().Attributes().PutStr("service.name", "checkout")
	ss := rs.ScopeSpans().AppendEmpty()
	ss.Scope().SetName("test")
	now := time.Now()
	for i := range n {
		s := ss.Spans().AppendEmpty()
		s.SetTraceID(pcommon.TraceID{1: byte(i), 15: 1})
		var id pcommon.SpanID
		binary.BigEndian.PutUint64(id[:], uint64(i+1))
		s.SetSpanID(id)
		s.SetName("send orders")
		s.SetKind(ptrace.SpanKindProducer)
		s.SetStartTimestamp(pcommon.NewTimestampFromTime(now.Add(-time.Second)))
		s.SetEndTimestamp(pcommon.NewTimestampFromTime(now))
		s.Attributes().PutStr("messaging.destination.name", "orders")
		s.Attributes().PutInt("messaging.kafka.offset", int64(i))
		if change != nil {
			change(i, s)
		}
	}
	return ptraceotlp.NewExportRequestFromTraces(td)
}

func protoOf(t testing.TB, r ptraceotlp.ExportRequest) []byte {
	t.Helper()
	b, err := r.MarshalProto()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func spansIn(t *testing.T, value []byte) int {
	t.Helper()
	r := ptraceotlp.NewExportRequest()
	if err := r.UnmarshalProto(value); err != nil {
		t.Fatal(err)
	}
	return r.Traces().SpanCount()
}

func gzipped(t *testing.T, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestSpansOfTheOTelSDKReachKafka(t *testing.T) {
	f := func(name string, open func(ctx context.Context, h *house) (*otlptrace.Exporter, error), protocol string) {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, nil)
			exporter, err := open(t.Context(), h)
			if err != nil {
				t.Fatal(err)
			}
			provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter))
			for range 20 {
				_, span := provider.Tracer("t").Start(t.Context(), "work")
				span.End()
			}
			if err := provider.Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
			got := 0
			for _, r := range h.kafka.taken(schemas.TopicIngestSpans) {
				n := spansIn(t, r.Value)
				got += n
				want := map[string]string{"project": "3", "schema": schemas.SchemaOTLPTraces, "count": strconv.Itoa(n), "truncated": ""}
				have := map[string]string{}
				for k := range want {
					have[k] = headerOf(r, k)
				}
				if d := cmp.Diff(want, have); d != "" {
					t.Errorf("headers (-want +got):\n%s", d)
				}
				if len(r.Key) != 8 {
					t.Errorf("key has %d bytes; want 8", len(r.Key))
				}
				ns, err := strconv.ParseInt(headerOf(r, schemas.HeaderReceived), 10, 64)
				if age := time.Since(time.Unix(0, ns)); err != nil || age < 0 || age > time.Minute {
					t.Errorf("received %q is %v ago", headerOf(r, schemas.HeaderReceived), age)
				}
			}
			if got != 20 {
				t.Errorf("%d spans reached Kafka; want 20", got)
			}
			h.wantMetric(20, "spans_accepted_total")
			if h.metric("requests_total", "protocol="+protocol) == 0 {
				t.Errorf("no request of protocol %s was counted", protocol)
			}
			h.wantMetric(0, "in_flight_bytes")
		})
	}
	f("grpc", func(ctx context.Context, h *house) (*otlptrace.Exporter, error) {
		return otlptracegrpc.New(ctx, otlptracegrpc.WithEndpoint(h.GRPCAddr().String()), otlptracegrpc.WithInsecure())
	}, "otlp_grpc")
	f("grpc gzip", func(ctx context.Context, h *house) (*otlptrace.Exporter, error) {
		return otlptracegrpc.New(ctx, otlptracegrpc.WithEndpoint(h.GRPCAddr().String()), otlptracegrpc.WithInsecure(), otlptracegrpc.WithCompressor("gzip"))
	}, "otlp_grpc")
	f("http", func(ctx context.Context, h *house) (*otlptrace.Exporter, error) {
		return otlptracehttp.New(ctx, otlptracehttp.WithEndpoint(h.HTTPAddr().String()), otlptracehttp.WithInsecure())
	}, "otlp_http")
	f("http gzip", func(ctx context.Context, h *house) (*otlptrace.Exporter, error) {
		return otlptracehttp.New(ctx, otlptracehttp.WithEndpoint(h.HTTPAddr().String()), otlptracehttp.WithInsecure(), otlptracehttp.WithCompression(otlptracehttp.GzipCompression))
	}, "otlp_http")
}

func TestJSONBecomesProtobuf(t *testing.T) {
	h := newHouse(t, nil)
	body, err := request(3, nil).MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	h.post("/v1/traces", asJSON, body).want(t, 200, "{}")
	records := h.kafka.taken(schemas.TopicIngestSpans)
	if len(records) != 1 || spansIn(t, records[0].Value) != 3 {
		t.Fatalf("got %d records; want one with 3 spans", len(records))
	}
}

func TestBadSpansAreNamedAndTheOthersPass(t *testing.T) {
	h := newHouse(t, nil)
	body := protoOf(t, request(9, func(i int, s ptrace.Span) {
		switch i {
		case 1:
			s.SetEndTimestamp(s.StartTimestamp() - 1)
		case 2:
			s.SetTraceID(pcommon.TraceID{})
		case 3:
			s.SetStartTimestamp(0)
		case 4:
			s.SetEndTimestamp(pcommon.NewTimestampFromTime(time.Now().Add(25 * time.Hour)))
		case 5:
			s.SetSpanID(pcommon.SpanID{})
		}
	}))
	a := h.post("/v1/traces", asProto, gzipped(t, body))
	a.want(t, 400, "malformed request") // sent without saying that it is gzip
	a = h.post("/v1/traces", map[string]string{"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip"}, gzipped(t, body))
	if a.code != 200 {
		t.Fatalf("answer %d %q; want 200", a.code, a.body)
	}
	response := ptraceotlp.NewExportResponse()
	if err := response.UnmarshalProto([]byte(a.body)); err != nil {
		t.Fatal(err)
	}
	p := response.PartialSuccess()
	if p.RejectedSpans() != 5 || !strings.Contains(p.ErrorMessage(), "5 of 9 spans refused") ||
		!strings.Contains(p.ErrorMessage(), `resourceSpans[0].scopeSpans[0].spans[1] "send orders" starts at`) {
		t.Errorf("partial success %d %q", p.RejectedSpans(), p.ErrorMessage())
	}
	records := h.kafka.taken(schemas.TopicIngestSpans)
	if len(records) != 1 || spansIn(t, records[0].Value) != 4 || headerOf(records[0], "count") != "4" {
		t.Fatalf("got %d records; want one with the 4 good spans", len(records))
	}
	for _, reason := range []string{"end_before_start", "trace_id", "no_start", "future", "span_id"} {
		h.wantMetric(1, "spans_rejected_total", "reason="+reason)
	}
}
