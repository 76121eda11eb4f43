package otelfranz

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
	"github.com/hoptrace/hoptrace/instrumentation/messaging/wire"
)

// Hooks instruments one kgo.Client. Make it with [New] and give the client its
// [Hooks.Opts].
type Hooks struct {
	config config
	core   *messaging.Core
	wire   *wire.Log

	client atomic.Pointer[client]
	shared atomic.Bool // a second client came: times could be those of the other
	bare   atomic.Bool // a connection came that is not watched

	sends      sendSlabs
	batch      storedBatch
	deliveries deliverySlab
	requests   requests
	fetches    fetches
	group      group
	pending    pendingList
	polling    poll

	skipped, baggageSkipped, unknown, unknownFetches atomic.Uint64
}

var (
	_ kgo.HookNewClient                = (*Hooks)(nil)
	_ kgo.HookClientClosed             = (*Hooks)(nil)
	_ kgo.HookBrokerConnect            = (*Hooks)(nil)
	_ kgo.HookBrokerDisconnect         = (*Hooks)(nil)
	_ kgo.HookBrokerE2E                = (*Hooks)(nil)
	_ kgo.HookGroupManageError         = (*Hooks)(nil)
	_ kgo.HookProduceRecordBuffered    = (*Hooks)(nil)
	_ kgo.HookProduceRecordPartitioned = (*Hooks)(nil)
	_ kgo.HookProduceRecordUnbuffered  = (*Hooks)(nil)
	_ kgo.HookFetchBatchRead           = (*Hooks)(nil)
	_ kgo.HookFetchRecordBuffered      = (*Hooks)(nil)
	_ kgo.HookFetchRecordUnbuffered    = (*Hooks)(nil)
	_ kgo.HookPollStart                = (*Hooks)(nil)
)

// client is what is known of the client since it was made.
type client struct {
	kgo       *kgo.Client
	producer  *messaging.Producer
	consumer  *messaging.Consumer
	acks0     bool
	batchSize int // most bytes of a batch
}

// Counts tells what was left undone. Values only grow.
type Counts struct {
	// InjectionsSkipped counts records sent without a context because it would
	// have made them larger than a batch may be or because they have more than
	// messaging.MaxHeadersToInject headers.
	InjectionsSkipped uint64
	// BaggageSkipped counts records sent without the baggage of their context
	// because that is over the limits.
	BaggageSkipped uint64
	// UnknownRequests counts records stored of which it is not certain which
	// request carried them, so that their spans do not say when it was written.
	UnknownRequests uint64
	// UnknownFetches counts records handed out whose fetch was not seen.
	UnknownFetches uint64
	// UnknownFrames counts what a connection carried and was not understood.
	UnknownFrames uint64
	// Evicted counts records whose processing was given up as estimated because
	// too many were open at a time.
	Evicted uint64
	// Panics counts panics of the instrumentation itself, or of a provider below
	// it, that were kept from the program.
	Panics uint64
}

// New makes the hooks of one client.
func New(opts ...Option) *Hooks {
	h := &Hooks{config: newConfig(opts)}
	h.core = messaging.NewCore(h.config.core)
	h.wire = wire.NewLog(wire.Options{Commit: h.committed, Now: h.core.Now})
	h.fetches.init()
	h.pending.explicit = h.config.explicit
	return h
}

// Opts are the options that make a kgo.Client instrumented: the hooks, and a
// dialer whose connections are read along. They do not go together with
// kgo.Dialer, kgo.DialTLS and kgo.DialTLSConfig: use [WithDialer] or [WithTLS]
// instead, or kgo.WithHooks(h) alone.
func (h *Hooks) Opts() []kgo.Opt {
	return []kgo.Opt{kgo.WithHooks(h), kgo.Dialer(h.dial)}
}

const dialTimeout = 10 * time.Second // kgo's default

func (h *Hooks) dial(ctx context.Context, network, host string) (net.Conn, error) {
	conn, err := h.dialUser(ctx, network, host)
	if err != nil {
		return nil, err
	}
	return h.wire.Conn(conn, host), nil
}

func (h *Hooks) dialUser(ctx context.Context, network, host string) (net.Conn, error) {
	if h.config.dial != nil {
		return h.config.dial(ctx, network, host)
	}
	d := net.Dialer{Timeout: dialTimeout}
	if h.config.tls == nil {
		return d.DialContext(ctx, network, host)
	}
	c := h.config.tls.Clone()
	if c.ServerName == "" {
		server, _, err := net.SplitHostPort(host)
		if err != nil {
			return nil, fmt.Errorf("cannot tell the TLS server name of broker %q: %w", host, err)
		}
		c.ServerName = server
	}
	return (&tls.Dialer{NetDialer: &d, Config: c}).DialContext(ctx, network, host)
}

// Counts returns what was left undone since the Hooks were made.
func (h *Hooks) Counts() Counts {
	return Counts{
		InjectionsSkipped: h.skipped.Load(),
		BaggageSkipped:    h.baggageSkipped.Load(),
		UnknownRequests:   h.unknown.Load(),
		UnknownFetches:    h.unknownFetches.Load(),
		UnknownFrames:     h.wire.Unknown(),
		Evicted:           h.pending.evicted.Load(),
		Panics:            h.core.Panics(),
	}
}

// OnNewClient implements kgo.HookNewClient.
func (h *Hooks) OnNewClient(cl *kgo.Client) {
	defer h.core.Guard()
	if h.client.Load() != nil {
		h.shared.Store(true)
		return
	}
	id, _ := cl.OptValue(kgo.ClientID).(string)
	groupID, _ := cl.OptValue(kgo.ConsumerGroup).(string)
	c := &client{kgo: cl}
	if acks, ok := cl.OptValue(kgo.RequiredAcks).(kgo.Acks); ok {
		c.acks0 = acks == kgo.NoAck()
	}
	if n, ok := cl.OptValue(kgo.ProducerBatchMaxBytes).(int32); ok {
		c.batchSize = int(n)
	}
	c.producer = h.core.Producer(messaging.ProducerConfig{ClientID: id, Server: onlyServer(cl), Facts: producerFacts(cl)})
	c.consumer = h.core.Consumer(messaging.ConsumerConfig{
		Group: groupID, ClientID: id, Facts: consumerFacts(cl),
		MemberID: func() string {
			member, _ := cl.GroupMetadata()
			return member
		},
	})
	h.client.Store(c)
}

// OnClientClosed implements kgo.HookClientClosed: it ends the process spans that
// are still open and not the program's to end.
func (h *Hooks) OnClientClosed(*kgo.Client) {
	defer h.core.Guard()
	h.polling.set(nil, 0) //nolint:staticcheck // it forgets the context
	h.endBatch()
	now := h.core.Now()
	for _, d := range h.pending.drain() {
		h.estimate(d, d.endOr(now))
	}
	if c := h.client.Load(); c != nil && !h.shared.Load() {
		c.consumer.Close()
	}
}

// endBatch ends the spans of a batch of which not all records came back.
func (h *Hooks) endBatch() {
	defer h.core.Guard()
	q := &h.batch
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.states) > 0 {
		q.flush(h.client.Load())
	}
}

// onlyServer is the broker's address when the client was given just one.
func onlyServer(cl *kgo.Client) messaging.Server {
	seeds, _ := cl.OptValue(kgo.SeedBrokers).([]string)
	if len(seeds) != 1 {
		return messaging.Server{}
	}
	return server(seeds[0])
}

// server splits an address; without a port it is Kafka's.
func server(address string) messaging.Server {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return messaging.Server{Host: address, Port: 9092}
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return messaging.Server{}
	}
	return messaging.Server{Host: host, Port: n}
}

func producerFacts(cl *kgo.Client) messaging.ProducerFacts {
	f := messaging.ProducerFacts{BatchTimeoutName: "kgo.ProducerLinger", AcksName: "kgo.RequiredAcks"}
	f.BatchTimeout, _ = cl.OptValue(kgo.ProducerLinger).(time.Duration)
	if acks, ok := cl.OptValue(kgo.RequiredAcks).(kgo.Acks); ok {
		switch acks {
		case kgo.NoAck():
			f.Acks = "none"
		case kgo.LeaderAck():
			f.Acks = "one"
		default:
			f.Acks = "all"
		}
	}
	return f
}

func consumerFacts(cl *kgo.Client) messaging.ConsumerFacts {
	f := messaging.ConsumerFacts{
		QueueCapacityName: "the records of a poll (kgo.PollRecords)",
		MinBytesName:      "kgo.FetchMinBytes", MaxWaitName: "kgo.FetchMaxWait",
	}
	if n, ok := cl.OptValue(kgo.FetchMinBytes).(int32); ok {
		f.MinBytes = int(n)
	}
	f.MaxWait, _ = cl.OptValue(kgo.FetchMaxWait).(time.Duration)
	return f
}

// OnBrokerConnect implements kgo.HookBrokerConnect.
func (h *Hooks) OnBrokerConnect(meta kgo.BrokerMetadata, _ time.Duration, conn net.Conn, err error) {
	defer h.core.Guard()
	if err != nil || conn == nil {
		return
	}
	if c, ok := conn.(*wire.Conn); ok {
		h.fetches.connect(meta.NodeID, c)
		return
	}
	h.bare.Store(true)
}

// OnBrokerDisconnect implements kgo.HookBrokerDisconnect.
func (h *Hooks) OnBrokerDisconnect(meta kgo.BrokerMetadata, conn net.Conn) {
	defer h.core.Guard()
	if c, ok := conn.(*wire.Conn); ok {
		h.fetches.disconnect(meta.NodeID, c)
	}
}

// API keys of requests that are looked at.
const (
	keyProduce      = 0
	keyFetch        = 1
	keyOffsetCommit = 8
	keyJoinGroup    = 11
	keySyncGroup    = 14
)

// OnBrokerE2E implements kgo.HookBrokerE2E. It is called when an answer has been
// read, before the client looks at it.
func (h *Hooks) OnBrokerE2E(meta kgo.BrokerMetadata, key int16, e kgo.BrokerE2E) {
	switch key {
	case keyProduce, keyFetch, keyOffsetCommit, keyJoinGroup, keySyncGroup:
	default:
		return
	}
	defer h.core.Guard()
	if e.Err() != nil || e.BytesRead == 0 {
		return
	}
	read := h.core.Now()
	written := read - e.DurationE2E().Nanoseconds()
	switch key {
	case keyProduce:
		h.requests.add(request{generated: written - e.WriteWait.Nanoseconds(), written: written, acked: read})
	case keyFetch:
		h.fetches.answered(meta, written, read)
	case keyOffsetCommit:
		if h.bare.Load() {
			h.settle(&messaging.Settlement{Start: written, End: read, Background: true})
		}
	case keyJoinGroup:
		h.group.joining(written)
	case keySyncGroup:
		h.synced(read)
	}
}

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
