package api

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"golang.org/x/sync/errgroup"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/internal/find"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/web/api/finding"
)

// Found is what answers to a look-up.
type Found struct {
	Finding finding.Finding `json:"finding"`
	Query   string          `json:"query"`
	Looked  []Looked        `json:"looked"`
	// To is the path of the UI that shows the answer; empty unless there is one.
	To      string        `json:"to"`
	Records []FoundRecord `json:"records"` // newest first
	Traces  []string      `json:"traces"`  // ids
	Spans   []FoundSpan   `json:"spans"`   // newest first
	Near    *NearRecords  `json:"near"`    // when a record was looked for and is not stored
	Next    *int          `json:"next"`    // value of skip for the next page
}

// Looked is one thing that the query was taken for.
type Looked struct {
	Kind  string `json:"kind"` // record, trace, span, id, conversation, key
	Value string `json:"value"`
}

// FoundRecord is one record, or one span's row whose record nobody told.
type FoundRecord struct {
	Topic     string   `json:"topic"`
	Partition *int32   `json:"partition"`
	Offset    *int64   `json:"offset"`
	First     Nanos    `json:"first"` // begin of the first span about it
	Last      Nanos    `json:"last"`  // end of the last
	Producer  string   `json:"producer"`
	Sent      bool     `json:"sent"` // its producer's span is stored
	Groups    []string `json:"groups"`
	Reads     uint64   `json:"reads"`
	Failed    bool     `json:"failed"`
	TraceID   string   `json:"traceId"`
	SpanID    string   `json:"spanId"`
	KeyHash   *string  `json:"keyHash"`
	MessageID string   `json:"messageId"` // empty when not told
	By        []string `json:"by"`        // what it was found by: record, id, conversation, key, span
	Href      string   `json:"href"`      // path of the UI
}

// FoundSpan is a span that answers.
type FoundSpan struct {
	TraceID    string `json:"traceId"`
	SpanID     string `json:"spanId"`
	Name       string `json:"name"`
	Service    string `json:"service"`
	Start      Nanos  `json:"start"`
	DurationNs int64  `json:"durationNs"`
	Failed     bool   `json:"failed"`
	By         string `json:"by"`
	Href       string `json:"href"`
}

// NearRecords are the stored neighbours of a record.
type NearRecords struct {
	Before   *FoundRecord `json:"before"`
	After    *FoundRecord `json:"after"`
	LogStart *int64       `json:"logStart"` // of the partition; null when no watched cluster has it
	LogEnd   *int64       `json:"logEnd"`
}

// finder answers one look-up.
type finder struct {
	h       *Handler
	project uint64
	q       find.Query
	r       exporters.Range
	limit   int
	skip    int

	// Of the record that is looked for: what lies around it, and whether it is stored,
	// if only by events that name it.
	near   exporters.NearRecords
	record bool
	trace  bool
	// By kind, in the order of kinds.
	records map[exporters.FindBy][]exporters.FoundRecord
	spans   []FoundSpan
}

// findKinds are the look-ups in rows, the surest first.
var findKinds = []exporters.FindBy{exporters.FindByMessageID, exporters.FindByConversation, exporters.FindByKey, exporters.FindBySpan}

// maxSkip bounds how deep a list is paged.
const maxSkip = 10_000

// find answers /find.
func (h *Handler) find(ctx context.Context, q *query) (any, error) {
	want, err := find.Parse(q.text("q"))
	if err != nil {
		q.refuse("q", q.text("q"), err.Error())
	}
	f := &finder{h: h, project: q.project.ID, q: want, r: q.timeRange(), limit: q.limit(50), records: map[exporters.FindBy][]exporters.FoundRecord{}}
	if s := q.text("skip"); s != "" {
		if f.skip, err = strconv.Atoi(s); err != nil || f.skip < 0 || f.skip > maxSkip {
			q.refuse("skip", s, "what the last page gave as next: a whole number up to "+strconv.Itoa(maxSkip))
		}
	}
	if q.fault != nil {
		return nil, q.fault
	}
	if h.deps.Find == nil {
		return nil, errorf(http.StatusNotImplemented, "not_here", "ask a server with the store", "this server cannot look things up")
	}
	if err := f.look(ctx); err != nil {
		return nil, err
	}
	out := Found{Query: q.text("q"), Looked: f.looked(), Records: []FoundRecord{}, Traces: []string{}, Spans: some(f.spans)}
	more := f.merge(&out)
	facts := finding.Find{
		Query: clip(q.text("q"), 80), Looked: f.words(), Records: len(out.Records), Traces: len(out.Traces), Spans: len(out.Spans), More: more,
		Ranged: !f.r.From.IsZero(), BySpans: len(f.records) == 0 && len(f.spans) > 0 && f.spans[0].By != string(exporters.FindBySpan),
	}
	if want.Record != nil && !f.record {
		if out.Near, facts.Place, err = h.place(ctx, *want.Record, &f.near); err != nil {
			return nil, err
		}
	}
	if more && f.skip+f.limit <= maxSkip {
		next := f.skip + f.limit
		out.Next = &next
	}
	out.To = to(&out, f.skip)
	out.Finding = finding.ForFind(facts)
	return out, nil
}

// to is where the only answer is shown.
func to(out *Found, skip int) string {
	switch {
	case skip > 0 || out.Next != nil:
	case len(out.Records) == 1 && len(out.Traces)+len(out.Spans) == 0:
		return out.Records[0].Href
	case len(out.Records) == 0 && len(out.Traces) == 1:
		if spans := out.Spans; len(spans) == 1 && spans[0].TraceID == out.Traces[0] {
			return spans[0].Href
		} else if len(spans) == 0 {
			return "/traces/" + out.Traces[0]
		}
	case len(out.Records)+len(out.Traces) == 0 && len(out.Spans) == 1:
		return out.Spans[0].Href
	}
	return ""
}

// look asks for all that the query may be.
func (f *finder) look(ctx context.Context) error {
	ask, asking := errgroup.WithContext(ctx)
	if r := f.q.Record; r != nil {
		ask.Go(func() (err error) {
			f.near, f.record, err = f.h.aroundRecord(asking, f.project, *r)
			return err
		})
	}
	if id := f.q.Trace; id != nil {
		ask.Go(func() error {
			spans, err := f.h.deps.Spans.Spans(asking, f.project, []schemas.TraceID{*id}, 1)
			if err != nil {
				return fmt.Errorf("cannot read trace %s: %w", id, err)
			}
			f.trace = len(spans) > 0
			return nil
		})
	}
	found := make([][]exporters.FoundRecord, len(findKinds))
	for i, by := range findKinds {
		if !f.asks(by) {
			continue
		}
		ask.Go(func() (err error) {
			if found[i], err = f.h.deps.Find.FindRecords(asking, f.query(by, 1)); err != nil {
				return fmt.Errorf("cannot look records up by %s: %w", by, err)
			}
			return nil
		})
	}
	var spans []schemas.Span
	if f.q.Span != nil && f.skip == 0 {
		ask.Go(func() (err error) {
			if spans, err = f.h.deps.Find.FindSpans(asking, f.query(exporters.FindBySpan, 0)); err != nil {
				return fmt.Errorf("cannot look span %s up: %w", f.q.Span, err)
			}
			return nil
		})
	}
	if err := ask.Wait(); err != nil {
		return err
	}
	for i, by := range findKinds {
		if len(found[i]) > 0 {
			f.records[by] = found[i]
		}
	}
	f.add(exporters.FindBySpan, spans)
	if f.record || f.trace || len(f.records) > 0 || len(f.spans) > 0 || f.skip > 0 {
		return nil
	}
	// Rows from before they held names, and what made no row.
	for _, by := range []exporters.FindBy{exporters.FindByMessageID, exporters.FindByConversation} {
		if !f.asks(by) {
			continue
		}
		spans, err := f.h.deps.Find.FindSpans(ctx, f.query(by, 0))
		if err != nil {
			return fmt.Errorf("cannot look spans up by %s: %w", by, err)
		}
		f.add(by, spans)
	}
	return nil
}

func (f *finder) asks(by exporters.FindBy) bool {
	switch by {
	case exporters.FindByMessageID:
		return f.q.ID != ""
	case exporters.FindByConversation:
		return f.q.Conversation != ""
	case exporters.FindByKey:
		return len(f.q.Keys) > 0
	}
	return f.q.Span != nil
}

func (f *finder) query(by exporters.FindBy, further int) exporters.FindQuery {
	q := exporters.FindQuery{Project: f.project, Range: f.r, By: by, Keys: f.q.Keys, Skip: f.skip, Limit: min(f.limit+further, most)}
	switch by {
	case exporters.FindByMessageID:
		q.Text = f.q.ID
	case exporters.FindByConversation:
		q.Text = f.q.Conversation
	case exporters.FindBySpan:
		q.Span = *f.q.Span
	}
	return q
}

func (f *finder) add(by exporters.FindBy, spans []schemas.Span) {
	for i := range spans {
		s := &spans[i]
		if f.q.Trace != nil && by == exporters.FindBySpan && s.TraceID != *f.q.Trace {
			continue // a traceparent names both
		}
		f.spans = append(f.spans, FoundSpan{
			TraceID: s.TraceID.String(), SpanID: s.SpanID.String(), Name: s.Name, Service: s.Service, Start: nanos(s.Start), DurationNs: s.End - s.Start,
			Failed: s.Status == schemas.StatusError, By: string(by), Href: "/traces/" + s.TraceID.String() + "?row=" + s.SpanID.String(),
		})
	}
}

// merge puts what was found by several ways into one list, each record once, and tells
// whether there are more.
func (f *finder) merge(out *Found) (more bool) {
	if f.record && f.skip == 0 {
		r := exporters.FoundRecord{Record: *f.q.Record} // of which events alone are stored
		if f.near.Record != nil {
			r = *f.near.Record
		}
		found := foundJSON(&r)
		found.By = append(found.By, "record")
		out.Records = append(out.Records, found)
	}
	if f.trace && f.skip == 0 {
		out.Traces = append(out.Traces, f.q.Trace.String())
	}
	at := map[string]int{}
	for i := range out.Records {
		at[out.Records[i].Href] = i
	}
	for _, by := range findKinds {
		list := f.records[by]
		if len(list) > f.limit {
			list, more = list[:f.limit], true
		}
		for i := range list {
			r := foundJSON(&list[i])
			n, ok := at[r.Href]
			if !ok {
				n, at[r.Href] = len(out.Records), len(out.Records)
				out.Records = append(out.Records, r)
			}
			if out.Records[n].Last == nanos(0) {
				r.By = out.Records[n].By
				out.Records[n] = r
			}
			out.Records[n].By = append(out.Records[n].By, string(by))
		}
	}
	slices.SortStableFunc(out.Records, func(a, b FoundRecord) int { return compareNanos(b.Last, a.Last) })
	return more
}

func foundJSON(r *exporters.FoundRecord) FoundRecord {
	out := FoundRecord{
		Topic: r.Record.Topic, Partition: told(r.Record.Partition), Offset: told(r.Record.Offset), First: nanos(r.First), Last: nanos(r.Last),
		Producer: r.Producer, Sent: r.Sent, Groups: some(r.Groups), Reads: r.Reads, Failed: r.Failed, MessageID: r.MessageID,
		TraceID: traceText(r.Span.TraceID), SpanID: spanText(r.Span.SpanID), By: []string{},
	}
	if r.KeyHash != 0 {
		hash := fmt.Sprintf("%016x", r.KeyHash)
		out.KeyHash = &hash
	}
	out.Href = "/traces/" + out.TraceID + "?row=" + out.SpanID
	if r.Record.Partition >= 0 && r.Record.Offset >= 0 {
		out.Href = finding.RecordHref(r.Record)
	}
	return out
}

// looked lists what the query was taken for.
func (f *finder) looked() []Looked {
	out := []Looked{}
	add := func(kind, value string) { out = append(out, Looked{kind, value}) }
	if r := f.q.Record; r != nil {
		add("record", finding.RecordName(*r))
	}
	if f.q.Trace != nil {
		add("trace", f.q.Trace.String())
	}
	if f.q.Span != nil {
		add("span", f.q.Span.String())
	}
	if f.q.ID != "" {
		add("id", f.q.ID)
	}
	if f.q.Conversation != "" {
		add("conversation", f.q.Conversation)
	}
	for _, k := range f.q.Keys {
		add("key", fmt.Sprintf("%016x", k))
	}
	return out
}

// lookedWords are the kinds as a sentence names them.
var lookedWords = map[string]string{
	"record": "a record", "trace": "a trace id", "span": "a span id", "id": "a message id", "conversation": "a conversation id", "key": "a record's key",
}

func (f *finder) words() []string {
	var out []string
	for _, l := range f.looked() {
		if w := lookedWords[l.Kind]; !slices.Contains(out, w) {
			out = append(out, w)
		}
	}
	return out
}

// aroundRecord reads a record and its neighbours, and tells whether anything about the
// record is stored.
func (h *Handler) aroundRecord(ctx context.Context, project uint64, ref schemas.RecordRef) (near exporters.NearRecords, stored bool, err error) {
	if near, err = h.deps.Find.NearRecords(ctx, project, ref); err != nil {
		return near, false, fmt.Errorf("cannot read record %s and those near it: %w", finding.RecordName(ref), err)
	}
	if near.Record != nil {
		return near, true, nil
	}
	events, err := h.deps.Joined.EventsOfRecord(ctx, project, ref, 1)
	if err != nil {
		return near, false, fmt.Errorf("cannot read the events of record %s: %w", finding.RecordName(ref), err)
	}
	return near, len(events) > 0, nil
}

// place tells what lies around a record.
func (h *Handler) place(ctx context.Context, ref schemas.RecordRef, near *exporters.NearRecords) (_ *NearRecords, _ *finding.Place, err error) {
	out := &NearRecords{}
	place := &finding.Place{Record: ref, Topic: near.Topic, Before: schemas.Unknown, After: schemas.Unknown, LogStart: schemas.Unknown, LogEnd: schemas.Unknown}
	if near.Before != nil {
		r := foundJSON(near.Before)
		out.Before, place.Before = &r, near.Before.Record.Offset
	}
	if near.After != nil {
		r := foundJSON(near.After)
		out.After, place.After = &r, near.After.Record.Offset
	}
	if place.LogStart, place.LogEnd, err = h.logOf(ctx, ref); err != nil {
		return nil, nil, err
	}
	out.LogStart, out.LogEnd = told(place.LogStart), told(place.LogEnd)
	return out, place, nil
}

// logOf is where the log of a record's partition begins and ends, of the only watched
// cluster that has it.
func (h *Handler) logOf(ctx context.Context, ref schemas.RecordRef) (start, end int64, err error) {
	start, end = schemas.Unknown, schemas.Unknown
	if h.deps.Lag == nil {
		return start, end, nil
	}
	report, err := h.deps.Lag.Lag(ctx)
	if err != nil {
		return start, end, fmt.Errorf("cannot read where the log of %s/%d ends: %w", ref.Topic, ref.Partition, err)
	}
	clusters := 0
	for i := range report.Clusters {
		has := false
		for _, g := range report.Clusters[i].Groups {
			for _, t := range g.Topics {
				for _, p := range t.Partitions {
					if t.Topic == ref.Topic && p.Partition == ref.Partition {
						start, end, has = max(start, p.LogStart), max(end, p.LogEnd), true
					}
				}
			}
		}
		if has {
			clusters++
		}
	}
	if clusters > 1 {
		return schemas.Unknown, schemas.Unknown, nil // which one's offset it is, nobody told
	}
	return start, end, nil
}

// RecordLife is one of the records that have had the same coordinates.
type RecordLife struct {
	Sent      *Nanos   `json:"sent"`      // by its producer
	Timestamp *Nanos   `json:"timestamp"` // the record's own
	Producer  string   `json:"producer"`  // service; empty when not told
	TraceID   string   `json:"traceId"`   // of the context that it carried; empty when not told
	Hops      []string `json:"hops"`      // ids
	MessageID string   `json:"messageId"` // empty when not told
	// Conversation is what messages share that belong together; empty when not told.
	Conversation string `json:"conversation"`
	first        int64
	contexts     map[schemas.SpanRef]bool
	stamps       map[int64]bool
}

// livesOf tells the records apart that have had one place: a topic that was deleted
// and made anew repeats its offsets. What carried the same context, or has the
// same time of its own, is one record. The newest comes first.
func livesOf(ref schemas.RecordRef, hops []joined) []RecordLife {
	var lives []*RecordLife
	var lost []int
	join := func(i int, context schemas.SpanRef, stamp int64) {
		var into *RecordLife
		kept := lives[:0]
		for _, l := range lives {
			switch {
			case !l.contexts[context] && !l.stamps[stamp]:
				kept = append(kept, l)
			case into == nil:
				into = l
				kept = append(kept, l)
			default: // this hop tells that the two are one
				into.take(l)
			}
		}
		if lives = kept; into == nil {
			into = &RecordLife{contexts: map[schemas.SpanRef]bool{}, stamps: map[int64]bool{}}
			lives = append(lives, into)
		}
		if context != (schemas.SpanRef{}) {
			into.contexts[context] = true
		}
		if stamp != 0 {
			into.stamps[stamp] = true
		}
		into.note(&hops[i])
	}
	for i := range hops {
		if !ownHop(ref, &hops[i]) {
			continue
		}
		var context schemas.SpanRef
		var stamp int64
		if p := hops[i].Produce; p != nil {
			context, stamp = contextOf(p), p.RecordTime
		}
		if c := hops[i].Consume; c != nil {
			if !c.CreationSpan.IsZero() {
				context = schemas.SpanRef{TraceID: c.CreationTrace, SpanID: c.CreationSpan}
			}
			stamp = cmp.Or(c.RecordTime, stamp)
		}
		if context == (schemas.SpanRef{}) && stamp == 0 {
			lost = append(lost, i)
			continue
		}
		join(i, context, stamp)
	}
	for _, i := range lost { // the last that began before it
		var best *RecordLife
		for _, l := range lives {
			if best == nil || l.first <= hopStart(hops[i].Hop) && (l.first > best.first || best.first > hopStart(hops[i].Hop)) {
				best = l
			}
		}
		if best == nil {
			best = &RecordLife{}
			lives = append(lives, best)
		}
		best.note(&hops[i])
	}
	out := make([]RecordLife, len(lives))
	for i, l := range lives {
		out[i] = *l
	}
	slices.SortStableFunc(out, func(a, b RecordLife) int { return cmp.Compare(b.first, a.first) })
	return out
}

// ownHop tells that the hop is the record's, and not of what was made of it.
func ownHop(ref schemas.RecordRef, j *joined) bool {
	m := record(j.Hop)
	return m.Topic == ref.Topic && (!hasRecord(m) || m.Record() == ref)
}

func (l *RecordLife) note(j *joined) {
	h := j.Hop
	l.Hops = append(l.Hops, hopID(h))
	if at := hopStart(h); l.first == 0 || at < l.first {
		l.first = at
	}
	for _, m := range []*schemas.Message{h.Produce, h.Consume} {
		if m == nil {
			continue
		}
		l.MessageID, l.Conversation = cmp.Or(l.MessageID, m.MessageID), cmp.Or(l.Conversation, m.Conversation)
		if m.RecordTime != 0 {
			l.Timestamp = known(m.RecordTime)
		}
		if m.Side == schemas.SideProduce {
			l.Sent, l.Producer, l.TraceID = known(m.Start), cmp.Or(m.Service, l.Producer), contextOf(m).TraceID.String()
		} else if l.TraceID == "" {
			l.TraceID = traceText(m.CreationTrace)
		}
	}
}

func (l *RecordLife) take(o *RecordLife) {
	l.Hops = append(l.Hops, o.Hops...)
	for c := range o.contexts {
		l.contexts[c] = true
	}
	for s := range o.stamps {
		l.stamps[s] = true
	}
	l.first = min(l.first, o.first)
	l.Sent, l.Timestamp = cmp.Or(l.Sent, o.Sent), cmp.Or(l.Timestamp, o.Timestamp)
	l.Producer, l.TraceID = cmp.Or(l.Producer, o.Producer), cmp.Or(l.TraceID, o.TraceID)
	l.MessageID, l.Conversation = cmp.Or(l.MessageID, o.MessageID), cmp.Or(l.Conversation, o.Conversation)
}

// describe says what became of the record, and tells apart who had its place.
func describe(q *query, ref schemas.RecordRef, hops []joined, out *RecordDetail) {
	out.Lives = livesOf(ref, hops)
	facts := finding.Record{Record: ref, Now: q.now, Others: max(0, len(out.Lives)-1), Issues: len(out.Issues), Behind: schemas.Unknown}
	again := map[schemas.RecordRef]bool{}
	for i := range hops {
		j := &hops[i]
		m := record(j.Hop)
		if !ownHop(ref, j) {
			if original, ok := m.Original(); ok && original == ref && hasRecord(m) {
				again[m.Record()] = true
				if isDeadLetter(m.Topic) {
					r := m.Record()
					facts.Dead = &r
				}
			}
			continue
		}
		if len(out.Lives) > 1 && !slices.Contains(out.Lives[0].Hops, hopID(j.Hop)) {
			continue
		}
		if p := j.Produce; p != nil && facts.Sent == 0 {
			facts.Sent = p.Start
		}
		if c := j.Consume; c != nil {
			facts.Readers = append(facts.Readers, finding.Reader{Service: c.Service, Group: c.Group, EndToEnd: j.parts().EndToEnd, Failed: c.Failed, Delivery: j.delivery})
			facts.Behind = behind(j.Hop)
		}
	}
	facts.Again = len(again)
	out.Finding = finding.ForRecord(facts)
}
