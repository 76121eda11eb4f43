package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/web/api"
	"github.com/hoptrace/hoptrace/web/testdata/fakestore"
)

func queryServer(t *testing.T, asked *[]*http.Request) string {
	t.Helper()
	store := fakestore.Orders(time.Now())
	store.AllQueries = []exporters.SavedQuery{{ID: 1, Project: fakestore.Project, Name: "slow work", Subject: "hops", Query: "processing>0", View: "order=-processing&from=all"}}
	h, err := api.New(api.Config{}, api.Deps{
		Spans: store, Messages: store, Metrics: store, Logs: store, Ledger: store, Events: store, Issues: store, IssueEvents: store, Joined: store, Projects: store, Blobs: store, Nodes: store, Clocks: store, Topology: store, TopicSums: store, Search: store, Queries: store,
	}, prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked != nil {
			*asked = append(*asked, r)
		}
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestQueryPrintsWhatTheServerHas(t *testing.T) {
	server := queryServer(t, nil)
	f := func(want string, args ...string) string {
		t.Helper()
		code, stdout, stderr := command(nil, append([]string{"query", "--server", server}, args...)...)
		if code != 0 || !strings.Contains(stdout, want) {
			t.Errorf("query %v ended with %d: %s\nno %q in\n%s", args, code, stderr, want, stdout)
		}
		return stdout
	}
	out := f("payments", "spans", "service:payments", "--from", "-168h", "--limit", "3")
	if lines := strings.Split(strings.TrimSpace(out), "\n"); len(lines) != 4 || !strings.HasPrefix(lines[0], "START") || !strings.Contains(lines[0], "TOOK") {
		t.Errorf("3 spans are printed as\n%s", out)
	}
	f("orders", "hops", "topic:orders", "--from=-168h")
	f("orders", "messages", "topic:orders", "--from=-168h", "--limit=600")
	if out := f("", "messages", "topic:nothing", "--from=-168h"); strings.Contains(out, "orders") {
		t.Errorf("messages of another topic are printed: %s", out)
	}
	f("traceId", "traces", "service:payments", "--from=-168h", "--format=csv")
	if _, err := csv.NewReader(strings.NewReader(f("traceId", "spans", "--from=-168h", "--format", "csv", "--limit", "5"))).ReadAll(); err != nil {
		t.Error(err)
	}
	var rows []map[string]any
	if err := json.Unmarshal([]byte(f("[", "hops", "--from=-168h", "--format=json", "--limit=4")), &rows); err != nil || len(rows) != 4 {
		t.Errorf("%d hops as JSON, error %v", len(rows), err)
	}
	for _, view := range []string{"traces", "messages", "topics", "topology", "issues", "ledger", "metrics", "discarded"} {
		f("", view)
	}
	f(`"traces"`, "traces/"+fakestore.Fast.String())
	f(`"queries"`, "saved")
	f("orders", "saved/slow work")
	f(`"services"`, "names")
	f(`"hops"`, "/api/v1/hops", "limit=2", "topic=orders")
	f("", "ledger", "from=-168h")
	f("ENDTOEND", "traces/"+fakestore.Fast.String(), "--format=table")
	f("TOPIC", "topics", "--order", "wait")
	f("TITLE", "issues", "", "--order", "freq", "--from=-168h")
	if out := f("RECEIVED", "ledger"); strings.Contains(out, "1970-") {
		t.Errorf("counts of the ledger are printed as times:\n%s", out)
	}
}

func TestQuerySaysWhatIsWrong(t *testing.T) {
	server := queryServer(t, nil)
	f := func(code int, want string, args ...string) {
		t.Helper()
		got, _, stderr := command(nil, append([]string{"query", "--server", server}, args...)...)
		if got != code || !strings.Contains(stderr, want) {
			t.Errorf("query %v ended with %d: %s\nwant %d: %s", args, got, stderr, code, want)
		}
	}
	f(1, `at 10: duration wants a number with a unit as 250ms, got "fast"`, "spans", "duration>fast")
	f(1, "no query is saved as", "saved/nothing")
	f(1, "there is no /api/v1/nothing", "/api/v1/nothing")
	f(2, "there is nothing called", "moons")
	f(2, "put the whole query in quotes", "spans", "a", "b")
	f(2, "topics takes no query", "topics", "a")
	f(2, "write records/TOPIC/PARTITION/OFFSET", "records")
	f(2, "write records/TOPIC/PARTITION/OFFSET", "records/orders/3@7")
	f(1, "accepted: date or new or freq or users", "issues", "--order", "worst")
	f(1, `"from" is "soon"`, "topics", "from=soon")
	f(1, "this server cannot look things up", "find", "q=orders")
	f(2, "want table, json, csv or ndjson", "spans", "--format=xml")
	f(2, "want a whole number", "spans", "--limit=none")
	f(2, "what shall be asked for", "--format=csv")
	f(2, "no flag", "spans", "--what")
	f(2, "needs a value", "spans", "--from")
	f(1, "cannot ask http://127.0.0.1:1", "spans", "--server=http://127.0.0.1:1")
}

func TestQueryShowsItsToken(t *testing.T) {
	var asked []*http.Request
	server := queryServer(t, &asked)
	f := func(want string, args ...string) {
		t.Helper()
		asked = nil
		_, _, _ = command(nil, append(args, "--server", server)...)
		if len(asked) != 1 || asked[0].Header.Get("Authorization") != want {
			t.Errorf("%v: %d questions, want one with %q", args, len(asked), want)
		}
	}
	f("", "query", "topics")
	f("Bearer abc", "query", "topics", "--token", "abc")
	f("Bearer abc", "query", "names", "--token=abc")
	t.Setenv("HOPTRACE_TOKEN", "env")
	f("Bearer env", "query", "topics")
	f("Bearer abc", "query", "saved", "--token=abc")
}

func TestTableCellsAreSafeAndShort(t *testing.T) {
	f := func(column, v, want string) {
		t.Helper()
		if got := cellText(column, v); got != want {
			t.Errorf("%s %q is printed as %q, want %q", column, v, got, want)
		}
	}
	f("name", "a\x1b[31mb\n", "a [31mb ")
	f("name", "'=cmd", "=cmd")
	f("name", "", "-")
	f("ack_ns", "1500000", "1.5ms")
	f("received", "702", "702")
	f("at", "1796100165000000000", "2026-12-01 04:42:45.000Z")
	f("latency.lastSeen", "1796100165000000000", "2026-12-01 04:42:45.000Z")
	f("producedPerSecond", "0.000187812153826966", "0.000188")
	f("perSecond", "12345.678", "12346")
	f("start", fmt.Sprint(time.Date(2026, 11, 30, 1, 2, 3, 4e6, time.UTC).UnixNano()), "2026-11-30 01:02:03.004Z")
	f("name", strings.Repeat("x", 70), strings.Repeat("x", 59)+"…")
}

func TestQuerySaysHowManyHopsItCannotJudge(t *testing.T) {
	server := queryServer(t, nil)
	for query, want := range map[string]string{"backlog>99h": "the backlog is unknown; hops '-has:backlog' lists them", "topic:orders": ""} {
		code, _, stderr := command(nil, "query", "--server", server, "hops", query, "--from=-168h")
		if told := strings.Contains(stderr, "unknown"); code != 0 || told != (want != "") || !strings.Contains(stderr, want) {
			t.Errorf("query hops %s ended with %d and says %q, want %q in it", query, code, stderr, want)
		}
	}
	if code, stdout, stderr := command(nil, "query", "--server", server, "hops", "-has:backlog", "--from=-168h", "--limit=1"); code != 0 || strings.Count(stdout, "\n") != 2 {
		t.Errorf("what it says to write ends with %d and prints %s%s", code, stdout, stderr)
	}
}
