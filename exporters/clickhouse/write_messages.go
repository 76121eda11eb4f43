package clickhouse

import (
	"context"
	"fmt"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

func (s *Store) writeMessages(ctx context.Context, messages []schemas.Message) error {
	if len(messages) == 0 {
		return nil
	}
	c := s.messageColumns.get()
	defer func() { reset(c.input); c.bytes = 0; s.messageColumns.put(c) }()
	for i := range messages {
		if c.append(&messages[i]); c.bytes > maxBatchBytes {
			return fmt.Errorf("cannot write %d message rows of more than %d bytes: %w", len(messages), maxBatchBytes, exporters.ErrTooLarge)
		}
	}
	if err := s.write(ctx, c.insert, c.input); err != nil {
		return fmt.Errorf("cannot write %d message rows: %w", len(messages), err)
	}
	return nil
}

// messageColumns holds one batch of message rows. Its memory is reused.
type messageColumns struct {
	input  proto.Input
	insert string
	bytes  int // of texts, about

	project                                proto.ColUInt64
	topic                                  lowCard
	partition                              proto.ColInt32
	offset                                 proto.ColInt64
	side                                   proto.ColUInt8
	group, service, clientID, bootID       lowCard
	traceID, creationOther                 proto.ColFixedStr16
	spanID, creationSpan                   proto.ColFixedStr8
	creationSame, known                    proto.ColUInt8
	time                                   *proto.ColDateTime64
	duration                               proto.ColInt64
	firstWritten, written, acked           proto.ColInt64
	asked, answered, handed, highWatermark proto.ColInt64
	appended, recordTime                   proto.ColInt64
	attempts                               proto.ColUInt16
	throttle, bodySize                     proto.ColInt64
	keyHash                                proto.ColUInt64
	failed, estimatedEnd                   proto.ColUInt8
	retryTopic, release, instance          lowCard
	messageID, conversation                proto.ColStr
	retryPartition                         proto.ColInt32
	retryOffset, retryFirstSeen            proto.ColInt64
	retryAttempt                           proto.ColUInt16
	source                                 proto.ColUInt64
	sourceOffset                           proto.ColInt64
	sourceIndex                            proto.ColUInt32
}

func newMessageColumns() *messageColumns {
	c := &messageColumns{time: newTime()}
	c.input = proto.Input{
		{Name: "project", Data: &c.project},
		{Name: "topic", Data: &c.topic},
		{Name: "partition", Data: &c.partition},
		{Name: "offset", Data: &c.offset},
		{Name: "side", Data: &c.side},
		{Name: "consumer_group", Data: &c.group},
		{Name: "service", Data: &c.service},
		{Name: "client_id", Data: &c.clientID},
		{Name: "boot_id", Data: &c.bootID},
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
		{Name: "d_asked", Data: &c.asked},
		{Name: "d_answered", Data: &c.answered},
		{Name: "d_handed", Data: &c.handed},
		{Name: "d_high_watermark", Data: &c.highWatermark},
		{Name: "appended", Data: &c.appended},
		{Name: "record_time", Data: &c.recordTime},
		{Name: "attempts", Data: &c.attempts},
		{Name: "throttle", Data: &c.throttle},
		{Name: "body_size", Data: &c.bodySize},
		{Name: "key_hash", Data: &c.keyHash},
		{Name: "failed", Data: &c.failed},
		{Name: "estimated_end", Data: &c.estimatedEnd},
		{Name: "retry_topic", Data: &c.retryTopic},
		{Name: "retry_partition", Data: &c.retryPartition},
		{Name: "retry_offset", Data: &c.retryOffset},
		{Name: "retry_first_seen", Data: &c.retryFirstSeen},
		{Name: "retry_attempt", Data: &c.retryAttempt},
		{Name: "release", Data: &c.release},
		{Name: "message_id", Data: &c.messageID},
		{Name: "conversation", Data: &c.conversation},
		{Name: "instance", Data: &c.instance},
		{Name: "source", Data: &c.source},
		{Name: "source_offset", Data: &c.sourceOffset},
		{Name: "source_index", Data: &c.sourceIndex},
	}
	c.insert = insertText("messages", c.input)
	return c
}

func (c *messageColumns) append(m *schemas.Message) {
	c.bytes += 250 + len(m.Topic) + len(m.Group) + len(m.Service) + len(m.ClientID) + len(m.BootID) + len(m.Release) + len(m.Instance) + len(m.MessageID) + len(m.Conversation)
	c.project.Append(m.Project)
	c.topic.Append(m.Topic)
	c.partition.Append(m.Partition)
	c.offset.Append(m.Offset)
	c.side.Append(uint8(m.Side))
	c.group.Append(m.Group)
	c.service.Append(m.Service)
	c.clientID.Append(m.ClientID)
	c.bootID.Append(m.BootID)
	c.traceID.Append(m.TraceID)
	c.spanID.Append(m.SpanID)
	same := m.CreationTrace == m.TraceID
	c.creationSame.Append(bit(same))
	if same {
		c.creationOther.Append(schemas.TraceID{})
	} else {
		c.creationOther.Append(m.CreationTrace)
	}
	c.creationSpan.Append(m.CreationSpan)
	c.time.AppendRaw(proto.DateTime64(m.End))
	c.duration.Append(m.End - m.Start)

	var known uint8
	// Distances may overflow, and then do so again the other way when read.
	since := func(col *proto.ColInt64, flag uint8, t int64) {
		if t == 0 {
			col.Append(0)
			return
		}
		known |= flag
		col.Append(t - m.Start)
	}
	since(&c.firstWritten, knownFirstWritten, m.FirstWritten)
	since(&c.written, knownWritten, m.Written)
	since(&c.asked, knownAsked, m.Asked)
	since(&c.answered, knownAnswered, m.Answered)
	since(&c.handed, knownHanded, m.Handed)
	if m.Acked == 0 {
		c.acked.Append(0)
	} else {
		known |= knownAcked
		c.acked.Append(m.End - m.Acked)
	}
	if m.HighWatermark == schemas.Unknown {
		c.highWatermark.Append(0)
	} else {
		known |= knownHighWatermark
		c.highWatermark.Append(m.HighWatermark - m.Offset)
	}
	c.known.Append(known)

	c.appended.Append(m.Appended)
	c.recordTime.Append(m.RecordTime)
	c.attempts.Append(m.Attempts)
	c.throttle.Append(m.Throttle)
	c.bodySize.Append(m.BodySize)
	c.keyHash.Append(m.KeyHash)
	c.failed.Append(bit(m.Failed))
	c.estimatedEnd.Append(bit(m.EstimatedEnd))
	c.retryTopic.Append(m.RetryTopic)
	c.retryPartition.Append(m.RetryPartition)
	c.retryOffset.Append(m.RetryOffset)
	c.retryFirstSeen.Append(m.RetryFirstSeen)
	c.retryAttempt.Append(m.RetryAttempt)
	c.release.Append(m.Release)
	c.messageID.Append(m.MessageID)
	c.conversation.Append(m.Conversation)
	c.instance.Append(m.Instance)
	c.source.Append(uint64(m.Source))
	c.sourceOffset.Append(m.Position.Offset)
	c.sourceIndex.Append(m.Position.Index)
}
