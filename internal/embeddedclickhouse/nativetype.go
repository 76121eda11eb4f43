package embeddedclickhouse

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// layoutKind is the way a column's bytes are delimited in a Native block.
type layoutKind uint8

const (
	layoutFixed layoutKind = iota
	layoutString
	layoutNullable
	layoutArray // also Map and Nested
	layoutTuple
	layoutLowCardinality
	layoutVariant
	layoutJSONText // JSON as text, the one form of it taken from clients
)

// layout tells where the bytes of a column end. libchdb's column bytes are
// those of the wire, so nothing more of a type need be understood.
type layout struct {
	kind layoutKind
	size int // bytes of one value, of layoutFixed; at least 1
	sub  []*layout
}

// unwalkableError names a type, or a form of one, whose bytes have no end
// that can be found. A result is then fetched in another format; an insert is
// refused.
type unwalkableError string

func (e unwalkableError) Error() string {
	return string(e) + " has no byte length known to the embedded engine's protocol"
}

var fixedSizes = map[string]int{
	"UInt8": 1, "Int8": 1, "Bool": 1, "Enum8": 1, "Nothing": 1,
	"UInt16": 2, "Int16": 2, "Date": 2, "Enum16": 2, "BFloat16": 2,
	"UInt32": 4, "Int32": 4, "Float32": 4, "Date32": 4, "DateTime": 4, "IPv4": 4, "Time": 4, "Decimal32": 4,
	"UInt64": 8, "Int64": 8, "Float64": 8, "DateTime64": 8, "Time64": 8, "Decimal64": 8,
	"UUID": 16, "IPv6": 16, "Int128": 16, "UInt128": 16, "Decimal128": 16, "Point": 16,
	"Int256": 32, "UInt256": 32, "Decimal256": 32,
}

// parseLayout reads a type as ClickHouse prints it.
func parseLayout(typ string) (*layout, error) {
	p := layoutParser{nodes: maxTypeNodes}
	return p.parse(typ, 0)
}

// layoutParser bounds the work of one parseLayout.
type layoutParser struct{ nodes int }

func (p *layoutParser) parse(typ string, depth int) (*layout, error) {
	if p.nodes--; p.nodes < 0 || depth > maxTypeDepth {
		return nil, fmt.Errorf("a type is nested deeper than %d or has more than %d parts", maxTypeDepth, maxTypeNodes)
	}
	typ = withoutFieldName(typ)
	name, args, err := splitType(typ)
	if err != nil {
		return nil, err
	}
	of := func(kind layoutKind, types []string) (*layout, error) {
		n := &layout{kind: kind}
		for _, t := range types {
			c, err := p.parse(t, depth+1)
			if err != nil {
				return nil, err
			}
			n.sub = append(n.sub, c)
		}
		return n, nil
	}
	takes := func(least, most int) error {
		if len(args) < least || len(args) > most {
			return fmt.Errorf("type %q has %d arguments", short(typ), len(args))
		}
		return nil
	}
	switch name {
	case "String":
		return &layout{kind: layoutString}, nil
	case "JSON":
		return &layout{kind: layoutJSONText}, nil
	case "FixedString":
		if err := takes(1, 1); err != nil {
			return nil, err
		}
		n, err := strconv.Atoi(args[0])
		if err != nil || n < 1 || n > maxBlockBytes {
			return nil, fmt.Errorf("type %q has no valid length", short(typ))
		}
		return &layout{size: n}, nil
	case "Decimal":
		if err := takes(1, 2); err != nil {
			return nil, err
		}
		precision, err := strconv.Atoi(args[0])
		if err == nil && precision > 0 {
			for i, most := range []int{9, 18, 38, 76} {
				if precision <= most {
					return &layout{size: 4 << i}, nil
				}
			}
		}
		return nil, fmt.Errorf("type %q has no valid precision", short(typ))
	case "Nullable", "Array":
		if err := takes(1, 1); err != nil {
			return nil, err
		}
		if name == "Array" {
			return of(layoutArray, args)
		}
		return of(layoutNullable, args)
	case "Map", "Nested":
		if err := takes(1, maxTypeNodes); err != nil {
			return nil, err
		}
		fields, err := of(layoutTuple, args)
		if err != nil {
			return nil, err
		}
		return &layout{kind: layoutArray, sub: []*layout{fields}}, nil
	case "Tuple":
		if len(args) == 0 { // one byte a row stands for the empty tuple
			return &layout{size: 1}, nil
		}
		return of(layoutTuple, args)
	case "LowCardinality":
		if err := takes(1, 1); err != nil {
			return nil, err
		}
		// The dictionary of LowCardinality(Nullable(T)) holds plain T.
		if in, ok := strings.CutPrefix(args[0], "Nullable("); ok && strings.HasSuffix(in, ")") {
			args[0] = in[:len(in)-1]
		}
		return of(layoutLowCardinality, args)
	case "SimpleAggregateFunction":
		if err := takes(2, 2); err != nil {
			return nil, err
		}
		return p.parse(args[1], depth+1)
	case "Variant":
		if err := takes(1, 255); err != nil {
			return nil, err
		}
		return of(layoutVariant, args)
	}
	if n, ok := fixedSizes[name]; ok {
		return &layout{size: n}, nil
	}
	if strings.HasPrefix(name, "Interval") {
		return &layout{size: 8}, nil
	}
	return nil, unwalkableError(short(typ)) // AggregateFunction, Dynamic, QBit, Ring, …
}

// splitType takes "Map(String, UInt8)" apart. args is empty for both "T" and
// "T()".
func splitType(typ string) (name string, args []string, err error) {
	open := strings.IndexByte(typ, '(')
	if open < 0 {
		return typ, nil, nil
	}
	if open == 0 || typ[len(typ)-1] != ')' {
		return "", nil, fmt.Errorf("type %q has unbalanced parentheses", short(typ))
	}
	inner := typ[open+1 : len(typ)-1]
	depth, start := 0, 0
	for i := 0; i < len(inner); i++ {
		switch c := inner[i]; c {
		case '\'', '`':
			if i = skipQuoted(inner, i); i >= len(inner) {
				return "", nil, fmt.Errorf("type %q has an open quote", short(typ))
			}
		case '(':
			depth++
		case ')':
			if depth--; depth < 0 {
				return "", nil, fmt.Errorf("type %q has unbalanced parentheses", short(typ))
			}
		case ',':
			if depth == 0 {
				args, start = append(args, strings.TrimSpace(inner[start:i])), i+1
			}
		}
	}
	if depth != 0 {
		return "", nil, fmt.Errorf("type %q has unbalanced parentheses", short(typ))
	}
	if last := strings.TrimSpace(inner[start:]); last != "" || len(args) > 0 {
		args = append(args, last)
	}
	return typ[:open], args, nil
}

// skipQuoted gives the index of the quote that closes the one at s[i], or
// len(s).
func skipQuoted(s string, i int) int {
	quote := s[i]
	for i++; i < len(s) && s[i] != quote; i++ {
		if s[i] == '\\' {
			i++
		}
	}
	return min(i, len(s))
}

// withoutFieldName gives the type of a named tuple element, "name Type".
func withoutFieldName(field string) string {
	end := 0
	if strings.HasPrefix(field, "`") {
		end = skipQuoted(field, 0) + 1
	} else {
		for end < len(field) && (field[end] == '_' || isAlphanumeric(field[end])) {
			end++
		}
	}
	if end == 0 || end >= len(field) || field[end] != ' ' {
		return field
	}
	if t := strings.TrimLeft(field[end:], " "); t != "" && t[0] >= 'A' && t[0] <= 'Z' {
		return t
	}
	return field
}

func isAlphanumeric(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// short is a text for an error message.
func short(s string) string {
	if len(s) > 200 {
		return s[:200] + "…"
	}
	return s
}

// prefix walks the state prefixes, which precede all data of a column.
func (l *layout) prefix(s *source) {
	want, has := uint64(0), true
	switch l.kind {
	case layoutLowCardinality, layoutJSONText:
		want = 1
	case layoutVariant:
	default:
		has = false
	}
	if has {
		if v := s.uint64(); v != want {
			s.fail(unwalkableError(fmt.Sprintf("serialization version %d", v)))
			return
		}
	}
	if l.kind == layoutLowCardinality {
		return
	}
	for _, c := range l.sub {
		c.prefix(s)
	}
}

// data walks the values of rows rows.
func (l *layout) data(s *source, rows int) {
	if rows == 0 || s.err != nil {
		return
	}
	switch l.kind {
	case layoutFixed:
		s.skipEach(rows, l.size)
	case layoutString, layoutJSONText:
		s.skipStrings(rows)
	case layoutNullable:
		s.skip(rows)
		l.sub[0].data(s, rows)
	case layoutArray:
		if count, ok := s.offsets(rows); ok {
			l.sub[0].data(s, count)
		}
	case layoutTuple:
		for _, c := range l.sub {
			c.data(s, rows)
		}
	case layoutVariant:
		l.variantData(s, rows)
	case layoutLowCardinality:
		l.lowCardinalityData(s, rows)
	}
}

// variantData walks discriminators, then every variant with as many rows as
// it has discriminators; 255 is NULL.
func (l *layout) variantData(s *source, rows int) {
	if !s.skip(rows) {
		return
	}
	var counts [256]int
	for _, d := range s.buf[s.pos-rows : s.pos] {
		counts[d]++
	}
	for i := len(l.sub); i < 255; i++ {
		if counts[i] > 0 {
			s.fail(fmt.Errorf("a variant's discriminator is %d, of %d variants", i, len(l.sub)))
			return
		}
	}
	for i, c := range l.sub {
		c.data(s, counts[i])
	}
}

// lowCardinalityData walks flags, dictionary and indexes.
func (l *layout) lowCardinalityData(s *source, rows int) {
	flags := s.uint64()
	if s.err == nil && flags&0x300 != 0x200 {
		s.fail(unwalkableError("LowCardinality with a global dictionary"))
	}
	width := flags & 0xff // log2 of an index's bytes
	if s.err == nil && width > 3 {
		s.fail(fmt.Errorf("a LowCardinality column has index width %d", width))
	}
	keys := s.count()
	l.sub[0].data(s, keys)
	if n := s.count(); s.err == nil && n != rows {
		s.fail(fmt.Errorf("a LowCardinality column has %d indexes for %d rows", n, rows))
	}
	if s.err != nil {
		return
	}
	start := s.pos
	if !s.skipEach(rows, 1<<width) {
		return
	}
	// The engine trusts the indexes in some paths; a wrong one would read
	// beyond its dictionary.
	if !indexesBelow(s.buf[start:s.pos], width, uint64(keys)) { //nolint:gosec // count is not negative
		s.fail(fmt.Errorf("a LowCardinality column has an index beyond its %d keys", keys))
	}
}

func indexesBelow(b []byte, width, keys uint64) bool {
	var highest uint64
	switch width {
	case 0:
		for _, v := range b {
			highest = max(highest, uint64(v))
		}
	case 1:
		for ; len(b) >= 2; b = b[2:] {
			highest = max(highest, uint64(binary.LittleEndian.Uint16(b)))
		}
	case 2:
		for ; len(b) >= 4; b = b[4:] {
			highest = max(highest, uint64(binary.LittleEndian.Uint32(b)))
		}
	default:
		for ; len(b) >= 8; b = b[8:] {
			highest = max(highest, binary.LittleEndian.Uint64(b))
		}
	}
	return highest < keys
}
