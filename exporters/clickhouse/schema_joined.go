package clickhouse

// The release of the program at either side of a record: what an issue's failures
// are told apart by.
const messageRelease = `
ALTER TABLE messages
	ADD COLUMN IF NOT EXISTS release LowCardinality(String) CODEC(ZSTD(1)) AFTER retry_attempt`

// Events lie by issue; from a record's coordinates they are found by these.
const eventRecordIndex = `
ALTER TABLE events
	ADD INDEX IF NOT EXISTS offset_bloom offset TYPE bloom_filter(0.001) GRANULARITY 1,
	ADD INDEX IF NOT EXISTS original_offset_bloom original_offset TYPE bloom_filter(0.001) GRANULARITY 1`
