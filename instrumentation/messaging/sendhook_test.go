package messaging

import (
	"context"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/trace"
)

type sendHookFunc func(context.Context, trace.SpanContext) string

func (f sendHookFunc) Baggage(ctx context.Context, sc trace.SpanContext) string { return f(ctx, sc) }

func headerOf(headers []Header, key string) string {
	for _, h := range headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

func TestASendHookAddsItsMembersForEachRecord(t *testing.T) {
	SetSendHook(sendHookFunc(func(_ context.Context, sc trace.SpanContext) string {
		return "sentry-trace_id=" + sc.TraceID().String() + ",sentry-own=" + sc.SpanID().String()
	}))
	defer SetSendHook(nil)
	bag, err := baggage.Parse("user=7,sentry-trace_id=old")
	if err != nil {
		t.Fatal(err)
	}
	in := NewInjector[Header](baggage.ContextWithBaggage(context.Background(), bag), false)
	in.Grow(2, 0)
	for i := range byte(2) {
		sc := spanContext(t, 1).WithSpanID(trace.SpanID{7: i + 1})
		over := in.Overhead(sc)
		headers := in.Inject(nil, sc)
		want := "sentry-trace_id=" + sc.TraceID().String() + ",sentry-own=" + sc.SpanID().String() + ",user=7"
		if got := headerOf(headers, HeaderBaggage); got != want {
			t.Errorf("record %d: baggage = %q; want %q", i, got, want)
		}
		if got := headerOf(headers, HeaderSentryTrace); got != sc.TraceID().String()+"-"+sc.SpanID().String()+"-1" {
			t.Errorf("record %d: sentry-trace = %q", i, got)
		}
		size := 0
		for _, h := range headers {
			size += len(h.Key) + len(h.Value)
		}
		if over < size {
			t.Errorf("record %d: Overhead = %d; the headers have %d bytes", i, over, size)
		}
	}
	// The caller's own baggage header stays as it is.
	headers := in.Inject(h("baggage", "mine=1"), spanContext(t, 1))
	if got := headerOf(headers, HeaderBaggage); got != "mine=1" {
		t.Errorf("baggage = %q; want the caller's", got)
	}
}

func TestASendHookThatPanicsOrSaysTooMuchAddsNothing(t *testing.T) {
	f := func(hook sendHookFunc, bag, want string) {
		t.Helper()
		SetSendHook(hook)
		defer SetSendHook(nil)
		ctx := context.Background()
		if bag != "" {
			b, err := baggage.Parse(bag)
			if err != nil {
				t.Fatal(err)
			}
			ctx = baggage.ContextWithBaggage(ctx, b)
		}
		in := NewInjector[Header](ctx, false)
		in.Grow(1, 0)
		if got := headerOf(in.Inject(nil, spanContext(t, 1)), HeaderBaggage); got != want {
			t.Errorf("baggage = %.60q; want %.60q", got, want)
		}
	}
	f(func(context.Context, trace.SpanContext) string { panic("boom") }, "a=1", "a=1")
	f(func(context.Context, trace.SpanContext) string { return "" }, "a=1", "a=1")
	f(func(context.Context, trace.SpanContext) string { return "s=" + strings.Repeat("x", MaxBaggageBytes) }, "a=1", "")
	f(func(context.Context, trace.SpanContext) string { return "sentry-a=1" }, "b="+strings.Repeat("x", 8180), "sentry-a=1")
	f(func(context.Context, trace.SpanContext) string { return "sentry-a=1" }, "sentry-b=2", "sentry-a=1")
}

// Sentry's members say which trace they are of. A record of another one, as
// behind a link, must not carry them: its consumer would believe their sampling.
func TestBaggageOfAnotherTraceIsLeftOutOfARecord(t *testing.T) {
	sc := spanContext(t, 1)
	f := func(bag, want string) {
		t.Helper()
		b, err := baggage.Parse(bag)
		if err != nil {
			t.Fatal(err)
		}
		in := NewInjector[Header](baggage.ContextWithBaggage(context.Background(), b), true)
		in.Grow(2, 0)
		for range 2 {
			if got := headerOf(in.Inject(nil, sc), HeaderBaggage); got != want {
				t.Errorf("baggage %q goes on as %q; want %q", bag, got, want)
			}
		}
	}
	f("user=7", "user=7")
	f("sentry-trace_id="+sc.TraceID().String(), "sentry-trace_id="+sc.TraceID().String())
	f("sentry-trace_id=244a084ed1114d90bf25fca93b234bba", "")
}

func TestTheProgramsOwnBaggageStaysBesideAnotherTraces(t *testing.T) {
	got := ofTrace([]byte("sentry-sampled=true,user=7,sentry-trace_id=244a084ed1114d90bf25fca93b234bba"), spanContext(t, 1).TraceID())
	if string(got) != "user=7" {
		t.Errorf("baggage = %q; want user=7", got)
	}
}
