package clickhouse

import "github.com/hoptrace/hoptrace/exporters"

// The arithmetic of schemas.Hop.Parts, in SQL, over the columns of a joined
// hop: p_… of the producer's row (all zero when there is none) and c_… of the
// consumer's. Package exportertest compares the two.
const (
	sqlShared = `(p_boot != 0 AND p_boot = c_boot)`

	sqlAppend = `multiIf(p_written = 0 OR p_acked = 0, toInt64(0),
		p_appended != 0, least(greatest(p_appended, p_written), p_acked),
		c_answered != 0 AND ` + sqlShared + `, greatest(least(p_acked, c_answered), p_written),
		p_acked)`

	sqlFirst  = `if(p_first_written = 0, p_written, p_first_written)`
	sqlHanded = `if(c_handed = 0 AND c_side = 3, c_start, c_handed)`
	sqlAsked  = `least(greatest(c_asked, h_append), greatest(c_answered, h_append))`
)

// hopColumns are computed from a joined row, each from those before it.
const hopColumns = sqlAppend + ` AS h_append, ` + sqlFirst + ` AS h_first, ` + sqlHanded + ` AS h_handed, ` + sqlAsked + ` AS h_asked, ` +
	sqlShared + ` AND h_append != 0 AND c_asked != 0 AND c_answered != 0 AS h_crossed`

// part is one part in terms of hopColumns.
type part struct {
	name         exporters.PartName
	known, value string
}

// Values of parts that are not known mean nothing.
var parts = []part{
	{exporters.PartBatchQueue, `p_start != 0 AND h_first != 0`, `h_first - p_start`},
	{exporters.PartRetry, `h_first != 0 AND p_written != 0`, `p_written - h_first`},
	{exporters.PartAck, `p_written != 0 AND h_append != 0`, `h_append - p_written`},
	{exporters.PartBacklog, `h_crossed`, `h_asked - h_append`},
	{exporters.PartLongPoll, `h_crossed`, `c_answered - h_asked`},
	{exporters.PartFetchQueue, `c_answered != 0 AND h_handed != 0`, `h_handed - c_answered`},
	{exporters.PartProcessing, `c_side = 3 AND h_handed != 0 AND c_end != 0`, `c_end - h_handed`},
	{exporters.PartEndToEnd, sqlShared + ` AND c_side = 3 AND p_start != 0 AND c_end != 0`, `c_end - p_start`},
}

// producerParts is how many of parts need no consumer.
const producerParts = 3
