package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/internal/embeddedclickhouse"
	"github.com/hoptrace/hoptrace/schemas"
)

// ownEngine is an engine that a test may kill.
func ownEngine(t *testing.T) *embeddedclickhouse.Process {
	t.Helper()
	p, err := startEngine(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := p.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
	return p
}

func one(n int) ([]schemas.Span, []schemas.Message) {
	w := newWorkload(uint64(n), time.Now().Add(-time.Hour), time.Millisecond) //nolint:gosec // small
	spans, rows := w.next(nil, nil)
	for i := range spans {
		spans[i].Source, spans[i].Position = 1, schemas.Position{Offset: int64(n), Index: uint32(i)} //nolint:gosec // small
	}
	for i := range rows {
		rows[i].Source, rows[i].Position = 1, schemas.Position{Offset: int64(n), Index: uint32(i)} //nolint:gosec // small
	}
	return spans, rows
}

func TestReadsOutliveARestartOfTheEngineAndNothingWrittenIsLost(t *testing.T) {
	p := ownEngine(t)
	s := open(t, testConfig(p))
	ctx := t.Context()
	want := 0
	for round := range 3 {
		spans, rows := one(round)
		if err := s.WriteSpans(ctx, spans, rows); err != nil {
			t.Fatal(err)
		}
		want += len(spans)
		restarts := p.Restarts()
		if err := syscall.Kill(p.PID(), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(time.Minute); p.Restarts() == restarts; {
			if time.Now().After(deadline) {
				t.Fatal("the engine was not started again")
			}
			time.Sleep(5 * time.Millisecond) // poll
		}
		if err := p.Ready(ctx); err != nil {
			t.Fatal(err)
		}
		// The pool holds connections to the engine that died.
		w, err := s.WrittenSpans(ctx, 1, 0)
		if err != nil || len(w.Spans) != want {
			t.Fatalf("after kill -9: %d spans are stored, error %v; want %d", len(w.Spans), err, want)
		}
	}
}

func TestStoreThatIsDownIsUnavailable(t *testing.T) {
	p := ownEngine(t)
	s := open(t, testConfig(p))
	if err := s.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := p.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	spans, rows := one(1)
	_, find := s.FindTraces(t.Context(), exporters.TraceQuery{Project: 1})
	for name, err := range map[string]error{"Ping": s.Ping(t.Context()), "WriteSpans": s.WriteSpans(t.Context(), spans, rows), "FindTraces": find} {
		if !errors.Is(err, exporters.ErrUnavailable) {
			t.Errorf("%s: got error %v, want %v", name, err, exporters.ErrUnavailable)
		}
	}
}

// slowGreeting answers nothing for a while, as a process that gets no CPU.
type slowGreeting struct {
	net.Conn
	once sync.Once
}

func (c *slowGreeting) Read(p []byte) (int, error) {
	c.once.Do(func() { <-time.After(5 * readPoll) })
	return c.Conn.Read(p)
}

func TestEngineThatIsSlowToGreetIsNotDown(t *testing.T) {
	cfg := testConfig(engine(t))
	dial := cfg.Dial
	cfg.Dial = func(ctx context.Context) (net.Conn, error) {
		c, err := dial(ctx)
		if err != nil {
			return nil, err
		}
		return &slowGreeting{Conn: c}, nil
	}
	s := open(t, cfg)
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("Ping of an engine that greets after %s = %v, want nil", 5*readPoll, err)
	}
}

func TestServerThatIsNotThereIsUnavailable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg := DefaultConfig()
	cfg.Address = l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := New(cfg, discard())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Ping(t.Context()); !errors.Is(err, exporters.ErrUnavailable) || !strings.Contains(err.Error(), cfg.Address) {
		t.Errorf("Ping: got error %v, want %v that names %s", err, exporters.ErrUnavailable, cfg.Address)
	}
}

func TestMigrateMayBeRepeatedAndRefusesANewerVersion(t *testing.T) {
	cfg := testConfig(engine(t))
	s := open(t, cfg)
	spans, rows := one(1)
	if err := s.WriteSpans(t.Context(), spans, rows); err != nil {
		t.Fatal(err)
	}
	again := open(t, cfg)
	if w, err := again.WrittenSpans(t.Context(), 1, 0); err != nil || len(w.Spans) != len(spans) {
		t.Errorf("after a second Migrate %d spans are stored, error %v; want %d", len(w.Spans), err, len(spans))
	}
	if err := s.exec(t.Context(), "INSERT INTO schema_versions (version) SELECT 999", nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Migrate(t.Context()); err == nil || !strings.Contains(err.Error(), "version 999") {
		t.Errorf("Migrate of version 999: got error %v, want one that names it", err)
	}
}

// ddl is what the engine says about a table.
func ddl(t *testing.T, s *Store, table string) string {
	t.Helper()
	var text proto.ColStr
	var out string
	var ps params
	ps.text("table", table)
	err := s.query(t.Context(), "SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND name = {table:String}", ps,
		proto.Results{{Name: "engine_full", Data: &text}}, func() { out = "" }, func() {
			for i := range text.Rows() {
				out = text.Row(i)
			}
		})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestRetentionFollowsTheConfiguration(t *testing.T) {
	cfg := testConfig(engine(t))
	for _, days := range []int{30, 7, 7, 0, 90} {
		cfg.RetentionDays = days
		s := open(t, cfg)
		for _, table := range tables {
			want := fmt.Sprintf("toIntervalDay(%d)", days)
			if got := ddl(t, s, table); strings.Contains(got, "TTL") != (days > 0) || days > 0 && !strings.Contains(got, want) {
				t.Errorf("table %s kept for %d days: %s", table, days, got)
			}
		}
	}
}

func TestRowsOlderThanTheRetentionGo(t *testing.T) {
	cfg := testConfig(engine(t))
	cfg.RetentionDays = 2
	s := open(t, cfg)
	spans, rows := one(1)
	for i := range spans {
		spans[i].Start -= int64(72 * time.Hour)
		spans[i].End -= int64(72 * time.Hour)
	}
	fresh, _ := one(2)
	if err := s.WriteSpans(t.Context(), append(spans, fresh...), rows); err != nil {
		t.Fatal(err)
	}
	if err := s.exec(t.Context(), "OPTIMIZE TABLE spans FINAL", nil); err != nil {
		t.Fatal(err)
	}
	w, err := s.WrittenSpans(t.Context(), 1, 0)
	if err != nil || len(w.Spans) != len(fresh) {
		t.Errorf("%d spans are stored, error %v; want the %d fresh ones", len(w.Spans), err, len(fresh))
	}
}

func TestInsertsAreSyncedToDisk(t *testing.T) {
	s := open(t, testConfig(ownEngine(t)))
	syncs := func() (n uint64) {
		t.Helper()
		var value proto.ColUInt64
		err := s.query(t.Context(), "SELECT sum(value) AS value FROM system.events WHERE event IN ('FileSync', 'DirectorySync')", nil,
			proto.Results{{Name: "value", Data: &value}}, func() { n = 0 }, func() {
				for _, v := range value {
					n += v
				}
			})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := syncs()
	spans, rows := one(1)
	if err := s.WriteSpans(t.Context(), spans, rows); err != nil {
		t.Fatal(err)
	}
	if n := syncs() - before; n < 4 { // a file and a directory of two parts
		t.Errorf("an insert into two tables synced %d files and directories, want at least 4", n)
	}
	for _, table := range tables {
		for _, setting := range []string{"fsync_after_insert = 1", "fsync_part_directory = 1"} {
			if got := ddl(t, s, table); !strings.Contains(got, setting) {
				t.Errorf("table %s lacks %s: %s", table, setting, got)
			}
		}
	}
}

func TestTooLargeBatchesAreRefusedWhole(t *testing.T) {
	s := open(t, testConfig(engine(t)))
	spans, rows := one(1)
	f := func(what string, spans []schemas.Span, rows []schemas.Message) {
		t.Helper()
		if err := s.WriteSpans(t.Context(), spans, rows); !errors.Is(err, exporters.ErrTooLarge) {
			t.Errorf("%s: got error %v, want %v", what, err, exporters.ErrTooLarge)
		}
	}
	f("rows", make([]schemas.Span, maxBatchRows+1), rows)
	f("message rows", spans, make([]schemas.Message, maxBatchRows+1))
	huge := strings.Repeat("x", 1<<20)
	large := make([]schemas.Span, 300)
	for i := range large {
		large[i] = schemas.Span{Attributes: []schemas.Attribute{{Key: "k", Value: huge}}}
	}
	f("bytes", large, rows)
	days := make([]schemas.Span, 100)
	for i := range days {
		days[i].Start = time.Now().Add(-time.Duration(i) * 24 * time.Hour).UnixNano()
	}
	f("days", days, rows)
	w, err := s.WrittenSpans(t.Context(), 1, 0)
	if err != nil || len(w.Spans)+len(w.Messages) > 0 {
		t.Errorf("%d spans and %d message rows of refused batches are stored, error %v", len(w.Spans), len(w.Messages), err)
	}
	// A part of it goes.
	if err := s.WriteSpans(t.Context(), days[:50], nil); err != nil {
		t.Errorf("spans of 50 days: %v", err)
	}
}

func TestCancelledQueryEndsSoonAndFreesItsConnection(t *testing.T) {
	cfg := testConfig(engine(t))
	cfg.MaxConns = 2
	s := open(t, cfg)
	for range 4 {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		begin := time.Now()
		var n proto.ColUInt64
		err := s.query(ctx, "SELECT sum(sipHash64(number)) AS n FROM numbers(100000000000)", nil, proto.Results{{Name: "n", Data: &n}}, func() {}, func() {})
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got error %v, want %v", err, context.DeadlineExceeded)
		}
		if took := time.Since(begin); took > 200*time.Millisecond+cancelGrace+3*time.Second {
			t.Errorf("a cancelled query took %v", took)
		}
	}
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("Ping after cancelled queries: %v", err)
	}
}

func TestStatementIsBoundInTimeAndMemory(t *testing.T) {
	cfg := testConfig(engine(t))
	cfg.QueryTimeout, cfg.QueryMemory = time.Second, 64<<20
	s := open(t, cfg)
	var n proto.ColUInt64
	f := func(body string, want ...proto.Error) {
		t.Helper()
		err := s.query(t.Context(), body, nil, proto.Results{{Name: "n", Data: &n}}, func() {}, func() {})
		for _, code := range want {
			if err != nil && strings.Contains(err.Error(), fmt.Sprintf("(%d)", int(code))) {
				return
			}
		}
		t.Errorf("%s: got error %v, want one of %v", body, err, want)
	}
	f("SELECT sum(sipHash64(number)) AS n FROM numbers(100000000000)", proto.ErrTimeoutExceeded)
	f("SELECT uniqExact(number) AS n FROM numbers(100000000)", proto.ErrMemoryLimitExceeded, proto.ErrTimeoutExceeded)
}

func TestClosedStoreRefuses(t *testing.T) {
	s := open(t, testConfig(engine(t)))
	for range 2 {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := s.Ping(t.Context()); !errors.Is(err, errClosed) {
		t.Errorf("Ping: got error %v, want %v", err, errClosed)
	}
}

func TestConfigNamesEveryFault(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Errorf("Validate of the default: %v", err)
	}
	err := Config{Address: "nowhere", Database: "a; DROP", MaxConns: 1, RetentionDays: -1, QueryTimeout: time.Millisecond, QueryMemory: 1}.Validate()
	for _, want := range []string{"address", "database", "max_conns", "retention_days", "query_timeout", "query_memory"} {
		if err == nil || !strings.Contains(err.Error(), "clickhouse "+want) {
			t.Errorf("Validate = %v; want it to name %s", err, want)
		}
	}
}

func TestAttributesAreGivenBackByteForByte(t *testing.T) {
	f := func(attrs ...schemas.Attribute) {
		t.Helper()
		got := parseAttributes(string(appendAttributes(nil, attrs)))
		if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", attrs) {
			t.Errorf("got %q, want %q", got, attrs)
		}
	}
	f()
	f(schemas.Attribute{})
	f(schemas.Attribute{Key: "a", Value: "b"}, schemas.Attribute{Key: "a", Value: "\"\\\x00\x1f\n☃\xff"})
	// What another program wrote.
	if got := parseAttributes(`{"a":"\n\t\r\b\f\/\u263a\u263A"}`); len(got) != 1 || got[0].Value != "\n\t\r\b\f/☺☺" {
		t.Errorf("got %q", got)
	}
}

func FuzzParseAttributes(f *testing.F) {
	f.Add(`{"a":"b","c":"d\u0000"}`)
	f.Add(`{"a":"\u12`)
	f.Add(`{"`)
	f.Fuzz(func(t *testing.T, s string) {
		attrs := parseAttributes(s)
		again := parseAttributes(string(appendAttributes(nil, attrs)))
		if fmt.Sprintf("%q", again) != fmt.Sprintf("%q", attrs) {
			t.Errorf("%q gave %q, and again %q", s, attrs, again)
		}
	})
}
