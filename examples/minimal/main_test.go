package main

import (
	"testing"

	"github.com/hoptrace/hoptrace/examples/internal/exampletest"
)

func TestEachGreetingHasItsSpans(t *testing.T) {
	c := exampletest.NewCollector(t)
	if err := run(t.Context(), []string{"-brokers", exampletest.Broker(t), "-endpoint", c.Endpoint}); err != nil {
		t.Fatal(err)
	}
	sent, received, processed := c.Spans("send "+topic), c.Spans("poll "+topic), c.Spans("process "+topic)
	if len(sent) != len(greetings) || len(received) != len(greetings) || len(processed) != len(greetings) {
		t.Fatalf("the collector has the spans %v, want %d of each kind", c.Names(), len(greetings))
	}
	for i, p := range processed {
		if !p.LinkedTo(sent[i]) || p.Service != "minimal" || p.Failed() {
			t.Errorf("span %d is %v, want it linked to the span that sent it, %s", i, p, sent[i].ID())
		}
		for _, key := range []string{"messaging.kafka.offset", "hoptrace.consume.asked", "hoptrace.consume.answered", "hoptrace.consume.handed"} {
			if p.Attribute(key) == "" {
				t.Errorf("span %d lacks %s: %v", i, key, p.Attributes)
			}
		}
		if got, want := p.Attribute("messaging.kafka.offset"), sent[i].Attribute("messaging.kafka.offset"); got != want {
			t.Errorf("span %d is of offset %s, its message was sent to %s", i, got, want)
		}
	}
}
