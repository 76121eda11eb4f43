package otelkafkago

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

// Reader is a kafka.Reader that records, for each record it hands out, a receive
// span and a process span with the times of the fetch that brought it, and a
// settle span for each commit.
//
// The end of processing is exact with [Reader.Process], [Reader.ProcessBatch] and
// [Reader.StartProcess]. Without them the process span ends at the next
// FetchMessage or ReadMessage on this Reader, at the CommitMessages that contains
// the record, at SetOffset or at Close, whichever comes first, and is marked as
// estimated.
//
// A Reader is safe for concurrent use, as a kafka.Reader is.
type Reader struct {
	*kafka.Reader
	core       *messaging.Core
	consumer   *messaging.Consumer
	config     kafka.ReaderConfig // as the caller gave it
	log        *fetchLog
	group      *groupLog
	pending    pendingList
	committing atomic.Int32 // calls of CommitMessages under way
	unseen     bool         // its connections are

	last  atomic.Pointer[partition] // used last
	parts atomic.Pointer[map[topicPartition]*partition]
	mu    sync.Mutex // for writing parts

	unknown atomic.Uint64
}

// ReaderCounts tells what was left undone. Values only grow.
type ReaderCounts struct {
	// UnknownFetches counts records handed out whose fetch was not seen, so that
	// their spans do not say when it was asked and answered.
	UnknownFetches uint64
	// UnknownAnswers counts answers to fetches and to requests of the group that
	// were not understood: what they say of records, commits and rebalances is
	// not known.
	UnknownAnswers uint64
	// Evicted counts records whose processing was given up as estimated because
	// too many were open at a time.
	Evicted uint64
	// Panics counts panics of the instrumentation itself, or of a provider below
	// it, that were kept from the program.
	Panics uint64
}

// NewReader makes a kafka.Reader by cfg and instruments it. The Dialer in cfg is
// not changed; a copy of it is used. Like kafka.NewReader it panics when cfg is
// not valid.
func NewReader(cfg kafka.ReaderConfig, opts ...Option) *Reader {
	c := newConfig(opts)
	r := newReaderHooks(cfg, c)
	cfg.Dialer = watchedDialer(r.config.Dialer, r.log, r.group, r.core.Now)
	r.Reader = kafka.NewReader(cfg)
	return r
}

// WrapReader instruments a kafka.Reader that is there already, say because another
// library made it. Its connections are not seen: when records were fetched, by
// which broker, the commits that it makes by itself and its rebalances stay
// unknown. Use [NewReader] where you can.
func WrapReader(kr *kafka.Reader, opts ...Option) *Reader {
	r := newReaderHooks(kr.Config(), newConfig(opts))
	r.Reader, r.unseen = kr, true
	return r
}

// newReaderHooks makes a Reader without the kafka.Reader below it.
func newReaderHooks(cfg kafka.ReaderConfig, c config) *Reader {
	if cfg.Dialer == nil {
		cfg.Dialer = kafka.DefaultDialer
	}
	r := &Reader{core: messaging.NewCore(c.core), config: cfg, log: newFetchLog(), group: newGroupLog(cfg.WatchPartitionChanges)}
	r.parts.Store(&map[topicPartition]*partition{})
	r.pending.explicit = c.explicit
	r.consumer = r.core.Consumer(messaging.ConsumerConfig{
		Group: cfg.GroupID, ClientID: cfg.Dialer.ClientID, MemberID: r.group.memberID,
		Facts: messaging.ConsumerFacts{
			QueueCapacity: orElse(cfg.QueueCapacity, 100), MinBytes: orElse(cfg.MinBytes, 1), MaxWait: orElse(cfg.MaxWait, 10*time.Second),
		},
	})
	r.group.committed, r.group.rebalanced = r.committed, r.rebalanced
	r.log.watermark = r.watermark
	return r
}

func orElse[T int | time.Duration](v, otherwise T) T {
	if v == 0 {
		return otherwise
	}
	return v
}

// Config is kafka.Reader.Config, with the Dialer that was given to [NewReader].
func (r *Reader) Config() kafka.ReaderConfig {
	cfg := r.Reader.Config()
	cfg.Dialer = r.config.Dialer
	return cfg
}

// FetchMessage is kafka.Reader.FetchMessage.
func (r *Reader) FetchMessage(ctx context.Context) (kafka.Message, error) {
	called := r.core.Now()
	r.nextCalled(called)
	msg, err := r.Reader.FetchMessage(ctx)
	switch {
	case !messaging.Enabled():
	case err == nil:
		r.handOver(ctx, called, r.core.Now(), &msg)
	case ctx.Err() == nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrClosedPipe): // these: the Reader was closed
		r.consumer.ReceiveFailed(ctx, r.config.Topic, called, err, errorType)
	}
	return msg, err
}

// ReadMessage is kafka.Reader.ReadMessage: in a group it commits the message
// before it hands it out.
func (r *Reader) ReadMessage(ctx context.Context) (kafka.Message, error) {
	called := r.core.Now()
	r.nextCalled(called)
	msg, err := r.Reader.ReadMessage(ctx)
	switch {
	case !messaging.Enabled():
	case err == nil:
		r.handOver(ctx, called, r.core.Now(), &msg)
	case ctx.Err() == nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrClosedPipe): // these: the Reader was closed
		r.consumer.ReceiveFailed(ctx, r.config.Topic, called, err, errorType)
	}
	return msg, err
}

// SetOffset is kafka.Reader.SetOffset. It ends the estimated process spans.
func (r *Reader) SetOffset(offset int64) error {
	err := r.Reader.SetOffset(offset)
	if err == nil {
		r.moved()
	}
	return err
}

// SetOffsetAt is kafka.Reader.SetOffsetAt. It ends the estimated process spans.
func (r *Reader) SetOffsetAt(ctx context.Context, t time.Time) error {
	err := r.Reader.SetOffsetAt(ctx, t)
	if err == nil {
		r.moved()
	}
	return err
}

// Close is kafka.Reader.Close. It ends the process spans that are still open and
// not the program's to end.
func (r *Reader) Close() error {
	r.closed()
	return r.Reader.Close()
}

// Counts returns what was left undone since the Reader was made.
func (r *Reader) Counts() ReaderCounts {
	return ReaderCounts{
		UnknownFetches: r.unknown.Load(),
		UnknownAnswers: r.log.unknown.Load() + r.group.unknown.Load(),
		Evicted:        r.pending.evicted.Load(),
		Panics:         r.core.Panics(),
	}
}

// TopicPartition names a partition.
type TopicPartition struct {
	Topic     string
	Partition int
}

// LagByPartition returns how many records follow the one handed out last, for
// each partition that a record was handed out of and that, in a group, is
// assigned to this Reader. It is told by the newest high watermark that came with
// a fetch, so unlike Lag it works in groups, and for each partition.
func (r *Reader) LagByPartition() map[TopicPartition]int64 {
	out := make(map[TopicPartition]int64)
	for key, p := range *r.parts.Load() {
		if r.unseen {
			if lag, ok := p.core.Lag(); ok {
				out[TopicPartition{key.topic, int(key.partition)}] = lag
			}
			continue
		}
		if r.config.GroupID != "" && !r.group.owns(key) {
			continue
		}
		if last, ok := p.core.Position(); ok {
			if end, ok := p.log.highWatermark(); ok {
				out[TopicPartition{key.topic, int(key.partition)}] = max(end-last-1, 0)
			}
		}
	}
	return out
}

// partition returns what is kept of a partition.
func (r *Reader) partition(topic string, id int32) *partition {
	if p := r.last.Load(); p != nil && p.partition == id && p.topic == topic {
		return p
	}
	key := topicPartition{topic, id}
	p := (*r.parts.Load())[key]
	if p == nil {
		p = r.newPartition(key)
	}
	r.last.Store(p)
	return p
}

func (r *Reader) newPartition(key topicPartition) *partition {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := *r.parts.Load()
	if p := old[key]; p != nil {
		return p
	}
	p := &partition{topicPartition: key, core: r.consumer.Partition(key.topic, key.partition), log: r.log.partition(key)}
	all := make(map[topicPartition]*partition, len(old)+1)
	for k, o := range old {
		all[k] = o
	}
	all[key] = p
	r.parts.Store(&all)
	return p
}

func (r *Reader) nextCalled(at int64) {
	defer r.core.Guard()
	r.estimateAll(r.pending.supersede(at), at)
}

func (r *Reader) moved() {
	defer r.core.Guard()
	r.estimateAll(r.pending.moved(), r.core.Now())
	r.partition(r.config.Topic, int32(r.config.Partition)).core.Rewound() //nolint:gosec // partitions are int32 in the protocol
}

func (r *Reader) closed() {
	defer r.core.Guard()
	r.estimateAll(r.pending.drain(), r.core.Now())
	r.consumer.Close()
}

// watermark is called when a fetch was answered, with records or without.
func (r *Reader) watermark(key topicPartition, highWatermark int64) {
	if p := (*r.parts.Load())[key]; p != nil { // a record of it was handed out
		p.core.Watermark(highWatermark, 0)
	}
}

// estimateAll ends deliveries that are linked by next.
func (r *Reader) estimateAll(d *delivery, at int64) {
	for d != nil {
		next := d.next
		r.estimate(d, d.endOr(at))
		d = next
	}
}

// rebalanced is called when the group gave this Reader its partitions.
func (r *Reader) rebalanced(b *rebalance) {
	defer r.core.Guard()
	for _, tp := range b.revoked {
		r.partition(tp.topic, tp.partition).core.Revoked()
	}
	for _, tp := range b.assigned {
		r.partition(tp.topic, tp.partition).core.Moved()
	}
	r.consumer.Rebalance(b.cause, time.Duration(b.ended-b.began))
}

// handOver records the receive span of msg and remembers it for processing.
func (r *Reader) handOver(ctx context.Context, called, handed int64, msg *kafka.Message) {
	defer r.core.Guard()
	d := r.delivery(msg)
	d.Called, d.Handed = called, handed
	way := d.part.log.match(msg.Offset)
	d.Asked, d.Answered, d.NotBefore, d.Broker = way.asked, way.answered, way.notBefore, way.broker
	if way.asked == 0 {
		r.unknown.Add(1)
	}
	if way.appended != 0 {
		d.RecordTime, d.LogAppend = way.appended, true
	}
	messaging.Deliver(ctx, &d.Delivery, msg.Headers)
	again, oldest := r.pending.add(d)
	if again != nil {
		r.estimate(again, again.endOr(handed))
	}
	if oldest != nil {
		r.estimate(oldest, oldest.endOr(handed))
	}
}

// delivery tells of msg what can be told without its way here.
func (r *Reader) delivery(msg *kafka.Message) *delivery {
	d := deliveries.Get().(*delivery)
	d.part = r.partition(msg.Topic, int32(msg.Partition)) //nolint:gosec // partitions are int32 in the protocol
	d.Partition = d.part.core
	describe(&d.Delivery, msg)
	return d
}

func describe(d *messaging.Delivery, msg *kafka.Message) {
	d.Offset = msg.Offset
	d.HighWatermark = msg.HighWaterMark
	d.BodySize = len(msg.Value)
	d.Tombstone = msg.Value == nil
	d.SetKey(msg.Key)
	// kafka-go gives the producer's time even where the topic stamps
	// LogAppendTime.
	if !msg.Time.IsZero() {
		if ms := msg.Time.UnixMilli(); ms > 0 {
			d.RecordTime = ms * int64(time.Millisecond)
		}
	}
}
