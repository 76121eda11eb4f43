package exporters

import (
	"context"
	"time"
)

// DeadLetterRef names one dead letter. TopicID tells a topic that was made anew from
// the one before; it is empty where brokers have no ids.
type DeadLetterRef struct {
	Topic     string // logical name of the dead-letter topic
	TopicID   string // hex
	Partition int32
	Offset    int64
}

// DeadLetterState is what became of a dead letter.
type DeadLetterState string

// States. A letter without a row is open.
const (
	DeadLetterOpen      DeadLetterState = "open"
	DeadLetterRetrying  DeadLetterState = "retrying" // somebody began to put it back, and it is not told how that ended
	DeadLetterRetried   DeadLetterState = "retried"
	DeadLetterDiscarded DeadLetterState = "discarded"
)

// DeadLetterEnd is what somebody did with a dead letter.
type DeadLetterEnd struct {
	State DeadLetterState
	By    string
	At    time.Time
}

// MaxDeadLetterRefs is how many one question may name.
const MaxDeadLetterRefs = 1000

// DeadLetterEnds keeps what became of dead letters: a log cannot tell it.
type DeadLetterEnds interface {
	// DeadLetterEnds gives those of refs that are not open.
	DeadLetterEnds(ctx context.Context, refs []DeadLetterRef) (map[DeadLetterRef]DeadLetterEnd, error)
	// SetDeadLetterEnd changes a letter whose state is from to end, in one step: of two
	// at once one wins. It returns what the letter has afterwards, and whether this
	// call changed it.
	SetDeadLetterEnd(ctx context.Context, ref DeadLetterRef, from DeadLetterState, end DeadLetterEnd) (now DeadLetterEnd, changed bool, err error)
	// CountDeadLetterEnds counts the letters of a partition from an offset on that are
	// not open.
	CountDeadLetterEnds(ctx context.Context, from DeadLetterRef) (int64, error)
	// ForgetDeadLetterEnds forgets those before an offset, and those of topics of the
	// same name with another id: the records are gone.
	ForgetDeadLetterEnds(ctx context.Context, before DeadLetterRef) error
}
