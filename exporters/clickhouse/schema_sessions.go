package clickhouse

// A session is told several times: the row with the highest seq counts. time is when
// it started.
const sessionsTable = `
CREATE TABLE IF NOT EXISTS sessions
(
	project     UInt64 CODEC(Delta(8), ZSTD(1)),
	id          FixedString(16) CODEC(ZSTD(1)),
	seq         UInt64 CODEC(ZSTD(1)),
	release     LowCardinality(String) CODEC(ZSTD(1)),
	environment LowCardinality(String) CODEC(ZSTD(1)),
	time        DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)),
	received    Int64 CODEC(Delta(8), ZSTD(1)),
	status      LowCardinality(String) CODEC(ZSTD(1)),
	errors      UInt32 CODEC(T64, ZSTD(1)),
	duration    Int64 CODEC(ZSTD(1)),
	user        UInt64 CODEC(ZSTD(1)),
	init        UInt8 CODEC(ZSTD(1)),
	quantity    UInt32 CODEC(T64, ZSTD(1)),` + sourceColumns + `
)
ENGINE = ReplacingMergeTree(seq)
PARTITION BY toDate(time)
ORDER BY (project, id)` + tableSettings
