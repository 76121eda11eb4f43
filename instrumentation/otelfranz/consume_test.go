package otelfranz

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/trace"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

func TestNothingIsTracedBeforeARecordIsHandedOut(t *testing.T) {
	c, rec := broker(t, 1), record()
	h := New(WithTracerProvider(rec))
	cl := newClient(t, c, h, kgo.ConsumeTopics("orders"))
	produce(t, cl, "a", "b")
	eventually(t, "records fetched", func() bool { return cl.BufferedFetchRecords() == 2 })
	if n := len(rec.named("poll orders")); n != 0 {
		t.Errorf("%d receive spans before the poll", n)
	}
	before := time.Now().Add(-slew).UnixNano()
	got := h.PollRecords(within(t), 1)
	if len(got.Records()) != 1 {
		t.Fatalf("%d records", len(got.Records()))
	}
	poll := rec.wait(t, "poll orders", 1)[0]
	if poll.StartTime().UnixNano() < before {
		t.Error("the receive span began before the poll")
	}
	h.PollRecords(within(t), 1)
	rec.wait(t, "poll orders", 2)
}

func TestTheEndOfProcessingIsEstimatedAtTheNextPoll(t *testing.T) {
	c, rec := broker(t, 1), record()
	h := New(WithTracerProvider(rec))
	cl := newClient(t, c, h, kgo.ConsumeTopics("orders"))
	produce(t, cl, "a", "b")
	pollSome(t, h, 2)
	if n := len(rec.named("process orders")); n != 0 {
		t.Errorf("%d process spans before the next poll", n)
	}
	ctx, cancel := context.WithCancel(within(t))
	cancel()
	before := time.Now().Add(-slew).UnixNano()
	cl.PollFetches(ctx)
	for _, s := range rec.wait(t, "process orders", 2) {
		if v, ok := attr(s, messaging.AttrConsumeEstimated); !ok || !v.AsBool() {
			t.Error("not marked as estimated")
		}
		if s.EndTime().UnixNano() < before || s.StartTime().UnixNano() != number(t, s, messaging.AttrConsumeHanded) {
			t.Errorf("start %v, end %v", s.StartTime(), s.EndTime())
		}
	}
}

func TestADeliveryHasOneProcessSpan(t *testing.T) {
	c, rec := broker(t, 1), record()
	h := New(WithTracerProvider(rec))
	cl := newClient(t, c, h, kgo.ConsumeTopics("orders"))
	produce(t, cl, "a")
	r := pollSome(t, h, 1)[0]
	ctx, cancel := context.WithCancel(within(t))
	cancel()
	cl.PollFetches(ctx)
	s := rec.wait(t, "process orders", 1)[0]
	if err := h.Process(within(t), r, func(ctx context.Context, _ *kgo.Record) error {
		if got := trace.SpanContextFromContext(ctx); !got.Equal(s.SpanContext()) {
			t.Errorf("context carries %v; want %v", got, s.SpanContext())
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	rec.wait(t, "process orders", 1)
}

func TestWhatIsOpenEndsWithTheClient(t *testing.T) {
	c, rec := broker(t, 1), record()
	h := New(WithTracerProvider(rec), WithExplicitProcessing())
	cl := newClient(t, c, h, kgo.ConsumeTopics("orders"))
	produce(t, cl, "a", "b")
	rs := pollSome(t, h, 2)
	_, end := h.StartProcess(within(t), rs[0])
	cl.Close()
	rec.wait(t, "process orders", 1)
	end(errors.New("late"))
	end(nil)
	spans := rec.wait(t, "process orders", 2)
	absent(t, spans[1], messaging.AttrConsumeEstimated)
	if got := text(t, spans[1], messaging.AttrErrorType); got != "_OTHER" {
		t.Errorf("error.type %q", got)
	}
}

func TestProcessingAgainMakesAnotherSpanWithoutTimes(t *testing.T) {
	c, rec := broker(t, 1), record()
	h := New(WithTracerProvider(rec))
	cl := newClient(t, c, h, kgo.ConsumeTopics("orders"))
	produce(t, cl, "a")
	r := pollSome(t, h, 1)[0]
	for range 2 {
		if err := h.Process(within(t), r, nothing); err != nil {
			t.Fatal(err)
		}
	}
	spans := rec.wait(t, "process orders", 2)
	number(t, spans[0], messaging.AttrConsumeAsked)
	absent(t, spans[1], messaging.AttrConsumeAsked, messaging.AttrConsumeHanded)
	if len(spans[1].Links()) == 0 {
		t.Error("no link to the creation context")
	}
	copied := *r
	copied.Offset = 77
	if err := h.Process(within(t), &copied, nothing); err != nil {
		t.Fatal(err)
	}
	if s := rec.wait(t, "process orders", 3)[2]; number(t, s, messaging.AttrKafkaOffset) != 77 {
		t.Error("the Context of another record was believed")
	}
}

func TestABatchHasOneSpanThatLinksToEach(t *testing.T) {
	c, rec := broker(t, 1), record()
	h := New(WithTracerProvider(rec))
	cl := newClient(t, c, h, kgo.ConsumeTopics("orders"))
	produce(t, cl, "a", "b", "c")
	rs := pollSome(t, h, 3)
	if err := h.ProcessBatch(within(t), rs, func(_ context.Context, rs []*kgo.Record) error { return nil }); err != nil {
		t.Fatal(err)
	}
	s := rec.wait(t, "process orders", 1)[0]
	if len(s.Links()) != 3 || number(t, s, messaging.AttrBatchMessageCount) != 3 {
		t.Errorf("%d links, %v", len(s.Links()), s.Attributes())
	}
}

func TestTheParentIsTheProducerWhenAskedFor(t *testing.T) {
	c, rec := broker(t, 1), record()
	h := New(WithTracerProvider(rec), WithParent(), WithoutReceiveSpans())
	cl := newClient(t, c, h, kgo.ConsumeTopics("orders"))
	produce(t, cl, "a")
	if err := h.Process(within(t), pollSome(t, h, 1)[0], nothing); err != nil {
		t.Fatal(err)
	}
	send, process := rec.wait(t, "send orders", 1)[0], rec.wait(t, "process orders", 1)[0]
	if process.Parent().SpanID() != send.SpanContext().SpanID() || len(process.Links()) != 1 {
		t.Errorf("parent %v, links %v", process.Parent(), process.Links())
	}
	if n := len(rec.named("poll orders")); n != 0 {
		t.Errorf("%d receive spans", n)
	}
}

func TestLagIsKnownFromWhatIsPolled(t *testing.T) {
	c, rec := broker(t, 1), record()
	h := New(WithTracerProvider(rec))
	cl := newClient(t, c, h, kgo.ConsumeTopics("orders"))
	produce(t, cl, "a", "b", "c")
	eventually(t, "records fetched", func() bool { return cl.BufferedFetchRecords() == 3 })
	h.PollRecords(within(t), 1)
	part := h.client.Load().consumer.Partition("orders", 0)
	if lag, ok := part.Lag(); !ok || lag != 2 {
		t.Errorf("lag %d, %v; want 2", lag, ok)
	}
}

func TestALagIsNotToldOfWhatIsNotReadAnyMore(t *testing.T) {
	c := broker(t, 1)
	h := New(WithTracerProvider(record()))
	cl := newClient(t, c, h, kgo.ConsumeTopics("orders"))
	produce(t, cl, "a", "b", "c")
	part := h.client.Load().consumer.Partition("orders", 0)
	lags := func() bool {
		eventually(t, "records fetched", func() bool { return cl.BufferedFetchRecords() > 0 })
		h.PollRecords(within(t), 1)
		_, ok := part.Lag()
		return ok
	}
	if !lags() {
		t.Fatal("no lag is known")
	}
	h.gone(map[string][]int32{"orders": {0}})
	if n, ok := part.Lag(); ok {
		t.Errorf("a lag of %d though the partition went to another member", n)
	}
	if !lags() {
		t.Fatal("no lag is known after the partition came back")
	}
	cl.Close()
	if n, ok := part.Lag(); ok {
		t.Errorf("a lag of %d though the client is closed", n)
	}
}

func TestACommitIsASettleSpanOfItsProcessing(t *testing.T) {
	c, rec := broker(t, 1), record()
	h := New(WithTracerProvider(rec))
	cl := newClient(t, c, h, kgo.ConsumeTopics("orders"), kgo.ConsumerGroup("billing"), kgo.DisableAutoCommit())
	produce(t, cl, "a", "b")
	rs := pollSome(t, h, 2)
	for _, r := range rs {
		if err := h.Process(within(t), r, nothing); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.CommitRecords(within(t), rs[0]); err != nil {
		t.Fatal(err)
	}
	process := rec.wait(t, "process orders", 2)
	s := rec.wait(t, "commit orders", 1)[0]
	if s.SpanKind() != trace.SpanKindClient || s.Parent().SpanID() != process[0].SpanContext().SpanID() {
		t.Errorf("kind %v, parent %v", s.SpanKind(), s.Parent())
	}
	if number(t, s, messaging.AttrKafkaOffset) != 0 || text(t, s, messaging.AttrPartitionID) != "0" || text(t, s, messaging.AttrConsumerGroup) != "billing" {
		t.Errorf("attributes %v", s.Attributes())
	}
	if err := h.CommitRecords(within(t), rs...); err != nil {
		t.Fatal(err)
	}
	s = rec.wait(t, "commit orders", 2)[1]
	if len(s.Links()) != 2 || number(t, s, messaging.AttrBatchMessageCount) != 2 {
		t.Errorf("links %v, %v", s.Links(), s.Attributes())
	}
}

func TestTheClientsOwnCommitsAreSettleSpansToo(t *testing.T) {
	c, rec := broker(t, 1), record()
	h := New(WithTracerProvider(rec))
	cl := newClient(t, c, h, kgo.ConsumeTopics("orders"), kgo.ConsumerGroup("billing"), kgo.AutoCommitInterval(100*time.Millisecond))
	produce(t, cl, "a")
	pollSome(t, h, 1)
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	go func() { // polling makes what was polled before ready to commit
		for ctx.Err() == nil {
			cl.PollFetches(ctx)
		}
	}()
	eventually(t, "a commit", func() bool { return len(rec.named("commit orders")) > 0 })
	s := rec.named("commit orders")[0]
	if number(t, s, messaging.AttrKafkaOffset) != 0 || text(t, s, messaging.AttrPartitionID) != "0" {
		t.Errorf("attributes %v", s.Attributes())
	}
	cancel()
}

func TestTwoMembersShareAGroupThroughARebalance(t *testing.T) {
	c, rec := broker(t, 4), record()
	producer := newClient(t, c, New(WithTracerProvider(record())), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	const n = 400
	seen := make(chan string, 4*n)
	member := func(ctx context.Context) (*Hooks, *kgo.Client) {
		h := New(WithTracerProvider(rec))
		cl := newClient(t, c, h, kgo.ConsumeTopics("orders"), kgo.ConsumerGroup("billing"), kgo.Balancers(kgo.CooperativeStickyBalancer()),
			kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(),
			h.OnPartitionsAssigned(nil), h.OnPartitionsRevoked(func(context.Context, *kgo.Client, map[string][]int32) {}),
			h.OnPartitionsLost(func(context.Context, *kgo.Client, map[string][]int32) {}))
		go func() {
			for ctx.Err() == nil {
				fs := h.PollFetches(ctx)
				for _, r := range fs.Records() {
					_ = h.Process(ctx, r, func(context.Context, *kgo.Record) error {
						seen <- fmt.Sprintf("%d@%d", r.Partition, r.Offset)
						return nil
					})
				}
				_ = h.CommitRecords(ctx, fs.Records()...)
				cl.AllowRebalance()
			}
		}()
		return h, cl
	}
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	first, _ := member(ctx)
	all := make(map[string]int)
	more := func(want int) {
		t.Helper()
		deadline := time.After(patience)
		for len(all) < want {
			select {
			case k := <-seen:
				all[k]++
			case <-deadline:
				t.Fatalf("%d records; want %d", len(all), want)
			}
		}
	}
	send := func(n int) {
		rs := make([]*kgo.Record, n)
		for i := range rs {
			rs[i] = &kgo.Record{Value: []byte("v")}
		}
		if err := producer.ProduceSync(within(t), rs...).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	send(n / 2)
	more(n / 2)
	second, _ := member(ctx)
	eventually(t, "the second member has partitions", func() bool {
		second.fetches.mu.Lock()
		defer second.fetches.mu.Unlock()
		send(4)
		return len(second.fetches.parts) > 0
	})
	send(n / 2)
	more(n)
	cancel()
	for i, h := range []*Hooks{first, second} {
		if got := h.Counts(); got != (Counts{}) {
			t.Errorf("member %d left undone: %+v", i, got)
		}
	}
	for _, s := range rec.named("process orders") {
		asked, answered := number(t, s, messaging.AttrConsumeAsked), number(t, s, messaging.AttrConsumeAnswered)
		if handed := number(t, s, messaging.AttrConsumeHanded); asked > answered || answered > handed {
			t.Fatalf("asked %d, answered %d, handed %d", asked, answered, handed)
		}
	}
}

func TestATransactionIsSettled(t *testing.T) {
	c, rec := broker(t, 1), record()
	h := New(WithTracerProvider(rec))
	cl := newClient(t, c, h, kgo.TransactionalID("tx"))
	for i, try := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort} {
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		produce(t, cl, "a")
		ctx, span := contextIn(t, rec)
		if err := h.EndTransaction(ctx, try); err != nil {
			t.Fatal(err)
		}
		span.End()
		number(t, rec.wait(t, "send orders", i+1)[i], messaging.AttrProduceWritten)
	}
	rec.wait(t, "commit", 1)
	requests := rec.wait(t, "request", 2)
	if len(requests[1].Events()) != 1 || requests[1].Events()[0].Name != "abort" {
		t.Errorf("events %v", requests[1].Events())
	}
}

func TestASessionThatConsumesAndProducesIsSettled(t *testing.T) {
	c, rec := broker(t, 1), record()
	produce(t, newClient(t, c, New(WithTracerProvider(record()))), "a")
	h := New(WithTracerProvider(rec))
	s, err := kgo.NewGroupTransactSession(append(h.Opts(), kgo.SeedBrokers(c.ListenAddrs()...), kgo.DefaultProduceTopic("orders"),
		kgo.TransactionalID("tx"), kgo.ConsumerGroup("billing"), kgo.ConsumeTopics("orders"), kgo.FetchIsolationLevel(kgo.ReadCommitted()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	for _, try := range []kgo.TransactionEndTry{kgo.TryAbort, kgo.TryCommit} {
		if err := s.Begin(); err != nil {
			t.Fatal(err)
		}
		fs := s.PollFetches(within(t))
		if err := fs.Err(); err != nil {
			t.Fatal(err)
		}
		h.Observe(fs)
		ctx, span := contextIn(t, rec)
		if err := s.ProduceSync(ctx, &kgo.Record{Value: []byte("b")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		committed, err := h.EndSession(ctx, s, try)
		if err != nil || committed != bool(try) {
			t.Fatalf("committed %v, %v", committed, err)
		}
		span.End()
	}
	rec.wait(t, "commit", 1)
	if events := rec.wait(t, "request", 2)[0].Events(); len(events) != 1 || events[0].Name != "abort" {
		t.Errorf("events %v", events)
	}
}

func TestTimestampsOfTheBrokerAreToldFromThoseOfTheProducer(t *testing.T) {
	f := func(kind string, want bool) {
		t.Helper()
		c, rec := broker(t, 1), record()
		if want {
			c.ControlKey(0, stampAppend)
		}
		h := New(WithTracerProvider(rec))
		cl := newClient(t, c, h, kgo.ConsumeTopics("orders"), kgo.DisableFetchCRCValidation())
		produce(t, cl, "a")
		r := pollSome(t, h, 1)[0]
		d := &deliveredOf(r).delivery
		if d.LogAppend != want || d.RecordTime != r.Timestamp.UnixNano() {
			t.Errorf("%s: log append %v, time %d", kind, d.LogAppend, d.RecordTime)
		}
		s := rec.wait(t, "send orders", 1)[0]
		if v, ok := attr(s, messaging.AttrProduceAppended); ok != want || ok && v.AsInt64() != d.RecordTime {
			t.Errorf("%s: appended %v, %v; record time %d", kind, v.AsInt64(), ok, d.RecordTime)
		}
	}
	f("CreateTime", false)
	f("LogAppendTime", true)
}

func TestSeveralBrokersAreFollowed(t *testing.T) {
	c, rec := broker(t, 6, kfake.NumBrokers(3)), record()
	h := New(WithTracerProvider(rec), WithExplicitProcessing())
	cl := newClient(t, c, h, kgo.ConsumeTopics("orders"), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	const n = 300
	for range n {
		cl.Produce(context.Background(), &kgo.Record{Value: []byte("v")}, nil)
	}
	for _, r := range pollSome(t, h, n) {
		if err := h.Process(within(t), r, nothing); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range rec.wait(t, "process orders", n) {
		if asked, answered := number(t, s, messaging.AttrConsumeAsked), number(t, s, messaging.AttrConsumeAnswered); asked == 0 || answered < asked {
			t.Fatalf("asked %d, answered %d", asked, answered)
		}
	}
}
