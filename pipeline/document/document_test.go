package document

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/hoptrace/hoptrace/internal/testevents"
)

func parse(t testing.TB, text string) (*Document, *Node) {
	t.Helper()
	d := &Document{}
	n, err := d.Parse([]byte(text))
	if err != nil {
		t.Fatalf("Parse(%.100q): %v", text, err)
	}
	return d, n
}

func TestWhatNobodyChangesIsWrittenAsItCame(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		_, n := parse(t, text)
		if got := string(n.AppendJSON(nil)); got != want {
			t.Errorf("%q is written as %q, want %q", text, got, want)
		}
	}
	f(`{}`, `{}`)
	f(" [ 1 , -2.50e3 , \"a\\u00e9\" ]\n", `[1,-2.50e3,"a\u00e9"]`)
	f(`{"a":{"b":[true,false,null]},"a":2}`, `{"a":{"b":[true,false,null]},"a":2}`)
	f(`{"\u0061\"\\":1}`, `{"a\"\\":1}`)
	f("\"\xff\"", "\"\uFFFD\"")
	f(`"\ud800"`, `"\ud800"`)
}

func TestBrokenJSONIsRefusedWithThePlace(t *testing.T) {
	for text, want := range map[string]string{
		``: "ends at byte 0", `{"a":`: "ends at byte", `{"a":[1,}`: "byte 7", `nul`: "byte", `[] x`: "byte 3", `{} {}`: "follows the value", `[01]`: "byte 2", "\"\n\"": "byte 1",
	} {
		var d Document
		if _, err := d.Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%q) failed with %v, want an error with %q", text, err, want)
		}
	}
}

func TestATreeIsBounded(t *testing.T) {
	_, n := parse(t, strings.Repeat("[", 200)+strings.Repeat("]", 200))
	depth := 0
	for ; n.First() != nil; n = n.First() {
		depth++
	}
	if depth != MaxDepth || !n.Opaque() {
		t.Errorf("nodes go %d deep, want %d and then an opaque one", depth, MaxDepth)
	}
	d, n := parse(t, "["+strings.Repeat(`{"a":1,"b":[2]},`, 100_000)+"1]")
	if d.used > MaxNodes || n.Dropped() == 0 || !json.Valid(n.AppendJSON(nil)) {
		t.Errorf("%d nodes, want at most %d", d.used, MaxNodes)
	}
	d.Reset()
	if len(d.chunks) > keptChunks {
		t.Errorf("%d chunks are kept, want at most %d", len(d.chunks), keptChunks)
	}
}

func TestChangesAreWritten(t *testing.T) {
	d, n := parse(t, `{"a":1,"b":[1,2,3],"c":"x","a":2}`)
	n.Get("b").Keep(func(c *Node) bool { return c.Raw() != "2" })
	n.Get("b").Append(d.String("\"\x00ü\xff"))
	n.Set("c", d.Object())
	n.Get("c").Set("d", d.Bool(true))
	n.Get("c").Set("e", d.Null())
	n.Set("f", d.Int(-7))
	n.Get("c").Get("e").Rename("g")
	if got := n.Get("a").Raw(); got != "2" {
		t.Errorf("of two a, Get gave %s, want the last", got)
	}
	n.Delete("a")
	want := `{"b":[1,3,"\"\u0000ü` + "\uFFFD" + `"],"c":{"d":true,"g":null},"f":-7}`
	if d := cmp.Diff(want, string(n.AppendJSON(nil))); d != "" {
		t.Error(d)
	}
}

func FuzzDocument(f *testing.F) {
	for _, seed := range []string{`{"a":[1,{"b":"\ud800\u0000"}],"a":1e9}`, `[[[[]]]]`, `"x"`, "{\"\xff\":0}"} {
		f.Add([]byte(seed))
	}
	var d, again Document
	f.Fuzz(func(t *testing.T, payload []byte) {
		n, err := d.Parse(bytes.Clone(payload))
		if want := json.Valid(payload); (err == nil) != want && strings.Count(string(payload), "[")+strings.Count(string(payload), "{") < 10_000 {
			t.Fatalf("encoding/json says %v, we say %v", want, err)
		}
		if err != nil {
			return
		}
		text := n.AppendJSON(nil)
		if utf8.Valid(payload) {
			// What the fast way takes, the slow one takes for the same.
			if slow, err := again.readSlowly(payload); err != nil || !same(n, slow) {
				t.Fatalf("%q is read fast as %q, slowly as another: %v", payload, text, err)
			}
		}
		if !json.Valid(text) {
			t.Fatalf("%q became %q", payload, text)
		}
		if n, err = again.Parse(text); err != nil || !bytes.Equal(n.AppendJSON(nil), text) {
			t.Fatalf("%q is read and written as another: %v", text, err)
		}
	})
}

func TestNamesThatMustBeEscapedAreFound(t *testing.T) {
	var d Document
	root, err := d.Parse([]byte(`{"\b":1,"a\\b":2,"q\"":3,"\u0061":4,"é":5}`))
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"\b": "1", `a\b`: "2", `q"`: "3", "a": "4", "é": "5"} {
		if got := root.Get(key).Scalar(); got != want {
			t.Errorf("Get(%q) = %q, want %q", key, got, want)
		}
		root.Set(key, d.Int(9))
		if got := root.Get(key).Scalar(); got != "9" {
			t.Errorf("after Set(%q) Get gives %q", key, got)
		}
	}
	if n := root.Len(); n != 5 {
		t.Errorf("the object has %d members, want 5", n)
	}
	if root.Get(`\b`) != nil {
		t.Error(`a name is found by how it is escaped`)
	}
}

// same tells that two trees are equal, with what was left out of them.
func same(a, b *Node) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.kind == b.kind && a.opaque == b.opaque && a.count == b.count && a.dropped == b.dropped && a.name == b.name && a.raw == b.raw &&
		same(a.first, b.first) && same(a.next, b.next)
}

func TestSoundJSONIsReadTheFastWay(t *testing.T) {
	for _, text := range []string{
		` {"a" : [ 1 , -2.50e3,0, 1E+2,"a\u00e9\n\/" , [] , { } , null,true, false ] ,"":{"b":"ü"}}`, "7 ", `"x"`,
		strings.Repeat("[", MaxDepth-1) + strings.Repeat("]", MaxDepth-1), string(testevents.Python(1, 1)),
	} {
		var fast, slow Document
		a, ok := fast.read([]byte(text))
		if !ok {
			t.Errorf("%.100q is not read the fast way", text)
			continue
		}
		if b, err := slow.readSlowly([]byte(text)); err != nil || !same(a, b) {
			t.Errorf("%.100q is read slowly as another: %v", text, err)
		}
	}
	for _, text := range []string{
		``, ` `, `[`, `{`, `{"a"`, `{"a":`, `{"a":1`, `{"a":1,`, `{"a":1,}`, `[1,]`, `[1 2]`, `{"a" 1}`, `{1:2}`, `[}`, `{]`, `]`, `01`, `1.`, `1e`, `-`, `+1`, `.5`,
		`tru`, `nulll`, `"`, "\"\n\"", `"\x"`, `"\u12"`, `"\ud800"`, `[] []`, `{"a":1}}`, `[[1]`, strings.Repeat("[", MaxDepth+1) + strings.Repeat("]", MaxDepth+1),
	} {
		var d Document
		if _, ok := d.read([]byte(text)); ok {
			t.Errorf("%.100q is read the fast way", text)
		}
	}
}
