package otelkafkago

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

// BenchmarkHandOverAndProcess measures what the wrapper adds to a record read, by
// itself: the receive span, the fetch's times and the process span.
func BenchmarkHandOverAndProcess(b *testing.B) {
	for _, spans := range []string{"never", "always"} {
		for _, headers := range []int{1, 4} {
			b.Run(fmt.Sprintf("spans=%s/headers=%d", spans, headers), func(b *testing.B) {
				sampler := sdktrace.NeverSample()
				if spans == "always" {
					sampler = sdktrace.AlwaysSample()
				}
				tp := sdktrace.NewTracerProvider(sdktrace.WithSampler(sampler), sdktrace.WithSpanProcessor(nothing{}))
				r := newReaderHooks(kafka.ReaderConfig{Topic: "orders", GroupID: "g"}, newConfig([]Option{WithTracerProvider(tp)}))
				log := r.log.partition(topicPartition{"orders", 0})
				log.answer(log.ask(0, now(), messaging.Server{}), now())
				m := kafka.Message{Topic: "orders", Key: make([]byte, 10), Value: make([]byte, 200), HighWaterMark: 5, Time: time.Now(), Headers: make([]kafka.Header, headers)}
				m.Headers[headers-1] = kafka.Header{Key: "traceparent", Value: []byte("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")}
				b.ReportAllocs()
				for b.Loop() {
					m.Offset++
					at := now()
					r.nextCalled(at)
					r.handOver(context.Background(), at, at, &m)
					_, end := r.StartProcess(context.Background(), m)
					end(nil)
				}
			})
		}
	}
}
