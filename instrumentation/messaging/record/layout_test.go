package record

import (
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/hoptrace/hoptrace/instrumentation/messaging/internal/protowire"
)

func TestVarintsAreWrittenAsProtobufWritesThem(t *testing.T) {
	f := func(v uint64) {
		t.Helper()
		want := string(protowire.AppendVarint([]byte("x"), v))
		if got := string(appendVarint([]byte("x"), v)); got != want {
			t.Fatalf("appendVarint(%#x) = %x; want %x", v, got, want)
		}
	}
	for bit := range 64 {
		for _, v := range []uint64{1 << bit, 1<<bit - 1, ^uint64(0) >> bit, ^uint64(0) << bit} {
			f(v)
		}
		for range 1000 {
			f(rand.Uint64() >> bit)
		}
	}
}

func TestALayoutNeedsNoFields(t *testing.T) {
	s := span(0)
	s.Set(3, 1)
	var none *Layout
	if got := none.Append(nil, &s); got != nil {
		t.Errorf("%v; want nothing", got)
	}
	if got := NewLayout().Append(nil, &s); got != nil {
		t.Errorf("%v; want nothing", got)
	}
}

func TestTheCollectorHasNothingToLookForInRecords(t *testing.T) {
	var look func(path string, typ reflect.Type)
	look = func(path string, typ reflect.Type) {
		switch typ.Kind() {
		case reflect.Struct:
			for i := range typ.NumField() {
				look(path+"."+typ.Field(i).Name, typ.Field(i).Type)
			}
		case reflect.Array:
			look(path+"[]", typ.Elem())
		case reflect.Uint8, reflect.Uint32, reflect.Int64:
		default:
			t.Errorf("%s is a %v, which may hold a pointer", path, typ)
		}
	}
	look("rec", reflect.TypeFor[rec]())
	if size := reflect.TypeFor[rec]().Size(); size > 272 {
		t.Errorf("a record takes %d bytes; MaxSpans promises about 300 with all around it", size)
	}
}
