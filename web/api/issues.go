package api

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/internal/search"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/web/api/finding"
)

// How much of an issue its page shows.
const (
	shownActivity = 100
	shownValues   = 8
	shownTrees    = 20
)

func (h *Handler) issueRoutes() {
	h.handle("/api/v1/issues", []string{"from", "to", "text", "query", "sort", "me", "before", "limit"}, h.issues)
	h.handle("/api/v1/issues/{id}", []string{"limit", "query", "before"}, h.issue)
	h.act(http.MethodPut, "/api/v1/issues", h.changeIssues)
	h.act(http.MethodPut, "/api/v1/issues/{id}", h.changeIssue)
	h.act(http.MethodPost, "/api/v1/issues/{id}/unmerge", h.unmergeIssue)
	h.handle("/api/v1/discarded", []string{"limit"}, h.discarded)
	h.act(http.MethodPost, "/api/v1/discarded/restore", h.restore)
	h.handle("/api/v1/search-fields", nil, h.searchFields)
}

// issues answers /issues.
func (h *Handler) issues(ctx context.Context, q *query) (any, error) {
	s := issueSearch{
		project: q.project.ID, stretch: q.timeRange(), text: q.text("text"), query: q.text("query"), me: q.actor(q.text("me")),
		sort: q.oneOf("sort", byDate, byNew, byFreq, byUsers), limit: q.limit(50),
	}
	s.before, s.beforeID, s.told = q.issuePage("before")
	if q.fault != nil {
		return nil, q.fault
	}
	found, next, err := h.findIssues(ctx, s)
	if err != nil {
		return nil, err
	}
	out := IssueList{Issues: make([]Issue, len(found))}
	facts := finding.Issues{Count: len(found), Filtered: s.text != "" || s.query != "", More: next != ""}
	until := s.stretch.To
	if until.IsZero() {
		until = q.now
	}
	for i := range found {
		issue, st := &found[i].Issue, found[i].stats
		out.Issues[i] = issueJSON(issue, st)
		facts.Events += st.Events
		if st.Events > facts.Worst.Events {
			facts.Worst = finding.Issue{Title: issue.Title, Href: "/issues/" + issueID(issue.ID), Events: st.Events, Records: st.Records}
		}
		if issue.FirstSeen > until.Add(-time.Hour).UnixNano() {
			facts.New++
		}
	}
	if next != "" {
		out.Next = &next
	}
	out.Finding = finding.ForIssues(facts)
	return out, nil
}

// oneIssue is an issue with its hashes and its counts over all time.
type oneIssue struct {
	schemas.Issue
	set   exporters.EventSet
	stats exporters.EventStats
	asked *string // the id that was asked for, when it was merged into this one
}

// readIssue reads the issue in the path; for a merged one that which it was
// merged into.
func (h *Handler) readIssue(ctx context.Context, q *query) (oneIssue, error) {
	id, err := strconv.ParseUint(q.path("id"), 10, 53)
	if err != nil || id == 0 {
		return oneIssue{}, badParameter("id", q.path("id"), "a positive whole number")
	}
	var out oneIssue
	for next := schemas.IssueID(id); ; next = out.MergedInto {
		out.Issue, err = h.deps.Issues.Issue(ctx, q.project.ID, next)
		if errors.Is(err, exporters.ErrNotFound) {
			return out, errorf(http.StatusNotFound, "issue_not_found", "/issues lists those there are", "there is no issue %d", id)
		}
		if err != nil {
			return out, fmt.Errorf("cannot read issue %d: %w", id, err)
		}
		if out.MergedInto == 0 || out.MergedInto == next {
			break
		}
	}
	if out.ID != schemas.IssueID(id) {
		asked := q.path("id")
		out.asked = &asked
	}
	if out.set, err = h.eventSet(ctx, q.project.ID, out.ID); err != nil {
		return out, err
	}
	stats, err := h.deps.IssueEvents.StatsOf(ctx, q.project.ID, []exporters.EventSet{out.set}, allTime(q.now))
	if err != nil {
		return out, fmt.Errorf("cannot count the events of issue %d: %w", id, err)
	}
	out.stats = stats[out.ID]
	return out, nil
}

// issue answers /issues/{id}.
func (h *Handler) issue(ctx context.Context, q *query) (any, error) {
	page := exporters.EventPage{EventFilter: allTime(q.now), Limit: q.limit(100)}
	if before := q.text("before"); before != "" {
		at, id, _ := strings.Cut(before, ".")
		ns, err := strconv.ParseInt(at, 10, 64)
		event, ok := parseEventID(id)
		if err != nil || ns <= 0 || !ok {
			q.refuse("before", before, "what the last page gave as nextEvents")
		}
		page.Before, page.BeforeID = ns, event
	}
	if q.fault != nil {
		return nil, q.fault
	}
	issue, err := h.readIssue(ctx, q)
	if err != nil {
		return nil, err
	}
	terms, err := search.Parse(q.text("query"), q.now)
	if err != nil {
		return nil, queryError(q.text("query"), err)
	}
	f := issueFinder{h: h, issueSearch: issueSearch{project: q.project.ID}}
	if page.Where, err = f.releases(ctx, terms.Of(search.OfEvent)); err != nil {
		return nil, err
	}
	events, err := h.deps.IssueEvents.EventsOf(ctx, q.project.ID, issue.set, page)
	if err != nil {
		return nil, fmt.Errorf("cannot list the events of issue %d: %w", issue.ID, err)
	}
	out := IssueDetail{Issue: issueJSON(&issue.Issue, issue.stats), AskedFor: issue.asked, Events: make([]Event, len(events)), Activity: []IssueActivity{}, Tags: []IssueTag{}}
	for i := range events {
		out.Events[i] = eventJSON(&events[i])
	}
	if len(events) == page.Limit {
		last := &events[len(events)-1]
		next := strconv.FormatInt(last.Time, 10) + "." + last.ID.String()
		out.NextEvents = &next
	}
	if out.Hashes, err = h.issueHashes(ctx, q.project.ID, issue.set.Hashes); err != nil {
		return nil, err
	}
	activity, err := h.deps.Issues.Activity(ctx, q.project.ID, issue.ID, shownActivity)
	if err != nil {
		return nil, fmt.Errorf("cannot read the activity of issue %d: %w", issue.ID, err)
	}
	for _, a := range activity {
		out.Activity = append(out.Activity, IssueActivity{ID: strconv.FormatInt(a.ID, 10), Kind: a.Kind, By: a.By, At: nanos(a.At), Data: a.Data})
	}
	if out.Bookmarks, err = h.deps.Issues.Bookmarks(ctx, q.project.ID, issue.ID); err != nil {
		return nil, fmt.Errorf("cannot read the bookmarks of issue %d: %w", issue.ID, err)
	}
	out.Bookmarks = some(out.Bookmarks)
	tags, err := h.deps.IssueEvents.TagsOf(ctx, q.project.ID, issue.set, page.EventFilter, shownValues)
	if err != nil {
		return nil, fmt.Errorf("cannot count the tags of issue %d: %w", issue.ID, err)
	}
	for _, t := range tags {
		tag := IssueTag{Key: t.Key, Events: t.Events, Others: t.Others, Values: make([]IssueTagValue, len(t.Values))}
		for i, v := range t.Values {
			tag.Values[i] = IssueTagValue{Value: v.Value, Events: v.Events, FirstSeen: nanos(v.First), LastSeen: nanos(v.Last)}
		}
		out.Tags = append(out.Tags, tag)
	}
	return out, nil
}

func (h *Handler) issueHashes(ctx context.Context, project uint64, hashes []exporters.IssueHash) ([]IssueHash, error) {
	out := make([]IssueHash, len(hashes))
	for i, x := range hashes {
		out[i] = IssueHash{Hash: x.Hash.String(), Version: x.Version, FirstSeen: nanos(x.FirstSeen), Tree: json.RawMessage("null")}
		if x.Former != 0 {
			out[i].Former = issueID(x.Former)
		}
		if i >= shownTrees {
			continue
		}
		tree, err := h.deps.Issues.HashTree(ctx, project, x.Hash)
		switch {
		case errors.Is(err, exporters.ErrNotFound):
		case err != nil:
			return nil, fmt.Errorf("cannot read why hash %s came about: %w", x.Hash, err)
		case json.Valid(tree):
			out[i].Tree = tree
		}
	}
	return out, nil
}

// changeIssue answers PUT /issues/{id}.
func (h *Handler) changeIssue(ctx context.Context, q *query) (any, error) {
	var a IssueAction
	if err := q.decode(&a); err != nil {
		return nil, err
	}
	a.By = q.actor(a.By)
	if len(a.IDs) > 0 || a.Query != "" {
		return nil, badBody("ids and query", "PUT /api/v1/issues changes several issues")
	}
	issue, err := h.readIssue(ctx, q)
	if err != nil {
		return nil, err
	}
	return h.doAction(ctx, q, []schemas.IssueID{issue.ID}, a)
}

// changeIssues answers PUT /issues.
func (h *Handler) changeIssues(ctx context.Context, q *query) (any, error) {
	var a IssueAction
	if err := q.decode(&a); err != nil {
		return nil, err
	}
	a.By = q.actor(a.By)
	if (len(a.IDs) > 0) == (a.Query != "") {
		return nil, badBody("ids and query", "give ids, or a query that is not empty")
	}
	if len(a.IDs) > exporters.MaxIssues {
		return nil, badBody("ids", "at most "+strconv.Itoa(exporters.MaxIssues))
	}
	ids := make([]schemas.IssueID, 0, len(a.IDs))
	for _, s := range a.IDs {
		id, err := strconv.ParseUint(s, 10, 53)
		if err != nil || id == 0 {
			return nil, badBody("ids", "positive whole numbers as strings; "+strconv.Quote(clip(s, 40))+" is none")
		}
		ids = append(ids, schemas.IssueID(id))
	}
	more := false
	if a.Query != "" {
		found, next, err := h.findIssues(ctx, issueSearch{project: q.project.ID, query: a.Query, me: a.By, sort: byDate, limit: exporters.MaxIssues, noCounts: true})
		if err != nil {
			return nil, err
		}
		for i := range found {
			ids = append(ids, found[i].ID)
		}
		more = next != ""
	}
	out, err := h.doAction(ctx, q, ids, a)
	out.More = more
	return out, err
}

func badBody(field, hint string) *Problem {
	e := errorf(http.StatusBadRequest, "bad_body", hint, "the field %s cannot be taken", field)
	e.Param = field
	return e
}

// doAction does the one thing that a says.
func (h *Handler) doAction(ctx context.Context, q *query, ids []schemas.IssueID, a IssueAction) (IssuesChanged, error) {
	change, parts := exporters.IssueChange{By: who(a.By), At: q.now}, 0
	did := func(is bool) bool {
		if is {
			parts++
		}
		return is
	}
	if did(a.Resolve != nil) {
		change.Resolve = &schemas.Resolution{Kind: a.Resolve.In, Release: a.Resolve.Release}
		if change.Resolve.Kind == "" {
			change.Resolve.Kind = schemas.ResolvedNow
		}
	}
	change.Unresolve = did(a.Unresolve)
	if did(a.Archive != nil) {
		archive, err := a.Archive.archive(q.now)
		if err != nil {
			return IssuesChanged{}, err
		}
		change.Archive = &archive
	}
	did(a.Assign != nil)
	did(a.Priority != "")
	did(a.Bookmark != nil)
	did(a.Comment != "")
	change.Assign, change.Priority, change.Bookmark, change.Comment = a.Assign, a.Priority, a.Bookmark, a.Comment
	did(a.Merge != "")
	did(a.Delete || a.Discard)
	if parts != 1 {
		return IssuesChanged{}, badBody("body", "say exactly one of resolve, unresolve, archive, assign, priority, bookmark, comment, merge, delete, discard")
	}
	before, err := h.beforeAction(ctx, q.project.ID, ids)
	if err != nil {
		return IssuesChanged{}, err
	}
	var changed []schemas.IssueID
	switch {
	case a.Merge != "":
		target, parseErr := strconv.ParseUint(a.Merge, 10, 53)
		if parseErr != nil || target == 0 {
			return IssuesChanged{}, badBody("merge", "the id of the issue that takes the others")
		}
		if changed = before.mergeable(schemas.IssueID(target)); len(changed) > 0 || len(ids) == 0 {
			err = h.deps.Issues.MergeIssues(ctx, q.project.ID, schemas.IssueID(target), changed, who(a.By))
		}
	case a.Delete || a.Discard:
		changed, err = h.deps.Issues.DeleteIssues(ctx, q.project.ID, ids, a.Discard, who(a.By))
	default:
		changed, err = h.deps.Issues.ChangeIssues(ctx, q.project.ID, ids, change)
	}
	if err != nil {
		return IssuesChanged{}, changeError(err)
	}
	out := IssuesChanged{Changed: make([]string, len(changed)), Outcomes: before.outcomes(changed, a)}
	for i, id := range changed {
		out.Changed[i] = issueID(id)
	}
	return out, nil
}

// changeError is what an action could not do.
func changeError(err error) error {
	switch {
	case errors.Is(err, exporters.ErrBadChange):
		_, why, _ := strings.Cut(err.Error(), exporters.ErrBadChange.Error()+": ")
		return errorf(http.StatusBadRequest, "bad_change", "see /api/v1/openapi.yaml", "%s", clip(why, 300))
	case errors.Is(err, exporters.ErrTooLarge):
		return errorf(http.StatusBadRequest, "too_many", "change fewer at once", "%s", clip(err.Error(), 300))
	case errors.Is(err, exporters.ErrNotFound):
		return errorf(http.StatusNotFound, "issue_not_found", "/issues lists those there are", "one of the issues is not there")
	}
	return err
}

// who is the name in the log; an empty one means the system there.
func who(by string) string {
	if by = strings.TrimSpace(by); by == "" {
		return "user"
	}
	return by
}

func (a *ArchiveAction) archive(now time.Time) (schemas.Archive, error) {
	out := schemas.Archive{Kind: a.Until, Count: a.Count, Window: a.WindowSeconds * int64(time.Second)}
	if out.Kind == "" {
		out.Kind = schemas.UntilEscalating
	}
	if a.WindowSeconds < 0 || a.WindowSeconds > 1<<30 {
		return out, badBody("archive.windowSeconds", "from 60 to 604800")
	}
	if out.Kind == schemas.UntilTime {
		if d, err := time.ParseDuration(a.Time); err == nil {
			out.Until = now.Add(d).UnixNano()
		} else if ns, err := strconv.ParseInt(a.Time, 10, 64); err == nil {
			out.Until = ns
		} else if t, err := time.Parse(time.RFC3339Nano, a.Time); err == nil && t.Year() >= 1970 && t.Year() < 2262 {
			out.Until = t.UnixNano()
		} else {
			return out, badBody("archive.time", "RFC 3339, Unix nanoseconds, or a time from now as 24h")
		}
	}
	return out, nil
}

// unmergeIssue answers POST /issues/{id}/unmerge.
func (h *Handler) unmergeIssue(ctx context.Context, q *query) (any, error) {
	var a UnmergeAction
	if err := q.decode(&a); err != nil {
		return nil, err
	}
	a.By = q.actor(a.By)
	hashes, err := parseHashes(a.Hashes)
	if err != nil {
		return nil, err
	}
	issue, err := h.readIssue(ctx, q)
	if err != nil {
		return nil, err
	}
	// What each side will have, so that its times are exact from the start.
	const stay, leave = 1, 2
	sets := []exporters.EventSet{{Issue: stay}, {Issue: leave}}
	picked := make(map[schemas.Fingerprint]bool, len(hashes))
	for _, x := range hashes {
		picked[x] = true
	}
	for _, x := range issue.set.Hashes {
		side := 0
		if picked[x.Hash] {
			side = 1
		}
		sets[side].Hashes = append(sets[side].Hashes, x)
	}
	stats, err := h.deps.IssueEvents.StatsOf(ctx, q.project.ID, sets, allTime(q.now))
	if err != nil {
		return nil, fmt.Errorf("cannot count the events of %d hashes: %w", len(hashes), err)
	}
	u := exporters.Unmerge{
		Project: q.project.ID, Issue: issue.ID, Hashes: hashes, Former: a.Former, By: who(a.By),
		Stay: exporters.SeenSpan{First: stats[stay].First, Last: stats[stay].Last}, Go: exporters.SeenSpan{First: stats[leave].First, Last: stats[leave].Last},
	}
	if u.StayTitle, u.StayCulprit, u.StayLevel, err = h.headOf(ctx, q, sets[0]); err != nil {
		return nil, err
	}
	if u.Title, u.Culprit, u.Level, err = h.headOf(ctx, q, sets[1]); err != nil {
		return nil, err
	}
	to, err := h.deps.Issues.UnmergeIssue(ctx, u)
	if err != nil {
		return nil, changeError(err)
	}
	return Unmerged{Issue: issueID(to)}, nil
}

// headOf is the title, culprit and level of a set's latest event; empty without one.
func (h *Handler) headOf(ctx context.Context, q *query, set exporters.EventSet) (title, culprit, level string, err error) {
	if len(set.Hashes) == 0 {
		return "", "", "", nil
	}
	latest, err := h.deps.IssueEvents.EventsOf(ctx, q.project.ID, set, exporters.EventPage{EventFilter: allTime(q.now), Limit: 1})
	if err != nil {
		return "", "", "", fmt.Errorf("cannot read the latest event of %d hashes: %w", len(set.Hashes), err)
	}
	if len(latest) == 0 {
		return "", "", "", nil
	}
	e := latest[0]
	title = e.Type
	if e.Type != "" && e.Value != "" {
		title += ": "
	}
	return title + e.Value, e.Culprit, e.Level, nil
}

func parseHashes(in []string) ([]schemas.Fingerprint, error) {
	if len(in) == 0 || len(in) > exporters.MaxHashes {
		return nil, badBody("hashes", "1 to "+strconv.Itoa(exporters.MaxHashes)+" hashes")
	}
	out := make([]schemas.Fingerprint, len(in))
	for i, s := range in {
		if n, err := hex.Decode(out[i][:], []byte(clip(s, 32))); err != nil || n != len(out[i]) || len(s) != 32 {
			return nil, badBody("hashes", "32 hex digits each; "+strconv.Quote(clip(s, 40))+" is none")
		}
	}
	return out, nil
}

// discarded answers /discarded.
func (h *Handler) discarded(ctx context.Context, q *query) (any, error) {
	limit := q.limit(100)
	if q.fault != nil {
		return nil, q.fault
	}
	found, err := h.deps.Issues.Discarded(ctx, q.project.ID, limit)
	if err != nil {
		return nil, fmt.Errorf("cannot list what was discarded: %w", err)
	}
	out := DiscardedList{Discarded: make([]Discarded, len(found))}
	for i, d := range found {
		out.Discarded[i] = Discarded{Title: d.Title, Culprit: d.Culprit, By: d.By, At: nanos(d.At), Hashes: make([]string, len(d.Hashes))}
		for k, x := range d.Hashes {
			out.Discarded[i].Hashes[k] = x.String()
		}
	}
	return out, nil
}

// restore answers POST /discarded/restore.
func (h *Handler) restore(ctx context.Context, q *query) (any, error) {
	var a RestoreAction
	if err := q.decode(&a); err != nil {
		return nil, err
	}
	hashes, err := parseHashes(a.Hashes)
	if err != nil {
		return nil, err
	}
	if err := h.deps.Issues.RestoreHashes(ctx, q.project.ID, hashes); err != nil {
		return nil, changeError(err)
	}
	return IssuesChanged{Changed: []string{}, Outcomes: []IssueOutcome{}}, nil
}

// searchFields answers /search-fields.
func (h *Handler) searchFields(context.Context, *query) (any, error) {
	out := SearchFields{Fields: make([]SearchField, len(search.Fields))}
	for i, f := range search.Fields {
		out.Fields[i] = SearchField{Name: f.Name, Does: f.Does, Words: some(f.Words)}
	}
	return out, nil
}

func eventJSON(e *schemas.Event) Event {
	out := Event{
		ID: e.ID.String(), Time: nanos(e.Time), Received: nanos(e.Received), Level: e.Level, Type: e.Type, Value: e.Value, Culprit: e.Culprit,
		Platform: e.Platform, Transaction: e.Transaction, Release: e.Release, Environment: e.Environment, Server: e.Server, SDK: e.SDK,
		Logger: e.Logger, Fingerprint: e.Fingerprint.String(),
		TraceID: traceText(e.TraceID), SpanID: spanText(e.SpanID), Topic: e.Topic, Group: e.Group, Tags: attributes(e.Tags),
		Origin: string(cmp.Or(e.Origin, schemas.OriginSentry)),
	}
	for _, user := range []string{e.UserIP, e.UserEmail, e.UserName, e.UserID} {
		if user != "" {
			out.User = user
		}
	}
	if e.Handled != schemas.HandledUnknown {
		handled := e.Handled == schemas.HandledYes
		out.Handled = &handled
	}
	if e.Topic != "" {
		out.Partition, out.Offset = told(e.Partition), told(e.Offset)
	}
	return out
}

func parseEventID(s string) (schemas.EventID, bool) {
	var id schemas.EventID
	if len(s) != 32 {
		return id, false
	}
	_, err := hex.Decode(id[:], []byte(s))
	return id, err == nil
}
