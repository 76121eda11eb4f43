package clickhouse

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// Bounds of what is joined.
const (
	maxParents     = 200_000 // spans that are looked among for those above an event's
	maxAbove       = 64      // steps up from it
	maxJoinTopics  = 20      // topics of a baseline
	baselineSample = 50_000  // records of a baseline, about
	maxBaseline    = 48 * time.Hour
	// How long a span may last around an event in it, and a message row around its
	// span: what is looked for lies this near.
	spanReach = 24 * time.Hour
)

// dimAge is counted beside the dimensions of a baseline.
const dimAge = "age"

// IssueMessages tells which records the events of one set are about.
func (s *Store) IssueMessages(ctx context.Context, project uint64, set exporters.EventSet, f exporters.EventFilter) (exporters.IssueMessages, error) {
	if len(set.Hashes) == 0 {
		return exporters.IssueMessages{}, nil
	}
	if f.Range.To.IsZero() {
		f.Range.To = time.Now() // one now for all that follows
	}
	q := newSelection(project)
	out, err := func() (out exporters.IssueMessages, err error) {
		if err = q.sets([]exporters.EventSet{set}); err != nil {
			return out, err
		}
		if err = q.matching(f.Where); err != nil {
			return out, err
		}
		q.stretch(f.Range)
		q.and(inStretch)
		failures, err := s.failures(ctx, q)
		if err != nil {
			return out, err
		}
		if len(failures) > exporters.MaxJoinedEvents {
			failures, out.More = failures[:exporters.MaxJoinedEvents], true
		}
		found, err := s.above(ctx, project, failures)
		if err != nil {
			return out, err
		}
		c := newFailureCount(&out)
		if !c.place(failures, found) {
			return out, nil
		}
		if err = s.rowsOf(ctx, q, c, found); err != nil {
			return out, err
		}
		c.count(failures)
		return out, s.baseline(ctx, project, f.Range, &out)
	}()
	if err != nil {
		return exporters.IssueMessages{}, fmt.Errorf("cannot join the events of issue %d with messages: %w", set.Issue, err)
	}
	return out, nil
}

// failure is one event, with its record as far as the event tells it.
type failure struct {
	id                                    schemas.EventID
	at                                    int64
	weight                                uint64
	span                                  schemas.SpanRef
	record, original                      schemas.RecordRef // topics are empty when not told
	bySpan                                bool
	group, key, producer, release, member string
	age, recordTime                       int64
}

const tellsRecord = "topic != '' AND partition >= 0 AND offset >= 0"

// failures reads the newest events of a selection, each once.
func (s *Store) failures(ctx context.Context, q *selection) (out []failure, err error) {
	ps := append(params(nil), q.params...)
	ps.int("events", exporters.MaxJoinedEvents+1)
	var (
		id, trace                                       proto.ColFixedStr16
		span                                            proto.ColFixedStr8
		at, offset, original, age, recordTime           proto.ColInt64
		weight                                          proto.ColUInt64
		partition, originalPartition                    proto.ColInt32
		topic, group, producer, release, member, before = lowCardResult(), lowCardResult(), lowCardResult(), lowCardResult(), lowCardResult(), lowCardResult()
		key                                             proto.ColStr
	)
	err = s.query(ctx, `
SELECT id, toUnixTimestamp64Nano(time) AS at, toUInt64(greatest(weight, 1)) AS w, trace_id, span_id, topic, partition, offset, consumer_group, lower(key_hash) AS key_of,
	producer_release, release, member, age, record_time, original_topic, original_partition, original_offset
FROM (SELECT * FROM events WHERE `+q.where+` ORDER BY time DESC, id, source, source_offset, source_index LIMIT 2 * {events:UInt64})
ORDER BY time DESC, id, source, source_offset, source_index LIMIT 1 BY id LIMIT {events:UInt64}`, ps,
		proto.Results{
			{Name: "id", Data: &id},
			{Name: "at", Data: &at},
			{Name: "w", Data: &weight},
			{Name: "trace_id", Data: &trace},
			{Name: "span_id", Data: &span},
			{Name: "topic", Data: topic},
			{Name: "partition", Data: &partition},
			{Name: "offset", Data: &offset},
			{Name: "consumer_group", Data: group},
			{Name: "key_of", Data: &key},
			{Name: "producer_release", Data: producer},
			{Name: "release", Data: release},
			{Name: "member", Data: member},
			{Name: "age", Data: &age},
			{Name: "record_time", Data: &recordTime},
			{Name: "original_topic", Data: before},
			{Name: "original_partition", Data: &originalPartition},
			{Name: "original_offset", Data: &original},
		},
		func() { out = out[:0] },
		func() {
			for i := range id {
				e := failure{
					id: id[i], at: at[i], weight: weight[i], span: schemas.SpanRef{TraceID: trace[i], SpanID: span[i]}, group: group.Row(i), key: key.Row(i),
					producer: producer.Row(i), release: release.Row(i), member: member.Row(i), age: age[i], recordTime: recordTime[i],
				}
				if t := topic.Row(i); t != "" && partition[i] >= 0 && offset[i] >= 0 {
					e.record = schemas.RecordRef{Topic: t, Partition: partition[i], Offset: offset[i]}
				}
				if t := before.Row(i); t != "" && originalPartition[i] >= 0 && original[i] >= 0 {
					e.original = schemas.RecordRef{Topic: t, Partition: originalPartition[i], Offset: original[i]}
				}
				out = append(out, e)
			}
		})
	return out, err
}

// reader is the reading of a record that an event's span lies in.
type reader struct {
	record schemas.RecordRef
	group  string
}

// above finds what was being read where events that name no record happened: by
// their span, or by one above it. A span that read several records does not tell
// which.
func (s *Store) above(ctx context.Context, project uint64, events []failure) (map[schemas.SpanRef]reader, error) {
	seen := map[schemas.SpanRef]bool{}
	ids := map[schemas.TraceID]bool{}
	var lost []schemas.SpanRef
	var of []schemas.TraceID
	var from, to int64
	for i := range events {
		e := &events[i]
		if e.record.Topic != "" || e.span.TraceID.IsZero() || e.span.SpanID.IsZero() {
			continue
		}
		if !seen[e.span] {
			if len(lost) == exporters.MaxJoinedSpans {
				break
			}
			seen[e.span] = true
			lost = append(lost, e.span)
			if !ids[e.span.TraceID] {
				ids[e.span.TraceID] = true
				of = append(of, e.span.TraceID)
			}
		}
		if from == 0 || e.at < from {
			from = e.at
		}
		to = max(to, e.at)
	}
	if len(lost) == 0 {
		return nil, nil
	}
	var near params
	near.uint("project", project)
	near.int("from", from-int64(spanReach))
	near.int("to", to+int64(spanReach))
	readers, err := s.readersOf(ctx, append(params(nil), near...), of)
	if err != nil || len(readers) == 0 {
		return nil, err
	}
	// Only the traces that anything was read in are climbed.
	of = of[:0]
	for _, l := range lost {
		if _, is := readers[l]; !is && ids[l.TraceID] {
			of = append(of, l.TraceID)
			ids[l.TraceID] = false
		}
	}
	read := map[schemas.TraceID]bool{}
	for ref := range readers {
		read[ref.TraceID] = true
	}
	of = slices.DeleteFunc(of, func(id schemas.TraceID) bool { return !read[id] })
	parents, err := s.parentsOf(ctx, append(params(nil), near...), of)
	if err != nil {
		return nil, err
	}
	out := map[schemas.SpanRef]reader{}
	for _, l := range lost {
		at := l
		for range maxAbove {
			if r, is := readers[at]; is {
				if r.record.Topic != "" {
					out[l] = r
				}
				break
			}
			if at.SpanID = parents[at]; at.SpanID.IsZero() {
				break
			}
		}
	}
	return out, nil
}

// readersOf gives the spans of traces that read a record; one that read several
// comes without a topic.
func (s *Store) readersOf(ctx context.Context, ps params, traces []schemas.TraceID) (map[schemas.SpanRef]reader, error) {
	ps.traces(traces)
	ps.int("limit", maxParents)
	var trace proto.ColFixedStr16
	var span proto.ColFixedStr8
	var topic, group proto.ColStr
	var partition proto.ColInt32
	var offset proto.ColInt64
	var n proto.ColUInt64
	out := map[schemas.SpanRef]reader{}
	err := s.query(ctx, `
SELECT trace_id, span_id, any(CAST(topic, 'String')) AS topic_of, any(partition) AS partition_of, any(offset) AS offset_of,
	any(CAST(consumer_group, 'String')) AS group_of, uniqExact(topic, partition, offset) AS n
FROM messages PREWHERE trace_id IN (`+traceSet+`)
WHERE project = {project:UInt64} AND side IN (2, 3) AND partition >= 0 AND offset >= 0 AND `+inStretch+`
GROUP BY trace_id, span_id LIMIT {limit:UInt64}`, ps,
		proto.Results{
			{Name: "trace_id", Data: &trace},
			{Name: "span_id", Data: &span},
			{Name: "topic_of", Data: &topic},
			{Name: "partition_of", Data: &partition},
			{Name: "offset_of", Data: &offset},
			{Name: "group_of", Data: &group},
			{Name: "n", Data: &n},
		},
		func() { clear(out) },
		func() {
			for i := range trace {
				r := reader{schemas.RecordRef{Topic: topic.Row(i), Partition: partition[i], Offset: offset[i]}, group.Row(i)}
				if n[i] != 1 {
					r = reader{}
				}
				out[schemas.SpanRef{TraceID: trace[i], SpanID: span[i]}] = r
			}
		})
	return out, err
}

func (s *Store) parentsOf(ctx context.Context, ps params, traces []schemas.TraceID) (map[schemas.SpanRef]schemas.SpanID, error) {
	out := map[schemas.SpanRef]schemas.SpanID{}
	if len(traces) == 0 {
		return out, nil
	}
	ps.traces(traces)
	ps.int("limit", maxParents)
	var trace proto.ColFixedStr16
	var span, parent proto.ColFixedStr8
	err := s.query(ctx, "SELECT trace_id, span_id, parent_id FROM spans PREWHERE trace_id IN ("+traceSet+") WHERE project = {project:UInt64} AND parent_id != toFixedString('', 8) AND "+inStretch+" LIMIT {limit:UInt64}", ps,
		proto.Results{{Name: "trace_id", Data: &trace}, {Name: "span_id", Data: &span}, {Name: "parent_id", Data: &parent}},
		func() { clear(out) },
		func() {
			for i := range trace {
				out[schemas.SpanRef{TraceID: trace[i], SpanID: span[i]}] = parent[i]
			}
		})
	return out, err
}

// recordRows is what the message rows of a record tell, at its producer and at its
// readers.
type recordRows struct {
	key                        uint64
	producer                   string
	recordTime, appended, sent int64
	original                   schemas.RecordRef
	reads                      uint64
	readers                    map[readerKey]readerRow
}

type readerKey struct {
	group string
	trace schemas.TraceID
}

type readerRow struct{ release, member string }

// maxRecordRows bounds what is read of the rows of all records of an issue: one of
// each group and trace that read a record, and one of its producer.
const maxRecordRows = 3 * exporters.MaxJoinedEvents

// rowsOf reads the rows of the records that were found and told.
func (s *Store) rowsOf(ctx context.Context, q *selection, c *failureCount, found map[schemas.SpanRef]reader) error {
	ps := append(params(nil), q.params...)
	ps.int("limit", maxRecordRows)
	list(&ps, "found", slices.Collect(maps.Values(found)), func(b *strings.Builder, r reader) {
		b.WriteByte('(')
		literal(b, r.record.Topic)
		b.WriteString("," + strconv.FormatInt(int64(r.record.Partition), 10) + "," + strconv.FormatInt(r.record.Offset, 10) + ")")
	})
	var (
		topic, group, release, member, before = lowCardResult(), lowCardResult(), lowCardResult(), lowCardResult(), lowCardResult()
		partition, originalPartition          proto.ColInt32
		offset, recordTime, appended, start   proto.ColInt64
		original                              proto.ColInt64
		sends                                 proto.ColUInt8
		trace                                 proto.ColFixedStr16
		key, reads                            proto.ColUInt64
	)
	return s.query(ctx, `
SELECT topic, partition, offset, toUInt8(side = 1) AS sends, consumer_group, trace_id, max(key_hash) AS key_of, toLowCardinality(any(release)) AS release_of, toLowCardinality(any(client_id)) AS member_of,
	max(record_time) AS record_time_of, max(appended) AS appended_of, min(start_time) AS start_of, uniqExact(span_id) AS reads,
	toLowCardinality(any(retry_topic)) AS original_topic, any(retry_partition) AS original_partition, any(retry_offset) AS original_offset
FROM messages
WHERE project = {project:UInt64} AND side IN (1, 2, 3) AND (topic, partition, offset) IN
(
	SELECT CAST(topic, 'String'), partition, offset FROM events WHERE `+q.where+` AND `+tellsRecord+`
	UNION ALL
	SELECT r.1, r.2, r.3 FROM (SELECT arrayJoin({found:Array(Tuple(String, Int32, Int64))}) AS r)
)
GROUP BY topic, partition, offset, sends, consumer_group, trace_id LIMIT {limit:UInt64}`, ps,
		proto.Results{
			{Name: "topic", Data: topic},
			{Name: "partition", Data: &partition},
			{Name: "offset", Data: &offset},
			{Name: "sends", Data: &sends},
			{Name: "consumer_group", Data: group},
			{Name: "trace_id", Data: &trace},
			{Name: "key_of", Data: &key},
			{Name: "release_of", Data: release},
			{Name: "member_of", Data: member},
			{Name: "record_time_of", Data: &recordTime},
			{Name: "appended_of", Data: &appended},
			{Name: "start_of", Data: &start},
			{Name: "reads", Data: &reads},
			{Name: "original_topic", Data: before},
			{Name: "original_partition", Data: &originalPartition},
			{Name: "original_offset", Data: &original},
		},
		func() {
			for _, r := range c.rows {
				*r = recordRows{}
			}
		},
		func() {
			for i := range key {
				r := c.rows[schemas.RecordRef{Topic: topic.Row(i), Partition: partition[i], Offset: offset[i]}]
				if r == nil {
					continue // of an older event
				}
				r.key, r.recordTime, r.appended = max(r.key, key[i]), max(r.recordTime, recordTime[i]), max(r.appended, appended[i])
				if t := before.Row(i); t != "" {
					r.original = schemas.RecordRef{Topic: t, Partition: originalPartition[i], Offset: original[i]}
				}
				if sends[i] != 0 {
					if r.sent == 0 || start[i] < r.sent {
						r.sent = start[i]
					}
					r.producer = cmp.Or(release.Row(i), r.producer)
					continue
				}
				r.reads += reads[i]
				if r.readers == nil {
					r.readers = map[readerKey]readerRow{}
				}
				r.readers[readerKey{group.Row(i), trace[i]}] = readerRow{release.Row(i), member.Row(i)}
			}
		})
}

// bucketOf is the number of an age's bucket; see exporters.AgeBounds.
func bucketOf(age string) string {
	var b strings.Builder
	b.WriteString("multiIf(")
	for i, bound := range exporters.AgeBounds {
		fmt.Fprintf(&b, "%s < %d, '%d', ", age, int64(bound), i)
	}
	fmt.Fprintf(&b, "'%d')", len(exporters.AgeBounds))
	return b.String()
}

func dimension(m *exporters.IssueMessages, name string) *exporters.MessageDimension {
	i := slices.Index(exporters.Dimensions, exporters.Dimension(name))
	if i < 0 {
		return nil
	}
	return &m.By[i]
}

func messageValue(dimension, value string, events, records uint64) exporters.MessageValue {
	v := exporters.MessageValue{Value: value, Events: events, Records: records}
	if dimension == string(exporters.DimPartition) {
		if i := strings.LastIndexByte(value, ':'); i >= 0 {
			v.Topic, v.Value = value[:i], value[i+1:]
		}
	}
	return v
}

// baseline counts the records that were processed of the same topics around the
// events: from as long before the first as they lasted, at least an hour, at most
// maxBaseline before the last.
func (s *Store) baseline(ctx context.Context, project uint64, r exporters.Range, out *exporters.IssueMessages) error {
	var ps params
	ps.uint("project", project)
	from, to := nanos(r)
	before := max(out.Last-out.First, int64(time.Hour))
	out.BaselineFrom = max(out.First-before, out.Last-int64(maxBaseline), from)
	out.BaselineTo = min(out.Last+int64(time.Minute), to)
	ps.int("from", out.BaselineFrom)
	ps.int("to", out.BaselineTo)
	topics := dimension(out, string(exporters.DimTopic)).Values
	topics = topics[:min(len(topics), maxJoinTopics)]
	names := make([]string, 0, len(topics))
	for _, v := range topics {
		names = append(names, v.Value)
	}
	list(&ps, "topics", names, literal)
	top := dimension(out, string(exporters.DimKey)).Values
	keys := make([]string, 0, len(top))
	for _, v := range top {
		keys = append(keys, v.Value)
	}
	list(&ps, "keys", keys, literal)
	const where = "project = {project:UInt64} AND topic IN (SELECT arrayJoin({topics:Array(String)})) AND side IN (2, 3) AND partition >= 0 AND offset >= 0 AND " + inStretch
	var rows proto.ColUInt64
	var count uint64
	err := s.query(ctx, "SELECT count() AS n FROM messages WHERE "+where, ps, proto.Results{{Name: "n", Data: &rows}}, func() { count = 0 }, func() {
		for _, v := range rows {
			count += v
		}
	})
	if err != nil || count == 0 {
		return err
	}
	out.Sample = max(1, (count+baselineSample-1)/baselineSample)
	ps.uint("sample", out.Sample)
	ps.int("values", 10*exporters.MaxMessageValues)
	const sampled = " AND cityHash64(partition, offset) % {sample:UInt64} = 0"
	var key, value proto.ColStr
	var n, total proto.ColUInt64
	var first proto.ColInt64
	return s.query(ctx, `
SELECT key, value, n, first, toUInt64(sum(n) OVER (PARTITION BY key)) AS total
FROM
(
	SELECT kv.1 AS key, kv.2 AS value, uniqExact(record) AS n, min(began) AS first
	FROM
	(
		SELECT *, cityHash64(topic, partition, offset) AS record, if(c_key != 0, c_key, p_key) AS key_hash_of,
			if(key_hash_of = 0, '', lower(leftPad(hex(key_hash_of), 16, '0'))) AS key_of,
			multiIf(c_record_time != 0, began - c_record_time, p_record_time != 0, began - p_record_time, c_appended != 0, began - c_appended, p_appended != 0, began - p_appended, began - p_sent) AS age_of,
			c_record_time != 0 OR c_appended != 0 OR p_sent != 0 AS has_age
		FROM
		(
			SELECT CAST(topic, 'String') AS topic, partition, offset, CAST(consumer_group, 'String') AS grp, CAST(release, 'String') AS c_release, CAST(client_id, 'String') AS member,
				key_hash AS c_key, record_time AS c_record_time, appended AS c_appended, start_time AS began
			FROM messages WHERE `+where+sampled+`
		) AS c
		ANY LEFT JOIN
		(
			SELECT CAST(topic, 'String') AS topic, partition, offset, CAST(release, 'String') AS p_release, key_hash AS p_key, record_time AS p_record_time, appended AS p_appended, start_time AS p_sent
			FROM messages WHERE project = {project:UInt64} AND side = 1 AND (topic, partition, offset) IN (SELECT topic, partition, offset FROM messages WHERE `+where+sampled+`)
		) AS p USING (topic, partition, offset)
	)
	ARRAY JOIN arrayFilter(kv -> kv.2 != '', [('topic', topic), ('partition', concat(topic, ':', toString(partition))), ('group', grp),
		('key', if(key_of = '' OR has({keys:Array(String)}, key_of), key_of, '*')), ('producer_release', p_release), ('release', c_release), ('member', member),
		('age', if(has_age, `+bucketOf("age_of")+`, ''))]) AS kv
	GROUP BY key, value
)
ORDER BY key, n DESC, value LIMIT {values:UInt64} BY key`, ps,
		proto.Results{
			{Name: "key", Data: &key},
			{Name: "value", Data: &value},
			{Name: "n", Data: &n},
			{Name: "first", Data: &first},
			{Name: "total", Data: &total},
		},
		func() {
			out.Age.Baseline, out.Age.KnownBaseline = [len(exporters.AgeBounds) + 1]uint64{}, 0
			for i := range out.By {
				d := &out.By[i]
				d.Baseline = 0
				d.Values = slices.DeleteFunc(d.Values, func(v exporters.MessageValue) bool { return v.Events == 0 })
				for k := range d.Values {
					d.Values[k].Baseline, d.Values[k].Since = 0, 0
				}
			}
		},
		func() {
			for i := range n {
				k, v := key.Row(i), value.Row(i)
				if k == dimAge {
					if at, err := strconv.Atoi(v); err == nil && at < len(out.Age.Baseline) {
						out.Age.Baseline[at], out.Age.KnownBaseline = n[i], total[i]
					}
					continue
				}
				d := dimension(out, k)
				if d == nil {
					continue
				}
				d.Baseline = total[i]
				if v == "*" && k == string(exporters.DimKey) {
					continue
				}
				add := messageValue(k, v, 0, 0)
				at := slices.IndexFunc(d.Values, func(o exporters.MessageValue) bool { return o.Topic == add.Topic && o.Value == add.Value })
				if at < 0 {
					if d.Others > 0 || len(d.Values) >= exporters.MaxMessageValues {
						continue // it may be one of the others, of which events are not listed
					}
					at = len(d.Values)
					d.Values = append(d.Values, add)
				}
				d.Values[at].Baseline, d.Values[at].Since = n[i], first[i]
			}
		})
}

// EventsOfRecord lists the events that name a record.
func (s *Store) EventsOfRecord(ctx context.Context, project uint64, record schemas.RecordRef, limit int) ([]schemas.Event, error) {
	if record.Topic == "" || record.Partition < 0 || record.Offset < 0 {
		return nil, nil
	}
	places, all, err := s.boundsOf(ctx, []uint64{recordKey(record)})
	if err != nil {
		return nil, fmt.Errorf("cannot read the events of record %s/%d/%d: %w", record.Topic, record.Partition, record.Offset, err)
	}
	var ps params
	where := ""
	if all {
		if places = eventsAt(places); len(places) == 0 {
			return nil, nil // as of most records
		}
		where = " AND " + ps.whenSeen(places)
	}
	ps.uint("project", project)
	ps.text("topic", record.Topic)
	ps.int("partition", int64(record.Partition))
	ps.int("offset", record.Offset)
	ps.int("limit", limited(limit, 50, 500))
	out, err := s.events(ctx, "project = {project:UInt64}"+where+" AND (offset = {offset:Int64} AND partition = {partition:Int32} AND topic = {topic:String}"+
		" OR original_offset = {offset:Int64} AND original_partition = {partition:Int32} AND original_topic = {topic:String})", ps)
	if err != nil {
		return nil, fmt.Errorf("cannot read the events of record %s/%d/%d: %w", record.Topic, record.Partition, record.Offset, err)
	}
	return out, nil
}
