package embeddedclickhouse

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

// typedColumn is a column of a test table: how it is filled, and how a value
// of it is shown.
type typedColumn struct {
	name, typ string
	col       proto.Column
	fill      func(i int)
	show      func(i int) string
}

// typed makes a typedColumn of a ch-go column.
func typed[T any](name, typ string, col proto.ColumnOf[T], value func(i int) T) typedColumn {
	return typedColumn{
		name: name, typ: typ, col: col,
		fill: func(i int) { col.Append(value(i)) },
		show: func(i int) string { return fmt.Sprintf("%v", col.Row(i)) },
	}
}

// everyType gives columns of every type the exporters may use.
func everyType() []typedColumn {
	at := func(i int) time.Time { return time.Unix(1_790_000_000+int64(i), int64(i)*1000).UTC() }
	text := func(i int) string { return strings.Repeat("ä", i%200) + fmt.Sprint(i) }
	optional := func(i int) proto.Nullable[string] {
		if i%3 == 0 {
			return proto.Null[string]()
		}
		return proto.NewNullable(text(i))
	}
	list := func(i int) []string {
		out := []string{}
		for j := range i % 4 {
			out = append(out, text(j))
		}
		return out
	}
	tags := func(i int) map[string]string {
		out := map[string]string{}
		for j := range i % 5 {
			out[fmt.Sprint("key", j)] = text(i)
		}
		return out
	}
	fixed := &proto.ColFixedStr{}
	fixed.SetSize(5)
	var enum proto.ColEnum
	if err := enum.Infer("Enum8('hello' = 1, 'a (x)' = 2)"); err != nil {
		panic(err)
	}
	enumNames := []string{"hello", "a (x)"}
	return []typedColumn{
		typed("u8", "UInt8", new(proto.ColUInt8), func(i int) uint8 { return uint8(i) }),
		typed("i16", "Int16", new(proto.ColInt16), func(i int) int16 { return -int16(i) }),
		typed("u32", "UInt32", new(proto.ColUInt32), func(i int) uint32 { return uint32(i) * 3 }),
		typed("i64", "Int64", new(proto.ColInt64), func(i int) int64 { return -int64(i) << 30 }),
		typed("u64", "UInt64", new(proto.ColUInt64), func(i int) uint64 { return uint64(i) << 40 }),
		typed("u128", "UInt128", new(proto.ColUInt128), func(i int) proto.UInt128 { return proto.UInt128FromInt(i) }),
		typed("i256", "Int256", new(proto.ColInt256), func(i int) proto.Int256 { return proto.Int256FromInt(-i) }),
		typed("f32", "Float32", new(proto.ColFloat32), func(i int) float32 { return float32(i) / 7 }),
		typed("f64", "Float64", new(proto.ColFloat64), func(i int) float64 { return float64(i) / 7 }),
		typed("b", "Bool", new(proto.ColBool), func(i int) bool { return i%2 == 0 }),
		typed("s", "String", new(proto.ColStr), text),
		typed("fs", "FixedString(5)", fixed, func(i int) []byte { return fmt.Appendf(nil, "%05d", i%100000) }),
		typed("trace", "FixedString(16)", new(proto.ColFixedStr16), func(i int) [16]byte { return [16]byte{0: byte(i), 15: 0xff} }),
		typed("lc", "LowCardinality(String)", new(proto.ColStr).LowCardinality(), func(i int) string { return fmt.Sprint("service-", i%300) }),
		typed("n", "Nullable(String)", new(proto.ColStr).Nullable(), optional),
		typed("d", "Date", new(proto.ColDate), func(i int) time.Time { return at(i * 86400).Truncate(24 * time.Hour) }),
		typed("dt", "DateTime('UTC')", (&proto.ColDateTime{Location: time.UTC}), func(i int) time.Time { return at(i).Truncate(time.Second) }),
		typed("dt9", "DateTime64(9, 'UTC')", new(proto.ColDateTime64).WithPrecision(9).WithLocation(time.UTC), at),
		typed("dt6", "DateTime64(6)", new(proto.ColDateTime64).WithPrecision(6).WithLocation(time.UTC), at),
		typed("dec", "Decimal(9, 3)", new(proto.ColDecimal32), func(i int) proto.Decimal32 { return proto.Decimal32(i) }),
		typed("dec128", "Decimal(38, 10)", new(proto.ColDecimal128), func(i int) proto.Decimal128 { return proto.Decimal128(proto.Int128FromInt(i)) }),
		typed("uuid", "UUID", new(proto.ColUUID), func(i int) uuid.UUID { return uuid.NewSHA1(uuid.Nil, fmt.Append(nil, i)) }),
		typed("v4", "IPv4", new(proto.ColIPv4), func(i int) proto.IPv4 { return proto.IPv4(i) }),
		typed("v6", "IPv6", new(proto.ColIPv6), func(i int) proto.IPv6 {
			return proto.ToIPv6(netip.AddrFrom16([16]byte{0: 0x20, 15: byte(i)}))
		}),
		typed[string]("e", "Enum8('hello' = 1, 'a (x)' = 2)", &enum, func(i int) string { return enumNames[i%2] }),
		typed("a", "Array(String)", new(proto.ColStr).Array(), list),
		typed("alc", "Array(LowCardinality(String))", new(proto.ColStr).LowCardinality().Array(), list),
		typed("aa", "Array(Array(UInt32))", proto.NewArray(new(proto.ColUInt32).Array()), func(i int) [][]uint32 {
			return [][]uint32{{uint32(i)}, {}, {1, 2, 3}}[:i%4]
		}),
		typed("m", "Map(String, String)", proto.NewMap(new(proto.ColStr), new(proto.ColStr)), tags),
		typed("mlc", "Map(LowCardinality(String), String)", proto.NewMap(new(proto.ColStr).LowCardinality(), new(proto.ColStr)), tags),
		typed("events.name", "Array(LowCardinality(String))", new(proto.ColStr).LowCardinality().Array(), list),
		typed("events.at", "Array(Int64)", new(proto.ColInt64).Array(), func(i int) []int64 { return make([]int64, len(list(i))) }),
	}
}

func TestBlocksOfEveryTypeComeBackEqual(t *testing.T) {
	p := startProcess(t, testConfig(t.TempDir()))
	f := func(name string, compression ch.Compression) {
		t.Run(name, func(t *testing.T) {
			opt := clientOptions(p)
			opt.Compression = compression
			c := dialWith(t, opt)
			columns := everyType()
			var defs []string
			var in proto.Input
			for _, col := range columns {
				defs = append(defs, "`"+col.name+"` "+col.typ)
				data := proto.ColInput(col.col)
				if strings.HasPrefix(col.typ, "Decimal") { // ch-go knows no scale
					data = proto.Alias(col.col, proto.ColumnType(col.typ))
				}
				in = append(in, proto.InputColumn{Name: col.name, Data: data})
			}
			table := "every_" + name
			run(t, c, "CREATE TABLE "+table+" (id UInt64, "+strings.Join(defs, ", ")+") ENGINE = MergeTree ORDER BY id")
			var id proto.ColUInt64
			in = append(in, proto.InputColumn{Name: "id", Data: &id})
			const blocks, rowsEach = 3, 500
			var want [blocks * rowsEach]string
			sent, total := 0, 0
			next := func() {
				in.Reset()
				for i := range rowsEach {
					n := sent*rowsEach + i
					id.Append(uint64(n))
					var row strings.Builder
					for _, col := range columns {
						col.fill(n)
						row.WriteString(col.show(i) + "|")
					}
					want[n] = row.String()
				}
				sent++
			}
			next()
			err := c.Do(testContext(t), ch.Query{Body: in.Into(table), Input: in, OnInput: func(_ context.Context) error {
				if sent == blocks {
					in.Reset() // or ch-go sends the last block once more
					return io.EOF
				}
				next()
				return nil
			}})
			if err != nil {
				t.Fatal(err)
			}

			back := everyType()
			var results proto.Results
			for _, col := range back {
				results = append(results, proto.ResultColumn{Name: col.name, Data: col.col})
			}
			var names []string
			for _, col := range back {
				names = append(names, "`"+col.name+"`")
			}
			err = c.Do(testContext(t), ch.Query{
				Body: "SELECT " + strings.Join(names, ", ") + " FROM " + table + " ORDER BY id", Result: results,
				OnResult: func(_ context.Context, b proto.Block) error {
					for i := range b.Rows {
						var row strings.Builder
						for _, col := range back {
							row.WriteString(col.show(i) + "|")
						}
						if got := row.String(); got != want[total] {
							return fmt.Errorf("row %d: %s", total, cmp.Diff(want[total], got))
						}
						total++
					}
					return nil
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			if total != len(want) {
				t.Fatalf("%d rows came back; want %d", total, len(want))
			}
		})
	}
	f("plain", ch.CompressionDisabled)
	f("lz4", ch.CompressionLZ4)
	f("zstd", ch.CompressionZSTD)
	f("frames", ch.CompressionNone)
}

// variantColumn is Variant(String, UInt64), which ch-go has not: odd rows
// hold a number, every fifth is NULL.
type variantColumn struct{ values []any }

func (c *variantColumn) Type() proto.ColumnType      { return "Variant(String, UInt64)" }
func (c *variantColumn) Rows() int                   { return len(c.values) }
func (c *variantColumn) Reset()                      { c.values = nil }
func (c *variantColumn) EncodeState(b *proto.Buffer) { b.PutUInt64(0) }
func (c *variantColumn) WriteColumn(w *proto.Writer) { w.ChainBuffer(c.EncodeColumn) }
func (c *variantColumn) DecodeState(r *proto.Reader) error {
	v, err := r.UInt64()
	if err == nil && v != 0 {
		err = fmt.Errorf("variant mode %d", v)
	}
	return err
}

func (c *variantColumn) EncodeColumn(b *proto.Buffer) {
	for _, v := range c.values {
		switch v.(type) {
		case string:
			b.PutByte(0)
		case uint64:
			b.PutByte(1)
		default:
			b.PutByte(255)
		}
	}
	for _, v := range c.values {
		if s, ok := v.(string); ok {
			b.PutString(s)
		}
	}
	for _, v := range c.values {
		if n, ok := v.(uint64); ok {
			b.PutUInt64(n)
		}
	}
}

func (c *variantColumn) DecodeColumn(r *proto.Reader, rows int) error {
	kinds, err := r.ReadRaw(rows)
	if err != nil {
		return err
	}
	kinds = append([]byte(nil), kinds...)
	c.values = make([]any, rows)
	for i, k := range kinds {
		if k == 0 {
			if c.values[i], err = r.Str(); err != nil {
				return err
			}
		}
	}
	for i, k := range kinds {
		if k == 1 {
			if c.values[i], err = r.UInt64(); err != nil {
				return err
			}
		}
	}
	return nil
}

func TestVariantsComeBackEqual(t *testing.T) {
	c := dial(t, startProcess(t, testConfig(t.TempDir())))
	run(t, c, "CREATE TABLE v (id UInt64, v Variant(String, UInt64)) ENGINE = MergeTree ORDER BY id")
	var id proto.ColUInt64
	var v, back variantColumn
	for i := range 1000 {
		id.Append(uint64(i))
		switch {
		case i%5 == 0:
			v.values = append(v.values, nil)
		case i%2 == 1:
			v.values = append(v.values, uint64(i))
		default:
			v.values = append(v.values, fmt.Sprint("text ", i))
		}
	}
	in := proto.Input{{Name: "id", Data: &id}, {Name: "v", Data: &v}}
	if err := c.Do(testContext(t), ch.Query{Body: in.Into("v"), Input: in}); err != nil {
		t.Fatal(err)
	}
	var got []any
	err := c.Do(testContext(t), ch.Query{
		Body: "SELECT v FROM v ORDER BY id", Result: proto.Results{{Name: "v", Data: &back}},
		OnResult: func(context.Context, proto.Block) error { got = append(got, back.values...); return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(v.values, got); diff != "" {
		t.Fatal(diff)
	}
}

// A column of mostly defaults is stored sparse; it must come out full.
func TestSparseColumnsComeOutFull(t *testing.T) {
	c := dial(t, startProcess(t, testConfig(t.TempDir())))
	run(t, c, "CREATE TABLE s (id UInt64, v UInt64, t String) ENGINE = MergeTree ORDER BY id SETTINGS ratio_of_defaults_for_sparse_serialization = 0.5")
	run(t, c, "INSERT INTO s SELECT number, number % 100 = 0 ? number : 0, number % 50 = 0 ? 'x' : '' FROM numbers(100000)")
	if got := number(t, c, "SELECT count() AS n FROM system.parts_columns WHERE table = 's' AND active AND serialization_kind = 'Sparse'"); got == 0 {
		t.Fatal("no column is stored sparse, so this test shows nothing")
	}
	var v proto.ColUInt64
	var s proto.ColStr
	rows := 0
	err := c.Do(testContext(t), ch.Query{
		Body: "SELECT v, t FROM s ORDER BY id", Result: proto.Results{{Name: "v", Data: &v}, {Name: "t", Data: &s}},
		OnResult: func(_ context.Context, b proto.Block) error {
			for i := range b.Rows {
				wantV, wantT := uint64(0), ""
				if rows%100 == 0 {
					wantV = uint64(rows)
				}
				if rows%50 == 0 {
					wantT = "x"
				}
				if v.Row(i) != wantV || s.Row(i) != wantT {
					return fmt.Errorf("row %d = %d, %q; want %d, %q", rows, v.Row(i), s.Row(i), wantV, wantT)
				}
				rows++
			}
			return nil
		},
	})
	if err != nil || rows != 100_000 {
		t.Fatalf("%d rows, %v; want 100000", rows, err)
	}
}
