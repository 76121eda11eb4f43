package schemas

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// exponential makes a distribution of values at a scale, as an SDK does.
func exponential(scale int32, values ...float64) *Distribution {
	d := &Distribution{Scale: scale, Min: math.Inf(1), Max: math.Inf(-1)}
	put := func(b *Buckets, v float64) {
		at := int32(math.Ceil(math.Ldexp(math.Log2(v), int(scale)))) - 1
		if len(b.Counts) == 0 {
			b.Offset = at
		}
		for at < b.Offset {
			b.Counts = slices.Insert(b.Counts, 0, 0)
			b.Offset--
		}
		for int(at-b.Offset) >= len(b.Counts) {
			b.Counts = append(b.Counts, 0)
		}
		b.Counts[at-b.Offset]++
	}
	for _, v := range values {
		d.Count++
		d.Sum += v
		d.Min, d.Max = math.Min(d.Min, v), math.Max(d.Max, v)
		switch {
		case v > 0:
			put(&d.Positive, v)
		case v < 0:
			put(&d.Negative, -v)
		default:
			d.ZeroCount++
		}
	}
	return d
}

func TestMergedQuantilesAreWithinABucketOfTheTruth(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		var all []float64
		merged := &Distribution{}
		least := int32(20)
		for range 1 + rnd.IntN(6) {
			scale := int32(rnd.IntN(6))
			least = min(least, scale)
			values := make([]float64, 1+rnd.IntN(400))
			for i := range values {
				values[i] = math.Exp(rnd.NormFloat64()*2 - 6)
				if rnd.IntN(20) == 0 {
					values[i] = 0
				}
				if rnd.IntN(20) == 0 {
					values[i] = -values[i]
				}
			}
			all = append(all, values...)
			if !merged.Merge(exponential(scale, values...)) {
				t.Fatal("exponential histograms do not merge")
			}
		}
		slices.Sort(all)
		if merged.Count != uint64(len(all)) || merged.Min != all[0] || merged.Max != all[len(all)-1] {
			t.Errorf("%d values from %v to %v; want %d from %v to %v", merged.Count, merged.Min, merged.Max, len(all), all[0], all[len(all)-1])
		}
		if merged.Scale > least || len(merged.Positive.Counts) > maxMerged {
			t.Errorf("scale %d with %d buckets; want at most %d and %d", merged.Scale, len(merged.Positive.Counts), least, maxMerged)
		}
		base := border(merged.Scale, 1)
		for _, q := range []float64{0.01, 0.5, 0.95, 0.99} {
			rank := q * float64(len(all))
			// The quantile lies between two neighbours of the rank; a bucket's
			// width is allowed on either side.
			low, high := all[max(0, int(math.Floor(rank))-1)], all[min(len(all)-1, int(math.Ceil(rank)))]
			if low > 0 {
				low /= base
			} else {
				low *= base
			}
			if high > 0 {
				high *= base
			} else {
				high /= base
			}
			if got := merged.Quantile(q); got < low-1e-12 || got > high+1e-12 {
				t.Errorf("p%v is %v; want %v to %v (scale %d, %d values)", q*100, got, low, high, merged.Scale, len(all))
			}
		}
	}
}

func TestExplicitBucketsAreInterpolated(t *testing.T) {
	d := &Distribution{Count: 10, Sum: 20, Min: math.NaN(), Max: math.NaN(), Bounds: []float64{1, 2, 4}, Explicit: []uint64{5, 0, 4, 1}}
	f := func(q, want float64) {
		t.Helper()
		if got := d.Quantile(q); math.Abs(got-want) > 1e-9 {
			t.Errorf("quantile %v = %v; want %v", q, got, want)
		}
	}
	f(0.25, 0.5)
	f(0.5, 1)
	f(0.7, 3)
	f(1, 4) // beyond the last bound nothing is known
	other := &Distribution{Count: 1, Min: math.NaN(), Max: math.NaN(), Bounds: []float64{1}, Explicit: []uint64{0, 1}}
	if d.Merge(other) || d.Count != 10 {
		t.Error("histograms of different bounds were added")
	}
	if got := Quantile(1, d, other); got != 4 {
		t.Errorf("together the largest is %v; want 4", got)
	}
	if !d.Merge(&Distribution{Count: 10, Bounds: []float64{1, 2, 4}, Explicit: []uint64{5, 0, 4, 1}}) || d.Explicit[0] != 10 || d.Count != 20 {
		t.Errorf("histograms of the same bounds add to %+v", d)
	}
	if v := (&Distribution{}).Quantile(0.5); !math.IsNaN(v) {
		t.Errorf("the median of nothing is %v", v)
	}
}

func TestWhatACumulativeHistogramSawSinceIsTheDifference(t *testing.T) {
	before := exponential(3, 1, 2, 3)
	after := exponential(2, 1, 2, 3, 5, 8)
	got, ok := after.Since(before)
	if !ok || got.Count != 2 || got.Sum != 13 || got.Scale != 2 {
		t.Fatalf("difference %+v, %v; want 2 values of sum 13 at scale 2", got, ok)
	}
	if v := got.Quantile(0.01); v < 4 || v > 6 {
		t.Errorf("the smaller of 5 and 8 is %v", v)
	}
	if _, ok := before.Since(after); ok {
		t.Error("a stream that began anew was subtracted")
	}
}

func TestWideDistributionsLoseScaleInsteadOfGrowing(t *testing.T) {
	d := exponential(5, 1e-300)
	if !d.Merge(exponential(5, 1e300)) || len(d.Positive.Counts) > maxMerged || d.Count != 2 {
		t.Fatalf("%d buckets, %d values", len(d.Positive.Counts), d.Count)
	}
}
