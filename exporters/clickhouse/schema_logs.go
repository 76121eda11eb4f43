package clickhouse

// resource is a JSON object as in spans. Words of bodies are found by a bloom
// filter over their tokens, in lower case.
const logsTable = `
CREATE TABLE IF NOT EXISTS logs
(
	project    UInt64 CODEC(Delta(8), ZSTD(1)),
	service    LowCardinality(String) CODEC(ZSTD(1)),
	time       DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)),
	received   Int64 CODEC(Delta(8), ZSTD(1)),
	trace_id   FixedString(16) CODEC(ZSTD(1)),
	span_id    FixedString(8) CODEC(ZSTD(1)),
	severity   UInt8 CODEC(ZSTD(1)),
	level      LowCardinality(String) CODEC(ZSTD(1)),
	body       String CODEC(ZSTD(1)),
	scope      LowCardinality(String) CODEC(ZSTD(1)),
	origin     LowCardinality(String) CODEC(ZSTD(1)),
	resource   LowCardinality(String) CODEC(ZSTD(1)),
	attributes Map(LowCardinality(String), String) CODEC(ZSTD(1)),` + sourceColumns + `,
	INDEX trace_id_bloom trace_id TYPE bloom_filter(0.001) GRANULARITY 1,
	INDEX body_words lower(body) TYPE tokenbf_v1(8192, 3, 0) GRANULARITY 4
)
ENGINE = MergeTree
PARTITION BY toDate(time)
ORDER BY (project, service, time)` + tableSettings
