package load

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"time"

	common "go.opentelemetry.io/proto/otlp/common/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
)

// Moments of one trace, in ms after its start before scaling. An order is taken
// over HTTP by checkout and produced to orders; payments reads it, asks its
// database and produces to payments; shipping reads that.
const (
	rootStart = iota
	send1Start
	asked1 // the long poll was open before the record came
	send1Written
	send1Acked
	send1End
	answered1
	rootEnd
	handed1
	dbStart
	asked2
	dbEnd
	send2Start
	send2Written
	send2Acked
	send2End
	answered2
	process1End
	handed2
	process2End
	moments
)

var momentMS = [moments]float64{
	rootStart: 0, send1Start: 2, asked1: 3, send1Written: 4, send1Acked: 5, send1End: 5.3, answered1: 5.7, rootEnd: 6,
	handed1: 6.3, dbStart: 7, asked2: 12, dbEnd: 15, send2Start: 16, send2Written: 18, send2Acked: 19, send2End: 19.3,
	answered2: 19.7, process1End: 20, handed2: 20.3, process2End: 25,
}

// roundSpan is how far back the oldest trace of a round starts.
const roundSpan = 3 * time.Second

// bodySizes are values of messaging.message.body.size.
var bodySizes = []int64{212, 348, 480, 1130, 230, 415, 866, 301}

// spans of one trace, in the order of SpanIDs.
const (
	root = iota
	send1
	process1
	database
	send2
	process2
)

// build describes the requests of a round: two of checkout, three of payments,
// one of shipping, each as one service's batch exporter would send it.
func build() [RequestsPerRound]*builder {
	m := &marker{}
	checkout := newBuilders("checkout", 2)
	payments := newBuilders("payments", 3)
	shipping := newBuilders("shipping", 1)
	for t := range TracesPerRound {
		// Latencies are skewed: most near the least, some fifty times that.
		scale := 0.6 + float64(mix(uint64(t))%1000)/700
		if t%64 == 63 {
			scale *= 30
		}
		tr := traceBuilder{marker: m, index: t, scale: scale}
		checkout.add(tr.span(root, -1, trace.Span_SPAN_KIND_SERVER, "POST /orders", rootStart, rootEnd,
			text("http.request.method", "POST"), text("http.route", "/orders"), number("http.response.status_code", 202),
			text("url.scheme", "https"), text("server.address", "shop.example"), tr.order(),
			text("user_agent.original", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)")))
		checkout.add(tr.send(send1, root, "orders", send1Start, send1Written, send1Acked, send1End))
		payments.add(tr.process(process1, send1, "orders", "payments", asked1, answered1, handed1, process1End))
		payments.add(tr.span(database, process1, trace.Span_SPAN_KIND_CLIENT, "INSERT payments", dbStart, dbEnd,
			text("db.system.name", "postgresql"), text("db.namespace", "payments"), text("db.operation.name", "INSERT"),
			text("db.query.text", "INSERT INTO payments (order_id, amount, currency, state) VALUES ($1, $2, $3, $4)"),
			text("server.address", "db-1.internal"), number("server.port", 5432), tr.order()))
		payments.add(tr.send(send2, process1, "payments", send2Start, send2Written, send2Acked, send2End))
		shipping.add(tr.process(process2, send2, "payments", "shipping", asked2, answered2, handed2, process2End))
	}
	var out [RequestsPerRound]*builder
	copy(out[:], append(append(checkout.all, payments.all...), shipping.all...))
	return out
}

// builders fills the requests of one service one after the other.
type builders struct{ all []*builder }

func newBuilders(service string, n int) *builders {
	out := &builders{}
	for range n {
		out.all = append(out.all, &builder{
			scope: "github.com/hoptrace/hoptrace/instrumentation/otelkafkago",
			resource: []*common.KeyValue{
				text("service.name", service), text("service.version", "2026.11.3"), text("deployment.environment.name", "production"),
				text("host.name", service+"-7d9c5b-x2x9k"), text("hoptrace.host.boot_id", "b4c0d1e2f3a49586"), number("process.pid", 17),
				text("telemetry.sdk.name", "opentelemetry"), text("telemetry.sdk.language", "go"), text("telemetry.sdk.version", "1.47.0"),
			},
		})
	}
	return out
}

func (b *builders) add(s *trace.Span, place int, marks []mark) {
	for _, r := range b.all {
		if len(r.spans) < SpansPerRequest {
			r.spans = append(r.spans, s)
			r.places = append(r.places, place)
			r.marks = append(r.marks, marks...)
			return
		}
	}
	panic(fmt.Sprintf("a service has more than %d requests of %d spans", len(b.all), SpansPerRequest))
}

// traceBuilder makes the spans of one trace. Marks gather until a span is done.
type traceBuilder struct {
	*marker
	index int
	scale float64
	marks []mark
}

func (tr *traceBuilder) span(which, parent int, kind trace.Span_SpanKind, name string, start, end int, attrs ...*common.KeyValue) (*trace.Span, int, []mark) {
	s := &trace.Span{
		TraceId: tr.trace(), SpanId: tr.id(which), Name: name, Kind: kind, Flags: 0x101,
		StartTimeUnixNano: tr.fixed(start), EndTimeUnixNano: tr.fixed(end), Attributes: attrs,
	}
	if parent >= 0 {
		s.ParentSpanId = tr.id(parent)
	}
	marks := tr.marks
	tr.marks = nil
	return s, tr.index*spansPerTrace + which, marks
}

func (tr *traceBuilder) send(which, parent int, topic string, start, written, acked, end int) (*trace.Span, int, []mark) {
	attrs := append(tr.messaging(topic, "send", "send", which),
		tr.moment("hoptrace.produce.written", written), tr.moment("hoptrace.produce.acked", acked))
	return tr.span(which, parent, trace.Span_SPAN_KIND_PRODUCER, "send "+topic, start, end, attrs...)
}

func (tr *traceBuilder) process(which, producer int, topic, group string, asked, answered, handed, end int) (*trace.Span, int, []mark) {
	attrs := append(tr.messaging(topic, "process", "process", producer), text("messaging.consumer.group.name", group),
		tr.moment("hoptrace.consume.asked", asked), tr.moment("hoptrace.consume.answered", answered), tr.moment("hoptrace.consume.handed", handed))
	link := &trace.Span_Link{TraceId: tr.trace(), SpanId: tr.id(producer), Flags: 0x301}
	s, place, marks := tr.span(which, producer, trace.Span_SPAN_KIND_CONSUMER, "process "+topic, handed, end, attrs...)
	s.Links = []*trace.Span_Link{link}
	return s, place, marks
}

// messaging are the attributes that both ends of a record have. The record is
// named after the span that sent it.
func (tr *traceBuilder) messaging(topic, operation, kind string, sender int) []*common.KeyValue {
	return []*common.KeyValue{
		text("messaging.system", "kafka"), text("messaging.operation.name", operation), text("messaging.operation.type", kind),
		text("messaging.destination.name", topic), text("messaging.destination.partition.id", strconv.Itoa(tr.index%Partitions)),
		text("messaging.client.id", topic+"-client"), text("server.address", "kafka-1.internal"), number("server.port", 9092),
		number("messaging.message.body.size", bodySizes[tr.index%len(bodySizes)]), tr.offset(), tr.key(sender),
	}
}

// marker makes byte patterns that occur once.
type marker struct{ n uint64 }

func (m *marker) unique() uint64 { m.n++; return mix(m.n ^ 0xa5a5a5a5a5a5a5a5) }

func (tr *traceBuilder) mark(pattern []byte, skip int, p patch) {
	tr.marks = append(tr.marks, mark{pattern: pattern, skip: skip, patch: p})
}

func (tr *traceBuilder) trace() []byte {
	b := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, tr.unique()), tr.unique())
	tr.mark(b, 0, patch{what: traceID, arg: uint64(tr.index)})
	return b
}

func (tr *traceBuilder) id(which int) []byte {
	b := binary.BigEndian.AppendUint64(nil, tr.unique())
	tr.mark(b, 0, patch{what: spanID, arg: uint64(tr.index*spansPerTrace + which)})
	return b
}

// when gives the place of a moment in the round. Traces start evenly over its
// first two seconds.
func (tr *traceBuilder) when(moment int) (arg uint64, rel int64) {
	start := int64(2*time.Second) * int64(tr.index) / TracesPerRound
	return uint64(tr.index*moments + moment), start + int64(momentMS[moment]*tr.scale*1e6)
}

func (tr *traceBuilder) fixed(moment int) uint64 {
	v := tr.unique()
	arg, rel := tr.when(moment)
	tr.mark(binary.LittleEndian.AppendUint64(nil, v), 0, patch{what: timeFixed64, arg: arg, rel: rel})
	return v
}

func (tr *traceBuilder) moment(key string, moment int) *common.KeyValue {
	v := tr.unique()>>2 | 1<<61 // nine bytes as a varint
	arg, rel := tr.when(moment)
	tr.mark(binary.AppendUvarint(nil, v), 0, patch{what: timeVarint, arg: arg, rel: rel})
	return number(key, int64(v))
}

func (tr *traceBuilder) offset() *common.KeyValue {
	v := firstOffset + tr.unique()>>30 // five bytes as a varint
	tr.mark(binary.AppendUvarint([]byte{0x18}, v), 1, patch{what: offset, arg: uint64(tr.index / Partitions)})
	return number("messaging.kafka.offset", int64(v))
}

func (tr *traceBuilder) key(sender int) *common.KeyValue {
	v := fmt.Sprintf("%019d", tr.unique()%1e19)
	tr.mark([]byte(v), 0, patch{what: keyHash, arg: uint64(tr.index*spansPerTrace + sender)})
	return text("hoptrace.key_hash", v)
}

func (tr *traceBuilder) order() *common.KeyValue {
	v := fmt.Sprintf("%010d", tr.unique()%1e10)
	tr.mark([]byte(v), 0, patch{what: orderID, arg: uint64(tr.index)})
	return text("app.order.id", "ord-"+v)
}

func text(key, value string) *common.KeyValue {
	return &common.KeyValue{Key: key, Value: &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: value}}}
}

func number(key string, value int64) *common.KeyValue {
	return &common.KeyValue{Key: key, Value: &common.AnyValue{Value: &common.AnyValue_IntValue{IntValue: value}}}
}
