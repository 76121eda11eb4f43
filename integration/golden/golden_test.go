package golden

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/integration/harness"
)

var update = flag.Bool("update", false, "write the golden events and the captures anew")

// build is one way in which a program was built and where it runs. Two builds
// of one program fail alike, on other lines, in another folder, on another host.
type build struct {
	variant string // behind the name of each case
	release string
	host    string
	folder  string // what the program's folder is called in the files
	lines   int    // so many are put on top of each source file
	flags   []string
}

var builds = []build{
	{release: "shop@1.4.0", host: "web-1", folder: "/srv/shop"},
	{variant: "@build-b", release: "shop@1.5.0+7", host: "web-7f9c4d", folder: "/opt/builds/412/shop", lines: 3, flags: []string{"-trimpath"}},
}

// Entry is one line of the index: events of one issue must be one issue, of two
// must be two.
type Entry struct {
	File    string `json:"file"`
	Issue   string `json:"issue"`
	SDK     string `json:"sdk"`
	Program string `json:"program"`
}

// golden is one captured event.
type golden struct {
	Entry
	payload []byte
	shape   string
}

// TestGoldenEventsAreWhatTheSDKsSend runs the programs and compares the shape of
// what they send with the files: the exceptions' types, and the program's own
// functions among the frames. What depends on the version of a runtime is not
// compared.
func TestGoldenEventsAreWhatTheSDKsSend(t *testing.T) {
	folder := filepath.Join(harness.Root(t), "pipeline", "testdata", "golden")
	languages := map[string]func(*testing.T, *run){
		"go": runGo, "node": runNode, "python": runPython, "java": runJava, "browser": runBrowser,
	}
	captured := map[string]golden{}
	ran := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(languages)) {
		t.Run(name, func(t *testing.T) {
			for _, b := range builds {
				if b.variant != "" && !*update {
					continue // the first build shows whether an SDK has changed
				}
				r := newRun(t, name, b)
				languages[name](t, r)
				r.take(t, captured)
			}
			ran[name] = true
		})
	}
	if t.Failed() {
		return
	}
	if *update {
		if len(ran) < len(languages) {
			t.Fatal("-update needs all languages, but -run chose some")
		}
		write(t, folder, captured)
	}
	compare(t, folder, captured, ran)
}

// run is one program of one build.
type run struct {
	build
	language, dir string
	server        *Server
	machine       map[string]string // what of the machine becomes what
}

func newRun(t *testing.T, language string, b build) *run {
	t.Helper()
	r := &run{build: b, language: language, server: StartServer(t)}
	// A plain folder: a test's temporary one has the test's name in it.
	dir, err := os.MkdirTemp("", "golden")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if r.dir, err = filepath.EvalSymlinks(dir); err != nil {
		t.Fatal(err)
	}
	source := filepath.Join(harness.Root(t), "integration", "golden", language)
	comment := map[string]string{"python": "#"}[language]
	if comment == "" {
		comment = "//"
	}
	err = filepath.WalkDir(source, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if d.Name() == "node_modules" {
				return filepath.SkipDir
			}
			return nil
		}
		name, err := filepath.Rel(source, path)
		if err != nil {
			return err
		}
		body, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		switch filepath.Ext(path) {
		case ".go", ".mjs", ".js", ".py", ".java":
			body = append(bytes.Repeat([]byte(comment+" Another line.\n"), b.lines), body...)
		}
		to := filepath.Join(r.dir, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o750); err != nil {
			return err
		}
		return os.WriteFile(to, body, 0o600)
	})
	if err != nil {
		t.Fatalf("cannot copy the program: %v", err)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	r.machine = map[string]string{
		r.dir: b.folder, home: "/home/app", harness.Root(t): "/srv/source", os.TempDir(): "/var/tmp",
		// Its name alone could be any word.
		`"server_name":"` + host + `"`: `"server_name":"` + b.host + `"`, `"server_name": "` + host + `"`: `"server_name": "` + b.host + `"`,
		r.server.Address: "hoptrace.example", url.QueryEscape(r.server.Address): "hoptrace.example",
		"127.0.0.1": "192.0.2.1",
	}
	return r
}

func (r *run) env() []string {
	return []string{
		"HOPTRACE_DSN=" + r.server.DSN(), "GOLDEN_VARIANT=" + r.variant, "GOLDEN_RELEASE=" + r.release, "GOLDEN_HOST=" + r.host,
	}
}

func (r *run) execute(t *testing.T, path string, args ...string) {
	t.Helper()
	harness.Output(t, 3*time.Minute, harness.Command{Name: r.language + r.variant, Path: path, Args: args, Dir: r.dir, Env: r.env()})
}

// die is execute for a program that must end with a failure.
func (r *run) die(t *testing.T, path string, args ...string) {
	t.Helper()
	p := harness.Start(t, harness.Command{Name: r.language + r.variant + "-dies", Path: path, Args: args, Dir: r.dir, Env: r.env(), KeepStdout: true})
	if err := p.Wait(3 * time.Minute); err == nil {
		t.Fatalf("%s %v ended well, but an error that nobody catches should have ended it", path, args)
	}
}

func runGo(t *testing.T, r *run) {
	tool := harness.LookPath(t, "go")
	for variable, shown := range map[string]string{"GOROOT": "/usr/local/go", "GOMODCACHE": "/go/pkg/mod"} {
		dir := harness.Output(t, time.Minute, harness.Command{Name: "go-env", Path: tool, Args: []string{"env", variable}})
		r.machine[strings.TrimSpace(string(dir))] = shown
	}
	program := filepath.Join(r.dir, "shop-program")
	args := append([]string{"build"}, r.flags...)
	harness.Output(t, 5*time.Minute, harness.Command{
		Name: "build-golden", Path: tool, Dir: r.dir, Args: append(args, "-o", program, "."), Env: []string{"CGO_ENABLED=0", "GOWORK=off", "GOFLAGS="},
	})
	r.execute(t, program)
}

func runNode(t *testing.T, r *run) {
	source := filepath.Join(harness.Root(t), "integration", "golden", "node")
	harness.NodeModules(t, source)
	modules := filepath.Join(source, "node_modules")
	if err := os.Symlink(modules, filepath.Join(r.dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	r.machine[modules] = r.folder + "/node_modules"
	node := harness.LookPath(t, "node")
	r.execute(t, node, "main.mjs")
	r.die(t, node, "main.mjs", "uncaught-exception")
	// The SDK reports a rejection that nobody handles, warns and lets it pass.
	r.execute(t, node, "main.mjs", "unhandled-rejection")
	r.execute(t, node, "main.mjs", "unhandled-string")
}

func runPython(t *testing.T, r *run) {
	python := harness.Python(t, filepath.Join(harness.Root(t), "integration", "python"))
	prefixes := harness.Output(t, time.Minute, harness.Command{
		Name: "python-prefix", Path: python, Args: []string{"-c", "import sys; print(sys.prefix); print(sys.base_prefix)"},
	})
	lines := strings.Fields(string(prefixes))
	if len(lines) != 2 {
		t.Fatalf("python tells its folders as %q", prefixes)
	}
	r.machine[lines[0]], r.machine[lines[1]] = "/srv/venv", "/usr/local"
	r.execute(t, python, "main.py")
	r.die(t, python, "main.py", "uncaught")
}

func runJava(t *testing.T, r *run) {
	jars := harness.SentryJars(t)
	classes := filepath.Join(r.dir, "classes")
	sources, err := filepath.Glob(filepath.Join(r.dir, "com", "example", "shop", "*.java"))
	if err != nil || len(sources) == 0 {
		t.Fatalf("found %d sources: %v", len(sources), err)
	}
	path := filepath.Join(jars, "*")
	harness.Output(t, 2*time.Minute, harness.Command{
		Name: "javac", Path: harness.LookPath(t, "javac"), Args: append([]string{"-d", classes, "-cp", path}, sources...),
	})
	r.die(t, harness.LookPath(t, "java"), "-XX:TieredStopAtLevel=1", "-cp", classes+":"+path, "com.example.shop.Main")
}

func runBrowser(t *testing.T, r *run) {
	// What a release changes in a script gives its file another hash.
	release := "--banner:js=/* " + r.release + " */"
	assets := map[string]string{
		"plain": harness.Bundle(t, filepath.Join(r.dir, "main.js"), release, "--entry-names=plain-[hash]"),
		"min":   harness.Bundle(t, filepath.Join(r.dir, "main.js"), release, "--entry-names=min-[hash]", "--minify"),
	}
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if name := filepath.Base(req.URL.Path); strings.HasPrefix(req.URL.Path, "/assets/") {
			form, _, _ := strings.Cut(name, "-")
			http.ServeFile(w, req, filepath.Join(assets[form], name))
			return
		}
		files, _ := filepath.Glob(filepath.Join(assets[strings.TrimPrefix(req.URL.Path, "/")], "*.js"))
		if len(files) != 1 {
			http.NotFound(w, req)
			return
		}
		w.Header().Set("Content-Type", "text/html")
		_, _ = fmt.Fprintf(w, `<!doctype html><title>shop</title><script type="module" src="/assets/%s"></script>`, filepath.Base(files[0]))
	}))
	t.Cleanup(site.Close)
	r.machine[site.URL] = "https://shop.example"
	r.machine[strings.TrimPrefix(site.URL, "http://")] = "shop.example"
	for _, name := range []string{"plain", "min"} {
		page := site.URL + "/" + name + "?" + url.Values{
			"dsn": {r.server.DSN()}, "release": {r.release}, "variant": {"@" + name + r.variant},
		}.Encode()
		harness.OpenPage(t, page)
	}
}

// take makes golden events of what the server got.
func (r *run) take(t *testing.T, into map[string]golden) {
	t.Helper()
	received := time.Now()
	for _, req := range r.server.Taken(t) {
		a := NewAnonymiser(r.machine) // a new one each, so that a new case changes no other file
		if !req.isEnvelope() {
			t.Fatalf("an SDK sent %s %s", req.Method, req.URL.Path)
		}
		e, err := ParseEnvelope(req.Content)
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range e.Items {
			if item.Type != "event" {
				continue
			}
			g := r.event(t, a, item.Payload, received, len(into))
			if _, twice := into[g.File]; twice {
				t.Fatalf("two events are called %s", g.File)
			}
			into[g.File] = g
		}
	}
}

// modules are what a program is made of. Those of Go tell which frames are the
// program's own; of the others they are hundreds of lines that nothing reads.
var modules = regexp.MustCompile(`,?"modules":\s?\{[^{}]*\}`)

func (r *run) event(t *testing.T, a *Anonymiser, payload []byte, received time.Time, nth int) golden {
	t.Helper()
	var e struct {
		Tags map[string]string `json:"tags"`
		SDK  struct{ Name, Version string }
	}
	if err := json.Unmarshal(payload, &e); err != nil {
		t.Fatalf("an event is no JSON: %v: %.300s", err, payload)
	}
	name := e.Tags["case"]
	if name == "" {
		t.Fatalf("an event has no tag case: %.1000s", payload)
	}
	issue, _, _ := strings.Cut(name, "@")
	if r.language == "browser" && strings.Contains(name, "@min") && bytes.Contains(payload, []byte(`"frames"`)) {
		issue += ".min" // without its source map a minified stack is another
	}
	if issue != "fingerprint-custom" && issue != "fingerprint-other" { // what a program says itself is no matter of SDKs
		issue = r.language + "/" + issue
	}
	g := golden{Entry: Entry{
		File: r.language + "/" + strings.ReplaceAll(name, "@", ".") + ".json", Issue: issue,
		SDK: e.SDK.Name + "/" + e.SDK.Version, Program: "integration/golden/" + r.language,
	}}
	g.payload = a.Bytes(payload, g.File, received, nth)
	if r.language != "go" {
		g.payload = modules.ReplaceAll(g.payload, nil)
	}
	if !json.Valid(g.payload) {
		t.Fatalf("%s is no JSON any more: %.1000s", g.File, g.payload)
	}
	g.shape = shape(t, g.payload)
	return g
}

// shape is what does not depend on the versions of runtimes.
func shape(t *testing.T, payload []byte) string {
	t.Helper()
	type stack struct {
		Frames []struct {
			Function string
			InApp    *bool `json:"in_app"`
		}
	}
	type exception struct {
		Type       string
		Stacktrace stack
	}
	var e struct {
		Exception json.RawMessage
	}
	if err := json.Unmarshal(payload, &e); err != nil {
		t.Fatal(err)
	}
	var list []exception
	if err := json.Unmarshal(e.Exception, &list); err != nil && len(e.Exception) > 0 {
		var o struct{ Values []exception }
		if err := json.Unmarshal(e.Exception, &o); err != nil {
			t.Fatal(err)
		}
		list = o.Values
	}
	var b strings.Builder
	for _, x := range list {
		fmt.Fprintf(&b, "%s:", x.Type)
		last := ""
		for _, f := range x.Stacktrace.Frames {
			if f.InApp != nil && *f.InApp && f.Function != last {
				fmt.Fprintf(&b, " %s", f.Function)
				last = f.Function
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func write(t *testing.T, folder string, captured map[string]golden) {
	t.Helper()
	if err := os.RemoveAll(folder); err != nil {
		t.Fatal(err)
	}
	var index []Entry
	for _, name := range slices.Sorted(maps.Keys(captured)) {
		g := captured[name]
		index = append(index, g.Entry)
		path := filepath.Join(folder, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, append(bytes.TrimSpace(g.payload), '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	b.WriteString("[\n")
	for i, e := range index {
		line, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(line)
		if i < len(index)-1 {
			b.WriteByte(',')
		}
		b.WriteByte('\n')
	}
	b.WriteString("]\n")
	if err := os.WriteFile(filepath.Join(folder, "index.json"), b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Logf("wrote %d events under %s", len(index), folder)
}

func compare(t *testing.T, folder string, captured map[string]golden, ran map[string]bool) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(folder, "index.json"))
	if err != nil {
		t.Fatalf("%v; go test ./golden -update writes it", err)
	}
	var index []Entry
	if err := json.Unmarshal(b, &index); err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, e := range index {
		known[e.File] = true
		g, ok := captured[e.File]
		if !ok {
			language, _, _ := strings.Cut(e.File, "/")
			if ran[language] && !strings.Contains(e.File, ".build-b") {
				t.Errorf("%s was not sent this time", e.File)
			}
			continue
		}
		if g.SDK != e.SDK {
			t.Errorf("%s came from %s, the file is of %s; go test ./golden -update writes it anew", e.File, g.SDK, e.SDK)
		}
		payload, err := os.ReadFile(filepath.Join(folder, filepath.FromSlash(e.File)))
		if err != nil {
			t.Fatal(err)
		}
		if want := shape(t, payload); g.shape != want {
			t.Errorf("%s has another shape than in the file\ngot:\n%s\nwant:\n%s", e.File, g.shape, want)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(captured)) {
		if !known[name] {
			t.Errorf("%s was sent, but is no file yet; go test ./golden -update writes it", name)
		}
	}
	t.Logf("%d events on %s", len(captured), runtime.GOOS)
}
