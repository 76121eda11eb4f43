package otelkafkago

import (
	"context"
	"strings"
	"testing"

	"github.com/segmentio/kafka-go"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

func upper(key []byte) string { return strings.ToUpper(string(key)) }

func TestKeysOfAClientsRecordsAreTold(t *testing.T) {
	rec := record()
	c := broker(t, 1)
	inner := &kafka.Transport{}
	t.Cleanup(inner.CloseIdleConnections)
	client := &kafka.Client{Addr: kafka.TCP(c.ListenAddrs()...), Transport: WrapTransport(inner, WithTracerProvider(rec), WithMessageKey(upper))}
	res, err := client.Produce(within(t), &kafka.ProduceRequest{Topic: "orders", RequiredAcks: kafka.RequireAll, Records: kafka.NewRecordReader(
		kafka.Record{Key: kafka.NewBytes([]byte("k")), Value: kafka.NewBytes([]byte("x"))},
		kafka.Record{Value: kafka.NewBytes([]byte("y"))},
	)})
	if err != nil || res.Error != nil {
		t.Fatal(err, res)
	}
	spans := rec.wait(t, "send orders", 2)
	if got := text(t, spans[0], messaging.AttrKafkaKey); got != "K" {
		t.Errorf("key %q; want K", got)
	}
	if got := text(t, spans[0], messaging.AttrKeyHash); got != messaging.KeyHash([]byte("k")) {
		t.Errorf("key hash %q", got)
	}
	absent(t, spans[1], messaging.AttrKafkaKey, messaging.AttrKeyHash)
	r := newReader(t, c, nil, WithTracerProvider(rec))
	if msg := fetchOne(t, r); string(msg.Key) != "k" {
		t.Errorf("the record arrived with the key %q", msg.Key)
	}
}

func TestTheKeyOfARecordThatWasNotSentIsTold(t *testing.T) {
	rec := record()
	w := memoryWriter(&memory{partitions: 1}, func(w *kafka.Writer) { w.Topic = "" }, WithTracerProvider(rec), WithMessageKey(upper))
	defer w.Close()
	if err := w.WriteMessages(context.Background(), kafka.Message{Key: []byte("k")}); err == nil {
		t.Fatal("no error, though the message has no topic")
	}
	if got := text(t, rec.wait(t, "send", 1)[0], messaging.AttrKafkaKey); got != "K" {
		t.Errorf("key %q; want K", got)
	}
}
