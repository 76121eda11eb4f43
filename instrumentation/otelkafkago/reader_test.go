package otelkafkago

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

// sleep passes time that a test is about: the broker below runs on the real clock.
// slew is how far the clock of a client and the system's may be apart.
const slew = 100 * time.Microsecond

func sleep(d time.Duration) { time.Sleep(d) }

func TestBacklogIsTheTimeBeforeTheConsumerAsked(t *testing.T) {
	const pause, work = 200 * time.Millisecond, 30 * time.Millisecond
	rec := record()
	c := broker(t, 1)
	w := newWriter(t, c, nil, WithTracerProvider(rec))
	write(t, w, "a", "b", "c")
	sleep(pause)
	opened := time.Now()
	r := newReader(t, c, nil, WithTracerProvider(rec))
	for range 3 {
		m := fetchOne(t, r)
		if err := r.Process(within(t), m, func(context.Context, kafka.Message) error { sleep(work); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	sent := rec.wait(t, "send orders", 3)
	for i, s := range rec.wait(t, "process orders", 3) {
		asked, answered, handed := number(t, s, messaging.AttrConsumeAsked), number(t, s, messaging.AttrConsumeAnswered), number(t, s, messaging.AttrConsumeHanded)
		if asked < opened.UnixNano() || asked > answered || answered > handed || handed > s.StartTime().UnixNano() {
			t.Errorf("record %d: asked %d, answered %d, handed %d, process %d; want them in this order after the reader opened", i, asked, answered, handed, s.StartTime().UnixNano())
		}
		if backlog := time.Duration(asked - number(t, sent[i], messaging.AttrProduceWritten)); backlog < pause {
			t.Errorf("record %d: backlog %v; want at least the pause, %v", i, backlog, pause)
		}
		if queue := time.Duration(handed - answered); queue < time.Duration(i)*work {
			t.Errorf("record %d: fetch queue %v; want the work on those before, %v", i, queue, time.Duration(i)*work)
		}
		if processing := s.EndTime().Sub(s.StartTime()); processing < work {
			t.Errorf("record %d: processing %v; want at least %v", i, processing, work)
		}
		if got := number(t, s, messaging.AttrKafkaOffset); got != int64(i) {
			t.Errorf("offset = %d; want %d", got, i)
		}
		if got := number(t, s, messaging.AttrConsumeHighWatermark); got != 3 {
			t.Errorf("high watermark = %d; want 3", got)
		}
		recordTime := number(t, s, messaging.AttrConsumeRecordTime)
		if d := time.Duration(number(t, sent[i], messaging.AttrProduceWritten) - recordTime); d < -2*time.Millisecond || d > time.Second {
			t.Errorf("the record's time is %v before it was written; want about the same", d)
		}
		absent(t, s, messaging.AttrConsumeEstimated)
	}
	if got := r.Counts(); got != (ReaderCounts{}) {
		t.Errorf("counts = %+v; want none", got)
	}
}

func TestLongPollWasAskedBeforeTheRecordWasThere(t *testing.T) {
	rec := record()
	c := broker(t, 1)
	w := newWriter(t, c, nil, WithTracerProvider(rec))
	r := newReader(t, c, func(cfg *kafka.ReaderConfig) { cfg.MaxWait = 2 * time.Second }, WithTracerProvider(rec))
	got := make(chan kafka.Message, 1)
	go func() {
		m, err := r.FetchMessage(within(t))
		if err != nil {
			t.Error(err)
		}
		got <- m
	}()
	eventually(t, "a fetch", func() bool {
		log := r.log.partition(topicPartition{"orders", 0})
		log.mu.Lock()
		defer log.mu.Unlock()
		return len(log.fetches) == 1
	})
	sleep(20 * time.Millisecond)
	write(t, w, "late")
	_, end := r.StartProcess(within(t), <-got)
	end(nil)
	s := rec.wait(t, "process orders", 1)[0]
	written := number(t, rec.wait(t, "send orders", 1)[0], messaging.AttrProduceWritten)
	if asked, answered := number(t, s, messaging.AttrConsumeAsked), number(t, s, messaging.AttrConsumeAnswered); asked >= written || answered <= written {
		t.Errorf("asked %v and answered %v after it was written; want before and after", time.Duration(asked-written), time.Duration(answered-written))
	}
}

func TestReceiveSpanStartsWithTheCallAndLinksTheSender(t *testing.T) {
	rec := record()
	c := broker(t, 1)
	w := newWriter(t, c, nil, WithTracerProvider(rec))
	write(t, w, "x")
	r := newReader(t, c, func(cfg *kafka.ReaderConfig) { cfg.GroupID = "billing"; cfg.StartOffset = kafka.FirstOffset }, WithTracerProvider(rec))
	if n := len(rec.named("poll orders")); n != 0 {
		t.Fatalf("%d receive spans before a call", n)
	}
	before := time.Now().Add(-slew)
	m := fetchOne(t, r)
	sent := rec.wait(t, "send orders", 1)[0]
	poll := rec.wait(t, "poll orders", 1)[0]
	if poll.SpanKind() != trace.SpanKindClient || poll.StartTime().Before(before) || poll.StartTime().Sub(before) > time.Second {
		t.Errorf("kind %v, start %v after the call; want client, at the call", poll.SpanKind(), poll.StartTime().Sub(before))
	}
	if err := r.Process(within(t), m, func(ctx context.Context, _ kafka.Message) error {
		if !trace.SpanFromContext(ctx).IsRecording() {
			t.Error("the context carries no recording span")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := r.CommitMessages(within(t), m); err != nil {
		t.Fatal(err)
	}
	process := rec.wait(t, "process orders", 1)[0]
	if process.SpanKind() != trace.SpanKindConsumer || process.Parent().SpanID() != poll.SpanContext().SpanID() {
		t.Errorf("process: kind %v, parent %v; want consumer, child of receive", process.SpanKind(), process.Parent().SpanID())
	}
	for _, s := range []span{poll, process} {
		if len(s.Links()) != 1 || s.Links()[0].SpanContext.SpanID() != sent.SpanContext().SpanID() {
			t.Errorf("%s: links %v; want the send span", s.Name(), s.Links())
		}
		if s.SpanContext().TraceID() == sent.SpanContext().TraceID() {
			t.Errorf("%s is in the sender's trace; want a link only", s.Name())
		}
		if got := text(t, s, messaging.AttrConsumerGroup); got != "billing" {
			t.Errorf("group = %q", got)
		}
		if got := text(t, s, messaging.AttrPartitionID); got != "0" {
			t.Errorf("partition = %q", got)
		}
	}
	if text(t, poll, messaging.AttrSentryOp) != "queue.receive" || text(t, process, messaging.AttrSentryOp) != "queue.process" {
		t.Error("sentry.op is not that of a queue")
	}
}

func TestWithParentOneTraceSpansAllServices(t *testing.T) {
	rec := record()
	c := broker(t, 1)
	w := newWriter(t, c, nil, WithTracerProvider(rec))
	member, err := baggage.NewMember("tenant", "t1")
	if err != nil {
		t.Fatal(err)
	}
	bag, err := baggage.New(member)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.WriteMessages(baggage.ContextWithBaggage(within(t), bag), kafka.Message{Value: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	r := newReader(t, c, nil, WithTracerProvider(rec), WithParent())
	ctx, end := r.StartProcess(within(t), fetchOne(t, r))
	if got := baggage.FromContext(ctx).Member("tenant").Value(); got != "t1" {
		t.Errorf("baggage tenant = %q; want t1", got)
	}
	end(nil)
	end(errors.New("a second call does not count"))
	sent := rec.wait(t, "send orders", 1)[0]
	for _, name := range []string{"poll orders", "process orders"} {
		s := rec.wait(t, name, 1)[0]
		if s.Parent().SpanID() != sent.SpanContext().SpanID() || s.SpanContext().TraceID() != sent.SpanContext().TraceID() || !s.Parent().IsRemote() {
			t.Errorf("%s: parent %v; want the send span, remote", name, s.Parent())
		}
		if len(s.Links()) != 1 || s.Links()[0].SpanContext.SpanID() != sent.SpanContext().SpanID() {
			t.Errorf("%s: links %v; want the send span too", name, s.Links())
		}
		if s.Status().Code == codes.Error {
			t.Errorf("%s: status %v", name, s.Status())
		}
	}
}

func TestWithoutReceiveSpansProcessBelongsToItsContext(t *testing.T) {
	rec := record()
	c := broker(t, 1)
	write(t, newWriter(t, c, nil, WithTracerProvider(rec)), "x")
	r := newReader(t, c, nil, WithTracerProvider(rec), WithoutReceiveSpans())
	ctx, own := contextIn(t, rec)
	_, end := r.StartProcess(ctx, fetchOne(t, r))
	end(nil)
	own.End()
	s := rec.wait(t, "process orders", 1)[0]
	if s.Parent().SpanID() != own.SpanContext().SpanID() || len(s.Links()) != 1 {
		t.Errorf("parent %v, links %v; want the span of the context and one link", s.Parent().SpanID(), s.Links())
	}
	if n := len(rec.named("poll orders")); n != 0 {
		t.Errorf("%d receive spans; want none", n)
	}
}

func TestProcessReportsErrorsAndPanics(t *testing.T) {
	rec := record()
	c := broker(t, 1)
	write(t, newWriter(t, c, nil, WithTracerProvider(rec)), "a", "b")
	r := newReader(t, c, nil, WithTracerProvider(rec))
	failure := fmt.Errorf("declined: %w", &typedError{})
	if err := r.Process(within(t), fetchOne(t, r), func(context.Context, kafka.Message) error { return failure }); err != failure { //nolint:errorlint // the very same error
		t.Errorf("error = %v; want the function's own", err)
	}
	func() {
		defer func() {
			if got := recover(); got != "mine" {
				t.Errorf("recovered %v; want the function's panic", got)
			}
		}()
		_ = r.Process(within(t), fetchOne(t, r), func(context.Context, kafka.Message) error { panic("mine") })
	}()
	spans := rec.wait(t, "process orders", 2)
	if got := text(t, spans[0], messaging.AttrErrorType); got != "*otelkafkago.typedError" || spans[0].Status().Code != codes.Error {
		t.Errorf("error.type %q, status %v", got, spans[0].Status())
	}
	if spans[1].Status().Code != codes.Error {
		t.Errorf("status after a panic = %v", spans[1].Status())
	}
}

type typedError struct{}

func (*typedError) Error() string { return "typed" }

func TestWithoutAnEndTheNextFetchIsTheGuess(t *testing.T) {
	const work = 40 * time.Millisecond
	rec := record()
	c := broker(t, 1)
	write(t, newWriter(t, c, nil, WithTracerProvider(rec)), "a", "b", "c", "d")
	r := newReader(t, c, func(cfg *kafka.ReaderConfig) { cfg.GroupID = "g"; cfg.StartOffset = kafka.FirstOffset }, WithTracerProvider(rec))
	check := func(n int, offset int64) {
		t.Helper()
		s := rec.wait(t, "process orders", n)[n-1]
		if v, ok := attr(s, messaging.AttrConsumeEstimated); !ok || !v.AsBool() {
			t.Errorf("record %d is not marked as estimated", offset)
		}
		if got := number(t, s, messaging.AttrKafkaOffset); got != offset {
			t.Errorf("offset = %d; want %d", got, offset)
		}
		if handed := number(t, s, messaging.AttrConsumeHanded); handed != s.StartTime().UnixNano() {
			t.Errorf("the span starts %v after the record was handed over", time.Duration(s.StartTime().UnixNano()-handed))
		}
		if d := s.EndTime().Sub(s.StartTime()); d < work || d > work+2*time.Second {
			t.Errorf("processing = %v; want about %v", d, work)
		}
		number(t, s, messaging.AttrConsumeAsked)
	}
	if _, err := r.ReadMessage(within(t)); err != nil { // commits by itself
		t.Fatal(err)
	}
	sleep(work)
	if n := len(rec.named("process orders")); n != 0 {
		t.Fatalf("%d process spans have ended; ReadMessage's own commit is not the end", n)
	}
	m := fetchOne(t, r)
	check(1, 0)
	sleep(work)
	if err := r.CommitMessages(within(t), m); err != nil {
		t.Fatal(err)
	}
	check(2, 1)
	m = fetchOne(t, r)
	ctx := r.MessageContext(within(t), m)
	if !trace.SpanFromContext(ctx).IsRecording() {
		t.Error("MessageContext carries no recording span")
	}
	if again := r.MessageContext(within(t), m); trace.SpanContextFromContext(again).SpanID() != trace.SpanContextFromContext(ctx).SpanID() {
		t.Error("MessageContext makes a second span")
	}
	sleep(work)
	fetchOne(t, r)
	check(3, 2)
	if got := rec.named("process orders")[2].SpanContext().SpanID(); got != trace.SpanContextFromContext(ctx).SpanID() {
		t.Error("the span that ended is not the one of MessageContext")
	}
	if after := r.MessageContext(within(t), m); trace.SpanContextFromContext(after).TraceID() != trace.SpanContextFromContext(ctx).TraceID() {
		t.Error("after its end, the context of the message is in another trace")
	}
	sleep(work)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	check(4, 3)
}

func TestOneDeliveryHasOneProcessSpan(t *testing.T) {
	f := func(name string, opts ...Option) {
		rec := record()
		c := broker(t, 1)
		const n = 50
		values := make([]string, n)
		write(t, newWriter(t, c, nil, WithTracerProvider(rec)), values...)
		r := newReader(t, c, nil, append(opts, WithTracerProvider(rec))...)
		// A dispatcher: all are fetched before any is processed.
		var msgs []kafka.Message
		for range n {
			msgs = append(msgs, fetchOne(t, r))
		}
		for _, m := range msgs {
			if err := r.Process(within(t), m, func(ctx context.Context, _ kafka.Message) error {
				if !trace.SpanContextFromContext(ctx).IsValid() {
					t.Errorf("%s: record %d is processed without a trace", name, m.Offset)
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		estimated := 0
		offsets := make(map[int64]int)
		for _, s := range rec.wait(t, "process orders", n) {
			offsets[number(t, s, messaging.AttrKafkaOffset)]++
			if _, ok := attr(s, messaging.AttrConsumeEstimated); ok {
				estimated++
			}
		}
		if len(offsets) != n {
			t.Errorf("%s: spans for %d records; want %d", name, len(offsets), n)
		}
		if len(opts) > 0 && estimated != 0 {
			t.Errorf("%s: %d spans are estimated; want none", name, estimated)
		}
	}
	f("not announced")
	f("announced", WithExplicitProcessing())
}

func TestEachDeliveryOfARecordHasItsOwnSpan(t *testing.T) {
	rec := record()
	c := broker(t, 1)
	write(t, newWriter(t, c, nil, WithTracerProvider(rec)), "x", "y")
	r := newReader(t, c, nil, WithTracerProvider(rec))
	for range 3 {
		if err := r.SetOffset(0); err != nil {
			t.Fatal(err)
		}
		m := fetchOne(t, r)
		if m.Offset != 0 {
			t.Fatalf("offset = %d; want 0 again", m.Offset)
		}
		if err := r.Process(within(t), m, func(context.Context, kafka.Message) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	last := int64(0)
	for i, s := range rec.wait(t, "process orders", 3) {
		asked, handed := number(t, s, messaging.AttrConsumeAsked), number(t, s, messaging.AttrConsumeHanded)
		if asked <= last {
			t.Errorf("delivery %d was asked for before the delivery before it was handed over", i)
		}
		last = handed
	}
}

func TestConcurrentConsumersGetEveryRecordOnce(t *testing.T) {
	rec := record()
	c := broker(t, 4)
	const n = 400
	values := make([]string, n)
	write(t, newWriter(t, c, func(w *kafka.Writer) { w.Balancer = &kafka.RoundRobin{} }, WithTracerProvider(rec)), values...)
	r := newReader(t, c, func(cfg *kafka.ReaderConfig) {
		cfg.GroupID, cfg.StartOffset = "g", kafka.FirstOffset
		cfg.CommitInterval = 10 * time.Millisecond
	}, WithTracerProvider(rec))
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	var left atomic.Int64
	left.Store(n)
	var consumers sync.WaitGroup
	for i := range 6 {
		consumers.Add(1)
		go func() {
			defer consumers.Done()
			for {
				m, err := r.FetchMessage(ctx)
				if err != nil {
					return
				}
				switch i % 3 {
				case 0:
					_ = r.Process(ctx, m, func(context.Context, kafka.Message) error { return nil })
				case 1:
					_, end := r.StartProcess(ctx, m)
					end(nil)
				default:
					r.MessageContext(ctx, m)
				}
				if err := r.CommitMessages(ctx, m); err != nil {
					t.Error(err)
				}
				if left.Add(-1) == 0 {
					cancel()
				}
			}
		}()
	}
	consumers.Wait()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for _, s := range rec.wait(t, "process orders", n) {
		seen[fmt.Sprint(text(t, s, messaging.AttrPartitionID), "/", number(t, s, messaging.AttrKafkaOffset))] = true
		asked, answered, handed := number(t, s, messaging.AttrConsumeAsked), number(t, s, messaging.AttrConsumeAnswered), number(t, s, messaging.AttrConsumeHanded)
		if asked > answered || answered > handed {
			t.Fatalf("asked %d, answered %d, handed %d", asked, answered, handed)
		}
	}
	if len(seen) != n {
		t.Errorf("process spans of %d records; want %d", len(seen), n)
	}
}

func TestRebalancesLoseNoTimes(t *testing.T) {
	rec := record()
	c := broker(t, 4)
	w := newWriter(t, c, func(w *kafka.Writer) { w.Balancer = &kafka.RoundRobin{} }, WithTracerProvider(rec))
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	var handled atomic.Int64 // different records
	var different sync.Map
	var consumers sync.WaitGroup
	consume := func() {
		r := newReader(t, c, func(cfg *kafka.ReaderConfig) {
			cfg.GroupID, cfg.StartOffset = "g", kafka.FirstOffset
			cfg.HeartbeatInterval, cfg.RebalanceTimeout = 50*time.Millisecond, time.Second
			cfg.JoinGroupBackoff = 20 * time.Millisecond
		}, WithTracerProvider(rec), WithoutReceiveSpans())
		consumers.Add(1)
		go func() {
			defer consumers.Done()
			for {
				m, err := r.FetchMessage(ctx)
				if err != nil {
					return
				}
				_ = r.Process(ctx, m, func(context.Context, kafka.Message) error { return nil })
				_ = r.CommitMessages(ctx, m) // fails when the partition was taken away: it comes again
				if _, again := different.LoadOrStore(fmt.Sprint(m.Partition, "/", m.Offset), true); !again {
					handled.Add(1)
				}
			}
		}()
	}
	const each, readers = 80, 3
	for i := range readers {
		consume()
		values := make([]string, each)
		write(t, w, values...)
		eventually(t, "records handled", func() bool { return handled.Load() >= int64((i+1)*each) })
	}
	cancel()
	consumers.Wait()
	seen := make(map[string]bool)
	for _, s := range rec.named("process orders") {
		seen[fmt.Sprint(text(t, s, messaging.AttrPartitionID), "/", number(t, s, messaging.AttrKafkaOffset))] = true
		asked, answered, handed := number(t, s, messaging.AttrConsumeAsked), number(t, s, messaging.AttrConsumeAnswered), number(t, s, messaging.AttrConsumeHanded)
		if asked > answered || answered > handed {
			t.Errorf("asked %d, answered %d, handed %d", asked, answered, handed)
		}
	}
	if len(seen) != each*readers {
		t.Errorf("process spans of %d records; want %d", len(seen), each*readers)
	}
}

func TestReaderSwitchedOffAddsNothing(t *testing.T) {
	defer messaging.SetEnabled(true)
	rec := record()
	c := broker(t, 1)
	write(t, newWriter(t, c, nil, WithTracerProvider(rec)), "a", "b")
	rec.Reset()
	r := newReader(t, c, nil, WithTracerProvider(rec))
	messaging.SetEnabled(false)
	m := fetchOne(t, r)
	if err := r.Process(within(t), m, func(ctx context.Context, _ kafka.Message) error {
		if trace.SpanContextFromContext(r.MessageContext(ctx, m)).IsValid() {
			t.Error("the context carries a span")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if n := len(rec.Started()); n != 0 {
		t.Errorf("%d spans; want none", n)
	}
	messaging.SetEnabled(true)
	fetchOne(t, r)
	rec.wait(t, "poll orders", 1)
}

func TestABrokenProviderDoesNotDisturbTheReader(t *testing.T) {
	c := broker(t, 1)
	write(t, newWriter(t, c, nil, WithTracerProvider(record())), "a", "b")
	r := newReader(t, c, nil, WithTracerProvider(panickyProvider{}))
	fetchOne(t, r)
	m := fetchOne(t, r)
	called := false
	if err := r.Process(within(t), m, func(context.Context, kafka.Message) error { called = true; return nil }); err != nil || !called {
		t.Errorf("error %v, called %v", err, called)
	}
	r.MessageContext(within(t), m)
	if r.Counts().Panics == 0 {
		t.Error("no panic was counted")
	}
}

// detached is a Reader of which only the instrumentation is used.
func detached(rec recorder) *Reader {
	return newReaderHooks(kafka.ReaderConfig{Topic: "orders"}, newConfig([]Option{WithTracerProvider(rec), WithoutReceiveSpans(), WithExplicitProcessing()}))
}

func TestARecordDeliveredAgainBeforeItWasProcessedHasTwoSpans(t *testing.T) {
	rec := record()
	r := detached(rec)
	m := kafka.Message{Topic: "orders", Offset: 3}
	for range 2 {
		r.handOver(context.Background(), now(), now(), &m)
	}
	_, end := r.StartProcess(context.Background(), m)
	end(nil)
	r.closed()
	spans := rec.wait(t, "process orders", 2)
	if v, ok := attr(spans[0], messaging.AttrConsumeEstimated); !ok || !v.AsBool() {
		t.Error("the first delivery, which nobody processed, is not marked as estimated")
	}
	absent(t, spans[1], messaging.AttrConsumeEstimated)
}

func TestOpenDeliveriesAreBounded(t *testing.T) {
	rec := record()
	r := detached(rec)
	const extra = 10
	for i := range maxPending + extra {
		r.nextCalled(now())
		r.handOver(context.Background(), now(), now(), &kafka.Message{Topic: "orders", Offset: int64(i)})
	}
	if r.pending.count != maxPending || r.Counts().Evicted != extra {
		t.Errorf("%d open, %d evicted; want %d and %d", r.pending.count, r.Counts().Evicted, maxPending, extra)
	}
	if n := len(rec.named("process orders")); n != extra {
		t.Errorf("%d spans have ended; want %d", n, extra)
	}
	if r.Counts().UnknownFetches != maxPending+extra {
		t.Errorf("%d unknown fetches", r.Counts().UnknownFetches)
	}
}

func TestForeignContextIsReadByThePropagatorOfTheProgram(t *testing.T) {
	rec := record()
	c := broker(t, 1)
	w := newWriter(t, c, nil, WithTracerProvider(rec))
	const value = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	messaging.SetEnabled(false)
	err := w.WriteMessages(within(t), kafka.Message{Value: []byte("x"), Headers: []kafka.Header{{Key: "x-b3ish", Value: []byte(value)}}})
	messaging.SetEnabled(true)
	if err != nil {
		t.Fatal(err)
	}
	r := newReader(t, c, nil, WithTracerProvider(rec), WithPropagator(b3ish{}))
	_, end := r.StartProcess(within(t), fetchOne(t, r))
	end(nil)
	s := rec.wait(t, "process orders", 1)[0]
	if len(s.Links()) != 1 || s.Links()[0].SpanContext.SpanID().String() != "00f067aa0ba902b7" {
		t.Errorf("links = %v; want the foreign span", s.Links())
	}
}

func TestConfigIsTheCallersOwn(t *testing.T) {
	c := broker(t, 1)
	d := &kafka.Dialer{ClientID: "mine", Timeout: time.Second}
	r := newReader(t, c, func(cfg *kafka.ReaderConfig) { cfg.Dialer = d }, WithTracerProvider(record()))
	if r.Config().Dialer != d || d.DialFunc != nil {
		t.Error("the caller's Dialer was replaced or changed")
	}
}
