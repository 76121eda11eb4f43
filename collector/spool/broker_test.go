package spool

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hoptrace/hoptrace/collector/produce"
	"github.com/hoptrace/hoptrace/internal/embeddedkafka"
	"github.com/hoptrace/hoptrace/internal/kafka"
)

// TestWhatIsOlderThanADeliveryMayTakeIsHandedOn starts a real broker later than the
// Kafka client tries a record: it counts from the record's time.
func TestWhatIsOlderThanADeliveryMayTakeIsHandedOn(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	pc := kafka.DefaultProducerConfig()
	pc.DeliveryTimeout = time.Second
	cfg := kafka.Config{Brokers: []string{address}, ClientID: "test"}
	producer, err := kafka.NewProducer(cfg, pc, quiet, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = producer.Close(context.Background()) })
	q := open(t, t.TempDir())
	c, err := NewClient(ClientConfig{Direct: 100 * time.Millisecond}, produce.FromKafka(producer), q, prometheus.NewRegistry(), quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.ProduceSync(t.Context(), record("late")); err != nil {
		t.Fatal(err)
	}
	time.Sleep(pc.DeliveryTimeout + 500*time.Millisecond) // the record grows old
	bc := embeddedkafka.DefaultConfig()
	bc.Dir, bc.Listen = t.TempDir(), address
	b, err := embeddedkafka.New(bc, quiet)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Shutdown(context.Background()) })
	reader, err := kafka.NewClient(cfg, quiet, nil, kgo.ConsumeTopics("ingest-events"))
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	if _, err := kadm.NewClient(reader).CreateTopic(t.Context(), 1, 1, nil, "ingest-events"); err != nil {
		t.Fatal(err)
	}
	until(t, "the spool is empty", func() bool { _, n := q.Size(); return n == 0 })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if got := reader.PollFetches(ctx).Records(); len(got) != 1 || string(got[0].Value) != "late" {
		t.Errorf("Kafka has %v", got)
	}
}
