package envelope

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/hoptrace/hoptrace/collector/bound"
	"github.com/hoptrace/hoptrace/collector/policy"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/schemas/topics"
	"github.com/hoptrace/hoptrace/schemas/wire"
)

// Attachment types that mean more than bytes to keep.
const (
	plainAttachment = "event.attachment"
	minidump        = "event.minidump"
	appleCrash      = "event.applecrashreport"
	eventPayload    = "event.payload"
	eventCrumbs     = "event.breadcrumbs"
	unrealReport    = "unreal.report"
)

// attached is an attachment whose bytes are written. The bytes are nobody's
// until a record names it: an event's or its own.
type attached struct {
	wire.EventAttachment
	event    schemas.EventID // under whose id the chunks lie
	category schemas.Category
	alone    bool // it is another item that was too large for one record
}

func (a *attached) charges() []charge {
	if a.RateLimited {
		return nil
	}
	if a.alone {
		return []charge{{a.category, 1, a.event}}
	}
	return []charge{{schemas.CategoryAttachment, a.Size, a.event}, {schemas.CategoryAttachmentItem, 1, a.event}}
}

// countAttachment counts what became of an attachment that is not kept.
func (in *intake) countAttachment(a *attached, o schemas.Outcome, reason string) {
	for _, c := range a.charges() {
		in.r.record(in, c.category, o, reason, c.quantity, c.id)
	}
}

// attachmentItem streams an item of type attachment.
func (in *intake) attachmentItem(body *Reader, h *ItemHeader, k *kind) error {
	what := h.AttachmentType
	if k.name == "unreal_report" {
		what = unrealReport
	}
	return in.attach(k, h.Filename, h.ContentType, what, body, h.Length)
}

// attach takes an attachment of whatever kind. length is negative when it is
// not told.
func (in *intake) attach(k *kind, name, contentType, what string, src io.Reader, length int64) error {
	switch what {
	case "":
		what = plainAttachment
	case eventPayload, eventCrumbs:
		return in.part(k, name, what, src, length)
	}
	for _, e := range in.held {
		if e.kind.name == "event" && e.dropped {
			size := max(length, 0)
			in.r.record(in, schemas.CategoryAttachment, e.outcome, e.reason, size, in.id)
			in.r.record(in, schemas.CategoryAttachmentItem, e.outcome, e.reason, 1, in.id)
			return nil
		}
	}
	if len(in.attachments) >= in.r.cfg.MaxAttachments {
		in.invalidAttachment(k, length, "too_many_attachments", &bound.TooLargeError{What: "the number of attachments", Limit: int64(in.r.cfg.MaxAttachments), Unit: "attachments"})
		return nil
	}
	a, err := in.stream(k, schemas.CategoryAttachment, in.ensureID(), name, contentType, what, src, length, in.r.cfg.MaxAttachmentBytes-in.attachedN)
	if a == nil || err != nil {
		return err
	}
	in.attachedN += a.Size
	if !a.RateLimited {
		in.parts.crash(what)
	}
	in.attachments = append(in.attachments, *a)
	return nil
}

func (in *intake) invalidAttachment(k *kind, size int64, reason string, err error) {
	in.invalid(k, max(size, 0), in.id, reason, err)
	in.r.record(in, schemas.CategoryAttachmentItem, schemas.OutcomeInvalid, reason, 1, in.id)
}

// stream writes src in chunks. It gives nil when it is not kept, which was
// counted then. Chunks of one that turns out to be too large, or whose request
// fails behind them, are nobody's: the topic's retention removes them, and who
// gathers chunks forgets those without an end.
func (in *intake) stream(k *kind, category schemas.Category, event schemas.EventID, name, contentType, what string, src io.Reader, length, limit int64) (*attached, error) {
	tooLarge := func() {
		err := &bound.TooLargeError{What: k.name, Limit: max(limit, 0)}
		if category == schemas.CategoryAttachment {
			in.invalidAttachment(k, length, "too_large:"+k.name, err)
		} else {
			in.invalid(k, 1, event, "too_large:"+k.name, err)
		}
	}
	if length > limit || limit <= 0 && length != 0 {
		tooLarge()
		return nil, nil
	}
	size := int64(in.r.chunkBytes())
	if length >= 0 && length < size {
		size = length
	}
	if err := in.lease.Grow(2 * int(size)); err != nil { // and the record's copy
		return nil, err
	}
	defer in.lease.Shrink(2 * int(size))
	buf := make([]byte, min(size, firstRead)) // mostly enough
	n, atEnd, err := fillChunk(src, buf)
	if err == nil && !atEnd && int64(n) < size {
		whole := make([]byte, size)
		copy(whole, buf)
		var more int
		more, atEnd, err = fillChunk(src, whole[n:])
		buf, n = whole, n+more
	}
	if err != nil {
		return nil, err
	}
	known := max(length, int64(n))
	d := in.r.deps.Gate.Item(in.ctx, &in.from, policy.Item{Type: k.name, Category: category, Quantity: 1, Size: known, EventID: event})
	a := &attached{
		EventAttachment: wire.EventAttachment{
			ID: uuid(newID()), Name: short(name, 1024), ContentType: short(contentType, 255), AttachmentType: short(what, 128), Size: known,
		},
		event: event, category: category, alone: category != schemas.CategoryAttachment,
	}
	in.told(&d)
	if !d.Keep {
		in.dropped(d)
		if d.Outcome == schemas.OutcomeRateLimited && !a.alone {
			a.RateLimited = true
			return a, nil
		}
		return nil, nil
	}
	in.kept++
	if d.Kept != nil {
		in.after = append(in.after, d.Kept)
	}
	a.Size = 0
	for n > 0 {
		a.Size += int64(n)
		if a.Size > limit {
			in.kept--
			tooLarge()
			return nil, nil
		}
		chunk := wire.AttachmentChunk{
			Type: "attachment_chunk", Payload: buf[:n], EventID: event.String(), ProjectID: in.from.Project.ID, ID: a.ID, ChunkIndex: a.Chunks,
		}
		record := in.record(topics.IngestAttachments, schemas.SchemaIngestAttachments, event, category, 0, chunk.AppendMsgpack(make([]byte, 0, n+chunkFraming)))
		if err := in.r.deps.Producer.Produce(in.ctx, record); err != nil {
			in.attachments = append(in.attachments, *a) // to be counted
			return nil, err
		}
		in.r.deps.Counts.Written(record.Topic)
		a.Chunks++
		if atEnd {
			break
		}
		if n, atEnd, err = fillChunk(src, buf); err != nil {
			in.attachments = append(in.attachments, *a)
			return nil, err
		}
	}
	return a, nil
}

// chunkFraming is what a chunk's record takes beside the bytes.
const chunkFraming = 512

// chunkBytes is how much of an attachment a record takes.
func (r *Receiver) chunkBytes() int { return min(r.cfg.MaxRecordBytes-chunkFraming, 1<<20) }

// fillChunk reads until buf is full or src ends.
func fillChunk(src io.Reader, buf []byte) (n int, atEnd bool, err error) {
	for n < len(buf) {
		m, err := src.Read(buf[n:])
		n += m
		if errors.Is(err, io.EOF) {
			return n, true, nil
		}
		if err != nil {
			return n, false, err
		}
	}
	return n, false, nil
}

// rawItem hands an item on as it is. One that is larger than a record goes the
// way of an attachment, under its own id and type.
func (in *intake) rawItem(body *Reader, h *ItemHeader, k *kind) error {
	limit := k.limit(&in.r.cfg)
	most := min(limit, int64(in.r.chunkBytes()))
	name := k.name
	if name == "profile_chunk_ui" {
		name = "profile_chunk"
	}
	id := in.id
	if h.Length > most || h.Length < 0 && limit > most {
		return in.rawStream(body, h, k, name, limit)
	}
	payload, err := in.payload(body, k, in.mem.item[:0])
	if payload == nil || err != nil {
		return err
	}
	in.mem.item = payload
	return in.rawRecord(k, name, h.ContentType, id, payload)
}

func (in *intake) rawRecord(k *kind, name, contentType string, id schemas.EventID, payload []byte) error {
	if k.id != "" && len(payload) > 0 && payload[0] == '{' {
		if own := idOf(payload, k.id); own != (schemas.EventID{}) {
			id = own
		}
	}
	d, ok := in.ask(k, 1, int64(len(payload)), id, payload)
	if !ok {
		return nil
	}
	record := wire.RawItem{Type: name, Payload: d.Payload, ProjectID: in.from.Project.ID, StartTime: in.received.Unix(), ContentType: short(contentType, 255)}
	if id != (schemas.EventID{}) {
		record.EventID = id.String()
	}
	return in.add(in.record(k.topic, k.schema, id, k.category, 0, record.AppendMsgpack(nil)), charge{k.category, 1, id})
}

// rawStream is rawItem for one that is, or may be, larger than a record.
func (in *intake) rawStream(body *Reader, h *ItemHeader, k *kind, name string, limit int64) error {
	src := io.Reader(body)
	if h.Length < 0 { // see whether it fits, after all
		most := in.r.chunkBytes()
		head, err := readWhole(io.LimitReader(body, int64(most)+1), in.mem.item[:0], -1, k.name, most+1, in.lease)
		if err != nil {
			return err
		}
		in.mem.item = head
		if len(head) <= most {
			return in.rawRecord(k, name, h.ContentType, in.id, head)
		}
		src = io.MultiReader(&bytesReader{head}, body)
	}
	id := in.id
	if id == (schemas.EventID{}) {
		id = newID()
	}
	a, err := in.stream(k, k.category, id, h.Filename, h.ContentType, name, src, h.Length, limit)
	if a == nil || err != nil {
		return err
	}
	in.attachments = append(in.attachments, *a)
	return nil
}

// bytesReader reads a slice once.
type bytesReader struct{ b []byte }

func (r *bytesReader) Read(p []byte) (int, error) {
	if len(r.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.b)
	r.b = r.b[n:]
	return n, nil
}

// uuid is the form with hyphens.
func uuid(id schemas.EventID) string {
	s := hex.EncodeToString(id[:])
	return fmt.Sprintf("%s-%s-%s-%s-%s", s[:8], s[8:12], s[12:16], s[16:20], s[20:])
}
