// Package testcontract holds what lies on a cluster's topics against their
// contracts: a test calls it when stages have run, so that each record that
// they really produced is decoded by its schema. It is for tests only.
package testcontract

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hoptrace/hoptrace/internal/kafka"
	"github.com/hoptrace/hoptrace/schemas/topics"
	"github.com/hoptrace/hoptrace/schemas/wire"
)

// Check reads all records of the line's topics, those of dead letters among
// them, from their beginning to where they end now. It fails t for each that is
// not what its topic's contract says, and counts the records by topic. except
// names topics to leave out, such as those that the test itself put rubbish on.
func Check(t testing.TB, cfg kafka.Config, except ...string) map[string]int {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	quiet := slog.New(slog.DiscardHandler)
	client, err := kafka.NewClient(cfg, quiet, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	adm := kafka.NewAdmin(client, quiet).Kadm()

	skip := map[string]bool{}
	for _, name := range except {
		skip[name] = true
	}
	there, err := adm.ListTopics(ctx)
	if err != nil {
		t.Fatal(err)
	}
	logical := map[string]string{}
	var names []string
	for _, topic := range topics.All() {
		if physical := cfg.Topics.Physical(topic.Name); there.Has(physical) && !skip[topic.Name] {
			logical[physical] = topic.Name
			names = append(names, physical)
		}
	}
	if len(names) == 0 {
		t.Fatal("the cluster has no topic of the line")
	}
	starts, err := adm.ListStartOffsets(ctx, names...)
	if err != nil {
		t.Fatal(err)
	}
	ends, err := adm.ListEndOffsets(ctx, names...)
	if err != nil {
		t.Fatal(err)
	}
	left := map[string]map[int32]int64{} // where each partition ends that is not read yet
	from := map[string]map[int32]kgo.Offset{}
	for _, name := range names {
		for partition, end := range ends[name] {
			start, _ := starts.Lookup(name, partition)
			if end.Err != nil || start.Err != nil || start.Offset >= end.Offset {
				continue
			}
			if left[name] == nil {
				left[name], from[name] = map[int32]int64{}, map[int32]kgo.Offset{}
			}
			left[name][partition] = end.Offset
			from[name][partition] = kgo.NewOffset().At(start.Offset)
		}
	}
	counts := map[string]int{}
	if len(left) == 0 {
		return counts
	}
	reader, err := kafka.NewClient(cfg, quiet, nil, kgo.ConsumePartitions(from))
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	for len(left) > 0 {
		fetches := reader.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("cannot read all records, %v are left: %v", left, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			end, reading := left[r.Topic][r.Partition]
			if !reading || r.Offset >= end {
				return
			}
			counts[logical[r.Topic]]++
			err := wire.CheckRecord(logical[r.Topic], func(name string) string {
				for i := len(r.Headers) - 1; i >= 0; i-- {
					if r.Headers[i].Key == name {
						return string(r.Headers[i].Value)
					}
				}
				return ""
			}, r.Value)
			if err != nil {
				t.Errorf("topic %s partition %d offset %d breaks its contract: %v", r.Topic, r.Partition, r.Offset, err)
			}
			if r.Offset == end-1 {
				if delete(left[r.Topic], r.Partition); len(left[r.Topic]) == 0 {
					delete(left, r.Topic)
				}
			}
		})
	}
	return counts
}
