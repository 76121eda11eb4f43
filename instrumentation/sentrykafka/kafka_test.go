package sentrykafka

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getsentry/sentry-go"
	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
	"github.com/hoptrace/hoptrace/instrumentation/otelkafkago"
)

func TestAloneInSentryARecordIsOneTraceWithQueueSpans(t *testing.T) {
	tr := initSentry(t, nil)
	s := open(t)
	s.send(context.Background(), "orders")
	if err := s.process(s.reader("orders"), nothing); err != nil {
		t.Fatal(err)
	}
	events := tr.await(t, "transaction", 2)
	sent, processed := events[0], events[1]
	if sent.Transaction != "send orders" || processed.Transaction != "process orders" {
		t.Fatalf("transactions %s", names(events))
	}
	if traceOf(sent)["trace_id"] != traceOf(processed)["trace_id"] {
		t.Errorf("two traces: %v and %v", traceOf(sent)["trace_id"], traceOf(processed)["trace_id"])
	}
	if len(sent.Spans) != 1 || len(processed.Spans) != 1 {
		t.Fatalf("%d and %d spans in the transactions; want one each", len(sent.Spans), len(processed.Spans))
	}
	publish, process := sent.Spans[0], processed.Spans[0]
	if publish.Op != "queue.publish" || process.Op != "queue.process" || publish.Status != sentry.SpanStatusOK || process.Status != sentry.SpanStatusOK {
		t.Errorf("ops %s (%s) and %s (%s)", publish.Op, publish.Status, process.Op, process.Status)
	}
	if publish.ParentSpanID != traceOf(sent)["span_id"] || process.ParentSpanID != traceOf(processed)["span_id"] {
		t.Error("the spans are not children of their transactions")
	}
	if traceOf(processed)["parent_span_id"] != publish.SpanID {
		t.Errorf("the process transaction is below %v; want the publish span %s", traceOf(processed)["parent_span_id"], publish.SpanID)
	}
	for _, want := range []struct {
		span *sentry.Span
		data map[string]any
	}{
		{publish, map[string]any{
			"messaging.system": "kafka", "messaging.operation.type": "send", "messaging.destination.name": "orders",
			"messaging.destination.partition.id": "0", "messaging.message.id": "orders-0@0", "messaging.message.body.size": int64(6),
		}},
		{process, map[string]any{
			"messaging.system": "kafka", "messaging.operation.type": "process", "messaging.destination.name": "orders",
			"messaging.destination.partition.id": "0", "messaging.message.id": "orders-0@0", "messaging.consumer.group.name": "billing",
			"messaging.message.retry.count": int64(0),
		}},
	} {
		for k, v := range want.data {
			if diff := cmp.Diff(v, want.span.Data[k]); diff != "" {
				t.Errorf("%s: %s (-want +got):\n%s", want.span.Op, k, diff)
			}
		}
		if want.span.Description != "orders" || !want.span.EndTime.After(want.span.StartTime) {
			t.Errorf("%s: description %q, from %v to %v", want.span.Op, want.span.Description, want.span.StartTime, want.span.EndTime)
		}
	}
	if latency, ok := process.Data["messaging.message.receive.latency"].(float64); !ok || latency < 0 || latency > 60_000 {
		t.Errorf("receive latency = %v; want milliseconds", process.Data["messaging.message.receive.latency"])
	}
	if diff := cmp.Diff(map[string]string{"kafka.topic": "orders", "kafka.partition": "0", "kafka.group": "billing"}, processed.Tags); diff != "" {
		t.Errorf("tags of the process transaction (-want +got):\n%s", diff)
	}

	headers := s.raw("orders")
	if want := fmt.Sprintf("%s-%s-1", publish.TraceID, publish.SpanID); headers["sentry-trace"] != want {
		t.Errorf("sentry-trace = %q; want %q", headers["sentry-trace"], want)
	}
	want := map[string]string{
		"sentry-trace_id": publish.TraceID.String(), "sentry-public_key": "0123456789abcdef0123456789abcdef", "sentry-release": "billing%401.2.3",
		"sentry-environment": "test", "sentry-transaction": "send%20orders", "sentry-sampled": "true", "sentry-sample_rate": "1",
	}
	got := members(headers["baggage"])
	got["sentry-release"] = strings.ReplaceAll(got["sentry-release"], "@", "%40")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("baggage (-want +got):\n%s", diff)
	}
}

func TestInsideATransactionSpansBelongToIt(t *testing.T) {
	tr := initSentry(t, nil)
	s := open(t)
	w := s.writer(nil)
	root := sentry.StartTransaction(context.Background(), "GET /buy")
	for range 3 {
		if err := w.WriteMessages(root.Context(), kafka.Message{Topic: "orders", Value: []byte("x")}); err != nil {
			t.Fatal(err)
		}
	}
	if root.TraceID != sentry.CurrentHub().Scope().GetSpan().TraceID || sentry.CurrentHub().Scope().GetSpan() != root {
		t.Error("the program's scope has lost its span")
	}
	root.Finish()
	events := tr.await(t, "transaction", 1)
	if len(events[0].Spans) != 3 {
		t.Fatalf("%d spans in the program's transaction; want 3", len(events[0].Spans))
	}
	for _, span := range events[0].Spans {
		if span.Op != "queue.publish" || span.ParentSpanID != root.SpanID || span.TraceID != root.TraceID {
			t.Errorf("span %s of trace %s below %s", span.Op, span.TraceID, span.ParentSpanID)
		}
	}
	headers := s.raw("orders")
	if got := members(headers["baggage"])["sentry-transaction"]; got != "GET%20%2Fbuy" && got != "GET%20/buy" {
		t.Errorf("baggage = %q; want that of the program's transaction", headers["baggage"])
	}

	// What is processed inside a transaction of another trace has its own way...
	outer := sentry.StartTransaction(context.Background(), "loop")
	r := s.reader("orders")
	m, err := r.FetchMessage(outer.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Process(outer.Context(), m, func(ctx context.Context, _ kafka.Message) error {
		sentry.StartSpan(ctx, "db.query").Finish()
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	processed := tr.await(t, "transaction", 2)[1]
	if traceOf(processed)["trace_id"] != root.TraceID {
		t.Errorf("processing is in trace %v; want the record's, %s", traceOf(processed)["trace_id"], root.TraceID)
	}
	var ops []string
	for _, span := range processed.Spans {
		ops = append(ops, span.Op)
	}
	if diff := cmp.Diff([]string{"queue.process", "db.query"}, ops); diff != "" {
		t.Errorf("spans (-want +got):\n%s", diff)
	}
	// ... while receiving and committing are the loop's.
	if err := r.CommitMessages(outer.Context(), m); err != nil {
		t.Fatal(err)
	}
	outer.Finish()
	loop := tr.await(t, "transaction", 3)[2]
	ops = nil
	for _, span := range loop.Spans {
		ops = append(ops, span.Op)
	}
	if diff := cmp.Diff([]string{"queue.receive", "queue.settle"}, ops); diff != "" {
		t.Errorf("spans of the loop (-want +got):\n%s", diff)
	}
}

func TestASendThatOutlivesItsTransactionIsNotLost(t *testing.T) {
	tr := initSentry(t, nil)
	s := open(t)
	answered := make(chan struct{})
	s.ControlKey(0, func(kmsg.Request) (kmsg.Response, error, bool) {
		s.KeepControl()
		<-answered
		return nil, nil, false
	})
	sent := make(chan error, 1)
	w := s.writer(func(w *kafka.Writer) {
		w.Async = true
		w.Completion = func(_ []kafka.Message, err error) { sent <- err }
	})
	root := sentry.StartTransaction(context.Background(), "GET /buy")
	if err := w.WriteMessages(root.Context(), kafka.Message{Topic: "orders", Value: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	root.Finish()
	if got := tr.await(t, "transaction", 1)[0]; len(got.Spans) != 0 {
		t.Fatalf("%d spans in the transaction that is over", len(got.Spans))
	}
	close(answered)
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	late := tr.await(t, "transaction", 2)[1]
	if traceOf(late)["trace_id"] != root.TraceID || traceOf(late)["parent_span_id"] != root.SpanID || late.Transaction != "send orders" {
		t.Errorf("the late transaction %q is %v; want it below the one that is over", late.Transaction, traceOf(late))
	}
	if len(late.Spans) != 1 || late.Spans[0].Op != "queue.publish" {
		t.Fatalf("spans of the late transaction: %v", late.Spans)
	}
	if got, want := s.raw("orders")["sentry-trace"], fmt.Sprintf("%s-%s-1", root.TraceID, late.Spans[0].SpanID); got != want {
		t.Errorf("sentry-trace = %q; want %q", got, want)
	}
}

func TestTheProgramsSamplerDecidesAndParentsAreRespected(t *testing.T) {
	var mu sync.Mutex
	asked := make(map[string]map[string]any)
	tr := initSentry(t, func(o *sentry.ClientOptions) {
		o.TracesSampler = func(c sentry.SamplingContext) float64 {
			mu.Lock()
			defer mu.Unlock()
			asked[c.Span.Name] = c.Span.Data
			if c.ParentSampled != sentry.SampledUndefined {
				return map[bool]float64{true: 1}[c.ParentSampled.Bool()]
			}
			if c.Span.Data["messaging.destination.name"] == "orders" {
				return 0
			}
			return 1
		}
	})
	s := open(t)
	for _, topic := range []string{"orders", "payments"} {
		s.send(context.Background(), topic)
		if err := s.process(s.reader(topic), nothing); err != nil {
			t.Fatal(err)
		}
	}
	for _, e := range tr.await(t, "transaction", 2) {
		if !strings.HasSuffix(e.Transaction, " payments") {
			t.Errorf("transaction %q was recorded", e.Transaction)
		}
	}
	headers := s.raw("orders")
	if !strings.HasSuffix(headers["sentry-trace"], "-0") || members(headers["baggage"])["sentry-sampled"] != "false" {
		t.Errorf("an unsampled record has sentry-trace %q, baggage %q", headers["sentry-trace"], headers["baggage"])
	}
	mu.Lock()
	defer mu.Unlock()
	if got := asked["process payments"]["messaging.consumer.group.name"]; got != "billing" {
		t.Errorf("the sampler saw %v; want the group", asked["process payments"])
	}
}

func TestADynamicSamplingContextThatCameInGoesOnAsItIs(t *testing.T) {
	tr := initSentry(t, nil)
	s := open(t)
	const traceID = "771a43a4192642f0b136d5159a501700"
	frozen := "sentry-trace_id=" + traceID + ",sentry-release=js%401,sentry-public_key=feed,sentry-sample_rate=0.5"
	s.send(context.Background(), "orders", kafka.Header{Key: "sentry-trace", Value: []byte(traceID + "-1234567890abcdef-1")}, kafka.Header{Key: "baggage", Value: []byte(frozen + ",user=7")})
	w := s.writer(nil)
	if err := s.process(s.reader("orders"), func(ctx context.Context, _ kafka.Message) error {
		return w.WriteMessages(ctx, kafka.Message{Topic: "payments", Value: []byte("y")})
	}); err != nil {
		t.Fatal(err)
	}
	// The first send has a creation context given: it is its own transaction.
	for _, e := range tr.await(t, "transaction", 2) {
		if e.Transaction == "process orders" && (fmt.Sprint(traceOf(e)["trace_id"]) != traceID || fmt.Sprint(traceOf(e)["parent_span_id"]) != "1234567890abcdef") {
			t.Errorf("processing continues %v", traceOf(e))
		}
	}
	headers := s.raw("payments")
	if !strings.HasPrefix(headers["sentry-trace"], traceID+"-") || !strings.HasPrefix(headers["traceparent"], "00-"+traceID+"-") {
		t.Errorf("sentry-trace = %q, traceparent = %q; want trace %s", headers["sentry-trace"], headers["traceparent"], traceID)
	}
	want := members(frozen)
	want["user"] = "7"
	got := members(headers["baggage"])
	got["sentry-release"] = strings.ReplaceAll(got["sentry-release"], "@", "%40")
	// The SDK's sampler notes its own rate, as it does over HTTP.
	delete(got, "sentry-sample_rate")
	delete(want, "sentry-sample_rate")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("baggage (-want +got):\n%s", diff)
	}
}

func TestReceiveAndSettleStandAloneOnlyWhenAsked(t *testing.T) {
	tr := initSentry(t, nil, WithStandalone())
	s := open(t)
	s.send(context.Background(), "orders")
	if err := s.process(s.reader("orders"), nothing); err != nil {
		t.Fatal(err)
	}
	got := make(map[string]string)
	traces := make(map[any]bool)
	for _, e := range tr.await(t, "transaction", 4) {
		got[e.Transaction] = e.Spans[0].Op
		traces[traceOf(e)["trace_id"]] = true
	}
	want := map[string]string{"send orders": "queue.publish", "poll orders": "queue.receive", "process orders": "queue.process", "commit orders": "queue.settle"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("transactions (-want +got):\n%s", diff)
	}
	if len(traces) != 1 {
		t.Errorf("%d traces; want one", len(traces))
	}
}

func TestWhatReachesAServerIsWhole(t *testing.T) {
	sink := &envelopes{}
	server := httptest.NewServer(sink)
	defer server.Close()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	initSentry(t, func(o *sentry.ClientOptions) {
		o.Transport, o.HTTPClient = nil, client
		o.Dsn = strings.Replace(server.URL, "http://", "http://0123456789abcdef0123456789abcdef@", 1) + "/42"
	})
	s := open(t)
	s.send(context.Background(), "orders")
	if err := s.process(s.reader("orders"), func(ctx context.Context, _ kafka.Message) error {
		sentry.GetHubFromContext(ctx).CaptureException(errNoFunds)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if !sentry.Flush(patience) {
		t.Fatal("Flush = false")
	}
	sink.mu.Lock()
	defer sink.mu.Unlock()
	ops := make(map[string]float64)
	errorsSeen := 0
	for _, item := range sink.items {
		if spans, ok := item["spans"].([]any); ok {
			for _, x := range spans {
				span := x.(map[string]any)
				data := span["data"].(map[string]any)
				latency, _ := data["messaging.message.receive.latency"].(float64)
				ops[fmt.Sprint(span["op"], " ", data["messaging.destination.name"], " ", span["status"])] = latency
			}
		}
		if contexts, ok := item["contexts"].(map[string]any); ok && item["exception"] != nil {
			errorsSeen++
			k, _ := contexts["kafka"].(map[string]any)
			if k["topic"] != "orders" || k["offset"] != 0.0 || k["processing_ms"] == nil {
				t.Errorf("kafka context = %v", k)
			}
		}
	}
	if len(ops) != 2 || ops["queue.process orders ok"] <= 0 || errorsSeen != 1 {
		t.Errorf("the server has spans %v and %d errors", ops, errorsSeen)
	}
}

func TestThePropagatorCarriesOneTrace(t *testing.T) {
	initSentry(t, nil)
	root := sentry.StartTransaction(context.Background(), "GET /buy")
	defer root.Finish()
	bag, err := baggage.Parse("user=7,sentry-release=old")
	if err != nil {
		t.Fatal(err)
	}
	carrier := propagation.MapCarrier{}
	p := NewPropagator()
	p.Inject(baggage.ContextWithBaggage(root.Context(), bag), carrier)
	if want := root.ToSentryTrace(); carrier["sentry-trace"] != want {
		t.Errorf("sentry-trace = %q; want %q", carrier["sentry-trace"], want)
	}
	if got := members(carrier["baggage"]); got["user"] != "7" || got["sentry-trace_id"] != root.TraceID.String() || got["sentry-release"] == "old" {
		t.Errorf("baggage = %q", carrier["baggage"])
	}
	ctx := p.Extract(context.Background(), carrier)
	sc := trace.SpanContextFromContext(ctx)
	if sc.TraceID().String() != root.TraceID.String() || sc.SpanID().String() != root.SpanID.String() || !sc.IsRemote() || !sc.IsSampled() {
		t.Errorf("extracted %+v", sc)
	}
	// What came in goes on as it is, in the same trace.
	again := propagation.MapCarrier{}
	p.Inject(ctx, again)
	if diff := cmp.Diff(members(carrier["baggage"]), members(again["baggage"])); diff != "" || again["sentry-trace"] != carrier["sentry-trace"] {
		t.Errorf("sent on as %v (-in +out):\n%s", again, diff)
	}
	empty := propagation.MapCarrier{}
	p.Inject(context.Background(), empty)
	if len(empty) != 0 || trace.SpanContextFromContext(p.Extract(context.Background(), empty)).IsValid() {
		t.Errorf("without a trace %v is written, and read as one", empty)
	}
	if diff := cmp.Diff([]string{"sentry-trace", "baggage"}, p.Fields()); diff != "" {
		t.Errorf("Fields (-want +got):\n%s", diff)
	}
}

func TestSpansStayWithOpenTelemetryWhenSentryDoesNotTrace(t *testing.T) {
	f := func(change func(*sentry.ClientOptions), opts ...Option) {
		t.Helper()
		tr := initSentry(t, change, opts...)
		defer forget()
		if got := messaging.NewCore(messaging.Config{}).Config().TracerProvider; got != otel.GetTracerProvider() {
			t.Errorf("wrapped clients use a %T; want OpenTelemetry's", got)
		}
		s := open(t)
		s.send(context.Background(), "orders")
		if err := s.process(s.reader("orders"), func(ctx context.Context, _ kafka.Message) error {
			sentry.GetHubFromContext(ctx).CaptureException(errNoFunds)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		checkRecord(t, tr.await(t, "", 1)[0])
		if got := tr.kind("transaction"); len(got) != 0 {
			t.Errorf("Sentry has %s", names(got))
		}
	}
	f(func(o *sentry.ClientOptions) { o.EnableTracing = false })
	f(nil, ErrorsOnly())
}

func TestAProgramWithSeveralClientsChoosesByProvider(t *testing.T) {
	global := initSentry(t, nil)
	own := &transport{}
	client, err := sentry.NewClient(sentry.ClientOptions{Dsn: testDSN, EnableTracing: true, TracesSampleRate: 1, Transport: own})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	s := open(t)
	inner := &kafka.Transport{ClientID: "test"}
	defer inner.CloseIdleConnections()
	w := otelkafkago.NewWriter(&kafka.Writer{Addr: kafka.TCP(s.ListenAddrs()...), Topic: "orders", BatchTimeout: time.Nanosecond, RequiredAcks: kafka.RequireAll, Transport: inner},
		otelkafkago.WithTracerProvider(NewTracerProvider(client)))
	defer w.Close()
	if err := w.WriteMessages(context.Background(), kafka.Message{Value: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	if got := own.await(t, "transaction", 1)[0]; got.Transaction != "send orders" || len(global.kind("transaction")) != 0 {
		t.Errorf("the client got %q, the global one %s", got.Transaction, names(global.kind("transaction")))
	}
}

func TestABatchContinuesATraceOnlyIfItIsOne(t *testing.T) {
	tr := initSentry(t, nil)
	s := open(t)
	w, r := s.writer(nil), s.reader("orders", otelkafkago.WithExplicitProcessing())
	root := sentry.StartTransaction(context.Background(), "GET /buy")
	batch := func(ctx context.Context) []kafka.Message {
		t.Helper()
		var msgs []kafka.Message
		for range 2 {
			if err := w.WriteMessages(ctx, kafka.Message{Topic: "orders", Value: []byte("x")}); err != nil {
				t.Fatal(err)
			}
			m, err := r.FetchMessage(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			msgs = append(msgs, m)
		}
		return msgs
	}
	fails := func(ctx context.Context, _ []kafka.Message) error {
		sentry.GetHubFromContext(ctx).CaptureException(errNoFunds)
		return errNoFunds
	}
	if err := r.ProcessBatch(context.Background(), batch(root.Context()), fails); err == nil {
		t.Error("ProcessBatch = nil; want the handler's error")
	}
	one := tr.await(t, "transaction", 1)[0]
	if traceOf(one)["trace_id"] != root.TraceID || len(one.Spans) != 1 || one.Spans[0].Op != "queue.process" {
		t.Errorf("a batch of one trace: %v with %d spans; want trace %s", traceOf(one), len(one.Spans), root.TraceID)
	}
	if one.Spans[0].Status != sentry.SpanStatusInternalError || one.Spans[0].Data["messaging.batch.message_count"] != int64(2) {
		t.Errorf("status %s, data %v", one.Spans[0].Status, one.Spans[0].Data)
	}
	if k := tr.await(t, "", 1)[0].Contexts["kafka"]; k["batch_count"] != 2 || k["topic"] != "orders" {
		t.Errorf("kafka context of a batch = %v", k)
	}
	_ = r.ProcessBatch(context.Background(), batch(context.Background()), fails)
	events := tr.await(t, "transaction", 4) // two sends of their own
	traces := make(map[any]bool)
	for _, e := range events[1:] {
		traces[traceOf(e)["trace_id"]] = true
	}
	if len(traces) != 3 {
		t.Errorf("two sends and a batch of both are in %d traces; want 3", len(traces))
	}
}

func TestTheQuickBaggageIsTheSDKs(t *testing.T) {
	client, err := sentry.NewClient(sentry.ClientOptions{Dsn: testDSN, Release: "billing @1,2;3", Environment: "tést", OrgID: 9, Transport: &transport{}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx := sentry.SetHubOnContext(context.Background(), sentry.NewHub(client, sentry.NewScope()))
	for _, flags := range []trace.TraceFlags{0, trace.FlagsSampled} {
		sc := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: flags})
		got, err := sentry.DynamicSamplingContextFromHeader([]byte(sendHook{}.Baggage(ctx, sc)))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(dscOf(ctx, client, sc), got); diff != "" || len(got.Entries) != 6 {
			t.Errorf("flags %d (-want +got):\n%s", flags, diff)
		}
	}
}
