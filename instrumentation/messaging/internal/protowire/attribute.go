package protowire

import (
	"go.opentelemetry.io/otel/attribute"
)

// maxDepth is how deep a value may be nested, as in the OpenTelemetry SDK: what
// lies below is replaced by an empty value.
const maxDepth = 64

// Fields of common.v1.AnyValue, ArrayValue, KeyValueList and KeyValue.
const (
	anyString, anyBool, anyInt, anyDouble, anyArray, anyList, anyBytes = 1, 2, 3, 4, 5, 6, 7

	elements       = 1
	kvKey, kvValue = 1, 2
)

// AppendKeyValues appends each of kvs by [AppendKeyValue].
func AppendKeyValues(b []byte, field int, kvs []attribute.KeyValue) []byte {
	for i := range kvs {
		b = AppendKeyValue(b, field, kvs[i])
	}
	return b
}

// AppendKeyValue appends a field that is a common.v1.KeyValue. In a value that is
// a map the last of equal keys counts.
func AppendKeyValue(b []byte, field int, kv attribute.KeyValue) []byte {
	return appendKeyValue(b, field, kv, maxDepth)
}

// AppendAnyValue appends the inside of a common.v1.AnyValue.
func AppendAnyValue(b []byte, v attribute.Value) []byte { return appendAnyValue(b, v, maxDepth) }

func appendKeyValue(b []byte, field int, kv attribute.KeyValue, depth int) []byte {
	b, at := Open(b, field)
	b = AppendString(b, kvKey, string(kv.Key))
	b, value := Open(b, kvValue)
	b = appendAnyValue(b, kv.Value, depth)
	return Close(Close(b, value), at)
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, Tag(anyBool, Varint), 1)
	}
	return append(b, Tag(anyBool, Varint), 0)
}

func appendAnyValue(b []byte, v attribute.Value, depth int) []byte {
	switch v.Type() {
	case attribute.EMPTY:
		return b
	case attribute.BOOL:
		return appendBool(b, v.AsBool())
	case attribute.INT64:
		return AppendUint(b, anyInt, uint64(v.AsInt64()))
	case attribute.FLOAT64:
		return AppendDouble(b, anyDouble, v.AsFloat64())
	case attribute.STRING:
		return AppendString(b, anyString, v.AsString())
	}
	if depth == 0 {
		return b
	}
	depth--
	switch v.Type() {
	case attribute.BYTESLICE:
		return AppendBytes(b, anyBytes, v.AsByteSlice())
	case attribute.MAP:
		kvs := v.AsMap() // sorted by key, equal keys in the order in which they were given
		b, list := Open(b, anyList)
		for i := range kvs {
			if i+1 == len(kvs) || kvs[i+1].Key != kvs[i].Key {
				b = appendKeyValue(b, elements, kvs[i], depth)
			}
		}
		return Close(b, list)
	case attribute.BOOLSLICE:
		b, array := Open(b, anyArray)
		for _, e := range v.AsBoolSlice() {
			b = appendBool(append(b, Tag(elements, Bytes), 2), e)
		}
		return Close(b, array)
	case attribute.INT64SLICE:
		b, array := Open(b, anyArray)
		for _, e := range v.AsInt64Slice() {
			b = append(b, Tag(elements, Bytes), byte(1+SizeVarint(uint64(e))))
			b = AppendUint(b, anyInt, uint64(e))
		}
		return Close(b, array)
	case attribute.FLOAT64SLICE:
		b, array := Open(b, anyArray)
		for _, e := range v.AsFloat64Slice() {
			b = AppendDouble(append(b, Tag(elements, Bytes), 9), anyDouble, e)
		}
		return Close(b, array)
	case attribute.STRINGSLICE:
		b, array := Open(b, anyArray)
		for _, e := range v.AsStringSlice() {
			var at int
			b, at = Open(b, elements)
			b = Close(AppendString(b, anyString, e), at)
		}
		return Close(b, array)
	case attribute.SLICE:
		b, array := Open(b, anyArray)
		for _, e := range v.AsSlice() {
			var at int
			b, at = Open(b, elements)
			b = Close(appendAnyValue(b, e, depth), at)
		}
		return Close(b, array)
	}
	return AppendString(b, anyString, "INVALID") // as the SDK writes a type that it does not know
}
