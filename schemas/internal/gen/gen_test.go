package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	schemajson "github.com/hoptrace/hoptrace/schemas/json"
	"github.com/hoptrace/hoptrace/schemas/topics"
)

func TestWhatIsCommittedIsWhatTheGeneratorMakes(t *testing.T) {
	files, err := generate(schemajson.Files, topics.All())
	if err != nil {
		t.Fatal(err)
	}
	again, err := generate(schemajson.Files, topics.All())
	if err != nil {
		t.Fatal(err)
	}
	const root = "../../.."
	for name, want := range files {
		if !bytes.Equal(want, again[name]) {
			t.Errorf("%s is made in two ways", name)
		}
		if have, err := os.ReadFile(filepath.Join(root, name)); err != nil || !bytes.Equal(have, want) {
			t.Errorf("%s is not what the generator makes (%v): run go generate ./schemas/...", name, err)
		}
	}
	have, err := filepath.Glob(filepath.Join(root, wireDir, "*_gen*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range have {
		if _, ok := files[wireDir+"/"+filepath.Base(path)]; !ok {
			t.Errorf("%s is made no more: run go generate ./schemas/...", path)
		}
	}
	used := map[string]bool{"common.schema.json": true}
	for _, topic := range topics.All() {
		for _, s := range topic.Schemas {
			used[s.Resource] = true
		}
	}
	schemas, err := schemajson.Files.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range schemas {
		if !used[f.Name()] {
			t.Errorf("schemas/json/%s is named by no topic", f.Name())
		}
	}
}

// made generates one topic of a schema whose words follow its $schema.
func made(kind, words string) (map[string][]byte, error) {
	topic := topics.Topic{Name: "t", Schemas: []topics.Schema{{Version: 1, Type: kind, Resource: "t.v1.schema.json", Header: "t/1"}}}
	return generate(fstest.MapFS{"t.v1.schema.json": {Data: []byte(`{"$schema":"https://json-schema.org/draft/2020-12/schema","title":"t_record","description":"A record.",` + words + `}`)}}, []topics.Topic{topic})
}

func TestAFieldIsAddedInTheSchemaOnly(t *testing.T) {
	const id = `"type":"object","required":["id"],"properties":{"id":{"description":"Its id.","type":"string","maxLength":8}`
	before, err := made("json", id+`}`)
	if err != nil {
		t.Fatal(err)
	}
	after, err := made("json", id+`,"ip_url":{"description":"Where.","type":["string","null"],"maxLength":8},"share":{"description":"How much.","type":"number"}}`)
	if err != nil {
		t.Fatal(err)
	}
	const file = wireDir + "/t_v1_gen.go"
	for _, want := range []string{"// Where.\n\tIPURL *string", "Share float64", `case "ip_url":`} {
		if strings.Contains(string(before[file]), want) || !strings.Contains(string(after[file]), want) {
			t.Errorf("%q is not what the new field adds to\n%s", want, after[file])
		}
	}
}

func TestASchemaThatCannotBeGeneratedIsNamedWithItsPlace(t *testing.T) {
	f := func(kind, words string, want ...string) {
		t.Helper()
		_, err := made(kind, words)
		for _, w := range want {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("%s gives %v; want %q", words, err, w)
			}
		}
	}
	object := func(property string) string {
		return `"type":"object","properties":{"id":{"description":"d","type":"boolean"},"a":` + property + `}`
	}
	f("json", object(`{"type":"string"}`), "t.v1.schema.json/properties/a: description is missing", "has no bound")
	f("json", object(`{"description":"d","type":"integer"}`), "has no bounds: say minimum and maximum")
	f("json", object(`{"description":"d","type":"string","pattern":"^x$"}`), `pattern "^x$" has no check`)
	f("json", object(`{"description":"d","type":"string","format":"email"}`), `format "email" has no check`)
	f("json", object(`{"description":"d","type":"integer","minimum":1,"maximum":2}`), "zero is not one of its values")
	f("json", object(`{"description":"d","type":"array","items":{"type":"boolean","description":"d"}}`), "needs items and maxItems")
	f("json", object(`{"description":"d","type":"object","properties":{"b":{}}}`), "stands in $defs")
	f("json", object(`{"description":"d","type":["string","integer"],"maxLength":1}`), "it must be one, and null perhaps")
	f("json", object(`{"description":"d","$ref":"#/$defs/B"}`), "leads nowhere")
	f("json", object(`{"description":"d","$ref":"other.schema.json#/$defs/B"}`), "cannot read schema other.schema.json")
	f("json", `"type":"object","properties":{"a":{"description":"d","type":"boolean","not":{}}}`, "properties/a: not: the generator does not know this word")
	f("json", `"type":"object","properties":{"a":{"description":"d","type":"boolean"}}`, "the first property must always be written")
	f("json", `"type":"object","required":["b"],"properties":{"a":{"description":"d","type":"boolean"}}`, `required names "b"`)
	f("json", `"type":"object","additionalProperties":false,"properties":{"a":{"description":"d","type":"boolean"}}`, "must tolerate fields that are new")
	f("msgpack", `"type":"object"`, "must be a JSON object")
	f("json", `"title":"twice"`, "title stands twice")
	f("json", `"oneOf":[{"$ref":"#/$defs/A"}],"$defs":{"A":{"description":"d","type":"object","required":["a"],"properties":{"a":{"description":"d","type":"boolean"}}}}`, "needs a const or enum that tells it apart")
}
