package exportertest

import (
	"fmt"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// Logs is what LogStore tests.
type Logs interface {
	exporters.LogWriter
	exporters.LogReader
}

// LogStore is the suite of LogWriter and LogReader. open gives an empty store.
func LogStore(t *testing.T, open func(t *testing.T) Logs) {
	run := func(name string, f func(t *testing.T, s Logs)) {
		t.Run(name, func(t *testing.T) { f(t, open(t)) })
	}
	run("LogComesBackAsItWasWritten", logRoundTrip)
	run("LogsAreFilteredAndPaged", logQueries)
	run("WrittenTellsWhichLogsAreStored", logsWritten)
}

func logRecord(n int, at time.Time) schemas.Log {
	return schemas.Log{
		Project: 1, Time: at.UnixNano(), Received: at.UnixNano() + 5, Severity: 9, Level: "info", Body: fmt.Sprint("line ", n), Service: "shop", Origin: schemas.OriginSentry,
		Source: 1, Position: schemas.Position{Offset: int64(n)},
	}
}

func logRoundTrip(t *testing.T, s Logs) {
	ctx := testContext(t)
	full := logRecord(1, base())
	full.TraceID, full.SpanID, full.Scope, full.Origin = traceID(1), spanID(1), "shop.cart", schemas.OriginOTel
	full.Resource, full.Attributes = oddAttributes(), oddAttributes()
	full.Source, full.Position = 1<<64-1, schemas.Position{Offset: 1<<63 - 1, Index: 1<<32 - 1}
	logs := []schemas.Log{full}
	for i, text := range odd {
		l := logRecord(10+i, base().Add(-time.Duration(i+1)*time.Second))
		l.Level, l.Body, l.Service, l.Scope = text, text, text, text
		logs = append(logs, l)
	}
	noError(t, "WriteLogs of nothing", s.WriteLogs(ctx, nil))
	noError(t, "WriteLogs", s.WriteLogs(ctx, logs))
	got, err := s.Logs(ctx, exporters.LogQuery{Project: 1, Limit: 500})
	noError(t, "Logs", err)
	equal(t, "logs", got, logs)
}

func logQueries(t *testing.T, s Logs) {
	ctx := testContext(t)
	var all []schemas.Log
	for i := range 30 {
		l := logRecord(i, base().Add(time.Duration(i/3)*time.Second)) // three at each time
		if i%2 == 1 {
			l.Service, l.Severity, l.Level = "billing", 17, "error"
		}
		if i == 7 {
			l.TraceID, l.Body = traceID(7), "Ünïque Words 100% sure"
		}
		all = append(all, l)
	}
	for range 2 { // as a replay does
		noError(t, "WriteLogs", s.WriteLogs(ctx, all))
	}
	f := func(want int, q exporters.LogQuery) []schemas.Log {
		t.Helper()
		q.Project = 1
		got, err := s.Logs(ctx, q)
		noError(t, "Logs", err)
		if len(got) != want {
			t.Errorf("%+v gave %d records, want %d", q, len(got), want)
		}
		return got
	}
	f(30, exporters.LogQuery{})
	f(15, exporters.LogQuery{Service: "billing"})
	f(15, exporters.LogQuery{MinSeverity: 17})
	f(1, exporters.LogQuery{Trace: traceID(7)})
	f(1, exporters.LogQuery{Text: "ÜNÏQUE words 100%"})
	f(0, exporters.LogQuery{Text: "nobody wrote this"})
	f(6, exporters.LogQuery{Range: exporters.Range{From: base(), To: base().Add(2 * time.Second)}})
	f(0, exporters.LogQuery{Range: exporters.Range{From: base().Add(time.Hour)}})
	seen := map[schemas.Position]bool{}
	q := exporters.LogQuery{Limit: 7}
	for {
		page := f(min(7, 30-len(seen)), q)
		for _, l := range page {
			if seen[l.Position] {
				t.Fatalf("record %v comes on two pages", l.Position)
			}
			seen[l.Position] = true
		}
		if len(page) < 7 {
			break
		}
		last := page[len(page)-1].Time
		if last != q.Before {
			q.Skip = 0
		}
		q.Before = last
		for _, l := range page {
			if l.Time == last {
				q.Skip++
			}
		}
	}
	if len(seen) != 30 {
		t.Errorf("paging gave %d of 30 records", len(seen))
	}
	if _, err := s.Logs(ctx, exporters.LogQuery{Project: 1, Skip: 10_001}); err == nil {
		t.Error("a page may skip 10,001 records")
	}
}

func logsWritten(t *testing.T, s Logs) {
	ctx := testContext(t)
	noError(t, "WriteLogs", s.WriteLogs(ctx, []schemas.Log{logRecord(1, base()), logRecord(2, base()), logRecord(3, base())}))
	got, err := s.WrittenLogs(ctx, 1, 2)
	noError(t, "WrittenLogs", err)
	equal(t, "written", got, map[schemas.Position]struct{}{{Offset: 2}: {}, {Offset: 3}: {}})
}
