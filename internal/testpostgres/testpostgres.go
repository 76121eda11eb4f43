// Package testpostgres starts a real Postgres for a test, from the installed
// binaries, in a directory of its own. It is for tests only.
package testpostgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"sort"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	startTimeout = 60 * time.Second
	stopTimeout  = 20 * time.Second
)

// Server is one running Postgres. Its tables vanish with the test.
type Server struct {
	// DSN names its database: postgres://….
	DSN string

	dir  string
	bin  string
	port int
	cred *syscall.Credential
	cmd  *exec.Cmd
	out  *bytes.Buffer
}

// Start starts a server that the end of the test stops. The test fails when
// Postgres is not installed.
func Start(t testing.TB) *Server {
	t.Helper()
	bin, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	// Not t.TempDir: its parents are closed to other users.
	dir, err := os.MkdirTemp("", "hoptrace-postgres-") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{dir: dir, bin: bin}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Errorf("cannot stop Postgres: %v", err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("cannot remove the files of Postgres: %v", err)
		}
	})
	if err := s.init(); err != nil {
		t.Fatalf("cannot initialise Postgres: %v", err)
	}
	if err := s.Restart(); err != nil {
		t.Fatalf("cannot start Postgres: %v", err)
	}
	return s
}

// binaries finds the newest installation.
func binaries() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path), nil
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb") // Debian keeps them off the PATH
	if len(found) == 0 {
		return "", errors.New("postgres is not installed, which this test needs: run scripts/install-test-parts as root, or install the package postgresql")
	}
	sort.Slice(found, func(i, j int) bool { return version(found[i]) > version(found[j]) })
	return filepath.Dir(found[0]), nil
}

func version(initdb string) int {
	v, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(initdb))))
	return v
}

func (s *Server) init() error {
	if os.Geteuid() == 0 {
		// Postgres refuses to run as root.
		u, err := user.Lookup("postgres")
		if err != nil {
			return fmt.Errorf("as root it runs as user postgres, which package postgresql makes: %w", err)
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		s.cred = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if err := os.Chown(s.dir, int(uid), int(gid)); err != nil { //nolint:gosec // 32 bits
			return err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	out, err := s.command(ctx, "initdb", "--pgdata", s.data(), "--username=hoptrace", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync").CombinedOutput()
	if err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return nil
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

func (s *Server) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, name), args...) //nolint:gosec // a fixed name
	cmd.Dir = s.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "HOME=" + s.dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.cred}
	return cmd
}

// Restart starts the server again after Stop, with the same data and address.
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
	}
	s.out = new(bytes.Buffer)
	s.cmd = s.command(context.Background(), "postgres", "-D", s.data(), "-p", strconv.Itoa(s.port), "-h", "127.0.0.1", "-k", s.dir)
	s.cmd.Stdout, s.cmd.Stderr = s.out, s.out
	if err := s.cmd.Start(); err != nil {
		return err
	}
	s.DSN = (&url.URL{Scheme: "postgres", User: url.User("hoptrace"), Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)), Path: "/postgres", RawQuery: "sslmode=disable"}).String()
	deadline := time.Now().Add(startTimeout)
	for {
		ctx, cancel := context.WithDeadline(context.Background(), deadline)
		c, err := pgx.Connect(ctx, s.DSN)
		if err == nil {
			err = c.Close(ctx)
		}
		cancel()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			stopped := s.Stop()
			return errors.Join(fmt.Errorf("not ready after %v: %w\n%s", startTimeout, err, s.out), stopped)
		}
		time.Sleep(20 * time.Millisecond) // poll
	}
}

// Stop stops the server and waits. It is safe twice.
func (s *Server) Stop() error {
	if s.cmd == nil {
		return nil
	}
	cmd := s.cmd
	s.cmd = nil
	if err := cmd.Process.Signal(syscall.SIGQUIT); err != nil { // without waiting for clients
		return err
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case <-done: //nolint:errcheck // it tells of the signal
		return nil
	case <-time.After(stopTimeout):
		_ = cmd.Process.Kill()
		<-done //nolint:errcheck // it tells of the signal
		return fmt.Errorf("postgres did not stop within %v", stopTimeout)
	}
}
