package exportertest

import (
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// Ledger is what LedgerStore tests.
type Ledger interface {
	exporters.LedgerWriter
	exporters.LedgerReader
}

// LedgerStore is the suite of LedgerWriter and LedgerReader. open gives an empty
// store.
func LedgerStore(t *testing.T, open func(t *testing.T) Ledger) {
	line := func(n int64, c schemas.Category, o schemas.Outcome, reason string, quantity int64) schemas.Tally {
		return schemas.Tally{Project: 1, Time: base().UnixNano(), Category: c, Outcome: o, Reason: reason, Quantity: quantity, Source: 1, Position: schemas.Position{Offset: n}}
	}
	t.Run("LinesAddUpOnceHoweverOftenTheyAreWritten", func(t *testing.T) {
		ctx, s := testContext(t), open(t)
		other := line(7, schemas.CategoryError, schemas.OutcomeStored, "", 9)
		other.Project = 2
		late := line(8, schemas.CategoryError, schemas.OutcomeStored, "", 100)
		late.Time = base().Add(time.Hour).UnixNano()
		noError(t, "WriteTallies of nothing", s.WriteTallies(ctx, nil))
		for range 3 { // as replays do
			noError(t, "WriteTallies", s.WriteTallies(ctx, []schemas.Tally{
				line(1, schemas.CategoryError, schemas.OutcomeAccepted, "", 5),
				line(2, schemas.CategoryError, schemas.OutcomeStored, "", 1),
				line(3, schemas.CategoryError, schemas.OutcomeStored, "", 2),
				line(3, schemas.CategoryError, schemas.OutcomeInvalid, "too_large", 1), // of the same record
				line(4, schemas.CategoryError, schemas.OutcomeFiltered, "localhost", 3),
				line(5, schemas.CategoryError, schemas.OutcomeFiltered, "web-crawlers", 4),
				line(6, schemas.CategorySpan, schemas.OutcomeStored, "", 1000),
				other, late,
			}))
		}
		r := exporters.Range{From: base().Add(-time.Minute), To: base().Add(time.Minute)}
		got, err := s.Ledger(ctx, 1, r)
		noError(t, "Ledger", err)
		equal(t, "ledger", got, []exporters.LedgerLine{
			{Category: schemas.CategoryError, Outcome: schemas.OutcomeAccepted, Quantity: 5},
			{Category: schemas.CategoryError, Outcome: schemas.OutcomeFiltered, Reason: "web-crawlers", Quantity: 4},
			{Category: schemas.CategoryError, Outcome: schemas.OutcomeFiltered, Reason: "localhost", Quantity: 3},
			{Category: schemas.CategoryError, Outcome: schemas.OutcomeInvalid, Reason: "too_large", Quantity: 1},
			{Category: schemas.CategoryError, Outcome: schemas.OutcomeStored, Quantity: 3},
			{Category: schemas.CategorySpan, Outcome: schemas.OutcomeStored, Quantity: 1000},
		})
		got, err = s.Ledger(ctx, 0, r)
		noError(t, "Ledger of all", err)
		if n := got[4].Quantity; n != 12 {
			t.Errorf("over all projects %d errors are stored, want 12", n)
		}
	})
}
