// Package protowire appends Protocol Buffers to byte slices by hand: the parts of
// the format that OTLP needs, and OpenTelemetry's attributes as OTLP writes them.
// Nothing allocates but a destination that is too small and strings that are not
// UTF-8. It decodes nothing.
package protowire

import (
	"encoding/binary"
	"math"
	"math/bits"
	"strings"
	"unicode/utf8"
)

// The wire types.
const (
	Varint  = 0
	Fixed64 = 1
	Bytes   = 2
	Fixed32 = 5
)

// Tag returns the key of a field of number 1 to 15, which is one byte.
func Tag(field, wire int) byte { return byte(field<<3 | wire) }

// AppendTag appends the key of a field of any number.
func AppendTag(b []byte, field, wire int) []byte {
	return AppendVarint(b, uint64(field)<<3|uint64(wire))
}

// AppendVarint appends v alone, without a key.
func AppendVarint(b []byte, v uint64) []byte {
	for v >= 0x80 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v))
}

// SizeVarint returns how many bytes AppendVarint appends for v: 1 to 10.
func SizeVarint(v uint64) int { return int(9*uint32(bits.Len64(v))+64) / 64 }

// AppendUint appends a field of type uint32, uint64, int32, int64, bool or enum,
// zero too. A negative int64 is given as its bits.
func AppendUint(b []byte, field int, v uint64) []byte {
	return AppendVarint(AppendTag(b, field, Varint), v)
}

// AppendSint appends a field of type sint32 or sint64 (zigzag).
func AppendSint(b []byte, field int, v int64) []byte {
	return AppendUint(b, field, uint64(v<<1)^uint64(v>>63))
}

// AppendFixed64 appends a field of type fixed64 or, given as its bits, sfixed64.
func AppendFixed64(b []byte, field int, v uint64) []byte {
	return binary.LittleEndian.AppendUint64(AppendTag(b, field, Fixed64), v)
}

// AppendFixed32 appends a field of type fixed32.
func AppendFixed32(b []byte, field int, v uint32) []byte {
	return binary.LittleEndian.AppendUint32(AppendTag(b, field, Fixed32), v)
}

// AppendDouble appends a field of type double.
func AppendDouble(b []byte, field int, v float64) []byte {
	return AppendFixed64(b, field, math.Float64bits(v))
}

// AppendBytes appends a field of type bytes, empty too.
func AppendBytes(b []byte, field int, v []byte) []byte {
	b = AppendVarint(AppendTag(b, field, Bytes), uint64(len(v)))
	return append(b, v...)
}

// AppendString appends a field of type string, empty too. What is not UTF-8 in v
// becomes U+FFFD, since receivers refuse the whole message otherwise.
func AppendString(b []byte, field int, v string) []byte {
	if !utf8.ValidString(v) {
		v = strings.ToValidUTF8(v, "\uFFFD")
	}
	b = AppendVarint(AppendTag(b, field, Bytes), uint64(len(v)))
	return append(b, v...)
}

// Open begins a field that is a message. What is appended until Close(b, at) is
// the message. Opened messages nest.
func Open(b []byte, field int) (opened []byte, at int) {
	b = append(AppendTag(b, field, Bytes), 0)
	return b, len(b)
}

// Close ends the message that Open began and writes its length. Messages under
// 128 bytes need no move.
func Close(b []byte, at int) []byte {
	n := len(b) - at
	if n < 0x80 {
		b[at-1] = byte(n)
		return b
	}
	more := SizeVarint(uint64(n)) - 1
	var room [9]byte
	b = append(b, room[:more]...)
	copy(b[at+more:], b[at:at+n])
	AppendVarint(b[:at-1], uint64(n))
	return b
}
