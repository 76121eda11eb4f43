package lagwatch

import (
	"slices"
	"time"
)

// How old the oldest unread record is.
//
// Reading it would tell exactly, but a broker hands out whole batches: a
// megabyte for one number, times partitions, every round, and the right to read
// other people's data. So nothing is fetched. The log's end is asked each round
// anyway, and a record was appended between the round in which the end was not
// yet behind it and the first in which it was: a [logClock] keeps such marks,
// denser the younger they are, and interpolates. That needs no trust in
// producers' clocks either. A record from before the marks (after a start, or
// when the watcher was away) is dated by asking for offsets by timestamp, which
// the broker answers from its time index, for all partitions in one request, see
// [cluster.date]. What that finds becomes a mark, so a group that stands still
// costs it once.

// mark says that at a time the end of the log was there: records below it were
// appended before, those from it on after.
type mark struct {
	at, end int64 // Unix ns, offset
	asked   bool  // the record at end was dated by asking: it is from that very time
}

// maxMarks bounds the marks of one log: spaced by a tenth of their age they
// reach back some years.
const maxMarks = 256

// logClock dates the offsets of one partition.
type logClock struct {
	marks []mark // by time; ends never fall
}

// add notes the end of the log at a time.
func (c *logClock) add(at, end int64) {
	n := len(c.marks)
	switch {
	case n > 0 && end < c.marks[n-1].end:
		*c = logClock{marks: append(c.marks[:0], mark{at: at, end: end})} // made anew: the old offsets mean other records
		return
	case n > 1 && c.marks[n-1].end == end && c.marks[n-2].end == end:
		c.marks[n-1].at = at // nothing came: the later of the two moves
		return
	}
	c.marks = append(c.marks, mark{at: at, end: end})
	c.thin(at)
}

// found adds that the record at offset has a time. Where the record's own clock, or
// the little that a search leaves open, says otherwise than the marks around it,
// theirs is the nearest that is possible.
func (c *logClock) found(offset, at int64) {
	i := c.behind(offset)
	if i < len(c.marks) {
		at = min(at, c.marks[i].at)
	}
	if i > 0 {
		at = max(at, c.marks[i-1].at)
	}
	c.marks = slices.Insert(c.marks, i, mark{at: at, end: offset, asked: true})
}

// behind is the first mark at which the record at offset was in the log.
func (c *logClock) behind(offset int64) int {
	i, _ := slices.BinarySearchFunc(c.marks, offset, func(m mark, o int64) int {
		if m.end > o {
			return 1
		}
		return -1
	})
	return i
}

// thin drops marks whose neighbours lie closer together than a tenth of their age.
func (c *logClock) thin(now int64) {
	if len(c.marks) < 8 {
		return
	}
	out := c.marks[:1]
	for i := 1; i < len(c.marks)-1; i++ {
		next := c.marks[i+1]
		// Both ends of a stretch without records stay: it must not be interpolated.
		flat := c.marks[i].end == next.end || c.marks[i].end == out[len(out)-1].end
		if next.at-out[len(out)-1].at <= (now-next.at)/10 && !flat {
			continue
		}
		out = append(out, c.marks[i])
	}
	out = append(out, c.marks[len(c.marks)-1])
	c.marks = out
	if over := len(c.marks) - maxMarks; over > 0 {
		c.marks = slices.Delete(c.marks, 0, over)
	}
}

// date tells when the record at offset was appended. It is sure when that was asked,
// or the marks around it are close: within two rounds or a fifth of its age.
func (c *logClock) date(offset, now int64, interval time.Duration) (at int64, sure bool) {
	i := c.behind(offset)
	if i == 0 || i == len(c.marks) {
		return 0, false
	}
	a, b := c.marks[i-1], c.marks[i]
	if a.asked && a.end == offset {
		return a.at, true
	}
	at = a.at + int64((float64(offset-a.end)+0.5)/float64(b.end-a.end)*float64(b.at-a.at))
	gap := b.at - a.at
	return at, gap <= int64(2*interval+interval/2) || gap <= (now-at)/5
}
