package ingest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/hoptrace/hoptrace/schemas"
)

// Bounds of an event. Of longer lists both ends stay, the middle goes.
const (
	MaxEventBytes  = 4 << 20
	MaxFrames      = 250 // a stack
	MaxExceptions  = 50
	MaxThreads     = 250
	MaxTags        = 200
	MaxFingerprint = 32 // parts of a client's fingerprint
)

// Event is a Sentry event as an SDK sent it. Fields of a wrong type read as
// absent; strings are not cut.
type Event struct {
	EventID     Text           `json:"event_id"`
	Timestamp   Timestamp      `json:"timestamp"`
	Level       Text           `json:"level"`
	Platform    Text           `json:"platform"`
	Logger      Text           `json:"logger"`
	Transaction Text           `json:"transaction"`
	Release     Text           `json:"release"`
	Environment Text           `json:"environment"`
	ServerName  Text           `json:"server_name"`
	Message     Message        `json:"message"`
	LogEntry    Message        `json:"logentry"`
	Exceptions  exceptionList  `json:"exception"`
	Threads     threadList     `json:"threads"`
	Stacktrace  Stacktrace     `json:"stacktrace"`
	Tags        tagList        `json:"tags"`
	Contexts    Contexts       `json:"contexts"`
	SDK         SDK            `json:"sdk"`
	Fingerprint fingerprintSet `json:"fingerprint"`
}

// Exception is one of a chain, the oldest cause first.
type Exception struct {
	Type       Text       `json:"type"`
	Value      Text       `json:"value"`
	Module     Text       `json:"module"`
	Mechanism  Mechanism  `json:"mechanism"`
	Stacktrace Stacktrace `json:"stacktrace"`
}

// Mechanism tells how an exception was caught.
type Mechanism struct {
	Type      Text `json:"type"`
	Synthetic Flag `json:"synthetic"`
}

// Thread is one that ran when the event happened.
type Thread struct {
	Crashed    Flag       `json:"crashed"`
	Current    Flag       `json:"current"`
	Stacktrace Stacktrace `json:"stacktrace"`
}

// Stacktrace holds frames, the outermost caller first.
type Stacktrace struct {
	Frames frameList `json:"frames"`
}

// Frame is one call.
type Frame struct {
	Module   Text `json:"module"`
	Function Text `json:"function"`
	Filename Text `json:"filename"`
	AbsPath  Text `json:"abs_path"`
	Package  Text `json:"package"`
	InApp    Flag `json:"in_app"`
}

// Contexts are those that we read.
type Contexts struct {
	Trace struct {
		TraceID Text `json:"trace_id"`
		SpanID  Text `json:"span_id"`
	} `json:"trace"`
	// Kafka names the record whose processing failed.
	Kafka struct {
		Topic         Text    `json:"topic"`
		Partition     Integer `json:"partition"`
		Offset        Integer `json:"offset"`
		Group         Text    `json:"group"`          // as our integration for sentry-go calls it
		ConsumerGroup Text    `json:"consumer_group"` // as others may
	} `json:"kafka"`
}

// SDK names the program that sent the event.
type SDK struct {
	Name    Text `json:"name"`
	Version Text `json:"version"`
}

// DecodeEvent reads one event's JSON. It fails when the payload is no JSON
// object, or longer than [MaxEventBytes]; what lies inside may be anything.
func DecodeEvent(payload []byte) (*Event, error) {
	if len(payload) > MaxEventBytes {
		return nil, fmt.Errorf("event of %d bytes is longer than %d", len(payload), MaxEventBytes)
	}
	if kind(payload) != '{' {
		return nil, errors.New("event is not a JSON object")
	}
	e := &Event{}
	err := json.Unmarshal(payload, e)
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return nil, fmt.Errorf("event is broken JSON at byte %d: %w", syntax.Offset, err)
	}
	if _, ok := errors.AsType[*json.UnmarshalTypeError](err); err != nil && !ok {
		return nil, fmt.Errorf("event is broken JSON: %w", err)
	}
	return e, nil // a field of a wrong type was passed over
}

// kind is the first byte that is no white space, zero when there is none.
func kind(b []byte) byte {
	for _, c := range b {
		if c != ' ' && c != '\t' && c != '\n' && c != '\r' {
			return c
		}
	}
	return 0
}

// Text is a string; numbers and booleans read as their text, all else as "".
type Text string

// UnmarshalJSON implements [json.Unmarshaler].
func (t *Text) UnmarshalJSON(b []byte) error {
	switch k := kind(b); {
	case k == '"':
		// The decoder has found the end of the string already; most have
		// nothing to take back.
		if bytes.IndexByte(b, '\\') < 0 && utf8.Valid(b) && b[0] == '"' && len(b) >= 2 {
			*t = Text(b[1 : len(b)-1])
			return nil
		}
		var s string
		if json.Unmarshal(b, &s) == nil {
			*t = Text(s)
		}
	case k == 't' || k == 'f' || k == '-' || (k >= '0' && k <= '9'):
		*t = Text(b)
	default:
		*t = ""
	}
	return nil
}

// Flag is a boolean that may be absent.
type Flag struct{ True, Told bool }

// UnmarshalJSON implements [json.Unmarshaler].
func (f *Flag) UnmarshalJSON(b []byte) error {
	switch string(b) {
	case "true":
		*f = Flag{True: true, Told: true}
	case "false":
		*f = Flag{Told: true}
	default:
		*f = Flag{}
	}
	return nil
}

// Integer is a whole number, or its text, that may be absent.
type Integer struct {
	Value int64
	Told  bool
}

// UnmarshalJSON implements [json.Unmarshaler].
func (i *Integer) UnmarshalJSON(b []byte) error {
	var t Text
	_ = t.UnmarshalJSON(b)
	v, err := strconv.ParseInt(string(t), 10, 64)
	*i = Integer{}
	if err == nil {
		*i = Integer{v, true}
	}
	return nil
}

// Timestamp is Unix nanoseconds, zero when absent or unreadable. SDKs write
// seconds as a number, with a fraction or not, or RFC 3339.
type Timestamp int64

// UnmarshalJSON implements [json.Unmarshaler].
func (t *Timestamp) UnmarshalJSON(b []byte) error {
	var text Text
	_ = text.UnmarshalJSON(b)
	*t = Timestamp(parseTime(string(text)))
	return nil
}

func parseTime(s string) int64 {
	if s == "" {
		return 0
	}
	if ns, ok := parseSeconds(s); ok {
		return ns
	}
	for _, layout := range [...]string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999"} {
		if at, err := time.Parse(layout, s); err == nil {
			if y := at.Year(); y < 1970 || y > 2200 {
				return 0
			}
			return at.UnixNano()
		}
	}
	return 0
}

// parseSeconds keeps every digit of the fraction; a float would lose some.
func parseSeconds(s string) (int64, bool) {
	const most = 9_000_000_000 // the year 2255, before int64 of nanoseconds ends
	whole, fraction, _ := strings.Cut(s, ".")
	sec, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || strings.Trim(fraction, "0123456789") != "" { // an exponent
		f, err := strconv.ParseFloat(s, 64)
		if err != nil || !(f > 0 && f < most) {
			return 0, false
		}
		return int64(f * 1e9), true
	}
	if sec < 0 || sec > most {
		return 0, false
	}
	var ns int64
	for i := range 9 {
		ns *= 10
		if i < len(fraction) {
			ns += int64(fraction[i] - '0')
		}
	}
	return sec*1e9 + ns, true
}

// Message is a text, perhaps with the template that it was made from. It comes
// as a string or as an object.
type Message struct {
	Formatted string
	Template  string
}

// UnmarshalJSON implements [json.Unmarshaler].
func (m *Message) UnmarshalJSON(b []byte) error {
	*m = Message{}
	if kind(b) == '{' {
		var o struct {
			Formatted Text `json:"formatted"`
			Message   Text `json:"message"`
		}
		_ = json.Unmarshal(b, &o)
		*m = Message{Formatted: string(o.Formatted), Template: string(o.Message)}
		return nil
	}
	var t Text
	_ = t.UnmarshalJSON(b)
	m.Formatted = string(t)
	return nil
}

type (
	exceptionList  []Exception
	threadList     []Thread
	frameList      []Frame
	tagList        []schemas.Attribute
	fingerprintSet []string
)

func (l *exceptionList) UnmarshalJSON(b []byte) error {
	*l = decodeList[Exception](b, MaxExceptions)
	return nil
}

func (l *threadList) UnmarshalJSON(b []byte) error {
	*l = decodeList[Thread](b, MaxThreads)
	return nil
}

func (l *frameList) UnmarshalJSON(b []byte) error {
	*l = decodeList[Frame](b, MaxFrames)
	return nil
}

func (l *fingerprintSet) UnmarshalJSON(b []byte) error {
	*l = nil
	for _, t := range decodeList[Text](b, MaxFingerprint) {
		*l = append(*l, string(t))
	}
	return nil
}

// UnmarshalJSON reads {"k":"v"}, [["k","v"]] and [{"key":"k","value":"v"}].
func (l *tagList) UnmarshalJSON(b []byte) error {
	*l = nil
	if kind(b) == '{' {
		var m map[string]Text
		_ = json.Unmarshal(b, &m)
		for k, v := range m {
			*l = append(*l, schemas.Attribute{Key: k, Value: string(v)})
		}
		// By key, so that the same ones stay each time.
		sort.Slice(*l, func(i, j int) bool { return (*l)[i].Key < (*l)[j].Key })
		*l = (*l)[:min(len(*l), MaxTags)]
		return nil
	}
	for _, raw := range decodeList[json.RawMessage](b, MaxTags) {
		var a schemas.Attribute
		if kind(raw) == '[' {
			var pair []Text
			if json.Unmarshal(raw, &pair) != nil || len(pair) != 2 {
				continue
			}
			a = schemas.Attribute{Key: string(pair[0]), Value: string(pair[1])}
		} else {
			var o struct{ Key, Value Text }
			if json.Unmarshal(raw, &o) != nil {
				continue
			}
			a = schemas.Attribute{Key: string(o.Key), Value: string(o.Value)}
		}
		if a.Key != "" {
			*l = append(*l, a)
		}
	}
	return nil
}

// decodeList reads [a, b], {"values": [a, b]} or a alone. Elements are decoded
// one by one, so that a wrong one spoils no other and what is beyond most costs
// no more than its text.
func decodeList[T any](b []byte, most int) []T {
	switch kind(b) {
	case '{':
		var o struct {
			Values json.RawMessage `json:"values"`
		}
		_ = json.Unmarshal(b, &o)
		if o.Values == nil {
			var t T
			_ = json.Unmarshal(b, &t)
			return []T{t}
		}
		if b = o.Values; kind(b) != '[' {
			return nil
		}
	case '[':
	case '"':
		var t T
		if json.Unmarshal(b, &t) != nil {
			return nil
		}
		return []T{t}
	default:
		return nil
	}
	var raw []json.RawMessage
	if json.Unmarshal(b, &raw) != nil {
		return nil
	}
	if len(raw) > most {
		raw = append(raw[:most/2], raw[len(raw)-(most-most/2):]...)
	}
	out := make([]T, 0, len(raw))
	for _, r := range raw {
		if kind(r) == 'n' { // null
			continue
		}
		var t T
		_ = json.Unmarshal(r, &t)
		out = append(out, t)
	}
	return out
}
