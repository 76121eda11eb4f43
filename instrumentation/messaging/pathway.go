package messaging

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
	"go.opentelemetry.io/otel/attribute"

	"github.com/hoptrace/hoptrace/instrumentation/messaging/measure"
)

// HeaderPathway is the header that says which way a record came and since when
// it is under way. It is written only when asked for: each header costs every
// reader about three allocations.
const HeaderPathway = "hoptrace-path"

// A pathway is the chain service → topic → group → service … that records follow.
// Its hash names the whole chain. The header is pathwayLen bytes:
//
//	0      version (high 4 bits) and zero
//	1      hops so far, at most 255
//	2–9    hash, big endian
//	10–16  when the oldest origin was, µs since 1970, big endian
//	17–21  µs from then until the record was sent, saturating at 12 days
//	22     µs between oldest and newest origin, 4 steps an octave, 0 is none
//	23     origins that came together, 8 steps an octave, 0 is one
const (
	pathwayVersion = 1
	pathwayLen     = 24
	// maxHops is where the hash stops to change: a loop over several services
	// must not make a new pathway each time round.
	maxHops = 16
	max40   = 1<<40 - 1
	// maxFanIn and maxSpread bound what a header makes believe: how many origins
	// came together, and how many µs between the oldest and the newest.
	maxFanIn  = 1_000_000
	maxSpread = int64(30 * 24 * time.Hour / time.Microsecond)
)

// pathwayState is what a header says. Times are µs since 1970.
type pathwayState struct {
	hash   uint64 // 0: no pathway
	origin int64  // the oldest
	newest int64
	sent   int64
	count  int64 // origins that came together
	hops   uint8
}

func (s *pathwayState) append(dst []byte) []byte {
	dst = append(dst, pathwayVersion<<4, s.hops)
	dst = binary.BigEndian.AppendUint64(dst, s.hash)
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(max(s.origin, 0))) //nolint:gosec // not negative
	dst = append(dst, b[1:]...)
	binary.BigEndian.PutUint64(b[:], uint64(min(max(s.sent-s.origin, 0), max40))) //nolint:gosec // not negative
	dst = append(dst, b[3:]...)
	return append(dst, logStep(s.newest-s.origin, 4), logStep(s.count-1, 8))
}

// parsePathway is the zero state for what is no header, or of an origin before
// 2020 or more than a day ahead of this host's clock.
func parsePathway(b []byte) pathwayState {
	if len(b) != pathwayLen || b[0]>>4 != pathwayVersion {
		return pathwayState{}
	}
	var s pathwayState
	s.hops, s.hash = b[1], binary.BigEndian.Uint64(b[2:])
	s.origin = int64(binary.BigEndian.Uint64(b[9:]) & (1<<56 - 1)) //nolint:gosec // 56 bits
	if s.origin > math.MaxInt64/int64(time.Microsecond) || !plausible(s.origin*int64(time.Microsecond), time.Now().UnixNano()) {
		return pathwayState{}
	}
	s.sent = s.origin + int64(binary.BigEndian.Uint64(b[14:])&(1<<40-1)) //nolint:gosec // 40 bits
	s.newest = s.origin + min(fromLogStep(b[22], 4), maxSpread)
	s.count = min(1+fromLogStep(b[23], 8), maxFanIn)
	return s
}

// logStep is 1 + the number of steps from 1 to v, steps to an octave; 0 for v < 1.
func logStep(v int64, steps float64) byte {
	if v < 1 {
		return 0
	}
	return byte(min(1+math.Round(math.Log2(float64(v))*steps), 255))
}

func fromLogStep(b byte, steps float64) int64 {
	if b == 0 {
		return 0
	}
	return int64(math.Min(math.Round(math.Exp2(float64(b-1)/steps)), 1<<50))
}

// pathways makes the hashes of one client's way in and out, and measures.
type pathways struct {
	core    *Core
	service string

	mu    sync.Mutex
	nodes map[nodeKey]*node
	outs  map[uint64]uint64 // hash of a way out of this program → hash of the way in before it
	told  bool              // that maxPathways was met
}

type nodeKey struct {
	parent    uint64
	topic     string
	group     string
	direction string
}

// node is one step of a pathway.
type node struct {
	hash  uint64
	group *measure.Group
}

// maxPathways bounds what a client remembers; further pathways are measured
// together, for each topic and group, as otherPathway with
// [measure.AttrOverflow]. The first time it is told as the bound of groups is.
const (
	maxPathways  = 512
	otherPathway = "other"
)

// Metrics of pathways.
const (
	MetricPathway       = "hoptrace.pathway.latency"
	MetricPathwayNewest = "hoptrace.pathway.latency.newest"
	MetricPathwayEdge   = "hoptrace.pathway.edge.latency"
	MetricPathwayFanIn  = "hoptrace.pathway.fan_in"
	MetricPathwayNode   = "hoptrace.pathway.node"

	AttrPathwayParent    = "hoptrace.pathway.parent"
	AttrPathwayDirection = "hoptrace.pathway.direction" // "out" or "in"
	AttrPathwayService   = "hoptrace.pathway.service"
)

const (
	pathwayLatency = iota
	pathwayNewest
	pathwayEdge
	pathwayFanIn
)

var pathwayMeasures = measure.NewLayout(
	duration(MetricPathway, "Oldest origin of the pathway until the record was handed over. Crosses clocks."),
	duration(MetricPathwayNewest, "Newest origin of the pathway until the record was handed over. Crosses clocks."),
	duration(MetricPathwayEdge, "Record sent until handed over. Crosses clocks."),
	counter(MetricPathwayFanIn, "{origin}", "Origins of the records that were handed over."),
)

// pathwayNode says once what a hash stands for.
var pathwayNode = measure.NewLayout(measure.Instrument{
	Name: MetricPathwayNode, Unit: "1", Description: "What a pathway's hash stands for; sent once.", Kind: measure.Gauge,
})

func (c *Core) newPathways() *pathways {
	service := c.config.Service
	if service == "" {
		service = os.Getenv("OTEL_SERVICE_NAME")
	}
	if service == "" {
		service = filepath.Base(os.Args[0])
	}
	return &pathways{core: c, service: service, nodes: make(map[nodeKey]*node), outs: make(map[uint64]uint64)}
}

// node returns the step that follows parent. In the direction "in" a step that
// only leads back to the one before it in this program is that one again: a
// consumer that sends to its own topic makes no new pathway at each round.
func (w *pathways) node(k nodeKey) *node {
	n, tell := w.step(k)
	if tell {
		w.core.meter.Overflowed(MetricPathway, maxPathways)
	}
	return n
}

// step is node; tell is true when it is the first that is not remembered.
func (w *pathways) step(k nodeKey) (n *node, tell bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := w.nodes[k]; n != nil {
		return n, false
	}
	if k.direction == directionIn {
		if before, ok := w.outs[k.parent]; ok {
			for seen, n := range w.nodes {
				if n.hash == before && seen.topic == k.topic && seen.group == k.group && seen.direction == directionIn {
					return n, false
				}
			}
		}
	}
	full := len(w.nodes) >= maxPathways
	n = &node{hash: w.hash(k)}
	id := fmt.Sprintf("%016x", n.hash)
	if k.direction == directionIn {
		attrs := []attribute.KeyValue{attribute.String(AttrDestinationName, k.topic)}
		if full {
			attrs = append(attrs, attribute.String(AttrPathway, otherPathway), attribute.Bool(measure.AttrOverflow, true))
		} else {
			attrs = append(attrs, attribute.String(AttrPathway, id))
		}
		if k.group != "" {
			attrs = append(attrs, attribute.String(AttrConsumerGroup, k.group))
		}
		n.group = w.core.meter.Group(pathwayMeasures, attrs...)
	}
	if full {
		tell, w.told = !w.told, true
		return n, tell
	}
	w.nodes[k] = n
	if k.direction == directionOut {
		w.outs[n.hash] = k.parent
	}
	attrs := []attribute.KeyValue{
		attribute.String(AttrPathway, id),
		attribute.String(AttrPathwayParent, fmt.Sprintf("%016x", k.parent)),
		attribute.String(AttrPathwayDirection, k.direction),
		attribute.String(AttrPathwayService, w.service),
		attribute.String(AttrDestinationName, k.topic),
	}
	if k.group != "" {
		attrs = append(attrs, attribute.String(AttrConsumerGroup, k.group))
	}
	g := w.core.meter.Group(pathwayNode, attrs...)
	g.Lock()
	g.Set(0, 1)
	g.Unlock()
	return n, false
}

const (
	directionIn  = "in"
	directionOut = "out"
)

// hash is that of the step and of all before it. Parts are separated, so that
// "ab"+"c" is not "a"+"bc".
func (w *pathways) hash(k nodeKey) uint64 {
	var d xxhash.Digest
	d.Reset()
	var parent [8]byte
	binary.BigEndian.PutUint64(parent[:], k.parent)
	_, _ = d.Write(parent[:])
	for _, s := range [...]string{k.direction, w.service, k.topic, k.group} {
		_, _ = d.WriteString(s)
		_, _ = d.Write([]byte{0})
	}
	return max(d.Sum64(), 1)
}

// outgoing is the pathway that records sent in ctx go on with: that of the record
// being processed, or a new one.
func (w *pathways) outgoing(ctx context.Context) pathwayState {
	if p, ok := RecordFromContext(ctx); ok && p.delivery.pathway != nil {
		return *p.delivery.pathway
	}
	return pathwayState{}
}

// PathwayHeader is the value of the pathway header for the records that this call
// sends to t; nil when pathways are off. It is the same memory for each of them
// and must not be changed.
func (c *Call) PathwayHeader(t *SendTopic) []byte {
	w := c.producer.pathways
	if w == nil {
		return nil
	}
	s := c.pathway
	s.sent = c.start / int64(time.Microsecond)
	if s.origin == 0 {
		s.origin, s.newest, s.count = s.sent, s.sent, 1
	}
	if s.hops < maxHops {
		s.hash = w.node(nodeKey{parent: s.hash, topic: t.Topic, direction: directionOut}).hash
	}
	if s.hops < math.MaxUint8 {
		s.hops++
	}
	return s.append(make([]byte, 0, pathwayLen))
}

// arrived measures a record's pathway and makes it that of its processing.
func (w *pathways) arrived(d *Delivery) {
	s := &d.pathway
	n := w.node(nodeKey{parent: s.hash, topic: d.Partition.Topic, group: d.Partition.consumer.config.Group, direction: directionIn})
	if s.hops < maxHops {
		s.hash = n.hash
	}
	if s.hops < math.MaxUint8 {
		s.hops++
	}
	at := d.Handed / int64(time.Microsecond)
	n.group.Lock()
	n.group.Duration(pathwayLatency, (at-s.origin)*int64(time.Microsecond), 1, nil)
	n.group.Duration(pathwayNewest, (at-s.newest)*int64(time.Microsecond), 1, nil)
	n.group.Duration(pathwayEdge, (at-s.sent)*int64(time.Microsecond), 1, nil)
	n.group.Add(pathwayFanIn, s.count)
	n.group.Unlock()
}

// mergePathways is what records that are processed together go on with: the
// oldest and newest origin of all, their number, and the way of the oldest.
func mergePathways(ds []Delivery) pathwayState {
	var out pathwayState
	for i := range ds {
		s := &ds[i].pathway
		if s.hash == 0 {
			continue
		}
		if out.hash == 0 {
			out = *s
			continue
		}
		newest, count := max(out.newest, s.newest), out.count
		if s.origin < out.origin {
			out = *s
		}
		out.newest = newest
		out.count = min(count+s.count, maxFanIn)
	}
	return out
}
