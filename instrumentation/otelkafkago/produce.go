package otelkafkago

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/segmentio/kafka-go"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

// call is the state of one call of WriteMessages. Its slots point to it until the
// last of its records is done.
type call struct {
	messaging.Call

	out  []kafka.Message // the copies handed to kafka-go; valid during the call
	pool *[]kafka.Message
	in   messaging.Injector[kafka.Header]

	// Of a call whose records need no span, those without headers and WriterData
	// share slots: each begins with shared and gets, when its partition is chosen,
	// the slot of all that go there.
	shared slot
	topic  string  // of the Writer
	asked  int     // messages whose partition was chosen
	first  slot    // of the partition chosen first
	parts  []*slot // of the others
}

// slot is the state of one record between WriteMessages and Completion. It
// travels in the message's WriterData.
type slot struct {
	messaging.Send
	user      any            // the caller's WriterData
	headers   []kafka.Header // the caller's headers
	topic     string
	partition int32
	assigned  bool
	sharing   *call // the slot stands for any record of that call
}

// single is what a call of one plain message needs: one allocation.
type single struct {
	messaging.Call
	slot    slot
	headers []kafka.Header
	header  [1]kafka.Header // what headers usually is
	value   [traceparentLen]byte
}

const traceparentLen = 55

type writerHooks struct {
	core      *messaging.Core
	producer  *messaging.Producer
	user      func([]kafka.Message, error)
	transport *transport
	foreign   propagation.TextMapPropagator // of the program; nil when the built-in forms are enough
	sentry    bool
	pathways  bool
	keys      bool // are told

	skipped, baggageSkipped atomic.Uint64
}

func newHooks(core *messaging.Core, c config, cfg messaging.ProducerConfig) *writerHooks {
	return &writerHooks{
		core:     core,
		producer: core.Producer(cfg),
		foreign:  core.Propagator(),
		sentry:   c.core.SentryTrace,
		pathways: c.core.Pathways,
		keys:     c.core.MessageKey != nil,
	}
}

// copies holds the copies of messages that calls hand to kafka-go, which copies
// them again.
var copies = sync.Pool{New: func() any { return new([]kafka.Message) }}

// maxPooled bounds the length of the copies that are kept for the next call.
const maxPooled = 4096

func (c *call) release() {
	clear(c.out)
	if cap(c.out) <= maxPooled {
		*c.pool = c.out[:0]
		copies.Put(c.pool)
	}
	c.out, c.pool = nil, nil
}

// beginOne begins a call of one message that has no headers and gets none but
// traceparent. simple is false for any other; nil and true mean that the
// instrumentation itself failed.
func (h *writerHooks) beginOne(ctx context.Context, w *kafka.Writer, m *kafka.Message) (_ *single, simple bool) {
	if len(m.Headers) > 0 || h.foreign != nil || h.sentry || h.pathways {
		return nil, false
	}
	if messageSize(m)+int64(4+len(messaging.HeaderTraceparent)+traceparentLen) > limit(w) {
		return nil, false
	}
	simple = true //nolint:wastedassign // what a panic below leaves to the caller
	defer h.core.Guard()
	in := messaging.NewInjector[kafka.Header](ctx, false)
	if !in.Plain() || in.BaggageSkipped() {
		return nil, false
	}
	one := &single{}
	s := &one.slot
	s.user, s.topic = m.WriterData, topicOf(w, m)
	h.producer.Begin(ctx, &one.Call)
	sc, plain := one.Unsampled()
	if plain {
		one.Measure(&s.Send)
	} else {
		one.Start(&s.Send, h.producer.Topic(s.topic), trace.SpanContext{})
		sc = s.Context()
	}
	switch {
	case !sc.IsValid(): // a provider that makes no contexts
	case sc.TraceState().Len() > 0:
		in.Grow(1, 0)
		if messageSize(m)+int64(in.Overhead(sc)) > limit(w) {
			h.skipped.Add(1)
			break
		}
		one.headers = in.Inject(nil, sc)
	default:
		v := messaging.AppendTraceparent(one.value[:0], sc)
		one.header[0] = kafka.Header{Key: messaging.HeaderTraceparent, Value: v[:len(v):len(v)]}
		one.headers = one.header[:]
	}
	return one, true
}

func limit(w *kafka.Writer) int64 {
	if w.BatchBytes > 0 {
		return w.BatchBytes
	}
	return defaultBatchBytes
}

func topicOf(w *kafka.Writer, m *kafka.Message) string {
	if w.Topic != "" {
		return w.Topic
	}
	return m.Topic
}

// begin copies msgs, starts their spans and adds headers. It returns nil when the
// instrumentation itself failed; the caller then sends msgs as they are.
func (h *writerHooks) begin(ctx context.Context, w *kafka.Writer, msgs []kafka.Message) (_ *call) {
	defer h.core.Guard()
	c := &call{topic: w.Topic, pool: copies.Get().(*[]kafka.Message)}
	c.out = (*c.pool)[:0]
	c.out = append(c.out, msgs...)
	h.producer.Begin(ctx, &c.Call)
	c.in = messaging.NewInjector[kafka.Header](ctx, h.sentry)
	in := &c.in
	if sc, ok := c.Unsampled(); ok && h.foreign == nil {
		h.beginUnsampled(c, w, in, sc)
		return c
	}
	headers := 0
	for i := range msgs {
		if n := len(msgs[i].Headers); n <= messaging.MaxHeadersToInject {
			headers += n
		}
	}
	b := starter{hooks: h, call: c, in: in, limit: limit(w), ctx: ctx}
	slots := make([]slot, len(msgs))
	for i := range c.out {
		m, s := &c.out[i], &slots[i]
		topic := topicOf(w, m)
		if b.topic == nil || b.topic.Topic != topic {
			b.to(topic)
		}
		if i == 0 {
			in.Grow(len(msgs), headers)
		}
		s.user, s.headers, s.topic = m.WriterData, m.Headers, topic
		m.WriterData = s
		b.start(m, s)
	}
	return c
}

// starter is what begin needs for each record.
type starter struct {
	hooks *writerHooks
	call  *call
	in    *messaging.Injector[kafka.Header]
	topic *messaging.SendTopic
	limit int64
	ctx   context.Context //nolint:containedctx // for the propagator of the program
}

func (b *starter) to(topic string) {
	b.topic = b.hooks.producer.Topic(topic)
	b.in.SetPathway(b.call.PathwayHeader(b.topic))
}

// start starts the span of a record and gives it its headers.
func (b *starter) start(m *kafka.Message, s *slot) {
	var given messaging.Extracted
	if len(m.Headers) > 0 {
		given = messaging.Extract(m.Headers)
	}
	b.call.Start(&s.Send, b.topic, given.SpanContext)
	if given.Form != messaging.FormNone {
		return
	}
	if sc := s.Context(); sc.IsValid() {
		b.inject(m, sc)
	}
}

func (b *starter) inject(m *kafka.Message, sc trace.SpanContext) {
	h := b.hooks
	if len(m.Headers) > messaging.MaxHeadersToInject || messageSize(m)+int64(b.in.Overhead(sc)) > b.limit {
		h.skipped.Add(1)
		return
	}
	if b.in.BaggageSkipped() {
		h.baggageSkipped.Add(1)
	}
	m.Headers = b.in.Inject(m.Headers, sc)
	if h.foreign != nil {
		carrier := headerCarrier{headers: m.Headers}
		h.foreign.Inject(trace.ContextWithSpanContext(b.ctx, sc), &carrier)
		if added := carrier.headers; messageSizeWith(m, added) <= b.limit {
			m.Headers = added
		}
	}
}

// beginUnsampled gives all records of a call the same context and no spans.
func (h *writerHooks) beginUnsampled(c *call, w *kafka.Writer, in *messaging.Injector[kafka.Header], sc trace.SpanContext) {
	c.shared.sharing = c
	c.Measure(&c.shared.Send)
	b := starter{hooks: h, call: c, in: in, limit: limit(w)}
	var common []kafka.Header
	var overhead int64
	for i := range c.out {
		m := &c.out[i]
		if topic := topicOf(w, m); b.topic == nil || b.topic.Topic != topic {
			b.to(topic)
			in.Grow(1, 0)
			common, overhead = in.Inject(nil, sc), int64(in.Overhead(sc))
		}
		if len(m.Headers) == 0 && m.WriterData == nil && int64(len(m.Key)+len(m.Value))+fixedSize+overhead <= b.limit {
			m.Headers, m.WriterData = common, &c.shared
			if in.BaggageSkipped() {
				h.baggageSkipped.Add(1)
			}
			continue
		}
		s := &slot{user: m.WriterData, headers: m.Headers, topic: b.topic.Topic}
		c.Measure(&s.Send)
		m.WriterData = s
		if len(m.Headers) == 0 || messaging.Extract(m.Headers).Form == messaging.FormNone {
			in.Grow(1, len(m.Headers))
			b.inject(m, sc)
		}
	}
}

// assigned tells whether a partition was chosen for a copy.
func assigned(m *kafka.Message) bool {
	s, ok := m.WriterData.(*slot)
	return ok && s.assigned
}

// abort ends the spans of messages that were not enqueued.
func (h *writerHooks) abort(out []kafka.Message, err error) {
	defer h.core.Guard()
	for i := range out {
		if s, ok := out[i].WriterData.(*slot); ok {
			if s.sharing != nil {
				s.topic = s.sharing.topicOf(&out[i])
			}
			h.abandon(s, &out[i], err)
		}
	}
}

func (c *call) topicOf(m *kafka.Message) string {
	if c.topic != "" {
		return c.topic
	}
	return m.Topic
}

func (h *writerHooks) abandon(s *slot, m *kafka.Message, err error) {
	partition := int32(-1)
	if s.assigned {
		partition = s.partition
	}
	sent := h.sent(m)
	sent.Offset = -1
	if h.keys {
		sent.KeyText = h.core.KeyText(m.Key)
	}
	h.producer.Abandon(&s.Send, s.topic, partition, err, errorType(err), &sent)
}

func (h *writerHooks) sent(m *kafka.Message) messaging.Sent {
	return messaging.Sent{Offset: m.Offset, BodySize: len(m.Value), Tombstone: m.Value == nil, HasKey: m.Key != nil, Key: m.Key}
}

// keysOf returns what is told of the keys of msgs, nil when nothing is. It calls
// the program's function, so no lock may be held.
func (h *writerHooks) keysOf(msgs []kafka.Message) []string {
	if !h.keys {
		return nil
	}
	keys := make([]string, len(msgs))
	for i := range msgs {
		keys[i] = h.core.KeyText(msgs[i].Key)
	}
	return keys
}

// complete is the Completion of the wrapped Writer.
func (h *writerHooks) complete(msgs []kafka.Message, err error) {
	over := h.finish(msgs, err)
	if h.user == nil {
		return
	}
	if over {
		for i := range msgs {
			if s, ok := msgs[i].WriterData.(*slot); ok {
				msgs[i].WriterData, msgs[i].Headers = s.user, s.headers
			}
		}
	} else {
		msgs = restore(msgs)
	}
	h.user(msgs, err)
}

// finish ends the records of one batch, all of one topic and partition. over tells
// that kafka-go is done with msgs for sure.
func (h *writerHooks) finish(msgs []kafka.Message, err error) (over bool) {
	defer h.core.Guard()
	var first *slot
	for i := range msgs {
		if s, ok := msgs[i].WriterData.(*slot); ok {
			first = s
			break
		}
	}
	if first == nil {
		if len(msgs) > 0 && msgs[0].Topic != "" {
			h.transport.take(msgs[0].Topic, int32(msgs[0].Partition)) //nolint:gosec // partitions are int32 in the protocol
		}
		return false
	}
	f := h.transport.take(first.topic, first.partition)
	end := endings.Get().(*ending)
	end.Outcome = messaging.Outcome{
		FirstWritten: f.firstWritten, Written: f.written, Acked: f.acked, Appended: f.appended,
		Throttle: f.throttle, Attempts: f.attempts, Broker: f.broker, Err: err,
	}
	if err != nil {
		end.ErrorType = errorType(err)
	}
	keys := h.keysOf(msgs)
	h.producer.Finish(&end.Finisher, first.topic, first.partition, &end.Outcome)
	defer end.done()
	for i := range msgs {
		s, ok := msgs[i].WriterData.(*slot)
		if !ok {
			continue
		}
		sent := h.sent(&msgs[i])
		if f.acked == 0 || err != nil {
			sent.Offset = -1
		}
		if keys != nil {
			sent.KeyText = keys[i]
		}
		end.Add(&s.Send, &sent)
	}
	return f.attempts > 0 && !f.late
}

// ending is what finish needs for a batch. It is used again: one a batch would be
// an allocation a message where batches are of one.
type ending struct {
	messaging.Outcome
	messaging.Finisher
}

var endings = sync.Pool{New: func() any { return new(ending) }}

func (e *ending) done() {
	e.Done()
	*e = ending{}
	endings.Put(e)
}

// balancer learns the partition of each record, which kafka-go does not tell when
// a write fails, and shows the Balancer below the message as the caller gave it.
type balancer struct {
	inner kafka.Balancer
	hooks *writerHooks
}

// Unwrap returns the Balancer that the Writer had before it was wrapped.
func (b *balancer) Unwrap() kafka.Balancer { return b.inner }

// Balance implements kafka.Balancer.
func (b *balancer) Balance(m kafka.Message, partitions ...int) int {
	s, ok := m.WriterData.(*slot)
	if !ok {
		return b.inner.Balance(m, partitions...)
	}
	m.WriterData, m.Headers = s.user, s.headers
	p := b.inner.Balance(m, partitions...)
	if s.sharing != nil {
		s.sharing.choose(int32(p)) //nolint:gosec // partitions are int32 in the protocol
		return p
	}
	s.partition, s.assigned = int32(p), true //nolint:gosec // partitions are int32 in the protocol
	return p
}

// choose gives the next message that shares a slot the slot of its partition.
// kafka-go asks for the partitions of a call's messages in their order, before it
// copies any of them.
func (c *call) choose(partition int32) {
	for c.asked < len(c.out) && c.out[c.asked].WriterData != any(&c.shared) {
		c.asked++
	}
	if c.asked >= len(c.out) {
		return
	}
	m := &c.out[c.asked]
	topic := c.topicOf(m)
	c.asked++
	s := &c.first
	switch {
	case s.assigned && s.partition == partition && s.topic == topic:
		m.WriterData = s
		return
	case s.assigned:
		for _, s := range c.parts {
			if s.partition == partition && s.topic == topic {
				m.WriterData = s
				return
			}
		}
		s = new(slot)
		c.parts = append(c.parts, s)
	}
	s.topic, s.partition, s.assigned = topic, partition, true
	c.Measure(&s.Send)
	m.WriterData = s
}

// restore returns msgs as their sender knows them. It copies: kafka-go may still
// be encoding from msgs after it gave up on a request.
func restore(msgs []kafka.Message) []kafka.Message {
	for i := range msgs {
		if _, ok := msgs[i].WriterData.(*slot); ok {
			out := make([]kafka.Message, len(msgs))
			copy(out, msgs)
			for j := i; j < len(out); j++ {
				if s, ok := out[j].WriterData.(*slot); ok {
					out[j].WriterData, out[j].Headers = s.user, s.headers
				}
			}
			return out
		}
	}
	return msgs
}

// restoreTooLarge puts the caller's messages into a kafka.MessageTooLargeError,
// which the caller sends again from. The error tells no index: the message is
// the first that is too large.
func restoreTooLarge(err error, msgs, out []kafka.Message) error {
	var large kafka.MessageTooLargeError
	if !errors.As(err, &large) || len(large.Remaining) != len(msgs)-1 {
		return err
	}
	i := 0 // Remaining holds the others in their order
	for i < len(large.Remaining) && same(&large.Remaining[i], &out[i]) {
		i++
	}
	remaining := make([]kafka.Message, 0, len(msgs)-1)
	remaining = append(append(remaining, msgs[:i]...), msgs[i+1:]...)
	return kafka.MessageTooLargeError{Message: msgs[i], Remaining: remaining}
}

// same tells whether a is a copy of b. Of equal messages it does not matter which
// is which.
func same(a, b *kafka.Message) bool {
	return a.WriterData == b.WriterData && sameBytes(a.Value, b.Value) && sameBytes(a.Key, b.Key)
}

func sameBytes(a, b []byte) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}
