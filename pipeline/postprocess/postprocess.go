// Package postprocess is what happens to events once they can be queried.
package postprocess

import (
	"context"

	"github.com/hoptrace/hoptrace/schemas"
)

// Hook is told of stored events.
type Hook interface {
	// Name is the hook's, for logs and metrics.
	Name() string
	// Stored is called after the events' rows are durable and before their offsets
	// are committed. It may be called again for the same events after a crash or
	// an error, so it must be idempotent by project and event id. An error is
	// retried with the whole batch. It keeps no part of events.
	Stored(ctx context.Context, events []Event) error
}

// Event is one that was stored.
type Event struct {
	schemas.Event
	Title string
	// IsNew: its issue was made for it. IsRegression: its issue was resolved.
	// A replay may tell neither.
	IsNew, IsRegression bool
}
