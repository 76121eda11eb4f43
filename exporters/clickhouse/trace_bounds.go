package clickhouse

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go/proto"
	"github.com/cespare/xxhash/v2"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

const (
	// maxPlaces bounds the rows of trace_bounds that one question reads: beyond it the
	// filters of the tables are asked, as for a trace of a batch of ten thousand.
	maxPlaces = 10_000
	// maxStretches bounds the times by service that one question names; beyond it
	// services are left out of it.
	maxStretches = 200
	// maxNamed is how many values stand in a statement each by itself. More go as one
	// array, which costs the engine a statement within the statement.
	maxNamed = 16
	// spanPlace and eventPlace stand for the partition where a place is of a span and of
	// an event.
	spanPlace  = -2
	eventPlace = -3
	// boundsLast is the last slot that a DateTime holds.
	boundsLast = 1<<32 - boundsSlot
)

// traceKey is trace_bounds.trace of a trace.
func traceKey(id schemas.TraceID) uint64 { return xxhash.Sum64(id[:]) >> 24 }

// recordKey is trace_bounds.trace of what was made of a record after it had failed, and
// of the events that name the record.
func recordKey(r schemas.RecordRef) uint64 {
	return xxhash.Sum64String(r.Topic+"/"+strconv.FormatInt(int64(r.Partition), 10)+"/"+strconv.FormatInt(r.Offset, 10)) >> 24
}

// boundsTime is the slot of a time, in Unix seconds.
func boundsTime(ns int64) uint32 {
	s := ns / int64(time.Second)
	return uint32(min(max(s-s%boundsSlot, 0), boundsLast)) //nolint:gosec // bounded
}

// place is one row of trace_bounds.
type place struct {
	trace   uint64
	at      uint32 // Unix seconds
	service string // of a span; empty of a record
	record  schemas.RecordRef
}

// ofSpan and ofEvent are the records of places that are of no message row.
var (
	ofSpan  = schemas.RecordRef{Partition: spanPlace}
	ofEvent = schemas.RecordRef{Partition: eventPlace}
)

// boundsColumns holds one batch of places, each once. Its memory is reused.
type boundsColumns struct {
	input  proto.Input
	insert string
	seen   map[place]struct{}

	trace          proto.ColUInt64
	time           proto.ColDateTime
	service, topic lowCard
	partition      proto.ColInt32
	offset         proto.ColInt64
}

func newBoundsColumns() *boundsColumns {
	c := &boundsColumns{seen: make(map[place]struct{})}
	c.input = proto.Input{
		{Name: "trace", Data: &c.trace},
		{Name: "time", Data: &c.time},
		{Name: "service", Data: &c.service},
		{Name: "topic", Data: &c.topic},
		{Name: "partition", Data: &c.partition},
		{Name: "offset", Data: &c.offset},
	}
	// Spans and rows of different weeks make more partitions than either alone.
	c.insert = strings.TrimSuffix(insertText("trace_bounds", c.input), "VALUES") + "SETTINGS max_partitions_per_insert_block = 0 VALUES"
	return c
}

func (c *boundsColumns) reset() {
	reset(c.input)
	clear(c.seen)
}

func (c *boundsColumns) add(p place) {
	if _, ok := c.seen[p]; ok {
		return
	}
	c.seen[p] = struct{}{}
	c.trace.Append(p.trace)
	c.time.Data = append(c.time.Data, proto.DateTime(p.at))
	c.service.Append(p.service)
	c.topic.Append(p.record.Topic)
	c.partition.Append(p.record.Partition)
	c.offset.Append(p.record.Offset)
}

func (c *boundsColumns) span(s *schemas.Span) {
	c.add(place{trace: traceKey(s.TraceID), at: boundsTime(s.Start), service: s.Service, record: ofSpan})
}

func (c *boundsColumns) event(e *schemas.Event) {
	p := place{at: boundsTime(e.Time), record: ofEvent}
	if p.trace = traceKey(e.TraceID); !e.TraceID.IsZero() {
		c.add(p)
	}
	for _, r := range []schemas.RecordRef{
		{Topic: e.Topic, Partition: e.Partition, Offset: e.Offset}, {Topic: e.OriginalTopic, Partition: e.OriginalPartition, Offset: e.OriginalOffset},
	} {
		if p.trace = recordKey(r); r.Topic != "" && placed(r) {
			c.add(p)
		}
	}
}

func (c *boundsColumns) message(m *schemas.Message) {
	p := place{trace: traceKey(m.TraceID), at: boundsTime(m.End), record: m.Record()}
	c.add(p)
	if m.CreationTrace != m.TraceID && !m.CreationTrace.IsZero() {
		p.trace = traceKey(m.CreationTrace)
		c.add(p)
	}
	if original, ok := m.Original(); ok {
		p.trace = recordKey(original)
		c.add(p)
	}
}

// writeBounds stores where the rows will lie, before they do: a row that is stored is
// found, and a place whose row never came costs a look.
func (s *Store) writeBounds(ctx context.Context, spans []schemas.Span, messages []schemas.Message, events []schemas.Event) error {
	c := s.boundsColumns.get()
	defer func() { c.reset(); s.boundsColumns.put(c) }()
	for i := range spans {
		c.span(&spans[i])
	}
	for i := range messages {
		c.message(&messages[i])
	}
	for i := range events {
		c.event(&events[i])
	}
	if c.trace.Rows() == 0 {
		return nil
	}
	if err := s.write(ctx, c.insert, c.input); err != nil {
		return fmt.Errorf("cannot write where %d spans, %d message rows and %d events lie: %w", len(spans), len(messages), len(events), err)
	}
	return nil
}

// boundsOf tells where the rows of these keys lie; all is false when there are more than
// maxPlaces, of which some are left out. In one look each key is asked once.
func (s *Store) boundsOf(ctx context.Context, keys []uint64) (out []place, all bool, err error) {
	if len(keys) == 0 {
		return nil, true, nil
	}
	type found struct {
		places []place
		all    bool
	}
	byKey, err := exporters.OnceEach(ctx, "trace_bounds", keys, func(keys []uint64) (map[uint64]found, error) {
		places, err := s.readBounds(ctx, keys)
		if err != nil {
			return nil, err
		}
		out := make(map[uint64]found, len(keys))
		for _, k := range keys {
			out[k] = found{all: len(places) <= maxPlaces}
		}
		for _, p := range places {
			f := out[p.trace]
			f.places = append(f.places, p)
			out[p.trace] = f
		}
		return out, nil
	})
	all = err == nil
	for _, k := range keys {
		out = append(out, byKey[k].places...)
		all = all && byKey[k].all
	}
	return out, all && len(out) <= maxPlaces, err
}

func (s *Store) readBounds(ctx context.Context, keys []uint64) (out []place, err error) {
	var (
		ps             params
		trace          proto.ColUInt64
		at             proto.ColUInt32
		service, topic = lowCardResult(), lowCardResult()
		partition      proto.ColInt32
		offset         proto.ColInt64
	)
	set := "SELECT arrayJoin({keys:Array(UInt64)})"
	if len(keys) <= maxNamed {
		set = named(&ps, "k", "UInt64", keys, func(ps *params, key string, v uint64) { ps.uint(key, v) })
	} else {
		list(&ps, "keys", keys, decimals[uint64])
	}
	ps.int("limit", maxPlaces+1)
	err = s.query(ctx, "SELECT trace, toUInt32(time) AS at, service, topic, partition, offset FROM trace_bounds WHERE trace IN ("+set+") LIMIT {limit:UInt64}"+oneThread, ps,
		proto.Results{
			{Name: "trace", Data: &trace},
			{Name: "at", Data: &at},
			{Name: "service", Data: service},
			{Name: "topic", Data: topic},
			{Name: "partition", Data: &partition},
			{Name: "offset", Data: &offset},
		},
		func() { out = out[:0] },
		func() {
			for i := range trace {
				out = append(out, place{trace[i], at[i], service.Row(i), schemas.RecordRef{Topic: topic.Row(i), Partition: partition[i], Offset: offset[i]}})
			}
		})
	if err != nil {
		return nil, fmt.Errorf("cannot look up where the rows of %d traces or records lie: %w", len(keys), err)
	}
	return out, nil
}

func traceKeys(ids []schemas.TraceID) []uint64 {
	keys := make([]uint64, 0, len(ids))
	for _, id := range ids {
		if k := traceKey(id); !slices.Contains(keys, k) {
			keys = append(keys, k)
		}
	}
	return keys
}

// named binds values each by a name of its own, and gives the list of them.
func named[T any](ps *params, prefix, typ string, vs []T, bind func(ps *params, key string, v T)) string {
	var b strings.Builder
	for i, v := range vs {
		if i > 0 {
			b.WriteByte(',')
		}
		key := prefix + strconv.Itoa(i)
		bind(ps, key, v)
		b.WriteString("{" + key + ":" + typ + "}")
	}
	return b.String()
}

// inTraces binds traces and gives what stands in IN (…).
func (p *params) inTraces(ids []schemas.TraceID) string {
	if len(ids) > maxNamed {
		p.traces(ids)
		return traceSet
	}
	var b strings.Builder
	for i, id := range ids {
		if i > 0 {
			b.WriteByte(',')
		}
		key := "t" + strconv.Itoa(i)
		p.add(key, id.String())
		b.WriteString("toFixedString(unhex({" + key + ":String}), 16)")
	}
	return b.String()
}

// inRecords binds records and gives the condition that a row is of one of them.
func (p *params) inRecords(records []schemas.RecordRef) string {
	if len(records) > maxNamed {
		list(p, "records", records, func(b *strings.Builder, r schemas.RecordRef) {
			b.WriteByte('(')
			literal(b, r.Topic)
			b.WriteString("," + strconv.FormatInt(int64(r.Partition), 10) + "," + strconv.FormatInt(r.Offset, 10) + ")")
		})
		return "(topic, partition, offset) IN (SELECT r.1, r.2, r.3 FROM (SELECT arrayJoin({records:Array(Tuple(String, Int32, Int64))}) AS r))"
	}
	var b strings.Builder
	for i, r := range records {
		if i > 0 {
			b.WriteByte(',')
		}
		n := strconv.Itoa(i)
		p.text("rt"+n, r.Topic)
		p.int("rp"+n, int64(r.Partition))
		p.int("ro"+n, r.Offset)
		b.WriteString("({rt" + n + ":String}, {rp" + n + ":Int32}, {ro" + n + ":Int64})")
	}
	return "(topic, partition, offset) IN (" + b.String() + ")"
}

// whenSeen binds the time that places span and gives the condition.
func (p *params) whenSeen(places []place) string {
	low, high := places[0].at, places[0].at
	for _, at := range places {
		low, high = min(low, at.at), max(high, at.at)
	}
	return p.within("low", low, "high", high)
}

// within is the condition for times in the slots from low to high. What lies before
// 1970 or after 2106 is in the first or the last; of the first nothing is said, since a
// day before 1970 is none that partitions know.
func (p *params) within(lowKey string, low uint32, highKey string, high uint32) string {
	if low == 0 {
		return "1"
	}
	p.int(lowKey, int64(low)*int64(time.Second))
	from := "time >= fromUnixTimestamp64Nano({" + lowKey + ":Int64})"
	if high == boundsLast {
		return from
	}
	p.int(highKey, (int64(high)+boundsSlot)*int64(time.Second))
	return from + " AND time < fromUnixTimestamp64Nano({" + highKey + ":Int64})"
}

// spansAt binds where spans lie and gives the condition; empty when no place is of a span.
func (p *params) spansAt(places []place) string {
	byService := make(map[string][]uint32)
	var order []string
	var of []place
	for _, at := range places {
		if at.record != ofSpan {
			continue
		}
		if _, ok := byService[at.service]; !ok {
			order = append(order, at.service)
		}
		byService[at.service] = append(byService[at.service], at.at)
		of = append(of, at)
	}
	if len(of) == 0 {
		return ""
	}
	type stretch struct {
		service   string
		low, high uint32
	}
	var stretches []stretch
	for _, service := range order {
		slots := byService[service]
		slices.Sort(slots)
		for i, at := range slots {
			if last := len(stretches) - 1; i > 0 && at <= stretches[last].high+2*boundsSlot {
				stretches[last].high = at
				continue
			}
			stretches = append(stretches, stretch{service, at, at})
		}
	}
	if len(stretches) > maxStretches {
		return p.whenSeen(of)
	}
	var b strings.Builder
	for i, t := range stretches {
		if i > 0 {
			b.WriteString(" OR ")
		}
		n := strconv.Itoa(i)
		p.text("s"+n, t.service)
		b.WriteString("(service = {s" + n + ":String} AND " + p.within("l"+n, t.low, "h"+n, t.high) + ")")
	}
	return "(" + b.String() + ")"
}

// eventsAt are the places of events among places.
func eventsAt(places []place) []place {
	return slices.DeleteFunc(slices.Clone(places), func(p place) bool { return p.record != ofEvent })
}

// recordsOf are the records among places, each once, with the places of them.
func recordsOf(places []place) (records []schemas.RecordRef, of []place) {
	seen := make(map[schemas.RecordRef]bool)
	for _, at := range places {
		if at.record == ofSpan || at.record == ofEvent {
			continue
		}
		of = append(of, at)
		if !seen[at.record] {
			seen[at.record] = true
			records = append(records, at.record)
		}
	}
	return records, of
}
