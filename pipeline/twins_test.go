package pipeline

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/pipeline/keeper"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/schemas/topics"
)

// twinMemory keeps whole events, and the ledger, and finds twins as the store does.
type twinMemory struct {
	*memory
	mu    sync.Mutex // guards the following
	rows  []schemas.Event
	lines map[schemas.Tally]bool
	gone  int // rows that were removed
}

func (m *twinMemory) WriteEvents(_ context.Context, events []schemas.Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rows = append(m.rows, events...)
	return nil
}

func (m *twinMemory) WrittenEvents(_ context.Context, source schemas.Source, from int64) (map[schemas.Position]struct{}, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[schemas.Position]struct{}{}
	for _, e := range m.rows {
		if e.Source == source && e.Position.Offset >= from {
			out[e.Position] = struct{}{}
		}
	}
	return out, nil
}

func (m *twinMemory) WriteTallies(_ context.Context, lines []schemas.Tally) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range lines {
		m.lines[l] = true
	}
	return nil
}

func (m *twinMemory) Twins(context.Context, exporters.Range, int) (out []exporters.Twin, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, a := range m.rows {
		for _, b := range m.rows {
			if a.Origin == schemas.OriginOTel && b.Origin != schemas.OriginOTel && a.Project == b.Project && a.TraceID == b.TraceID && a.Value == b.Value && schemas.SameErrorType(a.Type, b.Type) {
				out = append(out, exporters.Twin{Project: a.Project, ID: a.ID, Time: a.Time, Received: a.Received})
				break
			}
		}
	}
	return out, nil
}

func (m *twinMemory) RemoveTwins(_ context.Context, twins []exporters.Twin) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rows = slices.DeleteFunc(m.rows, func(e schemas.Event) bool {
		is := e.Origin == schemas.OriginOTel && slices.ContainsFunc(twins, func(t exporters.Twin) bool { return t.ID == e.ID })
		if is {
			m.gone++
		}
		return is
	})
	return nil
}

// origins are those of the events that are there, and sums what the ledger says of
// errors.
func (m *twinMemory) origins() (out []schemas.Origin) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.rows {
		out = append(out, e.Origin)
	}
	return out
}

func (m *twinMemory) sums(t *testing.T) map[string]int64 {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	type key struct {
		schemas.Outcome
		schemas.Source
		schemas.Position
	}
	out, seen := map[string]int64{}, map[key]schemas.Tally{}
	for l := range m.lines {
		if l.Category != schemas.CategoryError {
			continue
		}
		k := key{l.Outcome, l.Source, l.Position}
		if other, is := seen[k]; is {
			t.Errorf("%+v and %+v are one line", l, other)
		}
		seen[k] = l
		out[fmt.Sprint(l.Outcome, " ", l.Reason)] += l.Quantity
	}
	return out
}

// job is the store of issues as the keeper needs it here: it has the lease, and
// nothing else to do.
type job struct{ exporters.IssueKeeper }

func (job) Lease(context.Context, string, string, time.Duration) (bool, error) { return true, nil }
func (job) AgeIssues(context.Context, time.Time, int) (int, error)             { return 0, nil }

func (job) Replacements(context.Context, int) ([]exporters.Replacement, error) { return nil, nil }

func (job) DeletedHashes(context.Context, int) ([]exporters.DeletedHash, error) { return nil, nil }

func (job) SleepingIssues(context.Context, schemas.IssueID, int) ([]exporters.SleepingIssue, error) {
	return nil, nil
}

type noRecords struct{}

func (noRecords) ProduceSync(context.Context, ...*kgo.Record) error { return nil }

// failed is a request with a span that recorded an exception.
func failed(t *testing.T, trace pcommon.TraceID, at time.Time, kind, text string) []byte {
	t.Helper()
	td := ptrace.NewTraces()
	s := td.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans().AppendEmpty()
	s.SetTraceID(trace)
	s.SetSpanID(pcommon.SpanID{1})
	s.SetName("charge")
	s.SetStartTimestamp(pcommon.NewTimestampFromTime(at))
	s.SetEndTimestamp(pcommon.NewTimestampFromTime(at))
	e := s.Events().AppendEmpty()
	e.SetName("exception")
	e.SetTimestamp(pcommon.NewTimestampFromTime(at))
	e.Attributes().PutStr("exception.type", kind)
	e.Attributes().PutStr("exception.message", text)
	value, err := ptraceotlp.NewExportRequestFromTraces(td).MarshalProto()
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func TestAnErrorThatBothSDKsToldOfIsOneEventInEitherOrder(t *testing.T) {
	l, m := newLine(t), &twinMemory{memory: newMemory(), lines: map[schemas.Tally]bool{}}
	reg := prometheus.NewRegistry()
	p, err := New(l.cfg, Deps{Spans: m, Events: m, Metrics: m, Logs: noLogs{}, Ledger: m, Issues: m, Nodes: m}, reg, quiet)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Shutdown(context.Background()) })

	late, early := pcommon.TraceID{1, 15: 1}, pcommon.TraceID{2, 15: 2}
	sdk := func(id int, trace pcommon.TraceID) []byte {
		return fmt.Appendf(nil, `{"event_id":"%032x","exception":[{"type":"CardDeclined","value":"expired"}],"contexts":{"trace":{"trace_id":"%s","span_id":"0100000000000000"}}}`, id, trace)
	}
	// The SDK's event comes when the other is stored.
	span := failed(t, late, time.Now(), "shop.CardDeclined", "expired")
	l.send(t, topics.IngestSpans, schemas.SchemaOTLPTraces, span)
	wait(t, "the error of OpenTelemetry", func() bool { return len(m.origins()) == 1 })
	l.send(t, topics.IngestEvents, schemas.SchemaSentryEvent, sdk(1, late))
	wait(t, "both events", func() bool { return len(m.origins()) == 2 })
	wait(t, "the ledger's lines of both", func() bool { return m.sums(t)["stored "] == 2 })

	k, err := keeper.New(keeper.Config{Soon: 5 * time.Millisecond, Twins: 5 * time.Millisecond}, keeper.Deps{Issues: job{}, Events: struct{ exporters.IssueEventReader }{}, Twins: m, Ledger: m, Producer: noRecords{}}, reg, quiet)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.Shutdown(context.Background()) })
	wait(t, "one event", func() bool { return len(m.origins()) == 1 })

	// And before it. The first span comes once more, as of a client that had no answer.
	l.send(t, topics.IngestEvents, schemas.SchemaSentryEvent, sdk(2, early))
	wait(t, "the second event", func() bool { return len(m.origins()) == 2 })
	l.send(t, topics.IngestSpans, schemas.SchemaOTLPTraces, failed(t, early, time.Now(), "CardDeclined", "expired"), span)
	want := map[string]int64{"accepted ": 2, "stored ": 2, "filtered pipeline:sent_by_sdk": 2} // a collector tells that it accepted the SDK's
	wait(t, "the ledger's lines", func() bool { return cmp.Equal(m.sums(t), want) })
	if got := m.origins(); !cmp.Equal(got, []schemas.Origin{schemas.OriginSentry, schemas.OriginSentry}) || m.gone != 1 {
		t.Errorf("events of %q are stored and %d were removed, want the SDK's two, and one", got, m.gone)
	}
}
