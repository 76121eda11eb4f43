package clickhouse

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// labelColumns are the labels in the order of the rows read, and what stands
// for a label that the query does not keep apart.
var labelColumns = []struct {
	label          exporters.MetricLabel
	name, sql, all string
}{
	{exporters.LabelTopic, "l_topic", "CAST(topic, 'String')", "''"},
	{exporters.LabelPartition, "l_partition", "partition", "toInt32(-1)"},
	{exporters.LabelGroup, "l_group", "CAST(consumer_group, 'String')", "''"},
	{exporters.LabelService, "l_service", "CAST(service, 'String')", "''"},
	{exporters.LabelClient, "l_client", "CAST(client_id, 'String')", "''"},
	{exporters.LabelCause, "l_cause", attributeCause, "''"},
	{exporters.LabelError, "l_error", attributeError, "''"},
	{exporters.LabelPathway, "l_pathway", attributePathway, "''"},
}

// Labels that have no column of their own; empty where the point has none.
const (
	attributeCause   = "attributes['hoptrace.rebalance.cause']"
	attributeError   = "attributes['error.type']"
	attributePathway = "attributes['hoptrace.pathway']"
)

// MetricSeries adds up one metric. What happened since the point before (delta)
// is added up by the engine; of states (gauges and cumulative streams) the
// engine gives each stream's last of a step, and differences are made here.
func (s *Store) MetricSeries(ctx context.Context, q exporters.MetricQuery) ([]exporters.MetricSeries, error) {
	if q.Range.To.IsZero() {
		q.Range.To = time.Now() // one now for all that follows
	}
	from, to := nanos(q.Range)
	if q.Step < time.Millisecond || q.Step > 366*24*time.Hour {
		return nil, fmt.Errorf("cannot add up metric %q: step is %v, want 1ms to a year", q.Name, q.Step)
	}
	if steps := (to - from) / int64(q.Step); steps > maxSteps {
		return nil, fmt.Errorf("cannot add up metric %q: the range holds %d steps of %v, want at most %d: %w", q.Name, steps, q.Step, maxSteps, exporters.ErrTooLarge)
	}
	m := metricSum{step: int64(q.Step), from: from, lines: make(map[lineKey]*line)}
	m.params.uint("project", q.Project)
	m.params.stretch(exporters.Range{From: time.Unix(0, from), To: time.Unix(0, to)})
	m.params.int("before", from-int64(max(q.Step, lookBack)))
	m.params.int("step", m.step)
	m.params.int("limit", maxMetricRows+1)
	m.params.text("name", q.Name)
	m.where = "project = {project:UInt64} AND name = {name:String}"
	for _, f := range []struct{ param, sql, value string }{
		{"f_topic", "topic", q.Topic},
		{"f_group", "consumer_group", q.Group},
		{"f_service", "service", q.Service},
		{"f_client", "client_id", q.ClientID},
		{"f_cause", attributeCause, q.Cause},
		{"f_error", attributeError, q.ErrorType},
		{"f_pathway", attributePathway, q.Pathway},
	} {
		if f.value != "" {
			m.params.text(f.param, f.value)
			m.where += " AND " + f.sql + " = {" + f.param + ":String}"
		}
	}
	if q.Partition != nil {
		m.params.int("f_partition", int64(*q.Partition))
		m.where += " AND partition = {f_partition:Int32}"
	}
	var labels, names []string
	for _, l := range labelColumns {
		sql := l.all
		if slices.Contains(q.By, l.label) {
			sql = l.sql
		}
		labels, names = append(labels, sql+" AS "+l.name), append(names, l.name)
	}
	m.labels, m.names = strings.Join(labels, ", "), strings.Join(names, ", ")
	for _, read := range []func(context.Context, *Store) error{m.deltas, m.states, m.exemplars} {
		if err := read(ctx, s); err != nil {
			return nil, fmt.Errorf("cannot add up metric %q: %w", q.Name, err)
		}
	}
	return m.series(), nil
}

// metricSum is one question of MetricSeries.
type metricSum struct {
	step, from    int64
	params        params
	where         string
	labels, names string // of the select list, and of GROUP BY
	lines         map[lineKey]*line
}

type lineKey struct {
	topic, group, service, client string
	cause, fault, pathway         string
	partition                     int32
	kind                          schemas.MetricKind
}

type line struct {
	unit  string
	steps map[int64]*step
}

// step adds up. Distributions that cannot be added stand side by side.
type step struct {
	count         uint64
	sum, min, max float64
	distributions []*schemas.Distribution
	exemplar      *schemas.Exemplar
}

// summed are rows of one statement.
type summed struct {
	slot                          proto.ColInt64
	topic, group, service, client *proto.ColStr
	cause, fault, pathway         *proto.ColStr
	partition                     proto.ColInt32
	kind                          proto.ColUInt8
	unit                          *proto.ColStr
	streams                       proto.ColUInt64
	value, low, high              proto.ColFloat64
	started                       proto.ColInt64
	series                        proto.ColUInt64
	temporality                   proto.ColUInt8
	distributionResults
	positiveIndex, negativeIndex *proto.ColArr[int64]
}

func (r *summed) labelResults() proto.Results {
	for _, c := range []**proto.ColStr{&r.topic, &r.group, &r.service, &r.client, &r.cause, &r.fault, &r.pathway, &r.unit} {
		*c = new(proto.ColStr)
	}
	return proto.Results{
		{Name: "slot", Data: &r.slot},
		{Name: "l_topic", Data: r.topic},
		{Name: "l_partition", Data: &r.partition},
		{Name: "l_group", Data: r.group},
		{Name: "l_service", Data: r.service},
		{Name: "l_client", Data: r.client},
		{Name: "l_cause", Data: r.cause},
		{Name: "l_error", Data: r.fault},
		{Name: "l_pathway", Data: r.pathway},
	}
}

func (r *summed) key(i int) lineKey {
	k := lineKey{
		topic: r.topic.Row(i), group: r.group.Row(i), service: r.service.Row(i), client: r.client.Row(i),
		cause: r.cause.Row(i), fault: r.fault.Row(i), pathway: r.pathway.Row(i), partition: r.partition[i],
	}
	if i < len(r.kind) {
		k.kind = schemas.MetricKind(r.kind[i])
	}
	return k
}

const slotOf = "intDiv(toUnixTimestamp64Nano(time), {step:Int64}) AS slot"

// told is an aggregate of column over those rows that have it, and NaN when one has not.
func told(aggregate, column string) string {
	return "if(countIf(isNaN(" + column + ") AND h_count > 0) > 0, nan, " + aggregate + "If(" + column + ", NOT isNaN(" + column + ")))"
}

func (m *metricSum) deltas(ctx context.Context, s *Store) error {
	r := &summed{positiveIndex: proto.NewArray[int64](new(proto.ColInt64)), negativeIndex: proto.NewArray[int64](new(proto.ColInt64))}
	results := append(r.labelResults(), proto.Results{
		{Name: "point_kind", Data: &r.kind},
		{Name: "point_unit", Data: r.unit},
		{Name: "streams", Data: &r.streams},
		{Name: "added", Data: &r.value},
		{Name: "positive_index", Data: r.positiveIndex},
		{Name: "negative_index", Data: r.negativeIndex},
	}...)
	for _, c := range r.columns() {
		if c.Name != "positive_offset" && c.Name != "negative_offset" {
			c.Name = "d_" + c.Name
			results = append(results, c)
		}
	}
	names := make([]string, len(results))
	for i, c := range results {
		switch c.Name {
		case "positive_index", "negative_index":
			names[i] = strings.TrimSuffix(c.Name, "index") + "map.1 AS " + c.Name
		case "d_positive_counts", "d_negative_counts":
			names[i] = strings.TrimSuffix(strings.TrimPrefix(c.Name, "d_"), "counts") + "map.2 AS " + c.Name
		default:
			names[i] = c.Name
		}
	}
	index := func(sign string) string {
		return "sumMap(arrayMap(i -> toInt64(" + sign + "_offset) + toInt64(i) - 1, arrayEnumerate(" + sign + "_counts)), " + sign + "_counts) AS " + sign + "_map"
	}
	body := `
SELECT ` + strings.Join(names, ", ") + `
FROM
(
	SELECT ` + slotOf + `, ` + m.labels + `, kind AS point_kind, CAST(any(unit), 'String') AS point_unit, uniqExact(series) AS streams, sum(value) AS added,
		sum(h_count) AS d_h_count, ` + told("sum", "h_sum") + ` AS d_h_sum, ` + told("min", "h_min") + ` AS d_h_min, ` + told("max", "h_max") + ` AS d_h_max,
		sum(zero_count) AS d_zero_count, scale AS d_scale, bounds AS d_bounds, sumForEach(bucket_counts) AS d_bucket_counts, ` + index("positive") + `, ` + index("negative") + `
	FROM (SELECT * FROM metric_points WHERE ` + m.where + ` AND temporality = 1 AND ` + inStretch + oncePoint + `)
	GROUP BY slot, ` + m.names + `, point_kind, d_scale, d_bounds
)
ORDER BY slot LIMIT {limit:UInt64}`
	rows := 0
	err := s.query(ctx, body, m.params, results,
		func() { rows = 0; m.lines = make(map[lineKey]*line) },
		func() {
			rows += len(r.slot)
			for i := range r.slot {
				at := m.at(r.key(i), r.unit.Row(i), r.slot[i])
				if r.isNumber(i) {
					at.add(r.streams[i], r.value[i], math.NaN(), math.NaN())
					continue
				}
				d := schemas.Distribution{
					Count: r.count[i], Sum: r.sum[i], Min: r.min[i], Max: r.max[i], Scale: r.scale[i], ZeroCount: r.zeroCount[i],
					Positive: dense(r.positiveIndex.Row(i), r.positive.Row(i)), Negative: dense(r.negativeIndex.Row(i), r.negative.Row(i)),
					Bounds: r.bounds.Row(i), Explicit: r.explicit.Row(i),
				}
				at.distribution(&d)
			}
		})
	return tooMany(rows, err)
}

func (r *summed) isNumber(i int) bool {
	return r.kind[i] == uint8(schemas.MetricGauge) || r.kind[i] == uint8(schemas.MetricSum)
}

// dense are buckets of sorted indices. Of an absurd span, which points of
// different senders may make, the upper part is kept.
func dense(index []int64, counts []uint64) schemas.Buckets {
	if len(index) == 0 {
		return schemas.Buckets{}
	}
	const most = 1 << 16
	last := index[len(index)-1]
	first := max(index[0], last-most+1)
	out := schemas.Buckets{Offset: int32(first), Counts: make([]uint64, last-first+1)} //nolint:gosec // from an int32
	for i, at := range index {
		out.Counts[max(at, first)-first] += counts[i]
	}
	return out
}

func tooMany(rows int, err error) error {
	if err == nil && rows > maxMetricRows {
		return fmt.Errorf("it has more than %d rows: ask for less time, larger steps or one topic: %w", maxMetricRows, exporters.ErrTooLarge)
	}
	return err
}

// states reads gauges and cumulative streams.
func (m *metricSum) states(ctx context.Context, s *Store) error {
	r := &summed{}
	results := append(r.labelResults(), proto.Results{
		{Name: "point_kind", Data: &r.kind},
		{Name: "point_unit", Data: r.unit},
		{Name: "series", Data: &r.series},
		{Name: "point_temporality", Data: &r.temporality},
		{Name: "started", Data: &r.started},
		{Name: "state", Data: &r.value},
		{Name: "low", Data: &r.low},
		{Name: "high", Data: &r.high},
	}...)
	last := r.columns()
	columns := make([]string, 0, len(last))
	for _, c := range last {
		columns = append(columns, "argMax("+c.Name+", time) AS d_"+c.Name)
		c.Name = "d_" + c.Name
		results = append(results, c)
	}
	body := `
SELECT ` + slotOf + `, ` + m.labels + `, kind AS point_kind, CAST(any(unit), 'String') AS point_unit, series, temporality AS point_temporality,
	argMax(start_time, time) AS started, argMax(value, time) AS state, min(value) AS low, max(value) AS high, ` + strings.Join(columns, ", ") + `
FROM metric_points
WHERE ` + m.where + ` AND temporality != 1 AND time >= fromUnixTimestamp64Nano({before:Int64}) AND time < fromUnixTimestamp64Nano({to:Int64})
GROUP BY slot, ` + m.names + `, point_kind, series, point_temporality ORDER BY slot LIMIT {limit:UInt64}`
	type stream struct {
		lineKey
		series uint64
	}
	type state struct {
		started      int64
		value        float64
		distribution schemas.Distribution
	}
	rows := 0
	first := floorDiv(m.from, m.step)
	var all []func() // in the end: an attempt that broke off must leave nothing
	var known map[stream]state
	err := s.query(ctx, body, m.params, results,
		func() { rows, all, known = 0, nil, make(map[stream]state) },
		func() {
			rows += len(r.slot)
			for i := range r.slot {
				key, unit, slot := r.key(i), r.unit.Row(i), r.slot[i]
				if r.kind[i] == uint8(schemas.MetricGauge) {
					if slot >= first {
						value, low, high := r.value[i], r.low[i], r.high[i]
						all = append(all, func() { m.at(key, unit, slot).add(1, value, low, high) })
					}
					continue
				}
				id := stream{key, r.series[i]}
				now := state{r.started[i], r.value[i], r.row(i)}
				before, had := known[id]
				known[id] = now
				fresh := now.started != 0 && (had && now.started > before.started || !had && now.started >= m.from-int64(lookBack))
				if slot < first || !had && !fresh {
					continue // without the state before nobody knows what was added
				}
				if r.isNumber(i) {
					value := now.value
					if !fresh {
						value -= before.value
					}
					all = append(all, func() { m.at(key, unit, slot).add(1, value, math.NaN(), math.NaN()) })
					continue
				}
				d := now.distribution
				if !fresh {
					if since, ok := d.Since(&before.distribution); ok {
						d = since
					}
				}
				all = append(all, func() { m.at(key, unit, slot).distribution(&d) })
			}
		})
	if err = tooMany(rows, err); err != nil {
		return err
	}
	for _, add := range all {
		add()
	}
	return nil
}

// exemplars finds the largest of each step.
func (m *metricSum) exemplars(ctx context.Context, s *Store) error {
	r := &summed{}
	var value proto.ColFloat64
	var at proto.ColInt64
	var trace proto.ColFixedStr16
	var span proto.ColFixedStr8
	results := append(r.labelResults(), proto.Results{
		{Name: "point_kind", Data: &r.kind},
		{Name: "e_time", Data: &at},
		{Name: "e_value", Data: &value},
		{Name: "e_trace", Data: &trace},
		{Name: "e_span", Data: &span},
	}...)
	type found struct {
		key  lineKey
		slot int64
		e    schemas.Exemplar
	}
	var all []found
	err := s.query(ctx, `
SELECT `+slotOf+`, `+m.labels+`, kind AS point_kind, e_time, e_value, e_trace, e_span
FROM metric_points ARRAY JOIN exemplar_times AS e_time, exemplar_values AS e_value, exemplar_traces AS e_trace, exemplar_spans AS e_span
WHERE `+m.where+` AND `+inStretch+` AND e_trace != toFixedString('', 16)
ORDER BY e_value DESC, e_time LIMIT 1 BY slot, `+m.names+`, point_kind LIMIT {limit:UInt64}`, m.params, results,
		func() { all = nil },
		func() {
			for i := range r.slot {
				all = append(all, found{r.key(i), r.slot[i], schemas.Exemplar{Time: at[i], Value: value[i], TraceID: trace[i], SpanID: span[i]}})
			}
		})
	if err != nil {
		return err
	}
	for _, f := range all {
		if l := m.lines[f.key]; l != nil && l.steps[f.slot] != nil {
			l.steps[f.slot].exemplar = &f.e
		}
	}
	return nil
}

func (m *metricSum) at(k lineKey, unit string, slot int64) *step {
	l := m.lines[k]
	if l == nil {
		l = &line{unit: unit, steps: make(map[int64]*step)}
		m.lines[k] = l
	}
	at := l.steps[slot]
	if at == nil {
		at = &step{min: math.NaN(), max: math.NaN()}
		l.steps[slot] = at
	}
	return at
}

func (t *step) add(n uint64, value, low, high float64) {
	t.count += n
	t.sum += value
	if math.IsNaN(t.min) || low < t.min {
		t.min = low
	}
	if math.IsNaN(t.max) || high > t.max {
		t.max = high
	}
}

func (t *step) distribution(d *schemas.Distribution) {
	if d.Count == 0 {
		return
	}
	for _, have := range t.distributions {
		if have.Merge(d) {
			return
		}
	}
	t.distributions = append(t.distributions, d)
}

func (m *metricSum) series() []exporters.MetricSeries {
	out := make([]exporters.MetricSeries, 0, len(m.lines))
	for k, l := range m.lines {
		one := exporters.MetricSeries{
			Topic: k.topic, Partition: k.partition, Group: k.group, Service: k.service, ClientID: k.client,
			Cause: k.cause, ErrorType: k.fault, Pathway: k.pathway, Kind: k.kind, Unit: l.unit,
			Steps: make([]exporters.MetricStep, 0, len(l.steps)),
		}
		for slot, t := range l.steps {
			one.Steps = append(one.Steps, t.result(slot*m.step))
		}
		slices.SortFunc(one.Steps, func(a, b exporters.MetricStep) int { return cmp.Compare(a.Time, b.Time) })
		out = append(out, one)
	}
	slices.SortFunc(out, func(a, b exporters.MetricSeries) int {
		return cmp.Or(strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition), strings.Compare(a.Group, b.Group),
			strings.Compare(a.Service, b.Service), strings.Compare(a.ClientID, b.ClientID),
			strings.Compare(a.Cause, b.Cause), strings.Compare(a.ErrorType, b.ErrorType), strings.Compare(a.Pathway, b.Pathway), cmp.Compare(a.Kind, b.Kind))
	})
	return out
}

func (t *step) result(at int64) exporters.MetricStep {
	nan := math.NaN()
	out := exporters.MetricStep{Time: at, Count: t.count, Sum: t.sum, Min: t.min, Max: t.max, P50: nan, P95: nan, P99: nan, Exemplar: t.exemplar}
	if len(t.distributions) == 0 {
		return out
	}
	out.Min, out.Max = math.Inf(1), math.Inf(-1)
	for _, d := range t.distributions {
		out.Count += d.Count
		out.Sum += d.Sum
		out.Min, out.Max = math.Min(out.Min, d.Min), math.Max(out.Max, d.Max)
	}
	out.P50 = schemas.Quantile(0.5, t.distributions...)
	out.P95 = schemas.Quantile(0.95, t.distributions...)
	out.P99 = schemas.Quantile(0.99, t.distributions...)
	return out
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
