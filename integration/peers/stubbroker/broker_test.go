package stubbroker

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"
)

const topic = "orders"

func newBroker(end int64) *Broker {
	records := make([]Record, 10)
	for i := range records {
		records[i] = Record{Key: fmt.Append(nil, "key", i), Value: fmt.Append(nil, "value", i), Headers: []Header{{Key: "kind", Value: []byte("web")}}}
	}
	records[9].Key = nil
	return New(Config{Topics: []string{topic}, Records: records, End: end})
}

func check(t *testing.T, i int, offset int64, key, value []byte, headers int) {
	t.Helper()
	wantKey := fmt.Sprintf("key%d", i%10)
	if i%10 == 9 {
		wantKey = ""
	}
	if offset != int64(i) || string(key) != wantKey || string(value) != fmt.Sprintf("value%d", i%10) || headers != 1 {
		t.Fatalf("record %d: got offset %d, key %q, value %q, %d headers", i, offset, key, value, headers)
	}
}

func TestKafkaGoReadsAndWrites(t *testing.T) {
	b := newBroker(50)
	r := kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{Address}, Topic: topic, MaxWait: 50 * time.Millisecond, QueueCapacity: 20,
		Dialer: &kafka.Dialer{DialFunc: b.Dial, Timeout: 5 * time.Second},
	})
	for i := range 50 {
		m, err := r.FetchMessage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		check(t, i, m.Offset, m.Key, m.Value, len(m.Headers))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if m, err := r.FetchMessage(ctx); err == nil {
		t.Fatalf("after the end there is a record at %d", m.Offset)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}

	dial := func(ctx context.Context, network, addr string) (net.Conn, error) { return b.Dial(ctx, network, addr) }
	w := &kafka.Writer{Addr: kafka.TCP(Address), Topic: topic, RequiredAcks: kafka.RequireAll, BatchTimeout: time.Millisecond, Transport: &kafka.Transport{Dial: dial}}
	if err := w.WriteMessages(t.Context(), kafka.Message{Value: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil || b.Produced() != 1 {
		t.Fatalf("Close: %v; %d produce requests, want 1", err, b.Produced())
	}
}

func TestFranzReadsAndWrites(t *testing.T) {
	b := newBroker(50)
	cl, err := kgo.NewClient(kgo.SeedBrokers(Address), kgo.Dialer(b.Dial), kgo.DefaultProduceTopic(topic),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for i := 0; i < 50; {
		f := cl.PollRecords(t.Context(), 7)
		if err := f.Err(); err != nil {
			t.Fatal(err)
		}
		f.EachRecord(func(r *kgo.Record) {
			check(t, i, r.Offset, r.Key, r.Value, len(r.Headers))
			i++
		})
	}
	r, err := cl.ProduceSync(t.Context(), &kgo.Record{Value: []byte("x")}).First()
	if err != nil || r.Offset != 41 {
		t.Fatalf("produced at %v with error %v; want at 41", r, err)
	}
}

func TestSaramaReadsAndWrites(t *testing.T) {
	b := newBroker(50)
	c := SaramaConfig(b)
	consumer, err := sarama.NewConsumer([]string{Address}, c)
	if err != nil {
		t.Fatal(err)
	}
	defer consumer.Close()
	pc, err := consumer.ConsumePartition(topic, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		m := <-pc.Messages()
		check(t, i, m.Offset, m.Key, m.Value, len(m.Headers))
	}
	if err := pc.Close(); err != nil {
		t.Fatal(err)
	}
	p, err := sarama.NewSyncProducer([]string{Address}, c)
	if err != nil {
		t.Fatal(err)
	}
	_, offset, err := p.SendMessage(&sarama.ProducerMessage{Topic: topic, Value: sarama.StringEncoder("x")})
	if err != nil || offset != 41 {
		t.Fatalf("produced at %d with error %v; want at 41", offset, err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
}

// FuzzAnswer seeks a request that panics the broker.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte{0, 18, 0, 0, 0, 0, 0, 1, 255, 255})
	f.Add([]byte{0, 3, 0, 1, 0, 0, 0, 1, 0, 1, 'x', 0, 0, 0, 0})
	b := newBroker(50)
	f.Fuzz(func(_ *testing.T, frame []byte) {
		if len(frame) > 1<<16 {
			return
		}
		_, _, _ = b.answer(nil, frame)
	})
}
