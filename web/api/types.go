package api

import (
	"strconv"
	"time"

	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/web/api/finding"
)

// Nanos is a point in time: Unix nanoseconds as a decimal string, because a
// JSON number loses them in a browser. Durations are whole nanoseconds as JSON
// numbers, exact in a browser up to 104 days.
type Nanos string

func nanos(ns int64) Nanos { return Nanos(strconv.FormatInt(ns, 10)) }

// ns reads it back; zero when it is none.
func (n Nanos) ns() int64 {
	v, _ := strconv.ParseInt(string(n), 10, 64)
	return v
}

// known is nil for the zero time, which means unknown.
func known(ns int64) *Nanos {
	if ns == 0 {
		return nil
	}
	n := nanos(ns)
	return &n
}

func told[T int32 | int64](v T) *T {
	if v == schemas.Unknown {
		return nil
	}
	return &v
}

// Status is what the UI asks first.
type Status struct {
	Version   string    `json:"version"`
	Now       Nanos     `json:"now"`
	Project   string    `json:"project"` // id of the one that was asked for, or the first
	HasSpans  bool      `json:"hasSpans"`
	HasEvents bool      `json:"hasEvents"`
	Projects  []Project `json:"projects"`
	Endpoints Endpoints `json:"endpoints"`
}

// Project is one project with what programs need to send to it.
type Project struct {
	ID   string   `json:"id"`
	Slug string   `json:"slug"`
	Name string   `json:"name"`
	DSNs []string `json:"dsns"`
}

// Names are the values to filter by.
type Names struct {
	Services []string `json:"services"`
	Topics   []string `json:"topics"`
	Groups   []string `json:"groups"`
}

// TraceList is a page of traces, newest first.
type TraceList struct {
	Finding finding.Finding `json:"finding"`
	Traces  []TraceSummary  `json:"traces"`
	Next    *Nanos          `json:"next"` // value of before for the next page
}

// TraceSummary is one line of it.
type TraceSummary struct {
	TraceID    string   `json:"traceId"`
	Start      Nanos    `json:"start"`
	DurationNs int64    `json:"durationNs"`
	Root       string   `json:"root"`
	Service    string   `json:"service"`
	Services   []string `json:"services"`
	Topics     []string `json:"topics"`
	Spans      uint64   `json:"spans"`
	Errors     uint64   `json:"errors"`
}

// Journey is one trace and those that hang together with it by its messages.
type Journey struct {
	Finding    finding.Finding `json:"finding"`
	TraceID    string          `json:"traceId"`
	Traces     []string        `json:"traces"`
	Services   []string        `json:"services"`
	Start      Nanos           `json:"start"`
	End        Nanos           `json:"end"`
	DurationNs int64           `json:"durationNs"`
	Spans      []Span          `json:"spans"`
	Skipped    int             `json:"skipped"` // spans before these, as asked for
	Hops       []Hop           `json:"hops"`
	Events     []EventRef      `json:"events"`
	Batches    []Batch         `json:"batches"`
	Critical   Critical        `json:"critical"`
	Totals     []PartTotal     `json:"totals"`
	Cut        []Cut           `json:"cut"`
}

// Batch is a span that read several records. Of their hops only those stand in
// the journey that it came by; /traces/{id}/spans/{span}/batch has all.
type Batch struct {
	TraceID string   `json:"traceId"`
	SpanID  string   `json:"spanId"`
	Service string   `json:"service"`
	Records int      `json:"records"` // that the span names
	Told    *int     `json:"told"`    // how many it says it had, where that is more
	Shown   int      `json:"shown"`   // of them, as hops of the journey
	Topics  []string `json:"topics"`  // at most 10
	Group   string   `json:"group"`
}

// Cut says that a journey is larger than one answer.
type Cut struct {
	What  string `json:"what"` // traces, spans, hops, events
	Limit int    `json:"limit"`
	Of    *int   `json:"of"` // how many there are, where that was counted
}

// PartTotal sums one part over the hops of a journey.
type PartTotal struct {
	Name    string `json:"name"`
	Ns      int64  `json:"ns"`
	Known   int    `json:"known"`
	Unknown int    `json:"unknown"`
	// Negative is how many of the known ones are below zero: two clocks disagree.
	Negative int `json:"negative"`
}

// Span is one span.
type Span struct {
	TraceID       string      `json:"traceId"`
	SpanID        string      `json:"spanId"`
	ParentID      string      `json:"parentId"` // empty for a root
	Name          string      `json:"name"`
	Kind          string      `json:"kind"`
	Status        string      `json:"status"`
	StatusMessage string      `json:"statusMessage"`
	Start         Nanos       `json:"start"`
	End           Nanos       `json:"end"`
	MovedNs       int64       `json:"movedNs,omitempty"` // in a journey on one clock: what is to be added to start and end; they are as its host told them
	Service       string      `json:"service"`
	Scope         string      `json:"scope"`
	Attributes    []Attribute `json:"attributes"`
	Resource      []Attribute `json:"resource"`
	Events        []SpanEvent `json:"events"`
	Links         []SpanLink  `json:"links"`     // the first 64
	LinkCount     int         `json:"linkCount"` // all that it has; /traces/{id}/spans/{span}/links has them
}

// Attribute is one key with its value in text form.
type Attribute struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// SpanEvent is something that happened within a span.
type SpanEvent struct {
	Time       Nanos       `json:"time"`
	Name       string      `json:"name"`
	Attributes []Attribute `json:"attributes"`
}

// SpanLink points to another span.
type SpanLink struct {
	TraceID string `json:"traceId"`
	SpanID  string `json:"spanId"`
}

// Hop is one record read by one group; consumer is null while nobody has been
// seen to read it, producer when its producer is not instrumented.
type Hop struct {
	ID          string    `json:"id"`
	Topic       string    `json:"topic"`
	Partition   *int32    `json:"partition"`
	Offset      *int64    `json:"offset"`
	Group       string    `json:"group"`
	Producer    *HopSide  `json:"producer"`
	Consumer    *HopSide  `json:"consumer"`
	Start       *Nanos    `json:"start"`
	End         *Nanos    `json:"end"`
	Parts       []HopPart `json:"parts"`
	EndToEnd    Part      `json:"endToEnd"`
	Residence   *Part     `json:"residence,omitempty"` // backlog and long poll together, when known
	Settle      *HopPart  `json:"settle,omitempty"`    // commit asked → acknowledged, when the commit that covers the record was seen; no part of endToEnd
	Retry       *Retry    `json:"retry,omitempty"`     // of a record that was sent on after it failed
	RoundTrip   Part      `json:"roundTrip"`
	SharedClock bool      `json:"sharedClock"`
	Clock       *HopClock `json:"clock,omitempty"` // when the two hosts' clocks were compared
	// ClockGap says why what crosses two hosts is unknown: host, producer-samples,
	// consumer-samples, broker, step, times. Empty when it is known, and on one host.
	ClockGap string `json:"clockGap,omitempty"`
	// MovedNs is what start, end and the parts' times have more than the consumer's
	// host told, in a journey on one clock.
	MovedNs   int64  `json:"movedNs,omitempty"`
	Record    Record `json:"record"`
	Behind    *int64 `json:"behind"`   // records after this one when it was fetched
	Delivery  int    `json:"delivery"` // 1 for the first time this group was seen to read it
	Failed    bool   `json:"failed"`
	Estimated bool   `json:"estimatedEnd"`
}

// HopSide is one end of a hop.
type HopSide struct {
	TraceID   string `json:"traceId"`
	SpanID    string `json:"spanId"`
	Service   string `json:"service"`
	ClientID  string `json:"clientId"`
	Operation string `json:"operation"` // send, receive, process
	Start     Nanos  `json:"start"`
	End       Nanos  `json:"end"`
}

// Part is one measured stretch, signed; ns means nothing unless known.
type Part struct {
	Known       bool         `json:"known"`
	Ns          int64        `json:"ns"`
	Uncertainty *Uncertainty `json:"uncertaintyNs,omitempty"` // only where it comes from clock samples
}

// Uncertainty is where the true value lies, in ns: two hosts' clocks were
// compared by samples.
type Uncertainty struct {
	Lo   int64 `json:"lo"`
	Hi   int64 `json:"hi"`
	Wide bool  `json:"wide"` // ± as much as the value itself, or more
}

// HopClock says how a hop between two hosts was put on one clock. The times of
// the hop and its parts are the consumer's; those of producer are as they were.
type HopClock struct {
	Broker  string `json:"broker"`  // whose clock both were compared with
	MovedNs int64  `json:"movedNs"` // added to the producer's times
	LowNs   int64  `json:"lowNs"`   // the true offset lies between these
	HighNs  int64  `json:"highNs"`
	Stamped bool   `json:"stamped"` // the record's own LogAppendTime narrowed the residence
	// Evidence is what the clocks of both hosts were placed by.
	Evidence []ClockEvidence `json:"evidence"`
}

// ClockEvidence is what one host's clock was placed by: samples within two minutes,
// counted by seconds that had one.
type ClockEvidence struct {
	Side       string `json:"side"`  // producer, consumer
	Host       string `json:"host"`  // its boot id, hashed
	Name       string `json:"name"`  // what people call it; empty when nobody told
	LowNs      int64  `json:"lowNs"` // the broker's clock minus the host's lies between these
	HighNs     int64  `json:"highNs"`
	At         Nanos  `json:"at"`         // on the host's clock
	RoundTrips int    `json:"roundTrips"` // of clients, from both sides
	Fetches    int    `json:"fetches"`    // of clients, from one side
	Beacons    int    `json:"beacons"`    // of a collector's beacon, from both sides
	First      Nanos  `json:"first"`
	Last       Nanos  `json:"last"`
	Nearest    Nanos  `json:"nearest"` // the one closest to at
	Steps      int    `json:"steps"`   // of a clock, near
	Stepped    *Nanos `json:"stepped"` // when the last of them was seen
}

// Retry says where a record came from that was sent on after it failed.
type Retry struct {
	Topic     string `json:"topic"` // of the record that failed first; empty when only the attempt is told
	Partition *int32 `json:"partition"`
	Offset    *int64 `json:"offset"`
	Attempt   int    `json:"attempt"` // how often it was sent on
	FirstSeen *Nanos `json:"firstSeen"`
	InRetry   Part   `json:"inRetry"` // first failure → handed to the application this time
	// DeadLetter tells that the topic that it was sent on to holds what nobody tries
	// again, by its name.
	DeadLetter bool `json:"deadLetter"`
}

// HopPart is a part with its place in time.
type HopPart struct {
	Name        string       `json:"name"`
	Known       bool         `json:"known"`
	Ns          int64        `json:"ns"`
	From        *Nanos       `json:"from"`
	To          *Nanos       `json:"to"`
	Uncertainty *Uncertainty `json:"uncertaintyNs,omitempty"`
}

// Record is what is known of the record itself.
type Record struct {
	KeyHash       *string `json:"keyHash"` // 16 hex digits
	Size          *int64  `json:"size"`    // bytes
	Attempts      int     `json:"attempts"`
	ThrottleNs    int64   `json:"throttleNs"`
	Timestamp     *Nanos  `json:"timestamp"`
	Appended      *Nanos  `json:"appended"`
	ByBroker      bool    `json:"appendedByBroker"` // LogAppendTime
	HighWatermark *int64  `json:"highWatermark"`
}

// EventRef is an event on the way of a journey.
type EventRef struct {
	ID        string `json:"id"`
	Issue     string `json:"issue"`
	Title     string `json:"title"`
	Culprit   string `json:"culprit"`
	Level     string `json:"level"`
	Time      Nanos  `json:"time"`
	TraceID   string `json:"traceId"`
	SpanID    string `json:"spanId"`
	Topic     string `json:"topic"`
	Partition *int32 `json:"partition"`
	Offset    *int64 `json:"offset"`
	Group     string `json:"group"`
}

// Quantiles of one part.
type Quantiles struct {
	Name     string `json:"name"`
	Count    uint64 `json:"count"`
	P50Ns    int64  `json:"p50Ns"`
	P90Ns    int64  `json:"p90Ns"`
	P95Ns    int64  `json:"p95Ns"`
	P99Ns    int64  `json:"p99Ns"`
	Negative uint64 `json:"negative"`
}

// HopList is a list of hops.
type HopList struct {
	Finding finding.Finding `json:"finding"`
	Hops    []Hop           `json:"hops"`
	Next    *string         `json:"next"` // value of before for the next page; only deliveries have pages
}

// Event is one event as it is stored.
type Event struct {
	ID          string      `json:"id"`
	Time        Nanos       `json:"time"`
	Received    Nanos       `json:"received"`
	Level       string      `json:"level"`
	Type        string      `json:"type"`
	Value       string      `json:"value"`
	Culprit     string      `json:"culprit"`
	Platform    string      `json:"platform"`
	Transaction string      `json:"transaction"`
	Release     string      `json:"release"`
	Environment string      `json:"environment"`
	Server      string      `json:"server"`
	SDK         string      `json:"sdk"`
	Logger      string      `json:"logger"`
	Handled     *bool       `json:"handled"`     // null when not told
	User        string      `json:"user"`        // the id, name, address or IP that it is counted by; empty when not told
	Fingerprint string      `json:"fingerprint"` // the hash that put it into its issue
	TraceID     string      `json:"traceId"`     // empty when not told
	SpanID      string      `json:"spanId"`
	Topic       string      `json:"topic"`
	Partition   *int32      `json:"partition"`
	Offset      *int64      `json:"offset"`
	Group       string      `json:"group"`
	Origin      string      `json:"origin"` // sentry: an SDK told it; otel: made of an exception in a span or a log
	Tags        []Attribute `json:"tags"`
}

// EventDetail is the page of one event.
type EventDetail struct {
	Finding     finding.Finding `json:"finding"`
	Issue       Issue           `json:"issue"`
	Event       Event           `json:"event"`
	Number      *int            `json:"number"`  // 1 for the oldest of the issue, null when it is not among the newest 500
	Newer       *string         `json:"newer"`   // event id
	Older       *string         `json:"older"`   // event id
	Payload     string          `json:"payload"` // stored, missing, unreadable
	Text        string          `json:"text"`    // what was logged, with its parameters; empty when nothing was
	Exceptions  []Exception     `json:"exceptions"`
	Breadcrumbs []Breadcrumb    `json:"breadcrumbs"`
	User        []Attribute     `json:"user"`
	Request     []Attribute     `json:"request"`
	Contexts    []Context       `json:"contexts"`
	Notes       []Note          `json:"notes"` // what was taken out, cut or refused on the way
	NotesCut    bool            `json:"notesCut"`
	Message     *CausingMessage `json:"message"`
}

// Exception is one of a chain, the one that was caught first.
type Exception struct {
	Type      string  `json:"type"`
	Value     string  `json:"value"`
	Module    string  `json:"module"`
	Mechanism string  `json:"mechanism"`
	Handled   *bool   `json:"handled"`
	Frames    []Frame `json:"frames"` // newest call first
	Cut       bool    `json:"cut"`
}

// Frame is one call.
type Frame struct {
	Function string       `json:"function"`
	Module   string       `json:"module"`
	File     string       `json:"file"`
	Line     int          `json:"line"` // zero when not told
	InApp    bool         `json:"inApp"`
	Mapped   bool         `json:"mapped"`   // the place is the source's, found by a source map
	Unmapped string       `json:"unmapped"` // why it is not, where a map was looked for
	Context  []SourceLine `json:"context"`
	Vars     []Attribute  `json:"vars"` // local variables
}

// SourceLine is a line of code around a frame.
type SourceLine struct {
	Number int    `json:"number"`
	Text   string `json:"text"`
	Hit    bool   `json:"hit"`
}

// Breadcrumb is something that happened before.
type Breadcrumb struct {
	Time     *Nanos      `json:"time"`
	Type     string      `json:"type"`
	Category string      `json:"category"`
	Level    string      `json:"level"`
	Message  string      `json:"message"`
	Data     []Attribute `json:"data"`
}

// Context is one of Sentry's contexts, flattened.
type Context struct {
	Name string      `json:"name"`
	Data []Attribute `json:"data"`
}

// Note is something that was done to a value of the event before it was kept.
type Note struct {
	Path   string `json:"path"`   // as request.headers.0.1
	What   string `json:"what"`   // removed, replaced, masked, hashed, cut, refused
	Rule   string `json:"rule"`   // of scrubbing, or why it was refused; empty when it was too large
	Length int    `json:"length"` // characters or elements before; zero when not told
}

// CausingMessage is the record that was being processed.
type CausingMessage struct {
	FoundBy string `json:"foundBy"` // event: the SDK told the record; span: its span lies below the processing span
	Hop     Hop    `json:"hop"`
	// Age is append → the event, or, where the append is unknown, send called → the event, or record timestamp → the event.
	Age          Part   `json:"age"`
	AgeFrom      string `json:"ageFrom"`      // appended, sent, timestamp, empty when unknown
	CrossesClock bool   `json:"crossesClock"` // the two times are of different clocks, and nothing says how far they differ
	Sent         Part   `json:"sinceSent"`    // send called → the event
}

func part(p schemas.Part) Part { return Part{Known: p.Known, Ns: int64(p.Duration)} }

func between(from, to int64) Part {
	if from == 0 || to == 0 {
		return Part{}
	}
	return Part{Known: true, Ns: int64(time.Duration(to - from))}
}

func attributes(in []schemas.Attribute) []Attribute {
	out := make([]Attribute, len(in))
	for i, a := range in {
		out[i] = Attribute(a)
	}
	return out
}

func some[T any](in []T) []T {
	if in == nil {
		return []T{}
	}
	return in
}
