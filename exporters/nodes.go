package exporters

import (
	"context"

	"github.com/hoptrace/hoptrace/schemas"
)

// Nodes keeps the payloads of events. It has no index: who appends a payload
// keeps its reference. Payloads go after a time, many at once.
type Nodes interface {
	// Append keeps payloads and returns one reference each, in order, once all
	// are durable. After an error none is kept; what was written in spite of it
	// goes with the rest. It keeps no part of its argument. It fails with
	// ErrTooLarge when one payload is, with ErrUnavailable when time may heal it.
	Append(ctx context.Context, payloads [][]byte) ([]schemas.NodeRef, error)
	// Read gives a payload, which is the caller's. It fails with ErrNotFound when
	// its time has passed, and for what is no reference of this store's kind.
	Read(ctx context.Context, ref schemas.NodeRef) ([]byte, error)
}
