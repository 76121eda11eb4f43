package peers

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"time"
)

func consumeCases() []Case {
	return []Case{
		{"consumed headers", "The program reads the headers that were sent.", consumedHeaders},
		{"process duration", "The span of processing a message lasts from the start of its processing to the end of it.", processDuration},
		{"concurrent processing", "Four messages processed at the same time have spans of their own, each as long as its own processing.", concurrentProcessing},
		{"not before handed", "No span of a message begins before it is handed to the program.", notBeforeHanded},
		{"one trace", "A consumer's span is linked to the producer's, or is its child.", oneTrace},
		{"consumer attributes", "The span of processing tells partition, offset and group.", consumerAttributes},
		{"processing error", "An error of processing is on its span.", processingError},
		{"handler context", "The program's own spans become children of the processing span.", handlerContext},
		{"garbled context", "A message with a context that is none is read like any other.", garbledContext},
	}
}

// stored writes n messages with contexts of their own to partition 0.
func (r *Run) stored(ctx context.Context, n int) error {
	for i := range n {
		err := r.Store(ctx, Message{
			Key: []byte("key"), Value: []byte("v"),
			Headers: []Header{{"kind", []byte("web")}, {"traceparent", []byte(remote(i))}},
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// remote is the creation context of message i.
func remote(i int) string {
	return "00-4bf92f3577b34da6a3ce929d0e0e473" + strconv.Itoa(i) + "-00f067aa0ba902b" + strconv.Itoa(i) + "-01"
}

// consume reads n messages and closes the client, so that every span has ended.
func (r *Run) consume(ctx context.Context, o Options, n int, handle func(context.Context, *Message) error) error {
	c, err := r.open(o)
	if err != nil {
		return err
	}
	if err := c.Consume(ctx, n, handle); err != nil {
		return faultf("%s", plain(err))
	}
	r.closeClients()
	return nil
}

func nothing(context.Context, *Message) error { return nil }

func consumedHeaders(ctx context.Context, r *Run) error {
	if err := r.stored(ctx, 1); err != nil {
		return err
	}
	var got []Header
	err := r.consume(ctx, Options{}, 1, func(_ context.Context, m *Message) error {
		got = m.Headers
		return nil
	})
	if err != nil {
		return err
	}
	if len(got) != 2 {
		return faultf("there are %d headers, not 2", len(got))
	}
	if got[1].Key != "traceparent" || string(got[1].Value) != remote(0) {
		return faultf("the producer's context is replaced by the consumer's")
	}
	return nil
}

type interval struct{ start, end time.Time }

// slack allows for a wall clock that is being slewed: the end of many spans is
// their start and what a monotonic clock says.
const slack = time.Millisecond

func (w interval) within(s *Span) bool {
	return s.Start.Before(w.start.Add(slack)) && s.End.After(w.end.Add(-slack))
}

func (w interval) meets(s *Span) bool {
	return s.End.After(w.start.Add(slack)) && s.Start.Before(w.end.Add(-slack))
}

func processDuration(ctx context.Context, r *Run) error {
	const n = 3
	if err := r.stored(ctx, n); err != nil {
		return err
	}
	var work []interval
	err := r.consume(ctx, Options{}, n, func(context.Context, *Message) error {
		w := interval{start: time.Now()}
		time.Sleep(20 * time.Millisecond) // the work
		w.end = time.Now()
		work = append(work, w)
		return nil
	})
	if err != nil {
		return err
	}
	spans, err := r.spans((*Span).IsProcess)
	if err != nil {
		return err
	}
	if len(spans) == 0 {
		return faultf("there is no span of processing")
	}
	byOffset, err := perMessage(spans, n)
	if err != nil {
		return err
	}
	for i, s := range byOffset {
		for k, w := range work {
			if i == k && !w.within(&s) {
				return faultf("a span does not last as long as the processing of its message")
			}
			if i != k && w.meets(&s) {
				return faultf("a span lasts into the processing of another message")
			}
		}
	}
	return nil
}

func concurrentProcessing(ctx context.Context, r *Run) error {
	const n = 4
	if err := r.stored(ctx, n); err != nil {
		return err
	}
	c, err := r.open(Options{Explicit: true})
	if err != nil {
		return err
	}
	cc, ok := c.(ConcurrentConsumer)
	if !ok {
		return errNotApplicable // nothing of it takes part in processing
	}
	// All are at work before any ends, and each ends after the one before it has.
	work := make([]interval, n)
	over := make([]chan struct{}, n)
	for i := range over {
		over[i] = make(chan struct{})
	}
	var all sync.WaitGroup
	all.Add(n)
	err = cc.ConsumeConcurrently(ctx, n, func(_ context.Context, m *Message) error {
		w := &work[m.Offset]
		w.start = time.Now()
		all.Done()
		all.Wait()
		if m.Offset > 0 {
			select {
			case <-over[m.Offset-1]:
			case <-ctx.Done():
			}
		}
		time.Sleep(10 * time.Millisecond) // the work
		w.end = time.Now()
		return nil
	}, func(m *Message) { close(over[m.Offset]) })
	if err != nil {
		return faultf("%s", plain(err))
	}
	r.closeClients()
	spans, err := r.spans((*Span).IsProcess)
	if err != nil {
		return err
	}
	byOffset, err := perMessage(spans, n)
	if err != nil {
		return err
	}
	for i, s := range byOffset {
		if !work[i].within(&s) {
			return faultf("a span does not last as long as the processing of its message")
		}
		if i+1 < n && s.End.After(work[i+1].end.Add(slack)) {
			return faultf("a span ends with the processing of another message")
		}
	}
	return nil
}

// perMessage finds the span of each of n messages by offset.
func perMessage(spans []Span, n int) ([]Span, error) {
	out := make([]Span, n)
	found := 0
	for _, s := range spans {
		text, ok := s.First(offsetKeys...)
		o, err := strconv.Atoi(number(text))
		if !ok || err != nil || o < 0 || o >= n {
			return nil, faultf("a span does not tell its offset")
		}
		if out[o].ID == "" {
			found++
		}
		out[o] = s
	}
	if found != n {
		return nil, faultf("%d of %d messages have a span", found, n)
	}
	return out, nil
}

func notBeforeHanded(ctx context.Context, r *Run) error {
	const n = 3
	if err := r.stored(ctx, n); err != nil {
		return err
	}
	var ends []time.Time
	err := r.consume(ctx, Options{}, n, func(context.Context, *Message) error {
		time.Sleep(20 * time.Millisecond) // the work, while the client fetches ahead
		ends = append(ends, time.Now())
		return nil
	})
	if err != nil {
		return err
	}
	spans, err := r.spans((*Span).IsConsume)
	if err != nil {
		return err
	}
	for _, s := range spans {
		text, _ := s.First(offsetKeys...)
		o, err := strconv.Atoi(number(text))
		if err != nil || o < 1 || o >= n {
			continue
		}
		if s.Start.Before(ends[o-1].Add(-slack)) {
			return faultf("a span begins while the message before is processed")
		}
	}
	return nil
}

func oneTrace(ctx context.Context, r *Run) error {
	if err := r.sendAll(ctx, Options{}, batchOf("0:a")); err != nil {
		return err
	}
	stored, err := r.Stored(ctx, 1)
	if err != nil {
		return err
	}
	id, n := contextOf(stored[0][0].Headers)
	if n != 1 {
		return faultf("a message leaves with %d contexts", n)
	}
	if err := r.consume(ctx, Options{}, 1, nothing); err != nil {
		return err
	}
	spans, err := r.spans((*Span).IsConsume)
	if err != nil {
		return err
	}
	if len(spans) == 0 {
		return faultf("there is no consumer's span")
	}
	for _, s := range spans {
		if s.Parent == id || slices.Contains(s.Links, id) {
			return nil
		}
	}
	return faultf("no consumer's span is linked to the producer's, or its child")
}

func consumerAttributes(ctx context.Context, r *Run) error {
	if err := r.stored(ctx, 1); err != nil {
		return err
	}
	o := Options{Group: "billing"}
	if r.Subject.NoGroup {
		o.Group = ""
	}
	if err := r.consume(ctx, o, 1, nothing); err != nil {
		return err
	}
	spans, err := r.spans((*Span).IsProcess)
	if err != nil {
		return err
	}
	if len(spans) == 0 {
		return faultf("there is no span of processing")
	}
	s := &spans[len(spans)-1]
	for _, want := range []struct {
		what, value string
		keys        []string
	}{{"partition", "0", partitionKeys}, {"offset", "0", offsetKeys}, {"group", o.Group, groupKeys}} {
		if want.value == "" {
			continue
		}
		if v, _ := s.First(want.keys...); number(v) != want.value {
			return faultf("the span says %s %s", want.what, orElse(number(v), "nothing"))
		}
	}
	return nil
}

func processingError(ctx context.Context, r *Run) error {
	if err := r.stored(ctx, 1); err != nil {
		return err
	}
	if err := r.consume(ctx, Options{}, 1, func(context.Context, *Message) error { return errors.New("no such order") }); err != nil {
		return err
	}
	spans, err := r.spans((*Span).IsProcess)
	if err != nil {
		return err
	}
	for _, s := range spans {
		if s.Error {
			return nil
		}
	}
	return faultf("it takes no part in processing: the program must do it")
}

func handlerContext(ctx context.Context, r *Run) error {
	if r.Way() == "dd" {
		return errNotApplicable
	}
	if err := r.stored(ctx, 1); err != nil {
		return err
	}
	own := r.Provider.Tracer("program")
	err := r.consume(ctx, Options{}, 1, func(ctx context.Context, _ *Message) error {
		_, span := own.Start(ctx, "own work")
		span.End()
		return nil
	})
	if err != nil {
		return err
	}
	all, err := r.Spans()
	if err != nil {
		return err
	}
	var parent string
	for _, s := range all {
		if s.Name == "own work" {
			parent = s.Parent
		}
	}
	for i := range all {
		if all[i].ID == parent && all[i].IsConsume() {
			return nil
		}
	}
	return faultf("the context is not that of a span: the program must take it from the headers")
}

func garbledContext(ctx context.Context, r *Run) error {
	bad := []string{"", "00", "00-00000000000000000000000000000000-0000000000000000-01", givenContext + "\x00", "ff" + givenContext[2:], givenContext[:54]}
	for _, v := range bad {
		if err := r.Store(ctx, Message{Value: []byte("v"), Headers: []Header{{"traceparent", []byte(v)}, {"tracestate", []byte("\xff=,,")}, {"baggage", []byte("%%=;")}}}); err != nil {
			return err
		}
	}
	n := 0
	err := r.consume(ctx, Options{}, len(bad), func(context.Context, *Message) error {
		n++
		return nil
	})
	if err != nil {
		return err
	}
	if n != len(bad) {
		return faultf("%d of %d messages are read", n, len(bad))
	}
	return nil
}
