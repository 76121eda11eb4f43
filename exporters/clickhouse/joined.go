package clickhouse

// reach is how far before the range a producer's row is looked for: the
// earliest time that a consumer's row in the range knows of its record, and an
// hour more for clocks that disagree.
const reach = `(
	SELECT toInt64(least({from:Int64}, if(count() = 0, {from:Int64}, min(least(if(record_time = 0, start_time, record_time), if(appended = 0, start_time, appended), start_time))) - 3600000000000))
	FROM messages WHERE project = {project:UInt64} AND side != 1 AND ` + inStretch + `
)`

// joined is a subquery of hops: each record's latest delivery to a group, with
// its producer's row where there is one, in the columns that package-level
// parts speak of. consumers and producers are conditions for their rows. It
// needs what params.filter binds.
//
// Every argMax of one delivery goes by one key, so they speak of one row; rows
// with equal keys are one row stored twice. Rows of one record at its producer
// are so too, so ANY may take either.
func joined(consumers, producers string) string {
	return `
SELECT *, ` + hopColumns + `
FROM
(
	SELECT topic, partition, offset, consumer_group,
		argMax(trace_id, start_time) AS c_trace_id, argMax(span_id, start_time) AS c_span_id, argMax(failed, start_time) AS c_failed, max(start_time) AS c_start,
		argMax(end_time, start_time) AS c_end, argMax(asked, start_time) AS c_asked, argMax(answered, start_time) AS c_answered,
		argMax(handed, start_time) AS c_handed, argMax(side, start_time) AS c_side, argMax(if(boot_id = '', 0, cityHash64(boot_id)), start_time) AS c_boot
	FROM messages
	WHERE ` + consumers + `
	GROUP BY topic, partition, offset, consumer_group, if(partition < 0 OR offset < 0, cityHash64(trace_id, span_id), 0)
) AS consumers
ANY LEFT JOIN
(
	SELECT topic, partition, offset, start_time AS p_start, first_written AS p_first_written, written AS p_written, acked AS p_acked, appended AS p_appended,
		if(boot_id = '', 0, cityHash64(boot_id)) AS p_boot
	FROM messages
	WHERE ` + producers + ` AND partition >= 0 AND offset >= 0
		AND time >= fromUnixTimestamp64Nano(` + reach + `) AND time < fromUnixTimestamp64Nano({to:Int64})
) AS producers USING (topic, partition, offset)`
}
