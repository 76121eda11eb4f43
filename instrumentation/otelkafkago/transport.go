package otelkafkago

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/produce"
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
}

// transport watches the produce requests of one Writer. A kafka-go Writer has at
// most one batch in flight for each topic and partition, so these name the batch.
type transport struct {
	inner kafka.RoundTripper // nil means kafka.DefaultTransport at the time of the call

	mu      sync.Mutex
	flights map[topicPartition]*flight // begun, not yet taken by Completion
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
	p, ok := req.(*produce.Request)
	if !ok || len(p.Topics) != 1 || len(p.Topics[0].Partitions) != 1 {
		return inner.RoundTrip(ctx, addr, req)
	}
	part := &p.Topics[0].Partitions[0]
	stamp := &stampedRecords{RecordReader: part.RecordSet.Records}
	if stamp.RecordReader != nil {
		part.RecordSet.Records = stamp
	}
	entered := time.Now().UnixNano()
	res, err := inner.RoundTrip(ctx, addr, req)
	answered := time.Now().UnixNano()

	written := stamp.at.Load()
	response, hasResponse := res.(*produce.Response)
	hasResponse = hasResponse && response != nil
	if written == 0 && err == nil {
		written = entered // a transport that does not encode here, as in tests
	}

	t.mu.Lock()
	defer t.mu.Unlock()
	key := topicPartition{p.Topics[0].Topic, part.Partition}
	f := t.flights[key]
	if f == nil {
		f = &flight{}
		t.flights[key] = f
	}
	f.attempts++
	if written != 0 {
		f.written = written
		if f.firstWritten == 0 {
			f.firstWritten = written
		}
	}
	if hasResponse && p.Acks != 0 {
		f.acked = answered
		f.throttle += time.Duration(response.ThrottleTimeMs) * time.Millisecond
		if len(response.Topics) == 1 && len(response.Topics[0].Partitions) == 1 {
			if ms := response.Topics[0].Partitions[0].LogAppendTime; ms > 0 {
				f.appended = ms * int64(time.Millisecond)
			}
		}
	} else {
		f.acked = 0
	}
	return res, err
}

// take removes and returns the flight of a batch; nil when none was seen.
func (t *transport) take(topic string, partition int32) *flight {
	key := topicPartition{topic, partition}
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.flights[key]
	delete(t.flights, key)
	return f
}

// stampedRecords notes when kafka-go starts to encode the records of a request,
// which it does when it has a connection and right before it writes: connecting
// belongs to the batch queue, not to the broker.
type stampedRecords struct {
	protocol.RecordReader
	at atomic.Int64 // a late encoder may run after RoundTrip gave up
}

func (s *stampedRecords) ReadRecord() (*protocol.Record, error) {
	if s.at.Load() == 0 {
		s.at.Store(time.Now().UnixNano())
	}
	return s.RecordReader.ReadRecord()
}
