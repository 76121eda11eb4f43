package clickhouse

import (
	"context"
	"fmt"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// SpansAfter gives spans of some traces behind the first skip of Spans.
func (s *Store) SpansAfter(ctx context.Context, project uint64, traces []schemas.TraceID, skip, limit int) ([]schemas.Span, error) {
	if len(traces) == 0 {
		return nil, nil
	}
	if err := atMost("traces", len(traces), maxTraces); err != nil {
		return nil, err
	}
	var ps params
	ps.uint("project", project)
	ps.traces(traces)
	ps.int("skip", int64(max(0, skip)))
	ps.int("limit", limited(limit, 20_000, 20_000))
	out, err := s.spansWhere(ctx, "PREWHERE trace_id IN ("+traceSet+") WHERE project = {project:UInt64}"+
		" ORDER BY start, trace_id, span_id, source, source_offset, source_index LIMIT 1 BY start, trace_id, span_id, kind, name LIMIT {skip:UInt64}, {limit:UInt64}"+oneThread, ps)
	if err != nil {
		return nil, fmt.Errorf("cannot read the spans of %d traces from %d on: %w", len(traces), skip, err)
	}
	return out, nil
}

// CountSpans counts the spans of some traces as Spans would give them.
func (s *Store) CountSpans(ctx context.Context, project uint64, traces []schemas.TraceID) (uint64, error) {
	if len(traces) == 0 {
		return 0, nil
	}
	if err := atMost("traces", len(traces), maxTraces); err != nil {
		return 0, err
	}
	var ps params
	ps.uint("project", project)
	ps.traces(traces)
	var n proto.ColUInt64
	out := uint64(0)
	err := s.query(ctx, "SELECT uniqExact(time, trace_id, span_id, kind, name) AS n FROM spans PREWHERE trace_id IN ("+traceSet+") WHERE project = {project:UInt64}"+oneThread, ps,
		proto.Results{{Name: "n", Data: &n}}, func() { out = 0 }, func() {
			for _, v := range n {
				out = v
			}
		})
	if err != nil {
		return 0, fmt.Errorf("cannot count the spans of %d traces: %w", len(traces), err)
	}
	return out, nil
}

// SpansAt gives the spans of these refs by start time, each once.
func (s *Store) SpansAt(ctx context.Context, project uint64, refs []schemas.SpanRef) ([]schemas.Span, error) {
	if len(refs) == 0 {
		return nil, nil
	}
	if err := atMost("spans", len(refs), maxRecords); err != nil {
		return nil, err
	}
	var ps params
	ps.uint("project", project)
	ps.spans(refs)
	out, err := s.spansWhere(ctx, "PREWHERE trace_id IN ("+traceSet+") WHERE project = {project:UInt64} AND (trace_id, span_id) IN ("+spanSet+")"+
		" ORDER BY start, trace_id, span_id, source, source_offset, source_index LIMIT 1 BY trace_id, span_id"+oneThread, ps)
	if err != nil {
		return nil, fmt.Errorf("cannot read %d spans: %w", len(refs), err)
	}
	return out, nil
}

// LinkedFrom gives the spans that link to one, by start time. A link to the
// span's own parent is kept as a bit, so such spans are looked for by their
// parent.
func (s *Store) LinkedFrom(ctx context.Context, q exporters.LinkQuery) ([]schemas.Span, error) {
	var ps params
	ps.uint("project", q.Project)
	ps.stretch(q.Range)
	ps.text("trace", q.To.TraceID.String())
	ps.text("span", q.To.SpanID.String())
	ps.int("skip", int64(max(0, q.Skip)))
	ps.int("limit", limited(q.Limit, 50, 501))
	const (
		trace = "toFixedString(unhex({trace:String}), 16)"
		span  = "toFixedString(unhex({span:String}), 8)"
		own   = "project = {project:UInt64} AND " + inStretch
	)
	// Each half has an index of its own; OR of the two would take neither.
	c := newSpanResults()
	half := func(prewhere, where string) string {
		return "SELECT " + c.names + " FROM spans PREWHERE " + prewhere + " WHERE " + own + " AND " + where
	}
	out, err := s.spansFrom(ctx, c, "SELECT * FROM ("+
		half("has(link_spans, "+span+")", "arrayExists((s, same, t) -> s = "+span+" AND if(bitTest(same, 0), trace_id, t) = "+trace+", link_spans, link_same, link_traces)")+
		" UNION ALL "+
		half("trace_id = "+trace+" AND parent_id = "+span, "arrayExists(same -> bitAnd(same, 3) = 3, link_same)")+
		") ORDER BY start, trace_id, span_id, source, source_offset, source_index LIMIT 1 BY trace_id, span_id LIMIT {skip:UInt64}, {limit:UInt64}"+oneThread, ps)
	if err != nil {
		return nil, fmt.Errorf("cannot find the spans that link to span %s of trace %s: %w", q.To.SpanID, q.To.TraceID, err)
	}
	return out, nil
}

func (s *Store) spansWhere(ctx context.Context, rest string, ps params) ([]schemas.Span, error) {
	c := newSpanResults()
	return s.spansFrom(ctx, c, "SELECT "+c.names+" FROM spans "+rest, ps)
}

func (s *Store) spansFrom(ctx context.Context, c *spanResults, body string, ps params) ([]schemas.Span, error) {
	var out []schemas.Span
	resources := make(map[string][]schemas.Attribute)
	err := s.query(ctx, body, ps, c.results, func() { out = out[:0] }, func() {
		for i := range c.project {
			out = append(out, c.row(i, resources))
		}
	})
	return out, err
}
