//go:build !race

package messaging

import (
	"context"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/hoptrace/hoptrace/instrumentation/messaging/record"
)

// The memory that a message may cost. A wrapper adds what its client needs.

func allocations(t *testing.T, what string, most float64, f func()) {
	t.Helper()
	for range 50 { // caches, pools and chunks are there
		f()
	}
	if n := testing.AllocsPerRun(200, f); n > most {
		t.Errorf("%s allocates %v times; want at most %v", what, n, most)
	}
}

func TestASendAllocatesByTheCallAndNotByTheRecord(t *testing.T) {
	for _, tc := range []struct {
		what  string
		ratio float64
		ctx   context.Context //nolint:containedctx // of the case
		n     int
		most  float64
	}{
		// The call, its records' states, their headers, the values of those, the outcome.
		{"a sampled call of 100", 1, context.Background(), 100, 5},
		{"a sampled call of 1", 1, context.Background(), 1, 5},
		{"an unsampled root call of 100", 0, context.Background(), 100, 5},
		{"a call of 100 below an unsampled span", 1, trace.ContextWithSpanContext(context.Background(), remote(1).WithTraceFlags(0)), 100, 5},
	} {
		_, c := ours(t, record.Options{Ratio: tc.ratio})
		p := c.Producer(ProducerConfig{ClientID: "shop"})
		key, offset := []byte("customer-17"), int64(0)
		allocations(t, tc.what, tc.most, func() {
			call, sends := new(Call), make([]Send, tc.n)
			p.Begin(tc.ctx, call)
			in := NewInjector[Header](tc.ctx, false)
			in.Grow(tc.n, 0)
			topic := p.Topic("orders")
			sc, unsampled := call.Unsampled()
			for i := range sends {
				if unsampled {
					call.Measure(&sends[i])
				} else {
					call.Start(&sends[i], topic, trace.SpanContext{})
					sc = sends[i].Context()
				}
				in.Inject(nil, sc)
			}
			now := c.Now()
			o := Outcome{FirstWritten: now, Written: now, Acked: now + 1000, Attempts: 1, Broker: Server{"b1", 9092}}
			var f Finisher
			p.Finish(&f, "orders", 0, &o)
			for i := range sends {
				f.Add(&sends[i], &Sent{Offset: offset, BodySize: 1024, HasKey: true, Key: key})
				offset++
			}
			f.Done()
		})
	}
}

func TestReceivingAndProcessingAllocatesOnce(t *testing.T) {
	for _, sampled := range []bool{false, true} {
		_, c := ours(t, record.Options{Ratio: 1})
		co := c.Consumer(ConsumerConfig{Group: "billing"})
		part := co.Partition("orders", 0)
		creation := remote(1)
		if !sampled {
			creation = creation.WithTraceFlags(0)
		}
		ctx := context.Background()
		if !sampled {
			ctx = trace.ContextWithSpanContext(ctx, creation)
		}
		headers := []Header{{Key: HeaderTraceparent, Value: AppendTraceparent(nil, creation)}}
		key, offset := []byte("customer-17"), int64(0)
		what := map[bool]string{false: "an unsampled record", true: "a sampled record"}[sampled]
		allocations(t, what, 1, func() {
			now := c.Now()
			offset++
			d := Delivery{
				Partition: part, Offset: offset, HighWatermark: offset + 5, BodySize: 1024, Broker: Server{"b1", 9092},
				Called: now, Asked: now - 5000, Answered: now - 1000, RecordTime: now / int64(time.Millisecond) * int64(time.Millisecond),
			}
			d.SetKey(key)
			Deliver(ctx, &d, headers)
			ctx, p := co.StartProcess(ctx, &d, d.Handed)
			if _, ok := RecordFromContext(ctx); !ok {
				t.Error("the context does not know its record")
			}
			p.End(nil, "")
		})
	}
}
