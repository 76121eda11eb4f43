package otelsarama

import (
	"fmt"
	"net"
	"os"
	"testing"

	"github.com/IBM/sarama"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

// TestAMessageTooLargeForTheClientHasTheProtocolsErrorType asks sarama itself,
// which tells it by the words of an error only.
func TestAMessageTooLargeForTheClientHasTheProtocolsErrorType(t *testing.T) {
	c, rec := broker(t, 1), record()
	p := newSync(t, c, New(configOf(func(c *sarama.Config) { c.Producer.MaxMessageBytes = 1000 }), WithTracerProvider(rec)))
	if _, _, err := p.SendMessage(message(string(make([]byte, 2000)))); err == nil {
		t.Fatal("no error")
	}
	if got := text(t, rec.wait(t, "send orders", 1)[0], messaging.AttrErrorType); got != "MESSAGE_TOO_LARGE" {
		t.Errorf("error.type %q; want MESSAGE_TOO_LARGE", got)
	}
	if got := errorType(sarama.ConfigurationError("Producer.MaxMessageBytes must be > 0")); got != "sarama.ConfigurationError" {
		t.Errorf("error.type %q of another mistake", got)
	}
}

func TestAnErrorThatPanicsHasAType(t *testing.T) {
	var op *net.OpError // as handlers return by mistake: not nil, and cannot be asked
	var path *os.PathError
	for _, err := range []error{op, path, fmt.Errorf("reading: %w", op)} {
		if got := errorType(err); got != "_OTHER" {
			t.Errorf("error.type %q; want _OTHER", got)
		}
	}
}
