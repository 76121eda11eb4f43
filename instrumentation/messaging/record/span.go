package record

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// MaxFields is how many attributes a [Layout] may name.
const MaxFields = 20

// Span is one span as plain data, without pointers.
type Span struct {
	TraceID  trace.TraceID
	SpanID   trace.SpanID
	ParentID trace.SpanID // zero: a root

	// LinkTrace and LinkSpan are the one link that costs nothing; a zero
	// LinkSpan is none. More links go to [Extra].
	LinkTrace trace.TraceID
	LinkSpan  trace.SpanID

	// Flags and LinkFlags are as in OTLP: the W3C flags, 0x100 (always: it says
	// that the next bit is meant) and 0x200 if the parent (the linked span) is
	// remote.
	Flags     uint32
	LinkFlags uint32

	Start int64 // Unix ns
	End   int64 // Unix ns

	Known  uint32           // bit i: Values[i] is known
	Values [MaxFields]int64 // by the stream's Layout
}

// Set makes v the known value of field i.
func (s *Span) Set(i int, v int64) {
	s.Values[i] = v
	s.Known |= 1 << i
}

// FieldType is how the slot of a field becomes an attribute.
type FieldType uint8

// The types of fields.
const (
	Int      FieldType = iota // an integer attribute
	Decimal                   // an int64 as a string of decimal digits
	Unsigned                  // the bits of an uint64 as a string of decimal digits
	Bool                      // true when known, whatever the slot holds
	Float                     // a float: the slot holds math.Float64bits
)

// Field is an attribute whose value differs from span to span.
type Field struct {
	Key  string
	Type FieldType
}

// Layout names the attributes that differ from span to span: field i is slot i
// of [Span.Values]. A nil Layout has no fields.
type Layout struct {
	fields []Field
}

// NewLayout makes a layout. It panics when there are more than [MaxFields]
// fields, a key is empty or one stands twice, for layouts are written down in
// programs.
func NewLayout(fields ...Field) *Layout {
	if len(fields) > MaxFields {
		panic(fmt.Sprintf("record: a layout of %d fields; at most %d fit", len(fields), MaxFields))
	}
	return &Layout{fields: append([]Field(nil), fields...)}
}

// Append appends the known fields of s to dst as attributes.
func (l *Layout) Append(dst []attribute.KeyValue, s *Span) []attribute.KeyValue {
	if l == nil {
		return dst
	}
	for i := range l.fields {
		if s.Known&(1<<i) != 0 {
			dst = append(dst, l.fields[i].attribute(s.Values[i]))
		}
	}
	return dst
}

func (f *Field) attribute(v int64) attribute.KeyValue {
	key := attribute.Key(f.Key)
	switch f.Type {
	case Decimal:
		return key.String(strconv.FormatInt(v, 10))
	case Unsigned:
		return key.String(strconv.FormatUint(uint64(v), 10))
	case Bool:
		return key.Bool(true)
	case Float:
		return key.Float64(math.Float64frombits(uint64(v)))
	default:
		return key.Int64(v)
	}
}

// Extra is what few spans have. It is encoded when the span is put; nothing of
// it is kept.
type Extra struct {
	Name       string               // instead of the stream's; "" keeps that
	Attributes []attribute.KeyValue // the last of a key wins, over the stream's and the layout's too
	Links      []trace.Link         // beside the inline one
	Events     []Event

	Status      codes.Code
	Description string // with status Error only
	TraceState  string

	// What was left out before, added to what the limits leave out.
	DroppedAttributes, DroppedLinks, DroppedEvents int
}

// Event is an event of a span.
type Event struct {
	Name              string
	Time              int64 // Unix ns
	Attributes        []attribute.KeyValue
	DroppedAttributes int
}

// Scope is the instrumentation that makes spans.
type Scope struct {
	Name, Version, SchemaURL string
}

// Stream is what many spans have in common: scope, name, kind, layout and
// attributes, encoded once. It is made by [Recorder.Stream] and is of use with
// that recorder only.
type Stream struct {
	recorder *Recorder
	scope    Scope
	name     string
	kind     trace.SpanKind
	layout   *Layout
	attrs    []attribute.KeyValue
}

// Name returns the name of the stream's spans.
func (st *Stream) Name() string { return st.name }

// Kind returns the kind of the stream's spans.
func (st *Stream) Kind() trace.SpanKind { return st.kind }

// Layout returns what the values of the stream's spans mean. It may be nil.
func (st *Stream) Layout() *Layout { return st.layout }

// Attributes returns what the stream's spans have in common. The caller must not
// change it.
func (st *Stream) Attributes() []attribute.KeyValue { return st.attrs }

func now() int64 { return time.Now().UnixNano() }
