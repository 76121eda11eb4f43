package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Process is one started program. Its output goes to a file among the
// artefacts, the end of which is printed when the test fails.
type Process struct {
	Name    string
	LogPath string

	t       testing.TB
	cmd     *exec.Cmd
	started time.Time
	done    chan struct{} // closed when it ended
	err     error         // how it ended; read after done
	stdout  string        // path, when kept apart
}

// Command says what to start.
type Command struct {
	Name string // of the log file
	Path string
	Args []string
	Env  []string // added to the test's own environment
	Dir  string
	User *syscall.Credential // nil means the test's own
	// KeepStdout writes standard output to a file of its own, see Stdout.
	KeepStdout bool
}

// Start starts it. The test's end stops it with all its descendants.
func Start(t testing.TB, c Command) *Process {
	t.Helper()
	dir := Artefacts(t)
	logPath := filepath.Join(dir, c.Name+".log")
	logFile, err := os.OpenFile(logPath, os.O_CREATE|os.O_WRONLY|os.O_TRUNC|os.O_APPEND, 0o644)
	if err != nil {
		t.Fatalf("cannot open the log of %s: %v", c.Name, err)
	}
	defer logFile.Close()

	// The processes outlive no test, but they must not die of its context: the
	// test says how each ends.
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), c.Path, c.Args...) //nolint:gosec // the tests' own programs
	cmd.Dir = c.Dir
	cmd.Env = append(os.Environ(), c.Env...)
	cmd.Stdout, cmd.Stderr = logFile, logFile
	p := &Process{Name: c.Name, LogPath: logPath, t: t, cmd: cmd, done: make(chan struct{})}
	if c.KeepStdout {
		p.stdout = filepath.Join(dir, c.Name+".stdout")
		out, err := os.Create(p.stdout)
		if err != nil {
			t.Fatalf("cannot open the output of %s: %v", c.Name, err)
		}
		defer out.Close()
		cmd.Stdout = out
	}
	// A group of its own, so that the cleanup reaches what it started.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: c.User}
	p.started = time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatalf("cannot start %s: %v", c.Name, err)
	}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		if t.Failed() && (p.Running() || p.err != nil) {
			t.Logf("end of the log of %s (%s):\n%s", p.Name, p.LogPath, p.Tail(60))
		}
		if p.Running() {
			_ = p.Stop(15 * time.Second)
		}
		// Whatever it left behind in its group.
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	})
	return p
}

// PID is the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Started is when it was started.
func (p *Process) Started() time.Time { return p.started }

// Running tells that it has not ended.
func (p *Process) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Stop asks it to end (SIGTERM), waits, and returns how it ended. After the
// time it is killed, and the error says so.
func (p *Process) Stop(within time.Duration) error {
	if p.Running() {
		if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("cannot ask %s to end: %w", p.Name, err)
		}
	}
	return p.Wait(within)
}

// Wait waits for its end and returns how it ended, nil for exit status 0. After
// the time it is killed, and the error says so.
func (p *Process) Wait(within time.Duration) error {
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-p.done:
		return p.err
	case <-timer.C:
	}
	_ = syscall.Kill(-p.PID(), syscall.SIGKILL)
	<-p.done
	return fmt.Errorf("%s did not end within %s and was killed", p.Name, within)
}

// Kill ends it with SIGKILL, it alone and not its children, and waits.
func (p *Process) Kill() {
	p.t.Helper()
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Fatalf("cannot kill %s: %v", p.Name, err)
	}
	<-p.done
}

// Stdout is what it wrote to standard output so far. Only with KeepStdout.
func (p *Process) Stdout() []byte {
	p.t.Helper()
	b, err := os.ReadFile(p.stdout)
	if err != nil {
		p.t.Fatalf("cannot read the output of %s: %v", p.Name, err)
	}
	return b
}

// Tail is the end of its log, at most so many lines.
func (p *Process) Tail(lines int) string {
	f, err := os.Open(p.LogPath)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	const most = 64 << 10
	if size, err := f.Seek(0, io.SeekEnd); err == nil {
		_, _ = f.Seek(max(0, size-most), io.SeekStart)
	}
	b, err := io.ReadAll(io.LimitReader(f, most))
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// LogContains tells that a text stands in its log.
func (p *Process) LogContains(text string) bool {
	b, err := os.ReadFile(p.LogPath)
	return err == nil && bytes.Contains(b, []byte(text))
}

// Output runs a program to its end and returns its standard output. A failure
// fails the test with what it wrote to standard error.
func Output(t testing.TB, within time.Duration, c Command) []byte {
	t.Helper()
	c.KeepStdout = true
	p := Start(t, c)
	if err := p.Wait(within); err != nil {
		t.Fatalf("%s %s: %v\n%s\n%s", c.Path, strings.Join(c.Args, " "), err, p.Tail(60), p.Stdout())
	}
	return p.Stdout()
}
