package messaging

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

const (
	parentValue = "00-" + traceIDHex + "-" + spanIDHex + "-01"
	otherParent = "00-" + "0af7651916cd43dd8448eb211c80319c" + "-" + "b7ad6b7169203331" + "-01"
	sentryValue = "11111111111111111111111111111111-2222222222222222-1"
)

func h(pairs ...string) []Header {
	var out []Header
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, Header{pairs[i], []byte(pairs[i+1])})
	}
	return out
}

func TestExtractPrefersTraceparentAndTheLastOfDuplicates(t *testing.T) {
	f := func(headers []Header, wantSpan string, wantForm Form) {
		t.Helper()
		got := Extract(headers)
		if got.Form != wantForm || wantForm != FormNone && got.SpanContext.SpanID().String() != wantSpan {
			t.Errorf("Extract(%v) = span %s, form %d; want %s, %d", headers, got.SpanContext.SpanID(), got.Form, wantSpan, wantForm)
		}
		if got.SpanContext.IsValid() && !got.SpanContext.IsRemote() {
			t.Errorf("Extract(%v) is not marked remote", headers)
		}
	}
	f(nil, "", FormNone)
	f(h("a", "b"), "", FormNone)
	f(h("traceparent", parentValue), spanIDHex, FormW3C)
	f(h("traceparent", otherParent, "x", "y", "traceparent", parentValue), spanIDHex, FormW3C)
	f(h("traceparent", parentValue, "sentry-trace", sentryValue), spanIDHex, FormW3C)
	f(h("sentry-trace", sentryValue, "traceparent", parentValue), spanIDHex, FormW3C)
	f(h("sentry-trace", sentryValue), "2222222222222222", FormSentry)
	f(h("sentry-trace", sentryValue, "traceparent", "broken"), "2222222222222222", FormSentry)
	f(h("traceparent", parentValue, "traceparent", "broken"), "", FormNone) // the last one counts
	f(h("Traceparent", parentValue), "", FormNone)                          // Kafka keys are case-sensitive
	f([]Header{{"traceparent", nil}}, "", FormNone)
}

func TestExtractLeavesOutWhatExceedsItsLimits(t *testing.T) {
	f := func(value string, want bool) {
		t.Helper()
		if got := Extract(h("baggage", value)).Baggage != nil; got != want {
			t.Errorf("baggage of %d bytes, %d members: kept %v; want %v", len(value), strings.Count(value, ",")+1, got, want)
		}
	}
	f("a=b", true)
	f("", false)
	f(strings.Repeat("a", MaxBaggageBytes), true)
	f(strings.Repeat("a", MaxBaggageBytes+1), false)
	f(strings.TrimSuffix(strings.Repeat("a=b,", MaxBaggageMembers), ","), true)
	f(strings.TrimSuffix(strings.Repeat("a=b,", MaxBaggageMembers+1), ","), false)

	got := Extract(h("traceparent", parentValue, "tracestate", strings.Repeat("k", MaxTracestateBytes+1)+"=v")).SpanContext
	if !got.IsValid() || got.TraceState().Len() != 0 {
		t.Errorf("an absurd tracestate: got %v; want the traceparent alone", got)
	}
	got = Extract(h("traceparent", parentValue, "tracestate", "congo=t61")).SpanContext
	if got.TraceState().Get("congo") != "t61" {
		t.Errorf("tracestate = %q; want congo=t61", got.TraceState())
	}
}

func TestBaggageAndSentryFormTravelInTheContext(t *testing.T) {
	ctx := Extract(h("sentry-trace", sentryValue, "baggage", "user=7,sentry-release=1")).Into(context.Background())
	if got := baggage.FromContext(ctx).Member("user").Value(); got != "7" {
		t.Errorf("baggage user = %q; want 7", got)
	}
	if !HasSentryForm(ctx) {
		t.Error("the context does not remember that it came by sentry-trace")
	}
	in := NewInjector[Header](ctx, false)
	in.Grow(1, 0)
	got := Extract(in.Inject(nil, spanContext(t, 1)))
	if !got.Sentry || got.Form != FormW3C || got.Baggage == nil {
		t.Errorf("the next record carries %+v; want traceparent, sentry-trace and baggage", got)
	}
	if HasSentryForm(Extract(h("traceparent", parentValue)).Into(context.Background())) {
		t.Error("a W3C context is taken for one of Sentry's form")
	}
	// A broken baggage is left out and spoils nothing.
	if got := baggage.FromContext(Extract(h("baggage", ";;;=")).Into(context.Background())).Len(); got != 0 {
		t.Errorf("broken baggage gives %d members; want none", got)
	}
}

func TestInjectWritesWhatThePropagatorReads(t *testing.T) {
	ts, err := trace.ParseTraceState("congo=t61,rojo=00f0")
	if err != nil {
		t.Fatal(err)
	}
	sc := spanContext(t, 1).WithTraceState(ts)
	member, err := baggage.NewMember("user", "7")
	if err != nil {
		t.Fatal(err)
	}
	bag, err := baggage.New(member)
	if err != nil {
		t.Fatal(err)
	}
	in := NewInjector[Header](baggage.ContextWithBaggage(context.Background(), bag), true)
	in.Grow(1, 1)
	carrier := propagation.MapCarrier{}
	for _, x := range in.Inject(h("own", "1"), sc) {
		if _, twice := carrier[x.Key]; twice {
			t.Errorf("header %q is written twice", x.Key)
		}
		carrier[x.Key] = string(x.Value)
	}
	ctx := propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{}).Extract(context.Background(), carrier)
	if got := trace.SpanContextFromContext(ctx); !got.Equal(sc) {
		t.Errorf("the propagator reads %v; want %v", got, sc)
	}
	if got := baggage.FromContext(ctx).Member("user").Value(); got != "7" {
		t.Errorf("baggage user = %q; want 7", got)
	}
	if carrier["sentry-trace"] != traceIDHex+"-"+spanIDHex+"-1" || carrier["own"] != "1" {
		t.Errorf("headers = %v", carrier)
	}
	if over := in.Overhead(sc); over < 55+51 || over > 400 {
		t.Errorf("Overhead = %d", over)
	}
}

// The defect of other instrumentations: records that share a header slice with
// spare capacity overwrite each other's context.
func TestRecordsSharingAHeaderSliceKeepTheirOwnContext(t *testing.T) {
	shared := make([]Header, 1, 8)
	shared[0] = Header{"own", []byte("1")}
	before := append([]Header(nil), shared[:cap(shared)]...)
	in := NewInjector[Header](context.Background(), false)
	in.Grow(3, 3)
	var got [3][]Header
	for i := range got {
		sc := spanContext(t, 1).WithSpanID(trace.SpanID{7: byte(i + 1)})
		got[i] = in.Inject(shared, sc)
	}
	for i := range got {
		if n := Extract(got[i]).SpanContext.SpanID()[7]; int(n) != i+1 {
			t.Errorf("record %d carries the context of record %d", i, n-1)
		}
		if cap(got[i]) != len(got[i]) || cap(got[i][1].Value) != len(got[i][1].Value) {
			t.Errorf("record %d: capacity reaches into the next record", i)
		}
		_ = append(got[i], Header{"later", nil})
		_ = append(got[i][1].Value, "later"...)
	}
	for i := range got {
		if diff := cmp.Diff([]string{"own", "traceparent"}, keys(got[i])); diff != "" {
			t.Errorf("record %d headers (-want +got):\n%s", i, diff)
		}
		if _, ok := ParseTraceparent(got[i][1].Value); !ok {
			t.Errorf("record %d: traceparent became %q", i, got[i][1].Value)
		}
	}
	if diff := cmp.Diff(before, shared[:cap(shared)]); diff != "" {
		t.Errorf("the caller's array changed (-want +got):\n%s", diff)
	}
}

func TestInjectReplacesBrokenContextAndKeepsTheCallersBaggage(t *testing.T) {
	member, _ := baggage.NewMember("user", "7")
	bag, _ := baggage.New(member)
	in := NewInjector[Header](baggage.ContextWithBaggage(context.Background(), bag), false)
	in.Grow(1, 4)
	got := in.Inject(h("traceparent", "broken", "a", "1", "baggage", "mine=1", "tracestate", "x=y"), spanContext(t, 1))
	if diff := cmp.Diff([]string{"a", "baggage", "traceparent"}, keys(got)); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	if !bytes.Equal(got[1].Value, []byte("mine=1")) {
		t.Errorf("baggage = %q; want the caller's", got[1].Value)
	}
}

func TestBaggageOverTheLimitIsNotSent(t *testing.T) {
	// baggage.New keeps the limits itself, SetMember does not.
	var bag baggage.Baggage
	for i := range MaxBaggageMembers + 1 {
		m, err := baggage.NewMember(fmt.Sprintf("k%d", i), "v")
		if err != nil {
			t.Fatal(err)
		}
		if bag, err = bag.SetMember(m); err != nil {
			t.Fatal(err)
		}
	}
	if bag.Len() != MaxBaggageMembers+1 {
		t.Fatalf("the test's baggage has %d members; want %d", bag.Len(), MaxBaggageMembers+1)
	}
	in := NewInjector[Header](baggage.ContextWithBaggage(context.Background(), bag), false)
	in.Grow(1, 0)
	if got := keys(in.Inject(nil, spanContext(t, 1))); len(got) != 1 || !in.BaggageSkipped() {
		t.Errorf("headers = %v, skipped = %v; want the traceparent alone and skipped", got, in.BaggageSkipped())
	}
}

func TestAnyHeaderTypeOfThatShapeWorks(t *testing.T) {
	type other struct {
		Key   string
		Value []byte
	}
	in := NewInjector[other](context.Background(), false)
	in.Grow(1, 0)
	if got := Extract(in.Inject(nil, spanContext(t, 1))).SpanContext; !got.Equal(spanContext(t, 1)) {
		t.Errorf("read back %v", got)
	}
}

func TestSwitchTurnsEverythingOffAndOn(t *testing.T) {
	defer SetEnabled(true)
	if !Enabled() {
		t.Fatal("off at the start")
	}
	SetEnabled(false)
	if Enabled() {
		t.Fatal("still on")
	}
}

func keys(headers []Header) []string {
	var out []string
	for _, x := range headers {
		out = append(out, x.Key)
	}
	return out
}

// FuzzExtract looks for panics and for contexts that cannot be passed on.
func FuzzExtract(f *testing.F) {
	f.Add("traceparent", []byte(parentValue), "tracestate", []byte("a=b"), "baggage", []byte("k=v;p=1,x=%20"))
	f.Add("sentry-trace", []byte(sentryValue), "sentry-trace", []byte("x"), "baggage", []byte(",,,"))
	f.Fuzz(func(t *testing.T, k1 string, v1 []byte, k2 string, v2 []byte, k3 string, v3 []byte) {
		headers := []Header{{k1, v1}, {k2, v2}, {k3, v3}}
		got := Extract(headers)
		if (got.Form != FormNone) != got.SpanContext.IsValid() {
			t.Fatalf("form %d with %v", got.Form, got.SpanContext)
		}
		ctx := got.Into(context.Background())
		if got.Form == FormNone {
			return
		}
		in := NewInjector[Header](ctx, false)
		in.Grow(1, len(headers))
		again := Extract(in.Inject(headers, got.SpanContext))
		if again.Form != FormW3C || again.SpanContext.SpanID() != got.SpanContext.SpanID() || again.Sentry != got.Sentry {
			t.Fatalf("passed on as %+v; want %+v", again, got)
		}
	})
}
