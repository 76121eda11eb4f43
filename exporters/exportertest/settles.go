package exportertest

import (
	"slices"
	"testing"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// messageRow is a row of topic t, partition 0, with a position of its own.
func messageRow(n int, side schemas.Side, offset int64, change func(m *schemas.Message)) schemas.Message {
	start := base().UnixNano() + int64(n)*1000
	m := schemas.Message{
		Project: 1, Side: side, Topic: "t", Offset: offset, TraceID: traceID(n + 1), SpanID: spanID(n), Start: start, End: start + 500,
		HighWatermark: schemas.Unknown, BodySize: schemas.Unknown, Source: 3, Position: schemas.Position{Index: uint32(n)}, //nolint:gosec // small
	}
	if side != schemas.SideProduce {
		m.Group = "g"
	}
	change(&m)
	return m
}

func settles(t *testing.T, s Spans) {
	ctx := testContext(t)
	as := func(*schemas.Message) {}
	consumers := []schemas.Message{
		messageRow(0, schemas.SideProcess, 5, as),
		messageRow(1, schemas.SideProcess, 6, as),
		messageRow(2, schemas.SideProcess, 9, func(m *schemas.Message) { m.CreationTrace, m.CreationSpan = traceID(90), spanID(90) }),
		messageRow(3, schemas.SideProcess, 6, func(m *schemas.Message) { m.Group = "other" }),
		messageRow(4, schemas.SideProcess, schemas.Unknown, as),
	}
	commits := []schemas.Message{
		messageRow(10, schemas.SideSettle, 4, as),
		messageRow(11, schemas.SideSettle, 6, as),
		messageRow(12, schemas.SideSettle, 7, as),
		messageRow(13, schemas.SideSettle, 5, func(m *schemas.Message) { m.Failed = true }),
		messageRow(14, schemas.SideSettle, 8, func(m *schemas.Message) { m.Partition = 1 }),
		messageRow(15, schemas.SideSettle, 9, func(m *schemas.Message) { m.Project = 2 }),
		messageRow(16, schemas.SideSettle, schemas.Unknown, func(m *schemas.Message) {
			m.Topic, m.Partition, m.CreationTrace, m.CreationSpan = "", schemas.Unknown, consumers[4].TraceID, consumers[4].SpanID
		}),
		messageRow(17, schemas.SideSettle, schemas.Unknown, func(m *schemas.Message) {
			m.Partition, m.CreationTrace, m.CreationSpan = schemas.Unknown, traceID(90), spanID(90)
		}),
		messageRow(18, schemas.SideSettle, 9, func(m *schemas.Message) { // of another day's commit
			m.Start += 3600e9
			m.End += 3600e9
		}),
	}
	producer := messageRow(20, schemas.SideProduce, 5, as)
	noError(t, "WriteSpans", s.WriteSpans(ctx, nil, append(append([]schemas.Message{producer}, consumers...), commits...)))
	f := func(what string, of []schemas.Message, want ...schemas.Message) {
		t.Helper()
		got, err := s.Settles(ctx, 1, of)
		noError(t, what, err)
		equal(t, what, got, want)
	}
	f("of the first", consumers[:1], commits[1])
	f("of two under one commit", consumers[:2], commits[1])
	f("of one that a commit links to by its context", consumers[2:3], commits[7])
	f("of another group", consumers[3:4])
	f("of one without offset", consumers[4:], commits[6])
	f("of a producer", []schemas.Message{producer})
	// A commit is nobody's reading.
	hops, err := s.Hops(ctx, exporters.HopQuery{Project: 1, Limit: 100})
	noError(t, "Hops", err)
	if len(hops) != len(consumers) {
		t.Errorf("%d hops; want %d", len(hops), len(consumers))
	}
	stats, err := s.Topics(ctx, 1, exporters.Range{})
	noError(t, "Topics", err)
	consumed := uint64(0)
	for _, line := range stats {
		consumed += line.Consumed
	}
	if want := uint64(len(consumers)); consumed != want {
		t.Errorf("%d records consumed; want %d", consumed, want)
	}
	slow, err := s.Hops(ctx, exporters.HopQuery{Project: 1, Slowest: true})
	noError(t, "Hops", err)
	for _, h := range slow {
		if h.Consume.Side == schemas.SideSettle {
			t.Error("a commit is among the slowest hops")
		}
	}
}

func sentOn(t *testing.T, s Spans) {
	ctx := testContext(t)
	retried := func(n int, offset int64, side schemas.Side) schemas.Message {
		return messageRow(n, side, int64(n), func(m *schemas.Message) {
			m.Topic, m.RetryTopic, m.RetryPartition, m.RetryOffset, m.RetryFirstSeen, m.RetryAttempt = "t.retry", "t", 2, offset, m.Start-1e9, 1
		})
	}
	rows := []schemas.Message{
		retried(0, 7, schemas.SideProcess), retried(1, 7, schemas.SideReceive), retried(2, 8, schemas.SideProcess), retried(3, 7, schemas.SideProduce),
		messageRow(4, schemas.SideProcess, 7, func(m *schemas.Message) { m.Partition = 2 }),
	}
	noError(t, "WriteSpans", s.WriteSpans(ctx, nil, rows))
	f := func(what string, refs []schemas.RecordRef, want ...schemas.Message) {
		t.Helper()
		got, err := s.MessagesSentOn(ctx, 1, refs, 100)
		noError(t, what, err)
		equal(t, what, got, want)
	}
	f("of one record", []schemas.RecordRef{{Topic: "t", Partition: 2, Offset: 7}}, rows[0], rows[1], rows[3])
	f("of two", []schemas.RecordRef{{Topic: "t", Partition: 2, Offset: 7}, {Topic: "t", Partition: 2, Offset: 8}}, rows[0], rows[1], rows[2], rows[3])
	f("of another", []schemas.RecordRef{{Topic: "t", Partition: 1, Offset: 7}, {Topic: "", Partition: 0, Offset: 0}})
}

// commitTraces lists traces that hold a commit beside other spans, or a span that
// is only called so.
func commitTraces(t *testing.T, s Spans) {
	ctx := testContext(t)
	var spans []schemas.Span
	var rows []schemas.Message
	span := func(trace int, kind schemas.SpanKind, name string, isCommit bool) {
		n := len(spans)
		m := messageRow(n, schemas.SideSettle, int64(n), func(m *schemas.Message) { m.TraceID = traceID(trace) })
		spans = append(spans, schemas.Span{
			Project: 1, TraceID: m.TraceID, SpanID: m.SpanID, Name: name, Kind: kind, Service: "s", Start: m.Start, End: m.End, Source: 3, Position: m.Position,
		})
		if isCommit {
			rows = append(rows, m)
		}
	}
	span(1, schemas.KindClient, "commit t", true)
	span(2, schemas.KindConsumer, "process t", false)
	span(2, schemas.KindClient, "commit", true)
	rows[len(rows)-1].Topic = "" // a commit of several topics
	span(3, schemas.KindClient, "commit t", false)
	span(4, schemas.KindClient, "commit", true)
	span(5, schemas.KindClient, "committee", true)
	noError(t, "WriteSpans", s.WriteSpans(ctx, spans, rows))
	for _, q := range []exporters.TraceQuery{{Project: 1}, {Project: 1, Service: "s", MinLatency: 1}} {
		got, err := s.FindTraces(ctx, q)
		noError(t, "FindTraces", err)
		ids := make([]schemas.TraceID, len(got))
		for i := range got {
			ids[i] = got[i].TraceID
		}
		equal(t, "traces", ids, []schemas.TraceID{traceID(5), traceID(3), traceID(2)})
		for i := range got {
			if slices.Contains(got[i].Topics, "") {
				t.Errorf("trace %s has a topic without a name: %q", got[i].TraceID, got[i].Topics)
			}
		}
	}
}
