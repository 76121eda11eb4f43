package group

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hoptrace/hoptrace/pipeline/normalize"
	"github.com/hoptrace/hoptrace/schemas"
)

func grouper(t testing.TB, cfg Config) *Grouper {
	t.Helper()
	g, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// stackOf makes frames of "module:function", the outermost first; one that ends
// in "!" is not the program's own.
func stackOf(frames ...string) []normalize.Frame {
	out := make([]normalize.Frame, len(frames))
	for i, s := range frames {
		name, library := strings.CutSuffix(s, "!")
		m, fn, _ := strings.Cut(name, ":")
		out[i] = normalize.Frame{Module: m, Function: fn, Line: 10 + i, InApp: !library}
	}
	return out
}

func errorEvent(platform string, xs ...normalize.Exception) *normalize.Event {
	for i := range xs {
		if m := &xs[i].Mechanism; m.ExceptionID == 0 && m.ParentID == 0 && !m.IsExceptionGroup {
			m.ExceptionID, m.ParentID = schemas.Unknown, schemas.Unknown
		}
	}
	return &normalize.Event{Event: schemas.Event{Platform: platform, Level: "error"}, Exceptions: xs}
}

// lines groups an event and checks what its tree says of the hash.
func lines(t *testing.T, g *Grouper, e *normalize.Event) string {
	t.Helper()
	r := g.Of(e)
	if len(r.Hashes) == 0 || r.Hashes[0] != r.Tree.Hash() {
		t.Errorf("hashes %v, tree %v", r.Hashes, r.Tree.Hash())
	}
	var tree any
	if err := json.Unmarshal(r.Tree.AppendJSON(nil), &tree); err != nil {
		t.Errorf("tree is no JSON: %v: %s", err, r.Tree.AppendJSON(nil))
	}
	return strings.Join(r.Tree.Lines(), "; ")
}

func TestStrategiesAndVariants(t *testing.T) {
	g := grouper(t, Config{})
	f := func(name string, e *normalize.Event, want string) {
		t.Helper()
		if got := lines(t, g, e); got != want {
			t.Errorf("%s\n got %s\nwant %s", name, got, want)
		}
	}
	x := func(typ, value string, frames ...string) normalize.Exception {
		return normalize.Exception{Type: typ, Value: value, Frames: stackOf(frames...)}
	}
	f("own frames", errorEvent("go", x("E", "order 17", "lib:serve!", "shop:charge")), "type E; frame shop.charge")
	f("no own frames", errorEvent("go", x("E", "order 17", "lib:serve!", "lib:read!")), "type E; frame lib.serve; frame lib.read")
	f("no frames", errorEvent("go", x("E", "order 17")), "type E; value order <int>")
	f("chain, one without own frames", errorEvent("go", x("C", "cause 1", "lib:read!"), x("E", "order 17", "shop:charge")), "type C; value cause <int>; type E; frame shop.charge")
	synthetic := x("E", "order 17", "shop:charge")
	synthetic.Synthetic = true
	f("made-up type", errorEvent("go", synthetic), "frame shop.charge")
	f("no type: a message as an exception", errorEvent("node", x("", "order 17", "shop:report")), "frame shop.report; value order <int>")
	f("an exception that says nothing", &normalize.Event{Event: schemas.Event{Platform: "go", Level: "error"}, Exceptions: []normalize.Exception{{}}, Message: "m 1"}, "message m <int>")
	m := &normalize.Event{Event: schemas.Event{Platform: "go", Level: "error"}, Message: "order 17", Frames: stackOf("lib:x!", "shop:report")}
	f("a message with a stack", m, "frame shop.report; message order <int>")
	m = &normalize.Event{Event: schemas.Event{Platform: "go", Level: "error"}, Message: "order 17", Frames: stackOf("lib:x!")}
	f("a message with a library's stack", m, "message order <int>")
	m.Template = "order %d"
	f("a template", m, "message order %d")
	f("a stack alone", &normalize.Event{Event: schemas.Event{Platform: "go"}, Frames: stackOf("lib:x!")}, "frame lib.x")
	f("nothing", &normalize.Event{Event: schemas.Event{Platform: "go", Level: "warning", Culprit: "GET /"}}, "level warning; culprit GET /")
	f("csp", &normalize.Event{Security: normalize.Security{Kind: "csp", Directive: "img-src", Blocked: "evil.example", DocumentHost: "shop.example"}, Message: "Blocked 'image'"}, "security csp img-src evil.example")
	f("csp, own script", &normalize.Event{Security: normalize.Security{Kind: "csp", Directive: "script-src", Blocked: "self", LocalScriptViolated: true}}, "security csp script-src local script")
	f("expect-ct", &normalize.Event{Security: normalize.Security{Kind: "expect-ct", DocumentHost: "shop.example"}}, "security expect-ct shop.example")
	template := errorEvent("node", x("", "order the last is late", "shop:report"))
	template.Template = "order %s is late"
	f("its template", template, "frame shop.report; value order %s is late")
	vague := x("TypeError", "x is no function", "shop:run")
	vague.Frames = append(vague.Frames, normalize.Frame{Filename: "https://shop.example/min-3F2A9C1B.js", Function: "ze", InApp: true})
	f("a failure in a minified function", errorEvent("javascript", vague), "type TypeError; frame shop.run; frame min.js; value x is no function")
	trimmed := x("E", "v", "net/http:serve!", "example.com/lib:x!", "main:run!")
	for i, file := range []string{"net/http/server.go", "example.com/lib@v1.2.3/x.go", "example.com/shop/main.go"} {
		trimmed.Frames[i].Filename = file
	}
	f("a program built with -trimpath", errorEvent("go", trimmed), "type E; frame main.run")
	again := x("E", "v", "shop:walk", "shop:walk", "shop:walk", "shop:end")
	for i := range 3 {
		again.Frames[i].Line = 7
	}
	f("recursion", errorEvent("go", again), "type E; frame shop.walk; frame shop.end")
}

func TestExceptionGroups(t *testing.T) {
	g := grouper(t, Config{})
	x := func(id, parent int, isGroup bool, typ, fn string) normalize.Exception {
		return normalize.Exception{
			Type: typ, Value: "v of " + typ, Frames: stackOf("shop:" + fn),
			Mechanism: normalize.Mechanism{ExceptionID: id, ParentID: parent, IsExceptionGroup: isGroup},
		}
	}
	f := func(name, want, title string, xs ...normalize.Exception) {
		t.Helper()
		e := &normalize.Event{Event: schemas.Event{Platform: "python"}, Exceptions: xs}
		if got := lines(t, g, e); got != want {
			t.Errorf("%s\n got %s\nwant %s", name, got, want)
		}
		if r := g.Of(e); r.Title != title {
			t.Errorf("%s: title %q, want %q", name, r.Title, title)
		}
	}
	root := x(0, schemas.Unknown, true, "ExceptionGroup", "main")
	f("two distinct ones, sorted by type, and the root", "type A; frame shop.a; type B; frame shop.b; type ExceptionGroup; frame shop.main", "",
		x(2, 0, false, "A", "a"), x(1, 0, false, "B", "b"), root)
	f("three of which two are alike", "type A; frame shop.a; type B; frame shop.b; type ExceptionGroup; frame shop.main", "",
		x(3, 0, false, "A", "a"), x(2, 0, false, "A", "a"), x(1, 0, false, "B", "b"), root)
	f("one distinct, with its cause", "type Cause; frame shop.c; type A; frame shop.a", "A: v of A",
		x(3, 1, false, "Cause", "c"), x(2, 0, false, "A", "a"), x(1, 0, false, "A", "a"), root)
	f("a group in a group", "type A; frame shop.a; type B; frame shop.b; type ExceptionGroup; frame shop.main", "",
		x(3, 1, false, "B", "b"), x(2, 0, false, "A", "a"), x(1, 0, true, "ExceptionGroup", "inner"), root)
	f("no parent of that id", "type A; frame shop.a; type ExceptionGroup; frame shop.main", "", x(1, 7, false, "A", "a"), root)
	f("an id twice", "type A; frame shop.a; type ExceptionGroup; frame shop.main", "", x(0, 0, false, "A", "a"), root)
	f("a ring", "type A; frame shop.a; type B; frame shop.b; type ExceptionGroup; frame shop.main", "", x(1, 2, false, "A", "a"), x(2, 1, false, "B", "b"), root)
	f("two roots", "type A; frame shop.a; type ExceptionGroup; frame shop.main", "", x(1, schemas.Unknown, false, "A", "a"), root)
	f("no group: a plain chain", "type A; frame shop.a; type B; frame shop.b", "", x(1, 0, false, "A", "a"), x(0, schemas.Unknown, false, "B", "b"))
}

func TestWrappersOfReactAndRxJavaAreNotTheTitle(t *testing.T) {
	g := grouper(t, Config{})
	react := errorEvent("javascript", normalize.Exception{Type: "TypeError", Value: "x is undefined\nat y"},
		normalize.Exception{Type: "Error", Value: "There was an error during concurrent rendering but React was able to recover by instead synchronously rendering the entire root."})
	if r := g.Of(react); r.Title != "TypeError: x is undefined" {
		t.Errorf("React: title %q", r.Title)
	}
	rx := errorEvent("java", normalize.Exception{Type: "IOException", Value: "closed", Module: "java.io", Frames: stackOf("shop.Orders:charge")},
		normalize.Exception{Type: "UndeliverableException", Value: "The exception could not be delivered", Module: "io.reactivex.rxjava3.exceptions"})
	if r := g.Of(rx); r.Title != "IOException: closed" || r.Culprit != "shop.Orders in charge" {
		t.Errorf("RxJava: title %q, culprit %q", r.Title, r.Culprit)
	}
}

func TestFunctionsAndPlacesLoseWhatABuildPutsIn(t *testing.T) {
	f := func(platform string, frame normalize.Frame, want string) {
		t.Helper()
		g := grouper(t, Config{Enhancements: "include none"})
		frame.InApp = true
		got := lines(t, g, errorEvent(platform, normalize.Exception{Frames: []normalize.Frame{frame, {Module: "m", Function: "end", InApp: true}}}))
		if got = strings.TrimSuffix(strings.TrimPrefix(got, "frame "), "; frame m.end"); got != want {
			t.Errorf("%s %+v\n got %s\nwant %s", platform, frame, got, want)
		}
	}
	fn := func(platform, function, want string) {
		t.Helper()
		f(platform, normalize.Frame{Module: "M", Function: function}, strings.TrimSuffix("M."+want, "."))
	}
	fn("go", "(*Service).Charge", "Service.Charge")
	fn("go", "Service.Charge-fm", "Service.Charge")
	fn("go", "Map[...].func1.2", "Map.func")
	fn("go", "(*List[go.shape.int]).Push", "List.Push")
	fn("go", "glob..func3", "glob.func")
	fn("go", "init.0", "init")
	fn("go", "Run.gowrap1", "Run")
	fn("go", "Each-range2", "Each")
	fn("go", "sha256sum", "sha256sum")
	f("go", normalize.Frame{Module: "example.com/shop/v2/pay", Function: "charge"}, "example.com/shop/pay.charge")
	f("go", normalize.Frame{Module: "shop/vendor/example.com/lib@v1.2.3/x", Function: "f"}, "example.com/lib/x.f")
	f("go", normalize.Frame{Module: "gopkg.in/yaml%2ev3", Function: "f"}, "gopkg.in/yaml.f")
	f("go", normalize.Frame{Function: "example.com/shop/pay.(*S).Charge[example.com/a.B]"}, "example.com/shop/pay.S.Charge")
	fn("java", "lambda$charge$0", "lambda$charge")
	fn("java", "access$000", "access")
	fn("java", "fn__1234", "fn")
	f("java", normalize.Frame{Module: "shop.Orders$$Lambda$14/0x00000008000b1c40", Function: "run"}, "shop.Orders$Lambda.run")
	f("java", normalize.Frame{Module: "shop.Orders$1", Function: "run"}, "shop.Orders.run")
	f("node", normalize.Frame{Filename: "/app/dist/Main.3f2a9c1b.js", Function: "Object.run [as go]"}, "main.js.run")
	f("node", normalize.Frame{Filename: "/app/x.js", Function: "async Shop.charge"}, "x.js.charge")
	f("node", normalize.Frame{Filename: "/app/x.js", Function: "new Shop"}, "x.js.Shop")
	f("node", normalize.Frame{Filename: "/app/x.js", Function: "Array.<anonymous>"}, "x.js")
	f("javascript", normalize.Frame{Filename: "https://shop.example/assets/index-B7x9aZk2.js", Function: "aB"}, "index.js")
	f("javascript", normalize.Frame{Filename: "https://shop.example/assets/index-NFXSAZGU.js", Function: "aB"}, "index.js")
	f("javascript", normalize.Frame{Filename: "https://shop.example/assets/shop-Checkout.js", Function: "aB"}, "shop-checkout.js")
	f("javascript", normalize.Frame{Filename: "https://shop.example/", Function: "run"}, "run")
	f("javascript", normalize.Frame{Filename: "app:///src/cart.js", Function: "total", Mapped: true, ContextLine: "  return  a.b\t+ 1"}, "cart.js | return a.b + 1")
	f("python", normalize.Frame{Module: "shop", Function: "Cart.<locals>.total"}, "shop.total")
	f("python", normalize.Frame{Module: "shop", Function: "<lambda>", ContextLine: "f = lambda: 1/0"}, "shop.<lambda> | f = lambda: 1/0")
	f("python", normalize.Frame{Module: "shop", Function: "x", ContextLine: strings.Repeat("y", 121)}, "shop.x")
	f("go", normalize.Frame{Module: "shop", Function: "x", ContextLine: "not for Go"}, "shop.x")
	fn("ruby", "block (2 levels) in Orders#charge", "charge")
	fn("ruby", "_app_views_orders_show_html_erb__1234567_8900", "_app_views_orders_show_html_erb")
	fn("php", "class@anonymous\x00/srv/a.php:12$0::run", "class@anonymous::run")
	fn("php", "{closure:App\\Orders::charge():12}", "{closure}")
	fn("php", `App\Orders::charge`, `App\Orders::charge`)
	fn("csharp", "<Charge>d__12.MoveNext", "Charge")
	fn("csharp", "<Charge>b__0_1", "Charge.lambda")
	fn("csharp", "List`1.Add", "List.Add")
	fn("elixir", "anonymous fn/2 in Shop.charge/1", "charge/1")
	fn("elixir", "-charge/1-fun-0-", "charge/1")
	fn("native", "void shop::Cart<int, std::vector<int>>::add(int, char const*) const", "shop::Cart::add")
	fn("native", "shop::operator<<(std::ostream&, int)", "shop::operator<<")
	fn("native", "(anonymous namespace)::run(int)", "{anon}::run")
	fn("native", "shop::run()::{lambda(int)#1}::operator()(int) const", "shop::run::{lambda}::operator()")
	fn("native", "-[Cart add:]", "-[Cart add:]")
	fn("native", "run.part.0", "run")
	fn("rust", "shop::charge::h0123456789abcdef", "shop::charge")
	fn("rust", "<shop::Cart as core::fmt::Display>::fmt", "shop::Cart::fmt")
	fn("rust", "shop::run::{{closure}}", "shop::run::{{closure}}")
	fn("go", "<redacted>", "")
	f("other", normalize.Frame{Filename: `C:\App\lib-1.2.3.jar`, Function: "f"}, "lib.jar.f")
}

func TestOneScriptFrameOfAPageSaysNothing(t *testing.T) {
	g := grouper(t, Config{})
	e := errorEvent("javascript", normalize.Exception{Type: "Error", Value: "Script error.", Frames: []normalize.Frame{{AbsPath: "https://shop.example/app.js", Filename: "https://shop.example/app.js", InApp: true}}})
	if got := lines(t, g, e); got != "type Error; value Script error." {
		t.Error(got)
	}
}

func TestComprehensionsAreTheirCallers(t *testing.T) {
	g := grouper(t, Config{})
	with := errorEvent("python", normalize.Exception{Type: "E", Frames: stackOf("shop:total", "shop:total.<locals>.<listcomp>", "shop:price")})
	without := errorEvent("python", normalize.Exception{Type: "E", Frames: stackOf("shop:total", "shop:price")})
	if g.Of(with).Hashes[0] != g.Of(without).Hashes[0] {
		t.Error("Python 3.11 and 3.12 group apart")
	}
}

func TestEnhancementsChangeWhatCounts(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		g := grouper(t, Config{Enhancements: text})
		e := errorEvent("go", normalize.Exception{Type: "E", Value: "v", Frames: stackOf("lib:serve!", "shop:handle", "shop:charge", "shop/util:must")})
		if got := lines(t, g, e); got != want {
			t.Errorf("%s\n got %s\nwant %s", text, got, want)
		}
	}
	f("", "type E; frame shop.handle; frame shop.charge; frame shop/util.must")
	f("module:shop/util -group", "type E; frame shop.handle; frame shop.charge")
	f("module:shop/util -app", "type E; frame shop.handle; frame shop.charge")
	f("module:lib +app", "type E; frame lib.serve; frame shop.handle; frame shop.charge; frame shop/util.must")
	f("function:* -app", "type E; frame lib.serve; frame shop.handle; frame shop.charge; frame shop/util.must")
	f("function:* -group", "type E; value v")
	f("error.type:E max-frames=2", "type E; frame shop.charge; frame shop/util.must")
	f("error.type:E max-frames=2 invert-stacktrace=1", "type E; frame shop.handle; frame shop.charge")
	f("error.type:E min-frames=5", "type E; value v")
}

func TestARuleThatMovesFramesMovesTheCulpritToo(t *testing.T) {
	g := grouper(t, Config{Enhancements: "module:shop/util -app"})
	e := errorEvent("go", normalize.Exception{Type: "E", Frames: stackOf("shop:charge", "shop/util:must")})
	if r := g.Of(e); r.Culprit != "shop in charge" || e.Exceptions[0].Frames[1].InApp {
		t.Errorf("culprit %q, frame in app %v", r.Culprit, e.Exceptions[0].Frames[1].InApp)
	}
}

func TestFingerprintsReplaceOrSalt(t *testing.T) {
	event := func(client ...string) *normalize.Event {
		e := errorEvent("go", normalize.Exception{Type: "E", Value: "v", Frames: stackOf("shop:charge")})
		e.ClientFingerprint = client
		return e
	}
	g := grouper(t, Config{})
	f := func(g *Grouper, e *normalize.Event, want string) {
		t.Helper()
		if got := lines(t, g, e); got != want {
			t.Errorf("%v\n got %s\nwant %s", e.ClientFingerprint, got, want)
		}
	}
	f(g, event("{{ default }}"), "type E; frame shop.charge")
	f(g, event("{{default}}", "{{ default }}"), "type E; frame shop.charge")
	f(g, event("db", "{{ type }}"), "fingerprint db; fingerprint E")
	f(g, event("{{ default }}", "t1"), "fingerprint t1; type E; frame shop.charge")
	f(g, event("broken {{ type"), "fingerprint broken {{ type")
	ruled := grouper(t, Config{Fingerprints: `error.type:E -> ruled {{ function }} title="Ruled {{ type }}"`})
	f(ruled, event("db"), "fingerprint ruled; fingerprint charge")
	if r := ruled.Of(event()); r.Title != "Ruled E" {
		t.Errorf("title %q", r.Title)
	}
	if g.Of(event("ab", "c")).Hashes[0] == g.Of(event("a", "bc")).Hashes[0] {
		t.Error("parts run into each other")
	}
	if g.Of(event()).Hashes[0] != g.Of(event("{{ default }}")).Hashes[0] {
		t.Error("the default alone changed the hash")
	}
}

func TestTheRecordIsNoPartOfTheHash(t *testing.T) {
	g := grouper(t, Config{})
	event := func() *normalize.Event {
		return errorEvent("go", normalize.Exception{Type: "E", Value: "v", Frames: stackOf("shop:charge")})
	}
	plain, joined := event(), event()
	joined.Topic, joined.Group, joined.Partition, joined.Offset = "orders", "billing", 7, 4711
	joined.Tags = []schemas.Attribute{{Key: "messaging.kafka.message.key", Value: "tenant42"}}
	if a, b := g.Of(plain).Hashes[0], g.Of(joined).Hashes[0]; a != b {
		t.Errorf("%s without, %s with the record", a, b)
	}
}

func TestTheSecondaryVersionComesLast(t *testing.T) {
	event := func() *normalize.Event {
		return errorEvent("go", normalize.Exception{Type: "E", Value: "v", Frames: stackOf("shop:charge")})
	}
	one, _ := Of(event())
	two := grouper(t, Config{}).Of(event())
	if len(two.Hashes) != 1 || two.Version != Version || two.Hashes[0] == one {
		t.Fatalf("default: %v %s", two.Hashes, two.Version)
	}
	both := grouper(t, Config{Secondary: version1}).Of(event())
	if d := cmp.Diff([]schemas.Fingerprint{two.Hashes[0], one}, both.Hashes); d != "" {
		t.Errorf("in transition (-want +got):\n%s", d)
	}
	back := grouper(t, Config{Primary: version1, Secondary: Version}).Of(event())
	if d := cmp.Diff([]schemas.Fingerprint{one, two.Hashes[0]}, back.Hashes); d != "" || back.Version != version1 {
		t.Errorf("the other way (-want +got):\n%s", d)
	}
	if got := lines(t, grouper(t, Config{Primary: version1}), event()); got != "type E; frame shop.charge" {
		t.Error(got)
	}
	if _, err := New(Config{Primary: "hoptrace:9", Enhancements: "x"}); err == nil || !strings.Contains(err.Error(), `"hoptrace:9"`) || !strings.Contains(err.Error(), "line 1, column 1") {
		t.Errorf("error %v; want both faults", err)
	}
}

func TestRulesSeeWhatTheSDKSaidInTheFirstVersion(t *testing.T) {
	e := errorEvent("go", normalize.Exception{Type: "E", Frames: stackOf("net/http:serve", "shop:charge")})
	before, _ := Of(e)
	r := grouper(t, Config{Secondary: version1}).Of(e)
	if r.Hashes[1] != before {
		t.Error("the first version's hash was made after the rules had changed the frames")
	}
}

func TestTreesSayWhyAndAreBounded(t *testing.T) {
	g := grouper(t, Config{Enhancements: "module:shop/util -group"})
	e := errorEvent("go", normalize.Exception{Type: "E", Value: "order 17", Frames: stackOf("net/http:serve", "shop:charge", "shop/util:must")})
	got := string(g.Of(e).Tree.AppendJSON(nil))
	for _, want := range []string{
		`"strategy":"chained-exception"`, `{"name":"app","contributes":true,"hash":"`, `"hint":"not the program's own: family:go stack.module:net/*`,
		`"hint":"left out by a rule: module:shop/util -group"`, `{"id":"value","contributes":false,"hint":"the stack counts instead","value":"order <int>"}`,
		`{"name":"system","contributes":false,"hint":"the variant app decides"`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in %s", want, got)
		}
	}
	var xs []normalize.Exception
	for range 50 {
		var frames []string
		for range 250 {
			frames = append(frames, "module"+strings.Repeat("m", 200)+":f"+strings.Repeat("n", 200))
		}
		xs = append(xs, normalize.Exception{Type: strings.Repeat("T", 500), Value: strings.Repeat("v ", 5000), Frames: stackOf(frames...)})
	}
	if n := len(g.Of(errorEvent("go", xs...)).Tree.AppendJSON(nil)); n > 256<<10 {
		t.Errorf("a tree of %d bytes", n)
	}
}

func TestGroupersAreKeptByTheirRules(t *testing.T) {
	c := NewCache(2)
	a, err := c.For(Config{Enhancements: "function:a -app"})
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := c.For(Config{Enhancements: "function:a -app"}); a != b {
		t.Error("equal rules were compiled twice")
	}
	if _, err := c.For(Config{Enhancements: "nonsense"}); err == nil {
		t.Error("nonsense was accepted")
	}
	_, _ = c.For(Config{Enhancements: "function:c -app"})
	if c.order.Len() != 2 || len(c.byCfg) != 2 {
		t.Errorf("%d kept, %d by rules; want 2", c.order.Len(), len(c.byCfg))
	}
	if b, _ := c.For(Config{Enhancements: "function:a -app"}); a == b {
		t.Error("the one used longest ago was kept")
	}
}

func TestTheFrameCacheIsBounded(t *testing.T) {
	g := grouper(t, Config{})
	f := normalize.Frame{Module: "m"}
	for i := range 3*maxFrameInfos + 10 {
		f.Function = "f" + strings.Repeat("x", i%7) + string(rune('a'+i%26)) + strings.Repeat("y", i/200)
		g.info(&f, 1)
	}
	if n := len(g.frames.young) + len(g.frames.old); n > 2*maxFrameInfos {
		t.Errorf("%d frames kept; at most %d", n, 2*maxFrameInfos)
	}
}

// goldenFiles are payloads as SDKs send them: those of this package, and what was
// captured from real SDKs.
func goldenFiles(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) < 5 {
		t.Fatalf("found %d examples, %v; want at least 5", len(files), err)
	}
	captured, err := filepath.Glob(filepath.Join(captured, "*", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	return append(files, captured...)
}

// captured is where the payloads of real SDKs lie, a folder an SDK.
const captured = "../testdata/golden"

// compare compares text with a file of testdata, which -update writes.
func compare(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Errorf("%v; go test -update writes it", err)
		return
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-want +got):\n%s", file, d)
	}
}

// render writes a tree for people: "+" counts, "-" does not.
func render(t *testing.T, tree []byte) string {
	t.Helper()
	type component struct {
		ID          string
		Contributes bool
		Hint, Value string
		Values      []json.RawMessage
	}
	var b strings.Builder
	var walk func(raw []byte, depth int)
	walk = func(raw []byte, depth int) {
		var c component
		if err := json.Unmarshal(raw, &c); err != nil {
			t.Fatalf("%v: %s", err, raw)
		}
		b.WriteString(strings.Repeat("  ", depth) + map[bool]string{true: "+ ", false: "- "}[c.Contributes] + c.ID)
		if c.Value != "" {
			b.WriteString(" " + c.Value)
		}
		if c.Hint != "" {
			b.WriteString("  (" + c.Hint + ")")
		}
		b.WriteByte('\n')
		for _, v := range c.Values {
			walk(v, depth+1)
		}
	}
	var all struct {
		Version, Strategy string
		Variants          []struct {
			Name, Hint, Hash string
			Component        json.RawMessage
		}
	}
	if err := json.Unmarshal(tree, &all); err != nil {
		t.Fatalf("%v: %s", err, tree)
	}
	b.WriteString(all.Version + " " + all.Strategy + "\n")
	for _, v := range all.Variants {
		b.WriteString(strings.TrimSpace(v.Name+" "+v.Hash+v.Hint) + "\n")
		walk(v.Component, 1)
	}
	return b.String()
}

// TestTreesAreAsWrittenDown compares title, hash and tree of the events of this
// package with the files beside them. A change of a hash moves users' events to
// other issues: it needs a new Version.
func TestTreesAreAsWrittenDown(t *testing.T) {
	g := grouper(t, Config{})
	files, _ := filepath.Glob("testdata/*.json")
	for _, file := range files {
		payload, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		r := g.Of(normalised(t, string(payload)))
		compare(t, strings.TrimSuffix(filepath.Base(file), ".json")+".tree", r.Hashes[0].String()+"\n"+r.Title+"\n"+render(t, r.Tree.AppendJSON(nil)))
	}
}

// TestIssuesOfRealSDKsAreAsWrittenDown writes the issues that captured events
// make, an SDK a file: hash, why, and which events. A change there needs a new
// Version, unless the events changed.
func TestIssuesOfRealSDKsAreAsWrittenDown(t *testing.T) {
	g := grouper(t, Config{})
	sdks, err := filepath.Glob(filepath.Join(captured, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, sdk := range sdks {
		files, _ := filepath.Glob(filepath.Join(sdk, "*.json"))
		if len(files) == 0 {
			continue
		}
		issues := map[string][]string{}
		var order []string
		for _, file := range files {
			payload, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			r := g.Of(normalised(t, string(payload)))
			key := r.Hashes[0].String() + "\n  " + strings.ReplaceAll(strings.Join(r.Tree.Lines(), "\n"), "\n", "\n  ")
			if issues[key] == nil {
				order = append(order, key)
			}
			issues[key] = append(issues[key], filepath.Base(file))
		}
		var b strings.Builder
		for _, key := range order {
			b.WriteString(key + "\n  <- " + strings.Join(issues[key], " ") + "\n\n")
		}
		compare(t, "issues-"+filepath.Base(sdk)+".txt", b.String())
	}
}

// mutations are what differs between events of one cause: each is put into the
// payload's text and must change no hash.
var (
	lineNumber = regexp.MustCompile(`"(lineno|colno)":\s*\d+`)
	volatile   = regexp.MustCompile(`"(server_name|release|dist|environment|instruction_addr|image_addr|timestamp|event_id|trace_id|span_id|pid|boot_time|start_timestamp)":\s*"[^"]*"`)
)

func TestAnotherLineBuildOrHostIsTheSameIssue(t *testing.T) {
	g := grouper(t, Config{})
	hash := func(payload string) schemas.Fingerprint { return g.Of(normalised(t, payload)).Hashes[0] }
	changed := 0
	for _, file := range goldenFiles(t) {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		payload := string(raw)
		want := hash(payload)
		f := func(name, mutated string) {
			t.Helper()
			if mutated == payload {
				return
			}
			changed++
			if hash(mutated) != want {
				t.Errorf("%s: %s makes another issue:\n%q\n%q", file, name, g.Of(normalised(t, payload)).Tree.Lines(), g.Of(normalised(t, mutated)).Tree.Lines())
			}
		}
		shift := 0
		f("other lines", lineNumber.ReplaceAllStringFunc(payload, func(s string) string {
			// Frames that are the same stay the same: each number moves by itself.
			shift++
			name, n, _ := strings.Cut(s, ":")
			return name + ":1" + strings.TrimSpace(n)
		}))
		f("another host, release and time", volatile.ReplaceAllStringFunc(payload, func(s string) string {
			name, _, _ := strings.Cut(s, ":")
			if strings.Contains(name, "timestamp") {
				return s
			}
			return name + `:"0123456789abcdef0123456789abcdef"`
		}))
		f("another build directory", strings.NewReplacer(`"/app/`, `"/builds/run-77/app/`, `"/srv/`, `"/opt/deploy/9f3c2ab/srv/`, `"/home/`, `"/mnt/home/`).Replace(payload))
	}
	if changed < 10 {
		t.Errorf("%d mutations took hold; the test looks at nothing", changed)
	}
}

func TestAnotherTypeOrFunctionIsAnotherIssue(t *testing.T) {
	g := grouper(t, Config{})
	looked := 0
	for _, file := range goldenFiles(t) {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		e := normalised(t, string(raw))
		n := len(e.Exceptions)
		if n == 0 || len(e.ClientFingerprint) > 0 {
			continue
		}
		want := g.Of(normalised(t, string(raw))).Hashes[0]
		if x := &e.Exceptions[n-1]; x.Type != "" && !x.Synthetic {
			looked++
			x.Type += "Other"
			if g.Of(e).Hashes[0] == want && g.Of(e).Tree.order[app] == nil {
				t.Errorf("%s: another type is the same issue", file)
			}
		}
		e = normalised(t, string(raw))
		frames := e.Exceptions[n-1].Frames
		r := g.Of(e) // says whose the frames are
		for i := len(frames) - 1; i >= 0; i-- {
			f := &r.Tree.frames[len(r.Tree.frames)-len(frames)+i]
			if f.out[r.Tree.variant] != 0 || f.functionHint() != 0 || r.Tree.order[app] != nil {
				continue
			}
			looked++
			frames[i].Function = "somethingElse"
			if g.Of(e).Hashes[0] == want {
				t.Errorf("%s: another function is the same issue", file)
			}
			break
		}
	}
	if looked < 5 {
		t.Errorf("%d mutations took hold; the test looks at nothing", looked)
	}
}
