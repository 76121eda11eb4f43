package group

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hoptrace/hoptrace/pipeline/normalize"
)

var update = flag.Bool("update", false, "write the golden files anew")

var received = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC).UnixNano()

func normalised(t testing.TB, payload string) *normalize.Event {
	t.Helper()
	e, err := normalize.NewNormalizer(normalize.DefaultConfig()).Event(normalize.Input{Payload: []byte(payload), Received: received})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// TestEventsOfTheSDKsGroupAsWrittenDown reads testdata/*.json, shaped as SDKs
// send events, and compares title, culprit and the reasons with *.golden. A
// change there changes users' issues: it needs a new Version.
func TestEventsOfTheSDKsGroupAsWrittenDown(t *testing.T) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) < 5 {
		t.Fatalf("found %d examples, %v; want at least 5", len(files), err)
	}
	for _, file := range files {
		payload, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		e := normalised(t, string(payload))
		id, lines := Of(e)
		got, err := json.MarshalIndent(struct {
			Fingerprint, Title, Culprit, Level, Type, Value string
			Record                                          []any
			Grouping                                        []string
		}{id.String(), e.Title, e.Culprit, e.Level, e.Type, e.Value, []any{e.Topic, e.Partition, e.Offset, e.Group}, lines}, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		golden := strings.TrimSuffix(file, ".json") + ".golden"
		if *update {
			if err := os.WriteFile(golden, append(got, '\n'), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatalf("%v; go test -update writes it", err)
		}
		if d := cmp.Diff(strings.TrimSpace(string(want)), string(got)); d != "" {
			t.Errorf("%s (-want +got):\n%s", file, d)
		}
	}
}

const goEvent = `{"platform":"go","exception":[
 {"type":"*errors.errorString","value":"card 4711 declined"},
 {"type":"*fmt.wrapError","value":"cannot charge order 17: card 4711 declined","stacktrace":{"frames":[
  {"function":"main","module":"main","lineno":10,"in_app":true},
  {"function":"(*Service).Charge","module":"example.com/shop/payments","lineno":44,"in_app":true}]}}]}`

func TestWhatDiffersBetweenEventsOfOneCauseDoesNotSplitThem(t *testing.T) {
	base, _ := Of(normalised(t, goEvent))
	f := func(name string, same bool, replace ...string) {
		t.Helper()
		changed := strings.NewReplacer(replace...).Replace(goEvent)
		if changed == goEvent {
			t.Fatalf("%s: nothing was replaced", name)
		}
		if got, lines := Of(normalised(t, changed)); (got == base) != same {
			t.Errorf("%s: same issue is %v, want %v: %q", name, got == base, same, lines)
		}
	}
	f("line numbers", true, `"lineno":44`, `"lineno":45`)
	f("numbers in the cause", true, "card 4711", "card 8")
	f("the text of an exception that has frames", true, "cannot charge order", "sorry, order")
	f("a frame of a library", true, `{"function":"main",`, `{"function":"ServeHTTP","module":"net/http"},{"function":"main",`)
	f("recursion", true, `{"function":"main","module":"main","lineno":10,"in_app":true},`,
		`{"function":"main","module":"main","lineno":10,"in_app":true},{"function":"main","module":"main","lineno":11,"in_app":true},`)
	f("release and tags", true, `"platform":"go"`, `"platform":"go","release":"2","tags":{"a":"b"}`)
	f("the type", false, "*fmt.wrapError", "*net.OpError")
	f("the function", false, "(*Service).Charge", "(*Service).Refund")
	f("the module", false, "shop/payments", "shop/refunds")
	f("the cause's text", false, "declined", "expired")
}

func TestWithoutFramesOfTheProgramAllFramesCount(t *testing.T) {
	lib := `{"platform":"go","exception":[{"type":"E","value":"v","stacktrace":{"frames":[{"function":"serve","module":"net/http"},{"function":"read","module":"net"}]}}]}`
	_, lines := Of(normalised(t, lib))
	if d := cmp.Diff([]string{"type E", "frame net/http.serve", "frame net.read"}, lines); d != "" {
		t.Fatalf("grouping differs (-want +got):\n%s", d)
	}
}

func TestWithoutFramesTheShapeOfTheValueCounts(t *testing.T) {
	_, lines := Of(normalised(t, `{"exception":{"values":[{"type":"Timeout","value":"no answer from 10.0.0.7:9092 after 30s"}]}}`))
	if d := cmp.Diff([]string{"type Timeout", "value no answer from <ip> after <duration>"}, lines); d != "" {
		t.Fatalf("grouping differs (-want +got):\n%s", d)
	}
}

func TestMessagesGroupByTheirTemplateElseTheirShape(t *testing.T) {
	f := func(payload string, want ...string) {
		t.Helper()
		if _, lines := Of(normalised(t, payload)); !cmp.Equal(want, lines) {
			t.Errorf("%s: got %q, want %q", payload, lines, want)
		}
	}
	f(`{"message":"order 5 is late"}`, "message order <num> is late")
	f(`{"logentry":{"message":"order %s is late","formatted":"order 5 is late"}}`, "message order %s is late")
	f(`{"level":"warning"}`, "level warning")
	f(`{"level":"warning","transaction":"GET /"}`, "level warning", "culprit GET /")
	// Two messages from one helper function are two issues.
	helper := `"threads":[{"current":true,"stacktrace":{"frames":[{"function":"report","module":"shop"}]}}]}`
	f(`{"platform":"go","message":"a",`+helper, "frame shop.report", "message a")
	// @sentry/node sends a message as an exception without a type.
	f(`{"platform":"node","exception":{"values":[{"value":"a 1","stacktrace":{"frames":[{"function":"report","filename":"/app/x.js"}]}}]}}`,
		"frame x.js.report", "value a <num>")
}

func TestAClientsFingerprintReplacesOrExtendsOurs(t *testing.T) {
	event := func(fp string) *normalize.Event {
		return normalised(t, strings.Replace(goEvent, `"platform":"go"`, `"platform":"go","fingerprint":`+fp, 1))
	}
	def, defLines := Of(normalised(t, goEvent))
	if got, _ := Of(event(`["{{ default }}"]`)); got != def {
		t.Error("the default alone changed the fingerprint")
	}
	if got, _ := Of(event(`["{{default}}"]`)); got != def {
		t.Error("the default without spaces changed the fingerprint")
	}
	_, lines := Of(event(`["db", 7]`))
	if d := cmp.Diff([]string{"fingerprint db", "fingerprint 7"}, lines); d != "" {
		t.Errorf("own fingerprint (-want +got):\n%s", d)
	}
	_, lines = Of(event(`["{{ default }}","tenant-1"]`))
	if d := cmp.Diff(append(defLines[:len(defLines):len(defLines)], "fingerprint tenant-1"), lines); d != "" {
		t.Errorf("extended fingerprint (-want +got):\n%s", d)
	}
	a, _ := Of(event(`["ab","c"]`))
	b, _ := Of(event(`["a","bc"]`))
	if a == b {
		t.Error("parts run into each other")
	}
}

func TestFilesGroupByNameWithoutBuildHashesAndOrigins(t *testing.T) {
	f := func(filename, fn, want string) {
		t.Helper()
		if got := frame1(&normalize.Frame{Filename: filename, Function: fn}); got != want {
			t.Errorf("frame1(%q, %q) = %q; want %q", filename, fn, got, want)
		}
	}
	f("/app/dist/Main.3f2a9c1b.js?v=2", "run", "main.js.run")
	f("https://shop.example", "run", "run")
	f("https://shop.example/static/app.js", "", "app.js")
	f(`C:\app\worker.py`, "handle", "worker.py.handle")
	f("<anonymous>", "?", "")
	f("", "Map[int,string]", "Map")
	f("decade.min.js", "x", "decade.min.js.x")
}

func TestParameteriseTakesOutValuesAndLeavesWords(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		if got := parameterise1(in); got != want {
			t.Errorf("parameterise1(%q)\n got %q\nwant %q", in, got, want)
		}
	}
	f("", "")
	f("connection refused", "connection refused")
	f("order 17 failed", "order <num> failed")
	f("order-17 failed", "order-<num> failed")
	f("orders_7", "orders_<num>")
	f("partition=7, offset=123456789", "partition=<num>, offset=<num>")
	f("balance -3.5e10 is low", "balance <num> is low")
	f("can't open it; won't try", "can't open it; won't try")
	f(`user "ann" not found`, "user <str> not found")
	f(`key='a b' bad`, "key=<str> bad")
	f("utf8 sha256 ipv4 h2", "utf8 sha256 ipv4 h2")
	f("id 6f9619ff-8b86-d011-b42d-00c04fc964ff gone", "id <uuid> gone")
	f("commit 3f2a9c1 and 92718d9e0a1b", "commit <hex> and <hex>")
	f("decade facade defaced", "decade facade defaced")
	f("at 0xc000123abc", "at <hex>")
	f("mail to ann.b+c@example.com.", "mail to <email>.")
	f("GET https://a.example/x?y=1: 500", "GET <url>: <num>")
	f("dial tcp 10.1.2.3:9092: refused", "dial tcp <ip>: refused")
	f("dial tcp [::1]:9092: refused", "dial tcp <ip>: refused")
	f("version 1.2.3.4.5", "version <num>.<num>.<num>")
	f("after 1m30.5s or 10ms", "after <duration> or <duration>")
	f("10MB of 12 MB", "<num>MB of <num> MB")
	f("on 2026-11-23T10:11:12.5Z or 2026-11-23 10:11:12+02:00 or 2026-11-23", "on <date> or <date> or <date>")
	f("at 10:11:12.345 sharp", "at <time> sharp")
	f("session a8f3k2j9x0q1 ended", "session <id> ended")
	f("größe 5µs und 5 ä5", "größe <duration> und <num> ä5")
	f("first 1\n\n second 2\nthird 3\n", "first <num>\nsecond <num>\n...")
	f("broken \xff\xfe utf", "broken  utf")
	f(strings.Repeat("x", 100_000), strings.Repeat("x", maxMessage))
}

func FuzzParameteriseOfVersion1(f *testing.F) {
	for _, s := range []string{"order 17", `a "b" 'c`, "0x1 1e9 [::1]:80", "x@y.z http://a", "2026-11-23T10:11:12+0", "\xff5"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := parameterise1(s)
		if len(got) > 6*maxMessage {
			t.Fatalf("%d bytes became %d", len(s), len(got))
		}
		if parameterise1(s) != got {
			t.Fatal("not the same twice")
		}
	})
}
