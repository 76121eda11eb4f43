package otelfranz

import (
	"context"
	"sync/atomic"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// faulty is a span processor that panics at the end of spans.
type faulty struct{ on atomic.Bool }

func (*faulty) OnStart(context.Context, sdktrace.ReadWriteSpan) {}
func (f *faulty) OnEnd(sdktrace.ReadOnlySpan) {
	if f.on.Load() {
		panic("a fault of the provider")
	}
}
func (*faulty) Shutdown(context.Context) error   { return nil }
func (*faulty) ForceFlush(context.Context) error { return nil }

func TestAProviderThatPanicsSpoilsNoLaterRecord(t *testing.T) {
	bad := &faulty{}
	c, rec := broker(t, 1), record(sdktrace.WithSpanProcessor(bad))
	h := New(WithTracerProvider(rec))
	cl := newClient(t, c, h)
	bad.on.Store(true)
	produce(t, cl, "a", "b")
	bad.on.Store(false)
	if h.Counts().Panics == 0 {
		t.Fatal("the provider did not panic")
	}
	produce(t, cl, "c")
	rec.wait(t, "send orders", 1)
}
