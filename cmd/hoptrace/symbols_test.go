package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hoptrace/hoptrace/pipeline/symbolicate"
	"github.com/hoptrace/hoptrace/web/sentryapi"
)

// tools are the real sentry-cli and esbuild, with a folder to work in.
type tools struct {
	s         *cliServer
	root, bin string
	work      string
}

func newTools(t *testing.T, s *cliServer) *tools {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, "integration", "sentrycli")
	c := &tools{s: s, root: root, bin: filepath.Join(dir, "node_modules", ".bin"), work: t.TempDir()}
	lock, err := os.Stat(filepath.Join(dir, "package-lock.json"))
	if err != nil {
		t.Fatal(err)
	}
	if done, err := os.Stat(filepath.Join(dir, "node_modules", ".package-lock.json")); err != nil || done.ModTime().Before(lock.ModTime()) {
		c.exec(t, dir, "npm", "ci", "--no-audit", "--no-fund", "--loglevel=error")
	}
	return c
}

// exec runs a program, which must end well, and returns what it printed.
func (c *tools) exec(t *testing.T, dir, program string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...) //nolint:gosec // the tests' own programs
	var stdout, stderr bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &stdout, &stderr
	cmd.Env = append(os.Environ(), "SENTRY_URL="+c.s.URL, "SENTRY_AUTH_TOKEN="+c.s.token, "SENTRY_ORG=anything", "SENTRY_PROJECT=shop", "NO_COLOR=1")
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s%s", filepath.Base(program), strings.Join(args, " "), err, stdout.String(), stderr.String())
	}
	return stdout.String()
}

func (c *tools) sentryCLI(t *testing.T, want string, args ...string) {
	t.Helper()
	if out := c.exec(t, c.work, filepath.Join(c.bin, "sentry-cli"), args...); !strings.Contains(out, want) {
		t.Errorf("sentry-cli %s printed\n%s\nwant %q", strings.Join(args, " "), out, want)
	}
}

// thrown is what the program of pipeline/symbolicate/testdata/shop prints.
type thrown struct {
	What  string `json:"what"`
	Stack string `json:"stack"`
	IDs   []struct {
		Stack string `json:"stack"`
		ID    string `json:"id"`
	} `json:"ids"`
}

// build minifies the program into a folder of its own and returns it.
func (c *tools) build(t *testing.T, name string) string {
	t.Helper()
	source := filepath.Join(c.root, "pipeline", "symbolicate", "testdata", "shop", "src")
	if err := os.CopyFS(filepath.Join(c.work, name, "src"), os.DirFS(source)); err != nil {
		t.Fatal(err)
	}
	c.exec(t, filepath.Join(c.work, name), filepath.Join(c.bin, "esbuild"),
		"src/main.ts", "--bundle", "--minify", "--sourcemap", "--outfile=dist/app.min.js", "--platform=node", "--format=cjs")
	return filepath.Join(c.work, name, "dist")
}

// throw runs the minified program and returns the stack of its error.
func (c *tools) throw(t *testing.T, dist, what string) thrown {
	t.Helper()
	out := c.exec(t, c.work, "node", filepath.Join(dist, "app.min.js"))
	d := json.NewDecoder(strings.NewReader(out))
	for {
		var x thrown
		if err := d.Decode(&x); err != nil {
			t.Fatalf("the program does not tell of %q: %v\n%s", what, err, out)
		}
		if x.What == what {
			return x
		}
	}
}

// framesOf reads a stack of V8 as a Sentry SDK does: the caller first, without
// what has no file. rename changes the file's path.
func framesOf(t *testing.T, stack string, rename func(string) string) []symbolicate.Frame {
	t.Helper()
	var out []symbolicate.Frame
	for line := range strings.SplitSeq(stack, "\n") {
		at, ok := strings.CutPrefix(strings.TrimSpace(line), "at ")
		if !ok {
			continue
		}
		var f symbolicate.Frame
		if function, place, ok := strings.Cut(at, " ("); ok {
			f.Function, at = function, strings.TrimSuffix(place, ")")
		}
		column := strings.LastIndexByte(at, ':')
		if column < 0 {
			continue
		}
		row := strings.LastIndexByte(at[:column], ':')
		if _, err := fmt.Sscan(at[column+1:], &f.Column); err != nil || row < 0 {
			t.Fatalf("stack line %q: %v", line, err)
		}
		if _, err := fmt.Sscan(at[row+1:column], &f.Line); err != nil {
			t.Fatalf("stack line %q: %v", line, err)
		}
		if f.AbsPath = at[:row]; !strings.HasPrefix(f.AbsPath, "node:") {
			f.AbsPath = rename(f.AbsPath)
		}
		out = append(out, f)
	}
	slices.Reverse(out)
	return out
}

func TestSourceMapsOfSentryCLILeadToTheSource(t *testing.T) {
	s := newCLIServer(t, sentryapi.Config{})
	c := newTools(t, s)
	// By debug id: what is injected into the script is in the map, too.
	byID := c.build(t, "by-id")
	c.sentryCLI(t, "Modified", "sourcemaps", "inject", byID)
	c.sentryCLI(t, "Uploaded files to Sentry", "sourcemaps", "upload", byID)
	// By release: no ids, but URLs.
	byRelease := c.build(t, "by-release")
	c.sentryCLI(t, "File processing complete", "sourcemaps", "upload", "--wait", "--release", "shop@1.0", "--dist", "d1", "--url-prefix", "~/static/js", byRelease)
	c.sentryCLI(t, "complete", "sourcemaps", "upload", "--wait", "--release", "shop@1.0", "--dist", "d1", "--url-prefix", "~/static/js", byRelease) // again

	resolver, err := symbolicate.New(symbolicate.Config{MissingFor: 100 * time.Millisecond}, s.metadata, s.blobs, prometheus.NewRegistry(), slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"chargeCard shop.ts:6 throw new Error(`order ${order.id} has no card`);",
		"Checkout.submit shop.ts:20 this.done += chargeCard(order);",
		" main.ts:6 return checkout.submit(order);",
		"submitAll main.ts:5 return orders.map(function submitOne(order) {",
		`main main.ts:18 submitAll([{ id: "☃-1" }]);`,
		" main.ts:34 void main();",
	}
	check := func(how string, req symbolicate.Request) {
		t.Helper()
		req.Project = s.project
		var got []string
		// The client need not wait until an upload is put together, nor we long.
		find := func() error {
			rs, err := resolver.Resolve(t.Context(), req)
			if err != nil {
				return err
			}
			got = nil
			for i, r := range rs {
				switch {
				case r.Found:
					got = append(got, fmt.Sprintf("%s %s:%d %s", r.Function, filepath.Base(r.Source), r.Line, strings.TrimSpace(r.ContextLine)))
				case r.Reason != "":
					return fmt.Errorf("frame %+v: %s", req.Frames[i], r.Reason)
				}
			}
			slices.Reverse(got)
			return nil
		}
		err := find()
		for deadline := time.Now().Add(30 * time.Second); err != nil && time.Now().Before(deadline); err = find() {
			time.Sleep(50 * time.Millisecond)
		}
		if err != nil {
			t.Fatalf("%s: %v", how, err)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got\n%s\nwant\n%s", how, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	x := c.throw(t, byID, "map")
	if len(x.IDs) != 1 {
		t.Fatalf("the injected script tells of %d debug ids, want 1: %+v", len(x.IDs), x)
	}
	script := filepath.Join(byID, "app.min.js")
	check("by debug id", symbolicate.Request{
		DebugIDs: map[string]string{script: x.IDs[0].ID}, Frames: framesOf(t, x.Stack, func(path string) string { return path }),
	})
	x = c.throw(t, byRelease, "map")
	check("by release", symbolicate.Request{
		Release: "shop@1.0", Dist: "d1",
		Frames: framesOf(t, x.Stack, func(path string) string { return "https://shop.example/static/js/" + filepath.Base(path) + "?v=3" }),
	})
}
