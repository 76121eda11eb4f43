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

	"github.com/hoptrace/hoptrace/schemas"
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
			var told struct{ ID string }
			if err := json.Unmarshal([]byte(answer.body), &told); err != nil {
				t.Fatalf("the answer %q: %v", answer.body, err)
			}
			switch what {
			case "error", "chained", "message", "attachment", "event", "uncaught", "rejection", "limited-by-quota":
				records := h.kafka.taken(schemas.TopicIngestEvents)
				if len(records) != 1 {
					t.Fatalf("%d records in %s, want 1", len(records), schemas.TopicIngestEvents)
				}
				if id := headerOf(records[0], schemas.HeaderEventID); id == "" || id != told.ID {
					t.Errorf("the record is of event %q, the answer of %q", id, told.ID)
				}
				if p := headerOf(records[0], schemas.HeaderProject); p != "4242" {
					t.Errorf("the record is of project %s, want 4242", p)
				}
			default:
				if n := len(h.kafka.taken(schemas.TopicIngestEvents)); n > 0 {
					t.Errorf("%d records in %s, want none", n, schemas.TopicIngestEvents)
				}
			}
		})
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

// add adds a project.
func (p *projects) add(x schemas.Project) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = append(p.all, x)
}
