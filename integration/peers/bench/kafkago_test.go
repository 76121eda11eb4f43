package bench

import (
	"context"
	"fmt"
	"io"
	"net"
	"time"

	ddkafka "github.com/DataDog/dd-trace-go/contrib/segmentio/kafka-go/v2"
	trendyol "github.com/Trendyol/otel-kafka-konsumer"
	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/metadata"
	"github.com/segmentio/kafka-go/protocol/produce"
	"go.opentelemetry.io/otel"

	"github.com/hoptrace/hoptrace/instrumentation/otelkafkago"
	"github.com/hoptrace/hoptrace/integration/peers/stubbroker"
)

const moduleSDK = "go.opentelemetry.io/otel/sdk"

func kafkaGoClients() []*client {
	const raw, module = "kafka-go", "github.com/segmentio/kafka-go"
	ours := func(name string, t func(*cell) (telemetry, error)) *client {
		return &client{
			name: name, raw: raw, modules: []string{module, moduleSDK}, telemetry: t,
			produce: kafkaGoProduce(func(w *kafka.Writer, t telemetry) (messageWriter, error) {
				return otelkafkago.NewWriter(w, otelkafkago.WithTracerProvider(t.provider)), nil
			}),
			consume: kafkaGoConsume(func(c kafka.ReaderConfig, t telemetry) (messageReader, error) {
				return oursReader{otelkafkago.NewReader(c, otelkafkago.WithTracerProvider(t.provider), otelkafkago.WithExplicitProcessing())}, nil
			}),
		}
	}
	return []*client{
		{
			name: raw, raw: raw, modules: []string{module}, telemetry: noTelemetry,
			produce: kafkaGoProduce(func(w *kafka.Writer, _ telemetry) (messageWriter, error) { return w, nil }),
			consume: kafkaGoConsume(func(c kafka.ReaderConfig, _ telemetry) (messageReader, error) {
				return plainReader{kafka.NewReader(c)}, nil
			}),
		},
		{ // what nobody who passes a context on can be below
			name: "kafka-go-with-traceparent", raw: raw, modules: []string{module}, telemetry: noTelemetry,
			produce: kafkaGoProduce(func(w *kafka.Writer, _ telemetry) (messageWriter, error) {
				return withHeader{w, []kafka.Header{{Key: "traceparent", Value: traceparent(false)}}}, nil
			}),
		},
		ours("hoptrace-kafka-go", hoptraceTelemetry),
		ours("hoptrace-kafka-go-sdk", sdkTelemetry),
		{
			name: "dd-trace-go-kafka-go", raw: raw, telemetry: ddTelemetry,
			modules: []string{"github.com/DataDog/dd-trace-go/v2", "github.com/DataDog/dd-trace-go/contrib/segmentio/kafka-go/v2"},
			produce: kafkaGoProduce(func(w *kafka.Writer, _ telemetry) (messageWriter, error) { return ddkafka.WrapWriter(w), nil }),
			consume: kafkaGoConsume(func(c kafka.ReaderConfig, _ telemetry) (messageReader, error) {
				return plainReader{ddkafka.NewReader(c)}, nil // its span lasts until the next fetch
			}),
		},
		{
			name: "trendyol-kafka-go", raw: raw, telemetry: sdkTelemetry,
			modules: []string{"github.com/Trendyol/otel-kafka-konsumer"},
			skip: func(benchmark string, call int) string {
				if benchmark == "Produce" && call > 1 {
					return "its WriteMessages is not traced"
				}
				return ""
			},
			produce: kafkaGoProduce(func(w *kafka.Writer, t telemetry) (messageWriter, error) {
				otel.SetTracerProvider(t.provider) // it knows an option, but does not heed it
				tw, err := trendyol.NewWriter(w, trendyol.WithPropagator(t.propagator))
				return trendyolWriter{tw}, err
			}),
			consume: kafkaGoConsume(func(c kafka.ReaderConfig, t telemetry) (messageReader, error) {
				otel.SetTracerProvider(t.provider)
				tr, err := trendyol.NewReader(kafka.NewReader(c), trendyol.WithPropagator(t.propagator))
				return trendyolReader{tr}, err
			}),
		},
	}
}

type messageWriter interface {
	WriteMessages(context.Context, ...kafka.Message) error
}

// withHeader gives every message the same headers, in place.
type withHeader struct {
	*kafka.Writer
	headers []kafka.Header
}

func (w withHeader) WriteMessages(ctx context.Context, ms ...kafka.Message) error {
	for i := range ms {
		ms[i].Headers = w.headers
	}
	return w.Writer.WriteMessages(ctx, ms...)
}

type trendyolWriter struct{ *trendyol.Writer }

func (w trendyolWriter) WriteMessages(ctx context.Context, ms ...kafka.Message) error {
	for _, m := range ms {
		if err := w.WriteMessage(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

// kafkaGoProduce writes asynchronously when messages come singly, since a
// synchronous Writer would wait for each.
func kafkaGoProduce(wrap func(*kafka.Writer, telemetry) (messageWriter, error)) func(*cell, telemetry) (func(int) error, error) {
	return func(c *cell, t telemetry) (func(int) error, error) {
		ctx := parent(c.sampled)
		var transport kafka.RoundTripper = &roundTripper{}
		addr := kafka.TCP(stubbroker.Address)
		if !c.target.stub {
			transport, addr = nil, kafka.TCP(c.target.address)
		}
		return func(n int) error {
			kw := &kafka.Writer{
				Addr: addr, Topic: produceTopic, BatchSize: 100, BatchTimeout: 5 * time.Millisecond, Async: c.call == 1,
				RequiredAcks: kafka.RequireOne,
			}
			if transport != nil {
				kw.Transport = transport
			} else {
				own := &kafka.Transport{}
				defer own.CloseIdleConnections()
				kw.Transport = own
			}
			var lost error
			kw.Completion = func(_ []kafka.Message, err error) {
				if err != nil {
					lost = err
				}
			}
			w, err := wrap(kw, t)
			if err != nil {
				return err
			}
			ms := make([]kafka.Message, c.call)
			for i := 0; i < n; i += c.call {
				for k := range ms { // anew: some change what they are given
					ms[k] = kafka.Message{Key: value[:keySize], Value: value}
				}
				if err := w.WriteMessages(ctx, ms...); err != nil {
					return fmt.Errorf("cannot write: %w", err)
				}
			}
			if err := kw.Close(); err != nil {
				return fmt.Errorf("cannot close the writer: %w", err)
			}
			return lost // one goroutine a partition calls Completion, and Close waits for it
		}, nil
	}
}

// roundTripper answers a Writer at once. It serialises the records as a
// connection would, so that headers cost what they cost.
type roundTripper struct{}

// metadataAnswer is what a real Transport gives from memory.
var metadataAnswer = &metadata.Response{
	ClusterID: "stub", ControllerID: 1,
	Brokers: []metadata.ResponseBroker{{NodeID: 1, Host: "127.0.0.1", Port: 1}},
	Topics: []metadata.ResponseTopic{{Name: produceTopic, Partitions: []metadata.ResponsePartition{{
		LeaderID: 1, ReplicaNodes: []int32{1}, IsrNodes: []int32{1},
	}}}},
}

func (*roundTripper) RoundTrip(_ context.Context, _ net.Addr, r kafka.Request) (kafka.Response, error) {
	switch q := r.(type) {
	case *metadata.Request:
		return metadataAnswer, nil
	case *produce.Request:
		set := q.Topics[0].Partitions[0].RecordSet
		set.Version = 2
		if _, err := set.WriteTo(io.Discard); err != nil {
			return nil, err
		}
		return &produce.Response{Topics: []produce.ResponseTopic{{
			Topic: q.Topics[0].Topic, Partitions: []produce.ResponsePartition{{BaseOffset: 41, LogAppendTime: -1}},
		}}}, nil
	}
	return nil, fmt.Errorf("cannot answer a %T: a stub", r)
}

// messageReader reads and processes.
type messageReader interface {
	FetchMessage(context.Context) (kafka.Message, error)
	process(ctx context.Context, ms []kafka.Message, fn func(context.Context) error) error
	Close() error
}

type fetchCloser interface {
	FetchMessage(context.Context) (kafka.Message, error)
	Close() error
}

// plainReader has no notion of processing.
type plainReader struct{ fetchCloser }

func (plainReader) process(ctx context.Context, ms []kafka.Message, fn func(context.Context) error) error {
	for range ms {
		if err := fn(ctx); err != nil {
			return err
		}
	}
	return nil
}

type oursReader struct{ *otelkafkago.Reader }

func (r oursReader) process(ctx context.Context, ms []kafka.Message, fn func(context.Context) error) error {
	if len(ms) == 1 {
		return r.Process(ctx, ms[0], func(ctx context.Context, _ kafka.Message) error { return fn(ctx) })
	}
	return r.ProcessBatch(ctx, ms, func(ctx context.Context, ms []kafka.Message) error {
		for range ms {
			if err := fn(ctx); err != nil {
				return err
			}
		}
		return nil
	})
}

type trendyolReader struct{ *trendyol.Reader }

func (r trendyolReader) FetchMessage(ctx context.Context) (m kafka.Message, err error) {
	err = r.Reader.FetchMessage(ctx, &m)
	return m, err
}

func (trendyolReader) process(ctx context.Context, ms []kafka.Message, fn func(context.Context) error) error {
	return plainReader{}.process(ctx, ms, fn)
}

func (r trendyolReader) Close() error { return r.R.Close() }

func kafkaGoConsume(open func(kafka.ReaderConfig, telemetry) (messageReader, error)) func(*cell, telemetry) (func(int) error, error) {
	return func(c *cell, t telemetry) (func(int) error, error) {
		return func(n int) error {
			config := kafka.ReaderConfig{
				Brokers: []string{c.target.address}, Topic: consumeTopic(c.sampled), QueueCapacity: 1000,
				MaxBytes: 1 << 20, MaxWait: 100 * time.Millisecond,
			}
			if c.target.stub {
				config.Brokers = []string{stubbroker.Address}
				config.Dialer = &kafka.Dialer{DialFunc: c.stub().Dial, Timeout: 10 * time.Second}
			}
			r, err := open(config, t)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			ms := make([]kafka.Message, c.call)
			for i := 0; i < n; i += c.call {
				for k := range ms {
					if ms[k], err = r.FetchMessage(ctx); err != nil {
						_ = r.Close()
						return fmt.Errorf("cannot read message %d: %w", i+k, err)
					}
				}
				if err := r.process(ctx, ms, handle); err != nil {
					return err
				}
			}
			return r.Close()
		}, nil
	}
}

// handle is the program's own work: none.
func handle(ctx context.Context) error { return ctx.Err() }
