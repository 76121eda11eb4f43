package consume

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// batch is what one call of the handler gets.
type batch struct {
	records []Record
	items   int
	bytes   int
	polled  time.Time // when its first record came
}

// full says whether r would exceed the bounds of a batch that is not empty.
func (b *batch) full(cfg *Config, r *Record) bool {
	if len(b.records) == 0 {
		return false
	}
	return len(b.records) >= cfg.MaxBatchRecords || b.items+r.items() > cfg.MaxBatchItems || b.bytes+r.size() > cfg.MaxBatchBytes
}

func (b *batch) add(r Record) {
	b.items += r.items()
	b.bytes += r.size()
	b.records = append(b.records, r)
}

// collect waits for records and gathers them into a batch until a bound is
// reached. From the first record on no rebalance happens until AllowRebalance.
// It returns what it has when ctx ends.
func (l *Loop) collect(ctx context.Context) batch {
	var b batch
	if len(l.carry) > 0 {
		l.blockRebalance() // its poll's context must have ended
		l.carry = l.stillOwned(l.carry)
	}
	for {
		for i := range l.carry {
			if len(b.records) == 0 {
				b.polled = time.Now()
			}
			if b.full(&l.cfg, &l.carry[i]) {
				// A copy, so that the handled part of the array can go.
				l.carry = append([]Record(nil), l.carry[i:]...)
				return b
			}
			b.add(l.carry[i])
		}
		l.carry = l.carry[:0]
		if ctx.Err() != nil || len(b.records) >= l.cfg.MaxBatchRecords || b.items >= l.cfg.MaxBatchItems || b.bytes >= l.cfg.MaxBatchBytes {
			return b
		}
		if len(b.records) > 0 && time.Since(b.polled) >= l.cfg.MaxBatchWait {
			return b
		}
		if stopped := l.poll(ctx, &b); stopped {
			return b
		}
		if len(b.records) == 0 && len(l.carry) == 0 {
			// Nothing is held, so let a rebalance go on.
			l.cl.AllowRebalance()
		}
	}
}

// poll waits for more records, no longer than b may wait for them. It returns
// true when the loop has to end.
func (l *Loop) poll(ctx context.Context, b *batch) (stopped bool) {
	if len(b.records) > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, b.polled.Add(l.cfg.MaxBatchWait))
		defer cancel()
	}
	fetches := l.cl.PollRecords(ctx, min(l.cfg.MaxBatchRecords-len(b.records), pollRecords))
	l.take(fetches)
	return l.fetchErrors(ctx, fetches)
}

// pollRecords bounds one poll, so that a batch's bound on bytes is looked at
// now and then.
const pollRecords = 2000

// take turns fetched records into ours, behind those that are waiting.
func (l *Loop) take(fetches kgo.Fetches) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fetches.EachPartition(func(p kgo.FetchTopicPartition) {
		if p.Topic != l.cfg.Topic {
			return
		}
		o := l.owned[p.Partition]
		if o == nil {
			return // fetched for an assignment that has ended
		}
		if p.HighWatermark > o.end {
			o.end = p.HighWatermark
		}
		for _, r := range p.Records {
			o.position = r.Offset + 1
			rec := Record{
				Topic: r.Topic, Partition: r.Partition, Offset: r.Offset,
				Key: r.Key, Value: r.Value, Timestamp: r.Timestamp,
				epoch: r.LeaderEpoch, gen: o.gen,
			}
			if o.told != nil {
				rec.TopicID = o.told.TopicID
			}
			if len(r.Headers) > 0 {
				rec.Headers = make([]Header, len(r.Headers))
				for i, h := range r.Headers {
					rec.Headers[i] = Header{h.Key, h.Value}
				}
			}
			l.carry = append(l.carry, rec)
		}
	})
}

// fetchErrors deals with what a poll reported besides records. It returns true
// when the loop has to end.
func (l *Loop) fetchErrors(ctx context.Context, fetches kgo.Fetches) (stopped bool) {
	wait := false
	fetches.EachError(func(topic string, partition int32, err error) {
		_, loss := errors.AsType[*kgo.ErrDataLoss](err)
		_, bomb := errors.AsType[*kgo.ErrDecompressTooLarge](err)
		switch {
		case errors.Is(err, kgo.ErrClientClosed):
			stopped = true
		case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
			// our own bound on waiting
		case topic == l.cfg.Topic && (loss || errors.Is(err, kerr.OffsetOutOfRange)):
			l.gap(ctx, partition, err)
		case topic == l.cfg.Topic && bomb:
			// The client will not fetch this partition again.
			l.metrics.stalled.WithLabelValues(l.cfg.Stage, l.cfg.Topic, partitionLabel(partition)).Set(1)
			l.log.Error("a batch decompresses beyond all bounds: the partition stands still; "+
				"stop the group and set its offset past the batch with Kafka's tools", "partition", partition, "error", err)
		default:
			l.metrics.fetchErrors.WithLabelValues(l.cfg.Stage, l.cfg.Topic).Inc()
			l.metrics.failed.note(l.cfg, FailedFetch, err)
			l.log.Warn("cannot fetch", "partition", partition, "error", err)
			wait = true
		}
	})
	if wait {
		sleep(ctx, time.Second) // errors that last are reported by every poll
	}
	return stopped
}

// canceled is a context that has ended.
var canceled = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// blockRebalance waits for a rebalance that is going on and lets no other
// begin until AllowRebalance. A poll whose context has ended does just that
// and takes no records.
func (l *Loop) blockRebalance() { l.cl.PollRecords(canceled, 1) }

// stillOwned keeps, in place, the records whose partition has been this
// member's ever since they were fetched.
func (l *Loop) stillOwned(records []Record) []Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	kept := records[:0]
	for _, r := range records {
		if o := l.owned[r.Partition]; o != nil && o.gen == r.gen {
			kept = append(kept, r)
		}
	}
	clear(records[len(kept):])
	return kept
}
