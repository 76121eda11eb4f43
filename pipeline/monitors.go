package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hoptrace/hoptrace/internal/kafka"
	"github.com/hoptrace/hoptrace/pipeline/monitors"
	"github.com/hoptrace/hoptrace/pipeline/persist"
	"github.com/hoptrace/hoptrace/schemas/topics"
)

// checkInEnds asks the brokers where the partitions of topic ingest-monitors end,
// from open to close.
type checkInEnds struct {
	mu     sync.Mutex // guards the following
	client *kgo.Client
	admin  *kafka.Admin
	topic  string // as the brokers call it
}

var _ monitors.Topic = (*checkInEnds)(nil)

func (c *checkInEnds) open(cfg kafka.Config, m *kafka.Metrics, log *slog.Logger) error {
	client, err := kafka.NewClient(cfg, log, m)
	if err != nil {
		return fmt.Errorf("cannot open a client to look after monitors: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.client, c.admin, c.topic = client, kafka.NewAdmin(client, log), cfg.Topics.Physical(topics.IngestMonitors)
	return nil
}

func (c *checkInEnds) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.client != nil {
		c.client.Close()
		c.client = nil
	}
}

// Ends gives one element a partition.
func (c *checkInEnds) Ends(ctx context.Context) ([]monitors.Ends, error) {
	c.mu.Lock()
	client, admin, topic := c.client, c.admin, c.topic
	c.mu.Unlock()
	if client == nil {
		return nil, errors.New("the pipeline does not run")
	}
	id, err := admin.TopicID(ctx, topic)
	if err != nil {
		return nil, err
	}
	ends, err := admin.Kadm().ListEndOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("cannot ask where topic %q ends: %w", topic, err)
	}
	starts, err := admin.Kadm().ListStartOffsets(ctx, topic)
	if err == nil {
		err = starts.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("cannot ask where topic %q begins: %w", topic, err)
	}
	var out []monitors.Ends
	for partition, end := range ends[topic] {
		start, ok := starts.Lookup(topic, partition)
		if !ok {
			return nil, fmt.Errorf("the brokers tell no beginning of topic %q partition %d", topic, partition)
		}
		out = append(out, monitors.Ends{Source: persist.Source(topic, id, partition), Start: start.Offset, End: end.Offset})
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("the brokers tell of no partition of topic %q", topic)
	}
	return out, nil
}
