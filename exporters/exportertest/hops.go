package exportertest

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

func findMessages(t *testing.T, s Spans) {
	ctx := testContext(t)
	start := base().UnixNano()
	row := func(n int, side schemas.Side, offset int64, trace, span int) schemas.Message {
		return schemas.Message{
			Project: 1, Side: side, Topic: "orders", Partition: 1, Offset: offset, TraceID: traceID(trace), SpanID: spanID(span),
			Start: start + int64(n), End: start + int64(n) + 5, Source: 1, Position: schemas.Position{Offset: int64(n)},
		}
	}
	produced := row(1, schemas.SideProduce, 7, 1, 1)
	read := row(2, schemas.SideProcess, 7, 2, 2)
	read.Group, read.CreationTrace, read.CreationSpan = "a", traceID(1), spanID(1)
	readByB := row(3, schemas.SideReceive, 7, 1, 3)
	readByB.Group, readByB.CreationTrace, readByB.CreationSpan = "b", traceID(1), spanID(1)
	// One span, two records, no offset told: two rows.
	lost1, lost2 := row(4, schemas.SideProduce, schemas.Unknown, 3, 4), row(5, schemas.SideProduce, schemas.Unknown, 3, 4)
	lost1.Partition, lost2.Partition = schemas.Unknown, schemas.Unknown
	found := row(6, schemas.SideProcess, 8, 4, 6)
	found.Group, found.CreationTrace, found.CreationSpan = "a", traceID(3), spanID(4)
	otherTrace := row(7, schemas.SideProcess, 9, 5, 7)
	otherTrace.Group, otherTrace.CreationTrace, otherTrace.CreationSpan = "a", traceID(9), spanID(4)
	otherTopic := row(8, schemas.SideProduce, 7, 6, 8)
	otherTopic.Topic = "orders.2"
	otherPartition := row(9, schemas.SideProduce, 7, 6, 9)
	otherPartition.Partition = 2
	rows := []schemas.Message{produced, read, readByB, lost1, lost2, found, otherTrace, otherTopic, otherPartition}
	noError(t, "WriteSpans", s.WriteSpans(ctx, nil, rows))
	noError(t, "WriteSpans again", s.WriteSpans(ctx, nil, rows))

	byTrace := func(want []schemas.Message, ids ...schemas.TraceID) {
		t.Helper()
		got, err := s.MessagesOfTraces(ctx, 1, ids, 100)
		noError(t, "MessagesOfTraces", err)
		equal(t, fmt.Sprintf("rows of traces %v", ids), got, want)
	}
	byTrace([]schemas.Message{produced, readByB}, traceID(1))
	byTrace([]schemas.Message{read, lost1, lost2}, traceID(2), traceID(3), traceID(99))

	byRecord := func(want []schemas.Message, refs ...schemas.RecordRef) {
		t.Helper()
		got, err := s.MessagesOfRecords(ctx, 1, refs, 100)
		noError(t, "MessagesOfRecords", err)
		equal(t, fmt.Sprintf("rows of records %v", refs), got, want)
	}
	byRecord([]schemas.Message{produced, read, readByB}, produced.Record())
	byRecord([]schemas.Message{found, otherTopic}, found.Record(), otherTopic.Record(), lost1.Record())
	byRecord(nil, schemas.RecordRef{Topic: "orders", Partition: 1, Offset: 100})

	byContext := func(want []schemas.Message, refs ...schemas.SpanRef) {
		t.Helper()
		got, err := s.MessagesFrom(ctx, 1, refs, 100)
		noError(t, "MessagesFrom", err)
		equal(t, fmt.Sprintf("rows from contexts %v", refs), got, want)
	}
	byContext([]schemas.Message{read, readByB}, schemas.SpanRef{TraceID: traceID(1), SpanID: spanID(1)})
	byContext([]schemas.Message{found}, schemas.SpanRef{TraceID: traceID(3), SpanID: spanID(4)})
	byContext(nil, schemas.SpanRef{TraceID: traceID(4), SpanID: spanID(4)})
}

// oneHop lists the hops of a topic and wants one.
func oneHop(t *testing.T, s Spans, topic string) schemas.Hop {
	t.Helper()
	hops, err := s.Hops(testContext(t), exporters.HopQuery{Project: 1, Topic: topic})
	noError(t, "Hops", err)
	if len(hops) != 1 {
		t.Fatalf("topic %s has %d hops, want 1", topic, len(hops))
	}
	return hops[0]
}

func hopJoins(t *testing.T, s Spans) {
	ctx := testContext(t)
	at := base().UnixNano() / 1e6 * 1e6
	n := 0
	pair := func(topic string) (p, c schemas.Message) {
		n += 10
		p = schemas.Message{
			Project: 1, Side: schemas.SideProduce, Topic: topic, Partition: 3, Offset: 5, BootID: "boot", TraceID: traceID(n), SpanID: spanID(n),
			Start: at, End: at + 9e6, Written: at + 4e6, Acked: at + 8e6, Source: 1, Position: schemas.Position{Offset: int64(n)},
		}
		c = schemas.Message{
			Project: 1, Side: schemas.SideProcess, Topic: topic, Partition: 3, Offset: 5, Group: "g", BootID: "boot", TraceID: traceID(n), SpanID: spanID(n + 1),
			CreationTrace: traceID(n), CreationSpan: spanID(n), Start: at + 50e6, End: at + 60e6, Asked: at + 2e6, Answered: at + 40e6, Handed: at + 49e6, Source: 1, Position: schemas.Position{Offset: int64(n), Index: 1},
		}
		return p, c
	}
	f := func(topic string, change func(p, c *schemas.Message) []schemas.Message, check func(p, c *schemas.Message, h schemas.Hop)) {
		t.Helper()
		p, c := pair(topic)
		rows := change(&p, &c)
		noError(t, "WriteSpans", s.WriteSpans(ctx, nil, rows))
		h := oneHop(t, s, topic)
		check(&p, &c, h)
		// The list by topic tells the same as the hop itself.
		stats, err := s.Topics(ctx, 1, exporters.Range{})
		noError(t, "Topics", err)
		for _, st := range stats {
			if st.Topic == topic {
				compareParts(t, topic, st, h.Parts())
			}
		}
	}
	both := func(p, c *schemas.Message) []schemas.Message { return []schemas.Message{*p, *c} }
	want := func(topic string) func(p, c *schemas.Message, h schemas.Hop) {
		return func(p, c *schemas.Message, h schemas.Hop) {
			t.Helper()
			equal(t, topic, h, schemas.Hop{Produce: p, Consume: c})
		}
	}
	known := func(name string, p schemas.Part, d time.Duration) {
		t.Helper()
		if !p.Known || p.Duration != d {
			t.Errorf("%s = %v, known %v; want %v", name, p.Duration, p.Known, d)
		}
	}
	f("create-time", both, func(p, c *schemas.Message, h schemas.Hop) {
		want("create-time")(p, c, h)
		known("ack", h.Parts().Ack, 4*time.Millisecond)
		known("long poll", h.Parts().LongPoll, 32*time.Millisecond)
		known("end to end", h.Parts().EndToEnd, 60*time.Millisecond)
	})
	f("log-append-time", func(p, c *schemas.Message) []schemas.Message {
		p.Appended = at + 5e6
		return both(p, c)
	}, func(p, c *schemas.Message, h schemas.Hop) {
		want("log-append-time")(p, c, h)
		known("ack", h.Parts().Ack, time.Millisecond)
	})
	f("other-boot", func(p, c *schemas.Message) []schemas.Message {
		c.BootID = "another"
		return both(p, c)
	}, func(p, c *schemas.Message, h schemas.Hop) {
		want("other-boot")(p, c, h)
		if parts := h.Parts(); parts.SharedClock || parts.EndToEnd.Known || parts.Backlog.Known || parts.LongPoll.Known {
			t.Errorf("parts that cross clocks are known: %+v", parts)
		}
	})
	f("redelivered", func(p, c *schemas.Message) []schemas.Message {
		first := *c
		first.SpanID, first.Start, first.End, first.Failed, first.Position.Index = spanID(n+2), c.Start-5e6, c.End+100e6, true, 2 // began first, ended last
		return []schemas.Message{*c, *p, first}
	}, want("redelivered"))
	f("no-producer", func(_, c *schemas.Message) []schemas.Message { return []schemas.Message{*c} },
		func(_, c *schemas.Message, h schemas.Hop) {
			equal(t, "no-producer", h, schemas.Hop{Consume: c})
			known("processing", h.Parts().Processing, 11*time.Millisecond)
		})
	f("no-offset", func(p, c *schemas.Message) []schemas.Message {
		p.Partition, p.Offset = schemas.Unknown, schemas.Unknown
		return both(p, c)
	}, want("no-offset"))
	f("receive-only", func(p, c *schemas.Message) []schemas.Message {
		c.Side = schemas.SideReceive
		return both(p, c)
	}, want("receive-only"))

	// A producer that nobody read from, and one of two without offset in one span.
	p, _ := pair("no-consumer")
	noError(t, "WriteSpans", s.WriteSpans(ctx, nil, []schemas.Message{p}))
	hops, err := s.Hops(ctx, exporters.HopQuery{Project: 1, Topic: "no-consumer"})
	noError(t, "Hops", err)
	if len(hops) != 0 {
		t.Errorf("a record that nobody read has %d hops", len(hops))
	}
	p, c := pair("two-without-offset")
	p.Partition, p.Offset = schemas.Unknown, schemas.Unknown
	p2 := p
	p2.Position.Index = 5
	noError(t, "WriteSpans", s.WriteSpans(ctx, nil, []schemas.Message{p, p2, c}))
	if h := oneHop(t, s, "two-without-offset"); h.Produce != nil {
		t.Errorf("the producer is %+v; want none, because two records match", h.Produce)
	}
}

// compareParts compares the statistics of one hop with its parts.
func compareParts(t *testing.T, what string, st exporters.TopicStats, parts schemas.HopParts) {
	t.Helper()
	for name, p := range map[exporters.PartName]schemas.Part{
		exporters.PartBatchQueue: parts.BatchQueue, exporters.PartRetry: parts.Retry, exporters.PartAck: parts.Ack, exporters.PartBacklog: parts.Backlog,
		exporters.PartLongPoll: parts.LongPoll, exporters.PartFetchQueue: parts.FetchQueue, exporters.PartProcessing: parts.Processing, exporters.PartEndToEnd: parts.EndToEnd,
	} {
		q := st.Parts[name]
		if (q.Count == 1) != p.Known {
			t.Errorf("%s: %s is counted %d times, want known %v", what, name, q.Count, p.Known)
			continue
		}
		if !p.Known {
			continue
		}
		if (q.Negative == 1) != (p.Duration < 0) {
			t.Errorf("%s: %s of %v is negative %d times", what, name, p.Duration, q.Negative)
		}
		for _, got := range []time.Duration{q.P50, q.P95, q.P99} {
			// A sketch may keep seven digits.
			if math.Abs(float64(got-p.Duration)) > math.Abs(float64(p.Duration))*1e-6 {
				t.Errorf("%s: %s is %v in the statistics and %v in schemas.Hop.Parts", what, name, got, p.Duration)
			}
		}
	}
}

// partsOfSchemas compares the store's arithmetic with schemas.Hop.Parts on rows
// whose times are in any order, equal, negative to each other or unknown.
func partsOfSchemas(t *testing.T, s Spans) {
	ctx := testContext(t)
	r := rand.New(rand.NewPCG(5, 5)) //nolint:gosec // test data
	start := base().UnixNano()
	pick := func() int64 {
		switch r.IntN(6) {
		case 0:
			return 0
		case 1:
			return start
		case 2:
			return start + r.Int64N(4) // often equal
		case 3:
			return start - r.Int64N(int64(time.Hour))
		}
		return start + r.Int64N(int64(time.Second))
	}
	boots := []string{"", "a", "a", "a", "b"}
	const n = 500
	want := make(map[string]schemas.HopParts)
	var rows []schemas.Message
	for i := range n {
		topic := fmt.Sprintf("t%d", i)
		p := schemas.Message{
			Project: 1, Side: schemas.SideProduce, Topic: topic, BootID: boots[r.IntN(len(boots))], TraceID: traceID(i), SpanID: spanID(2 * i), Start: start + r.Int64N(5) - 2, End: start + r.Int64N(100),
			FirstWritten: pick(), Written: pick(), Acked: pick(), Appended: pick(), Source: 1, Position: schemas.Position{Offset: int64(2 * i)},
		}
		c := schemas.Message{
			Project: 1, Side: schemas.SideProcess, Topic: topic, Group: "g", BootID: boots[r.IntN(len(boots))], TraceID: traceID(i), SpanID: spanID(2*i + 1), Start: start + r.Int64N(100) - 50, End: start + r.Int64N(100),
			Asked: pick(), Answered: pick(), Handed: pick(), Source: 1, Position: schemas.Position{Offset: int64(2*i + 1)},
		}
		if r.IntN(4) == 0 {
			c.Side = schemas.SideReceive
		}
		if r.IntN(2) == 0 {
			p.Appended = 0
		}
		h := schemas.Hop{Produce: &p, Consume: &c}
		switch r.IntN(10) {
		case 0:
			h.Produce = nil
			rows = append(rows, c)
		case 1:
			h.Consume = nil
			rows = append(rows, p)
		default:
			rows = append(rows, p, c)
		}
		want[topic] = h.Parts()
	}
	noError(t, "WriteSpans", s.WriteSpans(ctx, nil, rows))
	got, err := s.Topics(ctx, 1, exporters.Range{})
	noError(t, "Topics", err)
	if len(got) != n {
		t.Fatalf("%d topics, want %d", len(got), n)
	}
	for _, st := range got {
		compareParts(t, st.Topic, st, want[st.Topic])
	}
}

func hopQueries(t *testing.T, s Spans) {
	ctx := testContext(t)
	w := newWorld(21)
	start := base()
	w.traces(300, start)
	for i := range 40 { // deliveries that repeat
		again := w.rows[2*i+1]
		again.Start, again.End = again.Start+1e9+int64(i), again.End+2e9
		again.SpanID, again.Position = w.span(), w.position()
		w.rows = append(w.rows, again)
	}
	noError(t, "WriteSpans", s.WriteSpans(ctx, nil, w.rows))
	f := func(q exporters.HopQuery) {
		t.Helper()
		q.Project = 1
		got, err := s.Hops(ctx, q)
		what := fmt.Sprintf("Hops(%+v)", q)
		noError(t, what, err)
		equal(t, what, got, w.hops(q))
	}
	some, one := exporters.Range{From: start.Add(30 * time.Minute), To: start.Add(90 * time.Minute)}, int32(1)
	for _, slowest := range []bool{false, true} {
		f(exporters.HopQuery{Slowest: slowest})
		f(exporters.HopQuery{Slowest: slowest, Limit: 500})
		f(exporters.HopQuery{Slowest: slowest, Limit: 1})
		f(exporters.HopQuery{Slowest: slowest, Range: some, Limit: 500})
		f(exporters.HopQuery{Slowest: slowest, Range: exporters.Range{To: start}})
		f(exporters.HopQuery{Slowest: slowest, Topic: "topic-1", Limit: 20})
		f(exporters.HopQuery{Slowest: slowest, Group: "group-1", Limit: 20})
		f(exporters.HopQuery{Slowest: slowest, Topic: "topic-2", Group: "group-0", Range: some})
		f(exporters.HopQuery{Slowest: slowest, Topic: "nothing"})
		f(exporters.HopQuery{Slowest: slowest, Topic: "topic-1", Partition: &one, Limit: 500})
		f(exporters.HopQuery{Slowest: slowest, Topic: "topic-1", Partition: &one, OffsetFrom: 3, OffsetTo: 40, Limit: 500})
		f(exporters.HopQuery{Slowest: slowest, OffsetTo: 2, Limit: 500})
	}
	f(exporters.HopQuery{Sent: true})
	f(exporters.HopQuery{Sent: true, Topic: "topic-1", Partition: &one, OffsetFrom: 10, Limit: 20})
	f(exporters.HopQuery{Sent: true, Topic: "topic-2", Range: some, Limit: 500})
}

func topicPercentiles(t *testing.T, s Spans) {
	ctx := testContext(t)
	w := newWorld(31)
	start := base()
	w.traces(3000, start)
	noError(t, "WriteSpans", s.WriteSpans(ctx, nil, w.rows))
	got, err := s.Topics(ctx, 1, exporters.Range{})
	noError(t, "Topics", err)
	type key struct{ topic, group string }
	values := make(map[key]map[exporters.PartName][]time.Duration)
	for _, h := range w.hops(exporters.HopQuery{Project: 1, Limit: 1e6}) {
		k := key{h.Consume.Topic, h.Consume.Group}
		if values[k] == nil {
			values[k] = make(map[exporters.PartName][]time.Duration)
		}
		p := h.Parts()
		for name, part := range map[exporters.PartName]schemas.Part{
			exporters.PartBatchQueue: p.BatchQueue, exporters.PartAck: p.Ack, exporters.PartBacklog: p.Backlog,
			exporters.PartLongPoll: p.LongPoll, exporters.PartFetchQueue: p.FetchQueue, exporters.PartProcessing: p.Processing, exporters.PartEndToEnd: p.EndToEnd,
		} {
			if part.Known {
				values[k][name] = append(values[k][name], part.Duration)
			}
		}
	}
	if len(got) != len(values) || len(got) != 6 {
		t.Fatalf("%d topics and groups, want %d", len(got), len(values))
	}
	if !slices.IsSortedFunc(got, func(a, b exporters.TopicStats) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Group, b.Group))
	}) {
		t.Error("the topics are not sorted")
	}
	for _, st := range got {
		for name, all := range values[key{st.Topic, st.Group}] {
			slices.Sort(all)
			q := st.Parts[name]
			if q.Count != uint64(len(all)) {
				t.Errorf("%s %s %s: count %d, want %d", st.Topic, st.Group, name, q.Count, len(all))
			}
			for p, v := range map[float64]time.Duration{0.5: q.P50, 0.95: q.P95, 0.99: q.P99} {
				// A sketch may be off by one percent of the ranks.
				low, high := all[int(max(p-0.01, 0)*float64(len(all)-1))], all[int(math.Ceil(min(p+0.01, 1)*float64(len(all)-1)))]
				slack := time.Duration(float64(high) * 1e-6)
				if v < low-slack || v > high+slack {
					t.Errorf("%s %s %s: p%g is %v, want %v to %v", st.Topic, st.Group, name, p*100, v, low, high)
				}
			}
		}
	}
}

func topicCounts(t *testing.T, s Spans) {
	ctx := testContext(t)
	start := base()
	var rows []schemas.Message
	add := func(side schemas.Side, topic, group string, offset int64, after time.Duration, failed bool) {
		at := start.Add(after).UnixNano()
		n := len(rows)
		rows = append(rows, schemas.Message{
			Project: 1, Side: side, Topic: topic, Group: group, Offset: offset, TraceID: traceID(n), SpanID: spanID(n), Start: at, End: at + 1000,
			Failed: failed, Source: 1, Position: schemas.Position{Offset: int64(n)},
		})
	}
	for i := range int64(10) {
		add(schemas.SideProduce, "orders", "", i, time.Duration(i)*time.Minute, false)
	}
	for i := range int64(8) {
		add(schemas.SideProcess, "orders", "a", i, time.Hour, i == 3)
	}
	add(schemas.SideProcess, "orders", "a", 2, 2*time.Hour, true) // again
	add(schemas.SideReceive, "orders", "b", 0, time.Hour, false)
	add(schemas.SideProduce, "unread", "", 1, 0, false)
	add(schemas.SideProduce, "unread", "", schemas.Unknown, 0, false)
	add(schemas.SideProduce, "unread", "", schemas.Unknown, 0, false)
	add(schemas.SideProcess, "unseen-producer", "a", 1, 0, false)
	noError(t, "WriteSpans", s.WriteSpans(ctx, nil, rows))
	noError(t, "WriteSpans again", s.WriteSpans(ctx, nil, rows))
	f := func(r exporters.Range, want ...exporters.TopicStats) {
		t.Helper()
		got, err := s.Topics(ctx, 1, r)
		noError(t, "Topics", err)
		for i := range got {
			got[i].Parts = nil
		}
		equal(t, fmt.Sprintf("topics of %v", r), got, want)
	}
	last := func(after time.Duration) int64 { return start.Add(after).UnixNano() + 1000 }
	f(exporters.Range{},
		exporters.TopicStats{Topic: "orders", Group: "a", Produced: 10, Consumed: 8, Failed: 2, LastSeen: last(2 * time.Hour)},
		exporters.TopicStats{Topic: "orders", Group: "b", Produced: 10, Consumed: 1, LastSeen: last(time.Hour)},
		exporters.TopicStats{Topic: "unread", Produced: 3, LastSeen: last(0)},
		exporters.TopicStats{Topic: "unseen-producer", Group: "a", Consumed: 1, LastSeen: last(0)},
	)
	f(exporters.Range{From: start, To: start.Add(30 * time.Minute)},
		exporters.TopicStats{Topic: "orders", Produced: 10, LastSeen: last(9 * time.Minute)},
		exporters.TopicStats{Topic: "unread", Produced: 3, LastSeen: last(0)},
		exporters.TopicStats{Topic: "unseen-producer", Group: "a", Consumed: 1, LastSeen: last(0)},
	)
	f(exporters.Range{From: start.Add(30 * time.Minute), To: start.Add(90 * time.Minute)},
		exporters.TopicStats{Topic: "orders", Group: "a", Consumed: 8, Failed: 1, LastSeen: last(time.Hour)},
		exporters.TopicStats{Topic: "orders", Group: "b", Consumed: 1, LastSeen: last(time.Hour)},
	)
}
