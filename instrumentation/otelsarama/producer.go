package otelsarama

import (
	"context"
	"reflect"
	"sync"
	"unsafe"

	"github.com/IBM/sarama"
	"go.opentelemetry.io/otel/trace"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

// sending is the state of one message until it comes back. It travels in the
// message's Metadata.
type sending struct {
	ctx      context.Context //nolint:containedctx // of the message; sarama has none
	user     any             // the program's Metadata
	call     messaging.Call
	send     messaging.Send
	outcome  messaging.Outcome
	headers  []sarama.RecordHeader // the program's
	injected []sarama.RecordHeader // what took their place; nil: nothing did
	attempts int                   // how often interceptors saw it: once, and at each retry
	begun    bool
	assigned bool // it has a partition
}

// slabSize is how many messages' states are allocated at a time. A state is never
// used again.
const slabSize = 64

type sendSlab struct {
	mu      sync.Mutex
	free    []sending
	headers []sarama.RecordHeader
	in      messaging.Injector[messaging.Header]
}

// room returns an empty slice for n headers, which nothing else shares.
func (s *sendSlab) room(n int) []sarama.RecordHeader {
	s.mu.Lock()
	defer s.mu.Unlock()
	if cap(s.headers)-len(s.headers) < n {
		s.headers = make([]sarama.RecordHeader, 0, max(slabSize*2, n))
	}
	from := len(s.headers)
	s.headers = s.headers[:from+n]
	return s.headers[from : from : from+n]
}

func (s *sendSlab) next() *sending {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.free) == 0 {
		s.free = make([]sending, slabSize)
	}
	st := &s.free[0]
	s.free = s.free[1:]
	return st
}

// carried is a message's Metadata between [WithContext] and the producer.
type carried struct {
	ctx  context.Context //nolint:containedctx // of the message; sarama has none
	user any
}

// WithContext makes ctx the context in which msg is sent, and returns msg: its
// send span is a child of the span in ctx, whose baggage it carries. msg must then
// be given to a producer of this package, which puts its Metadata back.
func WithContext(ctx context.Context, msg *sarama.ProducerMessage) *sarama.ProducerMessage {
	switch m := msg.Metadata.(type) {
	case *carried:
		m.ctx = ctx
	default:
		msg.Metadata = &carried{ctx: ctx, user: m}
	}
	return msg
}

// take puts the message's state into its Metadata. It returns nil when the state
// is there already: sarama shows a message to interceptors again when it retries.
func (in *Instrumentation) take(ctx context.Context, msg *sarama.ProducerMessage) *sending {
	user := msg.Metadata
	switch m := user.(type) {
	case *sending:
		return nil
	case *carried:
		user = m.user
		if ctx == nil {
			ctx = m.ctx
		}
	}
	if ctx == nil {
		ctx = context.Background()
	}
	st := in.sends.next()
	st.ctx, st.user, st.headers = ctx, user, msg.Headers
	msg.Metadata = st
	return st
}

// takeCopy is take with a copy of msg, to be sent in its place: sarama may look at
// a message that it retried after it came back, so what the program gave must
// never be changed. Its state is in the copy's Metadata.
func (in *Instrumentation) takeCopy(ctx context.Context, msg, sent *sarama.ProducerMessage) *sending {
	*sent = *msg
	return in.take(ctx, sent)
}

// begin starts the message's span and adds the headers.
func (in *Instrumentation) begin(st *sending, msg *sarama.ProducerMessage) {
	defer in.core.Guard()
	if st.begun {
		return
	}
	if n := ownHeaders(msg.Headers); n > 0 {
		msg.Headers = withoutOwn(msg.Headers, n)
	}
	st.headers = msg.Headers
	if !messaging.Enabled() {
		return
	}
	st.begun = true
	in.producer.Load().Begin(st.ctx, &st.call)
	topic := in.producer.Load().Topic(msg.Topic)
	if len(msg.Headers) > 0 {
		var few [8]messaging.Header
		if found := messaging.Extract(sentHeaders(few[:0], msg.Headers)); found.SpanContext.IsValid() {
			st.call.Start(&st.send, topic, found.SpanContext)
			in.addPathway(st, msg, topic)
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
		in.inject(st, msg, sc)
	}
	in.addPathway(st, msg, topic)
}

func (in *Instrumentation) inject(st *sending, msg *sarama.ProducerMessage, sc trace.SpanContext) {
	if len(msg.Headers) > messaging.MaxHeadersToInject || !in.user.Version.IsAtLeast(sarama.V0_11_0_0) {
		in.skipped.Add(1)
		return
	}
	s := &in.sends
	s.mu.Lock()
	s.in.Refill(st.ctx, in.core.Config().SentryTrace, 0)
	fits := in.fits(msg, s.in.Overhead(sc))
	left := s.in.BaggageSkipped()
	var added []messaging.Header
	if fits {
		added = s.in.Inject(nil, sc)
	}
	s.mu.Unlock()
	if !fits {
		in.skipped.Add(1)
		return
	}
	if left {
		in.baggageSkipped.Add(1)
	}
	if p := in.core.Propagator(); p != nil {
		carrier := headerCarrier{headers: added}
		p.Inject(trace.ContextWithSpanContext(st.ctx, sc), &carrier)
		added = carrier.headers
	}
	in.add(st, msg, added)
}

// add gives the message a copy of its headers with more. Context headers that are
// in the way, which were found to be malformed, are left out; a baggage header of
// the program stays.
func (in *Instrumentation) add(st *sending, msg *sarama.ProducerMessage, added []messaging.Header) {
	out := in.sends.room(len(msg.Headers) + len(added))
	hasBaggage := false
	for _, h := range msg.Headers {
		switch unsafe.String(unsafe.SliceData(h.Key), len(h.Key)) {
		case messaging.HeaderTraceparent, messaging.HeaderTracestate, messaging.HeaderSentryTrace:
			continue
		case messaging.HeaderBaggage:
			hasBaggage = true
		}
		out = append(out, h)
	}
	for _, h := range added {
		if hasBaggage && h.Key == messaging.HeaderBaggage {
			continue
		}
		out = append(out, sarama.RecordHeader{Key: keyBytes(h.Key), Value: h.Value})
	}
	out = out[:len(out):len(out)]
	msg.Headers, st.injected = out, out
}

// fits tells whether msg may be larger by that many bytes of headers.
func (in *Instrumentation) fits(msg *sarama.ProducerMessage, more int) bool {
	limit := in.user.Producer.MaxMessageBytes
	return limit <= 0 || msg.ByteSize(2)+more+16 <= limit
}

// addPathway adds the pathway header when pathways are on.
func (in *Instrumentation) addPathway(st *sending, msg *sarama.ProducerMessage, t *messaging.SendTopic) {
	v := st.call.PathwayHeader(t)
	if v == nil || len(msg.Headers) > messaging.MaxHeadersToInject || !in.user.Version.IsAtLeast(sarama.V0_11_0_0) {
		return
	}
	if !in.fits(msg, len(messaging.HeaderPathway)+len(v)) {
		in.skipped.Add(1)
		return
	}
	out := make([]sarama.RecordHeader, 0, len(msg.Headers)+1)
	for _, h := range msg.Headers {
		if string(h.Key) != messaging.HeaderPathway { // of a record sent on
			out = append(out, h)
		}
	}
	out = append(out, sarama.RecordHeader{Key: keyBytes(messaging.HeaderPathway), Value: v})
	msg.Headers, st.injected = out, out
}

// giveBack puts the message back as the program gave it. A message that was retried
// keeps the headers it was sent with: the retry handler of sarama before v1.61 may
// be looking at them still (it asks for ByteSize after it handed the message on).
// Sent again, it loses them: see ownHeaders.
func giveBack(st *sending, msg *sarama.ProducerMessage) {
	if msg.Metadata == any(st) {
		msg.Metadata = st.user
	}
	if st.attempts > 1 {
		return
	}
	if st.isInjected(msg.Headers) {
		msg.Headers = st.headers
	}
}

// isInjected tells whether headers are what took the place of the program's.
func (st *sending) isInjected(headers []sarama.RecordHeader) bool {
	return st.injected != nil && len(headers) == len(st.injected) && unsafe.SliceData(headers) == unsafe.SliceData(st.injected)
}

// giveBackCopy puts into msg what sarama and the program's interceptors wrote into
// its copy sent, which is only looked at.
func giveBackCopy(st *sending, sent, msg *sarama.ProducerMessage) {
	back := *sent
	if back.Metadata == any(st) {
		back.Metadata = st.user
	}
	if st.isInjected(back.Headers) {
		back.Headers = st.headers
	} else if n := ownHeaders(back.Headers); n > 0 {
		back.Headers = withoutOwn(back.Headers, n)
	}
	*msg = back
}

// finish ends the message's span. The message is given back already.
func (in *Instrumentation) finish(st *sending, msg *sarama.ProducerMessage, err error) {
	defer in.core.Guard()
	if !st.begun {
		return
	}
	o := &st.outcome
	sent, partition := in.outcome(st, msg, err)
	var f messaging.Finisher
	in.producer.Load().Finish(&f, msg.Topic, partition, o)
	f.Add(&st.send, &sent)
	f.Done()
}

func (in *Instrumentation) outcome(st *sending, msg *sarama.ProducerMessage, err error) (sent messaging.Sent, partition int32) {
	sent.Offset = -1
	describeSent(&sent, msg)
	if sent.HasKey {
		sent.KeyText = in.core.KeyText(sent.Key)
	}
	o := &st.outcome
	if o.Err = err; err != nil {
		o.ErrorType = errorType(err)
		if !st.assigned {
			return sent, -1
		}
		return sent, msg.Partition
	}
	if in.user.Producer.RequiredAcks == sarama.NoResponse {
		return sent, msg.Partition
	}
	sent.Offset = msg.Offset
	b, ok := in.wire.Stored(msg.Topic, msg.Partition, msg.Offset)
	if !ok {
		in.unknown.Add(1)
		return sent, msg.Partition
	}
	o.FirstWritten, o.Written, o.Acked, o.Appended = b.FirstWritten, b.Written, b.Acked, b.Appended
	o.Attempts, o.Throttle, o.Broker = b.Attempts, b.Throttle, server(b.Broker)
	if st.attempts > b.Attempts {
		// It came in other batches before. When those were written is certain only
		// if no others of its partition failed meanwhile.
		o.Attempts, o.FirstWritten = st.attempts, 0
		if first, n := in.wire.Failed(msg.Topic, msg.Partition, st.call.StartTime()); n == st.attempts-1 {
			o.FirstWritten = first
		}
	}
	return sent, msg.Partition
}

// describeSent looks at key and value without encoding them: an Encoder of the
// program may be costly.
func describeSent(sent *messaging.Sent, msg *sarama.ProducerMessage) {
	switch v := msg.Value.(type) {
	case nil:
		sent.Tombstone = true
	case sarama.ByteEncoder:
		sent.Tombstone, sent.BodySize = v == nil, len(v) // nil is written as null
	default:
		sent.BodySize = v.Length()
	}
	switch k := msg.Key.(type) {
	case sarama.ByteEncoder:
		sent.HasKey, sent.Key = k != nil, k
	case sarama.StringEncoder:
		sent.HasKey, sent.Key = true, unsafe.Slice(unsafe.StringData(string(k)), len(k))
	}
}

// sentHeaders shows headers as Extract wants them, without a copy of their bytes.
func sentHeaders(dst []messaging.Header, headers []sarama.RecordHeader) []messaging.Header {
	for _, h := range headers {
		dst = append(dst, messaging.Header{Key: unsafe.String(unsafe.SliceData(h.Key), len(h.Key)), Value: h.Value})
	}
	return dst
}

// headerCarrier lets any propagator write headers. Set never changes a header in
// place.
type headerCarrier struct{ headers []messaging.Header }

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
	c.headers = append(c.headers[:len(c.headers):len(c.headers)], messaging.Header{Key: key, Value: []byte(value)})
}

// Keys lists the header keys.
func (c *headerCarrier) Keys() []string {
	keys := make([]string, len(c.headers))
	for i := range c.headers {
		keys[i] = c.headers[i].Key
	}
	return keys
}

// conceal is the last interceptor: it starts the spans of messages that were not
// started by a wrapped SyncProducer.
type conceal struct{ in *Instrumentation }

// OnSend implements sarama.ProducerInterceptor.
func (c conceal) OnSend(msg *sarama.ProducerMessage) {
	in := c.in
	if in.intercepted {
		if v, ok := in.window.LoadAndDelete(msg); ok {
			st := v.(*sending) // nothing else is put there
			st.user, msg.Metadata = msg.Metadata, st
			st.attempts++
			in.begin(st, msg)
			return
		}
	}
	if st, ok := msg.Metadata.(*sending); ok {
		st.attempts++
		return
	}
	if isOwn(msg) {
		return
	}
	if st := in.take(nil, msg); st != nil { //nolint:staticcheck // nil: that of the message
		st.attempts = 1
		in.begin(st, msg)
	}
}

// flagsField is where sarama marks the messages that it makes for itself; nil if
// this version of it has no such field.
var flagsField = func() []int {
	f, ok := reflect.TypeFor[sarama.ProducerMessage]().FieldByName("flags")
	if !ok || f.Type.Kind() != reflect.Int8 {
		return nil
	}
	return f.Index
}()

// isOwn tells whether sarama made msg for itself. When it retries it sends such
// messages behind those of a partition, shows them to interceptors, and reads their
// headers at the same time.
func isOwn(msg *sarama.ProducerMessage) bool {
	if msg.Key != nil || msg.Value != nil || msg.Metadata != nil || msg.Headers != nil || flagsField == nil {
		return false
	}
	return reflect.ValueOf(msg).Elem().FieldByIndex(flagsField).Int() != 0
}

// reveal is the first interceptor when the program has some: they see the message
// as the program gave it.
type reveal struct{ in *Instrumentation }

// OnSend implements sarama.ProducerInterceptor.
func (r reveal) OnSend(msg *sarama.ProducerMessage) {
	switch st := msg.Metadata.(type) {
	case *sending:
		r.in.window.Store(msg, st)
		msg.Metadata = st.user
	case *carried:
		s := r.in.take(nil, msg) //nolint:staticcheck // nil: that of the message
		r.in.window.Store(msg, s)
		msg.Metadata = s.user
	}
}

// partitioner shows the program's partitioner the message as the program gave it.
type partitioner struct{ inner sarama.Partitioner }

// dynamicPartitioner is a partitioner that decides on consistency by message.
type dynamicPartitioner struct {
	partitioner
	inner sarama.DynamicConsistencyPartitioner
}

func wrapPartitioner(p sarama.Partitioner) sarama.Partitioner {
	if d, ok := p.(sarama.DynamicConsistencyPartitioner); ok {
		return dynamicPartitioner{partitioner{p}, d}
	}
	return partitioner{p}
}

// shown is a message while the program looks at it.
type shown struct {
	msg     *sarama.ProducerMessage
	st      *sending
	headers []sarama.RecordHeader
}

// show makes the message as the program gave it, until hide.
func show(msg *sarama.ProducerMessage) shown {
	st, ok := msg.Metadata.(*sending)
	if !ok {
		return shown{}
	}
	s := shown{msg, st, msg.Headers}
	msg.Metadata = st.user
	if st.injected != nil {
		msg.Headers = st.headers
	}
	return s
}

func (s shown) hide() {
	if s.st != nil {
		s.msg.Metadata, s.msg.Headers = s.st, s.headers
	}
}

// Partition implements sarama.Partitioner.
func (p partitioner) Partition(msg *sarama.ProducerMessage, n int32) (int32, error) {
	s := show(msg)
	defer s.hide()
	out, err := p.inner.Partition(msg, n)
	if s.st != nil {
		s.st.assigned = err == nil
	}
	return out, err
}

// RequiresConsistency implements sarama.Partitioner.
func (p partitioner) RequiresConsistency() bool { return p.inner.RequiresConsistency() }

// MessageRequiresConsistency implements sarama.DynamicConsistencyPartitioner.
func (p dynamicPartitioner) MessageRequiresConsistency(msg *sarama.ProducerMessage) bool {
	s := show(msg)
	defer s.hide()
	return p.inner.MessageRequiresConsistency(msg)
}
