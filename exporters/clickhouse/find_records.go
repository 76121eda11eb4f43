package clickhouse

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/ClickHouse/ch-go/proto"
	"golang.org/x/sync/errgroup"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// Names that instrumentations have given to what FindSpans looks for.
const (
	idAttributes           = "'messaging.message.id', 'messaging.message_id'"
	conversationAttributes = "'messaging.message.conversation_id', 'messaging.conversation_id'"
)

// matching binds what q looks by and gives the condition for message rows. The
// columns have Bloom filters, so a day is read only where it may hold one.
func (p *params) matching(q exporters.FindQuery) (string, error) {
	switch q.By {
	case exporters.FindByKey:
		list(p, "keys", q.Keys[:min(len(q.Keys), maxRecords)], decimals)
		return "key_hash IN (SELECT arrayJoin({keys:Array(UInt64)}))", nil
	case exporters.FindByMessageID:
		p.text("text", q.Text)
		return "message_id = {text:String} AND message_id != ''", nil
	case exporters.FindByConversation:
		p.text("text", q.Text)
		return "conversation = {text:String} AND conversation != ''", nil
	case exporters.FindBySpan:
		p.text("span", q.Span.String())
		return "creation_span = toFixedString(unhex({span:String}), 8)", nil
	}
	return "", fmt.Errorf("cannot look by %q", q.By)
}

// FindRecords lists the records of which a row matches, newest first.
func (s *Store) FindRecords(ctx context.Context, q exporters.FindQuery) ([]exporters.FoundRecord, error) {
	var ps params
	match, err := ps.matching(q)
	if err != nil {
		return nil, err
	}
	ps.uint("project", q.Project)
	ps.stretch(q.Range)
	ps.int("limit", limited(q.Limit, 50, 500))
	ps.int("skip", int64(min(max(q.Skip, 0), exporters.MaxFoundRows)))
	out, err := s.foundRecords(ctx, "PREWHERE "+match+" WHERE project = {project:UInt64} AND side != 4 AND "+inStretch+
		" ORDER BY time DESC, topic, partition, offset LIMIT "+strconv.Itoa(exporters.MaxFoundRows),
		"last DESC, topic, partition, offset, t_trace, t_span LIMIT {limit:UInt64} OFFSET {skip:UInt64}", ps)
	if err != nil {
		return nil, fmt.Errorf("cannot find records by %s: %w", q.By, err)
	}
	return out, nil
}

// foundRecords makes records of the rows that from selects, in the order of order.
// A row whose record nobody told is one by itself.
func (s *Store) foundRecords(ctx context.Context, from, order string, ps params) ([]exporters.FoundRecord, error) {
	var (
		topic, producer     = new(proto.ColStr), new(proto.ColStr)
		partition           proto.ColInt32
		offset, first, last proto.ColInt64
		trace               proto.ColFixedStr16
		span                proto.ColFixedStr8
		sent, failed        proto.ColUInt8
		groups              = new(proto.ColStr).Array()
		reads, key          proto.ColUInt64
		messageID           proto.ColStr
		out                 []exporters.FoundRecord
	)
	err := s.query(ctx, `
SELECT CAST(topic, 'String') AS r_topic, partition AS r_partition, offset AS r_offset, min(t_start) AS first, max(t_end) AS last,
	argMin(trace_id, (side, t_start, span_id)) AS r_trace, argMin(span_id, (side, t_start, span_id)) AS r_span,
	toUInt8(countIf(side = 1) > 0) AS sent, CAST(anyIf(service, side = 1), 'String') AS producer,
	arraySort(arrayMap(x -> CAST(x, 'String'), groupUniqArrayIf(10)(consumer_group, side IN (2, 3) AND consumer_group != ''))) AS groups,
	uniqExactIf((trace_id, span_id), side IN (2, 3)) AS reads, max(failed) AS r_failed, max(key_hash) AS r_key, max(message_id) AS r_id
FROM
(
	SELECT topic, partition, offset, side, consumer_group, service, trace_id, span_id, failed, key_hash, message_id,
		toUnixTimestamp64Nano(time) - duration AS t_start, toUnixTimestamp64Nano(time) AS t_end,
		if(`+noOffset+`, trace_id, toFixedString('', 16)) AS t_trace, if(`+noOffset+`, span_id, toFixedString('', 8)) AS t_span
	FROM messages `+from+`
)
GROUP BY topic, partition, offset, t_trace, t_span ORDER BY `+order, ps,
		proto.Results{
			{Name: "r_topic", Data: topic},
			{Name: "r_partition", Data: &partition},
			{Name: "r_offset", Data: &offset},
			{Name: "first", Data: &first},
			{Name: "last", Data: &last},
			{Name: "r_trace", Data: &trace},
			{Name: "r_span", Data: &span},
			{Name: "sent", Data: &sent},
			{Name: "producer", Data: producer},
			{Name: "groups", Data: groups},
			{Name: "reads", Data: &reads},
			{Name: "r_failed", Data: &failed},
			{Name: "r_key", Data: &key},
			{Name: "r_id", Data: &messageID},
		},
		func() { out = nil },
		func() {
			for i := range partition {
				out = append(out, exporters.FoundRecord{
					Record: schemas.RecordRef{Topic: topic.Row(i), Partition: partition[i], Offset: offset[i]},
					First:  first[i], Last: last[i], Span: schemas.SpanRef{TraceID: trace[i], SpanID: span[i]},
					Sent: sent[i] != 0, Producer: producer.Row(i), Groups: groups.Row(i), Reads: reads[i], Failed: failed[i] != 0,
					KeyHash: key[i], MessageID: messageID.Row(i),
				})
			}
		})
	return out, err
}

// FindSpans lists spans by their id or by what they tell, newest first.
func (s *Store) FindSpans(ctx context.Context, q exporters.FindQuery) ([]schemas.Span, error) {
	var ps params
	var match string
	switch q.By {
	case exporters.FindBySpan:
		ps.text("span", q.Span.String())
		match = "span_id = toFixedString(unhex({span:String}), 8)"
	case exporters.FindByMessageID, exporters.FindByConversation:
		if q.Text == "" {
			return nil, nil
		}
		names := idAttributes
		if q.By == exporters.FindByConversation {
			names = conversationAttributes
		}
		ps.text("text", q.Text)
		match = "has(mapValues(attributes), {text:String}) AND arrayExists((k, v) -> v = {text:String} AND k IN (" + names + "), mapKeys(attributes), mapValues(attributes))"
	case exporters.FindByKey:
		return nil, nil
	default:
		return nil, fmt.Errorf("cannot look by %q", q.By)
	}
	ps.uint("project", q.Project)
	ps.stretch(q.Range)
	ps.int("limit", limited(q.Limit, 50, 500))
	ps.int("skip", int64(min(max(q.Skip, 0), exporters.MaxFoundRows)))
	// The places first: few columns are read of many spans.
	var trace proto.ColFixedStr16
	var span proto.ColFixedStr8
	var found []schemas.SpanRef
	err := s.query(ctx, "SELECT trace_id, span_id FROM spans PREWHERE "+match+" WHERE project = {project:UInt64} AND "+inStretch+
		" GROUP BY trace_id, span_id ORDER BY max(time) DESC, trace_id, span_id LIMIT {limit:UInt64} OFFSET {skip:UInt64}", ps,
		proto.Results{{Name: "trace_id", Data: &trace}, {Name: "span_id", Data: &span}},
		func() { found = nil },
		func() {
			for i := range trace {
				found = append(found, schemas.SpanRef{TraceID: trace[i], SpanID: span[i]})
			}
		})
	if err != nil {
		return nil, fmt.Errorf("cannot find spans by %s: %w", q.By, err)
	}
	if len(found) == 0 {
		return nil, nil
	}
	return s.spansOf(ctx, q.Project, found)
}

// nearOffsets is how far to both sides of an offset its neighbours are looked for at
// once: as a rule they are the next ones, and their rows lie in the same granule.
const nearOffsets = 64

// NearRecords gives a record and those that are stored beside it, by one statement where
// the neighbours are within nearOffsets.
func (s *Store) NearRecords(ctx context.Context, project uint64, record schemas.RecordRef) (near exporters.NearRecords, err error) {
	fail := func(err error) (exporters.NearRecords, error) {
		return exporters.NearRecords{}, fmt.Errorf("cannot find the records near %s/%d@%d: %w", record.Topic, record.Partition, record.Offset, err)
	}
	low, high := max(record.Offset-nearOffsets, 0), record.Offset+min(nearOffsets, math.MaxInt64-record.Offset)
	rows, err := s.rowsBetween(ctx, project, record, low, high)
	if err != nil {
		return fail(err)
	}
	all := len(rows) <= fewRows
	before, after := int64(schemas.Unknown), int64(schemas.Unknown)
	for i := range rows {
		switch at := rows[i].Offset; {
		case !all: // some are left out: nothing is known of what lies between
		case at < record.Offset && at > before:
			before = at
		case at > record.Offset && (after == schemas.Unknown || at < after):
			after = at
		}
	}
	ask, asking := errgroup.WithContext(ctx)
	further := func(at *int64, compare, order string) {
		if *at != schemas.Unknown {
			return
		}
		ask.Go(func() (err error) {
			*at, err = s.nextOffset(asking, project, record, compare, order)
			return err
		})
	}
	further(&before, "<", "DESC")
	further(&after, ">", "ASC")
	if err := ask.Wait(); err != nil {
		return fail(err)
	}
	for _, at := range []int64{before, record.Offset, after} {
		if at == schemas.Unknown || all && at >= low && at <= high {
			continue
		}
		more, err := s.rowsBetween(ctx, project, record, at, at)
		if err != nil {
			return fail(err)
		}
		rows = append(rows, more...)
	}
	near.Before, near.Record, near.After = foundOf(rows, before), foundOf(rows, record.Offset), foundOf(rows, after)
	near.Topic = len(rows) > 0
	if !near.Topic {
		if near.Topic, err = s.hasTopic(ctx, project, record.Topic); err != nil {
			return fail(err)
		}
	}
	return near, nil
}

// nextOffset is the next one of a record's partition that is stored on one side of it.
func (s *Store) nextOffset(ctx context.Context, project uint64, record schemas.RecordRef, compare, order string) (at int64, err error) {
	var ps params
	ps.uint("project", project)
	ps.text("topic", record.Topic)
	ps.int("partition", int64(record.Partition))
	ps.int("offset", record.Offset)
	var offset proto.ColInt64
	at = schemas.Unknown
	err = s.query(ctx, "SELECT offset FROM messages WHERE project = {project:UInt64} AND topic = {topic:String} AND partition = {partition:Int32} AND offset "+compare+
		" {offset:Int64} AND offset >= 0 AND side != 4 ORDER BY offset "+order+" LIMIT 1"+oneThread+keyLeads, ps,
		proto.Results{{Name: "offset", Data: &offset}}, func() { at = schemas.Unknown }, func() {
			for _, v := range offset {
				at = v
			}
		})
	return at, err
}

// rowsBetween reads of the rows of a record's partition that have an offset from low to
// high what foundOf takes, and at most fewRows and one.
func (s *Store) rowsBetween(ctx context.Context, project uint64, record schemas.RecordRef, low, high int64) (out []schemas.Message, err error) {
	var (
		ps                     params
		offset, time, duration proto.ColInt64
		side, failed           proto.ColUInt8
		trace                  proto.ColFixedStr16
		span                   proto.ColFixedStr8
		service, group         = lowCardResult(), lowCardResult()
		key                    proto.ColUInt64
		messageID              proto.ColStr
	)
	ps.uint("project", project)
	ps.text("topic", record.Topic)
	ps.int("partition", int64(record.Partition))
	ps.int("low", low)
	ps.int("high", high)
	ps.int("few", fewRows+1)
	err = s.query(ctx, `
SELECT offset, side, toUnixTimestamp64Nano(time) AS end, duration, trace_id, span_id, service, consumer_group, failed, key_hash, message_id FROM messages
WHERE project = {project:UInt64} AND topic = {topic:String} AND partition = {partition:Int32} AND offset >= {low:Int64} AND offset <= {high:Int64} AND side != 4
LIMIT {few:UInt64}`+oneThread+keyLeads, ps,
		proto.Results{
			{Name: "offset", Data: &offset},
			{Name: "side", Data: &side},
			{Name: "end", Data: &time},
			{Name: "duration", Data: &duration},
			{Name: "trace_id", Data: &trace},
			{Name: "span_id", Data: &span},
			{Name: "service", Data: service},
			{Name: "consumer_group", Data: group},
			{Name: "failed", Data: &failed},
			{Name: "key_hash", Data: &key},
			{Name: "message_id", Data: &messageID},
		},
		func() { out = nil },
		func() {
			for i := range offset {
				out = append(out, schemas.Message{
					Project: project, Topic: record.Topic, Partition: record.Partition, Offset: offset[i], Side: schemas.Side(side[i]), Start: time[i] - duration[i], End: time[i],
					TraceID: trace[i], SpanID: span[i], Service: service.Row(i), Group: group.Row(i), Failed: failed[i] != 0, KeyHash: key[i], MessageID: messageID.Row(i),
				})
			}
		})
	return out, err
}

// foundOf does what foundRecords does, of the rows of one partition that have one
// offset; nil without any.
func foundOf(rows []schemas.Message, offset int64) *exporters.FoundRecord {
	var out *exporters.FoundRecord
	var first *schemas.Message // of the producer, or else of the reader that began first
	read := map[schemas.SpanRef]bool{}
	for i := range rows {
		m := &rows[i]
		if m.Offset != offset {
			continue
		}
		if out == nil {
			out = &exporters.FoundRecord{Record: m.Record(), First: m.Start, Last: m.End, Groups: []string{}}
		}
		out.First, out.Last = min(out.First, m.Start), max(out.Last, m.End)
		out.Failed = out.Failed || m.Failed
		out.KeyHash, out.MessageID = max(out.KeyHash, m.KeyHash), max(out.MessageID, m.MessageID)
		if first == nil || cmp.Or(cmp.Compare(m.Side, first.Side), cmp.Compare(m.Start, first.Start), bytes.Compare(m.SpanID[:], first.SpanID[:])) < 0 {
			first = m
		}
		ref := schemas.SpanRef{TraceID: m.TraceID, SpanID: m.SpanID}
		switch {
		case m.Side == schemas.SideProduce && !out.Sent:
			out.Sent, out.Producer = true, m.Service
		case m.Side.Reads() && !read[ref]:
			read[ref] = true
			out.Reads++
		}
		if m.Side.Reads() && m.Group != "" && !slices.Contains(out.Groups, m.Group) && len(out.Groups) < 10 {
			out.Groups = append(out.Groups, m.Group)
		}
	}
	if out != nil {
		out.Span = schemas.SpanRef{TraceID: first.TraceID, SpanID: first.SpanID}
		slices.Sort(out.Groups)
	}
	return out
}

func (s *Store) hasTopic(ctx context.Context, project uint64, topic string) (has bool, err error) {
	var ps params
	ps.uint("project", project)
	ps.text("topic", topic)
	var one proto.ColUInt8
	err = s.query(ctx, "SELECT toUInt8(1) AS one FROM messages WHERE project = {project:UInt64} AND topic = {topic:String} AND side != 4 LIMIT 1"+oneThread, ps,
		proto.Results{{Name: "one", Data: &one}}, func() { has = false }, func() { has = has || len(one) > 0 })
	return has, err
}

// spansOf reads these spans, in their order, each once.
func (s *Store) spansOf(ctx context.Context, project uint64, refs []schemas.SpanRef) ([]schemas.Span, error) {
	var ps params
	ps.uint("project", project)
	ps.spans(refs)
	c := newSpanResults()
	resources := make(map[string][]schemas.Attribute)
	byRef := make(map[schemas.SpanRef]schemas.Span, len(refs))
	err := s.query(ctx, "SELECT "+c.names+" FROM spans PREWHERE trace_id IN ("+traceSet+") WHERE project = {project:UInt64} AND (trace_id, span_id) IN ("+spanSet+
		") ORDER BY start LIMIT 1 BY trace_id, span_id"+oneThread, ps, c.results,
		func() { clear(byRef) },
		func() {
			for i := range c.project {
				sp := c.row(i, resources)
				byRef[schemas.SpanRef{TraceID: sp.TraceID, SpanID: sp.SpanID}] = sp
			}
		})
	if err != nil {
		return nil, fmt.Errorf("cannot read %d spans: %w", len(refs), err)
	}
	out := make([]schemas.Span, 0, len(refs))
	for _, r := range refs {
		if sp, ok := byRef[r]; ok {
			out = append(out, sp)
		}
	}
	return out, nil
}
