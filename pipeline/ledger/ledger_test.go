package ledger

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/pipeline/consume"
	"github.com/hoptrace/hoptrace/schemas"
)

type handler struct {
	f func(ctx context.Context, batch []consume.Record) ([]consume.DeadLetter, error)
}

func (handler) Assigned(context.Context, []consume.Partition) error { return nil }
func (handler) Revoked(context.Context, []consume.Partition)        {}
func (h handler) Handle(ctx context.Context, batch []consume.Record) ([]consume.DeadLetter, error) {
	return h.f(ctx, batch)
}

type store struct {
	lines []schemas.Tally
	err   error
}

func (s *store) WriteTallies(_ context.Context, lines []schemas.Tally) error {
	s.lines = append(s.lines, lines...)
	return s.err
}

func record(offset int64, count, category string) consume.Record {
	r := consume.Record{Topic: "ingest-spans", Partition: 1, Offset: offset, Timestamp: time.Unix(9, 0)}
	for _, h := range [][2]string{{schemas.HeaderProject, "7"}, {schemas.HeaderReceived, "5000"}, {schemas.HeaderCount, count}, {schemas.HeaderCategory, category}} {
		if h[1] != "" {
			r.Headers = append(r.Headers, consume.Header{Key: h[0], Value: []byte(h[1])})
		}
	}
	return r
}

func config(final bool) Config {
	return Config{Final: final, Category: schemas.CategorySpan, Source: func(_ string, _ [16]byte, p int32) schemas.Source { return schemas.Source(p) + 10 }}
}

func TestEachItemOfARecordHasOneEnd(t *testing.T) {
	inner := handler{func(ctx context.Context, batch []consume.Record) ([]consume.DeadLetter, error) {
		Drop(ctx, 11, 1, schemas.OutcomeInvalid, "too_old", 2)
		Drop(ctx, 11, 1, schemas.OutcomeInvalid, "no_trace_id", 1)
		Drop(ctx, 11, 1, schemas.OutcomeInvalid, "too_old", 1)
		Drop(ctx, 11, 4, schemas.OutcomeFiltered, "discarded", 99) // more than it has
		return []consume.DeadLetter{{Record: &batch[1], Reason: "undecodable: broken protobuf at byte 3"}}, nil
	}}
	batch := []consume.Record{record(1, "10", ""), record(2, "4", "span"), record(3, "", "log_item"), record(4, "2", "nonsense"), record(5, "x", "")}
	f := func(final bool, stored ...schemas.Tally) {
		t.Helper()
		s := &store{}
		if _, err := Around(inner, config(final), s).Handle(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
		line := func(offset int64, index uint32, c schemas.Category, o schemas.Outcome, reason string, n int64) schemas.Tally {
			return schemas.Tally{Project: 7, Time: 5000, Category: c, Outcome: o, Reason: reason, Quantity: n, Source: 11, Position: schemas.Position{Offset: offset, Index: index}}
		}
		want := []schemas.Tally{
			line(1, 0, schemas.CategorySpan, schemas.OutcomeInvalid, "pipeline:too_old", 3),
			line(1, 1, schemas.CategorySpan, schemas.OutcomeInvalid, "pipeline:no_trace_id", 1),
			line(1, 2, schemas.CategorySpan, schemas.OutcomeStored, "", 6),
			line(2, 0, schemas.CategorySpan, schemas.OutcomeParked, "undecodable", 4),
			line(3, 0, schemas.CategoryLogItem, schemas.OutcomeStored, "", 1),
			line(4, 0, schemas.CategorySpan, schemas.OutcomeFiltered, "pipeline:discarded", 2),
			line(5, 0, schemas.CategorySpan, schemas.OutcomeStored, "", 1),
		}
		if !final {
			kept := want[:0:0]
			for _, l := range want {
				if l.Outcome != schemas.OutcomeStored {
					kept = append(kept, l)
				}
			}
			want = kept
		}
		if d := cmp.Diff(want, s.lines); d != "" {
			t.Errorf("final %v (-want +got):\n%s", final, d)
		}
	}
	f(true)
	f(false)
}

func TestWithoutTheLedgersLinesABatchIsNotDone(t *testing.T) {
	ok := handler{func(context.Context, []consume.Record) ([]consume.DeadLetter, error) { return nil, nil }}
	if _, err := Around(ok, config(true), &store{err: errors.New("down")}).Handle(t.Context(), []consume.Record{record(1, "1", "")}); err == nil {
		t.Error("the batch is done though its lines are not written")
	}
	s := &store{}
	bad := handler{func(context.Context, []consume.Record) ([]consume.DeadLetter, error) { return nil, errors.New("store") }}
	if _, err := Around(bad, config(true), s).Handle(t.Context(), []consume.Record{record(1, "1", "")}); err == nil || len(s.lines) > 0 {
		t.Errorf("a batch that failed: %v, lines %v", err, s.lines)
	}
}

func TestDropWithoutALedgerIsHarmless(t *testing.T) {
	Drop(t.Context(), 11, 1, schemas.OutcomeInvalid, "x", 1)
}

func TestWhatIsMadeOfItemsWasAcceptedByTheStage(t *testing.T) {
	one, two := schemas.EventID{7: 1, 15: 8}, schemas.EventID{7: 2, 15: 8}
	inner := handler{func(ctx context.Context, _ []consume.Record) ([]consume.DeadLetter, error) {
		Derive(ctx, 11, 1, one, 6000)
		Derive(ctx, 11, 1, two, 0)
		Derive(ctx, 11, 2, one, 6000) // its item was sent twice
		return nil, nil
	}}
	s := &store{}
	if _, err := Around(inner, config(true), s).Handle(t.Context(), []consume.Record{record(1, "10", ""), record(2, "1", "")}); err != nil {
		t.Fatal(err)
	}
	accepted := func(source schemas.Source, at int64) schemas.Tally {
		return schemas.Tally{Project: 7, Time: at, Category: schemas.CategoryError, Outcome: schemas.OutcomeAccepted, Quantity: 1, Source: source, Position: schemas.Position{Offset: 4}}
	}
	stored := func(offset, n int64) schemas.Tally {
		return schemas.Tally{Project: 7, Time: 5000, Category: schemas.CategorySpan, Outcome: schemas.OutcomeStored, Quantity: n, Source: 11, Position: schemas.Position{Offset: offset}}
	}
	if d := cmp.Diff([]schemas.Tally{accepted(1, 6000), accepted(2, 5000), stored(1, 10), accepted(1, 6000), stored(2, 1)}, s.lines); d != "" {
		t.Errorf("lines (-want +got):\n%s", d)
	}
}

func TestATwinThatIsRemovedIsAnEventThatWasLeftOut(t *testing.T) {
	inner := handler{func(context.Context, []consume.Record) ([]consume.DeadLetter, error) { return nil, nil }}
	twin := exporters.Twin{Project: 7, ID: schemas.EventID{7: 9, 15: 14}, Received: 5000}
	source, offset := PlaceOf(twin.ID)
	r := record(1, "1", "error")
	r.Headers = append(r.Headers,
		consume.Header{Key: schemas.HeaderFirstSource, Value: strconv.AppendUint(nil, uint64(source), 10)},
		consume.Header{Key: schemas.HeaderFirstOffset, Value: strconv.AppendInt(nil, offset, 10)})
	kept, left := &store{}, &store{}
	if _, err := Around(inner, config(true), kept).Handle(t.Context(), []consume.Record{r}); err != nil {
		t.Fatal(err)
	}
	leaving := handler{func(ctx context.Context, _ []consume.Record) ([]consume.DeadLetter, error) {
		Drop(ctx, 11, 1, schemas.OutcomeFiltered, ReasonTwin, 1)
		return nil, nil
	}}
	if _, err := Around(leaving, config(false), left).Handle(t.Context(), []consume.Record{r}); err != nil {
		t.Fatal(err)
	}
	lines := Twin(nil, &twin)
	if d := cmp.Diff(left.lines, lines[:1]); d != "" {
		t.Errorf("it is not the line of one that was left out in time (-want +got):\n%s", d)
	}
	if len(kept.lines) != 1 {
		t.Fatalf("lines are %+v", kept.lines)
	}
	back := kept.lines[0]
	back.Quantity, back.Position.Index = -1, lines[1].Position.Index
	if d := cmp.Diff(back, lines[1]); d != "" || back.Position.Index == 0 {
		t.Errorf("what is taken back is not what was stored, at another index (-want +got):\n%s", d)
	}
}

func TestAnEventHandedOnTwiceIsOneLine(t *testing.T) {
	inner := handler{func(context.Context, []consume.Record) ([]consume.DeadLetter, error) { return nil, nil }}
	s := &store{}
	batch := []consume.Record{record(1, "1", ""), record(2, "1", "")}
	for i := range batch {
		batch[i].Headers = append(batch[i].Headers, consume.Header{Key: schemas.HeaderFirstSource, Value: []byte("99")}, consume.Header{Key: schemas.HeaderFirstOffset, Value: []byte("7")})
	}
	if _, err := Around(inner, config(true), s).Handle(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	if len(s.lines) != 2 || s.lines[0] != s.lines[1] || s.lines[0].Source != 99 || s.lines[0].Position.Offset != 7 {
		t.Errorf("lines are %+v", s.lines)
	}
}

func TestBytesAndWhatTheHandlerTellsAreCountedBeside(t *testing.T) {
	f := func(cfg Config, inner handler, want map[schemas.Category]int64) {
		t.Helper()
		s := &store{}
		cfg.Source = config(true).Source
		r := record(1, "3", "")
		r.Value = make([]byte, 100)
		if _, err := Around(inner, cfg, s).Handle(t.Context(), []consume.Record{r}); err != nil {
			t.Fatal(err)
		}
		got := map[schemas.Category]int64{}
		for _, l := range s.lines {
			if l.Outcome != schemas.OutcomeStored {
				t.Errorf("line %+v", l)
			}
			got[l.Category] += l.Quantity
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("stored (-want +got):\n%s", d)
		}
	}
	ok := handler{func(context.Context, []consume.Record) ([]consume.DeadLetter, error) { return nil, nil }}
	f(Config{Final: true, Category: schemas.CategoryLogItem, Bytes: schemas.CategoryLogByte}, ok, map[schemas.Category]int64{schemas.CategoryLogItem: 3, schemas.CategoryLogByte: 100})
	f(Config{Final: true, Told: true, Category: schemas.CategoryAttachment}, handler{func(ctx context.Context, _ []consume.Record) ([]consume.DeadLetter, error) {
		Stored(ctx, 11, 1, schemas.CategoryAttachment, 5)
		Stored(ctx, 11, 1, schemas.CategoryAttachment, 7)
		Stored(ctx, 11, 1, schemas.CategoryAttachmentItem, 2)
		return nil, nil
	}}, map[schemas.Category]int64{schemas.CategoryAttachment: 12, schemas.CategoryAttachmentItem: 2})
}
