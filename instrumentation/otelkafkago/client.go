package otelkafkago

import (
	"context"
	"io"
	"net"
	"sync"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/metadata"
	"github.com/segmentio/kafka-go/protocol/produce"
	"go.opentelemetry.io/otel/trace"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

// Transport is a kafka.RoundTripper for a kafka.Client whose produce requests are
// recorded: each record gets a send span and carries its context, as those of a
// [Writer] do, unless it carries one already.
//
// Requests of other kinds pass as they are: what a Client fetches is recorded by
// a [Processor]. For a kafka.Writer use [NewWriter] instead.
type Transport struct {
	inner    kafka.RoundTripper
	core     *messaging.Core
	producer *messaging.Producer
	sentry   bool
	layout   layout
}

// WrapTransport instruments rt, which may be nil for kafka.DefaultTransport at the
// time of each request.
func WrapTransport(rt kafka.RoundTripper, opts ...Option) *Transport {
	c := newConfig(opts)
	core := messaging.NewCore(c.core)
	cfg := messaging.ProducerConfig{}
	if t, ok := rt.(*kafka.Transport); ok && t != nil {
		cfg.ClientID = t.ClientID
	}
	return &Transport{inner: rt, core: core, producer: core.Producer(cfg), sentry: c.core.SentryTrace}
}

// Unwrap returns the RoundTripper that was wrapped, nil if there was none.
func (t *Transport) Unwrap() kafka.RoundTripper { return t.inner }

// RoundTrip implements kafka.RoundTripper.
func (t *Transport) RoundTrip(ctx context.Context, addr net.Addr, req kafka.Request) (kafka.Response, error) {
	inner := t.inner
	if inner == nil {
		inner = kafka.DefaultTransport
	}
	q, ok := req.(*produce.Request)
	if !ok || !messaging.Enabled() {
		res, err := inner.RoundTrip(ctx, addr, req)
		if m, ok := res.(*metadata.Response); ok && err == nil {
			t.learn(m)
		}
		return res, err
	}
	sends := t.begin(ctx, q)
	res, err := inner.RoundTrip(ctx, addr, req)
	p, _ := res.(*produce.Response)
	t.end(q, sends, p, err)
	return res, err
}

func (t *Transport) learn(m *metadata.Response) {
	defer t.core.Guard()
	t.layout.learn(m)
}

// begin lets the records of each partition get their spans when they are encoded.
func (t *Transport) begin(ctx context.Context, q *produce.Request) (all []*tracedRecords) {
	defer t.core.Guard()
	call := &messaging.Call{}
	t.producer.Begin(ctx, call)
	for i := range q.Topics {
		topic := &q.Topics[i]
		for j := range topic.Partitions {
			part := &topic.Partitions[j]
			if part.RecordSet.Records == nil {
				continue
			}
			r := &tracedRecords{
				RecordReader: part.RecordSet.Records, transport: t, call: call, topic: t.producer.Topic(topic.Topic),
				partition: part.Partition, in: messaging.NewInjector[kafka.Header](ctx, t.sentry),
			}
			r.in.SetPathway(call.PathwayHeader(r.topic))
			part.RecordSet.Records = r
			all = append(all, r)
		}
	}
	return all
}

// end ends the spans of a request's records.
func (t *Transport) end(q *produce.Request, all []*tracedRecords, res *produce.Response, err error) {
	answered := t.core.Now()
	for _, r := range all {
		t.endPartition(q, r, res, err, answered)
	}
}

func (t *Transport) endPartition(q *produce.Request, r *tracedRecords, res *produce.Response, err error, answered int64) {
	defer t.core.Guard()
	sends, written := r.close()
	o := messaging.Outcome{Err: err, Written: written, Broker: t.layout.leader(topicPartition{r.topic.Topic, r.partition})}
	if written != 0 {
		o.Attempts = 1
	}
	first := int64(-1)
	if part := answerOf(res, r); part != nil && q.Acks != 0 && err == nil {
		o.Acked, o.Throttle = answered, millis(int64(res.ThrottleTimeMs))
		first = part.BaseOffset
		if part.ErrorCode != 0 {
			o.Err, first = kafka.Error(part.ErrorCode), -1
		}
		if part.LogAppendTime > 0 {
			o.Appended = millis(part.LogAppendTime).Nanoseconds()
		}
	}
	if o.Err != nil {
		o.ErrorType = errorType(o.Err)
	}
	var f messaging.Finisher
	t.producer.Finish(&f, r.topic.Topic, r.partition, &o)
	defer f.Done()
	for i, s := range sends {
		s.sent.Offset = -1
		if first >= 0 {
			s.sent.Offset = first + int64(i)
		}
		f.Add(&s.Send, &s.sent)
	}
}

func answerOf(res *produce.Response, r *tracedRecords) *produce.ResponsePartition {
	if res == nil {
		return nil
	}
	for i := range res.Topics {
		if res.Topics[i].Topic != r.topic.Topic {
			continue
		}
		for j := range res.Topics[i].Partitions {
			if p := &res.Topics[i].Partitions[j]; p.Partition == r.partition {
				return p
			}
		}
	}
	return nil
}

// tracedRecords gives each record of a partition a span and its context as
// kafka-go encodes it.
type tracedRecords struct {
	protocol.RecordReader
	transport *Transport
	call      *messaging.Call
	topic     *messaging.SendTopic
	partition int32
	in        messaging.Injector[kafka.Header]

	mu      sync.Mutex // a late encoder may run after RoundTrip gave up
	closed  bool
	written int64
	sends   []*tracedSend
}

type tracedSend struct {
	messaging.Send
	sent messaging.Sent
}

// ReadRecord implements protocol.RecordReader.
func (r *tracedRecords) ReadRecord() (*protocol.Record, error) {
	rec, err := r.RecordReader.ReadRecord()
	if err != nil || rec == nil {
		return rec, err
	}
	return r.trace(rec), nil
}

// trace returns a copy of rec with its context; rec is the caller's.
func (r *tracedRecords) trace(rec *protocol.Record) (out *protocol.Record) {
	out = rec
	defer r.transport.core.Guard()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return out
	}
	if r.written == 0 {
		r.written = r.transport.core.Now()
	}
	s := &tracedSend{sent: messaging.Sent{Tombstone: rec.Value == nil}}
	if rec.Value != nil {
		s.sent.BodySize = rec.Value.Len()
	}
	if key := keyOf(rec.Key); key != nil {
		s.sent.SetKey(key)
		s.sent.KeyText = r.transport.core.KeyText(key)
	}
	found := messaging.Extract(rec.Headers)
	r.call.Start(&s.Send, r.topic, found.SpanContext)
	r.sends = append(r.sends, s)
	sc := s.Context()
	if found.Form != messaging.FormNone || !sc.IsValid() || len(rec.Headers) > messaging.MaxHeadersToInject {
		return out
	}
	carrying := *rec
	r.in.Grow(1, len(rec.Headers))
	carrying.Headers = r.in.Inject(rec.Headers, sc)
	if p := r.transport.core.Propagator(); p != nil {
		carrier := headerCarrier{headers: carrying.Headers}
		p.Inject(trace.ContextWithSpanContext(context.Background(), sc), &carrier)
		carrying.Headers = carrier.headers
	}
	return &carrying
}

// maxKey bounds the keys that are looked at.
const maxKey = 64 << 10

// keyOf returns a copy of a key that can be read without using it up, as those of
// kafka.NewBytes can; nil for others.
func keyOf(b protocol.Bytes) []byte {
	r, ok := b.(interface {
		io.ReaderAt
		Size() int64
		Len() int
	})
	if !ok || r.Len() > maxKey {
		return nil
	}
	key := make([]byte, r.Len())
	if n, _ := r.ReadAt(key, r.Size()-int64(len(key))); n != len(key) {
		return nil
	}
	return key
}

// close returns what was sent so far; what is read later is not recorded.
func (r *tracedRecords) close() (sends []*tracedSend, written int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	return r.sends, r.written
}
