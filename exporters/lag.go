package exporters

import (
	"context"
	"math"
	"time"

	"github.com/hoptrace/hoptrace/schemas"
)

// LagReader tells how far consumer groups are behind.
type LagReader interface {
	// Lag gives what was seen last. It asks no broker. The report is the caller's.
	Lag(ctx context.Context) (LagReport, error)
}

// Names of the metric points that keep lag over time. Points of a topic have no
// partition and are told for every group and topic; points of a partition are
// told while it is behind, and once when it has caught up. The first two names
// are those of OpenTelemetry's kafkametrics receiver.
const (
	MetricLagSum     = "kafka.consumer_group.lag_sum"         // records, of a topic
	MetricLag        = "kafka.consumer_group.lag"             // records, of a partition
	MetricLagTimeMax = "hoptrace.consumer_group.lag_time_max" // s, the largest of a topic's partitions
	MetricLagTime    = "hoptrace.consumer_group.lag_time"     // s, of a partition
)

// LagServicePrefix stands before the cluster's name in the service of the points.
const LagServicePrefix = "hoptrace-lagwatch/"

const (
	// LagUnknown is a duration that is not known.
	LagUnknown = time.Duration(-1)
	// LagNever is a time that does not come at the present rates.
	LagNever = time.Duration(math.MaxInt64)
)

// LagState is how a group does, from the samples of a window.
type LagState string

// States, best first.
const (
	LagOK     LagState = "ok"     // it keeps up, or catches up
	LagWarn   LagState = "warn"   // it reads, and falls behind
	LagRewind LagState = "rewind" // its committed offset went back
	LagStall  LagState = "stall"  // records wait, members are there, and nothing is committed
	LagStop   LagState = "stop"   // records wait, and no member is there to read them
)

// LagStates are all of them, best first.
var LagStates = []LagState{LagOK, LagWarn, LagRewind, LagStall, LagStop}

// Rank is larger the worse a state is.
func (s LagState) Rank() int {
	for i, x := range LagStates {
		if s == x {
			return i
		}
	}
	return -1
}

// LagReport is what a watcher knows.
type LagReport struct {
	// Project is the one whose metric points keep lag over time.
	Project uint64
	// Interval is how often clusters are asked, Window what states and rates are
	// found over.
	Interval, Window time.Duration
	Clusters         []LagCluster // in the order of the settings
}

// LagCluster is one Kafka cluster.
type LagCluster struct {
	Name    string
	Brokers []string
	Asked   time.Time // of the last answer; zero when there was none
	// Error says why the cluster does not answer now, or not for all; empty when it
	// does. What it told last stays, with its age.
	Error       string
	FailedSince time.Time
	Groups      []LagGroup // by name
	// LeftOut counts what the settings' bounds leave out.
	LeftOut LagLeftOut
}

// LagLeftOut counts what is not watched because of a bound.
type LagLeftOut struct{ Groups, Partitions int }

// LagGroup is one consumer group.
type LagGroup struct {
	Group      string
	KafkaState string    // as the broker calls it: Stable, Empty, PreparingRebalance …
	Members    int       // schemas.Unknown when the broker does not tell
	Asked      time.Time // when it was seen last
	Error      string    // why it could not be asked now
	Topics     []LagTopic
}

// LagTopic is one topic that a group has committed offsets of, or has members for.
type LagTopic struct {
	Topic          string
	Retention      time.Duration // LagUnknown when it cannot be asked; LagNever without a limit
	RetentionBytes int64         // of a partition; schemas.Unknown without a limit or when not told
	Partitions     []LagPartition
}

// LagPartition is one partition as a group sees it.
type LagPartition struct {
	Partition int32
	State     LagState
	Reason    string // what the state was found by, a clause
	Owner     string // client id of the member that it is assigned to
	OwnerHost string

	// Uncommitted: a member has the partition, and no offset was ever committed.
	// Committed stands for the end of the log when it was first seen: what came
	// since is unread for certain.
	Uncommitted                 bool
	Committed, LogStart, LogEnd int64
	Lag                         int64 // records from the committed offset, or the log's start when that is later, to the end
	Lost                        int64 // records between the committed offset and the log's start: deleted unread
	// CommittedBefore is the committed offset at the begin of the window: what was
	// read within it lies between the two.
	CommittedBefore int64

	// Behind is the age of the oldest unread record; 0 when there is none.
	Behind time.Duration
	// Written and Read are records a second over the window; NaN while too little
	// was seen.
	Written, Read float64
	// Drained is when all is read at the present rates: 0 when the group keeps up,
	// LagNever when the lag does not shrink.
	Drained time.Duration
	// Deleted is when retention deletes the first unread record at the present
	// rates; LagNever when the group is faster.
	Deleted time.Duration
	// Spare is when it would, if the group read nothing from now on.
	Spare time.Duration
}

// LagTotal is a topic as a group sees it, all partitions together.
type LagTotal struct {
	State  LagState
	Reason string
	Worst  int32 // the partition that gave the state
	// Partitions are all, Lagging those with unread records, InState those in State.
	Partitions, Lagging, InState int
	Lag, Lost                    int64
	Behind                       time.Duration // the largest
	Written, Read                float64       // summed; NaN when none is known
	Drained                      time.Duration // of the last partition
	Deleted, Spare               time.Duration // of the first
	DeletedPartition, LostOf     int32         // schemas.Unknown when there is none
	DeletedOffset                int64
}

// Total adds the partitions up.
func (t *LagTopic) Total() LagTotal {
	out := LagTotal{
		State: LagOK, Worst: schemas.Unknown, Partitions: len(t.Partitions), Written: math.NaN(), Read: math.NaN(), Deleted: LagNever, Spare: LagNever,
		DeletedPartition: schemas.Unknown, LostOf: schemas.Unknown,
	}
	var byState [8]int
	add := func(sum *float64, v float64) {
		switch {
		case math.IsNaN(v):
		case math.IsNaN(*sum):
			*sum = v
		default:
			*sum += v
		}
	}
	for i := range t.Partitions {
		p := &t.Partitions[i]
		if out.Worst == schemas.Unknown || p.State.Rank() > out.State.Rank() || p.State == out.State && p.Behind > out.Behind {
			out.State, out.Reason, out.Worst = p.State, p.Reason, p.Partition
		}
		if p.Lag > 0 {
			out.Lagging++
		}
		byState[max(p.State.Rank(), 0)]++
		if p.Lost > 0 {
			out.LostOf = p.Partition
		}
		out.Lag += p.Lag
		out.Lost += p.Lost
		out.Behind = max(out.Behind, p.Behind)
		if p.Lag > 0 && p.Behind == LagUnknown && out.Behind == 0 {
			out.Behind = LagUnknown
		}
		add(&out.Written, p.Written)
		add(&out.Read, p.Read)
		if out.Drained != LagUnknown {
			if p.Drained == LagUnknown {
				out.Drained = LagUnknown
			} else {
				out.Drained = max(out.Drained, p.Drained)
			}
		}
		if p.Deleted != LagUnknown && p.Deleted < out.Deleted {
			out.Deleted, out.DeletedPartition, out.DeletedOffset = p.Deleted, p.Partition, max(p.Committed, p.LogStart)
		}
		if p.Spare != LagUnknown {
			out.Spare = min(out.Spare, p.Spare)
		}
	}
	out.InState = byState[max(out.State.Rank(), 0)]
	return out
}
