package exporters

import (
	"context"
	"time"

	"github.com/hoptrace/hoptrace/schemas"
)

// MetricReader reads metric points back. A point that was stored twice (see
// MetricWriter) counts once.
type MetricReader interface {
	// MetricNames lists the metrics with points in the range, by name, at most
	// 1,000.
	MetricNames(ctx context.Context, project uint64, r Range) ([]MetricName, error)
	// MetricSeries adds up one metric. It fails with ErrTooLarge when the
	// question needs more than 200,000 rows: ask for less time or larger steps.
	MetricSeries(ctx context.Context, q MetricQuery) ([]MetricSeries, error)
	// MetricPoints gives points as they were sent, by time, then name, without
	// histograms' buckets.
	MetricPoints(ctx context.Context, q PointQuery) ([]schemas.MetricPoint, error)
}

// MetricName is one metric that was sent.
type MetricName struct {
	Name, Unit, Description string
	Kind                    schemas.MetricKind // of the newest point
	Points                  uint64
	Series                  uint64   // different streams, estimated beyond some ten thousand
	LastSeen                int64    // Unix ns
	Topics, Groups          []string // sorted, at most 100 each
}

// MetricLabel is what the series of a metric can be told apart by.
type MetricLabel string

// Labels.
const (
	LabelTopic     MetricLabel = "topic"
	LabelPartition MetricLabel = "partition"
	LabelGroup     MetricLabel = "group"
	LabelService   MetricLabel = "service"
	LabelClient    MetricLabel = "client"
	// These are attributes of the points.
	LabelCause   MetricLabel = "cause" // hoptrace.rebalance.cause
	LabelError   MetricLabel = "error.type"
	LabelPathway MetricLabel = "pathway" // hoptrace.pathway
)

// MetricQuery asks for one metric. Empty fields do not filter.
type MetricQuery struct {
	Project   uint64
	Name      string
	Range     Range
	Topic     string
	Partition *int32
	Group     string
	Service   string
	ClientID  string
	Cause     string
	ErrorType string
	Pathway   string
	// Step is the stretch that one MetricStep covers, from multiples of Step
	// since 1970. It is needed, and the range holds at most 2,000 of it.
	Step time.Duration
	// By keeps apart what differs in these labels; the rest is added up.
	By []MetricLabel
}

// MetricSeries is one line of a metric: steps in time order, those without a
// point left out. Of the labels those that the query asked for are set.
type MetricSeries struct {
	Topic     string
	Partition int32 // schemas.Unknown when not asked for, and for points that tell none
	Group     string
	Service   string
	ClientID  string
	Cause     string
	ErrorType string
	Pathway   string
	Kind      schemas.MetricKind
	Unit      string
	Steps     []MetricStep
}

// MetricStep is what one step holds.
type MetricStep struct {
	Time int64 // Unix ns, its begin
	// Count is how many observations a histogram had, otherwise how many
	// streams told a value.
	Count uint64
	// Sum is that of a histogram's observations, of sums what was added in the
	// step, of gauges that of each stream's last value. NaN when a histogram
	// tells none.
	Sum float64
	// Min and Max are of observations or of a gauge's values; NaN when unknown.
	Min, Max float64
	// P50, P95 and P99 are quantiles of a histogram's observations, NaN for
	// other kinds.
	P50, P95, P99 float64
	// Exemplar is the largest observation that was told with a trace; nil when
	// there is none.
	Exemplar *schemas.Exemplar
}

// PointQuery asks for points. Names is needed; empty fields do not filter.
type PointQuery struct {
	Project uint64
	Names   []string // at most 16
	Range   Range
	BootIDs []string // at most 1,000
	// Newest gives only the last point of each stream and name.
	Newest bool
	// Every, if not zero, gives at most one point of each stream and name in
	// such a stretch, counted from 1970: the first.
	Every time.Duration
	Limit int // 1 to 200,000
}
