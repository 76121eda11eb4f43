package clickhouse

import (
	"strings"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
)

// Names that no other statement has, as explain binds none.
func TestTopicsAreReadFromTheirSums(t *testing.T) {
	s := open(t, testConfig(engine(t)))
	w := newWorkload(3, time.Now().Add(-time.Hour), time.Second)
	spans, rows := w.batch(3000)
	if err := s.WriteSpans(t.Context(), spans, rows); err != nil {
		t.Fatal(err)
	}
	group := "orders-worker"
	var ps params
	where := strings.NewReplacer("{topic:String}", "'orders'", "{group:String}", "'orders-worker'").Replace(
		ps.ofPartitions(grainSlot, exporters.PartitionQuery{Topic: "orders", Group: &group}))
	all := newDurationColumns(summedParts)
	for body, want := range map[string]string{
		topicSumsSQL(grainSlot, exporters.TopicQuery{}, all):                                     "topic_sums",
		topicSumsSQL(grainSlot, exporters.TopicQuery{Step: 30 * time.Minute}, all):               "topic_sums",
		partitionSumsSQL(grainSlot, 30*time.Minute, where, newDurationColumns(summedParts[4:5])): "partition_sums",
		partitionSumsSQL(grainSlot, 0, where, newDurationColumns(summedParts[8:9])):              "partition_sums",
		partitionSumsSQL(grainSlot, 0, where, newDurationColumns(nil)):                           "partition_sums",
		partitionHeatSQL(grainSlot, 30*time.Minute, where, newDurationColumns(summedParts[3:4])): "partition_sums",
		partitionOwnersSQL(grainSlot, 30*time.Minute, where):                                     "partition_sums",
	} {
		if plan := explain(t, s, body); !strings.Contains(plan, want) {
			t.Errorf("%s\nis not read from %s:\n%s", body, want, plan)
		}
	}
}
