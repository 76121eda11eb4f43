// Package clocktrack keeps the interval of one broker's clock from one host's
// over time, in cells of ten seconds that merge in any order and however often:
// [Fold] puts a sample into its cell, [Track] reads cells back at any time. The
// interval of a single moment is package clock's business; where cells are kept
// and who asks for them is others'.
//
// A cell holds the interval as of its begin, middle and end. What one sample
// tells of a time outside the cell is then exactly what it would tell by itself,
// and within the cell at most 1 ms is lost.
package clocktrack

import (
	"cmp"
	"math/bits"
	"slices"
	"time"

	"github.com/hoptrace/hoptrace/instrumentation/messaging/clock"
	"github.com/hoptrace/hoptrace/schemas"
)

// Cell is how long one cell is.
const Cell = int64(10 * time.Second)

// anchors are the times in a cell that its bounds are as of.
var anchors = [3]int64{0, Cell / 2, Cell}

// Begin returns when the cell of a time begins.
func Begin(at int64) int64 {
	b := at / Cell * Cell
	if b > at {
		b -= Cell
	}
	return b
}

// Fold puts a sample into c, whose Time is the begin of the sample's cell: at
// time at, Unix ns of the host's clock, broker − host was from low to high; a
// side may be [clock.Below] or [clock.Above]. A cell that has no sample yet is
// begun by it.
func Fold(c *schemas.ClockCell, at, low, high int64) {
	one := *c
	one.Seconds, one.First, one.Last = 1<<((at-c.Time)/int64(time.Second)), at, at
	for i, anchor := range anchors {
		w := clock.Interval{Lo: low, Hi: high}.Widened(at - c.Time - anchor)
		one.Low[i], one.High[i] = w.Lo, w.Hi
	}
	if c.Seconds == 0 {
		*c = one
		return
	}
	Merge(c, &one)
}

// Merge adds what o tells to c, both of one time and pair; it is what a store
// does with cells of one key, and what a reader does with those of several
// origins.
func Merge(c, o *schemas.ClockCell) {
	for i := range anchors {
		c.Low[i], c.High[i] = max(c.Low[i], o.Low[i]), min(c.High[i], o.High[i])
	}
	c.Seconds |= o.Seconds
	c.First, c.Last = min(c.First, o.First), max(c.Last, o.Last)
	c.Name, c.Service, c.Cluster = max(c.Name, o.Name), max(c.Service, o.Service), max(c.Cluster, o.Cluster)
	c.Node = max(c.Node, o.Node)
}

// Samples counts the seconds of a cell that had a sample.
func Samples(c *schemas.ClockCell) int { return bits.OnesCount16(c.Seconds) }

// Broken tells that a clock was stepped within the cell, so that nothing is
// known in it.
func Broken(c *schemas.ClockCell) bool {
	for i := range anchors {
		if c.Low[i] > c.High[i] {
			return true
		}
	}
	return false
}

// Step says that a clock was stepped between two times of the host's clock.
type Step struct {
	From, To int64
	// By is how far the offset moved; unknown unless both sides of both were
	// known, or when the step lies within a cell.
	By clock.Interval
}

// Evidence is what an interval was made of.
type Evidence struct {
	// Samples counts seconds with samples by origin, in the cells within reach.
	Samples map[schemas.ClockOrigin]int
	// First and Last are the times of these samples, Nearest that of the one
	// closest to what was asked, as far as cells tell; Unix ns.
	First, Last, Nearest int64
	// Steps are those within reach, oldest first.
	Steps []Step
}

// Track is what cells tell of one pair at any time: of those before it, of its
// own and of those after it.
type Track struct {
	cells           []cell
	steps           []Step
	Broker          string // its address; the caller's to fill
	Name, Service   string // of the host, as told last
	Cluster         string // of the broker; empty unless a beacon told
	Node            int32
	forward, behind []clock.Tracker // after cell i in time, and before it running back
}

type cell struct {
	schemas.ClockCell
	broken bool
	by     map[schemas.ClockOrigin]int
}

// New makes the track of one pair from its cells, of any origins and in any
// order.
func New(cells []schemas.ClockCell) *Track {
	t := &Track{Node: schemas.Unknown}
	sorted := slices.SortedStableFunc(slices.Values(cells), func(a, b schemas.ClockCell) int { return cmp.Compare(a.Time, b.Time) })
	for i := range sorted {
		c := &sorted[i]
		if n := len(t.cells); n > 0 && t.cells[n-1].Time == c.Time {
			// A second of a client and a beacon counts for each.
			t.cells[n-1].by[c.Origin] = max(t.cells[n-1].by[c.Origin], Samples(c))
			Merge(&t.cells[n-1].ClockCell, c)
			continue
		}
		t.cells = append(t.cells, cell{ClockCell: *c, by: map[schemas.ClockOrigin]int{c.Origin: Samples(c)}})
	}
	var run clock.Tracker
	known := -1 // the last cell that is not broken
	for i := range t.cells {
		c := &t.cells[i]
		t.name(c)
		if c.broken = Broken(&c.ClockCell); c.broken {
			t.steps = append(t.steps, Step{c.First, c.Last, clock.Unknown()})
			run, known = clock.Tracker{}, -1
		} else {
			before := run
			stepped := false
			for k, anchor := range anchors {
				stepped = run.Add(c.Time+anchor, c.Low[k], c.High[k]) || stepped
			}
			if stepped && known >= 0 {
				t.steps = append(t.steps, Step{t.cells[known].Last, c.First, by(before, run, c.Time)})
			}
			known = i
		}
		t.forward = append(t.forward, run)
	}
	run = clock.Tracker{}
	t.behind = make([]clock.Tracker, len(t.cells))
	for i, c := range slices.Backward(t.cells) {
		if c.broken {
			run = clock.Tracker{}
		} else {
			for k, anchor := range slices.Backward(anchors[:]) {
				run.Add(-(c.Time + anchor), c.Low[k], c.High[k])
			}
		}
		t.behind[i] = run
	}
	return t
}

func (t *Track) name(c *cell) {
	if c.Name != "" {
		t.Name = c.Name
	}
	if c.Service != "" {
		t.Service = c.Service
	}
	if c.Cluster != "" {
		t.Cluster, t.Node = c.Cluster, c.Node
	}
}

// by is how far the offset moved at a step.
func by(before, after clock.Tracker, at int64) clock.Interval {
	b, ok := before.At(at)
	a, okToo := after.At(at)
	if !ok || !okToo {
		return clock.Unknown()
	}
	return clock.Between(a, b) // the later minus the earlier
}

// At gives the offset at a time of the host's clock. It is false where a side is
// not known, and where a clock was stepped between the samples around it.
func (t *Track) At(at int64) (clock.Interval, bool) {
	begin := Begin(at)
	i, own := slices.BinarySearchFunc(t.cells, begin, func(c cell, b int64) int { return cmp.Compare(c.Time, b) })
	before, after, here := clock.Unknown(), clock.Unknown(), clock.Unknown()
	if i > 0 && !t.cells[i-1].broken {
		before, _ = t.forward[i-1].At(at)
	}
	next := i
	if own {
		c := &t.cells[i]
		if c.broken {
			return clock.Unknown(), false
		}
		next++
		for k, anchor := range anchors {
			here = intersect(here, clock.Interval{Lo: c.Low[k], Hi: c.High[k]}.Widened(at-c.Time-anchor))
		}
	}
	if next < len(t.cells) && !t.cells[next].broken {
		after, _ = t.behind[next].At(-at)
	}
	all := intersect(here, intersect(before, after))
	if all.Lo > all.Hi {
		// A step lies before or after this cell: what lies between samples of the cell
		// does not cross it.
		if !own || at < t.cells[i].First || at > t.cells[i].Last {
			return clock.Unknown(), false
		}
		if all = intersect(here, before); all.Lo > all.Hi {
			if all = intersect(here, after); all.Lo > all.Hi {
				all = here
			}
		}
	}
	return all, all.Known()
}

func intersect(a, b clock.Interval) clock.Interval {
	return clock.Interval{Lo: max(a.Lo, b.Lo), Hi: min(a.Hi, b.Hi)}
}

// Steps are those that the cells show, oldest first.
func (t *Track) Steps() []Step { return t.steps }

// Evidence tells what the offset at a time was made of: the samples within reach
// of it.
func (t *Track) Evidence(at, reach int64) Evidence {
	e := Evidence{Samples: map[schemas.ClockOrigin]int{}}
	best := int64(clock.Above)
	for i := range t.cells {
		c := &t.cells[i]
		if c.Last < at-reach || c.First > at+reach {
			continue
		}
		if e.First == 0 {
			e.First = c.First
		}
		e.Last = c.Last
		for o, n := range c.by {
			e.Samples[o] += n
		}
		for _, near := range []int64{c.First, c.Last} {
			if d := max(near-at, at-near); d < best {
				best, e.Nearest = d, near
			}
		}
		// Each second of the cell that had a sample.
		for s := range 10 {
			if c.Seconds&(1<<s) == 0 {
				continue
			}
			near := min(max(at, c.Time+int64(s)*int64(time.Second)), c.Time+int64(s+1)*int64(time.Second)-1)
			near = min(max(near, c.First), c.Last)
			if d := max(near-at, at-near); d < best {
				best, e.Nearest = d, near
			}
		}
	}
	for _, s := range t.steps {
		if s.To >= at-reach && s.From <= at+reach {
			e.Steps = append(e.Steps, s)
		}
	}
	return e
}
