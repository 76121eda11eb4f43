package api

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"sync"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// seenData remembers which projects have data: once there is some the question
// is not asked again.
type seenData struct {
	mu     sync.Mutex // guards the following
	spans  map[uint64]bool
	events map[uint64]bool
}

func (s *seenData) get(project uint64) (spans, events bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.spans[project], s.events[project]
}

func (s *seenData) set(project uint64, spans, events bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.spans == nil {
		s.spans, s.events = map[uint64]bool{}, map[uint64]bool{}
	}
	if spans {
		s.spans[project] = true
	}
	if events {
		s.events[project] = true
	}
}

// status answers /status.
func (h *Handler) status(ctx context.Context, q *query) (any, error) {
	all, err := h.deps.Projects.Projects(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot list the projects: %w", err)
	}
	out := Status{
		Version: h.cfg.Version, Now: nanos(q.now.UnixNano()), Project: strconv.FormatUint(q.project.ID, 10),
		Projects: make([]Project, len(all)), Endpoints: h.cfg.Endpoints,
	}
	for i, p := range all {
		out.Projects[i] = Project{ID: strconv.FormatUint(p.ID, 10), Slug: p.Slug, Name: p.Name, DSNs: []string{}}
		for _, key := range p.Keys {
			if dsn := dsn(h.cfg.Endpoints.Sentry, key, p.ID); dsn != "" {
				out.Projects[i].DSNs = append(out.Projects[i].DSNs, dsn)
			}
		}
	}
	out.HasSpans, out.HasEvents = h.seen.get(q.project.ID)
	if !out.HasSpans {
		found, err := h.deps.Spans.FindTraces(ctx, exporters.TraceQuery{Project: q.project.ID, Limit: 1})
		if err != nil {
			return nil, fmt.Errorf("cannot tell whether there are traces: %w", err)
		}
		out.HasSpans = len(found) > 0
	}
	if !out.HasEvents {
		found, err := h.deps.Issues.Issues(ctx, exporters.IssueQuery{Project: q.project.ID, Limit: 1})
		if err != nil {
			return nil, fmt.Errorf("cannot tell whether there are issues: %w", err)
		}
		out.HasEvents = len(found) > 0
	}
	h.seen.set(q.project.ID, out.HasSpans, out.HasEvents)
	return out, nil
}

// dsn is what a Sentry SDK is given; empty without an address.
func dsn(sentry, key string, project uint64) string {
	u, err := url.Parse(sentry)
	if err != nil || u.Host == "" {
		return ""
	}
	u.User = url.User(key)
	u.Path = "/" + strconv.FormatUint(project, 10)
	return u.String()
}

// names answers /names.
func (h *Handler) names(ctx context.Context, q *query) (any, error) {
	r := q.timeRange()
	if q.fault != nil {
		return nil, q.fault
	}
	n, err := h.deps.Spans.Names(ctx, q.project.ID, r)
	if err != nil {
		return nil, fmt.Errorf("cannot list names: %w", err)
	}
	return Names{Services: some(n.Services), Topics: some(n.Topics), Groups: some(n.Groups)}, nil
}

func issueID(id schemas.IssueID) string { return strconv.FormatUint(uint64(id), 10) }
