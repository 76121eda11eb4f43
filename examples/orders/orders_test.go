package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	collectpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/hoptrace/hoptrace/instrumentation"
	"github.com/hoptrace/hoptrace/instrumentation/otelkafkago"
)

// collector takes spans and Sentry envelopes, as the hoptrace collector does.
type collector struct {
	*httptest.Server
	mu     sync.Mutex
	spans  []span
	events []map[string]any
	auth   map[string]bool
}

type span struct {
	service string
	*tracepb.Span
}

func (s span) attr(key string) *commonpb.AnyValue {
	for _, kv := range s.Attributes {
		if kv.Key == key {
			return kv.Value
		}
	}
	return nil
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{auth: make(map[string]bool)}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := io.Reader(r.Body)
		if r.Header.Get("Content-Encoding") == "gzip" {
			z, err := gzip.NewReader(r.Body)
			if err != nil {
				t.Errorf("gzip: %v", err)
				return
			}
			body = z
		}
		raw, err := io.ReadAll(body)
		if err != nil {
			t.Errorf("read %s: %v", r.URL.Path, err)
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if strings.HasSuffix(r.URL.Path, "/envelope/") {
			c.addEnvelope(raw)
			return
		}
		c.auth[r.Header.Get("X-Sentry-Auth")] = true
		if strings.HasSuffix(r.URL.Path, "/v1/metrics") {
			return
		}
		var req collectpb.ExportTraceServiceRequest
		if err := proto.Unmarshal(raw, &req); err != nil {
			t.Errorf("unmarshal: %v", err)
			return
		}
		for _, rs := range req.ResourceSpans {
			service := ""
			for _, kv := range rs.Resource.Attributes {
				if kv.Key == "service.name" {
					service = kv.Value.GetStringValue()
				}
			}
			for _, ss := range rs.ScopeSpans {
				for _, s := range ss.Spans {
					c.spans = append(c.spans, span{service, s})
				}
			}
		}
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *collector) addEnvelope(raw []byte) {
	lines := bytes.Split(raw, []byte("\n"))
	for _, line := range lines {
		var event map[string]any
		if json.Unmarshal(line, &event) == nil && event["exception"] != nil {
			c.events = append(c.events, event)
		}
	}
}

// A wrapper is an Integration without knowing it.
var _ hoptrace.Integration = otelkafkago.Integration()

func TestEveryOrderMakesThreeHops(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.AllowAutoTopicCreation())
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	c := newCollector(t)
	const orders, failEvery = 300, 50
	cfg := config{
		brokers: cluster.ListenAddrs(), otlp: c.URL, protocol: "http",
		dsn:  strings.Replace(c.URL, "://", "://0123456789abcdef0123456789abcdef@", 1) + "/1",
		rate: 400, count: orders, failEvery: failEvery, partitions: 4, workers: 16,
		linger: 10 * time.Millisecond, drain: 30 * time.Second,
	}
	summary, err := run(context.Background(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", summary)
	if summary.Unfinished != 0 || summary.SpansDropped != 0 || summary.Failed != orders/failEvery || summary.ErrorsReported != orders/failEvery {
		t.Fatalf("summary = %+v; want nothing unfinished or dropped and %d failures reported", summary, orders/failEvery)
	}

	c.mu.Lock()
	defer c.mu.Unlock()
	byName := make(map[string][]span)
	traces := make(map[string]map[string]bool) // trace id → services
	processIDs := make(map[string]span)
	for _, s := range c.spans {
		byName[s.Name] = append(byName[s.Name], s)
		if strings.HasPrefix(s.Name, "commit ") {
			continue // it settles records of several traces, and links to them
		}
		id := string(s.TraceId)
		if traces[id] == nil {
			traces[id] = make(map[string]bool)
		}
		traces[id][s.service] = true
		if strings.HasPrefix(s.Name, "process ") {
			processIDs[string(s.SpanId)] = s
		}
	}
	for _, topic := range []string{topicOrders, topicPayments, topicShipping} {
		for _, op := range []string{"send ", "poll ", "process "} {
			if got := len(byName[op+topic]); got < orders {
				t.Errorf("%d spans %q; want at least %d", got, op+topic, orders)
			}
		}
		for _, s := range byName["process "+topic] {
			for _, key := range []string{"hoptrace.consume.asked", "hoptrace.consume.answered", "hoptrace.consume.handed", "messaging.kafka.offset"} {
				if s.attr(key) == nil {
					t.Fatalf("span %q lacks %s: %v", s.Name, key, s.Attributes)
				}
			}
			if len(s.Links) != 1 || !bytes.Equal(s.Links[0].SpanId, s.ParentSpanId) {
				t.Fatalf("span %q: parent %x, links %v; want the sender as both", s.Name, s.ParentSpanId, s.Links)
			}
		}
		for _, s := range byName["send "+topic] {
			if s.attr("hoptrace.produce.acked") == nil || s.attr("messaging.kafka.offset") == nil {
				t.Fatalf("span %q lacks its acknowledgement or offset: %v", s.Name, s.Attributes)
			}
		}
	}
	if len(traces) != orders {
		t.Errorf("%d traces; want one an order, %d", len(traces), orders)
	}
	for id, services := range traces {
		if len(services) != 4 {
			t.Fatalf("trace %x has the services %v; want all four", id, services)
		}
	}
	if len(c.events) != orders/failEvery {
		t.Fatalf("%d events; want %d", len(c.events), orders/failEvery)
	}
	for _, e := range c.events {
		contexts := e["contexts"].(map[string]any)
		spanID := contexts["trace"].(map[string]any)["span_id"].(string)
		found := false
		for id, s := range processIDs {
			if hexOf(id) == spanID {
				found = s.service == "payments"
			}
		}
		if !found {
			t.Errorf("the event's span %s is no process span of payments", spanID)
		}
		k := contexts["kafka"].(map[string]any)
		if k["topic"] != topicPayments || k["consumer_group"] != topicPayments || k["offset"] == nil {
			t.Errorf("context kafka = %v", k)
		}
		exception := e["exception"].([]any)[0].(map[string]any)
		if exception["type"] != "*main.CardDeclinedError" {
			t.Errorf("exception type = %v", exception["type"])
		}
		frames := exception["stacktrace"].(map[string]any)["frames"].([]any)
		last := frames[len(frames)-1].(map[string]any)
		if last["function"] != "(*service).charge" && last["function"] != "declineCard" {
			t.Errorf("the innermost frame is %v; want where the card was declined", last["function"])
		}
	}
	if !c.auth["Sentry sentry_version=7, sentry_client=hoptrace-go/0.1.0, sentry_key=0123456789abcdef0123456789abcdef"] || len(c.auth) != 1 {
		t.Errorf("X-Sentry-Auth = %v", c.auth)
	}
}

func hexOf(s string) string {
	const digits = "0123456789abcdef"
	out := make([]byte, 0, 2*len(s))
	for i := range len(s) {
		out = append(out, digits[s[i]>>4], digits[s[i]&15])
	}
	return string(out)
}

func TestStoppedInTheMiddleEveryOrderUnderWayGoesToTheEnd(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.AllowAutoTopicCreation())
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	c := newCollector(t)
	cfg := config{
		brokers: cluster.ListenAddrs(), otlp: c.URL, protocol: "http", rate: 100, partitions: 2, workers: 4,
		paymentsDelay: 15 * time.Millisecond, slowEvery: 10, linger: 10 * time.Millisecond, drain: 30 * time.Second,
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		for c.count("process payments") < 5 && ctx.Err() == nil {
			time.Sleep(5 * time.Millisecond)
		}
		cancel()
	}()
	summary, err := run(ctx, cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	n := summary.Sent[topicOrders]
	if summary.Unfinished != 0 || n < 5 || summary.Sent[topicShipping] != n || summary.Processed[topicShipping] != n {
		t.Errorf("summary = %+v; want as many at the end as at the beginning", summary)
	}
	if got := c.count("process shipping"); got != int(n) {
		t.Errorf("%d spans of shipping arrived; want %d", got, n)
	}

	// All of it was committed: the next run begins where this one ended.
	cfg.count = 10
	summary, err = run(context.Background(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for group, n := range summary.Processed {
		if n != 10 {
			t.Errorf("the next run processed %d messages in group %q; want its own 10", n, group)
		}
	}
}

func TestABrokerThatRestartsLosesNoOrder(t *testing.T) {
	dir := t.TempDir()
	start := func(port int) *kfake.Cluster {
		opts := []kfake.Opt{kfake.NumBrokers(1), kfake.DataDir(dir), kfake.SyncWrites()}
		if port != 0 {
			opts = append(opts, kfake.Ports(port))
		}
		cluster, err := kfake.NewCluster(opts...)
		if err != nil {
			t.Fatal(err)
		}
		return cluster
	}
	cluster := start(0)
	addr := cluster.ListenAddrs()[0]
	_, portText, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(portText)
	if err != nil {
		t.Fatal(err)
	}
	c := newCollector(t)
	cfg := config{
		brokers: []string{addr}, otlp: c.URL, protocol: "http", rate: 200, count: 300, partitions: 2, workers: 16,
		linger: 10 * time.Millisecond, drain: time.Minute,
	}
	restarted := make(chan *kfake.Cluster, 1)
	go func() {
		for c.count("process shipping") < 50 {
			time.Sleep(5 * time.Millisecond)
		}
		cluster.Close()
		restarted <- start(port)
	}()
	summary, err := run(context.Background(), cfg, slog.New(slog.DiscardHandler))
	(<-restarted).Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", summary)
	if summary.Unfinished != 0 || summary.SpansDropped != 0 {
		t.Errorf("summary = %+v; want every order at its end", summary)
	}
}

func TestFlagsNameEveryFault(t *testing.T) {
	_, err := parseFlags([]string{"--rate", "0", "--partitions", "0", "--brokers", " , ", "--count", "-1", "--workers", "-2"})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"-rate", "-partitions", "-brokers", "-count", "-workers"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not name %s: %v", want, err)
		}
	}
	cfg, err := parseFlags([]string{"--payments-delay", "0", "--brokers", "a:1, b:2"})
	if err != nil || cfg.workers != 32 || len(cfg.brokers) != 2 {
		t.Errorf("config = %+v, %v; want 32 workers and two brokers", cfg, err)
	}
}

func (c *collector) count(name string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, s := range c.spans {
		if s.Name == name {
			n++
		}
	}
	return n
}
