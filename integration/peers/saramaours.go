package peers

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/IBM/sarama"

	"github.com/hoptrace/hoptrace/instrumentation/otelsarama"
)

func ourSaramaSubjects() []Subject {
	const client = "sarama"
	return []Subject{
		{Name: "otelsarama, Init", Ours: true, Client: client, Way: "init", Open: openOurSarama},
		{Name: "otelsarama, SDK", Ours: true, Client: client, Way: "sdk", Open: openOurSarama},
	}
}

// ourSarama is a client by our wrapper of sarama.
type ourSarama struct {
	in      *otelsarama.Instrumentation
	brokers []string
	options Options
	sync    *otelsarama.SyncProducer
	async   *otelsarama.AsyncProducer

	// Opened by the first Consume.
	consumer  *otelsarama.Consumer
	partition sarama.PartitionConsumer
	group     *saramaGroup
	last      []*sarama.ConsumerMessage
}

func openOurSarama(e *Env, o Options) (Client, error) {
	opts := []otelsarama.Option{otelsarama.WithTracerProvider(e.Provider)}
	if o.Parent {
		opts = append(opts, otelsarama.WithParent())
	}
	if o.WithoutLinks {
		opts = append(opts, otelsarama.WithoutLinks())
	}
	if o.CreateSpans {
		opts = append(opts, otelsarama.WithCreateSpans())
	}
	if o.Explicit {
		opts = append(opts, otelsarama.WithExplicitProcessing())
	}
	c := &ourSarama{in: otelsarama.New(saramaConfig(o), opts...), brokers: []string{e.Address}, options: o}
	var err error
	if o.Async {
		c.async, err = c.in.NewAsyncProducer(c.brokers)
	} else {
		c.sync, err = c.in.NewSyncProducer(c.brokers)
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

func (c *ourSarama) Send(ctx context.Context, b *Batch) []error {
	ms := saramaNatives(b)
	if c.sync != nil {
		return saramaSendSync(func(ms []*sarama.ProducerMessage) error { return c.sync.SendMessagesContext(ctx, ms) }, ms)
	}
	for _, m := range ms {
		otelsarama.WithContext(ctx, m)
	}
	return saramaSendAsync(c.async.Input(), c.async.Successes(), c.async.Errors(), ms)
}

// messages opens what is read from.
func (c *ourSarama) messages() (<-chan *sarama.ConsumerMessage, error) {
	if c.options.Group != "" {
		if c.group == nil {
			g, err := c.in.NewConsumerGroup(c.brokers, c.options.Group)
			if err != nil {
				return nil, err
			}
			c.group = newSaramaGroup(g, c.options.Topic)
		}
		return c.group.messages, nil
	}
	if c.partition == nil {
		var err error
		if c.consumer, err = c.in.NewConsumer(c.brokers); err != nil {
			return nil, err
		}
		if c.partition, err = c.consumer.ConsumePartition(c.options.Topic, 0, sarama.OffsetOldest); err != nil {
			return nil, err
		}
	}
	return c.partition.Messages(), nil
}

func (c *ourSarama) next(ctx context.Context) (*sarama.ConsumerMessage, error) {
	from, err := c.messages()
	if err != nil {
		return nil, fmt.Errorf("cannot consume: %w", err)
	}
	select {
	case m, ok := <-from:
		if !ok {
			return nil, errClosed
		}
		c.last = append(c.last, m)
		return m, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *ourSarama) Consume(ctx context.Context, n int, handle func(context.Context, *Message) error) error {
	c.last = nil
	for range n {
		m, err := c.next(ctx)
		if err != nil {
			return err
		}
		_ = c.in.Process(ctx, m, func(ctx context.Context, m *sarama.ConsumerMessage) error { return handle(ctx, saramaMessage(m)) })
	}
	return nil
}

// ConsumeConcurrently implements [ConcurrentConsumer].
func (c *ourSarama) ConsumeConcurrently(ctx context.Context, n int, handle func(context.Context, *Message) error, after func(*Message)) error {
	var all sync.WaitGroup
	defer all.Wait()
	for range n {
		m, err := c.next(ctx)
		if err != nil {
			return err
		}
		all.Go(func() {
			defer after(saramaMessage(m))
			_ = c.in.Process(ctx, m, func(ctx context.Context, m *sarama.ConsumerMessage) error { return handle(ctx, saramaMessage(m)) })
		})
	}
	return nil
}

func (c *ourSarama) ConsumeBatch(ctx context.Context, n int, handle func(context.Context, []*Message) error) error {
	c.last = nil
	for range n {
		if _, err := c.next(ctx); err != nil {
			return err
		}
	}
	_ = c.in.ProcessBatch(ctx, c.last, func(ctx context.Context, ms []*sarama.ConsumerMessage) error {
		all := make([]*Message, 0, len(ms))
		for _, m := range ms {
			all = append(all, saramaMessage(m))
		}
		return handle(ctx, all)
	})
	return nil
}

// Retry implements [Retrier].
func (c *ourSarama) Retry(ctx context.Context) error {
	first := true
	for range 2 {
		m, err := c.next(ctx)
		if err != nil {
			return err
		}
		err = c.in.Process(ctx, m, func(ctx context.Context, m *sarama.ConsumerMessage) error {
			if !first {
				return nil
			}
			first = false
			if _, _, err := c.sync.SendMessageContext(ctx, otelsarama.Retry(ctx, m, topic)); err != nil {
				return err
			}
			return errOrder
		})
		if err != nil && !errors.Is(err, errOrder) {
			return err
		}
	}
	return nil
}

func (c *ourSarama) Commit(context.Context) error {
	s := c.group.current()
	for _, m := range c.last {
		s.MarkMessage(m, "")
	}
	if !c.options.AutoCommit {
		s.Commit()
	}
	return nil
}

func (c *ourSarama) Close() error {
	var err error
	if c.partition != nil {
		err = errors.Join(c.partition.Close(), c.consumer.Close())
		c.partition = nil
	}
	if c.group != nil {
		err = errors.Join(err, c.group.close())
		c.group = nil
	}
	if c.sync != nil {
		err = errors.Join(err, c.sync.Close())
		c.sync = nil
	}
	if c.async != nil {
		err = errors.Join(err, c.async.Close())
		c.async = nil
	}
	return err
}

// saramaGroup hands the messages of a group's claims to whoever reads the channel.
type saramaGroup struct {
	group    sarama.ConsumerGroup
	messages chan *sarama.ConsumerMessage
	cancel   context.CancelFunc
	ended    chan struct{}

	mu      sync.Mutex
	session sarama.ConsumerGroupSession
}

func newSaramaGroup(g sarama.ConsumerGroup, topic string) *saramaGroup {
	ctx, cancel := context.WithCancel(context.Background())
	s := &saramaGroup{group: g, messages: make(chan *sarama.ConsumerMessage), cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(s.ended)
		for ctx.Err() == nil {
			if err := g.Consume(ctx, []string{topic}, s); err != nil {
				return
			}
		}
	}()
	return s
}

func (s *saramaGroup) current() sarama.ConsumerGroupSession {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.session
}

// Setup implements sarama.ConsumerGroupHandler.
func (s *saramaGroup) Setup(session sarama.ConsumerGroupSession) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.session = session
	return nil
}

// Cleanup implements sarama.ConsumerGroupHandler.
func (s *saramaGroup) Cleanup(sarama.ConsumerGroupSession) error { return nil }

// ConsumeClaim implements sarama.ConsumerGroupHandler.
func (s *saramaGroup) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case m, ok := <-claim.Messages():
			if !ok {
				return nil
			}
			select {
			case s.messages <- m:
			case <-session.Context().Done():
				return nil
			}
		case <-session.Context().Done():
			return nil
		}
	}
}

func (s *saramaGroup) close() error {
	s.cancel()
	<-s.ended
	return s.group.Close()
}
