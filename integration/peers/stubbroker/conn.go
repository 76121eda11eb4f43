package stubbroker

import (
	"encoding/binary"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// conn answers a request within the Write that completes it. Only an empty
// fetch is answered later.
type conn struct {
	broker *Broker

	mu       sync.Mutex // guards the following
	ready    sync.Cond
	in       []byte // of a request not yet whole
	out      []byte // not yet read, from read on
	read     int
	closed   bool
	failed   error
	deadline time.Time
	alarm    *time.Timer // rings at alarmAt; nil when none is set
	alarmAt  time.Time
	held     *time.Timer
}

func newConn(b *Broker) *conn {
	c := &conn{broker: b}
	c.ready.L = &c.mu
	return c
}

func (c *conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return 0, net.ErrClosed
	}
	rest := p
	if len(c.in) > 0 {
		c.in = append(c.in, p...)
		rest = c.in
	}
	for len(rest) >= 4 {
		n := int(binary.BigEndian.Uint32(rest))
		if len(rest)-4 < n {
			break
		}
		c.serve(rest[4 : 4+n])
		rest = rest[4+n:]
	}
	c.in = append(c.in[:0], rest...)
	return len(p), nil
}

func (c *conn) serve(frame []byte) {
	if c.read == len(c.out) {
		c.out, c.read = c.out[:0], 0
	}
	start := len(c.out)
	out, wait, err := c.broker.answer(append(c.out, 0, 0, 0, 0), frame)
	if err != nil {
		c.failed = err
		c.ready.Broadcast()
		return
	}
	if len(out) == start+4 { // acks=0
		c.out = out[:start]
		return
	}
	binary.BigEndian.PutUint32(out[start:], uint32(len(out)-start-4)) //nolint:gosec // below 2 GiB
	if wait > 0 {
		late := append([]byte(nil), out[start:]...)
		c.out = out[:start]
		c.held = time.AfterFunc(wait, func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.out = append(c.out, late...)
			c.ready.Broadcast()
		})
		return
	}
	c.out = out
	c.ready.Broadcast()
}

func (c *conn) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.read == len(c.out) {
		switch {
		case c.closed:
			return 0, net.ErrClosed
		case c.failed != nil:
			return 0, c.failed
		case !c.deadline.IsZero() && !time.Now().Before(c.deadline):
			return 0, os.ErrDeadlineExceeded
		}
		c.ready.Wait()
	}
	if len(p) == 0 {
		return 0, nil
	}
	n := copy(p, c.out[c.read:])
	if n == 0 {
		return 0, io.ErrNoProgress
	}
	c.read += n
	return n, nil
}

func (c *conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	c.closed = true
	for _, t := range []*time.Timer{c.alarm, c.held} {
		if t != nil {
			t.Stop()
		}
	}
	c.ready.Broadcast()
	return nil
}

func (c *conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	c.ready.Broadcast()
	if !t.IsZero() {
		c.setAlarm(t)
	}
	return nil
}

// setAlarm is called with the lock held. A deadline that moves on costs no
// timer: the one that is set looks again.
func (c *conn) setAlarm(t time.Time) {
	if c.alarm != nil {
		if !t.Before(c.alarmAt) {
			return
		}
		c.alarm.Stop()
	}
	c.alarm, c.alarmAt = time.AfterFunc(time.Until(t), c.ring), t
}

func (c *conn) ring() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ready.Broadcast()
	c.alarm = nil
	if !c.closed && time.Now().Before(c.deadline) {
		c.setAlarm(c.deadline)
	}
}

func (c *conn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// SetWriteDeadline does nothing: a Write never waits.
func (c *conn) SetWriteDeadline(time.Time) error { return nil }

func (c *conn) LocalAddr() net.Addr  { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 2} }
func (c *conn) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }
