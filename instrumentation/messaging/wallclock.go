package messaging

import (
	"sync/atomic"
	"time"
)

// wallClock reads the wall clock at half the cost: most reads ask only how much
// monotonic time went by since both clocks were read last. A step of the wall
// clock is seen no later than anchorAge after it.
type wallClock struct {
	last atomic.Pointer[anchor]
}

// anchor is one reading of both clocks.
type anchor struct {
	at   time.Time
	wall int64
}

const anchorAge = 5 * time.Millisecond

// now is the time in Unix nanoseconds.
func (c *wallClock) now() int64 {
	if a := c.last.Load(); a != nil {
		if d := time.Since(a.at); d >= 0 && d < anchorAge {
			return a.wall + int64(d)
		}
	}
	a := bothClocks()
	c.last.Store(a)
	return a.wall
}

// bothClocks reads both clocks at one moment. time.Now reads one after the other;
// a thread that is taken off its core in between would carry the gap into every
// read until the next anchor, so such a reading is made again.
func bothClocks() *anchor {
	const atOnce, tries = 5 * time.Microsecond, 4
	t := time.Now()
	for range tries {
		next := time.Now()
		gap := next.Sub(t)
		t = next
		if gap < atOnce {
			break
		}
	}
	return &anchor{t, t.UnixNano()}
}
