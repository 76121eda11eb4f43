package hoptrace

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not so within %s", what, patience)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// closedPort returns an address at which nobody listens.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return addr
}

func client(t *testing.T, opts Options) *Client {
	t.Helper()
	c, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func spans(c *Client, n int) {
	tracer := c.TracerProvider().Tracer("test")
	for range n {
		_, span := tracer.Start(context.Background(), "work")
		span.End()
	}
}

func TestSpansReachTheCollectorByGRPC(t *testing.T) {
	s := &sink{}
	c := client(t, Options{
		ServiceName: "billing", ServiceVersion: "1.2.3", Environment: "test", Endpoint: "http://" + s.serve(t, ""),
		DSN: "http://abc123:secret@sentry.invalid/42", Headers: map[string]string{"X-Own": "yes"},
		ResourceAttributes: []attribute.KeyValue{attribute.String("team", "payments")},
	})
	spans(c, 5000)
	if !c.Flush(patience) {
		t.Fatal("Flush = false")
	}
	if s.count() != 5000 {
		t.Errorf("%d spans arrived; want 5000", s.count())
	}
	if got := c.Counts(); got != (Counts{Exported: 5000}) {
		t.Errorf("Counts = %+v", got)
	}
	if s.auth != "Sentry sentry_version=7, sentry_client=hoptrace-go/"+Version+", sentry_key=abc123" || s.custom != "yes" {
		t.Errorf("x-sentry-auth = %q, x-own = %q", s.auth, s.custom)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		"service.name": "billing", "service.version": "1.2.3", "deployment.environment.name": "test", "team": "payments",
		"host.name": host, "process.pid": fmt.Sprint(os.Getpid()), "hoptrace.host.boot_id": bootID(),
	} {
		if got := s.resource[key]; got != want {
			t.Errorf("resource %s = %q; want %q", key, got, want)
		}
	}
}

func TestSpansReachTheCollectorByHTTP(t *testing.T) {
	s := &sink{}
	server := httptest.NewServer(s)
	defer server.Close()
	c := client(t, Options{Endpoint: server.URL, Protocol: ProtocolHTTP, DSN: "https://key@host/1"})
	spans(c, 10)
	if !c.Flush(patience) || s.count() != 10 {
		t.Errorf("%d spans arrived; want 10", s.count())
	}
	if !strings.HasSuffix(s.auth, "sentry_key=key") {
		t.Errorf("X-Sentry-Auth = %q", s.auth)
	}
	if s.path != "/v1/traces" || s.encoding != "gzip" {
		t.Errorf("path = %q, Content-Encoding = %q", s.path, s.encoding)
	}
	if s.resource["service.name"] != filepath.Base(os.Args[0]) {
		t.Errorf("service.name = %q; want the executable", s.resource["service.name"])
	}
}

func TestACollectorThatIsAwayDisturbsNobody(t *testing.T) {
	addr := closedPort(t)
	var said []error
	var mu sync.Mutex
	start := time.Now()
	c := client(t, Options{Endpoint: addr, BatchSize: 10, BatchTimeout: 5 * time.Millisecond, ExportTimeout: 300 * time.Millisecond, OnError: func(err error) {
		mu.Lock()
		said = append(said, err)
		mu.Unlock()
	}})
	spans(c, 100)
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("New and 100 spans took %v", took)
	}
	if c.Flush(50 * time.Millisecond) {
		t.Error("Flush = true though nobody took the spans")
	}
	heard := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(said)
	}
	eventually(t, "OnError", func() bool { return heard() > 0 })

	// It comes back: nothing was lost.
	s := &sink{}
	s.serve(t, addr)
	eventually(t, "the spans at the collector", func() bool { return s.count() == 100 })
	if !c.Flush(patience) {
		t.Error("Flush = false though the collector answers")
	}
	if heard() != 1 {
		t.Errorf("OnError was called %d times; want once: %v", heard(), said)
	}
	if got := c.Counts(); got.Exported != 100 || got.Dropped != 0 {
		t.Errorf("Counts = %+v; want 100 exported", got)
	}
}

func TestWhatTheCollectorRefusesIsDroppedAndCounted(t *testing.T) {
	s := &sink{}
	s.refuse.Store(status.New(codes.PermissionDenied, "unknown key"))
	var said atomic.Int64
	c := client(t, Options{Endpoint: s.serve(t, ""), OnError: func(err error) {
		if !strings.Contains(err.Error(), "unknown key") {
			t.Errorf("error = %v; want the collector's reason", err)
		}
		said.Add(1)
	}})
	spans(c, 7)
	if c.Flush(patience) {
		t.Error("Flush = true though the spans were refused")
	}
	if got := c.Counts(); got != (Counts{Dropped: 7}) || said.Load() != 1 {
		t.Errorf("Counts = %+v, OnError called %d times; want 7 dropped and once", got, said.Load())
	}
}

func TestAFullQueueDropsAndCountsAndDoesNotBlock(t *testing.T) {
	c := client(t, Options{Endpoint: closedPort(t), QueueSize: 100, BatchSize: 50, ExportTimeout: time.Minute, OnError: func(error) {}})
	done := make(chan struct{})
	go func() {
		defer close(done)
		spans(c, 1000)
	}()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("ending a span blocks")
	}
	got := c.Counts()
	if got.Dropped < 1000-200 || got.Dropped+got.Queued+got.Exported != 1000 || got.Queued > 150 {
		t.Errorf("Counts = %+v; want all but the queue and a batch dropped", got)
	}
}

func TestCloseEndsInTimeAndCountsTheRest(t *testing.T) {
	c, err := New(Options{Endpoint: closedPort(t), OnError: func(error) {}})
	if err != nil {
		t.Fatal(err)
	}
	spans(c, 10)
	start := time.Now()
	c.Close()
	c.Close()
	if took := time.Since(start); took > defaultCloseTimeout+3*time.Second {
		t.Errorf("Close took %v", took)
	}
	spans(c, 5) // after the end: not recorded
	if got := c.Counts(); got.Dropped < 10 || got.Queued != 0 {
		t.Errorf("Counts = %+v; want the ten dropped", got)
	}
}

// spy is an Integration.
type spy struct {
	err      error
	provider trace.TracerProvider
}

func (s *spy) Name() string { return "spy" }

func (s *spy) Setup(tp trace.TracerProvider, p propagation.TextMapPropagator) error {
	if p == nil {
		return errors.New("no propagator")
	}
	s.provider = tp
	return s.err
}

func TestInitTwiceIsAnError(t *testing.T) {
	restoreGlobals(t)
	if !Flush(time.Second) {
		t.Error("Flush without a client = false")
	}
	Close()
	s := &sink{}
	opts := Options{Endpoint: s.serve(t, ""), Integrations: []Integration{&spy{}}}
	if err := Init(opts); err != nil {
		t.Fatal(err)
	}
	if err := Init(opts); !errors.Is(err, ErrInitialised) {
		t.Errorf("second Init = %v; want ErrInitialised", err)
	}
	_, span := otel.Tracer("test").Start(context.Background(), "global")
	span.End()
	if opts.Integrations[0].(*spy).provider != otel.GetTracerProvider() {
		t.Error("the integration was set up with another provider than the global one")
	}
	if !Flush(patience) || s.count() != 1 {
		t.Errorf("%d spans arrived by the global provider; want 1", s.count())
	}
	Close()
	if err := Init(opts); err != nil {
		t.Errorf("Init after Close = %v", err)
	}
	Close()
}

func TestAFailingIntegrationIsNamed(t *testing.T) {
	_, err := New(Options{Endpoint: closedPort(t), Integrations: []Integration{&spy{err: errors.New("no kafka")}}})
	if err == nil || !strings.Contains(err.Error(), `"spy"`) || !strings.Contains(err.Error(), "no kafka") {
		t.Errorf("error = %v; want the integration and its reason", err)
	}
}

func TestEveryFaultIsNamedAtOnceAndNoSecret(t *testing.T) {
	_, err := New(Options{
		Endpoint: "ftp://x", Protocol: "carrier pigeon", SampleRatio: 2, QueueSize: -1, BatchSize: -1, BatchTimeout: -1,
		DSN: "http://topsecret@/", Integrations: []Integration{nil},
	})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"Endpoint", "Protocol", "SampleRatio", "QueueSize", "BatchSize", "BatchTimeout", "DSN", "Integrations[0]"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not name %s: %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "topsecret") {
		t.Errorf("the error tells the key: %v", err)
	}
}

func TestEndpointComesFromTheEnvironment(t *testing.T) {
	f := func(o Options, env map[string]string, want string) {
		t.Helper()
		for _, name := range []string{"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"} {
			t.Setenv(name, env[name])
		}
		r, err := o.resolve()
		if err != nil {
			t.Fatal(err)
		}
		if got := r.traces.url.String(); got != want {
			t.Errorf("endpoint of %+v with %v = %s; want %s", o, env, got, want)
		}
	}
	f(Options{}, nil, "http://127.0.0.1:4317")
	f(Options{Protocol: ProtocolHTTP}, nil, "http://127.0.0.1:4318/v1/traces")
	f(Options{}, map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://sidecar:9"}, "http://sidecar:9")
	f(Options{Protocol: ProtocolHTTP}, map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://sidecar:9/base/"}, "http://sidecar:9/base/v1/traces")
	f(Options{Protocol: ProtocolHTTP}, map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://sidecar:9/own"}, "http://sidecar:9/own")
	f(Options{Endpoint: "host:1"}, map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://sidecar:9"}, "http://host:1")
	f(Options{Endpoint: "https://host:1", Protocol: ProtocolHTTP}, nil, "https://host:1/v1/traces")
}

func TestSampleRatioLeavesParentsTheirDecision(t *testing.T) {
	r, err := Options{SampleRatio: 0.25}.resolve()
	if err != nil {
		t.Fatal(err)
	}
	tp := sdktrace.NewTracerProvider(sdktrace.WithSampler(newSampling(r.Sampler, r.ratio, nil, r.reporter).sdk))
	tracer := tp.Tracer("test")
	sampled := 0
	for range 4000 {
		_, span := tracer.Start(context.Background(), "root")
		if span.SpanContext().IsSampled() {
			sampled++
		}
	}
	if sampled < 800 || sampled > 1200 {
		t.Errorf("%d of 4000 roots are sampled; want about 1000", sampled)
	}
	for _, flags := range []trace.TraceFlags{0, trace.FlagsSampled} {
		parent := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{0: 255, 8: 255}, SpanID: trace.SpanID{1}, TraceFlags: flags, Remote: true})
		_, span := tracer.Start(trace.ContextWithRemoteSpanContext(context.Background(), parent), "child")
		if got := span.SpanContext().IsSampled(); got != parent.IsSampled() {
			t.Errorf("child of a parent with sampled=%v: %v", parent.IsSampled(), got)
		}
	}
}

func TestWithoutABootIDTheAttributeIsAbsent(t *testing.T) {
	before := bootIDFile
	defer func() { bootIDFile = before }()
	bootIDFile = filepath.Join(t.TempDir(), "boot_id")
	has := func() bool {
		return slices.ContainsFunc(newResource(Options{}).Attributes(), func(kv attribute.KeyValue) bool { return kv.Key == "hoptrace.host.boot_id" })
	}
	if has() {
		t.Error("a boot id was found where there is none")
	}
	if err := os.WriteFile(bootIDFile, []byte("6a1f\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if id := bootID(); !has() || len(id) != 16 || strings.Contains(id, "6a1f") {
		t.Errorf("boot id = %q; want 16 digits of a hash", id)
	}
}
