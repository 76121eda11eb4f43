package embeddedkafka

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// maxHookedBytes bounds the requests that are held back whole to be
	// looked at: a name is at most 249 bytes, so this is thousands of topics.
	maxHookedBytes = 4 << 20

	// hookTimeout bounds what is done before such a request is passed on.
	hookTimeout = 10 * time.Second
)

// listener binds the port and hands kfake connections that are bounded and
// checked: kfake itself allocates whatever size a request claims and dies of a
// request key it does not know, which a port scanner sends.
type listener struct {
	net.Listener
	cfg   Config
	stats *stats
	log   *slog.Logger
	hooks atomic.Pointer[Broker] // nil while there is nobody to ask

	logged   atomic.Int64  // when mayLog last said yes, ns
	accepted chan accepted // from the port and from dialSelf
	closed   chan struct{}
	once     sync.Once
	pumped   chan struct{} // closed when the port's goroutine has ended

	mu      sync.Mutex // guards the following
	conns   map[*conn]struct{}
	foreign int // those of clients
}

// accepted is a connection, or the error that ends the listener.
type accepted struct {
	net.Conn
	own bool // the broker's own client: not counted, so always served
	err error
}

func listen(ctx context.Context, cfg Config, stats *stats, log *slog.Logger) (*listener, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", cfg.Listen)
	if err != nil {
		return nil, listenError(cfg.Listen, err)
	}
	l := &listener{
		Listener: ln, cfg: cfg, stats: stats, log: log,
		accepted: make(chan accepted), closed: make(chan struct{}), pumped: make(chan struct{}),
		conns: make(map[*conn]struct{}),
	}
	go l.pump()
	return l, nil
}

// pump accepts from the port until it is closed.
func (l *listener) pump() {
	defer close(l.pumped)
	for {
		nc, err := l.Listener.Accept()
		if err != nil && !errors.Is(err, net.ErrClosed) {
			// Out of file descriptors, say. kfake would stop listening for
			// good on the first error.
			if l.mayLog() {
				l.log.Warn("cannot accept a connection; trying again", "error", err)
			}
			select {
			case <-l.closed:
				return
			case <-time.After(50 * time.Millisecond):
			}
			continue
		}
		select {
		case l.accepted <- accepted{Conn: nc, err: err}:
		case <-l.closed:
			if err == nil {
				_ = nc.Close()
			}
		}
		if err != nil {
			return
		}
	}
}

// dial connects the broker's own client, by no port.
func (l *listener) dial(ctx context.Context) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case l.accepted <- accepted{Conn: theirs, own: true}:
		return ours, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Close stops accepting. It is safe twice.
func (l *listener) Close() error {
	err := net.ErrClosed
	l.once.Do(func() {
		close(l.closed)
		err = l.Listener.Close()
		<-l.pumped
	})
	return err
}

// advertised is the address that metadata responses carry.
type advertised string

func (advertised) Network() string  { return "tcp" }
func (a advertised) String() string { return string(a) }

// Addr is what clients are told to connect to.
func (l *listener) Addr() net.Addr {
	if l.cfg.Advertise != "" {
		return advertised(l.cfg.Advertise)
	}
	return l.Listener.Addr()
}

// local is the bound address.
func (l *listener) local() string { return l.Listener.Addr().String() }

func (l *listener) setHooks(b *Broker) { l.hooks.Store(b) }

// Accept waits for the next connection within the bound.
func (l *listener) Accept() (net.Conn, error) {
	for {
		var a accepted
		select {
		case a = <-l.accepted:
		case <-l.closed:
			return nil, net.ErrClosed
		}
		if a.err != nil {
			return nil, a.err
		}
		c := &conn{Conn: a.Conn, r: bufio.NewReaderSize(a.Conn, 4<<10), l: l, own: a.own}
		l.mu.Lock()
		full := !c.own && l.foreign >= l.cfg.MaxConnections
		if !full {
			l.conns[c] = struct{}{}
			if !c.own {
				l.foreign++
			}
		}
		l.mu.Unlock()
		if full {
			l.stats.refused.Add(1)
			if l.mayLog() {
				l.log.Warn("connection refused: too many are open", "client", a.RemoteAddr().String(),
					"limit", l.cfg.MaxConnections, "setting", "embedded_kafka.max_connections")
			}
			_ = a.Close()
			continue
		}
		return c, nil
	}
}

// mayLog keeps a flood of bad connections out of the log: one line a second,
// the rest is in the metrics.
func (l *listener) mayLog() bool {
	now, last := time.Now().UnixNano(), l.logged.Load()
	return now-last >= int64(time.Second) && l.logged.CompareAndSwap(last, now)
}

func (l *listener) closeConns() {
	l.mu.Lock()
	open := make([]*conn, 0, len(l.conns))
	for c := range l.conns {
		open = append(open, c)
	}
	l.mu.Unlock()
	for _, c := range open {
		_ = c.Close()
	}
}

func (l *listener) open() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.foreign
}

// conn reads requests frame by frame for kfake. Read is called by one
// goroutine at a time, as kfake does.
type conn struct {
	net.Conn
	r       *bufio.Reader
	l       *listener
	pending []byte // bytes to hand out before reading on
	left    int    // bytes of the current frame that follow pending
	own     bool   // the broker's own client
	once    sync.Once
}

// Close closes the connection once and frees its place.
func (c *conn) Close() error {
	err := net.ErrClosed
	c.once.Do(func() {
		c.l.mu.Lock()
		delete(c.l.conns, c)
		if !c.own {
			c.l.foreign--
		}
		c.l.mu.Unlock()
		err = c.Conn.Close()
	})
	return err
}

// Read hands out the bytes of checked frames.
func (c *conn) Read(p []byte) (int, error) {
	for {
		if len(c.pending) > 0 {
			n := copy(p, c.pending)
			c.pending = c.pending[n:]
			return n, nil
		}
		if c.left > 0 {
			n, err := c.r.Read(p[:min(len(p), c.left)])
			c.left -= n
			return n, err
		}
		if err := c.nextFrame(); err != nil {
			return 0, err
		}
	}
}

// nextFrame reads the head of the next request, refuses what kfake could not
// take, and looks at the few kinds that need something done first.
func (c *conn) nextFrame() error {
	head := make([]byte, 8) // size, key, version
	if _, err := io.ReadFull(c.r, head); err != nil {
		return err
	}
	size := int64(binary.BigEndian.Uint32(head))
	key := int16(binary.BigEndian.Uint16(head[4:]))
	version := int16(binary.BigEndian.Uint16(head[6:]))
	refuse := func(why string) error {
		c.l.stats.badRequests.Add(1)
		if c.l.mayLog() {
			c.l.log.Warn("connection closed: "+why, "client", c.RemoteAddr().String(),
				"size", size, "request_key", key, "request_version", version)
		}
		return fmt.Errorf("bad request: %s", why)
	}
	if size > int64(c.l.cfg.MaxRequestBytes) {
		return refuse("the request is larger than embedded_kafka.max_request_bytes, or is not the Kafka protocol")
	}
	if size < 10 { // key, version, correlation id, client id
		return refuse("the request is too short to be one")
	}
	if kmsg.RequestForKey(key) == nil || version < 0 {
		return refuse("the request is of an unknown kind")
	}
	switch kmsg.Key(key) {
	case kmsg.Metadata, kmsg.CreateTopics, kmsg.CreatePartitions, kmsg.DeleteRecords:
		if b := c.l.hooks.Load(); b != nil && !c.own && size <= maxHookedBytes {
			frame := make([]byte, size+4)
			copy(frame, head)
			if _, err := io.ReadFull(c.r, frame[8:]); err != nil {
				return err
			}
			c.pending = b.hook(frame)
			return nil
		}
	}
	c.pending, c.left = head, int(size)-4
	return nil
}

// request is one whole request frame, taken apart.
type request struct {
	kmsg.Request
	head []byte // everything before the body, without the size
}

// parseRequest takes apart a frame that begins with its size.
func parseRequest(frame []byte) (request, error) {
	r := kbin.Reader{Src: frame[4:]}
	key, version := r.Int16(), r.Int16()
	_ = r.Int32()          // correlation id
	_ = r.NullableString() // client id
	req := kmsg.RequestForKey(key)
	if req == nil {
		return request{}, fmt.Errorf("unknown request key %d", key)
	}
	req.SetVersion(version)
	if version > req.MaxVersion() {
		return request{}, fmt.Errorf("unknown version %d of request key %d", version, key)
	}
	if req.IsFlexible() {
		kmsg.SkipTags(&r)
	}
	if !r.Ok() {
		return request{}, errors.New("request header is cut short")
	}
	return request{req, frame[4 : len(frame)-len(r.Src)]}, req.ReadFrom(r.Src)
}

// frame puts the request together again.
func (r request) frame() []byte {
	out := append(make([]byte, 4, 4+len(r.head)+256), r.head...)
	out = r.AppendTo(out)
	binary.BigEndian.PutUint32(out, uint32(len(out)-4))
	return out
}

// hook does what has to be done before kfake sees the request, and returns the
// frame that kfake shall see.
func (b *Broker) hook(frame []byte) []byte {
	req, err := parseRequest(frame)
	if err != nil {
		return frame // kfake answers it in its own words
	}
	ctx, cancel := context.WithTimeout(context.Background(), hookTimeout)
	defer cancel()
	switch r := req.Request.(type) {
	case *kmsg.MetadataRequest:
		// Before version 4 a request could not say; asking meant creating.
		if b.cfg.AutoCreateTopics && (r.AllowAutoTopicCreation || r.Version < 4) && len(r.Topics) > 0 {
			b.createMissing(ctx, r)
		}
	case *kmsg.CreateTopicsRequest:
		if b.boundNewTopics(ctx, r) {
			return req.frame()
		}
	case *kmsg.CreatePartitionsRequest:
		if b.boundNewPartitions(ctx, r) {
			return req.frame()
		}
	case *kmsg.DeleteRecordsRequest:
		// It may empty a partition, after which only the watermark file
		// knows where its offsets go on (see watermark.go).
		if err := b.saveWatermarks(ctx); err != nil {
			b.log.Error("cannot save the high watermarks before records are deleted", "error", err)
		}
	}
	return frame
}
