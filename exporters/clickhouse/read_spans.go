package clickhouse

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"sort"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// Most that one call may name.
const (
	maxTraces  = 100
	maxRecords = 1000
	maxNames   = 1000
)

func atMost(what string, n, most int) error {
	if n > most {
		return fmt.Errorf("%d %s asked for, at most %d: %w", n, what, most, exporters.ErrTooLarge)
	}
	return nil
}

// Spans gives the spans of some traces by start time. A span that was sent or
// stored twice comes once.
func (s *Store) Spans(ctx context.Context, project uint64, traces []schemas.TraceID, limit int) ([]schemas.Span, error) {
	if len(traces) == 0 {
		return nil, nil
	}
	if err := atMost("traces", len(traces), maxTraces); err != nil {
		return nil, err
	}
	places, all, err := s.boundsOf(ctx, traceKeys(traces))
	if err != nil {
		return nil, fmt.Errorf("cannot read the spans of %d traces: %w", len(traces), err)
	}
	var ps params
	where, settings := ps.spansAt(places), ""
	switch {
	case !all:
		where = "1"
	case where == "":
		return nil, nil
	case len(places) <= maxStretches:
		settings = keyLeads
	}
	ps.uint("project", project)
	where = "PREWHERE trace_id IN (" + ps.inTraces(traces) + ") WHERE project = {project:UInt64} AND " + where
	most := limited(limit, 20_000, 20_000)
	few := slices.Clone(ps)
	few.int("few", fewRows+1)
	out, err := s.spansWhere(ctx, where+" LIMIT {few:UInt64}"+oneThread+settings, few)
	switch {
	case err != nil:
	case len(out) > fewRows:
		ps.int("limit", most)
		out, err = s.spansWhere(ctx, where+" ORDER BY start, trace_id, span_id, source, source_offset, source_index LIMIT 1 BY start, trace_id, span_id, kind, name LIMIT {limit:UInt64}"+oneThread+settings, ps)
	default:
		out = oneSpanEach(out)
		out = out[:min(int64(len(out)), most)]
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the spans of %d traces: %w", len(traces), err)
	}
	return out, nil
}

// oneSpanEach puts spans in order of start; of those that were sent or stored twice the
// first stays.
func oneSpanEach(spans []schemas.Span) []schemas.Span {
	slices.SortFunc(spans, func(a, b schemas.Span) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), bytes.Compare(a.TraceID[:], b.TraceID[:]), bytes.Compare(a.SpanID[:], b.SpanID[:]),
			cmp.Compare(a.Source, b.Source), cmp.Compare(a.Position.Offset, b.Position.Offset), cmp.Compare(a.Position.Index, b.Position.Index))
	})
	type told struct {
		start int64
		span  schemas.SpanRef
		kind  schemas.SpanKind
		name  string
	}
	seen := make(map[told]struct{}, len(spans))
	return slices.DeleteFunc(spans, func(s schemas.Span) bool {
		t := told{s.Start, schemas.SpanRef{TraceID: s.TraceID, SpanID: s.SpanID}, s.Kind, s.Name}
		_, again := seen[t]
		seen[t] = struct{}{}
		return again
	})
}

// spanResults holds a block of spans that were read.
type spanResults struct {
	results proto.Results
	names   string

	project                        proto.ColUInt64
	service, name                  *proto.ColLowCardinality[string]
	start, duration                proto.ColInt64
	traceID                        proto.ColFixedStr16
	spanID, parentID               proto.ColFixedStr8
	kind, status                   proto.ColUInt8
	statusMessage, scope, resource *proto.ColLowCardinality[string]
	attributes                     *proto.ColMap[string, string]
	linkSame                       *proto.ColArr[uint8]
	linkTraces                     *proto.ColArr[[16]byte]
	linkSpans                      *proto.ColArr[[8]byte]
	linkAttributes                 *proto.ColArr[string]
	eventTimes                     *proto.ColArr[int64]
	eventNames                     *proto.ColArr[string]
	eventAttributes                *proto.ColArr[string]
	source                         proto.ColUInt64
	sourceOffset                   proto.ColInt64
	sourceIndex                    proto.ColUInt32
}

func newSpanResults() *spanResults {
	c := &spanResults{
		service: lowCardResult(), name: lowCardResult(), statusMessage: lowCardResult(), scope: lowCardResult(), resource: lowCardResult(),
		attributes:      mapResult(),
		linkSame:        proto.NewArray[uint8](new(proto.ColUInt8)),
		linkTraces:      proto.NewArray[[16]byte](new(proto.ColFixedStr16)),
		linkSpans:       proto.NewArray[[8]byte](new(proto.ColFixedStr8)),
		linkAttributes:  lowCardResult().Array(),
		eventTimes:      proto.NewArray[int64](new(proto.ColInt64)),
		eventNames:      lowCardResult().Array(),
		eventAttributes: proto.NewArray[string](new(proto.ColStr)),
	}
	c.names = `project, service, name, toUnixTimestamp64Nano(time) AS start, duration, trace_id, span_id, parent_id, kind, status, status_message, scope, resource, attributes,
link_same, link_traces, link_spans, link_attributes, event_times, event_names, event_attributes, source, source_offset, source_index`
	c.results = proto.Results{
		{Name: "project", Data: &c.project},
		{Name: "service", Data: c.service},
		{Name: "name", Data: c.name},
		{Name: "start", Data: &c.start},
		{Name: "duration", Data: &c.duration},
		{Name: "trace_id", Data: &c.traceID},
		{Name: "span_id", Data: &c.spanID},
		{Name: "parent_id", Data: &c.parentID},
		{Name: "kind", Data: &c.kind},
		{Name: "status", Data: &c.status},
		{Name: "status_message", Data: c.statusMessage},
		{Name: "scope", Data: c.scope},
		{Name: "resource", Data: c.resource},
		{Name: "attributes", Data: c.attributes},
		{Name: "link_same", Data: c.linkSame},
		{Name: "link_traces", Data: c.linkTraces},
		{Name: "link_spans", Data: c.linkSpans},
		{Name: "link_attributes", Data: c.linkAttributes},
		{Name: "event_times", Data: c.eventTimes},
		{Name: "event_names", Data: c.eventNames},
		{Name: "event_attributes", Data: c.eventAttributes},
		{Name: "source", Data: &c.source},
		{Name: "source_offset", Data: &c.sourceOffset},
		{Name: "source_index", Data: &c.sourceIndex},
	}
	return c
}

// row copies one span. Spans with one resource share its attributes.
func (c *spanResults) row(i int, resources map[string][]schemas.Attribute) schemas.Span {
	s := schemas.Span{
		Project:       c.project[i],
		TraceID:       c.traceID[i],
		SpanID:        c.spanID[i],
		ParentID:      c.parentID[i],
		Name:          c.name.Row(i),
		Kind:          schemas.SpanKind(c.kind[i]),
		Status:        schemas.StatusCode(c.status[i]),
		StatusMessage: c.statusMessage.Row(i),
		Start:         c.start[i],
		End:           c.start[i] + c.duration[i],
		Service:       c.service.Row(i),
		Scope:         c.scope.Row(i),
		Attributes:    mapRow(c.attributes, i),
		Source:        schemas.Source(c.source[i]),
		Position:      schemas.Position{Offset: c.sourceOffset[i], Index: c.sourceIndex[i]},
	}
	text := c.resource.Row(i)
	attrs, ok := resources[text]
	if !ok {
		attrs = parseAttributes(text)
		resources[text] = attrs
	}
	s.Resource = attrs

	same, traces, spans, linkAttrs := c.linkSame.Row(i), c.linkTraces.Row(i), c.linkSpans.Row(i), c.linkAttributes.Row(i)
	for j := range min(len(same), len(traces), len(spans), len(linkAttrs)) {
		l := schemas.Link{TraceID: traces[j], SpanID: spans[j], Attributes: parseAttributes(linkAttrs[j])}
		if same[j]&linkSameTrace != 0 {
			l.TraceID = s.TraceID
		}
		if same[j]&linkSameSpan != 0 {
			l.SpanID = s.ParentID
		}
		s.Links = append(s.Links, l)
	}
	times, names, eventAttrs := c.eventTimes.Row(i), c.eventNames.Row(i), c.eventAttributes.Row(i)
	for j := range min(len(times), len(names), len(eventAttrs)) {
		s.Events = append(s.Events, schemas.SpanEvent{Time: times[j], Name: names[j], Attributes: parseAttributes(eventAttrs[j])})
	}
	return s
}

// Names lists the services of spans, and the topics and groups of message
// rows, that were seen in the range.
func (s *Store) Names(ctx context.Context, project uint64, r exporters.Range) (exporters.Names, error) {
	var (
		ps    params
		kind  proto.ColUInt8
		value = lowCardResult()
		out   exporters.Names
	)
	ps.uint("project", project)
	ps.stretch(r)
	ps.int("limit", maxNames)
	one := func(kind, column, table string) string {
		return "SELECT toUInt8(" + kind + ") AS kind, " + column + " AS value FROM " + table + " WHERE project = {project:UInt64} AND " + inStretch +
			" AND " + column + " != '' GROUP BY value ORDER BY value LIMIT {limit:UInt64}"
	}
	err := s.query(ctx, "SELECT kind, value FROM (("+one("0", "service", "spans")+") UNION ALL ("+one("1", "topic", "messages")+") UNION ALL ("+one("2", "consumer_group", "messages")+"))", ps,
		proto.Results{{Name: "kind", Data: &kind}, {Name: "value", Data: value}},
		func() { out = exporters.Names{} },
		func() {
			for i, k := range kind {
				switch v := value.Row(i); k {
				case 0:
					out.Services = append(out.Services, v)
				case 1:
					out.Topics = append(out.Topics, v)
				default:
					out.Groups = append(out.Groups, v)
				}
			}
		})
	if err != nil {
		return exporters.Names{}, fmt.Errorf("cannot list services, topics and groups: %w", err)
	}
	sort.Strings(out.Services)
	sort.Strings(out.Topics)
	sort.Strings(out.Groups)
	return out, nil
}
