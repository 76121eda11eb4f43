package exporters

import (
	"context"

	"github.com/hoptrace/hoptrace/schemas"
)

// Twin is an error that OpenTelemetry told of and a Sentry SDK, too: its row is of
// the origin [schemas.OriginOTel].
type Twin struct {
	Project  uint64
	ID       schemas.EventID
	Time     int64 // Unix ns
	Received int64 // Unix ns
}

// MaxTwins is how many are found, or removed, at once.
const MaxTwins = 1000

// TwinKeeper finds errors that are stored twice, and removes what is one too many.
type TwinKeeper interface {
	// Twins gives errors of OpenTelemetry of which an SDK's event is stored: of the
	// same project and trace, with the same text and a type that
	// [schemas.SameErrorType] takes for the same. Both happened in the range. At most
	// limit (1 to MaxTwins), in no order.
	Twins(ctx context.Context, r Range, limit int) ([]Twin, error)
	// RemoveTwins removes the rows of these (at most MaxTwins), and none that an SDK
	// sent. It returns when nobody reads them any more, and may be repeated.
	RemoveTwins(ctx context.Context, twins []Twin) error
}
