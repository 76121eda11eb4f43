package schemas

import (
	"encoding/hex"
	"fmt"
)

// TraceID names a trace. The zero value means none.
type TraceID [16]byte

// SpanID names a span in a trace. The zero value means none.
type SpanID [8]byte

// String is the lower-case hex form, as W3C trace context writes it.
func (id TraceID) String() string { return hex.EncodeToString(id[:]) }

// IsZero tells that there is no id.
func (id TraceID) IsZero() bool { return id == TraceID{} }

// String is the lower-case hex form, as W3C trace context writes it.
func (id SpanID) String() string { return hex.EncodeToString(id[:]) }

// IsZero tells that there is no id.
func (id SpanID) IsZero() bool { return id == SpanID{} }

// ParseTraceID reads 32 hex digits.
func ParseTraceID(s string) (TraceID, error) {
	var id TraceID
	if len(s) != 32 {
		return id, fmt.Errorf("trace id %q has %d characters, want 32 hex digits", clip(s, 64), len(s))
	}
	if _, err := hex.Decode(id[:], []byte(s)); err != nil {
		return TraceID{}, fmt.Errorf("trace id %q: %w", s, err)
	}
	return id, nil
}

// ParseSpanID reads 16 hex digits.
func ParseSpanID(s string) (SpanID, error) {
	var id SpanID
	if len(s) != 16 {
		return id, fmt.Errorf("span id %q has %d characters, want 16 hex digits", clip(s, 64), len(s))
	}
	if _, err := hex.Decode(id[:], []byte(s)); err != nil {
		return SpanID{}, fmt.Errorf("span id %q: %w", s, err)
	}
	return id, nil
}

func clip(s string, n int) string {
	if len(s) > n {
		return s[:n] + "…"
	}
	return s
}

// SpanKind is OTLP's numbering.
type SpanKind uint8

// Span kinds.
const (
	KindUnspecified SpanKind = iota
	KindInternal
	KindServer
	KindClient
	KindProducer
	KindConsumer
)

// StatusCode is OTLP's numbering.
type StatusCode uint8

// Status codes.
const (
	StatusUnset StatusCode = iota
	StatusOK
	StatusError
)

// Position is where on its ingest partition an item came from: the record's
// offset and the item's place in that record. Together with the partition
// ([Source]) it makes a write idempotent.
type Position struct {
	Offset int64
	Index  uint32
}

// Source names one partition of one ingest topic for ever: a hash of the
// topic's id (KIP-516) and the partition. A topic that was deleted and made
// again is another source, so its offsets are not mistaken for old ones.
type Source uint64

// Attribute is one key with its value in text form: numbers in decimal,
// booleans as true or false, arrays and maps as JSON, bytes as base64.
type Attribute struct {
	Key, Value string
}

// Lookup gives the value of the first attribute with that key.
func Lookup(attrs []Attribute, key string) (string, bool) {
	for i := range attrs {
		if attrs[i].Key == key {
			return attrs[i].Value, true
		}
	}
	return "", false
}

// SpanEvent is something that happened at one time within a span.
type SpanEvent struct {
	Time       int64 // Unix ns
	Name       string
	Attributes []Attribute
}

// Link points to a span that this one follows from, mostly in another trace.
type Link struct {
	TraceID    TraceID
	SpanID     SpanID
	Attributes []Attribute
}

// Span is one OTLP span. Strings and slices may alias the buffer they were
// decoded from: whoever keeps a span longer than the call copies it.
type Span struct {
	Project       uint64
	TraceID       TraceID
	SpanID        SpanID
	ParentID      SpanID // zero for a root span
	Name          string
	Kind          SpanKind
	Status        StatusCode
	StatusMessage string
	Start, End    int64 // Unix ns; End < Start is refused by normalize
	Service       string
	Scope         string
	Resource      []Attribute // shared by all spans of one resource, without service.name
	Attributes    []Attribute
	Events        []SpanEvent
	Links         []Link

	Source   Source
	Position Position
}
