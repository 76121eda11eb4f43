package measure

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/hoptrace/hoptrace/instrumentation/messaging/internal/protowire"
	"github.com/hoptrace/hoptrace/instrumentation/messaging/record"
)

// Scope is the instrumentation scope that measures belong to.
type Scope = record.Scope

// Batch is one request to export. The body is the registry's again after Export
// returned.
type Batch struct {
	Points int
	Body   []byte // ExportMetricsServiceRequest, protobuf
}

// ErrRejected is wrapped in what Export returns when the receiver will never take
// this batch, which is dropped and counted then. After any other error what the
// batch held is kept and merged with what is observed next.
var ErrRejected = errors.New("measure: the receiver refuses these points")

// ErrClosed is returned by Flush after Shutdown.
var ErrClosed = errors.New("measure: the registry was shut down")

// Options configure a [Registry]. The zero value of each field is usable.
type Options struct {
	Resource          []attribute.KeyValue
	ResourceSchemaURL string

	// Interval is the time between two collections. Zero or less means 10 s.
	Interval time.Duration

	// MaxGroups bounds the sets of attributes of one layout, as the cardinality
	// limit of the OpenTelemetry SDK bounds those of one instrument. Those above it
	// share one group. Zero or less means 2,000.
	MaxGroups int

	// MaxBatchBytes bounds one batch, before compression. Zero or less means 1 MiB.
	// What a single group holds is not split.
	MaxBatchBytes int

	// Export sends one batch. It is called by the registry's own goroutine, one call
	// at a time, and may block: observing never waits for it. Its context ends after
	// 30 s, which all batches of a collection share, or when Shutdown gives up. Nil
	// means that what is collected is dropped and counted.
	Export func(ctx context.Context, b Batch) error

	// OnOverflow is called once a layout, the first time that its MaxGroups was met,
	// with the name of its first instrument. Nil means that only Counts tells.
	OnOverflow func(instrument string, bound int)
}

// Counts are totals since the start.
type Counts struct {
	Exported   uint64 // points that Export took
	Dropped    uint64 // points lost: refused by the receiver, left at shutdown, samples beyond MaxSamples
	Failed     uint64 // calls of Export that failed
	Overflowed uint64 // how often a set of attributes was turned away to the overflow group
	Invalid    uint64 // observations that were no number or infinite, negative adds to counters
}

// Registry is an SDK for measures: it collects each Interval what groups saw
// since the last time and exports it as OTLP with delta temporality. A group that
// saw nothing sends nothing. Make it with [NewRegistry]; it runs one goroutine
// until [Registry.Shutdown].
type Registry struct {
	o Options

	kick    chan struct{}
	flush   chan chan error
	stop    chan struct{}
	done    chan struct{}
	stopped sync.Once
	err     error // of the last export; read after done

	ctx    context.Context // of exports; cancelled when Shutdown gives up
	cancel context.CancelFunc

	exported, lost, failed atomic.Uint64

	mu      sync.Mutex // guards the following
	meters  []*Meter
	byScope map[Scope]*Meter
	hooks   []*hook
	closed  bool

	sharedMu sync.Mutex // guards the following; mu may be taken under it
	shared   map[any]any
}

type hook struct {
	meter *Meter
	f     func() bool
}

const (
	defaultInterval      = 10 * time.Second
	defaultMaxBatchBytes = 1 << 20
	// exportTimeout bounds all exports of one collection.
	exportTimeout = 30 * time.Second
	// kickGap is the least time between a collection and the next one that a Kick
	// asks for.
	kickGap = time.Second
)

// NewRegistry starts a registry.
func NewRegistry(o Options) *Registry {
	if o.Interval <= 0 {
		o.Interval = defaultInterval
	}
	if o.MaxGroups <= 0 {
		o.MaxGroups = defaultMaxGroups
	}
	if o.MaxBatchBytes <= 0 {
		o.MaxBatchBytes = defaultMaxBatchBytes
	}
	if o.Export == nil {
		o.Export = func(context.Context, Batch) error { return ErrRejected }
	}
	r := &Registry{
		o:       o,
		kick:    make(chan struct{}, 1),
		flush:   make(chan chan error),
		stop:    make(chan struct{}),
		done:    make(chan struct{}),
		byScope: make(map[Scope]*Meter),
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	go r.run()
	return r
}

// Meter returns the meter of scope, the same for the same scope.
func (r *Registry) Meter(scope Scope) *Meter {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m := r.byScope[scope]; m != nil {
		return m
	}
	m := newMeter()
	m.registry, m.scope, m.closed = r, scope, r.closed
	m.maxGroups, m.onOverflow = r.o.MaxGroups, r.o.OnOverflow
	r.byScope[scope] = m
	r.meters = append(r.meters, m)
	return m
}

// Kick makes the registry collect and export soon, at most once a second; it does
// not wait.
func (r *Registry) Kick() {
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

// Flush exports what was observed before the call. It returns the first error of
// an export, whose data are kept, or the context's. It is safe for concurrent use.
func (r *Registry) Flush(ctx context.Context) error {
	reply := make(chan error, 1)
	select {
	case r.flush <- reply:
	case <-r.done:
		return ErrClosed
	case <-ctx.Done():
		return fmt.Errorf("measure: cannot begin to flush: %w", ctx.Err())
	}
	select {
	case err := <-reply:
		return err
	case <-ctx.Done():
		return fmt.Errorf("measure: flush still under way: %w", ctx.Err())
	}
}

// Shutdown exports what is left and ends the registry; observations after it are
// dropped. What cannot be sent before ctx ends, or fails, is lost and counted. It
// is safe to call twice.
func (r *Registry) Shutdown(ctx context.Context) error {
	r.stopped.Do(func() { close(r.stop) })
	select {
	case <-r.done:
		return r.err
	default:
	}
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		r.cancel()
		return fmt.Errorf("measure: cannot send what is left: %w", ctx.Err())
	}
}

// Counts returns the totals.
func (r *Registry) Counts() Counts {
	c := Counts{Exported: r.exported.Load(), Dropped: r.lost.Load(), Failed: r.failed.Load()}
	for _, m := range r.snapshot() {
		c.Dropped += m.dropped.Load()
		c.Overflowed += m.overflowed.Load()
		c.Invalid += m.invalid.Load()
	}
	return c
}

func (r *Registry) snapshot() []*Meter {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.meters[:len(r.meters):len(r.meters)]
}

func (r *Registry) onCollect(m *Meter, f func() bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hooks = append(r.hooks, &hook{m, f})
}

// callHooks calls what OnCollect was given and forgets what is over.
func (r *Registry) callHooks() {
	r.mu.Lock()
	hooks := slices.Clone(r.hooks)
	r.mu.Unlock()
	over := make(map[*hook]bool)
	for _, h := range hooks {
		if !h.call() {
			over[h] = true
		}
	}
	if len(over) > 0 {
		r.mu.Lock()
		r.hooks = slices.DeleteFunc(r.hooks, func(h *hook) bool { return over[h] })
		r.mu.Unlock()
	}
}

func (r *Registry) sharedValue(key any, create func() any) any {
	r.sharedMu.Lock()
	defer r.sharedMu.Unlock()
	v, ok := r.shared[key]
	if !ok {
		v = create()
		if r.shared == nil {
			r.shared = make(map[any]any)
		}
		r.shared[key] = v
	}
	return v
}

func (r *Registry) run() {
	defer close(r.done)
	defer r.cancel()
	e := r.encoder()
	next := time.Now().Add(r.o.Interval)
	timer := time.NewTimer(r.o.Interval)
	defer timer.Stop()
	var last time.Time
	collect := func() error {
		err := r.collect(e)
		last = time.Now()
		next = last.Add(r.o.Interval)
		timer.Reset(r.o.Interval)
		return err
	}
	for {
		select {
		case <-timer.C:
			_ = collect() // counted; what failed is kept
		case <-r.kick:
			if soon := last.Add(kickGap); soon.Before(next) {
				next = soon
				timer.Reset(time.Until(soon)) // at once if that is past
			}
		case reply := <-r.flush:
			reply <- collect()
		case <-r.stop:
			r.close()
			r.err = r.collect(e)
			return
		}
	}
}

// close makes all groups refuse what is observed from now on. What they saw can
// be collected still.
func (r *Registry) close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	for _, m := range r.snapshot() {
		m.mu.Lock()
		m.closed = true
		families := m.families
		m.mu.Unlock()
		for _, f := range families {
			f.mu.Lock()
			f.closed.Store(true)
			f.mu.Unlock()
		}
	}
}

func (r *Registry) encoder() *encoder {
	e := &encoder{schema: r.o.ResourceSchemaURL, max: r.o.MaxBatchBytes}
	b, at := protowire.Open(nil, resourceMetricsResource)
	set := attribute.NewSet(r.o.Resource...) // a copy, the last of equal keys
	b = protowire.AppendKeyValues(b, resourceAttributes, set.ToSlice())
	e.resource = protowire.Close(b, at)
	e.settle = r.settle
	return e
}

// collect takes what all groups saw, and exports it.
func (r *Registry) collect(e *encoder) error {
	ctx, cancel := context.WithTimeout(r.ctx, exportTimeout)
	defer cancel()
	e.err = nil
	e.send = func(b Batch) error { return r.export(ctx, b) }
	r.callHooks()
	for _, m := range r.snapshot() {
		m.mu.Lock()
		families := m.families[:len(m.families):len(m.families)]
		m.mu.Unlock()
		e.begin(m)
		for _, f := range families {
			if f.collect(e) {
				f.collect(e) // the overflow group has more now
			}
		}
		e.end()
	}
	e.flush()
	e.trim()
	return e.err
}

// collect hands what f's groups saw to e. It is true when some of it went to the
// overflow group, since no seat was left when a group woke.
func (f *family) collect(e *encoder) (spilled bool) {
	now := time.Now().UnixNano()
	list := f.take(now)
	for _, g := range list {
		cells, start, spill := g.drain()
		if !spill {
			e.add(held{group: g, cells: cells, start: start}, now)
			continue
		}
		f.mu.Lock()
		overflow, tell := f.turnAway()
		f.mu.Unlock()
		if tell {
			f.tell()
		}
		overflow.putBack(cells, start)
		f.reuse(cells)
		spilled = true
	}
	f.give(list)
	return spilled
}

// call is true as long as the hook is to be called again; one that panics is.
func (h *hook) call() (again bool) {
	defer func() {
		if recover() != nil {
			h.meter.panics.Add(1)
			again = true
		}
	}()
	return h.f()
}

func (r *Registry) export(ctx context.Context, b Batch) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("measure: cannot export %d points: panic: %v", b.Points, p)
		}
		if err != nil {
			r.failed.Add(1)
		} else {
			r.exported.Add(uint64(b.Points))
		}
	}()
	return r.o.Export(ctx, b)
}

// settle ends what a batch held of one group: err is what its export returned.
func (r *Registry) settle(h held, err error) {
	f := h.group.family
	if err != nil && (errors.Is(err, ErrRejected) || !h.group.putBack(h.cells, h.start)) {
		r.lost.Add(uint64(h.points))
	}
	f.reuse(h.cells)
}
