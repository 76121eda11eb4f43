package peers

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/plugin/kotel"

	"github.com/hoptrace/hoptrace/instrumentation/otelfranz"
)

// FranzSubjects are those that instrument franz-go.
func FranzSubjects() []Subject {
	const client = "franz-go"
	return []Subject{
		{Name: "otelfranz, Init", Ours: true, Client: client, Way: "init", Open: openOurFranz},
		{Name: "otelfranz, SDK", Ours: true, Client: client, Way: "sdk", Open: openOurFranz},
		{Name: "kotel", Client: client, Way: "sdk", Open: openKotel, Note: "processing by its WithProcessSpan"},
	}
}

type franzClient struct {
	cl           *kgo.Client
	options      Options
	poll         func(ctx context.Context, n int) kgo.Fetches
	process      func(ctx context.Context, r *kgo.Record, fn func(context.Context, *kgo.Record) error) error
	processBatch func(ctx context.Context, rs []*kgo.Record, fn func(context.Context, []*kgo.Record) error) error
	commit       func(ctx context.Context, rs ...*kgo.Record) error
	last         []*kgo.Record
}

func franzOptions(e *Env, o Options) []kgo.Opt {
	opts := []kgo.Opt{
		kgo.SeedBrokers(e.Address), kgo.DefaultProduceTopic(o.Topic), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerLinger(orElse(o.Linger, 5*time.Millisecond)), kgo.MetadataMinAge(10 * time.Millisecond), kgo.RetryBackoffFn(func(int) time.Duration { return time.Millisecond }),
		kgo.FetchMaxWait(50 * time.Millisecond), kgo.ProducerBatchCompression(kgo.NoCompression()),
	}
	if o.MaxBytes > 0 {
		opts = append(opts, kgo.ProducerBatchMaxBytes(int32(o.MaxBytes))) //nolint:gosec // small
	}
	if o.ClientID != "" {
		opts = append(opts, kgo.ClientID(o.ClientID))
	}
	if o.Group != "" {
		opts = append(opts, kgo.ConsumerGroup(o.Group), kgo.ConsumeTopics(o.Topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		if o.AutoCommit {
			return append(opts, kgo.AutoCommitMarks(), kgo.AutoCommitInterval(autoCommitInterval))
		}
		return append(opts, kgo.DisableAutoCommit())
	}
	return append(opts, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{o.Topic: {0: kgo.NewOffset().AtStart()}}))
}

func openOurFranz(e *Env, o Options) (Client, error) {
	opts := []otelfranz.Option{otelfranz.WithTracerProvider(e.Provider)}
	if o.Parent {
		opts = append(opts, otelfranz.WithParent())
	}
	if o.WithoutLinks {
		opts = append(opts, otelfranz.WithoutLinks())
	}
	if o.CreateSpans {
		opts = append(opts, otelfranz.WithCreateSpans())
	}
	if o.Explicit {
		opts = append(opts, otelfranz.WithExplicitProcessing())
	}
	h := otelfranz.New(opts...)
	cl, err := kgo.NewClient(append(franzOptions(e, o), h.Opts()...)...)
	if err != nil {
		return nil, err
	}
	return &franzClient{cl: cl, options: o, poll: h.PollRecords, process: h.Process, processBatch: h.ProcessBatch, commit: h.CommitRecords}, nil
}

func openKotel(e *Env, o Options) (Client, error) {
	opts := []kotel.TracerOpt{kotel.TracerProvider(e.Provider)}
	if o.Group != "" {
		opts = append(opts, kotel.ConsumerGroup(o.Group))
	}
	tracer := kotel.NewTracer(opts...)
	cl, err := kgo.NewClient(append(franzOptions(e, o), kgo.WithHooks(kotel.NewKotel(kotel.WithTracer(tracer)).Hooks()...))...)
	if err != nil {
		return nil, err
	}
	return &franzClient{
		cl: cl, options: o, poll: cl.PollRecords, commit: cl.CommitRecords,
		process: func(_ context.Context, r *kgo.Record, fn func(context.Context, *kgo.Record) error) error {
			ctx, span := tracer.WithProcessSpan(r)
			defer span.End()
			return fn(ctx, r)
		},
	}, nil
}

func (c *franzClient) Send(ctx context.Context, b *Batch) []error {
	if b.native == nil {
		b.native = newNatives(b,
			func(h Header) kgo.RecordHeader { return kgo.RecordHeader{Key: h.Key, Value: h.Value} },
			func(m *Message, hs []kgo.RecordHeader) kgo.Record {
				return kgo.Record{Key: m.Key, Value: m.Value, Headers: hs, Partition: m.Partition}
			},
			func(r *kgo.Record) []kgo.RecordHeader { return r.Headers },
			func(r *kgo.Record) any { return [][]byte{r.Key, r.Value} })
	}
	rs := b.native.(*natives[kgo.Record, kgo.RecordHeader]).sent
	out := make([]error, len(rs))
	var pending sync.WaitGroup
	pending.Add(len(rs))
	for i := range rs {
		rs[i].Partition = b.Messages[i].Partition
		c.cl.Produce(ctx, &rs[i], func(_ *kgo.Record, err error) {
			out[i] = err
			pending.Done()
		})
	}
	if err := waitFor(&pending); err != nil {
		return fill(make([]error, len(rs)), err)
	}
	return out
}

func (c *franzClient) Consume(ctx context.Context, n int, handle func(context.Context, *Message) error) error {
	c.last = c.last[:0]
	for len(c.last) < n {
		f := c.poll(ctx, 1)
		if err := f.Err(); err != nil {
			return fmt.Errorf("cannot poll: %w", err)
		}
		for _, r := range f.Records() {
			c.last = append(c.last, r)
			_ = c.process(ctx, r, func(ctx context.Context, r *kgo.Record) error { return handle(ctx, franzMessage(r)) })
		}
	}
	return nil
}

// ConsumeConcurrently implements [ConcurrentConsumer].
func (c *franzClient) ConsumeConcurrently(ctx context.Context, n int, handle func(context.Context, *Message) error, after func(*Message)) error {
	var all sync.WaitGroup
	defer all.Wait()
	for n > 0 {
		f := c.poll(ctx, 1)
		if err := f.Err(); err != nil {
			return fmt.Errorf("cannot poll: %w", err)
		}
		for _, r := range f.Records() {
			n--
			all.Go(func() {
				defer after(franzMessage(r))
				_ = c.process(ctx, r, func(ctx context.Context, r *kgo.Record) error { return handle(ctx, franzMessage(r)) })
			})
		}
	}
	return nil
}

func (c *franzClient) ConsumeBatch(ctx context.Context, n int, handle func(context.Context, []*Message) error) error {
	if c.processBatch == nil {
		return errNoBatch
	}
	c.last = c.last[:0]
	for len(c.last) < n {
		f := c.poll(ctx, n-len(c.last))
		if err := f.Err(); err != nil {
			return fmt.Errorf("cannot poll: %w", err)
		}
		c.last = append(c.last, f.Records()...)
	}
	_ = c.processBatch(ctx, c.last, func(ctx context.Context, rs []*kgo.Record) error {
		all := make([]*Message, 0, len(rs))
		for _, r := range rs {
			all = append(all, franzMessage(r))
		}
		return handle(ctx, all)
	})
	return nil
}

// Retry implements [Retrier].
func (c *franzClient) Retry(ctx context.Context) error {
	first := true
	for range 2 {
		f := c.poll(ctx, 1)
		if err := f.Err(); err != nil {
			return fmt.Errorf("cannot poll: %w", err)
		}
		for _, r := range f.Records() {
			err := c.process(ctx, r, func(ctx context.Context, r *kgo.Record) error {
				if !first {
					return nil
				}
				first = false
				if err := c.cl.ProduceSync(ctx, otelfranz.Retry(ctx, r, topic)).FirstErr(); err != nil {
					return err
				}
				return errOrder
			})
			if err != nil && !errors.Is(err, errOrder) {
				return err
			}
		}
	}
	return nil
}

func (c *franzClient) Commit(ctx context.Context) error {
	if c.options.AutoCommit {
		c.cl.MarkCommitRecords(c.last...)
		return nil
	}
	return c.commit(ctx, c.last...)
}

func (c *franzClient) Close() error {
	c.cl.Close()
	return nil
}

func franzMessage(r *kgo.Record) *Message {
	out := &Message{Partition: r.Partition, Offset: r.Offset, Key: r.Key, Value: r.Value}
	for _, h := range r.Headers {
		out.Headers = append(out.Headers, Header{Key: h.Key, Value: h.Value})
	}
	return out
}

var errClosed = errors.New("the channel of messages was closed")
