package rules

import (
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/hoptrace/hoptrace/pipeline/normalize"
	"github.com/hoptrace/hoptrace/schemas"
)

// FingerprintBase names the built-in fingerprint rules, which come behind a
// project's own.
const FingerprintBase = "javascript@1"

//go:embed javascript@1.fingerprints
var javascript1 string

// Fingerprints are compiled rules that give events a fingerprint by hand. They
// are immutable.
type Fingerprints struct{ rules []Fingerprint }

// Fingerprint is one rule.
type Fingerprint struct {
	Source   string
	Builtin  bool
	Values   []Template
	Title    Template // empty when the rule has none
	matchers []matcher
}

// Template is text with {{ variables }} in it.
type Template []templatePart

type templatePart struct{ text, variable string }

var fingerprintKeys = map[string]key{
	"error.type": errorType, "type": errorType, "error.value": errorValue, "value": errorValue, "error.mechanism": errorMechanism,
	"stack.module": stackModule, "module": stackModule, "stack.abs_path": stackPath, "path": stackPath,
	"stack.package": stackPackage, "package": stackPackage, "stack.function": stackFunction, "function": stackFunction,
	"app": frameApp, "family": frameFamily, "message": eventMessage, "logger": eventLogger, "level": eventLevel, "sdk": eventSDK,
	"release": eventRelease, "transaction": eventTransaction, "environment": eventEnvironment,
	"thread.id": threadID, "thread.name": threadName, "thread.state": threadState, "thread.crashed": threadCrashed, "thread.current": threadCurrent,
}

const fingerprintKeyNames = "error.type, error.value, error.mechanism, stack.module, stack.abs_path, stack.package, stack.function, message, logger, level, tags.NAME, " +
	"family, app, sdk, release, transaction, environment, thread.id, thread.name, thread.state, thread.crashed or thread.current"

// ParseFingerprints compiles a text of rules, one a line; the first that
// matches an event decides:
//
//	[!]matcher:pattern … -> value … [title="text"]
//
// Matchers of one exception must hold for the same one, those of frames for the
// same frame. Values are separated by spaces or commas and may hold
// {{ variables }}; {{ default }} alone stands for what the event groups by
// without the rule. Errors are [Error], joined.
func ParseFingerprints(text string) (*Fingerprints, error) {
	f := &Fingerprints{}
	var faults []error
	err := lines(text, func(l *lexer) {
		if len(f.rules) == MaxRules {
			faults = append(faults, l.errorf(0, "more than %d rules", MaxRules))
		}
		if len(f.rules) >= MaxRules || len(faults) >= maxErrors {
			return
		}
		r, err := fingerprint(l)
		if err != nil {
			faults = append(faults, err)
			return
		}
		f.rules = append(f.rules, r)
	})
	if err != nil {
		faults = append(faults, err)
	}
	if len(faults) > 0 {
		return nil, fmt.Errorf("fingerprint rules: %w", errors.Join(faults...))
	}
	_ = lines(javascript1, func(l *lexer) {
		r, err := fingerprint(l)
		if err != nil {
			panic("rules: built-in " + err.Error()) // a test reads each
		}
		r.Builtin = true
		f.rules = append(f.rules, r)
	})
	return f, nil
}

func fingerprint(l *lexer) (Fingerprint, error) {
	r := Fingerprint{Source: l.text}
	for {
		if l.done() {
			return r, l.errorf(l.at, "want -> and the fingerprint behind the matchers")
		}
		if l.take("->") {
			break
		}
		if len(r.matchers) == maxMatchers {
			return r, l.errorf(l.at, "more than %d matchers in one rule", maxMatchers)
		}
		m := matcher{negate: l.take("!")}
		at := l.at
		name := l.name()
		k, ok := fingerprintKeys[strings.ToLower(name)]
		if tag, is := strings.CutPrefix(name, "tags."); is && tag != "" {
			k, ok, m.tag = eventTag, true, tag
		}
		if !ok {
			return r, l.errorf(at, "there is no matcher %q; want %s", clip(name), fingerprintKeyNames)
		}
		if !l.take(":") {
			return r, l.errorf(l.at, "want : and a pattern behind %s", name)
		}
		m.key = k
		valueAt := l.at
		value, err := l.value("")
		if err != nil {
			return r, err
		}
		if err := m.compile(l, valueAt, value); err != nil {
			return r, err
		}
		r.matchers = append(r.matchers, m)
	}
	if len(r.matchers) == 0 {
		return r, l.errorf(0, "want a matcher before ->, as error.type:Timeout*; the keys are %s", fingerprintKeyNames)
	}
	for !l.done() {
		if l.take(",") {
			continue
		}
		if l.take("title=") {
			at := l.at
			text, err := l.value("")
			if err != nil {
				return r, err
			}
			t, fault := newTemplate(text)
			if fault != "" {
				return r, l.errorf(at, "%s", fault)
			}
			r.Title = t
			continue
		}
		at := l.at
		text, err := l.templateText()
		if err != nil {
			return r, err
		}
		t, fault := newTemplate(text)
		if fault != "" {
			return r, l.errorf(at, "%s", fault)
		}
		if len(r.Values) == maxValues {
			return r, l.errorf(at, "more than %d values in one fingerprint", maxValues)
		}
		r.Values = append(r.Values, t)
	}
	if len(r.Values) == 0 {
		return r, l.errorf(len(l.text), "want a fingerprint behind ->, as my-issue or {{ default }}")
	}
	return r, nil
}

// templateText reads a value that may hold {{ variables }} with spaces in them.
func (l *lexer) templateText() (string, *Error) {
	if l.peek() == '"' {
		return l.value("")
	}
	from := l.at
	for l.at < len(l.text) {
		if strings.HasPrefix(l.text[l.at:], "{{") {
			end := strings.Index(l.text[l.at:], "}}")
			if end < 0 {
				return "", l.errorf(l.at, "the {{ that begins here is not closed; want }}")
			}
			l.at += end + 2
			continue
		}
		if c := l.text[l.at]; c == ' ' || c == '\t' || c == ',' {
			break
		}
		l.at++
	}
	if l.at-from > maxPattern {
		return "", l.errorf(from, "a value has %d bytes; at most %d", l.at-from, maxPattern)
	}
	return l.text[from:l.at], nil
}

// newTemplate splits text; fault says what is wrong with it.
func newTemplate(text string) (t Template, fault string) {
	for text != "" {
		before, rest, found := strings.Cut(text, "{{")
		if before != "" {
			t = append(t, templatePart{text: before})
		}
		if !found {
			break
		}
		name, after, closed := strings.Cut(rest, "}}")
		if !closed {
			return nil, "a {{ is not closed; want }}"
		}
		t = append(t, templatePart{variable: strings.TrimSpace(name)})
		text = after
	}
	return t, ""
}

// ClientTemplate is what a client wrote as one part of a fingerprint: it may hold
// variables too, and never fails.
func ClientTemplate(text string) Template {
	t, fault := newTemplate(text)
	if fault != "" {
		return Template{{text: text}}
	}
	return t
}

// IsDefault tells that the template is {{ default }} and nothing else.
func (t Template) IsDefault() bool {
	return len(t) == 1 && t[0].variable == "default" && t[0].text == ""
}

// IsPlain tells that no variable is in it.
func (t Template) IsPlain() bool {
	for i := range t {
		if t[i].variable != "" {
			return false
		}
	}
	return true
}

// maxExpanded bounds one expanded value, in bytes.
const maxExpanded = 1 << 10

// Expand fills in an event's values.
func (t Template) Expand(e *normalize.Event) string {
	if len(t) == 1 && t[0].variable == "" {
		return cut(t[0].text)
	}
	var b strings.Builder
	for i := range t {
		if t[i].variable == "" {
			b.WriteString(t[i].text)
		} else {
			b.WriteString(cut(Variable(e, t[i].variable)))
		}
	}
	return cut(b.String())
}

func cut(s string) string {
	if len(s) <= maxExpanded {
		return s
	}
	return strings.ToValidUTF8(s[:maxExpanded], "")
}

// Variable is an event's value of that name: "<no-…>" when it has none, and
// "<unrecognized-variable-…>" when there is no such variable.
func Variable(e *normalize.Event, name string) string {
	short := name
	var v string
	if tag, is := strings.CutPrefix(name, "tags."); is {
		value, ok := schemas.Lookup(e.Tags, tag)
		if !ok {
			return "<no-value-for-tag-" + tag + ">"
		}
		return value
	}
	switch name {
	case "transaction":
		v = e.Transaction
	case "message":
		v = text(e)
	case "type", "error.type":
		short, v = "type", e.Type
		if n := len(e.Exceptions); n > 0 {
			v = e.Exceptions[n-1].Type
		}
	case "value", "error.value":
		short, v = "value", e.Value
		if n := len(e.Exceptions); n > 0 {
			v = e.Exceptions[n-1].Value
		}
	case "function", "stack.function":
		short, v = "function", shown(e).Function
	case "path", "abs_path", "stack.abs_path":
		f := shown(e)
		if short, v = "abs-path", f.AbsPath; v == "" {
			v = f.Filename
		}
	case "module", "stack.module":
		short, v = "module", shown(e).Module
	case "package", "stack.package":
		short, v = "package", shown(e).Package
	case "level":
		v = e.Level
	case "logger":
		v = e.Logger
	case "release":
		v = e.Release
	case "environment":
		v = e.Environment
	default:
		return "<unrecognized-variable-" + name + ">"
	}
	if v == "" {
		return "<no-" + short + ">"
	}
	return v
}

// text is what an event says: its message, else the value of its last exception.
func text(e *normalize.Event) string {
	if e.Message != "" {
		return e.Message
	}
	if n := len(e.Exceptions); n > 0 {
		return e.Exceptions[n-1].Value
	}
	return ""
}

// shown is the frame that people are shown first: the last of the program's own,
// else the last.
func shown(e *normalize.Event) *normalize.Frame {
	frames := e.Frames
	if n := len(e.Exceptions); n > 0 {
		frames = e.Exceptions[n-1].Frames
	}
	for i := len(frames) - 1; i >= 0; i-- {
		if frames[i].InApp {
			return &frames[i]
		}
	}
	if len(frames) > 0 {
		return &frames[len(frames)-1]
	}
	return &normalize.Frame{}
}

// Match gives the first rule that matches, nil when none does.
func (f *Fingerprints) Match(e *normalize.Event) *Fingerprint {
	family := FamilyOf(e.Platform)
	for i := range f.rules {
		if f.rules[i].match(e, family) {
			return &f.rules[i]
		}
	}
	return nil
}

// Len is how many rules there are, built-in ones included.
func (f *Fingerprints) Len() int { return len(f.rules) }

func (r *Fingerprint) match(e *normalize.Event, family Family) bool {
	ofError, ofFrame := false, false
	for i := range r.matchers {
		m := &r.matchers[i]
		switch m.key {
		case errorType, errorValue, errorMechanism:
			ofError = true
		case stackModule, stackPath, stackPackage, stackFunction, frameApp:
			ofFrame = true
		case frameFamily:
			if (m.family&family != 0) == m.negate {
				return false
			}
		case threadID, threadName, threadState, threadCrashed, threadCurrent:
			if !m.thread(&e.Thread) {
				return false
			}
		default:
			if v, ok := eventText(e, m); (ok && m.glob.match(v)) == m.negate {
				return false
			}
		}
	}
	return (!ofError || r.anyError(e)) && (!ofFrame || r.anyFrame(e, family))
}

func eventText(e *normalize.Event, m *matcher) (string, bool) {
	switch m.key {
	case eventMessage:
		v := text(e)
		return v, v != ""
	case eventLogger:
		return e.Logger, e.Logger != ""
	case eventLevel:
		return e.Level, e.Level != ""
	case eventTag:
		return schemas.Lookup(e.Tags, m.tag)
	case eventSDK:
		return e.SDKName, e.SDKName != ""
	case eventRelease:
		return e.Release, e.Release != ""
	case eventTransaction:
		return e.Transaction, e.Transaction != ""
	case eventEnvironment:
		return e.Environment, e.Environment != ""
	}
	return "", false
}

func (m *matcher) thread(t *normalize.Thread) bool {
	is := false
	switch m.key {
	case threadID:
		is = t.Told && m.glob.match(t.ID)
	case threadName:
		is = t.Told && m.glob.match(t.Name)
	case threadState:
		is = t.Told && m.glob.match(t.State)
	case threadCrashed:
		is = t.Told && t.Crashed == m.yes
	case threadCurrent:
		is = t.Told && t.Current == m.yes
	}
	return is != m.negate
}

func (r *Fingerprint) anyError(e *normalize.Event) bool {
next:
	for i := range e.Exceptions {
		x := &e.Exceptions[i]
		for k := range r.matchers {
			m := &r.matchers[k]
			var v string
			switch m.key {
			case errorType:
				v = x.Type
			case errorValue:
				v = x.Value
			case errorMechanism:
				v = x.Mechanism.Type
			default:
				continue
			}
			if m.glob.match(v) == m.negate {
				continue next
			}
		}
		return true
	}
	return false
}

func (r *Fingerprint) anyFrame(e *normalize.Event, family Family) bool {
	in := func(frames []normalize.Frame) bool {
	next:
		for i := range frames {
			t := textOf(&frames[i], family)
			for k := range r.matchers {
				m := &r.matchers[k]
				switch m.key {
				case frameApp:
					if (frames[i].InApp == m.yes) == m.negate {
						continue next
					}
				case stackModule, stackPath, stackPackage, stackFunction:
					if !m.holds(&t) {
						continue next
					}
				}
			}
			return true
		}
		return false
	}
	if in(e.Frames) {
		return true
	}
	for i := range e.Exceptions {
		if in(e.Exceptions[i].Frames) {
			return true
		}
	}
	return false
}

// String is a rule's number and text, for people.
func (f *Fingerprint) String() string {
	if f.Builtin {
		return "built-in rule " + strconv.Quote(f.Source)
	}
	return "rule " + strconv.Quote(f.Source)
}
