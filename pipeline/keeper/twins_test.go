package keeper

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/pipeline/ledger"
	"github.com/hoptrace/hoptrace/schemas"
)

func (w *world) Twins(_ context.Context, r exporters.Range, limit int) ([]exporters.Twin, error) {
	w.looks = append(w.looks, r)
	if w.takes != nil {
		w.takes()
	}
	var out []exporters.Twin
	for _, t := range w.twins {
		if t.Time >= r.From.UnixNano() && t.Time < r.To.UnixNano() && len(out) < limit {
			out = append(out, t)
		}
	}
	return out, w.failing["look"]
}

func (w *world) RemoveTwins(_ context.Context, twins []exporters.Twin) error {
	if err := w.failing["remove"]; err != nil {
		return err
	}
	w.steps = append(w.steps, "remove")
	w.twins = slices.DeleteFunc(w.twins, func(t exporters.Twin) bool { return slices.Contains(twins, t) })
	return nil
}

func (w *world) WriteTallies(_ context.Context, lines []schemas.Tally) error {
	if w.maxLines > 0 && len(lines) > w.maxLines {
		return exporters.ErrTooLarge
	}
	if err := w.failing["tell"]; err != nil {
		return err
	}
	w.steps = append(w.steps, "tell")
	for _, l := range lines {
		w.tallies[l]++
	}
	return nil
}

func twinsOf(n int, at time.Time) (out []exporters.Twin) {
	for i := range n {
		out = append(out, exporters.Twin{Project: 1, ID: schemas.EventID{0: 1, 13: byte(i >> 8), 14: byte(i)}, Time: at.UnixNano(), Received: at.UnixNano() + int64(i)})
	}
	return out
}

// wantTold checks that the ledger has the lines of these and no others.
func (w *world) wantTold(t *testing.T, twins []exporters.Twin) {
	t.Helper()
	var want []schemas.Tally
	for i := range twins {
		want = ledger.Twin(want, &twins[i])
	}
	for _, l := range want {
		if w.tallies[l] == 0 {
			t.Errorf("the ledger lacks %+v", l)
		}
	}
	if len(w.tallies) != len(want) {
		t.Errorf("the ledger has %d lines, want %d", len(w.tallies), len(want))
	}
}

func TestTwinsAreToldAndThenRemovedAStepARound(t *testing.T) {
	w := newWorld()
	k := newKeeper(t, w)
	all := twinsOf(step+5, noon.Add(-time.Minute))
	w.twins = slices.Clone(all)
	if err := round(t, k); err != nil {
		t.Fatal(err)
	}
	if len(w.twins) != 5 {
		t.Errorf("%d are left after a round, want 5", len(w.twins))
	}
	if err := round(t, k); err != nil { // at once, since there were more
		t.Fatal(err)
	}
	if len(w.twins) != 0 || !slices.Equal(w.steps, []string{"tell", "remove", "tell", "remove"}) {
		t.Errorf("%d are left; the steps were %v", len(w.twins), w.steps)
	}
	w.wantTold(t, all)
}

func TestTwinsAreLookedForSoonAndThroughAllOfTheLastDay(t *testing.T) {
	w := newWorld()
	k := newKeeper(t, w)
	now := noon
	w.now = func() time.Time { return now }
	near, hours := 0, map[int]int{}
	for ; now.Before(noon.Add(48 * time.Minute)); now = now.Add(2 * time.Second) {
		w.looks = nil
		if err := round(t, k); err != nil {
			t.Fatal(err)
		}
		for _, r := range w.looks {
			if now.Sub(r.From) == twinsSince && r.To.Equal(now.Add(twinsAhead)) {
				near++
				continue
			}
			hour := int(now.Sub(r.From)/time.Hour) - 2
			if now.Sub(r.From)%time.Hour != 0 || hour > 0 && r.To.Sub(r.From) != 2*time.Hour || hour == 0 && !r.To.Equal(now.Add(twinsAhead)) {
				t.Fatalf("a look over %v at %v", r, now)
			}
			hours[hour]++
		}
	}
	if near != 6*48 {
		t.Errorf("%d looks at what is new in 48 minutes, want one each ten seconds", near)
	}
	for hour := range 24 {
		if hours[hour] != 2 {
			t.Errorf("%d looks at hour %d, want 2: %v", hours[hour], hour, hours)
		}
	}
}

func TestLooksThatTakeLongAreSeldom(t *testing.T) {
	f := func(look time.Duration, failing bool, least, most float64) {
		t.Helper()
		w := newWorld()
		k := newKeeper(t, w)
		now, took := noon, time.Duration(0)
		w.now = func() time.Time { return now }
		w.takes = func() { now, took = now.Add(look), took+look }
		if failing {
			w.failing["look"] = errDown
		}
		for now.Before(noon.Add(10 * time.Hour)) {
			_ = round(t, k)
			now = now.Add(2 * time.Second)
		}
		if share := float64(took) / float64(now.Sub(noon)); share < least || share > most {
			t.Errorf("looks of %v, failing %v, took %.4f of the time; want %v to %v", look, failing, share, least, most)
		}
	}
	f(10*time.Millisecond, false, 0.0009, 0.0012)
	f(time.Second, false, 0.018, 0.021) // those at what is new and those at the last day a hundredth each
	f(time.Second, true, 0.018, 0.021)
	f(time.Minute, false, 0.1, 0.25)
}

func TestAFailureOnTheWayRemovesNothingUntoldAndIsTriedAgain(t *testing.T) {
	for _, what := range []string{"look", "tell", "remove"} {
		w := newWorld()
		k := newKeeper(t, w)
		now := noon
		w.now = func() time.Time { return now }
		w.aging = 1
		all := twinsOf(3, noon.Add(-5*time.Minute))
		w.twins = slices.Clone(all)
		w.failing[what] = errDown
		if err := round(t, k); !errors.Is(err, errDown) {
			t.Errorf("%s fails: the round says %v", what, err)
		}
		if len(w.twins) != 3 || w.aging != 0 {
			t.Errorf("%s fails: %d twins and %d other things are left, want all twins and nothing else", what, len(w.twins), w.aging)
		}
		delete(w.failing, what)
		now = now.Add(twinsAgain)
		if err := round(t, k); err != nil {
			t.Fatal(err)
		}
		if len(w.twins) != 0 {
			t.Errorf("%s failed once: %d twins are left a minute later", what, len(w.twins))
		}
		w.wantTold(t, all)
	}
}

func TestTheLedgerTakesLinesInParts(t *testing.T) {
	w := newWorld()
	w.maxLines = 3
	k := newKeeper(t, w)
	all := twinsOf(20, noon)
	w.twins = slices.Clone(all)
	if err := round(t, k); err != nil {
		t.Fatal(err)
	}
	w.wantTold(t, all)
	if len(w.steps) < 14 {
		t.Errorf("steps were %v", w.steps)
	}
}
