package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/hoptrace/hoptrace/schemas/topics"
)

// Change is one difference between a topic's contract and the brokers.
type Change struct {
	Topic topics.Topic // with the brokers' name

	// Config is the configuration that differs; "partitions" are too few of
	// them; "" is a topic that is missing.
	Config string

	// Have and Want are its values. Have is empty where there is none.
	Have, Want string
}

const changePartitions = "partitions"

// String says what applying the change does.
func (c Change) String() string {
	switch c.Config {
	case "":
		return fmt.Sprintf("create topic %s with %d partitions", c.Topic.Name, c.Topic.Partitions)
	case changePartitions:
		return fmt.Sprintf("topic %s: raise partitions from %s to %s; keys then go to other partitions than before", c.Topic.Name, c.Have, c.Want)
	}
	have := c.Have
	if have == "" {
		have = "nothing"
	}
	return fmt.Sprintf("topic %s: set %s from %s to %s", c.Topic.Name, c.Config, have, c.Want)
}

// Plan compares topics with the brokers and changes nothing. More partitions
// than the contract's are no difference, nor is a configuration that it does
// not name.
func (a *Admin) Plan(ctx context.Context, ts []topics.Topic) ([]Change, error) {
	names := make([]string, len(ts))
	for i, t := range ts {
		names[i] = t.Name
	}
	partitions, err := a.partitions(ctx, names)
	if err != nil {
		return nil, err
	}
	var out []Change
	var there []string
	for _, t := range ts {
		have, ok := partitions[t.Name]
		if !ok {
			out = append(out, Change{Topic: t})
			continue
		}
		there = append(there, t.Name)
		if have < int(t.Partitions) {
			out = append(out, Change{Topic: t, Config: changePartitions, Have: fmt.Sprint(have), Want: fmt.Sprint(t.Partitions)})
		}
	}
	if len(there) == 0 {
		return out, nil
	}
	described, err := a.adm.DescribeTopicConfigs(ctx, there...)
	if err != nil {
		return nil, fmt.Errorf("cannot read the settings of %d topics: %w", len(there), err)
	}
	have := map[string]map[string]string{}
	for _, rc := range described {
		if rc.Err != nil {
			return nil, fmt.Errorf("cannot read the settings of topic %q: %w", rc.Name, rc.Err)
		}
		have[rc.Name] = values(rc.Configs)
	}
	for _, t := range ts {
		if !slices.Contains(there, t.Name) {
			continue
		}
		want := t.Configs()
		for _, key := range slices.Sorted(maps.Keys(want)) {
			if got := have[t.Name][key]; got != want[key] {
				out = append(out, Change{Topic: t, Config: key, Have: got, Want: want[key]})
			}
		}
	}
	slices.SortStableFunc(out, func(x, y Change) int {
		return slices.Index(names, x.Topic.Name) - slices.Index(names, y.Topic.Name)
	})
	return out, nil
}

// partitions counts the partitions of those of the topics that exist.
func (a *Admin) partitions(ctx context.Context, names []string) (map[string]int, error) {
	req := kmsg.NewPtrMetadataRequest() // kadm would answer from a cache
	for _, name := range names {
		req.Topics = append(req.Topics, kmsg.MetadataRequestTopic{Topic: &name})
	}
	resp, err := req.RequestWith(ctx, a.cl)
	if err != nil {
		return nil, fmt.Errorf("cannot look up %d topics: %w", len(names), err)
	}
	out := make(map[string]int, len(names))
	for _, t := range resp.Topics {
		switch err := kerr.ErrorForCode(t.ErrorCode); {
		case errors.Is(err, kerr.UnknownTopicOrPartition):
		case err != nil:
			return nil, fmt.Errorf("cannot look up topic %q: %w", *t.Topic, err)
		default:
			out[*t.Topic] = len(t.Partitions)
		}
	}
	return out, nil
}

// values are the configurations in force: a broker may list its default beside
// the topic's own.
func values(configs []kadm.Config) map[string]string {
	out := make(map[string]string, len(configs))
	own := make(map[string]bool, len(configs))
	for _, kv := range configs {
		isOwn := kv.Source == kmsg.ConfigSourceDynamicTopicConfig
		if own[kv.Key] && !isOwn {
			continue
		}
		out[kv.Key], own[kv.Key] = kv.MaybeValue(), isOwn
	}
	return out
}

// Apply makes the changes that Plan found. It goes on after one that fails and
// names all that did.
func (a *Admin) Apply(ctx context.Context, changes []Change, done func(Change)) error {
	var errs []error
	for _, c := range changes {
		if err := untilKnown(ctx, func() error { return a.apply(ctx, c) }); err != nil {
			errs = append(errs, fmt.Errorf("cannot %s: %w", c, err))
			continue
		}
		done(c)
	}
	return errors.Join(errs...)
}

func (a *Admin) apply(ctx context.Context, c Change) error {
	switch c.Config {
	case "":
		return a.ensureTopic(ctx, c.Topic)
	case changePartitions:
		resps, err := a.adm.UpdatePartitions(ctx, int(c.Topic.Partitions), c.Topic.Name)
		if err != nil {
			return err
		}
		return resps.Error()
	}
	resps, err := a.adm.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: c.Config, Value: &c.Want}}, c.Topic.Name)
	if err == nil && len(resps) > 0 {
		err = resps[0].Err
	}
	return err
}
