package hops

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
	"github.com/hoptrace/hoptrace/schemas"
)

var (
	traceA = schemas.TraceID{1}
	traceB = schemas.TraceID{2}
	spanA  = schemas.SpanID{1}
	spanB  = schemas.SpanID{2}
	spanC  = schemas.SpanID{3}
)

func attrs(pairs ...string) []schemas.Attribute {
	var out []schemas.Attribute
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, schemas.Attribute{Key: pairs[i], Value: pairs[i+1]})
	}
	return out
}

// unknown is a row about which nothing is told but what it is of.
func unknown(side schemas.Side) schemas.Message {
	return schemas.Message{
		Side: side, Topic: "orders", Partition: schemas.Unknown, Offset: schemas.Unknown,
		HighWatermark: schemas.Unknown, BodySize: schemas.Unknown,
	}
}

func TestASendSpanOfOursBecomesAProducerRow(t *testing.T) {
	s := schemas.Span{
		Project: 7, TraceID: traceA, SpanID: spanA, Kind: schemas.KindProducer, Service: "checkout",
		Start: 1000, End: 5000, Source: 9, Position: schemas.Position{Offset: 44, Index: 3},
		Resource: attrs(messaging.AttrBootID, "boot-1"),
		Attributes: attrs(
			messaging.AttrSystem, "kafka", messaging.AttrOperationType, "send", messaging.AttrOperationName, "send",
			messaging.AttrDestinationName, "orders", messaging.AttrPartitionID, "2", messaging.AttrKafkaOffset, "1234",
			messaging.AttrClientID, "client-1", messaging.AttrBodySize, "99",
			messaging.AttrProduceFirstWritten, "1900", messaging.AttrProduceWritten, "2000", messaging.AttrProduceAcked, "4000",
			messaging.AttrProduceAppended, "3000", messaging.AttrProduceAttempts, "2", messaging.AttrProduceThrottle, "17",
			messaging.AttrKeyHash, "18446744073709551615", "app", "kept"),
	}
	rows, malformed := new(Request).Derive(nil, &s)
	want := []schemas.Message{{
		Project: 7, Side: schemas.SideProduce, Topic: "orders", Partition: 2, Offset: 1234, Service: "checkout",
		ClientID: "client-1", Instance: "client-1", BootID: "boot-1", TraceID: traceA, SpanID: spanA, Start: 1000, End: 5000,
		FirstWritten: 1900, Written: 2000, Acked: 4000, Appended: 3000, HighWatermark: schemas.Unknown, Attempts: 2,
		Throttle: 17, BodySize: 99, KeyHash: 1<<64 - 1, Source: 9, Position: schemas.Position{Offset: 44, Index: 3 << 8},
	}}
	if d := cmp.Diff(want, rows); d != "" || malformed != 0 {
		t.Fatalf("rows differ (-want +got), %d malformed:\n%s", malformed, d)
	}
	// What the row holds is not stored twice; what conventions define stays.
	left := attrs(messaging.AttrSystem, "kafka", messaging.AttrOperationType, "send", messaging.AttrOperationName, "send",
		messaging.AttrDestinationName, "orders", messaging.AttrPartitionID, "2", messaging.AttrKafkaOffset, "1234",
		messaging.AttrClientID, "client-1", messaging.AttrBodySize, "99", "app", "kept")
	if d := cmp.Diff(left, s.Attributes); d != "" {
		t.Fatalf("attributes left on the span differ:\n%s", d)
	}
}

func TestAProcessSpanOfOursBecomesAConsumerRowWithTheLinkAsCreationContext(t *testing.T) {
	s := schemas.Span{
		TraceID: traceB, SpanID: spanB, ParentID: spanC, Kind: schemas.KindConsumer, Status: schemas.StatusError,
		Scope: messaging.ScopeKafkaGo, Start: 10, End: 20,
		Links: []schemas.Link{{TraceID: traceA, SpanID: spanA}},
		Attributes: attrs(messaging.AttrSystem, "kafka", messaging.AttrOperationType, "process",
			messaging.AttrDestinationName, "orders", messaging.AttrPartitionID, "0", messaging.AttrKafkaOffset, "0",
			messaging.AttrConsumerGroup, "payments", messaging.AttrConsumeAsked, "3", messaging.AttrConsumeAnswered, "4",
			messaging.AttrConsumeHanded, "5", messaging.AttrConsumeRecordTime, "1", messaging.AttrConsumeHighWatermark, "1",
			messaging.AttrConsumeEstimated, "true"),
	}
	rows, _ := new(Request).Derive(nil, &s)
	want := unknown(schemas.SideProcess)
	want.Partition, want.Offset, want.Group = 0, 0, "payments"
	want.TraceID, want.SpanID, want.CreationTrace, want.CreationSpan = traceB, spanB, traceA, spanA
	want.Start, want.End, want.Asked, want.Answered, want.Handed, want.RecordTime, want.HighWatermark = 10, 20, 3, 4, 5, 1, 1
	want.Failed, want.EstimatedEnd = true, true
	if d := cmp.Diff([]schemas.Message{want}, rows); d != "" {
		t.Fatalf("rows differ (-want +got):\n%s", d)
	}
}

func TestOlderAndForeignNamesAreRead(t *testing.T) {
	f := func(name string, kind schemas.SpanKind, a []schemas.Attribute, want func(*schemas.Message)) {
		t.Helper()
		s := schemas.Span{TraceID: traceA, SpanID: spanA, Kind: kind, Attributes: a}
		rows, malformed := new(Request).Derive(nil, &s)
		row := unknown(schemas.SideProduce)
		row.TraceID, row.SpanID = traceA, spanA
		want(&row)
		if d := cmp.Diff([]schemas.Message{row}, rows); d != "" || malformed != 0 {
			t.Errorf("%s: rows differ (-want +got), %d malformed:\n%s", name, malformed, d)
		}
	}
	f("conventions before 1.28, publish", schemas.KindProducer,
		attrs("messaging.system", "kafka", "messaging.operation", "publish", "messaging.destination.name", "orders",
			"messaging.kafka.destination.partition", "3", "messaging.kafka.message.offset", "8", "messaging.client_id", "c"),
		func(m *schemas.Message) { m.Partition, m.Offset, m.ClientID, m.Instance = 3, 8, "c", "c" })
	f("conventions before 1.28, receive", schemas.KindConsumer,
		attrs("messaging.system", "kafka", "messaging.operation", "receive", "messaging.destination.name", "orders",
			"messaging.kafka.consumer.group", "g", "messaging.message.payload_size_bytes", "12"),
		func(m *schemas.Message) { m.Side, m.Group, m.BodySize = schemas.SideReceive, "g", 12 })
	f("conventions 1.16", schemas.KindConsumer,
		attrs("messaging.system", "kafka", "messaging.operation", "process", "messaging.destination", "orders",
			"messaging.kafka.partition", "1", "messaging.kafka.consumer_group", "g"),
		func(m *schemas.Message) { m.Side, m.Partition, m.Group = schemas.SideProcess, 1, "g" })
	f("the newer name wins, whichever comes first", schemas.KindProducer,
		attrs("messaging.kafka.message.offset", "1", "messaging.kafka.offset", "2", "messaging.destination.partition.id", "5",
			"messaging.kafka.partition", "6", "messaging.system", "kafka", "messaging.destination.name", "orders", "messaging.operation.type", "send"),
		func(m *schemas.Message) { m.Offset, m.Partition = 2, 5 })
	f("Sentry queue.publish", schemas.KindUnspecified,
		attrs("sentry.op", "queue.publish", "messaging.system", "kafka", "messaging.destination.name", "orders"),
		func(*schemas.Message) {})
	f("Sentry queue.process", schemas.KindUnspecified,
		attrs("sentry.op", "queue.process", "messaging.system", "kafka", "messaging.destination.name", "orders"),
		func(m *schemas.Message) { m.Side = schemas.SideProcess })
	f("the kind, when no operation is told", schemas.KindProducer,
		attrs("messaging.system", "kafka", "messaging.destination.name", "orders"),
		func(*schemas.Message) {})
	f("error.type tells a failure", schemas.KindProducer,
		attrs("messaging.system", "kafka", "messaging.destination.name", "orders", "error.type", "timeout"),
		func(m *schemas.Message) { m.Failed = true })
}

func TestSpansThatAreAboutNoRecordGiveNoRow(t *testing.T) {
	kafka := func(more ...string) []schemas.Attribute {
		return attrs(append([]string{"messaging.system", "kafka", "messaging.destination.name", "orders"}, more...)...)
	}
	f := func(name string, s schemas.Span) {
		t.Helper()
		before := len(s.Attributes)
		if rows, _ := new(Request).Derive(nil, &s); len(rows) != 0 {
			t.Errorf("%s: got %d rows, want none: %+v", name, len(rows), rows)
		}
		if len(s.Attributes) != before {
			t.Errorf("%s: %d attributes were taken off a span without a row", name, before-len(s.Attributes))
		}
	}
	f("no messaging", schemas.Span{Attributes: attrs("http.method", "GET")})
	f("another system", schemas.Span{Kind: schemas.KindProducer, Attributes: attrs("messaging.system", "rabbitmq", "messaging.destination.name", "orders")})
	f("no topic", schemas.Span{Kind: schemas.KindProducer, Attributes: attrs("messaging.system", "kafka", "messaging.operation.type", "send")})
	f("settle", schemas.Span{Kind: schemas.KindConsumer, Attributes: kafka("messaging.operation.type", "settle")})
	f("internal without operation", schemas.Span{Kind: schemas.KindInternal, Attributes: kafka()})
	f("receive of our wrapper", schemas.Span{Scope: messaging.ScopeKafkaGo, Attributes: kafka("messaging.operation.type", "receive", "messaging.kafka.offset", "1", messaging.AttrConsumeAsked, "5")})
	f("a batch whose links tell nothing", schemas.Span{
		Kind: schemas.KindConsumer, Links: []schemas.Link{{TraceID: traceA, SpanID: spanA}},
		Attributes: kafka("messaging.operation.type", "receive", "messaging.batch.message_count", "2"),
	})
}

func TestABatchSpanGivesARowForEachLinkWithAnOffset(t *testing.T) {
	s := schemas.Span{
		TraceID: traceB, SpanID: spanB, Kind: schemas.KindConsumer, Start: 1, End: 2, Position: schemas.Position{Offset: 5, Index: 1},
		Attributes: attrs("messaging.system", "kafka", "messaging.destination.name", "orders", "messaging.operation.type", "process",
			"messaging.batch.message_count", "3", "messaging.destination.partition.id", "4"),
		Links: []schemas.Link{
			{TraceID: traceA, SpanID: spanA, Attributes: attrs("messaging.kafka.offset", "10")},
			{TraceID: traceA, SpanID: spanC},
			{TraceID: traceA, SpanID: spanC, Attributes: attrs("messaging.kafka.message.offset", "11", "messaging.kafka.destination.partition", "6")},
			{TraceID: traceA, SpanID: spanC, Attributes: attrs("messaging.kafka.offset", "eleven")},
		},
	}
	rows, malformed := new(Request).Derive(nil, &s)
	row := unknown(schemas.SideProcess)
	row.TraceID, row.SpanID, row.Start, row.End, row.CreationTrace = traceB, spanB, 1, 2, traceA
	one, two := row, row
	one.Partition, one.Offset, one.CreationSpan, one.Position = 4, 10, spanA, schemas.Position{Offset: 5, Index: 1<<8 + 0}
	two.Partition, two.Offset, two.CreationSpan, two.Position = 6, 11, spanC, schemas.Position{Offset: 5, Index: 1<<8 + 2}
	if d := cmp.Diff([]schemas.Message{one, two}, rows); d != "" || malformed != 1 {
		t.Fatalf("rows differ (-want +got), %d malformed, want 1:\n%s", malformed, d)
	}
}

func TestCreationContextIsTheMatchingLinkThenTheFirstThenTheParent(t *testing.T) {
	base := func(offset string, links ...schemas.Link) schemas.Span {
		return schemas.Span{
			TraceID: traceB, SpanID: spanB, ParentID: spanC, Kind: schemas.KindConsumer, Links: links,
			Attributes: attrs("messaging.system", "kafka", "messaging.destination.name", "orders", "messaging.operation.type", "process", "messaging.kafka.offset", offset),
		}
	}
	f := func(name string, s schemas.Span, want schemas.SpanRef) {
		t.Helper()
		rows, _ := new(Request).Derive(nil, &s)
		if len(rows) != 1 {
			t.Fatalf("%s: got %d rows, want 1", name, len(rows))
		}
		if got := (schemas.SpanRef{TraceID: rows[0].CreationTrace, SpanID: rows[0].CreationSpan}); got != want {
			t.Errorf("%s: creation context is %v, want %v", name, got, want)
		}
	}
	other := schemas.Link{TraceID: traceA, SpanID: spanC}
	named := schemas.Link{TraceID: traceA, SpanID: spanA, Attributes: attrs("messaging.kafka.offset", "7")}
	f("the link that names the record", base("7", other, named), schemas.SpanRef{TraceID: traceA, SpanID: spanA})
	f("the first link", base("8", other, named), schemas.SpanRef{TraceID: traceA, SpanID: spanC})
	f("the parent", base("7"), schemas.SpanRef{TraceID: traceB, SpanID: spanC})
	client := base("7")
	client.Kind = schemas.KindClient
	f("a client span's parent is local", client, schemas.SpanRef{})
}

func TestValuesThatAreNoNumbersAreUnknownAndCountedAndStayOnTheSpan(t *testing.T) {
	s := schemas.Span{Kind: schemas.KindProducer, Attributes: attrs("messaging.system", "kafka", "messaging.destination.name", "orders",
		"messaging.operation.type", "send", "messaging.destination.partition.id", "2147483648", "messaging.kafka.offset", "-2",
		messaging.AttrProduceWritten, "yesterday", messaging.AttrProduceAcked, "0", messaging.AttrProduceAttempts, "70000", messaging.AttrKeyHash, "-1",
		messaging.AttrProduceAppended, "6")}
	rows, malformed := new(Request).Derive(nil, &s)
	want := unknown(schemas.SideProduce)
	want.Appended = 6
	if d := cmp.Diff([]schemas.Message{want}, rows); d != "" || malformed != 6 {
		t.Fatalf("rows differ (-want +got), %d malformed, want 6:\n%s", malformed, d)
	}
	if _, ok := schemas.Lookup(s.Attributes, messaging.AttrProduceWritten); !ok {
		t.Error("the value that could not be read is gone from the span")
	}
	if _, ok := schemas.Lookup(s.Attributes, messaging.AttrProduceAppended); ok {
		t.Error("the value that the row holds is still on the span")
	}
}

func TestRowsOfDifferentSpansNeverShareAPosition(t *testing.T) {
	seen := map[schemas.Position]bool{}
	for _, i := range []uint32{0, 1, 2, 31, 32, 33, rowSpans/32 - 1, rowSpans - 2, rowSpans - 1} {
		s := schemas.Span{
			Kind: schemas.KindConsumer, Position: schemas.Position{Offset: 1, Index: i},
			Attributes: attrs("messaging.system", "kafka", "messaging.destination.name", "orders", "messaging.operation.type", "process"),
		}
		for j := range linkRows + 10 { // more than one span may give
			s.Links = append(s.Links, schemas.Link{TraceID: traceA, SpanID: spanA, Attributes: attrs("messaging.kafka.offset", string(rune('0'+j%10)))})
		}
		rows, _ := new(Request).Derive(nil, &s)
		if len(rows) != linkRows {
			t.Fatalf("got %d rows of one span, want the bound %d", len(rows), linkRows)
		}
		for _, r := range rows {
			if seen[r.Position] {
				t.Fatalf("position %v twice", r.Position)
			}
			seen[r.Position] = true
		}
	}
}

func TestARowKnowsTheReleaseOfItsProgram(t *testing.T) {
	f := func(service string, resource, more []schemas.Attribute, want string) {
		t.Helper()
		s := schemas.Span{
			TraceID: traceA, SpanID: spanA, Kind: schemas.KindProducer, Service: service, Resource: resource,
			Attributes: append(attrs(messaging.AttrSystem, "kafka", messaging.AttrOperationType, "send", messaging.AttrDestinationName, "orders"), more...),
		}
		rows, _ := new(Request).Derive(nil, &s)
		if len(rows) != 1 || rows[0].Release != want {
			t.Errorf("%s %v %v: %+v, want release %q", service, resource, more, rows, want)
		}
	}
	f("shop", attrs("service.version", "1.2"), nil, "shop@1.2")
	f("shop", attrs("service.version", "cart@1.2"), nil, "cart@1.2")
	f("", attrs("service.version", "1.2"), nil, "1.2")
	f("shop", nil, attrs("sentry.release", "shop@3"), "shop@3")
	f("shop", nil, nil, "")
}

func TestARowKnowsWhichProcessItIsOf(t *testing.T) {
	f := func(clientID, want string, resource ...string) {
		t.Helper()
		s := schemas.Span{
			TraceID: traceA, SpanID: spanA, Kind: schemas.KindConsumer, Service: "shop", Resource: attrs(resource...),
			Attributes: attrs(messaging.AttrSystem, "kafka", messaging.AttrOperationType, "process", messaging.AttrDestinationName, "orders", messaging.AttrClientID, clientID),
		}
		rows, _ := new(Request).Derive(nil, &s)
		if len(rows) != 1 || rows[0].Instance != want {
			t.Errorf("%v: %+v, want instance %q", resource, rows, want)
		}
	}
	f("c", "i-1", "host.name", "node", "process.pid", "7", "k8s.pod.name", "pod-1", "service.instance.id", "i-1")
	f("c", "pod-1", "host.name", "node", "process.pid", "7", "k8s.pod.name", "pod-1")
	f("c", "node:7", "host.name", "node", "process.pid", "7")
	f("c", "c@node", "host.name", "node")
	f("", "node", "host.name", "node")
	f("c", "c", "process.pid", "7")
	f("", "")
}
