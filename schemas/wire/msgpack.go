package wire

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tinylib/msgp/msgp"
)

// What msgpack calls a type, for errors.
func typeName(b []byte) string {
	switch msgp.NextType(b) {
	case msgp.StrType:
		return "str"
	case msgp.BinType:
		return "bin"
	case msgp.IntType, msgp.UintType:
		return "int"
	case msgp.Float32Type, msgp.Float64Type:
		return "float"
	case msgp.BoolType:
		return "bool"
	case msgp.NilType:
		return "nil"
	case msgp.MapType:
		return "map"
	case msgp.ArrayType:
		return "array"
	case msgp.InvalidType:
		if len(b) == 0 {
			return "the end of the record"
		}
		return "a byte that begins nothing"
	}
	return "ext"
}

// broken is what ends too early: its first byte was right.
func broken(what string) *Error { return problem("ends within " + what) }

func readMap(b []byte) (n int, rest []byte, e *Error) {
	if msgp.NextType(b) != msgp.MapType {
		return 0, b, wantGot("a map", typeName(b))
	}
	size, rest, err := msgp.ReadMapHeaderBytes(b)
	if err != nil || uint64(size)*2 > uint64(len(rest)) {
		return 0, b, broken("a map")
	}
	return int(size), rest, nil
}

// readArray refuses more than most elements before memory is taken for them.
func readArray(b []byte, low, most int) (n int, rest []byte, e *Error) {
	if msgp.NextType(b) != msgp.ArrayType {
		return 0, b, wantGot("an array", typeName(b))
	}
	size, rest, err := msgp.ReadArrayHeaderBytes(b)
	switch {
	case err != nil:
		return 0, b, broken("an array")
	case uint64(size) < uint64(low) || uint64(size) > uint64(most): //nolint:gosec // bounds are small
		return 0, b, wrongCount(low, most, int(size))
	case uint64(size) > uint64(len(rest)):
		return 0, b, broken("an array")
	}
	return int(size), rest, nil
}

// readKey is readText, and says what it is in an error.
func readKey(b []byte) (key, rest []byte, e *Error) {
	if msgp.NextType(b) != msgp.StrType {
		return nil, b, wantGot("a str as key", typeName(b))
	}
	key, rest, err := msgp.ReadStringZC(b)
	if err != nil {
		return nil, b, broken("a key")
	}
	return key, rest, nil
}

func readText(b []byte) (text, rest []byte, e *Error) {
	if msgp.NextType(b) != msgp.StrType {
		return nil, b, wantGot("a string", typeName(b))
	}
	text, rest, err := msgp.ReadStringZC(b)
	if err != nil {
		return nil, b, broken("a str")
	}
	if !utf8.Valid(text) {
		return nil, b, problem("want a string, got bytes that are not UTF-8")
	}
	return text, rest, nil
}

func readString(b []byte) (s string, rest []byte, e *Error) {
	text, rest, e := readText(b)
	return string(text), rest, e
}

// readEnum gives the element of values, so that it takes no memory.
func readEnum(b []byte, values []string) (s string, rest []byte, e *Error) {
	text, rest, e := readText(b)
	if e != nil {
		return "", b, e
	}
	if i := slices.IndexFunc(values, func(v string) bool { return v == string(text) }); i >= 0 {
		return values[i], rest, nil
	}
	return "", b, notOneOf(values, string(text))
}

// readBytes gives a part of b.
func readBytes(b []byte) (bin, rest []byte, e *Error) {
	if msgp.NextType(b) != msgp.BinType {
		return nil, b, wantGot("bytes", typeName(b))
	}
	bin, rest, err := msgp.ReadBytesZC(b)
	if err != nil {
		return nil, b, broken("a bin")
	}
	return bin[:len(bin):len(bin)], rest, nil
}

func readBool(b []byte) (v bool, rest []byte, e *Error) {
	if msgp.NextType(b) != msgp.BoolType {
		return false, b, wantGot("true or false", typeName(b))
	}
	v, rest, err := msgp.ReadBoolBytes(b)
	if err != nil {
		return false, b, broken("a bool")
	}
	return v, rest, nil
}

// readInt reads any integer that fits T, and a float that is a whole number,
// as JSON Schema has it.
func readInt[T int64 | uint64 | int](b []byte) (v T, rest []byte, e *Error) {
	switch msgp.NextType(b) {
	case msgp.IntType, msgp.UintType:
		if b[0] == 0xcf { // uint 64: the only one that int 64 does not hold
			u, rest, err := msgp.ReadUint64Bytes(b)
			if err != nil {
				return 0, b, broken("an int")
			}
			if v = T(u); v < 0 || uint64(v) != u { //nolint:gosec // compared
				return 0, b, problem(fmt.Sprintf("want an integer of 64 bits with a sign, got %d", u))
			}
			return v, rest, nil
		}
		i, rest, err := msgp.ReadInt64Bytes(b)
		if err != nil {
			return 0, b, broken("an int")
		}
		if v = T(i); int64(v) != i || v < 0 != (i < 0) { //nolint:gosec // compared
			return 0, b, problem(fmt.Sprintf("want an integer of zero or more, got %d", i))
		}
		return v, rest, nil
	case msgp.Float32Type, msgp.Float64Type:
		var f float64
		var err error
		if b[0] == 0xca {
			var f32 float32
			f32, rest, err = msgp.ReadFloat32Bytes(b)
			f = float64(f32)
		} else {
			f, rest, err = msgp.ReadFloat64Bytes(b)
		}
		if err != nil {
			return 0, b, broken("a float")
		}
		if v, ok := whole[T](f); ok {
			return v, rest, nil
		}
	}
	return 0, b, wantGot("an integer", typeName(b))
}

// whole is f as an integer, when f is one and exact.
func whole[T int64 | uint64 | int](f float64) (T, bool) {
	const exact = 1 << 53
	if f != math.Trunc(f) || f > exact || f < -exact {
		return 0, false
	}
	v := T(int64(f)) //nolint:gosec // compared
	if v < 0 != (f < 0) {
		return 0, false
	}
	return v, true
}

func readFloat(b []byte) (v float64, rest []byte, e *Error) {
	switch msgp.NextType(b) {
	case msgp.Float32Type, msgp.Float64Type:
		if v, rest, err := msgp.ReadFloat64Bytes(b); err == nil {
			return v, rest, nil
		}
	case msgp.IntType:
		if v, rest, err := msgp.ReadInt64Bytes(b); err == nil {
			return float64(v), rest, nil
		}
	case msgp.UintType:
		if v, rest, err := msgp.ReadUint64Bytes(b); err == nil {
			return float64(v), rest, nil
		}
	default:
		return 0, b, wantGot("a number", typeName(b))
	}
	return 0, b, broken("a number")
}

// isNil tells whether nil comes next; it takes one byte.
func isNil(b []byte) bool { return msgp.NextType(b) == msgp.NilType }

// skip leaves out one value with all that is in it, however deep.
func skip(b []byte) (rest []byte, e *Error) {
	for left := uint64(1); left > 0; left-- {
		var n uint32
		var err error
		switch msgp.NextType(b) {
		case msgp.MapType:
			n, b, err = msgp.ReadMapHeaderBytes(b)
			left += 2 * uint64(n)
		case msgp.ArrayType:
			n, b, err = msgp.ReadArrayHeaderBytes(b)
			left += uint64(n)
		case msgp.InvalidType:
			return b, wantGot("a value", typeName(b))
		default:
			b, err = msgp.Skip(b)
		}
		if err != nil || left > uint64(len(b))+1 { // each takes a byte at least
			return b, broken("a value")
		}
	}
	return b, nil
}

func endOfRecord(rest []byte) *Error {
	if len(rest) > 0 {
		return problem(fmt.Sprintf("%d bytes follow the record", len(rest)))
	}
	return nil
}

// appendString writes UTF-8, whatever s holds.
func appendString(b []byte, s string) []byte {
	return msgp.AppendString(b, valid(s))
}

func valid(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return strings.ToValidUTF8(s, "�")
}

// discriminator is the text below key in a map, without decoding the rest:
// which of several messages a record is.
func discriminator(b []byte, key string) (text []byte, e *Error) {
	n, b, e := readMap(b)
	if e != nil {
		return nil, e
	}
	found := false
	for range n {
		var k []byte
		if k, b, e = readKey(b); e != nil {
			return nil, e
		}
		if string(k) == key {
			if text, b, e = readText(b); e != nil {
				return nil, e.in(key)
			}
			found = true // the last counts, as it does for the decoders
			continue
		}
		if b, e = skip(b); e != nil {
			return nil, e.in(string(k))
		}
	}
	if !found {
		return nil, problem("is missing").in(key)
	}
	return text, nil
}
