// Package normalize makes what programs sent comparable: impossible spans are
// dropped and counted, names have defaults and bounds, events have one form
// whatever SDK wrote them. It groups nothing and stores nothing.
package normalize

import (
	"time"
	"unicode/utf8"

	"github.com/hoptrace/hoptrace/schemas"
)

// Config bounds times. The reference is when the collector had the request, so
// that a record read again is judged as the first time.
type Config struct {
	// MaxFuture is how far a span may end after it was received. Zero means 24 h.
	MaxFuture time.Duration
	// MaxAge is how long before it was received a span may start, or an event
	// have happened. Zero means 90 days. Stores keep a partition a day and take
	// about 100 in one insert.
	MaxAge time.Duration
}

// DefaultConfig is 24 h and 90 days.
func DefaultConfig() Config {
	return Config{MaxFuture: 24 * time.Hour, MaxAge: 90 * 24 * time.Hour}
}

func (c Config) withDefaults() Config {
	def := DefaultConfig()
	if c.MaxFuture <= 0 {
		c.MaxFuture = def.MaxFuture
	}
	if c.MaxAge <= 0 {
		c.MaxAge = def.MaxAge
	}
	return c
}

// Reason tells why a span was dropped.
type Reason uint8

// Reasons, in the order in which they are looked for.
const (
	NoTraceID Reason = iota
	NoSpanID
	NoStart
	EndBeforeStart
	InFuture
	TooOld
	Reasons // how many there are
)

// String is the value of the reason label of a metric.
func (r Reason) String() string {
	switch r {
	case NoTraceID:
		return "no_trace_id"
	case NoSpanID:
		return "no_span_id"
	case NoStart:
		return "no_start"
	case EndBeforeStart:
		return "end_before_start"
	case InFuture:
		return "in_future"
	case TooOld:
		return "too_old"
	}
	return "unknown"
}

// Dropped counts spans by [Reason].
type Dropped [Reasons]int

// Bounds of text, in bytes.
const (
	MaxName          = 1 << 10
	MaxStatusMessage = 4 << 10
)

const (
	unknownService = "unknown_service"
	unnamed        = "unnamed"
)

// Spans drops the impossible spans and puts the others in order, in place, in
// their order. Received is Unix ns, when the collector had them.
func Spans(cfg Config, spans []schemas.Span, received int64, dropped *Dropped) []schemas.Span {
	cfg = cfg.withDefaults()
	latest, earliest := received+int64(cfg.MaxFuture), received-int64(cfg.MaxAge)
	n := 0
	for i := range spans {
		s := &spans[i]
		if reason := judge(s, earliest, latest); reason != Reasons {
			dropped[reason]++
			continue
		}
		tidy(s)
		if n != i {
			spans[n] = *s
		}
		n++
	}
	return spans[:n]
}

func judge(s *schemas.Span, earliest, latest int64) Reason {
	switch {
	case s.TraceID.IsZero():
		return NoTraceID
	case s.SpanID.IsZero():
		return NoSpanID
	case s.Start <= 0:
		return NoStart
	case s.End < s.Start:
		return EndBeforeStart
	case s.End > latest:
		return InFuture
	case s.Start < earliest:
		return TooOld
	}
	return Reasons
}

func tidy(s *schemas.Span) {
	s.Name = or(cut(s.Name, MaxName), unnamed)
	s.Service = or(cut(s.Service, MaxName), unknownService)
	s.Scope = cut(s.Scope, MaxName)
	s.StatusMessage = cut(s.StatusMessage, MaxStatusMessage)
	if s.ParentID == s.SpanID { // a span is not its own parent
		s.ParentID = schemas.SpanID{}
	}
	for i := range s.Events {
		e := &s.Events[i]
		e.Name = cut(e.Name, MaxName)
		if e.Time <= 0 {
			e.Time = s.Start
		}
	}
	links := s.Links[:0]
	for _, l := range s.Links {
		if !l.TraceID.IsZero() && !l.SpanID.IsZero() {
			links = append(links, l)
		}
	}
	s.Links = links
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// cut gives at most n bytes of s, without half a rune at the end.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
