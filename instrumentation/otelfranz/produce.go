package otelfranz

import (
	"context"
	"sync"
	"unsafe"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/trace"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

// sending is the state of one record between Produce and its promise. It travels
// in the record's Context, with the user's own beneath it.
type sending struct {
	context.Context //nolint:containedctx // it is the user's, shown to whoever asks the record
	call            messaging.Call
	send            messaging.Send
	headers         []kgo.RecordHeader // the user's
	injected        []kgo.RecordHeader // what took their place; nil: nothing did
	partitioned     int64              // the record got its partition; zero before
	outcome         messaging.Outcome  // here so that it needs no memory of its own
}

type sendingKey struct{}

// Value finds the state for us, and what is the user's for everyone else.
func (s *sending) Value(key any) any {
	if _, ok := key.(sendingKey); ok {
		return s
	}
	return s.Context.Value(key)
}

func sendingOf(r *kgo.Record) *sending {
	switch c := r.Context.(type) {
	case nil:
		return nil
	case *sending:
		return c
	default: // another hook has put its own context over ours
		s, _ := c.Value(sendingKey{}).(*sending)
		return s
	}
}

// slabSize is how many records' states are allocated at a time. A state is never
// used again: the client may still look at a record that it gave up.
const slabSize = 64

type sendSlabs struct {
	mu   sync.Mutex
	free []sending
	in   messaging.Injector[kgo.RecordHeader]
}

func (s *sendSlabs) next() *sending {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.free) == 0 {
		s.free = make([]sending, slabSize)
	}
	st := &s.free[0]
	s.free = s.free[1:]
	return st
}

// OnProduceRecordBuffered implements kgo.HookProduceRecordBuffered: it starts the
// record's span and adds the headers.
func (h *Hooks) OnProduceRecordBuffered(r *kgo.Record) {
	defer h.core.Guard()
	c := h.client.Load()
	if c == nil || r.Context == nil || !messaging.Enabled() {
		return
	}
	if _, under := r.Context.(*sending); under {
		return // given to the client twice at once
	}
	st := h.sends.next()
	st.Context, st.headers = r.Context, r.Headers
	c.producer.Begin(st.Context, &st.call)
	topic := c.producer.Topic(r.Topic)
	r.Context = st
	if len(r.Headers) > 0 {
		if found := messaging.Extract(r.Headers); found.SpanContext.IsValid() {
			st.call.Start(&st.send, topic, found.SpanContext)
			h.addPathway(c, r, st, topic)
			return
		}
	}
	sc, unsampled := st.call.Unsampled()
	if unsampled {
		st.call.Measure(&st.send)
	} else {
		st.call.Start(&st.send, topic, trace.SpanContext{})
		sc = st.send.Context()
	}
	if sc.IsValid() {
		h.inject(c, r, st, sc)
	}
	h.addPathway(c, r, st, topic)
}

// Beside its key, value and headers a record takes at most this many bytes of a
// batch, the batch's own included.
const recordOverhead = 128

func recordSize(r *kgo.Record) int {
	n := recordOverhead + len(r.Key) + len(r.Value)
	for i := range r.Headers {
		n += 2*5 + len(r.Headers[i].Key) + len(r.Headers[i].Value)
	}
	return n
}

func (h *Hooks) inject(c *client, r *kgo.Record, st *sending, sc trace.SpanContext) {
	if len(r.Headers) > messaging.MaxHeadersToInject {
		h.skipped.Add(1)
		return
	}
	s := &h.sends
	s.mu.Lock()
	s.in.Refill(st.Context, h.core.Config().SentryTrace, len(r.Headers))
	fits := c.batchSize <= 0 || recordSize(r)+s.in.Overhead(sc) <= c.batchSize
	left := s.in.BaggageSkipped()
	if fits {
		r.Headers = s.in.Inject(r.Headers, sc)
	}
	s.mu.Unlock()
	if !fits {
		h.skipped.Add(1)
		return
	}
	if left {
		h.baggageSkipped.Add(1)
	}
	if p := h.core.Propagator(); p != nil {
		carrier := headerCarrier{headers: r.Headers}
		p.Inject(trace.ContextWithSpanContext(st.Context, sc), &carrier)
		r.Headers = carrier.headers
	}
	st.injected = r.Headers
}

// addPathway adds the pathway header when pathways are on.
func (h *Hooks) addPathway(c *client, r *kgo.Record, st *sending, t *messaging.SendTopic) {
	v := st.call.PathwayHeader(t)
	if v == nil || len(r.Headers) > messaging.MaxHeadersToInject {
		return
	}
	if c.batchSize > 0 && recordSize(r)+2*5+len(messaging.HeaderPathway)+len(v) > c.batchSize {
		h.skipped.Add(1)
		return
	}
	out := make([]kgo.RecordHeader, 0, len(r.Headers)+1)
	for i := range r.Headers {
		if r.Headers[i].Key != messaging.HeaderPathway { // of a record sent on
			out = append(out, r.Headers[i])
		}
	}
	out = append(out, kgo.RecordHeader{Key: messaging.HeaderPathway, Value: v})
	r.Headers, st.injected = out, out
}

// OnProduceRecordPartitioned implements kgo.HookProduceRecordPartitioned.
func (h *Hooks) OnProduceRecordPartitioned(r *kgo.Record, _ int32) {
	defer h.core.Guard()
	if st := sendingOf(r); st != nil {
		st.partitioned = h.core.Now()
	}
}

// OnProduceRecordUnbuffered implements kgo.HookProduceRecordUnbuffered: it gives
// the record back as it was and ends its span, before its promise is called.
func (h *Hooks) OnProduceRecordUnbuffered(r *kgo.Record, err error) {
	defer h.core.Guard()
	st := sendingOf(r)
	if st == nil {
		return
	}
	if r.Context == context.Context(st) {
		r.Context = st.Context
	}
	if st.injected != nil && len(r.Headers) == len(st.injected) && unsafe.SliceData(r.Headers) == unsafe.SliceData(st.injected) {
		r.Headers = st.headers
	}
	c := h.client.Load()
	o := &st.outcome
	o.Err = err
	sent := messaging.Sent{Offset: r.Offset, BodySize: len(r.Value), Tombstone: r.Value == nil, HasKey: r.Key != nil, Key: r.Key}
	partition := int32(-1)
	if st.partitioned != 0 {
		partition = r.Partition
	}
	switch {
	case err != nil:
		o.ErrorType, sent.Offset = errorType(err), -1
	case c.acks0:
		sent.Offset = -1
	default:
		h.times(o, r, st)
	}
	var f messaging.Finisher
	c.producer.Finish(&f, r.Topic, partition, o)
	f.Add(&st.send, &sent)
	f.Done()
}

// times fills in when the request that stored r was written and answered.
func (h *Hooks) times(o *messaging.Outcome, r *kgo.Record, st *sending) {
	if !h.shared.Load() {
		if b, ok := h.wire.Stored(r.Topic, r.Partition, r.Offset); ok {
			o.FirstWritten, o.Written, o.Acked, o.Appended = b.FirstWritten, b.Written, b.Acked, b.Appended
			o.Attempts, o.Throttle, o.Broker = b.Attempts, b.Throttle, server(b.Broker)
			return
		}
		if h.bare.Load() {
			if q, ok := h.requests.only(st.partitioned); ok {
				o.FirstWritten, o.Written, o.Acked, o.Attempts = q.written, q.written, q.acked, 1
				return
			}
		}
	}
	h.unknown.Add(1)
}

// headerCarrier lets any propagator write headers. Set never changes a header in
// place.
type headerCarrier struct{ headers []kgo.RecordHeader }

// Get returns the value of the last header with that key.
func (c *headerCarrier) Get(key string) string {
	for i := len(c.headers) - 1; i >= 0; i-- {
		if c.headers[i].Key == key {
			return string(c.headers[i].Value)
		}
	}
	return ""
}

// Set adds a header unless there is one with that key already.
func (c *headerCarrier) Set(key, value string) {
	for i := range c.headers {
		if c.headers[i].Key == key {
			return
		}
	}
	c.headers = append(c.headers[:len(c.headers):len(c.headers)], kgo.RecordHeader{Key: key, Value: []byte(value)})
}

// Keys lists the header keys.
func (c *headerCarrier) Keys() []string {
	keys := make([]string, len(c.headers))
	for i := range c.headers {
		keys[i] = c.headers[i].Key
	}
	return keys
}
