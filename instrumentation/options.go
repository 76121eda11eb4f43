package hoptrace

import (
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Protocols and compressions of [Options].
const (
	ProtocolGRPC = "grpc"
	ProtocolHTTP = "http"

	CompressionGzip = "gzip"
	CompressionNone = "none"
)

// Integration connects a package that instruments a client library. The wrappers
// of hoptrace satisfy it without importing this package.
type Integration interface {
	// Name says what is integrated, as in "kafka-go".
	Name() string
	// Setup makes tp and p the defaults of that package.
	Setup(tp trace.TracerProvider, p propagation.TextMapPropagator) error
}

// Options say where spans and measures go and what is traced. The zero value
// works: it sends everything to a collector on this host, under the program's
// name. What an option leaves open the OTEL_* variables may say; docs/init.md
// lists them.
type Options struct {
	// ServiceName is the name under which the program appears. Empty means
	// OTEL_SERVICE_NAME, else the name of the executable.
	ServiceName    string
	ServiceVersion string
	// Release is another name for ServiceVersion, as Sentry calls it. It counts
	// when ServiceVersion is empty.
	Release string
	// Environment is deployment.environment.name, such as "production".
	Environment string

	// Endpoint is the URL of the collector. Empty means
	// OTEL_EXPORTER_OTLP_ENDPOINT, else the server that DSN names (over HTTP),
	// else http://127.0.0.1:4317 for gRPC and http://127.0.0.1:4318 for HTTP. The
	// scheme https asks for TLS; host:port alone means without TLS, unless TLS is
	// set.
	Endpoint string
	// Protocol is "grpc" or "http". Empty means gRPC, but for a DSN without
	// Endpoint.
	Protocol string
	// Compression is "gzip" or "none". Empty means gzip over HTTP and none over
	// gRPC.
	Compression string
	// Headers are sent with every export.
	Headers map[string]string
	// TLS is used when the collector is asked by TLS. Nil means the host's
	// certificates, and those of OTEL_EXPORTER_OTLP_CERTIFICATE and its like.
	TLS *tls.Config
	// DSN names the project that spans belong to, as for a Sentry SDK; empty lets
	// the collector decide. Only its public key is sent, in X-Sentry-Auth.
	DSN string

	// SampleRatio is the share of traces recorded, in (0, 1]. Zero means what
	// OTEL_TRACES_SAMPLER says, else all: to record none, set Sampler to
	// sdktrace.NeverSample(), or to sdktrace.ParentBased(sdktrace.NeverSample()) to
	// go on with the traces that others record. A parent's decision is respected.
	// Ignored when Sampler is set.
	SampleRatio float64
	// Sampler decides instead, for messaging spans too: those are asked for with
	// the attributes that all spans of the same operation on the same topic have,
	// and without links; of the result only the decision counts.
	Sampler sdktrace.Sampler
	// MessageSampler gives the share of traces to record, from 0 to 1, that begin
	// with this messaging operation. A negative number means as if it were not
	// there. It is not asked about spans that have a parent: the parent's decision
	// is respected. It is called on the data path, from many goroutines.
	MessageSampler func(SamplingInfo) float64

	// Propagator reads and writes trace context outside Kafka, and headers in
	// records that the wrappers do not handle by themselves. Nil means what
	// OTEL_PROPAGATORS says, else W3C trace context and baggage.
	Propagator propagation.TextMapPropagator

	// TracerProvider and MeterProvider are the program's own: Init then exports
	// no spans (no measures) itself and hands these to the integrations.
	TracerProvider trace.TracerProvider
	MeterProvider  metric.MeterProvider

	// ResourceAttributes are added to what is found out about the program.
	ResourceAttributes []attribute.KeyValue

	// Integrations are set up in this order.
	Integrations []Integration

	// QueueSize bounds the spans that wait for export: those of the integrations,
	// and as many of the program's own. Zero means OTEL_BSP_MAX_QUEUE_SIZE, else
	// 65,536 (some 100 MB if the collector is away long enough to fill it). Spans
	// above it are dropped and counted.
	QueueSize int
	// BatchSize is the most spans of the program's own in one export. Zero means
	// OTEL_BSP_MAX_EXPORT_BATCH_SIZE, else 2,048.
	BatchSize int
	// BatchTimeout is how long a span waits for others. Zero means
	// OTEL_BSP_SCHEDULE_DELAY, else 1 s.
	BatchTimeout time.Duration
	// MetricInterval is how often measures are exported. Zero means
	// OTEL_METRIC_EXPORT_INTERVAL, else 10 s.
	MetricInterval time.Duration
	// ExportTimeout bounds one try of an export. Zero means
	// OTEL_EXPORTER_OTLP_TIMEOUT, else 10 s.
	ExportTimeout time.Duration
	// CloseTimeout bounds Close. Zero means 5 s.
	CloseTimeout time.Duration

	// OnError is told what went wrong while exporting: once when the collector
	// stops answering, not for each span. Before that it is told, in one error,
	// which values of OTEL_* variables are not honoured. Nil means a warning by slog. It may be
	// called from any goroutine, one at a time.
	OnError func(error)
	// Debug logs each export by slog.
	Debug bool
}

const (
	defaultQueueSize      = 65536
	defaultBatchSize      = 2048
	defaultBatchTimeout   = time.Second
	defaultExportTimeout  = 10 * time.Second
	defaultMetricInterval = 10 * time.Second
	defaultCloseTimeout   = 5 * time.Second
)

// resolved is Options with every default filled in.
type resolved struct {
	Options
	disabled  bool    // OTEL_SDK_DISABLED
	traces    *target // nil: spans are not exported
	metrics   *target // nil: measures are not exported
	ratio     float64 // when Sampler is nil
	propagate propagation.TextMapPropagator
	reporter  *reporter
}

func (o Options) resolve() (resolved, error) {
	r := resolved{Options: o, ratio: 1}
	var faults, ignored []error
	collect := func(errs *[]error) func(string, ...any) {
		return func(format string, args ...any) {
			err := fmt.Errorf(format, args...)
			// What both signals read is told once.
			if !slices.ContainsFunc(*errs, func(e error) bool { return e.Error() == err.Error() }) {
				*errs = append(*errs, err)
			}
		}
	}
	fault := collect(&faults)
	env := environment{fault: fault, warn: collect(&ignored)}

	r.disabled, _ = env.boolean("OTEL_SDK_DISABLED")
	ts := targets{options: &r.Options, env: env}
	if r.DSN != "" {
		d, err := parseDSN(r.DSN)
		if err != nil {
			fault("%w", err)
		}
		ts.dsn = d
	}
	switch r.Compression {
	case "", CompressionGzip, CompressionNone:
	default:
		fault("Compression is %q; it must be %q or %q", r.Compression, CompressionGzip, CompressionNone)
	}
	if exported(env, "OTEL_TRACES_EXPORTER") {
		r.traces = ts.find(traces)
	}
	if exported(env, "OTEL_METRICS_EXPORTER") {
		r.metrics = ts.find(metrics)
	}
	r.sampling(env)
	r.propagate = r.Propagator
	if r.propagate == nil {
		r.propagate = propagatorFromEnv(env)
	}
	env.pairs("OTEL_RESOURCE_ATTRIBUTES") // package resource reads it, and says nothing of what is wrong
	r.sizes(env)
	for i, in := range r.Integrations {
		if in == nil {
			fault("Integrations[%d] is nil", i)
		}
	}
	if r.ServiceVersion == "" {
		r.ServiceVersion = r.Release
	}
	if r.OnError == nil {
		r.OnError = logError
	}
	r.reporter = &reporter{f: r.OnError}
	if len(ignored) > 0 {
		r.reporter.report(fmt.Errorf("hoptrace: not all of the environment is honoured: %w", errors.Join(ignored...)))
	}
	if len(faults) > 0 {
		return resolved{}, fmt.Errorf("hoptrace: the options are not valid: %w", errors.Join(faults...))
	}
	return r, nil
}

// exported tells whether a signal is, by its variable.
func exported(env environment, name string) bool {
	return slices.Contains(env.list([]string{"otlp", "none"}, []string{"otlp"}, name), "otlp")
}

func (r *resolved) sampling(env environment) {
	if !(r.SampleRatio >= 0 && r.SampleRatio <= 1) { // not a number is neither
		env.fault("SampleRatio is %v; it must be between 0 and 1", r.SampleRatio)
	}
	switch {
	case r.Sampler != nil:
	case r.SampleRatio > 0:
		r.ratio = r.SampleRatio
	default:
		if s, ratio := samplerFromEnv(env); ratio >= 0 {
			r.Sampler, r.ratio = s, ratio
		}
	}
}

func propagatorFromEnv(env environment) propagation.TextMapPropagator {
	standard := []string{"tracecontext", "baggage"}
	names := env.list([]string{"tracecontext", "baggage", "none"}, standard, "OTEL_PROPAGATORS")
	var all []propagation.TextMapPropagator
	for i, n := range names {
		switch {
		case slices.Contains(names[:i], n):
		case n == "tracecontext":
			all = append(all, propagation.TraceContext{})
		case n == "baggage":
			all = append(all, propagation.Baggage{})
		}
	}
	return propagation.NewCompositeTextMapPropagator(all...)
}

// sizes fills in numbers and times.
func (r *resolved) sizes(env environment) {
	number := func(name string, n *int, standard int, variable string) {
		switch {
		case *n < 0:
			env.fault("%s is %d; it must not be negative", name, *n)
		case *n == 0:
			*n = standard
			if v, ok := env.count(variable); ok {
				*n = v
			}
		}
	}
	number("QueueSize", &r.QueueSize, defaultQueueSize, "OTEL_BSP_MAX_QUEUE_SIZE")
	number("BatchSize", &r.BatchSize, defaultBatchSize, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE")
	r.BatchSize = min(r.BatchSize, r.QueueSize)
	span := func(name string, d *time.Duration, standard time.Duration, variables ...string) {
		switch {
		case *d < 0:
			env.fault("%s is %s; it must not be negative", name, *d)
		case *d == 0:
			*d = env.milliseconds(standard, variables...)
		}
	}
	span("BatchTimeout", &r.BatchTimeout, defaultBatchTimeout, "OTEL_BSP_SCHEDULE_DELAY")
	span("MetricInterval", &r.MetricInterval, defaultMetricInterval, "OTEL_METRIC_EXPORT_INTERVAL")
	span("ExportTimeout", &r.ExportTimeout, defaultExportTimeout)
	span("CloseTimeout", &r.CloseTimeout, defaultCloseTimeout)
}
