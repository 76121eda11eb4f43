package symbolicate

import (
	"context"
	"crypto/sha1" //nolint:gosec // the name of content, no secret
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/hoptrace/hoptrace/exporters"
)

// fake holds uploaded files in memory.
type fake struct {
	exporters.Artifacts
	mu        sync.Mutex
	files     []held
	chunks    map[string][]byte
	err       error
	questions atomic.Int64
	used      []string
}

type held struct {
	exporters.ArtifactHold
	exporters.ArtifactFile
}

func (f *fake) add(h exporters.ArtifactHold, file exporters.ArtifactFile, data string) {
	sum := sha1.Sum([]byte(data)) //nolint:gosec // see above
	file.SHA1, file.Size = hex.EncodeToString(sum[:]), int64(len(data))
	file.Bundle, file.Chunks = "bundle of "+file.URL, []string{file.SHA1}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.chunks == nil {
		f.chunks = make(map[string][]byte)
	}
	f.chunks[exporters.ChunkKey(file.SHA1)] = []byte(data)
	f.files = slices.Insert(f.files, 0, held{h, file})
}

func (f *fake) pick(fits func(held) bool) (out []exporters.ArtifactFile, err error) {
	f.questions.Add(1)
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, h := range f.files {
		if fits(h) {
			out = append(out, h.ArtifactFile)
		}
	}
	return out, f.err
}

func (f *fake) FilesByDebugID(_ context.Context, project uint64, id string) ([]exporters.ArtifactFile, error) {
	return f.pick(func(h held) bool { return h.Project == project && h.DebugID == id })
}

func (f *fake) FilesByURL(_ context.Context, project uint64, release, dist string, urls []string) ([]exporters.ArtifactFile, error) {
	return f.pick(func(h held) bool {
		return h.ArtifactHold == exporters.ArtifactHold{Project: project, Release: release, Dist: dist} && slices.Contains(urls, h.URL)
	})
}

func (f *fake) UsedBundles(_ context.Context, keys []string, _ int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.used = append(f.used, keys...)
	return nil
}

func (f *fake) Get(_ context.Context, key string) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	b, ok := f.chunks[key]
	if !ok {
		return nil, fmt.Errorf("blob %q: %w", key, exporters.ErrNotFound)
	}
	return b, nil
}
func (f *fake) Put(context.Context, string, []byte) error { return errors.New("not here") }
func (f *fake) Delete(context.Context, string) error      { return errors.New("not here") }

func resolver(t testing.TB, f *fake, cfg Config) *Resolver {
	t.Helper()
	r, err := New(cfg, f, f, prometheus.NewRegistry(), slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func read(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "shop", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

const debugID = "5fd4f98fba7e55e2b0d3787f216a6535"

// withShop has the program of testdata by release "v1" and by debug id.
func withShop(t testing.TB) *fake {
	f := new(fake)
	h := exporters.ArtifactHold{Project: 7, Release: "v1"}
	f.add(h, exporters.ArtifactFile{URL: "~/static/app.min.js", Kind: exporters.ArtifactMinified, DebugID: debugID}, read(t, "app.min.js"))
	f.add(h, exporters.ArtifactFile{URL: "~/static/app.min.js.map", Kind: exporters.ArtifactSourceMap, DebugID: debugID}, read(t, "app.min.js.map"))
	return f
}

// frames reads a stack of V8, which has the called first.
func frames(path, stack string) []Frame {
	var out []Frame
	for line := range strings.SplitSeq(strings.TrimSpace(stack), "\n") {
		f := Frame{AbsPath: path}
		function, at, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "at "), " (")
		if ok {
			f.Function = function
		} else {
			at = function
		}
		if strings.HasPrefix(at, "<anonymous>") {
			f.AbsPath = "<anonymous>"
		} else if _, err := fmt.Sscanf(strings.TrimSuffix(at, ")"), "%d:%d", &f.Line, &f.Column); err != nil {
			panic(err)
		}
		out = append(out, f)
	}
	slices.Reverse(out)
	return out
}

// told is what tests compare of results.
func told(rs []Result) (out []string) {
	for _, r := range rs {
		if r.Found {
			out = append(out, fmt.Sprintf("%s %s:%d:%d %s", r.Function, r.Source, r.Line, r.Column, strings.TrimSpace(r.ContextLine)))
		} else {
			out = append(out, "- "+r.Reason)
		}
	}
	slices.Reverse(out)
	return out
}

func resolve(t *testing.T, r *Resolver, req Request) []Result {
	t.Helper()
	rs, err := r.Resolve(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if len(rs) != len(req.Frames) {
		t.Fatalf("%d results of %d frames", len(rs), len(req.Frames))
	}
	return rs
}

// The stacks are what node printed of testdata/shop/app.min.js, which esbuild
// 0.28.2 made of src: --bundle --minify --sourcemap --platform=node --format=cjs.
func TestStacksOfAMinifiedProgramBecomeThoseOfItsSource(t *testing.T) {
	f := func(stack string, want ...string) {
		t.Helper()
		for name, req := range map[string]Request{
			"by release":  {Project: 7, Release: "v1", Frames: frames("https://shop.example/static/app.min.js?v=3#top", stack)},
			"by debug id": {Project: 7, DebugIDs: map[string]string{"/srv/dist/app.min.js": "5FD4F98F-ba7e-55e2-b0d3-787f216a6535"}, Frames: frames("/srv/dist/app.min.js", stack)},
		} {
			if d := cmp.Diff(want, told(resolve(t, resolver(t, withShop(t), Config{}), req))); d != "" {
				t.Errorf("%s: got + want -:\n%s", name, d)
			}
		}
	}
	f(`at c (1:40)
		at e.submit (1:256)
		at 1:388
		at Array.map (<anonymous>)
		at u (1:363)
		at d (1:582)
		at Object.<anonymous> (1:732)`,
		"chargeCard src/shop.ts:6:11 throw new Error(`order ${order.id} has no card`);",
		"Checkout.submit src/shop.ts:20:18 this.done += chargeCard(order);",
		" src/main.ts:6:21 return checkout.submit(order);",
		"- ",
		"submitAll src/main.ts:5:17 return orders.map(function submitOne(order) {",
		`main src/main.ts:18:5 submitAll([{ id: "☃-1" }]);`,
		" src/main.ts:34:6 void main();")
	f(`at new e (1:153)
		at d (1:627)`,
		`new Checkout src/shop.ts:15:26 if (limit < 0) throw new RangeError("a limit below zero");`,
		"main src/main.ts:23:5 new Checkout(-1);")
	f(`at c (1:40)
		at e.submit (1:256)
		at e.submitLater (1:316)
		at async d (1:669)`,
		"chargeCard src/shop.ts:6:11 throw new Error(`order ${order.id} has no card`);",
		"Checkout.submit src/shop.ts:20:18 this.done += chargeCard(order);",
		"Checkout.submitLater src/shop.ts:26:17 return this.submit(order);",
		`main src/main.ts:28:5 await new Checkout(10).submitLater({ id: "o-2" });`)
}

func TestContextStandsAroundTheLine(t *testing.T) {
	rs := resolve(t, resolver(t, withShop(t), Config{}), Request{Project: 7, Release: "v1", Frames: frames("app:///static/app.min.js", "at c (1:40)")})
	want := []string{"/** chargeCard throws for an order without a card. */", "export function chargeCard(order: Order): number {", "  if (order.card === undefined) {"}
	got := rs[0].Pre
	if len(got) != 5 || cmp.Diff(want, got[2:]) != "" || len(rs[0].Post) != 5 || rs[0].Post[0] != "  }" {
		t.Errorf("pre %q, post %q; want 5 lines each, of them %q before", got, rs[0].Post, want)
	}
	if rs[0].InApp != nil {
		t.Errorf("in app is %v, want unknown", *rs[0].InApp)
	}
}

func TestCodeOfOthersIsNotInApp(t *testing.T) {
	for name, want := range map[string]bool{
		"../node_modules/react/index.js": true, "node_modules/a.js": true, "webpack:///webpack/bootstrap": true, "webpack/runtime/chunk loaded": true, "(webpack)/buildin/global.js": true,
		"src/main.ts": false, "webpack.config.js": false, "src/my_node_modules/a.ts": false, "": false,
	} {
		if got := isLibrary(name); got != want {
			t.Errorf("isLibrary(%q) = %v, want %v", name, got, want)
		}
	}
	f := new(fake)
	m := strings.Replace(read(t, "app.min.js.map"), `"version": 3,`, `"version": 3, "x_google_ignoreList": [0],`, 1)
	f.add(exporters.ArtifactHold{Project: 7, Release: "v1"}, exporters.ArtifactFile{URL: "~/a.js.map"}, m)
	rs := resolve(t, resolver(t, f, Config{}), Request{Project: 7, Release: "v1", Frames: frames("https://h/a.js", "at c (1:40)\nat 1:388")})
	if rs[1].InApp == nil || *rs[1].InApp || rs[0].InApp != nil {
		t.Errorf("got in app %v and %v, want false for the ignored source and unknown for the other", rs[1].InApp, rs[0].InApp)
	}
}

func TestWithoutTheScriptTheCallerTellsTheName(t *testing.T) {
	f := withShop(t)
	f.files = slices.DeleteFunc(f.files, func(h held) bool { return h.Kind == exporters.ArtifactMinified })
	got := told(resolve(t, resolver(t, f, Config{}), Request{
		Project: 7, Release: "v1", Frames: frames("https://h/static/app.min.js", "at c (1:40)\nat e.submit (1:256)\nat 1:388"),
	}))
	want := []string{
		"chargeCard src/shop.ts:6:11 throw new Error(`order ${order.id} has no card`);",
		"submit src/shop.ts:20:18 this.done += chargeCard(order);",
		" src/main.ts:6:21 return checkout.submit(order);",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("got + want -:\n%s", d)
	}
}

func TestReasonsSayWhatIsMissing(t *testing.T) {
	f := withShop(t)
	h := exporters.ArtifactHold{Project: 7, Release: "v1"}
	f.add(h, exporters.ArtifactFile{URL: "~/plain.js"}, "x()")
	f.add(h, exporters.ArtifactFile{URL: "~/lost.js", Headers: map[string]string{"sourcemap": "maps/lost.map"}}, "x()")
	f.add(h, exporters.ArtifactFile{URL: "~/broken.js"}, "x()\n//# sourceMappingURL=/broken.map")
	f.add(h, exporters.ArtifactFile{URL: "~/broken.map"}, `{"version":3,"mappings":"!"}`)
	f.add(h, exporters.ArtifactFile{URL: "~/gone.js", Headers: map[string]string{"sourcemap": "gone.map"}}, "x()")
	f.add(h, exporters.ArtifactFile{URL: "~/gone.map"}, "gone")
	delete(f.chunks, exporters.ChunkKey(f.files[0].SHA1))
	r := resolver(t, f, Config{})
	check := func(req Request, want string) {
		t.Helper()
		req.Project = 7
		if got := resolve(t, r, req)[0]; got.Found || want == "" && got.Reason != "" || !strings.Contains(got.Reason, want) {
			t.Errorf("%+v: got %+v, want a reason with %q", req, got, want)
		}
	}
	at := func(path string, line, column int) []Frame {
		return []Frame{{AbsPath: path, Line: line, Column: column}}
	}
	check(Request{Frames: at("https://h/static/app.min.js", 1, 40)}, "no release")
	check(Request{Release: "v2", Frames: at("https://h/static/app.min.js", 1, 40)}, `release "v2" has no file ~/static/app.min.js`)
	check(Request{Release: "v1", Dist: "d", Frames: at("https://h/static/app.min.js", 1, 40)}, `release "v1" (dist "d") has no file`)
	check(Request{Release: "v1", Frames: at("https://h/plain.js", 1, 1)}, "~/plain.js of release \"v1\" names no source map")
	check(Request{Release: "v1", Frames: at("https://h/lost.js", 1, 1)}, "~/lost.js names the source map ~/maps/lost.map, which release \"v1\" has not")
	check(Request{Release: "v1", Frames: at("https://h/broken.js", 1, 1)}, "no base64")
	check(Request{Release: "v1", Frames: at("https://h/gone.js", 1, 1)}, "not found")
	check(Request{Release: "v1", Frames: at("https://h/static/app.min.js", 0, 1)}, "no line")
	check(Request{Release: "v1", Frames: at("https://h/static/app.min.js", 1, 0)}, "no column")
	check(Request{Release: "v1", Frames: at("https://h/static/app.min.js", 999, 1)}, "another build")
	check(Request{DebugIDs: map[string]string{"x.js": strings.Repeat("0", 32)}, Frames: at("x.js", 1, 1)}, "no source map was uploaded for debug id 0000")
	for _, path := range []string{"", "native", "<anonymous>", "node:internal/modules/cjs/loader", "[native code]"} {
		check(Request{Release: "v1", Frames: at(path, 1, 1)}, "")
	}
	if rs := resolve(t, r, Request{Project: 7, Release: "v1", DebugIDs: map[string]string{"/static/app.min.js": strings.Repeat("0", 32)}, Frames: at("/static/app.min.js", 1, 40)}); !rs[0].Found {
		t.Errorf("a file with an unknown debug id is not looked for by release: %s", rs[0].Reason)
	}
}

func TestMapWithinTheScriptIsRead(t *testing.T) {
	f := new(fake)
	script := strings.SplitAfter(read(t, "app.min.js"), "sourceMappingURL=")[0]
	script = script[:strings.LastIndex(script, "//#")]
	h := exporters.ArtifactHold{Project: 7, Release: "v1"}
	f.add(h, exporters.ArtifactFile{URL: "~/a.js", DebugID: debugID, Kind: exporters.ArtifactMinified},
		script+"//# sourceMappingURL=data:application/json;charset=utf-8;base64,"+base64.StdEncoding.EncodeToString([]byte(read(t, "app.min.js.map")))+"\n")
	r := resolver(t, f, Config{})
	for _, req := range []Request{
		{Project: 7, Release: "v1", Frames: frames("https://h/a.js", "at c (1:40)")},
		{Project: 7, DebugIDs: map[string]string{"/a.js": debugID}, Frames: frames("/a.js", "at c (1:40)")},
	} {
		if got := told(resolve(t, r, req)); !strings.HasPrefix(got[0], "chargeCard src/shop.ts:6:11") {
			t.Errorf("got %q, want chargeCard src/shop.ts:6:11", got)
		}
	}
}

func TestStoreThatDoesNotAnswerIsAnErrorAndNotKept(t *testing.T) {
	f := withShop(t)
	r := resolver(t, f, Config{})
	req := Request{Project: 7, Release: "v1", Frames: frames("https://h/static/app.min.js", "at c (1:40)")}
	f.err = fmt.Errorf("no answer: %w", exporters.ErrUnavailable)
	if _, err := r.Resolve(t.Context(), req); !errors.Is(err, exporters.ErrUnavailable) {
		t.Errorf("got error %v, want %v", err, exporters.ErrUnavailable)
	}
	f.err = nil
	if got := told(resolve(t, r, req)); !strings.HasPrefix(got[0], "chargeCard") {
		t.Errorf("got %q once the store answers, want chargeCard", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	req.Release = "v9"
	if _, err := r.Resolve(ctx, req); !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v, want %v", err, context.Canceled)
	}
}

func TestFilesAreReadOnceAndMissingOnesAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(fake)
		r := resolver(t, f, Config{FreshFor: time.Minute, MissingFor: 20 * time.Second})
		req := Request{Project: 7, Release: "v1", Frames: frames("https://h/static/app.min.js", "at c (1:40)\nat e.submit (1:256)")}
		found := func(want bool) {
			t.Helper()
			if got := resolve(t, r, req)[0]; got.Found != want {
				t.Fatalf("found is %v, want %v: %s", got.Found, want, got.Reason)
			}
		}
		found(false)
		asked := f.questions.Load()
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() { found(false) })
		}
		wg.Wait()
		if got := f.questions.Load(); got != asked {
			t.Errorf("the store was asked %d times more for what it had not", got-asked)
		}
		f.files, f.chunks = withShop(t).files, withShop(t).chunks
		time.Sleep(19 * time.Second)
		found(false)
		time.Sleep(time.Second)
		for range 10 {
			wg.Go(func() { found(true) })
		}
		wg.Wait()
		asked = f.questions.Load()
		found(true)
		if got := f.questions.Load(); got != asked {
			t.Errorf("the store was asked %d times more for what is known", got-asked)
		}
		if len(f.used) == 0 {
			t.Error("the use of the bundles was not noted")
		}
		used := len(f.used)
		time.Sleep(61 * time.Second)
		clear(f.chunks) // asked again, but the bytes are known
		found(true)
		if got := f.questions.Load(); got == asked {
			t.Error("after a minute the store was not asked whether there is a newer file")
		}
		if len(f.used) != used {
			t.Error("the use of the bundles was noted twice in a minute")
		}
		time.Sleep(13 * time.Hour)
		found(true)
		if len(f.used) == used {
			t.Error("the use of the bundles was not noted again after 13 hours")
		}
	})
}

func TestCacheStaysWithinItsBytes(t *testing.T) {
	f := new(fake)
	for i := range 50 {
		h := exporters.ArtifactHold{Project: 7, Release: fmt.Sprint("v", i)}
		f.add(h, exporters.ArtifactFile{URL: "~/app.js.map"}, read(t, "app.min.js.map"))
	}
	r := resolver(t, f, Config{CacheBytes: 64 << 10})
	for round := range 2 {
		for i := range 50 {
			got := resolve(t, r, Request{Project: 7, Release: fmt.Sprint("v", i), Frames: frames("https://h/app.js", "at c (1:40)")})[0]
			if !got.Found {
				t.Fatalf("round %d, release %d: not found: %s", round, i, got.Reason)
			}
			if n := r.cache.bytes(); n > 64<<10 {
				t.Fatalf("the cache has %d bytes, at most %d", n, 64<<10)
			}
		}
	}
	if n := len(r.cache.entries); n < 2 || n >= 50 {
		t.Errorf("the cache has %d entries, want some of 50", n)
	}
}

func TestStackOfManyUnknownFilesAsksForSomeOnly(t *testing.T) {
	f := new(fake)
	r := resolver(t, f, Config{})
	var fs []Frame
	for i := range 250 {
		fs = append(fs, Frame{AbsPath: fmt.Sprintf("https://h/%d.js", i), Line: 1, Column: 1})
	}
	rs := resolve(t, r, Request{Project: 7, Release: "v1", Frames: fs})
	if n := f.questions.Load(); n > 2*maxAsked {
		t.Errorf("the store was asked %d times, want at most twice for each of %d files", n, maxAsked)
	}
	if !strings.Contains(rs[249].Reason, "more than 64 files") {
		t.Errorf("the last frame's reason is %q, want one that names the bound", rs[249].Reason)
	}
}

func TestURLsOfAFrameInOrder(t *testing.T) {
	f := func(path string, want ...string) {
		t.Helper()
		if d := cmp.Diff(want, candidates(path)); d != "" {
			t.Errorf("candidates(%q): got + want -:\n%s", path, d)
		}
	}
	f("https://h:8/static/js/app.min.js", "https://h:8/static/js/app.min.js", "~/static/js/app.min.js")
	f("http://h/a.js?v=1&w=2#x", "http://h/a.js?v=1&w=2", "~/a.js?v=1&w=2", "http://h/a.js", "~/a.js")
	f("app:///dist/a.js", "app:///dist/a.js", "~/dist/a.js")
	f("webpack:///./src/a.ts", "webpack:///./src/a.ts", "~/src/a.ts")
	f("webpack://shop/./src/a.ts?1f", "webpack://shop/./src/a.ts?1f", "~/src/a.ts?1f", "webpack://shop/./src/a.ts", "~/src/a.ts")
	f("/srv/dist/a.js", "/srv/dist/a.js", "~/srv/dist/a.js")
	f("./a.js", "./a.js", "~/a.js")
	f("file:///C:/app/a.js", "file:///C:/app/a.js", "~/app/a.js")
	f(`C:\app\a.js`, `C:\app\a.js`, "~/app/a.js")
	f("~/a.js", "~/a.js")
	f("https://h/" + strings.Repeat("a", maxURL))
}

func TestReferencesAreResolvedAgainstTheirFile(t *testing.T) {
	f := func(base, ref, want string) {
		t.Helper()
		if got := referred(base, ref); got != want {
			t.Errorf("referred(%q, %q) = %q, want %q", base, ref, got, want)
		}
	}
	f("~/static/a.js", "a.js.map", "~/static/a.js.map")
	f("~/static/a.js?v=1", "../maps/a.map", "~/maps/a.map")
	f("~/a.js", "../../../a.map", "~/a.map")
	f("~/static/a.js", "/m/a.map", "~/m/a.map")
	f("~/static/a.js", "https://cdn/m/a.map", "https://cdn/m/a.map")
	f("https://h/static/a.js", "a.map", "https://h/static/a.map")
	f("https://h/static/a.js", "//cdn/a.map", "https://cdn/a.map")
	f("app:///dist/a.js", "a.map", "app:///dist/a.map")
	f("/srv/a.js", "a.map", "~/srv/a.map")
	f("~/a.js", "", "")
	f("~/a.js", strings.Repeat("a", 3000), "")
}

func TestSourceMappingURLIsTheLastComment(t *testing.T) {
	f := func(script, want string) {
		t.Helper()
		if got := mappingURL(script); got != want {
			t.Errorf("mappingURL(%q) = %q, want %q", script, got, want)
		}
	}
	f("x()\n//# sourceMappingURL=a.map\n", "a.map")
	f("x()\n//@ sourceMappingURL=a.map \n", "a.map")
	f("x()/*# sourceMappingURL=a.map*/", "a.map")
	f("//# sourceMappingURL=a.map\ny()\n//# sourceMappingURL=b.map\n\n//# debugId=1", "b.map")
	f(`//# sourceMappingURL=a.map`+"\n"+`f("sourceMappingURL="+x)`, "a.map")
	f("x()", "")
	f("", "")
}

func TestGoPackagesOfTheProgramAreTold(t *testing.T) {
	deps := map[string]string{"github.com/shop/pay": "(devel)", "github.com/jackc/pgx/v5": "v5.1.0", "golang.org/x/sync": "v0.1.0", "github.com/shop/lib": "v1.2.0"}
	f := func(module string, modules map[string]string, mainModule string, want bool) {
		t.Helper()
		if got := GoInApp(module, modules, mainModule); got != want {
			t.Errorf("GoInApp(%q, %v, %q) = %v, want %v", module, modules, mainModule, got, want)
		}
	}
	f("main", nil, "", true)
	f("main", deps, "github.com/shop/pay", true)
	f("runtime", nil, "", false)
	f("runtime/debug", deps, "", false)
	f("net/http", nil, "", false)
	f("", nil, "", false)
	f("github.com/shop/pay", deps, "", true)
	f("github.com/shop/pay/charge", deps, "", true)
	f("github.com/shop/pay/charge", deps, "github.com/shop/pay", true)
	f("github.com/shop/payments", deps, "github.com/shop/pay", true) // of no module in the list
	f("github.com/shop/lib/x", deps, "", false)
	f("github.com/shop/lib/x", deps, "github.com/shop/pay", false)
	f("github.com/jackc/pgx/v5/pgconn", deps, "", false)
	f("gopkg.in/yaml%2ev3", map[string]string{"gopkg.in/yaml.v3": "v3.0.1"}, "", false)
	f("github.com/shop/pay/vendor/github.com/x/y", deps, "github.com/shop/pay", false)
	f("vendor/golang.org/x/net/http2", nil, "", false)
	f("shop/payments", nil, "", true)
	f("strings/own", map[string]string{"strings": "v1.0.0"}, "strings", true)
	f("golang.org/x/sync/errgroup", nil, "", false)
	f("github.com/getsentry/sentry-go/http", nil, "", false)
	f("github.com/any/thing", nil, "", true)
	f("github.com/shop/pay/charge", map[string]string{"github.com/shop/pay": "v0.3.0+dirty"}, "", true)
}
