package otelfranz

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/trace"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

// HeaderError says in a dead letter why processing failed: error.type, a colon, a
// space and the error's text, at most maxErrorHeader bytes.
const HeaderError = "hoptrace-error"

const maxErrorHeader = 512

// Retry returns the record that sends r, whose processing in ctx failed, on to
// topic for another attempt. It has the key, the value and the headers of r, but
// the context that it carried, and a header that says where the record came from
// first, when it was first handed over and how often it failed, and which process spans it had. The
// memory of r is shared and not changed.
//
// Process spans of the new record link to those of the earlier attempts, and the
// time since the first failure is measured apart from processing.
func Retry(ctx context.Context, r *kgo.Record, topic string) *kgo.Record {
	from := messaging.RecordRef{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset}
	process, seen := trace.SpanContextFromContext(ctx), time.Now()
	if p, ok := messaging.RecordFromContext(ctx); ok && (p.Count() > 1 || p.Record() == from) {
		process, seen = p.SpanContext(), p.Seen()
	}
	return &kgo.Record{Topic: topic, Key: r.Key, Value: r.Value, Headers: messaging.SendOn(from, r.Headers, process, seen)}
}

// DeadLetter is [Retry] for a record that is given up because of err, which may be
// nil. The record says why in [HeaderError].
func DeadLetter(ctx context.Context, r *kgo.Record, topic string, err error) *kgo.Record {
	out := Retry(ctx, r, topic)
	if err == nil {
		return out
	}
	reason := errorType(err) + ": " + err.Error()
	headers := make([]kgo.RecordHeader, 0, len(out.Headers)+1)
	for _, h := range out.Headers {
		if h.Key != HeaderError {
			headers = append(headers, h)
		}
	}
	headers = append(headers, kgo.RecordHeader{Key: HeaderError, Value: []byte(reason[:min(len(reason), maxErrorHeader)])})
	out.Headers = headers
	return out
}

// Attempt is how often processing of r was begun, this time included: 1 for a
// record that [Retry] did not make.
func Attempt(r *kgo.Record) int {
	if l, ok := LineageOf(r); ok {
		return l.Attempt + 1
	}
	return 1
}

// LineageOf reads where a record came from that [Retry] or [DeadLetter] made.
func LineageOf(r *kgo.Record) (l messaging.Lineage, ok bool) {
	for i := len(r.Headers) - 1; i >= 0; i-- {
		if r.Headers[i].Key == messaging.HeaderRetry {
			return messaging.ParseLineage(r.Headers[i].Value)
		}
	}
	return l, false
}
