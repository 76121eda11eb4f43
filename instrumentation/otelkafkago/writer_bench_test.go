package otelkafkago

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// nothing is a span processor that drops what it gets.
type nothing struct{}

func (nothing) OnStart(context.Context, sdktrace.ReadWriteSpan) {}
func (nothing) OnEnd(sdktrace.ReadOnlySpan)                     {}
func (nothing) Shutdown(context.Context) error                  { return nil }
func (nothing) ForceFlush(context.Context) error                { return nil }

// BenchmarkWriter writes against a broker in memory. Subtract spans=raw.
func BenchmarkWriter(b *testing.B) {
	for _, n := range []int{1, 100} { // records a call
		for _, spans := range []string{"raw", "never", "always"} {
			b.Run(fmt.Sprintf("records=%d/spans=%s", n, spans), func(b *testing.B) {
				kw := &kafka.Writer{
					Addr: kafka.TCP("broker:9092"), Topic: "orders", RequiredAcks: kafka.RequireAll, BatchSize: n,
					BatchTimeout: time.Second, Transport: &forgetful{memory{partitions: 1}},
				}
				write, end := kw.WriteMessages, kw.Close
				if spans != "raw" {
					sampler := sdktrace.NeverSample()
					if spans == "always" {
						sampler = sdktrace.AlwaysSample()
					}
					w := NewWriter(kw, WithTracerProvider(sdktrace.NewTracerProvider(sdktrace.WithSampler(sampler), sdktrace.WithSpanProcessor(nothing{}))))
					write, end = w.WriteMessages, w.Close
				}
				msgs := make([]kafka.Message, n)
				for i := range msgs {
					msgs[i] = kafka.Message{Key: make([]byte, 10), Value: make([]byte, 200)}
				}
				b.ReportAllocs()
				for b.Loop() {
					if err := write(context.Background(), msgs...); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/record")
				if err := end(); err != nil {
					b.Fatal(err)
				}
			})
		}
	}
}
