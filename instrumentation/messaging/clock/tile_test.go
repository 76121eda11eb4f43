package clock

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// hop is a message whose producer's clock is 7 s behind the consumer's, and
// whose broker's is 3 s ahead of it.
func hop() (Times, Offsets) {
	p := epoch - 7*second
	times := Times{
		Enqueued: p, Written: p + 5*ms, Acked: p + 9*ms,
		Appended: epoch + 3*second + 6*ms,
		Fetched:  epoch + 20*ms, Handed: epoch + 22*ms, Started: epoch + 23*ms, Done: epoch + 33*ms,
	}
	offsets := Offsets{
		Producer: Interval{10*second - ms, 10*second + ms},
		Consumer: Interval{3*second - 2*ms, 3*second + 2*ms},
	}
	return times, offsets
}

func lengths(t Tiles) map[Part]time.Duration {
	out := map[Part]time.Duration{}
	for p := range numParts {
		if t.Known[p] {
			out[p] = time.Duration(t.Length[p])
		}
	}
	return out
}

func TestTilesOfOneMessage(t *testing.T) {
	const half = 500 * time.Microsecond
	full := map[Part]time.Duration{
		BatchQueue: 5e6, Ack: 1e6 + half, Residence: 14e6 - half,
		FetchQueue: 2e6, HandOff: 1e6, Processing: 10e6,
	}
	changed := func(c map[Part]time.Duration) map[Part]time.Duration {
		out := map[Part]time.Duration{}
		for p, d := range full {
			out[p] = d
		}
		for p, d := range c {
			if d == -1 {
				delete(out, p)
			} else {
				out[p] = d
			}
		}
		return out
	}
	f := func(name string, change func(*Times, *Offsets), want map[Part]time.Duration, endToEnd bool, residence, whole Interval) {
		t.Helper()
		times, o := hop()
		change(&times, &o)
		got := Tile(times, o)
		if diff := cmp.Diff(want, lengths(got)); diff != "" {
			t.Errorf("%s: parts (-want +got):\n%s", name, diff)
		}
		if got.EndToEndKnown != endToEnd || endToEnd && got.EndToEnd != 33*ms {
			t.Errorf("%s: end to end %d, %v; want 33 ms, %v", name, got.EndToEnd, got.EndToEndKnown, endToEnd)
		}
		if got.ResidenceRange != residence || got.EndToEndRange != whole {
			t.Errorf("%s: residence within %v, end to end within %v; want %v, %v", name, got.ResidenceRange, got.EndToEndRange, residence, whole)
		}
	}
	whole := Interval{30 * ms, 36 * ms}
	f("all known", func(*Times, *Offsets) {}, full, true, Interval{11 * ms, 16 * ms}, whole)
	f("CreateTime", func(t *Times, _ *Offsets) { t.Appended = 0 },
		changed(map[Part]time.Duration{Ack: 4e6, Residence: 11e6}), true, Interval{8 * ms, 18 * ms}, whole)
	f("nothing known of the clocks", func(_ *Times, o *Offsets) { o.Producer, o.Consumer = Unknown(), Unknown() },
		changed(map[Part]time.Duration{Ack: -1, Residence: -1}), false, Unknown(), Unknown())
	f("nothing known of the producer's clock", func(_ *Times, o *Offsets) { o.Producer = Unknown() },
		changed(map[Part]time.Duration{Ack: -1}), false, Interval{11 * ms, 16 * ms}, Unknown())
	f("one side known", func(_ *Times, o *Offsets) { o.Producer, o.Consumer.Hi = Unknown(), Above },
		changed(map[Part]time.Duration{Ack: -1, Residence: -1}), false, Interval{11 * ms, Above}, Unknown())
	f("no acks", func(t *Times, _ *Offsets) { t.Acked, t.Appended = 0, 0 },
		changed(map[Part]time.Duration{Ack: -1, Residence: -1}), true, Unknown(), whole)
	f("one host, CreateTime", func(t *Times, o *Offsets) {
		t.Enqueued, t.Written, t.Acked, t.Appended = epoch, epoch+5*ms, epoch+9*ms, 0
		*o = Offsets{Producer: Unknown(), Consumer: Unknown(), SameHost: true}
	}, changed(map[Part]time.Duration{Ack: 4e6, Residence: 11e6}), true, Interval{11 * ms, 15 * ms}, Interval{33 * ms, 33 * ms})
	f("one host, one of two intervals", func(t *Times, o *Offsets) {
		t.Enqueued, t.Written, t.Acked = epoch, epoch+5*ms, epoch+9*ms
		o.Producer, o.SameHost = Unknown(), true
	}, full, true, Interval{11 * ms, 15 * ms}, Interval{33 * ms, 33 * ms})
	f("fetched before it was acknowledged", func(t *Times, _ *Offsets) { t.Acked, t.Appended = t.Acked+20*ms, 0 },
		changed(map[Part]time.Duration{Ack: 15e6, Residence: 0}), true, Interval{-12 * ms, 18 * ms}, whole)
	f("stamp after the acknowledgement", func(t *Times, _ *Offsets) { t.Appended += 7 * ms },
		changed(map[Part]time.Duration{Ack: 4e6, Residence: 11e6}), true, Interval{8 * ms, 9 * ms}, whole)
}

func TestNegativeResidenceIsNotClamped(t *testing.T) {
	times, o := hop()
	times.Fetched -= 100 * ms // fetched before it was written: the clocks are not what they seem
	got := Tile(times, o)
	if got.Length[Residence] >= 0 || got.ResidenceRange.Hi >= 0 {
		t.Fatalf("residence %d within %v; want negative", got.Length[Residence], got.ResidenceRange)
	}
}
