package measure

import (
	"context"
	"math"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	metrics "go.opentelemetry.io/proto/otlp/metrics/v1"
)

// delta is a reader of the SDK with the temporality that ours has.
func delta() *sdk.ManualReader {
	return sdk.NewManualReader(sdk.WithTemporalitySelector(func(sdk.InstrumentKind) metricdata.Temporality { return metricdata.DeltaTemporality }))
}

// exponential has the SDK keep the histograms that ours are, from the same scale.
func exponential() sdk.Option {
	return sdk.WithView(sdk.NewView(sdk.Instrument{Kind: sdk.InstrumentKindHistogram},
		sdk.Stream{Aggregation: sdk.AggregationBase2ExponentialHistogram{MaxSize: maxBuckets, MaxScale: startScale}}))
}

// result is what one point says, whichever way it came.
type result struct {
	Count, Zero uint64
	Sum         float64
	Min, Max    float64
	Scale       int32
	Buckets     map[int32]uint64
	Value       int64
	Exemplar    [8]byte
	Worst       float64
}

func buckets(offset int32, counts []uint64) map[int32]uint64 {
	out := map[int32]uint64{}
	for i, n := range counts {
		if n != 0 {
			out[offset+int32(i)] = n
		}
	}
	return out
}

func ours(m map[string]*metrics.Metric) map[string]result {
	out := map[string]result{}
	for name, m := range m {
		for _, p := range points(m) {
			r := result{
				Count: p.Count, Zero: p.ZeroCount, Sum: p.GetSum(), Min: p.GetMin(), Max: p.GetMax(), Scale: p.Scale,
				Buckets: buckets(p.Positive.GetOffset(), p.Positive.GetBucketCounts()),
			}
			for _, e := range p.Exemplars {
				r.Exemplar, r.Worst = [8]byte(e.SpanId), e.GetAsDouble()
			}
			out[name] = r
		}
		for _, p := range append(m.GetSum().GetDataPoints(), m.GetGauge().GetDataPoints()...) {
			out[name] = result{Value: p.GetAsInt()}
		}
	}
	return out
}

func theirs(t *testing.T, reader *sdk.ManualReader) map[string]result {
	t.Helper()
	var rm metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &rm); err != nil {
		t.Fatal(err)
	}
	out := map[string]result{}
	for _, sm := range rm.ScopeMetrics {
		for _, m := range sm.Metrics {
			switch d := m.Data.(type) {
			case metricdata.ExponentialHistogram[float64]:
				for _, p := range d.DataPoints {
					low, _ := p.Min.Value()
					high, _ := p.Max.Value()
					r := result{
						Count: p.Count, Zero: p.ZeroCount, Sum: p.Sum, Min: low, Max: high, Scale: p.Scale,
						Buckets: buckets(p.PositiveBucket.Offset, p.PositiveBucket.Counts),
					}
					for _, e := range p.Exemplars {
						if e.Value > r.Worst {
							r.Exemplar, r.Worst = [8]byte(e.SpanID), e.Value
						}
					}
					out[m.Name] = r
				}
			case metricdata.Sum[int64]:
				if !d.IsMonotonic {
					t.Errorf("%s is not monotonic", m.Name)
				}
				out[m.Name] = result{Value: d.DataPoints[0].Value}
			case metricdata.Gauge[int64]:
				out[m.Name] = result{Value: d.DataPoints[0].Value}
			default:
				t.Errorf("%s is a %T", m.Name, d)
			}
		}
	}
	return out
}

// TestBothWaysSayTheSame makes the same calls on a Registry and on the SDK of
// OpenTelemetry, and compares what both export: every count, bucket and scale.
func TestBothWaysSayTheSame(t *testing.T) {
	r, s := start(t, Options{})
	reader := delta()
	provider := sdk.NewMeterProvider(sdk.WithReader(reader), exponential())
	attrs := []attribute.KeyValue{attribute.String("topic", "orders")}
	groups := []*Group{
		r.Meter(testScope).Group(testLayout, attrs...),
		FromOTel(provider.Meter("test")).Group(testLayout, attrs...),
	}
	rng := rand.New(rand.NewPCG(5, 6))
	for round := range 60 {
		spread := rng.Float64() * 6
		for range rng.IntN(300) {
			i, n := rng.IntN(6), rng.IntN(4)
			ns := int64(math.Exp(rng.NormFloat64()*spread) * 1e6)
			v := math.Exp(rng.NormFloat64()*spread) - 1
			if rng.IntN(3) == 0 {
				ns = -ns
			}
			for _, g := range groups {
				g.Lock()
				switch i {
				case testDuration:
					g.Duration(i, ns, n, nil)
				case testSize:
					g.Observe(i, v, n, nil)
				case testCount:
					g.Add(i, int64(n))
				case testLag:
					g.Set(i, ns)
				case testOffset:
					g.Sample(i, ns, 1)
				default:
					g.Add(i, 1) // no such instrument
					g.Set(testDuration, 1)
					g.Observe(testDuration, 1, 1, nil)
					g.Duration(testSize, 1, 1, nil)
					g.Add(testLag, 1)
					g.Add(testCount, -1)
					g.Observe(testSize, math.NaN(), 1, nil)
				}
				g.Unlock()
			}
		}
		flush(t, r)
		want, got := theirs(t, reader), ours(s.all(t))
		if diff := cmp.Diff(want, got, cmpopts.EquateApprox(1e-12, 0)); diff != "" {
			t.Fatalf("round %d: the SDK's (-) differs from ours (+):\n%s", round, diff)
		}
	}
}

func TestExemplarsReachTheSDK(t *testing.T) {
	reader := delta()
	provider := sdk.NewMeterProvider(sdk.WithReader(reader), exponential())
	g := FromOTel(provider.Meter("test")).Group(testLayout)
	ex := Exemplar{TraceID: [16]byte{1}, SpanID: [8]byte{2}}
	g.Lock()
	g.Duration(testDuration, 3e9, 1, &ex)
	g.Duration(testDuration, 9e9, 1, nil)
	g.Duration(testDuration, -4e9, 1, &ex)
	g.Unlock()
	got := theirs(t, reader)
	for name, want := range map[string]float64{"test.duration": 3, "test.duration.negative": 4} {
		if r := got[name]; r.Exemplar != ex.SpanID || r.Worst != want {
			t.Errorf("%s: exemplar %x of %v; want %x of %v", name, r.Exemplar, r.Worst, ex.SpanID, want)
		}
	}
}

func TestForeignSDKGetsTheAdvisedBuckets(t *testing.T) {
	l := NewLayout(
		Instrument{Name: "default", Kind: Duration},
		Instrument{Name: "own", Kind: Duration, Buckets: []float64{1, 2}},
	)
	reader := delta()
	g := FromOTel(sdk.NewMeterProvider(sdk.WithReader(reader)).Meter("test")).Group(l)
	g.Lock()
	g.Duration(0, 1, 1, nil)
	g.Duration(1, -1, 1, nil)
	g.Unlock()
	var rm metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &rm); err != nil {
		t.Fatal(err)
	}
	got := map[string][]float64{}
	for _, m := range rm.ScopeMetrics[0].Metrics {
		if m.Unit != "s" {
			t.Errorf("%s has unit %q; want s", m.Name, m.Unit)
		}
		got[m.Name] = m.Data.(metricdata.Histogram[float64]).DataPoints[0].Bounds
	}
	want := map[string][]float64{"default": DurationBuckets(), "own.negative": {1, 2}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
}

func TestForeignSDKGroupsAreBounded(t *testing.T) {
	reader := delta()
	m := FromOTel(sdk.NewMeterProvider(sdk.WithReader(reader)).Meter("test"))
	m.maxGroups = 3
	var keep []*Group
	for i := range 8 {
		g := m.Group(testLayout, attribute.Int("partition", i))
		g.Lock()
		g.Add(testCount, 1)
		g.Unlock()
		keep = append(keep, g)
	}
	if keep[3] != keep[7] || keep[2] == keep[3] || m.Group(testLayout, attribute.Int("partition", 1)) != keep[1] {
		t.Error("want three groups and one for the others")
	}
	var rm metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &rm); err != nil {
		t.Fatal(err)
	}
	ps := rm.ScopeMetrics[0].Metrics[0].Data.(metricdata.Sum[int64]).DataPoints
	if len(ps) != 4 {
		t.Fatalf("%d points; want 4", len(ps))
	}
	if m.Kick(); m.OnCollect(func() bool { return true }) {
		t.Error("OnCollect of somebody else's SDK returns true")
	}
}

// rude panics wherever it can.
type rude struct {
	noop.Meter
	instruments bool // hands out instruments that panic when they are used
}

type rudeHistogram struct{ noop.Float64Histogram }

func (rudeHistogram) Record(context.Context, float64, ...metric.RecordOption) { panic("record") }

func (r rude) Float64Histogram(string, ...metric.Float64HistogramOption) (metric.Float64Histogram, error) {
	if r.instruments {
		return rudeHistogram{}, nil
	}
	panic("histogram")
}

func (rude) Int64Counter(string, ...metric.Int64CounterOption) (metric.Int64Counter, error) {
	panic("counter")
}

func (rude) Int64Gauge(string, ...metric.Int64GaugeOption) (metric.Int64Gauge, error) {
	panic("gauge")
}

func TestPanicOfForeignSDKNeverReachesTheCaller(t *testing.T) {
	for _, instruments := range []bool{false, true} {
		m := FromOTel(rude{instruments: instruments})
		g := m.Group(testLayout, attribute.Int("a", 1))
		g.Lock()
		g.Duration(testDuration, 1, 2, &Exemplar{})
		g.Duration(testDuration, -1, 1, nil)
		g.Observe(testSize, 1, 1, nil)
		g.Add(testCount, 1)
		g.Set(testLag, 1)
		g.Sample(testOffset, 1, 1)
		g.Unlock()
		if m.Panics() == 0 {
			t.Error("panics are not counted")
		}
		if m.Group(testLayout, attribute.Int("a", 1)) != g {
			t.Error("the meter is of no use after a panic")
		}
	}
}

func TestNoopMeterTakesEverything(t *testing.T) {
	g := FromOTel(noop.NewMeterProvider().Meter("test")).Group(testLayout)
	g.Lock()
	defer g.Unlock()
	allocs := testing.AllocsPerRun(100, func() {
		g.Duration(testDuration, 1, 2, nil)
		g.Duration(testDuration, -1, 1, nil)
		g.Add(testCount, 1)
		g.Set(testLag, 1)
		g.Sample(testOffset, 1, 1)
	})
	if allocs != 0 {
		t.Errorf("%v allocations; want none", allocs)
	}
}

func TestForeignSDKGetsNoGaugeOfTheOverflowGroup(t *testing.T) {
	reader := delta()
	m := FromOTel(sdk.NewMeterProvider(sdk.WithReader(reader)).Meter("test"))
	layout := NewLayout(Instrument{Name: "lag", Kind: Gauge})
	m.maxGroups = 1
	var keep []*Group
	for i := range int64(3) {
		g := m.Group(layout, attribute.Int64("partition", i))
		g.Lock()
		g.Set(0, 100+i)
		g.Unlock()
		keep = append(keep, g)
	}
	var rm metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &rm); err != nil {
		t.Fatal(err)
	}
	points := rm.ScopeMetrics[0].Metrics[0].Data.(metricdata.Gauge[int64]).DataPoints
	if len(points) != 1 || points[0].Value != 100 {
		t.Errorf("points %+v; want the one of the partition that has a place", points)
	}
	runtime.KeepAlive(keep)
}
