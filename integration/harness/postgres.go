package harness

import (
	"errors"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Postgres is one real PostgreSQL server with an empty database.
type Postgres struct {
	DSN     string // postgres://…
	Version string
	Process *Process
}

var postgresVersion = regexp.MustCompile(`[0-9]+(\.[0-9]+)+`)

// StartPostgres makes a cluster in a temporary folder, starts it and waits
// until it answers. As root it runs as the user postgres: the server refuses root.
func StartPostgres(t testing.TB) *Postgres {
	t.Helper()
	initdb, postgres, ready := LookPath(t, "initdb"), LookPath(t, "postgres"), LookPath(t, "pg_isready")
	// A socket's path is at most 107 bytes, and t.TempDir may be longer.
	dir, err := os.MkdirTemp("", "hoptrace-pg-")
	if err != nil {
		t.Fatalf("cannot make a folder for Postgres: %v", err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	cred := unprivileged(t)
	if cred != nil {
		if err := os.Chown(dir, int(cred.Uid), int(cred.Gid)); err != nil {
			t.Fatalf("cannot give the folder to postgres: %v", err)
		}
	}
	data := filepath.Join(dir, "data")
	Output(t, time.Minute, Command{
		Name: "initdb", Path: initdb, Dir: dir, User: cred,
		Args: []string{"-D", data, "-U", "hoptrace", "--auth=trust", "--no-sync", "--locale=C.UTF-8", "--encoding=UTF8"},
	})
	address := FreeAddress(t)
	port := address[strings.LastIndexByte(address, ':')+1:]
	p := &Postgres{DSN: "postgres://hoptrace@" + address + "/postgres?sslmode=disable"}
	p.Process = Start(t, Command{
		Name: "postgres", Path: postgres, Dir: dir, User: cred,
		Args: []string{"-D", data, "-h", "127.0.0.1", "-p", port, "-k", dir},
	})
	took := Until(t, "Postgres answers on "+address, 30*time.Second, func() error {
		if !p.Process.Running() {
			t.Fatalf("Postgres ended while starting: %v\n%s", p.Process.err, p.Process.Tail(40))
		}
		if !p.Process.LogContains("ready to accept connections") {
			return errNotYet
		}
		return nil
	})
	Output(t, 10*time.Second, Command{Name: "pg_isready", Path: ready, Args: []string{"-h", "127.0.0.1", "-p", port}})
	version := Output(t, 10*time.Second, Command{Name: "postgres-version", Path: postgres, Args: []string{"--version"}})
	p.Version = string(postgresVersion.Find(version))
	t.Logf("real part: PostgreSQL %s, answering after %s", p.Version, took.Round(time.Millisecond))
	return p
}

// unprivileged is whom to run a server as that refuses root; nil when the test
// is not root itself.
func unprivileged(t testing.TB) *syscall.Credential {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	var fault error
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			fault = errors.Join(fault, err)
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(err1, err2); err != nil {
			t.Fatalf("user %s has no numeric ids: %v", name, err)
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	t.Fatalf("Postgres does not run as root, and there is no user to run it as: %v", fault)
	return nil
}
