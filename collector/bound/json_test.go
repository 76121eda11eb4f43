package bound

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
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
		// Members walks the same and gives what encoding/json reads.
		got := map[string]any{}
		walked := Members(data, 20, func(key, value []byte) error {
			var v any
			if err := json.Unmarshal(value, &v); err != nil {
				t.Fatalf("value %q: %v", value, err)
			}
			got[strings.ToValidUTF8(string(key), "\uFFFD")] = v
			return nil
		})
		if (walked == nil) != (CheckObject(data, 20) == nil) {
			t.Fatalf("Members says %v, CheckObject %v", walked, CheckObject(data, 20))
		}
		if walked == nil && utf8.Valid(data) {
			if d := cmp.Diff(m, got); d != "" {
				t.Fatalf("(-want +got):\n%s", d)
			}
		}
	})
}

func TestElementsAreWalkedInOrder(t *testing.T) {
	var got []string
	add := func(v []byte) error {
		got = append(got, string(v))
		return nil
	}
	if err := Elements([]byte(" [1, {\"a\":[ ]} ,\"]\" , []]\n"), 3, add); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"1", `{"a":[ ]}`, `"]"`, "[]"}, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	for data, want := range map[string]error{"{}": ErrNoArray, "": ErrNoArray, "[[[]]]": ErrNesting} {
		if err := Elements([]byte(data), 2, add); !errors.Is(err, want) {
			t.Errorf("Elements(%q) = %v; want %v", data, err, want)
		}
	}
	for _, data := range []string{"[", "[1", "[1,]", "[1 2]", "[]]", "[01]"} {
		if err := Elements([]byte(data), 2, add); err == nil {
			t.Errorf("Elements(%q) took broken JSON", data)
		}
	}
	if got, ok := Text([]byte(`"a\u0062"`)); got != "ab" || !ok {
		t.Errorf("Text = %q, %v", got, ok)
	}
	if _, ok := Text([]byte("1")); ok {
		t.Error("a number is a text")
	}
}
