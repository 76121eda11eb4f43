// Package api answers the questions of the browser application, as JSON over
// HTTP under /api/v1/. openapi.yaml is its contract; the UI's types are made
// from it. It reads through the contracts of package exporters and stores
// nothing; listening, headers and assets are package web's.
package api

import (
	"bytes"
	"compress/gzip"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/web/access"
)

//go:embed openapi.yaml
var openAPI []byte

// OpenAPI is the contract, YAML. The caller must not change it.
func OpenAPI() []byte { return openAPI }

// Deps are the stores that are read.
type Deps struct {
	Spans    exporters.SpanReader
	Messages exporters.MessageReader
	Metrics  exporters.MetricReader
	Clocks   exporters.ClockReader
	Logs     exporters.LogReader
	Ledger   exporters.LedgerReader
	// Backlogs may be nil: this process knows no broker.
	Backlogs exporters.BacklogReader
	// Lag may be nil: no cluster is watched.
	Lag    exporters.LagReader
	Events exporters.EventReader
	Issues exporters.IssueStore
	// IssueEvents counts and searches what issues are made of.
	IssueEvents exporters.IssueEventReader
	// Joined tells what messages events are about.
	Joined   exporters.JoinedReader
	Projects exporters.Projects
	Blobs    exporters.Blobs
	// Nodes has the payloads of events; those from before it lie in Blobs.
	Nodes exporters.Nodes
	// Regrouper tries and explains grouping; nil means that this process cannot.
	Regrouper Regrouper
	// What is kept beside events; nil means that this process cannot show it.
	Files    exporters.FileReader
	Feedback exporters.FeedbackStore
	Sessions exporters.SessionReader
	Monitors exporters.MonitorStore
	// Topology sums up messages; nil means that this process cannot.
	Topology exporters.TopologyReader
	// Find looks things up; nil means that this process cannot.
	Find exporters.FindReader
	// TopicSums sums up topics and partitions; nil means that this process cannot.
	TopicSums exporters.TopicReader
	// NewIssues counts the issues of releases; nil means that they are not told.
	NewIssues exporters.ReleaseIssues
	// Health is what our processes report, StoreHealth what the store tells of itself,
	// Stages the pipeline's table. Nil means that this process does not know.
	Health      exporters.HealthReader
	StoreHealth exporters.StoreHealthReader
	Stages      []LineStage
	// Letters reads dead letters, LetterEnds knows what became of them; nil means that
	// this process knows no broker.
	Letters    Letters
	LetterEnds exporters.DeadLetterEnds
	// Search searches rows, Queries keeps searches; nil means that this process cannot.
	Search  exporters.SearchReader
	Queries exporters.SavedQueries
	// Access decides who may ask; nil means that whoever asks is an owner. Accounts
	// and Tokens are what it keeps.
	Access   *access.Service
	Accounts exporters.Accounts
	Tokens   exporters.Tokens
}

// Endpoints are the addresses that the first-run page tells people to send to.
// Empty ones are not shown.
type Endpoints struct {
	OTLPGRPC string `json:"otlpGrpc"` // host:port
	OTLPHTTP string `json:"otlpHttp"` // http://host:port
	Sentry   string `json:"sentry"`   // http://host:port, without user and path
	Kafka    string `json:"kafka"`    // host:port of the embedded broker
}

// Config is what the API needs to know.
type Config struct {
	Version   string
	Endpoints Endpoints
	// QueryTimeout bounds one request's questions to the stores. Zero or less means 10 s.
	QueryTimeout time.Duration
	// MaxConcurrent bounds requests that ask the stores at the same time; the
	// next is answered with 503. Zero or less means 16.
	MaxConcurrent int
}

// Handler serves /api/v1/.
type Handler struct {
	cfg     Config
	deps    Deps
	log     *slog.Logger
	mux     *http.ServeMux
	routes  []string
	params  map[string][]string // what each route takes
	slots   chan struct{}
	exports chan struct{} // one for each that is being sent
	keys    keyCache
	now     func() time.Time
	seen    seenData
	metrics *metrics
}

type metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	cut      prometheus.Counter
}

// New makes the handler and registers its metrics.
func New(cfg Config, deps Deps, reg prometheus.Registerer, log *slog.Logger) (*Handler, error) {
	missing := []string{}
	for name, absent := range map[string]bool{
		"Spans": deps.Spans == nil, "Messages": deps.Messages == nil, "Metrics": deps.Metrics == nil, "Clocks": deps.Clocks == nil, "Logs": deps.Logs == nil, "Ledger": deps.Ledger == nil, "Events": deps.Events == nil,
		"Issues": deps.Issues == nil, "IssueEvents": deps.IssueEvents == nil, "Joined": deps.Joined == nil, "Projects": deps.Projects == nil, "Blobs": deps.Blobs == nil, "Nodes": deps.Nodes == nil,
	} {
		if absent {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("cannot make the web API: no reader for %s", strings.Join(missing, ", "))
	}
	if cfg.QueryTimeout <= 0 {
		cfg.QueryTimeout = 10 * time.Second
	}
	if cfg.MaxConcurrent <= 0 {
		cfg.MaxConcurrent = 16
	}
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "hoptrace_web_requests_total", Help: "API requests by route and status code.",
		}, []string{"route", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "hoptrace_web_request_duration_seconds", Help: "Time to answer an API request.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"route"}),
		cut: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "hoptrace_web_journeys_cut_total", Help: "Journeys answered in part because they exceed a limit.",
		}),
	}
	for _, c := range []prometheus.Collector{m.requests, m.duration, m.cut} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("cannot register the web API's metrics: %w", err)
		}
	}
	h := &Handler{cfg: cfg, deps: deps, log: log, mux: http.NewServeMux(), slots: make(chan struct{}, cfg.MaxConcurrent), exports: make(chan struct{}, maxExports), now: time.Now, metrics: m, params: map[string][]string{}}
	h.handle("/api/v1/status", nil, h.status)
	h.handle("/api/v1/names", []string{"from", "to"}, h.names)
	h.handle("/api/v1/traces", []string{"from", "to", "service", "topic", "group", "min_latency", "errors", "q", "before", "limit"}, h.traces)
	h.handle("/api/v1/traces/{id}", []string{"skip"}, h.journey)
	h.handle("/api/v1/traces/{id}/spans/{span}/batch", []string{"order", "skip", "limit"}, h.batch)
	h.handle("/api/v1/traces/{id}/spans/{span}/links", []string{"direction", "skip", "limit"}, h.links)
	h.handle("/api/v1/hops", []string{"from", "to", "topic", "group", "partition", "offset_from", "offset_to", "order", "q", "each", "before", "limit"}, h.hops)
	h.handle("/api/v1/lag", []string{"from", "cluster", "group", "topic", "state", "text", "sort", "skip", "limit"}, h.lag)
	h.handle("/api/v1/lag/{group}", []string{"from", "cluster", "topic", "partition", "at", "skip", "limit"}, h.lagGroup)
	h.handle("/api/v1/ledger", []string{"from", "to", "all"}, h.ledger)
	h.handle("/api/v1/logs", []string{"from", "to", "service", "trace", "level", "text", "q", "before", "skip", "limit"}, h.logs)
	h.handle("/api/v1/metrics", []string{"from", "to"}, h.metricNames)
	h.handle("/api/v1/metrics/{name}", []string{"from", "to", "topic", "partition", "group", "service", "client", "cause", "error.type", "pathway", "step", "by"}, h.metricSeries)
	h.handle("/api/v1/advice", []string{"from", "to"}, h.advice)
	h.handle("/api/v1/clocks", []string{"from", "to", "host", "state", "sort", "at", "skip", "limit"}, h.clocks)
	h.issueRoutes()
	h.handle("/api/v1/issues/{id}/events/{event}", nil, h.event)
	h.handle("/api/v1/issues/{id}/messages", []string{"from", "to", "query"}, h.issueMessages)
	h.handle("/api/v1/records/{topic}/{partition}/{offset}", nil, h.recordDetail)
	h.handle("/api/v1/find", []string{"q", "from", "to", "skip", "limit"}, h.find)
	h.projectRoutes()
	h.fileRoutes()
	h.feedbackRoutes()
	h.releaseRoutes()
	h.monitorRoutes()
	h.topologyRoutes()
	h.healthRoutes()
	h.deadLetterRoutes()
	h.searchRoutes()
	h.accessRoutes()
	h.topicRoutes()
	h.act(http.MethodPost, "/api/v1/projects/{id}/grouping/preview", h.groupingPreview)
	h.handle("/api/v1/projects/{id}/events/{event}/grouping", nil, h.groupingOfEvent)
	h.mux.HandleFunc("GET /api/v1/openapi.yaml", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/yaml")
		_, _ = w.Write(openAPI) // the reader left
	})
	h.mux.HandleFunc("/", h.nothing)
	return h, nil
}

// ServeHTTP answers questions (GET and HEAD) and acts (the other methods).
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		if err := sameSite(r); err != nil {
			h.write(w, r, nil, err)
			return
		}
	}
	h.mux.ServeHTTP(w, r)
}

// sameSite refuses what a page of another site makes a browser send. Programs
// send neither header.
func sameSite(r *http.Request) error {
	site, origin := r.Header.Get("Sec-Fetch-Site"), r.Header.Get("Origin")
	if (site == "" || site == "same-origin" || site == "none") && (origin == "" || origin == "http://"+r.Host || origin == "https://"+r.Host) {
		return nil
	}
	return errorf(http.StatusForbidden, "other_site", "act from the UI of this server, or from a program", "a page of another site may not act here")
}

// nothing answers what no route takes.
func (h *Handler) nothing(w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		other := r.Clone(r.Context())
		other.Method = method
		if _, pattern := h.mux.Handler(other); pattern != "/" {
			allowed = append(allowed, method)
		}
	}
	if len(allowed) > 0 {
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		h.write(w, r, nil, errorf(http.StatusMethodNotAllowed, "method_not_allowed", "use "+strings.Join(allowed, " or "), "method %s is not served here", clip(r.Method, 16)))
		return
	}
	h.write(w, r, nil, errorf(http.StatusNotFound, "no_such_route", "see /api/v1/openapi.yaml", "there is no %s", clip(r.URL.Path, 200)))
}

type query struct {
	*params
	project schemas.Project
	now     time.Time
	body    []byte // of an action
	request *http.Request
	who     access.Person
	// What an action leaves for who serves it: a cookie, and what the audit says
	// that it was about.
	cookie         *http.Cookie
	target, detail string
}

// decode reads an action's body into v, and refuses fields that v has not.
func (q *query) decode(v any) error {
	d := json.NewDecoder(bytes.NewReader(q.body))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return errorf(http.StatusBadRequest, "bad_body", "send the JSON object that /api/v1/openapi.yaml describes", "the body cannot be read: %s", clip(err.Error(), 200))
	}
	return nil
}

// handle registers one question. Every route but status takes project.
func (h *Handler) handle(route string, known []string, answer func(context.Context, *query) (any, error)) {
	if tables[route] != "" {
		known, answer = append(slices.Clone(known), "format"), asTable(route, known, answer)
	}
	h.serve(http.MethodGet, route, known, answer)
}

// act registers one action: a request that may change something. Its body is a
// JSON object or nothing; see query.decode.
func (h *Handler) act(method, route string, answer func(context.Context, *query) (any, error)) {
	h.serve(method, route, nil, answer)
}

// maxBody bounds the JSON of an action.
const maxBody = 1 << 20

func (h *Handler) serve(method, route string, known []string, answer func(context.Context, *query) (any, error)) {
	id := method + " " + route // of the route, in metrics and in the tests of the contract
	h.routes = append(h.routes, id)
	known = append([]string{"project"}, known...)
	h.params[id] = known
	h.mux.HandleFunc(id, func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		ctx, cancel := context.WithTimeout(exporters.OneLook(r.Context()), h.cfg.QueryTimeout)
		defer cancel()
		q := &query{now: h.now(), request: r}
		out, err := h.ask(ctx, q, id, known, answer)
		if q.cookie != nil && err == nil {
			http.SetCookie(w, q.cookie)
		}
		code := h.answer(w, r, out, err)
		h.metrics.requests.WithLabelValues(id, strconv.Itoa(code)).Inc()
		h.metrics.duration.WithLabelValues(id).Observe(time.Since(began).Seconds())
	})
}

func (h *Handler) ask(ctx context.Context, q *query, route string, known []string, answer func(context.Context, *query) (any, error)) (any, error) {
	r, need := q.request, roleOf(route)
	var err error
	if q.who, err = h.admit(ctx, r, need); err != nil {
		return nil, err
	}
	if q.params, err = readParams(r, known, q.now); err != nil {
		return nil, err
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		if q.body, err = readBody(r); err != nil {
			return nil, err
		}
	}
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	default:
		return nil, errorf(http.StatusServiceUnavailable, "busy", "try again in a moment", "%d questions are being answered already", cap(h.slots)).after(time.Second)
	}
	if q.project, err = h.project(ctx, q.params); err != nil {
		return nil, err
	}
	out, err := answer(ctx, q)
	if err == nil {
		err = q.fault // a parameter that the answer asked for was bad
	}
	if err == nil && need.audit != "" && h.deps.Access != nil && r.Method != http.MethodGet && r.Method != http.MethodHead {
		if q.target == "" {
			q.target = q.pathTarget(route)
		}
		h.deps.Access.Note(ctx, q.who, need.audit, q.target, q.detail)
	}
	return out, err
}

func readBody(r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		return nil, errorf(http.StatusBadRequest, "bad_body", "send it again", "the body did not arrive whole")
	}
	if len(body) > maxBody {
		return nil, errorf(http.StatusRequestEntityTooLarge, "body_too_large", "at most "+strconv.Itoa(maxBody)+" bytes", "the body is too large")
	}
	if kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); len(body) > 0 && !strings.EqualFold(strings.TrimSpace(kind), "application/json") {
		return nil, errorf(http.StatusUnsupportedMediaType, "bad_content_type", "set Content-Type: application/json", "the body is %q", clip(kind, 64))
	}
	return body, nil
}

// project finds the project asked for, or the first.
func (h *Handler) project(ctx context.Context, p *params) (schemas.Project, error) {
	all, err := h.deps.Projects.Projects(ctx)
	if err != nil {
		return schemas.Project{}, fmt.Errorf("cannot list the projects: %w", err)
	}
	want := p.uint("project")
	if p.fault != nil {
		return schemas.Project{}, p.fault
	}
	for _, project := range all {
		if want == 0 || project.ID == want {
			return project, nil
		}
	}
	if want == 0 {
		return schemas.Project{}, nil // nothing is set up yet; every list is empty
	}
	return schemas.Project{}, errorf(http.StatusNotFound, "project_not_found", "/api/v1/status lists the projects", "there is no project %d", want)
}

// gzipFrom is the size from which an answer is compressed.
const gzipFrom = 1 << 10

// write sends the answer or the error, and returns the status code.
func (h *Handler) write(w http.ResponseWriter, r *http.Request, out any, err error) int {
	if err == nil {
		return writeJSON(w, r, http.StatusOK, "application/json", out, h.log)
	}
	p := asProblem(err)
	if p.Status >= 500 && !errors.Is(err, context.Canceled) {
		h.log.Warn("web: question not answered", "path", r.URL.Path, "code", p.Code, "err", err)
	}
	return writeProblem(w, r, p, h.log)
}

func writeJSON(w http.ResponseWriter, r *http.Request, code int, kind string, out any, log *slog.Logger) int {
	body, err := json.Marshal(out)
	if err != nil {
		log.Error("web: cannot encode an answer", "path", r.URL.Path, "err", err)
		return writeProblem(w, r, errorf(http.StatusInternalServerError, "internal", "the server's log says why", "the answer cannot be encoded"), log)
	}
	header := w.Header()
	header.Set("Content-Type", kind)
	header.Set("Cache-Control", "no-store")
	header.Add("Vary", "Accept-Encoding")
	if len(body) >= gzipFrom && AcceptsGzip(r) {
		header.Set("Content-Encoding", "gzip")
		w.WriteHeader(code)
		z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed) // the level is valid
		_, _ = z.Write(body)                           // the reader left
		_ = z.Close()
		return code
	}
	header.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(code)
	_, _ = w.Write(body)
	return code
}

// AcceptsGzip tells that the reader takes gzip.
func AcceptsGzip(r *http.Request) bool {
	for _, part := range strings.Split(r.Header.Get("Accept-Encoding"), ",") {
		name, weight, _ := strings.Cut(strings.TrimSpace(part), ";")
		if name == "gzip" && strings.ReplaceAll(weight, " ", "") != "q=0" {
			return true
		}
	}
	return false
}
