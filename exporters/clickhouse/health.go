package clickhouse

import (
	"context"
	"fmt"
	"time"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

var _ exporters.StoreHealthReader = (*Store)(nil)

// StoreHealth asks the engine's own tables. What a user may not read there is not known.
func (s *Store) StoreHealth(ctx context.Context) (exporters.StoreHealth, error) {
	out := exporters.StoreHealth{Rows: schemas.Unknown, Parts: schemas.Unknown, Bytes: schemas.Unknown, Free: schemas.Unknown, Total: schemas.Unknown, Memory: schemas.Unknown}
	begun := time.Now()
	if err := s.Ping(ctx); err != nil {
		return out, err
	}
	out.Answered = time.Since(begun)
	for _, q := range []struct {
		body string
		to   []*int64
	}{
		{"SELECT toInt64(sum(rows)) AS a, toInt64(count()) AS b, toInt64(sum(bytes_on_disk)) AS c FROM system.parts WHERE active AND database = currentDatabase()", []*int64{&out.Rows, &out.Parts, &out.Bytes}},
		{"SELECT toInt64(least(sum(free_space), 9000000000000000000)) AS a, toInt64(least(sum(total_space), 9000000000000000000)) AS b FROM system.disks WHERE is_remote = 0", []*int64{&out.Free, &out.Total}},
		{"SELECT toInt64(value) AS a FROM system.metrics WHERE metric = 'MemoryTracking'", []*int64{&out.Memory}},
	} {
		columns := make([]proto.ColInt64, len(q.to))
		results := make(proto.Results, len(q.to))
		for i := range columns {
			results[i] = proto.ResultColumn{Name: string(rune('a' + i)), Data: &columns[i]}
		}
		begin := func() {
			for _, to := range q.to {
				*to = schemas.Unknown
			}
		}
		err := s.query(ctx, q.body, nil, results, begin, func() {
			for i, to := range q.to {
				if columns[i].Rows() > 0 {
					*to = columns[i].Row(0)
				}
			}
		})
		if err != nil && ctx.Err() != nil {
			return out, fmt.Errorf("cannot ask the engine how it does: %w", err)
		}
		if err != nil { // its user may not ask this
			begin()
		}
	}
	return out, nil
}
