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
	parent   bool // the producer's span is the parent, not only linked
	client   func(ctx context.Context, r *relay) error
}

// handled is what the handler of one order saw.
type handled struct {
	headers map[string]string // of the record
	span    trace.SpanContext // that the handler ran in
}

// relay is a hop at work, whichever client it has.
type relay struct {
	goHop
	broker  string
	tracing *hoptrace.Client
	seen    map[string]handled // by order
}

// saw notes what the handler of an order sees.
func (r *relay) saw(ctx context.Context, order []byte, headers map[string]string) {
	r.seen[string(order)] = handled{headers: headers, span: trace.SpanContextFromContext(ctx)}
}

// done tells that all orders were handled.
func (r *relay) done() bool { return len(r.seen) == r.orders }

// start runs the hop until it has handled all orders. The function that it
// returns waits for that and tells what the handlers saw.
func (g goHop) start(t *testing.T, n *network) func() map[string]handled {
	t.Helper()
	r := &relay{goHop: g, broker: n.kafka.Address, tracing: n.goTracing(t, g.service), seen: map[string]handled{}}
	done := make(chan struct{})
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	t.Cleanup(cancel)
	go func() {
		defer close(done)
		err := g.client(ctx, r)
		if !r.tracing.Flush(20*time.Second) && err == nil {
			err = fmt.Errorf("not all spans were exported: %+v", r.tracing.Counts())
		}
		if err != nil {
			// Now, while the others still wait for its orders.
			t.Errorf("Go service %s, after %d of %d orders: %v", g.service, len(r.seen), g.orders, err)
		}
	}()
	return func() map[string]handled {
		t.Helper()
		if <-done; t.Failed() {
			t.FailNow()
		}
		return r.seen
	}
}

func (n *network) goTracing(t *testing.T, service string) *hoptrace.Client {
	t.Helper()
	tracing, err := hoptrace.New(hoptrace.Options{
		ServiceName: service, Endpoint: "http://" + n.h.GRPC, DSN: n.dsn,
		OnError: func(err error) { t.Errorf("Go service %s: %v", service, err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tracing.Close)
	return tracing
}

// sendFirst is the other direction: a Go service sends each order in a trace of
// its own, with a sentry-trace header too, since it knows that one of those who
// read the topic understands nothing else. It returns the checkout's context of
// each order.
func (n *network) sendFirst(t *testing.T, service, topic string, orders []string) map[string]trace.SpanContext {
	t.Helper()
	tracing := n.goTracing(t, service)
	w := otelkafkago.NewWriter(&kafka.Writer{
		Addr: kafka.TCP(n.kafka.Address), Topic: topic, RequiredAcks: kafka.RequireAll, BatchTimeout: time.Millisecond,
	}, otelkafkago.WithTracerProvider(tracing.TracerProvider()), otelkafkago.WithSentryTrace())
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
