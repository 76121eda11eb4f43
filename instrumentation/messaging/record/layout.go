package record

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"strconv"

	"go.opentelemetry.io/otel/attribute"

	"github.com/hoptrace/hoptrace/instrumentation/messaging/internal/protowire"
)

// FieldType is how the slot of a field becomes an attribute.
type FieldType uint8

// The types of fields.
const (
	Int      FieldType = iota // an integer attribute
	Decimal                   // an int64 as a string of decimal digits
	Unsigned                  // the bits of an uint64 as a string of decimal digits
	Bool                      // true when known, whatever the slot holds
	Float                     // a float: the slot holds math.Float64bits
)

// Field is an attribute whose value differs from span to span.
type Field struct {
	Key  string
	Type FieldType
}

// Layout names the attributes that differ from span to span: field i is slot i
// of [Span.Values]. A nil Layout has no fields.
type Layout struct {
	fields []Field
	heads  [][]byte // what stands before the value, lengths still to be patched; nil: too long for that
	known  uint32   // the bits that mean something
	size   int      // no span's fields take more bytes
}

// longestValue bounds the bytes of a field's value: 20 digits in a string.
const longestValue = 24

// NewLayout makes a layout. It panics when there are more than [MaxFields]
// fields, a key is empty or one stands twice, for layouts are written down in
// programs.
func NewLayout(fields ...Field) *Layout {
	if len(fields) > MaxFields {
		panic(fmt.Sprintf("record: a layout of %d fields; at most %d fit", len(fields), MaxFields))
	}
	l := &Layout{fields: append([]Field(nil), fields...), known: 1<<len(fields) - 1}
	for i, f := range fields {
		if f.Key == "" {
			panic(fmt.Sprintf("record: field %d of a layout has no key", i))
		}
		for _, g := range fields[:i] {
			if g.Key == f.Key {
				panic(fmt.Sprintf("record: field %q stands twice in a layout", f.Key))
			}
		}
		l.heads = append(l.heads, f.head())
		l.size += len(f.Key) + longestValue + 16
	}
	return l
}

// Append appends the known fields of s to dst as attributes.
func (l *Layout) Append(dst []attribute.KeyValue, s *Span) []attribute.KeyValue {
	if l == nil {
		return dst
	}
	for known := s.Known & l.known; known != 0; known &= known - 1 {
		i := bits.TrailingZeros32(known)
		dst = append(dst, l.fields[i].attribute(s.Values[i]))
	}
	return dst
}

// fieldBits returns the known bits of s that are fields of l.
func (l *Layout) fieldBits(s *Span) uint32 {
	if l == nil {
		return 0
	}
	return s.Known & l.known
}

// index returns the field called key, or -1.
func (l *Layout) index(key attribute.Key) int {
	if l != nil {
		for i := range l.fields {
			if l.fields[i].Key == string(key) {
				return i
			}
		}
	}
	return -1
}

func (f *Field) attribute(v int64) attribute.KeyValue {
	key := attribute.Key(f.Key)
	switch f.Type {
	case Decimal:
		return key.String(strconv.FormatInt(v, 10))
	case Unsigned:
		return key.String(strconv.FormatUint(uint64(v), 10))
	case Bool:
		return key.Bool(true)
	case Float:
		return key.Float64(math.Float64frombits(uint64(v)))
	default:
		return key.Int64(v)
	}
}

// head encodes a Span's attribute up to its value. Its second byte and the one
// before the value's tag are lengths, for the one that appends to patch.
func (f *Field) head() []byte {
	if len(f.Key) > 0x7f-longestValue-8 {
		return nil
	}
	b := append([]byte{protowire.Tag(spanAttributes, protowire.Bytes), 0}, protowire.AppendString(nil, 1, f.Key)...)
	b = append(b, protowire.Tag(2, protowire.Bytes), 0)
	switch f.Type {
	case Decimal, Unsigned:
		return append(b, protowire.Tag(1, protowire.Bytes), 0) // one length more
	case Bool:
		return append(b, protowire.Tag(2, protowire.Varint))
	case Float:
		return append(b, protowire.Tag(4, protowire.Fixed64))
	default:
		return append(b, protowire.Tag(3, protowire.Varint))
	}
}

// encode appends the known fields of q as attributes of a Span. b has room for
// l.size bytes.
func (l *Layout) encode(b []byte, q *rec) []byte {
	for known := q.Known & l.known; known != 0; known &= known - 1 {
		i := bits.TrailingZeros32(known)
		head, v := l.heads[i], q.Values[i]
		if head == nil {
			b = protowire.AppendKeyValue(b, spanAttributes, l.fields[i].attribute(v))
			continue
		}
		at := len(b)
		b = append(b, head...)
		value := len(b) // behind the value's tag
		switch l.fields[i].Type {
		case Decimal:
			b = strconv.AppendInt(b, v, 10)
			b[value-1] = byte(len(b) - value)
			value--
		case Unsigned:
			b = strconv.AppendUint(b, uint64(v), 10)
			b[value-1] = byte(len(b) - value)
			value--
		case Bool:
			b = append(b, 1)
		case Float:
			b = binary.LittleEndian.AppendUint64(b, uint64(v))
		default:
			b = appendVarint(b, uint64(v))
		}
		b[value-2] = byte(len(b) - value + 1)
		b[at+1] = byte(len(b) - at - 2)
	}
	return b
}

// appendVarint is protowire.AppendVarint without a branch a byte; most values are
// times, which take nine. b has room for 10 bytes.
func appendVarint(b []byte, v uint64) []byte {
	if v < 1<<7 {
		return append(b, byte(v))
	}
	// Spread the lower 56 bits over 8 bytes: halves, quarters, eighths.
	x := v&0x000000000fffffff | v&0x00fffffff0000000<<4
	x = x&0x00003fff00003fff | x&0x0fffc0000fffc000<<2
	x = x&0x007f007f007f007f | x&0x3f803f803f803f80<<1
	const more = 0x8080808080808080 // bytes follow
	n := len(b)
	if v >= 1<<56 {
		b = binary.LittleEndian.AppendUint64(b, x|more)
		return protowire.AppendVarint(b, v>>56)
	}
	size := (bits.Len64(v) + 6) / 7
	b = binary.LittleEndian.AppendUint64(b, x|more&(1<<(8*(size-1))-1))
	return b[:n+size]
}
