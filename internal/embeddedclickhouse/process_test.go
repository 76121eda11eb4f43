package embeddedclickhouse

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"
)

func TestClientInsertsAndSelects(t *testing.T) {
	p := startProcess(t, testConfig(t.TempDir()))
	c := dial(t, p)
	run(t, c, "CREATE TABLE t (id UInt64, name LowCardinality(String)) ENGINE = MergeTree ORDER BY id")
	var id proto.ColUInt64
	name := new(proto.ColStr).LowCardinality()
	for i := range uint64(1000) {
		id.Append(i)
		name.Append("name")
	}
	in := proto.Input{{Name: "id", Data: &id}, {Name: "name", Data: name}}
	if err := c.Do(testContext(t), ch.Query{Body: in.Into("t"), Input: in}); err != nil {
		t.Fatal(err)
	}
	if got := number(t, c, "SELECT sum(id) AS n FROM t WHERE name = 'name'"); got != 499500 {
		t.Fatalf("sum = %d; want 499500", got)
	}
	if p.Version() == "" || c.ServerInfo().Name != "ClickHouse" {
		t.Fatalf("version %q, server %v", p.Version(), c.ServerInfo())
	}
	f := func(table, name string) {
		t.Helper()
		if got := number(t, c, "SELECT count() AS n FROM system."+table+" WHERE name = '"+name+"' AND value = '1'"); got != 1 {
			t.Fatalf("%s is not set: an acknowledged insert may not be on disk", name)
		}
	}
	f("merge_tree_settings", "fsync_after_insert")
	f("merge_tree_settings", "fsync_part_directory")
}

func TestDataIsThereAfterShutdownAndStart(t *testing.T) {
	dir := t.TempDir()
	p := startProcess(t, testConfig(dir))
	c := dial(t, p)
	run(t, c, "CREATE TABLE t (id UInt64) ENGINE = MergeTree ORDER BY id")
	run(t, c, "INSERT INTO t SELECT number FROM numbers(1000)")
	ctx := testContext(t)
	began := time.Now()
	if err := p.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > drainTimeout {
		t.Errorf("Shutdown of an idle engine took %v", took)
	}
	if err := p.Shutdown(ctx); err != nil {
		t.Fatalf("second Shutdown: %v", err)
	}
	if _, err := p.Dial(ctx); !errors.Is(err, ErrStopped) {
		t.Fatalf("Dial after Shutdown: %v; want ErrStopped", err)
	}
	if _, err := os.Stat(p.socketDir); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("the socket's directory is left: %v", err)
	}
	began = time.Now()
	p = startProcess(t, testConfig(dir))
	t.Logf("started again in %v", time.Since(began))
	if got := number(t, dial(t, p), "SELECT count() AS n FROM t"); got != 1000 {
		t.Fatalf("%d rows after a start; want 1000", got)
	}
}

func TestShutdownLetsAStatementEnd(t *testing.T) {
	p := startProcess(t, testConfig(t.TempDir()))
	c, watch := dial(t, p), dial(t, p)
	ended := make(chan error, 1)
	go func() {
		ended <- c.Do(context.Background(), ch.Query{
			Body: "SELECT sum(sleepEachRow(0.5)) FROM numbers(3) SETTINGS max_block_size = 1", Result: (&proto.Results{}).Auto(),
		})
	}()
	waitUntil(t, func() bool {
		return number(t, watch, "SELECT count() AS n FROM system.processes WHERE query LIKE '%sleepEachRow%' AND query NOT LIKE '%system.processes%'") == 1
	})
	if err := p.Shutdown(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Fatalf("the statement that ran: %v", err)
	}
}

func TestShutdownIsSafeWithoutStartAndTwice(t *testing.T) {
	p, err := New(testConfig(t.TempDir()), testLog(t))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := p.Shutdown(testContext(t)); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Start(testContext(t)); !errors.Is(err, ErrStopped) {
		t.Fatalf("Start after Shutdown: %v; want ErrStopped", err)
	}
	if err := p.Ready(testContext(t)); !errors.Is(err, ErrStopped) {
		t.Fatalf("Ready after Shutdown: %v; want ErrStopped", err)
	}
}

func TestTwoProcessesOnOneDirectoryAreRefused(t *testing.T) {
	dir := t.TempDir()
	first := startProcess(t, testConfig(dir))
	second, err := New(testConfig(dir), testLog(t))
	if err != nil {
		t.Fatal(err)
	}
	err = second.Start(testContext(t))
	if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), strconv.Itoa(os.Getpid())) {
		t.Fatalf("Start = %v; want ErrInUse with directory and process", err)
	}
	if err := second.Shutdown(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if err := dial(t, first).Ping(testContext(t)); err != nil {
		t.Fatal(err)
	}
}

func TestKilledEngineComesBackWithEveryAcknowledgedBlock(t *testing.T) {
	p, err := New(testConfig(t.TempDir()), testLog(t))
	if err != nil {
		t.Fatal(err)
	}
	var causes atomic.Int64
	p.OnRestart(func(cause error) {
		if cause == nil {
			t.Error("a restart without a cause")
		}
		causes.Add(1)
	})
	if err := p.Start(testContext(t)); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	const writers, rows, kills = 3, 5000, 3
	c := dial(t, p)
	run(t, c, "CREATE TABLE t (w UInt64, block UInt64, id UInt64, text String) ENGINE = MergeTree ORDER BY (w, block, id)")

	var acknowledged [writers]map[uint64]bool
	var total atomic.Int64
	ctx, stop := context.WithCancel(testContext(t))
	defer stop()
	var wg sync.WaitGroup
	for w := range writers {
		acknowledged[w] = map[uint64]bool{}
		wg.Go(func() {
			var c *ch.Client
			for b := uint64(0); ctx.Err() == nil; b++ {
				if c == nil || c.IsClosed() {
					var err error
					if c, err = ch.Dial(ctx, clientOptions(p)); err != nil {
						continue // as a writer of ours: again
					}
				}
				var who, number, id proto.ColUInt64
				text := new(proto.ColStr)
				for i := range uint64(rows) {
					who.Append(uint64(w))
					number.Append(b)
					id.Append(i)
					text.Append("some text that takes its room " + strconv.FormatUint(i*b, 10))
				}
				in := proto.Input{{Name: "w", Data: &who}, {Name: "block", Data: &number}, {Name: "id", Data: &id}, {Name: "text", Data: text}}
				if err := c.Do(context.WithoutCancel(ctx), ch.Query{Body: in.Into("t"), Input: in}); err != nil {
					_ = c.Close()
					c = nil
					continue
				}
				acknowledged[w][b] = true
				total.Add(1)
			}
			if c != nil {
				_ = c.Close()
			}
		})
	}
	for k := range kills {
		before := total.Load()
		waitUntil(t, func() bool { return total.Load() >= before+20 })
		pid := p.PID()
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		waitUntil(t, func() bool { return p.Restarts() == int64(k+1) && p.PID() != pid && p.Ready(testContext(t)) == nil })
	}
	before := total.Load()
	waitUntil(t, func() bool { return total.Load() >= before+5 })
	stop()
	wg.Wait()

	c = dial(t, p)
	for w := range writers {
		var block, count proto.ColUInt64
		stored := map[uint64]uint64{}
		err := c.Do(testContext(t), ch.Query{
			Body:       "SELECT block, toUInt64(if(uniqExact(id) = count(), count(), 0)) AS n FROM t WHERE w = {w:UInt64} GROUP BY block",
			Parameters: ch.Parameters(map[string]any{"w": w}),
			Result:     proto.Results{{Name: "block", Data: &block}, {Name: "n", Data: &count}},
			OnResult: func(_ context.Context, b proto.Block) error {
				for i := range b.Rows {
					stored[block.Row(i)] = count.Row(i)
				}
				return nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		for b := range acknowledged[w] {
			if stored[b] == 0 {
				t.Errorf("block %d of writer %d was acknowledged and is gone", b, w)
			}
		}
		for b, n := range stored {
			if n != rows {
				t.Errorf("block %d of writer %d is torn: %d rows", b, w, n)
			}
		}
	}
	if p.Restarts() != kills || causes.Load() != kills {
		t.Fatalf("%d restarts, %d told; want %d", p.Restarts(), causes.Load(), kills)
	}
	t.Logf("%d blocks of %d rows were acknowledged across %d kills", total.Load(), rows, kills)
}

func TestEngineEndsWithItsParentAndTheDirectoryIsFreeAgain(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0]) // see TestMain
	cmd.Env = append(os.Environ(), parentEnv+"="+dir)
	cmd.Stderr = t.Output()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stdin.Close() }()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var child int
	waitUntil(t, func() bool {
		text, err := os.ReadFile(filepath.Join(dir, "child"))
		if err == nil {
			child, err = strconv.Atoi(string(text))
		}
		return err == nil
	})
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	lock, err := os.ReadFile(filepath.Join(dir, lockFile))
	if err != nil {
		t.Fatal(err)
	}
	_, left, _ := strings.Cut(strings.TrimSpace(string(lock)), "\n")
	if _, err := os.Stat(left); err != nil {
		t.Fatalf("the killed parent's socket directory: %v", err)
	}

	p := startProcess(t, testConfig(dir)) // it waits for the lock if it must
	if alive(child) {
		waitUntil(t, func() bool { return !alive(child) })
	}
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("the killed parent's socket directory is left: %v", err)
	}
	if got := number(t, dial(t, p), "SELECT toUInt64(1) AS n"); got != 1 {
		t.Fatalf("SELECT 1 = %d", got)
	}
}

func TestEngineThatCannotStartTellsWhy(t *testing.T) {
	f := func(name, text string, prepare func(cfg *Config)) {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig(t.TempDir())
			prepare(&cfg)
			p, err := New(cfg, testLog(t))
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Start(testContext(t)); err != nil {
				t.Fatal(err)
			}
			err = p.Ready(testContext(t))
			if err == nil || !strings.Contains(err.Error(), text) {
				t.Fatalf("Ready = %v; want %q in it", err, text)
			}
			if _, err := p.Dial(testContext(t)); err == nil || !strings.Contains(err.Error(), text) {
				t.Fatalf("Dial = %v; want %q in it", err, text)
			}
			if err := p.Shutdown(testContext(t)); err != nil {
				t.Fatal(err)
			}
		})
	}
	f("not a library", "cannot load libchdb", func(cfg *Config) {
		cfg.Library = filepath.Join(t.TempDir(), "libchdb.so")
		if err := os.WriteFile(cfg.Library, []byte("not a library"), 0o600); err != nil {
			t.Fatal(err)
		}
	})
	f("data in the way", "engine's directory", func(cfg *Config) {
		if err := os.WriteFile(filepath.Join(cfg.Dir, "data"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	})
}

func TestConfigNamesEveryFault(t *testing.T) {
	err := Config{MemoryLimit: 1}.Validate()
	for _, want := range []string{"directory", "memory limit", "mark cache", "connections"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Validate = %v; want %q in it", err, want)
		}
	}
	cfg := DefaultConfig()
	cfg.Dir = "x"
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
}
