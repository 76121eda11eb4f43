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
	t := time.Now()
	a := &anchor{t, t.UnixNano()}
	c.last.Store(a)
	return a.wall
}
