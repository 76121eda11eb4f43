package policy

import (
	"bytes"
	"encoding/binary"

	"github.com/hoptrace/hoptrace/schemas"
)

// message says which fields of a protobuf message lead to attributes.
type message struct {
	fields map[uint64]*message
	kind   messageKind
}

type messageKind uint8

const (
	isMessage  messageKind = iota
	isKeyValue             // key 1, value 2
	isAnyValue             // string 1, array 5, list of pairs 6
)

// The messages of OTLP 1.x that hold attributes.
var (
	anyValue  = &message{kind: isAnyValue}
	attribute = &message{kind: isKeyValue}
	under     = func(field uint64, m *message) *message { return &message{fields: map[uint64]*message{field: m}} }
	ofTraces  = exported(&message{fields: map[uint64]*message{9: attribute, 11: under(3, attribute), 13: under(4, attribute)}})
	ofLogs    = exported(&message{fields: map[uint64]*message{5: anyValue, 6: attribute}})
	ofMetrics = exported(&message{fields: map[uint64]*message{
		5: under(1, under(7, attribute)), 7: under(1, under(7, attribute)), // gauge, sum
		9: under(1, under(9, attribute)), 10: under(1, under(1, attribute)), 11: under(1, under(7, attribute)), // histograms, summary
	}})
)

// exported is a request: resources, scopes and, below them, what is exported.
func exported(item *message) *message {
	return under(1, &message{fields: map[uint64]*message{
		1: under(1, attribute),
		2: {fields: map[uint64]*message{1: under(3, attribute), 2: item}},
	}})
}

// ScrubOTLP gives an OTLP request (protobuf) without what the sender's project
// wants out of attributes and of the bodies of logs; kind is span, log or
// trace_metric, as in Item. The texts of exceptions become events, and are scrubbed as
// those of other events are; all else only where the project asks for it. It is data
// itself when there is nothing to change, or data is broken.
func (p *Policy) ScrubOTLP(from *Sender, kind string, data []byte) []byte {
	settings := from.Project.Settings
	if settings == nil {
		return data
	}
	all := settings.Scrubbing.OTLP
	if !all && (kind == "trace_metric" || !bytes.Contains(data, exceptionKey)) {
		return data
	}
	c := p.of(&from.Project)
	root := map[string]*message{"span": ofTraces, "log": ofLogs, "trace_metric": ofMetrics}[kind]
	if c.scrubber == nil || root == nil {
		return data
	}
	w := passes.Get().(*pass)
	w.begin(c.scrubber, nil, maxGrowth)
	w.onlyErrors = !all
	out, changed, ok := w.message(data, root, place{})
	w.end()
	if !ok || !changed {
		return data
	}
	return out
}

var exceptionKey = []byte("exception.")

// ofException tells the attributes that hold the text of an exception.
func ofException(key []byte) bool {
	return string(key) == "exception.message" || string(key) == "exception.stacktrace"
}

// message rewrites one message. Without a change out is nil. ok is false when it
// is broken.
func (p *pass) message(b []byte, m *message, in place) (out []byte, changed, ok bool) {
	if p.depth++; p.depth > maxDepth {
		return nil, false, false
	}
	copied := 0
	key := []byte(nil)
	if m.kind == isKeyValue {
		// The key may stand behind the value.
		for i := 0; i < len(b); {
			number, wire, from, to := nextField(b, i)
			if to < 0 {
				return nil, false, false
			}
			if number == 1 && wire == 2 {
				key = b[from:to]
			}
			i = to
		}
		if p.onlyErrors && !p.inError && ofException(key) {
			p.inError = true
			defer func() { p.inError = false }()
		}
		p.path = append(p.path, step{key: key})
		in = p.below(in, key)
	}
	for i := 0; i < len(b); {
		number, wire, from, to := nextField(b, i)
		if to < 0 {
			return nil, false, false
		}
		var new []byte
		hit := false
		if child, text := m.child(number); wire == 2 && (child != nil || text) {
			if text {
				if !p.onlyErrors || p.inError {
					new, hit = p.plain(b[from:to], in)
				}
			} else if new, hit, ok = p.message(b[from:to], child, in); !ok {
				return nil, false, false
			}
		}
		if hit {
			out = append(out, b[copied:i]...)
			out = binary.AppendUvarint(out, number<<3|2)
			out = binary.AppendUvarint(out, uint64(len(new)))
			out = append(out, new...)
			copied, changed = to, true
		}
		i = to
	}
	if m.kind == isKeyValue {
		p.path = p.path[:len(p.path)-1]
	}
	p.depth--
	if !changed {
		return nil, false, true
	}
	return append(out, b[copied:]...), true, true
}

// child gives what a field is: a message to go into, or a text.
func (m *message) child(number uint64) (child *message, text bool) {
	switch m.kind {
	case isKeyValue:
		if number == 2 {
			return anyValue, false
		}
		return nil, false
	case isAnyValue:
		switch number {
		case 1:
			return nil, true
		case 5: // ArrayValue: values 1
			return arrayValue, false
		case 6: // KeyValueList: values 1
			return pairList, false
		}
		return nil, false
	}
	return m.fields[number], false
}

var (
	arrayValue = &message{fields: map[uint64]*message{}}
	pairList   = &message{fields: map[uint64]*message{}}
)

func init() { // they hold themselves
	arrayValue.fields[1] = anyValue
	pairList.fields[1] = attribute
}

// nextField reads the field at i: its payload is b[from:to], and to is where the
// next one begins; -1 when it is broken.
func nextField(b []byte, i int) (number, wire uint64, from, to int) {
	tag, n := binary.Uvarint(b[i:])
	if n <= 0 {
		return 0, 0, 0, -1
	}
	i += n
	number, wire = tag>>3, tag&7
	switch wire {
	case 0:
		if _, n = binary.Uvarint(b[i:]); n <= 0 {
			return 0, 0, 0, -1
		}
		return number, wire, i, i + n
	case 1, 5:
		size := 8
		if wire == 5 {
			size = 4
		}
		if len(b)-i < size {
			return 0, 0, 0, -1
		}
		return number, wire, i, i + size
	case 2:
		size, n := binary.Uvarint(b[i:])
		if n <= 0 || size > uint64(len(b)-i-n) { //nolint:gosec // not negative
			return 0, 0, 0, -1
		}
		return number, wire, i + n, i + n + int(size) //nolint:gosec // bounded above
	}
	return 0, 0, 0, -1
}

// plain scrubs a text that is no JSON. The result is the caller's.
func (p *pass) plain(text []byte, in place) ([]byte, bool) {
	if in.verdict&isSafe != 0 || len(text) == 0 {
		return nil, false
	}
	if in.rule != nil {
		if string(text) == filtered {
			return nil, false
		}
		new, _ := p.instead(nil, text, in.rule)
		return new, in.rule.method == schemas.ScrubRemove || string(new) != string(text)
	}
	classes := classesOf(text)
	for _, c := range text {
		if c == '"' {
			classes |= hasEscape // what finds JSON in a text asks for it
			break
		}
	}
	if p.hits = p.find(text, classes, in, p.hits[:0]); len(p.hits) == 0 {
		return nil, false
	}
	if len(p.build(text)) == 0 {
		return nil, false
	}
	return append([]byte(nil), p.built...), true
}
