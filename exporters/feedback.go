package exporters

import (
	"context"

	"github.com/hoptrace/hoptrace/schemas"
)

// FeedbackWriter stores what users wrote.
type FeedbackWriter interface {
	// WriteFeedback returns nil once all are durable. One whose project and id are
	// stored already stays as it is, whatever people made of it.
	WriteFeedback(ctx context.Context, list []schemas.Feedback) error
}

// FeedbackQuery selects feedback. Empty fields do not filter.
type FeedbackQuery struct {
	Project uint64
	Range   Range // of Received
	Status  schemas.FeedbackStatus
	Event   schemas.EventID
	// Before and BeforeID page: with those of the last one of a page come those
	// behind it.
	Before   int64
	BeforeID schemas.EventID
	Limit    int // 1 to 500; zero means 50
}

// MaxFeedbackChange is how many feedbacks change at once.
const MaxFeedbackChange = 1000

// FeedbackStore is what the web reads and changes, and the janitor expires.
type FeedbackStore interface {
	// Feedback lists, newest first; those of one time by id, largest first.
	Feedback(ctx context.Context, q FeedbackQuery) ([]schemas.Feedback, error)
	// SetFeedbackStatus sets the status of these (at most MaxFeedbackChange) and
	// returns those that are there. now is Unix ns.
	SetFeedbackStatus(ctx context.Context, project uint64, ids []schemas.EventID, status schemas.FeedbackStatus, now int64) ([]schemas.EventID, error)
	// ExpireFeedback removes at most limit that were received before a time (Unix
	// ns), and tells how many.
	ExpireFeedback(ctx context.Context, before int64, limit int) (int, error)
}
