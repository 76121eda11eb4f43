package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// ProducerConfig says how we produce. Acknowledgement by all in-sync
// replicas and idempotence are not choices.
type ProducerConfig struct {
	// MaxBufferedBytes and MaxBufferedRecords bound what is not yet
	// acknowledged, before compression. Beyond, Produce waits and TryProduce
	// fails.
	MaxBufferedBytes   int `yaml:"max_buffered_bytes"`
	MaxBufferedRecords int `yaml:"max_buffered_records"`

	// Linger is how long a batch waits for more records.
	Linger time.Duration `yaml:"linger"`

	// Compression is none, gzip, snappy, lz4 or zstd.
	Compression string `yaml:"compression"`

	// MaxMessageBytes bounds a batch before compression. It must not exceed
	// the topic's max.message.bytes, or batches that do not compress fail.
	MaxMessageBytes int32 `yaml:"max_message_bytes"`

	// DeliveryTimeout bounds how long a record is tried; it fails after.
	DeliveryTimeout time.Duration `yaml:"delivery_timeout"`
}

// DefaultProducerConfig returns our choices. snappy, because it costs the least CPU
// there and back: on OTLP-like bytes 0.4 of lz4's and 0.17 of zstd's, on events 0.75
// and 0.55, for 5 and 28 % more bytes than lz4 (BenchmarkCompression: 0.33 µs a span
// at a ratio of 3.5, 20 µs an event of 20 KB at 9).
func DefaultProducerConfig() ProducerConfig {
	return ProducerConfig{
		MaxBufferedBytes:   64 << 20,
		MaxBufferedRecords: 20_000,
		Linger:             5 * time.Millisecond,
		Compression:        "snappy",
		MaxMessageBytes:    4 << 20,
		DeliveryTimeout:    30 * time.Second,
	}
}

// Validate names every fault of c at once.
func (c ProducerConfig) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("kafka.producer."+format, args...)) }
	if c.MaxMessageBytes < 1<<10 || c.MaxMessageBytes > 64<<20 {
		bad("max_message_bytes is %d; it must be from 1 KiB to 64 MiB", c.MaxMessageBytes)
	}
	if c.MaxBufferedBytes < int(c.MaxMessageBytes) {
		bad("max_buffered_bytes is %d; it must be at least max_message_bytes (%d)", c.MaxBufferedBytes, c.MaxMessageBytes)
	}
	if c.MaxBufferedRecords < 1 {
		bad("max_buffered_records is %d; it must be positive", c.MaxBufferedRecords)
	}
	if c.Linger < 0 || c.Linger > time.Minute {
		bad("linger is %v; it must be from 0 to a minute", c.Linger)
	}
	if _, err := codec(c.Compression); err != nil {
		bad("compression: %w", err)
	}
	if c.DeliveryTimeout < time.Second {
		bad("delivery_timeout is %v; it must be at least 1s", c.DeliveryTimeout)
	}
	return errors.Join(errs...)
}

func codec(name string) (kgo.CompressionCodec, error) {
	switch name {
	case "none":
		return kgo.NoCompression(), nil
	case "gzip":
		return kgo.GzipCompression(), nil
	case "snappy":
		return kgo.SnappyCompression(), nil
	case "lz4":
		return kgo.Lz4Compression(), nil
	case "zstd":
		return kgo.ZstdCompression(), nil
	}
	return kgo.CompressionCodec{}, fmt.Errorf("unknown compression %q: there are none, gzip, snappy, lz4, zstd", name)
}

// Producer writes records to the topics that their logical names stand for;
// every method is safe for concurrent use.
type Producer struct {
	cl    *kgo.Client
	names Names
}

// ErrBufferFull is what TryProduce's callback gets when the bounds are reached.
var ErrBufferFull = kgo.ErrMaxBuffered

// ErrTooLarge is the reason of a record that no batch can hold, here or at
// the broker.
var ErrTooLarge = errors.New("record is too large")

// NewProducer opens a producer. It connects when first used. m may be nil.
func NewProducer(cfg Config, pc ProducerConfig, log *slog.Logger, m *Metrics, extra ...kgo.Opt) (*Producer, error) {
	if err := pc.Validate(); err != nil {
		return nil, err
	}
	compression, err := codec(pc.Compression)
	if err != nil {
		return nil, err
	}
	opts := []kgo.Opt{
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerBatchCompression(compression, kgo.NoCompression()),
		kgo.ProducerLinger(pc.Linger),
		kgo.ProducerBatchMaxBytes(pc.MaxMessageBytes),
		kgo.MaxBufferedBytes(pc.MaxBufferedBytes),
		kgo.MaxBufferedRecords(pc.MaxBufferedRecords),
		kgo.RecordDeliveryTimeout(pc.DeliveryTimeout),
		kgo.ProduceRequestTimeout(10 * time.Second),
		// Without it a record that was tried once cannot be given up: whoever
		// waits for it would wait until the broker is back. What may then be
		// stored twice or out of order is what its sender sends again.
		kgo.AllowIdempotentProduceCancellation(),
		// Keyed records go by hash of the key; those without a key fill one
		// partition's batch and then go on to the next.
		kgo.RecordPartitioner(kgo.UniformBytesPartitioner(64<<10, true, true, nil)),
	}
	cl, err := NewClient(cfg, log, m, append(opts, extra...)...)
	if err != nil {
		return nil, err
	}
	return &Producer{cl, cfg.Topics}, nil
}

// Produce hands r over and returns; done is called once, from another
// goroutine, when r is durable or has failed. While the buffer is full it
// waits, until ctx ends. r and its bytes are the producer's until done.
func (p *Producer) Produce(ctx context.Context, r *kgo.Record, done func(*kgo.Record, error)) {
	p.cl.Produce(ctx, r, p.wrap(r, done))
}

// TryProduce is Produce that does not wait: done gets ErrBufferFull.
func (p *Producer) TryProduce(ctx context.Context, r *kgo.Record, done func(*kgo.Record, error)) {
	p.cl.TryProduce(ctx, r, p.wrap(r, done))
}

// ProduceSync returns once all of rs are durable, or the first error. Some
// may be durable even so.
func (p *Producer) ProduceSync(ctx context.Context, rs ...*kgo.Record) error {
	if len(p.names) == 0 {
		return describe(p.cl.ProduceSync(ctx, rs...).FirstErr())
	}
	logical := make([]string, len(rs))
	for i, r := range rs {
		logical[i], r.Topic = r.Topic, p.names.Physical(r.Topic)
	}
	err := p.cl.ProduceSync(ctx, rs...).FirstErr()
	for i, r := range rs { // whoever keeps a record that failed keeps its logical name
		r.Topic = logical[i]
	}
	return describe(err)
}

// Buffered is what is not yet acknowledged, against the bounds.
func (p *Producer) Buffered() (records, bytes int64) {
	return p.cl.BufferedProduceRecords(), p.cl.BufferedProduceBytes()
}

// Client is the client beneath, for administration over the same connections.
func (p *Producer) Client() *kgo.Client { return p.cl }

// Flush waits until everything handed over is acknowledged or has failed.
func (p *Producer) Flush(ctx context.Context) error {
	if err := p.cl.Flush(ctx); err != nil {
		return fmt.Errorf("cannot flush the producer: %d records are not acknowledged: %w", p.cl.BufferedProduceRecords(), err)
	}
	return nil
}

// Close flushes until ctx ends and closes; what is left fails. Safe twice.
func (p *Producer) Close(ctx context.Context) error {
	err := p.Flush(ctx)
	p.cl.Close()
	return err
}

// wrap gives r the brokers' name of its topic until it is done.
func (p *Producer) wrap(r *kgo.Record, done func(*kgo.Record, error)) func(*kgo.Record, error) {
	logical := r.Topic
	r.Topic = p.names.Physical(logical)
	return func(r *kgo.Record, err error) {
		r.Topic = logical
		done(r, describe(err))
	}
}
