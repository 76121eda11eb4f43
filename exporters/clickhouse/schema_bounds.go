package clickhouse

import "strconv"

// trace_bounds says where the rows of a trace lie: when and of which services its
// spans, when and of which records its message rows, those that carried a
// context of it, and when its events. With that the rows are found by the keys of their tables, instead of
// by asking a filter of every granule of every part (docs/adr/0013). A row is all key
// and says what any replay says again, so rows that are written twice become one.
//
// trace is 40 bits of a hash: two traces may share it, and the rows that are found
// are compared with the id asked for. time is cut to a slot, so that most traces have
// one. A record that was sent on after a failure is also found by the record that
// failed first, see recordKey.
const traceBoundsTable = `
CREATE TABLE IF NOT EXISTS trace_bounds
(
	trace     UInt64 CODEC(Delta(8), ZSTD(1)),
	time      DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
	service   LowCardinality(String) COMMENT 'empty of a record' CODEC(ZSTD(1)),
	topic     LowCardinality(String) CODEC(ZSTD(1)),
	partition Int32 COMMENT '-2 of a span' CODEC(T64, ZSTD(1)),
	offset    Int64 CODEC(T64, ZSTD(1))
)
ENGINE = ReplacingMergeTree
PARTITION BY toMonday(time)
PRIMARY KEY trace
ORDER BY (trace, time, service, topic, partition, offset)
SETTINGS index_granularity = 512, ttl_only_drop_parts = 1, merge_with_ttl_timeout = 14400,
	fsync_after_insert = 1, fsync_part_directory = 1,
	min_rows_to_fsync_after_merge = 1, min_compressed_bytes_to_fsync_after_merge = 1`

// boundsSlot is what times in trace_bounds are cut to, in seconds.
const boundsSlot = 16

// sqlBoundsSlot is boundsTime.
var sqlBoundsSlot = `toDateTime(toUInt32(least(greatest(intDiv(toUnixTimestamp64Nano(time), 1000000000) - intDiv(toUnixTimestamp64Nano(time), 1000000000) % ` +
	strconv.Itoa(boundsSlot) + `, 0), ` + strconv.Itoa(boundsLast) + `)), 'UTC')`

// sqlRecordKey is recordKey; 0 of no record.
func sqlRecordKey(topic, partition, offset string) string {
	return "if(" + topic + " = '' OR " + partition + " < 0 OR " + offset + " < 0, 0, bitShiftRight(xxHash64(concat(" + topic + ", '/', toString(" + partition + "), '/', toString(" + offset + "))), 24))"
}

// What was stored before there was trace_bounds, once, however long it takes. One
// that broke off begins again; what it had written becomes one with what it writes.
var (
	backfillSettings = ` SETTINGS max_execution_time = 0, max_partitions_per_insert_block = 0, max_threads = 2`
	traceBoundsSpans = `INSERT INTO trace_bounds SELECT bitShiftRight(xxHash64(trace_id), 24), ` + sqlBoundsSlot + `, service, '', ` + strconv.Itoa(spanPlace) + `, 0 FROM spans` + backfillSettings
	traceBoundsRows  = `INSERT INTO trace_bounds SELECT bitShiftRight(xxHash64(trace_id), 24), ` + sqlBoundsSlot + `, '', topic, partition, offset FROM messages` + backfillSettings
	traceBoundsLinks = `INSERT INTO trace_bounds SELECT bitShiftRight(xxHash64(creation_other), 24), ` + sqlBoundsSlot + `, '', topic, partition, offset FROM messages WHERE creation_same = 0 AND creation_other != toFixedString('', 16)` + backfillSettings
	// Of events, by trace, by record and by the record that failed first.
	traceBoundsEvents = `INSERT INTO trace_bounds SELECT k, at, '', '', ` + strconv.Itoa(eventPlace) + `, 0 FROM
(
	SELECT ` + sqlBoundsSlot + ` AS at, arrayJoin(arrayFilter(x -> x != 0,
		[if(trace_id = toFixedString('', 16), 0, bitShiftRight(xxHash64(trace_id), 24)), ` + sqlRecordKey("topic", "partition", "offset") + `, ` + sqlRecordKey("original_topic", "original_partition", "original_offset") + `])) AS k
	FROM events
)` + backfillSettings
	traceBoundsSentOn = `INSERT INTO trace_bounds SELECT bitShiftRight(xxHash64(concat(retry_topic, '/', toString(retry_partition), '/', toString(retry_offset))), 24), ` + sqlBoundsSlot +
		`, '', topic, partition, offset FROM messages WHERE retry_topic != ''` + backfillSettings
)

// What a question for few rows takes. A block that is compressed by itself is what is
// unpacked for one row of it, of each of 60 streams of a span: with 64 KiB, four
// granules of a number, that was a third of the time. And an attribute that few spans
// have is found by a filter of the values, 1.7 bytes a span. Both are of parts that are
// written from now on; nothing is rewritten.
const (
	smallBlocksOfSpans    = `ALTER TABLE spans MODIFY SETTING min_compress_block_size = 8192`
	smallBlocksOfMessages = `ALTER TABLE messages MODIFY SETTING min_compress_block_size = 8192`
	attributeValues       = `ALTER TABLE spans ADD INDEX IF NOT EXISTS attribute_bloom mapValues(attributes) TYPE bloom_filter(0.01) GRANULARITY 1`
)
