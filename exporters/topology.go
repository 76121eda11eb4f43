package exporters

import (
	"context"
	"math"
	"slices"
	"time"
)

// TopologySlot is the grain of time of a topology: ranges are widened to whole slots.
const TopologySlot = 5 * time.Minute

// TopologyReader reads how services, topics and groups hang together.
type TopologyReader interface {
	// Topology gives what services wrote to topics, and read from them as members
	// of groups, by rows whose span ended in the range, widened to whole slots. A
	// service that did so within LookBack before the range and not in it comes
	// too, with no messages: who has stopped is seen. Both ends of a record's way
	// stand for themselves, so one that waited for days is no less seen. Ordered
	// by messages, most first, then by names; at most Limit.
	Topology(ctx context.Context, q TopologyQuery) ([]Flow, error)
	// TopologySteps divides the range into stretches of equal length, whole slots
	// each, and says what passed in each of them; those of nothing are left out.
	TopologySteps(ctx context.Context, q TopologyQuery) ([]TopologyStep, error)
}

// TopologyQuery selects flows.
type TopologyQuery struct {
	Project  uint64
	Range    Range
	LookBack time.Duration // at most 31 days
	Limit    int           // 1 to 10,000; zero means 10,000
	// Step is the length of a stretch of TopologySteps: whole slots, at least one.
	Step time.Duration
	// Service, Topic and Group select for TopologySteps; empty ones do not.
	Service, Topic, Group string
}

// Flow is what one service did with one topic: it wrote records to it, or read
// them as a member of a group.
type Flow struct {
	Topic, Service string
	Reads          bool
	Group          string // of a reader; empty when it told none

	// Messages is how many records were written, or readings of them were seen:
	// one delivered twice counts twice.
	Messages, Failed uint64
	// FirstSeen and LastSeen are the ends of the oldest row of the range, zero when
	// there is none, and of the newest row. Unix ns.
	FirstSeen, LastSeen int64
	// NewestRecord is the time of the newest record, as the record itself says:
	// Unix ns, zero when nobody told it.
	NewestRecord int64
	// Wait is, of a writer, produce request written → answered; of a reader, the
	// record's own time → handed out by the broker. That crosses two clocks.
	Wait Latencies
	// Work is, of a reader, record handed to the application → done.
	Work Latencies
}

// TopologyStep is what passed in one stretch of time.
type TopologyStep struct {
	Start         int64 // Unix ns
	Written, Read uint64
	Failed        uint64 // of the readings
	Wait          Latencies
}

// Latencies are durations, sorted by size into classes of which each is 9 % wide
// (eight to a power of two, from 1 µs). Two of them are added exactly, so
// quantiles of any set of rows can be had from sums of their parts. Ordered by
// class, each once.
type Latencies []LatencyCount

// LatencyCount is how many durations are of one class.
type LatencyCount struct {
	Class int16
	Count uint64
}

// LatencyUnknown is the class of what nobody measured; Latencies hold none of it.
const LatencyUnknown = math.MaxInt16

const (
	classesPerDoubling = 8
	maxLatencyClass    = 400 // 12 days and more
	latencyUnit        = time.Microsecond
)

// LatencyClassOf sorts a duration: 0 is less than 1 µs either way, negative ones
// are durations below zero.
func LatencyClassOf(d time.Duration) int16 {
	size := d
	if d < 0 {
		size = -d
		if size < 0 { // the smallest of all
			return -maxLatencyClass
		}
	}
	if size < latencyUnit {
		return 0
	}
	class := int16(min(1+math.Floor(classesPerDoubling*math.Log2(float64(size)/float64(latencyUnit))), maxLatencyClass))
	if d < 0 {
		return -class
	}
	return class
}

// latencyFrom is the smallest duration of a class above 0.
func latencyFrom(class int16) time.Duration {
	return time.Duration(float64(latencyUnit) * math.Exp2(float64(class-1)/classesPerDoubling))
}

// LatencyBounds are the least and the largest duration of a class.
func LatencyBounds(class int16) (from, to time.Duration) {
	switch {
	case class == 0:
		return -latencyUnit, latencyUnit
	case class < 0:
		from, to = LatencyBounds(-class)
		return -to, -from
	}
	return latencyFrom(class), latencyFrom(class + 1)
}

// Add is both together. It changes neither.
func (l Latencies) Add(other Latencies) Latencies {
	if len(l) == 0 || len(other) == 0 {
		return append(slices.Clip(l), other...)
	}
	out := make(Latencies, 0, len(l)+len(other))
	for len(l) > 0 && len(other) > 0 {
		switch a, b := l[0], other[0]; {
		case a.Class < b.Class:
			out, l = append(out, a), l[1:]
		case a.Class > b.Class:
			out, other = append(out, b), other[1:]
		default:
			out, l, other = append(out, LatencyCount{a.Class, a.Count + b.Count}), l[1:], other[1:]
		}
	}
	return append(append(out, l...), other...)
}

// Count is how many durations there are.
func (l Latencies) Count() (n uint64) {
	for _, c := range l {
		n += c.Count
	}
	return n
}

// Quantiles of the durations, each within its class.
func (l Latencies) Quantiles() Quantiles {
	q := Quantiles{Count: l.Count()}
	if q.Count == 0 {
		return q
	}
	for _, c := range l {
		if c.Class < 0 {
			q.Negative += c.Count
		}
	}
	q.P50, q.P90, q.P95, q.P99 = l.at(0.50, q.Count), l.at(0.90, q.Count), l.at(0.95, q.Count), l.at(0.99, q.Count)
	return q
}

// at is the duration that a share of all are no longer than. Within a class the
// durations are taken to lie evenly.
func (l Latencies) at(share float64, total uint64) time.Duration {
	rank := share * float64(total)
	below := 0.0
	for _, c := range l {
		n := float64(c.Count)
		if below+n >= rank {
			if c.Class == 0 {
				return 0
			}
			from, to := LatencyBounds(c.Class)
			return from + time.Duration(float64(to-from)*(rank-below)/n)
		}
		below += n
	}
	from, _ := LatencyBounds(l[len(l)-1].Class)
	return from
}

// LatencyBar is how many durations lie between two.
type LatencyBar struct {
	From, To time.Duration
	Count    uint64
}

// Doublings are the durations in bars of which each ends at the double of its
// begin, ordered; what is shorter than 1 µs either way is one bar.
func (l Latencies) Doublings() []LatencyBar {
	var out []LatencyBar
	for _, c := range l {
		// Class 1 begins at 1 µs, so eight classes on is the double.
		low, high := c.Class, c.Class
		switch {
		case c.Class > 0:
			low = (c.Class-1)/classesPerDoubling*classesPerDoubling + 1
			high = low + classesPerDoubling - 1
		case c.Class < 0:
			high = (c.Class+1)/classesPerDoubling*classesPerDoubling - 1
			low = high - classesPerDoubling + 1
		}
		from, _ := LatencyBounds(low)
		_, to := LatencyBounds(high)
		if n := len(out); n > 0 && out[n-1].From == from {
			out[n-1].Count += c.Count
			continue
		}
		out = append(out, LatencyBar{from, to, c.Count})
	}
	return out
}
