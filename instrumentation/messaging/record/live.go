package record

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/embedded"
	"go.opentelemetry.io/otel/trace/noop"
)

// Live is a span that has not ended yet, and the context that carries it. It is
// never used again for another span, so user code may keep it, start children
// from it after End, and call all methods at once.
type Live struct {
	embedded.Span
	parent context.Context
	stream *Stream
	state  trace.TraceState

	mu        sync.Mutex // guards the following, but what of span never changes: ids and flags
	recording bool       // sampled and not ended
	span      Span
	extra     *Extra // nil: nobody added anything
}

var (
	_ trace.Span      = (*Live)(nil)
	_ context.Context = (*Live)(nil)
)

// extras are the Extras of live spans. Nobody else sees one, so they are used again.
var extras = sync.Pool{New: func() any { return new(Extra) }}

// Start makes a live span of s, a child context of ctx. A zero Start of s is now.
// Unless the flags of s say sampled it records nothing and only carries its
// span context. It keeps a copy of s; links stand beside the inline one.
func (r *Recorder) Start(ctx context.Context, st *Stream, s *Span, ts trace.TraceState, links []trace.Link) *Live {
	l := new(Live)
	r.Init(l, ctx, st, s, ts, links)
	return l
}

// Init is [Recorder.Start] for a live span that lies in another value of its
// owner. The zero l must not be copied from then on.
func (r *Recorder) Init(l *Live, ctx context.Context, st *Stream, s *Span, ts trace.TraceState, links []trace.Link) { //nolint:revive // the span comes first
	l.parent, l.stream, l.state, l.span = ctx, st, ts, *s
	l.recording = s.Flags&uint32(trace.FlagsSampled) != 0
	if spanKey == nil {
		l.parent = trace.ContextWithSpan(ctx, l)
	}
	if l.recording {
		if s.Start == 0 {
			l.span.Start = time.Now().UnixNano()
		}
		for i := range links {
			l.addLink(links[i])
		}
	}
}

// Record returns the span's data, for its owner to set what it learns before it
// ends the span: Values, and End, which counts unless an option of [Live.End]
// says otherwise. The data is not guarded: use it only while nobody else may end
// the span, and [Live.Set] and [Live.SetEnd] from then on.
func (l *Live) Record() *Span { return &l.span }

// Set makes v the known value of field i of the stream's layout. After End it
// does nothing.
func (l *Live) Set(i int, v int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.recording {
		l.span.Set(i, v)
	}
}

// SetEnd sets when the span ends (Unix ns), unless an option of [Live.End] says
// otherwise; without both it is the time of End. After End it does nothing.
func (l *Live) SetEnd(t int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.recording {
		l.span.End = t
	}
}

// SpanContext returns the identity of the span.
func (l *Live) SpanContext() trace.SpanContext {
	return trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: l.span.TraceID, SpanID: l.span.SpanID, TraceFlags: trace.TraceFlags(l.span.Flags), TraceState: l.state,
	})
}

// IsRecording tells whether the span is sampled and has not ended.
func (l *Live) IsRecording() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.recording
}

// TracerProvider returns [Options.Provider].
func (l *Live) TracerProvider() trace.TracerProvider {
	if p := l.stream.recorder.o.Provider; p != nil {
		return p
	}
	return noop.NewTracerProvider()
}

// End ends the span and puts it. Deferred in a function that panics it adds the
// panic as an exception event, with its stack if an option asks for it, and lets
// it go on. Only the first call counts.
func (l *Live) End(options ...trace.SpanEndOption) {
	var given int64
	stack := false
	if len(options) > 0 {
		c := trace.NewSpanEndConfig(options...)
		stack = c.StackTrace()
		if t := c.Timestamp(); !t.IsZero() {
			given = t.UnixNano()
		}
	}
	l.mu.Lock()
	if !l.recording {
		l.mu.Unlock()
		return
	}
	l.recording = false // from here on nobody changes the span but this call
	x := l.extra
	l.extra = nil
	switch {
	case given != 0:
		l.span.End = given
	case l.span.End == 0:
		l.span.End = time.Now().UnixNano()
	}
	l.mu.Unlock()

	if p := recover(); p != nil {
		defer panic(p)
		if x == nil {
			x = extras.Get().(*Extra)
		}
		x.addEvent(exception(p, fmt.Sprint(p), stack))
	}
	if x == nil && l.state.Len() > 0 {
		x = extras.Get().(*Extra)
	}
	if x != nil {
		x.state = l.state
	}
	l.stream.recorder.Put(l.stream, &l.span, x)
	if x != nil {
		x.reset()
		extras.Put(x)
	}
}

// change lets f add to the span while it records.
func (l *Live) change(f func(*Extra)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.recording {
		return
	}
	if l.extra == nil {
		l.extra = extras.Get().(*Extra)
	}
	f(l.extra)
}

// SetName renames the span.
func (l *Live) SetName(name string) {
	l.change(func(x *Extra) { x.Name, x.renamed = name, true })
}

// SetStatus sets the status, unless a higher one was set: Ok is above Error, that
// above Unset. Only an Error has a description.
func (l *Live) SetStatus(code codes.Code, description string) {
	l.change(func(x *Extra) {
		if code < x.Status {
			return
		}
		x.Status, x.Description = code, ""
		if code == codes.Error {
			x.Description = description
		}
	})
}

// SetAttributes sets attributes. They win over those of the stream and over the
// fields of its layout, whenever those are set.
func (l *Live) SetAttributes(kvs ...attribute.KeyValue) {
	if len(kvs) == 0 {
		return
	}
	l.change(func(x *Extra) {
		for _, kv := range kvs {
			x.setAttribute(kv, l.stream)
		}
	})
}

// AddEvent adds an event; of more than 128 the oldest is dropped.
func (l *Live) AddEvent(name string, options ...trace.EventOption) {
	if !l.IsRecording() {
		return
	}
	c := trace.NewEventConfig(options...)
	e := Event{Name: name, Time: c.Timestamp().UnixNano(), Attributes: c.Attributes()}
	l.change(func(x *Extra) { x.addEvent(e) })
}

// RecordError adds err as an exception event, with the stack if an option asks
// for it. It leaves the status as it is.
func (l *Live) RecordError(err error, options ...trace.EventOption) {
	if err == nil || !l.IsRecording() {
		return
	}
	c := trace.NewEventConfig(options...)
	e := exception(err, err.Error(), c.StackTrace())
	e.Time = c.Timestamp().UnixNano()
	e.Attributes = append(c.Attributes(), e.Attributes...)
	l.change(func(x *Extra) { x.addEvent(e) })
}

// AddLink adds a link; of more than 128 the oldest is dropped, the first of all
// being the inline one.
func (l *Live) AddLink(link trace.Link) { l.addLink(link) }

func (l *Live) addLink(link trace.Link) {
	if emptyLink(&link) {
		return
	}
	l.change(func(x *Extra) {
		if len(x.Links) == maxLinks {
			copy(x.Links, x.Links[1:])
			x.Links = x.Links[:maxLinks-1]
			x.DroppedLinks++
		}
		x.Links = append(x.Links, link)
	})
}

// setAttribute adds or replaces an attribute of a live span.
func (x *Extra) setAttribute(kv attribute.KeyValue, st *Stream) {
	if !kv.Valid() {
		x.DroppedAttributes++
		return
	}
	if i := indexKey(x.Attributes, kv.Key); i >= 0 {
		x.Attributes[i] = kv
		return
	}
	if len(x.Attributes) >= maxAttributes && !st.has(kv.Key) {
		x.DroppedAttributes++
		return
	}
	x.Attributes = append(x.Attributes, kv)
}

func (x *Extra) addEvent(e Event) {
	if len(x.Events) == maxEvents {
		copy(x.Events, x.Events[1:])
		x.Events = x.Events[:maxEvents-1]
		x.DroppedEvents++
	}
	x.Events = append(x.Events, e)
}

// reset empties x and keeps its memory, but nothing that users gave.
func (x *Extra) reset() {
	clear(x.Attributes)
	clear(x.Links)
	clear(x.Events)
	*x = Extra{Attributes: x.Attributes[:0], Links: x.Links[:0], Events: x.Events[:0]}
}
