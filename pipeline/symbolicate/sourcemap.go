package symbolicate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"
	"sync"
	"unicode/utf8"
	"unsafe"
)

// Bounds of one source map, so that none can fill the memory. Real ones stay
// far below: 10 MB of JavaScript have about two million mappings.
const (
	maxMappings = 4 << 20 // and lines of generated code
	maxSources  = 200_000
	maxNames    = 2 << 20
	maxSections = 10_000
)

// sourceMap is a decoded source map (ECMA-426, version 3). It is not changed
// once it is made, but for what it remembers behind a lock.
type sourceMap struct {
	tokens  []token
	lines   []uint32 // of each generated line, its first token; one more at the end
	sources []source
	names   []string
}

// token maps a position of the generated code. All counts begin at 0.
type token struct {
	generated    uint32 // column
	line, column uint32 // in the source
	source       int32  // below 0: no source stands behind it
	name         int32  // below 0: none
}

type source struct {
	name    string
	ignored bool // somebody else's code, says the map
	text    *text
}

// decodeMap reads a source map. Its error says what is wrong and where.
func decodeMap(data []byte) (*sourceMap, error) {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	// Servers put this line before JSON against being included by other sites.
	if bytes.HasPrefix(data, []byte(")]}")) {
		_, data, _ = bytes.Cut(data, []byte("\n"))
	}
	var raw rawMap
	if err := json.Unmarshal(data, &raw); err != nil {
		return nil, fmt.Errorf("the source map cannot be read: %w", err)
	}
	d := decoder{m: &sourceMap{lines: []uint32{0}}}
	if raw.Sections == nil {
		if err := d.add(&raw.plainMap, 0, 0, math.MaxUint32, math.MaxUint32); err != nil {
			return nil, fmt.Errorf("the source map cannot be read: %w", err)
		}
		return d.end(), nil
	}
	for i, s := range raw.Sections {
		if s.Map == nil {
			return nil, fmt.Errorf("the source map cannot be read: section %d has no map; one by URL is not fetched", i)
		}
		endLine, endColumn := uint32(math.MaxUint32), uint32(math.MaxUint32)
		if i+1 < len(raw.Sections) {
			next := raw.Sections[i+1].Offset
			endLine, endColumn = next.Line, next.Column
			if endLine < s.Offset.Line || endLine == s.Offset.Line && endColumn < s.Offset.Column {
				return nil, fmt.Errorf("the source map cannot be read: section %d begins before section %d", i+1, i)
			}
		}
		if err := d.add(&s.Map.plainMap, s.Offset.Line, s.Offset.Column, endLine, endColumn); err != nil {
			return nil, fmt.Errorf("the source map cannot be read: section %d: %w", i, err)
		}
	}
	return d.end(), nil
}

type rawMap struct {
	plainMap
	Sections sections `json:"sections"`
}

type plainMap struct {
	Version        int     `json:"version"`
	SourceRoot     string  `json:"sourceRoot"`
	Sources        texts   `json:"sources"`
	SourcesContent texts   `json:"sourcesContent"`
	Names          names   `json:"names"`
	Mappings       string  `json:"mappings"`
	IgnoreList     indexes `json:"ignoreList"`
	// The name before the standard had one; browsers and bundlers write it still.
	IgnoreListOld indexes `json:"x_google_ignoreList"`
}

type section struct {
	Offset struct {
		Line   uint32 `json:"line"`
		Column uint32 `json:"column"`
	} `json:"offset"`
	Map *sectionMap `json:"map"`
}

type sectionMap struct {
	plainMap
	Sections noSections `json:"sections"`
}

type noSections struct{}

func (*noSections) UnmarshalJSON([]byte) error { return errors.New("sections within a section") }

type sections []section

func (s *sections) UnmarshalJSON(b []byte) error {
	n, err := elements(b, maxSections, "sections")
	if err != nil {
		return err
	}
	out := make([]section, 0, n)
	if err := json.Unmarshal(b, &out); err != nil {
		return err
	}
	*s = out
	return nil
}

type indexes []int

func (x *indexes) UnmarshalJSON(b []byte) error {
	n, err := elements(b, maxSources, "an ignore list")
	if err != nil {
		return err
	}
	out := make([]int, 0, n)
	if err := json.Unmarshal(b, &out); err != nil {
		return err
	}
	*x = out
	return nil
}

// texts is a JSON array of strings and nulls; what is neither counts as null.
// names is a longer one.
type (
	texts []maybeText
	names []maybeText
)

type maybeText struct {
	string
	known bool
}

func (t *texts) UnmarshalJSON(b []byte) (err error) {
	*t, err = readTexts(b, maxSources, "a list of sources")
	return err
}

func (t *names) UnmarshalJSON(b []byte) (err error) {
	*t, err = readTexts(b, maxNames, "a list of names")
	return err
}

func readTexts(b []byte, limit int, what string) ([]maybeText, error) {
	n, err := elements(b, limit, what)
	if err != nil || n == 0 {
		return nil, err
	}
	out := make([]maybeText, 0, n)
	for i := 1; i < len(b)-1; {
		j := skipElement(b, i)
		e := bytes.TrimSpace(b[i:j])
		var m maybeText
		if len(e) >= 2 && e[0] == '"' {
			m.known = true
			if inner := e[1 : len(e)-1]; bytes.IndexByte(inner, '\\') < 0 {
				m.string = strings.ToValidUTF8(string(inner), "\uFFFD")
			} else if err := json.Unmarshal(e, &m.string); err != nil {
				return nil, err
			}
		}
		out = append(out, m)
		i = j + 1
	}
	return out, nil
}

// elements counts those of a JSON array, which is known to be valid, before
// memory is taken for them. null has none.
func elements(b []byte, limit int, what string) (int, error) {
	if len(b) == 0 || b[0] != '[' {
		if string(b) == "null" {
			return 0, nil
		}
		return 0, fmt.Errorf("%s that is no array", what)
	}
	if len(bytes.TrimSpace(b[1:len(b)-1])) == 0 {
		return 0, nil
	}
	n := 0
	for i := 1; i < len(b)-1; {
		if n++; n > limit {
			return 0, fmt.Errorf("%s of more than %d elements", what, limit)
		}
		i = skipElement(b, i) + 1
	}
	return n, nil
}

// skipElement finds the comma or bracket behind the element that begins at i.
func skipElement(b []byte, i int) int {
	depth := 0
	for ; i < len(b); i++ {
		switch b[i] {
		case '"':
			for i++; i < len(b) && b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
		case '[', '{':
			depth++
		case ']', '}':
			if depth == 0 {
				return i
			}
			depth--
		case ',':
			if depth == 0 {
				return i
			}
		}
	}
	return i
}

// decoder gathers the maps of all sections in one.
type decoder struct {
	m        *sourceMap
	unsorted bool
}

// add appends a map whose generated code begins at (line, column) of the whole
// and ends before (endLine, endColumn).
func (d *decoder) add(p *plainMap, line, column, endLine, endColumn uint32) error {
	if p.Version != 3 {
		return fmt.Errorf("version %d, want 3", p.Version)
	}
	sourceBase, nameBase := len(d.m.sources), len(d.m.names)
	if len(p.Sources)+sourceBase > maxSources {
		return fmt.Errorf("more than %d sources", maxSources)
	}
	if len(p.Names)+nameBase > maxNames {
		return fmt.Errorf("more than %d names", maxNames)
	}
	d.m.sources = slices.Grow(d.m.sources, len(p.Sources))
	for i, s := range p.Sources {
		src := source{name: underRoot(p.SourceRoot, s.string)}
		if i < len(p.SourcesContent) && p.SourcesContent[i].known {
			src.text = &text{s: p.SourcesContent[i].string}
		}
		d.m.sources = append(d.m.sources, src)
	}
	for _, list := range []indexes{p.IgnoreList, p.IgnoreListOld} {
		for _, i := range list {
			if i >= 0 && i < len(p.Sources) {
				d.m.sources[sourceBase+i].ignored = true
			}
		}
	}
	d.m.names = slices.Grow(d.m.names, len(p.Names))
	for _, n := range p.Names {
		d.m.names = append(d.m.names, n.string)
	}
	return d.mappings(p.Mappings, sourceBase, nameBase, [4]uint32{line, column, endLine, endColumn})
}

// underRoot is a source's name below the root that the map gives.
func underRoot(root, name string) string {
	if root == "" || strings.HasPrefix(name, "/") || strings.Contains(name, "://") {
		return name
	}
	if strings.HasSuffix(root, "/") {
		return root + name
	}
	return root + "/" + name
}

// mappings decodes the text of base64 VLQ numbers: ";" ends a generated line,
// "," a segment of 1, 4 or 5 numbers, each but the generated column the
// difference to the one before.
func (d *decoder) mappings(s string, sourceBase, nameBase int, at [4]uint32) error {
	m := d.m
	line, offset := at[0], at[1]
	if err := d.reach(line); err != nil {
		return err
	}
	var generated, src, srcLine, srcColumn, name int64
	sources, names := int64(len(m.sources)-sourceBase), int64(len(m.names)-nameBase)
	segments, ends := 0, 0
	for i := range len(s) {
		switch {
		case s[i] == ';':
			ends++
		case s[i] != ',' && (i == 0 || s[i-1] == ',' || s[i-1] == ';'):
			segments++
		}
	}
	m.tokens = slices.Grow(m.tokens, min(segments, maxMappings-len(m.tokens)))
	m.lines = slices.Grow(m.lines, min(ends+1, max(0, maxMappings-len(m.lines))))
	for i := 0; i < len(s); {
		switch s[i] {
		case ';':
			i++
			line++
			generated, offset = 0, 0
			if line > at[2] {
				return nil // the next section's
			}
			if err := d.reach(line); err != nil {
				return err
			}
			continue
		case ',':
			i++
			continue
		}
		var fields [5]int64
		n := 0
		for i < len(s) && s[i] != ',' && s[i] != ';' {
			v, next, err := vlq(s, i)
			if err != nil {
				return fmt.Errorf("mappings at %d: %w", i, err)
			}
			if n == len(fields) {
				return fmt.Errorf("mappings at %d: a segment of more than 5 numbers", i)
			}
			fields[n], i = v, next
			n++
		}
		generated += fields[0]
		column := generated + int64(offset)
		t := token{source: -1, name: -1}
		switch n {
		case 1:
		case 4, 5:
			src, srcLine, srcColumn = src+fields[1], srcLine+fields[2], srcColumn+fields[3]
			if src < 0 || src >= sources {
				return fmt.Errorf("mappings before %d: source %d of %d", i, src, sources)
			}
			if srcLine < 0 || srcLine > math.MaxInt32 || srcColumn < 0 || srcColumn > math.MaxInt32 {
				return fmt.Errorf("mappings before %d: line %d, column %d of a source", i, srcLine, srcColumn)
			}
			t.source, t.line, t.column = int32(src)+int32(sourceBase), uint32(srcLine), uint32(srcColumn) //nolint:gosec // bounded above
			if n == 5 {
				if name += fields[4]; name < 0 || name >= names {
					return fmt.Errorf("mappings before %d: name %d of %d", i, name, names)
				}
				t.name = int32(name) + int32(nameBase) //nolint:gosec // bounded above
			}
		default:
			return fmt.Errorf("mappings before %d: a segment of %d numbers, want 1, 4 or 5", i, n)
		}
		if column < 0 || column > math.MaxInt32 {
			return fmt.Errorf("mappings before %d: generated column %d", i, column)
		}
		t.generated = uint32(column)
		if line == at[2] && t.generated >= at[3] {
			continue // the next section's
		}
		if len(m.tokens) == maxMappings {
			return fmt.Errorf("more than %d mappings", maxMappings)
		}
		if first := m.lines[len(m.lines)-1]; uint32(len(m.tokens)) > first && m.tokens[len(m.tokens)-1].generated > t.generated {
			d.unsorted = true
		}
		m.tokens = append(m.tokens, t)
	}
	return nil
}

// reach begins generated lines until line is the last one.
func (d *decoder) reach(line uint32) error {
	if line >= maxMappings {
		return fmt.Errorf("more than %d lines of generated code", maxMappings)
	}
	for uint32(len(d.m.lines)) <= line { //nolint:gosec // below maxMappings
		d.m.lines = append(d.m.lines, uint32(len(d.m.tokens))) //nolint:gosec // below maxMappings
	}
	return nil
}

func (d *decoder) end() *sourceMap {
	m := d.m
	m.lines = append(m.lines, uint32(len(m.tokens))) //nolint:gosec // below maxMappings
	if d.unsorted {
		for i := range len(m.lines) - 1 {
			slices.SortStableFunc(m.tokens[m.lines[i]:m.lines[i+1]], func(a, b token) int { return int(a.generated) - int(b.generated) })
		}
	}
	return m
}

// digits are the values of base64; 64 marks what is none.
var digits = func() (t [256]byte) {
	for i := range t {
		t[i] = 64
	}
	for i, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") {
		t[c] = byte(i)
	}
	return t
}()

// vlq reads one number at i: digits of 5 bits each, the least first, the sixth
// bit says that there are more; the lowest of all is the sign.
func vlq(s string, i int) (v int64, next int, err error) {
	for shift := 0; ; shift += 5 {
		if i == len(s) {
			return 0, i, errors.New("the number breaks off")
		}
		d := digits[s[i]]
		if d == 64 {
			return 0, i, fmt.Errorf("%q is no base64", s[i])
		}
		if shift > 30 {
			return 0, i, errors.New("a number of more than 32 bits")
		}
		v |= int64(d&31) << shift
		i++
		if d&32 == 0 {
			break
		}
	}
	if v&1 != 0 {
		return -(v >> 1), i, nil
	}
	return v >> 1, i, nil
}

// find gives the token that a position (from 0) belongs to: the last one of its
// line at or before the column.
func (m *sourceMap) find(line, column uint32) (*token, bool) {
	if line >= uint32(len(m.lines)-1) { //nolint:gosec // below maxMappings
		return nil, false
	}
	of := m.tokens[m.lines[line]:m.lines[line+1]]
	i := sort.Search(len(of), func(i int) bool { return of[i].generated > column })
	if i == 0 {
		return nil, false
	}
	return &of[i-1], true
}

// size is about what the map takes in memory.
func (m *sourceMap) size() int64 {
	n := int64(cap(m.tokens))*int64(unsafe.Sizeof(token{})) + int64(cap(m.lines))*4 + int64(cap(m.sources))*int64(unsafe.Sizeof(source{})) + int64(cap(m.names))*16
	for i := range m.sources {
		n += int64(len(m.sources[i].name))
		if t := m.sources[i].text; t != nil {
			n += t.size()
		}
	}
	for _, name := range m.names {
		n += int64(len(name))
	}
	return n
}

// text is a file's text with its lines, which are found when they are first
// asked for.
type text struct {
	s      string
	once   sync.Once
	starts []uint32
	ascii  bool
}

// size counts the lines too, found or not: about one in 30 bytes.
func (t *text) size() int64 { return int64(len(t.s)) + int64(len(t.s))/8 + int64(unsafe.Sizeof(*t)) }

func (t *text) find() {
	t.ascii = utf8.RuneCountInString(t.s) == len(t.s)
	t.starts = make([]uint32, 1, 1+strings.Count(t.s, "\n"))
	for i := 0; ; {
		j := strings.IndexByte(t.s[i:], '\n')
		if j < 0 {
			return
		}
		i += j + 1
		t.starts = append(t.starts, uint32(i)) //nolint:gosec // texts are bounded
	}
}

// line gives one, from 0, without its end.
func (t *text) line(n int) (string, bool) {
	t.once.Do(t.find)
	if n < 0 || n >= len(t.starts) {
		return "", false
	}
	end := len(t.s)
	if n+1 < len(t.starts) {
		end = int(t.starts[n+1]) - 1
	}
	return strings.TrimSuffix(t.s[t.starts[n]:end], "\r"), true
}

// count is how many lines there are.
func (t *text) count() int {
	t.once.Do(t.find)
	return len(t.starts)
}

// byteOffset is where a column of UTF-16 units begins in a line of the text,
// below 0 behind its end.
func (t *text) byteOffset(line string, column uint32) int {
	t.once.Do(t.find)
	if t.ascii {
		if int(column) > len(line) {
			return -1
		}
		return int(column)
	}
	i := 0
	for units := uint32(0); units < column; units++ {
		if i >= len(line) {
			return -1
		}
		r, size := utf8.DecodeRuneInString(line[i:])
		i += size
		if r > 0xffff {
			units++
		}
	}
	return i
}

// column is how many UTF-16 units the beginning of a line has.
func (t *text) column(beginning string) uint32 {
	n := len(beginning)
	if !t.ascii {
		n = 0
		for _, r := range beginning {
			if n++; r > 0xffff {
				n++
			}
		}
	}
	return uint32(n) //nolint:gosec // texts are bounded
}
