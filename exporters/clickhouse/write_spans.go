package clickhouse

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unsafe"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// What one call takes. One INSERT is one block and one part a day, so that it
// is stored whole or not at all.
const (
	maxBatchRows  = 200_000
	maxBatchBytes = 256 << 20
	maxBatchDays  = 64 // a part each; the engine refuses more than 100
)

// WriteSpans stores where the rows will lie, the message rows and then the spans, each
// as one INSERT.
// It fails with ErrTooLarge beyond 200,000 rows or 256 MiB of a kind, or when
// the times of the rows lie on more than 64 days.
func (s *Store) WriteSpans(ctx context.Context, spans []schemas.Span, messages []schemas.Message) error {
	if len(spans) > maxBatchRows || len(messages) > maxBatchRows {
		return fmt.Errorf("cannot write %d spans and %d message rows, at most %d each: %w", len(spans), len(messages), maxBatchRows, exporters.ErrTooLarge)
	}
	// Both are checked before one is stored.
	var days dayCount
	for i := range spans {
		days.add(spans[i].Start)
	}
	if err := days.check("spans", len(spans)); err != nil {
		return err
	}
	days = dayCount{}
	for i := range messages {
		days.add(messages[i].End)
	}
	if err := days.check("message rows", len(messages)); err != nil {
		return err
	}
	sc := s.spanColumns.get()
	defer func() { sc.reset(); s.spanColumns.put(sc) }()
	for i := range spans {
		if sc.append(&spans[i]); sc.bytes > maxBatchBytes {
			return fmt.Errorf("cannot write %d spans of more than %d bytes: %w", len(spans), maxBatchBytes, exporters.ErrTooLarge)
		}
	}
	if err := s.writeBounds(ctx, spans, messages, nil); err != nil {
		return err
	}
	if err := s.writeMessages(ctx, messages); err != nil {
		return err
	}
	if len(spans) == 0 {
		return nil
	}
	if err := s.write(ctx, sc.insert, sc.input); err != nil {
		return fmt.Errorf("cannot write %d spans: %w", len(spans), err)
	}
	return nil
}

// dayCount counts the partitions that a batch falls into.
type dayCount struct {
	last int64
	seen map[int64]struct{}
}

func (d *dayCount) add(t int64) {
	day := t / int64(24*time.Hour)
	if d.seen == nil {
		d.seen = make(map[int64]struct{}, 4)
	} else if day == d.last {
		return
	}
	d.seen[day] = struct{}{}
	d.last = day
}

func (d *dayCount) check(what string, n int) error {
	if len(d.seen) > maxBatchDays {
		return fmt.Errorf("cannot write %d %s of %d different days, at most %d: %w", n, what, len(d.seen), maxBatchDays, exporters.ErrTooLarge)
	}
	return nil
}

// insertText names the columns that an INSERT brings.
func insertText(table string, input proto.Input) string {
	names := make([]string, len(input))
	for i, c := range input {
		names[i] = c.Name
	}
	return "INSERT INTO " + table + " (" + strings.Join(names, ", ") + ") VALUES"
}

// Bits of spans.link_same.
const (
	linkSameTrace = 1 << iota
	linkSameSpan
)

// spanColumns holds one batch of spans. Its memory is reused.
type spanColumns struct {
	input  proto.Input
	insert string
	bytes  int // of texts, about

	project       proto.ColUInt64
	service, name lowCard
	time          *proto.ColDateTime64
	duration      proto.ColInt64
	traceID       proto.ColFixedStr16
	spanID        proto.ColFixedStr8
	parentID      proto.ColFixedStr8
	kind, status  proto.ColUInt8
	statusMessage lowCard
	scope         lowCard
	resource      lowCard
	attributes    attributeMap

	linkSame       *proto.ColArr[uint8]
	linkTraces     *proto.ColArr[[16]byte]
	linkSpans      *proto.ColArr[[8]byte]
	linkAttributes lowCards
	eventTimes     *proto.ColArr[int64]
	eventNames     lowCards
	eventAttrs     *proto.ColArr[string]

	source       proto.ColUInt64
	sourceOffset proto.ColInt64
	sourceIndex  proto.ColUInt32

	// The resource last written out. Spans of one resource share its slice, so
	// its address tells it within a batch.
	resourceAt   *schemas.Attribute
	resourceLen  int
	resourceText string
	resources    map[resourceKey]string
	scratch      []byte
}

type resourceKey struct {
	at  *schemas.Attribute
	len int
}

func newSpanColumns() *spanColumns {
	c := &spanColumns{
		time:       newTime(),
		linkSame:   proto.NewArray[uint8](new(proto.ColUInt8)),
		linkTraces: proto.NewArray[[16]byte](new(proto.ColFixedStr16)),
		linkSpans:  proto.NewArray[[8]byte](new(proto.ColFixedStr8)),
		eventTimes: proto.NewArray[int64](new(proto.ColInt64)),
		eventAttrs: proto.NewArray[string](new(proto.ColStr)),
		resources:  make(map[resourceKey]string),
	}
	c.input = proto.Input{
		{Name: "project", Data: &c.project},
		{Name: "service", Data: &c.service},
		{Name: "name", Data: &c.name},
		{Name: "time", Data: c.time},
		{Name: "duration", Data: &c.duration},
		{Name: "trace_id", Data: &c.traceID},
		{Name: "span_id", Data: &c.spanID},
		{Name: "parent_id", Data: &c.parentID},
		{Name: "kind", Data: &c.kind},
		{Name: "status", Data: &c.status},
		{Name: "status_message", Data: &c.statusMessage},
		{Name: "scope", Data: &c.scope},
		{Name: "resource", Data: &c.resource},
		{Name: "attributes", Data: &c.attributes},
		{Name: "link_same", Data: c.linkSame},
		{Name: "link_traces", Data: c.linkTraces},
		{Name: "link_spans", Data: c.linkSpans},
		{Name: "link_attributes", Data: &c.linkAttributes},
		{Name: "event_times", Data: c.eventTimes},
		{Name: "event_names", Data: &c.eventNames},
		{Name: "event_attributes", Data: c.eventAttrs},
		{Name: "source", Data: &c.source},
		{Name: "source_offset", Data: &c.sourceOffset},
		{Name: "source_index", Data: &c.sourceIndex},
	}
	c.insert = insertText("spans", c.input)
	return c
}

func (c *spanColumns) reset() {
	reset(c.input)
	c.bytes = 0
	c.resourceAt, c.resourceLen, c.resourceText = nil, 0, ""
	clear(c.resources)
	if cap(c.scratch) > 1<<20 {
		c.scratch = nil
	}
}

func (c *spanColumns) append(s *schemas.Span) {
	c.project.Append(s.Project)
	c.service.Append(s.Service)
	c.name.Append(s.Name)
	c.time.AppendRaw(proto.DateTime64(s.Start))
	c.duration.Append(s.End - s.Start)
	c.traceID.Append(s.TraceID)
	c.spanID.Append(s.SpanID)
	c.parentID.Append(s.ParentID)
	c.kind.Append(uint8(s.Kind))
	c.status.Append(uint8(s.Status))
	c.statusMessage.Append(s.StatusMessage)
	c.scope.Append(s.Scope)
	c.resource.Append(c.resourceOf(s.Resource))
	c.attributes.Append(s.Attributes)
	c.bytes += 200 + len(s.Service) + len(s.Name) + len(s.StatusMessage) + len(s.Scope) + attributeBytes(s.Attributes)

	same := c.linkSame.Data.(*proto.ColUInt8)
	traces, spans := c.linkTraces.Data.(*proto.ColFixedStr16), c.linkSpans.Data.(*proto.ColFixedStr8)
	for i := range s.Links {
		l := &s.Links[i]
		// A link often repeats the parent, whose ids are not kept twice.
		var flags uint8
		trace, span := l.TraceID, l.SpanID
		if trace == s.TraceID {
			flags, trace = flags|linkSameTrace, schemas.TraceID{}
		}
		if span == s.ParentID {
			flags, span = flags|linkSameSpan, schemas.SpanID{}
		}
		same.Append(flags)
		traces.Append(trace)
		spans.Append(span)
		c.linkAttributes.values.Append(c.text(l.Attributes))
		c.bytes += 40 + attributeBytes(l.Attributes)
	}
	c.linkSame.Offsets.Append(uint64(same.Rows()))
	c.linkTraces.Offsets.Append(uint64(traces.Rows()))
	c.linkSpans.Offsets.Append(uint64(spans.Rows()))
	c.linkAttributes.End()

	times, attrs := c.eventTimes.Data.(*proto.ColInt64), c.eventAttrs.Data.(*proto.ColStr)
	for i := range s.Events {
		e := &s.Events[i]
		times.Append(e.Time)
		c.eventNames.values.Append(e.Name)
		c.scratch = appendAttributes(c.scratch[:0], e.Attributes)
		attrs.AppendBytes(c.scratch)
		c.bytes += 40 + len(e.Name) + attributeBytes(e.Attributes)
	}
	c.eventTimes.Offsets.Append(uint64(times.Rows()))
	c.eventNames.End()
	c.eventAttrs.Offsets.Append(uint64(attrs.Rows()))

	c.source.Append(uint64(s.Source))
	c.sourceOffset.Append(s.Position.Offset)
	c.sourceIndex.Append(s.Position.Index)
}

func (c *spanColumns) resourceOf(attrs []schemas.Attribute) string {
	at := unsafe.SliceData(attrs)
	if c.resourceText != "" && at == c.resourceAt && len(attrs) == c.resourceLen {
		return c.resourceText
	}
	key := resourceKey{at, len(attrs)}
	text, ok := c.resources[key]
	if !ok {
		text = c.text(attrs)
		c.resources[key] = text
		c.bytes += len(text)
	}
	c.resourceAt, c.resourceLen, c.resourceText = at, len(attrs), text
	return text
}

// text is attributes as a JSON object.
func (c *spanColumns) text(attrs []schemas.Attribute) string {
	if len(attrs) == 0 {
		return "{}"
	}
	c.scratch = appendAttributes(c.scratch[:0], attrs)
	return string(c.scratch)
}

func attributeBytes(attrs []schemas.Attribute) int {
	n := 0
	for i := range attrs {
		n += 8 + len(attrs[i].Key) + len(attrs[i].Value)
	}
	return n
}
