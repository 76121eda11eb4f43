package clickhouse

import (
	"context"
	"strconv"

	"github.com/ClickHouse/ch-go/proto"
	"golang.org/x/sync/errgroup"

	"github.com/hoptrace/hoptrace/exporters"
)

// hopJoin is a subquery that joins the rows of hops: each record's latest
// delivery to a group, with its producer's row where there is one.
//
// It is built for the common case. Records delivered more than once are few, so
// they are found first and only theirs are sorted out; the join goes by two
// integers, because four columns with texts cost more than twice as much.
type hopJoin struct {
	params params
	// consumers and producers are conditions for their rows.
	consumers, producers string
	// records is the condition for the records that a query names, of which the
	// producers need to be looked at alone.
	records string
	// settings end the statements: no projection holds what a join asks for, and to find
	// that out of each takes longer than to read a few hundred rows.
	settings string
	repeated repetition
	// lost says that some producers were told no offset: those are found by
	// the context that the record carried, if that names one row of the topic.
	lost bool
	// extra are conditions on the reader's row, given as k0, k1 …; by is what a
	// search sorts by, given as k_by. Only a search has them, and it takes each
	// delivery for itself.
	extra []string
	by    string
}

// extras is extra and by as columns.
func (j hopJoin) extras() (columns, names string) {
	for i, e := range j.extra {
		n := "k" + strconv.Itoa(i)
		columns += ", " + e + " AS " + n
		names += ", " + n
	}
	if j.by != "" {
		columns += ", " + j.by + " AS k_by"
		names += ", k_by"
	}
	return columns, names
}

type repetition uint8

const (
	repeatedNever repetition = iota
	repeatedSome             // those of {repeated:Array(UInt64)}
	repeatedMany
)

// maxRepeated is how many repeated deliveries are named one by one.
const maxRepeated = 5000

const (
	allProducers = "project = {project:UInt64} AND side = 1"
	noOffset     = "(partition < 0 OR offset < 0)"
	inReach      = "time >= fromUnixTimestamp64Nano({reach:Int64}) AND time < fromUnixTimestamp64Nano({to:Int64})"

	// deliveryHash is equal for the deliveries of one record to one group. A
	// row without an offset is a delivery of its own.
	deliveryHash = "cityHash64(topic, partition, offset, consumer_group, if(" + noOffset + ", cityHash64(trace_id, span_id), 0))"
)

// hopJoin looks at what is stored and prepares the subquery.
func (s *Store) hopJoin(ctx context.Context, q exporters.HopQuery) (j hopJoin, err error) {
	j.consumers, j.producers, j.records, j.settings = j.params.filter(q), allProducers, ofRecords(q), rowsOnly
	if q.Topic != "" {
		j.producers += " AND topic = {topic:String}"
		if q.Partition != nil && q.OffsetTo > 0 && q.OffsetTo-q.OffsetFrom <= fewRows {
			j.settings = oneThread + keyLeads
		}
	}
	var low int64
	var lost bool
	var repeated []uint64
	both, asking := errgroup.WithContext(ctx)
	both.Go(func() (err error) {
		repeated, err = s.repeated(asking, j)
		return err
	})
	both.Go(func() (err error) {
		if low, err = s.reach(asking, j, q.Range); err == nil {
			lost, err = s.lost(asking, j, low)
		}
		return err
	})
	if err := both.Wait(); err != nil {
		return j, err
	}
	j.params.int("reach", low)
	j.lost = lost
	switch n := len(repeated); {
	case n > maxRepeated:
		j.repeated = repeatedMany
	case n > 0:
		j.repeated = repeatedSome
		list(&j.params, "repeated", repeated, decimals)
	}
	return j, nil
}

// reach is how far back a producer's row is looked for: the earliest time that
// a consumer's row in the range knows of its record, and an hour more for
// clocks that disagree.
func (s *Store) reach(ctx context.Context, j hopJoin, r exporters.Range) (low int64, err error) {
	from, _ := nanos(r)
	if from <= 0 {
		return 0, nil
	}
	var n proto.ColUInt64
	var first proto.ColInt64
	err = s.query(ctx, `
SELECT count() AS n, min(least(if(record_time = 0, start_time, record_time), if(appended = 0, start_time, appended), start_time)) AS first
FROM messages WHERE `+j.consumers+j.settings, j.params, proto.Results{{Name: "n", Data: &n}, {Name: "first", Data: &first}},
		func() { low = from },
		func() {
			for i := range n {
				if n[i] > 0 {
					low = min(low, first[i])
				}
			}
		})
	const slack = 3600e9
	return max(low-slack, 0), err
}

// repeated gives the hashes of records delivered more than once to a group, or
// stored more than once; more than maxRepeated stand for any number.
func (s *Store) repeated(ctx context.Context, j hopJoin) (out []uint64, err error) {
	ps := append(params(nil), j.params...)
	ps.int("limit", maxRepeated+1)
	var h proto.ColUInt64
	err = s.query(ctx, "SELECT "+deliveryHash+" AS h FROM messages WHERE "+j.consumers+" GROUP BY h HAVING count() > 1 LIMIT {limit:UInt64}"+j.settings, ps,
		proto.Results{{Name: "h", Data: &h}},
		func() { out = nil },
		func() { out = append(out, h...) })
	return out, err
}

// lost tells whether any producer was told no offset. Hardly any store has
// such rows, and the second join is then left out.
func (s *Store) lost(ctx context.Context, j hopJoin, reach int64) (found bool, err error) {
	ps := append(params(nil), j.params...)
	ps.int("reach", reach)
	var one proto.ColUInt8
	err = s.query(ctx, "SELECT toUInt8(1) AS one FROM messages WHERE "+j.producers+" AND "+noOffset+" AND "+inReach+" LIMIT 1"+rowsOnly, ps,
		proto.Results{{Name: "one", Data: &one}},
		func() { found = false },
		func() { found = found || len(one) > 0 })
	return found, err
}

// deliveries is a subquery of each record's latest delivery to a group. Every
// argMax of one delivery goes by one key, so they speak of one row; rows with
// equal keys are one row stored twice.
func (j hopJoin) deliveries() string {
	context, latestContext := "", ""
	if j.lost {
		context = "creation_trace AS c_creation_trace, creation_span AS c_creation_span, "
		latestContext = "argMax(creation_trace, start_time) AS c_creation_trace, argMax(creation_span, start_time) AS c_creation_span, "
	}
	extra, _ := j.extras()
	single := `
	SELECT topic, partition, offset, consumer_group, ` + context + `trace_id AS c_trace_id, span_id AS c_span_id, failed AS c_failed, start_time AS c_start, end_time AS c_end,
		asked AS c_asked, answered AS c_answered, handed AS c_handed, side AS c_side, if(boot_id = '', 0, cityHash64(boot_id)) AS c_boot` + extra + `
	FROM messages
	WHERE ` + j.consumers
	latest := `
	SELECT topic, partition, offset, consumer_group, ` + latestContext + `argMax(trace_id, start_time) AS c_trace_id, argMax(span_id, start_time) AS c_span_id,
		argMax(failed, start_time) AS c_failed, max(start_time) AS c_start, argMax(end_time, start_time) AS c_end, argMax(asked, start_time) AS c_asked,
		argMax(answered, start_time) AS c_answered, argMax(handed, start_time) AS c_handed, argMax(side, start_time) AS c_side,
		argMax(if(boot_id = '', 0, cityHash64(boot_id)), start_time) AS c_boot
	FROM messages
	WHERE ` + j.consumers
	const grouped = `
	GROUP BY topic, partition, offset, consumer_group, if(` + noOffset + `, cityHash64(trace_id, span_id), 0)`
	const ofRepeated = ` IN (SELECT arrayJoin({repeated:Array(UInt64)}))`
	switch j.repeated {
	case repeatedNever:
		return single
	case repeatedMany:
		return latest + grouped
	}
	return single + " AND " + deliveryHash + " NOT" + ofRepeated + "\n	UNION ALL" + latest + " AND " + deliveryHash + ofRepeated + grouped
}

// sql has a row for each hop, in the columns that parts and hopColumns speak
// of, and topic, partition, offset, consumer_group, c_trace_id, c_span_id and
// c_failed. Rows of one record at its producer are one row stored twice, so ANY
// may take either.
func (j hopJoin) sql() string {
	_, extra := j.extras()
	lost, producer := "", "p_start, p_first_written, p_written, p_acked, p_appended, p_boot, p_attempts"
	if j.lost {
		lost = `
	ANY LEFT JOIN
	(
		SELECT topic, trace_id AS c_creation_trace, span_id AS c_creation_span, any(start_time) AS l_start, any(first_written) AS l_first_written,
			any(written) AS l_written, any(acked) AS l_acked, any(appended) AS l_appended, any(if(boot_id = '', 0, cityHash64(boot_id))) AS l_boot, any(attempts) AS l_attempts
		FROM messages
		WHERE ` + j.producers + ` AND ` + noOffset + ` AND ` + inReach + `
		GROUP BY topic, trace_id, span_id
		HAVING uniqExact(source, source_offset, source_index) = 1
	) AS lost USING (topic, c_creation_trace, c_creation_span)`
		producer = `if(p_found = 1, p_start, l_start) AS p_start, if(p_found = 1, p_first_written, l_first_written) AS p_first_written,
		if(p_found = 1, p_written, l_written) AS p_written, if(p_found = 1, p_acked, l_acked) AS p_acked,
		if(p_found = 1, p_appended, l_appended) AS p_appended, if(p_found = 1, p_boot, l_boot) AS p_boot,
		if(p_found = 1, p_attempts, l_attempts) AS p_attempts`
	}
	return `
SELECT *, ` + hopColumns + `
FROM
(
	SELECT topic, partition, offset, consumer_group, c_trace_id, c_span_id, c_failed, c_start, c_end, c_asked, c_answered, c_handed, c_side, c_boot` + extra + `,
		` + producer + `
	FROM (SELECT *, cityHash64(topic, partition) AS log FROM (` + j.deliveries() + `)) AS consumers
	ANY LEFT JOIN
	(
		SELECT cityHash64(topic, partition) AS log, offset, 1 AS p_found, start_time AS p_start, first_written AS p_first_written, written AS p_written,
			acked AS p_acked, appended AS p_appended, if(boot_id = '', 0, cityHash64(boot_id)) AS p_boot, attempts AS p_attempts
		FROM messages
		WHERE ` + j.producers + j.records + ` AND NOT ` + noOffset + ` AND ` + inReach + `
	) AS producers USING (log, offset)` + lost + `
)`
}
