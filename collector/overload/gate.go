package overload

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hoptrace/hoptrace/collector/policy"
	"github.com/hoptrace/hoptrace/schemas"
)

// Config of a Gate.
type Config struct {
	Fair    FairConfig    `yaml:"fair"`
	Yield   YieldConfig   `yaml:"yield"`
	Repeats RepeatsConfig `yaml:"repeats"`
}

// DefaultConfig leaves a collector without pressure alone, unless one project sends
// more than 10,000 events a minute.
func DefaultConfig() Config {
	return Config{
		Fair:    FairConfig{Start: 0.5, Window: 10 * time.Second, MaxProjects: 10_000},
		Yield:   YieldConfig{Bulk: 0.8, Data: 0.9},
		Repeats: RepeatsConfig{Keep: 100, Burst: 10_000, Start: 0.25, MaxKinds: 50_000},
	}
}

// Validate names every fault at once.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("overload."+format, args...)) }
	if c.Fair.Start <= 0 || c.Fair.Start >= 1 {
		bad("fair.start is %v, want between 0 and 1", c.Fair.Start)
	}
	if c.Fair.Window < time.Second || c.Fair.Window > time.Hour {
		bad("fair.window is %v, want 1s to 1h", c.Fair.Window)
	}
	if c.Fair.MaxProjects < 1 {
		bad("fair.max_projects is %d, want at least 1", c.Fair.MaxProjects)
	}
	if c.Yield.Bulk <= 0 || c.Yield.Data > 1 || c.Yield.Bulk > c.Yield.Data {
		bad("yield: bulk and data are %v and %v, want above 0, at most 1, and bulk not above data", c.Yield.Bulk, c.Yield.Data)
	}
	if c.Repeats.Keep < 1 || c.Repeats.Burst < 1 || c.Repeats.MaxKinds < 1 {
		bad("repeats: keep, burst and max_kinds are %d, %d and %d, want at least 1 each", c.Repeats.Keep, c.Repeats.Burst, c.Repeats.MaxKinds)
	}
	if c.Repeats.Start <= 0 || c.Repeats.Start > 1 {
		bad("repeats.start is %v, want above 0 and at most 1", c.Repeats.Start)
	}
	return errors.Join(errs...)
}

// Deps are what a Gate works with. All but Exact are needed.
type Deps struct {
	// Next decides before the load does: filters, quotas.
	Next policy.Gate
	// Pressure is how near the collector is to its bounds, from 0 to 1.
	Pressure func() float64
	// Exact tells that a project has grouping rules which may look at values.
	Exact      func(*schemas.Project) bool
	Outcomes   Recorder
	Registerer prometheus.Registerer
}

// Recorder is told what became of an item.
type Recorder interface {
	Record(project uint64, key string, category schemas.Category, o schemas.Outcome, reason string, quantity int64, event schemas.EventID)
}

// Reasons of outcomes and rate limits: of unfair shares, and of categories that make
// room for errors.
const (
	reasonFair  = "fair_share"
	reasonYield = "overload"
)

// Gate is a policy.Gate for times of overload.
type Gate struct {
	deps    Deps
	cfg     Config
	fair    *Fair
	repeats *Repeats

	repeated, limited, yielded prometheus.Counter
}

var _ policy.Gate = (*Gate)(nil)

// NewGate makes the gate.
func NewGate(cfg Config, deps Deps) (*Gate, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "hoptrace", Subsystem: "collector", Name: name, Help: help})
	}
	g := &Gate{
		deps: deps, cfg: cfg, fair: NewFair(cfg.Fair), repeats: NewRepeats(cfg.Repeats),
		repeated: counter("events_repeated_total", "Events handed on as short repeats of an equal one: they count, their payload is the other's."),
		limited:  counter("items_over_fair_share_total", "Items refused because their project took more than its fair share under pressure."),
		yielded:  counter("items_yielded_total", "Items refused under pressure because what is left of the room is for errors."),
	}
	pressure := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "hoptrace", Subsystem: "collector", Name: "pressure", Help: "How near the collector is to its bounds, from 0 to 1.",
	}, deps.Pressure)
	for _, m := range []prometheus.Collector{g.repeated, g.limited, g.yielded, pressure} {
		if err := deps.Registerer.Register(m); err != nil {
			return nil, fmt.Errorf("cannot register a metric of overload: %w", err)
		}
	}
	return g, nil
}

// Admit asks the next gate.
func (g *Gate) Admit(ctx context.Context, from *policy.Sender) ([]policy.RateLimit, bool) {
	return g.deps.Next.Admit(ctx, from)
}

// Item asks the next gate, then looks at the load. Client reports are always taken.
func (g *Gate) Item(ctx context.Context, from *policy.Sender, it policy.Item) policy.Decision {
	d := g.deps.Next.Item(ctx, from, it)
	if !d.Keep || it.Category == schemas.CategoryInternal {
		return d
	}
	pressure := g.deps.Pressure()
	if pressure >= g.cfg.Yield.from(it.Category) {
		g.yielded.Inc()
		return g.wait(from, it, schemas.ScopeOrganization, reasonYield, g.cfg.Fair.Window)
	}
	if it.Category == schemas.CategoryError && it.Type == "event" && d.Payload != nil {
		d = g.repeat(from, it, d, pressure)
	}
	size := it.Size
	if d.Payload != nil {
		size = int64(len(d.Payload))
	}
	if wait := g.fair.Take(from.Project.ID, size, pressure); wait > 0 {
		g.limited.Inc()
		return g.wait(from, it, schemas.ScopeProject, reasonFair, wait)
	}
	return d
}

// wait refuses an item, and tells the sender when to send its category again.
func (g *Gate) wait(from *policy.Sender, it policy.Item, scope, reason string, wait time.Duration) policy.Decision {
	g.deps.Outcomes.Record(from.Project.ID, from.Key, it.Category, schemas.OutcomeRateLimited, reason, int64(it.Quantity), it.EventID)
	return policy.Decision{
		Outcome: schemas.OutcomeRateLimited, Reason: reason,
		Limit: &policy.RateLimit{Categories: []schemas.Category{it.Category}, Scope: scope, Reason: reason, RetryAfter: wait.Round(time.Second)},
	}
}

func (g *Gate) repeat(from *policy.Sender, it policy.Item, d policy.Decision, pressure float64) policy.Decision {
	of, repeat, kept := g.repeats.See(from.Project.ID, it.EventID, pressure, func() (Kind, bool) {
		return KindOf(from.Project.ID, d.Payload, g.deps.Exact == nil || g.deps.Exact(&from.Project))
	})
	if !repeat {
		d.Kept = kept
		return d
	}
	if short, ok := Trim(d.Payload, of); ok {
		g.repeated.Inc()
		d.Payload, d.RepeatOf = short, of
	}
	return d
}

// Limits asks the next gate.
func (g *Gate) Limits(ctx context.Context, from *policy.Sender) []policy.RateLimit {
	return g.deps.Next.Limits(ctx, from)
}
