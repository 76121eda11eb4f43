package otelkafkago

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"
	"go.opentelemetry.io/otel/trace"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

// Reader is a kafka.Reader that records, for each record it hands out, a receive
// span and a process span with the times of the fetch that brought it.
//
// The end of processing is exact with [Reader.Process] and [Reader.StartProcess].
// Without them the process span ends at the next FetchMessage or ReadMessage on
// this Reader, at the CommitMessages that contains the record or at Close,
// whichever comes first, and is marked as estimated.
//
// A Reader is safe for concurrent use, as a kafka.Reader is.
type Reader struct {
	*kafka.Reader
	config  config
	dialer  *kafka.Dialer // the caller's
	group   string
	log     *fetchLog
	pending pendingList
	receive optionCache[topicPartition]
	process optionCache[topicPartition]

	unknown atomic.Uint64
	panics  atomic.Uint64
}

// ReaderCounts tells what was left undone. Values only grow.
type ReaderCounts struct {
	// UnknownFetches counts records handed out whose fetch was not seen, so that
	// their spans do not say when it was asked and answered.
	UnknownFetches uint64
	// Evicted counts records whose processing was given up as estimated because
	// too many were open at a time.
	Evicted uint64
	// Panics counts panics of the instrumentation itself, or of a provider below
	// it, that were kept from the program.
	Panics uint64
}

// NewReader makes a kafka.Reader by cfg and instruments it. The Dialer in cfg is
// not changed; a copy of it is used. Like kafka.NewReader it panics when cfg is
// not valid.
func NewReader(cfg kafka.ReaderConfig, opts ...Option) *Reader {
	r := &Reader{
		config: newConfig(opts),
		dialer: cfg.Dialer,
		group:  cfg.GroupID,
		log:    newFetchLog(),
	}
	if r.dialer == nil {
		r.dialer = kafka.DefaultDialer
	}
	r.pending.init(r.config.explicit)
	clientID := r.dialer.ClientID
	r.receive.init(func(tp topicPartition) *topicOptions {
		return newConsumeOptions(&r.config, trace.SpanKindClient, "poll", messaging.OperationReceive, "queue.receive", r.group, clientID, tp)
	})
	r.process.init(func(tp topicPartition) *topicOptions {
		return newConsumeOptions(&r.config, trace.SpanKindConsumer, "process", messaging.OperationProcess, "queue.process", r.group, clientID, tp)
	})
	cfg.Dialer = watchedDialer(r.dialer, r.log, nil)
	r.Reader = kafka.NewReader(cfg)
	return r
}

// Config is kafka.Reader.Config, with the Dialer that was given to [NewReader].
func (r *Reader) Config() kafka.ReaderConfig {
	cfg := r.Reader.Config()
	cfg.Dialer = r.dialer
	return cfg
}

// FetchMessage is kafka.Reader.FetchMessage.
func (r *Reader) FetchMessage(ctx context.Context) (kafka.Message, error) {
	return r.next(ctx, r.Reader.FetchMessage)
}

// ReadMessage is kafka.Reader.ReadMessage: in a group it commits the message
// before it hands it out.
func (r *Reader) ReadMessage(ctx context.Context) (kafka.Message, error) {
	return r.next(ctx, r.Reader.ReadMessage)
}

func (r *Reader) next(ctx context.Context, read func(context.Context) (kafka.Message, error)) (kafka.Message, error) {
	called := time.Now()
	r.nextCalled(called)
	msg, err := read(ctx)
	if err != nil || !messaging.Enabled() {
		return msg, err
	}
	r.handOver(ctx, called, time.Now(), &msg)
	return msg, nil
}

// CommitMessages is kafka.Reader.CommitMessages. It ends the estimated process
// spans of msgs.
func (r *Reader) CommitMessages(ctx context.Context, msgs ...kafka.Message) error {
	r.committed(msgs)
	return r.Reader.CommitMessages(ctx, msgs...)
}

// Close is kafka.Reader.Close. It ends the process spans that are still open and
// not the program's to end.
func (r *Reader) Close() error {
	r.closed()
	return r.Reader.Close()
}

// Counts returns what was left undone since the Reader was made.
func (r *Reader) Counts() ReaderCounts {
	return ReaderCounts{
		UnknownFetches: r.unknown.Load(),
		Evicted:        r.pending.evicted.Load(),
		Panics:         r.panics.Load(),
	}
}

func (r *Reader) nextCalled(at time.Time) {
	defer r.guard()
	for _, d := range r.pending.supersede(at) {
		r.estimate(d, at)
	}
}

func (r *Reader) committed(msgs []kafka.Message) {
	defer r.guard()
	if len(msgs) == 0 {
		return
	}
	now := time.Now()
	for i := range msgs {
		if d := r.pending.claim(keyOf(&msgs[i]), false); d != nil {
			r.estimate(d, d.endOr(now))
		}
	}
}

func (r *Reader) closed() {
	defer r.guard()
	now := time.Now()
	for _, d := range r.pending.drain() {
		r.estimate(d, d.endOr(now))
	}
}

func (r *Reader) guard() {
	if recover() != nil {
		r.panics.Add(1)
	}
}

// handOver records the receive span of msg and remembers it for processing.
func (r *Reader) handOver(ctx context.Context, called, handed time.Time, msg *kafka.Message) {
	defer r.guard()
	d := r.newDelivery(msg) // the span in ctx must not pass for one in the record
	d.handed = handed
	way := r.log.partition(d.key.topicPartition).match(msg.Offset)
	d.asked, d.answered = way.asked, way.answered
	if d.asked == 0 {
		r.unknown.Add(1)
	}
	d.ambient = trace.SpanContextFromContext(ctx)
	if !r.config.noReceive {
		o := r.receive.get(d.key.topicPartition)
		opts := make([]trace.SpanStartOption, 0, len(o.start)+3)
		opts = append(append(opts, o.start...), trace.WithTimestamp(d.receiveStart(called, handed)))
		parent := ctx
		if d.creation.IsValid() {
			opts = append(opts, trace.WithLinks(trace.Link{SpanContext: d.creation}))
			if r.config.parent {
				parent = trace.ContextWithRemoteSpanContext(ctx, d.creation)
			}
		}
		_, span := r.config.tracer.Start(parent, o.name, opts...)
		if span.IsRecording() {
			span.SetAttributes(d.attributes(nil)...)
		}
		span.End(trace.WithTimestamp(handed))
		d.received = span.SpanContext()
	}
	for _, old := range r.pending.add(d) {
		r.estimate(old, old.endOr(handed))
	}
}

// receiveStart is when receiving this record began: when the application asked,
// or when the answer that brought the record arrived, if that was later. The
// wait before it is not the record's: a group that idled for ten minutes must
// not make the next record's trace ten minutes long.
func (d *delivery) receiveStart(called, handed time.Time) time.Time {
	if answered := time.Unix(0, d.answered); d.answered != 0 && answered.After(called) && answered.Before(handed) {
		return answered
	}
	return called
}
