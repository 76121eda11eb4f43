// Batch sends a hundred readings with one call and handles what comes fifty at a
// time. Each message sent has its span; a batch that is handled together is one
// span, linked to the senders of all its messages.
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

	"github.com/segmentio/kafka-go"

	"github.com/hoptrace/hoptrace/examples/internal/topics"
	"github.com/hoptrace/hoptrace/instrumentation"
	"github.com/hoptrace/hoptrace/instrumentation/otelkafkago"
)

const (
	topic     = "batch-readings"
	readings  = 100
	batchSize = 50
	batchWait = 200 * time.Millisecond // for the rest of a batch, once it has begun
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "batch:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("batch", flag.ContinueOnError)
	brokers := flags.String("brokers", "127.0.0.1:9092", "Kafka `addresses`, separated by commas")
	endpoint := flags.String("endpoint", "", "`URL` of the collector; empty means what OTEL_EXPORTER_OTLP_ENDPOINT says, else http://127.0.0.1:4317")
	if err := flags.Parse(args); err != nil {
		return err
	}
	addresses := strings.Split(*brokers, ",")

	err := hoptrace.Init(hoptrace.Options{
		ServiceName:  "batch",
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

func produce(ctx context.Context, brokers []string) error {
	w := otelkafkago.NewWriter(&kafka.Writer{
		Addr:         kafka.TCP(brokers...),
		Topic:        topic,
		RequiredAcks: kafka.RequireAll,
		BatchTimeout: 10 * time.Millisecond,
	})
	messages := make([]kafka.Message, readings)
	for i := range messages {
		messages[i].Value = fmt.Appendf(nil, `{"celsius":%d}`, i%30)
	}
	if err := w.WriteMessages(ctx, messages...); err != nil {
		// kafka.WriteErrors says which; the span of each says it too.
		return fmt.Errorf("cannot send all readings: %w", err)
	}
	return w.Close()
}

func consume(ctx context.Context, brokers []string) error {
	r := otelkafkago.NewReader(kafka.ReaderConfig{
		Brokers:     brokers,
		Topic:       topic,
		GroupID:     "batch",
		StartOffset: kafka.FirstOffset,
		MaxWait:     500 * time.Millisecond, // Close waits for the last fetch
		// Several messages are open at a time, so that the next fetch is not taken
		// for the end of the last one's processing.
	}, otelkafkago.WithExplicitProcessing())
	defer r.Close()
	for left := readings; left > 0; {
		batch, err := collect(ctx, r)
		if err != nil {
			return fmt.Errorf("cannot fetch: %w", err)
		}
		if err := r.ProcessBatch(ctx, batch, store); err != nil {
			return fmt.Errorf("cannot store %d readings: %w", len(batch), err)
		}
		// One commit: kafka-go takes the highest offset of each partition.
		if err := r.CommitMessages(ctx, batch...); err != nil {
			return fmt.Errorf("cannot commit: %w", err)
		}
		left -= len(batch)
	}
	return nil
}

// collect waits for a message and gives it with those that follow soon.
func collect(ctx context.Context, r *otelkafkago.Reader) ([]kafka.Message, error) {
	first, err := r.FetchMessage(ctx)
	if err != nil {
		return nil, err
	}
	batch := []kafka.Message{first}
	soon, cancel := context.WithTimeout(ctx, batchWait)
	defer cancel()
	for len(batch) < batchSize {
		m, err := r.FetchMessage(soon)
		if errors.Is(err, context.DeadlineExceeded) {
			break
		}
		if err != nil {
			return nil, err
		}
		batch = append(batch, m)
	}
	return batch, nil
}

func store(_ context.Context, batch []kafka.Message) error {
	fmt.Printf("%d readings stored, offsets %d to %d\n", len(batch), batch[0].Offset, batch[len(batch)-1].Offset)
	return nil
}
