package otelkafkago

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
)

// watchedDialer returns a copy of d whose connections tell log about the fetch
// requests they carry. The TLS handshake is done inside the dial function, by the
// rules of kafka-go, so that the connection handed up carries plain text.
func watchedDialer(d *kafka.Dialer, log *fetchLog) *kafka.Dialer {
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
		return &watchedConn{Conn: conn, log: log}, nil
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

const (
	apiFetch = 1
	// maxFrame is far above what a broker accepts or sends. A longer frame means
	// that this is not Kafka's protocol, or that we lost our place in it.
	maxFrame = 1 << 30
)

// watchedConn follows the frames of a connection in both directions. kafka-go
// writes each fetch request with one Write and has one request at a time under
// way on the connection of a partition.
type watchedConn struct {
	net.Conn
	log *fetchLog

	mu          sync.Mutex
	lost        bool
	correlation uint32
	pending     *fetch // asked, answer not begun
	toWrite     int    // bytes missing of the outgoing frame

	// Only the reading goroutine uses these.
	toRead int // bytes missing of the incoming frame
	head   [8]byte
	have   int // bytes of head filled
	began  time.Time
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
	return n, err
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
		if binary.BigEndian.Uint16(b[4:]) == apiFetch {
			key, offset, correlation, ok := parseFetch(frame)
			if !ok {
				c.lose()
				return
			}
			c.correlation = correlation
			c.pending = c.log.ask(key, offset)
		}
		c.toWrite = 4 + int(size) - len(frame)
		b = b[len(frame):]
	}
}

func (c *watchedConn) observeRead(b []byte) {
	defer c.guard()
	if c.toRead < 0 {
		return // lost
	}
	for len(b) > 0 {
		if c.toRead > 0 {
			n := min(c.toRead, len(b))
			c.toRead -= n
			b = b[n:]
			continue
		}
		if c.have == 0 {
			c.began = time.Now()
		}
		want := len(c.head)
		if c.have >= 4 {
			// A SASL token of an old broker may be shorter than a correlation id.
			want = min(want, 4+int(min(binary.BigEndian.Uint32(c.head[:]), maxFrame)))
		} else {
			want = 4
		}
		n := copy(c.head[c.have:want], b)
		c.have += n
		b = b[n:]
		if c.have < 4 {
			return
		}
		size := binary.BigEndian.Uint32(c.head[:])
		if size > maxFrame {
			c.toRead = -1
			c.mu.Lock()
			c.lose()
			c.mu.Unlock()
			return
		}
		if c.have < min(8, 4+int(size)) {
			continue
		}
		if size >= 4 {
			c.answered(binary.BigEndian.Uint32(c.head[4:]))
		}
		c.toRead = max(0, int(size)-4)
		c.have = 0
	}
}

func (c *watchedConn) answered(correlation uint32) {
	c.mu.Lock()
	f := c.pending
	if f == nil || c.correlation != correlation {
		c.mu.Unlock()
		return
	}
	c.pending = nil
	c.mu.Unlock()
	c.log.answer(f, c.began)
}

// lose is called with c.mu held.
func (c *watchedConn) lose() {
	c.lost = true
	c.pending = nil
	c.log.giveUp()
}

func (c *watchedConn) guard() {
	if recover() != nil {
		c.log.giveUp()
	}
}

// parseFetch reads a whole fetch request for one partition as kafka-go writes it,
// in version 2, 5 or 10. ok is false for anything else.
func parseFetch(b []byte) (key topicPartition, offset int64, correlation uint32, ok bool) {
	r := fields{b: b}
	size := r.uint32()
	api, version := r.uint16(), r.uint16()
	correlation = r.uint32()
	clientID := r.uint16()
	if clientID != 0xffff { // null
		r.skip(int(clientID))
	}
	replica := r.uint32()
	r.skip(8) // max wait, min bytes
	switch version {
	case 2:
	case 5:
		r.skip(4 + 1) // max bytes, isolation level
	case 10:
		r.skip(4 + 1 + 4 + 4) // and session id, session epoch
	default:
		return key, 0, 0, false
	}
	topics := r.uint32()
	topic := r.bytes(int(r.uint16()))
	partitions := r.uint32()
	partition := r.uint32()
	if version == 10 {
		r.skip(4) // leader epoch
	}
	off := r.uint64()
	if version >= 5 {
		r.skip(8) // log start offset
	}
	r.skip(4) // partition max bytes
	if version == 10 {
		r.skip(4) // forgotten topics
	}
	const leader = 0xffffffff // replica id of a consumer: -1
	if r.short || len(r.b) != 0 || int64(size) != int64(len(b)-4) || api != apiFetch ||
		replica != leader || topics != 1 || partitions != 1 || len(topic) == 0 || int64(off) < 0 { //nolint:gosec // the sign is what is asked
		return key, 0, 0, false
	}
	return topicPartition{string(topic), int32(partition)}, int64(off), correlation, true //nolint:gosec // as on the wire
}

// fields reads big-endian fields off b and remembers whether it ran out.
type fields struct {
	b     []byte
	short bool
}

func (r *fields) bytes(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.short, r.b = true, nil
		return nil
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *fields) skip(n int) { r.bytes(n) }

func (r *fields) uint16() uint16 {
	if b := r.bytes(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *fields) uint32() uint32 {
	if b := r.bytes(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *fields) uint64() uint64 {
	if b := r.bytes(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}
