package finding

import (
	"strings"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
)

func TestBatchFindingsLeadToWhatTheyCount(t *testing.T) {
	f := func(name string, facts BatchFacts, rule, want string, hrefs ...string) {
		t.Helper()
		facts.Name = "process orders"
		got := ForBatch(facts)
		if got.Rule != rule || !strings.Contains(got.String(), want) {
			t.Errorf("%s: rule %s, %q; want %s, %q", name, got.Rule, got, rule, want)
		}
		var led []string
		for _, p := range append(got.Title, got.Text...) {
			if p.Href != "" {
				led = append(led, p.Href)
			}
		}
		if strings.Join(led, " ") != strings.Join(hrefs, " ") {
			t.Errorf("%s: it leads to %q; want %q", name, led, hrefs)
		}
	}
	oldest := BatchFacts{Records: 3, Known: 3, Median: time.Second, Oldest: time.Minute, OldestTopic: "orders", OldestPartition: 2, OldestHref: "/records/orders/2/7"}
	f("many", oldest, "batch", "read 3 records, half of them older than 1s", "?order=place&skip=0", "?order=oldest&skip=0", "/records/orders/2/7")
	part := oldest
	part.Part, part.PartShare, part.Negative = exporters.PartBacklog, 0.9, 1
	f("a backlog, and one below zero", part, "batch", "90.00% of what is known of their ages was the backlog", "?order=place&skip=0", "?order=oldest&skip=0", "/records/orders/2/7", "?order=backlog&skip=0", "?order=youngest&skip=0")
	part.Part, part.Negative = exporters.PartRetry, 0
	f("retries, by which nothing is ordered", part, "batch", "their ages was retries", "?order=place&skip=0", "?order=oldest&skip=0", "/records/orders/2/7")
	part.Negative = 2
	f("most below zero", part, "batch-negative", "2 ages are negative", "?order=youngest&skip=0", "/records/orders/2/7", "?order=youngest&skip=0")
	cut := oldest
	cut.Told = 5000
	f("more than it names", cut, "batch", "read 5000 records, half of those that it names older than 1s", "?order=place&skip=0", "?order=oldest&skip=0", "/records/orders/2/7")
	one := BatchFacts{Records: 1, Known: 1, Median: time.Minute, Oldest: time.Minute, OldestTopic: "orders", OldestHref: "/records/orders/2/7"}
	f("one", one, "batch-one", "process orders read one record, 1m0s old", "/records/orders/2/7")
	f("one of unknown age", BatchFacts{Records: 1}, "batch-unknown", "read one record, and nobody tells their age", "?order=place&skip=0")
}
