package exporters

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/hoptrace/hoptrace/internal/search"
	"github.com/hoptrace/hoptrace/schemas"
)

// MaxHistogram bounds the buckets of a histogram.
const MaxHistogram = 200

// RowQuery selects spans or hops by a query of package search, whose subject is
// theirs.
type RowQuery struct {
	Project uint64
	Range   Range // of a span's start; of a hop's end
	Where   search.Expr
	// Sort is the name of a field with Sort; empty is by time. What does not have
	// the field is left out. Largest and latest first, unless Ascending.
	Sort      string
	Ascending bool
	After     *RowKey // pages: only what comes behind it
	Limit     int     // 1 to 1,000; zero means 50
}

// RowKey is a row's place in the order of a query.
type RowKey struct {
	By, Time int64 // what it is sorted by; its time. Unix ns, ns or a number
	Trace    schemas.TraceID
	Span     schemas.SpanID
	Tie      uint64 // tells rows of one span apart
}

// FoundSpan is a span with its place.
type FoundSpan struct {
	schemas.Span
	Key RowKey
}

// FoundHop is one delivery of a record with its place. Unlike in a list of hops,
// deliveries of one record to one group are one each, so that one which failed is found.
type FoundHop struct {
	schemas.Hop
	Key RowKey
}

// RowHistogram counts rows over time.
type RowHistogram struct {
	From    int64 // Unix ns of the first bucket's begin; zero when nothing was found in all time
	Step    time.Duration
	Buckets []RowCount // at most MaxHistogram
}

// RowCount is one bucket. A row that was sent twice counts twice.
type RowCount struct{ Rows, Failed uint64 }

// ValueQuery asks for the values that a field or an attribute of rows has.
type ValueQuery struct {
	Project  uint64
	Subject  search.Subject
	Range    Range
	Field    *search.RowField // nil: of the attribute Key
	Key      string
	Resource bool
	Contains string // without regard to case; those that begin with it come first
	Limit    int    // 1 to 100; zero means 20
}

// SeenValues are texts with how many rows have them, most first.
type SeenValues struct {
	Values []ValueSeen
	// Since is when the rows that were looked at begin, Unix ns: attributes are read
	// of the latest rows only.
	Since int64
}

// ValueSeen is one of them.
type ValueSeen struct {
	Text string
	Rows uint64
}

// SearchReader searches rows. A row that was stored twice is found once.
type SearchReader interface {
	// SearchSpans gives a page of spans.
	SearchSpans(ctx context.Context, q RowQuery) ([]FoundSpan, error)
	// SearchHops gives a page of deliveries. Parts that cross two hosts' clocks are
	// unknown to it, and an unknown part fulfils no condition. Attributes and texts are
	// those of the reader's span, and of the sender's within 24 hours before.
	SearchHops(ctx context.Context, q RowQuery) ([]FoundHop, error)
	// CountRows counts what SearchSpans or SearchHops would find, over time. Sort,
	// After and Limit mean nothing to it.
	CountRows(ctx context.Context, s search.Subject, q RowQuery, buckets int) (RowHistogram, error)
	// KeysOf gives the keys of attributes, those of the resource with ResourcePrefix,
	// at most 500.
	KeysOf(ctx context.Context, project uint64, s search.Subject, r Range) (SeenValues, error)
	// ValuesOf gives values.
	ValuesOf(ctx context.Context, q ValueQuery) (SeenValues, error)
}

// Work is what a store did for one question. It may be read while it is added to.
type Work struct{ Rows, Bytes atomic.Uint64 }

type workKey struct{}

// WithWork makes a store add what it does for ctx to w.
func WithWork(ctx context.Context, w *Work) context.Context {
	return context.WithValue(ctx, workKey{}, w)
}

// WorkOf is the Work of ctx; nil without one.
func WorkOf(ctx context.Context) *Work {
	w, _ := ctx.Value(workKey{}).(*Work)
	return w
}
