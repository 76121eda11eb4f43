package schemas

import (
	"encoding/hex"
	"strings"
)

// EventID is a Sentry event id: a UUID.
type EventID [16]byte

// String is 32 hex digits, as Sentry SDKs write it.
func (id EventID) String() string { return hex.EncodeToString(id[:]) }

// Event is one error event, normalised. Its payload lies in the node store under
// Node, or, when it was stored before there was one, in the blob store under
// [EventBlobKey].
type Event struct {
	Project     uint64
	ID          EventID
	Time        int64 // Unix ns, when it happened
	Received    int64 // Unix ns, when the collector had it
	Issue       IssueID
	Fingerprint Fingerprint // the hash that decided about Issue when it was stored
	HashVersion string      // of the grouping that made Fingerprint
	Level       string
	Platform    string
	Type        string // of the last exception
	Value       string // its first line, or the message
	Culprit     string
	Transaction string
	Release     string
	Dist        string
	Environment string
	Server      string
	Logger      string
	SDK         string // name/version
	SDKName     string
	Origin      Origin
	// Handled tells whether the program caught it: mechanism.handled of the last
	// exception.
	Handled Handled
	// Who it happened to, as far as the event told. Users are counted by the first
	// of these that is set, of which UserHash is a hash; zero without any.
	UserID, UserName, UserEmail, UserIP string
	UserHash                            uint64
	TraceID                             TraceID
	SpanID                              SpanID
	// The record being processed, if the SDK told (context "kafka"); Topic is
	// empty otherwise and the record is found by TraceID and SpanID.
	Topic     string
	Partition int32 // Unknown when not told
	Offset    int64 // Unknown when not told
	Group     string
	// What else the SDK told of it. Strings are empty and numbers zero when it did not.
	Member          string
	KeyHash         string // as the integration writes it: never the key
	ProducerRelease string
	Attempt         uint16 // 1, or more after a retry topic
	Batch           uint32 // how many records were processed at once; Offset is the oldest's
	RecordTime      int64  // Unix ns: the record's timestamp
	// Age is how old the record was when the event happened, in ns, over two
	// clocks; Unknown when not told. An age of -1 ns is told as -2.
	Age int64
	// Where the record failed first, when it came by a retry topic; OriginalTopic is
	// empty otherwise.
	OriginalTopic     string
	OriginalPartition int32
	OriginalOffset    int64

	Tags []Attribute

	// Node is the payload's reference; empty for one in the blobs.
	Node NodeRef
	// Weight is for how many events the row stands: 1, or more when the collector
	// sampled repeats of one error. Zero is 1, of rows from before there was a weight.
	Weight uint32
	Repeat bool // it came as a repeat: its payload may be a part of the event

	// The record of topic events that the row came from.
	Source   Source
	Position Position
	// And the ingest record that the event came in; Ingest is zero when it came
	// from elsewhere.
	Ingest       Source
	IngestOffset int64
}

// NodeRef names a payload in the node store: a short text of that store's own.
type NodeRef string

// Origin tells by whom an event was told.
type Origin string

// The origins.
const (
	OriginSentry Origin = "sentry" // an SDK's event
	OriginOTel   Origin = "otel"   // an exception of a span or a log record
)

// SameErrorType tells whether two types of errors may be names of one: SDKs write them
// with or without the package, and some leave them out.
func SameErrorType(a, b string) bool {
	a, b = errorName(a), errorName(b)
	return a == b || a == "" || b == ""
}

// errorName is a type without its package.
func errorName(kind string) string {
	kind = strings.TrimLeft(kind, "*&")
	return kind[strings.LastIndexAny(kind, ".:")+1:]
}

// Handled tells whether the program caught an error.
type Handled uint8

// Values of Handled.
const (
	HandledUnknown Handled = iota // the event does not tell
	HandledYes
	HandledNo
)

// EventBlobKey is where an event's payload lies in the blob store.
func EventBlobKey(project uint64, id EventID) string {
	return "events/" + decimal(project) + "/" + id.String()[:2] + "/" + id.String()
}

func decimal(v uint64) string {
	var b [20]byte
	i := len(b)
	for {
		i--
		b[i] = byte('0' + v%10)
		if v /= 10; v == 0 {
			return string(b[i:])
		}
	}
}

// Project is what a DSN names.
type Project struct {
	ID           uint64
	Organization uint64 // 1 until there are more
	Slug         string
	Name         string
	// Keys are the public keys of its DSNs, 32 hex digits each, without those
	// that are disabled.
	Keys []string
	// Disabled: what is sent to it is refused.
	Disabled bool
	// Revision grows with each change of the name, the state and the settings.
	Revision int64
	// Settings are shared: nobody may change them. They are nil in lists of
	// projects.
	Settings *ProjectSettings
}
