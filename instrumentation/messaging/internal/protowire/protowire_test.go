package protowire

import (
	"math"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	refwire "google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
)

func anyOf(v attribute.Value) *common.AnyValue {
	list := func(vs ...*common.AnyValue) *common.AnyValue {
		return &common.AnyValue{Value: &common.AnyValue_ArrayValue{ArrayValue: &common.ArrayValue{Values: vs}}}
	}
	switch v.Type() {
	case attribute.BOOL:
		return &common.AnyValue{Value: &common.AnyValue_BoolValue{BoolValue: v.AsBool()}}
	case attribute.INT64:
		return &common.AnyValue{Value: &common.AnyValue_IntValue{IntValue: v.AsInt64()}}
	case attribute.FLOAT64:
		return &common.AnyValue{Value: &common.AnyValue_DoubleValue{DoubleValue: v.AsFloat64()}}
	case attribute.STRING:
		return &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: v.AsString()}}
	case attribute.BYTESLICE:
		return &common.AnyValue{Value: &common.AnyValue_BytesValue{BytesValue: v.AsByteSlice()}}
	case attribute.BOOLSLICE:
		a := list()
		for _, e := range v.AsBoolSlice() {
			a.GetArrayValue().Values = append(a.GetArrayValue().Values, anyOf(attribute.BoolValue(e)))
		}
		return a
	case attribute.INT64SLICE:
		a := list()
		for _, e := range v.AsInt64Slice() {
			a.GetArrayValue().Values = append(a.GetArrayValue().Values, anyOf(attribute.Int64Value(e)))
		}
		return a
	case attribute.FLOAT64SLICE:
		a := list()
		for _, e := range v.AsFloat64Slice() {
			a.GetArrayValue().Values = append(a.GetArrayValue().Values, anyOf(attribute.Float64Value(e)))
		}
		return a
	case attribute.STRINGSLICE:
		a := list()
		for _, e := range v.AsStringSlice() {
			a.GetArrayValue().Values = append(a.GetArrayValue().Values, anyOf(attribute.StringValue(e)))
		}
		return a
	case attribute.SLICE:
		a := list()
		for _, e := range v.AsSlice() {
			a.GetArrayValue().Values = append(a.GetArrayValue().Values, anyOf(e))
		}
		return a
	case attribute.MAP:
		l := &common.KeyValueList{}
		for _, kv := range v.AsMap() {
			l.Values = append(l.Values, &common.KeyValue{Key: string(kv.Key), Value: anyOf(kv.Value)})
		}
		return &common.AnyValue{Value: &common.AnyValue_KvlistValue{KvlistValue: l}}
	}
	return &common.AnyValue{}
}

func TestAttributesReadBackAsOTLP(t *testing.T) {
	f := func(kv attribute.KeyValue) {
		t.Helper()
		b := AppendKeyValue(nil, 1, kv)
		var got common.KeyValueList // field 1 of it is a repeated KeyValue
		if err := proto.Unmarshal(b, &got); err != nil {
			t.Fatalf("%v: %v", kv, err)
		}
		want := &common.KeyValueList{Values: []*common.KeyValue{{Key: string(kv.Key), Value: anyOf(kv.Value)}}}
		if diff := cmp.Diff(want, &got, protocmp.Transform()); diff != "" {
			t.Errorf("%v (-want +got):\n%s", kv, diff)
		}
	}
	long := strings.Repeat("ö", 20000)
	f(attribute.KeyValue{Key: "empty"})
	f(attribute.Bool("b", true))
	f(attribute.Bool("b", false))
	f(attribute.Int64("i", 0))
	f(attribute.Int64("i", -1))
	f(attribute.Int64("i", math.MaxInt64))
	f(attribute.Float64("f", math.Inf(-1)))
	f(attribute.Float64("f", 0))
	f(attribute.String("s", ""))
	f(attribute.String("s", "Grüße"))
	f(attribute.String(long, long))
	f(attribute.BoolSlice("bs", []bool{true, false}))
	f(attribute.BoolSlice("bs", nil))
	f(attribute.Int64Slice("is", []int64{0, -1, 300, math.MinInt64}))
	f(attribute.Float64Slice("fs", []float64{0, 1.5, math.MaxFloat64}))
	f(attribute.StringSlice("ss", []string{"", "a", long}))
	f(attribute.KeyValue{Key: "bytes", Value: attribute.ByteSliceValue([]byte{0, 255, 128})})
	f(attribute.KeyValue{Key: "mixed", Value: attribute.SliceValue(
		attribute.IntValue(1), attribute.StringValue(long), attribute.SliceValue(attribute.BoolValue(true)), attribute.Value{})})
	f(attribute.KeyValue{Key: "map", Value: attribute.MapValue(
		attribute.Int("b", 1), attribute.String("a", long), attribute.KeyValue{Key: "c", Value: attribute.MapValue(attribute.Int("d", 2))})})
}

func TestTheLastOfEqualKeysInAMapCounts(t *testing.T) {
	v := attribute.MapValue(attribute.Int("a", 1), attribute.Int("b", 2), attribute.Int("a", 3))
	var got common.AnyValue
	if err := proto.Unmarshal(AppendAnyValue(nil, v), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(anyOf(attribute.MapValue(attribute.Int("a", 3), attribute.Int("b", 2))), &got, protocmp.Transform()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestNestingIsCutAtTheSDKsDepth(t *testing.T) {
	v := attribute.IntValue(1)
	for range 100 {
		v = attribute.SliceValue(v)
	}
	var got common.AnyValue
	if err := proto.Unmarshal(AppendAnyValue(nil, v), &got); err != nil {
		t.Fatal(err)
	}
	depth := 0
	for e := &got; e.GetArrayValue() != nil; e = e.GetArrayValue().Values[0] {
		depth++
	}
	if depth != 64 {
		t.Errorf("%d levels; want 64", depth)
	}
}

func TestWhatIsNotUTF8IsReplaced(t *testing.T) {
	var got common.KeyValueList
	if err := proto.Unmarshal(AppendKeyValue(nil, 1, attribute.String("k\xff", "a\xc3\x28\xff\xfeb")), &got); err != nil {
		t.Fatal(err)
	}
	kv := got.Values[0]
	if kv.Key != "k\uFFFD" || kv.Value.GetStringValue() != "a\uFFFD(\uFFFDb" {
		t.Errorf("got %q: %q", kv.Key, kv.Value.GetStringValue())
	}
}

func TestNumbersAreWrittenAsTheReferenceWritesThem(t *testing.T) {
	for bit := range 64 {
		for _, v := range []uint64{0, 1 << bit, 1<<bit - 1, ^uint64(0) >> bit} {
			if got, want := AppendVarint(nil, v), refwire.AppendVarint(nil, v); string(got) != string(want) {
				t.Fatalf("varint %d: %x; want %x", v, got, want)
			}
			if got, want := SizeVarint(v), refwire.SizeVarint(v); got != want {
				t.Fatalf("size of %d: %d; want %d", v, got, want)
			}
			got := AppendSint(AppendFixed32(AppendFixed64(nil, 300, v), 16, uint32(v)), 2, int64(v))
			want := refwire.AppendFixed64(refwire.AppendTag(nil, 300, refwire.Fixed64Type), v)
			want = refwire.AppendFixed32(refwire.AppendTag(want, 16, refwire.Fixed32Type), uint32(v))
			want = refwire.AppendVarint(refwire.AppendTag(want, 2, refwire.VarintType), refwire.EncodeZigZag(int64(v)))
			if string(got) != string(want) {
				t.Fatalf("fields of %d: %x; want %x", v, got, want)
			}
		}
	}
}

func TestMessagesOfEveryLengthOfLengthClose(t *testing.T) {
	for _, n := range []int{0, 1, 127, 128, 16383, 16384, 1<<21 - 1, 1 << 21} {
		b, at := Open([]byte("before"), 3)
		b = append(Close(append(b, strings.Repeat("x", n)...), at), "after"...)
		want := refwire.AppendBytes(refwire.AppendTag([]byte("before"), 3, refwire.BytesType), []byte(strings.Repeat("x", n)))
		if string(b) != string(want)+"after" {
			t.Fatalf("a message of %d bytes is wrong", n)
		}
	}
}

func FuzzStringsReadBack(f *testing.F) {
	f.Add("key", "value")
	f.Add("", "\xff")
	f.Fuzz(func(t *testing.T, k, v string) {
		var got common.KeyValueList
		if err := proto.Unmarshal(AppendKeyValue(nil, 1, attribute.String(k, v)), &got); err != nil {
			t.Fatal(err)
		}
		kv := got.Values[0]
		if utf8.ValidString(k) && kv.Key != k || utf8.ValidString(v) && kv.Value.GetStringValue() != v {
			t.Errorf("got %q: %q; want %q: %q", kv.Key, kv.Value.GetStringValue(), k, v)
		}
	})
}

func TestScalarsDoNotAllocate(t *testing.T) {
	b := make([]byte, 0, 1024)
	kvs := []attribute.KeyValue{attribute.String("a", "b"), attribute.Int("c", 1), attribute.Bool("d", true), attribute.Float64("e", 1.5)}
	if n := testing.AllocsPerRun(100, func() { b = AppendKeyValues(b[:0], 1, kvs) }); n != 0 {
		t.Errorf("%v allocations; want 0", n)
	}
}
