package overload

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
)

// Kind is the sort of an event: two events of one kind are one issue. Events of
// one issue may be of several kinds; that costs only savings.
type Kind [16]byte

// KindOf reads an event's JSON, which must be sound. What decides about grouping
// goes into the kind: platform, fingerprint, and of each exception its type and its
// frames' modules, files, functions and whether they are the program's own; the
// exception's value only where it has no frame of the program, or when exact is
// set (the project has grouping rules, which may look at it). ok is false for an
// event without exceptions and message, and for JSON that is not sound.
func KindOf(project uint64, payload []byte, exact bool) (_ Kind, ok bool) {
	s := scanner{b: payload, exact: exact}
	var seed [8]byte
	binary.LittleEndian.PutUint64(seed[:], project)
	s.h.Reset()
	_, _ = s.h.Write(seed[:])
	if !s.event() || !s.found {
		return Kind{}, false
	}
	var k Kind
	binary.LittleEndian.PutUint64(k[:], s.h.Sum64())
	_, _ = s.h.Write([]byte{1})
	binary.LittleEndian.PutUint64(k[8:], s.h.Sum64())
	return k, true
}

// scanner walks sound JSON once.
type scanner struct {
	b     []byte
	i     int
	h     xxhash.Digest
	exact bool
	found bool
}

// put adds a labelled value to the kind.
func (s *scanner) put(label byte, value []byte) {
	var head [9]byte
	head[0] = label
	binary.LittleEndian.PutUint64(head[1:], uint64(len(value)))
	_, _ = s.h.Write(head[:])
	_, _ = s.h.Write(value)
}

func (s *scanner) event() bool {
	return s.object(func(key []byte) bool {
		switch string(key) {
		case "platform":
			return s.value('p')
		case "fingerprint":
			return s.value('f')
		case "type":
			return s.value('t')
		case "message", "logentry":
			if s.peek() == '"' || s.peek() == '{' {
				s.found = true
			}
			return s.message()
		case "exception":
			return s.list(s.exception)
		case "threads":
			return s.value('h') // the stack of a message: as it stands
		}
		return s.skip()
	})
}

func (s *scanner) message() bool {
	if s.peek() != '{' {
		return s.value('m')
	}
	template := -1
	from := s.i
	if !s.object(func(key []byte) bool {
		if string(key) == "message" && s.peek() == '"' {
			template = s.i
		}
		return s.skip()
	}) {
		return false
	}
	if template < 0 || s.exact {
		s.put('m', s.b[from:s.i])
		return true
	}
	end := s.i
	s.i = template
	ok := s.value('m')
	s.i = end
	return ok
}

// list calls f for each element of {"values": [...]}, of [...], or for the one.
func (s *scanner) list(f func() bool) bool {
	switch s.peek() {
	case '[':
		return s.array(f)
	case '{':
	default:
		return s.skip()
	}
	from, values := s.i, -1
	if !s.object(func(key []byte) bool {
		if string(key) == "values" && s.peek() == '[' {
			values = s.i
		}
		return s.skip()
	}) {
		return false
	}
	end := s.i
	if s.i = from; values < 0 {
		return f()
	}
	s.i = values
	ok := s.array(f)
	s.i = end
	return ok
}

func (s *scanner) exception() bool {
	if s.peek() != '{' {
		return s.skip()
	}
	s.found = true
	s.put('x', nil)
	own := false
	from, to := 0, 0 // of its value
	if !s.object(func(key []byte) bool {
		switch string(key) {
		case "type":
			return s.value('t')
		case "value":
			from = s.i
			ok := s.skip()
			to = s.i
			return ok
		case "mechanism":
			return s.value('n')
		case "stacktrace":
			if s.peek() != '{' {
				return s.skip()
			}
			return s.object(func(key []byte) bool {
				if string(key) != "frames" || s.peek() != '[' {
					return s.skip()
				}
				return s.array(func() bool { return s.frame(&own) })
			})
		}
		return s.skip()
	}) {
		return false
	}
	if !own || s.exact {
		s.put('v', s.b[from:to])
	}
	return true
}

func (s *scanner) frame(own *bool) bool {
	if s.peek() != '{' {
		return s.skip()
	}
	s.put('F', nil)
	return s.object(func(key []byte) bool {
		switch string(key) {
		case "module":
			return s.value('1')
		case "function":
			return s.value('2')
		case "filename":
			return s.value('3')
		case "context_line":
			return s.value('4')
		case "package":
			return s.value('5')
		case "in_app":
			if s.peek() == 't' {
				*own = true
			}
			return s.value('6')
		case "abs_path":
			if s.exact {
				return s.value('7')
			}
		}
		return s.skip()
	})
}

// value adds the next value as it stands.
func (s *scanner) value(label byte) bool {
	s.space()
	from := s.i
	if !s.skip() {
		return false
	}
	s.put(label, s.b[from:s.i])
	return true
}

func (s *scanner) space() {
	for s.i < len(s.b) && (s.b[s.i] == ' ' || s.b[s.i] == '\n' || s.b[s.i] == '\t' || s.b[s.i] == '\r') {
		s.i++
	}
}

func (s *scanner) peek() byte {
	s.space()
	if s.i >= len(s.b) {
		return 0
	}
	return s.b[s.i]
}

// object calls f for each key with the scanner at its value, which f must pass.
func (s *scanner) object(f func(key []byte) bool) bool {
	if s.peek() != '{' {
		return false
	}
	s.i++
	if s.peek() == '}' {
		s.i++
		return true
	}
	for {
		s.space()
		from := s.i
		if !s.text() {
			return false
		}
		key := s.b[from+1 : s.i-1]
		if s.peek() != ':' {
			return false
		}
		s.i++
		s.space()
		if !f(key) {
			return false
		}
		switch s.peek() {
		case ',':
			s.i++
		case '}':
			s.i++
			return true
		default:
			return false
		}
	}
}

// array calls f at each element, which f must pass.
func (s *scanner) array(f func() bool) bool {
	if s.peek() != '[' {
		return false
	}
	s.i++
	if s.peek() == ']' {
		s.i++
		return true
	}
	for {
		s.space()
		if !f() {
			return false
		}
		switch s.peek() {
		case ',':
			s.i++
		case ']':
			s.i++
			return true
		default:
			return false
		}
	}
}

// text passes a string.
func (s *scanner) text() bool {
	if s.i >= len(s.b) || s.b[s.i] != '"' {
		return false
	}
	for s.i++; s.i < len(s.b); s.i++ {
		switch s.b[s.i] {
		case '\\':
			s.i++
		case '"':
			s.i++
			return true
		}
	}
	return false
}

// skip passes any value without looking into it.
func (s *scanner) skip() bool {
	depth := 0
	for {
		switch c := s.peek(); c {
		case 0:
			return false
		case '"':
			if !s.text() {
				return false
			}
		case '{', '[':
			if depth++; depth > 1<<16 {
				return false
			}
			s.i++
			continue
		case '}', ']':
			if depth == 0 {
				return false
			}
			depth--
			s.i++
		case ',', ':':
			if depth == 0 {
				return false
			}
			s.i++
			continue
		default:
			from := s.i
			for s.i < len(s.b) && !isEnd(s.b[s.i]) {
				s.i++
			}
			if s.i == from {
				return false
			}
		}
		if depth == 0 {
			return true
		}
	}
}

func isEnd(c byte) bool {
	switch c {
	case ',', ':', '}', ']', '{', '[', '"', ' ', '\n', '\t', '\r', 0:
		return true
	}
	return false
}
