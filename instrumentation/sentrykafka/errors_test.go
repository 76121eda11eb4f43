package sentrykafka

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/getsentry/sentry-go"
	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"
	"go.opentelemetry.io/otel/trace"

	"github.com/hoptrace/hoptrace/instrumentation"
	"github.com/hoptrace/hoptrace/instrumentation/messaging"
	"github.com/hoptrace/hoptrace/instrumentation/otelkafkago"
)

var errNoFunds = errors.New("no funds")

// checkRecord looks at what an error tells of its record.
func checkRecord(t *testing.T, e *sentry.Event) {
	t.Helper()
	k := e.Contexts["kafka"]
	want := sentry.Context{
		"topic": "orders", "partition": int32(0), "offset": int64(0), "group": "billing", "attempt": 1,
		"key_hash": messaging.KeyHash([]byte("customer-7")),
	}
	for name, v := range want {
		if diff := cmp.Diff(v, k[name]); diff != "" {
			t.Errorf("kafka.%s (-want +got):\n%s", name, diff)
		}
	}
	for _, name := range []string{"age_ms", "broker_residence_ms", "fetch_queue_ms", "processing_ms"} {
		if v, ok := k[name].(float64); !ok || v < -1000 || v > 60_000 {
			t.Errorf("kafka.%s = %v; want milliseconds", name, k[name])
		}
	}
	if _, err := time.Parse(time.RFC3339Nano, fmt.Sprint(k["record_time"])); err != nil {
		t.Errorf("kafka.record_time = %v: %v", k["record_time"], err)
	}
	if m, _ := k["member"].(string); !strings.HasPrefix(m, "main@") && m == "" {
		t.Errorf("kafka.member = %q; want the member's id", m)
	}
	if _, known := k["ack_ms"]; known {
		t.Error("kafka.ack_ms is told, which a consumer cannot know")
	}
	for tag, v := range map[string]string{"kafka.topic": "orders", "kafka.partition": "0", "kafka.group": "billing"} {
		if e.Tags[tag] != v {
			t.Errorf("tag %s = %q; want %q", tag, e.Tags[tag], v)
		}
	}
}

// sides runs f with Sentry alone, and with hoptrace beside it.
func sides(t *testing.T, opts []Option, f func(t *testing.T, tr *transport)) {
	t.Run("sentry alone", func(t *testing.T) { f(t, initSentry(t, nil, opts...)) })
	t.Run("hoptrace beside", func(t *testing.T) {
		tr := initSentry(t, func(o *sentry.ClientOptions) { o.Integrations, o.EnableTracing = nil, false })
		c, err := hoptrace.New(hoptrace.Options{Endpoint: "127.0.0.1:1", CloseTimeout: time.Millisecond, OnError: func(error) {}, Integrations: []hoptrace.Integration{KafkaIntegration(opts...)}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		f(t, tr)
	})
}

func TestAnErrorSaysWhichRecordItWas(t *testing.T) {
	sides(t, nil, func(t *testing.T, tr *transport) {
		s := open(t)
		s.send(context.Background(), "orders")
		var inside trace.SpanContext
		if err := s.process(s.reader("orders"), func(ctx context.Context, _ kafka.Message) error {
			inside = trace.SpanContextFromContext(ctx)
			sentry.GetHubFromContext(ctx).CaptureException(errNoFunds)
			sentry.CaptureException(errors.New("without the context"))
			return errNoFunds
		}); !errors.Is(err, errNoFunds) {
			t.Errorf("Process = %v; want the handler's error", err)
		}
		e := tr.await(t, "", 2)[0]
		checkRecord(t, e)
		if got := fmt.Sprint(traceOf(e)["trace_id"]); got != inside.TraceID().String() || !inside.IsValid() {
			t.Errorf("the error is in trace %s; the process span in %s", got, inside.TraceID())
		}
		if got := fmt.Sprint(traceOf(e)["span_id"]); got != inside.SpanID().String() {
			t.Errorf("the error is at span %s; the process span is %s", got, inside.SpanID())
		}
		// The program's own scope knows no record, neither in the handler nor outside.
		sentry.CurrentHub().CaptureException(errors.New("elsewhere"))
		for _, e := range tr.await(t, "", 3)[1:] {
			if e.Contexts["kafka"] != nil || e.Tags["kafka.topic"] != "" {
				t.Errorf("an error of the program's scope tells of a record: %v %v", e.Contexts["kafka"], e.Tags)
			}
		}
	})
}

func TestAPanicIsCapturedOnceAndGoesOn(t *testing.T) {
	boom := errors.New("boom")
	f := func(opts []Option, handler func(context.Context), value any, want int) {
		t.Helper()
		sides(t, opts, func(t *testing.T, tr *transport) {
			s := open(t)
			s.send(context.Background(), "orders")
			r := s.reader("orders")
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			m, err := r.FetchMessage(ctx)
			if err != nil {
				t.Fatal(err)
			}
			var caught any
			func() {
				defer func() {
					caught = recover()
					sentry.CurrentHub().Recover(caught) // as programs do at the top
				}()
				_ = r.Process(ctx, m, func(ctx context.Context, _ kafka.Message) error {
					handler(ctx)
					return nil
				})
			}()
			if caught != value {
				t.Errorf("the panic went on as %v; want %v", caught, value)
			}
			got := tr.await(t, "", 1)[0]
			if n := len(tr.kind("")); n != 1 {
				t.Errorf("captured %d times; want once", n)
			}
			if want == 0 {
				if got.Contexts["kafka"] != nil {
					t.Error("the program's own capture knows the record")
				}
				return
			}
			checkRecord(t, got)
			if got.Level != sentry.LevelFatal {
				t.Errorf("level = %s", got.Level)
			}
		})
	}
	f(nil, func(context.Context) { panic(boom) }, boom, 1)
	f(nil, func(context.Context) { panic("boom") }, "boom", 1)
	// The handler captures it by itself and lets it go on.
	f(nil, func(ctx context.Context) {
		defer func() {
			v := recover()
			sentry.GetHubFromContext(ctx).RecoverWithContext(ctx, v)
			panic(v)
		}()
		panic(boom)
	}, boom, 1)
	f([]Option{WithoutPanics()}, func(context.Context) { panic(boom) }, boom, 0)
}

func TestAPanicShowsWhereItWas(t *testing.T) {
	tr := initSentry(t, nil)
	s := open(t)
	r := s.reader("orders")
	panicking := func() {
		s.send(context.Background(), "orders")
		defer func() { _ = recover() }()
		_ = s.process(r, explode)
	}
	panicking()
	e := tr.await(t, "", 1)[0]
	found := false
	for _, x := range e.Exception {
		if x.Stacktrace == nil {
			continue
		}
		for _, frame := range x.Stacktrace.Frames {
			found = found || frame.Function == "explode"
		}
	}
	if !found {
		t.Errorf("the stack does not show the handler: %+v", e.Exception)
	}
	// Two records that panic alike are two errors.
	panicking()
	tr.await(t, "", 2)
}

func explode(context.Context, kafka.Message) error { panic(errNoFunds) }

func TestReturnedErrorsAreCapturedWhenAskedAndOnce(t *testing.T) {
	sides(t, []Option{WithErrors()}, func(t *testing.T, tr *transport) {
		s := open(t)
		for range 3 {
			s.send(context.Background(), "orders")
		}
		r := s.reader("orders")
		_ = s.process(r, func(context.Context, kafka.Message) error { return errNoFunds })
		checkRecord(t, tr.await(t, "", 1)[0])
		_ = s.process(r, func(ctx context.Context, _ kafka.Message) error {
			sentry.GetHubFromContext(ctx).CaptureException(errNoFunds)
			return fmt.Errorf("cannot bill: %w", errNoFunds)
		})
		tr.await(t, "", 2)
		_ = s.process(r, nothing)
		tr.await(t, "", 2)
	})
}

func TestWithHoptraceSpansStayOpenTelemetrysWhicheverComesFirst(t *testing.T) {
	f := func(hoptraceFirst bool) {
		t.Helper()
		in := KafkaIntegration()
		var c *hoptrace.Client
		begin := func() {
			var err error
			if c, err = hoptrace.New(hoptrace.Options{Endpoint: "127.0.0.1:1", CloseTimeout: time.Millisecond, OnError: func(error) {}, Integrations: []hoptrace.Integration{in}}); err != nil {
				t.Fatal(err)
			}
		}
		if hoptraceFirst {
			begin()
		}
		tr := initSentry(t, func(o *sentry.ClientOptions) {
			o.Integrations = func(i []sentry.Integration) []sentry.Integration { return append(i, in) }
		})
		if !hoptraceFirst {
			begin()
		}
		defer c.Close()
		defer forget()
		s := open(t)
		s.send(context.Background(), "orders")
		if err := s.process(s.reader("orders"), nothing); err != nil {
			t.Fatal(err)
		}
		if got := c.Counts(); got.Queued+got.Dropped < 3 {
			t.Errorf("hoptrace has %+v; want the spans", got)
		}
		if got := tr.kind("transaction"); len(got) != 0 {
			t.Errorf("Sentry has %s too", names(got))
		}
		headers := s.raw("orders")
		if headers["sentry-trace"] == "" || members(headers["baggage"])["sentry-trace_id"] != strings.Split(headers["sentry-trace"], "-")[0] {
			t.Errorf("sentry-trace = %q, baggage = %q; want one trace in both", headers["sentry-trace"], headers["baggage"])
		}
	}
	f(true)
	f(false)
}

func TestARetriedRecordTellsItsAttemptAndOrigin(t *testing.T) {
	tr := initSentry(t, nil)
	s := open(t)
	w := s.writer(nil, otelkafkago.WithPathways())
	if err := w.WriteMessages(context.Background(), kafka.Message{Topic: "orders", Value: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	if err := s.process(s.reader("orders", otelkafkago.WithPathways()), func(ctx context.Context, m kafka.Message) error {
		return w.WriteMessages(ctx, otelkafkago.Retry(ctx, m, "payments"))
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.process(s.reader("payments", otelkafkago.WithPathways()), func(ctx context.Context, _ kafka.Message) error {
		sentry.GetHubFromContext(ctx).CaptureException(errNoFunds)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	k := tr.await(t, "", 1)[0].Contexts["kafka"]
	want := sentry.Context{"topic": "payments", "attempt": 2, "original_topic": "orders", "original_partition": int32(0), "original_offset": int64(0)}
	for name, v := range want {
		if diff := cmp.Diff(v, k[name]); diff != "" {
			t.Errorf("kafka.%s (-want +got):\n%s", name, diff)
		}
	}
	// With pathways the consumer knows when the record was sent.
	if v, ok := k["batch_queue_ms"].(float64); !ok || v < -1000 || v > 60_000 {
		t.Errorf("kafka.batch_queue_ms = %v; want milliseconds", k["batch_queue_ms"])
	}
	traces := make(map[any]bool)
	for _, e := range tr.await(t, "transaction", 3) { // the retry is sent inside processing
		traces[traceOf(e)["trace_id"]] = true
		for _, span := range e.Spans {
			if span.Op == "queue.process" && span.Description == "payments" && span.Data["messaging.message.retry.count"] != int64(1) {
				t.Errorf("retry count = %v; want 1", span.Data["messaging.message.retry.count"])
			}
		}
	}
	if len(traces) != 1 {
		t.Errorf("%d traces; want one", len(traces))
	}
}
