package beacon

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hoptrace/hoptrace/internal/kafka"
)

// Config is what a person sets about the beacon.
type Config struct {
	Enabled  bool          `yaml:"enabled" help:"append a tiny record to each broker at each interval, which bounds how far its clock is from this host's; the collector does"`
	Interval time.Duration `yaml:"interval" help:"how often; with 1s latencies between hosts are known to a few ms"`

	// Topic is the brokers' name of it, in each cluster.
	Topic string `yaml:"topic" help:"topic of these records in each cluster: made if it is missing, stamped by the broker, kept for minutes"`

	// Clusters are asked beside the bus: name → brokers, joined by +.
	Clusters kafka.Clusters `yaml:"clusters" help:"further clusters, those that your programs use: name=host:port+host:port, comma separated; reached with kafka.tls and kafka.sasl"`
	Bus      bool           `yaml:"bus" help:"the cluster of kafka.brokers or the embedded broker, too"`
}

// DefaultTopic is the topic's name unless it is set.
const DefaultTopic = "hoptrace-clock"

// DefaultConfig asks the bus each second.
func DefaultConfig() Config {
	return Config{Enabled: true, Interval: time.Second, Topic: DefaultTopic, Bus: true}
}

// Validate names every fault at once.
func (c Config) Validate() error {
	var faults []error
	bad := func(format string, args ...any) { faults = append(faults, fmt.Errorf("beacon."+format, args...)) }
	if c.Interval < 100*time.Millisecond || c.Interval > time.Minute {
		bad("interval: %s; want 100ms to 1m", c.Interval)
	}
	if c.Topic == "" || len(c.Topic) > 249 || strings.ContainsFunc(c.Topic, func(r rune) bool {
		return r != '.' && r != '_' && r != '-' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}) {
		bad("topic: %q is no topic's name: 1 to 249 letters, digits, dots, hyphens and underscores", c.Topic)
	}
	for _, fault := range c.Clusters.Faults() {
		bad("clusters: %w", fault)
	}
	return errors.Join(faults...)
}
