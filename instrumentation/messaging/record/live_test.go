package record

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
)

func liveOf(r *Recorder, ctx context.Context) *Live { //nolint:revive // the recorder comes first in all of them
	s := span(0)
	return r.Start(ctx, r.Stream(testScope, "process", trace.SpanKindConsumer, testLayout, testAttrs...), &s, trace.TraceState{}, nil)
}

func endOne(t testing.TB, use func(*Live)) *otlp.Span {
	t.Helper()
	r, got := start(t, Options{})
	l := liveOf(r, t.Context())
	use(l)
	l.End()
	flush(t, r)
	out := got.all(t)[l.SpanContext().SpanID()]
	if out == nil {
		t.Fatal("the span was not exported")
	}
	return out
}

func attributesOf(s *otlp.Span) map[string]string {
	m := map[string]string{}
	for _, a := range s.Attributes {
		m[a.Key] = fmt.Sprint(a.Value)
	}
	return m
}

// inBoth runs f with live spans that are contexts themselves, and with those
// that stand in an ordinary one since the API's key is not known.
func inBoth(t *testing.T, f func(t *testing.T)) {
	t.Run("key=known", func(t *testing.T) {
		if spanKey == nil {
			t.Fatal("the key of this version of the API was not learned")
		}
		f(t)
	})
	t.Run("key=unknown", func(t *testing.T) {
		key := spanKey
		spanKey = nil
		t.Cleanup(func() { spanKey = key })
		f(t)
	})
}

type ctxKey struct{}

func TestALiveSpanIsItsContext(t *testing.T) {
	inBoth(t, func(t *testing.T) {
		r, _ := start(t, Options{})
		parent, cancel := context.WithCancel(context.WithValue(t.Context(), ctxKey{}, "value"))
		defer cancel()
		parent, stop := context.WithDeadline(parent, time.Now().Add(time.Hour))
		defer stop()
		l := liveOf(r, parent)
		defer l.End()
		var ctx context.Context = l
		if trace.SpanFromContext(ctx) != trace.Span(l) || trace.SpanFromContext(context.WithValue(ctx, ctxKey{}, 1)) != trace.Span(l) {
			t.Error("the context does not hold the span")
		}
		if ctx.Value(ctxKey{}) != "value" || ctx.Value("other") != nil || ctx.Value(nil) != nil {
			t.Error("values of the parent context are not found")
		}
		if ctx.Value([]int(nil)) != nil { // keys that cannot be compared must not panic here
			t.Error("a value out of nothing")
		}
		want, _ := parent.Deadline()
		if got, ok := ctx.Deadline(); !ok || !got.Equal(want) {
			t.Errorf("deadline %v; want %v", got, want)
		}
		if s := fmt.Sprint(ctx); !strings.Contains(s, l.SpanContext().SpanID().String()) {
			t.Errorf("the context is printed as %q", s)
		}
		child, cancelChild := context.WithCancelCause(ctx)
		defer cancelChild(nil)
		other := trace.ContextWithSpan(ctx, noop.Span{})
		if trace.SpanFromContext(other) == trace.Span(l) {
			t.Error("a span in a child context is not seen")
		}
		cancel()
		<-ctx.Done()
		<-child.Done()
		if !errors.Is(ctx.Err(), context.Canceled) || !errors.Is(context.Cause(child), context.Canceled) {
			t.Error("the cancellation of the parent context is not passed on")
		}
	})
}

func TestChildrenByOtherProvidersBelongToALiveSpan(t *testing.T) {
	inBoth(t, func(t *testing.T) {
		r, _ := start(t, Options{})
		exporter := tracetest.NewInMemoryExporter()
		provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter))
		l := liveOf(r, t.Context())
		_, before := provider.Tracer("user").Start(l, "before")
		before.End()
		l.End()
		_, after := provider.Tracer("user").Start(l, "after End")
		after.End()
		for _, s := range exporter.GetSpans() {
			if !s.Parent.Equal(l.SpanContext()) || s.Parent.IsRemote() || s.SpanContext.TraceID() != l.SpanContext().TraceID() {
				t.Errorf("%s is a child of %+v; want %+v", s.Name, s.Parent, l.SpanContext())
			}
		}
	})
}

func TestTheKeyIsLearnedOnlyWhenItIsCertain(t *testing.T) {
	get, put := trace.SpanFromContext, trace.ContextWithSpan
	if learnSpanKey(get, put) == nil {
		t.Fatal("the key of the API is not learned")
	}
	f := func(what string, get func(context.Context) trace.Span, put func(context.Context, trace.Span) context.Context) {
		t.Helper()
		if key := learnSpanKey(get, put); key != nil {
			t.Errorf("%s: learned %v", what, key)
		}
	}
	f("no question", func(context.Context) trace.Span { return noop.Span{} }, put)
	f("two questions", func(ctx context.Context) trace.Span { ctx.Value("first"); return get(ctx) }, put)
	f("a key that cannot be compared", func(ctx context.Context) trace.Span { ctx.Value([]int{1}); return noop.Span{} }, put)
	f("the nil key", func(ctx context.Context) trace.Span { ctx.Value(nil); return noop.Span{} }, put)
	f("another way to put", get, func(ctx context.Context, s trace.Span) context.Context { return context.WithValue(ctx, ctxKey{}, s) })
	f("the span is wrapped", func(ctx context.Context) trace.Span { get(ctx); return noop.Span{} }, put)
}

func TestAPanicIsRecordedAndGoesOn(t *testing.T) {
	p := newPair(t)
	s := span(0)
	st := p.r.Stream(testScope, "process", trace.SpanKindConsumer, testLayout, testAttrs...)
	theirs := p.startSDK(t.Context(), st, testScope, testAttrs, &s, trace.SpanContext{}, nil)
	ours := p.r.Start(t.Context(), st, &s, trace.TraceState{}, nil)
	for _, sp := range []trace.Span{theirs, ours} {
		func() {
			defer func() {
				if v := recover(); fmt.Sprint(v) != "pow" {
					t.Errorf("panicked with %v; want pow", v)
				}
			}()
			defer sp.End(trace.WithTimestamp(time.Unix(0, s.End)), trace.WithStackTrace(true))
			panic(errors.New("pow"))
		}()
	}
	flush(t, p.r)
	want, got := p.sdk.exported(t), p.ours.one(t)
	for _, e := range []*otlp.Span_Event{want.ResourceSpans[0].ScopeSpans[0].Spans[0].Events[0], got.ResourceSpans[0].ScopeSpans[0].Spans[0].Events[0]} {
		if age := time.Since(time.Unix(0, int64(e.TimeUnixNano))); age < 0 || age > time.Minute {
			t.Errorf("the event is %v old", age)
		}
		e.TimeUnixNano = 0
		stack := e.Attributes[2].Value
		if !strings.Contains(stack.GetStringValue(), "goroutine") {
			t.Errorf("the stack is %q", stack)
		}
		stack.Value = nil // theirs goes through other functions
	}
	same(t, want, got)
}

func TestAnErrorIsRecordedWithItsStackWhenAsked(t *testing.T) {
	got := endOne(t, func(l *Live) {
		l.RecordError(errors.New("a"), trace.WithStackTrace(true), trace.WithAttributes(attribute.Int("n", 1)))
		l.RecordError(errors.New("b"))
	})
	keys := func(e *otlp.Span_Event) (s string) {
		for _, a := range e.Attributes {
			s += a.Key + " "
		}
		return s
	}
	if k := keys(got.Events[0]); k != "n exception.type exception.message exception.stacktrace " {
		t.Errorf("the first event has %s", k)
	}
	if k := keys(got.Events[1]); k != "exception.type exception.message " {
		t.Errorf("the second event has %s", k)
	}
	if got.Status.Code != 0 {
		t.Errorf("status %v; an error leaves it", got.Status)
	}
}

func TestOptionsOfTheCallerAreNotWrittenTo(t *testing.T) {
	options := make([]trace.EventOption, 1, 4)
	options[0] = trace.WithTimestamp(time.Unix(1, 0))
	endOne(t, func(l *Live) { l.RecordError(errors.New("a"), options...) })
	if options[:2][1] != nil {
		t.Error("the spare room of the caller's options was written to")
	}
}

func TestTheEndIsWhatTheOptionOrTheOwnerSays(t *testing.T) {
	f := func(use func(*Live), want int64) {
		t.Helper()
		got := int64(endOne(t, use).EndTimeUnixNano)
		if want == 0 {
			if age := time.Since(time.Unix(0, got)); age < 0 || age > time.Minute {
				t.Errorf("end %d is not now", got)
			}
		} else if got != want {
			t.Errorf("end %d; want %d", got, want)
		}
	}
	f(func(l *Live) { l.Record().End = 0 }, 0)
	f(func(l *Live) { l.Record().End = 5 }, 5)
	f(func(l *Live) { l.SetEnd(6) }, 6)
	f(func(l *Live) { l.SetEnd(6); l.End(trace.WithTimestamp(time.Unix(0, 7))); l.SetEnd(8) }, 7)
}

func TestAStartThatIsNotGivenIsNow(t *testing.T) {
	r, got := start(t, Options{})
	s := span(0)
	s.Start = 0
	r.Start(t.Context(), r.Stream(testScope, "a", 1, nil), &s, trace.TraceState{}, nil).End()
	flush(t, r)
	if age := time.Since(time.Unix(0, int64(got.all(t)[s.SpanID].StartTimeUnixNano))); age < 0 || age > time.Minute {
		t.Errorf("the span started %v ago", age)
	}
}

func TestUsersAttributesWinWheneverTheOwnerSetsItsOwn(t *testing.T) {
	got := attributesOf(endOne(t, func(l *Live) {
		l.Set(1, 8)
		l.SetAttributes(attribute.Int("offset", 5))
		l.Set(0, 17)
		l.End()
		l.Set(1, 9)
	}))
	if got["offset"] != "int_value:5" || got["partition"] != `string_value:"8"` {
		t.Errorf("offset %s, partition %s; want the user's 5 and the owner's 8", got["offset"], got["partition"])
	}
}

func TestAnUnsampledSpanRecordsNothing(t *testing.T) {
	r, got := start(t, Options{})
	s := span(0)
	s.Flags = 0x102
	l := r.Start(t.Context(), r.Stream(testScope, "a", 1, nil), &s, trace.TraceState{}, []trace.Link{{SpanContext: spanContext(1, false, "")}})
	l.SetAttributes(attribute.Int("a", 1))
	l.SetName("b")
	if l.IsRecording() || l.extra != nil || l.SpanContext().IsSampled() || !l.SpanContext().TraceFlags().IsRandom() || trace.SpanFromContext(l) != trace.Span(l) {
		t.Error("an unsampled span only carries its context")
	}
	l.End()
	flush(t, r)
	if n := len(got.all(t)); n != 0 {
		t.Errorf("%d spans exported; want 0", n)
	}
}

func TestTheProviderIsTheOneOfTheOptions(t *testing.T) {
	provider := sdktrace.NewTracerProvider()
	r, _ := start(t, Options{Provider: provider})
	if got := liveOf(r, t.Context()).TracerProvider(); got != trace.TracerProvider(provider) {
		t.Errorf("provider %v; want that of the options", got)
	}
	r, _ = start(t, Options{})
	_, s := liveOf(r, t.Context()).TracerProvider().Tracer("a").Start(t.Context(), "b")
	if s.IsRecording() {
		t.Error("without a provider spans do nothing")
	}
}

func TestALiveSpanIsNotUsedAgain(t *testing.T) {
	r, got := start(t, Options{})
	st := r.Stream(testScope, "a", 1, nil)
	var kept []*Live
	for i := range 200 {
		s := span(uint64(i))
		l := r.Start(t.Context(), st, &s, trace.TraceState{}, nil)
		l.SetAttributes(attribute.Int("i", i))
		l.AddEvent("e")
		l.End()
		l.SetAttributes(attribute.Int("late", 1))
		kept = append(kept, l)
	}
	flush(t, r)
	spans := got.all(t)
	for i, l := range kept {
		a := attributesOf(spans[l.SpanContext().SpanID()])
		if a["i"] != fmt.Sprintf("int_value:%d", i) || len(a) != 1 {
			t.Errorf("span %d has %v", i, a)
		}
	}
}

func TestWhatUsersGaveIsNotKeptForTheNextSpan(t *testing.T) {
	x := &Extra{Name: "n", renamed: true, DroppedEvents: 3}
	for i := range 10 {
		x.setAttribute(attribute.String(fmt.Sprint(i), "v"), &Stream{})
		x.addEvent(Event{Name: "e"})
		x.Links = append(x.Links, trace.Link{SpanContext: spanContext(1, false, "a=b")})
	}
	x.reset()
	if x.Name != "" || x.renamed || x.DroppedEvents != 0 || len(x.Attributes)+len(x.Events)+len(x.Links) != 0 {
		t.Errorf("%+v is not empty", x)
	}
	if a, e, l := x.Attributes[:10], x.Events[:10], x.Links[:10]; a[9] != (attribute.KeyValue{}) || e[9].Name != "" || l[9].SpanContext.IsValid() {
		t.Errorf("the memory still holds %v, %v, %v", a[9], e[9], l[9])
	}
}

func TestALiveSpanMayBeUsedByAllAtOnce(t *testing.T) {
	r, got := start(t, Options{Interval: time.Millisecond})
	for i := range 50 {
		s := span(uint64(i))
		l := r.Start(t.Context(), r.Stream(testScope, "a", 1, testLayout, testAttrs...), &s, trace.TraceState{}, nil)
		var wg sync.WaitGroup
		for w := range 8 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				for j := range 20 {
					l.SetAttributes(attribute.Int(fmt.Sprint(j%5), w))
					l.Set(0, int64(j))
					l.SetEnd(int64(j))
					l.AddEvent("e")
					l.AddLink(trace.Link{SpanContext: spanContext(1, false, "")})
					l.SetName("n")
					l.SetStatus(codes.Error, "s")
					l.RecordError(errors.New("x"))
					_, _, _ = l.SpanContext(), l.IsRecording(), fmt.Sprint(l)
					_ = trace.SpanFromContext(l)
					if w == j {
						l.End()
					}
				}
			}()
		}
		wg.Wait()
	}
	flush(t, r)
	if n := len(got.all(t)); n != 50 {
		t.Errorf("%d spans; want 50", n)
	}
}

func TestHotPathsDoNotAllocate(t *testing.T) {
	r, _ := start(t, Options{Export: func(context.Context, Batch) error { return nil }, MaxSpans: 1 << 20})
	st := r.Stream(testScope, "a", 1, testLayout, testAttrs...)
	s := span(0)
	s.Set(0, 1)
	x := &Extra{Attributes: []attribute.KeyValue{attribute.Int("a", 1)}, Status: codes.Error, Description: "no"}
	attr := attribute.Int("a", 1)
	ctx := context.Background()
	f := func(what string, want float64, use func()) {
		t.Helper()
		for range 5000 { // memory that is used again
			use()
		}
		flush(t, r)
		if n := testing.AllocsPerRun(2000, use); n > want+0.05 {
			t.Errorf("%s: %v allocations; want %v", what, n, want)
		}
		flush(t, r)
	}
	f("Put", 0, func() { r.Put(st, &s, nil) })
	f("Put with extra", 0, func() { r.Put(st, &s, x) })
	f("Locked.Put", 0, func() { l := r.Lock(3); l.Put(st, &s, nil); l.Unlock() })
	f("Begin", 0, func() { r.Begin(ctx, trace.SpanContext{}, st) })
	f("Start and End", 1, func() { r.Start(ctx, st, &s, trace.TraceState{}, nil).End() })
	if !raceEnabled { // the race detector makes pools forget
		f("Start, an attribute and End", 1, func() { l := r.Start(ctx, st, &s, trace.TraceState{}, nil); l.SetAttributes(attr); l.End() })
	}
}
