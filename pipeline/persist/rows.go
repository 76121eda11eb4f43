package persist

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/pipeline/consume"
	"github.com/hoptrace/hoptrace/pipeline/ledger"
	"github.com/hoptrace/hoptrace/pipeline/normalize"
	"github.com/hoptrace/hoptrace/schemas"
)

// RowsConfig is what a [Rows] needs to know of one kind of row.
type RowsConfig[T any] struct {
	// What names the rows in errors: "metric points".
	What string
	// Schemas are those of records that the stage reads; see accept.
	Schemas []string
	// WriteRows is how many rows one write has at most.
	WriteRows int
	// Decode appends a record's rows to dst, with their Position.Index. They may
	// alias the record and memory that Reset takes back. An error tells that the
	// record can never be read.
	Decode func(dst []T, r *consume.Record, schema string) ([]T, error)
	// Normalize puts rows in order, in place, and leaves out what is impossible. Nil
	// keeps all.
	Normalize func(rows []T, received int64, dropped *normalize.Dropped) []T
	// Place notes where a row came from and gives its position.
	Place func(row *T, project uint64, received int64, source schemas.Source, offset int64) schemas.Position
	// At is where a row came from, after Place.
	At func(row *T) (schemas.Source, schemas.Position)
	// Seen, when set, is told of every row, stored already or not.
	Seen func(ctx context.Context, row *T)
	// Before, when set, is given the rows that will be written, before they are. They
	// may come again after an error.
	Before func(ctx context.Context, rows []T) error
	// Reset takes back the memory of all rows. Nil when there is none.
	Reset func()
	// Write and Written are the store's.
	Write   func(ctx context.Context, rows []T) error
	Written func(ctx context.Context, source schemas.Source, from int64) (map[schemas.Position]struct{}, error)
}

// Rows is the handler of a topic whose records become rows of one kind. Its
// methods are called by one goroutine at a time.
type Rows[T any] struct {
	cfg     RowsConfig[T]
	metrics *rowMetrics
	log     *slog.Logger

	zones zones[map[schemas.Position]struct{}]
	// What waits for the next write, and the records that end with it.
	rows    []T
	waiting []int64 // times of reception
	last    int     // how many rows the last write had
}

func newRows[T any](cfg RowsConfig[T], m *rowMetrics, log *slog.Logger) *Rows[T] {
	h := &Rows[T]{cfg: cfg, metrics: m, log: log}
	h.zones.ask = func(ctx context.Context, source schemas.Source, from int64) (map[schemas.Position]struct{}, int64, error) {
		written, err := cfg.Written(ctx, source, from)
		if err != nil {
			return nil, -1, err
		}
		return written, last(written), nil
	}
	return h
}

// Assigned asks the store for the replay zone of each partition.
func (h *Rows[T]) Assigned(ctx context.Context, parts []consume.Partition) error {
	return h.zones.assigned(ctx, parts)
}

// Revoked forgets partitions.
func (h *Rows[T]) Revoked(_ context.Context, parts []consume.Partition) { h.zones.revoked(parts) }

// Handle stores the rows of a batch. See [Spans.Handle].
func (h *Rows[T]) Handle(ctx context.Context, batch []consume.Record) (dead []consume.DeadLetter, err error) {
	done := false
	defer func() {
		if !done {
			h.release()
			h.zones.failed(batch)
		}
	}()
	for i := range batch {
		r := &batch[i]
		refusal, err := h.record(ctx, r)
		if err != nil {
			return nil, err
		}
		if refusal != nil {
			dead = append(dead, h.metrics.refuse(h.log, r, refusal))
		}
		if len(h.rows) >= h.cfg.WriteRows {
			if err := h.flush(ctx); err != nil {
				return nil, err
			}
		}
	}
	if err := h.flush(ctx); err != nil {
		return nil, err
	}
	h.zones.passed(batch)
	done = true
	return dead, nil
}

// record adds one record's rows to those that wait. Refusal tells that the
// record can never be read.
func (h *Rows[T]) record(ctx context.Context, r *consume.Record) (refusal, err error) {
	zone, err := h.zones.of(ctx, r)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	defer func() { h.metrics.decode.Add(since(start)) }()
	from, refusal := accept(r, h.cfg.Schemas...)
	if refusal != nil {
		return refusal, nil
	}
	before := len(h.rows)
	if h.rows, refusal = h.cfg.Decode(h.rows, r, from.schema); refusal != nil {
		h.rows = h.rows[:before]
		return refused("undecodable", refusal), nil
	}
	h.metrics.in.Add(float64(len(h.rows) - before))
	rows := h.rows[before:]
	if h.cfg.Normalize != nil {
		var dropped normalize.Dropped
		rows = h.cfg.Normalize(rows, from.received, &dropped)
		for reason, n := range dropped {
			if n > 0 {
				h.metrics.dropped[reason].Add(float64(n))
				ledger.Drop(ctx, zone.source, r.Offset, schemas.OutcomeInvalid, normalize.Reason(reason).String(), n)
			}
		}
	}
	out, replayed := h.rows[:before], 0
	for i := range rows {
		position := h.cfg.Place(&rows[i], from.project, from.received, zone.source, r.Offset)
		if h.cfg.Seen != nil {
			h.cfg.Seen(ctx, &rows[i])
		}
		if _, is := zone.written[position]; is {
			replayed++
			continue
		}
		out = append(out, rows[i])
	}
	h.rows = out
	h.waiting = append(h.waiting, from.received)
	h.metrics.replayed.Add(float64(replayed))
	return nil, nil
}

// flush writes what waits, in equal parts of at most WriteRows, and takes the
// decoder's memory back.
func (h *Rows[T]) flush(ctx context.Context) error {
	if len(h.waiting) == 0 {
		return nil
	}
	rows := h.rows
	if h.cfg.Before != nil && len(rows) > 0 {
		if err := h.cfg.Before(ctx, rows); err != nil {
			return err
		}
	}
	for parts := (len(rows) + h.cfg.WriteRows - 1) / h.cfg.WriteRows; parts > 0; parts-- {
		n := (len(rows) + parts - 1) / parts
		if err := h.write(ctx, rows[:n]); err != nil {
			return err
		}
		rows = rows[n:]
	}
	now := time.Now().UnixNano()
	for _, received := range h.waiting {
		h.metrics.stored(received, now)
	}
	h.release()
	return nil
}

// write halves what the store finds too large. A single row that it will never
// take is dropped and counted: it must not stop its partition.
func (h *Rows[T]) write(ctx context.Context, rows []T) error {
	start := time.Now()
	err := h.cfg.Write(ctx, rows)
	h.metrics.write.Observe(since(start))
	if errors.Is(err, exporters.ErrTooLarge) {
		if len(rows) <= 1 {
			h.metrics.tooLarge.Inc()
			h.log.Error("a row is too large for the store and is dropped", "of", h.cfg.What, "error", err)
			for i := range rows {
				source, position := h.cfg.At(&rows[i])
				ledger.Drop(ctx, source, position.Offset, schemas.OutcomeInvalid, "too_large", 1)
			}
			return nil
		}
		half := len(rows) / 2
		if err := h.write(ctx, rows[:half]); err != nil {
			return err
		}
		return h.write(ctx, rows[half:])
	}
	if err != nil {
		return fmt.Errorf("cannot write %d %s: %w", len(rows), h.cfg.What, err)
	}
	h.metrics.batch.Observe(float64(len(rows)))
	h.metrics.kept.Add(float64(len(rows)))
	return nil
}

// release lets go of what lies in the decoder's and the records' memory.
func (h *Rows[T]) release() {
	if h.cfg.Reset != nil {
		h.cfg.Reset()
	}
	n := len(h.rows)
	h.rows = empty(h.rows, h.last)
	h.waiting, h.last = h.waiting[:0], n
}
