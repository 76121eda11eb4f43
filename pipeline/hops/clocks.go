package hops

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/instrumentation/messaging/clock"
	"github.com/hoptrace/hoptrace/internal/clocktrack"
	"github.com/hoptrace/hoptrace/pipeline/consume"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/schemas/wire"
)

// StageClocks is the name of the stage behind topic clock-samples.
const StageClocks = "hops-clocks"

const (
	// maxPairs bounds the pairs of host and broker of one project whose intervals
	// are kept, within one to two hours and one process.
	maxPairs  = 5000
	turnPairs = time.Hour

	maxHostID = 64
	maxBroker = 255
	maxName   = 255
)

// ClockMetrics are the figures of interval tracking, named hoptrace_clocks_*.
type ClockMetrics struct {
	samples *prometheus.CounterVec // by origin
	refused *prometheus.CounterVec // by reason
}

// NewClockMetrics registers the figures with reg.
func NewClockMetrics(reg prometheus.Registerer) (*ClockMetrics, error) {
	m := &ClockMetrics{
		samples: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "hoptrace_clocks_samples_total", Help: "Samples of clocks that were put into intervals; those that are read again count again.",
		}, []string{"origin"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "hoptrace_clocks_samples_refused_total", Help: "Samples of clocks that were left out, by reason.",
		}, []string{"reason"}),
	}
	for _, c := range []prometheus.Collector{m.samples, m.refused} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("cannot register a metric of the clocks: %w", err)
		}
	}
	return m, nil
}

// Clocks makes intervals of samples: one tracker a pair of host and broker, kept
// as cells (package clocktrack) in a table of its own. Cells merge in any order
// and however often, so several processes may each have a part of a pair's
// samples, and a replay changes nothing. It is used by one goroutine at a time.
type Clocks struct {
	store   exporters.ClockWriter
	metrics *ClockMetrics
	log     *slog.Logger

	cells map[cellKey]*schemas.ClockCell

	now, before map[pairKey]struct{} // the pairs of this hour, and of the one before
	perProject  map[uint64]int       // of now
	turned      time.Time
	warned      time.Time
}

type pairKey struct {
	project      uint64
	host, broker string
}

type cellKey struct {
	pairKey
	origin schemas.ClockOrigin
	time   int64
}

// NewClocks makes trackers that write to store.
func NewClocks(store exporters.ClockWriter, m *ClockMetrics, log *slog.Logger) *Clocks {
	return &Clocks{
		store: store, metrics: m, log: log,
		cells: map[cellKey]*schemas.ClockCell{}, now: map[pairKey]struct{}{}, perProject: map[uint64]int{}, turned: time.Now(),
	}
}

// StorePoints keeps what metric points tell of clocks, and returns when it is
// durable. Points of other metrics are passed over. It keeps no part of points.
func (c *Clocks) StorePoints(ctx context.Context, points []schemas.MetricPoint) error {
	type place struct {
		pairKey
		series uint64
		at     int64
	}
	var both map[place]clock.Interval
	var order []place
	var of map[place]*schemas.MetricPoint
	for i := range points {
		p := &points[i]
		if p.Name != clock.MetricOffsetLow && p.Name != clock.MetricOffsetHigh {
			continue
		}
		if !(math.Abs(p.Value) < 1<<62) || p.BootID == "" || p.Broker == "" || len(p.BootID) > maxHostID || len(p.Broker) > maxBroker {
			c.metrics.refused.WithLabelValues("malformed").Inc()
			continue
		}
		if both == nil {
			both, of = map[place]clock.Interval{}, map[place]*schemas.MetricPoint{}
		}
		k := place{pairKey{p.Project, p.BootID, p.Broker}, p.Series, p.Time}
		v, seen := both[k]
		if !seen {
			v = clock.Unknown()
			order, of[k] = append(order, k), p
		}
		if p.Name == clock.MetricOffsetLow {
			v.Lo = int64(p.Value)
		} else {
			v.Hi = int64(p.Value)
		}
		both[k] = v
	}
	for _, k := range order {
		v, p := both[k], of[k]
		origin := schemas.ClockRoundTrip
		if !v.Known() {
			origin = schemas.ClockFetch
		}
		name, _ := schemas.Lookup(p.Resource, "host.name")
		c.add(k.pairKey, origin, k.at, v, schemas.ClockCell{Name: name, Service: p.Service, Node: schemas.Unknown})
	}
	return c.flush(ctx)
}

// add puts one sample into its cell; about is what else is known of the pair.
func (c *Clocks) add(pair pairKey, origin schemas.ClockOrigin, at int64, v clock.Interval, about schemas.ClockCell) {
	if v.Lo > v.Hi || at <= 0 || at > 1<<62 {
		c.metrics.refused.WithLabelValues("malformed").Inc()
		return
	}
	if !c.admit(pair) {
		c.metrics.refused.WithLabelValues("too_many").Inc()
		return
	}
	k := cellKey{pair, origin, clocktrack.Begin(at)}
	cell := c.cells[k]
	if cell == nil {
		about.Project, about.Host, about.Broker, about.Origin, about.Time = pair.project, strings.Clone(pair.host), strings.Clone(pair.broker), origin, k.time
		about.Name, about.Service = strings.Clone(about.Name[:min(len(about.Name), maxName)]), strings.Clone(about.Service)
		k.host, k.broker = about.Host, about.Broker
		cell = &about
		c.cells[k] = cell
	}
	clocktrack.Fold(cell, at, v.Lo, v.Hi)
	c.metrics.samples.WithLabelValues(origin.String()).Inc()
}

// admit bounds the pairs: names come from whoever sends.
func (c *Clocks) admit(pair pairKey) bool {
	if time.Since(c.turned) > turnPairs {
		c.before, c.now, c.perProject, c.turned = c.now, map[pairKey]struct{}{}, map[uint64]int{}, time.Now()
	}
	if _, known := c.now[pair]; known {
		return true
	}
	if c.perProject[pair.project] >= maxPairs {
		if time.Since(c.warned) > time.Minute {
			c.warned = time.Now()
			c.log.Warn("too many pairs of host and broker: intervals of further ones are not kept", "project", pair.project, "most", maxPairs)
		}
		return false
	}
	c.perProject[pair.project]++
	c.now[pairKey{pair.project, strings.Clone(pair.host), strings.Clone(pair.broker)}] = struct{}{}
	return true
}

// flush makes the cells durable.
func (c *Clocks) flush(ctx context.Context) error {
	if len(c.cells) == 0 {
		return nil
	}
	cells := make([]schemas.ClockCell, 0, len(c.cells))
	for _, cell := range c.cells {
		cells = append(cells, *cell)
	}
	clear(c.cells)
	slices.SortFunc(cells, func(a, b schemas.ClockCell) int {
		return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(a.Project, b.Project), strings.Compare(a.Host, b.Host),
			strings.Compare(a.Broker, b.Broker), cmp.Compare(a.Origin, b.Origin))
	})
	return c.write(ctx, cells)
}

// write stores cells in parts when they are of more days than one insert takes.
func (c *Clocks) write(ctx context.Context, cells []schemas.ClockCell) error {
	err := c.store.WriteClocks(ctx, cells)
	if errors.Is(err, exporters.ErrTooLarge) && len(cells) > 1 {
		half := len(cells) / 2
		if err := c.write(ctx, cells[:half]); err != nil {
			return err
		}
		return c.write(ctx, cells[half:])
	}
	if err != nil {
		return fmt.Errorf("cannot keep %d intervals of clocks: %w", len(cells), err)
	}
	return nil
}

// Assigned implements [consume.Handler]: cells need no replay zone.
func (c *Clocks) Assigned(context.Context, []consume.Partition) error { return nil }

// Revoked implements [consume.Handler].
func (c *Clocks) Revoked(context.Context, []consume.Partition) {}

// Handle keeps a batch of topic clock-samples.
func (c *Clocks) Handle(ctx context.Context, batch []consume.Record) (dead []consume.DeadLetter, err error) {
	defer clear(c.cells) // what a failed write leaves comes again
	for i := range batch {
		r := &batch[i]
		if err := c.sample(r); err != nil {
			c.metrics.refused.WithLabelValues("undecodable").Inc()
			dead = append(dead, consume.DeadLetter{Record: r, Reason: "undecodable: " + err.Error()})
		}
	}
	return dead, c.flush(ctx)
}

// sample takes one record of a beacon.
func (c *Clocks) sample(r *consume.Record) error {
	if schema, ok := r.Header(schemas.HeaderSchema); ok && string(schema) != schemas.SchemaClockSamples {
		return fmt.Errorf("schema is %.64q, this stage reads %q", schema, schemas.SchemaClockSamples)
	}
	var s wire.ClockSample
	if err := s.DecodeJSON(r.Value); err != nil {
		return err
	}
	switch {
	case s.Host == "" || s.Broker == "" || s.Cluster == "":
		return errors.New("clock-samples: host, cluster and broker need a name")
	case s.Low > s.High:
		return fmt.Errorf("clock-samples: low: want at most high, which is %d, got %d", s.High, s.Low)
	}
	c.add(pairKey{host: s.Host, broker: s.Broker}, schemas.ClockBeacon, s.Time, clock.Interval{Lo: s.Low, Hi: s.High},
		schemas.ClockCell{Name: s.Name, Cluster: s.Cluster, Node: int32(s.Node)}) //nolint:gosec // bounded by the schema
	return nil
}
