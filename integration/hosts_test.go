package integration

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/attribute"

	hoptrace "github.com/hoptrace/hoptrace/instrumentation"
	"github.com/hoptrace/hoptrace/instrumentation/messaging"
	"github.com/hoptrace/hoptrace/instrumentation/otelkafkago"
	"github.com/hoptrace/hoptrace/integration/harness"
)

const (
	hostsMessages = 400 // of each topic; the API lists at most 500
	hostsEvery    = 12 * time.Millisecond
	hostsRole     = "HOPTRACE_TEST_HOST_ROLE"
	hostsBroker   = "HOPTRACE_TEST_HOST_BROKER"
	hostsEndpoint = "HOPTRACE_TEST_HOST_ENDPOINT"
)

// Topics of the test: the broker stamps the records of one, the producer those
// of the other.
var hostsTopics = []string{"stamped", "created"}

// hostClocks are how far the two hosts' clocks are from the broker's.
var hostClocks = map[string]time.Duration{"producer": 5 * time.Second, "consumer": -5 * time.Second}

// TestHostProcess is no test but the two hosts of the next one, which starts this
// program again as each: wrapped clients on a clock that is set wrong.
func TestHostProcess(t *testing.T) {
	role := os.Getenv(hostsRole)
	if role == "" {
		return
	}
	client, err := hoptrace.New(hoptrace.Options{
		ServiceName: role, Endpoint: os.Getenv(hostsEndpoint), SampleRatio: 1, MetricInterval: time.Second, OnError: func(err error) { t.Error(err) },
		ResourceAttributes: []attribute.KeyValue{attribute.String(messaging.AttrBootID, "host-of-the-"+role)},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	options := []otelkafkago.Option{
		otelkafkago.WithTracerProvider(client.TracerProvider()),
		otelkafkago.WithClock(func() time.Time { return time.Now().Add(hostClocks[role]) }),
	}
	ctx, cancel := context.WithTimeout(t.Context(), 45*time.Second)
	defer cancel()
	run := hostProduce
	if role == "consumer" {
		run = hostConsume
	}
	if err := run(ctx, options); err != nil {
		t.Fatal(err)
	}
	if !client.Flush(10 * time.Second) {
		t.Fatalf("not all was exported: %+v", client.Counts())
	}
}

// told prints a true time of one message for the test to read.
func told(what, topic string, i int, at time.Time) {
	fmt.Printf("%s %s %d %d\n", what, topic, i, at.UnixNano())
}

func hostProduce(ctx context.Context, options []otelkafkago.Option) error {
	transport := &kafka.Transport{Dial: harness.DialLoopback}
	defer transport.CloseIdleConnections()
	w := otelkafkago.NewWriter(&kafka.Writer{
		Addr: kafka.TCP(os.Getenv(hostsBroker)), RequiredAcks: kafka.RequireAll, BatchTimeout: time.Millisecond, Transport: transport,
	}, options...)
	pace := time.NewTicker(hostsEvery)
	defer pace.Stop()
	for i := range hostsMessages {
		<-pace.C
		for _, topic := range hostsTopics {
			told("sent", topic, i, time.Now())
			if err := w.WriteMessages(ctx, kafka.Message{Topic: topic, Value: []byte(strconv.Itoa(i))}); err != nil {
				return errors.Join(fmt.Errorf("cannot send message %d: %w", i, err), w.Close())
			}
		}
	}
	return w.Close()
}

func hostConsume(ctx context.Context, options []otelkafkago.Option) error {
	errs := make(chan error)
	for _, topic := range hostsTopics {
		go func() {
			r := otelkafkago.NewReader(kafka.ReaderConfig{
				Brokers: []string{os.Getenv(hostsBroker)}, Topic: topic, Partition: 0, MinBytes: 1, MaxBytes: 1 << 20, MaxWait: 500 * time.Millisecond,
				Dialer: &kafka.Dialer{Timeout: 10 * time.Second, DualStack: true, DialFunc: harness.DialLoopback},
			}, options...)
			for i := range hostsMessages {
				m, err := r.ReadMessage(ctx)
				if err == nil {
					err = r.Process(ctx, m, func(context.Context, kafka.Message) error { return nil })
				}
				if err != nil {
					errs <- errors.Join(fmt.Errorf("cannot read message %d of %s: %w", i, topic, err), r.Close())
					return
				}
				told("done", topic, int(m.Offset), time.Now())
			}
			errs <- r.Close()
		}()
	}
	return errors.Join(<-errs, <-errs)
}

// hostHop is a hop as the API tells it, as far as clocks matter.
type hostHop struct {
	Offset   *int64    `json:"offset"`
	Producer *hostSide `json:"producer"`
	Consumer *hostSide `json:"consumer"`
	Parts    []struct {
		hostPart
		Name string  `json:"name"`
		From *string `json:"from"`
		To   *string `json:"to"`
	} `json:"parts"`
	EndToEnd    hostPart  `json:"endToEnd"`
	Residence   *hostPart `json:"residence"`
	RoundTrip   hostPart  `json:"roundTrip"`
	SharedClock bool      `json:"sharedClock"`
	Clock       *struct {
		LowNs, HighNs int64
		Broker        string
	} `json:"clock"`
	Record struct {
		Timestamp *string `json:"timestamp"`
		ByBroker  bool    `json:"appendedByBroker"`
	} `json:"record"`
}

type hostSide struct {
	Start string `json:"start"`
	End   string `json:"end"`
}

type hostPart struct {
	Known       bool  `json:"known"`
	Ns          int64 `json:"ns"`
	Uncertainty *struct {
		Lo int64 `json:"lo"`
		Hi int64 `json:"hi"`
	} `json:"uncertaintyNs"`
}

func (p hostPart) holds(lo, hi int64) bool {
	return p.Known && p.Uncertainty != nil && p.Uncertainty.Lo <= lo && hi <= p.Uncertainty.Hi
}

// TestLatenciesBetweenHostsWithWrongClocksLieWithinTheirIntervals runs a producer
// whose clock is 5 s fast and a consumer whose clock is 5 s slow, as processes of
// hosts of their own, and asks the API of the whole product for their hops. The
// truth is known: the offsets are injected, and the broker's clock is the true one.
func TestLatenciesBetweenHostsWithWrongClocksLieWithinTheirIntervals(t *testing.T) {
	// The hosts' records lie on Apache Kafka, which stamps them; the embedded
	// broker, which does not, carries what is told about them.
	// It has a name: a loopback address means another broker on each host.
	broker := harness.StartKafka(t, "kafka.test").Advertised
	h := harness.StartHoptrace(t, harness.Options{})
	hostTopics(t, broker)
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	hosts := map[string]*harness.Process{}
	for role := range hostClocks {
		hosts[role] = harness.Start(t, harness.Command{
			Name: role, Path: own, Args: []string{"-test.run=^TestHostProcess$", "-test.v", "-test.timeout=60s"}, KeepStdout: true,
			Env: []string{hostsRole + "=" + role, hostsBroker + "=" + broker, hostsEndpoint + "=http://" + h.GRPC},
		})
	}
	for role, p := range hosts {
		if err := p.Wait(50 * time.Second); err != nil {
			t.Fatalf("the %s: %v\n%s\n%s", role, err, p.Tail(20), p.Stdout())
		}
	}
	harness.WaitDrained(t, h.Kafka, 30*time.Second, "ingest-spans", "ingest-metrics")
	truth := map[string]int64{}
	for _, p := range hosts {
		readTold(t, p.Stdout(), truth)
	}
	for _, topic := range hostsTopics {
		t.Run(topic, func(t *testing.T) { checkHosts(t, h, topic, truth) })
	}
	checkMetrics(t, h)
	checkClocks(t, h, broker)
}

// hostTopics makes the topics, of one partition each.
func hostTopics(t *testing.T, broker string) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(broker), kgo.Dialer(harness.DialLoopback))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	for topic, stamp := range map[string]string{hostsTopics[0]: "LogAppendTime", hostsTopics[1]: "CreateTime"} {
		if _, err := admin.CreateTopic(t.Context(), 1, 1, map[string]*string{"message.timestamp.type": &stamp}, topic); err != nil {
			t.Fatalf("cannot make topic %s: %v", topic, err)
		}
	}
	harness.Until(t, "the topics have leaders", 30*time.Second, func() error {
		offsets, err := admin.ListEndOffsets(t.Context(), hostsTopics...)
		if err != nil {
			return err
		}
		return offsets.Error()
	})
}

// readTold reads what told printed.
func readTold(t *testing.T, out []byte, into map[string]int64) {
	t.Helper()
	lines := bufio.NewScanner(bytes.NewReader(out))
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) != 4 || f[0] != "sent" && f[0] != "done" {
			continue
		}
		at, err := strconv.ParseInt(f[3], 10, 64)
		if err != nil {
			t.Fatalf("a host printed %q: %v", lines.Text(), err)
		}
		into[strings.Join(f[:3], " ")] = at
	}
}

func ns(t *testing.T, s *string) int64 {
	t.Helper()
	if s == nil {
		t.Fatal("the API does not tell a time that is known")
	}
	v, err := strconv.ParseInt(*s, 10, 64)
	if err != nil {
		t.Fatalf("the API tells the time %q: %v", *s, err)
	}
	return v
}

func checkHosts(t *testing.T, h *harness.Hoptrace, topic string, truth map[string]int64) {
	var list struct {
		Hops []hostHop `json:"hops"`
	}
	h.MustGet(t, "hops?limit=500&topic="+topic, &list)
	if len(list.Hops) != hostsMessages {
		t.Fatalf("%d hops; want %d", len(list.Hops), hostsMessages)
	}
	residences, ends, told := 0, 0, 0
	var widths []int64
	for i := range list.Hops {
		hop := &list.Hops[i]
		if hop.Producer == nil || hop.Consumer == nil || hop.Offset == nil || hop.SharedClock {
			t.Fatalf("hop %+v is no whole hop between two hosts", hop)
		}
		if hop.Clock == nil || hop.Residence == nil || hop.EndToEnd.Uncertainty == nil || hop.Residence.Uncertainty == nil {
			continue // counts as a miss
		}
		if hop.Record.ByBroker != (topic == hostsTopics[0]) {
			t.Errorf("record %d is stamped by the broker: %v", *hop.Offset, hop.Record.ByBroker)
		}
		// The tiles sum exactly.
		var sum int64
		parts := map[string]int64{}
		var answered int64
		for _, p := range hop.Parts {
			if !p.Known {
				t.Errorf("part %s of record %d is unknown", p.Name, *hop.Offset)
			}
			sum += p.Ns
			parts[p.Name] = p.Ns
			if p.Name == "fetch_queue" {
				answered = ns(t, p.From)
			}
		}
		if sum != hop.EndToEnd.Ns {
			t.Errorf("the parts of record %d sum to %d ns; end to end is %d", *hop.Offset, sum, hop.EndToEnd.Ns)
		}
		if parts["backlog"]+parts["long_poll"] != hop.Residence.Ns {
			t.Errorf("backlog and long poll of record %d are %d ns; the residence is %d", *hop.Offset, parts["backlog"]+parts["long_poll"], hop.Residence.Ns)
		}
		// The truth, on the broker's clock.
		start := ns(t, &hop.Producer.Start) - int64(hostClocks["producer"])
		written := start + parts["batch_queue"] + parts["retry"]
		acked := written + hop.RoundTrip.Ns
		answered -= int64(hostClocks["consumer"])
		done := ns(t, &hop.Consumer.End) - int64(hostClocks["consumer"])
		first, last := written, acked // of the append
		if topic == hostsTopics[0] {
			stamp := ns(t, hop.Record.Timestamp)
			first, last = max(first, stamp), min(last, stamp+int64(time.Millisecond))
			if first > last {
				t.Errorf("record %d was stamped at %d, and written and answered at %d and %d", *hop.Offset, stamp, written, acked)
			}
		}
		// Wherever the append was, the residence must be inside.
		if hop.Residence.holds(answered-last, answered-first) {
			residences++
		}
		if hop.EndToEnd.holds(done-start, done-start) {
			ends++
		}
		widths = append(widths, hop.EndToEnd.Uncertainty.Hi-hop.EndToEnd.Uncertainty.Lo)
		// What the processes saw, with a call's overhead around it.
		key := topic + " " + strconv.FormatInt(*hop.Offset, 10)
		if seen := truth["done "+key] - truth["sent "+key]; seen >= done-start && seen-(done-start) < int64(200*time.Millisecond) {
			told++
		}
	}
	const want = hostsMessages * 99 / 100
	if residences < want || ends < want {
		t.Errorf("%d residences and %d end-to-end times of %d lie in their intervals; want at least %d", residences, ends, hostsMessages, want)
	}
	if told < want {
		t.Errorf("%d of %d end-to-end times are what the processes saw; want at least %d", told, hostsMessages, want)
	}
	if len(widths) == 0 {
		return
	}
	slices.Sort(widths)
	t.Logf("%s: %d residences and %d end-to-end times of %d inside; intervals of ± %v (p50), ± %v (p95)",
		topic, residences, ends, hostsMessages, time.Duration(widths[len(widths)/2]/2), time.Duration(widths[len(widths)*95/100]/2))
}

// checkClocks asserts that the samples of both hosts are told and hold the
// injected offsets.
func checkClocks(t *testing.T, h *harness.Hoptrace, broker string) {
	t.Helper()
	var list struct {
		Clocks []struct {
			Host, Broker string
			Samples      []struct {
				LowNs, HighNs *int64
			}
		}
	}
	// The fast host's samples are of a time to come.
	q := url.Values{"from": {"-2m"}, "to": {strconv.FormatInt(time.Now().Add(time.Minute).UnixNano(), 10)}}
	h.MustGet(t, "clocks?"+q.Encode(), &list)
	pairs := 0
	for _, c := range list.Clocks {
		if c.Broker != broker {
			continue // our own broker's, by the beacon
		}
		pairs++
		offset := -int64(hostClocks[strings.TrimPrefix(c.Host, "host-of-the-")]) // broker − host
		if offset == 0 {
			t.Errorf("samples of host %q and broker %q", c.Host, c.Broker)
		}
		inside, both := 0, 0
		for _, s := range c.Samples {
			if (s.LowNs == nil || *s.LowNs <= offset) && (s.HighNs == nil || offset <= *s.HighNs) {
				inside++
			}
			if s.LowNs != nil && s.HighNs != nil {
				both++
			}
		}
		if len(c.Samples) == 0 || inside != len(c.Samples) || both == 0 {
			t.Errorf("host %s: %d of %d samples hold the offset %v, %d have both bounds", c.Host, inside, len(c.Samples), time.Duration(offset), both)
		}
	}
	if pairs != 2 {
		t.Errorf("the API knows %d pairs of a host and this broker; want 2: %+v", pairs, list.Clocks)
	}
}

// checkMetrics asserts that what the clients measured comes back whole.
func checkMetrics(t *testing.T, h *harness.Hoptrace) {
	t.Helper()
	var names struct {
		Metrics []struct{ Name, Kind string }
	}
	h.MustGet(t, "metrics", &names)
	kinds := map[string]string{}
	for _, m := range names.Metrics {
		kinds[m.Name] = m.Kind
	}
	if kinds["messaging.client.operation.duration"] != "exponential_histogram" || kinds["messaging.client.sent.messages"] != "sum" {
		t.Errorf("metrics %v", kinds)
	}
	q := url.Values{"by": {"topic"}, "step": {"1m"}, "to": {strconv.FormatInt(time.Now().Add(time.Minute).UnixNano(), 10)}}
	type detail struct {
		Series []struct {
			Topic string
			Steps []struct {
				Count uint64
				Sum   *float64
				P50   *float64
			}
		}
	}
	for metric, f := range map[string]func(count uint64, sum float64) float64{
		"messaging.client.sent.messages": func(_ uint64, sum float64) float64 { return sum },
		"messaging.process.duration":     func(count uint64, _ float64) float64 { return float64(count) },
	} {
		var d detail
		h.MustGet(t, "metrics/"+metric+"?"+q.Encode(), &d)
		got := map[string]float64{}
		for _, s := range d.Series {
			for _, at := range s.Steps {
				if at.Sum == nil {
					t.Fatalf("%s of %s has no sum: %+v", metric, s.Topic, at)
				}
				got[s.Topic] += f(at.Count, *at.Sum)
			}
		}
		for _, topic := range hostsTopics {
			if got[topic] != hostsMessages {
				t.Errorf("%s of topic %s tells %v messages; want %d", metric, topic, got[topic], hostsMessages)
			}
		}
	}
}
