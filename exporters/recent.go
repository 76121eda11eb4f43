package exporters

import (
	"context"

	"github.com/hoptrace/hoptrace/schemas"
)

// RecentEvents reads a project's newest events, whatever their issue.
type RecentEvents interface {
	// RecentEvents lists a project's events, newest first, at most limit (1 to
	// 10,000). An event that was sent twice comes once.
	RecentEvents(ctx context.Context, project uint64, limit int) ([]schemas.Event, error)
}
