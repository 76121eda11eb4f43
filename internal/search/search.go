// Package search reads the query language. ParseRows reads it for spans, hops and logs,
// Parse for the list of issues:
//
//	is:unresolved (level:fatal OR release>=1.2.0) topic:orders -environment:[dev,test] has:user.id "card declined"
//
// Conditions are joined by AND, OR, NOT and parentheses; a condition is a key and a
// value, or a text. Both give typed terms; who stores the rows turns them into questions
// (see IssueQuery, EventFilter and RowQuery of package exporters). Two stores answer for
// issues, so what is kept of an issue and of its events cannot be alternatives of one
// another. At tells what is being written at a place.
package search

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bounds of a query.
const (
	MaxBytes  = 1000
	MaxTerms  = 30
	MaxValues = 50  // of a list
	maxValue  = 200 // bytes
)

// Op compares.
type Op uint8

// Ops. Has asks whether the key has any value.
const (
	Eq Op = iota
	Lt
	Le
	Gt
	Ge
	Has
)

// Side is where a term is answered.
type Side uint8

// Sides.
const (
	OfIssue Side = iota // what is kept of an issue
	OfEvent             // what is kept of each event: one of the issue's must match all such terms
	OfCount             // counts over those events
)

// Kind of a value.
type Kind uint8

// Kinds.
const (
	Text     Kind = iota // * stands for anything; upper and lower case are one
	Word                 // one of the field's Words
	Number               // Value.Number
	Time                 // Value.Number is Unix ns
	Yes                  // true or false: Value.Number is 1 or 0
	Hex                  // Value.Text in lower case, of the field's Digits
	Release              // as Text, and compared as versions; "latest"
	Duration             // Value.Number is ns, signed
)

// Field is what a key means.
type Field struct {
	Name   string
	Side   Side
	Kind   Kind
	Words  []string // of Kind Word
	Digits int      // of Kind Hex
	Does   string   // for people
}

// The fields whose name code asks for.
const (
	FieldIs           = "is"
	FieldMessage      = "message"
	FieldTitle        = "title"
	FieldCulprit      = "culprit"
	FieldLevel        = "level"
	FieldPlatform     = "platform"
	FieldLogger       = "logger"
	FieldCategory     = "category"
	FieldPriority     = "priority"
	FieldAssigned     = "assigned"
	FieldBookmarks    = "bookmarks"
	FieldFirstSeen    = "firstSeen"
	FieldLastSeen     = "lastSeen"
	FieldFirstRelease = "firstRelease"
	FieldIssue        = "issue"

	FieldRelease     = "release"
	FieldEnvironment = "environment"
	FieldTopic       = "topic"
	FieldPartition   = "partition"
	FieldOffset      = "offset"
	FieldGroup       = "group"
	FieldKey         = "key"
	FieldTransaction = "transaction"
	FieldErrorType   = "error.type"
	FieldErrorValue  = "error.value"
	FieldHandled     = "error.handled"
	FieldUserID      = "user.id"
	FieldUserName    = "user.username"
	FieldUserEmail   = "user.email"
	FieldUserIP      = "user.ip"
	FieldTrace       = "trace"
	FieldServer      = "server"
	FieldSDK         = "sdk"
	FieldTag         = "tag" // Term.Tag names it

	FieldTimesSeen = "times_seen"
	FieldUsers     = "users"
)

// Fields are all, in the order in which they are listed.
var Fields = []Field{
	{Name: FieldIs, Kind: Word, Words: []string{"unresolved", "resolved", "archived", "new", "ongoing", "escalating", "regressed", "assigned", "unassigned"}, Does: "where the issue stands"},
	{Name: FieldLevel, Kind: Word, Words: []string{"fatal", "error", "warning", "info", "debug"}, Does: "level of the latest event"},
	{Name: FieldMessage, Kind: Text, Does: "contained in title or culprit, as a text without a key"},
	{Name: FieldTitle, Kind: Text, Does: "title of the issue"},
	{Name: FieldCulprit, Kind: Text, Does: "where it broke"},
	{Name: FieldPlatform, Kind: Text, Does: "platform of the latest event"},
	{Name: FieldLogger, Kind: Text, Does: "logger of the latest event"},
	{Name: FieldCategory, Kind: Text, Does: "error, feedback, monitor …"},
	{Name: FieldPriority, Kind: Word, Words: []string{"high", "medium", "low"}, Does: "priority of the issue"},
	{Name: FieldAssigned, Kind: Text, Does: "whom it is assigned to: a name, me or none"},
	{Name: FieldBookmarks, Kind: Text, Does: "who has a bookmark on it: a name or me"},
	{Name: FieldFirstSeen, Kind: Time, Does: "time of the first event"},
	{Name: FieldLastSeen, Kind: Time, Does: "time of the last event"},
	{Name: FieldFirstRelease, Kind: Release, Does: "release of the first event"},
	{Name: FieldIssue, Kind: Number, Does: "id of the issue"},
	{Name: FieldRelease, Side: OfEvent, Kind: Release, Does: "release of an event: a name, latest, or a version to compare with"},
	{Name: FieldEnvironment, Side: OfEvent, Kind: Text, Does: "environment of an event"},
	{Name: FieldTopic, Side: OfEvent, Kind: Text, Does: "topic of the record that was processed"},
	{Name: FieldPartition, Side: OfEvent, Kind: Number, Does: "its partition"},
	{Name: FieldOffset, Side: OfEvent, Kind: Number, Does: "its offset"},
	{Name: FieldGroup, Side: OfEvent, Kind: Text, Does: "the consumer group that processed it"},
	{Name: FieldKey, Side: OfEvent, Kind: Hex, Digits: 16, Does: "hash of its key, as the record's page shows it"},
	{Name: FieldTransaction, Side: OfEvent, Kind: Text, Does: "transaction of an event"},
	{Name: FieldErrorType, Side: OfEvent, Kind: Text, Does: "type of the exception"},
	{Name: FieldErrorValue, Side: OfEvent, Kind: Text, Does: "its message"},
	{Name: FieldHandled, Side: OfEvent, Kind: Yes, Does: "whether the program caught it"},
	{Name: FieldUserID, Side: OfEvent, Kind: Text, Does: "id of the user"},
	{Name: FieldUserName, Side: OfEvent, Kind: Text, Does: "name of the user"},
	{Name: FieldUserEmail, Side: OfEvent, Kind: Text, Does: "address of the user"},
	{Name: FieldUserIP, Side: OfEvent, Kind: Text, Does: "IP of the user"},
	{Name: FieldTrace, Side: OfEvent, Kind: Hex, Digits: 32, Does: "trace of an event"},
	{Name: FieldServer, Side: OfEvent, Kind: Text, Does: "server that sent it"},
	{Name: FieldSDK, Side: OfEvent, Kind: Text, Does: "SDK that sent it, name/version"},
	{Name: FieldTag, Side: OfEvent, Kind: Text, Does: "any other key, or tags[key]: a tag of an event"},
	{Name: FieldTimesSeen, Side: OfCount, Kind: Number, Does: "how many events"},
	{Name: FieldUsers, Side: OfCount, Kind: Number, Does: "how many users"},
}

// aliases are other spellings, in lower case, and those of Fields.
var aliases = func() map[string]*Field {
	m := make(map[string]*Field)
	for i := range Fields {
		m[strings.ToLower(Fields[i].Name)] = &Fields[i]
	}
	for other, name := range map[string]string{
		"age": FieldFirstSeen, "first_seen": FieldFirstSeen, "last_seen": FieldLastSeen, "first_release": FieldFirstRelease,
		"assignee": FieldAssigned, "bookmark": FieldBookmarks, "issue.category": FieldCategory, "issue.priority": FieldPriority,
		"env": FieldEnvironment, "consumer_group": FieldGroup, "messaging.destination.name": FieldTopic, "error.message": FieldErrorValue, "user.name": FieldUserName,
		"trace_id": FieldTrace, "server_name": FieldServer, "sdk.name": FieldSDK, "timesseen": FieldTimesSeen, "user_count": FieldUsers,
		"issue.id": FieldIssue, "release.version": FieldRelease,
	} {
		m[other] = m[strings.ToLower(name)]
	}
	delete(m, FieldTag)
	return m
}()

// Value is one value of a term.
type Value struct {
	Text    string
	Pattern bool  // Text has a * that stands for anything; see Match
	Number  int64 // by the field's Kind
}

// Term is one condition.
type Term struct {
	Field   *Field
	Tag     string // of FieldTag
	Negated bool
	Op      Op
	Values  []Value // any of them; none for Has, one unless Eq
	Pos     int     // bytes of the query before it
}

// Either is alternatives of one side: one of the terms must hold.
type Either []Term

// Query is what Parse gives: each Either must hold.
type Query []Either

// Of gives what is answered on one side.
func (q Query) Of(s Side) Query {
	var out Query
	for _, e := range q {
		if e[0].Field.Side == s {
			out = append(out, e)
		}
	}
	return out
}

// Holds tells whether something fulfils all of q, by what it says of each term,
// negation left out.
func (q Query) Holds(term func(Term) bool) bool {
	return !slices.ContainsFunc(q, func(e Either) bool {
		return !slices.ContainsFunc(e, func(t Term) bool { return term(t) != t.Negated })
	})
}

// spread brings a query into its form: of alternatives that each say several things,
// one Either for each choice among them. not: the tree does not hold.
func spread(e Tree[Term], not bool) (Query, bool) {
	switch {
	case e.Logic == Not:
		return spread(e.Kids[0], !not)
	case e.Logic == Is:
		e.Term.Negated = e.Term.Negated != not
		return Query{{e.Term}}, true
	case (e.Logic == All) != not:
		var out Query
		for _, k := range e.Kids {
			q, ok := spread(k, not)
			if out = append(out, q...); !ok || out.size() > maxSpread {
				return nil, false
			}
		}
		return out, true
	}
	out := Query{nil}
	for _, k := range e.Kids {
		q, ok := spread(k, not)
		if !ok || len(out)*len(q) > maxSpread {
			return nil, false
		}
		var next Query
		for _, a := range out {
			for _, b := range q {
				next = append(next, slices.Concat(a, b))
			}
		}
		if out = next; out.size() > maxSpread {
			return nil, false
		}
	}
	return out, true
}

// maxSpread bounds the terms of a Query.
const maxSpread = 200

func (q Query) size() (n int) {
	for _, e := range q {
		n += len(e)
	}
	return n
}

// Error says what is wrong with a query, where, and the way out.
type Error struct {
	Pos, End int // bytes of the query
	Message  string
	Hint     string
}

// Error makes it an error.
func (e *Error) Error() string { return fmt.Sprintf("at %d: %s (%s)", e.Pos+1, e.Message, e.Hint) }

type parser struct {
	s   string
	at  int
	now time.Time
}

func (p *parser) errorf(from, to int, hint, format string, args ...any) *Error {
	return &Error{Pos: from, End: min(to, len(p.s)), Message: fmt.Sprintf(format, args...), Hint: hint}
}

// Parse reads a query; now is what relative times are from. The error is an *Error.
func Parse(s string, now time.Time) (Query, error) {
	p := &parser{s: s, now: now}
	tree, err := parseTree(p, p.issueTerm)
	if err != nil {
		return nil, err
	}
	q, ok := spread(tree, false)
	if !ok {
		return nil, p.errorf(0, len(s), "ask twice, or write alternatives as key:[a,b]", "alternatives that each say several things make too many choices")
	}
	for _, e := range q {
		for _, t := range e {
			if a, b := e[0].Field, t.Field; a.Side != b.Side {
				return nil, p.errorf(t.Pos, len(s), "ask twice: "+sideNames[a.Side]+", and "+sideNames[b.Side]+"; beside each other they may stand", "%s and %s cannot be alternatives: two stores answer for them", cmp.Or(e[0].Tag, a.Name), cmp.Or(t.Tag, b.Name))
			}
		}
	}
	return q, nil
}

var sideNames = map[Side]string{OfIssue: "once for what is kept of an issue", OfEvent: "once for what is kept of its events", OfCount: "once for how many they are"}

func space(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// issueTerm reads one condition on an issue.
func (p *parser) issueTerm() (Tree[Term], *Error) {
	t := Term{Pos: p.at}
	quoted := false
	key, op, not, ok := p.tagKey()
	if !ok {
		key, quoted, op, not, ok = p.keyed()
	}
	t.Op, t.Negated = op, not
	var err *Error
	switch {
	case !ok:
		t, err = p.freeText(t)
	case !quoted && strings.EqualFold(key, "has"):
		t, err = p.has(t)
	default:
		t.Field, t.Tag = fieldOf(key)
		if quoted {
			t.Field, t.Tag = &Fields[tagField], key
		}
		if len(key) > maxValue {
			return Tree[Term]{}, p.errorf(t.Pos, p.at, "shorten it", "the key has %d bytes, at most %d", len(key), maxValue)
		}
		if !quoted && strings.EqualFold(key, "error.unhandled") {
			t.Field, t.Tag, t.Negated = aliases[FieldHandled], "", !t.Negated
		}
		t, err = p.values(t, key)
	}
	return Tree[Term]{Logic: Is, Term: t}, err
}

// tagKey reads tags[key] and the sign behind it. It reads nothing when there is none.
func (p *parser) tagKey() (key string, op Op, not, ok bool) {
	from, rest := p.at, p.s[p.at:]
	if len(rest) <= 5 || !strings.EqualFold(rest[:5], "tags[") {
		return "", Eq, false, false
	}
	i := strings.IndexByte(rest, ']')
	if i <= 5 || i > maxValue {
		return "", Eq, false, false
	}
	p.at += i + 1
	if colon := strings.HasPrefix(p.s[p.at:], ":"); colon {
		p.at++
		op, not, _ = p.sign()
		return rest[:i+1], op, not, true
	}
	if op, not, ok = p.sign(); !ok {
		p.at = from
	}
	return rest[:i+1], op, not, ok
}

func fieldOf(key string) (*Field, string) {
	if f := aliases[strings.ToLower(key)]; f != nil {
		return f, ""
	}
	tag := key
	if len(key) > 6 && strings.EqualFold(key[:5], "tags[") {
		tag = key[5 : len(key)-1]
	}
	return &Fields[tagField], tag
}

var tagField = slices.IndexFunc(Fields, func(f Field) bool { return f.Name == FieldTag })

func (p *parser) freeText(t Term) (Term, *Error) {
	from := p.at
	word, quoted, err := p.word(false)
	if err != nil {
		return t, err
	}
	if !quoted && word == "" { // a closing parenthesis is seen before
		return t, p.errorf(from, p.at+1, "put a text in quotes", "%q begins no condition", p.s[from:min(from+1, len(p.s))])
	}
	t.Field = aliases[FieldMessage]
	v, err := p.value(t, word, quoted, from)
	if err != nil {
		return t, err
	}
	t.Values = []Value{v}
	return t, nil
}

func (p *parser) has(t Term) (Term, *Error) {
	if t.Op != Eq {
		return t, p.errorf(t.Pos, p.at, "for example has:release or has:user.id", "has: cannot be compared")
	}
	from := p.at
	word, quoted, err := p.word(false)
	if err != nil {
		return t, err
	}
	if word == "" {
		return t, p.errorf(t.Pos, p.at, "for example has:release or has:user.id", "has: names no key")
	}
	if t.Field, t.Tag = fieldOf(word); quoted {
		t.Field, t.Tag = &Fields[tagField], word
	}
	if t.Field.Side == OfCount || t.Field.Kind == Time || t.Field.Name == FieldIs || t.Field.Name == FieldIssue || t.Field.Name == FieldMessage {
		return t, p.errorf(from, p.at, "has: is for what may be missing, as release, user.id or a tag", "every issue has %s", word)
	}
	t.Op = Has
	return t, nil
}

// values reads what follows the sign.
func (p *parser) values(t Term, key string) (Term, *Error) {
	from := p.at
	if t.Op != Eq && t.Field.Kind != Number && t.Field.Kind != Time && t.Field.Kind != Release {
		return t, p.errorf(t.Pos, p.at, "compare numbers, times and releases only; write "+key+":value", "%s cannot be compared", key)
	}
	if p.at < len(p.s) && p.s[p.at] == '[' {
		if t.Op != Eq {
			return t, p.errorf(from, p.at+1, "compare with one value", "a list cannot be compared")
		}
		p.at++
		for {
			for p.at < len(p.s) && space(p.s[p.at]) {
				p.at++
			}
			begin := p.at
			word, quoted, err := p.word(true)
			if err != nil {
				return t, err
			}
			if len(t.Values) == MaxValues {
				return t, p.errorf(begin, p.at, "shorten it", "the list has more than %d values", MaxValues)
			}
			v, err := p.value(t, word, quoted, begin)
			if err != nil {
				return t, err
			}
			t.Values = append(t.Values, v)
			for p.at < len(p.s) && space(p.s[p.at]) {
				p.at++
			}
			if p.at == len(p.s) {
				return t, p.errorf(from, p.at, "close it with ]", "the list of %s has no end", key)
			}
			end := p.s[p.at] == ']'
			if !end && p.s[p.at] != ',' {
				return t, p.errorf(p.at, p.at+1, "put commas between values, and quotes around a value with spaces", "a comma or ] is missing in the list of %s", key)
			}
			p.at++
			if end {
				break
			}
		}
		if p.at < len(p.s) && !space(p.s[p.at]) {
			return t, p.errorf(p.at, p.at+1, "put a space after ]", "something follows the list of %s", key)
		}
		if t.Field.Kind == Time && len(t.Values) > 0 {
			return t, p.errorf(from, p.at, "compare it, as >2026-11-01", "%s takes no list", key)
		}
		return t, nil
	}
	begin := p.at
	word, quoted, err := p.word(false)
	if err != nil {
		return t, err
	}
	if t.Field.Kind == Time {
		return p.timeTerm(t, key, word, begin)
	}
	v, err := p.value(t, word, quoted, begin)
	if err != nil {
		return t, err
	}
	if t.Op != Eq && v.Pattern {
		return t, p.errorf(begin, p.at, "compare with one version", "%s cannot be compared with a pattern", key)
	}
	t.Values = []Value{v}
	return t, nil
}

// word reads a quoted or a bare word. A bare one ends at a space, at a parenthesis that
// closes none within it, and in a list at a comma or a bracket.
func (p *parser) word(inList bool) (string, bool, *Error) {
	ends := func(c byte) bool { return space(c) || inList && (c == ',' || c == ']') }
	if p.at < len(p.s) && p.s[p.at] == '"' {
		word, err := p.quoted()
		if err != nil {
			return "", true, err
		}
		if p.at < len(p.s) && !ends(p.s[p.at]) && p.s[p.at] != ')' {
			return "", true, p.errorf(p.at, p.at+1, "put a space after the quotes", "something follows the quoted text")
		}
		return word, true, nil
	}
	from, nested, opened := p.at, 0, 0
	for ; p.at < len(p.s) && !ends(p.s[p.at]); p.at++ {
		c := p.s[p.at]
		if c == '(' {
			if nested == 0 {
				opened = p.at
			}
			nested++
		} else if c == ')' {
			if nested == 0 {
				break
			}
			nested--
		}
	}
	if nested > 0 {
		return "", false, p.errorf(opened, p.at, "close it with ), or put the text in quotes", "( within %q is not closed", p.s[from:p.at])
	}
	return p.s[from:p.at], false, nil
}

// quoted reads a text in quotes.
func (p *parser) quoted() (string, *Error) {
	from := p.at
	var b strings.Builder
	for p.at++; p.at < len(p.s); p.at++ {
		switch c := p.s[p.at]; {
		case c == '\\' && p.at+1 < len(p.s) && (p.s[p.at+1] == '"' || p.s[p.at+1] == '\\'):
			p.at++
			b.WriteByte(p.s[p.at])
		case c == '"':
			p.at++
			return b.String(), nil
		default:
			b.WriteByte(c)
		}
	}
	return "", p.errorf(from, p.at, `close it with "; write \" for a quote within`, "the quoted text has no end")
}

// value reads one value by the kind of the field.
func (p *parser) value(t Term, word string, quoted bool, from int) (Value, *Error) {
	name := cmp.Or(t.Tag, t.Field.Name)
	if word == "" && !quoted {
		return Value{}, p.errorf(t.Pos, p.at, `write "" for an empty value, has: for any`, "%s has no value", name)
	}
	if len(word) > maxValue {
		return Value{}, p.errorf(from, p.at, "shorten it, or use *", "the value of %s has %d bytes, at most %d", name, len(word), maxValue)
	}
	v := Value{Text: word}
	bad := func(want string) (Value, *Error) {
		return Value{}, p.errorf(from, p.at, "allowed: "+want, "%s cannot be %q", name, word)
	}
	switch t.Field.Kind {
	case Text, Release:
		v.Pattern = !quoted && strings.Contains(word, "*")
	case Word:
		v.Text = strings.ToLower(word)
		switch {
		case t.Field.Name == FieldIs && v.Text == "ignored":
			v.Text = "archived"
		case t.Field.Name == FieldLevel && v.Text == "warn":
			v.Text = "warning"
		}
		if !slices.Contains(t.Field.Words, v.Text) {
			return bad(strings.Join(t.Field.Words, ", "))
		}
	case Number:
		n, ok := number(word)
		if !ok {
			return bad("a whole number, as 100, 10k or 2m")
		}
		v.Number = n
	case Yes:
		switch strings.ToLower(word) {
		case "true", "yes", "1":
			v.Number = 1
		case "false", "no", "0":
		default:
			return bad("true or false")
		}
	case Hex:
		v.Text = strings.ToLower(strings.TrimPrefix(word, "#"))
		if strings.Trim(v.Text, "0123456789abcdef") != "" || len(v.Text) != t.Field.Digits {
			return bad(strconv.Itoa(t.Field.Digits) + " hex digits")
		}
	case Time:
		return bad("a comparison, as >2026-11-01")
	}
	return v, nil
}

// number reads a whole number with an optional k, m or b.
func number(s string) (int64, bool) {
	factor := int64(1)
	if n := len(s); n > 1 {
		switch s[n-1] | 0x20 {
		case 'k':
			factor = 1e3
		case 'm':
			factor = 1e6
		case 'b':
			factor = 1e9
		}
		if factor > 1 {
			s = s[:n-1]
		}
	}
	v, err := strconv.ParseInt(s, 10, 64)
	if err != nil || v < 0 || v > math.MaxInt64/factor {
		return 0, false
	}
	return v * factor, true
}

const wantTime = "-24h (within), +7d (before that), >2026-11-01, <2026-11-01T12:00:00Z"

// timeTerm reads firstSeen:-24h and lastSeen:>2026-11-01. The age of an issue is
// written like its first time: age:-24h, and age:>24h is older than a day.
func (p *parser) timeTerm(t Term, key, word string, from int) (Term, *Error) {
	bad := func() (Term, *Error) {
		return t, p.errorf(from, p.at, "allowed: "+wantTime, "%s cannot be %q", key, word)
	}
	relative := func(s string) (int64, bool) {
		d, ok := duration(s)
		return p.now.Add(-d).UnixNano(), ok
	}
	switch {
	case t.Op == Eq && strings.HasPrefix(word, "-"):
		at, ok := relative(word[1:])
		if !ok {
			return bad()
		}
		t.Op, t.Values = Ge, []Value{{Text: word, Number: at}}
		return t, nil
	case t.Op == Eq && strings.HasPrefix(word, "+"):
		at, ok := relative(word[1:])
		if !ok {
			return bad()
		}
		t.Op, t.Values = Lt, []Value{{Text: word, Number: at}}
		return t, nil
	case t.Op == Eq:
		return bad()
	}
	if at, ok := relative(word); ok {
		// More time ago is earlier.
		t.Op = map[Op]Op{Lt: Gt, Le: Ge, Gt: Lt, Ge: Le}[t.Op]
		t.Values = []Value{{Text: word, Number: at}}
		return t, nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02"} {
		if at, err := time.Parse(layout, word); err == nil && at.Year() >= 1970 && at.Year() < 2262 {
			t.Values = []Value{{Text: word, Number: at.UnixNano()}}
			return t, nil
		}
	}
	return bad()
}

// duration reads 30s, 15m, 24h, 7d, 2w.
func duration(s string) (time.Duration, bool) {
	if len(s) < 2 {
		return 0, false
	}
	unit, ok := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour}[s[len(s)-1]]
	n, err := strconv.ParseUint(s[:len(s)-1], 10, 32)
	if !ok || err != nil || time.Duration(n) > 100*365*24*time.Hour/unit { //nolint:gosec // 32 bits
		return 0, false
	}
	return time.Duration(n) * unit, true //nolint:gosec // checked
}

// Match tells whether v matches s, without regard to case.
func (v Value) Match(s string) bool {
	if !v.Pattern {
		return strings.EqualFold(v.Text, s)
	}
	return matchPattern(strings.ToLower(v.Text), strings.ToLower(s))
}

// matchPattern tells whether a pattern, in which * is any text, is the whole of s.
func matchPattern(pattern, s string) bool {
	parts := strings.Split(pattern, "*")
	first, last := parts[0], parts[len(parts)-1]
	if !strings.HasPrefix(s, first) {
		return false
	}
	s = s[len(first):]
	for _, part := range parts[1 : len(parts)-1] {
		i := strings.Index(s, part)
		if i < 0 {
			return false
		}
		s = s[i+len(part):]
	}
	return strings.HasSuffix(s, last)
}

// Like is the pattern in the form of SQL's LIKE, with \ as its escape.
func (v Value) Like() string {
	s := likeEscaper.Replace(strings.ToLower(v.Text))
	if v.Pattern {
		s = strings.ReplaceAll(s, "*", "%")
	}
	return s
}

var likeEscaper = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

// Compare tells whether a number holds against the term, negation left out.
func (t Term) Compare(n int64) bool {
	for _, v := range t.Values {
		switch {
		case t.Op == Eq && n == v.Number, t.Op == Lt && n < v.Number, t.Op == Le && n <= v.Number, t.Op == Gt && n > v.Number, t.Op == Ge && n >= v.Number:
			return true
		}
	}
	return false
}
