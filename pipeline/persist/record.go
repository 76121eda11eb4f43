// Package persist holds the handlers that end the line: they take a batch of
// ingest records, make spans, message rows, events and issues of it, and return
// once all of that is durable in the stores. They read no Kafka (see package
// consume) and know no backend (see package exporters).
//
// Each row carries the coordinates of the record that it came from. When a
// partition is assigned the handler asks the store which rows of records behind
// the committed offset it has, and leaves those out when the records come again:
// the replay zone (docs/adr/0002). So a crash between any two steps, and a retry
// after a write that failed half-way, store each row once.
package persist

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/pipeline/consume"
	"github.com/hoptrace/hoptrace/schemas"
)

// Source names a partition of a topic for ever. Brokers before Kafka 2.8 give
// topics no id; then its name stands in, and a topic made anew must be renamed.
func Source(topic string, id [16]byte, partition int32) schemas.Source {
	var b [20]byte
	copy(b[:], id[:])
	binary.BigEndian.PutUint32(b[16:], uint32(partition)) //nolint:gosec // its bits are all that counts
	if id == [16]byte{} {
		return schemas.Source(xxhash.Sum64(append(b[:], topic...)))
	}
	return schemas.Source(xxhash.Sum64(b[:]))
}

// refusal is why a record can never be stored.
type refusal struct {
	label string // of the metric
	err   error
}

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

func refused(label string, err error) error { return &refusal{label, err} }

// refuse counts a record that goes to the dead letters; the loop logs it.
func (m *stageMetrics) refuse(log *slog.Logger, r *consume.Record, reason error) consume.DeadLetter {
	label := "other"
	if f, ok := errors.AsType[*refusal](reason); ok {
		label = f.label
	}
	m.refused.WithLabelValues(label).Inc()
	log.Debug("record refused", "topic", r.Topic, "partition", r.Partition, "offset", r.Offset, "reason", label, "error", reason)
	return consume.DeadLetter{Record: r, Reason: label + ": " + reason.Error()}
}

// header gives a record header's text.
func header(r *consume.Record, key string) string {
	v, _ := r.Header(key)
	return string(v)
}

// accepted is what every ingest record tells about itself.
type accepted struct {
	project  uint64
	received int64  // Unix ns
	schema   string // one of those that the stage reads
}

// accept reads what a record tells about itself. known are the schemas that the
// stage reads; a record that tells none has the first.
func accept(r *consume.Record, known ...string) (accepted, error) {
	schema := known[0]
	if s := header(r, schemas.HeaderSchema); s != "" {
		schema = s
	}
	if !slices.Contains(known, schema) {
		return accepted{}, refused("schema", fmt.Errorf("schema is %.64q, this stage reads %q", schema, known))
	}
	project, err := strconv.ParseUint(header(r, schemas.HeaderProject), 10, 64)
	if err != nil || project == 0 {
		return accepted{}, refused("project", fmt.Errorf("header %s is %.64q, not a project's id", schemas.HeaderProject, header(r, schemas.HeaderProject)))
	}
	a := accepted{project: project, schema: schema}
	if a.received, err = strconv.ParseInt(header(r, schemas.HeaderReceived), 10, 64); err != nil || a.received <= 0 {
		// The broker's stamp comes next; it is the same at each reading.
		a.received = r.Timestamp.UnixNano()
	}
	return a, nil
}

// place is one partition.
type place struct {
	topic     string
	partition int32
}

// zone is what the store had of a partition when it was asked.
type zone[W any] struct {
	source  schemas.Source
	written W
	end     int64 // the last offset with a row in written; -1 when there is none
	stored  int64 // the last offset stored since the store was asked; -1 when there is none
	stale   bool  // a write failed since: the store may have more
}

// zones holds the replay zone of each assigned partition.
type zones[W any] struct {
	byPlace map[place]*zone[W]
	// ask gives the rows stored at or after an offset and the last offset of them.
	ask func(ctx context.Context, s schemas.Source, from int64) (W, int64, error)
}

func (z *zones[W]) assigned(ctx context.Context, parts []consume.Partition) error {
	if z.byPlace == nil {
		z.byPlace = make(map[place]*zone[W])
	}
	for _, p := range parts {
		n := &zone[W]{source: Source(p.Topic, p.TopicID, p.Partition)}
		if err := z.fill(ctx, n, place{p.Topic, p.Partition}, max(p.CommittedOffset, 0)); err != nil {
			return err
		}
		z.byPlace[place{p.Topic, p.Partition}] = n
	}
	return nil
}

func (z *zones[W]) fill(ctx context.Context, n *zone[W], at place, from int64) error {
	written, end, err := z.ask(ctx, n.source, from)
	if errors.Is(err, exporters.ErrTooLarge) {
		return fmt.Errorf("the store has too many rows of topic %q partition %d from offset %d on to leave them out one by one; was the group's offset set back? Set it closer to the end, or remove those rows: %w", at.topic, at.partition, from, err)
	}
	if err != nil {
		return fmt.Errorf("cannot ask the store what it has of topic %q partition %d from offset %d: %w", at.topic, at.partition, from, err)
	}
	n.written, n.end, n.stored, n.stale = written, end, -1, false
	return nil
}

// of gives the zone of a record's partition. The first record of a batch is
// the lowest of its partition, so what a failed write left behind lies at or
// after it.
func (z *zones[W]) of(ctx context.Context, r *consume.Record) (*zone[W], error) {
	at := place{r.Topic, r.Partition}
	n := z.byPlace[at]
	if n == nil {
		return nil, fmt.Errorf("record of topic %q partition %d, which is not assigned here", r.Topic, r.Partition)
	}
	if n.stale || r.Offset <= n.stored { // or a batch that came a second time
		if err := z.fill(ctx, n, at, r.Offset); err != nil {
			return nil, err
		}
	}
	return n, nil
}

func (z *zones[W]) revoked(parts []consume.Partition) {
	for _, p := range parts {
		delete(z.byPlace, place{p.Topic, p.Partition})
	}
}

// failed marks the partitions of a batch whose write did not end well.
func (z *zones[W]) failed(batch []consume.Record) {
	for i := range batch {
		if n := z.byPlace[place{batch[i].Topic, batch[i].Partition}]; n != nil {
			n.stale = true
		}
	}
}

// passed notes how far a stored batch went, and lets go of the zones that it
// has left behind.
func (z *zones[W]) passed(batch []consume.Record) {
	for i := range batch {
		n := z.byPlace[place{batch[i].Topic, batch[i].Partition}]
		if n == nil {
			continue
		}
		n.stored = max(n.stored, batch[i].Offset)
		if n.end >= 0 && n.stored >= n.end {
			var none W
			n.written, n.end = none, -1
		}
	}
}

func since(t time.Time) float64 { return time.Since(t).Seconds() }
