package persist

import (
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/pipeline/consume"
	"github.com/hoptrace/hoptrace/pipeline/document"
	"github.com/hoptrace/hoptrace/pipeline/ledger"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/schemas/topics"
	"github.com/hoptrace/hoptrace/schemas/wire"
)

// blobWriters is how many payloads are put at once: each waits for the disk.
const blobWriters = 8

// writeFiles is how many files one write has at most.
const writeFiles = 20_000

// Items is the handler behind topics profiles, ingest-replay-events and
// ingest-replay-recordings: what lies there is kept as it came. Its methods are
// called by one goroutine at a time.
//
// The bytes are put first, under a key that the record's coordinates give, then the
// row is written: a row means that its bytes are there, and reading a record again
// puts the same bytes under the same key.
type Items struct {
	rows  *Rows[schemas.File]
	blobs exporters.Blobs
}

// NewProfiles makes the handler of profiles.
func NewProfiles(w exporters.FileWriter, blobs exporters.Blobs, m *Metrics, log *slog.Logger) *Items {
	return newItems(w, blobs, &m.profiles, log, schemas.SchemaProfiles)
}

// NewReplays makes the handler of one of the two topics of replays.
func NewReplays(w exporters.FileWriter, blobs exporters.Blobs, m *Metrics, log *slog.Logger) *Items {
	return newItems(w, blobs, &m.replays, log, schemas.SchemaIngestReplayEvents, schemas.SchemaIngestReplayRecordings)
}

func newItems(w exporters.FileWriter, blobs exporters.Blobs, m *rowMetrics, log *slog.Logger, known ...string) *Items {
	var doc document.Document
	h := &Items{blobs: blobs}
	h.rows = newRows(RowsConfig[schemas.File]{
		What: "items", Schemas: known, WriteRows: writeFiles,
		Decode: func(dst []schemas.File, r *consume.Record, _ string) ([]schemas.File, error) {
			var item wire.RawItem
			if err := item.DecodeMsgpack(r.Value); err != nil {
				return dst, err
			}
			return append(dst, itemFile(&doc, &item, r)), nil
		},
		Place: placeFile,
		At:    func(f *schemas.File) (schemas.Source, schemas.Position) { return f.Source, f.Position },
		Write: w.WriteFiles, Written: w.WrittenFiles,
	}, m, log)
	return h
}

func placeFile(f *schemas.File, project uint64, received int64, source schemas.Source, offset int64) schemas.Position {
	f.Project, f.Time, f.Source, f.Position.Offset = project, received, source, offset
	return f.Position
}

// itemID names an item by where its record lies: the same at each reading.
func itemID(r *consume.Record) string {
	return fmt.Sprintf("%016x-%016x", uint64(Source(r.Topic, r.TopicID, r.Partition)), r.Offset)
}

func itemFile(doc *document.Document, item *wire.RawItem, r *consume.Record) schemas.File {
	f := schemas.File{
		Kind: schemas.FileKind(item.Type), Event: eventIDOf(item.EventID), ID: itemID(r), Name: item.Type, ContentType: item.ContentType,
		Size: int64(len(item.Payload)), Chunks: 1,
	}
	switch f.Kind {
	case schemas.FileProfile, schemas.FileProfileChunk, schemas.FileReplayEvent:
		// What cannot be read is kept all the same: only the trace is not told then.
		if root, err := doc.Parse(item.Payload); err == nil {
			f.Trace = traceOf(root)
		}
		doc.Reset()
	}
	return f
}

// traceOf looks where profiles and replays name their trace.
func traceOf(root *document.Node) schemas.TraceID {
	for _, n := range []*document.Node{
		root.Get("contexts").Get("trace").Get("trace_id"), root.Get("transaction").Get("trace_id"), root.Get("transactions").First().Get("trace_id"), root.Get("trace_ids").First(),
	} {
		if text, ok := n.Text(); ok {
			if id, err := schemas.ParseTraceID(text); err == nil {
				return id
			}
		}
	}
	return schemas.TraceID{}
}

// eventIDOf reads 32 hex digits, with hyphens or without; zero for all else.
func eventIDOf(text string) (id schemas.EventID) {
	if len(text) == 36 {
		text = strings.ReplaceAll(text, "-", "")
	}
	if len(text) != 32 {
		return id
	}
	if _, err := hex.Decode(id[:], []byte(text)); err != nil {
		return schemas.EventID{}
	}
	return id
}

// Assigned asks the store for the replay zone of each partition.
func (h *Items) Assigned(ctx context.Context, parts []consume.Partition) error {
	return h.rows.Assigned(ctx, parts)
}

// Revoked forgets partitions.
func (h *Items) Revoked(ctx context.Context, parts []consume.Partition) { h.rows.Revoked(ctx, parts) }

// Handle keeps the items of a batch. See [Spans.Handle].
func (h *Items) Handle(ctx context.Context, batch []consume.Record) ([]consume.DeadLetter, error) {
	puts := make([]put, 0, len(batch))
	for i := range batch {
		r := &batch[i]
		var item wire.RawItem
		if accepted, err := accept(r, h.rows.cfg.Schemas...); err == nil && item.DecodeMsgpack(r.Value) == nil {
			puts = append(puts, put{schemas.FileChunkKey(accepted.project, eventIDOf(item.EventID), itemID(r), 0), item.Payload})
		} // what is wrong with the others is found again, and told
	}
	if err := putAll(ctx, h.blobs, puts); err != nil {
		return nil, err
	}
	return h.rows.Handle(ctx, batch)
}

// put is a payload on its way to the blob store.
type put struct {
	key  string
	data []byte
}

// putAll makes payloads durable, several at once: each waits for the disk.
func putAll(ctx context.Context, blobs exporters.Blobs, puts []put) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(blobWriters)
	for _, p := range puts {
		g.Go(func() error {
			if err := blobs.Put(ctx, p.key, p.data); err != nil {
				return fmt.Errorf("cannot keep the %d bytes of %s: %w", len(p.data), p.key, err)
			}
			return nil
		})
	}
	return g.Wait()
}

// Attachments is the handler behind topic ingest-attachments: chunks become blobs,
// what they are becomes rows, user reports become feedback, and events go to
// another handler. Its methods are called by one goroutine at a time.
//
// Everything may be repeated: a chunk has one key, rows have a replay zone, a report
// has one id, and the events' handler sees to itself. The events come last, so that
// one that is stored has its attachments.
type Attachments struct {
	files    *Rows[schemas.File]
	feedback *FeedbackRows
	events   consume.Handler
	blobs    exporters.Blobs
}

// NewAttachments makes the handler. events stores wire.IngestEvent records.
func NewAttachments(w exporters.FileWriter, blobs exporters.Blobs, feedback exporters.FeedbackWriter, events consume.Handler, m *Metrics, log *slog.Logger) *Attachments {
	return &Attachments{
		blobs: blobs, events: events, feedback: newFeedback(feedback, m, log),
		files: newRows(RowsConfig[schemas.File]{
			What: "attachments", Schemas: []string{schemas.SchemaIngestAttachments}, WriteRows: writeFiles,
			Decode: attachmentRows,
			Place:  placeFile,
			At:     func(f *schemas.File) (schemas.Source, schemas.Position) { return f.Source, f.Position },
			Write:  w.WriteFiles, Written: w.WrittenFiles,
		}, &m.attachments, log),
	}
}

// attachmentRows reads the attachments that a record tells of: one of its own, or
// an event's.
func attachmentRows(dst []schemas.File, r *consume.Record, _ string) ([]schemas.File, error) {
	var list []wire.EventAttachment
	var event string
	decoded, err := wire.DecodeRecord(topics.IngestAttachments, schemas.SchemaIngestAttachments, r.Value)
	if err != nil {
		return dst, err
	}
	switch m := decoded.(type) {
	case *wire.Attachment:
		event, list = m.EventID, []wire.EventAttachment{m.Attachment}
	case *wire.IngestEvent:
		event, list = m.EventID, m.Attachments
	}
	for i := range list {
		a := &list[i]
		if !schemas.ValidFileID(a.ID) {
			return dst, fmt.Errorf("ingest-attachments: attachments[%d].id: want 1 to 64 of a-z, 0-9 and hyphens, got %.80q", i, a.ID)
		}
		if a.RateLimited { // its bytes are not there
			continue
		}
		f := schemas.File{
			Kind: schemas.FileAttachment, Event: eventIDOf(event), ID: a.ID, Name: a.Name, ContentType: a.ContentType, Type: a.AttachmentType,
			Size: a.Size, Chunks: a.Chunks, Position: schemas.Position{Index: uint32(i)}, //nolint:gosec // a record holds far fewer
		}
		for _, k := range schemas.ItemKinds() {
			if a.AttachmentType == string(k) { // an item that was too large for one record
				f.Kind, f.Type = k, ""
			}
		}
		dst = append(dst, f)
	}
	return dst, nil
}

// Assigned passes on.
func (h *Attachments) Assigned(ctx context.Context, parts []consume.Partition) error {
	for _, inner := range []consume.Handler{h.files, h.feedback, h.events} {
		if err := inner.Assigned(ctx, parts); err != nil {
			return err
		}
	}
	return nil
}

// Revoked passes on.
func (h *Attachments) Revoked(ctx context.Context, parts []consume.Partition) {
	for _, inner := range []consume.Handler{h.files, h.feedback, h.events} {
		inner.Revoked(ctx, parts)
	}
}

// Handle stores a batch. See [Spans.Handle].
func (h *Attachments) Handle(ctx context.Context, batch []consume.Record) (dead []consume.DeadLetter, err error) {
	var puts []put
	var files, reports, events []consume.Record
	at := make(map[recordPlace]*consume.Record, len(batch))
	refuse := func(r *consume.Record, err error) {
		dead = append(dead, h.files.metrics.refuse(h.files.log, r, err))
	}
	for i := range batch {
		r := &batch[i]
		at[placeOf(r)] = r
		from, refusal := accept(r, schemas.SchemaIngestAttachments)
		if refusal != nil {
			refuse(r, refusal)
			continue
		}
		decoded, err := wire.DecodeRecord(topics.IngestAttachments, schemas.SchemaIngestAttachments, r.Value)
		if err != nil {
			refuse(r, refused("undecodable", err))
			continue
		}
		switch m := decoded.(type) {
		case *wire.AttachmentChunk:
			if !schemas.ValidFileID(m.ID) {
				refuse(r, refused("undecodable", fmt.Errorf("ingest-attachments: id: want 1 to 64 of a-z, 0-9 and hyphens, got %.80q", m.ID)))
				continue
			}
			puts = append(puts, put{schemas.FileChunkKey(from.project, eventIDOf(m.EventID), m.ID, m.ChunkIndex), m.Payload})
		case *wire.Attachment:
			files = append(files, *r)
		case *wire.UserReport:
			reports = append(reports, *r)
		case *wire.IngestEvent:
			files, events = append(files, *r), append(events, *r)
		default:
			refuse(r, refused("undecodable", fmt.Errorf("ingest-attachments: it is a %T, of which nothing is made", m)))
		}
	}
	if err := putAll(ctx, h.blobs, puts); err != nil {
		return nil, err
	}
	// The parts are of copies of the records: dead letters must be of the batch, and
	// each once.
	parked := make(map[recordPlace]bool)
	for _, part := range []struct {
		handler consume.Handler
		records []consume.Record
	}{{h.files, files}, {h.feedback, reports}, {h.events, events}} {
		records := slices.DeleteFunc(part.records, func(r consume.Record) bool { return parked[placeOf(&r)] })
		if len(records) == 0 {
			continue
		}
		letters, err := part.handler.Handle(ctx, records)
		if err != nil {
			return nil, err
		}
		for _, l := range letters {
			p := placeOf(l.Record)
			parked[p] = true
			l.Record = at[p]
			dead = append(dead, l)
		}
	}
	h.tally(ctx, files, reports)
	return dead, nil
}

// tally tells the ledger what is stored. The events are counted where they are, and
// the ledger passes over what is parked.
func (h *Attachments) tally(ctx context.Context, files, reports []consume.Record) {
	var rows []schemas.File
	for i := range files {
		r := &files[i]
		source := Source(r.Topic, r.TopicID, r.Partition)
		rows, _ = attachmentRows(rows[:0], r, "")
		for j := range rows {
			switch f := &rows[j]; f.Kind {
			case schemas.FileAttachment:
				ledger.Stored(ctx, source, r.Offset, schemas.CategoryAttachment, f.Size)
				ledger.Stored(ctx, source, r.Offset, schemas.CategoryAttachmentItem, 1)
			case schemas.FileProfile:
				ledger.Stored(ctx, source, r.Offset, schemas.CategoryProfile, 1)
			case schemas.FileProfileChunk:
				ledger.Stored(ctx, source, r.Offset, schemas.CategoryProfileChunk, 1)
			default:
				ledger.Stored(ctx, source, r.Offset, schemas.CategoryReplay, 1)
			}
		}
	}
	for i := range reports {
		r := &reports[i]
		ledger.Stored(ctx, Source(r.Topic, r.TopicID, r.Partition), r.Offset, schemas.CategoryFeedback, 1)
	}
}

// recordPlace is where one record lies.
type recordPlace struct {
	topic     string
	partition int32
	offset    int64
}

func placeOf(r *consume.Record) recordPlace { return recordPlace{r.Topic, r.Partition, r.Offset} }
