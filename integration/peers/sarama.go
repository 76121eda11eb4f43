package peers

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	ddsarama "github.com/DataDog/dd-trace-go/contrib/IBM/sarama/v2"
	"github.com/IBM/sarama"
	"github.com/dnwe/otelsarama"
	"go.opentelemetry.io/otel/propagation"
)

// SaramaSubjects are those that instrument sarama.
func SaramaSubjects() []Subject {
	const client = "sarama"
	return append(ourSaramaSubjects(),
		Subject{Name: "otelsarama (dnwe)", Client: client, Way: "sdk", NoContext: true, NoGroup: true, Open: openSarama(func(e *Env) saramaWraps {
			opts := []otelsarama.Option{otelsarama.WithTracerProvider(e.Provider), otelsarama.WithPropagators(propagation.TraceContext{})}
			return saramaWraps{
				sync: func(c *sarama.Config, p sarama.SyncProducer) sarama.SyncProducer {
					return otelsarama.WrapSyncProducer(c, p, opts...)
				},
				async: func(c *sarama.Config, p sarama.AsyncProducer) sarama.AsyncProducer {
					return otelsarama.WrapAsyncProducer(c, p, opts...)
				},
				partition: func(pc sarama.PartitionConsumer) sarama.PartitionConsumer {
					return otelsarama.WrapPartitionConsumer(pc, opts...)
				},
			}
		})},
		Subject{Name: "dd-trace-go sarama", Client: client, Way: "dd", NoContext: true, NoGroup: true, Open: openSarama(func(*Env) saramaWraps {
			return saramaWraps{
				sync: func(c *sarama.Config, p sarama.SyncProducer) sarama.SyncProducer {
					return ddsarama.WrapSyncProducer(c, p)
				},
				async: func(c *sarama.Config, p sarama.AsyncProducer) sarama.AsyncProducer {
					return ddsarama.WrapAsyncProducer(c, p)
				},
				partition: func(pc sarama.PartitionConsumer) sarama.PartitionConsumer {
					return ddsarama.WrapPartitionConsumer(pc)
				},
			}
		})},
	)
}

// saramaWraps are a peer's wrappings. None takes the program's context; what is
// sent has the context that its headers carry.
type saramaWraps struct {
	sync      func(*sarama.Config, sarama.SyncProducer) sarama.SyncProducer
	async     func(*sarama.Config, sarama.AsyncProducer) sarama.AsyncProducer
	partition func(sarama.PartitionConsumer) sarama.PartitionConsumer
}

type saramaClient struct {
	sync     sarama.SyncProducer
	async    sarama.AsyncProducer
	consumer sarama.Consumer
	options  Options
	wrap     saramaWraps

	partition sarama.PartitionConsumer // opened by the first Consume
}

func saramaConfig(o Options) *sarama.Config {
	c := sarama.NewConfig()
	c.Version = sarama.V2_1_0_0
	c.ClientID = orElse(o.ClientID, "sarama")
	c.Producer.Return.Successes, c.Producer.Return.Errors = true, true
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Producer.Partitioner = sarama.NewManualPartitioner
	c.Producer.Retry.Backoff = time.Millisecond
	c.Producer.Flush.Frequency = orElse(o.Linger, 5*time.Millisecond)
	if o.MaxBytes > 0 {
		c.Producer.MaxMessageBytes = o.MaxBytes
	}
	c.Consumer.MaxWaitTime = 50 * time.Millisecond
	c.Consumer.Offsets.Initial, c.Consumer.Offsets.AutoCommit.Enable = sarama.OffsetOldest, o.AutoCommit
	c.Consumer.Offsets.AutoCommit.Interval = autoCommitInterval
	return c
}

func openSarama(wraps func(*Env) saramaWraps) func(*Env, Options) (Client, error) {
	return func(e *Env, o Options) (Client, error) {
		c := &saramaClient{options: o, wrap: wraps(e)}
		config, brokers := saramaConfig(o), []string{e.Address}
		if o.Async {
			p, err := sarama.NewAsyncProducer(brokers, config)
			if err != nil {
				return nil, err
			}
			c.async = c.wrap.async(config, p)
		} else {
			p, err := sarama.NewSyncProducer(brokers, config)
			if err != nil {
				return nil, err
			}
			c.sync = c.wrap.sync(config, p)
		}
		var err error
		c.consumer, err = sarama.NewConsumer(brokers, config)
		return c, err
	}
}

// saramaNatives makes a batch's messages, or returns those of an earlier Send.
func saramaNatives(b *Batch) []*sarama.ProducerMessage {
	if b.native == nil {
		b.native = newNatives(b,
			func(h Header) sarama.RecordHeader { return sarama.RecordHeader{Key: []byte(h.Key), Value: h.Value} },
			func(m *Message, hs []sarama.RecordHeader) sarama.ProducerMessage {
				out := sarama.ProducerMessage{Topic: topic, Headers: hs, Partition: m.Partition}
				if m.Key != nil {
					out.Key = sarama.ByteEncoder(m.Key)
				}
				if m.Value != nil {
					out.Value = sarama.ByteEncoder(m.Value)
				}
				return out
			},
			func(m *sarama.ProducerMessage) []sarama.RecordHeader { return m.Headers },
			func(m *sarama.ProducerMessage) any { return []sarama.Encoder{m.Key, m.Value} })
	}
	sent := b.native.(*natives[sarama.ProducerMessage, sarama.RecordHeader]).sent
	ms := make([]*sarama.ProducerMessage, len(sent))
	for i := range sent {
		sent[i].Partition = b.Messages[i].Partition
		ms[i] = &sent[i]
	}
	return ms
}

func (c *saramaClient) Send(_ context.Context, b *Batch) []error {
	ms := saramaNatives(b)
	if c.sync != nil {
		return saramaSendSync(c.sync.SendMessages, ms)
	}
	return saramaSendAsync(c.async.Input(), c.async.Successes(), c.async.Errors(), ms)
}

func saramaSendSync(send func([]*sarama.ProducerMessage) error, ms []*sarama.ProducerMessage) []error {
	out := make([]error, len(ms))
	err := send(ms)
	var each sarama.ProducerErrors
	if !errors.As(err, &each) {
		return fill(out, err)
	}
	for _, e := range each {
		for i, m := range ms {
			if m == e.Msg {
				out[i] = e.Err
			}
		}
	}
	return out
}

func saramaSendAsync(input chan<- *sarama.ProducerMessage, successes <-chan *sarama.ProducerMessage, failures <-chan *sarama.ProducerError, ms []*sarama.ProducerMessage) []error {
	out := make([]error, len(ms))
	var sent sync.WaitGroup
	sent.Go(func() {
		for _, m := range ms {
			input <- m
		}
	})
	limit := time.After(10 * time.Second)
	for range ms {
		select {
		case <-successes:
		case e := <-failures:
			for i, m := range ms {
				if m == e.Msg {
					out[i] = e.Err
				}
			}
		case <-limit:
			return fill(out, errors.New("the program was not told the outcome of all messages"))
		}
	}
	sent.Wait()
	return out
}

func (c *saramaClient) Consume(ctx context.Context, n int, handle func(context.Context, *Message) error) error {
	if c.partition == nil {
		pc, err := c.consumer.ConsumePartition(c.options.Topic, 0, sarama.OffsetOldest)
		if err != nil {
			return fmt.Errorf("cannot consume: %w", err)
		}
		c.partition = c.wrap.partition(pc)
	}
	for range n {
		select {
		case m, ok := <-c.partition.Messages():
			if !ok {
				return errClosed
			}
			_ = handle(ctx, saramaMessage(m))
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (c *saramaClient) Close() error {
	var err error
	if c.partition != nil {
		err = c.partition.Close()
		c.partition = nil
	}
	if c.sync != nil {
		err = errors.Join(err, c.sync.Close())
		c.sync = nil
	}
	if c.async != nil {
		err = errors.Join(err, c.async.Close())
		c.async = nil
	}
	if c.consumer != nil {
		err = errors.Join(err, c.consumer.Close())
		c.consumer = nil
	}
	return err
}

func saramaMessage(m *sarama.ConsumerMessage) *Message {
	out := &Message{Partition: m.Partition, Offset: m.Offset, Key: m.Key, Value: m.Value}
	for _, h := range m.Headers {
		out.Headers = append(out.Headers, Header{Key: string(h.Key), Value: h.Value})
	}
	return out
}

// noWraps leaves the client as it is.
func noWraps(*Env) saramaWraps {
	return saramaWraps{
		sync:      func(_ *sarama.Config, p sarama.SyncProducer) sarama.SyncProducer { return p },
		async:     func(_ *sarama.Config, p sarama.AsyncProducer) sarama.AsyncProducer { return p },
		partition: func(pc sarama.PartitionConsumer) sarama.PartitionConsumer { return pc },
	}
}
