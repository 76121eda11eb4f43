package clickhouse

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// clientPoints is what clients send of one interval: groups of six measures,
// four of them histograms of some twenty buckets.
func clientPoints(rnd *rand.Rand, at time.Time, groups int, from uint32) []schemas.MetricPoint {
	names := []string{"hoptrace.hop.batch_queue", "hoptrace.hop.ack", "hoptrace.hop.backlog", "hoptrace.hop.processing", "messaging.client.sent.messages", "hoptrace.consumer.lag"}
	resource := []schemas.Attribute{{Key: "host.name", Value: "a"}, {Key: "service.version", Value: "1.2.3"}}
	out := make([]schemas.MetricPoint, 0, groups*len(names))
	for g := range groups {
		for i, name := range names {
			p := schemas.MetricPoint{
				Project: 1, Name: name, Unit: "s", Kind: schemas.MetricExponentialHistogram, Temporality: schemas.TemporalityDelta,
				Topic: fmt.Sprint("topic", g/16), Partition: int32(g % 16), Group: "workers", ClientID: "c1", Service: fmt.Sprint("service", g/64), //nolint:gosec // small
				Scope: "otelkafkago", BootID: "b1", Series: uint64(g), Resource: resource, Start: at.Add(-10 * time.Second).UnixNano(), Time: at.UnixNano(), //nolint:gosec // small
				Source: 1, Position: schemas.Position{Offset: at.UnixNano(), Index: from + uint32(len(out))}, //nolint:gosec // small
			}
			switch i {
			case 4:
				p.Kind, p.Value = schemas.MetricSum, float64(rnd.IntN(1000))
			case 5:
				p.Kind, p.Temporality, p.Value = schemas.MetricGauge, 0, float64(rnd.IntN(1000))
			default:
				counts := make([]uint64, 20)
				for j := range counts {
					counts[j] = uint64(rnd.IntN(50)) //nolint:gosec // not negative
					p.Histogram.Count += counts[j]
				}
				p.Histogram.Scale, p.Histogram.Positive = 5, schemas.Buckets{Offset: int32(-200 + rnd.IntN(10)), Counts: counts} //nolint:gosec // small
				p.Histogram.Sum, p.Histogram.Min, p.Histogram.Max = rnd.Float64(), 0.001, math.Exp(rnd.NormFloat64())
				p.Exemplars = []schemas.Exemplar{{Time: p.Time, Value: p.Histogram.Max, TraceID: schemas.TraceID{byte(g), byte(i)}, SpanID: schemas.SpanID{1}}}
			}
			out = append(out, p)
		}
	}
	return out
}

// BenchmarkMetrics stores an hour of 500 groups, each with six measures each ten
// seconds, and asks for one metric of it by topic.
func BenchmarkMetrics(b *testing.B) {
	p := engine(b)
	s := open(b, testConfig(p))
	rnd := rand.New(rand.NewPCG(1, 2))
	start := time.Now().Add(-2 * time.Hour).Truncate(time.Minute)
	points := 0
	began, before := time.Now(), processCPU(b, p.PID())
	for i := 0; i < 360; i += 6 { // a write a minute, of six intervals
		var batch []schemas.MetricPoint
		for j := range 6 {
			batch = append(batch, clientPoints(rnd, start.Add(time.Duration(i+j)*10*time.Second), 500, uint32(j*10_000))...) //nolint:gosec // small
		}
		if err := s.WriteMetrics(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
		points += len(batch)
	}
	took, engineCPU := time.Since(began), processCPU(b, p.PID())-before
	settle(b, s)
	var size proto.ColUInt64
	bytes := uint64(0)
	err := s.query(b.Context(), "SELECT sum(bytes_on_disk) AS size FROM system.parts WHERE active AND table = 'metric_points' AND database = currentDatabase()", nil,
		proto.Results{{Name: "size", Data: &size}}, func() { bytes = 0 }, func() {
			for _, v := range size {
				bytes += v
			}
		})
	if err != nil {
		b.Fatal(err)
	}
	q := exporters.MetricQuery{
		Project: 1, Name: "hoptrace.hop.ack", Range: exporters.Range{From: start, To: start.Add(time.Hour)}, Step: 30 * time.Second, By: []exporters.MetricLabel{exporters.LabelTopic},
	}
	b.ReportAllocs()
	for b.Loop() {
		series, err := s.MetricSeries(b.Context(), q)
		if err != nil || len(series) == 0 || len(series[0].Steps) != 120 {
			b.Fatalf("%d series, %v", len(series), err)
		}
	}
	b.ReportMetric(float64(bytes)/float64(points), "bytes/point")
	b.ReportMetric(float64(engineCPU.Microseconds())/float64(points), "engine-us/point-stored")
	b.ReportMetric(float64(took.Microseconds())/float64(points), "us/point-stored")
}
