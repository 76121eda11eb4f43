package lifecycle

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// journal is what happened, in order.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) add(line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line)
}

// part is a component that writes down what happens to it.
type part struct {
	name     string
	journal  *journal
	startErr error
	stopFor  time.Duration // how long Shutdown takes
	deaf     bool          // Shutdown does not mind its context
	stopErr  error
}

func (p *part) Name() string { return p.name }

func (p *part) Start(context.Context) error {
	p.journal.add("start " + p.name)
	return p.startErr
}

func (p *part) Shutdown(ctx context.Context) error {
	p.journal.add("stop " + p.name)
	if p.deaf {
		ctx = context.Background()
	}
	select {
	case <-time.After(p.stopFor):
		return p.stopErr
	case <-ctx.Done():
		return ctx.Err()
	}
}

// mortal is a part that may end by itself.
type mortal struct {
	part
	done chan error
}

func (m *mortal) Done() <-chan error { return m.done }

func run(ctx context.Context, opts Options, cs ...Component) error {
	return Run(ctx, slog.New(slog.DiscardHandler), opts, cs...)
}

func checkJournal(t *testing.T, j *journal, want ...string) {
	t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	if diff := cmp.Diff(want, j.lines); diff != "" {
		t.Errorf("journal (-want +got):\n%s", diff)
	}
}

func checkError(t *testing.T, err error, want ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("Run = nil; want an error")
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("Run = %q; want it to contain %q", err, w)
		}
	}
}

func TestComponentsStartInOrderAndStopInReverse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var journal journal
		ctx, cancel := context.WithCancel(t.Context())
		ready := false
		go func() {
			time.Sleep(time.Hour)
			cancel()
		}()
		err := run(ctx, Options{Ready: func() { ready = true }},
			&part{name: "a", journal: &journal}, &part{name: "b", journal: &journal, stopFor: 5 * time.Second})
		if err != nil || !ready {
			t.Errorf("Run = %v, ready %t; want nil, true", err, ready)
		}
		checkJournal(t, &journal, "start a", "start b", "stop b", "stop a")
	})
}

func TestFailingStartStopsThoseStarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var journal journal
		boom := errors.New("no such directory")
		err := run(t.Context(), Options{Ready: func() { t.Error("ready was called") }},
			&part{name: "a", journal: &journal}, &part{name: "b", journal: &journal, startErr: boom}, &part{name: "c", journal: &journal})
		checkError(t, err, "cannot start b", "no such directory")
		checkJournal(t, &journal, "start a", "start b", "stop b", "stop a")
	})
}

func TestComponentThatDiesEndsTheRunWithItsName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var journal journal
		m := &mortal{part{name: "engine", journal: &journal}, make(chan error, 1)}
		go func() {
			time.Sleep(time.Minute)
			m.done <- errors.New("signal: killed")
		}()
		err := run(t.Context(), Options{}, &part{name: "a", journal: &journal}, m, &part{name: "z", journal: &journal})
		checkError(t, err, "engine stopped working", "signal: killed")
		checkJournal(t, &journal, "start a", "start engine", "start z", "stop z", "stop engine", "stop a")
	})
}

func TestComponentThatClosesDoneEndsTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var journal journal
		m := &mortal{part{name: "engine", journal: &journal}, make(chan error)}
		close(m.done)
		if err := run(t.Context(), Options{}, m); !errors.Is(err, ErrEnded) {
			t.Errorf("Run = %v; want ErrEnded", err)
		}
	})
}

func TestStoppingIsBoundedAndTheOthersStillStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var journal journal
		ctx, cancel := context.WithCancel(t.Context())
		cancel2 := time.AfterFunc(time.Second, cancel)
		defer cancel2.Stop()
		begun := time.Now()
		err := run(ctx, Options{StopTimeout: 10 * time.Second},
			&part{name: "a", journal: &journal, stopErr: errors.New("disk full")},
			&part{name: "slow", journal: &journal, stopFor: time.Hour},
			&part{name: "deaf", journal: &journal, stopFor: time.Hour, deaf: true})
		checkError(t, err, "cannot stop slow cleanly: context deadline exceeded", "deaf cleanly: it did not stop within 10s", "cannot stop a cleanly: disk full")
		if took := time.Since(begun); took != 23*time.Second {
			t.Errorf("stopping took %v; want 1s + 12s + 10s", took)
		}
		checkJournal(t, &journal, "start a", "start slow", "start deaf", "stop deaf", "stop slow", "stop a")
		time.Sleep(2 * time.Hour) // the one left behind ends before the bubble
	})
}

func TestBeingToldToStopWhileStartingStartsNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var journal journal
		ctx, cancel := context.WithCancel(t.Context())
		err := run(ctx, Options{}, &canceller{part{name: "a", journal: &journal}, cancel}, &part{name: "b", journal: &journal})
		if err != nil {
			t.Errorf("Run = %v; want nil", err)
		}
		checkJournal(t, &journal, "start a", "stop a")
	})
}

// canceller ends the run's context while it starts.
type canceller struct {
	part
	cancel context.CancelFunc
}

func (c *canceller) Start(ctx context.Context) error {
	c.cancel()
	return c.part.Start(ctx)
}
