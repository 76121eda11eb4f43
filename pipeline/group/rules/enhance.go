// Package rules holds the two small languages by which a project changes how
// its events group: enhancements say which frames are the program's own and which
// count, fingerprint rules put events together by hand. It reads events and
// computes no hashes (see package group).
package rules

import (
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/hoptrace/hoptrace/pipeline/normalize"
)

// Base names the built-in enhancements. A change of them that moves events to
// other issues gets a new name, and the old ones stay.
const Base = "hoptrace@1"

//go:embed hoptrace@1.enhancements
var base1 string

// bases by name.
var bases = map[string]string{Base: base1, "none": ""}

// Enhancements are compiled rules about frames. They are immutable.
type Enhancements struct {
	rules []enhancement
	preds []pred
	// byFamily lists the static predicates that can hold for a family: most
	// begin with one.
	byFamily map[Family][]int
	words    int  // of a set of predicates
	texts    bool // some rule looks at error.*
}

type enhancement struct {
	source              string
	builtin             bool
	own, caller, callee int // predicates; -1 means none
	actions             []action
	inApp, group, stack bool // has actions of that kind
}

// pred is what one frame must fulfil.
type pred struct {
	static, dynamic []matcher
	family          Family // where it can hold
}

type direction int8

const (
	here direction = iota
	above
	below
)

type actionKind uint8

const (
	setApp actionKind = iota
	setGroup
	setCategory
	maxFrames
	minFrames
	invertStack
)

type action struct {
	kind actionKind
	to   direction
	yes  bool
	n    int
	text string
}

// ParseEnhancements compiles a text of rules, one a line:
//
//	[!]matcher:pattern … action …
//	[ matcher:pattern ] | matcher:pattern | [ matcher:pattern ] action …
//
// The brackets say what must hold for the frame's caller and its callee. Actions
// are +app -app +group -group, with ^ before them for the frames above
// (towards the failure) and v for those below, category=name, max-frames=n,
// min-frames=n, invert-stacktrace=1. A line "include hoptrace@1" says where the
// built-in rules come; a text without one has them before its own, "include none"
// leaves them out. Errors are [Error], joined.
func ParseEnhancements(text string) (*Enhancements, error) {
	x := &Enhancements{byFamily: map[Family][]int{}}
	var faults []error
	fail := func(e error) {
		if len(faults) < maxErrors {
			faults = append(faults, e)
		}
	}
	included := false
	if err := lines(text, func(l *lexer) { included = included || isInclude(l.text) }); err != nil {
		return nil, fmt.Errorf("enhancements: %w", err)
	}
	if !included {
		x.include(base1)
	}
	own := 0
	_ = lines(text, func(l *lexer) { // it was read once already
		if isInclude(l.text) {
			l.name()
			l.space()
			at := l.at
			name := strings.TrimSpace(l.text[at:])
			base, ok := bases[name]
			if !ok {
				fail(l.errorf(at, "there are no built-in rules %q; want %s or none", clip(name), Base))
				return
			}
			if len(x.rules) > 2*MaxRules {
				fail(l.errorf(at, "included too often"))
				return
			}
			x.include(base)
			return
		}
		if own++; own > MaxRules {
			if own == MaxRules+1 {
				fail(l.errorf(0, "more than %d rules", MaxRules))
			}
			return
		}
		if err := x.rule(l, false); err != nil {
			fail(err)
		}
	})
	if len(faults) > 0 {
		return nil, fmt.Errorf("enhancements: %w", errors.Join(faults...))
	}
	x.index()
	return x, nil
}

func isInclude(line string) bool {
	first, _, _ := strings.Cut(strings.TrimSpace(line), " ")
	return first == "include"
}

// include adds built-in rules. They are right: a test reads each.
func (x *Enhancements) include(text string) {
	_ = lines(text, func(l *lexer) {
		if err := x.rule(l, true); err != nil {
			panic("rules: built-in " + err.Error())
		}
	})
}

func (x *Enhancements) index() {
	for i := range x.preds {
		for f := Family(1); f < AllFamilies; f <<= 1 {
			if x.preds[i].family&f != 0 {
				x.byFamily[f] = append(x.byFamily[f], i)
			}
		}
	}
	x.words = (len(x.preds) + 63) / 64
}

func (x *Enhancements) rule(l *lexer, builtin bool) error {
	r := enhancement{source: l.text, builtin: builtin, own: -1, caller: -1, callee: -1}
	var own pred
	seen := 0
	if l.take("[") {
		p, err := x.pred(l, true, &seen)
		if err != nil {
			return err
		}
		if r.caller = x.add(p); !l.bar() {
			return l.errorf(l.at, "want | between the caller in brackets and the frame")
		}
	}
	own, err := x.pred(l, false, &seen)
	if err != nil {
		return err
	}
	if len(own.static)+len(own.dynamic) == 0 {
		return l.errorf(l.at, "want a matcher, as stack.function:main*; the keys are %s", enhancementKeyNames)
	}
	r.own = x.add(own)
	if l.space(); l.bar() {
		l.space()
		if !l.take("[") {
			return l.errorf(l.at, "want [ and matchers of the callee behind |")
		}
		p, err := x.pred(l, true, &seen)
		if err != nil {
			return err
		}
		r.callee = x.add(p)
	}
	if seen > maxMatchers {
		return l.errorf(0, "%d matchers in one rule; at most %d", seen, maxMatchers)
	}
	for !l.done() {
		a, err := readAction(l)
		if err != nil {
			return err
		}
		r.actions = append(r.actions, a)
		switch a.kind {
		case setApp, setCategory:
			r.inApp = true
		case setGroup:
			r.group = true
		default:
			r.stack = true
		}
		if len(r.actions) > maxMatchers {
			return l.errorf(l.at, "more than %d actions in one rule", maxMatchers)
		}
	}
	if len(r.actions) == 0 {
		return l.errorf(len(l.text), "want an action: %s", actionNames)
	}
	x.rules = append(x.rules, r)
	return nil
}

func (l *lexer) bar() bool {
	l.space()
	if l.peek() != '|' {
		return false
	}
	l.at++
	l.space()
	return true
}

func (x *Enhancements) add(p pred) int {
	x.preds = append(x.preds, p)
	return len(x.preds) - 1
}

// pred reads matchers up to an action, a bar, or the closing bracket.
func (x *Enhancements) pred(l *lexer, bracket bool, seen *int) (pred, error) {
	p := pred{family: AllFamilies}
	for {
		if l.done() {
			if bracket {
				return p, l.errorf(l.at, "want ] behind the matchers")
			}
			return p, nil
		}
		if bracket && l.take("]") {
			if len(p.static)+len(p.dynamic) == 0 {
				return p, l.errorf(l.at-1, "the brackets are empty; want a matcher in them")
			}
			return p, nil
		}
		if !bracket && (l.peek() == '|' || isAction(l)) {
			return p, nil
		}
		*seen++
		at := l.at
		m := matcher{negate: l.take("!")}
		nameAt := l.at
		name := l.name()
		k, ok := enhancementKeys[strings.ToLower(name)]
		if !ok {
			if name == "" {
				return p, l.errorf(nameAt, "%q is no matcher and no action; want a key: %s; or an action: %s", clip(l.text[at:]), enhancementKeyNames, actionNames)
			}
			return p, l.errorf(nameAt, "there is no matcher %q; want %s", clip(name), enhancementKeyNames)
		}
		if !l.take(":") {
			return p, l.errorf(l.at, "want : and a pattern behind %s", name)
		}
		m.key = k
		valueAt := l.at
		stop := ""
		if bracket {
			stop = "]"
		}
		value, err := l.value(stop)
		if err != nil {
			return p, err
		}
		if err := m.compile(l, valueAt, value); err != nil {
			return p, err
		}
		switch {
		case m.key == frameFamily && !m.negate:
			p.family &= m.family
			p.static = append(p.static, m)
		case m.isStatic():
			p.static = append(p.static, m)
		default:
			p.dynamic = append(p.dynamic, m)
			x.texts = x.texts || m.key >= errorType
		}
	}
}

const actionNames = "+app, -app, +group or -group (with ^ or v before it for the frames above or below), category=name, max-frames=n, min-frames=n or invert-stacktrace=1"

func isAction(l *lexer) bool {
	rest := l.text[l.at:]
	if rest[0] == '+' || rest[0] == '-' || rest[0] == '^' {
		return true
	}
	if strings.HasPrefix(rest, "v+") || strings.HasPrefix(rest, "v-") {
		return true
	}
	name := rest
	if i := strings.IndexAny(rest, " \t:"); i >= 0 {
		name = rest[:i]
	}
	return strings.ContainsRune(name, '=')
}

func readAction(l *lexer) (action, error) {
	var a action
	at := l.at
	switch {
	case l.take("^"):
		a.to = above
	case strings.HasPrefix(l.text[l.at:], "v+"), strings.HasPrefix(l.text[l.at:], "v-"):
		l.at++
		a.to = below
	}
	if c := l.peek(); c == '+' || c == '-' {
		l.at++
		a.yes = c == '+'
		switch name := l.name(); name {
		case "app":
			a.kind = setApp
		case "group":
			a.kind = setGroup
		default:
			return a, l.errorf(at, "there is no action %q; want %s", clip(l.text[at:l.at]), actionNames)
		}
		return a, endOfAction(l)
	}
	name := l.name()
	if a.to != here || name == "" || !l.take("=") {
		return a, l.errorf(at, "there is no action %q; want %s", clip(l.text[at:]), actionNames)
	}
	valueAt := l.at
	value, err := l.value("")
	if err != nil {
		return a, err
	}
	switch name {
	case "category":
		a.kind, a.text = setCategory, value
		if len(value) > 64 {
			return a, l.errorf(valueAt, "a category has %d bytes; at most 64", len(value))
		}
		return a, nil
	case "max-frames":
		a.kind = maxFrames
	case "min-frames":
		a.kind = minFrames
	case "invert-stacktrace":
		a.kind = invertStack
		if value != "0" && value != "1" {
			return a, l.errorf(valueAt, "%q is no answer; want 0 or 1", clip(value))
		}
	default:
		return a, l.errorf(at, "there is no action %q; want %s", clip(name+"="), actionNames)
	}
	n, convErr := strconv.Atoi(value)
	if convErr != nil || n < 0 || n > 1000 {
		return a, l.errorf(valueAt, "%q is no number from 0 to 1000", clip(value))
	}
	a.n = n
	return a, nil
}

func endOfAction(l *lexer) error {
	if l.at < len(l.text) && l.text[l.at] != ' ' && l.text[l.at] != '\t' {
		return l.errorf(l.at, "want a space behind the action")
	}
	return nil
}

// Set holds the predicates that are true of a frame's texts. It depends on
// nothing else, so it may be kept for every frame with the same texts.
type Set []uint64

func (s Set) has(i int) bool { return i < 0 || s[i>>6]&(1<<(i&63)) != 0 }

// SetOf looks at a frame once.
func (x *Enhancements) SetOf(f *normalize.Frame, family Family) Set {
	set := make(Set, x.words)
	t := textOf(f, family)
next:
	for _, i := range x.byFamily[family] {
		for k := range x.preds[i].static {
			if !x.preds[i].static[k].holds(&t) {
				continue next
			}
		}
		set[i>>6] |= 1 << (i & 63)
	}
	return set
}

// State is what rules make of a frame.
type State struct {
	Set      Set
	InApp    bool
	Category string
	Group    int8 // 1 for +group, -1 for -group, 0 when no rule spoke
	// The rules that had the last word, as [Enhancements.Source] takes them; 0
	// means none.
	AppRule, GroupRule int32
}

// Stack is what rules say about a whole stack. Zero means no bound.
type Stack struct {
	Max, Min int
	Invert   bool
}

// Subject is the exception whose stack it is; empty for a thread's.
type Subject struct{ Type, Value, Mechanism string }

// Apply runs the rules over a stack, the outermost frame first: those about
// whose code it is, then those about what counts. In each pass they run in
// order, and see what earlier ones did.
func (x *Enhancements) Apply(subject Subject, frames []State) Stack {
	var stack Stack
	if len(frames) == 0 || x.words == 0 {
		return stack
	}
	// The predicates true of any frame: a rule without one is passed over.
	var buf [64]uint64
	some := Set(buf[:0])
	for range x.words {
		some = append(some, 0)
	}
	for i := range frames {
		for w, bits := range frames[i].Set {
			some[w] |= bits
		}
	}
	for pass := range 2 {
		for ri := range x.rules {
			r := &x.rules[ri]
			if pass == 0 && !r.inApp || pass == 1 && !r.group && !r.stack || !some.has(r.own) {
				continue
			}
			for i := range frames {
				if frames[i].Set.has(r.own) && x.matches(r, subject, frames, i) {
					apply(r, int32(ri)+1, pass, frames, i, &stack) //nolint:gosec // at most some thousand rules
				}
			}
		}
	}
	return stack
}

func (x *Enhancements) matches(r *enhancement, subject Subject, frames []State, i int) bool {
	if !x.dynamic(r.own, subject, &frames[i]) {
		return false
	}
	if r.caller >= 0 && (i == 0 || !frames[i-1].Set.has(r.caller) || !x.dynamic(r.caller, subject, &frames[i-1])) {
		return false
	}
	return r.callee < 0 || i+1 < len(frames) && frames[i+1].Set.has(r.callee) && x.dynamic(r.callee, subject, &frames[i+1])
}

func (x *Enhancements) dynamic(p int, subject Subject, f *State) bool {
	for i := range x.preds[p].dynamic {
		m := &x.preds[p].dynamic[i]
		var is bool
		switch m.key {
		case frameApp:
			is = f.InApp == m.yes
		case frameCategory:
			is = m.glob.match(f.Category)
		case errorType:
			is = m.glob.match(subject.Type)
		case errorValue:
			is = m.glob.match(subject.Value)
		case errorMechanism:
			is = m.glob.match(subject.Mechanism)
		}
		if is == m.negate {
			return false
		}
	}
	return true
}

func apply(r *enhancement, number int32, pass int, frames []State, i int, stack *Stack) {
	for k := range r.actions {
		a := &r.actions[k]
		if (pass == 0) != (a.kind == setApp || a.kind == setCategory) {
			continue
		}
		from, to := i, i+1
		switch a.to {
		case above:
			from, to = i+1, len(frames)
		case below:
			from, to = 0, i
		}
		switch a.kind {
		case setApp:
			for j := from; j < to; j++ {
				frames[j].InApp, frames[j].AppRule = a.yes, number
			}
		case setCategory:
			frames[i].Category = a.text
		case setGroup:
			for j := from; j < to; j++ {
				if frames[j].Group = -1; a.yes {
					frames[j].Group = 1
				}
				frames[j].GroupRule = number
			}
		case maxFrames:
			stack.Max = a.n
		case minFrames:
			stack.Min = a.n
		case invertStack:
			stack.Invert = a.n == 1
		}
	}
}

// Source is the text of a rule of a State, and whether it is built in.
func (x *Enhancements) Source(number int32) (text string, builtin bool) {
	if number <= 0 || int(number) > len(x.rules) {
		return "", false
	}
	r := &x.rules[number-1]
	return r.source, r.builtin
}

// Len is how many rules there are, built-in ones included.
func (x *Enhancements) Len() int { return len(x.rules) }
