package measure

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	collector "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	metrics "go.opentelemetry.io/proto/otlp/metrics/v1"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sink is what a registry exports to.
type sink struct {
	mu      sync.Mutex
	fail    error
	bodies  [][]byte
	entered chan struct{} // told when an export begins, if not nil
	release chan struct{} // an export waits for it, if not nil
}

func (s *sink) export(ctx context.Context, b Batch) error {
	s.mu.Lock()
	entered, release := s.entered, s.release
	s.mu.Unlock()
	if entered != nil {
		entered <- struct{}{}
		select {
		case <-release:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return s.fail
	}
	s.bodies = append(s.bodies, append([]byte(nil), b.Body...))
	return nil
}

func (s *sink) failWith(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = err
}

// take decodes and forgets what arrived.
func (s *sink) take(t *testing.T) []*metrics.ResourceMetrics {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*metrics.ResourceMetrics
	for _, b := range s.bodies {
		var r collector.ExportMetricsServiceRequest
		if err := proto.Unmarshal(b, &r); err != nil {
			t.Fatalf("an exported batch is no ExportMetricsServiceRequest: %v", err)
		}
		if len(r.ProtoReflect().GetUnknown()) != 0 {
			t.Fatalf("unknown fields %x", r.ProtoReflect().GetUnknown())
		}
		out = append(out, r.ResourceMetrics...)
	}
	s.bodies = nil
	return out
}

// all returns every metric by name, points of one name joined.
func (s *sink) all(t *testing.T) map[string]*metrics.Metric {
	t.Helper()
	out := map[string]*metrics.Metric{}
	for _, rm := range s.take(t) {
		for _, sm := range rm.ScopeMetrics {
			for _, m := range sm.Metrics {
				if had := out[m.Name]; had != nil {
					proto.Merge(had, m)
				} else {
					out[m.Name] = m
				}
			}
		}
	}
	return out
}

func start(t *testing.T, o Options) (*Registry, *sink) {
	t.Helper()
	s := &sink{}
	if o.Export == nil {
		o.Export = s.export
	}
	if o.Interval == 0 {
		o.Interval = time.Hour // tests flush
	}
	r := NewRegistry(o)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = r.Shutdown(ctx)
		<-r.done
	})
	return r, s
}

func flush(t *testing.T, r *Registry) {
	t.Helper()
	if err := r.Flush(t.Context()); err != nil {
		t.Fatalf("Flush: %v", err)
	}
}

var testLayout = NewLayout(
	Instrument{Name: "test.duration", Description: "A duration.", Kind: Duration},
	Instrument{Name: "test.size", Unit: "By", Kind: Histogram},
	Instrument{Name: "test.count", Unit: "{message}", Kind: Counter},
	Instrument{Name: "test.lag", Unit: "{record}", Kind: Gauge},
	Instrument{Name: "test.offset", Unit: "ns", Kind: Samples},
)

const (
	testDuration = iota
	testSize
	testCount
	testLag
	testOffset
)

var testScope = Scope{Name: "test", Version: "1.2.3", SchemaURL: "https://example.com/1"}

func points(m *metrics.Metric) []*metrics.ExponentialHistogramDataPoint {
	return m.GetExponentialHistogram().GetDataPoints()
}

func TestExportedRequestSaysWhatWasObserved(t *testing.T) {
	r, s := start(t, Options{
		Resource:          []attribute.KeyValue{attribute.String("service.name", "old"), attribute.String("service.name", "shop")},
		ResourceSchemaURL: "https://example.com/2",
	})
	before := uint64(time.Now().UnixNano())
	g := r.Meter(testScope).Group(testLayout, attribute.String("topic", "orders"), attribute.Int("partition", 3))
	ex := &Exemplar{TraceID: [16]byte{1, 2}, SpanID: [8]byte{3, 4}}
	g.Lock()
	g.Duration(testDuration, 2_000_000, 3, ex)
	g.Duration(testDuration, 1_000_000, 1, nil)
	g.Duration(testDuration, 0, 2, nil)
	g.Duration(testDuration, -5_000_000, 4, ex)
	g.Observe(testSize, 1024, 1, nil)
	g.Add(testCount, 5)
	g.Add(testCount, 6)
	g.Set(testLag, 7)
	g.Set(testLag, -8)
	g.Sample(testOffset, -100, 1_000)
	g.Sample(testOffset, 200, 2_000)
	g.Unlock()
	flush(t, r)
	after := uint64(time.Now().UnixNano())

	got := s.take(t)
	if len(got) != 1 || len(got[0].ScopeMetrics) != 1 {
		t.Fatalf("got %d resources; want one with one scope", len(got))
	}
	if rm := got[0]; rm.SchemaUrl != "https://example.com/2" || len(rm.Resource.Attributes) != 1 || rm.Resource.Attributes[0].Value.GetStringValue() != "shop" {
		t.Errorf("resource %v, schema %q", rm.Resource, rm.SchemaUrl)
	}
	sm := got[0].ScopeMetrics[0]
	if sm.Scope.Name != "test" || sm.Scope.Version != "1.2.3" || sm.SchemaUrl != "https://example.com/1" {
		t.Errorf("scope %v, schema %q", sm.Scope, sm.SchemaUrl)
	}
	var names []string
	byName := map[string]*metrics.Metric{}
	for _, m := range sm.Metrics {
		names = append(names, m.Name+" "+m.Unit)
		byName[m.Name] = m
	}
	if got, want := fmt.Sprint(names), "[test.duration s test.duration.negative s test.size By test.count {message} test.lag {record} test.offset ns]"; got != want {
		t.Fatalf("metrics %s; want %s", got, want)
	}

	d := byName["test.duration"]
	if d.Description != "A duration." || d.GetExponentialHistogram().AggregationTemporality != metrics.AggregationTemporality_AGGREGATION_TEMPORALITY_DELTA {
		t.Errorf("test.duration: %v", d)
	}
	p := points(d)[0]
	if p.Count != 6 || p.ZeroCount != 2 || p.GetMin() != 0 || p.GetMax() != 0.002 || p.GetSum() != 0.002*3+0.001 {
		t.Errorf("test.duration: %v", p)
	}
	if p.StartTimeUnixNano < before-uint64(time.Second) || p.StartTimeUnixNano >= p.TimeUnixNano || p.TimeUnixNano > after {
		t.Errorf("interval %d to %d; want inside %d to %d", p.StartTimeUnixNano, p.TimeUnixNano, before, after)
	}
	if len(p.Attributes) != 2 || attr(p.Attributes, "topic").GetStringValue() != "orders" || attr(p.Attributes, "partition").GetIntValue() != 3 {
		t.Errorf("attributes %v", p.Attributes)
	}
	if len(p.Exemplars) != 1 || p.Exemplars[0].GetAsDouble() != 0.002 || string(p.Exemplars[0].TraceId) != string(ex.TraceID[:]) || string(p.Exemplars[0].SpanId) != string(ex.SpanID[:]) {
		t.Errorf("exemplars %v", p.Exemplars)
	}
	if n := points(byName["test.duration.negative"])[0]; n.Count != 4 || n.GetSum() != 0.02 || n.GetMin() != 0.005 || len(n.Exemplars) != 1 {
		t.Errorf("test.duration.negative: %v", n)
	}
	// 1024 = 2^10 is the last value of the bucket that ends there.
	if p := points(byName["test.size"])[0]; p.Scale != startScale || p.Positive.Offset != 10<<startScale-1 || fmt.Sprint(p.Positive.BucketCounts) != "[1]" {
		t.Errorf("test.size: %v", p)
	}
	c := byName["test.count"].GetSum()
	if !c.IsMonotonic || c.AggregationTemporality != metrics.AggregationTemporality_AGGREGATION_TEMPORALITY_DELTA || c.DataPoints[0].GetAsInt() != 11 || c.DataPoints[0].StartTimeUnixNano == 0 {
		t.Errorf("test.count: %v", c)
	}
	if l := byName["test.lag"].GetGauge().DataPoints; len(l) != 1 || l[0].GetAsInt() != -8 || attr(l[0].Attributes, "topic").GetStringValue() != "orders" {
		t.Errorf("test.lag: %v", l)
	}
	if o := byName["test.offset"].GetGauge().DataPoints; len(o) != 2 || o[0].GetAsInt() != -100 || o[0].TimeUnixNano != 1000 || o[1].GetAsInt() != 200 || o[1].TimeUnixNano != 2000 {
		t.Errorf("test.offset: %v", o)
	}
	if got, want := r.Counts(), (Counts{Exported: 7}); got != want {
		t.Errorf("Counts() = %+v; want %+v", got, want)
	}
}

func attr(kvs []*common.KeyValue, key string) *common.AnyValue {
	for _, kv := range kvs {
		if kv.Key == key {
			return kv.Value
		}
	}
	return nil
}

func TestGroupThatSawNothingSendsNothing(t *testing.T) {
	r, s := start(t, Options{})
	g := r.Meter(testScope).Group(testLayout)
	flush(t, r)
	g.Lock()
	g.Add(testCount, 1)
	g.Unlock()
	flush(t, r)
	if got := s.all(t); len(got) != 1 || got["test.count"].GetSum().DataPoints[0].GetAsInt() != 1 {
		t.Fatalf("after one Add: %v", got)
	}
	flush(t, r)
	g.Lock()
	g.Duration(testCount, 1, 1, nil) // does not fit the kind: nothing
	g.Add(99, 1)
	g.Add(-1, 1)
	g.Duration(testDuration, 1, 0, nil)
	g.Unlock()
	flush(t, r)
	if got := s.take(t); len(got) != 0 {
		t.Fatalf("without observations: %v", got)
	}
}

func TestIntervalsOfOneGroupFollowEachOther(t *testing.T) {
	r, s := start(t, Options{})
	g := r.Meter(testScope).Group(testLayout)
	var last uint64
	for range 4 {
		g.Lock()
		g.Duration(testDuration, 1, 1, nil)
		g.Unlock()
		flush(t, r)
		p := points(s.all(t)["test.duration"])[0]
		if last != 0 && p.StartTimeUnixNano != last {
			t.Fatalf("interval starts at %d; the one before ended at %d", p.StartTimeUnixNano, last)
		}
		last = p.TimeUnixNano
	}
}

func TestLayoutsThatShareAnInstrumentExportOneMetric(t *testing.T) {
	a := NewLayout(Instrument{Name: "op", Kind: Duration}, Instrument{Name: "sent", Kind: Counter})
	b := NewLayout(Instrument{Name: "received", Kind: Counter}, Instrument{Name: "op", Kind: Duration})
	r, s := start(t, Options{})
	m := r.Meter(testScope)
	ga, gb := m.Group(a, attribute.String("type", "send")), m.Group(b, attribute.String("type", "receive"))
	ga.Lock()
	ga.Duration(0, 1, 1, nil)
	ga.Unlock()
	gb.Lock()
	gb.Duration(1, 1, 1, nil)
	gb.Duration(1, -1, 1, nil)
	gb.Unlock()
	flush(t, r)
	rm := s.take(t)
	var names []string
	for _, m := range rm[0].ScopeMetrics[0].Metrics {
		names = append(names, fmt.Sprint(m.Name, " ", len(points(m))))
	}
	if got, want := fmt.Sprint(names), "[op 2 op.negative 1]"; got != want {
		t.Fatalf("metrics and points: %s; want %s", got, want)
	}
}

func TestFailedExportIsMergedIntoTheNext(t *testing.T) {
	r, s := start(t, Options{})
	g := r.Meter(testScope).Group(testLayout)
	only := r.Meter(testScope).Group(testLayout, attribute.Bool("only", true)) // sees something in the failing interval alone
	s.failWith(errors.New("refused"))
	for i := range int64(3) {
		g.Lock()
		g.Duration(testDuration, 1_000<<(10*i), 1, &Exemplar{SpanID: [8]byte{byte(9 - i)}})
		g.Duration(testDuration, -1, 1, nil)
		g.Add(testCount, 1)
		g.Set(testLag, 40+i)
		g.Sample(testOffset, i, i)
		g.Unlock()
		if i == 0 {
			only.Lock()
			only.Set(testLag, 99)
			only.Unlock()
		}
		if i == 2 {
			s.failWith(nil)
			flush(t, r)
		} else if err := r.Flush(t.Context()); err == nil {
			t.Fatal("Flush does not tell that the export failed")
		}
	}
	got := s.all(t)
	p := points(got["test.duration"])[0]
	if p.Count != 3 || p.GetMin() != 1e-6 || p.GetMax() != 1000*1024*1024/1e9 || p.Exemplars[0].SpanId[0] != 7 {
		t.Errorf("test.duration: %v", p)
	}
	if c := points(got["test.duration.negative"])[0].Count; c != 3 {
		t.Errorf("test.duration.negative: count %d; want 3", c)
	}
	if p.StartTimeUnixNano >= p.TimeUnixNano {
		t.Errorf("interval %d to %d", p.StartTimeUnixNano, p.TimeUnixNano)
	}
	if c := got["test.count"].GetSum().DataPoints[0]; c.GetAsInt() != 3 || c.StartTimeUnixNano != p.StartTimeUnixNano {
		t.Errorf("test.count: %v", c)
	}
	lags := map[int]int64{}
	for _, l := range got["test.lag"].GetGauge().DataPoints {
		lags[len(l.Attributes)] = l.GetAsInt()
	}
	if lags[0] != 42 || lags[1] != 99 {
		t.Errorf("test.lag: %v; want the newest value of each group", lags)
	}
	var samples []int64
	for _, o := range got["test.offset"].GetGauge().DataPoints {
		samples = append(samples, o.GetAsInt())
	}
	if fmt.Sprint(samples) != "[0 1 2]" {
		t.Errorf("test.offset: %v; want all three in order", samples)
	}
	if c := r.Counts(); c.Failed != 2 || c.Dropped != 0 {
		t.Errorf("Counts() = %+v; want 2 failed and none dropped", c)
	}
	flush(t, r)
	if got := s.take(t); len(got) != 0 {
		t.Errorf("what was merged was sent twice: %v", got)
	}
}

func TestRejectedBatchIsDroppedAndCounted(t *testing.T) {
	r, s := start(t, Options{})
	g := r.Meter(testScope).Group(testLayout)
	s.failWith(fmt.Errorf("status 400: %w", ErrRejected))
	g.Lock()
	g.Add(testCount, 1)
	g.Set(testLag, 1)
	g.Unlock()
	if err := r.Flush(t.Context()); !errors.Is(err, ErrRejected) {
		t.Fatalf("Flush() = %v; want ErrRejected", err)
	}
	s.failWith(nil)
	flush(t, r)
	if got := s.take(t); len(got) != 0 {
		t.Fatalf("refused points came again: %v", got)
	}
	if got, want := r.Counts(), (Counts{Failed: 1, Dropped: 2}); got != want {
		t.Fatalf("Counts() = %+v; want %+v", got, want)
	}
}

func TestBatchesAreSplitByBytes(t *testing.T) {
	const most = 10_000
	var bytes, batches int
	s := &sink{}
	r, _ := start(t, Options{
		MaxBatchBytes: most,
		Resource:      []attribute.KeyValue{attribute.String("service.name", "shop")},
		Export: func(ctx context.Context, b Batch) error {
			if len(b.Body) > most {
				t.Errorf("a batch of %d bytes; want at most %d", len(b.Body), most)
			}
			bytes += len(b.Body)
			batches++
			return s.export(ctx, b)
		},
	})
	const groups = 300
	for scope := range 2 {
		m := r.Meter(Scope{Name: fmt.Sprint("scope", scope)})
		for i := range groups {
			g := m.Group(testLayout, attribute.Int("partition", i))
			g.Lock()
			g.Duration(testDuration, int64(i)*1000, 1, nil)
			g.Duration(testDuration, 1e9, 1, nil)
			g.Duration(testDuration, -1, 1, nil)
			g.Add(testCount, int64(i))
			g.Unlock()
		}
	}
	flush(t, r)
	if least := bytes / most; batches < least || batches > least+2 {
		t.Errorf("%d bytes in %d batches; want at most %d", bytes, batches, least+2)
	}
	seen := map[string]int{}
	for _, rm := range s.take(t) {
		if len(rm.Resource.Attributes) != 1 {
			t.Fatalf("a batch without its resource: %v", rm)
		}
		for _, sm := range rm.ScopeMetrics {
			for _, m := range sm.Metrics {
				for _, p := range points(m) {
					seen[fmt.Sprint(sm.Scope.Name, m.Name, p.Attributes[0].Value.GetIntValue())]++
				}
				for _, p := range m.GetSum().GetDataPoints() {
					seen[fmt.Sprint(sm.Scope.Name, m.Name, p.Attributes[0].Value.GetIntValue())]++
				}
			}
		}
	}
	if len(seen) != 2*3*groups {
		t.Errorf("%d points; want %d", len(seen), 2*3*groups)
	}
	for key, n := range seen {
		if n != 1 {
			t.Errorf("point %s was sent %d times", key, n)
		}
	}
	if c := r.Counts().Exported; c != 2*3*groups {
		t.Errorf("Counts().Exported = %d; want %d", c, 2*3*groups)
	}
}

func TestGroupLargerThanABatchGoesAlone(t *testing.T) {
	r, s := start(t, Options{MaxBatchBytes: 100})
	m := r.Meter(testScope)
	for i := range 3 {
		g := m.Group(testLayout, attribute.Int("partition", i))
		g.Lock()
		for ns := int64(1); ns < 1e9; ns *= 2 {
			g.Duration(testDuration, ns, 1, nil)
		}
		g.Unlock()
	}
	flush(t, r)
	if got := s.take(t); len(got) != 3 {
		t.Fatalf("%d batches; want 3", len(got))
	}
}

func TestGroupsAboveTheBoundShareOne(t *testing.T) {
	var told []string
	r, s := start(t, Options{MaxGroups: 10, OnOverflow: func(instrument string, bound int) { told = append(told, fmt.Sprint(instrument, bound)) }})
	m := r.Meter(testScope)
	var keep []*Group
	for i := range 25 {
		g := m.Group(testLayout, attribute.Int("partition", i))
		g.Lock()
		g.Add(testCount, 1)
		g.Unlock()
		keep = append(keep, g)
	}
	if m.Group(testLayout, attribute.Int("partition", 3)) != keep[3] {
		t.Error("a known set of attributes has another group now")
	}
	other := NewLayout(Instrument{Name: "other", Kind: Counter})
	g := m.Group(other)
	g.Lock()
	g.Add(0, 1)
	g.Unlock()
	flush(t, r)
	got := s.all(t)
	ps := got["test.count"].GetSum().DataPoints
	if len(ps) != 11 {
		t.Fatalf("%d points; want 10 and the overflow's", len(ps))
	}
	over := 0
	for _, p := range ps {
		if v := attr(p.Attributes, "otel.metric.overflow"); v != nil {
			over++
			if !v.GetBoolValue() || p.GetAsInt() != 15 || len(p.Attributes) != 1 {
				t.Errorf("overflow point %v; want 15", p)
			}
		}
	}
	if over != 1 {
		t.Errorf("%d overflow points; want 1", over)
	}
	if v := attr(got["other"].GetSum().DataPoints[0].Attributes, "otel.metric.overflow"); v != nil {
		t.Error("the bound of one layout cut another")
	}
	if fmt.Sprint(told) != "[test.duration10]" {
		t.Errorf("OnOverflow calls: %v; want one", told)
	}
	if c := r.Counts().Overflowed; c != 15 {
		t.Errorf("Counts().Overflowed = %d; want 15", c)
	}
	runtime.KeepAlive(keep)
}

func TestObservationsThatAreNoNumberAreCounted(t *testing.T) {
	r, s := start(t, Options{})
	g := r.Meter(testScope).Group(testLayout)
	g.Lock()
	zero := 0.0
	g.Observe(testSize, zero/zero, 1, nil)
	g.Observe(testSize, 1/zero, 1, nil)
	g.Observe(testSize, -1/zero, 1, nil)
	g.Add(testCount, -1)
	g.Unlock()
	flush(t, r)
	if got := s.take(t); len(got) != 0 {
		t.Fatalf("exported %v", got)
	}
	if c := r.Counts().Invalid; c != 4 {
		t.Fatalf("Counts().Invalid = %d; want 4", c)
	}
}

func TestSamplesAreBounded(t *testing.T) {
	r, s := start(t, Options{})
	g := r.Meter(testScope).Group(testLayout)
	for i := range int64(MaxSamples + 10) {
		g.Lock()
		g.Sample(testOffset, i, i)
		g.Unlock()
		if i == 100 { // and after an export that failed
			s.failWith(errors.New("refused"))
			_ = r.Flush(t.Context())
			s.failWith(nil)
		}
	}
	flush(t, r)
	ps := s.all(t)["test.offset"].GetGauge().DataPoints
	if len(ps) != MaxSamples || ps[0].GetAsInt() != 10 || ps[MaxSamples-1].GetAsInt() != MaxSamples+9 {
		t.Fatalf("%d samples from %v; want the newest %d", len(ps), ps[0], MaxSamples)
	}
	if c := r.Counts().Dropped; c != 10 {
		t.Fatalf("Counts().Dropped = %d; want 10", c)
	}
}

func TestAGaugeOfTheOverflowGroupIsTheGreatest(t *testing.T) {
	layout := NewLayout(Instrument{Name: "lag", Kind: Gauge})
	r, s := start(t, Options{MaxGroups: 1})
	m := r.Meter(testScope)
	var keep []*Group
	observe := func(values ...int64) {
		for i, v := range values {
			g := m.Group(layout, attribute.Int("partition", i))
			g.Lock()
			g.Set(0, v)
			g.Unlock()
			keep = append(keep, g)
		}
	}
	overflow := func() (out []int64) {
		for _, p := range s.all(t)["lag"].GetGauge().GetDataPoints() {
			if attr(p.Attributes, "otel.metric.overflow") != nil {
				out = append(out, p.GetAsInt())
			}
		}
		return out
	}
	observe(70, 9, 50_000, 4)
	flush(t, r)
	if got := overflow(); fmt.Sprint(got) != "[50000]" {
		t.Errorf("the overflow group's lag is %v; want 50000", got)
	}
	observe(70, 3, -5)
	flush(t, r)
	if got := overflow(); fmt.Sprint(got) != "[3]" {
		t.Errorf("the lag of the next interval is %v; want 3, its own greatest", got)
	}
	runtime.KeepAlive(keep)
}
