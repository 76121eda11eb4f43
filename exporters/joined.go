package exporters

import (
	"context"
	"time"

	"github.com/hoptrace/hoptrace/schemas"
)

// JoinedReader joins events with the messages that were being processed when they
// happened.
type JoinedReader interface {
	// IssueMessages tells which records the events of one set are about, and how
	// all records of those topics compare. An event names its record itself, or it
	// happened in the span that processed it, or in one below. It looks at the
	// newest MaxJoinedEvents events, and finds the spans of at most MaxJoinedSpans.
	// An event that was sent, or stored, twice counts once.
	IssueMessages(ctx context.Context, project uint64, set EventSet, f EventFilter) (IssueMessages, error)
	// EventsOfRecord lists the events that name this record, or name it as the one
	// that failed before it was sent on; newest first, at most limit (1 to 500).
	EventsOfRecord(ctx context.Context, project uint64, record schemas.RecordRef, limit int) ([]schemas.Event, error)
}

// Bounds of IssueMessages.
const (
	MaxJoinedEvents = 100_000
	MaxJoinedSpans  = 5_000
	// MaxMessageValues is how many values of a dimension are listed.
	MaxMessageValues = 12
	// MaxWorstRecords and MaxOldestEvents are how many of either are listed.
	MaxWorstRecords = 10
	MaxOldestEvents = 5
)

// IssueMessages are the messages behind an issue.
type IssueMessages struct {
	// Events counts those that were looked at, each by its weight; BySpan of Placed
	// were found by their span, the others told.
	Events, Placed, BySpan uint64
	More                   bool  // older events were not looked at
	First, Last            int64 // Unix ns, of placed events
	// Records counts different records. One that was sent on after a failure counts
	// as the one that failed first, under which its events come together.
	Records                  uint64
	FewestEvents, MostEvents uint64 // of one record
	Worst                    []RecordEvents

	Age    MessageAge
	Oldest []EventAge // whose message was oldest, oldest first
	By     []MessageDimension

	// Sample is of how many records that were processed one was looked at for the
	// baseline, 1 for each; zero when there is no baseline: no row of those topics
	// is stored.
	Sample uint64
	// BaselineFrom and BaselineTo are the stretch that it is of, Unix ns.
	BaselineFrom, BaselineTo int64
}

// RecordEvents is one record with its events.
type RecordEvents struct {
	Record  schemas.RecordRef
	Events  uint64
	Reads   uint64 // how often it was seen read, by its rows; zero when none is stored
	First   int64  // Unix ns, of events
	Last    int64
	TraceID schemas.TraceID // of the last event
}

// EventAge is an event with the age of its message.
type EventAge struct {
	ID      schemas.EventID
	Record  schemas.RecordRef
	Age     time.Duration
	TraceID schemas.TraceID
	SpanID  schemas.SpanID
}

// MessageAge is how old the records were when the events happened: since the
// record's timestamp, or else since it was appended or sent. Of two clocks, it may
// be negative.
type MessageAge struct {
	Events                      uint64 // whose age is known
	Min, P50, P90, P99          time.Duration
	Max                         time.Duration
	Buckets                     [len(AgeBounds) + 1]uint64 // events by AgeBounds
	Records, Baseline           [len(AgeBounds) + 1]uint64 // failing records, and all that were processed, when their processing began
	KnownRecords, KnownBaseline uint64
}

// AgeBounds are the bounds between the buckets of ages: bucket i holds what is
// below bound i.
var AgeBounds = [...]time.Duration{
	time.Millisecond, 10 * time.Millisecond, 100 * time.Millisecond, time.Second, 10 * time.Second, time.Minute,
	5 * time.Minute, 30 * time.Minute, time.Hour, 6 * time.Hour, 24 * time.Hour, 7 * 24 * time.Hour,
}

// Dimension names what messages are told apart by, as the API writes it.
type Dimension string

// The dimensions.
const (
	DimTopic           Dimension = "topic"
	DimPartition       Dimension = "partition"
	DimGroup           Dimension = "group"
	DimKey             Dimension = "key"
	DimProducerRelease Dimension = "producer_release"
	DimRelease         Dimension = "release" // of the consumer
	DimMember          Dimension = "member"
)

// Dimensions are all, in the order in which they are listed.
var Dimensions = []Dimension{DimTopic, DimPartition, DimGroup, DimKey, DimProducerRelease, DimRelease, DimMember}

// MessageDimension counts the values of one dimension.
type MessageDimension struct {
	Dimension       Dimension
	Events, Records uint64 // that tell it
	Others          uint64 // values of events beyond those listed
	Baseline        uint64 // records of the baseline that tell it
	// Values have those of most events first, then those that are frequent in the
	// baseline and of no event; at most MaxMessageValues.
	Values []MessageValue
}

// MessageValue is one value.
type MessageValue struct {
	Topic           string // of a partition
	Value           string // a key is the hash, 16 hexadecimal digits
	Events, Records uint64
	Baseline        uint64 // records
	// Since is when the baseline saw it first, Unix ns; zero when it did not.
	Since int64
}
