package otelfranz

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/trace"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
	"github.com/hoptrace/hoptrace/instrumentation/messaging/wire"
)

// Why a group's generation ended, as far as this member can see.
const (
	causeStart             = "start"          // the member joined for the first time
	causeMembership        = "membership"     // another member joined or left, or a subscription changed
	causeUnknownMember     = "unknown_member" // the coordinator had given this member up: no heartbeat in time
	causeIllegalGeneration = "illegal_generation"
	causeCoordinator       = "coordinator" // it moved or is not there
	causeConnection        = "connection"  // to the coordinator, lost or timed out
	causeOther             = "other"
)

// group follows the membership of the client in its group.
type group struct {
	mu      sync.Mutex
	asked   int64 // JoinGroup was written; zero when no rebalance is under way
	started bool
	cause   string // of the rebalance to come; empty: nothing was said
	told    bool   // the program passes on what it is assigned: that is more exact
	manual  int    // commits of the program under way
}

func (g *group) joining(at int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.asked == 0 {
		g.asked = at
	}
}

// joined returns the cause of the rebalance that ended and how long it took, zero
// when that is not known.
func (g *group) joined(at int64) (cause string, took time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	cause = g.cause
	switch {
	case cause != "":
	case g.started:
		cause = causeMembership
	default:
		cause = causeStart
	}
	if g.asked != 0 {
		took = time.Duration(at - g.asked)
	}
	g.started, g.cause, g.asked = true, "", 0
	return cause, took
}

// synced is called when SyncGroup was answered: the member knows its assignment.
func (h *Hooks) synced(at int64) {
	h.group.mu.Lock()
	told := h.group.told
	h.group.mu.Unlock()
	if told {
		return // OnPartitionsAssigned follows
	}
	cause, took := h.group.joined(at)
	h.client.Load().consumer.Rebalance(cause, took)
	for _, k := range h.fetches.partitions() {
		h.client.Load().consumer.Partition(k.topic, k.partition).Moved()
	}
}

// OnGroupManageError implements kgo.HookGroupManageError.
func (h *Hooks) OnGroupManageError(err error) {
	defer h.core.Guard()
	h.group.mu.Lock()
	defer h.group.mu.Unlock()
	h.group.cause = causeOf(err)
}

func causeOf(err error) string {
	var code *kerr.Error
	if !errors.As(err, &code) {
		return causeConnection
	}
	switch code {
	case kerr.RebalanceInProgress:
		return causeMembership
	case kerr.UnknownMemberID, kerr.FencedInstanceID, kerr.FencedMemberEpoch:
		return causeUnknownMember
	case kerr.IllegalGeneration, kerr.StaleMemberEpoch:
		return causeIllegalGeneration
	case kerr.NotCoordinator, kerr.CoordinatorNotAvailable, kerr.CoordinatorLoadInProgress:
		return causeCoordinator
	}
	return causeOther
}

// Assignment is what the callbacks of a group member are.
type Assignment = func(context.Context, *kgo.Client, map[string][]int32)

// OnPartitionsAssigned is kgo.OnPartitionsAssigned; fn may be nil. With it,
// rebalances are noted one by one, in the new group protocol too, and positions
// of partitions that come are not taken for gaps.
func (h *Hooks) OnPartitionsAssigned(fn Assignment) kgo.Opt {
	h.group.mu.Lock()
	h.group.told = true
	h.group.mu.Unlock()
	return kgo.OnPartitionsAssigned(func(ctx context.Context, cl *kgo.Client, ps map[string][]int32) {
		h.assigned(ps)
		if fn != nil {
			fn(ctx, cl, ps)
		}
	})
}

// OnPartitionsRevoked is kgo.OnPartitionsRevoked. fn must not be nil: without one
// kgo commits by itself what it was told to.
func (h *Hooks) OnPartitionsRevoked(fn Assignment) kgo.Opt {
	return kgo.OnPartitionsRevoked(func(ctx context.Context, cl *kgo.Client, ps map[string][]int32) {
		fn(ctx, cl, ps)
		h.gone(ps)
	})
}

// OnPartitionsLost is kgo.OnPartitionsLost. fn must not be nil.
func (h *Hooks) OnPartitionsLost(fn Assignment) kgo.Opt {
	return kgo.OnPartitionsLost(func(ctx context.Context, cl *kgo.Client, ps map[string][]int32) {
		fn(ctx, cl, ps)
		h.gone(ps)
	})
}

func (h *Hooks) assigned(ps map[string][]int32) {
	defer h.core.Guard()
	c := h.client.Load()
	if c == nil || !messaging.Enabled() {
		return
	}
	cause, took := h.group.joined(h.core.Now())
	c.consumer.Rebalance(cause, took)
	for topic, ids := range ps {
		for _, id := range ids {
			c.consumer.Partition(topic, id).Moved()
		}
	}
}

// gone ends the estimated process spans of partitions that went. They lag no more.
func (h *Hooks) gone(ps map[string][]int32) {
	defer h.core.Guard()
	now := h.core.Now()
	for topic, ids := range ps {
		for _, id := range ids {
			for _, d := range h.pending.drop(topicPartition{topic, id}) {
				h.estimate(d, d.endOr(now))
			}
			if c := h.client.Load(); c != nil {
				c.consumer.Partition(topic, id).Moved()
			}
		}
	}
}

// committed is called for each offset commit that a watched connection carried.
func (h *Hooks) committed(c wire.Commit) {
	defer h.core.Guard()
	s := &messaging.Settlement{Start: c.Asked, End: c.Answered, Broker: server(c.Broker), Background: true}
	for _, o := range c.Offsets {
		if o.Topic != "" {
			s.Offsets = append(s.Offsets, messaging.Settled{Topic: o.Topic, Partition: o.Partition, Next: o.Next})
		}
	}
	if c.Code != 0 {
		s.Err = kerr.ErrorForCode(c.Code)
		s.ErrorType = errorType(s.Err)
	}
	h.settle(s)
}

// settle notes a commit that the client made by itself. One that the program
// asked for is noted where it asks.
func (h *Hooks) settle(s *messaging.Settlement) {
	c := h.client.Load()
	h.group.mu.Lock()
	manual := h.group.manual > 0
	h.group.mu.Unlock()
	if c == nil || manual || !messaging.Enabled() {
		return
	}
	c.consumer.Settle(context.Background(), s)
}

// CommitRecords is kgo.Client.CommitRecords. Its settle span belongs to the span
// in ctx, else to the processing of the one record, and links to the processing of
// each.
func (h *Hooks) CommitRecords(ctx context.Context, rs ...*kgo.Record) error {
	c := h.client.Load()
	if c == nil {
		return errNoClient
	}
	return h.commit(ctx, rs, func() error { return c.kgo.CommitRecords(ctx, rs...) })
}

// CommitUncommittedOffsets is kgo.Client.CommitUncommittedOffsets, with a settle
// span.
func (h *Hooks) CommitUncommittedOffsets(ctx context.Context) error {
	c := h.client.Load()
	if c == nil {
		return errNoClient
	}
	uncommitted := c.kgo.UncommittedOffsets()
	var offsets []messaging.Settled
	for topic, ps := range uncommitted {
		for id, o := range ps {
			offsets = append(offsets, messaging.Settled{Topic: topic, Partition: id, Next: o.Offset})
		}
	}
	if len(offsets) == 0 {
		return c.kgo.CommitUncommittedOffsets(ctx)
	}
	return h.settling(ctx, &messaging.Settlement{Offsets: offsets}, func() error { return c.kgo.CommitUncommittedOffsets(ctx) })
}

func (h *Hooks) commit(ctx context.Context, rs []*kgo.Record, commit func() error) error {
	if len(rs) == 0 || !messaging.Enabled() {
		return commit()
	}
	s := &messaging.Settlement{Count: len(rs)}
	h.describeCommit(s, rs)
	return h.settling(ctx, s, commit)
}

func (h *Hooks) describeCommit(s *messaging.Settlement, rs []*kgo.Record) {
	defer h.core.Guard()
	next := make(map[topicPartition]int64)
	for _, r := range rs {
		k := topicPartition{r.Topic, r.Partition}
		next[k] = max(next[k], r.Offset+1)
		d := deliveredOf(r)
		if d == nil {
			continue
		}
		sc := d.delivery.Creation()
		if w := d.within.Load(); w != nil {
			sc = w.p.SpanContext()
		}
		s.Records = append(s.Records, sc)
	}
	for k, n := range next {
		s.Offsets = append(s.Offsets, messaging.Settled{Topic: k.topic, Partition: k.partition, Next: n})
	}
	if len(rs) == 1 && len(s.Records) == 1 {
		if d := deliveredOf(rs[0]); d.within.Load() != nil {
			s.Parent = s.Records[0]
		}
	}
}

// settling runs commit and notes it. Process spans that nobody ends are over.
func (h *Hooks) settling(ctx context.Context, s *messaging.Settlement, commit func() error) error {
	h.beforeCommit(s)
	defer h.afterCommit()
	s.Start = h.core.Now()
	err := commit()
	s.End = h.core.Now()
	h.noteCommit(ctx, s, err)
	return err
}

func (h *Hooks) beforeCommit(s *messaging.Settlement) {
	h.group.mu.Lock()
	h.group.manual++
	h.group.mu.Unlock()
	defer h.core.Guard()
	now := h.core.Now()
	for _, o := range s.Offsets {
		for _, d := range h.pending.upTo(topicPartition{o.Topic, o.Partition}, o.Next) {
			h.estimate(d, d.endOr(now))
		}
	}
}

func (h *Hooks) afterCommit() {
	h.group.mu.Lock()
	h.group.manual--
	h.group.mu.Unlock()
}

func (h *Hooks) noteCommit(ctx context.Context, s *messaging.Settlement, err error) {
	defer h.core.Guard()
	if !messaging.Enabled() {
		return
	}
	if err != nil {
		s.Err, s.ErrorType = err, errorType(err)
	}
	h.client.Load().consumer.Settle(ctx, s)
}

// EndTransaction is kgo.Client.EndTransaction. A commit has a settle span; an
// abort is an event "abort" on the span in ctx.
func (h *Hooks) EndTransaction(ctx context.Context, try kgo.TransactionEndTry) error {
	c := h.client.Load()
	if c == nil {
		return errNoClient
	}
	if try != kgo.TryCommit || !messaging.Enabled() {
		err := c.kgo.EndTransaction(ctx, try)
		if err == nil && try == kgo.TryAbort {
			trace.SpanFromContext(ctx).AddEvent("abort")
		}
		return err
	}
	s := &messaging.Settlement{Start: h.core.Now()}
	err := c.kgo.EndTransaction(ctx, try)
	s.End = h.core.Now()
	h.noteCommit(ctx, s, err)
	return err
}

// EndSession is kgo.GroupTransactSession.End: a commit has a settle span, an abort
// is an event "abort" on the span in ctx.
func (h *Hooks) EndSession(ctx context.Context, s *kgo.GroupTransactSession, try kgo.TransactionEndTry) (committed bool, err error) {
	start := h.core.Now()
	committed, err = s.End(ctx, try)
	if h.client.Load() == nil || !messaging.Enabled() {
		return committed, err
	}
	if committed || err != nil {
		h.noteCommit(ctx, &messaging.Settlement{Start: start, End: h.core.Now()}, err)
	} else {
		trace.SpanFromContext(ctx).AddEvent("abort")
	}
	return committed, err
}
