package clickhouse

// clockIntervalsTable holds a row a pair of host and broker, origin and ten seconds.
// Rows of one key merge by functions that give the same however often a row is
// added and in whatever order, so nothing needs to be left out at a replay. time
// is of the host's clock.
const clockIntervalsTable = `
CREATE TABLE IF NOT EXISTS clock_intervals
(
	project     UInt64 CODEC(Delta(8), ZSTD(1)),
	host        LowCardinality(String) COMMENT 'boot id' CODEC(ZSTD(1)),
	broker      LowCardinality(String) CODEC(ZSTD(1)),
	cluster     LowCardinality(String) CODEC(ZSTD(1)),
	node        Int32 CODEC(ZSTD(1)),
	origin      UInt8 COMMENT '1 round trip, 2 fetch, 3 beacon' CODEC(ZSTD(1)),
	time        DateTime64(9, 'UTC') COMMENT 'begin of ten seconds' CODEC(Delta(8), ZSTD(1)),
	low_begin   SimpleAggregateFunction(max, Int64) CODEC(Delta(8), ZSTD(1)),
	low_middle  SimpleAggregateFunction(max, Int64) CODEC(Delta(8), ZSTD(1)),
	low_end     SimpleAggregateFunction(max, Int64) CODEC(Delta(8), ZSTD(1)),
	high_begin  SimpleAggregateFunction(min, Int64) CODEC(Delta(8), ZSTD(1)),
	high_middle SimpleAggregateFunction(min, Int64) CODEC(Delta(8), ZSTD(1)),
	high_end    SimpleAggregateFunction(min, Int64) CODEC(Delta(8), ZSTD(1)),
	seconds     SimpleAggregateFunction(groupBitOr, UInt16) CODEC(ZSTD(1)),
	first       SimpleAggregateFunction(min, Int64) CODEC(Delta(8), ZSTD(1)),
	last        SimpleAggregateFunction(max, Int64) CODEC(Delta(8), ZSTD(1)),
	name        SimpleAggregateFunction(max, String) CODEC(ZSTD(1)),
	service     SimpleAggregateFunction(max, String) CODEC(ZSTD(1)),
	INDEX time_minmax time TYPE minmax GRANULARITY 1
)
ENGINE = AggregatingMergeTree
PARTITION BY toDate(time)
ORDER BY (project, host, broker, cluster, node, origin, time)` + tableSettings
