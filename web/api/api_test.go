package api

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/web/testdata/fakestore"
)

func TestBadParametersAreNamedWithTheAcceptedForm(t *testing.T) {
	h := newHandler(t, fakestore.Orders(testNow))
	f := func(path, code, parameter, hint string) {
		t.Helper()
		e := get[Problem](t, h, path, http.StatusBadRequest)
		if e.Code != code || e.Param != parameter || !strings.Contains(e.WayOut, hint) {
			t.Errorf("GET %s = %+v; want code %s, parameter %s, hint with %q", path, e, code, parameter, hint)
		}
	}
	f("/traces?from=yesterday", "bad_parameter", "from", "RFC 3339")
	f("/traces?from=-3parsecs", "bad_parameter", "from", "-1h30m")
	f("/traces?from=1500-01-01T00:00:00Z", "bad_parameter", "from", "RFC 3339")
	f("/traces?from=-1h&to=-2h", "bad_parameter", "to", "after from")
	f("/traces?limit=501", "bad_parameter", "limit", "1 to 500")
	f("/traces?limit=0", "bad_parameter", "limit", "1 to 500")
	f("/traces?min_latency=fast", "bad_parameter", "min_latency", "250ms")
	f("/traces?min_latency=-1s", "bad_parameter", "min_latency", "positive")
	f("/traces?errors=maybe", "bad_parameter", "errors", "true or false")
	f("/traces?before=now", "bad_parameter", "before", "nanoseconds")
	f("/traces?project=default", "bad_parameter", "project", "number")
	f("/traces?servcie=orders", "unknown_parameter", "servcie", "service")
	f("/traces?service=a&service=b", "bad_parameter", "service", "one value")
	f("/traces?service="+strings.Repeat("x", 257), "bad_parameter", "service", "256 bytes")
	f("/traces?service=%zz", "bad_query", "", "name=value")
	f("/traces/123", "bad_parameter", "id", "32 hex")
	f("/traces/00000000000000000000000000000000", "bad_parameter", "id", "32 hex")
	f("/hops?order=random", "bad_parameter", "order", "newest or slowest")
	f("/issues/x", "bad_parameter", "id", "number")
	f("/issues/7/events/nothex", "bad_parameter", "event", "latest")
	f("/status?from=-1h", "unknown_parameter", "from", "project")
}

func TestWhatIsNotThereIsSaid(t *testing.T) {
	h := newHandler(t, fakestore.Orders(testNow))
	f := func(path, code string) {
		t.Helper()
		if e := get[Problem](t, h, path, http.StatusNotFound); e.Code != code || e.Detail == "" || e.WayOut == "" {
			t.Errorf("GET %s = %+v; want code %s with message and hint", path, e, code)
		}
	}
	f("/traces/4f6c9e0b00000000000000000000dead", "trace_not_found")
	f("/issues/999", "issue_not_found")
	f("/issues/7/events/00000000000000000000000000000000", "event_not_found")
	f("/traces?project=42", "project_not_found")
	f("/nothing", "no_such_route")
}

func TestAnEventOfAnotherIssueIsNotFound(t *testing.T) {
	store := fakestore.Orders(testNow)
	h := newHandler(t, store)
	id := ""
	for _, e := range store.AllEvents {
		if e.Issue == 8 {
			id = e.ID.String()
		}
	}
	get[Problem](t, h, "/issues/7/events/"+id, http.StatusNotFound)
	get[EventDetail](t, h, "/issues/8/events/"+id, http.StatusOK)
}

func TestAMethodThatARouteHasNotIsRefusedByName(t *testing.T) {
	h := newHandler(t, fakestore.Orders(testNow))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodPut, "/api/v1/traces", nil))
	if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET" {
		t.Errorf("PUT: status %d, Allow %q", w.Code, w.Header().Get("Allow"))
	}
}

func TestAPageOfAnotherSiteMayNotAct(t *testing.T) {
	h := newHandler(t, fakestore.Orders(testNow))
	f := func(header, value string, refused bool) {
		t.Helper()
		r := httptest.NewRequest(http.MethodPost, "/api/v1/nothing", nil)
		r.Header.Set(header, value)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if got := w.Code == http.StatusForbidden; got != refused {
			t.Errorf("%s: %s gives status %d", header, value, w.Code)
		}
	}
	f("Origin", "https://evil.example", true)
	f("Origin", "null", true)
	f("Sec-Fetch-Site", "cross-site", true)
	f("Sec-Fetch-Site", "same-site", true)
	f("Sec-Fetch-Site", "same-origin", false)
	f("Origin", "http://example.com", false) // httptest's own host
}

func TestFaultsOfTheStoreBecomeCodes(t *testing.T) {
	f := func(err error, status int, code string) {
		t.Helper()
		store := fakestore.Orders(testNow)
		store.Err = err
		h := newHandler(t, store)
		for _, path := range []string{"/status", "/names", "/traces", "/traces/" + fakestore.Fast.String(), "/topics", "/hops", "/issues", "/issues/7", "/issues/7/events/latest"} {
			e := get[Problem](t, h, path, status)
			if e.Code != code || strings.Contains(e.Detail, "secret") {
				t.Errorf("%v on %s = %+v; want code %s", err, path, e, code)
			}
		}
	}
	f(exporters.ErrUnavailable, http.StatusServiceUnavailable, "store_unavailable")
	f(errors.New("dial secret:9000"), http.StatusInternalServerError, "internal")
}

func TestASlowStoreIsCutByTheTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := fakestore.Orders(testNow)
		store.Block = true
		h := newHandler(t, store, func(c *Config) { c.QueryTimeout = 3 * time.Second })
		began := time.Now()
		if e := get[Problem](t, h, "/topics", http.StatusGatewayTimeout); e.Code != "query_timeout" {
			t.Errorf("code %q, want query_timeout", e.Code)
		}
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("took %s, want 3s", took)
		}
	})
}

func TestTooManyQuestionsAtOnceAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := fakestore.Orders(testNow)
		store.Block = true
		h := newHandler(t, store, func(c *Config) { c.MaxConcurrent = 1 })
		done := make(chan struct{})
		go func() {
			defer close(done)
			get[Problem](t, h, "/topics", http.StatusGatewayTimeout)
		}()
		synctest.Wait()
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/v1/topics", nil))
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
			t.Errorf("second question: status %d, Retry-After %q; want 503 with a time", w.Code, w.Header().Get("Retry-After"))
		}
		<-done
	})
}

func TestLargeAnswersAreCompressedWhenAskedFor(t *testing.T) {
	h := newHandler(t, fakestore.Orders(testNow))
	r := httptest.NewRequest(http.MethodGet, "/api/v1/traces", nil)
	r.Header.Set("Accept-Encoding", "br, gzip;q=0.8")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	z, err := gzip.NewReader(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	var list TraceList
	if err := json.NewDecoder(z).Decode(&list); err != nil || len(list.Traces) != 50 {
		t.Errorf("%d traces, err %v; want 50", len(list.Traces), err)
	}
	r.Header.Set("Accept-Encoding", "gzip;q=0")
	w = httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Header().Get("Content-Encoding") != "" {
		t.Error("compressed although the reader refused it")
	}
}

func TestStatusHasDSNsAndAsksForDataOnlyUntilThereIsSome(t *testing.T) {
	store := fakestore.Orders(testNow)
	spans, issues := store.AllSpans, store.AllIssues
	store.AllSpans, store.AllIssues = nil, nil
	h := newHandler(t, store)
	s := get[Status](t, h, "/status", http.StatusOK)
	if s.HasSpans || s.HasEvents {
		t.Errorf("an empty store has spans %v, events %v", s.HasSpans, s.HasEvents)
	}
	if want := "http://9a1f3b5c7d9e0a2b4c6d8e0f1a3b5c7d@127.0.0.1:4318/1"; len(s.Projects) != 1 || len(s.Projects[0].DSNs) != 1 || s.Projects[0].DSNs[0] != want {
		t.Errorf("projects %+v; want one with DSN %s", s.Projects, want)
	}
	store.AllSpans, store.AllIssues = spans, issues
	for range 3 {
		if s = get[Status](t, h, "/status", http.StatusOK); !s.HasSpans || !s.HasEvents {
			t.Errorf("a full store has spans %v, events %v", s.HasSpans, s.HasEvents)
		}
	}
	if n := store.Asked["FindTraces"]; n != 2 {
		t.Errorf("asked for traces %d times, want 2: once without and once with", n)
	}
}

func TestTracesAreFilteredAndPaged(t *testing.T) {
	h := newHandler(t, fakestore.Orders(testNow))
	all := 0
	path := "/traces?limit=60"
	for before := ""; ; {
		list := get[TraceList](t, h, path+before, http.StatusOK)
		all += len(list.Traces)
		if list.Next == nil {
			break
		}
		before = "&before=" + string(*list.Next)
	}
	if all != 289 {
		t.Errorf("paging gave %d traces, want 289", all)
	}
	list := get[TraceList](t, h, "/traces?topic=imports", http.StatusOK)
	if len(list.Traces) != 2 {
		t.Errorf("topic imports has %d traces, want 2", len(list.Traces))
	}
	if list = get[TraceList](t, h, "/traces?min_latency=2h", http.StatusOK); len(list.Traces) != 1 || list.Traces[0].TraceID != fakestore.Backlogged.String() {
		t.Errorf("slow traces = %+v; want the one with the backlog", list.Traces)
	}
	if list = get[TraceList](t, h, "/traces?from=-10s&errors=true", http.StatusOK); len(list.Traces) != 0 || list.Traces == nil || list.Finding.Rule != "no-match" {
		t.Errorf("no match = %+v, want an empty list with its finding", list)
	}
}

func TestTopicsHaveEveryKnownPartInTimeOrder(t *testing.T) {
	h := newHandler(t, fakestore.Orders(testNow))
	list := get[TopicList](t, h, "/topics", http.StatusOK)
	for _, line := range list.Topics {
		if line.Topic == "payments" && line.Group == "payments" {
			var names []string
			for _, p := range line.Parts {
				names = append(names, p.Name)
			}
			if got, want := strings.Join(names, " "), "batch_queue retry ack backlog long_poll fetch_queue processing residence end_to_end"; got != want {
				t.Errorf("parts %q, want %q", got, want)
			}
			return
		}
	}
	t.Fatalf("no line of payments in %+v", list.Topics)
}

func TestHopsAreSlowestFirstOnRequest(t *testing.T) {
	h := newHandler(t, fakestore.Orders(testNow))
	list := get[HopList](t, h, "/hops?topic=payments&order=slowest&limit=3", http.StatusOK)
	if len(list.Hops) != 3 || list.Hops[0].Consumer.TraceID != fakestore.Backlogged.String() || list.Hops[0].EndToEnd.Ns < list.Hops[1].EndToEnd.Ns {
		t.Errorf("slowest hops begin with %+v", list.Hops[0])
	}
}

func TestWithoutAProjectEveryListIsEmpty(t *testing.T) {
	h := newHandler(t, &fakestore.Store{})
	if s := get[Status](t, h, "/status", http.StatusOK); s.Projects == nil || len(s.Projects) != 0 {
		t.Errorf("projects %v, want an empty list", s.Projects)
	}
	get[TraceList](t, h, "/traces", http.StatusOK)
	get[TopicList](t, h, "/topics", http.StatusOK)
	get[IssueList](t, h, "/issues", http.StatusOK)
}

func TestAMissingReaderIsNamed(t *testing.T) {
	_, err := New(Config{}, Deps{Spans: &fakestore.Store{}}, nil, nil)
	if err == nil || !strings.Contains(err.Error(), "Messages") || !strings.Contains(err.Error(), "Blobs") || strings.Contains(err.Error(), "Spans") {
		t.Errorf("err = %v; want Messages and Blobs named, not Spans", err)
	}
}

func TestUnknownTimesAreNullNotZero(t *testing.T) {
	m := schemas.Message{Side: schemas.SideProduce, Topic: "t", Partition: schemas.Unknown, Offset: schemas.Unknown, HighWatermark: schemas.Unknown, BodySize: schemas.Unknown, Start: 5, End: 9}
	hop := hopJSON(joined{Hop: schemas.Hop{Produce: &m}, delivery: 1})
	if hop.Partition != nil || hop.Offset != nil || hop.Record.Size != nil || hop.Record.Timestamp != nil || hop.Record.Appended != nil || hop.Record.KeyHash != nil || hop.Behind != nil {
		t.Errorf("unknown values are shown as known: %+v", hop)
	}
	for _, p := range hop.Parts {
		if p.Known || p.From != nil || p.To != nil {
			t.Errorf("part %s is shown as known: %+v", p.Name, p)
		}
	}
}
