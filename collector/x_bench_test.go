package collector

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"

	"github.com/hoptrace/hoptrace/schemas"
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

// BenchmarkEnvelope is one envelope with one event, from the request to the
// record and its answer, without a network and without Kafka.
func BenchmarkEnvelope(b *testing.B) {
	for _, kb := range []int{2, 20, 200} {
		b.Run(fmt.Sprintf("event=%dKB", kb), func(b *testing.B) {
			c, err := New(DefaultConfig(), Deps{
				Kafka: nowhere{}, Projects: &projects{all: []schemas.Project{{ID: 1, Slug: "shop", Keys: []string{shopKey}}}},
				Registerer: prometheus.NewRegistry(), Log: slog.New(slog.DiscardHandler),
			})
			if err != nil {
				b.Fatal(err)
			}
			frame := `{"filename":"/srv/shop/payments/charge.go","abs_path":"/srv/shop/payments/charge.go","function":"charge","lineno":42,"in_app":true,"context_line":"\treturn fmt.Errorf(\"cannot charge: %w\", err)"}`
			event := `{"event_id":"` + eventID + `","exception":{"values":[{"type":"CardDeclined","stacktrace":{"frames":[` + frame
			for len(event) < kb<<10 {
				event += "," + frame
			}
			event += "]}}]}}"
			body := []byte(`{"event_id":"` + eventID + `","sent_at":"2026-11-23T12:00:00Z","dsn":"` + shopDSN + `","sdk":{"name":"sentry.go","version":"0.50.0"}}` +
				fmt.Sprintf("\n{\"type\":\"event\",\"length\":%d}\n", len(event)) + event + "\n")
			handler := c.handler()
			reader := bytes.NewReader(body)
			req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, "/api/1/envelope/", io.NopCloser(reader))
			if err != nil {
				b.Fatal(err)
			}
			req.RemoteAddr, req.ContentLength = "127.0.0.1:1234", int64(len(body))
			req.Header.Set("X-Sentry-Auth", asShop["X-Sentry-Auth"])
			w := &silent{header: http.Header{}}
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				reader.Reset(body)
				req.Body = io.NopCloser(reader)
				clear(w.header)
				handler.ServeHTTP(w, req)
				if w.code != http.StatusOK {
					b.Fatal(w.code, w.header)
				}
			}
		})
	}
}

// silent keeps an answer's code only.
type silent struct {
	header http.Header
	code   int
}

func (s *silent) Header() http.Header         { return s.header }
func (s *silent) WriteHeader(code int)        { s.code = code }
func (s *silent) Write(p []byte) (int, error) { return len(p), nil }
