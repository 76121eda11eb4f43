package otelkafkago

import (
	"context"

	"github.com/segmentio/kafka-go"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

// HeaderError says in a dead letter why processing failed: error.type, a colon, a
// space and the error's text.
const HeaderError = messaging.HeaderError

// Retry returns the message that sends msg, whose processing in ctx failed, on to
// topic for another attempt. It has the key, the value and the headers of msg, but
// the context that it carried, and a header that says where the record came from
// first, when it was first handed over and how often it failed, and which process spans it had. The
// memory of msg is shared and not changed. topic is empty for a Writer that has a
// topic itself.
//
// Process spans of the new record link to those of the earlier attempts, and the
// time since the first failure is measured apart from processing.
func Retry(ctx context.Context, msg kafka.Message, topic string) kafka.Message {
	from := messaging.RecordRef{Topic: msg.Topic, Partition: int32(msg.Partition), Offset: msg.Offset} //nolint:gosec // partitions are int32 in the protocol
	return kafka.Message{
		Topic: topic, Key: msg.Key, Value: msg.Value,
		Headers: messaging.Retried(ctx, from, msg.Headers),
	}
}

// DeadLetter is [Retry] for a record that is given up because of err, which may be
// nil. The message says why in [HeaderError].
func DeadLetter(ctx context.Context, msg kafka.Message, topic string, err error) kafka.Message {
	out := Retry(ctx, msg, topic)
	if err != nil {
		out.Headers = messaging.WithReason(out.Headers, err, errorType(err))
	}
	return out
}

// Attempt is how often processing of msg was begun, this time included: 1 for a
// message that [Retry] did not make.
func Attempt(msg kafka.Message) int {
	if l, ok := LineageOf(msg); ok {
		return l.Attempt + 1
	}
	return 1
}

// LineageOf reads where a message came from that [Retry] or [DeadLetter] made.
func LineageOf(msg kafka.Message) (l messaging.Lineage, ok bool) {
	return messaging.LineageOf(msg.Headers)
}
