package wire

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/go-faster/jx"
)

func jsonKind(d *jx.Decoder) string {
	if t := d.Next(); t != jx.Invalid {
		return t.String()
	}
	return "no JSON"
}

// brokenJSON passes on what the decoder says, with its place.
func brokenJSON(err error) *Error { return problem("broken JSON: " + err.Error()) }

// jsonRecord decodes one record: a value and nothing behind it.
func jsonRecord(b []byte, f func(d *jx.Decoder) *Error) *Error {
	if !utf8.Valid(b) {
		return problem("broken JSON: not UTF-8")
	}
	d := jx.GetDecoder()
	defer jx.PutDecoder(d)
	d.ResetBytes(b)
	if e := f(d); e != nil {
		return e
	}
	if err := d.Skip(); !errors.Is(err, io.EOF) {
		return problem("broken JSON: something follows the record")
	}
	return nil
}

func jsonText(d *jx.Decoder) (text []byte, e *Error) {
	if d.Next() != jx.String {
		return nil, wantGot("a string", jsonKind(d))
	}
	text, err := d.StrBytes()
	if err != nil {
		return nil, brokenJSON(err)
	}
	return text, nil
}

func jsonString(d *jx.Decoder) (string, *Error) {
	text, e := jsonText(d)
	return string(text), e
}

func jsonEnum(d *jx.Decoder, values []string) (string, *Error) {
	text, e := jsonText(d)
	if e != nil {
		return "", e
	}
	if i := slices.IndexFunc(values, func(v string) bool { return v == string(text) }); i >= 0 {
		return values[i], nil
	}
	return "", notOneOf(values, string(text))
}

func jsonBool(d *jx.Decoder) (bool, *Error) {
	if d.Next() != jx.Bool {
		return false, wantGot("true or false", jsonKind(d))
	}
	v, err := d.Bool()
	if err != nil {
		return false, brokenJSON(err)
	}
	return v, nil
}

// jsonInt reads any integer that fits T, and a number that is whole, as 1.0.
func jsonInt[T int64 | uint64 | int](d *jx.Decoder) (v T, e *Error) {
	if d.Next() != jx.Number {
		return 0, wantGot("an integer", jsonKind(d))
	}
	num, err := d.Num()
	if err != nil {
		return 0, brokenJSON(err)
	}
	if i, err := strconv.ParseInt(string(num), 10, 64); err == nil {
		if v = T(i); int64(v) == i && v < 0 == (i < 0) { //nolint:gosec // compared
			return v, nil
		}
		return 0, wantGot("an integer of zero or more", string(num))
	}
	if u, err := strconv.ParseUint(string(num), 10, 64); err == nil {
		if v = T(u); v >= 0 && uint64(v) == u { //nolint:gosec // compared
			return v, nil
		}
	}
	if f, err := strconv.ParseFloat(string(num), 64); err == nil {
		if v, ok := whole[T](f); ok {
			return v, nil
		}
	}
	return 0, wantGot("an integer of 64 bits", cutText(string(num)))
}

func jsonFloat(d *jx.Decoder) (float64, *Error) {
	if d.Next() != jx.Number {
		return 0, wantGot("a number", jsonKind(d))
	}
	v, err := d.Float64()
	if err != nil {
		return 0, brokenJSON(err)
	}
	return v, nil
}

// jsonObject gives the text of an object, a part of the record.
func jsonObject(d *jx.Decoder) (json.RawMessage, *Error) {
	if d.Next() != jx.Object {
		return nil, wantGot("an object", jsonKind(d))
	}
	raw, err := d.Raw() // part of the record, since the decoder reads from memory
	if err != nil {
		return nil, brokenJSON(err)
	}
	return json.RawMessage(raw[:len(raw):len(raw)]), nil
}

func jsonNull(d *jx.Decoder) *Error {
	if err := d.Null(); err != nil {
		return brokenJSON(err)
	}
	return nil
}

// jsonFields calls f for each field of an object. The key is f's until it
// reads on.
func jsonFields(d *jx.Decoder, f func(key []byte) *Error) *Error {
	if d.Next() != jx.Object {
		return wantGot("an object", jsonKind(d))
	}
	fields, err := d.ObjIter()
	if err != nil {
		return brokenJSON(err)
	}
	for fields.Next() {
		if e := f(fields.Key()); e != nil {
			return e
		}
	}
	if err := fields.Err(); err != nil {
		return brokenJSON(err)
	}
	return nil
}

// jsonElements calls f for each element of an array that has from low to most.
func jsonElements(d *jx.Decoder, low, most int, f func(i int) *Error) *Error {
	if d.Next() != jx.Array {
		return wantGot("an array", jsonKind(d))
	}
	elements, err := d.ArrIter()
	if err != nil {
		return brokenJSON(err)
	}
	n := 0
	for ; elements.Next(); n++ {
		if n == most {
			return wantGot("at most "+strconv.Itoa(most)+" elements", "more")
		}
		if e := f(n); e != nil {
			return e.at(n)
		}
	}
	if err := elements.Err(); err != nil {
		return brokenJSON(err)
	}
	if n < low {
		return wrongCount(low, most, n)
	}
	return nil
}

func jsonSkip(d *jx.Decoder) *Error {
	if err := d.Skip(); err != nil {
		return brokenJSON(err)
	}
	return nil
}

// jsonConstInt and jsonConstString read an element that is always the same.
func jsonConstInt(d *jx.Decoder, want int64) *Error {
	got, e := jsonInt[int64](d)
	if e == nil && got != want {
		e = wantGot(strconv.FormatInt(want, 10), strconv.FormatInt(got, 10))
	}
	return e
}

func jsonConstString(d *jx.Decoder, want string) *Error {
	got, e := jsonText(d)
	if e == nil && string(got) != want {
		e = wantGot(strconv.Quote(want), quote(string(got)))
	}
	return e
}

// jsonOperation is the text at index 1 of an array, without decoding the
// rest: which of several messages a record is.
func jsonOperation(b []byte) (op string, e *Error) {
	found := false
	e = jsonRecord(b, func(d *jx.Decoder) *Error {
		return jsonElements(d, 0, 16, func(i int) (e *Error) {
			if i != 1 {
				return jsonSkip(d)
			}
			found = true
			op, e = jsonString(d)
			return e
		})
	})
	if e == nil && !found {
		e = problem("is missing").at(1)
	}
	return op, e
}

// cutText shows a long number or text in an error.
func cutText(s string) string {
	if len(s) > 40 {
		return s[:40] + "…"
	}
	return s
}

func appendJSONString(b []byte, s string) []byte {
	plain := true
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' {
			plain = false
			break
		}
	}
	if plain { // nearly always, and without the writer's memory
		b = append(b, '"')
		b = append(b, s...)
		return append(b, '"')
	}
	w := jx.Writer{Buf: b}
	w.Str(valid(s))
	return w.Buf
}

// appendJSONBytes writes bytes of msgpack as its schemas render them.
func appendJSONBytes(b, v []byte) []byte {
	if utf8.Valid(v) {
		w := jx.Writer{Buf: append(b, `{"$bytes":`...)}
		w.ByteStr(v)
		return append(w.Buf, '}')
	}
	b = append(b, `{"$base64":"`...)
	b = base64.StdEncoding.AppendEncode(b, v)
	return append(b, '"', '}')
}

func appendJSONFloat(b []byte, v float64) []byte {
	w := jx.Writer{Buf: b}
	w.Float64(v)
	return w.Buf
}

// appendRaw writes an object that was decoded, or {} for none.
func appendRaw(b, raw []byte) []byte {
	if len(raw) == 0 {
		return append(b, '{', '}')
	}
	return append(b, raw...)
}
