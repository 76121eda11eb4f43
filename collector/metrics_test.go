package collector

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"google.golang.org/grpc/codes"

	"github.com/hoptrace/hoptrace/schemas"
)

const exportMetrics = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"

// points is a request with n gauge points; change may spoil point i.
func points(n int, change func(i int, p pmetric.NumberDataPoint)) pmetricotlp.ExportRequest {
	md := pmetric.NewMetrics()
	rm := md.ResourceMetrics().AppendEmpty()
	rm.Resource().Attributes().PutStr("service.name", "checkout")
	m := rm.ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
	m.SetName("hoptrace.lag")
	g := m.SetEmptyGauge()
	for i := range n {
		p := g.DataPoints().AppendEmpty()
		p.SetTimestamp(pcommon.NewTimestampFromTime(time.Now()))
		p.SetIntValue(int64(i))
		p.Attributes().PutStr("messaging.destination.name", "orders")
		if change != nil {
			change(i, p)
		}
	}
	return pmetricotlp.NewExportRequestFromMetrics(md)
}

func pointsOf(t *testing.T, r pmetricotlp.ExportRequest) []byte {
	t.Helper()
	b, err := r.MarshalProto()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// wantPoints asserts that the records of ingest-metrics hold n points, and
// empties the topic.
func (h *house) wantPoints(n int, project string) {
	h.t.Helper()
	got := 0
	for _, r := range h.kafka.taken(schemas.TopicIngestMetrics) {
		request := pmetricotlp.NewExportRequest()
		if err := request.UnmarshalProto(r.Value); err != nil {
			h.t.Fatal(err)
		}
		in := request.Metrics().DataPointCount()
		got += in
		want := map[string]string{"project": project, "schema": schemas.SchemaOTLPMetrics, "count": strconv.Itoa(in), "truncated": ""}
		have := map[string]string{}
		for k := range want {
			have[k] = headerOf(r, k)
		}
		if d := cmp.Diff(want, have); d != "" {
			h.t.Errorf("headers (-want +got):\n%s", d)
		}
		if len(r.Key) != 8 {
			h.t.Errorf("key has %d bytes; want 8", len(r.Key))
		}
	}
	if got != n {
		h.t.Errorf("%d points reached Kafka; want %d", got, n)
	}
}

func TestMetricsReachKafkaByEveryWay(t *testing.T) {
	h := newHouse(t, nil)
	body := pointsOf(t, points(3, nil))
	if out, err := h.call(exportMetrics, body, nil); err != nil || len(out) != 0 {
		t.Fatalf("gRPC answers %x, %v", out, err)
	}
	h.wantPoints(3, "3")
	h.post("/v1/metrics", asProto, body).want(t, 200)
	h.wantPoints(3, "3")
	h.post("/v1/metrics", map[string]string{"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip", "X-Sentry-Auth": "Sentry sentry_version=7, sentry_key=" + otherKey}, gzipped(t, body)).want(t, 200)
	h.wantPoints(3, "2")
	text, err := points(4, nil).MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	h.post("/v1/metrics", asJSON, text).want(t, 200, "{}")
	h.wantPoints(4, "3")
	for _, path := range []string{"/api/1/integration/otlp/v1/metrics/", "/api/1/otlp/v1/metrics"} {
		h.post(path, map[string]string{"Content-Type": "application/x-protobuf", "X-Sentry-Auth": "Sentry sentry_version=7, sentry_key=" + shopKey}, body).want(t, 202)
		h.wantPoints(3, "1")
	}
	h.wantMetric(19, "points_accepted_total")
	h.wantMetric(6, "records_total", "topic=ingest-metrics")
	h.wantMetric(0, "spans_accepted_total")
}

func TestRefusedPointsAreToldAndTheOthersTaken(t *testing.T) {
	h := newHouse(t, nil)
	request := points(5, func(i int, p pmetric.NumberDataPoint) {
		if i == 2 {
			p.SetTimestamp(0)
		}
	})
	out, err := h.call(exportMetrics, pointsOf(t, request), nil)
	if err != nil {
		t.Fatal(err)
	}
	response := pmetricotlp.NewExportResponse()
	if err := response.UnmarshalProto(out); err != nil || response.PartialSuccess().RejectedDataPoints() != 1 ||
		!strings.Contains(response.PartialSuccess().ErrorMessage(), `1 of 5 points refused: 1 without a time; first: resourceMetrics[0].scopeMetrics[0].metrics[0].dataPoints[2] "hoptrace.lag"`) {
		t.Errorf("partial success %d %q, %v", response.PartialSuccess().RejectedDataPoints(), response.PartialSuccess().ErrorMessage(), err)
	}
	h.wantPoints(4, "3")
	text, err := request.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	a := h.post("/v1/metrics", asJSON, text)
	a.want(t, 200, `{"partialSuccess":{"rejectedDataPoints":"1","errorMessage":"1 of 5 points refused`)
	h.wantPoints(4, "3")
	h.wantMetric(2, "points_rejected_total", "reason=no_time")
	h.wantMetric(8, "points_accepted_total")
}

func TestMetricsAreSplitByBytes(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.MaxRecordBytes = 64 << 10 })
	body := pointsOf(t, points(3000, func(i int, p pmetric.NumberDataPoint) {
		p.Attributes().PutStr("x", fmt.Sprint(strings.Repeat("x", 100), i))
	}))
	if _, err := h.call(exportMetrics, body, nil); err != nil {
		t.Fatal(err)
	}
	if n := h.metric("records_total", "topic=ingest-metrics"); n < float64(len(body)/(64<<10)) {
		t.Errorf("%d bytes lie in %v records of at most 64 KiB", len(body), n)
	}
	h.wantPoints(3000, "3")
}

func TestMetricsThatCannotBeTakenAreAnsweredAsTraces(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.RequireAuth = true })
	body := pointsOf(t, points(1, nil))
	_, err := h.call(exportMetrics, body, nil)
	wantStatus(t, err, codes.Unauthenticated, "", false)
	auth := map[string]string{"x-sentry-auth": "Sentry sentry_version=7, sentry_key=" + shopKey}
	_, err = h.call(exportMetrics, []byte("no protobuf"), auth)
	wantStatus(t, err, codes.InvalidArgument, "malformed request", false)
	h.kafka.fail(errDown)
	_, err = h.call(exportMetrics, body, auth)
	wantStatus(t, err, codes.Unavailable, "ingest-metrics", true)
	h.kafka.fail(nil)
	headers := map[string]string{"Content-Type": "application/json", "X-Sentry-Auth": auth["x-sentry-auth"]}
	h.post("/v1/metrics", headers, []byte(`{"resourceMetrics": 7}`)).want(t, 400, "malformed request")
	h.post("/v1/metrics", map[string]string{"Content-Type": "text/plain"}, body).want(t, 415, "text/plain")
	h.wantMetric(2, "outcomes_total", "reason=invalid_otlp")
	h.wantMetric(1, "outcomes_total", "reason=kafka_unavailable")
	h.wantPoints(0, "")
}
