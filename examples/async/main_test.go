package main

import (
	"testing"

	"github.com/hoptrace/hoptrace/examples/internal/exampletest"
)

func TestEachClickHasASpanWithItsPlace(t *testing.T) {
	c := exampletest.NewCollector(t)
	if err := run(t.Context(), []string{"-brokers", exampletest.Broker(t), "-endpoint", c.Endpoint, "-count", "500"}); err != nil {
		t.Fatal(err)
	}
	sent := c.Spans("send " + topic)
	if len(sent) != 500 {
		t.Fatalf("the collector has the spans %v, want 500 of send", c.Names())
	}
	places := map[string]bool{}
	for _, s := range sent {
		if s.Failed() || s.Attribute("hoptrace.produce.acked") == "" {
			t.Fatalf("a click's span does not tell the broker's answer: %v", s)
		}
		places[s.Attribute("messaging.destination.partition.id")+"/"+s.Attribute("messaging.kafka.offset")] = true
	}
	if len(places) != len(sent) {
		t.Errorf("500 clicks are at %d places", len(places))
	}
}
