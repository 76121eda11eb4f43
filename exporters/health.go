package exporters

import (
	"context"
	"time"
)

// ProcessReport is what one process of ours tells of itself. Counters run from
// Started on; a restart begins them anew under the same Instance.
type ProcessReport struct {
	Instance    string // role@host:port of its telemetry; the same after a restart
	Role        string
	Host        string
	Version     string
	Started, At time.Time
	// Values are counters and gauges by the names of the process's metrics without
	// their prefix, each label value after a slash: consume_records_total/persist-spans.
	Values map[string]float64
	// Notes are facts that are no number, by name: what stands still and why, and
	// HealthEnded.
	Notes map[string]string
}

// Bounds of what reports keep and give.
const (
	// HealthEvery is how often a process reports; such reports are kept for
	// HealthFine, and one each HealthCoarseEvery for HealthCoarse.
	HealthEvery       = 10 * time.Second
	HealthFine        = time.Hour
	HealthCoarseEvery = 2 * time.Minute
	HealthCoarse      = 24 * time.Hour
	// MaxHealthProcesses is how many processes are told of, those that reported last
	// first; MaxHealthSteps how many reports of each one question gives.
	MaxHealthProcesses = 50
	MaxHealthSteps     = 120
)

// HealthWriter keeps what processes report.
type HealthWriter interface {
	// WriteHealth keeps r. A report of the same process and step replaces the one
	// before, so writing twice is harmless, and the room is bounded by itself.
	WriteHealth(ctx context.Context, r ProcessReport) error
}

// HealthReader tells what processes reported.
type HealthReader interface {
	// Health gives reports of [from, to), those of one process together and in order
	// of time: at most MaxHealthSteps each, evenly chosen, of at most
	// MaxHealthProcesses. The last ones before to are always there.
	Health(ctx context.Context, from, to time.Time) ([]ProcessReport, error)
}

// StoreHealth is what a store tells of itself. A number below zero is not known.
type StoreHealth struct {
	Answered    time.Duration // what this question took
	Rows, Parts int64
	Bytes       int64 // on disk
	Free, Total int64 // bytes of the disk
	Memory      int64 // bytes that its queries and tables use now
}

// StoreHealthReader is a store that knows how it does.
type StoreHealthReader interface {
	StoreHealth(ctx context.Context) (StoreHealth, error)
}

// HealthEnded is the note of a process's last report when it was shut down: that it
// reports no more is no fault then.
const HealthEnded = "ended"
