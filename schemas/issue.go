package schemas

import "encoding/hex"

// IssueID names an issue. Zero means none.
type IssueID uint64

// Fingerprint is the hash that puts events into one issue.
type Fingerprint [16]byte

// String is the lower-case hex form.
func (f Fingerprint) String() string { return hex.EncodeToString(f[:]) }

// Issue is a group of events: those whose fingerprint is one of its hashes.
type Issue struct {
	ID      IssueID
	Project uint64
	// Fingerprint is the hash that the issue was made with.
	Fingerprint Fingerprint
	// Category is "error", or what else made the issue ("feedback", "monitor" …).
	Category string
	// Of the latest event.
	Title    string // "type: value", at most 256 characters
	Culprit  string
	Level    string
	Platform string
	Logger   string
	// FirstSeen and LastSeen are times of events, Unix ns.
	FirstSeen, LastSeen int64
	// FirstRelease and LastRelease are of the first and the last event that told one.
	FirstRelease, LastRelease string

	IssueState

	// Assignee is whom somebody gave it to, empty for nobody.
	Assignee string
	Priority string // "high", "medium", "low"
	// MergedInto is the issue that has taken this one's hashes. Zero: none has.
	MergedInto IssueID
	// Grouping says why its events are one issue, for people: one line a
	// component ("type CardDeclined", "frame payments.charge").
	Grouping []string
}

// Status of an issue.
const (
	StatusUnresolved = "unresolved"
	StatusResolved   = "resolved"
	StatusArchived   = "archived"
)

// Substatus of an issue: of an unresolved one first, then of an archived one. A
// resolved one has none.
const (
	SubstatusNew        = "new"        // for 3 days
	SubstatusOngoing    = "ongoing"    // what the others become
	SubstatusRegressed  = "regressed"  // came back after it was resolved; for 7 days
	SubstatusEscalating = "escalating" // came more often than forecast; for 7 days

	SubstatusUntilEscalating   = "until_escalating"
	SubstatusUntilConditionMet = "until_condition_met"
	SubstatusForever           = "forever"
)

// IssueState is where an issue stands in its life. Package issuestate holds the
// rules.
type IssueState struct {
	Status    string
	Substatus string
	// Since is when it came to be so, Unix ns of the server's clock.
	Since      int64
	Resolution Resolution // of a resolved issue
	Archive    Archive    // of an archived one
}

// Resolution says what a resolved issue was resolved in.
type Resolution struct {
	Kind string `json:"kind"` // one of the Resolved…
	// Release is the one that holds the repair (ResolvedInRelease), or the newest
	// one without it (ResolvedInNextRelease).
	Release string `json:"release,omitempty"`
	At      int64  `json:"at"` // Unix ns: what happened before is no regression
	By      string `json:"by,omitempty"`
}

// Kinds of resolution.
const (
	ResolvedNow           = "now"
	ResolvedInRelease     = "in_release"
	ResolvedInNextRelease = "in_next_release"
)

// Archive says until when an archived issue rests.
type Archive struct {
	Kind  string `json:"kind"`            // one of the Until…
	Until int64  `json:"until,omitempty"` // Unix ns (UntilTime)
	// Count is how many events, or users, wake it (UntilCount, UntilUsers): within
	// any Window when that is set, else since At.
	Count  uint64 `json:"count,omitempty"`
	Window int64  `json:"window,omitempty"` // ns
	At     int64  `json:"at"`               // Unix ns
	By     string `json:"by,omitempty"`
}

// Kinds of archive.
const (
	UntilForever    = "forever"
	UntilEscalating = "escalating"
	UntilTime       = "time"
	UntilCount      = "count"
	UntilUsers      = "users"
)

// Priorities of an issue.
const (
	PriorityHigh   = "high"
	PriorityMedium = "medium"
	PriorityLow    = "low"
)
