package clickhouse

import (
	"context"
	"fmt"
	"slices"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// HopsOfSpan gives the hops of the records that one span read, by topic,
// partition and offset.
func (s *Store) HopsOfSpan(ctx context.Context, project uint64, ref schemas.SpanRef, limit int) ([]schemas.Hop, error) {
	var ps params
	ps.uint("project", project)
	ps.traces([]schemas.TraceID{ref.TraceID})
	ps.text("span", ref.SpanID.String())
	ps.int("limit", limited(limit, exporters.MaxBatch, exporters.MaxBatch))
	consumers, err := s.messages(ctx, "PREWHERE trace_id IN ("+traceSet+")"+
		" WHERE project = {project:UInt64} AND span_id = toFixedString(unhex({span:String}), 8) AND side IN (2, 3)"+once, ps)
	if err != nil {
		return nil, fmt.Errorf("cannot read the records of span %s of trace %s: %w", ref.SpanID, ref.TraceID, err)
	}
	out := make([]schemas.Hop, 0, len(consumers))
	for part := range slices.Chunk(consumers, maxRecords) { // what the look-up of producers takes
		hops, err := s.withProducers(ctx, project, part, nil)
		if err != nil {
			return nil, fmt.Errorf("cannot find the producers of %d records: %w", len(part), err)
		}
		out = append(out, hops...)
	}
	return out, nil
}
