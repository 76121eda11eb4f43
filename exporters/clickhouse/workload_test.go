package clickhouse

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/hoptrace/hoptrace/schemas"
)

// workload makes spans as an instrumented Kafka application sends them: a
// server span, the send of one record, and its processing in another service
// as its child and with a link. Two of three are messaging spans. It is deterministic.
type workload struct {
	rnd       *rand.Rand
	now       int64 // Unix ns
	step      int64 // between traces
	offsets   map[schemas.RecordRef]int64
	position  map[schemas.Source]*schemas.Position
	resources map[string][]schemas.Attribute
}

func newWorkload(seed uint64, start time.Time, step time.Duration) *workload {
	return &workload{
		rnd:       rand.New(rand.NewPCG(seed, 7)), //nolint:gosec // test data
		now:       start.UnixNano(),
		step:      int64(step),
		offsets:   make(map[schemas.RecordRef]int64),
		position:  make(map[schemas.Source]*schemas.Position),
		resources: make(map[string][]schemas.Attribute),
	}
}

func (w *workload) resource(service string, instance int) []schemas.Attribute {
	key := fmt.Sprint(service, instance)
	if r, ok := w.resources[key]; ok {
		return r
	}
	r := []schemas.Attribute{
		{Key: "service.version", Value: "1.14.2"},
		{Key: "deployment.environment.name", Value: "production"},
		{Key: "host.name", Value: fmt.Sprintf("node-%d", instance)},
		{Key: "host.id", Value: fmt.Sprintf("%032x", instance*7919)},
		{Key: "process.pid", Value: fmt.Sprint(4000 + instance)},
		{Key: "process.runtime.version", Value: "go1.26.8"},
		{Key: "telemetry.sdk.language", Value: "go"},
		{Key: "telemetry.sdk.name", Value: "opentelemetry"},
		{Key: "telemetry.sdk.version", Value: "1.47.0"},
		{Key: "k8s.pod.name", Value: fmt.Sprintf("%s-%08x-%05x", service, instance*104729, instance)},
	}
	w.resources[key] = r
	return r
}

func (w *workload) duration(typical time.Duration) int64 {
	return int64(float64(typical) * (0.5 + w.rnd.ExpFloat64()))
}

func (w *workload) source(service string) schemas.Source {
	return schemas.Source(len(service)*2654435761 + 17) //nolint:gosec // positive
}

func (w *workload) place(service string) (schemas.Source, schemas.Position) {
	src := w.source(service)
	p := w.position[src]
	if p == nil {
		p = &schemas.Position{Offset: 1000}
		w.position[src] = p
	}
	if p.Index++; p.Index >= 400 {
		p.Index, p.Offset = 0, p.Offset+1
	}
	return src, *p
}

// next appends the spans and message rows of one trace.
func (w *workload) next(spans []schemas.Span, messages []schemas.Message) ([]schemas.Span, []schemas.Message) {
	r := w.rnd
	w.now += w.step/2 + r.Int64N(w.step)
	n := r.IntN(20)
	topic := []string{"orders", "payments", "shipping", "orders", "orders.returns"}[n%5]
	producer, consumer := fmt.Sprintf("checkout-%d", n%10), topic+"-worker"
	ref := schemas.RecordRef{Topic: topic, Partition: int32(r.IntN(12))} //nolint:gosec // small
	w.offsets[ref]++
	offset := 100_000 + w.offsets[ref]
	var trace schemas.TraceID
	binary.LittleEndian.PutUint64(trace[:], r.Uint64())
	binary.LittleEndian.PutUint64(trace[8:], r.Uint64())
	id := func() (s schemas.SpanID) { binary.LittleEndian.PutUint64(s[:], r.Uint64()); return }
	root, send, process := id(), id(), id()

	start := w.now
	sendStart := start + w.duration(300*time.Microsecond)
	written := sendStart + w.duration(4*time.Millisecond)
	acked := written + w.duration(900*time.Microsecond)
	asked := written - r.Int64N(int64(300*time.Millisecond))
	if r.IntN(4) == 0 { // behind
		asked = acked + w.duration(200*time.Millisecond)
	}
	answered := max(asked, acked) + w.duration(400*time.Microsecond)
	handed := answered + w.duration(150*time.Microsecond)
	done := handed + w.duration(3*time.Millisecond)
	order := fmt.Sprintf("ord-%d", 10_000_000+r.IntN(89_000_000))
	recordTime := sendStart / 1e6 * 1e6
	status := schemas.StatusUnset
	if r.IntN(100) == 0 {
		status = schemas.StatusError
	}
	src1, pos1 := w.place(producer)
	src2, pos2 := w.place(producer)
	src3, pos3 := w.place(consumer)
	size := 300 + r.Int64N(500)
	attrs := func(op, typ string) []schemas.Attribute {
		return []schemas.Attribute{
			{Key: "messaging.system", Value: "kafka"},
			{Key: "messaging.destination.name", Value: topic},
			{Key: "messaging.operation.name", Value: op},
			{Key: "messaging.operation.type", Value: typ},
			{Key: "messaging.destination.partition.id", Value: fmt.Sprint(ref.Partition)},
			{Key: "messaging.kafka.offset", Value: fmt.Sprint(offset)},
			{Key: "messaging.client.id", Value: producer},
			{Key: "messaging.message.body.size", Value: fmt.Sprint(size)},
			{Key: "messaging.kafka.message.key", Value: order},
			{Key: "server.address", Value: "kafka-1.internal"},
			{Key: "server.port", Value: "9092"},
		}
	}
	spans = append(spans,
		schemas.Span{
			Project: 1, TraceID: trace, SpanID: root, Name: "POST /checkout", Kind: schemas.KindServer, Start: start, End: acked + w.duration(100*time.Microsecond),
			Service: producer, Scope: "net/http", Resource: w.resource(producer, n), Source: src1, Position: pos1,
			Attributes: []schemas.Attribute{
				{Key: "http.request.method", Value: "POST"},
				{Key: "url.path", Value: "/checkout"},
				{Key: "http.response.status_code", Value: "200"},
				{Key: "server.address", Value: "shop.example"},
				{Key: "client.address", Value: fmt.Sprintf("10.0.%d.%d", r.IntN(8), r.IntN(256))},
				{Key: "order.id", Value: order},
			},
		},
		schemas.Span{
			Project: 1, TraceID: trace, SpanID: send, ParentID: root, Name: "send " + topic, Kind: schemas.KindProducer, Start: sendStart, End: acked,
			Service: producer, Scope: "otelkafkago", Resource: w.resource(producer, n), Attributes: attrs("send", "send"), Source: src2, Position: pos2,
		},
		schemas.Span{
			Project: 1, TraceID: trace, SpanID: process, ParentID: send, Name: "process " + topic, Kind: schemas.KindConsumer, Status: status, Start: handed, End: done,
			Service: consumer, Scope: "otelkafkago", Resource: w.resource(consumer, n%3), Source: src3, Position: pos3,
			Attributes: append(attrs("process", "process"), schemas.Attribute{Key: "messaging.consumer.group.name", Value: consumer}),
			Links:      []schemas.Link{{TraceID: trace, SpanID: send}},
		},
	)
	base := schemas.Message{
		Project: 1, Topic: topic, Partition: ref.Partition, Offset: offset, BootID: "6f9619ff-8b86-d011-b42d-00c04fc964ff",
		RecordTime: recordTime, BodySize: size, KeyHash: r.Uint64(), HighWatermark: schemas.Unknown,
	}
	p, c := base, base
	p.Side, p.Service, p.ClientID, p.TraceID, p.SpanID, p.Source, p.Position = schemas.SideProduce, producer, producer, trace, send, src2, pos2
	p.Start, p.End, p.Written, p.Acked, p.Attempts = sendStart, acked, written, acked, 1
	c.Side, c.Service, c.ClientID, c.Group, c.TraceID, c.SpanID, c.Source, c.Position = schemas.SideProcess, consumer, consumer, consumer, trace, process, src3, pos3
	c.CreationTrace, c.CreationSpan = trace, send
	c.Instance = fmt.Sprintf("%s-%d", consumer, ref.Partition%3)
	c.Start, c.End, c.Asked, c.Answered, c.Handed = handed, done, asked, answered, handed
	c.HighWatermark = offset + 1 + r.Int64N(3)
	c.Failed = status == schemas.StatusError
	return spans, append(messages, p, c)
}
