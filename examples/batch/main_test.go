package main

import (
	"strconv"
	"testing"

	"github.com/hoptrace/hoptrace/examples/internal/exampletest"
)

func TestABatchIsOneSpanLinkedToEachSender(t *testing.T) {
	c := exampletest.NewCollector(t)
	if err := run(t.Context(), []string{"-brokers", exampletest.Broker(t), "-endpoint", c.Endpoint}); err != nil {
		t.Fatal(err)
	}
	sent, processed := c.Spans("send "+topic), c.Spans("process "+topic)
	if len(sent) != readings || len(processed) == 0 || len(processed) > readings/2 {
		t.Fatalf("the collector has the spans %v, want %d of send and few of process", c.Names(), readings)
	}
	linked := 0
	for _, p := range processed {
		links := 0
		for _, s := range sent {
			if p.LinkedTo(s) {
				links++
			}
		}
		if got := p.Attribute("messaging.batch.message_count"); got != strconv.Itoa(links) {
			t.Errorf("a batch of %q messages is linked to %d senders", got, links)
		}
		linked += links
	}
	if linked != readings {
		t.Errorf("the batches are linked to %d senders, want %d", linked, readings)
	}
}
