package hoptrace

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
	"github.com/hoptrace/hoptrace/instrumentation/messaging/measure"
	"github.com/hoptrace/hoptrace/instrumentation/messaging/record"
)

var testMeasures = measure.NewLayout(
	measure.Instrument{Name: "test.duration", Kind: measure.Duration},
	measure.Instrument{Name: "test.count", Kind: measure.Counter},
)

// wrapper does to a client what the wrapper of a Kafka client does.
type wrapper struct {
	recorder *record.Recorder
	stream   *record.Stream
	group    *measure.Group
}

func newWrapper(t testing.TB, c *Client) *wrapper {
	t.Helper()
	p, ok := c.TracerProvider().(interface {
		Recorder() *record.Recorder
		Registry() *measure.Registry
	})
	if !ok {
		t.Fatalf("the provider is a %T, without a recorder", c.TracerProvider())
	}
	w := &wrapper{recorder: p.Recorder()}
	if w.recorder != nil {
		w.stream = w.recorder.Stream(record.Scope{Name: "wrapper"}, "send orders", trace.SpanKindProducer, nil,
			attribute.String(messaging.AttrSystem, "kafka"), attribute.String(messaging.AttrDestinationName, "orders"))
	}
	if r := p.Registry(); r != nil {
		w.group = r.Meter(record.Scope{Name: "wrapper"}).Group(testMeasures, attribute.String("topic", "orders"))
	}
	return w
}

// messages records n messages, and measures them.
func (w *wrapper) messages(n int) {
	for range n {
		id, span, sampled := w.recorder.Begin(context.Background(), trace.SpanContext{}, w.stream)
		if sampled {
			now := time.Now().UnixNano()
			w.recorder.Put(w.stream, &record.Span{TraceID: id, SpanID: span, Flags: 0x101, Start: now, End: now + 1}, nil)
		}
	}
	w.measured(n)
}

// measured measures n messages.
func (w *wrapper) measured(n int) {
	if w.group == nil {
		return
	}
	w.group.Lock()
	w.group.Duration(0, 1e6, n, nil)
	w.group.Add(1, int64(n))
	w.group.Unlock()
}

func TestRecordsAndMeasuresTakeTheSameWayAsSpans(t *testing.T) {
	f := func(name string, opts Options, s *sink) {
		t.Run(name, func(t *testing.T) {
			opts.ServiceName, opts.Release = "billing", "billing@1.2.3"
			opts.DSN, opts.Headers = "http://abc123@sentry.invalid/42", map[string]string{"X-Own": "yes"}
			c := client(t, opts)
			w := newWrapper(t, c)
			w.messages(300)
			spans(c, 200)
			if !c.Flush(patience) {
				t.Fatal("Flush = false")
			}
			if s.count() != 500 || s.measure("test.duration") != 300 || s.measure("test.count") != 300 {
				t.Errorf("%d spans, %d durations, %d counted; want 500, 300, 300", s.count(), s.measure("test.duration"), s.measure("test.count"))
			}
			if got := c.Counts(); got != (Counts{Exported: 500}) {
				t.Errorf("Counts = %+v; want 500 exported", got)
			}
			if got := c.MeasureCounts(); got.Exported < 2 || got.Dropped != 0 {
				t.Errorf("MeasureCounts = %+v", got)
			}
			if diff := cmp.Diff(s.resource, s.measured); diff != "" || s.resource["service.version"] != "billing@1.2.3" {
				t.Errorf("resources of spans and measures differ, or lack the release (-spans +measures):\n%s", diff)
			}
			if !strings.HasSuffix(s.auth, "sentry_key=abc123") || s.custom != "yes" {
				t.Errorf("x-sentry-auth = %q, x-own = %q", s.auth, s.custom)
			}
		})
	}
	s := &sink{}
	f("grpc", Options{Endpoint: s.serve(t, "")}, s)
	s = &sink{}
	f("grpc gzip", Options{Endpoint: s.serve(t, ""), Compression: CompressionGzip}, s)
	for _, compression := range []string{"", CompressionNone} {
		s = &sink{}
		server := httptest.NewServer(s)
		defer server.Close()
		f("http "+compression, Options{Endpoint: server.URL, Protocol: ProtocolHTTP, Compression: compression}, s)
		if want := map[string]string{"": "gzip", CompressionNone: ""}[compression]; s.encoding != want {
			t.Errorf("Content-Encoding = %q; want %q", s.encoding, want)
		}
	}
}

func TestCloseLosesNothing(t *testing.T) {
	f := func(name, protocol string, s *sink, late time.Duration) {
		t.Run(name, func(t *testing.T) {
			serve := s.serve
			if protocol == ProtocolHTTP {
				serve = s.serveHTTP
			}
			addr := closedPort(t)
			if late == 0 {
				addr = serve(t, "")
			}
			c, err := New(Options{Endpoint: addr, Protocol: protocol, BatchSize: 512, CloseTimeout: patience, OnError: func(error) {}})
			if err != nil {
				t.Fatal(err)
			}
			w := newWrapper(t, c)
			w.messages(20_000)
			spans(c, 3000)
			closed := make(chan struct{})
			go func() {
				defer close(closed)
				c.Close()
			}()
			if late > 0 {
				select {
				case <-closed:
					t.Error("Close gave up before its time")
				case <-time.After(late):
				}
				serve(t, addr)
			}
			<-closed
			if s.count() != 23_000 || s.measure("test.count") != 20_000 {
				t.Errorf("%d spans and %d measured messages arrived; want 23,000 and 20,000", s.count(), s.measure("test.count"))
			}
			if got := c.Counts(); got != (Counts{Exported: 23_000}) {
				t.Errorf("Counts = %+v", got)
			}
		})
	}
	for _, protocol := range []string{ProtocolGRPC, ProtocolHTTP} {
		f("prompt "+protocol, protocol, &sink{}, 0)
		f("slow "+protocol, protocol, &sink{delay: 100 * time.Millisecond}, 0)
		f("late "+protocol, protocol, &sink{}, time.Second)
	}
}

// childEndpoint makes the test binary a program that records, closes and exits.
const childEndpoint = "HOPTRACE_TEST_CHILD_ENDPOINT"

func TestAProgramThatExitsAfterCloseHasLostNothing(t *testing.T) {
	if addr := os.Getenv(childEndpoint); addr != "" {
		if err := Init(Options{Endpoint: addr, OnError: func(err error) { t.Error(err) }}); err != nil {
			t.Fatal(err)
		}
		c := global.client
		newWrapper(t, c).messages(5000)
		spans(c, 1000)
		Close()
		os.Exit(0)
	}
	s := &sink{delay: 20 * time.Millisecond}
	cmd := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), childEndpoint+"="+s.serve(t, ""))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("the program failed: %v\n%s", err, out)
	}
	if s.count() != 6000 || s.measure("test.count") != 5000 {
		t.Errorf("%d spans and %d measured messages arrived; want 6000 and 5000", s.count(), s.measure("test.count"))
	}
}

func TestADeadCollectorCostsOnlyACount(t *testing.T) {
	var said atomic.Int64
	c := client(t, Options{
		Endpoint: closedPort(t), QueueSize: 10_000, MetricInterval: 50 * time.Millisecond, CloseTimeout: 100 * time.Millisecond,
		OnError: func(err error) {
			if strings.Contains(err.Error(), "said once") {
				said.Add(1)
			}
		},
	})
	w := newWrapper(t, c)
	w.messages(1000) // warm
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapInuse
	}
	before := heap()
	const n = 200_000
	slowest := time.Duration(0)
	for range n / 1000 {
		start := time.Now()
		w.messages(1000)
		slowest = max(slowest, time.Since(start))
	}
	spans(c, 20_000)
	// A thousand messages take a millisecond; waiting for the collector would
	// take its connection's timeout.
	if slowest > time.Second {
		t.Errorf("1000 messages took %v: they waited for the collector", slowest)
	}
	if grown := int64(heap()) - int64(before); grown > 48<<20 { //nolint:gosec // far from the limits
		t.Errorf("the heap grew by %d MiB; the queues hold 10,000 spans each", grown>>20)
	}
	eventually(t, "the message", func() bool { return said.Load() == 1 })
	got := c.Counts()
	if got.Exported != 0 || got.Dropped < n-2*10_000 || got.Queued > 25_000 {
		t.Errorf("Counts = %+v; want all but the queues dropped", got)
	}
	c.Close()
	if got := c.Counts(); got.Queued != 0 || got.Dropped != n+1000+20_000 || said.Load() != 1 {
		t.Errorf("after Close: Counts = %+v, said %d times; want all dropped, once", got, said.Load())
	}
}

func TestCloseWithoutTimeStillEnds(t *testing.T) {
	for range 20 { // a goroutine that stays is found when all tests are done
		c := client(t, Options{Endpoint: closedPort(t), CloseTimeout: time.Nanosecond, OnError: func(error) {}})
		newWrapper(t, c).messages(1)
		spans(c, 1)
		c.Close()
		if got := c.Counts(); got != (Counts{Dropped: 2}) {
			t.Errorf("Counts = %+v; want both dropped", got)
		}
	}
}

func TestWhatACollectorOnlyPartlyTakesIsCounted(t *testing.T) {
	s := &sink{reject: 3}
	var said []string
	c := client(t, Options{Endpoint: s.serve(t, ""), OnError: func(err error) { said = append(said, err.Error()) }})
	newWrapper(t, c).messages(10)
	if c.Flush(patience) {
		t.Error("Flush = true though three were not taken")
	}
	if got := c.Counts(); got != (Counts{Exported: 7, Dropped: 3}) {
		t.Errorf("Counts = %+v; want 7 exported, 3 dropped", got)
	}
	if len(said) != 1 || !strings.Contains(said[0], "too old") {
		t.Errorf("said %q; want the collector's reason, once", said)
	}
}

func TestACollectorWithoutMeasuresStillGetsSpans(t *testing.T) {
	s := &sink{plain: true}
	var said atomic.Int64
	c := client(t, Options{Endpoint: s.serve(t, ""), MetricInterval: 10 * time.Millisecond, OnError: func(error) { said.Add(1) }})
	w := newWrapper(t, c)
	for i := range 3 {
		w.messages(10)
		eventually(t, "dropped points", func() bool { return c.MeasureCounts().Dropped >= uint64(i+1) })
		spans(c, 1)
		if !c.Flush(patience) {
			t.Error("Flush = false though all spans arrived")
		}
	}
	c.Close()
	if s.count() != 33 || said.Load() != 1 {
		t.Errorf("%d spans arrived, %d messages; want 33 and 1", s.count(), said.Load())
	}
}

func TestWhichRefusalsAreTriedAgain(t *testing.T) {
	g := func(code codes.Code, after time.Duration, want bool, wantAfter time.Duration) {
		t.Helper()
		r := refusedByGRPC(statusWith(t, code, after))
		if r.retry != want || r.after != wantAfter {
			t.Errorf("%s, RetryInfo %v: again %v after %v; want %v after %v", code, after, r.retry, r.after, want, wantAfter)
		}
	}
	g(codes.Unavailable, -1, true, 0)
	g(codes.Unavailable, time.Second, true, time.Second)
	g(codes.DeadlineExceeded, -1, true, 0)
	g(codes.ResourceExhausted, -1, false, 0)
	g(codes.ResourceExhausted, 2*time.Second, true, 2*time.Second)
	g(codes.InvalidArgument, -1, false, 0)
	g(codes.Unimplemented, -1, false, 0)
	g(codes.PermissionDenied, time.Second, false, time.Second)

	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	h := func(code int, retryAfter string, want bool, wantAfter time.Duration) {
		t.Helper()
		resp := &http.Response{StatusCode: code, Status: fmt.Sprint(code), Header: http.Header{}}
		resp.Header.Set("Retry-After", retryAfter)
		if r := refusedByHTTP(resp, nil, now); r.retry != want || r.after != wantAfter {
			t.Errorf("%d, Retry-After %q: again %v after %v; want %v after %v", code, retryAfter, r.retry, r.after, want, wantAfter)
		}
	}
	h(429, "3", true, 3*time.Second)
	h(503, "", true, 0)
	h(503, "Mon, 23 Nov 2026 12:00:07 GMT", true, 7*time.Second)
	h(502, "-4", true, 0)
	h(504, "soon", true, 0)
	h(400, "3", false, 0)
	h(404, "", false, 0)
	h(500, "", false, 0)
}

func TestABusyCollectorIsAskedAgainAsItSays(t *testing.T) {
	var calls atomic.Int64
	s := &sink{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "traces") && calls.Add(1) == 1 {
			w.Header().Set("Retry-After", "1")
			http.Error(w, "busy", http.StatusTooManyRequests)
			return
		}
		s.ServeHTTP(w, r)
	}))
	defer server.Close()
	c := client(t, Options{Endpoint: server.URL, Protocol: ProtocolHTTP, OnError: func(error) {}})
	newWrapper(t, c).messages(5)
	start := time.Now()
	if !c.Flush(patience) || s.count() != 5 {
		t.Errorf("%d spans arrived; want 5", s.count())
	}
	if took := time.Since(start); took < time.Second {
		t.Errorf("it was asked again after %v; it had said 1 s", took)
	}
	if calls.Load() != 2 {
		t.Errorf("%d requests; want 2", calls.Load())
	}
}

func TestWhatTheProgramSamplesHoldsForRecordsToo(t *testing.T) {
	count := func(opts Options, topic string) (sdk, records int) {
		t.Helper()
		opts.Endpoint = closedPort(t)
		opts.CloseTimeout = time.Millisecond
		opts.OnError = func(error) {}
		c := client(t, opts)
		w := newWrapper(t, c)
		attrs := []attribute.KeyValue{
			attribute.String(messaging.AttrSystem, "kafka"), attribute.String(messaging.AttrOperationType, "process"),
			attribute.String(messaging.AttrDestinationName, topic), attribute.String(messaging.AttrConsumerGroup, "billing"),
			attribute.String(messaging.AttrPartitionID, "3"),
		}
		st := w.recorder.Stream(record.Scope{Name: "wrapper"}, "process "+topic, trace.SpanKindConsumer, nil, attrs...)
		tracer := c.TracerProvider().Tracer("test")
		for range 4000 {
			if _, _, sampled := w.recorder.Begin(context.Background(), trace.SpanContext{}, st); sampled {
				records++
			}
			_, span := tracer.Start(context.Background(), "process "+topic, trace.WithAttributes(attrs...))
			if span.SpanContext().IsSampled() {
				sdk++
			}
		}
		return sdk, records
	}
	f := func(name string, opts Options, topic string, want float64) {
		t.Helper()
		sdk, records := count(opts, topic)
		for way, n := range map[string]int{"sdk": sdk, "records": records} {
			if math.Abs(float64(n)/4000-want) > 0.05 {
				t.Errorf("%s, topic %s: %d of 4000 sampled by %s; want %v of them", name, topic, n, way, want)
			}
		}
	}
	f("all", Options{}, "orders", 1)
	f("ratio", Options{SampleRatio: 0.25}, "orders", 0.25)
	byTopic := func(i SamplingInfo) float64 {
		if i != (SamplingInfo{Operation: "process", Topic: i.Topic, Partition: 3, Group: "billing"}) {
			t.Errorf("asked with %+v", i)
		}
		switch i.Topic {
		case "orders":
			return 0.5
		case "audit":
			return 0
		case "odd":
			panic("odd")
		}
		return -1
	}
	opts := Options{SampleRatio: 0.1, MessageSampler: byTopic}
	f("function", opts, "orders", 0.5)
	f("function", opts, "audit", 0)
	f("function without opinion", opts, "other", 0.1)
	f("function that panics", opts, "odd", 0.1)
	f("own sampler", Options{Sampler: topicSampler("orders")}, "orders", 1)
	f("own sampler", Options{Sampler: topicSampler("orders")}, "audit", 0)
	opts.Sampler, opts.SampleRatio = topicSampler("other"), 0
	f("function before own sampler", opts, "orders", 0.5)
	f("own sampler after function", opts, "other", 1)
}

func TestParentsDecideForTheirChildrenInRecordsToo(t *testing.T) {
	c := client(t, Options{
		Endpoint: closedPort(t), CloseTimeout: time.Millisecond, OnError: func(error) {},
		MessageSampler: func(SamplingInfo) float64 { t.Error("asked about a child"); return 1 },
	})
	w := newWrapper(t, c)
	for _, flags := range []trace.TraceFlags{0, trace.FlagsSampled} {
		parent := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{1}, TraceFlags: flags, Remote: true})
		id, _, sampled := w.recorder.Begin(context.Background(), parent, w.stream)
		if id != parent.TraceID() || sampled != parent.IsSampled() {
			t.Errorf("child of a parent with sampled=%v: trace %s, %v", parent.IsSampled(), id, sampled)
		}
	}
}

func TestTheKillSwitchStopsSpans(t *testing.T) {
	defer SetEnabled(true)
	s := &sink{}
	c := client(t, Options{Endpoint: s.serve(t, "")})
	SetEnabled(false)
	if Enabled() || messaging.Enabled() {
		t.Error("still enabled")
	}
	spans(c, 10)
	SetEnabled(true)
	spans(c, 1)
	if !c.Flush(patience) || s.count() != 1 {
		t.Errorf("%d spans arrived; want the one after it was switched on again", s.count())
	}
}

func statusWith(t *testing.T, code codes.Code, after time.Duration) error {
	t.Helper()
	st := status.New(code, "no")
	if after >= 0 {
		var err error
		if st, err = st.WithDetails(retryInfo(after)); err != nil {
			t.Fatal(err)
		}
	}
	return st.Err()
}

func retryInfo(after time.Duration) *errdetails.RetryInfo {
	return &errdetails.RetryInfo{RetryDelay: durationpb.New(after)}
}

// topicSampler is a sampler of a program that looks at attributes.
type topicSampler string

func (s topicSampler) Description() string { return "topicSampler" }

func (s topicSampler) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	for _, kv := range p.Attributes {
		if kv.Key == messaging.AttrDestinationName && kv.Value.AsString() == string(s) {
			return sdktrace.SamplingResult{Decision: sdktrace.RecordAndSample}
		}
	}
	return sdktrace.SamplingResult{Decision: sdktrace.Drop}
}
