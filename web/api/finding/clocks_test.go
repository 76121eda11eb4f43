package finding

import (
	"slices"
	"testing"
	"time"
)

func TestClocksAreSummedUpInASentence(t *testing.T) {
	pair := func(host string, offset time.Duration, steps uint64) ClockPair {
		return ClockPair{Host: host, HostID: "id-" + host, Broker: "b:9092", Known: true, Offset: offset, HalfWidth: 1400 * time.Microsecond, Steps: steps}
	}
	const raw = " Stored times are as they were told; offsets are applied when a hop is read."
	f := func(want string, tone Tone, pairs ...ClockPair) {
		t.Helper()
		if got := ForClocks(Clocks{Pairs: pairs}); got.String() != want || got.Tone != tone {
			t.Errorf("got  %s (%s)\nwant %s (%s)", got, got.Tone, want, tone)
		}
	}
	f("Nothing is known of any clock in this time", ToneEmpty)
	f("One host within 2.4ms of the brokers, known to ± 1.4ms or better |"+raw, ToneOK, pair("a", time.Millisecond, 0))
	f("payments-2 is 2.6s behind broker b:9092; every residence of it carries ± 1.4ms |"+raw, ToneWarn, pair("a", time.Millisecond, 0), pair("payments-2", 2600*time.Millisecond, 0))
	f("payments-2 is 2.6s ahead of broker b:9092; every residence of it carries ± 1.4ms | 2 pairs are 100 ms or more apart."+raw, ToneWarn,
		pair("a", time.Second, 0), pair("payments-2", -2600*time.Millisecond, 0))
	f("A clock was stepped between a and broker b:9092: one step |"+raw, ToneWarn, pair("a", 0, 1))
	f("A clock was stepped between b and broker b:9092: 3 steps | b is 1s off broker b:9092."+raw, ToneWarn, pair("a", 0, 1), pair("b", time.Second, 3))
	f("No clock is bounded from both sides now: what crosses two hosts is unknown | One pair has had no sample for two minutes."+raw, ToneWarn,
		ClockPair{Host: "a", HostID: "a", Broker: "b", Stale: true})
	f("2 hosts within 2.4ms of the brokers, known to ± 1.4ms or better | One pair is bounded from one side alone: hops there stay unknown."+raw, ToneOK,
		pair("a", time.Millisecond, 0), ClockPair{Host: "c", HostID: "c", Broker: "b"})
}

func TestWhatIsSaidOfClocksLeadsToThePairs(t *testing.T) {
	got := ForClocks(Clocks{From: "-1h", Pairs: []ClockPair{{Host: "a", HostID: "id-a", Broker: "b", Known: true, Offset: time.Millisecond, HalfWidth: time.Millisecond}}})
	var hrefs []string
	for _, p := range got.Title {
		if p.Href != "" {
			hrefs = append(hrefs, p.Href)
		}
	}
	if want := []string{"/clocks?from=-1h&sort=host", "/clocks?from=-1h&sort=offset", "/clocks?from=-1h&sort=width"}; !slices.Equal(hrefs, want) {
		t.Errorf("%q leads to %q, want %q", got, hrefs, want)
	}
	got = ForClocks(Clocks{Pairs: []ClockPair{{Host: "a", Stale: true}, {Host: "b"}, {Host: "c", Known: true}}})
	hrefs = nil
	for _, p := range got.Text {
		if p.Href != "" {
			hrefs = append(hrefs, p.Href)
		}
	}
	if want := []string{"/clocks?state=one-sided", "/clocks?state=stale"}; !slices.Equal(hrefs, want) {
		t.Errorf("%q leads to %q, want %q", got, hrefs, want)
	}
}
