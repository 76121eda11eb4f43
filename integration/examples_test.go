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
	dir := harness.Examples(t, "minimal", "async", "batch", "franz")
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
	run("franz")
	harness.WaitDrained(t, h.Kafka, time.Minute, "ingest-spans", "ingest-events")

	hops := func(topic, group string, n int) []harness.Hop {
		t.Helper()
		all := h.AllHops(t, topic, group, from, time.Now().Add(time.Minute))
		if len(all) != n {
			t.Errorf("%d hops over %s by %q are in the store, want %d", len(all), topic, group, n)
		}
		return all
	}
	for _, example := range []string{"minimal", "franz"} {
		for _, hop := range hops(example+"-greetings", example, 3) {
			whole(t, hop)
		}
	}
	for _, hop := range hops("batch-readings", "batch", 100) {
		if hop.Producer == nil || hop.Consumer == nil || !hop.EndToEnd.Known {
			t.Errorf("hop %s is half: %+v", hop.Record(), hop)
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
