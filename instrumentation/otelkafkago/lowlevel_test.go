package otelkafkago

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

func TestAClientsRecordsCarryTheirSpans(t *testing.T) {
	rec := record()
	c := broker(t, 1)
	inner := &kafka.Transport{ClientID: "tool"}
	t.Cleanup(inner.CloseIdleConnections)
	tr := WrapTransport(inner, WithTracerProvider(rec))
	client := &kafka.Client{Addr: kafka.TCP(c.ListenAddrs()...), Transport: tr}
	const given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	shared := make([]kafka.Header, 1, 8)
	shared[0] = kafka.Header{Key: "tenant", Value: []byte("t")}
	records := []kafka.Record{
		{Key: kafka.NewBytes([]byte("k")), Value: kafka.NewBytes([]byte("first")), Headers: shared},
		{Value: nil, Headers: shared},
		{Value: kafka.NewBytes([]byte("x")), Headers: []kafka.Header{{Key: "traceparent", Value: []byte(given)}}},
	}
	if _, err := client.Metadata(within(t), &kafka.MetadataRequest{Topics: []string{"orders"}}); err != nil {
		t.Fatal(err)
	}
	ctx, request := contextIn(t, rec)
	res, err := client.Produce(ctx, &kafka.ProduceRequest{Topic: "orders", RequiredAcks: kafka.RequireAll, Records: kafka.NewRecordReader(records...)})
	if err != nil || res.Error != nil {
		t.Fatal(err, res)
	}
	request.End()
	spans := rec.wait(t, "send orders", 3)
	for i, s := range spans {
		if got := number(t, s, messaging.AttrKafkaOffset); got != int64(i) || s.Parent().SpanID() != request.SpanContext().SpanID() {
			t.Errorf("span %d: offset %d, parent %v", i, got, s.Parent().SpanID())
		}
		if written, acked := number(t, s, messaging.AttrProduceWritten), number(t, s, messaging.AttrProduceAcked); written >= acked {
			t.Errorf("span %d: written %d, acked %d", i, written, acked)
		}
		if text(t, s, messaging.AttrClientID) != "tool" || text(t, s, messaging.AttrPartitionID) != "0" {
			t.Errorf("span %d: %v", i, s.Attributes())
		}
	}
	if spans[2].SpanKind() != trace.SpanKindClient || len(spans[2].Links()) != 1 {
		t.Errorf("the record with a context of its own: kind %v, links %v", spans[2].SpanKind(), spans[2].Links())
	}
	if v, ok := attr(spans[1], messaging.AttrKafkaTombstone); !ok || !v.AsBool() {
		t.Error("the tombstone is not told")
	}
	if diff := cmp.Diff([]kafka.Header{{Key: "tenant", Value: []byte("t")}}, shared); diff != "" || shared[:2][1].Key != "" {
		t.Errorf("the caller's headers changed: %v", shared[:2])
	}
	// And read back by a Reader.
	r := newReader(t, c, nil, WithTracerProvider(rec))
	for i := range spans {
		want := spans[i].SpanContext().SpanID().String()
		if i == 2 {
			want = "00f067aa0ba902b7"
		}
		if got := header(t, fetchOne(t, r).Headers).SpanID().String(); got != want {
			t.Errorf("record %d carries %s; want %s", i, got, want)
		}
	}
	// What fails says so.
	res, err = client.Produce(within(t), &kafka.ProduceRequest{Topic: "nowhere", RequiredAcks: kafka.RequireAll, Records: kafka.NewRecordReader(kafka.Record{Value: kafka.NewBytes([]byte("x"))})})
	if err == nil && res.Error == nil {
		t.Fatal("no error")
	}
	// A Writer on the same transport has one span a record, not two.
	w := NewWriter(&kafka.Writer{Addr: kafka.TCP(c.ListenAddrs()...), Topic: "orders", Transport: tr, BatchTimeout: time.Millisecond}, WithTracerProvider(rec))
	write(t, w, "y")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	rec.wait(t, "send orders", 4)
}

func TestSendsByAConnAreRecordedWithHelpers(t *testing.T) {
	rec := record()
	c := broker(t, 1)
	conn, err := kafka.DialLeader(within(t), "tcp", c.ListenAddrs()[0], "orders", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	p := NewProducer(conn.RemoteAddr(), "tool", WithTracerProvider(rec))
	msgs := []kafka.Message{{Value: []byte("a"), WriterData: 1}, {Value: []byte("b"), Headers: []kafka.Header{{Key: "x"}}}}
	before := append([]kafka.Message(nil), msgs...)
	out, end := p.StartSend(within(t), "orders", msgs...)
	_, partition, offset, _, err := conn.WriteCompressedMessagesAt(nil, out...)
	end(int(partition), offset, err)
	end(0, 99, errors.New("a second call does not count"))
	if diff := cmp.Diff(before, msgs); diff != "" || out[0].WriterData != 1 {
		t.Errorf("the messages changed (-want +got):\n%s", diff)
	}
	spans := rec.wait(t, "send orders", 2)
	for i, s := range spans {
		if got := number(t, s, messaging.AttrKafkaOffset); got != int64(i) || text(t, s, messaging.AttrPartitionID) != "0" || text(t, s, messaging.AttrServerAddress) != "127.0.0.1" {
			t.Errorf("span %d: %v", i, s.Attributes())
		}
		if header(t, out[i].Headers).SpanID() != s.SpanContext().SpanID() {
			t.Errorf("message %d does not carry its span", i)
		}
	}
	_, end = p.StartSend(within(t), "orders", kafka.Message{Value: []byte("c")})
	end(-1, -1, kafka.NotLeaderForPartition)
	s := rec.wait(t, "send orders", 3)[2]
	absent(t, s, messaging.AttrKafkaOffset, messaging.AttrPartitionID)
	if text(t, s, messaging.AttrErrorType) != "NOT_LEADER_OR_FOLLOWER" {
		t.Errorf("error.type = %q", text(t, s, messaging.AttrErrorType))
	}
}

func TestInjectHeadersKeepsWhatIsThere(t *testing.T) {
	rec := record()
	ctx, span := contextIn(t, rec)
	defer span.End()
	backing := make([]kafka.Header, 1, 4)
	backing[0] = kafka.Header{Key: "a"}
	m := kafka.Message{Headers: backing}
	InjectHeaders(ctx, &m)
	if header(t, m.Headers).SpanID() != span.SpanContext().SpanID() || backing[:2][1].Key != "" {
		t.Errorf("headers = %v, behind them %v", m.Headers, backing[:2])
	}
	again := append([]kafka.Header(nil), m.Headers...)
	InjectHeaders(context.Background(), &m)
	other, o := contextIn(t, rec)
	defer o.End()
	InjectHeaders(other, &m)
	if diff := cmp.Diff(again, m.Headers); diff != "" {
		t.Errorf("a context was changed (-want +got):\n%s", diff)
	}
}

func TestMessagesOfAGenerationAreProcessedWithHelpers(t *testing.T) {
	rec, m := record(), newMeters(t)
	b := &memory{}
	w := memoryWriter(b, nil, WithTracerProvider(rec))
	defer w.Close()
	write(t, w, "x", "y")
	p := NewProcessor("billing", "tool", WithTracerProvider(rec), WithMeterProvider(m))
	var msgs []kafka.Message
	for i, headers := range b.records {
		msgs = append(msgs, kafka.Message{Topic: "orders", Partition: 2, Offset: int64(i), Value: []byte("x"), Headers: headers, Time: time.Now()})
	}
	failure := errors.New("declined")
	if err := p.Process(within(t), msgs[0], func(ctx context.Context, _ kafka.Message) error {
		if p, ok := messaging.RecordFromContext(ctx); !ok || p.Record() != (messaging.RecordRef{Topic: "orders", Partition: 2}) || p.Group() != "billing" {
			t.Errorf("the context tells %v", p)
		}
		return failure
	}); err != failure { //nolint:errorlint // the very same error
		t.Errorf("error = %v", err)
	}
	if err := p.ProcessBatch(within(t), msgs, func(context.Context, []kafka.Message) error { return nil }); err != nil {
		t.Fatal(err)
	}
	func() {
		defer func() {
			if recover() != "mine" {
				t.Error("the panic did not go on")
			}
		}()
		_ = p.Process(within(t), msgs[1], func(context.Context, kafka.Message) error { panic("mine") })
	}()
	spans := rec.wait(t, "process orders", 3)
	sent := rec.named("send orders")
	if len(spans[0].Links()) != 1 || spans[0].Links()[0].SpanContext.SpanID() != sent[0].SpanContext().SpanID() || spans[0].Status().Code != codes.Error {
		t.Errorf("links %v, status %v", spans[0].Links(), spans[0].Status())
	}
	if len(spans[1].Links()) != 2 || number(t, spans[1], messaging.AttrBatchMessageCount) != 2 {
		t.Errorf("the batch links to %v", spans[1].Links())
	}
	if text(t, spans[2], messaging.AttrErrorType) != "panic" {
		t.Errorf("error.type = %q", text(t, spans[2], messaging.AttrErrorType))
	}
	if n := len(rec.named("poll orders")); n != 0 {
		t.Errorf("%d receive spans; nobody saw the messages received", n)
	}
	absent(t, spans[0], messaging.AttrConsumeAsked)
}

func TestARetriedRecordTellsWhereItCameFrom(t *testing.T) {
	rec, m := record(), newMeters(t)
	c := broker(t, 1)
	opts := []Option{WithTracerProvider(rec), WithMeterProvider(m)}
	w := newWriter(t, c, func(w *kafka.Writer) { w.Topic = "" }, opts...)
	if err := w.WriteMessages(within(t), kafka.Message{Topic: "orders", Key: []byte("k"), Value: []byte("v"), Headers: []kafka.Header{{Key: "own", Value: []byte("1")}}}); err != nil {
		t.Fatal(err)
	}
	r := newReader(t, c, nil, opts...)
	failure := errors.New("declined")
	for attempt := 1; attempt <= 3; attempt++ {
		msg := fetchOne(t, r)
		if got := Attempt(msg); got != attempt {
			t.Errorf("attempt = %d; want %d", got, attempt)
		}
		before := append([]kafka.Header(nil), msg.Headers...)
		if err := r.Process(within(t), msg, func(ctx context.Context, msg kafka.Message) error {
			again := Retry(ctx, msg, "orders")
			if attempt == 3 {
				again = DeadLetter(ctx, msg, "orders", failure)
			}
			if again.Topic != "orders" || string(again.Key) != "k" || string(again.Value) != "v" || again.Headers[0].Key != "own" {
				t.Errorf("the message is %+v", again)
			}
			if err := w.WriteMessages(ctx, again); err != nil {
				t.Error(err)
			}
			return failure
		}); err != failure { //nolint:errorlint // the very same error
			t.Fatal(err)
		}
		if diff := cmp.Diff(before, msg.Headers); diff != "" {
			t.Errorf("the failed message changed (-want +got):\n%s", diff)
		}
	}
	dead := fetchOne(t, r)
	l, ok := LineageOf(dead)
	if !ok || l.Topic != "orders" || l.Offset != 0 || l.Attempt != 3 || len(l.Earlier) != 3 {
		t.Errorf("lineage = %+v, %v", l, ok)
	}
	if got := (&headerCarrier{headers: dead.Headers}).Get(HeaderError); got != "_OTHER: declined" {
		t.Errorf("%s = %q", HeaderError, got)
	}
	contexts := 0
	for _, h := range dead.Headers {
		if h.Key == "traceparent" {
			contexts++
		}
	}
	if contexts != 1 {
		t.Errorf("%d traceparents; want the last alone", contexts)
	}
	spans := rec.wait(t, "process orders", 3)
	if got := number(t, spans[2], messaging.AttrRetryCount); got != 2 {
		t.Errorf("retry count = %d; want 2", got)
	}
	if got := text(t, spans[2], messaging.AttrRetryTopic); got != "orders" {
		t.Errorf("original topic = %q", got)
	}
	linked := make(map[trace.SpanID]bool)
	for _, l := range spans[2].Links() {
		linked[l.SpanContext.SpanID()] = true
	}
	if !linked[spans[0].SpanContext().SpanID()] || !linked[spans[1].SpanContext().SpanID()] || len(linked) != 3 {
		t.Errorf("links = %v; want the sender and both earlier attempts", spans[2].Links())
	}
	m.want(t, 2, messaging.MetricTimeInRetry)
}
