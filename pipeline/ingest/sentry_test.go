package ingest

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hoptrace/hoptrace/schemas"
)

const (
	someTrace = "4bf92f3577b34da6a3ce929d0e0e4736"
	someSpan  = "00f067aa0ba902b7"
	someOther = "1111111111111111"
)

func ids(t testing.TB) (trace schemas.TraceID, span, other schemas.SpanID) {
	t.Helper()
	trace, err := schemas.ParseTraceID(someTrace)
	if err != nil {
		t.Fatal(err)
	}
	span, _ = schemas.ParseSpanID(someSpan)
	other, _ = schemas.ParseSpanID(someOther)
	return trace, span, other
}

func TestSpansOfVersion2AreSpans(t *testing.T) {
	payload := `{"version":2,"items":[
{"trace_id":"` + someTrace + `","span_id":"` + someSpan + `","name":"process orders","status":"error","is_segment":true,
 "start_timestamp":1795435190.25,"end_timestamp":1795435190.5,
 "links":[{"trace_id":"` + someTrace + `","span_id":"` + someOther + `","sampled":true,"attributes":{"sentry.link.type":{"type":"string","value":"previous_trace"}}}],
 "attributes":{"sentry.op":{"type":"string","value":"queue.process"},"messaging.system":{"type":"string","value":"kafka"},
  "messaging.kafka.offset":{"type":"integer","value":17},"ratio":{"type":"double","value":0.5},"ok":{"type":"boolean","value":true},
  "list":{"type":"array","value":["a",1]},"none":{"type":"string","value":null},"sentry.release":{"type":"string","value":"shop@1.2.3"}}},
{"trace_id":"` + someTrace + `","span_id":"` + someOther + `","parent_span_id":"` + someSpan + `","name":"GET","status":"ok","start_timestamp":1795435190,"end_timestamp":1795435191}]}`
	trace, span, other := ids(t)
	got, err := NewSentryDecoder(Limits{}).Spans(nil, []byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	want := []schemas.Span{
		{
			TraceID: trace, SpanID: span, Name: "process orders", Kind: schemas.KindConsumer, Status: schemas.StatusError,
			Start: 1795435190_250000000, End: 1795435190_500000000, Service: "shop",
			Links: []schemas.Link{{TraceID: trace, SpanID: other, Attributes: []schemas.Attribute{{Key: "sentry.link.type", Value: "previous_trace"}}}},
			Attributes: []schemas.Attribute{
				{Key: "sentry.op", Value: "queue.process"},
				{Key: "messaging.system", Value: "kafka"},
				{Key: "messaging.kafka.offset", Value: "17"},
				{Key: "ratio", Value: "0.5"},
				{Key: "ok", Value: "true"},
				{Key: "list", Value: `["a",1]`},
				{Key: "sentry.release", Value: "shop@1.2.3"},
				{Key: "sentry.is_segment", Value: "true"},
			},
		},
		{
			TraceID: trace, SpanID: other, ParentID: span, Name: "GET", Kind: schemas.KindInternal, Status: schemas.StatusOK,
			Start: 1795435190_000000000, End: 1795435191_000000000, Position: schemas.Position{Index: 1},
		},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("spans (-want +got):\n%s", d)
	}
}

func TestATransactionIsSpans(t *testing.T) {
	payload := `{"type":"transaction","event_id":"x","transaction":"POST /orders","start_timestamp":"2026-11-23T12:00:00.5Z","timestamp":"2026-11-23T12:00:01.5Z",
"release":"shop@1.2.3+4","environment":"prod","server_name":"web-1","platform":"go","sdk":{"name":"sentry.go","version":"0.50.0"},
"contexts":{"trace":{"trace_id":"` + someTrace + `","span_id":"` + someSpan + `","op":"http.server","status":"internal_error","data":{"http.request.method":"POST","n":3}}},
"tags":[["plan","gold"]],
"spans":[{"trace_id":"` + someTrace + `","span_id":"` + someOther + `","parent_span_id":"` + someSpan + `","op":"queue.publish","description":"send orders","status":"ok",
 "start_timestamp":"2026-11-23T12:00:00.6Z","timestamp":"2026-11-23T12:00:00.7Z","data":{"messaging.system":"kafka"},"tags":{"a":"b"}}]}`
	trace, span, other := ids(t)
	got, err := NewSentryDecoder(Limits{}).Transaction(nil, []byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	resource := []schemas.Attribute{
		{Key: "sentry.release", Value: "shop@1.2.3+4"},
		{Key: "sentry.environment", Value: "prod"},
		{Key: "host.name", Value: "web-1"},
		{Key: "sentry.platform", Value: "go"},
		{Key: "sentry.sdk.name", Value: "sentry.go"},
		{Key: "sentry.sdk.version", Value: "0.50.0"},
	}
	const second = int64(1795435200)
	want := []schemas.Span{
		{
			TraceID: trace, SpanID: span, Name: "POST /orders", Kind: schemas.KindServer, Status: schemas.StatusError, StatusMessage: "internal_error",
			Start: second*1e9 + 5e8, End: (second+1)*1e9 + 5e8, Service: "shop", Resource: resource,
			Attributes: []schemas.Attribute{
				{Key: "http.request.method", Value: "POST"},
				{Key: "n", Value: "3"},
				{Key: "sentry.op", Value: "http.server"},
				{Key: "plan", Value: "gold"},
			},
		},
		{
			TraceID: trace, SpanID: other, ParentID: span, Name: "send orders", Kind: schemas.KindProducer, Status: schemas.StatusOK,
			Start: second*1e9 + 6e8, End: second*1e9 + 7e8, Service: "shop", Resource: resource, Position: schemas.Position{Index: 1},
			Attributes: []schemas.Attribute{
				{Key: "messaging.system", Value: "kafka"},
				{Key: "sentry.op", Value: "queue.publish"},
				{Key: "sentry.description", Value: "send orders"},
				{Key: "a", Value: "b"},
			},
		},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("spans (-want +got):\n%s", d)
	}
}

func TestSentryLogsAndTraceMetricsAreRead(t *testing.T) {
	trace, span, _ := ids(t)
	d := NewSentryDecoder(Limits{})
	logs, err := d.Logs(nil, []byte(`{"items":[{"timestamp":1795435190.5,"trace_id":"`+someTrace+`","level":"warn","severity_number":13,"body":"stock is low",
"attributes":{"sentry.trace.parent_span_id":{"type":"string","value":"`+someSpan+`"},"sku":{"type":"integer","value":17},"sentry.release":{"type":"string","value":"shop@2"}}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]schemas.Log{{
		Time: 1795435190_500000000, TraceID: trace, SpanID: span, Severity: 13, Level: "warn", Body: "stock is low", Service: "shop", Origin: schemas.OriginSentry,
		Attributes: []schemas.Attribute{{Key: "sentry.trace.parent_span_id", Value: someSpan}, {Key: "sku", Value: "17"}, {Key: "sentry.release", Value: "shop@2"}},
	}}, logs); diff != "" {
		t.Errorf("logs (-want +got):\n%s", diff)
	}
	points, err := d.TraceMetrics(nil, []byte(`{"items":[
{"timestamp":1795435190.5,"trace_id":"`+someTrace+`","span_id":"`+someSpan+`","name":"orders","type":"counter","value":2,"attributes":{"plan":{"type":"string","value":"gold"}}},
{"timestamp":1795435190.5,"name":"stock","type":"gauge","unit":"item","value":7.5},
{"timestamp":1795435190.5,"name":"latency","type":"distribution","unit":"millisecond","value":12}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if len(points) != 3 || points[0].Kind != schemas.MetricSum || points[0].Temporality != schemas.TemporalityDelta || points[0].Value != 2 || len(points[0].Exemplars) != 1 ||
		points[0].Exemplars[0].TraceID != trace || points[1].Kind != schemas.MetricGauge || points[1].Value != 7.5 || points[1].Unit != "item" ||
		points[2].Kind != schemas.MetricHistogram || points[2].Histogram.Count != 1 || points[2].Histogram.Sum != 12 || points[2].Position.Index != 2 {
		t.Errorf("points are %+v", points)
	}
}

func TestBrokenContainersAreNamed(t *testing.T) {
	d := NewSentryDecoder(Limits{Spans: 2})
	f := func(decode func([]byte) error, payload, want string) {
		t.Helper()
		if err := decode([]byte(payload)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80q: %v; want %q", payload, err, want)
		}
	}
	spans := func(b []byte) error { _, err := d.Spans(nil, b); return err }
	transaction := func(b []byte) error { _, err := d.Transaction(nil, b); return err }
	metrics := func(b []byte) error { _, err := d.TraceMetrics(nil, b); return err }
	f(spans, `{"items":[}`, "container of spans: broken JSON at byte")
	f(spans, `{"items":7}`, "items is no array")
	f(spans, `{"items":[{},{},{}]}`, "has 3 items, more than 2")
	f(spans, `7`, "items is no array")
	f(transaction, `[]`, "no JSON object")
	f(transaction, `{"spans":[{},{}]}`, "has 2 spans, more than 2")
	f(metrics, `{"items":[{"type":"counter","value":"x"}]}`, "items[0].value: want a number")
	f(metrics, `{"items":[{"type":"set","value":1}]}`, "items[0].type: want counter, gauge or distribution")
}

func TestAttributesOfSentrySpansAreBounded(t *testing.T) {
	d := NewSentryDecoder(Limits{Attributes: 2, ValueBytes: 10, KeyBytes: 5})
	got, err := d.Spans(nil, []byte(`{"items":[{"attributes":{"a":{"value":"`+strings.Repeat("x", 100)+`"},"b":{"value":1},"c":{"value":2},"messaging.system":{"value":"kafka"}}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	want := []schemas.Attribute{{Key: "a", Value: strings.Repeat("x", 10)}, {Key: "b", Value: "1"}, {Key: AttrDropped, Value: "2"}, {Key: AttrCut, Value: "1"}}
	if diff := cmp.Diff(want, got[0].Attributes); diff != "" {
		t.Errorf("attributes (-want +got):\n%s", diff)
	}
}

func FuzzSentry(f *testing.F) {
	for _, s := range []string{`{"items":[{"attributes":{"a":{"value":1}}}]}`, `{"spans":[{}],"contexts":{"trace":{}}}`, `[{}]`, `{"items":[{"type":"gauge","value":1}]}`} {
		f.Add([]byte(s))
	}
	d := NewSentryDecoder(Limits{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if spans, err := d.Spans(nil, b); err == nil && len(spans) > 0 && !json.Valid(b) {
			t.Fatalf("%q is no JSON and makes %d spans", b, len(spans))
		}
		_, _ = d.Transaction(nil, b)
		_, _ = d.Logs(nil, b)
		points, _ := d.TraceMetrics(nil, b)
		for _, p := range points {
			if math.IsNaN(p.Value) {
				t.Fatalf("%q makes a point that is no number", b)
			}
		}
	})
}
