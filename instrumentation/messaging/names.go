package messaging

// Attribute names of the OpenTelemetry messaging conventions, v1.43. Everything
// under messaging.* is still "Development" there; this file is the one place
// that pins the names.
const (
	SemConvVersion = "1.43.0"
	SchemaURL      = "https://opentelemetry.io/schemas/1.43.0"

	AttrSystem            = "messaging.system"
	AttrOperationName     = "messaging.operation.name"
	AttrOperationType     = "messaging.operation.type"
	AttrDestinationName   = "messaging.destination.name"
	AttrPartitionID       = "messaging.destination.partition.id" // string
	AttrConsumerGroup     = "messaging.consumer.group.name"
	AttrBatchMessageCount = "messaging.batch.message_count"
	AttrClientID          = "messaging.client.id"
	AttrMessageID         = "messaging.message.id"
	AttrBodySize          = "messaging.message.body.size"
	AttrKafkaOffset       = "messaging.kafka.offset" // int
	AttrKafkaKey          = "messaging.kafka.message.key"
	AttrKafkaTombstone    = "messaging.kafka.message.tombstone"
	AttrErrorType         = "error.type"
	AttrServerAddress     = "server.address"
	AttrServerPort        = "server.port"
	AttrPeerAddress       = "network.peer.address"
	AttrPeerPort          = "network.peer.port"

	// Sentry's conventions, beside OTel's. Latency is a float of milliseconds:
	// record time → handed to the application.
	AttrReceiveLatency = "messaging.message.receive.latency"
	AttrRetryCount     = "messaging.message.retry.count"
	AttrSentryOp       = "sentry.op"

	// SystemKafka is the value of messaging.system.
	SystemKafka = "kafka"

	// Values of messaging.operation.type.
	OperationCreate  = "create"
	OperationSend    = "send"
	OperationReceive = "receive"
	OperationProcess = "process"
	OperationSettle  = "settle"
)

// Ours: the raw times of a record's way, from which the parts of a hop are
// computed when they are read. Every time is an int64 of Unix nanoseconds on the
// clock of the host that emits the span, unless it says otherwise. An absent
// attribute means unknown, never zero.
const (
	// On the send span. The span starts when the application hands the record to
	// the client and ends when the client has the broker's answer.
	AttrProduceFirstWritten = "hoptrace.produce.first_written" // only when the request was written more than once
	AttrProduceWritten      = "hoptrace.produce.written"       // the last produce request that carried the record was written
	AttrProduceAcked        = "hoptrace.produce.acked"         // its answer arrived
	AttrProduceAppended     = "hoptrace.produce.appended"      // LogAppendTime: the broker's clock, whole milliseconds
	AttrProduceAttempts     = "hoptrace.produce.attempts"      // int, absent means 1
	AttrProduceThrottle     = "hoptrace.produce.throttle"      // nanoseconds, absent means none

	// On the process span. The span starts when processing starts and ends when
	// it is done.
	AttrConsumeAsked         = "hoptrace.consume.asked"          // the fetch request that brought the record was written
	AttrConsumeAnswered      = "hoptrace.consume.answered"       // the first byte of its answer arrived
	AttrConsumeHanded        = "hoptrace.consume.handed"         // the record was handed to the application
	AttrConsumeRecordTime    = "hoptrace.consume.record_time"    // the record's own timestamp, whole milliseconds, clock by the topic's timestamp type
	AttrConsumeHighWatermark = "hoptrace.consume.high_watermark" // int, the partition's high watermark in that answer
	AttrConsumeEstimated     = "hoptrace.consume.estimated"      // true when the end of processing is a guess: the next fetch

	// On the process span of a record that was sent on after it failed: what
	// its lineage header says (see Lineage).
	AttrRetryTopic     = "hoptrace.retry.original_topic"
	AttrRetryPartition = "hoptrace.retry.original_partition" // int
	AttrRetryOffset    = "hoptrace.retry.original_offset"    // int
	AttrRetryFirstSeen = "hoptrace.retry.first_seen"         // Unix nanoseconds, clock of the consumer that first failed
	AttrRetryAttempt   = "hoptrace.retry.attempt"            // int, the failures before this attempt: 1 on the second attempt, where Processing.Attempt is 2
	AttrRetryEarlier   = "hoptrace.retry.earlier"            // bool, on the link to the process span of an earlier attempt

	// AttrBatchLinksLeftOut, on the process span of a batch and on the send span of a
	// request with create spans: records that it has no link to, beyond the bound.
	AttrBatchLinksLeftOut = "hoptrace.batch.links_left_out"
	// AttrBatchRecords, on the process span of a batch that has no link to some of its
	// records, beyond the bound or since they carry no context, names all of them: runs
	// of offsets, separated by spaces, each
	//
	//	topic/partition:first-last:asked:answered:handed:record_time:high_watermark
	//
	// without topic/ where the span tells it, without -last for one record, and with
	// nothing for a time that is unknown or differs within the run.
	AttrBatchRecords = "hoptrace.batch.records"

	// AttrPathway is the hash of a record's pathway, 16 hexadecimal digits.
	AttrPathway = "hoptrace.pathway"

	// AttrKeyHash is an unsigned 64-bit xxhash of the record's key in decimal. The key itself is
	// never sent unless asked for.
	AttrKeyHash = "hoptrace.key_hash"

	// AttrBootID is a resource attribute: the boot id of the host's kernel, hashed.
	// Two processes with one boot id share a clock.
	AttrBootID = "hoptrace.host.boot_id"
)

// Values of sentry.op.
const (
	SentryOpPublish = "queue.publish"
	SentryOpCreate  = "queue.create"
	SentryOpReceive = "queue.receive"
	SentryOpProcess = "queue.process"
	SentryOpSettle  = "queue.settle"
)

// Instrumentation scopes of the wrappers. A receive span of theirs is always
// followed by a process span of the same record.
const (
	ScopeFranz  = "github.com/hoptrace/hoptrace/instrumentation/otelfranz"
	ScopeSarama = "github.com/hoptrace/hoptrace/instrumentation/otelsarama"
)

// ScopeKafkaGo is the instrumentation scope of package otelkafkago. Its receive
// spans are always followed by a process span of the same record.
const ScopeKafkaGo = "github.com/hoptrace/hoptrace/instrumentation/otelkafkago"
