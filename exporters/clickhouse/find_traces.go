package clickhouse

import (
	"context"
	"fmt"
	"sort"
	"time"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/internal/search"
	"github.com/hoptrace/hoptrace/schemas"
)

// The search goes back through time in windows, each wider than the one
// before, until it has found enough: the newest traces are found without
// reading old ones.
const (
	firstWindow  = time.Minute
	windowGrowth = 8
	lastWindow   = 400 * 24 * time.Hour // a wider one takes all that is left

	// A page has some candidates more than are asked for, because some began
	// before the window.
	moreCandidates = 32
)

// FindTraces lists the traces that began in the range, newest first. With
// Topic and Group given, one row of the trace has both.
func (s *Store) FindTraces(ctx context.Context, q exporters.TraceQuery) ([]exporters.TraceSummary, error) {
	from, to := nanos(q.Range)
	at := cursor{start: to}
	if q.Before != 0 && q.Before <= to {
		at = cursor{q.Before, q.BeforeTrace}
	}
	out, err := s.findTraces(ctx, q, from, at, int(limited(q.Limit, 50, 500)))
	if err == nil {
		err = s.addTopics(ctx, q.Project, out)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot find traces: %w", err)
	}
	return out, nil
}

// cursor is a place in the list of traces: what began before start, and of
// what began at start the traces below id.
type cursor struct {
	start int64
	id    schemas.TraceID
}

func (s *Store) findTraces(ctx context.Context, q exporters.TraceQuery, from int64, at cursor, limit int) ([]exporters.TraceSummary, error) {
	var out []exporters.TraceSummary
	width := firstWindow
	for len(out) < limit && from <= at.start {
		low := from
		if width < lastWindow && at.start-int64(width) > from {
			low = at.start - int64(width)
		}
		page := limit - len(out) + moreCandidates
		ids, last, err := s.candidates(ctx, q, low, at, page)
		if err != nil {
			return nil, err
		}
		found, err := s.summaries(ctx, q.Project, ids)
		if err != nil {
			return nil, err
		}
		kept := 0
		for _, t := range found {
			// A candidate that began before the window comes again in the
			// window in which it began.
			if t.Start >= low && len(out) < limit {
				out = append(out, t)
				kept++
			}
		}
		full := len(ids) == page
		if full {
			at = last
		} else {
			at = cursor{start: low}
		}
		if !full && low == from {
			break
		}
		if !full || kept < page/2 {
			width = min(width*windowGrowth, lastWindow)
		}
	}
	return out, nil
}

// candidates are traces that seem to begin in [low, at), by the spans that lie
// there, and that match q; newest first. The last one is a cursor.
func (s *Store) candidates(ctx context.Context, q exporters.TraceQuery, low int64, at cursor, limit int) (ids []schemas.TraceID, last cursor, err error) {
	var ps params
	ps.uint("project", q.Project)
	ps.int("low", low)
	ps.int("at", at.start)
	ps.text("tie", at.id.String())
	ps.int("limit", int64(limit))
	const since = "project = {project:UInt64} AND time >= fromUnixTimestamp64Nano({low:Int64})"
	where := since
	// A commit of several records is a trace of its own, and nobody's journey.
	having := " AND (countIf(NOT (kind = 3 AND (name = 'commit' OR startsWith(name, 'commit ')))) > 0" +
		" OR trace_id NOT IN (SELECT trace_id FROM messages WHERE " + since + " AND side = 4))"
	if q.Service != "" {
		ps.text("service", q.Service)
		where += " AND trace_id IN (SELECT trace_id FROM spans WHERE " + since + " AND service = {service:String})"
	}
	if q.ErrorsOnly {
		where += " AND trace_id IN (SELECT trace_id FROM spans WHERE " + since + " AND status = 2)"
	}
	if !q.Where.Empty() {
		ps.int("from", low) // what the condition asks of records begins there, too
		c := rowSQL{params: &ps, subject: search.Spans}
		where += " AND trace_id IN (SELECT trace_id FROM spans WHERE " + since + " AND " + c.expr(q.Where) + ")"
	}
	if q.Topic != "" || q.Group != "" {
		where += " AND trace_id IN (SELECT trace_id FROM messages WHERE " + since
		if q.Topic != "" {
			ps.text("topic", q.Topic)
			where += " AND topic = {topic:String}"
		}
		if q.Group != "" {
			ps.text("group", q.Group)
			where += " AND consumer_group = {group:String}"
		}
		where += ")"
	}
	if q.MinLatency > 0 {
		// The last end may lie anywhere after the window.
		ps.int("latency", int64(q.MinLatency))
		having += " AND max(toUnixTimestamp64Nano(time) + duration) - begin >= {latency:Int64}"
	} else {
		where += " AND time <= fromUnixTimestamp64Nano({at:Int64})"
	}
	var (
		id    proto.ColFixedStr16
		begin proto.ColInt64
	)
	err = s.query(ctx, "SELECT trace_id, min(toUnixTimestamp64Nano(time)) AS begin FROM spans WHERE "+where+
		" GROUP BY trace_id HAVING (begin < {at:Int64} OR (begin = {at:Int64} AND trace_id < toFixedString(unhex({tie:String}), 16)))"+having+
		" ORDER BY begin DESC, trace_id DESC LIMIT {limit:UInt64}", ps,
		proto.Results{{Name: "trace_id", Data: &id}, {Name: "begin", Data: &begin}},
		func() { ids, last = nil, cursor{} },
		func() {
			for i := range id {
				ids = append(ids, id[i])
				last = cursor{begin[i], id[i]}
			}
		})
	return ids, last, err
}

// summaries describes traces, newest first.
func (s *Store) summaries(ctx context.Context, project uint64, ids []schemas.TraceID) ([]exporters.TraceSummary, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	places, all, err := s.boundsOf(ctx, traceKeys(ids))
	if err != nil {
		return nil, err
	}
	var ps params
	where := "1"
	if all {
		if where = ps.spansAt(places); where == "" {
			return nil, nil
		}
	}
	ps.uint("project", project)
	ps.traces(ids)
	var (
		id            proto.ColFixedStr16
		begin, length proto.ColInt64
		root, service = new(proto.ColStr), new(proto.ColStr)
		services      = new(proto.ColStr).Array()
		spans, errs   proto.ColUInt64
		out           []exporters.TraceSummary
	)
	err = s.query(ctx, `
SELECT trace_id, min(toUnixTimestamp64Nano(time)) AS begin, max(toUnixTimestamp64Nano(time) + duration) - begin AS length,
	argMin((toString(name), toString(service)), (parent_id != toFixedString('', 8), time, span_id)) AS first, first.1 AS root, first.2 AS root_service,
	arraySort(groupUniqArray(100)(toString(service))) AS services, uniqExact(span_id) AS span_count, uniqExactIf(span_id, status = 2) AS errors
FROM spans
PREWHERE trace_id IN (`+traceSet+`)
WHERE project = {project:UInt64} AND `+where+`
GROUP BY trace_id ORDER BY begin DESC, trace_id DESC`, ps,
		proto.Results{
			{Name: "trace_id", Data: &id},
			{Name: "begin", Data: &begin},
			{Name: "length", Data: &length},
			{Name: "first", Data: proto.ColTuple{new(proto.ColStr), new(proto.ColStr)}},
			{Name: "root", Data: root},
			{Name: "root_service", Data: service},
			{Name: "services", Data: services},
			{Name: "span_count", Data: &spans},
			{Name: "errors", Data: &errs},
		},
		func() { out = nil },
		func() {
			for i := range id {
				out = append(out, exporters.TraceSummary{
					TraceID:  id[i],
					Start:    begin[i],
					Duration: time.Duration(length[i]),
					Root:     root.Row(i),
					Service:  service.Row(i),
					Services: services.Row(i),
					Spans:    spans[i],
					Errors:   errs[i],
				})
			}
		})
	return out, err
}

// addTopics fills in the topics of each trace, sorted.
func (s *Store) addTopics(ctx context.Context, project uint64, traces []exporters.TraceSummary) error {
	if len(traces) == 0 {
		return nil
	}
	ids := make([]schemas.TraceID, len(traces))
	for i := range traces {
		ids[i] = traces[i].TraceID
	}
	places, all, err := s.boundsOf(ctx, traceKeys(ids))
	if err != nil {
		return err
	}
	var ps params
	where := "1"
	if all {
		_, of := recordsOf(places)
		if len(of) == 0 {
			return nil
		}
		where = ps.whenSeen(of)
	}
	ps.uint("project", project)
	ps.traces(ids)
	var (
		id     proto.ColFixedStr16
		topics = new(proto.ColStr).Array()
		found  = make(map[schemas.TraceID][]string)
	)
	err = s.query(ctx, `
SELECT trace_id, groupUniqArray(100)(toString(topic)) AS topics
FROM messages
PREWHERE trace_id IN (`+traceSet+`)
WHERE project = {project:UInt64} AND topic != '' AND `+where+`
GROUP BY trace_id`, ps,
		proto.Results{{Name: "trace_id", Data: &id}, {Name: "topics", Data: topics}},
		func() { clear(found) },
		func() {
			for i := range id {
				found[id[i]] = topics.Row(i)
			}
		})
	for i := range traces {
		traces[i].Topics = found[traces[i].TraceID]
		sort.Strings(traces[i].Topics)
	}
	return err
}
