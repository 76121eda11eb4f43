package clickhouse

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// day is a store with message rows over 24 hours, two a record, in 40 services,
// 30 topics and 45 groups. Rows carry no spans: a topology reads none.
var day struct {
	once  sync.Once
	store *Store
	start time.Time
}

// dayRows is how many; HOPTRACE_DAY_ROWS says another number.
func dayRows() int {
	if n, err := strconv.Atoi(os.Getenv("HOPTRACE_DAY_ROWS")); err == nil {
		return n
	}
	return 2_000_000
}

func loadDay(b *testing.B) (*Store, time.Time) {
	b.Helper()
	day.once.Do(func() {
		s, err := New(testConfig(engine(b)), discard())
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Migrate(context.Background()); err != nil {
			b.Fatal(err)
		}
		// Whole slots: the range of 24 h is then all of it.
		day.start = time.Now().Add(-25 * time.Hour).Truncate(exporters.TopologySlot)
		total := dayRows()
		w := newWorkload(5, day.start, 24*time.Hour/time.Duration(total/2))
		var rows []schemas.Message
		for written := 0; written < total; written += len(rows) {
			rows = rows[:0]
			for len(rows) < min(50_000, total-written) {
				_, rows = w.next(nil, rows)
				p, c := &rows[len(rows)-2], &rows[len(rows)-1]
				n := w.rnd.IntN(30) * w.rnd.IntN(30) / 30 // some topics carry much
				p.Topic, c.Topic = fmt.Sprintf("topic-%02d", n), fmt.Sprintf("topic-%02d", n)
				p.Service = fmt.Sprintf("service-%02d", n*4/3)
				g := n + (w.rnd.IntN(2)*15)%45
				c.Group, c.Service = fmt.Sprintf("group-%02d", g), fmt.Sprintf("service-%02d", g%40)
				c.Instance = fmt.Sprintf("%s-%d", c.Group, c.Partition%3)
				if w.rnd.IntN(200) == 0 {
					c.RecordTime -= w.rnd.Int64N(int64(3*time.Hour)) / 1e6 * 1e6
				}
			}
			if err := s.WriteSpans(context.Background(), nil, rows); err != nil {
				b.Fatal(err)
			}
		}
		settle(b, s)
		day.store = s
	})
	if day.store == nil {
		b.Fatal("the store could not be loaded")
	}
	return day.store, day.start
}

// percentiles runs f and reports how long it took.
func percentiles(b *testing.B, f func()) {
	b.Helper()
	var took []time.Duration
	defer engineTime(b)()
	for b.Loop() {
		began := time.Now()
		f()
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	at := func(share float64) float64 {
		return float64(took[int(share*float64(len(took)-1))].Microseconds()) / 1000
	}
	b.ReportMetric(at(0.50), "p50-ms")
	b.ReportMetric(at(0.95), "p95-ms")
}

// sumBytes is what the sums take of a message row, when merged.
func sumBytes(b *testing.B, s *Store) float64 {
	b.Helper()
	var size, rows proto.ColFloat64
	perRow := 0.0
	err := s.query(b.Context(), `
SELECT toFloat64(sum(bytes_on_disk)) AS size, assumeNotNull((SELECT toFloat64(sum(rows)) FROM system.parts WHERE active AND database = currentDatabase() AND table = 'messages')) AS n
FROM system.projection_parts WHERE active AND database = currentDatabase() AND table = 'messages'`, nil,
		proto.Results{{Name: "size", Data: &size}, {Name: "n", Data: &rows}}, func() {}, func() {
			for i := range size {
				perRow = size[i] / rows[i]
			}
		})
	if err != nil {
		b.Fatal(err)
	}
	return perRow
}

// BenchmarkTopology asks for the graph of a day and of an hour, and for a day in steps.
func BenchmarkTopology(b *testing.B) {
	s, start := loadDay(b)
	end := start.Add(24 * time.Hour)
	for _, c := range []struct {
		name     string
		from     time.Time
		lookBack time.Duration
	}{{"24h", start, 0}, {"24h,lookback=24h", start, 24 * time.Hour}, {"1h,lookback=24h", end.Add(-time.Hour), 24 * time.Hour}} {
		b.Run("range="+c.name, func(b *testing.B) {
			q := exporters.TopologyQuery{Project: 1, Range: exporters.Range{From: c.from, To: end}, LookBack: c.lookBack}
			defer func() { b.ReportMetric(sumBytes(b, s), "sum-bytes/row") }()
			percentiles(b, func() {
				if flows, err := s.Topology(b.Context(), q); err != nil || len(flows) < 70 {
					b.Fatalf("%d flows, %v; want some 75", len(flows), err)
				}
			})
		})
	}
	b.Run("steps=30m", func(b *testing.B) {
		q := exporters.TopologyQuery{Project: 1, Range: exporters.Range{From: start, To: end}, Step: 30 * time.Minute}
		percentiles(b, func() {
			if steps, err := s.TopologySteps(b.Context(), q); err != nil || len(steps) != 48 {
				b.Fatalf("%d steps, %v; want 48", len(steps), err)
			}
		})
	})
}
