package beacon

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"time"
)

// Config is what a person sets about the beacon.
type Config struct {
	Enabled  bool          `yaml:"enabled" help:"append a tiny record to each broker at each interval, which bounds how far its clock is from this host's; the collector does"`
	Interval time.Duration `yaml:"interval" help:"how often; with 1s latencies between hosts are known to a few ms"`

	// Topic is the brokers' name of it, in each cluster.
	Topic string `yaml:"topic" help:"topic of these records in each cluster: made if it is missing, stamped by the broker, kept for minutes"`

	// Clusters are asked beside the bus: name → brokers, joined by +.
	Clusters map[string]string `yaml:"clusters" help:"further clusters, those that your programs use: name=host:port+host:port, comma separated; reached with kafka.tls and kafka.sasl"`
	Bus      bool              `yaml:"bus" help:"the cluster of kafka.brokers or the embedded broker, too"`
}

// BusName is what the cluster of kafka.brokers is called.
const BusName = "bus"

// DefaultTopic is the topic's name unless it is set.
const DefaultTopic = "hoptrace-clock"

// DefaultConfig asks the bus each second.
func DefaultConfig() Config {
	return Config{Enabled: true, Interval: time.Second, Topic: DefaultTopic, Bus: true}
}

// maxClusters bounds the connections of one beacon.
const maxClusters = 20

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
	if len(c.Clusters) > maxClusters {
		bad("clusters: %d of them; want at most %d", len(c.Clusters), maxClusters)
	}
	for name, text := range c.Clusters {
		if name == "" || name == BusName || len(name) > 64 || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == '/' }) {
			bad("clusters: %q is no name: 1 to 64 characters without space and /, and not %q", name, BusName)
		}
		for _, b := range brokersOf(text) {
			if host, port, err := net.SplitHostPort(b); err != nil || host == "" || port == "" {
				bad("clusters: %q of %s is not host:port", b, name)
			}
		}
	}
	return errors.Join(faults...)
}

func brokersOf(text string) []string { return strings.Split(text, "+") }

// clusters are the names of further clusters, sorted.
func (c Config) clusters() []string { return slices.Sorted(maps.Keys(c.Clusters)) }
