package otelfranz

import (
	"context"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
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

// The hooks of one produced record, without the client between them.
func BenchmarkProduceHooks(b *testing.B) {
	for _, ratio := range []float64{0, 1} {
		b.Run(fmt.Sprintf("ratio=%v", ratio), func(b *testing.B) {
			c := broker(b, 1)
			h := New(WithTracerProvider(newOwn(b, ratio, discard)))
			newClient(b, c, h)
			ctx := context.Background()
			r := &kgo.Record{Topic: "orders", Key: make([]byte, 10), Value: make([]byte, 1024)}
			b.ReportAllocs()
			for b.Loop() {
				r.Context = ctx
				h.OnProduceRecordBuffered(r)
				h.OnProduceRecordPartitioned(r, 0)
				h.OnProduceRecordUnbuffered(r, nil)
			}
		})
	}
}

// The hooks of one polled record and its processing.
func BenchmarkConsumeHooks(b *testing.B) {
	for _, ratio := range []float64{0, 1} {
		b.Run(fmt.Sprintf("ratio=%v", ratio), func(b *testing.B) {
			c := broker(b, 1)
			h := New(WithTracerProvider(newOwn(b, ratio, discard)), WithExplicitProcessing())
			newClient(b, c, h)
			ctx := context.Background()
			r := &kgo.Record{Topic: "orders", Key: make([]byte, 10), Value: make([]byte, 1024), Headers: []kgo.RecordHeader{
				{Key: "traceparent", Value: []byte("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")},
			}}
			if ratio == 0 {
				r.Headers[0].Value[54] = '0'
			}
			b.ReportAllocs()
			for b.Loop() {
				r.Offset++
				r.Context = ctx
				h.OnFetchRecordBuffered(r)
				h.OnFetchRecordUnbuffered(r, true)
				if err := h.Process(ctx, r, nothing); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
