package otelkafkago

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

func billing(cfg *kafka.ReaderConfig) {
	cfg.GroupID, cfg.StartOffset = "billing", kafka.FirstOffset
	cfg.HeartbeatInterval = 50 * time.Millisecond
}

func done(context.Context, kafka.Message) error { return nil }

func TestACommitIsASpanThatBelongsToTheProcessing(t *testing.T) {
	rec, m := record(), newMeters(t)
	c := broker(t, 1)
	write(t, newWriter(t, c, nil, WithTracerProvider(rec)), "a", "b", "c")
	r := newReader(t, c, billing, WithTracerProvider(rec), WithMeterProvider(m))
	first := fetchOne(t, r)
	if err := r.Process(within(t), first, done); err != nil {
		t.Fatal(err)
	}
	if err := r.CommitMessages(within(t), first); err != nil {
		t.Fatal(err)
	}
	s := rec.wait(t, "commit orders", 1)[0]
	process := rec.wait(t, "process orders", 1)[0]
	if s.SpanKind() != trace.SpanKindClient || s.Parent().SpanID() != process.SpanContext().SpanID() || len(s.Links()) != 0 {
		t.Errorf("kind %v, parent %v, links %v; want client, child of process, no link", s.SpanKind(), s.Parent().SpanID(), s.Links())
	}
	for key, want := range map[string]string{
		messaging.AttrOperationName: "commit", messaging.AttrOperationType: "settle", messaging.AttrConsumerGroup: "billing",
		messaging.AttrDestinationName: "orders", messaging.AttrPartitionID: "0",
	} {
		if got := text(t, s, key); got != want {
			t.Errorf("%s = %q; want %q", key, got, want)
		}
	}
	if got := number(t, s, messaging.AttrKafkaOffset); got != 0 {
		t.Errorf("offset = %d; want that of the record, 0", got)
	}
	// Two at once, one of them not processed explicitly: it links to both, within
	// the caller's own span.
	second, third := fetchOne(t, r), fetchOne(t, r)
	if err := r.Process(within(t), second, done); err != nil {
		t.Fatal(err)
	}
	ctx, request := contextIn(t, rec)
	if err := r.CommitMessages(ctx, second, third); err != nil {
		t.Fatal(err)
	}
	request.End()
	s = rec.wait(t, "commit orders", 2)[1]
	all := rec.wait(t, "process orders", 3)
	if s.Parent().SpanID() != request.SpanContext().SpanID() || len(s.Links()) != 2 {
		t.Fatalf("parent %v, links %v; want the request and two", s.Parent().SpanID(), s.Links())
	}
	for i, l := range s.Links() {
		if l.SpanContext.SpanID() != all[i+1].SpanContext().SpanID() {
			t.Errorf("link %d is to %v; want the process span %v", i, l.SpanContext.SpanID(), all[i+1].SpanContext().SpanID())
		}
	}
	if got := number(t, s, messaging.AttrBatchMessageCount); got != 2 {
		t.Errorf("count = %d; want 2", got)
	}
	m.want(t, 2, messaging.MetricSettle)
	m.want(t, 3, messaging.MetricProcessDuration)
	m.want(t, 3, messaging.MetricConsumedMessages, attribute.String(messaging.AttrConsumerGroup, "billing"))
	if len(rec.named("commit orders")) != 2 {
		t.Errorf("%d commit spans; want one for each call", len(rec.named("commit orders")))
	}
}

func TestAReaderOfElsewhereIsInstrumentedAsFarAsItIsSeen(t *testing.T) {
	rec := record()
	c := broker(t, 1)
	write(t, newWriter(t, c, nil, WithTracerProvider(rec)), "a")
	cfg := kafka.ReaderConfig{Brokers: c.ListenAddrs(), Topic: "orders", MaxWait: 200 * time.Millisecond}
	billing(&cfg)
	r := WrapReader(kafka.NewReader(cfg), WithTracerProvider(rec))
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	m := fetchOne(t, r)
	if err := r.Process(within(t), m, done); err != nil {
		t.Fatal(err)
	}
	if err := r.CommitMessages(within(t), m); err != nil {
		t.Fatal(err)
	}
	s := rec.wait(t, "process orders", 1)[0]
	number(t, s, messaging.AttrConsumeHanded)
	absent(t, s, messaging.AttrConsumeAsked, messaging.AttrConsumeAnswered, messaging.AttrServerAddress)
	if got := text(t, rec.wait(t, "commit orders", 1)[0], messaging.AttrConsumerGroup); got != "billing" {
		t.Errorf("group = %q", got)
	}
	if lag, ok := r.LagByPartition()[TopicPartition{"orders", 0}]; !ok || lag != 0 {
		t.Errorf("lag = %d, %v; want 0, by the watermark that came with the record", lag, ok)
	}
	if got := r.Counts().UnknownFetches; got != 1 {
		t.Errorf("%d unknown fetches; want 1", got)
	}
}

func TestAFailedCommitNamesTheErrorOfTheProtocol(t *testing.T) {
	rec := record()
	c := broker(t, 1)
	c.ControlKey(int16(kmsg.OffsetCommit), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		res := req.ResponseKind().(*kmsg.OffsetCommitResponse)
		for _, topic := range req.(*kmsg.OffsetCommitRequest).Topics {
			out := kmsg.NewOffsetCommitResponseTopic()
			out.Topic = topic.Topic
			for _, p := range topic.Partitions {
				part := kmsg.NewOffsetCommitResponseTopicPartition()
				part.Partition, part.ErrorCode = p.Partition, kerr.GroupAuthorizationFailed.Code
				out.Partitions = append(out.Partitions, part)
			}
			res.Topics = append(res.Topics, out)
		}
		return res, nil, true
	})
	write(t, newWriter(t, c, nil, WithTracerProvider(rec)), "a")
	r := newReader(t, c, billing, WithTracerProvider(rec))
	err := r.CommitMessages(within(t), fetchOne(t, r))
	if !errors.Is(err, kafka.GroupAuthorizationFailed) {
		t.Fatalf("error = %v", err)
	}
	s := rec.wait(t, "commit orders", 1)[0]
	if got := text(t, s, messaging.AttrErrorType); got != "GROUP_AUTHORIZATION_FAILED" || s.Status().Code != codes.Error {
		t.Errorf("error.type %q, status %v", got, s.Status())
	}
	// kafka-go tried three times, with pauses: the span tells all of it.
	if d := s.EndTime().Sub(s.StartTime()); d < 100*time.Millisecond {
		t.Errorf("it took %v; want the tries of kafka-go together", d)
	}
}

func TestCommitsThatHappenByThemselvesAreSpansToo(t *testing.T) {
	f := func(name string, change func(*kafka.ReaderConfig), read func(*Reader) kafka.Message) {
		t.Helper()
		rec, m := record(), newMeters(t)
		c := broker(t, 1)
		write(t, newWriter(t, c, nil, WithTracerProvider(rec)), "a", "b")
		r := newReader(t, c, func(cfg *kafka.ReaderConfig) { billing(cfg); change(cfg) }, WithTracerProvider(rec), WithMeterProvider(m))
		msg := read(r)
		s := rec.wait(t, "commit orders", 1)[0]
		if got := number(t, s, messaging.AttrKafkaOffset); got != msg.Offset || s.SpanKind() != trace.SpanKindClient {
			t.Errorf("%s: offset %d, kind %v; want %d, client", name, got, s.SpanKind(), msg.Offset)
		}
		if d := s.EndTime().Sub(s.StartTime()); d <= 0 || d > patience {
			t.Errorf("%s: it took %v; want the round trip", name, d)
		}
		eventually(t, "a measure of the commit", func() bool {
			got, _ := m.of(t, messaging.MetricSettle)
			return got.count == 1
		})
	}
	f("an interval", func(cfg *kafka.ReaderConfig) { cfg.CommitInterval = 20 * time.Millisecond }, func(r *Reader) kafka.Message {
		msg := fetchOne(t, r)
		if err := r.Process(within(t), msg, done); err != nil {
			t.Fatal(err)
		}
		if err := r.CommitMessages(within(t), msg); err != nil {
			t.Fatal(err)
		}
		return msg
	})
	f("ReadMessage", func(*kafka.ReaderConfig) {}, func(r *Reader) kafka.Message {
		msg, err := r.ReadMessage(within(t))
		if err != nil {
			t.Fatal(err)
		}
		return msg
	})
}

func TestALaterDeliveryOfACommittedRecordIsStale(t *testing.T) {
	m := newMeters(t)
	r := newReaderHooks(kafka.ReaderConfig{GroupID: "billing", Topic: "orders"}, newConfig([]Option{WithTracerProvider(record()), WithMeterProvider(m)}))
	deliver := func(offset int64) {
		r.handOver(context.Background(), now(), now(), &kafka.Message{Topic: "orders", Offset: offset})
	}
	deliver(0)
	deliver(1)
	r.committed(&commit{asked: 1, answered: 2, offsets: []committedOffset{{topicPartition{"orders", 0}, 2, 0}}})
	r.rebalanced(&rebalance{cause: causeMembership, began: 1, ended: 5, assigned: []topicPartition{{"orders", 0}}})
	deliver(1) // kafka-go hands out what it had queued before: segmentio/kafka-go#1398
	deliver(2)
	deliver(5)
	m.want(t, 1, messaging.MetricStale)
	m.want(t, 1, messaging.MetricGaps)
	m.want(t, 2, messaging.MetricGapRecords)
	m.want(t, 0, messaging.MetricDuplicates)
	m.want(t, 1, messaging.MetricRebalances, attribute.String("hoptrace.rebalance.cause", causeMembership))
}

func TestAGroupsRebalancesAreCountedByCause(t *testing.T) {
	m := newMeters(t)
	c := broker(t, 2)
	opts := []Option{WithTracerProvider(record()), WithMeterProvider(m)}
	write(t, newWriter(t, c, func(w *kafka.Writer) { w.Balancer = &kafka.RoundRobin{} }, opts...), "a", "b", "c", "d")
	r := newReader(t, c, billing, opts...)
	ctx, cancel := context.WithCancel(within(t))
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		for {
			msg, err := r.FetchMessage(ctx)
			if err != nil {
				return
			}
			_ = r.CommitMessages(ctx, msg)
		}
	}()
	eventually(t, "the lag of both partitions", func() bool {
		lag := r.LagByPartition()
		return len(lag) == 2 && lag[TopicPartition{"orders", 0}] == 0 && lag[TopicPartition{"orders", 1}] == 0
	})
	if r.group.memberID() == "" {
		t.Error("the member's id is not known")
	}
	m.want(t, 1, messaging.MetricRebalances, attribute.String("hoptrace.rebalance.cause", causeStart))
	other := newReader(t, c, billing, opts...) // takes one partition away
	eventually(t, "a rebalance because another member came", func() bool {
		got, _ := m.of(t, messaging.MetricRebalances, attribute.String("hoptrace.rebalance.cause", causeMembership))
		return got.count >= 1
	})
	eventually(t, "one partition each", func() bool { return len(r.LagByPartition()) == 1 })
	cancel()
	<-gone
	_ = other
	if got := r.Counts(); got != (ReaderCounts{}) {
		t.Errorf("counts = %+v; want none", got)
	}
}

func TestClosingWhileAFetchWaitsEndsIt(t *testing.T) {
	rec := record()
	c := broker(t, 1)
	write(t, newWriter(t, c, nil, WithTracerProvider(rec)), "a")
	for _, change := range []func(*kafka.ReaderConfig){func(*kafka.ReaderConfig) {}, billing} {
		r := newReader(t, c, change, WithTracerProvider(rec))
		fetchOne(t, r)
		failed := make(chan error, 1)
		go func() {
			_, err := r.FetchMessage(within(t))
			failed <- err
		}()
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-failed; !errors.Is(err, io.EOF) {
			t.Errorf("error = %v; want io.EOF", err)
		}
	}
	if n := len(rec.Started()) - len(rec.Ended()); n != 0 {
		t.Errorf("%d spans are still open", n)
	}
}

func TestSettingTheOffsetEndsWhatIsPendingAndIsNoFault(t *testing.T) {
	rec, m := record(), newMeters(t)
	c := broker(t, 1)
	write(t, newWriter(t, c, nil, WithTracerProvider(rec)), "a", "b", "c", "d")
	r := newReader(t, c, nil, WithTracerProvider(rec), WithMeterProvider(m))
	first := fetchOne(t, r)
	if err := r.SetOffset(3); err != nil {
		t.Fatal(err)
	}
	if s := rec.wait(t, "process orders", 1)[0]; number(t, s, messaging.AttrKafkaOffset) != 0 {
		t.Errorf("ended %v; want the first record", s.Attributes())
	}
	if got := fetchOne(t, r); got.Offset != 3 {
		t.Fatalf("offset = %d; want 3", got.Offset)
	}
	if lag, ok := r.LagByPartition()[TopicPartition{"orders", 0}]; !ok || lag != 0 {
		t.Errorf("lag = %d, %v; want 0", lag, ok)
	}
	if err := r.SetOffsetAt(within(t), first.Time.Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	if got := fetchOne(t, r); got.Offset != 0 {
		t.Fatalf("offset = %d; want 0", got.Offset)
	}
	if lag := r.LagByPartition()[TopicPartition{"orders", 0}]; lag != 3 {
		t.Errorf("lag = %d; want 3", lag)
	}
	for _, name := range []string{messaging.MetricStale, messaging.MetricDuplicates, messaging.MetricGaps, messaging.MetricOutOfOrder} {
		m.want(t, 0, name)
	}
	rec.wait(t, "process orders", 2)
}
