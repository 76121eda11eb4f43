package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// schema is the part of JSON Schema that the generator understands. Anything
// else in a file is an error: what is not generated would not be checked.
type schema struct {
	at string // file and place in it, for errors

	Schema, Title, Description, Comment string
	Ref                                 string
	Types                               []string
	Enum                                []string
	Const                               any // string or json.Number
	Properties                          []property
	Required                            []string
	AdditionalProperties                *bool
	Items                               *schema
	NoItems                             bool // "items": false
	PrefixItems                         []*schema
	OneOf                               []*schema
	Minimum, Maximum                    json.Number
	MinLength, MaxLength                *int
	MinItems, MaxItems                  *int
	Pattern, Format, ContentEncoding    string
	Defs                                []property

	GoName, Null, Write string // x-go-name, x-null, x-write
}

// property is a schema with its name, in the file's order.
type property struct {
	name string
	*schema
}

// loader reads the files of one folder.
type loader struct {
	fsys  fs.FS
	files map[string]*schema
}

func (l *loader) load(name string) (*schema, error) {
	if s, ok := l.files[name]; ok {
		return s, nil
	}
	raw, err := fs.ReadFile(l.fsys, name)
	if err != nil {
		return nil, fmt.Errorf("cannot read schema %s: %w", name, err)
	}
	s, err := parse(raw, name)
	if err != nil {
		return nil, err
	}
	if s.Schema != "https://json-schema.org/draft/2020-12/schema" {
		return nil, fmt.Errorf("%s: $schema is %q; it must be draft 2020-12", name, s.Schema)
	}
	l.files[name] = s
	return s, nil
}

// resolve follows a reference from within file: "#/$defs/X" or
// "other.schema.json#/$defs/X".
func (l *loader) resolve(file, ref string) (inFile, name string, s *schema, err error) {
	target, pointer, _ := strings.Cut(ref, "#")
	if target == "" {
		target = file
	}
	name, ok := strings.CutPrefix(pointer, "/$defs/")
	if !ok || strings.Contains(name, "/") {
		return "", "", nil, fmt.Errorf("%s: $ref %q is not FILE#/$defs/NAME", file, ref)
	}
	root, err := l.load(target)
	if err != nil {
		return "", "", nil, err
	}
	for _, d := range root.Defs {
		if d.name == name {
			return target, name, d.schema, nil
		}
	}
	return "", "", nil, fmt.Errorf("%s: $ref %q leads nowhere", file, ref)
}

func parse(raw []byte, at string) (*schema, error) {
	if !json.Valid(raw) {
		return nil, fmt.Errorf("%s: broken JSON", at)
	}
	if string(bytes.TrimSpace(raw)) == "true" {
		return &schema{at: at}, nil
	}
	fields, err := ordered(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", at, err)
	}
	s := &schema{at: at}
	var errs []error
	for _, f := range fields {
		if err := s.set(f.name, f.raw); err != nil {
			errs = append(errs, fmt.Errorf("%s: %s: %w", at, f.name, err))
		}
	}
	return s, errors.Join(errs...)
}

func (s *schema) set(key string, raw json.RawMessage) (err error) {
	into := func(dst any) error {
		d := json.NewDecoder(bytes.NewReader(raw))
		d.UseNumber()
		return d.Decode(dst)
	}
	sub := func(name string) *schema {
		var out *schema
		if err == nil {
			out, err = parse(raw, s.at+"/"+name)
		}
		return out
	}
	list := func() (out []*schema) {
		var raws []json.RawMessage
		err = into(&raws)
		for i, raw := range raws {
			one, oneErr := parse(raw, fmt.Sprintf("%s/%s/%d", s.at, key, i))
			err = errors.Join(err, oneErr)
			out = append(out, one)
		}
		return out
	}
	named := func() (out []property) {
		fields, orderErr := ordered(raw)
		err = orderErr
		for _, f := range fields {
			one, oneErr := parse(f.raw, s.at+"/"+key+"/"+f.name)
			err = errors.Join(err, oneErr)
			out = append(out, property{f.name, one})
		}
		return out
	}
	switch key {
	case "$schema":
		return into(&s.Schema)
	case "title":
		return into(&s.Title)
	case "description":
		return into(&s.Description)
	case "$comment":
		return into(&s.Comment)
	case "$ref":
		return into(&s.Ref)
	case "type":
		if raw[0] == '[' {
			return into(&s.Types)
		}
		s.Types = make([]string, 1)
		return into(&s.Types[0])
	case "enum":
		return into(&s.Enum)
	case "const":
		return into(&s.Const)
	case "properties":
		s.Properties = named()
	case "$defs":
		s.Defs = named()
	case "required":
		return into(&s.Required)
	case "additionalProperties":
		return into(&s.AdditionalProperties)
	case "items":
		if string(raw) == "false" {
			s.NoItems = true
			return nil
		}
		s.Items = sub("items")
	case "prefixItems":
		s.PrefixItems = list()
	case "oneOf":
		s.OneOf = list()
	case "minimum":
		return into(&s.Minimum)
	case "maximum":
		return into(&s.Maximum)
	case "minLength":
		return into(&s.MinLength)
	case "maxLength":
		return into(&s.MaxLength)
	case "minItems":
		return into(&s.MinItems)
	case "maxItems":
		return into(&s.MaxItems)
	case "pattern":
		return into(&s.Pattern)
	case "format":
		return into(&s.Format)
	case "contentEncoding":
		return into(&s.ContentEncoding)
	case "x-go-name":
		return into(&s.GoName)
	case "x-null":
		return into(&s.Null)
	case "x-write":
		return into(&s.Write)
	default:
		return errors.New("the generator does not know this word; teach it, or say it otherwise")
	}
	return err
}

type field struct {
	name string
	raw  json.RawMessage
}

// ordered reads an object and keeps the order of its fields.
func ordered(raw []byte) ([]field, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("want an object")
	}
	var out []field
	seen := map[string]bool{}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, err
		}
		f := field{name: name.(string)}
		if seen[f.name] {
			return nil, fmt.Errorf("%s stands twice", f.name)
		}
		seen[f.name] = true
		if err := d.Decode(&f.raw); err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	return out, nil
}
