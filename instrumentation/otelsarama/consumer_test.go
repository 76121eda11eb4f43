package otelsarama

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kfake"
	"go.opentelemetry.io/otel/trace"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

func TestNothingIsTracedBeforeAMessageIsHandedOut(t *testing.T) {
	c, rec := broker(t, 1), record()
	in := New(configOf(nil), WithTracerProvider(rec))
	send(t, newSync(t, c, in), "a", "b")
	pc := newPartition(t, c, in, 0)
	messages := pc.Messages()
	eventually(t, "messages fetched", func() bool { return pc.HighWaterMarkOffset() == 2 })
	if n := len(rec.named("poll orders")); n != 0 {
		t.Errorf("%d receive spans before a message was taken", n)
	}
	before := time.Now().Add(-slew).UnixNano()
	<-messages
	poll := rec.wait(t, "poll orders", 1)[0]
	if poll.StartTime().UnixNano() < before {
		t.Error("the receive span began before the message was taken")
	}
}

func TestEachProcessSpanHasTheTimeOfItsOwnMessage(t *testing.T) {
	c, rec := broker(t, 1), record()
	in := New(configOf(nil), WithTracerProvider(rec))
	send(t, newSync(t, c, in), "0", "20", "40")
	pc := newPartition(t, c, in, 0)
	for range 3 {
		msg := receiveOne(t, pc)
		if err := in.Process(within(t), msg, func(context.Context, *sarama.ConsumerMessage) error {
			wait, err := time.ParseDuration(string(msg.Value) + "ms")
			<-time.After(wait)
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	for i, s := range rec.wait(t, "process orders", 3) {
		took := s.EndTime().Sub(s.StartTime())
		if least := time.Duration(i) * 20 * time.Millisecond; took < least || took > least+15*time.Second {
			t.Errorf("message %d took %v; want %v", i, took, least)
		}
		if number(t, s, messaging.AttrKafkaOffset) != int64(i) {
			t.Errorf("span %d is of offset %d", i, number(t, s, messaging.AttrKafkaOffset))
		}
		absent(t, s, messaging.AttrConsumeEstimated)
	}
}

func TestTheEndOfProcessingIsEstimatedAtTheNextMessage(t *testing.T) {
	c, rec := broker(t, 1), record()
	in := New(configOf(nil), WithTracerProvider(rec))
	send(t, newSync(t, c, in), "a", "b")
	pc := newPartition(t, c, in, 0)
	first := receiveOne(t, pc)
	rec.wait(t, "poll orders", 1)
	if n := len(rec.named("process orders")); n != 0 {
		t.Errorf("%d process spans", n)
	}
	receiveOne(t, pc)
	s := rec.wait(t, "process orders", 1)[0]
	if v, ok := attr(s, messaging.AttrConsumeEstimated); !ok || !v.AsBool() || number(t, s, messaging.AttrKafkaOffset) != 0 {
		t.Errorf("attributes %v", s.Attributes())
	}
	// The program begins to tell the ends itself: one delivery, one process span.
	if err := in.Process(within(t), first, func(ctx context.Context, _ *sarama.ConsumerMessage) error {
		if got := trace.SpanContextFromContext(ctx); !got.Equal(s.SpanContext()) {
			t.Errorf("context carries %v; want %v", got, s.SpanContext())
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	rec.wait(t, "process orders", 1)
	if err := pc.Close(); err != nil {
		t.Fatal(err)
	}
	rec.wait(t, "process orders", 2)
}

func TestProcessingAgainMakesAnotherSpanWithoutTimes(t *testing.T) {
	c, rec := broker(t, 1), record()
	in := New(configOf(nil), WithTracerProvider(rec))
	send(t, newSync(t, c, in), "a")
	msg := receiveOne(t, newPartition(t, c, in, 0))
	for i, fails := range []error{nil, errors.New("no")} {
		if err := in.Process(within(t), msg, func(context.Context, *sarama.ConsumerMessage) error { return fails }); !errors.Is(err, fails) {
			t.Fatal(i, err)
		}
	}
	spans := rec.wait(t, "process orders", 2)
	number(t, spans[0], messaging.AttrConsumeAsked)
	absent(t, spans[1], messaging.AttrConsumeAsked, messaging.AttrConsumeHanded)
	if len(spans[1].Links()) == 0 || text(t, spans[1], messaging.AttrErrorType) != "_OTHER" {
		t.Errorf("links %v, %v", spans[1].Links(), spans[1].Attributes())
	}
}

func TestPanicsOfTheProgramGoOn(t *testing.T) {
	c, rec := broker(t, 1), record()
	in := New(configOf(nil), WithTracerProvider(rec))
	send(t, newSync(t, c, in), "a")
	msg := receiveOne(t, newPartition(t, c, in, 0))
	func() {
		defer func() {
			if p := recover(); p != "mine" {
				t.Errorf("recovered %v", p)
			}
		}()
		_ = in.Process(within(t), msg, func(context.Context, *sarama.ConsumerMessage) error { panic("mine") })
	}()
	if got := text(t, rec.wait(t, "process orders", 1)[0], messaging.AttrErrorType); got != "panic" {
		t.Errorf("error.type %q", got)
	}
}

func TestABatchHasOneSpanThatLinksToEach(t *testing.T) {
	c, rec := broker(t, 1), record()
	in := New(configOf(nil), WithTracerProvider(rec), WithExplicitProcessing())
	send(t, newSync(t, c, in), "a", "b", "c")
	pc := newPartition(t, c, in, 0)
	msgs := []*sarama.ConsumerMessage{receiveOne(t, pc), receiveOne(t, pc), receiveOne(t, pc)}
	if err := in.ProcessBatch(within(t), msgs, func(context.Context, []*sarama.ConsumerMessage) error { return nil }); err != nil {
		t.Fatal(err)
	}
	s := rec.wait(t, "process orders", 1)[0]
	if len(s.Links()) != 3 || number(t, s, messaging.AttrBatchMessageCount) != 3 {
		t.Errorf("%d links, %v", len(s.Links()), s.Attributes())
	}
}

func TestTheParentIsTheProducerWhenAskedFor(t *testing.T) {
	c, rec := broker(t, 1), record()
	in := New(configOf(nil), WithTracerProvider(rec), WithParent(), WithoutReceiveSpans())
	send(t, newSync(t, c, in), "a")
	if err := in.Process(within(t), receiveOne(t, newPartition(t, c, in, 0)), nothing); err != nil {
		t.Fatal(err)
	}
	sent, process := rec.wait(t, "send orders", 1)[0], rec.wait(t, "process orders", 1)[0]
	if process.Parent().SpanID() != sent.SpanContext().SpanID() || len(process.Links()) != 1 || len(rec.named("poll orders")) != 0 {
		t.Errorf("parent %v, links %v", process.Parent(), process.Links())
	}
}

func TestAClosedConsumerLetsGoOfWhatNobodyReads(t *testing.T) {
	c, rec := broker(t, 1), record()
	in := New(configOf(nil), WithTracerProvider(rec))
	send(t, newSync(t, c, in), "a", "b", "c")
	consumer, err := in.NewConsumer(c.ListenAddrs())
	if err != nil {
		t.Fatal(err)
	}
	for _, read := range []int{0, 1} {
		pc, err := consumer.ConsumePartition("orders", 0, sarama.OffsetOldest)
		if err != nil {
			t.Fatal(err)
		}
		for range read {
			receiveOne(t, pc)
		}
		if err := pc.Close(); err != nil {
			t.Fatal(err)
		}
		if _, more := <-pc.Messages(); more {
			t.Error("a message after Close")
		}
	}
	pc, err := consumer.ConsumePartition("orders", 0, sarama.OffsetOldest)
	if err != nil {
		t.Fatal(err)
	}
	receiveOne(t, pc)
	pc.AsyncClose()
	for range pc.Messages() {
	}
	if err := consumer.Close(); err != nil {
		t.Fatal(err)
	}
	if n, polled := len(rec.named("process orders")), len(rec.named("poll orders")); n != polled {
		t.Errorf("%d process spans, %d receive spans", n, polled)
	}
}

func TestALagIsNotToldOfWhatIsNotReadAnyMore(t *testing.T) {
	c := broker(t, 1)
	in := New(configOf(nil), WithTracerProvider(record()))
	send(t, newSync(t, c, in), "a", "b", "c")
	consumer, err := in.NewConsumer(c.ListenAddrs())
	if err != nil {
		t.Fatal(err)
	}
	defer consumer.Close()
	pc, err := consumer.ConsumePartition("orders", 0, sarama.OffsetOldest)
	if err != nil {
		t.Fatal(err)
	}
	part := in.consumer("").Partition("orders", 0)
	receiveOne(t, pc)
	eventually(t, "a lag", func() bool { _, ok := part.Lag(); return ok })
	if err := pc.Close(); err != nil {
		t.Fatal(err)
	}
	if n, ok := part.Lag(); ok {
		t.Errorf("a lag of %d though the partition is not read", n)
	}
}

func TestAMessageSentOnKeepsItsLineage(t *testing.T) {
	c, rec := broker(t, 1), record()
	in := New(configOf(nil), WithTracerProvider(rec))
	p := newSync(t, c, in)
	send(t, p, "a")
	pc := newPartition(t, c, in, 0)
	if err := in.Process(within(t), receiveOne(t, pc), func(ctx context.Context, msg *sarama.ConsumerMessage) error {
		_, _, err := p.SendMessageContext(ctx, DeadLetter(ctx, msg, "orders", errors.New("no")))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	process := rec.wait(t, "process orders", 1)[0]
	if sent := rec.wait(t, "send orders", 2)[1]; sent.Parent().SpanID() != process.SpanContext().SpanID() {
		t.Errorf("parent %v; want the process span", sent.Parent())
	}
	again := receiveOne(t, pc)
	if err := in.Process(within(t), again, nothing); err != nil {
		t.Fatal(err)
	}
	s := rec.wait(t, "process orders", 2)[1]
	if Attempt(again) != 2 || number(t, s, messaging.AttrRetryAttempt) != 1 || number(t, s, messaging.AttrRetryOffset) != 0 || string(again.Value) != "a" {
		t.Errorf("attempt %d, %v", Attempt(again), s.Attributes())
	}
	reason := ""
	for _, h := range again.Headers {
		if string(h.Key) == HeaderError {
			reason = string(h.Value)
		}
	}
	if reason != "_OTHER: no" {
		t.Errorf("reason %q", reason)
	}
}

// handler is a program's handler.
type handler struct {
	in      *Instrumentation
	seen    chan string
	process bool
	mark    bool
}

func (*handler) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (*handler) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (h *handler) ConsumeClaim(s sarama.ConsumerGroupSession, c sarama.ConsumerGroupClaim) error {
	for msg := range c.Messages() {
		if h.process {
			if err := h.in.Process(s.Context(), msg, func(ctx context.Context, _ *sarama.ConsumerMessage) error {
				if r, ok := messaging.RecordFromContext(ctx); !ok || r.Group() != "billing" || r.MemberID() != s.MemberID() {
					return fmt.Errorf("record in context: %v, %v", r, ok)
				}
				return nil
			}); err != nil {
				return err
			}
		}
		if h.mark {
			s.MarkMessage(msg, "")
		}
		h.seen <- fmt.Sprintf("%d@%d", msg.Partition, msg.Offset)
	}
	return nil
}

// join makes a member of the group "billing" that consumes until stop is called.
func join(t testing.TB, c *kfake.Cluster, in *Instrumentation, h *handler) (stop func()) {
	t.Helper()
	g, err := in.NewConsumerGroup(c.ListenAddrs(), "billing")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			if err := g.Consume(ctx, []string{"orders"}, h); err != nil {
				if !errors.Is(err, sarama.ErrClosedConsumerGroup) {
					t.Errorf("consume: %v", err)
				}
				return
			}
		}
	}()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		<-done
		if err := g.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

func take(t testing.TB, seen <-chan string, all map[string]int, n int) {
	t.Helper()
	deadline := time.After(patience)
	for len(all) < n {
		select {
		case k := <-seen:
			all[k]++
		case <-deadline:
			t.Fatalf("%d messages; want %d", len(all), n)
		}
	}
}

func TestAGroupsMessagesAreProcessedAndItsCommitsSettled(t *testing.T) {
	c, rec := broker(t, 1), record()
	in := New(configOf(nil), WithTracerProvider(rec))
	send(t, newSync(t, c, in), "a", "b")
	h := &handler{in: in, seen: make(chan string, 10), process: true, mark: true}
	stop := join(t, c, in, h)
	take(t, h.seen, map[string]int{}, 2)
	eventually(t, "a commit", func() bool { return len(rec.named("commit orders")) > 0 })
	stop()
	for _, s := range rec.wait(t, "process orders", 2) {
		if text(t, s, messaging.AttrConsumerGroup) != "billing" {
			t.Errorf("attributes %v", s.Attributes())
		}
		absent(t, s, messaging.AttrConsumeEstimated, messaging.AttrErrorType)
		number(t, s, messaging.AttrConsumeAsked)
	}
	commits := rec.named("commit orders")
	s := commits[len(commits)-1]
	if number(t, s, messaging.AttrKafkaOffset) != 1 || text(t, s, messaging.AttrPartitionID) != "0" || text(t, s, messaging.AttrConsumerGroup) != "billing" || s.SpanKind() != trace.SpanKindClient {
		t.Errorf("attributes %v", s.Attributes())
	}
	if got := in.Counts(); got != (Counts{}) {
		t.Errorf("left undone: %+v", got)
	}
}

func TestAMarkIsTheEndOfProcessingThatNobodyTold(t *testing.T) {
	c, rec := broker(t, 1), record()
	in := New(configOf(nil), WithTracerProvider(rec))
	send(t, newSync(t, c, in), "a")
	h := &handler{in: in, seen: make(chan string, 10), mark: true}
	join(t, c, in, h)
	take(t, h.seen, map[string]int{}, 1)
	s := rec.wait(t, "process orders", 1)[0]
	if v, ok := attr(s, messaging.AttrConsumeEstimated); !ok || !v.AsBool() {
		t.Errorf("attributes %v", s.Attributes())
	}
}

func TestTwoMembersShareAGroupThroughARebalance(t *testing.T) {
	c, rec := broker(t, 4), record()
	producing := New(configOf(func(c *sarama.Config) { c.Producer.Partitioner = sarama.NewRoundRobinPartitioner }), WithTracerProvider(record()))
	p := newSync(t, c, producing)
	const n = 200
	values := make([]string, n/2)
	seen := make(chan string, 10*n)
	var ins []*Instrumentation
	member := func() (*handler, func()) {
		in := New(configOf(nil), WithTracerProvider(rec))
		ins = append(ins, in)
		h := &handler{in: in, seen: seen, process: true, mark: true}
		return h, join(t, c, in, h)
	}
	_, stopFirst := member()
	send(t, p, values...)
	all := make(map[string]int)
	take(t, seen, all, n/2)
	second, stopSecond := member()
	eventually(t, "the second member has joined", func() bool {
		second.in.mu.Lock()
		defer second.in.mu.Unlock()
		return len(second.in.members) > 0
	})
	send(t, p, values...)
	take(t, seen, all, n)
	stopFirst()
	stopSecond()
	for i, in := range ins {
		if got := in.Counts(); got != (Counts{}) {
			t.Errorf("member %d left undone: %+v", i, got)
		}
	}
	for _, s := range rec.named("process orders") {
		asked, answered := number(t, s, messaging.AttrConsumeAsked), number(t, s, messaging.AttrConsumeAnswered)
		if handed := number(t, s, messaging.AttrConsumeHanded); asked > answered || answered > handed {
			t.Fatalf("asked %d, answered %d, handed %d", asked, answered, handed)
		}
	}
	if got, want := len(rec.named("process orders")), len(rec.named("poll orders")); got != want {
		t.Errorf("%d process spans, %d receive spans", got, want)
	}
}
