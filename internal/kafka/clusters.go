package kafka

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
)

// BusName is what the cluster of kafka.brokers is called beside further ones.
const BusName = "bus"

// MaxClusters bounds the connections of one who asks further clusters.
const MaxClusters = 20

// Clusters are further clusters: name → brokers, joined by +.
type Clusters map[string]string

// Faults names what is wrong, each fault once, by name; without the setting's name.
func (c Clusters) Faults() (faults []error) {
	bad := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if len(c) > MaxClusters {
		bad("%d of them; want at most %d", len(c), MaxClusters)
	}
	for _, name := range c.Names() {
		if name == "" || name == BusName || len(name) > 64 || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == '/' }) {
			bad("%q is no name: 1 to 64 characters without space and /, and not %q", name, BusName)
		}
		for _, b := range c.Brokers(name) {
			if host, port, err := net.SplitHostPort(b); err != nil || host == "" || port == "" {
				bad("%q of %s is not host:port", b, name)
			}
		}
	}
	return faults
}

// Names are theirs, sorted.
func (c Clusters) Names() []string { return slices.Sorted(maps.Keys(c)) }

// Brokers are those of one, host:port each.
func (c Clusters) Brokers(name string) []string { return strings.Split(c[name], "+") }
