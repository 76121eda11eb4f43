package fakestore

import (
	"cmp"
	"context"
	"slices"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// SpansAfter is exporters.SpanReader's.
func (s *Store) SpansAfter(ctx context.Context, project uint64, traces []schemas.TraceID, skip, limit int) ([]schemas.Span, error) {
	if err := s.ask(ctx, "SpansAfter"); err != nil {
		return nil, err
	}
	out := s.spans(project, func(p *schemas.Span) bool { return slices.Contains(traces, p.TraceID) })
	out = out[min(skip, len(out)):]
	return out[:min(len(out), limit)], nil
}

// CountSpans is exporters.SpanReader's.
func (s *Store) CountSpans(ctx context.Context, project uint64, traces []schemas.TraceID) (uint64, error) {
	if err := s.ask(ctx, "CountSpans"); err != nil {
		return 0, err
	}
	return uint64(len(s.spans(project, func(p *schemas.Span) bool { return slices.Contains(traces, p.TraceID) }))), nil
}

// SpansAt is exporters.SpanReader's.
func (s *Store) SpansAt(ctx context.Context, project uint64, refs []schemas.SpanRef) ([]schemas.Span, error) {
	if err := s.ask(ctx, "SpansAt"); err != nil {
		return nil, err
	}
	return s.spans(project, func(p *schemas.Span) bool {
		return slices.Contains(refs, schemas.SpanRef{TraceID: p.TraceID, SpanID: p.SpanID})
	}), nil
}

// LinkedFrom is exporters.SpanReader's.
func (s *Store) LinkedFrom(ctx context.Context, q exporters.LinkQuery) ([]schemas.Span, error) {
	if err := s.ask(ctx, "LinkedFrom"); err != nil {
		return nil, err
	}
	out := s.spans(q.Project, func(p *schemas.Span) bool {
		return within(p.Start, q.Range) && slices.ContainsFunc(p.Links, func(l schemas.Link) bool {
			return l.TraceID == q.To.TraceID && l.SpanID == q.To.SpanID
		})
	})
	out = out[min(q.Skip, len(out)):]
	return out[:min(len(out), cmp.Or(q.Limit, 50))], nil
}

func (s *Store) spans(project uint64, keep func(*schemas.Span) bool) []schemas.Span {
	var out []schemas.Span
	for i := range s.AllSpans {
		if p := &s.AllSpans[i]; p.Project == project && keep(p) {
			out = append(out, *p)
		}
	}
	slices.SortStableFunc(out, func(a, b schemas.Span) int { return cmp.Compare(a.Start, b.Start) })
	return out
}

// HopsOfSpan is exporters.MessageReader's.
func (s *Store) HopsOfSpan(ctx context.Context, project uint64, span schemas.SpanRef, limit int) ([]schemas.Hop, error) {
	if err := s.ask(ctx, "HopsOfSpan"); err != nil {
		return nil, err
	}
	var out []schemas.Hop
	for _, h := range s.allHops(project) {
		if c := h.Consume; c != nil && c.TraceID == span.TraceID && c.SpanID == span.SpanID && len(out) < limit {
			out = append(out, h)
		}
	}
	return out, nil
}
