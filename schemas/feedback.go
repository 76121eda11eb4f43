package schemas

// FeedbackStatus is what people made of a feedback.
type FeedbackStatus string

// The states of a feedback. It begins unresolved.
const (
	FeedbackUnresolved FeedbackStatus = "unresolved"
	FeedbackResolved   FeedbackStatus = "resolved"
	FeedbackSpam       FeedbackStatus = "spam"
)

// Feedback is what a user wrote, of an error or of anything else.
type Feedback struct {
	Project  uint64
	ID       EventID // its own
	Event    EventID // the event that it is about; zero when it names none
	Replay   EventID // zero when there is none
	Trace    TraceID // zero when it told none
	Received int64   // Unix ns, when the collector had it

	// Texts are the user's, in valid UTF-8 and cut; see the Max constants.
	Name, Email, Message, URL string
	Source                    string // where it was asked for: "user_report", "widget"
	Release, Environment      string

	Status  FeedbackStatus
	Changed int64 // Unix ns, when Status was set; zero when it never was
}

// Bounds of a feedback's texts, bytes.
const (
	MaxFeedbackMessage = 8 << 10
	MaxFeedbackText    = 512 // each of the others
	MaxFeedbackURL     = 2 << 10
)
