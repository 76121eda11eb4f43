package api

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"net"
	"slices"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/instrumentation/messaging"
	"github.com/hoptrace/hoptrace/instrumentation/messaging/clock"
	"github.com/hoptrace/hoptrace/internal/clocktrack"
	"github.com/hoptrace/hoptrace/schemas"
)

// hopClock is what clock samples add to a hop between two hosts: the parts that
// cross clocks, and how far off each may be. The rows stay as they are.
type hopClock struct {
	hop    schemas.Hop // both rows on the consumer's clock, by one realised offset
	broker string      // by whose clock the two were compared
	moved  int64       // what was added to the producer's times
	offset clock.Interval

	stamped  bool             // the record's LogAppendTime narrowed the residence
	evidence [2]clockEvidence // of the producer's host and the consumer's

	// Where the true values lie; unknown where the part is.
	backlog, longPoll, residence, endToEnd clock.Interval
}

// clocksOf are the clocks around some hops.
type clocksOf struct {
	byHost map[string]map[brokerKey]*clocktrack.Track
}

// brokerKey tells brokers apart: by number and cluster where a beacon told them, by
// address otherwise. Address is how people know it.
type brokerKey struct {
	cluster string
	node    int32
	address string // empty with a cluster
	host    string // of an address that means another broker on each host
}

// crosses tells that a hop's two ends ran on hosts that both told who they are.
func crosses(h schemas.Hop) bool {
	p, c := h.Produce, h.Consume
	return p != nil && c != nil && p.BootID != "" && c.BootID != "" && p.BootID != c.BootID
}

// addClocks gives those hops that cross hosts what the intervals of their clocks
// tell. It asks nothing when there are none.
func (h *Handler) addClocks(ctx context.Context, project uint64, hops []joined) error {
	var hosts []string
	seen := map[string]bool{}
	for i := range hops {
		if hops[i].gap = gapOf(hops[i].Hop); !crosses(hops[i].Hop) {
			continue
		}
		for _, m := range []*schemas.Message{hops[i].Produce, hops[i].Consume} {
			if !seen[m.BootID] && len(hosts) < maxRefs {
				seen[m.BootID] = true
				hosts = append(hosts, m.BootID)
			}
		}
	}
	if len(hosts) == 0 {
		return nil
	}
	cells, err := h.deps.Clocks.ClockCells(ctx, exporters.ClockQuery{Project: project, Hosts: hosts, Times: clockTimes(hops), Limit: maxClockCells})
	if err != nil {
		return fmt.Errorf("cannot read the clocks of %d hosts: %w", len(hosts), err)
	}
	known := newClocksOf(cells)
	for i := range hops {
		if crosses(hops[i].Hop) {
			hops[i].clock, hops[i].gap = known.of(hops[i].Hop)
		}
	}
	return nil
}

// clockTimes are the cells within reach of hops; within less of it when these are
// too many.
func clockTimes(hops []joined) []int64 {
	for reach := int64(clockReach); ; reach /= 2 {
		cells := map[int64]struct{}{}
		for i := range hops {
			if !crosses(hops[i].Hop) {
				continue
			}
			produced, consumed := comparedAt(hops[i].Hop)
			for _, at := range []int64{produced, consumed} {
				for t := clocktrack.Begin(at - reach); t <= at+reach; t += clocktrack.Cell {
					cells[t] = struct{}{}
				}
			}
		}
		if len(cells) <= maxClockTimes || reach < clocktrack.Cell {
			all := slices.Sorted(maps.Keys(cells))
			return all[:min(len(all), maxClockTimes)]
		}
	}
}

// newClocksOf makes a track of each host and broker. A client knows a broker by
// address alone. It is the broker that the host's own beacon found there, or the only
// one that any beacon found there; otherwise hosts mean the same broker by the same
// address, except by a loopback address.
func newClocksOf(cells []schemas.ClockCell) clocksOf {
	type place struct{ host, address string }
	here, anywhere := map[place]brokerKey{}, map[string]brokerKey{}
	several := map[string]bool{}
	for i := range cells {
		c := &cells[i]
		if c.Cluster == "" {
			continue
		}
		k := brokerKey{cluster: c.Cluster, node: c.Node}
		here[place{c.Host, c.Broker}] = k
		if other, ok := anywhere[c.Broker]; ok && other != k {
			several[c.Broker] = true
		}
		anywhere[c.Broker] = k
	}
	type pair struct {
		host string
		brokerKey
	}
	byPair, names := map[pair][]schemas.ClockCell{}, map[pair]string{}
	for i := range cells {
		c := &cells[i]
		k := brokerKey{cluster: c.Cluster, node: c.Node}
		if c.Cluster == "" {
			known, ok := here[place{c.Host, c.Broker}]
			all, found := anywhere[c.Broker]
			local := loopback(c.Broker)
			switch {
			case ok:
				k = known
			case found && !several[c.Broker] && !local:
				k = all
			case local:
				k = brokerKey{address: c.Broker, host: c.Host}
			default:
				k = brokerKey{address: c.Broker}
			}
		}
		byPair[pair{c.Host, k}] = append(byPair[pair{c.Host, k}], *c)
		names[pair{c.Host, k}] = c.Broker
	}
	out := clocksOf{byHost: map[string]map[brokerKey]*clocktrack.Track{}}
	for k, cells := range byPair {
		if out.byHost[k.host] == nil {
			out.byHost[k.host] = map[brokerKey]*clocktrack.Track{}
		}
		track := clocktrack.New(cells)
		track.Broker = names[k]
		out.byHost[k.host][k.brokerKey] = track
	}
	return out
}

// loopback tells that an address means the host itself.
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// comparedAt are the times, on the host's clock each, that the offsets are wanted
// of.
func comparedAt(h schemas.Hop) (produced, consumed int64) {
	produced, consumed = h.Produce.Start, h.Consume.Start
	if h.Produce.Acked != 0 {
		produced = h.Produce.Acked
	}
	if h.Consume.Answered != 0 {
		consumed = h.Consume.Answered
	}
	return produced, consumed
}

// Why the parts of a hop that cross clocks are unknown.
const (
	gapHost            = "host"             // one side does not tell its host
	gapProducerSamples = "producer-samples" // nothing bounds the producer's clock
	gapConsumerSamples = "consumer-samples"
	gapBroker          = "broker" // both are bounded, by no broker in common
	gapStep            = "step"   // a clock was stepped around the hop, or one side of it is open
	gapTimes           = "times"  // the rows tell too few times
)

// gapOf tells what can be told without samples.
func gapOf(h schemas.Hop) string {
	if p, c := h.Produce, h.Consume; p != nil && c != nil && (p.BootID == "" || c.BootID == "") {
		return gapHost
	}
	return ""
}

// compared are the two hosts' offsets to one broker.
type compared struct {
	key                brokerKey
	any                bool
	producer, consumer clock.Interval
}

func (c compared) width() int64 { return clock.Between(c.producer, c.consumer).Width() }

// of compares the clocks of a hop's hosts by a broker that both have samples of. It
// is nil when there is none, and says why.
func (c clocksOf) of(h schemas.Hop) (found *hopClock, gap string) {
	p, cons := h.Produce, h.Consume
	produced, consumed := comparedAt(h)
	switch {
	case len(c.byHost[p.BootID]) == 0:
		return nil, gapProducerSamples
	case len(c.byHost[cons.BootID]) == 0:
		return nil, gapConsumerSamples
	}
	gap = gapBroker
	var best compared
	var stamped []compared // whose stamp the record may bear
	for broker, own := range c.byHost[p.BootID] {
		other := c.byHost[cons.BootID][broker]
		if other == nil {
			continue
		}
		now := compared{key: broker, any: true}
		var ok, okToo bool
		now.producer, ok = own.At(produced)
		now.consumer, okToo = other.At(consumed)
		if !ok || !okToo {
			gap = gapStep
			continue
		}
		if !best.any || now.width() < best.width() || now.width() == best.width() && own.Broker < c.byHost[p.BootID][best.key].Broker {
			best = now
		}
		if p.Appended != 0 && p.Written != 0 && p.Acked != 0 &&
			p.Appended-now.producer.Hi <= p.Acked && p.Appended+int64(time.Millisecond)-now.producer.Lo >= p.Written {
			stamped = append(stamped, now)
		}
	}
	if !best.any {
		return nil, gap
	}
	handed := cons.Handed
	if handed == 0 && cons.Side == schemas.SideProcess {
		handed = cons.Start
	}
	times := clock.Times{Enqueued: p.Start, Written: p.Written, Acked: p.Acked, Fetched: cons.Answered, Handed: handed, Started: handed}
	if cons.Side == schemas.SideProcess {
		times.Done = cons.End
	}
	// Which broker stamped the record no row tells. One whose stamp cannot lie
	// within the request's round trip was not it; where several may have been, the
	// round trip alone tells when the record was appended.
	if len(stamped) == 1 {
		best = stamped[0]
		times.Appended = p.Appended
	}
	tiles := clock.Tile(times, clock.Offsets{Producer: best.producer, Consumer: best.consumer})
	if !tiles.OffsetKnown {
		return nil, gapTimes
	}
	between := clock.Between(best.producer, best.consumer)
	out := &hopClock{
		broker: c.byHost[p.BootID][best.key].Broker, moved: tiles.Offset, offset: between, stamped: times.Appended != 0,
		evidence: [2]clockEvidence{
			{p.BootID, best.producer, produced, c.byHost[p.BootID][best.key]}, {cons.BootID, best.consumer, consumed, c.byHost[cons.BootID][best.key]},
		},
		residence: tiles.ResidenceRange, endToEnd: tiles.EndToEndRange,
		backlog: clock.Unknown(), longPoll: clock.Unknown(),
	}
	if times.Appended != 0 && times.Fetched != 0 { // both bound it
		within := clock.ResidenceCreate(times.Fetched, times.Written, times.Acked, between)
		if lo, hi := max(within.Lo, out.residence.Lo), min(within.Hi, out.residence.Hi); lo <= hi {
			out.residence = clock.Interval{Lo: lo, Hi: hi}
		}
	}
	if cons.Asked != 0 && out.residence.Known() {
		asked := cons.Answered - cons.Asked
		out.backlog = clock.Interval{Lo: max(0, out.residence.Lo-asked), Hi: max(0, out.residence.Hi-asked)}
		out.longPoll = clock.Interval{Lo: min(out.residence.Lo, asked), Hi: min(out.residence.Hi, asked)}
	}
	const common = "common" // both rows are on one clock now
	moved, read := *p, *cons
	moved.BootID, read.BootID = common, common
	for _, t := range []*int64{&moved.Start, &moved.End, &moved.FirstWritten, &moved.Written, &moved.Acked} {
		if *t != 0 {
			*t += tiles.Offset
		}
	}
	if moved.Appended = 0; tiles.Known[clock.Ack] {
		moved.Appended = moved.Written + tiles.Length[clock.Ack]
	}
	out.hop = schemas.Hop{Produce: &moved, Consume: &read, Settle: h.Settle}
	return out, ""
}

// placed is the hop with both rows on one clock where samples allow, to compute
// parts and to draw them.
func (j joined) placed() schemas.Hop {
	h := j.Hop
	if j.clock != nil {
		h = j.clock.hop
	}
	return schemas.Hop{Produce: movedRow(h.Produce, j.moved.produce), Consume: movedRow(h.Consume, j.moved.consume), Settle: movedRow(h.Settle, j.moved.consume)}
}

// movedRow is a row whose times have by added.
func movedRow(m *schemas.Message, by int64) *schemas.Message {
	if m == nil || by == 0 {
		return m
	}
	out := *m
	for _, t := range []*int64{&out.Start, &out.End, &out.FirstWritten, &out.Written, &out.Acked, &out.Appended, &out.Asked, &out.Answered, &out.Handed, &out.RecordTime} {
		if *t != 0 {
			*t += by
		}
	}
	return &out
}

// rowsMoved is what is added to the times of a hop's rows where a whole journey is
// put on one clock. With samples both rows are on the consumer's already.
type rowsMoved struct{ produce, consume int64 }

// bootOf is the host that a span ran on; empty when it does not tell.
func bootOf(s *schemas.Span) string {
	b, _ := schemas.Lookup(s.Resource, messaging.AttrBootID)
	return b
}

// shiftsOf tells what to add to the times of each host to have a journey on one
// clock: that of the host which was done last. It goes from host to host by the hops
// whose clocks were compared, by the narrowest comparison of two hosts. Hosts that no
// comparison leads to are absent; their times stay as they are.
func shiftsOf(hops []joined) map[string]int64 {
	type pair struct{ from, to string }
	best := map[pair]*hopClock{}
	var order []string // hosts, those that were done last first
	ends := map[string]int64{}
	for i := range hops {
		c := hops[i].clock
		if c == nil {
			continue
		}
		p, r := hops[i].Produce.BootID, hops[i].Consume.BootID
		if now := best[pair{p, r}]; now == nil || c.offset.Width() < now.offset.Width() {
			best[pair{p, r}] = c
		}
		for _, host := range []string{p, r} {
			if _, known := ends[host]; !known {
				order = append(order, host)
				ends[host] = math.MinInt64
			}
		}
		ends[r] = max(ends[r], hops[i].Consume.End)
	}
	if len(best) == 0 {
		return nil
	}
	type edge struct {
		to string
		by int64 // of a time of to: what gives that of the host
	}
	edges := map[string][]edge{}
	for p, c := range best {
		edges[p.to] = append(edges[p.to], edge{p.from, c.moved})
		edges[p.from] = append(edges[p.from], edge{p.to, -c.moved})
	}
	for _, list := range edges {
		slices.SortFunc(list, func(a, b edge) int { return cmp.Or(cmp.Compare(a.to, b.to), cmp.Compare(a.by, b.by)) })
	}
	slices.SortStableFunc(order, func(a, b string) int { return cmp.Or(cmp.Compare(ends[b], ends[a]), cmp.Compare(a, b)) })
	shift := map[string]int64{}
	for _, reference := range order {
		if _, known := shift[reference]; known {
			continue
		}
		shift[reference] = 0
		for queue := []string{reference}; len(queue) > 0; queue = queue[1:] {
			for _, e := range edges[queue[0]] {
				if _, known := shift[e.to]; !known {
					shift[e.to] = shift[queue[0]] + e.by
					queue = append(queue, e.to)
				}
			}
		}
	}
	return shift
}

// onOneClock puts a journey's spans and hops on one clock as far as its hops tell how
// the clocks of its hosts differ. The spans are copies; the rows stay as they are.
func onOneClock(spans []schemas.Span, hops []joined) []schemas.Span {
	shift := shiftsOf(hops)
	if shift == nil {
		return spans
	}
	for i := range hops {
		j := &hops[i]
		if j.Consume != nil {
			j.moved.consume = shift[j.Consume.BootID]
		}
		switch {
		case j.clock != nil:
			j.moved.produce = j.moved.consume
		case j.Produce != nil:
			j.moved.produce = shift[j.Produce.BootID]
		}
	}
	placed := slices.Clone(spans)
	for i := range placed {
		by := shift[bootOf(&placed[i])]
		placed[i].Start += by
		placed[i].End += by
	}
	return placed
}

// parts are those of placed. What is known by samples alone does not count as a
// shared clock.
func (j joined) parts() schemas.HopParts {
	out := j.placed().Parts()
	out.SharedClock = j.SharedClock()
	return out
}

// clockEvidence is what one host's clock was placed by.
type clockEvidence struct {
	host   string
	offset clock.Interval
	at     int64 // the host's clock
	track  *clocktrack.Track
}

func (e clockEvidence) json(side string) ClockEvidence {
	of := e.track.Evidence(e.at, int64(clockReach))
	out := ClockEvidence{
		Side: side, Host: e.host, Name: cmp.Or(e.track.Name, e.track.Service), LowNs: e.offset.Lo, HighNs: e.offset.Hi, At: nanos(e.at),
		RoundTrips: of.Samples[schemas.ClockRoundTrip], Fetches: of.Samples[schemas.ClockFetch], Beacons: of.Samples[schemas.ClockBeacon],
		First: nanos(of.First), Last: nanos(of.Last), Nearest: nanos(of.Nearest), Steps: len(of.Steps),
	}
	if n := len(of.Steps); n > 0 {
		out.Stepped = known(of.Steps[n-1].To)
	}
	return out
}

// uncertainty tells where a value truly lies; wide says that it could as well be
// twice as long or not there at all.
func uncertainty(i clock.Interval, ns int64) *Uncertainty {
	if !i.Known() {
		return nil
	}
	return &Uncertainty{Lo: i.Lo, Hi: i.Hi, Wide: i.Width()/2 >= max(ns, -ns)}
}
