package ingest

import (
	"encoding/base64"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/VictoriaMetrics/easyproto"

	"github.com/hoptrace/hoptrace/schemas"
)

// add keeps an attribute while there is room.
func (d *SpanDecoder) add(to *arena[schemas.Attribute], a schemas.Attribute, c *counts) {
	n := to.built()
	if n >= d.limits.Attributes && (n >= 2*d.limits.Attributes || !isOurs(a.Key)) {
		c.dropped++
		return
	}
	to.push(a)
}

// isOurs tells the attributes that package hops reads.
func isOurs(key string) bool {
	return strings.HasPrefix(key, "messaging.") || strings.HasPrefix(key, "hoptrace.")
}

func (d *SpanDecoder) keyValue(src []byte, c *counts) (a schemas.Attribute, err error) {
	const message = "KeyValue"
	var fc easyproto.FieldContext
	for len(src) > 0 {
		if src, err = d.next(&fc, src, message); err != nil {
			return a, err
		}
		ok := true
		switch fc.FieldNum {
		case 1:
			if a.Key, ok = fc.String(); ok && len(a.Key) > d.limits.KeyBytes {
				a.Key = cutString(a.Key, d.limits.KeyBytes)
			}
		case 2:
			var v []byte
			if v, ok = fc.MessageData(); ok {
				if a.Value, err = d.value(v, c); err != nil {
					return a, err
				}
			}
		}
		if !ok {
			return a, d.wrongType(&fc, src, message)
		}
	}
	return a, nil
}

// value gives an AnyValue's text. The last kind set wins, as in protobuf.
func (d *SpanDecoder) value(src []byte, c *counts) (v string, err error) {
	const message = "AnyValue"
	var fc easyproto.FieldContext
	for len(src) > 0 {
		if src, err = d.next(&fc, src, message); err != nil {
			return "", err
		}
		ok := true
		switch fc.FieldNum {
		case 1:
			if v, ok = fc.String(); ok && len(v) > d.limits.ValueBytes {
				v = cutString(v, d.limits.ValueBytes)
				c.cut++
			}
		case 2:
			var b bool
			if b, ok = fc.Bool(); ok {
				v = strconv.FormatBool(b)
			}
		case 3:
			var i int64
			if i, ok = fc.Int64(); ok {
				v = d.decimal(i)
			}
		case 4:
			var f float64
			if f, ok = fc.Double(); ok {
				v = d.text.keep(appendFloat(d.text.room(32), f))
			}
		case 5, 6:
			var b []byte
			if b, ok = fc.MessageData(); ok {
				if d.json, err = d.appendList(d.json[:0], b, fc.FieldNum == 6, d.limits.Depth); err != nil {
					return "", err
				}
				if len(d.json) > d.limits.ValueBytes {
					d.json = append(d.json[:0], cutString(string(d.json), d.limits.ValueBytes)...)
					c.cut++
				}
				v = d.text.keep(append(d.text.room(len(d.json)), d.json...))
			}
		case 7:
			var b []byte
			if b, ok = fc.Bytes(); ok {
				if most := d.limits.ValueBytes / 4 * 3; len(b) > most {
					b = b[:most]
					c.cut++
				}
				v = d.text.keep(base64.StdEncoding.AppendEncode(d.text.room(base64.StdEncoding.EncodedLen(len(b))), b))
			}
		}
		if !ok {
			return "", d.wrongType(&fc, src, message)
		}
	}
	return v, nil
}

func (d *SpanDecoder) decimal(i int64) string {
	return d.text.keep(strconv.AppendInt(d.text.room(20), i, 10))
}

// tooDeep stands for what lies deeper than [Limits.Depth].
const tooDeep = `"…"`

// appendList appends an ArrayValue or KeyValueList as JSON. It stops once the
// text is longer than a value may be; the caller cuts it.
func (d *SpanDecoder) appendList(dst, src []byte, isMap bool, depth int) ([]byte, error) {
	message := "ArrayValue"
	if isMap {
		message = "KeyValueList"
	}
	if depth <= 0 {
		return append(dst, tooDeep...), nil
	}
	var fc easyproto.FieldContext
	var err error
	open, end := byte('['), byte(']')
	if isMap {
		open, end = '{', '}'
	}
	dst = append(dst, open)
	first := true
	for len(src) > 0 {
		if src, err = d.next(&fc, src, message); err != nil {
			return dst, err
		}
		if fc.FieldNum != 1 {
			continue
		}
		b, ok := fc.MessageData()
		if !ok {
			return dst, d.wrongType(&fc, src, message)
		}
		if len(dst) > d.limits.ValueBytes {
			return dst, nil
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		if isMap {
			dst, err = d.appendPair(dst, b, depth)
		} else {
			dst, err = d.appendValue(dst, b, depth)
		}
		if err != nil {
			return dst, err
		}
	}
	return append(dst, end), nil
}

func (d *SpanDecoder) appendPair(dst, src []byte, depth int) ([]byte, error) {
	const message = "KeyValue"
	var fc easyproto.FieldContext
	var err error
	var key string
	var value []byte
	for len(src) > 0 {
		if src, err = d.next(&fc, src, message); err != nil {
			return dst, err
		}
		ok := true
		switch fc.FieldNum {
		case 1:
			key, ok = fc.String()
		case 2:
			value, ok = fc.MessageData()
		}
		if !ok {
			return dst, d.wrongType(&fc, src, message)
		}
	}
	dst = append(appendQuoted(dst, key, d.limits.ValueBytes), ':')
	return d.appendValue(dst, value, depth)
}

func (d *SpanDecoder) appendValue(dst, src []byte, depth int) ([]byte, error) {
	const message = "AnyValue"
	var fc easyproto.FieldContext
	var err error
	from := len(dst)
	for len(src) > 0 {
		if src, err = d.next(&fc, src, message); err != nil {
			return dst, err
		}
		ok := true
		switch fc.FieldNum {
		case 1:
			var s string
			if s, ok = fc.String(); ok {
				dst = appendQuoted(dst[:from], s, d.limits.ValueBytes)
			}
		case 2:
			var b bool
			if b, ok = fc.Bool(); ok {
				dst = strconv.AppendBool(dst[:from], b)
			}
		case 3:
			var i int64
			if i, ok = fc.Int64(); ok {
				dst = strconv.AppendInt(dst[:from], i, 10)
			}
		case 4:
			var f float64
			if f, ok = fc.Double(); ok {
				dst = dst[:from]
				if math.IsNaN(f) || math.IsInf(f, 0) { // JSON has no such numbers
					dst = append(appendFloat(append(dst, '"'), f), '"')
				} else {
					dst = appendFloat(dst, f)
				}
			}
		case 5, 6:
			var b []byte
			if b, ok = fc.MessageData(); ok {
				if dst, err = d.appendList(dst[:from], b, fc.FieldNum == 6, depth-1); err != nil {
					return dst, err
				}
			}
		case 7:
			var b []byte
			if b, ok = fc.Bytes(); ok {
				if len(b) > d.limits.ValueBytes {
					b = b[:d.limits.ValueBytes]
				}
				dst = append(dst[:from], '"')
				dst = append(base64.StdEncoding.AppendEncode(dst, b), '"')
			}
		}
		if !ok {
			return dst, d.wrongType(&fc, src, message)
		}
	}
	if len(dst) == from {
		dst = append(dst, "null"...)
	}
	return dst, nil
}

// appendFloat writes a float as JavaScript and JSON do: plain digits between
// 1e-6 and 1e21, an exponent outside.
func appendFloat(dst []byte, f float64) []byte {
	format := byte('f')
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	return strconv.AppendFloat(dst, f, format, -1, 64)
}

const hexDigits = "0123456789abcdef"

// appendQuoted appends s as a JSON string, about most bytes of it.
func appendQuoted(dst []byte, s string, most int) []byte {
	if len(s) > most {
		s = cutString(s, most)
	}
	dst = append(dst, '"')
	for i := 0; i < len(s); {
		b := s[i]
		switch {
		case b == '"' || b == '\\':
			dst = append(dst, '\\', b)
			i++
		case b < 0x20:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[b>>4], hexDigits[b&15])
			i++
		case b < utf8.RuneSelf:
			dst = append(dst, b)
			i++
		default:
			r, n := utf8.DecodeRuneInString(s[i:])
			dst = utf8.AppendRune(dst, r) // broken bytes become U+FFFD
			i += n
		}
	}
	return append(dst, '"')
}

// cutString gives at most n bytes of s, without half a rune at the end.
func cutString(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
