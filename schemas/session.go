package schemas

// SessionStatus is how a session ended, or that it goes on.
type SessionStatus string

// The states of a session.
const (
	SessionOK        SessionStatus = "ok" // it goes on
	SessionExited    SessionStatus = "exited"
	SessionCrashed   SessionStatus = "crashed"
	SessionAbnormal  SessionStatus = "abnormal"  // it ended nobody knows how
	SessionErrored   SessionStatus = "errored"   // of counts only: it ended well, with errors on the way
	SessionUnhandled SessionStatus = "unhandled" // an error that nobody handled did not end it
)

// Session is one use of a program, as an SDK told last, or a number of uses that it
// counted. An SDK tells of one session several times: what has the highest Seq counts.
type Session struct {
	Project     uint64
	ID          [16]byte // names the session in its project
	Seq         uint64
	Release     string
	Environment string // "production" when it was not told
	Started     int64  // Unix ns, a whole minute
	Received    int64  // Unix ns
	Status      SessionStatus
	Errors      uint32
	Duration    int64  // ns; -1 when it was not told
	User        uint64 // a hash of the user's distinct id; zero when it was not told
	Init        bool   // it was the first that the SDK told
	Quantity    uint32 // how many sessions; 1 unless they were counted

	Source   Source
	Position Position
}
