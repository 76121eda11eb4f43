package clickhouse

// The graph of services, topics and groups over days is read from three sums of
// messages, a slot of five minutes each. They are projections: they lie in the
// parts of the rows they sum up, are written, merged and dropped with them, so no
// crash, replay or retention can part the two (docs/adr/0012). A part from before
// them is summed up when it is read.
const (
	// slot is where a row stands in the sums; queries give whole ones.
	slot = `toStartOfFiveMinutes(time)`

	// sqlRecordAt is the record's own time, Unix ns; zero when nobody told it.
	sqlRecordAt = `multiIf(record_time != 0, record_time, appended != 0, appended, side = 1, toUnixTimestamp64Nano(time) - duration, toInt64(0))`

	// Of a producer's row, request written → answered; of a consumer's, the
	// record's own time → handed out by the broker.
	sqlWaitKnown = `if(side = 1, bitTest(known, 1) AND bitTest(known, 2), side IN (2, 3) AND (record_time != 0 OR appended != 0))`
	sqlWait      = `if(side = 1, duration - d_acked - d_written, toUnixTimestamp64Nano(time) - duration + if(bitTest(known, 4), d_answered, 0) - if(record_time != 0, record_time, appended))`

	// Handed to the application → done.
	sqlWorkKnown = `(side = 3)`
	sqlWork      = `(duration - if(bitTest(known, 5), d_handed, 0))`
)

// sqlLatencyClass is exporters.LatencyClassOf.
func sqlLatencyClass(known, ns string) string {
	return `toInt16(if(` + known + `, sign(` + ns + `) * if(abs(` + ns + `) < 1000, 0, least(1 + floor(8 * log2(greatest(abs(` + ns + `), 1000) / 1000)), 400)), 32767))`
}

var (
	sqlWaitClass = sqlLatencyClass(sqlWaitKnown, sqlWait)
	sqlWorkClass = sqlLatencyClass(sqlWorkKnown, sqlWork)
)

// sqlFlow names a flow by a number, since sums by numbers are made and read
// several times faster than by names.
const sqlFlow = `cityHash64(side, topic, consumer_group, service)`

const topologyPlace = `side, topic, consumer_group, service`

var (
	topologyFlows = `
ALTER TABLE messages ADD PROJECTION IF NOT EXISTS topology_flows
(
	SELECT count(), sum(failed), min(time), max(time), max(` + sqlRecordAt + `)
	GROUP BY project, ` + slot + `, ` + topologyPlace + `, ` + sqlFlow + `
)`
	topologyWaits = `
ALTER TABLE messages ADD PROJECTION IF NOT EXISTS topology_waits
(
	SELECT count()
	GROUP BY project, ` + slot + `, side, ` + sqlFlow + `, ` + sqlWaitClass + `
)`
	topologyWork = `
ALTER TABLE messages ADD PROJECTION IF NOT EXISTS topology_work
(
	SELECT count()
	GROUP BY project, ` + slot + `, side, ` + sqlFlow + `, ` + sqlWorkClass + `
)`
)
