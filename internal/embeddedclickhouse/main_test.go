package embeddedclickhouse

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if IsChild(os.Args) { // as every binary that uses the package
		os.Exit(RunChild())
	}
	if dir := os.Getenv(parentEnv); dir != "" {
		if err := runParent(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// parentEnv makes the test binary a parent that a test kills.
const parentEnv = "HOPTRACE_TEST_PARENT_DIR"

// runParent starts an engine in the directory, writes the engine's process id
// to the file "child" there and waits for the end of standard input.
func runParent(dir string) error {
	p, err := New(testConfig(dir), slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := p.Start(ctx); err != nil {
		return err
	}
	if err := p.Ready(ctx); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "child"), []byte(strconv.Itoa(p.PID())), 0o600); err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	return p.Shutdown(ctx)
}

// testContext ends a minute before the test's own deadline would.
func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func testConfig(dir string) Config {
	cfg := DefaultConfig()
	cfg.Dir = dir
	return cfg
}

func testLog(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), nil))
}

// startProcess starts an engine with the real library. A missing library is a
// failure, whose text names the command that gets it.
func startProcess(t testing.TB, cfg Config) *Process {
	t.Helper()
	p, err := New(cfg, testLog(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx := testContext(t)
	if err := p.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := p.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
	if err := p.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	return p
}

func clientOptions(p *Process) ch.Options {
	return ch.Options{
		Dialer: p, Address: p.Addr(), User: User, Password: p.Password(), Database: Database,
		Compression: ch.CompressionLZ4,
	}
}

func dialWith(t testing.TB, opt ch.Options) *ch.Client {
	t.Helper()
	c, err := ch.Dial(testContext(t), opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func dial(t testing.TB, p *Process) *ch.Client {
	t.Helper()
	return dialWith(t, clientOptions(p))
}

func run(t testing.TB, c *ch.Client, query string) {
	t.Helper()
	if err := c.Do(testContext(t), ch.Query{Body: query}); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

// number runs a query that gives one UInt64.
func number(t testing.TB, c *ch.Client, query string) uint64 {
	t.Helper()
	var col proto.ColUInt64
	if err := c.Do(testContext(t), ch.Query{Body: query, Result: proto.Results{{Name: "n", Data: &col}}}); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	if col.Rows() != 1 {
		t.Fatalf("%s gave %d rows; want 1", query, col.Rows())
	}
	return col.Row(0)
}
