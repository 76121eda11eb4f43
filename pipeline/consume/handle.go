package consume

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	minBackoff = 100 * time.Millisecond

	// maxPanics bounds how many records of one batch are taken for poison
	// because the handler panics at them. More means that the handler is what
	// is broken, and dead letters would be wrong.
	maxPanics = 32
)

// process makes b durable and commits it, however often that takes. It ends
// early, with nothing committed, when workCtx ends, and after one more try
// when pollCtx does.
func (l *Loop) process(pollCtx, workCtx context.Context, b batch) {
	t := BatchTimes{Stage: l.cfg.Stage, Topic: l.cfg.Topic, Items: b.items, Bytes: b.bytes, Polled: b.polled, Collected: time.Now()}
	t.OldestRecord = b.records[0].Timestamp
	for i := range b.records {
		if b.records[i].Timestamp.Before(t.OldestRecord) {
			t.OldestRecord = b.records[i].Timestamp
		}
	}
	begun := time.Now()
	ok := l.retry(pollCtx, workCtx, &b.records, "cannot handle a batch; trying again", func(ctx context.Context) error {
		t.Tries++
		if err := l.assign(ctx, b.records); err != nil {
			return err
		}
		dead, err := l.handle(ctx, b.records)
		if err != nil {
			return err
		}
		t.DeadLetters = len(dead)
		return l.writeDead(pollCtx, workCtx, dead)
	})
	l.metrics.handle.WithLabelValues(l.cfg.Stage, l.cfg.Topic).Observe(time.Since(begun).Seconds())
	// A wait for the dead-letter topic lets rebalances happen, too.
	if b.records = l.stillOwned(b.records); !ok || len(b.records) == 0 {
		return
	}
	t.Handled = time.Now()
	t.Records = len(b.records)

	l.commit(workCtx, b.records)
	t.Committed = time.Now()
	l.metrics.commit.WithLabelValues(l.cfg.Stage, l.cfg.Topic).Observe(t.Committed.Sub(t.Handled).Seconds())
	l.metrics.batches.WithLabelValues(l.cfg.Stage, l.cfg.Topic).Inc()
	l.metrics.records.WithLabelValues(l.cfg.Stage, l.cfg.Topic).Add(float64(t.Records))
	l.metrics.items.WithLabelValues(l.cfg.Stage, l.cfg.Topic).Add(float64(t.Items))
	l.metrics.bytes.WithLabelValues(l.cfg.Stage, l.cfg.Topic).Add(float64(t.Bytes))
	l.metrics.age.WithLabelValues(l.cfg.Stage, l.cfg.Topic).Observe(t.Handled.Sub(t.OldestRecord).Seconds())
	l.publishLag()
	if l.cfg.OnBatch != nil {
		l.cfg.OnBatch(t)
	}
}

// retry calls f until it succeeds. Between tries rebalances may happen;
// records of partitions that are gone after one are dropped from *records, and
// when none is left there is nothing more to do. It returns false when it
// ended without success.
func (l *Loop) retry(pollCtx, workCtx context.Context, records *[]Record, what string, f func(context.Context) error) bool {
	for try := 1; ; try++ {
		ctx, cancel := context.WithTimeout(workCtx, l.cfg.HandleTimeout)
		err := f(ctx)
		cancel()
		if err == nil {
			return true
		}
		if workCtx.Err() != nil || pollCtx.Err() != nil {
			l.log.Warn("stopping with a batch that could not be handled; it will come again", "records", len(*records), "error", err)
			return false
		}
		wait := backoff(try, l.cfg.MaxBackoff)
		l.metrics.retries.WithLabelValues(l.cfg.Stage, l.cfg.Topic).Inc()
		l.metrics.failed.note(l.cfg, FailedHandling, err)
		l.log.Error(what, "try", try, "wait", wait.Round(time.Millisecond), "records", len(*records), "error", err)
		l.cl.AllowRebalance()
		sleep(pollCtx, wait)
		l.blockRebalance() // its poll's context must have ended
		if *records = l.stillOwned(*records); len(*records) == 0 {
			l.log.Info("the batch's partitions were taken over by others")
			return true
		}
	}
}

// backoff is the wait after try n: 100 ms doubling to limit, less up to a
// fifth, so that members that failed together do not come back together.
func backoff(n int, limit time.Duration) time.Duration {
	d := min(minBackoff<<min(n-1, 20), limit)
	return d - rand.N(d/5+1)
}

// sleep waits for d or the end of ctx.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// assign tells the handler of the partitions in records that it does not know
// yet, and gives the records their topic's id.
func (l *Loop) assign(ctx context.Context, records []Record) error {
	untold := make(map[int32]bool)
	l.mu.Lock()
	for i := range records {
		if o := l.owned[records[i].Partition]; o != nil {
			if o.told == nil {
				untold[records[i].Partition] = true
			} else {
				records[i].TopicID = o.told.TopicID
			}
		}
	}
	l.mu.Unlock()
	if len(untold) == 0 {
		return nil
	}
	id, err := l.admin.TopicID(ctx, l.cfg.Topic)
	if err != nil {
		return err
	}
	committed, err := l.admin.Kadm().FetchOffsets(ctx, l.cfg.Group)
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return fmt.Errorf("cannot look up the committed offsets of group %q: %w", l.cfg.Group, err)
	}
	var ps []Partition
	for p := range untold {
		at := int64(-1)
		if o, ok := committed.Lookup(l.cfg.Topic, p); ok {
			if o.Err != nil {
				return fmt.Errorf("cannot look up the committed offset of group %q partition %d: %w", l.cfg.Group, p, o.Err)
			}
			at = o.At
		}
		ps = append(ps, Partition{Topic: l.cfg.Topic, TopicID: id, Partition: p, CommittedOffset: at})
	}
	slices.SortFunc(ps, func(a, b Partition) int { return int(a.Partition - b.Partition) })
	if _, err := guard(func() error { return l.handler.Assigned(ctx, ps) }); err != nil {
		return fmt.Errorf("the stage cannot take over %d partitions: %w", len(ps), err)
	}
	l.mu.Lock()
	for i := range ps {
		if o := l.owned[ps[i].Partition]; o != nil {
			o.told = &ps[i]
			o.next = max(o.next, ps[i].CommittedOffset)
		}
	}
	l.mu.Unlock()
	for i := range records {
		records[i].TopicID = id
	}
	return nil
}

// guard calls f and turns a panic into an error.
func guard(f func() error) (panicked bool, err error) {
	defer func() {
		if v := recover(); v != nil {
			panicked, err = true, fmt.Errorf("panic: %v\n%s", v, debug.Stack())
		}
	}()
	return false, f()
}

// handle calls the handler; when it panics, it is called for halves of the
// batch until the records are found that make it panic.
func (l *Loop) handle(ctx context.Context, records []Record) ([]DeadLetter, error) {
	panics := 0
	return l.handlePart(ctx, records, &panics)
}

func (l *Loop) handlePart(ctx context.Context, records []Record, panics *int) ([]DeadLetter, error) {
	var dead []DeadLetter
	panicked, err := guard(func() (err error) {
		dead, err = l.handler.Handle(ctx, records)
		return err
	})
	if !panicked {
		return dead, err
	}
	l.metrics.panics.WithLabelValues(l.cfg.Stage, l.cfg.Topic).Inc()
	l.metrics.failed.note(l.cfg, FailedPanic, err)
	if len(records) == 1 {
		r := &records[0]
		if *panics++; *panics > maxPanics {
			return nil, fmt.Errorf("the stage panics at more than %d records of one batch, which is no fault of the records: %w", maxPanics, err)
		}
		l.log.Error("record makes the stage panic", "partition", r.Partition, "offset", r.Offset, "error", err)
		return []DeadLetter{{Record: r, Reason: err.Error()}}, nil
	}
	half := len(records) / 2
	first, err := l.handlePart(ctx, records[:half:half], panics)
	if err != nil {
		return nil, err
	}
	second, err := l.handlePart(ctx, records[half:], panics)
	if err != nil {
		return nil, err
	}
	return append(first, second...), nil
}

// commit commits the offsets behind records. Failing is no reason to stop: the
// batch is durable, and the next commit includes this one.
func (l *Loop) commit(ctx context.Context, records []Record) {
	offsets := make(map[int32]kgo.EpochOffset)
	for i := range records {
		r := &records[i]
		if o, ok := offsets[r.Partition]; !ok || r.Offset >= o.Offset {
			offsets[r.Partition] = kgo.EpochOffset{Epoch: r.epoch, Offset: r.Offset + 1}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	var failed error
	l.cl.CommitOffsetsSync(ctx, map[string]map[int32]kgo.EpochOffset{l.cfg.Topic: offsets},
		func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
			failed = commitError(resp, err)
		})
	if failed != nil {
		l.metrics.commitErrors.WithLabelValues(l.cfg.Stage, l.cfg.Topic).Inc()
		l.metrics.failed.note(l.cfg, FailedCommit, failed)
		l.log.Error("cannot commit; the records may come again after a restart", "error", failed)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for p, at := range offsets {
		if o := l.owned[p]; o != nil {
			o.next = at.Offset
			o.end = max(o.end, at.Offset)
		}
	}
}

func commitError(resp *kmsg.OffsetCommitResponse, err error) error {
	if err != nil {
		return err
	}
	var errs []error
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				errs = append(errs, fmt.Errorf("partition %d: %w", p.Partition, err))
			}
		}
	}
	return errors.Join(errs...)
}
