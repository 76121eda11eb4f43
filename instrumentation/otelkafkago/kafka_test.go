package otelkafkago

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/metadata"
	"github.com/segmentio/kafka-go/protocol/produce"
	"github.com/twmb/franz-go/pkg/kfake"
	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = time.Minute

// broker starts a broker with one topic, "orders".
func broker(t testing.TB, partitions int32, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1), kfake.SeedTopics(partitions, "orders")}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// recorder is a provider that keeps every span.
type recorder struct {
	*tracetest.SpanRecorder
	*sdktrace.TracerProvider
}

func record(opts ...sdktrace.TracerProviderOption) recorder {
	sr := tracetest.NewSpanRecorder()
	return recorder{sr, sdktrace.NewTracerProvider(append(opts, sdktrace.WithSpanProcessor(sr))...)}
}

type span = sdktrace.ReadOnlySpan

// named returns the ended spans of that name, in the order they ended.
func (r recorder) named(name string) []span {
	var out []span
	for _, s := range r.Ended() {
		if s.Name() == name {
			out = append(out, s)
		}
	}
	return out
}

// wait waits until n spans of that name have ended.
func (r recorder) wait(t testing.TB, name string, n int) []span {
	t.Helper()
	var got []span
	eventually(t, name+" spans", func() bool {
		got = r.named(name)
		return len(got) >= n
	})
	if len(got) != n {
		t.Fatalf("%d spans %q; want %d", len(got), name, n)
	}
	return got
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not so within %s", what, patience)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func attr(s span, key string) (attribute.Value, bool) {
	for _, kv := range s.Attributes() {
		if string(kv.Key) == key {
			return kv.Value, true
		}
	}
	return attribute.Value{}, false
}

// number returns an int attribute that must be there.
func number(t testing.TB, s span, key string) int64 {
	t.Helper()
	v, ok := attr(s, key)
	if !ok {
		t.Fatalf("span %q lacks %s; it has %v", s.Name(), key, s.Attributes())
	}
	return v.AsInt64()
}

func text(t testing.TB, s span, key string) string {
	t.Helper()
	v, ok := attr(s, key)
	if !ok {
		t.Fatalf("span %q lacks %s; it has %v", s.Name(), key, s.Attributes())
	}
	return v.AsString()
}

func absent(t testing.TB, s span, keys ...string) {
	t.Helper()
	for _, key := range keys {
		if v, ok := attr(s, key); ok {
			t.Errorf("span %q has %s = %v; want none", s.Name(), key, v.AsInterface())
		}
	}
}

func newWriter(t testing.TB, c *kfake.Cluster, change func(*kafka.Writer), opts ...Option) *Writer {
	t.Helper()
	tr := &kafka.Transport{ClientID: "test"}
	kw := &kafka.Writer{
		Addr: kafka.TCP(c.ListenAddrs()...), Topic: "orders", RequiredAcks: kafka.RequireAll,
		BatchTimeout: time.Millisecond, Transport: tr,
	}
	if change != nil {
		change(kw)
	}
	w := NewWriter(kw, opts...)
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		tr.CloseIdleConnections()
	})
	return w
}

func newReader(t testing.TB, c *kfake.Cluster, change func(*kafka.ReaderConfig), opts ...Option) *Reader {
	t.Helper()
	cfg := kafka.ReaderConfig{Brokers: c.ListenAddrs(), Topic: "orders", MaxWait: 200 * time.Millisecond, MinBytes: 1, MaxBytes: 1 << 20}
	if change != nil {
		change(&cfg)
	}
	r := NewReader(cfg, opts...)
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return r
}

func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func write(t testing.TB, w *Writer, values ...string) {
	t.Helper()
	msgs := make([]kafka.Message, len(values))
	for i, v := range values {
		msgs[i] = kafka.Message{Key: []byte("k"), Value: []byte(v)}
	}
	if err := w.WriteMessages(within(t), msgs...); err != nil {
		t.Fatal(err)
	}
}

func fetchOne(t testing.TB, r *Reader) kafka.Message {
	t.Helper()
	m, err := r.FetchMessage(within(t))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// memory is a RoundTripper that is a broker by itself.
type memory struct {
	partitions int
	answer     func(*produce.Request) (kafka.Response, error) // nil means success at offset 0, 1, …

	mu      sync.Mutex
	next    int64
	records [][]kafka.Header // of every record written
}

func (b *memory) RoundTrip(_ context.Context, _ net.Addr, req kafka.Request) (kafka.Response, error) {
	switch q := req.(type) {
	case *metadata.Request:
		out := &metadata.Response{Brokers: []metadata.ResponseBroker{{NodeID: 1, Host: "127.0.0.1", Port: 1}}}
		for _, name := range q.TopicNames {
			topic := metadata.ResponseTopic{Name: name}
			for p := range b.partitions {
				topic.Partitions = append(topic.Partitions, metadata.ResponsePartition{PartitionIndex: int32(p), LeaderID: 1})
			}
			out.Topics = append(out.Topics, topic)
		}
		return out, nil
	case *produce.Request:
		p := q.Topics[0].Partitions[0]
		b.mu.Lock()
		defer b.mu.Unlock()
		first := b.next
		for {
			r, err := p.RecordSet.Records.ReadRecord()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, err
			}
			b.records = append(b.records, r.Headers)
			b.next++
		}
		if b.answer != nil {
			return b.answer(q)
		}
		if q.Acks == 0 {
			return nil, nil
		}
		return produced(q, first, 0), nil
	}
	panic("not a request of a Writer")
}

func produced(q *produce.Request, offset int64, code int16) *produce.Response {
	return &produce.Response{Topics: []produce.ResponseTopic{{Topic: q.Topics[0].Topic, Partitions: []produce.ResponsePartition{{
		Partition: q.Topics[0].Partitions[0].Partition, BaseOffset: offset, ErrorCode: code, LogAppendTime: -1,
	}}}}}
}

func memoryWriter(b *memory, change func(*kafka.Writer), opts ...Option) *Writer {
	if b.partitions == 0 {
		b.partitions = 1
	}
	kw := &kafka.Writer{
		Addr: kafka.TCP("broker:9092"), Topic: "orders", RequiredAcks: kafka.RequireAll, BatchTimeout: time.Millisecond,
		WriteBackoffMin: time.Millisecond, WriteBackoffMax: time.Millisecond, Transport: b,
	}
	if change != nil {
		change(kw)
	}
	return NewWriter(kw, opts...)
}

func header(t testing.TB, headers []kafka.Header) trace.SpanContext {
	t.Helper()
	return messaging.Extract(headers).SpanContext
}

func contextIn(t testing.TB, tp trace.TracerProvider) (context.Context, trace.Span) {
	t.Helper()
	return tp.Tracer("test").Start(within(t), "request")
}

// forgetful is a memory that keeps no records.
type forgetful struct{ memory }

func (b *forgetful) RoundTrip(ctx context.Context, addr net.Addr, req kafka.Request) (kafka.Response, error) {
	q, ok := req.(*produce.Request)
	if !ok {
		return b.memory.RoundTrip(ctx, addr, req)
	}
	for {
		_, err := q.Topics[0].Partitions[0].RecordSet.Records.ReadRecord()
		if errors.Is(err, io.EOF) {
			return produced(q, 0, 0), nil
		}
		if err != nil {
			return nil, err
		}
	}
}
