package clickhouse

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hoptrace/hoptrace/exporters/exportertest"
	"github.com/hoptrace/hoptrace/internal/embeddedclickhouse"
)

func TestMain(m *testing.M) {
	if embeddedclickhouse.IsChild(os.Args) {
		os.Exit(embeddedclickhouse.RunChild())
	}
	code := m.Run()
	if err := stopEngine(); err != nil {
		fmt.Fprintln(os.Stderr, "cannot stop the engine of the tests:", err)
		code = 1
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// shared is the engine of all tests, each of which has a database of its own.
var shared struct {
	once   sync.Once
	dir    string
	engine *embeddedclickhouse.Process
	err    error
	next   atomic.Int64
}

// engine starts the engine once. A missing library fails the test with the
// command that gets it.
func engine(t testing.TB) *embeddedclickhouse.Process {
	t.Helper()
	shared.once.Do(func() {
		if shared.dir, shared.err = os.MkdirTemp("", "hoptrace-clickhouse-"); shared.err != nil {
			return
		}
		shared.engine, shared.err = startEngine(shared.dir)
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.engine
}

func startEngine(dir string) (*embeddedclickhouse.Process, error) {
	cfg := embeddedclickhouse.DefaultConfig()
	cfg.Dir = dir
	p, err := embeddedclickhouse.New(cfg, discard())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := p.Start(ctx); err != nil {
		return nil, err
	}
	return p, p.Ready(ctx)
}

func stopEngine() error {
	if shared.engine == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if day.store != nil {
		_ = day.store.Close()
	}
	if loaded.store != nil {
		_ = loaded.store.Close()
	}
	if err := shared.engine.Shutdown(ctx); err != nil {
		return err
	}
	return os.RemoveAll(shared.dir)
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func testConfig(p *embeddedclickhouse.Process) Config {
	cfg := DefaultConfig()
	cfg.Dial, cfg.User, cfg.Password = p.Dial, embeddedclickhouse.User, p.Password()
	cfg.Database = fmt.Sprintf("test_%d", shared.next.Add(1))
	return cfg
}

// open gives an empty store.
func open(t testing.TB, cfg Config) *Store {
	t.Helper()
	s, err := New(cfg, slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSpansPassTheContract(t *testing.T) {
	p := engine(t)
	exportertest.SpanStore(t, func(t *testing.T) exportertest.Spans { return open(t, testConfig(p)) })
}

func TestEventsPassTheContract(t *testing.T) {
	p := engine(t)
	exportertest.EventStore(t, func(t *testing.T) exportertest.Events { return open(t, testConfig(p)) })
}

func TestMetricsPassTheContract(t *testing.T) {
	p := engine(t)
	exportertest.MetricStore(t, func(t *testing.T) exportertest.Metrics { return open(t, testConfig(p)) })
}

func TestLogsPassTheContract(t *testing.T) {
	p := engine(t)
	exportertest.LogStore(t, func(t *testing.T) exportertest.Logs { return open(t, testConfig(p)) })
}

func TestLedgerPassesTheContract(t *testing.T) {
	p := engine(t)
	exportertest.LedgerStore(t, func(t *testing.T) exportertest.Ledger { return open(t, testConfig(p)) })
}

func TestEventsOfIssuesPassTheContract(t *testing.T) {
	p := engine(t)
	exportertest.IssueEventStore(t, func(t *testing.T) exportertest.IssueEvents { return open(t, testConfig(p)) })
}

func TestTwinsPassTheContract(t *testing.T) {
	p := engine(t)
	exportertest.TwinStore(t, func(t *testing.T) exportertest.Twins { return open(t, testConfig(p)) })
}

func TestEventsAreJoinedWithMessagesByTheContract(t *testing.T) {
	p := engine(t)
	exportertest.JoinedStore(t, func(t *testing.T) exportertest.Joined { return open(t, testConfig(p)) })
}

func TestTopologiesPassTheContract(t *testing.T) {
	p := engine(t)
	exportertest.TopologyStore(t, func(t *testing.T) exportertest.Topologies { return open(t, testConfig(p)) })
	exportertest.TopicStore(t, func(t *testing.T) exportertest.Topics { return open(t, testConfig(p)) })
}
