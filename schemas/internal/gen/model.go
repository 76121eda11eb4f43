package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hoptrace/hoptrace/schemas/topics"
)

type kind int

const (
	kindString kind = iota
	kindInteger
	kindNumber
	kindBoolean
	kindBytes  // of msgpack
	kindObject // any object, kept as JSON text
	kindStruct
	kindArray
	kindConst // an element of a tuple that is always the same
)

// goType is what a schema becomes.
type goType struct {
	kind kind
	name string // of a struct; int64, uint64 or int of an integer
	elem *goType
	s    *schema

	nullable, pointer bool
}

// decl is the type in Go.
func (t *goType) decl() string {
	star := ""
	if t.pointer {
		star = "*"
	}
	switch t.kind {
	case kindString, kindConst:
		return star + "string"
	case kindInteger, kindStruct:
		return star + t.name
	case kindNumber:
		return star + "float64"
	case kindBoolean:
		return star + "bool"
	case kindBytes:
		return "[]byte"
	case kindObject:
		return "json.RawMessage"
	case kindArray:
		return "[]" + t.elem.decl()
	}
	panic("no such kind")
}

// goField is a field of a struct, or an element of a tuple.
type goField struct {
	key, name string
	doc       string
	required  bool
	always    bool // written when it is zero
	t         *goType
}

// goStruct is a type to be generated.
type goStruct struct {
	name   string
	doc    string
	of     string // first topic that carries it
	file   string // of the generated code
	tuple  bool
	fields []goField

	msgpack, json bool // codecs it needs
	root          bool // a record is one
}

// record is what one version of a topic carries.
type record struct {
	topic   string
	schema  topics.Schema
	anyJSON bool // any JSON object

	choices []choice
}

// choice is one message of a record.
type choice struct {
	of     *goStruct
	narrow []string // values of the discriminator; empty takes all
	key    string   // of the discriminator; empty for tuples
}

type model struct {
	*loader
	structs map[string]*goStruct // by "file#name"
	byName  map[string]string    // Go name → "file#name"
	records []record
	errs    []error
}

func (m *model) bad(s *schema, format string, args ...any) {
	m.errs = append(m.errs, fmt.Errorf("%s: "+format, append([]any{s.at}, args...)...))
}

// build reads the schemas of all topics.
func build(l *loader, ts []topics.Topic) (*model, error) {
	m := &model{loader: l, structs: map[string]*goStruct{}, byName: map[string]string{}}
	for _, t := range ts {
		for _, v := range t.Schemas {
			if v.Type == "protobuf" {
				m.records = append(m.records, record{topic: t.Name, schema: v})
				continue
			}
			root, err := l.load(v.Resource)
			if err != nil {
				m.errs = append(m.errs, err)
				continue
			}
			m.record(t.Name, v, root)
		}
	}
	// A message on several topics is called after the one that carries only it.
	for i := len(m.records) - 1; i >= 0; i-- {
		if r := m.records[i]; len(r.choices) == 1 {
			r.choices[0].of.of = r.topic
		}
	}
	return m, errors.Join(m.errs...)
}

func (m *model) record(topic string, v topics.Schema, root *schema) {
	r := record{topic: topic, schema: v}
	if root.Description == "" {
		m.bad(root, "description is missing")
	}
	switch {
	case len(root.OneOf) > 0:
		for _, one := range root.OneOf {
			r.choices = append(r.choices, m.choice(topic, v, one)...)
		}
		seen := map[string]bool{}
		for _, c := range r.choices {
			if c.of.tuple != r.choices[0].of.tuple || c.key != r.choices[0].key {
				m.bad(root, "the messages of oneOf are told apart in different ways")
			}
			if len(c.narrow) == 0 {
				m.bad(root, "%s: a message of oneOf needs a const or enum that tells it apart", c.of.name)
			}
			for _, value := range c.narrow {
				if seen[value] {
					m.bad(root, "%q tells two messages", value)
				}
				seen[value] = true
			}
		}
	case root.Ref != "":
		r.choices = m.choice(topic, v, root)
	case len(root.Properties) == 0 && len(root.PrefixItems) == 0:
		if v.Type != "json" || !slices.Equal(root.Types, []string{"object"}) {
			m.bad(root, "a record that is not described must be a JSON object")
		}
		r.anyJSON = true
	default:
		of := m.structOf(topic, v, v.Resource, goName(root.Title), root)
		r.choices = m.describe(of, nil)
	}
	for _, c := range r.choices {
		c.of.root = true
	}
	m.records = append(m.records, r)
}

// choice is a $ref, which may narrow the discriminator.
func (m *model) choice(topic string, v topics.Schema, s *schema) []choice {
	if s.Ref == "" {
		m.bad(s, "must be a $ref")
		return nil
	}
	file, name, target, err := m.resolve(strings.SplitN(s.at, "/", 2)[0], s.Ref)
	if err != nil {
		m.errs = append(m.errs, err)
		return nil
	}
	of := m.structOf(topic, v, file, name, target)
	return m.describe(of, s.Properties)
}

// describe finds the field that tells a message, and what it may be.
func (m *model) describe(of *goStruct, narrowed []property) []choice {
	c := choice{of: of}
	if of.tuple {
		if len(of.fields) > 1 && of.fields[1].t.kind == kindConst {
			c.narrow = []string{fmt.Sprint(of.fields[1].t.s.Const)}
		}
		return []choice{c}
	}
	for _, f := range of.fields {
		if f.name != "Type" || f.t.kind != kindString {
			continue
		}
		c.key = f.key
		if s, ok := f.t.s.Const.(string); ok {
			c.narrow = []string{s}
		}
	}
	for _, p := range narrowed {
		if p.name != c.key || len(p.Enum) == 0 {
			m.bad(p.schema, "only the enum of the field %q can be narrowed", c.key)
		}
		c.narrow = p.Enum
	}
	return []choice{c}
}

// structOf makes the struct of an object or tuple, once.
func (m *model) structOf(topic string, v topics.Schema, file, name string, s *schema) *goStruct {
	id := file + "#" + name
	out, known := m.structs[id]
	if !known {
		if other, taken := m.byName[name]; taken {
			m.bad(s, "the name %s is taken by %s", name, other)
		}
		base, _, _ := strings.Cut(file, ".schema.json")
		out = &goStruct{name: name, doc: s.Description, of: topic, file: strings.NewReplacer("-", "_", ".", "_").Replace(base) + "_gen.go"}
		m.structs[id], m.byName[name] = out, id
		if s.Description == "" {
			m.bad(s, "description is missing")
		}
	}
	needs := &out.msgpack
	if v.Type == "json" {
		needs = &out.json
	}
	if known && *needs {
		return out
	}
	*needs = true
	out.fields = nil
	if len(s.PrefixItems) > 0 {
		m.tuple(topic, v, file, out, s)
		return out
	}
	if !slices.Equal(s.Types, []string{"object"}) {
		m.bad(s, "type is %v; it must be object, or array with prefixItems", s.Types)
		return out
	}
	if s.AdditionalProperties != nil && !*s.AdditionalProperties {
		m.bad(s, "additionalProperties is false; readers must tolerate fields that are new")
	}
	if len(s.Properties) > 64 {
		m.bad(s, "has more than 64 fields")
	}
	for _, p := range s.Properties {
		f := goField{key: p.name, name: goName(p.name), doc: p.Description, required: slices.Contains(s.Required, p.name)}
		if p.GoName != "" {
			f.name = p.GoName
		}
		f.always = f.required || p.Write == "always"
		if p.Write != "" && p.Write != "always" {
			m.bad(p.schema, "x-write is %q; it can only be always", p.Write)
		}
		if f.doc == "" {
			m.bad(p.schema, "description is missing")
		}
		f.t = m.typeOf(topic, v, file, p.schema)
		if f.t.nullable && f.required && !f.t.pointer && f.t.kind != kindArray {
			m.bad(p.schema, "is required, may be null and has x-null: what is written for zero is not clear")
		}
		m.zeroFits(f, p.schema)
		out.fields = append(out.fields, f)
	}
	for _, r := range s.Required {
		if !slices.ContainsFunc(s.Properties, func(p property) bool { return p.name == r }) {
			m.bad(s, "required names %q, which is no property", r)
		}
	}
	if v.Type == "json" && len(out.fields) > 0 && !out.fields[0].always {
		m.bad(s, "the first property must always be written")
	}
	return out
}

// zeroFits checks that a field that may be absent can be read as zero.
func (m *model) zeroFits(f goField, s *schema) {
	if f.required || f.t.pointer {
		return
	}
	zero := f.t.kind != kindStruct && len(s.Enum) == 0 && s.Const == nil
	zero = zero && (s.MinLength == nil || *s.MinLength == 0) && (s.MinItems == nil || *s.MinItems == 0 || f.t.nullable)
	zero = zero && s.Pattern != "^[0-9a-f]{32}$" && s.Format != "date-time"
	if s.Minimum != "" && s.Minimum != "0" && !strings.HasPrefix(string(s.Minimum), "-") {
		zero = false
	}
	if !zero {
		m.bad(s, "may be absent, but zero is not one of its values: require it, or let it be null so that it becomes a pointer")
	}
}

func (m *model) tuple(topic string, v topics.Schema, file string, out *goStruct, s *schema) {
	out.tuple = true
	if v.Type != "json" || !s.NoItems || s.MinItems == nil || *s.MinItems != len(s.PrefixItems) {
		m.bad(s, `a tuple is JSON, has "items": false and as many minItems as prefixItems`)
	}
	for _, e := range s.PrefixItems {
		f := goField{name: e.GoName, required: true, always: true}
		if e.Const != nil {
			f.t = &goType{kind: kindConst, s: e}
		} else {
			f.t = m.typeOf(topic, v, file, e)
			if f.name == "" {
				m.bad(e, "an element needs x-go-name")
			}
			if f.t.kind == kindStruct {
				f.doc = f.t.s.Description
			}
		}
		out.fields = append(out.fields, f)
	}
}

var integers = map[string]string{"": "int64", "int64": "int64", "uint64": "uint64", "int": "int"}

func (m *model) typeOf(topic string, v topics.Schema, file string, s *schema) *goType {
	t := &goType{s: s}
	if s.Ref != "" {
		inFile, name, target, err := m.resolve(file, s.Ref)
		if err != nil {
			m.errs = append(m.errs, err)
			return t
		}
		if name == "Bytes" {
			if v.Type != "msgpack" {
				m.bad(s, "JSON has no bytes")
			}
			t.kind = kindBytes
			return t
		}
		t.kind, t.name, t.s = kindStruct, m.structOf(topic, v, inFile, name, target).name, target
		return t
	}
	types := slices.DeleteFunc(slices.Clone(s.Types), func(x string) bool { return x == "null" })
	t.nullable = len(types) < len(s.Types)
	t.pointer = t.nullable && s.Null != "zero"
	if _, ok := s.Const.(string); ok && len(types) == 0 {
		types = []string{"string"}
	}
	if len(types) != 1 {
		m.bad(s, "type is %v; it must be one, and null perhaps", s.Types)
		return t
	}
	switch types[0] {
	case "string":
		t.kind = kindString
		if s.MaxLength == nil && s.Pattern == "" && len(s.Enum) == 0 && s.Const == nil && s.Format == "" {
			m.bad(s, "has no bound: say maxLength, pattern, format or enum")
		}
		if _, ok := patterns[s.Pattern]; s.Pattern != "" && !ok {
			m.bad(s, "pattern %q has no check in package wire; there are %s", s.Pattern, strings.Join(slices.Sorted(maps.Keys(patterns)), " and "))
		}
		if s.Format != "" && s.Format != "date-time" {
			m.bad(s, "format %q has no check in package wire", s.Format)
		}
	case "integer":
		t.kind, t.name = kindInteger, integers[s.Format]
		if t.name == "" {
			m.bad(s, "format is %q; an integer's is int64, uint64 or int", s.Format)
		}
		if s.Minimum == "" || s.Maximum == "" {
			m.bad(s, "has no bounds: say minimum and maximum")
		}
	case "number":
		t.kind = kindNumber
	case "boolean":
		t.kind = kindBoolean
	case "object":
		t.kind, t.pointer = kindObject, false
		if len(s.Properties) > 0 {
			m.bad(s, "an object with properties stands in $defs, so that it has a name")
		}
		if v.Type != "json" {
			m.bad(s, "msgpack needs to know what is in an object")
		}
		if t.nullable {
			m.bad(s, "an object that may be null is not supported")
		}
	case "array":
		t.kind, t.pointer = kindArray, false
		if s.Items == nil || s.MaxItems == nil {
			m.bad(s, "an array needs items and maxItems")
			t.elem = &goType{kind: kindBoolean, s: s}
			return t
		}
		t.elem = m.typeOf(topic, v, file, s.Items)
		if t.nullable && s.Null != "zero" {
			m.bad(s, "an array that may be null needs x-null: zero")
		}
	default:
		m.bad(s, "type is %q, which the generator does not know", types[0])
	}
	return t
}

// patterns are those that package wire checks without a regular expression.
var patterns = map[string]struct{ check, want string }{
	"^[0-9a-f]{32}$":    {"isHex32", "32 hex digits in lower case"},
	"^([0-9a-f]{32})?$": {"isNoneOrHex32", "32 hex digits in lower case, or nothing"},
}

var initialisms = map[string]string{"id": "ID", "ids": "IDs", "ip": "IP", "sdk": "SDK", "url": "URL", "json": "JSON"}

// goName makes event_id EventID.
func goName(key string) string {
	var b strings.Builder
	for part := range strings.SplitSeq(key, "_") {
		if up, ok := initialisms[part]; ok {
			b.WriteString(up)
		} else if part != "" {
			b.WriteString(strings.ToUpper(part[:1]) + part[1:])
		}
	}
	return b.String()
}

func number(n json.Number) string { return string(n) }
