package api

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"

	"golang.org/x/sync/errgroup"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/internal/search"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/web/api/finding"
)

// IssueMessages are the messages behind an issue.
type IssueMessages struct {
	Finding finding.Finding `json:"finding"`
	Events  uint64          `json:"events"` // of the newest 100,000
	Placed  uint64          `json:"placed"` // events whose record is known
	BySpan  uint64          `json:"bySpan"` // of those, found by their span: the others told it
	More    bool            `json:"more"`   // older events were not looked at
	// Records counts different ones; one that was sent on after a failure is the
	// record that failed first.
	Records  uint64             `json:"records"`
	Worst    []RecordEvents     `json:"worst"` // those of most events
	Age      MessageAge         `json:"age"`
	Oldest   []EventAge         `json:"oldest"` // events whose message was oldest
	By       []MessageDimension `json:"by"`
	Baseline *MessageBaseline   `json:"baseline"` // null when no row of these topics is stored
}

// RecordEvents is a record with its events.
type RecordEvents struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	Events    uint64 `json:"events"`
	Reads     uint64 `json:"reads"` // how often it was seen read; 0 when no row is stored
	FirstSeen Nanos  `json:"firstSeen"`
	LastSeen  Nanos  `json:"lastSeen"`
	TraceID   string `json:"traceId"` // of its last event; empty when not told
}

// MessageAge is how old the records were when the events happened.
type MessageAge struct {
	Events          uint64      `json:"events"` // whose age is known; with 0 the times mean nothing
	MinNs           int64       `json:"minNs"`  // negative when clocks disagree
	P50Ns           int64       `json:"p50Ns"`
	P90Ns           int64       `json:"p90Ns"`
	P99Ns           int64       `json:"p99Ns"`
	MaxNs           int64       `json:"maxNs"`
	Records         uint64      `json:"records"`
	BaselineRecords uint64      `json:"baselineRecords"` // of the baseline, whose age is known
	Buckets         []AgeBucket `json:"buckets"`
}

// AgeBucket is one bar of the ages.
type AgeBucket struct {
	BelowNs  *int64 `json:"belowNs"` // null: no bound
	Events   uint64 `json:"events"`
	Records  uint64 `json:"records"`
	Baseline uint64 `json:"baseline"` // records, when their processing began
}

// EventAge is an event with the age of its message.
type EventAge struct {
	Event     string `json:"event"`
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	AgeNs     int64  `json:"ageNs"`
	TraceID   string `json:"traceId"` // empty when not told
	SpanID    string `json:"spanId"`
}

// MessageDimension counts the values of what messages are told apart by.
type MessageDimension struct {
	Dimension string         `json:"dimension"`
	Events    uint64         `json:"events"`  // that tell it
	Records   uint64         `json:"records"` // of those
	Others    uint64         `json:"others"`  // values beyond those listed
	Baseline  uint64         `json:"baseline"`
	Values    []MessageValue `json:"values"`
}

// MessageValue is one value.
type MessageValue struct {
	Topic    string `json:"topic"` // of a partition
	Value    string `json:"value"`
	Events   uint64 `json:"events"`
	Records  uint64 `json:"records"`
	Baseline uint64 `json:"baseline"` // records of the baseline that have it
}

// MessageBaseline tells what the baseline is of: records of the same topics that
// were processed around the events.
type MessageBaseline struct {
	Sample uint64 `json:"sample"` // one of so many records was looked at
	From   Nanos  `json:"from"`
	To     Nanos  `json:"to"`
}

// RecordDetail is all that is known of one record.
type RecordDetail struct {
	Finding   finding.Finding `json:"finding"`
	Topic     string          `json:"topic"`
	Partition int32           `json:"partition"`
	Offset    int64           `json:"offset"`
	// Lives has one for each record that has had these coordinates, the newest first.
	Lives []RecordLife `json:"lives"`
	Near  *NearRecords `json:"near"` // null when this process cannot tell
	// Hops has one for each reading, of the record and of what was made of it after
	// a failure.
	Hops    []Hop         `json:"hops"`
	Traces  []string      `json:"traces"`  // ids, of its producer and its readers
	Journey string        `json:"journey"` // path of the UI; empty without a trace
	Events  []RecordEvent `json:"events"`  // newest first, at most 500
	Issues  []Issue       `json:"issues"`
}

// RecordEvent is an event that happened while the record was processed.
type RecordEvent struct {
	Event   Event  `json:"event"`
	Issue   string `json:"issue"`   // id
	FoundBy string `json:"foundBy"` // event: it tells the record; span: it lies below the processing span
}

// issueMessages answers /issues/{id}/messages.
func (h *Handler) issueMessages(ctx context.Context, q *query) (any, error) {
	f := exporters.EventFilter{Range: q.timeRange()}
	if f.Range.To.IsZero() {
		f.Range.To = allTime(q.now).Range.To
	}
	if q.fault != nil {
		return nil, q.fault
	}
	issue, err := h.readIssue(ctx, q)
	if err != nil {
		return nil, err
	}
	terms, err := search.Parse(q.text("query"), q.now)
	if err != nil {
		return nil, queryError(q.text("query"), err)
	}
	finder := issueFinder{h: h, issueSearch: issueSearch{project: q.project.ID}}
	if f.Where, err = finder.releases(ctx, terms.Of(search.OfEvent)); err != nil {
		return nil, err
	}
	m, err := h.deps.Joined.IssueMessages(ctx, q.project.ID, issue.set, f)
	if err != nil {
		return nil, fmt.Errorf("cannot join the events of issue %d with messages: %w", issue.ID, err)
	}
	out := issueMessagesJSON(&m)
	out.Finding = finding.ForMessages(m)
	return out, nil
}

func issueMessagesJSON(m *exporters.IssueMessages) IssueMessages {
	out := IssueMessages{
		Events: m.Events, Placed: m.Placed, BySpan: m.BySpan, More: m.More, Records: m.Records,
		Worst: make([]RecordEvents, len(m.Worst)), Oldest: make([]EventAge, len(m.Oldest)), By: make([]MessageDimension, len(m.By)),
		Age: MessageAge{
			Events: m.Age.Events, MinNs: int64(m.Age.Min), P50Ns: int64(m.Age.P50), P90Ns: int64(m.Age.P90), P99Ns: int64(m.Age.P99), MaxNs: int64(m.Age.Max),
			Records: m.Age.KnownRecords, BaselineRecords: m.Age.KnownBaseline, Buckets: make([]AgeBucket, len(m.Age.Buckets)),
		},
	}
	for i := range out.Age.Buckets {
		b := AgeBucket{Events: m.Age.Buckets[i], Records: m.Age.Records[i], Baseline: m.Age.Baseline[i]}
		if i < len(exporters.AgeBounds) {
			bound := int64(exporters.AgeBounds[i])
			b.BelowNs = &bound
		}
		out.Age.Buckets[i] = b
	}
	for i, w := range m.Worst {
		out.Worst[i] = RecordEvents{
			Topic: w.Record.Topic, Partition: w.Record.Partition, Offset: w.Record.Offset, Events: w.Events, Reads: w.Reads,
			FirstSeen: nanos(w.First), LastSeen: nanos(w.Last), TraceID: traceText(w.TraceID),
		}
	}
	for i, o := range m.Oldest {
		out.Oldest[i] = EventAge{
			Event: o.ID.String(), Topic: o.Record.Topic, Partition: o.Record.Partition, Offset: o.Record.Offset, AgeNs: int64(o.Age),
			TraceID: traceText(o.TraceID), SpanID: spanText(o.SpanID),
		}
	}
	for i, d := range m.By {
		by := MessageDimension{Dimension: string(d.Dimension), Events: d.Events, Records: d.Records, Others: d.Others, Baseline: d.Baseline, Values: make([]MessageValue, len(d.Values))}
		for k, v := range d.Values {
			by.Values[k] = MessageValue{Topic: v.Topic, Value: v.Value, Events: v.Events, Records: v.Records, Baseline: v.Baseline}
		}
		out.By[i] = by
	}
	if m.Sample > 0 {
		out.Baseline = &MessageBaseline{Sample: m.Sample, From: nanos(m.BaselineFrom), To: nanos(m.BaselineTo)}
	}
	return out
}

// maxRecordTraces bounds the traces that a record's events are looked for in, as
// the contracts do.
const maxRecordTraces = 100

// recordDetail answers /records/{topic}/{partition}/{offset}.
func (h *Handler) recordDetail(ctx context.Context, q *query) (any, error) {
	ref, err := recordOfPath(q)
	if err != nil {
		return nil, err
	}
	// Its neighbours are looked for meanwhile.
	var near *NearRecords
	beside, besides := errgroup.WithContext(ctx)
	beside.Go(func() (err error) {
		if h.deps.Find == nil {
			return nil
		}
		around, err := h.deps.Find.NearRecords(besides, q.project.ID, ref)
		if err != nil {
			return fmt.Errorf("cannot find the records near %s: %w", finding.RecordName(ref), err)
		}
		near, _, err = h.place(besides, ref, &around)
		return err
	})
	out, err := h.ofRecord(ctx, q, ref)
	if errBeside := beside.Wait(); err == nil {
		err = errBeside
	}
	if err != nil {
		return nil, err
	}
	out.Near = near
	return *out, nil
}

// ofRecord is all of the answer but the neighbours.
func (h *Handler) ofRecord(ctx context.Context, q *query, ref schemas.RecordRef) (*RecordDetail, error) {
	rows, err := h.rowsOfRecord(ctx, q.project.ID, ref)
	if err != nil {
		return nil, err
	}
	out := RecordDetail{Topic: ref.Topic, Partition: ref.Partition, Offset: ref.Offset, Hops: []Hop{}, Traces: []string{}, Events: []RecordEvent{}, Issues: []Issue{}}
	hops := joinHops(rows)
	var traces []schemas.TraceID
	visit := func(id schemas.TraceID) {
		if !id.IsZero() && !slices.Contains(traces, id) && len(traces) < maxRecordTraces {
			traces = append(traces, id)
		}
	}
	for _, j := range hops {
		for _, m := range []*schemas.Message{j.Produce, j.Consume} {
			if m != nil {
				visit(m.TraceID)
			}
		}
	}
	var events []recordEvent
	ask, asking := errgroup.WithContext(ctx)
	ask.Go(func() error { return h.complete(asking, q.project.ID, hops, nil) })
	ask.Go(func() (err error) {
		events, err = h.eventsOfRecord(asking, q.project.ID, ref, rows, traces)
		return err
	})
	if err := ask.Wait(); err != nil {
		return nil, err
	}
	for _, j := range hops {
		out.Hops = append(out.Hops, hopJSON(j))
	}
	events, of, err := h.owned(ctx, q.project.ID, events)
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 && len(events) == 0 {
		return nil, errorf(http.StatusNotFound, "record_not_found",
			"its spans may not be sampled, not be here yet, or be deleted by retention; the offset is the record's own, not the committed one",
			"nothing is stored about record %s/%d@%d", clip(ref.Topic, 100), ref.Partition, ref.Offset)
	}
	for _, e := range events {
		visit(e.TraceID)
	}
	for _, id := range traces {
		out.Traces = append(out.Traces, id.String())
	}
	switch {
	case len(out.Hops) > 0 && len(traces) > 0:
		out.Journey = "/traces/" + traces[0].String() + "?row=" + out.Hops[0].ID
	case len(traces) > 0:
		out.Journey = "/traces/" + traces[0].String()
	}
	for i := range events {
		out.Events = append(out.Events, RecordEvent{Event: eventJSON(&events[i].Event), Issue: issueID(events[i].owner), FoundBy: events[i].foundBy})
	}
	if out.Issues, err = h.issuesOf(ctx, q, of); err != nil {
		return nil, err
	}
	describe(q, ref, hops, &out)
	return &out, nil
}

func recordOfPath(q *query) (schemas.RecordRef, error) {
	ref := schemas.RecordRef{Topic: q.path("topic")}
	partition, err := strconv.ParseInt(q.path("partition"), 10, 32)
	if err != nil || partition < 0 {
		return ref, badParameter("partition", q.path("partition"), "a partition's number")
	}
	if ref.Offset, err = strconv.ParseInt(q.path("offset"), 10, 64); err != nil || ref.Offset < 0 {
		return ref, badParameter("offset", q.path("offset"), "a record's offset")
	}
	if len(ref.Topic) > 249 { // Kafka's bound of a topic's name
		return ref, badParameter("topic", ref.Topic, "a topic's name")
	}
	ref.Partition = int32(partition) //nolint:gosec // parsed as 32 bits
	return ref, nil
}

// rowsOfRecord gives a record's rows, those of what was made of it after a failure,
// and those of a producer that was told no offset.
func (h *Handler) rowsOfRecord(ctx context.Context, project uint64, ref schemas.RecordRef) ([]schemas.Message, error) {
	refs := []schemas.RecordRef{ref}
	var rows, sentOn []schemas.Message
	both, asking := errgroup.WithContext(ctx)
	both.Go(func() (err error) {
		if rows, err = h.deps.Messages.MessagesOfRecords(asking, project, refs, maxRows); err != nil {
			return fmt.Errorf("cannot read record %s/%d/%d: %w", ref.Topic, ref.Partition, ref.Offset, err)
		}
		return nil
	})
	both.Go(func() (err error) {
		if sentOn, err = h.deps.Messages.MessagesSentOn(asking, project, refs, maxRows); err != nil {
			return fmt.Errorf("cannot read what was made of record %s/%d/%d: %w", ref.Topic, ref.Partition, ref.Offset, err)
		}
		return nil
	})
	if err := both.Wait(); err != nil {
		return nil, err
	}
	rows = slices.DeleteFunc(rows, func(m schemas.Message) bool { return m.Side == schemas.SideSettle })
	carried := map[schemas.SpanRef]bool{}
	var traces []schemas.TraceID
	produced := false
	for i := range rows {
		m := &rows[i]
		produced = produced || m.Side == schemas.SideProduce
		if c := (schemas.SpanRef{TraceID: m.CreationTrace, SpanID: m.CreationSpan}); m.Side.Reads() && !c.TraceID.IsZero() && !carried[c] {
			carried[c] = true
			if !slices.Contains(traces, c.TraceID) && len(traces) < maxRecordTraces {
				traces = append(traces, c.TraceID)
			}
		}
	}
	if !produced && len(traces) > 0 {
		others, err := h.deps.Messages.MessagesOfTraces(ctx, project, traces, maxRows)
		if err != nil {
			return nil, fmt.Errorf("cannot read what sent record %s/%d/%d: %w", ref.Topic, ref.Partition, ref.Offset, err)
		}
		for i := range others {
			if m := &others[i]; m.Side == schemas.SideProduce && m.Topic == ref.Topic && !hasRecord(m) && carried[contextOf(m)] {
				rows = append(rows, *m)
			}
		}
	}
	senders, err := h.sendersOf(ctx, project, sentOn)
	if err != nil {
		return nil, fmt.Errorf("cannot read what sent what was made of record %s/%d/%d: %w", ref.Topic, ref.Partition, ref.Offset, err)
	}
	return slices.Concat(rows, sentOn, senders), nil
}

// sendersOf gives the rows that sent the records of reader rows, where they are none
// of rows: a program that sends a failed record on tells its headers to who reads it,
// and seldom to its own span.
func (h *Handler) sendersOf(ctx context.Context, project uint64, rows []schemas.Message) ([]schemas.Message, error) {
	sent := map[schemas.RecordRef]bool{}
	for i := range rows {
		if m := &rows[i]; m.Side == schemas.SideProduce && hasRecord(m) {
			sent[m.Record()] = true
		}
	}
	carried := map[schemas.RecordRef][]schemas.SpanRef{}
	var refs []schemas.RecordRef
	for i := range rows {
		m := &rows[i]
		if !m.Side.Reads() || !hasRecord(m) || sent[m.Record()] {
			continue
		}
		if carried[m.Record()] == nil && len(refs) < maxRecordTraces {
			refs = append(refs, m.Record())
		}
		carried[m.Record()] = append(carried[m.Record()], schemas.SpanRef{TraceID: m.CreationTrace, SpanID: m.CreationSpan})
	}
	if len(refs) == 0 {
		return nil, nil
	}
	of, err := h.deps.Messages.MessagesOfRecords(ctx, project, refs, maxRows)
	if err != nil {
		return nil, err
	}
	// What has the same place since its topic was made anew is another record.
	return slices.DeleteFunc(of, func(m schemas.Message) bool {
		return m.Side != schemas.SideProduce || !slices.Contains(carried[m.Record()], contextOf(&m)) && !slices.Contains(carried[m.Record()], schemas.SpanRef{})
	}), nil
}

// recordEvent is an event with how it was found, and its issue.
type recordEvent struct {
	schemas.Event
	foundBy string
	owner   schemas.IssueID
}

// eventsOfRecord gives the events that name a record, and those that name none and
// happened in a span that processed it or below one.
func (h *Handler) eventsOfRecord(ctx context.Context, project uint64, ref schemas.RecordRef, rows []schemas.Message, traces []schemas.TraceID) ([]recordEvent, error) {
	told, err := h.deps.Joined.EventsOfRecord(ctx, project, ref, maxEvents)
	if err != nil {
		return nil, fmt.Errorf("cannot read the events of record %s/%d/%d: %w", ref.Topic, ref.Partition, ref.Offset, err)
	}
	out := make([]recordEvent, 0, len(told))
	seen := map[schemas.EventID]bool{}
	for _, e := range told {
		out, seen[e.ID] = append(out, recordEvent{Event: e, foundBy: "event"}), true
	}
	lost, err := h.eventsBelow(ctx, project, rows, traces)
	if err != nil {
		return nil, err
	}
	for _, e := range lost {
		if !seen[e.ID] {
			out, seen[e.ID] = append(out, recordEvent{Event: e, foundBy: "span"}), true
		}
	}
	slices.SortStableFunc(out, func(a, b recordEvent) int {
		return cmp.Or(cmp.Compare(b.Time, a.Time), slices.Compare(a.ID[:], b.ID[:]))
	})
	return out[:min(len(out), maxEvents)], nil
}

// eventsBelow gives the events that name no record and happened in the spans of
// these rows' readers, or below them.
func (h *Handler) eventsBelow(ctx context.Context, project uint64, rows []schemas.Message, traces []schemas.TraceID) ([]schemas.Event, error) {
	ours := readersOf(rows)
	if len(ours) == 0 || len(traces) == 0 {
		return nil, nil
	}
	events, err := h.deps.Events.EventsOfTraces(ctx, project, traces, maxEvents)
	if err != nil {
		return nil, fmt.Errorf("cannot read the events of %d traces: %w", len(traces), err)
	}
	events = slices.DeleteFunc(events, func(e schemas.Event) bool {
		return e.SpanID.IsZero() || e.Topic != "" && e.Partition != schemas.Unknown && e.Offset != schemas.Unknown
	})
	if len(events) == 0 {
		return nil, nil
	}
	all, err := h.deps.Messages.MessagesOfTraces(ctx, project, traces, maxRows)
	if err != nil {
		return nil, fmt.Errorf("cannot read the messages of %d traces: %w", len(traces), err)
	}
	spans, err := h.deps.Spans.Spans(ctx, project, traces, maxSpans)
	if err != nil {
		return nil, fmt.Errorf("cannot read the spans of %d traces: %w", len(traces), err)
	}
	readers, parents := readersOf(all), parentsOf(spans)
	return slices.DeleteFunc(events, func(e schemas.Event) bool {
		m := readerAbove(readers, parents, schemas.SpanRef{TraceID: e.TraceID, SpanID: e.SpanID})
		return m == nil || len(ours[schemas.SpanRef{TraceID: m.TraceID, SpanID: m.SpanID}]) == 0
	}), nil
}

// owned leaves out the events that were deleted with their issue, and gives the
// hashes of the others' issues.
func (h *Handler) owned(ctx context.Context, project uint64, events []recordEvent) ([]recordEvent, map[schemas.IssueID][]exporters.IssueHash, error) {
	if len(events) == 0 {
		return nil, nil, nil
	}
	var hashes []schemas.Fingerprint
	for i := range events {
		if f := events[i].Fingerprint; !slices.Contains(hashes, f) {
			hashes = append(hashes, f)
		}
	}
	owners, err := h.deps.Issues.IssuesOfHashes(ctx, project, hashes)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot find the issues of %d hashes: %w", len(hashes), err)
	}
	var ids []schemas.IssueID
	for _, id := range owners {
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	of, err := h.deps.Issues.IssueHashes(ctx, project, ids)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot list the hashes of %d issues: %w", len(ids), err)
	}
	kept := map[schemas.IssueID][]exporters.IssueHash{}
	events = slices.DeleteFunc(events, func(e recordEvent) bool {
		issue := oneIssue{set: exporters.EventSet{Hashes: of[owners[e.Fingerprint]]}}
		return !issue.has(&e.Event)
	})
	for i := range events {
		id := owners[events[i].Fingerprint]
		events[i].owner, kept[id] = id, of[id]
	}
	return events, kept, nil
}

// issuesOf reads issues, with the counts of their events.
func (h *Handler) issuesOf(ctx context.Context, q *query, of map[schemas.IssueID][]exporters.IssueHash) ([]Issue, error) {
	out := []Issue{}
	if len(of) == 0 {
		return out, nil
	}
	var ids []schemas.IssueID
	var sets []exporters.EventSet
	for id, hashes := range of {
		ids = append(ids, id)
		sets = append(sets, exporters.EventSet{Issue: id, Hashes: hashes})
	}
	issues, err := h.deps.Issues.Issues(ctx, exporters.IssueQuery{Project: q.project.ID, IDs: ids, Limit: len(ids)})
	if err != nil {
		return nil, fmt.Errorf("cannot read %d issues: %w", len(ids), err)
	}
	stats := map[schemas.IssueID]exporters.EventStats{}
	for len(sets) > 0 { // as many as one question takes
		n, hashes := 1, len(sets[0].Hashes)
		for n < len(sets) && hashes+len(sets[n].Hashes) <= exporters.MaxHashes {
			hashes += len(sets[n].Hashes)
			n++
		}
		some, err := h.deps.IssueEvents.StatsOf(ctx, q.project.ID, sets[:n], allTime(q.now))
		if err != nil {
			return nil, fmt.Errorf("cannot count the events of %d issues: %w", n, err)
		}
		maps.Copy(stats, some)
		sets = sets[n:]
	}
	for i := range issues {
		out = append(out, issueJSON(&issues[i], stats[issues[i].ID]))
	}
	return out, nil
}
