package exportertest

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// world is a set of spans and message rows, and the plainest answers to the
// readers' questions about them.
type world struct {
	rnd   *rand.Rand
	spans []schemas.Span
	rows  []schemas.Message
	next  map[schemas.RecordRef]int64 // offset by topic and partition
}

func newWorld(seed uint64) *world {
	return &world{rnd: rand.New(rand.NewPCG(seed, 1)), next: make(map[schemas.RecordRef]int64)} //nolint:gosec // test data
}

func (w *world) position() schemas.Position {
	n := len(w.spans) + len(w.rows)
	return schemas.Position{Offset: int64(n / 50), Index: uint32(n % 50)} //nolint:gosec // small
}

func (w *world) trace() (id schemas.TraceID) {
	for i := range id {
		id[i] = byte(w.rnd.Uint32())
	}
	return id
}

func (w *world) span() (id schemas.SpanID) {
	for i := range id {
		id[i] = byte(w.rnd.Uint32())
	}
	return id
}

// traces adds n traces over the hour after start: a root, a send and the
// processing of the record, sometimes hours later, failed or in a trace of its
// own. Times of a row are at random, and known or not.
func (w *world) traces(n int, start time.Time) {
	r := w.rnd
	for i := range n {
		t := start.Add(time.Duration(r.Int64N(int64(time.Hour)))).UnixNano()
		if i%5 == 4 {
			t = w.spans[0].Start // at the same nanosecond
		}
		id := w.trace()
		service := fmt.Sprintf("shop-%d", r.IntN(3))
		root := schemas.Span{Project: 1, TraceID: id, SpanID: w.span(), Name: "POST /", Service: service, Start: t, End: t + r.Int64N(1e9), Source: 1, Position: w.position()}
		w.spans = append(w.spans, root)
		topic, group := fmt.Sprintf("topic-%d", r.IntN(3)), fmt.Sprintf("group-%d", r.IntN(2))
		send := schemas.Span{Project: 1, TraceID: id, SpanID: w.span(), ParentID: root.SpanID, Name: "send " + topic, Kind: schemas.KindProducer, Service: service, Start: t + 10, End: t + 20 + r.Int64N(1e8), Source: 1, Position: w.position()}
		w.spans = append(w.spans, send)
		wait := r.Int64N(int64(time.Second))
		if r.IntN(4) == 0 {
			wait = r.Int64N(int64(4 * time.Hour))
		}
		begin := send.End + wait
		process := schemas.Span{Project: 1, TraceID: id, SpanID: w.span(), ParentID: send.SpanID, Name: "process " + topic, Kind: schemas.KindConsumer, Service: group + "-service", Start: begin, End: begin + r.Int64N(1e9), Source: 1, Position: w.position()}
		if r.IntN(5) == 0 {
			process.Status = schemas.StatusError
		}
		if r.IntN(3) == 0 {
			process.TraceID, process.ParentID = w.trace(), schemas.SpanID{}
			process.Links = []schemas.Link{{TraceID: id, SpanID: send.SpanID}}
		}
		w.spans = append(w.spans, process)
		partition := schemas.RecordRef{Topic: topic, Partition: int32(r.IntN(3))} //nolint:gosec // small
		offset := w.next[partition]
		w.next[partition]++
		p := schemas.Message{
			Project: 1, Side: schemas.SideProduce, Topic: topic, Partition: partition.Partition, Offset: offset, Service: service, BootID: "boot",
			TraceID: id, SpanID: send.SpanID, Start: send.Start, End: send.End, Written: send.Start + 5, Acked: send.End - 1, Source: 1, Position: w.position(),
		}
		w.rows = append(w.rows, p)
		c := schemas.Message{
			Project: 1, Side: schemas.SideProcess, Topic: topic, Partition: partition.Partition, Offset: offset, Group: group, Service: process.Service, BootID: "boot",
			TraceID: process.TraceID, SpanID: process.SpanID, CreationTrace: id, CreationSpan: send.SpanID, Start: process.Start, End: process.End,
			Asked: begin - 1000, Answered: begin - 500, Handed: begin - 10, Failed: process.Status == schemas.StatusError, Source: 1, Position: w.position(),
		}
		w.rows = append(w.rows, c)
	}
}

func (w *world) ids() (out []schemas.TraceID) {
	seen := make(map[schemas.TraceID]bool)
	for i := range w.spans {
		if id := w.spans[i].TraceID; !seen[id] && len(out) < 100 {
			seen[id] = true
			out = append(out, id)
		}
	}
	return out
}

func (w *world) spansOf(id schemas.TraceID) (out []schemas.Span) {
	for _, s := range w.spans {
		if s.TraceID == id {
			out = append(out, s)
		}
	}
	slices.SortStableFunc(out, func(a, b schemas.Span) int { return cmp.Compare(a.Start, b.Start) })
	return out
}

func (w *world) rowsOf(id schemas.TraceID) (out []schemas.Message) {
	for _, m := range w.rows {
		if m.TraceID == id {
			out = append(out, m)
		}
	}
	slices.SortStableFunc(out, func(a, b schemas.Message) int { return cmp.Compare(a.Start, b.Start) })
	return out
}

func bounds(r exporters.Range) (from, to int64) {
	to = time.Now().UnixNano()
	if !r.To.IsZero() {
		to = r.To.UnixNano()
	}
	if !r.From.IsZero() {
		from = r.From.UnixNano()
	}
	return from, to
}

// find is FindTraces; traces of one start may come in any order, see sameTraces.
func (w *world) find(q exporters.TraceQuery) []exporters.TraceSummary {
	from, to := bounds(q.Range)
	if q.Before != 0 {
		to = min(to, q.Before)
	}
	limit := q.Limit
	if limit == 0 {
		limit = 50
	}
	byTrace := make(map[schemas.TraceID][]schemas.Span)
	for _, s := range w.spans {
		byTrace[s.TraceID] = append(byTrace[s.TraceID], s)
	}
	var out []exporters.TraceSummary
	for id := range byTrace {
		t := exporters.TraceSummary{TraceID: id}
		spans := w.spansOf(id)
		t.Start = spans[0].Start
		first, end := spans[0], spans[0].End
		for _, s := range spans {
			end = max(end, s.End)
			t.Spans++
			if s.Status == schemas.StatusError {
				t.Errors++
			}
			if s.ParentID.IsZero() && !first.ParentID.IsZero() {
				first = s
			}
			if !slices.Contains(t.Services, s.Service) {
				t.Services = append(t.Services, s.Service)
			}
		}
		slices.Sort(t.Services)
		t.Root, t.Service, t.Duration = first.Name, first.Service, time.Duration(end-t.Start)
		hit := q.Topic == "" && q.Group == ""
		for _, m := range w.rows {
			if m.TraceID == id {
				if !slices.Contains(t.Topics, m.Topic) {
					t.Topics = append(t.Topics, m.Topic)
				}
				hit = hit || (q.Topic == "" || q.Topic == m.Topic) && (q.Group == "" || q.Group == m.Group)
			}
		}
		slices.Sort(t.Topics)
		if t.Start >= from && t.Start < to && hit && (q.Service == "" || slices.Contains(t.Services, q.Service)) &&
			t.Duration >= q.MinLatency && (!q.ErrorsOnly || t.Errors > 0) {
			out = append(out, t)
		}
	}
	slices.SortFunc(out, func(a, b exporters.TraceSummary) int {
		return cmp.Or(cmp.Compare(b.Start, a.Start), slices.Compare(b.TraceID[:], a.TraceID[:]))
	})
	return out[:min(limit, len(out))]
}

// hops is Hops, with producers found by record only.
func (w *world) hops(q exporters.HopQuery) []schemas.Hop {
	if q.Sent {
		return w.sent(q)
	}
	from, to := bounds(q.Range)
	type key struct {
		record schemas.RecordRef
		group  string
	}
	consumers := make(map[key]*schemas.Message)
	producers := make(map[schemas.RecordRef]*schemas.Message)
	for i := range w.rows {
		m := &w.rows[i]
		if m.Side == schemas.SideProduce {
			producers[m.Record()] = m
			continue
		}
		if m.End < from || m.End >= to || q.Topic != "" && m.Topic != q.Topic || q.Group != "" && m.Group != q.Group || !ofRecords(q, m) {
			continue
		}
		k := key{m.Record(), m.Group}
		if have := consumers[k]; have == nil || m.Start > have.Start {
			consumers[k] = m
		}
	}
	var out []schemas.Hop
	for _, c := range consumers {
		h := schemas.Hop{Consume: c, Produce: producers[c.Record()]}
		if q.Slowest && !h.Parts().EndToEnd.Known {
			continue
		}
		out = append(out, h)
	}
	slices.SortFunc(out, func(a, b schemas.Hop) int {
		if q.Slowest {
			return cmp.Compare(b.Parts().EndToEnd.Duration, a.Parts().EndToEnd.Duration)
		}
		return cmp.Compare(b.Consume.End, a.Consume.End)
	})
	limit := q.Limit
	if limit == 0 {
		limit = 50
	}
	return out[:min(limit, len(out))]
}

// ofRecords tells whether a row is about one of the records of a query.
func ofRecords(q exporters.HopQuery, m *schemas.Message) bool {
	return (q.Partition == nil || m.Partition == *q.Partition) && (q.OffsetFrom == 0 && q.OffsetTo == 0 || m.Offset >= q.OffsetFrom) && (q.OffsetTo == 0 || m.Offset < q.OffsetTo)
}

func (w *world) sent(q exporters.HopQuery) []schemas.Hop {
	from, to := bounds(q.Range)
	var out []schemas.Hop
	for i := range w.rows {
		m := &w.rows[i]
		if m.Side == schemas.SideProduce && m.End >= from && m.End < to && (q.Topic == "" || m.Topic == q.Topic) && ofRecords(q, m) {
			out = append(out, schemas.Hop{Produce: m})
		}
	}
	slices.SortFunc(out, func(a, b schemas.Hop) int {
		x, y := a.Produce, b.Produce
		return cmp.Or(cmp.Compare(x.Start, y.Start), slices.Compare(x.TraceID[:], y.TraceID[:]), slices.Compare(x.SpanID[:], y.SpanID[:]), strings.Compare(x.Topic, y.Topic),
			cmp.Compare(x.Partition, y.Partition), cmp.Compare(x.Offset, y.Offset))
	})
	return out[:min(cmp.Or(q.Limit, 50), len(out))]
}
