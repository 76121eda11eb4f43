package otelsarama

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kfake"
	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

// slew is how far the clock of a client and the system's may be apart.
const slew = 100 * time.Microsecond

func TestMain(m *testing.M) {
	// sarama's registry of metrics ticks as long as the process lives.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/rcrowley/go-metrics.(*meterArbiter).tick"))
}

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
	eventually(t, fmt.Sprintf("%d %q spans", n, name), func() bool {
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

func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func contextIn(t testing.TB, tp trace.TracerProvider) (context.Context, trace.Span) {
	t.Helper()
	return tp.Tracer("test").Start(within(t), "request")
}

func configOf(change func(*sarama.Config)) *sarama.Config {
	c := sarama.NewConfig()
	c.Version = sarama.V2_8_0_0
	c.ClientID = "test"
	c.Producer.Return.Successes, c.Producer.Return.Errors = true, true
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Producer.Retry.Backoff = time.Millisecond
	c.Consumer.MaxWaitTime = 100 * time.Millisecond
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Consumer.Offsets.AutoCommit.Interval = 50 * time.Millisecond
	c.Consumer.Group.Heartbeat.Interval = 50 * time.Millisecond
	c.Consumer.Group.Rebalance.Retry.Backoff = 20 * time.Millisecond
	if change != nil {
		change(c)
	}
	return c
}

func newSync(t testing.TB, c *kfake.Cluster, in *Instrumentation) *SyncProducer {
	t.Helper()
	p, err := in.NewSyncProducer(c.ListenAddrs())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return p
}

func newAsync(t testing.TB, c *kfake.Cluster, in *Instrumentation) *AsyncProducer {
	t.Helper()
	p, err := in.NewAsyncProducer(c.ListenAddrs())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func newPartition(t testing.TB, c *kfake.Cluster, in *Instrumentation, partition int32) sarama.PartitionConsumer {
	t.Helper()
	consumer, err := in.NewConsumer(c.ListenAddrs())
	if err != nil {
		t.Fatal(err)
	}
	pc, err := consumer.ConsumePartition("orders", partition, sarama.OffsetOldest)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(pc.Close(), consumer.Close()); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return pc
}

func message(value string) *sarama.ProducerMessage {
	return &sarama.ProducerMessage{Topic: "orders", Key: sarama.StringEncoder("k"), Value: sarama.StringEncoder(value)}
}

func send(t testing.TB, p *SyncProducer, values ...string) {
	t.Helper()
	msgs := make([]*sarama.ProducerMessage, len(values))
	for i, v := range values {
		msgs[i] = message(v)
	}
	if err := p.SendMessages(msgs); err != nil {
		t.Fatal(err)
	}
}

func receiveOne(t testing.TB, pc sarama.PartitionConsumer) *sarama.ConsumerMessage {
	t.Helper()
	select {
	case msg := <-pc.Messages():
		return msg
	case <-time.After(patience):
		t.Fatal("no message")
		return nil
	}
}

func nothing(context.Context, *sarama.ConsumerMessage) error { return nil }

func TestAMessageSentAndReceivedHasAllItsTimes(t *testing.T) {
	for _, v := range []sarama.KafkaVersion{sarama.V0_11_0_0, sarama.V1_0_0_0, sarama.V2_1_0_0, sarama.V2_8_0_0, sarama.MaxVersion} {
		t.Run(v.String(), func(t *testing.T) {
			c, rec := broker(t, 1), record()
			in := New(configOf(func(c *sarama.Config) { c.Version = v }), WithTracerProvider(rec))
			p := newSync(t, c, in)
			ctx, parent := contextIn(t, rec)
			before := time.Now().Add(-slew).UnixNano()
			partition, offset, err := p.SendMessageContext(ctx, message("hello"))
			if err != nil || partition != 0 || offset != 0 {
				t.Fatalf("sent to %d@%d, %v", partition, offset, err)
			}
			parent.End()
			send := rec.wait(t, "send orders", 1)[0]
			if send.SpanKind() != trace.SpanKindProducer || send.Parent().SpanID() != parent.SpanContext().SpanID() {
				t.Errorf("send is of kind %v with parent %v", send.SpanKind(), send.Parent())
			}
			if scope := send.InstrumentationScope(); scope.Name != messaging.ScopeSarama || scope.SchemaURL != messaging.SchemaURL {
				t.Errorf("scope %+v", scope)
			}
			written, acked := number(t, send, messaging.AttrProduceWritten), number(t, send, messaging.AttrProduceAcked)
			if written < before || acked < written || send.EndTime().UnixNano() != acked {
				t.Errorf("written %d, acked %d, end %d", written, acked, send.EndTime().UnixNano())
			}
			if number(t, send, messaging.AttrKafkaOffset) != 0 || text(t, send, messaging.AttrPartitionID) != "0" ||
				text(t, send, messaging.AttrClientID) != "test" || text(t, send, messaging.AttrKeyHash) != messaging.KeyHash([]byte("k")) ||
				number(t, send, messaging.AttrBodySize) != 5 {
				t.Errorf("attributes %v", send.Attributes())
			}
			absent(t, send, messaging.AttrProduceAttempts, messaging.AttrErrorType)

			msg := receiveOne(t, newPartition(t, c, in, 0))
			if err := in.Process(within(t), msg, func(ctx context.Context, _ *sarama.ConsumerMessage) error {
				if r, ok := messaging.RecordFromContext(ctx); !ok || r.Record() != (messaging.RecordRef{Topic: "orders"}) {
					t.Errorf("record in context: %v, %v", r, ok)
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			poll, process := rec.wait(t, "poll orders", 1)[0], rec.wait(t, "process orders", 1)[0]
			for _, s := range []span{poll, process} {
				if len(s.Links()) != 1 || s.Links()[0].SpanContext.SpanID() != send.SpanContext().SpanID() {
					t.Errorf("%s links to %v; want the send span", s.Name(), s.Links())
				}
			}
			if process.Parent().SpanID() != poll.SpanContext().SpanID() {
				t.Error("process is no child of poll")
			}
			asked, answered := number(t, process, messaging.AttrConsumeAsked), number(t, process, messaging.AttrConsumeAnswered)
			handed := number(t, process, messaging.AttrConsumeHanded)
			if asked < acked || answered < asked || handed < answered || process.StartTime().UnixNano() < handed {
				t.Errorf("asked %d, answered %d, handed %d", asked, answered, handed)
			}
			if number(t, process, messaging.AttrConsumeHighWatermark) != 1 || number(t, process, messaging.AttrConsumeRecordTime) == 0 {
				t.Errorf("process: %v", process.Attributes())
			}
			absent(t, process, messaging.AttrConsumeEstimated)
			if n := in.Counts(); n != (Counts{}) {
				t.Errorf("left undone: %+v", n)
			}
		})
	}
}

func TestTimesAreKnownUnderLoadOnSeveralBrokersAndPartitions(t *testing.T) {
	c, rec := broker(t, 6, kfake.NumBrokers(3)), record()
	in := New(configOf(func(c *sarama.Config) { c.Producer.Partitioner = sarama.NewRoundRobinPartitioner }), WithTracerProvider(rec))
	p := newAsync(t, c, in)
	const n = 2000
	var wg sync.WaitGroup
	wg.Go(func() {
		for range p.Successes() {
		}
	})
	wg.Go(func() {
		for e := range p.Errors() {
			t.Error(e)
		}
	})
	for i := range n {
		if err := p.Send(within(t), message(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	p.AsyncClose()
	wg.Wait()
	type place struct {
		partition string
		offset    int64
	}
	seen := make(map[place]bool)
	for _, s := range rec.wait(t, "send orders", n) {
		k := place{text(t, s, messaging.AttrPartitionID), number(t, s, messaging.AttrKafkaOffset)}
		if seen[k] {
			t.Fatalf("%v twice", k)
		}
		seen[k] = true
		written, acked := number(t, s, messaging.AttrProduceWritten), number(t, s, messaging.AttrProduceAcked)
		if start := s.StartTime().UnixNano(); start > written || written > acked {
			t.Fatalf("start %d, written %d, acked %d", start, written, acked)
		}
	}
	if got := in.Counts(); got != (Counts{}) {
		t.Errorf("left undone: %+v", got)
	}
}

func TestAnAsyncMessageComesBackAsItWasGiven(t *testing.T) {
	c, rec := broker(t, 1), record()
	var seen []any
	in := New(configOf(func(c *sarama.Config) {
		c.Producer.Interceptors = []sarama.ProducerInterceptor{interceptor(func(m *sarama.ProducerMessage) { seen = append(seen, m.Metadata, len(m.Headers)) })}
		c.Producer.Partitioner = func(string) sarama.Partitioner {
			return sarama.NewCustomPartitioner()("orders")
		}
	}), WithTracerProvider(rec), WithPathways(), WithSentryTrace())
	p := newAsync(t, c, in)
	array := make([]sarama.RecordHeader, 1, 8)
	array[0] = sarama.RecordHeader{Key: []byte("a"), Value: []byte("1")}
	msg := message("v")
	msg.Headers, msg.Metadata = array, "mine"
	ctx, parent := contextIn(t, rec)
	if err := p.Send(ctx, msg); err != nil {
		t.Fatal(err)
	}
	got := <-p.Successes()
	if got != msg || got.Metadata != "mine" {
		t.Errorf("came back %p with metadata %v; want %p", got, got.Metadata, msg)
	}
	if len(got.Headers) != 1 || cap(got.Headers) != 8 || &got.Headers[0] != &array[0] || array[:2][1].Key != nil {
		t.Errorf("headers %v", got.Headers)
	}
	if len(seen) != 2 || seen[0] != "mine" || seen[1] != 1 {
		t.Errorf("the program's interceptor saw %v", seen)
	}
	parent.End()
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if s := rec.wait(t, "send orders", 1)[0]; s.Parent().SpanID() != parent.SpanContext().SpanID() {
		t.Errorf("parent %v", s.Parent())
	}
}

type interceptor func(*sarama.ProducerMessage)

func (f interceptor) OnSend(m *sarama.ProducerMessage) { f(m) }

func TestASyncMessageComesBackAsItWasGiven(t *testing.T) {
	c, rec := broker(t, 1), record()
	for _, intercepted := range []bool{false, true} {
		in := New(configOf(func(c *sarama.Config) {
			if intercepted {
				c.Producer.Interceptors = []sarama.ProducerInterceptor{interceptor(func(m *sarama.ProducerMessage) {
					if m.Metadata != "mine" || len(m.Headers) != 1 {
						t.Errorf("the program's interceptor saw %v, %v", m.Metadata, m.Headers)
					}
				})}
			}
		}), WithTracerProvider(rec))
		p := newSync(t, c, in)
		array := make([]sarama.RecordHeader, 1, 8)
		array[0] = sarama.RecordHeader{Key: []byte("a"), Value: []byte("1")}
		a, b := message("a"), message("b")
		a.Headers, b.Headers, a.Metadata, b.Metadata = array, array, "mine", "mine"
		for range 2 { // sending again adds nothing twice
			if err := p.SendMessages([]*sarama.ProducerMessage{a, b}); err != nil {
				t.Fatal(err)
			}
			for _, m := range []*sarama.ProducerMessage{a, b} {
				if m.Metadata != "mine" || len(m.Headers) != 1 || &m.Headers[0] != &array[0] || array[:2][1].Key != nil {
					t.Errorf("came back with %v, %v", m.Metadata, m.Headers)
				}
			}
		}
	}
	sends := make(map[trace.SpanID]bool)
	for _, s := range rec.wait(t, "send orders", 8) {
		sends[s.SpanContext().SpanID()] = true
	}
	in := New(configOf(nil), WithTracerProvider(record()))
	pc := newPartition(t, c, in, 0)
	for range 8 {
		msg := receiveOne(t, pc)
		var few [8]messaging.Header
		id := messaging.Extract(received(few[:0], msg.Headers)).SpanContext.SpanID()
		if !sends[id] || len(msg.Headers) != 2 {
			t.Errorf("%d headers, context %s, which is no send span's or another message's too", len(msg.Headers), id)
		}
		delete(sends, id)
	}
}

func TestACreationContextIsKept(t *testing.T) {
	c, rec := broker(t, 1), record()
	in := New(configOf(nil), WithTracerProvider(rec))
	p := newSync(t, c, in)
	const given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	msg := message("v")
	msg.Headers = []sarama.RecordHeader{{Key: []byte("traceparent"), Value: []byte(given)}}
	if _, _, err := p.SendMessage(msg); err != nil {
		t.Fatal(err)
	}
	s := rec.wait(t, "send orders", 1)[0]
	if s.SpanKind() != trace.SpanKindClient || len(s.Links()) != 1 || s.Links()[0].SpanContext.SpanID().String() != "00f067aa0ba902b7" {
		t.Errorf("kind %v, links %v", s.SpanKind(), s.Links())
	}
	if got := receiveOne(t, newPartition(t, c, in, 0)); len(got.Headers) != 1 || string(got.Headers[0].Value) != given {
		t.Errorf("headers %v", got.Headers)
	}
}

func TestMessagesThatFailEndTheirSpansWithTheProtocolsName(t *testing.T) {
	c, rec := broker(t, 1), record()
	c.ControlKey(0, refuse(18)) // RECORD_LIST_TOO_LARGE
	in := New(configOf(nil), WithTracerProvider(rec))
	p := newSync(t, c, in)
	if _, _, err := p.SendMessage(message("a")); !errors.Is(err, sarama.ErrMessageSetSizeTooLarge) {
		t.Fatalf("error %v", err)
	}
	s := rec.wait(t, "send orders", 1)[0]
	if got := text(t, s, messaging.AttrErrorType); got != "RECORD_LIST_TOO_LARGE" || text(t, s, messaging.AttrPartitionID) != "0" {
		t.Errorf("attributes %v", s.Attributes())
	}
	absent(t, s, messaging.AttrKafkaOffset, messaging.AttrProduceAcked)
	large := message(string(make([]byte, 2<<20)))
	err := p.SendMessages([]*sarama.ProducerMessage{message("b"), large})
	var many sarama.ProducerErrors
	if !errors.As(err, &many) || len(many) != 1 || many[0].Msg != large {
		t.Fatalf("error %v", err)
	}
	spans := rec.wait(t, "send orders", 3)
	failed := 0
	for _, s := range spans[1:] {
		if _, ok := attr(s, messaging.AttrErrorType); ok {
			failed++
			absent(t, s, messaging.AttrPartitionID)
		}
	}
	if failed != 1 || large.Metadata != nil || len(large.Headers) != 0 {
		t.Errorf("%d failed, metadata %v", failed, large.Metadata)
	}
}

func TestRetriesAreCounted(t *testing.T) {
	for _, idempotent := range []bool{false, true} {
		c, rec := broker(t, 1), record()
		var refused sync.Once
		c.ControlKey(0, refuseOnce(&refused))
		in := New(configOf(func(c *sarama.Config) {
			c.Producer.Idempotent, c.Net.MaxOpenRequests = idempotent, 1
		}), WithTracerProvider(rec))
		send(t, newSync(t, c, in), "a")
		s := rec.wait(t, "send orders", 1)[0]
		if n := number(t, s, messaging.AttrProduceAttempts); n != 2 {
			t.Errorf("idempotent %v: %d attempts; want 2", idempotent, n)
		}
		first, last := number(t, s, messaging.AttrProduceFirstWritten), number(t, s, messaging.AttrProduceWritten)
		if start := s.StartTime().UnixNano(); start > first || first >= last {
			t.Errorf("idempotent %v: start %d, first written %d, written %d", idempotent, start, first, last)
		}
		if n := len(rec.Started()); n != 1 {
			t.Errorf("idempotent %v: %d spans started for one message", idempotent, n)
		}
		if text(t, s, messaging.AttrServerAddress) != "127.0.0.1" {
			t.Errorf("attributes %v", s.Attributes())
		}
	}
}

func TestWithoutAcksNoOffsetIsTold(t *testing.T) {
	c, rec := broker(t, 1), record()
	in := New(configOf(func(c *sarama.Config) { c.Producer.RequiredAcks = sarama.NoResponse }), WithTracerProvider(rec))
	p := newSync(t, c, in)
	send(t, p, "a", "b")
	for _, s := range rec.wait(t, "send orders", 2) {
		absent(t, s, messaging.AttrKafkaOffset, messaging.AttrProduceAcked)
	}
}

func TestTheProgramsChoiceOfChannelsIsKept(t *testing.T) {
	c, rec := broker(t, 1), record()
	in := New(configOf(func(c *sarama.Config) { c.Producer.Return.Successes, c.Producer.Return.Errors = false, false }), WithTracerProvider(rec))
	p := newAsync(t, c, in)
	for range 10 { // nobody reads Successes
		p.Input() <- message("v")
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	rec.wait(t, "send orders", 10)
	if _, err := in.NewSyncProducer(c.ListenAddrs()); err == nil {
		t.Error("a SyncProducer was made of a configuration that forbids it")
	}
}

func TestAProducerThatIsNotReadDoesNotStopTheOthers(t *testing.T) {
	c, rec := broker(t, 1), record()
	in := New(configOf(nil), WithTracerProvider(rec))
	p := newAsync(t, c, in)
	// As a program does that sends and reads in one loop.
	sent, done := 0, 0
	for done < 500 {
		if sent < 500 {
			select {
			case p.Input() <- message("v"):
				sent++
			case <-p.Successes():
				done++
			}
			continue
		}
		<-p.Successes()
		done++
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	rec.wait(t, "send orders", 500)
}

func TestATransactionIsSettled(t *testing.T) {
	c, rec := broker(t, 1), record()
	in := New(configOf(func(c *sarama.Config) {
		c.Producer.Idempotent, c.Net.MaxOpenRequests, c.Producer.Transaction.ID = true, 1, "tx"
	}), WithTracerProvider(rec))
	p := newSync(t, c, in)
	if err := p.BeginTxn(); err != nil {
		t.Fatal(err)
	}
	send(t, p, "a")
	if err := p.CommitTxn(); err != nil {
		t.Fatal(err)
	}
	number(t, rec.wait(t, "send orders", 1)[0], messaging.AttrProduceWritten)
	s := rec.wait(t, "commit", 1)[0]
	if s.SpanKind() != trace.SpanKindClient || text(t, s, messaging.AttrOperationType) != messaging.OperationSettle {
		t.Errorf("kind %v, %v", s.SpanKind(), s.Attributes())
	}
	if err := p.CommitTxn(); err == nil { // there is none
		t.Error("no error")
	}
	text(t, rec.wait(t, "commit", 2)[1], messaging.AttrErrorType)
}
