// Package issuestate holds the rules of an issue's life: which state follows
// when an event is seen, when time passes and when a person acts. It is pure:
// who asks keeps the state (see package metadata) and tells the time.
package issuestate

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/hoptrace/hoptrace/internal/release"
	"github.com/hoptrace/hoptrace/schemas"
)

// How long a state lasts before it becomes ongoing.
const (
	NewFor       = 3 * 24 * time.Hour
	RegressedFor = 7 * 24 * time.Hour
	EscalatesFor = 7 * 24 * time.Hour
)

// Kinds of activity: what the activity log says happened.
const (
	FirstSeen     = "first_seen"
	SetRegression = "set_regression"
	SetOngoing    = "set_ongoing" // by time, or by an archive that ended
	SetEscalating = "set_escalating"
	SetResolved   = "set_resolved"
	SetUnresolved = "set_unresolved"
	SetArchived   = "set_archived"
	SetPriority   = "set_priority"
	Assigned      = "assigned"
	Unassigned    = "unassigned"
	Comment       = "comment"
	Merge         = "merge"   // into this issue
	Merged        = "merged"  // into another
	UnmergeOut    = "unmerge" // hashes went to another issue
	UnmergeIn     = "unmerged"
	DeletedTo     = "deleted"
	DiscardedTo   = "discarded"
)

// Change is one transition, for the activity log.
type Change struct {
	Kind string
	Data map[string]any // small, for JSON
}

// New is the state of an issue that begins.
func New(now time.Time) schemas.IssueState {
	return schemas.IssueState{Status: schemas.StatusUnresolved, Substatus: schemas.SubstatusNew, Since: now.UnixNano()}
}

// Sighting is what a batch saw of the issue.
type Sighting struct {
	LastSeen int64           // Unix ns, of the latest event
	Release  release.Release // its release; the name is empty when it told none
}

// See gives the state after events were seen. changed is false when they change
// nothing: what happened before an issue was resolved or archived never does, so
// that reading old records again wakes nothing.
func See(s schemas.IssueState, seen Sighting, resolvedIn release.Release, now time.Time) (next schemas.IssueState, c Change, changed bool) {
	switch s.Status {
	case schemas.StatusResolved:
		if seen.LastSeen <= s.Resolution.At || !regresses(s.Resolution, seen.Release, resolvedIn) {
			return s, Change{}, false
		}
		next = unresolved(schemas.SubstatusRegressed, now)
		return next, Change{Kind: SetRegression, Data: data("release", seen.Release.Name, "resolvedIn", s.Resolution.Release)}, true
	case schemas.StatusArchived:
		if s.Archive.Kind == schemas.UntilTime && seen.LastSeen >= s.Archive.Until {
			return ended(now), Change{Kind: SetOngoing, Data: data("until", s.Archive.Kind)}, true
		}
	}
	return s, Change{}, false
}

// regresses compares releases. An event that tells none, and releases that have
// no order, are a regression: better one too many than a silent one.
func regresses(r schemas.Resolution, seen, resolvedIn release.Release) bool {
	if r.Kind == schemas.ResolvedNow || seen.Name == "" {
		return true
	}
	c, known := release.Order(seen, resolvedIn)
	if !known {
		return true
	}
	if r.Kind == schemas.ResolvedInNextRelease {
		return c > 0
	}
	return c >= 0
}

// Tick gives the state after time has passed.
func Tick(s schemas.IssueState, now time.Time) (next schemas.IssueState, c Change, changed bool) {
	age := time.Duration(now.UnixNano() - s.Since)
	switch {
	case s.Status == schemas.StatusUnresolved && s.Substatus == schemas.SubstatusNew && age >= NewFor,
		s.Status == schemas.StatusUnresolved && s.Substatus == schemas.SubstatusRegressed && age >= RegressedFor,
		s.Status == schemas.StatusUnresolved && s.Substatus == schemas.SubstatusEscalating && age >= EscalatesFor:
		return unresolved(schemas.SubstatusOngoing, now), Change{Kind: SetOngoing, Data: data("was", s.Substatus)}, true
	case s.Status == schemas.StatusArchived && s.Archive.Kind == schemas.UntilTime && now.UnixNano() >= s.Archive.Until:
		return ended(now), Change{Kind: SetOngoing, Data: data("until", s.Archive.Kind)}, true
	}
	return s, Change{}, false
}

// Escalate gives the state of an archived issue whose count of today has passed
// its forecast.
func Escalate(s schemas.IssueState, count, ceiling uint64, now time.Time) (next schemas.IssueState, c Change, changed bool) {
	if s.Status != schemas.StatusArchived || s.Archive.Kind != schemas.UntilEscalating || count <= ceiling {
		return s, Change{}, false
	}
	return unresolved(schemas.SubstatusEscalating, now), Change{Kind: SetEscalating, Data: data("events", count, "forecast", ceiling)}, true
}

// Count gives the state of an archived issue that has had so many events, or
// users, since it was archived, or within its window.
func Count(s schemas.IssueState, n uint64, now time.Time) (next schemas.IssueState, c Change, changed bool) {
	if s.Status != schemas.StatusArchived || (s.Archive.Kind != schemas.UntilCount && s.Archive.Kind != schemas.UntilUsers) || n < s.Archive.Count {
		return s, Change{}, false
	}
	return ended(now), Change{Kind: SetOngoing, Data: data("until", s.Archive.Kind, "count", n)}, true
}

// Resolve resolves. For ResolvedInNextRelease r.Release is the newest release
// there is. Resolving again in the same way changes nothing.
func Resolve(s schemas.IssueState, r schemas.Resolution) (next schemas.IssueState, c Change, changed bool, err error) {
	switch r.Kind {
	case schemas.ResolvedNow:
		r.Release = ""
	case schemas.ResolvedInRelease, schemas.ResolvedInNextRelease:
		if r.Release == "" {
			return s, Change{}, false, fmt.Errorf("resolve %s: no release is named; name one, or resolve now", r.Kind)
		}
	default:
		return s, Change{}, false, fmt.Errorf("resolution %q: want %s, %s or %s", r.Kind, schemas.ResolvedNow, schemas.ResolvedInRelease, schemas.ResolvedInNextRelease)
	}
	if s.Status == schemas.StatusResolved && s.Resolution.Kind == r.Kind && s.Resolution.Release == r.Release {
		return s, Change{}, false, nil
	}
	next = schemas.IssueState{Status: schemas.StatusResolved, Since: r.At, Resolution: r}
	return next, Change{Kind: SetResolved, Data: data("in", r.Kind, "release", r.Release)}, true, nil
}

// Recovered resolves an open issue because the job that it is about runs well again, as
// of at (Unix ns). What a person resolved or archived meanwhile stays as it is.
func Recovered(s schemas.IssueState, at int64, job, environment string) (next schemas.IssueState, c Change, changed bool) {
	if s.Status != schemas.StatusUnresolved {
		return s, Change{}, false
	}
	next = schemas.IssueState{Status: schemas.StatusResolved, Since: at, Resolution: schemas.Resolution{Kind: schemas.ResolvedNow, At: at}}
	return next, Change{Kind: SetResolved, Data: data("in", schemas.ResolvedNow, "because", "recovered", "monitor", job, "environment", environment)}, true
}

// Unresolve opens a resolved or archived issue again.
func Unresolve(s schemas.IssueState, now time.Time) (next schemas.IssueState, c Change, changed bool) {
	if s.Status == schemas.StatusUnresolved {
		return s, Change{}, false
	}
	return unresolved(schemas.SubstatusOngoing, now), Change{Kind: SetUnresolved, Data: data("was", s.Status)}, true
}

// Bounds of what an archive may wait for.
const (
	MaxArchive = 5 * 365 * 24 * time.Hour
	MaxWindow  = 7 * 24 * time.Hour
	maxCount   = 1 << 40
)

// ErrArchive says what is wrong with an archive.
var ErrArchive = errors.New("bad archive")

// Archived archives. Archiving again in the same way changes nothing.
func Archived(s schemas.IssueState, a schemas.Archive) (next schemas.IssueState, c Change, changed bool, err error) {
	bad := func(format string, args ...any) (schemas.IssueState, Change, bool, error) {
		return s, Change{}, false, fmt.Errorf("%w: %s", ErrArchive, fmt.Sprintf(format, args...))
	}
	substatus := schemas.SubstatusUntilConditionMet
	switch a.Kind {
	case schemas.UntilForever:
		substatus, a.Until, a.Count, a.Window = schemas.SubstatusForever, 0, 0, 0
	case schemas.UntilEscalating:
		substatus, a.Until, a.Count, a.Window = schemas.SubstatusUntilEscalating, 0, 0, 0
	case schemas.UntilTime:
		a.Count, a.Window = 0, 0
		if a.Until <= a.At || a.Until > a.At+int64(MaxArchive) {
			return bad("until must be after now and within 5 years")
		}
	case schemas.UntilCount, schemas.UntilUsers:
		a.Until = 0
		if a.Count < 1 || a.Count > maxCount {
			return bad("count must be from 1 to %d", uint64(maxCount))
		}
		if a.Window != 0 && (a.Window < int64(time.Minute) || a.Window > int64(MaxWindow)) {
			return bad("window must be from a minute to 7 days")
		}
	default:
		return bad("kind %q; want forever, escalating, time, count or users", a.Kind)
	}
	if h := s.Archive; s.Status == schemas.StatusArchived && h.Kind == a.Kind && h.Until == a.Until && h.Count == a.Count && h.Window == a.Window {
		return s, Change{}, false, nil
	}
	next = schemas.IssueState{Status: schemas.StatusArchived, Substatus: substatus, Since: a.At, Archive: a}
	return next, Change{Kind: SetArchived, Data: data("until", a.Kind, "time", a.Until, "count", a.Count, "window", a.Window)}, true, nil
}

func unresolved(substatus string, now time.Time) schemas.IssueState {
	return schemas.IssueState{Status: schemas.StatusUnresolved, Substatus: substatus, Since: now.UnixNano()}
}

// ended is after an archive whose condition was met.
func ended(now time.Time) schemas.IssueState { return unresolved(schemas.SubstatusOngoing, now) }

// data keeps the pairs that say something.
func data(pairs ...any) map[string]any {
	out := make(map[string]any, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		switch v := pairs[i+1].(type) {
		case string:
			if v == "" {
				continue
			}
		case int64:
			if v == 0 {
				continue
			}
		case uint64:
			if v == 0 {
				continue
			}
		}
		out[pairs[i].(string)] = pairs[i+1]
	}
	return out
}

// ForecastDays is how many daily ceilings a forecast has.
const ForecastDays = 14

// forecastHours is the week that a forecast is made from.
const forecastHours = 7 * 24

// Forecast gives the ceilings of the 14 days from first (a day of UTC) on: an
// issue that has more events on one of them escalates. hours are the events of
// each hour of the week before, oldest first; the last one ends where first
// begins. Of an issue younger than a week they are fewer than 168.
//
// The ceiling is ten times the largest hour when there is less than a week.
// Otherwise it is the higher of two limits. A spike of steady traffic: the largest hour times
// 5·e^(-0.65·cv), kept in [2, 5], where cv is deviation over average. A burst: the
// average of the hours, those of the same weekday counted twice, plus the average
// times (average + 5 deviations)/average, kept in [5, 8].
func Forecast(hours []uint64, first time.Time) [ForecastDays]uint64 {
	var out [ForecastDays]uint64
	if len(hours) > forecastHours {
		hours = hours[len(hours)-forecastHours:]
	}
	var most, sum float64
	for _, n := range hours {
		most, sum = max(most, float64(n)), sum+float64(n)
	}
	if len(hours) < forecastHours || sum == 0 {
		// One event wakes nothing that had none.
		for d := range out {
			out[d] = uint64(10 * max(most, 1))
		}
		return out
	}
	average := sum / forecastHours
	var squares float64
	for _, n := range hours {
		squares += (float64(n) - average) * (float64(n) - average)
	}
	deviation := math.Sqrt(squares / forecastHours)
	spike := most * min(max(5*math.Exp(-0.65*deviation/average), 2), 5)
	burst := average * min(max((average+5*deviation)/average, 5), 8)
	begin := first.UTC().Add(-forecastHours * time.Hour)
	for d := range out {
		weekday := first.UTC().AddDate(0, 0, d).Weekday()
		var weighted, weights float64
		for h, n := range hours {
			w := 1.0
			if begin.Add(time.Duration(h)*time.Hour).Weekday() == weekday {
				w = 2
			}
			weighted, weights = weighted+w*float64(n), weights+w
		}
		out[d] = uint64(max(spike, weighted/weights+burst)) // more than 10.4 is at least 11, as more than 10 is
	}
	return out
}
