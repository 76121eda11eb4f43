package otelfranz

import (
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
	"github.com/hoptrace/hoptrace/instrumentation/messaging/wire"
)

// request is one produce request that was answered. Times are Unix nanoseconds.
type request struct{ generated, written, acked int64 }

// maxRequests bounds the produce requests remembered.
const maxRequests = 128

// requests remembers produce requests, for clients whose connections are not
// watched. The hooks do not tell which request carried a record.
type requests struct {
	mu   sync.Mutex
	ring [maxRequests]request
	n    int
}

func (q *requests) add(r request) {
	q.mu.Lock()
	q.ring[q.n%maxRequests] = r
	q.n++
	q.mu.Unlock()
}

// only returns the one request that can have carried a record which got its
// partition at that time and whose answer has come. A request made before cannot
// have carried it; if there were several after, to whichever broker, none is
// returned.
func (q *requests) only(partitioned int64) (request, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var found request
	for i := q.n - 1; i >= 0; i-- {
		if i <= q.n-1-maxRequests {
			return request{}, false // older ones are forgotten
		}
		r := q.ring[i%maxRequests]
		if r.acked < partitioned {
			break
		}
		if r.generated < partitioned {
			continue
		}
		if found.acked != 0 {
			return request{}, false
		}
		found = r
	}
	return found, found.acked != 0
}

// fetchTimes are those of one fetch.
type fetchTimes struct {
	asked, answered int64
	broker          messaging.Server
}

type topicPartition struct {
	topic     string
	partition int32
}

const (
	maxNodes      = 4096
	maxPartitions = 1 << 16
)

// fetches knows the last fetch of each broker, and with it of each partition. A
// kgo.Client has one fetch under way to a broker, and takes the answer apart
// before the next.
type fetches struct {
	mu    sync.Mutex
	conns map[int32][]*wire.Conn
	nodes map[int32]fetchTimes
	parts map[topicPartition]fetchTimes
	cache struct { // of the partition looked up last
		key   topicPartition
		times fetchTimes
		part  *messaging.Partition
	}
}

func (f *fetches) init() {
	f.conns = make(map[int32][]*wire.Conn)
	f.nodes = make(map[int32]fetchTimes)
	f.parts = make(map[topicPartition]fetchTimes)
}

func (f *fetches) connect(node int32, c *wire.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.conns) < maxNodes {
		f.conns[node] = append(f.conns[node], c)
	}
}

func (f *fetches) disconnect(node int32, c *wire.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := slices.DeleteFunc(f.conns[node], func(o *wire.Conn) bool { return o == c })
	if len(all) == 0 {
		delete(f.conns, node)
		return
	}
	f.conns[node] = all
}

// answered notes an answer that was read whole. A watched connection knows its
// times better.
func (f *fetches) answered(meta kgo.BrokerMetadata, asked, read int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := fetchTimes{asked, read, messaging.Server{Host: meta.Host, Port: int(meta.Port)}}
	var last wire.Fetch
	for _, c := range f.conns[meta.NodeID] {
		if l, ok := c.LastFetch(); ok && l.Answered > last.Answered {
			last = l
		}
	}
	if last.Answered != 0 {
		t.asked, t.answered = last.Asked, last.Answered
	}
	if _, ok := f.nodes[meta.NodeID]; ok || len(f.nodes) < maxNodes {
		f.nodes[meta.NodeID] = t
	}
}

// read notes that the last answer of a broker has records of a partition.
func (f *fetches) read(node int32, k topicPartition) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cache.key == k {
		f.cache.key = topicPartition{}
	}
	if _, ok := f.parts[k]; ok || len(f.parts) < maxPartitions {
		f.parts[k] = f.nodes[node]
	}
}

// of returns the times of the fetch whose records are being taken apart.
func (f *fetches) of(c *messaging.Consumer, k topicPartition) (fetchTimes, *messaging.Partition) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cache.key != k || f.cache.part == nil {
		f.cache.key, f.cache.times, f.cache.part = k, f.parts[k], c.Partition(k.topic, k.partition)
	}
	return f.cache.times, f.cache.part
}

// partitions lists the partitions that records came from.
func (f *fetches) partitions() []topicPartition {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make([]topicPartition, 0, len(f.parts))
	for k := range f.parts {
		out = append(out, k)
	}
	return out
}
