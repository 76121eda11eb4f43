package normalize

import (
	"strconv"

	"github.com/hoptrace/hoptrace/pipeline/document"
	"github.com/hoptrace/hoptrace/pipeline/ingest"
)

// ellipsis ends a text that was cut.
const ellipsis = "..."

// text gives a value's text, at most most bytes of it, and writes it so.
// Numbers and booleans become strings; what is neither is taken out.
func (n *Normalizer) text(v *document.Node, most int, at path) string {
	switch v.Kind() {
	case 0, 'n':
		return ""
	case '"':
		s, _ := v.Text()
		if len(s) <= most {
			return s
		}
		return n.shorten(v, s, most, at)
	case '0', 't', 'f':
		s := v.Raw()
		if len(s) > most {
			n.invalid(v, at, "invalid_data")
			return ""
		}
		v.Become(n.doc.String(s))
		return s
	}
	n.invalid(v, at, "invalid_data")
	return ""
}

// shorten cuts a string and notes it.
func (n *Normalizer) shorten(v *document.Node, s string, most int, at path) string {
	kept := cut(s, most-len(ellipsis))
	n.cutRemark(at, len(s), len(kept), len(kept)+len(ellipsis))
	kept += ellipsis
	v.Become(n.doc.String(kept))
	return kept
}

// parseInt reads a whole number or its text.
func parseInt(v *document.Node) (int64, bool) {
	s := v.Scalar()
	if s == "" || v.Is('t') || v.Is('f') {
		return 0, false
	}
	if i, err := strconv.ParseInt(s, 10, 64); err == nil {
		return i, true
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || f != float64(int64(f)) || f > 1<<53 || f < -1<<53 {
		return 0, false
	}
	return int64(f), true
}

// parseBool reads true and false, 0 and 1, and their texts.
func parseBool(v *document.Node) (is, told bool) {
	switch v.Scalar() {
	case "true", "1":
		return true, true
	case "false", "0":
		return false, true
	}
	return false, false
}

// parseTime reads Unix seconds or RFC 3339; zero is what cannot be read.
func parseTime(s string) int64 { return ingest.ParseTime(s) }

// seconds writes Unix nanoseconds as seconds, with no more digits than it takes.
func seconds(ns int64) string {
	b := strconv.AppendInt(make([]byte, 0, 24), ns/1e9, 10)
	if part := ns % 1e9; part != 0 {
		from := len(b)
		b = strconv.AppendInt(b, 1e9+part, 10)
		b[from] = '.' // the 1
		for b[len(b)-1] == '0' {
			b = b[:len(b)-1]
		}
	}
	return string(b)
}
