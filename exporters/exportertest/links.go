package exportertest

import (
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// linkSpan is span n of a trace, n ms after base.
func linkSpan(trace, n int, change func(s *schemas.Span)) schemas.Span {
	start := base().UnixNano() + int64(n)*1e6
	s := schemas.Span{
		Project: 1, TraceID: traceID(trace), SpanID: spanID(n), Name: "s", Service: "svc", Start: start, End: start + 1e6,
		Source: 3, Position: schemas.Position{Index: uint32(n)}, //nolint:gosec // small
	}
	change(&s)
	return s
}

func links(t *testing.T, s Spans) {
	ctx := testContext(t)
	target := linkSpan(1, 0, func(*schemas.Span) {})
	to := schemas.SpanRef{TraceID: target.TraceID, SpanID: target.SpanID}
	link := func(trace, n int) schemas.Link {
		return schemas.Link{TraceID: traceID(trace), SpanID: spanID(n), Attributes: []schemas.Attribute{{Key: "messaging.kafka.offset", Value: "7"}}}
	}
	other := linkSpan(2, 1, func(s *schemas.Span) { s.Links = []schemas.Link{link(9, 9), link(1, 0)} })
	child := linkSpan(1, 2, func(s *schemas.Span) { s.ParentID, s.Links = to.SpanID, []schemas.Link{link(1, 0)} })
	same := linkSpan(1, 3, func(s *schemas.Span) { s.Links = []schemas.Link{link(1, 0)} })
	spans := []schemas.Span{
		target, other, child, same,
		linkSpan(3, 4, func(s *schemas.Span) { s.Links = []schemas.Link{link(8, 0)} }), // the span of another trace
		linkSpan(1, 5, func(s *schemas.Span) { s.ParentID = to.SpanID }),               // a child without a link
		linkSpan(4, 6, func(s *schemas.Span) { s.Project, s.Links = 2, []schemas.Link{link(1, 0)} }),
		linkSpan(4, 7, func(s *schemas.Span) {
			s.Start, s.End = s.Start+3600e9, s.End+3600e9
			s.Links = []schemas.Link{link(1, 0)}
		}),
	}
	noError(t, "WriteSpans", s.WriteSpans(ctx, spans, nil))
	again := other // sent twice by its SDK
	again.Position.Index = 99
	noError(t, "WriteSpans", s.WriteSpans(ctx, []schemas.Span{again}, nil))

	q := exporters.LinkQuery{Project: 1, Range: exporters.Range{From: base().Add(-time.Minute), To: base().Add(time.Minute)}, To: to}
	f := func(what string, want ...schemas.Span) {
		t.Helper()
		got, err := s.LinkedFrom(ctx, q)
		noError(t, what, err)
		equal(t, what, got, want)
	}
	f("LinkedFrom", other, child, same)
	q.Limit = 2
	f("the first page", other, child)
	q.Skip = 2
	f("the second page", same)

	got, err := s.SpansAt(ctx, 1, []schemas.SpanRef{to, {TraceID: other.TraceID, SpanID: other.SpanID}, {TraceID: traceID(1), SpanID: spanID(77)}, {TraceID: traceID(4), SpanID: spanID(6)}})
	noError(t, "SpansAt", err)
	equal(t, "SpansAt", got, []schemas.Span{target, other})
	if _, err := s.SpansAt(ctx, 1, make([]schemas.SpanRef, 1001)); err == nil {
		t.Error("SpansAt of 1001 spans succeeded")
	}

	ids := []schemas.TraceID{traceID(1), traceID(2)}
	n, err := s.CountSpans(ctx, 1, ids)
	noError(t, "CountSpans", err)
	if n != 5 {
		t.Errorf("two traces have %d spans; want 5, the one that was sent twice once", n)
	}
	all, err := s.Spans(ctx, 1, ids, 100)
	noError(t, "Spans", err)
	after, err := s.SpansAfter(ctx, 1, ids, 2, 2)
	noError(t, "SpansAfter", err)
	equal(t, "SpansAfter", after, all[2:4])
}

func batches(t *testing.T, s Spans) {
	ctx := testContext(t)
	as := func(*schemas.Message) {}
	batch := func(n int, offset int64, change func(m *schemas.Message)) schemas.Message {
		return messageRow(n, schemas.SideProcess, offset, func(m *schemas.Message) {
			m.TraceID, m.SpanID = traceID(50), spanID(50)
			m.Start, m.End = base().UnixNano(), base().UnixNano()+1000
			change(m)
		})
	}
	produced := messageRow(0, schemas.SideProduce, 5, as)
	untold := messageRow(1, schemas.SideProduce, schemas.Unknown, func(m *schemas.Message) { m.Partition = schemas.Unknown })
	five := batch(2, 5, as)
	six := batch(3, 6, func(m *schemas.Message) { m.CreationTrace, m.CreationSpan = untold.TraceID, untold.SpanID })
	seven := batch(4, 7, as)
	rows := []schemas.Message{
		produced, untold, seven, five, six,
		messageRow(5, schemas.SideProcess, 8, func(m *schemas.Message) { m.TraceID = traceID(50) }), // another span of the trace
		batch(6, 9, func(m *schemas.Message) { m.Project = 2 }),
		batch(7, 5, as), // told twice
		batch(8, 4, func(m *schemas.Message) { m.Side = schemas.SideSettle }),
	}
	noError(t, "WriteSpans", s.WriteSpans(ctx, nil, rows))
	ref := schemas.SpanRef{TraceID: traceID(50), SpanID: spanID(50)}
	got, err := s.HopsOfSpan(ctx, 1, ref, 100)
	noError(t, "HopsOfSpan", err)
	equal(t, "HopsOfSpan", got, []schemas.Hop{{Produce: &produced, Consume: &five}, {Produce: &untold, Consume: &six}, {Consume: &seven}})
	got, err = s.HopsOfSpan(ctx, 1, ref, 2)
	noError(t, "HopsOfSpan", err)
	equal(t, "HopsOfSpan of two", got, []schemas.Hop{{Produce: &produced, Consume: &five}, {Produce: &untold, Consume: &six}})

	// More than one look-up of producers takes.
	var many []schemas.Message
	for i := range 2_500 {
		many = append(many, messageRow(100+i, schemas.SideProduce, int64(100+i), as), messageRow(5000+i, schemas.SideProcess, int64(100+i), func(m *schemas.Message) {
			m.TraceID, m.SpanID, m.Start, m.End = traceID(60), spanID(60), base().UnixNano(), base().UnixNano()+1000
		}))
	}
	noError(t, "WriteSpans", s.WriteSpans(ctx, nil, many))
	got, err = s.HopsOfSpan(ctx, 1, schemas.SpanRef{TraceID: traceID(60), SpanID: spanID(60)}, exporters.MaxBatch)
	noError(t, "HopsOfSpan", err)
	if len(got) != 2_500 {
		t.Fatalf("a batch of 2500 has %d hops", len(got))
	}
	for i, h := range got {
		if h.Produce == nil || h.Consume.Offset != int64(100+i) || h.Produce.Offset != h.Consume.Offset {
			t.Fatalf("hop %d of the batch is %+v", i, h)
		}
	}
}
