package embeddedclickhouse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/ClickHouse/ch-go/proto"
)

// protocolRevision is that of ch-go 0.74 and clickhouse-go 2.50; newer
// clients step down to it.
const protocolRevision = 54460

// server speaks the server's side of ClickHouse's native protocol: one
// session of the engine for each connection.
type server struct {
	engine   *engine
	args     []string // of engine.open
	user     string
	password string
	most     int // connections at once
	log      *slog.Logger
	hello    proto.ServerHello

	// control runs KILL QUERY and the like. It also is the connection that
	// keeps the engine alive: the engine ends with its last one, and starting
	// it again in one process is not safe.
	control *session

	sequence  atomic.Uint64 // names sessions
	active    atomic.Int64  // statements that run
	last      atomic.Int64  // Unix time in ns of the last statement's end
	draining  atomic.Bool
	listening net.Listener

	wg    sync.WaitGroup
	mu    sync.Mutex // guards the following
	conns map[*conn]struct{}
}

// newServer starts the engine.
func newServer(e *engine, args []string, user, password string, most int, log *slog.Logger) (*server, error) {
	control, err := e.open(args)
	if err != nil {
		return nil, fmt.Errorf("cannot start the engine: %w", err)
	}
	s := &server{
		engine: e, args: args, user: user, password: password, most: most, log: log,
		control: control, conns: map[*conn]struct{}{},
	}
	out, err := control.query("SELECT version(), timezone()", "TSV", nil)
	if err != nil {
		return nil, fmt.Errorf("the engine does not answer: %w", err)
	}
	version, timezone, _ := strings.Cut(strings.TrimSpace(string(out)), "\t")
	v := versionParts(version)
	s.hello = proto.ServerHello{
		Name: "ClickHouse", DisplayName: "hoptrace", Revision: protocolRevision, Timezone: timezone,
		Major: v[0], Minor: v[1], Patch: v[2],
	}
	s.last.Store(time.Now().UnixNano())
	return s, nil
}

// serve accepts connections until shutdown.
func (s *server) serve(ln net.Listener) error {
	s.mu.Lock()
	s.listening = ln
	s.mu.Unlock()
	for {
		nc, err := ln.Accept()
		if err != nil {
			if s.draining.Load() {
				return nil
			}
			return fmt.Errorf("cannot accept connections: %w", err)
		}
		c := newConn(s, nc)
		s.mu.Lock()
		full := len(s.conns) >= s.most
		if !full {
			s.conns[c] = struct{}{}
		}
		s.mu.Unlock()
		s.wg.Go(func() {
			defer func() {
				_ = nc.Close()
				s.mu.Lock()
				delete(s.conns, c)
				s.mu.Unlock()
			}()
			if err := c.serve(full); err != nil && !gone(err) && !s.draining.Load() {
				s.log.Warn("a connection to the embedded engine ended", "session", c.tag, "error", short(err.Error()))
			}
		})
		if full {
			s.log.Warn("refused a connection to the embedded engine", "most", s.most)
		}
	}
}

// gone says that the client went away, which is its right: a cancelled query
// ends so.
func gone(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)
}

// shutdown lets the statements that run end, until ctx is done; then it cuts
// the connections.
func (s *server) shutdown(ctx context.Context) {
	s.draining.Store(true)
	s.mu.Lock()
	if s.listening != nil {
		_ = s.listening.Close()
	}
	for c := range s.conns {
		if !c.busy.Load() {
			// Wakes the wait for the next packet; a statement that begins at
			// this moment was not acknowledged and its client sees the end.
			_ = c.nc.SetReadDeadline(time.Now())
		}
	}
	s.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return
	case <-ctx.Done():
	}
	s.mu.Lock()
	for c := range s.conns {
		_ = c.nc.Close()
		s.kill(c.tag)
	}
	s.mu.Unlock()
	select {
	case <-ended:
	case <-time.After(time.Second):
	}
}

// kill stops the statement that the session runs, within milliseconds.
func (s *server) kill(tag string) {
	// By log_comment, because the engine takes no query id from us.
	err := s.control.exec("KILL QUERY WHERE startsWith(Settings['log_comment'], " + quote(tag+" ") + ") ASYNC")
	if err != nil {
		s.log.Warn("cannot stop a statement", "session", tag, "error", err)
	}
}

// trim gives memory back to the system while nothing has run for idle, until
// ctx is done.
func (s *server) trim(ctx context.Context, idle time.Duration, release func()) {
	tick := time.NewTicker(idle)
	defer tick.Stop()
	var trimmed int64
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		last := s.last.Load()
		if s.active.Load() > 0 || last == trimmed || time.Since(time.Unix(0, last)) < idle {
			continue
		}
		trimmed = last
		// Dirty pages of the allocator; without it they stay until the next
		// statement.
		if err := s.control.exec("SYSTEM JEMALLOC PURGE"); err != nil {
			s.log.Debug("the engine cannot release memory", "error", err)
		}
		release()
	}
}

var escaper = strings.NewReplacer(`\`, `\\`, "`", "\\`", "'", `\'`)

// ident quotes a name for a statement.
func ident(s string) string { return "`" + escaper.Replace(s) + "`" }

// quote makes a string literal.
func quote(s string) string { return "'" + escaper.Replace(s) + "'" }

// unquote undoes the quoting in which parameter values arrive (a dump of a
// Field).
func unquote(s string) string {
	if len(s) < 2 || s[0] != '\'' || s[len(s)-1] != '\'' {
		return s
	}
	s = s[1 : len(s)-1]
	if !strings.Contains(s, `\`) {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '\\' && i+1 < len(s) {
			i++
			c = s[i]
			if j := strings.IndexByte("0abefnrtv", c); j >= 0 {
				c = "\x00\a\b\x1b\f\n\r\t\v"[j]
			}
		}
		b = append(b, c)
	}
	return string(b)
}
