package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// ProjectList are all projects, by id.
type ProjectList struct {
	Projects []ProjectLine `json:"projects"`
}

// ProjectLine is one of them.
type ProjectLine struct {
	ID       string `json:"id"`
	Slug     string `json:"slug"`
	Name     string `json:"name"`
	Disabled bool   `json:"disabled"` // what is sent to it is refused
}

// ProjectDetail is a project with everything that is set for it.
type ProjectDetail struct {
	ID           string                  `json:"id"`
	Organization string                  `json:"organization"`
	Slug         string                  `json:"slug"`
	Name         string                  `json:"name"`
	Disabled     bool                    `json:"disabled"`
	Revision     int64                   `json:"revision"` // send it back with a change
	Settings     schemas.ProjectSettings `json:"settings"`
	Keys         []ProjectKey            `json:"keys"` // by time of making
}

// ProjectKey is one key of it.
type ProjectKey struct {
	ID      string            `json:"id"`
	Public  string            `json:"public"` // 32 hex digits
	Label   string            `json:"label"`
	Active  bool              `json:"active"`
	Created Nanos             `json:"created"`
	DSN     string            `json:"dsn"` // empty when the server does not know where it is reached
	Limit   *schemas.KeyLimit `json:"limit"`
}

// ProjectCreate makes a project.
type ProjectCreate struct {
	Slug     string          `json:"slug"`
	Name     string          `json:"name,omitempty"`     // the slug unless given
	Settings json.RawMessage `json:"settings,omitempty"` // the defaults unless given
}

// ProjectUpdate changes one. What is not given stays.
type ProjectUpdate struct {
	Name     *string         `json:"name,omitempty"`
	Disabled *bool           `json:"disabled,omitempty"`
	Settings json.RawMessage `json:"settings,omitempty"` // all of them: what they do not name is the default
	// Revision that the change was made to; it is refused when there is a newer
	// one. Zero means whatever is there.
	Revision int64 `json:"revision,omitempty"`
}

// KeyCreate makes a key.
type KeyCreate struct {
	Label string            `json:"label,omitempty"`
	Limit *schemas.KeyLimit `json:"limit,omitempty"`
}

// KeyUpdate sets all of a key that can be set.
type KeyUpdate struct {
	Label  string            `json:"label"`
	Active bool              `json:"active"`
	Limit  *schemas.KeyLimit `json:"limit"`
}

// Done says that nothing is left to tell.
type Done struct {
	Done bool `json:"done"`
}

func (h *Handler) projectRoutes() {
	h.handle("/api/v1/projects", nil, h.listProjects)
	h.act(http.MethodPost, "/api/v1/projects", h.createProject)
	h.handle("/api/v1/projects/{id}", nil, h.projectDetail)
	h.act(http.MethodPut, "/api/v1/projects/{id}", h.updateProject)
	h.act(http.MethodPost, "/api/v1/projects/{id}/keys", h.createKey)
	h.act(http.MethodPut, "/api/v1/projects/{id}/keys/{key}", h.updateKey)
	h.act(http.MethodDelete, "/api/v1/projects/{id}/keys/{key}", h.deleteKey)
	h.act(http.MethodPost, "/api/v1/projects/{id}/keys/{key}/rotate", h.rotateKey)
}

func (h *Handler) listProjects(ctx context.Context, _ *query) (any, error) {
	all, err := h.deps.Projects.Projects(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot list the projects: %w", err)
	}
	out := ProjectList{Projects: make([]ProjectLine, 0, len(all))}
	for i := range all {
		p := &all[i]
		out.Projects = append(out.Projects, ProjectLine{ID: strconv.FormatUint(p.ID, 10), Slug: p.Slug, Name: p.Name, Disabled: p.Disabled})
	}
	return out, nil
}

// pathProject reads the id in the path.
func (q *query) pathProject() (uint64, error) {
	id, err := strconv.ParseUint(q.path("id"), 10, 64)
	if err != nil || id == 0 {
		return 0, badParameter("id", q.path("id"), "the positive number of a project; /api/v1/projects lists them")
	}
	return id, nil
}

// pathKey reads the project's id and the key in the path.
func (q *query) pathKey() (uint64, string, error) {
	id, err := q.pathProject()
	if err != nil {
		return 0, "", err
	}
	key := strings.ToLower(q.path("key"))
	if len(key) != 32 || strings.Trim(key, "0123456789abcdef") != "" {
		return 0, "", badParameter("key", q.path("key"), "32 hex digits of a public key")
	}
	return id, key, nil
}

func (h *Handler) projectDetail(ctx context.Context, q *query) (any, error) {
	id, err := q.pathProject()
	if err != nil {
		return nil, err
	}
	p, err := h.deps.Projects.Project(ctx, id)
	if err != nil {
		return nil, projectError(err, id)
	}
	return h.detail(ctx, &p)
}

func (h *Handler) detail(ctx context.Context, p *schemas.Project) (any, error) {
	keys, err := h.deps.Projects.ListKeys(ctx, p.ID)
	if err != nil {
		return nil, projectError(err, p.ID)
	}
	out := ProjectDetail{
		ID: strconv.FormatUint(p.ID, 10), Organization: strconv.FormatUint(p.Organization, 10), Slug: p.Slug, Name: p.Name,
		Disabled: p.Disabled, Revision: p.Revision, Settings: *p.Settings, Keys: make([]ProjectKey, 0, len(keys)),
	}
	for i := range keys {
		out.Keys = append(out.Keys, h.keyJSON(&keys[i]))
	}
	return out, nil
}

func (h *Handler) keyJSON(k *schemas.Key) ProjectKey {
	return ProjectKey{
		ID: strconv.FormatUint(k.ID, 10), Public: k.Public, Label: k.Label, Active: k.Active, Created: nanos(k.Created),
		DSN: dsn(h.cfg.Endpoints.Sentry, k.Public, k.Project), Limit: k.Limit,
	}
}

// projectError says what the store refused about a project.
func projectError(err error, id uint64) error {
	switch {
	case errors.Is(err, exporters.ErrNotFound):
		return errorf(http.StatusNotFound, "project_not_found", "/api/v1/projects lists the projects", "there is no project %d, or it has no such key", id)
	case errors.Is(err, exporters.ErrConflict):
		return errorf(http.StatusConflict, "project_changed", "read the project again and make the change to what is there", "the project was changed by somebody else meanwhile")
	case errors.Is(err, exporters.ErrExists):
		return errorf(http.StatusConflict, "project_exists", "choose another slug, or change the project that has it", "there is a project with that slug already").of("slug")
	case errors.Is(err, exporters.ErrInvalid):
		return errorf(http.StatusBadRequest, "bad_project", "mend what the message names and send it again", "%s", clip(err.Error(), 8<<10))
	}
	return err
}

// settingsOf reads settings, and names every fault.
func (h *Handler) settingsOf(document json.RawMessage) (*schemas.ProjectSettings, error) {
	if len(document) == 0 || string(document) == "null" {
		return nil, nil //nolint:nilnil // not given
	}
	s, err := schemas.ParseProjectSettings(document)
	if err != nil {
		return nil, errorf(http.StatusBadRequest, "bad_settings", "mend what the message names, a line each, and send it again", "%s", clip(err.Error(), 8<<10)).withFaults(err)
	}
	if h.deps.Regrouper != nil {
		if err := h.deps.Regrouper.Check(&s); err != nil {
			return nil, errorf(http.StatusBadRequest, "bad_rules", "mend what the message names, a line each, and send it again", "%s", clip(err.Error(), 8<<10)).withFaults(err)
		}
	}
	return &s, nil
}

func (h *Handler) createProject(ctx context.Context, q *query) (any, error) {
	var in ProjectCreate
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	settings, err := h.settingsOf(in.Settings)
	if err != nil {
		return nil, err
	}
	p, err := h.deps.Projects.CreateProject(ctx, schemas.Project{Slug: in.Slug, Name: in.Name, Settings: settings})
	if errors.Is(err, exporters.ErrInvalid) { // the settings were read: it is the slug
		return nil, asProblem(projectError(err, 0)).of("slug")
	}
	if err != nil {
		return nil, projectError(err, 0)
	}
	q.noted(p.Slug, p.Name)
	return h.detail(ctx, &p)
}

func (h *Handler) updateProject(ctx context.Context, q *query) (any, error) {
	id, err := q.pathProject()
	if err != nil {
		return nil, err
	}
	var in ProjectUpdate
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	settings, err := h.settingsOf(in.Settings)
	if err != nil {
		return nil, err
	}
	p, err := h.deps.Projects.Project(ctx, id)
	if err != nil {
		return nil, projectError(err, id)
	}
	// Without a revision of the caller's, that of what was read just now: what is
	// not given must not undo another's change.
	if in.Revision != 0 {
		p.Revision = in.Revision
	}
	if in.Name != nil {
		p.Name = *in.Name
	}
	if in.Disabled != nil {
		p.Disabled = *in.Disabled
	}
	before := p.Settings
	p.Settings = settings
	if p, err = h.deps.Projects.UpdateProject(ctx, p); err != nil {
		return nil, projectError(err, id)
	}
	q.noted(p.Slug, changedText(&in, before, p.Settings))
	return h.detail(ctx, &p)
}

// changedText says for the audit what a change of a project named, and which
// parts of the settings are other than before.
func changedText(in *ProjectUpdate, before, after *schemas.ProjectSettings) string {
	var out []string
	if in.Name != nil {
		out = append(out, "name "+*in.Name)
	}
	if in.Disabled != nil {
		out = append(out, "disabled "+strconv.FormatBool(*in.Disabled))
	}
	if before == nil || after == nil || len(in.Settings) == 0 {
		return strings.Join(out, ", ")
	}
	old, now := reflect.ValueOf(*before), reflect.ValueOf(*after)
	for i := range now.NumField() {
		if name, _, _ := strings.Cut(now.Type().Field(i).Tag.Get("json"), ","); name != "" && name != "-" && !reflect.DeepEqual(old.Field(i).Interface(), now.Field(i).Interface()) {
			out = append(out, name)
		}
	}
	return strings.Join(out, ", ")
}

// keyNoted names a key in the audit by its project and label.
func (h *Handler) keyNoted(ctx context.Context, q *query, k *schemas.Key) {
	target := strconv.FormatUint(k.Project, 10)
	if p, err := h.deps.Projects.Project(ctx, k.Project); err == nil {
		target = p.Slug
	}
	detail := or(k.Label, k.Public)
	if !k.Active {
		detail += ", disabled"
	}
	q.noted(target, detail)
}

// limitFault names what is wrong with a key's limit.
func limitFault(limit *schemas.KeyLimit) error {
	if err := limit.Validate(); err != nil {
		return errorf(http.StatusBadRequest, "bad_project", "mend what the message names and send it again", "%s", strings.ReplaceAll(err.Error(), "\n", "; ")).of("limit")
	}
	return nil
}

func (h *Handler) createKey(ctx context.Context, q *query) (any, error) {
	id, err := q.pathProject()
	if err != nil {
		return nil, err
	}
	var in KeyCreate
	if len(q.body) > 0 {
		if err := q.decode(&in); err != nil {
			return nil, err
		}
	}
	if err := limitFault(in.Limit); err != nil {
		return nil, err
	}
	k, err := h.deps.Projects.CreateKey(ctx, schemas.Key{Project: id, Label: in.Label, Limit: in.Limit})
	return h.keyAnswer(ctx, q, id, &k, err)
}

func (h *Handler) updateKey(ctx context.Context, q *query) (any, error) {
	id, key, err := q.pathKey()
	if err != nil {
		return nil, err
	}
	var in KeyUpdate
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	if err := limitFault(in.Limit); err != nil {
		return nil, err
	}
	k, err := h.deps.Projects.UpdateKey(ctx, schemas.Key{Project: id, Public: key, Label: in.Label, Active: in.Active, Limit: in.Limit})
	return h.keyAnswer(ctx, q, id, &k, err)
}

func (h *Handler) rotateKey(ctx context.Context, q *query) (any, error) {
	id, key, err := q.pathKey()
	if err != nil {
		return nil, err
	}
	k, err := h.deps.Projects.RotateKey(ctx, id, key)
	return h.keyAnswer(ctx, q, id, &k, err)
}

func (h *Handler) keyAnswer(ctx context.Context, q *query, project uint64, k *schemas.Key, err error) (any, error) {
	if err != nil {
		return nil, projectError(err, project)
	}
	if h.deps.Access != nil {
		h.keyNoted(ctx, q, k)
	}
	return h.keyJSON(k), nil
}

func (h *Handler) deleteKey(ctx context.Context, q *query) (any, error) {
	id, key, err := q.pathKey()
	if err != nil {
		return nil, err
	}
	if err := h.deps.Projects.DeleteKey(ctx, id, key); err != nil {
		return nil, projectError(err, id)
	}
	return Done{Done: true}, nil
}
