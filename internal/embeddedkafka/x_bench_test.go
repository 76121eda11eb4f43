package embeddedkafka

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// BenchmarkRestart gives, for a log of that size over 8 partitions, how long a
// process takes from its start to serving after a clean end and after kill -9,
// and its memory: at most, and once it serves.
func BenchmarkRestart(b *testing.B) {
	for _, size := range []int{64, 256, 512} {
		b.Run(fmt.Sprintf("log=%dMiB", size), func(b *testing.B) {
			cfg := testConfig(b.TempDir())
			cfg.RetentionBytes = -1
			fill(b, cfg, int64(size)<<20)
			var clean, crash time.Duration
			var peak, served float64
			n := 0
			for b.Loop() {
				for _, after := range []*time.Duration{&clean, &crash} {
					begun := time.Now()
					child, stop := childBroker(b, cfg.Dir, "127.0.0.1:0")
					*after += time.Since(begun)
					status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", child.Process.Pid))
					if err != nil {
						b.Fatal(err)
					}
					peak, served = max(peak, kilobytes(b, status, "VmHWM:")), max(served, kilobytes(b, status, "VmRSS:"))
					if after == &clean {
						_ = child.Process.Kill() // the next start finds a crash
						_ = child.Wait()
						for _, s := range snapshots(b, cfg.Dir) {
							_ = os.Remove(s) // as when records came after the last clean end
						}
					} else {
						stop()
					}
				}
				n++
			}
			b.ReportMetric(float64(clean.Milliseconds())/float64(n), "clean-ms")
			b.ReportMetric(float64(crash.Milliseconds())/float64(n), "crash-ms")
			b.ReportMetric(peak/1024, "peak-MB")
			b.ReportMetric(served/1024, "rss-MB")
		})
	}
}

// fill writes size bytes in batches such as the collector makes.
func fill(b *testing.B, cfg Config, size int64) {
	b.Helper()
	cfg.MaxLogBytes = 2 * size
	broker := start(b, cfg)
	adm := kadm.NewClient(client(b, broker))
	if _, err := adm.CreateTopic(b.Context(), 8, -1, nil, "t"); err != nil {
		b.Fatal(err)
	}
	cl := client(b, broker, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.NoCompression()))
	value := make([]byte, 50<<10)
	for i := range int(size) / len(value) {
		cl.Produce(context.Background(), &kgo.Record{Topic: "t", Partition: int32(i % 8), Value: value}, func(_ *kgo.Record, err error) {
			if err != nil {
				b.Error(err)
			}
		})
	}
	if err := cl.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	stop(b, broker)
}

func snapshots(b *testing.B, dir string) []string {
	b.Helper()
	var out []string
	for p := range 8 {
		out = append(out, partitionDir(dir+"/log", "t", p)+"/snapshot.json")
	}
	return out
}

func kilobytes(b *testing.B, status []byte, key string) float64 {
	b.Helper()
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, key); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 64)
			if err != nil {
				b.Fatal(err)
			}
			return n
		}
	}
	b.Fatalf("no %s in /proc status", key)
	return 0
}
