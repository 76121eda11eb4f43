package clock

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	collector "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	metrics "go.opentelemetry.io/proto/otlp/metrics/v1"
	"google.golang.org/protobuf/proto"

	"github.com/hoptrace/hoptrace/instrumentation/messaging/measure"
)

// steady is a sampler on clocks that the test sets.
func steady() (s *Sampler, wall, mono *int64) {
	w, m := epoch, int64(0)
	return newSampler(func() int64 { return w }, func() int64 { return m }), &w, &m
}

func pass(wall, mono *int64, d int64) { *wall += d; *mono += d }

func collect(s *Sampler) (out []string) {
	s.Collect(func(broker string, at, lo, hi int64) {
		side := func(v int64) string {
			if v == Below || v == Above {
				return "?"
			}
			return time.Duration(v).String()
		}
		out = append(out, fmt.Sprintf("%s +%v [%s %s]", broker, time.Duration(at-epoch), side(lo), side(hi)))
	})
	return out
}

func TestRoundTripsNarrowTheSecondsInterval(t *testing.T) {
	s, wall, mono := steady()
	pass(wall, mono, 500*ms)
	// The broker's clock is a hundred seconds ahead.
	const ahead = 100 * second
	s.Produce("b", 1, epoch+490*ms, epoch+500*ms, epoch+ahead+495*ms)
	s.Produce("b", 1, epoch+498*ms, epoch+500*ms, epoch+ahead+499*ms)
	s.Fetch("b", 1, epoch+100*ms, epoch+500*ms, epoch+ahead+100*ms, false)
	s.Fetch("b", 2, epoch+100*ms, epoch+500*ms, epoch+ahead, false)
	got := fmt.Sprint(collect(s))
	if len(s.brokers) != 2 {
		t.Fatalf("%d brokers; want 2", len(s.brokers))
	}
	one, two := "b:1 +500ms [1m39.999s 1m40.0020004s]", "b:2 +500ms [1m39.5s ?]"
	if got != fmt.Sprint([]string{one, two}) && got != fmt.Sprint([]string{two, one}) {
		t.Fatalf("collected %s; want %s and %s", got, one, two)
	}
	if got := collect(s); len(got) != 0 {
		t.Fatalf("collected again: %v", got)
	}
}

func TestEachSecondHasItsInterval(t *testing.T) {
	s, wall, mono := steady()
	for range 3 {
		for range 10 {
			pass(wall, mono, 100*ms)
			s.Produce("b", 1, *wall-ms, *wall, epoch/ms*ms+(*wall-epoch)/ms*ms)
		}
	}
	if got := collect(s); len(got) != 4 { // 0.1 to 0.9, 1.0 to 1.9, 2.0 to 2.9, 3.0
		t.Fatalf("collected %v; want four", got)
	}
}

func TestSamplesThatTellNothingAreLeftOut(t *testing.T) {
	s, _, _ := steady()
	f := func(asked, answered, appended int64) {
		t.Helper()
		s.Produce("b", 1, asked, answered, appended)
		s.Fetch("b", 1, asked, answered, appended, true)
		if got := collect(s); len(got) != 0 {
			t.Fatalf("Produce(%d, %d, %d) gives %v; want nothing", asked, answered, appended, got)
		}
	}
	f(epoch, epoch, 0)                         // CreateTime
	f(epoch, epoch, -1)                        // kafka-go's "no timestamp"
	f(0, epoch, epoch)                         // not known when
	f(epoch+1, epoch, epoch)                   // answered before it was asked
	f(epoch-61*second, epoch, epoch)           // too long
	f(epoch-70*second, epoch-61*second, epoch) // too old
	f(epoch+5*second, epoch+5*second, epoch)   // in the future
	f(math.MaxInt64, math.MaxInt64, epoch)     // nonsense
	f(epoch, epoch, math.MaxInt64)             // nonsense
	f(math.MinInt64, math.MaxInt64, epoch)     // nonsense
	f(math.MaxInt64-1, math.MaxInt64, math.MaxInt64)
}

func TestBrokersAndWaitingIntervalsAreBounded(t *testing.T) {
	s, wall, mono := steady()
	for range maxWaiting + 50 {
		pass(wall, mono, second)
		for i := range MaxBrokers + 3 {
			s.Produce(fmt.Sprint("b", i), 1, *wall-ms, *wall, *wall/ms*ms)
		}
	}
	if n := len(s.brokers); n != MaxBrokers {
		t.Errorf("%d brokers; want %d", n, MaxBrokers)
	}
	if n := s.Ignored(); n != 3*(maxWaiting+50) {
		t.Errorf("Ignored() = %d; want %d", n, 3*(maxWaiting+50))
	}
	if n := len(collect(s)); n != MaxBrokers*maxWaiting {
		t.Errorf("%d intervals; want %d", n, MaxBrokers*maxWaiting)
	}
}

func TestClockThatIsSlewedIsNotAStep(t *testing.T) {
	s, wall, mono := steady()
	for range 1000 {
		pass(wall, mono, second)
		*wall += ms / 2 // 500 parts in a million
		s.Produce("b", 1, *wall-ms, *wall, *wall/ms*ms)
	}
	if n := s.Steps(); n != 0 {
		t.Fatalf("%d steps", n)
	}
}

func TestStepIsTold(t *testing.T) {
	s, wall, mono := steady()
	var told []string
	s.OnStep(func(at, by int64) {
		told = append(told, fmt.Sprint(time.Duration(at-epoch), time.Duration(by)))
		s.Steps() // no lock is held
	})
	pass(wall, mono, 100*ms)
	s.Produce("b", 1, *wall-ms, *wall, *wall/ms*ms)
	*wall += 2 * second
	s.Produce("b", 1, *wall-ms, *wall, *wall/ms*ms)
	pass(wall, mono, second)
	*wall -= 20 * ms
	collect(s)
	if got, want := fmt.Sprint(told), "[2.1s 2s 3.08s -20ms]"; got != want {
		t.Fatalf("told %s; want %s", got, want)
	}
}

func TestSystemClockWithoutStepsHasNone(t *testing.T) {
	s := NewSampler(nil)
	for range 1000 {
		now := time.Now().UnixNano()
		s.Produce("b", 1, now-ms, now, now/ms*ms)
		s.Collect(func(_ string, at, lo, hi int64) {
			if lo > 0 || hi < 0 {
				t.Fatalf("offset to oneself is within [%d, %d] at %d", lo, hi, at)
			}
		})
	}
	if n := s.Steps(); n != 0 {
		t.Fatalf("%d steps", n)
	}
}

func TestSamplerIsSafeForConcurrentUse(t *testing.T) {
	s := NewSampler(nil)
	s.OnStep(func(int64, int64) {})
	s.Attach(measure.FromOTel(sdk.NewMeterProvider().Meter("test")))
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 2000 {
				now := time.Now().UnixNano()
				s.Produce("b", (w+i)%5, now-ms, now+int64(i)*ms/10, now/ms*ms)
				if i%100 == 0 {
					s.Collect(func(string, int64, int64, int64) {})
				}
			}
		})
	}
	wg.Wait()
}

func TestAttachedSamplerSendsItsIntervalsAndSteps(t *testing.T) {
	var mu sync.Mutex
	var bodies []*metrics.Metric
	exported := make(chan struct{}, 100)
	r := measure.NewRegistry(measure.Options{Interval: time.Hour, Export: func(_ context.Context, b measure.Batch) error {
		var req collector.ExportMetricsServiceRequest
		if err := proto.Unmarshal(b.Body, &req); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		bodies = append(bodies, req.ResourceMetrics[0].ScopeMetrics[0].Metrics...)
		exported <- struct{}{}
		return nil
	}})
	defer func() {
		if err := r.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	s, wall, mono := steady()
	s.Attach(r.Meter(measure.Scope{Name: "test"}))
	for range 3 {
		pass(wall, mono, second)
		s.Produce("kafka-1", 9092, *wall-ms, *wall, *wall/ms*ms)
		s.Fetch("kafka-2", 9092, *wall-ms, *wall, *wall/ms*ms, false)
	}
	if err := r.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	got := map[string][]*metrics.NumberDataPoint{}
	for _, m := range bodies {
		got[m.Name] = m.GetGauge().GetDataPoints()
		if m.Unit != "ns" {
			t.Errorf("%s has unit %q", m.Name, m.Unit)
		}
	}
	bodies = nil
	mu.Unlock()
	if lo, hi := got[MetricOffsetLow], got[MetricOffsetHigh]; len(lo) != 6 || len(hi) != 3 {
		t.Fatalf("%d low points, %d high; want 6 and, of the broker that answered produce requests, 3", len(lo), len(hi))
	}
	p := got[MetricOffsetHigh][1]
	if p.TimeUnixNano != uint64(epoch+2*second) || p.GetAsInt() != 2*ms+drift(ms) || p.Attributes[0].Value.GetStringValue() != "kafka-1" || p.Attributes[1].Value.GetIntValue() != 9092 {
		t.Errorf("second high point: %v", p)
	}

	// A step is exported at once, though the interval is an hour.
	<-exported
	pass(wall, mono, second)
	*wall += second
	s.Produce("kafka-1", 9092, *wall-ms, *wall, *wall/ms*ms)
	select {
	case <-exported:
	case <-time.After(10 * time.Second):
		t.Fatal("a step is not exported")
	}
	mu.Lock()
	defer mu.Unlock()
	if len(bodies) == 0 || bodies[len(bodies)-1].Name != MetricSteps || bodies[len(bodies)-1].GetSum().DataPoints[0].GetAsInt() != 1 {
		t.Fatalf("exported %v; want one step", bodies)
	}
}

func TestSomebodyElsesSDKGetsTheLastInterval(t *testing.T) {
	reader := sdk.NewManualReader()
	s, wall, mono := steady()
	s.Attach(measure.FromOTel(sdk.NewMeterProvider(sdk.WithReader(reader)).Meter("test")))
	for range 3 {
		pass(wall, mono, second)
		s.Produce("kafka-1", 9092, *wall-ms, *wall, *wall/ms*ms)
	}
	*wall -= second
	pass(wall, mono, second)
	s.Produce("kafka-1", 9092, *wall-ms, *wall, *wall/ms*ms)
	var rm metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &rm); err != nil {
		t.Fatal(err)
	}
	got := map[string]int64{}
	for _, m := range rm.ScopeMetrics[0].Metrics {
		switch d := m.Data.(type) {
		case metricdata.Gauge[int64]:
			got[m.Name] = d.DataPoints[0].Value
			if v, _ := d.DataPoints[0].Attributes.Value("server.port"); v != attribute.Int64Value(9092) {
				t.Errorf("%s has attributes %v", m.Name, d.DataPoints[0].Attributes)
			}
		case metricdata.Sum[int64]:
			got[m.Name] = d.DataPoints[0].Value
		}
	}
	if got[MetricOffsetLow] != 0 || got[MetricOffsetHigh] != 2*ms+drift(ms) || got[MetricSteps] != 1 || len(got) != 3 {
		t.Fatalf("got %v", got)
	}
}

func TestBrokersAreNamedAsOpenTelemetryDoes(t *testing.T) {
	f := func(s server, name, want string) {
		t.Helper()
		set := attribute.NewSet(s.attributes()...)
		if got := set.Encoded(attribute.DefaultEncoder()); got != want || s.String() != name {
			t.Errorf("%v has attributes %s; want %s, %s", s, got, name, want)
		}
	}
	f(server{"kafka-1", 9092}, "kafka-1:9092", "server.address=kafka-1,server.port=9092")
	f(server{"::1", 9092}, "[::1]:9092", "server.address=::1,server.port=9092")
	f(server{"kafka-1", 0}, "kafka-1", "server.address=kafka-1")
	f(server{"kafka-1", -5}, "kafka-1", "server.address=kafka-1")
}

func TestClientsOfOneRegistryShareASampler(t *testing.T) {
	r := measure.NewRegistry(measure.Options{Interval: time.Hour})
	defer func() { _ = r.Shutdown(context.Background()) }()
	a, b := Of(r.Meter(measure.Scope{Name: "a"})), Of(r.Meter(measure.Scope{Name: "b"}))
	if a != b {
		t.Error("two samplers: a step would be counted twice")
	}
	foreign := measure.FromOTel(sdk.NewMeterProvider().Meter("test"))
	if c, d := Of(foreign), Of(foreign); c == d {
		t.Error("samplers of somebody else's SDK cannot be shared, since nothing tells when they are over")
	}
}

func TestSamplerOfAClientThatIsGoneIsForgotten(t *testing.T) {
	r := measure.NewRegistry(measure.Options{Interval: time.Hour})
	defer func() { _ = r.Shutdown(context.Background()) }()
	m := r.Meter(measure.Scope{Name: "test"})
	gone := make(chan struct{})
	func() {
		s := NewSampler(nil)
		s.Attach(m)
		now := time.Now().UnixNano()
		s.Produce("b", 1, now-ms, now, now/ms*ms)
		runtime.AddCleanup(s, func(c chan struct{}) { close(c) }, gone)
	}()
	for deadline := time.Now().Add(10 * time.Second); ; {
		runtime.GC()
		select {
		case <-gone:
			return
		case <-time.After(time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatal("the meter keeps a sampler alive that nobody holds")
		}
	}
}

func TestAStepIsToldWithoutAnySample(t *testing.T) {
	s, wall, mono := steady()
	var steps []time.Duration
	s.OnStep(func(_, by int64) { steps = append(steps, time.Duration(by)) })
	for range 30 {
		pass(wall, mono, 100*ms)
		s.Look(*wall)
	}
	if len(steps) != 0 {
		t.Fatalf("steps %v of a clock that was never set", steps)
	}
	pass(wall, mono, 100*ms)
	*wall -= 3600 * second
	s.Look(*wall)
	if fmt.Sprint(steps) != "[-1h0m0s]" || s.Steps() != 1 {
		t.Fatalf("after the clock was set back an hour: told %v, counted %d", steps, s.Steps())
	}
	// A step of less than a second shows within a second.
	pass(wall, mono, 200*ms)
	s.Look(*wall)
	*wall += 200 * ms
	for range 10 {
		pass(wall, mono, 100*ms)
		s.Look(*wall)
	}
	if fmt.Sprint(steps) != "[-1h0m0s 200ms]" {
		t.Errorf("after a step of 200 ms: told %v", steps)
	}
}

func TestLookReadsTheClocksSeldom(t *testing.T) {
	w, m, reads := epoch, int64(0), 0
	s := newSampler(func() int64 { reads++; return w }, func() int64 { return m })
	reads = 0
	for i := range 10_000 { // 10 s, each call with a time an hour from the call before
		w, m = w+ms, m+ms
		s.Look(w + int64(i%2)*3600*second)
	}
	if reads > 101 {
		t.Errorf("the clocks were read %d times in 10 s; want no more than ten times a second", reads)
	}
	if n := testing.AllocsPerRun(1000, func() { s.Look(w) }); n != 0 {
		t.Errorf("a look allocates %v times", n)
	}
}
