package otelsarama

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
	"github.com/hoptrace/hoptrace/instrumentation/messaging/wire"
)

// Instrumentation instruments the sarama clients that are made with its
// [Instrumentation.Config]. Use one for the clients of one cluster: records of
// topics of the same name in two clusters would be taken for each other.
type Instrumentation struct {
	config config
	core   *messaging.Core
	wire   *wire.Log

	user   *sarama.Config // a copy of what was given
	client *sarama.Config // what clients are made with

	successes, errors bool // the program wants them
	intercepted       bool // the program has interceptors

	producer atomic.Pointer[messaging.Producer]
	located  sync.Once // the producer knows its server
	sends    sendSlab
	window   sync.Map // *sarama.ProducerMessage → *sending, while the program's interceptors see a message

	mu      sync.Mutex                     // guards the following
	groups  map[string]*messaging.Consumer // by group
	members map[string]*messaging.Consumer // by member id

	wired   atomic.Bool // connections are read along
	pending pendingSet

	skipped, baggageSkipped, unknown, unknownFetches atomic.Uint64
}

// Counts tells what was left undone. Values only grow.
type Counts struct {
	// InjectionsSkipped counts messages sent without a context because it would
	// have made them larger than MaxMessageBytes, because they have more than
	// messaging.MaxHeadersToInject headers, or because the configured Version has
	// no headers.
	InjectionsSkipped uint64
	// BaggageSkipped counts messages sent without the baggage of their context
	// because that is over the limits.
	BaggageSkipped uint64
	// UnknownRequests counts messages stored whose request was not seen, so that
	// their spans do not say when it was written.
	UnknownRequests uint64
	// UnknownFetches counts messages handed out whose fetch was not seen.
	UnknownFetches uint64
	// UnknownFrames counts what a connection carried and was not understood.
	UnknownFrames uint64
	// Evicted counts messages whose processing was given up as estimated because
	// too many were open at a time.
	Evicted uint64
	// Panics counts panics of the instrumentation itself, or of a provider below
	// it, that were kept from the program.
	Panics uint64
}

// New makes an Instrumentation for clients with the configuration cfg, of which it
// keeps a copy. Nil means sarama.NewConfig.
func New(cfg *sarama.Config, opts ...Option) *Instrumentation {
	if cfg == nil {
		cfg = sarama.NewConfig()
	}
	user, client := *cfg, *cfg
	in := &Instrumentation{
		config: newConfig(opts), user: &user, client: &client,
		successes: cfg.Producer.Return.Successes, errors: cfg.Producer.Return.Errors,
		intercepted: len(cfg.Producer.Interceptors) > 0,
		groups:      make(map[string]*messaging.Consumer),
		members:     make(map[string]*messaging.Consumer),
	}
	in.core = messaging.NewCore(in.config.core)
	in.wire = wire.NewLog(wire.Options{Fetches: true, Commit: in.committed, Now: in.core.Now})
	in.pending.init(in.config.explicit)
	in.locate(messaging.Server{})
	in.instrument(&client)
	return in
}

func (in *Instrumentation) locate(s messaging.Server) {
	in.producer.Store(in.core.Producer(messaging.ProducerConfig{ClientID: in.user.ClientID, Server: s, Facts: producerFacts(in.user)}))
}

// address notes the broker's address when the first producer is given just one;
// of several bootstrap addresses none is the server.
func (in *Instrumentation) address(addrs []string) {
	in.located.Do(func() {
		if len(addrs) == 1 {
			in.locate(server(addrs[0]))
		}
	})
}

// Config is the configuration to make clients with. It must not be changed.
func (in *Instrumentation) Config() *sarama.Config { return in.client }

func (in *Instrumentation) instrument(c *sarama.Config) {
	c.Net.Proxy.Enable, c.Net.Proxy.Dialer = true, &dialer{in}
	c.Net.TLS.Enable, c.Net.TLS.Config = false, nil // the dialer does it
	// The end of a message is seen on these channels, whether or not the program
	// wants them.
	c.Producer.Return.Successes, c.Producer.Return.Errors = true, true
	interceptors := make([]sarama.ProducerInterceptor, 0, len(in.user.Producer.Interceptors)+2)
	if in.intercepted {
		interceptors = append(append(interceptors, reveal{in}), in.user.Producer.Interceptors...)
	}
	interceptors = append(interceptors, conceal{in})
	c.Producer.Interceptors = interceptors
	if user := in.user.Producer.Partitioner; user != nil {
		c.Producer.Partitioner = func(topic string) sarama.Partitioner { return wrapPartitioner(user(topic)) }
	}
}

// Counts returns what was left undone since the Instrumentation was made.
func (in *Instrumentation) Counts() Counts {
	return Counts{
		InjectionsSkipped: in.skipped.Load(),
		BaggageSkipped:    in.baggageSkipped.Load(),
		UnknownRequests:   in.unknown.Load(),
		UnknownFetches:    in.unknownFetches.Load(),
		UnknownFrames:     in.wire.Unknown(),
		Evicted:           in.pending.evicted.Load(),
		Panics:            in.core.Panics(),
	}
}

// dialer is the dialer of instrumented clients.
type dialer struct{ in *Instrumentation }

// Dial implements proxy.Dialer.
func (d *dialer) Dial(network, address string) (net.Conn, error) {
	n := &d.in.user.Net
	var conn net.Conn
	var err error
	if n.Proxy.Enable {
		conn, err = n.Proxy.Dialer.Dial(network, address)
	} else {
		plain := net.Dialer{Timeout: n.DialTimeout, KeepAlive: n.KeepAlive, LocalAddr: n.LocalAddr}
		conn, err = plain.Dial(network, address)
	}
	if err != nil {
		return nil, err
	}
	if n.TLS.Enable {
		if conn, err = handshake(conn, n.TLS.Config, address, n.DialTimeout); err != nil {
			return nil, err
		}
	}
	d.in.wired.Store(true)
	return d.in.wire.Conn(conn, address), nil
}

// handshake does what sarama does with TLS, but before it has the connection.
func handshake(conn net.Conn, config *tls.Config, address string, timeout time.Duration) (net.Conn, error) {
	if config == nil {
		config = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if config.ServerName == "" {
		config = config.Clone()
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			_ = conn.Close()
			return nil, fmt.Errorf("cannot tell the TLS server name of broker %q: %w", address, err)
		}
		config.ServerName = host
	}
	ctx := context.Background()
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	c := tls.Client(conn, config)
	if err := c.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("TLS handshake with broker %s: %w", address, err)
	}
	return c, nil
}

// server splits an address.
func server(address string) messaging.Server {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return messaging.Server{}
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return messaging.Server{}
	}
	return messaging.Server{Host: host, Port: n}
}

func producerFacts(c *sarama.Config) messaging.ProducerFacts {
	f := messaging.ProducerFacts{
		BatchTimeout: c.Producer.Flush.Frequency, BatchSize: c.Producer.Flush.Messages,
		BatchTimeoutName: "Producer.Flush.Frequency", AcksName: "Producer.RequiredAcks",
	}
	switch c.Producer.RequiredAcks {
	case sarama.NoResponse:
		f.Acks = "none"
	case sarama.WaitForLocal:
		f.Acks = "one"
	case sarama.WaitForAll:
		f.Acks = "all"
	}
	return f
}

func consumerFacts(c *sarama.Config) messaging.ConsumerFacts {
	return messaging.ConsumerFacts{
		QueueCapacity: c.ChannelBufferSize, MinBytes: int(c.Consumer.Fetch.Min), MaxWait: c.Consumer.MaxWaitTime,
		QueueCapacityName: "ChannelBufferSize", MinBytesName: "Consumer.Fetch.Min", MaxWaitName: "Consumer.MaxWaitTime",
	}
}
