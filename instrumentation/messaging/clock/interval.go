package clock

import "math"

// Interval bounds an offset or a duration in nanoseconds, both ends included. A
// side that is not known is [Below] or [Above]; the zero value is exactly zero.
type Interval struct {
	Lo, Hi int64
}

// Below and Above are the ends of an interval of which nothing is known on that
// side.
const (
	Below = math.MinInt64
	Above = math.MaxInt64
)

// Unknown returns the interval that bounds nothing.
func Unknown() Interval { return Interval{Below, Above} }

// Known is true when both sides are.
func (i Interval) Known() bool { return i.Lo != Below && i.Hi != Above }

// Contains is true when v lies inside.
func (i Interval) Contains(v int64) bool { return i.Lo <= v && v <= i.Hi }

// Middle returns the number half-way, rounded down; it means nothing unless the
// interval is known.
func (i Interval) Middle() int64 {
	return i.Lo>>1 + i.Hi>>1 + i.Lo&i.Hi&1
}

// Width returns Hi − Lo, Above if a side is not known.
func (i Interval) Width() int64 {
	if !i.Known() {
		return Above
	}
	return plus(i.Hi, -i.Lo)
}

// Between returns what is known of one host's clock minus another's, from their
// offsets to the same broker: the consumer's minus the producer's, if producer
// and consumer are theirs.
func Between(producer, consumer Interval) Interval {
	return Interval{minus(producer.Lo, consumer.Hi, Below), minus(producer.Hi, consumer.Lo, Above)}
}

// Widened returns i as it is d nanoseconds earlier or later.
func (i Interval) Widened(d int64) Interval {
	by := drift(d)
	if i.Lo != Below {
		i.Lo = plus(i.Lo, -by)
	}
	if i.Hi != Above {
		i.Hi = plus(i.Hi, by)
	}
	return i
}

// intersect returns what lies in both; Lo is above Hi if nothing does.
func (i Interval) intersect(o Interval) Interval {
	return Interval{max(i.Lo, o.Lo), min(i.Hi, o.Hi)}
}

// driftParts is one over the drift that is allowed for between two clocks: 200
// parts in a million. Quartz is within 100 each, and time servers slew by less.
const driftParts = 5000

// drift returns how far two clocks may have come apart in d nanoseconds.
func drift(d int64) int64 {
	if d == math.MinInt64 {
		d++
	}
	if d < 0 {
		d = -d
	}
	by := d / driftParts
	if by*driftParts != d {
		by++
	}
	return by
}

// plus adds and stays just inside Below and Above.
func plus(a, b int64) int64 {
	c := a + b
	switch {
	case b > 0 && (c < a || c == Above):
		return Above - 1
	case b < 0 && (c > a || c == Below):
		return Below + 1
	}
	return c
}

// minus returns a − b, or unknown when a side of either is not known.
func minus(a, b, unknown int64) int64 {
	if a == Below || a == Above || b == Below || b == Above {
		return unknown
	}
	return plus(a, -b)
}
