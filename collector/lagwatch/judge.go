package lagwatch

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
)

// sample is what one round saw of a partition and a group.
type sample struct {
	at                    int64 // Unix ns
	start, end, committed int64
	behind                time.Duration // exporters.LagUnknown when not known
	held                  bool          // a member had it, or might have
}

func (s sample) lag() int64 { return max(s.end-max(s.committed, s.start), 0) }

// unread is what was unread of the records that are still there: start is where the
// log begins now. By lag alone a deletion looks like reading.
func (s sample) unread(start int64) int64 { return s.end - max(s.committed, start) }

// track is what was seen of one partition and group, oldest first: forecastWindows
// windows of it.
type track struct {
	samples []sample
	from    int64  // one more than what an uncommitted partition is counted from; 0 for a committed one
	owned   int64  // when a member had it last, Unix ns
	starts  []mark // when the log's start moved, for what retention by size does
}

// forecastWindows is how many windows rates are found over while they are steady:
// commits come in bursts, and the difference of nearly equal rates needs time to
// be told from them.
const forecastWindows = 5

// maxStarts bounds the moves of a log's start that are kept.
const maxStarts = 16

// keptUncommitted is for how long an uncommitted partition that no member has is
// counted on. A program that fails on its first record comes back, and its backlog
// must not begin at nothing each time.
const keptUncommitted = time.Hour

// waits tells that the track is of an uncommitted partition that may come back.
func (t *track) waits(now int64) bool {
	return t.from > 0 && now-t.owned < int64(keptUncommitted)
}

// add appends a sample and drops what is too old.
//
// The first commit of an uncommitted partition begins the window anew: what it
// was counted from is no offset to go back from.
func (t *track) add(s sample, window time.Duration) {
	if t.from > 0 && s.committed != t.from-1 {
		*t = track{}
	}
	if n := len(t.samples); n > 0 && s.end < t.samples[n-1].end {
		*t = track{} // the topic was made anew
	}
	if n := len(t.starts); n == 0 || t.starts[n-1].end != s.start {
		if n == maxStarts {
			t.starts = append(t.starts[:0], t.starts[1:]...)
		}
		t.starts = append(t.starts, mark{at: s.at, end: s.start})
	}
	// One sample at or before the begin stays, so that the time is covered whole.
	drop := 0
	for drop+1 < len(t.samples) && s.at-t.samples[drop+1].at >= forecastWindows*int64(window) {
		drop++
	}
	t.samples = append(append(t.samples[:0], t.samples[drop:]...), s)
}

// facts are what is known of the group and the topic beside the samples.
type facts struct {
	interval, window time.Duration
	members          int  // schemas.Unknown when not told
	owned            bool // a member has the partition
	settled          bool // the assignment is whole: no rebalance goes on
	retention        time.Duration
	retentionBytes   int64
	size             int64 // of the partition's log in bytes, 0 when not known
}

// minSamples is from how many samples rates are told.
const minSamples = 3

// judge finds state, rates and forecasts. The rules, the first that holds; they
// look at all samples of the window:
//
//	rewind  a committed offset is smaller than one before it
//	ok      nothing is unread, or nothing was at some time within the window
//	stop    nothing was committed in the whole window, and no member is there for it;
//	        or in a part of it, when the unread is older than the window
//	stall   nothing was committed in the whole window, and a member has it
//	warn    offsets are committed, and the lag never shrank and has grown
//	warn    retention deletes the first unread record before it is read
//	warn    the unread is older than the window, nothing is committed, and it was
//	        watched for less than that
//	ok      otherwise: it catches up, or keeps its distance
//
// A lag that returns to zero now and then is healthy however large it is in
// between: that is batch work. Thresholds in records are not used, because the
// same number is a second of one topic and a day of another.
func (t *track) judge(p *exporters.LagPartition, f facts) {
	recent := t.recent(f.window)
	last, first := recent[len(recent)-1], recent[0]
	p.Committed, p.LogStart, p.LogEnd, p.Lag, p.Behind = last.committed, last.start, last.end, last.lag(), last.behind
	p.CommittedBefore = min(first.committed, last.committed)
	p.Lost = max(last.start-last.committed, 0)
	if p.Lag == 0 {
		p.Behind = 0
	}
	// What was before an offset went back says nothing of how it goes on.
	window, all := sinceBack(recent), sinceBack(t.samples)
	rate := func(of func(sample) float64) float64 { v, _ := steady(window, all, of); return v }
	// A growth that is not told from nothing is nothing: no forecast is made of noise.
	growth := func(of func(sample) float64) float64 {
		v, slack := steady(window, all, of)
		if math.Abs(v) <= 2*slack {
			return 0
		}
		return v
	}
	p.Written = rate(func(s sample) float64 { return float64(s.end) })
	p.Read = max(rate(func(s sample) float64 { return float64(s.committed) }), 0)
	net := growth(func(s sample) float64 { return float64(s.unread(last.start)) })
	whole := last.at-first.at >= int64(f.window-f.interval)
	moved := slices.ContainsFunc(recent, func(s sample) bool { return s.committed != last.committed })
	aging := 1.0 // by how many seconds the oldest unread record gets older a second
	if moved {
		aging = min(max(growth(func(s sample) float64 {
			if s.behind == exporters.LagUnknown {
				return math.NaN()
			}
			return s.behind.Seconds()
		}), 0), 1)
	}
	f.forecast(p, t.starts, net, aging)
	if moved && (p.Lag == 0 || p.Behind >= 0 && p.Behind <= 2*f.interval) {
		p.Drained, p.Deleted = 0, exporters.LagNever // it keeps up: what is unread is on its way
	}
	p.State, p.Reason = judge(recent, p, f, whole, moved, net)
	if p.Uncommitted && p.State == exporters.LagOK {
		p.Reason = "nothing was committed yet; what came since it is watched is counted"
	}
}

// sinceBack are the samples since the committed offset went back last.
func sinceBack(samples []sample) []sample {
	for i := len(samples) - 1; i > 0; i-- {
		if samples[i].committed < samples[i-1].committed {
			return samples[i:]
		}
	}
	return samples
}

// recent are the samples of the window, and one at its begin or before.
func (t *track) recent(window time.Duration) []sample {
	last := t.samples[len(t.samples)-1].at
	i := len(t.samples) - 1
	for i > 0 && last-t.samples[i].at < int64(window) {
		i--
	}
	return t.samples[i:]
}

// steady is how much a value grows a second: over all samples when what the
// recent ones say is no surprise to them, otherwise over the recent ones alone.
// It is NaN while too little was seen.
func steady(recent, all []sample, of func(sample) float64) (growth, slack float64) {
	growth, slack = slope(recent, of)
	if len(all) == len(recent) || math.IsNaN(growth) {
		return growth, slack
	}
	if long, itsSlack := slope(all, of); math.Abs(long-growth) <= 3*slack+0.02*math.Abs(growth) {
		return long, itsSlack
	}
	return growth, slack
}

// slope fits a line by least squares, and tells its standard error. The
// difference of two samples would tell mostly when commits came.
func slope(samples []sample, of func(sample) float64) (growth, slack float64) {
	var n, sx, sy, sxx, sxy, syy, y0 float64
	x0 := samples[0].at
	for _, s := range samples {
		v := of(s)
		if math.IsNaN(v) {
			continue
		}
		if n == 0 {
			y0 = v
		}
		x, y := float64(s.at-x0)/1e9, v-y0
		n, sx, sy, sxx, sxy, syy = n+1, sx+x, sy+y, sxx+x*x, sxy+x*y, syy+y*y
	}
	d := n*sxx - sx*sx
	if n < minSamples || d <= 0 {
		return math.NaN(), math.NaN()
	}
	growth = (n*sxy - sx*sy) / d
	rest := max(syy-sy*sy/n-growth*(sxy-sx*sy/n), 0)
	return growth, math.Sqrt(rest / (n - 2) * n / d)
}

func judge(samples []sample, p *exporters.LagPartition, f facts, whole, moved bool, net float64) (exporters.LagState, string) {
	highest, back := samples[0].committed, int64(0)
	caughtUp, shrank := p.Lag == 0, false
	for i, s := range samples {
		back = max(back, highest-s.committed)
		highest = max(highest, s.committed)
		caughtUp = caughtUp || s.committed >= s.end
		shrank = shrank || i > 0 && s.unread(p.LogStart) < samples[i-1].unread(p.LogStart)
	}
	switch {
	case back > 0:
		return exporters.LagRewind, fmt.Sprintf("the committed offset went back by %d", back)
	case p.Lag == 0 && p.Lost > 0:
		return exporters.LagOK, "nothing is unread any more: retention deleted it"
	case p.Lag == 0:
		return exporters.LagOK, "nothing is unread"
	case caughtUp:
		return exporters.LagOK, "it had read all within the window"
	case !moved && f.members == 0 && !heldLately(samples) && (whole || len(samples) >= minSamples && p.Behind > f.window):
		return exporters.LagStop, "nothing was committed, and the group has no member"
	case !moved && whole && f.settled && !f.owned && !heldLately(samples):
		return exporters.LagStop, "nothing was committed, and no member has the partition"
	case !moved && whole:
		return exporters.LagStall, "nothing was committed, though the group has members"
	case moved && whole && !shrank && net > 0:
		return exporters.LagWarn, "it reads slower than is written"
	case p.Deleted != exporters.LagUnknown && p.Deleted != exporters.LagNever && p.Behind > 2*f.interval && (p.Drained == exporters.LagNever || p.Drained > p.Deleted) && moved && whole:
		return exporters.LagWarn, "retention deletes records before they are read"
	case !whole && !moved && p.Behind > f.window:
		return exporters.LagWarn, "its unread records are older than the window, and it is not watched for long enough to say why"
	case !whole:
		return exporters.LagOK, "watched for less than the window"
	case shrank && net < 0:
		return exporters.LagOK, "it catches up"
	}
	return exporters.LagOK, "it keeps its distance"
}

// heldLately tells that a member had the partition in one of the last rounds: one
// that lost its session for a moment is no group that stopped.
func heldLately(samples []sample) bool {
	return slices.ContainsFunc(samples[max(len(samples)-minSamples, 0):], func(s sample) bool { return s.held })
}

// farAway is the forecast from which "never" is the better word.
const farAway = 3650 * 24 * time.Hour

func seconds(s float64) time.Duration {
	if math.IsNaN(s) || s > farAway.Seconds() {
		return exporters.LagNever
	}
	return time.Duration(max(s, 0) * 1e9)
}

// forecast sets when all is read, and when retention deletes what is not.
//
// By time, a record is deleted once it is older than retention.ms. The age of
// the oldest unread record grows by one second a second while nothing is read,
// and by less while something is: by its slope over the window. By size, the
// log holds about K = retention.bytes / (bytes of a record) records, so its
// start is K before its end, and meets the committed offset when the lag is K.
// Where the size cannot be asked the start's own pace says when. Both are early
// rather than late: a broker deletes whole segments.
func (f facts) forecast(p *exporters.LagPartition, starts []mark, net, aging float64) {
	p.Drained, p.Deleted, p.Spare = exporters.LagUnknown, exporters.LagUnknown, exporters.LagUnknown
	switch {
	case p.Lag == 0:
		p.Drained, p.Deleted = 0, exporters.LagNever
	case math.IsNaN(net):
	case net >= 0:
		p.Drained = exporters.LagNever
	default:
		p.Drained = seconds(float64(p.Lag) / -net)
	}
	earlier := func(to *time.Duration, d time.Duration) {
		if *to == exporters.LagUnknown || d < *to {
			*to = d
		}
	}
	switch {
	case f.retention == exporters.LagNever:
		earlier(&p.Spare, exporters.LagNever)
		earlier(&p.Deleted, exporters.LagNever)
	case f.retention > 0 && p.Behind >= 0:
		left := max(f.retention-p.Behind, 0)
		earlier(&p.Spare, left)
		switch {
		case p.Lag == 0:
		case left == 0: // it may go with the next segment
			earlier(&p.Deleted, 0)
		case !math.IsNaN(aging):
			earlier(&p.Deleted, seconds(left.Seconds()/aging))
		}
	}
	if f.retentionBytes <= 0 || p.Lag == 0 || math.IsNaN(p.Written) {
		return
	}
	if records := p.LogEnd - p.LogStart; f.size > 0 && records > 0 {
		room := float64(f.retentionBytes)/(float64(f.size)/float64(records)) - float64(p.Lag)
		if p.Written > 0 {
			earlier(&p.Spare, seconds(room/p.Written))
		}
		if net > 0 {
			earlier(&p.Deleted, seconds(room/net))
		}
		return
	}
	if n := len(starts); n >= 3 { // the first is where we began to look
		a, b := starts[1], starts[n-1]
		pace := float64(b.end-a.end) / (float64(b.at-a.at) / 1e9)
		gap := float64(max(p.Committed, p.LogStart) - p.LogStart)
		earlier(&p.Spare, seconds(gap/pace))
		if pace > p.Read {
			earlier(&p.Deleted, seconds(gap/(pace-p.Read)))
		}
	}
}
