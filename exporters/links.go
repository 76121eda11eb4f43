package exporters

import "github.com/hoptrace/hoptrace/schemas"

// MaxBatch bounds the records that are read of one span: as many rows as a span
// makes.
const MaxBatch = 8192

// LinkQuery selects the spans that link to one span.
type LinkQuery struct {
	Project uint64
	// Range is when they started.
	Range Range
	To    schemas.SpanRef
	Skip  int
	Limit int // 1 to 501, one more than a page, so that the next is known; zero means 50
}
