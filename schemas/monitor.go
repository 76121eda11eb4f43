package schemas

// MonitorStatus is what a person set of a monitor.
type MonitorStatus string

// The states of a monitor.
const (
	MonitorActive   MonitorStatus = "active"
	MonitorMuted    MonitorStatus = "muted"    // watched, and makes no issue
	MonitorDisabled MonitorStatus = "disabled" // its check-ins are dropped
)

// CheckInStatus is what became of one run of a job.
type CheckInStatus string

// The states of a check-in.
const (
	CheckInOK         CheckInStatus = "ok"
	CheckInError      CheckInStatus = "error"
	CheckInInProgress CheckInStatus = "in_progress"
	CheckInMissed     CheckInStatus = "missed"  // none came when one was due
	CheckInTimeout    CheckInStatus = "timeout" // it was in progress for too long
)

// Failed tells whether a run is over and did not go well.
func (s CheckInStatus) Failed() bool {
	return s == CheckInError || s == CheckInMissed || s == CheckInTimeout
}

// MonitorConfig is when a job is to run, and what counts as a failure.
type MonitorConfig struct {
	// ScheduleType is "crontab", with Crontab, or "interval", with Every and Unit.
	ScheduleType string `json:"scheduleType"`
	Crontab      string `json:"crontab"`
	Every        int64  `json:"every"`
	Unit         string `json:"unit"`     // minute, hour, day, week, month or year
	Timezone     string `json:"timezone"` // of Crontab, by its name in the tz database; empty means UTC
	// Minutes after which a check-in that did not come is missed, and one in progress
	// has timed out.
	CheckInMargin int64 `json:"checkInMargin"`
	MaxRuntime    int64 `json:"maxRuntime"`
	// How many runs in a row must fail to make an issue, and go well to end it.
	FailureThreshold  int64 `json:"failureThreshold"`
	RecoveryThreshold int64 `json:"recoveryThreshold"`
}

// Monitor is a job that checks in.
type Monitor struct {
	ID      uint64
	Project uint64
	Slug    string // names it in its project
	Name    string
	Status  MonitorStatus
	Config  MonitorConfig
	Created int64 // Unix ns
	// Environments are where it runs, by name.
	Environments []MonitorEnvironment
}

// MonitorEnvironment is how a job fares in one environment.
type MonitorEnvironment struct {
	Name    string
	Status  CheckInStatus // of the last run that is over; empty before the first
	Last    int64         // Unix ns, of the last check-in that came; zero: none
	Next    int64         // Unix ns, when the next one is due
	Failing bool          // as often in a row as makes an issue
	Event   EventID       // that made the issue, while it is failing; zero when there is none
}

// CheckIn is one run of a job, or that it was missed.
type CheckIn struct {
	ID          EventID
	Environment string
	Status      CheckInStatus
	Time        int64 // Unix ns, when it began or was due
	Updated     int64 // Unix ns, when it was told of last
	Duration    int64 // ns; -1 when it was not told
	Trace       TraceID
	Release     string
}
