package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/pipeline/consume"
	"github.com/hoptrace/hoptrace/pipeline/ledger"
	"github.com/hoptrace/hoptrace/pipeline/normalize"
	"github.com/hoptrace/hoptrace/pipeline/persist"
	"github.com/hoptrace/hoptrace/pipeline/symbolicate"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/schemas/topics"
	"github.com/hoptrace/hoptrace/schemas/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestACrashAtAnyStepLosesNoEventAndCountsEachOnce(t *testing.T) {
	for dieAt := 1; ; dieAt++ {
		w := newWorld()
		w.dieAt = dieAt
		h := newStage(t, w)
		_, err := h.Handle(context.Background(), batchOf(6))
		finished := err == nil
		if err != nil && !errors.Is(err, errCrash) {
			t.Fatal(err)
		}
		if finished && dieAt < 2+2+3 {
			t.Fatalf("only %d steps", dieAt)
		}
		w.dieAt = 0
		if dieAt%2 == 0 { // another process
			h = newStage(t, w)
		}
		handle(t, h, batchOf(6)...) // also when only the commit was lost
		rows, n := w.sent(t)
		if len(rows) != 6 || len(w.issues) != 2 || n > 12 {
			t.Errorf("died before step %d: %d events in %d records, %d issues; want 6 and 2", dieAt, len(rows), n, len(w.issues))
		}
		for i := range 6 {
			var eid schemas.EventID
			eid[15] = byte(100 + i)
			row, is := rows[eid]
			if !is || row.IngestOffset != int64(20+i) || row.Ingest != persist.Source(topics.IngestEvents, [16]byte{7}, 0) || row.Issue == 0 || w.nodes[row.Node] == "" || row.Project != 42 {
				t.Errorf("died before step %d: event %d is %+v", dieAt, i, row)
			}
		}
		if t.Failed() || finished {
			return
		}
	}
}

func TestABatchSeesEachIssueOnceFromTheFirstToTheLastEvent(t *testing.T) {
	w := newWorld()
	h := newStage(t, w)
	handle(t, h, batchOf(600)...)
	if w.calls != 1 || len(w.seen) != 2 {
		t.Fatalf("%d sightings in %d calls, want 2 in 1", len(w.seen), w.calls)
	}
	for _, s := range w.seen {
		if (s.LastSeen-s.FirstSeen)/1e9 != 598 || !strings.HasPrefix(s.Title, "E") || s.Category != "error" || s.Project != 42 || len(s.Tree) == 0 || s.LastReceived != received.UnixNano() {
			t.Errorf("sighting %q from %d to %d", s.Title, s.FirstSeen, s.LastSeen)
		}
	}
	rows, n := w.sent(t)
	if len(rows) != 600 || n != 600 {
		t.Fatalf("%d events in %d records, want 600", len(rows), n)
	}
	isNew := 0
	for _, r := range rows {
		if r.IsNew {
			isNew++
		}
	}
	if isNew != 2 || testutil.ToFloat64(h.p.metrics.issuesNew) != 2 {
		t.Errorf("%d events made their issue, want 2", isNew)
	}
	// In order, by issue.
	last := map[string]int64{}
	for _, r := range w.records {
		row, _ := persist.ParseRow(header(r, schemas.HeaderRow))
		if row.IngestOffset < last[string(r.Key)] {
			t.Fatalf("offset %d comes after %d", row.IngestOffset, last[string(r.Key)])
		}
		last[string(r.Key)] = row.IngestOffset
	}
	if len(last) != 2 {
		t.Errorf("%d keys, want one an issue", len(last))
	}
}

func TestAnEventsIdIsTheEnvelopesThenItsOwnThenMadeFromItsPlace(t *testing.T) {
	own := strings.Repeat("ab", 16)
	bare := func(offset int64, payload string, more ...consume.Header) consume.Record {
		r := record(offset, "event", 1, "{}", more...)
		r.Value = []byte(payload)
		r.Headers[0].Value = []byte(schemas.SchemaSentryEvent)
		return r
	}
	batch := []consume.Record{
		bare(1, `{"event_id":"`+own+`","message":"a"}`),
		bare(2, `{"event_id":"`+own+`","message":"a"}`, consume.Header{Key: schemas.HeaderEventID, Value: []byte(strings.Repeat("cd", 16))}),
		bare(3, `{"message":"a"}`), bare(4, `{"message":"a"}`),
		record(5, "event", 0x5f, `{"event_id":"`+own+`"}`),
	}
	read := func() map[int64]string {
		w := newWorld()
		handle(t, newStage(t, w), batch...)
		out := map[int64]string{}
		rows, _ := w.sent(t)
		for _, r := range rows {
			out[r.IngestOffset] = r.ID.String()
		}
		return out
	}
	first := read()
	if first[1] != own || first[2] != strings.Repeat("cd", 16) || first[3] == first[4] || first[3] == id(0) || first[5] != id(0x5f) {
		t.Fatalf("ids %v", first)
	}
	if d := cmp.Diff(first, read()); d != "" {
		t.Fatalf("ids differ at the second reading:\n%s", d)
	}
}

func TestABrokenRecordIsRefusedAndItsNeighboursGoOn(t *testing.T) {
	w := newWorld()
	h := newStage(t, w)
	notMsgpack, schema, noProject := record(2, "event", 2, ""), record(3, "event", 3, ""), record(5, "event", 5, "")
	notMsgpack.Value = []byte("{}")
	schema.Headers[0].Value = []byte("other/1")
	noProject.Headers[0].Value, noProject.Headers[1].Value = []byte(schemas.SchemaSentryEvent), []byte("0")
	dead := handle(t, h, record(1, "event", 1, `{"message":"a"}`), notMsgpack, schema, record(4, "event", 4, `{"message":`), noProject, record(6, "event", 6, `[]`), record(7, "repeat", 7, `{}`), record(8, "event", 8, `{"message":"b"}`))
	got := map[int64]string{}
	for _, d := range dead {
		got[d.Record.Offset] = d.Reason
	}
	for offset, want := range map[int64]string{2: "undecodable", 3: "schema", 4: "undecodable: event is broken JSON", 5: "project", 6: "not a JSON object", 7: "repeat"} {
		if !strings.Contains(got[offset], want) {
			t.Errorf("offset %d: reason %q, want %q", offset, got[offset], want)
		}
	}
	if rows, _ := w.sent(t); len(rows) != 2 || len(dead) != 6 {
		t.Errorf("%d events and %d dead letters, want 2 and 6", len(rows), len(dead))
	}
}

func TestEventsOfADiscardedIssueAreCountedAndGoNoFurther(t *testing.T) {
	w := newWorld()
	w.discard = true
	h := newStage(t, w)
	counted := ledger.Around(h, ledger.Config{Category: schemas.CategoryError, Source: persist.Source}, w)
	if _, err := counted.Handle(t.Context(), batchOf(2)); err != nil {
		t.Fatal(err)
	}
	if _, n := w.sent(t); n != 0 {
		t.Errorf("%d records were handed on", n)
	}
	if d := cmp.Diff([]string{"42 error filtered pipeline:discarded 20", "42 error filtered pipeline:discarded 21"}, w.outcomes); d != "" {
		t.Errorf("outcomes (-want +got):\n%s", d)
	}
}

func TestWhoAsksIsToldTheIssueOfAnEvent(t *testing.T) {
	f := func(w *world, payload string, want int) {
		t.Helper()
		var seen []exporters.Seen
		in := Incoming{
			IngestEvent: wire.IngestEvent{Type: "event", ProjectID: 42, Payload: []byte(payload)}, ID: schemas.EventID{1}, Received: received.UnixNano(),
			Seen: func(s exporters.Seen) { seen = append(seen, s) },
		}
		if _, err := newStage(t, w).p.Process(t.Context(), []Incoming{in}); err != nil {
			t.Fatal(err)
		}
		if len(seen) != want || want > 0 && (seen[0].Issue == 0 || seen[0].Hash == (schemas.Fingerprint{})) {
			t.Errorf("of %s it was told %+v, want %d", payload, seen, want)
		}
	}
	f(newWorld(), `{"message":"m"}`, 1)
	f(newWorld(), `{`, 0)
	discards := newWorld()
	discards.discard = true
	f(discards, `{"message":"m"}`, 0)
}

func TestARepeatBelongsWhereTheEventBelongsThatItRepeats(t *testing.T) {
	w := newWorld()
	h := newStage(t, w)
	repeat := func(offset int64, n, of int, more ...consume.Header) consume.Record {
		return record(offset, "repeat", n, `{"repeat_of":"`+id(of)+`","user":{"id":`+fmt.Sprint(n)+`},"contexts":{"kafka":{"topic":"orders","partition":1,"offset":`+fmt.Sprint(n)+`}}}`, more...)
	}
	handle(t, h, repeat(1, 11, 10), record(2, "event", 10, failing(0))) // of this batch, even before it
	handle(t, h, repeat(3, 12, 10))                                     // of an earlier one
	var stored schemas.EventID
	stored[15] = 9
	w.stored[stored] = schemas.Event{Fingerprint: schemas.Fingerprint{5}, Type: "Old", Value: "v", Node: "old"}
	handle(t, h, repeat(4, 13, 9), repeat(5, 14, 9)) // of one that is stored
	if w.asked != 1 {
		t.Errorf("the store was asked %d times, want once", w.asked)
	}
	rows, _ := w.sent(t)
	whole := rows[schemas.EventID{15: 10}]
	for _, n := range []byte{11, 12} {
		r := rows[schemas.EventID{15: n}]
		if r.Issue != whole.Issue || r.Fingerprint != whole.Fingerprint || r.Title != whole.Title || r.Node != whole.Node || !r.Repeat || r.Topic != "orders" || r.Offset != int64(n) || r.UserID != fmt.Sprint(n) || r.IsNew && n == 12 {
			t.Errorf("repeat %d is %+v; the whole event %+v", n, r, whole)
		}
	}
	if r := rows[schemas.EventID{15: 13}]; r.Title != "Old: v" || r.Node != "old" || r.Fingerprint != (schemas.Fingerprint{5}) {
		t.Errorf("the repeat of a stored event is %+v", r)
	}

	// One whose event is still on its way goes to the end of the topic.
	n := len(w.records)
	if dead := handle(t, h, repeat(6, 15, 77)); len(dead) != 0 {
		t.Fatalf("dead letters %v", dead)
	}
	again := w.records[n]
	if again.Topic != topics.IngestEvents || string(header(again, headerDeferred)) != "1" || string(again.Key) != "key" || len(again.Value) == 0 {
		t.Errorf("it was sent on as %+v", again)
	}
	next := consume.Record{Topic: again.Topic, Offset: 7, Key: again.Key, Value: again.Value}
	for _, h := range again.Headers {
		next.Headers = append(next.Headers, consume.Header{Key: h.Key, Value: h.Value})
	}
	handle(t, h, record(8, "event", 77, failing(1)))
	handle(t, h, next)
	rows, _ = w.sent(t)
	if r := rows[schemas.EventID{15: 15}]; r.Issue == 0 || r.Issue != rows[schemas.EventID{15: 77}].Issue {
		t.Errorf("after the event came its repeat is %+v", r)
	}
	last := repeat(9, 16, 78, consume.Header{Key: headerDeferred, Value: []byte("10")})
	if dead := handle(t, h, last); len(dead) != 1 || !strings.Contains(dead[0].Reason, "neither stored nor on its way") {
		t.Errorf("a repeat of nothing: %v", dead)
	}
}

func TestAPanicComesOutWhereTheLoopCatchesIt(t *testing.T) {
	w := newWorld()
	h := newStage(t, w)
	h.p.deps.Grouper = grouperFunc(func(e *normalize.Event) (Grouping, error) {
		if e.Message == "poison" {
			panic("at a rule")
		}
		return Grouping{Hashes: []schemas.Fingerprint{{1}}}, nil
	})
	defer func() {
		if v := recover(); v != "at a rule" {
			t.Errorf("recovered %v", v)
		}
		handle(t, h, record(2, "event", 2, `{"message":"sound"}`)) // it goes on
	}()
	_, _ = h.Handle(context.Background(), append(batchOf(40), record(1, "event", 1, `{"message":"poison"}`)))
}

type grouperFunc func(e *normalize.Event) (Grouping, error)

func (f grouperFunc) Group(_ context.Context, _ uint64, e *normalize.Event) (Grouping, error) {
	return f(e)
}

type frames struct{ err error }

func (f frames) Resolve(_ context.Context, r symbolicate.Request) ([]symbolicate.Result, error) {
	out := make([]symbolicate.Result, len(r.Frames))
	for i := range out {
		out[i] = symbolicate.Result{Found: true, Source: "src/pay.ts", Function: "charge", Line: 7}
	}
	return out, f.err
}

func TestSourcesAreFoundBeforeAnEventIsGroupedAndKept(t *testing.T) {
	w := newWorld()
	h := newStage(t, w)
	h.p.deps.Frames = frames{}
	js := record(1, "event", 1, `{"platform":"javascript","exception":[{"type":"E","value":"v","stacktrace":{"frames":[{"function":"a","abs_path":"https://x.example/a.js","lineno":1,"colno":2}]}}]}`)
	handle(t, h, js)
	rows, _ := w.sent(t)
	r := rows[schemas.EventID{15: 1}]
	if !strings.Contains(r.Culprit, "charge") || !strings.Contains(w.nodes[r.Node], "src/pay.ts") {
		t.Errorf("culprit %q; kept %s", r.Culprit, w.nodes[r.Node])
	}
	h.p.deps.Frames = frames{exporters.ErrUnavailable}
	if _, err := h.Handle(context.Background(), []consume.Record{js}); !errors.Is(err, exporters.ErrUnavailable) {
		t.Errorf("without the maps: %v", err)
	}
}

func TestWhatIsKeptIsWhatIsHandedOn(t *testing.T) {
	w := newWorld()
	handle(t, newStage(t, w), record(1, "event", 1, `{"message":"m","extra":{"a":1},"release":"bad\nname"}`, consume.Header{Key: schemas.HeaderWeight, Value: []byte("5")}, consume.Header{Key: schemas.HeaderOrigin, Value: []byte("otel")}))
	rows, _ := w.sent(t)
	r := rows[schemas.EventID{15: 1}]
	doc := w.nodes[r.Node]
	if r.Weight != 5 || r.Origin != schemas.OriginOTel || !strings.Contains(doc, `"_meta"`) || !bytes.Contains(w.records[0].Value, []byte(`"data":`+doc)) {
		t.Errorf("weight %d, kept %s, handed on %s", r.Weight, doc, w.records[0].Value)
	}
}

// lost answers as a producer whose broker is away.
type lost struct{ *world }

func (lost) ProduceSync(context.Context, ...*kgo.Record) error { return errCrash }

func TestAnEventThatWasNotHandedOnIsNothingToRepeat(t *testing.T) {
	w := newWorld()
	h := newStage(t, w)
	h.p.deps.Producer = lost{w}
	if _, err := h.Handle(context.Background(), batchOf(1)); !errors.Is(err, errCrash) {
		t.Fatal(err)
	}
	if len(h.p.recent.held) != 0 {
		t.Error("it is taken for known")
	}
}

func TestWhatIsKnownOfEventsIsBounded(t *testing.T) {
	r := newRecent(3)
	for i := range 10 {
		r.put(recentKey{1, schemas.EventID{byte(i)}}, known{title: fmt.Sprint(i)})
		r.put(recentKey{1, schemas.EventID{byte(i)}}, known{title: fmt.Sprint(i)})
	}
	if len(r.held) != 3 || r.held[recentKey{1, schemas.EventID{9}}].title != "9" || r.held[recentKey{1, schemas.EventID{7}}].title != "7" {
		t.Errorf("held %v", r.held)
	}
}
