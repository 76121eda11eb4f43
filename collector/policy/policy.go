// Package policy decides what becomes of the items that a sender hands over:
// inbound filters, scrubbing, sampling and quotas, by the settings of its
// project. It reads no request and writes no record (see package envelope); what
// it turned away it counts as an outcome.
package policy

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/hoptrace/hoptrace/schemas"
)

// Sender is who sends, once authenticated.
type Sender struct {
	Project schemas.Project // with its settings; see project.Resolver.Find
	Key     string          // the DSN's public key; empty for OTLP without a DSN
	// KeyID and KeyLimit are the key's own; zero and nil without one.
	KeyID    uint64
	KeyLimit *schemas.KeyLimit
	Client   netip.Addr
	// UserAgent and Origin are headers of the request, for filters.
	UserAgent, Origin string
}

// Item is one thing that was handed over.
type Item struct {
	Type     string // of the envelope's item header
	Category schemas.Category
	Quantity int   // spans in a container, logs in a container …; 1 otherwise
	Size     int64 // bytes
	EventID  schemas.EventID
	// Payload is the whole item; nil when it is streamed (attachments). A
	// decision may come with another payload; this one is not written to.
	Payload []byte
}

// Decision is what to do with an item.
type Decision struct {
	// Keep: hand it on, with Payload. Otherwise it was counted already as
	// Outcome with Reason.
	Keep    bool
	Payload []byte
	// Quantity is the item's, or less when part of a container was left out (and
	// counted): it is what the record's header and the container's item_count say.
	Quantity int
	Outcome  schemas.Outcome
	Reason   string
	// Limit is what the sender is told, besides the Gate's Limits; nil for nothing.
	Limit *RateLimit
	// RepeatOf is the event that this one repeats: Payload is then a short repeat,
	// handed on as type "repeat". Zero for all else.
	RepeatOf schemas.EventID
	// Kept, when not nil, is to be called once the item is durable.
	Kept func()
}

// RateLimit is one member of the header X-Sentry-Rate-Limits.
type RateLimit struct {
	Categories []schemas.Category // empty: all
	Scope      string             // organization, project or key
	Reason     string
	RetryAfter time.Duration
}

// AddLimit adds a limit to those that a sender is told, each once. It may write into
// limits' memory behind their end.
func AddLimit(limits []RateLimit, l RateLimit) []RateLimit {
	for i := range limits {
		if have := &limits[i]; have.Scope == l.Scope && have.Reason == l.Reason && slices.Equal(have.Categories, l.Categories) {
			if have.RetryAfter >= l.RetryAfter {
				return limits
			}
			limits = slices.Clone(limits)
			limits[i] = l
			return limits
		}
	}
	return append(limits, l)
}

// Gate is what receivers ask. Its methods may be called by many goroutines.
type Gate interface {
	// Admit is asked when the sender is known and before the body is read. Limits
	// that hold now come back, whether or not they concern what is in the body;
	// with refuse, nothing of it would be taken: answer 429 without reading it.
	Admit(ctx context.Context, from *Sender) (limits []RateLimit, refuse bool)
	// Item decides about one item, and charges it to the quotas when it is kept.
	Item(ctx context.Context, from *Sender, it Item) Decision
	// Limits are those that hold now: for the answer's header, after the items.
	Limits(ctx context.Context, from *Sender) []RateLimit
}

// Open is the gate that keeps everything.
type Open struct{}

// Admit lets everybody in.
func (Open) Admit(context.Context, *Sender) ([]RateLimit, bool) { return nil, false }

// Item keeps everything.
func (Open) Item(_ context.Context, _ *Sender, it Item) Decision {
	return Decision{Keep: true, Payload: it.Payload, Quantity: it.Quantity}
}

// Limits has none.
func (Open) Limits(context.Context, *Sender) []RateLimit { return nil }
