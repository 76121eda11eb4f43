package integration

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/integration/harness"
	"github.com/hoptrace/hoptrace/integration/load"
)

// parts of a hop in time order, as the API names them.
var partNames = []string{"batch_queue", "retry", "ack", "backlog", "long_poll", "fetch_queue", "processing"}

// groups of the example, each called after the topic it reads.
var exampleTopics = []string{"orders", "payments", "shipping"}

// ordersRun says how the example runs.
type ordersRun struct {
	count, rate int
	args        []string
}

// ordersSummary is what the example says of its run.
type ordersSummary struct {
	Sent           map[string]int `json:"sent"`
	Processed      map[string]int `json:"processed"`
	Failed         int            `json:"failed"`
	ErrorsReported int            `json:"errors_reported"`
	SpansExported  int            `json:"spans_exported"`
	SpansDropped   int            `json:"spans_dropped"`
	Unfinished     int            `json:"unfinished"`

	order    ordersRun
	from, to time.Time
}

// runOrders runs the example against a server to its end.
func runOrders(t *testing.T, h *harness.Hoptrace, o ordersRun) *ordersSummary {
	t.Helper()
	s := &ordersSummary{order: o, from: time.Now()}
	args := append([]string{
		"--brokers", h.Kafka, "--otlp", "http://" + h.GRPC, "--dsn", h.DSN(t),
		"--count", strconv.Itoa(o.count), "--rate", strconv.Itoa(o.rate), "--payments-delay", "2ms", "--fail-every", "100", "--slow-every", "50",
		"--workers", "64", "--linger", "5ms",
	}, o.args...)
	harness.RunOrders(t, time.Duration(o.count/o.rate)*time.Second+2*time.Minute, s, args...)
	s.to = time.Now()
	messages := 0
	for _, topic := range exampleTopics {
		messages += s.Sent[topic]
		if s.Sent[topic] != o.count {
			t.Errorf("the example sent %d messages to %s, want %d", s.Sent[topic], topic, o.count)
		}
		if s.Processed[topic] < o.count {
			t.Errorf("the example processed %d messages of %s, want %d", s.Processed[topic], topic, o.count)
		}
	}
	if s.SpansDropped != 0 || s.Unfinished != 0 || s.ErrorsReported != s.Failed || s.Failed != o.count/100 {
		t.Errorf("the example dropped %d spans, left %d orders, declined %d payments and reported %d: %+v", s.SpansDropped, s.Unfinished, s.Failed, s.ErrorsReported, s)
	}
	took := s.to.Sub(s.from)
	if rate := float64(messages) / took.Seconds(); messages >= 10_000 && rate < 200 {
		t.Errorf("the example made %.0f messages/s, want 200 and more", rate)
	}
	t.Logf("%d messages on %d topics in %s (%.0f messages/s), %d spans", messages, len(exampleTopics), took.Round(time.Millisecond), float64(messages)/took.Seconds(), s.SpansExported)
	return s
}

// check compares what the API shows with what the example did.
func (s *ordersSummary) check(t *testing.T, h *harness.Hoptrace) {
	t.Helper()
	var topics harness.TopicList
	h.MustGet(t, "topics?exact=true", &topics)
	var sums harness.TopicList
	h.MustGet(t, "topics", &sums)
	var last []harness.Hop
	for _, topic := range exampleTopics {
		hops := h.AllHops(t, topic, topic, s.from, s.to.Add(time.Minute))
		s.checkHops(t, topic, hops)
		s.checkStats(t, topic, topics.Topics, hops, append(slices.Clone(partNames), "end_to_end"), 0.01)
		// Those that one end's row tells are the same by the sums, to their class.
		s.checkStats(t, topic, sums.Topics, hops, []string{"batch_queue", "fetch_queue", "processing"}, 0.06)
		checkAcks(t, topic, sums.Topics, hops)
		last = hops
	}
	s.checkJourneys(t, h, last)
	s.checkIssue(t, h)
}

// checkHops: each record once, all parts known, and their sum the whole.
func (s *ordersSummary) checkHops(t *testing.T, topic string, hops []harness.Hop) {
	t.Helper()
	records := map[string]int{}
	faults := 0
	fault := func(format string, args ...any) {
		t.Helper()
		if faults++; faults <= 5 {
			t.Errorf(format, args...)
		}
	}
	unknown, negative := map[string]int{}, map[string]int{}
	for _, hop := range hops {
		records[hop.Record()]++
		if hop.Producer == nil || hop.Consumer == nil || hop.Partition == nil || hop.Offset == nil {
			fault("hop %s is half: producer %v, consumer %v", hop.Record(), hop.Producer, hop.Consumer)
			continue
		}
		var sum int64
		var names []string
		known := true
		for _, p := range hop.Parts {
			names = append(names, p.Name)
			if !p.Known {
				known = false
				unknown[p.Name]++
			} else if p.Ns < 0 {
				negative[p.Name]++
			}
			sum += p.Ns
		}
		if !slices.Equal(names, partNames) {
			fault("hop %s has the parts %v, want %v", hop.Record(), names, partNames)
		}
		if !hop.EndToEnd.Known {
			fault("the end to end of hop %s is unknown", hop.Record())
		} else if known && sum != hop.EndToEnd.Ns {
			fault("the parts of hop %s sum to %d ns, end to end is %d ns: %+v", hop.Record(), sum, hop.EndToEnd.Ns, hop.Parts)
		}
		start, err1 := strconv.ParseInt(hop.Producer.Start, 10, 64)
		end, err2 := strconv.ParseInt(hop.Consumer.End, 10, 64)
		if err1 != nil || err2 != nil || end-start != hop.EndToEnd.Ns {
			fault("hop %s runs from %s to %s, but end to end is %d ns", hop.Record(), hop.Producer.Start, hop.Consumer.End, hop.EndToEnd.Ns)
		}
	}
	if len(records) != s.Sent[topic] {
		t.Errorf("%s: the hops of %d different records are in the store, want %d", topic, len(records), s.Sent[topic])
	}
	if len(hops) != s.Processed[topic] {
		t.Errorf("%s: %d hops are in the store; the example processed %d messages", topic, len(hops), s.Processed[topic])
	}
	for record, n := range records {
		if n > 1 && s.Processed[topic] == s.Sent[topic] {
			fault("hop %s is in the store %d times", record, n)
		}
	}
	// Nothing hides a part here: one host, stock kafka-go, no TLS.
	if len(unknown) > 0 {
		t.Errorf("%s: unknown parts of %d hops: %v", topic, len(hops), unknown)
	}
	if faults > 0 {
		t.Errorf("%s: %d faults in %d hops", topic, faults, len(hops))
	}
	t.Logf("%s: %d hops of %d records, all seven parts known, each sum exact; negative parts (clocks): %v", topic, len(hops), len(records), negative)
}

// checkStats compares the page of the topics with the hops themselves.
func (s *ordersSummary) checkStats(t *testing.T, topic string, all []harness.TopicStats, hops []harness.Hop, names []string, near float64) {
	t.Helper()
	i := slices.IndexFunc(all, func(st harness.TopicStats) bool { return st.Topic == topic && st.Group == topic })
	if i < 0 {
		t.Errorf("the topics page has no line for %s and its group", topic)
		return
	}
	st := all[i]
	failed := 0
	if topic == "payments" {
		failed = s.Failed
	}
	if st.Produced != s.Sent[topic] || st.Consumed != s.Sent[topic] || st.Failed != failed {
		t.Errorf("%s: the topics page says produced %d, consumed %d, failed %d; want %d, %d, %d", topic, st.Produced, st.Consumed, st.Failed, s.Sent[topic], s.Sent[topic], failed)
	}
	for _, name := range names {
		var exact []int64
		for _, hop := range hops {
			p := hop.EndToEnd
			if name != "end_to_end" {
				j := slices.IndexFunc(hop.Parts, func(p harness.HopPart) bool { return p.Name == name })
				if j < 0 {
					continue
				}
				p = hop.Parts[j]
			}
			if p.Known {
				exact = append(exact, p.Ns)
			}
		}
		j := slices.IndexFunc(st.Parts, func(q harness.Quantiles) bool { return q.Name == name })
		if j < 0 {
			t.Errorf("%s: the topics page has no %s", topic, name)
			continue
		}
		q := st.Parts[j]
		checkQuantiles(t, topic+" "+name, q, exact, exact, near)
	}
}

// checkAcks compares the acks of the sums, which a writer's row tells by itself, with
// the hops: where the broker does not tell when it appended, a reader's answer that came
// before the writer's ends a hop's ack earlier, and the writer's span ends no earlier.
func checkAcks(t *testing.T, topic string, all []harness.TopicStats, hops []harness.Hop) {
	t.Helper()
	var least, most []int64
	for _, hop := range hops {
		if hop.Producer == nil {
			continue // checkHops has said so
		}
		start, err1 := strconv.ParseInt(hop.Producer.Start, 10, 64)
		end, err2 := strconv.ParseInt(hop.Producer.End, 10, 64)
		if err := cmp.Or(err1, err2); err != nil {
			t.Errorf("the producer's times of hop %s: %v", hop.Record(), err)
			return
		}
		written := start
		for _, p := range hop.Parts {
			switch p.Name {
			case "batch_queue", "retry":
				written += p.Ns
			case "ack":
				least, most = append(least, p.Ns), append(most, end-written)
			}
		}
	}
	i := slices.IndexFunc(all, func(st harness.TopicStats) bool { return st.Topic == topic && st.Group == topic })
	if i < 0 {
		t.Errorf("the topics page has no line for %s and its group", topic)
		return
	}
	j := slices.IndexFunc(all[i].Parts, func(q harness.Quantiles) bool { return q.Name == "ack" })
	if j < 0 {
		t.Errorf("%s: the topics page has no ack", topic)
		return
	}
	checkQuantiles(t, topic+" ack", all[i].Parts[j], least, most, 0.06)
}

// checkQuantiles compares what is told with the least and the most that each may be. A
// sketch may be off by a little in rank, and in value where it keeps no exact ones: by
// one in a hundred, or by what a class is wide.
func checkQuantiles(t *testing.T, what string, told harness.Quantiles, least, most []int64, near float64) {
	t.Helper()
	if told.Count != len(least) {
		t.Errorf("%s: the topics page counts %d, the hops are %d", what, told.Count, len(least))
		return
	}
	slices.Sort(least)
	slices.Sort(most)
	for _, c := range []struct {
		p    float64
		told int64
	}{{0.5, told.P50}, {0.95, told.P95}, {0.99, told.P99}} {
		low, high := rank(least, c.p-0.01), rank(most, c.p+0.01)
		slack := int64(math.Abs(float64(high))*near) + 1000
		if c.told < low-slack || c.told > high+slack {
			t.Errorf("%s: p%g on the topics page is %s; by the hops it lies from %s to %s", what, c.p*100,
				time.Duration(c.told), time.Duration(low), time.Duration(high))
		}
	}
}

func rank(sorted []int64, p float64) int64 {
	if len(sorted) == 0 {
		return 0
	}
	i := int(math.Round(p * float64(len(sorted)-1)))
	return sorted[min(max(i, 0), len(sorted)-1)]
}

// checkJourneys opens traces of messages at the end of their way and looks for
// all three hops of the order, joined by ids.
func (s *ordersSummary) checkJourneys(t *testing.T, h *harness.Hoptrace, last []harness.Hop) {
	t.Helper()
	opened := 0
	for i := 0; i < len(last); i += max(1, len(last)/40) {
		hop := last[i]
		if hop.Consumer == nil {
			continue
		}
		opened++
		var j harness.Journey
		h.MustGet(t, "traces/"+hop.Consumer.TraceID, &j)
		if len(j.Cut) > 0 {
			t.Errorf("journey %s is cut: %s", hop.Consumer.TraceID, j.Cut)
		}
		spans := map[string]harness.Span{}
		for _, sp := range j.Spans {
			if _, twice := spans[sp.SpanID]; twice {
				t.Errorf("journey %s has span %s twice", j.TraceID, sp.SpanID)
			}
			spans[sp.SpanID] = sp
		}
		seen := map[string]bool{}
		for _, hp := range j.Hops {
			if hp.Consumer == nil || hp.Producer == nil {
				t.Errorf("journey %s has half a hop: %s", j.TraceID, hp.Record())
				continue
			}
			seen[hp.Topic] = true
			consumer, ok := spans[hp.Consumer.SpanID]
			producer, ok2 := spans[hp.Producer.SpanID]
			if !ok || !ok2 {
				t.Errorf("journey %s does not have both spans of hop %s", j.TraceID, hp.Record())
				continue
			}
			if producer.TraceID != hp.Producer.TraceID || consumer.TraceID != hp.Consumer.TraceID {
				t.Errorf("journey %s: the spans of hop %s are of other traces", j.TraceID, hp.Record())
			}
			joined := consumer.ParentID == producer.SpanID && consumer.TraceID == producer.TraceID
			for _, l := range consumer.Links {
				joined = joined || l.SpanID == producer.SpanID && l.TraceID == producer.TraceID
			}
			if !joined {
				t.Errorf("journey %s: the consumer of hop %s neither links to its producer nor is its child: %+v", j.TraceID, hp.Record(), consumer)
			}
		}
		if len(seen) != len(exampleTopics) || len(j.Hops) < len(exampleTopics) {
			t.Errorf("journey %s has hops over %v, want all of %v", j.TraceID, seen, exampleTopics)
		}
		for _, service := range []string{"checkout", "orders", "payments", "shipping"} {
			if !slices.ContainsFunc(j.Spans, func(sp harness.Span) bool { return sp.Service == service }) {
				t.Errorf("journey %s has no span of %s", j.TraceID, service)
			}
		}
		if t.Failed() {
			return // one journey says enough
		}
	}
	t.Logf("%d journeys opened, each with its three hops and both spans of each", opened)
}

// checkIssue: the example's error is one issue, with the message that caused it.
func (s *ordersSummary) checkIssue(t *testing.T, h *harness.Hoptrace) {
	t.Helper()
	issue := waitIssue(t, h, "CARD_DECLINED", s.ErrorsReported)
	if issue.Records != s.ErrorsReported {
		t.Errorf("the issue counts %d records, want %d", issue.Records, s.ErrorsReported)
	}
	var detail harness.IssueDetail
	h.MustGet(t, "issues/"+issue.ID, &detail)
	for _, e := range detail.Events[:min(5, len(detail.Events))] {
		var event harness.EventDetail
		h.MustGet(t, "issues/"+issue.ID+"/events/"+e.ID, &event)
		m := event.Message
		switch {
		case m == nil:
			t.Errorf("event %s does not show the message that caused it", e.ID)
			continue
		case m.Hop.Topic != "payments" || m.Hop.Group != "payments" || m.Hop.Partition == nil || m.Hop.Offset == nil || e.Partition == nil || e.Offset == nil ||
			*m.Hop.Partition != *e.Partition || *m.Hop.Offset != *e.Offset:
			t.Errorf("event %s of %s/%v/%v shows the message %s", e.ID, e.Topic, e.Partition, e.Offset, m.Hop.Record())
		case !m.Age.Known || m.Age.Ns <= 0 || m.Age.Ns > int64(time.Minute):
			t.Errorf("event %s: the message's age is %+v", e.ID, m.Age)
		case !m.Hop.Failed:
			t.Errorf("event %s: its hop is not marked as failed", e.ID)
		}
		if event.Payload != "stored" || len(event.Exceptions) == 0 {
			t.Errorf("event %s has payload %q and %d exceptions", e.ID, event.Payload, len(event.Exceptions))
		}
	}
}

// checkStore counts rows behind the API's back.
func (s *ordersSummary) checkStore(t *testing.T, e *harness.Engine) {
	t.Helper()
	t.Logf("real part: ClickHouse engine %s", e.Version())
	want := map[string][2]string{}
	for _, topic := range exampleTopics {
		sent, processed := strconv.Itoa(s.Sent[topic]), strconv.Itoa(s.Processed[topic])
		want[topic+" 1"] = [2]string{sent, sent}      // produced
		want[topic+" 3"] = [2]string{processed, sent} // processed
	}
	for _, row := range e.Table("SELECT topic, side, count(), uniqExact(partition, offset) FROM messages WHERE topic IN ('orders', 'payments', 'shipping') AND side != 4 GROUP BY topic, side ORDER BY topic, side") {
		key := row[0] + " " + row[1]
		if got := [2]string{row[2], row[3]}; got != want[key] {
			t.Errorf("the store has %s rows of %s records for topic and side %s, want %s of %s", got[0], got[1], key, want[key][0], want[key][1])
		}
		delete(want, key)
	}
	if len(want) > 0 {
		t.Errorf("the store has no rows for %v", want)
	}
	if rows, ids := e.Number("SELECT count() FROM spans"), e.Number("SELECT uniqExact(trace_id, span_id) FROM spans"); rows != ids || rows != int64(s.SpansExported) {
		t.Errorf("the store has %d spans with %d different ids; the example exported %d", rows, ids, s.SpansExported)
	}
}

func TestTheLineOnTheEmbeddedBroker(t *testing.T) {
	h := harness.StartHoptrace(t, harness.Options{})
	t.Logf("real part: hoptrace's embedded broker; ready %s after the start", h.ReadyAfter.Round(time.Millisecond))
	run := runOrders(t, h, ordersRun{count: 3_400, rate: 250})
	took := harness.WaitDrained(t, h.Kafka, time.Minute, "ingest-spans", "ingest-events", "events")
	t.Logf("all stored %s after the example ended", took.Round(time.Millisecond))
	run.check(t, h)
	stopClean(t, h)
	run.checkStore(t, harness.OpenEngine(t, h.Data))
}

func TestTheLineOnApacheKafka(t *testing.T) {
	kafka := harness.StartKafka(t)
	h := harness.StartHoptrace(t, harness.Options{Brokers: kafka.Address})
	run := runOrders(t, h, ordersRun{count: 3_400, rate: 250, args: []string{"--links"}})
	took := harness.WaitDrained(t, h.Kafka, time.Minute, "ingest-spans", "ingest-events", "events")
	t.Logf("all stored %s after the example ended", took.Round(time.Millisecond))
	run.check(t, h)
	stopClean(t, h)
	run.checkStore(t, harness.OpenEngine(t, h.Data))
}

// stopClean stops the product and wants a clean end with no process left.
func stopClean(t *testing.T, h *harness.Hoptrace) {
	t.Helper()
	children := h.Process.Descendants(t)
	start := time.Now()
	if err := h.Process.Stop(30 * time.Second); err != nil {
		t.Errorf("%s did not end cleanly: %v", h.Process.Name, err)
	}
	t.Logf("%s ended after %s", h.Process.Name, time.Since(start).Round(time.Millisecond))
	for _, pid := range children {
		if harness.Alive(pid) {
			t.Errorf("its child %d lives on", pid)
		}
	}
}

// sendRounds sends whole rounds of the load one after the other.
func sendRounds(t *testing.T, address string, seed uint8, rounds int, l *ledger) {
	t.Helper()
	g, err := load.NewGenerator(seed)
	if err != nil {
		t.Fatal(err)
	}
	s, err := load.NewSender(address)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for round := range uint64(rounds) {
		for i, body := range g.Next(time.Now()) {
			var ids []string
			for _, id := range g.RequestSpanIDs(round, i) {
				ids = append(ids, fmt.Sprintf("%x", id))
			}
			err := l.attempt(ids, func() error {
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				return s.Send(ctx, body)
			})
			if err != nil {
				t.Fatalf("round %d, request %d: %v", round, i, err)
			}
		}
	}
}
