// Package exampletest gives the examples' tests what the examples need: a broker
// of the kind that hoptrace embeds, and a collector that keeps what it is sent.
package exampletest

import (
	"context"
	"encoding/hex"
	"net"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	metricpb "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	tracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	spanpb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
)

// Broker starts a broker for the time of the test and returns its address.
func Broker(t testing.TB) string {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatalf("cannot start the broker: %v", err)
	}
	t.Cleanup(cluster.Close)
	return cluster.ListenAddrs()[0]
}

// Span is a span that arrived.
type Span struct {
	*spanpb.Span
	Service string // service.name of its resource
}

// Attribute is an attribute's value in text form, empty without it.
func (s Span) Attribute(key string) string { return text(s.Attributes, key) }

// ID is its span id.
func (s Span) ID() string { return hex.EncodeToString(s.SpanId) }

// Trace is its trace id.
func (s Span) Trace() string { return hex.EncodeToString(s.TraceId) }

// Parent is the span id of its parent, empty without one.
func (s Span) Parent() string { return hex.EncodeToString(s.ParentSpanId) }

// LinkedTo tells that it links to another span.
func (s Span) LinkedTo(to Span) bool {
	return slices.ContainsFunc(s.Links, func(l *spanpb.Span_Link) bool {
		return string(l.TraceId) == string(to.TraceId) && string(l.SpanId) == string(to.SpanId)
	})
}

// Failed tells that it ended with an error.
func (s Span) Failed() bool { return s.Status.GetCode() == spanpb.Status_STATUS_CODE_ERROR }

func text(attrs []*commonpb.KeyValue, key string) string {
	for _, kv := range attrs {
		if kv.Key != key {
			continue
		}
		switch v := kv.Value.Value.(type) {
		case *commonpb.AnyValue_StringValue:
			return v.StringValue
		case *commonpb.AnyValue_IntValue:
			return strconv.FormatInt(v.IntValue, 10)
		default:
			return kv.Value.String()
		}
	}
	return ""
}

// Collector keeps what it is sent by OTLP over gRPC.
type Collector struct {
	Endpoint string // a URL

	mu      sync.Mutex // guards the following
	spans   []Span
	metrics map[string]bool
}

// NewCollector starts a collector for the time of the test.
func NewCollector(t testing.TB) *Collector {
	t.Helper()
	var config net.ListenConfig
	l, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("cannot listen: %v", err)
	}
	c := &Collector{Endpoint: "http://" + l.Addr().String(), metrics: map[string]bool{}}
	server := grpc.NewServer()
	tracepb.RegisterTraceServiceServer(server, traces{c: c})
	metricpb.RegisterMetricsServiceServer(server, metrics{c: c})
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l) // ends by Stop
	}()
	t.Cleanup(func() { server.Stop(); <-done })
	return c
}

// Spans returns the spans of a name in the order of their starts.
func (c *Collector) Spans(name string) []Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	var found []Span
	for _, s := range c.spans {
		if s.Name == name {
			found = append(found, s)
		}
	}
	slices.SortStableFunc(found, func(a, b Span) int {
		return int(int64(a.StartTimeUnixNano) - int64(b.StartTimeUnixNano)) //nolint:gosec // times of today
	})
	return found
}

// CheckHops wants n records of a topic to be sent, received and processed by a
// service, each with the times of its way and linked to its sender.
func (c *Collector) CheckHops(t testing.TB, service, topic string, n int) {
	t.Helper()
	sent, received, processed := c.Spans("send "+topic), c.Spans("poll "+topic), c.Spans("process "+topic)
	if len(received) == 0 {
		received = c.Spans("receive " + topic) // of a client that calls it so
	}
	if len(sent) != n || len(received) != n || len(processed) != n {
		t.Fatalf("the collector has the spans %v, want %d of each kind over %s", c.Names(), n, topic)
	}
	for i, p := range processed {
		if !p.LinkedTo(sent[i]) || p.Service != service || p.Failed() {
			t.Errorf("span %d is %v of %s, want it linked to the span that sent it, %s", i, p, p.Service, sent[i].ID())
		}
		for _, key := range []string{"hoptrace.consume.asked", "hoptrace.consume.answered", "hoptrace.consume.handed"} {
			if p.Attribute(key) == "" {
				t.Errorf("span %d lacks %s: %v", i, key, p.Attributes)
			}
		}
		for _, key := range []string{"hoptrace.produce.written", "hoptrace.produce.acked"} {
			if sent[i].Attribute(key) == "" {
				t.Errorf("send span %d lacks %s: %v", i, key, sent[i].Attributes)
			}
		}
		for _, key := range []string{"messaging.destination.partition.id", "messaging.kafka.offset"} {
			if got, want := p.Attribute(key), sent[i].Attribute(key); got == "" || got != want {
				t.Errorf("span %d has %s %q, its message was sent to %q", i, key, got, want)
			}
		}
	}
	for _, name := range []string{"messaging.client.operation.duration", "messaging.process.duration"} {
		if !c.HasMetric(name) {
			t.Errorf("no points of %s arrived", name)
		}
	}
}

// Names returns the names of all spans that arrived, with how many there are of each.
func (c *Collector) Names() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	names := map[string]int{}
	for _, s := range c.spans {
		names[s.Name]++
	}
	return names
}

// HasMetric tells that points of a metric arrived.
func (c *Collector) HasMetric(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.metrics[name]
}

type traces struct {
	tracepb.UnimplementedTraceServiceServer
	c *Collector
}

// Export keeps the spans of a request.
func (s traces) Export(_ context.Context, req *tracepb.ExportTraceServiceRequest) (*tracepb.ExportTraceServiceResponse, error) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	for _, rs := range req.ResourceSpans {
		service := text(rs.Resource.GetAttributes(), "service.name")
		for _, ss := range rs.ScopeSpans {
			for _, sp := range ss.Spans {
				s.c.spans = append(s.c.spans, Span{Span: sp, Service: service})
			}
		}
	}
	return &tracepb.ExportTraceServiceResponse{}, nil
}

type metrics struct {
	metricpb.UnimplementedMetricsServiceServer
	c *Collector
}

// Export keeps the names of the metrics of a request.
func (s metrics) Export(_ context.Context, req *metricpb.ExportMetricsServiceRequest) (*metricpb.ExportMetricsServiceResponse, error) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	for _, rm := range req.ResourceMetrics {
		for _, sm := range rm.ScopeMetrics {
			for _, m := range sm.Metrics {
				s.c.metrics[m.Name] = true
			}
		}
	}
	return &metricpb.ExportMetricsServiceResponse{}, nil
}
