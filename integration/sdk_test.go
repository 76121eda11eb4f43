package integration

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getsentry/sentry-go"

	"github.com/hoptrace/hoptrace/integration/harness"
)

func TestSentrySDKsMakeIssues(t *testing.T) {
	h := harness.StartHoptrace(t, harness.Options{})
	dsn := h.DSN(t)
	t.Run("node", func(t *testing.T) { nodeSDKMakesIssues(t, h, dsn) })
	t.Run("go", func(t *testing.T) { goSDKMakesAnIssue(t, h, dsn) })
}

func nodeSDKMakesIssues(t *testing.T, h *harness.Hoptrace, dsn string) {
	var sent struct {
		SDK    string   `json:"sdk"`
		Events []string `json:"events"`
	}
	out := node(t, "send.mjs", "HOPTRACE_DSN="+dsn)
	if err := json.Unmarshal(out, &sent); err != nil {
		t.Fatalf("the program printed %q: %v", out, err)
	}
	t.Logf("real part: @sentry/node %s", sent.SDK)
	if len(sent.Events) != 3 {
		t.Fatalf("the program sent %d events, want 3", len(sent.Events))
	}
	empty := waitIssue(t, h, "StockEmpty: nothing left of sku-17", 2)
	broken := waitIssue(t, h, "SyntaxError", 1)
	if empty.ID == broken.ID {
		t.Error("two different errors are one issue")
	}
	if empty.Platform != "node" {
		t.Errorf("platform is %q, want node", empty.Platform)
	}
	var detail harness.IssueDetail
	h.MustGet(t, "issues/"+empty.ID, &detail)
	if len(detail.Issue.Grouping) == 0 {
		t.Error("the issue does not say why its events are one")
	}
	var ids []string
	for _, e := range detail.Events {
		ids = append(ids, e.ID)
		if e.Release != "shop@2026.11.3" || e.Environment != "integration" || !strings.Contains(e.SDK, sent.SDK) {
			t.Errorf("event %s has release %q, environment %q, SDK %q", e.ID, e.Release, e.Environment, e.SDK)
		}
	}
	for _, id := range []string{sent.Events[0], sent.Events[2]} {
		if !slices.Contains(ids, id) {
			t.Errorf("event %s is not in the issue; it has %v", id, ids)
		}
	}
	var event harness.EventDetail
	h.MustGet(t, "issues/"+empty.ID+"/events/"+sent.Events[0], &event)
	if event.Payload != "stored" || len(event.Exceptions) != 1 {
		t.Fatalf("the event has payload %q and %d exceptions, want stored and 1", event.Payload, len(event.Exceptions))
	}
	x := event.Exceptions[0]
	if x.Type != "StockEmpty" || len(x.Frames) < 2 || x.Frames[0].Function != "reserve" || !x.Frames[0].InApp {
		t.Errorf("the exception is %+v, want StockEmpty thrown in reserve", x)
	}
	if event.Message != nil {
		t.Errorf("no message caused it, but it shows %+v", event.Message)
	}
}

// cardDeclinedError is an error with a type of its own, for the issue's title.
type cardDeclinedError struct{ reason string }

func (e *cardDeclinedError) Error() string { return "card declined: " + e.reason }

func charge() error { return &cardDeclinedError{reason: "expired"} }

func goSDKMakesAnIssue(t *testing.T, h *harness.Hoptrace, dsn string) {
	t.Logf("real part: sentry-go %s", sentry.SDKVersion)
	client, err := sentry.NewClient(sentry.ClientOptions{Dsn: dsn, Release: "shop@2026.11.4", AttachStacktrace: true})
	if err != nil {
		t.Fatal(err)
	}
	id := client.CaptureException(fmt.Errorf("cannot charge: %w", charge()), &sentry.EventHint{}, sentry.NewScope())
	if id == nil {
		t.Fatal("sentry-go dropped the event")
	}
	if !client.Flush(20 * time.Second) {
		t.Fatal("sentry-go did not send the event within 20 s")
	}
	issue := waitIssue(t, h, "card declined: expired", 1)
	var event harness.EventDetail
	h.MustGet(t, "issues/"+issue.ID+"/events/"+string(*id), &event)
	if event.Payload != "stored" || len(event.Exceptions) == 0 {
		t.Fatalf("the event has payload %q and %d exceptions", event.Payload, len(event.Exceptions))
	}
	if event.Event.Release != "shop@2026.11.4" {
		t.Errorf("release is %q", event.Event.Release)
	}
}

// waitIssue waits for the one issue whose title has a text and that has so many events.
func waitIssue(t *testing.T, h *harness.Hoptrace, title string, events int) harness.Issue {
	t.Helper()
	var found harness.Issue
	harness.Until(t, fmt.Sprintf("an issue %q with %d events", title, events), 20*time.Second, func() error {
		var list harness.IssueList
		if err := h.Get("issues", &list); err != nil {
			return err
		}
		var matches []harness.Issue
		var titles []string
		for _, i := range list.Issues {
			titles = append(titles, fmt.Sprintf("%q (%d)", i.Title, i.Events))
			if strings.Contains(i.Title, title) {
				matches = append(matches, i)
			}
		}
		switch {
		case len(matches) > 1:
			return fmt.Errorf("%d issues have that title: %v", len(matches), titles)
		case len(matches) == 0:
			return fmt.Errorf("there are only %v", titles)
		case matches[0].Events != events:
			return fmt.Errorf("it has %d events", matches[0].Events)
		}
		found = matches[0]
		return nil
	})
	return found
}

func TestASecondProcessOnOneDirectoryIsRefused(t *testing.T) {
	h := harness.StartHoptrace(t, harness.Options{Name: "first"})
	second := harness.LaunchHoptrace(t, harness.Options{Name: "second", Data: h.Data})
	err := second.Process.Wait(20 * time.Second)
	if err == nil {
		t.Fatal("the second process ended without an error")
	}
	if strings.Contains(err.Error(), "did not end") {
		t.Fatal(err)
	}
	said := second.Process.Tail(50)
	if !strings.Contains(said, h.Data) || !strings.Contains(said, "in use") && !strings.Contains(said, "another process") && !strings.Contains(said, "already") {
		t.Errorf("the second process does not say that %s is in use:\n%s", h.Data, said)
	}
	t.Logf("it said: %s", second.Process.Tail(2))
	if err := harness.Healthy(t.Context(), h.Own+"/readyz"); err != nil {
		t.Errorf("the first process was disturbed: %v", err)
	}
	stopClean(t, h)
	// The lock goes with the process, not with a file left behind.
	third := harness.StartHoptrace(t, harness.Options{Name: "third", Data: h.Data})
	t.Logf("started again on the same directory, ready after %s", third.ReadyAfter.Round(time.Millisecond))
}
