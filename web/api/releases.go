package api

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
)

// ReleaseList are releases, last seen first.
type ReleaseList struct {
	Releases []ReleaseLine `json:"releases"`
}

// ReleaseLine is how one release fares.
type ReleaseLine struct {
	Release   string   `json:"release"`
	FirstSeen Nanos    `json:"firstSeen"` // in sessions and events
	LastSeen  Nanos    `json:"lastSeen"`
	Health    Health   `json:"health"`
	Adoption  *float64 `json:"adoption"`  // its share of all sessions; null when there are none
	NewIssues *int64   `json:"newIssues"` // null when that is not known
}

// Health counts sessions.
type Health struct {
	Sessions          uint64   `json:"sessions"`
	Crashed           uint64   `json:"crashed"`
	Abnormal          uint64   `json:"abnormal"`
	Unhandled         uint64   `json:"unhandled"`
	Errored           uint64   `json:"errored"`
	Users             uint64   `json:"users"`
	CrashedUsers      uint64   `json:"crashedUsers"`
	CrashFreeSessions *float64 `json:"crashFreeSessions"` // 0 to 1; null without sessions
	CrashFreeUsers    *float64 `json:"crashFreeUsers"`
}

// ReleaseSeries are the sessions of a release over time.
type ReleaseSeries struct {
	Release string        `json:"release"`
	From    Nanos         `json:"from"`
	To      Nanos         `json:"to"`
	Step    int64         `json:"step"` // seconds
	Points  []HealthPoint `json:"points"`
}

// HealthPoint is one step of it.
type HealthPoint struct {
	Time   Nanos  `json:"time"`
	Health Health `json:"health"`
}

const (
	// releasesAsked is how many releases of either kind are looked at.
	releasesAsked = 500
	// healthPoints is how many steps a series has, about, unless the longest are too short.
	healthPoints = 500
)

// healthSteps are the steps that a series may have.
var healthSteps = []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour, 6 * time.Hour, 24 * time.Hour, 7 * 24 * time.Hour, 30 * 24 * time.Hour}

func (h *Handler) releaseRoutes() {
	h.handle("/api/v1/releases", []string{"from", "to", "environment", "limit"}, h.releases)
	h.handle("/api/v1/releases/{version}/health", []string{"from", "to", "environment"}, h.releaseHealth)
}

func (h *Handler) hasSessions() error {
	if h.deps.Sessions == nil {
		return errorf(http.StatusNotImplemented, "no_sessions", "ask a server of hoptrace", "this server has no store of sessions")
	}
	return nil
}

// share is 1 - part/whole; nil of nothing.
func share(part, whole uint64) *float64 {
	if whole == 0 {
		return nil
	}
	v := 1 - float64(part)/float64(whole)
	return &v
}

func healthJSON(c *exporters.SessionCounts) Health {
	return Health{
		Sessions: c.Sessions, Crashed: c.Crashed, Abnormal: c.Abnormal, Unhandled: c.Unhandled, Errored: c.Errored, Users: c.Users, CrashedUsers: c.CrashedUsers,
		CrashFreeSessions: share(c.Crashed, c.Sessions), CrashFreeUsers: share(c.CrashedUsers, c.Users),
	}
}

// releases answers /releases: those with sessions in the range, and those with
// events in it, which tell no environment there.
func (h *Handler) releases(ctx context.Context, q *query) (any, error) {
	if err := h.hasSessions(); err != nil {
		return nil, err
	}
	sq := exporters.SessionQuery{Project: q.project.ID, Range: q.timeRange(), Environment: q.text("environment"), Limit: releasesAsked}
	limit := q.limit(50)
	if q.fault != nil {
		return nil, q.fault
	}
	fares, all, err := h.deps.Sessions.ReleaseHealth(ctx, sq)
	if err != nil {
		return nil, fmt.Errorf("cannot tell how releases fare: %w", err)
	}
	seen, err := h.deps.Issues.ReleasesSeen(ctx, q.project.ID, releasesAsked)
	if err != nil {
		return nil, fmt.Errorf("cannot list the releases of events: %w", err)
	}
	at := make(map[string]int, len(fares))
	for i := range fares {
		at[fares[i].Release] = i
	}
	for _, s := range seen {
		if i, is := at[s.Name]; is {
			f := &fares[i]
			f.FirstSeen, f.LastSeen = min(f.FirstSeen, s.FirstSeen), max(f.LastSeen, s.LastSeen)
			continue
		}
		if sq.Environment != "" || !sq.Range.From.IsZero() && s.LastSeen < sq.Range.From.UnixNano() || !sq.Range.To.IsZero() && s.FirstSeen >= sq.Range.To.UnixNano() {
			continue
		}
		fares = append(fares, exporters.ReleaseHealth{Release: s.Name, FirstSeen: s.FirstSeen, LastSeen: s.LastSeen})
	}
	slices.SortStableFunc(fares, func(a, b exporters.ReleaseHealth) int {
		return cmp.Or(cmp.Compare(b.LastSeen, a.LastSeen), cmp.Compare(a.Release, b.Release))
	})
	fares = fares[:min(len(fares), limit)]
	issues, err := h.newIssues(ctx, q.project.ID, fares)
	if err != nil {
		return nil, err
	}
	out := ReleaseList{Releases: make([]ReleaseLine, len(fares))}
	for i := range fares {
		f := &fares[i]
		line := ReleaseLine{Release: f.Release, FirstSeen: nanos(f.FirstSeen), LastSeen: nanos(f.LastSeen), Health: healthJSON(&f.SessionCounts)}
		if all.Sessions > 0 {
			adoption := float64(f.Sessions) / float64(all.Sessions)
			line.Adoption = &adoption
		}
		if issues != nil {
			n := issues[f.Release]
			line.NewIssues = &n
		}
		out.Releases[i] = line
	}
	return out, nil
}

func (h *Handler) newIssues(ctx context.Context, project uint64, fares []exporters.ReleaseHealth) (map[string]int64, error) {
	if h.deps.NewIssues == nil || len(fares) == 0 {
		return nil, nil //nolint:nilnil // not known, or of nothing
	}
	names := make([]string, len(fares))
	for i := range fares {
		names[i] = fares[i].Release
	}
	out, err := h.deps.NewIssues.NewIssues(ctx, project, names)
	if err != nil {
		return nil, fmt.Errorf("cannot count the issues of releases: %w", err)
	}
	if out == nil {
		out = map[string]int64{}
	}
	return out, nil
}

// releaseHealth answers /releases/{version}/health.
func (h *Handler) releaseHealth(ctx context.Context, q *query) (any, error) {
	if err := h.hasSessions(); err != nil {
		return nil, err
	}
	r := q.timeRange()
	if r.To.IsZero() {
		r.To = q.now
	}
	if r.From.IsZero() {
		r.From = r.To.Add(-24 * time.Hour)
	}
	if !r.From.Before(r.To) {
		q.refuse("from", q.text("from"), "a time before to")
	}
	if q.fault != nil {
		return nil, q.fault
	}
	step := healthSteps[len(healthSteps)-1]
	for _, s := range slices.Backward(healthSteps) {
		if r.To.Sub(r.From)/s <= healthPoints {
			step = s
		}
	}
	version := q.path("version")
	points, err := h.deps.Sessions.HealthOverTime(ctx, exporters.SessionQuery{Project: q.project.ID, Range: r, Environment: q.text("environment"), Release: version}, step)
	if err != nil {
		return nil, fmt.Errorf("cannot tell how release %q fares: %w", clip(version, 200), err)
	}
	out := ReleaseSeries{Release: version, From: nanos(r.From.UnixNano()), To: nanos(r.To.UnixNano()), Step: int64(step / time.Second), Points: make([]HealthPoint, len(points))}
	for i := range points {
		out.Points[i] = HealthPoint{Time: nanos(points[i].Time), Health: healthJSON(&points[i].SessionCounts)}
	}
	return out, nil
}
