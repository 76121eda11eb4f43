// Package find reads what a person types or pastes to look one thing up: a
// record's coordinates, a trace, a span, a message's id, a key. It finds nothing
// itself (see exporters.FindReader).
package find

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/cespare/xxhash/v2"

	"github.com/hoptrace/hoptrace/schemas"
)

// KeyHash is the hash by which the instrumentation tells a record's key, which
// is stored nowhere.
func KeyHash(key string) uint64 { return xxhash.Sum64String(key) }

// Query is what was asked for. Several fields may be set: what was typed can
// mean several things, and each is looked for.
type Query struct {
	Record *schemas.RecordRef
	Trace  *schemas.TraceID
	Span   *schemas.SpanID
	// ID may be a message's id, Conversation one that messages share.
	ID, Conversation string
	// Keys are hashes of a key.
	Keys []uint64
}

// MaxBytes bounds what is typed.
const MaxBytes = 256

// Forms says what Parse reads, for people.
const Forms = `orders/3@918273, a trace id, a span id, a message id, key:3f2a91c04be57d10 (a hash), key:"order 17" (the key), id:…, conversation:…, trace:… or span:…`

// Parse reads the forms that docs/find.md lists. An error says what is wrong and
// which forms there are.
func Parse(s string) (Query, error) {
	s = strings.TrimFunc(s, unicode.IsSpace)
	switch {
	case s == "":
		return Query{}, fmt.Errorf("nothing is looked for; it takes %s", Forms)
	case len(s) > MaxBytes:
		return Query{}, fmt.Errorf("what is looked for has %d bytes, at most %d", len(s), MaxBytes)
	case !utf8.ValidString(s):
		return Query{}, fmt.Errorf("what is looked for is not UTF-8")
	}
	if kind, value, ok := strings.Cut(s, ":"); ok {
		if q, known, err := prefixed(strings.ToLower(kind), strings.TrimSpace(value)); known {
			return q, err
		}
	}
	if ref, ok := record(s); ok {
		q := Query{Record: &ref}
		if s == ref.Topic+"-"+strconv.Itoa(int(ref.Partition))+"@"+strconv.FormatInt(ref.Offset, 10) {
			q.ID = s // topic-3@918273 is also how Sentry's integration names it
		}
		return q, nil
	}
	if trace, span, ok := traceparent(s); ok {
		return Query{Trace: &trace, Span: &span}, nil
	}
	// A word may be any of several things.
	q := Query{ID: s, Conversation: s, Keys: keys(s)}
	hex := strings.ReplaceAll(s, "-", "")
	if id, err := schemas.ParseTraceID(strings.ToLower(hex)); err == nil && !id.IsZero() && (hex == s || isUUID(s)) {
		q.Trace = &id
	}
	if id, err := schemas.ParseSpanID(strings.ToLower(s)); err == nil && !id.IsZero() {
		q.Span = &id
	}
	return q, nil
}

// prefixed reads kind:value; known is false when there is no such kind.
func prefixed(kind, value string) (q Query, known bool, err error) {
	quoted := false
	if n := len(value); n >= 2 && value[0] == '"' && value[n-1] == '"' {
		value, quoted = value[1:n-1], true
	}
	empty := func() error {
		if value == "" {
			return fmt.Errorf("nothing stands behind %q; it takes %s", kind+":", Forms)
		}
		return nil
	}
	switch kind {
	case "key":
		if q.Keys = []uint64{KeyHash(value)}; !quoted {
			q.Keys = keys(value)
		}
		if quoted {
			return q, true, nil // the empty key, too, is one
		}
		return q, true, empty()
	case "id", "message":
		q.ID = value
		return q, true, empty()
	case "conversation", "correlation":
		q.Conversation = value
		return q, true, empty()
	case "trace":
		id, err := schemas.ParseTraceID(strings.ToLower(strings.ReplaceAll(value, "-", "")))
		if err != nil || id.IsZero() {
			return q, true, fmt.Errorf("%q is no trace id: 32 hex digits, not all zero", value)
		}
		q.Trace = &id
		return q, true, nil
	case "span":
		id, err := schemas.ParseSpanID(strings.ToLower(value))
		if err != nil || id.IsZero() {
			return q, true, fmt.Errorf("%q is no span id: 16 hex digits, not all zero", value)
		}
		q.Span = &id
		return q, true, nil
	case "record":
		ref, ok := record(value)
		if !ok {
			return q, true, fmt.Errorf("%q is no record: write topic/partition@offset, as in orders/3@918273", value)
		}
		q.Record = &ref
		return q, true, nil
	}
	return q, false, nil
}

// keys are the hashes that a key's text stands for: 16 hex digits are a hash
// itself, and so may be a long decimal be, as spans tell it.
func keys(s string) []uint64 {
	if s == "" {
		return nil
	}
	out := []uint64{KeyHash(s)}
	if len(s) == 16 {
		if h, err := strconv.ParseUint(s, 16, 64); err == nil {
			return []uint64{h}
		}
	}
	if len(s) >= 17 && len(s) <= 20 {
		if h, err := strconv.ParseUint(s, 10, 64); err == nil {
			out = append(out, h)
		}
	}
	return out
}

// record reads topic/3@918273, topic-3@918273, topic/3/918273 and topic:3:918273, and the same
// three in words, with p before the partition or not.
func record(s string) (schemas.RecordRef, bool) {
	if words := strings.FieldsFunc(s, func(r rune) bool {
		return unicode.IsSpace(r) && r != '\u202f' && r != '\u00a0' || r == '·' || r == ','
	}); len(words) == 3 {
		return coordinates(words[0], strings.TrimPrefix(words[1], "p"), words[2])
	}
	if at := strings.LastIndexByte(s, '@'); at > 0 {
		if sep := strings.LastIndexAny(s[:at], "/-:"); sep > 0 {
			return coordinates(s[:sep], s[sep+1:at], s[at+1:])
		}
		return schemas.RecordRef{}, false
	}
	for _, sep := range []string{"/", ":"} {
		if parts := strings.Split(s, sep); len(parts) == 3 {
			return coordinates(parts[0], strings.TrimPrefix(parts[1], "p"), parts[2])
		}
	}
	return schemas.RecordRef{}, false
}

// MaxTopic is Kafka's bound of a topic's name, bytes.
const MaxTopic = 249

func coordinates(topic, partition, offset string) (schemas.RecordRef, bool) {
	digits := strings.NewReplacer("\u202f", "", "\u00a0", "", "_", "")
	p, err := strconv.ParseUint(partition, 10, 31)
	o, offsetErr := strconv.ParseUint(digits.Replace(offset), 10, 63)
	if topic == "" || strings.HasSuffix(topic, "/") || len(topic) > MaxTopic || err != nil || offsetErr != nil {
		return schemas.RecordRef{}, false
	}
	return schemas.RecordRef{Topic: topic, Partition: int32(p), Offset: int64(o)}, true //nolint:gosec // parsed as 31 and 63 bits
}

// traceparent reads the W3C header.
func traceparent(s string) (trace schemas.TraceID, span schemas.SpanID, ok bool) {
	parts := strings.Split(strings.ToLower(s), "-")
	if len(parts) != 4 || len(parts[0]) != 2 || len(parts[3]) != 2 {
		return trace, span, false
	}
	trace, err := schemas.ParseTraceID(parts[1])
	span, spanErr := schemas.ParseSpanID(parts[2])
	return trace, span, err == nil && spanErr == nil && !trace.IsZero() && !span.IsZero()
}

func isUUID(s string) bool {
	return len(s) == 36 && s[8] == '-' && s[13] == '-' && s[18] == '-' && s[23] == '-'
}
