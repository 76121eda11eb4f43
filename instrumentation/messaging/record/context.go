package record

import (
	"context"
	"reflect"
	"time"

	"go.opentelemetry.io/otel/trace"
)

// spanKey is the key under which OpenTelemetry's API keeps the span in a context.
// It is unexported there, and learned by watching the API ask. Nil means that
// the API does not behave as expected: then a live span stands in an ordinary
// context, which is one more allocation.
var spanKey = learnSpanKey(trace.SpanFromContext, trace.ContextWithSpan)

// watched is a context that remembers what it was asked for.
type watched struct {
	context.Context
	asked []any
}

func (w *watched) Value(key any) any {
	w.asked = append(w.asked, key)
	return nil
}

// learnSpanKey returns the key that get asks a context for and put uses, or nil
// unless that is certain.
func learnSpanKey(get func(context.Context) trace.Span, put func(context.Context, trace.Span) context.Context) any {
	w := &watched{Context: context.Background()}
	get(w)
	if len(w.asked) != 1 || w.asked[0] == nil || !reflect.TypeOf(w.asked[0]).Comparable() {
		return nil
	}
	key := w.asked[0]
	l := &Live{parent: context.Background()}
	if put(context.Background(), l).Value(key) != any(l) || get(context.WithValue(context.Background(), key, l)) != trace.Span(l) {
		return nil
	}
	return key
}

// Deadline is that of the parent context.
func (l *Live) Deadline() (time.Time, bool) { return l.parent.Deadline() }

// Done is that of the parent context.
func (l *Live) Done() <-chan struct{} { return l.parent.Done() }

// Err is that of the parent context.
func (l *Live) Err() error { return l.parent.Err() }

// Value returns the span under the key of OpenTelemetry's API, or else the value
// in the parent context.
func (l *Live) Value(key any) any {
	if spanKey != nil && key == spanKey {
		return l
	}
	return l.parent.Value(key)
}

// String describes the context, as those of the standard library do; it keeps
// fmt from reading the span while others change it.
func (l *Live) String() string { return "record.Live(" + l.span.SpanID.String() + ")" }

// IsSpanKey reports whether key is the one under which OpenTelemetry's API looks
// for the span in a context, for contexts that answer it themselves. It is never
// so where that key could not be learned.
func IsSpanKey(key any) bool { return spanKey != nil && key == spanKey }

// SpanKeyKnown reports whether [IsSpanKey] can be true.
func SpanKeyKnown() bool { return spanKey != nil }
