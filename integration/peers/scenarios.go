package peers

import (
	"context"
	"errors"
	"fmt"
	"time"

	traces "go.opentelemetry.io/proto/otlp/trace/v1"
)

// Scenario is one way to use a wrapper of ours, of which the spans are golden.
type Scenario struct {
	Name    string
	Says    string
	Options Options
	Facts   Facts
	Run     func(ctx context.Context, r *Run, c Client, o Options) error
	// Only names the clients that have it; empty means all.
	Only string
	// Until is what its spans say in the end. The broker may be faster than the program
	// once in a while; the scenario is then played again. Empty: it has no race.
	Until string
}

// Facts are what a scenario makes true of its spans, so that it can be told which
// conditional attributes they must have.
type Facts struct {
	Failed    bool // the operation named in Operation
	Group     bool
	Tombstone bool
	Operation string // that failed; empty: all
}

// Retrier is a [Client] that sends a record on after it failed.
type Retrier interface {
	// Retry reads a record, fails, sends it on to its own topic, and reads that.
	Retry(ctx context.Context) error
}

var errOrder = errors.New("no such order")

func sendOne(b func() *Batch) func(context.Context, *Run, Client, Options) error {
	return func(ctx context.Context, r *Run, c Client, _ Options) error {
		return errors.Join(c.Send(r.Ambient(ctx, true), b())...)
	}
}

// failing expects the first message not to be stored.
func failing(code int16) func(context.Context, *Run, Client, Options) error {
	return func(ctx context.Context, r *Run, c Client, _ Options) error {
		r.FailPartition(0, code)
		if err := c.Send(r.Ambient(ctx, true), batchOf("0:a"))[0]; err == nil {
			return errors.New("the send should have failed")
		}
		return nil
	}
}

func consuming(n int, handle func(context.Context, *Message) error, ambient bool) func(context.Context, *Run, Client, Options) error {
	return func(ctx context.Context, r *Run, c Client, _ Options) error {
		if err := r.stored(ctx, n); err != nil {
			return err
		}
		if ambient {
			ctx = r.Ambient(ctx, true)
		}
		return c.Consume(ctx, n, handle)
	}
}

func consumingOne(m Message) func(context.Context, *Run, Client, Options) error {
	return func(ctx context.Context, r *Run, c Client, _ Options) error {
		if err := r.Store(ctx, m); err != nil {
			return err
		}
		return c.Consume(ctx, 1, nothing)
	}
}

func committing(n int, batch bool) func(context.Context, *Run, Client, Options) error {
	return func(ctx context.Context, r *Run, c Client, _ Options) error {
		if err := r.stored(ctx, n); err != nil {
			return err
		}
		consume := func() error { return c.Consume(ctx, n, nothing) }
		if batch {
			consume = func() error {
				return c.(BatchConsumer).ConsumeBatch(ctx, n, func(context.Context, []*Message) error { return nil })
			}
		}
		if err := consume(); err != nil {
			return err
		}
		return c.(Committer).Commit(ctx)
	}
}

// Scenarios in the order of the document.
func Scenarios() []Scenario {
	const group = "billing"
	id := Options{ClientID: "till-7"}
	async, create, parent, only, grouped, batch := id, id, id, id, id, id
	async.Async = true
	create.CreateSpans = true
	parent.Parent = true
	only.Parent, only.WithoutLinks = true, true
	grouped.Group = group
	batch.Explicit = true
	groupedBatch := grouped
	groupedBatch.Explicit = true
	background := grouped
	background.AutoCommit = true
	unsampledHeader := givenContext[:len(givenContext)-1] + "0"
	return []Scenario{
		{Name: "send", Says: "One message, synchronously, within a span of the program.", Options: id, Run: sendOne(func() *Batch { return batchOf("0:a") })},
		{Name: "send async", Says: "One message, without waiting.", Options: async, Run: sendOne(func() *Batch { return batchOf("0:a") })},
		{Name: "send several", Says: "Three messages in one call.", Options: id, Run: sendOne(func() *Batch { return batchOf("0:a", "0:b", "0:c") })},
		{
			Name: "send to several partitions", Says: "Two messages in one call to two partitions.", Options: id,
			Run: sendOne(func() *Batch {
				b := batchOf("0:a", "1:b")
				b.Messages[1].Partition = 1
				return b
			}),
		},
		{Name: "send outside of a span", Says: "One message; the program has no span.", Options: id, Run: func(ctx context.Context, _ *Run, c Client, _ Options) error {
			return errors.Join(c.Send(ctx, batchOf("0:a"))...)
		}},
		{Name: "send with an own context", Says: "One message that carries a creation context already.", Options: id, Run: sendOne(func() *Batch {
			b := batchOf("0:a")
			b.Messages[0].Headers = []Header{{"traceparent", []byte(givenContext)}, {"tracestate", []byte("vendor=1")}}
			return b
		})},
		{Name: "send with create spans", Says: "Two messages in one call, with the option that gives each a create span.", Options: create, Run: sendOne(func() *Batch { return batchOf("0:a", "0:b") })},
		{Name: "send a tombstone", Says: "One message without a value.", Options: id, Facts: Facts{Tombstone: true}, Run: sendOne(func() *Batch {
			return &Batch{Messages: []Message{{Key: []byte("key")}}}
		})},
		{Name: "send without a key", Says: "One message with a null key.", Options: id, Run: sendOne(func() *Batch {
			return &Batch{Messages: []Message{{Value: []byte("0:a")}}}
		})},
		{Name: "send unsampled", Says: "One message under a parent that is not sampled.", Options: id, Run: func(ctx context.Context, r *Run, c Client, _ Options) error {
			return errors.Join(c.Send(r.Ambient(ctx, false), batchOf("0:a"))...)
		}},
		{Name: "send, retried", Says: "One message that the broker takes the second time (NOT_ENOUGH_REPLICAS first).", Options: id, Run: func(ctx context.Context, r *Run, c Client, _ Options) error {
			r.FailOnce(19)
			return errors.Join(c.Send(r.Ambient(ctx, true), batchOf("0:a"))...)
		}},
		{Name: "send, not authorised", Says: "The broker refuses with TOPIC_AUTHORIZATION_FAILED.", Options: id, Facts: Facts{Failed: true}, Run: failing(29)},
		{Name: "send, too large for the broker", Says: "The broker refuses with MESSAGE_TOO_LARGE.", Options: id, Facts: Facts{Failed: true}, Run: failing(10)},
		{Name: "send, invalid record", Says: "The broker refuses with INVALID_RECORD.", Options: id, Facts: Facts{Failed: true}, Run: failing(87)},
		{Name: "send, cancelled", Until: `error.type = "canceled"`, Says: "The program's context is cancelled before the send (franz-go notices at one of several places, sarama takes no context).", Options: id, Facts: Facts{Failed: true}, Only: "kafka-go", Run: func(ctx context.Context, r *Run, c Client, _ Options) error {
			ctx, cancel := context.WithCancel(r.Ambient(ctx, true))
			cancel()
			if c.Send(ctx, batchOf("0:a"))[0] == nil {
				return errors.New("the send should have failed")
			}
			return nil
		}},
		{Name: "receive and process", Says: "Two messages, each received and processed; spans link to their producers' (the default).", Options: id, Run: consuming(2, nothing, false)},
		{Name: "process as child", Says: "One message, with the option that makes the producer's span the parent beside the link.", Options: parent, Run: consuming(1, nothing, false)},
		{Name: "process as child without link", Says: "The same with the option that leaves the link out.", Options: only, Run: consuming(1, nothing, false)},
		{Name: "process within a span", Says: "One message, processed within a span of the program.", Options: id, Run: consuming(1, nothing, true)},
		{Name: "process several", Says: "Three messages processed at once.", Options: batch, Run: func(ctx context.Context, r *Run, c Client, _ Options) error {
			if err := r.stored(ctx, 3); err != nil {
				return err
			}
			return c.(BatchConsumer).ConsumeBatch(ctx, 3, func(context.Context, []*Message) error { return nil })
		}},
		{Name: "process without a context", Says: "One message that no instrumented producer sent.", Options: id, Run: consumingOne(Message{Key: []byte("key"), Value: []byte("v")})},
		{Name: "process a tombstone", Says: "One message without a value.", Options: id, Facts: Facts{Tombstone: true}, Run: consumingOne(Message{Key: []byte("key"), Headers: []Header{{"traceparent", []byte(remote(0))}}})},
		{Name: "process without a key", Says: "One message with a null key.", Options: id, Run: consumingOne(Message{Value: []byte("v"), Headers: []Header{{"traceparent", []byte(remote(0))}}})},
		{Name: "process unsampled as child", Says: "One message whose producer did not sample, as its child.", Options: parent, Run: consumingOne(Message{Value: []byte("v"), Headers: []Header{{"traceparent", []byte(unsampledHeader)}}})},
		{Name: "process, failed", Says: "Processing returns an error.", Options: id, Facts: Facts{Failed: true, Operation: "process"}, Run: consuming(1, func(context.Context, *Message) error { return errOrder }, false)},
		{Name: "process, panicked", Says: "Processing panics; the panic goes on.", Options: id, Facts: Facts{Failed: true, Operation: "process"}, Run: func(ctx context.Context, r *Run, c Client, _ Options) (err error) {
			if err := r.stored(ctx, 1); err != nil {
				return err
			}
			defer func() {
				if p := recover(); p != errOrder { //nolint:errorlint // the very value must come through
					err = fmt.Errorf("the panic became %v", p)
				}
			}()
			return c.Consume(ctx, 1, func(context.Context, *Message) error { panic(errOrder) })
		}},
		{Name: "retry", Says: "Processing fails, the record is sent on to be tried again, and then processed.", Options: id, Run: func(ctx context.Context, r *Run, c Client, _ Options) error {
			if err := r.stored(ctx, 1); err != nil {
				return err
			}
			return c.(Retrier).Retry(ctx)
		}},
		{Name: "commit", Says: "One message, processed and committed in a group.", Options: grouped, Facts: Facts{Group: true}, Run: committing(1, false)},
		{Name: "commit in the background", Says: "One message, processed, and committed by the client itself when it is closed.", Options: background, Facts: Facts{Group: true}, Run: committing(1, false)},
		{Name: "commit several", Says: "Three messages, processed at once and committed in one call.", Options: groupedBatch, Facts: Facts{Group: true}, Run: committing(3, true)},
	}
}

// Play runs a scenario and returns its spans.
func Play(ctx context.Context, s Subject, sc Scenario) (spans []Normal, faults []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, caseTimeout)
	defer cancel()
	env, err := NewEnv(s.Way)
	if err != nil {
		return nil, nil, err
	}
	defer env.Close()
	r := &Run{Env: env, Subject: s}
	defer r.closeClients()
	w := window{from: time.Now().UnixNano()}
	c, err := r.open(sc.Options)
	if err != nil {
		return nil, nil, err
	}
	o := sc.Options
	o.Topic = topic
	if err := sc.Run(ctx, r, c, o); err != nil {
		return nil, nil, err
	}
	r.closeClients()
	w.to = time.Now().UnixNano()
	given, global, err := env.Scopes()
	if err != nil {
		return nil, nil, err
	}
	spans, faults = Normalise(append([]*traces.ScopeSpans{}, given...), w)
	if n := len(spansOf(global)); n > 0 {
		faults = append(faults, fmt.Sprintf("%d spans went to the global provider", n))
	}
	return spans, faults, nil
}
