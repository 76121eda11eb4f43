package clickhouse

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/hoptrace/hoptrace/exporters"
)

const (
	// maxTopicRows bounds the elements of one answer.
	maxTopicRows = 200_000
	// maxRowSteps bounds the steps that are found from the rows themselves.
	maxRowSteps = 1_000
)

// grain is what a row's time is known to: that of the sums, or its own. Statements
// with the slot name what the projections have, word for word, or the engine would
// compute it from the rows, slowly.
type grain string

const (
	grainSlot grain = slot
	grainRow  grain = `time`
)

func (g grain) within() string {
	return `project = {project:UInt64} AND ` + string(g) + ` >= toDateTime({from:UInt32}, 'UTC') AND ` + string(g) + ` < toDateTime({to:UInt32}, 'UTC')`
}

// start is the step of a row, Unix seconds; zero when there is none.
func (g grain) start(step time.Duration) string {
	if step == 0 {
		return `toInt64(0) AS start`
	}
	return `toInt64({from:UInt32} + intDiv(toUnixTimestamp(` + string(g) + `) - {from:UInt32}, {step:UInt32}) * {step:UInt32}) AS start`
}

// steps binds a range and its steps.
func (p *params) steps(project uint64, r exporters.Range, step time.Duration) (grain, error) {
	from, to := wholeSlots(r)
	g := grainSlot
	switch {
	case step == 0 || step >= exporters.TopologySlot && step%exporters.TopologySlot == 0 && step <= longestStep:
	case step >= time.Second && step < exporters.TopologySlot && step%time.Second == 0:
		g = grainRow
		a, b := nanos(r)
		from, to = a/int64(time.Second), (b+int64(time.Second)-1)/int64(time.Second)
		if (to-from)/int64(step/time.Second) > maxRowSteps {
			return g, fmt.Errorf("from %d to %d there are more than %d steps of %v, ask for a shorter time: %w", from, to, maxRowSteps, step, exporters.ErrTooLarge)
		}
	default:
		return g, fmt.Errorf("steps are %v long: want whole seconds below %v, or whole slots of that", step, exporters.TopologySlot)
	}
	p.slots(project, from, to)
	if step != 0 {
		p.int("step", int64(step/time.Second))
	}
	return g, nil
}

// durationColumns read the sums of some parts.
type durationColumns struct {
	parts           []part
	count, negative []proto.ColUInt64
	levels          []*proto.ColArr[float64]
}

func newDurationColumns(parts []part) *durationColumns {
	c := &durationColumns{parts: parts, count: make([]proto.ColUInt64, len(parts)), negative: make([]proto.ColUInt64, len(parts)), levels: make([]*proto.ColArr[float64], len(parts))}
	for i := range parts {
		c.levels[i] = new(proto.ColFloat64).Array()
	}
	return c
}

func (c *durationColumns) sql() string {
	var b strings.Builder
	for i, p := range c.parts {
		d, n := sqlDurations(p), strconv.Itoa(i)
		b.WriteString(`, ` + d[0] + ` AS count` + n + `, ` + d[1] + ` AS negative` + n + `, ` + d[2] + ` AS levels` + n)
	}
	return b.String()
}

func (c *durationColumns) results(rs proto.Results) proto.Results {
	for i := range c.parts {
		n := strconv.Itoa(i)
		rs = append(rs, proto.ResultColumn{Name: "count" + n, Data: &c.count[i]}, proto.ResultColumn{Name: "negative" + n, Data: &c.negative[i]}, proto.ResultColumn{Name: "levels" + n, Data: c.levels[i]})
	}
	return rs
}

func (c *durationColumns) row(part, i int) exporters.Quantiles {
	d := exporters.Quantiles{Count: c.count[part][i], Negative: c.negative[part][i]}
	if v := c.levels[part].Row(i); d.Count > 0 && len(v) == 4 {
		at := func(class float64) time.Duration { return exporters.LatencyMiddle(int16(class) + classShift) }
		d.P50, d.P90, d.P95, d.P99 = at(v[0]), at(v[1]), at(v[2]), at(v[3])
	}
	return d
}

// sumColumns are those of exporters.MessageSum and of a step.
type sumColumns struct {
	start       proto.ColInt64
	n, failed   proto.ColUInt64
	first, last proto.ColInt64
}

const sqlMessageSum = `count() AS n, sum(failed) AS failures, toUnixTimestamp64Nano(min(time)) AS oldest, toUnixTimestamp64Nano(max(time)) AS last`

func (c *sumColumns) results() proto.Results {
	return proto.Results{
		{Name: "start", Data: &c.start},
		{Name: "n", Data: &c.n},
		{Name: "failures", Data: &c.failed},
		{Name: "oldest", Data: &c.first},
		{Name: "last", Data: &c.last},
	}
}

func (c *sumColumns) row(i int) exporters.MessageSum {
	return exporters.MessageSum{Messages: c.n[i], Failed: c.failed[i], FirstSeen: c.first[i], LastSeen: c.last[i]}
}

func topicSumsSQL(g grain, q exporters.TopicQuery, d *durationColumns) string {
	topic := ""
	if q.Topic != "" {
		topic = ` AND topic = {topic:String}`
	}
	return `
SELECT ` + g.start(q.Step) + `, ` + sqlMessageSum + `, CAST(topic, 'String') AS name, side != 1 AS reads, CAST(consumer_group, 'String') AS group_name, ` + sqlNewest + ` AS newest,
	` + sqlSized + ` AS sized, ` + sqlBytes + ` AS bytes, ` + sqlSizes + ` AS sizes` + d.sql() + `
FROM messages WHERE ` + g.within() + topic + ` AND side IN (1, 2, 3)
GROUP BY topic, reads, consumer_group, start
ORDER BY name, reads, group_name, start
LIMIT {limit:UInt64}`
}

// TopicSums is exporters.TopicReader's.
func (s *Store) TopicSums(ctx context.Context, q exporters.TopicQuery) ([]exporters.TopicSum, error) {
	var (
		ps          params
		c           sumColumns
		d           = newDurationColumns(summedParts)
		name, group = new(proto.ColStr), new(proto.ColStr)
		reads       proto.ColUInt8
		newest      proto.ColInt64
		sized       proto.ColUInt64
		bytes       proto.ColInt64
		sizes       = new(proto.ColFloat64).Array()
		out         []exporters.TopicSum
	)
	g, err := ps.steps(q.Project, q.Range, q.Step)
	if err != nil {
		return nil, fmt.Errorf("cannot sum up topics: %w", err)
	}
	ps.text("topic", q.Topic)
	ps.int("limit", maxTopicRows+1)
	err = s.query(ctx, topicSumsSQL(g, q, d), ps,
		d.results(append(c.results(),
			proto.ResultColumn{Name: "name", Data: name}, proto.ResultColumn{Name: "reads", Data: &reads}, proto.ResultColumn{Name: "group_name", Data: group}, proto.ResultColumn{Name: "newest", Data: &newest},
			proto.ResultColumn{Name: "sized", Data: &sized}, proto.ResultColumn{Name: "bytes", Data: &bytes}, proto.ResultColumn{Name: "sizes", Data: sizes})),
		func() { out = out[:0] },
		func() {
			for i := range c.n {
				t := exporters.TopicSum{
					Topic: name.Row(i), Reads: reads[i] != 0, Group: group.Row(i), Start: c.start[i] * int64(time.Second), Sum: c.row(i), Newest: newest[i],
					Sizes: exporters.Sizes{Count: sized[i], Bytes: uint64(max(bytes[i], 0))}, //nolint:gosec // at least zero
				}
				if v := sizes.Row(i); t.Sizes.Count > 0 && len(v) == 4 {
					t.Sizes.P50, t.Sizes.P90, t.Sizes.P99 = exporters.SizeMiddle(int16(v[0])), exporters.SizeMiddle(int16(v[1])), exporters.SizeMiddle(int16(v[3]))
				}
				from, to := 0, exporters.PartsOfWriter
				if t.Reads {
					from, to = exporters.PartsOfWriter, len(summedParts)
				}
				t.Parts = make(map[exporters.PartName]exporters.Quantiles, to-from)
				for p := from; p < to; p++ {
					t.Parts[summedParts[p].name] = d.row(p, i)
				}
				out = append(out, t)
			}
		})
	if err == nil && len(out) > maxTopicRows {
		err = tooManyRows()
	}
	if err != nil {
		return nil, fmt.Errorf("cannot sum up topics: %w", err)
	}
	return out, nil
}

func tooManyRows() error {
	return fmt.Errorf("there are more than %d sums, ask for less time or longer steps: %w", maxTopicRows, exporters.ErrTooLarge)
}

// ofPartitions is the condition for a query, and binds it.
func (p *params) ofPartitions(g grain, q exporters.PartitionQuery) string {
	p.text("topic", q.Topic)
	where := g.within() + ` AND topic = {topic:String} AND ` + sqlReads
	if q.Writes {
		where = g.within() + ` AND topic = {topic:String} AND side = 1`
	}
	if q.Group != nil && !q.Writes {
		p.text("group", *q.Group)
		where += ` AND consumer_group = {group:String}`
	}
	if q.PartitionFrom != nil {
		p.int("partition_from", int64(*q.PartitionFrom))
		where += ` AND partition >= {partition_from:Int32}`
	}
	if q.PartitionTo != nil {
		p.int("partition_to", int64(*q.PartitionTo))
		where += ` AND partition <= {partition_to:Int32}`
	}
	return where
}

func partitionSumsSQL(g grain, step time.Duration, where string, d *durationColumns) string {
	return `
SELECT ` + g.start(step) + `, ` + sqlMessageSum + `, partition, ` + sqlWaited + ` AS waited` + d.sql() + `
FROM messages WHERE ` + where + `
GROUP BY partition, start ORDER BY partition, start LIMIT {limit:UInt64}`
}

// sumsOf are the columns of a query's part.
func sumsOf(q exporters.PartitionQuery) (*durationColumns, error) {
	if q.Part == "" {
		return newDurationColumns(nil), nil
	}
	at := slices.IndexFunc(summedParts, func(p part) bool { return p.name == q.Part })
	if at < 0 {
		return nil, fmt.Errorf("there is no part %q", q.Part)
	}
	return newDurationColumns(summedParts[at : at+1]), nil
}

// partitionColumns are those of exporters.PartitionSum.
type partitionColumns struct {
	sumColumns
	partition proto.ColInt32
	waited    proto.ColInt64
	durations *durationColumns
}

func (c *partitionColumns) results() proto.Results {
	return c.durations.results(append(c.sumColumns.results(), proto.ResultColumn{Name: "partition", Data: &c.partition}, proto.ResultColumn{Name: "waited", Data: &c.waited}))
}

func (c *partitionColumns) row(i int) exporters.PartitionSum {
	out := exporters.PartitionSum{Partition: c.partition[i], Start: c.start[i] * int64(time.Second), MessageSum: c.sumColumns.row(i), Waited: time.Duration(c.waited[i])}
	if len(c.durations.parts) > 0 {
		out.Part = c.durations.row(0, i)
	}
	return out
}

// PartitionSums is exporters.TopicReader's.
func (s *Store) PartitionSums(ctx context.Context, q exporters.PartitionQuery) ([]exporters.PartitionSum, error) {
	var (
		ps  params
		out []exporters.PartitionSum
	)
	d, err := sumsOf(q)
	if err != nil {
		return nil, fmt.Errorf("cannot sum up partitions: %w", err)
	}
	g, err := ps.steps(q.Project, q.Range, q.Step)
	if err != nil {
		return nil, fmt.Errorf("cannot sum up the partitions of %q: %w", q.Topic, err)
	}
	c := partitionColumns{durations: d}
	where := ps.ofPartitions(g, q)
	ps.int("limit", maxTopicRows+1)
	err = s.query(ctx, partitionSumsSQL(g, q.Step, where, d), ps, c.results(), func() { out = out[:0] }, func() {
		for i := range c.n {
			out = append(out, c.row(i))
		}
	})
	if err == nil && len(out) > maxTopicRows {
		err = tooManyRows()
	}
	if err != nil {
		return nil, fmt.Errorf("cannot sum up the partitions of %q: %w", q.Topic, err)
	}
	return out, nil
}

// Bits of grouping() are set for the keys that a row is not of.
const (
	levelOwner     = 0b0000
	levelCell      = 0b0011
	levelPartition = 0b0111
)

// partitionHeatSQL rolls up owners to cells and cells to partitions: the states are
// read once, which is most of the work. (Grouping sets would not be read from the
// projection.)
func partitionHeatSQL(g grain, step time.Duration, where string, d *durationColumns) string {
	const keys = `partition, start, consumer_group, ` + sqlOwner
	return `
SELECT ` + g.start(step) + `, ` + sqlMessageSum + `, partition, ` + sqlWaited + ` AS waited` + d.sql() + `, grouping(` + keys + `) AS level, CAST(consumer_group, 'String') AS group_name, CAST(` + sqlOwner + `, 'String') AS owner
FROM messages WHERE ` + where + `
GROUP BY ` + keys + ` WITH ROLLUP
ORDER BY level, partition, group_name, start, oldest, owner LIMIT {limit:UInt64}`
}

// PartitionHeat is exporters.TopicReader's.
func (s *Store) PartitionHeat(ctx context.Context, q exporters.PartitionQuery) (exporters.PartitionHeat, error) {
	var (
		ps           params
		level        proto.ColUInt64
		group, owner = new(proto.ColStr), new(proto.ColStr)
		out          exporters.PartitionHeat
		all          int
	)
	d, err := sumsOf(q)
	if err != nil {
		return out, fmt.Errorf("cannot sum up partitions over time: %w", err)
	}
	if q.Step == 0 {
		return out, fmt.Errorf("cannot sum up the partitions of %q over time: no step is given", q.Topic)
	}
	g, err := ps.steps(q.Project, q.Range, q.Step)
	if err != nil {
		return out, fmt.Errorf("cannot sum up the partitions of %q over time: %w", q.Topic, err)
	}
	c := partitionColumns{durations: d}
	where := ps.ofPartitions(g, q)
	ps.int("limit", maxTopicRows+1)
	err = s.query(ctx, partitionHeatSQL(g, q.Step, where, d), ps,
		append(c.results(), proto.ResultColumn{Name: "level", Data: &level}, proto.ResultColumn{Name: "group_name", Data: group}, proto.ResultColumn{Name: "owner", Data: owner}),
		func() { out, all = exporters.PartitionHeat{}, 0 },
		func() {
			all += len(level)
			for i, l := range level {
				switch l {
				case levelOwner:
					if !q.Writes {
						sum := c.row(i)
						out.Owners = append(out.Owners, exporters.PartitionOwner{Partition: sum.Partition, Group: group.Row(i), Instance: owner.Row(i), Start: sum.Start, MessageSum: sum.MessageSum})
					}
				case levelCell:
					out.Cells = append(out.Cells, c.row(i))
				case levelPartition:
					out.Rows = append(out.Rows, c.row(i))
				}
			}
		})
	if err == nil && all > maxTopicRows {
		err = tooManyRows()
	}
	if err != nil {
		return exporters.PartitionHeat{}, fmt.Errorf("cannot sum up the partitions of %q over time: %w", q.Topic, err)
	}
	return out, nil
}

func partitionOwnersSQL(g grain, step time.Duration, where string) string {
	return `
SELECT ` + g.start(step) + `, ` + sqlMessageSum + `, partition, CAST(consumer_group, 'String') AS group_name, CAST(` + sqlOwner + `, 'String') AS owner
FROM messages WHERE ` + where + `
GROUP BY partition, consumer_group, ` + sqlOwner + `, start ORDER BY partition, group_name, start, oldest, owner LIMIT {limit:UInt64}`
}

// PartitionOwners is exporters.TopicReader's.
func (s *Store) PartitionOwners(ctx context.Context, q exporters.PartitionQuery) ([]exporters.PartitionOwner, error) {
	var (
		ps           params
		c            sumColumns
		partition    proto.ColInt32
		group, owner = new(proto.ColStr), new(proto.ColStr)
		out          []exporters.PartitionOwner
	)
	g, err := ps.steps(q.Project, q.Range, q.Step)
	if err != nil {
		return nil, fmt.Errorf("cannot tell who read the partitions of %q: %w", q.Topic, err)
	}
	q.Writes = false
	where := ps.ofPartitions(g, q)
	ps.int("limit", maxTopicRows+1)
	err = s.query(ctx, partitionOwnersSQL(g, q.Step, where), ps,
		append(c.results(), proto.ResultColumn{Name: "partition", Data: &partition}, proto.ResultColumn{Name: "group_name", Data: group}, proto.ResultColumn{Name: "owner", Data: owner}),
		func() { out = out[:0] },
		func() {
			for i := range c.n {
				out = append(out, exporters.PartitionOwner{
					Partition: partition[i], Group: group.Row(i), Instance: owner.Row(i), Start: c.start[i] * int64(time.Second), MessageSum: c.row(i),
				})
			}
		})
	if err == nil && len(out) > maxTopicRows {
		err = tooManyRows()
	}
	if err != nil {
		return nil, fmt.Errorf("cannot tell who read the partitions of %q: %w", q.Topic, err)
	}
	return out, nil
}
