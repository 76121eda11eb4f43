package integration

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hoptrace/hoptrace/integration/awkward/cases"
	"github.com/hoptrace/hoptrace/integration/harness"
)

// The UI in a real Chromium: first on a server where nothing has arrived, then
// on the example's data. The screenshots stay among the artefacts.
func TestUI(t *testing.T) {
	// Said last, below the server's log: a report often shows the end only.
	var failed []string
	t.Cleanup(func() {
		for _, f := range failed {
			t.Log(f)
		}
	})
	playwright := func(t *testing.T, h *harness.Hoptrace, browser, file string) {
		t.Helper()
		if f := playwright(t, h, browser, file); f != "" {
			failed = append(failed, f)
			t.Fail() // and on with the next: one red page hides no other
		}
	}
	h := harness.StartHoptrace(t, harness.Options{Settings: map[string]string{"lagwatch.interval": "2s", "lagwatch.window": "10s"}})
	browser := harness.Chromium(t)
	version, err := exec.CommandContext(t.Context(), browser, "--version").Output()
	if err != nil {
		t.Fatalf("cannot ask %s for its version: %v", browser, err)
	}
	t.Logf("real part: %s", strings.TrimSpace(string(version)))
	playwright(t, h, browser, "first-run")
	run := runOrders(t, h, ordersRun{count: 600, rate: 100})
	harness.WaitDrained(t, h.Kafka, time.Minute, "ingest-spans", "ingest-events", "events")
	waitIssue(t, h, "CARD_DECLINED", run.ErrorsReported)
	playwright(t, h, browser, "pages")
	playwright(t, h, browser, "waterfall")
	playwright(t, h, browser, "topology")
	playwright(t, h, browser, "search")
	playwright(t, h, browser, "clocks")
	playwright(t, h, browser, "topics")
	playwright(t, h, browser, "errors")
	stopGroup(t, h, "ui-stopped", "orders")
	playwright(t, h, browser, "lag")
	playwright(t, h, browser, "journey")
	sendAwkward(t, h) // last: it is many times the example's data
	playwright(t, h, browser, "health")
	stopClean(t, h)
}

// sendAwkward fills the server with what a UI must bear, and waits until it is stored.
func sendAwkward(t *testing.T, h *harness.Hoptrace) {
	t.Helper()
	if _, err := cases.Send(t.Context(), cases.Config{OTLP: h.HTTP, DSN: h.DSN(t), Kafka: h.Kafka, Seed: 1}); err != nil {
		t.Fatalf("cannot send the awkward cases: %v", err)
	}
	harness.WaitDrained(t, h.Kafka, time.Minute, "ingest-spans", "ingest-metrics", "ingest-events", "events")
}

// stopGroup leaves a consumer group that has committed the begin of a topic and has
// no member.
func stopGroup(t *testing.T, h *harness.Hoptrace, group, topic string) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(h.Kafka))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	starts, err := adm.ListStartOffsets(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	if err := adm.CommitAllOffsets(t.Context(), group, starts.Offsets()); err != nil {
		t.Fatalf("cannot commit for group %s: %v", group, err)
	}
}

// playwright runs one file of integration/ui/tests and returns what failed, if anything.
func playwright(t *testing.T, h *harness.Hoptrace, browser, file string) string {
	t.Helper()
	dir := filepath.Join(harness.Root(t), "integration", "ui")
	installNode(t, dir)
	p := harness.Start(t, harness.Command{
		Name: "playwright-" + file, Path: filepath.Join(dir, "node_modules", ".bin", "playwright"), Dir: dir,
		Args: []string{"test", file + ".spec"}, // it is looked for in the whole path
		Env: []string{
			"HOPTRACE_WEB=" + h.Web, "HOPTRACE_OTLP_HTTP=" + h.HTTP, "HOPTRACE_SHOTS=" + filepath.Join(harness.Artefacts(t), "screenshots"),
			"CHROMIUM=" + browser, "CI=1", "FORCE_COLOR=0",
		},
	})
	if err := p.Wait(8 * time.Minute); err != nil {
		return fmt.Sprintf("%s in Chromium: %v:\n%s", file, err, p.Tail(60))
	}
	t.Logf("%s:\n%s", file, p.Tail(60))
	return ""
}
