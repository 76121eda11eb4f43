package messaging

import (
	"context"
	"fmt"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/hoptrace/hoptrace/instrumentation/messaging/measure"
	"github.com/hoptrace/hoptrace/instrumentation/messaging/record"
)

// ourProvider is what hoptrace.Init hands out, sending nowhere.
type ourProvider struct {
	trace.TracerProvider
	recorder *record.Recorder
	registry *measure.Registry
}

func (p ourProvider) Recorder() *record.Recorder  { return p.recorder }
func (p ourProvider) Registry() *measure.Registry { return p.registry }

func benchCore(b *testing.B, ratio float64) *Core {
	p := ourProvider{
		tracenoop.NewTracerProvider(),
		record.New(record.Options{Ratio: ratio, Export: func(context.Context, record.Batch) error { return nil }}),
		measure.NewRegistry(measure.Options{Export: func(context.Context, measure.Batch) error { return nil }}),
	}
	b.Cleanup(func() {
		_ = p.recorder.Shutdown(context.Background())
		_ = p.registry.Shutdown(context.Background())
	})
	return NewCore(Config{Scope: "bench", TracerProvider: p})
}

// BenchmarkSend is one record of a call of n, from the call to the answer.
func BenchmarkSend(b *testing.B) {
	for _, ratio := range []float64{0, 1} {
		for _, n := range []int{1, 100} {
			b.Run(fmt.Sprintf("sampled=%v/n=%d", ratio == 1, n), func(b *testing.B) {
				c := benchCore(b, ratio)
				p := c.Producer(ProducerConfig{})
				key, value := []byte("customer-17"), make([]byte, 1024)
				b.ReportAllocs()
				for i := 0; i < b.N; i += n {
					call, sends := new(Call), make([]Send, n)
					p.Begin(context.Background(), call)
					in := NewInjector[Header](context.Background(), false)
					in.Grow(n, 0)
					topic := p.Topic("orders")
					for j := range sends {
						call.Start(&sends[j], topic, trace.SpanContext{})
						in.Inject(nil, sends[j].Context())
					}
					now := c.Now()
					o := Outcome{Written: now, FirstWritten: now, Acked: now + 1000, Attempts: 1}
					var f Finisher
					p.Finish(&f, "orders", 0, &o)
					for j := range sends {
						f.Add(&sends[j], &Sent{Offset: int64(i + j), HasKey: true, Key: key, BodySize: len(value)})
					}
					f.Done()
				}
			})
		}
	}
}

// BenchmarkReceiveAndProcess is one record handed over and processed.
func BenchmarkReceiveAndProcess(b *testing.B) {
	for _, sampled := range []bool{false, true} {
		b.Run(fmt.Sprintf("sampled=%v", sampled), func(b *testing.B) {
			ratio := 0.0
			if sampled {
				ratio = 1
			}
			c := benchCore(b, ratio)
			co := c.Consumer(ConsumerConfig{Group: "billing"})
			part := co.Partition("orders", 0)
			headers := []Header{{Key: HeaderTraceparent, Value: AppendTraceparent(nil, remote(1))}}
			key := []byte("customer-17")
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				now := c.Now()
				d := Delivery{
					Partition: part, Offset: int64(i), HighWatermark: int64(i + 5), BodySize: 1024,
					Called: now, Asked: now - 5000, Answered: now - 1000, RecordTime: now / int64(time.Millisecond) * int64(time.Millisecond),
				}
				d.SetKey(key)
				Deliver(context.Background(), &d, headers)
				_, p := co.StartProcess(context.Background(), &d, d.Handed)
				p.End(nil, "")
			}
		})
	}
}

// BenchmarkRunsOf names the records of a large batch by offset, beside its 128 links.
func BenchmarkRunsOf(b *testing.B) {
	const records = 5000
	co := benchCore(b, 1).Consumer(ConsumerConfig{})
	at := co.Partition("orders", 3)
	ds := make([]Delivery, records)
	for i := range ds {
		ds[i] = Delivery{Partition: at, Offset: int64(i), RecordTime: int64(i/7) * 1e6, Asked: 1 + int64(i/500), Answered: 2 + int64(i/500), Handed: 3, HighWatermark: records, creation: remote(1)}
	}
	for _, what := range []string{"links", "runs"} {
		b.Run(what, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if what == "links" {
					batchLinks(ds, partitionKey{"orders", 3})
				} else {
					runsOf(ds, false)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/records, "ns/record")
		})
	}
}
