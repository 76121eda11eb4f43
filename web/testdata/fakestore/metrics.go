package fakestore

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strings"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// MetricNames is exporters.MetricReader's.
func (s *Store) MetricNames(ctx context.Context, project uint64, r exporters.Range) ([]exporters.MetricName, error) {
	if err := s.ask(ctx, "MetricNames"); err != nil {
		return nil, err
	}
	names := map[string]*exporters.MetricName{}
	series := map[string]map[uint64]bool{}
	add := func(to *[]string, v string) {
		if v != "" && !slices.Contains(*to, v) {
			*to = append(*to, v)
			slices.Sort(*to)
		}
	}
	for i := range s.AllPoints {
		p := &s.AllPoints[i]
		if p.Project != project || !within(p.Time, r) {
			continue
		}
		n := names[p.Name]
		if n == nil {
			n = &exporters.MetricName{Name: p.Name}
			names[p.Name], series[p.Name] = n, map[uint64]bool{}
		}
		n.Points++
		series[p.Name][p.Series] = true
		n.Series = uint64(len(series[p.Name]))
		if p.Time >= n.LastSeen {
			n.Unit, n.Description, n.Kind, n.LastSeen = p.Unit, p.Description, p.Kind, p.Time
		}
		add(&n.Topics, p.Topic)
		add(&n.Groups, p.Group)
	}
	out := []exporters.MetricName{}
	for _, n := range names {
		out = append(out, *n)
	}
	slices.SortFunc(out, func(a, b exporters.MetricName) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// MetricSeries is exporters.MetricReader's, for gauges with one value a stream
// and step and for what is delta.
func (s *Store) MetricSeries(ctx context.Context, q exporters.MetricQuery) ([]exporters.MetricSeries, error) {
	if err := s.ask(ctx, "MetricSeries"); err != nil {
		return nil, err
	}
	type place struct {
		line exporters.MetricLabel
		step int64
	}
	lines := map[string]*exporters.MetricSeries{}
	steps := map[place]*exporters.MetricStep{}
	merged := map[place]*schemas.Distribution{}
	for i := range s.AllPoints {
		p := &s.AllPoints[i]
		if p.Project != q.Project || p.Name != q.Name || !within(p.Time, q.Range) || q.Topic != "" && p.Topic != q.Topic || q.Group != "" && p.Group != q.Group ||
			q.Service != "" && p.Service != q.Service || q.ClientID != "" && p.ClientID != q.ClientID || q.Partition != nil && p.Partition != *q.Partition {
			continue
		}
		cause, _ := schemas.Lookup(p.Attributes, "hoptrace.rebalance.cause")
		fault, _ := schemas.Lookup(p.Attributes, "error.type")
		pathway, _ := schemas.Lookup(p.Attributes, "hoptrace.pathway")
		if q.Cause != "" && cause != q.Cause || q.ErrorType != "" && fault != q.ErrorType || q.Pathway != "" && pathway != q.Pathway {
			continue
		}
		line := exporters.MetricSeries{Partition: schemas.Unknown, Kind: p.Kind, Unit: p.Unit}
		key := ""
		for _, l := range q.By {
			switch l {
			case exporters.LabelTopic:
				line.Topic, key = p.Topic, key+"\x00"+p.Topic
			case exporters.LabelPartition:
				line.Partition, key = p.Partition, key+"\x00"+string(rune(p.Partition))
			case exporters.LabelGroup:
				line.Group, key = p.Group, key+"\x00"+p.Group
			case exporters.LabelService:
				line.Service, key = p.Service, key+"\x00"+p.Service
			case exporters.LabelClient:
				line.ClientID, key = p.ClientID, key+"\x00"+p.ClientID
			case exporters.LabelCause:
				line.Cause, key = cause, key+"\x00"+cause
			case exporters.LabelError:
				line.ErrorType, key = fault, key+"\x00"+fault
			case exporters.LabelPathway:
				line.Pathway, key = pathway, key+"\x00"+pathway
			}
		}
		if lines[key] == nil {
			lines[key] = &line
		}
		at := place{exporters.MetricLabel(key), p.Time / int64(q.Step)}
		if steps[at] == nil {
			nan := math.NaN()
			steps[at] = &exporters.MetricStep{Time: at.step * int64(q.Step), Min: nan, Max: nan, P50: nan, P95: nan, P99: nan}
			merged[at] = &schemas.Distribution{}
		}
		st := steps[at]
		if p.Kind == schemas.MetricGauge || p.Kind == schemas.MetricSum {
			st.Count++
			st.Sum += p.Value
			continue
		}
		d := merged[at]
		d.Merge(&p.Histogram)
		st.Count, st.Sum, st.Min, st.Max = d.Count, d.Sum, d.Min, d.Max
		st.P50, st.P95, st.P99 = d.Quantile(0.5), d.Quantile(0.95), d.Quantile(0.99)
		for _, e := range p.Exemplars {
			if st.Exemplar == nil || e.Value > st.Exemplar.Value {
				st.Exemplar = &e
			}
		}
	}
	out := []exporters.MetricSeries{}
	for key, line := range lines {
		for at, st := range steps {
			if string(at.line) == key {
				line.Steps = append(line.Steps, *st)
			}
		}
		slices.SortFunc(line.Steps, func(a, b exporters.MetricStep) int { return cmp.Compare(a.Time, b.Time) })
		out = append(out, *line)
	}
	slices.SortFunc(out, func(a, b exporters.MetricSeries) int {
		return cmp.Or(strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition), strings.Compare(a.Group, b.Group))
	})
	return out, nil
}

// MetricPoints is exporters.MetricReader's.
func (s *Store) MetricPoints(ctx context.Context, q exporters.PointQuery) ([]schemas.MetricPoint, error) {
	if err := s.ask(ctx, "MetricPoints"); err != nil {
		return nil, err
	}
	var out []schemas.MetricPoint
	for _, p := range s.AllPoints {
		if p.Project == q.Project && slices.Contains(q.Names, p.Name) && within(p.Time, q.Range) && (len(q.BootIDs) == 0 || slices.Contains(q.BootIDs, p.BootID)) {
			out = append(out, p)
		}
	}
	slices.SortStableFunc(out, func(a, b schemas.MetricPoint) int { return cmp.Compare(a.Time, b.Time) })
	type stream struct {
		name   string
		series uint64
		slot   int64
	}
	once := map[stream]bool{}
	thin := func(p schemas.MetricPoint, slot int64) bool {
		k := stream{p.Name, p.Series, slot}
		was := once[k]
		once[k] = true
		return was
	}
	switch {
	case q.Newest:
		slices.Reverse(out)
		out = slices.DeleteFunc(out, func(p schemas.MetricPoint) bool { return thin(p, 0) })
		slices.Reverse(out)
	case q.Every > 0:
		out = slices.DeleteFunc(out, func(p schemas.MetricPoint) bool { return thin(p, p.Time/int64(q.Every)) })
	}
	if q.Limit > 0 {
		out = out[:min(len(out), q.Limit)]
	}
	return out, nil
}
