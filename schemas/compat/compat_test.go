package compat

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/santhosh-tekuri/jsonschema/v6"

	schemajson "github.com/hoptrace/hoptrace/schemas/json"
	"github.com/hoptrace/hoptrace/schemas/topics"
)

func TestEveryVersionKeepsThePromiseOfItsMode(t *testing.T) {
	for _, topic := range topics.All() {
		for i, s := range topic.Schemas {
			if s.Compatibility == string(None) {
				continue
			}
			if i == 0 {
				t.Errorf("topic %s: version 1 has the mode %s, and there is none before it", topic.Name, s.Compatibility)
				continue
			}
			before := topic.Schemas[i-1]
			if before.Type != s.Type || s.Type == "protobuf" {
				t.Errorf("topic %s: version %d is %s, version %d %s: only none can be promised", topic.Name, before.Version, before.Type, s.Version, s.Type)
				continue
			}
			breaks, err := Check(schemajson.Files, Mode(s.Compatibility), before.Resource, s.Resource)
			if err != nil {
				t.Fatal(err)
			}
			for _, b := range breaks {
				t.Errorf("topic %s version %d: %s", topic.Name, s.Version, b)
			}
		}
	}
}

func TestEverySchemaReadsWhatItWrites(t *testing.T) {
	for _, topic := range topics.All() {
		for _, s := range topic.Schemas {
			if s.Type == "protobuf" {
				continue
			}
			if breaks, err := Check(schemajson.Files, Full, s.Resource, s.Resource); err != nil || len(breaks) > 0 {
				t.Errorf("%s against itself: %v, %v", s.Resource, breaks, err)
			}
		}
	}
	// And a change of one is found, through two files and two references.
	common, err := schemajson.Files.ReadFile("common.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	top, err := schemajson.Files.ReadFile("ingest-attachments.v1.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	stricter := bytes.Replace(common, []byte(`"maximum": 1000000`), []byte(`"maximum": 999`), 1)
	fsys := fstest.MapFS{
		"common.schema.json": {Data: common}, "old.json": {Data: top},
		"strict.schema.json": {Data: stricter}, "new.json": {Data: bytes.ReplaceAll(top, []byte("common.schema.json"), []byte("strict.schema.json"))},
	}
	breaks, err := Check(fsys, Backward, "old.json", "new.json")
	if err != nil {
		t.Fatal(err)
	}
	var at []string
	for _, b := range breaks {
		at = append(at, b.Path)
	}
	if got := strings.Join(at, " "); got != "attachment.chunks attachments[].chunks" {
		t.Errorf("breaks at %q: %v; want those of the bound that went down", got, breaks)
	}
	if breaks, err := Check(fsys, Forward, "old.json", "new.json"); err != nil || len(breaks) > 0 {
		t.Errorf("forward: %v, %v; want nothing", breaks, err)
	}
}

// pairs are schemas before and after a change, with what the change keeps.
var pairs = []struct {
	what, before, after string
	backward, forward   bool
}{
	{"nothing changes", `{"type":"object"}`, `{"type":"object"}`, true, true},
	{"only words change", `{"type":"string"}`, `{"type":"string","description":"d","title":"t","x-go-name":"A"}`, true, true},
	{"a field that may be absent is added", `{"type":"object","properties":{"a":{"type":"string"}}}`, `{"type":"object","properties":{"a":{"type":"string"},"b":{"type":"string"}}}`, true, true},
	{"a required field is added", `{"type":"object","properties":{"a":{"type":"string"}}}`, `{"type":"object","required":["b"],"properties":{"a":{"type":"string"},"b":{"type":"string"}}}`, false, true},
	{"a required field becomes one that may be absent", `{"type":"object","required":["a"],"properties":{"a":{}}}`, `{"type":"object","properties":{"a":{}}}`, true, false},
	{"a field that may be absent is removed", `{"type":"object","properties":{"a":{"type":"string"},"b":{"type":"string"}}}`, `{"type":"object","properties":{"a":{"type":"string"}}}`, true, true},
	{"a required field is removed", `{"type":"object","required":["b"],"properties":{"b":{"type":"string"}}}`, `{"type":"object","properties":{}}`, true, false},
	{"a field is removed, and unknown ones are refused", `{"type":"object","properties":{"a":{},"b":{}}}`, `{"type":"object","properties":{"a":{}},"additionalProperties":false}`, false, true},
	{"unknown fields are refused", `{"type":"object","properties":{"a":{}}}`, `{"type":"object","properties":{"a":{}},"additionalProperties":false}`, true, true},
	{"a field's type changes", `{"properties":{"a":{"type":"string"}}}`, `{"properties":{"a":{"type":"integer"}}}`, false, false},
	{"a field may be null now", `{"properties":{"a":{"type":"string"}}}`, `{"properties":{"a":{"type":["string","null"]}}}`, true, false},
	{"an integer becomes a number", `{"type":"integer"}`, `{"type":"number"}`, true, false},
	{"any type becomes one", `{}`, `{"type":"string"}`, false, true},
	{"an enum grows", `{"enum":["a"]}`, `{"enum":["a","b"]}`, true, false},
	{"an enum changes", `{"enum":["a","b"]}`, `{"enum":["b","c"]}`, false, false},
	{"a const becomes an enum with it", `{"const":"a"}`, `{"enum":["a","b"]}`, true, false},
	{"a text becomes an enum", `{"type":"string"}`, `{"type":"string","enum":["a"]}`, false, true},
	{"numbers are compared by value", `{"const":2}`, `{"const":2.0}`, true, true},
	{"a maximum goes up", `{"type":"integer","maximum":5}`, `{"type":"integer","maximum":6}`, true, false},
	{"a minimum goes up", `{"type":"integer","minimum":0}`, `{"type":"integer","minimum":1}`, false, true},
	{"a bound is added", `{"type":"integer"}`, `{"type":"integer","maximum":6}`, false, true},
	{"a bound becomes exclusive", `{"type":"number","minimum":0}`, `{"type":"number","exclusiveMinimum":0}`, false, true},
	{"a bound of numbers does not touch texts", `{"type":"string"}`, `{"type":"string","minimum":7}`, true, true},
	{"a text may be longer", `{"type":"string","maxLength":5}`, `{"type":"string","maxLength":6}`, true, false},
	{"a text must not be empty", `{"type":"string"}`, `{"type":"string","minLength":1}`, false, true},
	{"an enum fits a bound", `{"enum":["ab","abc"]}`, `{"type":"string","maxLength":3}`, true, false},
	{"an enum does not fit a bound", `{"enum":["ab","abcd"]}`, `{"type":"string","maxLength":3}`, false, false},
	{"an enum fits a pattern", `{"enum":["ab"]}`, `{"type":"string","pattern":"^a"}`, true, false},
	{"a pattern is added", `{"type":"string"}`, `{"type":"string","pattern":"^a"}`, false, true},
	{"a pattern changes", `{"type":"string","pattern":"^ab"}`, `{"type":"string","pattern":"^a"}`, false, false}, // true for ^ab, but who can tell
	{"a format is dropped", `{"type":"string","format":"date-time"}`, `{"type":"string"}`, true, false},
	{"a list may be longer", `{"type":"array","maxItems":2}`, `{"type":"array","maxItems":3}`, true, false},
	{"elements change", `{"type":"array","items":{"type":"string"}}`, `{"type":"array","items":{"type":["string","integer"]}}`, true, false},
	{"a tuple grows", `{"type":"array","minItems":1,"prefixItems":[{"const":1}],"items":false}`, `{"type":"array","minItems":2,"prefixItems":[{"const":1},{"const":2}],"items":false}`, false, false},
	{"an element of a tuple changes", `{"type":"array","prefixItems":[{"type":"string"}],"items":false}`, `{"type":"array","prefixItems":[{"type":["string","null"]}],"items":false}`, true, false},
	{"a message is added", `{"oneOf":[{"properties":{"type":{"const":"a"}},"required":["type"]}]}`, `{"oneOf":[{"properties":{"type":{"const":"a"}},"required":["type"]},{"properties":{"type":{"const":"b"}},"required":["type"]}]}`, true, false},
	{"one message becomes several", `{"properties":{"type":{"const":"a"}},"required":["type"]}`, `{"oneOf":[{"properties":{"type":{"const":"b"}},"required":["type"]},{"properties":{"type":{"const":"a"}},"required":["type"]}]}`, true, false},
	{"a reference is followed", `{"properties":{"a":{"$ref":"#/$defs/A"}},"$defs":{"A":{"type":"string"}}}`, `{"properties":{"a":{"$ref":"#/$defs/B"}},"$defs":{"B":{"type":"integer"}}}`, false, false},
	{"what stands beside a reference counts", `{"$ref":"#/$defs/A","$defs":{"A":{"properties":{"t":{"enum":["x","y"]}}}}}`, `{"$ref":"#/$defs/A","properties":{"t":{"enum":["x"]}},"$defs":{"A":{"properties":{"t":{"enum":["x","y"]}}}}}`, false, true},
	{"schemas may be recursive", `{"$ref":"#/$defs/A","$defs":{"A":{"properties":{"next":{"$ref":"#/$defs/A"},"v":{"type":"integer"}}}}}`, `{"$ref":"#/$defs/A","$defs":{"A":{"properties":{"next":{"$ref":"#/$defs/A"},"v":{"type":"number"}}}}}`, true, false},
	{"allOf is all of it", `{"allOf":[{"type":"integer","minimum":1},{"maximum":9}]}`, `{"type":"integer","minimum":1,"maximum":9}`, true, true},
	{"a map's values change", `{"type":"object","additionalProperties":{"type":"string"}}`, `{"type":"object","additionalProperties":{"type":["string","integer"]}}`, true, false},
	{"a word that is not understood breaks", `{"type":"integer"}`, `{"type":"integer","not":{"const":3}}`, false, true},
	{"a word that is not understood and stays does not", `{"type":"integer","multipleOf":3}`, `{"type":"integer","multipleOf":3,"maximum":9}`, false, true},
	{"nothing is taken any more", `{"properties":{"a":{"type":"string"}}}`, `{"properties":{"a":false}}`, false, true},
}

func TestVerdictsOnHandMadePairs(t *testing.T) {
	for _, p := range pairs {
		fsys := fstest.MapFS{"before.json": {Data: []byte(p.before)}, "after.json": {Data: []byte(p.after)}}
		for mode, want := range map[Mode]bool{None: true, Backward: p.backward, Forward: p.forward, Full: p.backward && p.forward} {
			breaks, err := Check(fsys, mode, "before.json", "after.json")
			if err != nil {
				t.Errorf("%s: %v", p.what, err)
			} else if got := len(breaks) == 0; got != want {
				t.Errorf("%s: %s is %v; want %v: %v", p.what, mode, got, want, breaks)
			}
		}
	}
}

func TestABreakSaysWhoCannotReadWhatAndWhere(t *testing.T) {
	fsys := fstest.MapFS{
		"v1.json": {Data: []byte(`{"properties":{"list":{"type":"array","items":{"properties":{"n":{"type":"integer","maximum":10}}}}}}`)},
		"v2.json": {Data: []byte(`{"properties":{"list":{"type":"array","items":{"properties":{"n":{"type":"integer","maximum":9}}}}}}`)},
	}
	breaks, err := Check(fsys, Full, "v1.json", "v2.json")
	const want = "v2.json does not read what v1.json writes: list[].n: goes to 10, and the reader's maximum is 9"
	if err != nil || len(breaks) != 1 || breaks[0].String() != want {
		t.Errorf("breaks %v, %v; want %s", breaks, err, want)
	}
	for _, bad := range []struct{ schema, want string }{
		{`{"$ref":"#/$defs/A"}`, "leads nowhere"},
		{`{"$ref":"none.json"}`, "cannot read schema none.json"},
		{`{"$ref":"#"}`, "round in a circle"},
		{`[`, "v3.json"},
		{`3`, "is no schema"},
	} {
		fsys["v3.json"] = &fstest.MapFile{Data: []byte(bad.schema)}
		if _, err := Check(fsys, Backward, "v1.json", "v3.json"); err == nil || !strings.Contains(err.Error(), bad.want) {
			t.Errorf("Check of %s = %v; want %q", bad.schema, err, bad.want)
		}
	}
	if _, err := Check(fsys, "sideways", "v1.json", "v2.json"); err == nil || !strings.Contains(err.Error(), "backward, forward, full") {
		t.Errorf("an unknown mode gives %v", err)
	}
}

// TestWhatIsCalledCompatibleIsRead makes schemas and records at random: no
// record of a writer may be refused by a reader that was said to read it.
func TestWhatIsCalledCompatibleIsRead(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	pick := func(of ...any) any { return of[rnd.IntN(len(of))] }
	var schema func(depth int) map[string]any
	schema = func(depth int) map[string]any {
		s := map[string]any{}
		switch n := rnd.IntN(8); {
		case n == 0:
			s["enum"] = []any{pick("a", "bb", 1, nil), pick("a", "ccc", 2, true)}
			if text(s["enum"].([]any)[0]) == text(s["enum"].([]any)[1]) {
				s["enum"] = s["enum"].([]any)[:1]
			}
		case n == 1:
			s["type"] = pick("integer", "number", []any{"integer", "null"})
			if rnd.IntN(2) == 0 {
				s[pick("minimum", "exclusiveMinimum").(string)] = rnd.IntN(4)
			}
			if rnd.IntN(2) == 0 {
				s[pick("maximum", "exclusiveMaximum").(string)] = rnd.IntN(4) + 2
			}
		case n == 2:
			s["type"] = pick("string", []any{"string", "null"}, []any{"string", "integer"})
			if rnd.IntN(2) == 0 {
				s[pick("minLength", "maxLength").(string)] = rnd.IntN(3)
			}
		case n <= 5 && depth > 0:
			s["type"] = "object"
			props := map[string]any{}
			var required []any
			for _, name := range []string{"a", "b", "c"} {
				if rnd.IntN(3) > 0 {
					props[name] = schema(depth - 1)
					if rnd.IntN(2) == 0 {
						required = append(required, name)
					}
				}
			}
			s["properties"] = props
			if required != nil {
				s["required"] = required
			}
			if rnd.IntN(4) == 0 {
				s["additionalProperties"] = false
			}
		case n == 6 && depth > 0:
			s["type"], s["items"] = "array", schema(depth-1)
			if rnd.IntN(2) == 0 {
				s[pick("minItems", "maxItems").(string)] = rnd.IntN(3)
			}
			if rnd.IntN(3) == 0 {
				s["prefixItems"] = []any{schema(depth - 1)}
			}
		case depth > 0:
			s[pick("anyOf", "allOf").(string)] = []any{schema(depth - 1), schema(depth - 1)}
		default:
			s["type"] = pick("boolean", "null")
		}
		return s
	}
	// value writes what a schema names, more or less: what does not fit is thrown away.
	var record func(s any, depth int) any
	record = func(s any, depth int) any {
		m, _ := s.(map[string]any)
		if values, ok := m["enum"].([]any); ok {
			return pick(values...)
		}
		for _, word := range []string{"anyOf", "allOf"} {
			if branches, ok := m[word].([]any); ok {
				return record(pick(branches...), depth)
			}
		}
		kind := m["type"]
		if kinds, ok := kind.([]any); ok {
			kind = pick(kinds...)
		}
		switch kind {
		case "object":
			out := map[string]any{}
			for name, sub := range m["properties"].(map[string]any) {
				if rnd.IntN(3) > 0 {
					out[name] = record(sub, depth-1)
				}
			}
			return out
		case "array":
			out := []any{}
			heads, _ := m["prefixItems"].([]any)
			for i := range rnd.IntN(4) {
				if i < len(heads) {
					out = append(out, record(heads[i], depth-1))
				} else {
					out = append(out, record(m["items"], depth-1))
				}
			}
			return out
		case "integer":
			return rnd.IntN(8)
		case "number":
			return pick(rnd.IntN(8), 0.5, 1.5, 2.5)
		case "string":
			return pick("", "a", "bb", "ccc")
		case "boolean":
			return rnd.IntN(2) == 0
		}
		return nil
	}
	compile := func(s any) *jsonschema.Schema {
		raw, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		c := jsonschema.NewCompiler()
		if err := c.AddResource("mem:///s.json", doc); err != nil {
			t.Fatal(err)
		}
		out, err := c.Compile("mem:///s.json")
		if err != nil {
			t.Fatalf("%s: %v", raw, err)
		}
		return out
	}
	compatible, records := 0, 0
	for range 1200 {
		w := schema(2)
		r := schema(2)
		if rnd.IntN(2) == 0 { // a change of the writer's, which is more often compatible
			r = map[string]any{}
			for k, v := range w {
				r[k] = v
			}
			for k, v := range schema(0) {
				if k != "type" && k != "enum" || rnd.IntN(4) == 0 {
					r[k] = v
				}
			}
		}
		file := func(s any) *fstest.MapFile {
			raw, _ := json.Marshal(s)
			return &fstest.MapFile{Data: raw}
		}
		fsys := fstest.MapFS{"w.json": file(w), "r.json": file(r)}
		breaks, err := Reads(fsys, "r.json", "w.json")
		if err != nil {
			t.Fatal(err)
		}
		if len(breaks) > 0 {
			continue
		}
		compatible++
		writer, reader := compile(w), compile(r)
		for range 20 {
			raw, _ := json.Marshal(record(w, 3))
			v, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
			if err != nil {
				t.Fatal(err)
			}
			if writer.Validate(v) != nil {
				continue
			}
			records++
			if err := reader.Validate(v); err != nil {
				t.Fatalf("said to be read, but\n%s\nby %s\nis refused by %s: %v", raw, fsys["w.json"].Data, fsys["r.json"].Data, err)
			}
		}
	}
	if compatible < 100 || records < 600 {
		t.Errorf("%s: this test shows little", fmt.Sprintf("%d compatible pairs with %d records", compatible, records))
	}
}
