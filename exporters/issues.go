package exporters

import (
	"context"

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
