package exportertest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/internal/search"
	"github.com/hoptrace/hoptrace/schemas"
)

// Joined is what JoinedStore tests.
type Joined interface {
	exporters.EventWriter
	exporters.SpanWriter
	exporters.JoinedReader
}

// JoinedStore is the suite of JoinedReader. open gives an empty store.
func JoinedStore(t *testing.T, open func(t *testing.T) Joined) {
	run := func(name string, f func(t *testing.T, s Joined)) {
		t.Run(name, func(t *testing.T) { f(t, open(t)) })
	}
	run("EventsAreCountedByTheRecordThatTheyTell", joinedByRecord)
	run("EventsThatTellNoRecordAreFoundByTheirSpan", joinedBySpan)
	run("ARecordThatWasSentOnIsOneRecord", joinedRetries)
	run("AllRecordsOfTheTopicsAreTheBaseline", joinedBaseline)
	run("WhatTheEventDoesNotTellTheRowsDo", joinedRows)
	run("ValuesAreListedToABound", joinedBound)
	run("AnIssueWithoutRecordsSaysSo", joinedNone)
	run("EventsAreFoundByTheirRecord", eventsOfRecord)
	run("CancelledCallsFail", joinedCancelled)
}

// processed is the two rows of a record: sent at at, processed a second later.
func processed(n int, topic string, partition int32, offset int64, at time.Time) (produce, consume schemas.Message) {
	row := schemas.Message{
		Project: 1, Topic: topic, Partition: partition, Offset: offset, HighWatermark: schemas.Unknown, BodySize: schemas.Unknown, TraceID: traceID(n), Source: 1,
	}
	produce, consume = row, row
	produce.Side, produce.SpanID, produce.Start, produce.End, produce.Release = schemas.SideProduce, spanID(2*n), at.UnixNano(), at.UnixNano()+1e6, "shop@1"
	consume.Side, consume.SpanID, consume.Start, consume.End, consume.Group = schemas.SideProcess, spanID(2*n+1), at.UnixNano()+1e9, at.UnixNano()+2e9, "pay"
	consume.Release, consume.ClientID, consume.KeyHash, consume.RecordTime = "worker@1", "c-1", uint64(offset%4)+1, at.UnixNano() //nolint:gosec // small
	produce.Position, consume.Position = schemas.Position{Offset: int64(n), Index: 1}, schemas.Position{Offset: int64(n), Index: 2}
	return produce, consume
}

// failedOn is event n of hash 1 that tells its record.
func failedOn(n int, topic string, partition int32, offset int64, at time.Time) schemas.Event {
	e := hashed(n, 1, at)
	e.Topic, e.Partition, e.Offset, e.Age = topic, partition, offset, schemas.Unknown
	return e
}

func writeJoined(t testing.TB, s Joined, spans []schemas.Span, rows []schemas.Message, events []schemas.Event) {
	t.Helper()
	for range 2 { // as a replay does
		noError(t, "WriteSpans", s.WriteSpans(testContext(t), spans, rows))
		noError(t, "WriteEvents", s.WriteEvents(testContext(t), events))
	}
}

func issueMessages(t testing.TB, s Joined) exporters.IssueMessages {
	t.Helper()
	got, err := s.IssueMessages(testContext(t), 1, set(1, 1), exporters.EventFilter{})
	noError(t, "IssueMessages", err)
	return got
}

func dimensionOf(t testing.TB, m exporters.IssueMessages, d exporters.Dimension) exporters.MessageDimension {
	t.Helper()
	for _, by := range m.By {
		if by.Dimension == d {
			return by
		}
	}
	t.Fatalf("no dimension %s in %+v", d, m.By)
	return exporters.MessageDimension{}
}

func joinedByRecord(t *testing.T, s Joined) {
	at := base()
	var events []schemas.Event
	for i := range 12 { // records 100 and 101, six times each
		e := failedOn(i, "orders", 3, 100+int64(i%2), at.Add(time.Duration(i)*time.Second))
		e.Group, e.KeyHash, e.ProducerRelease, e.Release, e.Member = "pay", "00000000000000ff", "shop@7", "worker@2", "m-1"
		e.Age = int64(i) * int64(time.Minute)
		events = append(events, e)
	}
	events[0].Weight = 3 // stands for three
	other := failedOn(50, "orders", 3, 500, at)
	other.Fingerprint = hash(2)
	foreign := failedOn(51, "orders", 3, 501, at)
	foreign.Project = 2
	nameless := hashed(52, 1, at)
	nameless.Age = schemas.Unknown
	writeJoined(t, s, nil, nil, append(events, other, foreign, nameless))
	got := issueMessages(t, s)
	if got.Events != 15 || got.Placed != 14 || got.BySpan != 0 || got.More || got.Records != 2 || got.FewestEvents != 6 || got.MostEvents != 8 ||
		got.First != events[0].Time || got.Last != events[11].Time || got.Sample != 0 {
		t.Errorf("the counts are %+v", got)
	}
	for d, want := range map[exporters.Dimension]exporters.MessageValue{
		exporters.DimTopic: {Value: "orders"}, exporters.DimPartition: {Topic: "orders", Value: "3"}, exporters.DimGroup: {Value: "pay"}, exporters.DimKey: {Value: "00000000000000ff"},
		exporters.DimProducerRelease: {Value: "shop@7"}, exporters.DimRelease: {Value: "worker@2"}, exporters.DimMember: {Value: "m-1"},
	} {
		want.Events, want.Records = 14, 2
		by := dimensionOf(t, got, d)
		if len(by.Values) != 1 || by.Values[0] != want || by.Events != 14 || by.Records != 2 || by.Others != 0 {
			t.Errorf("%s: %+v, want only %+v", d, by, want)
		}
	}
	a := got.Age
	if a.Events != 14 || a.Min != 0 || a.Max != 11*time.Minute || a.P99 != 11*time.Minute || a.P50 < 3*time.Minute || a.P50 > 5*time.Minute || a.KnownRecords != 2 {
		t.Errorf("the ages are %+v", a)
	}
	// 0 below 1 ms, 1 to 4 min below 5 min, 5 to 11 below 30 min.
	if a.Buckets[0] != 3 || a.Buckets[6] != 4 || a.Buckets[7] != 7 {
		t.Errorf("the buckets are %v", a.Buckets)
	}
	if len(got.Worst) != 2 || got.Worst[0].Record != (schemas.RecordRef{Topic: "orders", Partition: 3, Offset: 100}) || got.Worst[0].Events != 8 || got.Worst[0].Reads != 0 {
		t.Errorf("the worst records are %+v", got.Worst)
	}
	if len(got.Oldest) != exporters.MaxOldestEvents || got.Oldest[0].ID != events[11].ID || got.Oldest[0].Age != 11*time.Minute || got.Oldest[0].Record.Offset != 101 {
		t.Errorf("the oldest are %+v", got.Oldest)
	}
	q, err := search.Parse("offset:101", at)
	noError(t, "Parse", err)
	one, err := s.IssueMessages(testContext(t), 1, set(1, 1), exporters.EventFilter{Range: exporters.Range{From: at.Add(2 * time.Second)}, Where: q.Of(search.OfEvent)})
	noError(t, "IssueMessages", err)
	if one.Events != 5 || one.Records != 1 {
		t.Errorf("of record 101 since the third event there are %d events and %d records, want 5 and 1", one.Events, one.Records)
	}
}

func joinedBySpan(t *testing.T, s Joined) {
	at := base()
	produce, consume := processed(1, "orders", 2, 7, at)
	batchA, consumeA := processed(2, "orders", 2, 8, at)
	batchB, consumeB := processed(2, "orders", 2, 9, at) // one span that read both
	span := func(n int, id, parent schemas.SpanID) schemas.Span {
		return schemas.Span{Project: 1, TraceID: traceID(n), SpanID: id, ParentID: parent, Name: "work", Start: consume.Start, End: consume.End, Source: 1, Position: schemas.Position{Offset: int64(n), Index: uint32(id[7])}}
	}
	below, deep, beside := spanID(90), spanID(91), spanID(92)
	ring := spanID(93)
	spans := []schemas.Span{
		span(1, below, consume.SpanID), span(1, deep, below), span(1, beside, schemas.SpanID{}), span(1, ring, ring), span(2, below, consumeA.SpanID),
	}
	in := func(n int, trace int, span schemas.SpanID) schemas.Event {
		e := hashed(n, 1, at.Add(1500*time.Millisecond))
		e.TraceID, e.SpanID, e.Age = traceID(trace), span, schemas.Unknown
		return e
	}
	writeJoined(t, s, spans, []schemas.Message{produce, consume, batchA, consumeA, batchB, consumeB}, []schemas.Event{
		in(1, 1, consume.SpanID), // an SDK whose span is the processing
		in(2, 1, below),          // one below it
		in(3, 1, deep),           // and further down
		in(4, 1, beside),         // not in it
		in(5, 1, ring),
		in(6, 2, below), // in a batch: of which record nobody told
		in(7, 9, below), // a trace that is not stored
		in(8, 1, schemas.SpanID{}),
	})
	got := issueMessages(t, s)
	if got.Events != 8 || got.Placed != 3 || got.BySpan != 3 || got.Records != 1 || got.MostEvents != 3 {
		t.Errorf("the counts are %+v", got)
	}
	for d, want := range map[exporters.Dimension]string{
		exporters.DimTopic: "orders", exporters.DimPartition: "2", exporters.DimGroup: "pay", exporters.DimKey: "0000000000000004",
		exporters.DimProducerRelease: "shop@1", exporters.DimRelease: "worker@1", exporters.DimMember: "c-1",
	} {
		by := dimensionOf(t, got, d)
		if len(by.Values) == 0 || by.Values[0].Value != want || by.Values[0].Events != 3 {
			t.Errorf("%s: %+v, want 3 events of %q", d, by, want)
		}
	}
	if got.Age.Events != 3 || got.Age.Min != 1500*time.Millisecond || got.Age.Max != 1500*time.Millisecond {
		t.Errorf("the age is %+v, want 1.5 s since the record's timestamp", got.Age)
	}
}

func joinedRetries(t *testing.T, s Joined) {
	at := base()
	first := failedOn(1, "orders", 0, 5, at)
	told := failedOn(2, "orders.retry", 0, 1, at.Add(time.Second))
	told.OriginalTopic, told.OriginalPartition, told.OriginalOffset = "orders", 0, 5
	byRow := failedOn(3, "orders.retry", 0, 2, at.Add(2*time.Second))
	_, consume := processed(3, "orders.retry", 0, 2, at)
	consume.RetryTopic, consume.RetryPartition, consume.RetryOffset, consume.RetryAttempt = "orders", 0, 5, 2
	again := consume // delivered twice
	again.TraceID, again.SpanID, again.Position.Index = traceID(4), spanID(44), 3
	writeJoined(t, s, nil, []schemas.Message{consume, again}, []schemas.Event{first, told, byRow})
	got := issueMessages(t, s)
	if got.Events != 3 || got.Records != 1 || len(got.Worst) != 1 || got.Worst[0].Record != (schemas.RecordRef{Topic: "orders", Offset: 5}) || got.Worst[0].Events != 3 || got.Worst[0].Reads != 2 {
		t.Errorf("%d records, the worst %+v; want one of three events that was read twice", got.Records, got.Worst)
	}
}

func joinedBaseline(t *testing.T, s Joined) {
	at := base()
	var rows []schemas.Message
	var events []schemas.Event
	for i := range 40 { // ten of each of four partitions, a tenth of which is of release 2
		p, c := processed(i+1, "orders", int32(i%4), int64(i), at.Add(time.Duration(i)*time.Second)) //nolint:gosec // small
		if i%10 == 0 {
			p.Release = "shop@2"
			events = append(events, failedOn(i, "orders", c.Partition, c.Offset, at.Add(time.Duration(i)*time.Second)))
		}
		rows = append(rows, p, c)
	}
	retried := rows[1] // the same record read again is one record
	retried.SpanID, retried.Start, retried.End, retried.Position.Index = spanID(900), retried.Start+1e9, retried.End+1e9, 9
	p, c := processed(200, "other", 0, 0, at)
	late, lateC := processed(201, "orders", 1, 900, at.Add(3*time.Hour)) // after the events
	foreign := rows[1]
	foreign.Project, foreign.Offset = 2, 901
	writeJoined(t, s, nil, append(rows, retried, p, c, late, lateC, foreign), events)
	got := issueMessages(t, s)
	if got.Sample != 1 || got.Records != 4 || got.BaselineTo <= got.BaselineFrom {
		t.Errorf("the counts are %+v", got)
	}
	partitions := dimensionOf(t, got, exporters.DimPartition)
	if partitions.Baseline != 40 || len(partitions.Values) != 4 {
		t.Fatalf("the partitions are %+v, want 40 records in four", partitions)
	}
	for _, v := range partitions.Values {
		if v.Baseline != 10 || v.Topic != "orders" || v.Since == 0 {
			t.Errorf("partition %+v, want ten records of the baseline", v)
		}
	}
	releases := dimensionOf(t, got, exporters.DimProducerRelease)
	if len(releases.Values) != 2 || releases.Values[0].Value != "shop@2" || releases.Values[0].Records != 4 || releases.Values[0].Baseline != 4 || releases.Values[1].Events != 0 || releases.Values[1].Baseline != 36 {
		t.Errorf("the producers' releases are %+v, want all failures of the tenth that shop@2 sent", releases)
	}
	keys := dimensionOf(t, got, exporters.DimKey)
	if keys.Baseline != 40 || len(keys.Values) != 2 || keys.Values[0].Baseline != 10 {
		t.Errorf("the keys are %+v, want the two of the failures, of ten records each", keys)
	}
	if got.Age.KnownBaseline != 40 || got.Age.Baseline[4] != 40 { // 1 s, below 10 s
		t.Errorf("the ages of the baseline are %+v, want all between 1 and 10 s", got.Age)
	}
}

func joinedRows(t *testing.T, s Joined) {
	at := base()
	produce, consume := processed(1, "orders", 1, 11, at)
	consume.RecordTime, produce.Appended, consume.KeyHash, produce.KeyHash = 0, at.UnixNano()+5e6, 0, 0xfeed
	e := failedOn(1, "orders", 1, 11, at.Add(time.Second+5*time.Millisecond))
	e.TraceID, e.Group, e.Release, e.Member = consume.TraceID, "pay", "its own", "its own"
	// Read by others too: what the event fell into is told by its trace and group.
	elsewhere := consume
	elsewhere.Group, elsewhere.Release, elsewhere.SpanID, elsewhere.Position.Index = "audit", "audit@9", spanID(77), 7
	told := failedOn(2, "orders", 1, 11, at.Add(2*time.Second))
	told.Age, told.KeyHash, told.ProducerRelease, told.Group, told.Release = int64(time.Hour), "00000000000000AA", "shop@9", "audit", "r"
	writeJoined(t, s, nil, []schemas.Message{produce, consume, elsewhere}, []schemas.Event{e, told})
	got := issueMessages(t, s)
	values := func(d exporters.Dimension) (out []string) {
		for _, v := range dimensionOf(t, got, d).Values {
			if v.Events > 0 {
				out = append(out, v.Value)
			}
		}
		return out
	}
	equal(t, "keys", values(exporters.DimKey), []string{"00000000000000aa", "000000000000feed"})
	equal(t, "producers", values(exporters.DimProducerRelease), []string{"shop@1", "shop@9"})
	equal(t, "releases", values(exporters.DimRelease), []string{"r", "worker@1"})
	if got.Age.Min != time.Second || got.Age.Max != time.Hour {
		t.Errorf("the ages are from %s to %s, want 1 s since it was appended, and the hour that the event told", got.Age.Min, got.Age.Max)
	}
	if got.Worst[0].Reads != 2 {
		t.Errorf("the record was read %d times, want 2", got.Worst[0].Reads)
	}
}

func joinedBound(t *testing.T, s Joined) {
	var events []schemas.Event
	for i := range 40 {
		events = append(events, failedOn(i, "or'ders\\", int32(i), int64(i), base().Add(time.Duration(i)*time.Second))) //nolint:gosec // small
	}
	writeJoined(t, s, nil, nil, events)
	got := issueMessages(t, s)
	by := dimensionOf(t, got, exporters.DimPartition)
	if len(by.Values) != exporters.MaxMessageValues || by.Others != uint64(40-exporters.MaxMessageValues) || by.Events != 40 || by.Values[0].Topic != "or'ders\\" {
		t.Errorf("%d values, %d others, %d events; want %d, %d, 40: %+v", len(by.Values), by.Others, by.Events, exporters.MaxMessageValues, 40-exporters.MaxMessageValues, by.Values)
	}
	if len(got.Worst) != exporters.MaxWorstRecords || got.Records != 40 {
		t.Errorf("%d of %d records are listed", len(got.Worst), got.Records)
	}
}

func joinedNone(t *testing.T, s Joined) {
	e := hashed(1, 1, base())
	e.Age = schemas.Unknown
	writeJoined(t, s, nil, nil, []schemas.Event{e})
	if got := issueMessages(t, s); got.Events != 1 || got.Placed != 0 || got.Records != 0 || len(got.By) != 0 {
		t.Errorf("got %+v, want one event without a record", got)
	}
	got, err := s.IssueMessages(testContext(t), 1, exporters.EventSet{Issue: 1}, exporters.EventFilter{})
	noError(t, "IssueMessages of no hash", err)
	equal(t, "of no hash", got, exporters.IssueMessages{})
}

func eventsOfRecord(t *testing.T, s Joined) {
	var events []schemas.Event
	for i := range 30 {
		events = append(events, failedOn(i, "orders", int32(i%3), int64(i/3), base().Add(time.Duration(i)*time.Second))) //nolint:gosec // small
	}
	sentOn := failedOn(60, "orders.retry", 9, 900, base().Add(time.Hour))
	sentOn.OriginalTopic, sentOn.OriginalPartition, sentOn.OriginalOffset = "orders", 1, 4
	otherTopic := failedOn(61, "returns", 1, 4, base())
	foreign := failedOn(62, "orders", 1, 4, base())
	foreign.Project = 2
	writeJoined(t, s, nil, nil, append(events, sentOn, otherTopic, foreign))
	f := func(r schemas.RecordRef, want ...schemas.EventID) {
		t.Helper()
		found, err := s.EventsOfRecord(testContext(t), 1, r, 500)
		noError(t, "EventsOfRecord", err)
		var got []schemas.EventID
		for _, e := range found {
			got = append(got, e.ID)
		}
		equal(t, fmt.Sprintf("events of %+v", r), got, want)
	}
	f(schemas.RecordRef{Topic: "orders", Partition: 1, Offset: 4}, sentOn.ID, events[13].ID)
	f(schemas.RecordRef{Topic: "orders.retry", Partition: 9, Offset: 900}, sentOn.ID)
	f(schemas.RecordRef{Topic: "orders", Partition: 1, Offset: 400})
	f(schemas.RecordRef{Topic: "orders", Partition: schemas.Unknown, Offset: schemas.Unknown})
	f(schemas.RecordRef{})
}

func joinedCancelled(t *testing.T, s Joined) {
	ctx, cancel := context.WithCancel(testContext(t))
	cancel()
	_, err := s.IssueMessages(ctx, 1, set(1, 1), exporters.EventFilter{})
	isError(t, "IssueMessages", err, context.Canceled)
	_, err = s.EventsOfRecord(ctx, 1, schemas.RecordRef{Topic: "t"}, 1)
	isError(t, "EventsOfRecord", err, context.Canceled)
}
