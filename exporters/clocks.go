package exporters

import (
	"context"
	"time"

	"github.com/hoptrace/hoptrace/schemas"
)

// ClockWriter keeps the intervals of brokers' clocks from hosts'.
type ClockWriter interface {
	// WriteClocks merges cells with those stored of the same project, host, broker,
	// cluster, node, origin and time, and returns nil once all are durable. Writing one again
	// changes nothing. On ErrTooLarge split the batch. It keeps no part of it.
	WriteClocks(ctx context.Context, cells []schemas.ClockCell) error
}

// ClockReader reads intervals back.
type ClockReader interface {
	// ClockCells gives merged cells of a project and those of beacons, by host,
	// broker, origin and time.
	ClockCells(ctx context.Context, q ClockQuery) ([]schemas.ClockCell, error)
	// ClockHistory sums cells up to stretches, by host, broker and time.
	ClockHistory(ctx context.Context, q ClockHistoryQuery) ([]ClockStretch, error)
}

// ClockQuery asks for cells.
type ClockQuery struct {
	Project uint64
	Hosts   []string // boot ids, 1 to 1,000
	Times   []int64  // begins of cells, 1 to 10,000
	Limit   int      // 1 to 200,000
}

// ClockHistoryQuery asks for a long time of all pairs, or those of one host.
type ClockHistoryQuery struct {
	Project uint64
	Host    string // boot id; empty: all
	Range   Range
	Every   time.Duration // how long a stretch is, at least one cell
	Limit   int           // 1 to 200,000 stretches
}

// ClockStretch is what the cells of a pair within a stretch tell.
type ClockStretch struct {
	Host, Broker  string
	Name, Service string // of the host; empty when nobody told
	Cluster       string // empty unless a beacon told
	Node          int32  // schemas.Unknown unless a beacon told

	// Of the narrowest cell: when it is of, and the interval in its middle, of all
	// origins. A side that is not known is the least or the largest int64.
	Time      int64
	Low, High int64

	// Seconds with samples.
	RoundTrips, Fetches, Beacons uint64
	First, Last                  int64 // times of samples, Unix ns of the host's clock

	// Steps counts the cells in which a clock was stepped or that contradict the one
	// before; Stepped is when the last of them begins.
	Steps   uint64
	Stepped int64
}
