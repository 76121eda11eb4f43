package kafka

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hoptrace/hoptrace/internal/testevents"
)

// otlpLike makes bytes that compress as OTLP trace requests do: repeated
// names, random ids, times close together.
func otlpLike(spans int, seed uint64) []byte {
	rng := rand.New(rand.NewPCG(seed, 1))
	var b []byte
	now := uint64(1_790_000_000_000_000_000)
	for range spans {
		for range 3 { // trace, span and parent id
			b = binary.LittleEndian.AppendUint64(b, rng.Uint64())
		}
		now += rng.Uint64N(1_000_000)
		b = binary.LittleEndian.AppendUint64(b, now)
		b = binary.LittleEndian.AppendUint64(b, now+rng.Uint64N(50_000_000))
		b = fmt.Appendf(b, "process orders\x12\x10messaging.system\x1a\x05kafka\x12\x1emessaging.destination.name\x1a\x06orders"+
			"\x12\x21messaging.destination.partition.id\x1a\x01%d\x12\x16messaging.kafka.offset\x18%d\x12\x1fmessaging.consumer.group.name\x1a\x07billing"+
			"\x12\x14messaging.message.id\x1a\x10%016x\x12\x0border.amount\x18%d", rng.IntN(12), rng.Uint32(), rng.Uint64(), rng.IntN(10000))
	}
	return b
}

// BenchmarkCompression gives CPU and ratio of each codec on one batch of
// 64 KiB records: what a producer pays and what broker and disk get.
func BenchmarkCompression(b *testing.B) {
	var events []byte
	for i := range 8 {
		events = append(events, testevents.Python(i, uint64(i))...)
	}
	for what, batch := range map[string][]byte{"spans": otlpLike(1000, 1), "events": events} {
		for _, name := range []string{"none", "snappy", "lz4", "zstd", "gzip"} {
			b.Run("of="+what+"/codec="+name, func(b *testing.B) { benchmarkCodec(b, name, batch) })
		}
	}
}

func benchmarkCodec(b *testing.B, name string, batch []byte) {
	c, err := codec(name)
	if err != nil {
		b.Fatal(err)
	}
	compressor, err := kgo.DefaultCompressor(c)
	if err != nil {
		b.Fatal(err)
	}
	if compressor == nil {
		b.Skip("nothing to do")
	}
	benchmarkCodecs(b, compressor, kgo.DefaultDecompressor(), batch)
}

func benchmarkCodecs(b *testing.B, compressor kgo.Compressor, decompressor kgo.Decompressor, batch []byte) {
	size := 0
	var buf bytes.Buffer
	b.SetBytes(int64(len(batch)))
	for b.Loop() {
		buf.Reset()
		out, codec := compressor.Compress(&buf, batch)
		size = len(out)
		if _, err := decompressor.Decompress(out, codec); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(batch))/float64(size), "ratio")
}

// BenchmarkProduce gives records of OTLP size a second through the embedded
// broker with fsync, 32 callers waiting for their acknowledgement each.
func BenchmarkProduce(b *testing.B) {
	cfg := broker(b)
	a := admin(b, cfg)
	if _, err := a.Kadm().CreateTopic(b.Context(), 4, -1, map[string]*string{"max.message.bytes": ptr("4194304")}, "t"); err != nil {
		b.Fatal(err)
	}
	for _, spans := range []int{10, 100, 500} {
		b.Run(fmt.Sprintf("spans=%d", spans), func(b *testing.B) {
			p, err := NewProducer(cfg, DefaultProducerConfig(), quiet, nil)
			if err != nil {
				b.Fatal(err)
			}
			defer p.Close(context.Background())
			value := otlpLike(spans, 2)
			b.SetBytes(int64(len(value)))
			work := make(chan struct{})
			var wg sync.WaitGroup
			for range 32 {
				wg.Go(func() {
					for range work {
						if err := p.ProduceSync(context.Background(), &kgo.Record{Topic: "t", Value: value}); err != nil {
							b.Error(err)
						}
					}
				})
			}
			for b.Loop() {
				work <- struct{}{}
			}
			close(work)
			wg.Wait()
		})
	}
}

func ptr(s string) *string { return &s }
