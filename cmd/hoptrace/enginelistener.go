package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/hoptrace/hoptrace/internal/lifecycle"
)

// engineListener passes TCP connections on to the embedded engine's private
// socket, which checks the password and bounds the connections.
type engineListener struct {
	address string
	dial    func(ctx context.Context) (net.Conn, error)

	mu    sync.Mutex // guards the following
	ln    net.Listener
	conns map[net.Conn]struct{}
	wait  sync.WaitGroup
}

func (a *app) engineListener(context.Context) (lifecycle.Component, error) {
	return &engineListener{address: a.settings.EmbeddedClickHouse.Listen, dial: a.engine.Dial, conns: map[net.Conn]struct{}{}}, nil
}

func (l *engineListener) Name() string { return "engine listener" }

func (l *engineListener) Start(ctx context.Context) error {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", l.address)
	if err != nil {
		return fmt.Errorf("cannot listen on embedded_clickhouse.listen %s: %w; choose another address with --embedded_clickhouse.listen", l.address, err)
	}
	l.mu.Lock()
	l.ln = ln
	l.mu.Unlock()
	l.wait.Go(func() {
		for {
			conn, err := ln.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				continue // out of descriptors, or the peer has gone: the next may do
			}
			l.wait.Go(func() { l.pass(conn) })
		}
	})
	return nil
}

// pass copies both ways until either side ends.
func (l *engineListener) pass(client net.Conn) {
	if !l.track(client) {
		return
	}
	defer l.untrack(client)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	engine, err := l.dial(ctx)
	if err != nil || !l.track(engine) {
		return
	}
	defer l.untrack(engine)
	done := make(chan struct{}, 2)
	for _, pair := range [][2]net.Conn{{client, engine}, {engine, client}} {
		l.wait.Go(func() {
			_, _ = io.Copy(pair[0], pair[1])
			_ = pair[0].Close()
			done <- struct{}{}
		})
	}
	<-done
}

func (l *engineListener) track(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conns == nil {
		_ = c.Close()
		return false
	}
	l.conns[c] = struct{}{}
	return true
}

func (l *engineListener) untrack(c net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
	_ = c.Close()
}

// Shutdown closes the listener and every connection, and waits.
func (l *engineListener) Shutdown(context.Context) error {
	l.mu.Lock()
	ln := l.ln
	l.ln = nil
	for c := range l.conns {
		_ = c.Close()
	}
	l.conns = nil
	l.mu.Unlock()
	if ln == nil {
		return nil
	}
	err := ln.Close()
	l.wait.Wait()
	return err
}
