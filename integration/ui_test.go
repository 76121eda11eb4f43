package integration

import (
	"encoding/json"
	"fmt"
	"os"
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
	playwright := func(t *testing.T, h *harness.Hoptrace, browser, file string, env ...string) {
		t.Helper()
		if f := playwright(t, h, browser, file, env...); f != "" {
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
	playwright(t, h, browser, "first-route")
	playwright(t, h, browser, "topology")
	playwright(t, h, browser, "search")
	playwright(t, h, browser, "clocks")
	playwright(t, h, browser, "topics")
	playwright(t, h, browser, "errors")
	playwright(t, h, browser, "lists")
	playwright(t, h, browser, "searching")
	playwright(t, h, browser, "links")
	stopGroup(t, h, "ui-stopped", "orders")
	playwright(t, h, browser, "lag")
	playwright(t, h, browser, "journey")
	playwright(t, h, browser, "waterfall") // here: its records of hours ago are none that the pages above reckon with
	awkward := sendAwkward(t, h)           // last: it is many times the example's data
	playwright(t, h, browser, "awkward", "HOPTRACE_AWKWARD="+awkward)
	playwright(t, h, browser, "awkward-looks", "HOPTRACE_AWKWARD="+awkward)
	playwright(t, h, browser, "reading", "HOPTRACE_AWKWARD="+awkward)
	playwright(t, h, browser, "steady", "HOPTRACE_AWKWARD="+awkward)
	playwright(t, h, browser, "health")   // after them: it discards dead letters
	playwright(t, h, browser, "settings") // last: it leaves a project
	stopClean(t, h)
	members, issuer := startMembers(t)
	playwright(t, members, browser, "access", "HOPTRACE_OIDC="+issuer)
	stopClean(t, members)
}

// TestPictures takes the pictures that README and docs show; see `make pictures`.
func TestPictures(t *testing.T) {
	dir := os.Getenv("PICTURES")
	if dir == "" {
		t.Skip("no test: `make pictures` takes the pictures of README and docs with it")
	}
	h := harness.StartHoptrace(t, harness.Options{Settings: map[string]string{"lagwatch.interval": "2s", "lagwatch.window": "10s"}})
	browser := harness.Chromium(t)
	take := func(stage string, env ...string) {
		t.Helper()
		if f := playwright(t, h, browser, "pictures", append(env, "HOPTRACE_PICTURES="+dir, "HOPTRACE_STAGE="+stage)...); f != "" {
			t.Error(f)
		}
	}
	// It goes on to the end, so that pages of now have something to tell.
	example := harness.Start(t, harness.Command{
		Name: "example", Path: harness.Orders(t),
		Args: []string{"--brokers", h.Kafka, "--otlp", h.GRPC, "--dsn", h.DSN(t), "--rate", "8"},
	})
	time.Sleep(3 * time.Minute)
	stopGroup(t, h, "reports", "orders")
	time.Sleep(15 * time.Second) // until the lag desk has watched it for its window
	take("example")
	take("awkward", "HOPTRACE_AWKWARD="+sendAwkward(t, h))
	if err := example.Stop(time.Minute); err != nil {
		t.Errorf("the example ended badly: %v", err)
	}
	stopClean(t, h)
}

// startMembers starts a server that an identity provider may sign people in to; the
// browser's test makes the members and plays the provider at issuer. It has a dead
// letter.
func startMembers(t *testing.T) (h *harness.Hoptrace, issuer string) {
	t.Helper()
	issuer = "http://" + harness.FreeAddress(t)
	listen := harness.FreeAddress(t)
	h = harness.StartHoptrace(t, harness.Options{Name: "hoptrace-members", Settings: map[string]string{
		"web.listen": listen, "web.public_url": "http://" + listen,
		"web.oidc.issuer": issuer, "web.oidc.client_id": "hoptrace", "web.oidc.client_secret": "s", "web.oidc.name": "Example ID",
		"web.oidc.allowed_domains": "example.com", "web.oidc.role_claim": "groups", "web.oidc.role_map": "ops=admin,dev=member", "web.oidc.default_role": "viewer",
	}})
	cl, err := kgo.NewClient(kgo.SeedBrokers(h.Kafka))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: "ingest-spans", Value: []byte("no spans")}).FirstErr(); err != nil {
		t.Fatalf("cannot send what becomes a dead letter: %v", err)
	}
	return h, issuer
}

// sendAwkward fills the server with what a UI must bear, waits until it is stored, and
// names the file that tells what was sent.
func sendAwkward(t *testing.T, h *harness.Hoptrace) string {
	t.Helper()
	told, err := cases.Send(t.Context(), cases.Config{OTLP: h.HTTP, DSN: h.DSN(t), Kafka: h.Kafka, Seed: 1})
	if err != nil {
		t.Fatalf("cannot send the awkward cases: %v", err)
	}
	text, err := json.Marshal(told)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "awkward.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	harness.WaitDrained(t, h.Kafka, time.Minute, "ingest-spans", "ingest-metrics", "ingest-events", "events")
	return file
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
func playwright(t *testing.T, h *harness.Hoptrace, browser, file string, env ...string) string {
	t.Helper()
	dir := filepath.Join(harness.Root(t), "integration", "ui")
	installNode(t, dir)
	p := harness.Start(t, harness.Command{
		Name: "playwright-" + file, Path: filepath.Join(dir, "node_modules", ".bin", "playwright"), Dir: dir,
		Args: []string{"test", file + ".spec"}, // it is looked for in the whole path
		Env: append([]string{
			"HOPTRACE_WEB=" + h.Web, "HOPTRACE_OTLP_HTTP=" + h.HTTP, "HOPTRACE_SHOTS=" + filepath.Join(harness.Artefacts(t), "screenshots"),
			"CHROMIUM=" + browser, "CI=1", "FORCE_COLOR=0",
		}, env...),
	})
	if err := p.Wait(8 * time.Minute); err != nil {
		return fmt.Sprintf("%s in Chromium: %v:\n%s", file, err, p.Tail(60))
	}
	t.Logf("%s:\n%s", file, p.Tail(60))
	return ""
}
