package clickhouse

// What issues are counted and searched by. An issue's events are those with one
// of its hashes; rows lie by the issue that had the hash when they were written,
// so few granules hold a hash, and the filter finds them.
const eventIssueColumns = `
ALTER TABLE events
	ADD COLUMN IF NOT EXISTS logger LowCardinality(String) CODEC(ZSTD(1)) AFTER tags,
	ADD COLUMN IF NOT EXISTS handled UInt8 COMMENT '0 not told, 1 yes, 2 no' CODEC(T64, ZSTD(1)) AFTER logger,
	ADD COLUMN IF NOT EXISTS user_id String CODEC(ZSTD(1)) AFTER handled,
	ADD COLUMN IF NOT EXISTS user_name String CODEC(ZSTD(1)) AFTER user_id,
	ADD COLUMN IF NOT EXISTS user_email String CODEC(ZSTD(1)) AFTER user_name,
	ADD COLUMN IF NOT EXISTS user_ip String CODEC(ZSTD(1)) AFTER user_email,
	ADD INDEX IF NOT EXISTS fingerprint_bloom fingerprint TYPE bloom_filter(0.001) GRANULARITY 1`
