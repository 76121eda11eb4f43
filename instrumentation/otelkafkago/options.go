package otelkafkago

import (
	"sync/atomic"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

// Version is the version of this instrumentation, as its spans carry it.
const Version = "0.1.0"

// attrSentryOp is read by Sentry's queue views.
const attrSentryOp = "sentry.op"

// Option changes how a [Writer] or a [Reader] is instrumented.
type Option func(*config)

type config struct {
	provider    trace.TracerProvider
	propagator  propagation.TextMapPropagator // beside the built-in forms; nil when they are enough
	parent      bool
	noReceive   bool
	explicit    bool
	sentryTrace bool
	attributes  []attribute.KeyValue
	tracer      trace.Tracer
}

// WithTracerProvider takes spans to tp. The default is what [Integration] was
// set up with, else the global provider.
func WithTracerProvider(tp trace.TracerProvider) Option {
	return func(c *config) { c.provider = tp }
}

// WithPropagator reads and writes the headers of p beside the built-in ones
// (traceparent, tracestate, baggage, sentry-trace), which come first.
func WithPropagator(p propagation.TextMapPropagator) Option {
	return func(c *config) { c.propagator = beyondBuiltIn(p) }
}

// WithParent makes the producer's span the parent of the receive and process
// spans, beside the link to it. Without it they are linked only, as the
// OpenTelemetry conventions advise, and process is a child of receive.
func WithParent() Option { return func(c *config) { c.parent = true } }

// WithoutReceiveSpans leaves out the "poll" spans.
func WithoutReceiveSpans() Option { return func(c *config) { c.noReceive = true } }

// WithExplicitProcessing tells the Reader that the program marks processing by
// Process, StartProcess or MessageContext, perhaps in other goroutines, so that
// the next fetch must not be taken for the end of it. The first StartProcess
// has the same effect.
func WithExplicitProcessing() Option { return func(c *config) { c.explicit = true } }

// WithSentryTrace writes a sentry-trace header beside traceparent on every
// record, for consumers that read nothing else. Without it the header is written
// only when the incoming context came in that form.
func WithSentryTrace() Option { return func(c *config) { c.sentryTrace = true } }

// WithAttributes adds attributes to every span.
func WithAttributes(attrs ...attribute.KeyValue) Option {
	return func(c *config) { c.attributes = append(c.attributes, attrs...) }
}

// setup is what Init gave us, if it did.
type setup struct {
	provider   trace.TracerProvider
	propagator propagation.TextMapPropagator
}

var current atomic.Pointer[setup]

// KafkaIntegration connects this package to hoptrace.Init.
type KafkaIntegration struct{}

// Integration is passed to hoptrace.Init; from then on [NewWriter], [Wrap] and
// [NewReader] use its providers unless an option says otherwise.
func Integration() KafkaIntegration { return KafkaIntegration{} }

// Name returns "kafka-go".
func (KafkaIntegration) Name() string { return "kafka-go" }

// Setup makes tp and p the defaults of this package. A nil argument means
// OpenTelemetry's global one.
func (KafkaIntegration) Setup(tp trace.TracerProvider, p propagation.TextMapPropagator) error {
	current.Store(&setup{provider: tp, propagator: beyondBuiltIn(p)})
	return nil
}

func newConfig(opts []Option) config {
	c := config{}
	if s := current.Load(); s != nil {
		c.provider, c.propagator = s.provider, s.propagator
	}
	for _, o := range opts {
		if o != nil {
			o(&c)
		}
	}
	if c.provider == nil {
		c.provider = otel.GetTracerProvider()
	}
	c.tracer = c.provider.Tracer(messaging.ScopeKafkaGo,
		trace.WithInstrumentationVersion(Version), trace.WithSchemaURL(messaging.SchemaURL))
	return c
}

// beyondBuiltIn returns p only if it knows a header that package messaging does
// not handle by itself.
func beyondBuiltIn(p propagation.TextMapPropagator) propagation.TextMapPropagator {
	if p == nil {
		return nil
	}
	for _, f := range p.Fields() {
		switch f {
		case messaging.HeaderTraceparent, messaging.HeaderTracestate, messaging.HeaderBaggage, messaging.HeaderSentryTrace:
		default:
			return p
		}
	}
	return nil
}
