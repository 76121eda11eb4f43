package otelkafkago

import (
	"context"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.opentelemetry.io/otel/codes"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

func TestAConsumerThatIsLockedOutDoesNotLookIdle(t *testing.T) {
	rec := record()
	c := broker(t, 1)
	c.ControlKey(1, func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		q := req.(*kmsg.FetchRequest)
		res := q.ResponseKind().(*kmsg.FetchResponse)
		topic, part := kmsg.NewFetchResponseTopic(), kmsg.NewFetchResponseTopicPartition()
		topic.Topic, topic.TopicID = q.Topics[0].Topic, q.Topics[0].TopicID
		part.ErrorCode, part.RecordBatches = 29, []byte{}
		topic.Partitions = append(topic.Partitions, part)
		res.Topics = append(res.Topics, topic)
		return res, nil, true
	})
	r := newReader(t, c, func(cfg *kafka.ReaderConfig) { cfg.MaxAttempts = 1 }, WithTracerProvider(rec))
	if _, err := r.FetchMessage(within(t)); err == nil {
		t.Fatal("the fetch was not refused")
	}
	s := rec.wait(t, "poll orders", 1)[0]
	if got := text(t, s, messaging.AttrErrorType); got != "TOPIC_AUTHORIZATION_FAILED" || s.Status().Code != codes.Error {
		t.Errorf("error.type %q, status %v; want the broker's code and an error", got, s.Status())
	}
	short, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	for {
		if _, err := r.FetchMessage(short); short.Err() != nil || err == nil {
			break
		}
	}
	for _, s := range rec.named("poll orders") {
		if kind := text(t, s, messaging.AttrErrorType); kind == "timeout" || kind == "canceled" {
			t.Errorf("a context that ended passes for an error of the broker: %s", kind)
		}
	}
}
