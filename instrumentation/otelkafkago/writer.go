package otelkafkago

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

// Writer is a kafka.Writer whose records carry the trace context and whose sends
// are spans. The span of a record starts with WriteMessages and ends with the
// broker's answer, also when WriteMessages has long returned.
//
// The fields Completion, Transport and Balancer of the wrapped Writer are taken
// into use by [NewWriter]: set them before, not after.
type Writer struct {
	*kafka.Writer
	hooks *writerHooks
}

// WriterCounts tells what was left undone. Values only grow.
type WriterCounts struct {
	// InjectionsSkipped counts records sent without a context because it would
	// have made them larger than BatchBytes or because they have more than
	// messaging.MaxHeadersToInject headers.
	InjectionsSkipped uint64
	// BaggageSkipped counts records sent without the baggage of their context
	// because that is over the limits.
	BaggageSkipped uint64
	// Panics counts panics of the instrumentation itself, or of a provider below
	// it, that were kept from the program.
	Panics uint64
}

// NewWriter instruments w, which must not have been used yet, and takes it over.
// It works for &kafka.Writer{…} and for the deprecated kafka.NewWriter alike.
// Wrapping the same Writer again returns one with the same hooks: the first
// options stay.
func NewWriter(w *kafka.Writer, opts ...Option) *Writer {
	if b, ok := w.Balancer.(*balancer); ok {
		return &Writer{Writer: w, hooks: b.hooks}
	}
	h := &writerHooks{
		config:    newConfig(opts),
		user:      w.Completion,
		transport: &transport{inner: w.Transport, flights: make(map[topicPartition]*flight)},
	}
	h.topics.init(func(topic string) *topicOptions { return newSendOptions(&h.config, w, topic) })
	w.Transport = h.transport
	w.Completion = h.complete
	inner := w.Balancer
	if inner == nil {
		inner = &kafka.RoundRobin{} // what a Writer without a Balancer uses
	}
	w.Balancer = &balancer{inner: inner, hooks: h}
	return &Writer{Writer: w, hooks: h}
}

// Wrap is [NewWriter] under the name that reads well at the place of use.
func Wrap(w *kafka.Writer, opts ...Option) *Writer { return NewWriter(w, opts...) }

// WriteMessages is kafka.Writer.WriteMessages. The messages given to it, their
// header slices and the arrays behind them are not changed. A message that
// carries a creation context keeps it; its send span then links to it and is of
// kind client.
func (w *Writer) WriteMessages(ctx context.Context, msgs ...kafka.Message) error {
	if len(msgs) == 0 || !messaging.Enabled() {
		return w.Writer.WriteMessages(ctx, msgs...)
	}
	out, sends := w.hooks.begin(ctx, w.Writer, msgs)
	if out == nil {
		return w.Writer.WriteMessages(ctx, msgs...)
	}
	returned := false
	defer func() {
		if !returned { // a Balancer panicked: nothing was enqueued
			w.hooks.abort(out, sends, errPanic)
		}
	}()
	err := w.Writer.WriteMessages(ctx, out...)
	returned = true
	// The Balancer is asked for the last message after everything that can fail
	// and before any message is enqueued.
	if err != nil && !sends[len(sends)-1].assigned {
		w.hooks.abort(out, sends, err)
		err = restoreTooLarge(err, msgs, sends)
	}
	return err
}

// Close is kafka.Writer.Close: it waits for pending writes, so every send span
// has ended when it returns.
func (w *Writer) Close() error { return w.Writer.Close() }

// Counts returns what was left undone since the Writer was made.
func (w *Writer) Counts() WriterCounts {
	return WriterCounts{
		InjectionsSkipped: w.hooks.skipped.Load(),
		BaggageSkipped:    w.hooks.baggageSkipped.Load(),
		Panics:            w.hooks.panics.Load(),
	}
}

var errPanic = errors.New("the call panicked")

// send is the state of one record between WriteMessages and Completion. It
// travels in the message's WriterData.
type send struct {
	span      trace.Span
	start     time.Time
	user      any            // the caller's WriterData
	headers   []kafka.Header // the caller's headers
	topic     string
	partition int32
	assigned  bool
}

type writerHooks struct {
	config    config
	user      func([]kafka.Message, error)
	transport *transport
	topics    optionCache[string]

	skipped, baggageSkipped, panics atomic.Uint64
}

// begin copies msgs, starts their spans and adds headers. It returns nil when the
// instrumentation itself failed; the caller then sends msgs as they are.
func (h *writerHooks) begin(ctx context.Context, w *kafka.Writer, msgs []kafka.Message) (out []kafka.Message, sends []send) {
	defer func() {
		if p := recover(); p != nil {
			h.panics.Add(1)
			out, sends = nil, nil
		}
	}()
	start := time.Now()
	in := messaging.NewInjector[kafka.Header](ctx, h.config.sentryTrace)
	headers := 0
	for i := range msgs {
		if n := len(msgs[i].Headers); n <= messaging.MaxHeadersToInject {
			headers += n
		}
	}
	in.Grow(len(msgs), headers)
	limit := w.BatchBytes
	if limit <= 0 {
		limit = defaultBatchBytes
	}
	out = make([]kafka.Message, len(msgs))
	copy(out, msgs)
	sends = make([]send, len(msgs))

	var options *topicOptions
	var cached []trace.SpanStartOption // for options.topic, with the start time
	for i := range out {
		m, s := &out[i], &sends[i]
		topic := w.Topic
		if topic == "" {
			topic = m.Topic
		}
		if options == nil || options.topic != topic {
			options = h.topics.get(topic)
			cached = append(make([]trace.SpanStartOption, 0, len(options.start)+3), options.start...)
			cached = append(cached, trace.WithTimestamp(start))
		}
		s.start, s.user, s.headers, s.topic = start, m.WriterData, m.Headers, topic
		m.WriterData = s

		var found messaging.Extracted
		if len(m.Headers) > 0 {
			found = messaging.Extract(m.Headers)
		}
		if found.Form != messaging.FormNone {
			_, s.span = h.config.tracer.Start(ctx, options.name, append(cached[:len(cached):len(cached)],
				trace.WithSpanKind(trace.SpanKindClient), trace.WithLinks(trace.Link{SpanContext: found.SpanContext}))...)
			continue
		}
		var spanCtx context.Context
		spanCtx, s.span = h.config.tracer.Start(ctx, options.name, cached...)
		sc := s.span.SpanContext()
		if !sc.IsValid() {
			continue
		}
		if len(m.Headers) > messaging.MaxHeadersToInject || messageSize(m)+int64(in.Overhead(sc)) > limit {
			h.skipped.Add(1)
			continue
		}
		if in.BaggageSkipped() {
			h.baggageSkipped.Add(1)
		}
		m.Headers = in.Inject(m.Headers, sc)
		if h.config.propagator != nil {
			carrier := headerCarrier{headers: m.Headers}
			h.config.propagator.Inject(spanCtx, &carrier)
			if added := carrier.headers; messageSizeWith(m, added) <= limit {
				m.Headers = added
			}
		}
	}
	return out, sends
}

// abort ends the spans of messages that were not enqueued.
func (h *writerHooks) abort(out []kafka.Message, sends []send, err error) {
	defer h.guard()
	for i := range sends {
		h.finish(&sends[i], &out[i], nil, err)
	}
}

// complete is the Completion of the wrapped Writer.
func (h *writerHooks) complete(msgs []kafka.Message, err error) {
	h.finishBatch(msgs, err)
	if h.user != nil {
		h.user(restore(msgs), err)
	}
}

func (h *writerHooks) finishBatch(msgs []kafka.Message, err error) {
	defer h.guard()
	var f *flight
	for i := range msgs {
		s, ok := msgs[i].WriterData.(*send)
		if !ok {
			continue
		}
		if f == nil {
			if f = h.transport.take(s.topic, s.partition); f == nil {
				f = &flight{}
			}
		}
		h.finish(s, &msgs[i], f, err)
	}
	if f == nil && len(msgs) > 0 && msgs[0].Topic != "" {
		h.transport.take(msgs[0].Topic, int32(msgs[0].Partition)) //nolint:gosec // partitions are int32 in the protocol
	}
}

// finish ends the span of one record. f is nil when the record was never
// enqueued.
func (h *writerHooks) finish(s *send, m *kafka.Message, f *flight, err error) {
	if s.span == nil {
		return
	}
	end := time.Now()
	if s.span.IsRecording() {
		attrs := make([]attribute.KeyValue, 0, 12)
		attrs = append(attrs, attribute.Int(messaging.AttrBodySize, len(m.Value)))
		if m.Value == nil {
			attrs = append(attrs, attribute.Bool(messaging.AttrKafkaTombstone, true))
		}
		if m.Key != nil {
			attrs = append(attrs, attribute.String(messaging.AttrKeyHash, messaging.KeyHash(m.Key)))
		}
		if s.assigned {
			attrs = append(attrs, attribute.String(messaging.AttrPartitionID, partitionID(s.partition)))
		}
		if f != nil {
			attrs = f.attributes(attrs)
			if err == nil && f.acked != 0 {
				attrs = append(attrs, attribute.Int64(messaging.AttrKafkaOffset, m.Offset))
				end = time.Unix(0, f.acked)
			}
		}
		if err != nil {
			attrs = append(attrs, attribute.String(messaging.AttrErrorType, errorType(err)))
		}
		s.span.SetAttributes(attrs...)
		setError(s.span, err)
	}
	s.span.End(trace.WithTimestamp(end))
	s.span = nil
}

func (f *flight) attributes(attrs []attribute.KeyValue) []attribute.KeyValue {
	if f.written != 0 {
		attrs = append(attrs, attribute.Int64(messaging.AttrProduceWritten, f.written))
		if f.firstWritten != f.written {
			attrs = append(attrs, attribute.Int64(messaging.AttrProduceFirstWritten, f.firstWritten))
		}
	}
	if f.acked != 0 {
		attrs = append(attrs, attribute.Int64(messaging.AttrProduceAcked, f.acked))
	}
	if f.appended != 0 {
		attrs = append(attrs, attribute.Int64(messaging.AttrProduceAppended, f.appended))
	}
	if f.attempts > 1 {
		attrs = append(attrs, attribute.Int(messaging.AttrProduceAttempts, f.attempts))
	}
	if f.throttle > 0 {
		attrs = append(attrs, attribute.Int64(messaging.AttrProduceThrottle, f.throttle.Nanoseconds()))
	}
	return attrs
}

func (h *writerHooks) guard() {
	if p := recover(); p != nil {
		h.panics.Add(1)
	}
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
	s, ok := m.WriterData.(*send)
	if !ok {
		return b.inner.Balance(m, partitions...)
	}
	m.WriterData, m.Headers = s.user, s.headers
	p := b.inner.Balance(m, partitions...)
	s.partition, s.assigned = int32(p), true //nolint:gosec // partitions are int32 in the protocol
	return p
}

// restore returns msgs as their sender knows them. It copies: kafka-go may still
// be encoding from msgs after it gave up on a request.
func restore(msgs []kafka.Message) []kafka.Message {
	for i := range msgs {
		if _, ok := msgs[i].WriterData.(*send); ok {
			out := make([]kafka.Message, len(msgs))
			copy(out, msgs)
			for j := i; j < len(out); j++ {
				if s, ok := out[j].WriterData.(*send); ok {
					out[j].WriterData, out[j].Headers = s.user, s.headers
				}
			}
			return out
		}
	}
	return msgs
}

// restoreTooLarge puts the caller's messages into a kafka.MessageTooLargeError,
// which the caller sends again from.
func restoreTooLarge(err error, msgs []kafka.Message, sends []send) error {
	var large kafka.MessageTooLargeError
	if !errors.As(err, &large) {
		return err
	}
	for i := range sends {
		if large.Message.WriterData == any(&sends[i]) {
			remaining := make([]kafka.Message, 0, len(msgs)-1)
			remaining = append(append(remaining, msgs[:i]...), msgs[i+1:]...)
			return kafka.MessageTooLargeError{Message: msgs[i], Remaining: remaining}
		}
	}
	return err
}

// optionCache keeps span options by topic or partition, at most maxCached of them.
type optionCache[K comparable] struct {
	mu   sync.RWMutex
	m    map[K]*topicOptions
	make func(K) *topicOptions
}

const maxCached = 4096

func (c *optionCache[K]) init(f func(K) *topicOptions) {
	c.m, c.make = make(map[K]*topicOptions), f
}

func (c *optionCache[K]) get(key K) *topicOptions {
	c.mu.RLock()
	o := c.m[key]
	c.mu.RUnlock()
	if o != nil {
		return o
	}
	o = c.make(key)
	c.mu.Lock()
	if len(c.m) < maxCached {
		c.m[key] = o
	}
	c.mu.Unlock()
	return o
}
