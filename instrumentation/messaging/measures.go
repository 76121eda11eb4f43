package messaging

import "github.com/hoptrace/hoptrace/instrumentation/messaging/measure"

// Metrics of the OpenTelemetry messaging conventions, and ours. All work whether
// or not a span is sampled. docs/metrics.md lists them.
const (
	MetricOperationDuration = "messaging.client.operation.duration"
	MetricProcessDuration   = "messaging.process.duration"
	MetricSentMessages      = "messaging.client.sent.messages"
	MetricConsumedMessages  = "messaging.client.consumed.messages"

	MetricBatchQueue = "hoptrace.hop.batch_queue"
	MetricRetry      = "hoptrace.hop.retry"
	MetricAck        = "hoptrace.hop.ack"
	MetricThrottle   = "hoptrace.hop.throttle"
	MetricBacklog    = "hoptrace.hop.backlog"
	MetricLongPoll   = "hoptrace.hop.long_poll"
	MetricFetchQueue = "hoptrace.hop.fetch_queue"
	MetricProcessing = "hoptrace.hop.processing"
	MetricSettle     = "hoptrace.hop.settle"
	MetricEndToEnd   = "hoptrace.hop.end_to_end"

	MetricLag           = "hoptrace.consumer.lag"
	MetricLagTime       = "hoptrace.consumer.lag.time"
	MetricStale         = "hoptrace.consumer.stale_deliveries"
	MetricDuplicates    = "hoptrace.consumer.duplicates"
	MetricGaps          = "hoptrace.consumer.gaps"
	MetricGapRecords    = "hoptrace.consumer.gap.records"
	MetricOutOfOrder    = "hoptrace.consumer.out_of_order"
	MetricRebalances    = "hoptrace.consumer.rebalances"
	MetricRebalanceTime = "hoptrace.consumer.rebalance.duration"
	MetricTimeInRetry   = "hoptrace.retry.time"
)

// durationBuckets is the advice for SDKs that are not ours: a broker answers in
// a millisecond, a group may be behind by an hour.
var durationBuckets = []float64{
	.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600,
}

func duration(name, description string) measure.Instrument {
	return measure.Instrument{Name: name, Unit: "s", Description: description, Kind: measure.Duration, Buckets: durationBuckets}
}

func counter(name, unit, description string) measure.Instrument {
	return measure.Instrument{Name: name, Unit: unit, Description: description, Kind: measure.Counter}
}

// Instruments of a producer's partition.
const (
	sendDuration = iota
	sendMessages
	sendBatchQueue
	sendRetry
	sendAck
	sendThrottle
)

var sendMeasures = measure.NewLayout(
	duration(MetricOperationDuration, "Duration of a messaging operation initiated by a client."),
	counter(MetricSentMessages, "{message}", "Messages a producer attempted to send to the broker."),
	duration(MetricBatchQueue, "Send called until the produce request was first written: linger."),
	duration(MetricRetry, "Produce request first written until last written."),
	duration(MetricAck, "Produce request last written until its answer arrived."),
	duration(MetricThrottle, "What the broker asked the producer to wait."),
)

// Instruments of a consumer's partition: receiving from one broker.
const (
	receiveDuration = iota
	receiveMessages
)

var receiveMeasures = measure.NewLayout(
	duration(MetricOperationDuration, "Duration of a messaging operation initiated by a client."),
	counter(MetricConsumedMessages, "{message}", "Messages delivered to the application."),
)

// Instruments of a consumer's partition: where its records waited, and where
// reading stands.
const (
	receiveBacklog = iota
	receiveLongPoll
	receiveFetchQueue
	receiveLag
	receiveLagTime
	receiveStale
	receiveDuplicates
	receiveGaps
	receiveGapRecords
	receiveOutOfOrder
)

var positionMeasures = measure.NewLayout(duration(MetricBacklog, "Record's timestamp until the fetch that brought it was asked: nobody was asking. Crosses clocks."),
	duration(MetricLongPoll, "Fetch asked, or record's timestamp if later, until its answer arrived. Crosses clocks."),
	duration(MetricFetchQueue, "Fetch answered until the record was handed to the application."),
	measure.Instrument{Name: MetricLag, Unit: "{record}", Description: "Records of the partition after the one last handed out, by the last high watermark seen: a lower bound while the client's queue is full, since it asks for none then.", Kind: measure.Gauge},
	measure.Instrument{Name: MetricLagTime, Unit: "ms", Description: "Age of the oldest record that waits, at most: since the record last handed out was made, or since everything was read if that is later; 0 when none waits.", Kind: measure.Gauge},
	counter(MetricStale, "{message}", "Records handed out at or below an offset that was committed."),
	counter(MetricDuplicates, "{message}", "Records handed out again that were not committed."),
	counter(MetricGaps, "{gap}", "Jumps over offsets: compaction, transactions, retention or loss."),
	counter(MetricGapRecords, "{record}", "Offsets jumped over."),
	counter(MetricOutOfOrder, "{message}", "Records handed out below the offset before, not seen before."),
)

// Instruments of a consumer's partition: processing.
const (
	processDuration = iota
	processProcessing
	processEndToEnd
	processInRetry
)

var processMeasures = measure.NewLayout(
	duration(MetricProcessDuration, "Duration of processing operation."),
	duration(MetricProcessing, "Record handed to the application until done."),
	duration(MetricEndToEnd, "Send called, or the record's timestamp if that is unknown, until done. Crosses clocks."),
	duration(MetricTimeInRetry, "Record first handed to an application, which failed, until this attempt was handed over."),
)

// Instruments of a consumer: settling and rebalances.
const (
	settleDuration = iota
	settleSettle
)

var settleMeasures = measure.NewLayout(
	duration(MetricOperationDuration, "Duration of a messaging operation initiated by a client."),
	duration(MetricSettle, "Commit asked until it was acknowledged."),
)

const (
	rebalanceCount = iota
	rebalanceDuration
)

var rebalanceMeasures = measure.NewLayout(
	counter(MetricRebalances, "{rebalance}", "Rebalances that this member took part in, by cause."),
	duration(MetricRebalanceTime, "Rebalance noticed until the member has its new assignment."),
)
