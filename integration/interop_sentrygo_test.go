package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getsentry/sentry-go"
	"github.com/segmentio/kafka-go"

	"github.com/hoptrace/hoptrace/instrumentation/otelkafkago"
	"github.com/hoptrace/hoptrace/instrumentation/sentrykafka"
	"github.com/hoptrace/hoptrace/integration/harness"
)

// sentryGo in the environment makes this test binary the Go service of
// [network.sentryAlone]: what sentry.Init sets up is of its whole process.
const sentryGo = "HOPTRACE_TEST_SENTRY_GO"

func TestMain(m *testing.M) {
	if os.Getenv(sentryGo) == "" {
		os.Exit(m.Run())
	}
	if err := serveSentryGo(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// Operations of Sentry's spans over Kafka.
const (
	opProcess = "queue.process"
	opPublish = "queue.publish"
)

// sentrySpan is a span of Sentry's.
type sentrySpan struct {
	TraceID  string `json:"traceId"`
	SpanID   string `json:"spanId"`
	ParentID string `json:"parentId"`
	Op       string `json:"op"`
	Topic    string `json:"topic"`
}

// serveSentryGo is a Go service with sentry-go alone, no OpenTelemetry SDK: it
// sends each of HOPTRACE_ORDERS on and prints the spans that Sentry would get.
func serveSentryGo() error {
	broker, from, to := os.Getenv("HOPTRACE_KAFKA"), os.Getenv("HOPTRACE_FROM"), os.Getenv("HOPTRACE_TO")
	var spans []sentrySpan
	err := sentry.Init(sentry.ClientOptions{
		Dsn: os.Getenv("HOPTRACE_DSN"), EnableTracing: true, TracesSampleRate: 1,
		Integrations: func(in []sentry.Integration) []sentry.Integration {
			return append(in, sentrykafka.KafkaIntegration())
		},
		BeforeSendTransaction: func(event *sentry.Event, _ *sentry.EventHint) *sentry.Event {
			tr := event.Contexts["trace"]
			id := fmt.Sprint(tr["trace_id"])
			spans = append(spans, sentrySpan{TraceID: id, SpanID: fmt.Sprint(tr["span_id"]), ParentID: fmt.Sprint(tr["parent_span_id"]), Op: "transaction"})
			for _, s := range event.Spans {
				spans = append(spans, sentrySpan{
					TraceID: s.TraceID.String(), SpanID: s.SpanID.String(), ParentID: s.ParentSpanID.String(), Op: s.Op,
					Topic: fmt.Sprint(s.Data["messaging.destination.name"]),
				})
			}
			return event
		},
	})
	if err != nil {
		return fmt.Errorf("cannot set Sentry up: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	w := otelkafkago.NewWriter(&kafka.Writer{Addr: kafka.TCP(broker), Topic: to, RequiredAcks: kafka.RequireAll, BatchTimeout: time.Millisecond})
	r := otelkafkago.NewReader(kafka.ReaderConfig{
		Brokers: []string{broker}, GroupID: "sentry-go", Topic: from, StartOffset: kafka.FirstOffset, MaxWait: 100 * time.Millisecond,
		JoinGroupBackoff: 200 * time.Millisecond,
	})
	for range strings.Split(os.Getenv("HOPTRACE_ORDERS"), ",") {
		m, err := r.FetchMessage(ctx)
		if err != nil {
			return fmt.Errorf("cannot fetch: %w", err)
		}
		err = r.Process(ctx, m, func(ctx context.Context, m kafka.Message) error {
			return w.WriteMessages(ctx, kafka.Message{Value: m.Value})
		})
		if err != nil {
			return fmt.Errorf("cannot send %s on: %w", m.Value, err)
		}
		if err := r.CommitMessages(ctx, m); err != nil {
			return fmt.Errorf("cannot commit: %w", err)
		}
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("cannot close the writer: %w", err)
	}
	if err := r.Close(); err != nil {
		return fmt.Errorf("cannot close the reader: %w", err)
	}
	if !sentry.Flush(20 * time.Second) {
		return fmt.Errorf("not all was sent to %s", os.Getenv("HOPTRACE_DSN"))
	}
	return json.NewEncoder(os.Stdout).Encode(spans)
}

// sentryAlone: kafkajs, a Go service and kafkajs again, each with nothing but its
// Sentry SDK. Each order is one trace.
func (n *network) sentryAlone(t *testing.T, orders []string) {
	const sent, back = "sentry-alone-sent", "sentry-alone-back"
	n.makeTopics(t, sent, back)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	service := harness.Start(t, harness.Command{
		Name: "sentry-go", Path: self, KeepStdout: true,
		Env: []string{
			sentryGo + "=1", "HOPTRACE_KAFKA=" + n.kafka.Address, "HOPTRACE_DSN=" + n.dsn, "HOPTRACE_FROM=" + sent, "HOPTRACE_TO=" + back,
			"HOPTRACE_ORDERS=" + strings.Join(orders, ","),
		},
	})
	js := foreign{service: "js-sentry-alone", command: n.with.nodeProgram(t, "sentry.mjs"), orders: orders, sentry: true}
	told := js.run(t, n, sent, []string{back})
	if err := service.Wait(time.Minute); err != nil {
		t.Fatalf("the Go service: %v\n%s", err, service.Tail(20))
	}
	var spans []sentrySpan
	if err := json.Unmarshal(service.Stdout(), &spans); err != nil {
		t.Fatalf("the Go service printed %q: %v", service.Stdout(), err)
	}
	t.Logf("real part: sentry-go %s", sentry.SDKVersion)
	goSpan := func(trace, op string) sentrySpan {
		t.Helper()
		i := slices.IndexFunc(spans, func(s sentrySpan) bool { return s.TraceID == trace && s.Op == op })
		if i < 0 {
			t.Fatalf("the Go service made no span %s in trace %s: %+v", op, trace, spans)
		}
		return spans[i]
	}
	jsSpan := func(trace, kind, topic string) harness.Span {
		t.Helper()
		i := slices.IndexFunc(told.Spans, func(s harness.Span) bool {
			return s.TraceID == trace && s.Kind == kind && destination(s) == topic
		})
		if i < 0 {
			t.Fatalf("the program made no %s span over %s in trace %s: %+v", kind, topic, trace, told.Spans)
		}
		return told.Spans[i]
	}
	for _, root := range told.Sent {
		trace := root.TraceID
		producer, transaction := jsSpan(trace, "producer", sent), goSpan(trace, "transaction")
		process, publish := goSpan(trace, opProcess), goSpan(trace, opPublish)
		consumer := jsSpan(trace, "consumer", back)
		for _, link := range []struct{ what, got, want string }{
			{"the Go service's transaction", transaction.ParentID, producer.SpanID},
			{"its span " + opProcess, process.ParentID, transaction.SpanID},
			{"its span " + opPublish, publish.ParentID, process.SpanID},
			{"the program's consumer span", consumer.ParentID, publish.SpanID},
		} {
			if link.got != link.want {
				t.Errorf("%s: %s is below %s, want %s", root.Order, link.what, link.got, link.want)
			}
		}
		if process.Topic != sent || publish.Topic != back {
			t.Errorf("%s: the Go service's spans are over %s and %s, want %s and %s", root.Order, process.Topic, publish.Topic, sent, back)
		}
		i := slices.IndexFunc(told.Read, func(r readRecord) bool { return r.Order == root.Order })
		if i < 0 || told.Read[i].TraceID != trace || !strings.Contains(told.Read[i].Headers["baggage"], "sentry-trace_id="+trace) {
			t.Errorf("%s came back as %+v, want it in trace %s, by its baggage too", root.Order, told.Read, trace)
		}
	}
}
