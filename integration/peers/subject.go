package peers

import (
	"context"
	"time"
)

// Subject is one instrumented client as the suites see it.
type Subject struct {
	Name   string // as in the table
	Ours   bool
	Client string // what it instruments: kafka-go, franz-go, sarama
	// Way is where its spans go: "init", "sdk" or "dd".
	Way string
	// Open makes a client of env's broker.
	Open func(env *Env, o Options) (Client, error)
	// NoContext: sends take no context from the program, only that in the headers.
	NoContext bool
	// NoGroup: the suite reads by it outside of consumer groups only.
	NoGroup bool
	// Note says how it is used, where that is not as a reader would think.
	Note string
}

// Options are those of a client, in the words of none.
type Options struct {
	Topic    string
	Group    string        // empty: read partition 0
	Async    bool          // sends do not wait
	Linger   time.Duration // how long a batch waits for more; zero: 5 ms
	MaxBytes int           // of a batch; zero: the client's own bound
	ClientID string
	// AutoCommit makes the client commit in the background.
	AutoCommit bool

	// For ours; a peer ignores them.
	Parent       bool
	WithoutLinks bool
	CreateSpans  bool
	// Explicit tells that the program marks processing itself, as one that
	// collects records before it processes them must.
	Explicit bool
}

// Client produces and consumes by one library.
type Client interface {
	// Send hands the batch to the client in one call of its API, or in as few as
	// it has, and waits for all outcomes: nil for a message that was stored.
	Send(ctx context.Context, b *Batch) []error
	// Consume hands n records one after the other to handle, processed as the
	// library means it to be done. It returns handle's errors to nobody.
	Consume(ctx context.Context, n int, handle func(context.Context, *Message) error) error
	// Close ends the client. Closing twice does nothing.
	Close() error
}

// BatchConsumer is a [Client] that processes several records at once.
type BatchConsumer interface {
	ConsumeBatch(ctx context.Context, n int, handle func(context.Context, []*Message) error) error
}

// ConcurrentConsumer is a [Client] that reads n records and processes them in
// goroutines of their own. after is called when a record's processing is over.
type ConcurrentConsumer interface {
	ConsumeConcurrently(ctx context.Context, n int, handle func(context.Context, *Message) error, after func(*Message)) error
}

// Committer is a [Client] that commits what [Client.Consume] handed out last.
type Committer interface {
	Commit(ctx context.Context) error
}

// Header is one of a message.
type Header struct {
	Key   string
	Value []byte
}

// Message is what is sent or was read.
type Message struct {
	Partition  int32
	Offset     int64 // read only
	Key, Value []byte
	Headers    []Header
	// Spare is the room behind Headers in the client's own slice.
	Spare int
}

// Batch is what one call sends. The client's own messages are made at the first
// Send and sent again as they are then.
type Batch struct {
	Messages []Message
	// Shared makes all messages use the header slice of the first.
	Shared bool

	native interface{ changes() []string }
}

// Changes tells what of the program's own messages, header slices and the arrays
// behind them is no longer as it was handed to the client.
func (b *Batch) Changes() []string {
	if b.native == nil {
		return nil
	}
	return b.native.changes()
}
