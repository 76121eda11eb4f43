package integration

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"go.opentelemetry.io/otel/trace"

	"github.com/hoptrace/hoptrace/instrumentation"
	"github.com/hoptrace/hoptrace/instrumentation/otelkafkago"
)

// goHop is a Go service that reads orders from a topic and sends each on to
// another one. Its group is called after it.
type goHop struct {
	service  string
	from, to string
	orders   int
	options  []otelkafkago.Option // of its reader
}

// handled is what the handler of one order saw.
type handled struct {
	headers map[string]string // of the record
	span    trace.SpanContext // that the handler ran in
}

// start runs the hop until it has handled all orders. The function that it
// returns waits for that and tells what the handlers saw, by order.
func (g goHop) start(t *testing.T, n *network) func() map[string]handled {
	t.Helper()
	tracing, writer := n.goService(t, g.service, g.to)
	r := otelkafkago.NewReader(kafka.ReaderConfig{
		Brokers: []string{n.kafka.Address}, GroupID: g.service, Topic: g.from, StartOffset: kafka.FirstOffset, MaxWait: 100 * time.Millisecond,
		JoinGroupBackoff: 200 * time.Millisecond,
	}, append([]otelkafkago.Option{otelkafkago.WithTracerProvider(tracing.TracerProvider())}, g.options...)...)
	seen := map[string]handled{}
	done := make(chan struct{})
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	t.Cleanup(cancel)
	handle := func(ctx context.Context, m kafka.Message) error {
		headers := map[string]string{}
		for _, h := range m.Headers {
			headers[h.Key] = string(h.Value)
		}
		seen[string(m.Value)] = handled{headers: headers, span: trace.SpanContextFromContext(ctx)}
		return writer.WriteMessages(ctx, kafka.Message{Key: m.Key, Value: m.Value})
	}
	work := func() error {
		for len(seen) < g.orders {
			m, err := r.FetchMessage(ctx)
			if err != nil {
				return fmt.Errorf("cannot fetch after %d of %d orders: %w", len(seen), g.orders, err)
			}
			if err := r.Process(ctx, m, handle); err != nil {
				return fmt.Errorf("cannot send order %s on: %w", m.Value, err)
			}
			if err := r.CommitMessages(ctx, m); err != nil {
				return fmt.Errorf("cannot commit order %s: %w", m.Value, err)
			}
		}
		return nil
	}
	go func() {
		err := work()
		for _, end := range []func() error{r.Close, writer.Close} {
			if e := end(); e != nil && err == nil {
				err = e
			}
		}
		if !tracing.Flush(20*time.Second) && err == nil {
			err = fmt.Errorf("not all spans were exported: %+v", tracing.Counts())
		}
		if err != nil {
			t.Errorf("Go service %s: %v", g.service, err) // now, while the others still wait for its orders
		}
		close(done)
	}()
	return func() map[string]handled {
		t.Helper()
		if <-done; t.Failed() {
			t.FailNow()
		}
		return seen
	}
}

// goService makes the clients of a Go service that writes to a topic.
func (n *network) goService(t *testing.T, service, topic string, opts ...otelkafkago.Option) (*hoptrace.Client, *otelkafkago.Writer) {
	t.Helper()
	tracing, err := hoptrace.New(hoptrace.Options{
		ServiceName: service, Endpoint: "http://" + n.h.GRPC, DSN: n.dsn,
		OnError: func(err error) { t.Errorf("Go service %s: %v", service, err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tracing.Close)
	// The default transport would remember for all services which topics there are.
	transport := &kafka.Transport{ClientID: service}
	t.Cleanup(transport.CloseIdleConnections)
	w := otelkafkago.NewWriter(&kafka.Writer{
		Addr: kafka.TCP(n.kafka.Address), Topic: topic, RequiredAcks: kafka.RequireAll, BatchTimeout: time.Millisecond, Transport: transport,
	}, append([]otelkafkago.Option{otelkafkago.WithTracerProvider(tracing.TracerProvider())}, opts...)...)
	return tracing, w
}

// sendFirst is the other direction: a Go service sends each order in a trace of
// its own, with a sentry-trace header too, since it knows that one of those who
// read the topic understands nothing else. It returns the checkout's context of
// each order.
func (n *network) sendFirst(t *testing.T, service, topic string, orders []string) map[string]trace.SpanContext {
	t.Helper()
	tracing, w := n.goService(t, service, topic, otelkafkago.WithSentryTrace())
	tracer := tracing.TracerProvider().Tracer("shop")
	roots := map[string]trace.SpanContext{}
	for _, order := range orders {
		ctx, span := tracer.Start(t.Context(), "checkout")
		err := w.WriteMessages(ctx, kafka.Message{Key: []byte(order), Value: []byte(order)})
		span.End()
		if err != nil {
			t.Fatalf("Go service %s cannot send order %s: %v", service, order, err)
		}
		roots[order] = span.SpanContext()
	}
	if err := w.Close(); err != nil {
		t.Fatalf("Go service %s cannot close its writer: %v", service, err)
	}
	if !tracing.Flush(20 * time.Second) {
		t.Fatalf("Go service %s: not all spans were exported: %+v", service, tracing.Counts())
	}
	return roots
}
