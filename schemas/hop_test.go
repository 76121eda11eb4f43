package schemas

import (
	"math/rand/v2"
	"testing"
	"time"
)

const ms = int64(time.Millisecond)

func known(d int64) Part { return Part{time.Duration(d), true} }

func TestPartsOfOneHopSumToEndToEnd(t *testing.T) {
	base := int64(1_700_000_000_000_000_000)
	at := func(n int64) int64 { return base + n*ms }
	p := &Message{Side: SideProduce, BootID: "a", Start: at(0), FirstWritten: at(10), Written: at(40), Acked: at(44), End: at(45)}
	c := &Message{Side: SideProcess, BootID: "a", Asked: at(300), Answered: at(303), Handed: at(310), Start: at(312), End: at(350)}
	got := Hop{Produce: p, Consume: c}.Parts()
	want := HopParts{
		BatchQueue: known(10 * ms), Retry: known(30 * ms), Ack: known(4 * ms), RoundTrip: known(4 * ms),
		Backlog: known(256 * ms), LongPoll: known(3 * ms), FetchQueue: known(7 * ms), Processing: known(40 * ms),
		EndToEnd: known(350 * ms), SharedClock: true,
	}
	if got != want {
		t.Fatalf("Parts() = %+v\nwant %+v", got, want)
	}
}

func TestAWaitingConsumerHasNoBacklog(t *testing.T) {
	// The fetch was asked before the record came; its answer may even arrive
	// before the producer's.
	p := &Message{Side: SideProduce, BootID: "a", Start: 100, Written: 200, Acked: 900}
	c := &Message{Side: SideProcess, BootID: "a", Asked: 50, Answered: 700, Handed: 800, End: 1000}
	got := Hop{Produce: p, Consume: c}.Parts()
	if got.Ack != known(500) || got.Backlog != known(0) || got.LongPoll != known(0) {
		t.Fatalf("ack %v, backlog %v, long poll %v; want 500, 0 and 0", got.Ack, got.Backlog, got.LongPoll)
	}
}

func TestTheBrokersStampIsKeptInsideTheRoundTrip(t *testing.T) {
	f := func(appended, want int64) {
		t.Helper()
		p := &Message{Side: SideProduce, Written: 1000, Acked: 2000, Appended: appended}
		if got := (Hop{Produce: p}).Append(); got != want {
			t.Fatalf("Append() with stamp %d = %d; want %d", appended, got, want)
		}
	}
	f(1500, 1500)
	f(900, 1000) // cut to whole milliseconds
	f(5000, 2000)
	f(0, 2000)
}

func TestWhatCrossesTwoHostsIsUnknown(t *testing.T) {
	p := &Message{Side: SideProduce, BootID: "a", Start: 1, Written: 2, Acked: 3}
	for _, boot := range []string{"b", ""} {
		c := &Message{Side: SideProcess, BootID: boot, Asked: 4, Answered: 5, Handed: 6, End: 7}
		got := Hop{Produce: p, Consume: c}.Parts()
		if got.SharedClock || got.Backlog.Known || got.LongPoll.Known || got.EndToEnd.Known {
			t.Fatalf("boot id %q: %+v; want the crossing parts unknown", boot, got)
		}
		if got.FetchQueue != known(1) || got.Processing != known(1) || got.BatchQueue != known(1) {
			t.Fatalf("boot id %q: %+v; want each side's own parts known", boot, got)
		}
	}
}

func TestAnAbsentTimeMakesItsPartsUnknownNeverZero(t *testing.T) {
	if got := (Hop{}).Parts(); got != (HopParts{}) {
		t.Fatalf("Parts() of nothing = %+v", got)
	}
	got := Hop{Produce: &Message{Side: SideProduce, Start: 5}, Consume: &Message{Side: SideReceive, Handed: 9, End: 10}}.Parts()
	if got != (HopParts{}) {
		t.Fatalf("Parts() without times = %+v; want all unknown", got)
	}
}

func TestTilesAlwaysAddUp(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		at := func() int64 { return 1 + r.Int64N(1000) }
		p := &Message{Side: SideProduce, BootID: "a", Start: at(), Written: at(), Acked: at()}
		if r.IntN(2) == 0 {
			p.FirstWritten = at()
		}
		if r.IntN(2) == 0 {
			p.Appended = at()
		}
		c := &Message{Side: SideProcess, BootID: "a", Asked: at(), Answered: at(), Handed: at(), Start: at(), End: at()}
		got := Hop{Produce: p, Consume: c}.Parts()
		sum := got.BatchQueue.Duration + got.Retry.Duration + got.Ack.Duration + got.Backlog.Duration +
			got.LongPoll.Duration + got.FetchQueue.Duration + got.Processing.Duration
		if !got.EndToEnd.Known || sum != got.EndToEnd.Duration {
			t.Fatalf("%+v / %+v: parts sum to %d, end to end is %d", p, c, sum, got.EndToEnd.Duration)
		}
	}
}

func FuzzParseIDs(f *testing.F) {
	f.Add("4bf92f3577b34da6a3ce929d0e0e4736")
	f.Add("00f067aa0ba902b7")
	f.Fuzz(func(t *testing.T, s string) {
		if id, err := ParseTraceID(s); err == nil {
			if again, err := ParseTraceID(id.String()); err != nil || again != id {
				t.Fatalf("%q: %v, %v", s, again, err)
			}
		}
		if id, err := ParseSpanID(s); err == nil {
			if again, err := ParseSpanID(id.String()); err != nil || again != id {
				t.Fatalf("%q: %v, %v", s, again, err)
			}
		}
	})
}
