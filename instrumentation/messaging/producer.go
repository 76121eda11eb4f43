package messaging

import (
	"context"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/hoptrace/hoptrace/instrumentation/messaging/measure"
	"github.com/hoptrace/hoptrace/instrumentation/messaging/record"
)

// Producer instruments one client that sends. A record passes three calls of it:
// [Producer.Begin] once for each call of the application's send function,
// [Call.Start] once for each record of that call, [Producer.Finish] once for
// each request that was answered or given up.
type Producer struct {
	core     *Core
	config   ProducerConfig
	shard    atomic.Uint32
	topics   cache[string, *SendTopic]
	parts    cache[partitionKey, *SendPartition]
	advisor  *advisor
	pathways *pathways
}

// ProducerConfig says what is known of the client. All fields may be empty.
type ProducerConfig struct {
	ClientID string
	// Server is the one address the client was given; of several bootstrap
	// addresses none is the server.
	Server Server
	// Facts are settings of the client that findings are derived from.
	Facts ProducerFacts
}

// Server is a broker's address. The zero value means unknown.
type Server struct {
	Host string
	Port int
}

// String is host:port, as the client was told it.
func (s Server) String() string {
	if s.Port <= 0 {
		return s.Host
	}
	return net.JoinHostPort(s.Host, strconv.Itoa(s.Port))
}

func (s Server) attributes(attrs []attribute.KeyValue) []attribute.KeyValue {
	if s.Host == "" {
		return attrs
	}
	attrs = append(attrs, attribute.String(AttrServerAddress, s.Host))
	if s.Port > 0 {
		attrs = append(attrs, attribute.Int(AttrServerPort, s.Port))
	}
	return attrs
}

type partitionKey struct {
	topic     string
	partition int32
}

// Slots of a send span's values.
const (
	sendOffset = iota
	sendBodySize
	sendTombstone
	sendKeyHash
	sendFirstWritten
	sendWritten
	sendAcked
	sendAppended
	sendAttempts
	sendThrottled
	sendCount
)

var sendLayout = record.NewLayout(
	record.Field{Key: AttrKafkaOffset, Type: record.Int},
	record.Field{Key: AttrBodySize, Type: record.Int},
	record.Field{Key: AttrKafkaTombstone, Type: record.Bool},
	record.Field{Key: AttrKeyHash, Type: record.Unsigned},
	record.Field{Key: AttrProduceFirstWritten, Type: record.Int},
	record.Field{Key: AttrProduceWritten, Type: record.Int},
	record.Field{Key: AttrProduceAcked, Type: record.Int},
	record.Field{Key: AttrProduceAppended, Type: record.Int},
	record.Field{Key: AttrProduceAttempts, Type: record.Int},
	record.Field{Key: AttrProduceThrottle, Type: record.Int},
	record.Field{Key: AttrBatchMessageCount, Type: record.Int},
)

// Producer makes the instrumentation of one client.
func (c *Core) Producer(cfg ProducerConfig) *Producer {
	p := &Producer{core: c, config: cfg}
	p.topics.init(p.newTopic)
	p.parts.init(p.newPartition)
	p.advisor = c.newAdvisor()
	if c.config.Pathways {
		p.pathways = c.newPathways()
	}
	return p
}

// SendTopic is what sends to one topic share.
type SendTopic struct {
	Topic string
	own   *operation // send of kind PRODUCER, or create
	given *operation // send of kind CLIENT: the record has a creation context
}

func (p *Producer) newTopic(topic string) *SendTopic {
	c := p.core
	client := func(attrs []attribute.KeyValue) []attribute.KeyValue {
		attrs = p.config.Server.attributes(attrs)
		if p.config.ClientID != "" {
			attrs = append(attrs, attribute.String(AttrClientID, p.config.ClientID))
		}
		return attrs
	}
	t := &SendTopic{Topic: topic}
	send := client(c.attributes("send", OperationSend, SentryOpPublish, topic))
	t.given = c.operation(spanName("send", topic), trace.SpanKindClient, sendLayout, send)
	if c.config.CreateSpans {
		t.own = c.operation(spanName("create", topic), trace.SpanKindProducer, sendLayout,
			c.attributes("create", OperationCreate, SentryOpCreate, topic))
	} else {
		t.own = c.operation(spanName("send", topic), trace.SpanKindProducer, sendLayout, send)
	}
	return t
}

// Topic returns what sends to topic share.
func (p *Producer) Topic(topic string) *SendTopic { return p.topics.get(topic) }

// SendPartition is what sends to one partition share.
type SendPartition struct {
	topic    *SendTopic
	producer *Producer
	at       byServer[sending]
	hint     uint32

	mu     sync.Mutex
	failed map[failedKey]*measure.Group
}

// failedKey names the measures of sends that failed at one broker with one error.type.
type failedKey struct {
	kind   string
	leader Server
}

func (p *Producer) newPartition(k partitionKey) *SendPartition {
	sp := &SendPartition{topic: p.topics.get(k.topic), producer: p, hint: p.shard.Add(1)}
	sp.at.init(func(s Server) sending { return sp.newSending(k, s) })
	return sp
}

func late(c *Core, op *operation, attrs []attribute.KeyValue) *record.Stream {
	all := append(append(make([]attribute.KeyValue, 0, len(op.attrs)+len(attrs)), op.attrs...), attrs...)
	return c.operation(op.name, op.kind, op.layout, all).stream
}

func (p *Producer) measureAttributes(k partitionKey, leader Server) []attribute.KeyValue {
	attrs := []attribute.KeyValue{
		attribute.String(AttrSystem, SystemKafka),
		attribute.String(AttrOperationName, "send"),
		attribute.String(AttrOperationType, OperationSend),
		attribute.String(AttrDestinationName, k.topic),
	}
	if k.partition >= 0 {
		attrs = append(attrs, attribute.String(AttrPartitionID, itoa(k.partition)))
	}
	if leader.Host == "" {
		leader = p.config.Server
	}
	return leader.attributes(attrs)
}

// errorGroup holds the measures of sends that failed with one kind of error.
func (sp *SendPartition) errorGroup(k partitionKey, leader Server, kind string) *measure.Group {
	key := failedKey{kind, leader}
	sp.mu.Lock()
	defer sp.mu.Unlock()
	if g := sp.failed[key]; g != nil {
		return g
	}
	g := sp.producer.core.meter.Group(sendMeasures, append(sp.producer.measureAttributes(k, leader), attribute.String(AttrErrorType, kind))...)
	if sp.failed == nil {
		sp.failed = make(map[failedKey]*measure.Group)
	}
	if len(sp.failed) < maxErrorTypes {
		sp.failed[key] = g
	}
	return g
}

// maxErrorTypes bounds what is remembered; Kafka has some 120 codes.
const maxErrorTypes = 32

// Call is the state of one call of the application's send function. It is filled
// by [Producer.Begin] and must stay where it is until the last record of the call
// is finished: the records point to it.
type Call struct {
	producer *Producer
	ctx      context.Context //nolint:containedctx // the call's own, for spans that start in it
	parent   trace.SpanContext
	start    int64
	pathway  pathwayState
}

// Begin fills c for a call of the application's send function with ctx.
func (p *Producer) Begin(ctx context.Context, c *Call) {
	c.producer, c.ctx, c.start = p, ctx, p.core.now()
	c.parent = trace.SpanContextFromContext(ctx)
	if p.pathways != nil {
		c.pathway = p.pathways.outgoing(ctx)
	}
}

// StartTime is when the call began, in Unix nanoseconds.
func (c *Call) StartTime() int64 { return c.start }

// Unsampled returns the one context that all records of the call carry when none
// of them will have a span: the parent was not sampled, and that decides. ok is false when records
// must be started one by one.
func (c *Call) Unsampled() (sc trace.SpanContext, ok bool) {
	if r := c.producer.core.rec; r == nil || !c.parent.IsValid() || c.parent.IsSampled() || !r.ByParent() {
		return trace.SpanContext{}, false
	}
	return c.parent, true
}

// Send is the state of one record between the send call and its outcome. Its
// zero value is ready for [Call.Start]; without that, [Finisher.Add] measures it
// and makes no span. It is plain data that the wrapper keeps where it finds it
// again.
type Send struct {
	call    *Call
	span    trace.Span // OpenTelemetry's way
	given   trace.SpanContext
	traceID trace.TraceID
	spanID  trace.SpanID
	created int64
	sampled bool
	started bool
}

// Measure makes s count as a record of the call c without a span of its own.
func (c *Call) Measure(s *Send) { s.call = c }

// Start starts the send span of a record to t. given is the creation context that
// the record already carries; it is never changed: the span links to it and is of
// kind client. Otherwise [Send.Context] is the record's creation context.
func (c *Call) Start(s *Send, t *SendTopic, given trace.SpanContext) {
	s.call, s.started = c, true
	op := t.own
	if given.IsValid() {
		op, s.given = t.given, given
	}
	if op.stream != nil {
		s.traceID, s.spanID, s.sampled = c.producer.core.rec.Begin(c.ctx, c.parent, op.stream)
	} else {
		opts := make([]trace.SpanStartOption, 0, len(op.start)+2)
		opts = append(append(opts, op.start...), trace.WithTimestamp(time.Unix(0, c.start)))
		if given.IsValid() {
			opts = append(opts, trace.WithLinks(trace.Link{SpanContext: given}))
		}
		_, s.span = c.producer.core.tracer.Start(c.ctx, op.name, opts...)
	}
	if c.producer.core.config.CreateSpans {
		s.created = c.producer.core.now()
	}
}

// Context is the context to write into the record: that of its send span, or of
// its create span.
func (s *Send) Context() trace.SpanContext {
	if s.span != nil {
		return s.span.SpanContext()
	}
	return trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: s.traceID, SpanID: s.spanID, TraceFlags: flagsOf(s.call.parent, s.sampled), TraceState: s.call.parent.TraceState(),
	})
}

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
