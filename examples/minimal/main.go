// Minimal is the least that a program does to be seen: one call of
// hoptrace.Init, one wrapped writer, one wrapped reader.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/hoptrace/hoptrace/examples/internal/topics"
	"github.com/hoptrace/hoptrace/instrumentation"
	"github.com/hoptrace/hoptrace/instrumentation/otelkafkago"
)

const topic = "minimal-greetings"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "minimal:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("minimal", flag.ContinueOnError)
	brokers := flags.String("brokers", "127.0.0.1:9092", "Kafka `addresses`, separated by commas")
	endpoint := flags.String("endpoint", "", "`URL` of the collector; empty means what OTEL_EXPORTER_OTLP_ENDPOINT says, else http://127.0.0.1:4317")
	if err := flags.Parse(args); err != nil {
		return err
	}
	addresses := strings.Split(*brokers, ",")

	err := hoptrace.Init(hoptrace.Options{
		ServiceName:  "minimal",
		Endpoint:     *endpoint,
		Integrations: []hoptrace.Integration{otelkafkago.Integration()},
	})
	if err != nil {
		return err
	}
	defer hoptrace.Close()

	if err := topics.Make(ctx, addresses, 1, topic); err != nil {
		return err
	}
	if err := produce(ctx, addresses); err != nil {
		return err
	}
	return consume(ctx, addresses)
}

var greetings = []string{"good morning", "good day", "good night"}

func produce(ctx context.Context, brokers []string) error {
	w := otelkafkago.NewWriter(&kafka.Writer{
		Addr:         kafka.TCP(brokers...),
		Topic:        topic,
		RequiredAcks: kafka.RequireAll,
		BatchTimeout: 10 * time.Millisecond,
	})
	for _, g := range greetings {
		if err := w.WriteMessages(ctx, kafka.Message{Value: []byte(g)}); err != nil {
			return fmt.Errorf("cannot send %q: %w", g, err)
		}
	}
	return w.Close()
}

func consume(ctx context.Context, brokers []string) error {
	r := otelkafkago.NewReader(kafka.ReaderConfig{
		Brokers:     brokers,
		Topic:       topic,
		GroupID:     "minimal",
		StartOffset: kafka.FirstOffset,
		MaxWait:     500 * time.Millisecond, // Close waits for the last fetch
	})
	defer r.Close()
	for range greetings {
		m, err := r.FetchMessage(ctx)
		if err != nil {
			return fmt.Errorf("cannot fetch: %w", err)
		}
		// ctx in greet carries the span: what greet calls with it belongs to the
		// message.
		if err := r.Process(ctx, m, greet); err != nil {
			return fmt.Errorf("cannot process the message at offset %d: %w", m.Offset, err)
		}
		if err := r.CommitMessages(ctx, m); err != nil {
			return fmt.Errorf("cannot commit offset %d: %w", m.Offset, err)
		}
	}
	return nil
}

func greet(_ context.Context, m kafka.Message) error {
	fmt.Printf("%s (partition %d, offset %d)\n", m.Value, m.Partition, m.Offset)
	return nil
}
