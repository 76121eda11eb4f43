package lagwatch

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hoptrace/hoptrace/internal/kafka"
)

// Config is what a person sets about the watcher.
type Config struct {
	Enabled  bool          `yaml:"enabled" help:"ask Kafka how far consumer groups are behind, for the lag desk; the web role does"`
	Interval time.Duration `yaml:"interval" help:"how often each cluster is asked"`
	Timeout  time.Duration `yaml:"timeout" help:"longest time that one round may take"`
	Window   time.Duration `yaml:"window" help:"stretch over which rates and states are found; longer than the longest time between two commits of a healthy group"`

	// Clusters are watched beside the bus: name → brokers, joined by +.
	Clusters kafka.Clusters `yaml:"clusters" help:"further clusters to watch: name=host:port+host:port, comma separated; reached with kafka.tls and kafka.sasl"`
	Bus      bool           `yaml:"bus" help:"watch the cluster of kafka.brokers or the embedded broker"`

	Groups        []string `yaml:"groups" help:"groups to watch, * is any text, comma separated; empty means all"`
	ExcludeGroups []string `yaml:"exclude_groups" help:"groups not to watch"`
	Topics        []string `yaml:"topics" help:"topics to watch; empty means all"`
	ExcludeTopics []string `yaml:"exclude_topics" help:"topics not to watch"`

	MaxGroups     int `yaml:"max_groups" help:"most groups of one cluster; the others are left out, and that is told"`
	MaxPartitions int `yaml:"max_partitions" help:"most partitions of one cluster, counted once for each group"`
}

// DefaultConfig asks every 10 s and looks at 2 minutes.
func DefaultConfig() Config {
	return Config{Enabled: true, Interval: 10 * time.Second, Timeout: 10 * time.Second, Window: 2 * time.Minute, Bus: true, MaxGroups: 500, MaxPartitions: 5000}
}

// Validate names every fault at once.
func (c Config) Validate() error {
	var faults []error
	bad := func(format string, args ...any) { faults = append(faults, fmt.Errorf("lagwatch."+format, args...)) }
	if c.Interval < time.Second || c.Interval > 10*time.Minute {
		bad("interval: %s; want 1s to 10m", c.Interval)
	}
	if c.Timeout < time.Second || c.Timeout > 5*time.Minute {
		bad("timeout: %s; want 1s to 5m", c.Timeout)
	}
	if c.Interval > 0 && (c.Window < 3*c.Interval || c.Window > 120*c.Interval) {
		bad("window: %s; want 3 to 120 times the interval, which is %s", c.Window, c.Interval)
	}
	if c.MaxGroups < 1 || c.MaxGroups > 10_000 {
		bad("max_groups: %d; want 1 to 10000", c.MaxGroups)
	}
	if c.MaxPartitions < 1 || c.MaxPartitions > 50_000 {
		bad("max_partitions: %d; want 1 to 50000", c.MaxPartitions)
	}
	for _, fault := range c.Clusters.Faults() {
		bad("clusters: %w", fault)
	}
	return errors.Join(faults...)
}

// chosen tells whether a name is to be watched.
func chosen(name string, include, exclude []string) bool {
	any := func(patterns []string) bool {
		return slices.ContainsFunc(patterns, func(p string) bool { return matches(p, name) })
	}
	return (len(include) == 0 || any(include)) && !any(exclude)
}

// matches tells whether a pattern, in which * is any text, is the whole of name.
// It takes time linear in the name for each *.
func matches(pattern, name string) bool {
	parts := strings.Split(pattern, "*")
	first, last := parts[0], parts[len(parts)-1]
	if len(parts) == 1 {
		return name == first
	}
	if !strings.HasPrefix(name, first) {
		return false
	}
	name = name[len(first):]
	for _, part := range parts[1 : len(parts)-1] {
		i := strings.Index(name, part)
		if i < 0 {
			return false
		}
		name = name[i+len(part):]
	}
	return strings.HasSuffix(name, last)
}
