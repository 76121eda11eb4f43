package policy

import (
	"context"
	"errors"
	"sync"

	"github.com/hoptrace/hoptrace/schemas"
)

// Quota holds senders to what they may send.
type Quota interface {
	// Admit is Gate's.
	Admit(ctx context.Context, from *Sender) (limits []RateLimit, refuse bool)
	// Take charges an item that filters and sampling let pass. With ok false it
	// is more than may be sent, by that limit.
	Take(ctx context.Context, from *Sender, it *Item) (limit RateLimit, ok bool)
	// Limits is Gate's.
	Limits(ctx context.Context, from *Sender) []RateLimit
}

// Recorder is told what was turned away, by category. It must not wait.
type Recorder interface {
	Record(project uint64, key string, cat schemas.Category, o schemas.Outcome, reason string, quantity int64, id schemas.EventID)
}

// Unlimited is the quota that everything is within.
type Unlimited struct{}

// Admit lets everybody in.
func (Unlimited) Admit(context.Context, *Sender) ([]RateLimit, bool) { return nil, false }

// Take takes everything.
func (Unlimited) Take(context.Context, *Sender, *Item) (RateLimit, bool) { return RateLimit{}, true }

// Limits has none.
func (Unlimited) Limits(context.Context, *Sender) []RateLimit { return nil }

// Config of a Policy.
type Config struct {
	// MaxEventBytes is what an event or a transaction may have after scrubbing:
	// _meta and notes are left out rather than making it larger. Zero means 1 MiB.
	MaxEventBytes int
	// MaxProjects bounds the settings that are kept ready. Zero means 1,000.
	MaxProjects int
}

// Deps are what a Policy works with.
type Deps struct {
	Quota    Quota    // nil: Unlimited
	Recorder Recorder // needed
}

// Policy is a Gate by the settings of each sender's project. Its order is:
// origin, filters, sampling, quota, scrubbing.
type Policy struct {
	cfg  Config
	deps Deps

	mu    sync.RWMutex // guards the following
	ready map[revision]*compiled
}

// revision names settings.
type revision struct {
	project  uint64
	revision int64
	settings *schemas.ProjectSettings // of projects without revisions
}

// compiled are settings ready to use.
type compiled struct {
	filters
	sampling
	*scrubber
}

// New makes a Policy. It fails when something needed is missing.
func New(cfg Config, deps Deps) (*Policy, error) {
	if deps.Recorder == nil {
		return nil, errors.New("cannot make the policy: no recorder for what it turns away")
	}
	if deps.Quota == nil {
		deps.Quota = Unlimited{}
	}
	if cfg.MaxEventBytes <= 0 {
		cfg.MaxEventBytes = 1 << 20
	}
	if cfg.MaxProjects <= 0 {
		cfg.MaxProjects = 1000
	}
	return &Policy{cfg: cfg, deps: deps, ready: map[revision]*compiled{}}, nil
}

var defaultSettings = schemas.DefaultProjectSettings()

// of gives a project's settings ready to use.
func (p *Policy) of(project *schemas.Project) *compiled {
	settings := project.Settings
	if settings == nil {
		settings = &defaultSettings
	}
	at := revision{project: project.ID, revision: project.Revision}
	if at.revision == 0 {
		at.settings = settings
	}
	p.mu.RLock()
	c := p.ready[at]
	p.mu.RUnlock()
	if c != nil {
		return c
	}
	c = &compiled{newFilters(settings), newSampling(settings), newScrubber(settings)}
	p.mu.Lock()
	defer p.mu.Unlock()
	for old := range p.ready { // earlier revisions, or any one when there are too many
		if old.project == at.project && old.revision < at.revision-1 || len(p.ready) >= p.cfg.MaxProjects {
			delete(p.ready, old)
		}
	}
	p.ready[at] = c
	return c
}

// Admit asks the quotas.
func (p *Policy) Admit(ctx context.Context, from *Sender) ([]RateLimit, bool) {
	return p.deps.Quota.Admit(ctx, from)
}

// Limits asks the quotas.
func (p *Policy) Limits(ctx context.Context, from *Sender) []RateLimit {
	return p.deps.Quota.Limits(ctx, from)
}

// Item decides about one item.
func (p *Policy) Item(ctx context.Context, from *Sender, it Item) Decision {
	if it.Type == "client_report" { // what it tells is lost already
		return Decision{Keep: true, Payload: it.Payload, Quantity: it.Quantity}
	}
	c := p.of(&from.Project)
	drop := func(outcome schemas.Outcome, reason string) Decision {
		p.dropped(from, &it, it.Quantity, it.Size, outcome, reason)
		return Decision{Outcome: outcome, Reason: reason}
	}
	if !c.allowed(from.Origin) {
		return drop(schemas.OutcomeInvalid, ReasonCORS)
	}
	if reason := c.bySender(from); reason != "" {
		return drop(schemas.OutcomeFiltered, reason)
	}
	kind := kindOf(&it)
	if kind == plain && (c.fromPayload || c.asks(it.Category)) {
		var x facts
		x.read(it.Payload, len(c.messages) > 0, c.extensions)
		if x.close < 0 {
			return drop(schemas.OutcomeInvalid, "invalid_json")
		}
		if reason := c.byFacts(from, &x); reason != "" {
			return drop(schemas.OutcomeFiltered, reason)
		}
		r, keep := c.decide(it.Category, &x, it.EventID)
		if !keep {
			return drop(schemas.OutcomeFiltered, reasonSampled+r.id)
		}
		if r != nil && r.rate < 1 && len(it.Payload) < p.cfg.MaxEventBytes-200 {
			it.Payload = noted(it.Payload, &x, r)
		}
	} else if reason := c.byAgent(from.UserAgent); reason != "" {
		return drop(schemas.OutcomeFiltered, reason)
	}
	if kind == container && it.Category == schemas.CategorySpan && c.asks(it.Category) {
		out, kept, left, ok := c.sampleSpans(it.Payload)
		if !ok {
			return drop(schemas.OutcomeInvalid, "invalid_json")
		}
		for r, n := range left {
			p.dropped(from, &it, n, 0, schemas.OutcomeFiltered, reasonSampled+r.id)
		}
		if len(left) > 0 && kept == 0 {
			for r := range left {
				return Decision{Outcome: schemas.OutcomeFiltered, Reason: reasonSampled + r.id}
			}
		}
		if len(left) > 0 {
			it.Quantity = kept
		}
		it.Payload = out
	}
	if limit, ok := p.deps.Quota.Take(ctx, from, &it); !ok {
		d := drop(schemas.OutcomeRateLimited, limit.Reason)
		d.Limit = &limit
		return d
	}
	if c.scrubber != nil && kind != opaque {
		most := p.cfg.MaxEventBytes
		if kind == container {
			most = len(it.Payload) + maxGrowth
		}
		out, ok := c.scrub(it.Payload, kind == container, most)
		if !ok {
			return drop(schemas.OutcomeInvalid, "invalid_json")
		}
		it.Payload = out
	}
	return Decision{Keep: true, Payload: it.Payload, Quantity: it.Quantity}
}

// dropped records what was turned away: quantity of the item, and its bytes
// where bytes are counted.
func (p *Policy) dropped(from *Sender, it *Item, quantity int, size int64, o schemas.Outcome, reason string) {
	record := func(cat schemas.Category, n int64) {
		p.deps.Recorder.Record(from.Project.ID, from.Key, cat, o, reason, n, it.EventID)
	}
	switch it.Category {
	case schemas.CategoryAttachment:
		record(schemas.CategoryAttachment, size)
		record(schemas.CategoryAttachmentItem, int64(quantity))
		return
	case schemas.CategoryLogItem:
		record(schemas.CategoryLogByte, size)
	case schemas.CategoryTraceMetric:
		record(schemas.CategoryTraceMetricByte, size)
	}
	record(it.Category, int64(quantity))
}

// reasonSampled begins the reason of what a sampling rule left out; its id follows.
const reasonSampled = "Sampled:"

// What an item's payload is.
const (
	opaque    = iota // bytes that are not looked into
	plain            // one JSON object
	container        // {"items":[…]}
)

func kindOf(it *Item) int {
	if i := skipSpace(it.Payload, 0); i >= len(it.Payload) || it.Payload[i] != '{' {
		return opaque
	}
	switch it.Type {
	case "event", "transaction", "feedback", "user_report", "security", "raw_security", "nel", "check_in":
		return plain
	case "log", "trace_metric":
		return container
	case "span":
		return spanKind(it.Payload)
	}
	return opaque
}

// spanKind tells a container of spans from a single one.
func spanKind(payload []byte) int {
	kind := plain
	object(payload, skipSpace(payload, 0), func(key []byte, at int) int {
		if string(key) == "items" {
			kind = container
			return -1 // no need to read on
		}
		return skipValue(payload, at)
	})
	return kind
}
