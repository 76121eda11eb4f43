package clickhouse

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// failureCount counts an issue's events by what they share.
type failureCount struct {
	out  *exporters.IssueMessages
	rows map[schemas.RecordRef]*recordRows // of all records that events are about
}

func newFailureCount(out *exporters.IssueMessages) *failureCount {
	return &failureCount{out: out, rows: map[schemas.RecordRef]*recordRows{}}
}

// place gives events the record of the span that they happened in, and tells
// whether any has one.
func (c *failureCount) place(events []failure, found map[schemas.SpanRef]reader) bool {
	for i := range events {
		e := &events[i]
		c.out.Events += e.weight
		if e.record.Topic == "" {
			if r, is := found[e.span]; is {
				e.record, e.group, e.bySpan = r.record, cmp.Or(r.group, e.group), true
			}
		}
		if e.record.Topic == "" {
			continue
		}
		c.out.Placed += e.weight
		if e.bySpan {
			c.out.BySpan += e.weight
		}
		if c.out.First == 0 || e.at < c.out.First {
			c.out.First = e.at
		}
		c.out.Last = max(c.out.Last, e.at)
		if c.rows[e.record] == nil {
			c.rows[e.record] = &recordRows{}
		}
	}
	return c.out.Placed > 0
}

// counted are the events of one value.
type counted struct {
	events  uint64
	records map[schemas.RecordRef]struct{}
}

type countedRecord struct {
	exporters.RecordEvents
	read map[schemas.RecordRef]struct{} // those of its attempts, whose reads are counted
}

// age is an event's age with its weight.
type age struct {
	ns     int64
	weight uint64
}

// count counts the placed events. What the rows of a record tell comes after what
// the event tells.
func (c *failureCount) count(events []failure) {
	values := make([]map[string]*counted, len(exporters.Dimensions))
	for i := range values {
		values[i] = map[string]*counted{}
	}
	records := map[schemas.RecordRef]*countedRecord{}
	aged := map[schemas.RecordRef]struct{}{}
	buckets := make([]map[schemas.RecordRef]struct{}, len(exporters.AgeBounds)+1)
	var ages []age
	for i := range events {
		e := &events[i]
		if e.record.Topic == "" {
			continue
		}
		rows := c.rows[e.record]
		first := e.record // what was made of a record after a failure counts as it
		switch {
		case e.original.Topic != "":
			first = e.original
		case rows.original.Topic != "":
			first = rows.original
		}
		r := records[first]
		if r == nil {
			r = &countedRecord{RecordEvents: exporters.RecordEvents{Record: first, First: e.at, Last: e.at, TraceID: e.span.TraceID}, read: map[schemas.RecordRef]struct{}{}}
			records[first] = r
		}
		r.Events += e.weight
		r.First = min(r.First, e.at)
		if e.at >= r.Last {
			r.Last, r.TraceID = e.at, e.span.TraceID
		}
		if _, is := r.read[e.record]; !is {
			r.read[e.record] = struct{}{}
			r.Reads += rows.reads
		}
		for d, v := range e.values(rows) {
			if v == "" {
				continue
			}
			x := values[d][v]
			if x == nil {
				x = &counted{records: map[schemas.RecordRef]struct{}{}}
				values[d][v] = x
			}
			x.events += e.weight
			x.records[first] = struct{}{}
		}
		if ns, known := e.ageOf(rows); known {
			ages = append(ages, age{ns, e.weight})
			aged[first] = struct{}{}
			b := bucketAt(ns)
			c.out.Age.Buckets[b] += e.weight
			if buckets[b] == nil {
				buckets[b] = map[schemas.RecordRef]struct{}{}
			}
			buckets[b][first] = struct{}{}
			c.old(exporters.EventAge{ID: e.id, Record: e.record, Age: time.Duration(ns), TraceID: e.span.TraceID, SpanID: e.span.SpanID})
		}
	}
	for b, in := range buckets {
		c.out.Age.Records[b] = uint64(len(in))
	}
	c.out.Age.KnownRecords = uint64(len(aged))
	c.quantiles(ages)
	c.worst(records)
	for i, d := range exporters.Dimensions {
		c.out.By = append(c.out.By, listValues(d, values[i]))
	}
}

// values are an event's of each dimension, in their order.
func (e *failure) values(rows *recordRows) [7]string {
	key := e.key
	if key == "" && rows.key != 0 {
		key = fmt.Sprintf("%016x", rows.key)
	}
	reader := rows.readers[readerKey{e.group, e.span.TraceID}]
	return [...]string{
		e.record.Topic, e.record.Topic + ":" + strconv.Itoa(int(e.record.Partition)), e.group, key,
		cmp.Or(e.producer, rows.producer), cmp.Or(reader.release, e.release), cmp.Or(reader.member, e.member),
	}
}

// ageOf is what the event tells, or else the time since the record's timestamp,
// since it was appended, or since it was sent.
func (e *failure) ageOf(rows *recordRows) (ns int64, known bool) {
	if e.age != schemas.Unknown {
		return e.age, true
	}
	since := cmp.Or(e.recordTime, rows.recordTime, rows.appended, rows.sent)
	return e.at - since, since != 0
}

func bucketAt(ns int64) int {
	for i, b := range exporters.AgeBounds {
		if ns < int64(b) {
			return i
		}
	}
	return len(exporters.AgeBounds)
}

// old keeps the events whose message was oldest.
func (c *failureCount) old(e exporters.EventAge) {
	order := func(a, b exporters.EventAge) int {
		return cmp.Or(cmp.Compare(b.Age, a.Age), slices.Compare(a.ID[:], b.ID[:]))
	}
	at, _ := slices.BinarySearchFunc(c.out.Oldest, e, order)
	if at == exporters.MaxOldestEvents {
		return
	}
	c.out.Oldest = slices.Insert(c.out.Oldest, at, e)
	c.out.Oldest = c.out.Oldest[:min(len(c.out.Oldest), exporters.MaxOldestEvents)]
}

func (c *failureCount) quantiles(ages []age) {
	if len(ages) == 0 {
		return
	}
	slices.SortFunc(ages, func(a, b age) int { return cmp.Compare(a.ns, b.ns) })
	out := &c.out.Age
	for _, a := range ages {
		out.Events += a.weight
	}
	out.Min, out.Max = time.Duration(ages[0].ns), time.Duration(ages[len(ages)-1].ns)
	seen := uint64(0)
	next := 0
	quantiles := [...]struct {
		share float64
		to    *time.Duration
	}{{0.5, &out.P50}, {0.9, &out.P90}, {0.99, &out.P99}}
	for _, a := range ages {
		seen += a.weight
		for next < len(quantiles) && float64(seen) >= quantiles[next].share*float64(out.Events) {
			*quantiles[next].to = time.Duration(a.ns)
			next++
		}
	}
}

func (c *failureCount) worst(records map[schemas.RecordRef]*countedRecord) {
	out := c.out
	out.Records = uint64(len(records))
	all := make([]exporters.RecordEvents, 0, len(records))
	for _, r := range records {
		if out.FewestEvents == 0 || r.Events < out.FewestEvents {
			out.FewestEvents = r.Events
		}
		out.MostEvents = max(out.MostEvents, r.Events)
		all = append(all, r.RecordEvents)
	}
	slices.SortFunc(all, func(a, b exporters.RecordEvents) int {
		return cmp.Or(cmp.Compare(b.Events, a.Events), cmp.Compare(a.Record.Topic, b.Record.Topic), cmp.Compare(a.Record.Partition, b.Record.Partition), cmp.Compare(a.Record.Offset, b.Record.Offset))
	})
	out.Worst = slices.Clone(all[:min(len(all), exporters.MaxWorstRecords)])
}

// listValues lists the values of most events.
func listValues(d exporters.Dimension, values map[string]*counted) exporters.MessageDimension {
	out := exporters.MessageDimension{Dimension: d}
	all := make([]exporters.MessageValue, 0, len(values))
	distinct := map[schemas.RecordRef]struct{}{}
	for v, x := range values {
		out.Events += x.events
		for r := range x.records {
			distinct[r] = struct{}{}
		}
		all = append(all, messageValue(string(d), v, x.events, uint64(len(x.records))))
	}
	out.Records = uint64(len(distinct))
	slices.SortFunc(all, func(a, b exporters.MessageValue) int {
		return cmp.Or(cmp.Compare(b.Events, a.Events), cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Value, b.Value))
	})
	listed := min(len(all), exporters.MaxMessageValues)
	out.Values, out.Others = slices.Clone(all[:listed]), uint64(len(all)-listed)
	return out
}
