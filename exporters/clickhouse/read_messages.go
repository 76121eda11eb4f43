package clickhouse

import (
	"context"
	"fmt"
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

// MessagesOfTraces gives the rows whose span lies in one of these traces, by
// start time.
func (s *Store) MessagesOfTraces(ctx context.Context, project uint64, traces []schemas.TraceID, limit int) ([]schemas.Message, error) {
	if len(traces) == 0 {
		return nil, nil
	}
	if err := atMost("traces", len(traces), maxTraces); err != nil {
		return nil, err
	}
	out, err := s.messagesNear(ctx, project, traceKeys(traces), "", limited(limit, maxMessages, maxMessages), func(ps *params) string {
		return "trace_id IN (" + ps.inTraces(traces) + ")"
	})
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
	out, err := s.messagesOfRecords(ctx, project, records, "", limited(limit, maxMessages, maxMessages))
	if err != nil {
		return nil, fmt.Errorf("cannot read the message rows of %d records: %w", len(records), err)
	}
	return out, nil
}

func (s *Store) messagesOfRecords(ctx context.Context, project uint64, records []schemas.RecordRef, and string, limit int64) ([]schemas.Message, error) {
	known := make([]schemas.RecordRef, 0, len(records))
	for _, r := range records {
		if r.Partition >= 0 && r.Offset >= 0 {
			known = append(known, r)
		}
	}
	if len(known) == 0 {
		return nil, nil
	}
	var ps params
	ps.uint("project", project)
	ps.int("limit", limit)
	return s.messages(ctx, "WHERE project = {project:UInt64} AND "+ps.inRecords(known)+and+once, ps)
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
	where := ""
	if all {
		where = " AND " + ps.whenSeen(of)
		if len(records) <= maxRecordsAt {
			where += " AND " + ps.inRecords(records)
		}
	}
	ps.uint("project", project)
	ps.int("limit", limit)
	return s.messages(ctx, "PREWHERE "+filter(&ps)+" WHERE project = {project:UInt64}"+and+where+once, ps)
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
	out, err := s.messagesFrom(ctx, project, creation, " AND side IN (2, 3)", limited(limit, maxMessages, maxMessages), nil)
	if err != nil {
		return nil, fmt.Errorf("cannot read the message rows that carry one of %d contexts: %w", len(creation), err)
	}
	return out, nil
}

// messagesFrom gives the rows that carry one of these contexts and meet a condition,
// whose values bind binds.
func (s *Store) messagesFrom(ctx context.Context, project uint64, creation []schemas.SpanRef, and string, limit int64, bind func(*params)) ([]schemas.Message, error) {
	var traces []schemas.TraceID
	for _, ref := range creation {
		if !ref.TraceID.IsZero() {
			traces = append(traces, ref.TraceID)
		}
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
	err := s.query(ctx, "SELECT "+messageNames+" FROM messages "+rest, ps, c.results,
		func() { out = out[:0] },
		func() {
			for i := range c.project {
				out = append(out, c.row(i))
			}
		})
	return out, err
}

const messageNames = `project, topic, partition, offset, side, consumer_group, service, client_id, boot_id, trace_id, span_id, creation_trace, creation_span,
start_time, end_time, first_written, written, acked, appended, asked, answered, handed, record_time, high_watermark, attempts, throttle, body_size, key_hash,
failed, estimated_end, retry_topic, retry_partition, retry_offset, retry_first_seen, retry_attempt, release, instance, message_id, conversation, source, source_offset, source_index`

// messageResults holds a block of message rows that were read.
type messageResults struct {
	results proto.Results

	project                                            proto.ColUInt64
	topic, group, service, clientID, bootID            *proto.ColLowCardinality[string]
	partition                                          proto.ColInt32
	offset                                             proto.ColInt64
	side                                               proto.ColUInt8
	traceID, creationTrace                             proto.ColFixedStr16
	spanID, creationSpan                               proto.ColFixedStr8
	start, end, firstWritten, written, acked, appended proto.ColInt64
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
	c := &messageResults{topic: lowCardResult(), group: lowCardResult(), service: lowCardResult(), clientID: lowCardResult(), bootID: lowCardResult(), retryTopic: lowCardResult(), release: lowCardResult(), instance: lowCardResult()}
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
		{Name: "creation_trace", Data: &c.creationTrace},
		{Name: "creation_span", Data: &c.creationSpan},
		{Name: "start_time", Data: &c.start},
		{Name: "end_time", Data: &c.end},
		{Name: "first_written", Data: &c.firstWritten},
		{Name: "written", Data: &c.written},
		{Name: "acked", Data: &c.acked},
		{Name: "appended", Data: &c.appended},
		{Name: "asked", Data: &c.asked},
		{Name: "answered", Data: &c.answered},
		{Name: "handed", Data: &c.handed},
		{Name: "record_time", Data: &c.recordTime},
		{Name: "high_watermark", Data: &c.highWatermark},
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
	return c
}

func (c *messageResults) row(i int) schemas.Message {
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
		CreationTrace: c.creationTrace[i],
		CreationSpan:  c.creationSpan[i],
		Start:         c.start[i],
		End:           c.end[i],
		FirstWritten:  c.firstWritten[i],
		Written:       c.written[i],
		Acked:         c.acked[i],
		Appended:      c.appended[i],
		Asked:         c.asked[i],
		Answered:      c.answered[i],
		Handed:        c.handed[i],
		RecordTime:    c.recordTime[i],
		HighWatermark: c.highWatermark[i],
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
