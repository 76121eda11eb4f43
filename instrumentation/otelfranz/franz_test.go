package otelfranz

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

// slew is how far the clock of a client and the system's may be apart.
const slew = 100 * time.Microsecond

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

// newClient makes an instrumented client that is closed when the test ends.
func newClient(t testing.TB, c *kfake.Cluster, h *Hooks, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	return newClientWith(t, c, append(h.Opts(), opts...)...)
}

func newClientWith(t testing.TB, c *kfake.Cluster, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	all := append([]kgo.Opt{kgo.SeedBrokers(c.ListenAddrs()...), kgo.DefaultProduceTopic("orders"), kgo.ClientID("test")}, opts...)
	cl, err := kgo.NewClient(all...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.CloseAllowingRebalance)
	return cl
}

func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func produce(t testing.TB, cl *kgo.Client, values ...string) []*kgo.Record {
	t.Helper()
	rs := make([]*kgo.Record, len(values))
	for i, v := range values {
		rs[i] = &kgo.Record{Key: []byte("k"), Value: []byte(v)}
	}
	if err := cl.ProduceSync(within(t), rs...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	return rs
}

// pollSome polls until n records came.
func pollSome(t testing.TB, h *Hooks, n int) []*kgo.Record {
	t.Helper()
	ctx := within(t)
	var out []*kgo.Record
	for len(out) < n {
		fs := h.PollFetches(ctx)
		if err := fs.Err0(); err != nil {
			t.Fatal(err)
		}
		out = append(out, fs.Records()...)
	}
	return out
}

func contextIn(t testing.TB, tp trace.TracerProvider) (context.Context, trace.Span) {
	t.Helper()
	return tp.Tracer("test").Start(within(t), "request")
}

func nothing(context.Context, *kgo.Record) error { return nil }

func TestARecordProducedAndPolledHasAllItsTimes(t *testing.T) {
	c, rec := broker(t, 1), record()
	hp := New(WithTracerProvider(rec))
	producer := newClient(t, c, hp)
	ctx, parent := contextIn(t, rec)
	before := time.Now().Add(-slew)
	r := &kgo.Record{Key: []byte("k"), Value: []byte("hello")}
	if err := producer.ProduceSync(ctx, r).FirstErr(); err != nil {
		t.Fatal(err)
	}
	parent.End()
	send := rec.wait(t, "send orders", 1)[0]
	if send.SpanKind() != trace.SpanKindProducer || send.Parent().SpanID() != parent.SpanContext().SpanID() {
		t.Errorf("send is of kind %v with parent %v", send.SpanKind(), send.Parent())
	}
	if scope := send.InstrumentationScope(); scope.Name != messaging.ScopeFranz || scope.SchemaURL != messaging.SchemaURL || scope.Version != Version {
		t.Errorf("scope %+v", scope)
	}
	written, acked := number(t, send, messaging.AttrProduceWritten), number(t, send, messaging.AttrProduceAcked)
	if written < before.UnixNano() || acked < written || send.EndTime().UnixNano() != acked {
		t.Errorf("written %d, acked %d, end %d", written, acked, send.EndTime().UnixNano())
	}
	if number(t, send, messaging.AttrKafkaOffset) != 0 || text(t, send, messaging.AttrPartitionID) != "0" ||
		text(t, send, messaging.AttrClientID) != "test" || text(t, send, messaging.AttrKeyHash) != messaging.KeyHash([]byte("k")) {
		t.Errorf("attributes %v", send.Attributes())
	}
	absent(t, send, messaging.AttrProduceAttempts, messaging.AttrProduceFirstWritten, messaging.AttrProduceThrottle, messaging.AttrErrorType)

	hc := New(WithTracerProvider(rec))
	newClient(t, c, hc, kgo.ConsumeTopics("orders"), kgo.ConsumerGroup("billing"))
	got := pollSome(t, hc, 1)[0]
	if err := hc.Process(within(t), got, func(ctx context.Context, r *kgo.Record) error {
		if p, ok := messaging.RecordFromContext(ctx); !ok || p.Record() != (messaging.RecordRef{Topic: "orders"}) || p.Group() != "billing" || p.MemberID() == "" {
			t.Errorf("record in context: %v, %v", p, ok)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	poll, process := rec.wait(t, "poll orders", 1)[0], rec.wait(t, "process orders", 1)[0]
	if poll.SpanKind() != trace.SpanKindClient || process.SpanKind() != trace.SpanKindConsumer {
		t.Errorf("kinds %v, %v", poll.SpanKind(), process.SpanKind())
	}
	for _, s := range []span{poll, process} {
		if len(s.Links()) != 1 || s.Links()[0].SpanContext.SpanID() != send.SpanContext().SpanID() {
			t.Errorf("%s links to %v; want the send span", s.Name(), s.Links())
		}
		if text(t, s, messaging.AttrConsumerGroup) != "billing" || number(t, s, messaging.AttrKafkaOffset) != 0 {
			t.Errorf("%s: %v", s.Name(), s.Attributes())
		}
	}
	if process.Parent().SpanID() != poll.SpanContext().SpanID() {
		t.Error("process is no child of poll")
	}
	asked, answered := number(t, process, messaging.AttrConsumeAsked), number(t, process, messaging.AttrConsumeAnswered)
	handed := number(t, process, messaging.AttrConsumeHanded)
	if asked < acked || answered < asked || handed < answered || process.StartTime().UnixNano() < handed {
		t.Errorf("asked %d, answered %d, handed %d, start %d", asked, answered, handed, process.StartTime().UnixNano())
	}
	if number(t, process, messaging.AttrConsumeHighWatermark) != 1 || number(t, process, messaging.AttrConsumeRecordTime) == 0 {
		t.Errorf("process: %v", process.Attributes())
	}
	absent(t, process, messaging.AttrConsumeEstimated)
	if n := hp.Counts(); n != (Counts{}) {
		t.Errorf("producer left undone: %+v", n)
	}
	if n := hc.Counts(); n != (Counts{}) {
		t.Errorf("consumer left undone: %+v", n)
	}
}

func TestTimesAreKnownUnderLoadOnSeveralBrokersAndPartitions(t *testing.T) {
	c, rec := broker(t, 6, kfake.NumBrokers(3)), record()
	h := New(WithTracerProvider(rec))
	cl := newClient(t, c, h, kgo.ProducerLinger(0))
	const n = 2000
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range n / 4 {
				cl.Produce(context.Background(), &kgo.Record{Key: fmt.Appendf(nil, "%d-%d", g, i), Value: []byte("v")}, nil)
			}
		})
	}
	wg.Wait()
	if err := cl.Flush(within(t)); err != nil {
		t.Fatal(err)
	}
	type place struct {
		partition string
		offset    int64
	}
	seen := make(map[place]bool)
	for _, s := range rec.wait(t, "send orders", n) {
		p := place{text(t, s, messaging.AttrPartitionID), number(t, s, messaging.AttrKafkaOffset)}
		if seen[p] {
			t.Fatalf("%v twice", p)
		}
		seen[p] = true
		written, acked := number(t, s, messaging.AttrProduceWritten), number(t, s, messaging.AttrProduceAcked)
		if start := s.StartTime().UnixNano(); start > written || written > acked {
			t.Fatalf("start %d, written %d, acked %d", start, written, acked)
		}
	}
	if got := h.Counts(); got != (Counts{}) {
		t.Errorf("left undone: %+v", got)
	}
}

func TestHooksAloneTellTheTimesOfOneRequestAtATime(t *testing.T) {
	c, rec := broker(t, 1), record()
	h := New(WithTracerProvider(rec))
	cl := newClientWith(t, c, kgo.WithHooks(h))
	for i := range 5 {
		before := time.Now().Add(-slew).UnixNano()
		produce(t, cl, fmt.Sprint(i))
		s := rec.wait(t, "send orders", i+1)[i]
		written, acked := number(t, s, messaging.AttrProduceWritten), number(t, s, messaging.AttrProduceAcked)
		if written < before || acked < written || acked > time.Now().Add(slew).UnixNano() {
			t.Errorf("before %d, written %d, acked %d", before, written, acked)
		}
	}
	hc := New(WithTracerProvider(rec))
	newClientWith(t, c, kgo.WithHooks(hc), kgo.ConsumeTopics("orders"))
	for _, r := range pollSome(t, hc, 5) {
		if err := hc.Process(within(t), r, nothing); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range rec.wait(t, "process orders", 5) {
		if asked, answered := number(t, s, messaging.AttrConsumeAsked), number(t, s, messaging.AttrConsumeAnswered); answered < asked {
			t.Errorf("asked %d, answered %d", asked, answered)
		}
	}
}

func TestARequestThatIsNotCertainIsUnknown(t *testing.T) {
	var q requests
	f := func(partitioned int64, want request, known bool) {
		t.Helper()
		if got, ok := q.only(partitioned); ok != known || got != want {
			t.Errorf("only(%d) = %v, %v; want %v, %v", partitioned, got, ok, want, known)
		}
	}
	f(1, request{}, false)
	a, b := request{10, 11, 20}, request{15, 16, 30}
	q.add(a)
	f(5, a, true)
	f(12, request{}, false) // it was made before the record had its partition
	q.add(b)
	f(5, request{}, false) // either
	f(12, b, true)
	f(40, request{}, false)
	for range maxRequests {
		q.add(request{100, 101, 102})
	}
	f(12, request{}, false) // what there was is forgotten
}

func TestRetriesAreCountedAndTheFirstTimeKept(t *testing.T) {
	c, rec := broker(t, 1), record()
	var refused sync.Once
	c.ControlKey(0, refuseOnce(&refused))
	h := New(WithTracerProvider(rec))
	cl := newClient(t, c, h)
	produce(t, cl, "a")
	s := rec.wait(t, "send orders", 1)[0]
	if n := number(t, s, messaging.AttrProduceAttempts); n != 2 {
		t.Errorf("%d attempts; want 2", n)
	}
	if first, last := number(t, s, messaging.AttrProduceFirstWritten), number(t, s, messaging.AttrProduceWritten); first >= last {
		t.Errorf("first written %d, written %d", first, last)
	}
}

func TestAFailedRecordEndsItsSpanWithTheProtocolsName(t *testing.T) {
	c, rec := broker(t, 1), record()
	c.ControlKey(0, refuse(18)) // RECORD_LIST_TOO_LARGE
	h := New(WithTracerProvider(rec))
	cl := newClient(t, c, h)
	if err := cl.ProduceSync(within(t), &kgo.Record{Value: []byte("x")}).FirstErr(); err == nil {
		t.Fatal("no error")
	}
	s := rec.wait(t, "send orders", 1)[0]
	if got := text(t, s, messaging.AttrErrorType); got != "RECORD_LIST_TOO_LARGE" {
		t.Errorf("error.type %q", got)
	}
	absent(t, s, messaging.AttrKafkaOffset, messaging.AttrProduceAcked)
}

func TestACancelledRecordEndsItsSpan(t *testing.T) {
	c, rec := broker(t, 1), record()
	h := New(WithTracerProvider(rec))
	cl := newClient(t, c, h, kgo.MaxBufferedRecords(1), kgo.ManualFlushing())
	cl.Produce(within(t), &kgo.Record{Value: []byte("kept")}, nil)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	failed := make(chan error, 1)
	cl.Produce(ctx, &kgo.Record{Value: []byte("x")}, func(_ *kgo.Record, err error) { failed <- err })
	if err := <-failed; err == nil {
		t.Error("no error")
	}
	s := rec.wait(t, "send orders", 1)[0]
	text(t, s, messaging.AttrErrorType)
	absent(t, s, messaging.AttrPartitionID)
	if err := cl.Flush(within(t)); err != nil {
		t.Fatal(err)
	}
	rec.wait(t, "send orders", 2)
}

func TestWithoutAcksNoOffsetIsTold(t *testing.T) {
	c, rec := broker(t, 1), record()
	h := New(WithTracerProvider(rec))
	cl := newClient(t, c, h, kgo.RequiredAcks(kgo.NoAck()), kgo.DisableIdempotentWrite())
	produce(t, cl, "a", "b")
	for _, s := range rec.wait(t, "send orders", 2) {
		absent(t, s, messaging.AttrKafkaOffset, messaging.AttrProduceAcked)
	}
}

func TestEachVersionOfTheProtocolIsUnderstood(t *testing.T) {
	for _, v := range versions {
		t.Run(v.name, func(t *testing.T) {
			c, rec := broker(t, 1), record()
			h := New(WithTracerProvider(rec))
			cl := newClient(t, c, h, kgo.MaxVersions(v.max()), kgo.ConsumeTopics("orders"), kgo.ConsumerGroup("g"))
			produce(t, cl, "a")
			s := rec.wait(t, "send orders", 1)[0]
			number(t, s, messaging.AttrProduceWritten)
			rs := pollSome(t, h, 1)
			if err := h.Process(within(t), rs[0], nothing); err != nil {
				t.Fatal(err)
			}
			number(t, rec.wait(t, "process orders", 1)[0], messaging.AttrConsumeAsked)
			if err := h.CommitRecords(within(t), rs...); err != nil {
				t.Fatal(err)
			}
			rec.wait(t, "commit orders", 1)
			if got := h.Counts(); got != (Counts{}) {
				t.Errorf("left undone: %+v", got)
			}
		})
	}
}

func TestTLSConnectionsAreReadAlong(t *testing.T) {
	server, client := certificates(t)
	c, rec := broker(t, 1, kfake.TLS(server)), record()
	own := func(ctx context.Context, network, host string) (net.Conn, error) {
		return (&tls.Dialer{Config: client}).DialContext(ctx, network, host)
	}
	for i, opt := range []Option{WithTLS(client), WithDialer(own)} {
		h := New(WithTracerProvider(rec), opt)
		produce(t, newClient(t, c, h), "a")
		number(t, rec.wait(t, "send orders", i+1)[i], messaging.AttrProduceWritten)
		if got := h.Counts(); got != (Counts{}) || h.bare.Load() {
			t.Errorf("left undone: %+v", got)
		}
	}
}

func TestSASLDoesNotHideTheRequests(t *testing.T) {
	c, rec := broker(t, 1, kfake.EnableSASL(), kfake.Superuser("PLAIN", "admin", "secret")), record()
	h := New(WithTracerProvider(rec))
	cl := newClient(t, c, h, kgo.SASL(plain.Auth{User: "admin", Pass: "secret"}.AsMechanism()), kgo.ConsumeTopics("orders"))
	produce(t, cl, "a")
	number(t, rec.wait(t, "send orders", 1)[0], messaging.AttrProduceWritten)
	if err := h.Process(within(t), pollSome(t, h, 1)[0], nothing); err != nil {
		t.Fatal(err)
	}
	number(t, rec.wait(t, "process orders", 1)[0], messaging.AttrConsumeAsked)
	if got := h.Counts(); got != (Counts{}) {
		t.Errorf("left undone: %+v", got)
	}
}

func TestAProgramThatDialsByItselfHasTheHooksTimes(t *testing.T) {
	c, rec := broker(t, 1), record()
	h := New(WithTracerProvider(rec))
	cl := newClient(t, c, h, kgo.Dialer((&net.Dialer{}).DialContext), kgo.ConsumeTopics("orders"), kgo.ConsumerGroup("billing"), kgo.DisableAutoCommit())
	produce(t, cl, "a")
	number(t, rec.wait(t, "send orders", 1)[0], messaging.AttrProduceWritten)
	rs := pollSome(t, h, 1)
	if err := h.Process(within(t), rs[0], nothing); err != nil {
		t.Fatal(err)
	}
	number(t, rec.wait(t, "process orders", 1)[0], messaging.AttrConsumeAsked)
	if err := h.CommitRecords(within(t), rs...); err != nil {
		t.Fatal(err)
	}
	rec.wait(t, "commit orders", 1)
	if !h.bare.Load() {
		t.Error("the connections are watched")
	}
}

func TestNothingIsTracedWhenSwitchedOff(t *testing.T) {
	c, rec := broker(t, 1), record()
	messaging.SetEnabled(false)
	t.Cleanup(func() { messaging.SetEnabled(true) })
	h := New(WithTracerProvider(rec))
	cl := newClient(t, c, h, kgo.ConsumeTopics("orders"))
	produce(t, cl, "a")
	rs := pollSome(t, h, 1)
	if err := h.Process(within(t), rs[0], nothing); err != nil {
		t.Fatal(err)
	}
	if len(rs[0].Headers) != 0 || len(rec.Ended()) != 0 {
		t.Errorf("%d headers, %d spans", len(rs[0].Headers), len(rec.Ended()))
	}
}

func TestSecondClientOfTheSameHooksHasNoTimesOfTheFirst(t *testing.T) {
	c, d, rec := broker(t, 1), broker(t, 1), record()
	h := New(WithTracerProvider(rec))
	first := newClient(t, c, h)
	second := newClient(t, d, h)
	produce(t, first, "a")
	produce(t, second, "b")
	spans := rec.wait(t, "send orders", 2)
	if !slices.ContainsFunc(spans, func(s span) bool { _, ok := attr(s, messaging.AttrKafkaOffset); return ok }) {
		t.Error("no offset")
	}
	for _, s := range spans {
		absent(t, s, messaging.AttrProduceWritten)
	}
}
