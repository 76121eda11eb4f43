// Package compat tells whether two versions of a JSON Schema understand each
// other. It compares schemas, never data, and takes the safe side: what it does
// not understand breaks, so that it calls nothing compatible that is not.
//
// A writer is taken to write only the fields that its schema names, as those of
// package wire do; fields that a reader does not know are its business
// (additionalProperties).
package compat

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/big"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Mode is what a version promises to be to the one before it.
type Mode string

// Modes.
const (
	None     Mode = "none"     // nothing
	Backward Mode = "backward" // the new one reads what the old one wrote
	Forward  Mode = "forward"  // the old one reads what the new one writes
	Full     Mode = "full"     // both
)

// Break is one reason why a reader does not take what a writer writes.
type Break struct {
	// Reader and Writer are the files of the schemas.
	Reader, Writer string

	// Path is where, as "attachments[].chunks".
	Path string

	// Why says what the writer may write, for people.
	Why string
}

// String is all of it in a line.
func (b Break) String() string {
	at := b.Path
	if at == "" {
		at = "the record"
	}
	return fmt.Sprintf("%s does not read what %s writes: %s: %s", b.Reader, b.Writer, at, b.Why)
}

// Check holds the schema in file next against the one in file previous, both of
// fsys, and gives what breaks the promise of mode.
func Check(fsys fs.FS, mode Mode, previous, next string) ([]Break, error) {
	var out []Break
	pairs := map[Mode][][2]string{
		None: {}, Backward: {{next, previous}}, Forward: {{previous, next}}, Full: {{next, previous}, {previous, next}},
	}
	directions, ok := pairs[mode]
	if !ok {
		return nil, fmt.Errorf("there is no compatibility mode %q: there are none, backward, forward, full", mode)
	}
	for _, d := range directions {
		breaks, err := Reads(fsys, d[0], d[1])
		if err != nil {
			return nil, err
		}
		out = append(out, breaks...)
	}
	return out, nil
}

// Reads gives the reasons why a reader with one schema does not take all that a
// writer with another writes; none means that it does.
func Reads(fsys fs.FS, reader, writer string) ([]Break, error) {
	c := &checker{fsys: fsys, files: map[string]any{}, assumed: map[string]bool{}, names: Break{Reader: reader, Writer: writer}}
	r, err := c.file(reader)
	if err != nil {
		return nil, err
	}
	w, err := c.file(writer)
	if err != nil {
		return nil, err
	}
	c.reads(node{reader, r}, node{writer, w}, "")
	slices.SortStableFunc(c.breaks, func(a, b Break) int { return cmp.Or(strings.Compare(a.Path, b.Path), strings.Compare(a.Why, b.Why)) })
	return c.breaks, errors.Join(c.errs...)
}

// node is a schema, which is a bool or an object, and the file that it is in.
type node struct {
	file string
	v    any
}

type checker struct {
	fsys    fs.FS
	files   map[string]any
	assumed map[string]bool // pairs that are being compared: schemas may be recursive
	names   Break
	breaks  []Break
	errs    []error
}

func (c *checker) file(name string) (any, error) {
	if v, ok := c.files[name]; ok {
		return v, nil
	}
	raw, err := fs.ReadFile(c.fsys, name)
	if err != nil {
		return nil, fmt.Errorf("cannot read schema %s: %w", name, err)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("schema %s: %w", name, err)
	}
	c.files[name] = v
	return v, nil
}

func (c *checker) bad(at, format string, args ...any) {
	b := c.names
	b.Path, b.Why = at, fmt.Sprintf(format, args...)
	c.breaks = append(c.breaks, b)
}

// words that say nothing of what is valid.
var comments = map[string]bool{
	"$schema": true, "$id": true, "$comment": true, "$defs": true, "title": true, "description": true, "default": true, "examples": true,
	"deprecated": true, "readOnly": true, "writeOnly": true, "contentEncoding": true, "contentMediaType": true, "contentSchema": true,
}

// words that are compared; all others break when the two differ in them.
var understood = map[string]bool{
	"type": true, "enum": true, "const": true, "minimum": true, "maximum": true, "exclusiveMinimum": true, "exclusiveMaximum": true,
	"minLength": true, "maxLength": true, "pattern": true, "format": true, "properties": true, "required": true, "additionalProperties": true,
	"items": true, "prefixItems": true, "minItems": true, "maxItems": true, "oneOf": true, "anyOf": true,
}

// integerFormats are types of Go, which say nothing more than the bounds do.
var integerFormats = map[string]bool{"int": true, "int64": true, "uint64": true}

// maxDepth bounds how deep schemas may be nested.
const maxDepth = 100

// flat follows $ref and merges what stands beside it, and merges allOf. It
// gives nil for the schema true.
func (c *checker) flat(n node, depth int) (map[string]any, node, bool) {
	switch v := n.v.(type) {
	case bool:
		return nil, n, v
	case map[string]any:
		out := map[string]any{}
		for k, x := range v {
			if !comments[k] && !strings.HasPrefix(k, "x-") && k != "$ref" && k != "allOf" {
				out[k] = here(n.file, x)
			}
		}
		var parts []node
		if ref, ok := v["$ref"].(string); ok {
			parts = append(parts, c.resolve(n.file, ref))
		}
		if all, ok := v["allOf"].([]any); ok {
			for _, one := range all {
				parts = append(parts, node{n.file, one})
			}
		}
		for _, p := range parts {
			if depth > maxDepth {
				c.errs = append(c.errs, fmt.Errorf("schema %s: references go round in a circle", n.file))
				return nil, n, true
			}
			sub, _, allowed := c.flat(p, depth+1)
			if !allowed {
				return nil, n, false
			}
			for k, x := range sub {
				out[k] = both(k, out[k], x)
			}
		}
		return out, n, true
	}
	c.errs = append(c.errs, fmt.Errorf("schema %s: %v is no schema", n.file, n.v))
	return nil, n, true
}

// located is a value with the file that it is from, so that references in it
// are followed from there.
type located struct {
	file string
	v    any
}

func here(file string, v any) any { return located{file, v} }

func value(v any) any {
	if l, ok := v.(located); ok {
		return l.v
	}
	return v
}

// conflict marks a word that two merged schemas say differently and that
// cannot be merged; it is compared as a word that is not understood.
type conflict struct{ a, b any }

// both is what two merged schemas say by one word.
func both(word string, a, b any) any {
	if a == nil {
		return b
	}
	if b == nil {
		return a
	}
	la, lb := a.(located), b.(located)
	if text(la.v) == text(lb.v) {
		return a
	}
	switch word {
	case "enum":
		x, _ := la.v.([]any)
		y, _ := lb.v.([]any)
		return here(la.file, slices.DeleteFunc(slices.Clone(x), func(v any) bool {
			return !slices.ContainsFunc(y, func(w any) bool { return same(v, w) })
		}))
	case "required":
		x, _ := la.v.([]any)
		y, _ := lb.v.([]any)
		return here(la.file, append(slices.Clone(x), y...))
	case "properties":
		x, _ := la.v.(map[string]any)
		y, _ := lb.v.(map[string]any)
		out := map[string]any{}
		for _, side := range []struct {
			file string
			m    map[string]any
		}{{la.file, x}, {lb.file, y}} {
			for k, v := range side.m {
				if l, ok := v.(located); ok {
					side.file, v = l.file, l.v
				}
				if have, ok := out[k].(located); ok {
					out[k] = here(la.file, map[string]any{"allOf": []any{have.v, v}})
					if have.file != side.file {
						out[k] = here(la.file, map[string]any{"allOf": []any{rooted(have.file, have.v), rooted(side.file, v)}})
					}
					continue
				}
				out[k] = here(side.file, v)
			}
		}
		return here(la.file, out)
	case "minimum", "exclusiveMinimum", "minLength", "minItems":
		if x, y := number(la.v), number(lb.v); x != nil && y != nil && x.Cmp(y) < 0 {
			return b
		}
		return a
	case "maximum", "exclusiveMaximum", "maxLength", "maxItems":
		if x, y := number(la.v), number(lb.v); x != nil && y != nil && x.Cmp(y) > 0 {
			return b
		}
		return a
	case "type":
		var common []any
		for _, side := range [][2][]any{{list(la.v), list(lb.v)}, {list(lb.v), list(la.v)}} {
			for _, t := range side[0] {
				if (slices.Contains(side[1], t) || t == "integer" && slices.Contains(side[1], any("number"))) && !slices.Contains(common, t) {
					common = append(common, t)
				}
			}
		}
		return here(la.file, common)
	}
	return here(la.file, conflict{la.v, lb.v})
}

// rooted makes the references within v absolute.
func rooted(file string, v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, x := range v {
			if ref, ok := x.(string); ok && k == "$ref" && strings.HasPrefix(ref, "#") {
				x = file + ref
			}
			out[k] = rooted(file, x)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, x := range v {
			out[i] = rooted(file, x)
		}
		return out
	}
	return v
}

func list(v any) []any {
	if l, ok := v.([]any); ok {
		return l
	}
	return []any{v}
}

func (c *checker) resolve(file, ref string) node {
	target, pointer, _ := strings.Cut(ref, "#")
	if target == "" {
		target = file
	} else {
		target = path.Join(path.Dir(file), target)
	}
	v, err := c.file(target)
	if err != nil {
		c.errs = append(c.errs, err)
		return node{file, true}
	}
	for _, step := range strings.Split(strings.TrimPrefix(pointer, "/"), "/") {
		if step == "" {
			continue
		}
		m, ok := v.(map[string]any)
		if v = m[strings.NewReplacer("~1", "/", "~0", "~").Replace(step)]; !ok || v == nil {
			c.errs = append(c.errs, fmt.Errorf("schema %s: $ref %q leads nowhere", file, ref))
			return node{file, true}
		}
	}
	return node{target, v}
}

// reads adds what breaks when a reader with r reads what is written by w.
func (c *checker) reads(r, w node, at string) {
	pair := r.file + text(r.v) + "\x00" + w.file + text(w.v)
	if c.assumed[pair] || len(c.errs) > 0 {
		return
	}
	c.assumed[pair] = true
	defer delete(c.assumed, pair)
	ws, w, writes := c.flat(w, 0)
	if !writes {
		return // nothing is written
	}
	rs, r, allowed := c.flat(r, 0)
	if !allowed {
		c.bad(at, "is refused")
		return
	}
	for _, word := range []string{"oneOf", "anyOf"} {
		if branches, ok := value(ws[word]).([]any); ok {
			for _, b := range branches {
				c.reads(r, node{w.file, c.with(ws, word, b)}, at)
			}
			return
		}
	}
	for _, word := range []string{"oneOf", "anyOf"} {
		if branches, ok := value(rs[word]).([]any); ok {
			c.oneOf(r.file, rs, word, branches, w, at)
			return
		}
	}
	for _, word := range slices.Sorted(maps.Keys(rs)) {
		_, conflicts := value(rs[word]).(conflict)
		if conflicts || !understood[word] && text(value(rs[word])) != text(value(ws[word])) {
			c.bad(at, "the reader says %s: whether that fits cannot be told", word)
			if conflicts {
				return
			}
		}
	}
	for _, word := range slices.Sorted(maps.Keys(ws)) {
		if _, conflicts := value(ws[word]).(conflict); conflicts {
			c.bad(at, "the writer says %s twice: whether that fits cannot be told", word)
			return
		}
	}
	if !c.types(rs, ws, at) {
		return
	}
	values, fixed := fixedValues(ws)
	c.values(rs, values, fixed, at)
	if fixed {
		c.fixed(rs, values, at)
	} else {
		c.bounds(rs, ws, at)
	}
	if writesType(ws, "object") {
		c.object(rs, ws, at)
	}
	if writesType(ws, "array") {
		c.array(rs, ws, at)
	}
}

// with is a schema of words and a branch instead of the word that has it.
func (c *checker) with(words map[string]any, word string, branch any) any {
	rest := map[string]any{}
	file := ""
	for k, v := range words {
		l := v.(located)
		if k == word {
			file = l.file
			continue
		}
		rest[k] = rooted(l.file, unlocate(l.v))
	}
	if len(rest) == 0 {
		return rooted(file, branch)
	}
	return map[string]any{"allOf": []any{rest, rooted(file, branch)}}
}

// unlocate undoes what merging did to properties.
func unlocate(v any) any {
	m, ok := v.(map[string]any)
	if !ok {
		return v
	}
	out := make(map[string]any, len(m))
	for k, x := range m {
		if l, ok := x.(located); ok {
			x = rooted(l.file, l.v)
		}
		out[k] = x
	}
	return out
}

// oneOf looks for a branch of the reader that takes all, and tells of the one
// that comes nearest.
func (c *checker) oneOf(file string, rs map[string]any, word string, branches []any, w node, at string) {
	var best []Break
	for i, b := range branches {
		try := &checker{fsys: c.fsys, files: c.files, assumed: maps.Clone(c.assumed), names: c.names}
		try.reads(node{file, try.with(rs, word, b)}, w, at)
		c.errs = append(c.errs, try.errs...)
		if len(try.breaks) == 0 {
			return
		}
		if i == 0 || nearer(try.breaks, best, at) {
			best = try.breaks
		}
	}
	c.breaks = append(c.breaks, best...)
}

// nearer tells whether breaks are of a branch that is rather meant: those that
// lie deeper say that what tells the branches apart fits.
func nearer(a, b []Break, at string) bool {
	discriminated := func(bs []Break) bool {
		return slices.ContainsFunc(bs, func(x Break) bool { return strings.HasPrefix(x.Why, "may be") || x.Path == at })
	}
	if da, db := discriminated(a), discriminated(b); da != db {
		return db
	}
	return len(a) < len(b)
}

var allTypes = []string{"array", "boolean", "null", "number", "object", "string"}

// typesOf are the types that a schema allows, integer within number.
func typesOf(s map[string]any) []string {
	v, ok := s["type"]
	if !ok {
		if values, fixed := fixedValues(s); fixed {
			out := make([]string, 0, len(values))
			for _, v := range values {
				out = append(out, typeOf(v))
			}
			slices.Sort(out)
			return slices.Compact(out)
		}
		return allTypes
	}
	var out []string
	for _, t := range list(value(v)) {
		out = append(out, fmt.Sprint(t))
	}
	return out
}

func typeOf(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case string:
		return "string"
	case []any:
		return "array"
	case map[string]any:
		return "object"
	case json.Number:
		if n := number(v); n != nil && n.IsInt() {
			return "integer"
		}
	}
	return "number"
}

func writesType(s map[string]any, t string) bool {
	_, fixed := fixedValues(s)
	return !fixed && slices.Contains(typesOf(s), t)
}

func (c *checker) types(rs, ws map[string]any, at string) bool {
	have := typesOf(rs)
	ok := true
	for _, t := range typesOf(ws) {
		if !slices.Contains(have, t) && (t != "integer" || !slices.Contains(have, "number")) {
			c.bad(at, "may be %s, and the reader takes %s", article(t), strings.Join(have, " or "))
			ok = false
		}
	}
	return ok
}

func article(t string) string {
	if strings.ContainsRune("aio", rune(t[0])) {
		return "an " + t
	}
	return "a " + t
}

// fixedValues are those of const or enum.
func fixedValues(s map[string]any) (values []any, fixed bool) {
	if v, ok := s["const"]; ok {
		return []any{value(v)}, true
	}
	if v, ok := value(s["enum"]).([]any); ok {
		return v, true
	}
	return nil, false
}

func (c *checker) values(rs map[string]any, written []any, fixed bool, at string) {
	for _, word := range []string{"const", "enum"} {
		v, ok := rs[word]
		if !ok {
			continue
		}
		takes := list(value(v))
		if word == "const" {
			takes = []any{value(v)}
		}
		if !fixed {
			c.bad(at, "may be anything, and the reader takes only %s", text(takes))
			continue
		}
		for _, w := range written {
			if !slices.ContainsFunc(takes, func(t any) bool { return same(t, w) }) {
				c.bad(at, "may be %s, and the reader takes only %s", text(w), text(takes))
			}
		}
	}
}

func same(a, b any) bool {
	if x, y := number(a), number(b); x != nil && y != nil {
		return x.Cmp(y) == 0
	}
	return text(a) == text(b)
}

// fixed holds each value that may be written against the reader's bounds.
func (c *checker) fixed(rs map[string]any, written []any, at string) {
	for _, v := range written {
		switch v := v.(type) {
		case json.Number:
			n := number(v)
			for word, ok := range map[string]func(int) bool{
				"minimum": func(x int) bool { return x >= 0 }, "maximum": func(x int) bool { return x <= 0 },
				"exclusiveMinimum": func(x int) bool { return x > 0 }, "exclusiveMaximum": func(x int) bool { return x < 0 },
			} {
				if bound := number(value(rs[word])); n != nil && bound != nil && !ok(n.Cmp(bound)) {
					c.bad(at, "may be %s, and the reader's %s is %s", v, word, bound.RatString())
				}
			}
		case string:
			length := new(big.Rat).SetInt64(int64(utf8.RuneCountInString(v)))
			if low := number(value(rs["minLength"])); low != nil && length.Cmp(low) < 0 {
				c.bad(at, "may be %q, which is too short for the reader", v)
			}
			if high := number(value(rs["maxLength"])); high != nil && length.Cmp(high) > 0 {
				c.bad(at, "may be %q, which is too long for the reader", v)
			}
			if pattern, ok := value(rs["pattern"]).(string); ok {
				if re, err := regexp.Compile(pattern); err != nil || !re.MatchString(v) {
					c.bad(at, "may be %q, which the reader's pattern %s does not take", v, pattern)
				}
			}
			if _, ok := rs["format"]; ok {
				c.bad(at, "may be %q, of which the reader's format is not known to take it", v)
			}
		case []any, map[string]any:
			for _, word := range []string{"properties", "required", "additionalProperties", "items", "prefixItems", "minItems", "maxItems"} {
				if _, ok := rs[word]; ok {
					c.bad(at, "may be %s: whether the reader's %s takes it cannot be told", text(v), word)
				}
			}
		}
	}
}

func (c *checker) bounds(rs, ws map[string]any, at string) {
	type bound struct {
		word, of string
		lower    bool
	}
	numeric := writesType(ws, "number") || writesType(ws, "integer")
	for _, b := range []bound{
		{"minimum", "number", true},
		{"maximum", "number", false},
		{"exclusiveMinimum", "number", true},
		{"exclusiveMaximum", "number", false},
		{"minLength", "string", true},
		{"maxLength", "string", false},
		{"minItems", "array", true},
		{"maxItems", "array", false},
	} {
		want := number(value(rs[b.word]))
		if want == nil || b.of == "number" && !numeric || b.of != "number" && !writesType(ws, b.of) {
			continue
		}
		have, strict := number(value(ws[b.word])), false
		if b.of == "number" { // the tighter of the inclusive and the exclusive bound
			other := "exclusive" + strings.ToUpper(b.word[:1]) + b.word[1:]
			if strings.HasPrefix(b.word, "exclusive") {
				other = strings.ToLower(b.word[len("exclusive"):len("exclusive")+1]) + b.word[len("exclusive")+1:]
			}
			strict = strings.HasPrefix(b.word, "exclusive")
			if x := number(value(ws[other])); x != nil && (have == nil || (b.lower && x.Cmp(have) > 0) || (!b.lower && x.Cmp(have) < 0)) {
				have, strict = x, !strict
			}
		}
		if b.word == "minLength" || b.word == "minItems" {
			if have == nil {
				have = new(big.Rat)
			}
		}
		if have == nil && b.word == "maxItems" && value(ws["items"]) == false {
			have = new(big.Rat).SetInt64(int64(len(list(value(ws["prefixItems"])))))
		}
		if have == nil {
			c.bad(at, "has no bound, and the reader's %s is %s", b.word, want.RatString())
			continue
		}
		sign := have.Cmp(want)
		fits := b.lower && sign > 0 || !b.lower && sign < 0 || sign == 0 && (strict || !strings.HasPrefix(b.word, "exclusive"))
		if !fits {
			c.bad(at, "goes to %s, and the reader's %s is %s", have.RatString(), b.word, want.RatString())
		}
	}
	for _, word := range []string{"pattern", "format"} {
		want, ok := value(rs[word]).(string)
		if !ok || !writesType(ws, "string") || word == "format" && integerFormats[want] {
			continue
		}
		if have, _ := value(ws[word]).(string); have != want {
			c.bad(at, "may be any text, and the reader's %s is %s: whether that fits cannot be told", word, want)
		}
	}
}

func (c *checker) object(rs, ws map[string]any, at string) {
	below := func(field string) string {
		if at == "" {
			return field
		}
		return at + "." + field
	}
	written, _ := value(ws["properties"]).(map[string]any)
	known, _ := value(rs["properties"]).(map[string]any)
	required := map[string]bool{}
	for _, v := range list(value(ws["required"])) {
		required[fmt.Sprint(v)] = true
	}
	if names, ok := value(rs["required"]).([]any); ok {
		for _, v := range names {
			if name := fmt.Sprint(v); !required[name] {
				c.bad(below(name), "may be left out, and the reader requires it")
			}
		}
	}
	sub := func(words map[string]any, props map[string]any, name string) node {
		if l, ok := props[name].(located); ok {
			return node(l)
		}
		return node{words["properties"].(located).file, props[name]}
	}
	for _, name := range slices.Sorted(maps.Keys(written)) {
		w := sub(ws, written, name)
		if _, ok := known[name]; ok {
			c.reads(sub(rs, known, name), w, below(name))
		} else if more, ok := rs["additionalProperties"].(located); ok {
			c.reads(node(more), w, below(name))
		}
	}
	// A map: what the writer puts below names that are not in its schema.
	if more, ok := ws["additionalProperties"].(located); ok && more.v != false {
		if _, anything := more.v.(bool); !anything {
			to, ok := rs["additionalProperties"].(located)
			if ok {
				c.reads(node(to), node(more), below("*"))
			}
			for _, name := range slices.Sorted(maps.Keys(known)) {
				if _, ok := written[name]; !ok {
					c.reads(sub(rs, known, name), node(more), below(name))
				}
			}
		}
	}
}

func (c *checker) array(rs, ws map[string]any, at string) {
	heads, _ := value(ws["prefixItems"]).([]any)
	takes, _ := value(rs["prefixItems"]).([]any)
	rest := func(s map[string]any) node {
		if l, ok := s["items"].(located); ok {
			return node(l)
		}
		return node{"", true}
	}
	element := func(s map[string]any, heads []any, i int) node {
		if i < len(heads) {
			return node{s["prefixItems"].(located).file, heads[i]}
		}
		return rest(s)
	}
	for i := range max(len(heads), len(takes)) {
		c.reads(element(rs, takes, i), element(ws, heads, i), fmt.Sprintf("%s[%d]", at, i))
	}
	c.reads(rest(rs), rest(ws), at+"[]")
}

func number(v any) *big.Rat {
	n, ok := v.(json.Number)
	if !ok || len(n) > 40 || strings.ContainsAny(string(n), "eE") && len(n) > 8 {
		return nil
	}
	r, ok := new(big.Rat).SetString(string(n))
	if !ok {
		return nil
	}
	return r
}

// text is v in one form.
func text(v any) string {
	raw, err := json.Marshal(unlocate(v))
	if err != nil {
		return fmt.Sprintf("%#v", v)
	}
	return string(raw)
}
