package clickhouse

import (
	"cmp"
	"context"
	"fmt"
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
	baselineSample = 100_000 // records of a baseline, about
	// How long a span may last around an event in it, and a message row around its
	// span: what is looked for lies this near.
	spanReach = 24 * time.Hour
)

// dimRecord and dimAge are counted beside the dimensions.
const (
	dimRecord = "record"
	dimAge    = "age"
)

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
		found, err := s.above(ctx, q)
		if err != nil {
			return out, err
		}
		j := failures(q, found)
		if err = s.countFailures(ctx, j, &out); err != nil || out.Placed == 0 {
			return out, err
		}
		if err = s.agesOf(ctx, j, &out); err != nil {
			return out, err
		}
		if out.Oldest, err = s.oldest(ctx, j); err != nil {
			return out, err
		}
		if out.Worst, err = s.worst(ctx, j); err != nil {
			return out, err
		}
		return out, s.baseline(ctx, project, f.Range, &out)
	}()
	if err != nil {
		return exporters.IssueMessages{}, fmt.Errorf("cannot join the events of issue %d with messages: %w", set.Issue, err)
	}
	return out, nil
}

// reader is the reading of a record that an event's span lies in.
type reader struct {
	span      schemas.SpanRef // the event's
	topic     string
	partition int32
	offset    int64
	group     string
}

const noRecord = "(topic = '' OR partition < 0 OR offset < 0)"

// above finds what was being read where events of a selection that name no record
// happened: by their span, or by one above it. A span that read several records
// does not tell which.
func (s *Store) above(ctx context.Context, q *selection) ([]reader, error) {
	ps := append(params(nil), q.params...)
	ps.int("limit", exporters.MaxJoinedSpans)
	var traces proto.ColFixedStr16
	var spans proto.ColFixedStr8
	var first, last proto.ColInt64
	var lost []schemas.SpanRef
	var from, to int64
	err := s.query(ctx, "SELECT trace_id, span_id, min(toUnixTimestamp64Nano(time)) AS first, max(toUnixTimestamp64Nano(time)) AS last FROM events WHERE "+q.where+
		" AND "+noRecord+" AND trace_id != toFixedString('', 16) AND span_id != toFixedString('', 8) GROUP BY trace_id, span_id ORDER BY last DESC, trace_id, span_id LIMIT {limit:UInt64}", ps,
		proto.Results{{Name: "trace_id", Data: &traces}, {Name: "span_id", Data: &spans}, {Name: "first", Data: &first}, {Name: "last", Data: &last}},
		func() { lost, from, to = nil, 0, 0 },
		func() {
			for i := range traces {
				lost = append(lost, schemas.SpanRef{TraceID: traces[i], SpanID: spans[i]})
				if from == 0 || first[i] < from {
					from = first[i]
				}
				to = max(to, last[i])
			}
		})
	if err != nil || len(lost) == 0 {
		return nil, err
	}
	ids := map[schemas.TraceID]bool{}
	var of []schemas.TraceID
	for _, l := range lost {
		if !ids[l.TraceID] {
			ids[l.TraceID] = true
			of = append(of, l.TraceID)
		}
	}
	near := params(nil)
	for _, p := range q.params {
		if p.Key == "project" {
			near = append(near, p)
		}
	}
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
	var out []reader
	for _, l := range lost {
		at := l
		for range maxAbove {
			if r, is := readers[at]; is {
				if r.topic != "" {
					r.span = l
					out = append(out, r)
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
				r := reader{topic: topic.Row(i), partition: partition[i], offset: offset[i], group: group.Row(i)}
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

// failed is a subquery of an issue's events, each once, with its record.
type failed struct {
	params params
	events string // events with the record that they name or that was found; topic is empty without one
	rows   string // of those with a record, and what the record's message rows tell
}

// failures prepares the subqueries.
func failures(q *selection, found []reader) failed {
	j := failed{params: append(params(nil), q.params...)}
	j.params.int("events", exporters.MaxJoinedEvents+1)
	list(&j.params, "found", found, func(b *strings.Builder, r reader) {
		b.WriteByte('(')
		literal(b, r.span.TraceID.String())
		b.WriteByte(',')
		literal(b, r.span.SpanID.String())
		b.WriteByte(',')
		literal(b, r.topic)
		b.WriteString("," + strconv.FormatInt(int64(r.partition), 10) + "," + strconv.FormatInt(r.offset, 10) + ",")
		literal(b, r.group)
		b.WriteByte(')')
	})
	j.events = `
SELECT id, at, w, trace_id, span_id, f_topic != '' AS by_span, if(by_span, f_topic, e_topic) AS topic, if(by_span, f_partition, e_partition) AS partition,
	if(by_span, f_offset, e_offset) AS offset, if(by_span AND f_group != '', f_group, e_group) AS grp, e_key, e_age, e_record_time, e_producer, e_release, e_member, e_original
FROM
(
	SELECT id, at, w, e.1 AS trace_id, e.2 AS span_id, if(e.3 != '' AND e.4 >= 0 AND e.5 >= 0, e.3, '') AS e_topic, e.4 AS e_partition, e.5 AS e_offset, e.6 AS e_group,
		lower(e.7) AS e_key, e.8 AS e_age, e.9 AS e_record_time, e.10 AS e_producer, e.11 AS e_release, e.12 AS e_member, e.13 AS e_original
	FROM
	(
		SELECT id, min(toUnixTimestamp64Nano(time)) AS at, toUInt64(max(greatest(weight, 1))) AS w,
			argMin(tuple(trace_id, span_id, CAST(topic, 'String'), partition, offset, CAST(consumer_group, 'String'), key_hash, age, record_time,
				CAST(producer_release, 'String'), CAST(release, 'String'), CAST(member, 'String'),
				tuple(CAST(original_topic, 'String'), original_partition, original_offset)), time) AS e
		FROM events WHERE ` + q.where + ` GROUP BY id ORDER BY at DESC, id LIMIT {events:UInt64}
	)
) AS told
ANY LEFT JOIN
(
	SELECT toFixedString(unhex(r.1), 16) AS trace_id, toFixedString(unhex(r.2), 8) AS span_id, r.3 AS f_topic, r.4 AS f_partition, r.5 AS f_offset, r.6 AS f_group
	FROM (SELECT arrayJoin({found:Array(Tuple(String, String, String, Int32, Int64, String))}) AS r)
) AS f USING (trace_id, span_id)`
	// The rows of a record at its producer and its readers. What a record came of
	// after a failure is one record for all its attempts.
	j.rows = `
SELECT id, at, w, trace_id, span_id, by_span, topic, partition, offset, grp,
	multiIf(e_original.1 != '' AND e_original.2 >= 0 AND e_original.3 >= 0, e_original, m_original.1 != '', m_original, (topic, partition, offset)) AS first_record,
	cityHash64(first_record) AS record, m_reads AS reads,
	multiIf(e_key != '', e_key, m_key != 0, lower(leftPad(hex(m_key), 16, '0')), '') AS key_of,
	if(e_producer != '', e_producer, m_producer) AS producer, if(r_release != '', r_release, e_release) AS release_of, if(r_member != '', r_member, e_member) AS member_of,
	multiIf(e_age != -1, e_age, e_record_time != 0, at - e_record_time, m_record_time != 0, at - m_record_time, m_appended != 0, at - m_appended, m_sent != 0, at - m_sent, -1) AS age_of,
	e_age != -1 OR e_record_time != 0 OR m_record_time != 0 OR m_appended != 0 OR m_sent != 0 AS has_age
FROM
(
	SELECT * FROM
	(SELECT * FROM (` + j.events + `) WHERE topic != '') AS e
	ANY LEFT JOIN
	(
		SELECT CAST(topic, 'String') AS topic, partition, offset, max(key_hash) AS m_key, anyIf(CAST(release, 'String'), side = 1 AND release != '') AS m_producer,
			max(record_time) AS m_record_time, max(appended) AS m_appended, minIf(start_time, side = 1) AS m_sent, uniqExactIf((trace_id, span_id), side IN (2, 3)) AS m_reads,
			anyIf((CAST(retry_topic, 'String'), retry_partition, retry_offset), retry_topic != '') AS m_original
		FROM messages
		WHERE project = {project:UInt64} AND side IN (1, 2, 3) AND (topic, partition, offset) IN (SELECT topic, partition, offset FROM (` + j.events + `) WHERE topic != '')
		GROUP BY topic, partition, offset
	) AS m USING (topic, partition, offset)
) AS em
ANY LEFT JOIN
(
	SELECT CAST(topic, 'String') AS topic, partition, offset, CAST(consumer_group, 'String') AS grp, trace_id, any(CAST(release, 'String')) AS r_release, any(CAST(client_id, 'String')) AS r_member
	FROM messages
	WHERE project = {project:UInt64} AND side IN (2, 3) AND (topic, partition, offset) IN (SELECT topic, partition, offset FROM (` + j.events + `) WHERE topic != '')
	GROUP BY topic, partition, offset, grp, trace_id
) AS r USING (topic, partition, offset, grp, trace_id)`
	return j
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

// countFailures counts the events, their records and the values of each dimension.
func (s *Store) countFailures(ctx context.Context, j failed, out *exporters.IssueMessages) error {
	var events, looked, placed, bySpan proto.ColUInt64
	var first, last proto.ColInt64
	err := s.query(ctx, `
SELECT toUInt64(sum(w)) AS events, count() AS looked, toUInt64(sumIf(w, topic != '')) AS placed, toUInt64(sumIf(w, topic != '' AND by_span)) AS by_span_events,
	minIf(at, topic != '') AS first, maxIf(at, topic != '') AS last
FROM (`+j.events+`)`, j.params,
		proto.Results{
			{Name: "events", Data: &events},
			{Name: "looked", Data: &looked},
			{Name: "placed", Data: &placed},
			{Name: "by_span_events", Data: &bySpan},
			{Name: "first", Data: &first},
			{Name: "last", Data: &last},
		},
		func() { *out = exporters.IssueMessages{} },
		func() {
			for i := range events {
				out.Events, out.Placed, out.BySpan = events[i], placed[i], bySpan[i]
				out.More = looked[i] > exporters.MaxJoinedEvents
				out.First, out.Last = first[i], last[i]
			}
		})
	if err != nil || out.Placed == 0 {
		return err
	}
	ps := append(params(nil), j.params...)
	ps.int("values", exporters.MaxMessageValues)
	var key, value proto.ColStr
	var n, records, total, totalRecords, values, fewest proto.ColUInt64
	return s.query(ctx, `
SELECT key, value, n, records, toUInt64(sum(n) OVER (PARTITION BY key)) AS total, toUInt64(sum(records) OVER (PARTITION BY key)) AS total_records,
	count() OVER (PARTITION BY key) AS distinct_values, toUInt64(min(n) OVER (PARTITION BY key)) AS fewest
FROM
(
	SELECT kv.1 AS key, kv.2 AS value, toUInt64(sum(w)) AS n, uniqExact(record) AS records
	FROM (`+j.rows+`)
	ARRAY JOIN arrayFilter(kv -> kv.2 != '', [('topic', topic), ('partition', concat(topic, ':', toString(partition))), ('group', grp), ('key', key_of),
		('producer_release', producer), ('release', release_of), ('member', member_of), ('record', toString(record)), ('age', if(has_age, `+bucketOf("age_of")+`, ''))]) AS kv
	GROUP BY key, value
)
ORDER BY key, n DESC, value LIMIT {values:UInt64} + 1 BY key`, ps,
		proto.Results{
			{Name: "key", Data: &key},
			{Name: "value", Data: &value},
			{Name: "n", Data: &n},
			{Name: "records", Data: &records},
			{Name: "total", Data: &total},
			{Name: "total_records", Data: &totalRecords},
			{Name: "distinct_values", Data: &values},
			{Name: "fewest", Data: &fewest},
		},
		func() {
			out.Age = exporters.MessageAge{}
			out.By = make([]exporters.MessageDimension, len(exporters.Dimensions))
			for i, d := range exporters.Dimensions {
				out.By[i].Dimension = d
			}
		},
		func() {
			for i := range n {
				switch k := key.Row(i); k {
				case dimRecord:
					out.Records, out.FewestEvents, out.MostEvents = values[i], fewest[i], max(out.MostEvents, n[i])
				case dimAge:
					if at, err := strconv.Atoi(value.Row(i)); err == nil && at < len(out.Age.Buckets) {
						out.Age.Buckets[at], out.Age.Records[at] = n[i], records[i]
					}
				default:
					d := dimension(out, k)
					if d == nil {
						continue
					}
					d.Events, d.Records = total[i], totalRecords[i]
					if len(d.Values) < exporters.MaxMessageValues {
						d.Values = append(d.Values, messageValue(k, value.Row(i), n[i], records[i]))
					}
					d.Others = values[i] - uint64(len(d.Values))
				}
			}
		})
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

// agesOf reads the quantiles of the ages.
func (s *Store) agesOf(ctx context.Context, j failed, out *exporters.IssueMessages) error {
	var n, records proto.ColUInt64
	var low, high, p50, p90, p99 proto.ColInt64
	quantile := func(q string) string {
		return "toInt64(quantileExactWeightedIf(" + q + ")(age_of, w, has_age))"
	}
	return s.query(ctx, `
SELECT toUInt64(sumIf(w, has_age)) AS n, uniqExactIf(record, has_age) AS records, toInt64(minIf(age_of, has_age)) AS low, toInt64(maxIf(age_of, has_age)) AS high,
	`+quantile("0.5")+` AS p50, `+quantile("0.9")+` AS p90, `+quantile("0.99")+` AS p99
FROM (`+j.rows+`)`, j.params,
		proto.Results{
			{Name: "n", Data: &n},
			{Name: "records", Data: &records},
			{Name: "low", Data: &low},
			{Name: "high", Data: &high},
			{Name: "p50", Data: &p50},
			{Name: "p90", Data: &p90},
			{Name: "p99", Data: &p99},
		},
		func() {},
		func() {
			for i := range n {
				a := &out.Age
				if a.Events, a.KnownRecords = n[i], records[i]; n[i] == 0 {
					continue
				}
				a.Min, a.Max = time.Duration(low[i]), time.Duration(high[i])
				a.P50, a.P90, a.P99 = time.Duration(p50[i]), time.Duration(p90[i]), time.Duration(p99[i])
			}
		})
}

// oldest lists the events whose message was oldest.
func (s *Store) oldest(ctx context.Context, j failed) (out []exporters.EventAge, err error) {
	ps := append(params(nil), j.params...)
	ps.int("limit", exporters.MaxOldestEvents)
	var id, trace proto.ColFixedStr16
	var span proto.ColFixedStr8
	var topic proto.ColStr
	var partition proto.ColInt32
	var offset, age proto.ColInt64
	err = s.query(ctx, "SELECT id, trace_id, span_id, topic, partition, offset, toInt64(age_of) AS age_of FROM ("+j.rows+") WHERE has_age ORDER BY age_of DESC, id LIMIT {limit:UInt64}", ps,
		proto.Results{
			{Name: "id", Data: &id},
			{Name: "trace_id", Data: &trace},
			{Name: "span_id", Data: &span},
			{Name: "topic", Data: &topic},
			{Name: "partition", Data: &partition},
			{Name: "offset", Data: &offset},
			{Name: "age_of", Data: &age},
		},
		func() { out = out[:0] },
		func() {
			for i := range id {
				out = append(out, exporters.EventAge{
					ID: id[i], TraceID: trace[i], SpanID: span[i], Age: time.Duration(age[i]),
					Record: schemas.RecordRef{Topic: topic.Row(i), Partition: partition[i], Offset: offset[i]},
				})
			}
		})
	return out, err
}

// worst lists the records of most events.
func (s *Store) worst(ctx context.Context, j failed) (out []exporters.RecordEvents, err error) {
	ps := append(params(nil), j.params...)
	ps.int("limit", exporters.MaxWorstRecords)
	var topic proto.ColStr
	var partition proto.ColInt32
	var offset, first, last proto.ColInt64
	var n, reads proto.ColUInt64
	var trace proto.ColFixedStr16
	err = s.query(ctx, `
SELECT any(first_record).1 AS topic_of, any(first_record).2 AS partition_of, any(first_record).3 AS offset_of, toUInt64(sum(n_one)) AS n,
	toUInt64(sum(reads_one)) AS reads_of, min(first_one) AS first, max(last_one) AS last, argMax(trace_one, last_one) AS trace_of
FROM
(
	SELECT record, topic, partition, offset, any(first_record) AS first_record, sum(w) AS n_one, max(reads) AS reads_one, min(at) AS first_one, max(at) AS last_one, argMax(trace_id, at) AS trace_one
	FROM (`+j.rows+`) GROUP BY record, topic, partition, offset
)
GROUP BY record ORDER BY n DESC, topic_of, partition_of, offset_of LIMIT {limit:UInt64}`, ps,
		proto.Results{
			{Name: "topic_of", Data: &topic},
			{Name: "partition_of", Data: &partition},
			{Name: "offset_of", Data: &offset},
			{Name: "n", Data: &n},
			{Name: "reads_of", Data: &reads},
			{Name: "first", Data: &first},
			{Name: "last", Data: &last},
			{Name: "trace_of", Data: &trace},
		},
		func() { out = out[:0] },
		func() {
			for i := range n {
				out = append(out, exporters.RecordEvents{
					Record: schemas.RecordRef{Topic: topic.Row(i), Partition: partition[i], Offset: offset[i]}, Events: n[i], Reads: reads[i],
					First: first[i], Last: last[i], TraceID: trace[i],
				})
			}
		})
	return out, err
}

// baseline counts the records that were processed of the same topics around the
// events: from as long before the first as they lasted, at least an hour.
func (s *Store) baseline(ctx context.Context, project uint64, r exporters.Range, out *exporters.IssueMessages) error {
	var ps params
	ps.uint("project", project)
	from, to := nanos(r)
	before := min(max(out.Last-out.First, int64(time.Hour)), int64(spanReach))
	out.BaselineFrom, out.BaselineTo = max(out.First-before, from), min(out.Last+int64(time.Minute), to)
	ps.int("from", out.BaselineFrom)
	ps.int("to", out.BaselineTo)
	topics := dimension(out, string(exporters.DimTopic)).Values
	var names []string
	for _, v := range topics[:min(len(topics), maxJoinTopics)] {
		names = append(names, v.Value)
	}
	list(&ps, "topics", names, literal)
	var keys []string
	for _, v := range dimension(out, string(exporters.DimKey)).Values {
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
	var ps params
	ps.uint("project", project)
	ps.text("topic", record.Topic)
	ps.int("partition", int64(record.Partition))
	ps.int("offset", record.Offset)
	ps.int("limit", limited(limit, 50, 500))
	var out []schemas.Event
	for _, of := range []string{"", "original_"} {
		events, err := s.events(ctx, "project = {project:UInt64} AND "+of+"offset = {offset:Int64} AND "+of+"partition = {partition:Int32} AND "+of+"topic = {topic:String}", ps)
		if err != nil {
			return nil, fmt.Errorf("cannot read the events of record %s/%d/%d: %w", record.Topic, record.Partition, record.Offset, err)
		}
		out = append(out, events...)
	}
	slices.SortFunc(out, func(a, b schemas.Event) int {
		return cmp.Or(cmp.Compare(b.Time, a.Time), slices.Compare(a.ID[:], b.ID[:]))
	})
	out = slices.CompactFunc(out, func(a, b schemas.Event) bool { return a.ID == b.ID })
	return out[:min(len(out), int(limited(limit, 50, 500)))], nil
}
