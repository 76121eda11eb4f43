package otelkafkago

import (
	"context"

	"github.com/segmentio/kafka-go"
	"go.opentelemetry.io/otel/trace"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

// CommitMessages is kafka.Reader.CommitMessages. It ends the estimated process
// spans of msgs. A call that waits for the broker is a span "commit topic" that
// links to the process spans of msgs. With a CommitInterval the call only takes
// note; then the commits that kafka-go makes by itself are such spans.
func (r *Reader) CommitMessages(ctx context.Context, msgs ...kafka.Message) error {
	r.estimateCommitted(msgs)
	if len(msgs) == 0 || r.config.CommitInterval != 0 || r.config.GroupID == "" || !messaging.Enabled() {
		return r.Reader.CommitMessages(ctx, msgs...)
	}
	start := r.core.Now()
	r.committing.Add(1)
	returned := false
	defer func() {
		if !returned {
			r.committing.Add(-1)
		}
	}()
	err := r.Reader.CommitMessages(ctx, msgs...)
	returned = true
	r.committing.Add(-1)
	r.settled(ctx, start, msgs, err)
	return err
}

func (r *Reader) estimateCommitted(msgs []kafka.Message) {
	defer r.core.Guard()
	if len(msgs) == 0 {
		return
	}
	now := r.core.Now()
	for i := range msgs {
		part := r.partition(msgs[i].Topic, int32(msgs[i].Partition)) //nolint:gosec // partitions are int32 in the protocol
		if d := r.pending.claim(part, msgs[i].Offset, false); d != nil {
			r.estimate(d, d.endOr(now))
		}
	}
}

// settled records a call of CommitMessages.
func (r *Reader) settled(ctx context.Context, start int64, msgs []kafka.Message, err error) {
	defer r.core.Guard()
	s := messaging.Settlement{Start: start, End: r.core.Now(), Err: err, Count: len(msgs), Broker: r.group.coordinator()}
	if err != nil {
		s.ErrorType = errorType(err)
	}
	s.Offsets = make([]messaging.Settled, 0, 1)
	s.Records = make([]trace.SpanContext, 0, min(len(msgs), maxEnded))
	for i := range msgs {
		m := &msgs[i]
		part := r.partition(m.Topic, int32(m.Partition)) //nolint:gosec // partitions are int32 in the protocol
		s.Offsets = higher(s.Offsets, part.topicPartition, m.Offset+1)
		sc := r.pending.processed(part, m.Offset)
		if !sc.IsValid() && len(m.Headers) > 0 {
			sc = messaging.Extract(m.Headers).SpanContext
		}
		s.Records = append(s.Records, sc)
	}
	if len(msgs) == 1 && !s.Records[0].IsRemote() {
		s.Parent = s.Records[0]
	}
	r.consumer.Settle(ctx, &s)
}

// higher notes the next offset to read of a partition, as a commit does: the
// highest counts.
func higher(all []messaging.Settled, tp topicPartition, next int64) []messaging.Settled {
	for i := range all {
		if o := &all[i]; o.Partition == tp.partition && o.Topic == tp.topic {
			o.Next = max(o.Next, next)
			return all
		}
	}
	return append(all, messaging.Settled{Topic: tp.topic, Partition: tp.partition, Next: next})
}

// committed is called when the answer to a commit came. Those that a call of
// CommitMessages waits for are recorded there.
func (r *Reader) committed(c *commit) {
	defer r.core.Guard()
	if r.committing.Load() > 0 || !messaging.Enabled() || len(c.offsets) == 0 {
		return
	}
	s := messaging.Settlement{Start: c.asked, End: c.answered, Broker: c.broker, Background: true}
	if c.code != 0 {
		s.Err = kafka.Error(c.code)
		s.ErrorType = errorType(s.Err)
	}
	for i := range c.offsets {
		o := &c.offsets[i]
		s.Offsets = append(s.Offsets, messaging.Settled{Topic: o.topic, Partition: o.partition, Next: o.offset})
		if sc := r.pending.processed(r.partition(o.topic, o.partition), o.offset-1); sc.IsValid() {
			s.Records = append(s.Records, sc)
		}
	}
	r.consumer.Settle(context.Background(), &s)
}
