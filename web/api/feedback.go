package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// FeedbackList is a page of feedback, newest first.
type FeedbackList struct {
	Feedback []Feedback `json:"feedback"`
	// Next pages: pass it as before. Null on the last page.
	Next *string `json:"next"`
}

// Feedback is what a user wrote.
type Feedback struct {
	ID          string `json:"id"`
	Received    Nanos  `json:"received"`
	Status      string `json:"status"` // unresolved, resolved or spam
	Changed     *Nanos `json:"changed"`
	Name        string `json:"name"`
	Email       string `json:"email"`
	Message     string `json:"message"`
	URL         string `json:"url"`
	Source      string `json:"source"`
	Release     string `json:"release"`
	Environment string `json:"environment"`
	Replay      string `json:"replay"`  // empty when there is none
	TraceID     string `json:"traceId"` // empty when it told none
	// Event is what it is about; empty when it names none. Issue and Title are null
	// while, or when, that event is not stored.
	Event string  `json:"event"`
	Issue *string `json:"issue"`
	Title *string `json:"title"`
}

// FeedbackChange sets the status of some.
type FeedbackChange struct {
	IDs    []string `json:"ids"`
	Status string   `json:"status"`
}

// FeedbackChanged are those that were there.
type FeedbackChanged struct {
	IDs []string `json:"ids"`
}

// feedbackAsks is how many events are looked up at once.
const feedbackAsks = 4

func (h *Handler) feedbackRoutes() {
	h.handle("/api/v1/feedback", []string{"from", "to", "status", "event", "before", "limit"}, h.feedback)
	h.act(http.MethodPost, "/api/v1/feedback/status", h.setFeedback)
}

func (h *Handler) hasFeedback() error {
	if h.deps.Feedback == nil {
		return errorf(http.StatusNotImplemented, "no_feedback", "ask a server of hoptrace", "this server has no store of feedback")
	}
	return nil
}

// feedback answers /feedback.
func (h *Handler) feedback(ctx context.Context, q *query) (any, error) {
	if err := h.hasFeedback(); err != nil {
		return nil, err
	}
	fq := exporters.FeedbackQuery{
		Project: q.project.ID, Range: q.timeRange(), Limit: q.limit(50),
		Status: schemas.FeedbackStatus(q.oneOf("status", "", string(schemas.FeedbackUnresolved), string(schemas.FeedbackResolved), string(schemas.FeedbackSpam))),
	}
	if s := q.text("event"); s != "" {
		var ok bool
		if fq.Event, ok = parseEventID(s); !ok {
			q.refuse("event", s, "32 hex digits")
		}
	}
	if s := q.text("before"); s != "" {
		at, id, _ := strings.Cut(s, ".")
		var err error
		var ok bool
		fq.Before, err = strconv.ParseInt(at, 10, 64)
		if fq.BeforeID, ok = parseEventID(id); err != nil || fq.Before <= 0 || !ok {
			q.refuse("before", s, "what the last page gave as next")
		}
	}
	if q.fault != nil {
		return nil, q.fault
	}
	found, err := h.deps.Feedback.Feedback(ctx, fq)
	if err != nil {
		return nil, fmt.Errorf("cannot list feedback: %w", err)
	}
	out := FeedbackList{Feedback: make([]Feedback, len(found))}
	asks, ctx := errgroup.WithContext(ctx)
	asks.SetLimit(feedbackAsks)
	for i := range found {
		f := &found[i]
		o := &out.Feedback[i]
		*o = Feedback{
			ID: f.ID.String(), Received: nanos(f.Received), Status: string(f.Status), Name: f.Name, Email: f.Email, Message: f.Message, URL: f.URL, Source: f.Source,
			Release: f.Release, Environment: f.Environment, Replay: eventText(f.Replay), TraceID: traceText(f.Trace), Event: eventText(f.Event),
		}
		if f.Changed > 0 {
			at := nanos(f.Changed)
			o.Changed = &at
		}
		if f.Event != (schemas.EventID{}) {
			asks.Go(func() error { return h.joinFeedback(ctx, q.project.ID, f.Event, o) })
		}
	}
	if err := asks.Wait(); err != nil {
		return nil, err
	}
	if len(found) == fq.Limit {
		last := &found[len(found)-1]
		next := strconv.FormatInt(last.Received, 10) + "." + last.ID.String()
		out.Next = &next
	}
	return out, nil
}

// joinFeedback finds the issue of the event that a feedback is about.
func (h *Handler) joinFeedback(ctx context.Context, project uint64, event schemas.EventID, to *Feedback) error {
	e, err := h.deps.Events.Event(ctx, project, event)
	if errors.Is(err, exporters.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot find event %s of a feedback: %w", event, err)
	}
	issue, err := h.deps.Issues.Issue(ctx, project, e.Issue)
	if err == nil && issue.MergedInto != 0 {
		issue, err = h.deps.Issues.Issue(ctx, project, issue.MergedInto)
	}
	if errors.Is(err, exporters.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot find the issue of event %s of a feedback: %w", event, err)
	}
	id := strconv.FormatUint(uint64(issue.ID), 10)
	to.Issue, to.Title = &id, &issue.Title
	return nil
}

func eventText(id schemas.EventID) string {
	if id == (schemas.EventID{}) {
		return ""
	}
	return id.String()
}

// setFeedback answers /feedback/status.
func (h *Handler) setFeedback(ctx context.Context, q *query) (any, error) {
	if err := h.hasFeedback(); err != nil {
		return nil, err
	}
	var in FeedbackChange
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	status := schemas.FeedbackStatus(in.Status)
	if status != schemas.FeedbackUnresolved && status != schemas.FeedbackResolved && status != schemas.FeedbackSpam {
		return nil, badParameter("status", in.Status, "unresolved, resolved or spam")
	}
	if len(in.IDs) == 0 || len(in.IDs) > exporters.MaxFeedbackChange {
		return nil, badParameter("ids", strconv.Itoa(len(in.IDs))+" ids", "1 to "+strconv.Itoa(exporters.MaxFeedbackChange))
	}
	ids := make([]schemas.EventID, len(in.IDs))
	for i, s := range in.IDs {
		var ok bool
		if ids[i], ok = parseEventID(s); !ok {
			return nil, badParameter("ids", s, "32 hex digits each")
		}
	}
	done, err := h.deps.Feedback.SetFeedbackStatus(ctx, q.project.ID, ids, status, h.now().UnixNano())
	if err != nil {
		return nil, fmt.Errorf("cannot set the status of %d feedbacks: %w", len(ids), err)
	}
	out := FeedbackChanged{IDs: make([]string, len(done))}
	for i, id := range done {
		out.IDs[i] = id.String()
	}
	return out, nil
}
