package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// Regrouper groups events that are stored once more. The pipeline knows how;
// cmd/hoptrace wires it.
type Regrouper interface {
	// Preview groups the project's newest events by its own rules and by others. It
	// fails with a [RulesError] when these cannot be read.
	Preview(ctx context.Context, project schemas.Project, try GroupingTry) (GroupingPreview, error)
	// Explain groups one event by the project's rules. It fails with
	// exporters.ErrNotFound when the event or its payload is gone.
	Explain(ctx context.Context, project schemas.Project, id schemas.EventID) (GroupingOfEvent, error)
	// Check reads the rules of settings, and fails with a [RulesError].
	Check(settings *schemas.ProjectSettings) error
}

// RulesError is a fault in rules that a person wrote, with line and column.
type RulesError struct{ Err error }

// Error is the fault's text.
func (e *RulesError) Error() string { return e.Err.Error() }

// Unwrap gives the fault.
func (e *RulesError) Unwrap() error { return e.Err }

// GroupingTry are rules to try. Texts that are nil are the project's.
type GroupingTry struct {
	Enhancements   *string `json:"enhancements,omitempty"`
	Fingerprinting *string `json:"fingerprinting,omitempty"`
	Events         int     `json:"events"` // how many of the newest, 1 to 10,000
}

// GroupingPreview is what rules would do to events that are stored.
type GroupingPreview struct {
	Events       int              `json:"events"`
	Unreadable   int              `json:"unreadable"`
	Moved        int              `json:"moved"`
	IssuesBefore int              `json:"issuesBefore"`
	IssuesAfter  int              `json:"issuesAfter"`
	Renamed      int              `json:"renamed"`
	Splits       []GroupingChange `json:"splits"`
	SplitsAll    int              `json:"splitsAll"`
	Merges       []GroupingChange `json:"merges"`
	MergesAll    int              `json:"mergesAll"`
	Moves        []GroupingMove   `json:"moves"`
}

// GroupingChange is one issue with its parts.
type GroupingChange struct {
	Issue    GroupingIssue   `json:"issue"`
	Parts    []GroupingIssue `json:"parts"`
	PartsAll int             `json:"partsAll"`
}

// GroupingIssue is an issue by its hash.
type GroupingIssue struct {
	Hash    string `json:"hash"`
	Title   string `json:"title"`
	Events  int    `json:"events"`
	Example string `json:"example"`
}

// GroupingMove is an event that would go to another issue.
type GroupingMove struct {
	Event  string   `json:"event"`
	Title  string   `json:"title"`
	Before string   `json:"before"`
	After  string   `json:"after"`
	Was    []string `json:"was"`
	Is     []string `json:"is"`
}

// GroupingOfEvent is why an event is in its issue.
type GroupingOfEvent struct {
	Event  string       `json:"event"`
	Title  string       `json:"title"`
	Hash   string       `json:"hash"`
	Stored string       `json:"stored"`
	Hashes []string     `json:"hashes"`
	Lines  []string     `json:"lines"`
	Tree   GroupingTree `json:"tree"`
}

// GroupingTree is the tree as package pipeline/group writes it.
type GroupingTree struct {
	Version     string            `json:"version"`
	Strategy    string            `json:"strategy"`
	Rule        string            `json:"rule,omitempty"`
	Fingerprint []string          `json:"fingerprint,omitempty"`
	Variants    []GroupingVariant `json:"variants"`
}

// GroupingVariant is one way to take the event's frames.
type GroupingVariant struct {
	Name        string            `json:"name"`
	Contributes bool              `json:"contributes"`
	Hint        string            `json:"hint,omitempty"`
	Hash        string            `json:"hash,omitempty"`
	Component   GroupingComponent `json:"component"`
}

// GroupingComponent is a part of an event.
type GroupingComponent struct {
	ID          string              `json:"id"`
	Contributes bool                `json:"contributes"`
	Hint        string              `json:"hint,omitempty"`
	Value       string              `json:"value,omitempty"`
	Values      []GroupingComponent `json:"values,omitempty"`
}

// maxPreview bounds how many events one preview reads.
const maxPreview = 10_000

// groupingPreview answers POST /projects/{id}/grouping/preview.
func (h *Handler) groupingPreview(ctx context.Context, q *query) (any, error) {
	project, err := h.regrouped(ctx, q)
	if err != nil {
		return nil, err
	}
	var try GroupingTry
	if err := q.decode(&try); err != nil {
		return nil, err
	}
	if try.Events < 1 || try.Events > maxPreview {
		return nil, badParameter("events", strconv.Itoa(try.Events), "1 to "+strconv.Itoa(maxPreview))
	}
	out, err := h.deps.Regrouper.Preview(ctx, project, try)
	if rules, ok := errors.AsType[*RulesError](err); ok {
		return nil, errorf(http.StatusBadRequest, "bad_rules", "each line says where and what is wanted", "%s", clip(strings.ReplaceAll(rules.Error(), "\n", "; "), 4<<10)).withFaults(rules)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot preview rules of project %d: %w", project.ID, err)
	}
	return out, nil
}

// groupingOfEvent answers GET /projects/{id}/events/{event}/grouping.
func (h *Handler) groupingOfEvent(ctx context.Context, q *query) (any, error) {
	project, err := h.regrouped(ctx, q)
	if err != nil {
		return nil, err
	}
	id, ok := parseEventID(q.path("event"))
	if !ok {
		return nil, badParameter("event", q.path("event"), "32 hex digits")
	}
	out, err := h.deps.Regrouper.Explain(ctx, project, id)
	if errors.Is(err, exporters.ErrNotFound) {
		return nil, errorf(http.StatusNotFound, "event_not_found", "retention may have deleted it", "project %d has no event %s with a payload", project.ID, id)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot explain event %s: %w", id, err)
	}
	return out, nil
}

// regrouped finds the project in the path, with its settings.
func (h *Handler) regrouped(ctx context.Context, q *query) (schemas.Project, error) {
	if h.deps.Regrouper == nil {
		return schemas.Project{}, errorf(http.StatusNotImplemented, "no_grouping", "ask a server of hoptrace", "this server cannot group events")
	}
	id, err := strconv.ParseUint(q.path("id"), 10, 64)
	if err != nil || id == 0 {
		return schemas.Project{}, badParameter("id", q.path("id"), "a positive whole number")
	}
	project, err := h.deps.Projects.Project(ctx, id)
	if errors.Is(err, exporters.ErrNotFound) {
		return schemas.Project{}, errorf(http.StatusNotFound, "project_not_found", "/api/v1/status lists the projects", "there is no project %d", id)
	}
	if err != nil {
		return schemas.Project{}, fmt.Errorf("cannot read project %d: %w", id, err)
	}
	return project, nil
}
