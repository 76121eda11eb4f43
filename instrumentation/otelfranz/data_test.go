package otelfranz

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/baggage"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

type contextKey struct{}

func TestARecordIsGivenBackAsItWas(t *testing.T) {
	c, rec := broker(t, 1), record()
	h := New(WithTracerProvider(rec), WithPathways(), WithService("test"), WithSentryTrace())
	cl := newClient(t, c, h)
	ctx := context.WithValue(within(t), contextKey{}, "mine")
	array := make([]kgo.RecordHeader, 1, 8)
	array[0] = kgo.RecordHeader{Key: "a", Value: []byte("1")}
	before := append([]kgo.RecordHeader(nil), array[:8]...)
	r := &kgo.Record{Value: []byte("v"), Headers: array}
	done := make(chan struct{})
	cl.Produce(ctx, r, func(r *kgo.Record, err error) {
		defer close(done)
		if err != nil {
			t.Error(err)
		}
		if r.Context != ctx {
			t.Error("the promise sees another Context than the caller's")
		}
		if len(r.Headers) != 1 || cap(r.Headers) != 8 || &r.Headers[0] != &array[0] {
			t.Errorf("the promise sees headers %v", r.Headers)
		}
	})
	<-done
	if d := cmp.Diff(before, array[:8]); d != "" {
		t.Errorf("the array behind the headers changed: %s", d)
	}
}

func TestRecordsThatShareHeadersCarryContextsOfTheirOwn(t *testing.T) {
	c, rec := broker(t, 1), record()
	h := New(WithTracerProvider(rec))
	cl := newClient(t, c, h, kgo.ConsumeTopics("orders"))
	shared := make([]kgo.RecordHeader, 1, 8)
	shared[0] = kgo.RecordHeader{Key: "a", Value: []byte("1")}
	rs := []*kgo.Record{{Value: []byte("x"), Headers: shared}, {Value: []byte("y"), Headers: shared}}
	if err := cl.ProduceSync(within(t), rs...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	sends := rec.wait(t, "send orders", 2)
	for i, r := range pollSome(t, h, 2) {
		got := messaging.Extract(r.Headers).SpanContext
		if got.SpanID() != sends[i].SpanContext().SpanID() {
			t.Errorf("record %d carries %s; want %s", i, got.SpanID(), sends[i].SpanContext().SpanID())
		}
		if len(r.Headers) != 2 || r.Headers[0].Key != "a" {
			t.Errorf("headers %v", r.Headers)
		}
	}
}

func TestSendingARecordAgainAddsNothingTwice(t *testing.T) {
	c, rec := broker(t, 1), record()
	h := New(WithTracerProvider(rec), WithPathways(), WithService("test"))
	cl := newClient(t, c, h, kgo.ConsumeTopics("orders"))
	r := &kgo.Record{Value: []byte("v")}
	for range 3 {
		if err := cl.ProduceSync(within(t), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	ids := make(map[trace.SpanID]bool)
	for _, r := range pollSome(t, h, 3) {
		if len(r.Headers) != 2 {
			t.Errorf("headers %v; want traceparent and %s", r.Headers, messaging.HeaderPathway)
		}
		ids[messaging.Extract(r.Headers).SpanContext.SpanID()] = true
	}
	if len(ids) != 3 {
		t.Errorf("%d contexts; want 3", len(ids))
	}
}

func TestACreationContextIsKept(t *testing.T) {
	c, rec := broker(t, 1), record()
	h := New(WithTracerProvider(rec))
	cl := newClient(t, c, h, kgo.ConsumeTopics("orders"))
	const given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	r := &kgo.Record{Value: []byte("v"), Headers: []kgo.RecordHeader{{Key: "traceparent", Value: []byte(given)}}}
	if err := cl.ProduceSync(within(t), r).FirstErr(); err != nil {
		t.Fatal(err)
	}
	s := rec.wait(t, "send orders", 1)[0]
	if s.SpanKind() != trace.SpanKindClient || len(s.Links()) != 1 || s.Links()[0].SpanContext.SpanID().String() != "00f067aa0ba902b7" {
		t.Errorf("kind %v, links %v", s.SpanKind(), s.Links())
	}
	got := pollSome(t, h, 1)[0]
	if len(got.Headers) != 1 || string(got.Headers[0].Value) != given {
		t.Errorf("headers %v", got.Headers)
	}
}

func TestBaggageTravels(t *testing.T) {
	c, rec := broker(t, 1), record()
	h := New(WithTracerProvider(rec))
	cl := newClient(t, c, h, kgo.ConsumeTopics("orders"))
	b, err := baggage.Parse("tenant=7")
	if err != nil {
		t.Fatal(err)
	}
	if err := cl.ProduceSync(baggage.ContextWithBaggage(within(t), b), &kgo.Record{Value: []byte("v")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	err = h.Process(within(t), pollSome(t, h, 1)[0], func(ctx context.Context, _ *kgo.Record) error {
		if got := baggage.FromContext(ctx).Member("tenant").Value(); got != "7" {
			t.Errorf("tenant %q", got)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestAnUnsampledParentMakesNoSpanButTravels(t *testing.T) {
	c := broker(t, 1)
	rec := record(sdktrace.WithSampler(sdktrace.NeverSample()))
	h := New(WithTracerProvider(rec))
	cl := newClient(t, c, h, kgo.ConsumeTopics("orders"))
	ctx, parent := contextIn(t, rec)
	if err := cl.ProduceSync(ctx, &kgo.Record{Value: []byte("v")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	got := messaging.Extract(pollSome(t, h, 1)[0].Headers).SpanContext
	if got.TraceID() != parent.SpanContext().TraceID() || got.IsSampled() {
		t.Errorf("carried %v; want trace %s, not sampled", got, parent.SpanContext().TraceID())
	}
	if n := len(rec.Ended()); n != 0 {
		t.Errorf("%d spans", n)
	}
}

func TestARecordAtTheLimitIsSentWithoutAContext(t *testing.T) {
	c, rec := broker(t, 1), record()
	h := New(WithTracerProvider(rec))
	cl := newClient(t, c, h, kgo.ProducerBatchMaxBytes(4096), kgo.ConsumeTopics("orders"), kgo.ProducerBatchCompression(kgo.NoCompression()))
	r := &kgo.Record{Value: bytes.Repeat([]byte("v"), 4096-100)}
	if err := cl.ProduceSync(within(t), r).FirstErr(); err != nil {
		t.Fatalf("the headers made the record too large: %v", err)
	}
	if got := pollSome(t, h, 1)[0]; len(got.Headers) != 0 {
		t.Errorf("headers %v", got.Headers)
	}
	if h.Counts().InjectionsSkipped != 1 {
		t.Errorf("counts %+v", h.Counts())
	}
	rec.wait(t, "send orders", 1)
}

func TestARecordSentOnBelongsToItsProcessing(t *testing.T) {
	c, rec := broker(t, 1), record()
	h := New(WithTracerProvider(rec))
	cl := newClient(t, c, h, kgo.ConsumeTopics("orders"))
	produce(t, cl, "a")
	r := pollSome(t, h, 1)[0]
	err := h.Process(within(t), r, func(ctx context.Context, r *kgo.Record) error {
		again := Retry(ctx, r, "orders")
		again.Context = r.Context // a record's own Context tells where it belongs
		return cl.ProduceSync(context.Background(), again).FirstErr()
	})
	if err != nil {
		t.Fatal(err)
	}
	process := rec.wait(t, "process orders", 1)[0]
	send := rec.wait(t, "send orders", 2)[1]
	if send.Parent().SpanID() != process.SpanContext().SpanID() {
		t.Errorf("parent %v; want the process span", send.Parent())
	}
	again := pollSome(t, h, 1)[0]
	if err := h.Process(within(t), again, nothing); err != nil {
		t.Fatal(err)
	}
	s := rec.wait(t, "process orders", 2)[1]
	if Attempt(again) != 2 || number(t, s, messaging.AttrRetryAttempt) != 1 || number(t, s, messaging.AttrRetryOffset) != 0 {
		t.Errorf("attributes %v", s.Attributes())
	}
}

func TestContextsThatGrewFromARecordsDoNotLoop(t *testing.T) {
	c, rec := broker(t, 1), record()
	h := New(WithTracerProvider(rec))
	cl := newClient(t, c, h, kgo.ConsumeTopics("orders"))
	produce(t, cl, "a", "b")
	rs := pollSome(t, h, 2)
	ctx, cancel := context.WithCancel(rs[1].Context)
	defer cancel()
	if err := h.Process(ctx, rs[0], func(ctx context.Context, r *kgo.Record) error {
		return h.Process(r.Context, rs[1], func(ctx context.Context, r *kgo.Record) error {
			_ = ctx.Value(contextKey{})
			_ = r.Context.Value(contextKey{})
			_ = rs[0].Context.Value(contextKey{})
			return nil
		})
	}); err != nil {
		t.Fatal(err)
	}
	rec.wait(t, "process orders", 2)
}

func TestPanicsOfTheProgramGoOn(t *testing.T) {
	c, rec := broker(t, 1), record()
	h := New(WithTracerProvider(rec))
	cl := newClient(t, c, h, kgo.ConsumeTopics("orders"))
	produce(t, cl, "a")
	r := pollSome(t, h, 1)[0]
	func() {
		defer func() {
			if p := recover(); p != "mine" {
				t.Errorf("recovered %v", p)
			}
		}()
		_ = h.Process(within(t), r, func(context.Context, *kgo.Record) error { panic("mine") })
	}()
	if got := text(t, rec.wait(t, "process orders", 1)[0], messaging.AttrErrorType); got != "panic" {
		t.Errorf("error.type %q", got)
	}
}

// broken is a provider whose spans panic.
type broken struct{ trace.TracerProvider }

type brokenTracer struct{ trace.Tracer }

func (b broken) Tracer(name string, o ...trace.TracerOption) trace.Tracer {
	return brokenTracer{b.TracerProvider.Tracer(name, o...)}
}

func (brokenTracer) Start(context.Context, string, ...trace.SpanStartOption) (context.Context, trace.Span) {
	panic("provider")
}

func TestPanicsOfAProviderStayBelow(t *testing.T) {
	c := broker(t, 1)
	h := New(WithTracerProvider(broken{record()}))
	cl := newClient(t, c, h, kgo.ConsumeTopics("orders"))
	r := &kgo.Record{Value: []byte("v")}
	if err := cl.ProduceSync(within(t), r).FirstErr(); err != nil {
		t.Fatal(err)
	}
	called := false
	got := pollSome(t, h, 1)[0]
	if err := h.Process(within(t), got, func(context.Context, *kgo.Record) error { called = true; return nil }); err != nil || !called {
		t.Errorf("error %v, called %v", err, called)
	}
	if string(got.Value) != "v" || h.Counts().Panics < 3 {
		t.Errorf("value %q, %+v", got.Value, h.Counts())
	}
}

func TestPathwaysGoOn(t *testing.T) {
	c, rec := broker(t, 1), record()
	h := New(WithTracerProvider(rec), WithPathways(), WithService("shop"))
	cl := newClient(t, c, h, kgo.ConsumeTopics("orders"))
	produce(t, cl, "a")
	r := pollSome(t, h, 1)[0]
	var value []byte
	for _, hd := range r.Headers {
		if hd.Key == messaging.HeaderPathway {
			value = hd.Value
		}
	}
	if len(value) == 0 || len(value) > 24 {
		t.Errorf("pathway header %x", value)
	}
}

func TestCreateSpansAreLinkedByTheSendSpan(t *testing.T) {
	c, rec := broker(t, 1), record()
	h := New(WithTracerProvider(rec), WithCreateSpans())
	cl := newClient(t, c, h, kgo.ProducerLinger(500*time.Millisecond), kgo.ManualFlushing())
	var rs []*kgo.Record
	for _, v := range []string{"a", "b"} { // one batch
		rs = append(rs, &kgo.Record{Value: []byte(v)})
		cl.Produce(within(t), rs[len(rs)-1], nil)
	}
	if err := cl.Flush(within(t)); err != nil {
		t.Fatal(err)
	}
	created := rec.wait(t, "create orders", 2)
	var links []trace.SpanID
	for _, s := range rec.wait(t, "send orders", 1) {
		if s.SpanKind() != trace.SpanKindClient {
			t.Errorf("kind %v", s.SpanKind())
		}
		for _, l := range s.Links() {
			links = append(links, l.SpanContext.SpanID())
		}
	}
	want := []trace.SpanID{created[0].SpanContext().SpanID(), created[1].SpanContext().SpanID()}
	less := cmpopts.SortSlices(func(a, b trace.SpanID) bool { return strings.Compare(a.String(), b.String()) < 0 })
	if d := cmp.Diff(want, links, less); d != "" {
		t.Error(d)
	}
}

func TestADeadLetterSaysWhy(t *testing.T) {
	r := &kgo.Record{Topic: "orders", Offset: 7, Key: []byte("k"), Value: []byte("v"), Headers: []kgo.RecordHeader{{Key: "a", Value: []byte("1")}}}
	out := DeadLetter(context.Background(), DeadLetter(context.Background(), r, "orders-retry", nil), "orders-dlq", errors.New("no"))
	l, ok := LineageOf(out)
	if !ok || l.Topic != "orders" || l.Offset != 7 || l.Attempt != 2 || Attempt(out) != 3 || Attempt(r) != 1 {
		t.Errorf("lineage %+v, %v", l, ok)
	}
	last := out.Headers[len(out.Headers)-1]
	if out.Topic != "orders-dlq" || len(out.Headers) != 3 || last.Key != HeaderError || string(last.Value) != "_OTHER: no" {
		t.Errorf("topic %s, headers %v", out.Topic, out.Headers)
	}
	if len(r.Headers) != 1 {
		t.Error("the record failed was changed")
	}
}
