package messaging

import (
	"context"
	"fmt"
	"testing"
)

func BenchmarkInject(b *testing.B) {
	for _, n := range []int{0, 4, 32} { // headers already on the record
		b.Run(fmt.Sprintf("headers=%d", n), func(b *testing.B) {
			headers := make([]Header, n)
			sc := spanContext(b, 1)
			const records = 100
			b.ReportAllocs()
			for b.Loop() {
				in := NewInjector[Header](context.Background(), false)
				in.Grow(records, records*n)
				for range records {
					in.Inject(headers, sc)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*records), "ns/record")
		})
	}
}

func BenchmarkExtract(b *testing.B) {
	for _, n := range []int{0, 4, 32, 10_000} { // other headers on the record
		b.Run(fmt.Sprintf("headers=%d", n), func(b *testing.B) {
			headers := append(make([]Header, n), h("traceparent", parentValue)...)
			b.ReportAllocs()
			for b.Loop() {
				if Extract(headers).Form != FormW3C {
					b.Fatal("not found")
				}
			}
		})
	}
}
