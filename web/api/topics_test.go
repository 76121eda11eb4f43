package api

import (
	"encoding/csv"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/web/testdata/fakestore"
)

// hotTopic is a store whose topic has 24 partitions over the hour before testNow, a
// record each minute in each. One of two members leaves after 40 minutes; from then on partition 7 waits.
func hotTopic() *fakestore.Store {
	s := &fakestore.Store{AllProjects: fakestore.Orders(testNow).AllProjects}
	start := testNow.Add(-time.Hour)
	for minute := range 60 {
		for p := range int32(24) {
			at := start.Add(time.Duration(minute)*time.Minute + 5*time.Second + time.Duration(p)*time.Millisecond).UnixNano()
			wait := 20 * time.Millisecond
			member := fmt.Sprintf("payments-%d", p%2)
			if minute >= 40 {
				member = "payments-0"
				if p == 7 {
					wait = 40 * time.Second
				}
			}
			w := schemas.Message{
				Project: 1, Side: schemas.SideProduce, Topic: "payments.v2", Partition: p, Offset: int64(minute), Service: "checkout", RecordTime: at / 1e6 * 1e6,
				Start: at, Written: at + 2e6, Acked: at + 3e6, End: at + 3e6, BodySize: 500,
			}
			r := schemas.Message{
				Project: 1, Side: schemas.SideProcess, Topic: "payments.v2", Partition: p, Offset: int64(minute), Group: "payments", Service: "payments", Instance: member,
				RecordTime: w.RecordTime, Asked: at, Answered: at + int64(wait), Handed: at + int64(wait) + 1e6, Start: at + int64(wait) + 1e6, End: at + int64(wait) + 6e6, BodySize: 500,
			}
			s.AllMessages = append(s.AllMessages, w, r)
		}
	}
	return s
}

func TestATopicSaysWhichPartitionHoldsTheWait(t *testing.T) {
	h := newHandler(t, hotTopic())
	d := get[TopicDetail](t, h, "/topics/payments.v2?from=-1h", http.StatusOK)
	if d.Finding.Rule != "hot" || !strings.Contains(d.Finding.String(), "Partition 7 holds") {
		t.Errorf("finding %s: %s; want that partition 7 holds the wait", d.Finding.Rule, d.Finding)
	}
	if d.Group != "payments" || d.Written == nil || d.Written.Messages != 24*60 || d.StepNs != int64(time.Minute) || d.Slots != 60 {
		t.Fatalf("topic of %d slots of %v, group %q, written %+v; want 60 of a minute and 1,440 messages", d.Slots, time.Duration(d.StepNs), d.Group, d.Written)
	}
	if got := d.Written.Series.Messages[30]; got != 24 {
		t.Errorf("%d written in the step, want 24", got)
	}
	for _, p := range d.Groups[0].Series.Parts {
		if v := p.P50Ns[30]; p.Name == "processing" && (v == nil || *v < 4_700_000 || *v > 5_300_000) {
			t.Errorf("processing p50 %v, want 5 ms", v)
		}
	}
	if z := d.Written.Sizes; z == nil || z.Bytes != 500*24*60 || z.P50 < 475 || z.P50 > 525 {
		t.Errorf("sizes %+v, want 500 bytes each", z)
	}
}

func TestAHeatMapShowsOwnersAndWhenTheyChanged(t *testing.T) {
	h := newHandler(t, hotTopic())
	m := get[Heatmap](t, h, "/topics/payments.v2/heatmap?from=-1h&group=payments", http.StatusOK)
	if len(m.Rows) != 24 || m.Total != 24 || m.Slots != 60 {
		t.Fatalf("%d rows of %d in %d slots, want 24 in 60", len(m.Rows), m.Total, m.Slots)
	}
	hot := m.Rows[7]
	if v := hot.Values[30]; v == nil || *v > int64(time.Second) || hot.Counts[30] != 1 {
		t.Errorf("before: %v of %d messages, want 20 ms of one", v, hot.Counts[30])
	}
	if v := hot.Values[50]; v == nil || *v < int64(38*time.Second) || *v > int64(42*time.Second) {
		t.Errorf("after: %v, want 40 s", v)
	}
	if hot.WaitShare == nil || *hot.WaitShare < 0.9 {
		t.Errorf("share of the wait %v, want nearly all", hot.WaitShare)
	}
	if len(hot.Owned) != 2 || m.Owners[hot.Owned[0].Owner] != "payments-1" || m.Owners[hot.Owned[1].Owner] != "payments-0" {
		t.Errorf("owned by %+v of %q, want payments-1 and then payments-0", hot.Owned, m.Owners)
	}
	if len(m.Rows[6].Owned) != 1 {
		t.Errorf("partition 6 is owned by %+v, want one all the time", m.Rows[6].Owned)
	}
	if len(m.Rebalances) != 1 || m.Rebalances[0].Moved != 12 || strings.Join(m.Rebalances[0].Left, " ") != "payments-1" || len(m.Rebalances[0].Joined) != 0 {
		t.Errorf("rebalances %+v, want one that moved 12 partitions of payments-1", m.Rebalances)
	}
	page := get[Heatmap](t, h, "/topics/payments.v2/heatmap?from=-1h&group=payments&skip=20&limit=10&part=ack&stat=p50", http.StatusOK)
	if len(page.Rows) != 4 || *page.Rows[0].Partition != 20 || page.Total != 24 || len(page.Owners) != 0 {
		t.Errorf("second page: %d rows of %d, owners %q; want 4 of 24, and none of what was written", len(page.Rows), page.Total, page.Owners)
	}
}

func TestATopicAndItsHeatMapAreHadAsTables(t *testing.T) {
	h := newHandler(t, hotTopic())
	table := func(path string) (rows []map[string]string, more string) {
		t.Helper()
		r := exported(t, h, path+"&format=csv")
		lines, err := csv.NewReader(r.Body).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range lines[1:] {
			row := map[string]string{}
			for i, name := range lines[0] {
				row[name] = line[i]
			}
			rows = append(rows, row)
		}
		return rows, r.Trailer.Get("X-Hoptrace-More")
	}
	cells, more := table("/topics/payments.v2/heatmap?from=-1h&group=payments")
	m := get[Heatmap](t, h, "/topics/payments.v2/heatmap?from=-1h&group=payments", http.StatusOK)
	want := 0
	for _, row := range m.Rows {
		for _, n := range row.Counts {
			if n > 0 {
				want++
			}
		}
	}
	if len(cells) != want || want == 0 || more != "false" {
		t.Fatalf("%d cells, more %s; want %d and false", len(cells), more, want)
	}
	hot := cells[slices.IndexFunc(cells, func(c map[string]string) bool {
		return c["partition"] == "7" && c["from"] == string(nanos(m.From.ns()+50*m.StepNs))
	})]
	if hot["valueNs"] != strconv.FormatInt(*m.Rows[7].Values[50], 10) || hot["owners"] != `["payments-0"]` || hot["messages"] != "1" {
		t.Errorf("the hot cell is %v, want what the map has", hot)
	}
	if page, _ := table("/topics/payments.v2/heatmap?from=-1h&group=payments&skip=23&limit=1"); len(page) == 0 || page[0]["partition"] != "23" {
		t.Errorf("a page of one partition has %v", page)
	}
	if all, _ := table("/topics/payments.v2/heatmap?from=-1h&group=payments&skip=22"); len(all) == 0 || all[0]["partition"] != "22" || all[len(all)-1]["partition"] != "23" {
		t.Errorf("from partition 22 on it has %v", all)
	}
	steps, _ := table("/topics/payments.v2?from=-1h&group=payments")
	d := get[TopicDetail](t, h, "/topics/payments.v2?from=-1h&group=payments", http.StatusOK)
	sum := map[string]int{}
	for _, s := range steps {
		n, _ := strconv.Atoi(s["messages"])
		sum[s["side"]+s["group"]] += n
	}
	if sum["written"] != int(d.Written.Messages) || sum["readpayments"] != int(d.Groups[0].Messages) {
		t.Errorf("the steps have %v messages, the topic %d written and %d read", sum, d.Written.Messages, d.Groups[0].Messages)
	}
	if last := steps[len(steps)-1]; last["side"] != "read" || last["residence.p99Ns"] == "" || last["batch_queue.p99Ns"] != "" {
		t.Errorf("the last step is %v, want a read one with its own parts", last)
	}
	lines, _ := table("/topics?from=-1h")
	if len(lines) == 0 || lines[0]["residence.p99Ns"] == "" || lines[0]["residence.negative"] == "" {
		t.Errorf("topics are sent as %v, want columns for their parts", lines)
	}
}

func TestTheRateOfATopicIsTheSameWhateverTheWords(t *testing.T) {
	store := hotTopic()
	late := store.AllMessages[0]
	late.Topic, late.Start, late.Written, late.End = "late", testNow.Add(-10*time.Minute).UnixNano(), 0, testNow.Add(-10*time.Minute).UnixNano()
	store.AllMessages = append(store.AllMessages, late)
	h := newHandler(t, store)
	of := func(path string) float64 {
		t.Helper()
		for _, l := range get[TopicList](t, h, path, http.StatusOK).Topics {
			if l.Topic == "late" {
				return l.ProducedPerSecond + l.ConsumedPerSecond
			}
		}
		t.Fatalf("%s has no topic late", path)
		return 0
	}
	if all, some := of("/topics?from=-2h"), of("/topics?from=-2h&text=late"); all != some || all == 0 {
		t.Errorf("%g a second among all topics, %g by itself", all, some)
	}
}

func TestATopicHasTheSameRateInTheListAndOnItsPage(t *testing.T) {
	h := newHandler(t, hotTopic()) // an hour of messages in a day
	list := get[TopicList](t, h, "/topics?from=-24h&limit=1", http.StatusOK).Topics[0]
	d := get[TopicDetail](t, h, "/topics/payments.v2?from=-24h", http.StatusOK)
	for what, pair := range map[string][2]float64{"written": {list.ProducedPerSecond, d.Written.PerSecond}, "read": {list.ConsumedPerSecond, d.Groups[0].PerSecond}} {
		if pair[0] < 0.39 || pair[0] > 0.41 || pair[1]/pair[0] < 0.99 || pair[1]/pair[0] > 1.01 {
			t.Errorf("%s: %v a second in the list, %v on the page; want 0.4 on both", what, pair[0], pair[1])
		}
	}
}

func TestTopicsAreSortedPagedAndFoundByWords(t *testing.T) {
	h := newHandler(t, fakestore.Orders(testNow))
	all := get[TopicList](t, h, "/topics?from=-24h", http.StatusOK)
	if all.Total != len(all.Topics) || all.Total < 4 {
		t.Fatalf("%d of %d topics", len(all.Topics), all.Total)
	}
	slowest := get[TopicList](t, h, "/topics?from=-24h&sort=wait&limit=2", http.StatusOK)
	if len(slowest.Topics) != 2 || slowest.Total != all.Total {
		t.Errorf("%d topics of %d, want 2 of %d", len(slowest.Topics), slowest.Total, all.Total)
	}
	wait := func(s TopicStats) int64 {
		for _, p := range s.Parts {
			if p.Name == "residence" && p.Count > 0 {
				return p.P99Ns
			}
		}
		return -1
	}
	for _, s := range all.Topics {
		if wait(s) > wait(slowest.Topics[0]) {
			t.Errorf("%s waits longer than the first, %s", s.Topic, slowest.Topics[0].Topic)
		}
	}
	words := get[TopicList](t, h, "/topics?from=-24h&text=PAYM", http.StatusOK)
	if words.Total == 0 || words.Total == all.Total {
		t.Errorf("%d topics with the word of %d", words.Total, all.Total)
	}
	exact := get[TopicList](t, h, "/topics?exact=true", http.StatusOK)
	if exact.Total == 0 || exact.Topics[0].BytesPerSecond != nil {
		t.Errorf("exact: %d topics", exact.Total)
	}
}

func TestTopicsRefuseWhatTheyDoNotKnow(t *testing.T) {
	h := newHandler(t, hotTopic())
	for _, path := range []string{"/topics?sort=age", "/topics?skip=-1", "/topics/payments.v2/heatmap?part=nothing", "/topics/payments.v2/heatmap?stat=p42", "/topics/payments.v2?from=yesterday"} {
		get[map[string]any](t, h, path, http.StatusBadRequest)
	}
	d := get[TopicDetail](t, h, "/topics/none?from=-1h", http.StatusOK)
	if d.Finding.Rule != "nothing" || d.Written != nil || len(d.Groups) != 0 {
		t.Errorf("a topic that nobody uses: %+v", d)
	}
	if m := get[Heatmap](t, h, "/topics/none/heatmap", http.StatusOK); m.Total != 0 || m.Rows == nil {
		t.Errorf("its heat map: %+v", m)
	}
	d = get[TopicDetail](t, h, "/topics/payments.v2", http.StatusOK) // all time begins with the first message
	if d.Written == nil || d.Written.Messages != 24*60 || d.Slots > maxSteps {
		t.Errorf("all time: %d slots, %+v", d.Slots, d.Written)
	}
}

func TestARangeIsAtMost120Steps(t *testing.T) {
	for _, d := range []time.Duration{time.Second, 15 * time.Minute, time.Hour, 2 * time.Hour, 6 * time.Hour, 24 * time.Hour, 7 * 24 * time.Hour, 90 * 24 * time.Hour, 20 * 365 * 24 * time.Hour} {
		r, step, n := topicSteps(exporters.Range{From: testNow.Add(-d - 7*time.Second), To: testNow})
		if n < 1 || n > maxSteps || r.From.Add(time.Duration(n)*step).Before(r.To) || step >= exporters.TopologySlot && r.From.Truncate(exporters.TopologySlot) != r.From {
			t.Errorf("%v is %d steps of %v from %v", d, n, step, r.From)
		}
	}
}
