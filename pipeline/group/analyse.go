package group

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"
	"sync"

	"github.com/hoptrace/hoptrace/pipeline/group/rules"
	"github.com/hoptrace/hoptrace/pipeline/normalize"
	"github.com/hoptrace/hoptrace/schemas"
)

// variants of a stack: the program's own frames, and all.
const (
	app = iota
	system
	variants
)

// strategy is how an event is looked at. They are tried in this order.
type strategy uint8

const (
	chainedException strategy = iota
	threadStack
	securityReport
	messageText
	fallback
)

var strategyNames = [...]string{"chained-exception", "threads", "security", "message", "fallback"}

// stack is one stack of an event.
type stack struct {
	from, to int // in Tree.frames
	bounds   rules.Stack
	counts   [variants]bool
	hints    [variants]hint
	vague    [variants]bool // the frame nearest to the failure that counts names no function
}

// frame is one of an event's, with why it does not count in each variant.
type frame struct {
	*normalize.Frame
	info    *frameInfo
	context string
	ctxHint hint
	out     [variants]hint // zero: it counts
}

// Tree is how an event grouped: which of its parts count, and why others do not.
type Tree struct {
	version  string
	g        *Grouper
	e        *normalize.Event
	family   rules.Family
	strategy strategy
	typed    bool // an exception has a type

	frames []frame
	states []rules.State
	stacks []stack
	// order are the exceptions that count in a variant, nil for all. main is the
	// one to show, -1 for the last.
	order   [variants][]int
	grouped bool
	main    int

	message string // parameterised

	variant int  // that decides; of strategies without variants always app
	why     hint // why app does not decide
	rule    *rules.Fingerprint
	values  []string // of a fingerprint, expanded
	hybrid  bool     // values salt the hash; otherwise they are all of it
	moved   bool     // rules changed whose a frame is

	hash  schemas.Fingerprint
	first []component // of version 1
}

var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 8<<10); return &b }}

func (g *Grouper) analyse(e *normalize.Event) *Tree {
	t := &Tree{version: Version, g: g, e: e, family: rules.FamilyOf(e.Platform), main: -1}
	t.readStacks()
	t.choose()
	t.fingerprint()
	buf := buffers.Get().(*[]byte)
	t.hash, *buf = t.sum(t.variant, (*buf)[:0])
	if cap(*buf) <= 256<<10 {
		buffers.Put(buf)
	}
	return t
}

// readStacks finds out about each frame, and lets the rules speak.
func (t *Tree) readStacks() {
	e, n := t.e, len(t.e.Frames)
	for i := range e.Exceptions {
		n += len(e.Exceptions[i].Frames)
		t.typed = t.typed || e.Exceptions[i].Type != ""
	}
	t.frames, t.states = make([]frame, 0, n), make([]rules.State, 0, n)
	if len(e.Exceptions) == 0 {
		t.stacks = make([]stack, 0, 1)
		t.readStack(e.Frames, rules.Subject{})
		return
	}
	t.stacks = make([]stack, 0, len(e.Exceptions))
	for i := range e.Exceptions {
		x := &e.Exceptions[i]
		t.readStack(x.Frames, rules.Subject{Type: x.Type, Value: x.Value, Mechanism: x.Mechanism.Type})
	}
}

func (t *Tree) readStack(in []normalize.Frame, subject rules.Subject) {
	s := stack{from: len(t.frames), to: len(t.frames) + len(in)}
	for i := range in {
		f := &in[i]
		info := t.g.info(f, t.family)
		t.frames = append(t.frames, frame{Frame: f, info: info})
		t.states = append(t.states, rules.State{Set: info.set, InApp: f.InApp, Category: f.Category})
	}
	states := t.states[s.from:s.to]
	s.bounds = t.g.enhancements.Apply(subject, states)
	for i := range in {
		f, state := &t.frames[s.from+i], &states[i]
		if f.InApp != state.InApp {
			t.moved = true
		}
		f.InApp, f.Category = state.InApp, state.Category
		f.context, f.ctxHint = contextLine(t.family, f.Frame)
		why := hint(0)
		switch {
		case f.info.whole != 0:
			why = f.info.whole
		case f.info.where == "" && f.info.what == "" && f.context == "":
			why = hintNothing
		case i > 0 && repeats(&in[i-1], f.Frame):
			why = hintRecursion
		case state.Group < 0:
			why = hintRule
		case len(in) == 1 && f.info.pageOnly && f.context == "":
			why = hintPageOnly
		}
		f.out = [variants]hint{why, why}
		if why == 0 && !state.InApp {
			f.out[app] = hintNotInApp
		}
	}
	for v := range variants {
		s.counts[v], s.hints[v] = t.bound(&s, v)
		for i := s.to - 1; i >= s.from; i-- {
			if f := &t.frames[i]; f.out[v] == 0 {
				s.vague[v] = f.context == "" && f.functionHint() != 0
				break
			}
		}
	}
	t.stacks = append(t.stacks, s)
}

// bound applies max-frames and min-frames, and tells whether the stack counts.
func (t *Tree) bound(s *stack, v int) (bool, hint) {
	if s.from == s.to {
		return false, hintNoFrames
	}
	n, own := 0, false
	visit := func(i int) {
		f := &t.frames[i]
		own = own || f.InApp
		if f.out[v] != 0 {
			return
		}
		if s.bounds.Max > 0 && n >= s.bounds.Max {
			f.out[v] = hintMaxFrames
			return
		}
		n++
	}
	if s.bounds.Invert {
		for i := s.from; i < s.to; i++ {
			visit(i)
		}
	} else {
		for i := s.to - 1; i >= s.from; i-- { // those near the failure stay
			visit(i)
		}
	}
	switch {
	case n == 0 && v == app && !own:
		return false, hintNoOwnFrames
	case n == 0:
		return false, hintNoneCounts
	case n < s.bounds.Min:
		return false, hintMinFrames
	}
	return true, 0
}

// choose finds the strategy and the variant that decides.
func (t *Tree) choose() {
	e := t.e
	var counts [variants]bool
	for i := range t.stacks {
		for v := range variants {
			counts[v] = counts[v] || t.stacks[i].counts[v]
		}
	}
	if len(e.Exceptions) > 0 {
		t.groups()
		t.main = t.mainException()
		if !counts[app] && counts[system] {
			t.variant, t.why = system, hintNoOwnFrames
		}
		for i := range e.Exceptions {
			x := &e.Exceptions[i]
			if x.Type != "" && !x.Synthetic || x.Value != "" || t.stacks[i].counts[system] {
				return
			}
		}
		t.variant, t.why = app, 0 // exceptions that say nothing at all
	}
	text := e.Template
	if text == "" {
		text = e.Message
	}
	t.message = Parameterise(text)
	switch {
	case len(e.Exceptions) == 0 && counts[app]:
		t.strategy = threadStack
	case len(e.Exceptions) == 0 && counts[system] && t.message == "":
		t.strategy, t.variant, t.why = threadStack, system, hintNoOwnFrames
	case e.Security.Kind != "":
		t.strategy = securityReport
	case t.message != "":
		t.strategy = messageText
	default:
		t.strategy = fallback
	}
}

// fingerprint finds what a rule or the client says: a rule has the last word.
func (t *Tree) fingerprint() {
	if t.rule = t.g.fingerprints.Match(t.e); t.rule != nil {
		t.expand(len(t.rule.Values), func(i int) rules.Template { return t.rule.Values[i] })
		return
	}
	fp := t.e.ClientFingerprint
	if len(fp) == 0 || len(fp) == 1 && isDefault(fp[0]) {
		return
	}
	t.expand(len(fp), func(i int) rules.Template { return rules.ClientTemplate(fp[i]) })
}

func (t *Tree) expand(n int, at func(int) rules.Template) {
	t.values = make([]string, 0, n)
	for i := range n {
		if v := at(i); v.IsDefault() {
			t.hybrid = true
		} else {
			t.values = append(t.values, v.Expand(t.e))
		}
	}
	if len(t.values) == 0 {
		t.hybrid = false // nothing but the default
	}
}

// Kinds of leaves, as they are hashed: never change one.
const (
	leafVersion     = 'V'
	leafFingerprint = 'P'
	leafException   = 'X'
	leafType        = 'T'
	leafValue       = 'A'
	leafFrame       = 'F'
	leafModule      = 'm'
	leafFile        = 'f'
	leafContext     = 'c'
	leafFunction    = 'n'
	leafThread      = 'H'
	leafMessage     = 'M'
	leafSecurity    = 'S'
	leafFallback    = 'L'
)

// leaf appends a value so that no two lists of leaves look alike.
func leaf(buf []byte, kind byte, value string) []byte {
	buf = append(buf, kind)
	buf = binary.AppendUvarint(buf, uint64(len(value)))
	return append(buf, value...)
}

func (t *Tree) sum(v int, buf []byte) (id schemas.Fingerprint, _ []byte) {
	buf = leaf(buf, leafVersion, Version)
	for _, value := range t.values {
		buf = leaf(buf, leafFingerprint, value)
	}
	if len(t.values) == 0 || t.hybrid {
		buf = t.leaves(v, buf)
	}
	h := sha256.Sum256(buf)
	copy(id[:], h[:])
	return id, buf
}

func (t *Tree) leaves(v int, buf []byte) []byte {
	e := t.e
	switch t.strategy {
	case chainedException:
		if t.order[v] == nil {
			for i := range e.Exceptions {
				buf = t.exception(v, i, buf)
			}
			return buf
		}
		for _, i := range t.order[v] {
			buf = t.exception(v, i, buf)
		}
		return buf
	case threadStack:
		buf = leaf(buf, leafThread, "")
		buf = t.stackLeaves(v, 0, buf)
		if t.message != "" {
			buf = leaf(buf, leafMessage, t.message)
		}
		return buf
	case securityReport:
		for _, value := range securityValues(&e.Security) {
			buf = leaf(buf, leafSecurity, value)
		}
		return buf
	case messageText:
		return leaf(buf, leafMessage, t.message)
	}
	buf = leaf(buf, leafFallback, e.Level)
	return leaf(buf, leafFallback, e.Culprit)
}

func (t *Tree) exception(v, i int, buf []byte) []byte {
	x := &t.e.Exceptions[i]
	buf = leaf(buf, leafException, "")
	if x.Type != "" && !x.Synthetic {
		buf = leaf(buf, leafType, x.Type)
	}
	if t.stacks[i].counts[v] {
		buf = t.stackLeaves(v, i, buf)
	}
	if t.valueCounts(v, i) {
		buf = leaf(buf, leafValue, t.value(i))
	}
	return buf
}

// valueCounts tells that an exception's text is needed: it has no stack that
// counts, or one that does not say in which function it failed (minified, or
// anonymous), or no exception has a type, as SDKs send messages: these are about
// their text.
func (t *Tree) valueCounts(v, i int) bool {
	s := &t.stacks[i]
	return t.e.Exceptions[i].Value != "" && (!s.counts[v] || s.vague[v] || !t.typed)
}

// value is an exception's text without what differs. A message that was sent as
// an exception may have come with its template.
func (t *Tree) value(i int) string {
	if !t.typed && t.e.Template != "" && i == len(t.e.Exceptions)-1 {
		return Parameterise(t.e.Template)
	}
	return Parameterise(t.e.Exceptions[i].Value)
}

func (t *Tree) stackLeaves(v, i int, buf []byte) []byte {
	s := &t.stacks[i]
	if s.bounds.Invert {
		for k := s.to - 1; k >= s.from; k-- {
			buf = t.frames[k].leaves(v, buf)
		}
		return buf
	}
	for k := s.from; k < s.to; k++ {
		buf = t.frames[k].leaves(v, buf)
	}
	return buf
}

func (f *frame) leaves(v int, buf []byte) []byte {
	if f.out[v] != 0 {
		return buf
	}
	buf = leaf(buf, leafFrame, "")
	if f.info.where != "" {
		kind := byte(leafFile)
		if f.info.isModule {
			kind = leafModule
		}
		buf = leaf(buf, kind, f.info.where)
	}
	if f.context != "" {
		buf = leaf(buf, leafContext, f.context)
	}
	if f.functionHint() == 0 {
		buf = leaf(buf, leafFunction, f.info.what)
	}
	return buf
}

// functionHint says why a frame's function does not count, zero when it does.
func (f *frame) functionHint() hint {
	switch {
	case f.info.fnHint != 0:
		return f.info.fnHint
	case f.Mapped && f.context != "":
		return hintMapped
	}
	return 0
}

func securityValues(s *normalize.Security) []string {
	if s.Kind != "csp" {
		return []string{s.Kind, s.DocumentHost}
	}
	if s.LocalScriptViolated {
		return []string{s.Kind, s.Directive, "local script"}
	}
	return []string{s.Kind, s.Directive, s.Blocked}
}

// groups finds what counts of a chain in which exceptions hold several others:
// those below the groups, each distinct one once. When there is but one it counts
// with its own causes, and is the one to show; otherwise they count with the root.
// A tree that does not fit together counts as a plain chain.
func (t *Tree) groups() {
	xs := t.e.Exceptions
	found := false
	for i := range xs {
		found = found || xs[i].Mechanism.IsExceptionGroup
	}
	if !found {
		return
	}
	index := make(map[int]int, len(xs))
	root := -1
	for i := range xs {
		m := &xs[i].Mechanism
		if _, twice := index[m.ExceptionID]; twice || m.ExceptionID < 0 {
			return
		}
		index[m.ExceptionID] = i
		if m.ParentID < 0 {
			if root >= 0 {
				return
			}
			root = i
		}
	}
	if root < 0 {
		return
	}
	children := make([][]int, len(xs))
	for i := range xs {
		if i == root {
			continue
		}
		parent, ok := index[xs[i].Mechanism.ParentID]
		if !ok || parent == i {
			return
		}
		children[parent] = append(children[parent], i)
	}
	// By id: SDKs send the causes first, and number them the other way round.
	for i := range children {
		slices.SortFunc(children[i], func(a, b int) int { return xs[a].Mechanism.ExceptionID - xs[b].Mechanism.ExceptionID })
	}
	var top []int
	reached := 0
	var walk func(i int, below bool)
	walk = func(i int, below bool) {
		reached++
		if below && !xs[i].Mechanism.IsExceptionGroup {
			top = append(top, i)
			below = false
		}
		for _, c := range children[i] {
			walk(c, below)
		}
	}
	walk(root, true)
	if reached != len(xs) || len(top) == 0 { // a ring beside the tree
		return
	}
	t.grouped = true
	for v := range variants {
		distinct := t.distinct(v, top)
		if len(distinct) > 1 {
			t.order[v] = append(distinct, root)
			continue
		}
		path := []int{}
		for i := distinct[0]; ; i = children[i][0] {
			path = append(path, i)
			if len(children[i]) == 0 {
				break
			}
		}
		slices.Reverse(path) // the oldest cause first, as in a chain
		t.order[v] = path
		if v == app {
			t.main = distinct[0]
		}
	}
}

// distinct drops exceptions that group like one before, and sorts by type, then
// by what they group by: the order in which they were gathered is chance.
func (t *Tree) distinct(v int, top []int) []int {
	type one struct {
		i      int
		leaves []byte
	}
	all := make([]one, len(top))
	for k, i := range top {
		all[k] = one{i, t.exception(v, i, nil)}
	}
	slices.SortStableFunc(all, func(a, b one) int {
		if c := strings.Compare(t.e.Exceptions[a.i].Type, t.e.Exceptions[b.i].Type); c != 0 {
			return c
		}
		return bytes.Compare(a.leaves, b.leaves)
	})
	all = slices.CompactFunc(all, func(a, b one) bool { return bytes.Equal(a.leaves, b.leaves) })
	out := make([]int, len(all), len(all)+1)
	for k := range all {
		out[k] = all[k].i
	}
	return out
}

// mainException is the one whose type and value a person should read: not the
// wrapper in which React or RxJava hand over what went wrong. -1 means the last.
func (t *Tree) mainException() int {
	xs := t.e.Exceptions
	last := len(xs) - 1
	if t.grouped {
		return t.main
	}
	i := last
	for i > 0 && isWrapper(t.family, &xs[i]) {
		i--
	}
	if i == last {
		return -1
	}
	return i
}

func isWrapper(family rules.Family, x *normalize.Exception) bool {
	switch family {
	case rules.JavaScript:
		return strings.HasPrefix(x.Type, "React ErrorBoundary ") || strings.HasPrefix(x.Value, "There was an error during concurrent rendering but React was able to recover") ||
			strings.HasPrefix(x.Value, "There was an error while hydrating")
	case rules.Java:
		if !strings.HasPrefix(x.Module, "io.reactivex") && !strings.HasPrefix(x.Type, "io.reactivex.") {
			return false
		}
		switch x.Type[strings.LastIndexByte(x.Type, '.')+1:] {
		case "UndeliverableException", "OnErrorNotImplementedException", "CompositeException":
			return true
		}
	}
	return false
}

const maxTitle = 256

// headline sets what of title and culprit the grouping changes.
func (t *Tree) headline(r *Result) {
	e := t.e
	if t.rule != nil && len(t.rule.Title) > 0 {
		r.Title = firstLine(t.rule.Title.Expand(e))
	} else if t.main >= 0 && t.main != len(e.Exceptions)-1 {
		x := &e.Exceptions[t.main]
		switch value := firstLine(x.Value); {
		case x.Type == "":
			r.Title = value
		case value == "":
			r.Title = x.Type
		default:
			r.Title = x.Type + ": " + value
		}
	}
	if len(r.Title) > maxTitle {
		r.Title = strings.ToValidUTF8(r.Title[:maxTitle], "")
	}
	if !t.moved && t.main < 0 {
		return
	}
	shown := e.Frames
	if n := len(e.Exceptions); n > 0 {
		if shown = e.Exceptions[n-1].Frames; t.main >= 0 {
			shown = e.Exceptions[t.main].Frames
		}
	}
	r.Culprit = e.Transaction
	for i := len(shown) - 1; i >= 0; i-- {
		f := &shown[i]
		where := f.Module
		if where == "" {
			where = f.Filename
		}
		if !f.InApp || where == "" && f.Function == "" {
			continue
		}
		switch {
		case where == "":
			r.Culprit = f.Function
		case f.Function == "":
			r.Culprit = where
		default:
			r.Culprit = where + " in " + f.Function
		}
		break
	}
	if len(r.Culprit) > maxTitle {
		r.Culprit = strings.ToValidUTF8(r.Culprit[:maxTitle], "")
	}
}

func firstLine(s string) string {
	s = strings.TrimSpace(s)
	if i := strings.IndexAny(s, "\r\n"); i >= 0 {
		s = strings.TrimSpace(s[:i])
	}
	return s
}
