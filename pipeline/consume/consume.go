package consume

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hoptrace/hoptrace/internal/kafka"
)

// Loop reads one topic for one handler. Create it with [New].
type Loop struct {
	cfg     Config
	handler Handler
	log     *slog.Logger
	metrics *Metrics

	cl    *kgo.Client
	admin *kafka.Admin
	dlq   *kafka.Producer

	mu      sync.Mutex // guards the following
	started bool
	stopped bool
	owned   map[int32]*owned
	gen     int
	gaps    map[int32]Gap

	carry []Record // polled beyond the last batch; the run goroutine's

	stopPolling context.CancelFunc // ends collecting
	abandon     context.CancelFunc // ends handling
	done        chan struct{}      // closed when both goroutines have ended
}

// owned is a partition while it is this member's.
type owned struct {
	gen      int
	told     *Partition // what Assigned was told; nil until then
	position int64      // offset after the last record polled; -1 none was
	next     int64      // offset after the last committed record; -1 unknown
	end      int64      // high watermark as last seen; -1 unknown
}

// New returns a loop that is not started. The error names every fault of cfg.
// metrics may be nil.
func New(cfg Config, handler Handler, log *slog.Logger, metrics *Metrics) (*Loop, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	// From here on by the brokers' names: records, gaps, metrics and dead letters
	// tell where a record really is.
	cfg.Topic, cfg.DLQ = cfg.Kafka.Topics.Physical(cfg.Topic), cfg.Kafka.Topics.Physical(cfg.DLQ)
	if metrics == nil {
		metrics = newMetrics()
	}
	return &Loop{
		cfg: cfg, handler: handler, metrics: metrics,
		log:   log.With("stage", cfg.Stage, "group", cfg.Group, "topic", cfg.Topic),
		owned: make(map[int32]*owned),
		gaps:  make(map[int32]Gap),
	}, nil
}

// Name is the component's name for package lifecycle.
func (l *Loop) Name() string { return l.cfg.Stage }

// Start connects, joins the group and begins to read. ctx bounds connecting.
func (l *Loop) Start(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.started || l.stopped {
		return fmt.Errorf("cannot start stage %s: it was started before; make a new one", l.cfg.Stage)
	}
	opts := []kgo.Opt{
		kgo.SessionTimeout(l.cfg.SessionTimeout),
		kgo.HeartbeatInterval(l.cfg.SessionTimeout / 5),
		kgo.RebalanceTimeout(2 * l.cfg.HandleTimeout),
		kgo.OnPartitionsAssigned(l.onAssigned),
		kgo.OnPartitionsRevoked(l.onRevoked),
		kgo.OnPartitionsLost(l.onRevoked),
	}
	if n := l.cfg.FetchMaxBytes; n > 0 {
		opts = append(opts, kgo.FetchMaxBytes(n), kgo.FetchMaxPartitionBytes(max(n/2, 1)))
	}
	var err error
	l.cl, err = kafka.NewGroupConsumer(l.cfg.Kafka, l.cfg.Group, l.cfg.Topic, l.log, l.metrics.kafka, opts...)
	if err != nil {
		return err
	}
	defer func() {
		if !l.started {
			l.cl.CloseAllowingRebalance()
			l.cl = nil
		}
	}()
	if err := kafka.WaitReady(ctx, l.cl, l.cfg.Kafka.Brokers); err != nil {
		return fmt.Errorf("cannot start stage %s: %w", l.cfg.Stage, err)
	}
	pc := kafka.DefaultProducerConfig()
	pc.MaxMessageBytes, pc.Linger = l.cfg.DLQMaxBytes, 0
	pc.MaxBufferedBytes = max(pc.MaxBufferedBytes, int(l.cfg.DLQMaxBytes))
	pc.DeliveryTimeout = 10 * time.Second
	l.dlq, err = kafka.NewProducer(l.cfg.Kafka, pc, l.log, l.metrics.kafka)
	if err != nil {
		return err
	}
	l.admin = kafka.NewAdmin(l.cl, l.log)

	pollCtx, stopPolling := context.WithCancel(context.WithoutCancel(ctx))
	workCtx, abandon := context.WithCancel(context.WithoutCancel(ctx))
	l.stopPolling, l.abandon = stopPolling, abandon
	l.done = make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() { l.run(pollCtx, workCtx) })
	running.Go(func() { l.watchLag(pollCtx) })
	go func() {
		running.Wait()
		close(l.done)
	}()
	l.started = true
	return nil
}

// Shutdown handles and commits what was read, leaves the group and waits. When
// ctx ends first the batch at hand is given up and comes again later. It is
// safe twice and without Start.
func (l *Loop) Shutdown(ctx context.Context) error {
	l.mu.Lock()
	if l.stopped || !l.started {
		l.stopped = true
		l.mu.Unlock()
		return nil
	}
	l.stopped = true
	l.mu.Unlock()

	var errs []error
	l.stopPolling()
	select {
	case <-l.done:
	case <-ctx.Done():
		errs = append(errs, fmt.Errorf("stage %s gave up its last batch, which will come again: %w", l.cfg.Stage, ctx.Err()))
		l.abandon()
		<-l.done // the handler minds its context
	}
	l.abandon()
	leaveCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	l.cl.AllowRebalance()
	if err := l.cl.LeaveGroupContext(leaveCtx); err != nil {
		l.log.Warn("could not leave the group; its other members wait for the session to end", "error", err)
	}
	l.cl.CloseAllowingRebalance()
	errs = append(errs, l.dlq.Close(leaveCtx))
	return errors.Join(errs...)
}

// run is the loop.
func (l *Loop) run(pollCtx, workCtx context.Context) {
	for {
		b := l.collect(pollCtx)
		if len(b.records) > 0 {
			l.process(pollCtx, workCtx, b)
		}
		l.cl.AllowRebalance()
		if pollCtx.Err() != nil || workCtx.Err() != nil {
			return
		}
	}
}

func (l *Loop) onAssigned(_ context.Context, _ *kgo.Client, assigned map[string][]int32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range assigned[l.cfg.Topic] {
		l.gen++
		l.owned[p] = &owned{gen: l.gen, position: -1, next: -1, end: -1}
	}
	if n := len(assigned[l.cfg.Topic]); n > 0 {
		l.metrics.rebalances.WithLabelValues(l.cfg.Stage, l.cfg.Topic, "assigned").Inc()
		l.log.Info("partitions assigned", "partitions", assigned[l.cfg.Topic])
	}
}

// onRevoked serves revoked and lost partitions alike: every batch is committed
// before a rebalance may begin, so nothing is left to do for the former.
func (l *Loop) onRevoked(ctx context.Context, _ *kgo.Client, revoked map[string][]int32) {
	var told []Partition
	l.mu.Lock()
	for _, p := range revoked[l.cfg.Topic] {
		if o := l.owned[p]; o != nil && o.told != nil {
			told = append(told, *o.told)
		}
		delete(l.owned, p)
		delete(l.gaps, p)
		l.metrics.forget(l.cfg, p)
	}
	l.mu.Unlock()
	if n := len(revoked[l.cfg.Topic]); n > 0 {
		l.metrics.rebalances.WithLabelValues(l.cfg.Stage, l.cfg.Topic, "revoked").Inc()
		l.log.Info("partitions revoked", "partitions", revoked[l.cfg.Topic])
	}
	if len(told) > 0 {
		l.handler.Revoked(ctx, told)
	}
}

// Lag returns, for each partition of this member, how many records lie behind
// the last committed one, as last seen. Partitions not read from yet are left
// out.
func (l *Loop) Lag() map[int32]int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make(map[int32]int64, len(l.owned))
	for p, o := range l.owned {
		if o.next >= 0 && o.end >= 0 {
			out[p] = max(o.end-o.next, 0)
		}
	}
	return out
}

// watchLag asks for the ends of the partitions now and then, since a loop that
// waits for its store sees no fetches.
func (l *Loop) watchLag(ctx context.Context) {
	tick := time.NewTicker(lagInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		askCtx, cancel := context.WithTimeout(ctx, lagInterval)
		ends, err := l.admin.Kadm().ListEndOffsets(askCtx, l.cfg.Topic)
		cancel()
		if err != nil {
			l.log.Debug("cannot ask for the partitions' ends", "error", err)
			continue
		}
		l.mu.Lock()
		for p, o := range l.owned {
			if end, ok := ends.Lookup(l.cfg.Topic, p); ok && end.Err == nil {
				o.end = max(o.end, end.Offset)
			}
		}
		l.mu.Unlock()
		l.publishLag()
	}
}

const lagInterval = 10 * time.Second

func (l *Loop) publishLag() {
	for p, n := range l.Lag() {
		l.metrics.lag.WithLabelValues(l.cfg.Stage, l.cfg.Topic, partitionLabel(p)).Set(float64(n))
	}
}
