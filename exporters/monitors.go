package exporters

import (
	"context"
	"errors"
	"time"

	"github.com/hoptrace/hoptrace/schemas"
)

// Bounds of what a project may have.
const (
	MaxMonitors            = 1000
	MaxMonitorEnvironments = 100
)

// CheckInUpdate is what a job told.
type CheckInUpdate struct {
	Project     uint64
	Slug        string
	ID          schemas.EventID // zero: the latest one in progress, or else a new one
	NewID       schemas.EventID // the id of that new one
	Environment string
	Status      schemas.CheckInStatus // ok, error or in_progress
	Duration    int64                 // ns; -1 when it was not told
	Trace       schemas.TraceID
	Release     string
	Config      *schemas.MonitorConfig // makes or changes the monitor; valid
	BadConfig   bool                   // it told a configuration that is wrong and is left out
	Received    int64                  // Unix ns
	Source      schemas.Source
	Offset      int64
}

// Progress is how far a partition of the check-ins is applied.
type Progress struct {
	Source schemas.Source
	Offset int64
	Time   int64 // Unix ns, the timestamp of that record
}

// Why an update was left out.
var (
	ErrNoMonitor       = errors.New("no_monitor")
	ErrMonitorDisabled = errors.New("monitor_disabled")
	ErrTooManyMonitors = errors.New("too_many_monitors")
	ErrTooManyEnvirons = errors.New("too_many_environments")
)

// MonitorIncident is a job that failed as often as makes an issue.
type MonitorIncident struct {
	ID          int64
	Project     uint64
	Slug, Name  string
	Environment string
	CheckIn     schemas.CheckIn // the last one that failed
	Failures    int64           // in a row, to make it
	Opened      int64           // Unix ns, of that check-in
}

// MonitorIssues is the category of issues that incidents make.
const MonitorIssues = "monitor"

// MonitorKeeper is the side of monitors that the pipeline writes. Everything it does
// follows from the check-ins and the clock that it is given, whatever their order.
type MonitorKeeper interface {
	// ApplyCheckIns applies updates and notes progress, all in one transaction. What
	// lies at or before the progress of its source is passed over, so a replay changes
	// nothing. The result has one element an update: nil, or why it was left out; of what
	// comes again, by what is known of its monitor now. One of no monitor waits half a
	// minute for the one that makes it, which may come second: then it is applied, and is
	// among revived.
	ApplyCheckIns(ctx context.Context, updates []CheckInUpdate, progress []Progress) (refusals []error, revived []CheckInUpdate, err error)
	// CheckInProgress gives the progress of all sources.
	CheckInProgress(ctx context.Context) (map[schemas.Source]Progress, error)
	// AdvanceMonitors marks what was missed and what timed out up to clock (Unix ns): all
	// check-ins before it must have been applied. Each run that is due is judged once, and
	// a check-in stands for one of them (see package monitor). It does at most limit
	// environments and check-ins at once, and tells whether there is more.
	AdvanceMonitors(ctx context.Context, clock int64, limit int) (more bool, err error)
	// UntoldIncidents lists those of active monitors whose issue nobody has made yet,
	// oldest first, at most limit, and of each environment the first alone.
	UntoldIncidents(ctx context.Context, limit int) ([]MonitorIncident, error)
	// IncidentTold notes that the issue was made, with this event; hash is what it was
	// grouped by, or zero when no issue came of it.
	IncidentTold(ctx context.Context, id int64, event schemas.EventID, hash schemas.Fingerprint) error
	// ResolveIncidents resolves the issues of at most limit incidents of active monitors
	// that were told and are over, each once, and tells how many it saw to. An issue that
	// somebody resolved or archived meanwhile, that is about something else as well
	// since it was merged, or of which another incident goes on, is left as it is.
	ResolveIncidents(ctx context.Context, now time.Time, limit int) (int, error)
	// ExpireCheckIns removes at most limit that began before a time (Unix ns).
	ExpireCheckIns(ctx context.Context, before int64, limit int) (int, error)
	// Lease is IssueKeeper's.
	Lease(ctx context.Context, name, holder string, ttl time.Duration) (bool, error)
}

// MonitorStore is what the web reads and changes.
type MonitorStore interface {
	// Monitors lists a project's, by slug.
	Monitors(ctx context.Context, project uint64) ([]schemas.Monitor, error)
	// Monitor finds one, or fails with ErrNotFound.
	Monitor(ctx context.Context, project uint64, slug string) (schemas.Monitor, error)
	// CreateMonitor makes one of m's Project, Slug, Name, Status and Config. It fails
	// with ErrExists, ErrInvalid, and with ErrTooLarge beyond MaxMonitors.
	CreateMonitor(ctx context.Context, m schemas.Monitor) (schemas.Monitor, error)
	// UpdateMonitor sets Name, Status and Config of the one with m's Project and Slug; the
	// next runs are those after now (Unix ns). It fails with ErrNotFound or ErrInvalid.
	UpdateMonitor(ctx context.Context, m schemas.Monitor, now int64) (schemas.Monitor, error)
	// DeleteMonitor forgets it with its check-ins, or fails with ErrNotFound.
	DeleteMonitor(ctx context.Context, project uint64, slug string) error
	// CheckIns lists those of a monitor, newest first; environment empty: of all. Before
	// pages: only those that began before it (Unix ns), or at it with an id below beforeID.
	CheckIns(ctx context.Context, project uint64, slug, environment string, before int64, beforeID schemas.EventID, limit int) ([]schemas.CheckIn, error)
}
