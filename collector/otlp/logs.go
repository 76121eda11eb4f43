package otlp

import "time"

// logShape is a LogRecord of opentelemetry/proto/logs/v1.
var logShape = (&message{name: "LogRecord"}).set(fix64(1)).set(vint(2)).set(text(3)).sub(5, anyValue).sub(6, keyValue).set(vint(7)).
	set(fix32(8)).ident(9, 16).ident(10, 8).set(fix64(11)).set(text(12))

// logParts: a record that is too large loses attributes first, then the end of
// its body.
var logParts = cutting{
	counters: map[uint32]uint32{6: 7},
	texts:    []uint32{3, 12},
	values:   []uint32{5},
	bones:    []uint32{1, 2, 7, 8, 9, 10, 11},
}

// SplitLogs is Split of an ExportLogsServiceRequest.
func SplitLogs(data []byte, maxBytes int, now time.Time) ([]Part, Report, error) {
	return split(Logs, data, maxBytes, now)
}

// examineLog checks one log record. Its ids may be missing, and so may its
// times: it then happened when it was received. An error means that it is no
// well-formed protobuf.
func examineLog(data []byte, latest uint64) (verdict, error) {
	v := verdict{clock: latest}
	var trace, span, name []byte
	var happened, observed uint64
	var minor error
	c := cursor{rest: data}
	for c.next() {
		if c.num >= uint32(len(logShape.fields)) {
			continue
		}
		f := &logShape.fields[c.num]
		if !f.known {
			continue
		}
		if f.typ != c.typ {
			return v, wrongType(c.num, c.typ, f.typ)
		}
		switch c.num {
		case 1:
			happened = c.value
		case 9:
			trace = c.data
		case 10:
			span = c.data
		case 11:
			observed = c.value
		case 12:
			name = c.data
		default:
			if f.in == nil || f.in == keyValue && plainPair(c.data) {
				continue
			}
			if err := check(c.data, f.in, 0); err != nil {
				if err != errTooDeep && err != errBadID { //nolint:errorlint // never wrapped, and this is the hot path
					return v, err
				}
				minor = err
			}
		}
	}
	if c.err != nil {
		return v, c.err
	}
	if v.end = happened; happened == 0 {
		v.end = observed
	}
	switch {
	case len(trace) != 0 && len(trace) != 16:
		v.reason, v.size = BadTraceID, len(trace)
	case len(span) != 0 && len(span) != 8:
		v.reason, v.size = BadSpanID, len(span)
	case minor == errTooDeep: //nolint:errorlint // never wrapped
		v.reason = TooDeep
	case v.end > latest:
		v.reason = InFuture
	case v.end != 0 && v.end < latest-uint64(maxFuture+maxAge):
		v.reason = OldLog
	default:
		v.ok = true
		return v, nil
	}
	v.name = string(name)
	return v, nil
}
