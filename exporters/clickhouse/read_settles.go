package clickhouse

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hoptrace/hoptrace/schemas"
)

const (
	// How long before a consumer began and after it was done its commit is looked for.
	settleBefore = time.Minute
	settleAfter  = 10 * time.Minute
	// settleReach is how many offsets behind a record it is looked for, at least.
	settleReach = 16384
	// settleNear is how many offsets behind a record are looked at first.
	settleNear = 512
	// maxSettles bounds the commits that are looked among: 2,000,000 take about 100
	// MB in the engine. Beyond it some are not found.
	maxSettles = 2_000_000
)

// Settles gives the commits that cover these consumer rows: of each record's
// partition and group the one with the next offset, and those that link to the
// row's span or to the context that its record carried.
func (s *Store) Settles(ctx context.Context, project uint64, consumers []schemas.Message) ([]schemas.Message, error) {
	if err := atMost("consumer rows", len(consumers), maxRecords); err != nil {
		return nil, err
	}
	var (
		placed []*schemas.Message
		refs   []schemas.SpanRef
		ps     params
		from   int64
		to     int64
	)
	for i := range consumers {
		m := &consumers[i]
		if !m.Side.Reads() {
			continue
		}
		refs = append(refs, schemas.SpanRef{TraceID: m.TraceID, SpanID: m.SpanID})
		if !m.CreationSpan.IsZero() {
			refs = append(refs, schemas.SpanRef{TraceID: m.CreationTrace, SpanID: m.CreationSpan})
		}
		if from == 0 || m.Start < from {
			from = m.Start
		}
		to = max(to, m.End)
		if m.Partition < 0 || m.Offset < 0 {
			continue
		}
		placed = append(placed, m)
	}
	if len(refs) == 0 {
		return nil, nil
	}
	ps.uint("project", project)
	ps.int("limit", maxMessages)
	ps.int("from", from-int64(settleBefore))
	ps.int("to", to+int64(settleAfter))
	out, err := s.messagesFrom(ctx, project, refs, " AND side = 4 AND failed = 0 AND "+inStretch, maxMessages, func(own *params) {
		own.int("from", from-int64(settleBefore))
		own.int("to", to+int64(settleAfter))
	}, func(m *schemas.Message) bool { return settles(m, from, to) })
	if err != nil {
		return nil, fmt.Errorf("cannot read the commits that link to %d consumer rows: %w", len(consumers), err)
	}
	next, placed, err := s.nextSettles(ctx, project, placed, from, to)
	if err != nil {
		return nil, err
	}
	out = append(out, next...)
	if len(placed) == 0 {
		return out, nil
	}
	low, near := settleBlocks(placed)
	ps.int("low", low)
	list(&ps, "blocks", near, func(b *strings.Builder, n settleBlock) {
		b.WriteByte('(')
		literal(b, n.topic)
		b.WriteString("," + strconv.FormatInt(int64(n.partition), 10) + "," + strconv.FormatInt(n.block, 10) + ")")
	})
	list(&ps, "records", placed, func(b *strings.Builder, m *schemas.Message) {
		b.WriteByte('(')
		literal(b, m.Topic)
		b.WriteString("," + strconv.FormatInt(int64(m.Partition), 10) + "," + strconv.FormatInt(m.Offset, 10) + ",")
		literal(b, m.Group)
		b.WriteByte(')')
	})
	covering, err := s.messages(ctx, `AS settles
WHERE (source, source_offset, source_index) IN
(
	SELECT m_source, m_offset, m_index FROM
	(SELECT cityHash64(r.1, r.2, r.4) AS l_log, r.3 AS l_from FROM (SELECT arrayJoin({records:Array(Tuple(String, Int32, Int64, String))}) AS r)) AS l
	ASOF INNER JOIN
	(
		SELECT cityHash64(CAST(topic, 'String'), partition, CAST(consumer_group, 'String')) AS m_log, offset AS m_until,
			source AS m_source, source_offset AS m_offset, source_index AS m_index
		FROM messages
		WHERE failed = 0 AND `+nearSettles+`
	) AS m ON l_log = m_log AND l_from <= m_until
)
AND `+nearSettles+once+keyLeads+", max_rows_in_join = "+strconv.Itoa(maxSettles)+", join_overflow_mode = 'break'", ps)
	if err != nil {
		return nil, fmt.Errorf("cannot read the commits that cover %d records: %w", len(placed), err)
	}
	return append(out, covering...), nil
}

// settles tells that a row is a commit that may be of consumers that began at from and
// were done at to.
func settles(m *schemas.Message, from, to int64) bool {
	return m.Side == schemas.SideSettle && !m.Failed && m.End >= from-int64(settleBefore) && m.End < to+int64(settleAfter)
}

// nextSettles gives the commits that cover these rows and lie within settleNear
// offsets after them, where most do, and the rows that none was found for.
func (s *Store) nextSettles(ctx context.Context, project uint64, placed []*schemas.Message, from, to int64) (out []schemas.Message, rest []*schemas.Message, err error) {
	if len(placed) == 0 || len(placed) > maxNamed {
		return nil, placed, nil
	}
	records := make([]schemas.RecordRef, len(placed))
	for i, m := range placed {
		records[i] = m.Record()
	}
	stored, err := s.rowsOfRecords(ctx, project, records)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot read the commits after %d records: %w", len(placed), err)
	}
	type commit struct {
		span   schemas.SpanRef
		record schemas.RecordRef
	}
	taken := make(map[commit]bool)
	for _, m := range placed {
		if r := stored[m.Record()]; !r.all || !r.committed {
			rest = append(rest, m)
			continue
		}
		var best *schemas.Message
		commits := stored[m.Record()].commits
		for i := range commits {
			if c := &commits[i]; settles(c, from, to) && c.Group == m.Group && (best == nil || c.Offset < best.Offset) {
				best = c
			}
		}
		if best == nil {
			rest = append(rest, m)
			continue
		}
		if c := (commit{schemas.SpanRef{TraceID: best.TraceID, SpanID: best.SpanID}, best.Record()}); !taken[c] {
			taken[c] = true
			out = append(out, *best)
		}
	}
	return out, rest, nil
}

// settleBlocks are the runs of offsets in which the commits of these rows may lie, and
// the lowest offset of any.
func settleBlocks(placed []*schemas.Message) (low int64, near []settleBlock) {
	seen := make(map[settleBlock]bool)
	for i, m := range placed {
		if i == 0 || m.Offset < low {
			low = m.Offset
		}
		for _, block := range []int64{m.Offset / settleReach, m.Offset/settleReach + 1} {
			if b := (settleBlock{m.Topic, m.Partition, block}); !seen[b] {
				seen[b] = true
				near = append(near, b)
			}
		}
	}
	return low, near
}

// settleBlock is a run of settleReach offsets.
type settleBlock struct {
	topic     string
	partition int32
	block     int64
}

var nearSettles = "project = {project:UInt64} AND side = 4 AND offset >= {low:Int64} AND " + inStretch + ` AND topic IN (SELECT r.1 FROM (SELECT arrayJoin({blocks:Array(Tuple(String, Int32, Int64))}) AS r))
	AND (topic, partition, intDiv(offset, ` + strconv.Itoa(settleReach) + `)) IN (SELECT r.1, r.2, r.3 FROM (SELECT arrayJoin({blocks:Array(Tuple(String, Int32, Int64))}) AS r))`

// MessagesSentOn gives the rows of records that were made of these after they
// had failed.
func (s *Store) MessagesSentOn(ctx context.Context, project uint64, originals []schemas.RecordRef, limit int) ([]schemas.Message, error) {
	if err := atMost("records", len(originals), maxRecords); err != nil {
		return nil, err
	}
	if len(originals) == 0 {
		return nil, nil
	}
	keys := make([]uint64, len(originals))
	for i, r := range originals {
		keys[i] = recordKey(r)
	}
	most := limited(limit, maxMessages, maxMessages)
	out, err := func() ([]schemas.Message, error) {
		if rows, ok, err := s.near(ctx, project, keys, false); ok || err != nil {
			return firstOf(rows, most, func(m *schemas.Message) bool {
				original, sentOn := m.Original()
				return sentOn && m.Side != schemas.SideSettle && slices.Contains(originals, original)
			}), err
		}
		return s.messagesNear(ctx, project, keys, " AND side IN (1, 2, 3)"+
			" AND (retry_topic, retry_partition, retry_offset) IN (SELECT r.1, r.2, r.3 FROM (SELECT arrayJoin({originals:Array(Tuple(String, Int32, Int64))}) AS r))",
			most, func(ps *params) string {
				list(ps, "originals", originals, func(b *strings.Builder, r schemas.RecordRef) {
					b.WriteByte('(')
					literal(b, r.Topic)
					b.WriteString("," + strconv.FormatInt(int64(r.Partition), 10) + "," + strconv.FormatInt(r.Offset, 10) + ")")
				})
				return "retry_topic != ''"
			})
	}()
	if err != nil {
		return nil, fmt.Errorf("cannot read what was made of %d records after they had failed: %w", len(originals), err)
	}
	return out, nil
}
