package finding

import (
	"strings"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// failures are n records, each of one event, of a topic whose 1,000 other records
// lie in four partitions and are seconds old; change sets what the case is about.
func failures(n uint64, change func(*exporters.IssueMessages)) exporters.IssueMessages {
	m := exporters.IssueMessages{Events: n, Placed: n, Records: n, FewestEvents: 1, MostEvents: 1, Sample: 1, First: 5000, Last: 9000}
	m.Worst = []exporters.RecordEvents{{Record: schemas.RecordRef{Topic: "orders", Partition: 3, Offset: 7}, Events: 1, TraceID: schemas.TraceID{1}}}
	for _, d := range exporters.Dimensions {
		v := exporters.MessageValue{Value: "some " + string(d), Events: n, Records: n, Baseline: 1000, Since: 100}
		if d == exporters.DimPartition {
			v.Topic, v.Value = "orders", "3"
		}
		m.By = append(m.By, exporters.MessageDimension{Dimension: d, Events: n, Records: n, Baseline: 1000, Values: []exporters.MessageValue{v}})
	}
	m.Age = exporters.MessageAge{Events: n, Min: time.Second, P50: 2 * time.Second, Max: 5 * time.Second, KnownRecords: n, KnownBaseline: 1000}
	m.Age.Baseline[4] = 1000
	if change != nil {
		change(&m)
	}
	return m
}

// among gives a dimension's value so many records of the baseline.
func among(d exporters.Dimension, baseline uint64) func(*exporters.IssueMessages) {
	return func(m *exporters.IssueMessages) {
		for i := range m.By {
			if m.By[i].Dimension == d {
				m.By[i].Values[0].Baseline = baseline
			}
		}
	}
}

func TestMessageFindings(t *testing.T) {
	f := func(name string, m exporters.IssueMessages, rule string, want ...string) {
		t.Helper()
		got := ForMessages(m)
		if got.Rule != rule {
			t.Errorf("%s: rule %s, want %s: %s", name, got.Rule, rule, got)
		}
		for _, w := range want {
			if !strings.Contains(got.String(), w) {
				t.Errorf("%s: %q lacks %q", name, got, w)
			}
		}
		if strings.Contains(got.String(), "..") || strings.Contains(got.String(), "  ") {
			t.Errorf("%s: %q", name, got)
		}
	}
	retried := func(events, records, fewest, most uint64) func(*exporters.IssueMessages) {
		return func(m *exporters.IssueMessages) {
			m.Events, m.Placed, m.Records, m.FewestEvents, m.MostEvents = events, events, records, fewest, most
			m.Worst[0].Events = most
		}
	}
	f("four poisoned records", failures(4, retried(312, 4, 78, 78)), "few-records", "All 312 events come from 4 records, retried 78 times each", "The record of most events is orders/3@7 with 78.")
	f("retried unevenly", failures(4, retried(60, 4, 3, 40)), "few-records", "All 60 events come from 4 records, retried 3 to 40 times each")
	f("one record", failures(1, retried(9, 1, 9, 9)), "one-record", "All 9 events come from one record")
	read := func(times uint64, m func(*exporters.IssueMessages)) func(*exporters.IssueMessages) {
		return func(x *exporters.IssueMessages) { m(x); x.Worst = x.Worst[:1]; x.Worst[0].Reads = times }
	}
	f("one record, read once", failures(1, read(1, retried(9, 1, 9, 9))), "one-record", "All 9 events come from one record, which was read once")
	f("one record, read less often than it failed", failures(1, read(3, retried(9, 1, 9, 9))), "one-record", "one record, which was read 3 times")
	f("one record, read as often", failures(1, read(9, retried(9, 1, 9, 9))), "one-record", "one record, retried again and again")
	f("records read once", failures(4, read(1, retried(312, 4, 78, 78))), "few-records", "All 312 events come from 4 records, 78 times each")
	f("twice is no loop", failures(1, retried(2, 1, 2, 2)), "too-few", "2 events from one record: too few")
	f("a few events each", failures(6, retried(18, 6, 3, 3)), "nothing")
	f("some of many", failures(40, func(m *exporters.IssueMessages) {
		retried(640, 40, 1, 200)(m)
		m.Worst = []exporters.RecordEvents{{Events: 200}, {Events: 200}, {Events: 204}}
	}), "some-records", "604 of 640 events come from 3 records of 40")
	f("not all are placed", failures(4, func(m *exporters.IssueMessages) {
		retried(312, 4, 78, 78)(m)
		m.Events = 400
	}), "few-records", "312 of 400 events come from 4 records", "Of 88 events no record is known.")

	f("one partition of four", failures(40, among(exporters.DimPartition, 250)), "one-partition", "All 40 records that fail are of orders p3, which has 25.00% of all")
	f("five of a quarter are enough", failures(5, among(exporters.DimPartition, 250)), "one-partition")
	f("five of a half are chance", failures(5, among(exporters.DimPartition, 500)), "nothing")
	f("four are too few", failures(4, among(exporters.DimPartition, 10)), "too-few")
	f("a partition that nearly all are of", failures(400, among(exporters.DimPartition, 900)), "nothing")
	f("too few to compare with", failures(40, func(m *exporters.IssueMessages) {
		for i := range m.By {
			m.By[i].Baseline, m.By[i].Values[0].Baseline = 19, 1
		}
	}), "nothing")
	f("the other fifth is elsewhere", failures(40, func(m *exporters.IssueMessages) {
		among(exporters.DimPartition, 100)(m)
		m.By[1].Values[0].Records = 32
		m.By[1].Values = append(m.By[1].Values, exporters.MessageValue{Topic: "orders", Value: "1", Records: 8, Baseline: 900})
	}), "nothing")
	f("a value that half of them do not tell", failures(40, func(m *exporters.IssueMessages) {
		among(exporters.DimProducerRelease, 100)(m)
		m.By[4].Records, m.By[4].Values[0].Records = 20, 20
	}), "nothing")
	f("a release that the baseline never saw", failures(40, among(exporters.DimProducerRelease, 0)), "nothing")
	f("one key is one partition", failures(40, func(m *exporters.IssueMessages) {
		among(exporters.DimKey, 5)(m)
		among(exporters.DimPartition, 250)(m)
	}), "one-key", "have the key #some key, which 0.50% of all have")
	f("one producer release", failures(40, among(exporters.DimProducerRelease, 100)), "one-producer-release", "were sent by some producer_release, which sent 10.00% of all")
	f("one consumer", failures(40, among(exporters.DimMember, 300)), "one-member", "by the consumer some member, which processed 30.00% of all")
	f("one group", failures(40, among(exporters.DimGroup, 300)), "one-group", "were read by group some group")
	release := func(since, other int64) func(*exporters.IssueMessages) {
		return func(m *exporters.IssueMessages) {
			among(exporters.DimRelease, 200)(m)
			m.By[5].Values[0].Since = since
			m.By[5].Values = append(m.By[5].Values, exporters.MessageValue{Value: "worker@1", Baseline: 800, Since: other})
		}
	}
	f("since a release", failures(40, release(4000, 100)), "since-release", "were processed by some release, and none before it came; it processed 20.00% of all")
	f("a release beside a newer one", failures(40, release(100, 4000)), "one-release", "were processed by some release, which processed 20.00% of all")
	f("events from before the release", failures(40, release(6000, 100)), "one-release")
	aged := func(lowest time.Duration, younger uint64) func(*exporters.IssueMessages) {
		return func(m *exporters.IssueMessages) {
			m.Age.Min, m.Age.P50 = lowest, 2*lowest
			m.Age.Baseline = [len(exporters.AgeBounds) + 1]uint64{}
			m.Age.Baseline[2], m.Age.Baseline[8] = younger, 1000-younger
		}
	}
	f("only old ones", failures(40, aged(7*time.Minute, 970)), "only-old", "Only messages older than 5m0s fail; 97.00% of all were younger", "Half of the messages were older than 14m0s")
	f("all are old", failures(40, aged(7*time.Minute, 100)), "nothing")
	f("seconds are not old", failures(40, aged(2*time.Second, 970)), "nothing")
	f("two at once", failures(40, func(m *exporters.IssueMessages) {
		aged(7*time.Minute, 970)(m)
		among(exporters.DimPartition, 100)(m)
	}), "one-partition", "Only messages older than 5m0s fail; 97.00% of all were younger.")

	f("nothing", failures(40, nil), "nothing", "Nothing about the messages sets these apart")
	f("no row to compare with", failures(40, func(m *exporters.IssueMessages) {
		m.Sample, m.Age.KnownBaseline = 0, 0
		for i := range m.By {
			m.By[i].Baseline = 0
		}
	}), "no-baseline", "40 events from 40 records; how other records compare is not known")
	f("no record", failures(0, func(m *exporters.IssueMessages) { m.Events = 9 }), "no-record", "No message is known to have caused its 9 events")
	f("no record of one", failures(0, func(m *exporters.IssueMessages) { m.Events = 1 }), "no-record", "caused its event")
	f("no event", exporters.IssueMessages{}, "no-events")
	f("cut", failures(40, func(m *exporters.IssueMessages) { m.More = true }), "nothing", "Only the newest 100000 events were looked at.")
}

func TestNumbersOfMessagesLeadToTheirEvidence(t *testing.T) {
	got := ForMessages(failures(4, func(m *exporters.IssueMessages) {
		m.Events, m.Placed, m.Records, m.FewestEvents, m.MostEvents = 312, 312, 4, 78, 78
	}))
	for _, p := range got.Title {
		if p.Kind == KindCount && p.Href == "" {
			t.Errorf("the count %v of %s leads nowhere", p.Value, got)
		}
	}
	got = ForMessages(failures(40, among(exporters.DimPartition, 100)))
	for _, p := range got.Title {
		if p.Kind != KindText && p.Href == "" {
			t.Errorf("%v of %s leads nowhere", p.Value, got)
		}
	}
}
