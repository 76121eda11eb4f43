package web

import (
	"compress/gzip"
	"context"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/hoptrace/hoptrace/web/testdata/fakestore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var built = fstest.MapFS{
	"index.html":         {Data: []byte("<!doctype html><title>hoptrace</title>")},
	"assets/index-ab.js": {Data: []byte(strings.Repeat("console.log('hop');\n", 200))},
	"icon.svg":           {Data: []byte("<svg/>")},
	".gitkeep":           {},
}

func testServer(t *testing.T, files fs.FS, isBuilt bool, change ...func(*Config)) (*Server, *prometheus.Registry) {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Listen = "127.0.0.1:0"
	for _, c := range change {
		c(&cfg)
	}
	store := fakestore.Orders(time.Now())
	reg := prometheus.NewRegistry()
	s, err := newServer(cfg, Deps{Spans: store, Messages: store, Metrics: store, Clocks: store, Logs: store, Ledger: store, Events: store, Issues: store, IssueEvents: store, Joined: store, Projects: store, Blobs: store, Nodes: store}, files, isBuilt, reg,
		slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return s, reg
}

func ask(s *Server, path string, change ...func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Host = "127.0.0.1:8090"
	for _, c := range change {
		c(r)
	}
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	return w
}

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func TestOnlyItsOwnNamesAreAnswered(t *testing.T) {
	s, reg := testServer(t, built, true, func(c *Config) { c.AllowedHosts = []string{"hoptrace.example"} })
	f := func(host string, want int) {
		t.Helper()
		if got := ask(s, "/api/v1/status", func(r *http.Request) { r.Host = host }).Code; got != want {
			t.Errorf("Host %q: status %d, want %d", host, got, want)
		}
	}
	f("127.0.0.1:8090", 200)
	f("127.0.0.2", 200)
	f("localhost:1", 200)
	f("LOCALHOST.", 200)
	f("[::1]:8090", 200)
	f("hoptrace.example", 200)
	f("Hoptrace.Example:8090", 200)
	f("evil.example", 403)
	f("evil.example:8090", 403)
	f("127.0.0.1.evil.example", 403)
	f("localhost.evil.example", 403)
	f("10.0.0.1", 403)
	f("", 403)
	if n, err := testutil.GatherAndCount(reg, "hoptrace_web_refused_total"); err != nil || n != 1 {
		t.Errorf("refusals are counted in %d series, err %v", n, err)
	}
}

func TestEveryAnswerHasTheSecurityHeaders(t *testing.T) {
	s, _ := testServer(t, built, true)
	for _, path := range []string{"/", "/traces/abc", "/assets/index-ab.js", "/assets/none.js", "/api/v1/status", "/api/v1/none"} {
		h := ask(s, path).Header()
		if csp := h.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || !strings.Contains(csp, "frame-ancestors 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: policy %q", path, csp)
		}
		if h.Get("X-Content-Type-Options") != "nosniff" || h.Get("X-Frame-Options") != "DENY" {
			t.Errorf("%s: headers %v", path, h)
		}
	}
}

func TestMountedHandlerHasItsPathAndTheGuard(t *testing.T) {
	store := fakestore.Orders(time.Now())
	s, err := newServer(DefaultConfig(), Deps{Spans: store, Messages: store, Metrics: store, Clocks: store, Logs: store, Ledger: store, Events: store, Issues: store, IssueEvents: store, Joined: store, Projects: store, Blobs: store, Nodes: store}, built, true,
		prometheus.NewRegistry(), slog.New(slog.NewTextHandler(io.Discard, nil)), Mount{Prefix: "/api/0/", Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusTeapot)
		})})
	if err != nil {
		t.Fatal(err)
	}
	f := func(path, host string, want int) {
		t.Helper()
		if got := ask(s, path, func(r *http.Request) { r.Host = host }).Code; got != want {
			t.Errorf("%s by the name %s: status %d, want %d", path, host, got, want)
		}
	}
	f("/api/0/", "localhost", http.StatusTeapot)
	f("/api/0/organizations/o/", "localhost", http.StatusTeapot)
	f("/api/0/", "evil.example", http.StatusForbidden)
	f("/api/v1/status", "localhost", http.StatusOK)
	f("/", "localhost", http.StatusOK)
}

func TestPagesOfTheApplicationGetItsIndex(t *testing.T) {
	s, _ := testServer(t, built, true)
	for _, path := range []string{"/", "/traces", "/traces/4f6c", "/issues/7/events/latest", "/topics/meters.readings", "/topics/a.js", "/topics/a%2Fb.html"} {
		w := ask(s, path)
		if w.Code != 200 || !strings.Contains(w.Body.String(), "<title>hoptrace") || w.Header().Get("Cache-Control") != "no-cache" {
			t.Errorf("%s: status %d, cache %q, body %q", path, w.Code, w.Header().Get("Cache-Control"), w.Body)
		}
	}
	for _, path := range []string{"/assets/old-cd.js", "/.gitkeep", "/favicon.ico"} {
		if w := ask(s, path); w.Code != 404 {
			t.Errorf("%s: status %d, want 404", path, w.Code)
		}
	}
}

func TestAssetsAreCompressedAndRevalidated(t *testing.T) {
	s, _ := testServer(t, built, true)
	w := ask(s, "/assets/index-ab.js", header("Accept-Encoding", "gzip"))
	z, err := gzip.NewReader(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	if body, _ := io.ReadAll(z); string(body) != string(built["assets/index-ab.js"].Data) {
		t.Error("the compressed asset is another")
	}
	if !strings.Contains(w.Header().Get("Cache-Control"), "immutable") || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/javascript") {
		t.Errorf("headers %v", w.Header())
	}
	etag := w.Header().Get("ETag")
	plain := ask(s, "/assets/index-ab.js").Header().Get("ETag")
	if etag == "" || etag == plain {
		t.Errorf("etags %q and %q: two bodies need two", etag, plain)
	}
	if again := ask(s, "/assets/index-ab.js", header("Accept-Encoding", "gzip"), header("If-None-Match", `"x", W/`+etag)); again.Code != 304 || again.Body.Len() != 0 {
		t.Errorf("known asset: status %d with %d bytes, want 304", again.Code, again.Body.Len())
	}
}

func TestWithoutABuildThePageSaysSo(t *testing.T) {
	s, _ := testServer(t, fstest.MapFS{}, false)
	w := ask(s, "/traces")
	if w.Code != 503 || !strings.Contains(w.Body.String(), "make ui") {
		t.Errorf("status %d, body %q; want 503 naming make ui", w.Code, w.Body)
	}
	if w = ask(s, "/api/v1/status"); w.Code != 200 {
		t.Errorf("the API answers %d without the UI", w.Code)
	}
}

func TestWritingIsRefused(t *testing.T) {
	s, _ := testServer(t, built, true)
	for _, path := range []string{"/", "/api/v1/traces"} {
		if w := ask(s, path, func(r *http.Request) { r.Method = http.MethodPost }); w.Code != 405 {
			t.Errorf("POST %s: status %d, want 405", path, w.Code)
		}
	}
}

func TestStartServesAndShutdownIsSafeTwice(t *testing.T) {
	s, _ := testServer(t, built, true)
	if s.Addr() != nil {
		t.Error("an address before Start")
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + s.Addr().String() + "/api/v1/status")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("status %d", resp.StatusCode)
	}
	if err := s.Start(t.Context()); err == nil {
		t.Error("started twice")
	}
	for range 2 {
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	}
}

func TestShutdownWithoutStartIsSafe(t *testing.T) {
	s, _ := testServer(t, built, true)
	if err := s.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if err := s.Start(t.Context()); err == nil {
		t.Error("started after Shutdown")
	}
}

func TestATakenAddressIsNamed(t *testing.T) {
	first, _ := testServer(t, built, true)
	if err := first.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = first.Shutdown(context.Background()) }()
	second, _ := testServer(t, built, true, func(c *Config) { c.Listen = first.Addr().String() })
	if err := second.Start(t.Context()); err == nil || !strings.Contains(err.Error(), first.Addr().String()) {
		t.Errorf("err = %v, want the address named", err)
	}
}

func TestValidateNamesEveryFault(t *testing.T) {
	err := Config{Listen: ":x", AllowedHosts: []string{"http://a", "b:80"}, QueryTimeout: -1}.Validate()
	for _, want := range []string{"port", "without a host", `"http://a"`, `"b:80"`, "query timeout", "max concurrent"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("err = %v, lacks %q", err, want)
		}
	}
	if err := DefaultConfig().Validate(); err != nil {
		t.Errorf("the default is refused: %v", err)
	}
}
