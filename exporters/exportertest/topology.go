package exportertest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// Topologies is what TopologyStore tests.
type Topologies interface {
	exporters.SpanWriter
	exporters.TopologyReader
}

// TopologyStore is the suite of TopologyReader. open gives an empty store.
func TopologyStore(t *testing.T, open func(t *testing.T) Topologies) {
	run := func(name string, f func(t *testing.T, s Topologies)) {
		t.Run(name, func(t *testing.T) { f(t, open(t)) })
	}
	run("FlowsAreThoseOfTheRows", flowsOfRows)
	run("BothEndsOfALongWaitAreSeen", flowsOfALongWait)
	run("WhatStoodStillComesWithoutMessages", flowsThatStoodStill)
	run("UnknownTimesAreNotMeasured", flowsUnknown)
	run("RangesAreWholeSlots", flowSlots)
	run("StepsDivideTheRange", topologySteps)
	run("TopologyIsBounded", topologyBounds)
}

// slotStart is the beginning of a slot some hours ago.
func slotStart() time.Time { return base().Truncate(exporters.TopologySlot) }

type flowName struct {
	topic, group, service string
	reads                 bool
}

func nameOf(m *schemas.Message) flowName {
	n := flowName{topic: m.Topic, service: m.Service, reads: m.Side.Reads()}
	if n.reads {
		n.group = m.Group
	}
	return n
}

func addTo(l *exporters.Latencies, d time.Duration) {
	*l = l.Add(exporters.Latencies{{Class: exporters.LatencyClassOf(d), Count: 1}})
}

// waitOf is the plainest reading of Flow.Wait.
func waitOf(m *schemas.Message) (time.Duration, bool) {
	if m.Side == schemas.SideProduce {
		return time.Duration(m.Acked - m.Written), m.Written != 0 && m.Acked != 0
	}
	from, to := cmp.Or(m.RecordTime, m.Appended), cmp.Or(m.Answered, m.Start)
	return time.Duration(to - from), from != 0
}

func recordAt(m *schemas.Message) int64 {
	at := cmp.Or(m.RecordTime, m.Appended)
	if at == 0 && m.Side == schemas.SideProduce {
		at = m.Start
	}
	return at
}

// flows is Topology without a look back.
func (w *world) flows(from, to time.Time) []exporters.Flow {
	all := make(map[flowName]*exporters.Flow)
	for i := range w.rows {
		m := &w.rows[i]
		if m.Side == schemas.SideSettle || m.End < from.UnixNano() || m.End >= to.UnixNano() {
			continue
		}
		k := nameOf(m)
		f := all[k]
		if f == nil {
			f = &exporters.Flow{Topic: k.topic, Group: k.group, Service: k.service, Reads: k.reads}
			all[k] = f
		}
		f.Messages++
		if m.Failed {
			f.Failed++
		}
		if f.FirstSeen == 0 || m.End < f.FirstSeen {
			f.FirstSeen = m.End
		}
		f.LastSeen = max(f.LastSeen, m.End)
		f.NewestRecord = max(f.NewestRecord, recordAt(m))
		if d, ok := waitOf(m); ok {
			addTo(&f.Wait, d)
		}
		if m.Side == schemas.SideProcess {
			addTo(&f.Work, time.Duration(m.End-cmp.Or(m.Handed, m.Start)))
		}
	}
	out := make([]exporters.Flow, 0, len(all))
	for _, f := range all {
		out = append(out, *f)
	}
	slices.SortFunc(out, func(a, b exporters.Flow) int {
		return cmp.Or(cmp.Compare(b.Messages, a.Messages), strings.Compare(a.Topic, b.Topic), strings.Compare(a.Group, b.Group), strings.Compare(a.Service, b.Service))
	})
	return out
}

// flowWorld is a world whose records have times of their own, some negative waits
// among them, with readings that end in a receive row and commits between.
func flowWorld(seed uint64, n int, start time.Time) *world {
	w := newWorld(seed)
	w.traces(n, start)
	for i := range w.rows {
		m := &w.rows[i]
		switch w.rnd.IntN(6) {
		case 0:
			m.Answered, m.Acked, m.Handed = 0, 0, 0
		case 1:
			m.RecordTime = m.Start/1e6*1e6 + int64(time.Second) // clocks that disagree
		case 2:
			m.Appended = m.Start / 1e6 * 1e6
		case 3, 4:
			m.RecordTime = m.Start/1e6*1e6 - w.rnd.Int64N(int64(10*time.Hour))/1e6*1e6
		}
		if m.Side == schemas.SideProcess && w.rnd.IntN(5) == 0 {
			m.Side = schemas.SideReceive
		}
		if w.rnd.IntN(9) == 0 {
			again := *m
			again.Side, again.Position = schemas.SideSettle, w.position()
			again.Position.Offset += 1e6
			w.rows = append(w.rows, again)
		}
	}
	return w
}

func flowsOfRows(t *testing.T, s Topologies) {
	ctx := testContext(t)
	start := slotStart()
	w := flowWorld(77, 2000, start)
	for part := range slices.Chunk(w.rows, 900) {
		noError(t, "WriteSpans", s.WriteSpans(ctx, nil, part))
	}
	other := w.rows[0]
	other.Project = 2
	noError(t, "WriteSpans", s.WriteSpans(ctx, nil, []schemas.Message{other}))
	f := func(from, to time.Time) {
		t.Helper()
		got, err := s.Topology(ctx, exporters.TopologyQuery{Project: 1, Range: exporters.Range{From: from, To: to}})
		noError(t, "Topology", err)
		equal(t, fmt.Sprintf("topology from %v to %v", from, to), got, w.flows(from, to))
		if len(got) == 0 {
			t.Error("the topology is empty")
		}
	}
	f(start, start.Add(5*time.Hour))
	f(start.Add(30*time.Minute), start.Add(45*time.Minute))
	f(start.Add(2*time.Hour), start.Add(2*time.Hour+exporters.TopologySlot))
	got, err := s.Topology(ctx, exporters.TopologyQuery{Project: 1})
	noError(t, "Topology", err)
	equal(t, "the whole topology", got, w.flows(time.Unix(0, 0), time.Now().Add(exporters.TopologySlot)))
}

// reading is a record written at start and read after a wait.
func reading(start time.Time, wait time.Duration) []schemas.Message {
	at := start.UnixNano()
	p := schemas.Message{
		Project: 1, Side: schemas.SideProduce, Topic: "orders", Service: "checkout", TraceID: traceID(1), SpanID: spanID(1), RecordTime: at / 1e6 * 1e6,
		Start: at, Written: at + 1e6, Acked: at + 3e6, End: at + 4e6, Source: 1, Position: schemas.Position{Offset: 1},
	}
	c := schemas.Message{
		Project: 1, Side: schemas.SideProcess, Topic: "orders", Group: "payments", Service: "payments", TraceID: traceID(2), SpanID: spanID(2), RecordTime: p.RecordTime,
		Answered: p.RecordTime + int64(wait), Start: p.RecordTime + int64(wait) + 1e6, End: p.RecordTime + int64(wait) + 6e6, Failed: true, Source: 1, Position: schemas.Position{Offset: 2},
	}
	return []schemas.Message{p, c}
}

func flowsOfALongWait(t *testing.T, s Topologies) {
	ctx := testContext(t)
	start := slotStart()
	rows := reading(start, 3*time.Hour)
	noError(t, "WriteSpans", s.WriteSpans(ctx, nil, rows))
	whole, err := s.Topology(ctx, exporters.TopologyQuery{Project: 1, Range: exporters.Range{From: start, To: start.Add(4 * time.Hour)}})
	noError(t, "Topology", err)
	if len(whole) != 2 {
		t.Fatalf("%d flows, want the writer's and the reader's", len(whole))
	}
	last, err := s.Topology(ctx, exporters.TopologyQuery{Project: 1, Range: exporters.Range{From: start.Add(3 * time.Hour), To: start.Add(4 * time.Hour)}})
	noError(t, "Topology", err)
	if len(last) != 1 || !last[0].Reads || last[0].Service != "payments" || last[0].Failed != 1 || last[0].NewestRecord != rows[1].RecordTime {
		t.Fatalf("topology of the reading: %+v", last)
	}
	q := last[0].Wait.Quantiles()
	from, to := exporters.LatencyBounds(exporters.LatencyClassOf(3 * time.Hour))
	if q.Count != 1 || q.P99 < from || q.P99 > to || from > 3*time.Hour || to < 3*time.Hour {
		t.Errorf("wait %+v, want one between %v and %v", q, from, to)
	}
}

func flowsThatStoodStill(t *testing.T, s Topologies) {
	ctx := testContext(t)
	start := slotStart()
	rows := reading(start, time.Second)
	noError(t, "WriteSpans", s.WriteSpans(ctx, nil, rows))
	q := exporters.TopologyQuery{Project: 1, Range: exporters.Range{From: start.Add(2 * time.Hour), To: start.Add(3 * time.Hour)}}
	got, err := s.Topology(ctx, q)
	noError(t, "Topology", err)
	equal(t, "topology without a look back", got, []exporters.Flow{})
	q.LookBack = 2 * time.Hour
	got, err = s.Topology(ctx, q)
	noError(t, "Topology", err)
	equal(t, "topology with a look back", got, []exporters.Flow{
		{Topic: "orders", Service: "checkout", LastSeen: rows[0].End, NewestRecord: rows[0].RecordTime},
		{Topic: "orders", Service: "payments", Reads: true, Group: "payments", LastSeen: rows[1].End, NewestRecord: rows[1].RecordTime},
	})
	q.LookBack = time.Hour
	got, err = s.Topology(ctx, q)
	noError(t, "Topology", err)
	equal(t, "topology with a look back that is too short", got, []exporters.Flow{})
}

func flowsUnknown(t *testing.T, s Topologies) {
	ctx := testContext(t)
	start := slotStart()
	at := start.UnixNano()
	noError(t, "WriteSpans", s.WriteSpans(ctx, nil, []schemas.Message{
		{Project: 1, Side: schemas.SideProduce, Topic: "a", Service: "s", Partition: schemas.Unknown, Offset: schemas.Unknown, Start: at, End: at + 5, TraceID: traceID(1), Source: 1, Position: schemas.Position{Offset: 1}},
		{Project: 1, Side: schemas.SideReceive, Topic: "a", Service: "s", Start: at, End: at + 5, TraceID: traceID(2), Source: 1, Position: schemas.Position{Offset: 2}},
	}))
	got, err := s.Topology(ctx, exporters.TopologyQuery{Project: 1, Range: exporters.Range{From: start}})
	noError(t, "Topology", err)
	equal(t, "topology", got, []exporters.Flow{
		{Topic: "a", Service: "s", Messages: 1, FirstSeen: at + 5, LastSeen: at + 5, NewestRecord: at},
		{Topic: "a", Service: "s", Reads: true, Messages: 1, FirstSeen: at + 5, LastSeen: at + 5},
	})
}

func flowSlots(t *testing.T, s Topologies) {
	ctx := testContext(t)
	start := slotStart()
	noError(t, "WriteSpans", s.WriteSpans(ctx, nil, reading(start.Add(time.Minute), time.Second)))
	f := func(from, to time.Duration, want int) {
		t.Helper()
		got, err := s.Topology(ctx, exporters.TopologyQuery{Project: 1, Range: exporters.Range{From: start.Add(from), To: start.Add(to)}})
		noError(t, "Topology", err)
		if len(got) != want {
			t.Errorf("from %v to %v: %d flows, want %d", from, to, len(got), want)
		}
	}
	f(4*time.Minute, 20*time.Minute, 2) // begins within the slot
	f(-20*time.Minute, time.Second, 2)  // ends within it
	f(-20*time.Minute, 0, 0)
	f(exporters.TopologySlot, time.Hour, 0)
}

func topologySteps(t *testing.T, s Topologies) {
	ctx := testContext(t)
	start := slotStart()
	w := flowWorld(78, 1500, start)
	noError(t, "WriteSpans", s.WriteSpans(ctx, nil, w.rows))
	f := func(q exporters.TopologyQuery) {
		t.Helper()
		q.Project, q.Range = 1, exporters.Range{From: start, To: start.Add(5 * time.Hour)}
		steps := make(map[int64]*exporters.TopologyStep)
		var want []exporters.TopologyStep
		for i := range w.rows {
			m := &w.rows[i]
			since := m.End - start.UnixNano()
			if m.Side == schemas.SideSettle || since < 0 || since >= int64(5*time.Hour) || q.Topic != "" && m.Topic != q.Topic ||
				q.Service != "" && m.Service != q.Service || q.Group != "" && m.Side.Reads() && m.Group != q.Group {
				continue
			}
			at := start.UnixNano() + since/int64(q.Step)*int64(q.Step)
			st := steps[at]
			if st == nil {
				st = &exporters.TopologyStep{Start: at}
				steps[at] = st
			}
			if m.Side == schemas.SideProduce {
				st.Written++
				continue
			}
			st.Read++
			if m.Failed {
				st.Failed++
			}
			if d, ok := waitOf(m); ok {
				addTo(&st.Wait, d)
			}
		}
		for _, st := range steps {
			want = append(want, *st)
		}
		slices.SortFunc(want, func(a, b exporters.TopologyStep) int { return cmp.Compare(a.Start, b.Start) })
		got, err := s.TopologySteps(ctx, q)
		noError(t, "TopologySteps", err)
		equal(t, fmt.Sprintf("steps of %+v", q), got, want)
		if len(got) < 3 {
			t.Errorf("%d steps of %+v", len(got), q)
		}
	}
	f(exporters.TopologyQuery{Step: exporters.TopologySlot})
	f(exporters.TopologyQuery{Step: 35 * time.Minute})
	f(exporters.TopologyQuery{Step: 15 * time.Minute, Topic: "topic-1"})
	f(exporters.TopologyQuery{Step: 15 * time.Minute, Topic: "topic-1", Group: "group-1"})
	f(exporters.TopologyQuery{Step: 15 * time.Minute, Service: "group-0-service"})
}

func topologyBounds(t *testing.T, s Topologies) {
	ctx := testContext(t)
	start := slotStart()
	var rows []schemas.Message
	for i := range 30 {
		m := reading(start, time.Second)[0]
		m.Topic, m.Position.Offset = fmt.Sprintf("topic-%02d", i), int64(i)
		rows = append(rows, m)
	}
	noError(t, "WriteSpans", s.WriteSpans(ctx, nil, rows))
	got, err := s.Topology(ctx, exporters.TopologyQuery{Project: 1, Range: exporters.Range{From: start}, Limit: 7})
	noError(t, "Topology", err)
	if len(got) != 7 || got[6].Topic != "topic-06" {
		t.Errorf("%d flows, want 7 in the order of their names", len(got))
	}
	for _, step := range []time.Duration{0, -exporters.TopologySlot, time.Minute, exporters.TopologySlot + 1} {
		if _, err := s.TopologySteps(ctx, exporters.TopologyQuery{Project: 1, Range: exporters.Range{From: start}, Step: step}); err == nil {
			t.Errorf("steps of %v are taken", step)
		}
	}
	if _, err := s.Topology(ctx, exporters.TopologyQuery{Project: 1, LookBack: -1}); err == nil {
		t.Error("a look back into the future is taken")
	}
}
