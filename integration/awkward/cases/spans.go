package cases

import (
	"fmt"
	"math"
	"strings"
	"time"

	common "go.opentelemetry.io/proto/otlp/common/v1"
	metricpb "go.opentelemetry.io/proto/otlp/metrics/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/hoptrace/hoptrace/instrumentation/messaging/clock"
)

// Names in other scripts, as people give them. The last two are what an attacker gives.
var (
	japanese = "支払いサービス"
	arabic   = "خدمة الدفع"
	russian  = "заказы-новые"
	emoji    = "👩‍👩‍👧‍👦-family-🧾"
	script   = `<script>alert("topic")</script>`
	image    = `"><img src=x onerror="alert('service')">`
	override = "invoice\u202egnp.exe" // a right-to-left override
	combined = "Z\u0351\u036b\u0343\u036a\u0302a\u0307\u030a\u035blgo"
)

// names are hops whose services, topics and groups are written in other scripts, in
// emoji and as HTML.
func names(b *builder) Case {
	var last *tracepb.Span
	for _, n := range []struct{ from, to, topic, group string }{
		{japanese, "注文", "注文.受付", "注文グループ"},
		{arabic, "مستودع", "طلبات", "مجموعة-الدفع"},
		{"магазин", "склад", russian, "группа"},
		{emoji, "🦊", "🚚.sent", "🏬"},
		{image, "html-consumer", script, "<b>bold</b>"},
		{override, combined, "tab\tand newline\nin a name", "' OR 1=1 --"},
	} {
		last = simpleHop(b, program{n.from, "web-1"}, program{n.to, "web-1"}, n.topic, n.group)
	}
	return Case{Name: "names in other scripts", Says: "Japanese, Arabic, Russian, emoji, HTML, an override of the writing direction", Trace: hexOf(last), Topic: russian, Offset: 3, Group: "группа"}
}

// TraceSpans is how many spans the large trace has.
const TraceSpans = 10_000

// tenThousand is a trace of 10,000 spans: 40 requests, each with work below it, and hops between.
func tenThousand(b *builder) Case {
	trace := b.trace()
	p := []program{{"importer", "farm-1"}, {"transformer", "farm-1"}, {"loader", "farm-1"}}
	at := b.ago(30 * time.Minute)
	root := b.add(p[0], trace, nil, "import the catalogue of a whole country", internal, at, 9*time.Minute)
	n := 1
	for i := 0; n < TraceSpans; i++ {
		start := at + int64(i)*int64(13*time.Second)
		r := record{topic: "catalogue.chunks", partition: int32(i % 4), offset: int64(i / 4), size: 80_000} //nolint:gosec // below four
		sent := b.send(p[0], trace, root.SpanId, r, sending{at: start, queue: 4 * time.Millisecond, ack: 3 * time.Millisecond, appendedAfterWrite: 2 * time.Millisecond})
		asked := start + int64(200*time.Millisecond)
		read := b.process(p[1], r, sent, reading{group: "transformer", trace: trace, parent: sent.SpanId, asked: asked, answered: asked + 2e6, handed: asked + 3e6, work: 11 * time.Second, recordTime: start + 6e6, highWatermark: int64(i/4 + 1)})
		n += 2
		parents := []*tracepb.Span{read}
		for j := 0; j < 250 && n < TraceSpans; j++ {
			parent := parents[b.rnd.IntN(len(parents))]
			first := int64(parent.StartTimeUnixNano) //nolint:gosec // times of this century
			length := int64(parent.EndTimeUnixNano) - first
			from := first + int64(b.rnd.Float64()*float64(length)*0.6)
			s := b.add(p[1+j%2], trace, parent.SpanId, fmt.Sprintf("row %d", j), internal, from, time.Duration(float64(length)*0.35*b.rnd.Float64()))
			if j%97 == 96 {
				s.Status = &tracepb.Status{Code: tracepb.Status_STATUS_CODE_ERROR, Message: "row is not valid"}
			}
			n++
			if len(parents) < 40 {
				parents = append(parents, s)
			}
		}
	}
	return Case{Name: "trace of 10,000 spans", Says: "an import of 10,000 spans over three services and 40 hops", Trace: hexOf(root), Topic: "catalogue.chunks", Group: "transformer", Figures: map[string]float64{"spans": TraceSpans}}
}

// oddSpans is a trace of spans as no handbook shows them.
func oddSpans(b *builder) Case {
	p := program{"odd", "web-1"}
	trace := b.trace()
	at := b.ago(4 * time.Minute)
	root := b.add(p, trace, nil, "odd spans", server, at, time.Second)
	b.add(p, trace, root.SpanId, "no time at all", internal, at+1e6, 0)
	b.add(p, trace, root.SpanId, "one nanosecond", internal, at+2e6, 1)
	b.add(p, trace, root.SpanId, "before its parent, and after it", internal, at-5e8, 2*time.Second)
	b.add(p, trace, b.id(), "a child of nobody", internal, at+3e6, time.Millisecond)
	b.add(p, trace, root.SpanId, "", internal, at+4e6, time.Millisecond)
	b.add(p, trace, root.SpanId, strings.Repeat("a name without any space ", 1)+strings.Repeat("x", 990), internal, at+5e6, time.Millisecond)
	b.add(p, trace, root.SpanId, "an attribute of 8 KB", internal, at+6e6, 5*time.Millisecond, text("sql", strings.Repeat("SELECT * FROM a_table_with_a_long_name; ", 205)[:8192]))
	many := b.add(p, trace, root.SpanId, "120 attributes", internal, at+7e6, 5*time.Millisecond)
	for i := range 120 {
		many.Attributes = append(many.Attributes, text(fmt.Sprintf("attribute.%03d", i), strings.Repeat("v", i)))
	}
	values := b.add(p, trace, root.SpanId, "values of each kind", internal, at+8e6, 5*time.Millisecond,
		truth("true", true), number("largest", math.MaxInt64), number("least", math.MinInt64), text("empty", ""), text("html", `<img src=x onerror="alert(1)">`), text("lines", "one\ntwo\n\tthree"),
		&common.KeyValue{Key: "nan", Value: &common.AnyValue{Value: &common.AnyValue_DoubleValue{DoubleValue: 0.1 + 0.2}}},
		&common.KeyValue{Key: "bytes", Value: &common.AnyValue{Value: &common.AnyValue_BytesValue{BytesValue: []byte{0, 1, 254, 255}}}},
		&common.KeyValue{Key: "list", Value: &common.AnyValue{Value: &common.AnyValue_ArrayValue{ArrayValue: &common.ArrayValue{Values: []*common.AnyValue{{Value: &common.AnyValue_StringValue{StringValue: "a"}}, {Value: &common.AnyValue_IntValue{IntValue: 2}}}}}}})
	for i := range 60 {
		values.Events = append(values.Events, &tracepb.Span_Event{TimeUnixNano: values.StartTimeUnixNano + uint64(i)*1000, Name: fmt.Sprintf("event %d", i), Attributes: []*common.KeyValue{number("n", int64(i))}}) //nolint:gosec // below 60
	}
	return Case{Name: "odd spans", Says: "no length, no name, no parent, outside of its parent, 8 KB in an attribute, 120 attributes, 60 events", Trace: hexOf(root), Figures: map[string]float64{"spans": 10}}
}

// manyLinks is a span with 128 links to other traces that are not there.
func manyLinks(b *builder) Case {
	s := b.add(program{"aggregator", "web-1"}, b.trace(), nil, "join 128 requests", internal, b.ago(2*time.Minute), 40*time.Millisecond)
	for range 128 {
		s.Links = append(s.Links, &tracepb.Span_Link{TraceId: b.trace(), SpanId: b.id()})
	}
	return Case{Name: "128 links", Says: "a span with links to 128 traces that never arrived", Trace: hexOf(s), Figures: map[string]float64{"links": 128}}
}

// deep is a chain of 300 spans, each the child of the one before.
func deep(b *builder) Case {
	trace := b.trace()
	at := b.ago(7 * time.Minute)
	const depth = 300
	last := b.add(program{"recursion", "web-1"}, trace, nil, "depth 0", server, at, 3*time.Second)
	for i := 1; i < depth; i++ {
		last = b.add(program{"recursion", "web-1"}, trace, last.SpanId, fmt.Sprintf("depth %d", i), internal, at+int64(i)*1e6, 3*time.Second-time.Duration(2*i)*time.Millisecond)
	}
	return Case{Name: "deep", Says: "300 spans, each the child of the one before", Trace: hexOf(last), Figures: map[string]float64{"spans": depth}}
}

const (
	aheadBy  = 1500 * time.Millisecond
	behindBy = 400 * time.Millisecond
)

// clockSamples bound the offsets of the hosts of case "two clocks" to one broker for
// half an hour; that of the second was stepped by 20 ms ten minutes before the hops.
func clockSamples(now time.Time) []*metricpb.ResourceMetrics {
	hosts := []struct {
		program
		offset time.Duration // broker − host
	}{{program{"ingress", "host-ahead"}, -aheadBy}, {program{"egress", "host-behind"}, behindBy}}
	out := make([]*metricpb.ResourceMetrics, 0, len(hosts))
	for _, h := range hosts {
		low := &metricpb.Gauge{}
		high := &metricpb.Gauge{}
		for i := range 180 {
			at := now.Add(-30*time.Minute + time.Duration(i)*10*time.Second)
			offset := h.offset
			if h.service == "egress" && i < 60 {
				offset += 20 * time.Millisecond
			}
			width := time.Duration(300+i%7*40) * time.Microsecond
			for _, side := range []struct {
				to    *metricpb.Gauge
				value time.Duration
			}{{low, offset - width}, {high, offset + width}} {
				side.to.DataPoints = append(side.to.DataPoints, &metricpb.NumberDataPoint{
					TimeUnixNano: uint64(at.UnixNano()), Value: &metricpb.NumberDataPoint_AsInt{AsInt: int64(side.value)}, //nolint:gosec // this century
					Attributes: []*common.KeyValue{text("server.address", "broker-1.example"), number("server.port", 9092)},
				})
			}
		}
		metrics := []*metricpb.Metric{
			{Name: clock.MetricOffsetLow, Unit: "ns", Data: &metricpb.Metric_Gauge{Gauge: low}},
			{Name: clock.MetricOffsetHigh, Unit: "ns", Data: &metricpb.Metric_Gauge{Gauge: high}},
		}
		if h.service == "egress" {
			at := now.Add(-20 * time.Minute)
			metrics = append(metrics, &metricpb.Metric{Name: clock.MetricSteps, Unit: "{step}", Data: &metricpb.Metric_Sum{Sum: &metricpb.Sum{
				AggregationTemporality: metricpb.AggregationTemporality_AGGREGATION_TEMPORALITY_DELTA, IsMonotonic: true,
				DataPoints: []*metricpb.NumberDataPoint{{StartTimeUnixNano: uint64(at.Add(-time.Second).UnixNano()), TimeUnixNano: uint64(at.UnixNano()), Value: &metricpb.NumberDataPoint_AsInt{AsInt: 1}}}, //nolint:gosec // this century
			}}})
		}
		out = append(out, &metricpb.ResourceMetrics{Resource: h.resource(), ScopeMetrics: []*metricpb.ScopeMetrics{{Metrics: metrics}}})
	}
	return out
}
