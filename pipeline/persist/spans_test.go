package persist

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/pipeline/consume"
	"github.com/hoptrace/hoptrace/pipeline/ingest"
	"github.com/hoptrace/hoptrace/pipeline/normalize"
	"github.com/hoptrace/hoptrace/schemas"
)

func newSpans(s *store, writeRows int) *Spans {
	return NewSpans(s, nil, normalize.DefaultConfig(), ingest.Limits{}, writeRows, metrics(), quiet())
}

func assign(t *testing.T, h interface {
	Assigned(context.Context, []consume.Partition) error
}, parts ...consume.Partition,
) {
	t.Helper()
	if err := h.Assigned(context.Background(), parts); err != nil {
		t.Fatal(err)
	}
}

func spanBatch(t *testing.T) []consume.Record {
	var batch []consume.Record
	for p := range int32(2) {
		for o := range int64(4) {
			batch = append(batch, spanRecord(t, p, 10+o, 3))
		}
	}
	return batch
}

func wantOnce(t *testing.T, s *store, records, spansEach int) {
	t.Helper()
	for name, rows := range map[string]map[schemas.Source]map[schemas.Position]int{"span": s.spans, "message": s.messages} {
		total := 0
		for _, positions := range rows {
			for p, n := range positions {
				total++
				if n != 1 {
					t.Errorf("%s row %v written %d times", name, p, n)
				}
			}
		}
		if want := records * spansEach; total != want {
			t.Errorf("%d %s rows, want %d", total, name, want)
		}
	}
}

// TestACrashAtAnyStepStoresEachRowOnce dies before each durable step in turn,
// then starts again from the committed offset, which is that of the batch.
func TestACrashAtAnyStepStoresEachRowOnce(t *testing.T) {
	batch := spanBatch(t)
	parts := []consume.Partition{partition(schemas.TopicIngestSpans, 0, 10), partition(schemas.TopicIngestSpans, 1, 10)}
	for dieAt := 1; ; dieAt++ {
		s := newStore()
		s.dieAt = dieAt
		h := newSpans(s, 7) // several writes a batch
		assign(t, h, parts...)
		_, err := h.Handle(context.Background(), batch)
		if err == nil {
			if dieAt < 6 {
				t.Fatalf("only %d steps: the batch was to be written in parts", dieAt)
			}
			break // it took fewer steps than dieAt
		}
		if !errors.Is(err, errCrash) {
			t.Fatalf("step %d: %v", dieAt, err)
		}
		s.dieAt = 0
		again := newSpans(s, 1000) // another process, with batches cut elsewhere
		assign(t, again, parts...)
		if _, err := again.Handle(context.Background(), batch[:5]); err != nil {
			t.Fatalf("step %d, after the restart: %v", dieAt, err)
		}
		if _, err := again.Handle(context.Background(), batch[5:]); err != nil {
			t.Fatalf("step %d, after the restart: %v", dieAt, err)
		}
		wantOnce(t, s, 8, 3)
		if t.Failed() {
			t.Fatalf("died before step %d", dieAt)
		}
	}
}

func TestACrashBetweenWriteAndCommitStoresEachRowOnce(t *testing.T) {
	s := newStore()
	for range 3 { // written, never committed
		h := newSpans(s, 0)
		assign(t, h, partition(schemas.TopicIngestSpans, 0, 10), partition(schemas.TopicIngestSpans, 1, 10))
		if _, err := h.Handle(context.Background(), spanBatch(t)); err != nil {
			t.Fatal(err)
		}
	}
	wantOnce(t, s, 8, 3)
}

// TestARetryAfterAFailedWriteAsksTheStoreAgain is the same without a restart.
func TestARetryAfterAFailedWriteAsksTheStoreAgain(t *testing.T) {
	batch := spanBatch(t)
	for dieAt := 1; dieAt < 12; dieAt++ {
		s := newStore()
		s.dieAt = dieAt
		h := newSpans(s, 7)
		assign(t, h, partition(schemas.TopicIngestSpans, 0, 3), partition(schemas.TopicIngestSpans, 1, 3))
		_, err := h.Handle(context.Background(), batch)
		if !errors.Is(err, errCrash) {
			t.Fatalf("step %d: got %v, want %v", dieAt, err, errCrash)
		}
		s.dieAt, s.asked = 0, nil
		if _, err := h.Handle(context.Background(), batch); err != nil {
			t.Fatal(err)
		}
		wantOnce(t, s, 8, 3)
		// From the batch on, not from the offset that was committed at assignment.
		if d := cmp.Diff([]int64{10, 10}, s.asked); d != "" {
			t.Fatalf("asked from (-want +got):\n%s", d)
		}
	}
}

func TestATopicMadeAnewIsAnotherSource(t *testing.T) {
	s := newStore()
	record := spanRecord(t, 0, 0, 2)
	for id := range byte(2) {
		h := newSpans(s, 0)
		assign(t, h, consume.Partition{Topic: record.Topic, TopicID: [16]byte{id + 1}, Partition: 0})
		if _, err := h.Handle(context.Background(), []consume.Record{record}); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.rows) != 4 {
		t.Fatalf("%d spans, want 4: the second topic's are others", len(s.rows))
	}
	if Source("a", [16]byte{}, 1) == Source("b", [16]byte{}, 1) || Source("a", [16]byte{}, 1) == Source("a", [16]byte{}, 2) {
		t.Error("without ids, sources of different names or partitions are equal")
	}
}

func TestRecordsThatCanNeverBeReadAreRefusedAndDisturbNobody(t *testing.T) {
	s := newStore()
	h := newSpans(s, 0)
	assign(t, h, partition(schemas.TopicIngestSpans, 0, 0))
	batch := []consume.Record{spanRecord(t, 0, 0, 1), spanRecord(t, 0, 1, 1), spanRecord(t, 0, 2, 1), spanRecord(t, 0, 3, 1), spanRecord(t, 0, 4, 1)}
	batch[1].Value = batch[1].Value[:len(batch[1].Value)-3]
	batch[2].Headers = headers("none", schemas.SchemaOTLPTraces)
	batch[3].Headers = headers("42", "otlp-traces/9")
	dead, err := h.Handle(context.Background(), batch)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range dead {
		got = append(got, fmt.Sprint(d.Record.Offset, " ", strings.SplitN(d.Reason, " ", 2)[:1]))
	}
	if d := cmp.Diff([]string{"1 [undecodable:]", "2 [project:]", "3 [schema:]"}, got); d != "" {
		t.Fatalf("dead letters (-want +got):\n%s", d)
	}
	if len(s.rows) != 2 {
		t.Fatalf("%d spans stored, want those of the 2 good records", len(s.rows))
	}
	for _, reason := range []string{"undecodable", "project", "schema"} {
		if n := testutil.ToFloat64(h.metrics.spans.refused.WithLabelValues(reason)); n != 1 {
			t.Errorf("refused for %s: %v, want 1", reason, n)
		}
	}
}

func TestImpossibleSpansAreDroppedAndTheirNeighboursKeepTheirPlaces(t *testing.T) {
	good := spanRecord(t, 0, 5, 3)
	d := ingest.NewSpanDecoder(ingest.Limits{})
	spans, err := d.Decode(nil, good.Value)
	if err != nil || len(spans) != 3 {
		t.Fatal(err)
	}
	// The middle one's id, broken in the encoding.
	id := string(spans[1].SpanID[:])
	good.Value = []byte(strings.Replace(string(good.Value), id, strings.Repeat("\x00", 8), 1))
	s := newStore()
	h := newSpans(s, 0)
	assign(t, h, partition(schemas.TopicIngestSpans, 0, 0))
	if dead, err := h.Handle(context.Background(), []consume.Record{good}); err != nil || len(dead) != 0 {
		t.Fatalf("dead %v, error %v", dead, err)
	}
	var at []uint32
	for _, r := range s.rows {
		at = append(at, r.Position.Index)
		if r.Project != 42 || r.Position.Offset != 5 || r.Service != "checkout" || r.Name != "send orders" {
			t.Errorf("row %+v", r)
		}
	}
	if diff := cmp.Diff([]uint32{0, 2}, at); diff != "" {
		t.Errorf("indexes (-want +got):\n%s", diff)
	}
	var offsets []int64
	for _, m := range s.hops {
		offsets = append(offsets, m.Offset)
		if m.Topic != "orders" || m.Project != 42 || m.Source != s.rows[0].Source {
			t.Errorf("message row %+v", m)
		}
	}
	if diff := cmp.Diff([]int64{500, 502}, offsets); diff != "" {
		t.Errorf("message offsets (-want +got):\n%s", diff)
	}
	if n := testutil.ToFloat64(h.metrics.spansDropped[normalize.NoSpanID]); n != 1 {
		t.Errorf("dropped for want of an id: %v, want 1", n)
	}
}

func TestBatchesTooLargeForTheStoreAreSplitAndARowTooLargeIsDropped(t *testing.T) {
	s := newStore()
	s.maxRows = 3
	h := newSpans(s, 0)
	assign(t, h, partition(schemas.TopicIngestSpans, 0, 10), partition(schemas.TopicIngestSpans, 1, 10))
	if _, err := h.Handle(context.Background(), spanBatch(t)); err != nil {
		t.Fatal(err)
	}
	wantOnce(t, s, 8, 3)

	h.writer = refusesAll{s}
	if _, err := h.Handle(context.Background(), []consume.Record{spanRecord(t, 0, 99, 2)}); err != nil {
		t.Fatalf("a row that no store takes stopped its partition: %v", err)
	}
	if n := testutil.ToFloat64(h.metrics.spansTooLarge); n != 4 {
		t.Errorf("%v rows dropped as too large, want 2 spans and 2 messages", n)
	}
}

type refusesAll struct{ *store }

func (r refusesAll) WriteSpans(ctx context.Context, spans []schemas.Span, messages []schemas.Message) error {
	r.maxRows = 1
	return r.store.WriteSpans(ctx, append(spans[:len(spans):len(spans)], schemas.Span{}, schemas.Span{}), messages)
}

type cannotTell struct{ *store }

func (cannotTell) WrittenSpans(context.Context, schemas.Source, int64) (exporters.Written, error) {
	return exporters.Written{}, exporters.ErrUnavailable
}

func TestAStoreThatCannotTellWhatItHasStopsTheAssignment(t *testing.T) {
	h := NewSpans(cannotTell{newStore()}, nil, normalize.DefaultConfig(), ingest.Limits{}, 0, metrics(), quiet())
	err := h.Assigned(context.Background(), []consume.Partition{partition(schemas.TopicIngestSpans, 3, 8)})
	if !errors.Is(err, exporters.ErrUnavailable) || !strings.Contains(err.Error(), `topic "ingest-spans" partition 3 from offset 8`) {
		t.Fatalf("got %v, want ErrUnavailable with topic, partition and offset", err)
	}
	if _, err := h.Handle(context.Background(), []consume.Record{spanRecord(t, 3, 8, 1)}); err == nil {
		t.Fatal("a batch was stored of a partition whose replay zone is not known")
	}
}

func TestEachRecordsWayFromCollectorToStoreIsTimed(t *testing.T) {
	reg := prometheus.NewRegistry()
	m, err := NewMetrics(reg)
	if err != nil {
		t.Fatal(err)
	}
	h := NewSpans(newStore(), nil, normalize.DefaultConfig(), ingest.Limits{}, 0, m, quiet())
	assign(t, h, partition(schemas.TopicIngestSpans, 0, 0))
	r := spanRecord(t, 0, 0, 1)
	r.Headers[1].Value = fmt.Append(nil, time.Now().Add(-time.Hour).UnixNano())
	if _, err := h.Handle(context.Background(), []consume.Record{r}); err != nil {
		t.Fatal(err)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "hoptrace_pipeline_accept_to_stored_seconds" {
			continue
		}
		for _, m := range f.GetMetric() {
			if m.GetLabel()[0].GetValue() == StageSpans {
				if n, sum := m.GetHistogram().GetSampleCount(), m.GetHistogram().GetSampleSum(); n != 1 || sum < 3600 || sum > 3700 {
					t.Fatalf("%d observations of %v s, want one of about an hour", n, sum)
				}
				return
			}
		}
	}
	t.Fatal("no hoptrace_pipeline_accept_to_stored_seconds of stage spans")
}
