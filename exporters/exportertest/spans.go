package exportertest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// Spans is what SpanStore tests.
type Spans interface {
	exporters.SpanWriter
	exporters.SpanReader
	exporters.MessageReader
	exporters.FindReader
	exporters.Pinger
}

// SpanStore is the suite of SpanWriter, SpanReader and MessageReader. open
// gives an empty store.
func SpanStore(t *testing.T, open func(t *testing.T) Spans) {
	run := func(name string, f func(t *testing.T, s Spans)) {
		t.Run(name, func(t *testing.T) { f(t, open(t)) })
	}
	run("SpanComesBackAsItWasWritten", spanRoundTrip)
	run("MessageRowComesBackAsItWasWritten", messageRoundTrip)
	run("BatchesOfAnySizeAreWritten", batchSizes)
	run("WrittenTellsWhatIsStoredFromAnOffsetOn", writtenPositions)
	run("ReplayIsReadOnce", replayOnce)
	run("ProjectsDoNotSeeEachOther", projectsApart)
	run("EmptyStoreAnswersWithNothing", emptyStore)
	run("LimitsHold", limitsHold)
	run("CancelledCallsFail", spansCancelled)
	run("TracesAreFoundByEachFilter", findTraces)
	run("TracesArePaged", pageTraces)
	run("TracesOfOneStartArePaged", pagesOfOneStart)
	run("NamesAreThoseOfTheRange", names)
	run("RecordsAreFoundByKeyIdConversationAndSpan", findRecords)
	run("FoundRecordsArePaged", findPages)
	run("SpansAreFoundByIdAndByWhatTheyTell", findSpans)
	run("TheRecordsNearOneAreFound", findNear)
	run("MessageRowsAreFoundByTraceRecordAndContext", findMessages)
	run("HopJoinsTheRowsOfARecord", hopJoins)
	run("CommitsAreFoundByOffsetAndByLink", settles)
	run("TracesOfCommitsAreNotListed", commitTraces)
	run("LinksAreFoundFromBothEnds", links)
	run("TheRecordsOfABatchHaveTheirProducers", batches)
	run("WhatWasMadeOfARecordIsFound", sentOn)
	run("HopsAreFilteredAndOrdered", hopQueries)
	run("PartsAreThoseOfSchemas", partsOfSchemas)
	run("TopicsHavePercentilesOfEachPart", topicPercentiles)
	run("TopicsCountRecordsOnce", topicCounts)
}

// base is a time within every store's retention, whole seconds.
func base() time.Time { return time.Now().Add(-6 * time.Hour).Truncate(time.Second) }

func traceID(n int) (id schemas.TraceID) {
	binary.BigEndian.PutUint64(id[:], 0xfeed_0000_0000_0000+uint64(n)) //nolint:gosec // small
	id[15] = byte(n)
	return id
}

func spanID(n int) (id schemas.SpanID) {
	binary.BigEndian.PutUint64(id[:], 0xabcd_0000_0000_0001+uint64(n)) //nolint:gosec // small
	return id
}

// odd are texts that a store may trip over.
var odd = []string{"", " ", "ünï☃😀", "'quoted' \"twice\" `back`", `back\slash \n \0 \x41`, "tab\tline\nreturn\rnul\x00bell\a", "{json: [1,2]}", "a,b;c|d", "%_%", "{p:String}", strings.Repeat("long ", 2000)}

func oddAttributes() (out []schemas.Attribute) {
	for i, v := range odd {
		out = append(out, schemas.Attribute{Key: fmt.Sprintf("key.%d", i), Value: v}, schemas.Attribute{Key: v, Value: "value"})
	}
	return append(out, schemas.Attribute{Key: "same", Value: "1"}, schemas.Attribute{Key: "same", Value: "2"})
}

func spanRoundTrip(t *testing.T, s Spans) {
	ctx := testContext(t)
	start := base().UnixNano()
	shared := []schemas.Attribute{{Key: "host.name", Value: "a"}, {Key: "k8s.pod.name", Value: "b"}}
	spans := []schemas.Span{
		{Project: 1, TraceID: traceID(1), SpanID: spanID(1), Start: start, End: start},
		{
			Project: 1, TraceID: traceID(1), SpanID: spanID(2), ParentID: spanID(1), Name: "process orders", Kind: schemas.KindConsumer,
			Status: schemas.StatusError, StatusMessage: "failed: " + odd[3], Start: start + 1, End: start + 1 + int64(3*time.Hour), Service: "ünï", Scope: "otelkafkago",
			Resource: shared, Attributes: oddAttributes(),
			Events: []schemas.SpanEvent{
				{Time: start + 7, Name: "exception", Attributes: oddAttributes()},
				{Name: "empty"},
				{Time: -1, Name: odd[4]},
			},
			Links: []schemas.Link{
				{TraceID: traceID(1), SpanID: spanID(1)}, // as the parent
				{TraceID: traceID(1), SpanID: spanID(9)},
				{TraceID: traceID(2), SpanID: spanID(1), Attributes: oddAttributes()},
				{TraceID: traceID(3), SpanID: spanID(9)},
				{},
			},
			Source: 1<<64 - 1, Position: schemas.Position{Offset: 1<<63 - 1, Index: 1<<32 - 1},
		},
		{Project: 1, TraceID: traceID(1), SpanID: spanID(3), Start: start + 2, End: start + 3, Resource: shared, Source: 1, Position: schemas.Position{Offset: 1}},
		{Project: 1, TraceID: traceID(1), SpanID: spanID(4), Start: start + 3, End: start + 4, Resource: oddAttributes(), Source: 1, Position: schemas.Position{Offset: 1, Index: 1}},
		{
			Project: 1, TraceID: traceID(1), SpanID: spanID(5), Name: "huge", Start: start + 4, End: start + 5,
			Attributes: []schemas.Attribute{{Key: "huge", Value: strings.Repeat("0123456789abcdef", 1<<16)}}, Source: 2,
		},
	}
	named := make([]schemas.Span, 0, len(odd))
	for i, name := range odd {
		named = append(named, schemas.Span{Project: 1, TraceID: traceID(1), SpanID: spanID(100 + i), Start: start + 100 + int64(i), End: start + 200, Name: name, Service: name, Scope: name, StatusMessage: name, Source: 3, Position: schemas.Position{Index: uint32(i)}}) //nolint:gosec // small
	}
	spans = slices.Concat(spans, named)
	noError(t, "WriteSpans", s.WriteSpans(ctx, spans, nil))
	got, err := s.Spans(ctx, 1, []schemas.TraceID{traceID(1)}, 20_000)
	noError(t, "Spans", err)
	equal(t, "spans", got, spans)
}

// fullMessage is a row with everything set.
func fullMessage(start int64) schemas.Message {
	return schemas.Message{
		Project: 1, Side: schemas.SideProcess, Topic: "orders", Partition: 11, Offset: 1 << 40, Group: "workers ünï", Service: "payments", ClientID: "c'1", BootID: "boot\\1",
		TraceID: traceID(1), SpanID: spanID(1), CreationTrace: traceID(2), CreationSpan: spanID(2),
		Start: start, End: start + 10, FirstWritten: start - 30, Written: start - 20, Acked: start - 10, Appended: start / 1e6 * 1e6,
		Asked: start - 5, Answered: start - 4, Handed: start - 1, RecordTime: start/1e6*1e6 - 1e9, HighWatermark: 1<<40 + 7, Attempts: 3, Throttle: 5e6,
		BodySize: 1 << 33, KeyHash: 1<<64 - 1, MessageID: "id ünï'1", Conversation: "order\\17", Failed: true, EstimatedEnd: true,
		RetryTopic: "payments ünï", RetryPartition: 3, RetryOffset: 1<<40 - 1, RetryFirstSeen: start - 1e9, RetryAttempt: 1<<16 - 1, Release: "shop ünï@1.2.3", Source: 9, Position: schemas.Position{Offset: 8, Index: 7},
	}
}

func messageRoundTrip(t *testing.T, s Spans) {
	ctx := testContext(t)
	start := base().UnixNano()
	full := fullMessage(start)
	rows := []schemas.Message{full}
	add := func(change func(m *schemas.Message)) {
		m := schemas.Message{
			Project: 1, Side: schemas.SideProduce, Topic: "orders", Partition: 1, Offset: int64(len(rows)), TraceID: traceID(1), SpanID: spanID(len(rows) + 10), Start: start, End: start,
			Source: 9, Position: schemas.Position{Offset: 9, Index: uint32(len(rows))},
		} //nolint:gosec // small
		change(&m)
		m.Start += int64(len(rows))
		rows = append(rows, m)
	}
	add(func(*schemas.Message) {})
	add(func(m *schemas.Message) {
		m.Partition, m.Offset, m.HighWatermark, m.BodySize = schemas.Unknown, schemas.Unknown, schemas.Unknown, schemas.Unknown
	})
	add(func(m *schemas.Message) { m.CreationTrace = m.TraceID }) // as it is with a parent
	add(func(m *schemas.Message) { m.CreationSpan = spanID(2) })  // a span without a trace
	add(func(m *schemas.Message) { m.HighWatermark = 0 })
	add(func(m *schemas.Message) { // clocks that disagree by far
		m.FirstWritten, m.Written, m.Acked, m.Appended, m.Asked, m.Answered, m.Handed, m.RecordTime = 1, -1, 1<<63-1, -1<<63, 1<<62, -1<<62, start*2, 3
	})
	add(func(m *schemas.Message) { m.Side, m.End = schemas.SideReceive, start-1 })
	add(func(m *schemas.Message) { m.Partition, m.Offset = math.MaxInt32, math.MaxInt64 }) // behind which there is none
	for _, text := range odd {
		add(func(m *schemas.Message) {
			m.Topic, m.Group, m.Service, m.ClientID, m.BootID = text, text, text, text, text
		})
	}
	noError(t, "WriteSpans", s.WriteSpans(ctx, nil, rows))
	got, err := s.MessagesOfTraces(ctx, 1, []schemas.TraceID{traceID(1)}, 20_000)
	noError(t, "MessagesOfTraces", err)
	equal(t, "message rows", got, rows)
	for _, want := range rows {
		if want.Offset < 0 {
			continue
		}
		got, err := s.MessagesOfRecords(ctx, 1, []schemas.RecordRef{want.Record()}, 10)
		noError(t, "MessagesOfRecords", err)
		equal(t, fmt.Sprintf("rows of record %+.40v", want.Record()), got, []schemas.Message{want})
	}
}

func batchSizes(t *testing.T, s Spans) {
	ctx := testContext(t)
	start := base().UnixNano()
	noError(t, "WriteSpans of nothing", s.WriteSpans(ctx, nil, nil))
	for source, n := range []int{0, 1, 50_000} {
		spans, rows := make([]schemas.Span, n), make([]schemas.Message, n)
		for i := range n {
			p := schemas.Position{Offset: int64(i / 100), Index: uint32(i % 100)} //nolint:gosec // small
			spans[i] = schemas.Span{
				Project: 1, TraceID: traceID(n + i), SpanID: spanID(i), Name: fmt.Sprint("n", i%10), Start: start + int64(i), End: start + int64(i) + 5,
				Attributes: []schemas.Attribute{{Key: "i", Value: fmt.Sprint(i)}}, Source: schemas.Source(source), Position: p,
			} //nolint:gosec // small
			rows[i] = schemas.Message{
				Project: 1, Side: schemas.SideProduce, Topic: "t", Offset: int64(i), TraceID: traceID(n + i), SpanID: spanID(i), Start: start, End: start + 1,
				Source: schemas.Source(source), Position: p,
			} //nolint:gosec // small
		}
		noError(t, "WriteSpans", s.WriteSpans(ctx, spans, rows))
		w, err := s.WrittenSpans(ctx, schemas.Source(source), 0) //nolint:gosec // small
		noError(t, "WrittenSpans", err)
		if len(w.Spans) != n || len(w.Messages) != n {
			t.Errorf("%d spans and message rows were written, %d and %d are stored", n, len(w.Spans), len(w.Messages))
		}
		if n > 0 {
			got, err := s.Spans(ctx, 1, []schemas.TraceID{traceID(n + n - 1)}, 10)
			noError(t, "Spans", err)
			equal(t, "the last span", got, spans[n-1:])
		}
	}
}

func writtenPositions(t *testing.T, s Spans) {
	ctx := testContext(t)
	start := base().UnixNano()
	place := func(source schemas.Source, offset int64, index uint32) (schemas.Span, schemas.Message) {
		p := schemas.Position{Offset: offset, Index: index}
		return schemas.Span{Project: 1, TraceID: traceID(1), SpanID: spanID(int(offset)), Start: start, End: start, Source: source, Position: p},
			schemas.Message{Project: 1, Side: schemas.SideProduce, Topic: "t", Offset: offset, TraceID: traceID(1), Start: start, End: start, Source: source, Position: p}
	}
	s1, m1 := place(1, 10, 0)
	s2, m2 := place(1, 10, 1)
	s3, m3 := place(1, 11, 0)
	s4, m4 := place(2, 11, 5)
	// The rows of a kind are told apart: a crash may come between the two.
	noError(t, "WriteSpans", s.WriteSpans(ctx, []schemas.Span{s1, s3, s4}, []schemas.Message{m1, m2, m3, m4}))
	noError(t, "WriteSpans", s.WriteSpans(ctx, []schemas.Span{s2, s2}, nil))
	set := func(ps ...schemas.Position) map[schemas.Position]struct{} {
		out := make(map[schemas.Position]struct{})
		for _, p := range ps {
			out[p] = struct{}{}
		}
		return out
	}
	f := func(source schemas.Source, from int64, ps ...schemas.Position) {
		t.Helper()
		w, err := s.WrittenSpans(ctx, source, from)
		noError(t, "WrittenSpans", err)
		equal(t, fmt.Sprintf("spans of source %d from %d", source, from), w.Spans, set(ps...))
		equal(t, fmt.Sprintf("message rows of source %d from %d", source, from), w.Messages, set(ps...))
	}
	f(1, 0, s1.Position, s2.Position, s3.Position)
	f(1, 11, s3.Position)
	f(1, 12)
	f(2, 0, s4.Position)
	f(3, 0)
}

func replayOnce(t *testing.T, s Spans) {
	ctx := testContext(t)
	w := newWorld(7)
	w.traces(20, base())
	for range 3 {
		noError(t, "WriteSpans", s.WriteSpans(ctx, w.spans, w.rows))
	}
	id := []schemas.TraceID{w.spans[0].TraceID}
	spans, err := s.Spans(ctx, 1, id, 100)
	noError(t, "Spans", err)
	equal(t, "spans", spans, w.spansOf(id[0]))
	rows, err := s.MessagesOfTraces(ctx, 1, id, 100)
	noError(t, "MessagesOfTraces", err)
	equal(t, "message rows", rows, w.rowsOf(id[0]))
	found, err := s.FindTraces(ctx, exporters.TraceQuery{Project: 1})
	noError(t, "FindTraces", err)
	sameTraces(t, "traces", found, w.find(exporters.TraceQuery{Project: 1}))
	hops, err := s.Hops(ctx, exporters.HopQuery{Project: 1, Limit: 500})
	noError(t, "Hops", err)
	if want := w.hops(exporters.HopQuery{Project: 1, Limit: 500}); len(hops) != len(want) {
		t.Errorf("%d hops, want %d", len(hops), len(want))
	}
}

func projectsApart(t *testing.T, s Spans) {
	ctx := testContext(t)
	w := newWorld(1)
	w.traces(3, base())
	noError(t, "WriteSpans", s.WriteSpans(ctx, w.spans, w.rows))
	checkNothing(t, s, 2, w)
}

func emptyStore(t *testing.T, s Spans) {
	w := newWorld(1)
	w.traces(3, base())
	checkNothing(t, s, 1, w)
}

// checkNothing asks for all that w has, in a project that has nothing.
func checkNothing(t *testing.T, s Spans, project uint64, w *world) {
	t.Helper()
	ctx := testContext(t)
	id, row := []schemas.TraceID{w.spans[0].TraceID}, w.rows[len(w.rows)-1]
	check := func(what string, n int, err error) {
		t.Helper()
		noError(t, what, err)
		if n != 0 {
			t.Errorf("%s gave %d, want nothing", what, n)
		}
	}
	spans, err := s.Spans(ctx, project, id, 10)
	check("Spans", len(spans), err)
	found, err := s.FindTraces(ctx, exporters.TraceQuery{Project: project})
	check("FindTraces", len(found), err)
	n, err := s.Names(ctx, project, exporters.Range{})
	check("Names", len(n.Services)+len(n.Topics)+len(n.Groups), err)
	rows, err := s.MessagesOfTraces(ctx, project, id, 10)
	check("MessagesOfTraces", len(rows), err)
	rows, err = s.MessagesOfRecords(ctx, project, []schemas.RecordRef{row.Record()}, 10)
	check("MessagesOfRecords", len(rows), err)
	rows, err = s.MessagesFrom(ctx, project, []schemas.SpanRef{{TraceID: row.CreationTrace, SpanID: row.CreationSpan}}, 10)
	check("MessagesFrom", len(rows), err)
	for _, slowest := range []bool{false, true} {
		hops, err := s.Hops(ctx, exporters.HopQuery{Project: project, Slowest: slowest})
		check("Hops", len(hops), err)
	}
	topics, err := s.Topics(ctx, project, exporters.Range{})
	check("Topics", len(topics), err)
	// Asked for nothing, they give nothing.
	spans, err = s.Spans(ctx, 1, nil, 10)
	check("Spans of no trace", len(spans), err)
	rows, err = s.MessagesOfTraces(ctx, 1, nil, 10)
	check("MessagesOfTraces of none", len(rows), err)
	rows, err = s.MessagesOfRecords(ctx, 1, nil, 10)
	check("MessagesOfRecords of none", len(rows), err)
	rows, err = s.MessagesOfRecords(ctx, 1, []schemas.RecordRef{{Topic: "t", Partition: schemas.Unknown, Offset: schemas.Unknown}}, 10)
	check("MessagesOfRecords of one without offset", len(rows), err)
	rows, err = s.MessagesFrom(ctx, 1, nil, 10)
	check("MessagesFrom of none", len(rows), err)
	rows, err = s.MessagesSentOn(ctx, 1, nil, 10)
	check("MessagesSentOn of none", len(rows), err)
	rows, err = s.Settles(ctx, 1, nil)
	check("Settles of none", len(rows), err)
	rows, err = s.Settles(ctx, project, []schemas.Message{row})
	check("Settles", len(rows), err)
}

func limitsHold(t *testing.T, s Spans) {
	ctx := testContext(t)
	w := newWorld(3)
	w.traces(60, base())
	noError(t, "WriteSpans", s.WriteSpans(ctx, w.spans, w.rows))
	ids := w.ids()
	f := func(what string, n, want int, err error) {
		t.Helper()
		noError(t, what, err)
		if n != want {
			t.Errorf("%s gave %d, want %d", what, n, want)
		}
	}
	spans, err := s.Spans(ctx, 1, ids, 7)
	f("Spans", len(spans), 7, err)
	rows, err := s.MessagesOfTraces(ctx, 1, ids, 7)
	f("MessagesOfTraces", len(rows), 7, err)
	found, err := s.FindTraces(ctx, exporters.TraceQuery{Project: 1})
	f("FindTraces", len(found), 50, err)
	found, err = s.FindTraces(ctx, exporters.TraceQuery{Project: 1, Limit: 5})
	f("FindTraces", len(found), 5, err)
	hops, err := s.Hops(ctx, exporters.HopQuery{Project: 1, Limit: 5})
	f("Hops", len(hops), 5, err)
	if _, err := s.Spans(ctx, 1, make([]schemas.TraceID, 101), 10); err == nil {
		t.Error("Spans of 101 traces succeeded")
	}
	if _, err := s.MessagesOfTraces(ctx, 1, make([]schemas.TraceID, 101), 10); err == nil {
		t.Error("MessagesOfTraces of 101 traces succeeded")
	}
	if _, err := s.MessagesOfRecords(ctx, 1, make([]schemas.RecordRef, 1001), 10); err == nil {
		t.Error("MessagesOfRecords of 1001 records succeeded")
	}
	if _, err := s.MessagesFrom(ctx, 1, make([]schemas.SpanRef, 1001), 10); err == nil {
		t.Error("MessagesFrom of 1001 contexts succeeded")
	}
	if _, err := s.MessagesSentOn(ctx, 1, make([]schemas.RecordRef, 1001), 10); err == nil {
		t.Error("MessagesSentOn of 1001 records succeeded")
	}
	if _, err := s.Settles(ctx, 1, make([]schemas.Message, 1001)); err == nil {
		t.Error("Settles of 1001 rows succeeded")
	}
	// The most that may be asked for works.
	many := make([]schemas.RecordRef, 1000)
	refs := make([]schemas.SpanRef, 1000)
	for i := range many {
		many[i] = schemas.RecordRef{Topic: odd[i%len(odd)], Partition: int32(i), Offset: int64(i)} //nolint:gosec // small
		refs[i] = schemas.SpanRef{TraceID: traceID(i), SpanID: spanID(i)}
	}
	many[999], refs[999] = w.rows[0].Record(), schemas.SpanRef{TraceID: w.rows[0].TraceID, SpanID: w.rows[0].SpanID}
	if rows, err = s.MessagesOfRecords(ctx, 1, many, 10); err != nil || len(rows) == 0 {
		t.Errorf("MessagesOfRecords of 1000 records = %d rows, %v", len(rows), err)
	}
	if _, err = s.MessagesFrom(ctx, 1, refs, 10); err != nil {
		t.Errorf("MessagesFrom of 1000 contexts: %v", err)
	}
}

func spansCancelled(t *testing.T, s Spans) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w := newWorld(1)
	w.traces(1, base())
	ids := w.ids()
	for name, f := range map[string]func() error{
		"WriteSpans":       func() error { return s.WriteSpans(ctx, w.spans, w.rows) },
		"WrittenSpans":     func() error { _, err := s.WrittenSpans(ctx, 1, 0); return err },
		"FindTraces":       func() error { _, err := s.FindTraces(ctx, exporters.TraceQuery{Project: 1}); return err },
		"Spans":            func() error { _, err := s.Spans(ctx, 1, ids, 10); return err },
		"Names":            func() error { _, err := s.Names(ctx, 1, exporters.Range{}); return err },
		"MessagesOfTraces": func() error { _, err := s.MessagesOfTraces(ctx, 1, ids, 10); return err },
		"MessagesSentOn":   func() error { _, err := s.MessagesSentOn(ctx, 1, []schemas.RecordRef{{Topic: "t"}}, 1); return err },
		"Settles":          func() error { _, err := s.Settles(ctx, 1, w.rows); return err },
		"HopsOfSpan":       func() error { _, err := s.HopsOfSpan(ctx, 1, schemas.SpanRef{TraceID: ids[0]}, 1); return err },
		"LinkedFrom":       func() error { _, err := s.LinkedFrom(ctx, exporters.LinkQuery{Project: 1}); return err },
		"SpansAt":          func() error { _, err := s.SpansAt(ctx, 1, []schemas.SpanRef{{TraceID: ids[0]}}); return err },
		"SpansAfter":       func() error { _, err := s.SpansAfter(ctx, 1, ids, 1, 10); return err },
		"CountSpans":       func() error { _, err := s.CountSpans(ctx, 1, ids); return err },
		"Hops":             func() error { _, err := s.Hops(ctx, exporters.HopQuery{Project: 1}); return err },
		"Topics":           func() error { _, err := s.Topics(ctx, 1, exporters.Range{}); return err },
		"FindRecords": func() error {
			_, err := s.FindRecords(ctx, exporters.FindQuery{Project: 1, By: exporters.FindByMessageID, Text: "a"})
			return err
		},
		"FindSpans": func() error {
			_, err := s.FindSpans(ctx, exporters.FindQuery{Project: 1, By: exporters.FindByMessageID, Text: "a"})
			return err
		},
		"NearRecords": func() error { _, err := s.NearRecords(ctx, 1, schemas.RecordRef{Topic: "t"}); return err },
		"Ping":        func() error { return s.Ping(ctx) },
	} {
		if err := f(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s with a cancelled context: got error %v, want %v", name, err, context.Canceled)
		}
	}
	written, err := s.WrittenSpans(testContext(t), w.spans[0].Source, 0)
	noError(t, "WrittenSpans", err)
	if len(written.Spans) > 0 {
		t.Errorf("a cancelled write stored %d spans", len(written.Spans))
	}
}
