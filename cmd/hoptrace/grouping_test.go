package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hoptrace/hoptrace/pipeline/group"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/web/api"
	"github.com/hoptrace/hoptrace/web/testdata/fakestore"
)

// recent lets the fake store list all events of a project.
type recent struct{ *fakestore.Store }

func (r recent) RecentEvents(_ context.Context, project uint64, limit int) (out []schemas.Event, _ error) {
	for _, e := range r.AllEvents {
		if e.Project == project && len(out) < limit {
			out = append(out, e)
		}
	}
	return out, nil
}

// groupingServer serves a project with four events of two functions and one whose
// payload is gone.
func groupingServer(t *testing.T) string {
	t.Helper()
	store := &fakestore.Store{AllProjects: []schemas.Project{{ID: 1, Slug: "shop"}}, AllBlobs: map[string][]byte{}}
	for i := range 5 {
		e := schemas.Event{Project: 1, ID: schemas.EventID{15: byte(i + 1)}, Received: 1_790_000_000_000_000_000, Fingerprint: schemas.Fingerprint{9}}
		store.AllEvents = append(store.AllEvents, e)
		if i == 4 {
			continue
		}
		store.AllBlobs[schemas.EventBlobKey(1, e.ID)] = fmt.Appendf(nil, `{"platform":"go","exception":[{"type":"E","value":"order %d","stacktrace":{"frames":[
			{"module":"shop","function":"%s","in_app":true},{"module":"shop/util","function":"must","in_app":true}]}}]}`, i, []string{"charge", "refund"}[i%2])
	}
	h, err := api.New(api.Config{}, api.Deps{
		Spans: store, Messages: store, Metrics: store, Clocks: store, Logs: store, Ledger: store, Events: store, Issues: store, IssueEvents: store, Joined: store, Projects: store, Blobs: store, Nodes: store,
		Regrouper: &regrouper{events: recent{store}, nodes: store, blobs: store, groupers: group.NewCache(0)},
	}, prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func TestGroupingPreviewTellsWhatRulesWouldDo(t *testing.T) {
	server := groupingServer(t)
	file := filepath.Join(t.TempDir(), "rules")
	if err := os.WriteFile(file, []byte("module:shop -group\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := command(nil, "grouping", "preview", "--server", server, "--enhancements", file, "--last=100")
	if code != 0 {
		t.Fatalf("ended with %d: %s", code, stderr)
	}
	for _, want := range []string{"4 events, 4 of them would move; 2 issues become 1; 1 payloads are gone", "Merges (1):", "E: order 0, 4 events, of 2:", "- frame shop.charge", "+ frame shop/util.must"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in\n%s", want, stdout)
		}
	}
	// The project's own rules move nothing.
	if _, stdout, _ = command(nil, "grouping", "preview", "--server", server); !strings.Contains(stdout, "0 of them would move; 2 issues become 2") {
		t.Errorf("own rules: %s", stdout)
	}
}

func TestGroupingFaultsNameTheWayOut(t *testing.T) {
	server := groupingServer(t)
	file := filepath.Join(t.TempDir(), "rules")
	if err := os.WriteFile(file, []byte("# mine\nmodul:shop -group\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := func(code int, want string, args ...string) {
		t.Helper()
		got, _, stderr := command(nil, append([]string{"grouping"}, args...)...)
		if got != code || !strings.Contains(stderr, want) {
			t.Errorf("%v ended with %d, want %d and %q: %s", args, got, code, want, stderr)
		}
	}
	f(2, "preview or explain")
	f(2, `no command "try"`, "try")
	f(2, "--last", "preview", "--last", "0")
	f(2, "no flag --nope", "preview", "--nope=1")
	f(2, "one event id", "explain")
	f(1, "line 2, column 1", "preview", "--server", server, "--enhancements", file)
	f(1, "no such file", "preview", "--server", server, "--enhancements", file+"x")
	f(1, "there is no project 7", "preview", "--server", server, "--project", "7")
	f(1, "32 hex digits", "explain", "--server", server, "abc")
	f(1, "has no event", "explain", "--server", server, "00000000000000000000000000000009")
	f(1, "has no event 00000000000000000000000000000005 with a payload", "explain", "--server", server, "00000000000000000000000000000005")
	f(1, "is it running", "explain", "--server", "http://127.0.0.1:1", "00000000000000000000000000000001")
}

func TestGroupingExplainShowsTheTree(t *testing.T) {
	code, stdout, stderr := command(nil, "grouping", "explain", "--server", groupingServer(t), "00000000000000000000000000000001")
	if code != 0 {
		t.Fatalf("ended with %d: %s", code, stderr)
	}
	for _, want := range []string{"E: order 0", "by hoptrace:2, strategy chained-exception", "the rules have changed since", "variant app", "+ function charge", "- value order <int>  (the stack counts instead)", "variant system: the variant app decides"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in\n%s", want, stdout)
		}
	}
}
