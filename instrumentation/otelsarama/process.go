package otelsarama

import (
	"context"

	"github.com/IBM/sarama"
	"go.opentelemetry.io/otel/trace"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

// Process runs fn on msg, which an instrumented consumer handed out, inside its
// process span, and returns fn's error. The context given to fn carries that span
// and the baggage of the message. A panic of fn ends the span as an error and goes
// on.
func (in *Instrumentation) Process(ctx context.Context, msg *sarama.ConsumerMessage, fn func(ctx context.Context, msg *sarama.ConsumerMessage) error) error {
	ctx, p := in.start(ctx, msg)
	if p == nil {
		return fn(ctx, msg)
	}
	return p.Run(ctx, errorType, func(ctx context.Context) error { return fn(ctx, msg) })
}

// ProcessBatch runs fn on messages that are processed together, inside one process
// span that links to the creation context of each.
func (in *Instrumentation) ProcessBatch(ctx context.Context, msgs []*sarama.ConsumerMessage, fn func(ctx context.Context, msgs []*sarama.ConsumerMessage) error) error {
	ctx, p := in.startBatch(ctx, msgs)
	if p == nil {
		return fn(ctx, msgs)
	}
	return p.Run(ctx, errorType, func(ctx context.Context) error { return fn(ctx, msgs) })
}

// StartProcess starts the process span of msg, which an instrumented consumer
// handed out, and returns a context with that span and the function that ends it.
// That function may be called from any goroutine; only its first call counts.
// Processing one delivery again makes another span, without the times of the
// fetch.
func (in *Instrumentation) StartProcess(ctx context.Context, msg *sarama.ConsumerMessage) (context.Context, func(error)) {
	return ender(in.start(ctx, msg))
}

// StartProcessBatch is [Instrumentation.StartProcess] for messages that are
// processed together.
func (in *Instrumentation) StartProcessBatch(ctx context.Context, msgs []*sarama.ConsumerMessage) (context.Context, func(error)) {
	return ender(in.startBatch(ctx, msgs))
}

func ender(ctx context.Context, p *messaging.Processing) (context.Context, func(error)) {
	if p == nil {
		return ctx, func(error) {}
	}
	return ctx, func(err error) {
		kind := ""
		if err != nil {
			kind = errorType(err)
		}
		p.End(err, kind)
	}
}

// start returns no Processing when the instrumentation is off or failed.
func (in *Instrumentation) start(ctx context.Context, msg *sarama.ConsumerMessage) (out context.Context, p *messaging.Processing) {
	out = ctx
	defer in.core.Guard()
	if !messaging.Enabled() || msg == nil {
		return out, nil
	}
	d := in.claim(msg)
	if sc, ok := in.pending.wasEnded(msg); ok {
		// The next message was taken for the end of this one's processing before
		// the program said that it tells the end itself. One delivery has one
		// process span, so this one gets none.
		return trace.ContextWithSpanContext(d.Into(ctx), sc), nil
	}
	return d.Partition.Consumer().StartProcess(ctx, d, in.core.Now())
}

func (in *Instrumentation) startBatch(ctx context.Context, msgs []*sarama.ConsumerMessage) (out context.Context, p *messaging.Processing) {
	out = ctx
	defer in.core.Guard()
	if !messaging.Enabled() || len(msgs) == 0 {
		return out, nil
	}
	ds := make([]messaging.Delivery, len(msgs))
	for i, msg := range msgs {
		ds[i] = *in.claim(msg)
	}
	return ds[0].Partition.Consumer().StartBatch(ctx, ds, in.core.Now())
}

// claim is what is known of a message about to be processed.
func (in *Instrumentation) claim(msg *sarama.ConsumerMessage) *messaging.Delivery {
	if d := in.pending.claim(msg, true); d != nil {
		d.deliver(in.core.Now())
		d.mu.Lock()
		defer d.mu.Unlock()
		d.claimed = true
		return &d.delivery
	}
	fresh := &messaging.Delivery{}
	in.describe(fresh, in.any().Partition(msg.Topic, msg.Partition), msg)
	withHeaders(msg, func(hs []messaging.Header) { messaging.Describe(fresh, hs) })
	return fresh
}

// any is the consumer of messages that are processed again or came from elsewhere:
// that of the only group, if there is just one.
func (in *Instrumentation) any() *messaging.Consumer {
	in.mu.Lock()
	if len(in.groups) == 1 {
		for _, c := range in.groups {
			in.mu.Unlock()
			return c
		}
	}
	in.mu.Unlock()
	return in.consumer("")
}

// estimate writes the process span of a delivery whose processing the program
// did not tell of.
func (in *Instrumentation) estimate(d *delivered, end int64) {
	d.deliver(end)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.claimed {
		return
	}
	d.claimed = true
	_, p := d.delivery.Partition.Consumer().StartProcess(context.Background(), &d.delivery, d.delivery.Handed)
	p.EndAt(nil, "", end, true)
	in.pending.noteEnded(d.msg, p.SpanContext())
}
