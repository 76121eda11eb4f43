package otelsarama

import (
	"context"
	"time"

	"github.com/IBM/sarama"
	"go.opentelemetry.io/otel/trace"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

// HeaderError says in a dead letter why processing failed: error.type, a colon, a
// space and the error's text, at most maxErrorHeader bytes.
const HeaderError = "hoptrace-error"

const maxErrorHeader = 512

// Retry returns the message that sends msg, whose processing in ctx failed, on to
// topic for another attempt. It has the key, the value and the headers of msg, but
// the context that it carried, and a header that says where the record came from
// first, when it was first handed over and how often it failed, and which process spans it had. The
// memory of msg is shared and not changed.
//
// Process spans of the new record link to those of the earlier attempts, and the
// time since the first failure is measured apart from processing.
func Retry(ctx context.Context, msg *sarama.ConsumerMessage, topic string) *sarama.ProducerMessage {
	from := messaging.RecordRef{Topic: msg.Topic, Partition: msg.Partition, Offset: msg.Offset}
	process, seen := trace.SpanContextFromContext(ctx), time.Now()
	if p, ok := messaging.RecordFromContext(ctx); ok && (p.Count() > 1 || p.Record() == from) {
		process, seen = p.SpanContext(), p.Seen()
	}
	out := &sarama.ProducerMessage{Topic: topic}
	if msg.Key != nil {
		out.Key = sarama.ByteEncoder(msg.Key)
	}
	if msg.Value != nil {
		out.Value = sarama.ByteEncoder(msg.Value)
	}
	for _, h := range messaging.SendOn(from, received(nil, msg.Headers), process, seen) {
		out.Headers = append(out.Headers, sarama.RecordHeader{Key: []byte(h.Key), Value: h.Value})
	}
	return out
}

// DeadLetter is [Retry] for a message that is given up because of err, which may
// be nil. The message says why in [HeaderError].
func DeadLetter(ctx context.Context, msg *sarama.ConsumerMessage, topic string, err error) *sarama.ProducerMessage {
	out := Retry(ctx, msg, topic)
	if err == nil {
		return out
	}
	reason := errorType(err) + ": " + err.Error()
	headers := make([]sarama.RecordHeader, 0, len(out.Headers)+1)
	for _, h := range out.Headers {
		if string(h.Key) != HeaderError {
			headers = append(headers, h)
		}
	}
	headers = append(headers, sarama.RecordHeader{Key: []byte(HeaderError), Value: []byte(reason[:min(len(reason), maxErrorHeader)])})
	out.Headers = headers
	return out
}

// Attempt is how often processing of msg was begun, this time included: 1 for a
// message that [Retry] did not make.
func Attempt(msg *sarama.ConsumerMessage) int {
	if l, ok := LineageOf(msg); ok {
		return l.Attempt + 1
	}
	return 1
}

// LineageOf reads where a message came from that [Retry] or [DeadLetter] made.
func LineageOf(msg *sarama.ConsumerMessage) (l messaging.Lineage, ok bool) {
	for i := len(msg.Headers) - 1; i >= 0; i-- {
		if h := msg.Headers[i]; h != nil && string(h.Key) == messaging.HeaderRetry {
			return messaging.ParseLineage(h.Value)
		}
	}
	return l, false
}
