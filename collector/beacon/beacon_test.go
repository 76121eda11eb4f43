package beacon

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/hoptrace/hoptrace/internal/kafka"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/schemas/topics"
	"github.com/hoptrace/hoptrace/schemas/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bus keeps samples.
type bus struct {
	mu      sync.Mutex // guards the following
	samples []wire.ClockSample
	fail    error
	faults  []string
}

func (b *bus) send(_ context.Context, records ...*kgo.Record) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail != nil {
		return b.fail
	}
	for _, r := range records {
		header := func(name string) string {
			for _, h := range r.Headers {
				if h.Key == name {
					return string(h.Value)
				}
			}
			return ""
		}
		if err := wire.CheckRecord(r.Topic, header, r.Value); err != nil {
			b.faults = append(b.faults, err.Error())
		}
		var s wire.ClockSample
		if err := s.DecodeJSON(r.Value); err != nil || r.Topic != topics.ClockSamples || header(schemas.HeaderSchema) != schemas.SchemaClockSamples || len(r.Key) == 0 {
			b.faults = append(b.faults, "not a sample: "+string(r.Value))
		}
		b.samples = append(b.samples, s)
	}
	return nil
}

func (b *bus) byNode() map[int][]wire.ClockSample {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := map[int][]wire.ClockSample{}
	for _, s := range b.samples {
		out[s.Node] = append(out[s.Node], s)
	}
	return out
}

// logs are a log that a test may read while it is written.
type logs struct {
	mu sync.Mutex
	bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.Write(p)
}

func (l *logs) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.String(), text)
}

type trial struct {
	*Beacon
	bus *bus
	log *logs
}

// behind is how far the host's clock of these tests is behind the brokers'.
const behind = 5 * time.Second

func start(t *testing.T, brokers []string, change ...func(*Config, *Deps)) *trial {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Interval = 100 * time.Millisecond
	k := &trial{bus: &bus{}, log: &logs{}}
	deps := Deps{
		Kafka: kafka.Config{Brokers: brokers}, Send: k.bus.send, Host: "host1", Name: "payments-2",
		Now: func() int64 { return time.Now().Add(-behind).UnixNano() },
	}
	for _, c := range change {
		c(&cfg, &deps)
	}
	var err error
	if k.Beacon, err = New(cfg, deps, prometheus.NewRegistry(), slog.New(slog.NewTextHandler(k.log, nil))); err != nil {
		t.Fatal(err)
	}
	if err := k.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("its log:\n%s", k.log.String())
		}
		for range 2 {
			if err := k.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
		}
		if len(k.bus.faults) > 0 {
			t.Errorf("the bus got %q", k.bus.faults)
		}
	})
	return k
}

func fake(t *testing.T, brokers int) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(brokers), kfake.SleepOutOfOrder())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 20 s", what)
		}
	}
}

func admin(t *testing.T, brokers []string) *kadm.Client {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.MetadataMinAge(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return kadm.NewClient(cl)
}

func TestEachBrokersClockIsBoundedByItsRoundTrips(t *testing.T) {
	c := fake(t, 3)
	k := start(t, c.ListenAddrs())
	until(t, "samples of three brokers", func() bool {
		all := k.bus.byNode()
		return len(all) == 3 && len(all[0]) > 2 && len(all[1]) > 2 && len(all[2]) > 2
	})
	addresses := map[string]int{}
	for node, samples := range k.bus.byNode() {
		addresses[samples[0].Broker] = node
		for _, s := range samples {
			if s.Host != "host1" || s.Name != "payments-2" || s.Cluster == "" || s.Broker != samples[0].Broker {
				t.Fatalf("sample %+v", s)
			}
			if s.Low > int64(behind) || s.High < int64(behind) || s.High-s.Low > int64(5*time.Second) {
				t.Errorf("broker %d is %v to %v ahead; the truth is %v", node, time.Duration(s.Low), time.Duration(s.High), behind)
			}
		}
	}
	if len(addresses) != 3 {
		t.Errorf("three brokers at %v", addresses)
	}
	configs, err := admin(t, c.ListenAddrs()).DescribeTopicConfigs(t.Context(), DefaultTopic)
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]string{}
	for _, one := range configs[0].Configs {
		have[one.Key] = one.MaybeValue()
	}
	if have[configStamp] != stampByBroker || have["retention.ms"] != "300000" {
		t.Errorf("the topic has %s=%s and is kept for %s ms", configStamp, have[configStamp], have["retention.ms"])
	}
	if n := testutil.ToFloat64(k.metrics.records.WithLabelValues(kafka.BusName, "ok")); n < 6 {
		t.Errorf("%v records are counted", n)
	}
}

func TestABrokerThatComesIsAskedToo(t *testing.T) {
	c := fake(t, 1)
	k := start(t, c.ListenAddrs())
	until(t, "samples of one broker", func() bool { return len(k.bus.byNode()) == 1 })
	node, _, err := c.AddNode(-1, 0)
	if err != nil {
		t.Fatal(err)
	}
	// A failure has it look up the brokers before its time is up.
	c.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		return nil, errors.New("the connection is cut"), true
	})
	until(t, "samples of the new broker", func() bool { return len(k.bus.byNode()[int(node)]) > 0 })
}

func TestATopicThatDoesNotStampIsSet(t *testing.T) {
	c := fake(t, 2)
	created := "CreateTime"
	if _, err := admin(t, c.ListenAddrs()).CreateTopic(t.Context(), 1, 1, map[string]*string{configStamp: &created}, "their-clocks"); err != nil {
		t.Fatal(err)
	}
	k := start(t, c.ListenAddrs(), func(cfg *Config, _ *Deps) { cfg.Topic = "their-clocks" })
	until(t, "samples of both brokers", func() bool { return len(k.bus.byNode()) == 2 })
}

func TestATopicThatMayNotBeSetIsSaid(t *testing.T) {
	c := fake(t, 1)
	created := "CreateTime"
	if _, err := admin(t, c.ListenAddrs()).CreateTopic(t.Context(), 1, 1, map[string]*string{configStamp: &created}, DefaultTopic); err != nil {
		t.Fatal(err)
	}
	c.ControlKey(int16(kmsg.IncrementalAlterConfigs), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		resp := req.ResponseKind().(*kmsg.IncrementalAlterConfigsResponse)
		one := kmsg.NewIncrementalAlterConfigsResponseResource()
		one.ErrorCode = kerr.TopicAuthorizationFailed.Code
		resp.Resources = append(resp.Resources, one)
		return resp, nil, true
	})
	// As Kafka does, which kfake does not: the stamp is the topic's business.
	c.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		resp := req.ResponseKind().(*kmsg.ProduceResponse)
		topic := req.(*kmsg.ProduceRequest).Topics[0]
		one, part := kmsg.NewProduceResponseTopic(), kmsg.NewProduceResponseTopicPartition()
		one.Topic, one.TopicID = topic.Topic, topic.TopicID
		if topic.Partitions[0].Records[22]&8 != 0 {
			part.ErrorCode = kerr.InvalidTimestamp.Code
		}
		one.Partitions = append(one.Partitions, part)
		resp.Topics = append(resp.Topics, one)
		return resp, nil, true
	})
	k := start(t, c.ListenAddrs())
	until(t, "the log", func() bool { return k.log.count("set it yourself") > 0 })
	until(t, "the log of records", func() bool { return k.log.count("does not stamp LogAppendTime") > 0 })
	until(t, "records", func() bool {
		return testutil.ToFloat64(k.metrics.records.WithLabelValues(kafka.BusName, "unstamped")) > 3
	})
	if n := k.log.count("cannot all be asked"); n > 2 {
		t.Errorf("it is logged %d times", n)
	}
	if all := k.bus.byNode(); len(all) != 0 {
		t.Errorf("stamps of producers became samples: %v", all)
	}
}

func TestATopicThatMayNotBeMadeIsSaid(t *testing.T) {
	c := fake(t, 1)
	c.ControlKey(int16(kmsg.CreateTopics), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		resp := req.ResponseKind().(*kmsg.CreateTopicsResponse)
		one := kmsg.NewCreateTopicsResponseTopic()
		one.ErrorCode = kerr.TopicAuthorizationFailed.Code
		resp.Topics = append(resp.Topics, one)
		return resp, nil, true
	})
	k := start(t, c.ListenAddrs())
	until(t, "the log", func() bool { return k.log.count("make it yourself") == 1 })
}

func TestPlacementThatIsNotAllowedIsLeftToTheBrokers(t *testing.T) {
	c := fake(t, 1)
	c.ControlKey(int16(kmsg.CreateTopics), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if len(req.(*kmsg.CreateTopicsRequest).Topics[0].ReplicaAssignment) == 0 {
			return nil, nil, false
		}
		resp := req.ResponseKind().(*kmsg.CreateTopicsResponse)
		one := kmsg.NewCreateTopicsResponseTopic()
		one.ErrorCode = kerr.PolicyViolation.Code
		resp.Topics = append(resp.Topics, one)
		return resp, nil, true
	})
	k := start(t, c.ListenAddrs())
	until(t, "samples", func() bool { return len(k.bus.byNode()) == 1 })
}

func TestAClusterThatIsAwayHoldsUpNothingAndIsToldOnce(t *testing.T) {
	c := fake(t, 1)
	k := start(t, c.ListenAddrs(), func(cfg *Config, _ *Deps) { cfg.Clusters = map[string]string{"away": "127.0.0.1:1"} })
	until(t, "samples of the bus", func() bool { return len(k.bus.byNode()[0]) > 3 })
	until(t, "the log", func() bool { return k.log.count("cluster=away") == 1 })
	if n := k.log.count("cluster=bus error"); n != 0 {
		t.Errorf("the bus is said to be in trouble %d times", n)
	}
}

func TestSamplesThatTheBusDoesNotTakeAreLostAndCounted(t *testing.T) {
	c := fake(t, 1)
	k := start(t, c.ListenAddrs())
	until(t, "samples", func() bool { return len(k.bus.byNode()) == 1 })
	k.bus.mu.Lock()
	k.bus.fail = errors.New("full")
	k.bus.mu.Unlock()
	until(t, "lost samples", func() bool { return testutil.ToFloat64(k.metrics.samples.WithLabelValues("lost")) > 2 })
	k.bus.mu.Lock()
	k.bus.fail = nil
	k.bus.mu.Unlock()
	until(t, "that all is well", func() bool { return k.log.count("are asked again") == 1 })
	if n := k.log.count("cannot all be asked"); n != 1 {
		t.Errorf("it is logged %d times", n)
	}
}

func TestConfigNamesEveryFault(t *testing.T) {
	bad := Config{Interval: time.Hour, Topic: "a b", Clusters: map[string]string{kafka.BusName: "b:1", "x": "nowhere"}}
	err := bad.Validate()
	for _, want := range []string{"beacon.interval: 1h0m0s", `beacon.topic: "a b"`, `"bus" is no name`, `"nowhere" of x is not host:port`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Validate() = %v; it lacks %q", err, want)
		}
	}
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	if _, err := New(DefaultConfig(), Deps{}, prometheus.NewRegistry(), slog.Default()); err == nil || !strings.Contains(err.Error(), "boot id") || !strings.Contains(err.Error(), "nobody takes") {
		t.Errorf("New without anything = %v", err)
	}
}
