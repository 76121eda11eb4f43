package envelope

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestMsgpackBecomesJSON(t *testing.T) {
	f := func(data, want string) {
		t.Helper()
		got, rest, err := msgpackToJSON(nil, []byte(data), 8)
		if err != nil || string(got) != want || len(rest) != 0 {
			t.Errorf("msgpackToJSON(%x) = %s, %d left, %v; want %s", data, got, len(rest), err, want)
		}
	}
	f("\x00", "0")
	f("\x7f", "127")
	f("\xff", "-1")
	f("\xe0", "-32")
	f("\xc0", "null")
	f("\xc2", "false")
	f("\xc3", "true")
	f("\xcc\xff", "255")
	f("\xcd\xff\xff", "65535")
	f("\xce\xff\xff\xff\xff", "4294967295")
	f("\xcf\xff\xff\xff\xff\xff\xff\xff\xff", "18446744073709551615")
	f("\xd0\x80", "-128")
	f("\xd1\x80\x00", "-32768")
	f("\xd2\x80\x00\x00\x00", "-2147483648")
	f("\xd3\x80\x00\x00\x00\x00\x00\x00\x00", "-9223372036854775808")
	f("\xca\x3f\xc0\x00\x00", "1.5")
	f("\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00", "1.5")
	f("\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", "null") // NaN
	f("\xa3a\"b", `"a\"b"`)
	f("\xd9\x01a", `"a"`)
	f("\xda\x00\x01a", `"a"`)
	f("\xdb\x00\x00\x00\x01a", `"a"`)
	f("\xc4\x02\xff\xfe", `"`+base64.StdEncoding.EncodeToString([]byte("\xff\xfe"))+`"`)
	f("\x92\x01\xa1a", `[1,"a"]`)
	f("\xdc\x00\x01\x90", `[[]]`)
	f("\xdd\x00\x00\x00\x01\xc0", `[null]`)
	f("\x82\xa1a\x01\x02\x80", `{"a":1,"2":{}}`)
	f("\xde\x00\x01\xa1a\x01", `{"a":1}`)
	f("\xdf\x00\x00\x00\x01\xa1a\x01", `{"a":1}`)
	f("\xd6\xff\x00\x00\x00\x00", "null") // a timestamp
	f("\xc7\x03\x01abc", "null")
	bad := func(data string, want error) {
		t.Helper()
		if _, _, err := msgpackToJSON(nil, []byte(data), 8); !errors.Is(err, want) {
			t.Errorf("msgpackToJSON(%x) = %v; want %v", data, err, want)
		}
	}
	for _, short := range []string{"", "\xa3ab", "\x92\x01", "\x81\xa1a", "\xcd\xff", "\xdb\xff\xff\xff\xffa", "\xdd\xff\xff\xff\xff", "\xdf\xff\xff\xff\xff", "\xd8\x01", "\xc9\xff\xff\xff\xff\x00"} {
		bad(short, errMsgpackShort)
	}
	bad("\xc1", errMsgpackType)
	bad("\x81\x90\x01", errMsgpackKey)
	bad(strings.Repeat("\x91", 9)+"\x01", errMsgpackDepth)
}

// FuzzMsgpack: what becomes JSON is JSON, of a size that the input bounds.
func FuzzMsgpack(f *testing.F) {
	for _, s := range []string{"\x82\xa1a\x01\x02\x80", "\xdd\xff\xff\xff\xff", "\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", "\xc4\x02\xff\xfe"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		out, rest, err := msgpackToJSON(nil, data, 20)
		if err != nil {
			return
		}
		if len(rest) > len(data) || len(out) > 25*len(data)+8 {
			t.Fatalf("%d bytes became %d and %d are left", len(data), len(out), len(rest))
		}
		if !json.Valid(out) || !utf8.Valid(out) {
			t.Fatalf("%x became %q", data, out)
		}
		// And merges into an event.
		p := crashParts{payload: data, crumbs: [][]byte{data}, report: minidump, fields: []field{{"sentry[" + string(data) + "]", "x"}, {"a", "b"}}}
		merged, _ := p.merge(&held{payload: []byte(`{"message":"m"}`)})
		var event map[string]any
		if err := json.Unmarshal(merged, &event); err != nil || event["message"] != "m" || event["level"] == nil {
			t.Fatalf("merged to %s, %v", merged, err)
		}
	})
}
