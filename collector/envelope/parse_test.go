package envelope

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/hoptrace/hoptrace/collector/bound"
)

const someID = "9ec79c33ec9942ab8353589fcb2e04dc"

func items(pairs ...string) []Item {
	var out []Item
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, Item{pairs[i], []byte(pairs[i+1])})
	}
	return out
}

func TestParseReadsTheGrammar(t *testing.T) {
	f := func(data, wantID string, want []Item) {
		t.Helper()
		h, got, err := Parse([]byte(data), 10)
		if err != nil {
			t.Errorf("Parse(%q): %v", data, err)
			return
		}
		id := h.EventID.String()
		if id == strings.Repeat("0", 32) {
			id = ""
		}
		if id != wantID {
			t.Errorf("Parse(%q): event id %q; want %q", data, id, wantID)
		}
		if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
			t.Errorf("Parse(%q) (-want +got):\n%s", data, d)
		}
	}
	f(`{}`, "", nil) // header only
	f("{}\n", "", nil)
	f("{}\n\n\n", "", nil)
	f(`{"event_id":"`+someID+`"}`, someID, nil)
	f(`{"event_id":"9ec79c33-ec99-42ab-8353-589fcb2e04dc"}`, someID, nil)
	f(`{"event_id":"9EC79C33EC9942AB8353589FCB2E04DC"}`, someID, nil)
	f(`{"event_id":null,"dsn":null}`, "", nil)
	f("{}\n{\"type\":\"event\"}\n{\"a\":1}", "", items("event", `{"a":1}`))
	f("{}\n{\"type\":\"event\"}\n{\"a\":1}\n", "", items("event", `{"a":1}`))
	f("{}\n{\"type\":\"event\",\"length\":null}\n{\"a\":1}\r\n", "", items("event", "{\"a\":1}\r")) // \r is payload
	f("{}\n{\"type\":\"attachment\",\"length\":3}\na\nb\n{\"type\":\"event\"}\n{}", "", items("attachment", "a\nb", "event", "{}"))
	f("{}\n{\"type\":\"attachment\",\"length\":0}\n\n{\"type\":\"x\",\"length\":0}", "", items("attachment", "", "x", ""))
	f("{}\n{\"type\":\"x\",\"length\":2}\nab", "", items("x", "ab"))
	f("{}\n{\"type\":\"x\"}\n\n{\"type\":\"y\"}\nz", "", items("x", "", "y", "z"))
	f("{}\n{\"type\":\"x\"}", "", items("x", ""))
	f("{\"sent_at\":\"2026-11-23T12:00:00Z\",\"sdk\":{\"name\":\"n\"},\"trace\":{\"a\":[1,{}]}}\n{\"type\":\"log\",\"item_count\":1,\"content_type\":\"x\"}\n{}", "", items("log", "{}"))
}

func TestParseSaysWhatBreaksTheGrammar(t *testing.T) {
	f := func(data, want string) {
		t.Helper()
		_, _, err := Parse([]byte(data), 3)
		if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%q) = %v; want ErrMalformed with %q", clip(data, 100), err, want)
		}
	}
	f("", "header: not a JSON object")
	f("\n{}", "header: not a JSON object")
	f("[]", "header: not a JSON object")
	f("{", "header: broken JSON")
	f(`{"event_id":"123"}`, `event id "123" is no UUID`)
	f(`{"event_id":"9ec79c33ec9942ab8353589fcb2e04dg"}`, "is no UUID")
	f(`{"event_id":12}`, "event_id is no string")
	f(`{"dsn":12}`, "dsn is no string")
	f(`{"sent_at":1,"sent_at":2}`, "sent_at stands twice")
	f(`{"a":"`+strings.Repeat("x", maxHeaderBytes)+`"}`, "longer than")
	f(`{"a":`+strings.Repeat("[", 100)+strings.Repeat("]", 100)+`}`, "nested too deeply")
	f("{}\n{}\n", "item 0: header has no type")
	f("{}\n{\"type\":1}\n", "type is no string")
	f("{}\n{\"type\":\"a\"}\nx\nnonsense\n", "item 1: header: not a JSON object")
	f("{}\n{\"type\":\"a\",\"length\":4}\nabc", "length is 4 where 3 bytes are left")
	f("{}\n{\"type\":\"a\",\"length\":9223372036854775807}\nabc", "bytes are left")
	f("{}\n{\"type\":\"a\",\"length\":99999999999999999999}\nabc", "is no whole number")
	f("{}\n{\"type\":\"a\",\"length\":-1}\nabc", "length -1 is no whole number")
	f("{}\n{\"type\":\"a\",\"length\":1.5}\nabc", "length 1.5 is no whole number")
	f("{}\n{\"type\":\"a\",\"length\":\"3\"}\nabc", "is no whole number")
	f("{}\n{\"type\":\"a\",\"length\":2}\nabc", "no line end after the 2 bytes")
}

func TestMoreItemsThanAllowedAreTooLarge(t *testing.T) {
	data := []byte("{}\n" + strings.Repeat("{\"type\":\"a\"}\nx\n", 4))
	if _, got, err := Parse(data, 4); err != nil || len(got) != 4 {
		t.Errorf("4 of 4 items: %d, %v", len(got), err)
	}
	_, _, err := Parse(data, 3)
	if e, ok := errors.AsType[*bound.TooLargeError](err); !ok || e.Limit != 3 {
		t.Errorf("4 of 3 items: %v; want a TooLargeError", err)
	}
}

// FuzzParse: what is parsed can be written again by the grammar and is then
// parsed to the same.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"", "{}", "{}\n", "{}\n{\"type\":\"event\"}\n{}", "{}\n{\"type\":\"event\",\"length\":2}\n{}\n",
		`{"event_id":"` + someID + `","dsn":"http://` + someID + `@h/1"}` + "\n{\"type\":\"attachment\",\"length\":3}\na\nb\n{\"type\":\"event\"}\n{}",
		"{}\n{\"type\":\"a\",\"length\":9223372036854775807}\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		h, got, err := Parse(data, 50)
		if err != nil {
			return
		}
		size := 0
		var again bytes.Buffer
		again.WriteString(`{"event_id":"` + h.EventID.String() + `"}` + "\n")
		for _, item := range got {
			size += len(item.Payload)
			again.Write(marshalItem(t, item))
		}
		if size > len(data) {
			t.Fatalf("payloads have %d bytes of %d", size, len(data))
		}
		h2, got2, err := Parse(again.Bytes(), 50)
		if err != nil || h2.EventID != h.EventID {
			t.Fatalf("written again: %v, id %v; want %v", err, h2.EventID, h.EventID)
		}
		if d := cmp.Diff(got, got2, cmpopts.EquateEmpty()); d != "" {
			t.Fatal(d)
		}
	})
}

func marshalItem(t *testing.T, item Item) []byte {
	t.Helper()
	head, err := json.Marshal(map[string]any{"type": item.Type, "length": len(item.Payload)})
	if err != nil {
		t.Fatal(err)
	}
	return append(append(append(head, '\n'), item.Payload...), '\n')
}
