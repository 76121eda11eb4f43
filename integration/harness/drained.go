package harness

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// WaitDrained waits until the product has stored all that it acknowledged: its
// groups have committed all that lies on its topics. It asks the broker as any
// Kafka tool would.
func WaitDrained(t testing.TB, broker string, within time.Duration, topics ...string) time.Duration {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(broker))
	if err != nil {
		t.Fatalf("cannot make a client of %s: %v", broker, err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	return Until(t, fmt.Sprintf("the groups reading %q on %s have no lag", topics, broker), within, func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		return lagOf(ctx, admin, topics)
	})
}

func lagOf(ctx context.Context, admin *kadm.Client, topics []string) error {
	lags, err := admin.Lag(ctx)
	if err != nil {
		return err
	}
	for _, topic := range topics {
		readers := 0
		for group, described := range lags {
			if err := described.Error(); err != nil {
				return fmt.Errorf("group %q: %w", group, err)
			}
			partitions, ok := described.Lag[topic]
			if !ok {
				continue
			}
			readers++
			for p, l := range partitions {
				if l.Err != nil {
					return fmt.Errorf("group %q, topic %q partition %d: %w", group, topic, p, l.Err)
				}
				if l.Lag != 0 {
					return fmt.Errorf("group %q is %d records behind on topic %q partition %d", group, l.Lag, topic, p)
				}
			}
		}
		if readers == 0 {
			return fmt.Errorf("no group reads topic %q", topic)
		}
	}
	return nil
}
