package hops

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/instrumentation/messaging/clock"
	"github.com/hoptrace/hoptrace/internal/clocktrack"
	"github.com/hoptrace/hoptrace/pipeline/consume"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/schemas/topics"
	"github.com/hoptrace/hoptrace/schemas/wire"
)

// clockTable merges cells as a store does.
type clockTable struct {
	cells map[cellKey]schemas.ClockCell
	fail  error
	most  int // rows of one write; zero: any number
}

func (s *clockTable) WriteClocks(_ context.Context, cells []schemas.ClockCell) error {
	if s.fail != nil {
		return s.fail
	}
	if s.most != 0 && len(cells) > s.most {
		return exporters.ErrTooLarge
	}
	for _, c := range cells {
		k := cellKey{pairKey{c.Project, c.Host, c.Broker}, c.Origin, c.Time}
		if have, ok := s.cells[k]; ok {
			clocktrack.Merge(&c, &have)
		}
		s.cells[k] = c
	}
	return nil
}

func newClockTest(t *testing.T) (*clockTable, *Clocks, *ClockMetrics) {
	t.Helper()
	m, err := NewClockMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	s := &clockTable{cells: map[cellKey]schemas.ClockCell{}}
	return s, NewClocks(s, m, slog.New(slog.DiscardHandler)), m
}

const clockStart = int64(1_790_000_000_000_000_000)

func clockPoints(second int64, low, high float64, sides string) []schemas.MetricPoint {
	p := schemas.MetricPoint{
		Project: 7, Kind: schemas.MetricGauge, BootID: "host", Broker: "b:9092", Service: "payments", Series: 1, Time: clockStart + second*1e9,
		Resource: []schemas.Attribute{{Key: "host.name", Value: "payments-2"}},
	}
	l, h := p, p
	l.Name, l.Value = clock.MetricOffsetLow, low
	h.Name, h.Value = clock.MetricOffsetHigh, high
	switch sides {
	case "low":
		return []schemas.MetricPoint{l}
	case "high":
		return []schemas.MetricPoint{h}
	}
	return []schemas.MetricPoint{l, h}
}

func beaconRecord(offset int64, s wire.ClockSample) consume.Record {
	return consume.Record{
		Topic: topics.ClockSamples, Offset: offset, Value: s.AppendJSON(nil),
		Headers: []consume.Header{{Key: schemas.HeaderSchema, Value: []byte(schemas.SchemaClockSamples)}},
	}
}

func TestSamplesOfClientsBecomeCells(t *testing.T) {
	s, c, _ := newClockTest(t)
	points := clockPoints(1, -1000, 2000, "both")
	points = append(points, clockPoints(3, -500, 0, "low")...)
	other := clockPoints(2, 0, 0, "low")[0]
	other.Name = "hoptrace.lag"
	points = append(points, other)
	if err := c.StorePoints(t.Context(), points); err != nil {
		t.Fatal(err)
	}
	about := schemas.ClockCell{Project: 7, Host: "host", Broker: "b:9092", Time: clockStart, Name: "payments-2", Service: "payments", Node: schemas.Unknown}
	trip, fetch := about, about
	trip.Origin, fetch.Origin = schemas.ClockRoundTrip, schemas.ClockFetch
	clocktrack.Fold(&trip, clockStart+1e9, -1000, 2000)
	clocktrack.Fold(&fetch, clockStart+3e9, -500, clock.Above)
	pair := pairKey{7, "host", "b:9092"}
	want := map[cellKey]schemas.ClockCell{{pair, schemas.ClockRoundTrip, clockStart}: trip, {pair, schemas.ClockFetch, clockStart}: fetch}
	if diff := cmp.Diff(want, s.cells, cmp.AllowUnexported(cellKey{}, pairKey{})); diff != "" {
		t.Errorf("cells (-want +got):\n%s", diff)
	}
}

func TestReplaysAndOtherOrdersGiveTheSameCells(t *testing.T) {
	var points []schemas.MetricPoint
	for i := range int64(40) {
		points = append(points, clockPoints(i, float64(-1000-i*37%500), float64(1000+i*53%700), "both")...)
	}
	s, c, _ := newClockTest(t)
	if err := c.StorePoints(t.Context(), points); err != nil {
		t.Fatal(err)
	}
	again, first, _ := newClockTest(t)
	m, err := NewClockMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	second := NewClocks(again, m, slog.New(slog.DiscardHandler)) // another process with the same table
	for _, part := range []struct {
		by       *Clocks
		from, to int
	}{{second, 40, 80}, {first, 20, 60}, {second, 0, 30}, {first, 0, 50}, {second, 0, 30}} {
		if err := part.by.StorePoints(t.Context(), points[part.from:part.to]); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(s.cells, again.cells, cmp.AllowUnexported(cellKey{}, pairKey{})); diff != "" {
		t.Errorf("cells (-once +in parts):\n%s", diff)
	}
}

func TestSamplesOfABeaconBecomeCellsAndOthersDeadLetters(t *testing.T) {
	s, c, m := newClockTest(t)
	good := wire.ClockSample{Host: "host", Name: "payments-2", Cluster: "c", Node: 3, Broker: "b:9092", Time: clockStart + 1, Low: -5, High: 9}
	crossed, nameless := good, good
	crossed.Low = 10
	nameless.Cluster = ""
	other := beaconRecord(4, good)
	other.Headers[0].Value = []byte("clock-samples/2")
	dead, err := c.Handle(t.Context(), []consume.Record{
		beaconRecord(0, good), beaconRecord(1, crossed), {Topic: topics.ClockSamples, Offset: 2, Value: []byte("{")}, beaconRecord(3, nameless), other,
	})
	if err != nil || len(dead) != 4 {
		t.Fatalf("Handle = %v, %v; want four dead letters", dead, err)
	}
	want := schemas.ClockCell{Host: "host", Broker: "b:9092", Origin: schemas.ClockBeacon, Time: clockStart, Name: "payments-2", Cluster: "c", Node: 3}
	clocktrack.Fold(&want, clockStart+1, -5, 9)
	if diff := cmp.Diff(want, s.cells[cellKey{pairKey{0, "host", "b:9092"}, schemas.ClockBeacon, clockStart}]); diff != "" {
		t.Errorf("cell (-want +got):\n%s", diff)
	}
	if n := testutil.ToFloat64(m.refused.WithLabelValues("undecodable")); n != 4 {
		t.Errorf("%v refused; want 4", n)
	}
}

func TestAFailedWriteLeavesNothingBehind(t *testing.T) {
	s, c, _ := newClockTest(t)
	s.fail = errors.New("no disk")
	if err := c.StorePoints(t.Context(), clockPoints(1, -1, 1, "both")); !errors.Is(err, s.fail) {
		t.Fatalf("StorePoints = %v; want %v", err, s.fail)
	}
	s.fail = nil
	if err := c.StorePoints(t.Context(), clockPoints(100, -1, 1, "both")); err != nil || len(s.cells) != 1 {
		t.Errorf("afterwards %d cells, %v; want 1", len(s.cells), err)
	}
}

func TestBatchesThatTheStoreFindsTooLargeAreHalved(t *testing.T) {
	s, c, _ := newClockTest(t)
	s.most = 3
	var points []schemas.MetricPoint
	for i := range int64(20) {
		points = append(points, clockPoints(i*86400, -1, 1, "both")...)
	}
	if err := c.StorePoints(t.Context(), points); err != nil || len(s.cells) != 20 {
		t.Errorf("%d cells, %v; want 20", len(s.cells), err)
	}
}

func TestPairsAreBounded(t *testing.T) {
	s, c, m := newClockTest(t)
	var points []schemas.MetricPoint
	for i := range maxPairs + 50 {
		p := clockPoints(1, -1, 1, "both")
		p[0].Broker = string(rune('a'+i%26)) + string(rune('0'+i/26%64)) + string(rune('0'+i/26/64))
		p[1].Broker = p[0].Broker
		points = append(points, p...)
	}
	malformed := clockPoints(1, 1, -1, "both") // low above high
	malformed[0].BootID, malformed[1].BootID = "first", "first"
	points = append(malformed, points...)
	if err := c.StorePoints(t.Context(), points); err != nil || len(s.cells) != maxPairs {
		t.Errorf("%d cells, %v; want %d", len(s.cells), err, maxPairs)
	}
	if many, bad := testutil.ToFloat64(m.refused.WithLabelValues("too_many")), testutil.ToFloat64(m.refused.WithLabelValues("malformed")); many != 50 || bad != 1 {
		t.Errorf("%v too many and %v malformed; want 50 and 1", many, bad)
	}
}
