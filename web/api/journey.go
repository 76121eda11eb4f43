package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"

	"golang.org/x/sync/errgroup"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/instrumentation/messaging"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/web/api/finding"
)

// Limits of one journey. What lies beyond is left out and said.
const (
	maxTraces = 50
	maxSpans  = 10_000
	maxHops   = 2_000
	maxEvents = 500
	// maxRows bounds the message rows that are looked at to find maxHops hops.
	maxRows = 3 * maxHops
	// maxOwnRows bounds the rows of the traces themselves: a batch has a row a record.
	maxOwnRows = 20_000
	// maxRefs is what the contracts take at once.
	maxRefs = 1_000
	// batchShown is how many hops of one batch stand in a journey.
	batchShown = 3
	// maxBatchTopics bounds the topics that are named of one.
	maxBatchTopics = 10
)

// journeyWalk gathers the traces of a journey: first back to where its messages
// came from, then forward to all that came of them. It does not go back from
// what it found forward: a batch that read a thousand messages would pull in a
// thousand strangers.
type journeyWalk struct {
	h       *Handler
	project uint64
	traces  []schemas.TraceID
	visited map[schemas.TraceID]bool
	rows    map[rowKey]schemas.Message
	order   []rowKey
	records map[schemas.RecordRef]bool // asked
	refs    map[schemas.SpanRef]bool   // asked
	sentOn  map[schemas.RecordRef]bool // asked
	batches map[schemas.SpanRef]*Batch
	hops    []joined
	cut     map[string]int
	of      map[string]int // what there is of what was cut, where it was counted
	skip    int            // spans that an earlier page had
}

// fold takes the rows of batches out of those of traces: of the records that one
// span read those stay that were sent on the way to it. So a thousand strangers
// are neither shown nor followed.
func (w *journeyWalk) fold(own []schemas.Message) []schemas.Message {
	read := map[schemas.SpanRef]map[schemas.RecordRef]bool{}
	for i := range own {
		if m := &own[i]; m.Side.Reads() && hasRecord(m) {
			ref := schemas.SpanRef{TraceID: m.TraceID, SpanID: m.SpanID}
			if read[ref] == nil {
				read[ref] = map[schemas.RecordRef]bool{}
			}
			read[ref][m.Record()] = true
		}
	}
	sent, contexts := map[schemas.RecordRef]bool{}, map[schemas.SpanRef]bool{}
	note := func(m *schemas.Message) {
		if m.Side != schemas.SideProduce {
			return
		}
		if hasRecord(m) {
			sent[m.Record()] = true
		} else {
			contexts[contextOf(m)] = true
		}
	}
	several := slices.ContainsFunc(slices.Collect(maps.Values(read)), func(records map[schemas.RecordRef]bool) bool { return len(records) > 1 })
	if !several {
		return own
	}
	for _, key := range w.order {
		if m := w.rows[key]; w.visited[m.TraceID] {
			note(&m)
		}
	}
	for i := range own {
		note(&own[i])
	}
	out := own[:0]
	for i := range own {
		m := &own[i]
		ref := schemas.SpanRef{TraceID: m.TraceID, SpanID: m.SpanID}
		if !m.Side.Reads() || len(read[ref]) < 2 {
			out = append(out, *m)
			continue
		}
		b := w.batches[ref]
		if b == nil {
			b = &Batch{TraceID: ref.TraceID.String(), SpanID: ref.SpanID.String(), Service: m.Service, Records: len(read[ref]), Group: m.Group, Topics: []string{}}
			w.batches[ref] = b
		}
		if !slices.Contains(b.Topics, m.Topic) && len(b.Topics) < maxBatchTopics {
			b.Topics = append(b.Topics, m.Topic)
		}
		if sent[m.Record()] || contexts[schemas.SpanRef{TraceID: m.CreationTrace, SpanID: m.CreationSpan}] {
			out = append(out, *m)
		}
	}
	return out
}

type rowKey struct {
	span   schemas.SpanRef
	side   schemas.Side
	record schemas.RecordRef
	group  string
}

func (w *journeyWalk) add(rows []schemas.Message) {
	for i := range rows {
		m := &rows[i]
		key := rowKey{schemas.SpanRef{TraceID: m.TraceID, SpanID: m.SpanID}, m.Side, m.Record(), m.Group}
		if _, ok := w.rows[key]; ok {
			continue
		}
		if len(w.order) >= maxRows {
			w.cut["hops"] = maxHops
			return
		}
		w.rows[key] = *m
		w.order = append(w.order, key)
	}
}

// visit takes the traces that are new, as far as they fit.
func (w *journeyWalk) visit(ids []schemas.TraceID) []schemas.TraceID {
	var fresh []schemas.TraceID
	for _, id := range ids {
		if id.IsZero() || w.visited[id] {
			continue
		}
		if len(w.traces) >= maxTraces {
			w.cut["traces"] = maxTraces
			break
		}
		w.visited[id] = true
		w.traces = append(w.traces, id)
		fresh = append(fresh, id)
	}
	return fresh
}

// load fetches the rows of traces and, by their records and contexts, the rows
// of the other sides.
func (w *journeyWalk) load(ctx context.Context, ids []schemas.TraceID) error {
	own, err := w.h.deps.Messages.MessagesOfTraces(ctx, w.project, ids, maxOwnRows)
	if err != nil {
		return fmt.Errorf("cannot read the messages of %d traces: %w", len(ids), err)
	}
	if len(own) == maxOwnRows {
		w.cut["hops"] = maxHops
	}
	own = w.fold(own)
	w.add(own)
	var records, consumed []schemas.RecordRef
	add := func(r schemas.RecordRef) {
		if !w.records[r] {
			w.records[r] = true
			records = append(records, r)
		}
	}
	for i := range own {
		m := &own[i]
		if hasRecord(m) && m.Side != schemas.SideSettle {
			add(m.Record())
		}
		if r := m.Record(); m.Side.Reads() && hasRecord(m) && !w.sentOn[r] {
			w.sentOn[r] = true
			consumed = append(consumed, r)
		}
		if r, ok := m.Original(); ok {
			add(r)
		}
	}
	ask, ctx := errgroup.WithContext(ctx)
	var sentOn, ofRecords, read [][]schemas.Message
	// What was made of records that failed, where the trace does not lead there.
	ask.Go(func() (err error) {
		if sentOn, err = inChunks(ctx, w, consumed, w.h.deps.Messages.MessagesSentOn); err != nil {
			return fmt.Errorf("cannot read what was made of %d records: %w", len(consumed), err)
		}
		return nil
	})
	ask.Go(func() (err error) {
		if ofRecords, err = inChunks(ctx, w, records, w.h.deps.Messages.MessagesOfRecords); err != nil {
			return fmt.Errorf("cannot read the rows of %d records: %w", len(records), err)
		}
		return nil
	})
	// Readers that do not tell which record they read, whoever else told it; and those
	// of a producer that was told no offset.
	sends := w.sends(own)
	ask.Go(func() (err error) {
		if read, err = inChunks(ctx, w, sends, w.h.deps.Messages.MessagesFrom); err != nil {
			return fmt.Errorf("cannot read what %d spans sent: %w", len(sends), err)
		}
		return nil
	})
	if err := ask.Wait(); err != nil {
		return err
	}
	for _, rows := range slices.Concat(sentOn, ofRecords, read) {
		w.add(rows)
	}
	return nil
}

// fewOfBatches leaves of the hops of each batch the first ones, and counts them.
func (w *journeyWalk) fewOfBatches(hops []joined) []joined {
	return slices.DeleteFunc(hops, func(j joined) bool {
		if j.Consume == nil {
			return false
		}
		b := w.batches[schemas.SpanRef{TraceID: j.Consume.TraceID, SpanID: j.Consume.SpanID}]
		if b == nil {
			return false
		}
		if b.Shown >= batchShown {
			return true
		}
		b.Shown++
		return false
	})
}

// inChunks asks for refs, as many at once as the contracts take.
func inChunks[R any](ctx context.Context, w *journeyWalk, refs []R, ask func(context.Context, uint64, []R, int) ([]schemas.Message, error)) (out [][]schemas.Message, err error) {
	for chunk := range slices.Chunk(refs, maxRefs) {
		rows, err := ask(ctx, w.project, chunk, maxRows)
		if err != nil {
			return nil, err
		}
		out = append(out, rows)
	}
	return out, nil
}

// sends lists the contexts of what was sent, each once.
func (w *journeyWalk) sends(own []schemas.Message) (refs []schemas.SpanRef) {
	for i := range own {
		m := &own[i]
		if ref := contextOf(m); m.Side == schemas.SideProduce && !w.refs[ref] {
			w.refs[ref] = true
			refs = append(refs, ref)
		}
	}
	return refs
}

// walk runs both directions.
func (w *journeyWalk) walk(ctx context.Context, start schemas.TraceID) error {
	for frontier := w.visit([]schemas.TraceID{start}); len(frontier) > 0; {
		if err := w.load(ctx, frontier); err != nil {
			return err
		}
		frontier = w.visit(w.sources(frontier))
	}
	for frontier := slices.Clone(w.traces); len(frontier) > 0; {
		next := w.visit(w.readers(frontier))
		if len(next) > 0 {
			if err := w.load(ctx, next); err != nil {
				return err
			}
		}
		frontier = next
	}
	return nil
}

// sources are the traces that sent what these traces read.
func (w *journeyWalk) sources(ids []schemas.TraceID) []schemas.TraceID {
	var out []schemas.TraceID
	for _, j := range joinHops(w.all()) {
		if c := j.Consume; c != nil && slices.Contains(ids, c.TraceID) {
			if j.Produce != nil {
				out = append(out, j.Produce.TraceID)
			}
			out = append(out, c.CreationTrace)
			out = append(out, w.attempts(j, nil)...)
		}
	}
	return out
}

// attempts are the traces that a hop's record came through when it was sent on
// after a failure: of who sent it on, and of the record that failed first. Those
// are one record's, so they are followed in both directions.
func (w *journeyWalk) attempts(j joined, out []schemas.TraceID) []schemas.TraceID {
	original, ok := j.Consume.Original()
	if !ok {
		return out
	}
	if j.Produce != nil {
		out = append(out, j.Produce.TraceID)
	}
	for _, key := range w.order {
		if key.record == original && (key.side.Reads() || key.side == schemas.SideProduce) {
			out = append(out, key.span.TraceID)
		}
	}
	return out
}

// readers are the traces that read what these traces sent.
func (w *journeyWalk) readers(ids []schemas.TraceID) []schemas.TraceID {
	var out []schemas.TraceID
	read := map[schemas.RecordRef]bool{}
	for _, key := range w.order {
		if key.side.Reads() && slices.Contains(ids, key.span.TraceID) {
			read[key.record] = true
		}
	}
	for _, key := range w.order { // sent on to where nobody reads
		m := w.rows[key]
		if original, retried := m.Original(); retried && m.Side == schemas.SideProduce && read[original] {
			out = append(out, m.TraceID)
		}
	}
	for _, j := range joinHops(w.all()) {
		if c := j.Consume; c != nil {
			original, retried := c.Original()
			if j.Produce != nil && slices.Contains(ids, j.Produce.TraceID) || slices.Contains(ids, c.CreationTrace) || retried && read[original] {
				out = append(out, c.TraceID)
			}
			if slices.Contains(ids, c.TraceID) {
				out = w.attempts(j, out)
			}
		}
	}
	return out
}

func (w *journeyWalk) all() []schemas.Message {
	out := make([]schemas.Message, len(w.order))
	for i, key := range w.order {
		out[i] = w.rows[key]
	}
	return out
}

// join makes hops of the rows that the walk found, and completes them.
func (w *journeyWalk) join(ctx context.Context) error {
	all := w.all()
	hops := joinHops(all)
	hops = slices.DeleteFunc(hops, func(j joined) bool {
		// The other side's other rows: a record read or sent outside of the journey.
		return (j.Produce == nil || !w.visited[j.Produce.TraceID]) && (j.Consume == nil || !w.visited[j.Consume.TraceID])
	})
	hops = w.fewOfBatches(hops)
	if len(hops) > maxHops {
		w.of["hops"] = len(hops)
		hops = hops[:maxHops]
		w.cut["hops"] = maxHops
	}
	w.hops = hops
	return w.h.complete(ctx, w.project, hops, all)
}

// gather walks, joins what it found, and reads the spans and events of all traces on the
// way. Those of the first trace are read during the walk, which finds no other mostly.
func (w *journeyWalk) gather(ctx context.Context, id schemas.TraceID) (spans []schemas.Span, events []schemas.Event, err error) {
	read := func(ctx context.Context, ids []schemas.TraceID) (spans []schemas.Span, events []schemas.Event, err error) {
		ask, ctx := errgroup.WithContext(ctx)
		ask.Go(func() (err error) {
			if spans, err = w.h.deps.Spans.Spans(ctx, w.project, ids, maxSpans+1); err != nil {
				return fmt.Errorf("cannot read the spans of %d traces: %w", len(ids), err)
			}
			return nil
		})
		ask.Go(func() (err error) {
			if events, err = w.h.deps.Events.EventsOfTraces(ctx, w.project, ids, maxEvents+1); err != nil {
				return fmt.Errorf("cannot read the events of %d traces: %w", len(ids), err)
			}
			return nil
		})
		err = ask.Wait()
		return spans, events, err
	}
	var moreSpans []schemas.Span
	var moreEvents []schemas.Event
	both, walking := errgroup.WithContext(ctx)
	both.Go(func() error {
		if err := w.walk(walking, id); err != nil {
			return err
		}
		both.Go(func() error { return w.join(walking) })
		if others := w.traces[1:]; len(others) > 0 {
			both.Go(func() (err error) {
				moreSpans, moreEvents, err = read(walking, others)
				return err
			})
		}
		return nil
	})
	both.Go(func() (err error) {
		spans, events, err = read(walking, []schemas.TraceID{id})
		return err
	})
	if err := both.Wait(); err != nil {
		return nil, nil, err
	}
	if len(moreSpans)+len(moreEvents) > 0 {
		spans, events = append(spans, moreSpans...), append(events, moreEvents...)
		slices.SortStableFunc(spans, func(a, b schemas.Span) int { return cmp.Compare(a.Start, b.Start) })
	}
	if len(spans) > maxSpans || w.skip > 0 {
		if spans, err = w.page(ctx, spans); err != nil {
			return nil, nil, err
		}
	}
	if len(events) > maxEvents {
		events = events[:maxEvents]
		w.cut["events"] = maxEvents
	}
	return spans, events, nil
}

// page counts the spans of a journey that is larger than one answer, and reads
// those behind the ones that an earlier page had.
func (w *journeyWalk) page(ctx context.Context, first []schemas.Span) ([]schemas.Span, error) {
	total, err := w.h.deps.Spans.CountSpans(ctx, w.project, w.traces)
	if err != nil {
		return nil, fmt.Errorf("cannot count the spans of %d traces: %w", len(w.traces), err)
	}
	if w.of["spans"] = int(min(total, math.MaxInt32)); w.of["spans"] > maxSpans { //nolint:gosec // bounded
		w.cut["spans"] = maxSpans
	}
	if w.skip == 0 {
		return first[:min(len(first), maxSpans)], nil
	}
	spans, err := w.h.deps.Spans.SpansAfter(ctx, w.project, w.traces, w.skip, maxSpans)
	if err != nil {
		return nil, fmt.Errorf("cannot read the spans of %d traces from %d on: %w", len(w.traces), w.skip, err)
	}
	return spans, nil
}

// journey answers /traces/{id}.
func (h *Handler) journey(ctx context.Context, q *query) (any, error) {
	id, err := schemas.ParseTraceID(q.path("id"))
	if err != nil || id.IsZero() {
		return nil, badParameter("id", q.path("id"), "32 hex digits, not all zero")
	}
	w := &journeyWalk{
		h: h, project: q.project.ID, visited: map[schemas.TraceID]bool{}, rows: map[rowKey]schemas.Message{},
		records: map[schemas.RecordRef]bool{}, refs: map[schemas.SpanRef]bool{}, sentOn: map[schemas.RecordRef]bool{}, batches: map[schemas.SpanRef]*Batch{}, cut: map[string]int{}, of: map[string]int{}, skip: q.skip(),
	}
	if q.fault != nil {
		return nil, q.fault
	}
	spans, events, err := w.gather(ctx, id)
	if err != nil {
		return nil, err
	}
	hops := w.hops
	if len(spans) == 0 && len(hops) == 0 && w.of["spans"] == 0 {
		return nil, errorf(http.StatusNotFound, "trace_not_found",
			"spans appear a second or two after they end; old ones are deleted by retention", "no span of trace %s is stored", id)
	}
	if len(w.cut) > 0 {
		h.metrics.cut.Inc()
	}
	refs, err := h.eventRefs(ctx, q.project.ID, events)
	if err != nil {
		return nil, err
	}
	return journeyJSON(id, w, spans, hops, refs), nil
}

// eventRefs gives events the issues that have their hashes now, and their titles.
func (h *Handler) eventRefs(ctx context.Context, project uint64, events []schemas.Event) ([]EventRef, error) {
	titles := map[schemas.IssueID]string{}
	var hashes []schemas.Fingerprint
	for i := range events {
		if !slices.Contains(hashes, events[i].Fingerprint) {
			hashes = append(hashes, events[i].Fingerprint)
		}
	}
	owners, err := h.deps.Issues.IssuesOfHashes(ctx, project, hashes)
	if err != nil {
		return nil, fmt.Errorf("cannot find the issues of %d hashes: %w", len(hashes), err)
	}
	out := make([]EventRef, 0, len(events))
	for i := range events {
		e := &events[i]
		if owner, ok := owners[e.Fingerprint]; ok {
			e.Issue = owner
		}
		title, ok := titles[e.Issue]
		if !ok {
			issue, err := h.deps.Issues.Issue(ctx, project, e.Issue)
			if err != nil && !errors.Is(err, exporters.ErrNotFound) {
				return nil, fmt.Errorf("cannot read issue %d: %w", e.Issue, err)
			}
			if title = issue.Title; title == "" {
				title = eventTitle(e)
			}
			titles[e.Issue] = title
		}
		ref := EventRef{
			ID: e.ID.String(), Issue: issueID(e.Issue), Title: title, Culprit: e.Culprit, Level: e.Level, Time: nanos(e.Time),
			TraceID: traceText(e.TraceID), SpanID: spanText(e.SpanID), Topic: e.Topic, Group: e.Group,
		}
		if e.Topic != "" {
			ref.Partition, ref.Offset = told(e.Partition), told(e.Offset)
		}
		out = append(out, ref)
	}
	slices.SortStableFunc(out, func(a, b EventRef) int { return compareNanos(a.Time, b.Time) })
	return out, nil
}

func eventTitle(e *schemas.Event) string {
	switch {
	case e.Type != "" && e.Value != "":
		return e.Type + ": " + e.Value
	case e.Type != "":
		return e.Type
	case e.Value != "":
		return e.Value
	}
	return "an event without message"
}

func journeyJSON(id schemas.TraceID, w *journeyWalk, spans []schemas.Span, hops []joined, events []EventRef) Journey {
	out := Journey{
		TraceID: id.String(), Traces: make([]string, len(w.traces)), Services: []string{}, Spans: make([]Span, len(spans)),
		Hops: make([]Hop, len(hops)), Skipped: w.skip, Events: events, Batches: make([]Batch, 0, len(w.batches)), Cut: []Cut{},
	}
	for _, b := range w.batches {
		out.Batches = append(out.Batches, *b)
	}
	slices.SortFunc(out.Batches, func(a, b Batch) int {
		return cmp.Or(cmp.Compare(b.Records, a.Records), cmp.Compare(a.SpanID, b.SpanID))
	})
	for i, t := range w.traces {
		out.Traces[i] = t.String()
	}
	facts := finding.Journey{Cut: len(w.cut) > 0, Skipped: w.skip, Shown: len(spans), Spans: w.of["spans"]}
	for i := range out.Batches {
		b := &out.Batches[i]
		at := slices.IndexFunc(spans, func(s schemas.Span) bool { return s.SpanID.String() == b.SpanID && s.TraceID.String() == b.TraceID })
		if at < 0 {
			continue
		}
		if text, ok := schemas.Lookup(spans[at].Attributes, messaging.AttrBatchMessageCount); ok {
			if n, err := strconv.Atoi(text); err == nil && n > b.Records {
				b.Told = &n
			}
		}
	}
	services := map[string]bool{}
	var start, end, rootStart int64
	hasRoot := false
	reach := func(from, to int64) {
		if from != 0 && (start == 0 || from < start) {
			start = from
		}
		end = max(end, to)
	}
	placed := onOneClock(spans, hops)
	for i := range spans {
		out.Spans[i] = spanJSON(&spans[i])
		s := &placed[i]
		out.Spans[i].MovedNs = s.Start - spans[i].Start
		reach(s.Start, s.End)
		services[s.Service] = true
		if s.Status == schemas.StatusError {
			facts.Failed++
		}
		// A consumer's span may start before the root: it was waiting already.
		root := s.ParentID.IsZero()
		if facts.Root == "" || root && (!hasRoot || s.Start < rootStart) {
			facts.Root, facts.Service, rootStart, hasRoot = s.Name, s.Service, s.Start, root
		}
	}
	totals := map[string]*PartTotal{}
	for i := range hops {
		hop := hops[i].Hop
		out.Hops[i] = hopJSON(hops[i])
		drawn := hops[i].placed()
		reach(hopStart(drawn), hopEnd(drawn))
		facts.Hops = append(facts.Hops, findingHop(hops[i]))
		for _, side := range []*schemas.Message{hop.Produce, hop.Consume} {
			if side != nil {
				services[side.Service] = true
			}
		}
		parts := out.Hops[i].Parts
		if s := out.Hops[i].Settle; s != nil {
			parts = append(slices.Clip(parts), *s)
		}
		for _, p := range parts {
			t := totals[p.Name]
			if t == nil {
				t = &PartTotal{Name: p.Name}
				totals[p.Name] = t
			}
			if p.Known {
				t.Known++
				t.Ns += p.Ns
				if p.Ns < 0 {
					t.Negative++
				}
			} else if hop.Consume != nil {
				t.Unknown++
			}
		}
	}
	for _, name := range append(slices.Clip(partOrder), partSettle) {
		if t := totals[string(name)]; t != nil {
			out.Totals = append(out.Totals, *t)
		}
	}
	out.Totals = some(out.Totals)
	delete(services, "")
	for s := range services {
		out.Services = append(out.Services, s)
	}
	slices.Sort(out.Services)
	for _, what := range []string{"traces", "spans", "hops", "events"} {
		if limit, ok := w.cut[what]; ok {
			c := Cut{What: what, Limit: limit}
			if of := w.of[what]; of > limit {
				c.Of = &of
			}
			out.Cut = append(out.Cut, c)
		}
	}
	out.Start, out.End, out.DurationNs = nanos(start), nanos(end), end-start
	if facts.Root == "" {
		facts.Root = "a message"
	}
	facts.Start, facts.Duration, facts.Services = start, duration(end-start), len(services)
	for _, e := range events {
		facts.Errors = append(facts.Errors, finding.Error{Title: e.Title, Href: "/issues/" + e.Issue + "/events/" + e.ID})
	}
	out.Critical = criticalPath(placed, hops, out.Hops, out.Batches)
	facts.Path = pathFacts(out.Critical)
	for _, b := range out.Batches {
		records := b.Records
		if b.Told != nil {
			records = *b.Told
		}
		facts.Batches = append(facts.Batches, finding.Batch{SpanID: b.SpanID, Records: records, Group: b.Group, Topic: b.Topics[0], Service: b.Service})
	}
	out.Finding = finding.ForJourney(facts)
	return out
}

// partOrder is the parts in time order.
var partOrder = []exporters.PartName{
	exporters.PartBatchQueue, exporters.PartRetry, exporters.PartAck, exporters.PartBacklog,
	exporters.PartLongPoll, exporters.PartFetchQueue, exporters.PartProcessing,
}
