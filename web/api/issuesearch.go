package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/internal/release"
	"github.com/hoptrace/hoptrace/internal/search"
	"github.com/hoptrace/hoptrace/schemas"
)

// Orders of the list of issues.
const (
	byDate  = "date"  // last seen first
	byNew   = "new"   // first seen first
	byFreq  = "freq"  // most events first
	byUsers = "users" // most users first
)

// Bounds of a search.
const (
	searchStep     = 200    // issues whose events are counted at once
	maxReleases    = 10_000 // that a comparison looks at
	maxReleaseHits = 1000   // that may match one
)

// issueSearch is one question to the list of issues.
type issueSearch struct {
	project  uint64
	stretch  exporters.Range
	text     string
	query    string
	me       string
	sort     string
	before   int64 // of the page before; told says whether there was one
	beforeID schemas.IssueID
	told     bool
	limit    int
	noCounts bool // the caller wants the issues only
}

// issueHit is an issue with the counts of its events that match.
type issueHit struct {
	schemas.Issue
	stats exporters.EventStats
}

// key is what a hit is sorted by, largest first; then by id.
func (h *issueHit) key(sort string) int64 {
	switch sort {
	case byNew:
		return h.FirstSeen
	case byFreq:
		return int64(h.stats.Events) //nolint:gosec // a count
	case byUsers:
		return int64(h.stats.Users) //nolint:gosec // a count
	}
	return h.LastSeen
}

// issueFinder answers one issueSearch.
type issueFinder struct {
	h *Handler
	issueSearch
	ofIssue, ofEvent, ofCount search.Query
}

// findIssues gives a page and, when there may be another, what it is asked for by.
//
// What is kept of issues is asked of the metadata, what is kept of events of the
// events store. When few hashes have a matching event, their issues are the
// candidates; else all issues are, in the order of the page as far as the
// metadata knows it. Either way each candidate's matching events are counted, and
// those without any fall out, so the answer is right however many match.
func (h *Handler) findIssues(ctx context.Context, s issueSearch) ([]issueHit, string, error) {
	q, err := search.Parse(s.query, h.now())
	if err != nil {
		return nil, "", queryError(s.query, err)
	}
	f := issueFinder{h: h, issueSearch: s, ofCount: q.Of(search.OfCount)}
	if f.ofIssue, err = f.releases(ctx, q.Of(search.OfIssue)); err != nil {
		return nil, "", err
	}
	if f.ofEvent, err = f.releases(ctx, q.Of(search.OfEvent)); err != nil {
		return nil, "", err
	}
	if f.stretch.To.IsZero() {
		f.stretch.To = h.now() // one now for all that follows
	}
	hits, err := f.find(ctx)
	if err != nil {
		return nil, "", err
	}
	next := ""
	if len(hits) > 0 && len(hits) == f.limit {
		last := &hits[len(hits)-1]
		next = strconv.FormatInt(last.key(f.sort), 10) + "." + issueID(last.ID)
	}
	return hits, next, nil
}

func queryError(query string, err error) error {
	var bad *search.Error
	if !errors.As(err, &bad) {
		return err
	}
	return errorf(http.StatusBadRequest, "bad_query", bad.Hint, "at %d: %s", len([]rune(query[:bad.Pos]))+1, bad.Message).of("query")
}

// releases replaces latest and comparisons of releases by the names that they
// stand for.
func (f *issueFinder) releases(ctx context.Context, q search.Query) (search.Query, error) {
	var seen []exporters.ReleaseSeen
	out := make(search.Query, len(q))
	for i, e := range q {
		out[i] = slices.Clone(e)
		for k, t := range e {
			named, err := f.releaseNames(ctx, &seen, t)
			if err != nil {
				return nil, err
			}
			out[i][k] = named
		}
	}
	return out, nil
}

// releaseNames is releases of one term; seen is read when it is needed first.
func (f *issueFinder) releaseNames(ctx context.Context, seen *[]exporters.ReleaseSeen, t search.Term) (search.Term, error) {
	if t.Field.Kind != search.Release || t.Op == search.Has {
		return t, nil
	}
	latest := slices.ContainsFunc(t.Values, func(v search.Value) bool { return strings.EqualFold(v.Text, "latest") })
	if t.Op == search.Eq && !latest {
		return t, nil
	}
	if *seen == nil {
		var err error
		if *seen, err = f.h.deps.Issues.ReleasesSeen(ctx, f.project, maxReleases); err != nil {
			return t, fmt.Errorf("cannot list the releases: %w", err)
		}
	}
	var values []search.Value
	for _, v := range t.Values {
		if strings.EqualFold(v.Text, "latest") {
			all := make([]release.Release, len(*seen))
			for k, r := range *seen {
				all[k] = release.Release{Name: r.Name, Created: r.Created}
			}
			v.Text = release.Latest(all, "").Name
			if v.Text == "" {
				continue
			}
		}
		if t.Op == search.Eq {
			values = append(values, v)
			continue
		}
		bound, ok := release.Parse(v.Text)
		if !ok {
			return t, errorf(http.StatusBadRequest, "bad_query", "compare with a version, as release>=1.2.0 or release>=shop@1.2.0", "at %d: %q is no version", t.Pos+1, v.Text).of("query")
		}
		for _, r := range *seen {
			version, ok := release.Parse(r.Name)
			if !ok || bound.Package != "" && version.Package != bound.Package {
				continue
			}
			c := release.Compare(version, bound)
			if t.Op == search.Lt && c < 0 || t.Op == search.Le && c <= 0 || t.Op == search.Gt && c > 0 || t.Op == search.Ge && c >= 0 {
				values = append(values, search.Value{Text: r.Name})
			}
		}
	}
	if len(values) > maxReleaseHits {
		return t, errorf(http.StatusBadRequest, "bad_query", "compare more narrowly, or name a pattern as release:1.2.*", "more than %d releases match %s", maxReleaseHits, t.Field.Name).of("query")
	}
	t.Op, t.Values = search.Eq, values
	return t, nil
}

// byCounts tells that the order is known only after counting.
func (f *issueFinder) byCounts() bool { return f.sort == byFreq || f.sort == byUsers }

// keeps tells that counts are what the query asks for.
func (f *issueFinder) keeps(s exporters.EventStats) bool {
	holds := f.ofCount.Holds(func(t search.Term) bool {
		n := s.Events
		if t.Field.Name == search.FieldUsers {
			n = s.Users
		}
		return t.Compare(int64(n)) //nolint:gosec // a count
	})
	return holds && (s.Events > 0 || len(f.ofEvent) == 0)
}

func (f *issueFinder) issueQuery() exporters.IssueQuery {
	return exporters.IssueQuery{Project: f.project, Range: f.stretch, Text: f.text, Where: f.ofIssue, Me: f.me, Newest: f.sort == byNew}
}

func (f *issueFinder) find(ctx context.Context) ([]issueHit, error) {
	simple := len(f.ofEvent) == 0 && len(f.ofCount) == 0 && !f.byCounts()
	if simple {
		q := f.issueQuery()
		q.Before, q.BeforeID, q.Limit = f.before, f.beforeID, f.limit
		issues, err := f.h.deps.Issues.Issues(ctx, q)
		if err != nil {
			return nil, fmt.Errorf("cannot list issues: %w", err)
		}
		return f.count(ctx, issues)
	}
	// An issue without events may match when counts may be zero, and then only the
	// metadata knows it.
	if len(f.ofEvent) > 0 || !f.keeps(exporters.EventStats{}) {
		few, known, err := f.fewCandidates(ctx)
		if err != nil {
			return nil, err
		}
		if known {
			return f.pick(ctx, few)
		}
	}
	return f.scan(ctx)
}

// fewCandidates gives the issues whose hashes have a matching event, unless they
// are too many.
func (f *issueFinder) fewCandidates(ctx context.Context) (out []schemas.Issue, known bool, err error) {
	const most = 2 * exporters.MaxHashes
	hashes, more, err := f.h.deps.IssueEvents.HashesWith(ctx, f.project, f.eventFilter(), most)
	if err != nil {
		return nil, false, fmt.Errorf("cannot search events: %w", err)
	}
	if more {
		return nil, false, nil
	}
	var ids []schemas.IssueID
	for some := range slices.Chunk(hashes, exporters.MaxHashes) {
		owners, err := f.h.deps.Issues.IssuesOfHashes(ctx, f.project, some)
		if err != nil {
			return nil, false, fmt.Errorf("cannot find the issues of %d hashes: %w", len(some), err)
		}
		for _, id := range owners {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	for some := range slices.Chunk(slices.Compact(ids), exporters.MaxIssues) {
		q := f.issueQuery()
		q.IDs, q.Limit = some, len(some)
		issues, err := f.h.deps.Issues.Issues(ctx, q)
		if err != nil {
			return nil, false, fmt.Errorf("cannot list issues: %w", err)
		}
		out = append(out, issues...)
	}
	return out, true, nil
}

func (f *issueFinder) eventFilter() exporters.EventFilter {
	return exporters.EventFilter{Range: f.stretch, Where: f.ofEvent}
}

// pick counts candidates and gives the page.
func (f *issueFinder) pick(ctx context.Context, candidates []schemas.Issue) ([]issueHit, error) {
	if !f.byCounts() {
		slices.SortFunc(candidates, func(a, b schemas.Issue) int {
			x, y := issueHit{Issue: a}, issueHit{Issue: b}
			return cmp.Or(cmp.Compare(y.key(f.sort), x.key(f.sort)), cmp.Compare(b.ID, a.ID))
		})
	}
	var top topHits
	for some := range slices.Chunk(candidates, searchStep) {
		hits, err := f.count(ctx, some)
		if err != nil {
			return nil, err
		}
		top.add(f, hits)
		if top.full(f) {
			break
		}
	}
	return top.hits, nil
}

// scan goes through all issues that the metadata has for the query.
func (f *issueFinder) scan(ctx context.Context) ([]issueHit, error) {
	var top topHits
	q := f.issueQuery()
	q.Limit = searchStep
	if f.told && !f.byCounts() {
		q.Before, q.BeforeID = f.before, f.beforeID
	}
	for {
		issues, err := f.h.deps.Issues.Issues(ctx, q)
		if err != nil {
			return nil, fmt.Errorf("cannot list issues: %w", err)
		}
		hits, err := f.count(ctx, issues)
		if err != nil {
			return nil, err
		}
		top.add(f, hits)
		if len(issues) < q.Limit || top.full(f) {
			return top.hits, nil
		}
		last := issueHit{Issue: issues[len(issues)-1]}
		q.Before, q.BeforeID = last.LastSeen, last.ID
		if q.Newest {
			q.Before = last.FirstSeen
		}
	}
}

// topHits keeps the first page of hits after what was shown already.
type topHits struct{ hits []issueHit }

func (t *topHits) add(f *issueFinder, hits []issueHit) {
	for _, hit := range hits {
		if k := hit.key(f.sort); f.told && (k > f.before || k == f.before && hit.ID >= f.beforeID) {
			continue // on a page before
		}
		at, _ := slices.BinarySearchFunc(t.hits, hit, func(a, b issueHit) int {
			return cmp.Or(cmp.Compare(b.key(f.sort), a.key(f.sort)), cmp.Compare(b.ID, a.ID))
		})
		if at < f.limit {
			t.hits = slices.Insert(t.hits, at, hit)
			t.hits = t.hits[:min(len(t.hits), f.limit)]
		}
	}
}

// full tells that nothing that follows belongs to the page.
func (t *topHits) full(f *issueFinder) bool { return len(t.hits) == f.limit && !f.byCounts() }

// count gives those issues whose matching events are what the query asks for.
func (f *issueFinder) count(ctx context.Context, issues []schemas.Issue) ([]issueHit, error) {
	if f.noCounts && len(f.ofEvent) == 0 && len(f.ofCount) == 0 {
		hits := make([]issueHit, len(issues))
		for i := range issues {
			hits[i].Issue = issues[i]
		}
		return hits, nil
	}
	ids := make([]schemas.IssueID, len(issues))
	for i := range issues {
		ids[i] = issues[i].ID
	}
	stats, err := f.h.issueStats(ctx, f.project, ids, f.eventFilter())
	if err != nil {
		return nil, err
	}
	hits := make([]issueHit, 0, len(issues))
	for i := range issues {
		if s := stats[issues[i].ID]; f.keeps(s) {
			hits = append(hits, issueHit{issues[i], s})
		}
	}
	return hits, nil
}

// issueStats counts the events of issues by their hashes, as many at once as one
// question takes.
func (h *Handler) issueStats(ctx context.Context, project uint64, ids []schemas.IssueID, f exporters.EventFilter) (map[schemas.IssueID]exporters.EventStats, error) {
	out := make(map[schemas.IssueID]exporters.EventStats, len(ids))
	var sets []exporters.EventSet
	n := 0
	ask := func() error {
		if len(sets) == 0 {
			return nil
		}
		stats, err := h.deps.IssueEvents.StatsOf(ctx, project, sets, f)
		if err != nil {
			return fmt.Errorf("cannot count the events of %d issues: %w", len(sets), err)
		}
		for id, s := range stats {
			out[id] = s
		}
		sets, n = sets[:0], 0
		return nil
	}
	for some := range slices.Chunk(ids, exporters.MaxIssues) {
		hashes, err := h.deps.Issues.IssueHashes(ctx, project, some)
		if err != nil {
			return nil, fmt.Errorf("cannot list the hashes of %d issues: %w", len(some), err)
		}
		for _, id := range some {
			if n+len(hashes[id]) > exporters.MaxHashes {
				if err := ask(); err != nil {
					return nil, err
				}
			}
			sets = append(sets, exporters.EventSet{Issue: id, Hashes: hashes[id]})
			n += len(hashes[id])
		}
	}
	return out, ask()
}

// eventSet gives the hashes of one issue.
func (h *Handler) eventSet(ctx context.Context, project uint64, id schemas.IssueID) (exporters.EventSet, error) {
	hashes, err := h.deps.Issues.IssueHashes(ctx, project, []schemas.IssueID{id})
	if err != nil {
		return exporters.EventSet{}, fmt.Errorf("cannot list the hashes of issue %d: %w", id, err)
	}
	return exporters.EventSet{Issue: id, Hashes: hashes[id]}, nil
}

// allTime is every event until now.
func allTime(now time.Time) exporters.EventFilter {
	return exporters.EventFilter{Range: exporters.Range{To: now.Add(time.Minute)}}
}
