package stubbroker

import (
	"context"
	"net"

	"github.com/IBM/sarama"
)

// SaramaConfig returns a configuration of which the clients reach b. It
// returns successes and errors, as a synchronous producer needs.
func SaramaConfig(b *Broker) *sarama.Config {
	c := sarama.NewConfig()
	c.Version = sarama.V2_1_0_0
	c.Net.Proxy.Enable = true
	c.Net.Proxy.Dialer = dialer{b}
	c.Producer.Return.Successes = true
	c.Producer.Return.Errors = true
	return c
}

type dialer struct{ broker *Broker }

func (d dialer) Dial(network, addr string) (net.Conn, error) {
	return d.broker.Dial(context.Background(), network, addr)
}
