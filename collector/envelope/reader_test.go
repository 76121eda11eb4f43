package envelope

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/hoptrace/hoptrace/collector/bound"
)

const someID = "9ec79c33ec9942ab8353589fcb2e04dc"

// Item is an item as a Reader gave it.
type Item struct {
	Type    string
	Payload []byte
}

// whole reads an envelope with every item's payload, as src gives it.
func whole(src io.Reader, maxItems int) (Header, []Item, error) {
	r := NewReader(src, maxItems)
	defer r.Close()
	h, err := r.Header()
	if err != nil {
		return Header{}, nil, err
	}
	lease, err := bound.NewBudget(1 << 30).Lease(0)
	if err != nil {
		return Header{}, nil, err
	}
	var items []Item
	for {
		item, err := r.Next()
		if errors.Is(err, io.EOF) {
			return h, items, nil
		}
		if err != nil {
			return Header{}, nil, err
		}
		payload, err := r.Payload(nil, "item", 1<<20, lease)
		if e, ok := errors.AsType[*bound.TooLargeError](err); ok && e.What == "item" {
			continue
		}
		if err != nil {
			return Header{}, nil, err
		}
		items = append(items, Item{item.Type, payload})
	}
}

// Parse reads an envelope in pieces of every size that could matter, and skips
// it once, and wants the same each time.
func Parse(data []byte, maxItems int) (Header, []Item, error) {
	h, items, err := whole(bytes.NewReader(data), maxItems)
	for _, src := range []io.Reader{
		iotest.OneByteReader(bytes.NewReader(data)), iotest.HalfReader(bytes.NewReader(data)), iotest.DataErrReader(bytes.NewReader(data)),
	} {
		h2, items2, err2 := whole(src, maxItems)
		if d := cmp.Diff(items, items2); d != "" || h != h2 || fmt.Sprint(err) != fmt.Sprint(err2) {
			panic(fmt.Sprintf("%q read in pieces is %v %q %v; want %v %q %v", data, h2, items2, err2, h, items, err))
		}
	}
	r := NewReader(iotest.OneByteReader(bytes.NewReader(data)), maxItems)
	defer r.Close()
	_, err2 := r.Header()
	n := 0
	for err2 == nil {
		if _, err2 = r.Next(); err2 == nil {
			n++
		}
	}
	if errors.Is(err2, io.EOF) {
		err2 = nil
	}
	if fmt.Sprint(err) != fmt.Sprint(err2) || err == nil && n != len(items) {
		panic(fmt.Sprintf("%q skipped is %d items, %v; want %d, %v", data, n, err2, len(items), err))
	}
	return h, items, err
}

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

func TestHeadersAreBounded(t *testing.T) {
	f := func(data, what string) {
		t.Helper()
		_, _, err := Parse([]byte(data), 3)
		if e, ok := errors.AsType[*bound.TooLargeError](err); !ok || e.What != what || e.Limit != maxHeaderBytes {
			t.Errorf("a long line: %v; want %s too large", err, what)
		}
	}
	f(strings.Repeat("x", maxHeaderBytes+1), "the envelope's header")
	f(`{"a":"`+strings.Repeat("x", maxHeaderBytes)+"\"}\n", "the envelope's header")
	f("{}\n{\"type\":\"a\"}\nx\n{\"a\":\""+strings.Repeat("x", maxHeaderBytes), "an item's header")
	long := `{"a":"` + strings.Repeat("x", maxHeaderBytes-8) + `"}`
	if _, got, err := Parse([]byte(long+"\n{\"type\":\"a\"}\nx"), 3); err != nil || len(got) != 1 {
		t.Errorf("a header of %d bytes: %v", len(long), err)
	}
}

func TestTheBodysOwnErrorsComeAsTheyAre(t *testing.T) {
	bad := errors.New("the stream is broken")
	for _, data := range []string{"", "{}", "{}\n", "{}\n{\"type\"", "{}\n{\"type\":\"a\"}\nab", "{}\n{\"type\":\"a\",\"length\":5}\nab", "{}\n{\"type\":\"a\",\"length\":2}\nab"} {
		_, _, err := whole(io.MultiReader(strings.NewReader(data), iotest.ErrReader(bad)), 3)
		if !errors.Is(err, bad) || errors.Is(err, ErrMalformed) {
			t.Errorf("%q: %v; want %v", data, err, bad)
		}
	}
}

func TestALengthThatIsOnlyClaimedCostsNothing(t *testing.T) {
	budget := bound.NewBudget(1 << 20)
	lease, err := budget.Lease(0)
	if err != nil {
		t.Fatal(err)
	}
	r := NewReader(strings.NewReader("{}\n{\"type\":\"event\",\"length\":900000000}\nabc"), 3)
	defer r.Close()
	if _, err := r.Header(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Payload(nil, "event", 1<<30, lease); !errors.Is(err, ErrMalformed) {
		t.Errorf("Payload = %v; want ErrMalformed", err)
	}
	if budget.InFlight() > 2*firstRead {
		t.Errorf("%d bytes were taken for 3", budget.InFlight())
	}
}

func TestATooLargeItemLeavesTheOthers(t *testing.T) {
	for _, data := range []string{
		"{}\n{\"type\":\"event\",\"length\":10}\n0123456789\n{\"type\":\"log\"}\nab", "{}\n{\"type\":\"event\"}\n0123456789\n{\"type\":\"log\"}\nab",
	} {
		lease, err := bound.NewBudget(1 << 20).Lease(0)
		if err != nil {
			t.Fatal(err)
		}
		r := NewReader(strings.NewReader(data), 3)
		_, _ = r.Header()
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
		_, err = r.Payload(nil, "event", 5, lease)
		if e, ok := errors.AsType[*bound.TooLargeError](err); !ok || e.What != "event" || e.Limit != 5 {
			t.Errorf("%q: %v", data, err)
		}
		h, err := r.Next()
		if err != nil || h.Type != "log" {
			t.Fatalf("%q: next is %v, %v", data, h, err)
		}
		if p, err := r.Payload([]byte("x"), "log", 2, lease); err != nil || string(p) != "xab" {
			t.Errorf("%q: %q, %v", data, p, err)
		}
		r.Close()
	}
}

func TestHeadersSayWhatIsNeeded(t *testing.T) {
	h, err := parseItemHeader([]byte(`{"type":"att\u0061chment","length":12,"content_type":"text/plain","attachment_type":"event.minidump","filename":"a\"b.dmp","item_count":3,"sentry_release":"r","sentry_environment":"e","platform":"go"}`))
	want := ItemHeader{Type: "attachment", Length: 12, ContentType: "text/plain", AttachmentType: "event.minidump", Filename: `a"b.dmp`, ItemCount: 3, Release: "r", Environment: "e"}
	if err != nil || h != want {
		t.Errorf("item header %+v, %v; want %+v", h, err, want)
	}
	f := func(value string, want int64) {
		t.Helper()
		h, err := parseHeader([]byte(`{"sent_at":` + value + `}`))
		if got := h.SentAt; err != nil || got.IsZero() != (want == 0) || want != 0 && got.UnixMilli() != want {
			t.Errorf("sent_at %s is %v, %v; want %d", value, got, err, want)
		}
	}
	f(`"2026-11-23T12:00:00.5Z"`, 1795435200500)
	f(`"2026-11-23T14:00:00.5+02:00"`, 1795435200500)
	f(`1795435200.5`, 1795435200500)
	f(`1795435200`, 1795435200000)
	f(`null`, 0)
	f(`"yesterday"`, 0)
	f(`-1`, 0)
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
