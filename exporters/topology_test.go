package exporters

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestLatencyClassesHoldTheirDurations(t *testing.T) {
	f := func(d time.Duration) {
		t.Helper()
		class := LatencyClassOf(d)
		from, to := LatencyBounds(class)
		if class == maxLatencyClass || class == -maxLatencyClass {
			return // all that is longer
		}
		if d < from-1 || d > to+1 {
			t.Errorf("%v is in class %d, %v to %v", d, class, from, to)
		}
		if class != 0 && float64(to-from) > 0.0906*math.Max(math.Abs(float64(from)), math.Abs(float64(to)))+2 {
			t.Errorf("class %d is %v wide: %v to %v", class, to-from, from, to)
		}
	}
	for _, d := range []time.Duration{0, 1, -1, 999, 1000, -1000, 2000, time.Millisecond, time.Second, -time.Second, 3 * time.Hour, 300 * 24 * time.Hour, math.MaxInt64, math.MinInt64} {
		f(d)
	}
	r := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // test data
	for range 10_000 {
		f(time.Duration(r.Int64N(1 << (1 + r.IntN(50)))))
	}
}

func TestQuantilesOfSumsAreThoseOfAll(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4)) //nolint:gosec // test data
	var all []time.Duration
	var sum Latencies
	for range 20 {
		var part Latencies
		for range r.IntN(500) {
			d := time.Duration(math.Exp(10+8*r.Float64())) - time.Duration(30_000)
			all = append(all, d)
			part = part.Add(Latencies{{LatencyClassOf(d), 1}})
		}
		before := slices.Clone(sum)
		next := sum.Add(part)
		if !slices.Equal(before, sum) {
			t.Fatal("Add changed what it adds to")
		}
		sum = next
	}
	slices.Sort(all)
	q := sum.Quantiles()
	negative := uint64(0)
	for _, d := range all {
		if d <= -time.Microsecond {
			negative++
		}
	}
	if q.Count != uint64(len(all)) || q.Negative != negative {
		t.Errorf("%d, %d negative; want %d, %d", q.Count, q.Negative, len(all), negative)
	}
	for share, got := range map[float64]time.Duration{0.50: q.P50, 0.95: q.P95, 0.99: q.P99} {
		want := all[int(share*float64(len(all)-1))]
		if math.Abs(float64(got-want)) > 0.1*math.Abs(float64(want)) {
			t.Errorf("p%g is %v, want %v within 10 %%", share*100, got, want)
		}
	}
	if q := (Latencies{}).Quantiles(); q != (Quantiles{}) {
		t.Errorf("quantiles of nothing: %+v", q)
	}
}

func TestBarsHoldEachDurationOnce(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6)) //nolint:gosec // test data
	var all Latencies
	durations := []time.Duration{0, time.Microsecond, -time.Microsecond, 2 * time.Microsecond, 1999}
	for range 500 {
		durations = append(durations, time.Duration(r.Int64N(1<<(1+r.IntN(45))))-time.Duration(1<<20))
	}
	for _, d := range durations {
		all = all.Add(Latencies{{LatencyClassOf(d), 1}})
	}
	bars := all.Doublings()
	total := uint64(0)
	for i, b := range bars {
		want := uint64(0)
		for _, d := range durations {
			if from, to := LatencyBounds(LatencyClassOf(d)); from >= b.From && to <= b.To {
				want++
			}
		}
		if b.Count != want {
			t.Errorf("%v to %v: %d, want %d", b.From, b.To, b.Count, want)
		}
		if i > 0 && b.From < bars[i-1].To {
			t.Errorf("%v to %v begins within the bar before", b.From, b.To)
		}
		total += b.Count
	}
	if total != uint64(len(durations)) || len(bars) > 80 {
		t.Errorf("%d durations in %d bars, want %d", total, len(bars), len(durations))
	}
}
