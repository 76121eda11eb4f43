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
)

// maxTopics bounds the rows of Topics.
const maxTopics = 2000

// Topics gives the parts of each topic and group, for records whose consumer
// was done in the range. Produced counts the records of the topic, whoever read
// them; a topic that no group was seen to read has one row, without a group.
func (s *Store) Topics(ctx context.Context, project uint64, r exporters.Range) ([]exporters.TopicStats, error) {
	if r.To.IsZero() {
		r.To = time.Now() // one now for all that follows
	}
	produced, err := s.produced(ctx, project, r)
	if err != nil {
		return nil, fmt.Errorf("cannot count the records of topics: %w", err)
	}
	out, err := s.consumed(ctx, project, r)
	if err != nil {
		return nil, fmt.Errorf("cannot read the parts of topics: %w", err)
	}
	for i := range out {
		t := &out[i]
		if p := produced[t.Topic]; p != nil {
			t.Produced = p.Produced
			t.LastSeen = max(t.LastSeen, p.LastSeen)
			p.Consumed++ // by some group
		}
	}
	var unread []string
	for topic, p := range produced {
		if p.Consumed == 0 {
			unread = append(unread, topic)
		}
	}
	if len(unread) > 0 {
		slices.Sort(unread)
		own, err := s.ownParts(ctx, project, r, unread)
		if err != nil {
			return nil, fmt.Errorf("cannot read the parts of %d topics that nobody reads: %w", len(unread), err)
		}
		for _, t := range own {
			if p := produced[t.Topic]; p != nil {
				t.Produced, t.Consumed, t.Failed = p.Produced, 0, 0
			}
			out = append(out, t)
		}
	}
	slices.SortFunc(out, func(a, b exporters.TopicStats) int {
		return cmp.Or(strings.Compare(a.Topic, b.Topic), strings.Compare(a.Group, b.Group))
	})
	return out, nil
}

// produced counts the records that producers told of, by topic.
func (s *Store) produced(ctx context.Context, project uint64, r exporters.Range) (map[string]*exporters.TopicStats, error) {
	var (
		ps    params
		topic = new(proto.ColStr)
		n     proto.ColUInt64
		last  proto.ColInt64
		out   = make(map[string]*exporters.TopicStats)
	)
	ps.uint("project", project)
	ps.stretch(r)
	ps.int("limit", maxTopics)
	err := s.query(ctx, `
SELECT CAST(topic, 'String') AS name,
	uniqExact(if(`+noOffset+`, cityHash64(source, source_offset, source_index), cityHash64(partition, offset))) AS n,
	max(end_time) AS last
FROM messages WHERE project = {project:UInt64} AND side = 1 AND `+inStretch+`
GROUP BY topic ORDER BY topic LIMIT {limit:UInt64}`, ps,
		proto.Results{{Name: "name", Data: topic}, {Name: "n", Data: &n}, {Name: "last", Data: &last}},
		func() { clear(out) },
		func() {
			for i := range n {
				out[topic.Row(i)] = &exporters.TopicStats{Produced: n[i], LastSeen: last[i]}
			}
		})
	return out, err
}

// consumed gives the parts of hops by topic and group.
func (s *Store) consumed(ctx context.Context, project uint64, r exporters.Range) ([]exporters.TopicStats, error) {
	j, err := s.hopJoin(ctx, exporters.HopQuery{Project: project, Range: r})
	if err != nil {
		return nil, err
	}
	return s.topicStats(ctx, j.params, parts, `
SELECT CAST(topic, 'String') AS topic_name, CAST(consumer_group, 'String') AS group_name, count() AS n, countIf(c_failed = 1) AS failures, max(c_end) AS last, `+quantilesOf(parts)+`
FROM (`+j.sql()+`)
GROUP BY topic, consumer_group ORDER BY topic, consumer_group LIMIT {limit:UInt64}`+j.settings)
}

// ownParts gives the parts that need no consumer.
func (s *Store) ownParts(ctx context.Context, project uint64, r exporters.Range, topics []string) ([]exporters.TopicStats, error) {
	var ps params
	ps.uint("project", project)
	ps.stretch(r)
	list(&ps, "topics", topics, literal)
	own := parts[:producerParts]
	return s.topicStats(ctx, ps, own, `
SELECT CAST(topic, 'String') AS topic_name, '' AS group_name, count() AS n, toUInt64(0) AS failures, max(p_end) AS last, `+quantilesOf(own)+`
FROM
(
	SELECT topic, toInt64(0) AS c_asked, toInt64(0) AS c_answered, toInt64(0) AS c_handed, toInt64(0) AS c_start, toInt64(0) AS c_end, 0 AS c_side, toUInt64(0) AS c_boot, toUInt64(0) AS p_boot,
		start_time AS p_start, end_time AS p_end, first_written AS p_first_written, written AS p_written, acked AS p_acked, appended AS p_appended, `+hopColumns+`
	FROM messages WHERE project = {project:UInt64} AND side = 1 AND `+inStretch+` AND topic IN (SELECT arrayJoin({topics:Array(String)}))
	LIMIT 1 BY topic, partition, offset, if(partition < 0 OR offset < 0, (source, source_offset, source_index), (0, 0, 0))
)
GROUP BY topic ORDER BY topic LIMIT {limit:UInt64}`)
}

// quantilesOf is, for each part, how many are known, how many of those are
// negative, and p50, p90, p95 and p99.
func quantilesOf(parts []part) string {
	var b strings.Builder
	for i, p := range parts {
		if i > 0 {
			b.WriteString(", ")
		}
		n := strconv.Itoa(i)
		b.WriteString("countIf(" + p.known + ") AS known" + n + ", countIf(" + p.known + " AND " + p.value + " < 0) AS negative" + n +
			", quantilesTDigestIf(0.5, 0.9, 0.95, 0.99)(" + p.value + ", " + p.known + ") AS quantiles" + n)
	}
	return b.String()
}

func (s *Store) topicStats(ctx context.Context, ps params, parts []part, body string) ([]exporters.TopicStats, error) {
	ps.int("limit", maxTopics)
	var (
		topic, group = new(proto.ColStr), new(proto.ColStr)
		n, failures  proto.ColUInt64
		last         proto.ColInt64
		known        = make([]proto.ColUInt64, len(parts))
		negative     = make([]proto.ColUInt64, len(parts))
		quantiles    = make([]*proto.ColArr[float32], len(parts))
		out          []exporters.TopicStats
	)
	results := make(proto.Results, 0, 5+3*len(parts))
	results = append(results, proto.ResultColumn{Name: "topic_name", Data: topic}, proto.ResultColumn{Name: "group_name", Data: group},
		proto.ResultColumn{Name: "n", Data: &n}, proto.ResultColumn{Name: "failures", Data: &failures}, proto.ResultColumn{Name: "last", Data: &last})
	for i := range parts {
		quantiles[i] = new(proto.ColFloat32).Array()
		no := strconv.Itoa(i)
		results = append(results, proto.ResultColumn{Name: "known" + no, Data: &known[i]},
			proto.ResultColumn{Name: "negative" + no, Data: &negative[i]}, proto.ResultColumn{Name: "quantiles" + no, Data: quantiles[i]})
	}
	err := s.query(ctx, body, ps, results,
		func() { out = nil },
		func() {
			for i := range n {
				t := exporters.TopicStats{
					Topic: topic.Row(i), Group: group.Row(i), Consumed: n[i], Failed: failures[i], LastSeen: last[i],
					Parts: make(map[exporters.PartName]exporters.Quantiles, len(parts)),
				}
				for j, p := range parts {
					q := exporters.Quantiles{Count: known[j][i], Negative: negative[j][i]}
					if v := quantiles[j].Row(i); q.Count > 0 && len(v) == 4 {
						q.P50, q.P90, q.P95, q.P99 = time.Duration(v[0]), time.Duration(v[1]), time.Duration(v[2]), time.Duration(v[3])
					}
					t.Parts[p.name] = q
				}
				out = append(out, t)
			}
		})
	return out, err
}
