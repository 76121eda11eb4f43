package otelkafkago

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/produce"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

func TestThePartsOfASendAreExact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const linger, ack, backoff = time.Second, 7 * time.Millisecond, 100 * time.Millisecond
		rec, m := record(), newMeters(t)
		attempts := 0
		b := &memory{}
		b.answer = func(q *produce.Request) (kafka.Response, error) {
			time.Sleep(ack)
			if attempts++; attempts == 1 {
				return produced(q, -1, int16(kafka.NotEnoughReplicas)), nil
			}
			return produced(q, 0, 0), nil
		}
		w := memoryWriter(b, func(w *kafka.Writer) {
			w.Async, w.BatchTimeout = true, 0 // kafka-go's default: a second
			w.WriteBackoffMin, w.WriteBackoffMax = backoff, backoff
		}, WithTracerProvider(rec), WithMeterProvider(m))
		start := time.Now()
		write(t, w, "a")
		time.Sleep(300 * time.Millisecond)
		write(t, w, "b")
		time.Sleep(2 * linger)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		for i, s := range rec.named("send orders") {
			first, last, acked := number(t, s, messaging.AttrProduceFirstWritten), number(t, s, messaging.AttrProduceWritten), number(t, s, messaging.AttrProduceAcked)
			queue := linger - time.Duration(i)*300*time.Millisecond
			if got := time.Duration(first - s.StartTime().UnixNano()); got != queue {
				t.Errorf("record %d: batch queue %v; want %v", i, got, queue)
			}
			if got := time.Duration(acked - last); got != ack {
				t.Errorf("record %d: ack %v; want %v", i, got, ack)
			}
			if got := time.Duration(last - first); got < backoff {
				t.Errorf("record %d: retry %v; want at least the pause, %v", i, got, backoff)
			}
			if s.EndTime().UnixNano() != acked {
				t.Errorf("record %d ends at %v; want with the answer", i, s.EndTime().Sub(start))
			}
		}
		m.want(t, 2, messaging.MetricRetry)
		if got, _ := m.of(t, messaging.MetricBatchQueue); got.sum != 1.7 {
			t.Errorf("batch queues add up to %v s; want 1.7", got.sum)
		}
		if got, _ := m.of(t, messaging.MetricAck); got.sum != 2*ack.Seconds() {
			t.Errorf("acks add up to %v s", got.sum)
		}
	})
}
