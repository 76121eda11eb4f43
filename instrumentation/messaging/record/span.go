package record

import (
	"math"

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

// SetFloat makes v the known value of field i, which is a [Float].
func (s *Span) SetFloat(i int, v float64) { s.Set(i, int64(math.Float64bits(v))) }
