package embeddedkafka

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// Hold keeps what a group has not read yet of a topic: no bound deletes it.
type Hold struct {
	// Topic is the topic's own name.
	Topic string
	// Group is whose commits tell what was read; where it never committed, nothing was.
	Group string
}

// Bounds of a log that is full.
const (
	// slack is how much of MaxLogBytes is freed at once when the log is over it.
	slack = 0.1
	// watchEvery is how often the log's size is looked at between two passes.
	watchEvery = 2 * time.Second
)

// Full tells that the log is at MaxLogBytes with records that Holds keep. Whoever
// takes records from outside must wait then: what is made of those that are there may
// still be written, or the reading could not go on.
func (b *Broker) Full() bool { return b.full.Load() }

// fill notes what the log holds after a pass.
func (b *Broker) fill(total int64) {
	b.stats.logBytes.Store(total)
	full := total > b.cfg.MaxLogBytes
	if b.full.Swap(full) == full {
		return
	}
	if full {
		b.log.Error("the log is full of records that the pipeline has not read: nothing more is taken until it has",
			"bytes", total, "limit", b.cfg.MaxLogBytes, "setting", "embedded_kafka.max_log_bytes")
	} else {
		b.log.Info("the log has room again", "bytes", total)
	}
}

// logSize is the size of all files of the log. What vanishes meanwhile counts as none.
func (b *Broker) logSize() (total int64) {
	_ = filepath.WalkDir(b.logDir(), func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if info, err := d.Info(); err == nil {
				total += info.Size()
			}
		}
		return nil
	})
	return total
}

// unread gives the first offset of each partition that a hold keeps.
func (b *Broker) unread(ctx context.Context, topics kadm.TopicDetails) (kadm.Offsets, error) {
	out := make(kadm.Offsets)
	held := map[string][]string{} // topics by group
	var groups []string
	for _, h := range b.cfg.Holds {
		if _, there := topics[h.Topic]; !there {
			continue
		}
		if held[h.Group] == nil {
			groups = append(groups, h.Group)
		}
		held[h.Group] = append(held[h.Group], h.Topic)
	}
	if len(groups) == 0 {
		return out, nil
	}
	commits := b.admin.FetchManyOffsets(ctx, groups...)
	for group, names := range held {
		c := commits[group]
		if c.Err != nil && !errors.Is(c.Err, kerr.GroupIDNotFound) { // a group that never was has read nothing
			return nil, fmt.Errorf("cannot ask what group %q has read: %w", group, c.Err)
		}
		for _, name := range names {
			for number := range topics[name].Partitions {
				first := int64(0)
				if o, ok := c.Fetched.Lookup(name, number); ok {
					if o.Err != nil {
						return nil, fmt.Errorf("cannot ask what group %q has read of %s/%d: %w", group, name, number, o.Err)
					}
					first = max(o.At, 0)
				}
				if other, ok := out.Lookup(name, number); ok {
					first = min(first, other.At)
				}
				out.AddOffset(name, number, first, -1)
			}
		}
	}
	return out, nil
}
