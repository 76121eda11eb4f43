package cases

import (
	"encoding/binary"
	"math/rand/v2"
	"strconv"
	"time"

	common "go.opentelemetry.io/proto/otlp/common/v1"
	resource "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

// program is who sends spans: a service on a host. Two with one host share a clock.
type program struct {
	service, host string
}

// builder gathers the spans of all cases, by program, in the order in which they were made.
type builder struct {
	rnd   *rand.Rand
	now   time.Time
	order []program
	spans map[program][]*tracepb.Span
}

func newBuilder(seed uint64, now time.Time) *builder {
	return &builder{
		rnd: rand.New(rand.NewPCG(seed, 0x686f7074726163)), //nolint:gosec // the same seed must give the same cases
		now: now, spans: map[program][]*tracepb.Span{},
	}
}

// ago is a time in Unix ns.
func (b *builder) ago(d time.Duration) int64 { return b.now.Add(-d).UnixNano() }

func (b *builder) trace() []byte {
	id := make([]byte, 0, 16)
	id = binary.BigEndian.AppendUint64(id, b.rnd.Uint64()|1)
	return binary.BigEndian.AppendUint64(id, b.rnd.Uint64())
}

func (b *builder) id() []byte {
	return binary.BigEndian.AppendUint64(nil, b.rnd.Uint64()|1)
}

// add takes a span of p that ends after d.
func (b *builder) add(p program, trace, parent []byte, name string, kind tracepb.Span_SpanKind, start int64, d time.Duration, attrs ...*common.KeyValue) *tracepb.Span {
	s := &tracepb.Span{
		TraceId: trace, SpanId: b.id(), ParentSpanId: parent, Name: name, Kind: kind,
		StartTimeUnixNano: uint64(start), EndTimeUnixNano: uint64(start + int64(d)), Attributes: attrs, //nolint:gosec // times since 1970
	}
	if _, known := b.spans[p]; !known {
		b.order = append(b.order, p)
	}
	b.spans[p] = append(b.spans[p], s)
	return s
}

// requests are at most most spans each, ready to be sent.
func (b *builder) requests(most int) [][]*tracepb.ResourceSpans {
	var out [][]*tracepb.ResourceSpans
	var now []*tracepb.ResourceSpans
	n := 0
	for _, p := range b.order {
		for rest := b.spans[p]; len(rest) > 0; {
			take := min(most-n, len(rest))
			now = append(now, &tracepb.ResourceSpans{Resource: p.resource(), ScopeSpans: []*tracepb.ScopeSpans{{
				Scope: &common.InstrumentationScope{Name: messaging.ScopeFranz, Version: "awkward"}, Spans: rest[:take],
			}}})
			rest = rest[take:]
			if n += take; n == most {
				out, now, n = append(out, now), nil, 0
			}
		}
	}
	if n > 0 {
		out = append(out, now)
	}
	return out
}

func (p program) resource() *resource.Resource {
	attrs := []*common.KeyValue{text("service.name", p.service), text("telemetry.sdk.language", "go"), text("service.version", "4.2.0")}
	if p.host != "" {
		attrs = append(attrs, text("host.name", p.host), text(messaging.AttrBootID, bootID(p.host)))
	}
	return &resource.Resource{Attributes: attrs}
}

// bootID stands for the hash of a host's boot id.
func bootID(host string) string {
	h := uint64(14695981039346656037)
	for _, c := range []byte(host) {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return strconv.FormatUint(h, 16)
}

func text(key, value string) *common.KeyValue {
	return &common.KeyValue{Key: key, Value: &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: value}}}
}

func number(key string, value int64) *common.KeyValue {
	return &common.KeyValue{Key: key, Value: &common.AnyValue{Value: &common.AnyValue_IntValue{IntValue: value}}}
}

func truth(key string, value bool) *common.KeyValue {
	return &common.KeyValue{Key: key, Value: &common.AnyValue{Value: &common.AnyValue_BoolValue{BoolValue: value}}}
}

// record is one message on a topic.
type record struct {
	topic     string
	partition int32
	offset    int64
	size      int64
	key       uint64
}

func (r record) attributes(operation string) []*common.KeyValue {
	attrs := []*common.KeyValue{
		text(messaging.AttrSystem, messaging.SystemKafka), text(messaging.AttrOperationType, operation), text(messaging.AttrOperationName, operation),
		text(messaging.AttrDestinationName, r.topic), text(messaging.AttrPartitionID, strconv.Itoa(int(r.partition))), number(messaging.AttrKafkaOffset, r.offset),
	}
	if r.size > 0 {
		attrs = append(attrs, number(messaging.AttrBodySize, r.size))
	}
	if r.key != 0 {
		attrs = append(attrs, text(messaging.AttrKeyHash, strconv.FormatUint(r.key, 10)))
	}
	return attrs
}

// sending is how a record came onto its topic. What is zero is left out.
type sending struct {
	at                 int64 // send called
	queue, ack         time.Duration
	attempts           int64
	retry              time.Duration // between the first writing and the last
	throttle           time.Duration
	appendedAfterWrite time.Duration // LogAppendTime; it is cut to whole ms
	failed             string        // error.type
}

// send is the span of it, as the wrappers write it.
func (b *builder) send(p program, trace, parent []byte, r record, s sending) *tracepb.Span {
	first := s.at + int64(s.queue)
	written := first + int64(s.retry)
	acked := written + int64(s.ack)
	attrs := append(r.attributes(messaging.OperationSend),
		number(messaging.AttrProduceWritten, written), number(messaging.AttrProduceAcked, acked))
	if s.retry > 0 {
		attrs = append(attrs, number(messaging.AttrProduceFirstWritten, first))
	}
	if s.attempts > 1 {
		attrs = append(attrs, number(messaging.AttrProduceAttempts, s.attempts))
	}
	if s.throttle > 0 {
		attrs = append(attrs, number(messaging.AttrProduceThrottle, int64(s.throttle)))
	}
	if s.appendedAfterWrite != 0 {
		attrs = append(attrs, number(messaging.AttrProduceAppended, (written+int64(s.appendedAfterWrite))/1e6*1e6))
	}
	span := b.add(p, trace, parent, "send "+r.topic, tracepb.Span_SPAN_KIND_PRODUCER, s.at, time.Duration(acked-s.at), attrs...)
	if s.failed != "" {
		span.Attributes = append(span.Attributes, text(messaging.AttrErrorType, s.failed))
		span.Status = &tracepb.Status{Code: tracepb.Status_STATUS_CODE_ERROR, Message: s.failed}
	}
	return span
}

// reading is how a record was read. Asked and answered are before handed.
type reading struct {
	group                  string
	asked, answered        int64
	handed                 int64
	work                   time.Duration
	recordTime             int64
	highWatermark          int64
	estimated              bool
	failed                 string
	retryOf                record // the record that failed first; its topic is empty when this is not a retry
	retryFirstSeen, retry  int64
	earlier                *tracepb.Span
	parent                 []byte
	trace                  []byte
	name                   string
	withoutTimesOfTheFetch bool
}

// process is the span of it. Created is the span that the record names, nil when
// its producer is not instrumented.
func (b *builder) process(p program, r record, created *tracepb.Span, g reading) *tracepb.Span {
	attrs := append(r.attributes(messaging.OperationProcess), text(messaging.AttrConsumerGroup, g.group))
	if !g.withoutTimesOfTheFetch {
		attrs = append(attrs, number(messaging.AttrConsumeAsked, g.asked), number(messaging.AttrConsumeAnswered, g.answered), number(messaging.AttrConsumeHanded, g.handed))
	}
	if g.recordTime != 0 {
		attrs = append(attrs, number(messaging.AttrConsumeRecordTime, g.recordTime/1e6*1e6))
	}
	if g.highWatermark != 0 {
		attrs = append(attrs, number(messaging.AttrConsumeHighWatermark, g.highWatermark))
	}
	if g.estimated {
		attrs = append(attrs, truth(messaging.AttrConsumeEstimated, true))
	}
	if g.retryOf.topic != "" {
		attrs = append(attrs, text(messaging.AttrRetryTopic, g.retryOf.topic), number(messaging.AttrRetryPartition, int64(g.retryOf.partition)), number(messaging.AttrRetryOffset, g.retryOf.offset),
			number(messaging.AttrRetryFirstSeen, g.retryFirstSeen), number(messaging.AttrRetryAttempt, g.retry))
	}
	if g.failed != "" {
		attrs = append(attrs, text(messaging.AttrErrorType, g.failed))
	}
	trace := g.trace
	if trace == nil {
		trace = b.trace()
	}
	name := g.name
	if name == "" {
		name = "process " + r.topic
	}
	s := b.add(p, trace, g.parent, name, tracepb.Span_SPAN_KIND_CONSUMER, g.handed, g.work, attrs...)
	if created != nil {
		s.Links = append(s.Links, linkTo(created))
	}
	if g.earlier != nil {
		l := linkTo(g.earlier)
		l.Attributes = []*common.KeyValue{truth(messaging.AttrRetryEarlier, true)}
		s.Links = append(s.Links, l)
	}
	if g.failed != "" {
		s.Status = &tracepb.Status{Code: tracepb.Status_STATUS_CODE_ERROR, Message: g.failed}
	}
	return s
}

func linkTo(s *tracepb.Span) *tracepb.Span_Link {
	return &tracepb.Span_Link{TraceId: s.TraceId, SpanId: s.SpanId}
}
