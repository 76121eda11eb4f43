package wire

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/tinylib/msgp/msgp"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"

	schemajson "github.com/hoptrace/hoptrace/schemas/json"
	"github.com/hoptrace/hoptrace/schemas/topics"
)

const examplesDir = "../testdata"

// example is one file of testdata.
type example struct {
	path    string
	topic   string
	version int
	ok      bool

	raw      []byte // the record
	instance any    // what the JSON Schema is asked about; nil when there is none to ask
	err      string // what the decoder's error begins with
}

// examples are all files below testdata/<topic>/v<version>.
func examples(t testing.TB) []example {
	t.Helper()
	var out []example
	err := filepath.WalkDir(examplesDir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, ".err") {
			return err
		}
		rel, _ := filepath.Rel(examplesDir, path)
		parts := strings.Split(filepath.ToSlash(rel), "/")
		if len(parts) != 3 {
			return fmt.Errorf("%s does not lie in <topic>/v<version>", path)
		}
		e := example{path: rel, topic: parts[0], ok: strings.HasPrefix(parts[2], "ok-")}
		if e.version, err = strconv.Atoi(strings.TrimPrefix(parts[1], "v")); err != nil {
			return err
		}
		if !e.ok && !strings.HasPrefix(parts[2], "bad-") {
			return fmt.Errorf("%s is neither ok-… nor bad-…", path)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, kind, _ := strings.Cut(parts[2], ".")
		if err := e.read(bytes.TrimSpace(text), kind); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if !e.ok {
			want, err := os.ReadFile(filepath.Join(filepath.Dir(path), name+".err"))
			if err != nil {
				return err
			}
			e.err = strings.TrimSuffix(string(want), "\n")
		}
		out = append(out, e)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (e *example) read(text []byte, kind string) (err error) {
	switch kind {
	case "json":
		e.raw = text
		e.instance, err = jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil && !e.ok {
			err = nil // broken JSON is no question for a schema
		}
	case "msgpack.json":
		if e.instance, err = jsonschema.UnmarshalJSON(bytes.NewReader(text)); err == nil {
			e.raw, err = toMsgpack(nil, e.instance)
		}
	case "protobuf.json":
		e.raw, err = toProtobuf(e.topic, text)
	case "protobuf.hex":
		e.raw, err = hex.DecodeString(string(text))
	default:
		err = errors.New("want .json, .msgpack.json, .protobuf.json or .protobuf.hex")
	}
	return err
}

// toMsgpack encodes JSON, with bytes as the schemas render them.
func toMsgpack(b []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return msgp.AppendInt64(b, i), nil
		}
		if u, err := strconv.ParseUint(v.String(), 10, 64); err == nil {
			return msgp.AppendUint64(b, u), nil
		}
		f, err := v.Float64()
		return msgp.AppendFloat64(b, f), err
	case string:
		return msgp.AppendString(b, v), nil
	case bool:
		return msgp.AppendBool(b, v), nil
	case nil:
		return msgp.AppendNil(b), nil
	case []any:
		b = msgp.AppendArrayHeader(b, uint32(len(v)))
		for _, x := range v {
			var err error
			if b, err = toMsgpack(b, x); err != nil {
				return nil, err
			}
		}
		return b, nil
	case map[string]any:
		if text, ok := v["$bytes"].(string); ok && len(v) == 1 {
			return msgp.AppendBytes(b, []byte(text)), nil
		}
		if text, ok := v["$base64"].(string); ok && len(v) == 1 {
			raw, err := base64.StdEncoding.DecodeString(text)
			return msgp.AppendBytes(b, raw), err
		}
		b = msgp.AppendMapHeader(b, uint32(len(v)))
		for _, k := range slices.Sorted(maps.Keys(v)) {
			var err error
			if b, err = toMsgpack(msgp.AppendString(b, k), v[k]); err != nil {
				return nil, err
			}
		}
		return b, nil
	}
	return nil, fmt.Errorf("no msgpack for %T", v)
}

// errNoRendering is why a schema cannot be asked about some msgpack.
var errNoRendering = errors.New("no rendering in JSON")

// fromMsgpack is the inverse of toMsgpack.
func fromMsgpack(b []byte, depth int) (v any, rest []byte, err error) {
	if depth > 1000 {
		return nil, b, errNoRendering
	}
	switch msgp.NextType(b) {
	case msgp.MapType:
		n, rest, err := msgp.ReadMapHeaderBytes(b)
		out := map[string]any{}
		for ; n > 0 && err == nil; n-- {
			var key, value any
			if key, rest, err = fromMsgpack(rest, depth+1); err != nil {
				break
			}
			k, ok := key.(string)
			if !ok || strings.HasPrefix(k, "$") {
				return nil, b, errNoRendering
			}
			value, rest, err = fromMsgpack(rest, depth+1)
			out[k] = value
		}
		return out, rest, err
	case msgp.ArrayType:
		n, rest, err := msgp.ReadArrayHeaderBytes(b)
		out := []any{}
		for ; n > 0 && err == nil; n-- {
			var value any
			value, rest, err = fromMsgpack(rest, depth+1)
			out = append(out, value)
		}
		return out, rest, err
	case msgp.StrType:
		s, rest, err := msgp.ReadStringBytes(b)
		if !strings.EqualFold(s, strings.ToValidUTF8(s, "")) {
			err = errNoRendering
		}
		return s, rest, err
	case msgp.BinType:
		raw, rest, err := msgp.ReadBytesBytes(b, nil)
		return map[string]any{"$base64": base64.StdEncoding.EncodeToString(raw)}, rest, err
	case msgp.IntType, msgp.UintType:
		if u, rest, err := msgp.ReadUint64Bytes(b); err == nil {
			return json.Number(strconv.FormatUint(u, 10)), rest, nil
		}
		i, rest, err := msgp.ReadInt64Bytes(b)
		return json.Number(strconv.FormatInt(i, 10)), rest, err
	case msgp.Float32Type, msgp.Float64Type:
		f, rest, err := msgp.ReadFloat64Bytes(b)
		if math.IsInf(f, 0) || math.IsNaN(f) || math.Abs(f) > 1<<53 {
			err = errNoRendering
		}
		return json.Number(strconv.FormatFloat(f, 'f', -1, 64)), rest, err
	case msgp.BoolType:
		v, rest, err := msgp.ReadBoolBytes(b)
		return v, rest, err
	case msgp.NilType:
		rest, err := msgp.ReadNilBytes(b)
		return nil, rest, err
	}
	return nil, b, errNoRendering
}

func toProtobuf(topic string, text []byte) ([]byte, error) {
	switch topic {
	case topics.IngestSpans:
		r := ptraceotlp.NewExportRequest()
		return must(r.UnmarshalJSON(text), r.MarshalProto)
	case topics.IngestMetrics:
		r := pmetricotlp.NewExportRequest()
		return must(r.UnmarshalJSON(text), r.MarshalProto)
	case topics.IngestLogs:
		r := plogotlp.NewExportRequest()
		return must(r.UnmarshalJSON(text), r.MarshalProto)
	}
	return nil, fmt.Errorf("topic %s has no protobuf", topic)
}

func must(err error, marshal func() ([]byte, error)) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	return marshal()
}

// compiled are the JSON Schemas by file name.
func compiled(t testing.TB) map[string]*jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	const base = "mem:///schemas/"
	names, err := fs.Glob(schemajson.Files, "*")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		raw, err := schemajson.Files.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.AddResource(base+name, doc); err != nil {
			t.Fatal(err)
		}
	}
	out := map[string]*jsonschema.Schema{}
	for _, name := range names {
		if out[name], err = c.Compile(base + name); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func resource(t testing.TB, topic string, version int) topics.Schema {
	t.Helper()
	contract, err := topics.Get(topic)
	if err != nil || version < 1 || version > len(contract.Schemas) {
		t.Fatalf("topic %q has no version %d: %v", topic, version, err)
	}
	return contract.Schemas[version-1]
}

func TestExamplesPassAndBrokenOnesFailWithThePathOfTheFault(t *testing.T) {
	schemas := compiled(t)
	ok, bad := map[string]int{}, map[string]int{}
	for _, e := range examples(t) {
		t.Run(e.path, func(t *testing.T) {
			at := fmt.Sprint(e.topic, "/", e.version)
			s := resource(t, e.topic, e.version)
			decoded, err := DecodeVersion(e.topic, e.version, e.raw)
			if e.instance != nil && s.Type != "protobuf" {
				invalid := schemas[s.Resource].Validate(e.instance)
				if (invalid == nil) != e.ok {
					t.Errorf("the schema says %v", invalid)
				}
			}
			if !e.ok {
				bad[at]++
				if err == nil || !strings.HasPrefix(err.Error(), e.err) {
					t.Fatalf("decoding says %v; want %s…", err, e.err)
				}
				if _, isOurs := errors.AsType[*Error](err); !isOurs {
					t.Errorf("decoding fails with a %T; want *Error", err)
				}
				return
			}
			ok[at]++
			if err != nil {
				t.Fatal(err)
			}
			again, err := DecodeRecord(e.topic, s.Header, e.raw)
			if err != nil || reflect.TypeOf(again) != reflect.TypeOf(decoded) {
				t.Errorf("by the header %s it is a %T, %v; want a %T", s.Header, again, err, decoded)
			}
			roundTrip(t, e.topic, e.version, s.Type, e.instance, decoded)
		})
	}
	for _, topic := range topics.All() {
		for _, s := range topic.Schemas {
			if at := fmt.Sprint(topic.Name, "/", s.Version); ok[at] == 0 || bad[at] == 0 {
				t.Errorf("topic %s has %d good and %d broken examples; want some of both", at, ok[at], bad[at])
			}
		}
	}
}

// roundTrip checks that encoding what was decoded gives the record again, but
// for fields that are not known and those that are null or empty.
func roundTrip(t *testing.T, topic string, version int, kind string, instance, decoded any) {
	t.Helper()
	m, isMessage := decoded.(Message)
	if !isMessage {
		return
	}
	if err := m.Validate(); err != nil {
		t.Errorf("what was decoded is not valid: %v", err)
	}
	var raw []byte
	var back any
	var err error
	if packer, ok := decoded.(interface{ AppendMsgpack([]byte) []byte }); ok && kind == "msgpack" {
		raw = packer.AppendMsgpack([]byte("prefix"))[len("prefix"):]
		if back, raw, err = fromMsgpack(raw, 0); err != nil || len(raw) > 0 {
			t.Fatalf("what was encoded again is broken: %v, %d bytes are left", err, len(raw))
		}
		raw = packer.AppendMsgpack(nil)
	} else {
		raw = m.AppendJSON([]byte("prefix"))[len("prefix"):]
		if back, err = jsonschema.UnmarshalJSON(bytes.NewReader(raw)); err != nil {
			t.Fatalf("what was encoded again is broken: %v", err)
		}
	}
	if diff := cmp.Diff(normal(instance), normal(back)); diff != "" {
		t.Errorf("encoded again (-example +again):\n%s", diff)
	}
	again, err := DecodeVersion(topic, version, raw)
	if err != nil {
		t.Fatalf("what was encoded again is not decoded: %v", err)
	}
	if diff := cmp.Diff(decoded, again); diff != "" {
		t.Errorf("decoded again (-first +again):\n%s", diff)
	}
}

// normal makes records comparable: without fields that no schema knows (in the
// examples they begin with x_), null, empty lists, empty texts and false, with
// bytes in one rendering and numbers in one form.
func normal(v any) any {
	switch v := v.(type) {
	case map[string]any:
		if text, ok := v["$bytes"].(string); ok {
			return map[string]any{"$base64": base64.StdEncoding.EncodeToString([]byte(text))}
		}
		if _, ok := v["$base64"]; ok {
			return v
		}
		out := map[string]any{}
		for k, x := range v {
			if x = normal(x); x != nil && !strings.HasPrefix(k, "x_") {
				out[k] = x
			}
		}
		return out
	case []any:
		if len(v) == 0 {
			return nil
		}
		out := make([]any, len(v))
		for i, x := range v {
			out[i] = normal(x)
		}
		return out
	case json.Number:
		if f, err := v.Float64(); err == nil && f == math.Trunc(f) && math.Abs(f) < 1<<53 {
			if f == 0 {
				return nil
			}
			return json.Number(strconv.FormatFloat(f, 'f', -1, 64))
		}
	case string:
		if v == "" {
			return nil
		}
	case bool:
		if !v {
			return nil
		}
	}
	return v
}
