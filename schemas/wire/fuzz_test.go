package wire

import (
	"bytes"
	"errors"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// odd are numbers about which validator and decoder may differ, or which would
// keep the validator busy for long.
var odd = regexp.MustCompile(`[0-9]{15}|[0-9][eE][+-]?[0-9]{2}`)

// fuzzDecoder holds a decoder against the JSON Schema that it was made of: what
// one takes the other takes, and what was decoded survives being encoded.
func fuzzDecoder(f *testing.F, topic string, version int) {
	schemas := compiled(f)
	s := resource(f, topic, version)
	for _, e := range examples(f) {
		if e.topic == topic && e.version == version {
			f.Add(e.raw)
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) > 64<<10 {
			return
		}
		before := bytes.Clone(raw)
		decoded, err := DecodeVersion(topic, version, raw)
		if !bytes.Equal(before, raw) {
			t.Fatal("the decoder wrote to the record")
		}
		if err != nil {
			if _, ok := errors.AsType[*Error](err); !ok {
				t.Fatalf("decoding fails with a %T", err)
			}
			if len(err.Error()) > 2000 {
				t.Fatalf("the error has %d bytes", len(err.Error()))
			}
		}
		if s.Type == "protobuf" {
			return
		}
		if instance, ok := rendered(raw, s.Type); ok {
			invalid := schemas[s.Resource].Validate(instance)
			switch {
			case err == nil && invalid != nil:
				t.Fatalf("decoded, but the schema says %v", invalid)
			case err != nil && invalid == nil && !stricter(err):
				t.Fatalf("valid, but decoding says %v", err)
			}
		}
		if err != nil {
			return
		}
		m, ok := decoded.(Message)
		if !ok {
			return
		}
		var again []byte
		if packer, ok := decoded.(interface{ AppendMsgpack([]byte) []byte }); ok && s.Type == "msgpack" {
			again = packer.AppendMsgpack(nil)
		} else {
			again = m.AppendJSON(nil)
		}
		back, err := DecodeVersion(topic, version, again)
		if err != nil {
			t.Fatalf("what was encoded again is not decoded: %v", err)
		}
		if diff := cmp.Diff(decoded, back); diff != "" {
			t.Fatalf("decoded again (-first +again):\n%s", diff)
		}
	})
}

// rendered is what the schema can be asked about.
func rendered(raw []byte, kind string) (any, bool) {
	if kind == "json" {
		if odd.Match(raw) || !utf8.Valid(raw) || bytes.Contains(raw, []byte(`\u`)) {
			return nil, false
		}
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
		return v, err == nil
	}
	v, rest, err := fromMsgpack(raw, 0)
	return v, err == nil && len(rest) == 0
}

// stricter tells whether the decoder refuses what the schema may allow: times
// that Go does not read, and JSON beyond its reader's bounds.
func stricter(err error) bool {
	return strings.Contains(err.Error(), "RFC 3339") || strings.Contains(err.Error(), "broken JSON")
}

func TestDecodingBoundsWhatItTakesMemoryFor(t *testing.T) {
	f := func(raw []byte, want string) {
		t.Helper()
		allocated := testing.AllocsPerRun(1, func() {
			if _, err := Decode("ingest-events", raw); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("decoding says %v; want %q", err, want)
			}
		})
		if allocated > 50 {
			t.Errorf("%.0f allocations for a record of %d bytes", allocated, len(raw))
		}
	}
	f([]byte{0xdf, 0xff, 0xff, 0xff, 0xff}, "ends within a map")
	f([]byte("\x81\xabattachments\xdd\xff\xff\xff\xff"), "attachments: want from 0 to 256 elements, got 4294967295")
	f([]byte("\x81\xabattachments\xdc\x00\xff\x01"), "attachments: ends within an array")
	f([]byte("\x81\xa7payload\xc6\xff\xff\xff\xff"), "payload: ends within a bin")
	f(append([]byte("\x81\xa1x"), bytes.Repeat([]byte{0x91}, 1<<20)...), "x: ends within a value")
	f([]byte("\x81\xa1x\xdd\xff\xff\xff\xff"), "x: ends within a value")
	f([]byte("\x81\xc4\x01x\x01"), "want a str as key, got bin")
	f([]byte("\x81\xa4type\xa2\xff\xfe"), "type: want a string, got bytes that are not UTF-8")
	f([]byte("\x81\xa1x\xc1"), "a byte that begins nothing")
	f(nil, "want a map, got the end of the record")
}

func TestTextThatIsNoUTF8IsMendedWhenItIsWritten(t *testing.T) {
	in := RawItem{Type: "profile", Payload: []byte{0xff}, ProjectID: 1, StartTime: 1, ContentType: "a\xffb"}
	var out RawItem
	if err := out.DecodeMsgpack(in.AppendMsgpack(nil)); err != nil {
		t.Fatal(err)
	}
	if out.ContentType != "a�b" || out.Payload[0] != 0xff {
		t.Errorf("content type %q, payload %x; want the text mended, and bytes as they were", out.ContentType, out.Payload)
	}
}
