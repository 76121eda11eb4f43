// Sarama is the same with IBM/sarama: clients are made by an instrumentation
// instead of by sarama, and the handler of a consumer group stays as it is but for
// Process.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"

	"github.com/IBM/sarama"

	"github.com/hoptrace/hoptrace/examples/internal/topics"
	"github.com/hoptrace/hoptrace/instrumentation"
	"github.com/hoptrace/hoptrace/instrumentation/otelsarama"
)

const topic = "sarama-greetings"

var greetings = []string{"good morning", "good day", "good night"}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "sarama:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("sarama", flag.ContinueOnError)
	brokers := flags.String("brokers", "127.0.0.1:9092", "Kafka `addresses`, separated by commas")
	endpoint := flags.String("endpoint", "", "`URL` of the collector; empty means what OTEL_EXPORTER_OTLP_ENDPOINT says, else http://127.0.0.1:4317")
	if err := flags.Parse(args); err != nil {
		return err
	}
	addresses := strings.Split(*brokers, ",")

	err := hoptrace.Init(hoptrace.Options{
		ServiceName:  "sarama",
		Endpoint:     *endpoint,
		Integrations: []hoptrace.Integration{otelsarama.Integration()},
	})
	if err != nil {
		return err
	}
	defer hoptrace.Close()
	if err := topics.Make(ctx, addresses, 1, topic); err != nil {
		return err
	}

	config := sarama.NewConfig()
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Return.Successes = true // as sarama's sync producer asks for
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	in := otelsarama.New(config)
	if err := produce(ctx, in, addresses); err != nil {
		return err
	}
	return consume(ctx, in, addresses)
}

func produce(ctx context.Context, in *otelsarama.Instrumentation, brokers []string) error {
	p, err := in.NewSyncProducer(brokers)
	if err != nil {
		return fmt.Errorf("cannot make the producer: %w", err)
	}
	for _, g := range greetings {
		// SendMessage has no context; this is the same with the caller's.
		if _, _, err := p.SendMessageContext(ctx, &sarama.ProducerMessage{Topic: topic, Value: sarama.StringEncoder(g)}); err != nil {
			return errors.Join(fmt.Errorf("cannot send %q: %w", g, err), p.Close())
		}
	}
	return p.Close()
}

func consume(ctx context.Context, in *otelsarama.Instrumentation, brokers []string) error {
	g, err := in.NewConsumerGroup(brokers, "sarama")
	if err != nil {
		return fmt.Errorf("cannot make the consumer group: %w", err)
	}
	ctx, done := context.WithCancel(ctx)
	defer done()
	h := &handler{in: in, left: len(greetings), done: done}
	// Consume returns at each rebalance, so it is called again.
	for ctx.Err() == nil {
		if err := g.Consume(ctx, []string{topic}, h); err != nil {
			return errors.Join(fmt.Errorf("cannot consume: %w", err), g.Close())
		}
	}
	if err := g.Close(); err != nil {
		return fmt.Errorf("cannot leave the group: %w", err)
	}
	if h.left > 0 {
		return fmt.Errorf("stopped with %d greetings left", h.left)
	}
	return nil
}

// handler greets until no greeting is left. The topic has one partition, so only
// one claim is open at a time.
type handler struct {
	in   *otelsarama.Instrumentation
	left int
	done context.CancelFunc
}

// Setup is called before the claims begin.
func (*handler) Setup(sarama.ConsumerGroupSession) error { return nil }

// Cleanup is called when all claims have ended.
func (*handler) Cleanup(sarama.ConsumerGroupSession) error { return nil }

// ConsumeClaim handles the messages of a partition.
func (h *handler) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for m := range claim.Messages() {
		if err := h.in.Process(session.Context(), m, greet); err != nil {
			return fmt.Errorf("cannot process the message at offset %d: %w", m.Offset, err)
		}
		session.MarkMessage(m, "")
		if h.left--; h.left == 0 {
			h.done()
		}
	}
	return nil
}

func greet(_ context.Context, m *sarama.ConsumerMessage) error {
	fmt.Printf("%s (partition %d, offset %d)\n", m.Value, m.Partition, m.Offset)
	return nil
}
