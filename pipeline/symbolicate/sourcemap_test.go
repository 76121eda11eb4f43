package symbolicate

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// encode writes mappings, a slice a generated line; it is the decoder's mirror.
func encode(lines [][]token) string {
	const base64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	var b strings.Builder
	number := func(v int64) {
		u := v << 1
		if v < 0 {
			u = -v<<1 | 1
		}
		for {
			d := u & 31
			if u >>= 5; u > 0 {
				d |= 32
			}
			b.WriteByte(base64[d])
			if u == 0 {
				return
			}
		}
	}
	var source, line, column, name int64
	for i, l := range lines {
		if i > 0 {
			b.WriteByte(';')
		}
		generated := int64(0)
		for j, t := range l {
			if j > 0 {
				b.WriteByte(',')
			}
			number(int64(t.generated) - generated)
			generated = int64(t.generated)
			if t.source < 0 {
				continue
			}
			number(int64(t.source) - source)
			number(int64(t.line) - line)
			number(int64(t.column) - column)
			source, line, column = int64(t.source), int64(t.line), int64(t.column)
			if t.name >= 0 {
				number(int64(t.name) - name)
				name = int64(t.name)
			}
		}
	}
	return b.String()
}

// randomLines are n generated lines of mappings to 10 sources and 20 names.
func randomLines(r *rand.Rand, n int) [][]token {
	lines := make([][]token, n)
	for i := range lines {
		column := uint32(0)
		for range r.IntN(30) {
			column += 1 + uint32(r.IntN(1<<r.IntN(20)))
			t := token{generated: column, source: -1, name: -1}
			if r.IntN(10) > 0 {
				t.source, t.line, t.column = int32(r.IntN(10)), uint32(r.IntN(1<<r.IntN(24))), uint32(r.IntN(1<<r.IntN(24)))
				if r.IntN(2) > 0 {
					t.name = int32(r.IntN(20))
				}
			}
			lines[i] = append(lines[i], t)
		}
	}
	return lines
}

func numbered(prefix string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprint(prefix, i)
	}
	return out
}

func mapOf(lines [][]token, more map[string]any) []byte {
	m := map[string]any{"version": 3, "sources": numbered("s", 10), "names": numbered("n", 20), "mappings": encode(lines)}
	for k, v := range more {
		m[k] = v
	}
	b, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return b
}

func decode(t testing.TB, data []byte) *sourceMap {
	t.Helper()
	m, err := decodeMap(data)
	if err != nil {
		t.Fatalf("decodeMap(%.200s): %v", data, err)
	}
	return m
}

func linesOf(m *sourceMap) [][]token {
	out := make([][]token, len(m.lines)-1)
	for i := range out {
		out[i] = m.tokens[m.lines[i]:m.lines[i+1]]
	}
	return out
}

var tokens = cmp.AllowUnexported(token{})

func TestMappingsComeBackAsTheyWereWritten(t *testing.T) {
	for seed := range uint64(200) {
		want := randomLines(rand.New(rand.NewPCG(seed, 1)), 1+int(seed)%20)
		m := decode(t, mapOf(want, nil))
		got := linesOf(m)
		for i := range want {
			if !slices.Equal(got[i], want[i]) {
				t.Fatalf("seed %d, line %d: got + want -:\n%s", seed, i, cmp.Diff(want[i], got[i], tokens))
			}
			for _, w := range want[i] {
				if got, ok := m.find(uint32(i), w.generated); !ok || *got != w {
					t.Fatalf("seed %d: find(%d, %d) = %v, %v; want %v", seed, i, w.generated, got, ok, w)
				}
			}
		}
	}
}

func TestPositionBelongsToTheTokenBefore(t *testing.T) {
	m := decode(t, mapOf([][]token{{{generated: 5, source: 1, line: 7, column: 2, name: 3}, {generated: 9, source: -1, name: -1}}, {}, {{generated: 0, source: 0, name: -1}}}, nil))
	f := func(line, column uint32, want int) {
		t.Helper()
		got, ok := m.find(line, column)
		if ok != (want >= 0) || ok && got != &m.tokens[want] {
			t.Errorf("find(%d, %d) = %v, %v; want token %d", line, column, got, ok, want)
		}
	}
	f(0, 4, -1)
	f(0, 5, 0)
	f(0, 8, 0)
	f(0, 9, 1)
	f(0, 1<<30, 1)
	f(1, 0, -1)
	f(2, 3, 2)
	f(3, 0, -1)
	f(1<<31, 0, -1)
}

func TestTokensOutOfOrderAreSorted(t *testing.T) {
	m := decode(t, mapOf([][]token{{{generated: 9, source: 0, name: -1}, {generated: 2, source: 1, name: -1}}}, nil))
	if got, ok := m.find(0, 3); !ok || got.source != 1 {
		t.Errorf("find(0, 3) = %v, %v; want the token at 2", got, ok)
	}
}

func TestPartsOfAMapAreRead(t *testing.T) {
	line := [][]token{{{generated: 0, source: 0, name: 0}}}
	f := func(more map[string]any, check func(m *sourceMap) string) {
		t.Helper()
		if fault := check(decode(t, mapOf(line, more))); fault != "" {
			t.Errorf("%v: %s", more, fault)
		}
	}
	names := func(want ...string) func(m *sourceMap) string {
		return func(m *sourceMap) string {
			var got []string
			for _, s := range m.sources {
				got = append(got, s.name)
			}
			return cmp.Diff(want, got)
		}
	}
	f(map[string]any{"sourceRoot": "src", "sources": []any{"a.ts", "/b.ts", "webpack:///c.ts", nil}}, names("src/a.ts", "/b.ts", "webpack:///c.ts", "src/"))
	f(map[string]any{"sourceRoot": "webpack:///x/", "sources": []string{"./a.ts"}}, names("webpack:///x/./a.ts"))
	f(map[string]any{"sourceRoot": nil, "sources": []string{`q"\ü☃.ts`}}, names(`q"\ü☃.ts`))
	ignored := func(want ...int) func(m *sourceMap) string {
		return func(m *sourceMap) string {
			var got []int
			for i, s := range m.sources {
				if s.ignored {
					got = append(got, i)
				}
			}
			return cmp.Diff(want, got)
		}
	}
	f(map[string]any{"ignoreList": []int{1, 3, 99, -1}}, ignored(1, 3))
	f(map[string]any{"x_google_ignoreList": []int{2}}, ignored(2))
	f(map[string]any{"ignoreList": []int{}}, ignored())
	content := func(want ...string) func(m *sourceMap) string {
		return func(m *sourceMap) string {
			var got []string
			for _, s := range m.sources[:3] {
				if s.text == nil {
					got = append(got, "-")
				} else {
					got = append(got, s.text.s)
				}
			}
			return cmp.Diff(want, got)
		}
	}
	f(map[string]any{"sourcesContent": []any{"a\nb", nil, ""}}, content("a\nb", "-", ""))
	f(map[string]any{"sourcesContent": []any{"a"}}, content("a", "-", "-"))
	f(map[string]any{"sourcesContent": nil}, content("-", "-", "-"))
	m := decode(t, append([]byte(")]}'\n"), mapOf(line, nil)...))
	if len(m.tokens) != 1 {
		t.Errorf("a map behind )]}' has %d tokens, want 1", len(m.tokens))
	}
	m = decode(t, append([]byte("\xef\xbb\xbf"), mapOf(line, nil)...))
	if len(m.tokens) != 1 {
		t.Errorf("a map behind a byte order mark has %d tokens, want 1", len(m.tokens))
	}
}

func TestSectionsAreOneMap(t *testing.T) {
	section := func(line, column int, m []byte) map[string]any {
		return map[string]any{"offset": map[string]int{"line": line, "column": column}, "map": json.RawMessage(m)}
	}
	one := func(generated, line uint32) token { return token{generated: generated, line: line, source: 2, name: 4} }
	index, err := json.Marshal(map[string]any{"version": 3, "sections": []any{
		section(1, 10, mapOf([][]token{{one(0, 1), one(5, 2), one(200, 3)}}, map[string]any{"ignoreList": []int{2}})), // what begins behind the next section's begin is not of it
		section(1, 100, mapOf([][]token{{one(3, 4)}, {one(3, 5)}}, nil)),
		section(4, 0, mapOf([][]token{{one(0, 6)}}, nil)),
	}})
	if err != nil {
		t.Fatal(err)
	}
	m := decode(t, index)
	at := func(generated, line uint32, nth int32) token {
		return token{generated: generated, line: line, source: 2 + 10*nth, name: 4 + 20*nth}
	}
	want := [][]token{{}, {at(10, 1, 0), at(15, 2, 0), at(103, 4, 1)}, {at(3, 5, 1)}, {}, {at(0, 6, 2)}}
	if d := cmp.Diff(want, linesOf(m), tokens, cmp.Transformer("empty", func(l []token) []token { return append([]token{}, l...) })); d != "" {
		t.Errorf("got + want -:\n%s", d)
	}
	if !m.sources[2].ignored || m.sources[12].ignored {
		t.Error("the ignore list of the first section is not that of the first section's sources")
	}
}

func TestFaultsOfAMapAreNamed(t *testing.T) {
	f := func(data, want string) {
		t.Helper()
		m, err := decodeMap([]byte(data))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("decodeMap(%.100q) = %v, %v; want an error with %q", data, m, err, want)
		}
	}
	one := func(mappings string) string {
		return `{"version":3,"sources":["a"],"names":["n"],"mappings":"` + mappings + `"}`
	}
	f("", "unexpected end")
	f("[]", "cannot be read")
	f("{}", "version 0, want 3")
	f(`{"version":2}`, "version 2, want 3")
	f(one("A!"), `mappings at 1: '!' is no base64`)
	f(one("AA"), "a segment of 2 numbers")
	f(one("AAA"), "a segment of 3 numbers")
	f(one("AAAAAA"), "more than 5 numbers")
	f(one("g"), "breaks off")
	f(one("ggggggggA"), "more than 32 bits")
	f(one("ACAA"), "source 1 of 1")
	f(one("ADAA"), "source -1 of 1")
	f(one("AAAAC"), "name 1 of 1")
	f(one("AADA"), "line -1")
	f(one("D"), "generated column -1")
	f(`{"version":3,"sections":[{"offset":{"line":0,"column":0},"url":"a.map"}]}`, "section 0 has no map")
	f(`{"version":3,"sections":[{"offset":{"line":0,"column":0},"map":{"version":3,"sections":[]}}]}`, "sections within a section")
	f(`{"version":3,"sections":[{"offset":{"line":-1,"column":0},"map":{"version":3}}]}`, "cannot be read")
	f(`{"version":3,"sections":[{"offset":{"line":2,"column":0},"map":{"version":3}},{"offset":{"line":1,"column":0},"map":{"version":3}}]}`, "section 1 begins before section 0")
	f(`{"version":3,"sections":[{"offset":{"line":4000000000,"column":0},"map":{"version":3}}]}`, "lines of generated code")
	f(`{"version":3,"sources":{}}`, "no array")
}

func TestBombsTakeLittleMemory(t *testing.T) {
	f := func(name, data, want string) {
		t.Helper()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := decodeMap([]byte(data))
		runtime.ReadMemStats(&after)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got error %v, want one with %q", name, err, want)
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > 16*uint64(len(data)) {
			t.Errorf("%s: %d bytes were allocated for %d", name, took, len(data))
		}
	}
	f("lines", `{"version":3,"mappings":"`+strings.Repeat(";", 16<<20)+`"}`, "lines of generated code")
	f("mappings", `{"version":3,"mappings":"`+strings.Repeat("A,", 8<<20)+`"}`, "mappings")
	f("names", `{"version":3,"names":[`+strings.Repeat(`"",`, 4<<20)+`""]}`, "more than 2097152 elements")
	f("sources", `{"version":3,"sources":[`+strings.Repeat(`"",`, 1<<20)+`""]}`, "a list of sources of more than 200000 elements")
	f("ignore list", `{"version":3,"ignoreList":[`+strings.Repeat(`0,`, 4<<20)+`0]}`, "more than 200000 elements")
	f("sections", `{"version":3,"sections":[`+strings.Repeat(`{},`, 1<<20)+`{}]}`, "more than 10000 elements")
	f("depth", `{"version":3,"x":`+strings.Repeat(`[`, 1<<20), "cannot be read")
}

func TestLinesOfATextAreFound(t *testing.T) {
	f := func(s string, want ...string) {
		t.Helper()
		x := &text{s: s}
		var got []string
		for i := range x.count() {
			l, _ := x.line(i)
			got = append(got, l)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%q: got + want -:\n%s", s, d)
		}
		if _, ok := x.line(x.count()); ok {
			t.Errorf("%q has a line behind the last", s)
		}
		if _, ok := x.line(-1); ok {
			t.Errorf("%q has a line before the first", s)
		}
	}
	f("", "")
	f("a", "a")
	f("a\nb\r\n\nc\n", "a", "b", "", "c", "")
}

func TestColumnsAreUTF16Units(t *testing.T) {
	x := &text{s: "a☃😀b"}
	for column, want := range map[uint32]int{0: 0, 1: 1, 2: 4, 4: 8, 5: 9, 6: -1} {
		if got := x.byteOffset(x.s, column); got != want {
			t.Errorf("column %d is at byte %d, want %d", column, got, want)
		}
		if want >= 0 {
			if got := x.column(x.s[:want]); got != column {
				t.Errorf("byte %d is at column %d, want %d", want, got, column)
			}
		}
	}
}

func TestLongLinesAreCutAroundTheColumn(t *testing.T) {
	l := strings.Repeat("a", 1000) + "HERE" + strings.Repeat("b", 1000)
	if got := around(l, 1000); len(got) != maxLine || !strings.Contains(got, "HERE") {
		t.Errorf("around cut %d bytes: %q", len(got), got)
	}
	for _, column := range []int{0, len(l), 1 << 30} {
		if got := around(l, column); len(got) != maxLine {
			t.Errorf("around(%d) has %d bytes, want %d", column, len(got), maxLine)
		}
	}
}

func TestDeclarationsAreToldFromCalls(t *testing.T) {
	f := func(code, name string, want bool) {
		t.Helper()
		i := strings.Index(code, "§")
		code = strings.Replace(code, "§", "", 1)
		if got := isDeclaration(code, i, len(name)); got != want {
			t.Errorf("isDeclaration(%q at %d, %q) = %v, want %v", code, i, name, got, want)
		}
	}
	f("function §t(r){", "t", true)
	f("async function*§t(r){", "t", true)
	f("var §t=function(){", "t", true)
	f("var §t=async(a,b)=>a", "t", true)
	f("let §t=a=>a", "t", true)
	f("§t=async a=>a", "t", true)
	f("{§t:function(){}}", "t", true)
	f("class §e{", "e", true)
	f("var §e=class extends x{", "e", true)
	f("class e{§submit(n){", "submit", true)
	f("class e{a=1;§submit({a:b=(1)},...c){", "submit", true)
	f("x(),§t(r)", "t", false)
	f("return §t(r)}", "t", false)
	f("a.§t(r){", "t", false)
	f("§t=1", "t", false)
	f("§t=(1+2)*3", "t", false)
	f("§t==u", "t", false)
	f("x§t(r){", "t", false)
	f("myfunction §t(r)", "t", false)
	f("§t", "t", false)
	f("§t(", "t", false)
}

func FuzzDecodeMap(f *testing.F) {
	f.Add([]byte(read(f, "app.min.js.map")), uint32(0), uint32(40))
	f.Add(mapOf(randomLines(rand.New(rand.NewPCG(1, 1)), 5), map[string]any{"sourcesContent": []any{"a\nb", nil}, "ignoreList": []int{1}, "sourceRoot": "x"}), uint32(1), uint32(7))
	f.Add([]byte(`{"version":3,"sections":[{"offset":{"line":1,"column":2},"map":{"version":3,"sources":["a"],"names":[],"mappings":"AAAA;CAAC"}}]}`), uint32(2), uint32(0))
	f.Add([]byte(`{"version":3,"sources":["a"],"names":[1,null,{"x":[","]}],"mappings":"C,A;;AAAAC"}`), uint32(2), uint32(0))
	code := read(f, "app.min.js")
	f.Fuzz(func(t *testing.T, data []byte, line, column uint32) {
		m, err := decodeMap(data)
		if err != nil {
			return
		}
		for i := range m.lines[1:] {
			of := m.tokens[m.lines[i]:m.lines[i+1]]
			if !slices.IsSortedFunc(of, func(a, b token) int { return int(a.generated) - int(b.generated) }) {
				t.Fatalf("line %d is not sorted: %v", i, of)
			}
		}
		s := &script{m: m, code: &text{s: code}}
		var res Result
		frame := Frame{AbsPath: "a.js", Line: int(line%(1<<30)) + 1, Column: int(column % (1 << 30)), Function: "new e.c"}
		if s.resolve(&frame, &res) && (res.Line < 1 || res.Column < 1) {
			t.Fatalf("%+v became %+v", frame, res)
		}
		s.function(line%(1<<30), column%(1<<30), "e.submit")
		s.calledAs(line%(1<<30), column%(1<<30), "c")
	})
}

func FuzzDeclarations(f *testing.F) {
	f.Add(read(f, "app.min.js"), "c", uint32(40))
	f.Add("x=(((\n'", "x", uint32(3))
	m := decode(f, []byte(read(f, "app.min.js.map")))
	f.Fuzz(func(_ *testing.T, code, name string, column uint32) {
		s := &script{m: m, code: &text{s: code}}
		s.function(0, column, name)
		s.calledAs(0, column, name)
		referred(code, name)
		candidates(code)
		mappingURL(code)
	})
}
