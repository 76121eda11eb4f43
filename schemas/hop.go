package schemas

import "time"

// Hop is one record read by one consumer group: the producer's row and the
// consumer's. Either may be nil: a record not read yet, or a producer that is
// not instrumented.
type Hop struct {
	Produce *Message
	Consume *Message
	// Settle is the commit that covers the record; nil when none was seen.
	Settle *Message
}

// Part is one stretch of a hop's time. It is signed: a negative duration means
// that two clocks disagree. Known is false when nobody measured it; Duration is
// then zero and means nothing.
type Part struct {
	Duration time.Duration
	Known    bool
}

// HopParts are the parts of a hop in time order. When all are known they sum to
// EndToEnd exactly.
type HopParts struct {
	// BatchQueue is send called → produce request first written: linger.
	BatchQueue Part
	// Retry is first → last time the request was written; zero without retries.
	Retry Part
	// Ack is request written → record appended. Without LogAppendTime the
	// append is taken at the answer, or at the fetch answer if that came first.
	Ack Part
	// Backlog is record appended → fetch asked: nobody was asking, the group is behind.
	Backlog Part
	// LongPoll is fetch asked (or appended, if later) → fetch answered.
	LongPoll Part
	// FetchQueue is fetch answered → record handed to the application.
	FetchQueue Part
	// Processing is record handed to the application → done.
	Processing Part
	// EndToEnd is send called → processing done.
	EndToEnd Part
	// Settle is commit asked → acknowledged. It comes after the application was
	// done, serves the records before it too, and is no tile of EndToEnd.
	Settle Part
	// RoundTrip is the producer's own measure, request written → answered. It
	// overlaps the others and is no tile of EndToEnd.
	RoundTrip Part
	// SharedClock tells that both sides ran on one host. Where it is false the
	// parts that cross clocks (Ack's end, Backlog, LongPoll, EndToEnd) are unknown.
	SharedClock bool
}

// Between is the stretch between two times of one clock; unknown when one is zero.
func Between(from, to int64) Part { return span(from, to) }

func span(from, to int64) Part {
	if from == 0 || to == 0 {
		return Part{}
	}
	return Part{time.Duration(to - from), true}
}

// Append is the time the record is taken to lie in the log from, on the clock
// both sides share; zero when unknown. A LogAppendTime is whole milliseconds,
// so it is kept inside [Written, Acked]; without one it is the earlier of the
// answers to producer and consumer. exporters/clickhouse computes the same in SQL.
func (h Hop) Append() int64 {
	p := h.Produce
	if p == nil || p.Written == 0 || p.Acked == 0 {
		return 0
	}
	if p.Appended != 0 {
		return min(max(p.Appended, p.Written), p.Acked)
	}
	if c := h.Consume; c != nil && c.Answered != 0 && h.SharedClock() {
		return max(min(p.Acked, c.Answered), p.Written)
	}
	return p.Acked
}

// SharedClock tells that both rows come from hosts with one boot id.
func (h Hop) SharedClock() bool {
	return h.Produce != nil && h.Consume != nil && h.Produce.BootID != "" && h.Produce.BootID == h.Consume.BootID
}

// Parts computes the parts from the rows' raw times.
func (h Hop) Parts() HopParts {
	var out HopParts
	out.SharedClock = h.SharedClock()
	appended := h.Append()
	if p := h.Produce; p != nil {
		first := p.FirstWritten
		if first == 0 {
			first = p.Written
		}
		out.BatchQueue = span(p.Start, first)
		out.Retry = span(first, p.Written)
		out.Ack = span(p.Written, appended)
		out.RoundTrip = span(p.Written, p.Acked)
	}
	if s := h.Settle; s != nil {
		out.Settle = span(s.Start, s.End)
	}
	c := h.Consume
	if c == nil {
		return out
	}
	handed := c.Handed
	if handed == 0 && c.Side == SideProcess {
		handed = c.Start
	}
	out.FetchQueue = span(c.Answered, handed)
	if c.Side == SideProcess {
		out.Processing = span(handed, c.End)
	}
	if !out.SharedClock {
		return out
	}
	if appended != 0 && c.Asked != 0 && c.Answered != 0 {
		asked := max(c.Asked, appended)
		// A fetch answered before the append (clocks, or a stamp cut to ms)
		// leaves no backlog; the long poll is then negative and says so.
		asked = min(asked, max(c.Answered, appended))
		out.Backlog = span(appended, asked)
		out.LongPoll = span(asked, c.Answered)
	}
	if c.Side == SideProcess {
		out.EndToEnd = span(h.Produce.Start, c.End)
	}
	return out
}
