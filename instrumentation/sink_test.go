package hoptrace

import (
	"compress/gzip"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	collectmetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	collectpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// sink is a collector.
type sink struct {
	collectpb.UnimplementedTraceServiceServer
	refuse atomic.Pointer[status.Status] // what every call is answered with
	delay  time.Duration                 // of each call
	reject int64                         // spans or points of each call that it does not take
	plain  bool                          // serves no measures

	mu       sync.Mutex
	names    []string // of spans
	spans    []*tracepb.Span
	points   map[string]int // by metric
	resource map[string]string
	measured map[string]string // the resource of measures
	auth     string
	custom   string
	path     string // of the last span request over HTTP
	encoding string
}

func attributesOf(r *resourcepb.Resource) map[string]string {
	out := make(map[string]string)
	for _, kv := range r.Attributes {
		out[kv.Key] = kv.Value.GetStringValue()
		if n := kv.Value.GetIntValue(); n != 0 {
			out[kv.Key] = fmt.Sprint(n)
		}
	}
	return out
}

func (s *sink) take(req *collectpb.ExportTraceServiceRequest, auth, custom string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.auth, s.custom = auth, custom
	for _, rs := range req.ResourceSpans {
		s.resource = attributesOf(rs.Resource)
		for _, ss := range rs.ScopeSpans {
			for _, span := range ss.Spans {
				s.names = append(s.names, span.Name)
				s.spans = append(s.spans, span)
			}
		}
	}
}

func (s *sink) takeMeasures(req *collectmetrics.ExportMetricsServiceRequest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.points == nil {
		s.points = make(map[string]int)
	}
	for _, rm := range req.ResourceMetrics {
		s.measured = attributesOf(rm.Resource)
		for _, sm := range rm.ScopeMetrics {
			for _, m := range sm.Metrics {
				n := 0
				for _, p := range m.GetExponentialHistogram().GetDataPoints() {
					n += int(p.Count) //nolint:gosec // few
				}
				for _, p := range m.GetSum().GetDataPoints() {
					n += int(p.GetAsInt())
				}
				s.points[m.Name] += n
			}
		}
	}
}

func (s *sink) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.names)
}

func (s *sink) measure(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.points[name]
}

func (s *sink) begin() *status.Status {
	time.Sleep(s.delay)
	return s.refuse.Load()
}

func (s *sink) Export(ctx context.Context, req *collectpb.ExportTraceServiceRequest) (*collectpb.ExportTraceServiceResponse, error) {
	if st := s.begin(); st != nil {
		return nil, st.Err()
	}
	md, _ := metadata.FromIncomingContext(ctx)
	s.take(req, strings.Join(md.Get("x-sentry-auth"), "|"), strings.Join(md.Get("x-own"), "|"))
	resp := &collectpb.ExportTraceServiceResponse{}
	if s.reject > 0 {
		resp.PartialSuccess = &collectpb.ExportTracePartialSuccess{RejectedSpans: s.reject, ErrorMessage: "too old"}
	}
	return resp, nil
}

// measureSink is a sink's service for measures.
type measureSink struct {
	collectmetrics.UnimplementedMetricsServiceServer
	*sink
}

func (s measureSink) Export(_ context.Context, req *collectmetrics.ExportMetricsServiceRequest) (*collectmetrics.ExportMetricsServiceResponse, error) {
	if st := s.begin(); st != nil {
		return nil, st.Err()
	}
	s.takeMeasures(req)
	return &collectmetrics.ExportMetricsServiceResponse{}, nil
}

// serve starts s at addr, or at a free port when addr is empty.
func (s *sink) serve(t *testing.T, addr string) string { return s.serveTLS(t, addr, nil) }

func (s *sink) serveTLS(t *testing.T, addr string, c *tls.Config) string {
	t.Helper()
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	var opts []grpc.ServerOption
	if c != nil {
		opts = append(opts, grpc.Creds(credentials.NewTLS(c)))
	}
	server := grpc.NewServer(opts...)
	collectpb.RegisterTraceServiceServer(server, s)
	if !s.plain {
		collectmetrics.RegisterMetricsServiceServer(server, measureSink{sink: s})
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l)
	}()
	t.Cleanup(func() { server.Stop(); <-done })
	return l.Addr().String()
}

// serveHTTP is serve for OTLP over HTTP.
func (s *sink) serveHTTP(t *testing.T, addr string) string {
	t.Helper()
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(s)
	_ = server.Listener.Close()
	server.Listener = l
	server.Start()
	t.Cleanup(server.Close)
	return l.Addr().String()
}

// ServeHTTP takes OTLP over HTTP.
func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.begin()
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		body = z
	}
	raw, err := io.ReadAll(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if strings.HasSuffix(r.URL.Path, "/v1/metrics") {
		var req collectmetrics.ExportMetricsServiceRequest
		if err := proto.Unmarshal(raw, &req); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s.takeMeasures(&req)
		return
	}
	var req collectpb.ExportTraceServiceRequest
	if err := proto.Unmarshal(raw, &req); err != nil || !strings.HasSuffix(r.URL.Path, "/v1/traces") {
		http.Error(w, "no traces", http.StatusBadRequest)
		return
	}
	s.take(&req, r.Header.Get("X-Sentry-Auth"), r.Header.Get("X-Own"))
	s.mu.Lock()
	s.path, s.encoding = r.URL.Path, r.Header.Get("Content-Encoding")
	s.mu.Unlock()
}
