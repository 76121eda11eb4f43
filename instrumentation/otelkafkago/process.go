package otelkafkago

import (
	"context"
	"sync"

	"github.com/segmentio/kafka-go"
	"go.opentelemetry.io/otel/trace"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

// Process runs fn on msg, which this Reader handed out, inside its process span,
// and returns fn's error. The context given to fn carries that span and the
// baggage of the record. A panic of fn ends the span as an error and goes on.
func (r *Reader) Process(ctx context.Context, msg kafka.Message, fn func(ctx context.Context, msg kafka.Message) error) error {
	if !messaging.Enabled() {
		return fn(ctx, msg)
	}
	ctx, p := r.startProcess(ctx, &msg)
	if p == nil {
		return fn(ctx, msg)
	}
	returned := false
	defer p.Unwind(&returned)
	err := fn(ctx, msg)
	returned = true
	r.endProcess(p, &msg, err)
	return err
}

// StartProcess starts the process span of msg, which this Reader handed out, and
// returns a context with that span and the function that ends it. That function
// may be called from any goroutine; only its first call counts. Each delivery of
// a record has its own span; processing one delivery again makes another span,
// without the times of the fetch.
func (r *Reader) StartProcess(ctx context.Context, msg kafka.Message) (context.Context, func(error)) {
	if !messaging.Enabled() {
		return ctx, func(error) {}
	}
	ctx, p := r.startProcess(ctx, &msg)
	if p == nil {
		return ctx, func(error) {}
	}
	name := kafka.Message{Topic: msg.Topic, Partition: msg.Partition, Offset: msg.Offset}
	return ctx, func(err error) { r.endProcess(p, &name, err) }
}

// ProcessBatch runs fn on msgs, which this Reader handed out, inside one process
// span that links to the sender of each, and returns fn's error. The span links
// to at most 128 of them and names the others by their offsets; the measures count
// each. A panic of fn ends the span as an error and goes on.
//
// A Reader whose messages are processed in batches is made with
// [WithExplicitProcessing]: until the first call it takes the next fetch for the
// end of a message's processing.
func (r *Reader) ProcessBatch(ctx context.Context, msgs []kafka.Message, fn func(ctx context.Context, msgs []kafka.Message) error) error {
	if len(msgs) == 0 || !messaging.Enabled() {
		return fn(ctx, msgs)
	}
	ctx, p := r.startBatch(ctx, msgs)
	if p == nil {
		return fn(ctx, msgs)
	}
	returned := false
	defer p.Unwind(&returned)
	err := fn(ctx, msgs)
	returned = true
	r.endBatch(p, msgs, err)
	return err
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

func (r *Reader) startProcess(ctx context.Context, msg *kafka.Message) (out context.Context, p *messaging.Processing) {
	out = ctx //nolint:wastedassign // what a panic below leaves to the caller
	defer r.core.Guard()
	part := r.partition(msg.Topic, int32(msg.Partition)) //nolint:gosec // partitions are int32 in the protocol
	d := r.pending.claim(part, msg.Offset, true)
	if d == nil {
		d = r.delivery(msg)
		messaging.Describe(&d.Delivery, msg.Headers)
		if sc, ended := r.pending.wasEstimated(part, msg.Offset); ended {
			// The next fetch was taken for the end of this record's processing
			// before the program said that it tells the end itself. One delivery
			// has one process span, so this one gets none.
			out = trace.ContextWithSpanContext(d.Into(ctx), sc)
			d.release()
			return out, nil
		}
	}
	if d.open != nil { // MessageContext was asked first
		p = d.open
		out = p.In(d.Into(ctx))
		d.release()
		return out, p
	}
	out, p = r.consumer.StartProcess(ctx, &d.Delivery, r.core.Now())
	d.release()
	return out, p
}

func (r *Reader) endProcess(p *messaging.Processing, msg *kafka.Message, err error) {
	defer r.core.Guard()
	kind := ""
	if err != nil {
		kind = errorType(err)
	}
	p.End(err, kind)
	part := r.partition(msg.Topic, int32(msg.Partition)) //nolint:gosec // partitions are int32 in the protocol
	r.pending.noteEnded(part, msg.Offset, p.SpanContext(), false)
}

func (r *Reader) startBatch(ctx context.Context, msgs []kafka.Message) (out context.Context, p *messaging.Processing) {
	out = ctx //nolint:wastedassign // what a panic below leaves to the caller
	defer r.core.Guard()
	list := batches.Get().(*[]messaging.Delivery)
	ds := (*list)[:0]
	now := r.core.Now()
	for i := range msgs {
		part := r.partition(msgs[i].Topic, int32(msgs[i].Partition)) //nolint:gosec // partitions are int32 in the protocol
		d := r.pending.claim(part, msgs[i].Offset, true)
		if d == nil {
			d = r.delivery(&msgs[i])
			messaging.Describe(&d.Delivery, msgs[i].Headers)
		}
		if d.open != nil { // its own span ends where the batch's begins
			d.open.EndAt(nil, "", now, true)
		}
		ds = append(ds, d.Delivery)
		d.release()
	}
	out, p = r.consumer.StartBatch(ctx, ds, now)
	clear(ds)
	if cap(ds) <= maxPooled {
		*list = ds
		batches.Put(list)
	}
	return out, p
}

// batches holds what is told to the core of the messages of a batch, which it
// copies.
var batches = sync.Pool{New: func() any { return new([]messaging.Delivery) }}

func (r *Reader) endBatch(p *messaging.Processing, msgs []kafka.Message, err error) {
	defer r.core.Guard()
	kind := ""
	if err != nil {
		kind = errorType(err)
	}
	p.End(err, kind)
	for i := range msgs {
		part := r.partition(msgs[i].Topic, int32(msgs[i].Partition)) //nolint:gosec // partitions are int32 in the protocol
		r.pending.noteEnded(part, msgs[i].Offset, p.SpanContext(), false)
	}
}

func (r *Reader) messageContext(ctx context.Context, msg *kafka.Message) (out context.Context) {
	out = ctx
	defer r.core.Guard()
	part := r.partition(msg.Topic, int32(msg.Partition)) //nolint:gosec // partitions are int32 in the protocol
	if r.pending.with(part, msg.Offset, func(d *delivery) {
		if d.open == nil {
			out, d.open = r.consumer.StartProcess(ctx, &d.Delivery, d.Handed)
			return
		}
		out = d.open.In(d.Into(ctx))
	}) {
		return out
	}
	d := r.delivery(msg)
	defer d.release()
	messaging.Describe(&d.Delivery, msg.Headers)
	out = d.Into(ctx)
	if sc, ok := r.pending.wasEstimated(part, msg.Offset); ok {
		return trace.ContextWithSpanContext(out, sc)
	}
	if sc := d.Creation(); sc.IsValid() {
		out = trace.ContextWithRemoteSpanContext(out, sc)
	}
	return out
}

// estimate ends the process span of a delivery whose end the program did not
// tell, and gives the delivery back.
func (r *Reader) estimate(d *delivery, end int64) {
	p := d.open
	if p == nil {
		_, p = r.consumer.StartProcess(trace.ContextWithSpanContext(context.Background(), d.Ambient()), &d.Delivery, d.Handed)
	}
	p.EndAt(nil, "", end, true)
	r.pending.noteEnded(d.part, d.Offset, p.SpanContext(), true)
	d.release()
}
