package messaging

import (
	"context"
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/hoptrace/hoptrace/instrumentation/messaging/measure"
	"github.com/hoptrace/hoptrace/instrumentation/messaging/record"
)

// Settlement is one commit. A wrapper fills it and calls [Consumer.Settle].
type Settlement struct {
	Start, End int64
	Err        error
	ErrorType  string
	// Offsets are the next offsets to read that were committed, one a partition.
	Offsets []Settled
	// Records are the deliveries that the commit settles, if they are known; the
	// span links to their processing, or to their creation.
	Records []trace.SpanContext
	// Count is the number of records settled; zero when not known.
	Count int
	// Parent is the span that the commit belongs to when ctx has none: the
	// processing of the one record it settles.
	Parent trace.SpanContext
	// Broker is the group's coordinator, if it is known.
	Broker Server
	// Background tells that the client commits by itself.
	Background bool
}

// Settled is one partition of a commit.
type Settled struct {
	Topic     string
	Partition int32
	Next      int64 // next offset to read
}

// Slots of a settle span's values.
const (
	settleOffset = iota
	settlePartition
	settleCount
)

var settleLayout = record.NewLayout(
	record.Field{Key: AttrKafkaOffset, Type: record.Int},
	record.Field{Key: AttrPartitionID, Type: record.Decimal},
	record.Field{Key: AttrBatchMessageCount, Type: record.Int},
)

type settleKey struct {
	topic  string
	server Server
}

type settleTopic struct {
	op     *operation
	groups cache[string, *measure.Group] // by error.type, "" for none
}

func (c *Consumer) newSettleTopic(k settleKey) *settleTopic {
	core, topic := c.core, k.topic
	var late, measured []attribute.KeyValue
	if c.config.Group != "" {
		measured = append(measured, attribute.String(AttrConsumerGroup, c.config.Group))
		late = append(late, measured...)
	}
	if c.config.ClientID != "" {
		late = append(late, attribute.String(AttrClientID, c.config.ClientID))
	}
	late = k.server.attributes(late)
	attrs := []attribute.KeyValue{
		attribute.String(AttrSystem, SystemKafka),
		attribute.String(AttrOperationName, "commit"),
		attribute.String(AttrOperationType, OperationSettle),
	}
	if topic != "" {
		attrs = append(attrs, attribute.String(AttrDestinationName, topic))
	}
	t := &settleTopic{
		op: core.operation(spanName("commit", topic), trace.SpanKindClient, settleLayout,
			core.attributes("commit", OperationSettle, SentryOpSettle, topic, late...)),
	}
	t.groups.init(func(kind string) *measure.Group {
		all := k.server.attributes(slices.Concat(attrs, measured))
		if kind != "" {
			all = append(all, attribute.String(AttrErrorType, kind))
		}
		return core.meter.Group(settleMeasures, all...)
	})
	return t
}

// Settle writes the settle span of a commit and notes what is committed.
func (c *Consumer) Settle(ctx context.Context, s *Settlement) {
	topic, partition, offset := "", int32(-1), int64(-1)
	for i, o := range s.Offsets {
		if i == 0 {
			topic, partition, offset = o.Topic, o.Partition, o.Next-1
			continue
		}
		if topic != o.Topic {
			topic = ""
		}
		partition, offset = -1, -1
	}
	t := c.settles.get(settleKey{topic, s.Broker})
	r := record.Span{Start: s.Start, End: s.End}
	if partition >= 0 {
		r.Set(settlePartition, int64(partition))
		if offset >= 0 {
			r.Set(settleOffset, offset)
		}
	}
	if s.Count > 1 {
		r.Set(settleCount, int64(s.Count))
	}
	var x *record.Extra
	if s.Err != nil {
		x = &record.Extra{
			Attributes: []attribute.KeyValue{attribute.String(AttrErrorType, s.ErrorType)},
			Status:     codes.Error, Description: c.core.text(s.Err),
		}
	}
	parent := trace.SpanContextFromContext(ctx)
	if !parent.IsValid() {
		parent = s.Parent
	}
	var links []trace.Link
	for _, sc := range s.Records {
		if !sc.IsValid() || sc.Equal(parent) {
			continue
		}
		if len(links) >= maxLinks {
			if x == nil {
				x = &record.Extra{}
			}
			x.DroppedLinks++
			continue
		}
		links = append(links, trace.Link{SpanContext: sc})
	}
	sc, sampled := t.op.emit(ctx, &r, parent, x, links)
	var ex *measure.Exemplar
	if sampled {
		ex = &measure.Exemplar{TraceID: sc.TraceID(), SpanID: sc.SpanID()}
	}
	kind := ""
	if s.Err != nil {
		kind = s.ErrorType
	}
	g := t.groups.get(kind)
	g.Lock()
	g.Duration(settleDuration, s.End-s.Start, 1, ex)
	g.Duration(settleSettle, s.End-s.Start, 1, ex)
	g.Unlock()
	if s.Err == nil {
		for _, o := range s.Offsets {
			p := c.Partition(o.Topic, o.Partition)
			p.got.Lock()
			p.committed = max(p.committed, o.Next)
			p.got.Unlock()
		}
	}
	c.advisor.settled(c, s)
}

// Rebalance notes a rebalance that this member took part in. cause is a word of
// few values; took is zero when it is not known.
func (c *Consumer) Rebalance(cause string, took time.Duration) {
	c.mu.Lock()
	g := c.rebalances[cause]
	if g == nil {
		attrs := []attribute.KeyValue{attribute.String(AttrSystem, SystemKafka), attribute.String("hoptrace.rebalance.cause", cause)}
		if c.config.Group != "" {
			attrs = append(attrs, attribute.String(AttrConsumerGroup, c.config.Group))
		}
		g = c.core.meter.Group(rebalanceMeasures, attrs...)
		if len(c.rebalances) < maxErrorTypes {
			c.rebalances[cause] = g
		}
	}
	c.mu.Unlock()
	g.Lock()
	g.Add(rebalanceCount, 1)
	if took > 0 {
		g.Duration(rebalanceDuration, took.Nanoseconds(), 1, nil)
	}
	g.Unlock()
	c.advisor.rebalanced(c, cause)
}
