package persist

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hoptrace/hoptrace/pipeline/consume"
	"github.com/hoptrace/hoptrace/pipeline/normalize"
	"github.com/hoptrace/hoptrace/pipeline/postprocess"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/schemas/topics"
	"github.com/hoptrace/hoptrace/schemas/wire"
)

func newEvents(s *store, hooks ...postprocess.Hook) *Events {
	return NewEvents(s, hooks, normalize.DefaultConfig(), metrics(), quiet())
}

func eventBatch() []consume.Record {
	var batch []consume.Record
	for i := range int64(6) {
		batch = append(batch, eventRecord(20+i, nil))
	}
	return batch
}

// hook remembers what it was told; it dies with the store.
type hook struct {
	s    *store
	told map[schemas.EventID]int
}

func (h *hook) Name() string { return "test" }

func (h *hook) Stored(_ context.Context, events []postprocess.Event) error {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	for _, e := range events {
		if _, is := h.s.events[e.Source][e.Position]; !is {
			return errors.New("told of an event that is not stored")
		}
		if h.told == nil {
			h.told = map[schemas.EventID]int{}
		}
		h.told[e.ID]++
		if err := h.s.step(); err != nil {
			return err
		}
	}
	return nil
}

func wantEvents(t *testing.T, s *store, n int) {
	t.Helper()
	total := 0
	for _, rows := range s.events {
		total += len(rows)
	}
	if total != n || s.eventDup != 0 {
		t.Errorf("%d events stored, %d twice; want %d, each once", total, s.eventDup, n)
	}
}

func TestACrashAtAnyStepStoresEachEventOnceAndTellsEveryHook(t *testing.T) {
	for dieAt := 1; ; dieAt++ {
		s := newStore()
		s.dieAt = dieAt
		told := &hook{s: s}
		h := newEvents(s, told)
		assign(t, h, partition(topics.Events, 0, 20))
		_, err := h.Handle(context.Background(), eventBatch())
		if err == nil {
			if dieAt < 6+1+6 {
				t.Fatalf("only %d steps: 6 rows, the answer and 6 that a hook is told of were to come", dieAt)
			}
			return
		}
		if !errors.Is(err, errCrash) {
			t.Fatal(err)
		}
		s.dieAt = 0
		if dieAt%2 == 0 { // another process
			h = newEvents(s, told)
			assign(t, h, partition(topics.Events, 0, 20))
		}
		if _, err := h.Handle(context.Background(), eventBatch()); err != nil {
			t.Fatal(err)
		}
		wantEvents(t, s, 6)
		if len(told.told) != 6 {
			t.Errorf("the hook was told of %d events, want 6", len(told.told))
		}
		if t.Failed() {
			t.Fatalf("died before step %d", dieAt)
		}
	}
}

func TestARowComesBackAsItWasWritten(t *testing.T) {
	full := Row{Event: schemas.Event{
		Project: 1<<64 - 1, ID: schemas.EventID{1, 15: 2}, Time: -5, Received: 6, Issue: 1<<64 - 1, Fingerprint: schemas.Fingerprint{3}, HashVersion: "v", Level: "l", Platform: "p", Type: "t",
		Value: "a\"\\\n\x00ü☃", Culprit: "c", Transaction: "x", Release: "r", Dist: "d", Environment: "e", Server: "s", Logger: "lg", SDK: "sdk", SDKName: "sn", Origin: schemas.OriginOTel, Handled: schemas.HandledNo,
		UserID: "1", UserName: "2", UserEmail: "3", UserIP: "4", UserHash: 1 << 63, TraceID: schemas.TraceID{4}, SpanID: schemas.SpanID{5}, Topic: "kt", Partition: 0, Offset: 1 << 62, Group: "g",
		Member: "m", KeyHash: "k", ProducerRelease: "pr", Attempt: 65535, Batch: 1<<32 - 1, RecordTime: 9, Age: -1 << 62, OriginalTopic: "ot", OriginalPartition: 1<<31 - 1, OriginalOffset: 0,
		Tags: []schemas.Attribute{{Key: "a", Value: "b"}, {Key: `"`, Value: ""}}, Node: "n", Weight: 7, Repeat: true, Ingest: 1<<64 - 1, IngestOffset: 1<<63 - 1,
	}, Title: "ti", IsNew: true, IsRegression: true}
	none := Row{Event: schemas.Event{Partition: schemas.Unknown, Offset: schemas.Unknown, Age: schemas.Unknown, OriginalPartition: schemas.Unknown, OriginalOffset: schemas.Unknown}}
	for _, want := range []Row{full, none} {
		text := AppendRow(nil, &want)
		got, err := ParseRow(text)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
	}
	if got, err := ParseRow([]byte(`{"p":1,"newer":"text","more":7,"yes":true,"l":"x"}`)); err != nil || got.Project != 1 || got.Level != "x" {
		t.Errorf("a row of a newer program gives %+v, %v", got, err)
	}
	for _, bad := range []string{``, `[]`, `{`, `{"p"}`, `{"p":-1}`, `{"p":1`, `{"p":1}x`, `{"id":"AA"}`, `{"ka":70000}`, `{"tg":["a"]}`, `{"tg":["a","b"`, `{"l":"\x"}`, `{"rp":1}`, `{"x":[1]}`, `{"p":1 ,"l":"x"}`} {
		if got, err := ParseRow([]byte(bad)); err == nil {
			t.Errorf("%s was read as %+v", bad, got)
		}
	}
}

func FuzzParseRow(f *testing.F) {
	f.Add([]byte(`{"p":1,"id":"AAAAAAAAAAAAAAAAAAAAAA","tg":["a","b"],"rp":true,"kage":-5}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := ParseRow(text)
		if err != nil {
			return
		}
		again, err := ParseRow(AppendRow(nil, &r))
		if err != nil {
			t.Fatal(err)
		}
		if again.Project != r.Project || again.ID != r.ID || again.Age != r.Age || len(again.Tags) != len(r.Tags) {
			t.Fatalf("%+v became %+v", r, again)
		}
	})
}

func TestRowsCarryBothCoordinates(t *testing.T) {
	s := newStore()
	h := newEvents(s)
	assign(t, h, partition(topics.Events, 0, 0))
	if _, err := h.Handle(context.Background(), []consume.Record{eventRecord(5, nil)}); err != nil {
		t.Fatal(err)
	}
	e := s.events[Source(topics.Events, topicID, 0)][schemas.Position{Offset: 5}]
	if e.Ingest != 9 || e.IngestOffset != 1005 || e.Node != "a.b.c.d" || e.Issue != 7 {
		t.Errorf("got %+v", e)
	}
}

func TestARecordThatProcessEventsReadAgainMakesNoSecondRow(t *testing.T) {
	s := newStore()
	h := newEvents(s)
	assign(t, h, partition(topics.Events, 0, 0))
	ingest := func(offset, of int64) consume.Record {
		return eventRecord(offset, func(r *Row) { r.IngestOffset, r.ID[15] = of, byte(of) })
	}
	handle := func(h *Events, batch ...consume.Record) {
		t.Helper()
		if _, err := h.Handle(context.Background(), batch); err != nil {
			t.Fatal(err)
		}
	}
	handle(h, ingest(1, 100), ingest(2, 101), ingest(3, 101))
	handle(h, ingest(4, 100), ingest(5, 102))
	if s.askedIngest != 1 {
		t.Errorf("the store was asked %d times, want once", s.askedIngest)
	}
	h = newEvents(s) // another process
	assign(t, h, partition(topics.Events, 0, 6))
	handle(h, ingest(6, 102), ingest(7, 103), ingest(8, 99), ingest(9, 100), ingest(10, 103))
	wantEvents(t, s, 5)
	seen := map[int64]bool{}
	for _, rows := range s.events {
		for _, e := range rows {
			if seen[e.IngestOffset] {
				t.Errorf("ingest record %d has two rows", e.IngestOffset)
			}
			seen[e.IngestOffset] = true
		}
	}
	o := &ingested{offsets: map[int64]struct{}{}}
	for i := range int64(3 * maxIngested) {
		o.add(i)
	}
	if _, is := o.offsets[3*maxIngested-1]; len(o.offsets) > maxIngested || !is || o.from <= 0 {
		t.Errorf("%d offsets from %d are held", len(o.offsets), o.from)
	}
}

func TestAnEventThatAnotherWroteIsReadFromItself(t *testing.T) {
	m := wire.EventsInsert{Event: wire.InsertedEvent{
		EventID: strings.Repeat("ab", 16), GroupID: 7, PrimaryHash: strings.Repeat("cd", 16), ProjectID: 42, Datetime: received.Add(time.Second).Format(time.RFC3339Nano),
		Data: []byte(`{"platform":"python","release":"r1","exception":{"values":[{"type":"E","value":"v"}]},"tags":[["a","b"]],"contexts":{"kafka":{"topic":"orders","offset":3}}}`),
	}, PostProcess: wire.PostProcess{IsNew: true}}
	r := consume.Record{Topic: topics.Events, Offset: 1, Value: m.AppendJSON(nil), Timestamp: received}
	s := newStore()
	told := &hook{s: s}
	h := newEvents(s, told)
	assign(t, h, partition(topics.Events, 0, 0))
	broken, noRow := r, eventRecord(3, nil)
	broken.Offset, broken.Value = 2, []byte(`[2,"insert",{}]`)
	noRow.Headers[len(noRow.Headers)-1].Value = []byte(`{"p":0}`)
	dead, err := h.Handle(context.Background(), []consume.Record{r, broken, noRow})
	if err != nil {
		t.Fatal(err)
	}
	if len(dead) != 2 || dead[0].Record.Offset != 2 || dead[1].Record.Offset != 3 {
		t.Errorf("dead letters %v, want those at offsets 2 and 3", dead)
	}
	e := s.events[Source(topics.Events, topicID, 0)][schemas.Position{Offset: 1}]
	if e.Project != 42 || e.Issue != 7 || e.Type != "E" || e.Release != "r1" || e.Topic != "orders" || e.Offset != 3 || e.Time != received.Add(time.Second).UnixNano() || e.ID.String() != strings.Repeat("ab", 16) ||
		e.Fingerprint.String() != strings.Repeat("cd", 16) || e.Ingest != 0 || len(e.Tags) != 1 {
		t.Errorf("got %+v", e)
	}
}

func TestEventBatchesTooLargeAreSplit(t *testing.T) {
	s := newStore()
	s.maxRows = 2
	h := newEvents(s)
	assign(t, h, partition(topics.Events, 0, 20))
	if _, err := h.Handle(context.Background(), eventBatch()); err != nil {
		t.Fatal(err)
	}
	wantEvents(t, s, 6)
}
