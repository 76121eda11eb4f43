package integration

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
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
