package clickhouse

// time is when the collector had the items. Rows are distinct by source,
// source_offset, source_index and outcome; a replay writes some again.
const outcomesTable = `
CREATE TABLE IF NOT EXISTS outcomes
(
	project  UInt64 CODEC(Delta(8), ZSTD(1)),
	time     DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)),
	category LowCardinality(String) CODEC(ZSTD(1)),
	outcome  UInt8 CODEC(ZSTD(1)),
	reason   LowCardinality(String) CODEC(ZSTD(1)),
	key_id   UInt64 CODEC(ZSTD(1)),
	quantity Int64 CODEC(T64, ZSTD(1)),` + sourceColumns + `
)
ENGINE = ReplacingMergeTree
PARTITION BY toDate(time)
ORDER BY (project, category, outcome, source, source_offset, source_index)` + tableSettings
