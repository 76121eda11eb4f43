package measure

import (
	"math"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// Exemplar names the sampled span that an observation belongs to.
type Exemplar struct {
	TraceID trace.TraceID
	SpanID  trace.SpanID
}

// Group is one set of attributes with all instruments of a [Layout], behind one
// lock. It is made by [Meter.Group]; keep it, since looking it up costs more than
// an observation.
//
// All methods but Lock need the lock to be held. i is an index into the layout;
// a call that does not fit the instrument's [Kind] does nothing.
type Group struct {
	mu     sync.Mutex
	family *family
	set    attribute.Set
	seat   *seat   // guarded by family.mu
	otel   *bound  // the way of somebody else's SDK; nil: the Registry's
	kinds  []Kind  // the layout's
	cells  []cell  // what was observed since the last collection; nil when dirty is false
	start  int64   // since when, Unix ns
	attrs  encoded // the set as OTLP writes it
	dirty  bool    // cells are there, and the family knows it
	spill  bool    // no seat was left: what is observed goes to the overflow group

	// greatest is true of the overflow group: the last of several writers' values
	// would say nothing, the greatest bounds them all.
	greatest bool
}

// cell is what one instrument of one group saw since the last collection.
type cell struct {
	histogram
	negative *histogram // nil until the first negative observation
	value    int64      // of a counter or gauge
	seen     bool       // the value is one
	samples  []sample
}

// sample is one point of a Samples instrument, at in Unix ns.
type sample struct{ value, at int64 }

// Lock guards the calls below and whatever state the group's owner keeps beside
// it. Never call user code while it is held. Two owners share a lock when both
// were turned away to the overflow group.
func (g *Group) Lock() { g.mu.Lock() }

// Unlock ends Lock.
func (g *Group) Unlock() { g.mu.Unlock() }

// Duration observes ns nanoseconds n times; n below 1 is none. A negative ns is
// counted in the twin histogram, see [NegativeSuffix]. ex is nil, or names the
// sampled span that it belongs to: the worst of an interval is kept. ex is not
// retained.
func (g *Group) Duration(i int, ns int64, n int, ex *Exemplar) {
	if !g.dirty && !g.wake() {
		if g.otel != nil {
			g.otel.observe(i, Duration, float64(ns)/1e9, n, ex)
		}
		return
	}
	if uint(i) >= uint(len(g.cells)) || g.kinds[i] != Duration || n < 1 {
		return
	}
	c := &g.cells[i]
	if ns < 0 {
		c.twin().observe(float64(-uint64(ns))/1e9, uint64(n), ex)
		return
	}
	c.observe(float64(ns)/1e9, uint64(n), ex)
}

// Observe observes v n times in a Histogram, as Duration does. What is no number
// or infinite is dropped and counted in [Counts].
func (g *Group) Observe(i int, v float64, n int, ex *Exemplar) {
	if v-v != 0 { // NaN or an infinity
		g.family.meter.invalid.Add(1)
		return
	}
	if !g.dirty && !g.wake() {
		if g.otel != nil {
			g.otel.observe(i, Histogram, v, n, ex)
		}
		return
	}
	if uint(i) >= uint(len(g.cells)) || g.kinds[i] != Histogram || n < 1 {
		return
	}
	c := &g.cells[i]
	if v < 0 {
		c.twin().observe(-v, uint64(n), ex)
		return
	}
	c.observe(v, uint64(n), ex)
}

// Add adds n to a Counter. Counters are monotonic: a negative n is dropped and
// counted in [Counts].
func (g *Group) Add(i int, n int64) {
	if n < 0 {
		g.family.meter.invalid.Add(1)
		return
	}
	if !g.dirty && !g.wake() {
		if g.otel != nil {
			g.otel.add(i, n)
		}
		return
	}
	if uint(i) >= uint(len(g.cells)) || g.kinds[i] != Counter {
		return
	}
	c := &g.cells[i]
	c.value, c.seen = sum(c.value, n), true
}

// Set sets a Gauge. It is sent with the interval in which it was set: the last
// value, of the overflow group the greatest.
func (g *Group) Set(i int, v int64) {
	if !g.dirty && !g.wake() {
		if g.otel != nil && !g.greatest {
			g.otel.set(i, Gauge, v)
		}
		return
	}
	if uint(i) >= uint(len(g.cells)) || g.kinds[i] != Gauge {
		return
	}
	c := &g.cells[i]
	if g.greatest && c.seen {
		v = max(v, c.value)
	}
	c.value, c.seen = v, true
}

// Sample keeps v with its own time, Unix nanoseconds, for a Samples instrument.
// Somebody else's SDK has no such thing: there it is a gauge, and the last one
// counts.
func (g *Group) Sample(i int, v, at int64) {
	if !g.dirty && !g.wake() {
		if g.otel != nil && !g.greatest {
			g.otel.set(i, Samples, v)
		}
		return
	}
	if uint(i) >= uint(len(g.cells)) || g.kinds[i] != Samples {
		return
	}
	c := &g.cells[i]
	if len(c.samples) == MaxSamples {
		copy(c.samples, c.samples[1:])
		c.samples = c.samples[:MaxSamples-1]
		g.family.meter.dropped.Add(1)
	}
	c.samples = append(c.samples, sample{v, at})
}

// wake makes the group ready for the first observation of an interval. False
// means that there is nothing to observe into: the way of somebody else's SDK,
// or a Registry that was shut down.
func (g *Group) wake() bool { return g.otel == nil && g.family.wake(g) }

func (c *cell) twin() *histogram {
	if c.negative == nil {
		c.negative = new(histogram)
	}
	return c.negative
}

// merge adds what o saw, which was before what c saw; o is used up. It returns
// how many samples found no room. Of two gauges the later counts, or the greatest.
func (c *cell) merge(o *cell, kind Kind, greatest bool) (dropped int) {
	c.histogram.merge(&o.histogram)
	if o.negative != nil && o.negative.count > 0 {
		c.twin().merge(o.negative)
	}
	if o.seen {
		switch {
		case kind == Counter:
			c.value = sum(c.value, o.value)
		case !c.seen:
			c.value = o.value
		case greatest:
			c.value = max(c.value, o.value)
		}
		c.seen = true
	}
	if len(o.samples) > 0 {
		o.samples = append(o.samples, c.samples...)
		if dropped = len(o.samples) - MaxSamples; dropped > 0 {
			o.samples = o.samples[:copy(o.samples, o.samples[dropped:])]
		}
		c.samples, o.samples = o.samples, c.samples
	}
	return max(dropped, 0)
}

// reset empties the cell and keeps its memory.
func (c *cell) reset() {
	c.histogram.reset()
	if c.negative != nil {
		c.negative.reset()
	}
	c.value, c.seen, c.samples = 0, false, c.samples[:0]
}

// sum adds two numbers that are not negative and stays at the greatest int64.
func sum(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}
