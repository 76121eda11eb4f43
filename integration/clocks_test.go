package integration

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	metricscollector "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	tracecollector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	"google.golang.org/protobuf/proto"

	"github.com/hoptrace/hoptrace/instrumentation"
	"github.com/hoptrace/hoptrace/instrumentation/messaging"
	"github.com/hoptrace/hoptrace/instrumentation/messaging/clock"
	"github.com/hoptrace/hoptrace/instrumentation/otelkafkago"
	"github.com/hoptrace/hoptrace/integration/harness"
)

const (
	clockTopic    = "orders"
	clockMessages = 600
	clockEvery    = 15 * time.Millisecond
	clockRole     = "HOPTRACE_TEST_CLOCK_ROLE"
	clockOffset   = "HOPTRACE_TEST_CLOCK_OFFSET"
	clockBroker   = "HOPTRACE_TEST_CLOCK_BROKER"
	clockSink     = "HOPTRACE_TEST_CLOCK_SINK"
)

// TestClockProcess is no test but the producer and the consumer of the next one,
// which starts this program again in two processes: wrapped clients on a clock
// that is set wrong, exporting to the test.
func TestClockProcess(t *testing.T) {
	role := os.Getenv(clockRole)
	if role == "" {
		return
	}
	by, err := time.ParseDuration(os.Getenv(clockOffset))
	if err != nil {
		t.Fatal(err)
	}
	client, err := hoptrace.New(hoptrace.Options{
		ServiceName: role, Endpoint: os.Getenv(clockSink), Protocol: "http", Compression: "none", SampleRatio: 1,
		MetricInterval: time.Second, OnError: func(err error) { t.Error(err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	options := []otelkafkago.Option{
		otelkafkago.WithTracerProvider(client.TracerProvider()),
		otelkafkago.WithClock(func() time.Time { return time.Now().Add(by) }),
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if role == "producer" {
		err = clockProduce(ctx, options)
	} else {
		err = clockConsume(ctx, options)
	}
	if err != nil {
		t.Fatal(err)
	}
	if !client.Flush(10 * time.Second) {
		t.Fatalf("not all was exported: %+v", client.Counts())
	}
}

func clockProduce(ctx context.Context, options []otelkafkago.Option) error {
	transport := &kafka.Transport{}
	defer transport.CloseIdleConnections()
	w := otelkafkago.NewWriter(&kafka.Writer{
		Addr: kafka.TCP(os.Getenv(clockBroker)), Topic: clockTopic, RequiredAcks: kafka.RequireAll, BatchTimeout: time.Millisecond, Transport: transport,
	}, options...)
	pace := time.NewTicker(clockEvery)
	defer pace.Stop()
	for i := range clockMessages {
		<-pace.C
		if err := w.WriteMessages(ctx, kafka.Message{Value: []byte(strconv.Itoa(i))}); err != nil {
			return errors.Join(fmt.Errorf("cannot send message %d: %w", i, err), w.Close())
		}
	}
	return w.Close()
}

func clockConsume(ctx context.Context, options []otelkafkago.Option) error {
	r := otelkafkago.NewReader(kafka.ReaderConfig{
		Brokers: []string{os.Getenv(clockBroker)}, Topic: clockTopic, Partition: 0, MinBytes: 1, MaxBytes: 1 << 20, MaxWait: 500 * time.Millisecond,
	}, options...)
	for i := range clockMessages {
		m, err := r.ReadMessage(ctx)
		if err == nil {
			err = r.Process(ctx, m, func(context.Context, kafka.Message) error { return nil })
		}
		if err != nil {
			return errors.Join(fmt.Errorf("cannot read message %d: %w", i, err), r.Close())
		}
	}
	return r.Close()
}

// clockSample is one interval that a process exported.
type clockSample struct {
	at int64
	clock.Interval
}

// clockCollector keeps what two processes export.
type clockCollector struct {
	mu      sync.Mutex
	times   map[int64]*clock.Times            // by offset in the partition
	samples map[string]map[int64]*clockSample // by service and time
	steps   int64
}

func (c *clockCollector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 64<<20))
	if err == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		if r.URL.Path == "/v1/traces" {
			var m tracecollector.ExportTraceServiceRequest
			if err = proto.Unmarshal(body, &m); err == nil {
				c.spans(&m)
			}
		} else {
			var m metricscollector.ExportMetricsServiceRequest
			if err = proto.Unmarshal(body, &m); err == nil {
				c.metrics(&m)
			}
		}
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

func (c *clockCollector) spans(m *tracecollector.ExportTraceServiceRequest) {
	for _, rs := range m.ResourceSpans {
		for _, ss := range rs.ScopeSpans {
			for _, s := range ss.Spans {
				offset, ok := otlpInt(s.Attributes, messaging.AttrKafkaOffset)
				if !ok {
					continue
				}
				times := c.times[offset]
				if times == nil {
					times = &clock.Times{}
					c.times[offset] = times
				}
				get := func(key string) int64 {
					v, _ := otlpInt(s.Attributes, key)
					return v
				}
				switch {
				case get(messaging.AttrProduceWritten) != 0:
					times.Enqueued = int64(s.StartTimeUnixNano) //nolint:gosec // a time
					times.Written, times.Acked, times.Appended = get(messaging.AttrProduceWritten), get(messaging.AttrProduceAcked), get(messaging.AttrProduceAppended)
				case s.Name == "process "+clockTopic:
					times.Fetched, times.Handed = get(messaging.AttrConsumeAnswered), get(messaging.AttrConsumeHanded)
					times.Started, times.Done = int64(s.StartTimeUnixNano), int64(s.EndTimeUnixNano) //nolint:gosec // times
				}
			}
		}
	}
}

func (c *clockCollector) metrics(m *metricscollector.ExportMetricsServiceRequest) {
	for _, rm := range m.ResourceMetrics {
		service := ""
		for _, kv := range rm.Resource.GetAttributes() {
			if kv.Key == "service.name" {
				service = kv.Value.GetStringValue()
			}
		}
		for _, sm := range rm.ScopeMetrics {
			for _, m := range sm.Metrics {
				for _, p := range m.GetSum().GetDataPoints() {
					if m.Name == clock.MetricSteps {
						c.steps += p.GetAsInt()
					}
				}
				if m.Name != clock.MetricOffsetLow && m.Name != clock.MetricOffsetHigh {
					continue
				}
				if c.samples[service] == nil {
					c.samples[service] = map[int64]*clockSample{}
				}
				for _, p := range m.GetGauge().GetDataPoints() {
					at := int64(p.TimeUnixNano) //nolint:gosec // a time
					s := c.samples[service][at]
					if s == nil {
						s = &clockSample{at, clock.Unknown()}
						c.samples[service][at] = s
					}
					if m.Name == clock.MetricOffsetLow {
						s.Lo = p.GetAsInt()
					} else {
						s.Hi = p.GetAsInt()
					}
				}
			}
		}
	}
}

// otlpInt finds an integer, which some attributes hold as text.
func otlpInt(kvs []*common.KeyValue, key string) (int64, bool) {
	for _, kv := range kvs {
		if kv.Key == key {
			if s, ok := kv.Value.Value.(*common.AnyValue_StringValue); ok {
				v, err := strconv.ParseInt(s.StringValue, 10, 64)
				return v, err == nil
			}
			return kv.Value.GetIntValue(), true
		}
	}
	return 0, false
}

// TestLatenciesHoldThoughTwoProcessesClocksDifferByTenSeconds runs a producer
// whose clock is 5 s behind and a consumer whose clock is 5 s ahead of the
// broker's, an Apache Kafka on this host. All three run on one true clock, so the
// truth is known.
func TestLatenciesHoldThoughTwoProcessesClocksDifferByTenSeconds(t *testing.T) {
	const wrong = 5 * time.Second
	broker := harness.StartKafka(t)
	makeStampedTopic(t, broker.Address)
	c := &clockCollector{times: map[int64]*clock.Times{}, samples: map[string]map[int64]*clockSample{}}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: c, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		_ = server.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("the collector ended: %v", err)
		}
	})

	var processes []*harness.Process
	for role, by := range map[string]time.Duration{"consumer": wrong, "producer": -wrong} {
		processes = append(processes, harness.Start(t, harness.Command{
			Name: "clock-" + role, Path: os.Args[0], Args: []string{"-test.run=^TestClockProcess$", "-test.timeout=2m"},
			Env: []string{
				clockRole + "=" + role, clockOffset + "=" + by.String(), clockBroker + "=" + broker.Address,
				clockSink + "=http://" + listener.Addr().String(),
			},
		}))
	}
	for _, p := range processes {
		if err := p.Wait(90 * time.Second); err != nil {
			t.Fatalf("%s: %v\n%s", p.Name, err, p.Tail(30))
		}
	}

	c.mu.Lock()
	defer c.mu.Unlock()
	if c.steps != 0 {
		t.Errorf("%d steps of clocks that were never stepped", c.steps)
	}
	var trackers [2]clock.Tracker
	for i, service := range []string{"producer", "consumer"} {
		var samples []*clockSample
		for _, s := range c.samples[service] {
			samples = append(samples, s)
		}
		slices.SortFunc(samples, func(a, b *clockSample) int { return int(a.at - b.at) })
		for _, s := range samples {
			if trackers[i].Add(s.at, s.Lo, s.Hi) {
				t.Errorf("%s: interval %v contradicts those before", service, s)
			}
		}
		t.Logf("%s: %d intervals", service, len(samples))
	}

	inside, all, unknown := 0, 0, 0
	var half []time.Duration
	for offset, times := range c.times {
		if times.Written == 0 || times.Appended == 0 || times.Fetched == 0 {
			unknown++
			continue
		}
		var o clock.Offsets
		o.Producer, _ = trackers[0].At(times.Acked)
		o.Consumer, _ = trackers[1].At(times.Fetched)
		tile := clock.Tile(*times, o)
		if !tile.ResidenceRange.Known() || !tile.EndToEndKnown {
			unknown++
			continue
		}
		all++
		half = append(half, time.Duration(tile.ResidenceRange.Width()/2))
		sum := int64(0)
		for part, known := range tile.Known {
			if !known {
				t.Errorf("offset %d: part %d is unknown", offset, part)
			}
			sum += tile.Length[part]
		}
		if sum != tile.EndToEnd {
			t.Errorf("offset %d: the parts sum to %d; end to end is %d", offset, sum, tile.EndToEnd)
		}
		// True times: the broker's clock is right. It appended within the stamp's
		// millisecond and between request and answer.
		shift := wrong.Nanoseconds()
		fetched := times.Fetched - shift
		first := max(times.Appended, times.Written+shift)
		last := min(times.Appended+int64(time.Millisecond)-1, times.Acked+shift)
		endToEnd := times.Done - shift - (times.Enqueued + shift)
		if r := tile.ResidenceRange; r.Contains(fetched-first) && r.Contains(fetched-last) && tile.EndToEndRange.Contains(endToEnd) {
			inside++
		} else {
			t.Logf("offset %d: residence %v to %v is not within %v, or end to end %v not within %v", offset,
				time.Duration(fetched-last), time.Duration(fetched-first), r, endToEnd, tile.EndToEndRange)
		}
	}
	slices.Sort(half)
	if all < clockMessages*95/100 {
		t.Fatalf("%d of %d messages can be told, %d are unknown", all, clockMessages, unknown)
	}
	t.Logf("%d of %d true residences inside, ± p50 %v, p95 %v; %d unknown", inside, all, half[len(half)/2], half[len(half)*95/100], unknown)
	if inside < all*99/100 {
		t.Errorf("%d of %d true residences are inside their intervals; want 99 %%", inside, all)
	}
}

// makeStampedTopic makes a topic whose records the broker stamps.
func makeStampedTopic(t *testing.T, broker string) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(broker), kgo.MetadataMinAge(100*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	stamp := "LogAppendTime"
	made, err := admin.CreateTopics(ctx, 1, 1, map[string]*string{"message.timestamp.type": &stamp}, clockTopic)
	if err == nil {
		err = made.Error()
	}
	if err != nil {
		t.Fatalf("cannot make topic %s: %v", clockTopic, err)
	}
	harness.Until(t, "the topic has a leader", 30*time.Second, func() error {
		offsets, err := admin.ListEndOffsets(ctx, clockTopic)
		if err != nil {
			return err
		}
		return offsets.Error()
	})
}
