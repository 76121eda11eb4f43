package persist

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/pipeline/consume"
	"github.com/hoptrace/hoptrace/pipeline/ingest"
	"github.com/hoptrace/hoptrace/pipeline/ledger"
	"github.com/hoptrace/hoptrace/pipeline/normalize"
	"github.com/hoptrace/hoptrace/pipeline/otelerrors"
	"github.com/hoptrace/hoptrace/schemas"
)

// DefaultWriteLogs is how many log records one write has at most.
const DefaultWriteLogs = 20_000

// Logs is the handler behind topic ingest-logs.
type Logs = Rows[schemas.Log]

// NewLogs makes the handler: OTLP logs, and those of Sentry SDKs. Zero writeRows
// means [DefaultWriteLogs]. sink gets the errors that records are about; nil leaves
// them as log records alone.
func NewLogs(w exporters.LogWriter, sink ErrorSink, cfg normalize.Config, limits ingest.Limits, writeRows int, m *Metrics, log *slog.Logger) *Logs {
	if writeRows <= 0 {
		writeRows = DefaultWriteLogs
	}
	otlp, sentry := ingest.NewLogDecoder(limits), ingest.NewSentryDecoder(limits)
	return newRows(RowsConfig[schemas.Log]{
		What: "log records", Schemas: []string{schemas.SchemaOTLPLogs, schemas.SchemaSentryLogs}, WriteRows: writeRows,
		Decode: func(dst []schemas.Log, r *consume.Record, schema string) ([]schemas.Log, error) {
			if schema == schemas.SchemaSentryLogs {
				return sentry.Logs(dst, r.Value)
			}
			return otlp.Decode(dst, r.Value)
		},
		Normalize: func(logs []schemas.Log, received int64, dropped *normalize.Dropped) []schemas.Log {
			return normalize.Logs(cfg, logs, received, dropped)
		},
		Place: func(l *schemas.Log, project uint64, received int64, source schemas.Source, offset int64) schemas.Position {
			l.Project, l.Received, l.Source, l.Position.Offset = project, received, source, offset
			return l.Position
		},
		At: func(l *schemas.Log) (schemas.Source, schemas.Position) { return l.Source, l.Position },
		Seen: func(ctx context.Context, l *schemas.Log) {
			if sink == nil {
				return
			}
			for _, e := range otelerrors.OfLog(nil, l) {
				ledger.Derive(ctx, l.Source, l.Position.Offset, e.ID, e.Time)
			}
		},
		Before: func(ctx context.Context, logs []schemas.Log) error {
			if sink == nil {
				return nil
			}
			var found []otelerrors.Event
			for i := range logs {
				found = otelerrors.OfLog(found, &logs[i])
			}
			if len(found) == 0 {
				return nil
			}
			if err := sink.Send(ctx, found); err != nil {
				return fmt.Errorf("cannot hand on %d errors of log records: %w", len(found), err)
			}
			return nil
		},
		Reset: otlp.Reset, Write: w.WriteLogs, Written: w.WrittenLogs,
	}, &m.logs, log)
}
