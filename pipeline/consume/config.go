package consume

import (
	"errors"
	"fmt"
	"time"

	"github.com/hoptrace/hoptrace/internal/kafka"
)

// Config says what one loop reads and how.
type Config struct {
	Kafka kafka.Config

	Stage string // the stage's name, in dead letters and metrics: "persist-spans"
	Group string // the consumer group
	Topic string // its logical name, or the brokers'; so is DLQ's

	// DLQ is the dead-letter topic; it must exist. DLQMaxBytes is its
	// max.message.bytes.
	DLQ         string
	DLQMaxBytes int32

	// A batch ends at the first of these bounds: MaxBatchItems counts the
	// "count" header of records, 1 without; MaxBatchBytes keys, values and
	// headers; MaxBatchWait runs from the batch's first record. One record
	// beyond all bounds is still a batch.
	MaxBatchItems   int
	MaxBatchBytes   int
	MaxBatchRecords int
	MaxBatchWait    time.Duration

	// FetchMaxBytes bounds what the broker answers at once, as it is compressed; a
	// partition's part is half of it. Zero means package kafka's.
	FetchMaxBytes int32

	// HandleTimeout bounds one call of the handler.
	HandleTimeout time.Duration

	// MaxBackoff bounds the wait between tries of a batch; it begins at
	// 100 ms and doubles.
	MaxBackoff time.Duration

	// SessionTimeout is after how long without a heartbeat the group gives
	// this member's partitions to others; it is also how long a killed
	// member's partitions rest.
	SessionTimeout time.Duration

	// AcceptGaps goes on at the earliest record when those at the committed
	// offset are gone. Otherwise such a partition stops until it is set.
	AcceptGaps bool

	// OnBatch, when set, is told of each batch after its commit. It must
	// return soon.
	OnBatch func(BatchTimes)
}

// BatchTimes tells what became of one batch, and when.
type BatchTimes struct {
	Stage, Topic          string
	Records, Items, Bytes int
	DeadLetters, Tries    int
	OldestRecord          time.Time // timestamp of the oldest record
	Polled                time.Time // first record handed over by the client
	Collected             time.Time // batch complete
	Handled               time.Time // durable
	Committed             time.Time
}

// DefaultConfig returns the bounds; Stage, Group, Topic, DLQ and Kafka's
// brokers are the caller's.
func DefaultConfig() Config {
	return Config{
		Kafka:           kafka.DefaultConfig(),
		DLQMaxBytes:     4<<20 + 64<<10,
		MaxBatchItems:   50_000,
		MaxBatchBytes:   32 << 20,
		MaxBatchRecords: 50_000,
		MaxBatchWait:    time.Second,
		HandleTimeout:   time.Minute,
		MaxBackoff:      30 * time.Second,
		SessionTimeout:  15 * time.Second,
	}
}

// Validate names every fault of c at once.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("consume of topic %q: "+format, append([]any{c.Topic}, args...)...))
	}
	if err := c.Kafka.Validate(); err != nil {
		errs = append(errs, err)
	}
	for _, s := range []struct{ name, value string }{{"Stage", c.Stage}, {"Group", c.Group}, {"Topic", c.Topic}, {"DLQ", c.DLQ}} {
		if s.value == "" {
			bad("%s is empty", s.name)
		}
	}
	if c.DLQ != "" && c.DLQ == c.Topic {
		bad("DLQ is the topic itself")
	}
	if c.DLQMaxBytes < minDLQBytes {
		bad("DLQMaxBytes is %d; it must be at least %d", c.DLQMaxBytes, minDLQBytes)
	}
	if c.MaxBatchItems < 1 || c.MaxBatchBytes < 1 || c.MaxBatchRecords < 1 {
		bad("MaxBatchItems, MaxBatchBytes and MaxBatchRecords are %d, %d and %d; all must be positive", c.MaxBatchItems, c.MaxBatchBytes, c.MaxBatchRecords)
	}
	if c.FetchMaxBytes < 0 {
		bad("FetchMaxBytes is %d; it may not be negative", c.FetchMaxBytes)
	}
	if c.MaxBatchWait <= 0 || c.MaxBatchWait > time.Minute {
		bad("MaxBatchWait is %v; it must be above 0 and at most a minute", c.MaxBatchWait)
	}
	if c.HandleTimeout <= 0 {
		bad("HandleTimeout is %v; it must be positive", c.HandleTimeout)
	}
	if c.MaxBackoff < minBackoff {
		bad("MaxBackoff is %v; it must be at least %v", c.MaxBackoff, minBackoff)
	}
	if c.SessionTimeout < 6*time.Second || c.SessionTimeout > 5*time.Minute {
		bad("SessionTimeout is %v; it must be from 6s to 5m", c.SessionTimeout)
	}
	return errors.Join(errs...)
}
