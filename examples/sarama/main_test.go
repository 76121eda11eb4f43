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
	c.CheckHops(t, "sarama", topic, len(greetings))
}
