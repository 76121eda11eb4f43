package api

import (
	"context"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/instrumentation/messaging/clock"
	"github.com/hoptrace/hoptrace/schemas"
)

// hopClock is what clock samples add to a hop between two hosts: the parts that
// cross clocks, and how far off each may be. The rows stay as they are.
type hopClock struct {
	hop    schemas.Hop // both rows on the consumer's clock, by one realised offset
	broker string      // by whose clock the two were compared
	moved  int64       // what was added to the producer's times
	offset clock.Interval

	// Where the true values lie; unknown where the part is.
	backlog, longPoll, residence, endToEnd clock.Interval
}

// clocksOf are the samples around some hops.
type clocksOf struct {
	byHost map[string]map[string]*offsets // host, broker
}

// crosses tells that a hop's two ends ran on hosts that both told who they are.
func crosses(h schemas.Hop) bool {
	p, c := h.Produce, h.Consume
	return p != nil && c != nil && p.BootID != "" && c.BootID != "" && p.BootID != c.BootID
}

// addClocks gives those hops that cross hosts what samples tell. It asks nothing
// when there are none.
func (h *Handler) addClocks(ctx context.Context, project uint64, hops []joined) error {
	var from, to int64
	var hosts []string
	seen := map[string]bool{}
	for i := range hops {
		if !crosses(hops[i].Hop) {
			continue
		}
		p, c := hops[i].Produce, hops[i].Consume
		for _, m := range []*schemas.Message{p, c} {
			if !seen[m.BootID] && len(hosts) < maxRefs {
				seen[m.BootID] = true
				hosts = append(hosts, m.BootID)
			}
			if from == 0 || m.Start < from {
				from = m.Start
			}
			to = max(to, m.End)
		}
	}
	if len(hosts) == 0 {
		return nil
	}
	r := exporters.Range{From: time.Unix(0, from).Add(-clockReach), To: time.Unix(0, to).Add(clockReach)}
	every := time.Duration(0)
	if length := r.To.Sub(r.From); length > 10*time.Minute {
		every = max(time.Second, length/600)
	}
	samples, err := h.clockSamples(ctx, project, hosts, r, every)
	if err != nil {
		return err
	}
	known := clocksOf{byHost: map[string]map[string]*offsets{}}
	for k, all := range samples {
		if known.byHost[k.host] == nil {
			known.byHost[k.host] = map[string]*offsets{}
		}
		known.byHost[k.host][k.broker] = newOffsets(all)
	}
	for i := range hops {
		if crosses(hops[i].Hop) {
			hops[i].clock = known.of(hops[i].Hop)
		}
	}
	return nil
}

// compared are the two hosts' offsets to one broker.
type compared struct {
	broker             string
	producer, consumer clock.Interval
}

func (c compared) width() int64 { return clock.Between(c.producer, c.consumer).Width() }

// of compares the clocks of a hop's hosts by a broker that both have samples of;
// nil when there is none.
func (c clocksOf) of(h schemas.Hop) *hopClock {
	p, cons := h.Produce, h.Consume
	produced, consumed := p.Start, cons.Start
	if p.Acked != 0 {
		produced = p.Acked
	}
	if cons.Answered != 0 {
		consumed = cons.Answered
	}
	var best compared
	var stamped []compared // whose stamp the record may bear
	for broker, own := range c.byHost[p.BootID] {
		other := c.byHost[cons.BootID][broker]
		if other == nil {
			continue
		}
		now := compared{broker: broker}
		var ok, okToo bool
		now.producer, ok = own.near(produced)
		now.consumer, okToo = other.near(consumed)
		if !ok || !okToo {
			continue
		}
		if best.broker == "" || now.width() < best.width() || now.width() == best.width() && broker < best.broker {
			best = now
		}
		if p.Appended != 0 && p.Written != 0 && p.Acked != 0 &&
			p.Appended-now.producer.Hi <= p.Acked && p.Appended+int64(time.Millisecond)-now.producer.Lo >= p.Written {
			stamped = append(stamped, now)
		}
	}
	if best.broker == "" {
		return nil
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
		return nil
	}
	between := clock.Between(best.producer, best.consumer)
	out := &hopClock{
		broker: best.broker, moved: tiles.Offset, offset: between, residence: tiles.ResidenceRange, endToEnd: tiles.EndToEndRange,
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
	return out
}

// placed is the hop with both rows on one clock where samples allow, to compute
// parts and to draw them.
func (j joined) placed() schemas.Hop {
	if j.clock != nil {
		return j.clock.hop
	}
	return j.Hop
}

// parts are those of placed. What is known by samples alone does not count as a
// shared clock.
func (j joined) parts() schemas.HopParts {
	out := j.placed().Parts()
	out.SharedClock = j.SharedClock()
	return out
}

func uncertainty(i clock.Interval) *Uncertainty {
	if !i.Known() {
		return nil
	}
	return &Uncertainty{Lo: i.Lo, Hi: i.Hi}
}
