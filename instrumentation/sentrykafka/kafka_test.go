package sentrykafka

import (
	"context"
	"encoding/json"
	"errors"
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
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"

	"github.com/hoptrace/hoptrace/instrumentation"
	"github.com/hoptrace/hoptrace/instrumentation/messaging"
	"github.com/hoptrace/hoptrace/instrumentation/otelkafkago"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	patience = time.Minute
	testDSN  = "http://0123456789abcdef0123456789abcdef@127.0.0.1:1/42"
)

// transport keeps what Sentry's SDK sends.
type transport struct {
	mu     sync.Mutex
	events []*sentry.Event
}

func (*transport) Configure(sentry.ClientOptions)        {}
func (*transport) Flush(time.Duration) bool              { return true }
func (*transport) FlushWithContext(context.Context) bool { return true }
func (*transport) Close()                                {}

func (t *transport) SendEvent(e *sentry.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.events = append(t.events, e)
}

// kind returns the events of a type: "" for errors, or "transaction".
func (t *transport) kind(kind string) []*sentry.Event {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []*sentry.Event
	for _, e := range t.events {
		if e.Type == kind {
			out = append(out, e)
		}
	}
	return out
}

// await waits for n events of a type and returns them.
func (t *transport) await(tb testing.TB, kind string, n int) []*sentry.Event {
	tb.Helper()
	deadline := time.Now().Add(patience)
	for {
		if got := t.kind(kind); len(got) >= n {
			if len(got) > n {
				tb.Fatalf("%d events of type %q; want %d: %s", len(got), kind, n, names(got))
			}
			return got
		}
		if time.Now().After(deadline) {
			tb.Fatalf("%d events of type %q within %s; want %d", len(t.kind(kind)), kind, patience, n)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func names(events []*sentry.Event) string {
	var out []string
	for _, e := range events {
		out = append(out, e.Transaction+e.Message)
	}
	return strings.Join(out, ", ")
}

// initSentry sets Sentry's SDK up as a program does, with the integration alone.
func initSentry(t *testing.T, change func(*sentry.ClientOptions), opts ...Option) *transport {
	t.Helper()
	tr := &transport{}
	o := sentry.ClientOptions{
		Dsn: testDSN, EnableTracing: true, TracesSampleRate: 1, Release: "billing@1.2.3", Environment: "test", Transport: tr,
		Integrations: func(i []sentry.Integration) []sentry.Integration { return append(i, KafkaIntegration(opts...)) },
	}
	if change != nil {
		change(&o)
	}
	if err := sentry.Init(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { forget() })
	return tr
}

// forget makes the process as it was before any integration.
func forget() {
	sentry.CurrentHub().Client().Close()
	sentry.CurrentHub().BindClient(nil)
	process.mu.Lock()
	process.otel = false
	process.current.Store(nil)
	process.mu.Unlock()
	messaging.SetDefaults(messaging.Defaults{})
}

// shop is a broker with a topic, and clients of it.
type shop struct {
	*kfake.Cluster
	t testing.TB
}

func open(t testing.TB) shop {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "orders", "payments"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return shop{c, t}
}

func (s shop) writer(change func(*kafka.Writer)) *otelkafkago.Writer {
	w := &kafka.Writer{
		Addr: kafka.TCP(s.ListenAddrs()...), BatchTimeout: time.Nanosecond, RequiredAcks: kafka.RequireAll,
		Transport: &kafka.Transport{ClientID: "test"},
	}
	if change != nil {
		change(w)
	}
	own := w.Transport.(*kafka.Transport)
	out := otelkafkago.NewWriter(w)
	s.t.Cleanup(func() {
		_ = out.Close()
		own.CloseIdleConnections()
	})
	return out
}

func (s shop) send(ctx context.Context, topic string, headers ...kafka.Header) {
	s.t.Helper()
	w := s.writer(nil)
	if err := w.WriteMessages(ctx, kafka.Message{Topic: topic, Key: []byte("customer-7"), Value: []byte("a book"), Headers: headers}); err != nil {
		s.t.Fatal(err)
	}
}

func (s shop) reader(topic string) *otelkafkago.Reader {
	r := otelkafkago.NewReader(kafka.ReaderConfig{Brokers: s.ListenAddrs(), Topic: topic, GroupID: "billing", MaxWait: 100 * time.Millisecond, StartOffset: kafka.FirstOffset})
	s.t.Cleanup(func() { _ = r.Close() })
	return r
}

// raw returns the headers of the first record of a topic.
func (s shop) raw(topic string) map[string]string {
	s.t.Helper()
	r := kafka.NewReader(kafka.ReaderConfig{Brokers: s.ListenAddrs(), Topic: topic, MaxWait: 100 * time.Millisecond})
	defer r.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	m, err := r.ReadMessage(ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	out := make(map[string]string)
	for _, h := range m.Headers {
		out[h.Key] = string(h.Value)
	}
	return out
}

// process fetches one record, runs fn on it and commits it.
func (s shop) process(r *otelkafkago.Reader, fn func(context.Context, kafka.Message) error) error {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	m, err := r.FetchMessage(ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	err = r.Process(ctx, m, fn)
	if err := r.CommitMessages(ctx, m); err != nil {
		s.t.Fatal(err)
	}
	return err
}

func nothing(context.Context, kafka.Message) error { return nil }

func traceOf(e *sentry.Event) sentry.Context { return e.Contexts["trace"] }

// members reads a baggage header.
func members(header string) map[string]string {
	out := make(map[string]string)
	for m := range strings.SplitSeq(header, ",") {
		if k, v, ok := strings.Cut(m, "="); ok {
			out[k] = v
		}
	}
	return out
}

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

var errNoFunds = errors.New("no funds")

// checkRecord looks at what an error tells of its record.
func checkRecord(t *testing.T, e *sentry.Event) {
	t.Helper()
	k := e.Contexts["kafka"]
	want := sentry.Context{
		"topic": "orders", "partition": int32(0), "offset": int64(0), "group": "billing", "attempt": 1,
		"key_hash": messaging.KeyHash([]byte("customer-7")),
	}
	for name, v := range want {
		if diff := cmp.Diff(v, k[name]); diff != "" {
			t.Errorf("kafka.%s (-want +got):\n%s", name, diff)
		}
	}
	for _, name := range []string{"age_ms", "broker_residence_ms", "fetch_queue_ms", "processing_ms"} {
		if v, ok := k[name].(float64); !ok || v < -1000 || v > 60_000 {
			t.Errorf("kafka.%s = %v; want milliseconds", name, k[name])
		}
	}
	if _, err := time.Parse(time.RFC3339Nano, fmt.Sprint(k["record_time"])); err != nil {
		t.Errorf("kafka.record_time = %v: %v", k["record_time"], err)
	}
	if m, _ := k["member"].(string); !strings.HasPrefix(m, "main@") && m == "" {
		t.Errorf("kafka.member = %q; want the member's id", m)
	}
	if _, known := k["ack_ms"]; known {
		t.Error("kafka.ack_ms is told, which a consumer cannot know")
	}
	for tag, v := range map[string]string{"kafka.topic": "orders", "kafka.partition": "0", "kafka.group": "billing"} {
		if e.Tags[tag] != v {
			t.Errorf("tag %s = %q; want %q", tag, e.Tags[tag], v)
		}
	}
}

// sides runs f with Sentry alone, and with hoptrace beside it.
func sides(t *testing.T, opts []Option, f func(t *testing.T, tr *transport)) {
	t.Run("sentry alone", func(t *testing.T) { f(t, initSentry(t, nil, opts...)) })
	t.Run("hoptrace beside", func(t *testing.T) {
		tr := initSentry(t, func(o *sentry.ClientOptions) { o.Integrations, o.EnableTracing = nil, false })
		c, err := hoptrace.New(hoptrace.Options{Endpoint: "127.0.0.1:1", CloseTimeout: time.Millisecond, OnError: func(error) {}, Integrations: []hoptrace.Integration{KafkaIntegration(opts...)}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		f(t, tr)
	})
}

func TestAnErrorSaysWhichRecordItWas(t *testing.T) {
	sides(t, nil, func(t *testing.T, tr *transport) {
		s := open(t)
		s.send(context.Background(), "orders")
		var inside trace.SpanContext
		if err := s.process(s.reader("orders"), func(ctx context.Context, _ kafka.Message) error {
			inside = trace.SpanContextFromContext(ctx)
			sentry.GetHubFromContext(ctx).CaptureException(errNoFunds)
			return errNoFunds
		}); !errors.Is(err, errNoFunds) {
			t.Errorf("Process = %v; want the handler's error", err)
		}
		e := tr.await(t, "", 1)[0]
		checkRecord(t, e)
		if got := fmt.Sprint(traceOf(e)["trace_id"]); got != inside.TraceID().String() || !inside.IsValid() {
			t.Errorf("the error is in trace %s; the process span in %s", got, inside.TraceID())
		}
		if got := fmt.Sprint(traceOf(e)["span_id"]); got != inside.SpanID().String() {
			t.Errorf("the error is at span %s; the process span is %s", got, inside.SpanID())
		}
		// Outside, the program's scope knows no record.
		sentry.CurrentHub().CaptureException(errors.New("elsewhere"))
		if e := tr.await(t, "", 2)[1]; e.Contexts["kafka"] != nil || e.Tags["kafka.topic"] != "" {
			t.Errorf("an error of elsewhere tells of a record: %v %v", e.Contexts["kafka"], e.Tags)
		}
	})
}

func TestAPanicIsCapturedOnceAndGoesOn(t *testing.T) {
	boom := errors.New("boom")
	f := func(opts []Option, handler func(context.Context), value any, want int) {
		t.Helper()
		sides(t, opts, func(t *testing.T, tr *transport) {
			s := open(t)
			s.send(context.Background(), "orders")
			r := s.reader("orders")
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			m, err := r.FetchMessage(ctx)
			if err != nil {
				t.Fatal(err)
			}
			var caught any
			func() {
				defer func() {
					caught = recover()
					sentry.CurrentHub().Recover(caught) // as programs do at the top
				}()
				_ = r.Process(ctx, m, func(ctx context.Context, _ kafka.Message) error {
					handler(ctx)
					return nil
				})
			}()
			if caught != value {
				t.Errorf("the panic went on as %v; want %v", caught, value)
			}
			got := tr.await(t, "", 1)[0]
			if n := len(tr.kind("")); n != 1 {
				t.Errorf("captured %d times; want once", n)
			}
			if want == 0 {
				if got.Contexts["kafka"] != nil {
					t.Error("the program's own capture knows the record")
				}
				return
			}
			checkRecord(t, got)
			if got.Level != sentry.LevelFatal {
				t.Errorf("level = %s", got.Level)
			}
		})
	}
	f(nil, func(context.Context) { panic(boom) }, boom, 1)
	f(nil, func(context.Context) { panic("boom") }, "boom", 1)
	// The handler captures it by itself and lets it go on.
	f(nil, func(ctx context.Context) {
		defer func() {
			v := recover()
			sentry.GetHubFromContext(ctx).RecoverWithContext(ctx, v)
			panic(v)
		}()
		panic(boom)
	}, boom, 1)
	f([]Option{WithoutPanics()}, func(context.Context) { panic(boom) }, boom, 0)
}

func TestAPanicShowsWhereItWas(t *testing.T) {
	tr := initSentry(t, nil)
	s := open(t)
	r := s.reader("orders")
	panicking := func() {
		s.send(context.Background(), "orders")
		defer func() { _ = recover() }()
		_ = s.process(r, explode)
	}
	panicking()
	e := tr.await(t, "", 1)[0]
	found := false
	for _, x := range e.Exception {
		if x.Stacktrace == nil {
			continue
		}
		for _, frame := range x.Stacktrace.Frames {
			found = found || frame.Function == "explode"
		}
	}
	if !found {
		t.Errorf("the stack does not show the handler: %+v", e.Exception)
	}
	// Two records that panic alike are two errors.
	panicking()
	tr.await(t, "", 2)
}

func explode(context.Context, kafka.Message) error { panic(errNoFunds) }

func TestReturnedErrorsAreCapturedWhenAskedAndOnce(t *testing.T) {
	sides(t, []Option{WithErrors()}, func(t *testing.T, tr *transport) {
		s := open(t)
		for range 3 {
			s.send(context.Background(), "orders")
		}
		r := s.reader("orders")
		_ = s.process(r, func(context.Context, kafka.Message) error { return errNoFunds })
		checkRecord(t, tr.await(t, "", 1)[0])
		_ = s.process(r, func(ctx context.Context, _ kafka.Message) error {
			sentry.GetHubFromContext(ctx).CaptureException(errNoFunds)
			return fmt.Errorf("cannot bill: %w", errNoFunds)
		})
		tr.await(t, "", 2)
		_ = s.process(r, nothing)
		tr.await(t, "", 2)
	})
}

func TestWithHoptraceSpansStayOpenTelemetrysWhicheverComesFirst(t *testing.T) {
	f := func(hoptraceFirst bool) {
		t.Helper()
		in := KafkaIntegration()
		var c *hoptrace.Client
		begin := func() {
			var err error
			if c, err = hoptrace.New(hoptrace.Options{Endpoint: "127.0.0.1:1", CloseTimeout: time.Millisecond, OnError: func(error) {}, Integrations: []hoptrace.Integration{in}}); err != nil {
				t.Fatal(err)
			}
		}
		if hoptraceFirst {
			begin()
		}
		tr := initSentry(t, func(o *sentry.ClientOptions) {
			o.Integrations = func(i []sentry.Integration) []sentry.Integration { return append(i, in) }
		})
		if !hoptraceFirst {
			begin()
		}
		defer c.Close()
		defer forget()
		s := open(t)
		s.send(context.Background(), "orders")
		if err := s.process(s.reader("orders"), nothing); err != nil {
			t.Fatal(err)
		}
		if got := c.Counts(); got.Queued+got.Dropped < 3 {
			t.Errorf("hoptrace has %+v; want the spans", got)
		}
		if got := tr.kind("transaction"); len(got) != 0 {
			t.Errorf("Sentry has %s too", names(got))
		}
		headers := s.raw("orders")
		if headers["sentry-trace"] == "" || members(headers["baggage"])["sentry-trace_id"] != strings.Split(headers["sentry-trace"], "-")[0] {
			t.Errorf("sentry-trace = %q, baggage = %q; want one trace in both", headers["sentry-trace"], headers["baggage"])
		}
	}
	f(true)
	f(false)
}

// envelopes is a server that takes what Sentry SDKs send.
type envelopes struct {
	mu    sync.Mutex
	items []map[string]any
}

func (e *envelopes) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d := json.NewDecoder(r.Body)
	e.mu.Lock()
	defer e.mu.Unlock()
	for {
		var item map[string]any
		if err := d.Decode(&item); err != nil {
			break
		}
		e.items = append(e.items, item)
	}
	_, _ = w.Write([]byte("{}"))
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
