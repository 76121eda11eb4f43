package integration

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/integration/harness"
)

// attachmentIsReadBack reads the event that came with an attachment, and the
// attachment's bytes.
func attachmentIsReadBack(t *testing.T, h *harness.Hoptrace, s *sentKinds) {
	id := s.Events["attachment"]
	e := eventsByID(t, h, []string{id})[id].detail
	s.within(t, "the event", e.Event.Time)
	if len(e.Exceptions) != 1 || e.Exceptions[0].Value != "cart is broken" {
		t.Errorf("the event's exceptions are %+v", e.Exceptions)
	}
	var list harness.FileList
	harness.Until(t, "the attachment of event "+id, 30*time.Second, func() error {
		if err := h.Get("events/"+id+"/attachments", &list); err != nil {
			return err
		}
		if len(list.Files) == 0 {
			return errors.New("there is none")
		}
		return nil
	})
	f := list.Files[0]
	if len(list.Files) != 1 || f.Name != "cart.json" || f.ContentType != "application/json" || f.Size != 11 || f.Type != "event.attachment" {
		t.Fatalf("the attachments are %+v", list.Files)
	}
	body, err := download(t.Context(), h.Web+f.Download)
	if err != nil || string(body) != `{"lines":3}` {
		t.Errorf("the attachment has the bytes %q, %v", body, err)
	}
}

func download(ctx context.Context, address string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, body)
	}
	return body, err
}

// feedbackIsReadBack reads what a user wrote. sentry-go has no call for it.
func feedbackIsReadBack(t *testing.T, h *harness.Hoptrace, s *sentKinds) {
	if s.SDK[:len("sentry.go")] == "sentry.go" {
		return
	}
	var found harness.Feedback
	harness.Until(t, "the feedback", 30*time.Second, func() error {
		var list harness.FeedbackList
		if err := h.Get("feedback?"+url.Values{"from": {strconv.FormatInt(s.from.UnixNano(), 10)}}.Encode(), &list); err != nil {
			return err
		}
		if len(list.Feedback) != 1 {
			return fmt.Errorf("there are %+v", list.Feedback)
		}
		found = list.Feedback[0]
		return nil
	})
	if found.Name != "Ada" || found.Email != "ada@example.com" || found.Message != "the button does nothing" {
		t.Errorf("the feedback is %+v", found)
	}
	if found.Event != "" && found.Event != s.Events["error"] {
		t.Errorf("the feedback is about event %s, want %s", found.Event, s.Events["error"])
	}
	if s.Feedback != "" && found.ID != s.Feedback {
		t.Errorf("the feedback is %s, the program sent %s", found.ID, s.Feedback)
	}
	s.within(t, "the feedback", found.Received)
}

// checkInIsReadBack reads the job that checked in, with its schedule and its one run.
// The browser has no jobs.
func checkInIsReadBack(t *testing.T, h *harness.Hoptrace, s *sentKinds) {
	if s.CheckIn == "" {
		if !strings.HasPrefix(s.SDK, "sentry.javascript.browser") {
			t.Errorf("%s checked in for nothing", s.SDK)
		}
		return
	}
	slug := "close-day-" + strings.TrimPrefix(t.Name()[:strings.LastIndexByte(t.Name(), '/')], "TestRealSDKsAreReadBack/")
	var runs harness.CheckInList
	harness.Until(t, "the end of the run of "+slug, 30*time.Second, func() error {
		if err := h.Get("monitors/"+slug+"/check-ins", &runs); err != nil {
			return err
		}
		if len(runs.CheckIns) != 1 || runs.CheckIns[0].Status != "ok" {
			return fmt.Errorf("there are %+v", runs.CheckIns)
		}
		return nil
	})
	run := runs.CheckIns[0]
	if id := strings.ReplaceAll(run.ID, "-", ""); id != strings.ReplaceAll(s.CheckIn, "-", "") {
		t.Errorf("the run is %s, the program began %s", run.ID, s.CheckIn)
	}
	if run.Duration == nil || *run.Duration != strconv.FormatInt(int64(time.Second), 10) {
		t.Errorf("the run took %v ns; the program said a second", run.Duration)
	}
	s.within(t, "the run", run.Time)
	var m harness.Monitor
	if err := h.Get("monitors/"+slug, &m); err != nil {
		t.Fatal(err)
	}
	if c := m.Config; c.ScheduleType != "crontab" || c.Crontab != "*/5 * * * *" || c.Timezone != "UTC" || c.CheckInMargin != 2 || c.MaxRuntime != 10 {
		t.Errorf("the job's configuration is %+v", m.Config)
	}
	if len(m.Environments) != 1 || m.Environments[0].Status != "ok" || m.Environments[0].Next == nil {
		t.Errorf("the job's state is %+v", m.Environments)
	}
}

// health is that of the one release that all programs say they are.
func health(t *testing.T, h *harness.Hoptrace) harness.Health {
	t.Helper()
	var list harness.ReleaseList
	if err := h.Get("releases", &list); err != nil {
		t.Fatal(err)
	}
	for _, r := range list.Releases {
		if r.Release == "shop@2.0.0" {
			return r.Health
		}
	}
	return harness.Health{}
}

// sessionsAreReadBack counts the sessions that the program added. sentry-go has none.
func sessionsAreReadBack(t *testing.T, h *harness.Hoptrace, s *sentKinds) {
	want, known := harness.Health{}, strings.HasPrefix(s.SDK, "sentry.go")
	for sdk, n := range sessionsOf {
		if strings.HasPrefix(s.SDK, sdk) {
			want, known = n, true
		}
	}
	if !known {
		t.Fatalf("nobody said which sessions %s makes", s.SDK)
	}
	harness.Until(t, "the sessions", 30*time.Second, func() error {
		now := health(t, h)
		added := harness.Health{
			Sessions: now.Sessions - s.before.Sessions, Crashed: now.Crashed - s.before.Crashed, Abnormal: now.Abnormal - s.before.Abnormal,
			Unhandled: now.Unhandled - s.before.Unhandled, Errored: now.Errored - s.before.Errored,
		}
		if added != want {
			return fmt.Errorf("it added %+v, want %+v", added, want)
		}
		return nil
	})
}

// sessionsOf is what the programs do: node a session of the process and one by hand,
// python one of an application and one of a request, java one by hand, the page the
// one of its opening, which fails by an uncaught error, and one by hand.
var sessionsOf = map[string]harness.Health{
	"sentry.javascript.node":    {Sessions: 2, Errored: 1},
	"sentry.python":             {Sessions: 2},
	"sentry.java/":              {Sessions: 1},
	"sentry.javascript.browser": {Sessions: 2, Unhandled: 1},
}
