package api

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/internal/search"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/web/api/finding"
)

// joined is a hop with what a list of hops needs to tell it apart.
type joined struct {
	schemas.Hop
	delivery int
	gap      string    // why clock is nil for a hop of two hosts; empty otherwise
	clock    *hopClock // nil unless samples tell how two hosts' clocks differ
	moved    rowsMoved // in a journey on one clock
	inRetry  schemas.Part
}

// joinHops makes hops of message rows: one a consumer row, and one a producer
// row that nobody was seen to read. Rows meet by record coordinates; where one
// side was told none, by the context that the record carried. The result is
// ordered by time.
func joinHops(rows []schemas.Message) []joined {
	produced := map[schemas.RecordRef][]*schemas.Message{}
	sent := map[schemas.SpanRef][]*schemas.Message{}
	told := map[schemas.SpanRef]bool{} // contexts that a send row of another span names
	for i := range rows {
		if m := &rows[i]; m.Side == schemas.SideProduce && !m.CreationSpan.IsZero() {
			told[contextOf(m)] = true
		}
	}
	// A create row that tells no record is the same one as its send row.
	isSend := func(m *schemas.Message) bool {
		return m.Side == schemas.SideProduce && (hasRecord(m) || !m.CreationSpan.IsZero() || !told[contextOf(m)])
	}
	for i := range rows {
		if m := &rows[i]; isSend(m) {
			if hasRecord(m) {
				produced[m.Record()] = append(produced[m.Record()], m)
			}
			sent[contextOf(m)] = append(sent[contextOf(m)], m)
		}
	}
	var out []joined
	read := map[*schemas.Message]bool{}
	for i := range rows {
		c := &rows[i]
		if !c.Side.Reads() {
			continue
		}
		p := producerOf(c, produced, sent)
		if p != nil {
			read[p] = true
		}
		out = append(out, joined{Hop: schemas.Hop{Produce: p, Consume: c}})
	}
	for i := range rows {
		if m := &rows[i]; isSend(m) && !read[m] {
			out = append(out, joined{Hop: schemas.Hop{Produce: m}})
		}
	}
	slices.SortStableFunc(out, func(a, b joined) int {
		return cmp.Or(cmp.Compare(hopStart(a.Hop), hopStart(b.Hop)), cmp.Compare(hopID(a.Hop), hopID(b.Hop)))
	})
	type reader struct {
		record schemas.RecordRef
		group  string
	}
	deliveries := map[reader]int{}
	for i := range out {
		out[i].delivery = 1
		if c := out[i].Consume; c != nil && hasRecord(c) {
			key := reader{c.Record(), c.Group}
			deliveries[key]++
			out[i].delivery = deliveries[key]
		}
	}
	return out
}

// producerOf finds the row that wrote what c read. A topic that was deleted and
// made again repeats its offsets, so of several the one whose context the
// record carried wins, then the last that was sent before c was done.
func producerOf(c *schemas.Message, produced map[schemas.RecordRef][]*schemas.Message, sent map[schemas.SpanRef][]*schemas.Message) *schemas.Message {
	var candidates []*schemas.Message
	if hasRecord(c) {
		candidates = produced[c.Record()]
	}
	carried := schemas.SpanRef{TraceID: c.CreationTrace, SpanID: c.CreationSpan}
	if len(candidates) == 0 && !c.CreationTrace.IsZero() {
		for _, p := range sent[carried] {
			if p.Topic == c.Topic && (!hasRecord(p) || !hasRecord(c)) {
				candidates = append(candidates, p)
			}
		}
		if len(candidates) != 1 {
			return nil // a span that sent several records does not tell which
		}
	}
	var best *schemas.Message
	rank := func(p *schemas.Message) int {
		switch {
		case contextOf(p) == carried:
			return 3
		case p.TraceID == carried.TraceID:
			return 2
		case p.Start <= c.End:
			return 1
		}
		return 0
	}
	for _, p := range candidates {
		if best == nil || rank(p) > rank(best) || rank(p) == rank(best) && p.Start > best.Start {
			best = p
		}
	}
	return best
}

// contextOf is the context that the record of a producer's row carries: the one
// that it was created with, or the send span itself.
func contextOf(m *schemas.Message) schemas.SpanRef {
	if !m.CreationSpan.IsZero() {
		return schemas.SpanRef{TraceID: m.CreationTrace, SpanID: m.CreationSpan}
	}
	return schemas.SpanRef{TraceID: m.TraceID, SpanID: m.SpanID}
}

func hasRecord(m *schemas.Message) bool {
	return m.Partition != schemas.Unknown && m.Offset != schemas.Unknown
}

func hopStart(h schemas.Hop) int64 {
	if h.Produce != nil {
		return h.Produce.Start
	}
	return consumeStart(h.Consume)
}

func hopEnd(h schemas.Hop) int64 {
	if h.Consume != nil {
		return h.Consume.End
	}
	return h.Produce.End
}

func consumeStart(c *schemas.Message) int64 {
	start := c.Start
	for _, t := range []int64{c.Handed, c.Answered} {
		if t != 0 {
			start = min(start, t)
		}
	}
	return start
}

// mainRow is the row that says most about the record.
func mainRow(h schemas.Hop) *schemas.Message {
	if h.Consume != nil {
		return h.Consume
	}
	return h.Produce
}

// record is the coordinates, from whichever side was told them.
func record(h schemas.Hop) *schemas.Message {
	if m := mainRow(h); hasRecord(m) || h.Produce == nil {
		return m
	}
	return h.Produce
}

func hopID(h schemas.Hop) string {
	m, r := mainRow(h), record(h)
	return r.Topic + ":" + strconv.Itoa(int(r.Partition)) + ":" + strconv.FormatInt(r.Offset, 10) + ":" + m.SpanID.String()
}

func behind(h schemas.Hop) int64 {
	if c := h.Consume; c != nil && c.HighWatermark != schemas.Unknown && hasRecord(c) && c.HighWatermark > c.Offset {
		return c.HighWatermark - c.Offset - 1
	}
	return schemas.Unknown
}

func side(m *schemas.Message) *HopSide {
	if m == nil {
		return nil
	}
	return &HopSide{
		TraceID: m.TraceID.String(), SpanID: m.SpanID.String(), Service: m.Service, ClientID: m.ClientID,
		Operation: m.Side.String(), Start: nanos(m.Start), End: nanos(m.End),
	}
}

// hopJSON draws the parts on the time axis: each known part begins where the
// rows say, so that gaps between known parts are what is unknown.
func hopJSON(j joined) Hop {
	h := j.Hop
	m, rec := mainRow(h), record(h)
	placed, parts := j.placed(), j.parts()
	out := Hop{
		ID: hopID(h), Topic: rec.Topic, Partition: told(rec.Partition), Offset: told(rec.Offset),
		Producer: side(h.Produce), Consumer: side(h.Consume),
		Start: known(hopStart(placed)), End: known(hopEnd(placed)),
		Parts:    partsJSON(placed, parts, j.clock),
		EndToEnd: part(parts.EndToEnd), RoundTrip: part(parts.RoundTrip), SharedClock: parts.SharedClock,
		Record: recordJSON(h), Behind: told(behind(h)), Delivery: j.delivery,
		Failed: m.Failed, ClockGap: j.gap, MovedNs: j.moved.consume,
	}
	if parts.Backlog.Known && parts.LongPoll.Known {
		out.Residence = &Part{Known: true, Ns: int64(parts.Backlog.Duration + parts.LongPoll.Duration)}
	}
	if c := j.clock; c != nil {
		out.Clock = &HopClock{
			Broker: c.broker, MovedNs: c.moved, LowNs: c.offset.Lo, HighNs: c.offset.Hi, Stamped: c.stamped,
			Evidence: []ClockEvidence{c.evidence[0].json("producer"), c.evidence[1].json("consumer")},
		}
		if out.Residence != nil {
			out.Residence.Uncertainty = uncertainty(c.residence, out.Residence.Ns)
		}
		if out.EndToEnd.Known {
			out.EndToEnd.Uncertainty = uncertainty(c.endToEnd, out.EndToEnd.Ns)
		}
	}
	if parts.Settle.Known {
		out.Settle = &HopPart{Name: partSettle, Known: true, Ns: int64(parts.Settle.Duration), From: known(placed.Settle.Start), To: known(placed.Settle.End)}
	}
	for _, side := range []*schemas.Message{h.Produce, h.Consume} {
		if side == nil || side.RetryAttempt == 0 && side.RetryTopic == "" {
			continue
		}
		out.Retry = &Retry{Attempt: int(side.RetryAttempt), FirstSeen: known(side.RetryFirstSeen), InRetry: part(j.inRetry), DeadLetter: isDeadLetter(rec.Topic)}
		if side.RetryTopic != "" {
			out.Retry.Topic, out.Retry.Partition, out.Retry.Offset = side.RetryTopic, &side.RetryPartition, &side.RetryOffset
		}
	}
	if h.Consume != nil {
		out.Group = h.Consume.Group
		out.Estimated = h.Consume.EstimatedEnd
	}
	return out
}

// partSettle is the name of the commit where it stands beside the parts.
const partSettle = "settle"

func partsJSON(h schemas.Hop, p schemas.HopParts, by *hopClock) []HopPart {
	out := make([]HopPart, 0, 7)
	add := func(name exporters.PartName, q schemas.Part, from int64) {
		hp := HopPart{Name: string(name), Known: q.Known, Ns: int64(q.Duration)}
		if q.Known {
			hp.From, hp.To = known(from), known(from+int64(q.Duration))
			switch {
			case by == nil:
			case name == exporters.PartBacklog:
				hp.Uncertainty = uncertainty(by.backlog, hp.Ns)
			case name == exporters.PartLongPoll:
				hp.Uncertainty = uncertainty(by.longPoll, hp.Ns)
			}
		}
		out = append(out, hp)
	}
	var start, first, written, appended int64
	if m := h.Produce; m != nil {
		start, written = m.Start, m.Written
		if first = m.FirstWritten; first == 0 {
			first = written
		}
		appended = h.Append()
	}
	var answered, handed int64
	if c := h.Consume; c != nil {
		answered = c.Answered
		if handed = c.Handed; handed == 0 && c.Side == schemas.SideProcess {
			handed = c.Start
		}
	}
	add(exporters.PartBatchQueue, p.BatchQueue, start)
	add(exporters.PartRetry, p.Retry, first)
	add(exporters.PartAck, p.Ack, written)
	add(exporters.PartBacklog, p.Backlog, appended)
	add(exporters.PartLongPoll, p.LongPoll, appended+int64(p.Backlog.Duration))
	add(exporters.PartFetchQueue, p.FetchQueue, answered)
	add(exporters.PartProcessing, p.Processing, handed)
	return out
}

func recordJSON(h schemas.Hop) Record {
	r := Record{Attempts: 1}
	size, key := int64(schemas.Unknown), uint64(0)
	if p := h.Produce; p != nil {
		r.Attempts = max(1, int(p.Attempts))
		r.ThrottleNs = p.Throttle
		r.Timestamp = known(p.RecordTime)
		size, key = p.BodySize, p.KeyHash
		r.ByBroker = p.Appended != 0
	}
	if c := h.Consume; c != nil {
		if size == schemas.Unknown {
			size = c.BodySize
		}
		if key == 0 {
			key = c.KeyHash
		}
		if c.RecordTime != 0 {
			r.Timestamp = known(c.RecordTime)
		}
		r.HighWatermark = told(c.HighWatermark)
	}
	r.Appended = known(h.Append())
	r.Size = told(size)
	if key != 0 {
		s := fmt.Sprintf("%016x", key)
		r.KeyHash = &s
	}
	return r
}

func findingHop(j joined) finding.Hop {
	h := j.Hop
	m, rec := mainRow(h), record(h)
	out := finding.Hop{
		ID: hopID(h), Topic: rec.Topic, Partition: rec.Partition, Service: m.Service, TraceID: m.TraceID.String(), SpanID: m.SpanID.String(),
		Behind: behind(h), Parts: j.parts(), Read: h.Consume != nil, Failed: m.Failed, Start: hopStart(j.placed()), End: hopEnd(j.placed()),
		Sent: h.Produce != nil,
	}
	if h.Consume != nil {
		out.Stamped = h.Consume.RecordTime
	}
	if h.Consume != nil {
		out.Group = h.Consume.Group
	}
	for _, side := range []*schemas.Message{h.Produce, h.Consume} {
		if side != nil && (side.RetryAttempt > 0 || side.RetryTopic != "") {
			out.SentOn, out.Dead, out.Attempt = true, isDeadLetter(rec.Topic), int(side.RetryAttempt)
		}
	}
	if out.Service == "" {
		out.Service = "a service without name"
	}
	return out
}

// hops lists hops of a topic and group.
func (h *Handler) hops(ctx context.Context, q *query) (any, error) {
	order := q.oneOf("order", "newest", "slowest", "sent")
	hq := exporters.HopQuery{
		Project: q.project.ID, Range: q.timeRange(), Topic: q.text("topic"), Group: q.text("group"),
		Partition: q.partition("partition"), OffsetFrom: q.offset("offset_from"), OffsetTo: q.offset("offset_to"),
		Slowest: order == "slowest", Sent: order == "sent", Limit: q.limit(50),
	}
	if hq.OffsetTo > 0 && hq.OffsetTo <= hq.OffsetFrom {
		q.refuse("offset_to", q.text("offset_to"), "an offset behind offset_from")
	}
	each := q.bool("each") || q.text("q") != "" || q.text("before") != ""
	if each && hq.Sent {
		q.refuse("order", order, "newest or slowest, of deliveries")
	}
	if q.fault != nil {
		return nil, q.fault
	}
	out := HopList{}
	var found []schemas.Hop
	var err error
	if each {
		found, out.Next, err = h.deliveries(ctx, q, hq)
	} else {
		found, err = h.deps.Messages.Hops(ctx, hq)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot list hops of topic %q group %q: %w", hq.Topic, hq.Group, err)
	}
	hops := make([]joined, 0, len(found))
	for _, hop := range found {
		if hop.Produce != nil || hop.Consume != nil {
			hops = append(hops, joined{Hop: hop, delivery: 1})
		}
	}
	if err := h.complete(ctx, q.project.ID, hops, nil); err != nil {
		return nil, err
	}
	out.Hops = make([]Hop, 0, len(hops))
	facts := make([]finding.Hop, 0, len(hops))
	for _, j := range hops {
		out.Hops = append(out.Hops, hopJSON(j))
		facts = append(facts, findingHop(j))
	}
	if hq.Sent {
		out.Finding = finding.ForSent(len(facts), len(facts) == hq.Limit, oldest(found), q.now)
	} else {
		out.Finding = finding.ForHops(facts, hq.Slowest, q.text("q"))
	}
	return out, nil
}

// deliveries is a page of a search: the filters of the list and what q asks.
func (h *Handler) deliveries(ctx context.Context, q *query, hq exporters.HopQuery) (found []schemas.Hop, next *string, err error) {
	if err := h.hasSearch(); err != nil {
		return nil, nil, err
	}
	asked, err := parseRows(search.Hops, q.text("q"), "q")
	if err != nil {
		return nil, nil, err
	}
	rq := exporters.RowQuery{Project: hq.Project, Range: hq.Range, Where: search.Expr{Kids: []search.Expr{asked}}, Limit: hq.Limit}
	if rq.Range.To.IsZero() {
		rq.Range.To = q.now // one now for all pages
	}
	if hq.Slowest {
		rq.Sort = search.RowEndToEnd
	}
	only := func(field string, op search.Op, v search.Value) {
		term := search.RowTerm{Field: search.FieldOf(search.Hops, field), Op: op, Values: []search.Value{v}}
		rq.Where.Kids = append(rq.Where.Kids, search.Expr{Logic: search.Is, Term: term})
	}
	if hq.Topic != "" {
		only(search.FieldTopic, search.Eq, search.Value{Text: hq.Topic})
	}
	if hq.Group != "" {
		only(search.FieldGroup, search.Eq, search.Value{Text: hq.Group})
	}
	if hq.Partition != nil {
		only(search.FieldPartition, search.Eq, search.Value{Number: int64(*hq.Partition)})
	}
	if hq.OffsetFrom > 0 {
		only(search.FieldOffset, search.Ge, search.Value{Number: hq.OffsetFrom})
	}
	if hq.OffsetTo > 0 {
		only(search.FieldOffset, search.Lt, search.Value{Number: hq.OffsetTo})
	}
	if s := q.text("before"); s != "" && !readCursor(s, &rq) {
		return nil, nil, badParameter("before", s, "what the last page of the same order gave as next")
	}
	rows, err := h.deps.Search.SearchHops(ctx, rq)
	if err != nil {
		return nil, nil, err
	}
	for i := range rows {
		found = append(found, rows[i].Hop)
	}
	if len(rows) > 0 && len(rows) == rq.Limit {
		next = cursor(rq, rows[len(rows)-1].Key)
	}
	return found, next, nil
}

// oldest is when the first of records that were sent began; zero without one.
func oldest(hops []schemas.Hop) int64 {
	if len(hops) == 0 || hops[0].Produce == nil {
		return 0
	}
	return hops[0].Produce.Start
}
