package pipeline

import (
	"context"

	"github.com/hoptrace/hoptrace/schemas"
)

// noLogs is a store of log records for tests that send none.
type noLogs struct{}

func (noLogs) WriteLogs(context.Context, []schemas.Log) error { return nil }

func (noLogs) WrittenLogs(context.Context, schemas.Source, int64) (map[schemas.Position]struct{}, error) {
	return nil, nil
}

// noLedger keeps no lines.
type noLedger struct{}

func (noLedger) WriteTallies(context.Context, []schemas.Tally) error { return nil }
