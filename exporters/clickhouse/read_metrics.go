package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

const (
	maxMetricNames  = 1000
	maxMetricValues = 100 // topics and groups of one name
	maxPointNames   = 16
	maxPoints       = 200_000
	// maxMetricRows bounds what a question of MetricSeries adds up here.
	maxMetricRows = 200_000
	maxSteps      = 2000
)

// oncePoint leaves one of the rows of a point that was stored twice.
const oncePoint = " LIMIT 1 BY source, source_offset, source_index"

// MetricNames lists the metrics with points in the range, by name.
func (s *Store) MetricNames(ctx context.Context, project uint64, r exporters.Range) ([]exporters.MetricName, error) {
	var (
		ps                      params
		name, unit, description = new(proto.ColStr), new(proto.ColStr), new(proto.ColStr)
		kind                    proto.ColUInt8
		points, series          proto.ColUInt64
		last                    proto.ColInt64
		topics                  = proto.NewArray[string](new(proto.ColStr))
		groups                  = proto.NewArray[string](new(proto.ColStr))
		out                     []exporters.MetricName
	)
	ps.uint("project", project)
	ps.stretch(r)
	ps.int("limit", maxMetricNames)
	values := func(column string) string {
		return fmt.Sprintf("arraySort(groupUniqArrayIf(%d)(CAST(%s, 'String'), %s != ''))", maxMetricValues, column, column)
	}
	err := s.query(ctx, `
SELECT CAST(name, 'String') AS metric, CAST(argMax(unit, time), 'String') AS metric_unit, CAST(argMax(description, time), 'String') AS about, argMax(kind, time) AS newest_kind,
	uniqExact(source, source_offset, source_index) AS points, uniqCombined(series) AS streams, toUnixTimestamp64Nano(max(time)) AS last,
	`+values("topic")+` AS topics, `+values("consumer_group")+` AS groups
FROM metric_points WHERE project = {project:UInt64} AND `+inStretch+`
GROUP BY metric ORDER BY metric LIMIT {limit:UInt64}`, ps,
		proto.Results{
			{Name: "metric", Data: name},
			{Name: "metric_unit", Data: unit},
			{Name: "about", Data: description},
			{Name: "newest_kind", Data: &kind},
			{Name: "points", Data: &points},
			{Name: "streams", Data: &series},
			{Name: "last", Data: &last},
			{Name: "topics", Data: topics},
			{Name: "groups", Data: groups},
		},
		func() { out = nil },
		func() {
			for i := range kind {
				out = append(out, exporters.MetricName{
					Name: name.Row(i), Unit: unit.Row(i), Description: description.Row(i), Kind: schemas.MetricKind(kind[i]),
					Points: points[i], Series: series[i], LastSeen: last[i], Topics: topics.Row(i), Groups: groups.Row(i),
				})
			}
		})
	if err != nil {
		return nil, fmt.Errorf("cannot list the metrics: %w", err)
	}
	return out, nil
}

// MetricPoints gives points as they were sent, by time.
func (s *Store) MetricPoints(ctx context.Context, q exporters.PointQuery) ([]schemas.MetricPoint, error) {
	if err := errors.Join(atMost("names", len(q.Names), maxPointNames), atMost("boot ids", len(q.BootIDs), maxRecords)); err != nil {
		return nil, err
	}
	if len(q.Names) == 0 {
		return nil, nil
	}
	var ps params
	ps.uint("project", q.Project)
	ps.stretch(q.Range)
	ps.int("limit", limited(q.Limit, maxPoints, maxPoints))
	list(&ps, "names", q.Names, literal)
	where := "project = {project:UInt64} AND name IN (SELECT arrayJoin({names:Array(String)})) AND " + inStretch
	if len(q.BootIDs) > 0 {
		list(&ps, "boots", q.BootIDs, literal)
		where += " AND boot_id IN (SELECT arrayJoin({boots:Array(String)}))"
	}
	const order = "time, name, source, source_offset, source_index"
	body := "SELECT " + pointNames + " FROM metric_points WHERE " + where
	switch {
	case q.Newest:
		body = "SELECT * FROM (" + body + " ORDER BY time DESC, source, source_offset, source_index LIMIT 1 BY name, series) ORDER BY " + order + " LIMIT {limit:UInt64}"
	case q.Every > 0:
		ps.int("every", int64(q.Every))
		body += " ORDER BY " + order + " LIMIT 1 BY name, series, intDiv(toUnixTimestamp64Nano(time), {every:Int64}) LIMIT {limit:UInt64}"
	default:
		body += " ORDER BY " + order + oncePoint + " LIMIT {limit:UInt64}"
	}
	c := newPointResults()
	var out []schemas.MetricPoint
	err := s.query(ctx, body, ps, c.results, func() { out = out[:0] }, func() {
		for i := range c.project {
			out = append(out, c.row(i))
		}
	})
	if err != nil {
		return nil, fmt.Errorf("cannot read points of the metrics %s: %w", strings.Join(q.Names, ", "), err)
	}
	return out, nil
}

const pointNames = `project, name, topic, partition, consumer_group, time, start_time, series, kind, temporality, monotonic, unit, description, client_id, broker,
service, scope, boot_id, resource, attributes, value, h_count, h_sum, h_min, h_max, zero_count, scale, positive_offset, positive_counts, negative_offset, negative_counts,
bounds, bucket_counts, exemplar_times, exemplar_values, exemplar_traces, exemplar_spans, source, source_offset, source_index`

// pointResults holds a block of metric points that were read.
type pointResults struct {
	results proto.Results

	project                               proto.ColUInt64
	name, topic, group, unit, description *proto.ColLowCardinality[string]
	clientID, broker, service, scope      *proto.ColLowCardinality[string]
	bootID, resource                      *proto.ColLowCardinality[string]
	partition                             proto.ColInt32
	time                                  *proto.ColDateTime64
	start                                 proto.ColInt64
	series                                proto.ColUInt64
	kind, temporality, monotonic          proto.ColUInt8
	attributes                            *proto.ColMap[string, string]
	value                                 proto.ColFloat64
	distributionResults
	exemplarTimes  *proto.ColArr[int64]
	exemplarValues *proto.ColArr[float64]
	exemplarTraces *proto.ColArr[[16]byte]
	exemplarSpans  *proto.ColArr[[8]byte]
	source         proto.ColUInt64
	sourceOffset   proto.ColInt64
	sourceIndex    proto.ColUInt32
}

// distributionResults are the columns of a histogram.
type distributionResults struct {
	count, zeroCount                      proto.ColUInt64
	sum, min, max                         proto.ColFloat64
	scale, positiveOffset, negativeOffset proto.ColInt32
	positive, negative, explicit          *proto.ColArr[uint64]
	bounds                                *proto.ColArr[float64]
}

func (c *distributionResults) columns() proto.Results {
	c.positive, c.negative = proto.NewArray[uint64](new(proto.ColUInt64)), proto.NewArray[uint64](new(proto.ColUInt64))
	c.explicit, c.bounds = proto.NewArray[uint64](new(proto.ColUInt64)), proto.NewArray[float64](new(proto.ColFloat64))
	return proto.Results{
		{Name: "h_count", Data: &c.count},
		{Name: "h_sum", Data: &c.sum},
		{Name: "h_min", Data: &c.min},
		{Name: "h_max", Data: &c.max},
		{Name: "zero_count", Data: &c.zeroCount},
		{Name: "scale", Data: &c.scale},
		{Name: "positive_offset", Data: &c.positiveOffset},
		{Name: "positive_counts", Data: c.positive},
		{Name: "negative_offset", Data: &c.negativeOffset},
		{Name: "negative_counts", Data: c.negative},
		{Name: "bounds", Data: c.bounds},
		{Name: "bucket_counts", Data: c.explicit},
	}
}

func (c *distributionResults) row(i int) schemas.Distribution {
	return schemas.Distribution{
		Count: c.count[i], Sum: c.sum[i], Min: c.min[i], Max: c.max[i], Scale: c.scale[i], ZeroCount: c.zeroCount[i],
		Positive: schemas.Buckets{Offset: c.positiveOffset[i], Counts: c.positive.Row(i)},
		Negative: schemas.Buckets{Offset: c.negativeOffset[i], Counts: c.negative.Row(i)},
		Bounds:   c.bounds.Row(i), Explicit: c.explicit.Row(i),
	}
}

func newPointResults() *pointResults {
	c := &pointResults{
		name: lowCardResult(), topic: lowCardResult(), group: lowCardResult(), unit: lowCardResult(), description: lowCardResult(),
		clientID: lowCardResult(), broker: lowCardResult(), service: lowCardResult(), scope: lowCardResult(),
		bootID: lowCardResult(), resource: lowCardResult(), time: newTime(), attributes: mapResult(),
		exemplarTimes: proto.NewArray[int64](new(proto.ColInt64)), exemplarValues: proto.NewArray[float64](new(proto.ColFloat64)),
		exemplarTraces: proto.NewArray[[16]byte](new(proto.ColFixedStr16)), exemplarSpans: proto.NewArray[[8]byte](new(proto.ColFixedStr8)),
	}
	c.results = slices.Concat(proto.Results{
		{Name: "project", Data: &c.project},
		{Name: "name", Data: c.name},
		{Name: "topic", Data: c.topic},
		{Name: "partition", Data: &c.partition},
		{Name: "consumer_group", Data: c.group},
		{Name: "time", Data: c.time},
		{Name: "start_time", Data: &c.start},
		{Name: "series", Data: &c.series},
		{Name: "kind", Data: &c.kind},
		{Name: "temporality", Data: &c.temporality},
		{Name: "monotonic", Data: &c.monotonic},
		{Name: "unit", Data: c.unit},
		{Name: "description", Data: c.description},
		{Name: "client_id", Data: c.clientID},
		{Name: "broker", Data: c.broker},
		{Name: "service", Data: c.service},
		{Name: "scope", Data: c.scope},
		{Name: "boot_id", Data: c.bootID},
		{Name: "resource", Data: c.resource},
		{Name: "attributes", Data: c.attributes},
		{Name: "value", Data: &c.value},
	}, c.columns(), proto.Results{
		{Name: "exemplar_times", Data: c.exemplarTimes},
		{Name: "exemplar_values", Data: c.exemplarValues},
		{Name: "exemplar_traces", Data: c.exemplarTraces},
		{Name: "exemplar_spans", Data: c.exemplarSpans},
		{Name: "source", Data: &c.source},
		{Name: "source_offset", Data: &c.sourceOffset},
		{Name: "source_index", Data: &c.sourceIndex},
	})
	return c
}

func (c *pointResults) row(i int) schemas.MetricPoint {
	p := schemas.MetricPoint{
		Project: c.project[i], Name: c.name.Row(i), Unit: c.unit.Row(i), Description: c.description.Row(i),
		Kind: schemas.MetricKind(c.kind[i]), Temporality: schemas.Temporality(c.temporality[i]), Monotonic: c.monotonic[i] != 0,
		Topic: c.topic.Row(i), Partition: c.partition[i], Group: c.group.Row(i), ClientID: c.clientID.Row(i), Broker: c.broker.Row(i),
		Service: c.service.Row(i), Scope: c.scope.Row(i), BootID: c.bootID.Row(i), Series: c.series[i],
		Resource: parseAttributes(c.resource.Row(i)), Attributes: mapRow(c.attributes, i),
		Start: c.start[i], Time: int64(c.time.Data[i]), Value: c.value[i], Histogram: c.distributionResults.row(i),
		Source: schemas.Source(c.source[i]), Position: schemas.Position{Offset: c.sourceOffset[i], Index: c.sourceIndex[i]},
	}
	times, values, traces, spans := c.exemplarTimes.Row(i), c.exemplarValues.Row(i), c.exemplarTraces.Row(i), c.exemplarSpans.Row(i)
	for j := range times {
		p.Exemplars = append(p.Exemplars, schemas.Exemplar{Time: times[j], Value: values[j], TraceID: traces[j], SpanID: spans[j]})
	}
	return p
}

// lookBack is how long before the range the last state of a cumulative stream
// is looked for: clients send at least every minute.
const lookBack = 2 * time.Minute
