package group

import (
	"context"
	"iter"
	"slices"

	"github.com/hoptrace/hoptrace/pipeline/normalize"
	"github.com/hoptrace/hoptrace/schemas"
)

// Bounds of a preview. What is beyond is counted, not listed.
const (
	MaxPreviewEvents = 10_000
	maxPreviewed     = 50 // splits, merges, and examples each
	maxPreviewParts  = 20 // of one split or merge
)

// PreviewIssue is an issue that a preview saw, by its hash.
type PreviewIssue struct {
	Hash    schemas.Fingerprint
	Title   string
	Events  int // of those that were looked at
	Example schemas.EventID
}

// PreviewChange is one issue that becomes several, or several that become one:
// the largest first, at most twenty of PartsAll.
type PreviewChange struct {
	Issue    PreviewIssue
	Parts    []PreviewIssue
	PartsAll int
}

// PreviewMove is an event that would go to another issue, with what decides about
// it before and after.
type PreviewMove struct {
	Event         schemas.EventID
	Title         string
	Before, After schemas.Fingerprint
	Was, Is       []string // lines
}

// PreviewResult is what a change of rules would do to events that are stored.
type PreviewResult struct {
	Events                    int // looked at
	Moved                     int // of them, with another hash
	IssuesBefore, IssuesAfter int
	// Splits are issues of today that would become several, Merges issues that
	// would be made of several of today. Each list holds the largest, at most fifty
	// of SplitsAll and MergesAll.
	Splits, Merges       []PreviewChange
	SplitsAll, MergesAll int
	// Renamed issues keep their events to themselves, but would be made anew under
	// another hash.
	Renamed int
	Moves   []PreviewMove // examples, one a pair of issues
}

// Preview groups events by two groupers and compares. It reads at most
// [MaxPreviewEvents], and an error of events ends it.
func Preview(ctx context.Context, before, after *Grouper, events iter.Seq2[*normalize.Event, error]) (PreviewResult, error) {
	type pair [2]schemas.Fingerprint
	var (
		r        PreviewResult
		old, now = map[schemas.Fingerprint]*PreviewIssue{}, map[schemas.Fingerprint]*PreviewIssue{}
		flows    = map[pair]int{}
	)
	note := func(m map[schemas.Fingerprint]*PreviewIssue, h schemas.Fingerprint, e *normalize.Event, title string) {
		issue := m[h]
		if issue == nil {
			if title == "" {
				title = e.Title
			}
			issue = &PreviewIssue{Hash: h, Title: title, Example: e.ID}
			m[h] = issue
		}
		issue.Events++
	}
	var owned []bool
	for e, err := range events {
		if err != nil {
			return r, err
		}
		if err := ctx.Err(); err != nil {
			return r, err
		}
		if r.Events == MaxPreviewEvents {
			break
		}
		r.Events++
		// Grouping says whose the frames are; the other rules must not see that.
		owned = keepInApp(owned[:0], e)
		was := before.Of(e)
		from := was.Hashes[0]
		var lines []string
		if len(r.Moves) < maxPreviewed {
			lines = was.Tree.Lines()
		}
		restoreInApp(owned, e)
		is := after.Of(e)
		to := is.Hashes[0]
		note(old, from, e, was.Title)
		note(now, to, e, is.Title)
		flows[pair{from, to}]++
		if from == to {
			continue
		}
		r.Moved++
		if flows[pair{from, to}] == 1 && len(r.Moves) < maxPreviewed {
			r.Moves = append(r.Moves, PreviewMove{Event: e.ID, Title: old[from].Title, Before: from, After: to, Was: lines, Is: is.Tree.Lines()})
		}
	}
	r.IssuesBefore, r.IssuesAfter = len(old), len(now)
	// One direction at a time: where does each issue's part go, where did it come from.
	into, out := map[schemas.Fingerprint][]PreviewIssue{}, map[schemas.Fingerprint][]PreviewIssue{}
	for p, n := range flows {
		to, from := *now[p[1]], *old[p[0]]
		to.Events, from.Events = n, n
		into[p[0]] = append(into[p[0]], to)
		out[p[1]] = append(out[p[1]], from)
	}
	for h, parts := range into {
		if len(parts) == 1 && parts[0].Hash != h && len(out[parts[0].Hash]) == 1 {
			r.Renamed++
		}
	}
	r.Splits, r.SplitsAll = changes(old, into)
	r.Merges, r.MergesAll = changes(now, out)
	return r, nil
}

// changes lists the issues with more than one part.
func changes(issues map[schemas.Fingerprint]*PreviewIssue, parts map[schemas.Fingerprint][]PreviewIssue) ([]PreviewChange, int) {
	var list []PreviewChange
	for h, p := range parts {
		if len(p) < 2 {
			continue
		}
		c := PreviewChange{Issue: *issues[h], Parts: p, PartsAll: len(p)}
		slices.SortFunc(c.Parts, largest)
		c.Parts = c.Parts[:min(len(c.Parts), maxPreviewParts)]
		list = append(list, c)
	}
	all := len(list)
	slices.SortFunc(list, func(a, b PreviewChange) int { return largest(a.Issue, b.Issue) })
	return list[:min(all, maxPreviewed)], all
}

func largest(a, b PreviewIssue) int {
	if a.Events != b.Events {
		return b.Events - a.Events
	}
	return slices.Compare(a.Hash[:], b.Hash[:])
}

func keepInApp(owned []bool, e *normalize.Event) []bool {
	eachFrame(e, func(f *normalize.Frame) { owned = append(owned, f.InApp) })
	return owned
}

func restoreInApp(owned []bool, e *normalize.Event) {
	eachFrame(e, func(f *normalize.Frame) { f.InApp, f.Category, owned = owned[0], "", owned[1:] })
}

func eachFrame(e *normalize.Event, visit func(*normalize.Frame)) {
	for i := range e.Exceptions {
		for k := range e.Exceptions[i].Frames {
			visit(&e.Exceptions[i].Frames[k])
		}
	}
	for i := range e.Frames {
		visit(&e.Frames[i])
	}
}
