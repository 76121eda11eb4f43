package api

import (
	"encoding/json"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/web/api/finding"
)

// IssueList is a page of issues.
type IssueList struct {
	Finding finding.Finding `json:"finding"`
	Issues  []Issue         `json:"issues"`
	Next    *string         `json:"next"` // value of before for the next page
}

// Issue is a group of events.
type Issue struct {
	ID           string      `json:"id"`
	Title        string      `json:"title"`
	Culprit      string      `json:"culprit"`
	Level        string      `json:"level"`
	Platform     string      `json:"platform"`
	Logger       string      `json:"logger"`
	Category     string      `json:"category"`
	Status       string      `json:"status"`
	Substatus    string      `json:"substatus"` // empty for a resolved one
	Since        Nanos       `json:"since"`     // when it came to be so
	Resolution   *Resolution `json:"resolution"`
	Archive      *Archive    `json:"archive"`
	Assignee     string      `json:"assignee"`
	Priority     string      `json:"priority"`
	FirstSeen    Nanos       `json:"firstSeen"`
	LastSeen     Nanos       `json:"lastSeen"`
	FirstRelease string      `json:"firstRelease"` // empty when not told
	LastRelease  string      `json:"lastRelease"`
	Fingerprint  string      `json:"fingerprint"` // the hash that it was made with
	Grouping     []string    `json:"grouping"`    // why its events are one issue, of one that is asked for alone
	Events       uint64      `json:"events"`
	Users        uint64      `json:"users"`
	Records      uint64      `json:"records"`
	Hours        [24]uint64  `json:"hours"` // events of the last 24 hours, oldest first
	Days         [14]uint64  `json:"days"`  // events of the last 14 days, oldest first
}

// Resolution says what an issue was resolved in.
type Resolution struct {
	Kind    string `json:"kind"`
	Release string `json:"release"` // the one with the repair, or for in_next_release the newest without it
	At      Nanos  `json:"at"`
	By      string `json:"by"`
}

// Archive says until when an issue rests.
type Archive struct {
	Kind     string `json:"kind"`
	Until    *Nanos `json:"until"`    // of kind time
	Count    uint64 `json:"count"`    // of kinds count and users
	WindowNs int64  `json:"windowNs"` // within which they come; zero: since it was archived
	At       Nanos  `json:"at"`
	By       string `json:"by"`
}

// IssueDetail is an issue with what belongs to it and its newest events.
type IssueDetail struct {
	Issue Issue `json:"issue"`
	// AskedFor is the id in the path when that was merged into this issue.
	AskedFor   *string         `json:"mergedFrom"`
	Hashes     []IssueHash     `json:"hashes"`
	Activity   []IssueActivity `json:"activity"` // newest first, at most 100
	Bookmarks  []string        `json:"bookmarks"`
	Tags       []IssueTag      `json:"tags"` // of the newest 100,000 events
	Events     []Event         `json:"events"`
	NextEvents *string         `json:"nextEvents"` // value of before for older events
}

// IssueHash is one of the hashes that make the issue.
type IssueHash struct {
	Hash      string `json:"hash"`
	Version   string `json:"version"`   // of the grouping that made it
	Former    string `json:"former"`    // issue that it was merged from, empty for none
	FirstSeen Nanos  `json:"firstSeen"` // by the server
	// Tree says why: the component tree as it was kept; null when none was.
	Tree json.RawMessage `json:"tree"`
}

// IssueActivity is one line of the log.
type IssueActivity struct {
	ID   string          `json:"id"`
	Kind string          `json:"kind"`
	By   string          `json:"by"` // empty: the system
	At   Nanos           `json:"at"`
	Data json.RawMessage `json:"data"`
}

// IssueTag is a tag with its most frequent values.
type IssueTag struct {
	Key    string          `json:"key"`
	Events uint64          `json:"events"`
	Others uint64          `json:"others"` // values beyond those listed
	Values []IssueTagValue `json:"values"`
}

// IssueTagValue is one value of a tag.
type IssueTagValue struct {
	Value     string `json:"value"`
	Events    uint64 `json:"events"`
	FirstSeen Nanos  `json:"firstSeen"`
	LastSeen  Nanos  `json:"lastSeen"`
}

// IssueAction is what one request does to issues: exactly one of the parts after
// query.
type IssueAction struct {
	By    string   `json:"by,omitempty"`    // who; "user" unless given
	IDs   []string `json:"ids,omitempty"`   // of several, at most 1,000
	Query string   `json:"query,omitempty"` // or all that match, at most 1,000

	Resolve   *ResolveAction `json:"resolve,omitempty"`
	Unresolve bool           `json:"unresolve,omitempty"`
	Archive   *ArchiveAction `json:"archive,omitempty"`
	Assign    *string        `json:"assign,omitempty"` // empty: nobody
	Priority  string         `json:"priority,omitempty"`
	Bookmark  *bool          `json:"bookmark,omitempty"`
	Comment   string         `json:"comment,omitempty"`
	Merge     string         `json:"merge,omitempty"` // id of the issue that takes the others
	Delete    bool           `json:"delete,omitempty"`
	Discard   bool           `json:"discard,omitempty"` // delete, and let it not come back
}

// ResolveAction resolves.
type ResolveAction struct {
	In      string `json:"in,omitempty"`      // now (unless given), in_release, in_next_release
	Release string `json:"release,omitempty"` // of in_release
}

// ArchiveAction archives.
type ArchiveAction struct {
	Until         string `json:"until,omitempty"`         // escalating (unless given), forever, time, count, users
	Time          string `json:"time,omitempty"`          // of until time: RFC 3339, Unix nanoseconds, or from now as 24h
	Count         uint64 `json:"count,omitempty"`         // of until count and users
	WindowSeconds int64  `json:"windowSeconds,omitempty"` // within which they come
}

// UnmergeAction takes hashes out of an issue.
type UnmergeAction struct {
	By     string   `json:"by,omitempty"`
	Hashes []string `json:"hashes"`
	Former bool     `json:"former,omitempty"` // to the issue that they were merged from, else to a new one
}

// IssuesChanged is what an action did.
type IssuesChanged struct {
	Changed []string `json:"changed"` // ids; those that were so already are not among them
	More    bool     `json:"more"`    // more match the query: ask again
	// Outcomes has one for each issue that was named or found, in that order.
	Outcomes []IssueOutcome `json:"outcomes"`
}

// IssueOutcome is what became of one of them.
type IssueOutcome struct {
	ID      string `json:"id"`
	Title   string `json:"title"`   // empty when it is not there
	Outcome string `json:"outcome"` // done, already: it was so before, refused
	Why     string `json:"why"`     // of one that was not done
}

// Unmerged tells where hashes went.
type Unmerged struct {
	Issue string `json:"issue"`
}

// DiscardedList is what was discarded.
type DiscardedList struct {
	Discarded []Discarded `json:"discarded"`
}

// Discarded is one issue that was.
type Discarded struct {
	Title   string   `json:"title"`
	Culprit string   `json:"culprit"`
	By      string   `json:"by"`
	At      Nanos    `json:"at"`
	Hashes  []string `json:"hashes"`
}

// RestoreAction takes back that hashes are discarded.
type RestoreAction struct {
	Hashes []string `json:"hashes"`
}

// SearchFields are the keys of the query language.
type SearchFields struct {
	Fields []SearchField `json:"fields"`
}

// SearchField is one.
type SearchField struct {
	Name  string   `json:"name"`
	Does  string   `json:"does"`
	Words []string `json:"words"` // all that it takes; empty when it takes others
}

func issueJSON(i *schemas.Issue, s exporters.EventStats) Issue {
	out := Issue{
		ID: issueID(i.ID), Title: i.Title, Culprit: i.Culprit, Level: i.Level, Platform: i.Platform, Logger: i.Logger, Category: i.Category,
		Status: i.Status, Substatus: i.Substatus, Since: nanos(i.Since), Assignee: i.Assignee, Priority: i.Priority,
		FirstSeen: nanos(i.FirstSeen), LastSeen: nanos(i.LastSeen), FirstRelease: i.FirstRelease, LastRelease: i.LastRelease,
		Fingerprint: i.Fingerprint.String(), Grouping: some(i.Grouping), Events: s.Events, Users: s.Users, Records: s.Records, Hours: s.Hours, Days: s.Days,
	}
	if r := i.Resolution; i.Status == schemas.StatusResolved {
		out.Resolution = &Resolution{Kind: r.Kind, Release: r.Release, At: nanos(r.At), By: r.By}
	}
	if a := i.Archive; i.Status == schemas.StatusArchived {
		out.Archive = &Archive{Kind: a.Kind, Until: known(a.Until), Count: a.Count, WindowNs: a.Window, At: nanos(a.At), By: a.By}
	}
	return out
}
