package clickhouse

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/hoptrace/hoptrace/schemas"
)

// allBounds reads trace_bounds as text, each row once.
func allBounds(t *testing.T, s *Store) (out []string) {
	t.Helper()
	line := new(proto.ColStr)
	err := s.query(t.Context(), "SELECT concat(toString(trace), ' ', toString(toUInt32(time)), ' ', service, ' ', topic, ' ', toString(partition), ' ', toString(offset)) AS line FROM trace_bounds FINAL ORDER BY line", nil,
		proto.Results{{Name: "line", Data: line}}, func() { out = nil }, func() {
			for i := range line.Rows() {
				out = append(out, strings.Clone(line.Row(i)))
			}
		})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// boundsRows are spans and rows of all kinds: of one trace and of two, without an
// offset, sent on after a failure, of before 1970.
func boundsRows() (spans []schemas.Span, rows []schemas.Message) {
	w := newWorkload(9, time.Now().Add(-time.Hour), 20*time.Second)
	for range 40 {
		spans, rows = w.next(spans, rows)
	}
	for i := range rows {
		m := &rows[i]
		switch {
		case m.Side == schemas.SideProcess && i%4 == 1:
			m.CreationTrace[3] ^= 0x55 // of another trace
		case i%10 == 2:
			m.Partition, m.Offset = schemas.Unknown, schemas.Unknown
		case i%10 == 4:
			m.RetryTopic, m.RetryPartition, m.RetryOffset, m.RetryAttempt = "orders", 3, int64(i), 1
		}
	}
	spans[0].Start, spans[0].End = -5e9, -4e9
	spans[1].Service = ""
	return spans, rows
}

func TestWhatWasStoredBeforeTraceBoundsIsFound(t *testing.T) {
	cfg := testConfig(engine(t))
	cfg.RetentionDays = 0 // rows of 1969 stay
	s := open(t, cfg)
	spans, rows := boundsRows()
	if err := s.WriteSpans(t.Context(), spans, rows); err != nil {
		t.Fatal(err)
	}
	event := schemas.Event{Project: 1, ID: schemas.EventID{1}, TraceID: spans[0].TraceID, Time: time.Now().UnixNano(), Source: 3}
	event.Topic, event.Partition, event.Offset = "orders", 1, 5
	event.OriginalTopic, event.OriginalPartition, event.OriginalOffset = "orders", 1, 4
	ofNone := schemas.Event{Project: 1, ID: schemas.EventID{2}, Time: event.Time, Partition: schemas.Unknown, Offset: schemas.Unknown, Source: 3, Position: schemas.Position{Offset: 1}}
	if err := s.WriteEvents(t.Context(), []schemas.Event{event, ofNone}); err != nil {
		t.Fatal(err)
	}
	want := allBounds(t, s)
	if len(want) < 100 {
		t.Fatalf("%d places were written, want more than 100", len(want))
	}
	for _, body := range []string{"TRUNCATE TABLE trace_bounds", traceBoundsSpans, traceBoundsRows, traceBoundsLinks, traceBoundsSentOn, traceBoundsRows, traceBoundsEvents} {
		if err := s.exec(t.Context(), body, nil); err != nil {
			t.Fatal(err)
		}
	}
	if got := allBounds(t, s); !slices.Equal(got, want) {
		t.Errorf("the migration makes %d places, writing made %d; first of each: %.200q and %.200q", len(got), len(want), got, want)
	}
	found, err := s.Spans(t.Context(), 1, []schemas.TraceID{spans[0].TraceID}, 0)
	if err != nil || len(found) != 3 {
		t.Errorf("%d spans of a trace that reaches from 1969 until now, %v; want 3", len(found), err)
	}
	for n, id := range []schemas.TraceID{spans[len(spans)-1].TraceID, spans[0].TraceID} { // which has none, and one
		if events, err := s.EventsOfTraces(t.Context(), 1, []schemas.TraceID{id}, 0); err != nil || len(events) != n {
			t.Errorf("%d events of trace %s, %v; want %d", len(events), id, err, n)
		}
	}
	for offset, n := range map[int64]int{3: 0, 4: 1, 5: 1} {
		if events, err := s.EventsOfRecord(t.Context(), 1, schemas.RecordRef{Topic: "orders", Partition: 1, Offset: offset}, 0); err != nil || len(events) != n {
			t.Errorf("%d events of the record at %d, %v; want %d", len(events), offset, err, n)
		}
	}
}

func TestPlacesThatAreWrittenAgainStayOne(t *testing.T) {
	cfg := testConfig(engine(t))
	cfg.RetentionDays = 0
	s := open(t, cfg)
	spans, rows := boundsRows()
	for range 3 {
		if err := s.writeBounds(t.Context(), spans, rows, nil); err != nil {
			t.Fatal(err)
		}
	}
	var n proto.ColUInt64
	count := func() (total uint64) {
		err := s.query(t.Context(), "SELECT count() AS n FROM trace_bounds", nil, proto.Results{{Name: "n", Data: &n}}, func() { total = 0 }, func() {
			for _, v := range n {
				total += v
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		return total
	}
	once := uint64(len(allBounds(t, s)))
	if err := s.exec(t.Context(), "OPTIMIZE TABLE trace_bounds FINAL", nil); err != nil {
		t.Fatal(err)
	}
	if got := count(); got != once {
		t.Errorf("%d places after three writes and a merge, want %d", got, once)
	}
}

// A batch of very many records, or a trace that lasts for days, is found by filters.
func TestTracesWithMorePlacesThanAreReadAreWhole(t *testing.T) {
	s := open(t, testConfig(engine(t)))
	spans, rows := one(1)
	var many []schemas.Message
	for i := range maxRecordsAt + 500 {
		m := rows[1]
		m.Offset, m.Position = int64(i), schemas.Position{Offset: 50, Index: uint32(i)} //nolint:gosec // small
		many = append(many, m)
	}
	var long []schemas.Span
	for i := range maxStretches + 50 {
		sp := spans[0]
		sp.Start += int64(i) * int64(time.Minute)
		sp.End, sp.SpanID[0], sp.SpanID[1] = sp.Start+1, byte(i), byte(i>>8)
		sp.Position = schemas.Position{Offset: 60, Index: uint32(i)} //nolint:gosec // small
		long = append(long, sp)
	}
	if err := s.WriteSpans(t.Context(), long, many); err != nil {
		t.Fatal(err)
	}
	id := []schemas.TraceID{spans[0].TraceID}
	gotSpans, err := s.Spans(t.Context(), 1, id, 0)
	if err != nil || len(gotSpans) != len(long) {
		t.Errorf("%d spans, %v; want %d", len(gotSpans), err, len(long))
	}
	gotRows, err := s.MessagesOfTraces(t.Context(), 1, id, 0)
	if err != nil || len(gotRows) != len(many) {
		t.Errorf("%d message rows, %v; want %d", len(gotRows), err, len(many))
	}
}
