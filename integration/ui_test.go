package integration

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/integration/harness"
)

// The UI in a real Chromium: first on a server where nothing has arrived, then
// on the example's data. The screenshots stay among the artefacts.
func TestUI(t *testing.T) {
	h := harness.StartHoptrace(t, harness.Options{})
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
	playwright(t, h, browser, "topology")
	playwright(t, h, browser, "errors")
	stopClean(t, h)
}

// playwright runs one file of integration/ui/tests.
func playwright(t *testing.T, h *harness.Hoptrace, browser, file string) {
	t.Helper()
	dir := filepath.Join(harness.Root(t), "integration", "ui")
	installNode(t, dir)
	p := harness.Start(t, harness.Command{
		Name: "playwright-" + file, Path: filepath.Join(dir, "node_modules", ".bin", "playwright"), Dir: dir,
		Args: []string{"test", file},
		Env: []string{
			"HOPTRACE_WEB=" + h.Web, "HOPTRACE_OTLP_HTTP=" + h.HTTP, "HOPTRACE_SHOTS=" + filepath.Join(harness.Artefacts(t), "screenshots"),
			"CHROMIUM=" + browser, "CI=1", "FORCE_COLOR=0",
		},
	})
	err := p.Wait(8 * time.Minute)
	t.Logf("%s:\n%s", file, p.Tail(60))
	if err != nil {
		t.Fatalf("the UI in Chromium: %v", err)
	}
}
