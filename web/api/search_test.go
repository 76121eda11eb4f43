package api

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/web/testdata/fakestore"
)

// searchStore has n spans, each five one failed, one a second up to now.
func searchStore(n int) *fakestore.Store {
	s := &fakestore.Store{AllProjects: []schemas.Project{{ID: 1, Slug: "a"}, {ID: 2, Slug: "b"}}}
	for i := range n {
		at := testNow.Add(-time.Duration(n-i) * time.Second).UnixNano()
		p := schemas.Span{
			Project: 1, TraceID: schemas.TraceID{1, byte(i >> 8), byte(i)}, SpanID: schemas.SpanID{2, byte(i >> 8), byte(i)}, Name: fmt.Sprint("charge ", i%3), Service: "payments", Start: at, End: at + int64(i)*1e6,
			Attributes: []schemas.Attribute{{Key: "order.id", Value: fmt.Sprint(i)}, {Key: "odd key", Value: "=cmd()"}}, Resource: []schemas.Attribute{{Key: "host.name", Value: "web-1"}},
		}
		if i%5 == 0 {
			p.Status, p.StatusMessage = schemas.StatusError, "=HYPERLINK(\"http://x\")"
		}
		s.AllSpans = append(s.AllSpans, p)
		m := schemas.Message{Project: 1, Topic: "orders", Offset: int64(i), Side: schemas.SideProduce, Service: "shop", TraceID: p.TraceID, SpanID: schemas.SpanID{9, byte(i)}, Start: at - 5e6, End: at - 4e6, Written: at - 5e6, Acked: at - 4e6, BootID: "b"}
		c := schemas.Message{Project: 1, Topic: "orders", Offset: int64(i), Side: schemas.SideProcess, Group: "billing", Service: "payments", TraceID: p.TraceID, SpanID: p.SpanID, Start: at, End: at + int64(i)*1e6, Handed: at, BootID: "b"}
		s.AllMessages = append(s.AllMessages, m, c)
	}
	return s
}

func TestSearchGivesEachRowOnceByPages(t *testing.T) {
	store := searchStore(250)
	h := newHandler(t, store)
	for _, order := range []string{"", "-time", "time", "-duration", "duration"} {
		seen := map[string]bool{}
		last := ""
		for path := "/search/spans?from=-1h&limit=100&order=" + order; path != ""; {
			page := get[SpanSearch](t, h, path, http.StatusOK)
			for _, s := range page.Spans {
				if seen[s.SpanID] {
					t.Fatalf("order %s: span %s comes twice", order, s.SpanID)
				}
				seen[s.SpanID] = true
			}
			if page.Read.Rows == 0 || last != "" && string(page.From) != last {
				t.Errorf("order %s: read %+v from %s, want the range of the first page, %s", order, page.Read, page.From, last)
			}
			last = string(page.From)
			path = ""
			if page.Next != nil {
				path = "/search/spans?limit=100&from=-2h&order=" + order + "&cursor=" + url.QueryEscape(*page.Next)
			}
			// What arrives meanwhile moves nothing.
			p := store.AllSpans[0]
			p.Start, p.SpanID = testNow.UnixNano()+int64(len(store.AllSpans)), schemas.SpanID{7, byte(len(store.AllSpans))}
			store.AllSpans = append(store.AllSpans, p)
		}
		if len(seen) != 250 {
			t.Errorf("order %s: %d spans, want 250", order, len(seen))
		}
	}
	hops := get[HopSearch](t, h, "/search/hops?q="+url.QueryEscape("topic:orders processing>100ms")+"&order=-processing&limit=3", http.StatusOK)
	if len(hops.Hops) != 3 || hops.Next == nil || *hops.Hops[0].Offset != 249 || hops.Hops[0].Producer.Service != "shop" {
		t.Errorf("hops: %+v", hops)
	}
}

func TestSearchSaysWhatIsWrong(t *testing.T) {
	h := newHandler(t, searchStore(5))
	f := func(path, param, want string) {
		t.Helper()
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/v1"+path, nil))
		var p Problem
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Code != http.StatusBadRequest || p.Param != param || !strings.Contains(p.Detail+" | "+p.WayOut, want) {
			t.Errorf("GET %s: %d %+v, want 400 about %s: %s", path, w.Code, p, param, want)
		}
	}
	f("/search/spans?q="+url.QueryEscape("é duration>fast"), "q", `at 12: duration wants a number with a unit as 250ms, got "fast" | for example duration>250ms`)
	f("/search/spans?q="+url.QueryEscape("backlog>2s"), "q", "search hops")
	f("/search/spans?order=name", "order", "time, duration")
	f("/search/hops?order=duration", "order", "time, age, batch_queue")
	f("/search/spans?cursor=1.2.3", "cursor", "what the last page")
	next := *get[SpanSearch](t, h, "/search/spans?limit=2", http.StatusOK).Next
	f("/search/spans?order=duration&cursor="+url.QueryEscape(next), "cursor", "of the same order")
	f("/search/spans?format=xml", "format", "csv, json or ndjson")
	f("/search/spans/histogram?buckets=1000", "buckets", "2 to 200")
	f("/search/complete?q=abc&at=9", "at", "a place in q")
	f("/search/spans?from=-1h&to=-2h", "to", "after from")
}

func TestHistogramCountsAndBeginsWithItsFinding(t *testing.T) {
	h := newHandler(t, searchStore(250))
	got := get[SearchHistogram](t, h, "/search/spans/histogram?from=-1h&q=payments+OR+charge", http.StatusOK)
	total, failed := uint64(0), uint64(0)
	for i := range got.Rows {
		total, failed = total+got.Rows[i], failed+got.Failed[i]
	}
	if got.Total != 250 || total != 250 || got.Errors != 50 || failed != 50 || got.StepNs != int64(time.Minute) {
		t.Errorf("%+v", got)
	}
	if s := got.Finding.String(); s != "250 spans match, 50 of them failed | 20.00% failed; see those that did not." {
		t.Errorf("finding %q", s)
	}
}

func TestHopsWithoutThePartThatIsAskedForAreCounted(t *testing.T) {
	h := newHandler(t, searchStore(20))
	ask := func(q string) SearchHistogram {
		return get[SearchHistogram](t, h, "/search/hops/histogram?from=-1h&q="+url.QueryEscape(q), http.StatusOK)
	}
	all := ask("")
	if all.Unknown != nil || ask("backlog>1s OR status:error").Unknown != nil || all.Total == 0 {
		t.Errorf("nothing is left out of %d hops, got %+v", all.Total, all.Unknown)
	}
	known, left := ask("has:backlog"), ask("backlog>-1h backlog<99h")
	if left.Unknown == nil || left.Total != known.Total || left.Unknown.Rows != all.Total-known.Total || left.Unknown.Rows != ask(left.Unknown.Query).Total || left.Unknown.Part != "backlog" {
		t.Errorf("of %d hops %d have a backlog: got %+v beside %d", all.Total, known.Total, left.Unknown, left.Total)
	}
	if left.Unknown.Rows == 0 || !strings.Contains(left.Finding.String(), "the backlog is unknown") {
		t.Errorf("%d are unknown; finding %s", left.Unknown.Rows, left.Finding)
	}
}

func TestCompletionIsOfThePlaceAndOfWhatIsStored(t *testing.T) {
	h := newHandler(t, searchStore(20))
	ask := func(subject, q string) Completion {
		t.Helper()
		at := strings.IndexRune(q, '|')
		return get[Completion](t, h, fmt.Sprintf("/search/complete?subject=%s&at=%d&q=%s", subject, len([]rune(q[:at])), url.QueryEscape(strings.Replace(q, "|", "", 1))), http.StatusOK)
	}
	f := func(subject, q string, from, to int, want ...string) {
		t.Helper()
		got := ask(subject, q)
		var items []string
		for _, i := range got.Items {
			text := i.Insert
			if i.Rows != nil {
				text += fmt.Sprintf(" (%d)", *i.Rows)
			}
			items = append(items, text)
		}
		for i, w := range want {
			if i >= len(items) || items[i] != w {
				t.Errorf("%s %s: %q, want first %q", subject, q, items, want)
				return
			}
		}
		if got.From != from || got.To != to {
			t.Errorf("%s %s replaces %d to %d, want %d to %d", subject, q, got.From, got.To, from, to)
		}
	}
	f("spans", "dur|", 0, 3, "duration>")
	f("spans", "é (dur|", 3, 6, "duration>")
	f("spans", "duration|", 0, 8, "duration>", "duration>=", "duration<", "duration<=", "duration:", "duration!=")
	f("spans", "status:|", 7, 7, "unset", "ok", "error")
	f("spans", "service:pay|", 8, 11, "payments (20)")
	f("spans", "name:1|", 5, 6, `"charge 1" (7)`)
	f("spans", "ord|", 0, 3, "order.id: (20)")
	f("spans", "odd|", 0, 3, `"odd key": (20)`)
	f("spans", "has:ord|", 4, 7, "order.id (20)")
	f("spans", "order.id:1|", 9, 10, "1 (1)", "10 (1)")
	f("spans", "resource.h|", 0, 10, "resource.host.name: (20)")
	f("spans", "duration>|", 9, 9, "10ms", "100ms")
	f("hops", "back|", 0, 4, "backlog>")
	f("hops", "topic:|", 6, 6, "orders (20)")
	f("spans", "O|", 0, 1, "OR ")
	if got := ask("spans", "duration>fast|"); got.Fault == nil || got.Fault.From != 9 || got.Fault.To != 13 || !strings.Contains(got.Fault.Message, "at 10: duration wants") {
		t.Errorf("fault %+v", got.Fault)
	}
	if got := ask("spans", "|"); got.Fault != nil || len(got.Items) != maxItems {
		t.Errorf("of nothing: %d items, fault %+v", len(got.Items), got.Fault)
	}
}

func exported(t *testing.T, h http.Handler, path string) *http.Response {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/v1"+path, nil))
	if w.Code != http.StatusOK {
		t.Fatalf("GET %s: %d %s", path, w.Code, w.Body)
	}
	return w.Result()
}

func TestExportStreamsAllPagesAndGuardsFormulas(t *testing.T) {
	h := newHandler(t, searchStore(1234))
	r := exported(t, h, "/search/spans?format=csv&order=time")
	raw := new(bytes.Buffer)
	_, _ = raw.ReadFrom(r.Body)
	if got := strings.Count(raw.String(), "\r\n"); got != 1235 {
		t.Errorf("%d lines end with CRLF, want 1235", got)
	}
	rows, err := csv.NewReader(raw).ReadAll()
	if err != nil || len(rows) != 1235 {
		t.Fatalf("%d lines, error %v", len(rows), err)
	}
	column := map[string]int{}
	for i, name := range rows[0] {
		column[name] = i
	}
	first := rows[1]
	if got := first[column["statusMessage"]]; got != `'=HYPERLINK("http://x")` {
		t.Errorf("a formula is sent as %s", got)
	}
	if got := first[column["attributes"]]; got != `{"order.id":"0","odd key":"=cmd()"}` {
		t.Errorf("attributes are sent as %s", got)
	}
	if got := first[column["start"]]; got != fmt.Sprint(testNow.Add(-1234*time.Second).UnixNano()) {
		t.Errorf("start is sent as %s", got)
	}
	for name, want := range map[string]string{
		"Content-Type": "text/csv; charset=utf-8; header=present", "X-Hoptrace-Rows-At-Most": "50000",
		"Content-Disposition": "attachment; filename=hoptrace-spans-20261123T160000Z.csv",
	} {
		if got := r.Header.Get(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	if r.Trailer.Get("X-Hoptrace-Rows") != "1234" || r.Trailer.Get("X-Hoptrace-More") != "false" {
		t.Errorf("trailers %v", r.Trailer)
	}
	var spans []Span
	if err := json.NewDecoder(exported(t, h, "/search/spans?format=json&q=status:error").Body).Decode(&spans); err != nil || len(spans) != 247 {
		t.Errorf("%d spans as JSON, error %v", len(spans), err)
	}
	d, n := json.NewDecoder(exported(t, h, "/search/hops?format=ndjson").Body), 0
	for d.More() {
		var hop Hop
		if err := d.Decode(&hop); err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 1233 { // the last one has not ended yet
		t.Errorf("%d hops as NDJSON", n)
	}
	hops, err := csv.NewReader(exported(t, h, "/search/hops?format=csv&order=time").Body).ReadAll()
	if err != nil || len(hops) != 1234 {
		t.Fatalf("%d hops as CSV, error %v", len(hops), err)
	}
	for i, name := range hops[0] {
		column[name] = i
	}
	if row := hops[11]; row[column["ack_ns"]] != "1000000" || row[column["processing_ns"]] != "10000000" || row[column["backlog_ns"]] != "" || row[column["producer.service"]] != "shop" {
		t.Errorf("a hop is sent as %v under %v", row, hops[0])
	}
}

func TestEveryTableCanBeHadAsAFile(t *testing.T) {
	store := searchStore(7)
	store.AllIssues = []schemas.Issue{{ID: 5, Project: 1, Title: "it broke"}}
	h := newHandler(t, store)
	trace := store.AllSpans[3].TraceID.String()
	of := strings.NewReplacer("/find", "/find?q=orders/0@3", "/issues/{id}", "/issues/5", "/traces/{id}", "/traces/"+trace, "{span}", store.AllSpans[3].SpanID.String(), "{group}", "billing")
	for route := range tables {
		path := of.Replace(strings.TrimPrefix(route, "/api/v1"))
		sign := "?"
		if strings.Contains(path, "?") {
			sign = "&"
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/v1"+path+sign+"format=csv", nil))
		if w.Code == http.StatusNotImplemented || strings.HasPrefix(path, "/lag") && w.Code == http.StatusNotFound {
			continue // the fake store has no such thing
		}
		rows, err := csv.NewReader(w.Body).ReadAll()
		if w.Code != http.StatusOK || err != nil || len(rows) < 1 {
			t.Errorf("GET %s as CSV: %d, %d lines, error %v", path, w.Code, len(rows), err)
			continue
		}
		for _, row := range rows {
			if len(row) != len(rows[0]) {
				t.Errorf("%s: a line has %d cells, the first %d", path, len(row), len(rows[0]))
			}
		}
	}
	if r := exported(t, h, "/traces?format=csv&limit=3"); r.Trailer.Get("X-Hoptrace-Rows") != "3" || r.Trailer.Get("X-Hoptrace-More") != "true" {
		t.Errorf("trailers of a page: %v", r.Trailer)
	}
}

func sendRaw(t *testing.T, h http.Handler, method, path, body string, want int) []byte {
	t.Helper()
	r := httptest.NewRequest(method, "/api/v1"+path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != want {
		t.Fatalf("%s %s %s: %d, want %d: %s", method, path, body, w.Code, want, w.Body)
	}
	return w.Body.Bytes()
}

func TestQueriesAreSavedChangedAndDeleted(t *testing.T) {
	store := searchStore(1)
	h := newHandler(t, store)
	var q SavedQuery
	if err := json.Unmarshal(sendRaw(t, h, "POST", "/queries", `{"name":" slow ","subject":"hops","query":"backlog>2s","view":"order=-age","owner":"ada"}`, 200), &q); err != nil || q.Name != "slow" || q.ID != "1" || q.Owner != "ada" {
		t.Fatalf("%+v, error %v", q, err)
	}
	for body, want := range map[string]string{
		`{"name":"slow","subject":"spans","query":"","view":""}`:                               "query_exists",
		`{"name":"","subject":"spans","query":"","view":""}`:                                   "bad_body",
		`{"name":"x","subject":"moons","query":"","view":""}`:                                  "bad_body",
		`{"name":"x","subject":"spans","query":"duration>x","view":""}`:                        "bad_query",
		`{"name":"x","subject":"issues","query":"is:x","view":""}`:                             "bad_query",
		`{"name":"x","subject":"spans","query":"","view":"%zz"}`:                               "bad_body",
		`{"name":"x","subject":"spans","query":"","view":"` + strings.Repeat("v", 2001) + `"}`: "bad_body",
	} {
		code := http.StatusBadRequest
		if want == "query_exists" {
			code = http.StatusConflict
		}
		var p Problem
		if err := json.Unmarshal(sendRaw(t, h, "POST", "/queries", body, code), &p); err != nil || p.Code != want {
			t.Errorf("%s: %+v, want %s", body, p, want)
		}
	}
	sendRaw(t, h, "PUT", "/queries/1", `{"name":"slower","subject":"hops","query":"backlog>20s","view":""}`, 200)
	list := get[SavedQueryList](t, h, "/queries", http.StatusOK)
	if len(list.Queries) != 1 || list.Queries[0].Name != "slower" || list.Queries[0].Owner != "ada" || list.Most != exporters.MaxSavedQueries {
		t.Errorf("%+v", list)
	}
	if other := get[SavedQueryList](t, h, "/queries?project=2", http.StatusOK); len(other.Queries) != 0 {
		t.Errorf("another project has %+v", other)
	}
	sendRaw(t, h, "DELETE", "/queries/1?project=2", "", 404)
	sendRaw(t, h, "DELETE", "/queries/1", "", 200)
	sendRaw(t, h, "DELETE", "/queries/1", "", 404)
	sendRaw(t, h, "PUT", "/queries/x", `{"name":"a","subject":"hops","query":"","view":""}`, 404)
}

// The whole of a list, page after page, and its file have the same rows in the same
// order, under the same filters.
func TestAFileOfAListHasAllItsPages(t *testing.T) {
	store := searchStore(1234)
	for i := range 700 {
		id := schemas.IssueID(i + 1)
		store.AllIssues = append(store.AllIssues, schemas.Issue{
			ID: id, Project: 1, Title: fmt.Sprint("issue ", i%7), Fingerprint: schemas.Fingerprint{1, byte(i >> 8), byte(i)}, FirstSeen: testNow.Add(-time.Duration(i) * time.Minute).UnixNano(), LastSeen: testNow.Add(-time.Duration(i) * time.Second).UnixNano(),
			IssueState: schemas.IssueState{Status: schemas.StatusUnresolved},
		})
	}
	h := newHandler(t, store)
	h.deps.Logs = &sameTime{n: 1100}
	rowsOf := func(path, field string) []any {
		t.Helper()
		var out []any
		for next := ""; ; {
			page := get[map[string]any](t, h, path+next, http.StatusOK)
			rows, _ := page[field].([]any)
			out = append(out, rows...)
			switch n := page["next"].(type) {
			case string:
				next = "&before=" + url.QueryEscape(n)
			case map[string]any:
				next = fmt.Sprintf("&before=%v&skip=%v", n["before"], n["skip"])
			default:
				return out
			}
		}
	}
	for path, field := range map[string]string{
		"/traces?errors=true": "traces", "/traces?from=-1h": "traces", "/logs?level=info": "logs", "/issues?query=%22issue+3%22": "issues", "/issues?sort=new": "issues",
	} {
		want := rowsOf(path+"&limit=37", field)
		if len(want) < 90 {
			t.Errorf("%s: the list has %d rows; want enough for pages", path, len(want))
		}
		r := exported(t, h, path+"&format=json")
		var got []any
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: list of %d and file of %d rows differ (-list +file):\n%.2000s", path, len(want), len(got), diff)
		}
		if r.Trailer.Get("X-Hoptrace-Rows") != fmt.Sprint(len(want)) || r.Trailer.Get("X-Hoptrace-More") != "false" {
			t.Errorf("%s: trailers %v of %d rows", path, r.Trailer, len(want))
		}
		lines, err := csv.NewReader(exported(t, h, path+"&format=csv").Body).ReadAll()
		if err != nil || len(lines) != len(want)+1 {
			t.Errorf("%s: %d lines of CSV, error %v; want %d and a header", path, len(lines), err, len(want))
		}
	}
}

func TestAFileIsBounded(t *testing.T) {
	h := newHandler(t, searchStore(3))
	h.deps.Logs = &sameTime{n: 9_000}
	r := exported(t, h, "/logs?format=ndjson")
	if n := bytes.Count(must(io.ReadAll(r.Body)), []byte("\n")); n != 9_000 || r.Trailer.Get("X-Hoptrace-More") != "false" {
		t.Errorf("%d lines, trailers %v; want 9,000 and no more", n, r.Trailer)
	}
	// Rows of one time are paged up to 10,000; the file is cut with a sign that it is.
	h.deps.Logs = &sameTime{n: 12_000}
	defer func() {
		if recover() != http.ErrAbortHandler { //nolint:errorlint // what the handler panics with
			t.Error("a file that could not be ended was sent as if it were whole")
		}
	}()
	exported(t, h, "/logs?format=ndjson")
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestListsOfTracesAndMessagesTakeAQuery(t *testing.T) {
	h := newHandler(t, searchStore(120))
	q := url.QueryEscape
	f := func(path string, want int) {
		t.Helper()
		if got := get[TraceList](t, h, "/traces?limit=500&"+path, http.StatusOK); len(got.Traces) != want {
			t.Errorf("%s: %d traces, want %d", path, len(got.Traces), want)
		}
	}
	f("q="+q("status:error"), 24)
	f("q="+q("status:error")+"&errors=true&service=payments", 24)
	f("q="+q(`"charge 1" -status:error`), 32)
	f("q="+q("order.id:7 OR order.id:8"), 2)
	f("q="+q("order.id:7"), 1)
	f("q="+q("order.id:7")+"&service=nobody", 0)

	// Pages of messages: the old filters and the query together, each row once.
	seen := map[string]bool{}
	for next, pages := "", 0; ; pages++ {
		page := get[HopList](t, h, "/hops?limit=10&topic=orders&group=billing&offset_from=5&offset_to=100&q="+q("processing>50ms")+next, http.StatusOK)
		for _, hop := range page.Hops {
			if seen[hop.ID] || *hop.Offset <= 50 || *hop.Offset >= 100 {
				t.Errorf("message %s comes twice or does not match", hop.ID)
			}
			seen[hop.ID] = true
		}
		if page.Next == nil {
			break
		}
		next = "&before=" + q(*page.Next)
	}
	if len(seen) != 49 {
		t.Errorf("%d messages, want 49", len(seen))
	}
	if got := get[HopList](t, h, "/hops?each=true&limit=500", http.StatusOK); len(got.Hops) != 120 {
		t.Errorf("%d deliveries, want 120", len(got.Hops))
	}
	var rows []Hop
	if err := json.NewDecoder(exported(t, h, "/hops?format=json&q="+q("processing>50ms")).Body).Decode(&rows); err != nil || len(rows) != 69 {
		t.Errorf("%d messages as a file, error %v; want 69", len(rows), err)
	}
	bad := func(path, param, want string) {
		t.Helper()
		if e := get[Problem](t, h, path, http.StatusBadRequest); e.Param != param || !strings.Contains(e.Detail+e.WayOut, want) {
			t.Errorf("%s: %+v; want one of %s with %q", path, e, param, want)
		}
	}
	bad("/traces?q="+q("duration>x"), "q", "at 10")
	bad("/hops?q="+q("topic:a (backlog>1s"), "q", "at 9")
	bad("/hops?each=true&order=sent", "order", "deliveries")
	bad("/hops?before=7", "before", "last page")
}
