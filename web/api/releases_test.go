package api

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/web/testdata/fakestore"
)

type healths struct {
	list   []exporters.ReleaseHealth
	all    exporters.SessionCounts
	points []exporters.HealthPoint
	asked  exporters.SessionQuery
	step   time.Duration
}

func (s *healths) ReleaseHealth(_ context.Context, q exporters.SessionQuery) ([]exporters.ReleaseHealth, exporters.SessionCounts, error) {
	s.asked = q
	return s.list, s.all, nil
}

func (s *healths) HealthOverTime(_ context.Context, q exporters.SessionQuery, step time.Duration) ([]exporters.HealthPoint, error) {
	s.asked, s.step = q, step
	return s.points, nil
}

type newIssues map[string]int64

func (n newIssues) NewIssues(context.Context, uint64, []string) (map[string]int64, error) {
	return n, nil
}

func TestReleasesOfSessionsAndOfEventsAreListedTogether(t *testing.T) {
	now := testNow.UnixNano()
	store := &fakestore.Store{AllProjects: []schemas.Project{{ID: 1, Slug: "p"}}, AllEvents: []schemas.Event{
		{Project: 1, ID: schemas.EventID{1}, Release: "shop@1", Time: now - 500}, {Project: 1, ID: schemas.EventID{2}, Release: "shop@0", Time: now - 900},
	}}
	h := newHandler(t, store)
	s := &healths{
		list: []exporters.ReleaseHealth{
			{Release: "shop@2", FirstSeen: now - 100, LastSeen: now - 10, SessionCounts: exporters.SessionCounts{Sessions: 60, Crashed: 15, Users: 10, CrashedUsers: 1}},
			{Release: "shop@1", FirstSeen: now - 300, LastSeen: now - 200, SessionCounts: exporters.SessionCounts{Sessions: 20}},
		},
		all: exporters.SessionCounts{Sessions: 80},
	}
	h.deps.Sessions, h.deps.NewIssues = s, newIssues{"shop@2": 3}
	got := get[ReleaseList](t, h, "/releases", http.StatusOK).Releases
	if len(got) != 3 || got[0].Release != "shop@2" || got[1].Release != "shop@1" || got[2].Release != "shop@0" {
		t.Fatalf("releases = %+v", got)
	}
	if r := got[0]; *r.Health.CrashFreeSessions != 0.75 || *r.Health.CrashFreeUsers != 0.9 || *r.Adoption != 0.75 || *r.NewIssues != 3 {
		t.Errorf("shop@2 = %+v, free of crashes %v and %v, adoption %v, issues %v", r, *r.Health.CrashFreeSessions, *r.Health.CrashFreeUsers, *r.Adoption, *r.NewIssues)
	}
	if r := got[1]; r.FirstSeen != nanos(now-500) || r.LastSeen != nanos(now-200) || r.Health.CrashFreeUsers != nil || *r.NewIssues != 0 {
		t.Errorf("shop@1 = %+v", r)
	}
	if r := got[2]; r.Health.CrashFreeSessions != nil || *r.Adoption != 0 {
		t.Errorf("shop@0 = %+v", r)
	}
	if got := get[ReleaseList](t, h, "/releases?environment=prod&limit=1", http.StatusOK).Releases; len(got) != 1 || s.asked.Environment != "prod" {
		t.Errorf("with an environment and a limit: %+v, asked %+v", got, s.asked)
	}
	h.deps.Sessions = nil
	get[Problem](t, h, "/releases", http.StatusNotImplemented)
}

func TestHealthOfAReleaseComesInStepsThatFit(t *testing.T) {
	h := newHandler(t, fakestore.Orders(testNow))
	s := &healths{points: []exporters.HealthPoint{{Time: 60e9, SessionCounts: exporters.SessionCounts{Sessions: 4, Crashed: 1}}}}
	h.deps.Sessions = s
	f := func(path string, release string, step time.Duration) {
		t.Helper()
		got := get[ReleaseSeries](t, h, path, http.StatusOK)
		if got.Release != release || s.asked.Release != release || s.step != step || got.Step != int64(step/time.Second) || len(got.Points) != 1 || *got.Points[0].Health.CrashFreeSessions != 0.75 {
			t.Errorf("%s = %+v, asked %+v by %v", path, got, s.asked, s.step)
		}
	}
	f("/releases/shop@1.0%2Bbuild%2F7/health", "shop@1.0+build/7", 5*time.Minute)
	f("/releases/shop@1/health?from=-1h", "shop@1", time.Minute)
	f("/releases/shop@1/health?from=-720h", "shop@1", 6*time.Hour)
	f("/releases/shop@1/health?from=1", "shop@1", 30*24*time.Hour)
	if e := get[Problem](t, h, "/releases/shop@1/health?to=1000&from=2000", http.StatusBadRequest); e.Code != "bad_parameter" {
		t.Errorf("a range that ends before it begins: %+v", e)
	}
}
