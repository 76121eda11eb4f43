package clickhouse

import (
	"strconv"
	"strings"

	"github.com/hoptrace/hoptrace/exporters"
)

// Which process a row is of: what owns a partition is told apart by it.
const messageInstance = `
ALTER TABLE messages
	ADD COLUMN IF NOT EXISTS instance LowCardinality(String) CODEC(ZSTD(1)) AFTER release`

// What passed through topics and through their partitions is read from two sums of
// messages, a slot each, that are projections as those of the topology are
// (docs/adr/0014).
//
// A duration is sorted into its class of exporters.Latencies, and the classes go into
// states of quantilesBFloat16. Such a state counts by number of eight binary digits,
// which is exact for whole numbers to 256: it stays small however many there are, is
// merged in any order, and gives the class of each quantile. The shift puts what occurs
// into the middle: classes from -128 to 384 (below zero, 65 ms; above, 3 days) are exact,
// those beyond are known to two.
const (
	quantileLevels = `(0.5, 0.9, 0.95, 0.99)`
	classShift     = 128

	sqlReads      = `side IN (2, 3)`
	sqlStartedAt  = `(toUnixTimestamp64Nano(time) - duration)`
	sqlOwnTime    = `if(record_time != 0, record_time, appended)`
	sqlOwnKnown   = `(record_time != 0 OR appended != 0)`
	sqlOwnSince   = `(` + sqlOwnTime + ` - ` + sqlStartedAt + `)` // as the other times are kept: since the start
	sqlFirstSince = `if(bitTest(known, 0), d_first_written, d_written)`
	sqlAckedSince = `(duration - d_acked)`
	sqlAskedSince = `least(greatest(d_asked, ` + sqlOwnSince + `), greatest(d_answered, ` + sqlOwnSince + `))`
	sqlFetched    = `(` + sqlReads + ` AND bitTest(known, 3) AND bitTest(known, 4) AND ` + sqlOwnKnown + `)`

	sqlResidenceKnown = `(` + sqlReads + ` AND ` + sqlOwnKnown + `)`
	sqlResidence      = `(if(bitTest(known, 4), d_answered, 0) - ` + sqlOwnSince + `)`

	sqlSizeKnown = `(body_size >= 0)`
	sqlSizeClass = `toInt16(if(body_size < 1, 0, least(1 + floor(8 * log2(greatest(body_size, 1))), 256)))`
)

// summedParts are exporters.SummedParts in terms of one row.
var summedParts = []part{
	{exporters.PartBatchQueue, `(side = 1 AND (bitTest(known, 0) OR bitTest(known, 1)))`, sqlFirstSince},
	{exporters.PartRetry, `(side = 1 AND bitTest(known, 1))`, `(d_written - ` + sqlFirstSince + `)`},
	{exporters.PartAck, `(side = 1 AND bitTest(known, 1) AND bitTest(known, 2))`, `(if(appended != 0, least(greatest(appended - ` + sqlStartedAt + `, d_written), ` + sqlAckedSince + `), ` + sqlAckedSince + `) - d_written)`},
	{exporters.PartResidence, sqlResidenceKnown, sqlResidence},
	{exporters.PartBacklog, sqlFetched, `(` + sqlAskedSince + ` - ` + sqlOwnSince + `)`},
	{exporters.PartLongPoll, sqlFetched, `(d_answered - ` + sqlAskedSince + `)`},
	{exporters.PartFetchQueue, `(` + sqlReads + ` AND bitTest(known, 4) AND (bitTest(known, 5) OR side = 3))`, `(if(bitTest(known, 5), d_handed, 0) - d_answered)`},
	{exporters.PartProcessing, `(side = 3)`, `(duration - if(bitTest(known, 5), d_handed, 0))`},
	{exporters.PartEndToEnd, `(side = 3 AND ` + sqlOwnKnown + `)`, `(duration - ` + sqlOwnSince + `)`},
}

// sqlQuantiles is a state of the classes of a part.
func sqlQuantiles(p part) string {
	return `quantilesBFloat16If` + quantileLevels + `(` + sqlLatencyClass("1", p.value) + ` - ` + strconv.Itoa(classShift) + `, ` + p.known + `)`
}

// sqlDurations are the sums of a part: how many, how many below zero, and which.
func sqlDurations(p part) [3]string {
	return [3]string{`countIf(` + p.known + `)`, `countIf(` + p.known + ` AND ` + p.value + ` < 0)`, sqlQuantiles(p)}
}

const (
	sqlSizes  = `quantilesBFloat16If` + quantileLevels + `(` + sqlSizeClass + `, ` + sqlSizeKnown + `)`
	sqlBytes  = `sumIf(body_size, ` + sqlSizeKnown + `)`
	sqlSized  = `countIf(` + sqlSizeKnown + `)`
	sqlWaited = `sumIf(greatest(` + sqlResidence + `, 0), ` + sqlResidenceKnown + `)`
	sqlNewest = `max(` + sqlRecordAt + `)`

	// sqlOwner is who read; that a partition has many writers is no event.
	sqlOwner = `if(side = 1, '', instance)`

	topicPlace     = `topic, side, consumer_group`
	partitionPlace = `topic, side, partition, consumer_group`
)

var (
	topicSums = `
ALTER TABLE messages ADD PROJECTION IF NOT EXISTS topic_sums
(
	SELECT count(), sum(failed), min(time), max(time), ` + sqlNewest + `, ` + sqlSized + `, ` + sqlBytes + `, ` + sqlSizes + `, ` + allDurations() + `
	GROUP BY project, ` + topicPlace + `, ` + slot + `
)`
	partitionSums = `
ALTER TABLE messages ADD PROJECTION IF NOT EXISTS partition_sums
(
	SELECT count(), sum(failed), min(time), max(time), ` + sqlWaited + `, ` + allDurations() + `
	GROUP BY project, ` + partitionPlace + `, ` + sqlOwner + `, ` + slot + `
)`
)

func allDurations() string {
	all := make([]string, 0, 3*len(summedParts))
	for _, p := range summedParts {
		d := sqlDurations(p)
		all = append(all, d[:]...)
	}
	return strings.Join(all, ", ")
}
