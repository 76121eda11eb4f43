package otelkafkago

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/produce"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

func TestABatchIsOneProcessSpanThatLinksEachSender(t *testing.T) {
	rec, m := record(), newMeters(t)
	c := broker(t, 2)
	opts := []Option{WithTracerProvider(rec), WithMeterProvider(m)}
	write(t, newWriter(t, c, func(w *kafka.Writer) { w.Balancer = &kafka.RoundRobin{} }, opts...), "a", "b", "c", "d")
	r := newReader(t, c, billing, append(opts, WithExplicitProcessing())...)
	var msgs []kafka.Message
	for range 4 {
		msgs = append(msgs, fetchOne(t, r))
	}
	ctx, request := contextIn(t, rec)
	failure := errors.New("declined")
	if err := r.ProcessBatch(ctx, msgs, func(ctx context.Context, got []kafka.Message) error {
		if p, ok := messaging.RecordFromContext(ctx); !ok || p.Count() != 4 || len(got) != 4 {
			t.Error("the context does not tell of the batch")
		}
		return failure
	}); err != failure { //nolint:errorlint // the very same error
		t.Fatalf("error = %v", err)
	}
	if err := r.CommitMessages(ctx, msgs...); err != nil {
		t.Fatal(err)
	}
	request.End()
	var batch span
	for _, s := range rec.named("process orders") {
		if len(s.Links()) == 4 {
			batch = s
		}
	}
	if batch == nil {
		t.Fatalf("no process span links to four records: %v", rec.named("process orders"))
	}
	if number(t, batch, messaging.AttrBatchMessageCount) != 4 || batch.Parent().SpanID() != request.SpanContext().SpanID() || batch.Status().Code != codes.Error {
		t.Errorf("count %d, parent %v, status %v", number(t, batch, messaging.AttrBatchMessageCount), batch.Parent().SpanID(), batch.Status())
	}
	sent := make(map[trace.SpanID]bool)
	for _, s := range rec.named("send orders") {
		sent[s.SpanContext().SpanID()] = true
	}
	for _, l := range batch.Links() {
		has := make(map[attribute.Key]bool)
		for _, kv := range l.Attributes {
			has[kv.Key] = true
		}
		if !sent[l.SpanContext.SpanID()] || !has[messaging.AttrPartitionID] || !has[messaging.AttrKafkaOffset] || !has[messaging.AttrConsumeAsked] || !has[messaging.AttrConsumeHanded] {
			t.Errorf("link %v tells %v", l.SpanContext.SpanID(), l.Attributes)
		}
	}
	commit := rec.wait(t, "commit orders", 1)[0]
	if len(commit.Links()) == 0 || number(t, commit, messaging.AttrBatchMessageCount) != 4 {
		t.Errorf("the commit links to %v", commit.Links())
	}
	m.want(t, 4, messaging.MetricConsumedMessages)
	m.want(t, 4, messaging.MetricProcessing)
}

func TestLinksOfALargeBatchAreBounded(t *testing.T) {
	rec := record()
	r := newReaderHooks(kafka.ReaderConfig{Topic: "orders"}, newConfig([]Option{WithTracerProvider(rec), WithoutReceiveSpans(), WithExplicitProcessing()}))
	var msgs []kafka.Message
	for i := range 500 {
		m := kafka.Message{Topic: "orders", Offset: int64(i), Time: time.Now(), Headers: []kafka.Header{{
			Key: "traceparent", Value: []byte(fmt.Sprintf("00-4bf92f3577b34da6a3ce929d0e0e4736-%016x-01", i+1)),
		}}}
		r.handOver(context.Background(), now(), now(), &m)
		msgs = append(msgs, m)
	}
	if err := r.ProcessBatch(within(t), msgs, func(context.Context, []kafka.Message) error { return nil }); err != nil {
		t.Fatal(err)
	}
	s := rec.wait(t, "process orders", 1)[0]
	if len(s.Links()) != 128 || number(t, s, messaging.AttrBatchLinksLeftOut) != 372 {
		t.Errorf("%d links, %d left out", len(s.Links()), number(t, s, messaging.AttrBatchLinksLeftOut))
	}
	if n := recordsNamed(t, s); n != 500 {
		t.Errorf("%d are named by offset, want all 500", n)
	}
	if r.pending.count != 0 {
		t.Errorf("%d are still pending", r.pending.count)
	}
}

// recordsNamed counts the records that a batch's span names by their offsets.
func recordsNamed(t *testing.T, s span) (n int64) {
	t.Helper()
	for _, kv := range s.Attributes() {
		if kv.Key != messaging.AttrBatchRecords {
			continue
		}
		runs, err := messaging.ParseRuns(kv.Value.AsString())
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range runs {
			n += r.Last - r.First + 1
		}
	}
	return n
}

func TestABatchNamesRecordsThatCarryNoContext(t *testing.T) {
	rec := record()
	r := newReaderHooks(kafka.ReaderConfig{Topic: "orders"}, newConfig([]Option{WithTracerProvider(rec), WithoutReceiveSpans(), WithExplicitProcessing()}))
	msgs := make([]kafka.Message, 3)
	for i := range msgs {
		msgs[i] = kafka.Message{Topic: "orders", Partition: 2, Offset: int64(i), Time: time.Now()}
		r.handOver(context.Background(), now(), now(), &msgs[i])
	}
	if err := r.ProcessBatch(within(t), msgs, func(context.Context, []kafka.Message) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if s := rec.wait(t, "process orders", 1)[0]; len(s.Links()) != 0 || recordsNamed(t, s) != 3 {
		t.Errorf("%d links, %d records by offset; want 0 and 3", len(s.Links()), recordsNamed(t, s))
	}
}

func TestAPanicOfABatchHandlerGoesOn(t *testing.T) {
	rec := record()
	r := newReaderHooks(kafka.ReaderConfig{Topic: "orders"}, newConfig([]Option{WithTracerProvider(rec)}))
	defer func() {
		if recover() != "mine" {
			t.Error("the panic did not go on")
		}
		if s := rec.wait(t, "process orders", 1)[0]; s.Status().Code != codes.Error {
			t.Errorf("status = %v", s.Status())
		}
	}()
	_ = r.ProcessBatch(within(t), []kafka.Message{{Topic: "orders"}, {Topic: "orders", Offset: 1}}, func(context.Context, []kafka.Message) error { panic("mine") })
}

func TestWithCreateSpansEachRecordHasItsOwnAndTheRequestLinksThem(t *testing.T) {
	rec := record()
	b := &memory{}
	w := memoryWriter(b, func(w *kafka.Writer) { w.BatchSize = 3; w.BatchTimeout = time.Minute }, WithTracerProvider(rec), WithCreateSpans())
	defer w.Close()
	ctx, request := contextIn(t, rec)
	if err := w.WriteMessages(ctx, kafka.Message{Value: []byte("a")}, kafka.Message{Value: []byte("b")}, kafka.Message{Value: []byte("c")}); err != nil {
		t.Fatal(err)
	}
	request.End()
	send := rec.wait(t, "send orders", 1)[0]
	created := rec.wait(t, "create orders", 3)
	if send.SpanKind() != trace.SpanKindClient || len(send.Links()) != 3 || number(t, send, messaging.AttrBatchMessageCount) != 3 {
		t.Errorf("kind %v, links %v", send.SpanKind(), send.Links())
	}
	for i, s := range created {
		if s.SpanKind() != trace.SpanKindProducer || s.Parent().SpanID() != request.SpanContext().SpanID() {
			t.Errorf("kind %v, parent %v", s.SpanKind(), s.Parent().SpanID())
		}
		if header(t, b.records[i]).SpanID() != s.SpanContext().SpanID() {
			t.Errorf("record %d does not carry its create span", i)
		}
		if text(t, s, messaging.AttrOperationType) != "create" {
			t.Errorf("operation.type = %q", text(t, s, messaging.AttrOperationType))
		}
		if s.EndTime().After(send.EndTime()) {
			t.Error("a create span ends after the send span")
		}
	}
}

func TestPathwaysTravelInOneSmallHeader(t *testing.T) {
	rec, m := record(), newMeters(t)
	c := broker(t, 1)
	opts := []Option{WithTracerProvider(rec), WithMeterProvider(m), WithPathways(), WithService("shop")}
	w := newWriter(t, c, nil, opts...)
	write(t, w, "a", "b")
	write(t, w, "c")
	r := newReader(t, c, nil, opts...)
	for range 3 {
		msg := fetchOne(t, r)
		size := 0
		for _, h := range msg.Headers {
			if h.Key == messaging.HeaderPathway {
				size = len(h.Value)
			}
		}
		if size == 0 || size > 24 {
			t.Errorf("the header has %d bytes; want 1 to 24", size)
		}
		if !header(t, msg.Headers).IsValid() {
			t.Error("the record lost its context")
		}
	}
	m.want(t, 3, messaging.MetricPathway)
}

func TestKeysAreToldWhenAskedFor(t *testing.T) {
	rec := record()
	c := broker(t, 1)
	opts := []Option{WithTracerProvider(rec), WithMessageKey(func(key []byte) string { return strings.ToUpper(string(key)) })}
	w := newWriter(t, c, nil, opts...)
	if err := w.WriteMessages(within(t), kafka.Message{Key: []byte("k"), Value: []byte("x")}, kafka.Message{Value: []byte("y")}); err != nil {
		t.Fatal(err)
	}
	r := newReader(t, c, nil, opts...)
	for range 2 {
		if err := r.Process(within(t), fetchOne(t, r), done); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"send orders", "poll orders", "process orders"} {
		spans := rec.wait(t, name, 2)
		if got := text(t, spans[0], messaging.AttrKafkaKey); got != "K" {
			t.Errorf("%s: key = %q; want K", name, got)
		}
		absent(t, spans[1], messaging.AttrKafkaKey, messaging.AttrKeyHash)
	}
}

func TestProducedMessagesAreMeasuredWithoutSpans(t *testing.T) {
	m := newMeters(t)
	o := newOwn(t, 0)
	fail := false
	b := &memory{partitions: 2}
	b.answer = func(q *produce.Request) (kafka.Response, error) {
		if fail {
			return produced(q, -1, int16(kafka.NotEnoughReplicas)), nil
		}
		return produced(q, 0, 0), nil
	}
	var mu sync.Mutex // each partition completes by itself
	var completed []kafka.Message
	w := memoryWriter(b, func(w *kafka.Writer) {
		w.MaxAttempts = 1
		w.Completion = func(ms []kafka.Message, _ error) {
			mu.Lock()
			defer mu.Unlock()
			completed = append(completed, ms...)
		}
	}, WithTracerProvider(o), WithMeterProvider(m))
	defer w.Close()
	msgs := []kafka.Message{{Value: []byte("a")}, {Value: []byte("b"), WriterData: "mine"}, {Value: []byte("c"), Headers: []kafka.Header{{Key: "own"}}}, {Value: []byte("d")}, {Value: []byte("e")}}
	ctx := parent(false)
	if err := w.WriteMessages(ctx, msgs...); err != nil {
		t.Fatal(err)
	}
	m.want(t, 5, messaging.MetricSentMessages)
	for _, p := range []struct {
		id string
		n  int64
	}{{"0", 3}, {"1", 2}} {
		m.want(t, p.n, messaging.MetricSentMessages, attribute.String(messaging.AttrPartitionID, p.id))
		m.want(t, p.n, messaging.MetricBatchQueue, attribute.String(messaging.AttrPartitionID, p.id))
	}
	for i, headers := range b.records {
		if sc := header(t, headers); !sc.IsValid() || sc.IsSampled() || sc.TraceID() != trace.SpanContextFromContext(ctx).TraceID() {
			t.Errorf("record %d carries %v; want the caller's context", i, sc)
		}
	}
	mine := 0
	for _, c := range completed {
		if c.WriterData == "mine" {
			mine++
		} else if c.WriterData != nil {
			t.Errorf("Completion sees WriterData %v", c.WriterData)
		}
		if len(c.Headers) > 0 && c.Headers[0].Key != "own" {
			t.Errorf("Completion sees headers %v", c.Headers)
		}
	}
	if len(completed) != 5 || mine != 1 {
		t.Errorf("Completion saw %d messages, %d with the caller's data", len(completed), mine)
	}
	fail = true
	if err := w.WriteMessages(ctx, msgs[0], msgs[0]); err == nil {
		t.Fatal("no error")
	}
	m.want(t, 2, messaging.MetricSentMessages, attribute.String(messaging.AttrErrorType, "NOT_ENOUGH_REPLICAS"))
	if got := o.recorder.Counts(); got.Queued != 0 || got.Exported != 0 {
		t.Errorf("%+v; want no span", got)
	}
}

func TestUnsampledMessagesToSeveralTopicsFindTheirPartitions(t *testing.T) {
	m := newMeters(t)
	o := newOwn(t, 0)
	b := &memory{partitions: 3}
	w := memoryWriter(b, func(w *kafka.Writer) { w.Topic = ""; w.Balancer = &kafka.Hash{} }, WithTracerProvider(o), WithMeterProvider(m))
	defer w.Close()
	var msgs []kafka.Message
	for i := range 40 {
		msgs = append(msgs, kafka.Message{Topic: []string{"orders", "returns"}[i%2], Key: []byte{byte(i)}, Value: []byte("x")})
	}
	if err := w.WriteMessages(parent(false), msgs...); err != nil {
		t.Fatal(err)
	}
	for _, topic := range []string{"orders", "returns"} {
		m.want(t, 20, messaging.MetricSentMessages, attribute.String(messaging.AttrDestinationName, topic))
	}
	// One that fails before anything is enqueued.
	if err := w.WriteMessages(parent(false), kafka.Message{Topic: "orders"}, kafka.Message{}); err == nil {
		t.Fatal("no error")
	}
	m.want(t, 21, messaging.MetricOperationDuration, attribute.String(messaging.AttrDestinationName, "orders"))
	m.want(t, 20, messaging.MetricSentMessages, attribute.String(messaging.AttrDestinationName, "orders"))
}
