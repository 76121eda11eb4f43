package exporters

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/hoptrace/hoptrace/internal/search"
	"github.com/hoptrace/hoptrace/schemas"
)

// Sighting is what a batch saw of one fingerprint in one release. The group
// stage hands sightings over before the events' rows are written; seeing the
// same one again changes nothing.
type Sighting struct {
	Project uint64
	// Hashes are the event's fingerprints, best first: the first that belongs to
	// an issue decides, the others are attached to it. With none known a new issue
	// gets all.
	Hashes []schemas.Fingerprint
	// Version names the grouping configuration that made the hashes.
	Version string
	// Tree is the component tree, JSON: why these events are one issue.
	Tree []byte
	// Category is "error", or what else made the issue ("feedback", "monitor" …).
	Category string
	// Of the latest event.
	Title, Culprit, Level, Platform, Logger string
	Release, Environment                    string
	FirstSeen, LastSeen                     int64 // Unix ns, of events
	// LastReceived is when the collector had the latest of them, Unix ns. A
	// sighting of nothing but what came before its issue was deleted is discarded.
	LastReceived int64
}

// Seen is what became of a sighting.
type Seen struct {
	Issue schemas.IssueID
	// Hash is the one of Hashes that decided.
	Hash  schemas.Fingerprint
	IsNew bool
	// IsRegression: the issue was resolved, and came back with this.
	IsRegression bool
	// Discard: somebody discarded the issue for good, or deleted it after the
	// events were received; drop the events and count them.
	Discard bool
}

// IssueSighter is the side of the issues that the group stage writes.
type IssueSighter interface {
	// SeeIssues notes sightings, all in one transaction. The result has one
	// element a sighting, in order. It fails with ErrUnavailable when time may heal it.
	SeeIssues(ctx context.Context, sightings []Sighting) ([]Seen, error)
}

// Bounds of what is asked of issues and their hashes at once.
const (
	// MaxIssues is how many issues an action changes at once.
	MaxIssues = 1000
	// MaxHashes is how many hashes an issue has at most, and a question names.
	MaxHashes = 5000
)

// Issues are listed and read.
type Issues interface {
	// SeeIssue is SeeIssues for one that has one hash; ID and the state are
	// ignored. It returns the id, and whether the issue is new.
	SeeIssue(ctx context.Context, seen schemas.Issue) (id schemas.IssueID, isNew bool, err error)
	// Issues lists a project's that are neither merged into another nor deleted.
	Issues(ctx context.Context, q IssueQuery) ([]schemas.Issue, error)
	// Issue finds one, or fails with ErrNotFound: also a merged one, whose
	// MergedInto tells where its hashes went.
	Issue(ctx context.Context, project uint64, id schemas.IssueID) (schemas.Issue, error)
}

// IssueStore is what the web reads and changes.
type IssueStore interface {
	Issues
	// IssueHashes gives the hashes of issues (at most MaxIssues), oldest first.
	IssueHashes(ctx context.Context, project uint64, ids []schemas.IssueID) (map[schemas.IssueID][]IssueHash, error)
	// IssuesOfHashes tells whose these hashes (at most MaxHashes) are; those of no
	// issue are left out.
	IssuesOfHashes(ctx context.Context, project uint64, hashes []schemas.Fingerprint) (map[schemas.Fingerprint]schemas.IssueID, error)
	// HashTree gives the component tree of a hash, JSON, or fails with ErrNotFound.
	HashTree(ctx context.Context, project uint64, hash schemas.Fingerprint) (json.RawMessage, error)
	// Activity gives what happened to an issue, newest first, at most limit (1 to 500).
	Activity(ctx context.Context, project uint64, id schemas.IssueID, limit int) ([]IssueActivity, error)
	// Bookmarks lists who has a bookmark on the issue, sorted.
	Bookmarks(ctx context.Context, project uint64, id schemas.IssueID) ([]string, error)
	// ReleasesSeen lists those that events told, last created first, at most limit
	// (1 to 10,000).
	ReleasesSeen(ctx context.Context, project uint64, limit int) ([]ReleaseSeen, error)

	// ChangeIssues does one action to issues (at most MaxIssues) and returns those
	// that it changed. Doing it again changes none. Ids that are not there, or
	// merged, are passed over; of several also those that cannot be resolved in the
	// next release because none is known.
	ChangeIssues(ctx context.Context, project uint64, ids []schemas.IssueID, c IssueChange) ([]schemas.IssueID, error)
	// MergeIssues moves the hashes of others to target and leaves redirects behind.
	// It fails with ErrNotFound when one is not there, with ErrTooLarge when target
	// would have more than MaxHashes.
	MergeIssues(ctx context.Context, project uint64, target schemas.IssueID, others []schemas.IssueID, by string) error
	// UnmergeIssue moves hashes out of an issue: to the one that they were merged
	// from when that is former, else to a new issue. The spans are those of the
	// events on either side, from the events store. It returns where they went; no
	// hash of the issue, or all of them, is ErrBadChange.
	UnmergeIssue(ctx context.Context, u Unmerge) (schemas.IssueID, error)
	// DeleteIssues hides the issues and all events of their hashes that were
	// received before now; what comes later makes new issues. With discard it makes
	// none: SeeIssues answers Discard until RestoreHashes.
	DeleteIssues(ctx context.Context, project uint64, ids []schemas.IssueID, discard bool, by string) ([]schemas.IssueID, error)
	// Discarded lists what was discarded, newest first, at most limit (1 to 500).
	Discarded(ctx context.Context, project uint64, limit int) ([]Discarded, error)
	// RestoreHashes takes back that hashes are discarded; those that are not are
	// passed over.
	RestoreHashes(ctx context.Context, project uint64, hashes []schemas.Fingerprint) error
}

// ErrBadChange is of an action that cannot be done; its text says why and what can.
var ErrBadChange = errors.New("cannot be done")

// IssueQuery selects issues. Empty fields do not filter.
type IssueQuery struct {
	Project uint64
	Range   Range             // seen within: last seen in or after it, first seen before its end
	Text    string            // contained in title or culprit, without regard to case
	IDs     []schemas.IssueID // only these, at most MaxIssues; not nil but empty gives none
	Where   search.Query      // of search.OfIssue; releases are names by now
	Me      string            // who asks: what "me" means in Where
	Newest  bool              // sort by FirstSeen, newest first; otherwise by LastSeen
	// Before pages: only what is sorted by before this (Unix ns) and, of what is
	// sorted at it, ids below BeforeID.
	Before   int64
	BeforeID schemas.IssueID
	Limit    int // 1 to MaxIssues; zero means 50
}

// IssueHash is one hash of an issue.
type IssueHash struct {
	Hash    schemas.Fingerprint
	Version string // grouping configuration that made it
	// Former is the issue that it was merged from; zero when it has always been of
	// this one.
	Former schemas.IssueID
	// FirstSeen is when it was first seen, Unix ns of the server's clock.
	FirstSeen int64
	// After hides events: those received before it (Unix ns) were deleted.
	After int64
}

// IssueActivity is one line of an issue's log.
type IssueActivity struct {
	ID    int64
	Issue schemas.IssueID
	Kind  string // see package issuestate
	By    string // empty: the system
	At    int64  // Unix ns
	Data  json.RawMessage
}

// ReleaseSeen is a release that events told.
type ReleaseSeen struct {
	Name      string
	Created   int64 // Unix ns: when it was made, or else of its first event
	FirstSeen int64 // Unix ns, of events
	LastSeen  int64
}

// IssueChange is one action; exactly one of its parts is set.
type IssueChange struct {
	By string // who, at most 200 bytes
	At time.Time

	Resolve   *schemas.Resolution // in the next release: Release empty means after the newest that was seen
	Unresolve bool
	Archive   *schemas.Archive
	Assign    *string // empty: nobody
	Priority  string
	Bookmark  *bool  // of By
	Comment   string // at most 10,000 bytes; one equal to By's last within a minute is the same
}

// Unmerge takes hashes out of an issue.
type Unmerge struct {
	Project uint64
	Issue   schemas.IssueID
	Hashes  []schemas.Fingerprint
	Former  bool
	By      string
	// FirstSeen and LastSeen of the events that stay and of those that go, Unix ns;
	// zero leaves what is known.
	Stay, Go SeenSpan
	// Of the latest event that goes.
	Title, Culprit, Level string
	// StayTitle, StayCulprit and StayLevel are of the latest event that stays; with an
	// empty title the issue keeps its own.
	StayTitle, StayCulprit, StayLevel string
}

// SeenSpan is a stretch of events, both ends included.
type SeenSpan struct{ First, Last int64 }

// Discarded is an issue that was discarded.
type Discarded struct {
	Hashes         []schemas.Fingerprint
	Title, Culprit string
	By             string
	At             int64 // Unix ns
}

// IssueKeeper is what runs on its own asks of the issues.
type IssueKeeper interface {
	// Lease makes holder the only one to do what is named, until ttl from now, and
	// tells whether it is; the holder prolongs it by asking again.
	Lease(ctx context.Context, name, holder string, ttl time.Duration) (bool, error)
	// AgeIssues does what time does to at most limit issues of all projects, and
	// returns how many it changed: as many as limit means that there may be more.
	AgeIssues(ctx context.Context, now time.Time, limit int) (int, error)
	// SleepingIssues lists archived issues whose end the events store decides
	// (UntilEscalating, UntilCount, UntilUsers), by id, from after on.
	SleepingIssues(ctx context.Context, after schemas.IssueID, limit int) ([]SleepingIssue, error)
	// KeepForecast stores the ceilings of an issue.
	KeepForecast(ctx context.Context, id schemas.IssueID, f IssueForecast) error
	// CountIssue tells what the events store counted of a sleeping issue: events or
	// users, for UntilEscalating of today with the day's ceiling. It tells whether
	// that woke it; an issue that changed since it was listed is left alone.
	CountIssue(ctx context.Context, s SleepingIssue, n, ceiling uint64, now time.Time) (bool, error)
	// Replacements gives the oldest messages for the topic event-replacements that
	// are not out yet.
	Replacements(ctx context.Context, limit int) ([]Replacement, error)
	// ReplacementsSent removes them.
	ReplacementsSent(ctx context.Context, ids []int64) error
	// DeletedHashes gives hashes whose deleted events have not been removed.
	DeletedHashes(ctx context.Context, limit int) ([]DeletedHash, error)
	// HashesRemoved notes that they have. The marks stay.
	HashesRemoved(ctx context.Context, removed []DeletedHash) error
}

// SleepingIssue is an archived issue with its hashes.
type SleepingIssue struct {
	ID        schemas.IssueID
	Project   uint64
	FirstSeen int64
	State     schemas.IssueState
	Hashes    []IssueHash
	Forecast  IssueForecast // zero: none yet
}

// IssueForecast are the ceilings of 14 days.
type IssueForecast struct {
	First    int64    `json:"first"` // Unix ns of the first day's midnight, UTC
	Ceilings []uint64 `json:"ceilings"`
}

// Replacement is a message for the topic event-replacements, in order.
type Replacement struct {
	ID      int64
	Project uint64
	Value   []byte // JSON in Sentry's shape
}

// DeletedHash is a hash whose events received before Before (Unix ns) are deleted.
type DeletedHash struct {
	Project uint64
	Hash    schemas.Fingerprint
	Before  int64
}

// EventSet selects events of an issue: those of its hashes that match.
type EventSet struct {
	Issue  schemas.IssueID // names the set in answers
	Hashes []IssueHash     // at most MaxHashes over all sets of a question
}

// EventFilter narrows events down. Empty fields do not filter.
type EventFilter struct {
	Range Range
	Where search.Query // of search.OfEvent; releases are names by now
}

// EventPage asks for one page of an issue's events, newest first.
type EventPage struct {
	EventFilter
	// Before pages: only events before this time (Unix ns) and, of those at it, ids
	// above BeforeID.
	Before   int64
	BeforeID schemas.EventID
	Limit    int // 1 to 500; zero means 50
}

// IssueEventReader reads what issues are made of. An event that was sent, or
// stored, twice counts once.
type IssueEventReader interface {
	// EventsOf lists the events of one set, newest first; those of one time by id.
	EventsOf(ctx context.Context, project uint64, set EventSet, p EventPage) ([]schemas.Event, error)
	// StatsOf counts the events of each set; sets without an event are left out.
	// Hours and Days are those before the end of the range.
	StatsOf(ctx context.Context, project uint64, sets []EventSet, f EventFilter) (map[schemas.IssueID]EventStats, error)
	// HourlyOf counts the events of each hour from begin on, hours of them (at most 400).
	HourlyOf(ctx context.Context, project uint64, sets []EventSet, begin time.Time, hours int) (map[schemas.IssueID][]uint64, error)
	// MostWithin gives the most events, or users, of the set that any stretch of
	// that length has had since from: of stretches that end with an event.
	MostWithin(ctx context.Context, project uint64, set EventSet, from time.Time, window time.Duration, users bool) (uint64, error)
	// TagsOf counts the values of each tag over the newest 100,000 events, most
	// frequent first, at most 100 tags and limit values (1 to 100) each. What is kept of each event counts as a tag
	// too: release, environment, topic, partition, group, level, server, user …
	TagsOf(ctx context.Context, project uint64, set EventSet, f EventFilter, limit int) ([]EventTag, error)
	// HashesWith gives the fingerprints of events that match, at most limit; more
	// is true when there are others.
	HashesWith(ctx context.Context, project uint64, f EventFilter, limit int) (hashes []schemas.Fingerprint, more bool, err error)
	// RemoveEvents removes the events of these hashes (at most 1,000, of one project)
	// that were received before their time. It may be repeated.
	RemoveEvents(ctx context.Context, deleted []DeletedHash) error
}

// EventStats are counts over one set of events.
type EventStats struct {
	Events  uint64
	Users   uint64 // different ones, of the events that told one
	Records uint64 // different Kafka records that caused them, as far as told; a retried one is that which failed first
	First   int64  // Unix ns, of the first event
	Last    int64
	FirstID schemas.EventID
	LastID  schemas.EventID
	// Hours and Days hold the events of each of the last 24 hours and 14 days
	// before the end of the range, oldest first.
	Hours [24]uint64
	Days  [14]uint64
}

// EventTag is a tag with its values.
type EventTag struct {
	Key    string
	Events uint64 // that have it
	Others uint64 // values beyond those listed
	Values []EventTagValue
}

// EventTagValue is one value.
type EventTagValue struct {
	Value  string
	Events uint64
	First  int64 // Unix ns
	Last   int64
}

// GroupingLines says in lines for people why events are one issue: what
// contributes in the component tree of a hash. It gives nil for what is no tree.
func GroupingLines(tree []byte) []string {
	var lines []string
	if json.Unmarshal(tree, &lines) == nil {
		if len(lines) == 0 {
			return nil
		}
		return lines
	}
	var root any
	if json.Unmarshal(tree, &root) != nil {
		return nil
	}
	groupingLines(root, "", &lines, 0)
	return lines
}

// Bounds of GroupingLines.
const (
	maxGroupingLines = 60
	maxGroupingDepth = 20
)

// groupingLines walks what contributes of a tree: variants have a component, a
// component a value or the values below it.
func groupingLines(node any, name string, lines *[]string, depth int) {
	if len(*lines) >= maxGroupingLines || depth > maxGroupingDepth {
		return
	}
	switch n := node.(type) {
	case string:
		if n != "" {
			*lines = append(*lines, name+" "+n)
		}
	case []any:
		for _, v := range n {
			groupingLines(v, name, lines, depth+1)
		}
	case map[string]any:
		if contributes, told := n["contributes"].(bool); told && !contributes {
			return
		}
		if id, ok := n["id"].(string); ok {
			name = id
		}
		from := len(*lines)
		for _, below := range []string{"variants", "component", "value", "values"} {
			groupingLines(n[below], name, lines, depth+1)
		}
		if name == "frame" && len(*lines) > from+1 {
			// What tells a frame from others is one line.
			var words []string
			for _, l := range (*lines)[from:] {
				_, word, _ := strings.Cut(l, " ")
				words = append(words, word)
			}
			*lines = append((*lines)[:from], "frame "+strings.Join(words, " "))
		}
	}
}
