package main

import (
	"testing"

	"github.com/hoptrace/hoptrace/examples/internal/exampletest"
)

func TestErrorsAndPanicsNameTheirMessage(t *testing.T) {
	c, s := exampletest.NewCollector(t), exampletest.NewSentry(t)
	if err := run(t.Context(), []string{"-brokers", exampletest.Broker(t), "-endpoint", c.Endpoint, "-dsn", s.DSN}); err != nil {
		t.Fatal(err)
	}
	processed := c.Spans("process " + topic)
	if len(processed) != len(orders) {
		t.Fatalf("the collector has the spans %v, want %d of process", c.Names(), len(orders))
	}
	events := s.Events()
	if len(events) != 2 {
		t.Fatalf("Sentry has %d events, want one of the error and one of the panic: %+v", len(events), events)
	}
	for i, want := range []struct {
		text   string
		offset int
	}{{"an order of nothing", 1}, {"cannot ship poison", 3}} {
		e, span := events[i], processed[want.offset]
		if e.Text() != want.text || e.Release != "sentry-example@1.0.0" {
			t.Errorf("event %d says %q of release %q, want %q", i, e.Text(), e.Release, want.text)
		}
		if !span.Failed() || e.Contexts.Trace.TraceID != span.Trace() || e.Contexts.Trace.SpanID != span.ID() {
			t.Errorf("event %d is of span %+v, want the process span %s of %s, failed", i, e.Contexts.Trace, span.ID(), span.Trace())
		}
		k := e.Contexts.Kafka
		if k["topic"] != topic || k["partition"] != 0.0 || k["offset"] != float64(want.offset) || k["group"] != "sentry" || k["attempt"] != 1.0 {
			t.Errorf("event %d has the message %v", i, k)
		}
		for _, key := range []string{"member", "record_time", "age_ms", "broker_residence_ms", "fetch_queue_ms", "processing_ms"} {
			if k[key] == nil {
				t.Errorf("event %d does not tell %s: %v", i, key, k)
			}
		}
	}
	for i, sent := range c.Spans("send " + topic) {
		if p := processed[i]; p.Trace() != sent.Trace() || p.Parent() != sent.ID() {
			t.Errorf("the process span of message %d is below %s of %s, want its sender, %s of %s", i, p.Parent(), p.Trace(), sent.ID(), sent.Trace())
		}
	}
}
