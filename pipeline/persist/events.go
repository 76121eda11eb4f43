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
	"github.com/hoptrace/hoptrace/pipeline/postprocess"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/schemas/wire"
)

// Events is the handler behind topic events. Its methods are called by one
// goroutine at a time.
//
// Rows are written, then the hooks are told: each step may be repeated. Payloads
// and issues are there before a record is (see package process).
type Events struct {
	writer    exporters.EventWriter
	hooks     []postprocess.Hook
	normalize *normalize.Normalizer // for records that others wrote
	metrics   *Metrics
	log       *slog.Logger

	zones   zones[map[schemas.Position]struct{}]
	origins map[origin]*ingested
}

// origin is an ingest topic's partition as it is seen on one of events.
type origin struct {
	place
	ingest schemas.Source
}

// ingested holds which ingest records have a row: all of those from an offset on.
// A record that process-events read again after a crash lies on events twice, on
// one partition and not far behind: the second is left out.
type ingested struct {
	from    int64
	offsets map[int64]struct{}
	most    int64 // the highest offset
}

// maxIngested is how many offsets are held; below half of them the store is asked
// again, should it ever go back so far.
const maxIngested = 100_000

// known tells whether an ingest record has a row.
func (e *Events) known(ctx context.Context, at place, row *schemas.Event) (*ingested, bool, error) {
	if row.Ingest == 0 {
		return nil, false, nil
	}
	k := origin{at, row.Ingest}
	o := e.origins[k]
	if o == nil || row.IngestOffset < o.from {
		offsets, err := e.writer.WrittenIngest(ctx, row.Ingest, row.IngestOffset)
		if err != nil {
			return nil, false, fmt.Errorf("cannot ask the store which ingest records it has from offset %d: %w", row.IngestOffset, err)
		}
		if o != nil { // and what this batch is about to write
			for offset := range o.offsets {
				offsets[offset] = struct{}{}
			}
		}
		o = &ingested{from: row.IngestOffset, offsets: offsets, most: row.IngestOffset}
		if e.origins == nil {
			e.origins = make(map[origin]*ingested)
		}
		e.origins[k] = o
	}
	_, is := o.offsets[row.IngestOffset]
	return o, is, nil
}

// add notes a record whose row is about to be written.
func (o *ingested) add(offset int64) {
	o.offsets[offset] = struct{}{}
	if o.most = max(o.most, offset); len(o.offsets) <= maxIngested {
		return
	}
	o.from = o.most - maxIngested/2
	for offset := range o.offsets {
		if offset < o.from {
			delete(o.offsets, offset)
		}
	}
}

// NewEvents makes the handler.
func NewEvents(w exporters.EventWriter, hooks []postprocess.Hook, cfg normalize.Config, m *Metrics, log *slog.Logger) *Events {
	e := &Events{writer: w, hooks: hooks, normalize: normalize.NewNormalizer(cfg), metrics: m, log: log}
	e.zones.ask = func(ctx context.Context, source schemas.Source, from int64) (map[schemas.Position]struct{}, int64, error) {
		written, err := w.WrittenEvents(ctx, source, from)
		if err != nil {
			return nil, -1, err
		}
		return written, last(written), nil
	}
	return e
}

// Assigned asks the store for the replay zone of each partition.
func (e *Events) Assigned(ctx context.Context, parts []consume.Partition) error {
	clear(e.origins)
	return e.zones.assigned(ctx, parts)
}

// Revoked forgets partitions.
func (e *Events) Revoked(_ context.Context, parts []consume.Partition) {
	clear(e.origins)
	e.zones.revoked(parts)
}

// Handle stores the rows of a batch and tells the hooks. See [Spans.Handle].
func (e *Events) Handle(ctx context.Context, batch []consume.Record) (dead []consume.DeadLetter, err error) {
	done := false
	defer func() {
		if !done {
			e.zones.failed(batch)
			clear(e.origins)
		}
	}()
	if dead, err = e.handle(ctx, batch); err != nil {
		return nil, err
	}
	e.zones.passed(batch)
	done = true
	return dead, nil
}

func (e *Events) handle(ctx context.Context, batch []consume.Record) (dead []consume.DeadLetter, err error) {
	start := time.Now()
	rows := make([]schemas.Event, 0, len(batch))
	told := make([]postprocess.Event, 0, len(batch))
	for i := range batch {
		r := &batch[i]
		zone, err := e.zones.of(ctx, r)
		if err != nil {
			return nil, err
		}
		row, reason := e.read(r)
		if reason != nil {
			dead = append(dead, e.metrics.events.refuse(e.log, r, reason))
			continue
		}
		row.Source, row.Position = zone.source, schemas.Position{Offset: r.Offset}
		// The hooks may not have been told of a row that is there.
		told = append(told, postprocess.Event{Event: row.Event, Title: row.Title, IsNew: row.IsNew, IsRegression: row.IsRegression})
		if _, is := zone.written[row.Position]; is {
			e.metrics.eventsReplayed.Inc()
			continue
		}
		from, is, err := e.known(ctx, place{r.Topic, r.Partition}, &row.Event)
		if err != nil {
			return nil, err
		}
		if is {
			e.metrics.eventsReplayed.Inc()
			continue
		}
		if from != nil {
			from.add(row.IngestOffset)
		}
		rows = append(rows, row.Event)
	}
	e.metrics.events.decode.Add(since(start))
	e.metrics.eventsIn.Add(float64(len(rows)))
	if len(rows) > 0 {
		if err := e.write(ctx, rows); err != nil {
			return nil, err
		}
	}
	now := time.Now().UnixNano()
	for i := range rows {
		e.metrics.events.stored(rows[i].Received, now)
	}
	if len(told) > 0 {
		for _, h := range e.hooks {
			if err := h.Stored(ctx, told); err != nil {
				return nil, fmt.Errorf("%s cannot take %d stored events: %w", h.Name(), len(told), err)
			}
		}
	}
	return dead, nil
}

// read gives a record's row: from its header, or from the event when another
// than process-events wrote it.
func (e *Events) read(r *consume.Record) (Row, error) {
	if s := header(r, schemas.HeaderSchema); s != "" && s != schemas.SchemaEvents {
		return Row{}, refused("schema", fmt.Errorf("schema is %.64q, this stage reads %q", s, schemas.SchemaEvents))
	}
	if text, ok := r.Header(schemas.HeaderRow); ok {
		row, err := ParseRow(text)
		if err != nil {
			return Row{}, refused("row", fmt.Errorf("header %s: %w", schemas.HeaderRow, err))
		}
		if row.Project == 0 || row.ID == (schemas.EventID{}) || row.Issue == 0 {
			return Row{}, refused("row", fmt.Errorf("header %s: project %d, event %s and issue %d; none may be zero", schemas.HeaderRow, row.Project, row.ID, row.Issue))
		}
		return row, nil
	}
	return e.foreign(r)
}

// foreign makes the row of an event that somebody else produced in the topic's shape.
func (e *Events) foreign(r *consume.Record) (Row, error) {
	var in wire.EventsInsert
	if err := in.DecodeJSON(r.Value); err != nil {
		return Row{}, refused("undecodable", err)
	}
	id, ok := normalize.EventID(in.Event.EventID)
	if !ok {
		return Row{}, refused("undecodable", fmt.Errorf("event_id is %.64q, not 32 hex digits", in.Event.EventID))
	}
	at, err := time.Parse(time.RFC3339Nano, in.Event.Datetime)
	if err != nil {
		return Row{}, refused("undecodable", fmt.Errorf("datetime is %.64q: %w", in.Event.Datetime, err))
	}
	received := r.Timestamp.UnixNano()
	ev, err := e.normalize.Event(normalize.Input{Payload: in.Event.Data, ID: id, Received: received})
	if err != nil {
		return Row{}, refused("undecodable", err)
	}
	row := Row{Event: ev.Event, Title: ev.Title, IsNew: in.PostProcess.IsNew, IsRegression: in.PostProcess.IsRegression}
	row.Project, row.Issue, row.Time = in.Event.ProjectID, schemas.IssueID(in.Event.GroupID), at.UnixNano()
	if row.Fingerprint, ok = parseHash(in.Event.PrimaryHash); !ok {
		return Row{}, refused("undecodable", fmt.Errorf("primary_hash is %.64q, not 32 hex digits", in.Event.PrimaryHash))
	}
	return row, nil
}

// write halves what the store finds too large; see [Spans.write].
func (e *Events) write(ctx context.Context, events []schemas.Event) error {
	start := time.Now()
	err := e.writer.WriteEvents(ctx, events)
	e.metrics.events.write.Observe(since(start))
	if errors.Is(err, exporters.ErrTooLarge) {
		if len(events) == 1 {
			e.metrics.eventsTooLarge.Inc()
			ledger.Drop(ctx, events[0].Source, events[0].Position.Offset, schemas.OutcomeInvalid, "too_large", 1)
			e.log.Error("an event is too large for the store and is dropped", "project", events[0].Project, "event", events[0].ID.String(), "error", err)
			return nil
		}
		half := len(events) / 2
		if err := e.write(ctx, events[:half]); err != nil {
			return err
		}
		return e.write(ctx, events[half:])
	}
	if err != nil {
		return fmt.Errorf("cannot write %d events: %w", len(events), err)
	}
	e.metrics.events.batch.Observe(float64(len(events)))
	e.metrics.eventsStored.Add(float64(len(events)))
	return nil
}
