package clickhouse

import (
	"context"

	"github.com/ClickHouse/ch-go/proto"
)

// reach is how far before the range a producer's row is looked for: the
// earliest time that a consumer's row in the range knows of its record, and an
// hour more for clocks that disagree.
const reach = `(
	SELECT toInt64(least({from:Int64}, if(count() = 0, {from:Int64}, min(least(if(record_time = 0, start_time, record_time), if(appended = 0, start_time, appended), start_time))) - 3600000000000))
	FROM messages WHERE project = {project:UInt64} AND side != 1 AND ` + inStretch + `
)`

const (
	inReach   = "time >= fromUnixTimestamp64Nano(" + reach + ") AND time < fromUnixTimestamp64Nano({to:Int64})"
	noOffset  = "(partition < 0 OR offset < 0)"
	allOfThem = "project = {project:UInt64} AND side = 1"
)

// joined is a subquery of hops: each record's latest delivery to a group, with
// its producer's row where there is one, in the columns that package-level
// parts speak of. consumers and producers are conditions for their rows. It
// needs what params.filter binds. lost says that some producers were told no
// offset: those are found by the context that the record carried, if that
// names one row of the topic (see Store.lost).
//
// Every argMax of one delivery goes by one key, so they speak of one row; rows
// with equal keys are one row stored twice. Rows of one record at its producer
// are so too, so ANY may take either.
func joined(consumers, producers string, lost bool) string {
	byContext, lostProducers, producer := "", "", "p_start, p_first_written, p_written, p_acked, p_appended, p_boot"
	if lost {
		byContext = `
		argMax(creation_trace, start_time) AS c_creation_trace, argMax(creation_span, start_time) AS c_creation_span,`
		lostProducers = `
ANY LEFT JOIN
(
	SELECT topic, trace_id AS c_creation_trace, span_id AS c_creation_span, any(start_time) AS l_start, any(first_written) AS l_first_written,
		any(written) AS l_written, any(acked) AS l_acked, any(appended) AS l_appended, any(if(boot_id = '', 0, cityHash64(boot_id))) AS l_boot
	FROM messages
	WHERE ` + producers + ` AND ` + noOffset + ` AND ` + inReach + `
	GROUP BY topic, trace_id, span_id
	HAVING uniqExact(source, source_offset, source_index) = 1
) AS lost USING (topic, c_creation_trace, c_creation_span)`
		producer = `if(p_found = 1, p_start, l_start) AS p_start, if(p_found = 1, p_first_written, l_first_written) AS p_first_written,
	if(p_found = 1, p_written, l_written) AS p_written, if(p_found = 1, p_acked, l_acked) AS p_acked,
	if(p_found = 1, p_appended, l_appended) AS p_appended, if(p_found = 1, p_boot, l_boot) AS p_boot`
	}
	return `
SELECT *, ` + hopColumns + `
FROM
(
	SELECT topic, partition, offset, consumer_group, c_trace_id, c_span_id, c_failed, c_start, c_end, c_asked, c_answered, c_handed, c_side, c_boot, ` + producer + `
	FROM
	(
		SELECT topic, partition, offset, consumer_group,` + byContext + `
			argMax(trace_id, start_time) AS c_trace_id, argMax(span_id, start_time) AS c_span_id, argMax(failed, start_time) AS c_failed, max(start_time) AS c_start,
			argMax(end_time, start_time) AS c_end, argMax(asked, start_time) AS c_asked, argMax(answered, start_time) AS c_answered,
			argMax(handed, start_time) AS c_handed, argMax(side, start_time) AS c_side, argMax(if(boot_id = '', 0, cityHash64(boot_id)), start_time) AS c_boot
		FROM messages
		WHERE ` + consumers + `
		GROUP BY topic, partition, offset, consumer_group, if(` + noOffset + `, cityHash64(trace_id, span_id), 0)
	) AS consumers
	ANY LEFT JOIN
	(
		SELECT topic, partition, offset, 1 AS p_found, start_time AS p_start, first_written AS p_first_written, written AS p_written, acked AS p_acked,
			appended AS p_appended, if(boot_id = '', 0, cityHash64(boot_id)) AS p_boot
		FROM messages
		WHERE ` + producers + ` AND NOT ` + noOffset + ` AND ` + inReach + `
	) AS producers USING (topic, partition, offset)` + lostProducers + `
)`
}

// lost tells whether any producer was told no offset. Hardly any store has
// such rows, and the second join is then left out. ps has project and to.
func (s *Store) lost(ctx context.Context, ps params) (bool, error) {
	var one proto.ColUInt8
	var found bool
	err := s.query(ctx, "SELECT toUInt8(1) AS one FROM messages WHERE "+allOfThem+" AND "+noOffset+
		" AND time < fromUnixTimestamp64Nano({to:Int64}) LIMIT 1", ps, proto.Results{{Name: "one", Data: &one}},
		func() { found = false },
		func() { found = found || len(one) > 0 })
	return found, err
}
