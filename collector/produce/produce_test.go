package produce

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/hoptrace/hoptrace/internal/embeddedkafka"
	"github.com/hoptrace/hoptrace/internal/kafka"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/schemas/topics"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// broker runs an embedded broker with our topics and gives clients of it.
func broker(t *testing.T) (*kafka.Producer, func(topic string, n int) []*kgo.Record, *embeddedkafka.Broker) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	cfg := embeddedkafka.DefaultConfig()
	cfg.Dir, cfg.Listen = t.TempDir(), "127.0.0.1:0"
	b, err := embeddedkafka.New(cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	background := context.Background()
	t.Cleanup(func() {
		if err := b.Shutdown(background); err != nil {
			t.Error(err)
		}
	})
	client := kafka.DefaultConfig()
	client.Brokers = []string{b.Addr()}
	p, err := kafka.NewProducer(client, kafka.DefaultProducerConfig(), log, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Client().Close)
	if err := kafka.NewAdmin(p.Client(), log).EnsureTopics(t.Context(), topics.All()); err != nil {
		t.Fatal(err)
	}
	consume := func(topic string, n int) []*kgo.Record {
		t.Helper()
		cl, err := kafka.NewClient(client, log, nil, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		var out []*kgo.Record
		for len(out) < n {
			fetches := cl.PollFetches(ctx)
			if err := fetches.Err(); err != nil {
				t.Fatalf("read %d of %d records: %v", len(out), n, err)
			}
			out = append(out, fetches.Records()...)
		}
		return out
	}
	return p, consume, b
}

func TestWhatWasAcknowledgedIsInTheTopic(t *testing.T) {
	k, consume, _ := broker(t)
	var seen []error
	p := New(FromKafka(k), 10*time.Second, func(_ time.Duration, err error) { seen = append(seen, err) })
	if err := p.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	received := time.Unix(1795435200, 123)
	gone, cancel := context.WithCancel(t.Context())
	cancel() // the sender went away; its data stays
	records := []*kgo.Record{
		Spans(7, received, []byte("one"), 3, false),
		Spans(7, received, []byte("two"), 4, true),
	}
	if err := p.Produce(gone, records...); err != nil {
		t.Fatal(err)
	}
	id := schemas.EventID{1, 2, 3}
	if err := p.Produce(t.Context(), Record(Meta{
		Topic: topics.IngestEvents, Schema: schemas.SchemaIngestEvents, Project: 8, Received: received, SentAt: received.Add(-time.Second), EventID: id, Category: schemas.CategoryError,
	}, []byte("{}"))); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]error{nil, nil}, seen); d != "" {
		t.Error(d)
	}
	got := map[string]map[string]string{}
	for _, r := range append(consume(schemas.TopicIngestSpans, 2), consume(schemas.TopicIngestEvents, 1)...) {
		h := map[string]string{}
		for _, x := range r.Headers {
			h[x.Key] = string(x.Value)
		}
		got[r.Topic+" "+string(r.Value)] = h
		if len(r.Key) == 0 {
			t.Errorf("record %q has no key", r.Value)
		}
	}
	ns := strconv.FormatInt(received.UnixNano(), 10)
	want := map[string]map[string]string{
		"ingest-spans one": {"project": "7", "received": ns, "schema": "otlp-traces/1", "category": "span", "count": "3"},
		"ingest-spans two": {"project": "7", "received": ns, "schema": "otlp-traces/1", "category": "span", "count": "4", "truncated": "1"},
		"ingest-events {}": {"project": "8", "received": ns, "schema": "ingest-events/2", "category": "error", "sent-at": strconv.FormatInt(received.Add(-time.Second).UnixNano(), 10), "event-id": "01020300000000000000000000000000"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("records (-want +got):\n%s", d)
	}
}

func TestOneProjectsSpansGoToEveryPartition(t *testing.T) {
	k, consume, _ := broker(t)
	p := New(FromKafka(k), 10*time.Second, nil)
	const n = 64
	for range n {
		if err := p.Produce(t.Context(), Spans(1, time.Now(), []byte("x"), 1, false)); err != nil {
			t.Fatal(err)
		}
	}
	topic, err := topics.Get(schemas.TopicIngestSpans)
	if err != nil {
		t.Fatal(err)
	}
	used := map[int32]int{}
	for _, r := range consume(schemas.TopicIngestSpans, n) {
		used[r.Partition]++
	}
	if len(used) != int(topic.Partitions) {
		t.Errorf("%d records went to %v; want all %d partitions", n, used, topic.Partitions)
	}
}

func TestARecordThatTheTopicRefusesIsTooLarge(t *testing.T) {
	k, _, _ := broker(t)
	p := New(FromKafka(k), 10*time.Second, nil)
	big := make([]byte, 8<<20)
	for i := range big { // nothing that lz4 could press together
		big[i] = byte(i * i >> 7 * i)
	}
	if err := p.Produce(t.Context(), Spans(1, time.Now(), big, 1, false)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v; want ErrTooLarge", err)
	}
}

func TestABrokerThatIsGoneIsUnavailableAfterTheTimeout(t *testing.T) {
	k, _, b := broker(t)
	if err := b.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	var seen error
	p := New(FromKafka(k), 300*time.Millisecond, func(_ time.Duration, err error) { seen = err })
	begin := time.Now()
	err := p.Produce(t.Context(), Spans(1, time.Now(), []byte("x"), 1, false))
	if !errors.Is(err, ErrUnavailable) || !errors.Is(seen, ErrUnavailable) {
		t.Errorf("got %v, observed %v; want ErrUnavailable", err, seen)
	}
	if d := time.Since(begin); d > 5*time.Second {
		t.Errorf("it took %v; want about 300 ms", d)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := p.Ping(ctx); err == nil {
		t.Error("a broker that is gone answers")
	}
}

func TestABrokerThatDiesBetweenTwoRequestsHangsNobody(t *testing.T) {
	client, _, down := broker(t)
	const patience = 2 * time.Second
	p := New(FromKafka(client), patience, nil)
	record := func() *kgo.Record { return Spans(1, time.Now(), []byte("x"), 1, false) }
	if err := p.Produce(t.Context(), record()); err != nil {
		t.Fatal(err)
	}
	if err := down.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	answers := make(chan error, 3)
	for range cap(answers) { // one is tried, the others wait behind it
		go func() { answers <- p.Produce(t.Context(), record()) }()
	}
	for range cap(answers) {
		select {
		case err := <-answers:
			if !errors.Is(err, ErrUnavailable) {
				t.Errorf("Produce without a broker = %v; want ErrUnavailable", err)
			}
		case <-time.After(patience + 20*time.Second):
			t.Fatalf("Produce still waits after %s; it was to give up after %s", time.Since(begin), patience)
		}
	}
	if records, bytes := client.Buffered(); records != 0 || bytes != 0 {
		t.Errorf("%d records of %d bytes are held for nobody", records, bytes)
	}
	closing, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := client.Close(closing); err != nil {
		t.Errorf("Close = %v", err)
	}
}
