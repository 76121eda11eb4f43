package exportertest

import (
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// Sessions is what SessionStore tests.
type Sessions interface {
	exporters.SessionWriter
	exporters.SessionReader
}

// SessionStore is the suite of SessionWriter and SessionReader. open gives an empty
// store.
func SessionStore(t *testing.T, open func(t *testing.T) Sessions) {
	run := func(name string, f func(t *testing.T, s Sessions)) {
		t.Run(name, func(t *testing.T) { f(t, open(t)) })
	}
	run("UpdatesOfASessionCountOnceAndTheLatestWins", sessionUpdates)
	run("HealthIsByReleaseAndEnvironment", sessionReleases)
	run("HealthOverTimeIsInSteps", sessionSteps)
	run("NoSessionsAreNoHealth", func(t *testing.T, s Sessions) {
		got, all, err := s.ReleaseHealth(testContext(t), exporters.SessionQuery{Project: 1})
		noError(t, "ReleaseHealth", err)
		equal(t, "releases", got, []exporters.ReleaseHealth(nil))
		equal(t, "all", all, exporters.SessionCounts{})
		noError(t, "WriteSessions of nothing", s.WriteSessions(testContext(t), nil))
	})
}

func session(n byte, seq uint64, status schemas.SessionStatus, at time.Time) schemas.Session {
	return schemas.Session{
		Project: 1, ID: [16]byte{n}, Seq: seq, Release: "shop@1", Environment: "production", Started: at.UnixNano(), Received: at.UnixNano() + int64(seq), Status: status,
		Duration: -1, User: uint64(n), Init: seq == 0, Quantity: 1, Source: 1, Position: schemas.Position{Offset: int64(n)*100 + int64(seq)},
	}
}

func minute() time.Time { return base().Add(-time.Hour).Truncate(time.Minute) }

func sessionUpdates(t *testing.T, s Sessions) {
	ctx, at := testContext(t), minute()
	errored := session(3, 1, schemas.SessionExited, at)
	errored.Errors = 4
	all := []schemas.Session{
		session(1, 0, schemas.SessionOK, at), session(1, 2, schemas.SessionCrashed, at), session(1, 1, schemas.SessionOK, at), // out of order
		session(2, 0, schemas.SessionOK, at), session(2, 1, schemas.SessionExited, at),
		session(3, 0, schemas.SessionOK, at), errored,
		session(4, 0, schemas.SessionUnhandled, at), session(5, 0, schemas.SessionAbnormal, at),
	}
	for i := range all { // in as many writes, and all again as a replay does
		noError(t, "WriteSessions", s.WriteSessions(ctx, all[i:i+1]))
	}
	noError(t, "WriteSessions again", s.WriteSessions(ctx, all))
	anonymous := session(6, 0, schemas.SessionCrashed, at)
	anonymous.User, anonymous.Quantity = 0, 10
	noError(t, "WriteSessions", s.WriteSessions(ctx, []schemas.Session{anonymous}))
	got, total, err := s.ReleaseHealth(ctx, exporters.SessionQuery{Project: 1})
	noError(t, "ReleaseHealth", err)
	want := exporters.SessionCounts{Sessions: 15, Crashed: 11, Abnormal: 1, Unhandled: 1, Errored: 1, Users: 5, CrashedUsers: 1}
	equal(t, "all", total, want)
	equal(t, "releases", got, []exporters.ReleaseHealth{{Release: "shop@1", FirstSeen: at.UnixNano(), LastSeen: at.UnixNano(), SessionCounts: want}})
}

func sessionReleases(t *testing.T, s Sessions) {
	ctx, at := testContext(t), minute()
	second := session(2, 0, schemas.SessionExited, at.Add(time.Minute))
	second.Release, second.Environment = "sho'p@2 ☃", "staging"
	third := session(3, 0, schemas.SessionExited, at.Add(-48*time.Hour))
	other := session(4, 0, schemas.SessionCrashed, at)
	other.Project = 2
	noError(t, "WriteSessions", s.WriteSessions(ctx, []schemas.Session{session(1, 0, schemas.SessionCrashed, at), second, third, other}))
	f := func(q exporters.SessionQuery, total uint64, want ...string) []exporters.ReleaseHealth {
		t.Helper()
		q.Project = 1
		got, all, err := s.ReleaseHealth(ctx, q)
		noError(t, "ReleaseHealth", err)
		var names []string
		for _, r := range got {
			names = append(names, r.Release)
		}
		equal(t, "releases", names, want)
		equal(t, "sessions of all", all.Sessions, total)
		return got
	}
	f(exporters.SessionQuery{}, 3, second.Release, "shop@1")
	f(exporters.SessionQuery{Limit: 1}, 3, second.Release)
	f(exporters.SessionQuery{Environment: "staging"}, 1, second.Release)
	f(exporters.SessionQuery{Release: "shop@1"}, 2, "shop@1")
	got := f(exporters.SessionQuery{Range: exporters.Range{From: at, To: at.Add(time.Minute)}}, 1, "shop@1")
	if len(got) == 1 && (got[0].FirstSeen != third.Started || got[0].LastSeen != at.UnixNano()) {
		t.Errorf("shop@1 was seen from %d to %d, want from %d to %d whatever the range", got[0].FirstSeen, got[0].LastSeen, third.Started, at.UnixNano())
	}
}

func sessionSteps(t *testing.T, s Sessions) {
	ctx := testContext(t)
	at := base().Add(-6 * time.Hour).Truncate(time.Hour)
	noError(t, "WriteSessions", s.WriteSessions(ctx, []schemas.Session{
		session(1, 0, schemas.SessionCrashed, at), session(2, 0, schemas.SessionExited, at.Add(59*time.Minute)), session(3, 0, schemas.SessionExited, at.Add(2*time.Hour)),
	}))
	q := exporters.SessionQuery{Project: 1, Release: "shop@1", Range: exporters.Range{From: at, To: at.Add(3 * time.Hour)}}
	got, err := s.HealthOverTime(ctx, q, time.Hour)
	noError(t, "HealthOverTime", err)
	equal(t, "steps", got, []exporters.HealthPoint{
		{Time: at.UnixNano(), SessionCounts: exporters.SessionCounts{Sessions: 2, Crashed: 1, Users: 2, CrashedUsers: 1}},
		{Time: at.Add(2 * time.Hour).UnixNano(), SessionCounts: exporters.SessionCounts{Sessions: 1, Users: 1}},
	})
	q.Range.From = at.Add(-30 * 24 * time.Hour)
	_, err = s.HealthOverTime(ctx, q, time.Minute)
	isError(t, "HealthOverTime in too many steps", err, exporters.ErrTooLarge)
	if _, err := s.HealthOverTime(ctx, q, time.Second); err == nil {
		t.Error("a step may be a second")
	}
}
