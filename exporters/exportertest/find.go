package exportertest

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// sentAndRead is a record with its two rows, a second apart, that tell names.
func sentAndRead(n int, topic string, partition int32, offset int64) (p, c schemas.Message) {
	at := base().Add(time.Duration(n) * time.Second).UnixNano()
	p = schemas.Message{
		Project: 1, Side: schemas.SideProduce, Topic: topic, Partition: partition, Offset: offset, Service: "shop", TraceID: traceID(n), SpanID: spanID(2 * n),
		Start: at, End: at + 1e6, HighWatermark: schemas.Unknown, BodySize: schemas.Unknown, Source: 1, Position: schemas.Position{Offset: int64(n)},
	}
	c = p
	c.Side, c.Group, c.Service, c.SpanID, c.CreationTrace, c.CreationSpan = schemas.SideProcess, "pay", "payments", spanID(2*n+1), p.TraceID, p.SpanID
	c.Start, c.End, c.Position.Index = at+5e8, at+6e8, 1
	return p, c
}

func wantFound(t *testing.T, s Spans, what string, q exporters.FindQuery, want ...exporters.FoundRecord) {
	t.Helper()
	q.Project = 1
	got, err := s.FindRecords(testContext(t), q)
	noError(t, "FindRecords", err)
	equal(t, what, got, want)
}

func findRecords(t *testing.T, s Spans) {
	ctx := testContext(t)
	p, c := sentAndRead(1, "orders", 3, 918273)
	p.KeyHash, p.MessageID, p.Conversation = 0xfeed, "id'1 ünï", "c-1"
	c.KeyHash, c.MessageID = 0xfeed, p.MessageID
	audit := c
	audit.Group, audit.Service, audit.SpanID, audit.Failed, audit.MessageID, audit.KeyHash = "audit", "auditor", spanID(50), true, "", 0xfeed
	audit.Position.Index = 2
	// The same key elsewhere, read only; and a row whose record nobody told.
	_, lone := sentAndRead(2, "payments", 0, 7)
	lone.KeyHash, lone.Conversation, lone.CreationSpan = 0xbeef, "c-1", spanID(77)
	lost, _ := sentAndRead(3, "orders", schemas.Unknown, schemas.Unknown)
	lost.KeyHash = 0xfeed
	lost2 := lost
	lost2.SpanID, lost2.Position.Index = spanID(51), 9
	nameless, _ := sentAndRead(4, "orders", 3, 918274)
	settle := nameless
	settle.Side, settle.KeyHash, settle.SpanID, settle.Position.Index = schemas.SideSettle, 0xfeed, spanID(52), 3
	foreign, _ := sentAndRead(5, "orders", 3, 1)
	foreign.Project, foreign.KeyHash, foreign.MessageID, foreign.Conversation = 2, 0xfeed, p.MessageID, "c-1"
	rows := []schemas.Message{p, c, audit, lone, lost, lost2, nameless, settle, foreign}
	for range 2 { // as a replay does
		noError(t, "WriteSpans", s.WriteSpans(ctx, nil, rows))
	}
	whole := exporters.FoundRecord{
		Record: p.Record(), First: p.Start, Last: c.End, Span: schemas.SpanRef{TraceID: p.TraceID, SpanID: p.SpanID}, Sent: true, Producer: "shop",
		Groups: []string{"audit", "pay"}, Reads: 2, Failed: true, KeyHash: 0xfeed, MessageID: p.MessageID,
	}
	ofLost := func(m schemas.Message) exporters.FoundRecord {
		return exporters.FoundRecord{Record: m.Record(), First: m.Start, Last: m.End, Span: schemas.SpanRef{TraceID: m.TraceID, SpanID: m.SpanID}, Sent: true, Producer: "shop", KeyHash: 0xfeed}
	}
	ofLone := exporters.FoundRecord{Record: lone.Record(), First: lone.Start, Last: lone.End, Span: schemas.SpanRef{TraceID: lone.TraceID, SpanID: lone.SpanID}, Groups: []string{"pay"}, Reads: 1, KeyHash: 0xbeef}
	keys := func(k ...uint64) exporters.FindQuery { return exporters.FindQuery{By: exporters.FindByKey, Keys: k} }
	wantFound(t, s, "records of a key", keys(0xfeed), ofLost(lost), ofLost(lost2), whole)
	wantFound(t, s, "records of two keys", keys(0xfeed, 0xbeef), ofLost(lost), ofLost(lost2), ofLone, whole)
	wantFound(t, s, "records of no key", keys())
	wantFound(t, s, "records of an unknown key", keys(1))
	// Only the rows that tell it are summed up.
	byID := whole
	byID.Groups, byID.Reads, byID.Failed = []string{"pay"}, 1, false
	wantFound(t, s, "records of a message id", exporters.FindQuery{By: exporters.FindByMessageID, Text: p.MessageID}, byID)
	wantFound(t, s, "records without a message id", exporters.FindQuery{By: exporters.FindByMessageID})
	sent := whole
	sent.Groups, sent.Reads, sent.Failed, sent.Last = nil, 0, false, p.End
	wantFound(t, s, "records of a conversation", exporters.FindQuery{By: exporters.FindByConversation, Text: "c-1"}, ofLone, sent)
	wantFound(t, s, "records without a conversation", exporters.FindQuery{By: exporters.FindByConversation})
	wantFound(t, s, "records that carried a span", exporters.FindQuery{By: exporters.FindBySpan, Span: spanID(77)}, ofLone)
	for _, r := range []exporters.Range{{From: time.Unix(0, lost.End).Add(time.Hour)}, {To: time.Unix(0, p.Start)}} {
		q := keys(0xfeed)
		q.Range = r
		wantFound(t, s, fmt.Sprintf("records of %v", r), q)
	}
	if _, err := s.FindRecords(ctx, exporters.FindQuery{Project: 1, By: "colour"}); err == nil {
		t.Error("FindRecords by colour succeeded")
	}
}

func findPages(t *testing.T, s Spans) {
	ctx := testContext(t)
	var rows []schemas.Message
	for n := range 23 {
		p, c := sentAndRead(n, "orders", int32(n%3), int64(n)) //nolint:gosec // small
		p.KeyHash, c.KeyHash = 5, 5
		c.End = base().Add(time.Hour).UnixNano() // a batch: all are done at once
		rows = append(rows, p, c)
	}
	noError(t, "WriteSpans", s.WriteSpans(ctx, nil, rows))
	seen := map[schemas.RecordRef]bool{}
	for skip := 0; ; skip += 10 {
		page, err := s.FindRecords(ctx, exporters.FindQuery{Project: 1, By: exporters.FindByKey, Keys: []uint64{5}, Skip: skip, Limit: 10})
		noError(t, "FindRecords", err)
		for _, r := range page {
			if seen[r.Record] {
				t.Errorf("record %v is on two pages", r.Record)
			}
			seen[r.Record] = true
		}
		if want := min(10, 23-skip); len(page) != max(0, want) {
			t.Errorf("the page from %d on has %d records, want %d", skip, len(page), want)
		}
		if len(page) == 0 {
			break
		}
	}
	if len(seen) != 23 {
		t.Errorf("the pages have %d records, want 23", len(seen))
	}
}

func findSpans(t *testing.T, s Spans) {
	ctx := testContext(t)
	span := func(n int, attrs ...schemas.Attribute) schemas.Span {
		start := base().Add(time.Duration(n) * time.Second).UnixNano()
		return schemas.Span{Project: 1, TraceID: traceID(n), SpanID: spanID(n), Name: "s", Service: "shop", Start: start, End: start + 5, Attributes: attrs, Source: 1, Position: schemas.Position{Offset: int64(n)}}
	}
	now := span(1, schemas.Attribute{Key: "messaging.message.id", Value: "m-1"})
	old := span(2, schemas.Attribute{Key: "messaging.message_id", Value: "m-1"})
	elsewhere := span(3, schemas.Attribute{Key: "order.id", Value: "m-1"}, schemas.Attribute{Key: "messaging.message.conversation_id", Value: "c-1"})
	oldTalk := span(4, schemas.Attribute{Key: "messaging.conversation_id", Value: "c-1"})
	foreign := span(5, schemas.Attribute{Key: "messaging.message.id", Value: "m-1"})
	foreign.Project = 2
	twin := span(6)
	twin.SpanID = now.SpanID
	spans := []schemas.Span{now, old, elsewhere, oldTalk, foreign, twin}
	for range 2 {
		noError(t, "WriteSpans", s.WriteSpans(ctx, spans, nil))
	}
	want := func(what string, q exporters.FindQuery, want ...schemas.Span) {
		t.Helper()
		q.Project = 1
		got, err := s.FindSpans(ctx, q)
		noError(t, "FindSpans", err)
		equal(t, what, got, want)
	}
	id := exporters.FindQuery{By: exporters.FindByMessageID, Text: "m-1"}
	want("spans of a message id", id, old, now)
	id.Limit = 1
	want("the newest span of a message id", id, old)
	id.Skip = 1
	want("the next span of a message id", id, now)
	want("spans without a message id", exporters.FindQuery{By: exporters.FindByMessageID})
	want("spans of a conversation", exporters.FindQuery{By: exporters.FindByConversation, Text: "c-1"}, oldTalk, elsewhere)
	want("spans by id", exporters.FindQuery{By: exporters.FindBySpan, Span: now.SpanID}, twin, now)
	want("spans by id before the range", exporters.FindQuery{By: exporters.FindBySpan, Span: now.SpanID, Range: exporters.Range{To: base()}})
	want("spans of a key", exporters.FindQuery{By: exporters.FindByKey, Keys: []uint64{1}})
	if _, err := s.FindSpans(ctx, exporters.FindQuery{Project: 1, By: "colour"}); err == nil {
		t.Error("FindSpans by colour succeeded")
	}
}

func findNear(t *testing.T, s Spans) {
	ctx := testContext(t)
	var rows []schemas.Message
	found := func(p, c schemas.Message) *exporters.FoundRecord {
		return &exporters.FoundRecord{Record: p.Record(), First: p.Start, Last: c.End, Span: schemas.SpanRef{TraceID: p.TraceID, SpanID: p.SpanID}, Sent: true, Producer: "shop", Groups: []string{"pay"}, Reads: 1}
	}
	records := map[int64]*exporters.FoundRecord{}
	for i, offset := range []int64{0, 5, 6, 90} {
		p, c := sentAndRead(i, "orders", 3, offset)
		rows = append(rows, p, c)
		records[offset] = found(p, c)
	}
	commit, _ := sentAndRead(8, "orders", 3, 50)
	commit.Side = schemas.SideSettle
	other, _ := sentAndRead(9, "orders", 4, 40)
	lost, _ := sentAndRead(10, "lost", schemas.Unknown, schemas.Unknown)
	foreign, _ := sentAndRead(11, "orders", 3, 41)
	foreign.Project = 2
	noError(t, "WriteSpans", s.WriteSpans(ctx, nil, append(rows, commit, other, lost, foreign)))
	want := func(ref schemas.RecordRef, want exporters.NearRecords) {
		t.Helper()
		got, err := s.NearRecords(ctx, 1, ref)
		noError(t, "NearRecords", err)
		equal(t, fmt.Sprintf("the records near %v", ref), got, want)
	}
	at := func(offset int64) schemas.RecordRef {
		return schemas.RecordRef{Topic: "orders", Partition: 3, Offset: offset}
	}
	want(at(42), exporters.NearRecords{Before: records[6], After: records[90], Topic: true})
	want(at(5), exporters.NearRecords{Record: records[5], Before: records[0], After: records[6], Topic: true})
	want(at(0), exporters.NearRecords{Record: records[0], After: records[5], Topic: true})
	want(at(90), exporters.NearRecords{Record: records[90], Before: records[6], Topic: true})
	want(at(math.MaxInt64), exporters.NearRecords{Before: records[90], Topic: true})
	want(schemas.RecordRef{Topic: "orders", Partition: 7, Offset: 1}, exporters.NearRecords{Topic: true})
	want(schemas.RecordRef{Topic: "lost", Partition: 0, Offset: 1}, exporters.NearRecords{Topic: true})
	want(schemas.RecordRef{Topic: "nowhere", Partition: 0, Offset: 1}, exporters.NearRecords{})
}
