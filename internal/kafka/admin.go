package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/hoptrace/hoptrace/schemas/topics"
)

const configMaxBytes = "max.message.bytes"

// Admin makes and looks up topics.
type Admin struct {
	cl  *kgo.Client
	adm *kadm.Client
	log *slog.Logger
}

// NewAdmin returns an admin over cl, which stays the caller's.
func NewAdmin(cl *kgo.Client, log *slog.Logger) *Admin {
	return &Admin{cl: cl, adm: kadm.NewClient(cl), log: log}
}

// Kadm is the client beneath, for what Admin does not do.
func (a *Admin) Kadm() *kadm.Client { return a.adm }

// EnsureTopics makes the topics that do not exist, with replication as the
// brokers default to. Of one that exists it raises max.message.bytes when that
// is too small for our records; everything else an operator may have chosen
// stays, and is logged when it differs. Of topics that are called otherwise at
// the brokers pass what [Names.Rename] gives.
func (a *Admin) EnsureTopics(ctx context.Context, ts []topics.Topic) error {
	var errs []error
	for _, t := range ts {
		if err := untilKnown(ctx, func() error { return a.ensureTopic(ctx, t) }); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

const (
	knownWithin = 10 * time.Second
	knownEvery  = 100 * time.Millisecond
)

// untilKnown repeats f while the broker does not know a topic that was made a
// moment ago, by us or by another role that starts at the same time: it says
// that the topic exists before every broker has heard of it.
func untilKnown(ctx context.Context, f func() error) error {
	tick := time.NewTicker(knownEvery)
	defer tick.Stop()
	for end := time.Now().Add(knownWithin); ; {
		err := f()
		if !errors.Is(err, kerr.UnknownTopicOrPartition) || time.Now().After(end) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}

func (a *Admin) ensureTopic(ctx context.Context, t topics.Topic) error {
	configs := make(map[string]*string)
	for k, v := range t.Configs() {
		configs[k] = &v
	}
	_, err := a.adm.CreateTopic(ctx, t.Partitions, -1, configs, t.Name)
	if err == nil {
		a.log.Info("topic created", "topic", t.Name, "partitions", t.Partitions)
		return nil
	}
	if !errors.Is(err, kerr.TopicAlreadyExists) {
		return fmt.Errorf("cannot create topic %q: %w", t.Name, err)
	}
	details, err := a.adm.ListTopics(ctx, t.Name)
	if err != nil {
		return fmt.Errorf("cannot look up topic %q: %w", t.Name, err)
	}
	if have := int32(len(details[t.Name].Partitions)); have != 0 && have < t.Partitions {
		a.log.Warn("topic has fewer partitions than it is meant to have", "topic", t.Name, "has", have, "meant", t.Partitions)
	}
	described, err := a.adm.DescribeTopicConfigs(ctx, t.Name)
	if err != nil {
		return fmt.Errorf("cannot read the settings of topic %q: %w", t.Name, err)
	}
	have := int64(-1)
	for _, rc := range described {
		if rc.Err != nil {
			return fmt.Errorf("cannot read the settings of topic %q: %w", t.Name, rc.Err)
		}
		if n, err := strconv.ParseInt(values(rc.Configs)[configMaxBytes], 10, 64); err == nil {
			have = n
		}
	}
	if have >= int64(t.MaxMessageBytes) {
		return nil
	}
	value := strconv.Itoa(int(t.MaxMessageBytes))
	resps, err := a.adm.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: configMaxBytes, Value: &value}}, t.Name)
	if err == nil && len(resps) > 0 {
		err = resps[0].Err
	}
	if err != nil {
		return fmt.Errorf("topic %q takes messages of %d bytes but needs %d; raising max.message.bytes failed, set it yourself: %w", t.Name, have, t.MaxMessageBytes, err)
	}
	a.log.Info("topic's max.message.bytes raised", "topic", t.Name, "from", have, "to", t.MaxMessageBytes)
	return nil
}

// TopicID is a topic's identity (KIP-516): it is the same over restarts and
// another when a topic of the same name is made again. It is zero when the
// brokers are older than 2.8 and have none.
type TopicID [16]byte

// TopicID returns the id of topic.
func (a *Admin) TopicID(ctx context.Context, topic string) (TopicID, error) {
	req := kmsg.NewPtrMetadataRequest() // kadm would answer from a cache
	req.Topics = []kmsg.MetadataRequestTopic{{Topic: &topic}}
	resp, err := req.RequestWith(ctx, a.cl)
	if err == nil && len(resp.Topics) != 1 {
		err = fmt.Errorf("the broker answered for %d topics", len(resp.Topics))
	}
	if err == nil {
		err = kerr.ErrorForCode(resp.Topics[0].ErrorCode)
	}
	if err != nil {
		return TopicID{}, fmt.Errorf("cannot look up topic %q: %w", topic, err)
	}
	return resp.Topics[0].TopicID, nil
}
