package sentrykafka

import (
	"sync"
	"sync/atomic"

	"github.com/getsentry/sentry-go"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

// Integration connects the wrappers of Kafka clients to Sentry's SDK. It is both
// a sentry.Integration and an Integration of hoptrace.Init.
type Integration struct{ config config }

type config struct {
	errors     bool // capture what handlers return
	noPanics   bool // do not capture what they panic with
	standalone bool // receive and settle spans get transactions of their own
	errorsOnly bool // spans are none of ours
}

// Option changes what an [Integration] does.
type Option func(*config)

// WithErrors captures the errors that handlers return, unless the handler has
// captured them itself.
func WithErrors() Option { return func(c *config) { c.errors = true } }

// WithoutPanics leaves panics of handlers to others to capture.
func WithoutPanics() Option { return func(c *config) { c.noPanics = true } }

// WithStandalone gives receive and settle spans that happen outside of any
// transaction one of their own. Without it they are left out then: most polls and
// commits happen between transactions, and each would count against the quota.
func WithStandalone() Option { return func(c *config) { c.standalone = true } }

// ErrorsOnly makes no spans of Sentry's: they stay OpenTelemetry's in
// sentry.Init too.
func ErrorsOnly() Option { return func(c *config) { c.errorsOnly = true } }

// KafkaIntegration makes the integration for hoptrace.Init or sentry.Init. With
// several in one process the options of the one set up last count.
func KafkaIntegration(opts ...Option) *Integration {
	in := &Integration{}
	for _, o := range opts {
		if o != nil {
			o(&in.config)
		}
	}
	return in
}

var (
	_ sentry.Integration = (*Integration)(nil)
	_ interface {
		Name() string
		Setup(trace.TracerProvider, propagation.TextMapPropagator) error
	} = (*Integration)(nil)
)

// process is what the integrations of one process share.
var process struct {
	mu      sync.Mutex
	current atomic.Pointer[config]
	otel    bool // hoptrace.Init has given a provider: spans are OpenTelemetry's
	hooked  bool
}

// Name returns "Kafka".
func (*Integration) Name() string { return "Kafka" }

// Setup is called by hoptrace.Init. From then on wrapped clients use tp and p
// unless an option of theirs says otherwise, whichever SDK is set up first. A nil
// argument means OpenTelemetry's global one.
func (in *Integration) Setup(tp trace.TracerProvider, p propagation.TextMapPropagator) error {
	process.mu.Lock()
	defer process.mu.Unlock()
	process.otel = true
	messaging.SetDefaults(messaging.Defaults{TracerProvider: tp, Propagator: p})
	in.hook()
	return nil
}

// SetupOnce is called by sentry.Init. If client traces, wrapped clients make
// spans of Sentry's by it from then on, unless hoptrace.Init has the integration
// too.
func (in *Integration) SetupOnce(client *sentry.Client) {
	process.mu.Lock()
	defer process.mu.Unlock()
	in.hook()
	client.AddEventProcessor(dropPropagating)
	if in.config.errorsOnly || process.otel || !client.Options().EnableTracing {
		return
	}
	tp := newProvider(client, in.config)
	client.AddEventProcessor(tp.finished.note)
	messaging.SetDefaults(messaging.Defaults{TracerProvider: tp, Propagator: NewPropagator()})
}

// hook joins the processing of records, once a process. process.mu is held.
func (in *Integration) hook() {
	process.current.Store(&in.config)
	if process.hooked {
		return
	}
	process.hooked = true
	messaging.AddProcessHook(processHook{})
	messaging.SetSendHook(sendHook{})
	// Hubs are cloned from this one; a client may come later, or know nothing of
	// the integration.
	sentry.CurrentHub().Scope().AddEventProcessor(dropPropagating)
}
