package otelsarama

import (
	"context"
	"fmt"
	"testing"

	"github.com/IBM/sarama"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/hoptrace/hoptrace/instrumentation/messaging/measure"
	otrecord "github.com/hoptrace/hoptrace/instrumentation/messaging/record"
)

// own is a provider as hoptrace.Init makes it: spans and measures go to the
// recorder and the registry.
type own struct {
	trace.TracerProvider
	recorder *otrecord.Recorder
	registry *measure.Registry
}

func (o own) Recorder() *otrecord.Recorder { return o.recorder }
func (o own) Registry() *measure.Registry  { return o.registry }

func newOwn(t testing.TB, ratio float64, export func(context.Context, otrecord.Batch) error) own {
	t.Helper()
	o := own{
		TracerProvider: sdktrace.NewTracerProvider(),
		recorder:       otrecord.New(otrecord.Options{Ratio: ratio, Export: export}),
		registry:       measure.NewRegistry(measure.Options{Export: func(context.Context, measure.Batch) error { return nil }}),
	}
	t.Cleanup(func() {
		if err := o.recorder.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if err := o.registry.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return o
}

func discard(context.Context, otrecord.Batch) error { return nil }

// echo is a SyncProducer that stores at once.
type echo struct {
	sarama.SyncProducer
	offset int64
}

func (e *echo) SendMessages(msgs []*sarama.ProducerMessage) error {
	for _, m := range msgs {
		m.Offset = e.offset
		e.offset++
	}
	return nil
}

// What sending costs beside sarama, per call of n messages.
func BenchmarkSend(b *testing.B) {
	for _, ratio := range []float64{0, 1} {
		for _, n := range []int{1, 100} {
			b.Run(fmt.Sprintf("ratio=%v/messages=%d", ratio, n), func(b *testing.B) {
				in := New(configOf(nil), WithTracerProvider(newOwn(b, ratio, discard)))
				p := in.WrapSyncProducer(&echo{})
				msgs := make([]*sarama.ProducerMessage, n)
				for i := range msgs {
					msgs[i] = &sarama.ProducerMessage{Topic: "orders", Key: sarama.ByteEncoder(make([]byte, 10)), Value: sarama.ByteEncoder(make([]byte, 1024))}
				}
				ctx := context.Background()
				b.ReportAllocs()
				for b.Loop() {
					if err := p.SendMessagesContext(ctx, msgs); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// What receiving and processing cost beside sarama, the hop over the channel
// included.
func BenchmarkReceive(b *testing.B) {
	for _, ratio := range []float64{0, 1} {
		b.Run(fmt.Sprintf("ratio=%v", ratio), func(b *testing.B) {
			in := New(configOf(nil), WithTracerProvider(newOwn(b, ratio, discard)), WithExplicitProcessing())
			from := make(chan *sarama.ConsumerMessage, 256)
			q := in.newStream(in.consumer("g").Partition("orders", 0), from, func() int64 { return 1 << 40 })
			value := []byte("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
			if ratio == 0 {
				value[54] = '0'
			}
			headers := []*sarama.RecordHeader{{Key: []byte("traceparent"), Value: value}}
			ctx, payload := context.Background(), make([]byte, 1024)
			offset := int64(0)
			b.ReportAllocs()
			for b.Loop() {
				from <- &sarama.ConsumerMessage{Topic: "orders", Offset: offset, Value: payload, Headers: headers}
				offset++
				if err := in.Process(ctx, <-q.messages(), nothing); err != nil {
					b.Fatal(err)
				}
			}
			q.stop()
		})
	}
}
