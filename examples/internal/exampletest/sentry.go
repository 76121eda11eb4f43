package exampletest

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// Event is an event of Sentry's, as far as the tests read it.
type Event struct {
	Release   string `json:"release"`
	Exception []struct {
		Type  string `json:"type"`
		Value string `json:"value"`
	} `json:"exception"`
	Message  string `json:"message"`
	Contexts struct {
		Trace struct {
			TraceID string `json:"trace_id"`
			SpanID  string `json:"span_id"`
		} `json:"trace"`
		Kafka map[string]any `json:"kafka"`
	} `json:"contexts"`
}

// Text is what it says: of its last exception, else its message.
func (e Event) Text() string {
	if n := len(e.Exception); n > 0 {
		return e.Exception[n-1].Value
	}
	return e.Message
}

// Sentry takes envelopes and keeps their events.
type Sentry struct {
	DSN string

	mu     sync.Mutex // guards the following
	events []Event
}

// NewSentry starts one for the time of the test.
func NewSentry(t testing.TB) *Sentry {
	t.Helper()
	s := &Sentry{}
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body := io.Reader(r.Body)
		if r.Header.Get("Content-Encoding") == "gzip" {
			z, err := gzip.NewReader(r.Body)
			if err != nil {
				t.Errorf("%s: %v", r.URL.Path, err)
				return
			}
			body = z
		}
		raw, err := io.ReadAll(io.LimitReader(body, 1<<20))
		if err != nil {
			t.Errorf("cannot read %s: %v", r.URL.Path, err)
			return
		}
		s.add(t, raw)
	}))
	t.Cleanup(server.Close)
	s.DSN = strings.Replace(server.URL, "://", "://0123456789abcdef0123456789abcdef@", 1) + "/1"
	return s
}

// add keeps the events of an envelope: a line of header, then for each item a
// line that names its type and a line with it.
func (s *Sentry) add(t testing.TB, envelope []byte) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	lines := bytes.Split(envelope, []byte("\n"))
	for i := 1; i+1 < len(lines); i += 2 {
		var header struct {
			Type string `json:"type"`
		}
		if len(lines[i]) == 0 {
			continue
		}
		if err := json.Unmarshal(lines[i], &header); err != nil {
			t.Errorf("an envelope's item has the header %q: %v", lines[i], err)
			return
		}
		if header.Type != "event" {
			continue
		}
		var e Event
		if err := json.Unmarshal(lines[i+1], &e); err != nil {
			t.Errorf("an envelope's event is %q: %v", lines[i+1], err)
			return
		}
		s.events = append(s.events, e)
	}
}

// Events returns the events that arrived.
func (s *Sentry) Events() []Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Event(nil), s.events...)
}
