// Package otlp receives OTLP traces, metrics and logs over gRPC and HTTP and hands
// them on as the bytes they came in. It checks the wire format, every span's and
// log record's ids and times and every metric point's time and buckets without
// decoding, drops what is invalid, and splits by encoded size. What they mean is not its
// business (see pipeline/normalize).
package otlp

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Signal is what a request carries.
type Signal uint8

// Signals.
const (
	Traces  Signal = iota // spans
	Metrics               // metric points
	Logs                  // log records
)

// items is what a signal consists of.
func (s Signal) items() string { return [...]string{"spans", "points", "log records"}[s] }

// Reason tells why a span or a metric point was refused.
type Reason uint8

// Reasons.
const (
	BadTraceID Reason = iota
	BadSpanID
	BadParentID
	BadLinkID
	NoStart
	EndBeforeStart
	InFuture
	TooOld
	TooDeep
	// Of metric points only.
	NoTime
	OldPoint
	NoName
	NoValue
	BadExemplarID
	BadBuckets
	Summary
	TooLarge
	// Of log records only.
	OldLog
	reasons
)

// String is the value of the metric's label "reason".
func (r Reason) String() string {
	return [...]string{
		"trace_id", "span_id", "parent_id", "link_id", "no_start", "end_before_start", "future", "too_old", "nesting",
		"no_time", "too_old", "no_name", "no_value", "exemplar_id", "buckets", "summary", "too_large",
		"too_old",
	}[r]
}

func (r Reason) text() string {
	return [...]string{
		"with a trace id that is zero or not 16 bytes",
		"with a span id that is zero or not 8 bytes",
		"with a parent span id that is not 8 bytes",
		"with a link whose ids are not 16 and 8 bytes",
		"without a start time",
		"ending before they start",
		"more than a day in the future",
		"starting more than 90 days ago",
		"with values nested deeper than " + strconv.Itoa(maxNesting) + " levels",
		"without a time",
		"of a time more than 90 days ago",
		"of a metric without a name",
		"without a value",
		"with an exemplar whose ids are not 16 and 8 bytes",
		"whose buckets do not fit their bounds or are more than " + strconv.Itoa(maxBuckets),
		"of a summary, which cannot be added to others: send a histogram",
		"larger than a record",
		"of a time more than 90 days ago",
	}[r]
}

// maxFuture is how far a span's times may lie ahead of the collector's clock.
const maxFuture = 24 * time.Hour

// maxAge is how far a span may start before the collector's clock; the pipeline
// keeps no older one.
const maxAge = 90 * 24 * time.Hour

// Report tells what a request holds.
type Report struct {
	Signal    Signal
	Items     int // valid ones: spans, or metric points
	Rejected  [reasons]int
	First     string // the first refused one: where, its name, and why
	Truncated int    // spans, resources and scopes that were cut to fit a record
}

// Refused is the sum of Rejected.
func (r *Report) Refused() int {
	n := 0
	for _, v := range r.Rejected {
		n += v
	}
	return n
}

// add puts what was refused earlier in front.
func (r *Report) add(before Report) {
	for i, n := range before.Rejected {
		r.Rejected[i] += n
	}
	if before.First != "" {
		r.First = before.First
	}
}

// Message says for people what was refused; empty when nothing was.
func (r *Report) Message() string {
	total := r.Refused()
	if total == 0 {
		return ""
	}
	var kinds []string
	for i, n := range r.Rejected {
		if n > 0 {
			kinds = append(kinds, fmt.Sprintf("%d %s", n, Reason(i).text()))
		}
	}
	return fmt.Sprintf("%d of %d %s refused: %s; first: %s", total, total+r.Items, r.Signal.items(), strings.Join(kinds, ", "), r.First)
}

// scanner walks one request.
type scanner struct {
	latest uint64 // Unix ns: later than this is the future
	report Report
	where  [3]int // indices of resource, scope, span or metric
}

// Names of the levels of a request, as JSON writes them.
func (s Signal) levels() [4]string {
	return [...][4]string{
		{"ExportTraceServiceRequest", "resourceSpans", "scopeSpans", "spans"},
		{"ExportMetricsServiceRequest", "resourceMetrics", "scopeMetrics", "metrics"},
		{"ExportLogsServiceRequest", "resourceLogs", "scopeLogs", "logRecords"},
	}[s]
}

// Scan checks a whole ExportTraceServiceRequest and counts its spans. It fails
// when the bytes are no such protobuf. It allocates only for what is refused.
func Scan(data []byte, now time.Time) (Report, error) { return scan(Traces, data, now) }

// ScanMetrics is Scan of an ExportMetricsServiceRequest. It counts points.
func ScanMetrics(data []byte, now time.Time) (Report, error) { return scan(Metrics, data, now) }

func scan(signal Signal, data []byte, now time.Time) (Report, error) {
	s := scanner{latest: uint64(now.Add(maxFuture).UnixNano()), report: Report{Signal: signal}}
	names := signal.levels()
	c := cursor{rest: data}
	for c.next() {
		if c.num != 1 {
			continue
		}
		if c.typ != wireBytes {
			return Report{}, fmt.Errorf("%s: field 1 has wire type %d, want %d", names[0], c.typ, wireBytes)
		}
		if err := s.resource(c.data); err != nil {
			return Report{}, fmt.Errorf("%s[%d].%w", names[1], s.where[0], err)
		}
		s.where[0]++
	}
	if c.err != nil {
		return Report{}, fmt.Errorf("%s: %w", names[0], c.err)
	}
	return s.report, nil
}

func (s *scanner) resource(data []byte) error {
	c := cursor{rest: data}
	s.where[1] = 0
	for c.next() {
		switch c.num {
		case 1:
			if c.typ != wireBytes {
				return fmt.Errorf("resource: wire type %d, want %d", c.typ, wireBytes)
			}
			if err := check(c.data, resourceShape, 0); err != nil {
				return fmt.Errorf("resource: %w", err)
			}
		case 2:
			if c.typ != wireBytes {
				return fmt.Errorf("%s: wire type %d, want %d", s.report.Signal.levels()[2], c.typ, wireBytes)
			}
			if err := s.scope(c.data); err != nil {
				return fmt.Errorf("%s[%d].%w", s.report.Signal.levels()[2], s.where[1], err)
			}
			s.where[1]++
		case 3:
			if c.typ != wireBytes {
				return fmt.Errorf("schemaUrl: wire type %d, want %d", c.typ, wireBytes)
			}
		}
	}
	if c.err != nil {
		return fmt.Errorf("message: %w", c.err)
	}
	return nil
}

func (s *scanner) scope(data []byte) error {
	c := cursor{rest: data}
	s.where[2] = 0
	for c.next() {
		switch c.num {
		case 1:
			if c.typ != wireBytes {
				return fmt.Errorf("scope: wire type %d, want %d", c.typ, wireBytes)
			}
			if err := check(c.data, scopeShape, 0); err != nil {
				return fmt.Errorf("scope: %w", err)
			}
		case 2:
			if c.typ != wireBytes {
				return fmt.Errorf("%s: wire type %d, want %d", s.report.Signal.levels()[3], c.typ, wireBytes)
			}
			if err := s.item(c.data); err != nil {
				return fmt.Errorf("%s[%d]: %w", s.report.Signal.levels()[3], s.where[2], err)
			}
			s.where[2]++
		case 3:
			if c.typ != wireBytes {
				return fmt.Errorf("schemaUrl: wire type %d, want %d", c.typ, wireBytes)
			}
		}
	}
	if c.err != nil {
		return fmt.Errorf("message: %w", c.err)
	}
	return nil
}

func (s *scanner) item(data []byte) error {
	if s.report.Signal == Metrics {
		return s.metric(data)
	}
	v, err := s.report.Signal.examine(data, s.latest)
	if err != nil {
		return err
	}
	if v.ok {
		s.report.Items++
	} else {
		s.reject(v, "")
	}
	return nil
}

// reject counts a verdict; below tells where in the span or metric it is.
func (s *scanner) reject(v verdict, below string) {
	s.report.Rejected[v.reason]++
	if s.report.First == "" {
		names := s.report.Signal.levels()
		s.report.First = fmt.Sprintf("%s[%d].%s[%d].%s[%d]%s %s %s", names[1], s.where[0], names[2], s.where[1], names[3], s.where[2], below,
			strconv.QuoteToASCII(clip(v.name, 64)), v.detail())
	}
}

// verdict is what examine thinks of a span.
type verdict struct {
	ok         bool
	reason     Reason
	name       string
	start, end uint64
	size       int // of the id that is wrong, or of a point that is too large
	buckets    int
	bounds     int
	clock      uint64
}

func (v verdict) detail() string {
	switch v.reason {
	case BadTraceID, BadSpanID, BadParentID:
		want := 8
		if v.reason == BadTraceID {
			want = 16
		}
		if v.size == want {
			return fmt.Sprintf("has a %s of zeroes", strings.ReplaceAll(v.reason.String(), "_", " "))
		}
		return fmt.Sprintf("has a %s of %d bytes, want %d", strings.ReplaceAll(v.reason.String(), "_", " "), v.size, want)
	case EndBeforeStart:
		return fmt.Sprintf("starts at %d and ends at %d (Unix ns)", v.start, v.end)
	case InFuture:
		if v.start == 0 { // of a point
			return fmt.Sprintf("has the time %d (Unix ns), where the latest time taken is %d", v.end, v.clock)
		}
		return fmt.Sprintf("starts at %d and ends at %d (Unix ns), where the latest time taken is %d", v.start, v.end, v.clock)
	case OldPoint, OldLog:
		return fmt.Sprintf("has the time %d (Unix ns), where the earliest time taken is %d", v.end, v.clock-uint64(maxFuture+maxAge))
	case NoTime:
		return "has no time"
	case NoName:
		return "has no name"
	case NoValue:
		return "has no value"
	case BadExemplarID:
		return "has an exemplar whose trace id is not 16 bytes or whose span id is not 8"
	case BadBuckets:
		return fmt.Sprintf("has %d buckets and %d bounds, where one bucket more than bounds and at most %d are taken", v.buckets, v.bounds, maxBuckets)
	case Summary:
		return "is a summary"
	case TooLarge:
		return fmt.Sprintf("has %d bytes, more than a record takes", v.size)
	case TooOld:
		return fmt.Sprintf("starts at %d (Unix ns), where the earliest time taken is %d", v.start, v.clock-uint64(maxFuture+maxAge))
	case NoStart:
		return "has no start time"
	case BadLinkID:
		return "has a link whose trace id is not 16 bytes or whose span id is not 8"
	case TooDeep:
		return fmt.Sprintf("has values nested deeper than %d levels", maxNesting)
	}
	return v.reason.String()
}

// examine checks one span or log record.
func (s Signal) examine(data []byte, latest uint64) (verdict, error) {
	if s == Logs {
		return examineLog(data, latest)
	}
	return examine(data, latest)
}

// examine checks one span. An error means that it is no well-formed protobuf.
func examine(data []byte, latest uint64) (verdict, error) {
	v := verdict{clock: latest}
	var trace, span, parent, name []byte
	var minor error
	c := cursor{rest: data}
	for c.next() {
		if c.num >= uint32(len(spanShape.fields)) {
			continue
		}
		f := &spanShape.fields[c.num]
		if !f.known {
			continue
		}
		if f.typ != c.typ {
			return v, fmt.Errorf("field %d has wire type %d, want %d", c.num, c.typ, f.typ)
		}
		switch c.num {
		case 1:
			trace = c.data
		case 2:
			span = c.data
		case 4:
			parent = c.data
		case 5:
			name = c.data
		case 7:
			v.start = c.value
		case 8:
			v.end = c.value
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
	switch {
	case len(trace) != 16 || zero(trace):
		v.reason, v.size = BadTraceID, len(trace)
	case len(span) != 8 || zero(span):
		v.reason, v.size = BadSpanID, len(span)
	case len(parent) != 0 && len(parent) != 8:
		v.reason, v.size = BadParentID, len(parent)
	case minor == errBadID: //nolint:errorlint // never wrapped
		v.reason = BadLinkID
	case minor == errTooDeep: //nolint:errorlint // never wrapped
		v.reason = TooDeep
	case v.start == 0:
		v.reason = NoStart
	case v.start > latest || v.end > latest:
		v.reason = InFuture
	case v.start < latest-uint64(maxFuture+maxAge):
		v.reason = TooOld
	case v.end < v.start:
		v.reason = EndBeforeStart
	default:
		v.ok = true
		return v, nil
	}
	v.name = string(name)
	return v, nil
}

func zero(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}

func clip(s string, n int) string {
	if len(s) > n {
		return s[:n] + "…"
	}
	return s
}
