package record

import (
	"context"
	"fmt"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// benchRecorder discards what it encodes. It has room for some 4 ms of puts.
func benchRecorder(b *testing.B) *Recorder {
	r := New(Options{Export: func(context.Context, Batch) error { return nil }, Interval: time.Hour})
	b.Cleanup(func() { _ = r.Shutdown(context.Background()) })
	return r
}

func benchStream(r *Recorder) *Stream {
	return r.Stream(testScope, "send orders", trace.SpanKindProducer,
		NewLayout(Field{"messaging.kafka.offset", Int}, Field{"messaging.message.body.size", Int}, Field{"messaging.kafka.message.key.hash", Unsigned},
			Field{"hoptrace.produce.written", Int}, Field{"hoptrace.produce.acked", Int}),
		attribute.String("messaging.system", "kafka"), attribute.String("messaging.operation.name", "send"), attribute.String("messaging.operation.type", "send"),
		attribute.String("messaging.destination.name", "orders"), attribute.String("messaging.destination.partition.id", "3"))
}

func benchSpan(fields int) Span {
	s := span(1)
	for i, v := range []int64{123_456, 1024, -1, s.Start + 1000, s.End}[:fields] {
		s.Set(i, v)
	}
	return s
}

// BenchmarkPut is the whole cost of a span in the process: put and encoded.
func BenchmarkPut(b *testing.B) {
	for _, fields := range []int{0, 5} {
		for _, locked := range []bool{false, true} {
			b.Run(fmt.Sprintf("fields=%d/locked=%v", fields, locked), func(b *testing.B) {
				r := benchRecorder(b)
				st, s := benchStream(r), benchSpan(fields)
				b.ReportAllocs()
				n := 0
				for b.Loop() {
					s.SpanID[7] = byte(n)
					if !locked {
						r.Put(st, &s, nil)
						n++
					} else {
						l := r.Lock(uint32(n))
						for range 100 {
							l.Put(st, &s, nil)
						}
						l.Unlock()
						n += 100
					}
					if n%20_000 == 0 { // let the encoder follow: nothing is dropped
						_ = r.Flush(context.Background())
					}
				}
				_ = r.Flush(context.Background())
				b.ReportMetric(float64(b.Elapsed())/float64(n), "ns/span")
				if c := r.Counts(); c.Dropped > 0 || c.Exported != uint64(n) {
					b.Errorf("%+v of %d spans", c, n)
				}
			})
		}
	}
}

// BenchmarkPutParallel shows what the callers wait for each other.
func BenchmarkPutParallel(b *testing.B) {
	r := benchRecorder(b)
	st := benchStream(r)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		s := benchSpan(5)
		for pb.Next() {
			s.SpanID[7]++
			r.Put(st, &s, nil)
		}
	})
}

// BenchmarkPutDropped is the cost when the exporter is dead.
func BenchmarkPutDropped(b *testing.B) {
	release := make(chan struct{})
	r := New(Options{MaxSpans: 1, Export: func(context.Context, Batch) error { <-release; return nil }, Interval: time.Millisecond})
	st, s := benchStream(r), benchSpan(5)
	b.ReportAllocs()
	for b.Loop() {
		r.Put(st, &s, nil)
	}
	close(release)
	_ = r.Shutdown(context.Background())
}

func BenchmarkPutExtra(b *testing.B) {
	r := benchRecorder(b)
	st, s := benchStream(r), benchSpan(5)
	x := &Extra{Status: codes.Error, Description: "unknown topic", Attributes: []attribute.KeyValue{attribute.String("error.type", "UNKNOWN_TOPIC_OR_PARTITION")}}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		r.Put(st, &s, x)
		if n++; n%20_000 == 0 {
			_ = r.Flush(context.Background())
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	for _, fields := range []int{0, 5} {
		b.Run(fmt.Sprintf("fields=%d", fields), func(b *testing.B) {
			r := benchRecorder(b)
			st := benchStream(r)
			q := rec{Span: benchSpan(fields)}
			buf := make([]byte, 0, 1<<20)
			b.ReportAllocs()
			for b.Loop() {
				if buf = st.encode(buf, &q, nil); len(buf) > 1<<20-4096 {
					buf = buf[:0]
				}
			}
		})
	}
}

func BenchmarkBegin(b *testing.B) {
	r := benchRecorder(b)
	b.ReportAllocs()
	for b.Loop() {
		r.Begin(context.Background(), trace.SpanContext{}, nil)
	}
}

// BenchmarkLive starts and ends a live span, encoding included.
func BenchmarkLive(b *testing.B) {
	for _, attrs := range []int{0, 2} {
		b.Run(fmt.Sprintf("attributes=%d", attrs), func(b *testing.B) {
			r := benchRecorder(b)
			st, s := benchStream(r), benchSpan(5)
			ctx := context.Background()
			kvs := []attribute.KeyValue{attribute.Int("order.lines", 3), attribute.String("order.kind", "web")}
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				l := r.Start(ctx, st, &s, trace.TraceState{}, nil)
				if attrs > 0 {
					l.SetAttributes(kvs...)
				}
				l.End()
				if n++; n%20_000 == 0 {
					_ = r.Flush(ctx)
				}
			}
		})
	}
}
