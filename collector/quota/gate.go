package quota

import (
	"context"
	"time"

	"github.com/hoptrace/hoptrace/collector/policy"
	"github.com/hoptrace/hoptrace/schemas"
)

// Gate is the policy.Quota of a collector: the quotas of projects' settings, and
// what no sender may do whatever its project says.
type Gate struct {
	limiter *Limiter
	abuse   *Abuse
}

var _ policy.Quota = (*Gate)(nil)

// NewGate asks both.
func NewGate(limiter *Limiter, abuse *Abuse) *Gate { return &Gate{limiter, abuse} }

// Reasons of limits that no quota of a project made.
const (
	reasonAddress = "address_rate"
	reasonKey     = "key_rate"
)

// organization is the one that there is.
const organization = 1

func sender(from *policy.Sender) Sender {
	return Sender{Organization: organization, Project: from.Project.ID, Key: from.Key}
}

// quotas are those of the project's settings, and the key's own limit.
func quotas(from *policy.Sender) []schemas.Quota {
	var own []schemas.Quota
	if from.Project.Settings != nil {
		own = from.Project.Settings.Quotas
	}
	if l := from.KeyLimit; l != nil && from.Key != "" {
		most := l.Count
		own = append(own[:len(own):len(own)], schemas.Quota{
			ID: "key-limit", Scope: schemas.ScopeKey, ScopeID: from.Key, Limit: &most, Window: l.Window, Reason: "key_limit",
			Categories: keyCategories,
		})
	}
	return own
}

// keyCategories are what the limit of a key counts.
var keyCategories = []schemas.Category{schemas.CategoryError, schemas.CategorySecurity}

// Admit turns away who asks too often. What quotas say is told, but the body is
// read: there may be something in it that is within them, and what the client
// itself discarded is always counted.
func (g *Gate) Admit(_ context.Context, from *policy.Sender) (limits []policy.RateLimit, refuse bool) {
	if wait := g.abuse.Address(from.Client); wait > 0 {
		return []policy.RateLimit{{Scope: schemas.ScopeOrganization, Reason: reasonAddress, RetryAfter: whole(wait)}}, true
	}
	if wait := g.abuse.Key(from.Key); wait > 0 {
		return []policy.RateLimit{{Scope: schemas.ScopeKey, Reason: reasonKey, RetryAfter: whole(wait)}}, true
	}
	return g.held(from), false
}

func whole(d time.Duration) time.Duration { return (d + time.Second - 1).Truncate(time.Second) }

// Take charges an item. What a client tells of itself is never limited.
func (g *Gate) Take(ctx context.Context, from *policy.Sender, it *policy.Item) (limit policy.RateLimit, ok bool) {
	if it.Category == schemas.CategoryInternal {
		return limit, true
	}
	n := int64(it.Quantity)
	if it.Category == schemas.CategoryAttachment {
		n = it.Size
	}
	l, limited := g.limiter.Take(ctx, sender(from), quotas(from), it.Category, max(n, 1))
	return told(l), !limited
}

// Limits are those that hold now.
func (g *Gate) Limits(_ context.Context, from *policy.Sender) []policy.RateLimit { return g.held(from) }

func (g *Gate) held(from *policy.Sender) []policy.RateLimit {
	limits := g.limiter.Limits(sender(from), quotas(from))
	if len(limits) == 0 {
		return nil
	}
	out := make([]policy.RateLimit, 0, len(limits))
	for _, l := range limits {
		out = append(out, told(l))
	}
	return out
}

func told(l Limit) policy.RateLimit {
	return policy.RateLimit{Categories: l.Categories, Scope: l.Scope, Reason: l.Reason, RetryAfter: l.RetryAfter}
}
