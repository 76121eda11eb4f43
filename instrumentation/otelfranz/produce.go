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
	var sent messaging.Sent
	sent.Offset, sent.BodySize, sent.Tombstone = r.Offset, len(r.Value), r.Value == nil
	sent.SetKey(r.Key)
	sent.KeyText = h.core.KeyText(r.Key)
	c := h.client.Load()
	if err == nil && !c.acks0 {
		h.stored(c, r, st, &sent)
		return
	}
	sent.Offset = -1
	if err != nil {
		st.outcome.Err, st.outcome.ErrorType = err, errorType(err)
	}
	h.finish(c, r, st, &sent)
}

// finish ends the span of one record.
func (h *Hooks) finish(c *client, r *kgo.Record, st *sending, sent *messaging.Sent) {
	partition := int32(-1)
	if st.partitioned != 0 {
		partition = r.Partition
	}
	var f messaging.Finisher
	c.producer.Finish(&f, r.Topic, partition, &st.outcome)
	f.Add(&st.send, sent)
	f.Done()
}

// storedBatch gathers the records of one batch, whose promises the client calls one
// after the other, until the last of them: they are finished under one lock and,
// with create spans, have one send span.
type storedBatch struct {
	mu         sync.Mutex
	key        topicPartition
	next, last int64 // offsets: the one to come, and the last
	outcome    messaging.Outcome
	states     []*sending
	sents      []messaging.Sent
}

// stored notes that r is stored, and ends its span, or leaves that to the last
// record of its batch.
func (h *Hooks) stored(c *client, r *kgo.Record, st *sending, sent *messaging.Sent) {
	q := &h.batch
	q.mu.Lock()
	defer q.mu.Unlock()
	k := topicPartition{r.Topic, r.Partition}
	if len(q.states) > 0 && (q.key != k || q.next != r.Offset) {
		q.flush(c)
	}
	if len(q.states) == 0 {
		b, ok := h.wire.Stored(r.Topic, r.Partition, r.Offset)
		if !ok || h.shared.Load() {
			h.single(st)
			h.finish(c, r, st, sent)
			return
		}
		q.key, q.last = k, b.First+int64(b.Records)-1
		q.outcome = messaging.Outcome{
			FirstWritten: b.FirstWritten, Written: b.Written, Acked: b.Acked, Appended: b.Appended,
			Attempts: b.Attempts, Throttle: b.Throttle, Broker: server(b.Broker),
		}
	}
	q.states, q.sents, q.next = append(q.states, st), append(q.sents, *sent), r.Offset+1
	if r.Offset == q.last {
		q.flush(c)
	}
}

// maxGathered bounds the memory kept from batch to batch.
const maxGathered = 4096

// flush is called with q.mu held. A provider that is not ours may panic in it.
func (q *storedBatch) flush(c *client) {
	defer q.reset()
	var f messaging.Finisher
	c.producer.Finish(&f, q.key.topic, q.key.partition, &q.outcome)
	defer f.Done()
	for i, st := range q.states {
		f.Add(&st.send, &q.sents[i])
	}
}

func (q *storedBatch) reset() {
	if cap(q.states) > maxGathered {
		q.states, q.sents = nil, nil
	}
	clear(q.states)
	clear(q.sents)
	q.states, q.sents = q.states[:0], q.sents[:0]
}

// single fills in the times of the request that stored the record, if only one can
// have.
func (h *Hooks) single(st *sending) {
	if h.bare.Load() && !h.shared.Load() {
		if q, ok := h.requests.only(st.partitioned); ok {
			o := &st.outcome
			o.FirstWritten, o.Written, o.Acked, o.Attempts = q.written, q.written, q.acked, 1
			return
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
