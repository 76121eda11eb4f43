package schemas

// Category is a kind of data in Sentry's words: what quotas, rate limits,
// client reports, outcomes and the ledger count by.
type Category string

// The categories that hoptrace takes. "span" and "metric" count what comes by
// OTLP, too.
const (
	CategoryDefault         Category = "default"
	CategoryError           Category = "error"
	CategoryTransaction     Category = "transaction"
	CategorySecurity        Category = "security"
	CategoryAttachment      Category = "attachment"      // bytes
	CategoryAttachmentItem  Category = "attachment_item" // pieces
	CategorySession         Category = "session"
	CategoryProfile         Category = "profile"
	CategoryProfileChunk    Category = "profile_chunk"
	CategoryReplay          Category = "replay"
	CategoryMonitor         Category = "monitor"
	CategoryFeedback        Category = "feedback"
	CategorySpan            Category = "span"
	CategoryLogItem         Category = "log_item"
	CategoryLogByte         Category = "log_byte"
	CategoryTraceMetric     Category = "trace_metric"
	CategoryTraceMetricByte Category = "trace_metric_byte"
	CategoryMetricBucket    Category = "metric_bucket"
	CategoryInternal        Category = "internal"
)

// InBytes says whether quantities of the category are bytes; of all others they are items.
func (c Category) InBytes() bool {
	return c == CategoryAttachment || c == CategoryLogByte || c == CategoryTraceMetricByte
}

// categoryIDs are Sentry's numbers, as they stand on the topic "outcomes".
var categoryIDs = map[Category]int{
	CategoryDefault: 0, CategoryError: 1, CategoryTransaction: 2, CategorySecurity: 3, CategoryAttachment: 4,
	CategorySession: 5, CategoryProfile: 6, CategoryReplay: 7, CategoryMonitor: 10, CategorySpan: 12, CategoryFeedback: 14,
	CategoryMetricBucket: 15, CategoryAttachmentItem: 22, CategoryLogItem: 23, CategoryLogByte: 24, CategoryProfileChunk: 26,
	CategoryTraceMetric: 33, CategoryTraceMetricByte: 34, CategoryInternal: 9999,
}

// categoriesByID is the inverse of categoryIDs.
var categoriesByID = func() map[int]Category {
	m := make(map[int]Category, len(categoryIDs))
	for c, id := range categoryIDs {
		m[id] = c
	}
	return m
}()

// ID is Sentry's number of the category; ok is false for one that is not ours.
func (c Category) ID() (id int, ok bool) {
	id, ok = categoryIDs[c]
	return id, ok
}

// CategoryByID finds a category by Sentry's number.
func CategoryByID(id int) (c Category, ok bool) {
	c, ok = categoriesByID[id]
	return c, ok
}

// Categories lists all, in no order.
func Categories() []Category {
	out := make([]Category, 0, len(categoryIDs))
	for c := range categoryIDs {
		out = append(out, c)
	}
	return out
}

// Outcome is what became of an item, in Sentry's numbers.
type Outcome uint8

// Outcomes. Accepted means that the collector answered for it; whether it is
// stored is told by the stores.
const (
	OutcomeAccepted           Outcome = 0
	OutcomeFiltered           Outcome = 1
	OutcomeRateLimited        Outcome = 2
	OutcomeInvalid            Outcome = 3
	OutcomeAbuse              Outcome = 4
	OutcomeClientDiscard      Outcome = 5
	OutcomeCardinalityLimited Outcome = 6
)

// String is the word that ledger and API use.
func (o Outcome) String() string {
	switch o {
	case OutcomeAccepted:
		return "accepted"
	case OutcomeFiltered:
		return "filtered"
	case OutcomeRateLimited:
		return "rate_limited"
	case OutcomeInvalid:
		return "invalid"
	case OutcomeAbuse:
		return "abuse"
	case OutcomeClientDiscard:
		return "client_discard"
	case OutcomeCardinalityLimited:
		return "cardinality_limited"
	case OutcomeStored:
		return "stored"
	case OutcomeParked:
		return "parked"
	}
	return "unknown"
}
