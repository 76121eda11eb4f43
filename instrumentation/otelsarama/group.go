package otelsarama

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

// Why a group's generation ended, as far as sarama tells.
const (
	causeStart = "start" // the member joined for the first time
	causeOther = "other"
)

// ConsumerGroup is a sarama.ConsumerGroup whose handlers get instrumented claims.
type ConsumerGroup struct {
	sarama.ConsumerGroup
	in     *Instrumentation
	member *member
}

// member is what is kept of a group's member from session to session.
type member struct {
	in       *Instrumentation
	consumer *messaging.Consumer
	id       atomic.Pointer[string]

	mu      sync.Mutex // guards the following
	started bool
	left    int64 // the session before was cleaned up
}

// NewConsumerGroup is sarama.NewConsumerGroup with the instrumented configuration.
func (in *Instrumentation) NewConsumerGroup(addrs []string, group string) (*ConsumerGroup, error) {
	g, err := sarama.NewConsumerGroup(addrs, group, in.client)
	if err != nil {
		return nil, err
	}
	return in.WrapConsumerGroup(g, group), nil
}

// WrapConsumerGroup instruments g, a member of that group. If g was not made with
// [Instrumentation.Config], the times of its fetches and commits are unknown.
func (in *Instrumentation) WrapConsumerGroup(g sarama.ConsumerGroup, group string) *ConsumerGroup {
	return &ConsumerGroup{ConsumerGroup: g, in: in, member: in.newMember(group)}
}

func (in *Instrumentation) newMember(group string) *member {
	m := &member{in: in}
	m.consumer = in.newConsumer(group, m.memberID)
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.groups[group] == nil && len(in.groups) < maxGroups {
		in.groups[group] = m.consumer
	}
	return m
}

func (m *member) memberID() string {
	if id := m.id.Load(); id != nil {
		return *id
	}
	return ""
}

// memberOf returns what instruments the member with that id.
func (in *Instrumentation) memberOf(group, id string) *messaging.Consumer {
	in.mu.Lock()
	c := in.members[id]
	in.mu.Unlock()
	if c != nil {
		return c
	}
	return in.consumer(group)
}

// named tells the member's id of the moment.
func (m *member) named(id string) {
	before := m.id.Swap(&id)
	in := m.in
	in.mu.Lock()
	defer in.mu.Unlock()
	if before != nil && *before != id {
		delete(in.members, *before)
	}
	if len(in.members) < maxGroups {
		in.members[id] = m.consumer
	}
}

// Consume is sarama.ConsumerGroup.Consume; handler is wrapped as by
// [Instrumentation.WrapConsumerGroupHandler].
func (g *ConsumerGroup) Consume(ctx context.Context, topics []string, handler sarama.ConsumerGroupHandler) error {
	return g.ConsumerGroup.Consume(ctx, topics, &groupHandler{ConsumerGroupHandler: handler, member: g.member})
}

// WrapConsumerGroupHandler instruments handler, which is given to a member of that
// group: the messages of its claims have a receive span when they are taken from
// the channel, and a process span that ends with [Instrumentation.Process], else
// when the message is marked, or else, marked as estimated, when the next one is
// taken or the claim ends.
func (in *Instrumentation) WrapConsumerGroupHandler(group string, handler sarama.ConsumerGroupHandler) sarama.ConsumerGroupHandler {
	return &groupHandler{ConsumerGroupHandler: handler, member: in.newMember(group)}
}

type groupHandler struct {
	sarama.ConsumerGroupHandler
	member *member
}

// Setup implements sarama.ConsumerGroupHandler.
func (h *groupHandler) Setup(s sarama.ConsumerGroupSession) error {
	h.member.joined(s)
	return h.ConsumerGroupHandler.Setup(h.member.session(s))
}

// Cleanup implements sarama.ConsumerGroupHandler.
func (h *groupHandler) Cleanup(s sarama.ConsumerGroupSession) error {
	err := h.ConsumerGroupHandler.Cleanup(h.member.session(s))
	h.member.leaves()
	return err
}

// ConsumeClaim implements sarama.ConsumerGroupHandler.
func (h *groupHandler) ConsumeClaim(s sarama.ConsumerGroupSession, c sarama.ConsumerGroupClaim) error {
	in := h.member.in
	part := h.member.consumer.Partition(c.Topic(), c.Partition())
	q := in.newStream(part, c.Messages(), c.HighWaterMarkOffset)
	defer q.end()
	defer q.stop()
	return h.ConsumerGroupHandler.ConsumeClaim(h.member.session(s), &groupClaim{ConsumerGroupClaim: c, stream: q})
}

func (m *member) joined(s sarama.ConsumerGroupSession) {
	defer m.in.core.Guard()
	if !messaging.Enabled() {
		return
	}
	m.named(s.MemberID())
	m.mu.Lock()
	cause, took := causeOther, time.Duration(0)
	if !m.started {
		cause = causeStart
	}
	if m.left != 0 {
		took = time.Duration(m.in.core.Now() - m.left)
	}
	m.started, m.left = true, 0
	m.mu.Unlock()
	m.consumer.Rebalance(cause, took)
	for topic, ids := range s.Claims() {
		for _, p := range ids {
			m.in.wire.Forget(topic, p)
			m.consumer.Partition(topic, p).Moved()
		}
	}
}

func (m *member) leaves() {
	m.mu.Lock()
	m.left = m.in.core.Now()
	m.mu.Unlock()
}

func (m *member) session(s sarama.ConsumerGroupSession) sarama.ConsumerGroupSession {
	return &session{ConsumerGroupSession: s, member: m}
}

// session sees which messages the program is done with.
type session struct {
	sarama.ConsumerGroupSession
	member *member
}

// MarkMessage is sarama.ConsumerGroupSession.MarkMessage. It ends the estimated
// process span of msg.
func (s *session) MarkMessage(msg *sarama.ConsumerMessage, metadata string) {
	s.marked(msg)
	s.ConsumerGroupSession.MarkMessage(msg, metadata)
}

func (s *session) marked(msg *sarama.ConsumerMessage) {
	in := s.member.in
	defer in.core.Guard()
	if d := in.pending.claim(msg, false); d != nil {
		in.estimate(d, d.endOr(in.core.Now()))
	}
}

// Commit is sarama.ConsumerGroupSession.Commit.
func (s *session) Commit() {
	in := s.member.in
	start := in.core.Now()
	s.ConsumerGroupSession.Commit()
	if in.wired.Load() {
		return // its connection told
	}
	defer in.core.Guard()
	if messaging.Enabled() {
		s.member.consumer.Settle(s.Context(), &messaging.Settlement{Start: start, End: in.core.Now()})
	}
}

// ResetOffset is sarama.ConsumerGroupSession.ResetOffset.
func (s *session) ResetOffset(topic string, partition int32, offset int64, metadata string) {
	s.ConsumerGroupSession.ResetOffset(topic, partition, offset, metadata)
	defer s.member.in.core.Guard()
	s.member.consumer.Partition(topic, partition).Rewound()
}

// groupClaim hands out the messages of a claim.
type groupClaim struct {
	sarama.ConsumerGroupClaim
	stream *stream
}

// Messages is sarama.ConsumerGroupClaim.Messages. A message is handed out when the
// program takes it from the channel.
func (c *groupClaim) Messages() <-chan *sarama.ConsumerMessage { return c.stream.messages() }
