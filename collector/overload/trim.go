package overload

import "github.com/hoptrace/hoptrace/schemas"

// maxTrimmed bounds what a repeat carries; an event that has more in these fields
// is handed on whole.
const maxTrimmed = 8 << 10

// Trim makes the repeat of an event: what is its own (when, where, whose, which
// Kafka record), without what it shares with the event of (exceptions, breadcrumbs,
// requests …). ok is false when it would not be small.
func Trim(payload []byte, of schemas.EventID) (_ []byte, ok bool) {
	out := append(make([]byte, 0, 1024), `{"repeat_of":"`...)
	out = append(out, of.String()...)
	out = append(out, '"')
	s := scanner{b: payload}
	member := func(key []byte) bool {
		s.space()
		from := s.i
		if !s.skip() {
			return false
		}
		out = append(append(append(out, ',', '"'), key...), '"', ':')
		out = append(out, s.b[from:s.i]...)
		return len(out) <= maxTrimmed
	}
	whole := s.object(func(key []byte) bool {
		switch string(key) {
		case "event_id", "timestamp", "level", "platform", "release", "dist", "environment", "server_name", "transaction", "logger", "user", "tags", "sdk":
			return member(key)
		case "contexts":
			if s.peek() != '{' {
				return s.skip()
			}
			out = append(out, `,"contexts":{"repeat":{}`...)
			ok := s.object(func(key []byte) bool {
				switch string(key) {
				case "trace", "kafka":
					return member(key)
				}
				return s.skip()
			})
			out = append(out, '}')
			return ok
		}
		return s.skip()
	})
	return append(out, '}'), whole && len(out) < maxTrimmed
}
