package bound

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestObjectsAreCheckedWithoutRecursion(t *testing.T) {
	f := func(data string, depth int, want error) {
		t.Helper()
		if err := CheckObject([]byte(data), depth); !errors.Is(err, want) {
			t.Errorf("CheckObject(%.40q, %d) = %v; want %v", data, depth, err, want)
		}
	}
	nested := func(n int) string { return strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n) }
	f(`{}`, 1, nil)
	f(" \n{\"a\":\"}]\\\"{{{\"}\n", 1, nil)
	f(nested(200), 200, nil)
	f(nested(201), 200, ErrNesting)
	f(strings.Repeat(`{"a":[`, 10<<20/6), 200, ErrNesting)
	f(``, 10, ErrNoObject)
	f(`[]`, 10, ErrNoObject)
	f(`null`, 10, ErrNoObject)
	for _, broken := range []string{`{`, `{"a"}`, `{"a":1}}`, `{"a":1} x`, `{"a":"`, `{'a':1}`, "{\"a\":\"\x00\"}", `{"a":01}`} {
		if err := CheckObject([]byte(broken), 10); err == nil || errors.Is(err, ErrNesting) || errors.Is(err, ErrNoObject) {
			t.Errorf("CheckObject(%q) = %v; want what the parser says", broken, err)
		}
	}
}

// FuzzCheckObject: what passes is an object to encoding/json.
func FuzzCheckObject(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":[1,{"b":"\"]"}]}`, `[`, `{"`, ` {"a":null}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var m map[string]any
		err := json.Unmarshal(data, &m)
		isObject := err == nil && m != nil
		if got := CheckObject(data, 20) == nil; got && !isObject {
			t.Fatalf("accepted, but encoding/json says %v", err)
		} else if !got && isObject && !errors.Is(CheckObject(data, 20), ErrNesting) {
			t.Fatalf("refused an object: %v", CheckObject(data, 20))
		}
	})
}
