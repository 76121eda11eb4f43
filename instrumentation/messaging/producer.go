package messaging

import (
	"context"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
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
