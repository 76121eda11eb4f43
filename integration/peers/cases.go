package peers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Case is one thing that instrumentation must do or must not do.
type Case struct {
	Name string // a word of the table
	Says string // the sentence of it
	Way  func(ctx context.Context, r *Run) error
}

// Cases of the suite, in the order of the table.
func Cases() []Case { return append(produceCases(), consumeCases()...) }

// Run is a case under way: one subject in an environment of its own.
type Run struct {
	*Env
	Subject Subject

	clients []Client
}

// fault is what a case found, in words that are the same each time.
type fault struct{ text string }

func (f *fault) Error() string { return f.text }

func faultf(format string, args ...any) error { return &fault{fmt.Sprintf(format, args...)} }

// errNotApplicable is returned where the client has no such thing.
var errNotApplicable = errors.New("–")

const caseTimeout = 20 * time.Second

// Examine runs a case on a subject. The text is empty when it holds; err is what
// kept the case from running.
func Examine(ctx context.Context, s Subject, c Case) (text string, err error) {
	ctx, cancel := context.WithTimeout(ctx, caseTimeout)
	defer cancel()
	env, err := NewEnv(s.Way)
	if err != nil {
		return "", err
	}
	defer env.Close()
	r := &Run{Env: env, Subject: s}
	defer r.closeClients()
	err = r.guarded(ctx, c)
	var f *fault
	switch {
	case errors.As(err, &f):
		return f.text, nil
	case errors.Is(err, errNotApplicable):
		return errNotApplicable.Error(), nil
	}
	return "", err
}

// guarded keeps a peer's panic, and one that stands still, from ending the suite.
func (r *Run) guarded(ctx context.Context, c Case) error {
	done := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- faultf("panics: %v", p)
			}
		}()
		done <- c.Way(ctx, r)
	}()
	select {
	case err := <-done:
		return err
	case <-time.After(caseTimeout + 10*time.Second):
		return faultf("stands still")
	}
}

func (r *Run) open(o Options) (Client, error) {
	o.Topic = topic
	c, err := r.Subject.Open(r.Env, o)
	if err != nil {
		return nil, fmt.Errorf("cannot open %s: %w", r.Subject.Name, err)
	}
	r.clients = append(r.clients, c)
	return c, nil
}

func (r *Run) closeClients() {
	for _, c := range r.clients {
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer func() { _ = recover() }() // a peer's own
			_ = c.Close()
		}()
		select {
		case <-done:
		case <-time.After(5 * time.Second): // a peer that stands still stays behind
		}
	}
	r.clients = nil
}

// send opens a client, sends batches by it and closes it, so that every span has
// ended.
func (r *Run) send(ctx context.Context, o Options, sampled bool, batches ...*Batch) ([][]error, error) {
	c, err := r.open(o)
	if err != nil {
		return nil, err
	}
	out := make([][]error, 0, len(batches))
	for _, b := range batches {
		out = append(out, c.Send(r.Ambient(ctx, sampled), b))
	}
	r.closeClients()
	return out, nil
}

// sendAll is send where nothing may fail.
func (r *Run) sendAll(ctx context.Context, o Options, batches ...*Batch) error {
	all, err := r.send(ctx, o, true, batches...)
	if err != nil {
		return err
	}
	for _, outcomes := range all {
		for i, err := range outcomes {
			if err != nil {
				return faultf("message %d is not sent: %v", i, plain(err))
			}
		}
	}
	return nil
}

// plain drops what differs from run to run.
func plain(err error) string {
	text := err.Error()
	if i := strings.IndexByte(text, '\n'); i >= 0 {
		text = text[:i]
	}
	return text
}

// spans of one sort.
func (r *Run) spans(sort func(*Span) bool) ([]Span, error) {
	all, err := r.Spans()
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(s Span) bool { return !sort(&s) }), nil
}

// oneContext checks that a stored message has one context, and returns it.
func oneContext(m *Message) (string, error) {
	id, n := contextOf(m.Headers)
	switch n {
	case 0:
		return "", faultf("a message leaves without a context")
	case 1:
		return id, nil
	}
	return "", faultf("a message leaves with %d contexts", n)
}

// batchOf makes messages to partition 0 with these values.
func batchOf(values ...string) *Batch {
	b := &Batch{}
	for _, v := range values {
		b.Messages = append(b.Messages, Message{Key: []byte("key"), Value: []byte(v)})
	}
	return b
}
