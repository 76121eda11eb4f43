// Poisoned is a Go worker that fails on some records and tries each of them again
// where it stands, as a consumer does that cannot go on without them. Sentry gets
// its errors; its spans go to OpenTelemetry, with an exception on a span below the
// processing, which tells no record. It ends after HOPTRACE_RECORDS records.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"strconv"
	"time"

	"github.com/getsentry/sentry-go"
	"github.com/segmentio/kafka-go"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	hoptrace "github.com/hoptrace/hoptrace/instrumentation"
	"github.com/hoptrace/hoptrace/instrumentation/otelkafkago"
	"github.com/hoptrace/hoptrace/instrumentation/sentrykafka"
)

const attempts = 12

type declinedError struct{}

func (declinedError) Error() string { return "card declined" }

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	n, err := strconv.Atoi(os.Getenv("HOPTRACE_RECORDS"))
	if err != nil {
		return fmt.Errorf("HOPTRACE_RECORDS: %w", err)
	}
	in := sentrykafka.KafkaIntegration(sentrykafka.ErrorsOnly())
	err = hoptrace.Init(hoptrace.Options{
		ServiceName: "worker", ServiceVersion: "2.0.0", Endpoint: "http://" + os.Getenv("HOPTRACE_GRPC"), SampleRatio: 1,
		Integrations: []hoptrace.Integration{otelkafkago.Integration(), in}, OnError: func(err error) { log.Print(err) },
	})
	if err != nil {
		return err
	}
	err = sentry.Init(sentry.ClientOptions{Dsn: os.Getenv("HOPTRACE_DSN"), Release: "worker@2.0.0", AttachStacktrace: true, Integrations: func(all []sentry.Integration) []sentry.Integration {
		return append(all, in)
	}})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	r := otelkafkago.NewReader(kafka.ReaderConfig{
		Brokers: []string{os.Getenv("HOPTRACE_KAFKA")}, GroupID: "payments", Topic: os.Getenv("HOPTRACE_FROM"), StartOffset: kafka.FirstOffset, MaxWait: 100 * time.Millisecond,
	}, otelkafkago.WithExplicitProcessing())
	for range n {
		m, err := r.FetchMessage(ctx)
		if err != nil {
			return err
		}
		for range attempts {
			if err = r.Process(ctx, m, handle); err == nil {
				break
			}
			time.Sleep(10 * time.Millisecond) // so that its ages differ
		}
		if err := r.CommitMessages(ctx, m); err != nil {
			return err
		}
	}
	if err := r.Close(); err != nil {
		return err
	}
	if !sentry.Flush(20 * time.Second) {
		return errors.New("sentry-go did not send all within 20 s")
	}
	if !hoptrace.Flush(20 * time.Second) {
		return errors.New("not all spans were sent within 20 s")
	}
	hoptrace.Close()
	return nil
}

// handle fails on a poisoned record.
func handle(ctx context.Context, m kafka.Message) error {
	_, span := otel.Tracer("shop").Start(ctx, "charge")
	defer span.End()
	if string(m.Value) != "poison" {
		return nil
	}
	span.AddEvent("exception", trace.WithAttributes(attribute.String("exception.type", "gateway.Refused"), attribute.String("exception.message", "the gateway answered 402")))
	sentry.GetHubFromContext(ctx).CaptureException(declinedError{})
	return declinedError{}
}
