package api

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/web/api/finding"
)

// issues answers /issues.
func (h *Handler) issues(ctx context.Context, q *query) (any, error) {
	iq := exporters.IssueQuery{Project: q.project.ID, Range: q.timeRange(), Text: q.text("text"), Before: q.nanos("before"), Limit: q.limit(50)}
	if q.fault != nil {
		return nil, q.fault
	}
	found, err := h.deps.Issues.Issues(ctx, iq)
	if err != nil {
		return nil, fmt.Errorf("cannot list issues: %w", err)
	}
	ids := make([]schemas.IssueID, len(found))
	for i := range found {
		ids[i] = found[i].ID
	}
	stats := map[schemas.IssueID]exporters.IssueStats{}
	if len(ids) > 0 {
		if stats, err = h.deps.Events.IssueStats(ctx, q.project.ID, ids, iq.Range); err != nil {
			return nil, fmt.Errorf("cannot count the events of %d issues: %w", len(ids), err)
		}
	}
	out := IssueList{Issues: make([]Issue, len(found))}
	facts := finding.Issues{Count: len(found), Filtered: iq.Text != "", More: len(found) == iq.Limit}
	until := iq.Range.To
	if until.IsZero() {
		until = q.now
	}
	for i := range found {
		issue, s := &found[i], stats[found[i].ID]
		out.Issues[i] = issueJSON(issue, s)
		facts.Events += s.Events
		if s.Events > facts.Worst.Events {
			facts.Worst = finding.Issue{Title: issue.Title, Href: "/issues/" + issueID(issue.ID), Events: s.Events, Records: s.Records}
		}
		if issue.FirstSeen > until.Add(-time.Hour).UnixNano() {
			facts.New++
		}
	}
	if facts.More {
		out.Next = known(found[len(found)-1].LastSeen)
	}
	out.Finding = finding.ForIssues(facts)
	return out, nil
}

func issueJSON(i *schemas.Issue, s exporters.IssueStats) Issue {
	return Issue{
		ID: issueID(i.ID), Title: i.Title, Culprit: i.Culprit, Level: i.Level, Platform: i.Platform, Status: i.Status,
		FirstSeen: nanos(i.FirstSeen), LastSeen: nanos(i.LastSeen), Fingerprint: i.Fingerprint.String(), Grouping: some(i.Grouping),
		Events: s.Events, Records: s.Records, Hours: s.Hours,
	}
}

// oneIssue reads the issue in the path, with its counts over all time.
func (h *Handler) oneIssue(ctx context.Context, q *query) (schemas.Issue, exporters.IssueStats, error) {
	id, err := strconv.ParseUint(q.path("id"), 10, 64)
	if err != nil || id == 0 {
		return schemas.Issue{}, exporters.IssueStats{}, badParameter("id", q.path("id"), "a positive whole number")
	}
	issue, err := h.deps.Issues.Issue(ctx, q.project.ID, schemas.IssueID(id))
	if errors.Is(err, exporters.ErrNotFound) {
		return issue, exporters.IssueStats{}, errorf(http.StatusNotFound, "issue_not_found", "/issues lists those there are", "there is no issue %d", id)
	}
	if err != nil {
		return issue, exporters.IssueStats{}, fmt.Errorf("cannot read issue %d: %w", id, err)
	}
	stats, err := h.deps.Events.IssueStats(ctx, q.project.ID, []schemas.IssueID{issue.ID}, exporters.Range{})
	if err != nil {
		return issue, exporters.IssueStats{}, fmt.Errorf("cannot count the events of issue %d: %w", id, err)
	}
	return issue, stats[issue.ID], nil
}

// issue answers /issues/{id}.
func (h *Handler) issue(ctx context.Context, q *query) (any, error) {
	limit := q.limit(100)
	if q.fault != nil {
		return nil, q.fault
	}
	issue, stats, err := h.oneIssue(ctx, q)
	if err != nil {
		return nil, err
	}
	events, err := h.deps.Events.Events(ctx, q.project.ID, issue.ID, limit)
	if err != nil {
		return nil, fmt.Errorf("cannot list the events of issue %d: %w", issue.ID, err)
	}
	out := IssueDetail{Issue: issueJSON(&issue, stats), Events: make([]Event, len(events))}
	for i := range events {
		out.Events[i] = eventJSON(&events[i])
	}
	return out, nil
}

func eventJSON(e *schemas.Event) Event {
	out := Event{
		ID: e.ID.String(), Time: nanos(e.Time), Received: nanos(e.Received), Level: e.Level, Type: e.Type, Value: e.Value, Culprit: e.Culprit,
		Platform: e.Platform, Transaction: e.Transaction, Release: e.Release, Environment: e.Environment, Server: e.Server, SDK: e.SDK,
		TraceID: traceText(e.TraceID), SpanID: spanText(e.SpanID), Topic: e.Topic, Group: e.Group, Tags: attributes(e.Tags),
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
