package exporters

import (
	"context"
	"math"
	"time"
)

// PartResidence is how long the broker had a record, by a reader's row alone: the
// record's own time → handed out. Backlog and long poll are its two stretches.
const PartResidence PartName = "residence"

// SummedParts are the parts that TopicReader tells, in time order: those of a
// writer's row, then those of a reader's. Each is found from one row, so the hop
// need not be whole; a reader's row takes the record's own time for the time of its
// append. What is measured from there crosses clocks: residence, backlog, long poll
// and end to end, which begins with it, too.
var SummedParts = []PartName{
	PartBatchQueue, PartRetry, PartAck,
	PartResidence, PartBacklog, PartLongPoll, PartFetchQueue, PartProcessing, PartEndToEnd,
}

// PartsOfWriter is how many of SummedParts a writer's row tells.
const PartsOfWriter = 3

// TopicReader reads what passed through topics and their partitions, and how long
// it took, from sums. Ranges are widened to whole TopologySlots; with a Step shorter
// than that to whole seconds, and the rows themselves are read. A record that was
// delivered twice counts twice.
type TopicReader interface {
	// TopicSums gives one element for what was written to a topic and one for each
	// group that read it; with a Step, one for each step, too. Ordered by topic,
	// writers first, group and start. It fails with ErrTooLarge when there are more
	// than 200,000: ask for one topic, less time or longer steps.
	TopicSums(ctx context.Context, q TopicQuery) ([]TopicSum, error)
	// PartitionSums gives one element for each partition; with a Step, one for each
	// step, too. Ordered by partition and start. It fails with ErrTooLarge as TopicSums does.
	PartitionSums(ctx context.Context, q PartitionQuery) ([]PartitionSum, error)
	// PartitionOwners gives who read each partition in each step. Ordered by
	// partition, group, start, and when each began. It fails with ErrTooLarge as
	// TopicSums does.
	PartitionOwners(ctx context.Context, q PartitionQuery) ([]PartitionOwner, error)
	// PartitionHeat gives at once what PartitionSums gives without the Step and with it
	// and, of readers, what PartitionOwners gives. It wants a Step, and fails with
	// ErrTooLarge as TopicSums does.
	PartitionHeat(ctx context.Context, q PartitionQuery) (PartitionHeat, error)
}

// TopicQuery selects sums of topics.
type TopicQuery struct {
	Project uint64
	Range   Range
	Topic   string        // empty: all of them
	Step    time.Duration // whole seconds, or whole slots; zero: the whole range
}

// PartitionQuery selects sums of the partitions of one topic.
type PartitionQuery struct {
	Project uint64
	Range   Range
	Topic   string
	Step    time.Duration // as in TopicQuery
	// Writes asks for what was written; otherwise for what was read.
	Writes bool
	// Group selects readers, nil means all. Of writers it means nothing.
	Group *string
	// Part is what Quantiles are of; one that the side's rows do not tell is never known.
	// Empty: of none, which is cheaper.
	Part PartName
	// From and To bound the partitions, both included; nil means no bound.
	PartitionFrom, PartitionTo *int32
}

// TopicSum is what was written to one topic, or read from it by one group.
type TopicSum struct {
	Topic  string
	Reads  bool
	Group  string // of a reader; empty when it told none
	Start  int64  // Unix ns of the step; zero without one
	Sum    MessageSum
	Sizes  Sizes
	Parts  map[PartName]Quantiles // of SummedParts those of the side; each the middle of its class of Latencies: known to 5 %, below -65 ms to 20 %
	Newest int64                  // time of the newest record, as the record itself says: Unix ns, zero when nobody told it
}

// MessageSum counts rows. FirstSeen and LastSeen are the ends of the oldest and the
// newest of them, Unix ns.
type MessageSum struct {
	Messages, Failed    uint64
	FirstSeen, LastSeen int64
}

// Sizes are those of records' values, of the rows that tell them: Count of them,
// Bytes together. Quantiles are known to 5 %.
type Sizes struct {
	Count, Bytes  uint64
	P50, P90, P99 int64
}

// PartitionSum is what was written to or read from one partition.
type PartitionSum struct {
	Partition int32 // schemas.Unknown of rows that do not tell it
	Start     int64 // Unix ns of the step; zero without one
	MessageSum
	// Waited is what the records were in the broker together, those of a time below zero not counted.
	Waited time.Duration
	Part   Quantiles
}

// PartitionOwner is one process that read a partition within a step.
type PartitionOwner struct {
	Partition int32
	Group     string
	Start     int64  // of the step
	Instance  string // schemas.Message.Instance; empty when nobody told
	MessageSum
}

// PartitionHeat is the partitions of a topic over time.
type PartitionHeat struct {
	Rows   []PartitionSum // one a partition, over the whole range
	Cells  []PartitionSum // one a partition and step
	Owners []PartitionOwner
}

// LatencyMiddle is the duration in the middle of a class.
func LatencyMiddle(class int16) time.Duration {
	switch {
	case class == 0:
		return 0
	case class < 0:
		return -LatencyMiddle(-class)
	}
	return time.Duration(float64(latencyUnit) * math.Exp2((float64(class)-0.5)/classesPerDoubling))
}

// maxSizeClass is of 4 GB and more: more than a record can be.
const maxSizeClass = 256

// SizeClassOf sorts a size in bytes as LatencyClassOf does a duration, from one byte on.
func SizeClassOf(bytes int64) int16 {
	if bytes < 1 {
		return 0
	}
	return int16(min(1+math.Floor(classesPerDoubling*math.Log2(float64(bytes))), maxSizeClass))
}

// SizeMiddle is the size in the middle of a class.
func SizeMiddle(class int16) int64 {
	if class <= 0 {
		return 0
	}
	return int64(math.Round(math.Exp2((float64(class) - 0.5) / classesPerDoubling)))
}
