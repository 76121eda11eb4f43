package fakestore

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/internal/search"
	"github.com/hoptrace/hoptrace/schemas"
)

func says(t search.RowTerm, s string) bool {
	return t.Op == search.Has && s != "" || slices.ContainsFunc(t.Values, func(v search.Value) bool { return v.Matches(s) })
}

// spanHolds knows service, name, status, duration and attributes.
func spanHolds(p *schemas.Span, t search.RowTerm) bool {
	if t.Field == nil {
		if t.Key == "" {
			return strings.Contains(strings.ToLower(p.Name), strings.ToLower(t.Values[0].Text))
		}
		v, ok := schemas.Lookup(p.Attributes, t.Key)
		return ok && (t.Op == search.Has || says(t, v))
	}
	switch t.Field.Name {
	case search.RowService:
		return says(t, p.Service)
	case search.RowName:
		return says(t, p.Name)
	case search.RowStatus:
		return says(t, search.SpanStatuses[p.Status])
	case search.RowDuration:
		return t.Compare(p.End - p.Start)
	}
	return false
}

// hopHolds knows topic, partition, offset, group, service and processing.
func hopHolds(h schemas.Hop, t search.RowTerm) bool {
	if t.Field == nil {
		return t.Key == "" && strings.Contains(h.Consume.Topic, t.Values[0].Text)
	}
	switch t.Field.Name {
	case search.FieldTopic:
		return says(t, h.Consume.Topic)
	case search.FieldPartition:
		return t.Compare(int64(h.Consume.Partition))
	case search.FieldOffset:
		return t.Compare(h.Consume.Offset)
	case search.FieldGroup:
		return says(t, h.Consume.Group)
	case search.RowService:
		return says(t, h.Consume.Service)
	case string(exporters.PartProcessing):
		p := h.Parts().Processing
		return p.Known && t.Compare(int64(p.Duration))
	}
	return false
}

// behind tells whether a place comes behind another.
func behind(k, after exporters.RowKey, ascending bool) bool {
	c := compareKeys(k, after)
	if ascending {
		return c > 0
	}
	return c < 0
}

func compareKeys(a, b exporters.RowKey) int {
	return cmp.Or(cmp.Compare(a.By, b.By), cmp.Compare(a.Time, b.Time), bytes.Compare(a.Trace[:], b.Trace[:]), bytes.Compare(a.Span[:], b.Span[:]), cmp.Compare(a.Tie, b.Tie))
}

func rowPage[T any](rows []T, key func(T) exporters.RowKey, q exporters.RowQuery) []T {
	rows = slices.DeleteFunc(rows, func(r T) bool { return q.After != nil && !behind(key(r), *q.After, q.Ascending) })
	slices.SortFunc(rows, func(a, b T) int {
		if q.Ascending {
			return compareKeys(key(a), key(b))
		}
		return compareKeys(key(b), key(a))
	})
	return rows[:min(len(rows), cmp.Or(q.Limit, 50))]
}

func (s *Store) foundSpans(q exporters.RowQuery) (out []exporters.FoundSpan) {
	for i := range s.AllSpans {
		p := s.AllSpans[i]
		if p.Project == q.Project && within(p.Start, q.Range) && q.Where.Holds(func(t search.RowTerm) bool { return spanHolds(&p, t) }) {
			k := exporters.RowKey{By: p.Start, Time: p.Start, Trace: p.TraceID, Span: p.SpanID}
			if q.Sort != "" {
				k.By = p.End - p.Start
			}
			out = append(out, exporters.FoundSpan{Span: p, Key: k})
		}
	}
	return out
}

// SearchSpans is exporters.SearchReader's.
func (s *Store) SearchSpans(ctx context.Context, q exporters.RowQuery) ([]exporters.FoundSpan, error) {
	if err := s.ask(ctx, "SearchSpans"); err != nil {
		return nil, err
	}
	if w := exporters.WorkOf(ctx); w != nil {
		w.Rows.Add(uint64(len(s.AllSpans)))
	}
	return rowPage(s.foundSpans(q), func(f exporters.FoundSpan) exporters.RowKey { return f.Key }, q), nil
}

func (s *Store) foundHops(q exporters.RowQuery) (out []exporters.FoundHop) {
	for _, h := range s.allHops(q.Project) {
		c := h.Consume
		if c == nil || !within(c.End, q.Range) || !q.Where.Holds(func(t search.RowTerm) bool { return hopHolds(h, t) }) {
			continue
		}
		k := exporters.RowKey{By: c.End, Time: c.End, Trace: c.TraceID, Span: c.SpanID, Tie: uint64(c.Offset)} //nolint:gosec // a tie
		if q.Sort != "" {
			k.By = int64(h.Parts().Processing.Duration)
		}
		out = append(out, exporters.FoundHop{Hop: h, Key: k})
	}
	return out
}

// SearchHops is exporters.SearchReader's.
func (s *Store) SearchHops(ctx context.Context, q exporters.RowQuery) ([]exporters.FoundHop, error) {
	if err := s.ask(ctx, "SearchHops"); err != nil {
		return nil, err
	}
	return rowPage(s.foundHops(q), func(f exporters.FoundHop) exporters.RowKey { return f.Key }, q), nil
}

// CountRows is exporters.SearchReader's, in buckets of a minute.
func (s *Store) CountRows(ctx context.Context, subject search.Subject, q exporters.RowQuery, _ int) (exporters.RowHistogram, error) {
	if err := s.ask(ctx, "CountRows"); err != nil {
		return exporters.RowHistogram{}, err
	}
	counts := map[int64]exporters.RowCount{}
	add := func(t int64, failed bool) {
		b := counts[t/int64(time.Minute)]
		b.Rows++
		if failed {
			b.Failed++
		}
		counts[t/int64(time.Minute)] = b
	}
	if subject == search.Hops {
		for _, f := range s.foundHops(q) {
			add(f.Consume.End, f.Consume.Failed)
		}
	} else {
		for _, f := range s.foundSpans(q) {
			add(f.Start, f.Status == schemas.StatusError)
		}
	}
	if len(counts) == 0 {
		return exporters.RowHistogram{}, nil
	}
	var minutes []int64
	for m := range counts {
		minutes = append(minutes, m)
	}
	low := slices.Min(minutes)
	out := exporters.RowHistogram{From: low * int64(time.Minute), Step: time.Minute, Buckets: make([]exporters.RowCount, slices.Max(minutes)-low+1)}
	for m, c := range counts {
		out.Buckets[m-low] = c
	}
	return out, nil
}

func seen(counts map[string]uint64, contains string, limit int) exporters.SeenValues {
	var out exporters.SeenValues
	for text, n := range counts {
		if strings.Contains(strings.ToLower(text), strings.ToLower(contains)) {
			out.Values = append(out.Values, exporters.ValueSeen{Text: text, Rows: n})
		}
	}
	slices.SortFunc(out.Values, func(a, b exporters.ValueSeen) int {
		return cmp.Or(cmp.Compare(b.Rows, a.Rows), cmp.Compare(a.Text, b.Text))
	})
	out.Values = out.Values[:min(len(out.Values), limit)]
	return out
}

// KeysOf is exporters.SearchReader's.
func (s *Store) KeysOf(ctx context.Context, project uint64, _ search.Subject, r exporters.Range) (exporters.SeenValues, error) {
	if err := s.ask(ctx, "KeysOf"); err != nil {
		return exporters.SeenValues{}, err
	}
	counts := map[string]uint64{}
	for i := range s.AllSpans {
		if p := &s.AllSpans[i]; p.Project == project && within(p.Start, r) {
			for _, a := range p.Attributes {
				counts[a.Key]++
			}
			for _, a := range p.Resource {
				counts[search.ResourcePrefix+a.Key]++
			}
		}
	}
	return seen(counts, "", 500), nil
}

// ValuesOf is exporters.SearchReader's; of fields it knows service, name and topic.
func (s *Store) ValuesOf(ctx context.Context, q exporters.ValueQuery) (exporters.SeenValues, error) {
	if err := s.ask(ctx, "ValuesOf"); err != nil {
		return exporters.SeenValues{}, err
	}
	counts := map[string]uint64{}
	if q.Field != nil && q.Field.Name == search.FieldTopic {
		for i := range s.AllMessages {
			if m := &s.AllMessages[i]; m.Project == q.Project && m.Side.Reads() && within(m.End, q.Range) {
				counts[m.Topic]++
			}
		}
		return seen(counts, q.Contains, cmp.Or(q.Limit, 20)), nil
	}
	for i := range s.AllSpans {
		p := &s.AllSpans[i]
		if p.Project != q.Project || !within(p.Start, q.Range) {
			continue
		}
		switch {
		case q.Field == nil:
			if v, ok := schemas.Lookup(p.Attributes, q.Key); ok {
				counts[v]++
			}
		case q.Field.Name == search.RowService:
			counts[p.Service]++
		case q.Field.Name == search.RowName:
			counts[p.Name]++
		}
	}
	return seen(counts, q.Contains, cmp.Or(q.Limit, 20)), nil
}

// SavedQueries is its own contract's.
func (s *Store) SavedQueries(ctx context.Context, project uint64) ([]exporters.SavedQuery, error) {
	if err := s.ask(ctx, "SavedQueries"); err != nil {
		return nil, err
	}
	var out []exporters.SavedQuery
	for _, q := range s.AllQueries {
		if q.Project == project {
			out = append(out, q)
		}
	}
	slices.SortFunc(out, func(a, b exporters.SavedQuery) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

func (s *Store) queryNamed(q exporters.SavedQuery) bool {
	return slices.ContainsFunc(s.AllQueries, func(o exporters.SavedQuery) bool { return o.Project == q.Project && o.Name == q.Name && o.ID != q.ID })
}

// SaveQuery is SavedQueries'.
func (s *Store) SaveQuery(ctx context.Context, q exporters.SavedQuery) (exporters.SavedQuery, error) {
	if err := s.ask(ctx, "SaveQuery"); err != nil {
		return q, err
	}
	if s.queryNamed(q) {
		return q, exporters.ErrExists
	}
	if len(s.AllQueries) >= exporters.MaxSavedQueries {
		return q, exporters.ErrTooLarge
	}
	q.ID, q.Changed = 1, q.Created
	for _, o := range s.AllQueries {
		q.ID = max(q.ID, o.ID+1)
	}
	s.AllQueries = append(s.AllQueries, q)
	return q, nil
}

// UpdateSavedQuery is SavedQueries'.
func (s *Store) UpdateSavedQuery(ctx context.Context, q exporters.SavedQuery) (exporters.SavedQuery, error) {
	if err := s.ask(ctx, "UpdateSavedQuery"); err != nil {
		return q, err
	}
	for i := range s.AllQueries {
		if o := &s.AllQueries[i]; o.ID == q.ID && o.Project == q.Project {
			if s.queryNamed(q) {
				return q, exporters.ErrExists
			}
			q.Owner, q.Created = o.Owner, o.Created
			*o = q
			return q, nil
		}
	}
	return q, exporters.ErrNotFound
}

// DeleteSavedQuery is SavedQueries'.
func (s *Store) DeleteSavedQuery(ctx context.Context, project uint64, id int64) error {
	if err := s.ask(ctx, "DeleteSavedQuery"); err != nil {
		return err
	}
	n := len(s.AllQueries)
	s.AllQueries = slices.DeleteFunc(s.AllQueries, func(o exporters.SavedQuery) bool { return o.ID == id && o.Project == project })
	if len(s.AllQueries) == n {
		return exporters.ErrNotFound
	}
	return nil
}
