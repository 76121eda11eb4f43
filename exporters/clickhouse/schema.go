package clickhouse

// migrations are applied in order and once each; a step is idempotent, because
// a crash may come between a step and the note that it was done. Never change
// one that was released: add another.
var migrations = []string{
	spansTable, messagesTable, eventsTable, metricPointsTable, messageRetries, eventIssueColumns, logsTable, outcomesTable, eventProcessColumns, filesTable, sessionsTable, messageRelease, eventRecordIndex, topologyFlows, topologyWaits, topologyWork, messageNamesColumns, clockIntervalsTable, linkIndex,
	traceBoundsTable, traceBoundsSpans, traceBoundsRows, traceBoundsLinks, traceBoundsSentOn, smallBlocksOfSpans, smallBlocksOfMessages, attributeValues,
	messageInstance, topicSums, partitionSums,
	traceBoundsEvents,
}

// tables have a time column that retention goes by.
var tables = []string{"spans", "messages", "events", "metric_points", "logs", "outcomes", "files", "sessions", "clock_intervals", "trace_bounds"}

// A part is one file until it is large: a fresh insert then costs few files to
// write and to sync. fsync makes an answered insert survive a power cut.
const tableSettings = `
SETTINGS index_granularity = 2048, ttl_only_drop_parts = 1, merge_with_ttl_timeout = 14400,
	fsync_after_insert = 1, fsync_part_directory = 1,
	min_rows_to_fsync_after_merge = 1, min_compressed_bytes_to_fsync_after_merge = 1,
	min_bytes_for_wide_part = 67108864`

// Where a row came from: what a replay asks for (see written.go).
const sourceColumns = `
	source        UInt64 CODEC(ZSTD(1)),
	source_offset Int64  CODEC(Delta(8), ZSTD(1)),
	source_index  UInt32 CODEC(Delta(4), ZSTD(1)),
	INDEX source_offset_minmax source_offset TYPE minmax GRANULARITY 1,
	INDEX time_minmax time TYPE minmax GRANULARITY 1`

// resource, link_attributes and event_attributes are JSON objects, written by
// appendAttributes: a resource is then one entry of a dictionary.
const spansTable = `
CREATE TABLE IF NOT EXISTS spans
(
	project        UInt64 CODEC(Delta(8), ZSTD(1)),
	service        LowCardinality(String) CODEC(ZSTD(1)),
	name           LowCardinality(String) CODEC(ZSTD(1)),
	time           DateTime64(9, 'UTC') COMMENT 'start' CODEC(Delta(8), ZSTD(1)),
	duration       Int64 COMMENT 'ns' CODEC(T64, ZSTD(1)),
	trace_id       FixedString(16) CODEC(ZSTD(1)),
	span_id        FixedString(8) CODEC(ZSTD(1)),
	parent_id      FixedString(8) CODEC(ZSTD(1)),
	kind           UInt8 CODEC(ZSTD(1)),
	status         UInt8 CODEC(ZSTD(1)),
	status_message LowCardinality(String) CODEC(ZSTD(1)),
	scope          LowCardinality(String) CODEC(ZSTD(1)),
	resource       LowCardinality(String) CODEC(ZSTD(1)),
	attributes     Map(LowCardinality(String), String) CODEC(ZSTD(1)),
	link_same        Array(UInt8) COMMENT '1: trace is trace_id, 2: span is parent_id' CODEC(ZSTD(1)),
	link_traces      Array(FixedString(16)) CODEC(ZSTD(1)),
	link_spans       Array(FixedString(8)) CODEC(ZSTD(1)),
	link_attributes  Array(LowCardinality(String)) CODEC(ZSTD(1)),
	event_times      Array(Int64) CODEC(ZSTD(1)),
	event_names      Array(LowCardinality(String)) CODEC(ZSTD(1)),
	event_attributes Array(String) CODEC(ZSTD(1)),` + sourceColumns + `,
	INDEX trace_id_bloom trace_id TYPE bloom_filter(0.001) GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toDate(time)
ORDER BY (project, service, name, time)` + tableSettings

// Bits of messages.known.
const (
	knownFirstWritten = 1 << iota
	knownWritten
	knownAcked
	knownAsked
	knownAnswered
	knownHanded
	knownHighWatermark
)

// Times of a row are kept as distances from its start (its end, for acked),
// which take two or three bytes where a time takes eight; the ALIAS columns
// give them back. time is the end, because hops are listed by the time the
// consumer was done. A context that names the row's own trace is kept as a bit.
const messagesTable = `
CREATE TABLE IF NOT EXISTS messages
(
	project        UInt64 CODEC(Delta(8), ZSTD(1)),
	topic          LowCardinality(String) CODEC(ZSTD(1)),
	partition      Int32 CODEC(Delta(4), ZSTD(1)),
	offset         Int64 CODEC(Delta(8), ZSTD(1)),
	side           UInt8 CODEC(ZSTD(1)),
	consumer_group LowCardinality(String) CODEC(ZSTD(1)),
	service        LowCardinality(String) CODEC(ZSTD(1)),
	client_id      LowCardinality(String) CODEC(ZSTD(1)),
	boot_id        LowCardinality(String) CODEC(ZSTD(1)),
	trace_id       FixedString(16) CODEC(ZSTD(1)),
	span_id        FixedString(8) CODEC(ZSTD(1)),
	creation_same  UInt8 COMMENT 'creation trace is trace_id' CODEC(ZSTD(1)),
	creation_other FixedString(16) CODEC(ZSTD(1)),
	creation_span  FixedString(8) CODEC(ZSTD(1)),
	time           DateTime64(9, 'UTC') COMMENT 'end' CODEC(Delta(8), ZSTD(1)),
	duration       Int64 COMMENT 'ns' CODEC(T64, ZSTD(1)),
	known          UInt8 CODEC(ZSTD(1)),
	d_first_written Int64 CODEC(T64, ZSTD(1)),
	d_written      Int64 CODEC(T64, ZSTD(1)),
	d_acked        Int64 CODEC(T64, ZSTD(1)),
	d_asked        Int64 CODEC(T64, ZSTD(1)),
	d_answered     Int64 CODEC(T64, ZSTD(1)),
	d_handed       Int64 CODEC(T64, ZSTD(1)),
	d_high_watermark Int64 CODEC(T64, ZSTD(1)),
	appended       Int64 CODEC(GCD, Delta(8), ZSTD(1)),
	record_time    Int64 CODEC(GCD, Delta(8), ZSTD(1)),
	attempts       UInt16 CODEC(T64, ZSTD(1)),
	throttle       Int64 CODEC(T64, ZSTD(1)),
	body_size      Int64 CODEC(T64, ZSTD(1)),
	key_hash       UInt64 CODEC(ZSTD(1)),
	failed         UInt8 CODEC(ZSTD(1)),
	estimated_end  UInt8 CODEC(ZSTD(1)),` + sourceColumns + `,
	end_time       Int64 ALIAS toUnixTimestamp64Nano(time),
	start_time     Int64 ALIAS toUnixTimestamp64Nano(time) - duration,
	first_written  Int64 ALIAS if(bitTest(known, 0), toUnixTimestamp64Nano(time) - duration + d_first_written, 0),
	written        Int64 ALIAS if(bitTest(known, 1), toUnixTimestamp64Nano(time) - duration + d_written, 0),
	acked          Int64 ALIAS if(bitTest(known, 2), toUnixTimestamp64Nano(time) - d_acked, 0),
	asked          Int64 ALIAS if(bitTest(known, 3), toUnixTimestamp64Nano(time) - duration + d_asked, 0),
	answered       Int64 ALIAS if(bitTest(known, 4), toUnixTimestamp64Nano(time) - duration + d_answered, 0),
	handed         Int64 ALIAS if(bitTest(known, 5), toUnixTimestamp64Nano(time) - duration + d_handed, 0),
	high_watermark Int64 ALIAS if(bitTest(known, 6), offset + d_high_watermark, -1),
	creation_trace FixedString(16) ALIAS if(creation_same = 1, trace_id, creation_other),
	INDEX trace_id_bloom trace_id TYPE bloom_filter(0.005) GRANULARITY 1,
	INDEX creation_bloom creation_span TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toDate(time)
ORDER BY (project, topic, partition, offset)` + tableSettings

// A record that was sent on after a failure; nearly every row has none of it. The
// offset of the first failure is looked up to find what was made of a record.
const messageRetries = `
ALTER TABLE messages
	ADD COLUMN IF NOT EXISTS retry_topic LowCardinality(String) CODEC(ZSTD(1)) AFTER estimated_end,
	ADD COLUMN IF NOT EXISTS retry_partition Int32 CODEC(T64, ZSTD(1)) AFTER retry_topic,
	ADD COLUMN IF NOT EXISTS retry_offset Int64 CODEC(T64, ZSTD(1)) AFTER retry_partition,
	ADD COLUMN IF NOT EXISTS retry_first_seen Int64 CODEC(ZSTD(1)) AFTER retry_offset,
	ADD COLUMN IF NOT EXISTS retry_attempt UInt16 CODEC(T64, ZSTD(1)) AFTER retry_first_seen,
	ADD INDEX IF NOT EXISTS retry_set retry_topic TYPE set(16) GRANULARITY 1`

const eventsTable = `
CREATE TABLE IF NOT EXISTS events
(
	project        UInt64 CODEC(Delta(8), ZSTD(1)),
	issue          UInt64 CODEC(ZSTD(1)),
	time           DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)),
	received       Int64 CODEC(Delta(8), ZSTD(1)),
	id             FixedString(16) CODEC(ZSTD(1)),
	fingerprint    FixedString(16) CODEC(ZSTD(1)),
	level          LowCardinality(String) CODEC(ZSTD(1)),
	platform       LowCardinality(String) CODEC(ZSTD(1)),
	type           LowCardinality(String) CODEC(ZSTD(1)),
	value          String CODEC(ZSTD(1)),
	culprit        LowCardinality(String) CODEC(ZSTD(1)),
	transaction    LowCardinality(String) CODEC(ZSTD(1)),
	release        LowCardinality(String) CODEC(ZSTD(1)),
	environment    LowCardinality(String) CODEC(ZSTD(1)),
	server         LowCardinality(String) CODEC(ZSTD(1)),
	sdk            LowCardinality(String) CODEC(ZSTD(1)),
	trace_id       FixedString(16) CODEC(ZSTD(1)),
	span_id        FixedString(8) CODEC(ZSTD(1)),
	topic          LowCardinality(String) CODEC(ZSTD(1)),
	partition      Int32 CODEC(ZSTD(1)),
	offset         Int64 CODEC(ZSTD(1)),
	consumer_group LowCardinality(String) CODEC(ZSTD(1)),
	tags           Map(LowCardinality(String), String) CODEC(ZSTD(1)),` + sourceColumns + `,
	INDEX id_bloom id TYPE bloom_filter(0.001) GRANULARITY 1,
	INDEX trace_id_bloom trace_id TYPE bloom_filter(0.001) GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toDate(time)
ORDER BY (project, issue, time)` + tableSettings

// resource is a JSON object as in spans. Points of one metric, topic, partition
// and group lie together, by time: what a chart of one of them reads.
const metricPointsTable = `
CREATE TABLE IF NOT EXISTS metric_points
(
	project        UInt64 CODEC(Delta(8), ZSTD(1)),
	name           LowCardinality(String) CODEC(ZSTD(1)),
	topic          LowCardinality(String) CODEC(ZSTD(1)),
	partition      Int32 CODEC(Delta(4), ZSTD(1)),
	consumer_group LowCardinality(String) CODEC(ZSTD(1)),
	time           DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)),
	start_time     Int64 CODEC(Delta(8), ZSTD(1)),
	series         UInt64 CODEC(ZSTD(1)),
	kind           UInt8 CODEC(ZSTD(1)),
	temporality    UInt8 CODEC(ZSTD(1)),
	monotonic      UInt8 CODEC(ZSTD(1)),
	unit           LowCardinality(String) CODEC(ZSTD(1)),
	description    LowCardinality(String) CODEC(ZSTD(1)),
	client_id      LowCardinality(String) CODEC(ZSTD(1)),
	broker         LowCardinality(String) CODEC(ZSTD(1)),
	service        LowCardinality(String) CODEC(ZSTD(1)),
	scope          LowCardinality(String) CODEC(ZSTD(1)),
	boot_id        LowCardinality(String) CODEC(ZSTD(1)),
	resource       LowCardinality(String) CODEC(ZSTD(1)),
	attributes     Map(LowCardinality(String), String) CODEC(ZSTD(1)),
	value          Float64 CODEC(ZSTD(1)),
	h_count        UInt64 CODEC(T64, ZSTD(1)),
	h_sum          Float64 CODEC(ZSTD(1)),
	h_min          Float64 CODEC(ZSTD(1)),
	h_max          Float64 CODEC(ZSTD(1)),
	zero_count     UInt64 CODEC(T64, ZSTD(1)),
	scale          Int32 CODEC(ZSTD(1)),
	positive_offset Int32 CODEC(ZSTD(1)),
	positive_counts Array(UInt64) CODEC(T64, ZSTD(1)),
	negative_offset Int32 CODEC(ZSTD(1)),
	negative_counts Array(UInt64) CODEC(T64, ZSTD(1)),
	bounds          Array(Float64) CODEC(ZSTD(1)),
	bucket_counts   Array(UInt64) CODEC(T64, ZSTD(1)),
	exemplar_times  Array(Int64) CODEC(ZSTD(1)),
	exemplar_values Array(Float64) CODEC(ZSTD(1)),
	exemplar_traces Array(FixedString(16)) CODEC(ZSTD(1)),
	exemplar_spans  Array(FixedString(8)) CODEC(ZSTD(1)),` + sourceColumns + `
)
ENGINE = MergeTree
PARTITION BY toDate(time)
ORDER BY (project, name, topic, partition, consumer_group, time)` + tableSettings
