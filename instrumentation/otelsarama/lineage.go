package otelsarama

import (
	"context"

	"github.com/IBM/sarama"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

// HeaderError says in a dead letter why processing failed: error.type, a colon, a
// space and the error's text.
const HeaderError = messaging.HeaderError

// Retry returns the message that sends msg, whose processing in ctx failed, on to
// topic for another attempt. It has the key, the value and the headers of msg, but
// the context that it carried, and a header that says where the record came from
// first, when it was first handed over and how often it failed, and which process spans it had. The
// memory of msg is shared and not changed.
//
// Process spans of the new record link to those of the earlier attempts, and the
// time since the first failure is measured apart from processing.
func Retry(ctx context.Context, msg *sarama.ConsumerMessage, topic string) *sarama.ProducerMessage {
	return sendOn(msg, topic, retried(ctx, msg))
}

// DeadLetter is [Retry] for a message that is given up because of err, which may
// be nil. The message says why in [HeaderError].
func DeadLetter(ctx context.Context, msg *sarama.ConsumerMessage, topic string, err error) *sarama.ProducerMessage {
	headers := retried(ctx, msg)
	if err != nil {
		headers = messaging.WithReason(headers, err, errorType(err))
	}
	return sendOn(msg, topic, headers)
}

func retried(ctx context.Context, msg *sarama.ConsumerMessage) []messaging.Header {
	from := messaging.RecordRef{Topic: msg.Topic, Partition: msg.Partition, Offset: msg.Offset}
	return messaging.Retried(ctx, from, received(nil, msg.Headers))
}

func sendOn(msg *sarama.ConsumerMessage, topic string, headers []messaging.Header) *sarama.ProducerMessage {
	out := &sarama.ProducerMessage{Topic: topic}
	if msg.Key != nil {
		out.Key = sarama.ByteEncoder(msg.Key)
	}
	if msg.Value != nil {
		out.Value = sarama.ByteEncoder(msg.Value)
	}
	for _, h := range headers {
		out.Headers = append(out.Headers, sarama.RecordHeader{Key: []byte(h.Key), Value: h.Value})
	}
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
	return messaging.LineageOf(received(nil, msg.Headers))
}
