package exportertest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// Metrics is a store of metric points.
type Metrics interface {
	exporters.MetricWriter
	exporters.MetricReader
	exporters.Pinger
}

// MetricStore is the contract of a store of metric points. open gives an empty
// one.
func MetricStore(t *testing.T, open func(t *testing.T) Metrics) {
	for _, test := range []struct {
		name string
		f    func(t *testing.T, s Metrics)
	}{
		{"PointsComeBackAsTheyWere", pointRoundTrip},
		{"DeltaHistogramsAreMerged", deltaHistograms},
		{"CumulativeStreamsGiveWhatWasAdded", cumulativeStreams},
		{"GaugesGiveTheirLastValue", gauges},
		{"FiltersAndLabelsHold", metricLabels},
		{"NamesAreListed", metricNames},
		{"AReplayLeavesEachPointOnce", metricReplay},
		{"PointsAreFoundByNewestAndThinned", pointQueries},
		{"LimitsHold", metricLimits},
		{"ACancelledContextIsAnError", metricsCancelled},
	} {
		t.Run(test.name, func(t *testing.T) { test.f(t, open(t)) })
	}
}

// samePoints compares with NaN equal to NaN.
func samePoints(t testing.TB, what string, got, want any) {
	t.Helper()
	if d := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.EquateNaNs(), cmpopts.EquateApprox(1e-9, 1e-12)); d != "" {
		t.Errorf("%s: got + want -:\n%s", what, d)
	}
}

// points numbers what it gets: each has a position of its own.
func numbered(points []schemas.MetricPoint) []schemas.MetricPoint {
	for i := range points {
		points[i].Source, points[i].Position = 5, schemas.Position{Offset: int64(i / 10), Index: uint32(i % 10)} //nolint:gosec // small
	}
	return points
}

func pointRoundTrip(t *testing.T, s Metrics) {
	ctx := testContext(t)
	start := base().UnixNano()
	nan := math.NaN()
	full := schemas.MetricPoint{
		Project: 1, Name: "full ünï", Unit: "s", Description: "what it is", Kind: schemas.MetricExponentialHistogram,
		Temporality: schemas.TemporalityDelta, Monotonic: true, Topic: "orders", Partition: 11, Group: "g'1", ClientID: "c\\1", Broker: "[::1]:9092",
		Service: "payments", Scope: "otelkafkago", BootID: "b1", Series: 1<<64 - 1,
		Resource: []schemas.Attribute{{Key: "host.name", Value: "a"}}, Attributes: oddAttributes(),
		Start: start - 1e9, Time: start, Value: -0.25,
		Histogram: schemas.Distribution{
			Count: 1 << 40, Sum: -1.5, Min: -3, Max: 1e300, Scale: -11, ZeroCount: 7,
			Positive: schemas.Buckets{Offset: -5, Counts: []uint64{1, 0, 1<<64 - 1}}, Negative: schemas.Buckets{Offset: 1 << 30, Counts: []uint64{2}},
			Bounds: []float64{-1, 0.5}, Explicit: []uint64{1, 2, 3},
		},
		Exemplars: []schemas.Exemplar{{Time: start - 5, Value: 0.125, TraceID: traceID(3), SpanID: spanID(4)}, {Time: start - 4, Value: nan}},
		Source:    1<<64 - 1, Position: schemas.Position{Offset: 1<<63 - 1, Index: 1<<32 - 1},
	}
	points := append(make([]schemas.MetricPoint, 0, 1+len(odd)), full)
	for i, text := range odd {
		p := schemas.MetricPoint{
			Project: 1, Name: "odd", Kind: schemas.MetricGauge, Partition: schemas.Unknown, Time: start + int64(i) + 1, Value: float64(i),
			Topic: text, Group: text, Unit: text, Description: text, ClientID: text, Broker: text, Service: text, Scope: text, BootID: text,
			Histogram: schemas.Distribution{Sum: nan, Min: math.Inf(-1), Max: math.Inf(1)},
			Source:    4, Position: schemas.Position{Index: uint32(i)}, //nolint:gosec // small
		}
		points = append(points, p)
	}
	noError(t, "WriteMetrics of nothing", s.WriteMetrics(ctx, nil))
	noError(t, "WriteMetrics", s.WriteMetrics(ctx, points))
	got, err := s.MetricPoints(ctx, exporters.PointQuery{Project: 1, Names: []string{"odd", "full ünï", "none"}})
	noError(t, "MetricPoints", err)
	samePoints(t, "points", got, points)
}

// spread puts values into an exponential histogram.
func spread(scale int32, values ...float64) schemas.Distribution {
	d := schemas.Distribution{Scale: scale, Min: math.Inf(1), Max: math.Inf(-1)}
	buckets := map[bool]map[int32]uint64{true: {}, false: {}}
	for _, v := range values {
		d.Count++
		d.Sum += v
		d.Min, d.Max = math.Min(d.Min, v), math.Max(d.Max, v)
		if v == 0 {
			d.ZeroCount++
			continue
		}
		buckets[v > 0][int32(math.Ceil(math.Ldexp(math.Log2(math.Abs(v)), int(scale))))-1]++
	}
	lay := func(at map[int32]uint64) (b schemas.Buckets) {
		if len(at) == 0 {
			return b
		}
		low, high := int32(math.MaxInt32), int32(math.MinInt32)
		for i := range at {
			low, high = min(low, i), max(high, i)
		}
		b.Offset, b.Counts = low, make([]uint64, high-low+1)
		for i, n := range at {
			b.Counts[i-low] = n
		}
		return b
	}
	d.Positive, d.Negative = lay(buckets[true]), lay(buckets[false])
	return d
}

func deltaHistograms(t *testing.T, s Metrics) {
	ctx := testContext(t)
	rnd := rand.New(rand.NewPCG(1, 2))
	start := base().Truncate(time.Minute)
	const step = 10 * time.Second
	type line struct {
		topic string
		slot  int64
	}
	points := make([]schemas.MetricPoint, 0, 300)
	want := map[line][]*schemas.Distribution{}
	worst := map[line]schemas.Exemplar{}
	for i := range 300 {
		values := make([]float64, 1+rnd.IntN(20))
		for j := range values {
			values[j] = math.Exp(rnd.NormFloat64()*2-5) * float64(rnd.IntN(20)-1)
		}
		at := start.Add(time.Duration(rnd.Int64N(int64(time.Minute))))
		k := line{[]string{"orders", "payments"}[i%2], at.UnixNano() / int64(step)}
		p := schemas.MetricPoint{
			Project: 1, Name: "part", Unit: "s", Kind: schemas.MetricExponentialHistogram, Temporality: schemas.TemporalityDelta,
			Topic: k.topic, Partition: int32(i % 3), Time: at.UnixNano(), Histogram: spread(int32(rnd.IntN(4)), values...), //nolint:gosec // small
			Exemplars: []schemas.Exemplar{{Time: at.UnixNano(), Value: values[0], TraceID: traceID(i + 1), SpanID: spanID(i)}},
		}
		if i%50 == 7 { // of somebody else's SDK
			p.Kind = schemas.MetricExponentialHistogram
			p.Histogram = schemas.Distribution{Count: 3, Sum: 2, Min: math.NaN(), Max: math.NaN(), Bounds: []float64{0.1, 1}, Explicit: []uint64{1, 1, 1}}
		}
		points = append(points, p)
		d := p.Histogram
		merged := false
		for _, have := range want[k] {
			if merged = have.Merge(&d); merged {
				break
			}
		}
		if !merged {
			own := schemas.Distribution{}
			own.Merge(&d)
			want[k] = append(want[k], &own)
		}
		if e := p.Exemplars[0]; e.Value > worst[k].Value || worst[k].TraceID.IsZero() {
			worst[k] = e
		}
	}
	noError(t, "WriteMetrics", s.WriteMetrics(ctx, numbered(points)))
	got, err := s.MetricSeries(ctx, exporters.MetricQuery{
		Project: 1, Name: "part", Range: exporters.Range{From: start, To: start.Add(time.Minute)}, Step: step, By: []exporters.MetricLabel{exporters.LabelTopic},
	})
	noError(t, "MetricSeries", err)
	if len(got) != 2 || got[0].Topic != "orders" || got[1].Topic != "payments" {
		t.Fatalf("%d series: %+v", len(got), got)
	}
	steps := 0
	for _, series := range got {
		if series.Unit != "s" || series.Kind != schemas.MetricExponentialHistogram || series.Partition != schemas.Unknown {
			t.Errorf("series is of kind %v, unit %q, partition %d", series.Kind, series.Unit, series.Partition)
		}
		for _, at := range series.Steps {
			steps++
			k := line{series.Topic, at.Time / int64(step)}
			all := want[k]
			w := exporters.MetricStep{
				Time: k.slot * int64(step), Min: math.Inf(1), Max: math.Inf(-1),
				P50: schemas.Quantile(0.5, all...), P95: schemas.Quantile(0.95, all...), P99: schemas.Quantile(0.99, all...),
			}
			for _, d := range all {
				w.Count += d.Count
				w.Sum += d.Sum
				w.Min, w.Max = math.Min(w.Min, d.Min), math.Max(w.Max, d.Max)
			}
			e := worst[k]
			w.Exemplar = &e
			samePoints(t, fmt.Sprintf("topic %s step %d", series.Topic, k.slot), at, w)
		}
	}
	if steps != len(want) {
		t.Errorf("%d steps; want %d", steps, len(want))
	}
}

func cumulativeStreams(t *testing.T, s Metrics) {
	ctx := testContext(t)
	start := base().Truncate(time.Minute)
	point := func(series uint64, after time.Duration, begun time.Time, value float64) schemas.MetricPoint {
		return schemas.MetricPoint{
			Project: 1, Name: "sent", Kind: schemas.MetricSum, Temporality: schemas.TemporalityCumulative, Monotonic: true, Partition: schemas.Unknown,
			Series: series, Start: begun.UnixNano(), Time: start.Add(after).UnixNano(), Value: value,
		}
	}
	long, again := start.Add(-time.Hour), start.Add(22*time.Second)
	histogram := func(after time.Duration, values ...float64) schemas.MetricPoint {
		p := point(3, after, long, 0)
		p.Name, p.Kind, p.Histogram = "size", schemas.MetricHistogram, schemas.Distribution{Bounds: []float64{1, 10}, Explicit: make([]uint64, 3), Min: math.NaN(), Max: math.NaN()}
		for _, v := range values {
			p.Histogram.Count++
			p.Histogram.Sum += v
			i, _ := slices.BinarySearch(p.Histogram.Bounds, v)
			p.Histogram.Explicit[i]++
		}
		return p
	}
	noError(t, "WriteMetrics", s.WriteMetrics(ctx, numbered([]schemas.MetricPoint{
		point(1, -5*time.Second, long, 1000), point(1, 2*time.Second, long, 1010), point(1, 8*time.Second, long, 1015), point(1, 12*time.Second, long, 1020),
		point(1, 25*time.Second, again, 3), // the program was started again
		point(2, 15*time.Second, long, 77), // nobody knows what it had before
		point(2, 25*time.Second, long, 80),
		histogram(-time.Second, 0.5, 5), histogram(4*time.Second, 0.5, 5, 5, 20),
	})))
	q := exporters.MetricQuery{Project: 1, Name: "sent", Range: exporters.Range{From: start, To: start.Add(time.Minute)}, Step: 10 * time.Second}
	got, err := s.MetricSeries(ctx, q)
	noError(t, "MetricSeries", err)
	nan := math.NaN()
	step := func(n int, count uint64, sum float64) exporters.MetricStep {
		return exporters.MetricStep{Time: start.Add(time.Duration(n) * 10 * time.Second).UnixNano(), Count: count, Sum: sum, Min: nan, Max: nan, P50: nan, P95: nan, P99: nan}
	}
	samePoints(t, "what was sent", got, []exporters.MetricSeries{{
		Partition: schemas.Unknown, Kind: schemas.MetricSum,
		Steps: []exporters.MetricStep{step(0, 1, 15), step(1, 1, 5), step(2, 2, 3+3)},
	}})
	q.Name = "size"
	got, err = s.MetricSeries(ctx, q)
	noError(t, "MetricSeries", err)
	w := step(0, 2, 25)
	d := schemas.Distribution{Count: 2, Min: nan, Max: nan, Bounds: []float64{1, 10}, Explicit: []uint64{0, 1, 1}}
	w.P50, w.P95, w.P99 = d.Quantile(0.5), d.Quantile(0.95), d.Quantile(0.99)
	samePoints(t, "sizes", got, []exporters.MetricSeries{{Partition: schemas.Unknown, Kind: schemas.MetricHistogram, Steps: []exporters.MetricStep{w}}})
}

func gauges(t *testing.T, s Metrics) {
	ctx := testContext(t)
	start := base().Truncate(time.Minute)
	point := func(partition int32, after time.Duration, value float64) schemas.MetricPoint {
		return schemas.MetricPoint{
			Project: 1, Name: "lag", Kind: schemas.MetricGauge, Topic: "orders", Partition: partition, Series: uint64(partition), //nolint:gosec // small
			Time: start.Add(after).UnixNano(), Value: value,
		}
	}
	noError(t, "WriteMetrics", s.WriteMetrics(ctx, numbered([]schemas.MetricPoint{
		point(1, time.Second, 10), point(1, 9*time.Second, 4), point(2, 5*time.Second, 7), point(2, 11*time.Second, -1), point(1, -time.Second, 99),
	})))
	got, err := s.MetricSeries(ctx, exporters.MetricQuery{Project: 1, Name: "lag", Range: exporters.Range{From: start, To: start.Add(time.Minute)}, Step: 10 * time.Second})
	noError(t, "MetricSeries", err)
	nan := math.NaN()
	samePoints(t, "lag", got, []exporters.MetricSeries{{Partition: schemas.Unknown, Kind: schemas.MetricGauge, Steps: []exporters.MetricStep{
		{Time: start.UnixNano(), Count: 2, Sum: 11, Min: 4, Max: 10, P50: nan, P95: nan, P99: nan},
		{Time: start.Add(10 * time.Second).UnixNano(), Count: 1, Sum: -1, Min: -1, Max: -1, P50: nan, P95: nan, P99: nan},
	}}})
}

func metricLabels(t *testing.T, s Metrics) {
	ctx := testContext(t)
	start := base().Truncate(time.Minute)
	points := make([]schemas.MetricPoint, 0, 33)
	for i := range 32 {
		pick := func(bit int, name string) string { return name + fmt.Sprint(i>>bit&1) }
		points = append(points, schemas.MetricPoint{
			Project: 1, Name: "n", Kind: schemas.MetricSum, Temporality: schemas.TemporalityDelta, Topic: pick(0, "t"), Partition: int32(i >> 1 & 1), //nolint:gosec // small
			Group: pick(2, "g"), Service: pick(3, "s"), ClientID: pick(4, "c"), Time: start.UnixNano(), Value: float64(uint(1) << i), Series: uint64(i), //nolint:gosec // small
			Attributes: []schemas.Attribute{{Key: "hoptrace.rebalance.cause", Value: pick(0, "a")}, {Key: "error.type", Value: "timeout"}, {Key: "hoptrace.pathway", Value: pick(1, "p")}},
		})
	}
	other := points[0]
	other.Project = 2
	noError(t, "WriteMetrics", s.WriteMetrics(ctx, numbered(append(points, other))))
	f := func(what string, change func(q *exporters.MetricQuery), keep func(p *schemas.MetricPoint) bool, series int) {
		t.Helper()
		q := exporters.MetricQuery{Project: 1, Name: "n", Range: exporters.Range{From: start, To: start.Add(time.Minute)}, Step: time.Minute}
		change(&q)
		got, err := s.MetricSeries(ctx, q)
		noError(t, what, err)
		want, sum := 0.0, 0.0
		for i := range points {
			if keep(&points[i]) {
				want += points[i].Value
			}
		}
		for _, line := range got {
			for _, at := range line.Steps {
				sum += at.Sum
			}
		}
		if len(got) != series || sum != want {
			t.Errorf("%s: %d series of sum %v; want %d of %v", what, len(got), sum, series, want)
		}
	}
	all := func(*schemas.MetricPoint) bool { return true }
	f("all", func(*exporters.MetricQuery) {}, all, 1)
	f("topic", func(q *exporters.MetricQuery) { q.Topic = "t1" }, func(p *schemas.MetricPoint) bool { return p.Topic == "t1" }, 1)
	zero := int32(0)
	f("partition", func(q *exporters.MetricQuery) { q.Partition = &zero }, func(p *schemas.MetricPoint) bool { return p.Partition == 0 }, 1)
	f("group, service and client", func(q *exporters.MetricQuery) { q.Group, q.Service, q.ClientID = "g0", "s1", "c1" },
		func(p *schemas.MetricPoint) bool { return p.Group == "g0" && p.Service == "s1" && p.ClientID == "c1" }, 1)
	f("by all", func(q *exporters.MetricQuery) {
		q.By = []exporters.MetricLabel{exporters.LabelTopic, exporters.LabelPartition, exporters.LabelGroup, exporters.LabelService, exporters.LabelClient}
	}, all, 32)
	f("by two of one topic", func(q *exporters.MetricQuery) {
		q.Topic, q.By = "t0", []exporters.MetricLabel{exporters.LabelPartition, exporters.LabelClient}
	}, func(p *schemas.MetricPoint) bool { return p.Topic == "t0" }, 4)
	cause := func(p *schemas.MetricPoint) string {
		v, _ := schemas.Lookup(p.Attributes, "hoptrace.rebalance.cause")
		return v
	}
	f("by cause, error and pathway", func(q *exporters.MetricQuery) {
		q.By = []exporters.MetricLabel{exporters.LabelCause, exporters.LabelError, exporters.LabelPathway}
	}, all, 4)
	f("one cause by pathway", func(q *exporters.MetricQuery) { q.Cause, q.By = "a1", []exporters.MetricLabel{exporters.LabelPathway} },
		func(p *schemas.MetricPoint) bool { return cause(p) == "a1" }, 2)
	f("error and pathway", func(q *exporters.MetricQuery) { q.ErrorType, q.Pathway = "timeout", "p0" },
		func(p *schemas.MetricPoint) bool {
			v, _ := schemas.Lookup(p.Attributes, "hoptrace.pathway")
			return v == "p0"
		}, 1)
	f("another name", func(q *exporters.MetricQuery) { q.Name = "m" }, func(*schemas.MetricPoint) bool { return false }, 0)
	f("another time", func(q *exporters.MetricQuery) { q.Range.From, q.Range.To = start.Add(-time.Hour), start },
		func(*schemas.MetricPoint) bool { return false }, 0)
}

func metricNames(t *testing.T, s Metrics) {
	ctx := testContext(t)
	start := base()
	points := make([]schemas.MetricPoint, 0, 6)
	for i := range 6 {
		points = append(points, schemas.MetricPoint{
			Project: 1, Name: []string{"b", "a"}[i%2], Unit: "s", Description: "about", Kind: schemas.MetricSum, Topic: []string{"", "u", "t"}[i%3], Group: "g", Partition: int32(i), //nolint:gosec // small
			Series: uint64(i % 4), Time: start.UnixNano() + int64(i), //nolint:gosec // small
		})
	}
	noError(t, "WriteMetrics", s.WriteMetrics(ctx, numbered(points)))
	got, err := s.MetricNames(ctx, 1, exporters.Range{})
	noError(t, "MetricNames", err)
	name := func(name string, series uint64, last int64) exporters.MetricName {
		return exporters.MetricName{Name: name, Unit: "s", Description: "about", Kind: schemas.MetricSum, Points: 3, Series: series, LastSeen: start.UnixNano() + last, Topics: []string{"t", "u"}, Groups: []string{"g"}}
	}
	equal(t, "names", got, []exporters.MetricName{name("a", 2, 5), name("b", 2, 4)})
	for what, f := range map[string]func() (int, error){
		"another project": func() (int, error) { n, err := s.MetricNames(ctx, 2, exporters.Range{}); return len(n), err },
		"an earlier range": func() (int, error) {
			n, err := s.MetricNames(ctx, 1, exporters.Range{To: start})
			return len(n), err
		},
	} {
		if n, err := f(); n != 0 || err != nil {
			t.Errorf("%s has %d names, %v", what, n, err)
		}
	}
}

func metricReplay(t *testing.T, s Metrics) {
	ctx := testContext(t)
	start := base().Truncate(time.Minute)
	points := make([]schemas.MetricPoint, 0, 25)
	for i := range 25 {
		points = append(points, schemas.MetricPoint{
			Project: 1, Name: "n", Kind: schemas.MetricSum, Temporality: schemas.TemporalityDelta, Partition: schemas.Unknown, Time: start.UnixNano() + int64(i), Value: 1,
		})
	}
	for range 3 {
		noError(t, "WriteMetrics", s.WriteMetrics(ctx, numbered(points)))
	}
	got, err := s.MetricSeries(ctx, exporters.MetricQuery{Project: 1, Name: "n", Range: exporters.Range{From: start, To: start.Add(time.Minute)}, Step: time.Minute})
	noError(t, "MetricSeries", err)
	if len(got) != 1 || len(got[0].Steps) != 1 || got[0].Steps[0].Sum != 25 {
		t.Errorf("25 points stored three times give %+v", got)
	}
	again, err := s.MetricPoints(ctx, exporters.PointQuery{Project: 1, Names: []string{"n"}})
	noError(t, "MetricPoints", err)
	samePoints(t, "points", again, points)
	f := func(source schemas.Source, from int64, want int) {
		t.Helper()
		w, err := s.WrittenMetrics(ctx, source, from)
		noError(t, "WrittenMetrics", err)
		if len(w) != want {
			t.Errorf("source %d has %d points from offset %d on; want %d", source, len(w), from, want)
		}
	}
	f(5, 0, 25)
	f(5, 1, 15)
	f(5, 3, 0)
	f(6, 0, 0)
}

func pointQueries(t *testing.T, s Metrics) {
	ctx := testContext(t)
	start := base().Truncate(time.Minute)
	points := make([]schemas.MetricPoint, 0, 40)
	for i := range 40 {
		points = append(points, schemas.MetricPoint{
			Project: 1, Name: []string{"low", "high"}[i%2], Kind: schemas.MetricGauge, Partition: schemas.Unknown, BootID: fmt.Sprint("b", i/2%2), Series: uint64(i / 2 % 2), //nolint:gosec // small
			Time: start.UnixNano() + int64(i/4)*int64(time.Second), Value: float64(i),
		})
	}
	noError(t, "WriteMetrics", s.WriteMetrics(ctx, numbered(points)))
	f := func(what string, q exporters.PointQuery, want ...float64) {
		t.Helper()
		q.Project = 1
		got, err := s.MetricPoints(ctx, q)
		noError(t, what, err)
		values := make([]float64, 0, len(got))
		for i := range got {
			values = append(values, got[i].Value)
		}
		slices.Sort(values)
		if !slices.Equal(values, want) {
			t.Errorf("%s: %v; want %v", what, values, want)
		}
		if !slices.IsSortedFunc(got, func(a, b schemas.MetricPoint) int { return int(a.Time - b.Time) }) {
			t.Errorf("%s: not by time", what)
		}
	}
	both := []string{"low", "high"}
	f("the newest", exporters.PointQuery{Names: both, Newest: true}, 36, 37, 38, 39)
	f("the newest of one host", exporters.PointQuery{Names: both, Newest: true, BootIDs: []string{"b1", "b7"}}, 38, 39)
	f("one name of a stretch", exporters.PointQuery{Names: both[:1], Range: exporters.Range{From: start.Add(2 * time.Second), To: start.Add(4 * time.Second)}}, 8, 10, 12, 14)
	f("each five seconds", exporters.PointQuery{Names: both, Every: 5 * time.Second}, 0, 1, 2, 3, 20, 21, 22, 23)
	f("at most three", exporters.PointQuery{Names: both[:1], Limit: 3}, 0, 2, 4)
	f("no name", exporters.PointQuery{})
}

func metricLimits(t *testing.T, s Metrics) {
	ctx := testContext(t)
	q := exporters.MetricQuery{Project: 1, Name: "n", Range: exporters.Range{From: base(), To: base().Add(time.Hour)}, Step: time.Second}
	if _, err := s.MetricSeries(ctx, q); !errors.Is(err, exporters.ErrTooLarge) {
		t.Errorf("3,600 steps: %v; want %v", err, exporters.ErrTooLarge)
	}
	q.Step = 0
	if _, err := s.MetricSeries(ctx, q); err == nil {
		t.Error("a step of zero was taken")
	}
	if _, err := s.MetricPoints(ctx, exporters.PointQuery{Project: 1, Names: make([]string, 17)}); err == nil {
		t.Error("17 names were taken")
	}
	if _, err := s.MetricPoints(ctx, exporters.PointQuery{Project: 1, Names: []string{"n"}, BootIDs: make([]string, 1001)}); err == nil {
		t.Error("1001 boot ids were taken")
	}
	many := make([]schemas.MetricPoint, 200_001)
	if err := s.WriteMetrics(ctx, many); !errors.Is(err, exporters.ErrTooLarge) {
		t.Errorf("200,001 points: %v; want %v", err, exporters.ErrTooLarge)
	}
}

func metricsCancelled(t *testing.T, s Metrics) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	q := exporters.MetricQuery{Project: 1, Name: "n", Range: exporters.Range{From: base(), To: base().Add(time.Hour)}, Step: time.Minute}
	for name, f := range map[string]func() error{
		"WriteMetrics": func() error {
			return s.WriteMetrics(ctx, []schemas.MetricPoint{{Project: 1, Name: "n", Time: base().UnixNano()}})
		},
		"WrittenMetrics": func() error { _, err := s.WrittenMetrics(ctx, 1, 0); return err },
		"MetricNames":    func() error { _, err := s.MetricNames(ctx, 1, exporters.Range{}); return err },
		"MetricSeries":   func() error { _, err := s.MetricSeries(ctx, q); return err },
		"MetricPoints": func() error {
			_, err := s.MetricPoints(ctx, exporters.PointQuery{Project: 1, Names: []string{"n"}})
			return err
		},
	} {
		if err := f(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s with a cancelled context: got error %v, want %v", name, err, context.Canceled)
		}
	}
}
