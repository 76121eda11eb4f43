package otelfranz

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

// delivered is the state of one record from its fetch to the end of its
// processing. It travels in the record's Context.
type delivered struct {
	base     context.Context //nolint:containedctx // the client's, shown to whoever asks the record
	within   atomic.Pointer[processing]
	delivery messaging.Delivery
	current  processing                 // what within points to
	claimed  atomic.Bool                // its processing has begun
	guessed  atomic.Pointer[processing] // whose end was estimated

	// Of the pending list.
	listed     bool
	superseded int64 // the next poll was called
	prev, next *delivered
}

// processing is where a record is processed: what the record's Context shows
// from then on, so that a record sent on belongs to it.
type processing struct {
	ctx context.Context //nolint:containedctx // shown by the record's Context
	p   *messaging.Processing
}

type deliveredKey struct{}

// Deadline is that of the client's context.
func (d *delivered) Deadline() (time.Time, bool) { return d.base.Deadline() }

// Done is that of the client's context: a record sent on is not given up because
// its processing is over.
func (d *delivered) Done() <-chan struct{} { return d.base.Done() }

// Err is that of the client's context.
func (d *delivered) Err() error { return d.base.Err() }

// Value finds the state for us, and for everyone else what the context of the
// record's processing holds.
func (d *delivered) Value(key any) any {
	if _, ok := key.(deliveredKey); ok {
		return d
	}
	if w := d.within.Load(); w != nil && w.ctx != nil {
		return w.ctx.Value(key)
	}
	return d.base.Value(key)
}

// deliveredOf returns the state of a record that the hooks have seen.
func deliveredOf(r *kgo.Record) *delivered {
	if r.Context == nil {
		return nil
	}
	d, ok := r.Context.(*delivered)
	if !ok {
		d, _ = r.Context.Value(deliveredKey{}).(*delivered)
	}
	if d == nil || d.delivery.Offset != r.Offset || d.delivery.Partition.ID != r.Partition || d.delivery.Partition.Topic != r.Topic {
		return nil // the Context of another record
	}
	return d
}

type deliverySlab struct {
	mu   sync.Mutex
	free []delivered
}

func (s *deliverySlab) next() *delivered {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.free) == 0 {
		s.free = make([]delivered, slabSize)
	}
	d := &s.free[0]
	s.free = s.free[1:]
	return d
}

// poll is the poll that is under way, or was last.
type poll struct {
	mu     sync.Mutex
	ctx    context.Context //nolint:containedctx // hooks are not given it
	called int64
}

func (p *poll) set(ctx context.Context, called int64) {
	p.mu.Lock()
	p.ctx, p.called = ctx, called
	p.mu.Unlock()
}

func (p *poll) get() (ctx context.Context, called int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx == nil {
		return context.Background(), p.called
	}
	return p.ctx, p.called
}

// OnPollStart implements kgo.HookPollStart. It ends the process spans of records
// polled before, unless the program does so itself.
func (h *Hooks) OnPollStart(ctx context.Context) {
	defer h.core.Guard()
	called := h.core.Now()
	h.polling.set(ctx, called)
	for _, d := range h.pending.supersede(called) {
		h.estimate(d, called)
	}
}

// OnFetchBatchRead implements kgo.HookFetchBatchRead.
func (h *Hooks) OnFetchBatchRead(meta kgo.BrokerMetadata, topic string, partition int32, _ kgo.FetchBatchMetrics) {
	defer h.core.Guard()
	h.fetches.read(meta.NodeID, topicPartition{topic, partition})
}

// OnFetchRecordBuffered implements kgo.HookFetchRecordBuffered: it notes which
// fetch brought the record. Nothing is traced before the record is polled.
func (h *Hooks) OnFetchRecordBuffered(r *kgo.Record) {
	defer h.core.Guard()
	c := h.client.Load()
	if c == nil || !messaging.Enabled() {
		return
	}
	d := h.deliveries.next()
	if d.base = r.Context; d.base == nil {
		d.base = context.Background()
	}
	t, part := h.fetches.of(c.consumer, topicPartition{r.Topic, r.Partition})
	d.delivery.Partition, d.delivery.Offset = part, r.Offset
	if !h.shared.Load() {
		d.delivery.Asked, d.delivery.Answered, d.delivery.Broker = t.asked, t.answered, t.broker
	}
	r.Context = d
}

// OnFetchRecordUnbuffered implements kgo.HookFetchRecordUnbuffered: a polled
// record is about to be handed to the program.
func (h *Hooks) OnFetchRecordUnbuffered(r *kgo.Record, polled bool) {
	defer h.core.Guard()
	d, ok := r.Context.(*delivered)
	if !ok {
		return
	}
	if !polled || !messaging.Enabled() {
		r.Context = d.base
		return
	}
	describe(&d.delivery, r)
	d.delivery.Handed = h.core.Now()
	var ctx context.Context
	ctx, d.delivery.Called = h.polling.get()
	if d.delivery.Asked == 0 {
		h.unknownFetches.Add(1)
	}
	messaging.Deliver(ctx, &d.delivery, r.Headers)
	for _, old := range h.pending.add(d) {
		h.estimate(old, old.endOr(d.delivery.Handed))
	}
}

// describe fills in what the record itself says.
func describe(d *messaging.Delivery, r *kgo.Record) {
	if kind := r.Attrs.TimestampType(); kind >= 0 && !r.Timestamp.IsZero() {
		if ms := r.Timestamp.UnixMilli(); ms > 0 {
			d.RecordTime, d.LogAppend = ms*int64(time.Millisecond), kind == 1
		}
	}
	d.BodySize, d.Tombstone = len(r.Value), r.Value == nil
	d.SetKey(r.Key)
}

// PollFetches is kgo.Client.PollFetches followed by [Hooks.Observe].
func (h *Hooks) PollFetches(ctx context.Context) kgo.Fetches { return h.PollRecords(ctx, 0) }

// PollRecords is kgo.Client.PollRecords followed by [Hooks.Observe].
func (h *Hooks) PollRecords(ctx context.Context, maxPollRecords int) kgo.Fetches {
	c := h.client.Load()
	if c == nil {
		return kgo.NewErrFetch(errNoClient)
	}
	called := h.core.Now()
	fs := c.kgo.PollRecords(ctx, maxPollRecords)
	h.Observe(fs)
	if messaging.Enabled() && ctx.Err() == nil {
		fs.EachError(func(topic string, _ int32, err error) {
			if !errors.Is(err, kgo.ErrClientClosed) {
				c.consumer.ReceiveFailed(ctx, topic, called, err, errorType)
			}
		})
	}
	return fs
}

// Observe takes the high watermarks from what was polled, which no hook tells:
// the lag of each partition is measured from them. Call it right after
// kgo.Client.PollFetches, or use [Hooks.PollFetches].
func (h *Hooks) Observe(fs kgo.Fetches) {
	defer h.core.Guard()
	c := h.client.Load()
	if c == nil || !messaging.Enabled() {
		return
	}
	for i := range fs {
		for j := range fs[i].Topics {
			t := &fs[i].Topics[j]
			for k := range t.Partitions {
				h.observe(c, t.Topic, &t.Partitions[k])
			}
		}
	}
}

func (h *Hooks) observe(c *client, topic string, p *kgo.FetchPartition) {
	n := len(p.Records)
	if p.Err != nil || p.HighWatermark <= 0 || n == 0 {
		return
	}
	var part *messaging.Partition
	for _, r := range p.Records {
		if d, ok := r.Context.(*delivered); ok {
			d.delivery.HighWatermark, part = p.HighWatermark, d.delivery.Partition
		}
	}
	if part == nil {
		part = c.consumer.Partition(topic, p.Partition)
	}
	part.Watermark(p.HighWatermark, h.age(p.Records[n-1]))
}

// age is how old a record is by its timestamp, zero when it has none.
func (h *Hooks) age(r *kgo.Record) time.Duration {
	if r.Attrs.TimestampType() < 0 || r.Timestamp.UnixMilli() <= 0 {
		return 0
	}
	return time.Duration(h.core.Now() - r.Timestamp.UnixNano())
}
