package api

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hoptrace/hoptrace/web/testdata/fakestore"
)

var testNow = time.Date(2026, 11, 23, 16, 0, 0, 0, time.UTC)

func newHandler(t *testing.T, store *fakestore.Store, change ...func(*Config)) *Handler {
	t.Helper()
	cfg := Config{Version: "test", Endpoints: Endpoints{Sentry: "http://127.0.0.1:4318"}}
	for _, c := range change {
		c(&cfg)
	}
	h, err := New(cfg, Deps{Spans: store, Messages: store, Metrics: store, Clocks: store, Logs: store, Ledger: store, Events: store, Issues: store, IssueEvents: store, Joined: store, Projects: store, Blobs: store, Nodes: store, Find: store, Search: store, Queries: store, TopicSums: store},
		prometheus.NewRegistry(), slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	h.now = func() time.Time { return testNow }
	return h
}

// get asks and decodes an answer that must have status want.
func get[T any](t *testing.T, h http.Handler, path string, want int) T {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/v1"+path, nil))
	if w.Code != want {
		t.Fatalf("GET %s: status %d, want %d: %s", path, w.Code, want, w.Body)
	}
	var out T
	d := json.NewDecoder(w.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&out); err != nil {
		t.Fatalf("GET %s: %v", path, err)
	}
	return out
}
