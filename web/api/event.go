package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/instrumentation/messaging/clock"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/web/api/finding"
)

// neighbours is how many of an issue's newest events are looked at to number
// one and to find the one before and after it.
const neighbours = 500

// event answers /issues/{id}/events/{event}.
func (h *Handler) event(ctx context.Context, q *query) (any, error) {
	issue, err := h.readIssue(ctx, q)
	if err != nil {
		return nil, err
	}
	events, err := h.deps.IssueEvents.EventsOf(ctx, q.project.ID, issue.set, exporters.EventPage{EventFilter: allTime(q.now), Limit: neighbours})
	if err != nil {
		return nil, fmt.Errorf("cannot list the events of issue %d: %w", issue.ID, err)
	}
	e, err := h.pick(ctx, q, issue, events)
	if err != nil {
		return nil, err
	}
	out := EventDetail{Issue: issueJSON(&issue.Issue, issue.stats), Event: eventJSON(&e)}
	if i := slices.IndexFunc(events, func(o schemas.Event) bool { return o.ID == e.ID }); i >= 0 {
		if n := int(issue.stats.Events) - i; n > 0 {
			out.Number = &n
		}
		if i > 0 {
			id := events[i-1].ID.String()
			out.Newer = &id
		}
		if i+1 < len(events) {
			id := events[i+1].ID.String()
			out.Older = &id
		}
	}
	if err := h.addPayload(ctx, &out, &e); err != nil {
		return nil, err
	}
	if out.Message, err = h.causingMessage(ctx, &e); err != nil {
		return nil, err
	}
	out.Finding = finding.ForEvent(eventFacts(&out, issue.Issue, issue.stats))
	return out, nil
}

func (h *Handler) pick(ctx context.Context, q *query, issue oneIssue, events []schemas.Event) (schemas.Event, error) {
	name := q.path("event")
	if name == "latest" {
		if len(events) == 0 {
			return schemas.Event{}, errorf(http.StatusNotFound, "event_not_found", "retention may have deleted them", "no event of issue %d is stored", issue.ID)
		}
		return events[0], nil
	}
	id, ok := parseEventID(name)
	if !ok {
		return schemas.Event{}, badParameter("event", name, "32 hex digits, or latest")
	}
	e, err := h.deps.Events.Event(ctx, q.project.ID, id)
	if errors.Is(err, exporters.ErrNotFound) || err == nil && !issue.has(&e) {
		return schemas.Event{}, errorf(http.StatusNotFound, "event_not_found", "retention may have deleted it, or it belongs to another issue",
			"issue %d has no event %s", issue.ID, id)
	}
	if err != nil {
		return schemas.Event{}, fmt.Errorf("cannot read event %s: %w", id, err)
	}
	return e, nil
}

// has tells that an event is one of the issue's: its hash is, and it was not deleted.
func (i *oneIssue) has(e *schemas.Event) bool {
	return slices.ContainsFunc(i.set.Hashes, func(h exporters.IssueHash) bool { return h.Hash == e.Fingerprint && e.Received >= h.After })
}

func (h *Handler) addPayload(ctx context.Context, out *EventDetail, e *schemas.Event) error {
	out.Payload, out.Exceptions, out.Breadcrumbs, out.Contexts = "missing", []Exception{}, []Breadcrumb{}, []Context{}
	out.User, out.Request, out.Notes = []Attribute{}, []Attribute{}, []Note{}
	raw, err := h.payload(ctx, e)
	if errors.Is(err, exporters.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot read the payload of event %s: %w", e.ID, err)
	}
	p, ok := readPayload(raw)
	if !ok {
		out.Payload = "unreadable"
		return nil
	}
	out.Payload, out.Exceptions, out.Breadcrumbs, out.Contexts = "stored", p.exceptions, p.breadcrumbs, p.contexts
	out.Text, out.User, out.Request, out.Notes, out.NotesCut = p.text, p.user, p.request, p.notes, p.notesCut
	if len(out.Event.Tags) == 0 {
		out.Event.Tags = p.tags
	}
	return nil
}

// payload reads an event's document: by its reference, or by its key when it was
// stored before there were any.
func (h *Handler) payload(ctx context.Context, e *schemas.Event) ([]byte, error) {
	if e.Node != "" {
		return h.deps.Nodes.Read(ctx, e.Node)
	}
	return h.deps.Blobs.Get(ctx, schemas.EventBlobKey(e.Project, e.ID))
}

// causingMessage finds the record that was being processed: the one that the
// SDK told, or the one whose processing span is the event's span or above it.
func (h *Handler) causingMessage(ctx context.Context, e *schemas.Event) (*CausingMessage, error) {
	if e.Topic != "" && e.Partition != schemas.Unknown && e.Offset != schemas.Unknown {
		ref := schemas.RecordRef{Topic: e.Topic, Partition: e.Partition, Offset: e.Offset}
		rows, err := h.deps.Messages.MessagesOfRecords(ctx, e.Project, []schemas.RecordRef{ref}, maxRefs)
		if err != nil {
			return nil, fmt.Errorf("cannot read record %s/%d/%d: %w", ref.Topic, ref.Partition, ref.Offset, err)
		}
		if j, ok := pickHop(joinHops(rows), e); ok {
			return h.causing(ctx, j, rows, e, "event")
		}
		// The record's rows are not stored (sampled away, or still on their
		// way): what the event told is still true.
		m := schemas.Message{
			Project: e.Project, Side: schemas.SideReceive, Topic: e.Topic, Partition: e.Partition, Offset: e.Offset,
			Group: e.Group, TraceID: e.TraceID, SpanID: e.SpanID, HighWatermark: schemas.Unknown, BodySize: schemas.Unknown,
		}
		out, err := h.causing(ctx, joined{Hop: schemas.Hop{Consume: &m}, delivery: 1}, nil, e, "event")
		if err != nil {
			return nil, err
		}
		out.Hop.Consumer = nil
		return out, nil
	}
	if e.TraceID.IsZero() || e.SpanID.IsZero() {
		return nil, nil
	}
	c, err := h.consumerAbove(ctx, e)
	if err != nil || c == nil {
		return nil, err
	}
	rows := []schemas.Message{*c}
	if hasRecord(c) {
		if rows, err = h.deps.Messages.MessagesOfRecords(ctx, e.Project, []schemas.RecordRef{c.Record()}, maxRefs); err != nil {
			return nil, fmt.Errorf("cannot read record %s/%d/%d: %w", c.Topic, c.Partition, c.Offset, err)
		}
	}
	for _, j := range joinHops(rows) {
		if j.Consume != nil && j.Consume.TraceID == c.TraceID && j.Consume.SpanID == c.SpanID {
			return h.causing(ctx, j, rows, e, "span")
		}
	}
	return h.causing(ctx, joined{Hop: schemas.Hop{Consume: c}, delivery: 1}, nil, e, "span")
}

// consumerAbove walks from the event's span up to one that reads a record.
func (h *Handler) consumerAbove(ctx context.Context, e *schemas.Event) (*schemas.Message, error) {
	ids := []schemas.TraceID{e.TraceID}
	rows, err := h.deps.Messages.MessagesOfTraces(ctx, e.Project, ids, maxRows)
	if err != nil {
		return nil, fmt.Errorf("cannot read the messages of trace %s: %w", e.TraceID, err)
	}
	readers := readersOf(rows)
	if len(readers) == 0 {
		return nil, nil
	}
	spans, err := h.deps.Spans.Spans(ctx, e.Project, ids, maxSpans)
	if err != nil {
		return nil, fmt.Errorf("cannot read the spans of trace %s: %w", e.TraceID, err)
	}
	return readerAbove(readers, parentsOf(spans), schemas.SpanRef{TraceID: e.TraceID, SpanID: e.SpanID}), nil
}

// readersOf are the rows of readers, by their span.
func readersOf(rows []schemas.Message) map[schemas.SpanRef][]*schemas.Message {
	out := map[schemas.SpanRef][]*schemas.Message{}
	for i := range rows {
		if m := &rows[i]; m.Side.Reads() {
			ref := schemas.SpanRef{TraceID: m.TraceID, SpanID: m.SpanID}
			out[ref] = append(out[ref], m)
		}
	}
	return out
}

func parentsOf(spans []schemas.Span) map[schemas.SpanRef]schemas.SpanID {
	out := make(map[schemas.SpanRef]schemas.SpanID, len(spans))
	for i := range spans {
		out[schemas.SpanRef{TraceID: spans[i].TraceID, SpanID: spans[i].SpanID}] = spans[i].ParentID
	}
	return out
}

// readerAbove is the reader whose span is at, or the nearest above it; nil when
// there is none, or it read a batch: which of its records it was nobody told.
func readerAbove(readers map[schemas.SpanRef][]*schemas.Message, parents map[schemas.SpanRef]schemas.SpanID, at schemas.SpanRef) *schemas.Message {
	for steps := 0; !at.SpanID.IsZero() && steps <= len(parents); steps++ {
		switch found := readers[at]; len(found) {
		case 0:
		case 1:
			return found[0]
		default:
			return nil
		}
		at.SpanID = parents[at]
	}
	return nil
}

// pickHop chooses among the readings of one record the one that the event fell into.
func pickHop(hops []joined, e *schemas.Event) (joined, bool) {
	best, score := joined{}, -1
	for _, j := range hops {
		s := 0
		if c := j.Consume; c != nil {
			s = 1
			if e.Group != "" && c.Group == e.Group {
				s += 4
			}
			if !e.TraceID.IsZero() && c.TraceID == e.TraceID {
				s += 8
			}
			if consumeStart(c) <= e.Time && e.Time <= c.End+int64(time.Second) {
				s += 2
			}
		}
		if s > score {
			best, score = j, s
		}
	}
	return best, score >= 0
}

// causing tells the record's way and its age when the event happened, on the
// reader's clock where samples of both hosts' clocks allow: the event is the reader's.
func (h *Handler) causing(ctx context.Context, j joined, rows []schemas.Message, e *schemas.Event, foundBy string) (*CausingMessage, error) {
	hops := []joined{j}
	if err := h.complete(ctx, e.Project, hops, rows); err != nil {
		return nil, err
	}
	j = hops[0]
	out := &CausingMessage{FoundBy: foundBy, Hop: hopJSON(j)}
	placed := j.placed()
	if p := placed.Produce; p != nil {
		out.Sent = between(p.Start, e.Time)
		if c := j.clock; c != nil && out.Sent.Known {
			out.Sent.Uncertainty = uncertainty(sinceSent(j, e.Time), out.Sent.Ns)
		}
	}
	timestamp := int64(0)
	for _, m := range []*schemas.Message{placed.Produce, placed.Consume} {
		if m != nil && m.RecordTime != 0 {
			timestamp = m.RecordTime
		}
	}
	switch appended := placed.Append(); {
	case appended != 0:
		out.Age, out.AgeFrom = between(appended, e.Time), "appended"
		if c := j.clock; c != nil && c.residence.Known() {
			// What passed between the answer that had it and the event is of one clock.
			since := e.Time - placed.Consume.Answered
			out.Age.Uncertainty = uncertainty(clock.Interval{Lo: c.residence.Lo + since, Hi: c.residence.Hi + since}, out.Age.Ns)
		}
	case out.Sent.Known:
		out.Age, out.AgeFrom = out.Sent, "sent"
	case timestamp != 0:
		out.Age, out.AgeFrom = between(timestamp, e.Time), "timestamp"
	}
	out.CrossesClock = out.Age.Known && !j.SharedClock() && out.Age.Uncertainty == nil
	return out, nil
}

// sinceSent is where the time from the call that sent the record until at lies.
func sinceSent(j joined, at int64) clock.Interval {
	sent := at - j.Produce.Start
	return clock.Interval{Lo: sent - j.clock.offset.Hi, Hi: sent - j.clock.offset.Lo}
}

func eventFacts(out *EventDetail, issue schemas.Issue, stats exporters.EventStats) finding.Event {
	f := finding.Event{Title: issue.Title, Href: "/issues/" + issueID(issue.ID), Events: stats.Events, Records: stats.Records, Partition: schemas.Unknown}
	m := out.Message
	if m == nil {
		return f
	}
	f.Topic, f.Group = m.Hop.Topic, m.Hop.Group
	if m.Hop.Partition != nil {
		f.Partition = *m.Hop.Partition
	}
	if c := m.Hop.Consumer; c != nil && c.TraceID != (schemas.TraceID{}).String() {
		f.Waterfall = "/traces/" + c.TraceID + "?row=" + m.Hop.ID
	}
	f.Age, f.AgeKnown = time.Duration(m.Age.Ns), m.Age.Known
	for _, p := range m.Hop.Parts {
		switch exporters.PartName(p.Name) {
		case exporters.PartBacklog, exporters.PartLongPoll, exporters.PartFetchQueue:
			if p.Known {
				f.WaitKnown = true
				f.Waited += time.Duration(p.Ns)
			}
		}
	}
	return f
}
