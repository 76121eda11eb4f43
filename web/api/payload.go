package api

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Limits of what is shown of a payload. What is beyond is left out.
const (
	maxExceptions  = 50
	maxFrames      = 250
	maxContextLine = 40
	maxBreadcrumbs = 200
	maxData        = 50
	maxValue       = 8 << 10 // bytes of one text
	maxNotes       = 200
	maxNoteDepth   = 40
)

// payload is a Sentry event as its SDK sent it, as far as a page shows it.
type payload struct {
	exceptions  []Exception
	breadcrumbs []Breadcrumb
	tags        []Attribute
	contexts    []Context
	text        string
	user        []Attribute
	request     []Attribute
	notes       []Note
	notesCut    bool
}

// object is JSON that nobody promised a form of: SDKs differ, and a field of a
// wrong type is left out instead of spoiling the page.
type object map[string]json.RawMessage

// readPayload is not ok when raw is no JSON object.
func readPayload(raw []byte) (_ payload, ok bool) {
	var root object
	if json.Unmarshal(raw, &root) != nil {
		return payload{}, false
	}
	out := payload{exceptions: []Exception{}, breadcrumbs: []Breadcrumb{}, tags: []Attribute{}, contexts: []Context{}, notes: []Note{}}
	for _, e := range root.list("exception") {
		if len(out.exceptions) == maxExceptions {
			break
		}
		out.exceptions = append(out.exceptions, exception(e))
	}
	if len(out.exceptions) == 0 {
		for _, t := range root.list("threads") {
			if t.boolean("crashed") != nil && *t.boolean("crashed") || t.boolean("current") != nil && *t.boolean("current") {
				e := exception(t)
				e.Type = cmp.Or(e.Type, "thread "+t.text("name"))
				out.exceptions = append(out.exceptions, e)
				break
			}
		}
	}
	slices.Reverse(out.exceptions) // Sentry: the oldest cause first
	crumbs := root.list("breadcrumbs")
	for _, c := range crumbs[max(0, len(crumbs)-maxBreadcrumbs):] {
		out.breadcrumbs = append(out.breadcrumbs, Breadcrumb{
			Time: c.time("timestamp"), Type: c.text("type"), Category: c.text("category"), Level: c.text("level"),
			Message: c.text("message"), Data: c.data("data"),
		})
	}
	slices.Reverse(out.breadcrumbs)
	out.tags = root.tags()
	var contexts object
	if json.Unmarshal(root["contexts"], &contexts) == nil {
		for name := range contexts {
			if data := contexts.data(name); len(data) > 0 && len(out.contexts) < maxData {
				out.contexts = append(out.contexts, Context{Name: clip(name, 200), Data: data})
			}
		}
		slices.SortFunc(out.contexts, func(a, b Context) int { return strings.Compare(a.Name, b.Name) })
	}
	if extra := root.data("extra"); len(extra) > 0 {
		out.contexts = append(out.contexts, Context{Name: "extra", Data: extra})
	}
	entry := root.object("logentry")
	out.text = cmp.Or(entry.text("formatted"), entry.text("message"), root.text("message"))
	out.user, out.request = root.data("user"), root.object("request").request()
	out.addNotes(root.object("_meta"), "", 0)
	return out, true
}

// request flattens what a request was: its headers one by one.
func (o object) request() []Attribute {
	out := []Attribute{}
	add := func(key, value string) {
		if value != "" && len(out) < maxData {
			out = append(out, Attribute{Key: key, Value: value})
		}
	}
	for _, name := range [...]string{"method", "url"} {
		add(name, valueText(o[name]))
	}
	for _, name := range [...]string{"query_string", "fragment", "data", "cookies"} {
		add(name, pairsText(o[name]))
	}
	for _, h := range append(o.data("headers"), pairs(o["headers"])...) {
		add("header "+h.Key, h.Value)
	}
	for _, e := range o.data("env") {
		add("env "+e.Key, e.Value)
	}
	return out
}

// pairsText writes [["a", "1"], …] as a=1&…, and anything else as it is.
func pairsText(raw json.RawMessage) string {
	list := pairs(raw)
	if len(list) == 0 {
		return valueText(raw)
	}
	texts := make([]string, len(list))
	for i, p := range list {
		texts[i] = p.Key + "=" + p.Value
	}
	return clip(strings.Join(texts, "&"), maxValue)
}

// addNotes reads _meta: a tree of the document's names, in which an empty name
// tells about its place {"rem": [[rule, kind, …], …], "err": […], "len": n}.
func (p *payload) addNotes(at object, path string, depth int) {
	if depth > maxNoteDepth {
		return
	}
	names := slices.SortedFunc(maps.Keys(at), func(a, b string) int {
		x, errA := strconv.Atoi(a)
		y, errB := strconv.Atoi(b)
		if errA == nil && errB == nil {
			return cmp.Compare(x, y)
		}
		return strings.Compare(a, b)
	})
	for _, name := range names {
		if name != "" {
			below := name
			if path != "" {
				below = path + "." + name
			}
			p.addNotes(at.object(name), clip(below, 1000), depth+1)
			continue
		}
		o := at.object("")
		length := o.number("len")
		for _, n := range append(remarks(o["rem"]), faults(o["err"])...) {
			if len(p.notes) == maxNotes {
				p.notesCut = true
				return
			}
			n.Path, n.Length = path, length
			p.notes = append(p.notes, n)
		}
	}
}

func remarks(raw json.RawMessage) []Note {
	var list [][]json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		return nil
	}
	var out []Note
	for _, r := range list {
		if len(r) < 2 {
			continue
		}
		n := Note{Rule: clip(valueText(r[0]), 200)}
		limit := n.Rule == "!limit"
		switch valueText(r[1]) {
		case "x":
			n.What = "removed"
		case "m":
			n.What = "masked"
		case "p":
			n.What = "hashed"
		default:
			n.What = "replaced"
			if limit {
				n.What = "cut"
			}
		}
		if limit {
			n.Rule = ""
		}
		out = append(out, n)
	}
	return out
}

// faults reads "reason" and ["reason", {…}].
func faults(raw json.RawMessage) []Note {
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		return nil
	}
	var out []Note
	for _, r := range list {
		var parts []json.RawMessage
		if json.Unmarshal(r, &parts) == nil && len(parts) > 0 {
			r = parts[0]
		}
		out = append(out, Note{What: "refused", Rule: clip(valueText(r), 200)})
	}
	return out
}

func exception(e object) Exception {
	out := Exception{Type: e.text("type"), Value: e.text("value"), Module: e.text("module"), Frames: []Frame{}}
	if m := e.object("mechanism"); m != nil {
		out.Mechanism, out.Handled = m.text("type"), m.boolean("handled")
	}
	frames := e.object("stacktrace").list("frames")
	if len(frames) > maxFrames {
		frames, out.Cut = frames[len(frames)-maxFrames:], true
	}
	for _, f := range slices.Backward(frames) {
		in := f.boolean("in_app")
		frame := Frame{
			Function: f.text("function"), Module: cmp.Or(f.text("module"), f.text("package")), File: cmp.Or(f.text("filename"), f.text("abs_path")),
			Line: f.number("lineno"), InApp: in != nil && *in, Context: []SourceLine{},
			Vars: f.data("vars"),
		}
		if data := f.object("data"); data != nil {
			mapped := data.boolean("symbolicated")
			frame.Mapped, frame.Unmapped = mapped != nil && *mapped, clip(data.text("symbolication"), 300)
		}
		if hit := f.text("context_line"); hit != "" {
			pre, post := f.lines("pre_context"), f.lines("post_context")
			for i, s := range pre {
				frame.Context = append(frame.Context, SourceLine{Number: frame.Line - len(pre) + i, Text: s})
			}
			frame.Context = append(frame.Context, SourceLine{Number: frame.Line, Text: hit, Hit: true})
			for i, s := range post {
				frame.Context = append(frame.Context, SourceLine{Number: frame.Line + 1 + i, Text: s})
			}
		}
		out.Frames = append(out.Frames, frame)
	}
	return out
}

// list reads {"values": [...]} or [...], both of which SDKs send.
func (o object) list(key string) []object {
	raw := o[key]
	var wrapped struct {
		Values []json.RawMessage `json:"values"`
	}
	var items []json.RawMessage
	if json.Unmarshal(raw, &items) != nil {
		if json.Unmarshal(raw, &wrapped) != nil {
			return nil
		}
		items = wrapped.Values
	}
	out := make([]object, 0, len(items))
	for _, item := range items {
		var one object
		if json.Unmarshal(item, &one) == nil && one != nil {
			out = append(out, one)
		}
	}
	return out
}

func (o object) object(key string) object {
	var out object
	if json.Unmarshal(o[key], &out) != nil {
		return nil
	}
	return out
}

func (o object) text(key string) string {
	var s string
	if json.Unmarshal(o[key], &s) != nil {
		return ""
	}
	return clip(s, maxValue)
}

func (o object) boolean(key string) *bool {
	var b *bool
	if json.Unmarshal(o[key], &b) != nil {
		return nil
	}
	return b
}

func (o object) number(key string) int {
	var n int
	if json.Unmarshal(o[key], &n) != nil {
		return 0
	}
	return n
}

func (o object) lines(key string) []string {
	var lines []string
	if json.Unmarshal(o[key], &lines) != nil {
		return nil
	}
	lines = lines[:min(len(lines), maxContextLine)]
	for i := range lines {
		lines[i] = clip(lines[i], maxValue)
	}
	return lines
}

// time reads RFC 3339 or Unix seconds.
func (o object) time(key string) *Nanos {
	if t, err := time.Parse(time.RFC3339Nano, o.text(key)); err == nil && t.Year() >= 1970 && t.Year() < 2262 {
		return known(t.UnixNano())
	}
	var seconds float64
	if json.Unmarshal(o[key], &seconds) != nil || seconds <= 0 || seconds > 9e9 {
		return nil
	}
	whole, part := math.Modf(seconds)
	return known(int64(whole)*1e9 + int64(math.Round(part*1e6))*1e3)
}

// data flattens an object to text, keys sorted.
func (o object) data(key string) []Attribute {
	fields := o.object(key)
	out := []Attribute{}
	for name, raw := range fields {
		if v := valueText(raw); v != "" {
			out = append(out, Attribute{Key: clip(name, 200), Value: v})
		}
	}
	slices.SortFunc(out, func(a, b Attribute) int { return strings.Compare(a.Key, b.Key) })
	return out[:min(len(out), maxData)]
}

// tags reads {"k": "v"} or [["k", "v"], …].
func (o object) tags() []Attribute {
	if out := o.data("tags"); len(out) > 0 {
		return out
	}
	return pairs(o["tags"])
}

// pairs reads [["k", "v"], …].
func pairs(raw json.RawMessage) []Attribute {
	var list [][]json.RawMessage
	out := []Attribute{}
	if json.Unmarshal(raw, &list) != nil {
		return out
	}
	for _, p := range list {
		if len(p) == 2 && len(out) < maxData {
			out = append(out, Attribute{Key: clip(valueText(p[0]), 200), Value: valueText(p[1])})
		}
	}
	return out
}

// valueText is a value in text form: JSON for what is no scalar.
func valueText(raw json.RawMessage) string {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || bytes.Equal(raw, []byte("null")) {
		return ""
	}
	var t string
	if json.Unmarshal(raw, &t) == nil {
		return clip(t, maxValue)
	}
	return clip(string(raw), maxValue)
}
