package record

import (
	"context"
	"encoding/binary"
	"hash/maphash"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// Options configure a [Recorder].
type Options struct {
	Resource          []attribute.KeyValue // the last of a key counts
	ResourceSchemaURL string

	// MaxSpans bounds the spans that wait, those being exported included: above
	// it new ones are dropped and counted. Zero or less means 65,536. Each takes
	// about 300 bytes.
	MaxSpans int
	// MaxExtraBytes bounds the encoded [Extra] that waits, as MaxSpans does the
	// spans. Zero or less means 32 MiB.
	MaxExtraBytes int
	// Interval is how long a span waits at most while Export keeps up. Zero or
	// less means 1 s.
	Interval time.Duration
	// MaxBatchBytes bounds the body of a batch that has more than one span. Zero
	// or less means 1 MiB.
	MaxBatchBytes int

	// Export sends a batch. It is called from the recorder's own goroutine, one
	// call at a time, and may block: no Put waits for it. It is not called again
	// with a batch for which it returned an error or panicked: retry inside.
	// Its ctx ends when a Shutdown runs out of time. Without Export every batch
	// fails.
	Export func(ctx context.Context, b Batch) error

	// Decide samples a span that has trace id; parent may be invalid. It runs in
	// Begin. Nil means as the parent, roots by Ratio.
	Decide func(ctx context.Context, parent trace.SpanContext, st *Stream, id trace.TraceID) bool
	// DecideRoots tells that Decide is for root spans: others are as their parents,
	// and it is not asked.
	DecideRoots bool
	// Ratio of the root spans to sample, used when Decide is nil: 1 is all, zero
	// or less none. It chooses the same traces as the SDK's TraceIDRatioBased.
	Ratio float64

	// Provider is what the TracerProvider method of a live span returns. Nil means
	// one whose spans do nothing.
	Provider trace.TracerProvider
}

// Batch is a number of spans as an OTLP ExportTraceServiceRequest (protobuf).
type Batch struct {
	Spans int
	Body  []byte // the recorder's again when Export returns
}

// Counts are the fates of the spans that were put. While spans are put, Queued
// may count some twice.
type Counts struct {
	Exported uint64 // Export returned nil
	Dropped  uint64 // there was no room, or the recorder was shut down
	Failed   uint64 // Export returned an error or panicked
	Queued   uint64 // waiting or being exported
}

// Recorder records spans. All its methods may be called at once.
type Recorder struct {
	o          Options
	ratio      uint64 // of 1<<63
	extraLimit int
	shards     []shard
	mask       uint32

	exported, dropped, failed atomic.Uint64
	done                      atomic.Uint64 // exported, failed, or dropped after they were queued
	lost                      atomic.Uint64 // the latter two
	extraBytes                atomic.Int64  // waiting
	exhausted                 atomic.Bool   // no chunk can be had; set and cleared under mu

	mu        sync.Mutex // guards the following; held for moments only
	streams   []*Stream  // appended to only
	byHash    map[uint64][]uint32
	seed      maphash.Seed
	scopes    []encodedScope
	full      []*chunk
	free      []*chunk
	alive     int    // chunks that exist
	leastFree int    // since the last tick
	credit    int    // spans that may still be promised room
	handed    uint64 // spans that left the shards
	round     *round // the flush that has not begun
	stopping  bool
	last      *round // that of Shutdown

	wake   chan struct{}
	ended  chan struct{}
	ctx    context.Context // of Export
	cancel context.CancelFunc

	lastErr error // of Export; only for the goroutine
}

const (
	maxShards     = 16
	spansPerShard = 1024 // a shard holds up to chunkSpans of MaxSpans: few enough not to matter
)

// New makes a recorder, whose goroutine ends with [Recorder.Shutdown].
func New(o Options) *Recorder {
	o.MaxSpans = orElse(o.MaxSpans, 1<<16)
	o.MaxExtraBytes = orElse(o.MaxExtraBytes, 32<<20)
	o.Interval = orElse(o.Interval, time.Second)
	o.MaxBatchBytes = orElse(o.MaxBatchBytes, 1<<20)
	shards := 1
	for shards < maxShards && shards < runtime.GOMAXPROCS(0) && o.MaxSpans >= 2*shards*spansPerShard {
		shards *= 2
	}
	r := &Recorder{
		o: o, shards: make([]shard, shards), mask: uint32(shards - 1), credit: o.MaxSpans,
		extraLimit: min(maxExtraBytes, max(o.MaxBatchBytes/2, smallestExtraBytes)),
		byHash:     make(map[uint64][]uint32), seed: maphash.MakeSeed(),
		wake: make(chan struct{}, 1), ended: make(chan struct{}),
	}
	if o.Ratio > 0 { // not NaN either
		r.ratio = 1 << 63
		if o.Ratio < 1 {
			r.ratio = uint64(o.Ratio * (1 << 63))
		}
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	go r.run(newBatch(encodeResource(&r.o), o.MaxBatchBytes))
	return r
}

func orElse[T int | time.Duration](v, otherwise T) T {
	if v <= 0 {
		return otherwise
	}
	return v
}

// Begin draws the ids of a span in the parent's trace, or in a new one if the
// parent has none, and tells whether it is sampled. Unsampled spans get ids too,
// for headers.
func (r *Recorder) Begin(ctx context.Context, parent trace.SpanContext, st *Stream) (trace.TraceID, trace.SpanID, bool) {
	id := parent.TraceID()
	for !id.IsValid() {
		// The runtime's generator: one state a thread, no lock, seeded by the system.
		binary.NativeEndian.PutUint64(id[:8], rand.Uint64())
		binary.NativeEndian.PutUint64(id[8:], rand.Uint64())
	}
	return id, r.NewSpanID(), r.sample(ctx, parent, st, id)
}

func (r *Recorder) sample(ctx context.Context, parent trace.SpanContext, st *Stream, id trace.TraceID) bool {
	if parent.IsValid() && r.ByParent() {
		return parent.IsSampled()
	}
	if r.o.Decide != nil {
		return r.o.Decide(ctx, parent, st, id)
	}
	return binary.BigEndian.Uint64(id[8:])>>1 < r.ratio
}

// ByParent reports whether spans with a parent are sampled as that is.
func (r *Recorder) ByParent() bool { return r.o.Decide == nil || r.o.DecideRoots }

// NewSpanID draws a span id. It is never zero.
func (r *Recorder) NewSpanID() (id trace.SpanID) {
	for !id.IsValid() {
		binary.NativeEndian.PutUint64(id[:], rand.Uint64())
	}
	return id
}

// Counts returns the fates of the spans so far.
func (r *Recorder) Counts() Counts {
	// In this order a span that moves meanwhile is counted twice rather than not.
	done := r.done.Load()
	c := Counts{Exported: r.exported.Load(), Dropped: r.dropped.Load(), Failed: r.failed.Load()}
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.Lock()
		if s.cur != nil {
			c.Queued += uint64(len(s.cur.recs))
		}
		s.mu.Unlock()
	}
	r.mu.Lock()
	c.Queued += r.handed - done
	r.mu.Unlock()
	return c
}
