package policy

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/hoptrace/hoptrace/schemas"
)

// filtered stands where something was taken out.
const filtered = "[Filtered]"

// Bounds of one scrubbing.
const (
	maxChanges = 2000     // that _meta tells
	maxGrowth  = 64 << 10 // bytes that replacements and _meta may add
	maxSearch  = 8 << 20  // bytes that regular expressions may read
	maxHits    = 1000     // of one expression in one text
)

// scrubber takes secrets out of JSON by a project's settings. It does not
// change and may be used by many goroutines.
type scrubber struct {
	defaults    bool
	sensitive   words
	safe        words
	known       [knownSlots]known
	emails, ips bool
	fields      []*scrubRule // type field, and what replaces everything below a path
	patterns    []*scrubRule
	hashKey     []byte

	password, card, pem, bearer, apiKey, userInfo, email, ip *scrubRule
}

// scrubRule is a rule, built in or a project's.
type scrubRule struct {
	id      string // as _meta tells it
	method  string
	with    string // of method replace
	glob    glob   // over names of fields
	pattern *regexp.Regexp
	find    func(t []byte, by *scrubRule, hits []hit) []hit
	needs   uint16 // classes of bytes without which find finds nothing
	paths   []pathGlob
}

// newScrubber is nil when there is nothing to do.
func newScrubber(settings *schemas.ProjectSettings) *scrubber {
	set := &settings.Scrubbing
	if !set.Enabled || !set.Defaults && !set.Emails && !set.IPAddresses && len(set.SensitiveFields) == 0 && len(set.Rules) == 0 {
		return nil
	}
	built := func(id string) *scrubRule {
		return &scrubRule{id: "@" + id + ":filter", method: schemas.ScrubReplace, with: filtered}
	}
	s := &scrubber{
		defaults: set.Defaults, emails: set.Emails, ips: set.IPAddresses, hashKey: []byte(settings.HashKey), safe: newWords(set.SafeFields),
		password: built("password"), card: built("creditcard"), pem: built("pemkey"), bearer: built("bearer"), apiKey: built("apikey"),
		userInfo: built("urlauth"), email: built("email"), ip: built("ip"),
	}
	s.userInfo.with = "***" // brackets would break the URL
	if set.Defaults {
		s.sensitive = newWords(sensitiveFields, set.SensitiveFields)
		s.sensitive.ends = sensitiveEnds
	} else {
		s.sensitive = newWords(set.SensitiveFields)
	}
	for i := range set.Rules {
		s.add(&set.Rules[i])
	}
	for key, v := range structure {
		s.remember(key, v)
	}
	for _, key := range common {
		s.remember(key, 0)
	}
	return s
}

func (s *scrubber) add(set *schemas.ScrubRule) {
	r := &scrubRule{id: set.ID, method: set.Method, with: set.Replacement}
	if r.with == "" {
		r.with = filtered
	}
	for _, p := range set.Paths {
		r.paths = append(r.paths, newPathGlob(p))
	}
	switch set.Type {
	case schemas.ScrubField:
		r.glob = newGlob(set.Match)
		s.fields = append(s.fields, r)
		return
	case schemas.ScrubPattern:
		var err error
		if r.pattern, err = regexp.Compile(set.Match); err != nil { // Validate refuses it
			return
		}
	case schemas.ScrubBuiltin:
		switch set.Match {
		case "anything":
			r.glob = newGlob("*")
			s.fields = append(s.fields, r)
			return
		case "apikey":
			r.find, r.needs = findAPIKeys, hasKey
		case "bearer":
			r.find = findBearers
		case "creditcard":
			r.find, r.needs = findCards, hasDigit
		case "email":
			r.find, r.needs = findEmails, hasAt
		case "ip":
			r.find, r.needs = findAddresses, hasDigit
		case "pemkey":
			r.find, r.needs = findKeys, hasDash
		case "urlauth":
			r.find, r.needs = findURLAuth, hasColon
		default:
			return
		}
	}
	s.patterns = append(s.patterns, r)
}

// pathGlob is a path of a rule: steps, * for any one, ** for any number.
type pathGlob [][]byte

func newPathGlob(s string) pathGlob {
	var g pathGlob
	for step := range strings.SplitSeq(strings.TrimPrefix(strings.TrimSpace(s), "$."), ".") {
		g = append(g, []byte(step))
	}
	return g
}

// step is one step of the place that is being looked at: a key, raw, or the
// index of an element.
type step struct {
	key   []byte
	index int
}

func (s step) is(glob []byte) bool {
	if s.key != nil {
		return bytes.EqualFold(s.key, glob)
	}
	n := 0
	for _, c := range glob {
		if !isDigit(c) || n > 1<<20 {
			return false
		}
		n = n*10 + int(c-'0')
	}
	return len(glob) > 0 && n == s.index
}

// matches tells whether path is one that g means. Keys with dots match the
// steps that their parts make.
func (g pathGlob) matches(path []step) bool {
	for len(g) > 0 {
		if string(g[0]) == "**" {
			if len(g) == 1 {
				return true
			}
			for i := range path {
				if g[1:].matches(path[i:]) {
					return true
				}
			}
			return false
		}
		if len(path) == 0 {
			return false
		}
		if string(g[0]) == "*" || path[0].is(g[0]) {
			g, path = g[1:], path[1:]
			continue
		}
		n := dotted(g, path[0].key)
		if n == 0 {
			return false
		}
		g, path = g[n:], path[1:]
	}
	return len(path) == 0
}

// dotted tells how many steps of g a key with dots is, zero when it is another.
func dotted(g pathGlob, key []byte) int {
	n := 0
	for n < len(g) {
		part, rest, more := bytes.Cut(key, []byte("."))
		if string(g[n]) != "*" && !bytes.EqualFold(part, g[n]) {
			return 0
		}
		n++
		if !more {
			return n
		}
		key = rest
	}
	return 0
}

// holds tells whether a rule is about a place.
func (r *scrubRule) holds(path []step) bool {
	if len(r.paths) == 0 {
		return true
	}
	for _, g := range r.paths {
		if g.matches(path) {
			return true
		}
	}
	return false
}

// pass is one scrubbing.
type pass struct {
	s       *scrubber
	in, out []byte
	copied  int // of in
	path    []step
	base    int // of path: where the object whose _meta is written begins
	depth   int
	growth  int // bytes that may still be added
	search  int // bytes that expressions may still read
	quiet   bool
	// onlyErrors leaves all attributes of OTLP alone but the texts of exceptions.
	onlyErrors bool
	inError    bool // within one

	text, scratch, built []byte
	hits                 []hit
	keys                 lastKeys

	steps   []step // of changes
	changes []change
	remarks []remark
	meta    []byte
}

// change is one value that was changed, for _meta.
type change struct {
	stepFrom, stepTo     int
	remarkFrom, remarkTo int
	length               int // of the value before
}

// remark tells what was done to a stretch of the new text; without a stretch it
// is from -1.
type remark struct {
	rule     string
	kind     byte
	from, to int
}

var passes = sync.Pool{New: func() any { return new(pass) }}

// scrub gives the payload without what is to go: an event, or a container of
// items, each with its own _meta. It is the payload itself when there is nothing
// to change. maxBytes bounds the result unless the payload is larger already.
// ok is false when the JSON is broken.
func (s *scrubber) scrub(payload []byte, isContainer bool, maxBytes int) (out []byte, ok bool) {
	p := passes.Get().(*pass)
	p.begin(s, payload, min(maxGrowth, max(0, maxBytes-len(payload))))
	ok = p.run(isContainer)
	out = payload
	if ok && p.copied > 0 {
		p.out = append(p.out, payload[p.copied:]...)
		out, p.out = p.out, nil // it is the caller's now
	}
	p.end()
	return out, ok
}

func (p *pass) begin(s *scrubber, payload []byte, growth int) {
	p.s, p.in, p.growth, p.search = s, payload, growth, maxSearch
}

func (p *pass) end() {
	const most = 256 << 10 // what a pool may hold on to
	p.s, p.in, p.out, p.copied, p.base, p.depth, p.quiet = nil, nil, p.out[:0], 0, 0, 0, false
	p.onlyErrors, p.inError = false, false
	clear(p.path[:cap(p.path)])
	clear(p.steps[:cap(p.steps)])
	p.path, p.steps, p.changes, p.remarks, p.hits = p.path[:0], p.steps[:0], p.changes[:0], p.remarks[:0], p.hits[:0]
	if cap(p.text)+cap(p.scratch)+cap(p.built)+cap(p.meta)+cap(p.out) > most || cap(p.steps) > 4<<10 || cap(p.path) > 1<<10 {
		return
	}
	passes.Put(p)
}

func (p *pass) run(isContainer bool) bool {
	i := skipSpace(p.in, 0)
	if i >= len(p.in) {
		return false
	}
	switch {
	case p.in[i] != '{':
		i = p.value(i, place{})
	case isContainer:
		i = p.container(i)
	default:
		i = p.root(i)
	}
	return i >= 0 && skipSpace(p.in, i) == len(p.in)
}

// container scrubs each of the items on its own.
func (p *pass) container(i int) int {
	return object(p.in, i, func(key []byte, at int) int {
		if string(key) != "items" {
			return skipValue(p.in, at)
		}
		n := 0
		return array(p.in, at, func(at int) int {
			p.path = append(p.path[:0], step{key: key}, step{index: n})
			p.base = len(p.path)
			n++
			if at < len(p.in) && p.in[at] == '{' {
				return p.root(at)
			}
			return p.value(at, place{})
		})
	})
}

// place is what is known of where a value stands.
type place struct {
	verdict
	rule *scrubRule // that takes whatever is there
}

// root scrubs an object and tells in its _meta what was changed.
func (p *pass) root(i int) int {
	changes := len(p.changes)
	metaFrom, metaTo, old := -1, -1, []byte(nil) // of the member's value, in the output to come
	end := p.members(i, place{}, func(key []byte, at int) int {
		if string(key) != "_meta" {
			return -2
		}
		metaFrom = len(p.out) + at - p.copied
		p.quiet = true
		from := at
		at = p.value(at, place{verdict: isNames})
		p.quiet = false
		if at < 0 {
			return -1
		}
		metaTo = len(p.out) + at - p.copied
		old = p.in[from:at]
		return at
	})
	if end < 0 || len(p.changes) == changes {
		return end
	}
	meta := p.writeMeta(p.changes[changes:])
	p.forget(changes)
	if len(meta) == 0 {
		return end
	}
	brace := end - 1
	if metaFrom >= 0 {
		p.out = append(p.out, p.in[p.copied:brace]...)
		p.copied = brace
		merged := mergeMeta(p.out[metaFrom:metaTo], meta)
		if len(merged)-len(old) > p.growth {
			return end
		}
		p.growth -= len(merged) - len(old)
		p.out = slices.Replace(p.out, metaFrom, metaTo, merged...)
		return end
	}
	if len(meta)+len(`,"_meta":`) > p.growth {
		return end
	}
	p.growth -= len(meta) + len(`,"_meta":`)
	p.out = append(p.out, p.in[p.copied:brace]...)
	p.out = append(p.out, `,"_meta":`...)
	p.out = append(p.out, meta...)
	p.copied = brace
	return end
}

func (p *pass) forget(changes int) {
	if changes == 0 {
		p.steps, p.remarks = p.steps[:0], p.remarks[:0]
	} else {
		last := p.changes[changes-1]
		p.steps, p.remarks = p.steps[:last.stepTo], p.remarks[:last.remarkTo]
	}
	p.changes = p.changes[:changes]
}

// members walks the object at i. special, when not nil, is asked first; it gives
// -2 for a member that is none of its.
func (p *pass) members(i int, in place, special func(key []byte, at int) int) int {
	if p.depth++; p.depth > maxDepth {
		return -1
	}
	b := p.in
	i = skipSpace(b, i+1)
	if i < len(b) && b[i] == '}' {
		p.depth--
		return i + 1
	}
	depth := len(p.path)
	for i < len(b) && b[i] == '"' {
		end := i + 1
		for end < len(b) && b[end] != '"' && b[end] != '\\' {
			end++
		}
		if end >= len(b) || b[end] == '\\' {
			if end = stringEnd(b, i+1); end < 0 {
				return -1
			}
		}
		key := b[i+1 : end]
		if i = end + 1; i >= len(b) || b[i] != ':' {
			if i = skipSpace(b, i); i >= len(b) || b[i] != ':' {
				return -1
			}
		}
		i = skipSpace(b, i+1)
		p.path = append(p.path, step{key: key})
		next := -2
		if special != nil {
			next = special(key, i)
		}
		if next == -2 {
			next = p.value(i, p.below(in, key))
		}
		p.path = p.path[:depth]
		if i = next; i < 0 {
			return -1
		}
		if i < len(b) && b[i] != ',' && b[i] != '}' {
			i = skipSpace(b, i)
		}
		if i >= len(b) {
			return -1
		}
		if b[i] == '}' {
			p.depth--
			return i + 1
		}
		if b[i] != ',' {
			return -1
		}
		i = skipSpace(b, i+1)
	}
	return -1
}

// below is the place of a member of an object.
func (p *pass) below(in place, key []byte) place {
	if in.verdict&(isSafe|isNames) != 0 {
		in.verdict &= isSafe | isNames | isVersion
		return in
	}
	v := p.verdict(key)
	out := place{verdict: v, rule: in.rule}
	if in.rule != nil {
		// What describes an attribute is no secret.
		if k := string(key); k == "type" || k == "unit" {
			out.rule = nil
		} else {
			out.verdict |= in.verdict & isSensitive
		}
	}
	if v&isFieldRule != 0 && out.rule == nil {
		out.rule = p.fieldRule(key)
	}
	if out.rule == nil && out.verdict&isSensitive != 0 {
		out.rule = p.s.password
	}
	return out
}

func (p *pass) fieldRule(key []byte) *scrubRule {
	if p.quiet {
		return nil
	}
	if bytes.IndexByte(key, '\\') >= 0 {
		key = appendUnescaped(nil, key)
	}
	lower := bytes.ToLower(key)
	for _, r := range p.s.fields {
		if r.glob.match(lower) && r.holds(p.path[p.base:]) {
			return r
		}
	}
	return nil
}

// value scrubs what is at i and gives the position after it.
func (p *pass) value(i int, in place) int {
	if i >= len(p.in) {
		return -1
	}
	switch p.in[i] {
	case '"':
		return p.string(i, in)
	case '{':
		return p.members(i, in, nil)
	case '[':
		return p.elements(i, in, false)
	}
	return p.scalar(i, in)
}

// elements walks the array at i. isList tells that it is an element of an array
// itself: as in [["Cookie","…"]], two of them may be a name and its value.
func (p *pass) elements(i int, in place, isList bool) int {
	if p.depth++; p.depth > maxDepth {
		return -1
	}
	b := p.in
	i = skipSpace(b, i+1)
	if i < len(b) && b[i] == ']' {
		p.depth--
		return i + 1
	}
	depth := len(p.path)
	for n := 0; i < len(b); n++ {
		at := in
		if isList && n == 1 {
			if key := p.pairKey(i); key != nil {
				at = p.below(in, key)
			}
		}
		p.path = append(p.path, step{index: n})
		if b[i] == '[' {
			i = p.elements(i, at, true)
		} else {
			i = p.value(i, at)
		}
		p.path = p.path[:depth]
		if i < 0 {
			return -1
		}
		i = skipSpace(b, i)
		if i >= len(b) {
			return -1
		}
		if b[i] == ']' {
			p.depth--
			return i + 1
		}
		if b[i] != ',' {
			return -1
		}
		i = skipSpace(b, i+1)
	}
	return -1
}

// pairKey gives the first element of an array whose second and last is at i.
func (p *pass) pairKey(i int) []byte {
	b := p.in
	end := skipValue(b, i)
	if end < 0 {
		return nil
	}
	if end = skipSpace(b, end); end >= len(b) || b[end] != ']' {
		return nil
	}
	for i--; i >= 0 && (b[i] == ' ' || b[i] == '\n' || b[i] == '\r' || b[i] == '\t' || b[i] == ','); i-- {
	}
	if i < 1 || b[i] != '"' {
		return nil
	}
	to := i
	for i--; i >= 0; i-- { // an escaped quote ends the search too early: then the key is shorter
		if b[i] == '"' {
			return b[i+1 : to]
		}
	}
	return nil
}

// scalar scrubs a number, true, false or null.
func (p *pass) scalar(i int, in place) int {
	end := skipScalar(p.in, i)
	if end < 0 {
		return -1
	}
	c := p.in[i]
	if in.verdict&isSafe != 0 || !isDigit(c) && c != '-' || p.quiet {
		return end
	}
	if in.rule != nil {
		p.number(i, end, in.rule)
		return end
	}
	if p.s.defaults && in.verdict&isID == 0 && end-i >= 13 && end-i <= 19 {
		for _, c := range p.in[i:end] {
			if !isDigit(c) {
				return end
			}
		}
		if isCard(p.in[i:end], end-i) {
			p.number(i, end, p.s.card)
		}
	}
	return end
}

// number takes out the number in in[from:to].
func (p *pass) number(from, to int, by *scrubRule) {
	new, kind := "null", byte('x')
	if by.method == schemas.ScrubHash {
		new, kind = `"`+string(p.hash(p.in[from:to]))+`"`, 'p'
	}
	if len(new)-(to-from) > p.growth {
		new, kind = "0", 'x'
	}
	if string(p.in[from:to]) == new {
		return
	}
	p.growth -= max(0, len(new)-(to-from))
	p.put(from, to, []byte(new))
	p.tell(to-from, remark{by.id, kind, -1, 0})
}

// put writes new instead of in[from:to].
func (p *pass) put(from, to int, new []byte) {
	p.out = append(p.out, p.in[p.copied:from]...)
	p.out = append(p.out, new...)
	p.copied = to
}

// tell notes a change for _meta.
func (p *pass) tell(length int, remarks ...remark) {
	if p.quiet || len(p.changes) >= maxChanges {
		return
	}
	c := change{stepFrom: len(p.steps), remarkFrom: len(p.remarks), length: length}
	p.steps = append(p.steps, p.path[p.base:]...)
	p.remarks = append(p.remarks, remarks...)
	c.stepTo, c.remarkTo = len(p.steps), len(p.remarks)
	p.changes = append(p.changes, c)
}

// string scrubs the string whose opening quote is at i.
func (p *pass) string(i int, in place) int {
	b := p.in
	from := i + 1
	classes := uint16(0)
	for i = from; i < len(b); i++ {
		c := classOf[b[i]]
		if c >= perhapsDash {
			if c == endsString {
				break
			}
			if c == hasEscape {
				if i++; i < len(b) && b[i] == 'u' {
					c |= hasUnicode
				}
			} else {
				c = closer(b, i, c)
			}
		}
		classes |= c
	}
	if i >= len(b) {
		return -1
	}
	to := i
	if in.verdict&isSafe != 0 || from == to {
		return to + 1
	}
	const harmless = hasDot | hasEscape | hasApostrophe // by themselves
	if in.rule == nil && classes&^harmless == 0 && len(p.s.patterns) == 0 {
		return to + 1
	}
	text := b[from:to]
	if classes&hasEscape != 0 {
		p.text = appendUnescaped(p.text[:0], text)
		text = p.text
		if classes&hasUnicode != 0 {
			classes |= classesOf(text)
		}
	}
	if in.rule != nil {
		p.whole(from, to, text, in.rule)
		return to + 1
	}
	p.hits = p.find(text, classes, in, p.hits[:0])
	if len(p.hits) > 0 {
		p.parts(from, to, text)
	}
	return to + 1
}

// whole does to all of a text what a rule says.
func (p *pass) whole(from, to int, text []byte, by *scrubRule) {
	if string(text) == filtered {
		return
	}
	new, kind := p.instead(p.built[:0], text, by)
	p.built = new
	if by.method == schemas.ScrubRemove {
		if 4-(to-from+2) > p.growth {
			p.replace(from, to, nil, text, remark{by.id, 'x', -1, 0})
			return
		}
		p.put(from-1, to+1, []byte("null"))
		p.tell(utf8.RuneCount(text), remark{by.id, 'x', -1, 0})
		return
	}
	p.replace(from, to, new, text, remark{by.id, kind, 0, utf8.RuneCount(new)})
}

// replace writes a new text instead of the inside of the string in[from:to], or
// an empty one when there is no room for it.
func (p *pass) replace(from, to int, new, text []byte, remarks ...remark) {
	if bytes.Equal(new, text) {
		return
	}
	p.scratch = appendEscaped(p.scratch[:0], new)
	if grows := len(p.scratch) - (to - from); grows > p.growth {
		p.scratch = p.scratch[:0]
		remarks = []remark{{remarks[0].rule, 'x', -1, 0}}
	} else {
		p.growth -= max(0, grows)
	}
	p.put(from, to, p.scratch)
	p.tell(utf8.RuneCount(text), remarks...)
}

// instead appends what a rule puts in a text's place, and how _meta calls that.
func (p *pass) instead(dst, text []byte, by *scrubRule) (out []byte, kind byte) {
	switch by.method {
	case schemas.ScrubRemove:
		return dst, 'x'
	case schemas.ScrubMask:
		for range utf8.RuneCount(text) {
			dst = append(dst, '*')
		}
		return dst, 'm'
	case schemas.ScrubHash:
		if isHash(text) {
			return append(dst, text...), 'p'
		}
		return append(dst, p.hash(text)...), 'p'
	}
	return append(dst, by.with...), 's'
}

// hash is the same for the same text in one project.
func (p *pass) hash(text []byte) []byte {
	h := hmac.New(sha256.New, p.s.hashKey)
	h.Write(text)
	return append(hex.AppendEncode([]byte("[hash:"), h.Sum(nil)[:16]), ']')
}

// isHash tells that a text was hashed already.
func isHash(text []byte) bool {
	return len(text) == len("[hash:]")+32 && bytes.HasPrefix(text, []byte("[hash:")) && text[len(text)-1] == ']'
}

// find finds what is to go in a text.
func (p *pass) find(text []byte, classes uint16, in place, hits []hit) []hit {
	s := p.s
	if s.defaults {
		if classes&hasDigit != 0 && len(text) >= 13 && in.verdict&isID == 0 {
			hits = findCards(text, s.card, hits)
		}
		if classes&hasDash != 0 {
			hits = findKeys(text, s.pem, hits)
		}
		if classes&hasToken != 0 {
			hits = findBearers(text, s.bearer, hits)
		}
		if classes&hasKey != 0 {
			hits = findAPIKeys(text, s.apiKey, hits)
		}
		if classes&(hasAt|hasColon) == hasAt|hasColon {
			hits = findUserInfo(text, s.userInfo, hits)
		}
		if classes&(hasColon|hasDot) == hasColon|hasDot {
			hits = findWebhooks(text, s.userInfo, hits)
		}
	}
	if in.verdict&isSource == 0 && len(s.sensitive.byFirst) > 0 {
		if classes&hasEquals != 0 {
			hits = p.findPairs(text, hits)
		}
		if classes&hasColon != 0 && classes&(hasEscape|hasApostrophe) != 0 {
			hits = p.findQuoted(text, hits)
		}
	}
	if s.emails && classes&hasAt != 0 {
		hits = findEmails(text, s.email, hits)
	}
	if s.ips && classes&hasDigit != 0 && classes&(hasDot|hasColon) != 0 && in.verdict&isVersion == 0 {
		hits = findAddresses(text, s.ip, hits)
	}
	if p.quiet {
		return hits
	}
	for _, r := range s.patterns {
		if !r.holds(p.path[p.base:]) || r.needs&^classes != 0 {
			continue
		}
		if r.find != nil {
			hits = r.find(text, r, hits)
			continue
		}
		if p.search -= len(text); p.search < 0 { // what cannot be looked at is not kept
			return append(hits, hit{0, len(text), r})
		}
		for _, at := range r.pattern.FindAllIndex(text, maxHits) {
			if at[0] < at[1] {
				hits = append(hits, hit{at[0], at[1], r})
			}
			if len(hits) >= maxHits {
				return append(hits, hit{0, len(text), r})
			}
		}
	}
	return hits
}

// findPairs finds values of name=value whose name is one of a secret: in query
// strings, forms, cookies and connection strings, and of :name => "value" and
// "name" => "value" as Ruby and PHP print them.
func (p *pass) findPairs(t []byte, hits []hit) []hit {
	for at := 0; ; {
		i := bytes.IndexByte(t[at:], '=')
		if i < 0 {
			return hits
		}
		sign := at + i
		at = sign + 1
		end := sign
		if at < len(t) && t[at] == '>' {
			at++
			for at < len(t) && t[at] == ' ' {
				at++
			}
			for end > 0 && t[end-1] == ' ' {
				end--
			}
			if end > 0 && (t[end-1] == '"' || t[end-1] == '\'') {
				end--
				end -= slashesBefore(t, end)
			}
		}
		from := end
		for from > 0 && end-from < 128 && (isWord(t[from-1]) || t[from-1] == '-' || t[from-1] == '.' || t[from-1] == '[' || t[from-1] == ']' || t[from-1] == '%') {
			from--
		}
		p.scratch = appendWords(p.scratch[:0], t[from:end])
		if !p.s.sensitive.find(p.scratch) || p.s.safe.find(p.scratch) {
			continue
		}
		from = at
		quote := byte(0)
		if from < len(t) && (t[from] == '"' || t[from] == '\'') {
			quote = t[from]
			from++
		}
		to := from
	value:
		for ; to < len(t); to++ {
			switch c := t[to]; {
			case quote != 0:
				if c == quote {
					break value
				}
			case c == '&', c == ';', c == ',', c == '"', c == '\'', c == '<', c == '>', c == ')', c == '}', c <= ' ':
				break value
			}
		}
		if to > from && string(t[from:to]) != filtered {
			hits = append(hits, hit{from, to, p.s.password})
		}
		at = to
	}
}

// findQuoted finds values of "name":"value", "name":5 and 'name': 'value' whose name is
// one of a secret: JSON in a text, escaped as often as it may be, and what Python and
// Ruby print of a map.
func (p *pass) findQuoted(t []byte, hits []hit) []hit {
	for at := 0; ; {
		i := bytes.IndexByte(t[at:], ':')
		if i < 0 {
			return hits
		}
		sign := at + i
		at = sign + 1
		k := sign
		for k > 0 && (t[k-1] == ' ' || t[k-1] == '\t') {
			k--
		}
		if k < 2 || t[k-1] != '"' && t[k-1] != '\'' {
			continue
		}
		quote := t[k-1]
		k--
		slashes := slashesBefore(t, k)
		end := k - slashes
		from := end
		for from > 0 && end-from < 128 && t[from-1] != quote {
			from--
		}
		p.scratch = appendWords(p.scratch[:0], t[from:end])
		if !p.s.sensitive.find(p.scratch) || p.s.safe.find(p.scratch) {
			continue
		}
		from, to := valueAfter(t, at, slashes)
		if from == to {
			continue
		}
		if v := string(t[from:to]); v != filtered && v != "true" && v != "false" && v != "null" && v != "None" && v != "nil" {
			hits = append(hits, hit{from, to, p.s.password})
		}
		at = to
	}
}

// slashesBefore counts the backslashes that end at a position.
func slashesBefore(t []byte, i int) (n int) {
	for n < i && t[i-1-n] == '\\' {
		n++
	}
	return n
}

// valueAfter is where the value of a name lies whose colon is before at: the inside of
// a string whose quotes have so many backslashes before them, or a number or word.
func valueAfter(t []byte, at, slashes int) (from, to int) {
	for at < len(t) && (t[at] == ' ' || t[at] == '\t') {
		at++
	}
	open := at
	for open < len(t) && open-at < slashes && t[open] == '\\' {
		open++
	}
	if open-at == slashes && open < len(t) && (t[open] == '"' || t[open] == '\'') {
		for i := open + 1; i < len(t); i++ {
			// A quote within the value has more backslashes than its own.
			if t[i] == t[open] && slashesBefore(t[open+1:], i-open-1) <= slashes {
				return open + 1, i - slashesBefore(t[open+1:i], i-open-1)
			}
		}
		return open + 1, len(t)
	}
	to = at
	for to < len(t) && (isWord(t[to]) || t[to] == '.' || t[to] == '-' || t[to] == '+') {
		to++
	}
	return at, to
}

// parts replaces the hits in a text.
func (p *pass) parts(from, to int, text []byte) {
	if remarks := p.build(text); len(remarks) > 0 {
		p.replace(from, to, p.built, text, remarks...)
	}
}

// build writes the text with its hits replaced to built, and tells what it did.
func (p *pass) build(text []byte) []remark {
	hits := p.hits
	if len(hits) > 1 {
		slices.SortStableFunc(hits, func(a, b hit) int { return a.from - b.from })
		n := 0
		for _, h := range hits[1:] {
			if h.from < hits[n].to { // they overlap: all of it goes, by the first
				hits[n].to = max(hits[n].to, h.to)
				continue
			}
			n++
			hits[n] = h
		}
		hits = hits[:n+1]
	}
	new := p.built[:0]
	last := 0
	remarks := make([]remark, 0, min(len(hits), maxRemarks))
	runes := 0
	for _, h := range hits {
		new = append(new, text[last:h.from]...)
		runes += utf8.RuneCount(text[last:h.from])
		last = h.to
		begin := len(new)
		var kind byte
		new, kind = p.instead(new, text[h.from:h.to], h.by)
		size := utf8.RuneCount(new[begin:])
		if !bytes.Equal(new[begin:], text[h.from:h.to]) && len(remarks) < maxRemarks {
			remarks = append(remarks, remark{h.by.id, kind, runes, runes + size})
		}
		runes += size
	}
	new = append(new, text[last:]...)
	p.built = new
	return remarks
}

// maxRemarks bounds what _meta tells of one text.
const maxRemarks = 64
