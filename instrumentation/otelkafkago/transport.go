package otelkafkago

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/metadata"
	"github.com/segmentio/kafka-go/protocol/produce"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

type topicPartition struct {
	topic     string
	partition int32
}

// flight is the way of one batch, over all its attempts. Times are Unix
// nanoseconds; zero means not seen.
type flight struct {
	firstWritten int64
	written      int64
	acked        int64
	appended     int64
	throttle     time.Duration
	attempts     int
	late         bool // an attempt was given up: its records may still be encoded
	broker       messaging.Server
	stamp        *stampedRecords // for the next request
}

// transport watches the produce requests of one Writer. A kafka-go Writer has at
// most one batch in flight for each topic and partition, so these name the batch.
type transport struct {
	inner kafka.RoundTripper // nil means kafka.DefaultTransport at the time of the call
	now   func() int64

	layout layout
	waited atomic.Int64 // for metadata of topics not seen before, in nanoseconds

	mu      sync.Mutex
	flights map[topicPartition]*flight // one a partition, used again; attempts is 0 when it is not under way
}

func newTransport(inner kafka.RoundTripper, now func() int64) *transport {
	return &transport{inner: inner, now: now, flights: make(map[topicPartition]*flight)}
}

// Unwrap returns the RoundTripper that the Writer had before it was wrapped, nil
// if it had none.
func (t *transport) Unwrap() kafka.RoundTripper { return t.inner }

// RoundTrip implements kafka.RoundTripper.
func (t *transport) RoundTrip(ctx context.Context, addr net.Addr, req kafka.Request) (kafka.Response, error) {
	inner := t.inner
	if inner == nil {
		inner = kafka.DefaultTransport
	}
	if !messaging.Enabled() {
		return inner.RoundTrip(ctx, addr, req)
	}
	switch q := req.(type) {
	case *metadata.Request:
		return t.lookUp(ctx, inner, addr, q)
	case *produce.Request:
		if len(q.Topics) == 1 && len(q.Topics[0].Partitions) == 1 {
			return t.produce(ctx, inner, addr, q)
		}
	}
	return inner.RoundTrip(ctx, addr, req)
}

// lookUp passes on a request for metadata, which kafka-go makes for every message
// and kafka.Transport answers from memory.
func (t *transport) lookUp(ctx context.Context, inner kafka.RoundTripper, addr net.Addr, q *metadata.Request) (kafka.Response, error) {
	if t.layout.knows(q.TopicNames) {
		res, err := inner.RoundTrip(ctx, addr, q)
		if m, ok := res.(*metadata.Response); ok && err == nil {
			t.layout.learn(m)
		}
		return res, err
	}
	start := t.now()
	res, err := inner.RoundTrip(ctx, addr, q)
	t.waited.Add(t.now() - start)
	if m, ok := res.(*metadata.Response); ok && err == nil {
		t.layout.learn(m)
	}
	return res, err
}

func (t *transport) produce(ctx context.Context, inner kafka.RoundTripper, addr net.Addr, p *produce.Request) (kafka.Response, error) {
	part := &p.Topics[0].Partitions[0]
	key := topicPartition{p.Topics[0].Topic, part.Partition}
	stamp := t.stamp(key)
	if stamp.RecordReader = part.RecordSet.Records; stamp.RecordReader != nil {
		part.RecordSet.Records = stamp
	}
	entered := t.now()
	res, err := inner.RoundTrip(ctx, addr, p)
	answered := t.now()

	written := stamp.at.Load()
	response, hasResponse := res.(*produce.Response)
	hasResponse = hasResponse && response != nil
	if written == 0 && err == nil {
		written = entered // a transport that does not encode here, as in tests
	}

	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.flight(key)
	if err == nil {
		// Encoding is over. After an error it may go on behind our back.
		stamp.RecordReader = nil
		stamp.at.Store(0)
		f.stamp = stamp
	} else {
		f.late = true
	}
	f.attempts++
	f.broker = t.layout.leader(key)
	if written != 0 {
		f.written = written
		if f.firstWritten == 0 {
			f.firstWritten = written
		}
	}
	if !hasResponse || p.Acks == 0 {
		f.acked = 0
		return res, err
	}
	f.acked = answered
	f.throttle += millis(int64(response.ThrottleTimeMs))
	if len(response.Topics) == 1 && len(response.Topics[0].Partitions) == 1 {
		if ms := response.Topics[0].Partitions[0].LogAppendTime; ms > 0 {
			f.appended = ms * int64(time.Millisecond)
		}
	}
	return res, err
}

func millis(ms int64) time.Duration { return time.Duration(ms) * time.Millisecond }

// flight is called with t.mu held.
func (t *transport) flight(key topicPartition) *flight {
	f := t.flights[key]
	if f == nil {
		f = &flight{}
		t.flights[key] = f
	}
	return f
}

// stamp returns what notes the time of the next request to a partition.
func (t *transport) stamp(key topicPartition) (s *stampedRecords) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.flight(key)
	if s, f.stamp = f.stamp, nil; s == nil {
		s = &stampedRecords{now: t.now}
	}
	return s
}

// take returns the flight of a batch, zero when none was seen, and makes room for
// the next one.
func (t *transport) take(topic string, partition int32) (out flight) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if f := t.flights[topicPartition{topic, partition}]; f != nil {
		out, *f = *f, flight{stamp: f.stamp}
	}
	return out
}

// stampedRecords notes when kafka-go starts to encode the records of a request,
// which it does when it has a connection and right before it writes: connecting
// belongs to the batch queue, not to the broker.
type stampedRecords struct {
	protocol.RecordReader
	now func() int64
	at  atomic.Int64 // a late encoder may run after RoundTrip gave up
}

func (s *stampedRecords) ReadRecord() (*protocol.Record, error) {
	if s.RecordReader == nil { // the request was answered long ago
		return nil, io.EOF
	}
	if s.at.Load() == 0 {
		s.at.Store(s.now())
	}
	return s.RecordReader.ReadRecord()
}

// layout is which broker leads which partition, learned from the answers to
// requests for metadata that pass by. Looking up takes no lock.
type layout struct {
	mu   sync.Mutex
	seen atomic.Pointer[seenLayout]
}

// seenLayout never changes once it is stored.
type seenLayout struct {
	// brokers is where the list of brokers begins that the leaders were looked up
	// in. kafka.Transport gives the same list out until it refreshes its own
	// layout.
	brokers *metadata.ResponseBroker
	topics  map[string][]messaging.Server // by partition
	last    string                        // one of topics, for a quick look
}

// maxTopics bounds the topics whose leaders are remembered.
const maxTopics = 4096

func (l *layout) knows(topics []string) bool {
	s := l.seen.Load()
	if s == nil || len(topics) != 1 {
		return false
	}
	if topics[0] == s.last {
		return true
	}
	_, ok := s.topics[topics[0]]
	return ok || len(s.topics) >= maxTopics
}

func (l *layout) learn(m *metadata.Response) {
	if len(m.Brokers) == 0 {
		return
	}
	s := l.seen.Load()
	if s != nil && s.brokers == &m.Brokers[0] {
		if len(m.Topics) == 1 && m.Topics[0].Name == s.last {
			return
		}
		known := true
		for i := range m.Topics {
			_, ok := s.topics[m.Topics[i].Name]
			known = known && ok
		}
		if known || len(s.topics) >= maxTopics {
			return
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s = l.seen.Load()
	next := &seenLayout{brokers: &m.Brokers[0], topics: make(map[string][]messaging.Server, 1)}
	if s != nil && s.brokers == next.brokers {
		for topic, leaders := range s.topics {
			next.topics[topic] = leaders
		}
	}
	for i := range m.Topics {
		topic := &m.Topics[i]
		if topic.ErrorCode != 0 || len(next.topics) >= maxTopics {
			continue
		}
		next.topics[topic.Name], next.last = leaders(m, topic), topic.Name
	}
	l.seen.Store(next)
}

func leaders(m *metadata.Response, topic *metadata.ResponseTopic) []messaging.Server {
	const maxPartition = 1 << 20 // far above what a cluster holds
	brokers := make(map[int32]messaging.Server, len(m.Brokers))
	for i := range m.Brokers {
		b := &m.Brokers[i]
		brokers[b.NodeID] = messaging.Server{Host: b.Host, Port: int(b.Port)}
	}
	var out []messaging.Server
	for i := range topic.Partitions {
		p := &topic.Partitions[i]
		if p.ErrorCode != 0 || p.PartitionIndex < 0 || p.PartitionIndex > maxPartition {
			continue
		}
		for int(p.PartitionIndex) >= len(out) {
			out = append(out, messaging.Server{})
		}
		out[p.PartitionIndex] = brokers[p.LeaderID]
	}
	return out
}

// leader is the broker that leads a partition; the zero Server when it is not
// known.
func (l *layout) leader(key topicPartition) messaging.Server {
	if s := l.seen.Load(); s != nil {
		if all := s.topics[key.topic]; key.partition >= 0 && int(key.partition) < len(all) {
			return all[key.partition]
		}
	}
	return messaging.Server{}
}
