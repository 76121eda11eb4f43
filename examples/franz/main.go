// Franz is the same with franz-go: hooks instead of wrappers. The client stays
// kgo's own; its hooks and connections tell where each record spent its time.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hoptrace/hoptrace/examples/internal/topics"
	"github.com/hoptrace/hoptrace/instrumentation"
	"github.com/hoptrace/hoptrace/instrumentation/otelfranz"
)

const topic = "franz-greetings"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "franz:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("franz", flag.ContinueOnError)
	brokers := flags.String("brokers", "127.0.0.1:9092", "Kafka `addresses`, separated by commas")
	endpoint := flags.String("endpoint", "", "`URL` of the collector; empty means what OTEL_EXPORTER_OTLP_ENDPOINT says, else http://127.0.0.1:4317")
	if err := flags.Parse(args); err != nil {
		return err
	}
	addresses := strings.Split(*brokers, ",")

	err := hoptrace.Init(hoptrace.Options{
		ServiceName:  "franz",
		Endpoint:     *endpoint,
		Integrations: []hoptrace.Integration{otelfranz.Integration()},
	})
	if err != nil {
		return err
	}
	defer hoptrace.Close()
	if err := topics.Make(ctx, addresses, 1, topic); err != nil {
		return err
	}

	// One client of kgo produces and consumes; the hooks see both.
	hooks := otelfranz.New()
	client, err := kgo.NewClient(append(
		hooks.Opts(),
		kgo.SeedBrokers(addresses...),
		kgo.DefaultProduceTopic(topic),
		kgo.ConsumeTopics(topic),
		kgo.ConsumerGroup("franz"),
		kgo.DisableAutoCommit(),
	)...)
	if err != nil {
		return fmt.Errorf("cannot make the client: %w", err)
	}
	defer client.Close()

	greetings := []string{"good morning", "good day", "good night"}
	for _, g := range greetings {
		if err := client.ProduceSync(ctx, kgo.StringRecord(g)).FirstErr(); err != nil {
			return fmt.Errorf("cannot send %q: %w", g, err)
		}
	}
	for left := len(greetings); left > 0; {
		fetches := hooks.PollFetches(ctx) // client.PollFetches that also measures the lag
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("cannot fetch: %w", err)
		}
		records := fetches.Records()
		for _, r := range records {
			if err := hooks.Process(ctx, r, greet); err != nil {
				return fmt.Errorf("cannot process the record at offset %d: %w", r.Offset, err)
			}
		}
		if err := hooks.CommitRecords(ctx, records...); err != nil {
			return fmt.Errorf("cannot commit: %w", err)
		}
		left -= len(records)
	}
	return nil
}

func greet(_ context.Context, r *kgo.Record) error {
	fmt.Printf("%s (partition %d, offset %d)\n", r.Value, r.Partition, r.Offset)
	return nil
}
