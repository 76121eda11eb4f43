package otelkafkago

import (
	"context"
	"net"

	"github.com/segmentio/kafka-go"
	"go.opentelemetry.io/otel/trace"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

// InjectHeaders gives msg the span of ctx for its creation context, unless it
// carries one already: with kafka-go's low-level API, where no Writer of this
// package does. The slice in msg is replaced, the array behind it not changed.
func InjectHeaders(ctx context.Context, msg *kafka.Message) {
	sc := trace.SpanContextFromContext(ctx)
	if !messaging.Enabled() || !sc.IsValid() || len(msg.Headers) > messaging.MaxHeadersToInject ||
		messaging.Extract(msg.Headers).Form != messaging.FormNone {
		return
	}
	in := messaging.NewInjector[kafka.Header](ctx, false)
	in.Grow(1, len(msg.Headers))
	msg.Headers = in.Inject(msg.Headers, sc)
}

// Producer records what is sent by kafka-go's low-level API, a kafka.Conn say.
// For a kafka.Client see [WrapTransport].
type Producer struct {
	hooks *writerHooks
}

// NewProducer makes a Producer. addr names the broker, nil if that is not known.
func NewProducer(addr net.Addr, clientID string, opts ...Option) *Producer {
	c := newConfig(opts)
	core := messaging.NewCore(c.core)
	return &Producer{newHooks(core, c, messaging.ProducerConfig{ClientID: clientID, Server: singleAddress(addr)})}
}

// StartSend starts the send spans of msgs, which are about to be sent to topic in
// one request, and returns copies that carry their contexts; msgs are not
// changed. end ends the spans: first is the offset of the first message and err
// why they were not stored. A negative partition or offset is not known. Only the
// first call of end counts.
func (p *Producer) StartSend(ctx context.Context, topic string, msgs ...kafka.Message) (out []kafka.Message, end func(partition int, first int64, err error)) {
	h := p.hooks
	if len(msgs) == 0 || !messaging.Enabled() {
		return msgs, func(int, int64, error) {}
	}
	// As for a Writer of that topic, but for the limit of its batches.
	c := h.begin(ctx, &kafka.Writer{Topic: topic, BatchBytes: maxFrame}, msgs)
	if c == nil {
		return msgs, func(int, int64, error) {}
	}
	out = make([]kafka.Message, len(msgs))
	copy(out, c.out)
	slots := make([]*slot, len(msgs))
	for i := range out {
		slots[i] = out[i].WriterData.(*slot)
		out[i].WriterData = msgs[i].WriterData
	}
	c.release()
	return out, func(partition int, first int64, err error) {
		defer h.core.Guard()
		if slots == nil {
			return
		}
		o := messaging.Outcome{Err: err}
		if err != nil {
			o.ErrorType, first = errorType(err), -1
		} else {
			o.Acked = h.core.Now()
		}
		keys := h.keysOf(out)
		var f messaging.Finisher
		h.producer.Finish(&f, topic, int32(max(partition, -1)), &o) //nolint:gosec // partitions are int32 in the protocol
		defer f.Done()
		for i, s := range slots {
			sent := h.sent(&out[i])
			sent.Offset = -1
			if first >= 0 {
				sent.Offset = first + int64(i)
			}
			if keys != nil {
				sent.KeyText = keys[i]
			}
			f.Add(&s.Send, &sent)
		}
		slots = nil
	}
}

// Processor records the processing of messages that no [Reader] handed out: those
// of a kafka.Generation, Batch, Conn or Client. A message counts as handed over
// when its processing starts; its fetch is not known.
type Processor struct {
	core     *messaging.Core
	consumer *messaging.Consumer
}

// NewProcessor makes a Processor for messages read by that group, which may be
// empty.
func NewProcessor(groupID, clientID string, opts ...Option) *Processor {
	c := newConfig(opts)
	c.core.WithoutReceive = true
	core := messaging.NewCore(c.core)
	return &Processor{core, core.Consumer(messaging.ConsumerConfig{Group: groupID, ClientID: clientID})}
}

// Process is [Reader.Process] for a message of elsewhere.
func (p *Processor) Process(ctx context.Context, msg kafka.Message, fn func(ctx context.Context, msg kafka.Message) error) error {
	ctx, running := p.start(ctx, []kafka.Message{msg})
	if running == nil {
		return fn(ctx, msg)
	}
	return running.Run(ctx, errorType, func(ctx context.Context) error { return fn(ctx, msg) })
}

// StartProcess is [Reader.StartProcess] for a message of elsewhere.
func (p *Processor) StartProcess(ctx context.Context, msg kafka.Message) (context.Context, func(error)) {
	ctx, running := p.start(ctx, []kafka.Message{msg})
	if running == nil {
		return ctx, func(error) {}
	}
	return ctx, func(err error) {
		defer p.core.Guard()
		kind := ""
		if err != nil {
			kind = errorType(err)
		}
		running.End(err, kind)
	}
}

// ProcessBatch is [Reader.ProcessBatch] for messages of elsewhere.
func (p *Processor) ProcessBatch(ctx context.Context, msgs []kafka.Message, fn func(ctx context.Context, msgs []kafka.Message) error) error {
	ctx, running := p.start(ctx, msgs)
	if running == nil {
		return fn(ctx, msgs)
	}
	return running.Run(ctx, errorType, func(ctx context.Context) error { return fn(ctx, msgs) })
}

// start returns no Processing when the instrumentation is off or failed.
func (p *Processor) start(ctx context.Context, msgs []kafka.Message) (out context.Context, running *messaging.Processing) {
	out = ctx //nolint:wastedassign // what a panic below leaves to the caller
	if len(msgs) == 0 || !messaging.Enabled() {
		return ctx, nil
	}
	defer p.core.Guard()
	ds := make([]messaging.Delivery, len(msgs))
	now := p.core.Now()
	for i := range msgs {
		d := &ds[i]
		d.Partition = p.consumer.Partition(msgs[i].Topic, int32(msgs[i].Partition)) //nolint:gosec // partitions are int32 in the protocol
		d.Handed = now
		describe(d, &msgs[i])
		messaging.Deliver(ctx, d, msgs[i].Headers)
	}
	return p.consumer.StartBatch(ctx, ds, now)
}
