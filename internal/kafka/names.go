package kafka

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/hoptrace/hoptrace/schemas/topics"
)

// Names maps the logical names of topics to those that they have at the
// brokers, where the two differ. The zero value maps each to itself.
type Names map[string]string

// Physical is the name at the brokers. One that is physical already stays as it
// is, since validation lets no topic have the logical name of another.
func (n Names) Physical(logical string) string {
	if name, ok := n[logical]; ok {
		return name
	}
	return logical
}

// Logical is the inverse of Physical.
func (n Names) Logical(physical string) string {
	for logical, name := range n {
		if name == physical {
			return logical
		}
	}
	return physical
}

// Rename gives the topics with the brokers' names, also of dead-letter topics.
func (n Names) Rename(ts []topics.Topic) []topics.Topic {
	out := slices.Clone(ts)
	for i := range out {
		out[i].Name = n.Physical(out[i].Name)
		if out[i].DLQ != "" {
			out[i].DLQ = n.Physical(out[i].DLQ)
		}
	}
	return out
}

var validName = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,249}$`)

func (n Names) validate(bad func(format string, args ...any)) {
	known := map[string]bool{}
	for _, t := range topics.All() {
		known[t.Name] = true
	}
	users := map[string]string{}
	for _, logical := range slices.Sorted(maps.Keys(n)) {
		physical := n[logical]
		if !known[logical] {
			bad("topics: there is no topic %q; there are %s", logical, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
			continue
		}
		if !validName.MatchString(physical) || physical == "." || physical == ".." {
			bad("topics: %s=%q: Kafka's names are up to 249 letters, digits, dots, hyphens and underscores", logical, physical)
			continue
		}
		if other, taken := users[physical]; taken {
			bad("topics: %s and %s are both %q; each needs a topic of its own", other, logical, physical)
		}
		users[physical] = logical
		if known[physical] && physical != logical {
			bad("topics: %s=%s: that is the name of another topic of ours", logical, physical)
		}
	}
}
