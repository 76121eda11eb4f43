package clickhouse

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go/proto"
	"golang.org/x/sync/errgroup"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// Bounds of a topology.
const (
	maxFlows     = 10_000
	maxLookBack  = 31 * 24 * time.Hour
	maxTimeSteps = 1_000
	maxSumRows   = 1_000_000 // classes of all flows, or flows of all steps
	slotSeconds  = int64(exporters.TopologySlot / time.Second)
	longestStep  = 366 * 24 * time.Hour
)

// inSlots is the condition on time that slots binds. It names nothing but the
// key of the projections, or they would not serve.
const inSlots = "project = {project:UInt64} AND " + slot + " >= toDateTime({from:UInt32}, 'UTC') AND " + slot + " < toDateTime({to:UInt32}, 'UTC')"

// The statements name what the projections have, word for word: of anything else
// the engine would compute it from the rows, slowly.
var (
	flowsSQL = `
SELECT ` + topologyPlace + `, ` + sqlFlow + ` AS flow, count() AS n, sum(failed) AS failures, toUnixTimestamp64Nano(min(time)) AS oldest, toUnixTimestamp64Nano(max(time)) AS last, max(` + sqlRecordAt + `) AS newest
FROM messages WHERE ` + inSlots + ` AND side IN (1, 2, 3)
GROUP BY ` + topologyPlace + `, flow`

	flowWaitsSQL = `
SELECT ` + sqlFlow + ` AS flow, ` + sqlWaitClass + ` AS class, count() AS n
FROM messages WHERE ` + inSlots + ` AND side IN (1, 2, 3)
GROUP BY flow, class`

	flowWorkSQL = `
SELECT ` + sqlFlow + ` AS flow, ` + sqlWorkClass + ` AS class, count() AS n
FROM messages WHERE ` + inSlots + ` AND side = 3
GROUP BY flow, class`
)

const stepStart = `toInt64({from:UInt32} + intDiv(toUnixTimestamp(` + slot + `) - {from:UInt32}, {step:UInt32}) * {step:UInt32}) AS start`

// stepFlowsSQL and stepWaitsSQL take more conditions.
func stepFlowsSQL(where string) string {
	return `
SELECT ` + stepStart + `, side, ` + sqlFlow + ` AS flow, count() AS n, sum(failed) AS failures
FROM messages WHERE ` + inSlots + ` AND side IN (1, 2, 3)` + where + `
GROUP BY start, side, flow`
}

func stepWaitsSQL(where string) string {
	return `
SELECT ` + stepStart + `, ` + sqlWaitClass + ` AS class, count() AS n
FROM messages WHERE ` + inSlots + ` AND side IN (2, 3)` + where + `
GROUP BY start, class`
}

// slots binds from and to, Unix seconds of whole slots.
func (p *params) slots(project uint64, from, to int64) {
	p.uint("project", project)
	p.int("from", max(from, 0))
	p.int("to", min(max(to, 0), 1<<32-1))
}

// wholeSlots widens a range, in Unix seconds.
func wholeSlots(r exporters.Range) (from, to int64) {
	a, b := nanos(r)
	slotNanos := int64(exporters.TopologySlot)
	from, to = a/slotNanos, b/slotNanos
	if b%slotNanos != 0 {
		to++
	}
	return from * slotSeconds, to * slotSeconds
}

// Topology reads three sums: who wrote and read, what waited, and what was
// worked on; and who did before the range. It asks for all of them at once, since
// each keeps about one core busy.
func (s *Store) Topology(ctx context.Context, q exporters.TopologyQuery) ([]exporters.Flow, error) {
	if q.LookBack < 0 || q.LookBack > maxLookBack {
		return nil, fmt.Errorf("cannot read the topology with a look back of %v: want 0 to %v", q.LookBack, maxLookBack)
	}
	from, to := wholeSlots(q.Range)
	flows, before := newFlowSet(), newFlowSet()
	var waits, work map[uint64]exporters.Latencies
	all, ctx := errgroup.WithContext(ctx)
	all.Go(func() error {
		if err := s.sumFlows(ctx, q.Project, from, to, flows); err != nil {
			return fmt.Errorf("cannot sum up what services wrote and read: %w", err)
		}
		return nil
	})
	all.Go(func() (err error) {
		if waits, err = s.sumClasses(ctx, q.Project, from, to, flowWaitsSQL); err != nil {
			return fmt.Errorf("cannot sum up how long records waited: %w", err)
		}
		return nil
	})
	all.Go(func() (err error) {
		if work, err = s.sumClasses(ctx, q.Project, from, to, flowWorkSQL); err != nil {
			return fmt.Errorf("cannot sum up how long services worked: %w", err)
		}
		return nil
	})
	if back := int64(q.LookBack / time.Second); back > 0 && from > 0 {
		all.Go(func() error {
			if err := s.sumFlows(ctx, q.Project, max(from-back, 0)/slotSeconds*slotSeconds, from, before); err != nil {
				return fmt.Errorf("cannot sum up what was there before the range: %w", err)
			}
			return nil
		})
	}
	if err := all.Wait(); err != nil {
		return nil, err
	}
	// The sums are of one time to within a moment: a flow that is in one of them
	// alone is left to the next question.
	for number, f := range flows.byNumber {
		f.Wait, f.Work = append(f.Wait, waits[number]...), append(f.Work, work[number]...)
	}
	flows.addBefore(before)
	out := make([]exporters.Flow, 0, len(flows.all))
	for _, f := range flows.all {
		f.Wait, f.Work = sorted(f.Wait), sorted(f.Work)
		out = append(out, *f)
	}
	slices.SortFunc(out, func(a, b exporters.Flow) int {
		return cmp.Or(cmp.Compare(b.Messages, a.Messages), strings.Compare(a.Topic, b.Topic), strings.Compare(a.Group, b.Group), strings.Compare(a.Service, b.Service),
			cmp.Compare(bit(a.Reads), bit(b.Reads)))
	})
	return out[:min(int64(len(out)), limited(q.Limit, maxFlows, maxFlows))], nil
}

// sorted brings counts into the order of Latencies; receive and process rows
// gave a class each.
func sorted(l exporters.Latencies) exporters.Latencies {
	slices.SortFunc(l, func(a, b exporters.LatencyCount) int { return cmp.Compare(a.Class, b.Class) })
	out := l[:0]
	for _, c := range l {
		if n := len(out); n > 0 && out[n-1].Class == c.Class {
			out[n-1].Count += c.Count
			continue
		}
		out = append(out, c)
	}
	return out
}

// flowSet finds flows by names and by number. A receive row and a process row of
// one reader have two numbers and are one flow.
type flowSet struct {
	all      map[flowKey]*exporters.Flow
	byNumber map[uint64]*exporters.Flow
}

type flowKey struct {
	reads                 bool
	topic, group, service string
}

func newFlowSet() *flowSet {
	return &flowSet{all: make(map[flowKey]*exporters.Flow), byNumber: make(map[uint64]*exporters.Flow)}
}

func (f *flowSet) add(k flowKey, number uint64) *exporters.Flow {
	if !k.reads {
		k.group = ""
	}
	flow := f.all[k]
	if flow == nil {
		flow = &exporters.Flow{Topic: k.topic, Service: k.service, Reads: k.reads, Group: k.group}
		f.all[k] = flow
	}
	f.byNumber[number] = flow
	return flow
}

// addBefore adds what was before the range, without its messages.
func (f *flowSet) addBefore(before *flowSet) {
	for k, old := range before.all {
		flow := f.all[k]
		if flow == nil {
			flow = &exporters.Flow{Topic: k.topic, Service: k.service, Reads: k.reads, Group: k.group}
			f.all[k] = flow
		}
		flow.LastSeen, flow.NewestRecord = max(flow.LastSeen, old.LastSeen), max(flow.NewestRecord, old.NewestRecord)
	}
}

// sumFlows adds who wrote and read.
func (s *Store) sumFlows(ctx context.Context, project uint64, from, to int64, flows *flowSet) error {
	var (
		ps                    params
		side                  proto.ColUInt8
		topic, group, service = newLowCardinality(), newLowCardinality(), newLowCardinality()
		flow, n, failed       proto.ColUInt64
		first, last, newest   proto.ColInt64
	)
	ps.slots(project, from, to)
	return s.sumRows(ctx, flowsSQL, ps,
		proto.Results{
			{Name: "side", Data: &side},
			{Name: "topic", Data: topic},
			{Name: "consumer_group", Data: group},
			{Name: "service", Data: service},
			{Name: "flow", Data: &flow},
			{Name: "n", Data: &n},
			{Name: "failures", Data: &failed},
			{Name: "oldest", Data: &first},
			{Name: "last", Data: &last},
			{Name: "newest", Data: &newest},
		},
		func() { *flows = *newFlowSet() },
		func() int {
			for i := range n {
				f := flows.add(flowKey{schemas.Side(side[i]).Reads(), topic.Row(i), group.Row(i), service.Row(i)}, flow[i])
				if f.FirstSeen == 0 || first[i] < f.FirstSeen {
					f.FirstSeen = first[i]
				}
				f.LastSeen, f.NewestRecord = max(f.LastSeen, last[i]), max(f.NewestRecord, newest[i])
				f.Messages += n[i]
				f.Failed += failed[i]
			}
			return len(n)
		})
}

func newLowCardinality() *proto.ColLowCardinality[string] { return new(proto.ColStr).LowCardinality() }

// sumClasses gives counts by class of each flow, in no order.
func (s *Store) sumClasses(ctx context.Context, project uint64, from, to int64, body string) (map[uint64]exporters.Latencies, error) {
	var (
		ps      params
		flow, n proto.ColUInt64
		class   proto.ColInt16
		out     = make(map[uint64]exporters.Latencies)
	)
	ps.slots(project, from, to)
	err := s.sumRows(ctx, body, ps, proto.Results{{Name: "flow", Data: &flow}, {Name: "class", Data: &class}, {Name: "n", Data: &n}},
		func() { clear(out) },
		func() int {
			for i := range n {
				if class[i] != exporters.LatencyUnknown {
					out[flow[i]] = append(out[flow[i]], exporters.LatencyCount{Class: class[i], Count: n[i]})
				}
			}
			return len(n)
		})
	return out, err
}

// sumRows reads the rows of a sum, and refuses one that is cut: it would be wrong.
func (s *Store) sumRows(ctx context.Context, body string, ps params, results proto.Results, begin func(), block func() int) error {
	read := 0
	ps.int("limit", maxSumRows+1)
	err := s.query(ctx, body+" LIMIT {limit:UInt64}", ps, results, func() { read = 0; begin() }, func() { read += block() })
	if err == nil && read > maxSumRows {
		err = fmt.Errorf("there are more than %d rows of sums, ask for a shorter time: %w", maxSumRows, exporters.ErrTooLarge)
	}
	return err
}

// TopologySteps reads who wrote and read in each step, and then what their
// records waited.
func (s *Store) TopologySteps(ctx context.Context, q exporters.TopologyQuery) ([]exporters.TopologyStep, error) {
	if q.Step < exporters.TopologySlot || q.Step%exporters.TopologySlot != 0 || q.Step > longestStep {
		return nil, fmt.Errorf("cannot read the topology in steps of %v: want whole slots of %v", q.Step, exporters.TopologySlot)
	}
	from, to := wholeSlots(q.Range)
	var ps params
	ps.slots(q.Project, from, to)
	ps.int("step", int64(q.Step/time.Second))
	steps := make(map[int64]*exporters.TopologyStep)
	readers, err := s.stepFlows(ctx, q, ps, steps)
	if err != nil {
		return nil, fmt.Errorf("cannot sum up the steps of the topology: %w", err)
	}
	if err := s.stepWaits(ctx, q, ps, steps, readers); err != nil {
		return nil, fmt.Errorf("cannot sum up the waits in steps: %w", err)
	}
	out := make([]exporters.TopologyStep, 0, len(steps))
	for _, st := range steps {
		st.Wait = sorted(st.Wait)
		out = append(out, *st)
	}
	slices.SortFunc(out, func(a, b exporters.TopologyStep) int { return cmp.Compare(a.Start, b.Start) })
	return out[:min(len(out), maxTimeSteps)], nil
}

// stepFlows gives the numbers of the readers, too.
func (s *Store) stepFlows(ctx context.Context, q exporters.TopologyQuery, ps params, steps map[int64]*exporters.TopologyStep) (map[uint64]struct{}, error) {
	var (
		start           proto.ColInt64
		side            proto.ColUInt8
		flow, n, failed proto.ColUInt64
		where           string
		readers         = make(map[uint64]struct{})
	)
	ps = slices.Clone(ps)
	for _, c := range [...]struct{ name, value, text string }{
		{"topic", q.Topic, " AND topic = {topic:String}"},
		{"group", q.Group, " AND (side = 1 OR consumer_group = {group:String})"},
		{"service", q.Service, " AND service = {service:String}"},
	} {
		if c.value != "" {
			ps.text(c.name, c.value)
			where += c.text
		}
	}
	err := s.sumRows(ctx, stepFlowsSQL(where), ps,
		proto.Results{{Name: "start", Data: &start}, {Name: "side", Data: &side}, {Name: "flow", Data: &flow}, {Name: "n", Data: &n}, {Name: "failures", Data: &failed}},
		func() { clear(steps); clear(readers) },
		func() int {
			for i := range n {
				st := steps[start[i]]
				if st == nil {
					st = &exporters.TopologyStep{Start: start[i] * int64(time.Second)}
					steps[start[i]] = st
				}
				if !schemas.Side(side[i]).Reads() {
					st.Written += n[i]
					continue
				}
				readers[flow[i]] = struct{}{}
				st.Read += n[i]
				st.Failed += failed[i]
			}
			return len(n)
		})
	return readers, err
}

func (s *Store) stepWaits(ctx context.Context, q exporters.TopologyQuery, ps params, steps map[int64]*exporters.TopologyStep, readers map[uint64]struct{}) error {
	if len(readers) == 0 {
		return nil
	}
	var (
		start proto.ColInt64
		class proto.ColInt16
		n     proto.ColUInt64
		where string
	)
	if q.Topic+q.Group+q.Service != "" {
		if len(readers) > maxFlows {
			return fmt.Errorf("%d readers are selected and %d can be: %w", len(readers), maxFlows, exporters.ErrTooLarge)
		}
		numbers := make([]uint64, 0, len(readers))
		for r := range readers {
			numbers = append(numbers, r)
		}
		ps = slices.Clone(ps)
		list(&ps, "flows", numbers, func(b *strings.Builder, v uint64) { b.WriteString(strconv.FormatUint(v, 10)) })
		where = " AND " + sqlFlow + " IN {flows:Array(UInt64)}"
	}
	return s.sumRows(ctx, stepWaitsSQL(where), ps,
		proto.Results{{Name: "start", Data: &start}, {Name: "class", Data: &class}, {Name: "n", Data: &n}},
		func() {
			for _, st := range steps {
				st.Wait = nil
			}
		},
		func() int {
			for i := range n {
				// A step that came after the flows were read is left to the next question.
				if st := steps[start[i]]; st != nil && class[i] != exporters.LatencyUnknown {
					st.Wait = append(st.Wait, exporters.LatencyCount{Class: class[i], Count: n[i]})
				}
			}
			return len(n)
		})
}
