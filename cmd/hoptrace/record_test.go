package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestARecordIsPrintedWithItsWayItsTraceAndItsIssue(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/v1/records/or.ders-1/3/918273" || r.URL.Query().Get("project") == "9" {
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write([]byte(`{"code":"record_not_found","detail":"nothing is stored about it","wayOut":"not sampled"}`))
			return
		}
		_, _ = w.Write([]byte(`{"topic":"or.ders-1","partition":3,"offset":918273,"traces":["aa","bb"],"journey":"/traces/aa?row=x",
			"hops":[{"topic":"or.ders-1","group":"pay","failed":true,"delivery":2,"producer":{"service":"shop"},"consumer":{"service":"worker"},"parts":[{"name":"batch_queue","known":true,"ns":5000000},{"name":"backlog"}],"endToEnd":{"known":true,"ns":9000000}}],
			"issues":[{"id":"7","title":"ChargeError: declined","status":"unresolved","events":312,"records":4}],
			"events":[{"issue":"7","foundBy":"span","event":{"id":"ee","time":"1795435190000000005"}}]}`))
	}))
	defer server.Close()
	f := func(code int, want string, args ...string) {
		t.Helper()
		var out bytes.Buffer
		if got := runRecord(args, &out, &out); got != code || !strings.Contains(out.String(), want) {
			t.Errorf("%v ends with %d; want %d and %q:\n%s", args, got, code, want, out.String())
		}
	}
	const record = "or.ders-1/3@918273"
	for _, want := range []string{
		"shop → or.ders-1 → worker (group pay), delivery 2, failed", "batch queue  5ms", "backlog      unknown", "end to end   9ms", "trace aa\n  " + server.URL + "/traces/aa?row=x\ntrace bb",
		"issue 7 unresolved: ChargeError: declined\n  " + server.URL + "/issues/7\n  events on this record: 1; in all: 312 from 4 records", "2026-11-23 11:59:50.000Z event ee, found by its span",
	} {
		f(0, want, record, "--server", server.URL+"/")
	}
	f(0, `"journey":"/traces/aa?row=x"`, "--json", "--server="+server.URL, record)
	f(1, "nothing is stored about it (not sampled)", record, "--server", server.URL, "--project", "9")
	f(1, "cannot ask http://127.0.0.1:1", record, "--server", "http://127.0.0.1:1")
	f(2, "which record?", "--server", server.URL)
	for _, bad := range []string{"record:orders", "record:orders/x@1", "record:/3@1", "record:orders/-1@1", "record:orders/3@-1", "record:orders/4294967296@1"} {
		f(2, "write topic/partition@offset", bad)
	}
	f(0, "events on this record: 1", "or.ders-1 3 918273", "--server", server.URL)
	f(2, `no flag or word "--since"`, record, "--since", "1h")
	f(2, `no flag or word "again"`, record, "again")
	f(2, "--server needs a value", record, "--server")
	f(2, `--project is "x"`, record, "--project=x")
}
