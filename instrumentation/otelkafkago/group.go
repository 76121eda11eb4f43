package otelkafkago

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/segmentio/kafka-go"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

// Why a group's generation ended, as far as this member can see.
const (
	causeStart             = "start"          // the member joined for the first time
	causeMembership        = "membership"     // another member joined or left, or the leader's subscription changed
	causeUnknownMember     = "unknown_member" // the coordinator had given this member up: no heartbeat in time
	causeIllegalGeneration = "illegal_generation"
	causeCoordinator       = "coordinator" // it moved or is not there
	causeConnection        = "connection"  // to the coordinator, lost or timed out
	causePartitions        = "partitions"  // the number of partitions of a topic changed
	causeOther             = "other"
)

// rebalance is one way of this member from a generation that ended to the next
// assignment. Times are Unix nanoseconds.
type rebalance struct {
	cause      string
	began      int64 // it was noticed, or joining was asked
	ended      int64 // the new assignment arrived
	attempts   int   // JoinGroup requests
	generation int32
	member     string
	leader     bool
	members    int              // told to the leader only
	assigned   []topicPartition // partitions that came
	revoked    []topicPartition // partitions that went
}

// commit is one OffsetCommit request and its answer. Times are Unix nanoseconds.
type commit struct {
	asked, answered int64
	offsets         []committedOffset
	code            int16 // the first that is not zero
	broker          messaging.Server
}

// groupLog follows the membership of one Reader in its group by what its
// connections carry. Its functions are called outside of its lock, on the
// goroutine of kafka-go that reads the answer.
type groupLog struct {
	watches    bool // for changes of the number of partitions
	rebalanced func(*rebalance)
	committed  func(*commit)

	unknown atomic.Uint64 // requests and answers that were not understood

	mu         sync.Mutex
	conn       *watchedConn // of the generation
	stable     bool         // there is a generation
	member     string
	generation int32
	owned      []topicPartition
	now        rebalance // under way when began is not zero
}

func newGroupLog(watches bool) *groupLog { return &groupLog{watches: watches, generation: -1} }

func (g *groupLog) misunderstood() { g.unknown.Add(1) }

// memberID is the id that the coordinator gave this member; empty before.
func (g *groupLog) memberID() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.member
}

// coordinator is the broker that coordinates the group; zero when it is not known.
func (g *groupLog) coordinator() messaging.Server {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.conn == nil {
		return messaging.Server{}
	}
	return g.conn.broker
}

// owns tells whether a partition is assigned to this member.
func (g *groupLog) owns(tp topicPartition) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Contains(g.owned, tp)
}

// asked is called when a group request is being written.
func (g *groupLog) asked(q *groupRequest, at int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch q.api {
	case apiJoinGroup:
		if g.now.began == 0 {
			g.begin(g.silent(), at)
		}
		g.stable = false
		g.now.attempts++
	case apiLeaveGroup:
		// The Reader is being closed, or joins anew after a failure that was
		// noticed before.
		g.stable, g.conn, g.member, g.generation = false, nil, "", -1
		if g.now.cause == g.silent() {
			g.now = rebalance{}
		}
	}
}

// silent is the cause of an end that nothing announced.
func (g *groupLog) silent() string {
	switch {
	case g.generation < 0 && g.owned == nil:
		return causeStart
	case g.watches:
		return causePartitions
	}
	return causeOther
}

func (g *groupLog) begin(cause string, at int64) {
	if g.now.began == 0 {
		g.now = rebalance{cause: cause, began: at}
	}
}

// disconnected is called when a connection that carried group requests fails, or
// is closed by kafka-go when err is nil.
func (g *groupLog) disconnected(c *watchedConn, at int64, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if c != g.conn || !g.stable {
		return
	}
	if err != nil {
		g.begin(causeConnection, at)
	} else {
		g.begin(g.silent(), at)
	}
}

// answered is called when the answer to a group request was read.
func (g *groupLog) answered(c *watchedConn, q *groupRequest, a *groupAnswer, asked, at int64) {
	switch q.api {
	case apiOffsetCommit:
		if g.committed != nil {
			g.committed(&commit{asked: asked, answered: at, offsets: q.offsets, code: a.code, broker: c.broker})
		}
	case apiSyncGroup:
		if done := g.synced(q, a, at); done != nil && g.rebalanced != nil {
			g.rebalanced(done)
		}
	case apiJoinGroup:
		g.mu.Lock()
		if a.code == 0 {
			g.conn, g.member, g.generation = c, a.member, a.generation
			g.now.leader = a.leader
			if a.leader {
				g.now.members = a.members
			}
		}
		g.mu.Unlock()
	case apiHeartbeat:
		if a.code != 0 {
			g.mu.Lock()
			if g.stable && q.generation == g.generation {
				g.begin(causeOf(kafka.Error(a.code)), at)
			}
			g.mu.Unlock()
		}
	}
}

// synced ends a rebalance.
func (g *groupLog) synced(q *groupRequest, a *groupAnswer, at int64) *rebalance {
	g.mu.Lock()
	defer g.mu.Unlock()
	if a.code != 0 || g.now.began == 0 || q.generation != g.generation {
		return nil
	}
	out := g.now
	g.now = rebalance{}
	out.ended, out.member, out.generation = at, g.member, g.generation
	out.assigned, out.revoked = without(a.assigned, g.owned), without(g.owned, a.assigned)
	g.owned, g.stable = a.assigned, true
	if g.owned == nil {
		g.owned = []topicPartition{} // nothing, but known
	}
	return &out
}

// without returns the elements of list that are not in other.
func without(list, other []topicPartition) (out []topicPartition) {
	if len(list) == 0 {
		return nil
	}
	has := make(map[topicPartition]struct{}, len(other))
	for _, tp := range other {
		has[tp] = struct{}{}
	}
	for _, tp := range list {
		if _, ok := has[tp]; !ok {
			out = append(out, tp)
		}
	}
	return out
}

func causeOf(code kafka.Error) string {
	switch code {
	case kafka.RebalanceInProgress:
		return causeMembership
	case kafka.UnknownMemberId:
		return causeUnknownMember
	case kafka.IllegalGeneration:
		return causeIllegalGeneration
	case kafka.NotCoordinatorForGroup, kafka.GroupCoordinatorNotAvailable, kafka.GroupLoadInProgress:
		return causeCoordinator
	}
	return causeOther
}
