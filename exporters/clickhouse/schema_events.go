package clickhouse

// What the stage process-events tells of an event: its payload's place in the
// node store, what search and joined views ask for, and the ingest record that
// it came in. Rows from before have the defaults.
const eventProcessColumns = `
ALTER TABLE events
	ADD COLUMN IF NOT EXISTS hash_version LowCardinality(String) CODEC(ZSTD(1)) AFTER user_ip,
	ADD COLUMN IF NOT EXISTS dist LowCardinality(String) CODEC(ZSTD(1)) AFTER hash_version,
	ADD COLUMN IF NOT EXISTS sdk_name LowCardinality(String) CODEC(ZSTD(1)) AFTER dist,
	ADD COLUMN IF NOT EXISTS origin LowCardinality(String) CODEC(ZSTD(1)) AFTER sdk_name,
	ADD COLUMN IF NOT EXISTS user_hash UInt64 CODEC(ZSTD(1)) AFTER origin,
	ADD COLUMN IF NOT EXISTS member LowCardinality(String) CODEC(ZSTD(1)) AFTER user_hash,
	ADD COLUMN IF NOT EXISTS key_hash String CODEC(ZSTD(1)) AFTER member,
	ADD COLUMN IF NOT EXISTS producer_release LowCardinality(String) CODEC(ZSTD(1)) AFTER key_hash,
	ADD COLUMN IF NOT EXISTS attempt UInt16 CODEC(T64, ZSTD(1)) AFTER producer_release,
	ADD COLUMN IF NOT EXISTS batch UInt32 CODEC(T64, ZSTD(1)) AFTER attempt,
	ADD COLUMN IF NOT EXISTS record_time Int64 CODEC(Delta(8), ZSTD(1)) AFTER batch,
	ADD COLUMN IF NOT EXISTS age Int64 DEFAULT -1 COMMENT 'ns, -1 not told' CODEC(T64, ZSTD(1)) AFTER record_time,
	ADD COLUMN IF NOT EXISTS original_topic LowCardinality(String) CODEC(ZSTD(1)) AFTER age,
	ADD COLUMN IF NOT EXISTS original_partition Int32 DEFAULT -1 CODEC(T64, ZSTD(1)) AFTER original_topic,
	ADD COLUMN IF NOT EXISTS original_offset Int64 DEFAULT -1 CODEC(T64, ZSTD(1)) AFTER original_partition,
	ADD COLUMN IF NOT EXISTS node String CODEC(ZSTD(1)) AFTER original_offset,
	ADD COLUMN IF NOT EXISTS weight UInt32 DEFAULT 1 CODEC(T64, ZSTD(1)) AFTER node,
	ADD COLUMN IF NOT EXISTS is_repeat UInt8 CODEC(T64, ZSTD(1)) AFTER weight,
	ADD COLUMN IF NOT EXISTS ingest_source UInt64 CODEC(ZSTD(1)) AFTER is_repeat,
	ADD COLUMN IF NOT EXISTS ingest_offset Int64 CODEC(Delta(8), ZSTD(1)) AFTER ingest_source,
	ADD INDEX IF NOT EXISTS ingest_offset_minmax ingest_offset TYPE minmax GRANULARITY 1`
