package peers

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	ddkafka "github.com/DataDog/dd-trace-go/contrib/segmentio/kafka-go/v2"
	trendyol "github.com/Trendyol/otel-kafka-konsumer"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hoptrace/hoptrace/instrumentation/otelkafkago"
)

// KafkaGoSubjects are those that instrument kafka-go.
func KafkaGoSubjects() []Subject {
	const client = "kafka-go"
	return []Subject{
		{Name: "otelkafkago, Init", Ours: true, Client: client, Way: "init", Open: openOurKafkaGo},
		{Name: "otelkafkago, SDK", Ours: true, Client: client, Way: "sdk", Open: openOurKafkaGo},
		{Name: "dd-trace-go kafka-go", Client: client, Way: "dd", Open: openKafkaGo(
			func(w *kafka.Writer, _ *Env) (writeMessages, error) { return ddkafka.WrapWriter(w).WriteMessages, nil },
			func(c kafka.ReaderConfig, _ *Env) (kafkaGoReader, error) { return ddkafka.NewReader(c), nil },
		)},
		{Name: "Trendyol kafka-go", Client: client, Way: "sdk", Note: "one message by WriteMessage, several by WriteMessages, which it does not trace", Open: openKafkaGo(
			func(w *kafka.Writer, e *Env) (writeMessages, error) {
				tw, err := trendyol.NewWriter(w, trendyol.WithTracerProvider(e.Provider))
				return func(ctx context.Context, ms ...kafka.Message) error {
					if len(ms) == 1 {
						return tw.WriteMessage(ctx, ms[0])
					}
					return tw.WriteMessages(ctx, ms)
				}, err
			},
			func(c kafka.ReaderConfig, e *Env) (kafkaGoReader, error) {
				tr, err := trendyol.NewReader(kafka.NewReader(c), trendyol.WithTracerProvider(e.Provider))
				return trendyolReader{tr}, err
			},
		)},
	}
}

type writeMessages func(context.Context, ...kafka.Message) error

// kafkaGoReader is what the wrappers of a Reader have in common. Those that can
// process have more.
type kafkaGoReader interface {
	FetchMessage(context.Context) (kafka.Message, error)
	CommitMessages(context.Context, ...kafka.Message) error
	Close() error
}

type trendyolReader struct{ *trendyol.Reader }

func (r trendyolReader) FetchMessage(ctx context.Context) (m kafka.Message, err error) {
	err = r.Reader.FetchMessage(ctx, &m)
	return m, err
}

func (r trendyolReader) Close() error { return r.R.Close() }

type kafkaGoClient struct {
	kw      *kafka.Writer
	write   writeMessages
	options Options
	open    func() (kafkaGoReader, error)

	reader kafkaGoReader // opened by the first Consume
	last   []kafka.Message

	mu       sync.Mutex // guards the following
	outcomes map[int]error
	pending  sync.WaitGroup
}

func openOurKafkaGo(e *Env, o Options) (Client, error) {
	opts := []otelkafkago.Option{otelkafkago.WithTracerProvider(e.Provider)}
	if o.Parent {
		opts = append(opts, otelkafkago.WithParent())
	}
	if o.WithoutLinks {
		opts = append(opts, otelkafkago.WithoutLinks())
	}
	if o.CreateSpans {
		opts = append(opts, otelkafkago.WithCreateSpans())
	}
	if o.Explicit {
		opts = append(opts, otelkafkago.WithExplicitProcessing())
	}
	return openKafkaGo(
		func(w *kafka.Writer, _ *Env) (writeMessages, error) {
			return otelkafkago.NewWriter(w, opts...).WriteMessages, nil
		},
		func(c kafka.ReaderConfig, _ *Env) (kafkaGoReader, error) {
			return otelkafkago.NewReader(c, opts...), nil
		},
	)(e, o)
}

func openKafkaGo(
	wrap func(*kafka.Writer, *Env) (writeMessages, error), read func(kafka.ReaderConfig, *Env) (kafkaGoReader, error),
) func(*Env, Options) (Client, error) {
	return func(e *Env, o Options) (Client, error) {
		c := &kafkaGoClient{options: o, outcomes: map[int]error{}}
		c.kw = &kafka.Writer{
			Addr: kafka.TCP(e.Address), Topic: o.Topic, RequiredAcks: kafka.RequireAll, Async: o.Async,
			BatchTimeout: orElse(o.Linger, 5*time.Millisecond), BatchBytes: int64(o.MaxBytes), MaxAttempts: 3,
			WriteBackoffMin: time.Millisecond, WriteBackoffMax: 2 * time.Millisecond,
			Transport: &kafka.Transport{ClientID: o.ClientID}, Balancer: byPrefix{}, Completion: c.completed,
		}
		var err error
		if c.write, err = wrap(c.kw, e); err != nil {
			return nil, err
		}
		config := kafka.ReaderConfig{
			Brokers: []string{e.Address}, Topic: o.Topic, GroupID: o.Group, MaxWait: 50 * time.Millisecond,
			Dialer: &kafka.Dialer{ClientID: o.ClientID, Timeout: 5 * time.Second},
		}
		if o.Group != "" {
			config.StartOffset = kafka.FirstOffset
		}
		if o.AutoCommit {
			config.CommitInterval = autoCommitInterval
		}
		c.open = func() (kafkaGoReader, error) { return read(config, e) }
		return c, nil
	}
}

// byPrefix puts a message whose value begins with "N:" on partition N, since
// nothing else of a message reaches a Balancer unseen by wrappers.
type byPrefix struct{}

func (byPrefix) Balance(m kafka.Message, _ ...int) int {
	if len(m.Value) > 1 && m.Value[1] == ':' {
		return int(m.Value[0] - '0')
	}
	return 0
}

type index int

func (c *kafkaGoClient) completed(ms []kafka.Message, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range ms {
		n, ok := ms[i].WriterData.(index)
		if !ok {
			continue // it is not what the program put there: Send tells
		}
		c.outcomes[int(n)] = err
		if c.options.Async {
			c.pending.Done()
		}
	}
}

func (c *kafkaGoClient) Send(ctx context.Context, b *Batch) []error {
	if b.native == nil {
		b.native = newNatives(b,
			func(h Header) kafka.Header { return kafka.Header{Key: h.Key, Value: h.Value} },
			func(m *Message, hs []kafka.Header) kafka.Message {
				return kafka.Message{Key: m.Key, Value: m.Value, Headers: hs}
			},
			func(m *kafka.Message) []kafka.Header { return m.Headers },
			func(m *kafka.Message) any { return [][]byte{m.Key, m.Value} })
	}
	ms := b.native.(*natives[kafka.Message, kafka.Header]).sent
	for i := range ms {
		ms[i].WriterData = index(i)
	}
	if c.options.Async {
		c.pending.Add(len(ms))
	}
	err := c.write(ctx, ms...)
	out := make([]error, len(ms))
	if c.options.Async {
		if err != nil {
			return fill(out, err)
		}
		if err := waitFor(&c.pending); err != nil {
			return fill(out, err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		for i := range out {
			out[i] = c.outcomes[i]
		}
		return out
	}
	var each kafka.WriteErrors
	if errors.As(err, &each) {
		copy(out, each)
		return out
	}
	return fill(out, err)
}

func (c *kafkaGoClient) fetch(ctx context.Context) (kafka.Message, error) {
	if c.reader == nil {
		r, err := c.open()
		if err != nil {
			return kafka.Message{}, err
		}
		c.reader = r
	}
	return c.reader.FetchMessage(ctx)
}

func (c *kafkaGoClient) Consume(ctx context.Context, n int, handle func(context.Context, *Message) error) error {
	c.last = c.last[:0]
	for range n {
		m, err := c.fetch(ctx)
		if err != nil {
			return fmt.Errorf("cannot fetch: %w", err)
		}
		c.last = append(c.last, m)
		fn := func(ctx context.Context, m kafka.Message) error { return handle(ctx, kafkaGoMessage(&m)) }
		if r, ok := c.reader.(*otelkafkago.Reader); ok {
			_ = r.Process(ctx, m, fn)
		} else {
			_ = fn(ctx, m)
		}
	}
	return nil
}

// ConsumeConcurrently implements [ConcurrentConsumer].
func (c *kafkaGoClient) ConsumeConcurrently(ctx context.Context, n int, handle func(context.Context, *Message) error, after func(*Message)) error {
	var all sync.WaitGroup
	defer all.Wait()
	for range n {
		m, err := c.fetch(ctx)
		if err != nil {
			return fmt.Errorf("cannot fetch: %w", err)
		}
		all.Go(func() {
			defer after(kafkaGoMessage(&m))
			fn := func(ctx context.Context, m kafka.Message) error { return handle(ctx, kafkaGoMessage(&m)) }
			if r, ok := c.reader.(*otelkafkago.Reader); ok {
				_ = r.Process(ctx, m, fn)
			} else {
				_ = fn(ctx, m)
			}
		})
	}
	return nil
}

func (c *kafkaGoClient) ConsumeBatch(ctx context.Context, n int, handle func(context.Context, []*Message) error) error {
	c.last = c.last[:0]
	for range n {
		m, err := c.fetch(ctx)
		if err != nil {
			return fmt.Errorf("cannot fetch: %w", err)
		}
		c.last = append(c.last, m)
	}
	r, ok := c.reader.(*otelkafkago.Reader)
	if !ok {
		return errNoBatch
	}
	_ = r.ProcessBatch(ctx, c.last, func(ctx context.Context, ms []kafka.Message) error {
		all := make([]*Message, 0, len(ms))
		for i := range ms {
			all = append(all, kafkaGoMessage(&ms[i]))
		}
		return handle(ctx, all)
	})
	return nil
}

// Retry sends on by a Writer of its own, as a program would that has both.
func (c *kafkaGoClient) Retry(ctx context.Context) error {
	first := true
	return c.consumeRaw(ctx, 2, func(ctx context.Context, m kafka.Message) error {
		if !first {
			return nil
		}
		first = false
		next := otelkafkago.Retry(ctx, m, "")
		if err := c.write(ctx, next); err != nil {
			return err
		}
		return errOrder
	})
}

func (c *kafkaGoClient) consumeRaw(ctx context.Context, n int, fn func(context.Context, kafka.Message) error) error {
	for range n {
		m, err := c.fetch(ctx)
		if err != nil {
			return fmt.Errorf("cannot fetch: %w", err)
		}
		err = c.reader.(*otelkafkago.Reader).Process(ctx, m, fn)
		if err != nil && !errors.Is(err, errOrder) {
			return err
		}
	}
	return nil
}

func (c *kafkaGoClient) Commit(ctx context.Context) error {
	return c.reader.CommitMessages(ctx, c.last...)
}

func (c *kafkaGoClient) Close() error {
	err := c.kw.Close()
	if c.reader != nil {
		err = errors.Join(err, c.reader.Close())
		c.reader = nil
	}
	c.kw.Transport = nil
	return err
}

func kafkaGoMessage(m *kafka.Message) *Message {
	out := &Message{Partition: int32(m.Partition), Offset: m.Offset, Key: m.Key, Value: m.Value} //nolint:gosec // partitions are int32 in the protocol
	for _, h := range m.Headers {
		out.Headers = append(out.Headers, Header{Key: h.Key, Value: h.Value})
	}
	return out
}

// autoCommitInterval is longer than a scenario: the commit comes with Close.
const autoCommitInterval = 30 * time.Second

var errNoBatch = errors.New("it has no way to process several records at once")

func orElse[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

func fill(out []error, err error) []error {
	for i := range out {
		out[i] = err
	}
	return out
}

// waitFor bounds the wait for outcomes that a wrapper swallows.
func waitFor(wg *sync.WaitGroup) error {
	done := make(chan struct{})
	go func() {
		wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-time.After(10 * time.Second):
		return errors.New("the program was not told the outcome of all messages")
	}
}

// rawOf opens a client without instrumentation.
func rawOf(client string) func(*Env, Options) (Client, error) {
	switch client {
	case "franz-go":
		return func(e *Env, o Options) (Client, error) {
			cl, err := kgo.NewClient(franzOptions(e, o)...)
			return &franzClient{cl: cl, options: o}, err
		}
	case "sarama":
		return openSarama(noWraps)
	}
	return openKafkaGo(
		func(w *kafka.Writer, _ *Env) (writeMessages, error) { return w.WriteMessages, nil },
		func(c kafka.ReaderConfig, _ *Env) (kafkaGoReader, error) { return kafka.NewReader(c), nil },
	)
}
