package messaging

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

const (
	traceIDHex = "4bf92f3577b34da6a3ce929d0e0e4736"
	spanIDHex  = "00f067aa0ba902b7"
)

func spanContext(t testing.TB, flags trace.TraceFlags) trace.SpanContext {
	t.Helper()
	traceID, err := trace.TraceIDFromHex(traceIDHex)
	if err != nil {
		t.Fatal(err)
	}
	spanID, err := trace.SpanIDFromHex(spanIDHex)
	if err != nil {
		t.Fatal(err)
	}
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: traceID, SpanID: spanID, TraceFlags: flags, Remote: true})
}

func TestTraceparentIsReadAsW3CSays(t *testing.T) {
	f := func(v string, want trace.SpanContext, wantOK bool) {
		t.Helper()
		got, ok := ParseTraceparent([]byte(v))
		if ok != wantOK || ok && !got.Equal(want) {
			t.Errorf("ParseTraceparent(%q) = %v, %v; want %v, %v", v, got, ok, want, wantOK)
		}
	}
	const ids = traceIDHex + "-" + spanIDHex
	none := trace.SpanContext{}
	f("00-"+ids+"-01", spanContext(t, 1), true)
	f("00-"+ids+"-00", spanContext(t, 0), true)
	f("00-"+ids+"-03", spanContext(t, 3), true)
	f("00-"+ids+"-04", none, false) // reserved in version 00
	f("00-"+ids+"-01-more", none, false)
	f("cc-"+ids+"-01", spanContext(t, 1), true)
	f("cc-"+ids+"-01-more", spanContext(t, 1), true)
	f("cc-"+ids+"-01more", none, false)
	f("ff-"+ids+"-01", none, false)
	f("00-"+strings.ToUpper(ids)+"-01", none, false)
	f("00-"+strings.Repeat("0", 32)+"-"+spanIDHex+"-01", none, false)
	f("00-"+traceIDHex+"-"+strings.Repeat("0", 16)+"-01", none, false)
	f("", none, false)
	f("00-"+ids, none, false)
	f("00-"+ids+"-0", none, false)
	f("00_"+ids+"-01", none, false)
}

func TestSentryTraceWithoutDecisionIsSampled(t *testing.T) {
	f := func(v string, want trace.SpanContext, wantOK bool) {
		t.Helper()
		got, ok := ParseSentryTrace([]byte(v))
		if ok != wantOK || ok && !got.Equal(want) {
			t.Errorf("ParseSentryTrace(%q) = %v, %v; want %v, %v", v, got, ok, want, wantOK)
		}
	}
	const ids = traceIDHex + "-" + spanIDHex
	f(ids+"-1", spanContext(t, 1), true)
	f(ids+"-0", spanContext(t, 0), true)
	f(ids, spanContext(t, 1), true)
	f(" \t"+ids+"-1 \t", spanContext(t, 1), true)
	f(ids+"-2", trace.SpanContext{}, false)
	f(ids+"-", trace.SpanContext{}, false)
	f(ids+"11", trace.SpanContext{}, false)
	f(ids[:len(ids)-1], trace.SpanContext{}, false)
	f("", trace.SpanContext{}, false)
	f(strings.Repeat("0", 32)+"-"+spanIDHex+"-1", trace.SpanContext{}, false)
}

func TestWhatIsWrittenIsReadBack(t *testing.T) {
	for flags := range trace.TraceFlags(4) {
		sc := spanContext(t, flags)
		got, ok := ParseTraceparent(AppendTraceparent(nil, sc))
		if !ok || !got.Equal(sc) {
			t.Errorf("traceparent of %v reads as %v, %v", sc, got, ok)
		}
		got, ok = ParseSentryTrace(AppendSentryTrace(nil, sc))
		if want := sc.WithTraceFlags(flags & 1); !ok || !got.Equal(want) {
			t.Errorf("sentry-trace of %v reads as %v, %v", want, got, ok)
		}
	}
}

// FuzzTraceparent compares with OpenTelemetry's own W3C propagator.
func FuzzTraceparent(f *testing.F) {
	const ids = traceIDHex + "-" + spanIDHex
	for _, s := range []string{
		"00-" + ids + "-01", "00-" + ids + "-03", "00-" + ids + "-04", "cc-" + ids + "-01-x", "ff-" + ids + "-01", "",
		"00-" + ids + "-01-", "01-" + ids + "-ff", "00-" + ids + "-01\x00", "0-" + ids + "-001",
	} {
		f.Add([]byte(s))
	}
	var oracle propagation.TraceContext
	f.Fuzz(func(t *testing.T, v []byte) {
		if len(v) == traceparentLen+1 && bytes.HasPrefix(v, []byte("00-")) && v[traceparentLen] == '-' {
			return // the propagator tolerates one delimiter at the end, which W3C does not
		}
		got, ok := ParseTraceparent(v)
		want := trace.SpanContextFromContext(oracle.Extract(context.Background(), propagation.MapCarrier{"traceparent": string(v)}))
		if ok != want.IsValid() || ok && !got.Equal(want) {
			t.Fatalf("ParseTraceparent(%q) = %v, %v; the propagator reads %v", v, got, ok, want)
		}
		if !ok {
			return
		}
		carrier := propagation.MapCarrier{}
		oracle.Inject(trace.ContextWithSpanContext(context.Background(), got), carrier)
		if wrote := string(AppendTraceparent(nil, got)); wrote != carrier["traceparent"] {
			t.Fatalf("AppendTraceparent = %q; the propagator writes %q", wrote, carrier["traceparent"])
		}
	})
}
