package clickhouse

import (
	"context"
	"errors"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"
)

const (
	// readPoll is how often a connection that waits for an answer looks
	// whether its context has ended.
	readPoll = 100 * time.Millisecond
	// cancelGrace is how long a cancelled statement may take to end before its
	// connection is cut.
	cancelGrace = 2 * time.Second
	dialTimeout = 5 * time.Second
	maxIdle     = 10 * time.Minute
)

var errClosed = errors.New("clickhouse store is closed")

// pool keeps connections that are not in use. It holds no goroutine.
type pool struct {
	options ch.Options
	slots   chan struct{} // one for each connection that may exist

	mu     sync.Mutex // guards the following
	idle   []*conn    // last used last
	age    uint64     // connections of an older age are not used again
	closed bool
}

type conn struct {
	client *ch.Client
	buf    *proto.Buffer // the client's, for what it sends
	net    net.Conn
	age    uint64
	used   time.Time
}

func newPool(cfg Config, database string) *pool {
	p := &pool{slots: make(chan struct{}, cfg.MaxConns)}
	p.options = ch.Options{
		Address:          cfg.Address,
		Database:         database,
		User:             cfg.User,
		Password:         cfg.Password,
		ClientName:       "hoptrace",
		ReadTimeout:      readPoll,
		DialTimeout:      dialTimeout,
		HandshakeTimeout: dialTimeout,
		// The same for every statement: the embedded engine then sets them once.
		Settings: []ch.Setting{
			{Key: "max_execution_time", Value: strconv.Itoa(int(cfg.QueryTimeout.Seconds())), Important: true},
			{Key: "max_memory_usage", Value: strconv.FormatInt(cfg.QueryMemory, 10), Important: true},
			// An insert must be on disk when it is answered.
			{Key: "async_insert", Value: "0", Important: true},
			// Compiling to machine code costs more than our statements take.
			{Key: "compile_expressions", Value: "0", Important: true},
			{Key: "compile_aggregate_expressions", Value: "0", Important: true},
			{Key: "compile_sort_description", Value: "0", Important: true},
		},
	}
	if cfg.Dial != nil {
		p.options.Dialer = dialFunc(cfg.Dial)
	}
	return p
}

type dialFunc func(ctx context.Context) (net.Conn, error)

func (f dialFunc) DialContext(ctx context.Context, _, _ string) (net.Conn, error) { return f(ctx) }

// keepDialer remembers the connection, so that it can be cut.
type keepDialer struct {
	ch.Dialer
	conn *greetedConn
}

func (d *keepDialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := d.Dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	d.conn = &greetedConn{Conn: c}
	return d.conn, nil
}

// greetedConn gives the server dialTimeout for its part of the handshake.
// ch-go bounds each read of it by ReadTimeout, which is readPoll here: a
// machine that was busy for a tenth of a second would pass for a store that is
// down. Once greeted the deadlines are ch-go's.
type greetedConn struct {
	net.Conn
	greeted atomic.Bool
}

func (c *greetedConn) SetReadDeadline(t time.Time) error {
	if !t.IsZero() && !c.greeted.Load() {
		t = time.Now().Add(dialTimeout)
	}
	return c.Conn.SetReadDeadline(t)
}

// do runs f on a connection of the pool. The connection is not used again when
// f failed for another reason than the statement.
func (p *pool) do(ctx context.Context, f func(*conn) error) error {
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	c, err := p.take(ctx)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() {
		// ch-go tells the engine to cancel and closes; cut it if that hangs.
		_ = c.net.SetDeadline(time.Now().Add(cancelGrace))
	})
	err = f(c)
	if !stop() || (err != nil && !ch.IsException(err)) {
		_ = c.client.Close()
		return err
	}
	p.give(c)
	return err
}

func (p *pool) take(ctx context.Context) (*conn, error) {
	p.mu.Lock()
	for len(p.idle) > 0 {
		c := p.idle[len(p.idle)-1]
		p.idle = p.idle[:len(p.idle)-1]
		if time.Since(c.used) < maxIdle {
			p.mu.Unlock()
			return c, nil
		}
		_ = c.client.Close()
	}
	age, closed := p.age, p.closed
	p.mu.Unlock()
	if closed {
		return nil, errClosed
	}
	o := p.options
	d := &keepDialer{Dialer: o.Dialer}
	if d.Dialer == nil {
		d.Dialer = &net.Dialer{Timeout: dialTimeout}
	}
	o.Dialer = d
	buf := new(proto.Buffer)
	client, err := ch.DialWithBuffer(ctx, o, buf)
	if err != nil {
		if d.conn != nil {
			_ = d.conn.Close()
		}
		return nil, err
	}
	d.conn.greeted.Store(true)
	return &conn{client: client, buf: buf, net: d.conn, age: age}, nil
}

func (p *pool) give(c *conn) {
	c.used = time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || c.age != p.age || c.client.IsClosed() {
		_ = c.client.Close()
		return
	}
	p.idle = append(p.idle, c)
}

// drop forgets all connections: one broke, so the others likely did.
func (p *pool) drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.age++
	for _, c := range p.idle {
		_ = c.client.Close()
	}
	p.idle = nil
}

// trim gives back the buffers that large inserts left behind.
func (p *pool) trim() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.idle {
		if cap(c.buf.Buf) > maxKept {
			c.buf.Buf = nil
		}
	}
}

func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.drop()
}
