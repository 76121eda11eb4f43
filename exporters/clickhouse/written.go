package clickhouse

import (
	"context"
	"fmt"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// maxWritten bounds what a replay may ask for.
const maxWritten = 2_000_000

// WrittenSpans tells which rows of a source are stored at or after an offset.
func (s *Store) WrittenSpans(ctx context.Context, source schemas.Source, from int64) (exporters.Written, error) {
	var w exporters.Written
	var err error
	if w.Spans, err = s.written(ctx, "spans", source, from); err == nil {
		w.Messages, err = s.written(ctx, "messages", source, from)
	}
	return w, err
}

// WrittenEvents tells which events of a source are stored at or after an offset.
func (s *Store) WrittenEvents(ctx context.Context, source schemas.Source, from int64) (map[schemas.Position]struct{}, error) {
	return s.written(ctx, "events", source, from)
}

// WrittenIngest tells which records of an ingest topic have an event.
func (s *Store) WrittenIngest(ctx context.Context, ingest schemas.Source, from int64) (map[int64]struct{}, error) {
	var (
		offset proto.ColInt64
		ps     params
		out    map[int64]struct{}
	)
	ps.uint("ingest", uint64(ingest))
	ps.int("from", from)
	ps.int("limit", maxWritten+1)
	err := s.query(ctx, "SELECT DISTINCT ingest_offset FROM events PREWHERE ingest_offset >= {from:Int64} AND ingest_source = {ingest:UInt64} LIMIT {limit:UInt64}", ps,
		proto.Results{{Name: "ingest_offset", Data: &offset}},
		func() { out = make(map[int64]struct{}) },
		func() {
			for _, o := range offset {
				out[o] = struct{}{}
			}
		})
	if err != nil {
		return nil, fmt.Errorf("cannot read which records of ingest source %d have events from offset %d on: %w", ingest, from, err)
	}
	if len(out) > maxWritten {
		return nil, fmt.Errorf("more than %d records of ingest source %d have events from offset %d on: %w", maxWritten, ingest, from, exporters.ErrTooLarge)
	}
	return out, nil
}

// WrittenMetrics tells which metric points of a source are stored at or after an offset.
func (s *Store) WrittenMetrics(ctx context.Context, source schemas.Source, from int64) (map[schemas.Position]struct{}, error) {
	return s.written(ctx, "metric_points", source, from)
}

func (s *Store) written(ctx context.Context, table string, source schemas.Source, from int64) (map[schemas.Position]struct{}, error) {
	var (
		offset proto.ColInt64
		index  proto.ColUInt32
		ps     params
		out    map[schemas.Position]struct{}
	)
	ps.uint("source", uint64(source))
	ps.int("from", from)
	ps.int("limit", maxWritten+1)
	err := s.query(ctx, "SELECT DISTINCT source_offset, source_index FROM "+table+
		" PREWHERE source_offset >= {from:Int64} AND source = {source:UInt64} LIMIT {limit:UInt64}", ps,
		proto.Results{{Name: "source_offset", Data: &offset}, {Name: "source_index", Data: &index}},
		func() { out = make(map[schemas.Position]struct{}) },
		func() {
			for i := range offset {
				out[schemas.Position{Offset: offset[i], Index: index[i]}] = struct{}{}
			}
		})
	if err != nil {
		return nil, fmt.Errorf("cannot read which %s of source %d are written from offset %d on: %w", table, source, from, err)
	}
	if len(out) > maxWritten {
		return nil, fmt.Errorf("more than %d %s of source %d are written from offset %d on: %w", maxWritten, table, source, from, exporters.ErrTooLarge)
	}
	return out, nil
}
