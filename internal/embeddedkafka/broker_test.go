package embeddedkafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		runChild() // does not return
	}
	goleak.VerifyTestMain(m)
}

func testConfig(dir string) Config {
	cfg := DefaultConfig()
	cfg.Dir, cfg.Listen = dir, "127.0.0.1:0"
	return cfg
}

func start(t testing.TB, cfg Config) *Broker {
	t.Helper()
	b, err := New(cfg, slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, b) })
	return b
}

func stop(t testing.TB, b *Broker) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := b.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	if w.t.Context().Err() == nil {
		w.t.Log(strings.TrimSpace(string(p)))
	}
	return len(p), nil
}

func client(t testing.TB, b *Broker, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(b.Addr()), kgo.RetryTimeout(5 * time.Second)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

func createTopic(t testing.TB, b *Broker, name string, partitions int32, configs map[string]*string) kadm.TopicID {
	t.Helper()
	resp, err := kadm.NewClient(client(t, b)).CreateTopic(t.Context(), partitions, -1, configs, name)
	if err != nil {
		t.Fatal(err)
	}
	return resp.ID
}

func produce(t testing.TB, cl *kgo.Client, topic string, values ...string) {
	t.Helper()
	for _, v := range values {
		if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: []byte(v)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

// offsets returns where the partition begins and ends.
func offsets(t testing.TB, adm *kadm.Client, topic string, partition int32) (start, end int64) {
	t.Helper()
	starts, err := adm.ListStartOffsets(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	ends, err := adm.ListEndOffsets(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	s, _ := starts.Lookup(topic, partition)
	e, _ := ends.Lookup(topic, partition)
	return s.Offset, e.Offset
}

func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !f() {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		}
	}
}

func TestConfigNamesEveryFaultAtOnce(t *testing.T) {
	err := Config{Listen: "nowhere", RetentionBytes: -2}.Validate()
	if err == nil {
		t.Fatal("a broken configuration was accepted")
	}
	for _, want := range []string{"dir", "listen", "segment_bytes", "retention_time", "retention_bytes", "cleaner_interval", "max_connections"} {
		if !strings.Contains(err.Error(), "embedded_kafka."+want) {
			t.Errorf("the error does not name %s: %v", want, err)
		}
	}
	if err := testConfig("x").Validate(); err != nil {
		t.Errorf("the defaults are refused: %v", err)
	}
}

func TestPortInUseIsAClearError(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	cfg := testConfig(t.TempDir())
	cfg.Listen = ln.Addr().String()
	b, err := New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	err = b.Start(t.Context())
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), "embedded_kafka.listen") {
		t.Fatalf("Start = %v; want EADDRINUSE that names the setting", err)
	}
	stop(t, b)
	// What failed to start holds nothing.
	cfg.Listen = "127.0.0.1:0"
	start(t, cfg)
}

func TestSecondBrokerOnADirectoryIsRefusedWithThePid(t *testing.T) {
	dir := t.TempDir()
	start(t, testConfig(dir))
	b, err := New(testConfig(dir), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	err = b.Start(t.Context())
	if err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), strconv.Itoa(os.Getpid())) {
		t.Fatalf("Start = %v; want an error with the directory and pid %d", err, os.Getpid())
	}
	stop(t, b)
}

func TestTopicIDsSurviveARestartAndDifferForARecreatedTopic(t *testing.T) {
	dir := t.TempDir()
	b := start(t, testConfig(dir))
	created := createTopic(t, b, "ids", 1, nil)
	if created == (kadm.TopicID{}) {
		t.Fatal("CreateTopics returned no topic id")
	}
	metadataID := func(b *Broker) kadm.TopicID {
		req := kmsg.NewPtrMetadataRequest()
		req.Topics = []kmsg.MetadataRequestTopic{{Topic: kmsg.StringPtr("ids")}}
		resp, err := req.RequestWith(t.Context(), client(t, b))
		if err != nil {
			t.Fatal(err)
		}
		if resp.Version < 10 {
			t.Fatalf("metadata version %d carries no topic ids", resp.Version)
		}
		return resp.Topics[0].TopicID
	}
	if got := metadataID(b); got != created {
		t.Fatalf("metadata says id %v; want %v", got, created)
	}
	stop(t, b)
	b = start(t, testConfig(dir))
	if got := metadataID(b); got != created {
		t.Fatalf("after a restart the id is %v; want %v", got, created)
	}
	if _, err := kadm.NewClient(client(t, b)).DeleteTopic(t.Context(), "ids"); err != nil {
		t.Fatal(err)
	}
	if again := createTopic(t, b, "ids", 1, nil); again == created {
		t.Fatal("a recreated topic has the id of the deleted one")
	}
}

func TestTopicIsCreatedOnFirstUseByBothClients(t *testing.T) {
	b := start(t, testConfig(t.TempDir()))
	produce(t, client(t, b, kgo.AllowAutoTopicCreation()), "by-franz", "v")
	transport := &kafka.Transport{}
	defer transport.CloseIdleConnections()
	w := &kafka.Writer{Addr: kafka.TCP(b.Addr()), Transport: transport, Topic: "by-segmentio", AllowAutoTopicCreation: true, BatchTimeout: time.Millisecond, RequiredAcks: kafka.RequireAll}
	defer w.Close()
	if err := w.WriteMessages(t.Context(), kafka.Message{Value: []byte("v")}); err != nil {
		t.Fatalf("the very first write failed: %v", err)
	}
}

func TestTopicsAreNotCreatedWhenAutoCreationIsOffOrTheNameIsBad(t *testing.T) {
	cfg := testConfig(t.TempDir())
	b := start(t, cfg)
	ask := func(b *Broker, name string) int16 {
		req := kmsg.NewPtrMetadataRequest()
		req.AllowAutoTopicCreation = true
		req.Topics = []kmsg.MetadataRequestTopic{{Topic: kmsg.StringPtr(name)}}
		resp, err := req.RequestWith(t.Context(), client(t, b))
		if err != nil {
			t.Fatal(err)
		}
		return resp.Topics[0].ErrorCode
	}
	const unknownTopic = 3
	if got := ask(b, "no/such name"); got != unknownTopic {
		t.Errorf("asking for an impossible name: code %d; want %d", got, unknownTopic)
	}
	if got := ask(b, "possible"); got != 0 {
		t.Errorf("asking for a possible name: code %d; want 0", got)
	}
	cfg.Dir, cfg.AutoCreateTopics = t.TempDir(), false
	if got := ask(start(t, cfg), "possible"); got != unknownTopic {
		t.Errorf("asking with auto creation off: code %d; want %d", got, unknownTopic)
	}
}

func TestPartitionsAreBounded(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.MaxPartitions = 5
	b := start(t, cfg)
	adm := kadm.NewClient(client(t, b))
	createTopic(t, b, "four", 4, nil)
	if _, err := adm.CreateTopic(t.Context(), 2, -1, nil, "two"); err == nil {
		t.Error("a topic beyond the bound was created")
	}
	if _, err := adm.CreateTopic(t.Context(), 1_000_000_000, -1, nil, "vast"); err == nil {
		t.Error("a topic of 1e9 partitions was created")
	}
	resps, err := adm.UpdatePartitions(t.Context(), 6, "four")
	if err == nil && resps.Error() == nil {
		t.Error("a topic grew beyond the bound")
	}
	createTopic(t, b, "one", 1, nil)
}

func TestForeignProtocolAndHugeRequestsCostOnlyTheirConnection(t *testing.T) {
	b := start(t, testConfig(t.TempDir()))
	f := func(what string, raw []byte) {
		t.Helper()
		nc, err := net.Dial("tcp", b.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		if _, err := nc.Write(raw); err != nil {
			t.Fatal(err)
		}
		_ = nc.SetReadDeadline(time.Now().Add(5 * time.Second))
		if n, err := nc.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: read %d bytes, %v; want the connection closed", what, n, err)
		}
	}
	f("HTTP", []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
	f("TLS", []byte{0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03, 0, 0, 0})
	f("unknown key", []byte{0, 0, 0, 10, 0x7f, 0xff, 0, 0, 0, 0, 0, 1, 0xff, 0xff})
	f("negative version", []byte{0, 0, 0, 10, 0, 3, 0xff, 0xfe, 0, 0, 0, 1, 0xff, 0xff})
	f("claims 2 GiB", []byte{0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xff})
	if got := b.stats.badRequests.Load(); got != 5 {
		t.Errorf("%d bad requests counted; want 5", got)
	}
	produce(t, client(t, b, kgo.AllowAutoTopicCreation()), "after", "still serving")
}

func TestConnectionsAreBounded(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.MaxConnections = 8
	b := start(t, cfg)
	for range 30 {
		nc, err := net.Dial("tcp", b.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
	}
	eventually(t, "connections over the bound are refused", func() bool { return b.stats.refused.Load() >= 22 })
	if got := b.listener.open(); got > 8 {
		t.Errorf("%d connections open; want at most 8", got)
	}
}

func TestAdvertisedAddressIsWhatClientsAreTold(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.Advertise = "kafka.example:19092"
	b := start(t, cfg)
	if b.Addr() != cfg.Advertise {
		t.Fatalf("Addr = %q; want %q", b.Addr(), cfg.Advertise)
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.listener.local()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	resp, err := kmsg.NewPtrMetadataRequest().RequestWith(t.Context(), cl)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprintf("%s:%d", resp.Brokers[0].Host, resp.Brokers[0].Port); got != cfg.Advertise {
		t.Errorf("metadata names broker %s; want %s", got, cfg.Advertise)
	}
}

func TestShutdownIsSafeTwiceAndWithoutStart(t *testing.T) {
	b, err := New(testConfig(t.TempDir()), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	stop(t, b)
	stop(t, b)
	if err := b.Start(t.Context()); err == nil {
		t.Fatal("a broker that was shut down started")
	}
}

func TestSettingsOfAStartReplaceThoseOfTheLast(t *testing.T) {
	cfg := testConfig(t.TempDir())
	b := start(t, cfg)
	stop(t, b)
	cfg.RetentionTime = 7 * time.Minute
	b = start(t, cfg)
	resp, err := kadm.NewClient(client(t, b)).DescribeBrokerConfigs(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range resp[0].Configs {
		if c.Key == "log.retention.ms" && c.MaybeValue() != "420000" {
			t.Errorf("log.retention.ms = %s; want 420000", c.MaybeValue())
		}
	}
}
