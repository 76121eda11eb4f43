package otelkafkago

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/produce"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

func TestSendSpanTellsTruePartitionAndOffset(t *testing.T) {
	rec := record()
	c := broker(t, 3)
	for _, async := range []bool{false, true} {
		w := newWriter(t, c, func(w *kafka.Writer) { w.Async = async; w.Balancer = &kafka.RoundRobin{} }, WithTracerProvider(rec))
		rec.Reset()
		ctx, request := contextIn(t, rec)
		msgs := make([]kafka.Message, 9)
		for i := range msgs {
			msgs[i] = kafka.Message{Key: []byte("k"), Value: []byte("value")}
		}
		if err := w.WriteMessages(ctx, msgs...); err != nil {
			t.Fatal(err)
		}
		seen := make(map[string][]int64)
		for _, s := range rec.wait(t, "send orders", 9) {
			p := text(t, s, messaging.AttrPartitionID)
			seen[p] = append(seen[p], number(t, s, messaging.AttrKafkaOffset))
			if s.SpanKind() != trace.SpanKindProducer || s.Parent().SpanID() != request.SpanContext().SpanID() {
				t.Errorf("kind %v, parent %v; want producer, child of the request", s.SpanKind(), s.Parent().SpanID())
			}
			if s.InstrumentationScope().Name != messaging.ScopeKafkaGo || s.InstrumentationScope().SchemaURL != messaging.SchemaURL {
				t.Errorf("scope = %+v", s.InstrumentationScope())
			}
			for key, want := range map[string]string{
				messaging.AttrSystem: "kafka", messaging.AttrOperationName: "send", messaging.AttrOperationType: "send",
				messaging.AttrDestinationName: "orders", messaging.AttrSentryOp: "queue.publish", messaging.AttrClientID: "test",
				messaging.AttrKeyHash: messaging.KeyHash([]byte("k")),
			} {
				if got := text(t, s, key); got != want {
					t.Errorf("%s = %q; want %q", key, got, want)
				}
			}
			if got := number(t, s, messaging.AttrBodySize); got != 5 {
				t.Errorf("body size = %d; want 5", got)
			}
			absent(t, s, messaging.AttrProduceAttempts, messaging.AttrProduceFirstWritten, messaging.AttrErrorType, messaging.AttrKafkaTombstone)
		}
		first := int64(0)
		if async {
			first = 3
		}
		want := []int64{first, first + 1, first + 2}
		for _, p := range []string{"0", "1", "2"} {
			if diff := cmp.Diff(want, seen[p]); diff != "" {
				t.Errorf("async=%v: offsets in partition %s (-want +got):\n%s", async, p, diff)
			}
		}
		request.End()
	}
}

func TestBatchQueueIsTheLingerAndAckIsNot(t *testing.T) {
	const linger = 150 * time.Millisecond
	rec := record()
	w := newWriter(t, broker(t, 1), func(w *kafka.Writer) { w.Async = true; w.BatchTimeout = linger }, WithTracerProvider(rec))
	write(t, w, "first")
	if n := len(rec.named("send orders")); n != 0 {
		t.Fatalf("%d spans have ended before the record was written", n)
	}
	s := rec.wait(t, "send orders", 1)[0]
	written, acked := number(t, s, messaging.AttrProduceWritten), number(t, s, messaging.AttrProduceAcked)
	queue := time.Duration(written - s.StartTime().UnixNano())
	if queue < linger-5*time.Millisecond || queue > linger+time.Second {
		t.Errorf("batch queue = %v; want the linger, %v", queue, linger)
	}
	if ack := time.Duration(acked - written); ack <= 0 || ack > linger {
		t.Errorf("ack = %v; want a short time", ack)
	}
	if s.EndTime().UnixNano() != acked {
		t.Errorf("the span ends %v after the answer", time.Duration(s.EndTime().UnixNano()-acked))
	}
}

func TestWithoutAcksTheOffsetIsUnknown(t *testing.T) {
	rec := record()
	w := newWriter(t, broker(t, 1), func(w *kafka.Writer) { w.RequiredAcks = kafka.RequireNone }, WithTracerProvider(rec))
	write(t, w, "x")
	s := rec.wait(t, "send orders", 1)[0]
	number(t, s, messaging.AttrProduceWritten)
	absent(t, s, messaging.AttrKafkaOffset, messaging.AttrProduceAcked, messaging.AttrProduceAppended)
	if s.Status().Code == codes.Error {
		t.Errorf("status = %v", s.Status())
	}
}

func TestRetriesAndThrottleAreCounted(t *testing.T) {
	rec := record()
	attempts := 0
	b := &memory{answer: func(q *produce.Request) (kafka.Response, error) {
		attempts++
		if attempts < 3 {
			return produced(q, -1, int16(kafka.NotEnoughReplicas)), nil
		}
		out := produced(q, 7, 0)
		out.ThrottleTimeMs = 25
		out.Topics[0].Partitions[0].LogAppendTime = 1_700_000_000_123
		return out, nil
	}}
	w := memoryWriter(b, nil, WithTracerProvider(rec))
	defer w.Close()
	write(t, w, "x")
	s := rec.wait(t, "send orders", 1)[0]
	if got := number(t, s, messaging.AttrProduceAttempts); got != 3 {
		t.Errorf("attempts = %d; want 3", got)
	}
	if first, last := number(t, s, messaging.AttrProduceFirstWritten), number(t, s, messaging.AttrProduceWritten); first >= last {
		t.Errorf("first written %d, written %d; want the first before", first, last)
	}
	if got := number(t, s, messaging.AttrProduceThrottle); got != int64(25*time.Millisecond) {
		t.Errorf("throttle = %d", got)
	}
	if got := number(t, s, messaging.AttrProduceAppended); got != 1_700_000_000_123_000_000 {
		t.Errorf("appended = %d", got)
	}
	if got := number(t, s, messaging.AttrKafkaOffset); got != 7 {
		t.Errorf("offset = %d; want 7", got)
	}
	if s.Status().Code == codes.Error {
		t.Errorf("status = %v", s.Status())
	}
}

func TestFailedWriteNamesTheErrorOfTheProtocol(t *testing.T) {
	f := func(answer func(*produce.Request) (kafka.Response, error), want string) {
		t.Helper()
		rec := record()
		w := memoryWriter(&memory{answer: answer}, func(w *kafka.Writer) { w.MaxAttempts = 2 }, WithTracerProvider(rec))
		defer w.Close()
		err := w.WriteMessages(within(t), kafka.Message{Value: []byte("x")})
		if err == nil {
			t.Fatal("no error")
		}
		var each kafka.WriteErrors
		if !errors.As(err, &each) || len(each) != 1 {
			t.Errorf("error = %T %v; want kafka.WriteErrors of one", err, err)
		}
		s := rec.wait(t, "send orders", 1)[0]
		if got := text(t, s, messaging.AttrErrorType); got != want || s.Status().Code != codes.Error {
			t.Errorf("error.type = %q, status %v; want %q and an error", got, s.Status(), want)
		}
		if got := text(t, s, messaging.AttrPartitionID); got != "0" {
			t.Errorf("partition = %q; want the one it was meant for", got)
		}
		absent(t, s, messaging.AttrKafkaOffset)
	}
	code := func(e kafka.Error) func(*produce.Request) (kafka.Response, error) {
		return func(q *produce.Request) (kafka.Response, error) { return produced(q, -1, int16(e)), nil }
	}
	f(code(kafka.NotEnoughReplicas), "NOT_ENOUGH_REPLICAS")
	f(code(kafka.UnknownTopicOrPartition), "UNKNOWN_TOPIC_OR_PARTITION")
	f(code(kafka.NotLeaderForPartition), "NOT_LEADER_OR_FOLLOWER")
	f(code(kafka.MessageSizeTooLarge), "MESSAGE_TOO_LARGE")
	f(code(kafka.Error(9999)), "_OTHER")
	f(func(*produce.Request) (kafka.Response, error) { return nil, io.ErrClosedPipe }, "_OTHER")
	f(func(*produce.Request) (kafka.Response, error) { return nil, context.DeadlineExceeded }, "timeout")
}

func TestAFailedBatchLeavesNothingToTheNextOne(t *testing.T) {
	rec := record()
	fail := true
	b := &memory{}
	b.answer = func(q *produce.Request) (kafka.Response, error) {
		if fail {
			return nil, io.ErrClosedPipe
		}
		return produced(q, 3, 0), nil
	}
	w := memoryWriter(b, func(w *kafka.Writer) { w.MaxAttempts = 4 }, WithTracerProvider(rec))
	defer w.Close()
	if err := w.WriteMessages(within(t), kafka.Message{Value: []byte("x")}); err == nil {
		t.Fatal("no error")
	}
	fail = false
	write(t, w, "y")
	spans := rec.wait(t, "send orders", 2)
	absent(t, spans[1], messaging.AttrProduceAttempts, messaging.AttrProduceFirstWritten)
}

func TestSendSpanOutlivesACancelledCall(t *testing.T) {
	rec := record()
	release := make(chan struct{})
	entered := make(chan struct{})
	b := &memory{answer: func(q *produce.Request) (kafka.Response, error) {
		close(entered)
		<-release
		return produced(q, 5, 0), nil
	}}
	w := memoryWriter(b, nil, WithTracerProvider(rec))
	defer w.Close()
	ctx, cancel := context.WithCancel(within(t))
	go func() {
		<-entered
		cancel()
	}()
	if err := w.WriteMessages(ctx, kafka.Message{Value: []byte("x")}); !errors.Is(err, context.Canceled) {
		t.Fatalf("error = %v; want the cancelled context", err)
	}
	if n := len(rec.named("send orders")); n != 0 {
		t.Fatalf("%d spans have ended though the broker has not answered", n)
	}
	close(release)
	s := rec.wait(t, "send orders", 1)[0]
	if got := number(t, s, messaging.AttrKafkaOffset); got != 5 || s.Status().Code == codes.Error {
		t.Errorf("offset %d, status %v; want 5 and no error", got, s.Status())
	}
}

func TestACallThatSendsNothingEndsItsSpans(t *testing.T) {
	rec := record()
	w := memoryWriter(&memory{}, nil, WithTracerProvider(rec))
	if err := w.WriteMessages(within(t), kafka.Message{Topic: "both", Value: []byte("x")}, kafka.Message{Value: []byte("y")}); err == nil {
		t.Fatal("no error")
	}
	if n := len(rec.Ended()); n != 2 || len(rec.Started()) != 2 {
		t.Errorf("%d spans started, %d ended; want 2 and 2", len(rec.Started()), n)
	}
	for _, s := range rec.Ended() {
		if s.Status().Code != codes.Error {
			t.Errorf("status = %v; want an error", s.Status())
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := w.WriteMessages(within(t), kafka.Message{Value: []byte("x")}); !errors.Is(err, io.ErrClosedPipe) {
		t.Fatalf("error = %v; want io.ErrClosedPipe", err)
	}
	if n := len(rec.Ended()); n != 3 {
		t.Errorf("%d spans have ended; want 3", n)
	}
}

func TestEverySpanHasEndedWhenCloseReturns(t *testing.T) {
	rec := record()
	w := memoryWriter(&memory{}, func(w *kafka.Writer) { w.Async = true; w.BatchTimeout = time.Hour }, WithTracerProvider(rec))
	write(t, w, "a", "b", "c")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if n := len(rec.named("send orders")); n != 3 {
		t.Errorf("%d spans have ended; want 3", n)
	}
}

func TestDeprecatedConstructorWorks(t *testing.T) {
	rec := record()
	c := broker(t, 1)
	kw := kafka.NewWriter(kafka.WriterConfig{Brokers: c.ListenAddrs(), Topic: "orders", BatchTimeout: time.Millisecond})
	w := Wrap(kw, WithTracerProvider(rec))
	write(t, w, "x")
	if got := number(t, rec.wait(t, "send orders", 1)[0], messaging.AttrKafkaOffset); got != 0 {
		t.Errorf("offset = %d; want 0", got)
	}
	if got := w.Stats(); got.Messages != 1 || got.Dials == 0 {
		t.Errorf("Stats: %d messages, %d dials; want those of the wrapped Writer", got.Messages, got.Dials)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestWithoutTransportTheSharedOneIsUsedAndNotChanged(t *testing.T) {
	before := kafka.DefaultTransport
	defer func() { kafka.DefaultTransport = before }()
	rec := record()
	b := &memory{partitions: 1}
	w := memoryWriter(b, func(w *kafka.Writer) { w.Transport = nil }, WithTracerProvider(rec))
	defer w.Close()
	if kafka.DefaultTransport != before {
		t.Fatal("the shared transport was replaced")
	}
	kafka.DefaultTransport = b // as a program may do at any time
	write(t, w, "x")
	rec.wait(t, "send orders", 1)
	if len(b.records) != 1 {
		t.Errorf("%d records went through the shared transport; want 1", len(b.records))
	}
}

func TestWrappingTwiceMakesOneSpan(t *testing.T) {
	rec := record()
	w := memoryWriter(&memory{}, nil, WithTracerProvider(rec))
	again := Wrap(w.Writer)
	defer again.Close()
	write(t, again, "x")
	rec.wait(t, "send orders", 1)
}

func TestSwitchedOffNothingIsAdded(t *testing.T) {
	defer messaging.SetEnabled(true)
	rec := record()
	b := &memory{}
	w := memoryWriter(b, nil, WithTracerProvider(rec))
	defer w.Close()
	messaging.SetEnabled(false)
	write(t, w, "x")
	if len(rec.Started()) != 0 || len(b.records[0]) != 0 {
		t.Errorf("%d spans, headers %v; want none", len(rec.Started()), b.records[0])
	}
	b.answer = func(*produce.Request) (kafka.Response, error) { return nil, io.ErrNoProgress }
	if err := w.WriteMessages(within(t), kafka.Message{Value: []byte("x")}); err == nil {
		t.Fatal("no error")
	}
	b.answer = nil
	messaging.SetEnabled(true)
	write(t, w, "y")
	absent(t, rec.wait(t, "send orders", 1)[0], messaging.AttrProduceAttempts, messaging.AttrProduceFirstWritten) // of what came before
}

func TestAnUnsampledRecordStillCarriesItsContext(t *testing.T) {
	rec := record(sdktrace.WithSampler(sdktrace.NeverSample()))
	b := &memory{}
	w := memoryWriter(b, nil, WithTracerProvider(rec))
	defer w.Close()
	write(t, w, "x")
	sc := header(t, b.records[0])
	if !sc.IsValid() || sc.IsSampled() {
		t.Errorf("the record carries %v; want a valid context, not sampled", sc)
	}
}

type panickyProvider struct{ trace.TracerProvider }

func (panickyProvider) Tracer(string, ...trace.TracerOption) trace.Tracer { return panickyTracer{} }

type panickyTracer struct{ trace.Tracer }

func (panickyTracer) Start(context.Context, string, ...trace.SpanStartOption) (context.Context, trace.Span) {
	panic("broken provider")
}

func TestABrokenProviderDoesNotDisturbTheProgram(t *testing.T) {
	b := &memory{}
	done := 0
	w := memoryWriter(b, func(w *kafka.Writer) {
		w.Completion = func(ms []kafka.Message, err error) {
			if err == nil && ms[0].WriterData == "mine" {
				done++
			}
		}
	}, WithTracerProvider(panickyProvider{}))
	defer w.Close()
	if err := w.WriteMessages(within(t), kafka.Message{Value: []byte("x"), WriterData: "mine"}); err != nil {
		t.Fatal(err)
	}
	if len(b.records) != 1 || done != 1 || w.Counts().Panics != 1 {
		t.Errorf("%d records, %d completions, counts %+v; want one each", len(b.records), done, w.Counts())
	}
}
