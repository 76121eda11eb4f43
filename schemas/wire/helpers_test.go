package wire

import (
	"math"
	"testing"

	"github.com/go-faster/jx"
	"github.com/tinylib/msgp/msgp"
)

// The generator calls these for what a schema may say and none says so far.
func TestWordsOfSchemasThatNoRecordUsesYet(t *testing.T) {
	f := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s gives %q; want %q", what, got, want)
		}
	}
	fault := func(e *Error) string {
		if e == nil {
			return ""
		}
		return e.Problem
	}

	for _, v := range []float64{0, -1.5, 7, math.MaxFloat64} {
		text := string(appendJSONFloat(nil, v))
		if got, e := jsonFloat(jx.DecodeStr(text)); e != nil || got != v {
			t.Errorf("%s is read as %v (%s)", text, got, fault(e))
		}
		if got, rest, e := readFloat(msgp.AppendFloat64(nil, v)); e != nil || got != v || len(rest) != 0 {
			t.Errorf("msgpack of %s is read as %v (%s)", text, got, fault(e))
		}
	}
	for v, b := range map[float64][]byte{-3: msgp.AppendInt64(nil, -3), 1 << 63: msgp.AppendUint64(nil, 1<<63), 0.5: msgp.AppendFloat32(nil, 0.5)} {
		if got, rest, e := readFloat(b); e != nil || got != v || len(rest) != 0 {
			t.Errorf("% x is read as %v (%s); want %v", b, got, fault(e), v)
		}
		if _, _, e := readFloat(b[:len(b)-1]); len(b) > 1 && e == nil {
			t.Errorf("% x without its end is read", b)
		}
	}
	_, e := jsonFloat(jx.DecodeStr(`"1"`))
	f("a text as number", fault(e), "want a number, got string")
	_, _, e = readFloat(msgp.AppendString(nil, "1"))
	f("a text as number of msgpack", fault(e), "want a number, got str")

	colours := []string{"red", "green"}
	got, e := jsonEnum(jx.DecodeStr(`"green"`), colours)
	f("one of the values", got+fault(e), "green")
	_, e = jsonEnum(jx.DecodeStr(`"blue"`), colours)
	f("another value", fault(e), `want "red" or "green", got "blue"`)
	_, e = jsonEnum(jx.DecodeStr(`1`), colours)
	f("a number as value", fault(e), "want a string, got number")

	f("the constant", fault(jsonConstInt(jx.DecodeStr(`3`), 3)), "")
	f("another integer", fault(jsonConstInt(jx.DecodeStr(`2`), 3)), "want 3, got 2")
}
