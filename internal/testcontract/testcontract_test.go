package testcontract

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hoptrace/hoptrace/internal/embeddedkafka"
	"github.com/hoptrace/hoptrace/internal/kafka"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/schemas/topics"
)

// recorder is a test that may fail.
type recorder struct {
	testing.TB
	faults []string
}

func (r *recorder) Errorf(format string, args ...any) {
	r.faults = append(r.faults, fmt.Sprintf(format, args...))
}

func TestARecordThatBreaksItsContractIsNamed(t *testing.T) {
	quiet := slog.New(slog.DiscardHandler)
	bc := embeddedkafka.DefaultConfig()
	bc.Dir, bc.Listen = t.TempDir(), "127.0.0.1:0"
	b, err := embeddedkafka.New(bc, quiet)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.Shutdown(context.Background()) }()
	cfg := kafka.Config{Brokers: []string{b.Addr()}, Topics: kafka.Names{topics.Outcomes: "acme.outcomes"}}
	p, err := kafka.NewProducer(cfg, kafka.DefaultProducerConfig(), quiet, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(context.Background())
	if err := kafka.NewAdmin(p.Client(), quiet).EnsureTopics(t.Context(), cfg.Topics.Rename(topics.All())); err != nil {
		t.Fatal(err)
	}
	if counts := Check(t, cfg); len(counts) > 0 {
		t.Errorf("fresh topics have %v", counts)
	}
	put := func(topic, value string) {
		t.Helper()
		r := &kgo.Record{Topic: topic, Value: []byte(value), Headers: []kgo.RecordHeader{{Key: schemas.HeaderSchema, Value: []byte(topic + "/1")}}}
		if err := p.ProduceSync(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	for range 5 {
		put(topics.Outcomes, `{"timestamp":"2026-11-30T10:00:00Z","project_id":1,"outcome":1}`)
	}
	if diff := cmp.Diff(map[string]int{topics.Outcomes: 5}, Check(t, cfg)); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	put(topics.Outcomes, `{"timestamp":"2026-11-30T10:00:00Z","project_id":1,"outcome":"filtered"}`)
	put(topics.Events, `[2]`)
	rec := &recorder{TB: t}
	Check(rec, cfg, topics.Events)
	if len(rec.faults) != 1 || !strings.Contains(rec.faults[0], "topic acme.outcomes partition") || !strings.Contains(rec.faults[0], "outcomes: outcome: want an integer, got string") {
		t.Errorf("faults %q; want the one record that is broken", rec.faults)
	}
}
