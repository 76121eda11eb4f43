package exporters

import (
	"context"

	"github.com/hoptrace/hoptrace/internal/search"
	"github.com/hoptrace/hoptrace/schemas"
)

// LogWriter stores log records.
type LogWriter interface {
	// WriteLogs returns nil once all are durable. See SpanWriter.WriteSpans.
	WriteLogs(ctx context.Context, logs []schemas.Log) error
	// WrittenLogs is to log records what WrittenSpans is to spans.
	WrittenLogs(ctx context.Context, source schemas.Source, from int64) (map[schemas.Position]struct{}, error)
}

// LogQuery selects log records. Empty fields do not filter.
type LogQuery struct {
	Project     uint64
	Range       Range
	Service     string
	Trace       schemas.TraceID
	MinSeverity uint8       // OTLP's number
	Text        string      // contained in the body, without regard to case
	Where       search.Expr // of search.Logs
	// Before pages: only records before this time (Unix ns), and of those at it
	// only those after the Skip that were had already.
	Before int64
	Skip   int // at most 10,000
	Limit  int // 1 to 500; zero means 100
}

// LogReader reads log records back. One that was stored twice comes once.
type LogReader interface {
	// Logs lists records, newest first.
	Logs(ctx context.Context, q LogQuery) ([]schemas.Log, error)
}
