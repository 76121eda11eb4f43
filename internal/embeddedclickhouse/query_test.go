package embeddedclickhouse

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"
)

func TestParametersAreBound(t *testing.T) {
	c := dial(t, startProcess(t, testConfig(t.TempDir())))
	f := func(typ, value string) {
		t.Helper()
		var same proto.ColUInt8
		var back proto.ColStr
		err := c.Do(testContext(t), ch.Query{
			Body:       "SELECT toString({v:" + typ + "}) AS s, toUInt8(1) AS one",
			Parameters: []proto.Parameter{{Key: "v", Value: quote(value)}},
			Result:     proto.Results{{Name: "s", Data: &back}, {Name: "one", Data: &same}},
		})
		if err != nil {
			t.Fatalf("%s %q: %v", typ, value, err)
		}
		if got := back.Row(0); got != value {
			t.Fatalf("%s = %q; want %q", typ, got, value)
		}
	}
	f("UInt64", "18446744073709551615")
	f("String", "plain")
	f("String", "it's a \\ and a `tick`; DROP TABLE t --")
	f("String", "ünï\u2028code")
	f("DateTime64(3)", "2026-11-23 10:11:12.345")
	f("Array(UInt8)", "[1,2,3]")
}

func TestSettingsHoldForTheirQueryOnly(t *testing.T) {
	c := dial(t, startProcess(t, testConfig(t.TempDir())))
	limit := func(settings ...ch.Setting) string {
		t.Helper()
		var v proto.ColStr
		err := c.Do(testContext(t), ch.Query{
			Body: "SELECT toString(getSetting('max_result_rows')) || ' ' || getSetting('log_comment') AS v", Settings: settings,
			Result: proto.Results{{Name: "v", Data: &v}},
		})
		if err != nil {
			t.Fatal(err)
		}
		rows, comment, _ := strings.Cut(v.Row(0), " ")
		_, comment, _ = strings.Cut(comment, " ") // without our tag
		return rows + " " + comment
	}
	f := func(got, want string) {
		t.Helper()
		if got != want {
			t.Fatalf("settings = %q; want %q", got, want)
		}
	}
	f(limit(), "0 ")
	f(limit(ch.SettingInt("max_result_rows", 7)), "7 ")
	f(limit(ch.SettingInt("max_result_rows", 7), ch.Setting{Key: "log_comment", Value: "it's mine"}), "7 it's mine")
	f(limit(), "0 ")
	// As a server: an unknown setting that is not important is ignored.
	f(limit(ch.Setting{Key: "no_such_setting", Value: "1"}, ch.SettingInt("max_result_rows", 8)), "8 ")

	err := c.Do(testContext(t), ch.Query{Body: "SELECT 1", Result: (&proto.Results{}).Auto(), Settings: []ch.Setting{ch.SettingInt("no_such_setting", 1)}})
	if !ch.IsErr(err, proto.ErrUnknownSetting) {
		t.Fatalf("an unknown important setting gave %v; want UNKNOWN_SETTING", err)
	}
	err = c.Do(testContext(t), ch.Query{Body: "SELECT 1", Settings: []ch.Setting{{Key: "a = 1, b", Value: "1"}}})
	if !ch.IsErr(err, proto.ErrUnknownSetting) {
		t.Fatalf("a setting that is no name gave %v; want UNKNOWN_SETTING", err)
	}
}

func TestExceptionsCarryCodeAndText(t *testing.T) {
	c := dial(t, startProcess(t, testConfig(t.TempDir())))
	run(t, c, "CREATE TABLE t (id UInt64, s String) ENGINE = MergeTree ORDER BY id")
	f := func(query string, code proto.Error, text string, settings ...ch.Setting) {
		t.Helper()
		err := c.Do(testContext(t), ch.Query{
			Body: query, Result: (&proto.Results{}).Auto(), Settings: settings,
			OnResult: ignore,
		})
		e, ok := ch.AsException(err)
		if !ok || e.Code != code || !strings.Contains(e.Message, text) || e.Name != "DB::Exception" {
			t.Fatalf("%s: %v; want code %d with %q", query, err, code, text)
		}
		if got := number(t, c, "SELECT toUInt64(1) AS n"); got != 1 { // the connection goes on
			t.Fatalf("SELECT 1 = %d", got)
		}
	}
	f("SELECT * FROM no_such_table", 60, "no_such_table")
	f("SELEC 1", 62, "Syntax error")
	f("SELECT no_such_column FROM t", 47, "no_such_column")
	f("SELECT 'a' + 1", 43, "Illegal types")
	f("SELECT no_such_function(1)", 46, "no_such_function")
	f("CREATE TABLE t (id UInt64) ENGINE = MergeTree ORDER BY id", 57, "already exists")
	f("SELECT throwIf(number = 100000, 'enough') FROM numbers(1000000) SETTINGS max_block_size = 1000", 395, "enough")
	f("SELECT toUInt8(s) FROM (SELECT 'x' AS s)", 6, "Cannot parse")
	f("SELECT length(groupArray(repeat('x', 1000) || toString(number))) FROM numbers(10000000)", 241, "emory limit",
		ch.SettingInt("max_memory_usage", 50_000_000))
	f("SELECT sum(number) FROM numbers(1e12)", 159, "imeout", ch.Setting{Key: "max_execution_time", Value: "0.3", Important: true})
}

func TestInsertWithWrongColumnsIsRefused(t *testing.T) {
	c := dial(t, startProcess(t, testConfig(t.TempDir())))
	run(t, c, "CREATE TABLE t (id UInt64, s String) ENGINE = MergeTree ORDER BY id")
	f := func(into string, in proto.Input, want proto.Error) {
		t.Helper()
		err := c.Do(testContext(t), ch.Query{Body: into, Input: in})
		if !ch.IsErr(err, want) {
			t.Fatalf("%s: %v; want code %d", into, err, want)
		}
		if c.IsClosed() {
			t.Fatal("the connection ended")
		}
		if got := number(t, c, "SELECT count() AS n FROM t"); got != 0 {
			t.Fatalf("%d rows were stored", got)
		}
	}
	id, s := proto.ColUInt64{1}, new(proto.ColStr)
	s.Append("x")
	f("INSERT INTO t (id, s) VALUES", proto.Input{{Name: "id", Data: id}, {Name: "other", Data: s}}, proto.ErrNoSuchColumnInTable)
	f("INSERT INTO t (id, s) VALUES", proto.Input{{Name: "id", Data: id}}, proto.ErrNumberOfColumnsDoesntMatch)
	f("INSERT INTO t (id, nope) VALUES", proto.Input{{Name: "id", Data: id}}, 47)
	f("INSERT INTO nope VALUES", proto.Input{{Name: "id", Data: id}}, proto.ErrUnknownTable)
	bad := new(proto.ColStr)
	bad.Append("not a number")
	f("INSERT INTO t (id) VALUES", proto.Input{{Name: "id", Data: bad}}, 6) // cannot parse text
}

func TestStatementsWithoutRowsAndOddOnesAnswer(t *testing.T) {
	c := dial(t, startProcess(t, testConfig(t.TempDir())))
	run(t, c, "CREATE DATABASE other")
	run(t, c, "CREATE TABLE other.t (id UInt64, k LowCardinality(String), v SimpleAggregateFunction(sum, UInt64)) ENGINE = AggregatingMergeTree ORDER BY (id, k);")
	run(t, c, "INSERT INTO other.t VALUES (1, 'a', 2), (2, 'b', 3)")
	run(t, c, "INSERT INTO other.t SELECT number + 10, toString(number), number FROM numbers(10)")
	run(t, c, "ALTER TABLE other.t ADD COLUMN w UInt8 DEFAULT 4")
	f := func(query string, want int) {
		t.Helper()
		var results proto.Results
		rows := 0
		err := c.Do(testContext(t), ch.Query{Body: query, Result: results.Auto(), OnResult: func(_ context.Context, b proto.Block) error {
			rows += b.Rows
			return nil
		}})
		if err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		if rows != want || len(results) == 0 {
			t.Fatalf("%s gave %d rows in %d columns; want %d", query, rows, len(results), want)
		}
	}
	f("SELECT id, k, w FROM other.t", 12)
	f("SELECT id, k, w FROM other.t WHERE id = 5", 0) // no rows: names and types only
	f("SHOW TABLES FROM other", 1)
	run(t, c, "SHOW TABLES FROM other LIKE 'x'") // no rows, and no description either
	f("DESCRIBE TABLE other.t", 4)
	f("EXISTS other.t", 1)
	f("SELECT count() > 0 FROM (EXPLAIN SELECT 1)", 1)
	f("WITH 1 AS x SELECT x -- a comment", 1)
	f("SELECT arrayJoin([1, 2]) UNION ALL SELECT 3;", 3)
	run(t, c, "OPTIMIZE TABLE other.t FINAL")
	run(t, c, "DELETE FROM other.t WHERE id >= 10")
	f("SELECT id FROM other.t", 2)
	run(t, c, "TRUNCATE TABLE other.t")
	run(t, c, "DROP TABLE other.t")

	opt := clientOptions(startProcess(t, testConfig(t.TempDir())))
	opt.Database = "nope"
	if _, err := ch.Dial(testContext(t), opt); !ch.IsErr(err, proto.ErrUnknownDatabase) {
		t.Fatalf("dial with an unknown database: %v; want UNKNOWN_DATABASE", err)
	}
}

func TestAggregateStatesAreReadThoughTheirLengthIsUnknown(t *testing.T) {
	c := dial(t, startProcess(t, testConfig(t.TempDir())))
	state := proto.ColRaw{T: "AggregateFunction(sum, UInt64)", Size: 8}
	err := c.Do(testContext(t), ch.Query{
		Body:   "SELECT sumState(number) AS s FROM numbers(10)",
		Result: proto.Results{{Name: "s", Data: &state}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := []byte{45, 0, 0, 0, 0, 0, 0, 0}; string(state.Data) != string(want) {
		t.Fatalf("state = %v; want %v", state.Data, want)
	}
}

func TestExternalTablesJoin(t *testing.T) {
	c := dial(t, startProcess(t, testConfig(t.TempDir())))
	id := proto.ColUInt64{3, 5, 8}
	for range 2 { // the second time it must not exist any more
		var n proto.ColUInt64
		err := c.Do(testContext(t), ch.Query{
			Body:          "SELECT sum(number) AS n FROM numbers(100) WHERE number IN (SELECT id FROM ids)",
			ExternalTable: "ids",
			ExternalData:  []proto.InputColumn{{Name: "id", Data: id}},
			Result:        proto.Results{{Name: "n", Data: &n}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if n.Row(0) != 16 {
			t.Fatalf("sum = %d; want 16", n.Row(0))
		}
	}
}

func TestLargeResultsStream(t *testing.T) {
	p := startProcess(t, testConfig(t.TempDir()))
	c := dial(t, p)
	var n proto.ColUInt64
	var s proto.ColStr
	rows, blocks := uint64(0), 0
	err := c.Do(testContext(t), ch.Query{
		Body:   "SELECT number AS n, toString(number) AS s FROM numbers(600000)",
		Result: proto.Results{{Name: "n", Data: &n}, {Name: "s", Data: &s}},
		OnResult: func(_ context.Context, b proto.Block) error {
			for i := range b.Rows {
				if n.Row(i) != rows || s.Row(i) != strconv.FormatUint(rows, 10) {
					return fmt.Errorf("row %d = %d, %q", rows, n.Row(i), s.Row(i))
				}
				rows++
			}
			blocks++
			return nil
		},
	})
	if err != nil || rows != 600_000 || blocks < 5 {
		t.Fatalf("%d rows in %d blocks, %v; want 600000 in many", rows, blocks, err)
	}
}

func TestCancelStopsTheStatement(t *testing.T) {
	p := startProcess(t, testConfig(t.TempDir()))
	watch := dial(t, p)
	f := func(query string) {
		t.Helper()
		c := dial(t, p)
		ctx, cancel := context.WithCancel(testContext(t))
		defer cancel()
		ended := make(chan error, 1)
		go func() {
			ended <- c.Do(ctx, ch.Query{Body: query, Result: (&proto.Results{}).Auto(), OnResult: ignore})
		}()
		waitUntil(t, func() bool {
			return number(t, watch, "SELECT count() AS n FROM system.processes WHERE query LIKE '%1000000000000%' AND query NOT LIKE '%system.processes%'") == 1
		})
		cancel()
		select {
		case err := <-ended:
			if !errors.Is(err, context.Canceled) {
				t.Fatalf("%s: %v; want context canceled", query, err)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: the client does not end", query)
		}
		began := time.Now()
		waitUntil(t, func() bool {
			return number(t, watch, "SELECT count() AS n FROM system.processes WHERE query LIKE '%1000000000000%' AND query NOT LIKE '%system.processes%'") == 0
		})
		t.Logf("the engine stopped within %v", time.Since(began))
	}
	f("SELECT sum(sipHash64(number)) FROM numbers(1000000000000)")    // no rows before the end
	f("SELECT number, sipHash64(number) FROM numbers(1000000000000)") // rows all the time
}

func TestSlowStatementsKeepTheClientWaiting(t *testing.T) {
	c := dial(t, startProcess(t, testConfig(t.TempDir())))
	began := time.Now()
	beats := 0
	// ch-go's ReadTimeout is 3 s a packet; without a deadline of the context
	// that is what counts.
	err := c.Do(context.Background(), ch.Query{
		Body: "SELECT sum(sleepEachRow(1)) FROM numbers(4) SETTINGS max_block_size = 1", Result: (&proto.Results{}).Auto(),
		OnProgress: func(context.Context, proto.Progress) error { beats++; return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 3*time.Second || beats < 3 {
		t.Fatalf("it took %v with %d progress packets; want more than 3 s and 3 packets", took, beats)
	}
}

func TestConnectionsRunStatementsAtTheSameTime(t *testing.T) {
	p := startProcess(t, testConfig(t.TempDir()))
	c := dial(t, p)
	run(t, c, "CREATE TABLE t (w UInt64, id UInt64) ENGINE = MergeTree ORDER BY (w, id)")
	const writers, blocks, rows = 8, 5, 2000
	var wg sync.WaitGroup
	for w := range uint64(writers) {
		c := dial(t, p)
		wg.Go(func() {
			for b := range uint64(blocks) {
				var who, id proto.ColUInt64
				for i := range uint64(rows) {
					who.Append(w)
					id.Append(b*rows + i)
				}
				in := proto.Input{{Name: "w", Data: &who}, {Name: "id", Data: &id}}
				if err := c.Do(testContext(t), ch.Query{Body: in.Into("t"), Input: in}); err != nil {
					t.Errorf("writer %d: %v", w, err)
					return
				}
				var n proto.ColUInt64
				err := c.Do(testContext(t), ch.Query{
					Body: "SELECT count() AS n FROM t WHERE w = {w:UInt64}", Parameters: ch.Parameters(map[string]any{"w": w}),
					Result: proto.Results{{Name: "n", Data: &n}},
				})
				if err != nil || n.Row(0) != (b+1)*rows {
					t.Errorf("writer %d sees %v rows, %v; want %d", w, n, err, (b+1)*rows)
					return
				}
			}
		})
	}
	wg.Wait()
	if got := number(t, c, "SELECT uniqExact(w, id) AS n FROM t"); got != writers*blocks*rows {
		t.Fatalf("%d rows; want %d", got, writers*blocks*rows)
	}
}

// waitUntil polls a condition.
func waitUntil(t testing.TB, f func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !f(); {
		if time.Now().After(end) {
			t.Fatal("it did not come true within 20 s")
		}
		time.Sleep(5 * time.Millisecond)
	}
}
