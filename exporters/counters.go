package exporters

import (
	"context"
	"time"
)

// Counter is the count of one window.
type Counter struct {
	// Key names what is counted and which window; another window has another key.
	Key string
	// Limit is the most that the window takes; below zero it counts only.
	Limit int64
	// Until is when the window ends. The count is forgotten some time after it.
	Until time.Time
}

// Counters count in windows, for quotas. Several collectors that share one
// share their quotas.
type Counters interface {
	// Take adds n (at least 1) to all counters, unless one of them would go beyond
	// its limit: then it adds to none, and over is the index of the first such one.
	// It is -1 when all took it. At most 32 counters at once. Two callers at one
	// time never take together what a limit allows once. On an error nothing is
	// known: it may have been added.
	Take(ctx context.Context, counters []Counter, n int64) (over int, err error)
	// Count reads one; zero when nothing was taken yet.
	Count(ctx context.Context, key string) (int64, error)
}
