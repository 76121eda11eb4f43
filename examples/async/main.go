// Async sends without waiting for the broker. The span of each message still ends
// with the broker's answer and tells its true partition and offset, since the
// wrapper listens at the writer's Completion; the program's own Completion is
// called as before, with its own WriterData.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/hoptrace/hoptrace/examples/internal/topics"
	"github.com/hoptrace/hoptrace/instrumentation"
	"github.com/hoptrace/hoptrace/instrumentation/otelkafkago"
)

const topic = "async-clicks"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "async:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("async", flag.ContinueOnError)
	brokers := flags.String("brokers", "127.0.0.1:9092", "Kafka `addresses`, separated by commas")
	endpoint := flags.String("endpoint", "", "`URL` of the collector; empty means what OTEL_EXPORTER_OTLP_ENDPOINT says, else http://127.0.0.1:4317")
	count := flags.Int("count", 1000, "how many messages to send")
	if err := flags.Parse(args); err != nil {
		return err
	}
	addresses := strings.Split(*brokers, ",")

	err := hoptrace.Init(hoptrace.Options{
		ServiceName:  "async",
		Endpoint:     *endpoint,
		Integrations: []hoptrace.Integration{otelkafkago.Integration()},
	})
	if err != nil {
		return err
	}
	defer hoptrace.Close()
	if err := topics.Make(ctx, addresses, 3, topic); err != nil {
		return err
	}

	var written, failed atomic.Int64
	w := otelkafkago.NewWriter(&kafka.Writer{
		Addr:         kafka.TCP(addresses...),
		Topic:        topic,
		Balancer:     &kafka.Hash{},
		RequiredAcks: kafka.RequireAll,
		BatchTimeout: 10 * time.Millisecond,
		Async:        true,
		// Set before NewWriter, which chains its own to it.
		Completion: func(messages []kafka.Message, err error) {
			if err != nil {
				fmt.Fprintf(os.Stderr, "async: lost %d clicks from number %v on: %v\n", len(messages), messages[0].WriterData, err)
				failed.Add(int64(len(messages)))
				return
			}
			written.Add(int64(len(messages)))
		},
	})
	for i := range *count {
		if ctx.Err() != nil {
			break
		}
		err := w.WriteMessages(ctx, kafka.Message{
			Key:        fmt.Appendf(nil, "user-%d", i%100),
			Value:      []byte(`{"page":"/"}`),
			WriterData: i,
		})
		if err != nil {
			return fmt.Errorf("cannot send click %d: %w", i, err)
		}
	}
	// Close waits for the answers, so that each message's span has ended.
	if err := w.Close(); err != nil {
		return fmt.Errorf("cannot close the writer: %w", err)
	}
	fmt.Printf("%d clicks written, %d lost\n", written.Load(), failed.Load())
	return nil
}
