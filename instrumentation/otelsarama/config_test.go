package otelsarama

import (
	"testing"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

func TestTLSConnectionsAreReadAlong(t *testing.T) {
	server, client := certificates(t)
	c, rec := broker(t, 1, kfake.TLS(server)), record()
	in := New(configOf(func(c *sarama.Config) { c.Net.TLS.Enable, c.Net.TLS.Config = true, client }), WithTracerProvider(rec))
	p := newSync(t, c, in)
	send(t, p, "a")
	number(t, rec.wait(t, "send orders", 1)[0], messaging.AttrProduceWritten)
}

func TestSASLDoesNotHideTheRequests(t *testing.T) {
	c, rec := broker(t, 1, kfake.EnableSASL(), kfake.Superuser("PLAIN", "admin", "secret")), record()
	in := New(configOf(func(c *sarama.Config) {
		c.Net.SASL.Enable, c.Net.SASL.User, c.Net.SASL.Password = true, "admin", "secret"
	}), WithTracerProvider(rec))
	send(t, newSync(t, c, in), "a")
	number(t, rec.wait(t, "send orders", 1)[0], messaging.AttrProduceWritten)
	if err := in.Process(within(t), receiveOne(t, newPartition(t, c, in, 0)), nothing); err != nil {
		t.Fatal(err)
	}
	number(t, rec.wait(t, "process orders", 1)[0], messaging.AttrConsumeAsked)
	if got := in.Counts(); got != (Counts{}) {
		t.Errorf("left undone: %+v", got)
	}
}

func TestNothingIsTracedWhenSwitchedOff(t *testing.T) {
	c, rec := broker(t, 1), record()
	messaging.SetEnabled(false)
	t.Cleanup(func() { messaging.SetEnabled(true) })
	in := New(configOf(nil), WithTracerProvider(rec))
	p := newSync(t, c, in)
	msg := message("a")
	msg.Metadata = "mine"
	if _, _, err := p.SendMessage(msg); err != nil || msg.Metadata != "mine" {
		t.Fatal(err, msg.Metadata)
	}
	got := receiveOne(t, newPartition(t, c, in, 0))
	if err := in.Process(within(t), got, nothing); err != nil {
		t.Fatal(err)
	}
	if len(got.Headers) != 0 || len(rec.Ended()) != 0 {
		t.Errorf("%d headers, %d spans", len(got.Headers), len(rec.Ended()))
	}
}

func TestTheConfigurationGivenIsNotChanged(t *testing.T) {
	cfg := configOf(nil)
	cfg.Producer.Return.Successes = false
	New(cfg)
	if cfg.Net.Proxy.Enable || cfg.Producer.Return.Successes || len(cfg.Producer.Interceptors) != 0 {
		t.Error("it was changed")
	}
	if err := New(cfg).Config().Validate(); err != nil {
		t.Errorf("the instrumented one is not valid: %v", err)
	}
}
