package persist

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cespare/xxhash/v2"
	"golang.org/x/sync/errgroup"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/pipeline/consume"
	"github.com/hoptrace/hoptrace/pipeline/group"
	"github.com/hoptrace/hoptrace/pipeline/ingest"
	"github.com/hoptrace/hoptrace/pipeline/normalize"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/schemas/wire"
)

// Events is the handler behind topic ingest-events. Its methods are called by
// one goroutine at a time.
//
// An event's payload is put, then its issue is seen, then its row is written:
// each step may be repeated, and a row in the store means that the others are
// done. Metadata and blobs may hold the traces of an event whose row is still
// to come, never the other way round.
type Events struct {
	writer    exporters.EventWriter
	issues    exporters.Issues
	blobs     exporters.Blobs
	normalize normalize.Config
	metrics   *Metrics
	log       *slog.Logger

	zones zones[map[schemas.Position]struct{}]
}

// blobWriters is how many payloads are put at once: each waits for the disk.
const blobWriters = 8

// NewEvents makes the handler.
func NewEvents(w exporters.EventWriter, issues exporters.Issues, blobs exporters.Blobs, cfg normalize.Config, m *Metrics, log *slog.Logger) *Events {
	e := &Events{writer: w, issues: issues, blobs: blobs, normalize: cfg, metrics: m, log: log}
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
	return e.zones.assigned(ctx, parts)
}

// Revoked forgets partitions.
func (e *Events) Revoked(_ context.Context, parts []consume.Partition) { e.zones.revoked(parts) }

// Handle stores the events of a batch with their payloads and issues. See
// [Spans.Handle].
func (e *Events) Handle(ctx context.Context, batch []consume.Record) (dead []consume.DeadLetter, err error) {
	done := false
	defer func() {
		if !done {
			e.zones.failed(batch)
		}
	}()
	if dead, err = e.handle(ctx, batch); err != nil {
		return nil, err
	}
	e.zones.passed(batch)
	done = true
	return dead, nil
}

// item is an event on its way, with the record that it came in.
type item struct {
	*normalize.Event
	payload  []byte
	grouping []string
}

func (e *Events) handle(ctx context.Context, batch []consume.Record) (dead []consume.DeadLetter, err error) {
	start := time.Now()
	var items []item
	for i := range batch {
		r := &batch[i]
		zone, err := e.zones.of(ctx, r)
		if err != nil {
			return nil, err
		}
		position := schemas.Position{Offset: r.Offset}
		if _, is := zone.written[position]; is {
			e.metrics.eventsReplayed.Inc()
			continue
		}
		it, reason := e.read(r, zone.source, position)
		if reason != nil {
			dead = append(dead, e.metrics.events.refuse(e.log, r, reason))
			continue
		}
		items = append(items, it)
	}
	e.metrics.events.decode.Add(since(start))
	e.metrics.eventsIn.Add(float64(len(items)))
	if err := e.store(ctx, items); err != nil {
		return nil, err
	}
	now := time.Now().UnixNano()
	for _, it := range items {
		e.metrics.events.stored(it.Received, now)
	}
	return dead, nil
}

func (e *Events) read(r *consume.Record, source schemas.Source, position schemas.Position) (item, error) {
	payload, schema := r.Value, schemas.SchemaSentryEvent
	if header(r, schemas.HeaderSchema) == schemas.SchemaIngestEvents {
		var e wire.IngestEvent
		if err := e.DecodeMsgpack(r.Value); err != nil {
			return item{}, refused("undecodable", err)
		}
		payload, schema = e.Payload, schemas.SchemaIngestEvents
	}
	from, err := accept(r, schema)
	if err != nil {
		return item{}, err
	}
	in, err := ingest.DecodeEvent(payload)
	if err != nil {
		return item{}, refused("undecodable", err)
	}
	ev := normalize.FromSentry(e.normalize, in, from.received)
	// The envelope's id is the one that the SDK was answered with.
	if id, ok := normalize.EventID(header(r, schemas.HeaderEventID)); ok {
		ev.ID = id
	} else if ev.ID == (schemas.EventID{}) {
		ev.ID = eventID(source, position)
	}
	ev.Project, ev.Source, ev.Position = from.project, source, position
	it := item{Event: ev, payload: payload}
	ev.Fingerprint, it.grouping = group.Of(ev)
	return it, nil
}

// eventID is for an event that came without one: the same at each reading.
func eventID(source schemas.Source, p schemas.Position) (id schemas.EventID) {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], uint64(source))
	binary.BigEndian.PutUint64(b[8:], uint64(p.Offset)) //nolint:gosec // its bits are all that counts
	binary.BigEndian.PutUint64(id[:], xxhash.Sum64(b[:]))
	binary.BigEndian.PutUint64(id[8:], xxhash.Sum64(append(b[:], 1)))
	return id
}

func (e *Events) store(ctx context.Context, items []item) error {
	if len(items) == 0 {
		return nil
	}
	if err := e.put(ctx, items); err != nil {
		return err
	}
	if err := e.see(ctx, items); err != nil {
		return err
	}
	events := make([]schemas.Event, len(items))
	for i := range items {
		events[i] = items[i].Event.Event
	}
	return e.write(ctx, events)
}

func (e *Events) put(ctx context.Context, items []item) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(blobWriters)
	for _, it := range items {
		g.Go(func() error {
			key := schemas.EventBlobKey(it.Project, it.ID)
			if err := e.blobs.Put(ctx, key, it.payload); err != nil {
				return fmt.Errorf("cannot put the payload of event %s, blob %q: %w", it.ID, key, err)
			}
			return nil
		})
	}
	return g.Wait()
}

// see tells the issues about the events, once an issue: of a thousand equal
// errors in a batch the first and the last time matter.
func (e *Events) see(ctx context.Context, items []item) error {
	type key struct {
		project     uint64
		fingerprint schemas.Fingerprint
	}
	seen := make(map[key]*schemas.Issue)
	var order []key
	for i := range items {
		ev := items[i].Event
		k := key{ev.Project, ev.Fingerprint}
		issue := seen[k]
		if issue == nil {
			issue = &schemas.Issue{
				Project: ev.Project, Fingerprint: k.fingerprint, Grouping: items[i].grouping,
				FirstSeen: ev.Time, LastSeen: ev.Time - 1,
			}
			seen[k], order = issue, append(order, k)
		}
		issue.FirstSeen = min(issue.FirstSeen, ev.Time)
		if ev.Time > issue.LastSeen {
			issue.LastSeen = ev.Time
			issue.Title, issue.Culprit, issue.Level, issue.Platform = ev.Title, ev.Culprit, ev.Level, ev.Platform
		}
	}
	for _, k := range order {
		issue := seen[k]
		id, isNew, err := e.issues.SeeIssue(ctx, *issue)
		if err != nil {
			return fmt.Errorf("cannot see issue %s of project %d: %w", k.fingerprint, k.project, err)
		}
		issue.ID = id
		if isNew {
			e.metrics.issuesNew.Inc()
			e.log.Info("new issue", "project", k.project, "issue", uint64(id), "title", issue.Title, "culprit", issue.Culprit, "level", issue.Level)
		}
	}
	for i := range items {
		ev := items[i].Event
		ev.Issue = seen[key{ev.Project, ev.Fingerprint}].ID
	}
	return nil
}

// write halves what the store finds too large; see [Spans.write].
func (e *Events) write(ctx context.Context, events []schemas.Event) error {
	start := time.Now()
	err := e.writer.WriteEvents(ctx, events)
	e.metrics.events.write.Observe(since(start))
	if errors.Is(err, exporters.ErrTooLarge) {
		if len(events) == 1 {
			e.metrics.eventsTooLarge.Inc()
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
