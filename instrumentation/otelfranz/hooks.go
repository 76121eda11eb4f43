package otelfranz

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strconv"
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
