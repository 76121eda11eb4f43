// Package exporters holds the contracts of storage. A backend writes its store
// and reads it back; each passes package exportertest. Collector, pipeline and
// web know only what stands here; cmd/hoptrace chooses the backends.
package exporters

import (
	"context"
	"errors"
	"time"

	"github.com/hoptrace/hoptrace/internal/search"
	"github.com/hoptrace/hoptrace/schemas"
)

// Errors that callers act on.
var (
	// ErrTooLarge: the batch exceeds what the store takes at once; split it.
	ErrTooLarge = errors.New("batch too large for the store")
	// ErrNotFound: nothing is stored under that name.
	ErrNotFound = errors.New("not found")
	// ErrUnavailable: the store cannot be reached now; try again.
	ErrUnavailable = errors.New("store unavailable")
	// ErrConflict: it was changed by somebody else meanwhile; read it again.
	ErrConflict = errors.New("changed meanwhile")
	// ErrInvalid: what was given cannot be stored; the error names each fault.
	ErrInvalid = errors.New("invalid")
)

// SpanWriter stores spans and the message rows derived from them.
type SpanWriter interface {
	// WriteSpans returns nil once all rows are durable, so the caller may
	// commit its offsets. On ErrTooLarge split the batch; any other error may
	// be retried after asking WrittenSpans again: part of the batch may be
	// stored. It keeps no part of its arguments.
	WriteSpans(ctx context.Context, spans []schemas.Span, messages []schemas.Message) error

	// WrittenSpans tells which rows of a source are stored at or after an
	// offset, so that a replay writes only what is missing. The caller asks for
	// the offset it last committed; what lies behind it is at most a few
	// batches. It fails with ErrTooLarge beyond 2,000,000 rows.
	WrittenSpans(ctx context.Context, source schemas.Source, from int64) (Written, error)
}

// Written holds the positions of rows that are stored already.
type Written struct {
	Spans    map[schemas.Position]struct{}
	Messages map[schemas.Position]struct{}
}

// EventWriter stores events.
type EventWriter interface {
	// WriteEvents returns nil once all are durable. See SpanWriter.WriteSpans.
	WriteEvents(ctx context.Context, events []schemas.Event) error
	// WrittenEvents is to events what WrittenSpans is to spans.
	WrittenEvents(ctx context.Context, source schemas.Source, from int64) (map[schemas.Position]struct{}, error)
	// WrittenIngest tells which records of an ingest topic have a row, by their
	// offsets at or after one: what came a second time by the topic events is left
	// out by it. It fails with ErrTooLarge beyond 2,000,000 rows.
	WrittenIngest(ctx context.Context, ingest schemas.Source, from int64) (map[int64]struct{}, error)
}

// MetricWriter stores metric points.
type MetricWriter interface {
	// WriteMetrics returns nil once all are durable. See SpanWriter.WriteSpans.
	WriteMetrics(ctx context.Context, points []schemas.MetricPoint) error
	// WrittenMetrics is to metric points what WrittenSpans is to spans.
	WrittenMetrics(ctx context.Context, source schemas.Source, from int64) (map[schemas.Position]struct{}, error)
}

// Range is a stretch of time, [From, To). Zero From means the beginning, zero
// To means now.
type Range struct {
	From, To time.Time
}

// TraceQuery selects traces. Empty fields do not filter.
type TraceQuery struct {
	Project    uint64
	Range      Range
	Service    string
	Topic      string
	Group      string
	MinLatency time.Duration // of the whole trace: first start to last end
	ErrorsOnly bool
	Where      search.Expr // of search.Spans: one span of the trace fulfils it
	// Before pages: only traces that start before this time (Unix ns); zero
	// means from the newest. Of the traces that start at it, those with an id
	// below BeforeTrace come too: with the last one of a page in both, no trace
	// is passed over because many began at one time.
	Before      int64
	BeforeTrace schemas.TraceID
	Limit       int // 1 to 500; zero means 50
}

// TraceSummary is one line of the list of traces.
type TraceSummary struct {
	TraceID  schemas.TraceID
	Start    int64 // Unix ns of the earliest span
	Duration time.Duration
	Root     string // name of the root span, or of the earliest one
	Service  string // of that span
	Services []string
	Topics   []string
	Spans    uint64
	Errors   uint64
}

// SpanReader reads traces back.
type SpanReader interface {
	// FindTraces lists traces, newest first; those of one start by id, largest
	// first. A trace of nothing but commits is left out.
	FindTraces(ctx context.Context, q TraceQuery) ([]TraceSummary, error)
	// Spans gives the spans of some traces (at most 100 ids), by start time,
	// at most limit of them (1 to 20,000).
	Spans(ctx context.Context, project uint64, traces []schemas.TraceID, limit int) ([]schemas.Span, error)
	// SpansAfter is Spans without the first skip, and CountSpans how many there are,
	// those that are stored twice once.
	SpansAfter(ctx context.Context, project uint64, traces []schemas.TraceID, skip, limit int) ([]schemas.Span, error)
	CountSpans(ctx context.Context, project uint64, traces []schemas.TraceID) (uint64, error)
	// SpansAt gives these spans (at most 1,000) by start time, as far as they are
	// stored.
	SpansAt(ctx context.Context, project uint64, refs []schemas.SpanRef) ([]schemas.Span, error)
	// LinkedFrom gives the spans that link to one, by start time.
	LinkedFrom(ctx context.Context, q LinkQuery) ([]schemas.Span, error)
	// Names lists what can be filtered by, each sorted, at most 1,000 a kind.
	Names(ctx context.Context, project uint64, r Range) (Names, error)
}

// Names are the values that a person can filter by.
type Names struct {
	Services, Topics, Groups []string
}

// MessageReader reads message rows and what follows from them. A record that
// was stored twice (see SpanWriter) comes back once.
type MessageReader interface {
	// MessagesOfTraces gives the rows whose span lies in one of these traces
	// (at most 100 ids), at most limit.
	MessagesOfTraces(ctx context.Context, project uint64, traces []schemas.TraceID, limit int) ([]schemas.Message, error)
	// MessagesOfRecords gives all rows, producer's and consumers', of these
	// records (at most 1,000), at most limit.
	MessagesOfRecords(ctx context.Context, project uint64, records []schemas.RecordRef, limit int) ([]schemas.Message, error)
	// MessagesFrom gives the consumer rows whose record carried one of these
	// contexts (at most 1,000): the hops of a producer that was told no offset.
	MessagesFrom(ctx context.Context, project uint64, creation []schemas.SpanRef, limit int) ([]schemas.Message, error)
	// MessagesSentOn gives the rows, producer's and consumers', of records that
	// were made of these (at most 1,000) after they had failed, at most limit.
	MessagesSentOn(ctx context.Context, project uint64, originals []schemas.RecordRef, limit int) ([]schemas.Message, error)
	// Settles gives the settle rows of commits that did not fail and cover these
	// consumer rows (at most 1,000): of each record's partition and group the one
	// with the smallest offset at or after it, among at least the next 16,384, and
	// those that link to the row's span or to the context that its record carried.
	Settles(ctx context.Context, project uint64, consumers []schemas.Message) ([]schemas.Message, error)
	// Hops lists hops, by the time the consumer was done, newest or slowest first;
	// or records as they were sent.
	Hops(ctx context.Context, q HopQuery) ([]schemas.Hop, error)
	// HopsOfSpan gives the hops of the records that one span read, each with its
	// producer where it is stored, by the consumer rows' order in MessagesOfTraces;
	// at most limit (1 to MaxBatch) of them.
	HopsOfSpan(ctx context.Context, project uint64, span schemas.SpanRef, limit int) ([]schemas.Hop, error)
	// Topics gives the parts of each topic and group, topics sorted.
	Topics(ctx context.Context, project uint64, r Range) ([]TopicStats, error)
}

// HopQuery selects hops. Empty fields do not filter.
type HopQuery struct {
	Project uint64
	Range   Range
	Topic   string
	Group   string
	// Partition and the offsets from OffsetFrom to before OffsetTo, which is without
	// end when zero, select records. What has no known partition or offset is left
	// out by them.
	Partition            *int32
	OffsetFrom, OffsetTo int64
	Slowest              bool // order by end-to-end, largest first; otherwise newest first
	// Sent lists records as their producers told, oldest first, read or not: the
	// hops have no consumer, Group and Slowest mean nothing. It is for what a group
	// has not read yet.
	Sent  bool
	Limit int // 1 to 500; zero means 50
}

// TopicStats are the parts of one topic as one group sees it. Group is empty
// for records that nobody has been seen to read.
type TopicStats struct {
	Topic, Group string
	Produced     uint64 // records seen at the producer
	Consumed     uint64 // records seen at the consumer, each once
	Failed       uint64 // of the consumed ones
	LastSeen     int64  // Unix ns
	Parts        map[PartName]Quantiles
}

// PartName names a part of a hop, as the API and the UI write it.
type PartName string

// The parts in time order, then what is no tile.
const (
	PartBatchQueue PartName = "batch_queue"
	PartRetry      PartName = "retry"
	PartAck        PartName = "ack"
	PartBacklog    PartName = "backlog"
	PartLongPoll   PartName = "long_poll"
	PartFetchQueue PartName = "fetch_queue"
	PartProcessing PartName = "processing"
	PartEndToEnd   PartName = "end_to_end"
)

// Quantiles of one part. Count is how many hops had it known; with zero the
// others mean nothing.
type Quantiles struct {
	Count              uint64
	P50, P90, P95, P99 time.Duration
	Negative           uint64 // how many were below zero: clocks that disagree
}

// EventReader reads events back.
type EventReader interface {
	// Events lists an issue's events, newest first, at most limit (1 to 500).
	Events(ctx context.Context, project uint64, issue schemas.IssueID, limit int) ([]schemas.Event, error)
	// Event finds one by its id, or fails with ErrNotFound.
	Event(ctx context.Context, project uint64, id schemas.EventID) (schemas.Event, error)
	// EventsOfTraces gives events that happened in one of these traces (at most 100).
	EventsOfTraces(ctx context.Context, project uint64, traces []schemas.TraceID, limit int) ([]schemas.Event, error)
	// IssueStats counts the events of these issues (at most 500). An event that
	// was sent twice counts once.
	IssueStats(ctx context.Context, project uint64, issues []schemas.IssueID, r Range) (map[schemas.IssueID]IssueStats, error)
}

// IssueStats are counts over events.
type IssueStats struct {
	Events uint64
	// Records is how many different Kafka records caused them, as far as told.
	Records uint64
	// Hours holds the events of each of the last 24 hours before Range.To, oldest first.
	Hours [24]uint64
}

// Projects are read by the collector, which authenticates and decides by them,
// and changed by people.
type Projects interface {
	// ProjectByKey finds a DSN's public key and its project with its settings, or
	// fails with ErrNotFound. Either may be disabled.
	ProjectByKey(ctx context.Context, key string) (schemas.Project, schemas.Key, error)
	// ProjectsVersion changes with each change of a project or a key, so that one
	// who keeps them need not ask for each.
	ProjectsVersion(ctx context.Context) (int64, error)
	// Projects lists all, by id, without their settings.
	Projects(ctx context.Context) ([]schemas.Project, error)
	// Project finds one with its settings, or fails with ErrNotFound.
	Project(ctx context.Context, id uint64) (schemas.Project, error)
	// EnsureProject makes the project with this slug and one new random key
	// unless it is there, and returns it with its settings.
	EnsureProject(ctx context.Context, slug, name string) (schemas.Project, error)
	// CreateProject makes a project of p's Slug, Name and Settings (nil: the
	// defaults) with one new random key. It fails with ErrExists or ErrInvalid.
	CreateProject(ctx context.Context, p schemas.Project) (schemas.Project, error)
	// UpdateProject sets Name, Disabled and, unless nil, Settings of the project
	// with p's ID. It fails with ErrNotFound, ErrInvalid, and with ErrConflict when
	// p's Revision is neither zero nor that of the store.
	UpdateProject(ctx context.Context, p schemas.Project) (schemas.Project, error)
	// ListKeys lists a project's, disabled ones, too, by time of making; or fails
	// with ErrNotFound.
	ListKeys(ctx context.Context, project uint64) ([]schemas.Key, error)
	// CreateKey makes a new random key with k's Project, Label and Limit. It is
	// active. It fails with ErrNotFound or ErrInvalid.
	CreateKey(ctx context.Context, k schemas.Key) (schemas.Key, error)
	// UpdateKey sets Label, Active and Limit of the key with k's Project and
	// Public. It fails with ErrNotFound or ErrInvalid.
	UpdateKey(ctx context.Context, k schemas.Key) (schemas.Key, error)
	// RotateKey disables a key and makes a new one with its label and limit, both
	// or neither. It fails with ErrNotFound.
	RotateKey(ctx context.Context, project uint64, public string) (schemas.Key, error)
	// DeleteKey forgets a key for good, or fails with ErrNotFound.
	DeleteKey(ctx context.Context, project uint64, public string) error
}

// Blobs keeps payloads as they came.
type Blobs interface {
	// Put stores data under key until it is deleted and returns nil once it is
	// durable. Putting the same key again replaces it.
	Put(ctx context.Context, key string, data []byte) error
	// Get fails with ErrNotFound. The caller owns the result.
	Get(ctx context.Context, key string) ([]byte, error)
	// Delete of what is not there is no error.
	Delete(ctx context.Context, key string) error
}

// Pinger tells whether a store answers; /readyz asks it.
type Pinger interface {
	Ping(ctx context.Context) error
}
