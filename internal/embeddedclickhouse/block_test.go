package embeddedclickhouse

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/ClickHouse/ch-go/proto"
)

func TestTypesAreParsed(t *testing.T) {
	f := func(typ, want string) {
		t.Helper()
		l, err := parseLayout(typ)
		if err != nil {
			t.Fatalf("parseLayout(%q): %v", typ, err)
		}
		if got := describeLayout(l); got != want {
			t.Fatalf("parseLayout(%q) = %s; want %s", typ, got, want)
		}
	}
	f("UInt8", "1")
	f("String", "str")
	f("FixedString(16)", "16")
	f("DateTime64(9, 'Europe/Berlin')", "8")
	f("Enum8('a(b' = 1, 'it\\'s, `x`' = 2)", "1")
	f("Decimal(9, 2)", "4")
	f("Decimal(10, 2)", "8")
	f("Decimal(38)", "16")
	f("Decimal(76, 1)", "32")
	f("Nullable(String)", "null(str)")
	f("Array(Array(UInt64))", "arr(arr(8))")
	f("Map(LowCardinality(String), String)", "arr(tuple(lc(str) str))")
	f("LowCardinality(Nullable(String))", "lc(str)")
	f("Tuple()", "1")
	f("Tuple(a UInt8, `b (c` Array(String), String)", "tuple(1 arr(str) str)")
	f("Nested(name LowCardinality(String), at DateTime64(9))", "arr(tuple(lc(str) 8))")
	f("Variant(String, UInt64)", "variant(str 8)")
	f("SimpleAggregateFunction(sum, UInt64)", "8")
	f("JSON(max_dynamic_paths=10)", "json")
	f("IntervalSecond", "8")
}

func TestTypesThatCannotBeWalkedAreErrors(t *testing.T) {
	f := func(typ string, unwalkable bool) {
		t.Helper()
		_, err := parseLayout(typ)
		if err == nil {
			t.Fatalf("parseLayout(%q) worked", typ)
		}
		if _, ok := errors.AsType[unwalkableError](err); ok != unwalkable {
			t.Fatalf("parseLayout(%q): %v; want an unwalkable type: %v", typ, err, unwalkable)
		}
	}
	f("AggregateFunction(sum, UInt64)", true)
	f("Dynamic", true)
	f("", true)
	f("Array(", false)
	f("Array)", true)
	f("Array(UInt8", false)
	f("Array(UInt8))", false)
	f("Array(UInt8, UInt8)", false)
	f("Nullable()", false)
	f("FixedString()", false)
	f("FixedString(-1)", false)
	f("FixedString(99999999999)", false)
	f("Decimal(77, 1)", false)
	f("Decimal(0)", false)
	f("SimpleAggregateFunction(sum)", false)
	f("Tuple(a 'x)", false)
	f(strings.Repeat("Array(", maxTypeDepth+1)+"UInt8"+strings.Repeat(")", maxTypeDepth+1), false)
	f("Tuple("+strings.Repeat("UInt8, ", maxTypeNodes)+"UInt8)", false)
}

func describeLayout(l *layout) string {
	var sub []string
	for _, c := range l.sub {
		sub = append(sub, describeLayout(c))
	}
	in := "(" + strings.Join(sub, " ") + ")"
	switch l.kind {
	case layoutFixed:
		var b proto.Buffer
		return string(appendInt(b.Buf, l.size))
	case layoutString:
		return "str"
	case layoutJSONText:
		return "json"
	case layoutNullable:
		return "null" + in
	case layoutArray:
		return "arr" + in
	case layoutTuple:
		return "tuple" + in
	case layoutLowCardinality:
		return "lc" + in
	default:
		return "variant" + in
	}
}

func appendInt(b []byte, n int) []byte {
	if n >= 10 {
		b = appendInt(b, n/10)
	}
	return append(b, byte('0'+n%10))
}

// nullableDictionary is a column that ch-go encodes wrongly: LowCardinality of
// Nullable, whose dictionary holds plain texts, the first for NULL.
func nullableDictionary() []byte {
	var b proto.Buffer
	b.PutUVarInt(1)
	b.PutUVarInt(3)
	b.PutString("lcn")
	b.PutString("LowCardinality(Nullable(String))")
	b.PutUInt64(1)     // serialization version
	b.PutUInt64(0x600) // flags: own keys, update; byte indexes
	b.PutUInt64(3)
	b.PutString("")
	b.PutString("")
	b.PutString("a")
	b.PutUInt64(3)
	b.Buf = append(b.Buf, 2, 0, 1)
	return b.Buf
}

// nativeSamples gives blocks at libchdb's revision.
func nativeSamples(t testing.TB) [][]byte {
	t.Helper()
	samples := [][]byte{nullableDictionary(), {0, 0}}
	var all proto.Input
	for _, col := range everyType() {
		for i := range 7 {
			col.fill(i)
		}
		if p, ok := col.col.(proto.Preparable); ok {
			if err := p.Prepare(); err != nil {
				t.Fatal(err)
			}
		}
		in := proto.Input{{Name: col.name, Data: col.col}}
		if strings.HasPrefix(col.typ, "Decimal") {
			in[0].Data = proto.Alias(col.col, proto.ColumnType(col.typ))
		}
		all = append(all, in...)
		var b proto.Buffer
		if err := (proto.Block{Rows: 7, Columns: 1}).EncodeRawBlock(&b, 0, in); err != nil {
			t.Fatal(err)
		}
		samples = append(samples, b.Buf)
	}
	var b proto.Buffer
	if err := (proto.Block{Rows: 7, Columns: len(all)}).EncodeRawBlock(&b, 0, all); err != nil {
		t.Fatal(err)
	}
	v := &variantColumn{values: []any{"a", uint64(1), nil, "b"}}
	var vb proto.Buffer
	if err := (proto.Block{Rows: 4, Columns: 1}).EncodeRawBlock(&vb, 0, proto.Input{{Name: "v", Data: v}}); err != nil {
		t.Fatal(err)
	}
	return append(samples, b.Buf, vb.Buf)
}

func TestBlocksAreWalkedToTheirEnd(t *testing.T) {
	for i, sample := range nativeSamples(t) {
		s := &source{buf: sample}
		b, err := walkBlock(s, false)
		if err != nil {
			t.Fatalf("sample %d: %v", i, err)
		}
		if s.pos != len(sample) {
			t.Fatalf("sample %d (%v): walked %d of %d bytes", i, b.columns, s.pos, len(sample))
		}
		var again proto.Buffer
		b.encode(&again, sample, 0)
		if !bytes.Equal(again.Buf, sample) {
			t.Fatalf("sample %d (%v): encoded otherwise than it was", i, b.columns)
		}
		for n := range len(sample) { // cut anywhere, it is an error
			if _, err := walkBlock(&source{buf: sample[:n]}, false); err == nil {
				t.Fatalf("sample %d (%v) cut after %d of %d bytes is walked", i, b.columns, n, len(sample))
			}
		}
	}
}

// What follows a block on the socket is the next packet and must stay there,
// however the bytes arrive.
func TestBytesAfterABlockStayInTheSocket(t *testing.T) {
	samples := nativeSamples(t)
	f := func(name string, slow func(io.Reader) io.Reader) {
		t.Helper()
		for i, sample := range samples {
			r := bufio.NewReaderSize(slow(bytes.NewReader(append(append([]byte(nil), sample...), "next packet"...))), 64)
			s := &source{raw: r, limit: maxBlockBytes}
			if _, err := walkBlock(s, false); err != nil {
				t.Fatalf("%s, sample %d: %v", name, i, err)
			}
			s.finish()
			rest, err := io.ReadAll(r)
			if err != nil || string(rest) != "next packet" {
				t.Fatalf("%s, sample %d: the socket has %q, %v; want the next packet", name, i, rest, err)
			}
		}
	}
	f("all at once", func(r io.Reader) io.Reader { return r })
	f("in pieces of 7", func(r io.Reader) io.Reader { return piecewise{r, 7} })
	f("byte by byte", func(r io.Reader) io.Reader { return piecewise{r, 1} })
}

type piecewise struct {
	r io.Reader
	n int
}

func (p piecewise) Read(b []byte) (int, error) { return p.r.Read(b[:min(len(b), p.n)]) }

func TestBlocksThatLieAreErrors(t *testing.T) {
	f := func(name string, write func(b *proto.Buffer), rows int, typ string) {
		t.Helper()
		var b proto.Buffer
		b.PutInt(1)
		b.PutInt(rows)
		b.PutString("x")
		b.PutString(typ)
		write(&b)
		if _, err := walkBlock(&source{buf: b.Buf}, false); err == nil {
			t.Errorf("%s is walked", name)
		}
		// From a socket, it must not take memory for what never comes.
		s := &source{raw: bufio.NewReader(bytes.NewReader(b.Buf)), limit: maxBlockBytes}
		if _, err := walkBlock(s, false); err == nil {
			t.Errorf("%s is walked from a socket", name)
		}
		if cap(s.buf) > 8<<20 {
			t.Errorf("%s took %d bytes", name, cap(s.buf))
		}
	}
	f("a text longer than memory", func(b *proto.Buffer) { b.PutUVarInt(1 << 62) }, 1, "String")
	f("a text longer than the block", func(b *proto.Buffer) { b.PutUVarInt(200 << 20) }, 1, "String")
	f("offsets that go back", func(b *proto.Buffer) {
		b.PutUInt64(2)
		b.PutUInt64(1)
		b.Buf = append(b.Buf, 1, 2)
	}, 2, "Array(UInt8)")
	f("an array of all elements there are", func(b *proto.Buffer) { b.PutUInt64(1<<64 - 1) }, 1, "Array(UInt8)")
	f("a dictionary without end", func(b *proto.Buffer) {
		b.PutUInt64(1)
		b.PutUInt64(0x600)
		b.PutUInt64(1 << 63)
	}, 1, "LowCardinality(String)")
	f("an index beyond the dictionary", func(b *proto.Buffer) {
		b.PutUInt64(1)
		b.PutUInt64(0x600)
		b.PutUInt64(1)
		b.PutString("a")
		b.PutUInt64(1)
		b.Buf = append(b.Buf, 1)
	}, 1, "LowCardinality(String)")
	f("an index width of 2^200", func(b *proto.Buffer) {
		b.PutUInt64(1)
		b.PutUInt64(0x6c8)
		b.PutUInt64(1)
		b.PutString("a")
		b.PutUInt64(1)
	}, 1, "LowCardinality(String)")
	f("a variant of another type", func(b *proto.Buffer) {
		b.PutUInt64(0)
		b.Buf = append(b.Buf, 7)
	}, 1, "Variant(String, UInt8)")
	f("more rows than bytes", func(*proto.Buffer) {}, 1<<24, "FixedString(200000000)")
}

func FuzzWalkBlock(f *testing.F) {
	for _, sample := range nativeSamples(f) {
		f.Add(sample)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s := &source{buf: data}
		b, err := walkBlock(s, false)
		if err != nil {
			return
		}
		if s.pos > len(data) {
			t.Fatalf("walked %d of %d bytes", s.pos, len(data))
		}
		var again proto.Buffer
		b.encode(&again, data, 0)
		second := &source{buf: again.Buf}
		if _, err := walkBlock(second, false); err != nil || second.pos != len(again.Buf) {
			t.Fatalf("what was walked and encoded is walked otherwise: %d of %d bytes, %v", second.pos, len(again.Buf), err)
		}
		raw := bufio.NewReaderSize(bytes.NewReader(data), 16)
		piece := &source{raw: raw, limit: maxBlockBytes}
		if _, err := walkBlock(piece, false); err != nil {
			// A source of bounded size takes fewer rows.
			if b.rows <= maxBlockRows {
				t.Fatalf("from a socket: %v", err)
			}
			return
		}
		piece.finish()
		if rest, _ := io.ReadAll(raw); !bytes.Equal(rest, data[s.pos:]) {
			t.Fatalf("%d bytes stay in the socket; want %d", len(rest), len(data)-s.pos)
		}
	})
}

func FuzzParseLayout(f *testing.F) {
	for _, col := range everyType() {
		f.Add(col.typ)
	}
	f.Add("Tuple(a UInt8, `b (c` Array(String))")
	f.Add("Variant(String, Array(Nullable(UInt64)))")
	f.Fuzz(func(t *testing.T, typ string) {
		if len(typ) > maxNameBytes {
			return
		}
		l, err := parseLayout(typ)
		if err == nil && l == nil {
			t.Fatal("neither layout nor error")
		}
	})
}

func TestParameterValuesAreUnquoted(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		if got := unquote(in); got != want {
			t.Fatalf("unquote(%q) = %q; want %q", in, got, want)
		}
	}
	f("", "")
	f("'", "'")
	f("''", "")
	f("1", "1")
	f("'a'", "a")
	f(`'it\'s'`, "it's")
	f(`'a\nb\\c\0'`, "a\nb\\c\x00")
	f(`'\'`, `\`)
	for _, s := range []string{"", "it's", `\`, `\\'`, "`x`", "a\nb"} {
		f(quote(s), s)
	}
}

func TestInsertsAreRecognised(t *testing.T) {
	f := func(query, table, columns, settings string) {
		t.Helper()
		m := insertStatement.FindStringSubmatch(query)
		if m == nil || m[1] != table || m[2] != columns || m[3] != settings {
			t.Fatalf("%q = %q; want %q, %q, %q", query, m, table, columns, settings)
		}
	}
	f("INSERT INTO t VALUES", "t", "", "")
	f("insert into `a b`.\"c\" (x, `y`) values;", "`a b`.\"c\"", "x, `y`", "")
	f(`INSERT INTO "t" ("id","s") VALUES`, `"t"`, `"id","s"`, "")
	f("-- why\n/* and */ INSERT INTO TABLE db.t (* EXCEPT(x)) FORMAT Native", "db.t", "* EXCEPT(x)", "")
	f("INSERT INTO t SETTINGS async_insert = 1, x='y' VALUES", "t", "", "SETTINGS async_insert = 1, x='y'")
	no := func(query string) {
		t.Helper()
		if insertStatement.MatchString(query) {
			t.Fatalf("%q waits for blocks", query)
		}
	}
	no("INSERT INTO t VALUES (1)")
	no("INSERT INTO t SELECT 1")
	no("INSERT INTO t (a) SELECT 1")
	no("SELECT 'INSERT INTO t VALUES'")
}
