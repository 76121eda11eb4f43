package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/internal/search"
	"github.com/hoptrace/hoptrace/schemas"
)

// SavedQueryList are a project's, by name.
type SavedQueryList struct {
	Queries []SavedQuery `json:"queries"`
	Most    int          `json:"most"` // that a project may have
}

// SavedQuery is a search under a name.
type SavedQuery struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Subject string `json:"subject"` // spans, hops, issues, logs
	Query   string `json:"query"`
	View    string `json:"view"`  // how the page shows it: parameters of its address
	Owner   string `json:"owner"` // e-mail of the member who saved it; without members whoever they said they are
	Created Nanos  `json:"created"`
	Changed Nanos  `json:"changed"`
	Yours   bool   `json:"yours"` // who asks may change and delete it
}

// SavedQueryWrite is one to save.
type SavedQueryWrite struct {
	Name    string `json:"name"`
	Subject string `json:"subject"`
	Query   string `json:"query"`
	View    string `json:"view"`
	Owner   string `json:"owner,omitempty"` // only of a new one, and only where nobody signs in
}

func (h *Handler) queryRoutes() {
	h.handle("/api/v1/queries", nil, h.savedQueries)
	h.act(http.MethodPost, "/api/v1/queries", h.saveQuery)
	h.act(http.MethodPut, "/api/v1/queries/{id}", h.changeQuery)
	h.act(http.MethodDelete, "/api/v1/queries/{id}", h.deleteQuery)
}

func (h *Handler) hasQueries() error {
	if h.deps.Queries == nil {
		return errorf(http.StatusNotImplemented, "no_saved_queries", "ask a server of hoptrace", "this server keeps no queries")
	}
	return nil
}

func savedJSON(q exporters.SavedQuery, yours bool) SavedQuery {
	return SavedQuery{Yours: yours, ID: strconv.FormatInt(q.ID, 10), Name: q.Name, Subject: q.Subject, Query: q.Query, View: q.View, Owner: q.Owner, Created: nanos(q.Created), Changed: nanos(q.Changed)}
}

func (h *Handler) savedQueries(ctx context.Context, q *query) (any, error) {
	if err := h.hasQueries(); err != nil {
		return nil, err
	}
	found, err := h.deps.Queries.SavedQueries(ctx, q.project.ID)
	if err != nil {
		return nil, err
	}
	out := SavedQueryList{Queries: make([]SavedQuery, len(found)), Most: exporters.MaxSavedQueries}
	members, err := h.membersNow(ctx, q)
	if err != nil {
		return nil, err
	}
	for i := range found {
		out.Queries[i] = savedJSON(found[i], q.mayChangeOf(found[i].Owner, members))
	}
	return out, nil
}

// membersNow are the e-mail addresses of who may sign in; none where nobody does.
func (h *Handler) membersNow(ctx context.Context, q *query) (map[string]bool, error) {
	if h.deps.Accounts == nil || q.who.Open {
		return nil, nil
	}
	all, err := h.deps.Accounts.Members(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot list the members: %w", err)
	}
	out := make(map[string]bool, len(all))
	for i := range all {
		out[all[i].Email] = true
	}
	return out, nil
}

// mayChangeOf tells whether who asks may change what an owner saved: it is theirs,
// or nobody's who is a member still; an admin may change all.
func (q *query) mayChangeOf(owner string, members map[string]bool) bool {
	switch {
	case q.who.Role.AtLeast(schemas.RoleAdmin):
		return true
	case !q.who.Role.AtLeast(schemas.RoleMember):
		return false
	}
	return !members[owner] || owner == q.who.Member.Email
}

// ownSaved refuses who may not change a saved query.
func (h *Handler) ownSaved(ctx context.Context, q *query, id int64) error {
	if q.who.Role.AtLeast(schemas.RoleAdmin) {
		return nil
	}
	all, err := h.deps.Queries.SavedQueries(ctx, q.project.ID)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(all, func(s exporters.SavedQuery) bool { return s.ID == id })
	if at < 0 {
		return savedProblem(exporters.ErrNotFound, "")
	}
	members, err := h.membersNow(ctx, q)
	if err != nil {
		return err
	}
	if !q.mayChangeOf(all[at].Owner, members) {
		return errorf(http.StatusForbidden, "not_yours", "save one of your own, or ask them or an admin", "%q was saved by %s", clip(all[at].Name, 100), clip(all[at].Owner, 200))
	}
	return nil
}

// maxSavedName bounds a name in characters.
const maxSavedName = 100

// savedSubjects are what can be saved.
var savedSubjects = []string{string(search.Spans), string(search.Hops), "issues", string(search.Logs)}

// readSaved reads and checks a body.
func (h *Handler) readSaved(q *query) (exporters.SavedQuery, error) {
	var b SavedQueryWrite
	if err := q.decode(&b); err != nil {
		return exporters.SavedQuery{}, err
	}
	bad := func(field, wayOut, format string, args ...any) (exporters.SavedQuery, error) {
		return exporters.SavedQuery{}, errorf(http.StatusBadRequest, "bad_body", wayOut, format, args...).of(field)
	}
	b.Name = strings.TrimSpace(b.Name)
	if n := utf8.RuneCountInString(b.Name); n == 0 || n > maxSavedName {
		return bad("name", "name it in a few words", "the name has %d characters, want 1 to %d", n, maxSavedName)
	}
	if !slices.Contains(savedSubjects, b.Subject) {
		return bad("subject", "one of "+strings.Join(savedSubjects, ", "), "the subject is %q", clip(b.Subject, 32))
	}
	if len(b.View) > exporters.MaxSavedText || len(b.Owner) > 200 {
		return bad("view", "at most "+strconv.Itoa(exporters.MaxSavedText)+" bytes, of owner 200", "view or owner is too long")
	}
	if _, err := url.ParseQuery(b.View); err != nil {
		return bad("view", "write it as name=value&name=value, percent-encoded", "view cannot be read")
	}
	var err error
	if b.Subject == "issues" {
		if _, err = search.Parse(b.Query, q.now); err != nil {
			err = queryError(b.Query, err)
		}
	} else {
		_, err = parseRows(search.Subject(b.Subject), b.Query, "query")
	}
	return exporters.SavedQuery{Project: q.project.ID, Name: b.Name, Subject: b.Subject, Query: b.Query, View: b.View, Owner: strings.TrimSpace(b.Owner)}, err
}

func savedProblem(err error, name string) error {
	switch {
	case errors.Is(err, exporters.ErrExists):
		return errorf(http.StatusConflict, "query_exists", "take another name, or change that one", "there is a saved query %q already", clip(name, 100)).of("name")
	case errors.Is(err, exporters.ErrTooLarge):
		return errorf(http.StatusConflict, "too_many_queries", "delete one that nobody needs", "the project has %d saved queries, the most there may be", exporters.MaxSavedQueries)
	case errors.Is(err, exporters.ErrNotFound):
		return errorf(http.StatusNotFound, "query_not_found", "/api/v1/queries lists them", "there is no such saved query")
	}
	return err
}

func (h *Handler) saveQuery(ctx context.Context, q *query) (any, error) {
	if err := h.hasQueries(); err != nil {
		return nil, err
	}
	s, err := h.readSaved(q)
	if err != nil {
		return nil, err
	}
	if name := q.who.Member.Email; name != "" {
		s.Owner = name
	} else {
		s.Owner = q.actor(s.Owner)
	}
	s.Created = time.Now().UnixNano()
	if s, err = h.deps.Queries.SaveQuery(ctx, s); err != nil {
		return nil, savedProblem(err, s.Name)
	}
	return savedJSON(s, true), nil
}

func savedID(q *query) (int64, error) {
	id, err := strconv.ParseInt(q.path("id"), 10, 64)
	if err != nil || id <= 0 {
		return 0, savedProblem(exporters.ErrNotFound, "")
	}
	return id, nil
}

func (h *Handler) changeQuery(ctx context.Context, q *query) (any, error) {
	if err := h.hasQueries(); err != nil {
		return nil, err
	}
	id, err := savedID(q)
	if err != nil {
		return nil, err
	}
	if err := h.ownSaved(ctx, q, id); err != nil {
		return nil, err
	}
	s, err := h.readSaved(q)
	if err != nil {
		return nil, err
	}
	name := s.Name
	s.ID, s.Changed = id, time.Now().UnixNano()
	if s, err = h.deps.Queries.UpdateSavedQuery(ctx, s); err != nil {
		return nil, savedProblem(err, name)
	}
	return savedJSON(s, true), nil
}

func (h *Handler) deleteQuery(ctx context.Context, q *query) (any, error) {
	if err := h.hasQueries(); err != nil {
		return nil, err
	}
	id, err := savedID(q)
	if err != nil {
		return nil, err
	}
	if err := h.ownSaved(ctx, q, id); err != nil {
		return nil, err
	}
	if err := h.deps.Queries.DeleteSavedQuery(ctx, q.project.ID, id); err != nil {
		return nil, savedProblem(err, "")
	}
	return Done{Done: true}, nil
}
