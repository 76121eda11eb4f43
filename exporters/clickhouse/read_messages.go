package clickhouse

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/hoptrace/hoptrace/schemas"
)

const maxMessages = 20_000

func decimals[T ~uint64](b *strings.Builder, v T) { b.WriteString(strconv.FormatUint(uint64(v), 10)) }

// once leaves one of the rows that tell the same: stored twice, or sent twice
// by an SDK. Rows without an offset tell the same only when they have one origin.
const once = ` ORDER BY start_time, trace_id, span_id, topic, partition, offset, side, consumer_group, source, source_offset, source_index
LIMIT 1 BY trace_id, span_id, side, topic, partition, offset, consumer_group,
	if(offset < 0 OR partition < 0, source, 0), if(offset < 0 OR partition < 0, source_offset, 0), if(offset < 0 OR partition < 0, source_index, 0)
LIMIT {limit:UInt64}` + oneThread

// fewRows is how many rows are put in order here: to plan that takes the engine longer
// than to read them.
const fewRows = 2000

// keyLeads ends oneThread where the key of the table leads to the rows: to read the
// filters of a part takes longer than to read the granules.
const keyLeads = ", use_skip_indexes = 0"

// messagesOnce reads rows, by start time, of those that tell the same one, and at most
// limit. rest is what follows FROM messages, to the end of WHERE; settings follow
// oneThread.
func (s *Store) messagesOnce(ctx context.Context, rest, settings string, ps params, limit int64) ([]schemas.Message, error) {
	few := slices.Clone(ps)
	few.int("few", fewRows+1)
	rows, err := s.messages(ctx, rest+" LIMIT {few:UInt64}"+oneThread+settings, few)
	if err != nil {
		return nil, err
	}
	if len(rows) > fewRows {
		all := slices.Clone(ps)
		all.int("limit", limit)
		return s.messages(ctx, rest+once+settings, all)
	}
	rows = onceOf(rows)
	return rows[:min(int64(len(rows)), limit)], nil
}

// onceOf does what once does.
func onceOf(rows []schemas.Message) []schemas.Message {
	slices.SortFunc(rows, func(a, b schemas.Message) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), bytes.Compare(a.TraceID[:], b.TraceID[:]), bytes.Compare(a.SpanID[:], b.SpanID[:]),
			strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset), cmp.Compare(a.Side, b.Side),
			strings.Compare(a.Group, b.Group), cmp.Compare(a.Source, b.Source), cmp.Compare(a.Position.Offset, b.Position.Offset), cmp.Compare(a.Position.Index, b.Position.Index))
	})
	type told struct {
		span   schemas.SpanRef
		side   schemas.Side
		record schemas.RecordRef
		group  string
		source schemas.Source
		at     schemas.Position
	}
	seen := make(map[told]struct{}, len(rows))
	return slices.DeleteFunc(rows, func(m schemas.Message) bool {
		t := told{span: schemas.SpanRef{TraceID: m.TraceID, SpanID: m.SpanID}, side: m.Side, record: m.Record(), group: m.Group}
		if !placed(m.Record()) {
			t.source, t.at = m.Source, m.Position
		}
		_, again := seen[t]
		seen[t] = struct{}{}
		return again
	})
}

// placed tells that a record's partition and offset are known.
func placed(r schemas.RecordRef) bool { return r.Partition >= 0 && r.Offset >= 0 }

// MessagesOfTraces gives the rows whose span lies in one of these traces, by
// start time.
func (s *Store) MessagesOfTraces(ctx context.Context, project uint64, traces []schemas.TraceID, limit int) ([]schemas.Message, error) {
	if len(traces) == 0 {
		return nil, nil
	}
	if err := atMost("traces", len(traces), maxTraces); err != nil {
		return nil, err
	}
	most := limited(limit, maxMessages, maxMessages)
	out, err := func() ([]schemas.Message, error) {
		if rows, ok, err := s.near(ctx, project, traceKeys(traces), true); ok || err != nil {
			return firstOf(rows, most, func(m *schemas.Message) bool { return slices.Contains(traces, m.TraceID) }), err
		}
		return s.messagesNear(ctx, project, traceKeys(traces), "", most, func(ps *params) string {
			return "trace_id IN (" + ps.inTraces(traces) + ")"
		})
	}()
	if err != nil {
		return nil, fmt.Errorf("cannot read the message rows of %d traces: %w", len(traces), err)
	}
	return out, nil
}

// MessagesOfRecords gives all rows of these records, by start time. A record
// without partition or offset names nothing.
func (s *Store) MessagesOfRecords(ctx context.Context, project uint64, records []schemas.RecordRef, limit int) ([]schemas.Message, error) {
	if err := atMost("records", len(records), maxRecords); err != nil {
		return nil, err
	}
	most := limited(limit, maxMessages, maxMessages)
	out, err := func() ([]schemas.Message, error) {
		known := make([]schemas.RecordRef, 0, len(records))
		for _, r := range records {
			if placed(r) {
				known = append(known, r)
			}
		}
		if len(known) <= maxNear {
			if rows, ok, err := s.allOf(ctx, project, known); ok || err != nil {
				return rows[:min(int64(len(rows)), most)], err
			}
		}
		return s.messagesOfRecords(ctx, project, known, "", most)
	}()
	if err != nil {
		return nil, fmt.Errorf("cannot read the message rows of %d records: %w", len(records), err)
	}
	return out, nil
}

func (s *Store) messagesOfRecords(ctx context.Context, project uint64, records []schemas.RecordRef, and string, limit int64) ([]schemas.Message, error) {
	known := make([]schemas.RecordRef, 0, len(records))
	for _, r := range records {
		if placed(r) {
			known = append(known, r)
		}
	}
	if len(known) == 0 {
		return nil, nil
	}
	var ps params
	ps.uint("project", project)
	return s.messagesOnce(ctx, "WHERE project = {project:UInt64} AND "+ps.inRecords(known)+and, keyLeads, ps, limit)
}

// maxRecordsAt bounds the records by which rows are found; beyond it the filters of
// the table are asked.
const maxRecordsAt = 2 * maxRecords

// messagesNear gives the rows that pass a filter, which goes through an index, and lie
// where trace_bounds says that those of some keys do.
func (s *Store) messagesNear(ctx context.Context, project uint64, keys []uint64, and string, limit int64, filter func(*params) string) ([]schemas.Message, error) {
	places, all, err := s.boundsOf(ctx, keys)
	if err != nil {
		return nil, err
	}
	records, of := recordsOf(places)
	if all && len(records) == 0 {
		return nil, nil
	}
	var ps params
	where, settings := "", ""
	if all {
		where = " AND " + ps.whenSeen(of)
		if len(records) <= maxRecordsAt {
			where += " AND " + ps.inRecords(records)
		}
		if len(records) <= maxNamed && !slices.ContainsFunc(records, func(r schemas.RecordRef) bool { return !placed(r) }) {
			settings = keyLeads
		}
	}
	ps.uint("project", project)
	return s.messagesOnce(ctx, "PREWHERE "+filter(&ps)+" WHERE project = {project:UInt64}"+and+where, settings, ps, limit)
}

// MessagesFrom gives the consumer rows whose record carried one of these
// contexts, by start time.
func (s *Store) MessagesFrom(ctx context.Context, project uint64, creation []schemas.SpanRef, limit int) ([]schemas.Message, error) {
	if len(creation) == 0 {
		return nil, nil
	}
	if err := atMost("contexts", len(creation), maxRecords); err != nil {
		return nil, err
	}
	out, err := s.messagesFrom(ctx, project, creation, " AND side IN (2, 3)", limited(limit, maxMessages, maxMessages), nil, func(m *schemas.Message) bool { return m.Side.Reads() })
	if err != nil {
		return nil, fmt.Errorf("cannot read the message rows that carry one of %d contexts: %w", len(creation), err)
	}
	return out, nil
}

// messagesFrom gives the rows that carry one of these contexts and meet a condition,
// whose values bind binds, and which keep says again.
func (s *Store) messagesFrom(ctx context.Context, project uint64, creation []schemas.SpanRef, and string, limit int64, bind func(*params), keep func(*schemas.Message) bool) ([]schemas.Message, error) {
	var traces []schemas.TraceID
	for _, ref := range creation {
		if !ref.TraceID.IsZero() {
			traces = append(traces, ref.TraceID)
		}
	}
	if rows, ok, err := s.near(ctx, project, traceKeys(traces), false); ok || err != nil {
		return firstOf(rows, limit, func(m *schemas.Message) bool {
			return keep(m) && slices.Contains(creation, schemas.SpanRef{TraceID: m.CreationTrace, SpanID: m.CreationSpan})
		}), err
	}
	// The pair decides; the span alone would go through an index.
	return s.messagesNear(ctx, project, traceKeys(traces), and+" AND (creation_trace, creation_span) IN ("+spanSet+")", limit, func(ps *params) string {
		if bind != nil {
			bind(ps)
		}
		ps.spans(creation)
		return "creation_span IN (SELECT arrayJoin(arrayMap(x -> toFixedString(unhex(x), 8), {spans:Array(String)})))"
	})
}

// spans binds {traces:Array(String)} and {spans:Array(String)}; see spanSet.
func (p *params) spans(refs []schemas.SpanRef) {
	list(p, "traces", refs, func(b *strings.Builder, r schemas.SpanRef) { literal(b, r.TraceID.String()) })
	list(p, "spans", refs, func(b *strings.Builder, r schemas.SpanRef) { literal(b, r.SpanID.String()) })
}

const spanSet = "SELECT r.1, r.2 FROM (SELECT arrayJoin(arrayMap((x, y) -> (toFixedString(unhex(x), 16), toFixedString(unhex(y), 8)), {traces:Array(String)}, {spans:Array(String)})) AS r)"

// messages reads rows; rest is what follows FROM messages.
func (s *Store) messages(ctx context.Context, rest string, ps params) ([]schemas.Message, error) {
	c := newMessageResults()
	var out []schemas.Message
	err := s.query(ctx, "SELECT "+c.names+" FROM messages "+rest, ps, c.results,
		func() { out = out[:0] },
		func() {
			for i := range c.project {
				out = append(out, c.row(i))
			}
		})
	return out, err
}

// messageResults holds a block of message rows that were read. Times come as they are
// kept and are put together here: the engine takes a tenth of a millisecond to plan each
// expression, of each statement.
type messageResults struct {
	results proto.Results
	names   string

	project                                            proto.ColUInt64
	topic, group, service, clientID, bootID            *proto.ColLowCardinality[string]
	partition                                          proto.ColInt32
	offset                                             proto.ColInt64
	side                                               proto.ColUInt8
	traceID, creationOther                             proto.ColFixedStr16
	spanID, creationSpan                               proto.ColFixedStr8
	creationSame, known                                proto.ColUInt8
	time                                               *proto.ColDateTime64
	duration, firstWritten, written, acked, appended   proto.ColInt64
	asked, answered, handed, recordTime, highWatermark proto.ColInt64
	attempts                                           proto.ColUInt16
	throttle, bodySize                                 proto.ColInt64
	keyHash                                            proto.ColUInt64
	failed, estimatedEnd                               proto.ColUInt8
	retryTopic, release, instance                      *proto.ColLowCardinality[string]
	messageID, conversation                            proto.ColStr
	retryPartition                                     proto.ColInt32
	retryOffset, retryFirstSeen                        proto.ColInt64
	retryAttempt                                       proto.ColUInt16
	source                                             proto.ColUInt64
	sourceOffset                                       proto.ColInt64
	sourceIndex                                        proto.ColUInt32
}

func newMessageResults() *messageResults {
	c := &messageResults{time: newTime(), topic: lowCardResult(), group: lowCardResult(), service: lowCardResult(), clientID: lowCardResult(), bootID: lowCardResult(), retryTopic: lowCardResult(), release: lowCardResult(), instance: lowCardResult()}
	c.results = proto.Results{
		{Name: "project", Data: &c.project},
		{Name: "topic", Data: c.topic},
		{Name: "partition", Data: &c.partition},
		{Name: "offset", Data: &c.offset},
		{Name: "side", Data: &c.side},
		{Name: "consumer_group", Data: c.group},
		{Name: "service", Data: c.service},
		{Name: "client_id", Data: c.clientID},
		{Name: "boot_id", Data: c.bootID},
		{Name: "trace_id", Data: &c.traceID},
		{Name: "span_id", Data: &c.spanID},
		{Name: "creation_same", Data: &c.creationSame},
		{Name: "creation_other", Data: &c.creationOther},
		{Name: "creation_span", Data: &c.creationSpan},
		{Name: "time", Data: c.time},
		{Name: "duration", Data: &c.duration},
		{Name: "known", Data: &c.known},
		{Name: "d_first_written", Data: &c.firstWritten},
		{Name: "d_written", Data: &c.written},
		{Name: "d_acked", Data: &c.acked},
		{Name: "appended", Data: &c.appended},
		{Name: "d_asked", Data: &c.asked},
		{Name: "d_answered", Data: &c.answered},
		{Name: "d_handed", Data: &c.handed},
		{Name: "record_time", Data: &c.recordTime},
		{Name: "d_high_watermark", Data: &c.highWatermark},
		{Name: "attempts", Data: &c.attempts},
		{Name: "throttle", Data: &c.throttle},
		{Name: "body_size", Data: &c.bodySize},
		{Name: "key_hash", Data: &c.keyHash},
		{Name: "failed", Data: &c.failed},
		{Name: "estimated_end", Data: &c.estimatedEnd},
		{Name: "retry_topic", Data: c.retryTopic},
		{Name: "retry_partition", Data: &c.retryPartition},
		{Name: "retry_offset", Data: &c.retryOffset},
		{Name: "retry_first_seen", Data: &c.retryFirstSeen},
		{Name: "retry_attempt", Data: &c.retryAttempt},
		{Name: "release", Data: c.release},
		{Name: "instance", Data: c.instance},
		{Name: "message_id", Data: &c.messageID},
		{Name: "conversation", Data: &c.conversation},
		{Name: "source", Data: &c.source},
		{Name: "source_offset", Data: &c.sourceOffset},
		{Name: "source_index", Data: &c.sourceIndex},
	}
	names := make([]string, len(c.results))
	for i, r := range c.results {
		names[i] = r.Name
	}
	c.names = strings.Join(names, ", ")
	return c
}

func (c *messageResults) row(i int) schemas.Message {
	end := int64(c.time.Data[i])
	start := end - c.duration[i]
	since := func(flag uint8, from, distance int64) int64 {
		if c.known[i]&flag == 0 {
			return 0
		}
		return from + distance
	}
	creation := c.creationOther[i]
	if c.creationSame[i] == 1 {
		creation = c.traceID[i]
	}
	highWatermark := int64(schemas.Unknown)
	if c.known[i]&knownHighWatermark != 0 {
		highWatermark = c.offset[i] + c.highWatermark[i]
	}
	return schemas.Message{
		Project:       c.project[i],
		Side:          schemas.Side(c.side[i]),
		Topic:         c.topic.Row(i),
		Partition:     c.partition[i],
		Offset:        c.offset[i],
		Group:         c.group.Row(i),
		Service:       c.service.Row(i),
		ClientID:      c.clientID.Row(i),
		BootID:        c.bootID.Row(i),
		Release:       c.release.Row(i),
		Instance:      c.instance.Row(i),
		TraceID:       c.traceID[i],
		SpanID:        c.spanID[i],
		CreationTrace: creation,
		CreationSpan:  c.creationSpan[i],
		Start:         start,
		End:           end,
		FirstWritten:  since(knownFirstWritten, start, c.firstWritten[i]),
		Written:       since(knownWritten, start, c.written[i]),
		Acked:         since(knownAcked, end, -c.acked[i]),
		Appended:      c.appended[i],
		Asked:         since(knownAsked, start, c.asked[i]),
		Answered:      since(knownAnswered, start, c.answered[i]),
		Handed:        since(knownHanded, start, c.handed[i]),
		RecordTime:    c.recordTime[i],
		HighWatermark: highWatermark,
		Attempts:      c.attempts[i],
		Throttle:      c.throttle[i],
		BodySize:      c.bodySize[i],
		KeyHash:       c.keyHash[i],
		MessageID:     c.messageID.Row(i),
		Conversation:  c.conversation.Row(i),
		Failed:        c.failed[i] != 0,
		EstimatedEnd:  c.estimatedEnd[i] != 0,

		RetryTopic: c.retryTopic.Row(i), RetryPartition: c.retryPartition[i], RetryOffset: c.retryOffset[i],
		RetryFirstSeen: c.retryFirstSeen[i], RetryAttempt: c.retryAttempt[i],

		Source:   schemas.Source(c.source[i]),
		Position: schemas.Position{Offset: c.sourceOffset[i], Index: c.sourceIndex[i]},
	}
}
