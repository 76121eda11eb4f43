package otelsarama

import (
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

// Version is the version of this instrumentation, as its spans carry it.
const Version = "0.1.0"

// Option changes how a client is instrumented.
type Option func(*config)

type config struct {
	core     messaging.Config
	explicit bool
}

// WithTracerProvider takes spans to tp. The default is what [Integration] was
// set up with, else the global provider.
func WithTracerProvider(tp trace.TracerProvider) Option {
	return func(c *config) { c.core.TracerProvider = tp }
}

// WithMeterProvider takes measures to mp. The default is what [Integration] was
// set up with, else the global provider.
func WithMeterProvider(mp metric.MeterProvider) Option {
	return func(c *config) { c.core.MeterProvider = mp }
}

// WithPropagator reads and writes the headers of p beside the built-in ones
// (traceparent, tracestate, baggage, sentry-trace), which come first.
func WithPropagator(p propagation.TextMapPropagator) Option {
	return func(c *config) { c.core.Propagator = p }
}

// WithParent makes the producer's span the parent of the receive and process
// spans, beside the link to it. Without it they are linked only, as the
// OpenTelemetry conventions advise, and process is a child of receive.
func WithParent() Option { return func(c *config) { c.core.Parent = true } }

// WithoutLinks leaves out the link to a span that is the parent too.
func WithoutLinks() Option { return func(c *config) { c.core.WithoutLinks = true } }

// WithoutReceiveSpans leaves out the "receive" spans.
func WithoutReceiveSpans() Option { return func(c *config) { c.core.WithoutReceive = true } }

// WithExplicitProcessing tells that the program marks processing by
// [Instrumentation.Process] or [Instrumentation.StartProcess], perhaps in other goroutines, so that
// the next receive must not be taken for the end of it. The first use of one of them
// has the same effect.
func WithExplicitProcessing() Option { return func(c *config) { c.explicit = true } }

// WithCreateSpans gives each record a create span, and each request a send span
// that links to those of its records.
func WithCreateSpans() Option { return func(c *config) { c.core.CreateSpans = true } }

// WithSentryTrace writes a sentry-trace header beside traceparent on every
// record, for consumers that read nothing else. Without it the header is written
// only when the incoming context came in that form.
func WithSentryTrace() Option { return func(c *config) { c.core.SentryTrace = true } }

// WithPathways writes and reads the header hoptrace-path, 24 bytes that say which
// way a record came and since when it is under way, and measures by it. Each
// header costs readers of other clients some allocations.
func WithPathways() Option { return func(c *config) { c.core.Pathways = true } }

// WithService names this program in pathways. The default is OTEL_SERVICE_NAME,
// else the name of the executable.
func WithService(name string) Option { return func(c *config) { c.core.Service = name } }

// WithMessageKey puts what f makes of a record's key on its spans, as
// messaging.kafka.message.key. An empty string leaves it out; more than
// messaging.MaxKeyText bytes are cut off. Without it only a hash of the key is
// told. f is called from several goroutines.
func WithMessageKey(f func(key []byte) string) Option {
	return func(c *config) { c.core.MessageKey = f }
}

// WithAttributes adds attributes to every span.
func WithAttributes(attrs ...attribute.KeyValue) Option {
	return func(c *config) { c.core.Attributes = append(c.core.Attributes, attrs...) }
}

// WithClock makes now the wall clock, for tests of clocks that disagree.
func WithClock(now func() time.Time) Option { return func(c *config) { c.core.Now = now } }

// KafkaIntegration connects this package to hoptrace.Init.
type KafkaIntegration struct{}

// Integration is passed to hoptrace.Init; from then on [New] uses its providers
// unless an option says otherwise.
func Integration() KafkaIntegration { return KafkaIntegration{} }

// Name returns "sarama".
func (KafkaIntegration) Name() string { return "sarama" }

// Setup makes tp and p the defaults of this package. A nil argument means
// OpenTelemetry's global one.
func (KafkaIntegration) Setup(tp trace.TracerProvider, p propagation.TextMapPropagator) error {
	messaging.SetDefaults(messaging.Defaults{TracerProvider: tp, Propagator: p})
	return nil
}

func newConfig(opts []Option) config {
	c := config{core: messaging.Config{Scope: messaging.ScopeSarama, Version: Version}}
	for _, o := range opts {
		if o != nil {
			o(&c)
		}
	}
	return c
}
