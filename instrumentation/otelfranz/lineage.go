package otelfranz

import (
	"context"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

// HeaderError says in a dead letter why processing failed: error.type, a colon, a
// space and the error's text.
const HeaderError = messaging.HeaderError

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
	return &kgo.Record{Topic: topic, Key: r.Key, Value: r.Value, Headers: messaging.Retried(ctx, from, r.Headers)}
}

// DeadLetter is [Retry] for a record that is given up because of err, which may be
// nil. The record says why in [HeaderError].
func DeadLetter(ctx context.Context, r *kgo.Record, topic string, err error) *kgo.Record {
	out := Retry(ctx, r, topic)
	if err != nil {
		out.Headers = messaging.WithReason(out.Headers, err, errorType(err))
	}
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
	return messaging.LineageOf(r.Headers)
}
