package embeddedclickhouse

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"
)

func BenchmarkInsert(b *testing.B) {
	for _, c := range []struct {
		name        string
		compression ch.Compression
	}{{"none", ch.CompressionDisabled}, {"lz4", ch.CompressionLZ4}, {"zstd", ch.CompressionZSTD}} {
		b.Run("compression="+c.name+"/rows=10000", func(b *testing.B) {
			p := startProcess(b, testConfig(b.TempDir()))
			opt := clientOptions(p)
			opt.Compression = c.compression
			client := dialWith(b, opt)
			run(b, client, soakSpan)
			blocks := newSoakBlocks()
			blocks.fill(0)
			ctx := context.Background()
			b.ReportAllocs()
			for b.Loop() {
				if err := client.Do(ctx, ch.Query{Body: blocks.in.Into("spans"), Input: blocks.in}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)*soakBlock/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

func BenchmarkSelectOne(b *testing.B) {
	p := startProcess(b, testConfig(b.TempDir()))
	client := dial(b, p)
	var one proto.ColUInt8
	q := ch.Query{Body: "SELECT 1 AS one", Result: proto.Results{{Name: "one", Data: &one}}}
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		if err := client.Do(ctx, q); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSelectRows(b *testing.B) {
	p := startProcess(b, testConfig(b.TempDir()))
	client := dial(b, p)
	const rows = 1_000_000
	var n proto.ColUInt64
	var s proto.ColStr
	q := ch.Query{
		Body:   fmt.Sprintf("SELECT number AS n, toString(number) AS s FROM numbers(%d)", rows),
		Result: proto.Results{{Name: "n", Data: &n}, {Name: "s", Data: &s}}, OnResult: ignore,
	}
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		if err := client.Do(ctx, q); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*rows/b.Elapsed().Seconds(), "rows/s")
}

func BenchmarkDial(b *testing.B) {
	p := startProcess(b, testConfig(b.TempDir()))
	ctx := context.Background()
	for b.Loop() {
		c, err := ch.Dial(ctx, clientOptions(p))
		if err != nil {
			b.Fatal(err)
		}
		if err := c.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkStart(b *testing.B) {
	cfg := testConfig(b.TempDir())
	for b.Loop() {
		p, err := New(cfg, testLog(b))
		if err != nil {
			b.Fatal(err)
		}
		ctx := context.Background()
		if err := p.Start(ctx); err != nil {
			b.Fatal(err)
		}
		if err := p.Ready(ctx); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := p.Shutdown(ctx); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// BenchmarkIdle measures what the child holds: fresh, under inserts, and
// when it has been idle for long enough to give memory back. Its time means
// nothing.
func BenchmarkIdle(b *testing.B) {
	for b.Loop() {
		p := startProcess(b, testConfig(b.TempDir()))
		client := dial(b, p)
		run(b, client, soakSpan)
		fresh := processMemory(p.PID())
		blocks := newSoakBlocks()
		ctx := context.Background()
		var loaded memory
		for i := range int64(50) {
			blocks.fill(i)
			if err := client.Do(ctx, ch.Query{Body: blocks.in.Into("spans"), Input: blocks.in}); err != nil {
				b.Fatal(err)
			}
			if err := client.Do(ctx, ch.Query{Body: soakQueries[i%int64(len(soakQueries))], Result: discard{}, OnResult: ignore}); err != nil {
				b.Fatal(err)
			}
			if m := processMemory(p.PID()); m.rss > loaded.rss {
				loaded = m
			}
		}
		time.Sleep(3 * idleTrim)
		idle := processMemory(p.PID())
		for name, m := range map[string]memory{"fresh": fresh, "loaded": loaded, "idle": idle} {
			b.ReportMetric(float64(m.rss)/(1<<20), name+"-MB")
			b.ReportMetric(float64(m.anonymous)/(1<<20), name+"-anon-MB")
			b.ReportMetric(float64(m.threads), name+"-threads")
		}
	}
}
