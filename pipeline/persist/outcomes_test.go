package persist

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hoptrace/hoptrace/pipeline/consume"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/schemas/topics"
)

type tallies []schemas.Tally

func (s *tallies) WriteTallies(_ context.Context, lines []schemas.Tally) error {
	*s = append(*s, lines...)
	return nil
}

func TestOutcomesBecomeLinesOfTheLedger(t *testing.T) {
	record := func(offset int64, value string) consume.Record {
		return consume.Record{Topic: topics.Outcomes, Offset: offset, Value: []byte(value), Headers: headers("42", schemas.SchemaOutcomes), Timestamp: received}
	}
	var s tallies
	h := NewOutcomes(&s, metrics(), quiet())
	assign(t, h, partition(topics.Outcomes, 0, 0))
	dead, err := h.Handle(t.Context(), []consume.Record{
		record(0, `{"timestamp":"2026-11-23T12:00:00Z","org_id":1,"project_id":42,"outcome":1,"reason":"localhost","category":12,"quantity":30,"key_id":5}`),
		record(1, `{"timestamp":"2026-11-23T12:00:01Z","project_id":42,"outcome":0,"category":1}`),
		record(2, `{"timestamp":"yesterday","project_id":42,"outcome":0}`),
		record(3, `{"timestamp":"2026-11-23T12:00:01Z","project_id":42,"outcome":77}`),
	})
	if err != nil || len(dead) != 2 {
		t.Fatalf("Handle = %v, %v; want two dead letters", dead, err)
	}
	source := s[0].Source
	want := tallies{
		{Project: 42, Time: 1795435200e9, Category: schemas.CategorySpan, Outcome: schemas.OutcomeFiltered, Reason: "localhost", KeyID: 5, Quantity: 30, Source: source},
		{Project: 42, Time: 1795435201e9, Category: schemas.CategoryError, Outcome: schemas.OutcomeAccepted, Quantity: 1, Source: source, Position: schemas.Position{Offset: 1}},
	}
	if d := cmp.Diff(want, s); d != "" {
		t.Errorf("lines (-want +got):\n%s", d)
	}
}
