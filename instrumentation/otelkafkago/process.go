package otelkafkago

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

// Process runs fn on msg, which this Reader handed out, inside its process span,
// and returns fn's error. The context given to fn carries that span and the
// baggage of the record. A panic of fn ends the span as an error and goes on.
func (r *Reader) Process(ctx context.Context, msg kafka.Message, fn func(ctx context.Context, msg kafka.Message) error) error {
	ctx, end := r.StartProcess(ctx, msg)
	returned := false
	defer func() {
		if !returned {
			end(errProcessPanic)
		}
	}()
	err := fn(ctx, msg)
	returned = true
	end(err)
	return err
}

var errProcessPanic = errors.New("processing panicked")

// StartProcess starts the process span of msg, which this Reader handed out, and
// returns a context with that span and the function that ends it. That function
// may be called from any goroutine; only its first call counts. Each delivery of
// a record has its own span; processing one delivery again makes another span,
// without the times of the fetch.
func (r *Reader) StartProcess(ctx context.Context, msg kafka.Message) (context.Context, func(error)) {
	if !messaging.Enabled() {
		return ctx, func(error) {}
	}
	processCtx, span := r.startProcess(ctx, &msg)
	if span == nil {
		return processCtx, func(error) {}
	}
	var once sync.Once
	return processCtx, func(err error) {
		once.Do(func() {
			defer r.guard()
			endProcess(span, err, time.Now())
		})
	}
}

// MessageContext returns ctx with the process span of msg, which this Reader
// handed out, for programs whose flow does not suit [Reader.Process]. The span
// ends as [Reader] says, and is marked as estimated. After that, and for a
// message of elsewhere, the context still carries the trace.
func (r *Reader) MessageContext(ctx context.Context, msg kafka.Message) context.Context {
	if !messaging.Enabled() {
		return ctx
	}
	return r.messageContext(ctx, &msg)
}

func (r *Reader) startProcess(ctx context.Context, msg *kafka.Message) (out context.Context, span trace.Span) {
	out = ctx //nolint:wastedassign // what a panic below leaves to the caller
	defer r.guard()
	key := keyOf(msg)
	d := r.pending.claim(key, true)
	if d == nil {
		if sc, ended := r.pending.ended(key); ended {
			// The next fetch was taken for the end of this record's processing
			// before the program said that it tells the end itself. One delivery
			// has one process span, so this one gets none.
			return trace.ContextWithSpanContext(messaging.Extract(msg.Headers).Into(ctx), sc), nil
		}
		d = r.newDelivery(msg)
	}
	if d.span != nil { // MessageContext was asked first
		return trace.ContextWithSpan(d.found.Into(ctx), d.span), d.span
	}
	return r.start(ctx, d, time.Now())
}

func (r *Reader) messageContext(ctx context.Context, msg *kafka.Message) (out context.Context) {
	out = ctx
	defer r.guard()
	key := keyOf(msg)
	var span trace.Span
	if r.pending.with(key, func(d *delivery) {
		if d.span == nil {
			_, d.span = r.start(ctx, d, d.handed)
		}
		span = d.span
		out = d.found.Into(ctx)
	}) {
		return trace.ContextWithSpan(out, span)
	}
	d := r.newDelivery(msg)
	out = d.found.Into(ctx)
	if sc, ok := r.pending.ended(key); ok {
		return trace.ContextWithSpanContext(out, sc)
	}
	if d.creation.IsValid() {
		out = trace.ContextWithRemoteSpanContext(out, d.creation)
	}
	return out
}

// start starts the process span of d.
func (r *Reader) start(ctx context.Context, d *delivery, at time.Time) (context.Context, trace.Span) {
	o := r.process.get(d.key.topicPartition)
	opts := make([]trace.SpanStartOption, 0, len(o.start)+4)
	opts = append(append(opts, o.start...), trace.WithTimestamp(at))
	ambient := trace.SpanContextFromContext(ctx)
	ctx = d.found.Into(ctx)
	hasCreation := d.creation.IsValid()
	if hasCreation {
		opts = append(opts, trace.WithLinks(trace.Link{SpanContext: d.creation}))
	}
	switch {
	case r.config.parent && hasCreation:
		ctx = trace.ContextWithRemoteSpanContext(ctx, d.creation)
	case d.received.IsValid():
		ctx = trace.ContextWithSpanContext(ctx, d.received)
	default:
		ambient = trace.SpanContext{} // it is the parent, no need to link to it
	}
	if ambient.IsValid() && !ambient.Equal(d.received) && !ambient.Equal(d.ambient) && !ambient.Equal(d.creation) {
		opts = append(opts, trace.WithLinks(trace.Link{SpanContext: ambient}))
	}
	ctx, span := r.config.tracer.Start(ctx, o.name, opts...)
	if span.IsRecording() {
		span.SetAttributes(d.times(d.attributes(make([]attribute.KeyValue, 0, 12)))...)
	}
	return ctx, span
}

// estimate ends the process span of a delivery whose end the program did not
// tell.
func (r *Reader) estimate(d *delivery, end time.Time) {
	span := d.span
	if span == nil {
		_, span = r.start(trace.ContextWithSpanContext(context.Background(), d.ambient), d, d.handed)
	}
	if span.IsRecording() {
		span.SetAttributes(attribute.Bool(messaging.AttrConsumeEstimated, true))
	}
	endProcess(span, nil, end)
	r.pending.noteEnded(d.key, span.SpanContext())
}

func endProcess(span trace.Span, err error, at time.Time) {
	if err != nil && span.IsRecording() {
		span.SetAttributes(attribute.String(messaging.AttrErrorType, errorType(err)))
		setError(span, err)
	}
	span.End(trace.WithTimestamp(at))
}

// deliveryKey names a record. Two deliveries of one record have one key; the
// later one then stands for it.
type deliveryKey struct {
	topicPartition
	offset int64
}

func keyOf(m *kafka.Message) deliveryKey {
	return deliveryKey{topicPartition{m.Topic, int32(m.Partition)}, m.Offset} //nolint:gosec // partitions are int32 in the protocol
}

// delivery is a record handed to the program. It keeps nothing of the record but
// its baggage header.
type delivery struct {
	key             deliveryKey
	found           messaging.Extracted
	creation        trace.SpanContext // from found or from the user's propagator; not valid if neither has one
	received        trace.SpanContext
	ambient         trace.SpanContext // of the context given to the fetch
	asked, answered int64
	handed          time.Time
	recordTime      time.Time
	superseded      time.Time // the next fetch on this Reader was called
	highWatermark   int64
	bodySize        int
	tombstone       bool
	hasKey          bool
	keyHash         string
	span            trace.Span // open, from MessageContext; nil otherwise

	prev, next *delivery // in pendingList
}

func (r *Reader) newDelivery(m *kafka.Message) *delivery {
	d := &delivery{
		key:           keyOf(m),
		recordTime:    m.Time,
		highWatermark: m.HighWaterMark,
		bodySize:      len(m.Value),
		tombstone:     m.Value == nil,
		hasKey:        m.Key != nil,
	}
	if d.hasKey {
		d.keyHash = messaging.KeyHash(m.Key)
	}
	if len(m.Headers) > 0 {
		d.found = messaging.Extract(m.Headers)
		d.creation = d.found.SpanContext
		if p := r.config.propagator; p != nil && !d.creation.IsValid() {
			d.creation = trace.SpanContextFromContext(p.Extract(context.Background(), &headerCarrier{headers: m.Headers}))
		}
	}
	return d
}

// endOr is the best guess at the end of processing: the next fetch, if there was
// one, else now.
func (d *delivery) endOr(now time.Time) time.Time {
	if !d.superseded.IsZero() {
		return d.superseded
	}
	return now
}

func (d *delivery) attributes(attrs []attribute.KeyValue) []attribute.KeyValue {
	attrs = append(attrs,
		attribute.Int64(messaging.AttrKafkaOffset, d.key.offset),
		attribute.Int(messaging.AttrBodySize, d.bodySize))
	if d.tombstone {
		attrs = append(attrs, attribute.Bool(messaging.AttrKafkaTombstone, true))
	}
	if d.hasKey {
		attrs = append(attrs, attribute.String(messaging.AttrKeyHash, d.keyHash))
	}
	return attrs
}

func (d *delivery) times(attrs []attribute.KeyValue) []attribute.KeyValue {
	if d.asked != 0 {
		attrs = append(attrs,
			attribute.Int64(messaging.AttrConsumeAsked, d.asked),
			attribute.Int64(messaging.AttrConsumeAnswered, d.answered))
	}
	if !d.handed.IsZero() {
		attrs = append(attrs, attribute.Int64(messaging.AttrConsumeHanded, d.handed.UnixNano()))
	}
	if ms := d.recordTime.UnixMilli(); !d.recordTime.IsZero() && ms > 0 {
		attrs = append(attrs, attribute.Int64(messaging.AttrConsumeRecordTime, ms*int64(time.Millisecond)))
	}
	if d.highWatermark > 0 {
		attrs = append(attrs, attribute.Int64(messaging.AttrConsumeHighWatermark, d.highWatermark))
	}
	return attrs
}

// String names the record, for errors and tests.
func (k deliveryKey) String() string { return fmt.Sprintf("%s/%d@%d", k.topic, k.partition, k.offset) }
