package otelkafkago

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"sort"
	"syscall"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/metadata"
	"github.com/segmentio/kafka-go/protocol/produce"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
	"github.com/hoptrace/hoptrace/instrumentation/messaging/measure"
	spans "github.com/hoptrace/hoptrace/instrumentation/messaging/record"
)

// own is a provider as hoptrace.Init makes it, whose bytes go nowhere.
type own struct {
	trace.TracerProvider
	recorder *spans.Recorder
	measures *measure.Registry
}

func (o own) Recorder() *spans.Recorder   { return o.recorder }
func (o own) Registry() *measure.Registry { return o.measures }

func newOwn(tb testing.TB, ratio float64) own {
	tb.Helper()
	o := own{
		TracerProvider: noop.NewTracerProvider(),
		recorder: spans.New(spans.Options{
			Ratio: ratio, MaxSpans: 1 << 20, Export: func(context.Context, spans.Batch) error { return nil },
		}),
		measures: measure.NewRegistry(measure.Options{Export: func(context.Context, measure.Batch) error { return nil }}),
	}
	tb.Cleanup(func() {
		if err := o.recorder.Shutdown(context.Background()); err != nil {
			tb.Error(err)
		}
		if err := o.measures.Shutdown(context.Background()); err != nil {
			tb.Error(err)
		}
		if c := o.recorder.Counts(); c.Dropped != 0 || c.Failed != 0 {
			tb.Errorf("%d spans were dropped, %d failed: the figures are too good", c.Dropped, c.Failed)
		}
	})
	return o
}

func (o own) flush(tb testing.TB) {
	if err := o.recorder.Flush(context.Background()); err != nil {
		tb.Fatal(err)
	}
}

// instant answers at once and encodes nothing.
type instant struct{ meta *metadata.Response }

func newInstant() *instant {
	return &instant{&metadata.Response{
		Brokers: []metadata.ResponseBroker{{NodeID: 1, Host: "127.0.0.1", Port: 1}},
		Topics:  []metadata.ResponseTopic{{Name: "orders", Partitions: []metadata.ResponsePartition{{LeaderID: 1}}}},
	}}
}

func (f *instant) RoundTrip(_ context.Context, _ net.Addr, r kafka.Request) (kafka.Response, error) {
	switch q := r.(type) {
	case *metadata.Request:
		return f.meta, nil
	case *produce.Request:
		return produced(q, 41, 0), nil
	}
	panic("not a request of a Writer")
}

type spent struct{ cpu, allocs, bytes float64 }

func spend(n int, f func()) spent {
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := processTime()
	f()
	cpu := processTime() - start
	runtime.ReadMemStats(&after)
	per := func(v uint64) float64 { return float64(v) / float64(n) }
	return spent{float64(cpu) / float64(n) / 1e3, per(after.Mallocs - before.Mallocs), per(after.TotalAlloc - before.TotalAlloc)}
}

func processTime() int64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return u.Utime.Nano() + u.Stime.Nano()
}

// overRaw runs raw and instrumented by turns and reports the medians of the
// instrumented one and of the differences, a message.
func overRaw(b *testing.B, messages int, raw, instrumented func(n int)) {
	b.Helper()
	const rounds = 9
	var plain, with []spent
	for b.Loop() {
		plain, with = nil, nil
		for i := range rounds {
			if i%2 == 0 {
				plain = append(plain, spend(messages, func() { raw(messages) }))
			}
			with = append(with, spend(messages, func() { instrumented(messages) }))
			if i%2 == 1 {
				plain = append(plain, spend(messages, func() { raw(messages) }))
			}
		}
	}
	report := func(unit string, of func(spent) float64) {
		var all, over []float64
		for i := range with {
			all, over = append(all, of(with[i])), append(over, of(with[i])-of(plain[i]))
		}
		sort.Float64s(all)
		sort.Float64s(over)
		b.ReportMetric(all[rounds/2], unit+"/msg")
		b.ReportMetric(over[rounds/2], "over-raw-"+unit+"/msg")
	}
	report("us", func(s spent) float64 { return s.cpu })
	report("allocs", func(s spent) float64 { return s.allocs })
	report("bytes", func(s spent) float64 { return s.bytes })
	b.ReportMetric(0, "ns/op")
}

func parent(sampled bool) context.Context {
	c := trace.SpanContextConfig{TraceID: trace.TraceID{1, 15: 9}, SpanID: trace.SpanID{2}}
	if sampled {
		c.TraceFlags = trace.FlagsSampled
	}
	return trace.ContextWithSpanContext(context.Background(), trace.NewSpanContext(c))
}

type writes interface {
	WriteMessages(context.Context, ...kafka.Message) error
	Close() error
}

// BenchmarkProduceOverRaw measures what a Writer adds under hoptrace.Init's kind
// of provider, encoding included: 100 messages a call synchronously, one a call
// asynchronously, of 1 KiB.
func BenchmarkProduceOverRaw(b *testing.B) {
	const messages = 40_000
	for _, n := range []int{1, 100} {
		for _, sampled := range []bool{true, false} {
			b.Run(fmt.Sprintf("messages=%d/sampled=%v", n, sampled), func(b *testing.B) {
				o := newOwn(b, 1)
				ctx := parent(sampled)
				value := make([]byte, 1024)
				drive := func(wrap func(*kafka.Writer) writes, end func()) func(int) {
					return func(total int) {
						w := wrap(&kafka.Writer{
							Addr: kafka.TCP("127.0.0.1:1"), Topic: "orders", BatchSize: 100, BatchTimeout: 5 * time.Millisecond,
							Async: n == 1, RequiredAcks: kafka.RequireOne, Transport: newInstant(),
						})
						msgs := make([]kafka.Message, n)
						for i := range msgs {
							msgs[i] = kafka.Message{Key: value[:10], Value: value}
						}
						for i := 0; i < total; i += n {
							if err := w.WriteMessages(ctx, msgs...); err != nil {
								b.Fatal(err)
							}
							if n == 1 && i%4000 == 0 {
								time.Sleep(time.Millisecond) // let the partition's goroutine follow
							}
						}
						if err := w.Close(); err != nil {
							b.Fatal(err)
						}
						end()
					}
				}
				overRaw(b, messages,
					drive(func(w *kafka.Writer) writes { return w }, func() {}),
					drive(func(w *kafka.Writer) writes { return NewWriter(w, WithTracerProvider(o)) }, func() { o.flush(b) }))
			})
		}
	}
}

// BenchmarkConsumeOverRaw measures what a Reader adds to a record that is fetched
// and processed, without kafka-go's own part.
func BenchmarkConsumeOverRaw(b *testing.B) {
	const messages = 40_000
	for _, sampled := range []bool{true, false} {
		b.Run(fmt.Sprintf("sampled=%v", sampled), func(b *testing.B) {
			ratio := 0.0
			if sampled {
				ratio = 1
			}
			o := newOwn(b, ratio)
			r := newReaderHooks(kafka.ReaderConfig{GroupID: "billing", Topic: "orders"}, newConfig([]Option{WithTracerProvider(o)}))
			log := r.log.partition(topicPartition{"orders", 3})
			at := now()
			f := log.ask(0, at, messaging.Server{Host: "127.0.0.1", Port: 1})
			log.answer(f, at+1)
			log.describe(f, fetchHead{highWatermark: 1 << 40})
			log.batch(f, recordBatch{last: 1 << 40, isCreated: true})
			flags := "-00"
			if sampled {
				flags = "-01"
			}
			m := kafka.Message{
				Topic: "orders", Partition: 3, Key: make([]byte, 10), Value: make([]byte, 1024), HighWaterMark: 1 << 40, Time: time.Now(),
				Headers: []kafka.Header{{Key: "traceparent", Value: []byte("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331" + flags)}},
			}
			handler := func(ctx context.Context, _ kafka.Message) error { sink = trace.SpanContextFromContext(ctx); return nil }
			ctx := context.Background()
			overRaw(b, messages, func(n int) {
				for range n {
					m.Offset++
					if err := handler(ctx, m); err != nil {
						b.Fatal(err)
					}
				}
			}, func(n int) {
				for range n {
					m.Offset++
					called := r.core.Now()
					r.nextCalled(called)
					r.handOver(ctx, called, r.core.Now(), &m)
					if err := r.Process(ctx, m, handler); err != nil {
						b.Fatal(err)
					}
				}
				o.flush(b)
			})
		})
	}
}

var sink trace.SpanContext
