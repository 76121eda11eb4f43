// Package ingest reads what lies on the ingest topics: OTLP trace requests into
// spans, Sentry events into a typed form. It checks the encoding and bounds
// sizes; what the values mean, and which are impossible, is package normalize.
package ingest

import (
	"fmt"

	"github.com/VictoriaMetrics/easyproto"

	"github.com/hoptrace/hoptrace/schemas"
)

// Names of the attributes that tell what was left out of a span or resource.
const (
	// AttrDropped counts the attributes beyond [Limits.Attributes].
	AttrDropped = "hoptrace.dropped_attributes"
	// AttrCut counts the values longer than [Limits.ValueBytes].
	AttrCut = "hoptrace.cut_values"
	// AttrDroppedEvents and AttrDroppedLinks count those beyond their limits.
	AttrDroppedEvents = "hoptrace.dropped_events"
	AttrDroppedLinks  = "hoptrace.dropped_links"
	// The SDK's own counts, when they are not zero.
	AttrSDKDropped       = "otel.dropped_attributes_count"
	AttrSDKDroppedEvents = "otel.dropped_events_count"
	AttrSDKDroppedLinks  = "otel.dropped_links_count"
)

const serviceName = "service.name"

// Limits bound what one record can become. A span beyond them is cut and
// marked, never refused; a request with too many spans is refused.
type Limits struct {
	Spans      int // a request; more is an error
	Attributes int // a span, resource, event or link. Beyond it only messaging.* and hoptrace.* stay, as many again
	ValueBytes int // of one value's text
	KeyBytes   int // of one key
	Events     int // a span
	Links      int // a span: a batch has one a record
	Depth      int // of arrays and maps in a value
}

// DefaultLimits are 262,144 spans, 128 attributes and events, 8,192 links, 32 KiB
// a value, 256 bytes a key and 16 levels.
func DefaultLimits() Limits {
	return Limits{
		Spans: 1 << 18, Attributes: 128, ValueBytes: 32 << 10, KeyBytes: 256,
		Events: 128, Links: 8192, Depth: 16,
	}
}

// SpanDecoder decodes OTLP ExportTraceServiceRequests into memory that it uses
// again, so that decoding allocates nothing once it has seen a batch. It is not
// safe for concurrent use.
type SpanDecoder struct {
	limits Limits

	// Span-level attributes, and those of events and links, are built at the
	// same time: fields may come in any order. Hence an arena each.
	attrs  arena[schemas.Attribute]
	sub    arena[schemas.Attribute]
	events arena[schemas.SpanEvent]
	links  arena[schemas.Link]
	text   text
	json   []byte // scratch

	root []byte // the request being decoded; tells offsets in errors
}

// NewSpanDecoder makes a decoder. Zero fields of limits take their defaults.
func NewSpanDecoder(limits Limits) *SpanDecoder {
	def := DefaultLimits()
	for _, f := range []struct{ v, d *int }{
		{&limits.Spans, &def.Spans},
		{&limits.Attributes, &def.Attributes},
		{&limits.ValueBytes, &def.ValueBytes},
		{&limits.KeyBytes, &def.KeyBytes},
		{&limits.Events, &def.Events},
		{&limits.Links, &def.Links},
		{&limits.Depth, &def.Depth},
	} {
		if *f.v <= 0 {
			*f.v = *f.d
		}
	}
	d := &SpanDecoder{limits: limits}
	d.attrs.size, d.sub.size, d.events.size, d.links.size, d.text.size = 8192, 1024, 512, 512, 64<<10
	return d
}

// Reset takes back the memory of all spans decoded so far.
func (d *SpanDecoder) Reset() {
	d.attrs.reset()
	d.sub.reset()
	d.events.reset()
	d.links.reset()
	d.text.reset()
	d.root = nil
}

// Decode appends the request's spans to dst, in the order of the encoding.
// Position.Index is the span's place in the request; the caller sets Project,
// Source and Position.Offset. Spans alias value and the decoder's memory: they
// are valid until [SpanDecoder.Reset] and while value is unchanged. Strings are
// as sent, not checked to be UTF-8. An id of a wrong length comes out as zero.
// On error dst is returned with what it had.
func (d *SpanDecoder) Decode(dst []schemas.Span, value []byte) ([]schemas.Span, error) {
	d.root = value
	from := len(dst)
	out := dst
	var fc easyproto.FieldContext
	var err error
	for src := value; len(src) > 0; {
		if src, err = d.next(&fc, src, "ExportTraceServiceRequest"); err != nil {
			return dst[:from], err
		}
		if fc.FieldNum != 1 {
			continue
		}
		rs, ok := fc.MessageData()
		if !ok {
			return dst[:from], d.wrongType(&fc, src, "ExportTraceServiceRequest")
		}
		if out, err = d.resourceSpans(out, from, rs); err != nil {
			return dst[:from], err
		}
	}
	return out, nil
}

// next reads a field and says where a broken one lies.
func (d *SpanDecoder) next(fc *easyproto.FieldContext, src []byte, message string) ([]byte, error) {
	rest, err := fc.NextField(src)
	if err != nil {
		return nil, fmt.Errorf("broken protobuf at byte %d in %s: %w", cap(d.root)-cap(src), message, err)
	}
	return rest, nil
}

func (d *SpanDecoder) wrongType(fc *easyproto.FieldContext, rest []byte, message string) error {
	return fmt.Errorf("broken protobuf before byte %d: field %d of %s has the wrong wire type", cap(d.root)-cap(rest), fc.FieldNum, message)
}

// fields calls f for each field of a message; f tells whether its wire type was right.
func (d *SpanDecoder) fields(src []byte, message string, f func(fc *easyproto.FieldContext) (bool, error)) error {
	var fc easyproto.FieldContext
	var err error
	for len(src) > 0 {
		if src, err = d.next(&fc, src, message); err != nil {
			return err
		}
		ok, err := f(&fc)
		if err != nil {
			return err
		}
		if !ok {
			return d.wrongType(&fc, src, message)
		}
	}
	return nil
}

// resourceSpans goes over the fields twice: the resource may follow the spans
// it belongs to.
func (d *SpanDecoder) resourceSpans(dst []schemas.Span, from int, src []byte) ([]schemas.Span, error) {
	const message = "ResourceSpans"
	var fc easyproto.FieldContext
	var err error
	service := ""
	c := counts{}
	d.attrs.begin()
	for rest := src; len(rest) > 0; {
		if rest, err = d.next(&fc, rest, message); err != nil {
			return dst, err
		}
		if fc.FieldNum != 1 {
			continue
		}
		r, ok := fc.MessageData()
		if !ok {
			return dst, d.wrongType(&fc, rest, message)
		}
		if err = d.resource(r, &service, &c); err != nil {
			return dst, err
		}
	}
	d.mark(&c)
	resource := d.attrs.finish()
	for rest := src; len(rest) > 0; {
		if rest, err = d.next(&fc, rest, message); err != nil {
			return dst, err
		}
		if fc.FieldNum != 2 {
			continue
		}
		ss, ok := fc.MessageData()
		if !ok {
			return dst, d.wrongType(&fc, rest, message)
		}
		if dst, err = d.scopeSpans(dst, from, ss, service, resource); err != nil {
			return dst, err
		}
	}
	return dst, nil
}

func (d *SpanDecoder) resource(src []byte, service *string, c *counts) error {
	const message = "Resource"
	var fc easyproto.FieldContext
	var err error
	for len(src) > 0 {
		if src, err = d.next(&fc, src, message); err != nil {
			return err
		}
		switch fc.FieldNum {
		case 1:
			kv, ok := fc.MessageData()
			if !ok {
				return d.wrongType(&fc, src, message)
			}
			a, err := d.keyValue(kv, c)
			if err != nil {
				return err
			}
			if a.Key == serviceName {
				*service = a.Value
				continue
			}
			d.add(&d.attrs, a, c)
		case 2:
			n, ok := fc.Uint32()
			if !ok {
				return d.wrongType(&fc, src, message)
			}
			c.sdkAttrs = n
		}
	}
	return nil
}

func (d *SpanDecoder) scopeSpans(dst []schemas.Span, from int, src []byte, service string, resource []schemas.Attribute) ([]schemas.Span, error) {
	const message = "ScopeSpans"
	var fc, in easyproto.FieldContext
	var err error
	scope := ""
	for rest := src; len(rest) > 0; {
		if rest, err = d.next(&fc, rest, message); err != nil {
			return dst, err
		}
		if fc.FieldNum != 1 {
			continue
		}
		s, ok := fc.MessageData()
		if !ok {
			return dst, d.wrongType(&fc, rest, message)
		}
		for len(s) > 0 {
			if s, err = d.next(&in, s, "InstrumentationScope"); err != nil {
				return dst, err
			}
			if in.FieldNum == 1 {
				if scope, ok = in.String(); !ok {
					return dst, d.wrongType(&in, s, "InstrumentationScope")
				}
			}
		}
	}
	for rest := src; len(rest) > 0; {
		if rest, err = d.next(&fc, rest, message); err != nil {
			return dst, err
		}
		if fc.FieldNum != 2 {
			continue
		}
		s, ok := fc.MessageData()
		if !ok {
			return dst, d.wrongType(&fc, rest, message)
		}
		n := len(dst) - from
		if n >= d.limits.Spans {
			return dst, fmt.Errorf("more than %d spans in one request, at byte %d: split it", d.limits.Spans, cap(d.root)-cap(rest))
		}
		dst = append(dst, schemas.Span{Service: service, Scope: scope, Resource: resource})
		span := &dst[len(dst)-1]
		span.Position.Index = uint32(n) //nolint:gosec // bounded by Limits.Spans
		if err = d.span(span, s); err != nil {
			return dst, err
		}
	}
	return dst, nil
}

// counts of what a span or resource left out.
type counts struct {
	dropped, cut, events, links   int
	sdkAttrs, sdkEvents, sdkLinks uint32
}

func (d *SpanDecoder) span(s *schemas.Span, src []byte) error {
	const message = "Span"
	var fc easyproto.FieldContext
	var c counts
	var err error
	ok := true
	d.attrs.begin()
	d.events.begin()
	d.links.begin()
	for len(src) > 0 {
		if src, err = d.next(&fc, src, message); err != nil {
			return err
		}
		var b []byte
		var u uint64
		var i int32
		switch fc.FieldNum {
		case 1:
			if b, ok = fc.Bytes(); ok {
				s.TraceID = traceID(b)
			}
		case 2:
			if b, ok = fc.Bytes(); ok {
				s.SpanID = spanID(b)
			}
		case 4:
			if b, ok = fc.Bytes(); ok {
				s.ParentID = spanID(b)
			}
		case 5:
			s.Name, ok = fc.String()
		case 6:
			if i, ok = fc.Int32(); ok && i >= 0 && i <= int32(schemas.KindConsumer) {
				s.Kind = schemas.SpanKind(i)
			}
		case 7:
			u, ok = fc.Fixed64()
			s.Start = int64(u) //nolint:gosec // beyond 2262 it is negative and normalize refuses it
		case 8:
			u, ok = fc.Fixed64()
			s.End = int64(u) //nolint:gosec // as above
		case 9:
			if b, ok = fc.MessageData(); ok {
				a, err := d.keyValue(b, &c)
				if err != nil {
					return err
				}
				d.add(&d.attrs, a, &c)
			}
		case 10:
			c.sdkAttrs, ok = fc.Uint32()
		case 11:
			if b, ok = fc.MessageData(); ok {
				if d.events.built() >= d.limits.Events {
					c.events++
				} else if err = d.event(b, &c); err != nil {
					return err
				}
			}
		case 12:
			c.sdkEvents, ok = fc.Uint32()
		case 13:
			if b, ok = fc.MessageData(); ok {
				if d.links.built() >= d.limits.Links {
					c.links++
				} else if err = d.link(b, &c); err != nil {
					return err
				}
			}
		case 14:
			c.sdkLinks, ok = fc.Uint32()
		case 15:
			if b, ok = fc.MessageData(); ok {
				if err = d.status(s, b); err != nil {
					return err
				}
			}
		}
		if !ok {
			return d.wrongType(&fc, src, message)
		}
	}
	d.mark(&c)
	s.Attributes = d.attrs.finish()
	s.Events = d.events.finish()
	s.Links = d.links.finish()
	return nil
}

// mark writes down what was left out.
func (d *SpanDecoder) mark(c *counts) {
	if *c == (counts{}) {
		return
	}
	for _, m := range [...]struct {
		key string
		n   int
	}{
		{AttrDropped, c.dropped},
		{AttrCut, c.cut},
		{AttrDroppedEvents, c.events},
		{AttrDroppedLinks, c.links},
		{AttrSDKDropped, int(c.sdkAttrs)},
		{AttrSDKDroppedEvents, int(c.sdkEvents)},
		{AttrSDKDroppedLinks, int(c.sdkLinks)},
	} {
		if m.n != 0 {
			d.attrs.push(schemas.Attribute{Key: m.key, Value: d.decimal(int64(m.n))})
		}
	}
}

func (d *SpanDecoder) status(s *schemas.Span, src []byte) error {
	const message = "Status"
	var fc easyproto.FieldContext
	var err error
	for len(src) > 0 {
		if src, err = d.next(&fc, src, message); err != nil {
			return err
		}
		ok := true
		switch fc.FieldNum {
		case 2:
			s.StatusMessage, ok = fc.String()
		case 3:
			var i int32
			if i, ok = fc.Int32(); ok {
				s.Status = schemas.StatusUnset
				if i >= 0 && i <= int32(schemas.StatusError) {
					s.Status = schemas.StatusCode(i)
				}
			}
		}
		if !ok {
			return d.wrongType(&fc, src, message)
		}
	}
	return nil
}

func (d *SpanDecoder) event(src []byte, c *counts) error {
	const message = "Span.Event"
	var fc easyproto.FieldContext
	var e schemas.SpanEvent
	var own counts
	var err error
	d.sub.begin()
	for len(src) > 0 {
		if src, err = d.next(&fc, src, message); err != nil {
			return err
		}
		ok := true
		switch fc.FieldNum {
		case 1:
			var u uint64
			u, ok = fc.Fixed64()
			e.Time = int64(u) //nolint:gosec // beyond 2262 it is negative; normalize moves it into the span
		case 2:
			e.Name, ok = fc.String()
		case 3:
			var b []byte
			if b, ok = fc.MessageData(); ok {
				a, err := d.keyValue(b, &own)
				if err != nil {
					return err
				}
				d.add(&d.sub, a, &own)
			}
		}
		if !ok {
			return d.wrongType(&fc, src, message)
		}
	}
	c.cut += own.cut
	c.dropped += own.dropped
	e.Attributes = d.sub.finish()
	d.events.push(e)
	return nil
}

func (d *SpanDecoder) link(src []byte, c *counts) error {
	const message = "Span.Link"
	var fc easyproto.FieldContext
	var l schemas.Link
	var own counts
	var err error
	d.sub.begin()
	for len(src) > 0 {
		if src, err = d.next(&fc, src, message); err != nil {
			return err
		}
		ok := true
		var b []byte
		switch fc.FieldNum {
		case 1:
			if b, ok = fc.Bytes(); ok {
				l.TraceID = traceID(b)
			}
		case 2:
			if b, ok = fc.Bytes(); ok {
				l.SpanID = spanID(b)
			}
		case 4:
			if b, ok = fc.MessageData(); ok {
				a, err := d.keyValue(b, &own)
				if err != nil {
					return err
				}
				d.add(&d.sub, a, &own)
			}
		}
		if !ok {
			return d.wrongType(&fc, src, message)
		}
	}
	c.cut += own.cut
	c.dropped += own.dropped
	l.Attributes = d.sub.finish()
	d.links.push(l)
	return nil
}

func traceID(b []byte) (id schemas.TraceID) {
	if len(b) == len(id) {
		copy(id[:], b)
	}
	return id
}

func spanID(b []byte) (id schemas.SpanID) {
	if len(b) == len(id) {
		copy(id[:], b)
	}
	return id
}
