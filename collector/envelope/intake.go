package envelope

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hoptrace/hoptrace/collector/bound"
	"github.com/hoptrace/hoptrace/collector/otlp"
	"github.com/hoptrace/hoptrace/collector/policy"
	"github.com/hoptrace/hoptrace/collector/produce"
	"github.com/hoptrace/hoptrace/internal/monitor"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/schemas/topics"
	"github.com/hoptrace/hoptrace/schemas/wire"
)

// flushBytes is how much of a request waits to be written at once. A request
// that holds more is written in parts; what is wrong behind a part does not
// undo it.
const flushBytes = 4 << 20

// maxEventDepth bounds the nesting of an event.
const maxEventDepth = 200

// maxSpans is the most that a span container may hold, maxContained any other.
const (
	maxSpans     = 1000
	maxContained = 100_000
)

// intake is what one request hands over, on its way to Kafka. It belongs to one
// goroutine.
type intake struct {
	r        *Receiver
	ctx      context.Context //nolint:containedctx // it is the request
	lease    *bound.Lease
	from     policy.Sender
	sdk      string
	received time.Time
	sentAt   time.Time
	// id is the event's: the envelope's, else the event's own, else new. Zero
	// while nothing has asked for one.
	id schemas.EventID

	held        []held // events that wait for the end
	attachments []attached
	attachedN   int64 // bytes of all attachments, whether or not they are kept
	parts       crashParts
	reports     bool // a user report is among the records

	records []*kgo.Record // not yet written
	bytes   int
	charges []charge // of records

	mem *memory

	// What became of the items.
	recorded bool // of at least one the ledger was told
	items    int
	kept     int
	refused  []string           // why items were left out
	firstErr error              // of the first of them
	limited  bool               // an item was dropped by a rate limit
	limits   []policy.RateLimit // that the gate told of single items
	after    []func()           // to be called when the records are durable
	badCORS  bool               // or because of its origin
}

// held is an event that waits until its attachments are written.
type held struct {
	kind    *kind
	id      schemas.EventID
	payload []byte
	repeat  bool   // payload is short, and tells which event it repeats
	after   func() // to be called when it is durable; may be nil
	dropped bool   // turned away by the gate, as:
	outcome schemas.Outcome
	reason  string
}

// charge is what is counted when a record is durable.
type charge struct {
	category schemas.Category
	quantity int64
	id       schemas.EventID
}

// memory is what a request needs to begin with; it is used again.
type memory struct {
	event, item []byte
}

var memories = sync.Pool{New: func() any { return &memory{} }}

// keepMemory is the most that is kept for the next request.
const keepMemory = 256 << 10

func (r *Receiver) newIntake(ctx context.Context, lease *bound.Lease) (*intake, error) {
	mem, _ := memories.Get().(*memory)
	if err := lease.Grow(cap(mem.event) + cap(mem.item)); err != nil {
		memories.Put(mem)
		return nil, err
	}
	return &intake{r: r, ctx: ctx, lease: lease, received: r.now(), mem: mem}, nil
}

// close gives the memory back. Nothing of it may be in use: records have copies.
func (in *intake) close() {
	if cap(in.mem.event) > keepMemory {
		in.mem.event = nil
	}
	if cap(in.mem.item) > keepMemory {
		in.mem.item = nil
	}
	memories.Put(in.mem)
	in.mem = nil
}

// ensureID is the event's id, made when there is none.
func (in *intake) ensureID() schemas.EventID {
	if in.id == (schemas.EventID{}) {
		in.id = newID()
	}
	return in.id
}

// newID is a random UUID, version 4.
func newID() schemas.EventID {
	var id schemas.EventID
	_, _ = rand.Read(id[:]) // never fails
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return id
}

// envelope reads items to the end.
func (in *intake) envelope(body *Reader) error {
	for {
		h, err := body.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			in.torn(schemas.CategoryDefault, err)
			return err
		}
		in.items++
		if err := in.item(body, &h); err != nil {
			in.torn(kindOf(h.Type).category, err)
			return err
		}
	}
}

// torn counts the item at which an envelope ends that cannot be read further; what
// came before it is abandon's. What comes behind it nobody can count.
func (in *intake) torn(c schemas.Category, err error) {
	code, reason := codeOf(err)
	if code != http.StatusBadRequest && code != http.StatusRequestEntityTooLarge || errors.Is(err, produce.ErrTooLarge) {
		return // the sender may come again, or the item is charged already
	}
	if c == schemas.CategoryAttachment { // of which bytes are counted
		c = schemas.CategoryAttachmentItem
	}
	in.r.record(in, c, schemas.OutcomeInvalid, reason, 1, in.id)
}

// item takes one item. An error ends the whole request; what is wrong with the
// item alone is told to invalid.
func (in *intake) item(body *Reader, h *ItemHeader) error {
	k := kindOf(h.Type)
	switch k.way {
	case unknown:
		in.r.deps.Counts.Unsupported("unknown")
		in.r.record(in, k.category, schemas.OutcomeInvalid, "unknown_item", 1, in.id)
		return nil
	case retired:
		in.r.deps.Counts.Unsupported(k.name)
		in.r.record(in, k.category, schemas.OutcomeInvalid, "retired_item", 1, in.id)
		return nil
	case internal:
		return body.malformed(fmt.Errorf("type %q is for Sentry's own servers", k.name))
	case attachment:
		return in.attachmentItem(body, h, k)
	case raw:
		return in.rawItem(body, h, k)
	case eventLike:
		if in.has(k) {
			in.invalid(k, 1, in.id, "duplicate_item", fmt.Errorf("%w: a second item of type %q", ErrMalformed, k.name))
			return nil
		}
		dst := in.mem.event
		if len(in.held) > 0 {
			dst = nil // in use
		}
		payload, err := in.payload(body, k, dst[:0])
		if payload == nil || err != nil {
			return err
		}
		if len(in.held) == 0 {
			in.mem.event = payload
		}
		return in.event(k, payload)
	}
	payload, err := in.payload(body, k, in.mem.item[:0])
	if payload == nil || err != nil {
		return err
	}
	in.mem.item = payload
	switch k.way {
	case report:
		return in.securityReports(k, h.Type, payload, h.Release, h.Environment)
	case container:
		return in.container(k, h, payload)
	case otelSpan, otelTraces:
		return in.otel(k, payload)
	case form:
		return in.formData(k, payload)
	case userReport:
		return in.userReport(k, payload)
	case session:
		return in.session(k, payload)
	case checkIn:
		return in.checkIn(k, payload)
	case clientReport:
		return in.clientReport(k, payload)
	}
	return nil
}

// payload reads an item whole. It gives nil when the item is too large, which
// was counted then.
func (in *intake) payload(body *Reader, k *kind, dst []byte) ([]byte, error) {
	payload, err := body.Payload(dst, k.name, int(k.limit(&in.r.cfg)), in.lease)
	if e, ok := errors.AsType[*bound.TooLargeError](err); ok && e.What == k.name {
		in.invalid(k, 1, in.id, "too_large:"+k.name, err)
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if payload == nil {
		payload = []byte{}
	}
	return payload, nil
}

// invalid counts an item that is left out. The others of its envelope are not
// hurt; if there are none, the sender is told err.
func (in *intake) invalid(k *kind, quantity int64, id schemas.EventID, reason string, err error) {
	in.r.record(in, k.category, schemas.OutcomeInvalid, reason, quantity, id)
	in.refused = append(in.refused, reason)
	if in.firstErr == nil {
		in.firstErr = err
	}
	in.r.deps.Log.Debug("left an item out of its envelope", "type", k.name, "reason", reason, "err", err)
}

// ask lets the gate decide about an item. With ok its payload goes on.
func (in *intake) ask(k *kind, quantity int, size int64, id schemas.EventID, payload []byte) (d policy.Decision, ok bool) {
	d = in.r.deps.Gate.Item(in.ctx, &in.from, policy.Item{
		Type: k.name, Category: k.category, Quantity: quantity, Size: size, EventID: id, Payload: payload,
	})
	in.told(&d)
	if !d.Keep {
		in.dropped(d)
		return d, false
	}
	in.kept++
	if k.way != eventLike && d.Kept != nil { // an event waits longer than the next write
		in.after = append(in.after, d.Kept)
	}
	return d, true
}

// told keeps what the sender is to be told.
func (in *intake) told(d *policy.Decision) {
	if d.Limit != nil && len(in.limits) < maxLimits {
		in.limits = policy.AddLimit(in.limits, *d.Limit)
	}
}

// maxLimits bounds what is told of single items.
const maxLimits = 16

// allLimits are those that the sender is told with the answer.
func (in *intake) allLimits() []policy.RateLimit {
	if in.from.Project.ID == 0 {
		return nil
	}
	limits := in.r.deps.Gate.Limits(in.ctx, &in.from)
	if len(in.limits) > 0 {
		limits = slices.Clone(limits)
		for _, l := range in.limits {
			limits = policy.AddLimit(limits, l)
		}
	}
	return limits
}

func (in *intake) dropped(d policy.Decision) {
	in.limited = in.limited || d.Outcome == schemas.OutcomeRateLimited
	in.badCORS = in.badCORS || d.Outcome == schemas.OutcomeInvalid && d.Reason == "cors"
}

// queue lets a record wait for the next write, and charges for it. On error the
// charges stand, for abandon.
func (in *intake) queue(record *kgo.Record, charges ...charge) error {
	in.charges = append(in.charges, charges...)
	if err := in.lease.Grow(len(record.Value)); err != nil {
		return err
	}
	in.records = append(in.records, record)
	in.bytes += len(record.Value)
	return nil
}

// add is queue, and writes when much waits.
func (in *intake) add(record *kgo.Record, charges ...charge) error {
	if err := in.queue(record, charges...); err != nil {
		return err
	}
	if in.bytes >= flushBytes {
		return in.flush()
	}
	return nil
}

// flush makes what waits durable, and then counts it as accepted.
func (in *intake) flush() error {
	if len(in.records) == 0 {
		return nil
	}
	if err := in.r.deps.Producer.Produce(in.ctx, in.records...); err != nil {
		return err
	}
	for _, record := range in.records {
		in.r.deps.Counts.Written(record.Topic)
	}
	for _, c := range in.charges {
		in.r.record(in, c.category, schemas.OutcomeAccepted, "", c.quantity, c.id)
	}
	for _, f := range in.after {
		f()
	}
	in.after = nil
	in.lease.Shrink(in.bytes)
	in.records, in.bytes, in.charges = nil, 0, nil
	return nil
}

// abandon counts what was kept and does not become durable because of err.
func (in *intake) abandon(err error) {
	code, reason := codeOf(err)
	o := schemas.OutcomeInvalid
	if code == http.StatusTooManyRequests {
		o = schemas.OutcomeRateLimited
	}
	for _, c := range in.charges {
		in.r.record(in, c.category, o, reason, c.quantity, c.id)
	}
	for _, e := range in.held {
		if !e.dropped {
			in.r.record(in, e.kind.category, o, reason, 1, e.id)
		}
	}
	for _, a := range in.attachments {
		in.countAttachment(&a, o, reason)
	}
	for _, reason := range in.refused {
		in.r.deps.Counts.Refused(reason)
	}
	in.charges, in.held, in.attachments, in.refused = nil, nil, nil, nil
}

// has tells that an event of this kind is there already.
func (in *intake) has(k *kind) bool {
	for _, e := range in.held {
		if e.kind == k {
			return true
		}
	}
	return false
}

// event takes one event's JSON and holds it until the end.
func (in *intake) event(k *kind, payload []byte) error {
	id := in.id
	if int64(len(payload)) > in.r.cfg.MaxEventBytes {
		in.invalid(k, 1, id, "too_large:"+k.name, &bound.TooLargeError{What: k.name, Limit: in.r.cfg.MaxEventBytes})
		return nil
	}
	err := bound.Members(payload, maxEventDepth, func(key, value []byte) error {
		switch string(key) {
		case "event_id":
			if id == (schemas.EventID{}) {
				if s, ok := bound.Text(value); ok {
					id, _ = ParseID(s)
				}
			}
		case "type": // SDKs of 2019 sent transactions so
			if k.name == "event" && string(value) == `"transaction"` {
				k = kinds["transaction"]
			}
		}
		return nil
	})
	if err != nil {
		in.invalid(k, 1, in.id, "invalid_json", fmt.Errorf("%w: %w", ErrBadEvent, err))
		return nil
	}
	if id == (schemas.EventID{}) {
		id = newID()
	}
	if in.id == (schemas.EventID{}) {
		in.id = id
	}
	e := held{kind: k, id: id}
	d, ok := in.ask(k, 1, int64(len(payload)), id, payload)
	if ok {
		e.payload, e.repeat, e.after = d.Payload, d.RepeatOf != (schemas.EventID{}), d.Kept
	} else {
		e.dropped, e.outcome, e.reason = true, d.Outcome, d.Reason
	}
	in.held = append(in.held, e)
	return nil
}

// finish writes the events and attachments that waited, and everything else.
func (in *intake) finish() error {
	if err := in.assemble(); err != nil {
		return err
	}
	owner := -1 // of the attachments
	for i := range in.held {
		if name := in.held[i].kind.name; name == "event" || owner < 0 && name == "security" {
			owner = i
		}
	}
	if owner >= 0 && in.held[owner].dropped { // then its attachments are, too
		for _, a := range in.attachments {
			in.countAttachment(&a, in.held[owner].outcome, in.held[owner].reason)
		}
		in.attachments = nil
	}
	if owner >= 0 && in.held[owner].repeat {
		owner = -1 // a repeat keeps nothing: its attachments stand alone
	}
	// From here on they are charged with their records.
	waiting, files := in.held, in.attachments
	in.held, in.attachments = nil, nil
	var mine []wire.EventAttachment
	var failed error
	for i := range files {
		a := &files[i]
		if owner >= 0 && !a.alone {
			mine = append(mine, a.EventAttachment)
			continue
		}
		if a.RateLimited { // nobody asks for it
			continue
		}
		record := wire.Attachment{Type: "attachment", EventID: a.event.String(), ProjectID: in.from.Project.ID, Attachment: a.EventAttachment}
		if err := in.queue(in.record(topics.IngestAttachments, schemas.SchemaIngestAttachments, a.event, a.category, 0, record.AppendMsgpack(nil)), a.charges()...); err != nil {
			failed = err // the others are still to be charged
		}
	}
	for i := range waiting {
		e := &waiting[i]
		if e.dropped {
			continue
		}
		record := wire.IngestEvent{
			Type: e.kind.event, Payload: e.payload, StartTime: in.received.Unix(), EventID: e.id.String(),
			ProjectID: in.from.Project.ID, RemoteAddr: in.remote(),
		}
		if e.repeat {
			record.Type = "repeat"
		}
		if e.after != nil {
			in.after = append(in.after, e.after)
		}
		topic, schema := e.kind.topic, e.kind.schema
		charges := []charge{{e.kind.category, 1, e.id}}
		if i == owner {
			record.Attachments = mine
			for j := range files {
				if a := &files[j]; !a.alone {
					charges = append(charges, a.charges()...)
				}
			}
			if len(mine) > 0 || in.reports {
				topic, schema = topics.IngestAttachments, schemas.SchemaIngestAttachments
			}
		}
		value := record.AppendMsgpack(make([]byte, 0, len(e.payload)+256+256*len(mine)))
		if err := in.queue(in.record(topic, schema, e.id, e.kind.category, 0, value), charges...); err != nil {
			failed = err
		}
	}
	if failed != nil {
		return failed
	}
	if err := in.flush(); err != nil {
		return err
	}
	for i := range waiting {
		if e := &waiting[i]; !e.dropped && e.kind.event == "event" {
			in.r.deps.Counts.EventAccepted()
		}
	}
	return nil
}

// outcome is what the sender is told once everything is durable.
func (in *intake) outcome() error {
	if in.items == 1 && in.firstErr != nil && in.kept == 0 {
		in.refused = in.refused[:0] // it is counted with the answer
		return in.firstErr
	}
	for _, reason := range in.refused {
		in.r.deps.Counts.Refused(reason)
	}
	in.refused = nil
	if in.kept > 0 {
		return nil
	}
	if in.badCORS {
		return ErrOrigin
	}
	if in.limited {
		return ErrRateLimited
	}
	return nil
}

func (in *intake) remote() string {
	if !in.from.Client.IsValid() {
		return ""
	}
	return in.from.Client.String()
}

// record makes a record. Its key is the id; random when there is none.
func (in *intake) record(topic, schema string, id schemas.EventID, category schemas.Category, count int, value []byte) *kgo.Record {
	return produce.Record(produce.Meta{
		Topic: topic, Schema: schema, Project: in.from.Project.ID, Received: in.received, SentAt: in.sentAt,
		EventID: id, Category: category, Count: count,
	}, value)
}

// container takes spans, logs or trace metrics.
func (in *intake) container(k *kind, h *ItemHeader, payload []byte) error {
	c, err := parseContainer(payload)
	if err != nil {
		in.invalid(k, max(1, h.ItemCount), in.id, "invalid_json", fmt.Errorf("%w: %s: %w", ErrMalformed, k.name, err))
		return nil
	}
	if !c.list { // one alone, as older SDKs send spans
		c.items, c.version = [][]byte{payload}, []byte("1")
		payload = c.pack(c.items)
	}
	n := len(c.items)
	most := maxContained
	if k.category == schemas.CategorySpan {
		most = maxSpans
	}
	if c.list && h.ItemCount >= 0 && h.ItemCount != int64(n) {
		in.invalid(k, int64(max(n, 1)), in.id, "item_count", fmt.Errorf("%w: item_count of %s is %d where it holds %d", ErrMalformed, k.name, h.ItemCount, n))
		return nil
	}
	if n < 1 || n > most {
		in.invalid(k, int64(max(n, 1)), in.id, "item_count", fmt.Errorf("%w: a container of type %s holds %d, want 1 to %d", ErrMalformed, k.name, n, most))
		return nil
	}
	d, ok := in.ask(k, n, int64(len(payload)), in.id, payload)
	if !ok {
		return nil
	}
	if !same(d.Payload, payload) {
		payload = d.Payload
		if c, err = parseContainer(payload); err != nil {
			return fmt.Errorf("the policy made %s that are no container: %w", k.name, err)
		}
	}
	return in.split(k, c, payload)
}

func same(a, b []byte) bool { return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0]) }

// split writes a container as records that fit.
func (in *intake) split(k *kind, c *jsonContainer, payload []byte) error {
	most := in.r.cfg.MaxRecordBytes
	if len(payload) <= most {
		return in.addPart(k, len(c.items), bytes.Clone(payload))
	}
	var some [][]byte
	size := 0
	flush := func() error {
		if len(some) == 0 {
			return nil
		}
		n := len(some)
		value := c.pack(some)
		some, size = some[:0], 0
		return in.addPart(k, n, value)
	}
	room := most - c.overhead()
	for _, item := range c.items {
		if len(item) > room {
			in.invalid(k, 1, in.id, "too_large:"+k.name, &bound.TooLargeError{What: k.name, Limit: int64(room)})
			continue
		}
		if size+len(item)+1 > room {
			if err := flush(); err != nil {
				return err
			}
		}
		some = append(some, item)
		size += len(item) + 1
	}
	return flush()
}

func (in *intake) addPart(k *kind, n int, value []byte) error {
	charges := []charge{{k.category, int64(n), schemas.EventID{}}}
	switch k.category {
	case schemas.CategoryLogItem:
		charges = append(charges, charge{schemas.CategoryLogByte, int64(len(value)), schemas.EventID{}})
	case schemas.CategoryTraceMetric:
		charges = append(charges, charge{schemas.CategoryTraceMetricByte, int64(len(value)), schemas.EventID{}})
	}
	return in.add(in.record(k.topic, k.schema, schemas.EventID{}, k.category, n, value), charges...)
}

// otel takes spans of OpenTelemetry and hands them on as those that come by OTLP.
func (in *intake) otel(k *kind, payload []byte) error {
	if err := in.lease.Grow(len(payload)); err != nil {
		return err
	}
	data := bytes.Clone(payload)
	if k.way == otelSpan {
		if err := bound.CheckObject(payload, maxEventDepth); err != nil {
			in.invalid(k, 1, in.id, "invalid_json", fmt.Errorf("%w: %s: %w", ErrMalformed, k.name, err))
			return nil
		}
		var err error
		data, err = otlp.FromJSON(otlp.Traces, bytes.Join([][]byte{[]byte(`{"resourceSpans":[{"scopeSpans":[{"spans":[`), payload, []byte(`]}]}]}`)}, nil), in.lease)
		if err != nil {
			if errors.Is(err, bound.ErrOverload) {
				return err
			}
			in.invalid(k, 1, in.id, "invalid_json", fmt.Errorf("%w: %s: %w", ErrMalformed, k.name, err))
			return nil
		}
	}
	parts, found, err := otlp.Split(data, in.r.cfg.MaxRecordBytes, in.received)
	if err != nil {
		in.invalid(k, 1, in.id, "invalid_protobuf", fmt.Errorf("%w: %s: %w", ErrMalformed, k.name, err))
		return nil
	}
	if n := found.Refused(); n > 0 {
		in.invalid(k, int64(n), in.id, "invalid_span", fmt.Errorf("%w: %s", ErrMalformed, found.Message()))
	}
	if found.Items == 0 {
		return nil
	}
	if _, ok := in.ask(k, found.Items, int64(len(data)), in.id, nil); !ok {
		return nil
	}
	for _, p := range parts {
		record := produce.Spans(in.from.Project.ID, in.received, p.Data, p.Items, p.Truncated)
		if err := in.add(record, charge{k.category, int64(p.Items), schemas.EventID{}}); err != nil {
			return err
		}
	}
	return nil
}

func (in *intake) userReport(k *kind, payload []byte) error {
	if err := bound.CheckObject(payload, maxEventDepth); err != nil {
		in.invalid(k, 1, in.id, "invalid_json", fmt.Errorf("%w: %s: %w", ErrMalformed, k.name, err))
		return nil
	}
	id := idOf(payload, "event_id")
	if id == (schemas.EventID{}) {
		id = in.id
	}
	if id == (schemas.EventID{}) {
		in.invalid(k, 1, id, "no_event_id", fmt.Errorf("%w: %s tells no event_id", ErrMalformed, k.name))
		return nil
	}
	d, ok := in.ask(k, 1, int64(len(payload)), id, payload)
	if !ok {
		return nil
	}
	in.reports = in.reports || id == in.id
	record := wire.UserReport{Type: "user_report", Payload: d.Payload, StartTime: in.received.Unix(), EventID: id.String(), ProjectID: in.from.Project.ID}
	return in.add(in.record(k.topic, k.schema, id, k.category, 0, record.AppendMsgpack(nil)), charge{k.category, 1, id})
}

func (in *intake) session(k *kind, payload []byte) error {
	if err := bound.CheckObject(payload, maxHeaderDepth); err != nil {
		in.invalid(k, 1, in.id, "invalid_json", fmt.Errorf("%w: %s: %w", ErrMalformed, k.name, err))
		return nil
	}
	d, ok := in.ask(k, 1, int64(len(payload)), in.id, payload)
	if !ok {
		return nil
	}
	record := wire.Session{ProjectID: in.from.Project.ID, Payload: d.Payload, Type: k.name, Received: in.received.Unix()}
	return in.add(in.record(k.topic, k.schema, schemas.EventID{}, k.category, 0, record.AppendMsgpack(nil)), charge{k.category, 1, schemas.EventID{}})
}

// retentionDays is how long check-ins are to be kept.
const retentionDays = 90

func (in *intake) checkIn(k *kind, payload []byte) error {
	if err := bound.CheckObject(payload, maxHeaderDepth); err != nil {
		in.invalid(k, 1, in.id, "invalid_json", fmt.Errorf("%w: %s: %w", ErrMalformed, k.name, err))
		return nil
	}
	d, ok := in.ask(k, 1, int64(len(payload)), in.id, payload)
	if !ok {
		return nil
	}
	value := wire.CheckIn{
		Type: "check_in", Payload: d.Payload, StartTime: in.received.Unix(), SDK: short(in.sdk, 255), RetentionDays: retentionDays, ProjectID: in.from.Project.ID,
	}
	record := in.record(k.topic, k.schema, schemas.EventID{}, k.category, 0, value.AppendMsgpack(nil))
	record.Key = monitorKey(in.from.Project.ID, payload)
	return in.add(record, charge{k.category, 1, schemas.EventID{}})
}

// monitorKey is a hash of a check-in's project and monitor, so that the check-ins of
// one keep their order.
func monitorKey(projectID uint64, payload []byte) []byte {
	h := xxhash.New()
	_, _ = h.Write(binary.BigEndian.AppendUint64(nil, projectID)) // never fails
	_ = bound.Members(payload, maxHeaderDepth, func(key, value []byte) error {
		if string(key) == "monitor_slug" {
			if slug, ok := bound.Text(value); ok {
				_, _ = h.WriteString(monitor.Slug(slug)) // never fails
			}
		}
		return nil
	}) // it was found to be an object
	return binary.BigEndian.AppendUint64(nil, h.Sum64())
}

// jsonContainer is a container of an envelope: {"version":2,"items":[…]}.
type jsonContainer struct {
	items   [][]byte
	list    bool // items was there
	version []byte
	rest    []byte // other members, each with a comma in front
}

// parseContainer reads a container. Its items alias data.
func parseContainer(data []byte) (*jsonContainer, error) {
	c := &jsonContainer{}
	err := bound.Members(data, maxEventDepth, func(key, value []byte) error {
		switch string(key) {
		case "items":
			c.list, c.items = true, c.items[:0]
			return bound.Elements(value, maxEventDepth, func(item []byte) error {
				if item[0] != '{' {
					return fmt.Errorf("items[%d] is no object", len(c.items))
				}
				c.items = append(c.items, item)
				return nil
			})
		case "version":
			c.version = value
		default:
			if len(c.rest)+len(key)+len(value) < 16<<10 {
				c.rest = append(append(append(append(c.rest, ','), strconv.Quote(string(key))...), ':'), value...)
			}
		}
		return nil
	})
	return c, err
}

// overhead is what a packed container takes beside its items.
func (c *jsonContainer) overhead() int {
	return len(`{"version":,"items":[]}`) + len(c.version) + len(c.rest) + 8
}

// pack makes a container of some of the items.
func (c *jsonContainer) pack(items [][]byte) []byte {
	n := c.overhead()
	for _, item := range items {
		n += len(item) + 1
	}
	out := make([]byte, 0, n)
	out = append(out, `{"version":`...)
	if len(c.version) > 0 {
		out = append(out, c.version...)
	} else {
		out = append(out, "null"...)
	}
	if c.list {
		out = append(out, c.rest...)
	}
	out = append(out, `,"items":[`...)
	for i, item := range items {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, item...)
	}
	return append(out, "]}"...)
}

// clientReport counts what the SDK dropped. No limit holds for it.
func (in *intake) clientReport(k *kind, payload []byte) error {
	type discarded []struct {
		Reason   string           `json:"reason"`
		Category schemas.Category `json:"category"`
		Quantity int64            `json:"quantity"`
	}
	var r struct {
		Discarded discarded `json:"discarded_events"`
		Limited   discarded `json:"rate_limited_events"`
		Filtered  discarded `json:"filtered_events"`
		Sampled   discarded `json:"filtered_sampling_events"`
	}
	err := bound.CheckObject(payload, maxHeaderDepth)
	if err == nil {
		err = json.Unmarshal(payload, &r)
	}
	if err == nil && len(r.Discarded)+len(r.Limited)+len(r.Filtered)+len(r.Sampled) > maxReported {
		err = fmt.Errorf("it lists more than %d", maxReported)
	}
	if err != nil {
		in.invalid(k, 1, in.id, "invalid_json", fmt.Errorf("%w: %s: %w", ErrMalformed, k.name, err))
		return nil
	}
	in.kept++
	for _, of := range []struct {
		list    discarded
		outcome schemas.Outcome
	}{
		{r.Discarded, schemas.OutcomeClientDiscard},
		{r.Limited, schemas.OutcomeRateLimited},
		{r.Filtered, schemas.OutcomeFiltered},
		{r.Sampled, schemas.OutcomeFiltered},
	} {
		for _, d := range of.list {
			if d.Quantity <= 0 {
				continue
			}
			if _, known := d.Category.ID(); !known {
				d.Category = schemas.CategoryDefault
			}
			in.r.record(in, d.Category, of.outcome, reasonOf(d.Reason), min(d.Quantity, maxQuantity), schemas.EventID{})
		}
	}
	return nil
}

// Bounds of client reports.
const (
	maxReported = 100
	maxQuantity = 1 << 31 // no sender counts as many since its last report
)

// reasonOf makes a reason of the sender's fit to be kept: lower-case letters,
// digits and a few signs.
func reasonOf(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '_', r == '-', r == '.', r == ':':
			return r
		}
		return '_'
	}, short(s, 64))
	if s == "" {
		return "unknown"
	}
	return s
}

// short is at most n bytes of s, which do not end within a character.
func short(s string, n int) string {
	if len(s) <= n {
		return strings.ToValidUTF8(s, "\uFFFD")
	}
	return strings.ToValidUTF8(s[:n], "")
}
