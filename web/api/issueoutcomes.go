package api

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// Outcomes of an action for one issue.
const (
	outcomeDone    = "done"
	outcomeAlready = "already"
	outcomeRefused = "refused"
)

// lookedUp bounds how many issues that are not listed are asked for, to tell those
// that were merged from those that are not there.
const lookedUp = 100

// issuesBefore are the issues of an action as they were before it.
type issuesBefore struct {
	ids  []schemas.IssueID // as they were named, each once
	open map[schemas.IssueID]schemas.Issue
	into map[schemas.IssueID]schemas.IssueID // of those that were merged
}

func (h *Handler) beforeAction(ctx context.Context, project uint64, ids []schemas.IssueID) (issuesBefore, error) {
	out := issuesBefore{open: map[schemas.IssueID]schemas.Issue{}, into: map[schemas.IssueID]schemas.IssueID{}}
	seen := make(map[schemas.IssueID]bool, len(ids))
	for _, id := range ids {
		if !seen[id] {
			seen[id] = true
			out.ids = append(out.ids, id)
		}
	}
	if len(out.ids) == 0 {
		return out, nil
	}
	found, err := h.deps.Issues.Issues(ctx, exporters.IssueQuery{Project: project, IDs: out.ids, Limit: len(out.ids)})
	if err != nil {
		return out, fmt.Errorf("cannot read %d issues: %w", len(out.ids), err)
	}
	for i := range found {
		out.open[found[i].ID] = found[i]
	}
	asked := 0
	for _, id := range out.ids {
		if _, ok := out.open[id]; ok || asked == lookedUp {
			continue
		}
		asked++
		issue, err := h.deps.Issues.Issue(ctx, project, id)
		if err != nil && !errors.Is(err, exporters.ErrNotFound) {
			return out, fmt.Errorf("cannot read issue %d: %w", id, err)
		}
		if err == nil && issue.MergedInto != 0 {
			out.into[id] = issue.MergedInto
		}
	}
	return out, nil
}

// mergeable are those that can be merged into target.
func (b issuesBefore) mergeable(target schemas.IssueID) []schemas.IssueID {
	var out []schemas.IssueID
	for _, id := range b.ids {
		if _, ok := b.open[id]; ok && id != target {
			out = append(out, id)
		}
	}
	return out
}

// outcomes tells of each issue what the action did, which changed these.
func (b issuesBefore) outcomes(changed []schemas.IssueID, a IssueAction) []IssueOutcome {
	out := make([]IssueOutcome, 0, len(b.ids))
	for _, id := range b.ids {
		issue, there := b.open[id]
		o := IssueOutcome{ID: issueID(id), Title: issue.Title, Outcome: outcomeDone}
		switch into, merged := b.into[id]; {
		case slices.Contains(changed, id):
		case merged && a.Merge == issueID(into):
			o.Outcome, o.Why = outcomeAlready, "it was merged into issue "+a.Merge+" before"
		case merged:
			o.Outcome, o.Why = outcomeRefused, fmt.Sprintf("it was merged into issue %d: do it there, or take its hashes out first", into)
		case !there:
			o.Outcome, o.Why = outcomeRefused, "there is no such issue any more"
		default:
			o.Outcome, o.Why = a.unchanged(&issue)
		}
		out = append(out, o)
	}
	return out
}

// unchanged says why an issue that is there was not changed.
func (a *IssueAction) unchanged(was *schemas.Issue) (outcome, why string) {
	switch {
	case a.Resolve != nil && a.Resolve.In == schemas.ResolvedInNextRelease && (was.Status != schemas.StatusResolved || was.Resolution.Kind != a.Resolve.In):
		return outcomeRefused, "no release is known of it, so there is no next one: name the release, or resolve it now"
	case a.Resolve != nil:
		return outcomeAlready, "it was resolved so before"
	case a.Unresolve:
		return outcomeAlready, "it was open"
	case a.Archive != nil:
		return outcomeAlready, "it was archived so before"
	case a.Assign != nil && *a.Assign == "":
		return outcomeAlready, "it was nobody's"
	case a.Assign != nil:
		return outcomeAlready, "it was theirs before"
	case a.Priority != "":
		return outcomeAlready, "its priority was " + a.Priority
	case a.Bookmark != nil && *a.Bookmark:
		return outcomeAlready, "it had the bookmark"
	case a.Bookmark != nil:
		return outcomeAlready, "it had no bookmark"
	case a.Comment != "":
		return outcomeAlready, "that was said within the last minute"
	case a.Merge == issueID(was.ID):
		return outcomeAlready, "it takes the others"
	}
	return outcomeRefused, "it was changed by somebody else meanwhile"
}
