package consume

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// counting is a handler whose store costs nothing.
type counting struct{ records atomic.Int64 }

func (c *counting) Assigned(context.Context, []Partition) error { return nil }
func (c *counting) Revoked(context.Context, []Partition)        {}
func (c *counting) Handle(_ context.Context, batch []Record) ([]DeadLetter, error) {
	c.records.Add(int64(len(batch)))
	return nil, nil
}

// BenchmarkLoop gives what the loop itself costs for each record, from the
// embedded broker's log to a committed batch: one record as the collector
// writes it, of 1 or 100 spans of about 300 bytes.
func BenchmarkLoop(b *testing.B) {
	for _, spans := range []int{1, 100} {
		b.Run(fmt.Sprintf("spans=%d", spans), func(b *testing.B) {
			f := setup(b, 4)
			f.cfg.MaxBatchWait = DefaultConfig().MaxBatchWait
			value := make([]byte, 300*spans)
			count := []byte(strconv.Itoa(spans))
			for i := 0; i < b.N; i++ {
				r := &kgo.Record{Topic: "in", Partition: int32(i % 4), Value: value, Headers: []kgo.RecordHeader{
					{Key: "count", Value: count}, {Key: "project", Value: []byte("1")}, {Key: "received", Value: []byte("1790000000000000000")},
				}}
				f.cl.Produce(context.Background(), r, func(_ *kgo.Record, err error) {
					if err != nil {
						b.Error(err)
					}
				})
			}
			if err := f.cl.Flush(context.Background()); err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(value)))
			b.ReportAllocs()
			b.ResetTimer()
			c := &counting{}
			l := startLoop(b, f.cfg, c)
			eventually(b, "all is read", func() bool { return c.records.Load() == int64(b.N) })
			b.StopTimer()
			b.ReportMetric(float64(b.N*spans)/b.Elapsed().Seconds(), "spans/s")
			stopLoop(b, l)
		})
	}
}
