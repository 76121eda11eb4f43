// Sentry reports errors and panics of message handlers by sentry-go. The
// integration ties each to its message: topic, partition, offset, group, attempt,
// age and the parts of its way; and to the trace, since one value connects both
// SDKs.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/getsentry/sentry-go"
	"github.com/segmentio/kafka-go"

	"github.com/hoptrace/hoptrace/examples/internal/topics"
	"github.com/hoptrace/hoptrace/instrumentation"
	"github.com/hoptrace/hoptrace/instrumentation/otelkafkago"
	"github.com/hoptrace/hoptrace/instrumentation/sentrykafka"
)

const topic = "sentry-orders"

var orders = []string{"two books", "nothing", "a lamp", "poison"}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "sentry:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("sentry", flag.ContinueOnError)
	brokers := flags.String("brokers", "127.0.0.1:9092", "Kafka `addresses`, separated by commas")
	endpoint := flags.String("endpoint", "", "`URL` of the collector; empty means what OTEL_EXPORTER_OTLP_ENDPOINT says, else http://127.0.0.1:4317")
	dsn := flags.String("dsn", os.Getenv("SENTRY_DSN"), "`DSN` that errors are sent to, hoptrace's or Sentry's; empty means SENTRY_DSN")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *dsn == "" {
		return errors.New("no DSN to send errors to: the UI of hoptrace names one; give it to -dsn")
	}
	addresses := strings.Split(*brokers, ",")

	messages := sentrykafka.KafkaIntegration(sentrykafka.WithErrors())
	err := hoptrace.Init(hoptrace.Options{
		ServiceName:  "sentry",
		Endpoint:     *endpoint,
		Integrations: []hoptrace.Integration{otelkafkago.Integration(), messages},
	})
	if err != nil {
		return err
	}
	defer hoptrace.Close()
	err = sentry.Init(sentry.ClientOptions{
		Dsn:         *dsn,
		Release:     "sentry-example@1.0.0",
		Environment: "example",
		// By itself, without hoptrace.Init, this would make transactions and spans of
		// Sentry's too, if EnableTracing were set.
		Integrations: func(in []sentry.Integration) []sentry.Integration { return append(in, messages) },
	})
	if err != nil {
		return fmt.Errorf("cannot set Sentry up: %w", err)
	}
	defer sentry.Flush(5 * time.Second)

	if err := topics.Make(ctx, addresses, 1, topic); err != nil {
		return err
	}
	if err := produce(ctx, addresses); err != nil {
		return err
	}
	return consume(ctx, addresses)
}

func produce(ctx context.Context, brokers []string) error {
	w := otelkafkago.NewWriter(&kafka.Writer{
		Addr:         kafka.TCP(brokers...),
		Topic:        topic,
		RequiredAcks: kafka.RequireAll,
		BatchTimeout: 10 * time.Millisecond,
	})
	for _, o := range orders {
		if err := w.WriteMessages(ctx, kafka.Message{Value: []byte(o)}); err != nil {
			return fmt.Errorf("cannot send %q: %w", o, err)
		}
	}
	return w.Close()
}

func consume(ctx context.Context, brokers []string) error {
	r := otelkafkago.NewReader(kafka.ReaderConfig{
		Brokers:     brokers,
		Topic:       topic,
		GroupID:     "sentry",
		StartOffset: kafka.FirstOffset,
		MaxWait:     500 * time.Millisecond, // Close waits for the last fetch
	}, otelkafkago.WithParent()) // one trace from the sender to the error
	defer r.Close()
	for range orders {
		m, err := r.FetchMessage(ctx)
		if err != nil {
			return fmt.Errorf("cannot fetch: %w", err)
		}
		if err := process(ctx, r, m); err != nil {
			fmt.Printf("offset %d: %v\n", m.Offset, err)
		}
		if err := r.CommitMessages(ctx, m); err != nil {
			return fmt.Errorf("cannot commit offset %d: %w", m.Offset, err)
		}
	}
	return nil
}

// process lets no panic end the program. Sentry has been told of it already.
func process(ctx context.Context, r *otelkafkago.Reader, m kafka.Message) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return r.Process(ctx, m, ship)
}

// ship knows nothing of Sentry: what it returns or panics with is reported. With
// sentry.GetHubFromContext(ctx) it could report more, tied to its message too.
func ship(_ context.Context, m kafka.Message) error {
	switch string(m.Value) {
	case "nothing":
		return errors.New("an order of nothing")
	case "poison":
		panic("cannot ship poison")
	}
	return nil
}
