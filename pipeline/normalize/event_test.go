package normalize

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hoptrace/hoptrace/internal/testevents"
	"github.com/hoptrace/hoptrace/pipeline/symbolicate"
	"github.com/hoptrace/hoptrace/schemas"
)

// part gives a field of a document, as JSON; "" when it is not there.
func part(t *testing.T, doc string, keys ...string) string {
	t.Helper()
	raw := json.RawMessage(doc)
	for _, k := range keys {
		var list []json.RawMessage
		var i int
		if _, err := fmt.Sscanf(k, "#%d", &i); err == nil && json.Unmarshal(raw, &list) == nil {
			if i >= len(list) {
				return ""
			}
			raw = list[i]
			continue
		}
		var o map[string]json.RawMessage
		if err := json.Unmarshal(raw, &o); err != nil {
			return ""
		}
		raw = o[k]
	}
	return string(raw)
}

// has checks a field of what is kept.
func has(t *testing.T, doc, want string, keys ...string) {
	t.Helper()
	if got := part(t, doc, keys...); got != want {
		t.Errorf("%s is %s, want %s; all of it: %.2000s", strings.Join(keys, "."), got, want, doc)
	}
}

func keep(t *testing.T, payload string) (*Event, string) {
	t.Helper()
	return kept(t, Input{Payload: []byte(payload)})
}

func TestTimesComeAsNumbersOrText(t *testing.T) {
	f := func(text string, want int64) {
		t.Helper()
		if got := parseTime(text); got != want {
			t.Errorf("%s: got %d; want %d", text, got, want)
		}
	}
	at := time.Date(2026, 11, 23, 11, 59, 58, 123456789, time.UTC).UnixNano()
	f(`1795435198`, 1795435198e9)
	f(`1795435198.123456789`, at)
	f(`1795435198.1`, 1795435198_100000000)
	f(`1.795435198e9`, 1795435198e9)
	f(`2026-11-23T11:59:58.123456789Z`, at)
	f(`2026-11-23T13:59:58.123456789+02:00`, at)
	f(`2026-11-23T11:59:58`, at/1e9*1e9)
	f(`2026-11-23 11:59:58.5`, at/1e9*1e9+5e8)
	for _, bad := range []string{``, `yesterday`, `-5`, `1e300`, `99999999999999999999`, `true`, `0001-01-01T00:00:00Z`, `9999-01-01T00:00:00Z`, `1.2.3`} {
		f(bad, 0)
	}
	for ns, want := range map[int64]string{at: "1795435198.123456789", 1795435198e9: "1795435198", 5e8: "0.5"} {
		if got := seconds(ns); got != want || parseTime(got) != ns {
			t.Errorf("%d ns are written as %s, want %s", ns, got, want)
		}
	}
}

func TestASendersClockIsPutRightByTheTimeItSent(t *testing.T) {
	payload := `{"timestamp":` + seconds(now.Add(-2*time.Hour).UnixNano()) + `,"breadcrumbs":[{"timestamp":` + seconds(now.Add(-2*time.Hour-time.Second).UnixNano()) + `}]}`
	e, doc := kept(t, Input{Payload: []byte(payload), SentAt: now.Add(-2*time.Hour + time.Second).UnixNano()})
	if want := now.Add(-time.Second).UnixNano(); e.Time != want {
		t.Errorf("time is %v, want %v", time.Unix(0, e.Time).UTC(), now.Add(-time.Second))
	}
	has(t, doc, seconds(now.Add(-2*time.Second).UnixNano()), "breadcrumbs", "values", "#0", "timestamp")
	has(t, doc, `["clock_drift"]`, "_meta", "timestamp", "", "err")

	// What the way of a request takes is no drift.
	e, doc = kept(t, Input{Payload: []byte(payload), SentAt: now.Add(-50 * time.Second).UnixNano()})
	if e.Time != now.Add(-2*time.Hour).UnixNano() || strings.Contains(doc, "_meta") {
		t.Errorf("time is %v; %s", time.Unix(0, e.Time).UTC(), doc)
	}
	e, doc = keep(t, `{"timestamp":"soon"}`)
	if e.Time != now.UnixNano() {
		t.Errorf("time is %v, want that of reception", e.Time)
	}
	has(t, doc, `["invalid_data"]`, "_meta", "timestamp", "", "err")
}

func TestAMessageComesInManyForms(t *testing.T) {
	f := func(payload, message, template string) {
		t.Helper()
		e, doc := keep(t, payload)
		if e.Message != message || e.Template != template {
			t.Errorf("%s: message %q of template %q, want %q of %q", payload, e.Message, e.Template, message, template)
		}
		has(t, doc, "", "message")
		if message != "" {
			var got string
			if err := json.Unmarshal([]byte(part(t, doc, "logentry", "formatted")), &got); err != nil || got != message {
				t.Errorf("%s: formatted is %q, %v", payload, got, err)
			}
		}
	}
	f(`{"message":"plain"}`, "plain", "")
	f(`{"logentry":"plain"}`, "plain", "")
	f(`{"message":{"formatted":"a 1","message":"a %d","params":[1]}}`, "a 1", "a %d")
	f(`{"sentry.interfaces.Message":{"message":"lost %d of %s","params":[5,"orders"]}}`, "lost 5 of orders", "lost %d of %s")
	f(`{"logentry":{"message":"%(n)s of %(who)r, 100%%","params":{"n":3,"who":"ann"}}}`, "3 of ann, 100%", "%(n)s of %(who)r, 100%%")
	f(`{"logentry":{"message":"{} and {}","params":["a","b"]}}`, "a and b", "{} and {}")
	f(`{"logentry":{"message":"{1}, {0}, {2}","params":["a","b"]}}`, "b, a, {2}", "{1}, {0}, {2}")
	f(`{"logentry":{"message":"{name} {other","params":{"name":"x"}}}`, "x {other", "{name} {other")
	f(`{"logentry":{"message":"%5.2f %s","params":[1.5]}}`, "1.5 %s", "%5.2f %s")
	f(`{"logentry":{"message":"no params %s"}}`, "no params %s", "no params %s")
	f(`{"logentry":{"message":"m","params":[{"a":[1]}]}}`, "m", "m")
	f(`{"logentry":{},"message":"other"}`, "other", "")
	f(`{"logentry":{"formatted":"first"},"message":"second"}`, "first", "")
	f(`{"message":7}`, "7", "")
	f(`{"message":[1]}`, "", "")
}

func TestStacksComeInManyPlaces(t *testing.T) {
	f := func(payload, want string) {
		t.Helper()
		e, _ := keep(t, payload)
		var got []string
		for _, x := range e.Exceptions {
			s := x.Type
			for _, fr := range x.Frames {
				s += " " + fr.Function
			}
			got = append(got, s)
		}
		if len(e.Frames) > 0 {
			got = append(got, "frames "+e.Frames[0].Function)
		}
		if g := strings.Join(got, ", "); g != want {
			t.Errorf("%s: %q, want %q", payload, g, want)
		}
	}
	const frames = `{"frames":[{"function":"f"}]}`
	f(`{"exception":{"values":[{"type":"A"},{"type":"B","stacktrace":`+frames+`}]}}`, "A, B f")
	f(`{"exception":[{"type":"A"},null,7]}`, "A")
	f(`{"exception":{"type":"A","stacktrace":`+frames+`}}`, "A f")
	f(`{"sentry.interfaces.Exception":{"type":"A"}}`, "A")
	f(`{"exception":{"values":[{"type":"A"}]},"stacktrace":`+frames+`}`, "A f")
	f(`{"exception":{"values":[{"type":"A"},{"type":"B"}]},"stacktrace":`+frames+`}`, "A, B")
	f(`{"message":"m","stacktrace":`+frames+`}`, "frames f")
	f(`{"message":"m","sentry.interfaces.Stacktrace":[{"function":"f"}]}`, "frames f")
	f(`{"message":"m","threads":{"values":[{"current":true,"stacktrace":`+frames+`},{}]}}`, "frames f")
	f(`{"exception":{"values":null}}`, "")
	f(`{"exception":"odd","threads":7,"stacktrace":null}`, "")
}

func TestTagsComeInThreeForms(t *testing.T) {
	want := []schemas.Attribute{{Key: "a", Value: "1"}, {Key: "b", Value: "true"}}
	for _, form := range []string{`{"a":1,"b":true}`, `[["a","1"],["b",true]]`, `[{"key":"a","value":"1"},{"key":"b","value":true}]`, `[["a",1],["wrong"],7,["b","true"],["",""],["a",2],["c",null],["d",[]]]`} {
		e, doc := keep(t, `{"tags":`+form+`}`)
		if d := cmp.Diff(want, e.Tags); d != "" {
			t.Errorf("%s (-want +got):\n%s", form, d)
		}
		has(t, doc, `[["a","1"],["b","true"]]`, "tags")
	}
	e, doc := keep(t, `{"tags":{"secret":"[Filtered]"},"_meta":{"tags":{"secret":{"":{"len":7}}}}}`)
	if len(e.Tags) != 1 {
		t.Error("a scrubbed tag is gone")
	}
	has(t, doc, `{"":{"len":7}}`, "_meta", "tags", "0", "1")
	var many []string
	for i := range 1000 {
		many = append(many, fmt.Sprintf(`["k%d","v"]`, i))
	}
	e, doc = keep(t, `{"tags":[`+strings.Join(many, ",")+`]}`)
	if len(e.Tags) != MaxTags {
		t.Errorf("%d tags, want %d", len(e.Tags), MaxTags)
	}
	has(t, doc, "1000", "_meta", "tags", "", "len")
}

func TestUsersHaveAnAddressAndAHash(t *testing.T) {
	f := func(payload, remote, ip string, hashed bool) *Event {
		t.Helper()
		e, doc := kept(t, Input{Payload: []byte(payload), RemoteAddr: remote})
		if e.UserIP != ip || (e.UserHash != 0) != hashed {
			t.Errorf("%s from %s: address %q, want %q; hash %x", payload, remote, e.UserIP, ip, e.UserHash)
		}
		if ip != "" {
			has(t, doc, `"`+ip+`"`, "user", "ip_address")
		} else {
			if got := part(t, doc, "user", "ip_address"); got != "" && got != "null" {
				t.Errorf("%s: the address %s was kept", payload, got)
			}
		}
		return e
	}
	a := f(`{"user":{"id":7,"email":"a@b.c","username":"ann"}}`, "1.2.3.4", "", true)
	if a.UserID != "7" || a.UserEmail != "a@b.c" || a.UserName != "ann" {
		t.Errorf("got %+v", a.Event)
	}
	if b := f(`{"user":{"id":"7"}}`, "", "", true); a.UserHash != b.UserHash {
		t.Error("one user has two hashes")
	}
	if c := f(`{"user":{"username":"7"}}`, "", "", true); a.UserHash == c.UserHash {
		t.Error("an id and a name are one user")
	}
	f(`{"user":{"ip_address":"{{auto}}"}}`, "1.2.3.4:5678", "1.2.3.4", true)
	f(`{"user":{"ip_address":"{{auto}}"}}`, "", "", false)
	f(`{"user":{"ip_address":"nowhere"}}`, "1.2.3.4", "", false)
	f(`{"user":{},"request":{"env":{"REMOTE_ADDR":"::ffff:10.0.0.9"}}}`, "1.2.3.4", "10.0.0.9", true)
	f(`{"request":{"env":{"REMOTE_ADDR":"10.0.0.9"}}}`, "1.2.3.4", "10.0.0.9", true)
	f(`{"sdk":{"name":"x","settings":{"infer_ip":"auto"}}}`, "1.2.3.4", "1.2.3.4", true)
	f(`{"user":"ann"}`, "", "", true)
	f(`{}`, "1.2.3.4", "", false)
}

func TestTheHashOfAKeyIsWrittenInHexadecimalDigits(t *testing.T) {
	f := func(told, want string) {
		t.Helper()
		if e, _ := keep(t, `{"contexts":{"kafka":{"topic":"orders","key_hash":`+told+`}}}`); e.KeyHash != want {
			t.Errorf("%s became %q, want %q", told, e.KeyHash, want)
		}
	}
	f(`"18446744073709551615"`, "ffffffffffffffff") // as the integrations tell it
	f(`"255"`, "00000000000000ff")
	f(`255`, "00000000000000ff")
	f(`"18446744073709551616"`, "18446744073709551616")
	f(`"9f2c"`, "9f2c")
	f(`""`, "")
}

func TestTheRecordOfAnErrorIsReadInFull(t *testing.T) {
	e, _ := keep(t, `{"contexts":{"kafka":{"topic":"orders","partition":3,"offset":918273,"group":"billing","member":"billing-1","key_hash":"9f2c","attempt":4,"batch_count":10,
		"record_time":"2026-11-23T11:59:00Z","age_ms":58250.5,"original_topic":"orders-0","original_partition":1,"original_offset":7,"producer_release":"shop@3"}}}`)
	want := schemas.Event{
		Topic: "orders", Partition: 3, Offset: 918273, Group: "billing", Member: "billing-1", KeyHash: "9f2c", Attempt: 4, Batch: 10,
		RecordTime: now.Add(-time.Minute).UnixNano(), Age: 58_250_500_000, OriginalTopic: "orders-0", OriginalPartition: 1, OriginalOffset: 7, ProducerRelease: "shop@3",
	}
	got := e.Event
	want.Time, want.Received, want.Level, want.Platform, want.Origin, want.Weight = got.Time, got.Received, got.Level, got.Platform, got.Origin, got.Weight
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestNamesThatBreakTheirRulesAreDroppedAndThatIsSaid(t *testing.T) {
	e, doc := keep(t, `{"release":"a\nb","environment":"no spaces","dist":"ö","server_name":{"a":1}}`)
	if e.Release != "" || e.Environment != "" || e.Dist != "" || e.Server != "" {
		t.Errorf("got %+v", e.Event)
	}
	for _, field := range []string{"release", "environment", "dist", "server_name"} {
		has(t, doc, `["invalid_data"]`, "_meta", field, "", "err")
		has(t, doc, `null`, field)
	}
	e, _ = keep(t, `{"release":" shop@1.2.3+4 ","environment":"prod","dist":17}`)
	if e.Release != "shop@1.2.3+4" || e.Environment != "prod" || e.Dist != "17" {
		t.Errorf("got %+v", e.Event)
	}
	_, doc = keep(t, `{"release":"`+strings.Repeat("x", 300)+`"}`)
	has(t, doc, `["value_too_long"]`, "_meta", "release", "", "err")
}

func TestWhatIsTooLongIsCutWithANote(t *testing.T) {
	long := strings.Repeat("ä", 10_000)
	_, doc := keep(t, `{"exception":[{"type":"T","value":"`+long+`"}]}`)
	has(t, doc, `{"len":20000,"rem":[["!limit","s",8188,8191]]}`, "_meta", "exception", "values", "0", "value", "")
	frames := strings.TrimSuffix(strings.Repeat(`{"function":"m"},`, 100_000), ",")
	e, doc := keep(t, `{"exception":[{"type":"T","stacktrace":{"frames":[{"function":"first"},`+frames+`,{"function":"last"}]}}]}`)
	f := e.Exceptions[0].Frames
	if len(f) != MaxFrames || f[0].Function != "first" || f[len(f)-1].Function != "last" {
		t.Errorf("%d frames from %q to %q, want %d from first to last", len(f), f[0].Function, f[len(f)-1].Function, MaxFrames)
	}
	has(t, doc, `{"len":100002,"rem":[["!limit","x"]]}`, "_meta", "exception", "values", "0", "stacktrace", "frames", "")
	crumbs := strings.Repeat(`{"message":"old"},`, 150)
	_, doc = keep(t, `{"breadcrumbs":[`+crumbs+`{"message":"new"}],"_meta":{"breadcrumbs":{"150":{"message":{"":{"len":9}}},"3":{"message":{"":{"len":1}}}}}}`)
	has(t, doc, `"new"`, "breadcrumbs", "values", "#99", "message")
	has(t, doc, `9`, "_meta", "breadcrumbs", "values", "99", "message", "", "len")
	has(t, doc, "", "_meta", "breadcrumbs", "values", "3")
	has(t, doc, "151", "_meta", "breadcrumbs", "values", "", "len")
	deep := strings.Repeat(`{"a":`, 30) + "1" + strings.Repeat("}", 30)
	_, doc = keep(t, `{"extra":{"deep":`+deep+`,"long":"`+strings.Repeat("x", 9000)+`"}}`)
	has(t, doc, "9000", "_meta", "extra", "long", "", "len")
	if strings.Count(part(t, doc, "extra", "deep"), "{") != 7 {
		t.Errorf("extra goes %d deep", strings.Count(part(t, doc, "extra", "deep"), "{"))
	}
	_, doc = keep(t, `{"exception":{"values":[`+strings.TrimSuffix(strings.Repeat(`{},`, 1000), ",")+`]},"fingerprint":[`+strings.TrimSuffix(strings.Repeat(`"x",`, 100), ",")+`]}`)
	if got := strings.Count(part(t, doc, "exception", "values"), "{}"); got != MaxExceptions {
		t.Errorf("%d exceptions, want %d", got, MaxExceptions)
	}
	if got := strings.Count(part(t, doc, "fingerprint"), `"x"`); got != MaxFingerprint {
		t.Errorf("%d parts of a fingerprint, want %d", got, MaxFingerprint)
	}
}

func TestAnEventThatIsStillTooLargeLosesWhatItCanBestDoWithout(t *testing.T) {
	frame := `{"function":"f","context_line":"` + strings.Repeat("c", 1000) + `","pre_context":["` + strings.Repeat("p", 500) + `"],"vars":{"v":"` + strings.Repeat("v", 3000) + `"}}`
	frames := strings.TrimSuffix(strings.Repeat(frame+",", 250), ",")
	_, doc := keep(t, `{"message":"m","extra":{"a":"b"},"exception":[{"type":"A","stacktrace":{"frames":[`+frames+`]}},{"type":"B","stacktrace":{"frames":[`+frames+`]}}]}`)
	if len(doc) > MaxKeptBytes {
		t.Errorf("%d bytes are kept, want at most %d", len(doc), MaxKeptBytes)
	}
	has(t, doc, "null", "extra")
	has(t, doc, "", "exception", "values", "#0", "stacktrace", "frames", "#0", "vars")
	has(t, doc, `"f"`, "exception", "values", "#1", "stacktrace", "frames", "#249", "function")
}

func TestBrowsersReportsBecomeEvents(t *testing.T) {
	f := func(report, message string, want Security) {
		t.Helper()
		e, doc := kept(t, Input{Payload: []byte(report), Security: true})
		if d := cmp.Diff(want, e.Security); d != "" {
			t.Errorf("%s (-want +got):\n%s", report, d)
		}
		if e.Message != message || e.Title != message {
			t.Errorf("%s: message %q and title %q, want %q", report, e.Message, e.Title, message)
		}
		has(t, doc, `"`+want.Kind+`"`, "type")
		again, second := keep(t, doc)
		if second != doc || again.Security != e.Security {
			t.Errorf("read again it is another:\n%s\n%s", doc, second)
		}
	}
	f(`{"csp-report":{"document-uri":"https://shop.example/pay","violated-directive":"img-src https://a","effective-directive":"img-src","blocked-uri":"https://evil.example/x.png"}}`,
		"Blocked 'img' from 'evil.example'", Security{Kind: "csp", Directive: "img-src", Blocked: "evil.example", DocumentHost: "shop.example"})
	f(`{"csp-report":{"document-uri":"https://shop.example/","violated-directive":"script-src-elem","blocked-uri":"https://shop.example/a.js"}}`,
		"Blocked 'script' from 'self'", Security{Kind: "csp", Directive: "script-src-elem", Blocked: "self", DocumentHost: "shop.example", LocalScriptViolated: true})
	f(`[{"type":"csp-violation","url":"https://shop.example/","body":{"documentURL":"https://shop.example/","effectiveDirective":"style-src-elem","blockedURL":"inline"}}]`,
		"Blocked inline 'style'", Security{Kind: "csp", Directive: "style-src-elem", Blocked: "inline", DocumentHost: "shop.example"})
	f(`{"csp":{"effective_directive":"script-src","blocked_uri":"eval"}}`, "Blocked eval 'script'", Security{Kind: "csp", Directive: "script-src", Blocked: "eval", LocalScriptViolated: true})
	f(`{"hostname":"a.example","known-pins":["x"]}`, "Public key pinning validation failed for 'a.example'", Security{Kind: "hpkp", DocumentHost: "a.example"})
	f(`{"expect-ct-report":{"hostname":"a.example"}}`, "Expect-CT failed for 'a.example'", Security{Kind: "expect-ct", DocumentHost: "a.example"})
	f(`{"expect-staple-report":{"hostname":"a.example"}}`, "Expect-Staple failed for 'a.example'", Security{Kind: "expect-staple", DocumentHost: "a.example"})
	f(`{"type":"network-error","url":"https://a.example/x","body":{"type":"tcp.refused"}}`, "Network error 'tcp.refused' at 'a.example'", Security{Kind: "nel", DocumentHost: "a.example"})
}

func TestModulesTellWhichGoFramesAreTheProgramsOwn(t *testing.T) {
	_, doc := keep(t, `{"platform":"go","modules":{"example.com/shop":"(devel)","github.com/x/y":"v1.2.3","example.com/lib":"v0.1.0"},"exception":[{"type":"E","stacktrace":{"frames":[
		{"module":"github.com/x/y/z","abs_path":"/go/pkg/mod/github.com/x/y@v1.2.3/z/a.go","in_app":true},
		{"module":"example.com/shop/pay","abs_path":"/src/pay/a.go","in_app":false},
		{"module":"example.com/lib","abs_path":"/src/vendor/example.com/lib/a.go"},
		{"module":"net/http","abs_path":"/usr/local/go/src/net/http/server.go","in_app":false}]}}]}`)
	for i, want := range []string{"false", "true", "false", "false"} {
		has(t, doc, want, "exception", "values", "#0", "stacktrace", "frames", fmt.Sprintf("#%d", i), "in_app")
	}
	for i, want := range []string{"1", "0", "-1", ""} {
		has(t, doc, want, "exception", "values", "#0", "stacktrace", "frames", fmt.Sprintf("#%d", i), "data", "orig_in_app")
	}
}

func TestWhatSourceMapsTellIsAppliedAndTheOriginalKept(t *testing.T) {
	n := NewNormalizer(Config{})
	_, err := n.Event(Input{Received: now.UnixNano(), Payload: []byte(`{"platform":"javascript","release":"r","dist":"d","exception":[{"type":"E","stacktrace":{"frames":[
		{"function":"x","abs_path":"https://shop.example/a.js","lineno":1,"colno":500},{"function":"y","abs_path":"https://shop.example/a.js","lineno":1,"colno":9}]}}],
		"debug_meta":{"images":[{"type":"sourcemap","code_file":"https://shop.example/a.js","debug_id":"aa-bb"},{"type":"elf","code_file":"b","debug_id":"c"}]}}`)})
	if err != nil {
		t.Fatal(err)
	}
	maps := &sourceMaps{results: []symbolicate.Result{
		{Found: true, Source: "webpack://shop/src/pay.ts", Function: "charge", Line: 12, Column: 3, ContextLine: "throw e", Pre: []string{"a"}, Post: []string{"b"}},
		{Reason: "no map holds the place"},
	}}
	if err := n.Symbolicate(t.Context(), maps, 42); err != nil {
		t.Fatal(err)
	}
	want := []symbolicate.Request{{Project: 42, Release: "r", Dist: "d", DebugIDs: map[string]string{"https://shop.example/a.js": "aa-bb"}, Frames: []symbolicate.Frame{
		{AbsPath: "https://shop.example/a.js", Line: 1, Column: 500, Function: "x"}, {AbsPath: "https://shop.example/a.js", Line: 1, Column: 9, Function: "y"},
	}}}
	if d := cmp.Diff(want, maps.asked); d != "" {
		t.Fatalf("(-want +got):\n%s", d)
	}
	doc := string(n.AppendJSON(nil))
	frame := func(stack string, i int) string {
		return part(t, doc, "exception", "values", "#0", stack, "frames", fmt.Sprintf("#%d", i))
	}
	var f struct {
		Filename, Function string
		Line               int      `json:"lineno"`
		InApp              bool     `json:"in_app"`
		Pre                []string `json:"pre_context"`
	}
	if err := json.Unmarshal([]byte(frame("stacktrace", 0)), &f); err != nil || f.Filename != "webpack://shop/src/pay.ts" || f.Function != "charge" || f.Line != 12 || !f.InApp || len(f.Pre) != 1 {
		t.Errorf("%v: %+v", err, f)
	}
	if raw := frame("raw_stacktrace", 0); !strings.Contains(raw, `"function":"x"`) || !strings.Contains(raw, `"colno":500`) {
		t.Errorf("the raw frame is %s", raw)
	}
	if !strings.Contains(frame("stacktrace", 1), "no map holds the place") {
		t.Errorf("nobody says why: %s", frame("stacktrace", 1))
	}
	if _, second := keep(t, doc); second != doc {
		t.Errorf("read again it is another:\n%s\n%s", doc, second)
	}
	if _, err := n.Event(Input{Payload: []byte(`{"platform":"python","exception":[{"stacktrace":{"frames":[{"filename":"a.py","lineno":1}]}}]}`)}); err != nil {
		t.Fatal(err)
	}
	if err := n.Symbolicate(t.Context(), maps, 42); err != nil || len(maps.asked) != 1 {
		t.Errorf("a Python event asks for source maps: %v, %v", maps.asked, err)
	}
	if _, err := n.Event(Input{Payload: []byte(doc), Received: now.UnixNano()}); err != nil {
		t.Fatal(err)
	}
	if err := n.Symbolicate(t.Context(), maps, 42); err != nil || len(maps.asked) != 1 {
		t.Errorf("a stack is symbolicated twice: %v, %v", maps.asked, err)
	}
}

type sourceMaps struct {
	asked   []symbolicate.Request
	results []symbolicate.Result
}

func (m *sourceMaps) Resolve(_ context.Context, r symbolicate.Request) ([]symbolicate.Result, error) {
	r.Frames = slices.Clone(r.Frames)
	m.asked = append(m.asked, r)
	return m.results, nil
}

func TestFieldsOfAWrongTypeReadAsAbsentAndSpoilNoOther(t *testing.T) {
	e, _ := keep(t, `{"event_id":{"no":1},"level":7,"release":1.5,"tags":"none","exception":[5,null,{"type":["T"],"value":"v","stacktrace":{"frames":{"a":1}}},{"type":"T2","stacktrace":"gone"}],
		"contexts":[1],"threads":false,"fingerprint":{"a":1},"sdk":"x","platform":"go","timestamp":"2026-11-23T11:59:58Z","user":[1],"request":7,"breadcrumbs":{"values":{}},"modules":[],"_meta":7}`)
	if e.ID != (schemas.EventID{}) || e.Level != "error" || e.Release != "1.5" || e.Platform != "go" || e.Time == now.UnixNano() || len(e.Tags) != 0 {
		t.Errorf("got %+v", e)
	}
	if len(e.Exceptions) != 2 || e.Exceptions[0].Value != "v" || e.Exceptions[1].Type != "T2" {
		t.Errorf("exceptions %+v", e.Exceptions)
	}
}

func TestWhatIsNoJSONObjectIsRefusedWithThePlace(t *testing.T) {
	n := NewNormalizer(Config{})
	f := func(payload, want string) {
		t.Helper()
		if e, err := n.Event(Input{Payload: []byte(payload)}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: got %+v, %v; want an error with %q", payload, e, err, want)
		}
	}
	f(``, "ends at byte 0")
	f(`[]`, "not a JSON object")
	f(`"event"`, "not a JSON object")
	f(`{"a":1`, "ends at byte")
	f(`{"a":1} {}`, "follows")
	f(`{"a":`+strings.Repeat("[", 20_000)+strings.Repeat("]", 20_000)+`}`, "broken JSON")
	f(`{"a":"`+strings.Repeat("x", MaxEventBytes)+`"}`, "longer than")
}

func TestANormalizerForgetsTheEventBefore(t *testing.T) {
	n := NewNormalizer(Config{})
	var first []byte
	for range 3 {
		for i, payload := range [][]byte{testevents.Python(1, 1), []byte(`{"message":"m"}`)} {
			if _, err := n.Event(Input{Payload: payload, Received: now.UnixNano()}); err != nil {
				t.Fatal(err)
			}
			doc := n.AppendJSON(nil)
			if _, fresh := kept(t, Input{Payload: payload}); fresh != string(doc) {
				t.Errorf("event %d differs from one of a new normalizer:\n%s\n%s", i, doc, fresh)
			}
			if i == 0 && first != nil && !bytes.Equal(first, doc) {
				t.Error("the same event became another")
			}
			if i == 0 {
				first = doc
			}
		}
	}
}

func FuzzEvent(f *testing.F) {
	for _, s := range []string{
		`{"message":{"message":"a %s {0}","params":["b"]},"logentry":"x","release":"\u0000"}`,
		`{"exception":{"values":[{"type":"T","value":{"a":1},"mechanism":{"synthetic":true},"stacktrace":{"frames":[{"in_app":true,"vars":{"a":[1]},"pre_context":["a",1]}]}}]}}`,
		`{"tags":[["a","b"]],"fingerprint":["{{ default }}",1],"contexts":{"kafka":{"topic":"t","partition":"3","offset":5}}}`,
		`{"timestamp":1795435198.1,"threads":{"values":[{"crashed":true}]},"stacktrace":[{}],"user":"a","request":{"headers":{"a":"b"},"query_string":[["a","b"]]}}`,
		`{"a":"\ud800","_meta":{"tags":{"a":{"":{"len":1}}}},"tags":{"a":"b"},"sdk":{"settings":{"infer_ip":"auto"}}}`,
		`{"csp-report":{"blocked-uri":"x"},"level":"CRITICAL","breadcrumbs":[{"timestamp":1,"data":{"a":{"b":{"c":{"d":{"e":{"f":1}}}}}}}]}`,
		`{"sentry.interfaces.Exception":{"type":"x"},"exception":[],"extra":{"` + strings.Repeat("k", 300) + `":1},"a":1,"a":2}`,
	} {
		f.Add([]byte(s), false)
	}
	f.Add(testevents.Python(1, 2), false)
	f.Add([]byte(`[{"type":"csp-violation","body":{"blockedURL":"inline"}}]`), true)
	n, second := NewNormalizer(Config{}), NewNormalizer(Config{})
	f.Fuzz(func(t *testing.T, payload []byte, security bool) {
		in := Input{Payload: payload, Security: security, Received: now.UnixNano(), RemoteAddr: "10.1.2.3"}
		e, err := n.Event(in)
		if err != nil {
			return
		}
		doc := n.AppendJSON(nil)
		if !json.Valid(doc) || len(doc) > MaxKeptBytes {
			t.Fatalf("%d bytes, valid %v: %.4000s", len(doc), json.Valid(doc), doc)
		}
		if len(e.Exceptions) > MaxExceptions || len(e.Tags) > MaxTags || len(e.ClientFingerprint) > MaxFingerprint || len(e.Frames) > MaxFrames || e.Title == "" || len(e.Title) > maxTitle {
			t.Fatal("beyond the bounds")
		}
		for _, tag := range e.Tags {
			if tag.Key == "" || tag.Value == "" {
				t.Fatal("an empty tag")
			}
		}
		in.Payload, in.Security = doc, false
		again, err := second.Event(in)
		if err != nil {
			t.Fatal(err)
		}
		if doc2 := second.AppendJSON(nil); !bytes.Equal(doc, doc2) {
			t.Fatalf("read again it is another:\n%.4000s\n%.4000s", doc, doc2)
		}
		again.ID, again.Time = e.ID, e.Time
		if d := cmp.Diff(e.Event, again.Event); d != "" {
			t.Fatalf("read again its row is another:\n%s\n%.2000s", d, doc)
		}
	})
}
