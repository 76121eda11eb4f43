// Package harness starts the real parts of a whole-product test as processes
// and watches them: hoptrace itself, the example, Apache Kafka, Postgres. It
// knows the product only from outside: its command line, its ports, its files.
// It needs Linux, since it reads /proc.
package harness

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"sync"
	"testing"
	"time"
)

// Root is the repository's folder.
func Root(t testing.TB) string {
	t.Helper()
	_, file, _, ok := runtime.Caller(0)
	if !ok {
		t.Fatal("cannot tell where the harness's source lies")
	}
	root := filepath.Dir(filepath.Dir(filepath.Dir(file)))
	if _, err := os.Stat(filepath.Join(root, "go.work")); err != nil {
		t.Fatalf("the repository should lie at %s: %v", root, err)
	}
	return root
}

var unsafeName = regexp.MustCompile(`[^A-Za-z0-9_.=-]+`)

// Artefacts is the folder that keeps what this test leaves for people: logs and
// screenshots. It lies under HOPTRACE_ARTEFACTS, by default artefacts/ in the
// repository.
func Artefacts(t testing.TB) string {
	t.Helper()
	base := os.Getenv("HOPTRACE_ARTEFACTS")
	if base == "" {
		base = filepath.Join(Root(t), "artefacts")
	}
	dir := filepath.Join(base, unsafeName.ReplaceAllString(t.Name(), "_"))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatalf("cannot make the artefact folder: %v", err)
	}
	return dir
}

// cacheDir is where downloads and builds lie between runs, outside the tree.
func cacheDir(t testing.TB, name string) string {
	t.Helper()
	base, err := os.UserCacheDir()
	if err != nil {
		t.Fatalf("cannot find a cache folder (set XDG_CACHE_HOME or HOME): %v", err)
	}
	dir := filepath.Join(base, "hoptrace-test", name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatalf("cannot make the cache folder: %v", err)
	}
	return dir
}

var (
	portsMu sync.Mutex           // guards the following
	ports   = map[int]struct{}{} // handed out already
)

// FreeAddress is a loopback address that nobody listens on now and that this
// test binary has not handed out before.
func FreeAddress(t testing.TB) string {
	t.Helper()
	portsMu.Lock()
	defer portsMu.Unlock()
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatalf("cannot find a free port: %v", err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		if err := l.Close(); err != nil {
			t.Fatalf("cannot give back port %d: %v", port, err)
		}
		if _, taken := ports[port]; !taken {
			ports[port] = struct{}{}
			return fmt.Sprintf("127.0.0.1:%d", port)
		}
	}
	t.Fatal("found no port that was not handed out before, in 100 tries")
	return ""
}

// errNotYet is what a condition returns while there is nothing more to say.
var errNotYet = errors.New("not yet")

// Until asks cond until it returns nil, and fails the test with its last error
// when that has not happened within the time. It returns how long it took.
func Until(t testing.TB, what string, within time.Duration, cond func() error) time.Duration {
	t.Helper()
	start := time.Now()
	took, err := until(t, start, within, cond)
	if err != nil {
		t.Fatalf("waited %s in vain for: %s: %v", took.Round(time.Millisecond), what, err)
	}
	return took
}

// pollEvery is how often a condition is asked. It bounds the error of what
// Until returns.
const pollEvery = 10 * time.Millisecond

func until(t testing.TB, start time.Time, within time.Duration, cond func() error) (time.Duration, error) {
	end := start.Add(within)
	// A test that runs into the test binary's own deadline leaves its processes
	// behind, so give up before it.
	if d, ok := t.(interface{ Deadline() (time.Time, bool) }); ok {
		if last, set := d.Deadline(); set && last.Add(-20*time.Second).Before(end) {
			end = last.Add(-20 * time.Second)
		}
	}
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		err := cond()
		if err == nil {
			return time.Since(start), nil
		}
		if time.Now().After(end) {
			return time.Since(start), err
		}
		<-tick.C
	}
}
