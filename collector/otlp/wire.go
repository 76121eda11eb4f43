package otlp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
)

// Wire types of protobuf. Groups (3 and 4) are not used by OTLP and refused.
const (
	wireVarint  = 0
	wireFixed64 = 1
	wireBytes   = 2
	wireFixed32 = 5
)

// errTooDeep tells that values lie within values deeper than maxNesting.
var errTooDeep = errors.New("values are nested too deeply")

// maxNesting bounds messages within one span. An array in an attribute costs
// two levels, a map three.
const maxNesting = 100

// cursor walks the fields of one message. After next has returned true, num
// and typ tell the field, raw is it whole with its tag, and data or value is
// what it holds.
type cursor struct {
	rest  []byte
	raw   []byte
	data  []byte // wireBytes
	value uint64 // every other type
	num   uint32
	typ   uint8
	err   error
}

func (c *cursor) next() bool {
	b := c.rest
	if len(b) == 0 {
		return false
	}
	tag, n := uint64(b[0]), 1
	if tag >= 0x80 {
		if tag, n = binary.Uvarint(b); n <= 0 {
			return c.fail("a field's tag is cut short or too long")
		}
	}
	c.typ = uint8(tag & 7)
	if tag>>3 == 0 || tag>>3 > 1<<29-1 {
		return c.fail("field number %d is not allowed", tag>>3)
	}
	c.num = uint32(tag >> 3)
	switch c.typ {
	case wireBytes:
		var size uint64
		m := 1
		if n >= len(b) {
			return c.fail("field %d is cut short", c.num)
		}
		if size = uint64(b[n]); size >= 0x80 {
			if size, m = binary.Uvarint(b[n:]); m <= 0 {
				return c.fail("the length of field %d is cut short or too long", c.num)
			}
		}
		n += m
		if size > uint64(len(b)-n) {
			return c.fail("field %d claims %d bytes where %d are left", c.num, size, len(b)-n)
		}
		end := n + int(size)
		c.data, c.raw, c.rest = b[n:end], b[:end], b[end:]
	case wireVarint:
		v, m := binary.Uvarint(b[n:])
		if m <= 0 {
			return c.fail("the number in field %d is cut short or too long", c.num)
		}
		n += m
		c.value, c.raw, c.rest = v, b[:n], b[n:]
	case wireFixed64:
		if len(b)-n < 8 {
			return c.fail("field %d is cut short", c.num)
		}
		c.value, c.raw, c.rest = binary.LittleEndian.Uint64(b[n:]), b[:n+8], b[n+8:]
	case wireFixed32:
		if len(b)-n < 4 {
			return c.fail("field %d is cut short", c.num)
		}
		c.value, c.raw, c.rest = uint64(binary.LittleEndian.Uint32(b[n:])), b[:n+4], b[n+4:]
	default:
		return c.fail("field %d has wire type %d, which OTLP does not use", c.num, c.typ)
	}
	return true
}

func (c *cursor) fail(format string, args ...any) bool {
	c.err = fmt.Errorf(format, args...)
	return false
}

// message is the shape of a protobuf message: what each field must be. A field
// that is not listed may be anything well formed.
type message struct {
	name   string
	fields [20]fieldShape
}

type fieldShape struct {
	known bool
	typ   uint8
	elem  uint8 // of a list that may also come unpacked: the type of one element; typ is wireBytes
	list  bool
	in    *message // of a field that holds a message
	id    uint8    // not zero: must have this many bytes, or none
}

func text(n uint32) (uint32, fieldShape)  { return n, fieldShape{known: true, typ: wireBytes} }
func vint(n uint32) (uint32, fieldShape)  { return n, fieldShape{known: true, typ: wireVarint} }
func fix64(n uint32) (uint32, fieldShape) { return n, fieldShape{known: true, typ: wireFixed64} }
func fix32(n uint32) (uint32, fieldShape) { return n, fieldShape{known: true, typ: wireFixed32} }

// packed is a list of numbers, packed or not.
func packed(n uint32, elem uint8) (uint32, fieldShape) {
	return n, fieldShape{known: true, typ: wireBytes, elem: elem, list: true}
}

func (m *message) set(n uint32, f fieldShape) *message {
	m.fields[n] = f
	return m
}

func (m *message) sub(n uint32, in *message) *message {
	m.fields[n] = fieldShape{known: true, typ: wireBytes, in: in}
	return m
}

func (m *message) ident(n uint32, size uint8) *message {
	m.fields[n] = fieldShape{known: true, typ: wireBytes, id: size}
	return m
}

// The messages of opentelemetry/proto/{trace,common,resource}/v1; those of
// metrics are in metrics.go.
var (
	anyValue      = &message{name: "AnyValue"}
	keyValue      = (&message{name: "KeyValue"}).set(text(1)).sub(2, anyValue).set(vint(3))
	arrayValue    = (&message{name: "ArrayValue"}).sub(1, anyValue)
	keyValueList  = (&message{name: "KeyValueList"}).sub(1, keyValue)
	entityRef     = (&message{name: "EntityRef"}).set(text(1)).set(text(2)).set(text(3)).set(text(4))
	resourceShape = (&message{name: "Resource"}).sub(1, keyValue).set(vint(2)).sub(3, entityRef)
	scopeShape    = (&message{name: "InstrumentationScope"}).set(text(1)).set(text(2)).sub(3, keyValue).set(vint(4))
	spanEvent     = (&message{name: "Span.Event"}).set(fix64(1)).set(text(2)).sub(3, keyValue).set(vint(4))
	spanLink      = (&message{name: "Span.Link"}).ident(1, 16).ident(2, 8).set(text(3)).sub(4, keyValue).set(vint(5)).set(fix32(6))
	spanStatus    = (&message{name: "Status"}).set(text(2)).set(vint(3))
	spanShape     = (&message{name: "Span"}).ident(1, 16).ident(2, 8).set(text(3)).ident(4, 8).set(text(5)).set(vint(6)).
			set(fix64(7)).set(fix64(8)).sub(9, keyValue).set(vint(10)).sub(11, spanEvent).set(vint(12)).
			sub(13, spanLink).set(vint(14)).sub(15, spanStatus).set(fix32(16))
)

func init() { // the message refers to itself
	anyValue.set(text(1)).set(vint(2)).set(vint(3)).set(fix64(4)).sub(5, arrayValue).sub(6, keyValueList).set(text(7)).set(vint(8))
}

func wrongType(field uint32, got, want uint8) error {
	return fmt.Errorf("field %d has wire type %d, want %d", field, got, want)
}

// errBadID tells that the ids of a link or an exemplar have a wrong length.
var errBadID = errors.New("the ids of a link or an exemplar have a wrong length")

// check walks b as a message of shape m. errBadID and errTooDeep concern one
// span; other errors mean that the bytes are no protobuf of that shape, and
// are preferred where both apply.
func check(b []byte, m *message, depth int) error {
	if depth > maxNesting {
		return errTooDeep
	}
	c := cursor{rest: b}
	var minor error
	for c.next() {
		if c.num >= uint32(len(m.fields)) {
			continue
		}
		f := &m.fields[c.num]
		if !f.known {
			continue
		}
		if f.typ != c.typ {
			if f.list && f.elem == c.typ {
				continue
			}
			return fmt.Errorf("%s: %w", m.name, wrongType(c.num, c.typ, f.typ))
		}
		if f.id != 0 && len(c.data) != 0 && len(c.data) != int(f.id) && minor == nil {
			minor = errBadID
		}
		if f.list && !wholeList(c.data, f.elem) {
			return fmt.Errorf("%s: the list in field %d is cut short", m.name, c.num)
		}
		if f.in != nil {
			if f.in == keyValue && plainPair(c.data) {
				continue
			}
			if err := check(c.data, f.in, depth+1); err != nil {
				if err != errTooDeep && err != errBadID { //nolint:errorlint // never wrapped, and this is the hot path
					return err
				}
				minor = err
			}
		}
	}
	if c.err != nil {
		return fmt.Errorf("%s: %w", m.name, c.err)
	}
	return minor
}

// plainPair tells that b is a KeyValue of a short key and a scalar value, as
// nearly all are. Of others it says false, and check decides: BenchmarkScan
// spends half its time otherwise.
func plainPair(b []byte) bool {
	if len(b) < 4 || b[1] >= 0x80 {
		return false
	}
	i := 2 + int(b[1])
	if i+2 > len(b) || b[i+1] >= 0x80 || i+2+int(b[i+1]) != len(b) {
		return false
	}
	v := b[i+2:]
	switch { // SDKs write the key first, pdata last
	case b[0] == 1<<3|wireBytes && b[i] == 2<<3|wireBytes:
	case b[0] == 2<<3|wireBytes && b[i] == 1<<3|wireBytes:
		v = b[2:i]
	default:
		return false
	}
	if len(v) < 2 {
		return false
	}
	switch v[0] {
	case 1<<3 | wireBytes: // string
		return v[1] < 0x80 && len(v) == 2+int(v[1])
	case 2<<3 | wireVarint: // bool
		return len(v) == 2 && v[1] < 0x80
	case 3<<3 | wireVarint: // int
		last := len(v) - 1
		if last > 9 || v[last] >= 0x80 { // of ten bytes the last has but one bit
			return false
		}
		for _, x := range v[1:last] {
			if x < 0x80 {
				return false
			}
		}
		return true
	case 4<<3 | wireFixed64: // double
		return len(v) == 9
	}
	return false
}

// sizeVarint is how many bytes v takes as a varint.
func sizeVarint(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }

// sizeField is how many bytes a message of n bytes takes as a field with a
// number below 16.
func sizeField(n int) int { return 1 + sizeVarint(uint64(n)) + n }

// appendTag opens a length-delimited field of n bytes.
func appendTag(b []byte, num uint32, n int) []byte {
	b = binary.AppendUvarint(b, uint64(num)<<3|wireBytes)
	return binary.AppendUvarint(b, uint64(n))
}
