package main

import (
	"context"
	"encoding/json"
	"errors"
	"hash/fnv"
	"io"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/hoptrace/hoptrace/instrumentation/otelkafkago"
)

// consumer reads one topic in the group of the same name. Orders of one customer
// are handled in order, others side by side; an offset is committed when its
// message and all before it in the partition are done.
type consumer struct {
	service *service
	topic   string
	workers int
	ready   int // messages that wait for each worker, so that a busy one does not hold up the others
	handle  func(ctx context.Context, m kafka.Message, o *Order) error
}

// run fetches until fetching ends and then lets the workers finish, at most until
// working ends.
func (c consumer) run(fetching, working context.Context) {
	opts := []otelkafkago.Option{
		otelkafkago.WithTracerProvider(c.service.tracing.TracerProvider()),
		otelkafkago.WithExplicitProcessing(), // other goroutines process than the one that fetches
	}
	if !c.service.cfg.links {
		opts = append(opts, otelkafkago.WithParent())
	}
	r := otelkafkago.NewReader(kafka.ReaderConfig{
		Brokers:               c.service.cfg.brokers,
		Topic:                 c.topic,
		GroupID:               c.topic,
		StartOffset:           kafka.FirstOffset,
		MinBytes:              1,
		MaxBytes:              4 << 20,
		MaxWait:               time.Second,
		HeartbeatInterval:     time.Second,
		CommitInterval:        100 * time.Millisecond,
		WatchPartitionChanges: true,
		ErrorLogger:           c.service.kafkaLog(),
		Dialer:                &kafka.Dialer{ClientID: c.service.name, Timeout: 10 * time.Second, DualStack: true},
	}, opts...)
	defer func() {
		if err := r.Close(); err != nil {
			c.service.log.Warn("cannot close the reader", "topic", c.topic, "err", err)
		}
	}()

	done := &progress{reader: r, partitions: make(map[int][]*task)}
	lanes := make([]chan *task, c.workers)
	var workers sync.WaitGroup
	for i := range lanes {
		// What does not fit in here waits in kafka-go's queue, where it is seen as
		// such.
		lanes[i] = make(chan *task, c.ready)
		workers.Add(1)
		go func() {
			defer workers.Done()
			for t := range lanes[i] {
				if err := c.process(working, r, t); err != nil && working.Err() != nil {
					continue // stopped in the middle: not committed, so it comes again
				}
				done.finish(working, c, t)
			}
		}()
	}
	for {
		m, err := r.FetchMessage(fetching)
		if err != nil {
			if fetching.Err() != nil || errors.Is(err, io.EOF) {
				break
			}
			c.service.log.Warn("cannot read, trying again", "topic", c.topic, "err", err)
			select {
			case <-fetching.Done():
			case <-time.After(writeBackoff):
			}
			continue
		}
		t := &task{message: m}
		done.start(t)
		lanes[lane(m.Key, len(lanes))] <- t
	}
	for _, l := range lanes {
		close(l)
	}
	workers.Wait()
}

// process handles one message. A failure is in its span and, where it matters,
// reported; the order goes on.
func (c consumer) process(ctx context.Context, r *otelkafkago.Reader, t *task) error {
	return r.Process(ctx, t.message, func(ctx context.Context, m kafka.Message) error {
		var o Order
		if err := json.Unmarshal(m.Value, &o); err != nil {
			c.service.log.Warn("not an order, left out", "topic", m.Topic, "partition", m.Partition, "offset", m.Offset, "err", err)
			return err
		}
		err := c.handle(ctx, m, &o)
		c.service.processed[c.topic].Add(1)
		return err
	})
}

func lane(key []byte, n int) int {
	h := fnv.New32a()
	_, _ = h.Write(key)
	return int(h.Sum32() % uint32(n)) //nolint:gosec // n is a small number of workers
}

// task is a message under way.
type task struct {
	message kafka.Message
	done    bool
}

// progress commits what is done, without gaps.
type progress struct {
	reader     *otelkafkago.Reader
	mu         sync.Mutex
	partitions map[int][]*task
}

func (p *progress) start(t *task) {
	p.mu.Lock()
	p.partitions[t.message.Partition] = append(p.partitions[t.message.Partition], t)
	p.mu.Unlock()
}

func (p *progress) finish(ctx context.Context, c consumer, t *task) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t.done = true
	queue := p.partitions[t.message.Partition]
	n := 0
	for n < len(queue) && queue[n].done {
		n++
	}
	if n == 0 {
		return
	}
	last := queue[n-1].message
	p.partitions[t.message.Partition] = append(queue[:0:0], queue[n:]...)
	// With a CommitInterval this only hands the offset to kafka-go.
	if err := p.reader.CommitMessages(context.WithoutCancel(ctx), last); err != nil && !errors.Is(err, io.ErrClosedPipe) {
		c.service.log.Warn("cannot commit; the messages may come again", "topic", c.topic, "err", err)
	}
}
