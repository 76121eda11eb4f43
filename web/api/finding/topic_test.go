package finding

import (
	"strings"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
)

func TestTopicFindings(t *testing.T) {
	q := func(d time.Duration) exporters.Quantiles { return exporters.Quantiles{Count: 10, P99: d} }
	partition := func(n int32, waited, p99 time.Duration) exporters.PartitionSum {
		return exporters.PartitionSum{Partition: n, Waited: waited, Part: q(p99)}
	}
	evenly := []uint64{100, 100, 100, 100, 100, 100, 3}
	group := TopicSide{Group: "g", Messages: 600, Steps: evenly, Parts: map[exporters.PartName]exporters.Quantiles{exporters.PartProcessing: q(40 * time.Millisecond), exporters.PartResidence: {Count: 600}}}
	f := func(rule, words string, change func(*Topic)) {
		t.Helper()
		g := group
		in := Topic{Topic: "orders", Step: 5 * time.Minute, Written: &TopicSide{Messages: 600, Steps: evenly}, Groups: []TopicSide{g}}
		in.Selected = &in.Groups[0]
		if change != nil {
			change(&in)
		}
		if got := ForTopic(in); got.Rule != rule || !strings.Contains(got.String(), words) {
			t.Errorf("rule %s: %s; want %s with %q", got.Rule, got, rule, words)
		}
	}
	f("part", "spend longest in processing: p99 40ms", nil)
	f("nothing", "No message passed orders", func(in *Topic) { *in = Topic{Topic: "orders"} })
	f("unread", "nobody has been seen to read it", func(in *Topic) { in.Groups, in.Selected = nil, nil })
	hot := []exporters.PartitionSum{partition(0, time.Second, time.Second), partition(1, time.Second, time.Second), partition(7, 8*time.Second, 5*time.Second)}
	f("hot", "Partition 7 holds 80.00% of the wait in orders", func(in *Topic) { in.Partitions = hot })
	f("part", "", func(in *Topic) { // the wait is short
		in.Partitions = []exporters.PartitionSum{partition(0, 1, 1), partition(1, 1, 1), partition(7, 8, time.Millisecond)}
	})
	f("part", "", func(in *Topic) { in.Partitions = hot[:2] }) // fair
	f("behind", "Group g is 41s behind in orders", func(in *Topic) { in.Groups[0].Lag = 41 * time.Second })
	f("short", "Group g has read 12.00% less than was written for 20m0s", func(in *Topic) { in.Groups[0].Steps = []uint64{100, 100, 88, 88, 88, 88, 0} })
	f("part", "Messages of orders spend longest in processing", func(in *Topic) { in.Written, in.Groups[0].LagUnknown = nil, true })
	f("absent", "Group g has not been seen to read orders in this time", func(in *Topic) { in.Groups[0] = TopicSide{Group: "g", Steps: make([]uint64, 7)} })
	f("part", "3 measured parts are negative", func(in *Topic) {
		in.Groups[0].Parts = map[exporters.PartName]exporters.Quantiles{exporters.PartLongPoll: {Count: 9, Negative: 3, P99: 1}, exporters.PartResidence: {Count: 600, Negative: 3}}
	})
	f("part", "is unknown of 50 messages", func(in *Topic) {
		in.Groups[0].Parts = map[exporters.PartName]exporters.Quantiles{exporters.PartProcessing: q(1), exporters.PartResidence: {Count: 550}}
	})
}

func TestReadsThatFallShort(t *testing.T) {
	f := func(written, read []uint64, share float64, steps int) {
		t.Helper()
		if s, n := ShortOf(written, read); n != steps || s < share-0.001 || s > share+0.001 {
			t.Errorf("ShortOf(%v, %v) = %v in %d steps; want %v in %d", written, read, s, n, share, steps)
		}
	}
	f(nil, nil, 0, 0)
	f([]uint64{100, 100, 100, 100, 9}, []uint64{100, 100, 100, 100, 0}, 0, 0)
	f([]uint64{100, 100, 100, 100, 9}, []uint64{100, 80, 80, 80, 0}, 0.2, 3)
	f([]uint64{100, 100, 100, 100, 9}, []uint64{100, 100, 80, 80, 0}, 0, 0) // two steps may be a wave
	f([]uint64{5, 5, 5, 5, 5}, []uint64{0, 0, 0, 0, 0}, 1, 4)
	f([]uint64{1, 1, 1, 1, 1}, []uint64{0, 0, 0, 0, 0}, 0, 0) // they are on their way
	f([]uint64{100, 0, 100, 100, 100, 9}, []uint64{100, 0, 50, 50, 50, 0}, 0.5, 3)
	f([]uint64{100, 100}, []uint64{0, 0, 0}, 0, 0)
}
