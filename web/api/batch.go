package api

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/instrumentation/messaging"
	"github.com/hoptrace/hoptrace/instrumentation/messaging/clock"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/web/api/finding"
)

// BatchDetail is a span that read several records, and a page of those.
type BatchDetail struct {
	Finding  finding.Finding `json:"finding"`
	Span     *LinkedSpan     `json:"span"`    // null while it is not stored
	Told     *int            `json:"told"`    // how many records the span says it had, where it does
	Records  int             `json:"records"` // that it names, at most 8,192
	Cut      bool            `json:"cut"`     // it names more
	Ages     BatchAges       `json:"ages"`
	Order    string          `json:"order"`
	Skip     int             `json:"skip"`
	Messages []BatchMessage  `json:"messages"`
}

// BatchAges says how old the records of a batch were when they were handed to
// the application.
type BatchAges struct {
	Known    int         `json:"known"`
	Unknown  int         `json:"unknown"`
	Negative int         `json:"negative"` // two clocks disagree
	Crossing int         `json:"crossing"` // of the known ones, those whose two times are of different clocks
	MinNs    int64       `json:"minNs"`
	P50Ns    int64       `json:"p50Ns"`
	P95Ns    int64       `json:"p95Ns"`
	MaxNs    int64       `json:"maxNs"`
	Log      bool        `json:"log"`     // the buckets grow by a factor
	Buckets  []BatchAge  `json:"buckets"` // rising, without gap; at most 21
	Parts    []PartTotal `json:"parts"`   // what the ages are made of
}

// BatchAge is one bar of the ages: those in [fromNs, toNs), of the last one
// those at toNs, too.
type BatchAge struct {
	FromNs int64       `json:"fromNs"`
	ToNs   int64       `json:"toNs"`
	Count  int         `json:"count"`
	Parts  []PartTotal `json:"parts"` // what these ages are made of
}

// BatchMessage is one record of a batch.
type BatchMessage struct {
	Hop          Hop    `json:"hop"`
	Age          Part   `json:"age"`
	AgeFrom      string `json:"ageFrom"`      // sent, timestamp; empty when unknown
	CrossesClock bool   `json:"crossesClock"` // the two times are of different clocks
}

// LinkedSpan is what a link shows of the span that it leads to.
type LinkedSpan struct {
	TraceID    string `json:"traceId"`
	SpanID     string `json:"spanId"`
	Name       string `json:"name"`
	Service    string `json:"service"`
	Kind       string `json:"kind"`
	Status     string `json:"status"`
	Start      Nanos  `json:"start"`
	DurationNs int64  `json:"durationNs"`
}

func linkedSpan(s *schemas.Span) LinkedSpan {
	whole := spanJSON(s)
	return LinkedSpan{
		TraceID: whole.TraceID, SpanID: whole.SpanID, Name: whole.Name, Service: whole.Service, Kind: whole.Kind, Status: whole.Status,
		Start: whole.Start, DurationNs: s.End - s.Start,
	}
}

// aged is a hop of a batch with the age of its record.
type aged struct {
	joined
	age   schemas.Part
	from  string
	cross bool
	parts schemas.HopParts
}

// ageOf is sent → handed to the application, which the parts before processing
// fill where all are known; else the record's timestamp → handed.
func ageOf(j joined) aged {
	out := aged{joined: j, parts: j.parts()}
	h := j.placed()
	c := h.Consume
	handed := cmp.Or(c.Handed, c.Start)
	shared := j.clock != nil || h.SharedClock()
	switch p := h.Produce; {
	case p != nil && shared:
		out.age, out.from = schemas.Between(p.Start, handed), "sent"
	case p != nil:
		out.age, out.from, out.cross = schemas.Between(p.Start, handed), "sent", true
	case c.RecordTime != 0:
		out.age, out.from, out.cross = schemas.Between(c.RecordTime, handed), "timestamp", true
	}
	return out
}

// uncertainty is where the true age lies: as far off as the residence, which is
// the only stretch of it that crosses clocks.
func (a *aged) uncertainty() *Uncertainty {
	if a.clock == nil || !a.age.Known || !a.clock.residence.Known() || !a.parts.Backlog.Known || !a.parts.LongPoll.Known {
		return nil
	}
	age := int64(a.age.Duration)
	rest := age - int64(a.parts.Backlog.Duration+a.parts.LongPoll.Duration)
	return uncertainty(clock.Interval{Lo: rest + a.clock.residence.Lo, Hi: rest + a.clock.residence.Hi}, age)
}

// ageParts are the parts that an age is made of.
func (a *aged) ageParts() []namedAgePart {
	p := &a.parts
	return []namedAgePart{
		{exporters.PartBatchQueue, p.BatchQueue},
		{exporters.PartRetry, p.Retry},
		{exporters.PartAck, p.Ack},
		{exporters.PartBacklog, p.Backlog},
		{exporters.PartLongPoll, p.LongPoll},
		{exporters.PartFetchQueue, p.FetchQueue},
	}
}

type namedAgePart struct {
	name exporters.PartName
	part schemas.Part
}

// batchOrders are the orders of a batch's records; the unknown come last.
var batchOrders = map[string]func(a, b *aged) int{
	"oldest":      func(a, b *aged) int { return byPart(a.age, b.age) },
	"youngest":    func(a, b *aged) int { return -byPart(a.age, b.age) },
	"batch_queue": func(a, b *aged) int { return byPart(a.parts.BatchQueue, b.parts.BatchQueue) },
	"ack":         func(a, b *aged) int { return byPart(a.parts.Ack, b.parts.Ack) },
	"backlog":     func(a, b *aged) int { return byPart(a.parts.Backlog, b.parts.Backlog) },
	"long_poll":   func(a, b *aged) int { return byPart(a.parts.LongPoll, b.parts.LongPoll) },
	"fetch_queue": func(a, b *aged) int { return byPart(a.parts.FetchQueue, b.parts.FetchQueue) },
	"size":        func(a, b *aged) int { return cmp.Compare(b.Consume.BodySize, a.Consume.BodySize) },
	"place":       func(*aged, *aged) int { return 0 },
}

// byPart puts the largest first.
func byPart(a, b schemas.Part) int { return cmp.Compare(b.Duration, a.Duration) }

// batch answers /traces/{id}/spans/{span}/batch.
func (h *Handler) batch(ctx context.Context, q *query) (any, error) {
	ref, err := spanOfPath(q)
	if err != nil {
		return nil, err
	}
	order := q.oneOf("order", "oldest", "youngest", "place", "batch_queue", "ack", "backlog", "long_poll", "fetch_queue", "size")
	skip, limit := q.skip(), q.limit(50)
	if q.fault != nil {
		return nil, q.fault
	}
	found, err := h.deps.Messages.HopsOfSpan(ctx, q.project.ID, ref, exporters.MaxBatch)
	if err != nil {
		return nil, fmt.Errorf("cannot read the batch of span %s: %w", ref.SpanID, err)
	}
	spans, err := h.deps.Spans.SpansAt(ctx, q.project.ID, []schemas.SpanRef{ref})
	if err != nil {
		return nil, fmt.Errorf("cannot read span %s of trace %s: %w", ref.SpanID, ref.TraceID, err)
	}
	if len(found) == 0 {
		return nil, errorf(http.StatusNotFound, "batch_not_found",
			"records are named by the links of a receive or process span that carry messaging.kafka.offset", "no record is stored that span %s of trace %s read", ref.SpanID, ref.TraceID)
	}
	hops := make([]joined, len(found))
	for i := range found {
		hops[i] = joined{Hop: found[i], delivery: 1}
	}
	if err := h.addClocks(ctx, q.project.ID, hops); err != nil {
		return nil, err
	}
	all := make([]aged, len(hops))
	for i := range hops {
		all[i] = ageOf(hops[i])
	}
	out := BatchDetail{Records: len(all), Cut: len(all) >= exporters.MaxBatch, Ages: agesOf(all), Order: order, Skip: skip, Messages: []BatchMessage{}}
	facts := finding.BatchFacts{Name: "a span that is not stored", Records: len(all), Group: all[0].Consume.Group}
	if len(spans) > 0 {
		s := linkedSpan(&spans[0])
		out.Span, facts.Name = &s, s.Name
		if told, ok := schemas.Lookup(spans[0].Attributes, messaging.AttrBatchMessageCount); ok {
			if n, err := strconv.Atoi(told); err == nil && n >= len(all) {
				out.Told, facts.Told = &n, n
			}
		}
	}
	batchFacts(&facts, all, out.Ages)
	out.Finding = finding.ForBatch(facts)

	slices.SortStableFunc(all, func(a, b aged) int {
		known := func(x *aged) bool { return x.age.Known }
		if order != "place" && known(&a) != known(&b) {
			if known(&a) {
				return -1
			}
			return 1
		}
		return batchOrders[order](&a, &b)
	})
	page := all[min(skip, len(all)):]
	page = page[:min(limit, len(page))]
	shown := make([]joined, len(page))
	for i := range page {
		shown[i] = page[i].joined
	}
	if err := h.complete(ctx, q.project.ID, shown, nil); err != nil {
		return nil, err
	}
	for i := range page {
		out.Messages = append(out.Messages, BatchMessage{Hop: hopJSON(shown[i]), Age: part(page[i].age), AgeFrom: page[i].from, CrossesClock: page[i].cross && page[i].age.Known})
		out.Messages[i].Age.Uncertainty = page[i].uncertainty()
	}
	return out, nil
}

// spanOfPath reads the trace and the span of a path.
func spanOfPath(q *query) (schemas.SpanRef, error) {
	trace, err := schemas.ParseTraceID(q.path("id"))
	if err != nil || trace.IsZero() {
		return schemas.SpanRef{}, badParameter("id", q.path("id"), "32 hex digits, not all zero")
	}
	span, err := schemas.ParseSpanID(q.path("span"))
	if err != nil || span.IsZero() {
		return schemas.SpanRef{}, badParameter("span", q.path("span"), "16 hex digits, not all zero")
	}
	return schemas.SpanRef{TraceID: trace, SpanID: span}, nil
}

// partSums adds up parts by name; what of a whole no known part has is unknown.
type partSums map[string]*PartTotal

func (s partSums) add(a *aged) {
	rest := int64(a.age.Duration)
	for _, p := range a.ageParts() {
		t := s[string(p.name)]
		if t == nil {
			t = &PartTotal{Name: string(p.name)}
			s[t.Name] = t
		}
		if !p.part.Known {
			t.Unknown++
			continue
		}
		t.Known++
		t.Ns += int64(p.part.Duration)
		rest -= int64(p.part.Duration)
		if p.part.Duration < 0 {
			t.Negative++
		}
	}
	if rest > 0 {
		t := s[partUnknown]
		if t == nil {
			t = &PartTotal{Name: partUnknown}
			s[partUnknown] = t
		}
		t.Unknown++
		t.Ns += rest
	}
}

// partUnknown is the time of ages that no known part has.
const partUnknown = "unknown"

func (s partSums) list() []PartTotal {
	out := []PartTotal{}
	for _, name := range append(slices.Clip(partOrder), partUnknown) {
		if t := s[string(name)]; t != nil && (t.Ns != 0 || t.Known > 0 || t.Unknown > 0) {
			out = append(out, *t)
		}
	}
	return out
}

// mostBars bounds the bars of ages, apart from the one of negative ages.
const mostBars = 20

// agesOf makes bars of ages: even ones, or growing ones where the oldest is many
// times as old as the youngest.
func agesOf(all []aged) BatchAges {
	out := BatchAges{Buckets: []BatchAge{}}
	var ages []int64
	whole := partSums{}
	for i := range all {
		a := &all[i]
		if !a.age.Known {
			out.Unknown++
			continue
		}
		ages = append(ages, int64(a.age.Duration))
		whole.add(a)
		if a.cross {
			out.Crossing++
		}
		if a.age.Duration < 0 {
			out.Negative++
		}
	}
	out.Parts = whole.list()
	if out.Known = len(ages); out.Known == 0 {
		return out
	}
	slices.Sort(ages)
	at := func(q float64) int64 { return ages[min(int(math.Ceil(q*float64(len(ages))))-1, len(ages)-1)] }
	out.MinNs, out.P50Ns, out.P95Ns, out.MaxNs = ages[0], at(.5), at(.95), ages[len(ages)-1]
	edges := []int64{}
	if out.Negative > 0 {
		edges = append(edges, out.MinNs)
	}
	if out.Negative < len(ages) {
		var grow []int64
		grow, out.Log = ageEdges(ages[out.Negative:])
		if out.Negative > 0 {
			grow[0] = 0
		}
		edges = append(edges, grow...)
	} else {
		edges = append(edges, 0)
	}
	parts := make([]partSums, len(edges)-1)
	for i := range parts {
		parts[i] = partSums{}
		out.Buckets = append(out.Buckets, BatchAge{FromNs: edges[i], ToNs: edges[i+1]})
	}
	for i := range all {
		if a := &all[i]; a.age.Known {
			n, exact := slices.BinarySearch(edges, int64(a.age.Duration))
			if !exact {
				n--
			}
			n = min(max(n, 0), len(parts)-1)
			out.Buckets[n].Count++
			parts[n].add(a)
		}
	}
	for i := range parts {
		out.Buckets[i].Parts = parts[i].list()
	}
	return out
}

// ageEdges are the borders of bars for rising ages of zero or more.
func ageEdges(ages []int64) ([]int64, bool) {
	low, high := ages[0], ages[len(ages)-1]
	if low == high {
		return []int64{low, high + 1}, false
	}
	n := min(mostBars, max(4, int(math.Sqrt(float64(len(ages))))))
	floor := max(low, int64(time.Microsecond))
	grow := high/floor > 50
	edges := []int64{low}
	for i := 1; i < n; i++ {
		share := float64(i) / float64(n)
		e := low + int64(share*float64(high-low))
		if grow {
			e = int64(float64(floor) * math.Pow(float64(high)/float64(floor), share))
		}
		if e > edges[len(edges)-1] {
			edges = append(edges, e)
		}
	}
	return append(edges, high), grow
}

// batchFacts are what the finding says of a batch.
func batchFacts(f *finding.BatchFacts, all []aged, ages BatchAges) {
	f.Median, f.Known, f.Negative = time.Duration(ages.P50Ns), ages.Known, ages.Negative
	f.Crossing = ages.Crossing
	for i := range all {
		if a := &all[i]; a.age.Known && (f.OldestTopic == "" || a.age.Duration > f.Oldest) {
			f.Oldest, f.OldestTopic, f.OldestPartition, f.OldestHref = a.age.Duration, a.Consume.Topic, a.Consume.Partition, ""
			if hasRecord(a.Consume) {
				f.OldestHref = finding.RecordHref(a.Consume.Record())
			}
		}
	}
	var sum, most int64
	for _, p := range ages.Parts {
		sum += max(0, p.Ns)
		if p.Ns > most && p.Name != partUnknown {
			most, f.Part = p.Ns, exporters.PartName(p.Name)
		}
	}
	if sum > 0 {
		f.PartShare = float64(most) / float64(sum)
	}
}
