package hops

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
	"github.com/hoptrace/hoptrace/schemas"
)

// operation is a span of one operation on topic orders.
func operation(kind schemas.SpanKind, operation string, more ...string) schemas.Span {
	return schemas.Span{
		TraceID: traceB, SpanID: spanB, Kind: kind, Start: 10, End: 20, Position: schemas.Position{Offset: 1, Index: 2},
		Attributes: attrs(append([]string{messaging.AttrSystem, "kafka", messaging.AttrOperationType, operation, messaging.AttrDestinationName, "orders"}, more...)...),
	}
}

// row is what operation's span gives at least.
func row(side schemas.Side, change func(m *schemas.Message)) schemas.Message {
	m := unknown(side)
	m.TraceID, m.SpanID, m.Start, m.End, m.Position = traceB, spanB, 10, 20, schemas.Position{Offset: 1, Index: 2 << 8}
	change(&m)
	return m
}

func wantRows(t *testing.T, s schemas.Span, want ...schemas.Message) {
	t.Helper()
	s.Attributes = slices.Clone(s.Attributes) // Derive takes off what rows hold
	rows, malformed := new(Request).Derive(nil, &s)
	if d := cmp.Diff(want, rows); d != "" || malformed != 0 {
		t.Errorf("rows differ (-want +got), %d malformed:\n%s", malformed, d)
	}
}

func TestASettleSpanBecomesARowOfTheOffsetThatItCommits(t *testing.T) {
	s := operation(schemas.KindClient, "settle", messaging.AttrPartitionID, "3", messaging.AttrKafkaOffset, "41", messaging.AttrConsumerGroup, "g", messaging.AttrBatchMessageCount, "7")
	s.Links = []schemas.Link{{TraceID: traceA, SpanID: spanA}}
	wantRows(t, s, row(schemas.SideSettle, func(m *schemas.Message) { m.Partition, m.Offset, m.Group = 3, 41, "g" }))
}

func TestASettleSpanOfSeveralPartitionsBecomesARowOfEachLink(t *testing.T) {
	s := operation(schemas.KindClient, "settle", messaging.AttrConsumerGroup, "g")
	s.Links = []schemas.Link{{TraceID: traceA, SpanID: spanA}, {}, {TraceID: traceA, SpanID: spanC}}
	wantRows(t, s,
		row(schemas.SideSettle, func(m *schemas.Message) { m.Group, m.CreationTrace, m.CreationSpan = "g", traceA, spanA }),
		row(schemas.SideSettle, func(m *schemas.Message) {
			m.Group, m.CreationTrace, m.CreationSpan, m.Position.Index = "g", traceA, spanC, 2<<8+2
		}))
	wantRows(t, operation(schemas.KindClient, "settle"))
}

func TestLineageIsReadAndTheCreationIsNotAnEarlierAttempt(t *testing.T) {
	s := operation(schemas.KindConsumer, "process", messaging.AttrPartitionID, "0", messaging.AttrKafkaOffset, "5",
		messaging.AttrRetryTopic, "payments", messaging.AttrRetryPartition, "2", messaging.AttrRetryOffset, "99",
		messaging.AttrRetryFirstSeen, "7", messaging.AttrRetryAttempt, "3", messaging.AttrRetryCount, "3")
	earlier := schemas.Link{TraceID: traceA, SpanID: spanC, Attributes: attrs(messaging.AttrRetryEarlier, "true")}
	s.Links = []schemas.Link{earlier, {TraceID: traceA, SpanID: spanA}}
	want := row(schemas.SideProcess, func(m *schemas.Message) {
		m.Partition, m.Offset, m.CreationTrace, m.CreationSpan = 0, 5, traceA, spanA
		m.RetryTopic, m.RetryPartition, m.RetryOffset, m.RetryFirstSeen, m.RetryAttempt = "payments", 2, 99, 7, 3
	})
	wantRows(t, s, want)
	s.Links = []schemas.Link{earlier}
	want.CreationTrace, want.CreationSpan = schemas.TraceID{}, schemas.SpanID{}
	wantRows(t, s, want)
	// Somebody else's instrumentation tells how often, and no more.
	wantRows(t, operation(schemas.KindConsumer, "process", messaging.AttrPartitionID, "0", messaging.AttrKafkaOffset, "5", messaging.AttrRetryCount, "2"),
		row(schemas.SideProcess, func(m *schemas.Message) { m.Partition, m.Offset, m.RetryAttempt = 0, 5, 2 }))
}

func TestCreateSpansAndTheirRequestMakeOneRowARecord(t *testing.T) {
	wantRows(t, operation(schemas.KindProducer, "create", messaging.AttrPartitionID, "0", messaging.AttrKafkaOffset, "5"),
		row(schemas.SideProduce, func(m *schemas.Message) { m.Partition, m.Offset = 0, 5 }))
	// The request: of one record, and of several.
	links := []schemas.Link{{TraceID: traceA, SpanID: spanA}}
	s := operation(schemas.KindClient, "send", messaging.AttrPartitionID, "0")
	s.Links = links
	wantRows(t, s)
	s = operation(schemas.KindClient, "send", messaging.AttrPartitionID, "0", messaging.AttrBatchMessageCount, "2")
	s.Links = append(links, schemas.Link{TraceID: traceA, SpanID: spanC})
	wantRows(t, s)
	// A record whose creation context was there before is told by its send span.
	s = operation(schemas.KindClient, "send", messaging.AttrPartitionID, "0", messaging.AttrKafkaOffset, "5")
	s.Links = links
	wantRows(t, s, row(schemas.SideProduce, func(m *schemas.Message) { m.Partition, m.Offset, m.CreationTrace, m.CreationSpan = 0, 5, traceA, spanA }))
	// A producer's link is to what made it send, not to the record.
	s = operation(schemas.KindProducer, "send", messaging.AttrPartitionID, "0", messaging.AttrKafkaOffset, "5")
	s.Links = links
	wantRows(t, s, row(schemas.SideProduce, func(m *schemas.Message) { m.Partition, m.Offset = 0, 5 }))
}

func TestABatchTellsOfEachRecordWhatItsLinkTells(t *testing.T) {
	s := operation(schemas.KindConsumer, "process", messaging.AttrBatchMessageCount, "2", messaging.AttrConsumerGroup, "g")
	s.Attributes = s.Attributes[:2:2] // of several topics: none on the span
	s.Attributes = append(s.Attributes, attrs(messaging.AttrBatchMessageCount, "2", messaging.AttrConsumerGroup, "g")...)
	s.Links = []schemas.Link{
		{TraceID: traceA, SpanID: spanA, Attributes: attrs(messaging.AttrDestinationName, "orders", messaging.AttrPartitionID, "1", messaging.AttrKafkaOffset, "7",
			messaging.AttrConsumeAsked, "3", messaging.AttrConsumeAnswered, "4", messaging.AttrConsumeHanded, "5", messaging.AttrConsumeRecordTime, "2",
			messaging.AttrConsumeHighWatermark, "9", messaging.AttrBodySize, "10", messaging.AttrKeyHash, "11")},
		{TraceID: traceA, SpanID: spanC, Attributes: attrs(messaging.AttrDestinationName, "payments", messaging.AttrPartitionID, "0", messaging.AttrKafkaOffset, "8")},
	}
	wantRows(t, s,
		row(schemas.SideProcess, func(m *schemas.Message) {
			m.Group, m.Topic, m.Partition, m.Offset, m.CreationTrace, m.CreationSpan = "g", "orders", 1, 7, traceA, spanA
			m.Asked, m.Answered, m.Handed, m.RecordTime, m.HighWatermark, m.BodySize, m.KeyHash = 3, 4, 5, 2, 9, 10, 11
		}),
		row(schemas.SideProcess, func(m *schemas.Message) {
			m.Group, m.Topic, m.Partition, m.Offset, m.CreationTrace, m.CreationSpan, m.Position.Index = "g", "payments", 0, 8, traceA, spanC, 2<<8+1
		}))
}

func TestABatchGivesARowForEachRecordThatItNamesByOffset(t *testing.T) {
	s := operation(schemas.KindConsumer, "process", messaging.AttrBatchMessageCount, "4", messaging.AttrConsumerGroup, "g", messaging.AttrBatchRecords, "5:7-9:3:4:5:2:9 payments/0:7")
	s.Links = []schemas.Link{{TraceID: traceA, SpanID: spanA, Attributes: attrs(messaging.AttrKafkaOffset, "7", messaging.AttrPartitionID, "5")}}
	named := func(place uint32, partition int32, offset int64, change func(*schemas.Message)) schemas.Message {
		return row(schemas.SideProcess, func(m *schemas.Message) {
			m.Group, m.Topic, m.Partition, m.Offset, m.Position.Index = "g", "orders", partition, offset, 2<<8+place
			change(m)
		})
	}
	times := func(m *schemas.Message) {
		m.Asked, m.Answered, m.Handed, m.RecordTime, m.HighWatermark = 3, 4, 5, 2, 9
	}
	wantRows(t, s,
		named(0, 5, 7, func(m *schemas.Message) { m.CreationTrace, m.CreationSpan = traceA, spanA }),
		named(1, 5, 8, times), named(2, 5, 9, times),
		named(3, 0, 7, func(m *schemas.Message) { m.Topic = "payments" }))
}

func TestRecordsNamedByOffsetAreBounded(t *testing.T) {
	var r Request
	rows := 0
	for i := range uint32(runRows) {
		s := operation(schemas.KindConsumer, "process", messaging.AttrBatchRecords, "0:0-9223372036854775807 0:9223372036854775807")
		s.Position.Index = i
		out, malformed := r.Derive(nil, &s)
		if len(out) > linkRows || malformed != 0 {
			t.Fatalf("%d rows of one span, %d malformed", len(out), malformed)
		}
		rows += len(out)
	}
	if rows != runRows {
		t.Errorf("%d rows, want %d of a request", rows, runRows)
	}
}

func TestReceiveSpansOfEveryWrapperOfOursGiveNoRow(t *testing.T) {
	for _, scope := range []string{messaging.ScopeKafkaGo, messaging.ScopeFranz, messaging.ScopeSarama} {
		s := operation(schemas.KindClient, "receive", messaging.AttrPartitionID, "0", messaging.AttrKafkaOffset, "5")
		s.Scope = scope
		wantRows(t, s)
	}
}

func TestRowsHoldTheNamesOfTheMessage(t *testing.T) {
	at := []string{messaging.AttrPartitionID, "0", messaging.AttrKafkaOffset, "5"}
	want := func(change func(m *schemas.Message)) schemas.Message {
		return row(schemas.SideProcess, func(m *schemas.Message) { m.Partition, m.Offset = 0, 5; change(m) })
	}
	named := want(func(m *schemas.Message) { m.MessageID, m.Conversation = "m-1", "c-1" })
	wantRows(t, operation(schemas.KindConsumer, "process", append(at, "messaging.message.id", "m-1", "messaging.message.conversation_id", "c-1")...), named)
	wantRows(t, operation(schemas.KindConsumer, "process", append(at, "messaging.message_id", "m-1", "messaging.conversation_id", "c-1")...), named)
	// Of two generations the newer holds, whichever stands first.
	wantRows(t, operation(schemas.KindConsumer, "process", append(at, "messaging.message.id", "m-1", "messaging.message_id", "old", "messaging.conversation_id", "old", "messaging.message.conversation_id", "c-1")...), named)
	wantRows(t, operation(schemas.KindConsumer, "process", append(at, "messaging.message.id", strings.Repeat("m", 201))...), want(func(*schemas.Message) {}))
	// A key that somebody tells is hashed as our wrappers hash it; theirs holds.
	hashed := want(func(m *schemas.Message) { m.KeyHash = 0xd24ec4f1a98c6e5b })
	wantRows(t, operation(schemas.KindConsumer, "process", append(at, "messaging.kafka.message.key", "a")...), hashed)
	wantRows(t, operation(schemas.KindConsumer, "process", append(at, "messaging.kafka.message_key", "a")...), hashed)
	wantRows(t, operation(schemas.KindConsumer, "process", append(at, "messaging.kafka.message.key", "b", messaging.AttrKeyHash, "15154266338359012955")...), hashed)
}

func TestALinkNamesItsOwnMessage(t *testing.T) {
	s := operation(schemas.KindConsumer, "process", messaging.AttrBatchMessageCount, "2", "messaging.message.id", "of the span", "messaging.message.conversation_id", "c-1")
	s.Links = []schemas.Link{
		{TraceID: traceA, SpanID: spanA, Attributes: attrs(messaging.AttrPartitionID, "0", messaging.AttrKafkaOffset, "5", "messaging.message.id", "m-5")},
		{TraceID: traceA, SpanID: spanC, Attributes: attrs(messaging.AttrPartitionID, "0", messaging.AttrKafkaOffset, "6", "messaging.message.conversation_id", "c-2")},
	}
	link := func(offset int64, span schemas.SpanID, id, conversation string, index uint32) schemas.Message {
		return row(schemas.SideProcess, func(m *schemas.Message) {
			m.Partition, m.Offset, m.CreationTrace, m.CreationSpan, m.MessageID, m.Conversation, m.Position.Index = 0, offset, traceA, span, id, conversation, 2<<8+index
		})
	}
	wantRows(t, s, link(5, spanA, "m-5", "c-1", 0), link(6, spanC, "", "c-2", 1))
}
