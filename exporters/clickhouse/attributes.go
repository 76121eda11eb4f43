package clickhouse

import (
	"unicode/utf8"

	"github.com/hoptrace/hoptrace/schemas"
)

// appendAttributes writes attributes as a JSON object, in order and with
// repeated keys. Bytes that are no UTF-8 stay as they are: parseAttributes
// gives back exactly what was written.
func appendAttributes(dst []byte, attrs []schemas.Attribute) []byte {
	dst = append(dst, '{')
	for i := range attrs {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendJSONString(dst, attrs[i].Key)
		dst = append(dst, ':')
		dst = appendJSONString(dst, attrs[i].Value)
	}
	return append(dst, '}')
}

const hexDigits = "0123456789abcdef"

func appendJSONString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	from := 0
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[from:i]...)
		from = i + 1
		if c < ' ' {
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		} else {
			dst = append(dst, '\\', c)
		}
	}
	return append(append(dst, s[from:]...), '"')
}

// parseAttributes reads what appendAttributes wrote. Of anything else it gives
// the pairs up to the first surprise; it is nil for an empty object.
func parseAttributes(s string) []schemas.Attribute {
	if len(s) < 2 || s[0] != '{' {
		return nil
	}
	var out []schemas.Attribute
	for s = s[1:]; len(s) > 0 && s[0] == '"'; {
		var a schemas.Attribute
		var ok bool
		if a.Key, s, ok = parseJSONString(s); !ok || len(s) == 0 || s[0] != ':' {
			return out
		}
		if a.Value, s, ok = parseJSONString(s[1:]); !ok {
			return out
		}
		out = append(out, a)
		if len(s) == 0 || s[0] != ',' {
			return out
		}
		s = s[1:]
	}
	return out
}

func parseJSONString(s string) (v, rest string, ok bool) {
	if len(s) == 0 || s[0] != '"' {
		return "", s, false
	}
	s = s[1:]
	for i := range len(s) {
		switch s[i] {
		case '"':
			return s[:i], s[i+1:], true
		case '\\':
			return unescapeJSONString(s)
		}
	}
	return "", s, false
}

func unescapeJSONString(s string) (v, rest string, ok bool) {
	var b []byte
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '"' {
			return string(b), s[i+1:], true
		}
		if c == '\\' {
			i++
			if i >= len(s) {
				return "", s, false
			}
			switch c = s[i]; c {
			case 'n':
				c = '\n'
			case 't':
				c = '\t'
			case 'r':
				c = '\r'
			case 'b':
				c = '\b'
			case 'f':
				c = '\f'
			case 'u':
				var r rune
				if i+4 >= len(s) {
					return "", s, false
				}
				for _, h := range []byte(s[i+1 : i+5]) {
					d := hexValue(h)
					if d < 0 {
						return "", s, false
					}
					r = r<<4 | rune(d)
				}
				i += 4
				b = utf8.AppendRune(b, r)
				continue
			}
		}
		b = append(b, c)
	}
	return "", s, false
}

func hexValue(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
