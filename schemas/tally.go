package schemas

// What became of items, beyond what an Outcome of Sentry's says: the pipeline's
// side of the ledger.
const (
	// OutcomeStored: durable in the store.
	OutcomeStored Outcome = 100
	// OutcomeParked: in a dead-letter topic, to be looked at and replayed.
	OutcomeParked Outcome = 101
)

// PipelineReason begins the reasons of outcomes that a stage decided about, after
// the collector had accepted the items; the ledger shows them without it.
const PipelineReason = "pipeline:"

// Tally is one line of the ledger: some items of one category, of one record, and
// what became of them. Two lines with one Source, Position and outcome are the same
// line written twice, by a replay.
type Tally struct {
	Project  uint64
	Time     int64 // Unix ns: when the collector had the items
	Category Category
	Outcome  Outcome
	Reason   string
	KeyID    uint64 // zero: not told
	Quantity int64

	Source   Source
	Position Position
}
