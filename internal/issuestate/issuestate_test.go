package issuestate

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hoptrace/hoptrace/internal/release"
	"github.com/hoptrace/hoptrace/schemas"
)

var now = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

func at(d time.Duration) int64 { return now.Add(d).UnixNano() }

func resolved(kind, name string) schemas.IssueState {
	return schemas.IssueState{Status: schemas.StatusResolved, Since: at(0), Resolution: schemas.Resolution{Kind: kind, Release: name, At: at(0)}}
}

func archived(a schemas.Archive) schemas.IssueState {
	s, _, _, err := Archived(New(now), a)
	if err != nil {
		panic(err)
	}
	return s
}

func TestEventOnAResolvedIssueIsARegressionWhenItsReleaseShouldHaveTheRepair(t *testing.T) {
	f := func(s schemas.IssueState, after time.Duration, seen, in release.Release, want bool) {
		t.Helper()
		next, c, changed := See(s, Sighting{LastSeen: at(after), Release: seen}, in, now.Add(time.Hour))
		if changed != want {
			t.Fatalf("See(%+v, %v after, %v) changed %v, want %v", s.Resolution, after, seen, changed, want)
		}
		if !want {
			if d := cmp.Diff(s, next); d != "" {
				t.Errorf("state changed: %s", d)
			}
			return
		}
		if next.Status != schemas.StatusUnresolved || next.Substatus != schemas.SubstatusRegressed || next.Since != at(time.Hour) || next.Resolution.Kind != "" || c.Kind != SetRegression {
			t.Errorf("See = %+v, %+v; want a regression", next, c)
		}
	}
	r := func(name string, created int64) release.Release { return release.Release{Name: name, Created: created} }
	f(resolved(schemas.ResolvedNow, ""), time.Second, r("", 0), r("", 0), true)
	f(resolved(schemas.ResolvedNow, ""), 0, r("", 0), r("", 0), false)                   // it happened before
	f(resolved(schemas.ResolvedNow, ""), -time.Second, r("a@9.0.0", 1), r("", 0), false) // read again after a crash
	in, next := resolved(schemas.ResolvedInRelease, "a@1.2.0"), resolved(schemas.ResolvedInNextRelease, "a@1.2.0")
	fix := r("a@1.2.0", 10)
	f(in, time.Second, r("a@1.1.9+77", 99), fix, false)
	f(in, time.Second, r("a@1.2.0", 99), fix, true)
	f(in, time.Second, r("a@1.2.0+1", 99), fix, true)
	f(in, time.Second, r("a@1.10.0", 1), fix, true)
	f(next, time.Second, r("a@1.2.0", 99), fix, false)
	f(next, time.Second, r("a@1.2.1-rc.1", 1), fix, true)
	f(next, -time.Second, r("a@1.2.1", 1), fix, false)
	f(in, time.Second, r("", 0), fix, true)
	// Hashes of commits: by creation.
	f(in, time.Second, r("4f2c9ab", 9), r("b1946ac", 10), false)
	f(in, time.Second, r("4f2c9ab", 11), r("b1946ac", 10), true)
	f(in, time.Second, r("4f2c9ab", 0), r("b1946ac", 10), true) // nobody knows: rather one too many
}

func TestArchivedIssueSleepsUntilItsConditionIsMet(t *testing.T) {
	f := func(a schemas.Archive, substatus string) {
		t.Helper()
		a.At = at(0)
		s := archived(a)
		if s.Status != schemas.StatusArchived || s.Substatus != substatus {
			t.Errorf("Archived(%+v) = %+v, want substatus %s", a, s, substatus)
		}
		if _, _, changed := See(s, Sighting{LastSeen: at(time.Minute)}, release.Release{}, now.Add(time.Minute)); changed {
			t.Errorf("an event a minute later woke %+v", a)
		}
		if again, _, changed, err := Archived(s, s.Archive); changed || err != nil || again != s {
			t.Errorf("archiving %+v again changed it (error %v)", a, err)
		}
		_, _, woken := Tick(s, now.Add(2*time.Hour))
		if want := a.Kind == schemas.UntilTime; woken != want {
			t.Errorf("two hours woke %+v: %v, want %v", a, woken, want)
		}
		_, _, woken = See(s, Sighting{LastSeen: at(2 * time.Hour)}, release.Release{}, now.Add(2*time.Hour))
		if want := a.Kind == schemas.UntilTime; woken != want {
			t.Errorf("an event after two hours woke %+v: %v, want %v", a, woken, want)
		}
		_, _, woken = Count(s, 10, now)
		if want := a.Kind == schemas.UntilCount || a.Kind == schemas.UntilUsers; woken != want {
			t.Errorf("ten events woke %+v: %v, want %v", a, woken, want)
		}
		if _, _, woken = Count(s, 9, now); woken {
			t.Errorf("nine of ten woke %+v", a)
		}
		next, _, woken := Escalate(s, 11, 10, now)
		if want := a.Kind == schemas.UntilEscalating; woken != want || woken && next.Substatus != schemas.SubstatusEscalating {
			t.Errorf("more events than forecast woke %+v: %v, want %v", a, woken, want)
		}
		if _, _, woken = Escalate(s, 10, 10, now); woken {
			t.Errorf("as many events as forecast woke %+v", a)
		}
	}
	f(schemas.Archive{Kind: schemas.UntilForever}, schemas.SubstatusForever)
	f(schemas.Archive{Kind: schemas.UntilEscalating}, schemas.SubstatusUntilEscalating)
	f(schemas.Archive{Kind: schemas.UntilTime, Until: at(time.Hour)}, schemas.SubstatusUntilConditionMet)
	f(schemas.Archive{Kind: schemas.UntilCount, Count: 10, Window: int64(time.Hour)}, schemas.SubstatusUntilConditionMet)
	f(schemas.Archive{Kind: schemas.UntilUsers, Count: 10}, schemas.SubstatusUntilConditionMet)
}

func TestBadArchivesAndResolutionsAreRefused(t *testing.T) {
	for _, a := range []schemas.Archive{
		{},
		{Kind: "never"},
		{Kind: schemas.UntilTime, Until: at(0)},
		{Kind: schemas.UntilTime, Until: at(MaxArchive + 1)},
		{Kind: schemas.UntilCount},
		{Kind: schemas.UntilUsers, Count: math.MaxUint64},
		{Kind: schemas.UntilCount, Count: 1, Window: 1},
		{Kind: schemas.UntilCount, Count: 1, Window: int64(MaxWindow + 1)},
	} {
		a.At = at(0)
		if _, _, _, err := Archived(New(now), a); !errors.Is(err, ErrArchive) {
			t.Errorf("Archived(%+v): got error %v, want %v", a, err, ErrArchive)
		}
	}
	for _, r := range []schemas.Resolution{{}, {Kind: "soon"}, {Kind: schemas.ResolvedInRelease}, {Kind: schemas.ResolvedInNextRelease}} {
		if _, _, _, err := Resolve(New(now), r); err == nil {
			t.Errorf("Resolve(%+v) succeeded", r)
		}
	}
}

func TestStatesBecomeOngoingWithTime(t *testing.T) {
	f := func(s schemas.IssueState, after time.Duration) {
		t.Helper()
		if _, _, changed := Tick(s, now.Add(after-1)); changed {
			t.Errorf("%s became ongoing before %v", s.Substatus, after)
		}
		next, c, changed := Tick(s, now.Add(after))
		if !changed || next.Substatus != schemas.SubstatusOngoing || c.Data["was"] != s.Substatus {
			t.Errorf("Tick of %s after %v = %+v, %+v, %v; want ongoing", s.Substatus, after, next, c, changed)
		}
		if _, _, changed := Tick(next, now.Add(1000*24*time.Hour)); changed {
			t.Error("ongoing changed with time")
		}
	}
	f(New(now), NewFor)
	f(unresolved(schemas.SubstatusRegressed, now), RegressedFor)
	f(unresolved(schemas.SubstatusEscalating, now), EscalatesFor)
	if _, _, changed := Tick(resolved(schemas.ResolvedNow, ""), now.Add(1000*24*time.Hour)); changed {
		t.Error("a resolved issue changed with time")
	}
}

func TestActionsAreIdempotent(t *testing.T) {
	s := New(now)
	if _, _, changed := Unresolve(s, now.Add(1)); changed {
		t.Error("an unresolved issue was unresolved")
	}
	r := schemas.Resolution{Kind: schemas.ResolvedInRelease, Release: "1.2", At: at(1), By: "ada"}
	s, c, changed, err := Resolve(s, r)
	if err != nil || !changed || c.Kind != SetResolved || c.Data["release"] != "1.2" {
		t.Fatalf("Resolve = %+v, %v, %v", c, changed, err)
	}
	r.At, r.By = at(2), "bob"
	if again, _, changed, err := Resolve(s, r); err != nil || changed || again != s {
		t.Errorf("resolving again = %+v, %v, %v; want it as it was", again, changed, err)
	}
	r.Release = "1.3"
	if _, _, changed, _ := Resolve(s, r); !changed {
		t.Error("resolving in another release changed nothing")
	}
	s, c, changed = Unresolve(s, now.Add(3))
	if !changed || s.Substatus != schemas.SubstatusOngoing || c.Data["was"] != schemas.StatusResolved {
		t.Errorf("Unresolve = %+v, %+v, %v", s, c, changed)
	}
}

func TestAJobThatRecoversResolvesWhatIsOpenAndNothingElse(t *testing.T) {
	s, c, changed := Recovered(New(now), at(5), "nightly", "production")
	if !changed || s.Status != schemas.StatusResolved || s.Resolution.At != at(5) || s.Since != at(5) || c.Kind != SetResolved || c.Data["because"] != "recovered" || c.Data["monitor"] != "nightly" || c.Data["environment"] != "production" {
		t.Fatalf("Recovered = %+v, %+v, %v", s, c, changed)
	}
	if _, _, changed := See(s, Sighting{LastSeen: at(5)}, release.Release{}, now); changed {
		t.Error("what was before it opened it again")
	}
	if next, c, changed := See(s, Sighting{LastSeen: at(6)}, release.Release{}, now); !changed || next.Substatus != schemas.SubstatusRegressed {
		t.Errorf("the next failure = %+v, %+v, %v; want regressed", next, c, changed)
	}
	archived, _, _, err := Archived(New(now), schemas.Archive{Kind: schemas.UntilForever, At: at(1)})
	if err != nil {
		t.Fatal(err)
	}
	for _, was := range []schemas.IssueState{s, archived} {
		if next, _, changed := Recovered(was, at(9), "nightly", "production"); changed || next != was {
			t.Errorf("Recovered of what is %s = %+v; want it as it was", was.Status, next)
		}
	}
}

func TestForecastFollowsTheTwoLimits(t *testing.T) {
	week := func(f func(h int) uint64) []uint64 {
		out := make([]uint64, forecastHours)
		for h := range out {
			out[h] = f(h)
		}
		return out
	}
	first := time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC) // a Monday
	f := func(name string, hours []uint64, day int, want uint64) {
		t.Helper()
		if got := Forecast(hours, first)[day]; got != want {
			t.Errorf("%s: ceiling of day %d is %d, want %d", name, day, got, want)
		}
	}
	f("nothing", nil, 0, 10)
	f("a silent week", week(func(int) uint64 { return 0 }), 13, 10)
	f("less than a week", []uint64{1, 7, 3}, 5, 70)
	// Steady: no deviation. Spike 10 × 5 = 50; burst 10 + 10 × 5 = 60.
	f("steady", week(func(int) uint64 { return 10 }), 0, 60)
	// One hour of 168: average 1, deviation √167 = 12.92, cv 12.92: spike 168 × 2 = 336;
	// burst: average + 8 = 9 at least.
	f("one spike", week(func(h int) uint64 {
		if h == 5 {
			return 168
		}
		return 0
	}), 3, 336)
	// Mondays (the first 24 hours) have 24 an hour, the others 4: average 48/7, weighted on Mondays
	// (48×24 + 144×4)/192 = 9, deviation 6.9985, cv 1.0206: spike 24 × 5·e^(-0.6634) = 61.81; burst
	// average × min(1+5×1.0206, 8) = 41.85, so 50.85 and the spike wins.
	monday := week(func(h int) uint64 {
		if h < 24 {
			return 24
		}
		return 4
	})
	f("a busy Monday", monday, 0, 61)
	f("a busy Monday, the next one", monday, 7, 61)
	// 20 on Mondays, 16 else: the burst wins, and is higher on Mondays. Average 16.571, deviation 1.3997,
	// cv 0.08447: spike 20 × 5·e^(-0.0549) = 94.66; factor 1+0.4223 → 5: 82.86 + 17 = 99.86, else 82.86 + 16.5 = 99.36.
	mild := week(func(h int) uint64 {
		if h < 24 {
			return 200
		}
		return 160
	})
	f("a mild Monday", mild, 0, 998)
	f("a mild Tuesday", mild, 1, 993)
}
