package exportertest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// Events is what EventStore tests.
type Events interface {
	exporters.EventWriter
	exporters.EventReader
	exporters.RecentEvents
	exporters.Pinger
}

// EventStore is the suite of EventWriter and EventReader. open gives an empty
// store.
func EventStore(t *testing.T, open func(t *testing.T) Events) {
	run := func(name string, f func(t *testing.T, s Events)) {
		t.Run(name, func(t *testing.T) { f(t, open(t)) })
	}
	run("EventComesBackAsItWasWritten", eventRoundTrip)
	run("EventsOfAnIssueComeNewestFirst", eventsOfIssue)
	run("RecentEventsOfAProjectComeNewestFirst", recentEvents)
	run("EventsAreFoundByTrace", eventsOfTraces)
	run("EventThatIsNotThereIsNotFound", eventMissing)
	run("WrittenTellsWhichEventsAreStored", eventsWritten)
	run("IssueStatsCountEventsAndRecordsOnce", issueStats)
	run("CancelledCallsFail", eventsCancelled)
}

func eventID(n int) (id schemas.EventID) {
	id[0], id[14], id[15] = 0xee, byte(n>>8), byte(n)
	return id
}

func event(n int, at time.Time) schemas.Event {
	return schemas.Event{
		Project: 1, ID: eventID(n), Time: at.UnixNano(), Received: at.UnixNano() + 5, Issue: 1, Level: "error", Type: "CardDeclined", Partition: schemas.Unknown, Offset: schemas.Unknown,
		Source: 1, Position: schemas.Position{Offset: int64(n)},
	}
}

func eventRoundTrip(t *testing.T, s Events) {
	ctx := testContext(t)
	full := schemas.Event{
		Project: 1, ID: eventID(1), Time: base().UnixNano() + 1, Received: base().UnixNano() + 123, Issue: 1<<64 - 1, Fingerprint: schemas.Fingerprint{1, 15: 2}, Level: "fatal", Platform: "go",
		Type: "CardDeclined", Value: strings.Repeat("ünï☃ ", 1<<17), Culprit: "c", Transaction: "t", Release: "1.2.3", Environment: "prod", Server: "node-1", SDK: "sentry.go/0.50.0",
		TraceID: traceID(1), SpanID: spanID(1), Topic: "orders", Partition: 11, Offset: 1 << 40, Group: "g", Tags: oddAttributes(),
		Logger: "shop.cart", Handled: schemas.HandledNo, UserID: "u☃1", UserName: "ada", UserEmail: "a@b.c", UserIP: "::1", HashVersion: "hoptrace:2", Dist: "17",
		SDKName: "sentry.go", Origin: schemas.OriginOTel, UserHash: 1<<64 - 1, Member: "m-1", KeyHash: "9f2c", ProducerRelease: "shop@3", Attempt: 1<<16 - 1, Batch: 1<<32 - 1, RecordTime: 1 << 60,
		Age: -1 << 50, OriginalTopic: "orders-0", OriginalPartition: 1<<31 - 1, OriginalOffset: 1 << 50, Node: "a.b.c.d", Weight: 1<<32 - 1, Repeat: true, Ingest: 1<<64 - 1, IngestOffset: 1<<63 - 1, Source: 1<<64 - 1, Position: schemas.Position{Offset: 1<<63 - 1, Index: 1<<32 - 1},
	}
	events := make([]schemas.Event, 0, 2+len(odd))
	events = append(events, full, schemas.Event{Project: 1, Time: base().UnixNano()})
	for i, text := range odd {
		e := event(10+i, base())
		e.Level, e.Platform, e.Type, e.Value, e.Culprit, e.Transaction = text, text, text, text, text, text
		e.Release, e.Environment, e.Server, e.SDK, e.Topic, e.Group = text, text, text, text, text, text
		e.HashVersion, e.Dist, e.SDKName, e.Member, e.KeyHash, e.ProducerRelease, e.OriginalTopic, e.Node, e.Origin = text, text, text, text, text, text, text, schemas.NodeRef(text), schemas.Origin(text)
		e.Logger, e.UserID, e.UserName, e.UserEmail, e.UserIP = text, text, text, text, text
		events = append(events, e)
	}
	noError(t, "WriteEvents of nothing", s.WriteEvents(ctx, nil))
	noError(t, "WriteEvents", s.WriteEvents(ctx, events))
	for _, want := range events {
		got, err := s.Event(ctx, 1, want.ID)
		noError(t, "Event", err)
		equal(t, "event", got, want)
	}
}

func eventsOfIssue(t *testing.T, s Events) {
	ctx := testContext(t)
	all := make([]schemas.Event, 0, 602)
	for i := range 600 {
		all = append(all, event(i, base().Add(time.Duration(i)*time.Second)))
	}
	other := event(700, base())
	other.Issue = 2
	foreign := event(701, base())
	foreign.Project = 2
	for range 2 { // as a replay does
		noError(t, "WriteEvents", s.WriteEvents(ctx, append(all, other, foreign)))
	}
	f := func(limit, want int) {
		t.Helper()
		got, err := s.Events(ctx, 1, 1, limit)
		noError(t, "Events", err)
		if len(got) != want {
			t.Fatalf("Events with limit %d gave %d, want %d", limit, len(got), want)
		}
		for i := range got {
			equal(t, fmt.Sprintf("event %d", i), got[i], all[599-i])
		}
	}
	f(1, 1)
	f(50, 50)
	f(500, 500)
	f(5000, 500)
	got, err := s.Events(ctx, 2, 1, 10)
	noError(t, "Events", err)
	equal(t, "events of another project", got, []schemas.Event{foreign})
}

func recentEvents(t *testing.T, s Events) {
	ctx := testContext(t)
	all := make([]schemas.Event, 0, 602)
	for i := range 600 {
		e := event(i, base().Add(time.Duration(i)*time.Second))
		e.Issue = schemas.IssueID(1 + i%7) //nolint:gosec // small
		all = append(all, e)
	}
	foreign := event(701, base().Add(time.Hour))
	foreign.Project = 2
	for range 2 { // as a replay does
		noError(t, "WriteEvents", s.WriteEvents(ctx, append(all, foreign)))
	}
	f := func(limit, want int) {
		t.Helper()
		got, err := s.RecentEvents(ctx, 1, limit)
		noError(t, "RecentEvents", err)
		if len(got) != want {
			t.Fatalf("RecentEvents with limit %d gave %d, want %d", limit, len(got), want)
		}
		for i := range got {
			equal(t, fmt.Sprintf("event %d", i), got[i], all[599-i])
		}
	}
	f(1, 1)
	f(599, 599)
	f(20_000, 600)
	got, err := s.RecentEvents(ctx, 3, 10)
	noError(t, "RecentEvents", err)
	if len(got) != 0 {
		t.Errorf("a project without events has %d", len(got))
	}
}

func eventsOfTraces(t *testing.T, s Events) {
	ctx := testContext(t)
	a, b, c := event(1, base()), event(2, base().Add(time.Second)), event(3, base().Add(2*time.Second))
	a.TraceID, b.TraceID, c.TraceID = traceID(1), traceID(2), traceID(3)
	noError(t, "WriteEvents", s.WriteEvents(ctx, []schemas.Event{a, b, c, a}))
	got, err := s.EventsOfTraces(ctx, 1, []schemas.TraceID{traceID(1), traceID(2), traceID(9)}, 10)
	noError(t, "EventsOfTraces", err)
	equal(t, "events", got, []schemas.Event{b, a})
	got, err = s.EventsOfTraces(ctx, 1, nil, 10)
	noError(t, "EventsOfTraces of none", err)
	equal(t, "events of no trace", got, []schemas.Event{})
	if _, err := s.EventsOfTraces(ctx, 1, make([]schemas.TraceID, 101), 10); err == nil {
		t.Error("EventsOfTraces of 101 traces succeeded")
	}
}

func eventMissing(t *testing.T, s Events) {
	ctx := testContext(t)
	noError(t, "WriteEvents", s.WriteEvents(ctx, []schemas.Event{event(1, base())}))
	_, err := s.Event(ctx, 1, eventID(2))
	isError(t, "Event that is not there", err, exporters.ErrNotFound)
	_, err = s.Event(ctx, 2, eventID(1))
	isError(t, "Event of another project", err, exporters.ErrNotFound)
}

func eventsWritten(t *testing.T, s Events) {
	ctx := testContext(t)
	a, b, c := event(1, base()), event(2, base()), event(3, base())
	c.Source = 2
	noError(t, "WriteEvents", s.WriteEvents(ctx, []schemas.Event{a, b, c, b}))
	f := func(source schemas.Source, from int64, want ...schemas.Position) {
		t.Helper()
		got, err := s.WrittenEvents(ctx, source, from)
		noError(t, "WrittenEvents", err)
		set := make(map[schemas.Position]struct{})
		for _, p := range want {
			set[p] = struct{}{}
		}
		equal(t, fmt.Sprintf("events of source %d from %d", source, from), got, set)
	}
	d, e2, other := event(4, base()), event(5, base()), event(6, base())
	d.Ingest, d.IngestOffset, e2.Ingest, e2.IngestOffset, other.Ingest, other.IngestOffset = 7, 10, 7, 12, 8, 13
	noError(t, "WriteEvents", s.WriteEvents(ctx, []schemas.Event{d, e2, other, e2}))
	for from, want := range map[int64]map[int64]struct{}{0: {10: {}, 12: {}}, 11: {12: {}}, 13: {}} {
		got, err := s.WrittenIngest(ctx, 7, from)
		noError(t, "WrittenIngest", err)
		equal(t, fmt.Sprintf("ingest records from %d", from), got, want)
	}
	f(1, 4, d.Position, e2.Position, other.Position)
	f(1, 0, a.Position, b.Position, d.Position, e2.Position, other.Position)
	f(1, 2, b.Position, d.Position, e2.Position, other.Position)
	f(1, 7)
	f(2, 0, c.Position)
	f(3, 0)
}

func issueStats(t *testing.T, s Events) {
	ctx := testContext(t)
	to := time.Now().Add(-time.Hour).Truncate(time.Second)
	var all []schemas.Event
	add := func(issue schemas.IssueID, before time.Duration, offset int64) {
		e := event(len(all), to.Add(-before))
		e.Issue, e.Offset = issue, offset
		if offset >= 0 {
			e.Topic, e.Partition = "orders", 1
		}
		all = append(all, e)
	}
	add(1, 0, 1)               // after the range
	add(1, time.Nanosecond, 1) // hour 23
	add(1, time.Hour, 1)       // hour 23, its first nanosecond
	add(1, time.Hour+1, 2)     // hour 22
	add(1, 24*time.Hour, 3)    // hour 0
	add(1, 24*time.Hour+1, 4)  // before the day
	add(1, 5*time.Hour, schemas.Unknown)
	add(2, 10*time.Hour, schemas.Unknown)
	add(3, 20*24*time.Hour, 9) // long ago, and within retention
	for range 2 {
		noError(t, "WriteEvents", s.WriteEvents(ctx, all))
	}
	got, err := s.IssueStats(ctx, 1, []schemas.IssueID{1, 2, 4}, exporters.Range{To: to})
	noError(t, "IssueStats", err)
	one := exporters.IssueStats{Events: 6, Records: 4}
	one.Hours[23], one.Hours[22], one.Hours[19], one.Hours[0] = 2, 1, 1, 1
	two := exporters.IssueStats{Events: 1}
	two.Hours[14] = 1
	equal(t, "stats", got, map[schemas.IssueID]exporters.IssueStats{1: one, 2: two})

	// A shorter range counts less; the hours stay.
	got, err = s.IssueStats(ctx, 1, []schemas.IssueID{1}, exporters.Range{From: to.Add(-2 * time.Hour), To: to})
	noError(t, "IssueStats", err)
	one.Events, one.Records = 3, 2
	equal(t, "stats of two hours", got, map[schemas.IssueID]exporters.IssueStats{1: one})
	got, err = s.IssueStats(ctx, 1, nil, exporters.Range{})
	noError(t, "IssueStats of none", err)
	if len(got) != 0 {
		t.Errorf("IssueStats of no issue gave %v", got)
	}
	if _, err := s.IssueStats(ctx, 1, make([]schemas.IssueID, 501), exporters.Range{}); err == nil {
		t.Error("IssueStats of 501 issues succeeded")
	}
}

func eventsCancelled(t *testing.T, s Events) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, f := range map[string]func() error{
		"WriteEvents":    func() error { return s.WriteEvents(ctx, []schemas.Event{event(1, base())}) },
		"WrittenEvents":  func() error { _, err := s.WrittenEvents(ctx, 1, 0); return err },
		"WrittenIngest":  func() error { _, err := s.WrittenIngest(ctx, 1, 0); return err },
		"Events":         func() error { _, err := s.Events(ctx, 1, 1, 10); return err },
		"Event":          func() error { _, err := s.Event(ctx, 1, eventID(1)); return err },
		"EventsOfTraces": func() error { _, err := s.EventsOfTraces(ctx, 1, []schemas.TraceID{{1}}, 10); return err },
		"IssueStats":     func() error { _, err := s.IssueStats(ctx, 1, []schemas.IssueID{1}, exporters.Range{}); return err },
	} {
		if err := f(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s with a cancelled context: got error %v, want %v", name, err, context.Canceled)
		}
	}
}
