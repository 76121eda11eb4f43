package kafka

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hoptrace/hoptrace/schemas/topics"
)

func TestTopicsAreMadeWrittenAndReadByTheNamesOfTheBrokers(t *testing.T) {
	cfg := broker(t)
	cfg.Topics = Names{topics.Events: "acme.events", topics.EventsDLQ: "acme.events.dead"}
	a := admin(t, cfg)
	if err := a.EnsureTopics(t.Context(), cfg.Topics.Rename(topics.All())); err != nil {
		t.Fatal(err)
	}
	p, err := NewProducer(cfg, DefaultProducerConfig(), quiet, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(context.Background())
	records := make([]*kgo.Record, 3)
	for i := range records {
		records[i] = &kgo.Record{Topic: topics.Events, Value: fmt.Append(nil, i), Partition: 0}
	}
	if err := p.ProduceSync(t.Context(), records[0]); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 2)
	told := func(r *kgo.Record, err error) {
		if r.Topic != topics.Events {
			err = fmt.Errorf("a record came back with topic %q; want its logical name", r.Topic)
		}
		done <- err
	}
	p.Produce(t.Context(), records[1], told)
	p.TryProduce(t.Context(), records[2], told)
	for range 2 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	if records[0].Topic != topics.Events {
		t.Errorf("the caller's record names topic %q afterwards; want its logical name", records[0].Topic)
	}
	c, err := NewGroupConsumer(cfg, "g", topics.Events, quiet, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseAllowingRebalance()
	for got := 0; got < 3; {
		fetches := c.PollFetches(t.Context())
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		for _, r := range fetches.Records() {
			if r.Topic != "acme.events" {
				t.Errorf("a record was read from %q; want acme.events", r.Topic)
			}
			got++
		}
		c.AllowRebalance()
	}
	there, err := a.Kadm().ListTopics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if there.Has(topics.Events) || there.Has(topics.EventsDLQ) || !there.Has("acme.events.dead") {
		t.Errorf("the brokers have %v; want the names of the configuration only", there.Names())
	}
}

func TestNamesThatMixUpTopicsAreRefused(t *testing.T) {
	f := func(n Names, want ...string) {
		t.Helper()
		cfg := DefaultConfig()
		cfg.Topics = n
		err := cfg.Validate()
		if len(want) == 0 && err != nil {
			t.Errorf("Validate of %v = %v; want nil", n, err)
		}
		for _, w := range want {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("Validate of %v = %v; want %q in it", n, err, w)
			}
		}
	}
	f(Names{topics.Events: "acme_events", topics.Outcomes: topics.Outcomes})
	f(Names{"evnts": "x"}, `kafka.topics: there is no topic "evnts"`, "ingest-spans")
	f(Names{topics.Events: "x", topics.Outcomes: "x"}, `events and outcomes are both "x"`)
	f(Names{topics.Events: topics.Outcomes}, "events=outcomes: that is the name of another topic")
	f(Names{topics.Events: "a/b", topics.Outcomes: ""}, `events="a/b"`, `outcomes=""`)
}

func TestAPlanNamesExactlyWhatDiffersAndApplyingItLeavesNothing(t *testing.T) {
	cfg := broker(t)
	cfg.Topics = Names{topics.Outcomes: "acme.outcomes"}
	a := admin(t, cfg)
	want := cfg.Topics.Rename(topics.All())
	if err := a.EnsureTopics(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	if changes, err := a.Plan(t.Context(), want); err != nil || len(changes) != 0 {
		t.Fatalf("plan of fresh topics = %v, %v; want nothing", changes, err)
	}
	// Broken by hand: one gone, one with too few partitions, one with other settings.
	adm := a.Kadm()
	if _, err := adm.DeleteTopics(t.Context(), topics.Events, topics.IngestEvents); err != nil {
		t.Fatal(err)
	}
	if _, err := adm.CreateTopic(t.Context(), 1, -1, map[string]*string{"max.message.bytes": kadm.StringPtr("4194304"), "retention.ms": kadm.StringPtr("86400000")}, topics.IngestEvents); err != nil {
		t.Fatal(err)
	}
	if _, err := adm.AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: kadm.StringPtr("1000")}}, "acme.outcomes"); err != nil {
		t.Fatal(err)
	}
	changes, err := a.Plan(t.Context(), want)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range changes {
		got = append(got, c.String())
	}
	if diff := cmp.Diff([]string{
		"create topic events with 4 partitions",
		"topic ingest-events: raise partitions from 1 to 4; keys then go to other partitions than before",
		"topic acme.outcomes: set retention.ms from 1000 to 86400000",
	}, got); diff != "" {
		t.Fatalf("plan (-want +got):\n%s", diff)
	}
	n := 0
	if err := a.Apply(t.Context(), changes, func(Change) { n++ }); err != nil || n != 3 {
		t.Fatalf("Apply made %d changes, %v; want 3", n, err)
	}
	if changes, err := a.Plan(t.Context(), want); err != nil || len(changes) != 0 {
		t.Errorf("plan after it was applied = %v, %v; want nothing", changes, err)
	}
}
