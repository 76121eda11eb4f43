package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/DataDog/dd-trace-go/v2/ddtrace/tracer"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	hoptrace "github.com/hoptrace/hoptrace/instrumentation"
)

// telemetry is where a client's spans go.
type telemetry struct {
	provider   trace.TracerProvider
	propagator propagation.TextMapPropagator
	prepare    func() error // before each round, not measured
	flush      func() error // at the end of each round, measured
	check      func() error // after the last round: nothing was lost
	close      func()
}

func noTelemetry(*cell) (telemetry, error) { return telemetry{}, nil }

const flushTimeout = 30 * time.Second

// sdkTelemetry is OpenTelemetry's SDK as its documentation sets it up, but that
// it waits where it would drop: a span that is not exported costs too little.
func sdkTelemetry(c *cell) (telemetry, error) {
	exporter, err := otlptracehttp.New(context.Background(), otlptracehttp.WithEndpoint(c.target.sink), otlptracehttp.WithInsecure())
	if err != nil {
		return telemetry{}, err
	}
	root := sdktrace.AlwaysSample()
	if !c.sampled {
		root = sdktrace.NeverSample()
	}
	p := sdktrace.NewTracerProvider(
		sdktrace.WithSampler(sdktrace.ParentBased(root)),
		sdktrace.WithResource(resource.NewSchemaless(attribute.String("service.name", "bench"))),
		sdktrace.WithBatcher(exporter, sdktrace.WithBlocking(), sdktrace.WithMaxQueueSize(8192), sdktrace.WithMaxExportBatchSize(2048)),
	)
	return telemetry{
		provider:   p,
		propagator: propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{}),
		flush: func() error {
			ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
			defer cancel()
			return p.ForceFlush(ctx)
		},
		close: func() { _ = p.Shutdown(context.Background()) },
	}, nil
}

// hoptraceTelemetry is what hoptrace.Init sets up, without making it global.
func hoptraceTelemetry(c *cell) (telemetry, error) {
	// Without compression, as the SDK's exporter beside it.
	options := hoptrace.Options{
		ServiceName: "bench", Endpoint: "http://" + c.target.sink, Protocol: hoptrace.ProtocolHTTP, Compression: hoptrace.CompressionNone,
	}
	if !c.sampled { // spans that only link to their producer's are roots; zero would mean all
		options.SampleRatio = 1e-12
	}
	client, err := hoptrace.New(options)
	if err != nil {
		return telemetry{}, err
	}
	return telemetry{
		provider:   client.TracerProvider(),
		propagator: client.Propagator(),
		flush: func() error {
			if !client.Flush(flushTimeout) {
				return fmt.Errorf("hoptrace: not all was exported within %s", flushTimeout)
			}
			return nil
		},
		check: func() error {
			if n := client.Counts().Dropped; n != 0 {
				return fmt.Errorf("hoptrace: %d spans were dropped", n)
			}
			return nil
		},
		close: client.Close,
	}, nil
}

// ddTelemetry is Datadog's tracer with an agent that takes everything. The
// tracer is global and has goroutines of its own, so it runs only while its own
// client is measured. Its spans are the roots of their traces: a parent that
// lasts would have it keep every span until the parent ends.
func ddTelemetry(c *cell) (telemetry, error) {
	before, err := countsOf(c.target.sink)
	if err != nil {
		return telemetry{}, err
	}
	rate := 0.0
	if c.sampled {
		rate = 1
	}
	rounds := 0
	return telemetry{
		prepare: func() error {
			rounds++
			return tracer.Start(tracer.WithAgentAddr(c.target.sink), tracer.WithService("bench"), tracer.WithSamplerRate(rate),
				tracer.WithLogStartup(false), tracer.WithLogger(silent{}))
		},
		flush: func() error {
			tracer.Flush()
			tracer.Stop() // waits for what is under way
			return nil
		},
		check: func() error {
			after, err := countsOf(c.target.sink)
			if err != nil || !c.sampled {
				return err
			}
			if want, got := int64(rounds*c.n), after.DDTraces-before.DDTraces; got < want {
				c.note("%s dropped %d of %d traces, so its figure is too low", c.client.name, want-got, want)
			}
			return nil
		},
		close: tracer.Stop,
	}, nil
}

type silent struct{}

func (silent) Log(string) {}

// parent is the context of what is produced.
func parent(sampled bool) context.Context {
	c := trace.SpanContextConfig{TraceID: trace.TraceID{1, 15: 9}, SpanID: trace.SpanID{2}}
	if sampled {
		c.TraceFlags = trace.FlagsSampled
	}
	return trace.ContextWithSpanContext(context.Background(), trace.NewSpanContext(c))
}

// traceparent is the header of what is consumed.
func traceparent(sampled bool) []byte {
	if sampled {
		return []byte("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	}
	return []byte("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")
}

var errShort = errors.New("fewer messages came than were asked for")
