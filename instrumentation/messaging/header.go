package messaging

import (
	"context"

	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/trace"
)

// Keys of the headers that carry context. Kafka header keys are case-sensitive;
// these are matched as they are written here.
const (
	HeaderTraceparent = "traceparent"
	HeaderTracestate  = "tracestate"
	HeaderBaggage     = "baggage"
	HeaderSentryTrace = "sentry-trace"
)

// Limits on what is read from and written to a record. What exceeds them is left
// out, never cut: half a context is a wrong context.
const (
	MaxBaggageBytes    = 8192
	MaxBaggageMembers  = 64
	MaxTracestateBytes = 4096

	// MaxHeadersToInject is the number of headers on a record above which none
	// is added: copying them would cost more than the context is worth.
	MaxHeadersToInject = 4096
)

// Header is a record header, in the shape every Kafka client has. Any struct type
// of this shape can be used with [Extract] and [Injector] without conversion.
type Header struct {
	Key   string
	Value []byte
}

// KeyValue matches header types like kafka.Header and kgo.RecordHeader.
type KeyValue interface {
	~struct {
		Key   string
		Value []byte
	}
}

// Form names the header a context came in.
type Form uint8

// The forms, least preferred first.
const (
	FormNone   Form = iota
	FormSentry      // sentry-trace
	FormW3C         // traceparent
)

// Extracted is what one scan of a record's headers found.
type Extracted struct {
	// SpanContext is the creation context of the record, marked remote. It is
	// not valid when the record carries none.
	SpanContext trace.SpanContext

	// Form tells which header SpanContext was read from.
	Form Form

	// Sentry is true when the record carried a valid sentry-trace header, used
	// or not. A record sent on from such a context carries one too.
	Sentry bool

	// Baggage is the raw value of the baggage header: the memory of the record,
	// not a copy. It is nil when there is none or when it exceeds the limits.
	Baggage []byte

	lineage, pathway []byte // values of our own headers, the memory of the record
}

// Extract reads the context from headers in one scan. A valid traceparent wins
// over sentry-trace; of several headers with one key the last one counts. A
// header that is malformed or over the limits counts as absent.
//
// A sentry-trace without its sampling flag means that its sender left the
// decision open; it is read as sampled, so that a parent-based sampler decides
// for the record instead of dropping it.
func Extract[H KeyValue](headers []H) Extracted {
	var traceparent, tracestate, sentry, bag []byte
	var out Extracted
	for i := range headers {
		h := Header(headers[i])
		switch len(h.Key) {
		case len(HeaderTraceparent):
			if h.Key == HeaderTraceparent {
				traceparent = h.Value
			}
		case len(HeaderTracestate):
			if h.Key == HeaderTracestate {
				tracestate = h.Value
			}
		case len(HeaderBaggage):
			if h.Key == HeaderBaggage {
				bag = h.Value
			}
		case len(HeaderSentryTrace):
			if h.Key == HeaderSentryTrace {
				sentry = h.Value
			}
		case len(HeaderPathway):
			if h.Key == HeaderPathway {
				out.pathway = h.Value
			}
		case len(HeaderRetry):
			if h.Key == HeaderRetry {
				out.lineage = h.Value
			}
		}
	}
	if sentry != nil {
		if sc, ok := ParseSentryTrace(sentry); ok {
			out.SpanContext, out.Form, out.Sentry = sc, FormSentry, true
		}
	}
	if traceparent != nil {
		if sc, ok := ParseTraceparent(traceparent); ok {
			if len(tracestate) > 0 && len(tracestate) <= MaxTracestateBytes {
				// A broken tracestate does not spoil its traceparent (W3C, 3.3).
				if ts, err := trace.ParseTraceState(string(tracestate)); err == nil {
					sc = sc.WithTraceState(ts)
				}
			}
			out.SpanContext, out.Form = sc, FormW3C
		}
	}
	if len(bag) > 0 && len(bag) <= MaxBaggageBytes && countMembers(bag) <= MaxBaggageMembers {
		out.Baggage = bag
	}
	return out
}

func countMembers(bag []byte) int {
	n := 1
	for _, b := range bag {
		if b == ',' {
			n++
		}
	}
	return n
}

// Into returns ctx with what travels beside the span context: the baggage, and
// the memory that the context came in Sentry's form, which [NewInjector] reads.
// The span context itself is left to the caller, who decides between parent and
// link.
func (e Extracted) Into(ctx context.Context) context.Context {
	if e.Baggage != nil {
		if b, err := baggage.Parse(string(e.Baggage)); err == nil {
			ctx = baggage.ContextWithBaggage(ctx, b)
		}
	}
	if e.Sentry {
		ctx = ContextWithSentryForm(ctx)
	}
	return ctx
}

type sentryFormKey struct{}

// ContextWithSentryForm marks ctx, so that records sent from it carry a
// sentry-trace header beside traceparent.
func ContextWithSentryForm(ctx context.Context) context.Context {
	if HasSentryForm(ctx) {
		return ctx
	}
	return context.WithValue(ctx, sentryFormKey{}, true)
}

// HasSentryForm reports whether ctx was marked by [ContextWithSentryForm].
func HasSentryForm(ctx context.Context) bool {
	marked, _ := ctx.Value(sentryFormKey{}).(bool)
	return marked
}
