package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/integration/harness"
)

// TestRealSDKsAreReadBack runs a program under each Sentry SDK, which sends each
// kind of item that the SDK knows, and reads all of it back by the API.
func TestRealSDKsAreReadBack(t *testing.T) {
	h := harness.StartHoptrace(t, harness.Options{})
	dsn := h.DSN(t)
	env := []string{"HOPTRACE_DSN=" + dsn}
	run := func(name string, send func(*testing.T) harness.Told) {
		t.Run(name, func(t *testing.T) {
			s := sentKinds{from: time.Now(), before: health(t, h)}
			s.Told = send(t)
			s.to = time.Now()
			t.Logf("real part: %s", s.SDK)
			for _, what := range []string{"error", "chained", "message", "attachment"} {
				if s.Events[what] == "" {
					t.Fatalf("the program sent no %s: %+v", what, s.Told)
				}
			}
			for _, read := range readBack {
				t.Run(read.what, func(t *testing.T) { read.with(t, h, &s) })
			}
		})
	}
	program := func(command func(testing.TB, []string) harness.Command) func(*testing.T) harness.Told {
		return func(t *testing.T) harness.Told {
			var told harness.Told
			out := harness.Output(t, 3*time.Minute, command(t, env))
			if err := json.Unmarshal(out, &told); err != nil {
				t.Fatalf("the program printed %q: %v", out, err)
			}
			return told
		}
	}
	run("go", program(harness.SentryGo))
	run("node", program(harness.SentryNode))
	run("python", program(harness.SentryPython))
	run("java", program(harness.SentryJava))
	run("browser", func(t *testing.T) harness.Told { return openPage(t, dsn) })
	t.Run("cli", func(t *testing.T) { cliIsReadBack(t, h, dsn) })
	stopClean(t, h)
}

// sentKinds is what one program sent, and when.
type sentKinds struct {
	harness.Told
	from, to time.Time
	before   harness.Health // of the release, before the program ran
}

// within tells whether the API's nanoseconds lie in the time of sending. SDKs
// round to milliseconds.
func (s *sentKinds) within(t *testing.T, what, nanos string) {
	t.Helper()
	n, err := strconv.ParseInt(nanos, 10, 64)
	if err != nil {
		t.Fatalf("%s: the time %q: %v", what, nanos, err)
	}
	if at := time.Unix(0, n); at.Before(s.from.Add(-10*time.Millisecond)) || at.After(s.to.Add(10*time.Millisecond)) {
		t.Errorf("%s is said to be of %s, but was sent between %s and %s", what, at, s.from, s.to)
	}
}

// readBack are the kinds, each in its own file when there is more to it.
var readBack = []struct {
	what string
	with func(*testing.T, *harness.Hoptrace, *sentKinds)
}{
	{"events", eventsAreReadBack},
	{"trace", traceIsReadBack},
	{"log", logIsReadBack},
	{"metric", metricIsReadBack},
	{"attachment", attachmentIsReadBack},
	{"feedback", feedbackIsReadBack},
	{"check-in", checkInIsReadBack},
	{"session", sessionsAreReadBack},
}

// openPage opens the page of integration/browser, behind a proxy that sees what
// the browser asks. The SDK sends a header of its own, so the browser must ask
// for leave first.
func openPage(t *testing.T, dsn string) harness.Told {
	t.Helper()
	at, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	asked := map[string]int{}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: at.Scheme, Host: at.Host})
	front := &http.Server{ReadHeaderTimeout: time.Minute, Addr: harness.FreeAddress(t), Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		mu.Lock()
		asked[req.Method]++
		mu.Unlock()
		proxy.ServeHTTP(w, req)
	})}
	ended := make(chan error, 1)
	go func() { ended <- front.ListenAndServe() }()
	defer func() {
		_ = front.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("the proxy before hoptrace: %v", err)
		}
	}()
	at.Host = front.Addr
	page, told := harness.SentryBrowser(t, url.Values{"dsn": {at.String()}, "preflight": {"1"}})
	t.Logf("real part: Chromium %s", page.Browser)
	mu.Lock()
	defer mu.Unlock()
	if asked[http.MethodOptions] == 0 || asked[http.MethodPost] < 6 {
		t.Errorf("the browser asked %v, want a preflight and at least 6 envelopes", asked)
	}
	return told
}

// foundEvent is an event with the issue that it is part of.
type foundEvent struct {
	issue  harness.Issue
	detail harness.EventDetail
}

// eventsByID waits until all events can be found, and reads them.
func eventsByID(t *testing.T, h *harness.Hoptrace, ids []string) map[string]foundEvent {
	t.Helper()
	issues := map[string]harness.Issue{}
	harness.Until(t, fmt.Sprintf("the events %v", ids), 30*time.Second, func() error {
		var list harness.IssueList
		if err := h.Get("issues?limit=200", &list); err != nil {
			return err
		}
		for _, issue := range list.Issues {
			var detail harness.IssueDetail
			if err := h.Get("issues/"+issue.ID, &detail); err != nil {
				return err
			}
			for _, e := range detail.Events {
				issues[e.ID] = issue
			}
		}
		for _, id := range ids {
			if issues[id].ID == "" {
				return fmt.Errorf("event %s is in none of %d issues", id, len(list.Issues))
			}
		}
		return nil
	})
	out := map[string]foundEvent{}
	for _, id := range ids {
		f := foundEvent{issue: issues[id]}
		h.MustGet(t, "issues/"+f.issue.ID+"/events/"+id, &f.detail)
		out[id] = f
	}
	return out
}

func eventsAreReadBack(t *testing.T, h *harness.Hoptrace, s *sentKinds) {
	sent := maps.Clone(s.Events)
	delete(sent, "attachment") // takes another way, with its attachment
	found := eventsByID(t, h, slices.Collect(maps.Values(sent)))
	event := func(what string, values ...string) harness.EventDetail {
		t.Helper()
		f := found[s.Events[what]]
		e := f.detail
		s.within(t, what, e.Event.Time)
		if e.Payload != "stored" || e.Event.Release != "shop@2.0.0" || e.Event.Environment != "integration" || e.Event.SDK != s.SDK {
			t.Errorf("%s: payload %s, release %q, environment %q, SDK %q (want %q)", what, e.Payload, e.Event.Release, e.Event.Environment, e.Event.SDK, s.SDK)
		}
		var got []string
		for _, x := range e.Exceptions {
			got = append(got, x.Value)
		}
		ok := len(got) == len(values)
		for i := range values {
			ok = ok && strings.Contains(got[i], values[i])
		}
		if !ok {
			t.Errorf("%s: the exceptions, the one that was caught first, are %q; want ones with %q", what, got, values)
		}
		return e
	}
	declined := event("error", "card of order 17 declined")
	if x := declined.Exceptions[0]; !strings.Contains(strings.ToLower(x.Type), "declined") || len(x.Frames) == 0 {
		t.Errorf("the error is of type %q with %d frames", x.Type, len(x.Frames))
	}
	if declined.Event.TraceID != s.Trace {
		t.Errorf("the error is of trace %s, want %s", declined.Event.TraceID, s.Trace)
	}
	event("chained", "cannot pay", "bank", "card of order 18 declined")
	if s.Events["uncaught"] != "" { // a page's
		event("uncaught", "card of order 19 declined")
		event("rejection", "card of order 20 declined")
	}
	if title := found[s.Events["message"]].issue.Title; title != "stock is low" {
		t.Errorf("the message's issue is called %q", title)
	}
	s.within(t, "message", found[s.Events["message"]].detail.Event.Time)
	issues := map[string]string{}
	for what, id := range sent {
		if other := issues[found[id].issue.ID]; other != "" {
			t.Errorf("%s and %s are one issue", what, other)
		}
		issues[found[id].issue.ID] = what
	}
}

func traceIsReadBack(t *testing.T, h *harness.Hoptrace, s *sentKinds) {
	var journey harness.Journey
	harness.Until(t, "the trace "+s.Trace+" has its spans and its error", 30*time.Second, func() error {
		if err := h.Get("traces/"+s.Trace, &journey); err != nil {
			return err
		}
		if len(journey.Spans) < 2 || len(journey.Events) == 0 {
			return fmt.Errorf("it has %d spans and %d events", len(journey.Spans), len(journey.Events))
		}
		return nil
	})
	root := slices.IndexFunc(journey.Spans, func(x harness.Span) bool { return x.SpanID == s.Span })
	child := slices.IndexFunc(journey.Spans, func(x harness.Span) bool { return x.ParentID == s.Span })
	if root < 0 || child < 0 {
		t.Fatalf("the spans are %+v; want %s and a child of it", journey.Spans, s.Span)
	}
	if name := journey.Spans[root].Name; name != "pay" {
		t.Errorf("the span is called %q, want pay", name)
	}
	s.within(t, "the span", journey.Spans[root].Start)
	s.within(t, "the span's end", journey.Spans[root].End)
	if !slices.ContainsFunc(journey.Events, func(e harness.EventRef) bool { return e.ID == s.Events["error"] }) {
		t.Errorf("the trace's events are %+v; want the error %s", journey.Events, s.Events["error"])
	}
}

func logIsReadBack(t *testing.T, h *harness.Hoptrace, s *sentKinds) {
	var list harness.LogList
	harness.Until(t, "the log of trace "+s.Trace, 30*time.Second, func() error {
		if err := h.Get("logs?trace="+s.Trace, &list); err != nil {
			return err
		}
		if len(list.Logs) == 0 {
			return fmt.Errorf("there is none")
		}
		return nil
	})
	if len(list.Logs) != 1 {
		t.Fatalf("the trace has %d logs, want 1: %+v", len(list.Logs), list.Logs)
	}
	l := list.Logs[0]
	if l.Body != "order 17 is late" || l.Level != "warn" || l.Origin != "sentry" || l.TraceID != s.Trace {
		t.Errorf("the log is %+v", l)
	}
	s.within(t, "the log", l.Time)
}

func metricIsReadBack(t *testing.T, h *harness.Hoptrace, s *sentKinds) {
	harness.Until(t, "the metric orders", 30*time.Second, func() error {
		var list harness.MetricList
		if err := h.Get("metrics?"+url.Values{"from": {strconv.FormatInt(s.from.UnixNano(), 10)}}.Encode(), &list); err != nil {
			return err
		}
		for _, m := range list.Metrics {
			if m.Name == "orders" {
				s.within(t, "the metric", m.LastSeen)
				return nil
			}
		}
		return fmt.Errorf("there are only %+v", list.Metrics)
	})
}

// cliIsReadBack sends as scripts and cron jobs do.
func cliIsReadBack(t *testing.T, h *harness.Hoptrace, dsn string) {
	s := sentKinds{from: time.Now()}
	for _, args := range harness.SentryCLICalls(t) {
		out := harness.Output(t, time.Minute, harness.SentryCLI(t, dsn, args...))
		t.Logf("sentry-cli %s: %s", args[0], strings.TrimSpace(string(out)))
	}
	s.to = time.Now()
	for _, title := range []string{"deploy of", "an envelope from a file"} {
		issue := waitIssue(t, h, title, 1)
		var detail harness.IssueDetail
		h.MustGet(t, "issues/"+issue.ID, &detail)
		if len(detail.Events) != 1 {
			t.Fatalf("the issue %q has %d events", title, len(detail.Events))
		}
		e := detail.Events[0]
		s.within(t, title, e.Time)
		if e.Release != "shop@2.0.0" {
			t.Errorf("%s: release %q", title, e.Release)
		}
	}
}
