package persist

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/hoptrace/hoptrace/pipeline/consume"
	"github.com/hoptrace/hoptrace/pipeline/normalize"
	"github.com/hoptrace/hoptrace/schemas"
)

func newEvents(s *store) *Events {
	return NewEvents(s, s, s, normalize.DefaultConfig(), metrics(), quiet())
}

func eventBatch() []consume.Record {
	var batch []consume.Record
	for i := range int64(6) {
		batch = append(batch, eventRecord(20+i, fmt.Sprintf(
			`{"event_id":"%032x","timestamp":%d,"exception":[{"type":"E%d","value":"v"}]}`, 100+i, received.Unix()-10+i, i%2)))
	}
	return batch
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
	if len(s.blobs) != n || s.created != 2 {
		t.Errorf("%d payloads and %d issues, want %d and 2", len(s.blobs), s.created, n)
	}
}

func TestACrashAtAnyStepStoresEachEventOnceWithPayloadAndIssue(t *testing.T) {
	for dieAt := 1; ; dieAt++ {
		s := newStore()
		s.dieAt = dieAt
		h := newEvents(s)
		assign(t, h, partition(schemas.TopicIngestEvents, 0, 20))
		_, err := h.Handle(context.Background(), eventBatch())
		if err == nil {
			if dieAt < 6+2+6+1 {
				t.Fatalf("only %d steps: 6 payloads, 2 issues, 6 rows and the answer were to come", dieAt)
			}
			return
		}
		if !errors.Is(err, errCrash) {
			t.Fatal(err)
		}
		s.dieAt = 0
		if dieAt%2 == 0 { // another process
			h = newEvents(s)
			assign(t, h, partition(schemas.TopicIngestEvents, 0, 20))
		}
		if _, err := h.Handle(context.Background(), eventBatch()); err != nil {
			t.Fatal(err)
		}
		wantEvents(t, s, 6)
		if t.Failed() {
			t.Fatalf("died before step %d", dieAt)
		}
	}
}

func TestEventsOfOneFingerprintAreOneIssueFromTheFirstToTheLast(t *testing.T) {
	s := newStore()
	h := newEvents(s)
	assign(t, h, partition(schemas.TopicIngestEvents, 0, 0))
	if _, err := h.Handle(context.Background(), eventBatch()); err != nil {
		t.Fatal(err)
	}
	wantEvents(t, s, 6)
	for _, is := range s.issues {
		span := (is.LastSeen - is.FirstSeen) / 1e9
		if span != 4 || !strings.HasPrefix(is.Title, "E") || is.Project != 42 || len(is.Grouping) != 2 {
			t.Errorf("issue %+v seen over %d s, want 4", is, span)
		}
	}
	for _, rows := range s.events {
		for p, e := range rows {
			if e.Issue == 0 || s.issues[e.Fingerprint].ID != e.Issue || e.Project != 42 || e.Received != received.UnixNano() {
				t.Errorf("event at %v: %+v", p, e)
			}
		}
	}
	if n := testutil.ToFloat64(h.metrics.issuesNew); n != 2 {
		t.Errorf("%v new issues counted, want 2", n)
	}
}

func TestAnEventsIdIsTheEnvelopesThenItsOwnThenMadeFromItsPlace(t *testing.T) {
	s := newStore()
	h := newEvents(s)
	assign(t, h, partition(schemas.TopicIngestEvents, 0, 0))
	own, envelope := strings.Repeat("ab", 16), strings.Repeat("cd", 16)
	batch := []consume.Record{
		eventRecord(1, `{"event_id":"`+own+`","message":"a"}`),
		eventRecord(2, `{"event_id":"`+own+`","message":"a"}`),
		eventRecord(3, `{"message":"a"}`),
		eventRecord(4, `{"message":"a"}`),
	}
	batch[1].Headers = append(batch[1].Headers, consume.Header{Key: schemas.HeaderEventID, Value: []byte(envelope)})
	read := func() map[int64]string {
		out := map[int64]string{}
		if _, err := h.Handle(context.Background(), batch); err != nil {
			t.Fatal(err)
		}
		for _, rows := range s.events {
			for p, e := range rows {
				out[p.Offset] = e.ID.String()
			}
		}
		return out
	}
	first := read()
	if first[1] != own || first[2] != envelope || first[3] == first[4] || first[3] == strings.Repeat("0", 32) {
		t.Fatalf("ids %v", first)
	}
	s.events = map[schemas.Source]map[schemas.Position]schemas.Event{}
	h = newEvents(s)
	assign(t, h, partition(schemas.TopicIngestEvents, 0, 0))
	if d := cmp.Diff(first, read()); d != "" {
		t.Fatalf("ids differ at the second reading:\n%s", d)
	}
}

func TestABrokenEventIsRefusedAndItsNeighboursAreStored(t *testing.T) {
	s := newStore()
	h := newEvents(s)
	assign(t, h, partition(schemas.TopicIngestEvents, 0, 0))
	dead, err := h.Handle(context.Background(), []consume.Record{
		eventRecord(1, `{"message":"a"}`), eventRecord(2, `{"message":`), eventRecord(3, `[]`), eventRecord(4, `{"message":"b"}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(dead) != 2 || dead[0].Record.Offset != 2 || dead[1].Record.Offset != 3 {
		t.Fatalf("dead letters %v, want those at offsets 2 and 3", dead)
	}
	if len(s.blobs) != 2 {
		t.Fatalf("%d payloads, want 2", len(s.blobs))
	}
}

func TestEventBatchesTooLargeAreSplit(t *testing.T) {
	s := newStore()
	s.maxRows = 2
	h := newEvents(s)
	assign(t, h, partition(schemas.TopicIngestEvents, 0, 20))
	if _, err := h.Handle(context.Background(), eventBatch()); err != nil {
		t.Fatal(err)
	}
	wantEvents(t, s, 6)
}
