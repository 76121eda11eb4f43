package rules

import (
	"strings"
	"testing"

	"github.com/hoptrace/hoptrace/pipeline/normalize"
	"github.com/hoptrace/hoptrace/schemas"
)

func TestGlobsMatchAsPathsAndAsNames(t *testing.T) {
	f := func(pattern, text string, path, want bool) {
		t.Helper()
		g := newGlob(pattern, path)
		if path {
			text = normalPath(text)
		}
		if got := g.match(text); got != want {
			t.Errorf("glob %q path=%v on %q = %v; want %v (kind %d)", pattern, path, text, got, want, g.kind)
		}
	}
	f("net/http", "net/http", false, true)
	f("net/http", "net/http2", false, false)
	f("net/*", "net/http/internal", false, true)
	f("*Accessor*", "sun.GeneratedMethodAccessor12", false, true)
	f("a*c*e", "abcde", false, true)
	f("a*c*e", "abcdef", false, false)
	f("?oo", "foo", false, true)
	f("Foo", "foo", false, false)
	f("**", "", false, true)
	f("**/node_modules/**", `C:\App\Node_Modules\x\y.js`, true, true)
	f("**/node_modules/**", "/node_modules_x/y.js", true, false)
	f("/app/*.go", "/app/a.go", true, true)
	f("/app/*.go", "/app/x/a.go", true, false)
	f("/app/**.go", "/app/x/a.go", true, true)
	f("/a/*/c/**/f", "/a/b/c/d/e/f", true, true)
	f("/a/*/c/**/f", "/a/b/b/c/d/f", true, false)
	f("**/lib/python?.*/**", "/usr/lib/python3.12/json/a.py", true, true)
	f("**/x/*", "/x/a/x/b", true, true)
	f("**/x/*", "/x/a/x/b/c", true, false)
	f("*", "a/b", true, false)
	f("a?b", "a/b", true, false)
}

func TestEveryBuiltInRuleIsReadAndUsable(t *testing.T) {
	x, err := ParseEnhancements("")
	if err != nil {
		t.Fatal(err)
	}
	if x.Len() < 250 {
		t.Fatalf("%d built-in rules; want those of all languages", x.Len())
	}
	for i := range x.rules {
		if p := x.preds[x.rules[i].own]; p.family == 0 {
			t.Errorf("rule %q can hold for no family", x.rules[i].source)
		}
	}
	f, err := ParseFingerprints("")
	if err != nil || f.Len() < 5 {
		t.Fatalf("%d built-in fingerprint rules, %v", f.Len(), err)
	}
}

// run applies rules to frames written as "function" or "module:function", the
// outermost first, all in app, and tells them as "fn", with -app and -group.
func run(t *testing.T, text, platform string, frames ...string) string {
	t.Helper()
	x, err := ParseEnhancements(text)
	if err != nil {
		t.Fatal(err)
	}
	states := make([]State, len(frames))
	for i, name := range frames {
		f := normalize.Frame{Function: name}
		if m, fn, ok := strings.Cut(name, ":"); ok && !strings.Contains(name, "::") {
			f.Module, f.Function = m, fn
		}
		states[i] = State{Set: x.SetOf(&f, FamilyOf(platform)), InApp: true}
	}
	x.Apply(Subject{Type: "E", Value: "bad thing", Mechanism: "generic"}, states)
	var out []string
	for i, s := range states {
		o := frames[i]
		if !s.InApp {
			o += " -app"
		}
		if s.Group != 0 {
			o += map[int8]string{1: " +group", -1: " -group"}[s.Group]
		}
		if s.Category != "" {
			o += " " + s.Category
		}
		out = append(out, o)
	}
	return strings.Join(out, ", ")
}

func TestRulesSayWhoseAFrameIsAndWhatCounts(t *testing.T) {
	f := func(text, want string, frames ...string) {
		t.Helper()
		if got := run(t, "include none\n"+text, "go", frames...); got != want {
			t.Errorf("%s\n got %s\nwant %s", text, got, want)
		}
	}
	f("function:b -app", "a, b -app, c", "a", "b", "c")
	f("function:b -group", "a, b -group, c", "a", "b", "c")
	f("function:b ^-group", "a, b, c -group", "a", "b", "c")
	f("function:b v-app", "a -app, b, c", "a", "b", "c")
	f("function:b ^-group -group v+group", "a +group, b -group, c -group", "a", "b", "c")
	f("!function:b -app", "a -app, b, c -app", "a", "b", "c")
	f("function:a -app\nfunction:* +app", "a, b", "a", "b")
	// Caller and callee.
	f("[ function:a ] | function:b -group", "a, b -group, b", "a", "b", "b")
	f("function:b | [ function:c ] -group", "b, b -group, c", "b", "b", "c")
	f("[ function:a ] | function:b | [ function:c ] -app", "a, b -app, c", "a", "b", "c")
	f("[ function:a ] | function:a -app", "a, a -app, a -app", "a", "a", "a")
	// What an earlier rule did, a later one sees; whose code it is comes first.
	f("app:no -group\nfunction:b -app", "a, b -app -group", "a", "b")
	f("function:a category=db\ncategory:db -app", "a -app db, b", "a", "b")
	// The exception.
	f("error.type:E error.value:bad* -app", "a -app", "a")
	f("error.type:F -app", "a", "a")
	f("!error.mechanism:generic -app", "a", "a")
	f("family:java -app", "a", "a")
	f("family:go,java -app", "a -app", "a")
	f(`function:"with space" -app`, "with space -app", "with space")
	f("  # a comment\n\n\tfunction:a -app  \r\n", "a -app", "a")
	f("module:m function:f -app", "m:f -app, m:g, n:f", "m:f", "m:g", "n:f")
}

func TestBuiltInRulesKnowTheLanguages(t *testing.T) {
	f := func(platform, want string, frames ...string) {
		t.Helper()
		if got := run(t, "", platform, frames...); got != want {
			t.Errorf("%s\n got %s\nwant %s", platform, got, want)
		}
	}
	f("go", "net/http:HandlerFunc.ServeHTTP -app std, shop:charge, runtime:gopanic -app -group runtime, runtime:x -app -group runtime",
		"net/http:HandlerFunc.ServeHTTP", "shop:charge", "runtime:gopanic", "runtime:x")
	f("go", "github.com/gin-gonic/gin:Next -app framework, shop/log:Fatal", "github.com/gin-gonic/gin:Next", "shop/log:Fatal")
	f("java", "org.apache.kafka.clients.consumer.KafkaConsumer:poll -app kafka, shop.Orders:run",
		"org.apache.kafka.clients.consumer.KafkaConsumer:poll", "shop.Orders:run")
	f("python", "celery.app.task:run -app framework, shop:run", "celery.app.task:run", "shop:run")
	f("php", `Illuminate\Pipeline\Pipeline::then -app -group framework, App\Orders::charge`, `Illuminate\Pipeline\Pipeline::then`, `App\Orders::charge`)
	f("rust", "shop::charge, core::result::unwrap_failed -app -group std, core::panicking::panic_fmt -app -group std", "shop::charge", "core::result::unwrap_failed", "core::panicking::panic_fmt")
	// A project has the last word.
	if got := run(t, "stack.module:net/http +app", "go", "net/http:x"); got != "net/http:x std" {
		t.Errorf("own rule: %s", got)
	}
}

func TestStackActions(t *testing.T) {
	x, err := ParseEnhancements("include none\nfunction:a max-frames=3 min-frames=2 invert-stacktrace=1")
	if err != nil {
		t.Fatal(err)
	}
	states := []State{{Set: x.SetOf(&normalize.Frame{Function: "a"}, Go)}}
	if got := x.Apply(Subject{}, states); got != (Stack{Max: 3, Min: 2, Invert: true}) {
		t.Errorf("got %+v", got)
	}
}

func TestFaultsNameLineColumnAndWhatIsWanted(t *testing.T) {
	f := func(parse func(string) error, text string, want ...string) {
		t.Helper()
		err := parse(text)
		if err == nil {
			t.Errorf("%q was accepted", clip(text))
			return
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%q: error %q; want %q in it", clip(text), err, w)
			}
		}
	}
	enh := func(s string) error { _, err := ParseEnhancements(s); return err }
	f(enh, "function:a -app\n\n stack.modul:b -app", "line 3, column 2", `"stack.modul"`, "stack.module")
	f(enh, "function:a", "column 11", "want an action", "+app")
	f(enh, "-app", "line 1, column 1", "want a matcher")
	f(enh, "function:a -apps", "column 12", `"-apps"`)
	f(enh, "function:a +app|", "want a space")
	f(enh, `function:"a -app`, "column 10", "not closed")
	f(enh, "function: -app", "column 10", "value is missing")
	f(enh, "family:cobol -app", "column 8", `"cobol"`, "want javascript")
	f(enh, "app:maybe -app", "yes or no")
	f(enh, "[ function:a | function:b -app", "want")
	f(enh, "[ ] | function:b -app", "brackets are empty")
	f(enh, "[ function:a ] function:b -app", "want |")
	f(enh, "function:b | function:a -app", "want [")
	f(enh, "function:b max-frames=many", "column 23", "number from 0 to 1000")
	f(enh, "function:b ^category=x", "no action")
	f(enh, "include other@9", "column 9", `"other@9"`, Base)
	f(enh, "größe:x -app", "column 1")
	f(enh, strings.Repeat("x", MaxText+1), "bytes; at most")
	f(enh, strings.Repeat("function:a -app\n", MaxRules+1), "line 1001", "more than 1000 rules")
	f(enh, strings.Repeat("function:a ", maxMatchers+1)+"-app", "at most 16")
	f(enh, "function:"+strings.Repeat("a", maxPattern+1)+" -app", "at most 512")
	f(enh, "function:a -app\nx\ny\n", "line 2", "line 3")
	f(enh, "\xff", "UTF-8")
	fp := func(s string) error { _, err := ParseFingerprints(s); return err }
	f(fp, "error.type:A", "want ->")
	f(fp, "-> x", "want a matcher")
	f(fp, "error.type:A ->", "want a fingerprint", "{{ default }}")
	f(fp, "errortype:A -> x", "column 1", "error.type")
	f(fp, "error.type:A -> {{ type", "column 17", "}}")
	f(fp, `error.type:A -> "{{ type"`, "}}")
	f(fp, "tags.:A -> x", `"tags."`)
	f(fp, strings.Repeat("type:a -> x\n", MaxRules+1), "more than 1000 rules")
}

func TestFingerprintRulesMatchEventsAndFillInVariables(t *testing.T) {
	e := &normalize.Event{
		Event: schemas.Event{Platform: "python", Level: "error", Release: "shop@2.0", Transaction: "/pay", Tags: []schemas.Attribute{{Key: "tenant", Value: "t1"}}},
		Exceptions: []normalize.Exception{
			{Type: "KeyError", Value: "'a'"},
			{Type: "PayError", Value: "declined", Mechanism: normalize.Mechanism{Type: "django"}, Frames: []normalize.Frame{
				{Module: "shop.pay", Function: "charge", AbsPath: "/srv/shop/pay.py", InApp: true},
				{Module: "requests.api", Function: "post", AbsPath: "/usr/lib/python3.12/site-packages/requests/api.py"},
			}},
		},
		Thread: normalize.Thread{Told: true, Name: "worker-3", Crashed: true},
	}
	e.Logger, e.SDKName = "shop.pay", "sentry.python"
	f := func(rule, want string) {
		t.Helper()
		x, err := ParseFingerprints(rule)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		if r := x.Match(e); r != nil {
			for _, v := range r.Values {
				if v.IsDefault() {
					got = append(got, "DEFAULT")
				} else {
					got = append(got, v.Expand(e))
				}
			}
			if len(r.Title) > 0 {
				got = append(got, "title="+r.Title.Expand(e))
			}
		}
		if s := strings.Join(got, "|"); s != want {
			t.Errorf("%s\n got %s\nwant %s", rule, s, want)
		}
	}
	f("error.type:PayError -> pay", "pay")
	f("error.type:OtherError -> pay", "")
	f("!error.type:PayError error.type:* -> other", "other") // KeyError is one
	f("error.type:PayError error.value:\"'a'\" -> x", "")    // not the same exception
	f("error.type:KeyError error.value:\"'a'\" -> x", "x")
	f("stack.module:shop.* stack.function:charge app:yes -> a {{ default }}", "a|DEFAULT")
	f("stack.function:post app:yes -> a", "")
	f("path:**/site-packages/** -> lib", "lib")
	f("message:decl* logger:shop* level:error sdk:sentry.* release:shop@* family:python -> m", "m")
	f("message:decl* level:fatal -> m", "")
	f("tags.tenant:t* -> {{ tags.tenant }}, x-{{ transaction }}", "t1|x-/pay")
	f("!tags.nope:* -> absent", "absent")
	f("thread.name:worker* thread.crashed:yes !thread.current:yes error.mechanism:django -> t", "t")
	f(`type:PayError -> "a b" title="Pay: {{ error.value }}"`, "a b|title=Pay: declined")
	f("type:* -> {{ type }} {{value}} {{ function }} {{ module }} {{ path }} {{ level }} {{ logger }} {{ message }}", "PayError|declined|charge|shop.pay|/srv/shop/pay.py|error|shop.pay|declined")
	f("type:* -> {{ package }} {{ tags.x }} {{ nope }} {{ environment }}", "<no-package>|<no-value-for-tag-x>|<unrecognized-variable-nope>|<no-environment>")
	f("type:A -> 1\ntype:PayError -> 2\ntype:PayError -> 3", "2")
}

func TestChunkLoadErrorsAreOneIssueByABuiltInRule(t *testing.T) {
	x, err := ParseFingerprints("")
	if err != nil {
		t.Fatal(err)
	}
	e := &normalize.Event{Event: schemas.Event{Platform: "javascript"}, Exceptions: []normalize.Exception{{Type: "Error", Value: "Loading chunk 17 failed.\n(x)"}}}
	if r := x.Match(e); r == nil || !r.Builtin {
		t.Errorf("got %v; want the built-in rule", r)
	}
	e.Platform = "python"
	if r := x.Match(e); r != nil {
		t.Errorf("python matches %v", r)
	}
}

func FuzzRules(f *testing.F) {
	for _, s := range []string{"function:a -app", "[ a:b ] | c:d | [ e:f ] +group", `!path:"**/x" v-group category=x`, "include none", "type:a -> {{ b }} title=\"c\"", "x\n\"", "include hoptrace@1\nfamily:go,java max-frames=1"} {
		f.Add(s, "fn", "/a/b")
	}
	f.Fuzz(func(t *testing.T, text, function, path string) {
		frame := normalize.Frame{Function: function, AbsPath: path, Filename: path, Package: path, Module: function}
		if x, err := ParseEnhancements("include none\n" + text); err == nil {
			states := []State{{Set: x.SetOf(&frame, Go), InApp: true}, {Set: x.SetOf(&frame, Go)}}
			x.Apply(Subject{Type: function, Value: path}, states)
		}
		if x, err := ParseFingerprints(text); err == nil {
			e := &normalize.Event{Frames: []normalize.Frame{frame}}
			if r := x.Match(e); r != nil {
				for _, v := range r.Values {
					if n := len(v.Expand(e)); n > maxExpanded {
						t.Fatalf("a value of %d bytes", n)
					}
				}
			}
		}
	})
}
