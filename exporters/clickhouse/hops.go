package clickhouse

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// Hops lists hops whose consumer was done in the range. A record that one
// group read more than once makes one hop, of its latest delivery. Slowest
// leaves out hops whose end-to-end time is unknown.
func (s *Store) Hops(ctx context.Context, q exporters.HopQuery) ([]schemas.Hop, error) {
	limit := limited(q.Limit, 50, 500)
	if q.Sent {
		return s.sent(ctx, q, limit)
	}
	var consumers, sides []schemas.Message
	var err error
	if q.Slowest {
		consumers, sides, err = s.slowest(ctx, q, limit)
	} else {
		consumers, err = s.newest(ctx, q, limit)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot list hops: %w", err)
	}
	hops, err := s.withProducers(ctx, q.Project, consumers, sides)
	if err != nil {
		return nil, fmt.Errorf("cannot find the producers of %d hops: %w", len(consumers), err)
	}
	return hops, nil
}

// filter is the condition for the consumers' rows of a query.
func (p *params) filter(q exporters.HopQuery) string {
	p.uint("project", q.Project)
	p.stretch(q.Range)
	where := "project = {project:UInt64} AND side IN (2, 3) AND " + inStretch
	if q.Topic != "" {
		p.text("topic", q.Topic)
		where += " AND topic = {topic:String}"
	}
	if q.Group != "" {
		p.text("group", q.Group)
		where += " AND consumer_group = {group:String}"
	}
	return where + p.records(q)
}

// records is the condition for partition and offsets of a query, and binds it.
func (p *params) records(q exporters.HopQuery) string {
	if q.Partition != nil {
		p.int("partition", int64(*q.Partition))
	}
	p.int("offset_from", q.OffsetFrom)
	p.int("offset_to", q.OffsetTo)
	return ofRecords(q)
}

// ofRecords is the condition that records binds.
func ofRecords(q exporters.HopQuery) (where string) {
	if q.Partition != nil {
		where += " AND partition = {partition:Int32}"
	}
	if q.OffsetFrom > 0 || q.OffsetTo > 0 {
		where += " AND offset >= {offset_from:Int64}"
	}
	if q.OffsetTo > 0 {
		where += " AND offset < {offset_to:Int64}"
	}
	return where
}

// sent gives producers' rows, oldest first, each record once.
func (s *Store) sent(ctx context.Context, q exporters.HopQuery, limit int64) ([]schemas.Hop, error) {
	var ps params
	ps.uint("project", q.Project)
	ps.stretch(q.Range)
	ps.int("limit", limit)
	where := "project = {project:UInt64} AND side = 1 AND " + inStretch
	if q.Topic != "" {
		ps.text("topic", q.Topic)
		where += " AND topic = {topic:String}"
	}
	rows, err := s.messages(ctx, "PREWHERE "+where+ps.records(q)+once, ps)
	if err != nil {
		return nil, fmt.Errorf("cannot list sent records: %w", err)
	}
	hops := make([]schemas.Hop, len(rows))
	for i := range rows {
		hops[i].Produce = &rows[i]
	}
	return hops, nil
}

// newest gives the latest delivery of each record, by its end, newest first.
func (s *Store) newest(ctx context.Context, q exporters.HopQuery, limit int64) ([]schemas.Message, error) {
	var ps params
	where := ps.filter(q)
	ps.int("limit", limit)
	// Most records are delivered once, so the newest rows by far suffice;
	// look among more of them only when deliveries repeat.
	for among := limit * 4; ; among *= 16 {
		qs := append(params(nil), ps...)
		qs.int("among", among)
		rows, err := s.messages(ctx, "PREWHERE "+where+" ORDER BY end_time DESC, start_time DESC, trace_id, span_id LIMIT {among:UInt64}"+rowsOnly, qs)
		if err != nil {
			return nil, err
		}
		full := int64(len(rows)) == among
		rows = latestDeliveries(rows)
		if int64(len(rows)) >= limit {
			return rows[:limit], nil
		}
		if !full || among > 1_000_000 {
			return rows, nil
		}
	}
}

// latestDeliveries leaves of the deliveries of one record to one group the one
// that began last. rows are sorted by end, newest first, and stay so.
func latestDeliveries(rows []schemas.Message) []schemas.Message {
	type key struct {
		record schemas.RecordRef
		group  string
		span   schemas.SpanRef
	}
	last := make(map[key]int, len(rows))
	keep := make([]bool, len(rows))
	for i := range rows {
		m := &rows[i]
		k := key{record: m.Record(), group: m.Group}
		if m.Offset < 0 || m.Partition < 0 {
			k.span = schemas.SpanRef{TraceID: m.TraceID, SpanID: m.SpanID}
		}
		j, ok := last[k]
		if ok && compareDelivery(m, &rows[j]) <= 0 {
			continue
		}
		if ok {
			keep[j] = false
		}
		last[k], keep[i] = i, true
	}
	out := rows[:0]
	for i := range rows {
		if keep[i] {
			out = append(out, rows[i])
		}
	}
	return out
}

// compareDelivery tells which delivery began first.
func compareDelivery(a, b *schemas.Message) int {
	return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.End, b.End), slices.Compare(a.SpanID[:], b.SpanID[:]))
}

// slowest gives the rows of the hops with the largest end-to-end time, largest first,
// and all rows of their records.
func (s *Store) slowest(ctx context.Context, q exporters.HopQuery, limit int64) (consumers, sides []schemas.Message, err error) {
	j, err := s.hopJoin(ctx, q)
	if err != nil {
		return nil, nil, err
	}
	j.params.int("limit", limit)
	var (
		trace proto.ColFixedStr16
		span  proto.ColFixedStr8
		topic = new(proto.ColStr)
		part  proto.ColInt32
		off   proto.ColInt64
		keys  []deliveryKey
	)
	endToEnd := parts[len(parts)-1]
	err = s.query(ctx, `
SELECT CAST(topic, 'String') AS t, partition, offset, c_trace_id, c_span_id FROM (`+j.sql()+`)
WHERE `+endToEnd.known+` ORDER BY `+endToEnd.value+` DESC, topic, partition, offset, consumer_group LIMIT {limit:UInt64}`+j.settings, j.params,
		proto.Results{{Name: "t", Data: topic}, {Name: "partition", Data: &part}, {Name: "offset", Data: &off}, {Name: "c_trace_id", Data: &trace}, {Name: "c_span_id", Data: &span}},
		func() { keys = nil },
		func() {
			for i := range trace {
				keys = append(keys, deliveryKey{
					schemas.RecordRef{Topic: topic.Row(i), Partition: part[i], Offset: off[i]},
					schemas.SpanRef{TraceID: trace[i], SpanID: span[i]},
				})
			}
		})
	if err != nil {
		return nil, nil, err
	}
	return s.deliveries(ctx, q, keys)
}

// deliveryKey names one consumer's row.
type deliveryKey struct {
	record schemas.RecordRef
	span   schemas.SpanRef
}

// deliveries gives the rows that keys name, in their order, and all rows of their
// records: to read both sides at once takes no longer than to read one.
func (s *Store) deliveries(ctx context.Context, q exporters.HopQuery, keys []deliveryKey) (consumers, sides []schemas.Message, err error) {
	records := make([]schemas.RecordRef, len(keys))
	var unplaced []schemas.TraceID // of rows without an offset
	for i, k := range keys {
		records[i] = k.record
		if k.record.Partition < 0 || k.record.Offset < 0 {
			unplaced = append(unplaced, k.span.TraceID)
		}
	}
	sides, err = s.messagesOfRecords(ctx, q.Project, records, " AND side IN (1, 2, 3)", maxMessages)
	if err != nil {
		return nil, nil, err
	}
	rows := sides
	if len(unplaced) > 0 {
		var ps params
		ps.uint("project", q.Project)
		ps.traces(unplaced)
		ps.int("limit", maxMessages)
		more, err := s.messages(ctx, "PREWHERE trace_id IN ("+traceSet+") WHERE project = {project:UInt64} AND side IN (2, 3) AND "+noOffset+once, ps)
		if err != nil {
			return nil, nil, err
		}
		rows = slices.Concat(rows, more)
	}
	byKey := make(map[deliveryKey]*schemas.Message, len(rows))
	for i := range rows {
		m := &rows[i]
		if m.Side.Reads() && (q.Group == "" || m.Group == q.Group) {
			byKey[deliveryKey{m.Record(), schemas.SpanRef{TraceID: m.TraceID, SpanID: m.SpanID}}] = m
		}
	}
	consumers = make([]schemas.Message, 0, len(keys))
	for _, k := range keys {
		if m := byKey[k]; m != nil {
			consumers = append(consumers, *m)
		}
	}
	return consumers, sides, nil
}

// withProducers finds the producer's row of each consumer's: by record, and
// where the producer was told no offset by the context that the record carried,
// if that names one row of the topic. sides are the rows of the records, if the caller
// has read them.
func (s *Store) withProducers(ctx context.Context, project uint64, consumers, sides []schemas.Message) ([]schemas.Hop, error) {
	hops := make([]schemas.Hop, len(consumers))
	records := make([]schemas.RecordRef, len(consumers))
	for i := range consumers {
		hops[i].Consume = &consumers[i]
		records[i] = consumers[i].Record()
	}
	if sides == nil {
		var err error
		if sides, err = s.messagesOfRecords(ctx, project, records, " AND side = 1", maxMessages); err != nil {
			return nil, err
		}
	}
	byRecord := make(map[schemas.RecordRef]*schemas.Message, len(sides))
	for i := range sides {
		m := &sides[i]
		if m.Side != schemas.SideProduce {
			continue
		}
		if have := byRecord[m.Record()]; have == nil || compareDelivery(m, have) < 0 {
			byRecord[m.Record()] = m
		}
	}
	var orphans []int
	var refs []schemas.SpanRef
	for i := range hops {
		c := hops[i].Consume
		if hops[i].Produce = byRecord[c.Record()]; hops[i].Produce == nil && !c.CreationSpan.IsZero() {
			orphans = append(orphans, i)
			refs = append(refs, schemas.SpanRef{TraceID: c.CreationTrace, SpanID: c.CreationSpan})
		}
	}
	if len(orphans) == 0 {
		return hops, nil
	}
	var ps params
	ps.uint("project", project)
	ps.int("limit", maxMessages)
	ps.spans(refs)
	rows, err := s.messages(ctx, "PREWHERE trace_id IN ("+traceSet+")"+
		" WHERE project = {project:UInt64} AND side = 1 AND (offset < 0 OR partition < 0) AND (trace_id, span_id) IN ("+spanSet+")"+once, ps)
	if err != nil {
		return nil, err
	}
	type key struct {
		topic string
		span  schemas.SpanRef
	}
	bySpan := make(map[key][]*schemas.Message, len(rows))
	for i := range rows {
		m := &rows[i]
		k := key{m.Topic, schemas.SpanRef{TraceID: m.TraceID, SpanID: m.SpanID}}
		bySpan[k] = append(bySpan[k], m)
	}
	for n, i := range orphans {
		if found := bySpan[key{hops[i].Consume.Topic, refs[n]}]; len(found) == 1 {
			hops[i].Produce = found[0]
		}
	}
	return hops, nil
}
