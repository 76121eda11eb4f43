package fakestore

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/instrumentation/messaging/clock"
	"github.com/hoptrace/hoptrace/internal/clocktrack"
	"github.com/hoptrace/hoptrace/schemas"
)

// cells are AllClocks, and what AllPoints tell of clocks, merged.
func (s *Store) cells() []schemas.ClockCell {
	type key struct {
		project      uint64
		host, broker string
		origin       schemas.ClockOrigin
		time         int64
	}
	merged := map[key]*schemas.ClockCell{}
	of := func(c schemas.ClockCell) *schemas.ClockCell {
		k := key{c.Project, c.Host, c.Broker, c.Origin, c.Time}
		if merged[k] == nil {
			merged[k] = &c
		}
		return merged[k]
	}
	for _, c := range s.AllClocks {
		clocktrack.Merge(of(c), &c)
	}
	for i := range s.AllPoints {
		p := &s.AllPoints[i]
		if p.BootID == "" || p.Broker == "" || p.Name != clock.MetricOffsetLow && p.Name != clock.MetricOffsetHigh {
			continue
		}
		low, high := int64(clock.Below), int64(clock.Above)
		// A lower bound is of a round trip when its upper bound is there.
		origin := schemas.ClockFetch
		for j := range s.AllPoints {
			o := &s.AllPoints[j]
			if o.Name != p.Name && o.Time == p.Time && o.BootID == p.BootID && o.Broker == p.Broker && o.Project == p.Project {
				origin = schemas.ClockRoundTrip
			}
		}
		if p.Name == clock.MetricOffsetLow {
			low = int64(p.Value)
		} else {
			high = int64(p.Value)
		}
		name, _ := schemas.Lookup(p.Resource, "host.name")
		clocktrack.Fold(of(schemas.ClockCell{
			Project: p.Project, Host: p.BootID, Broker: p.Broker, Origin: origin, Time: clocktrack.Begin(p.Time), Name: name, Service: p.Service, Node: schemas.Unknown,
		}), p.Time, low, high)
	}
	out := make([]schemas.ClockCell, 0, len(merged))
	for _, c := range merged {
		out = append(out, *c)
	}
	slices.SortFunc(out, func(a, b schemas.ClockCell) int {
		return cmp.Or(strings.Compare(a.Host, b.Host), strings.Compare(a.Broker, b.Broker), cmp.Compare(a.Origin, b.Origin), cmp.Compare(a.Time, b.Time))
	})
	return out
}

// ClockCells is exporters.ClockReader's.
func (s *Store) ClockCells(ctx context.Context, q exporters.ClockQuery) ([]schemas.ClockCell, error) {
	if err := s.ask(ctx, "ClockCells"); err != nil {
		return nil, err
	}
	times := map[int64]bool{}
	for _, t := range q.Times {
		times[t] = true
	}
	var out []schemas.ClockCell
	for _, c := range s.cells() {
		if (c.Project == q.Project || c.Project == 0) && slices.Contains(q.Hosts, c.Host) && times[c.Time] && len(out) < q.Limit {
			out = append(out, c)
		}
	}
	return out, nil
}

// ClockHistory is exporters.ClockReader's.
func (s *Store) ClockHistory(ctx context.Context, q exporters.ClockHistoryQuery) ([]exporters.ClockStretch, error) {
	if err := s.ask(ctx, "ClockHistory"); err != nil {
		return nil, err
	}
	type key struct{ host, broker string }
	pairs := map[key][]schemas.ClockCell{}
	var order []key
	for _, c := range s.cells() {
		if (c.Project != q.Project && c.Project != 0) || !within(c.Time, q.Range) || q.Host != "" && c.Host != q.Host {
			continue
		}
		k := key{c.Host, c.Broker}
		if pairs[k] == nil {
			order = append(order, k)
		}
		pairs[k] = append(pairs[k], c)
	}
	out := []exporters.ClockStretch{}
	for _, k := range order {
		cells := pairs[k]
		slices.SortStableFunc(cells, func(a, b schemas.ClockCell) int { return cmp.Compare(a.Time, b.Time) })
		begin := len(out)
		steps := clocktrack.New(cells).Steps()
		for i := 0; i < len(cells); {
			all := cells[i]
			var seconds [4]uint64
			for j := i; i < len(cells) && cells[i].Time == cells[j].Time; i++ {
				clocktrack.Merge(&all, &cells[i])
				seconds[cells[i].Origin] += uint64(clocktrack.Samples(&cells[i])) //nolint:gosec // small
			}
			stretch := all.Time / max(int64(q.Every), clocktrack.Cell)
			if n := len(out); n == begin || out[n-1].First/max(int64(q.Every), clocktrack.Cell) != stretch {
				out = append(out, exporters.ClockStretch{
					Host: k.host, Broker: k.broker, Node: schemas.Unknown, Time: all.Time + clocktrack.Cell/2, Low: all.Low[1], High: all.High[1], First: all.First,
				})
			}
			at := &out[len(out)-1]
			if narrower := float64(all.High[1])-float64(all.Low[1]) < float64(at.High)-float64(at.Low); narrower && !clocktrack.Broken(&all) {
				at.Time, at.Low, at.High = all.Time+clocktrack.Cell/2, all.Low[1], all.High[1]
			}
			at.Last, at.Name, at.Service, at.Cluster, at.Node = all.Last, max(at.Name, all.Name), max(at.Service, all.Service), max(at.Cluster, all.Cluster), max(at.Node, all.Node)
			at.RoundTrips, at.Fetches, at.Beacons = at.RoundTrips+seconds[1], at.Fetches+seconds[2], at.Beacons+seconds[3]
			for _, step := range steps {
				if clocktrack.Begin(step.To) == all.Time {
					at.Steps++
					at.Stepped = all.First
				}
			}
		}
	}
	return out[:min(len(out), q.Limit)], nil
}
