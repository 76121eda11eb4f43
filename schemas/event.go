package schemas

import "encoding/hex"

// EventID is a Sentry event id: a UUID.
type EventID [16]byte

// String is 32 hex digits, as Sentry SDKs write it.
func (id EventID) String() string { return hex.EncodeToString(id[:]) }

// Event is one error event of a Sentry SDK, normalised. The payload as it came
// lies in the blob store under [EventBlobKey].
type Event struct {
	Project     uint64
	ID          EventID
	Time        int64 // Unix ns, when it happened
	Received    int64 // Unix ns, when the collector had it
	Issue       IssueID
	Fingerprint Fingerprint
	Level       string
	Platform    string
	Type        string // of the last exception
	Value       string // its first line, or the message
	Culprit     string
	Transaction string
	Release     string
	Environment string
	Server      string
	SDK         string // name/version
	Logger      string
	// Handled tells whether the program caught it: mechanism.handled of the last
	// exception.
	Handled Handled
	// Who it happened to, as far as the event told. Users are counted by the first
	// of these that is set.
	UserID, UserName, UserEmail, UserIP string
	TraceID                             TraceID
	SpanID                              SpanID
	// The record being processed, if the SDK told (context "kafka"); Topic is
	// empty otherwise and the record is found by TraceID and SpanID.
	Topic     string
	Partition int32 // Unknown when not told
	Offset    int64 // Unknown when not told
	Group     string
	Tags      []Attribute

	Source   Source
	Position Position
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
	ID   uint64
	Slug string
	Name string
	// Keys are the public keys of its DSNs, 32 hex digits each.
	Keys []string
}
