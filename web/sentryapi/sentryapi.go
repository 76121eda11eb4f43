// Package sentryapi is the part of Sentry's public web API that its command-line
// client needs, under /api/0/: releases, deploys, and the upload of source maps
// in chunks. What it asks and takes was learned from the client. Every request
// needs a token (`hoptrace tokens create`). It finds no frames; see package
// pipeline/symbolicate.
package sentryapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/web/access"
)

// Prefix is the path that the handler serves.
const Prefix = "/api/0/"

// Config bounds what is taken.
type Config struct {
	// MaxBundleBytes bounds one upload, packed. Zero or less means 1 GiB.
	MaxBundleBytes int64
	// MaxFileBytes bounds one file, unpacked. Zero or less means 64 MiB.
	MaxFileBytes int64
	// Version is what `sentry-cli info` may show.
	Version string
}

// Bounds of requests.
const (
	chunkSize        = exporters.ArtifactChunkSize
	chunksPerRequest = 64
	maxRequest       = 32 << 20
	maxJSON          = 4 << 20 // a release's commits may be many
	maxChunks        = 10_000
	concurrentPosts  = 4 // each holds a chunk in memory
	slowClient       = 5 * time.Minute
	queryTimeout     = 20 * time.Second
	assembleWait     = 3 * time.Second
	faultFor         = 10 * time.Minute // the same bytes are not tried again before
	perPage          = 100
	maxVersion       = 250
	maxDist          = 64
)

// Deps are the stores.
type Deps struct {
	Projects  exporters.Projects
	Releases  exporters.Releases
	Artifacts exporters.Artifacts
	Tokens    exporters.Tokens
	Blobs     exporters.Blobs
}

// Handler serves Prefix. It puts uploads together in the background between
// Start and Shutdown.
type Handler struct {
	cfg   Config
	deps  Deps
	log   *slog.Logger
	mux   *http.ServeMux
	posts chan struct{}
	now   func() time.Time

	assembler assembler
	requests  *prometheus.CounterVec
}

// New makes the handler and registers its metrics.
func New(cfg Config, deps Deps, reg prometheus.Registerer, log *slog.Logger) (*Handler, error) {
	if cfg.MaxBundleBytes <= 0 {
		cfg.MaxBundleBytes = 1 << 30
	}
	if cfg.MaxFileBytes <= 0 {
		cfg.MaxFileBytes = 64 << 20
	}
	h := &Handler{
		cfg: cfg, deps: deps, log: log, mux: http.NewServeMux(), posts: make(chan struct{}, concurrentPosts), now: time.Now,
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "hoptrace_sentryapi_requests_total", Help: "Requests of sentry-cli and its like, by route and status code.",
		}, []string{"route", "code"}),
	}
	assemblies := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "hoptrace_sentryapi_assemblies_total", Help: "Uploads that were put together, by result.",
	}, []string{"result"})
	for _, c := range []prometheus.Collector{h.requests, assemblies} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("cannot register the metrics of /api/0/: %w", err)
		}
	}
	h.assembler.init(h, assemblies)
	h.routes()
	return h, nil
}

func (h *Handler) routes() {
	read, write := http.MethodGet, exporters.ScopeProjectReleases
	handle := func(method, route, scope string, f answerer) { h.handle(method, route, scope, f) }
	get := func(route string, f answerer) { handle(read, route, exporters.ScopeProjectRead, f) }
	get("", h.info)
	get("organizations/", h.organizations)
	get("organizations/{org}/", h.organization)
	get("organizations/{org}/projects/", h.projects)
	get("projects/", h.projects)
	get("projects/{org}/{project}/", h.project)
	get("organizations/{org}/repos/", func(*request) (any, error) { return []any{}, nil })
	get("organizations/{org}/chunk-upload/", h.chunkOptions)
	handle(http.MethodPost, "organizations/{org}/chunk-upload/", write, h.uploadChunks)
	handle(http.MethodPost, "organizations/{org}/artifactbundle/assemble/", write, h.assembleBundle)
	handle(http.MethodPost, "organizations/{org}/releases/{version}/assemble/", write, h.assembleRelease)
	handle(http.MethodPost, "projects/{org}/{project}/files/difs/assemble/", write, h.refuseDebugFiles)
	handle(http.MethodDelete, "projects/{org}/{project}/files/source-maps/", write, h.deleteSourceMaps)
	for _, base := range []string{"organizations/{org}/releases/", "projects/{org}/{project}/releases/"} {
		get(base, h.listReleases)
		handle(http.MethodPost, base, write, h.createRelease)
		get(base+"{version}/", h.getRelease)
		handle(http.MethodPut, base+"{version}/", write, h.updateRelease)
		handle(http.MethodDelete, base+"{version}/", write, h.deleteRelease)
		get(base+"{version}/deploys/", h.listDeploys)
		handle(http.MethodPost, base+"{version}/deploys/", write, h.createDeploy)
		get(base+"{version}/files/", h.listFiles)
		handle(http.MethodPost, base+"{version}/files/", write, h.uploadFile)
		handle(http.MethodDelete, base+"{version}/files/{file}/", write, h.deleteFile)
	}
	h.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		h.serve(w, r, "other", "", func(*request) (any, error) {
			return nil, problem{http.StatusNotFound, fmt.Sprintf("hoptrace does not serve %s %.200s: it has what releases and source maps need", r.Method, r.URL.Path)}
		})
	})
}

// request is one that is allowed.
type request struct {
	*http.Request
	w     http.ResponseWriter
	token exporters.Token
}

type answerer func(r *request) (any, error)

// created makes the answer 201.
type created struct{ any }

// problem is an answer that is not the wanted one. Clients print Detail.
type problem struct {
	status int
	detail string
}

func (p problem) Error() string { return p.detail }

func badRequest(format string, args ...any) error {
	return problem{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

// handle serves a route with and without its final slash.
func (h *Handler) handle(method, route, scope string, f answerer) {
	served := func(w http.ResponseWriter, r *http.Request) { h.serve(w, r, method+" "+route, scope, f) }
	h.mux.HandleFunc(method+" "+Prefix+route+"{$}", served)
	if route != "" {
		h.mux.HandleFunc(method+" "+Prefix+strings.TrimSuffix(route, "/"), served)
	}
}

// ServeHTTP serves one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.mux.ServeHTTP(w, r) }

func (h *Handler) serve(w http.ResponseWriter, r *http.Request, route, scope string, f answerer) {
	out, err := h.answer(w, r, scope, f)
	code := http.StatusOK
	if c, ok := out.(created); ok {
		code, out = http.StatusCreated, c.any
	}
	if out == nil {
		code = http.StatusNoContent
	}
	if err != nil {
		p := asProblem(err)
		code, out = p.status, map[string]string{"detail": p.detail}
		if code >= 500 && r.Context().Err() == nil {
			h.log.Warn("web: a request to /api/0/ was not answered", "route", route, "err", err)
		}
		if code == http.StatusServiceUnavailable {
			w.Header().Set("Retry-After", "5")
		}
	}
	h.requests.WithLabelValues(route, strconv.Itoa(code)).Inc()
	w.Header().Set("Cache-Control", "no-store")
	if code == http.StatusNoContent {
		w.WriteHeader(code)
		return
	}
	body, err := json.Marshal(out)
	if err != nil {
		h.log.Error("web: cannot encode an answer of /api/0/", "route", route, "err", err)
		http.Error(w, `{"detail":"the answer cannot be encoded; see the server's log"}`, http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(code)
	_, _ = w.Write(body) // the client left
}

func asProblem(err error) problem {
	var p problem
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &tooLarge):
		return problem{http.StatusRequestEntityTooLarge, fmt.Sprintf("the request has more than %d bytes", tooLarge.Limit)}
	case errors.Is(err, exporters.ErrNotFound):
		return problem{http.StatusNotFound, "The requested resource does not exist: " + err.Error()}
	case errors.Is(err, exporters.ErrUnavailable), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return problem{http.StatusServiceUnavailable, "hoptrace's store does not answer; try again"}
	}
	return problem{http.StatusInternalServerError, "hoptrace has failed; see the log of its web role"}
}

func (h *Handler) answer(w http.ResponseWriter, r *http.Request, scope string, f answerer) (any, error) {
	// Authenticate before a byte of the body is read.
	token, err := h.authenticate(r, scope)
	if err != nil {
		return nil, err
	}
	return f(&request{Request: r, w: w, token: token})
}

func (h *Handler) authenticate(r *http.Request, scope string) (exporters.Token, error) {
	kind, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	token = strings.TrimSpace(token)
	if !strings.EqualFold(kind, "Bearer") || token == "" || len(token) > 1024 {
		return exporters.Token{}, problem{http.StatusUnauthorized, "no token was sent; make one with `hoptrace tokens create` and give it to sentry-cli as SENTRY_AUTH_TOKEN"}
	}
	ctx, cancel := context.WithTimeout(r.Context(), queryTimeout)
	defer cancel()
	t, err := h.deps.Tokens.TokenByHash(ctx, access.Hash(token), h.now().UnixNano())
	if errors.Is(err, exporters.ErrNotFound) {
		return exporters.Token{}, problem{http.StatusUnauthorized, "the token is not known here, or was revoked; `hoptrace tokens list` shows those that are"}
	}
	if err != nil {
		return exporters.Token{}, err
	}
	allowed := slices.Contains(t.Scopes, scope) || scope == "" ||
		scope == exporters.ScopeProjectRead && (slices.Contains(t.Scopes, exporters.ScopeOrgRead) || slices.Contains(t.Scopes, exporters.ScopeProjectReleases))
	if !allowed {
		return exporters.Token{}, problem{http.StatusForbidden, fmt.Sprintf("token %q has no scope %s; it has %s", t.Name, scope, strings.Join(t.Scopes, ", "))}
	}
	return t, nil
}

// decode reads a JSON body.
func (r *request) decode(v any) error {
	body, err := io.ReadAll(http.MaxBytesReader(r.w, r.Body, maxJSON))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, v); err != nil {
		return badRequest("the body is not the JSON that is expected: %.200s", err)
	}
	return nil
}

// version is the release's that the path names.
func (r *request) version() (string, error) { return checkVersion(r.PathValue("version")) }

func checkVersion(v string) (string, error) {
	if v == "" || len(v) > maxVersion || v == "." || v == ".." || strings.TrimSpace(v) != v || strings.ContainsAny(v, "\r\n\t\x00") {
		return "", badRequest("release %.50q: want 1 to %d bytes without line breaks, tabs, and spaces at the ends", v, maxVersion)
	}
	return v, nil
}

func checkDist(d string) (string, error) {
	if len(d) > maxDist || d == exporters.DistOfBundle || strings.ContainsAny(d, "\r\n\t\x00") {
		return "", badRequest("dist %.70q: want at most %d bytes, and not %q", d, maxDist, exporters.DistOfBundle)
	}
	return d, nil
}

// skip is how many rows a page's cursor leaves out: 0:skip:0.
func (r *request) skip() (int, error) {
	c := r.URL.Query().Get("cursor")
	if c == "" {
		return 0, nil
	}
	if parts := strings.Split(c, ":"); len(parts) == 3 {
		if n, err := strconv.Atoi(parts[1]); err == nil && n >= 0 && n <= 10_000_000 {
			return n, nil
		}
	}
	return 0, badRequest("cursor %.50q: want one that an answer named", c)
}

// page says where the next page is. rows were asked for one more than a page.
func page[T any](r *request, skip int, rows []T) []T {
	more := len(rows) > perPage
	if more {
		rows = rows[:perPage]
	}
	link := func(rel string, there bool, to int) string {
		u := url.URL{Path: r.URL.Path, RawQuery: url.Values{"cursor": {fmt.Sprintf("0:%d:0", to)}}.Encode()}
		return fmt.Sprintf(`<%s>; rel=%q; results="%t"; cursor="0:%d:0"`, u.String(), rel, there, to)
	}
	r.w.Header().Set("Link", link("previous", skip > 0, max(0, skip-perPage))+", "+link("next", more, skip+perPage))
	return rows
}

// timed bounds what is asked of the stores.
func (r *request) timed() (context.Context, context.CancelFunc) {
	return context.WithTimeout(r.Context(), queryTimeout)
}

// findProject finds one by slug or id.
func (h *Handler) findProject(ctx context.Context, name string) (schemas.Project, error) {
	all, err := h.deps.Projects.Projects(ctx)
	if err != nil {
		return schemas.Project{}, err
	}
	for _, p := range all {
		if p.Slug == name || strconv.FormatUint(p.ID, 10) == name {
			return p, nil
		}
	}
	return schemas.Project{}, problem{http.StatusNotFound, fmt.Sprintf("there is no project %.60q; sentry-cli projects list shows those that are", name)}
}

// pathProject is the project that the path names, if its route names one.
func (h *Handler) pathProject(ctx context.Context, r *request) ([]uint64, error) {
	name := r.PathValue("project")
	if name == "" {
		return nil, nil
	}
	p, err := h.findProject(ctx, name)
	return []uint64{p.ID}, err
}

const timeFormat = "2006-01-02T15:04:05.000000Z"

func timeText(ns int64) *string {
	if ns == 0 {
		return nil
	}
	s := time.Unix(0, ns).UTC().Format(timeFormat)
	return &s
}

// ---- who and what there is ----

type organizationJSON struct {
	ID          string            `json:"id"`
	Slug        string            `json:"slug"`
	Name        string            `json:"name"`
	Status      map[string]string `json:"status"`
	DateCreated string            `json:"dateCreated"`
	IsEarly     bool              `json:"isEarlyAdopter"`
	Require2FA  bool              `json:"require2FA"`
	Features    []string          `json:"features"`
	Avatar      map[string]string `json:"avatar"`
}

// theOrganization is the only one there is. Clients must name one, and whatever
// they name is it.
func theOrganization(slug string) organizationJSON {
	return organizationJSON{
		ID: "1", Slug: slug, Name: slug, Status: map[string]string{"id": "active", "name": "active"}, Features: []string{},
		DateCreated: time.Unix(0, 0).UTC().Format(timeFormat), Avatar: map[string]string{"avatarType": "letter_avatar"},
	}
}

func (h *Handler) info(r *request) (any, error) {
	return map[string]any{
		"version": "0", "hoptrace": h.cfg.Version,
		"auth": map[string]any{"scopes": r.token.Scopes},
		"user": map[string]any{"id": strconv.FormatInt(r.token.ID, 10), "username": r.token.Name, "name": r.token.Name, "email": "token:" + r.token.Name},
	}, nil
}

func (h *Handler) organizations(r *request) (any, error) {
	return page(r, 0, []organizationJSON{theOrganization("hoptrace")}), nil
}

func (h *Handler) organization(r *request) (any, error) {
	return theOrganization(r.PathValue("org")), nil
}

type projectJSON struct {
	ID           string            `json:"id"`
	Slug         string            `json:"slug"`
	Name         string            `json:"name"`
	Platform     *string           `json:"platform"`
	Team         *struct{}         `json:"team"`
	Teams        []struct{}        `json:"teams"`
	Status       string            `json:"status"`
	DateCreated  string            `json:"dateCreated"`
	IsMember     bool              `json:"isMember"`
	HasAccess    bool              `json:"hasAccess"`
	Features     []string          `json:"features"`
	Organization *organizationJSON `json:"organization,omitempty"`
}

func projectOf(p schemas.Project) projectJSON {
	return projectJSON{
		ID: strconv.FormatUint(p.ID, 10), Slug: p.Slug, Name: p.Name, Teams: []struct{}{}, Status: "active", IsMember: true, HasAccess: true,
		DateCreated: time.Unix(0, 0).UTC().Format(timeFormat), Features: []string{},
	}
}

func (h *Handler) projects(r *request) (any, error) {
	ctx, cancel := r.timed()
	defer cancel()
	skip, err := r.skip()
	if err != nil {
		return nil, err
	}
	all, err := h.deps.Projects.Projects(ctx)
	if err != nil {
		return nil, err
	}
	out := []projectJSON{}
	for _, p := range all[min(skip, len(all)):min(skip+perPage+1, len(all))] {
		out = append(out, projectOf(p))
	}
	return page(r, skip, out), nil
}

func (h *Handler) project(r *request) (any, error) {
	ctx, cancel := r.timed()
	defer cancel()
	p, err := h.findProject(ctx, r.PathValue("project"))
	if err != nil {
		return nil, err
	}
	out, org := projectOf(p), theOrganization(r.PathValue("org"))
	out.Organization = &org
	return out, nil
}
