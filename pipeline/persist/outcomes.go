package persist

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/pipeline/consume"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/schemas/wire"
)

// writeOutcomes is how many lines of the ledger one write has at most.
const writeOutcomes = 20_000

// Outcomes is the handler behind topic outcomes.
type Outcomes = Rows[schemas.Tally]

// NewOutcomes makes the handler.
func NewOutcomes(w exporters.LedgerWriter, m *Metrics, log *slog.Logger) *Outcomes {
	return newRows(RowsConfig[schemas.Tally]{
		What: "outcomes", Schemas: []string{schemas.SchemaOutcomes}, WriteRows: writeOutcomes,
		Decode: func(dst []schemas.Tally, r *consume.Record, _ string) ([]schemas.Tally, error) {
			t, err := tally(r.Value)
			if err != nil {
				return dst, err
			}
			return append(dst, t), nil
		},
		Place: func(t *schemas.Tally, project uint64, _ int64, source schemas.Source, offset int64) schemas.Position {
			t.Project, t.Source, t.Position.Offset = project, source, offset
			return t.Position
		},
		At:    func(t *schemas.Tally) (schemas.Source, schemas.Position) { return t.Source, t.Position },
		Write: w.WriteTallies,
		// A line that is written twice counts once: there is nothing to leave out.
		Written: func(context.Context, schemas.Source, int64) (map[schemas.Position]struct{}, error) { return nil, nil },
	}, &m.outcomes, log)
}

func tally(value []byte) (t schemas.Tally, err error) {
	var o wire.Outcome
	if err := o.DecodeJSON(value); err != nil {
		return t, err
	}
	at, err := time.Parse(time.RFC3339Nano, o.Timestamp)
	if err != nil {
		return t, fmt.Errorf("outcomes: timestamp: %w", err)
	}
	if o.Outcome > int(schemas.OutcomeCardinalityLimited) {
		return t, fmt.Errorf("outcomes: outcome: want 0 to %d, got %d", schemas.OutcomeCardinalityLimited, o.Outcome)
	}
	t = schemas.Tally{Time: at.UnixNano(), Outcome: schemas.Outcome(o.Outcome), Category: schemas.CategoryDefault, Quantity: 1} //nolint:gosec // checked
	if o.Category != nil {
		if c, ok := schemas.CategoryByID(*o.Category); ok {
			t.Category = c
		}
	}
	if o.Reason != nil {
		t.Reason = *o.Reason
	}
	if o.KeyID != nil {
		t.KeyID = *o.KeyID
	}
	if o.Quantity != nil {
		t.Quantity = int64(*o.Quantity)
	}
	return t, nil
}
