package record

import (
	"encoding/binary"
	"slices"

	"github.com/hoptrace/hoptrace/instrumentation/messaging/internal/protowire"
)

// Fields of trace.v1.Span.
const (
	spanTraceID           = 1
	spanSpanID            = 2
	spanTraceState        = 3
	spanParentID          = 4
	spanName              = 5
	spanKind              = 6
	spanStart             = 7
	spanEnd               = 8
	spanAttributes        = 9
	spanDroppedAttributes = 10
	spanEvents            = 11
	spanDroppedEvents     = 12
	spanLinks             = 13
	spanDroppedLinks      = 14
	spanStatus            = 15
	spanFlags             = 16
)

// fixedSize bounds what a span takes beside its stream's and its own parts: key
// and length 11, ids 18 + 10 + 10, times 18, inline link 35, flags 6, status 2,
// dropped attributes 11, all up to 10 more for room.
const fixedSize = 160

// What of a record the arena holds instead of the stream.
const (
	ownName = 1 << iota
	ownAttributes
	ownStatus
	ownDropped
)

// rec is a span in a chunk.
type rec struct {
	Span
	stream   uint32
	own      uint32 // what of it stands in the arena
	from, to uint32 // in the chunk's arena: fields of a Span
}

// encode appends q as a field of ScopeSpans.
func (st *Stream) encode(b []byte, q *rec, arena []byte) []byte {
	extra := arena[q.from:q.to]
	b = slices.Grow(b, st.size+len(extra))
	b = append(b, protowire.Tag(2, protowire.Bytes), 0, 0) // two bytes of length: 128 to 16,383 bytes
	at := len(b)
	b = append(b, protowire.Tag(spanTraceID, protowire.Bytes), 16)
	b = append(b, q.TraceID[:]...)
	b = append(b, protowire.Tag(spanSpanID, protowire.Bytes), 8)
	b = append(b, q.SpanID[:]...)
	if q.ParentID.IsValid() {
		b = append(b, protowire.Tag(spanParentID, protowire.Bytes), 8)
		b = append(b, q.ParentID[:]...)
	}
	if q.own&ownName == 0 {
		b = append(b, st.nameField...)
	}
	b = append(b, st.kindField...)
	b = append(b, protowire.Tag(spanStart, protowire.Fixed64))
	b = binary.LittleEndian.AppendUint64(b, uint64(max(0, q.Start)))
	b = append(b, protowire.Tag(spanEnd, protowire.Fixed64))
	b = binary.LittleEndian.AppendUint64(b, uint64(max(0, q.End)))
	switch {
	case q.own&ownAttributes != 0:
	case st.shadowed:
		b = st.encodeShadowed(b, q)
	default:
		b = append(b, st.attrField...)
	}
	if st.layout != nil {
		b = st.layout.encode(b, q)
	}
	if st.dropped > 0 && q.own&ownDropped == 0 {
		b = protowire.AppendUint(b, spanDroppedAttributes, uint64(st.dropped))
	}
	if q.LinkSpan.IsValid() {
		b = append(b, protowire.Tag(spanLinks, protowire.Bytes), 33, protowire.Tag(1, protowire.Bytes), 16)
		b = append(b, q.LinkTrace[:]...)
		b = append(b, protowire.Tag(2, protowire.Bytes), 8)
		b = append(b, q.LinkSpan[:]...)
		b = append(b, protowire.Tag(6, protowire.Fixed32))
		b = binary.LittleEndian.AppendUint32(b, q.LinkFlags)
	}
	b = append(b, extra...)
	if q.own&ownStatus == 0 {
		b = append(b, protowire.Tag(spanStatus, protowire.Bytes), 0) // unset, as the SDK writes it
	}
	b = append(b, 0x85, 0x01) // spanFlags, fixed32
	b = binary.LittleEndian.AppendUint32(b, q.Flags)

	n := len(b) - at
	if n >= 1<<7 && n < 1<<14 {
		b[at-2], b[at-1] = byte(n)|0x80, byte(n>>7)
		return b
	}
	// Rare: move the span to where a shorter or a longer length ends.
	size := protowire.SizeVarint(uint64(n))
	var room [8]byte
	b = append(b, room[:]...)
	copy(b[at-2+size:], b[at:at+n])
	protowire.AppendVarint(b[:at-2], uint64(n))
	return b[:at-2+size+n]
}

// encodeShadowed appends those of the stream's attributes for which q has no field.
func (st *Stream) encodeShadowed(b []byte, q *rec) []byte {
	for i := range st.attrs {
		if f := st.layout.index(st.attrs[i].Key); f < 0 || q.Known&(1<<f) == 0 {
			b = protowire.AppendKeyValue(b, spanAttributes, st.attrs[i])
		}
	}
	return b
}
