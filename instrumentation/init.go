package hoptrace

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Version is the version of this package.
const Version = "0.1.0"

// ErrInitialised is returned by [Init] when the program has called it already.
var ErrInitialised = errors.New("hoptrace: Init was called before; call Close first, or New for another client")

// closeTimeout bounds Close when the collector does not answer.
const closeTimeout = 5 * time.Second

// Client is an SDK set up by [New]. A program has one, by [Init]; a program that
// plays several services has several.
type Client struct {
	provider   *sdktrace.TracerProvider
	processor  *processor
	propagator propagation.TextMapPropagator
	closeOnce  sync.Once
}

// New makes a Client and sets up opts.Integrations with it. Unlike [Init] it
// leaves OpenTelemetry's global providers alone. It does not wait for the
// collector. The error names every fault of opts.
func New(opts Options) (*Client, error) {
	r, err := opts.resolve()
	if err != nil {
		return nil, err
	}
	exporter, err := newExporter(r)
	if err != nil {
		return nil, fmt.Errorf("hoptrace: cannot make the exporter to %s: %w", r.endpoint.Redacted(), err)
	}
	c := &Client{
		processor:  newProcessor(exporter, r),
		propagator: propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{}),
	}
	c.provider = sdktrace.NewTracerProvider(
		sdktrace.WithSampler(r.Sampler),
		sdktrace.WithResource(newResource(r.Options)),
		sdktrace.WithSpanProcessor(c.processor),
	)
	for _, in := range r.Integrations {
		if err := in.Setup(c.provider, c.propagator); err != nil {
			c.Close()
			return nil, fmt.Errorf("hoptrace: cannot set up integration %q: %w", in.Name(), err)
		}
	}
	return c, nil
}

// TracerProvider returns what spans are made from.
func (c *Client) TracerProvider() trace.TracerProvider { return c.provider }

// Propagator returns what reads and writes trace context outside Kafka.
func (c *Client) Propagator() propagation.TextMapPropagator { return c.propagator }

// Flush sends the spans that have ended and reports whether all of them, and all
// before, reached the collector within timeout.
func (c *Client) Flush(timeout time.Duration) bool {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return c.processor.ForceFlush(ctx) == nil
}

// Close sends what is left, for at most 5 s, and ends the client. Spans ended
// later are dropped. Calling it again does nothing.
func (c *Client) Close() {
	c.closeOnce.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		if err := c.provider.Shutdown(ctx); err != nil {
			c.processor.report(fmt.Errorf("hoptrace: cannot close within %s: %w", closeTimeout, err))
		}
	})
}

// Counts are the fates of a client's spans.
type Counts struct {
	Exported uint64 // acknowledged by the collector
	Dropped  uint64 // lost: the queue was full, an export failed for good, or the client was closed
	Queued   uint64 // waiting
}

// Counts returns the fates of the recorded spans so far.
func (c *Client) Counts() Counts { return c.processor.counts() }

func newExporter(r resolved) (sdktrace.SpanExporter, error) {
	ctx := context.Background()
	if r.Protocol == ProtocolHTTP {
		opts := []otlptracehttp.Option{
			otlptracehttp.WithEndpointURL(r.endpoint.String()),
			otlptracehttp.WithHeaders(r.headers),
			otlptracehttp.WithTimeout(r.ExportTimeout),
			otlptracehttp.WithCompression(otlptracehttp.GzipCompression),
			otlptracehttp.WithRetry(otlptracehttp.RetryConfig{
				Enabled: true, InitialInterval: retryPause, MaxInterval: 10 * retryPause, MaxElapsedTime: r.ExportTimeout,
			}),
		}
		return otlptrace.New(ctx, otlptracehttp.NewClient(opts...))
	}
	opts := []otlptracegrpc.Option{
		otlptracegrpc.WithEndpoint(r.endpoint.Host),
		otlptracegrpc.WithHeaders(r.headers),
		otlptracegrpc.WithTimeout(r.ExportTimeout),
		otlptracegrpc.WithRetry(otlptracegrpc.RetryConfig{
			Enabled: true, InitialInterval: retryPause, MaxInterval: 10 * retryPause, MaxElapsedTime: r.ExportTimeout,
		}),
	}
	if r.insecure {
		opts = append(opts, otlptracegrpc.WithInsecure())
	}
	return otlptrace.New(ctx, otlptracegrpc.NewClient(opts...))
}

var global struct {
	mu     sync.Mutex
	client *Client
}

// Init makes the program's client by [New] and makes it OpenTelemetry's global
// provider and propagator.
func Init(opts Options) error {
	global.mu.Lock()
	defer global.mu.Unlock()
	if global.client != nil {
		return ErrInitialised
	}
	c, err := New(opts)
	if err != nil {
		return err
	}
	otel.SetTracerProvider(c.provider)
	otel.SetTextMapPropagator(c.propagator)
	global.client = c
	return nil
}

// Flush is [Client.Flush] of the client made by [Init]. Without one it returns true.
func Flush(timeout time.Duration) bool {
	global.mu.Lock()
	c := global.client
	global.mu.Unlock()
	return c == nil || c.Flush(timeout)
}

// Close is [Client.Close] of the client made by [Init]; afterwards Init may be
// called again. Without one it does nothing.
func Close() {
	global.mu.Lock()
	c := global.client
	global.client = nil
	global.mu.Unlock()
	if c != nil {
		c.Close()
	}
}

func logError(err error) { slog.Default().Warn("tracing: " + err.Error()) }
