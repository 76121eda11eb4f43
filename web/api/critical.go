package api

import (
	"cmp"
	"slices"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/web/api/finding"
)

// Critical is the chain of causes that ends with the last thing that a journey's
// messages caused: of work, and of the parts of hops. It goes through the broker
// and from trace to trace. The segments lie end to end, so their signed lengths
// sum up to the total.
type Critical struct {
	TotalNs  int64           `json:"totalNs"`
	Start    *Nanos          `json:"start"`
	End      *Nanos          `json:"end"`
	Segments []CriticalPiece `json:"segments"` // in time order; at most 4,000, the longest
	Shares   []CriticalShare `json:"shares"`   // of all segments; largest first within what they are by
	Cut      bool            `json:"cut"`      // there are more segments
}

// CriticalPiece is one stretch of a critical path.
type CriticalPiece struct {
	Part    string `json:"part"` // work: of a span outside of a hop; gap: nothing is known of it; else a part of a hop
	Row     string `json:"row"`  // id of the hop, or of the span
	TraceID string `json:"traceId"`
	SpanID  string `json:"spanId"` // of the span; empty for a part of a hop
	Service string `json:"service"`
	Topic   string `json:"topic"`
	Group   string `json:"group"`
	From    Nanos  `json:"from"`
	To      Nanos  `json:"to"`
	Ns      int64  `json:"ns"`
}

// CriticalShare is how much of a critical path belongs to one part, topic or
// service.
type CriticalShare struct {
	By    string  `json:"by"` // part, topic, service
	Name  string  `json:"name"`
	Ns    int64   `json:"ns"`
	Share float64 `json:"share"` // of the total
	Row   string  `json:"row"`   // of the longest stretch of it
}

// Parts of a critical path that are none of a hop.
const (
	partWork = "work"
	partGap  = "gap"
)

const maxCritical = 4_000

// stretch is a piece before it is written down. Times are Unix ns, on the clock
// on which the hop is drawn.
type stretch struct {
	part, row             string
	span                  *schemas.Span // nil for a part of a hop
	service, topic, group string
	from, to              int64
}

// criticalPath goes back from the end: of a span to the child that ended last,
// to its own beginning, and from there to what caused it. That is the hop that it
// read, by which it comes to the sender; else its parent; else the record that
// had failed before, where it sends that one on. A child of a span that was
// over, as what a consumer did with the sender's context, is no part of it. Where
// nobody was seen to read, the end is that of the last record's way into the broker.
func criticalPath(spans []schemas.Span, hops []joined, rows []Hop, batches []Batch) Critical {
	w := newCriticalWalk(spans, hops, rows, batches)
	at, t, ok := w.last()
	if !ok {
		return Critical{Segments: []CriticalPiece{}, Shares: []CriticalShare{}}
	}
	if hop, until := w.unread(); len(w.reads) == 0 && hop >= 0 {
		at, t, ok = w.through(hop, until)
	}
	if ok {
		w.walk(at, t)
	}
	slices.Reverse(w.out)
	return w.result()
}

type criticalWalk struct {
	spans []schemas.Span
	hops  []joined
	rows  []Hop // of hops
	works []workOn

	index    map[schemas.SpanRef]int
	children [][]int // of a span, last end first; without those that read a hop
	next     []int   // the child of a span to look at next
	reads    map[int]int
	sends    map[int][]int
	consumed map[schemas.RecordRef]int // hop by its record
	entered  []bool
	under    []int // place in works of what the span works on; -1 outside
	left     map[int]bool
	out      []stretch
}

// workOn is what spans work on: the record of a hop, or the records of a batch.
type workOn struct{ topic, group string }

func newCriticalWalk(spans []schemas.Span, hops []joined, rows []Hop, batches []Batch) *criticalWalk {
	w := &criticalWalk{
		spans: spans, hops: hops, rows: rows, index: make(map[schemas.SpanRef]int, len(spans)), children: make([][]int, len(spans)), next: make([]int, len(spans)),
		reads: map[int]int{}, sends: map[int][]int{}, consumed: map[schemas.RecordRef]int{}, entered: make([]bool, len(spans)), left: map[int]bool{},
	}
	for i := range spans {
		w.index[schemas.SpanRef{TraceID: spans[i].TraceID, SpanID: spans[i].SpanID}] = i
	}
	for i := range hops {
		if c := hops[i].Consume; c != nil {
			if at, ok := w.index[schemas.SpanRef{TraceID: c.TraceID, SpanID: c.SpanID}]; ok {
				// Of several records the one that came last was waited for.
				if before, has := w.reads[at]; !has || w.readyAt(i) > w.readyAt(before) {
					w.reads[at] = i
				}
			}
			if hasRecord(c) {
				if _, has := w.consumed[c.Record()]; !has {
					w.consumed[c.Record()] = i
				}
			}
		}
		if p := hops[i].Produce; p != nil {
			if at, ok := w.index[schemas.SpanRef{TraceID: p.TraceID, SpanID: p.SpanID}]; ok {
				w.sends[at] = append(w.sends[at], i)
			}
		}
	}
	for i := range spans {
		if _, reads := w.reads[i]; reads {
			continue
		}
		if p, ok := w.parent(i); ok && spans[i].Start < spans[p].End {
			w.children[p] = append(w.children[p], i)
		}
	}
	for _, list := range w.children {
		slices.SortStableFunc(list, func(a, b int) int { return cmp.Compare(spans[b].End, spans[a].End) })
	}
	w.findWork(batches)
	return w
}

// readyAt is when a hop's record was in the broker or, where that is unknown, sent.
func (w *criticalWalk) readyAt(hop int) int64 {
	h := w.hops[hop].placed()
	if t := h.Append(); t != 0 {
		return t
	}
	return hopStart(h)
}

func (w *criticalWalk) parent(i int) (int, bool) {
	s := &w.spans[i]
	if s.ParentID.IsZero() {
		return 0, false
	}
	p, ok := w.index[schemas.SpanRef{TraceID: s.TraceID, SpanID: s.ParentID}]
	return p, ok && p != i
}

// findWork finds what each span works on: that of the nearest reader above it.
func (w *criticalWalk) findWork(batches []Batch) {
	w.under = make([]int, len(w.spans))
	for i := range w.under {
		w.under[i] = -2
	}
	of := make(map[int]int, len(w.reads)) // place in works of a reader's
	for at, hop := range w.reads {
		of[at] = len(w.works)
		w.works = append(w.works, workOn{w.rows[hop].Topic, w.rows[hop].Group})
	}
	// The records of a batch are no hops where it stands alone, in its own trace.
	for i := range batches {
		b := &batches[i]
		at := slices.IndexFunc(w.spans, func(s schemas.Span) bool { return s.SpanID.String() == b.SpanID && s.TraceID.String() == b.TraceID })
		if _, is := of[at]; is || at < 0 {
			continue
		}
		topic := ""
		if len(b.Topics) == 1 {
			topic = b.Topics[0]
		}
		of[at] = len(w.works)
		w.works = append(w.works, workOn{topic, b.Group})
	}
	for i := range w.spans {
		w.workAbove(i, of)
	}
}

// workAbove walks each span once.
func (w *criticalWalk) workAbove(i int, of map[int]int) {
	var path []int
	found := -1
	for at := i; ; {
		if w.under[at] != -2 {
			found = max(w.under[at], -1)
			break
		}
		w.under[at] = -1 // ends a circle
		path = append(path, at)
		if work, ok := of[at]; ok {
			found = work
			break
		}
		p, ok := w.parent(at)
		if !ok {
			break
		}
		at = p
	}
	for _, at := range path {
		w.under[at] = found
	}
}

// last is where a path ends: the reader that was done last, or the span that
// ended last where nobody was seen to read.
func (w *criticalWalk) last() (int, int64, bool) {
	at, end := -1, int64(0)
	for i := range w.reads {
		if e := w.spans[i].End; at < 0 || e > end || e == end && i < at {
			at, end = i, e
		}
	}
	if at < 0 {
		for i := range w.spans {
			if e := w.spans[i].End; at < 0 || e > end {
				at, end = i, e
			}
		}
	}
	return at, end, at >= 0
}

// unread is the hop whose record was the last to reach the broker, and when; −1 where
// no part of any is known.
func (w *criticalWalk) unread() (int, int64) {
	hop, until := -1, int64(0)
	for i := range w.hops {
		if w.hops[i].Consume != nil || w.hops[i].Produce == nil {
			continue
		}
		if _, ok := w.index[schemas.SpanRef{TraceID: w.hops[i].Produce.TraceID, SpanID: w.hops[i].Produce.SpanID}]; !ok {
			continue
		}
		for _, p := range w.rows[i].Parts {
			if p.Known && p.To != nil && p.To.ns() > until {
				hop, until = i, p.To.ns()
			}
		}
	}
	return hop, until
}

func (w *criticalWalk) add(s stretch) {
	if s.from != s.to {
		w.out = append(w.out, s)
	}
}

// own adds time of a span that none of its children had.
func (w *criticalWalk) own(i int, from, to int64) {
	if to <= from {
		return
	}
	s := &w.spans[i]
	part, topic, group := partWork, "", ""
	if work := w.under[i]; work >= 0 {
		part, topic, group = string(exporters.PartProcessing), w.works[work].topic, w.works[work].group
	}
	w.add(stretch{part: part, row: s.SpanID.String(), span: s, service: s.Service, topic: topic, group: group, from: from, to: to})
}

func (w *criticalWalk) walk(at int, t int64) {
	for {
		if child, ok := w.child(at, t); ok {
			w.own(at, w.spans[child].End, t)
			w.entered[child] = true
			at, t = child, w.spans[child].End
			continue
		}
		begin := w.begin(at)
		w.own(at, begin, t)
		t = min(t, begin)
		var ok bool
		if at, t, ok = w.cause(at, t); !ok {
			return
		}
	}
}

// begin is when a span had all that it worked on: one that received began to
// wait before.
func (w *criticalWalk) begin(at int) int64 {
	start := w.spans[at].Start
	if hop, ok := w.reads[at]; ok && w.hops[hop].Consume.Side == schemas.SideReceive {
		return min(max(start, w.hops[hop].placed().Consume.Handed), w.spans[at].End)
	}
	return start
}

// child is the one that ended last before t. Children are passed over once,
// because t only goes back.
func (w *criticalWalk) child(at int, t int64) (int, bool) {
	for list := w.children[at]; w.next[at] < len(list); {
		c := list[w.next[at]]
		w.next[at]++
		if s := &w.spans[c]; !w.entered[c] && s.End <= t && s.End > w.spans[at].Start {
			return c, true
		}
	}
	return 0, false
}

// cause is what a span that began at t waited for, and until when.
func (w *criticalWalk) cause(at int, t int64) (int, int64, bool) {
	if w.left[at] {
		return 0, 0, false // a circle
	}
	if hop, ok := w.reads[at]; ok {
		w.left[at] = true
		return w.through(hop, t)
	}
	if p, ok := w.parent(at); ok {
		w.left[at] = true
		return p, w.gap(p, w.spans[p].End, t), true
	}
	for _, hop := range w.sends[at] {
		if original, ok := w.hops[hop].Produce.Original(); ok {
			if before, ok := w.consumed[original]; ok {
				c := w.hops[before].Consume
				if reader, ok := w.index[schemas.SpanRef{TraceID: c.TraceID, SpanID: c.SpanID}]; ok && reader != at {
					w.left[at] = true
					return reader, w.gap(reader, w.spans[reader].End, t), true
				}
			}
		}
	}
	return 0, 0, false
}

// gap adds what lies between the end of a cause and t, if anything.
func (w *criticalWalk) gap(cause int, end, t int64) int64 {
	if end >= t {
		return t
	}
	s := &w.spans[cause]
	w.add(stretch{part: partGap, row: s.SpanID.String(), span: s, service: s.Service, from: end, to: t})
	return end
}

// through adds the parts of a hop before t, and goes on at its sender.
func (w *criticalWalk) through(hop int, t int64) (int, int64, bool) {
	j, row := w.hops[hop], &w.rows[hop]
	placed := j.placed()
	producer, consumer := "", ""
	if j.Produce != nil {
		producer = j.Produce.Service
	}
	if j.Consume != nil {
		consumer = j.Consume.Service
	}
	add := func(part string, from, to int64) {
		s := stretch{part: part, row: row.ID, topic: row.Topic, group: row.Group, from: from, to: to}
		switch exporters.PartName(part) {
		case exporters.PartBatchQueue, exporters.PartRetry, exporters.PartAck:
			s.service = producer
		case exporters.PartFetchQueue, exporters.PartProcessing:
			s.service = consumer
		}
		w.add(s)
	}
	for _, p := range slices.Backward(row.Parts) {
		if !p.Known || p.From == nil || p.To == nil {
			continue
		}
		from, to := p.From.ns(), p.To.ns()
		if p.Name == string(exporters.PartProcessing) {
			add(p.Name, from, t) // handed over → the span began
			t = from
			continue
		}
		add(partGap, to, t) // nobody measured what lies between
		add(p.Name, from, to)
		t = from
	}
	if j.Produce == nil {
		return 0, 0, false
	}
	add(partGap, hopStart(placed), t)
	at, ok := w.index[schemas.SpanRef{TraceID: j.Produce.TraceID, SpanID: j.Produce.SpanID}]
	if !ok || w.entered[at] {
		return 0, 0, false
	}
	w.entered[at] = true
	return at, w.spans[at].Start, true // on the sender's own clock from here on, where nothing compared it
}

// result puts the pieces in time order and sums them up.
func (w *criticalWalk) result() Critical {
	out := Critical{Segments: []CriticalPiece{}, Shares: []CriticalShare{}}
	if len(w.out) == 0 {
		return out
	}
	type key struct{ by, name string }
	type sum struct {
		CriticalShare
		longest int64
	}
	sums := map[key]*sum{}
	count := func(by, name string, s *stretch) {
		if name == "" {
			return
		}
		at := sums[key{by, name}]
		if at == nil {
			at = &sum{CriticalShare: CriticalShare{By: by, Name: name}}
			sums[key{by, name}] = at
		}
		at.Ns += s.to - s.from
		if length := s.to - s.from; at.Row == "" || length > at.longest {
			at.Row, at.longest = s.row, length
		}
	}
	for i := range w.out {
		s := &w.out[i]
		out.TotalNs += s.to - s.from
		count("part", s.part, s)
		count("topic", s.topic, s)
		count("service", s.service, s)
	}
	for _, s := range sums {
		if out.TotalNs > 0 {
			s.Share = float64(s.Ns) / float64(out.TotalNs)
		}
		out.Shares = append(out.Shares, s.CriticalShare)
	}
	slices.SortFunc(out.Shares, func(a, b CriticalShare) int {
		return cmp.Or(cmp.Compare(a.By, b.By), cmp.Compare(b.Ns, a.Ns), cmp.Compare(a.Name, b.Name))
	})
	out.Start, out.End = known(w.out[0].from), known(w.out[len(w.out)-1].to)
	pieces := w.out
	if out.Cut = len(pieces) > maxCritical; out.Cut {
		lengths := make([]int64, len(pieces))
		for i := range pieces {
			lengths[i] = pieces[i].to - pieces[i].from
		}
		slices.Sort(lengths)
		least := lengths[len(lengths)-maxCritical]
		pieces = slices.DeleteFunc(slices.Clone(pieces), func(s stretch) bool { return s.to-s.from < least })
		pieces = pieces[:min(len(pieces), maxCritical)]
	}
	for i := range pieces {
		s := &pieces[i]
		p := CriticalPiece{Part: s.part, Row: s.row, Service: s.service, Topic: s.topic, Group: s.group, From: nanos(s.from), To: nanos(s.to), Ns: s.to - s.from}
		if s.span != nil {
			p.TraceID, p.SpanID = s.span.TraceID.String(), s.span.SpanID.String()
		}
		out.Segments = append(out.Segments, p)
	}
	return out
}

// pathFacts are what the finding says of a path.
func pathFacts(c Critical) finding.Path {
	out := finding.Path{Total: duration(c.TotalNs)}
	if c.TotalNs <= 0 {
		return finding.Path{}
	}
	longest := int64(0)
	for _, s := range c.Shares {
		if s.By != "part" {
			continue
		}
		switch exporters.PartName(s.Name) {
		case exporters.PartBatchQueue, exporters.PartRetry, exporters.PartAck:
			out.Producers += s.Share
		case exporters.PartBacklog, exporters.PartLongPoll:
			out.Broker += s.Share
		case exporters.PartFetchQueue, exporters.PartProcessing:
			out.Consumers += s.Share
		case partWork:
			out.Others += s.Share
		default:
			out.Unknown += s.Share
		}
		if s.Ns > longest {
			longest, out.Longest = s.Ns, s.Row
		}
	}
	return out
}
