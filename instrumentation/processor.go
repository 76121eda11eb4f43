package hoptrace

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// processor is a batching span processor that, unlike the SDK's, counts what it
// drops and tells once when the collector does not answer. Its queue is a slice
// under a mutex; one goroutine exports.
type processor struct {
	exporter      sdktrace.SpanExporter
	queueSize     int
	batchSize     int
	batchTimeout  time.Duration
	exportTimeout time.Duration
	endpoint      string
	onError       func(error)
	debug         bool

	wake chan struct{} // capacity 1: there is a full batch, or a flush to do
	stop chan struct{} // closed by Shutdown
	done chan struct{} // closed by the goroutine

	mu       sync.Mutex
	queue    []sdktrace.ReadOnlySpan
	flushing bool // export even a part of a batch
	closed   bool
	ended    uint64 // spans taken into the queue
	exported uint64
	failed   uint64 // taken, but their export failed for good
	dropped  uint64 // never taken
	settled  chan struct{}

	failing   bool // the last export failed; owned by the goroutine
	exportCtx context.Context
	cancel    context.CancelFunc

	reporting sync.Mutex // onError is called one at a time
}

func newProcessor(exporter sdktrace.SpanExporter, r resolved) *processor {
	p := &processor{
		exporter:      exporter,
		queueSize:     r.QueueSize,
		batchSize:     r.BatchSize,
		batchTimeout:  r.BatchTimeout,
		exportTimeout: r.ExportTimeout,
		endpoint:      r.endpoint.Redacted(),
		onError:       r.OnError,
		debug:         r.Debug,
		wake:          make(chan struct{}, 1),
		stop:          make(chan struct{}),
		done:          make(chan struct{}),
		settled:       make(chan struct{}),
	}
	if p.onError == nil {
		p.onError = logError
	}
	p.exportCtx, p.cancel = context.WithCancel(context.Background())
	go p.run()
	return p
}

// OnStart implements sdktrace.SpanProcessor.
func (p *processor) OnStart(context.Context, sdktrace.ReadWriteSpan) {}

// OnEnd implements sdktrace.SpanProcessor. It never blocks.
func (p *processor) OnEnd(s sdktrace.ReadOnlySpan) {
	if !s.SpanContext().IsSampled() {
		return
	}
	p.mu.Lock()
	if p.closed || len(p.queue) >= p.queueSize {
		p.dropped++
		p.mu.Unlock()
		return
	}
	p.queue = append(p.queue, s)
	p.ended++
	full := len(p.queue) == p.batchSize
	p.mu.Unlock()
	if full {
		p.notify()
	}
}

func (p *processor) notify() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *processor) run() {
	defer close(p.done)
	timer := time.NewTimer(p.batchTimeout)
	defer timer.Stop()
	for {
		all := false
		stopping := false
		select {
		case <-timer.C:
			all = true
			timer.Reset(p.batchTimeout)
		case <-p.wake:
		case <-p.stop:
			all, stopping = true, true
		}
		for {
			batch := p.next(all)
			if batch == nil {
				break
			}
			p.export(batch)
			if p.exportCtx.Err() != nil {
				return
			}
		}
		if stopping {
			return
		}
	}
}

// next takes a batch off the queue; nil when there is none to send yet.
func (p *processor) next(all bool) []sdktrace.ReadOnlySpan {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.queue)
	if n == 0 {
		p.flushing = false
		return nil
	}
	if n < p.batchSize && !all && !p.flushing {
		return nil
	}
	n = min(n, p.batchSize)
	batch := make([]sdktrace.ReadOnlySpan, n)
	copy(batch, p.queue)
	rest := copy(p.queue, p.queue[n:])
	clear(p.queue[rest:]) // let go of the spans
	p.queue = p.queue[:rest]
	return batch
}

// giveUpAfter bounds how long one batch is tried while the collector is away. By
// then the queue is full at any load that matters.
const giveUpAfter = 2 * time.Minute

func (p *processor) export(batch []sdktrace.ReadOnlySpan) {
	start := time.Now()
	var err error
	for attempt := 0; ; attempt++ {
		ctx, cancel := context.WithTimeout(p.exportCtx, p.exportTimeout)
		err = p.exporter.ExportSpans(ctx, batch)
		expired := ctx.Err() != nil
		cancel()
		if err != nil && !p.failing && p.exportCtx.Err() == nil {
			p.failing = true
			p.report(fmt.Errorf("cannot export %d spans to %s: %w (is the hoptrace collector running? this is said once until it answers; see Counts)", len(batch), p.endpoint, err))
		}
		if err == nil || p.exportCtx.Err() != nil || time.Since(start) > giveUpAfter || !expired && !isAway(err) {
			break
		}
		select {
		case <-p.exportCtx.Done():
		case <-time.After(retryPause):
		}
	}
	if err == nil {
		p.failing = false
	}
	n := uint64(len(batch))
	p.mu.Lock()
	if err != nil {
		p.failed += n
	} else {
		p.exported += n
	}
	close(p.settled)
	p.settled = make(chan struct{})
	p.mu.Unlock()
	if p.debug {
		slog.Default().Debug("tracing: exported", "spans", n, "took", time.Since(start), "err", err)
	}
}

// retryPause is between two tries of one batch. The exporter has its own, growing
// pauses inside each.
const retryPause = 500 * time.Millisecond

// isAway tells whether err means that the collector could not be reached, so that
// the same batch may be welcome later. Anything else is an answer: no.
func isAway(err error) bool {
	var network net.Error
	return status.Code(err) == codes.Unavailable || errors.As(err, &network) || errors.Is(err, context.DeadlineExceeded)
}

func (p *processor) report(err error) {
	p.reporting.Lock()
	defer p.reporting.Unlock()
	p.onError(err)
}

var errNotExported = errors.New("spans were dropped")

// ForceFlush sends what has ended so far. The error says that not all of it
// arrived.
func (p *processor) ForceFlush(ctx context.Context) error {
	p.mu.Lock()
	want, failedBefore := p.ended, p.failed
	p.flushing = len(p.queue) > 0
	p.mu.Unlock()
	p.notify()
	for {
		p.mu.Lock()
		settled := p.settled
		doneCount, failed := p.exported+p.failed, p.failed
		if len(p.queue) > 0 && doneCount < want {
			p.flushing = true
		}
		p.mu.Unlock()
		if doneCount >= want {
			if failed > failedBefore {
				return errNotExported
			}
			return nil
		}
		p.notify()
		select {
		case <-settled:
		case <-p.done:
			return errNotExported
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Shutdown sends what is left until ctx ends, then gives up on it.
func (p *processor) Shutdown(ctx context.Context) error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	p.closed = true
	p.mu.Unlock()
	close(p.stop)
	var err error
	select {
	case <-p.done:
	case <-ctx.Done():
		err = ctx.Err()
		p.cancel()
		<-p.done // an export returns soon after its context ended
	}
	p.cancel()
	p.mu.Lock()
	p.failed += uint64(len(p.queue))
	p.queue = nil
	p.mu.Unlock()
	// The exporter gets a moment of its own: its connection is to be closed even
	// when the collector took all the time.
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	return errors.Join(err, p.exporter.Shutdown(end))
}

func (p *processor) counts() Counts {
	p.mu.Lock()
	defer p.mu.Unlock()
	return Counts{Exported: p.exported, Dropped: p.dropped + p.failed, Queued: p.ended - p.exported - p.failed}
}
