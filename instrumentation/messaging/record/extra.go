package record

import (
	"math"
	"math/bits"
	"unicode/utf8"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/hoptrace/hoptrace/instrumentation/messaging/internal/protowire"
)

// The limits of one span, which are the defaults of OpenTelemetry's SDK. What
// goes above them is left out and counted in the span: attributes the newest,
// events and links the oldest.
const (
	maxAttributes      = 128 // of a span, of an event, of a link
	maxEvents          = 128
	maxLinks           = 128 // the inline one included
	maxExtraBytes      = 256 << 10
	smallestExtraBytes = 4 << 10
)

// Extra is what few spans have. It is encoded when the span is put; nothing of
// it is kept.
//
// Strings may have any length, as with the SDK, but all of an Extra together
// takes at most 256 KiB (half of [Options.MaxBatchBytes], if that is less): an
// attribute, a link or an event that would take it above is left out whole and
// counted as dropped in the span; smaller ones behind it still find room. Name
// and Description are cut at an eighth and a quarter of that.
type Extra struct {
	Name       string               // instead of the stream's; "" keeps that
	Attributes []attribute.KeyValue // the last of a key wins, over the stream's and the layout's too
	Links      []trace.Link         // beside the inline one
	Events     []Event

	Status      codes.Code
	Description string // with status Error only
	TraceState  string

	// What was left out before; what the limits leave out is added.
	DroppedAttributes, DroppedLinks, DroppedEvents int

	state   trace.TraceState // of a live span, instead of TraceState
	renamed bool             // Name counts though it is ""
}

// Event is an event of a span.
type Event struct {
	Name              string
	Time              int64 // Unix ns
	Attributes        []attribute.KeyValue
	DroppedAttributes int
}

// encode appends to the arena what x adds to q, as fields of a Span, in at most
// limit bytes.
func (x *Extra) encode(b []byte, q *rec, st *Stream, limit int) []byte {
	end := len(b) + limit
	if x.Name != "" || x.renamed {
		q.own |= ownName
		b = protowire.AppendString(b, spanName, cut(x.Name, limit/8))
	}
	if x.Status != codes.Unset {
		q.own |= ownStatus
		b = x.encodeStatus(b, limit/4)
	}
	b = x.encodeState(b, end)
	b, end = x.encodeAttributes(b, q, st, end)
	b = x.encodeLinks(b, q, end)
	return x.encodeEvents(b, end)
}

func (x *Extra) encodeStatus(b []byte, limit int) []byte {
	b, at := protowire.Open(b, spanStatus)
	switch x.Status {
	case codes.Ok:
		b = protowire.AppendUint(b, 3, 1)
	case codes.Error:
		b = protowire.AppendString(b, 2, cut(x.Description, limit))
		b = protowire.AppendUint(b, 3, 2)
	}
	return protowire.Close(b, at)
}

// encodeState leaves a trace state out that takes more than the room, for a part
// of one is none.
func (x *Extra) encodeState(b []byte, end int) []byte {
	from := len(b)
	switch {
	case x.TraceState != "" && len(x.TraceState) < end-from:
		b = protowire.AppendString(b, spanTraceState, x.TraceState)
	case x.state.Len() > 0:
		opened, at := protowire.Open(b, spanTraceState)
		x.state.Walk(func(key, value string) bool {
			if len(opened) > at {
				opened = append(opened, ',')
			}
			opened = append(append(append(opened, key...), '='), value...)
			return true
		})
		b = protowire.Close(opened, at)
	}
	if len(b) > end {
		return b[:from]
	}
	return b
}

// encodeAttributes moves end by what the stream's attributes take.
func (x *Extra) encodeAttributes(b []byte, q *rec, st *Stream, end int) (out []byte, newEnd int) {
	fields := st.layout.fieldBits(&q.Span)
	attrs, dropped := x.Attributes, max(0, x.DroppedAttributes)
	if room := maxAttributes - len(st.attrs) - bits.OnesCount32(fields); len(attrs) > room {
		var more int
		attrs, more = dedupe(attrs, room, st.has)
		dropped += more
	}
	// A field that is named again is not known any more; if it is an attribute
	// of the stream all of those that are left are written here.
	for i := range attrs {
		if f := st.layout.index(attrs[i].Key); f >= 0 {
			q.Known &^= 1 << f
		}
		if indexKey(st.attrs, attrs[i].Key) >= 0 {
			q.own |= ownAttributes
		}
	}
	if q.own&ownAttributes != 0 {
		end -= len(b)
		for i := range st.attrs {
			key := st.attrs[i].Key
			if f := st.layout.index(key); f >= 0 && q.Known&(1<<f) != 0 || indexKey(attrs, key) >= 0 {
				continue
			}
			b = protowire.AppendKeyValue(b, spanAttributes, st.attrs[i])
		}
		end += len(b)
	}
	for i := range attrs {
		if !attrs[i].Valid() {
			dropped++
			continue
		}
		if indexKey(attrs[i+1:], attrs[i].Key) >= 0 {
			continue
		}
		from := len(b)
		if tooLong(attrs[i:i+1], end-from) {
			dropped++
			continue
		}
		b = protowire.AppendKeyValue(b, spanAttributes, attrs[i])
		if len(b) > end {
			b = b[:from]
			dropped++
		}
	}
	if dropped > 0 {
		q.own |= ownDropped
		b = appendCount(b, spanDroppedAttributes, dropped+st.dropped)
	}
	return b, end
}

// encodeLinks writes no trace state of links: neither does the SDK's exporter.
func (x *Extra) encodeLinks(b []byte, q *rec, end int) []byte {
	links, dropped := x.Links, max(0, x.DroppedLinks)
	total := 0
	for i := range links {
		if !emptyLink(&links[i]) {
			total++
		}
	}
	if q.LinkSpan.IsValid() {
		total++
		if total > maxLinks {
			q.LinkSpan = trace.SpanID{}
			total--
			dropped++
		}
	}
	for i := range links {
		l := &links[i]
		if emptyLink(l) {
			continue
		}
		if total > maxLinks {
			total--
			dropped++
			continue
		}
		attrs, cutOff := l.Attributes, 0
		if len(attrs) > maxAttributes {
			attrs, cutOff = attrs[:maxAttributes], len(attrs)-maxAttributes
		}
		from := len(b)
		if tooLong(attrs, end-from) {
			dropped++
			continue
		}
		opened, at := protowire.Open(b, spanLinks)
		traceID, spanID := l.SpanContext.TraceID(), l.SpanContext.SpanID()
		opened = append(append(opened, protowire.Tag(1, protowire.Bytes), 16), traceID[:]...)
		opened = append(append(opened, protowire.Tag(2, protowire.Bytes), 8), spanID[:]...)
		opened = protowire.AppendKeyValues(opened, 4, attrs)
		opened = appendCount(opened, 5, cutOff)
		flags := uint32(l.SpanContext.TraceFlags()) | flagsKnown
		if l.SpanContext.IsRemote() {
			flags |= flagsRemote
		}
		b = protowire.Close(protowire.AppendFixed32(opened, 6, flags), at)
		if len(b) > end {
			b = b[:from]
			dropped++
		}
	}
	return appendCount(b, spanDroppedLinks, dropped)
}

func (x *Extra) encodeEvents(b []byte, end int) []byte {
	events, dropped := x.Events, max(0, x.DroppedEvents)
	if over := len(events) - maxEvents; over > 0 {
		events, dropped = events[over:], dropped+over
	}
	for i := range events {
		e := &events[i]
		attrs, cutOff := e.Attributes, max(0, e.DroppedAttributes)
		if len(attrs) > maxAttributes {
			cutOff += len(attrs) - maxAttributes
			attrs = attrs[:maxAttributes]
		}
		from := len(b)
		if len(e.Name) > end-from || tooLong(attrs, end-from) {
			dropped++
			continue
		}
		opened, at := protowire.Open(b, spanEvents)
		opened = protowire.AppendFixed64(opened, 1, uint64(max(0, e.Time)))
		opened = protowire.AppendString(opened, 2, e.Name)
		opened = protowire.AppendKeyValues(opened, 3, attrs)
		b = protowire.Close(appendCount(opened, 4, cutOff), at)
		if len(b) > end {
			b = b[:from]
			dropped++
		}
	}
	return appendCount(b, spanDroppedEvents, dropped)
}

// OTLP's flags beside those of W3C.
const (
	flagsKnown  = 0x100
	flagsRemote = 0x200
)

// emptyLink tells whether the SDK would leave l out.
func emptyLink(l *trace.Link) bool {
	return !l.SpanContext.IsValid() && len(l.Attributes) == 0 && l.SpanContext.TraceState().Len() == 0
}

// tooLong tells of strings, without writing them first, that they do not find
// room. What else is too long is written and taken back.
func tooLong(kvs []attribute.KeyValue, room int) bool {
	for i := range kvs {
		room -= len(kvs[i].Key)
		switch kvs[i].Value.Type() {
		case attribute.STRING:
			room -= len(kvs[i].Value.AsString())
		case attribute.STRINGSLICE:
			for _, e := range kvs[i].Value.AsStringSlice() {
				room -= len(e)
			}
		}
	}
	return room < 0
}

// appendCount appends a field of type uint32 unless it is zero.
func appendCount(b []byte, field, n int) []byte {
	if n == 0 {
		return b
	}
	return protowire.AppendUint(b, field, min(uint64(n), math.MaxUint32))
}

// cut returns the first n bytes of s at most, whole characters.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
