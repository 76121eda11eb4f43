package bench

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/plugin/kotel"

	"github.com/hoptrace/hoptrace/instrumentation/otelfranz"
	"github.com/hoptrace/hoptrace/integration/peers/stubbroker"
)

// franzClient is a client as its wrapper has it.
type franzClient struct {
	*kgo.Client
	poll    func(ctx context.Context, n int) kgo.Fetches
	process func(ctx context.Context, rs []*kgo.Record, fn func(context.Context) error) error
}

func franzPlain(ctx context.Context, rs []*kgo.Record, fn func(context.Context) error) error {
	for range rs {
		if err := fn(ctx); err != nil {
			return err
		}
	}
	return nil
}

func franzClients() []*client {
	const raw, module = "franz-go", "github.com/twmb/franz-go"
	plain := func(_ *cell, opts []kgo.Opt, _ telemetry) (franzClient, error) {
		cl, err := kgo.NewClient(opts...)
		return franzClient{cl, cl.PollRecords, franzPlain}, err
	}
	withKotel := func(_ *cell, opts []kgo.Opt, t telemetry) (franzClient, error) {
		tracer := kotel.NewTracer(kotel.TracerProvider(t.provider), kotel.TracerPropagator(t.propagator))
		cl, err := kgo.NewClient(append(opts, kgo.WithHooks(kotel.NewKotel(kotel.WithTracer(tracer)).Hooks()...))...)
		return franzClient{cl, cl.PollRecords, func(_ context.Context, rs []*kgo.Record, fn func(context.Context) error) error {
			for _, r := range rs {
				ctx, span := tracer.WithProcessSpan(r)
				err := fn(ctx)
				span.End()
				if err != nil {
					return err
				}
			}
			return nil
		}}, err
	}
	ours := func(c *cell, opts []kgo.Opt, t telemetry) (franzClient, error) {
		options := []otelfranz.Option{otelfranz.WithTracerProvider(t.provider), otelfranz.WithExplicitProcessing()}
		if c.target.stub {
			options = append(options, otelfranz.WithDialer(c.stub().Dial))
		}
		h := otelfranz.New(options...)
		cl, err := kgo.NewClient(append(opts, h.Opts()...)...)
		return franzClient{cl, h.PollRecords, func(ctx context.Context, rs []*kgo.Record, fn func(context.Context) error) error {
			if len(rs) == 1 {
				return h.Process(ctx, rs[0], func(ctx context.Context, _ *kgo.Record) error { return fn(ctx) })
			}
			return h.ProcessBatch(ctx, rs, func(ctx context.Context, rs []*kgo.Record) error { return franzPlain(ctx, rs, fn) })
		}}, err
	}
	return []*client{
		{name: raw, raw: raw, modules: []string{module}, telemetry: noTelemetry, produce: franzProduce(plain), consume: franzConsume(plain)},
		{name: "hoptrace-franz-go", raw: raw, modules: []string{module}, telemetry: hoptraceTelemetry, produce: franzProduce(ours), consume: franzConsume(ours)},
		{name: "hoptrace-franz-go-sdk", raw: raw, modules: []string{module, moduleSDK}, telemetry: sdkTelemetry, produce: franzProduce(ours), consume: franzConsume(ours)},
		{
			name: "kotel", raw: raw, modules: []string{module, "github.com/twmb/franz-go/plugin/kotel", moduleSDK}, telemetry: sdkTelemetry,
			produce: franzProduce(withKotel), consume: franzConsume(withKotel),
		},
	}
}

func (c *cell) franzOptions() []kgo.Opt {
	if c.target.stub {
		return []kgo.Opt{kgo.SeedBrokers(stubbroker.Address), kgo.Dialer(c.stub().Dial)} // ours sets a later one
	}
	return []kgo.Opt{kgo.SeedBrokers(c.target.address)}
}

func franzProduce(open func(*cell, []kgo.Opt, telemetry) (franzClient, error)) func(*cell, telemetry) (func(int) error, error) {
	return func(c *cell, t telemetry) (func(int) error, error) {
		parent := parent(c.sampled)
		return func(n int) error {
			ctx, cancel := context.WithTimeout(parent, time.Minute)
			defer cancel()
			linger := 5 * time.Millisecond
			if c.call > 1 {
				linger = time.Millisecond // each call waits for it
			}
			cl, err := open(c, append(c.franzOptions(), kgo.DefaultProduceTopic(produceTopic), kgo.ProducerLinger(linger),
				kgo.ProducerBatchCompression(kgo.NoCompression())), t)
			if err != nil {
				return err
			}
			defer cl.Close()
			var lost atomic.Pointer[error]
			acked := func(_ *kgo.Record, err error) {
				if err != nil {
					lost.Store(&err)
				}
			}
			records := make([]*kgo.Record, c.call)
			for i := 0; i < n; i += c.call {
				for k := range records {
					records[k] = &kgo.Record{Key: value[:keySize], Value: value}
				}
				if c.call == 1 {
					cl.Produce(ctx, records[0], acked)
					continue
				}
				if err := cl.ProduceSync(ctx, records...).FirstErr(); err != nil {
					return fmt.Errorf("cannot produce: %w", err)
				}
			}
			if err := cl.Flush(ctx); err != nil {
				return fmt.Errorf("cannot flush: %w", err)
			}
			if err := lost.Load(); err != nil {
				return *err
			}
			return nil
		}, nil
	}
}

func franzConsume(open func(*cell, []kgo.Opt, telemetry) (franzClient, error)) func(*cell, telemetry) (func(int) error, error) {
	return func(c *cell, t telemetry) (func(int) error, error) {
		return func(n int) error {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			cl, err := open(c, append(c.franzOptions(),
				kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{consumeTopic(c.sampled): {0: kgo.NewOffset().AtStart()}}),
				kgo.FetchMaxWait(100*time.Millisecond), kgo.FetchMaxPartitionBytes(1<<20)), t)
			if err != nil {
				return err
			}
			defer cl.Close()
			for i := 0; i < n; {
				f := cl.poll(ctx, c.call)
				if err := f.Err(); err != nil {
					return fmt.Errorf("cannot read message %d: %w", i, err)
				}
				rs := f.Records()
				i += len(rs)
				if err := cl.process(ctx, rs, handle); err != nil {
					return err
				}
			}
			return nil
		}, nil
	}
}
