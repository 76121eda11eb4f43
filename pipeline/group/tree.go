package group

import (
	"encoding/hex"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/hoptrace/hoptrace/schemas"
)

// hint is why a component does not count.
type hint uint8

const (
	hintNothing hint = iota + 1
	hintNoFunction
	hintMinified
	hintLongLine
	hintMapped
	hintComprehension
	hintRecursion
	hintRule
	hintPageOnly
	hintNotInApp
	hintMaxFrames
	hintMinFrames
	hintNoFrames
	hintNoOwnFrames
	hintNoneCounts
	hintSynthetic
	hintStackCounts
	hintOtherVariant
	hintFingerprint
	hintGroupMember
	hintModuleCounts
)

var hints = [...]string{
	0:                 "",
	hintNothing:       "nothing in it tells it from others",
	hintNoFunction:    "the function has no name",
	hintMinified:      "minified: it changes with each build",
	hintLongLine:      "longer than 120 characters",
	hintMapped:        "the source line counts instead",
	hintComprehension: "a comprehension is part of its caller since Python 3.12",
	hintRecursion:     "the frame before it, called again",
	hintRule:          "left out by a rule",
	hintPageOnly:      "a page's address without a function",
	hintNotInApp:      "not the program's own",
	hintMaxFrames:     "beyond max-frames",
	hintMinFrames:     "fewer frames than min-frames",
	hintNoFrames:      "no frames",
	hintNoOwnFrames:   "no frame is the program's own",
	hintNoneCounts:    "no frame counts",
	hintSynthetic:     "the SDK made the type up",
	hintStackCounts:   "the stack counts instead",
	hintOtherVariant:  "the variant app decides",
	hintFingerprint:   "a fingerprint replaces it",
	hintGroupMember:   "another exception of the group stands for it",
	hintModuleCounts:  "the module counts instead",
}

// Bounds of a tree's JSON. What is beyond is counted, not shown.
const (
	maxTreeBytes  = 64 << 10
	maxLeafBytes  = 256
	maxTreeFrames = 100 // of a stack
)

// Hash is the one that decides.
func (t *Tree) Hash() schemas.Fingerprint { return t.hash }

// AppendJSON appends the tree:
//
//	{"version", "strategy", "rule"?, "fingerprint"?, "variants": [{"name", "contributes", "hint"?, "hash"?, "component"}]}
//
// A component is {"id", "contributes", "hint"?, "value" or "values": [component …]}.
func (t *Tree) AppendJSON(dst []byte) []byte {
	w := writer{b: dst, start: len(dst)}
	w.raw(`{"version":`)
	w.text(t.version)
	if t.version == version1 {
		w.raw(`,"strategy":"components","variants":[{"name":"default","contributes":true,"hash":`)
		w.text(t.hash.String())
		w.raw(`,"component":`)
		w.open("default", true, 0, "")
		for _, c := range t.first {
			w.leaf(c.kind, true, 0, c.value)
		}
		w.close()
		w.raw(`}]}`)
		return w.b
	}
	w.raw(`,"strategy":`)
	w.text(strategyNames[t.strategy])
	if t.rule != nil {
		w.raw(`,"rule":`)
		w.text(t.rule.Source)
	}
	if len(t.values) > 0 {
		w.raw(`,"fingerprint":[`)
		for i, v := range t.values {
			if i > 0 {
				w.raw(",")
			}
			w.text(clipLeaf(v))
		}
		w.raw(`]`)
	}
	w.raw(`,"variants":[`)
	replaced := len(t.values) > 0 && !t.hybrid
	if t.strategy == chainedException || t.strategy == threadStack {
		for v, name := range [...]string{"app", "system"} {
			if v > 0 {
				w.raw(",")
			}
			why := hint(0)
			switch {
			case replaced:
				why = hintFingerprint
			case v == t.variant:
			case v == app:
				why = t.why
			default:
				why = hintOtherVariant
			}
			t.variantJSON(&w, v, name, why)
		}
	} else {
		why := hint(0)
		if replaced {
			why = hintFingerprint
		}
		t.variantJSON(&w, app, "default", why)
	}
	if replaced {
		w.raw(`,{"name":"fingerprint","contributes":true,"hash":`)
		w.hash(t.hash)
		w.raw(`,"component":`)
		w.comma = false
		w.open("fingerprint", true, 0, "")
		for _, v := range t.values {
			w.leaf("value", true, 0, v)
		}
		w.close()
		w.raw(`}`)
	}
	w.raw(`]}`)
	return w.b
}

func (t *Tree) variantJSON(w *writer, v int, name string, why hint) {
	w.raw(`{"name":`)
	w.text(name)
	w.head(why == 0, why, "")
	if why == 0 {
		w.raw(`,"hash":`)
		w.hash(t.hash)
	}
	w.raw(`,"component":`)
	w.comma = false
	t.component(w, v, name)
	w.raw(`}`)
}

func (t *Tree) component(w *writer, v int, name string) {
	e := t.e
	w.open(name, true, 0, "")
	defer w.close()
	for _, value := range t.values {
		if t.hybrid {
			w.leaf("fingerprint", true, 0, value)
		}
	}
	switch t.strategy {
	case chainedException:
		for i := range e.Exceptions {
			t.exceptionJSON(w, v, i)
		}
	case threadStack:
		t.stackJSON(w, v, 0)
		if t.message != "" {
			w.leaf("message", true, 0, t.message)
		}
	case securityReport:
		for i, value := range securityValues(&e.Security) {
			w.leaf([...]string{"kind", "directive", "violation"}[i], true, 0, value)
		}
	case messageText:
		w.leaf("message", true, 0, t.message)
	default:
		w.leaf("level", true, 0, e.Level)
		if e.Culprit != "" {
			w.leaf("culprit", true, 0, e.Culprit)
		}
	}
}

func (t *Tree) exceptionJSON(w *writer, v, i int) {
	x := &t.e.Exceptions[i]
	counts, why := true, hint(0)
	if t.grouped {
		counts = false
		for _, k := range t.order[v] {
			counts = counts || k == i
		}
		if !counts {
			why = hintGroupMember
		}
	}
	w.open("exception", counts, why, "")
	if x.Type != "" {
		if x.Synthetic {
			w.leaf("type", false, hintSynthetic, x.Type)
		} else {
			w.leaf("type", true, 0, x.Type)
		}
	}
	t.stackJSON(w, v, i)
	if x.Value != "" {
		if t.valueCounts(v, i) {
			w.leaf("value", true, 0, t.value(i))
		} else {
			w.leaf("value", false, hintStackCounts, t.value(i))
		}
	}
	w.close()
}

func (t *Tree) stackJSON(w *writer, v, i int) {
	s := &t.stacks[i]
	if s.from == s.to {
		return
	}
	w.open("stacktrace", s.counts[v], s.hints[v], "")
	// Of a long stack the frames near the failure are shown.
	from := max(s.from, s.to-maxTreeFrames)
	if from > s.from {
		w.leaf("frames", false, 0, strconv.Itoa(from-s.from)+" more, farther from the failure")
	}
	for k := from; k < s.to; k++ {
		if w.full() {
			w.leaf("frames", false, 0, strconv.Itoa(s.to-k)+" more")
			break
		}
		t.frameJSON(w, v, k)
	}
	w.close()
}

func (t *Tree) frameJSON(w *writer, v, k int) {
	f, state := &t.frames[k], &t.states[k]
	why, rule := f.out[v], ""
	switch why {
	case hintRule:
		rule, _ = t.g.enhancements.Source(state.GroupRule)
	case hintNotInApp:
		rule, _ = t.g.enhancements.Source(state.AppRule)
	}
	w.open("frame", why == 0, why, rule)
	if f.info.where != "" {
		id := "filename"
		if f.info.isModule {
			id = "module"
		}
		w.leaf(id, why == 0, 0, f.info.where)
		if f.info.isModule && f.Filename != "" {
			w.leaf("filename", false, hintModuleCounts, f.Filename)
		}
	}
	switch {
	case f.context != "":
		w.leaf("context-line", why == 0, 0, f.context)
	case f.ctxHint != 0:
		w.leaf("context-line", false, f.ctxHint, f.ContextLine)
	}
	switch h := f.functionHint(); {
	case h == 0:
		w.leaf("function", why == 0, 0, f.info.what)
	case f.Function != "":
		w.leaf("function", false, h, f.Function)
	}
	w.close()
}

// Lines explain the hash: one line a component that went into it, in order, at
// most 64.
func (t *Tree) Lines() []string {
	if t.version == version1 {
		return explain1(t.first)
	}
	var lines []string
	add := func(kind, value string) {
		if len(lines) < maxLines {
			lines = append(lines, kind+" "+value)
		} else if len(lines) == maxLines {
			lines = append(lines, "and more")
		}
	}
	for _, v := range t.values {
		add("fingerprint", v)
	}
	if len(t.values) > 0 && !t.hybrid {
		return lines
	}
	e, v := t.e, t.variant
	stackLines := func(i int) {
		s := &t.stacks[i]
		if !s.counts[v] {
			return
		}
		for k := s.from; k < s.to; k++ {
			if f := &t.frames[k]; f.out[v] == 0 {
				add("frame", f.line())
			}
		}
	}
	exceptionLines := func(i int) {
		x := &e.Exceptions[i]
		if x.Type != "" && !x.Synthetic {
			add("type", x.Type)
		}
		stackLines(i)
		if t.valueCounts(v, i) {
			add("value", t.value(i))
		}
	}
	switch t.strategy {
	case chainedException:
		if t.order[v] == nil {
			for i := range e.Exceptions {
				exceptionLines(i)
			}
		}
		for _, i := range t.order[v] {
			exceptionLines(i)
		}
	case threadStack:
		stackLines(0)
		if t.message != "" {
			add("message", t.message)
		}
	case securityReport:
		add("security", strings.Join(securityValues(&e.Security), " "))
	case messageText:
		add("message", t.message)
	default:
		add("level", e.Level)
		if e.Culprit != "" {
			add("culprit", e.Culprit)
		}
	}
	return lines
}

func (f *frame) line() string {
	what := f.info.what
	if f.functionHint() != 0 {
		what = ""
	}
	out := f.info.where
	if what != "" && out != "" {
		out += "."
	}
	if out += what; f.context != "" {
		out += " | " + f.context
	}
	return strings.TrimPrefix(out, " | ")
}

// writer writes JSON with commas where they belong.
type writer struct {
	b     []byte
	start int
	comma bool
}

func (w *writer) full() bool { return len(w.b)-w.start > maxTreeBytes }

func (w *writer) raw(s string) { w.b = append(w.b, s...) }

func (w *writer) hash(f schemas.Fingerprint) {
	w.b = append(w.b, '"')
	w.b = hex.AppendEncode(w.b, f[:])
	w.b = append(w.b, '"')
}

func (w *writer) text(s string) { w.b = appendString(w.b, s) }

func (w *writer) begin(id string) {
	if w.comma {
		w.b = append(w.b, ',')
	}
	w.raw(`{"id":`)
	w.text(id)
}

func (w *writer) head(contributes bool, why hint, rule string) {
	w.raw(`,"contributes":`)
	w.b = strconv.AppendBool(w.b, contributes)
	if why != 0 || rule != "" {
		w.raw(`,"hint":`)
		if rule != "" {
			w.text(hints[why] + ": " + clipLeaf(rule))
		} else {
			w.text(hints[why])
		}
	}
}

// open begins an inner component; close ends it.
func (w *writer) open(id string, contributes bool, why hint, rule string) {
	w.begin(id)
	w.head(contributes, why, rule)
	w.raw(`,"values":[`)
	w.comma = false
}

func (w *writer) close() {
	w.raw(`]}`)
	w.comma = true
}

func (w *writer) leaf(id string, contributes bool, why hint, value string) {
	w.begin(id)
	w.head(contributes, why, "")
	w.raw(`,"value":`)
	w.text(clipLeaf(value))
	w.raw(`}`)
	w.comma = true
}

func clipLeaf(s string) string {
	if len(s) <= maxLeafBytes {
		return s
	}
	return strings.ToValidUTF8(s[:maxLeafBytes], "") + "…"
}

const hexDigits = "0123456789abcdef"

// appendString appends s as a JSON string; what is no UTF-8 becomes U+FFFD.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				b = append(b, s[from:i]...)
				b = append(b, "\ufffd"...)
				from = i + 1
			}
			i += n
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' {
			i++
			continue
		}
		b = append(b, s[from:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		default:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		from = i
	}
	return append(append(b, s[from:]...), '"')
}
