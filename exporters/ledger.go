package exporters

import (
	"context"

	"github.com/hoptrace/hoptrace/schemas"
)

// LedgerWriter stores what became of items.
type LedgerWriter interface {
	// WriteTallies returns nil once all are durable. Writing one again changes
	// nothing. It keeps no part of its argument.
	WriteTallies(ctx context.Context, tallies []schemas.Tally) error
}

// LedgerLine is the sum of one kind of tallies.
type LedgerLine struct {
	Category schemas.Category
	Outcome  schemas.Outcome
	Reason   string
	Quantity int64
}

// LedgerReader adds the ledger up.
type LedgerReader interface {
	// Ledger sums the tallies of items that the collector had in the range, by
	// category, outcome and reason, each line of the ledger once. Project zero sums
	// over all, with those of no known project.
	Ledger(ctx context.Context, project uint64, r Range) ([]LedgerLine, error)
}

// StageSpool stands for the spool of a collector among the stages: requests that Kafka
// has not taken yet. Of them nothing is in the ledger.
const StageSpool = "spool"

// Backlog is what one stage has not read yet of its topic.
type Backlog struct {
	Stage, Topic string
	Records      int64
}

// BacklogReader tells what the stages have not read yet.
type BacklogReader interface {
	// Backlogs gives one element a stage. With an error it gives what it knows.
	Backlogs(ctx context.Context) ([]Backlog, error)
}
