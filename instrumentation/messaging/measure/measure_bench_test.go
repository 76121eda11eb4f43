package measure

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdk "go.opentelemetry.io/otel/sdk/metric"
)

// latencies are some values like a hop's: log-normal around 3 ms.
func latencies() (out [1024]int64) {
	rng := rand.New(rand.NewPCG(7, 8))
	for i := range out {
		out[i] = int64(3e6 * (0.2 + rng.ExpFloat64()))
	}
	return out
}

func BenchmarkDuration(b *testing.B) {
	ex := &Exemplar{TraceID: [16]byte{1}, SpanID: [8]byte{1}}
	values := latencies()
	run := func(name string, g *Group, n int, ex *Exemplar) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			g.Lock()
			defer g.Unlock()
			i := 0
			for b.Loop() {
				g.Duration(testDuration, values[i&1023], n, ex)
				i++
			}
		})
	}
	r := NewRegistry(Options{Interval: time.Hour})
	defer func() { _ = r.Shutdown(context.Background()) }()
	ours := r.Meter(testScope).Group(testLayout)
	theirs := FromOTel(sdk.NewMeterProvider(sdk.WithReader(delta())).Meter("test")).Group(testLayout)
	run("way=registry/exemplar=no", ours, 1, nil)
	run("way=registry/exemplar=yes", ours, 1, ex)
	run("way=otel/exemplar=no", theirs, 1, nil)
	run("way=otel/exemplar=yes", theirs, 1, ex)
}

// BenchmarkMessage observes what one consumed message gives: five durations, a
// counter and a gauge, under one lock; and the same by the SDK with sets of
// attributes made once.
func BenchmarkMessage(b *testing.B) {
	values := latencies()
	l := NewLayout(
		Instrument{Name: "a", Kind: Duration}, Instrument{Name: "b", Kind: Duration}, Instrument{Name: "c", Kind: Duration},
		Instrument{Name: "d", Kind: Duration}, Instrument{Name: "e", Kind: Duration},
		Instrument{Name: "n", Kind: Counter}, Instrument{Name: "lag", Kind: Gauge},
	)
	r := NewRegistry(Options{Interval: time.Hour})
	defer func() { _ = r.Shutdown(context.Background()) }()
	provider := sdk.NewMeterProvider(sdk.WithReader(delta()))
	for name, g := range map[string]*Group{
		"way=registry": r.Meter(testScope).Group(l),
		"way=otel":     FromOTel(provider.Meter("test")).Group(l),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				g.Lock()
				for d := range 5 {
					g.Duration(d, values[(i+d)&1023], 1, nil)
				}
				g.Add(5, 1)
				g.Set(6, int64(i))
				g.Unlock()
				i++
			}
		})
	}
}

// BenchmarkCollect is the work of one collection, off the data path.
func BenchmarkCollect(b *testing.B) {
	for _, groups := range []int{10, 1000} {
		b.Run(fmt.Sprintf("groups=%d", groups), func(b *testing.B) {
			values := latencies()
			bytes := 0
			r := NewRegistry(Options{Interval: time.Hour, Export: func(_ context.Context, b Batch) error {
				bytes += len(b.Body)
				return nil
			}})
			defer func() { _ = r.Shutdown(context.Background()) }()
			var gs []*Group
			for i := range groups {
				gs = append(gs, r.Meter(testScope).Group(testLayout, attribute.String("messaging.destination.name", "orders"), attribute.Int("partition", i)))
			}
			b.ReportAllocs()
			for b.Loop() {
				for _, g := range gs {
					g.Lock()
					for i := range 20 {
						g.Duration(testDuration, values[i], 1, nil)
					}
					g.Add(testCount, 20)
					g.Unlock()
				}
				if err := r.Flush(context.Background()); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(bytes)/float64(b.N)/float64(groups), "bytes/group")
		})
	}
}
