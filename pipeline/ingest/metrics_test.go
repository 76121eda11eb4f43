package ingest

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"

	"github.com/hoptrace/hoptrace/schemas"
)

func metricsValue(t testing.TB, md pmetric.Metrics) []byte {
	t.Helper()
	b, err := pmetricotlp.NewExportRequestFromMetrics(md).MarshalProto()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestEveryKindOfPointIsDecoded(t *testing.T) {
	md := pmetric.NewMetrics()
	rm := md.ResourceMetrics().AppendEmpty()
	rm.Resource().Attributes().PutStr("service.name", "checkout")
	rm.Resource().Attributes().PutStr("hoptrace.host.boot_id", "b1")
	sm := rm.ScopeMetrics().AppendEmpty()
	sm.Scope().SetName("scope")
	named := func(name, unit string) pmetric.Metric {
		m := sm.Metrics().AppendEmpty()
		m.SetName(name)
		m.SetUnit(unit)
		m.SetDescription("what it is")
		return m
	}
	gauge := named("lag", "{message}").SetEmptyGauge()
	p := gauge.DataPoints().AppendEmpty()
	p.SetTimestamp(7)
	p.SetIntValue(-5)
	p.Attributes().PutStr("messaging.destination.name", "orders")
	p.Attributes().PutInt("n", 3)
	none := gauge.DataPoints().AppendEmpty()
	none.SetTimestamp(8)
	none.SetFlags(pmetric.DefaultDataPointFlags.WithNoRecordedValue(true))
	p = gauge.DataPoints().AppendEmpty()
	p.SetTimestamp(9)
	p.SetDoubleValue(0.5)
	sum := named("sent", "").SetEmptySum()
	sum.SetIsMonotonic(true)
	sum.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	p = sum.DataPoints().AppendEmpty()
	p.SetStartTimestamp(1)
	p.SetTimestamp(7)
	p.SetIntValue(12)
	e := p.Exemplars().AppendEmpty()
	e.SetTimestamp(6)
	e.SetIntValue(4)
	e.SetTraceID(pcommon.TraceID{1})
	e.SetSpanID(pcommon.SpanID{2})
	hist := named("size", "By").SetEmptyHistogram()
	hist.SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
	h := hist.DataPoints().AppendEmpty()
	h.SetTimestamp(7)
	h.SetCount(6)
	h.SetSum(60)
	h.SetMax(50)
	h.ExplicitBounds().FromRaw([]float64{10, 20})
	h.BucketCounts().FromRaw([]uint64{1, 2, 3})
	exp := named("part", "s").SetEmptyExponentialHistogram()
	exp.SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
	x := exp.DataPoints().AppendEmpty()
	x.SetTimestamp(7)
	x.SetCount(10)
	x.SetScale(-2)
	x.SetZeroCount(1)
	x.Positive().SetOffset(-9)
	x.Positive().BucketCounts().FromRaw([]uint64{0, 0, 3, 0, 300, 0})
	x.Negative().SetOffset(4)
	x.Negative().BucketCounts().FromRaw([]uint64{0, 0})
	named("old", "").SetEmptySummary().DataPoints().AppendEmpty().SetTimestamp(7)

	d := NewMetricDecoder(Limits{})
	got, err := d.Decode(nil, metricsValue(t, md))
	if err != nil {
		t.Fatal(err)
	}
	for i := range got {
		if got[i].Series == 0 {
			t.Errorf("point %d has no series", i)
		}
		got[i].Series = 0
	}
	common := schemas.MetricPoint{
		Description: "what it is", Partition: schemas.Unknown, Service: "checkout", Scope: "scope", Time: 7,
		Resource: []schemas.Attribute{{Key: "hoptrace.host.boot_id", Value: "b1"}},
	}
	point := func(change func(p *schemas.MetricPoint)) schemas.MetricPoint {
		p := common
		change(&p)
		return p
	}
	nan := math.NaN()
	want := []schemas.MetricPoint{
		point(func(p *schemas.MetricPoint) {
			p.Name, p.Unit, p.Kind, p.Value = "lag", "{message}", schemas.MetricGauge, -5
			p.Attributes = []schemas.Attribute{{Key: "messaging.destination.name", Value: "orders"}, {Key: "n", Value: "3"}}
		}),
		point(func(p *schemas.MetricPoint) {
			p.Name, p.Unit, p.Kind, p.Value, p.Time, p.Position.Index = "lag", "{message}", schemas.MetricGauge, 0.5, 9, 2
		}),
		point(func(p *schemas.MetricPoint) {
			p.Name, p.Kind, p.Value, p.Start, p.Position.Index = "sent", schemas.MetricSum, 12, 1, 3
			p.Monotonic, p.Temporality = true, schemas.TemporalityCumulative
			p.Exemplars = []schemas.Exemplar{{Time: 6, Value: 4, TraceID: schemas.TraceID{1}, SpanID: schemas.SpanID{2}}}
		}),
		point(func(p *schemas.MetricPoint) {
			p.Name, p.Unit, p.Kind, p.Temporality, p.Position.Index = "size", "By", schemas.MetricHistogram, schemas.TemporalityDelta, 4
			p.Histogram = schemas.Distribution{Count: 6, Sum: 60, Min: nan, Max: 50, Bounds: []float64{10, 20}, Explicit: []uint64{1, 2, 3}}
		}),
		point(func(p *schemas.MetricPoint) {
			p.Name, p.Unit, p.Kind, p.Temporality, p.Position.Index = "part", "s", schemas.MetricExponentialHistogram, schemas.TemporalityDelta, 5
			p.Histogram = schemas.Distribution{
				Count: 10, Sum: nan, Min: nan, Max: nan, Scale: -2, ZeroCount: 1,
				Positive: schemas.Buckets{Offset: -7, Counts: []uint64{3, 0, 300}},
			}
		}),
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.EquateNaNs()); diff != "" {
		t.Errorf("points (-want +got):\n%s", diff)
	}
}

func TestPointsOfOneStreamShareASeries(t *testing.T) {
	series := func(service, topic, name string) uint64 {
		md := pmetric.NewMetrics()
		rm := md.ResourceMetrics().AppendEmpty()
		rm.Resource().Attributes().PutStr("service.name", service)
		m := rm.ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
		m.SetName(name)
		p := m.SetEmptyGauge().DataPoints().AppendEmpty()
		p.SetTimestamp(7)
		p.SetIntValue(1)
		p.Attributes().PutStr("messaging.destination.name", topic)
		got, err := NewMetricDecoder(Limits{}).Decode(nil, metricsValue(t, md))
		if err != nil || len(got) != 1 {
			t.Fatalf("%d points, %v", len(got), err)
		}
		return got[0].Series
	}
	if series("a", "t", "low") != series("a", "t", "high") {
		t.Error("two metrics of one set of attributes have different series")
	}
	if series("a", "t", "low") == series("a", "u", "low") || series("a", "t", "low") == series("b", "t", "low") {
		t.Error("different attributes or resources have one series")
	}
}

func TestBrokenMetricsAreAnErrorThatSaysWhere(t *testing.T) {
	f := func(value []byte, limits Limits, want string) {
		t.Helper()
		dst := make([]schemas.MetricPoint, 1)
		got, err := NewMetricDecoder(limits).Decode(dst, value)
		if err == nil || !strings.Contains(err.Error(), want) || len(got) != 1 {
			t.Errorf("Decode(%x) = %d points, %v; want 1 and %q", value, len(got), err, want)
		}
	}
	f([]byte("no protobuf"), Limits{}, "broken protobuf at byte 0 in ExportMetricsServiceRequest")
	f([]byte{0x08, 1}, Limits{}, "field 1 of ExportMetricsServiceRequest has the wrong wire type")
	md := pmetric.NewMetrics()
	g := md.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics().AppendEmpty().SetEmptyGauge()
	for range 3 {
		g.DataPoints().AppendEmpty().SetIntValue(1)
	}
	f(metricsValue(t, md), Limits{Spans: 2}, "more than 2 points in one request")
}

// FuzzMetricDecoder: what pdata reads the decoder reads, with the same points.
func FuzzMetricDecoder(f *testing.F) {
	md := pmetric.NewMetrics()
	m := md.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
	p := m.SetEmptyExponentialHistogram().DataPoints().AppendEmpty()
	p.Positive().BucketCounts().FromRaw([]uint64{1, 2})
	p.Attributes().PutStr("a", "b")
	f.Add(metricsValue(f, md))
	f.Add([]byte{0x0a, 2, 0x12, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		d := NewMetricDecoder(Limits{})
		for range 2 {
			got, err := d.Decode(nil, data)
			if err == nil && len(got) > len(data) {
				t.Fatalf("%d points of %d bytes", len(got), len(data))
			}
			for i := range got {
				got[i].Histogram.Quantile(0.5)
			}
			d.Reset()
		}
	})
}
