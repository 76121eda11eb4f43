package schemas

import (
	"cmp"
	"math"
	"slices"
)

// Distribution is a histogram. Explicit has counts between Bounds, one more than
// there are bounds; otherwise the buckets are exponential: bucket i of Positive
// holds values in (base^(Offset+i), base^(Offset+i+1)], base = 2^(2^-Scale), and
// Negative the same of negative values. The zero value is empty.
type Distribution struct {
	Count    uint64
	Sum      float64 // NaN when not told
	Min, Max float64 // NaN when not told

	Scale              int32
	ZeroCount          uint64
	Positive, Negative Buckets

	Bounds   []float64
	Explicit []uint64
}

// Buckets are consecutive exponential buckets.
type Buckets struct {
	Offset int32
	Counts []uint64
}

// maxMerged bounds the exponential buckets of a merged distribution; beyond it
// the scale goes down. 320 are two SDKs' worth and cost 2.5 KiB.
const maxMerged = 320

// minScale is where one bucket holds all doubles.
const minScale = -11

// Merge adds the observations of o. Exponential histograms meet at the smaller
// scale. Of explicit ones only those with the same bounds are added: the result
// tells false, and d is unchanged, when the bounds differ or one is exponential
// and the other is not. d owns its memory afterwards and shares none with o.
func (d *Distribution) Merge(o *Distribution) bool {
	if d.Count == 0 && len(d.Explicit) == 0 {
		*d = o.clone()
		return true
	}
	if o.Count == 0 && len(o.Explicit) == 0 {
		return true
	}
	if !slices.Equal(d.Bounds, o.Bounds) || len(d.Explicit) != len(o.Explicit) {
		return false
	}
	d.Count += o.Count
	d.Sum += o.Sum
	d.Min, d.Max = math.Min(d.Min, o.Min), math.Max(d.Max, o.Max) // NaN where one was not told
	for i, n := range o.Explicit {
		d.Explicit[i] += n
	}
	if len(d.Explicit) > 0 {
		return true
	}
	d.ZeroCount += o.ZeroCount
	scale := min(d.Scale, o.Scale)
	for scale > minScale && (width(d.Positive, d.Scale-scale, o.Positive, o.Scale-scale) > maxMerged ||
		width(d.Negative, d.Scale-scale, o.Negative, o.Scale-scale) > maxMerged) {
		scale--
	}
	d.Positive = add(d.Positive, d.Scale-scale, o.Positive, o.Scale-scale)
	d.Negative = add(d.Negative, d.Scale-scale, o.Negative, o.Scale-scale)
	d.Scale = scale
	return true
}

// Since gives what was observed after an earlier state of the same cumulative
// stream. Ok is false when the stream began anew in between.
func (d *Distribution) Since(earlier *Distribution) (out Distribution, ok bool) {
	if earlier.Count > d.Count || !slices.Equal(d.Bounds, earlier.Bounds) || len(d.Explicit) != len(earlier.Explicit) {
		return out, false
	}
	out = d.clone()
	out.Count -= earlier.Count
	out.Sum -= earlier.Sum
	out.Min, out.Max = math.NaN(), math.NaN() // of all time, not of this stretch
	for i, n := range earlier.Explicit {
		if n > out.Explicit[i] {
			return out, false
		}
		out.Explicit[i] -= n
	}
	if len(out.Explicit) > 0 {
		return out, true
	}
	if earlier.ZeroCount > out.ZeroCount {
		return out, false
	}
	out.ZeroCount -= earlier.ZeroCount
	scale := min(d.Scale, earlier.Scale)
	out.Scale = scale
	var okNegative bool
	out.Positive, ok = subtract(d.Positive, d.Scale-scale, earlier.Positive, earlier.Scale-scale)
	out.Negative, okNegative = subtract(d.Negative, d.Scale-scale, earlier.Negative, earlier.Scale-scale)
	return out, ok && okNegative
}

// Quantile gives the value below which a share q of the observations lies,
// within the bucket by its width; NaN when there are none.
func (d *Distribution) Quantile(q float64) float64 { return Quantile(q, d) }

// Quantile is that of several distributions together, which may differ in
// scale and bounds.
func Quantile(q float64, of ...*Distribution) float64 {
	var all []stretch
	var total uint64
	low, high := math.Inf(1), math.Inf(-1)
	for _, d := range of {
		from := len(all)
		all = d.appendStretches(all)
		for _, s := range all[from:] {
			total += s.n
		}
		if d.Count > 0 {
			low, high = math.Min(low, d.Min), math.Max(high, d.Max) // NaN where one was not told
		}
	}
	if total == 0 {
		return math.NaN()
	}
	slices.SortFunc(all, func(a, b stretch) int {
		return cmp.Or(cmp.Compare(a.from+a.to, b.from+b.to), cmp.Compare(a.from, b.from))
	})
	rank := q * float64(total)
	seen := 0.0
	for i, s := range all {
		if n := float64(s.n); seen+n < rank && i < len(all)-1 {
			seen += n
			continue
		}
		v := s.at(min(1, max(0, rank-seen)/float64(s.n)))
		// What is known of the extremes is truer than a bucket's border.
		if v < low {
			v = low
		}
		if v > high {
			v = high
		}
		return v
	}
	return math.NaN()
}

// stretch is a bucket: n values from from to to.
type stretch struct {
	from, to    float64
	n           uint64
	exponential bool
}

// at is the value a share of the way through, on the bucket's own scale.
func (s stretch) at(share float64) float64 {
	switch {
	case math.IsInf(s.from, -1):
		return s.to
	case math.IsInf(s.to, 1):
		return s.from
	case s.exponential && s.from > 0:
		return s.from * math.Pow(s.to/s.from, share)
	case s.exponential && s.to < 0:
		return s.from * math.Pow(s.to/s.from, share)
	}
	return s.from + (s.to-s.from)*share
}

func (d *Distribution) appendStretches(out []stretch) []stretch {
	if len(d.Explicit) > 0 && len(d.Explicit) == len(d.Bounds)+1 {
		for i, n := range d.Explicit {
			if n == 0 {
				continue
			}
			s := stretch{from: math.Inf(-1), to: math.Inf(1), n: n}
			switch {
			case i > 0:
				s.from = d.Bounds[i-1]
			case !math.IsNaN(d.Min):
				s.from = d.Min
			case len(d.Bounds) > 0 && d.Bounds[0] > 0: // latencies, sizes: nothing lies below zero
				s.from = 0
			}
			if i < len(d.Bounds) {
				s.to = d.Bounds[i]
			} else if !math.IsNaN(d.Max) {
				s.to = d.Max
			}
			out = append(out, s)
		}
		return out
	}
	for i, n := range d.Negative.Counts {
		if n > 0 {
			at := int64(d.Negative.Offset) + int64(i)
			out = append(out, stretch{-border(d.Scale, at+1), -border(d.Scale, at), n, true})
		}
	}
	if d.ZeroCount > 0 {
		out = append(out, stretch{0, 0, d.ZeroCount, false})
	}
	for i, n := range d.Positive.Counts {
		if n > 0 {
			at := int64(d.Positive.Offset) + int64(i)
			out = append(out, stretch{border(d.Scale, at), border(d.Scale, at+1), n, true})
		}
	}
	return out
}

// border is base^index.
func border(scale int32, index int64) float64 {
	return math.Exp2(math.Ldexp(float64(index), -int(scale)))
}

func (d *Distribution) clone() Distribution {
	out := *d
	out.Positive.Counts = slices.Clone(d.Positive.Counts)
	out.Negative.Counts = slices.Clone(d.Negative.Counts)
	out.Bounds = slices.Clone(d.Bounds)
	out.Explicit = slices.Clone(d.Explicit)
	return out
}

// span is where buckets lie after by halvings of the scale: [from, to).
func (b Buckets) span(by int32) (from, to int64) {
	if len(b.Counts) == 0 {
		return 0, 0
	}
	shift := uint(max(by, 0)) //nolint:gosec // not negative
	from = int64(b.Offset) >> shift
	to = (int64(b.Offset)+int64(len(b.Counts))-1)>>shift + 1
	return from, to
}

func width(a Buckets, aBy int32, b Buckets, bBy int32) int64 {
	from, to := union(a, aBy, b, bBy)
	return to - from
}

func union(a Buckets, aBy int32, b Buckets, bBy int32) (from, to int64) {
	from, to = a.span(aBy)
	bFrom, bTo := b.span(bBy)
	switch {
	case from == to:
		return bFrom, bTo
	case bFrom == bTo:
		return from, to
	}
	return min(from, bFrom), max(to, bTo)
}

func add(a Buckets, aBy int32, b Buckets, bBy int32) Buckets {
	from, to := union(a, aBy, b, bBy)
	if from == to {
		return Buckets{}
	}
	out := Buckets{Offset: int32(from), Counts: make([]uint64, to-from)} //nolint:gosec // of an int32, shifted
	for _, x := range [...]struct {
		Buckets
		by int32
	}{{a, aBy}, {b, bBy}} {
		for i, n := range x.Counts {
			out.Counts[(int64(x.Offset)+int64(i))>>uint(max(x.by, 0))-from] += n //nolint:gosec // not negative
		}
	}
	return out
}

func subtract(a Buckets, aBy int32, b Buckets, bBy int32) (Buckets, bool) {
	out := add(a, aBy, Buckets{}, 0)
	for i, n := range b.Counts {
		if n == 0 {
			continue
		}
		at := (int64(b.Offset)+int64(i))>>uint(max(bBy, 0)) - int64(out.Offset) //nolint:gosec // not negative
		if at < 0 || at >= int64(len(out.Counts)) || out.Counts[at] < n {
			return out, false
		}
		out.Counts[at] -= n
	}
	return out, true
}
