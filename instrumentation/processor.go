package hoptrace

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	collectpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// uploader encodes the SDK's spans and delivers them by a link.
type uploader struct{ link *link }

// Start implements otlptrace.Client.
func (uploader) Start(context.Context) error { return nil }

// Stop implements otlptrace.Client.
func (uploader) Stop(context.Context) error { return nil }

// UploadTraces implements otlptrace.Client.
func (u uploader) UploadTraces(ctx context.Context, spans []*tracepb.ResourceSpans) error {
	body, err := proto.Marshal(&collectpb.ExportTraceServiceRequest{ResourceSpans: spans})
	if err != nil {
		return fmt.Errorf("cannot encode spans: %w", err)
	}
	n := 0
	for _, rs := range spans {
		for _, ss := range rs.ScopeSpans {
			n += len(ss.Spans)
		}
	}
	return u.link.deliver(ctx, n, body)
}

// processor is a batching span processor that, unlike the SDK's, counts what it
// drops. Its queue is a slice under a mutex; one goroutine exports.
type processor struct {
	exporter     sdktrace.SpanExporter
	queueSize    int
	batchSize    int
	batchTimeout time.Duration

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

	exportCtx context.Context //nolint:containedctx // Shutdown ends exports by it
	cancel    context.CancelFunc
}

func newProcessor(l *link, r *resolved) *processor {
	p := &processor{
		exporter:     otlptrace.NewUnstarted(uploader{l}),
		queueSize:    r.QueueSize,
		batchSize:    r.BatchSize,
		batchTimeout: r.BatchTimeout,
		wake:         make(chan struct{}, 1),
		stop:         make(chan struct{}),
		done:         make(chan struct{}),
		settled:      make(chan struct{}),
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

func (p *processor) export(batch []sdktrace.ReadOnlySpan) {
	err := p.exporter.ExportSpans(p.exportCtx, batch)
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
	return err
}

func (p *processor) counts() Counts {
	p.mu.Lock()
	defer p.mu.Unlock()
	return Counts{Exported: p.exported, Dropped: p.dropped + p.failed, Queued: p.ended - p.exported - p.failed}
}
