package messaging

import (
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/hoptrace/hoptrace/instrumentation/messaging/measure"
	"github.com/hoptrace/hoptrace/instrumentation/messaging/record"
)

// Outcome is the fate of the records that one request carried. Times are Unix
// nanoseconds, zero when not seen.
type Outcome struct {
	FirstWritten int64 // the request was written for the first time
	Written      int64 // and for the last time
	Acked        int64 // its answer arrived
	Appended     int64 // LogAppendTime, the broker's clock, whole ms
	Throttle     time.Duration
	Attempts     int
	// Broker is the leader's address, host:port, for clock samples and
	// network.peer.address.
	Broker Server

	// Err is why the records were not stored, nil when they were; ErrorType is
	// its error.type: the Kafka protocol's name of the code where it has one.
	Err       error
	ErrorType string
}

// Sent is what is known of one record when its request has ended.
type Sent struct {
	Offset    int64 // negative: not told, as with acks=0
	BodySize  int
	Tombstone bool
	HasKey    bool
	Key       []byte
	keyHash   uint64 // of SetKey
	// KeyText is the value of messaging.kafka.message.key; empty: not to be told.
	// See [Core.KeyText].
	KeyText string
}

// Finisher ends the records of one request under one lock. Between Finish and
// Done the wrapper calls nothing but Add. Done is best deferred: a provider that
// is not ours may panic in Add.
type Finisher struct {
	p       *SendPartition
	at      sending
	o       *Outcome
	locked  record.Locked
	group   *measure.Group
	extra   *record.Extra
	end     int64
	start   int64 // of the run of records with one start
	run     int
	total   int
	ex      measure.Exemplar
	sampled bool
	links   []trace.Link
	dropped int
	first   int64
	call    *Call

	held      bool // the locks are, from Finish to Done
	abandoned bool // what is not sent does not count as sent
}

// Finish begins to end the records of one request to a partition; a negative
// partition is one that is not known. o must not change until Done.
func (p *Producer) Finish(f *Finisher, topic string, partition int32, o *Outcome) {
	k := partitionKey{topic, partition}
	*f = Finisher{p: p.parts.get(k), o: o, end: o.Acked}
	f.at = f.p.at.get(o.Broker)
	if o.Err != nil || o.Acked == 0 {
		f.end = p.core.now()
	}
	f.group = f.at.group
	if o.Err != nil {
		f.group = f.p.errorGroup(k, o.Broker, o.ErrorType)
		f.extra = &record.Extra{
			Attributes: []attribute.KeyValue{attribute.String(AttrErrorType, o.ErrorType)},
			Status:     codes.Error, Description: p.core.text(o.Err),
		}
	}
	// Under somebody else's providers Add runs foreign code, and no lock is held.
	if f.held = p.core.rec != nil && p.core.ownMeter; f.held {
		f.locked = p.core.rec.Lock(f.p.hint)
		f.group.Lock()
	}
}

// Add ends the record whose state is s.
func (f *Finisher) Add(s *Send, sent *Sent) {
	c := s.call
	if c == nil {
		return
	}
	if c.start != f.start {
		f.flush()
		f.start = c.start
	}
	f.run++
	f.total++
	if f.first == 0 || c.start < f.first {
		f.first = c.start
	}
	if !s.started {
		return
	}
	core := f.p.producer.core
	if core.rec != nil && !s.sampled {
		return
	}
	if s.span != nil && !s.span.IsRecording() {
		s.span.End()
		s.span = nil
		return
	}
	var r record.Span
	r.Start, r.End = c.start, f.end
	x := f.extra
	if s.created != 0 && !s.given.IsValid() {
		// A create span was over before the request was made: that may fail, not this.
		r.End, x = s.created, nil
		f.link(s)
	}
	o := f.o
	r.Set(sendBodySize, int64(sent.BodySize))
	if sent.Tombstone {
		r.Set(sendTombstone, 1)
	}
	if sent.HasKey {
		hash := sent.keyHash
		if sent.Key != nil || hash == 0 {
			hash = keyHash(sent.Key)
		}
		r.Set(sendKeyHash, int64(hash)) //nolint:gosec // the bits are what is kept
	}
	if o.Written != 0 {
		r.Set(sendWritten, o.Written)
		if o.FirstWritten != o.Written && o.FirstWritten != 0 {
			r.Set(sendFirstWritten, o.FirstWritten)
		}
	}
	if o.Acked != 0 {
		r.Set(sendAcked, o.Acked)
	}
	if o.Err == nil && sent.Offset >= 0 {
		r.Set(sendOffset, sent.Offset)
	}
	if o.Appended != 0 {
		r.Set(sendAppended, o.Appended)
	}
	if o.Attempts > 1 {
		r.Set(sendAttempts, int64(o.Attempts))
	}
	if o.Throttle > 0 {
		r.Set(sendThrottled, o.Throttle.Nanoseconds())
	}
	if sent.KeyText != "" {
		x = withKey(x, sent.KeyText)
	}
	if s.span != nil {
		attrs := f.at.late
		if core.config.CreateSpans && !s.given.IsValid() {
			attrs = f.at.created
		}
		if len(attrs) > 0 {
			s.span.SetAttributes(attrs...)
		}
		sc := s.span.SpanContext()
		f.sampled, f.ex = sc.IsSampled(), measure.Exemplar{TraceID: sc.TraceID(), SpanID: sc.SpanID()}
		finish(s.span, sendLayout, &r, x)
		s.span = nil
		return
	}
	r.TraceID, r.SpanID = s.traceID, s.spanID
	f.sampled, f.ex = true, measure.Exemplar{TraceID: s.traceID, SpanID: s.spanID}
	setParent(&r, c.parent)
	st := f.at.own
	if s.given.IsValid() {
		st = f.at.given
	}
	x = linkTo(&r, s.given, c.parent.TraceState(), x)
	if !f.held {
		core.rec.Put(st, &r, x)
		return
	}
	f.locked.Put(st, &r, x)
}

// linkTo makes given the record's inline link where it fits there.
func linkTo(r *record.Span, given trace.SpanContext, state trace.TraceState, x *record.Extra) *record.Extra {
	bulky := given.TraceState().Len() > 0
	if given.IsValid() && !bulky {
		setLink(r, given)
	}
	if !bulky && state.Len() == 0 {
		return x
	}
	var out record.Extra
	if x != nil {
		out = *x
	}
	if bulky {
		out.Links = append(out.Links[:len(out.Links):len(out.Links)], trace.Link{SpanContext: given})
	}
	out.TraceState = state.String()
	return &out
}

// withKey returns a copy of x, which may be nil, with the record's key.
func withKey(x *record.Extra, key string) *record.Extra {
	var out record.Extra
	if x != nil {
		out = *x
	}
	out.Attributes = append(out.Attributes[:len(out.Attributes):len(out.Attributes)], attribute.String(AttrKafkaKey, key))
	return &out
}

// maxLinks bounds the links of one span, as OpenTelemetry's SDK does.
const maxLinks = 128

func (f *Finisher) link(s *Send) {
	if f.call == nil {
		f.call = s.call
	}
	if len(f.links) >= maxLinks {
		f.dropped++
		return
	}
	f.links = append(f.links, trace.Link{SpanContext: s.Context()})
}

// flush measures the run of records that one call started.
func (f *Finisher) flush() {
	if f.run == 0 {
		return
	}
	n, o := f.run, f.o
	f.run = 0
	if !f.held {
		f.group.Lock()
		defer f.group.Unlock()
	}
	var ex *measure.Exemplar
	if f.sampled {
		ex = &f.ex
	}
	f.group.Duration(sendDuration, f.end-f.start, n, ex)
	first := o.FirstWritten
	if first == 0 && o.Attempts <= 1 {
		first = o.Written
	}
	if first != 0 {
		f.group.Duration(sendBatchQueue, first-f.start, n, ex)
	}
	f.sampled = false
}

// Done ends what Finish began.
func (f *Finisher) Done() {
	f.flush()
	o, n := f.o, f.total
	p := f.p.producer
	if !f.held {
		f.group.Lock()
	}
	if n > 0 {
		if !f.abandoned {
			f.group.Add(sendMessages, int64(n))
		}
		if o.Written != 0 {
			if o.Attempts > 1 && o.FirstWritten != 0 {
				f.group.Duration(sendRetry, o.Written-o.FirstWritten, n, nil)
			}
			if o.Acked != 0 {
				f.group.Duration(sendAck, o.Acked-o.Written, n, nil)
			}
		}
		if o.Throttle > 0 {
			f.group.Duration(sendThrottle, o.Throttle.Nanoseconds(), n, nil)
		}
	}
	f.group.Unlock()
	if f.held {
		f.locked.Unlock()
	}
	if n == 0 {
		return
	}
	if len(f.links) > 0 {
		f.transit()
	}
	p.core.clocks.Look(f.end)
	if o.Broker.Host != "" && o.Written != 0 && o.Acked != 0 && o.Appended != 0 && o.Attempts <= 1 {
		p.core.clocks.Produce(o.Broker.Host, o.Broker.Port, o.Written, o.Acked, o.Appended)
	}
	p.advisor.sent(p, f.p.topic.Topic, f.first, f.end, n, o)
}

// transit makes the send span of a request whose records have create spans.
func (f *Finisher) transit() {
	r := record.Span{Start: f.first, End: f.end}
	if f.total > 1 {
		r.Set(sendCount, int64(f.total))
	}
	var x record.Extra
	if f.extra != nil {
		x.Attributes, x.Status, x.Description = f.extra.Attributes, f.extra.Status, f.extra.Description
	}
	x.Attributes = append(f.at.late[:len(f.at.late):len(f.at.late)], x.Attributes...)
	if f.dropped > 0 { // OpenTelemetry's API has no other way to tell it
		x.Attributes = append(x.Attributes, attribute.Int(AttrBatchLinksLeftOut, f.dropped))
	}
	f.p.topic.given.emit(f.call.ctx, &r, f.call.parent, &x, f.links)
}

// Abandon ends the span of a record that was never enqueued.
func (p *Producer) Abandon(s *Send, topic string, partition int32, err error, kind string, sent *Sent) {
	if s.call == nil {
		return
	}
	o := Outcome{Err: err, ErrorType: kind}
	var f Finisher
	p.Finish(&f, topic, partition, &o)
	f.abandoned = true
	defer f.Done()
	f.Add(s, sent)
}
