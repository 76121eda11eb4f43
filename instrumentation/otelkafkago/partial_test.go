package otelkafkago

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/produce"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

func TestOfAPartialFailureEachSpanTellsItsOwnFate(t *testing.T) {
	rec, m := record(), newMeters(t)
	b := &memory{partitions: 2, answer: func(q *produce.Request) (kafka.Response, error) {
		if q.Topics[0].Topic == "returns" || q.Topics[0].Partitions[0].Partition == 1 {
			return produced(q, -1, int16(kafka.TopicAuthorizationFailed)), nil
		}
		return produced(q, 10, 0), nil
	}}
	w := memoryWriter(b, func(w *kafka.Writer) { w.Topic = ""; w.MaxAttempts = 1; w.Balancer = keyed{} }, WithTracerProvider(rec), WithMeterProvider(m))
	defer w.Close()
	msgs := []kafka.Message{
		{Topic: "orders", Key: []byte{0}, Value: []byte("stored")},
		{Topic: "orders", Key: []byte{1}, Value: []byte("refused")},
		{Topic: "returns", Key: []byte{0}, Value: nil},
		{Topic: "orders", Key: []byte{0}, Value: []byte("stored too")},
	}
	var each kafka.WriteErrors
	if err := w.WriteMessages(within(t), msgs...); !errors.As(err, &each) || len(each) != 4 {
		t.Fatalf("error = %v; want kafka.WriteErrors of four", err)
	}
	failed := 0
	for i, err := range each {
		if (err != nil) != (i == 1 || i == 2) {
			t.Errorf("message %d: %v", i, err)
		}
	}
	for _, s := range append(rec.wait(t, "send orders", 3), rec.wait(t, "send returns", 1)...) {
		if s.Status().Code != codes.Error {
			if got := number(t, s, messaging.AttrKafkaOffset); got != 10 && got != 11 || text(t, s, messaging.AttrPartitionID) != "0" {
				t.Errorf("a stored one: %v", s.Attributes())
			}
			absent(t, s, messaging.AttrErrorType)
			continue
		}
		failed++
		if got := text(t, s, messaging.AttrErrorType); got != "TOPIC_AUTHORIZATION_FAILED" {
			t.Errorf("error.type = %q", got)
		}
		absent(t, s, messaging.AttrKafkaOffset)
	}
	if failed != 2 {
		t.Errorf("%d spans have failed; want 2", failed)
	}
	refused := attribute.String(messaging.AttrErrorType, "TOPIC_AUTHORIZATION_FAILED")
	m.want(t, 2, messaging.MetricSentMessages, refused)
	m.want(t, 1, messaging.MetricSentMessages, refused, attribute.String(messaging.AttrDestinationName, "returns"))
	m.want(t, 4, messaging.MetricSentMessages)
	m.want(t, 4, messaging.MetricOperationDuration)
}

// keyed puts a message into the partition that its key says.
type keyed struct{}

func (keyed) Balance(m kafka.Message, _ ...int) int { return int(m.Key[0]) }

func TestEveryTimeIsThatOfTheInjectedClock(t *testing.T) {
	const ahead = 5 * time.Hour
	clock := func() time.Time { return time.Now().Add(ahead) }
	rec := record()
	c := broker(t, 1)
	opts := []Option{WithTracerProvider(rec), WithClock(clock)}
	before := clock().UnixNano()
	write(t, newWriter(t, c, nil, opts...), "a")
	r := newReader(t, c, billing, opts...)
	m := fetchOne(t, r)
	if err := r.Process(within(t), m, func(context.Context, kafka.Message) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if err := r.CommitMessages(within(t), m); err != nil {
		t.Fatal(err)
	}
	after := clock().UnixNano()
	check := func(name string, at int64) {
		t.Helper()
		if at < before || at > after {
			t.Errorf("%s is %v after the clock's beginning; want within %v", name, time.Duration(at-before), time.Duration(after-before))
		}
	}
	for name, keys := range map[string][]string{
		"send orders": {messaging.AttrProduceWritten, messaging.AttrProduceAcked}, "poll orders": nil, "commit orders": nil,
		"process orders": {messaging.AttrConsumeAsked, messaging.AttrConsumeAnswered, messaging.AttrConsumeHanded},
	} {
		s := rec.wait(t, name, 1)[0]
		check(name+": start", s.StartTime().UnixNano())
		check(name+": end", s.EndTime().UnixNano())
		for _, key := range keys {
			check(name+": "+key, number(t, s, key))
		}
	}
}
