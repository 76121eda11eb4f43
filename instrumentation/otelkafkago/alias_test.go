package otelkafkago

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/produce"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

// What other instrumentations do to the caller's data, and this one must not.

func TestTheCallersMessagesAreNotChanged(t *testing.T) {
	for _, async := range []bool{false, true} {
		b := &memory{}
		w := memoryWriter(b, func(w *kafka.Writer) { w.Async = async }, WithTracerProvider(record()))
		backing := make([]kafka.Header, 2, 8)
		backing[0], backing[1] = kafka.Header{Key: "a", Value: []byte("1")}, kafka.Header{Key: "b", Value: []byte("2")}
		msgs := []kafka.Message{
			{Value: []byte("x"), Headers: backing[:1], WriterData: 7}, // spare capacity that belongs to backing[1]
			{Value: []byte("y"), Headers: backing},
		}
		wantMsgs := append([]kafka.Message(nil), msgs...)
		wantBacking := append([]kafka.Header(nil), backing[:cap(backing)]...)
		for range 2 { // the same slice twice
			if err := w.WriteMessages(within(t), msgs...); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(wantMsgs, msgs); diff != "" {
			t.Errorf("async=%v: the messages changed (-want +got):\n%s", async, diff)
		}
		if diff := cmp.Diff(wantBacking, backing[:cap(backing)]); diff != "" {
			t.Errorf("async=%v: the header array changed (-want +got):\n%s", async, diff)
		}
		seen := make(map[trace.SpanID]bool)
		for i, headers := range b.records {
			want := []string{"a", "traceparent"}
			if i%2 == 1 {
				want = []string{"a", "b", "traceparent"}
			}
			var keys []string
			for _, h := range headers {
				keys = append(keys, h.Key)
			}
			if diff := cmp.Diff(want, keys); diff != "" {
				t.Errorf("async=%v: headers of record %d (-want +got):\n%s", async, i, diff)
			}
			seen[header(t, headers).SpanID()] = true
		}
		if len(seen) != 4 {
			t.Errorf("async=%v: 4 records carry %d contexts", async, len(seen))
		}
	}
}

func TestAsynchronousRecordsSharingHeadersKeepTheirOwnContext(t *testing.T) {
	rec := record()
	b := &memory{}
	w := memoryWriter(b, func(w *kafka.Writer) { w.Async = true; w.BatchSize = 50 }, WithTracerProvider(rec))
	shared := make([]kafka.Header, 1, 16)
	shared[0] = kafka.Header{Key: "tenant", Value: []byte("t")}
	var senders sync.WaitGroup
	for range 8 {
		senders.Add(1)
		go func() {
			defer senders.Done()
			for range 25 {
				if err := w.WriteMessages(within(t), kafka.Message{Value: []byte("x"), Headers: shared}); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	senders.Wait()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	sent := make(map[trace.SpanID]bool)
	for _, s := range rec.wait(t, "send orders", 200) {
		sent[s.SpanContext().SpanID()] = true
	}
	for _, headers := range b.records {
		delete(sent, header(t, headers).SpanID())
	}
	if len(b.records) != 200 || len(sent) != 0 {
		t.Errorf("%d records; the contexts of %d are on none", len(b.records), len(sent))
	}
}

func TestCompletionSeesTheMessagesAsTheyWereSent(t *testing.T) {
	var got []kafka.Message
	var gotErr error
	fail := false
	b := &memory{}
	b.answer = func(q *produce.Request) (kafka.Response, error) {
		if fail {
			return produced(q, -1, int16(kafka.MessageSizeTooLarge)), nil
		}
		return produced(q, 40, 0), nil
	}
	w := memoryWriter(b, func(w *kafka.Writer) {
		w.Completion = func(ms []kafka.Message, err error) { got, gotErr = ms, err }
	}, WithTracerProvider(record()))
	defer w.Close()
	own := []kafka.Header{{Key: "own", Value: []byte("1")}}
	msgs := []kafka.Message{{Value: []byte("x"), WriterData: "first", Headers: own}, {Value: []byte("y"), WriterData: nil}}
	if err := w.WriteMessages(within(t), msgs...); err != nil {
		t.Fatal(err)
	}
	if gotErr != nil || len(got) != 2 || got[0].WriterData != "first" || got[1].WriterData != nil {
		t.Fatalf("Completion got %+v, %v", got, gotErr)
	}
	if diff := cmp.Diff(own, got[0].Headers); diff != "" || len(got[1].Headers) != 0 {
		t.Errorf("headers (-want +got):\n%s%v", diff, got[1].Headers)
	}
	if got[0].Offset != 40 || got[1].Offset != 41 || got[0].Topic != "orders" {
		t.Errorf("offsets %d, %d, topic %q; want what kafka-go reports", got[0].Offset, got[1].Offset, got[0].Topic)
	}
	// What failed and is sent again from there gets a context of its own.
	fail = true
	if err := w.WriteMessages(within(t), msgs[0]); err == nil || gotErr == nil {
		t.Fatalf("errors %v, %v; want both", err, gotErr)
	}
	fail = false
	again := got[0]
	again.Topic = "" // the Writer names it
	if err := w.WriteMessages(within(t), again); err != nil {
		t.Fatal(err)
	}
	first, second := header(t, b.records[2]), header(t, b.records[3])
	if !first.IsValid() || !second.IsValid() || first.SpanID() == second.SpanID() {
		t.Errorf("the second try carries %v, the first %v; want two contexts", second, first)
	}
}

// kafka-go may still be encoding from the messages it gives to Completion.
func TestTheMessagesGivenToCompletionAreNotChangedInPlace(t *testing.T) {
	var got []kafka.Message
	w := memoryWriter(&memory{}, func(w *kafka.Writer) {
		w.Completion = func(ms []kafka.Message, _ error) { got = ms }
	}, WithTracerProvider(record()))
	defer w.Close()
	out := w.hooks.begin(within(t), w.Writer, []kafka.Message{{Value: []byte("x"), WriterData: "mine"}}).out
	headers, state := out[0].Headers, out[0].WriterData
	w.hooks.complete(out, nil)
	if out[0].WriterData != state || len(out[0].Headers) != len(headers) || len(headers) != 1 {
		t.Errorf("kafka-go's message became %+v", out[0])
	}
	if len(got) != 1 || got[0].WriterData != "mine" || got[0].Headers != nil {
		t.Errorf("Completion got %+v", got)
	}
}

func TestACreationContextOnTheMessageIsKeptAndLinked(t *testing.T) {
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	const sentry = "11111111111111111111111111111111-2222222222222222-1"
	f := func(headers []kafka.Header, wantSpan string) {
		t.Helper()
		rec := record()
		b := &memory{}
		w := memoryWriter(b, nil, WithTracerProvider(rec), WithSentryTrace())
		defer w.Close()
		if err := w.WriteMessages(within(t), kafka.Message{Value: []byte("x"), Headers: headers}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(headers, b.records[0]); diff != "" {
			t.Errorf("headers (-want +got):\n%s", diff)
		}
		s := rec.wait(t, "send orders", 1)[0]
		if s.SpanKind() != trace.SpanKindClient || len(s.Links()) != 1 || s.Links()[0].SpanContext.SpanID().String() != wantSpan {
			t.Errorf("kind %v, links %v; want client and a link to %s", s.SpanKind(), s.Links(), wantSpan)
		}
	}
	f([]kafka.Header{{Key: "traceparent", Value: []byte(parent)}}, "00f067aa0ba902b7")
	f([]kafka.Header{{Key: "sentry-trace", Value: []byte(sentry)}, {Key: "a"}}, "2222222222222222")
}

func TestSentryFormGoesOn(t *testing.T) {
	f := func(change func(w *Writer) error, want bool, opts ...Option) {
		t.Helper()
		b := &memory{}
		w := memoryWriter(b, nil, append(opts, WithTracerProvider(record()))...)
		defer w.Close()
		if err := change(w); err != nil {
			t.Fatal(err)
		}
		if got := messaging.Extract(b.records[0]); got.Sentry != want || got.Form != messaging.FormW3C {
			t.Errorf("the record carries %+v; want traceparent and sentry-trace %v", got, want)
		}
	}
	plain := func(w *Writer) error { return w.WriteMessages(within(t), kafka.Message{Value: []byte("x")}) }
	f(plain, false)
	f(plain, true, WithSentryTrace())
	f(func(w *Writer) error {
		return w.WriteMessages(messaging.ContextWithSentryForm(within(t)), kafka.Message{Value: []byte("x")})
	}, true)
}

func TestAContextNeverPushesAMessageOverItsLimit(t *testing.T) {
	rec := record()
	b := &memory{}
	const limit = 1000
	w := memoryWriter(b, func(w *kafka.Writer) { w.BatchBytes = limit }, WithTracerProvider(rec))
	defer w.Close()
	// kafka-go counts 23 bytes beside the value.
	f := func(value, headers int, wantContext bool) {
		t.Helper()
		before := w.Counts().InjectionsSkipped
		m := kafka.Message{Value: bytes.Repeat([]byte("v"), value), Headers: make([]kafka.Header, headers)}
		if err := w.WriteMessages(within(t), m); err != nil {
			t.Fatalf("value of %d bytes: %v", value, err)
		}
		last := b.records[len(b.records)-1]
		if got := header(t, last).IsValid(); got != wantContext {
			t.Errorf("value of %d bytes: context %v; want %v", value, got, wantContext)
		}
		if got := w.Counts().InjectionsSkipped - before; (got == 0) != wantContext {
			t.Errorf("value of %d bytes: %d injections counted as skipped", value, got)
		}
	}
	f(800, 0, true)
	f(970, 0, false) // fits without a context only
	if n := len(rec.named("send orders")); n != 2 {
		t.Errorf("%d spans; want one for each, context or not", n)
	}
}

func TestTooLargeAMessageIsGivenBackAsItWas(t *testing.T) {
	rec := record()
	w := memoryWriter(&memory{}, func(w *kafka.Writer) { w.BatchBytes = 500 }, WithTracerProvider(rec))
	defer w.Close()
	msgs := []kafka.Message{
		{Value: []byte("a"), WriterData: "a"}, {Value: []byte(strings.Repeat("b", 600)), WriterData: "b"}, {Value: []byte("c"), WriterData: "c"},
	}
	err := w.WriteMessages(within(t), msgs...)
	var large kafka.MessageTooLargeError
	if !errors.As(err, &large) {
		t.Fatalf("error = %v; want kafka.MessageTooLargeError", err)
	}
	if diff := cmp.Diff(kafka.MessageTooLargeError{Message: msgs[1], Remaining: []kafka.Message{msgs[0], msgs[2]}}, large); diff != "" {
		t.Errorf("the error's messages (-want +got):\n%s", diff)
	}
	if n := len(rec.named("send orders")); n != 3 {
		t.Errorf("%d spans have ended; want 3", n)
	}
}

func TestTenThousandHeadersAreLeftAlone(t *testing.T) {
	b := &memory{}
	w := memoryWriter(b, nil, WithTracerProvider(record()))
	defer w.Close()
	if err := w.WriteMessages(within(t), kafka.Message{Value: []byte("x"), Headers: make([]kafka.Header, 10_000)}); err != nil {
		t.Fatal(err)
	}
	if len(b.records[0]) != 10_000 || w.Counts().InjectionsSkipped != 1 {
		t.Errorf("%d headers, %+v; want them untouched and counted", len(b.records[0]), w.Counts())
	}
}

type seenBalancer struct{ seen *[]kafka.Message }

func (b seenBalancer) Balance(m kafka.Message, partitions ...int) int {
	*b.seen = append(*b.seen, m)
	return partitions[0]
}

func TestTheBalancerSeesTheCallersMessage(t *testing.T) {
	var seen []kafka.Message
	w := memoryWriter(&memory{}, func(w *kafka.Writer) { w.Balancer = seenBalancer{&seen} }, WithTracerProvider(record()))
	defer w.Close()
	m := kafka.Message{Key: []byte("k"), Value: []byte("x"), WriterData: "mine", Headers: []kafka.Header{{Key: "a"}}}
	if err := w.WriteMessages(within(t), m); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]kafka.Message{m}, seen); diff != "" {
		t.Errorf("the balancer saw (-want +got):\n%s", diff)
	}
}

type panickyBalancer struct{}

func (panickyBalancer) Balance(kafka.Message, ...int) int { panic("mine") }

func TestAPanicOfTheCallersBalancerIsTheCallers(t *testing.T) {
	rec := record()
	w := memoryWriter(&memory{}, func(w *kafka.Writer) { w.Balancer = panickyBalancer{} }, WithTracerProvider(rec))
	func() {
		defer func() {
			if got := recover(); got != "mine" {
				t.Errorf("recovered %v; want the balancer's panic", got)
			}
		}()
		_ = w.WriteMessages(within(t), kafka.Message{Value: []byte("x")})
	}()
	if n := len(rec.Ended()); n != 1 {
		t.Errorf("%d spans have ended; want 1", n)
	}
}

func TestAPropagatorOfTheProgramAddsItsHeaders(t *testing.T) {
	b := &memory{}
	w := memoryWriter(b, nil, WithTracerProvider(record()), WithPropagator(b3ish{}))
	defer w.Close()
	if err := w.WriteMessages(within(t), kafka.Message{Value: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	carrier := &headerCarrier{headers: b.records[0]}
	if carrier.Get("x-b3ish") == "" || !header(t, b.records[0]).IsValid() {
		t.Errorf("headers = %v; want traceparent and x-b3ish", carrier.Keys())
	}
	w = memoryWriter(b, nil, WithTracerProvider(record()), WithPropagator(propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})))
	defer w.Close()
	if w.hooks.foreign != nil {
		t.Error("the standard propagators are written twice")
	}
}

// b3ish writes the context into a header of its own.
type b3ish struct{}

func (b3ish) Fields() []string { return []string{"x-b3ish"} }

func (b3ish) Inject(ctx context.Context, carrier propagation.TextMapCarrier) {
	sc := trace.SpanContextFromContext(ctx)
	carrier.Set("x-b3ish", string(messaging.AppendTraceparent(nil, sc)))
}

func (b3ish) Extract(ctx context.Context, carrier propagation.TextMapCarrier) context.Context {
	if sc, ok := messaging.ParseTraceparent([]byte(carrier.Get("x-b3ish"))); ok {
		return trace.ContextWithRemoteSpanContext(ctx, sc)
	}
	return ctx
}
