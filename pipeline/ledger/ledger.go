// Package ledger counts what the stages did with the items of each record: stored,
// parked in a dead-letter topic, or dropped for a reason. It stands around a stage's
// handler and writes its lines after the stage's own rows are durable and before the
// commit, so a line tells of something that is so; a replay writes the same lines
// again, which the store counts once.
package ledger

import (
	"context"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/pipeline/consume"
	"github.com/hoptrace/hoptrace/schemas"
)

// Config of a Stage.
type Config struct {
	// Final: what the handler takes is stored then. Otherwise it goes on to another
	// topic, whose stage counts it.
	Final bool
	// Category of records that do not tell theirs.
	Category schemas.Category
	// Bytes is a category that counts the bytes of the records' values, besides;
	// empty: none does.
	Bytes schemas.Category
	// Told: what is stored of a record the handler tells by Stored, and nothing is
	// taken for stored that it does not tell.
	Told bool
	// Source names a partition (persist.Source).
	Source func(topic string, id [16]byte, partition int32) schemas.Source
}

// Stage is a handler around a handler.
type Stage struct {
	cfg   Config
	inner consume.Handler
	store exporters.LedgerWriter
	lines []schemas.Tally
}

var _ consume.Handler = (*Stage)(nil)

// Around counts what inner does.
func Around(inner consume.Handler, cfg Config, store exporters.LedgerWriter) *Stage {
	return &Stage{cfg: cfg, inner: inner, store: store}
}

// Assigned passes on.
func (s *Stage) Assigned(ctx context.Context, ps []consume.Partition) error {
	return s.inner.Assigned(ctx, ps)
}

// Revoked passes on.
func (s *Stage) Revoked(ctx context.Context, ps []consume.Partition) { s.inner.Revoked(ctx, ps) }

// Handle passes a batch on, and writes what became of it.
func (s *Stage) Handle(ctx context.Context, batch []consume.Record) ([]consume.DeadLetter, error) {
	notes := &Notes{}
	dead, err := s.inner.Handle(context.WithValue(ctx, notesKey{}, notes), batch)
	if err != nil {
		return nil, err
	}
	s.lines = s.count(s.lines[:0], batch, dead, notes)
	if err := s.store.WriteTallies(ctx, s.lines); err != nil {
		return nil, fmt.Errorf("cannot write what became of %d records: %w", len(batch), err)
	}
	return dead, nil
}

func (s *Stage) count(lines []schemas.Tally, batch []consume.Record, dead []consume.DeadLetter, notes *Notes) []schemas.Tally {
	parked := make(map[*consume.Record]string, len(dead))
	for i := range dead {
		reason, _, _ := strings.Cut(dead[i].Reason, ":")
		if len(reason) > maxReason || strings.ContainsAny(reason, " \n") {
			reason = "other"
		}
		parked[dead[i].Record] = reason
	}
	for i := range batch {
		r := &batch[i]
		left := number(r, schemas.HeaderCount, 1)
		source := s.cfg.Source(r.Topic, r.TopicID, r.Partition)
		line := schemas.Tally{
			Category: s.cfg.Category, Time: number(r, schemas.HeaderReceived, 0), Project: uint64(max(number(r, schemas.HeaderProject, 0), 0)), //nolint:gosec // not negative
			Source: source, Position: schemas.Position{Offset: r.Offset},
		}
		if first, ok := r.Header(schemas.HeaderFirstSource); ok {
			if n, err := strconv.ParseUint(string(first), 10, 64); err == nil {
				line.Source, line.Position.Offset = schemas.Source(n), number(r, schemas.HeaderFirstOffset, r.Offset)
			}
		}
		if line.Time <= 0 {
			line.Time = r.Timestamp.UnixNano()
		}
		if c, ok := r.Header(schemas.HeaderCategory); ok {
			if _, known := schemas.Category(c).ID(); known {
				line.Category = schemas.Category(c)
			}
		}
		add := func(o schemas.Outcome, reason string, n int64) {
			if n > 0 {
				line.Outcome, line.Reason, line.Quantity = o, reason, n
				lines = append(lines, line)
				line.Position.Index++
			}
		}
		for _, d := range notes.derived[place{source, r.Offset}] {
			other := line
			other.Category, other.Outcome, other.Quantity = schemas.CategoryError, schemas.OutcomeAccepted, 1
			other.Source, other.Position.Offset = PlaceOf(d.id)
			if d.at > 0 { // as the record has it that carries the event
				other.Time = d.at
			}
			lines = append(lines, other)
		}
		bytes := func(o schemas.Outcome, reason string) {
			if s.cfg.Bytes != "" {
				other := line
				other.Category, other.Outcome, other.Reason, other.Quantity, other.Position.Index = s.cfg.Bytes, o, reason, int64(len(r.Value)), 0
				lines = append(lines, other)
			}
		}
		if reason, is := parked[r]; is {
			add(schemas.OutcomeParked, reason, left)
			bytes(schemas.OutcomeParked, reason)
			continue
		}
		for c, n := range notes.stored[place{source, r.Offset}] {
			other := line
			other.Category, other.Outcome, other.Quantity = c, schemas.OutcomeStored, n
			lines = append(lines, other)
		}
		for _, d := range notes.dropped[place{source, r.Offset}] {
			n := min(d.n, left)
			left -= n
			add(d.outcome, schemas.PipelineReason+d.reason, n)
		}
		if s.cfg.Final && !s.cfg.Told {
			add(schemas.OutcomeStored, "", left)
			bytes(schemas.OutcomeStored, "")
		}
	}
	return lines
}

// maxReason bounds a reason's bytes; handlers' own are single words.
const maxReason = 64

func number(r *consume.Record, header string, otherwise int64) int64 {
	v, ok := r.Header(header)
	if !ok {
		return otherwise
	}
	n, err := strconv.ParseInt(string(v), 10, 64)
	if err != nil || n < 0 {
		return otherwise
	}
	return n
}

type notesKey struct{}

// Notes are what a handler tells of items that it dropped.
type Notes struct {
	dropped map[place][]drop
	derived map[place][]derived
	stored  map[place]map[schemas.Category]int64
}

type place struct {
	source schemas.Source
	offset int64
}

type derived struct {
	id schemas.EventID
	at int64
}

type drop struct {
	outcome schemas.Outcome
	reason  string
	n       int64
}

// Drop tells that n items of the record at an offset of a partition are not stored.
// Handlers call it with the context that they were given; it may be called by one
// goroutine at a time. In a context without a ledger it does nothing.
func Drop(ctx context.Context, source schemas.Source, offset int64, o schemas.Outcome, reason string, n int) {
	notes, _ := ctx.Value(notesKey{}).(*Notes)
	if notes == nil || n <= 0 {
		return
	}
	if notes.dropped == nil {
		notes.dropped = make(map[place][]drop)
	}
	at := place{source, offset}
	for i, d := range notes.dropped[at] {
		if d.outcome == o && d.reason == reason {
			notes.dropped[at][i].n += int64(n)
			return
		}
	}
	notes.dropped[at] = append(notes.dropped[at], drop{o, reason, int64(n)})
}

// Derive tells that an event was made of an item of a record and handed on, at its
// time (Unix ns): nobody else accepted it. A handler calls it for items that it finds
// stored already, too; one event is one line, also when a client sent the item twice.
func Derive(ctx context.Context, source schemas.Source, offset int64, id schemas.EventID, at int64) {
	notes, _ := ctx.Value(notesKey{}).(*Notes)
	if notes == nil {
		return
	}
	if notes.derived == nil {
		notes.derived = make(map[place][]derived)
	}
	k := place{source, offset}
	notes.derived[k] = append(notes.derived[k], derived{id, at})
}

// Stored tells that n of a category are stored of a record, where the stage's
// [Config] says that the handler tells so: of attachments, bytes and pieces. A handler
// calls it for what it finds stored already, too.
func Stored(ctx context.Context, source schemas.Source, offset int64, c schemas.Category, n int64) {
	notes, _ := ctx.Value(notesKey{}).(*Notes)
	if notes == nil || n <= 0 {
		return
	}
	notes.stored = plus(notes.stored, place{source, offset}, c, n)
}

func plus(m map[place]map[schemas.Category]int64, at place, c schemas.Category, n int64) map[place]map[schemas.Category]int64 {
	if m == nil {
		m = make(map[place]map[schemas.Category]int64)
	}
	if m[at] == nil {
		m[at] = make(map[schemas.Category]int64, 2)
	}
	m[at][c] += n
	return m
}

// ReasonTwin is why an error of OpenTelemetry is left out of which a Sentry SDK sent
// an event.
const ReasonTwin = "sent_by_sdk"

// removedIndex keeps a line that takes back from the one that it takes back.
const removedIndex = 1 << 17

// PlaceOf is where the lines of an event stand that was made of a span or a log: its
// id follows from those, and the record that carries it may be written twice. It is
// what [schemas.HeaderFirstSource] and [schemas.HeaderFirstOffset] say of it.
func PlaceOf(id schemas.EventID) (source schemas.Source, offset int64) {
	return schemas.Source(binary.BigEndian.Uint64(id[:])), int64(binary.BigEndian.Uint64(id[8:]) >> 1) //nolint:gosec // 63 bits
}

// Twin appends the lines of an event that was stored and is one too many: one takes
// back that it is stored, the other says that it was left out, as if that had been
// known in time. Either is the same however often it is written.
func Twin(lines []schemas.Tally, t *exporters.Twin) []schemas.Tally {
	line := schemas.Tally{Project: t.Project, Time: t.Received, Category: schemas.CategoryError}
	line.Source, line.Position.Offset = PlaceOf(t.ID)
	back := line
	line.Outcome, line.Reason, line.Quantity = schemas.OutcomeFiltered, schemas.PipelineReason+ReasonTwin, 1
	back.Outcome, back.Quantity, back.Position.Index = schemas.OutcomeStored, -1, removedIndex
	return append(lines, line, back)
}
