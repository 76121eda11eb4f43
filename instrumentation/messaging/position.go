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
	g := p.got
	g.Lock()
	defer g.Unlock()
	g.Duration(receiveDuration, d.Handed-start, 1, ex)
	g.Add(receiveMessages, 1)
	if backlog, longPoll, ok := d.residence(); ok {
		g.Duration(receiveBacklog, backlog, 1, ex)
		g.Duration(receiveLongPoll, longPoll, 1, ex)
	}
	if d.Answered != 0 {
		g.Duration(receiveFetchQueue, d.Handed-d.Answered, 1, ex)
	}
	if d.HighWatermark > 0 {
		p.watermark, p.lagKnown = max(p.watermark, d.HighWatermark), true
	}
	if n := switched.Load(); n != p.switched {
		p.started, p.switched = false, n
	}
	switch {
	case p.committed > 0 && d.Offset < p.committed:
		// What the client had queued before a rebalance: the position is not there.
		g.Add(receiveStale, 1)
		return
	case !p.started:
		p.started, p.highest = true, d.Offset
	case d.Offset > p.highest+1:
		g.Add(receiveGaps, 1)
		g.Add(receiveGapRecords, d.Offset-p.highest-1)
		p.gapFrom, p.gapTo = p.highest+1, d.Offset
	case d.Offset >= p.gapFrom && d.Offset < p.gapTo:
		g.Add(receiveOutOfOrder, 1)
		p.gapFrom = d.Offset + 1
	case d.Offset <= p.highest:
		g.Add(receiveDuplicates, 1)
	}
	p.last, p.highest, p.lastTime = d.Offset, max(p.highest, d.Offset), d.RecordTime
	p.observeLag(d.Handed)
}

// observeLag sets the lag as of now; p.got is held.
func (p *Partition) observeLag(now int64) {
	if !p.lagKnown || !p.started {
		return
	}
	lag, behind := max(p.watermark-p.last-1, 0), int64(0)
	if lag > 0 && p.lastTime > 0 {
		behind = (now - p.lastTime) / int64(time.Millisecond)
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
	p.watermark, p.lagKnown = max(p.watermark, offset), true
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

// Moved tells that the position was changed on purpose or the partition assigned
// anew, so that the next offset is neither gap nor duplicate. What was committed
// is kept: a delivery below it is stale whoever had the partition.
func (p *Partition) Moved() {
	p.got.Lock()
	p.started = false
	p.got.Unlock()
}

// Rewound tells that the application went back on purpose: nothing is stale.
func (p *Partition) Rewound() {
	p.got.Lock()
	p.started, p.committed = false, 0
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
