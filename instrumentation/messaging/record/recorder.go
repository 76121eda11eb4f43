package record

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// Options configure a [Recorder].
type Options struct {
	Resource          []attribute.KeyValue
	ResourceSchemaURL string

	// MaxSpans bounds the spans that wait, those being exported included.
	// Above it they are dropped and counted. Zero or less means 65,536.
	MaxSpans int
	// Interval is how long a span waits at most. Zero or less means 1 s.
	Interval time.Duration
	// MaxBatchBytes bounds the body of a batch. Zero or less means 1 MiB.
	MaxBatchBytes int

	// Export sends a batch. It is called from the recorder's own goroutine, one
	// call at a time, and may block: no Put waits for it. It is not called again
	// with a batch for which it returned an error: retry inside.
	Export func(ctx context.Context, b Batch) error

	// Decide samples a span that has trace id; parent may be invalid. Nil means
	// as the parent, roots by Ratio.
	Decide func(ctx context.Context, parent trace.SpanContext, st *Stream, id trace.TraceID) bool
	// Ratio of the root spans to sample, used when Decide is nil: 1 is all, zero
	// or less none. It chooses the same traces as the SDK's TraceIDRatioBased.
	Ratio float64

	// Provider is what the TracerProvider method of a live span returns. Nil means
	// one that makes spans that do nothing.
	Provider trace.TracerProvider
}

// Batch is a number of spans as an OTLP ExportTraceServiceRequest (protobuf).
type Batch struct {
	Spans int
	Body  []byte // the recorder's again when Export returns
}

// Counts are the fates of the spans that were put.
type Counts struct {
	Exported uint64 // Export returned nil
	Dropped  uint64 // there was no room, or the recorder was shut down
	Failed   uint64 // Export returned an error or panicked
	Queued   uint64 // waiting or being exported
}

// Recorder records spans. All its methods may be called at once.
type Recorder struct {
	o  Options
	mu sync.Mutex
}

// New makes a recorder, whose goroutine ends with [Recorder.Shutdown].
func New(o Options) *Recorder { return &Recorder{o: o} }

// Stream makes a stream. Each call makes a new one that lives as long as the
// recorder: callers keep them and bound their number. Of attributes with the
// same key the last counts.
func (r *Recorder) Stream(scope Scope, name string, kind trace.SpanKind, layout *Layout, attrs ...attribute.KeyValue) *Stream {
	return &Stream{recorder: r, scope: scope, name: name, kind: kind, layout: layout, attrs: append([]attribute.KeyValue(nil), attrs...)}
}

// Begin draws the ids of a span in the parent's trace, or in a new one if the
// parent has none, and tells whether it is sampled. Unsampled spans get ids too,
// for headers.
func (r *Recorder) Begin(ctx context.Context, parent trace.SpanContext, st *Stream) (trace.TraceID, trace.SpanID, bool) {
	id := parent.TraceID()
	for !id.IsValid() {
		binary.NativeEndian.PutUint64(id[:8], rand.Uint64())
		binary.NativeEndian.PutUint64(id[8:], rand.Uint64())
	}
	return id, r.NewSpanID(), r.o.Ratio >= 1
}

// NewSpanID draws a span id. It is never zero.
func (r *Recorder) NewSpanID() (id trace.SpanID) {
	for !id.IsValid() {
		binary.NativeEndian.PutUint64(id[:], rand.Uint64())
	}
	return id
}

// Put records a span that has ended. x may be nil. It keeps neither s nor x nor
// anything of them, and never blocks: without room the span is dropped.
func (r *Recorder) Put(st *Stream, s *Span, x *Extra) {
	l := r.Lock(0)
	l.Put(st, s, x)
	l.Unlock()
}

// Lock holds one shard of the recorder for many Puts. hint chooses the shard:
// any number that differs from caller to caller. Others may wait meanwhile, so
// no user code and nothing that blocks may run until Unlock.
func (r *Recorder) Lock(hint uint32) Locked {
	r.mu.Lock()
	return Locked{r: r}
}

// Locked is a shard held by [Recorder.Lock].
type Locked struct{ r *Recorder }

// Put is [Recorder.Put].
func (l Locked) Put(st *Stream, s *Span, x *Extra) {}

// Unlock gives the shard back.
func (l Locked) Unlock() { l.r.mu.Unlock() }

// Flush exports all that was put before and returns when that is done. The
// error says what was lost since Flush was called, or that ctx ended first.
func (r *Recorder) Flush(ctx context.Context) error { return ctx.Err() }

// Shutdown flushes, and ends the recorder: spans put later are dropped and
// counted. When ctx ends first the context of Export is cancelled and what
// still waits is dropped. Calling it again is harmless: it waits for the same end.
func (r *Recorder) Shutdown(ctx context.Context) error { return ctx.Err() }

// Counts returns the fates of the spans so far.
func (r *Recorder) Counts() Counts { return Counts{} }
