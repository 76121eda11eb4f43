// Package lifecycle starts the components of a process in order and stops
// them in reverse. It knows nothing of what they do.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Component is a part of the process with a life of its own.
type Component interface {
	// Name says which one, for logs and errors: "collector".
	Name() string

	// Start returns once the component serves, or why it cannot. The context
	// bounds starting only.
	Start(ctx context.Context) error

	// Shutdown flushes, stops and waits, until ctx ends. It is safe twice and
	// without Start.
	Shutdown(ctx context.Context) error
}

// Doner is a Component that may end by itself. Done yields the reason, or is
// closed, when it does; it is asked for after Start. What arrives while the
// component is shut down is ignored.
type Doner interface {
	Done() <-chan error
}

// Options bound Run. The zero value is usable.
type Options struct {
	// StartTimeout bounds the start of each component. Zero means a minute.
	StartTimeout time.Duration

	// StopTimeout bounds the shutdown of each component. Zero means 15 s.
	StopTimeout time.Duration

	// Ready, when set, is called once every component has started.
	Ready func()
}

// ErrEnded is the reason of a component that ended without giving one.
var ErrEnded = errors.New("it ended by itself")

// Run starts the components in order, waits until ctx ends or one of them
// does, and stops those started in reverse. When one fails to start, those
// before it are stopped. It returns nil when ctx ended and everything stopped
// well; otherwise the errors name their component.
func Run(ctx context.Context, log *slog.Logger, opts Options, components ...Component) error {
	if opts.StartTimeout <= 0 {
		opts.StartTimeout = time.Minute
	}
	if opts.StopTimeout <= 0 {
		opts.StopTimeout = 15 * time.Second
	}

	// Watchers end with watchCtx; ended is buffered so that none waits.
	watchCtx, stopWatching := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, len(components))
	watchers := 0
	watched := make(chan struct{}, len(components))

	var started []Component
	var failure error
	for _, c := range components {
		if ctx.Err() != nil {
			break // told to stop while starting
		}
		begun := time.Now()
		if err := startOne(ctx, c, opts.StartTimeout); err != nil {
			if ctx.Err() == nil {
				failure = fmt.Errorf("cannot start %s: %w", c.Name(), err)
			}
			// It may have started in part.
			started = append(started, c)
			break
		}
		log.Debug("started", "component", c.Name(), "took", time.Since(begun))
		started = append(started, c)
		if d, ok := c.(Doner); ok {
			watchers++
			go func() {
				defer func() { watched <- struct{}{} }()
				select {
				case err := <-d.Done():
					if err == nil {
						err = ErrEnded
					}
					ended <- fmt.Errorf("%s stopped working: %w", c.Name(), err)
				case <-watchCtx.Done():
				}
			}()
		}
	}
	if failure == nil && ctx.Err() == nil {
		if opts.Ready != nil {
			opts.Ready()
		}
		select {
		case <-ctx.Done():
		case failure = <-ended:
			log.Error("component ended; stopping the others", "error", failure)
		}
	}
	stopWatching()
	for range watchers {
		<-watched
	}

	errs := []error{failure}
	for i := len(started) - 1; i >= 0; i-- {
		errs = append(errs, stopOne(ctx, log, started[i], opts.StopTimeout))
	}
	return errors.Join(errs...)
}

func startOne(ctx context.Context, c Component, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return c.Start(ctx)
}

// stopOne shuts c down, and goes on without it when it takes too long.
func stopOne(ctx context.Context, log *slog.Logger, c Component, limit time.Duration) error {
	begun := time.Now()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- c.Shutdown(ctx) }()
	// A component that minds ctx answers soon after it ends; one that does
	// not is left behind.
	grace := time.NewTimer(limit + limit/5)
	defer grace.Stop()
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("cannot stop %s cleanly: %w", c.Name(), err)
		}
		log.Debug("stopped", "component", c.Name(), "took", time.Since(begun))
		return nil
	case <-grace.C:
		return fmt.Errorf("cannot stop %s cleanly: it did not stop within %v", c.Name(), limit)
	}
}
