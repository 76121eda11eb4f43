package messaging

import (
	"bytes"
	"context"
	"encoding/hex"
	"strings"
	"sync/atomic"

	"go.opentelemetry.io/otel/trace"
)

// SendHook lets another tracing system, such as Sentry's, have its part in the
// headers of records. While one is set every record carries a sentry-trace
// header.
type SendHook interface {
	// Baggage returns members for the baggage header of a record that carries sc
	// and is sent from ctx, in the syntax of that header; empty means none. They
	// stand before those of ctx, of which the ones that begin with SentryPrefix
	// are then left out.
	Baggage(ctx context.Context, sc trace.SpanContext) string
}

// SentryPrefix begins the keys of the baggage members that belong to Sentry.
const SentryPrefix = "sentry-"

var sendHook atomic.Pointer[SendHook]

// SetSendHook makes h the send hook of this process; nil removes it. It affects
// send calls that begin later.
func SetSendHook(h SendHook) {
	if h == nil {
		sendHook.Store(nil)
		return
	}
	sendHook.Store(&h)
}

// members asks a hook, whose panics cost only what it would have added.
func members(h SendHook, ctx context.Context, sc trace.SpanContext) (out string) { //nolint:revive // the hook is the receiver
	defer func() {
		if recover() != nil {
			out = ""
		}
	}()
	return h.Baggage(ctx, sc)
}

// joinBaggage puts added before those members of bag that are not Sentry's. What
// exceeds the limits is left out whole: first bag, then all.
func joinBaggage(added string, bag []byte) []byte {
	if added == "" {
		return bag
	}
	rest := withoutSentry(string(bag))
	joined := added
	if rest != "" {
		joined += "," + rest
	}
	for _, s := range [...]string{joined, added} {
		if b := []byte(s); len(b) <= MaxBaggageBytes && countMembers(b) <= MaxBaggageMembers {
			return b
		}
	}
	return nil
}

// ofTrace leaves Sentry's members out of bag when they describe another trace than
// id, as behind a link: what they say of the sampling of that trace would be
// taken for this one's.
func ofTrace(bag []byte, id trace.TraceID) []byte {
	_, value, ok := bytes.Cut(bag, []byte(SentryPrefix+"trace_id="))
	if !ok {
		return bag
	}
	var own [2 * len(id)]byte
	hex.Encode(own[:], id[:])
	if bytes.HasPrefix(value, own[:]) {
		return bag
	}
	if rest := withoutSentry(string(bag)); rest != "" {
		return []byte(rest)
	}
	return nil
}

func withoutSentry(bag string) string {
	if !strings.Contains(bag, SentryPrefix) {
		return bag
	}
	var out strings.Builder
	for m := range strings.SplitSeq(bag, ",") {
		if strings.HasPrefix(strings.TrimLeft(m, " \t"), SentryPrefix) {
			continue
		}
		if out.Len() > 0 {
			out.WriteByte(',')
		}
		out.WriteString(m)
	}
	return out.String()
}
