package record

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// round is one flush, which many callers may wait for.
type round struct {
	lost uint64 // Recorder.lost when the first of them came
	done chan struct{}
	err  error // once done is closed
}

// Flush exports all that was put before and returns when that is done. The
// error says how many spans failed meanwhile and why, or that ctx ended first;
// the export goes on then. Spans that were dropped before are no error: see
// [Recorder.Counts].
func (r *Recorder) Flush(ctx context.Context) error {
	r.mu.Lock()
	if r.round == nil {
		r.round = &round{lost: r.lost.Load(), done: make(chan struct{})}
	}
	f := r.round
	r.mu.Unlock()
	r.rouse()
	select {
	case <-f.done:
		return f.err
	case <-r.ended: // and what was put before was exported or counted
		select {
		case <-f.done:
			return f.err
		default:
			return nil
		}
	case <-ctx.Done():
		return fmt.Errorf("record: %d spans still wait for their export: %w", r.Counts().Queued, ctx.Err())
	}
}

// Shutdown flushes, and ends the recorder: spans put later are dropped and
// counted. When ctx ends first, the context of Export is cancelled and what
// still waits is dropped. Calling it again is harmless: it waits for the same
// end and returns the same error.
func (r *Recorder) Shutdown(ctx context.Context) error {
	r.mu.Lock()
	if !r.stopping {
		r.stopping = true
		if r.round == nil {
			r.round = &round{lost: r.lost.Load(), done: make(chan struct{})}
		}
		r.last = r.round
	}
	f := r.last
	r.mu.Unlock()
	r.rouse()
	select {
	case <-r.ended:
		return f.err
	default:
	}
	select {
	case <-r.ended:
		return f.err
	case <-ctx.Done():
		queued := r.Counts().Queued
		r.cancel()
		return fmt.Errorf("record: shut down with %d spans not exported: %w", queued, ctx.Err())
	}
}

// run is the recorder's goroutine: it encodes chunks as they fill, exports
// batches as they fill, and both with what there is at every tick and flush.
func (r *Recorder) run(b *batch) {
	defer close(r.ended)
	defer r.cancel()
	tick := time.NewTicker(r.o.Interval)
	defer tick.Stop()
	for {
		ticked := false
		select {
		case <-r.wake:
		case <-tick.C:
			ticked = true
		}
		r.mu.Lock()
		f, stopping := r.round, r.stopping
		r.round = nil
		r.mu.Unlock()

		if ticked || f != nil {
			r.steal(stopping)
		}
		r.encode(b)
		if ticked || f != nil {
			r.export(b)
		}
		if ticked {
			r.shrink()
		}
		if f != nil {
			r.finish(f)
		}
		if stopping {
			return
		}
	}
}

func (r *Recorder) finish(f *round) {
	if n := r.lost.Load() - f.lost; n > 0 {
		f.err = fmt.Errorf("record: %d spans were not exported: %w", n, r.lastErr)
	}
	close(f.done)
}

// encode empties the queue as it is now, exporting what fills a batch.
func (r *Recorder) encode(b *batch) {
	r.mu.Lock()
	n := len(r.full)
	r.mu.Unlock()
	for range n {
		r.mu.Lock()
		c := r.full[0]
		copy(r.full, r.full[1:])
		r.full[len(r.full)-1] = nil
		r.full = r.full[:len(r.full)-1]
		streams := r.streams
		b.scopes = r.scopes
		r.mu.Unlock()
		for i := range c.recs {
			q := &c.recs[i]
			for st := streams[q.stream]; !b.add(st, q, c.arena); {
				r.export(b)
			}
		}
		r.recycle(c)
	}
}

var (
	errNoExport = errors.New("the recorder has no Export")
	errStopped  = errors.New("the recorder was shut down")
)

// export sends the batch, if it has spans, and counts what became of them.
func (r *Recorder) export(b *batch) {
	if b.spans == 0 {
		return
	}
	full := b.finish()
	err := r.send(full)
	switch {
	case err == nil:
		r.exported.Add(uint64(full.Spans))
	case errors.Is(err, errStopped):
		r.dropped.Add(uint64(full.Spans))
	default:
		r.failed.Add(uint64(full.Spans))
	}
	if err != nil {
		r.lastErr = err
		r.lost.Add(uint64(full.Spans))
	}
	r.settle(full.Spans)
}

func (r *Recorder) send(b Batch) (err error) {
	if r.o.Export == nil {
		return errNoExport
	}
	if r.ctx.Err() != nil {
		return errStopped
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic in Export: %v", p)
		}
	}()
	return r.o.Export(r.ctx, b)
}
