package exporters

import (
	"context"
	"time"

	"github.com/hoptrace/hoptrace/schemas"
)

// SessionWriter stores sessions.
type SessionWriter interface {
	// WriteSessions returns nil once all are durable. Of the rows of one session, by
	// project and id, that with the highest Seq counts; writing one again changes
	// nothing. It keeps no part of its argument.
	WriteSessions(ctx context.Context, sessions []schemas.Session) error
}

// SessionQuery selects sessions by when they started. Empty fields do not filter.
type SessionQuery struct {
	Project     uint64
	Range       Range
	Environment string
	Release     string
	Limit       int // of releases: 1 to 500; zero means 50
}

// SessionCounts are counts of sessions and of the users whose sessions they were.
// A session is in one of the counts by outcome at most; the others went well.
type SessionCounts struct {
	Sessions, Crashed, Abnormal, Unhandled, Errored uint64
	Users, CrashedUsers                             uint64
}

// ReleaseHealth is how one release fares.
type ReleaseHealth struct {
	Release             string
	FirstSeen, LastSeen int64 // Unix ns, of starts of sessions, whatever the range
	SessionCounts
}

// HealthPoint is one step of time.
type HealthPoint struct {
	Time int64 // Unix ns, when the step begins
	SessionCounts
}

// MaxHealthPoints is how many steps a question about time may have.
const MaxHealthPoints = 1000

// SessionReader reads release health.
type SessionReader interface {
	// ReleaseHealth gives the releases with sessions, last seen first, and the counts
	// over all releases.
	ReleaseHealth(ctx context.Context, q SessionQuery) ([]ReleaseHealth, SessionCounts, error)
	// HealthOverTime gives the steps that have sessions, by time. A step is whole
	// minutes and counts from the epoch; it fails with ErrTooLarge beyond
	// MaxHealthPoints steps.
	HealthOverTime(ctx context.Context, q SessionQuery, step time.Duration) ([]HealthPoint, error)
}

// ReleaseIssues counts the issues of releases.
type ReleaseIssues interface {
	// NewIssues tells how many issues were first seen in these releases (at most
	// 1,000); those without are left out.
	NewIssues(ctx context.Context, project uint64, releases []string) (map[string]int64, error)
}
