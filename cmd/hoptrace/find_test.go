package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestWhatIsLookedForIsPrinted(t *testing.T) {
	asked := ""
	const finding = `"finding":{"rule":"x","tone":"ok","title":[{"kind":"text","text":"The answer"}],"text":[{"kind":"text","text":"And why."}]}`
	const one = `{"topic":"orders","partition":3,"offset":918273,"first":"1","last":"1795435190000000005","producer":"shop","groups":["audit","pay"],"href":"/records/orders/3/918273","failed":true}`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.Query().Get("q")
		switch {
		case strings.HasPrefix(r.URL.Path, "/api/v1/records/"):
			_, _ = w.Write([]byte(`{"topic":"orders","partition":3,"offset":918273}`))
		case asked == "told":
			_, _ = w.Write([]byte("{" + finding + `,"records":[` + strings.TrimSuffix(one, "}") + `,"traceId":"a1b2"}],"traces":[],"spans":[],"next":null}`))
		case asked == "nobody":
			_, _ = w.Write([]byte("{" + finding + `,"records":[],"traces":[],"spans":[]}`))
		case asked == "many":
			_, _ = w.Write([]byte("{" + finding + `,"records":[` + one + "," + one + `],"traces":["aa"],"spans":[{"traceId":"bb","spanId":"cc","name":"GET","service":"web","start":"1795435190000000005","durationNs":5000000,"href":"/traces/bb?row=cc"}],"next":50}`))
		default:
			_, _ = w.Write([]byte("{" + finding + `,"records":[` + one + `],"traces":[],"spans":[],"next":null}`))
		}
	}))
	defer server.Close()
	f := func(run func(args []string) (int, string), code int, want string, args ...string) {
		t.Helper()
		if got, out := run(append(args, "--server", server.URL)); got != code || !strings.Contains(out, want) {
			t.Errorf("%v ends with %d; want %d and %q:\n%s", args, got, code, want, out)
		}
	}
	find := func(args []string) (int, string) {
		var out bytes.Buffer
		return runFind(args, &out, &out), out.String()
	}
	record := func(args []string) (int, string) {
		var out bytes.Buffer
		return runRecord(args, &out, &out), out.String()
	}
	f(find, 0, "The answer\nAnd why.\nrecord  orders/3@918273  2026-11-23 11:59:50.000Z  shop → audit, pay  failed  "+server.URL+"/records/orders/3/918273", "id:m-1")
	f(find, 0, server.URL+"/records/orders/3/918273?project=2", "id:m-1", "--project=2")
	f(find, 0, "/records/orders/3/918273  trace a1b2", "told")
	f(find, 0, "and more: --from and --to narrow it", "many", "--from", "-1h")
	f(find, 0, "trace   aa", "many")
	f(find, 0, "GET", "many")
	f(find, 0, `"rule":"x"`, "many", "--json")
	f(find, 1, "The answer", "nobody")
	f(find, 0, "orders/3@918273", "orders", "3", "918273")
	if asked != "orders 3 918273" {
		t.Errorf("asked %q", asked)
	}
	f(find, 0, "orders/3@918273", "key:order-17") // the key is not sent
	if asked != "key:93623b80df3c7a2d" {
		t.Errorf("asked %q", asked)
	}
	f(find, 2, "what is looked for?")
	f(find, 2, "32 hex digits", "trace:1")
	f(find, 2, `no flag "--since"`, "a", "--since", "1h")
	f(find, 2, `--project is "x"`, "a", "--project=x")
	// One record is told by whatever names it.
	f(record, 0, "record orders/3@918273", "id:m-1")
	f(record, 1, "several records answer to \"many\"", "many")
	f(record, 1, "no record answers to \"nobody\": The answer", "nobody")
}
