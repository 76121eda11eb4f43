package persist

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/pipeline/consume"
	"github.com/hoptrace/hoptrace/pipeline/ingest"
	"github.com/hoptrace/hoptrace/pipeline/normalize"
	"github.com/hoptrace/hoptrace/schemas"
)

// DefaultWritePoints is how many metric points one write has at most.
const DefaultWritePoints = 20_000

// Points is the handler behind topic ingest-metrics. Its methods are called by
// one goroutine at a time.
type Points struct {
	writer    exporters.MetricWriter
	normalize normalize.Config
	writeRows int
	metrics   *Metrics
	log       *slog.Logger

	zones   zones[map[schemas.Position]struct{}]
	decoder *ingest.MetricDecoder
	// What waits for the next write, and the records that end with it.
	points  []schemas.MetricPoint
	waiting []int64 // times of reception
	last    int     // how many rows the last write had
}

// NewPoints makes the handler. Zero writeRows means [DefaultWritePoints].
func NewPoints(w exporters.MetricWriter, cfg normalize.Config, limits ingest.Limits, writeRows int, m *Metrics, log *slog.Logger) *Points {
	if writeRows <= 0 {
		writeRows = DefaultWritePoints
	}
	p := &Points{writer: w, normalize: cfg, writeRows: writeRows, metrics: m, log: log, decoder: ingest.NewMetricDecoder(limits)}
	p.zones.ask = func(ctx context.Context, source schemas.Source, from int64) (map[schemas.Position]struct{}, int64, error) {
		written, err := w.WrittenMetrics(ctx, source, from)
		if err != nil {
			return nil, -1, err
		}
		return written, last(written), nil
	}
	return p
}

// Assigned asks the store for the replay zone of each partition.
func (p *Points) Assigned(ctx context.Context, parts []consume.Partition) error {
	return p.zones.assigned(ctx, parts)
}

// Revoked forgets partitions.
func (p *Points) Revoked(_ context.Context, parts []consume.Partition) { p.zones.revoked(parts) }

// Handle stores the metric points of a batch. See [Spans.Handle].
func (p *Points) Handle(ctx context.Context, batch []consume.Record) (dead []consume.DeadLetter, err error) {
	done := false
	defer func() {
		if !done {
			p.release()
			p.zones.failed(batch)
		}
	}()
	for i := range batch {
		r := &batch[i]
		refusal, err := p.record(ctx, r)
		if err != nil {
			return nil, err
		}
		if refusal != nil {
			dead = append(dead, p.metrics.points.refuse(p.log, r, refusal))
		}
		if len(p.points) >= p.writeRows {
			if err := p.flush(ctx); err != nil {
				return nil, err
			}
		}
	}
	if err := p.flush(ctx); err != nil {
		return nil, err
	}
	p.zones.passed(batch)
	done = true
	return dead, nil
}

// record adds one record's points to those that wait. Refusal tells that the
// record can never be read.
func (p *Points) record(ctx context.Context, r *consume.Record) (refusal, err error) {
	zone, err := p.zones.of(ctx, r)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	defer func() { p.metrics.points.decode.Add(since(start)) }()
	from, refusal := accept(r, schemas.SchemaOTLPMetrics)
	if refusal != nil {
		return refusal, nil
	}
	before := len(p.points)
	if p.points, refusal = p.decoder.Decode(p.points, r.Value); refusal != nil {
		return refused("undecodable", refusal), nil
	}
	p.metrics.pointsIn.Add(float64(len(p.points) - before))
	var dropped normalize.Dropped
	kept := normalize.Metrics(p.normalize, p.points[before:], from.received, &dropped)
	for reason, n := range dropped {
		if n > 0 {
			p.metrics.pointsDropped[reason].Add(float64(n))
		}
	}
	out, replayed := p.points[:before], 0
	for i := range kept {
		point := &kept[i]
		point.Project, point.Source, point.Position.Offset = from.project, zone.source, r.Offset
		if _, is := zone.written[point.Position]; is {
			replayed++
			continue
		}
		out = append(out, *point)
	}
	p.points = out
	p.waiting = append(p.waiting, from.received)
	p.metrics.pointsReplayed.Add(float64(replayed))
	return nil, nil
}

// flush writes what waits, in equal parts of at most writeRows, and takes the
// decoder's memory back.
func (p *Points) flush(ctx context.Context) error {
	if len(p.waiting) == 0 {
		return nil
	}
	points := p.points
	for parts := (len(points) + p.writeRows - 1) / p.writeRows; parts > 0; parts-- {
		n := (len(points) + parts - 1) / parts
		if err := p.write(ctx, points[:n]); err != nil {
			return err
		}
		points = points[n:]
	}
	now := time.Now().UnixNano()
	for _, received := range p.waiting {
		p.metrics.points.stored(received, now)
	}
	p.release()
	return nil
}

// write halves what the store finds too large. A single point that it will
// never take is dropped and counted.
func (p *Points) write(ctx context.Context, points []schemas.MetricPoint) error {
	start := time.Now()
	err := p.writer.WriteMetrics(ctx, points)
	p.metrics.points.write.Observe(since(start))
	if errors.Is(err, exporters.ErrTooLarge) {
		if len(points) <= 1 {
			p.metrics.pointsTooLarge.Inc()
			p.log.Error("a metric point is too large for the store and is dropped", "error", err)
			return nil
		}
		half := len(points) / 2
		if err := p.write(ctx, points[:half]); err != nil {
			return err
		}
		return p.write(ctx, points[half:])
	}
	if err != nil {
		return fmt.Errorf("cannot write %d metric points: %w", len(points), err)
	}
	p.metrics.points.batch.Observe(float64(len(points)))
	p.metrics.pointsStored.Add(float64(len(points)))
	return nil
}

// release lets go of what lies in the decoder's and the records' memory.
func (p *Points) release() {
	p.decoder.Reset()
	n := len(p.points)
	p.points = empty(p.points, p.last)
	p.waiting, p.last = p.waiting[:0], n
}
