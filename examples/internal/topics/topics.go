// Package topics makes the topics of an example where they are missing. It is no
// part of what the examples show: a program of yours finds its topics there.
package topics

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"
)

// Make makes topics of some partitions and waits until each has a leader, for a
// minute at most. A topic that exists stays as it is.
func Make(ctx context.Context, brokers []string, partitions int, names ...string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	transport := &kafka.Transport{MetadataTTL: 200 * time.Millisecond}
	defer transport.CloseIdleConnections()
	client := &kafka.Client{Addr: kafka.TCP(brokers...), Timeout: 10 * time.Second, Transport: transport}
	for {
		err := tryMake(ctx, client, partitions, names)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("cannot make the topics %q on %q; is a broker running there? %w", names, brokers, err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func tryMake(ctx context.Context, client *kafka.Client, partitions int, names []string) error {
	configs := make([]kafka.TopicConfig, 0, len(names))
	for _, name := range names {
		configs = append(configs, kafka.TopicConfig{Topic: name, NumPartitions: partitions, ReplicationFactor: 1})
	}
	made, err := client.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: configs})
	if err != nil {
		return err
	}
	for _, err := range made.Errors {
		if err != nil && !errors.Is(err, kafka.TopicAlreadyExists) {
			return err
		}
	}
	known, err := client.Metadata(ctx, &kafka.MetadataRequest{Topics: names})
	if err != nil {
		return err
	}
	for _, topic := range known.Topics {
		if topic.Error != nil {
			return topic.Error
		}
		for _, p := range topic.Partitions {
			if p.Error != nil {
				return p.Error
			}
		}
	}
	return nil
}
