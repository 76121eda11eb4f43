package normalize

import (
	"strconv"
	"strings"

	"github.com/hoptrace/hoptrace/pipeline/document"
)

// maxParams is how many parameters a message has.
const maxParams = 100

// message reads the text of an event: a string, or an object with message,
// formatted and params, under "logentry" or "message". It is kept as logentry.
func (n *Normalizer) message(root *document.Node, f *fields) {
	e := n.e
	v, at := f.logentry, rootAt("logentry")
	if !v.Is('{') && !v.Is('"') || v.Is('{') && v.Len() == 0 || v.Scalar() == "" && v.Is('"') {
		if v = f.message; v != nil {
			n.moveMeta("message", "logentry")
		}
	}
	switch {
	case v == nil || v.Is('n'):
	case v.Is('{') && !v.Opaque():
		n.logentry(v, at)
	case v.Is('"') || v.Is('0'):
		if text := n.text(v, maxText, at); text != "" {
			e.Message = text
			entry := n.doc.Object()
			entry.Set("formatted", n.doc.Copy(v))
			v.Become(entry)
			if n.metaNode(&at, false) != nil {
				n.wrapMeta(at, "formatted")
			}
		}
	default:
		n.invalid(v, at, "invalid_data")
	}
	if v != nil && v == f.message {
		entry := n.doc.Copy(v)
		root.Delete("message")
		root.Set("logentry", entry)
		return
	}
	if f.message != nil {
		root.Delete("message")
	}
}

func (n *Normalizer) logentry(v *document.Node, at path) {
	e := n.e
	template, formatted, params := v.Get("message"), v.Get("formatted"), v.Get("params")
	if template.Is('{') || template.Is('[') {
		n.invalid(template, at.at("message"), "invalid_data")
	}
	e.Template = n.text(template, maxText, at.at("message"))
	text := n.text(formatted, maxText, at.at("formatted"))
	if params != nil {
		if params.Is('{') || params.Is('[') {
			below := at.at("params")
			if params.Is('[') {
				n.ends(params, below, maxParams, 0)
			}
			n.bag(params, &below, 4, 16<<10)
			if text == "" && e.Template != "" {
				text = fill(e.Template, params)
			}
		} else if !params.Is('n') {
			n.invalid(params, at.at("params"), "invalid_data")
		}
	}
	e.Message = or(text, e.Template)
	if e.Message != "" && formatted.Scalar() == "" {
		s := e.Message
		v.Set("formatted", n.doc.String(s))
		if len(s) > maxText {
			e.Message = n.shorten(v.Get("formatted"), s, maxText, at.at("formatted"))
		}
	}
	if v.Len() > 3 {
		v.Keep(func(c *document.Node) bool { return c.Named("message") || c.Named("formatted") || c.Named("params") })
	}
}

// maxFilled bounds a text while parameters go in.
const maxFilled = 4 * maxText

// fill puts parameters into a template: %s and its kin, %(name)s, {}, {0} and
// {name}. What has no parameter stays as it is.
func fill(template string, params *document.Node) string {
	var b strings.Builder
	next := params.First()
	positional := func(i int) (string, bool) {
		if !params.Is('[') {
			return "", false
		}
		v := next
		if i >= 0 {
			for v = params.First(); v != nil && i > 0; i-- {
				v = v.Next()
			}
		} else {
			next = next.Next()
		}
		return param(v)
	}
	named := func(key string) (string, bool) {
		if !params.Is('{') {
			return "", false
		}
		return param(params.Get(key))
	}
	percent := strings.IndexByte(template, '%') >= 0
	for i := 0; i < len(template) && b.Len() < maxFilled; i++ {
		rest := template[i:]
		switch {
		case percent && strings.HasPrefix(rest, "%%"):
			b.WriteByte('%')
			i++
			continue
		case percent && rest[0] == '%':
			if size, key := verb(rest); size > 0 {
				var s string
				var ok bool
				if key != "" {
					s, ok = named(key)
				} else {
					s, ok = positional(-1)
				}
				if ok {
					b.WriteString(s)
					i += size - 1
					continue
				}
			}
		case !percent && rest[0] == '{':
			if end := strings.IndexByte(rest, '}'); end > 0 && end <= 64 {
				key := rest[1:end]
				var s string
				var ok bool
				if key == "" {
					s, ok = positional(-1)
				} else if at, err := strconv.Atoi(key); err == nil && at >= 0 && at < maxParams && params.Is('[') {
					s, ok = positional(at)
				} else {
					s, ok = named(key)
				}
				if ok {
					b.WriteString(s)
					i += end
					continue
				}
			}
		}
		b.WriteByte(template[i])
	}
	return b.String()
}

func param(v *document.Node) (string, bool) {
	switch v.Kind() {
	case 0:
		return "", false
	case '{', '[':
		return cut(string(v.AppendJSON(nil)), maxValue), true
	case 'n':
		return "null", true
	}
	return v.Scalar(), true
}

// verb tells how long the verb is at the beginning of s, and its name in
// parentheses. A size of zero is no verb.
func verb(s string) (size int, key string) {
	i := 1
	if i < len(s) && s[i] == '(' {
		end := strings.IndexByte(s, ')')
		if end < 0 || end > 64 {
			return 0, ""
		}
		key, i = s[2:end], end+1
		if key == "" {
			return 0, ""
		}
	}
	for i < len(s) && i < 16 && strings.IndexByte("+-# 0123456789.", s[i]) >= 0 || key != "" && i < len(s) && strings.IndexByte("+-# 0123456789.", s[i]) >= 0 && i < 80 {
		i++
	}
	if i < len(s) && strings.IndexByte("sdifrvxXqgeoutcpj", s[i]) >= 0 {
		return i + 1, key
	}
	return 0, ""
}
