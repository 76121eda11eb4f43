package sentrykafka

import (
	"context"

	"github.com/getsentry/sentry-go"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

// propagator carries Sentry's trace context.
type propagator struct{}

// NewPropagator makes a propagator that writes and reads sentry-trace, and
// baggage with the dynamic sampling context of the trace beside the members that
// OpenTelemetry has. Once a dynamic sampling context has come in, it goes on
// unchanged. The wrappers of Kafka clients do the same by themselves once the
// integration is set up; it is for other ways that a program sends.
func NewPropagator() propagation.TextMapPropagator { return propagator{} }

// Inject implements propagation.TextMapPropagator.
func (propagator) Inject(ctx context.Context, carrier propagation.TextMapCarrier) {
	sc := spanContext(ctx)
	bag := baggage.FromContext(ctx)
	if sc.IsValid() {
		carrier.Set(messaging.HeaderSentryTrace, string(messaging.AppendSentryTrace(nil, sc)))
		if added, err := baggage.Parse(sendHook{}.Baggage(ctx, sc)); err == nil && added.Len() > 0 {
			bag = merge(added, bag)
		}
	}
	if text := bag.String(); text != "" {
		carrier.Set(messaging.HeaderBaggage, text)
	}
}

// spanContext is that of the span in ctx that was started last: Sentry's, unless
// one of OpenTelemetry's of another trace is there.
func spanContext(ctx context.Context) trace.SpanContext {
	sc := trace.SpanContextFromContext(ctx)
	if s := sentry.SpanFromContext(ctx); s != nil && (!sc.IsValid() || sentry.TraceID(sc.TraceID()) == s.TraceID) {
		flags := trace.TraceFlags(0)
		if s.Sampled == sentry.SampledTrue {
			flags = trace.FlagsSampled
		}
		return trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID(s.TraceID), SpanID: trace.SpanID(s.SpanID), TraceFlags: flags})
	}
	return sc
}

// merge puts what bag has besides Sentry's members to added.
func merge(added, bag baggage.Baggage) baggage.Baggage {
	for _, m := range bag.Members() {
		if len(m.Key()) >= len(messaging.SentryPrefix) && m.Key()[:len(messaging.SentryPrefix)] == messaging.SentryPrefix {
			continue
		}
		if b, err := added.SetMember(m); err == nil {
			added = b
		}
	}
	return added
}

// Extract implements propagation.TextMapPropagator.
func (propagator) Extract(ctx context.Context, carrier propagation.TextMapCarrier) context.Context {
	if sc, ok := messaging.ParseSentryTrace([]byte(carrier.Get(messaging.HeaderSentryTrace))); ok {
		ctx = messaging.ContextWithSentryForm(trace.ContextWithRemoteSpanContext(ctx, sc))
	}
	if text := carrier.Get(messaging.HeaderBaggage); text != "" && len(text) <= messaging.MaxBaggageBytes {
		if b, err := baggage.Parse(text); err == nil {
			ctx = baggage.ContextWithBaggage(ctx, b)
		}
	}
	return ctx
}

// Fields implements propagation.TextMapPropagator.
func (propagator) Fields() []string {
	return []string{messaging.HeaderSentryTrace, messaging.HeaderBaggage}
}
