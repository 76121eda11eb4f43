package otelsarama

import (
	"context"
	"fmt"
	"sync"

	"github.com/IBM/sarama"
)

// AsyncProducer is a sarama.AsyncProducer whose messages carry the trace context
// and whose sends are spans.
//
// The spans start where sarama shows a message to interceptors, right after Input
// took it, and end when it comes back.
type AsyncProducer struct {
	sarama.AsyncProducer
	in        *Instrumentation
	successes chan *sarama.ProducerMessage
	errors    chan *sarama.ProducerError
	done      sync.WaitGroup
}

// NewAsyncProducer is sarama.NewAsyncProducer with the instrumented configuration.
// It returns successes and errors to the program if that asked for them; the
// others it reads itself, so that their spans end too.
func (in *Instrumentation) NewAsyncProducer(addrs []string) (*AsyncProducer, error) {
	in.address(addrs)
	p, err := sarama.NewAsyncProducer(addrs, in.client)
	if err != nil {
		return nil, err
	}
	return in.WrapAsyncProducer(p), nil
}

// WrapAsyncProducer instruments p, which must have been made with
// [Instrumentation.Config]: its interceptor starts the spans.
func (in *Instrumentation) WrapAsyncProducer(p sarama.AsyncProducer) *AsyncProducer {
	a := &AsyncProducer{
		AsyncProducer: p, in: in,
		successes: make(chan *sarama.ProducerMessage), errors: make(chan *sarama.ProducerError),
	}
	a.done.Add(2)
	go a.succeed()
	go a.fail()
	return a
}

// Send gives msg to the producer in the context ctx. It waits until the producer
// takes it or ctx ends; ctx ending later does not stop it.
func (a *AsyncProducer) Send(ctx context.Context, msg *sarama.ProducerMessage) error {
	before := msg.Metadata
	select {
	case a.Input() <- WithContext(ctx, msg):
		return nil
	case <-ctx.Done():
		msg.Metadata = before
		return fmt.Errorf("cannot give a message for topic %q to the producer: %w", msg.Topic, ctx.Err())
	}
}

// Successes is sarama.AsyncProducer.Successes.
func (a *AsyncProducer) Successes() <-chan *sarama.ProducerMessage { return a.successes }

// Errors is sarama.AsyncProducer.Errors.
func (a *AsyncProducer) Errors() <-chan *sarama.ProducerError { return a.errors }

func (a *AsyncProducer) succeed() {
	defer a.done.Done()
	defer close(a.successes)
	for msg := range a.AsyncProducer.Successes() {
		a.end(msg, nil)
		if a.in.successes {
			a.successes <- msg
		}
	}
}

func (a *AsyncProducer) fail() {
	defer a.done.Done()
	defer close(a.errors)
	for e := range a.AsyncProducer.Errors() {
		a.end(e.Msg, e.Err)
		if a.in.errors {
			a.errors <- e
		} else {
			sarama.Logger.Println(e) // as sarama does
		}
	}
}

func (a *AsyncProducer) end(msg *sarama.ProducerMessage, err error) {
	if msg == nil {
		return
	}
	switch m := msg.Metadata.(type) {
	case *sending:
		giveBack(m, msg)
		a.in.finish(m, msg, err)
	case *carried: // it failed before it was shown to interceptors
		if st := a.in.take(nil, msg); st != nil { //nolint:staticcheck // nil: that of the message
			a.in.begin(st, msg)
			giveBack(st, msg)
			a.in.finish(st, msg, err)
		}
	}
}

// AsyncClose is sarama.AsyncProducer.AsyncClose.
func (a *AsyncProducer) AsyncClose() { a.AsyncProducer.AsyncClose() }

// Close is sarama.AsyncProducer.Close: it waits for all messages to come back, so
// every send span has ended when it returns.
func (a *AsyncProducer) Close() error {
	a.AsyncProducer.AsyncClose()
	a.done.Add(1)
	go func() {
		defer a.done.Done()
		for range a.successes { // as sarama's Close does
		}
	}()
	var failed sarama.ProducerErrors
	for e := range a.errors {
		failed = append(failed, e)
	}
	a.done.Wait()
	if len(failed) > 0 {
		return failed
	}
	return nil
}
