package main

import (
	"strconv"
	"testing"

	"github.com/hoptrace/hoptrace/examples/internal/exampletest"
)

func TestALaterAttemptKnowsTheEarlierOnes(t *testing.T) {
	c := exampletest.NewCollector(t)
	if err := run(t.Context(), []string{"-brokers", exampletest.Broker(t), "-endpoint", c.Endpoint, "-pause", "10ms"}); err != nil {
		t.Fatal(err)
	}
	first, later, dead := c.Spans("process "+topicPayments), c.Spans("process "+topicLater), c.Spans("send "+topicDead)
	if len(first) != len(payments) || len(later) != 4 || len(dead) != 1 {
		t.Fatalf("the collector has the spans %v, want %d first attempts, 4 later ones and one dead letter", c.Names(), len(payments))
	}
	failed := map[string]exampletest.Span{} // by the offset of the payment
	for _, s := range first {
		if s.Failed() {
			failed[s.Attribute("messaging.kafka.offset")] = s
		}
	}
	if len(failed) != 2 {
		t.Fatalf("%d first attempts failed, want 2", len(failed))
	}
	attempts := map[string]int{}
	for _, s := range later {
		origin := s.Attribute("hoptrace.retry.original_offset")
		attempts[origin]++
		if got := s.Attribute("hoptrace.retry.attempt"); got != strconv.Itoa(attempts[origin]) {
			t.Errorf("an attempt says it is retry %s of the payment at offset %s, want %d", got, origin, attempts[origin])
		}
		if got := s.Attribute("messaging.message.retry.count"); got != strconv.Itoa(attempts[origin]) {
			t.Errorf("retry %d has retry.count %q", attempts[origin], got)
		}
		if s.Attribute("hoptrace.retry.original_topic") != topicPayments || s.Attribute("hoptrace.retry.first_seen") == "" {
			t.Errorf("an attempt does not know where its payment came from: %v", s.Attributes)
		}
		if !s.LinkedTo(failed[origin]) {
			t.Errorf("retry %d does not link to the first attempt, %s: %v", attempts[origin], failed[origin].ID(), s.Links)
		}
	}
	if last := later[len(later)-1]; dead[0].Parent() != last.ID() || !last.Failed() {
		t.Errorf("the dead letter was sent below %s, want the last attempt, %s", dead[0].Parent(), last.ID())
	}
	if !c.HasMetric("hoptrace.retry.time") {
		t.Error("the time in retry was not measured apart")
	}
}
