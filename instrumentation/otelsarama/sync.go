package otelsarama

import (
	"context"
	"errors"

	"github.com/IBM/sarama"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

// SyncProducer is a sarama.SyncProducer whose messages carry the trace context and
// whose sends are spans.
type SyncProducer struct {
	sarama.SyncProducer
	in   *Instrumentation
	late bool // the last interceptor starts the spans, after the program's own
}

// NewSyncProducer is sarama.NewSyncProducer with the instrumented configuration.
func (in *Instrumentation) NewSyncProducer(addrs []string) (*SyncProducer, error) {
	if !in.successes || !in.errors {
		// What sarama would say of the program's own configuration.
		_, err := sarama.NewSyncProducer(addrs, in.user)
		if err == nil {
			err = sarama.ConfigurationError("Producer.Return.Successes and Errors must be true to be used in a SyncProducer")
		}
		return nil, err
	}
	in.address(addrs)
	p, err := sarama.NewSyncProducer(addrs, in.client)
	if err != nil {
		return nil, err
	}
	return &SyncProducer{SyncProducer: p, in: in, late: in.intercepted}, nil
}

// WrapSyncProducer instruments p. If p was not made with
// [Instrumentation.Config], the times of its requests are unknown.
func (in *Instrumentation) WrapSyncProducer(p sarama.SyncProducer) *SyncProducer {
	return &SyncProducer{SyncProducer: p, in: in}
}

// SendMessage is sarama.SyncProducer.SendMessage.
func (p *SyncProducer) SendMessage(msg *sarama.ProducerMessage) (partition int32, offset int64, err error) {
	return p.send(nil, msg) //nolint:staticcheck // nil: that of the message
}

// SendMessageContext is SendMessage in the context ctx: the send span is a child of
// the span in it. It does not end when ctx does; sarama cannot stop sending.
func (p *SyncProducer) SendMessageContext(ctx context.Context, msg *sarama.ProducerMessage) (partition int32, offset int64, err error) {
	return p.send(ctx, msg)
}

// SendMessages is sarama.SyncProducer.SendMessages.
func (p *SyncProducer) SendMessages(msgs []*sarama.ProducerMessage) error {
	return p.sendAll(nil, msgs) //nolint:staticcheck // nil: those of the messages
}

// SendMessagesContext is SendMessages in the context ctx.
func (p *SyncProducer) SendMessagesContext(ctx context.Context, msgs []*sarama.ProducerMessage) error {
	return p.sendAll(ctx, msgs)
}

func (p *SyncProducer) send(ctx context.Context, msg *sarama.ProducerMessage) (partition int32, offset int64, err error) {
	sent := new(sarama.ProducerMessage)
	st := p.prepare(ctx, msg, sent)
	if st == nil {
		return p.SyncProducer.SendMessage(msg)
	}
	returned := false
	defer func() {
		if !returned { // a panic goes on
			err = messaging.ErrPanicked
		}
		giveBackCopy(st, sent, msg)
		p.in.finish(st, msg, err)
	}()
	partition, offset, err = p.SyncProducer.SendMessage(sent)
	if err != nil {
		tellOfOne(msg, sent, err)
	}
	returned = true
	return partition, offset, err
}

// prepare puts into sent what is to be sent in place of msg. It returns nil when
// msg itself is to be sent: the instrumentation failed, or msg is on its way in a
// producer of this package.
func (p *SyncProducer) prepare(ctx context.Context, msg, sent *sarama.ProducerMessage) (st *sending) {
	defer p.in.core.Guard()
	if msg == nil {
		return nil
	}
	if st = p.in.takeCopy(ctx, msg, sent); st != nil && !p.late {
		p.in.begin(st, sent)
	}
	return st
}

func (p *SyncProducer) sendAll(ctx context.Context, msgs []*sarama.ProducerMessage) error {
	sts := make([]*sending, len(msgs))
	copies := make([]sarama.ProducerMessage, len(msgs))
	sent := make([]*sarama.ProducerMessage, len(msgs))
	for i, msg := range msgs {
		sent[i] = msg
		if sts[i] = p.prepare(ctx, msg, &copies[i]); sts[i] != nil {
			sent[i] = &copies[i]
		}
	}
	returned := false
	var err error
	defer func() {
		if !returned {
			err = messaging.ErrPanicked
		}
		for i, st := range sts {
			if st != nil {
				giveBackCopy(st, sent[i], msgs[i])
			}
		}
		p.in.finishAll(sts, msgs, err)
	}()
	err = p.SyncProducer.SendMessages(sent)
	if err != nil {
		tellOf(msgs, sent, err)
	}
	returned = true
	return err
}

// tellOfOne is tellOf for a wrapped producer that tells the message in its error.
func tellOfOne(msg, sent *sarama.ProducerMessage, err error) {
	var failed *sarama.ProducerError
	if errors.As(err, &failed) && failed != nil && failed.Msg == sent {
		failed.Msg = msg
	}
}

// tellOf makes err tell of the messages that the program gave, not of their copies.
func tellOf(msgs, sent []*sarama.ProducerMessage, err error) {
	var failed sarama.ProducerErrors
	if !errors.As(err, &failed) {
		return
	}
	given := make(map[*sarama.ProducerMessage]*sarama.ProducerMessage, len(sent))
	for i, s := range sent {
		given[s] = msgs[i]
	}
	for _, e := range failed {
		if e == nil {
			continue
		}
		if msg, ok := given[e.Msg]; ok {
			e.Msg = msg
		}
	}
}

// finishAll ends the spans of messages that were sent together, those of one
// request under one lock.
func (in *Instrumentation) finishAll(sts []*sending, msgs []*sarama.ProducerMessage, err error) {
	defer in.core.Guard()
	var failed map[*sarama.ProducerMessage]error
	var many sarama.ProducerErrors
	if errors.As(err, &many) {
		failed = make(map[*sarama.ProducerMessage]error, len(many))
		for _, e := range many {
			failed[e.Msg] = e.Err
		}
		err = nil
	}
	type end struct {
		sent      messaging.Sent
		partition int32
		open      bool
	}
	ends := make([]end, len(sts))
	for i, st := range sts {
		if st == nil || !st.begun {
			continue
		}
		why := err
		if e, ok := failed[msgs[i]]; ok {
			why = e
		}
		e := &ends[i]
		e.sent, e.partition = in.outcome(st, msgs[i], why)
		e.open = true
	}
	for i := range ends {
		if !ends[i].open {
			continue
		}
		var f messaging.Finisher
		o := &sts[i].outcome
		in.producer.Load().Finish(&f, msgs[i].Topic, ends[i].partition, o)
		for j := i; j < len(ends); j++ {
			e := &ends[j]
			if !e.open || e.partition != ends[i].partition || msgs[j].Topic != msgs[i].Topic || !sameOutcome(o, &sts[j].outcome) {
				continue
			}
			f.Add(&sts[j].send, &e.sent)
			e.open = false
		}
		f.Done()
	}
}

// sameOutcome tells whether one request carried both.
func sameOutcome(a, b *messaging.Outcome) bool {
	return a.Err == nil && b.Err == nil && a.Attempts == b.Attempts && a.FirstWritten == b.FirstWritten && a.Written == b.Written && a.Acked == b.Acked && a.Broker == b.Broker || a == b
}
