package messaging

import (
	"testing"
	"time"
)

func TestTheWallClockIsThatOfTheSystem(t *testing.T) {
	var c wallClock
	last := int64(0)
	for deadline := time.Now().Add(30 * time.Millisecond); time.Now().Before(deadline); {
		before := time.Now().UnixNano()
		got := c.now()
		after := time.Now().UnixNano()
		// The wall clock is slewed against the monotonic one by less than this.
		const slew = int64(50 * time.Microsecond)
		if got < before-slew || got > after+slew {
			t.Fatalf("now = %d; want between %d and %d", got, before, after)
		}
		if got < last-slew {
			t.Fatalf("now = %d after %d", got, last)
		}
		last = got
	}
}

func BenchmarkWallClock(b *testing.B) {
	var c wallClock
	b.ReportAllocs()
	for b.Loop() {
		if c.now() == 0 {
			b.Fatal("no time")
		}
	}
}
