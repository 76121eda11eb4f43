package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/integration/harness"
)

// sentryCLI is the real client with a token of a running hoptrace.
type sentryCLI struct {
	h            *harness.Hoptrace
	dir          string // of package.json
	token, work  string
	organization string
}

func startSentryCLI(t *testing.T) *sentryCLI {
	t.Helper()
	c := &sentryCLI{dir: filepath.Join(harness.Root(t), "integration", "sentrycli"), work: t.TempDir(), organization: "anything"}
	installNode(t, c.dir)
	c.h = harness.StartHoptrace(t, harness.Options{})
	c.token = strings.TrimSpace(string(harness.Output(t, time.Minute, harness.Command{
		Name: "tokens-create", Path: harness.Binary(t), Args: []string{"tokens", "create", "ci", "--data", c.h.Data},
	})))
	return c
}

func (c *sentryCLI) tool(name string) string {
	return filepath.Join(c.dir, "node_modules", ".bin", name)
}

// command is sentry-cli with arguments.
func (c *sentryCLI) command(args ...string) harness.Command {
	return harness.Command{
		Name: "sentry-cli-" + args[0], Path: c.tool("sentry-cli"), Args: args, Dir: c.work, KeepStdout: true,
		Env: []string{"SENTRY_URL=" + c.h.Web, "SENTRY_AUTH_TOKEN=" + c.token, "SENTRY_ORG=" + c.organization, "SENTRY_PROJECT=default", "NO_COLOR=1"},
	}
}

// run runs it and wants it to end well and to say something.
func (c *sentryCLI) run(t *testing.T, want string, args ...string) {
	t.Helper()
	out := string(harness.Output(t, time.Minute, c.command(args...)))
	if !strings.Contains(out, want) {
		t.Errorf("sentry-cli %s printed\n%s\nwant %q", strings.Join(args, " "), out, want)
	}
}

// fails runs it and wants it to fail and to say why.
func (c *sentryCLI) fails(t *testing.T, want string, args ...string) {
	t.Helper()
	p := harness.Start(t, c.command(args...))
	err := p.Wait(time.Minute)
	if said := string(p.Stdout()) + p.Tail(40); err == nil || !strings.Contains(said, want) {
		t.Errorf("sentry-cli %s: %v\n%s\nwant that it fails with %q", strings.Join(args, " "), err, said, want)
	}
}

// That the maps lead to the source is tested in cmd/hoptrace.
func TestSentryCLIWorksWithATokenOfHoptrace(t *testing.T) {
	c := startSentryCLI(t)
	c.run(t, "project:releases", "info")
	c.run(t, "default", "projects", "list")
	c.run(t, "Created release shop@1.0", "releases", "new", "shop@1.0")
	c.run(t, "Finalized release shop@1.0", "releases", "finalize", "shop@1.0")
	c.run(t, "shop@1.0", "releases", "list")
	c.run(t, "shop@1.0", "releases", "info", "shop@1.0")
	c.run(t, "Created new deploy", "deploys", "new", "--release", "shop@1.0", "-e", "production", "-t", "60")
	c.run(t, "production", "deploys", "list", "--release", "shop@1.0")
	c.run(t, "Archived release shop@1.0", "releases", "archive", "shop@1.0")
	c.run(t, "hoptrace", "organizations", "list")
	c.run(t, "No repos", "repos", "list")
	c.fails(t, "hoptrace takes source maps only", "debug-files", "upload", harness.LookPath(t, "node"))

	dist := filepath.Join(c.work, "dist")
	if err := os.CopyFS(dist, os.DirFS(filepath.Join(harness.Root(t), "pipeline", "symbolicate", "testdata", "shop"))); err != nil {
		t.Fatal(err)
	}
	c.run(t, "Modified", "sourcemaps", "inject", dist)
	c.run(t, "Uploaded files to Sentry", "sourcemaps", "upload", dist)
	c.run(t, "File processing complete", "sourcemaps", "upload", "--wait", "--release", "shop@1.0", "--dist", "d1", "--url-prefix", "~/static/js", dist)
	c.run(t, "File processing complete", "sourcemaps", "upload", "--wait", "--release", "shop@1.0", "--dist", "d1", "--url-prefix", "~/static/js", dist) // again
	c.run(t, "Deleted release shop@1.0", "releases", "delete", "shop@1.0")
	c.token = "hpt_unknown"
	c.fails(t, "the token is not known here", "sourcemaps", "upload", dist)
}
