package messaging

import (
	"context"
	"math"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/hoptrace/hoptrace/instrumentation/messaging/measure"
	"github.com/hoptrace/hoptrace/instrumentation/messaging/record"
)

// Consumer instruments one client that reads. A record passes three calls of it:
// [Deliver] when it is handed to the application, [Consumer.StartProcess] and
// [Process.End] around what the application does with it. [Consumer.Settle]
// follows a commit.
type Consumer struct {
	core     *Core
	config   ConsumerConfig
	parts    cache[partitionKey, *Partition]
	settles  cache[settleKey, *settleTopic]
	refusals cache[string, *refused]
	batches  cache[string, *operation] // process spans over several partitions, by topic
	advisor  *advisor
	pathways *pathways

	mu         sync.Mutex
	rebalances map[string]*measure.Group // by cause
	closed     atomic.Bool
}

// ConsumerConfig says what is known of the client. All fields may be empty.
type ConsumerConfig struct {
	Group    string
	ClientID string
	// MemberID tells the group member's id of the moment; nil when the client
	// does not know it.
	MemberID func() string
	// Receive names the receiving operation as the client's API does. Empty
	// means "poll".
	Receive string
	// Facts are settings of the client that findings are derived from.
	Facts ConsumerFacts
}

// Slots of receive and process spans' values.
const (
	consumeOffset = iota
	consumeBodySize
	consumeTombstone
	consumeKeyHash
	consumeAsked
	consumeAnswered
	consumeHanded
	consumeRecordTime
	consumeHighWatermark
	consumeEstimated
	consumeLatency
	consumeRetryCount
	consumeCount
)

var consumeLayout = record.NewLayout(
	record.Field{Key: AttrKafkaOffset, Type: record.Int},
	record.Field{Key: AttrBodySize, Type: record.Int},
	record.Field{Key: AttrKafkaTombstone, Type: record.Bool},
	record.Field{Key: AttrKeyHash, Type: record.Unsigned},
	record.Field{Key: AttrConsumeAsked, Type: record.Int},
	record.Field{Key: AttrConsumeAnswered, Type: record.Int},
	record.Field{Key: AttrConsumeHanded, Type: record.Int},
	record.Field{Key: AttrConsumeRecordTime, Type: record.Int},
	record.Field{Key: AttrConsumeHighWatermark, Type: record.Int},
	record.Field{Key: AttrConsumeEstimated, Type: record.Bool},
	record.Field{Key: AttrReceiveLatency, Type: record.Float},
	record.Field{Key: AttrRetryCount, Type: record.Int},
	record.Field{Key: AttrBatchMessageCount, Type: record.Int},
)

// Consumer makes the instrumentation of one client.
func (c *Core) Consumer(cfg ConsumerConfig) *Consumer {
	if cfg.Receive == "" {
		cfg.Receive = "poll"
	}
	co := &Consumer{core: c, config: cfg, rebalances: make(map[string]*measure.Group)}
	co.parts.init(co.newPartition)
	co.settles.init(co.newSettleTopic)
	co.batches.init(co.newBatchOperation)
	co.refusals.init(co.newRefused)
	co.advisor = c.newAdvisor()
	if c.config.Pathways {
		co.pathways = c.newPathways()
	}
	co.reportLagUntilGone()
	return co
}

// Group is the consumer group; empty without one.
func (c *Consumer) Group() string { return c.config.Group }

func (c *Consumer) memberID() string {
	if c.config.MemberID == nil {
		return ""
	}
	return c.config.MemberID()
}

// Partition is what a consumer keeps of one partition: what its spans share, its
// measures, and where reading stands.
type Partition struct {
	Topic string
	ID    int32

	consumer *Consumer
	at       byServer[consuming]
	got      *measure.Group // its lock guards the position too
	done     *measure.Group

	// Guarded by got.
	started     bool  // a record was handed out since the partition was assigned or moved
	known       bool  // highest is
	revoked     bool  // another member has it
	last        int64 // offset handed out last
	lastTime    int64 // its timestamp
	highest     int64 // highest offset handed out
	gaps        gaps  // offsets that may yet come, out of order
	committed   int64 // next offset to read, as committed; 0 when not known
	watermark   int64
	watermarkAt int64 // when it was told
	lagKnown    bool  // watermark is
	caughtUp    int64 // when everything was read last, 0 when never
	switched    uint32

	mu     sync.Mutex
	failed map[string]*measure.Group // of processing, by error.type
}

// Partition returns what is kept of a partition.
func (c *Consumer) Partition(topic string, partition int32) *Partition {
	return c.parts.get(partitionKey{topic, partition})
}

func (c *Consumer) newPartition(k partitionKey) *Partition {
	p := &Partition{Topic: k.topic, ID: k.partition, consumer: c}
	p.at.init(p.newConsuming)
	p.got = c.core.meter.Group(positionMeasures, p.measured(c.config.Receive, attribute.String(AttrOperationType, OperationReceive))...)
	p.done = c.core.meter.Group(processMeasures, p.measured("process")...)
	return p
}

// failedGroup holds the measures of processing that failed with one kind of error.
func (p *Partition) failedGroup(kind string) *measure.Group {
	p.mu.Lock()
	defer p.mu.Unlock()
	if g := p.failed[kind]; g != nil {
		return g
	}
	g := p.consumer.core.meter.Group(processMeasures, p.measured("process", attribute.String(AttrErrorType, kind))...)
	if p.failed == nil {
		p.failed = make(map[string]*measure.Group)
	}
	if len(p.failed) < maxErrorTypes {
		p.failed[kind] = g
	}
	return g
}

// measured is what the measures of an operation on the partition carry.
func (p *Partition) measured(operation string, more ...attribute.KeyValue) []attribute.KeyValue {
	attrs := []attribute.KeyValue{
		attribute.String(AttrSystem, SystemKafka),
		attribute.String(AttrOperationName, operation),
		attribute.String(AttrDestinationName, p.Topic),
		attribute.String(AttrPartitionID, itoa(p.ID)),
	}
	if g := p.consumer.config.Group; g != "" {
		attrs = append(attrs, attribute.String(AttrConsumerGroup, g))
	}
	return append(attrs, more...)
}

func (c *Consumer) newBatchOperation(topic string) *operation {
	var late []attribute.KeyValue
	if c.config.Group != "" {
		late = append(late, attribute.String(AttrConsumerGroup, c.config.Group))
	}
	if c.config.ClientID != "" {
		late = append(late, attribute.String(AttrClientID, c.config.ClientID))
	}
	return c.core.operation(spanName("process", topic), trace.SpanKindConsumer, consumeLayout,
		c.core.attributes("process", OperationProcess, SentryOpProcess, topic, late...))
}

// Delivery is one record handed to the application. The wrapper fills what it
// knows, calls [Deliver], and keeps the value until the record is processed; it
// is plain data that may be copied. It keeps nothing of the record's memory but
// its baggage header.
type Delivery struct {
	Partition     *Partition
	Offset        int64
	HighWatermark int64 // zero or less: not told
	RecordTime    int64 // Unix ns, whole ms, zero when not told
	LogAppend     bool  // RecordTime is the broker's LogAppendTime
	BodySize      int
	KeyHash       uint64
	HasKey        bool
	Tombstone     bool

	Called   int64 // the application asked for a record; zero when records are pushed to it
	Asked    int64 // the fetch request that brought it was written; zero when not seen
	Answered int64 // the first byte of its answer arrived; zero when not seen
	Handed   int64 // it was given to the application
	Waited   bool  // the record was not yet there when the fetch was asked
	// NotBefore is a time, on this host's clock, at which the record was not yet
	// in the log; zero when none is known. It says the same as Waited where the
	// client knows only of an earlier fetch that nothing was there.
	NotBefore int64
	Broker    Server

	creation trace.SpanContext
	ambient  trace.SpanContext
	received trace.SpanContext
	baggage  []byte
	sentry   bool
	lineage  *Lineage
	pathway  pathwayState
	keyText  string
}

// SetKey notes the record's key; nil is none. Partition must be set before.
func (d *Delivery) SetKey(key []byte) {
	if d.HasKey = key != nil; d.HasKey {
		d.KeyHash = keyHash(key)
		d.keyText = d.Partition.consumer.core.KeyText(key)
	}
}

// Creation is the context that the record carries; not valid when it carries none.
func (d *Delivery) Creation() trace.SpanContext { return d.creation }

// Deliver takes note of a record that is handed to the application now: it reads
// the context in headers, writes the receive span and measures. ctx is that of
// the application's call.
func Deliver[H KeyValue](ctx context.Context, d *Delivery, headers []H) {
	c := d.Partition.consumer
	scan(c, d, headers)
	d.ambient = trace.SpanContextFromContext(ctx)
	if d.Handed == 0 {
		d.Handed = c.core.now()
	}
	start := d.receiveStart()
	sampled := false
	if !c.core.config.WithoutReceive {
		d.received, sampled = d.receive(ctx, start)
	}
	d.Partition.delivered(d, start, sampled)
	c.core.clocks.Look(d.Handed)
	if d.LogAppend && d.Broker.Host != "" && d.Asked != 0 && d.Answered != 0 && d.RecordTime != 0 {
		since := d.Asked
		if !d.Waited && d.NotBefore != 0 {
			since = d.NotBefore
		}
		c.core.clocks.Fetch(d.Broker.Host, d.Broker.Port, since, d.Answered, d.RecordTime, d.Waited || d.NotBefore != 0)
	}
	if d.pathway.hash != 0 && c.pathways != nil {
		c.pathways.arrived(d)
	}
	c.advisor.received(c, d)
}

// Ambient is the span context of the application's call that got the record.
func (d *Delivery) Ambient() trace.SpanContext { return d.ambient }

// receive writes the receive span. What is not sampled is not described.
func (d *Delivery) receive(ctx context.Context, start int64) (sc trace.SpanContext, sampled bool) {
	op, config := d.Partition.at.get(d.Broker).receive, &d.Partition.consumer.core.config
	parent := d.ambient
	if config.Parent && d.creation.IsValid() {
		parent = d.creation
	}
	if op.stream != nil {
		if sc, sampled = op.begin(ctx, parent); !sampled {
			return sc, false
		}
	}
	r := record.Span{Start: start, End: d.Handed}
	d.describe(&r)
	var x *record.Extra
	var links []trace.Link
	if d.ambient.IsValid() && !d.ambient.Equal(parent) {
		links = []trace.Link{{SpanContext: d.ambient}}
	}
	if d.creation.IsValid() && (!config.WithoutLinks || !parent.Equal(d.creation)) {
		x = linkTo(&r, d.creation, trace.TraceState{}, nil)
	}
	if d.keyText != "" {
		x = withKey(x, d.keyText)
	}
	if op.stream != nil {
		op.put(sc, &r, parent, x, links)
		return sc, true
	}
	return op.emit(ctx, &r, parent, x, links)
}

// Describe reads the context in headers without taking the record for a new
// delivery, for records that are processed again or came from elsewhere.
func Describe[H KeyValue](d *Delivery, headers []H) { scan(d.Partition.consumer, d, headers) }

func scan[H KeyValue](c *Consumer, d *Delivery, headers []H) {
	if len(headers) == 0 {
		return
	}
	found := Extract(headers)
	d.creation, d.baggage, d.sentry = found.SpanContext, found.Baggage, found.Sentry
	if p := c.core.config.Propagator; p != nil && !d.creation.IsValid() {
		d.creation = trace.SpanContextFromContext(p.Extract(context.Background(), carrier[H]{headers}))
	}
	if found.lineage != nil {
		d.lineage = parseLineage(found.lineage)
	}
	if found.pathway != nil && c.pathways != nil {
		d.pathway = parsePathway(found.pathway)
	}
}

// carrier lets a propagator read headers of any client.
type carrier[H KeyValue] struct{ headers []H }

// Get returns the value of the last header with that key.
func (c carrier[H]) Get(key string) string {
	for i := len(c.headers) - 1; i >= 0; i-- {
		if h := Header(c.headers[i]); h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

// Set does nothing: it is for reading.
func (carrier[H]) Set(string, string) {}

// Keys lists the header keys.
func (c carrier[H]) Keys() []string {
	keys := make([]string, len(c.headers))
	for i := range c.headers {
		keys[i] = Header(c.headers[i]).Key
	}
	return keys
}

// receiveStart is when receiving this record began: when the application asked,
// or when the answer that brought the record arrived, if that was later. The wait
// before it is not the record's: a group that idled for ten minutes must not make
// the next record's trace ten minutes long.
func (d *Delivery) receiveStart() int64 {
	if d.Called == 0 { // pushed: until it is handed over it is the client's, not the application's
		return d.Handed
	}
	if d.Answered > d.Called && d.Answered < d.Handed {
		return d.Answered
	}
	return d.Called
}

func (d *Delivery) describe(r *record.Span) {
	r.Set(consumeOffset, d.Offset)
	r.Set(consumeBodySize, int64(d.BodySize))
	if d.Tombstone {
		r.Set(consumeTombstone, 1)
	}
	if d.HasKey {
		r.Set(consumeKeyHash, int64(d.KeyHash)) //nolint:gosec // the bits are what is kept
	}
}

func (d *Delivery) times(r *record.Span) {
	if d.Asked != 0 {
		r.Set(consumeAsked, d.Asked)
	}
	if d.Answered != 0 {
		r.Set(consumeAnswered, d.Answered)
	}
	if d.Handed != 0 {
		r.Set(consumeHanded, d.Handed)
	}
	if d.RecordTime > 0 {
		r.Set(consumeRecordTime, d.RecordTime)
		if d.Handed != 0 {
			r.Set(consumeLatency, int64(math.Float64bits(float64(d.Handed-d.RecordTime)/1e6))) //nolint:gosec // the bits are what is kept
		}
	}
	if d.HighWatermark > 0 {
		r.Set(consumeHighWatermark, d.HighWatermark)
	}
	if d.lineage != nil {
		r.Set(consumeRetryCount, int64(d.lineage.Attempt))
	}
}

// residence splits record's timestamp → answer as schemas does on the server.
func (d *Delivery) residence() (backlog, longPoll int64, known bool) {
	if d.Asked == 0 || d.Answered == 0 || d.RecordTime <= 0 {
		return 0, 0, false
	}
	// A timestamp is whole milliseconds, cut off.
	asked := max(d.Asked, d.RecordTime)
	asked = min(asked, max(d.Answered, d.RecordTime))
	return asked - d.RecordTime, d.Answered - asked, true
}
