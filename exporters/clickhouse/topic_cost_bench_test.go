package clickhouse

import (
	"context"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/schemas"
)

// BenchmarkTopicSumsCost writes message rows with the sums of topics and partitions
// and without: what the engine pays for a row, and what lies on disk. (The time it
// takes is that of the engine's processors, as others may use the machine.)
func BenchmarkTopicSumsCost(b *testing.B) {
	for _, c := range []struct {
		name string
		drop []string
	}{{"both", nil}, {"topics", []string{"partition_sums"}}, {"none", []string{"topic_sums", "partition_sums"}}} {
		b.Run("sums="+c.name, func(b *testing.B) {
			s := open(b, testConfig(engine(b)))
			for _, name := range c.drop {
				if err := s.exec(b.Context(), "ALTER TABLE messages DROP PROJECTION "+name, nil); err != nil {
					b.Fatal(err)
				}
			}
			rows := 0
			stop := engineTime(b)
			before := processCPU(b, engine(b).PID())
			// A day's rows keep their order, in batches as a stage writes them.
			w := newWorkload(5, time.Now().Add(-25*time.Hour), 200*time.Millisecond)
			for b.Loop() {
				var batch []schemas.Message
				for len(batch) < 20_000 {
					_, batch = w.next(nil, batch)
				}
				if err := s.WriteSpans(context.Background(), nil, batch); err != nil {
					b.Fatal(err)
				}
				rows += len(batch)
			}
			settle(b, s)
			took := processCPU(b, engine(b).PID()) - before
			stop()
			b.ReportMetric(float64(took.Microseconds())/float64(rows), "engine-µs/row")
			b.ReportMetric(float64(rows)/took.Seconds(), "rows/engine-s")
			b.ReportMetric(float64(bytesOnDisk(b, s))/float64(rows), "B/row")
		})
	}
}
