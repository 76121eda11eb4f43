package otelsarama

import (
	"context"
	"sync"
	"time"
	"unsafe"

	"github.com/IBM/sarama"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
	"github.com/hoptrace/hoptrace/instrumentation/messaging/wire"
)

// consumer returns what instruments a group without a known member; of no group
// when it is empty.
func (in *Instrumentation) consumer(group string) *messaging.Consumer {
	in.mu.Lock()
	defer in.mu.Unlock()
	if c := in.groups[group]; c != nil {
		return c
	}
	c := in.newConsumer(group, nil)
	if len(in.groups) < maxGroups {
		in.groups[group] = c
	}
	return c
}

func (in *Instrumentation) newConsumer(group string, member func() string) *messaging.Consumer {
	return in.core.Consumer(messaging.ConsumerConfig{
		Group: group, ClientID: in.user.ClientID, MemberID: member, Facts: consumerFacts(in.user),
	})
}

// maxGroups bounds the groups, and the members, remembered.
const maxGroups = 1024

// Consumer is a sarama.Consumer whose partition consumers are instrumented.
type Consumer struct {
	sarama.Consumer
	in *Instrumentation
}

// NewConsumer is sarama.NewConsumer with the instrumented configuration.
func (in *Instrumentation) NewConsumer(addrs []string) (*Consumer, error) {
	c, err := sarama.NewConsumer(addrs, in.client)
	if err != nil {
		return nil, err
	}
	return in.WrapConsumer(c), nil
}

// WrapConsumer instruments c. If c was not made with [Instrumentation.Config], the
// times of its fetches are unknown.
func (in *Instrumentation) WrapConsumer(c sarama.Consumer) *Consumer {
	return &Consumer{Consumer: c, in: in}
}

// ConsumePartition is sarama.Consumer.ConsumePartition.
func (c *Consumer) ConsumePartition(topic string, partition int32, offset int64) (sarama.PartitionConsumer, error) {
	// The position is set anew: fetches of before brought nothing of this.
	c.in.wire.Forget(topic, partition)
	pc, err := c.Consumer.ConsumePartition(topic, partition, offset)
	if err != nil {
		return nil, err
	}
	return c.in.WrapPartitionConsumer(pc, topic, partition), nil
}

// PartitionConsumer is a sarama.PartitionConsumer that records, for each message
// it hands out, a receive span and a process span.
type PartitionConsumer struct {
	sarama.PartitionConsumer
	stream *stream
}

// WrapPartitionConsumer instruments pc, which reads that partition.
func (in *Instrumentation) WrapPartitionConsumer(pc sarama.PartitionConsumer, topic string, partition int32) *PartitionConsumer {
	part := in.consumer("").Partition(topic, partition)
	part.Moved()
	q := in.newStream(part, pc.Messages(), pc.HighWaterMarkOffset)
	q.endsAlone = true
	return &PartitionConsumer{PartitionConsumer: pc, stream: q}
}

// Messages is sarama.PartitionConsumer.Messages. A message is handed out when the
// program takes it from the channel.
func (p *PartitionConsumer) Messages() <-chan *sarama.ConsumerMessage { return p.stream.messages() }

// Close is sarama.PartitionConsumer.Close. It ends the process spans that are
// still open and not the program's to end.
func (p *PartitionConsumer) Close() error {
	p.stream.stop()
	err := p.PartitionConsumer.Close()
	p.stream.end()
	return err
}

// AsyncClose is sarama.PartitionConsumer.AsyncClose. Messages must be read until
// it is closed, or Close called.
func (p *PartitionConsumer) AsyncClose() { p.PartitionConsumer.AsyncClose() }

// stream hands on the messages of one partition and sees when the program takes
// each.
type stream struct {
	in        *Instrumentation
	part      *messaging.Partition
	from      <-chan *sarama.ConsumerMessage
	watermark func() int64
	out       chan *sarama.ConsumerMessage
	begin     sync.Once
	stopping  sync.Once
	stopped   chan struct{}
	running   sync.WaitGroup
	endsAlone bool // nobody else calls end when sarama has no more

	free []delivered // only run uses it
	size int

	first, last *delivered // handed out, nobody tells yet when they are done; guarded by the set
}

func (in *Instrumentation) newStream(part *messaging.Partition, from <-chan *sarama.ConsumerMessage, watermark func() int64) *stream {
	return &stream{
		in: in, part: part, from: from, watermark: watermark,
		out: make(chan *sarama.ConsumerMessage), stopped: make(chan struct{}), size: 1,
	}
}

func (s *stream) messages() <-chan *sarama.ConsumerMessage {
	s.begin.Do(func() {
		s.running.Add(1)
		go s.run()
	})
	return s.out
}

// run hands messages on. The channel is not buffered, so a message is taken when
// it is handed out, and not before.
func (s *stream) run() {
	defer s.running.Done()
	defer close(s.out)
	for {
		select {
		case msg, more := <-s.from:
			if !more {
				if s.endsAlone {
					s.end()
				}
				return
			}
			d := s.prepare(msg)
			select {
			case s.out <- msg:
				if d != nil {
					d.handOver()
				}
			case <-s.stopped:
				s.in.pending.forget(d)
				return
			}
		case <-s.stopped:
			return
		}
	}
}

// prepare returns nil when the instrumentation is off or failed.
func (s *stream) prepare(msg *sarama.ConsumerMessage) (d *delivered) {
	defer s.in.core.Guard()
	if msg == nil || !messaging.Enabled() {
		return nil
	}
	d = s.next()
	d.stream, d.msg = s, msg
	s.in.describe(&d.delivery, s.part, msg)
	if old := s.in.pending.put(d); old != nil {
		s.in.estimate(old, old.endOr(s.in.core.Now()))
	}
	return d
}

// next returns a new state. They are allocated several at a time, more as the
// stream goes on.
func (s *stream) next() *delivered {
	if len(s.free) == 0 {
		s.free = make([]delivered, s.size)
		s.size = min(s.size*2, slabSize)
	}
	d := &s.free[0]
	s.free = s.free[1:]
	return d
}

// stop ends handing on.
func (s *stream) stop() {
	s.stopping.Do(func() { close(s.stopped) })
	s.begin.Do(func() { close(s.out) })
	s.running.Wait()
}

// end ends the process spans of this stream that are still open and not the
// program's to end. Its partition lags no more.
func (s *stream) end() {
	defer s.in.core.Guard()
	s.part.Moved()
	now := s.in.core.Now()
	for _, d := range s.in.pending.drain(s) {
		s.in.estimate(d, d.endOr(now))
	}
}

// describe fills in what the message itself says, and its fetch.
func (in *Instrumentation) describe(d *messaging.Delivery, part *messaging.Partition, msg *sarama.ConsumerMessage) {
	d.Partition, d.Offset = part, msg.Offset
	if ms := msg.Timestamp.UnixMilli(); !msg.Timestamp.IsZero() && ms > 0 {
		d.RecordTime = ms * int64(time.Millisecond)
	}
	d.BodySize, d.Tombstone = len(msg.Value), msg.Value == nil
	d.SetKey(msg.Key)
}

// headerPool holds what headers are shown with while they are read.
var headerPool = sync.Pool{New: func() any { return new([]messaging.Header) }}

// withHeaders calls f with the message's headers as Extract wants them. f must not
// keep the slice.
func withHeaders(msg *sarama.ConsumerMessage, f func([]messaging.Header)) {
	if len(msg.Headers) == 0 {
		f(nil)
		return
	}
	p := headerPool.Get().(*[]messaging.Header) // nothing else is put there
	hs := received((*p)[:0], msg.Headers)
	f(hs)
	clear(hs)
	if *p = hs[:0]; cap(hs) <= messaging.MaxHeadersToInject {
		headerPool.Put(p)
	}
}

// received shows headers as Extract wants them, without a copy of their bytes.
func received(dst []messaging.Header, headers []*sarama.RecordHeader) []messaging.Header {
	for _, h := range headers {
		if h != nil {
			dst = append(dst, messaging.Header{Key: unsafe.String(unsafe.SliceData(h.Key), len(h.Key)), Value: h.Value})
		}
	}
	return dst
}

// delivered is the state of one message from its stream to the end of its
// processing.
type delivered struct {
	stream *stream
	msg    *sarama.ConsumerMessage

	mu       sync.Mutex // guards the following
	delivery messaging.Delivery
	handed   bool
	claimed  bool // its processing has begun

	// Of the pending set.
	superseded int64 // the next message was taken
	listed     bool
	prev, next *delivered
}

// handOver notes that the program has the message, and supersedes the one before.
func (d *delivered) handOver() {
	in := d.stream.in
	defer in.core.Guard()
	now := in.core.Now()
	d.deliver(now)
	for _, old := range in.pending.supersede(d, now) {
		in.estimate(old, old.endOr(now))
	}
}

// deliver writes the receive span. Whoever sees first that the program has the
// message calls it: the stream, or the program's first call for it.
func (d *delivered) deliver(now int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.handed {
		return
	}
	d.handed = true
	in := d.stream.in
	if f, ok := in.wire.Fetched(d.msg.Topic, d.msg.Partition, d.msg.Offset); ok {
		d.delivery.Asked, d.delivery.Answered, d.delivery.Broker = f.Asked, f.Answered, server(f.Broker)
	} else {
		in.unknownFetches.Add(1)
	}
	d.delivery.Handed = now
	d.delivery.HighWatermark = d.stream.watermark()
	withHeaders(d.msg, func(hs []messaging.Header) { messaging.Deliver(context.Background(), &d.delivery, hs) })
}

// endOr is the best guess at the end of processing: the next message, if one was
// taken, else now.
func (d *delivered) endOr(now int64) int64 {
	if d.superseded != 0 {
		return d.superseded
	}
	return now
}

// committed is called for each offset commit that a connection carried.
func (in *Instrumentation) committed(c wire.Commit) {
	defer in.core.Guard()
	if !messaging.Enabled() {
		return
	}
	s := &messaging.Settlement{Start: c.Asked, End: c.Answered, Broker: server(c.Broker), Background: true}
	for _, o := range c.Offsets {
		s.Offsets = append(s.Offsets, messaging.Settled{Topic: o.Topic, Partition: o.Partition, Next: o.Next})
	}
	if c.Code != 0 {
		code := sarama.KError(c.Code)
		s.Err, s.ErrorType = code, errorType(code)
	}
	in.memberOf(c.Group, c.Member).Settle(context.Background(), s)
}
