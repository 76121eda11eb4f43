package clickhouse

// event_id is also a profile's or a replay's. The bytes lie in the blob store.
const filesTable = `
CREATE TABLE IF NOT EXISTS files
(
	project      UInt64 CODEC(Delta(8), ZSTD(1)),
	kind         LowCardinality(String) CODEC(ZSTD(1)),
	time         DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)),
	event_id     FixedString(16) CODEC(ZSTD(1)),
	id           String CODEC(ZSTD(1)),
	name         String CODEC(ZSTD(1)),
	content_type LowCardinality(String) CODEC(ZSTD(1)),
	type         LowCardinality(String) CODEC(ZSTD(1)),
	size         Int64 CODEC(T64, ZSTD(1)),
	chunks       Int64 CODEC(T64, ZSTD(1)),
	trace_id     FixedString(16) CODEC(ZSTD(1)),` + sourceColumns + `,
	INDEX event_id_bloom event_id TYPE bloom_filter(0.001) GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toDate(time)
ORDER BY (project, kind, time)` + tableSettings
