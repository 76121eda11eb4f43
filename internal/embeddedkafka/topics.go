package embeddedkafka

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// validTopicName is Kafka's rule for names.
func validTopicName(name string) bool {
	if name == "" || len(name) > 249 || name == "." || name == ".." {
		return false
	}
	for _, c := range []byte(name) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

// createMissing makes the topics that a metadata request asks about and that
// do not exist. kfake can do this itself, but forgets such topics in a crash:
// it writes its list of topics only when one is created by request.
func (b *Broker) createMissing(ctx context.Context, r *kmsg.MetadataRequest) {
	have, partitions, err := b.topicPartitions(ctx)
	if err != nil {
		b.log.Warn("cannot tell which topics to create", "error", err)
		return
	}
	create := kmsg.NewPtrCreateTopicsRequest()
	create.TimeoutMillis = int32(hookTimeout.Milliseconds())
	asked := make(map[string]bool)
	for _, t := range r.Topics {
		if t.Topic == nil || !validTopicName(*t.Topic) || asked[*t.Topic] {
			continue
		}
		asked[*t.Topic] = true
		if _, ok := have[*t.Topic]; ok {
			continue
		}
		if partitions += b.cfg.DefaultPartitions; partitions > b.cfg.MaxPartitions {
			b.log.Warn("topic not created: too many partitions", "topic", *t.Topic,
				"limit", b.cfg.MaxPartitions, "setting", "embedded_kafka.max_partitions")
			break
		}
		ct := kmsg.NewCreateTopicsRequestTopic()
		ct.Topic, ct.NumPartitions, ct.ReplicationFactor = *t.Topic, int32(b.cfg.DefaultPartitions), 1
		create.Topics = append(create.Topics, ct)
	}
	if len(create.Topics) == 0 {
		return
	}
	resp, err := create.RequestWith(ctx, b.client)
	if err != nil {
		b.log.Warn("cannot create topics on first use", "error", err)
		return
	}
	for _, t := range resp.Topics {
		err := kerr.ErrorForCode(t.ErrorCode)
		switch {
		case err == nil:
			b.log.Info("topic created on first use", "topic", t.Topic, "partitions", t.NumPartitions)
		case errors.Is(err, kerr.TopicAlreadyExists): // two clients at once
		default:
			b.log.Warn("cannot create a topic on first use", "topic", t.Topic, "error", err)
		}
	}
}

// boundNewTopics turns topics that would exceed the bound on partitions into
// ones with 0 partitions, which kfake answers with INVALID_PARTITIONS. It
// reports whether it changed r.
func (b *Broker) boundNewTopics(ctx context.Context, r *kmsg.CreateTopicsRequest) bool {
	_, total, err := b.topicPartitions(ctx)
	if err != nil {
		b.log.Warn("cannot count the partitions", "error", err)
	}
	changed := false
	for i := range r.Topics {
		t := &r.Topics[i]
		n := int(t.NumPartitions)
		switch {
		case len(t.ReplicaAssignment) > 0:
			n = len(t.ReplicaAssignment)
		case n < 0:
			n = b.cfg.DefaultPartitions
		}
		if total+n > b.cfg.MaxPartitions || !validTopicName(t.Topic) {
			b.log.Warn("topic refused: its name is not allowed, or it would make too many partitions", "topic", t.Topic,
				"partitions", n, "limit", b.cfg.MaxPartitions, "setting", "embedded_kafka.max_partitions")
			t.NumPartitions, t.ReplicaAssignment = 0, nil
			changed = true
			continue
		}
		total += n
	}
	return changed
}

// boundNewPartitions is boundNewTopics for topics that grow.
func (b *Broker) boundNewPartitions(ctx context.Context, r *kmsg.CreatePartitionsRequest) bool {
	have, total, err := b.topicPartitions(ctx)
	if err != nil {
		b.log.Warn("cannot count the partitions", "error", err)
	}
	changed := false
	for i := range r.Topics {
		t := &r.Topics[i]
		more := int(t.Count) - have[t.Topic]
		if more <= 0 {
			continue
		}
		if total+more > b.cfg.MaxPartitions {
			b.log.Warn("partitions refused: too many", "topic", t.Topic, "asked", t.Count,
				"limit", b.cfg.MaxPartitions, "setting", "embedded_kafka.max_partitions")
			t.Count, t.Assignment = 0, nil
			changed = true
			continue
		}
		total += more
	}
	return changed
}

// topicPartitions returns how many partitions each topic has, and all together.
func (b *Broker) topicPartitions(ctx context.Context) (map[string]int, int, error) {
	resp, err := kmsg.NewPtrMetadataRequest().RequestWith(ctx, b.client)
	if err != nil {
		return nil, 0, fmt.Errorf("cannot list the topics: %w", err)
	}
	have, total := make(map[string]int, len(resp.Topics)), 0
	for _, t := range resp.Topics {
		if t.Topic != nil {
			have[*t.Topic] = len(t.Partitions)
			total += len(t.Partitions)
		}
	}
	return have, total, nil
}
