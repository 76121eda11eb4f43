package collector

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
)

// nowhere is a Kafka that acknowledges at once and keeps nothing.
type nowhere struct{}

func (nowhere) ProduceSync(context.Context, ...*kgo.Record) error { return nil }
func (nowhere) Ping(context.Context) error                        { return nil }

// BenchmarkExport is one request of 512 spans from the client's call to its
// answer: client, transport, check and records, without Kafka.
func BenchmarkExport(b *testing.B) {
	cfg := DefaultConfig()
	cfg.GRPC, cfg.HTTP = "127.0.0.1:0", "127.0.0.1:0"
	c, err := New(cfg, Deps{Kafka: nowhere{}, Projects: &projects{}, Registerer: prometheus.NewRegistry(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	if err := c.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	defer func() { _ = c.Shutdown(context.Background()) }()
	body := protoOf(b, request(512, nil))
	perSpan := func(b *testing.B) {
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/512, "ns/span")
	}
	for _, protocol := range []string{"grpc", "grpc+gzip"} {
		b.Run("protocol="+protocol, func(b *testing.B) {
			conn, err := grpc.NewClient(c.GRPCAddr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			opts := []grpc.CallOption{grpc.ForceCodec(rawBytes{})}
			if protocol == "grpc+gzip" {
				opts = append(opts, grpc.UseCompressor(gzip.Name))
			}
			b.ReportAllocs()
			for b.Loop() {
				var out []byte
				if err := conn.Invoke(b.Context(), export, &body, &out, opts...); err != nil || len(out) != 0 {
					b.Fatal(out, err)
				}
			}
			perSpan(b)
		})
	}
	b.Run("protocol=http", func(b *testing.B) {
		client := &http.Client{Transport: &http.Transport{}}
		defer client.CloseIdleConnections()
		b.ReportAllocs()
		for b.Loop() {
			resp, err := client.Post("http://"+c.HTTPAddr().String()+"/v1/traces", "application/x-protobuf", bytes.NewReader(body))
			if err != nil {
				b.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
				b.Fatal(resp.Status, err)
			}
			_ = resp.Body.Close()
		}
		perSpan(b)
	})
}
