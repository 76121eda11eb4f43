package otelkafkago

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"sync"

	"github.com/segmentio/kafka-go"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

// watchedDialer returns a copy of d whose connections tell log about the fetch
// requests they carry, and group (which may be nil) about the group's. The TLS
// handshake is done inside the dial function, by the rules of kafka-go, so that
// the connection handed up carries plain text.
func watchedDialer(d *kafka.Dialer, log *fetchLog, group *groupLog, now func() int64) *kafka.Dialer {
	if d == nil {
		d = kafka.DefaultDialer
	}
	out := *d
	dial := d.DialFunc
	if dial == nil {
		dial = (&net.Dialer{
			LocalAddr:     d.LocalAddr,
			FallbackDelay: d.FallbackDelay,
			KeepAlive:     d.KeepAlive,
		}).DialContext
	}
	config := d.TLS
	out.TLS = nil
	out.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		if config != nil {
			if conn, err = handshake(ctx, conn, config, address); err != nil {
				return nil, err
			}
		}
		return &watchedConn{Conn: conn, log: log, group: group, broker: server(address), now: now}, nil
	}
	return &out
}

func handshake(ctx context.Context, conn net.Conn, config *tls.Config, address string) (net.Conn, error) {
	if config.ServerName == "" {
		config = config.Clone()
		config.ServerName = address
		if colon := strings.LastIndex(address, ":"); colon >= 0 {
			config.ServerName = address[:colon]
		}
	}
	c := tls.Client(conn, config)
	if err := c.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("TLS handshake with %s: %w", address, err)
	}
	return c, nil
}

// maxRequests bounds the requests of one connection whose answers are awaited.
// kafka-go has one under way on the connection of a partition, and on that of a
// group a heartbeat, a commit and a look at the partitions of each topic.
const maxRequests = 32

// watchedConn follows the frames of a connection in both directions. kafka-go
// writes the head of each request, and the whole of a fetch request, with one
// Write.
type watchedConn struct {
	net.Conn
	log    *fetchLog
	group  *groupLog
	broker messaging.Server
	now    func() int64

	mu       sync.Mutex
	lost     bool
	requests []request // asked, answer not begun
	toWrite  int       // bytes missing of the outgoing frame
	body     []byte    // of the outgoing group request, as far as it was written
	grouped  bool      // a group request was written

	in incoming // used by the reading goroutine only
}

// request is one whose answer is awaited.
type request struct {
	correlation uint32
	version     uint16
	fetch       *fetch // of a fetch
	log         *partitionLog
	key         topicPartition
	metadata    bool
	group       groupRequest // of others
	at          int64
}

// Write implements net.Conn.
func (c *watchedConn) Write(b []byte) (int, error) {
	c.observeWrite(b)
	return c.Conn.Write(b)
}

// Read implements net.Conn.
func (c *watchedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 && n <= len(b) {
		c.observeRead(b[:n])
	}
	if err != nil {
		c.observeEnd(err)
	}
	return n, err
}

// Close implements net.Conn.
func (c *watchedConn) Close() error {
	c.observeEnd(nil)
	return c.Conn.Close()
}

// observeEnd tells the group that its connection broke, or that kafka-go closes
// it.
func (c *watchedConn) observeEnd(err error) {
	defer c.guard()
	c.mu.Lock()
	grouped := c.grouped
	if err == nil {
		c.grouped = false
	}
	c.mu.Unlock()
	if grouped && c.group != nil {
		c.group.disconnected(c, c.now(), err)
	}
}

func (c *watchedConn) observeWrite(b []byte) {
	defer c.guard()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lost {
		return
	}
	for len(b) > 0 {
		if c.toWrite > 0 {
			n := min(c.toWrite, len(b))
			c.toWrite -= n
			if c.body != nil {
				c.keep(b[:n])
			}
			b = b[n:]
			continue
		}
		if len(b) < 8 {
			c.lose() // not even a request header in one piece
			return
		}
		size := binary.BigEndian.Uint32(b)
		if size < 4 || size > maxFrame {
			c.lose()
			return
		}
		frame := b[:min(len(b), 4+int(size))]
		c.toWrite = 4 + int(size) - len(frame)
		switch api := binary.BigEndian.Uint16(b[4:]); api {
		case apiFetch:
			if !c.askFetch(frame) {
				c.lose()
				return
			}
		case apiMetadata:
			if version := binary.BigEndian.Uint16(frame[6:]); len(frame) >= 12 && (version == 1 || version == 6) && len(c.requests) < maxRequests/2 {
				c.await(request{correlation: binary.BigEndian.Uint32(frame[8:]), version: version, metadata: true})
			}
		case apiOffsetCommit, apiJoinGroup, apiHeartbeat, apiLeaveGroup, apiSyncGroup:
			if c.group != nil {
				c.askGroup(frame)
			}
		}
		b = b[len(frame):]
	}
}

func (c *watchedConn) askFetch(frame []byte) bool {
	key, offset, correlation, ok := parseFetch(frame)
	if !ok {
		return false
	}
	log := c.log.partition(key)
	c.await(request{
		correlation: correlation, version: binary.BigEndian.Uint16(frame[6:]),
		fetch: log.ask(offset, c.now(), c.broker), log: log, key: key,
	})
	return true
}

// askGroup begins to keep a group request, which may be written in pieces.
func (c *watchedConn) askGroup(frame []byte) {
	r := fields{b: frame[4:]}
	api, version, correlation := r.uint16(), r.uint16(), r.uint32()
	if client := r.uint16(); client != 0xffff { // null
		r.skip(int(client))
	}
	if r.short {
		c.group.misunderstood()
		return
	}
	c.grouped = true
	c.await(request{correlation: correlation, version: version, group: groupRequest{api: api, version: version}, at: c.now()})
	c.body = make([]byte, 0, min(maxBody, len(r.b)+c.toWrite))
	c.keep(r.b)
}

// keep adds to the group request that is written, and reads it when it is whole.
func (c *watchedConn) keep(b []byte) {
	c.body = append(c.body, b[:min(len(b), maxBody-len(c.body))]...)
	if c.toWrite > 0 {
		return
	}
	body := c.body
	c.body = nil
	if len(c.requests) == 0 {
		return
	}
	q := &c.requests[len(c.requests)-1]
	parsed, ok := parseGroupRequest(q.group.api, q.version, body)
	if !ok {
		c.requests = c.requests[:len(c.requests)-1]
		c.group.misunderstood()
		return
	}
	q.group = parsed
	c.group.asked(&q.group, q.at)
}

func (c *watchedConn) await(q request) {
	if len(c.requests) >= maxRequests {
		c.requests = append(c.requests[:0], c.requests[1:]...)
	}
	c.requests = append(c.requests, q)
}

// answered removes and returns the request with that correlation id.
func (c *watchedConn) answered(correlation uint32) (q request, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.requests {
		if q := &c.requests[i]; q.correlation == correlation {
			out := *q
			n := copy(c.requests[i:], c.requests[i+1:])
			c.requests[i+n] = request{}
			c.requests = c.requests[:i+n]
			return out, true
		}
	}
	return q, false
}

// lose is called with c.mu held.
func (c *watchedConn) lose() {
	c.lost = true
	c.requests, c.body = nil, nil
	c.log.giveUp()
	if c.group != nil && c.grouped {
		c.group.misunderstood()
	}
}

func (c *watchedConn) guard() {
	if recover() != nil {
		c.log.giveUp()
	}
}
