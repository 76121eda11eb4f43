package sentrykafka

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getsentry/sentry-go"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"
	"go.uber.org/goleak"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
	"github.com/hoptrace/hoptrace/instrumentation/otelkafkago"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	patience = time.Minute
	testDSN  = "http://0123456789abcdef0123456789abcdef@127.0.0.1:1/42"
)

// transport keeps what Sentry's SDK sends.
type transport struct {
	mu     sync.Mutex
	events []*sentry.Event
}

func (*transport) Configure(sentry.ClientOptions)        {}
func (*transport) Flush(time.Duration) bool              { return true }
func (*transport) FlushWithContext(context.Context) bool { return true }
func (*transport) Close()                                {}

func (t *transport) SendEvent(e *sentry.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.events = append(t.events, e)
}

// kind returns the events of a type: "" for errors, or "transaction".
func (t *transport) kind(kind string) []*sentry.Event {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []*sentry.Event
	for _, e := range t.events {
		if e.Type == kind {
			out = append(out, e)
		}
	}
	return out
}

// await waits for n events of a type and returns them.
func (t *transport) await(tb testing.TB, kind string, n int) []*sentry.Event {
	tb.Helper()
	deadline := time.Now().Add(patience)
	for {
		if got := t.kind(kind); len(got) >= n {
			if len(got) > n {
				tb.Fatalf("%d events of type %q; want %d: %s", len(got), kind, n, names(got))
			}
			return got
		}
		if time.Now().After(deadline) {
			tb.Fatalf("%d events of type %q within %s; want %d", len(t.kind(kind)), kind, patience, n)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func names(events []*sentry.Event) string {
	var out []string
	for _, e := range events {
		out = append(out, e.Transaction+e.Message)
	}
	return strings.Join(out, ", ")
}

// initSentry sets Sentry's SDK up as a program does, with the integration alone.
func initSentry(t *testing.T, change func(*sentry.ClientOptions), opts ...Option) *transport {
	t.Helper()
	tr := &transport{}
	o := sentry.ClientOptions{
		Dsn: testDSN, EnableTracing: true, TracesSampleRate: 1, Release: "billing@1.2.3", Environment: "test", Transport: tr,
		Integrations: func(i []sentry.Integration) []sentry.Integration { return append(i, KafkaIntegration(opts...)) },
	}
	if change != nil {
		change(&o)
	}
	if err := sentry.Init(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { forget() })
	return tr
}

// forget makes the process as it was before any integration.
func forget() {
	sentry.CurrentHub().Client().Close()
	sentry.CurrentHub().BindClient(nil)
	process.mu.Lock()
	process.otel = false
	process.current.Store(nil)
	process.mu.Unlock()
	messaging.SetDefaults(messaging.Defaults{})
}

// shop is a broker with a topic, and clients of it.
type shop struct {
	*kfake.Cluster
	t testing.TB
}

func open(t testing.TB) shop {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "orders", "payments"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return shop{c, t}
}

func (s shop) writer(change func(*kafka.Writer), opts ...otelkafkago.Option) *otelkafkago.Writer {
	w := &kafka.Writer{
		Addr: kafka.TCP(s.ListenAddrs()...), BatchTimeout: time.Nanosecond, RequiredAcks: kafka.RequireAll,
		Transport: &kafka.Transport{ClientID: "test"},
	}
	if change != nil {
		change(w)
	}
	own := w.Transport.(*kafka.Transport)
	out := otelkafkago.NewWriter(w, opts...)
	s.t.Cleanup(func() {
		_ = out.Close()
		own.CloseIdleConnections()
	})
	return out
}

func (s shop) send(ctx context.Context, topic string, headers ...kafka.Header) {
	s.t.Helper()
	w := s.writer(nil)
	if err := w.WriteMessages(ctx, kafka.Message{Topic: topic, Key: []byte("customer-7"), Value: []byte("a book"), Headers: headers}); err != nil {
		s.t.Fatal(err)
	}
}

func (s shop) reader(topic string, opts ...otelkafkago.Option) *otelkafkago.Reader {
	r := otelkafkago.NewReader(kafka.ReaderConfig{Brokers: s.ListenAddrs(), Topic: topic, GroupID: "billing", MaxWait: 100 * time.Millisecond, StartOffset: kafka.FirstOffset}, opts...)
	s.t.Cleanup(func() { _ = r.Close() })
	return r
}

// raw returns the headers of the first record of a topic.
func (s shop) raw(topic string) map[string]string {
	s.t.Helper()
	r := kafka.NewReader(kafka.ReaderConfig{Brokers: s.ListenAddrs(), Topic: topic, MaxWait: 100 * time.Millisecond})
	defer r.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	m, err := r.ReadMessage(ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	out := make(map[string]string)
	for _, h := range m.Headers {
		out[h.Key] = string(h.Value)
	}
	return out
}

// process fetches one record, runs fn on it and commits it.
func (s shop) process(r *otelkafkago.Reader, fn func(context.Context, kafka.Message) error) error {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	m, err := r.FetchMessage(ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	err = r.Process(ctx, m, fn)
	if err := r.CommitMessages(ctx, m); err != nil {
		s.t.Fatal(err)
	}
	return err
}

func nothing(context.Context, kafka.Message) error { return nil }

func traceOf(e *sentry.Event) sentry.Context { return e.Contexts["trace"] }

// members reads a baggage header.
func members(header string) map[string]string {
	out := make(map[string]string)
	for m := range strings.SplitSeq(header, ",") {
		if k, v, ok := strings.Cut(m, "="); ok {
			out[k] = v
		}
	}
	return out
}

// envelopes is a server that takes what Sentry SDKs send.
type envelopes struct {
	mu    sync.Mutex
	items []map[string]any
}

func (e *envelopes) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d := json.NewDecoder(r.Body)
	e.mu.Lock()
	defer e.mu.Unlock()
	for {
		var item map[string]any
		if err := d.Decode(&item); err != nil {
			break
		}
		e.items = append(e.items, item)
	}
	_, _ = w.Write([]byte("{}"))
}
