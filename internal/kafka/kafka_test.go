package kafka

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/hoptrace/hoptrace/internal/embeddedkafka"
	"github.com/hoptrace/hoptrace/schemas/topics"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

// broker starts an embedded broker and returns how to reach it.
func broker(t testing.TB) Config {
	t.Helper()
	cfg := embeddedkafka.DefaultConfig()
	cfg.Dir, cfg.Listen = t.TempDir(), "127.0.0.1:0"
	b, err := embeddedkafka.New(cfg, quiet)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return Config{Brokers: []string{b.Addr()}, ClientID: "test"}
}

func admin(t testing.TB, cfg Config) *Admin {
	t.Helper()
	cl, err := NewClient(cfg, quiet, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return NewAdmin(cl, quiet)
}

func TestConfigNamesEveryFaultAtOnce(t *testing.T) {
	f := func(cfg Config, want ...string) {
		t.Helper()
		err := cfg.Validate()
		if len(want) == 0 {
			if err != nil {
				t.Errorf("Validate = %v; want nil", err)
			}
			return
		}
		for _, w := range want {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("Validate = %v; want %q in it", err, w)
			}
		}
	}
	f(DefaultConfig())
	f(Config{TLS: TLSConfig{CAFile: "x", CertFile: "y"}, SASL: SASLConfig{Mechanism: "gssapi"}},
		"kafka.brokers is empty", "tls has settings but is not enabled", "both cert_file and key_file", `sasl.mechanism is "gssapi"`)
	f(Config{Brokers: []string{"no-port"}, SASL: SASLConfig{Username: "u"}}, `"no-port" is not host:port`, "no mechanism")
	f(Config{Brokers: []string{"a:1"}, SASL: SASLConfig{Mechanism: "plain", Username: "u"}}, "a username and a password")

	if err := DefaultProducerConfig().Validate(); err != nil {
		t.Errorf("the producer's defaults are refused: %v", err)
	}
	err := ProducerConfig{Compression: "rar", Linger: -1}.Validate()
	for _, w := range []string{"max_message_bytes", "max_buffered_records", "linger", `"rar"`, "delivery_timeout"} {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("Validate = %v; want %q in it", err, w)
		}
	}
}

func TestMissingAuthorityFileIsNamed(t *testing.T) {
	cfg := DefaultConfig()
	cfg.TLS = TLSConfig{Enabled: true, CAFile: "/no/such/ca.pem"}
	if _, err := NewClient(cfg, quiet, nil); err == nil || !strings.Contains(err.Error(), "kafka.tls.ca_file") {
		t.Errorf("NewClient = %v; want an error that names kafka.tls.ca_file", err)
	}
}

func TestUnreachableBrokersAreNamed(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close() // nobody listens there now
	cfg := Config{Brokers: []string{addr}}
	cl, err := NewClient(cfg, quiet, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	err = WaitReady(ctx, cl, cfg.Brokers)
	if err == nil || !strings.Contains(err.Error(), addr) || !strings.Contains(err.Error(), "kafka.brokers") || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("WaitReady = %v; want a timeout that names %s and the setting", err, addr)
	}
}

func TestEnsureTopicsMakesThemOnceAndRaisesTheMessageBound(t *testing.T) {
	cfg := broker(t)
	a := admin(t, cfg)
	if err := WaitReady(t.Context(), a.cl, cfg.Brokers); err != nil {
		t.Fatal(err)
	}
	// Somebody made one by hand, with a bound that is too small.
	if _, err := a.Kadm().CreateTopic(t.Context(), 2, -1, map[string]*string{"max.message.bytes": kadm.StringPtr("1000")}, topics.IngestEvents); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := a.EnsureTopics(t.Context(), topics.All()); err != nil {
			t.Fatal(err)
		}
	}
	details, err := a.Kadm().ListTopics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range topics.All() {
		partitions := int(want.Partitions)
		if want.Name == topics.IngestEvents {
			partitions = 2 // an operator's choice stays
		}
		if got := len(details[want.Name].Partitions); got != partitions {
			t.Errorf("topic %s has %d partitions; want %d", want.Name, got, partitions)
		}
	}
	p, err := NewProducer(cfg, DefaultProducerConfig(), quiet, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(context.Background())
	if err := p.ProduceSync(t.Context(), &kgo.Record{Topic: topics.IngestEvents, Value: noise(3 << 20)}); err != nil {
		t.Errorf("a record of 3 MiB is refused: %v", err)
	}
}

// noise is bytes that do not compress.
func noise(n int) []byte {
	b := make([]byte, n)
	x := uint64(88172645463325252)
	for i := range b {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[i] = byte(x)
	}
	return b
}

func TestTopicIDTellsARecreatedTopic(t *testing.T) {
	a := admin(t, broker(t))
	if _, err := a.TopicID(t.Context(), "t"); err == nil {
		t.Error("a topic that does not exist has an id")
	}
	one := topics.Topic{Name: "t", Partitions: 1, RetentionMs: 1000, MaxMessageBytes: 1000}
	id := func() TopicID {
		t.Helper()
		if err := a.EnsureTopics(t.Context(), []topics.Topic{one}); err != nil {
			t.Fatal(err)
		}
		got, err := a.TopicID(t.Context(), "t")
		if err != nil || got == (TopicID{}) {
			t.Fatalf("TopicID = %x, %v", got, err)
		}
		return got
	}
	first := id()
	if again := id(); again != first {
		t.Errorf("id changed from %x to %x", first, again)
	}
	if _, err := a.Kadm().DeleteTopic(t.Context(), "t"); err != nil {
		t.Fatal(err)
	}
	if recreated := id(); recreated == first {
		t.Error("a recreated topic has the id of the deleted one")
	}
}

func TestProducerReportsTooLargeAndFullAndCountsOnTheWire(t *testing.T) {
	cfg := broker(t)
	a := admin(t, cfg)
	if _, err := a.Kadm().CreateTopic(t.Context(), 1, -1, nil, "t"); err != nil {
		t.Fatal(err)
	}
	reg := prometheus.NewRegistry()
	m, err := NewMetrics(reg)
	if err != nil {
		t.Fatal(err)
	}
	pc := DefaultProducerConfig()
	pc.MaxMessageBytes, pc.MaxBufferedBytes, pc.MaxBufferedRecords = 4<<10, 8<<10, 2
	pc.Linger = 50 * time.Millisecond
	p, err := NewProducer(cfg, pc, quiet, m)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.ProduceSync(t.Context(), &kgo.Record{Topic: "t", Value: noise(5 << 10)}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a record over the bound: %v; want ErrTooLarge", err)
	}
	results := make(chan error, 3)
	for range 3 {
		p.TryProduce(t.Context(), &kgo.Record{Topic: "t", Value: []byte("v")}, func(_ *kgo.Record, err error) { results <- err })
	}
	full := 0
	for range 3 {
		if err := <-results; errors.Is(err, ErrBufferFull) {
			full++
		} else if err != nil {
			t.Error(err)
		}
	}
	if full != 1 {
		t.Errorf("%d of 3 records were refused by a buffer of 2; want 1", full)
	}
	for range 2 {
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	produced := func() (n float64) {
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == "hoptrace_kafka_records_total" {
				n += f.Metric[0].GetCounter().GetValue()
			}
		}
		return n
	}
	// The client counts a batch after it tells that it is acknowledged.
	for deadline := time.Now().Add(10 * time.Second); produced() != 2; {
		if time.Now().After(deadline) {
			t.Fatalf("hoptrace_kafka_records_total = %v; want 2", produced())
		}
	}
}

func TestGroupConsumerNeedsNames(t *testing.T) {
	if _, err := NewGroupConsumer(DefaultConfig(), "", "t", quiet, nil); err == nil {
		t.Error("a consumer without a group was opened")
	}
}
