package embeddedclickhouse

import (
	"bufio"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	startTimeout = 60 * time.Second // a cold library of 566 MB and a data directory to load
	stopTimeout  = drainTimeout + closeTimeout + 2*time.Second

	firstBackoff = 100 * time.Millisecond
	lastBackoff  = 10 * time.Second
	steadyAfter  = time.Minute // of serving; then the backoff begins anew

	maxLogLine = 4096
)

// ErrStopped means that the process was shut down, or not started.
var ErrStopped = errors.New("the embedded ClickHouse engine is not running")

// Process is the engine, kept alive in a child process. A child that dies is
// started again; its clients see a connection error and dial again, and what
// was acknowledged to them is on disk. It is a dialer for ch-go:
//
//	ch.Options{Dialer: p, Address: p.Addr(), User: embeddedclickhouse.User, Password: p.Password()}
type Process struct {
	cfg      Config
	log      *slog.Logger
	library  string
	password string

	restarts  atomic.Int64
	onRestart func(cause error)

	mu        sync.Mutex // guards the following
	started   bool
	stopping  bool
	lock      *os.File
	socketDir string
	ready     chan struct{} // closed while the child serves
	version   string
	pid       int           // of the child; 0 when there is none
	lastErr   error         // why the child ended last
	failed    error         // why there will be no child
	stop      chan struct{} // closed by Shutdown
	done      chan struct{} // closed when the child is gone for good
}

// New checks the configuration and finds the library. It starts nothing.
func New(cfg Config, log *slog.Logger) (*Process, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	library, err := FindLibrary(cfg.Library)
	if err != nil {
		return nil, err
	}
	if cfg.Dir, err = cfg.absolute(); err != nil {
		return nil, err
	}
	var secret [24]byte
	_, _ = rand.Read(secret[:]) // it never fails
	return &Process{
		cfg: cfg, log: log, library: library, password: cmp.Or(cfg.Password, hex.EncodeToString(secret[:])),
		ready: make(chan struct{}), stop: make(chan struct{}), done: make(chan struct{}),
	}, nil
}

// OnRestart sets a function that is called before a child that died is
// started again, from the supervising goroutine. Set it before Start.
func (p *Process) OnRestart(f func(cause error)) { p.onRestart = f }

// Start takes the directory and starts the child; it does not wait until the
// engine answers (see Ready). The error is [ErrInUse] when another process
// has the directory. ctx is for this call only.
func (p *Process) Start(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopping {
		return ErrStopped
	}
	if p.started {
		return errors.New("the embedded ClickHouse engine was started already")
	}
	dir := p.cfg.Dir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("cannot make the engine's directory: %w", err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return fmt.Errorf("cannot start the embedded ClickHouse engine: %w", err)
	}
	socketDir, err := makeSocketDir()
	if err == nil {
		err = writeLock(lock, socketDir)
	}
	if err != nil {
		_ = lock.Close()
		if socketDir != "" {
			removeSocketDir(socketDir)
		}
		return fmt.Errorf("cannot start the embedded ClickHouse engine: %w", err)
	}
	p.lock, p.socketDir, p.started = lock, socketDir, true
	go p.supervise()
	return nil
}

// Ready waits until the engine answers. It gives the engine's own reason when
// that cannot come to be.
func (p *Process) Ready(ctx context.Context) error {
	p.mu.Lock()
	ready, started, lastErr := p.ready, p.started, p.lastErr
	p.mu.Unlock()
	if !started {
		return ErrStopped
	}
	select {
	case <-p.done:
	case <-ready:
		return nil
	case <-ctx.Done():
		if lastErr != nil {
			return fmt.Errorf("the embedded ClickHouse engine does not answer: %w (its last end: %w)", ctx.Err(), lastErr)
		}
		return fmt.Errorf("the embedded ClickHouse engine does not answer: %w", ctx.Err())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed != nil {
		return p.failed
	}
	return ErrStopped
}

// DialContext connects to the engine; network and address are ignored, so a
// Process is the dialer of any client. While a child is being restarted it
// waits, as long as ctx allows.
func (p *Process) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	if err := p.Ready(ctx); err != nil {
		return nil, err
	}
	p.mu.Lock()
	path := filepath.Join(p.socketDir, socketName)
	p.mu.Unlock()
	var d net.Dialer
	nc, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("cannot connect to the embedded ClickHouse engine: %w", err)
	}
	return nc, nil
}

// Dial is DialContext for callers that know no addresses.
func (p *Process) Dial(ctx context.Context) (net.Conn, error) { return p.DialContext(ctx, "", "") }

// Addr is a name for logs; it cannot be dialled but through DialContext.
func (p *Process) Addr() string { return "embedded:" + filepath.Base(p.cfg.Dir) }

// Password is that of [User]: the configured one, or one that is new in every
// Process and kept nowhere.
func (p *Process) Password() string { return p.password }

// Version is ClickHouse's, such as "26.7.2"; empty before the engine answers.
func (p *Process) Version() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.version
}

// PID is the child's process id, 0 while there is none.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pid
}

// Restarts counts how often a child that died was started again.
func (p *Process) Restarts() int64 { return p.restarts.Load() }

// Shutdown ends the child: statements that run may finish, for five seconds
// at most. When ctx is done first the child is killed, which loses nothing
// that was acknowledged. It is safe twice, and without Start.
func (p *Process) Shutdown(ctx context.Context) error {
	p.mu.Lock()
	if !p.stopping {
		p.stopping = true
		close(p.stop)
		if !p.started {
			close(p.done)
		}
	}
	p.mu.Unlock()
	select {
	case <-p.done:
		return nil
	default:
	}
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	pid := p.pid
	p.mu.Unlock()
	if pid != 0 {
		if child, err := os.FindProcess(pid); err == nil {
			_ = child.Kill()
		}
	}
	select {
	case <-p.done:
		return fmt.Errorf("the embedded ClickHouse engine was killed: %w", ctx.Err())
	case <-time.After(stopTimeout):
		return fmt.Errorf("the embedded ClickHouse engine does not end: %w", ctx.Err())
	}
}

// supervise keeps a child alive until Shutdown.
func (p *Process) supervise() {
	// Linux ends the child with the thread that made it (Pdeathsig), so this
	// thread must live as long; locked and never unlocked, it ends with us.
	runtime.LockOSThread()
	defer close(p.done)
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		removeSocketDir(p.socketDir)
		_ = p.lock.Close()
	}()
	served := false // once, by any child
	backoff := firstBackoff
	for {
		began := time.Now()
		wasReady, err := p.runOnce()
		served = served || wasReady
		p.mu.Lock()
		stopping := p.stopping
		p.lastErr = err
		if refusal, ok := errors.AsType[*refusalError](err); ok && !served && !stopping {
			// Trying again would not help: a wrong library, a broken directory.
			p.failed = fmt.Errorf("cannot start the embedded ClickHouse engine: %w", refusal)
		}
		failed := p.failed
		p.mu.Unlock()
		if stopping {
			return
		}
		if failed != nil {
			p.log.Error("the embedded ClickHouse engine cannot start", "error", err)
			return
		}
		if wasReady && time.Since(began) > steadyAfter {
			backoff = firstBackoff
		}
		p.restarts.Add(1)
		p.log.Error("the embedded ClickHouse engine ended; it is started again", "error", err, "after", backoff)
		if p.onRestart != nil {
			p.onRestart(err)
		}
		select {
		case <-time.After(backoff):
		case <-p.stop:
			return
		}
		backoff = min(2*backoff, lastBackoff)
	}
}

// refusalError is the reason a child gave for not serving.
type refusalError struct{ reason string }

func (e *refusalError) Error() string { return e.reason }

// runOnce runs one child to its end. wasReady says that it served.
func (p *Process) runOnce() (wasReady bool, err error) {
	exe, err := os.Executable()
	if err != nil {
		return false, fmt.Errorf("cannot find this program's file: %w", err)
	}
	socket := filepath.Join(p.socketDir, socketName)
	_ = os.Remove(socket) // of a child before
	config, err := json.Marshal(childConfig{
		Library: p.library, Dir: p.cfg.Dir, Socket: socket, User: User, Password: p.password,
		MemoryLimit: p.cfg.MemoryLimit, MarkCache: p.cfg.MarkCache, MaxConnections: p.cfg.MaxConnections,
	})
	if err != nil {
		return false, err
	}
	reportRead, reportWrite, err := os.Pipe()
	if err != nil {
		return false, fmt.Errorf("cannot make a pipe: %w", err)
	}
	defer func() { _ = reportRead.Close() }()

	cmd := exec.CommandContext(context.Background(), exe, ChildCommand) // attend ends it, in order
	cmd.ExtraFiles = []*os.File{reportWrite, p.lock}
	cmd.SysProcAttr = childAttributes()
	stdin, err := cmd.StdinPipe()
	var stderr io.ReadCloser
	if err == nil {
		stderr, err = cmd.StderrPipe()
	}
	if err == nil {
		err = cmd.Start()
	}
	_ = reportWrite.Close()
	if err != nil {
		return false, fmt.Errorf("cannot start the engine's process: %w", err)
	}
	p.mu.Lock()
	p.pid = cmd.Process.Pid
	p.mu.Unlock()

	var readers sync.WaitGroup
	readers.Go(func() { p.relayLog(stderr) })
	reports := make(chan childReport, 1)
	readers.Go(func() { reports <- readReport(reportRead) })
	if _, err := stdin.Write(append(config, '\n')); err != nil {
		_ = cmd.Process.Kill() // Wait tells why
	}

	ended := make(chan struct{})
	var guard sync.WaitGroup
	guard.Go(func() { // everything that may end the child from here
		wasReady, err = p.attend(cmd.Process, stdin, reports, ended)
	})
	readers.Wait() // both pipes end with the child
	waitErr := cmd.Wait()
	close(ended)
	guard.Wait()

	p.mu.Lock()
	p.pid = 0
	if wasReady {
		p.ready = make(chan struct{})
	}
	p.mu.Unlock()
	if err == nil {
		err = waitErr
		if err == nil {
			err = errors.New("it ended by itself")
		}
	}
	return wasReady, err
}

// attend waits for the child's report and announces it; then for Shutdown or
// the child's end.
func (p *Process) attend(child *os.Process, stdin io.Closer, reports <-chan childReport, ended <-chan struct{}) (wasReady bool, err error) {
	defer func() { _ = stdin.Close() }()
	select {
	case r := <-reports:
		switch {
		case r.Error != "":
			err = &refusalError{r.Error}
		case r.Version != "":
			wasReady = true
			p.mu.Lock()
			p.version = r.Version
			close(p.ready)
			p.mu.Unlock()
			p.log.Info("the embedded ClickHouse engine answers", "version", r.Version, "pid", child.Pid)
		}
	case <-time.After(startTimeout):
		_ = child.Kill()
		return false, fmt.Errorf("the engine did not answer within %v", startTimeout)
	case <-p.stop:
	case <-ended:
		return false, nil
	}
	select {
	case <-ended:
		return wasReady, err
	case <-p.stop:
	}
	_ = stdin.Close() // the child drains and ends
	select {
	case <-ended:
	case <-time.After(stopTimeout):
		_ = child.Kill()
	}
	return wasReady, err
}

// readReport reads the child's one line; it is empty when the child ended
// without one.
func readReport(r io.Reader) (report childReport) {
	line, err := bufio.NewReader(io.LimitReader(r, 64<<10)).ReadBytes('\n')
	if err != nil {
		return childReport{}
	}
	if err := json.Unmarshal(line, &report); err != nil {
		return childReport{Error: "its report cannot be read: " + err.Error()}
	}
	return report
}

// relayLog puts what the child writes to standard error into our log: lines
// of its own logger with their level, what the engine writes as warnings.
func (p *Process) relayLog(r io.Reader) {
	lines := bufio.NewReaderSize(r, maxLogLine)
	for {
		line, isPrefix, err := lines.ReadLine()
		if err != nil {
			return
		}
		text := strings.TrimSpace(string(line))
		for isPrefix && err == nil { // the rest of a long line
			_, isPrefix, err = lines.ReadLine()
		}
		if text == "" {
			continue
		}
		var entry map[string]any
		if json.Unmarshal([]byte(text), &entry) != nil || entry["msg"] == nil {
			p.log.Warn("the embedded ClickHouse engine says", "text", text)
			continue
		}
		var level slog.Level
		if s, ok := entry["level"].(string); !ok || level.UnmarshalText([]byte(s)) != nil {
			level = slog.LevelWarn
		}
		attrs := []slog.Attr{slog.String("process", ChildCommand)}
		for k, v := range entry {
			if k != "msg" && k != "level" && k != "time" {
				attrs = append(attrs, slog.Any(k, v))
			}
		}
		p.log.LogAttrs(context.Background(), level, fmt.Sprint(entry["msg"]), attrs...)
	}
}
