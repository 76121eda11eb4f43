package clickhouse

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/hoptrace/hoptrace/exporters"
)

// explain gives the engine's plan of a statement over a range of slots.
func explain(t *testing.T, s *Store, body string) string {
	t.Helper()
	var (
		ps   params
		line proto.ColStr
		plan strings.Builder
	)
	from, to := wholeSlots(exporters.Range{From: time.Now().Add(-24 * time.Hour)})
	ps.slots(1, from, to)
	ps.int("limit", 10)
	ps.int("step", 1800)
	err := s.query(t.Context(), "EXPLAIN "+body, ps, proto.Results{{Name: "explain", Data: &line}}, plan.Reset, func() {
		for i := range line.Rows() {
			plan.WriteString(line.Row(i) + "\n")
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return plan.String()
}

func TestTheTopologyIsReadFromItsSums(t *testing.T) {
	s := open(t, testConfig(engine(t)))
	w := newWorkload(3, time.Now().Add(-time.Hour), time.Second)
	spans, rows := w.batch(3000)
	if err := s.WriteSpans(t.Context(), spans, rows); err != nil {
		t.Fatal(err)
	}
	var someFlow uint64
	var flow proto.ColUInt64
	err := s.query(t.Context(), "SELECT "+sqlFlow+" AS flow FROM messages WHERE side = 3 LIMIT 1", nil, proto.Results{{Name: "flow", Data: &flow}}, func() {}, func() {
		for _, v := range flow {
			someFlow = v
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	for body, want := range map[string]string{
		flowsSQL:                              "topology_flows",
		flowWaitsSQL:                          "topology_waits",
		flowWorkSQL:                           "topology_work",
		stepFlowsSQL(" AND topic = 'orders'"): "topology_flows",
		stepWaitsSQL(" AND " + sqlFlow + " IN [" + fmt.Sprint(someFlow) + "]"): "topology_waits",
		stepWaitsSQL(""): "topology_waits",
	} {
		if plan := explain(t, s, body); !strings.Contains(plan, want) {
			t.Errorf("%s\nis not read from %s:\n%s", body, want, plan)
		}
	}
}

// The tables of a store that was there before the sums hold parts without them.
func TestPartsFromBeforeTheSumsAreInTheTopology(t *testing.T) {
	s := open(t, testConfig(engine(t)))
	w := newWorkload(3, time.Now().Add(-time.Hour), time.Second)
	count := func() (n uint64) {
		flows, err := s.Topology(t.Context(), exporters.TopologyQuery{Project: 1})
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range flows {
			n += f.Messages
		}
		return n
	}
	total := 0
	write := func() {
		spans, rows := w.batch(3000)
		total += len(rows)
		if err := s.WriteSpans(t.Context(), spans, rows); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"topology_flows", "topology_waits", "topology_work"} {
		if err := s.exec(t.Context(), "ALTER TABLE messages DROP PROJECTION "+name, nil); err != nil {
			t.Fatal(err)
		}
	}
	write()
	for _, add := range []string{topologyFlows, topologyWaits, topologyWork, topologyFlows} { // the last: a step that is repeated
		if err := s.exec(t.Context(), add, nil); err != nil {
			t.Fatal(err)
		}
	}
	if got := count(); got != uint64(total) {
		t.Errorf("%d messages from parts without sums, want %d", got, total)
	}
	write()
	if got := count(); got != uint64(total) {
		t.Errorf("%d messages from parts of both kinds, want %d", got, total)
	}
	if err := s.exec(t.Context(), "OPTIMIZE TABLE messages FINAL", nil); err != nil {
		t.Fatal(err)
	}
	if got := count(); got != uint64(total) {
		t.Errorf("%d messages after a merge of both kinds, want %d", got, total)
	}
}
