package otlp

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
)

func encodeMetrics(t testing.TB, md pmetric.Metrics) []byte {
	t.Helper()
	b, err := pmetricotlp.NewExportRequestFromMetrics(md).MarshalProto()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func decodeMetrics(t testing.TB, data []byte) pmetric.Metrics {
	t.Helper()
	r := pmetricotlp.NewExportRequest()
	if err := r.UnmarshalProto(data); err != nil {
		t.Fatalf("pdata cannot read what ScanMetrics or SplitMetrics let through: %v", err)
	}
	return r.Metrics()
}

// generateMetrics makes a valid request with everything that a metric can
// hold; textBytes is the longest attribute.
func generateMetrics(rnd *rand.Rand, resources, metrics, points, textBytes int) pmetric.Metrics {
	md := pmetric.NewMetrics()
	attributes := func(m pcommon.Map) {
		m.PutStr("messaging.destination.name", strings.Repeat("o", rnd.IntN(textBytes+1)))
		m.PutInt("messaging.kafka.offset", rnd.Int64())
		m.PutEmptySlice("list").AppendEmpty().SetStr("x")
	}
	at := func() pcommon.Timestamp {
		return pcommon.NewTimestampFromTime(testNow.Add(-time.Duration(rnd.Int64N(int64(time.Hour)))))
	}
	exemplar := func(e pmetric.Exemplar) {
		e.SetTimestamp(at())
		e.SetDoubleValue(rnd.Float64())
		e.SetTraceID(pcommon.TraceID{1})
		e.SetSpanID(pcommon.SpanID{2})
	}
	number := func(p pmetric.NumberDataPoint) {
		attributes(p.Attributes())
		p.SetTimestamp(at())
		if rnd.IntN(2) == 0 {
			p.SetIntValue(-rnd.Int64())
		} else {
			p.SetDoubleValue(rnd.Float64())
		}
		exemplar(p.Exemplars().AppendEmpty())
	}
	for range 1 + rnd.IntN(resources) {
		rm := md.ResourceMetrics().AppendEmpty()
		attributes(rm.Resource().Attributes())
		sm := rm.ScopeMetrics().AppendEmpty()
		sm.Scope().SetName("scope")
		for range 1 + rnd.IntN(metrics) {
			m := sm.Metrics().AppendEmpty()
			m.SetName("hoptrace.part")
			m.SetUnit("s")
			m.SetDescription(strings.Repeat("d", rnd.IntN(textBytes+1)))
			n := 1 + rnd.IntN(points)
			switch rnd.IntN(4) {
			case 0:
				for g := m.SetEmptyGauge(); n > 0; n-- {
					number(g.DataPoints().AppendEmpty())
				}
			case 1:
				s := m.SetEmptySum()
				s.SetIsMonotonic(true)
				s.SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
				for ; n > 0; n-- {
					number(s.DataPoints().AppendEmpty())
				}
			case 2:
				h := m.SetEmptyHistogram()
				h.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
				for ; n > 0; n-- {
					p := h.DataPoints().AppendEmpty()
					attributes(p.Attributes())
					p.SetTimestamp(at())
					p.ExplicitBounds().FromRaw([]float64{0.1, 1})
					p.BucketCounts().FromRaw([]uint64{1, 2, 3})
					p.SetCount(6)
					p.SetSum(1.5)
					exemplar(p.Exemplars().AppendEmpty())
				}
			case 3:
				h := m.SetEmptyExponentialHistogram()
				for ; n > 0; n-- {
					p := h.DataPoints().AppendEmpty()
					attributes(p.Attributes())
					p.SetTimestamp(at())
					p.SetScale(-3)
					p.SetZeroCount(4)
					p.Positive().SetOffset(-7)
					p.Positive().BucketCounts().FromRaw([]uint64{1, 300, rnd.Uint64()})
					p.Negative().BucketCounts().FromRaw([]uint64{5})
					p.SetMin(-1)
					p.SetMax(9)
					exemplar(p.Exemplars().AppendEmpty())
				}
			}
		}
	}
	return md
}

// eachPoint counts points, each with its resource, scope and metric.
func eachPoint(t testing.TB, into map[string]int, md pmetric.Metrics) {
	t.Helper()
	for _, rm := range md.ResourceMetrics().All() {
		for _, sm := range rm.ScopeMetrics().All() {
			for _, m := range sm.Metrics().All() {
				points := func(n int, remove func(m pmetric.Metric, keep int)) {
					for i := range n {
						one := pmetric.NewMetrics()
						orm := one.ResourceMetrics().AppendEmpty()
						rm.Resource().CopyTo(orm.Resource())
						osm := orm.ScopeMetrics().AppendEmpty()
						sm.Scope().CopyTo(osm.Scope())
						om := osm.Metrics().AppendEmpty()
						m.CopyTo(om)
						remove(om, i)
						into[string(encodeMetrics(t, one))]++
					}
				}
				keepOne := func(keep int) func() bool {
					i := -1
					return func() bool { i++; return i != keep }
				}
				switch m.Type() {
				case pmetric.MetricTypeGauge:
					points(m.Gauge().DataPoints().Len(), func(m pmetric.Metric, keep int) {
						drop := keepOne(keep)
						m.Gauge().DataPoints().RemoveIf(func(pmetric.NumberDataPoint) bool { return drop() })
					})
				case pmetric.MetricTypeSum:
					points(m.Sum().DataPoints().Len(), func(m pmetric.Metric, keep int) {
						drop := keepOne(keep)
						m.Sum().DataPoints().RemoveIf(func(pmetric.NumberDataPoint) bool { return drop() })
					})
				case pmetric.MetricTypeHistogram:
					points(m.Histogram().DataPoints().Len(), func(m pmetric.Metric, keep int) {
						drop := keepOne(keep)
						m.Histogram().DataPoints().RemoveIf(func(pmetric.HistogramDataPoint) bool { return drop() })
					})
				case pmetric.MetricTypeExponentialHistogram:
					points(m.ExponentialHistogram().DataPoints().Len(), func(m pmetric.Metric, keep int) {
						drop := keepOne(keep)
						m.ExponentialHistogram().DataPoints().RemoveIf(func(pmetric.ExponentialHistogramDataPoint) bool { return drop() })
					})
				}
			}
		}
	}
}

func TestSplitMetricsLosesNoPointAndFitsEachPart(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 10 {
		md := generateMetrics(rnd, 3, 8, 60, 2000)
		data := encodeMetrics(t, md)
		want, got := map[string]int{}, map[string]int{}
		eachPoint(t, want, md)
		parts, report, err := SplitMetrics(data, MinRecordBytes, testNow)
		if err != nil || report.Refused() != 0 || report.Items != md.DataPointCount() {
			t.Fatalf("%d points, refused %q, %v; want %d", report.Items, report.Message(), err, md.DataPointCount())
		}
		if least := len(data) / MinRecordBytes; len(parts) < least {
			t.Errorf("%d parts of %d bytes; want at least %d", len(parts), len(data), least)
		}
		for _, p := range parts {
			part := decodeMetrics(t, p.Data)
			if n := part.DataPointCount(); n != p.Items || n == 0 || len(p.Data) > MinRecordBytes {
				t.Errorf("a part of %d bytes says %d points and has %d", len(p.Data), p.Items, n)
			}
			eachPoint(t, got, part)
		}
		if !maps.Equal(want, got) {
			t.Errorf("the parts hold %d different points, the whole %d, and they differ", len(got), len(want))
		}
	}
}

func TestABadPointIsRefusedAlone(t *testing.T) {
	f := func(reason Reason, spoil func(m pmetric.Metric), detail string) {
		t.Helper()
		md := pmetric.NewMetrics()
		sm := md.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty()
		good := sm.Metrics().AppendEmpty()
		good.SetName("good")
		p := good.SetEmptyGauge().DataPoints().AppendEmpty()
		p.SetTimestamp(pcommon.NewTimestampFromTime(testNow))
		p.SetIntValue(1)
		bad := sm.Metrics().AppendEmpty()
		bad.SetName("bad")
		spoil(bad)
		parts, r, err := SplitMetrics(encodeMetrics(t, md), MinRecordBytes, testNow)
		if err != nil {
			t.Fatalf("%v: %v", reason, err)
		}
		if r.Items != 1 || r.Rejected[reason] != 1 || r.Refused() != 1 || len(parts) != 1 || parts[0].Items != 1 {
			t.Errorf("%v: %d taken in %d parts, refused %v", reason, r.Items, len(parts), r.Rejected)
		}
		if !strings.Contains(r.Message(), detail) || !strings.Contains(r.Message(), "1 of 2 points refused") {
			t.Errorf("%v is told as %q; want %q", reason, r.Message(), detail)
		}
		if got := decodeMetrics(t, parts[0].Data); got.DataPointCount() != 1 {
			t.Errorf("%v: the record has %d points", reason, got.DataPointCount())
		}
	}
	gauge := func(m pmetric.Metric) pmetric.NumberDataPoint {
		p := m.SetEmptyGauge().DataPoints().AppendEmpty()
		p.SetTimestamp(pcommon.NewTimestampFromTime(testNow))
		p.SetDoubleValue(2)
		return p
	}
	f(NoTime, func(m pmetric.Metric) { gauge(m).SetTimestamp(0) }, `resourceMetrics[0].scopeMetrics[0].metrics[1].dataPoints[0] "bad" has no time`)
	f(InFuture, func(m pmetric.Metric) {
		gauge(m).SetTimestamp(pcommon.NewTimestampFromTime(testNow.Add(48 * time.Hour)))
	}, "latest time")
	f(OldPoint, func(m pmetric.Metric) { gauge(m).SetTimestamp(1) }, "has the time 1 ")
	f(NoName, func(m pmetric.Metric) { gauge(m); m.SetName("") }, "no name")
	f(NoValue, func(m pmetric.Metric) {
		m.SetEmptyGauge().DataPoints().AppendEmpty().SetTimestamp(pcommon.NewTimestampFromTime(testNow))
	}, "no value")
	f(TooDeep, func(m pmetric.Metric) {
		v := gauge(m).Attributes().PutEmptySlice("deep")
		for range 2 * maxNesting {
			v = v.AppendEmpty().SetEmptySlice()
		}
	}, "nested")
	f(BadBuckets, func(m pmetric.Metric) {
		p := m.SetEmptyHistogram().DataPoints().AppendEmpty()
		p.SetTimestamp(pcommon.NewTimestampFromTime(testNow))
		p.ExplicitBounds().FromRaw([]float64{1, 2})
		p.BucketCounts().FromRaw([]uint64{1, 2})
	}, "2 buckets and 2 bounds")
	f(BadBuckets, func(m pmetric.Metric) {
		p := m.SetEmptyExponentialHistogram().DataPoints().AppendEmpty()
		p.SetTimestamp(pcommon.NewTimestampFromTime(testNow))
		p.Positive().BucketCounts().FromRaw(make([]uint64, maxBuckets+1))
	}, "at most 2048")
	f(Summary, func(m pmetric.Metric) {
		m.SetEmptySummary().DataPoints().AppendEmpty().SetTimestamp(pcommon.NewTimestampFromTime(testNow))
	}, "send a histogram")
	f(TooLarge, func(m pmetric.Metric) { gauge(m).Attributes().PutStr("x", strings.Repeat("x", MinRecordBytes)) }, "a point of \"bad\" has")
}

func TestBytesThatAreNoMetricsAreMalformed(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	data := encodeMetrics(t, generateMetrics(rnd, 2, 4, 5, 40))
	for n := range len(data) {
		if r, err := ScanMetrics(data[:n], testNow); err == nil {
			decodeMetrics(t, data[:n])
			_ = r
		}
	}
	f := func(metric []byte, want string) {
		t.Helper()
		wrap := func(b []byte, num uint32) []byte { return append(appendTag(nil, num, len(b)), b...) }
		_, err := ScanMetrics(wrap(wrap(wrap(metric, 2), 2), 1), testNow)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ScanMetrics = %v; want %q", err, want)
		}
	}
	f([]byte{0x08, 1}, "resourceMetrics[0].scopeMetrics[0].metrics[0]: field 1 has wire type 0")
	f([]byte{gaugeField<<3 | wireBytes, 0, sumField<<3 | wireBytes, 0}, "want one")
	f([]byte{gaugeField<<3 | wireBytes, 2, 0x08, 1}, "dataPoints: wire type 0")
	f([]byte{histogramField<<3 | wireBytes, 5, 1<<3 | wireBytes, 3, 6<<3 | wireBytes, 1, 0}, "cut short")
}

// FuzzScanMetrics: what ScanMetrics lets through whole, pdata reads, with as
// many points, and SplitMetrics keeps them all.
func FuzzScanMetrics(f *testing.F) {
	rnd := rand.New(rand.NewPCG(7, 8))
	for range 4 {
		f.Add(encodeMetrics(f, generateMetrics(rnd, 1, 3, 2, 10)))
	}
	f.Add([]byte("no protobuf"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<20 || hasDeprecated(data) {
			return
		}
		report, err := ScanMetrics(data, testNow)
		if err != nil {
			return
		}
		if report.Refused() == 0 {
			if n := decodeMetrics(t, data).DataPointCount(); n != report.Items {
				t.Fatalf("ScanMetrics counts %d points, pdata %d", report.Items, n)
			}
		}
		if len(data) == 0 {
			return
		}
		times := 1 + min(500, 200<<10/len(data))
		parts, again, err := SplitMetrics(bytes.Repeat(data, times), MinRecordBytes, testNow)
		if err != nil {
			t.Fatalf("valid alone, repeated: %v", err)
		}
		points := 0
		for _, p := range parts {
			points += p.Items
			if n := decodeMetrics(t, p.Data).DataPointCount(); n != p.Items || len(p.Data) > MinRecordBytes {
				t.Fatalf("a part of %d bytes says %d points and has %d", len(p.Data), p.Items, n)
			}
		}
		if points != again.Items || points+again.Refused() != times*(report.Items+report.Refused()) {
			t.Fatalf("%d points in parts, %d reported, %d refused, of %d times %d", points, again.Items, again.Refused(), times, report.Items+report.Refused())
		}
	})
}
