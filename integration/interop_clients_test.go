package integration

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hoptrace/hoptrace/instrumentation/otelfranz"
	"github.com/hoptrace/hoptrace/instrumentation/otelkafkago"
	"github.com/hoptrace/hoptrace/instrumentation/otelsarama"
)

// byKafkaGo, byFranz and bySarama are the Go clients that a hop may have.

func byKafkaGo(ctx context.Context, r *relay) (err error) {
	opts := []otelkafkago.Option{otelkafkago.WithTracerProvider(r.tracing.TracerProvider())}
	if r.parent {
		opts = append(opts, otelkafkago.WithParent())
	}
	// The default transport would remember for all services which topics there are.
	transport := &kafka.Transport{ClientID: r.service}
	defer transport.CloseIdleConnections()
	w := otelkafkago.NewWriter(&kafka.Writer{
		Addr: kafka.TCP(r.broker), Topic: r.to, RequiredAcks: kafka.RequireAll, BatchTimeout: time.Millisecond, Transport: transport,
	}, opts...)
	reader := otelkafkago.NewReader(kafka.ReaderConfig{
		Brokers: []string{r.broker}, GroupID: r.service, Topic: r.from, StartOffset: kafka.FirstOffset, MaxWait: 100 * time.Millisecond,
		JoinGroupBackoff: 200 * time.Millisecond,
	}, opts...)
	defer func() { err = errors.Join(err, reader.Close(), w.Close()) }()
	for !r.done() {
		m, err := reader.FetchMessage(ctx)
		if err != nil {
			return fmt.Errorf("cannot fetch: %w", err)
		}
		err = reader.Process(ctx, m, func(ctx context.Context, m kafka.Message) error {
			headers := map[string]string{}
			for _, h := range m.Headers {
				headers[h.Key] = string(h.Value)
			}
			r.saw(ctx, m.Value, headers)
			return w.WriteMessages(ctx, kafka.Message{Key: m.Key, Value: m.Value})
		})
		if err != nil {
			return fmt.Errorf("cannot send order %s on: %w", m.Value, err)
		}
		if err := reader.CommitMessages(ctx, m); err != nil {
			return fmt.Errorf("cannot commit order %s: %w", m.Value, err)
		}
	}
	return nil
}

func byFranz(ctx context.Context, r *relay) error {
	opts := []otelfranz.Option{otelfranz.WithTracerProvider(r.tracing.TracerProvider())}
	if r.parent {
		opts = append(opts, otelfranz.WithParent())
	}
	hooks := otelfranz.New(opts...)
	client, err := kgo.NewClient(append(
		hooks.Opts(), kgo.SeedBrokers(r.broker), kgo.ClientID(r.service), kgo.ConsumeTopics(r.from), kgo.ConsumerGroup(r.service),
		kgo.DisableAutoCommit(), kgo.DefaultProduceTopic(r.to),
		kgo.ProducerBatchCompression(kgo.NoCompression()), // kafkajs has no Snappy by itself
	)...)
	if err != nil {
		return err
	}
	defer client.Close()
	for !r.done() {
		fetches := hooks.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("cannot fetch: %w", err)
		}
		for _, record := range fetches.Records() {
			err := hooks.Process(ctx, record, func(ctx context.Context, record *kgo.Record) error {
				headers := map[string]string{}
				for _, h := range record.Headers {
					headers[h.Key] = string(h.Value)
				}
				r.saw(ctx, record.Value, headers)
				return client.ProduceSync(ctx, &kgo.Record{Key: record.Key, Value: record.Value}).FirstErr()
			})
			if err != nil {
				return fmt.Errorf("cannot send order %s on: %w", record.Value, err)
			}
		}
		if err := hooks.CommitRecords(ctx, fetches.Records()...); err != nil {
			return fmt.Errorf("cannot commit: %w", err)
		}
	}
	return nil
}

func bySarama(ctx context.Context, r *relay) (err error) {
	opts := []otelsarama.Option{otelsarama.WithTracerProvider(r.tracing.TracerProvider())}
	if r.parent {
		opts = append(opts, otelsarama.WithParent())
	}
	config := sarama.NewConfig()
	config.ClientID = r.service
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Return.Successes = true
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	in := otelsarama.New(config, opts...)
	producer, err := in.NewSyncProducer([]string{r.broker})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, producer.Close()) }()
	group, err := in.NewConsumerGroup([]string{r.broker}, r.service)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, group.Close()) }()
	ctx, done := context.WithCancel(ctx)
	defer done()
	h := &saramaRelay{relay: r, in: in, producer: producer, enough: done}
	for !r.done() && h.err == nil {
		if err := group.Consume(ctx, []string{r.from}, h); err != nil {
			return fmt.Errorf("cannot consume: %w", err)
		}
		if ctx.Err() != nil && !r.done() {
			return errors.Join(h.err, context.Cause(ctx))
		}
	}
	return h.err
}

// saramaRelay handles the claim of the one partition.
type saramaRelay struct {
	*relay
	in       *otelsarama.Instrumentation
	producer *otelsarama.SyncProducer
	enough   context.CancelFunc
	err      error
}

func (*saramaRelay) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (*saramaRelay) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (h *saramaRelay) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for m := range claim.Messages() {
		h.err = h.in.Process(session.Context(), m, func(ctx context.Context, m *sarama.ConsumerMessage) error {
			headers := map[string]string{}
			for _, header := range m.Headers {
				headers[string(header.Key)] = string(header.Value)
			}
			h.saw(ctx, m.Value, headers)
			_, _, err := h.producer.SendMessageContext(ctx, &sarama.ProducerMessage{
				Topic: h.to, Key: sarama.ByteEncoder(m.Key), Value: sarama.ByteEncoder(m.Value),
			})
			return err
		})
		session.MarkMessage(m, "")
		if h.err != nil || h.done() {
			h.enough()
			return h.err
		}
	}
	return nil
}
