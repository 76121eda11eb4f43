package otelsarama

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/google/go-cmp/cmp"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

// TestAMessageThatWasRefusedAfterRetriesIsGivenBackAndSentAnew sends the same
// message in two contexts; the broker refuses the first, and its retry.
func TestAMessageThatWasRefusedAfterRetriesIsGivenBackAndSentAnew(t *testing.T) {
	for _, idempotent := range []bool{false, true} {
		for _, way := range []string{"SendMessage", "SendMessages", "Input"} {
			t.Run(fmt.Sprintf("%s idempotent %v", way, idempotent), func(t *testing.T) {
				c, rec := broker(t, 1), record()
				c.ControlKey(0, refuse(19)) // NOT_ENOUGH_REPLICAS
				c.ControlKey(0, refuse(19))
				in := New(configOf(func(c *sarama.Config) {
					c.Producer.Idempotent, c.Net.MaxOpenRequests, c.Producer.Retry.Max = idempotent, 1, 1
				}), WithTracerProvider(rec))
				var send func(context.Context, *sarama.ProducerMessage) error
				if way == "Input" {
					p := newAsync(t, c, in)
					defer func() {
						if err := p.Close(); err != nil {
							t.Error(err)
						}
					}()
					send = func(ctx context.Context, msg *sarama.ProducerMessage) error { return sendAsync(t, p, ctx, msg) }
				} else {
					p := newSync(t, c, in)
					send = func(ctx context.Context, msg *sarama.ProducerMessage) error {
						if way == "SendMessages" {
							return p.SendMessagesContext(ctx, []*sarama.ProducerMessage{msg})
						}
						_, _, err := p.SendMessageContext(ctx, msg)
						return err
					}
				}
				msg := message("v")
				msg.Metadata = "mine"
				msg.Headers = make([]sarama.RecordHeader, 1, 4)
				msg.Headers[0] = sarama.RecordHeader{Key: []byte("k"), Value: []byte("v")}
				array := &msg.Headers[0]
				for n := range 2 {
					ctx, request := contextIn(t, rec)
					if err := send(ctx, msg); (err != nil) != (n == 0) {
						t.Fatalf("send %d: %v", n, err)
					}
					request.End()
					headers := msg.Headers
					if way == "Input" { // the exception: it may keep what it was sent with
						headers = withoutOwn(headers, ownHeaders(headers))
					}
					if d := cmp.Diff([]sarama.RecordHeader{{Key: []byte("k"), Value: []byte("v")}}, headers); d != "" {
						t.Errorf("after send %d, headers (-given +now):\n%s", n, d)
					}
					if way != "Input" && (&msg.Headers[0] != array || cap(msg.Headers) != 4) {
						t.Errorf("after send %d the headers are in another array", n)
					}
					if msg.Metadata != "mine" {
						t.Errorf("after send %d: metadata %v", n, msg.Metadata)
					}
					s := rec.wait(t, "send orders", n+1)[n]
					if s.SpanContext().TraceID() != request.SpanContext().TraceID() || s.Parent().SpanID() != request.SpanContext().SpanID() || len(s.Links()) != 0 {
						t.Errorf("send %d is in trace %s, links %v; want a child of %s without links", n, s.SpanContext().TraceID(), s.Links(), request.SpanContext().TraceID())
					}
				}
				want := rec.wait(t, "send orders", 2)[1].SpanContext()
				got := receiveOne(t, newPartition(t, c, in, 0))
				if found := messaging.Extract(sentHeaders(nil, pointed(got.Headers))).SpanContext; found.TraceID() != want.TraceID() || found.SpanID() != want.SpanID() {
					t.Errorf("the record carries %v; want the second send's %v", found, want)
				}
			})
		}
	}
}

func pointed(headers []*sarama.RecordHeader) (out []sarama.RecordHeader) {
	for _, h := range headers {
		out = append(out, *h)
	}
	return out
}

func sendAsync(t *testing.T, p *AsyncProducer, ctx context.Context, msg *sarama.ProducerMessage) error { //nolint:revive // t first
	if err := p.Send(ctx, msg); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-p.Successes():
		if got != msg {
			t.Error("another message came back")
		}
		return nil
	case e := <-p.Errors():
		if e.Msg != msg {
			t.Error("another message came back")
		}
		return e.Err
	case <-time.After(20 * time.Second):
		t.Fatal("the message did not come back")
		return nil
	}
}

// TestMessagesGivenBackAreTheProgramsWhileOthersAreRetried is for the race
// detector: it writes to messages that came back while sarama retries others.
func TestMessagesGivenBackAreTheProgramsWhileOthersAreRetried(t *testing.T) {
	c, rec := broker(t, 4), record()
	for range 20 {
		c.ControlKey(0, refuse(19))
	}
	in := New(configOf(func(c *sarama.Config) { c.Producer.Retry.Max = 1 }), WithTracerProvider(rec))
	p := newSync(t, c, in)
	const senders, each = 8, 40
	var all sync.WaitGroup
	var failed atomic.Int64
	for range senders {
		all.Go(func() {
			msg := &sarama.ProducerMessage{Topic: "orders", Value: sarama.StringEncoder("v")}
			for range each {
				msg.Headers = []sarama.RecordHeader{{Key: []byte("k")}}
				if _, _, err := p.SendMessage(msg); err != nil {
					failed.Add(1)
				}
				if len(msg.Headers) != 1 || string(msg.Headers[0].Key) != "k" {
					t.Errorf("headers %v", msg.Headers)
				}
			}
		})
	}
	all.Wait()
	if n := failed.Load(); n == 0 || n == senders*each {
		t.Errorf("%d messages failed; want some of them", n)
	}
	for _, s := range rec.wait(t, "send orders", senders*each) {
		if len(s.Links()) > 0 {
			t.Errorf("links %v", s.Links())
		}
	}
}

// TestErrorsTellOfTheProgramsMessages has two messages too large in one call.
func TestErrorsTellOfTheProgramsMessages(t *testing.T) {
	c, rec := broker(t, 1), record()
	p := newSync(t, c, New(configOf(nil), WithTracerProvider(rec)))
	send(t, p, "first")
	large := string(make([]byte, 2<<20))
	msgs := []*sarama.ProducerMessage{message(large), message("v"), message(large)}
	var failed sarama.ProducerErrors
	if err := p.SendMessages(msgs); !errors.As(err, &failed) || len(failed) != 2 || failed[0].Msg != msgs[0] || failed[1].Msg != msgs[2] {
		t.Errorf("error %v", err)
	}
	if msgs[1].Offset != 1 {
		t.Errorf("the message sent has offset %d; want 1", msgs[1].Offset)
	}
}
