package messaging

import (
	"time"
	"weak"

	"github.com/hoptrace/hoptrace/instrumentation/messaging/measure"
)

// delivered measures a record that is handed over and compares its offset with
// where reading stood.
func (p *Partition) delivered(d *Delivery, start int64, sampled bool) {
	var ex *measure.Exemplar
	if sampled {
		ex = &measure.Exemplar{TraceID: d.received.TraceID(), SpanID: d.received.SpanID()}
	}
	received := p.at.get(d.Broker).group
	received.Lock()
	received.Duration(receiveDuration, d.Handed-start, 1, ex)
	received.Add(receiveMessages, 1)
	received.Unlock()
	g := p.got
	g.Lock()
	defer g.Unlock()
	if backlog, longPoll, ok := d.residence(); ok {
		g.Duration(receiveBacklog, backlog, 1, ex)
		g.Duration(receiveLongPoll, longPoll, 1, ex)
	}
	if d.Answered != 0 {
		g.Duration(receiveFetchQueue, d.Handed-d.Answered, 1, ex)
	}
	if p.revoked {
		// What the client had queued when it lost the partition: another member reads
		// it now, and the lag is that one's to tell.
		g.Add(receiveStale, 1)
		return
	}
	if n := switched.Load(); n != p.switched {
		p.started, p.known, p.switched = false, false, n
	}
	if d.HighWatermark > 0 {
		p.see(d.HighWatermark, max(d.Answered, 1), d.Offset)
	}
	switch {
	case p.committed > 0 && d.Offset < p.committed:
		// What the client had queued before a rebalance: the position is not there.
		g.Add(receiveStale, 1)
		return
	case !p.known:
		p.known, p.highest = true, d.Offset
	case d.Offset <= p.highest:
		if p.gaps.take(d.Offset) {
			g.Add(receiveOutOfOrder, 1)
		} else {
			g.Add(receiveDuplicates, 1)
		}
	case d.Offset > p.highest+1 && p.started:
		g.Add(receiveGaps, 1)
		g.Add(receiveGapRecords, d.Offset-p.highest-1)
		p.gaps.add(p.highest+1, d.Offset)
	}
	p.started = true
	p.last, p.highest, p.lastTime = d.Offset, max(p.highest, d.Offset), d.RecordTime
	p.observeLag(d.Handed)
}

// see notes a high watermark that was told at that time. The newest counts, for
// records wait in the client with the watermark of their fetch. One below what was
// read before is that of a topic made anew. p.got is held.
func (p *Partition) see(watermark, at, offset int64) {
	if p.lagKnown && at < p.watermarkAt {
		return
	}
	if watermark <= p.last && watermark < p.watermark && offset < watermark {
		p.known, p.committed, p.gaps = false, 0, gaps{}
	}
	p.watermark, p.watermarkAt, p.lagKnown = watermark, at, true
}

// gaps are offsets that were jumped over, the newest ranges.
type gaps struct {
	ranges [maxGaps]struct{ from, to int64 }
	n      int
}

// maxGaps bounds the ranges remembered of a partition.
const maxGaps = 8

func (g *gaps) add(from, to int64) {
	if g.n == maxGaps {
		copy(g.ranges[:], g.ranges[1:])
		g.n--
	}
	g.ranges[g.n].from, g.ranges[g.n].to = from, to
	g.n++
}

// take removes an offset that arrived late; false when it was not missing.
func (g *gaps) take(offset int64) bool {
	for i := range g.ranges[:g.n] {
		r := &g.ranges[i]
		if offset < r.from || offset >= r.to {
			continue
		}
		from, to := offset+1, r.to
		r.to = offset
		if r.from == r.to {
			r.from, r.to = from, to
		} else if from < to {
			g.add(from, to)
		}
		return true
	}
	return false
}

// observeLag sets the lag as of now; p.got is held.
func (p *Partition) observeLag(now int64) {
	if !p.lagKnown || !p.started {
		return
	}
	lag, behind := max(p.watermark-p.last-1, 0), int64(0)
	if lag == 0 {
		p.caughtUp = max(p.caughtUp, p.watermarkAt)
	}
	// The oldest record that waits came after the one last handed over, and after
	// everything was read.
	if since := max(p.lastTime, p.caughtUp); lag > 0 && p.lastTime > 0 {
		behind = (now - since) / int64(time.Millisecond)
	}
	p.got.Set(receiveLag, lag)
	p.got.Set(receiveLagTime, behind)
}

// Watermark tells the high watermark of a partition, for clients that tell it
// beside the records and not with each. age is how old the record handed over last
// is, zero when that is not known.
func (p *Partition) Watermark(offset int64, age time.Duration) {
	if offset <= 0 {
		return
	}
	now := p.consumer.core.now()
	p.got.Lock()
	defer p.got.Unlock()
	if p.revoked {
		return
	}
	p.see(offset, now, p.last+1)
	if age > 0 {
		p.lastTime = now - age.Nanoseconds()
	}
	p.observeLag(now)
}

// Consumer is the consumer that reads this partition.
func (p *Partition) Consumer() *Consumer { return p.consumer }

// reportLag sets the lag of each partition that is being read, so that it is told
// while nothing is handed over too: that is when it grows.
func (c *Consumer) reportLag() {
	if !Enabled() { // what is handed over is not counted
		return
	}
	now := c.core.now()
	for _, p := range *c.parts.m.Load() {
		p.got.Lock()
		p.observeLag(now)
		p.got.Unlock()
	}
}

// Close tells that the client was closed: it lags no more.
func (c *Consumer) Close() {
	c.closed.Store(true)
	for _, p := range *c.parts.m.Load() {
		p.Moved()
	}
}

// reportLagUntilGone has the Registry ask for the lag while the Consumer is used.
func (c *Consumer) reportLagUntilGone() {
	seen := weak.Make(c)
	c.core.meter.OnCollect(func() bool {
		c := seen.Value()
		if c == nil || c.closed.Load() {
			return false
		}
		c.reportLag()
		return true
	})
}

// Moved tells that the partition was assigned, perhaps again: a jump ahead is no
// gap, since another member may have read on. What is handed out a second time
// still counts as a duplicate, and below what was committed as stale.
func (p *Partition) Moved() {
	p.got.Lock()
	p.started, p.revoked, p.gaps = false, false, gaps{}
	p.got.Unlock()
}

// Revoked tells that the group gave the partition to another member. What the
// client hands out of it from then on is stale.
func (p *Partition) Revoked() {
	p.got.Lock()
	p.started, p.revoked = false, true
	p.got.Unlock()
}

// Rewound tells that the application changed the position on purpose: nothing that
// follows is stale, a duplicate or a gap.
func (p *Partition) Rewound() {
	p.got.Lock()
	p.started, p.known, p.committed, p.gaps = false, false, 0, gaps{}
	p.got.Unlock()
}

// Lag returns how many records of the partition follow the one last handed out,
// by the last high watermark seen; ok is false when none was.
func (p *Partition) Lag() (records int64, ok bool) {
	p.got.Lock()
	defer p.got.Unlock()
	if !p.lagKnown || !p.started {
		return 0, false
	}
	return max(p.watermark-p.last-1, 0), true
}

// Position returns the offset handed out last; ok is false when none was since the
// partition was assigned or the position changed.
func (p *Partition) Position() (offset int64, ok bool) {
	p.got.Lock()
	defer p.got.Unlock()
	return p.last, p.started
}
