package measure

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
)

// root returns 2^(j/64) with 300 bits: the sixth square root of 2, to the power of j.
func root(j int) *big.Float {
	f := func(v float64) *big.Float { return new(big.Float).SetPrec(300).SetFloat64(v) }
	base := f(2)
	for range startScale {
		base = f(0).Sqrt(base)
	}
	out := f(1)
	for range j {
		out.Mul(out, base)
	}
	return out
}

func TestBoundsAreTheGreatestMantissaNotAboveTheRoot(t *testing.T) {
	for j, got := range bounds {
		want := new(big.Float).Sub(root(j), big.NewFloat(1))
		want.Mul(want, new(big.Float).SetMantExp(big.NewFloat(1), 52))
		if j == 0 {
			want.SetInt64(0) // 2^0 is exact
		}
		if i, _ := want.Uint64(); got != i {
			t.Fatalf("bounds[%d] = %#x; want %#x", j, got, i)
		}
	}
}

// oracle finds the bucket by comparing with every bound, in exact arithmetic.
func oracle(v float64, roots []*big.Float) int32 {
	v = max(v, 0x1p-1022)
	fraction, exponent := math.Frexp(v)
	m := new(big.Float).SetPrec(300).SetFloat64(2 * fraction) // [1, 2)
	j := -1
	for j+1 < len(roots) && m.Cmp(roots[j+1]) > 0 {
		j++
	}
	return int32((exponent-1)<<startScale + j)
}

func TestBucketIsExactAtEveryBound(t *testing.T) {
	var roots []*big.Float
	for j := range 1 << startScale {
		roots = append(roots, root(j))
	}
	roots[0] = big.NewFloat(1)
	f := func(v float64) {
		t.Helper()
		if got, want := bucket(v), oracle(v, roots); got != want {
			t.Fatalf("bucket(%g = %x) = %d; want %d", v, math.Float64bits(v), got, want)
		}
	}
	for _, exponent := range []int{-1022, -100, -20, -1, 0, 1, 11, 100, 1023} {
		for _, b := range bounds {
			v := math.Ldexp(1+float64(b)/(1<<52), exponent)
			f(v)
			if up := math.Nextafter(v, math.Inf(1)); !math.IsInf(up, 0) {
				f(up)
			}
			if down := math.Nextafter(v, 0); down > 0 {
				f(down)
			}
		}
	}
	for _, v := range []float64{math.SmallestNonzeroFloat64, 0x1p-1030, math.MaxFloat64, 1, 2, 4, 1e-9, 0.5} {
		f(v)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		f(math.Exp(rng.NormFloat64() * 20))
	}
}

// TestHistogramKeepsEveryCount compares with a histogram that is a map and is
// downscaled only at the end.
func TestHistogramKeepsEveryCount(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for round := range 400 {
		spread := math.Exp(rng.Float64()*12 - 6)
		var parts [3]histogram
		exact := map[int32]uint64{}
		var count, zero uint64
		for range 1 + rng.IntN(600) {
			v, n := math.Exp(rng.NormFloat64()*spread), 1+rng.Uint64N(5)
			if rng.IntN(20) == 0 {
				v = 0
			}
			if math.IsInf(v, 0) {
				continue
			}
			parts[rng.IntN(3)].observe(v, n, nil)
			count += n
			if v == 0 {
				zero += n
			} else {
				exact[bucket(v)] += n
			}
		}
		var h histogram
		h.counts = make([]uint64, 0, maxBuckets)
		h.counts = h.counts[:rng.IntN(maxBuckets)]
		for i := range h.counts {
			h.counts[i] = 99 // what an earlier interval left
		}
		h.reset()
		for i := range parts {
			h.merge(&parts[i])
		}
		if h.count != count || h.zero != zero {
			t.Fatalf("round %d: count %d, zero %d; want %d, %d", round, h.count, h.zero, count, zero)
		}
		if len(h.counts) > maxBuckets {
			t.Fatalf("round %d: %d buckets", round, len(h.counts))
		}
		want := map[int32]uint64{}
		fineLow, fineHigh := int32(math.MaxInt32), int32(math.MinInt32)
		for i, n := range exact {
			fineLow, fineHigh = min(fineLow, i), max(fineHigh, i)
			i >>= h.shift
			want[i] += n
		}
		for i, n := range h.counts {
			if at := h.offset + int32(i); want[at] != n {
				t.Fatalf("round %d: bucket %d at scale %d holds %d; want %d", round, at, h.scale(), n, want[at])
			}
			delete(want, h.offset+int32(i))
		}
		if len(want) != 0 {
			t.Fatalf("round %d: buckets %v are missing", round, want)
		}
		if s := h.shift; s > 0 && fineHigh>>(s-1)-fineLow>>(s-1) < maxBuckets {
			t.Fatalf("round %d: scale %d, though %d to %d fit into one finer", round, h.scale(), fineLow, fineHigh)
		}
	}
}

func TestHistogramStartsAnewAfterReset(t *testing.T) {
	var h histogram
	h.observe(1e-6, 3, &Exemplar{})
	h.observe(1e6, 3, nil)
	h.reset()
	h.observe(1, 1, nil)
	if h.count != 1 || h.min != 1 || h.max != 1 || h.sum != 1 || h.scale() != startScale || len(h.counts) != 1 || h.counts[0] != 1 || h.worst.at != 0 {
		t.Fatalf("after reset: %+v", h)
	}
}

func TestWorstObservationKeepsItsExemplar(t *testing.T) {
	var h histogram
	h.observe(9, 1, nil) // no span: cannot be named
	h.observe(2, 1, &Exemplar{SpanID: [8]byte{2}})
	h.observe(5, 1, &Exemplar{SpanID: [8]byte{5}})
	h.observe(3, 1, &Exemplar{SpanID: [8]byte{3}})
	if h.worst.value != 5 || h.worst.SpanID != [8]byte{5} {
		t.Fatalf("worst = %+v; want that of 5", h.worst)
	}
}
