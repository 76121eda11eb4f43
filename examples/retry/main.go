// Retry sends payments that fail on to a retry topic, and after three attempts to
// a dead-letter topic. The header that otelkafkago.Retry adds keeps the lineage:
// where the payment came from, when it failed first, and its earlier attempts, to
// which the spans of the later ones link.
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
	topicPayments = "retry-payments"
	topicLater    = "retry-payments-later"
	topicDead     = "retry-payments-dead"

	maxAttempts = 3
)

var payments = []string{"rent", "bank-busy", "expired-card", "lunch"}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "retry:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("retry", flag.ContinueOnError)
	brokers := flags.String("brokers", "127.0.0.1:9092", "Kafka `addresses`, separated by commas")
	endpoint := flags.String("endpoint", "", "`URL` of the collector; empty means what OTEL_EXPORTER_OTLP_ENDPOINT says, else http://127.0.0.1:4317")
	pause := flags.Duration("pause", 200*time.Millisecond, "how long a payment waits before it is tried again")
	if err := flags.Parse(args); err != nil {
		return err
	}
	addresses := strings.Split(*brokers, ",")

	err := hoptrace.Init(hoptrace.Options{
		ServiceName:  "retry",
		Endpoint:     *endpoint,
		Integrations: []hoptrace.Integration{otelkafkago.Integration()},
	})
	if err != nil {
		return err
	}
	defer hoptrace.Close()
	if err := topics.Make(ctx, addresses, 1, topicPayments, topicLater, topicDead); err != nil {
		return err
	}

	w := otelkafkago.NewWriter(&kafka.Writer{
		Addr:         kafka.TCP(addresses...),
		RequiredAcks: kafka.RequireAll,
		BatchTimeout: 10 * time.Millisecond,
	})
	defer w.Close()
	for _, p := range payments {
		if err := w.WriteMessages(ctx, kafka.Message{Topic: topicPayments, Value: []byte(p)}); err != nil {
			return fmt.Errorf("cannot send %q: %w", p, err)
		}
	}
	return consume(ctx, addresses, w, *pause)
}

// consume charges payments until each is paid or dead.
func consume(ctx context.Context, brokers []string, w *otelkafkago.Writer, pause time.Duration) error {
	r := otelkafkago.NewReader(kafka.ReaderConfig{
		Brokers:     brokers,
		GroupTopics: []string{topicPayments, topicLater},
		GroupID:     "retry",
		StartOffset: kafka.FirstOffset,
		MaxWait:     500 * time.Millisecond, // Close waits for the last fetch
	})
	defer r.Close()
	for left := len(payments); left > 0; {
		m, err := r.FetchMessage(ctx)
		if err != nil {
			return fmt.Errorf("cannot fetch: %w", err)
		}
		if m.Topic == topicLater {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(time.Until(m.Time.Add(pause))):
			}
		}
		attempt := otelkafkago.Attempt(m)
		var lost error
		failed := r.Process(ctx, m, func(ctx context.Context, m kafka.Message) error {
			err := charge(m, attempt)
			switch {
			case err == nil:
			case attempt < maxAttempts:
				lost = w.WriteMessages(ctx, otelkafkago.Retry(ctx, m, topicLater))
			default:
				lost = w.WriteMessages(ctx, otelkafkago.DeadLetter(ctx, m, topicDead, err))
			}
			return err // the span tells it, though the payment is taken care of
		})
		if lost != nil {
			return fmt.Errorf("cannot send %q on, so it is not committed and comes again: %w", m.Value, lost)
		}
		if failed == nil || attempt == maxAttempts {
			left--
		}
		fmt.Printf("%s, attempt %d: %s\n", m.Value, attempt, outcome(failed))
		if err := r.CommitMessages(ctx, m); err != nil {
			return fmt.Errorf("cannot commit: %w", err)
		}
	}
	return nil
}

// charge is busy twice with one payment and never takes another.
func charge(m kafka.Message, attempt int) error {
	switch p := string(m.Value); {
	case p == "bank-busy" && attempt < maxAttempts:
		return errors.New("the bank does not answer")
	case p == "expired-card":
		return errors.New("the card has expired")
	}
	return nil
}

func outcome(err error) string {
	if err == nil {
		return "paid"
	}
	return err.Error()
}
