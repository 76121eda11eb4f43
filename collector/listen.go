package collector

import (
	"context"
	"fmt"
	"net"
	"sync"
)

// listen opens a listener that has at most limit connections open at a time;
// more wait to be accepted.
func listen(ctx context.Context, setting, addr string, limit int) (net.Listener, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on collector.%s %s: %w; choose another address with --collector.%s", setting, addr, err, setting)
	}
	return &limited{Listener: l, slots: make(chan struct{}, limit), closed: make(chan struct{})}, nil
}

type limited struct {
	net.Listener
	slots  chan struct{}
	closed chan struct{}
	once   sync.Once
}

func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	release := sync.OnceFunc(func() { <-l.slots })
	if tcp, ok := c.(*net.TCPConn); ok {
		return &limitedConn{tcp, release}, nil
	}
	_ = c.Close()
	release()
	return nil, fmt.Errorf("a TCP listener accepted a %T", c)
}

func (l *limited) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// limitedConn is a whole TCP connection: net/http closes one side of it, so
// that a refused sender sees the answer before the connection is reset.
type limitedConn struct {
	*net.TCPConn
	release func()
}

func (c *limitedConn) Close() error {
	defer c.release()
	return c.TCPConn.Close()
}
