package clickhouse

import (
	"context"
	"fmt"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/internal/search"
	"github.com/hoptrace/hoptrace/schemas"
)

// WriteLogs stores log records as one INSERT. See WriteSpans for its limits.
func (s *Store) WriteLogs(ctx context.Context, logs []schemas.Log) error {
	if len(logs) == 0 {
		return nil
	}
	if len(logs) > maxBatchRows {
		return fmt.Errorf("cannot write %d log records, at most %d: %w", len(logs), maxBatchRows, exporters.ErrTooLarge)
	}
	var days dayCount
	for i := range logs {
		days.add(logs[i].Time)
	}
	if err := days.check("log records", len(logs)); err != nil {
		return err
	}
	c := s.logColumns.get()
	defer func() { c.reset(); s.logColumns.put(c) }()
	for i := range logs {
		if c.append(&logs[i]); c.bytes > maxBatchBytes {
			return fmt.Errorf("cannot write %d log records of more than %d bytes: %w", len(logs), maxBatchBytes, exporters.ErrTooLarge)
		}
	}
	if err := s.write(ctx, c.insert, c.input); err != nil {
		return fmt.Errorf("cannot write %d log records: %w", len(logs), err)
	}
	return nil
}

// WrittenLogs tells which log records of a source are stored at or after an offset.
func (s *Store) WrittenLogs(ctx context.Context, source schemas.Source, from int64) (map[schemas.Position]struct{}, error) {
	return s.written(ctx, "logs", source, from)
}

// logColumns holds one batch of log records. Its memory is reused.
type logColumns struct {
	input  proto.Input
	insert string
	bytes  int // about

	project                         proto.ColUInt64
	service, level, scope, resource lowCard
	origin                          lowCard
	time                            *proto.ColDateTime64
	received                        proto.ColInt64
	traceID                         proto.ColFixedStr16
	spanID                          proto.ColFixedStr8
	severity                        proto.ColUInt8
	body                            proto.ColStr
	attributes                      attributeMap
	source                          proto.ColUInt64
	sourceOffset                    proto.ColInt64
	sourceIndex                     proto.ColUInt32

	resources resourceTexts
}

func newLogColumns() *logColumns {
	c := &logColumns{time: newTime()}
	c.input = proto.Input{
		{Name: "project", Data: &c.project},
		{Name: "service", Data: &c.service},
		{Name: "time", Data: c.time},
		{Name: "received", Data: &c.received},
		{Name: "trace_id", Data: &c.traceID},
		{Name: "span_id", Data: &c.spanID},
		{Name: "severity", Data: &c.severity},
		{Name: "level", Data: &c.level},
		{Name: "body", Data: &c.body},
		{Name: "scope", Data: &c.scope},
		{Name: "origin", Data: &c.origin},
		{Name: "resource", Data: &c.resource},
		{Name: "attributes", Data: &c.attributes},
		{Name: "source", Data: &c.source},
		{Name: "source_offset", Data: &c.sourceOffset},
		{Name: "source_index", Data: &c.sourceIndex},
	}
	c.insert = insertText("logs", c.input)
	return c
}

func (c *logColumns) reset() {
	reset(c.input)
	c.bytes = 0
	c.resources.reset()
}

func (c *logColumns) append(l *schemas.Log) {
	c.project.Append(l.Project)
	c.service.Append(l.Service)
	c.time.AppendRaw(proto.DateTime64(l.Time))
	c.received.Append(l.Received)
	c.traceID.Append(l.TraceID)
	c.spanID.Append(l.SpanID)
	c.severity.Append(l.Severity)
	c.level.Append(l.Level)
	c.body.Append(l.Body)
	c.scope.Append(l.Scope)
	c.origin.Append(string(l.Origin))
	c.resource.Append(c.resources.of(l.Resource, &c.bytes))
	c.attributes.Append(l.Attributes)
	c.source.Append(uint64(l.Source))
	c.sourceOffset.Append(l.Position.Offset)
	c.sourceIndex.Append(l.Position.Index)
	c.bytes += 100 + len(l.Service) + len(l.Level) + len(l.Body) + len(l.Scope) + attributeBytes(l.Attributes)
}

// maxLogSkip bounds how many records of one time a page passes over.
const maxLogSkip = 10_000

// Logs lists log records, newest first.
func (s *Store) Logs(ctx context.Context, q exporters.LogQuery) ([]schemas.Log, error) {
	if q.Skip < 0 || q.Skip > maxLogSkip {
		return nil, fmt.Errorf("cannot list logs: skip is %d, want 0 to %d: %w", q.Skip, maxLogSkip, exporters.ErrTooLarge)
	}
	var ps params
	ps.uint("project", q.Project)
	from, to := nanos(q.Range)
	skip := 0
	if q.Before != 0 && q.Before < to {
		to = q.Before
		if q.Skip > 0 { // those at Before come too, but for the ones that were had
			to, skip = q.Before+1, q.Skip
		}
	}
	ps.int("from", from)
	ps.int("to", to)
	where := "project = {project:UInt64} AND " + inStretch
	if q.Service != "" {
		ps.text("service", q.Service)
		where += " AND service = {service:String}"
	}
	if !q.Trace.IsZero() {
		ps.traces([]schemas.TraceID{q.Trace})
		where += " AND trace_id IN (" + traceSet + ")"
	}
	if q.MinSeverity > 0 {
		ps.int("severity", int64(q.MinSeverity))
		where += " AND severity >= {severity:UInt8}"
	}
	if q.Text != "" {
		ps.text("text", q.Text)
		where += " AND positionCaseInsensitiveUTF8(body, {text:String}) > 0"
	}
	if !q.Where.Empty() {
		where += " AND " + (&rowSQL{params: &ps, subject: search.Logs}).expr(q.Where)
	}
	ps.int("limit", limited(q.Limit, 100, 500))
	ps.int("skip", int64(skip))
	c := newLogResults()
	var out []schemas.Log
	err := s.query(ctx, "SELECT "+c.names+" FROM logs WHERE "+where+
		" ORDER BY time DESC, source, source_offset, source_index LIMIT 1 BY source, source_offset, source_index LIMIT {skip:UInt64}, {limit:UInt64}", ps, c.results,
		func() { out = out[:0] },
		func() {
			for i := range c.project {
				out = append(out, c.row(i))
			}
		})
	if err != nil {
		return nil, fmt.Errorf("cannot list logs: %w", err)
	}
	return out, nil
}

// logResults holds a block of log records that were read.
type logResults struct {
	results proto.Results
	names   string

	project                         proto.ColUInt64
	service, level, scope, resource *proto.ColLowCardinality[string]
	origin                          *proto.ColLowCardinality[string]
	time, received                  proto.ColInt64
	traceID                         proto.ColFixedStr16
	spanID                          proto.ColFixedStr8
	severity                        proto.ColUInt8
	body                            proto.ColStr
	attributes                      *proto.ColMap[string, string]
	source                          proto.ColUInt64
	sourceOffset                    proto.ColInt64
	sourceIndex                     proto.ColUInt32
}

func newLogResults() *logResults {
	c := &logResults{
		service: lowCardResult(), level: lowCardResult(), scope: lowCardResult(), origin: lowCardResult(), resource: lowCardResult(), attributes: mapResult(),
		names: "project, service, toUnixTimestamp64Nano(time) AS happened, received, trace_id, span_id, severity, level, body, scope, origin, resource, attributes, source, source_offset, source_index",
	}
	c.results = proto.Results{
		{Name: "project", Data: &c.project},
		{Name: "service", Data: c.service},
		{Name: "happened", Data: &c.time},
		{Name: "received", Data: &c.received},
		{Name: "trace_id", Data: &c.traceID},
		{Name: "span_id", Data: &c.spanID},
		{Name: "severity", Data: &c.severity},
		{Name: "level", Data: c.level},
		{Name: "body", Data: &c.body},
		{Name: "scope", Data: c.scope},
		{Name: "origin", Data: c.origin},
		{Name: "resource", Data: c.resource},
		{Name: "attributes", Data: c.attributes},
		{Name: "source", Data: &c.source},
		{Name: "source_offset", Data: &c.sourceOffset},
		{Name: "source_index", Data: &c.sourceIndex},
	}
	return c
}

func (c *logResults) row(i int) schemas.Log {
	return schemas.Log{
		Project:    c.project[i],
		Time:       c.time[i],
		Received:   c.received[i],
		TraceID:    c.traceID[i],
		SpanID:     c.spanID[i],
		Severity:   c.severity[i],
		Level:      c.level.Row(i),
		Body:       c.body.Row(i),
		Service:    c.service.Row(i),
		Scope:      c.scope.Row(i),
		Origin:     schemas.Origin(c.origin.Row(i)),
		Resource:   parseAttributes(c.resource.Row(i)),
		Attributes: mapRow(c.attributes, i),
		Source:     schemas.Source(c.source[i]),
		Position:   schemas.Position{Offset: c.sourceOffset[i], Index: c.sourceIndex[i]},
	}
}
