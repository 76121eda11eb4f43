package search

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Subject is what a query over rows asks for.
type Subject string

// Subjects.
const (
	Spans Subject = "spans"
	Hops  Subject = "hops"
	Logs  Subject = "logs"
)

// Bounds of a query over rows, beside MaxBytes and MaxTerms.
const (
	MaxDepth     = 10 // parentheses and negations within each other
	MaxWildcards = 20 // in all values together
)

// RowField is a field of rows. An attribute has none.
type RowField struct {
	Name   string
	Kind   Kind
	Words  []string // of Kind Word
	Digits int      // of Kind Hex
	Always bool     // every row has it, so has: of it is refused
	Sort   bool     // rows can be sorted by it
	Part   bool     // a stretch of a hop's time
	Does   string   // for people
}

// Names of the fields of rows that code asks for, beside those of issues.
const (
	RowService   = "service"
	RowName      = "name"
	RowTime      = "time" // to sort by only: the range selects by it
	RowDuration  = "duration"
	RowStatus    = "status"
	RowSaid      = "status.message"
	RowKind      = "kind"
	RowSpan      = "span"
	RowParent    = "parent"
	RowScope     = "scope"
	RowRoot      = "root"
	RowProducer  = "producer"
	RowClient    = "client"
	RowSize      = "size"
	RowBehind    = "behind"
	RowAttempts  = "attempts"
	RowAttempt   = "attempt"
	RowAge       = "age"
	RowResidence = "residence"
	RowEndToEnd  = "end_to_end"
	RowSeverity  = "severity"
	RowOrigin    = "origin"
)

// spanKinds are in OTLP's order, from 1; statuses from 0.
var (
	SpanKinds    = []string{"internal", "server", "client", "producer", "consumer"}
	SpanStatuses = []string{"unset", "ok", "error"}
)

var recordFields = []RowField{
	{Name: FieldTopic, Kind: Text, Does: "topic of the record"},
	{Name: FieldPartition, Kind: Number, Does: "its partition"},
	{Name: FieldOffset, Kind: Number, Does: "its offset"},
	{Name: FieldGroup, Kind: Text, Does: "the consumer group that read it"},
	{Name: FieldKey, Kind: Hex, Digits: 16, Does: "hash of its key, as the record's page shows it"},
}

// rowFields are the fields of each subject, in the order in which they are listed.
var rowFields = map[Subject][]RowField{
	Spans: append([]RowField{
		{Name: RowService, Kind: Text, Always: true, Does: "the service that sent the span"},
		{Name: RowName, Kind: Text, Always: true, Does: "name of the span"},
		{Name: RowDuration, Kind: Duration, Always: true, Sort: true, Does: "first to last moment of the span"},
		{Name: RowStatus, Kind: Word, Words: SpanStatuses, Always: true, Does: "how it ended"},
		{Name: RowSaid, Kind: Text, Does: "what was said of the error"},
		{Name: RowKind, Kind: Word, Words: SpanKinds, Always: true, Does: "kind of the span"},
		{Name: FieldTrace, Kind: Hex, Digits: 32, Always: true, Does: "id of the trace"},
		{Name: RowSpan, Kind: Hex, Digits: 16, Always: true, Does: "id of the span"},
		{Name: RowParent, Kind: Hex, Digits: 16, Does: "id of the span above it"},
		{Name: RowRoot, Kind: Yes, Always: true, Does: "whether it has no parent"},
		{Name: RowScope, Kind: Text, Does: "the library that made it"},
	}, recordFields...),
	Hops: append(slices.Clone(recordFields), []RowField{
		{Name: RowService, Kind: Text, Always: true, Does: "the service that read the record"},
		{Name: RowProducer, Kind: Text, Does: "the service that sent it"},
		{Name: RowClient, Kind: Text, Does: "client id of the reader"},
		{Name: FieldRelease, Kind: Text, Does: "release of the reader"},
		{Name: RowStatus, Kind: Word, Words: []string{"ok", "error"}, Always: true, Does: "whether its processing failed"},
		{Name: FieldTrace, Kind: Hex, Digits: 32, Always: true, Does: "trace of the reader's span"},
		{Name: RowSpan, Kind: Hex, Digits: 16, Always: true, Does: "the reader's span"},
		{Name: RowAge, Kind: Duration, Sort: true, Does: "the record's timestamp to its handing over, by two clocks"},
		{Name: "batch_queue", Kind: Duration, Sort: true, Part: true, Does: "send called to request written"},
		{Name: "retry", Kind: Duration, Sort: true, Part: true, Does: "first to last time the request was written"},
		{Name: "ack", Kind: Duration, Sort: true, Part: true, Does: "request written to record appended"},
		{Name: RowResidence, Kind: Duration, Sort: true, Part: true, Does: "appended to fetched: backlog and long poll"},
		{Name: "backlog", Kind: Duration, Sort: true, Part: true, Does: "appended to asked for: the group was behind"},
		{Name: "long_poll", Kind: Duration, Sort: true, Part: true, Does: "asked for to answered: the group was waiting"},
		{Name: "fetch_queue", Kind: Duration, Sort: true, Part: true, Does: "fetched to handed over"},
		{Name: "processing", Kind: Duration, Sort: true, Part: true, Does: "handed over to done"},
		{Name: RowEndToEnd, Kind: Duration, Sort: true, Part: true, Does: "send called to done"},
		{Name: RowSize, Kind: Number, Sort: true, Does: "bytes of the record's value"},
		{Name: RowBehind, Kind: Number, Sort: true, Does: "records behind it in the log when it was fetched"},
		{Name: RowAttempt, Kind: Number, Does: "how often it was sent on after a failure"},
		{Name: RowAttempts, Kind: Number, Does: "how often its request was written"},
	}...),
	Logs: {
		{Name: RowService, Kind: Text, Always: true, Does: "the service that sent it"},
		{Name: FieldLevel, Kind: Word, Words: []string{"trace", "debug", "info", "warn", "error", "fatal"}, Always: true, Does: "its level"},
		{Name: RowSeverity, Kind: Number, Does: "its severity, 1 to 24"},
		{Name: FieldMessage, Kind: Text, Always: true, Does: "contained in what it says, as a text without a key"},
		{Name: FieldTrace, Kind: Hex, Digits: 32, Does: "its trace"},
		{Name: RowSpan, Kind: Hex, Digits: 16, Does: "its span"},
		{Name: RowScope, Kind: Text, Does: "the logger that made it"},
		{Name: RowOrigin, Kind: Word, Words: []string{"otel", "sentry"}, Always: true, Does: "by whose protocol it came"},
	},
}

var rowAliases = map[string]string{
	"consumer_group": FieldGroup, "e2e": RowEndToEnd, "queue": "batch_queue", "trace_id": FieldTrace, "span_id": RowSpan, "parent_id": RowParent, "error": RowSaid,
}

// RowFields are the fields of a subject. The caller must not change them.
func RowFields(s Subject) []RowField { return rowFields[s] }

// Unmeasured asks for what a query over hops leaves out because one of their parts is
// unknown: the part, and the question as text and read. part is nil when the query asks
// for none, or among alternatives, where nothing is left out for sure.
func Unmeasured(query string) (part *RowField, q string, where Expr) {
	e, err := ParseRows(Hops, query)
	if err != nil {
		return nil, "", Expr{}
	}
	at := 0
	for _, t := range conjuncts(e) {
		if t.Field != nil && t.Field.Part && t.Op != Has && (part == nil || part == t.Field) {
			part = t.Field
			q, at = q+query[at:t.Pos]+"-has:"+part.Name, t.End
		}
	}
	if part == nil {
		return nil, "", Expr{}
	}
	q += query[at:]
	if where, err = ParseRows(Hops, q); err != nil { // too long by now
		return nil, "", Expr{}
	}
	return part, q, where
}

// conjuncts are the terms that must hold whatever else does.
func conjuncts(e Expr) (out []RowTerm) {
	switch e.Logic {
	case Is:
		return []RowTerm{e.Term}
	case All:
		for _, k := range e.Kids {
			out = append(out, conjuncts(k)...)
		}
	}
	return out
}

// FieldOf finds a field of a subject by its name or another spelling; nil: there is none.
func FieldOf(s Subject, name string) *RowField {
	name = strings.ToLower(name)
	for _, n := range []string{name, rowAliases[name]} {
		for i := range rowFields[s] {
			if f := &rowFields[s][i]; n != "" && f.Name == n {
				return f
			}
		}
	}
	return nil
}

// ResourcePrefix begins the key of an attribute of the resource.
const ResourcePrefix = "resource."

// RowTerm is one condition on a row. With neither Field nor Key it is a text
// that the row contains, without regard to case; every other value keeps its case.
type RowTerm struct {
	Field    *RowField
	Key      string // of an attribute
	Resource bool   // the attribute is the resource's
	Op       Op
	Values   []Value // any of them; none for Has, one unless Eq
	Pos, End int     // bytes of the query
}

// Expr is a query over rows.
type Expr = Tree[RowTerm]

type rowParser struct {
	parser
	subject   Subject
	wildcards int
}

// ParseRows reads a query over rows. The error is an *Error.
//
//	service:payments (duration>250ms OR status:error) -name:commit* http.route:/orders has:order.id "card declined"
func ParseRows(subject Subject, s string) (Expr, error) {
	p := &rowParser{parser: parser{s: s}, subject: subject}
	return parseTree(&p.parser, p.rowTerm)
}

// signs are the comparisons, longer ones first.
var signs = []struct {
	sign string
	op   Op
	not  bool
}{{">=", Ge, false}, {"<=", Le, false}, {"!=", Eq, true}, {">", Gt, false}, {"<", Lt, false}, {"=", Eq, false}}

func (p *parser) sign() (op Op, not, ok bool) {
	for _, s := range signs {
		if strings.HasPrefix(p.s[p.at:], s.sign) {
			p.at += len(s.sign)
			return s.op, s.not, true
		}
	}
	return Eq, false, false
}

func (p *rowParser) rowTerm() (Expr, *Error) {
	t := RowTerm{Pos: p.at}
	key, quoted, op, not, ok := p.keyed()
	if !ok {
		return p.rowText(t)
	}
	t.Op = op
	var err *Error
	if !quoted && strings.EqualFold(key, "has") {
		err = p.rowHas(&t)
	} else if err = p.name(&t, key, quoted, t.Pos); err == nil {
		err = p.rowValues(&t, key)
	}
	if err != nil {
		return Expr{}, err
	}
	t.End = p.at
	e := Expr{Logic: Is, Term: t}
	if not {
		e = Expr{Logic: Not, Kids: []Expr{e}}
	}
	return e, nil
}

// keyed reads the key and its sign. It reads nothing when there is none.
func (p *parser) keyed() (key string, quoted bool, op Op, not, ok bool) {
	from := p.at
	if p.s[p.at] == '"' {
		key, _ = p.quoted() // an unclosed one is found when it is read as a text
		quoted = true
	} else {
		for p.at < len(p.s) && keyByte(p.s[p.at], p.at > from) {
			p.at++
		}
		key = p.s[from:p.at]
	}
	rest := p.s[p.at:]
	switch {
	case key == "" || rest == "":
	case rest[0] == ':' && (quoted || !strings.HasPrefix(rest, "://") && !strings.HasPrefix(rest, "::")):
		p.at++
		op, not, _ = p.sign()
		return key, quoted, op, not, true
	default:
		// A space may stand before and behind a comparison.
		p.skip()
		if op, not, ok = p.sign(); ok {
			p.skip()
			return key, quoted, op, not, true
		}
	}
	p.at = from
	return "", false, Eq, false, false
}

func keyByte(c byte, later bool) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c >= 0x80 || later && (c >= '0' && c <= '9' || c == '.' || c == '-' || c == '/' || c == '@' || c == '$')
}

// name says what a key means.
func (p *rowParser) name(t *RowTerm, key string, quoted bool, from int) *Error {
	if len(key) > maxValue {
		return p.errorf(from, p.at, "shorten it", "the key has %d bytes, at most %d", len(key), maxValue)
	}
	if !quoted {
		if t.Field = FieldOf(p.subject, key); t.Field != nil {
			return nil
		}
		for _, other := range []Subject{Hops, Spans} {
			if f := FieldOf(other, key); f != nil && p.subject != Logs && strings.EqualFold(f.Name, key) {
				return p.errorf(from, from+len(key), `search `+string(other)+`, or write "`+key+`" in quotes for an attribute of that name`, "%s is a field of %s, and this searches %s", key, other, p.subject)
			}
		}
	}
	t.Key = key
	if rest, ok := strings.CutPrefix(key, ResourcePrefix); ok && rest != "" {
		t.Key, t.Resource = rest, true
	}
	return nil
}

func (p *rowParser) rowHas(t *RowTerm) *Error {
	from := p.at
	if t.Op != Eq {
		return p.errorf(t.Pos, p.at, "for example has:order.id", "has: cannot be compared")
	}
	word, quoted, err := p.word(false)
	if err != nil {
		return err
	}
	if word == "" {
		return p.errorf(t.Pos, p.at, "for example has:order.id", "has: names no key")
	}
	if err := p.name(t, word, quoted, from); err != nil {
		return err
	}
	if t.Field != nil && t.Field.Always {
		return p.errorf(from, p.at, "has: is for what may be missing, as an attribute or a part", "every row has %s", word)
	}
	t.Op = Has
	return nil
}

func (p *rowParser) rowText(t RowTerm) (Expr, *Error) {
	from := p.at
	word, quoted, err := p.word(false)
	if err != nil {
		return Expr{}, err
	}
	if !quoted && word == "" { // a closing parenthesis is seen before
		return Expr{}, p.errorf(from, p.at+1, "put a text in quotes", "%q begins no condition", p.s[from:min(from+1, len(p.s))])
	}
	v, err := p.rowValue(&t, "a text", word, quoted, from)
	if err != nil {
		return Expr{}, err
	}
	t.Values, t.End = []Value{v}, p.at
	return Expr{Logic: Is, Term: t}, nil
}

func (p *rowParser) rowValues(t *RowTerm, key string) *Error {
	if t.Op != Eq && t.Field != nil && t.Field.Kind != Number && t.Field.Kind != Duration {
		return p.errorf(t.Pos, p.at, "compare numbers and durations only; write "+key+":value", "%s cannot be compared", key)
	}
	if p.at < len(p.s) && p.s[p.at] == '[' {
		return p.rowList(t, key)
	}
	from := p.at
	word, quoted, err := p.word(false)
	if err != nil {
		return err
	}
	v, err := p.rowValue(t, key, word, quoted, from)
	if err != nil {
		return err
	}
	t.Values = []Value{v}
	return nil
}

func (p *rowParser) rowList(t *RowTerm, key string) *Error {
	from := p.at
	if t.Op != Eq {
		return p.errorf(from, p.at+1, "compare with one value", "a list cannot be compared")
	}
	p.at++
	for {
		p.skip()
		begin := p.at
		word, quoted, err := p.word(true)
		if err != nil {
			return err
		}
		if len(t.Values) == MaxValues {
			return p.errorf(begin, p.at, "shorten it", "the list has more than %d values", MaxValues)
		}
		v, err := p.rowValue(t, key, word, quoted, begin)
		if err != nil {
			return err
		}
		t.Values = append(t.Values, v)
		p.skip()
		if p.at == len(p.s) {
			return p.errorf(from, p.at, "close it with ]", "the list of %s has no end", key)
		}
		switch p.s[p.at] {
		case ']':
			p.at++
			if p.at < len(p.s) && !space(p.s[p.at]) && p.s[p.at] != ')' {
				return p.errorf(p.at, p.at+1, "put a space after ]", "something follows the list of %s", key)
			}
			return nil
		case ',':
			p.at++
		default:
			return p.errorf(p.at, p.at+1, "put commas between values, and quotes around a value with spaces", "a comma or ] is missing in the list of %s", key)
		}
	}
}

// rowValue reads one value by the kind of the field.
func (p *rowParser) rowValue(t *RowTerm, key, word string, quoted bool, from int) (Value, *Error) {
	to := max(p.at, from)
	if word == "" && !quoted {
		return Value{}, p.errorf(t.Pos, p.at, `write "" for an empty value, has: for any`, "%s has no value", key)
	}
	if len(word) > maxValue {
		return Value{}, p.errorf(from, to, "shorten it, or use *", "the value of %s has %d bytes, at most %d", key, len(word), maxValue)
	}
	v := Value{Text: word}
	wants := func(what, hint string) (Value, *Error) {
		return Value{}, p.errorf(from, to, hint, "%s wants %s, got %q", key, what, word)
	}
	kind := Text
	if t.Field != nil {
		kind = t.Field.Kind
	}
	switch kind {
	case Word:
		v.Text = strings.ToLower(word)
		if !slices.Contains(t.Field.Words, v.Text) {
			return wants("one of "+strings.Join(t.Field.Words, ", "), "for example "+key+":"+t.Field.Words[0])
		}
	case Number:
		n, ok := number(word)
		if !ok {
			return wants("a whole number as 100, 10k or 2m", "for example "+key+">100")
		}
		v.Number = n
	case Duration:
		d, ok := length(word)
		if !ok {
			return wants("a number with a unit as 250ms", "for example "+key+">250ms or "+key+"<=1m30s")
		}
		v.Number = int64(d)
	case Yes:
		switch strings.ToLower(word) {
		case "true", "yes", "1":
			v.Number = 1
		case "false", "no", "0":
		default:
			return wants("true or false", "for example "+key+":true")
		}
	case Hex:
		v.Text = strings.ToLower(strings.TrimPrefix(word, "#"))
		if strings.Trim(v.Text, "0123456789abcdef") != "" || len(v.Text) != t.Field.Digits {
			return wants(strconv.Itoa(t.Field.Digits)+" hex digits", "copy it from a page that shows it")
		}
	default:
		if t.Op != Eq {
			f, err := strconv.ParseFloat(word, 64)
			if err != nil || math.IsInf(f, 0) || math.IsNaN(f) {
				return wants("a number to be compared with", "attributes are compared as numbers: "+key+">=500")
			}
			v.Text = strconv.FormatFloat(f, 'g', -1, 64)
			break
		}
		if v.Pattern = !quoted && strings.Contains(word, "*"); v.Pattern {
			if p.wildcards += strings.Count(word, "*"); p.wildcards > MaxWildcards {
				return Value{}, p.errorf(from, to, "use fewer", "the query has more than %d wildcards", MaxWildcards)
			}
		}
	}
	return v, nil
}

// length reads a duration as time.ParseDuration does, with d and w beside its units.
func length(s string) (time.Duration, bool) {
	if s == "" || strings.ContainsAny(s, "eE") {
		return 0, false
	}
	total, rest := time.Duration(0), s
	negative := rest[0] == '-'
	rest = strings.TrimPrefix(rest, "-")
	for _, u := range []struct {
		unit string
		is   time.Duration
	}{{"w", 7 * 24 * time.Hour}, {"d", 24 * time.Hour}} {
		n, after, found := strings.Cut(rest, u.unit)
		if !found {
			continue
		}
		v, err := strconv.ParseUint(n, 10, 16)
		if err != nil {
			return 0, false
		}
		total, rest = total+time.Duration(v)*u.is, after //nolint:gosec // 16 bits
		if total < 0 || total > 100*366*24*time.Hour {
			return 0, false
		}
	}
	if rest != "" {
		if rest[0] == '-' || rest[0] == '+' {
			return 0, false
		}
		d, err := time.ParseDuration(rest)
		if err != nil || d > math.MaxInt64-total {
			return 0, false
		}
		total += d
	} else if total == 0 && !strings.ContainsAny(s, "dw") {
		return 0, false
	}
	if negative {
		total = -total
	}
	return total, true
}

// PatternLike is the pattern in the form of SQL's LIKE, with \ as its escape and
// its own case.
func (v Value) PatternLike() string {
	return strings.ReplaceAll(likeEscaper.Replace(v.Text), "*", "%")
}

// Matches tells whether v matches s with regard to case.
func (v Value) Matches(s string) bool {
	if !v.Pattern {
		return v.Text == s
	}
	return matchPattern(v.Text, s)
}

// Compare tells whether a number holds against the term.
func (t RowTerm) Compare(n int64) bool {
	return Term{Op: t.Op, Values: t.Values}.Compare(n)
}
