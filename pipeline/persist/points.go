package persist

import (
	"context"
	"log/slog"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/pipeline/consume"
	"github.com/hoptrace/hoptrace/pipeline/hops"
	"github.com/hoptrace/hoptrace/pipeline/ingest"
	"github.com/hoptrace/hoptrace/pipeline/normalize"
	"github.com/hoptrace/hoptrace/schemas"
)

// DefaultWritePoints is how many metric points one write has at most.
const DefaultWritePoints = 20_000

// Points is the handler behind topic ingest-metrics.
type Points = Rows[schemas.MetricPoint]

// NewPoints makes the handler: OTLP metrics, and trace metrics of Sentry SDKs. Zero
// writeRows means
// [DefaultWritePoints]. What points tell of clocks goes to clocks first, so that a point
// that is stored has been told; nil leaves it out.
func NewPoints(w exporters.MetricWriter, clocks *hops.Clocks, cfg normalize.Config, limits ingest.Limits, writeRows int, m *Metrics, log *slog.Logger) *Points {
	if writeRows <= 0 {
		writeRows = DefaultWritePoints
	}
	otlp, sentry := ingest.NewMetricDecoder(limits), ingest.NewSentryDecoder(limits)
	var before func(context.Context, []schemas.MetricPoint) error
	if clocks != nil {
		before = clocks.StorePoints
	}
	return newRows(RowsConfig[schemas.MetricPoint]{
		Before: before,
		What:   "metric points", Schemas: []string{schemas.SchemaOTLPMetrics, schemas.SchemaSentryTraceMetrics}, WriteRows: writeRows,
		Decode: func(dst []schemas.MetricPoint, r *consume.Record, schema string) ([]schemas.MetricPoint, error) {
			if schema == schemas.SchemaSentryTraceMetrics {
				return sentry.TraceMetrics(dst, r.Value)
			}
			return otlp.Decode(dst, r.Value)
		},
		Normalize: func(points []schemas.MetricPoint, received int64, dropped *normalize.Dropped) []schemas.MetricPoint {
			return normalize.Metrics(cfg, points, received, dropped)
		},
		Place: func(p *schemas.MetricPoint, project uint64, _ int64, source schemas.Source, offset int64) schemas.Position {
			p.Project, p.Source, p.Position.Offset = project, source, offset
			return p.Position
		},
		At:    func(p *schemas.MetricPoint) (schemas.Source, schemas.Position) { return p.Source, p.Position },
		Reset: otlp.Reset, Write: w.WriteMetrics, Written: w.WrittenMetrics,
	}, &m.points, log)
}
