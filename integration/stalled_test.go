package integration

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/integration/harness"
	"github.com/hoptrace/hoptrace/integration/load"
)

// errAskedToWait is an event that was answered with 429.
var errAskedToWait = errors.New("asked to wait")

// TestAStalledPipelineLosesNothing stops the engine, so that nothing is stored, and
// sends until the broker's log and the collector's spool are full and senders are told
// to wait. What was acknowledged is in the store when the engine goes on.
func TestAStalledPipelineLosesNothing(t *testing.T) {
	h := harness.StartHoptrace(t, harness.Options{Settings: map[string]string{
		"embedded_kafka.max_log_bytes": "8388608", "embedded_kafka.segment_bytes": "262144", "spool.max_bytes": "2MiB", "collector.max_request_bytes": "1MiB",
		"overload.repeats.burst": "1000000000", "overload.repeats.keep": "1000000000", // all are handed on whole
	}})
	templates, err := load.NewEventTemplates(h.DSN(t))
	if err != nil {
		t.Fatal(err)
	}
	engine := h.Process.Descendants(t)
	if len(engine) == 0 {
		t.Fatal("hoptrace all has no child process: where is the engine?")
	}
	signal := func(s syscall.Signal) (err error) {
		for _, pid := range engine {
			err = errors.Join(err, syscall.Kill(pid, s))
		}
		return err
	}
	if err := signal(syscall.SIGSTOP); err != nil {
		t.Fatalf("cannot stop the engine: %v", err)
	}
	defer func() { _ = signal(syscall.SIGCONT) }() // it may be gone
	events := newLedger()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var waits atomic.Int64
	var wg sync.WaitGroup
	failed := make([]error, 8)
	for i := range failed {
		wg.Go(func() {
			failed[i] = func() error {
				conn, err := load.NewEventSender(ctx, strings.TrimPrefix(h.HTTP, "http://"))
				if err != nil {
					return err
				}
				defer conn.Close()
				for from := templates.Generator(uint8(i + 1)); waits.Load() < int64(len(failed)) && ctx.Err() == nil; {
					request, id := from.Next(time.Now())
					err := events.attempt([]string{hex.EncodeToString(id[:])}, func() error {
						wait, err := conn.Send(request)
						if err == nil && wait > 0 {
							waits.Add(1)
							return errAskedToWait
						}
						return err
					})
					if err != nil && !errors.Is(err, errAskedToWait) {
						return err
					}
				}
				return nil
			}()
		})
	}
	wg.Wait()
	if err := errors.Join(failed...); err != nil {
		t.Fatalf("a sender failed: %v\n%s", err, h.Process.Tail(20))
	}
	_, acked, refused := events.counts()
	t.Logf("the pipeline stood still: %d events acknowledged, %d refused", acked, refused)
	if waits.Load() == 0 {
		t.Fatal("nobody was told to wait within two minutes: the log and the spool did not fill up")
	}
	if !h.Process.LogContains("the log is full of records that the pipeline has not read") {
		t.Error("the broker did not say that its log is full")
	}
	if err := signal(syscall.SIGCONT); err != nil {
		t.Fatalf("cannot let the engine go on: %v", err)
	}
	harness.Until(t, "all acknowledged events are stored", 2*time.Minute, func() error {
		if n := int(h.Metrics(t).Sum("hoptrace_pipeline_events_stored_total")); n < acked {
			return fmt.Errorf("%d of %d", n, acked)
		}
		return nil
	})
	stopClean(t, h)
	events.check(t, "event", countByID(harness.OpenEngine(t, h.Data), "SELECT lower(hex(id)), count() FROM events GROUP BY id"))
}
