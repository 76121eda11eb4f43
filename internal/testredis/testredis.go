// Package testredis starts a real Redis for a test, from the installed binary, in
// a directory of its own. It is for tests only.
package testredis

import (
	"bytes"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"
)

const (
	startTimeout = 20 * time.Second
	stopTimeout  = 10 * time.Second
)

// Server is one running Redis. Its data vanish with the test.
type Server struct {
	// Addr is host:port; URL is redis://host:port/0.
	Addr, URL string

	dir  string
	port int
	cmd  *exec.Cmd
	out  *bytes.Buffer
}

// Start starts a server that the end of the test stops. The test fails when
// Redis is not installed.
func Start(t testing.TB) *Server {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Fatalf("redis is not installed, which this test needs: run scripts/install-test-parts as root, or install the package redis-server: %v", err)
	}
	s := &Server{dir: t.TempDir()}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Errorf("cannot stop Redis: %v", err)
		}
	})
	if err := s.Restart(); err != nil {
		t.Fatalf("cannot start Redis: %v", err)
	}
	return s
}

// Restart starts the server again after Stop, empty and at the same address.
func (s *Server) Restart() error {
	if s.port == 0 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		s.port = l.Addr().(*net.TCPAddr).Port
		if err := l.Close(); err != nil {
			return err
		}
		s.Addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port))
		s.URL = "redis://" + s.Addr + "/0"
	}
	s.out = new(bytes.Buffer)
	s.cmd = exec.Command("redis-server", "--bind", "127.0.0.1", "--port", strconv.Itoa(s.port), "--dir", s.dir, "--save", "", "--appendonly", "no") //nolint:gosec // a fixed name; Stop ends it
	s.cmd.Stdout, s.cmd.Stderr = s.out, s.out
	if err := s.cmd.Start(); err != nil {
		return err
	}
	for deadline := time.Now().Add(startTimeout); ; {
		c, err := net.DialTimeout("tcp", s.Addr, time.Second)
		if err == nil {
			return c.Close()
		}
		if time.Now().After(deadline) {
			_ = s.Stop()
			return fmt.Errorf("not ready after %v: %w\n%s", startTimeout, err, s.out)
		}
		time.Sleep(10 * time.Millisecond) // poll
	}
}

// Stop stops the server and waits. It is safe twice.
func (s *Server) Stop() error {
	if s.cmd == nil {
		return nil
	}
	cmd := s.cmd
	s.cmd = nil
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	done := make(chan struct{})
	go func() {
		_ = cmd.Wait() // that it was ended is what it tells
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-time.After(stopTimeout):
		_ = cmd.Process.Kill()
		<-done
		return fmt.Errorf("redis did not stop within %v", stopTimeout)
	}
}
