package messaging

import (
	"context"

	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/trace"
)

// Injector writes contexts into the headers of the records of one send call. It
// is copy-on-write: the slices it returns are its own, with their capacity cut
// to their length, so neither the caller's slice nor its backing array nor the
// headers of another record can be reached through them.
//
// Its memory is taken in slabs, one for all records of a call, and is never used
// again for anything else: Kafka clients may read headers after they reported a
// record as done. An Injector is not safe for concurrent use.
type Injector[H KeyValue] struct {
	headers []H
	values  []byte
	baggage []byte // nil when there is none to send
	sentry  bool
	skipped bool

	pathway []byte // value of the pathway header; nil when there is none to send

	hook  SendHook        // nil: none
	ctx   context.Context //nolint:containedctx // what the hook is asked with
	asked trace.SpanID    // the span that hooked was asked for
	added []byte
}

// NewInjector prepares what is the same for all records sent from ctx. sentry
// asks for a sentry-trace header even if ctx did not come in that form.
func NewInjector[H KeyValue](ctx context.Context, sentry bool) Injector[H] {
	in := Injector[H]{sentry: sentry || HasSentryForm(ctx)}
	if h := sendHook.Load(); h != nil {
		in.sentry, in.hook, in.ctx = true, *h, ctx
	}
	if b := baggage.FromContext(ctx); b.Len() > 0 {
		if b.Len() <= MaxBaggageMembers {
			if s := b.String(); len(s) <= MaxBaggageBytes {
				in.baggage = []byte(s)
			}
		}
		in.skipped = in.baggage == nil
	}
	return in
}

// BaggageSkipped reports whether the context's baggage is over the limits and is
// therefore not sent.
func (in *Injector[H]) BaggageSkipped() bool { return in.skipped }

// SetPathway gives the value of the pathway header for the records that follow,
// see [Call.PathwayHeader]; nil is none.
func (in *Injector[H]) SetPathway(value []byte) { in.pathway = value }

// Plain reports whether a record gets the traceparent header alone, provided its
// context has no tracestate.
func (in *Injector[H]) Plain() bool {
	return !in.sentry && in.baggage == nil && in.hook == nil && in.pathway == nil
}

// Grow makes room for records more records that have headers headers among them.
func (in *Injector[H]) Grow(records, headers int) {
	in.headers = make([]H, 0, headers+records*in.headersPerRecord())
	values := traceparentLen
	if in.sentry {
		values += sentryTraceLen
	}
	in.values = make([]byte, 0, records*values)
}

func (in *Injector[H]) headersPerRecord() int {
	n := 1
	if in.sentry {
		n++
	}
	if in.baggage != nil || in.hook != nil {
		n++
	}
	if in.pathway != nil {
		n++
	}
	return n
}

// baggageFor is the baggage of a record that carries sc.
func (in *Injector[H]) baggageFor(sc trace.SpanContext) []byte {
	if in.hook == nil {
		// All records of a call are of one trace, or each is of a new one.
		in.baggage = ofTrace(in.baggage, sc.TraceID())
		return in.baggage
	}
	if in.added == nil || in.asked != sc.SpanID() {
		in.asked, in.added = sc.SpanID(), joinBaggage(members(in.hook, in.ctx, sc), in.baggage)
	}
	return in.added
}

// Overhead is the number of bytes that Inject adds to a record for sc, in record
// format v2 and rounded up.
func (in *Injector[H]) Overhead(sc trace.SpanContext) int {
	const lengths = 1 + 3 // key below 64 bytes, value below 1 MiB
	n := lengths + len(HeaderTraceparent) + traceparentLen
	if ts := sc.TraceState(); ts.Len() > 0 {
		n += lengths + len(HeaderTracestate) + len(ts.String())
	}
	if b := in.baggageFor(sc); b != nil {
		n += lengths + len(HeaderBaggage) + len(b)
	}
	if in.sentry {
		n += lengths + len(HeaderSentryTrace) + sentryTraceLen
	}
	if in.pathway != nil {
		n += lengths + len(HeaderPathway) + len(in.pathway)
	}
	return n
}

// Inject returns a copy of headers with the context sc added: traceparent
// always, tracestate and baggage when there is any, sentry-trace when asked for.
// Context headers that are in the way, which [Extract] found to be malformed,
// are left out of the copy; a baggage header that the caller set stays.
//
// Records that already carry a valid context must not be given to Inject: the
// one they have is never changed.
func (in *Injector[H]) Inject(headers []H, sc trace.SpanContext) []H {
	from := len(in.headers)
	hasBaggage := false
	for i := range headers {
		switch Header(headers[i]).Key {
		case HeaderTraceparent, HeaderTracestate, HeaderSentryTrace:
			continue
		case HeaderBaggage:
			hasBaggage = true
		case HeaderPathway:
			if in.pathway != nil {
				continue
			}
		}
		in.headers = append(in.headers, headers[i])
	}
	at := len(in.values)
	in.values = AppendTraceparent(in.values, sc)
	in.add(HeaderTraceparent, in.values[at:len(in.values):len(in.values)])
	if ts := sc.TraceState(); ts.Len() > 0 {
		if s := ts.String(); len(s) <= MaxTracestateBytes {
			in.add(HeaderTracestate, []byte(s))
		}
	}
	if !hasBaggage {
		if b := in.baggageFor(sc); b != nil {
			in.add(HeaderBaggage, b[:len(b):len(b)])
		}
	}
	if in.sentry {
		at = len(in.values)
		in.values = AppendSentryTrace(in.values, sc)
		in.add(HeaderSentryTrace, in.values[at:len(in.values):len(in.values)])
	}
	if in.pathway != nil {
		in.add(HeaderPathway, in.pathway[:len(in.pathway):len(in.pathway)])
	}
	return in.headers[from:len(in.headers):len(in.headers)]
}

func (in *Injector[H]) add(key string, value []byte) {
	in.headers = append(in.headers, H(Header{Key: key, Value: value}))
}
