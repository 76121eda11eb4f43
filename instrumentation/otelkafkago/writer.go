package otelkafkago

import (
	"context"
	"errors"
	"net"
	"strconv"
	"time"

	"github.com/segmentio/kafka-go"

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
	// MetadataWait is how long calls waited for the metadata of topics that the
	// Writer had not written to before. It is part of their batch queues.
	MetadataWait time.Duration
}

// NewWriter instruments w, which must not have been used yet, and takes it over.
// It works for &kafka.Writer{…} and for the deprecated kafka.NewWriter alike.
// Wrapping the same Writer again returns one with the same hooks: the first
// options stay.
func NewWriter(w *kafka.Writer, opts ...Option) *Writer {
	if b, ok := w.Balancer.(*balancer); ok {
		return &Writer{Writer: w, hooks: b.hooks}
	}
	c := newConfig(opts)
	core := messaging.NewCore(c.core)
	inner := w.Transport
	if t, ok := inner.(*Transport); ok {
		inner = t.inner // it would record each request once more
	}
	h := newHooks(core, c, producerConfig(w, inner))
	h.user, h.transport = w.Completion, newTransport(inner, core.Now)
	w.Transport = h.transport
	w.Completion = h.complete
	balance := w.Balancer
	if balance == nil {
		balance = &kafka.RoundRobin{} // what a Writer without a Balancer uses
	}
	w.Balancer = &balancer{inner: balance, hooks: h}
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
	if len(msgs) == 1 {
		one, simple := w.hooks.beginOne(ctx, w.Writer, &msgs[0])
		if simple && one == nil {
			return w.Writer.WriteMessages(ctx, msgs...)
		}
		if simple {
			// The copy stays on the stack: kafka-go copies it again.
			out := [1]kafka.Message{msgs[0]}
			out[0].WriterData, out[0].Headers = &one.slot, one.headers
			return w.send(ctx, out[:], msgs)
		}
	}
	c := w.hooks.begin(ctx, w.Writer, msgs)
	if c == nil {
		return w.Writer.WriteMessages(ctx, msgs...)
	}
	err := w.send(ctx, c.out, msgs)
	c.release()
	return err
}

// send passes on a call; the spans of what fails before anything was enqueued end
// here, the others in complete.
func (w *Writer) send(ctx context.Context, out, msgs []kafka.Message) error {
	returned := false
	defer func() {
		if !returned { // a Balancer panicked: nothing was enqueued
			w.hooks.abort(out, errPanic)
		}
	}()
	err := w.Writer.WriteMessages(ctx, out...)
	returned = true
	// The Balancer is asked for the last message after everything that can fail
	// and before any message is enqueued.
	if err != nil && !assigned(&out[len(out)-1]) {
		err = restoreTooLarge(err, msgs, out)
		w.hooks.abort(out, err)
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
		Panics:            w.hooks.core.Panics(),
		MetadataWait:      time.Duration(w.hooks.transport.waited.Load()),
	}
}

var errPanic = errors.New("the call panicked")

func producerConfig(w *kafka.Writer, rt kafka.RoundTripper) messaging.ProducerConfig {
	cfg := messaging.ProducerConfig{
		Server: singleAddress(w.Addr),
		Facts: messaging.ProducerFacts{
			BatchTimeout: w.BatchTimeout, BatchSize: w.BatchSize, Acks: w.RequiredAcks.String(),
		},
	}
	f := &cfg.Facts
	if f.BatchTimeout <= 0 {
		f.BatchTimeout = time.Second
	}
	if f.BatchSize <= 0 {
		f.BatchSize = 100
	}
	if t, ok := rt.(*kafka.Transport); ok && t != nil {
		cfg.ClientID = t.ClientID
	}
	return cfg
}

// defaultBatchBytes is what a kafka.Writer with no BatchBytes uses.
const defaultBatchBytes = 1 << 20

// singleAddress splits addr when it names one broker; a list of bootstrap
// addresses does not tell which server was called.
func singleAddress(addr net.Addr) messaging.Server {
	if addr == nil {
		return messaging.Server{}
	}
	return server(addr.String())
}

// server splits host:port; the zero Server when it is something else.
func server(address string) messaging.Server {
	host, p, err := net.SplitHostPort(address)
	if err != nil {
		return messaging.Server{}
	}
	port, err := strconv.Atoi(p)
	if err != nil {
		return messaging.Server{}
	}
	return messaging.Server{Host: host, Port: port}
}
