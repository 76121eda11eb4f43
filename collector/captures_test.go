package collector

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/schemas/topics"
	"github.com/hoptrace/hoptrace/schemas/wire"
)

// The project that the captured requests address.
const (
	capturedKey     = "c0ffee00c0ffee00c0ffee00c0ffee00"
	capturedProject = 4242
)

// TestRequestsOfRealSDKsAreTakenByteForByte sends the requests of
// testdata/captures, which integration/golden captured from real SDKs, as they
// are: with their own framing, compression, credentials and lack of content type.
func TestRequestsOfRealSDKsAreTakenByteForByte(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "captures", "*", "*.http"))
	if err != nil || len(files) < 60 {
		t.Fatalf("found %d captures, %v; want at least 60", len(files), err)
	}
	h := newHouse(t, nil)
	h.projects.add(schemas.Project{ID: capturedProject, Slug: "captured", Keys: []string{capturedKey}})
	for _, file := range files {
		t.Run(strings.TrimPrefix(file, filepath.Join("testdata", "captures")+"/"), func(t *testing.T) {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			answer := h.replay(t, raw)
			answer.want(t, http.StatusOK)
			sdk, what := filepath.Base(filepath.Dir(file)), strings.TrimSuffix(filepath.Base(file), ".http")
			what, _, _ = strings.Cut(what, ".")
			if answer.header.Get("Access-Control-Allow-Origin") == "" && sdk == "browser" {
				t.Error("a browser would not let the page read the answer: it has no Access-Control-Allow-Origin")
			}
			want, ok := topicsOf[what]
			if sdk == "java" && what == "limited-by-quota" {
				want, ok = topicsOf["attachment"], true // its scope still has the attachment
			}
			if !ok {
				t.Fatalf("which topics is %q for? The table does not say", what)
			}
			got := h.kafka.takenByTopic()
			counts := map[string]int{}
			for topic, records := range got {
				counts[topic] = len(records)
				for _, r := range records {
					if p := headerOf(r, schemas.HeaderProject); p != "4242" {
						t.Errorf("a record in %s is of project %q, want 4242", topic, p)
					}
				}
			}
			delete(counts, topics.Outcomes) // the ledger has its own tests
			if d := cmp.Diff(want, counts); d != "" {
				t.Errorf("records by topic (-want +got):\n%s", d)
			}
			for _, r := range append(got[topics.IngestEvents], got[topics.IngestTransactions]...) {
				event(t, r, answer.body)
			}
		})
	}
}

// topicsOf says how many records the requests make, by what they are called after.
var topicsOf = map[string]map[string]int{
	"error":            {topics.IngestEvents: 1},
	"chained":          {topics.IngestEvents: 1},
	"message":          {topics.IngestEvents: 1},
	"event":            {topics.IngestEvents: 1},
	"uncaught":         {topics.IngestEvents: 1},
	"rejection":        {topics.IngestEvents: 1},
	"limited-by-quota": {topics.IngestEvents: 1},
	"attachment":       {topics.IngestAttachments: 2}, // a chunk, and the event behind it
	"attachment-alone": {topics.IngestAttachments: 2}, // a chunk, and what it is
	"transaction":      {topics.IngestTransactions: 1},
	"span":             {topics.IngestSpans: 1},
	"log":              {topics.IngestLogs: 1},
	"trace_metric":     {topics.IngestMetrics: 1},
	"check_in":         {topics.IngestMonitors: 1},
	"session":          {topics.IngestSessions: 1},
	"sessions":         {topics.IngestSessions: 1},
	"feedback":         {topics.IngestFeedbackEvents: 1},
	"user_report":      {topics.IngestAttachments: 1},
	"client_report":    {},
}

// event reads a record as the pipeline does, and compares it with the answer.
func event(t *testing.T, r *kgo.Record, answer string) {
	t.Helper()
	var told struct{ ID string }
	if err := json.Unmarshal([]byte(answer), &told); err != nil {
		t.Fatalf("the answer %q: %v", answer, err)
	}
	var e wire.IngestEvent
	if err := e.DecodeMsgpack(r.Value); err != nil {
		t.Fatalf("a record in %s: %v", r.Topic, err)
	}
	var payload struct {
		ID string `json:"event_id"`
	}
	if err := json.Unmarshal(e.Payload, &payload); err != nil {
		t.Fatalf("the payload of a record in %s: %v", r.Topic, err)
	}
	header := headerOf(r, schemas.HeaderEventID)
	if told.ID == "" || e.EventID != told.ID || payload.ID != told.ID || header != told.ID {
		t.Errorf("the answer has the id %q, the record %q, its payload %q, its header %q", told.ID, e.EventID, payload.ID, header)
	}
	if e.ProjectID != capturedProject || e.StartTime <= 0 {
		t.Errorf("the record is of project %d at %d", e.ProjectID, e.StartTime)
	}
}

// replay sends bytes as they are and reads the answer.
func (h *house) replay(t *testing.T, raw []byte) answer {
	t.Helper()
	conn, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(t.Context(), "tcp", h.HTTPAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.Copy(conn, bytes.NewReader(raw)); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(body)}
}

// takenByTopic empties it.
func (m *memory) takenByTopic() map[string][]*kgo.Record {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[string][]*kgo.Record{}
	for _, r := range m.records {
		out[r.Topic] = append(out[r.Topic], r)
	}
	m.records = nil
	return out
}

// add adds a project.
func (p *projects) add(x schemas.Project) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = append(p.all, x)
}
