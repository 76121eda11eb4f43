package integration

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/integration/harness"
)

// Somebody tries the examples beside `make run`.
func TestExamplesRunOnTheEmbeddedBroker(t *testing.T) {
	h := harness.StartHoptrace(t, harness.Options{})
	dir := harness.Examples(t, "minimal", "async", "batch", "retry", "sentry", "franz", "sarama")
	from := time.Now()
	run := func(name string, args ...string) {
		t.Helper()
		out := harness.Output(t, time.Minute, harness.Command{
			Name: name, Path: filepath.Join(dir, name), Args: append([]string{"-brokers", h.Kafka, "-endpoint", "http://" + h.GRPC}, args...),
		})
		t.Logf("%s: %s", name, out)
	}
	run("minimal")
	run("async", "-count", "300")
	run("batch")
	run("retry", "-pause", "50ms")
	run("sentry", "-dsn", h.DSN(t))
	run("franz")
	run("sarama")
	harness.WaitDrained(t, h.Kafka, time.Minute, "ingest-spans", "ingest-events", "events")

	hops := func(topic, group string, n int) []harness.Hop {
		t.Helper()
		all := h.AllHops(t, topic, group, from, time.Now().Add(time.Minute))
		if len(all) != n {
			t.Errorf("%d hops over %s by %q are in the store, want %d", len(all), topic, group, n)
		}
		return all
	}
	for _, example := range []string{"minimal", "franz", "sarama"} {
		for _, hop := range hops(example+"-greetings", example, 3) {
			whole(t, hop)
		}
	}
	for _, hop := range hops("batch-readings", "batch", 100) {
		whole(t, hop)
	}
	// Two of four payments fail; one is paid at its third attempt.
	failed := 0
	for _, hop := range append(hops("retry-payments", "retry", 4), hops("retry-payments-later", "retry", 4)...) {
		whole(t, hop)
		if hop.Failed {
			failed++
		}
	}
	if failed != 5 {
		t.Errorf("%d attempts to charge a payment failed, want 5", failed)
	}
	hops("sentry-orders", "sentry", 4)
	for title, offset := range map[string]int64{"an order of nothing": 1, "cannot ship poison": 3} {
		issue := waitIssue(t, h, title, 1)
		var event harness.EventDetail
		h.MustGet(t, "issues/"+issue.ID+"/events/latest", &event)
		if e := event.Event; e.Topic != "sentry-orders" || e.Group != "sentry" || e.Offset == nil || *e.Offset != offset {
			t.Errorf("the event %q is of %s by %q at %v, want sentry-orders by sentry at %d", title, e.Topic, e.Group, e.Offset, offset)
		}
		if m := event.Message; m == nil || m.Hop.Offset == nil || *m.Hop.Offset != offset || !m.Hop.Failed {
			t.Errorf("the event %q does not show the message that caused it: %+v", title, m)
		}
	}
	var topics harness.TopicList
	h.MustGet(t, "topics", &topics)
	if i := slices.IndexFunc(topics.Topics, func(s harness.TopicStats) bool { return s.Topic == "async-clicks" }); i < 0 || topics.Topics[i].Produced != 300 {
		t.Errorf("the topics page does not show 300 messages sent to async-clicks: %+v", topics.Topics)
	}
	stopClean(t, h)
}

// whole wants every part of a hop known and their sum to be the whole.
func whole(t *testing.T, hop harness.Hop) {
	t.Helper()
	if hop.Producer == nil || hop.Consumer == nil || !hop.EndToEnd.Known {
		t.Errorf("hop %s is half: %+v", hop.Record(), hop)
		return
	}
	var sum int64
	for _, p := range hop.Parts {
		if !p.Known {
			t.Errorf("hop %s does not know its part %s", hop.Record(), p.Name)
		}
		sum += p.Ns
	}
	if sum != hop.EndToEnd.Ns {
		t.Errorf("the parts of hop %s sum to %d ns, end to end is %d ns: %+v", hop.Record(), sum, hop.EndToEnd.Ns, hop.Parts)
	}
}
