// Package config fills a struct from layers: what it holds already (the
// defaults), a YAML file, the environment and flags, each over the one before.
// It names every fault of every layer at once, with its place. It knows no
// setting of the product; those stand in cmd/hoptrace.
//
// A setting is an exported field with a `yaml:"name"` tag; nested structs make
// dotted keys ("collector.http"). A map of strings is one setting: a mapping in
// the file, a=b,c=d in the environment and flags, each replacing it whole. `help:"…"` describes it, `secret:"true"`
// hides its value when the configuration is printed.
package config

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Origin says which layer a value came from.
type Origin string

// Origins, weakest first.
const (
	FromDefault Origin = "default"
	FromFile    Origin = "file"
	FromEnv     Origin = "environment"
	FromFlag    Origin = "flag"
)

// Field is one setting.
type Field struct {
	Key    string // dotted
	Help   string
	Secret bool
	Origin Origin
	value  reflect.Value
}

// Env is the name of the environment variable that sets the field.
func (f *Field) Env(prefix string) string {
	return prefix + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(f.Key))
}

// IsBool tells that the flag needs no value.
func (f *Field) IsBool() bool { return f.value.Kind() == reflect.Bool }

// String is the value in the form that sets it.
func (f *Field) String() string {
	v := f.value
	if m, ok := v.Interface().(encoding.TextMarshaler); ok {
		b, err := m.MarshalText()
		if err != nil {
			return "invalid: " + err.Error()
		}
		return string(b)
	}
	switch x := v.Interface().(type) {
	case time.Duration:
		return x.String()
	case []string:
		return strings.Join(x, ",")
	}
	if v.Kind() == reflect.Map {
		pairs := make([]string, 0, v.Len())
		for it := v.MapRange(); it.Next(); {
			pairs = append(pairs, it.Key().String()+"="+it.Value().String())
		}
		slices.Sort(pairs)
		return strings.Join(pairs, ",")
	}
	return fmt.Sprint(v.Interface())
}

// Set parses the text form.
func (f *Field) Set(text string, from Origin) error {
	if err := set(f.value, text); err != nil {
		return err
	}
	f.Origin = from
	return nil
}

func set(v reflect.Value, text string) error {
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText([]byte(text))
	}
	if v.Type() == reflect.TypeFor[time.Duration]() {
		d, err := time.ParseDuration(text)
		if err != nil {
			return fmt.Errorf("%q is no duration; write it like 500ms, 10s or 72h", text)
		}
		v.SetInt(int64(d))
		return nil
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return fmt.Errorf("%q is neither true nor false", text)
		}
		v.SetBool(b)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(text, 10, v.Type().Bits())
		if err != nil {
			return fmt.Errorf("%q is no whole number that fits", text)
		}
		v.SetInt(n)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n, err := strconv.ParseUint(text, 10, v.Type().Bits())
		if err != nil {
			return fmt.Errorf("%q is no whole number of zero or more that fits", text)
		}
		v.SetUint(n)
	case reflect.Float64:
		n, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return fmt.Errorf("%q is no number", text)
		}
		v.SetFloat(n)
	case reflect.Slice:
		list := []string{}
		for item := range strings.SplitSeq(text, ",") {
			if item = strings.TrimSpace(item); item != "" {
				list = append(list, item)
			}
		}
		v.Set(reflect.ValueOf(list))
	case reflect.Map:
		m := reflect.MakeMap(v.Type())
		for item := range strings.SplitSeq(text, ",") {
			if item = strings.TrimSpace(item); item == "" {
				continue
			}
			key, value, ok := strings.Cut(item, "=")
			k := reflect.ValueOf(strings.TrimSpace(key))
			switch {
			case !ok:
				return fmt.Errorf("%q is no pair; write pairs like a=b,c=d", item)
			case m.MapIndex(k).IsValid():
				return fmt.Errorf("%s is set twice", k)
			}
			m.SetMapIndex(k, reflect.ValueOf(strings.TrimSpace(value)))
		}
		v.Set(m)
	default:
		return fmt.Errorf("a setting cannot have the type %s", v.Type())
	}
	return nil
}

// Set is all settings of one struct, in the order of its fields.
type Set struct {
	Fields []*Field
	byKey  map[string]*Field
	groups map[string]bool // keys of nested structs
}

// Of lists the settings of *dst. It panics when dst is not a pointer to a
// struct of settings: that is a mistake in the program.
func Of(dst any) *Set {
	s := &Set{byKey: map[string]*Field{}, groups: map[string]bool{}}
	s.walk(reflect.ValueOf(dst).Elem(), "")
	return s
}

func (s *Set) walk(v reflect.Value, prefix string) {
	for i := range v.NumField() {
		t := v.Type().Field(i)
		name := t.Tag.Get("yaml")
		if name == "" || name == "-" || !t.IsExported() {
			continue
		}
		key := prefix + name
		_, isText := v.Field(i).Addr().Interface().(encoding.TextUnmarshaler)
		if t.Type.Kind() == reflect.Struct && !isText {
			s.groups[key] = true
			s.walk(v.Field(i), key+".")
			continue
		}
		if t.Type.Kind() == reflect.Slice && t.Type.Elem().Kind() != reflect.String {
			panic("config: " + key + " has the type " + t.Type.String())
		}
		if t.Type.Kind() == reflect.Map && (t.Type.Key() != reflect.TypeFor[string]() || t.Type.Elem() != reflect.TypeFor[string]()) {
			panic("config: " + key + " has the type " + t.Type.String())
		}
		f := &Field{Key: key, Help: t.Tag.Get("help"), Secret: t.Tag.Get("secret") == "true", Origin: FromDefault, value: v.Field(i)}
		s.Fields = append(s.Fields, f)
		s.byKey[key] = f
	}
}

// near is the known key that looks most like a wrong one, or "".
func (s *Set) near(key string) string {
	best, bestDistance := "", len(key)/3+2
	for _, f := range s.Fields {
		if d := distance(key, f.Key); d < bestDistance {
			best, bestDistance = f.Key, d
		}
	}
	return best
}

func (s *Set) unknown(key string) error {
	if n := s.near(key); n != "" {
		return fmt.Errorf("no such setting; did you mean %s?", n)
	}
	return errors.New("no such setting; `hoptrace config` lists them")
}

// distance is Levenshtein's.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diagonal
			if a[i-1] != b[j-1] {
				cost++
			}
			diagonal = row[j]
			row[j] = min(cost, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}
