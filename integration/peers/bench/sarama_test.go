package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	ddsarama "github.com/DataDog/dd-trace-go/contrib/IBM/sarama/v2"
	"github.com/IBM/sarama"
	"github.com/dnwe/otelsarama"

	ours "github.com/hoptrace/hoptrace/instrumentation/otelsarama"
	"github.com/hoptrace/hoptrace/integration/peers/stubbroker"
)

// saramaParts are the wrappings of one library, for one round.
type saramaParts struct {
	config    *sarama.Config // to make clients with
	message   func(*sarama.ProducerMessage)
	sync      func(*sarama.Config, sarama.SyncProducer, telemetry) (sarama.SyncProducer, error)
	async     func(*sarama.Config, sarama.AsyncProducer, telemetry) (sarama.AsyncProducer, error)
	partition func(sarama.PartitionConsumer, telemetry) sarama.PartitionConsumer
	process   func(ctx context.Context, ms []*sarama.ConsumerMessage, fn func(context.Context) error) error
}

func saramaPlain(ctx context.Context, ms []*sarama.ConsumerMessage, fn func(context.Context) error) error {
	for range ms {
		if err := fn(ctx); err != nil {
			return err
		}
	}
	return nil
}

func saramaClients() []*client {
	const raw, module = "sarama", "github.com/IBM/sarama"
	nothing := func(*sarama.ProducerMessage) {}
	plain := saramaParts{
		message: nothing,
		sync:    func(_ *sarama.Config, p sarama.SyncProducer, _ telemetry) (sarama.SyncProducer, error) { return p, nil },
		async: func(_ *sarama.Config, p sarama.AsyncProducer, _ telemetry) (sarama.AsyncProducer, error) {
			return p, nil
		},
		partition: func(c sarama.PartitionConsumer, _ telemetry) sarama.PartitionConsumer { return c },
		process:   saramaPlain,
	}
	options := func(t telemetry) []otelsarama.Option {
		return []otelsarama.Option{otelsarama.WithTracerProvider(t.provider), otelsarama.WithPropagators(t.propagator)}
	}
	peer := saramaParts{
		message: nothing,
		sync: func(c *sarama.Config, p sarama.SyncProducer, t telemetry) (sarama.SyncProducer, error) {
			return otelsarama.WrapSyncProducer(c, p, options(t)...), nil
		},
		async: func(c *sarama.Config, p sarama.AsyncProducer, t telemetry) (sarama.AsyncProducer, error) {
			return otelsarama.WrapAsyncProducer(c, p, options(t)...), nil
		},
		partition: func(c sarama.PartitionConsumer, t telemetry) sarama.PartitionConsumer {
			return otelsarama.WrapPartitionConsumer(c, options(t)...)
		},
		process: saramaPlain,
	}
	dd := saramaParts{
		message: nothing,
		sync: func(c *sarama.Config, p sarama.SyncProducer, _ telemetry) (sarama.SyncProducer, error) {
			return ddsarama.WrapSyncProducer(c, p), nil
		},
		async: func(c *sarama.Config, p sarama.AsyncProducer, _ telemetry) (sarama.AsyncProducer, error) {
			return ddsarama.WrapAsyncProducer(c, p), nil
		},
		partition: func(c sarama.PartitionConsumer, _ telemetry) sarama.PartitionConsumer {
			return ddsarama.WrapPartitionConsumer(c)
		},
		process: saramaPlain,
	}
	with := func(p saramaParts) func(*cell, *sarama.Config, telemetry) saramaParts {
		return func(_ *cell, config *sarama.Config, _ telemetry) saramaParts {
			p.config = config
			return p
		}
	}
	add := func(name string, p func(*cell, *sarama.Config, telemetry) saramaParts, t func(*cell) (telemetry, error), modules ...string) *client {
		return &client{name: name, raw: raw, modules: modules, telemetry: t, produce: saramaProduce(p), consume: saramaConsume(p)}
	}
	return []*client{
		add(raw, with(plain), noTelemetry, module),
		add("hoptrace-sarama", saramaOurs, hoptraceTelemetry, module),
		add("hoptrace-sarama-sdk", saramaOurs, sdkTelemetry, module, moduleSDK),
		add("otelsarama", with(peer), sdkTelemetry, module, "github.com/dnwe/otelsarama", moduleSDK),
		add("dd-trace-go-sarama", with(dd), ddTelemetry, "github.com/DataDog/dd-trace-go/v2", "github.com/DataDog/dd-trace-go/contrib/IBM/sarama/v2"),
	}
}

func saramaOurs(c *cell, config *sarama.Config, t telemetry) saramaParts {
	in := ours.New(config, ours.WithTracerProvider(t.provider), ours.WithExplicitProcessing())
	ctx := parent(c.sampled)
	return saramaParts{
		config:  in.Config(),
		message: func(m *sarama.ProducerMessage) { ours.WithContext(ctx, m) },
		sync: func(_ *sarama.Config, p sarama.SyncProducer, _ telemetry) (sarama.SyncProducer, error) {
			return in.WrapSyncProducer(p), nil
		},
		async: func(_ *sarama.Config, p sarama.AsyncProducer, _ telemetry) (sarama.AsyncProducer, error) {
			return in.WrapAsyncProducer(p), nil
		},
		partition: func(pc sarama.PartitionConsumer, _ telemetry) sarama.PartitionConsumer {
			return in.WrapPartitionConsumer(pc, consumeTopic(c.sampled), 0)
		},
		process: func(ctx context.Context, ms []*sarama.ConsumerMessage, fn func(context.Context) error) error {
			if len(ms) == 1 {
				return in.Process(ctx, ms[0], func(ctx context.Context, _ *sarama.ConsumerMessage) error { return fn(ctx) })
			}
			return in.ProcessBatch(ctx, ms, func(ctx context.Context, ms []*sarama.ConsumerMessage) error { return saramaPlain(ctx, ms, fn) })
		},
	}
}

func (c *cell) sarama() (config *sarama.Config, address []string) {
	b := c.stub()
	config, address = stubbroker.SaramaConfig(b), []string{stubbroker.Address}
	if !c.target.stub {
		config.Net.Proxy.Enable, config.Net.Proxy.Dialer = false, nil
		address = []string{c.target.address}
	}
	// Both peers pass messages on in one goroutine that also takes successes, and
	// stop for good when the two wait for each other (DataDog/dd-trace-go#5361):
	// with sarama's default of 256 they end no round of this benchmark.
	config.ChannelBufferSize = max(config.ChannelBufferSize, c.n)
	config.Producer.Flush.Messages, config.Producer.Flush.Frequency = 100, 5*time.Millisecond
	config.Consumer.Fetch.Default, config.Consumer.MaxWaitTime = 1<<20, 100*time.Millisecond
	return config, address
}

func saramaProduce(open func(*cell, *sarama.Config, telemetry) saramaParts) func(*cell, telemetry) (func(int) error, error) {
	return func(c *cell, t telemetry) (func(int) error, error) {
		if c.call == 1 {
			return func(n int) error { return saramaAsync(c, open, t, n) }, nil
		}
		return func(n int) error { return saramaSync(c, open, t, n) }, nil
	}
}

func saramaSync(c *cell, open func(*cell, *sarama.Config, telemetry) saramaParts, t telemetry, n int) (err error) {
	config, address := c.sarama()
	parts := open(c, config, t)
	inner, err := sarama.NewSyncProducer(address, parts.config)
	if err != nil {
		return err
	}
	p, err := parts.sync(config, inner, t)
	if err != nil {
		return err
	}
	defer closeInto(&err, p)
	ms := make([]*sarama.ProducerMessage, c.call)
	for i := 0; i < n; i += c.call {
		for k := range ms {
			ms[k] = &sarama.ProducerMessage{Topic: produceTopic, Key: sarama.ByteEncoder(value[:keySize]), Value: sarama.ByteEncoder(value)}
			parts.message(ms[k])
		}
		if err := p.SendMessages(ms); err != nil {
			return fmt.Errorf("cannot send: %w", err)
		}
	}
	return nil
}

func saramaAsync(c *cell, open func(*cell, *sarama.Config, telemetry) saramaParts, t telemetry, n int) (err error) {
	config, address := c.sarama()
	parts := open(c, config, t)
	inner, err := sarama.NewAsyncProducer(address, parts.config)
	if err != nil {
		return err
	}
	p, err := parts.async(config, inner, t)
	if err != nil {
		return err
	}
	defer closeInto(&err, p)
	done := make(chan error, 1)
	go func() {
		for range n {
			select {
			case <-p.Successes():
			case e := <-p.Errors():
				done <- e
				return
			}
		}
		done <- nil
	}()
	for range n {
		m := &sarama.ProducerMessage{Topic: produceTopic, Key: sarama.ByteEncoder(value[:keySize]), Value: sarama.ByteEncoder(value)}
		parts.message(m)
		select {
		case p.Input() <- m:
		case err := <-done:
			return errors.Join(errShort, err)
		}
	}
	return <-done
}

func saramaConsume(open func(*cell, *sarama.Config, telemetry) saramaParts) func(*cell, telemetry) (func(int) error, error) {
	return func(c *cell, t telemetry) (func(int) error, error) {
		return func(n int) (err error) {
			config, address := c.sarama()
			parts := open(c, config, t)
			consumer, err := sarama.NewConsumer(address, parts.config)
			if err != nil {
				return err
			}
			defer closeInto(&err, consumer)
			inner, err := consumer.ConsumePartition(consumeTopic(c.sampled), 0, sarama.OffsetOldest)
			if err != nil {
				return err
			}
			pc := parts.partition(inner, t)
			defer closeInto(&err, pc)
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			messages := pc.Messages()
			ms := make([]*sarama.ConsumerMessage, c.call)
			for i := 0; i < n; i += c.call {
				for k := range ms {
					select {
					case ms[k] = <-messages:
					case <-ctx.Done():
						return fmt.Errorf("cannot read message %d: %w", i+k, errShort)
					}
				}
				if err := parts.process(ctx, ms, handle); err != nil {
					return err
				}
			}
			return nil
		}, nil
	}
}

func closeInto(err *error, c io.Closer) {
	if e := c.Close(); *err == nil && e != nil {
		*err = fmt.Errorf("cannot close: %w", e)
	}
}
