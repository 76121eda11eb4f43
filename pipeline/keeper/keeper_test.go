package keeper

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/internal/issuestate"
	"github.com/hoptrace/hoptrace/schemas"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	noon     = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	midnight = time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC)
	errDown  = errors.New("the broker is down")
)

// world is the stores and the bus, in memory.
type world struct {
	mu        sync.Mutex
	holder    string
	until     time.Time
	now       func() time.Time
	aging     int // issues that are due
	asleep    []exporters.SleepingIssue
	woken     map[schemas.IssueID]string
	forecasts map[schemas.IssueID]exporters.IssueForecast
	outbox    []exporters.Replacement
	deleted   []exporters.DeletedHash
	removed   []exporters.DeletedHash
	sent      []string
	times     map[schemas.IssueID][]time.Time // of events, each by a user of its own
	broken    map[schemas.IssueID]bool        // cannot be counted
	twins     []exporters.Twin
	looks     []exporters.Range
	tallies   map[schemas.Tally]int
	maxLines  int // of the ledger at once; 0 means no bound
	steps     []string
	takes     func() // what a look for twins takes
	failing   map[string]error
	down      bool
	crash     bool // after sending
}

func (w *world) Lease(_ context.Context, _, holder string, ttl time.Duration) (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now()
	if w.holder != "" && w.holder != holder && now.Before(w.until) {
		return false, nil
	}
	w.holder, w.until = holder, now.Add(ttl)
	return true, nil
}

func (w *world) AgeIssues(_ context.Context, _ time.Time, limit int) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := min(w.aging, limit)
	w.aging -= n
	return n, nil
}

func (w *world) SleepingIssues(_ context.Context, after schemas.IssueID, limit int) ([]exporters.SleepingIssue, error) {
	var out []exporters.SleepingIssue
	for _, s := range w.asleep {
		if s.ID > after && w.woken[s.ID] == "" && len(out) < limit {
			s.Forecast = w.forecasts[s.ID]
			out = append(out, s)
		}
	}
	return out, nil
}

func (w *world) KeepForecast(_ context.Context, id schemas.IssueID, f exporters.IssueForecast) error {
	w.forecasts[id] = f
	return nil
}

func (w *world) CountIssue(_ context.Context, s exporters.SleepingIssue, n, ceiling uint64, now time.Time) (bool, error) {
	next, _, woken := issuestate.Escalate(s.State, n, ceiling, now)
	if !woken {
		next, _, woken = issuestate.Count(s.State, n, now)
	}
	if woken {
		w.woken[s.ID] = next.Substatus
	}
	return woken, nil
}

func (w *world) Replacements(_ context.Context, limit int) ([]exporters.Replacement, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.outbox[:min(len(w.outbox), limit)]), nil
}

func (w *world) ReplacementsSent(_ context.Context, ids []int64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.crash {
		w.crash = false
		return errDown
	}
	w.outbox = slices.DeleteFunc(w.outbox, func(r exporters.Replacement) bool { return slices.Contains(ids, r.ID) })
	return nil
}

func (w *world) DeletedHashes(context.Context, int) ([]exporters.DeletedHash, error) {
	return w.deleted, nil
}

func (w *world) HashesRemoved(_ context.Context, d []exporters.DeletedHash) error {
	w.deleted = w.deleted[len(d):]
	return nil
}

func (w *world) ProduceSync(_ context.Context, rs ...*kgo.Record) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down {
		return errDown
	}
	for _, r := range rs {
		w.sent = append(w.sent, r.Topic+" "+string(r.Key)+" "+string(r.Value))
	}
	return nil
}

func (w *world) RemoveEvents(_ context.Context, d []exporters.DeletedHash) error {
	w.removed = append(w.removed, d...)
	return nil
}

func (w *world) StatsOf(_ context.Context, _ uint64, sets []exporters.EventSet, f exporters.EventFilter) (map[schemas.IssueID]exporters.EventStats, error) {
	id := sets[0].Issue
	if w.broken[id] {
		return nil, errDown
	}
	n := uint64(0)
	for _, at := range w.times[id] {
		if !at.Before(f.Range.From) && at.Before(f.Range.To) {
			n++
		}
	}
	return map[schemas.IssueID]exporters.EventStats{id: {Events: n, Users: n}}, nil
}

func (w *world) HourlyOf(_ context.Context, _ uint64, sets []exporters.EventSet, begin time.Time, hours int) (map[schemas.IssueID][]uint64, error) {
	out := make([]uint64, hours)
	for _, at := range w.times[sets[0].Issue] {
		if h := at.Sub(begin) / time.Hour; !at.Before(begin) && int(h) < hours {
			out[h]++
		}
	}
	return map[schemas.IssueID][]uint64{sets[0].Issue: out}, nil
}

func (w *world) MostWithin(_ context.Context, _ uint64, set exporters.EventSet, from time.Time, window time.Duration, _ bool) (uint64, error) {
	most := 0
	for _, end := range w.times[set.Issue] {
		n := 0
		for _, at := range w.times[set.Issue] {
			if !at.Before(from) && at.After(end.Add(-window)) && !at.After(end) {
				n++
			}
		}
		most = max(most, n)
	}
	return uint64(most), nil //nolint:gosec // a count
}

func (w *world) EventsOf(context.Context, uint64, exporters.EventSet, exporters.EventPage) ([]schemas.Event, error) {
	panic("the keeper lists no events")
}

func (w *world) TagsOf(context.Context, uint64, exporters.EventSet, exporters.EventFilter, int) ([]exporters.EventTag, error) {
	panic("the keeper counts no tags")
}

func (w *world) HashesWith(context.Context, uint64, exporters.EventFilter, int) ([]schemas.Fingerprint, bool, error) {
	panic("the keeper searches no events")
}

func newWorld() *world {
	return &world{
		now: func() time.Time { return noon }, woken: map[schemas.IssueID]string{}, forecasts: map[schemas.IssueID]exporters.IssueForecast{},
		tallies: map[schemas.Tally]int{}, failing: map[string]error{}, times: map[schemas.IssueID][]time.Time{}, broken: map[schemas.IssueID]bool{},
	}
}

func newKeeper(t *testing.T, w *world) *Keeper {
	t.Helper()
	k, err := New(Config{}, Deps{Issues: w, Events: w, Twins: w, Ledger: w, Producer: w}, prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	k.now = func() time.Time { return w.now() }
	return k
}

func round(t *testing.T, k *Keeper) error {
	t.Helper()
	var next time.Time
	return k.round(t.Context(), &next)
}

// sleeper is an issue that was archived an hour ago.
func sleeper(id schemas.IssueID, seen time.Time, a schemas.Archive) exporters.SleepingIssue {
	a.At = noon.Add(-time.Hour).UnixNano()
	return exporters.SleepingIssue{
		ID: id, Project: 1, FirstSeen: seen.UnixNano(), Hashes: []exporters.IssueHash{{Hash: schemas.Fingerprint{byte(id)}}},
		State: schemas.IssueState{Status: schemas.StatusArchived, Archive: a},
	}
}

func (w *world) happened(id schemas.IssueID, n int, from time.Time, every time.Duration) {
	for i := range n {
		w.times[id] = append(w.times[id], from.Add(time.Duration(i)*every))
	}
}

func TestArchivedIssueEscalatesAboveItsForecast(t *testing.T) {
	w := newWorld()
	k := newKeeper(t, w)
	month := noon.Add(-30 * 24 * time.Hour)
	w.asleep = []exporters.SleepingIssue{
		sleeper(1, month, schemas.Archive{Kind: schemas.UntilEscalating}),
		sleeper(2, month, schemas.Archive{Kind: schemas.UntilEscalating}),
		sleeper(3, midnight.Add(-48*time.Hour), schemas.Archive{Kind: schemas.UntilEscalating}),
		sleeper(4, midnight.Add(5*time.Hour), schemas.Archive{Kind: schemas.UntilEscalating}),
		sleeper(5, noon.Add(-90*time.Minute), schemas.Archive{Kind: schemas.UntilEscalating}), // of today
	}
	w.asleep[4].State.Archive.At = noon.Add(-50 * time.Minute).UnixNano() // within an hour
	for id := schemas.IssueID(1); id <= 2; id++ {
		w.happened(id, 168*10, midnight.Add(-168*time.Hour), 6*time.Minute) // ten an hour: the ceiling is 60
	}
	w.happened(1, 60, noon.Add(-30*time.Minute), time.Second)
	w.happened(2, 61, noon.Add(-30*time.Minute), time.Second)
	w.happened(3, 7, midnight.Add(-10*time.Hour), time.Minute) // less than a week: ten times the largest hour
	w.happened(3, 70, noon.Add(-30*time.Minute), time.Second)
	w.happened(4, 500, midnight.Add(6*time.Hour), time.Second) // before it was archived
	w.happened(5, 3, noon.Add(-55*time.Minute), time.Second)
	w.happened(5, 31, noon.Add(-30*time.Minute), time.Second) // a burst after it
	if err := round(t, k); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[schemas.IssueID]string{2: schemas.SubstatusEscalating, 5: schemas.SubstatusEscalating}, w.woken); d != "" {
		t.Errorf("woken: got + want -:\n%s", d)
	}
	want := map[schemas.IssueID]uint64{1: 60, 2: 60, 3: 70, 4: 5000, 5: 30}
	for id, ceiling := range want {
		f := w.forecasts[id]
		if f.First != midnight.UnixNano() || len(f.Ceilings) != 14 || f.Ceilings[0] != ceiling {
			t.Errorf("forecast of issue %d: %+v, want 14 days from midnight with a ceiling of %d", id, f, ceiling)
		}
	}

	// The forecast stays for a week, and what comes on another day counts anew.
	w.now = func() time.Time { return noon.Add(24 * time.Hour) }
	w.happened(1, 61, midnight.Add(24*time.Hour), time.Second)
	if err := round(t, k); err != nil {
		t.Fatal(err)
	}
	if w.woken[1] == "" || w.forecasts[1].First != midnight.UnixNano() {
		t.Errorf("the next day: woken %v, forecast %+v", w.woken, w.forecasts[1])
	}
	w.now = func() time.Time { return noon.Add(7 * 24 * time.Hour) }
	if err := round(t, k); err != nil {
		t.Fatal(err)
	}
	if w.forecasts[3].First != midnight.Add(7*24*time.Hour).UnixNano() {
		t.Errorf("after a week the forecast is of %v", time.Unix(0, w.forecasts[3].First).UTC())
	}
}

func TestArchivedIssueWakesByCountsUsersAndWindows(t *testing.T) {
	w := newWorld()
	k := newKeeper(t, w)
	w.asleep = []exporters.SleepingIssue{
		sleeper(1, noon, schemas.Archive{Kind: schemas.UntilCount, Count: 10}),
		sleeper(2, noon, schemas.Archive{Kind: schemas.UntilCount, Count: 10}),
		sleeper(3, noon, schemas.Archive{Kind: schemas.UntilUsers, Count: 5}),
		sleeper(4, noon, schemas.Archive{Kind: schemas.UntilCount, Count: 5, Window: int64(time.Minute)}),
		sleeper(5, noon, schemas.Archive{Kind: schemas.UntilUsers, Count: 5, Window: int64(time.Minute)}),
		sleeper(6, noon, schemas.Archive{Kind: schemas.UntilCount, Count: 1}),
	}
	w.happened(1, 100, noon.Add(-3*time.Hour), time.Second) // before it was archived
	w.happened(1, 9, noon.Add(-30*time.Minute), time.Second)
	w.happened(2, 10, noon.Add(-30*time.Minute), time.Second)
	w.happened(3, 5, noon.Add(-30*time.Minute), time.Second)
	w.happened(4, 50, noon.Add(-50*time.Minute), 15*time.Second) // four a minute
	w.happened(5, 5, noon.Add(-50*time.Minute), 14*time.Second)
	w.happened(6, 9, noon.Add(-50*time.Minute), time.Second)
	w.broken[1] = true // does not keep the others from waking
	if err := round(t, k); !errors.Is(err, errDown) {
		t.Errorf("round with an issue that cannot be counted = %v, want %v", err, errDown)
	}
	on := schemas.SubstatusOngoing
	if d := cmp.Diff(map[schemas.IssueID]string{2: on, 3: on, 5: on, 6: on}, w.woken); d != "" {
		t.Errorf("woken: got + want -:\n%s", d)
	}
}

func TestReplacementsAreSentInOrderAtLeastOnce(t *testing.T) {
	w := newWorld()
	k := newKeeper(t, w)
	for i := range 3 {
		w.outbox = append(w.outbox, exporters.Replacement{ID: int64(i), Project: 7, Value: []byte{byte('a' + i)}})
	}
	w.down = true
	if err := round(t, k); !errors.Is(err, errDown) || len(w.outbox) != 3 {
		t.Fatalf("round without a broker = %v with %d left, want %v with all", err, len(w.outbox), errDown)
	}
	w.down, w.crash = false, true
	if err := round(t, k); err == nil {
		t.Fatal("round that crashed succeeded")
	}
	if err := round(t, k); err != nil {
		t.Fatal(err)
	}
	one := []string{"event-replacements 7 a", "event-replacements 7 b", "event-replacements 7 c"}
	if d := cmp.Diff(append(one, one...), w.sent); d != "" || len(w.outbox) != 0 {
		t.Errorf("sent: got + want -:\n%s; %d left", d, len(w.outbox))
	}
}

func TestDeletedEventsAreRemovedAndIssuesAge(t *testing.T) {
	w := newWorld()
	k := newKeeper(t, w)
	w.deleted = []exporters.DeletedHash{{Project: 1, Hash: schemas.Fingerprint{1}, Before: 5}}
	w.aging = 2*step + 1
	if err := round(t, k); err != nil {
		t.Fatal(err)
	}
	if len(w.removed) != 1 || len(w.deleted) != 0 || w.aging != 0 {
		t.Errorf("removed %v, left %v, still due %d", w.removed, w.deleted, w.aging)
	}
}

func TestOneProcessKeepsAndAnotherTakesOverWhenItStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.now = time.Now
		a, b := newKeeper(t, w), newKeeper(t, w)
		add := func(id int64) {
			w.mu.Lock()
			w.outbox = append(w.outbox, exporters.Replacement{ID: id, Value: []byte("x")})
			w.mu.Unlock()
		}
		holder := func() string { w.mu.Lock(); defer w.mu.Unlock(); return w.holder }
		left := func() int { w.mu.Lock(); defer w.mu.Unlock(); return len(w.outbox) }
		add(1)
		if err := a.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if err := b.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if holder() != a.holder || left() != 0 {
			t.Errorf("after a minute b holds the lease: %v; %d left", holder() == b.holder, left())
		}
		if err := a.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		add(2)
		time.Sleep(3 * time.Second)
		if holder() != b.holder || left() != 0 {
			t.Errorf("after a stopped b holds the lease: %v; %d left", holder() == b.holder, left())
		}
		if err := a.Start(t.Context()); err == nil {
			t.Error("a was started again")
		}
		for range 2 {
			if err := b.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestKeeperNamesWhatItLacks(t *testing.T) {
	if _, err := New(Config{}, Deps{}, prometheus.NewRegistry(), slog.New(slog.DiscardHandler)); err == nil {
		t.Error("New without stores succeeded")
	}
}
