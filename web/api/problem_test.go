package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/web/testdata/fakestore"
)

// problemOf asks and reads a problem, checking what every one of them has.
func problemOf(t *testing.T, h http.Handler, r *http.Request, status int, code string) Problem {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	var p Problem
	d := json.NewDecoder(w.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		t.Fatalf("%s %s: %v", r.Method, r.URL, err)
	}
	what := r.Method + " " + r.URL.String()
	if w.Code != status || p.Status != status || p.Code != code {
		t.Errorf("%s: status %d, in the body %d, code %q; want %d %q", what, w.Code, p.Status, p.Code, status, code)
	}
	if got := w.Header().Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("%s: Content-Type %q", what, got)
	}
	if w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("%s: may be cached", what)
	}
	if p.Type != "urn:hoptrace:problem:"+code || p.Title == "" || strings.Contains(p.Title, "_") || p.Detail == "" || p.WayOut == "" || p.Instance == "" {
		t.Errorf("%s: incomplete: %+v", what, p)
	}
	if retry := w.Header().Get("Retry-After"); (retry == "") != (p.RetryAfter == 0) {
		t.Errorf("%s: Retry-After %q, retryAfter %d", what, retry, p.RetryAfter)
	}
	return p
}

func request(method, path, body string) *http.Request {
	r := httptest.NewRequest(method, "/api/v1"+path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	return r
}

func TestEveryKindOfErrorIsAProblem(t *testing.T) {
	h := newHandler(t, fakestore.Orders(testNow))
	f := func(r *http.Request, status int, code, param string) {
		t.Helper()
		p := problemOf(t, h, r, status, code)
		if p.Param != param {
			t.Errorf("%s %s: param %q, want %q", r.Method, r.URL, p.Param, param)
		}
		if want := r.URL.RequestURI(); p.Instance != clip(want, maxInstance) {
			t.Errorf("instance %q, want %q", p.Instance, want)
		}
	}
	f(request("GET", "/traces?limit=0", ""), 400, "bad_parameter", "limit")
	f(request("GET", "/traces?servcie=x", ""), 400, "unknown_parameter", "servcie")
	f(request("GET", "/traces?service=%zz", ""), 400, "bad_query", "")
	f(request("PUT", "/projects/1", `{"colour":"x"}`), 400, "bad_body", "")
	f(request("GET", "/issues/999", ""), 404, "issue_not_found", "")
	f(request("GET", "/nothing", ""), 404, "no_such_route", "")
	f(request("GET", "/"+strings.Repeat("x", 600), ""), 404, "no_such_route", "")
	f(request("PUT", "/traces", ""), 405, "method_not_allowed", "")
	f(request("POST", "/projects", `{"slug":"default"}`), 409, "project_exists", "slug")
	f(request("PUT", "/projects/1", `{"name":"`+strings.Repeat("x", maxBody)+`"}`), 413, "body_too_large", "")
	f(request("GET", "/monitors", ""), 501, "no_monitors", "")
	other := request("POST", "/projects", `{"slug":"x"}`)
	other.Header.Set("Origin", "https://evil.example")
	f(other, 403, "other_site", "")
	text := request("POST", "/projects", `{"slug":"x"}`)
	text.Header.Set("Content-Type", "text/plain")
	f(text, 415, "bad_content_type", "")
}

func TestFaultsBehindTheAPIAreProblems(t *testing.T) {
	f := func(err error, status int, code string, retry int) {
		t.Helper()
		store := fakestore.Orders(testNow)
		store.Err = err
		if p := problemOf(t, newHandler(t, store), request("GET", "/topics", ""), status, code); p.RetryAfter != retry || strings.Contains(p.Detail, "secret") {
			t.Errorf("%v: %+v; want to be asked again in %d s", err, p, retry)
		}
	}
	f(exporters.ErrUnavailable, 503, "store_unavailable", 1)
	f(errors.New("dial secret:9000"), 500, "internal", 0)

	synctest.Test(t, func(t *testing.T) {
		store := fakestore.Orders(testNow)
		store.Block = true
		h := newHandler(t, store, func(c *Config) { c.MaxConcurrent = 1; c.QueryTimeout = time.Second })
		done := make(chan struct{})
		go func() {
			defer close(done)
			problemOf(t, h, request("GET", "/topics", ""), 504, "query_timeout")
		}()
		synctest.Wait()
		if p := problemOf(t, h, request("GET", "/topics", ""), 503, "busy"); p.RetryAfter != 1 {
			t.Errorf("busy: retryAfter %d, want 1", p.RetryAfter)
		}
		<-done
	})
}

func TestAnAnswerThatCannotBeEncodedIsAProblem(t *testing.T) {
	h := newHandler(t, fakestore.Orders(testNow))
	answers := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.write(w, r, func() {}, nil) })
	problemOf(t, answers, request("GET", "/status", ""), 500, "internal")
}

func TestASettingsFaultNamesEachOfThem(t *testing.T) {
	h := newHandler(t, fakestore.Orders(testNow))
	p := problemOf(t, h, request("POST", "/projects", `{"slug":"x","settings":{"filters":{"nothing":true}}}`), 400, "bad_settings")
	if !strings.Contains(p.Detail, "nothing") {
		t.Errorf("detail %q does not name the field", p.Detail)
	}
	p = problemOf(t, h, request("PUT", "/projects/1", `{"settings":{"filters":{"nothing":true,"clientIPs":["10.0.0.1","x"]},"quotas":[{"id":"q","scope":"project","limit":5}],"retentionDays":-1}}`), 400, "bad_settings")
	got := map[string]string{}
	for _, f := range p.Faults {
		got[f.Field] = f.Detail
	}
	want := map[string]string{
		"filters.nothing":      "is unknown; known are browserExtensions, clientIPs, errorMessages, legacyBrowsers, localhost, releases, webCrawlers",
		"filters.clientIPs[1]": `"x" is neither an address nor a network like 10.0.0.0/8`,
		"quotas[0].window":     "is 0; it must be from 1 to 2678400 seconds",
		"retentionDays":        "is -1, want 0 to 3650",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
	many := `{"settings":{"filters":{"clientIPs":[` + strings.TrimSuffix(strings.Repeat(`"x",`, 300), ",") + `]}}}`
	if p = problemOf(t, h, request("PUT", "/projects/1", many), 400, "bad_settings"); len(p.Faults) != maxFaults {
		t.Errorf("%d faults of 300 are told; want %d", len(p.Faults), maxFaults)
	}
}
