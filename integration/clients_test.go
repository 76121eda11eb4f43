package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/hoptrace/hoptrace/integration/harness"
)

// A newcomer points the clients that they have at the embedded broker.
func TestUsersOwnClientsUseTheEmbeddedBroker(t *testing.T) {
	h := harness.StartHoptrace(t, harness.Options{})
	t.Run("kafka-go", func(t *testing.T) { kafkaGoRoundTrip(t, h.Kafka) })
	t.Run("kafkajs", func(t *testing.T) {
		var got struct {
			Version  string `json:"version"`
			Produced int    `json:"produced"`
			Consumed int    `json:"consumed"`
			Distinct int    `json:"distinct"`
			Headers  int    `json:"headers"`
		}
		out := node(t, "kafka.mjs", "HOPTRACE_KAFKA="+h.Kafka)
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatalf("the program printed %q: %v", out, err)
		}
		t.Logf("real part: kafkajs %s", got.Version)
		if got.Produced != 600 || got.Consumed != 600 || got.Distinct != 600 || got.Headers != 600 {
			t.Errorf("kafkajs produced and consumed %+v, want 600 of each", got)
		}
	})
}

func kafkaGoRoundTrip(t *testing.T, broker string) {
	const topic, group, messages = "users-own", "users-own-readers", 2000
	t.Log("real part: segmentio/kafka-go v0.4.51")
	w := &kafka.Writer{
		Addr: kafka.TCP(broker), Topic: topic, AllowAutoTopicCreation: true, RequiredAcks: kafka.RequireAll,
		BatchTimeout: 5 * time.Millisecond, Compression: kafka.Snappy, Balancer: &kafka.Hash{},
	}
	batch := make([]kafka.Message, messages)
	for i := range batch {
		n := strconv.Itoa(i)
		batch[i] = kafka.Message{Key: []byte("key-" + n), Value: []byte("value-" + n), Headers: []kafka.Header{{Key: "n", Value: []byte(n)}}}
	}
	// The first write makes the topic, whose leader may not be known at once.
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := within(20*time.Second, func() error { return w.WriteMessages(ctx, batch[0]) }); err != nil {
		t.Fatalf("cannot produce the first message: %v", err)
	}
	if err := w.WriteMessages(ctx, batch[1:]...); err != nil {
		t.Fatalf("cannot produce: %v", err)
	}
	if err := w.Close(); err != nil {
		t.Fatalf("cannot close the writer: %v", err)
	}
	read := func(want int) []int {
		r := kafka.NewReader(kafka.ReaderConfig{
			Brokers: []string{broker}, GroupID: group, Topic: topic, StartOffset: kafka.FirstOffset, MaxWait: 100 * time.Millisecond,
		})
		defer r.Close()
		var got []int
		for len(got) < want {
			m, err := r.FetchMessage(ctx)
			if errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("read %d of %d messages in time", len(got), want)
			}
			if err != nil {
				t.Fatalf("cannot fetch: %v", err)
			}
			n, err := strconv.Atoi(string(m.Headers[0].Value))
			if err != nil || string(m.Value) != fmt.Sprintf("value-%d", n) {
				t.Fatalf("message %s/%d/%d came back as %q with header %q", m.Topic, m.Partition, m.Offset, m.Value, m.Headers[0].Value)
			}
			got = append(got, n)
			if err := r.CommitMessages(ctx, m); err != nil {
				t.Fatalf("cannot commit: %v", err)
			}
		}
		return got
	}
	// A group member that leaves hands on what it has not committed.
	got := append(read(messages/2), read(messages-messages/2)...)
	slices.Sort(got)
	if compact := slices.Compact(slices.Clone(got)); len(compact) != messages {
		t.Errorf("two members one after the other read %d different messages, want %d", len(compact), messages)
	}
}

// node runs a program of integration/node, after installing what its lock file
// names, and gives its standard output.
func node(t *testing.T, program string, env ...string) []byte {
	t.Helper()
	dir := filepath.Join(harness.Root(t), "integration", "node")
	installNode(t, dir)
	return harness.Output(t, 2*time.Minute, harness.Command{
		Name: "node-" + program, Path: harness.LookPath(t, "node"), Args: []string{program}, Dir: dir, Env: env,
	})
}

// installNode installs a package's dependencies unless they are there.
func installNode(t *testing.T, dir string) {
	t.Helper()
	harness.NodeModules(t, dir)
}
