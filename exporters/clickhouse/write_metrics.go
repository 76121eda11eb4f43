package clickhouse

import (
	"context"
	"fmt"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// WriteMetrics stores metric points as one INSERT. See WriteSpans for its limits.
func (s *Store) WriteMetrics(ctx context.Context, points []schemas.MetricPoint) error {
	if len(points) == 0 {
		return nil
	}
	if len(points) > maxBatchRows {
		return fmt.Errorf("cannot write %d metric points, at most %d: %w", len(points), maxBatchRows, exporters.ErrTooLarge)
	}
	var days dayCount
	for i := range points {
		days.add(points[i].Time)
	}
	if err := days.check("metric points", len(points)); err != nil {
		return err
	}
	c := s.metricColumns.get()
	defer func() { c.reset(); s.metricColumns.put(c) }()
	for i := range points {
		if c.append(&points[i]); c.bytes > maxBatchBytes {
			return fmt.Errorf("cannot write %d metric points of more than %d bytes: %w", len(points), maxBatchBytes, exporters.ErrTooLarge)
		}
	}
	if err := s.write(ctx, c.insert, c.input); err != nil {
		return fmt.Errorf("cannot write %d metric points: %w", len(points), err)
	}
	return nil
}

// metricColumns holds one batch of metric points. Its memory is reused.
type metricColumns struct {
	input  proto.Input
	insert string
	bytes  int // about

	project                               proto.ColUInt64
	name, topic, group                    lowCard
	partition                             proto.ColInt32
	time                                  *proto.ColDateTime64
	start                                 proto.ColInt64
	series                                proto.ColUInt64
	kind, temporality, monotonic          proto.ColUInt8
	unit, description                     lowCard
	clientID, broker                      lowCard
	service, scope, bootID, resource      lowCard
	attributes                            attributeMap
	value                                 proto.ColFloat64
	count, zeroCount                      proto.ColUInt64
	sum, min, max                         proto.ColFloat64
	scale, positiveOffset, negativeOffset proto.ColInt32
	positive, negative, explicit          *proto.ColArr[uint64]
	bounds                                *proto.ColArr[float64]
	exemplarTimes                         *proto.ColArr[int64]
	exemplarValues                        *proto.ColArr[float64]
	exemplarTraces                        *proto.ColArr[[16]byte]
	exemplarSpans                         *proto.ColArr[[8]byte]
	source                                proto.ColUInt64
	sourceOffset                          proto.ColInt64
	sourceIndex                           proto.ColUInt32

	resources resourceTexts
}

func newMetricColumns() *metricColumns {
	c := &metricColumns{
		time:     newTime(),
		positive: proto.NewArray[uint64](new(proto.ColUInt64)), negative: proto.NewArray[uint64](new(proto.ColUInt64)),
		explicit: proto.NewArray[uint64](new(proto.ColUInt64)), bounds: proto.NewArray[float64](new(proto.ColFloat64)),
		exemplarTimes: proto.NewArray[int64](new(proto.ColInt64)), exemplarValues: proto.NewArray[float64](new(proto.ColFloat64)),
		exemplarTraces: proto.NewArray[[16]byte](new(proto.ColFixedStr16)), exemplarSpans: proto.NewArray[[8]byte](new(proto.ColFixedStr8)),
	}
	c.input = proto.Input{
		{Name: "project", Data: &c.project},
		{Name: "name", Data: &c.name},
		{Name: "topic", Data: &c.topic},
		{Name: "partition", Data: &c.partition},
		{Name: "consumer_group", Data: &c.group},
		{Name: "time", Data: c.time},
		{Name: "start_time", Data: &c.start},
		{Name: "series", Data: &c.series},
		{Name: "kind", Data: &c.kind},
		{Name: "temporality", Data: &c.temporality},
		{Name: "monotonic", Data: &c.monotonic},
		{Name: "unit", Data: &c.unit},
		{Name: "description", Data: &c.description},
		{Name: "client_id", Data: &c.clientID},
		{Name: "broker", Data: &c.broker},
		{Name: "service", Data: &c.service},
		{Name: "scope", Data: &c.scope},
		{Name: "boot_id", Data: &c.bootID},
		{Name: "resource", Data: &c.resource},
		{Name: "attributes", Data: &c.attributes},
		{Name: "value", Data: &c.value},
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
		{Name: "exemplar_times", Data: c.exemplarTimes},
		{Name: "exemplar_values", Data: c.exemplarValues},
		{Name: "exemplar_traces", Data: c.exemplarTraces},
		{Name: "exemplar_spans", Data: c.exemplarSpans},
		{Name: "source", Data: &c.source},
		{Name: "source_offset", Data: &c.sourceOffset},
		{Name: "source_index", Data: &c.sourceIndex},
	}
	c.insert = insertText("metric_points", c.input)
	return c
}

func (c *metricColumns) reset() {
	reset(c.input)
	c.bytes = 0
	c.resources.reset()
}

func (c *metricColumns) append(p *schemas.MetricPoint) {
	h := &p.Histogram
	c.bytes += 300 + len(p.Name) + len(p.Topic) + len(p.Group) + len(p.Unit) + len(p.Description) + len(p.ClientID) + len(p.Broker) +
		len(p.Service) + len(p.Scope) + len(p.BootID) + attributeBytes(p.Attributes) +
		8*(len(h.Positive.Counts)+len(h.Negative.Counts)+len(h.Bounds)+len(h.Explicit)) + 40*len(p.Exemplars)
	c.project.Append(p.Project)
	c.name.Append(p.Name)
	c.topic.Append(p.Topic)
	c.partition.Append(p.Partition)
	c.group.Append(p.Group)
	c.time.AppendRaw(proto.DateTime64(p.Time))
	c.start.Append(p.Start)
	c.series.Append(p.Series)
	c.kind.Append(uint8(p.Kind))
	c.temporality.Append(uint8(p.Temporality))
	c.monotonic.Append(bit(p.Monotonic))
	c.unit.Append(p.Unit)
	c.description.Append(p.Description)
	c.clientID.Append(p.ClientID)
	c.broker.Append(p.Broker)
	c.service.Append(p.Service)
	c.scope.Append(p.Scope)
	c.bootID.Append(p.BootID)
	c.resource.Append(c.resources.of(p.Resource, &c.bytes))
	c.attributes.Append(p.Attributes)
	c.value.Append(p.Value)
	c.count.Append(h.Count)
	c.sum.Append(h.Sum)
	c.min.Append(h.Min)
	c.max.Append(h.Max)
	c.zeroCount.Append(h.ZeroCount)
	c.scale.Append(h.Scale)
	c.positiveOffset.Append(h.Positive.Offset)
	c.positive.Append(h.Positive.Counts)
	c.negativeOffset.Append(h.Negative.Offset)
	c.negative.Append(h.Negative.Counts)
	c.bounds.Append(h.Bounds)
	c.explicit.Append(h.Explicit)

	times, values := c.exemplarTimes.Data.(*proto.ColInt64), c.exemplarValues.Data.(*proto.ColFloat64)
	traces, spans := c.exemplarTraces.Data.(*proto.ColFixedStr16), c.exemplarSpans.Data.(*proto.ColFixedStr8)
	for i := range p.Exemplars {
		e := &p.Exemplars[i]
		times.Append(e.Time)
		values.Append(e.Value)
		traces.Append(e.TraceID)
		spans.Append(e.SpanID)
	}
	c.exemplarTimes.Offsets.Append(uint64(times.Rows()))
	c.exemplarValues.Offsets.Append(uint64(values.Rows()))
	c.exemplarTraces.Offsets.Append(uint64(traces.Rows()))
	c.exemplarSpans.Offsets.Append(uint64(spans.Rows()))

	c.source.Append(uint64(p.Source))
	c.sourceOffset.Append(p.Position.Offset)
	c.sourceIndex.Append(p.Position.Index)
}
