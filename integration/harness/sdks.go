package harness

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// The programs under real Sentry SDKs. Each sends every kind of item that its
// SDK knows and prints what it sent, see Told.

// Told is what such a program tells.
type Told struct {
	SDK      string            `json:"sdk"`    // as events name it
	Events   map[string]string `json:"events"` // ids by case: error, chained, message, attachment
	Trace    string            `json:"trace"`  // of the transaction, in which the error happened
	Span     string            `json:"span"`
	CheckIn  string            `json:"checkIn"`
	Feedback string            `json:"feedback"`
}

// SentryGo is the one under sentry-go.
func SentryGo(t testing.TB, env []string) Command {
	t.Helper()
	return Command{Name: "sentry-go", Path: program(t, "sentrygo", "SENTRYGO_BIN", filepath.Join(Root(t), "integration"), "./sentrygo"), Env: env}
}

// SentryNode is the one under @sentry/node.
func SentryNode(t testing.TB, env []string) Command {
	t.Helper()
	dir := filepath.Join(Root(t), "integration", "node")
	NodeModules(t, dir)
	return Command{Name: "sentry-node", Path: LookPath(t, "node"), Args: []string{"kinds.mjs"}, Dir: dir, Env: env}
}

// SentryPython is the one under sentry-sdk.
func SentryPython(t testing.TB, env []string) Command {
	t.Helper()
	dir := filepath.Join(Root(t), "integration", "python")
	return Command{Name: "sentry-python", Path: Python(t, dir), Args: []string{"kinds.py"}, Dir: dir, Env: env}
}

// SentryJava is the one under io.sentry:sentry.
func SentryJava(t testing.TB, env []string) Command {
	t.Helper()
	dir := filepath.Join(Root(t), "integration", "java")
	jars := SentryJars(t)
	return Command{
		Name: "sentry-java", Path: LookPath(t, "java"), Dir: dir, Env: env,
		Args: []string{"-XX:TieredStopAtLevel=1", "-cp", filepath.Join(jars, "*"), "Kinds.java"},
	}
}

// SentryJars is the folder of the jars of Java's programs.
func SentryJars(t testing.TB) string {
	t.Helper()
	return Jars(t, filepath.Join(Root(t), "integration", "java"), "sentry-8.63.0.jar")
}

// Page is what a page in Chromium told.
type Page struct {
	Browser  string          `json:"browser"`
	Told     json.RawMessage `json:"told"`
	Requests []string        `json:"requests"` // that were answered: method and path
}

// SentryBrowser opens a page with @sentry/browser in Chromium, with these
// parameters, and waits until it is done.
func SentryBrowser(t testing.TB, parameters url.Values) (Page, Told) {
	t.Helper()
	dir := filepath.Join(Root(t), "integration", "browser")
	NodeModules(t, dir)
	assets := Bundle(t, filepath.Join(dir, "kinds.js"))
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path != "/" {
			http.FileServerFS(os.DirFS(assets)).ServeHTTP(w, req)
			return
		}
		w.Header().Set("Content-Type", "text/html")
		_, _ = fmt.Fprint(w, `<!doctype html><title>shop</title><script type="module" src="/kinds.js"></script>`)
	}))
	defer site.Close()
	page := OpenPage(t, site.URL+"/?"+parameters.Encode())
	var told Told
	if err := json.Unmarshal(page.Told, &told); err != nil {
		t.Fatalf("the page told %q: %v", page.Told, err)
	}
	return page, told
}

// Bundle makes one file of a page's program with esbuild, and returns the folder
// that holds it, a new one of the test.
func Bundle(t testing.TB, file string, flags ...string) string {
	t.Helper()
	browser := filepath.Join(Root(t), "integration", "browser")
	NodeModules(t, browser)
	out := t.TempDir()
	Output(t, time.Minute, Command{
		Name: "esbuild", Path: filepath.Join(browser, "node_modules", ".bin", "esbuild"), Dir: filepath.Dir(file),
		Env:  []string{"NODE_PATH=" + filepath.Join(browser, "node_modules")},
		Args: append([]string{filepath.Base(file), "--bundle", "--format=esm", "--log-level=warning", "--outdir=" + out}, flags...),
	})
	return out
}

// OpenPage opens an address in Chromium and waits until the page's title is
// "done".
func OpenPage(t testing.TB, address string) Page {
	t.Helper()
	dir := filepath.Join(Root(t), "integration", "browser")
	NodeModules(t, dir)
	out := Output(t, 3*time.Minute, Command{
		Name: "chromium", Path: LookPath(t, "node"), Args: []string{"open.mjs", address}, Dir: dir, Env: []string{"CHROMIUM=" + Chromium(t)},
	})
	var page Page
	if err := json.Unmarshal(out, &page); err != nil {
		t.Fatalf("the driver of Chromium printed %q: %v", out, err)
	}
	return page
}

// SentryCLI is a call of sentry-cli.
func SentryCLI(t testing.TB, dsn string, args ...string) Command {
	t.Helper()
	dir := filepath.Join(Root(t), "integration", "sentrycli")
	NodeModules(t, dir)
	return Command{
		Name: "sentry-cli-" + args[0], Path: filepath.Join(dir, "node_modules", ".bin", "sentry-cli"), Args: args, Dir: t.TempDir(),
		Env: []string{"SENTRY_DSN=" + dsn, "SENTRY_ENVIRONMENT=integration", "SENTRY_RELEASE=shop@2.0.0", "SENTRY_DISABLE_UPDATE_CHECK=1"},
	}
}

// SentryCLICalls are the ones that send something: an event, an envelope and the
// check-ins around a command.
func SentryCLICalls(t testing.TB) [][]string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "event.envelope")
	const id = "0c11c11c0c11c11c0c11c11c0c11c11c"
	body := `{"event_id":"` + id + `"}` + "\n" + `{"type":"event"}` + "\n" +
		`{"event_id":"` + id + `","level":"error","platform":"other","message":"an envelope from a file","release":"shop@2.0.0"}` + "\n"
	if err := os.WriteFile(file, []byte(body), 0o600); err != nil {
		t.Fatal(err)
	}
	return [][]string{
		{"send-event", "-m", "deploy of %s failed", "-a", "shop", "-l", "error", "-t", "case:message", "-E", "integration", "-r", "shop@2.0.0", "-u", "id:u-17", "--no-environ"},
		{"send-envelope", file},
		{"monitors", "run", "close-day-cli", "-e", "integration", "--schedule", "*/5 * * * *", "--", "true"},
	}
}
