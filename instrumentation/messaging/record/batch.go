package record

import (
	"slices"

	"github.com/hoptrace/hoptrace/instrumentation/messaging/internal/protowire"
)

// batch is a request in the making: encoded spans behind room for what stands
// before them, so that a batch of one scope (most are) is not copied.
type batch struct {
	resource []byte // fields of ResourceSpans
	limit    int
	scopes   []encodedScope

	room   int    // bytes in front of the spans
	buf    []byte // room, spans
	spans  int
	runs   []run // of spans of one scope, in order
	scoped []int // bytes of each scope's spans
	head   int   // bounds what stands before and between the spans
	out    []byte
	held   []byte // the span that went over the limit, if isHeld
	isHeld bool
}

// run is a row of spans of one scope in batch.buf.
type run struct{ scope, from, to int }

// messageHead bounds the tag and the length of a message.
const messageHead = 11

func newBatch(resource []byte, limit int) *batch {
	return &batch{resource: resource, limit: limit}
}

// add appends the span q. It returns false when the batch has no room for it:
// then send what finish returns, and add again.
func (b *batch) add(st *Stream, q *rec, arena []byte) bool {
	if b.spans == 0 {
		b.reset(st)
	}
	from := len(b.buf)
	if b.isHeld {
		b.buf = append(b.buf, b.held...)
	} else {
		b.buf = st.encode(b.buf, q, arena)
	}
	for len(b.scoped) < len(b.scopes) { // made meanwhile
		b.scoped = append(b.scoped, 0)
	}
	head := b.head
	if b.scoped[st.scope] == 0 {
		head += len(b.scopes[st.scope].fields) + messageHead
	}
	if b.spans > 0 && len(b.buf)-b.room+head > b.limit {
		b.held, b.isHeld = append(b.held[:0], b.buf[from:]...), true
		b.buf = b.buf[:from]
		return false
	}
	b.isHeld = false
	b.head = head
	b.spans++
	b.scoped[st.scope] += len(b.buf) - from
	if n := len(b.runs); n > 0 && b.runs[n-1].scope == st.scope {
		b.runs[n-1].to = len(b.buf)
	} else {
		b.runs = append(b.runs, run{st.scope, from, len(b.buf)})
	}
	return true
}

// reset begins a batch whose first span is of st.
func (b *batch) reset(st *Stream) {
	b.head = len(b.resource) + messageHead
	b.room = b.head + len(b.scopes[st.scope].fields) + messageHead
	b.buf = slices.Grow(b.buf[:0], b.room)[:b.room]
	b.runs = b.runs[:0]
	clear(b.scoped)
}

// finish returns the request and empties the batch. The bytes are valid until the
// next add.
func (b *batch) finish() Batch {
	out := Batch{Spans: b.spans}
	b.spans = 0
	size := len(b.resource)
	for scope, n := range b.scoped {
		if n > 0 {
			n += len(b.scopes[scope].fields)
			size += 1 + protowire.SizeVarint(uint64(n)) + n
		}
	}
	if len(b.runs) == 1 {
		scope := b.runs[0].scope
		head := make([]byte, 0, b.room)
		head = b.appendHead(head, size)
		head = b.appendScope(head, scope)
		at := b.room - len(head)
		copy(b.buf[at:], head)
		out.Body = b.buf[at:]
		return out
	}
	b.out = b.appendHead(b.out[:0], size)
	for scope, n := range b.scoped {
		if n == 0 {
			continue
		}
		b.out = b.appendScope(b.out, scope)
		for _, r := range b.runs {
			if r.scope == scope {
				b.out = append(b.out, b.buf[r.from:r.to]...)
			}
		}
	}
	out.Body = b.out
	return out
}

// appendHead appends the one ResourceSpans message up to its scopes; size is that
// of the message.
func (b *batch) appendHead(dst []byte, size int) []byte {
	dst = protowire.AppendVarint(append(dst, protowire.Tag(1, protowire.Bytes)), uint64(size))
	return append(dst, b.resource...)
}

// appendScope appends a ScopeSpans message up to its spans.
func (b *batch) appendScope(dst []byte, scope int) []byte {
	fields := b.scopes[scope].fields
	dst = protowire.AppendVarint(append(dst, protowire.Tag(2, protowire.Bytes)), uint64(len(fields)+b.scoped[scope]))
	return append(dst, fields...)
}

// encodeResource returns the fields of ResourceSpans that describe the resource.
func encodeResource(o *Options) []byte {
	attrs, _ := dedupe(o.Resource, len(o.Resource), nil)
	b, at := protowire.Open(nil, 1)
	b = protowire.AppendKeyValues(b, 1, attrs)
	b = protowire.Close(b, at)
	if o.ResourceSchemaURL != "" {
		b = protowire.AppendString(b, 3, o.ResourceSchemaURL)
	}
	return b
}
