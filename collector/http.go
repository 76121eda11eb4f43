package collector

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/hoptrace/hoptrace/collector/envelope"
	"github.com/hoptrace/hoptrace/collector/otlp"
	"github.com/hoptrace/hoptrace/collector/outcome"
	"github.com/hoptrace/hoptrace/collector/project"
)

// handler is the one mux for OTLP over HTTP and the Sentry endpoints.
func (c *Collector) handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			if p == http.ErrAbortHandler { //nolint:errorlint // net/http compares it so
				panic(p)
			}
			c.counts.Panic()
			c.log.Error("panic in an HTTP handler", "path", clip(req.URL.Path, 200), "panic", p, "stack", string(debug.Stack()))
			c.answer(w, http.StatusInternalServerError, errors.New("the collector met a bug with this request; its log says more"))
		}()
		if n := headerBytes(req); n > int(c.cfg.MaxHeaderBytes) {
			c.counts.Refused("too_large:headers")
			c.answer(w, http.StatusRequestHeaderFieldsTooLarge,
				fmt.Errorf("the headers have %d bytes, want at most %d (collector.max_header_bytes)", n, c.cfg.MaxHeaderBytes))
			return
		}
		c.route(w, req)
	})
}

// headerBytes is about what the headers took on the wire.
func headerBytes(req *http.Request) int {
	n := len(req.RequestURI)
	for k, values := range req.Header {
		for _, v := range values {
			n += len(k) + len(v) + 4
		}
	}
	return n
}

// signals are the paths of OTLP over HTTP.
var signals = map[string]otlp.Signal{"/v1/traces": otlp.Traces, "/v1/metrics": otlp.Metrics, "/v1/logs": otlp.Logs}

// route finds who serves a path, with or without its final slash.
func (c *Collector) route(w http.ResponseWriter, req *http.Request) {
	path := strings.TrimSuffix(req.URL.Path, "/")
	if signal, ok := signals[path]; ok {
		if c.allow(w, req, http.MethodPost) {
			c.otlp.Serve(w, req, signal)
		}
		return
	}
	if path == "/tunnel" {
		if c.allow(w, req, http.MethodPost) {
			c.envelope.Tunnel(w, req)
		}
		return
	}
	rest, isAPI := strings.CutPrefix(path, "/api/")
	if !isAPI {
		c.notFound(w, req)
		return
	}
	switch rest {
	case "store":
		if c.allow(w, req, http.MethodPost) {
			c.envelope.Store(w, req, "")
		}
		return
	case "relay/healthcheck/ready", "relay/healthcheck/live":
		if c.allow(w, req, http.MethodGet, http.MethodHead) {
			c.health(w, req, strings.HasSuffix(rest, "ready"))
		}
		return
	}
	id, what, _ := strings.Cut(rest, "/")
	if serve := c.door(id, what); serve != nil {
		methods := []string{http.MethodPost}
		if strings.HasPrefix(what, "cron/") {
			methods = append(methods, http.MethodGet)
		}
		if c.allow(w, req, methods...) {
			serve(w, req)
		}
		return
	}
	c.notFound(w, req)
}

// door finds who serves what stands behind a project's id; nil for nobody.
func (c *Collector) door(id, what string) http.HandlerFunc {
	switch what {
	case "envelope":
		return func(w http.ResponseWriter, req *http.Request) { c.envelope.Envelope(w, req, id) }
	case "store":
		return func(w http.ResponseWriter, req *http.Request) { c.envelope.Store(w, req, id) }
	case "minidump":
		return func(w http.ResponseWriter, req *http.Request) { c.envelope.Minidump(w, req, id) }
	case "security", "csp-report":
		return func(w http.ResponseWriter, req *http.Request) { c.envelope.Security(w, req, id, "raw_security") }
	case "nel":
		return func(w http.ResponseWriter, req *http.Request) { c.envelope.Security(w, req, id, "nel") }
	}
	if signal, ok := signals[strings.TrimPrefix(strings.TrimPrefix("/"+what, "/integration"), "/otlp")]; ok && strings.Contains("/"+what, "/otlp/") {
		return func(w http.ResponseWriter, req *http.Request) { c.sentryOTLP(w, req, id, signal) }
	}
	if slug, ok := strings.CutPrefix(what, "cron/"); ok {
		slug, key, hasKey := strings.Cut(slug, "/")
		if slug == "" || hasKey && (key == "" || strings.Contains(key, "/")) {
			return nil
		}
		return func(w http.ResponseWriter, req *http.Request) { c.envelope.Cron(w, req, id, slug, key) }
	}
	if event, ok := strings.CutPrefix(what, "events/"); ok {
		event, rest, _ := strings.Cut(event, "/")
		if rest == "attachments" {
			return func(w http.ResponseWriter, req *http.Request) { c.envelope.Attachments(w, req, id, event) }
		}
	}
	return nil
}

// sentryOTLP serves OTLP for the project that the path names.
func (c *Collector) sentryOTLP(w http.ResponseWriter, req *http.Request, id string, signal otlp.Signal) {
	number, err := project.ParseID(id)
	if err != nil {
		c.counts.Refused("bad_auth")
		c.answer(w, http.StatusBadRequest, err)
		return
	}
	envelope.CORS(w.Header())
	c.otlp.ServeSentry(w, req, signal, number)
}

// allow refuses other methods than the ones given, and answers browsers that
// ask beforehand.
func (c *Collector) allow(w http.ResponseWriter, req *http.Request, methods ...string) bool {
	for _, m := range methods {
		if req.Method == m {
			return true
		}
	}
	if req.Method == http.MethodOptions {
		envelope.Preflight(w)
		c.counts.Request(outcome.Other, strconv.Itoa(http.StatusNoContent), 0)
		return false
	}
	c.counts.Refused("method")
	w.Header().Set("Allow", strings.Join(append(methods, http.MethodOptions), ", "))
	c.answer(w, http.StatusMethodNotAllowed, fmt.Errorf("method %s is not allowed here: use %s", clip(req.Method, 20), methods[0]))
	return false
}

func (c *Collector) notFound(w http.ResponseWriter, req *http.Request) {
	c.counts.Refused("unknown_path")
	c.answer(w, http.StatusNotFound, fmt.Errorf("unknown path %s", strconv.QuoteToASCII(clip(req.URL.Path, 200))))
}

func (c *Collector) answer(w http.ResponseWriter, code int, err error) {
	envelope.Error(w, code, err)
	c.counts.Request(outcome.Other, strconv.Itoa(code), 0)
}

// health has Relay's names, which some set-ups of Sentry SDKs ask for.
func (c *Collector) health(w http.ResponseWriter, req *http.Request, ready bool) {
	code := http.StatusOK
	if ready {
		ctx, cancel := context.WithTimeout(req.Context(), 3*time.Second)
		defer cancel()
		if err := c.Ready(ctx); err != nil {
			code = http.StatusServiceUnavailable
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = fmt.Fprintf(w, `{"is_healthy":%t}`, code == http.StatusOK)
	c.counts.Request(outcome.Other, strconv.Itoa(code), 0)
}

func clip(s string, n int) string {
	if len(s) > n {
		return s[:n] + "…"
	}
	return s
}
