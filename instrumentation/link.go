package hoptrace

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// link delivers the requests of one signal to the collector, trying again while
// it is away.
type link struct {
	target    *target
	transport transport
	place     *place
	reporter  *reporter
	giveUp    time.Duration   // bounds how long one request is tried
	closing   <-chan struct{} // closed when the client closes: hurry
	debug     bool

	refusing atomic.Bool   // the last answer was a no
	unknown  atomic.Bool   // the last answer was that this signal is not taken at all
	rejected atomic.Uint64 // spans or points of requests that were taken but for them
}

// place is what is known of the address that several signals may go to.
type place struct{ away atomic.Bool }

// How long one request is tried while the collector is away. By then the queue of
// spans is full at any load that matters; measures are kept and sent with the
// next ones.
const (
	giveUpAfter         = 2 * time.Minute
	giveUpMeasuresAfter = 5 * time.Second
)

// Pauses between two tries. While the client closes there is not much time left.
const (
	firstPause   = 100 * time.Millisecond
	longestPause = 5 * time.Second
	closingPause = 100 * time.Millisecond
	maxAskedFor  = time.Minute // what a collector may ask to wait
)

// deliver sends a request with n spans or points in it. It keeps nothing of body.
// An error means that they are lost, or that ctx ended.
func (l *link) deliver(ctx context.Context, n int, body []byte) error {
	start := time.Now()
	pause := firstPause
	for attempt := 1; ; attempt++ {
		try, cancel := context.WithTimeout(ctx, l.target.timeout)
		a, err := l.transport.try(try, body)
		cancel()
		if l.debug {
			slog.Default().Debug("tracing: exported", "what", l.target.signal.name, "n", n, "bytes", len(body), "attempt", attempt,
				"took", time.Since(start), "rejected", a.rejected, "err", err)
		}
		if err == nil {
			l.taken(n, a)
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var r *refusal
		if !errors.As(err, &r) || !r.retry {
			l.unknown.Store(r != nil && r.unknown)
			if !l.refusing.Swap(true) {
				l.reporter.report(fmt.Errorf("%s refused %d %s: %w (this is said once until it takes some; see Counts)", l.where(), n, l.target.signal.name, err))
			}
			return err
		}
		if !l.place.away.Swap(true) {
			l.reporter.report(fmt.Errorf("cannot export %d %s to %s: %w (is the hoptrace collector running? this is said once until it answers; see Counts)", n, l.target.signal.name, l.where(), err))
		}
		if time.Since(start) >= l.giveUp && !l.hurry() {
			return err
		}
		if err := l.wait(ctx, max(pause, min(r.after, maxAskedFor))); err != nil {
			return err
		}
		pause = min(2*pause, longestPause)
	}
}

// hurry tells whether the client closes: ctx bounds the tries then.
func (l *link) hurry() bool {
	select {
	case <-l.closing:
		return true
	default:
		return false
	}
}

// wait waits for d, more or less so that many programs do not come at once; for
// less while the client closes.
func (l *link) wait(ctx context.Context, d time.Duration) error {
	d += time.Duration(rand.Int64N(int64(d)/4 + 1))
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-l.closing:
	}
	timer.Reset(min(d, closingPause))
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *link) taken(n int, a answer) {
	l.place.away.Store(false)
	l.unknown.Store(false)
	if a.rejected == 0 {
		l.refusing.Store(false)
		return
	}
	lost := min(uint64(a.rejected), uint64(n)) //nolint:gosec // neither is negative
	l.rejected.Add(lost)
	if !l.refusing.Swap(true) {
		l.reporter.report(fmt.Errorf("%s did not take %d of %d %s: %s (this is said once until it takes all; see Counts)",
			l.where(), lost, n, l.target.signal.name, clip(a.message, 300)))
	}
}

func (l *link) where() string { return l.target.url.Redacted() }

// reporter tells errors one at a time.
type reporter struct {
	mu sync.Mutex
	f  func(error)
}

func (r *reporter) report(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.f(err)
}
