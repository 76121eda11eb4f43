package embeddedkafka

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// cleanTimeout bounds one pass of retention.
const cleanTimeout = 30 * time.Second

// runCleaner applies retention each interval until ctx ends.
func (b *Broker) runCleaner(ctx context.Context) {
	tick := time.NewTicker(b.cfg.CleanerInterval)
	defer tick.Stop()
	watch := time.NewTicker(watchEvery)
	defer watch.Stop()
	for {
		passCtx, cancel := context.WithTimeout(ctx, cleanTimeout)
		if err := b.clean(passCtx); err != nil && ctx.Err() == nil {
			b.log.Error("retention pass failed; the log may grow until the next", "error", err)
		}
		cancel()
		for due := false; !due; {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				due = true
			case <-watch.C: // it may grow fast
				due = b.full.Load() || b.logSize() > b.cfg.MaxLogBytes
			}
		}
	}
}

// partition is what the cleaner knows of one partition.
type partition struct {
	topic    string
	number   int32
	start    int64 // log start offset
	end      int64 // high watermark
	segments []segment
	delete   int64 // records before this offset go; start when none do
	unread   int64 // records from this offset on stay; end when nobody holds them
}

// may tells that the oldest segment may go.
func (p *partition) may() bool { return len(p.segments) > 1 && p.segments[1].base <= p.unread }

func (p *partition) size() (n int64) {
	for _, s := range p.segments {
		n += s.size
	}
	return n
}

// drop removes the oldest segment from the account and marks its records.
func (p *partition) drop() {
	p.delete = max(p.delete, p.segments[1].base)
	p.segments = p.segments[1:]
}

// retention is what a topic asks for.
type retention struct {
	age   time.Duration // negative: for ever
	bytes int64         // negative: unbounded
	// deletes and compacts are the two halves of cleanup.policy.
	deletes, compacts bool
}

// clean applies retention to every topic, whoever made it: by age, by size of
// a partition, by size of everything. By size whole segments go, as in Apache
// Kafka; by age single batches. The last record of a partition always stays,
// so that the partition remembers its offsets; see watermark.go.
func (b *Broker) clean(ctx context.Context) error {
	topics, err := b.admin.ListTopicsWithInternal(ctx)
	if err != nil {
		return fmt.Errorf("cannot list the topics: %w", err)
	}
	if len(topics) == 0 {
		return nil
	}
	ends, err := b.admin.ListEndOffsets(ctx)
	if err != nil {
		return fmt.Errorf("cannot list the end offsets: %w", err)
	}
	starts, err := b.admin.ListStartOffsets(ctx)
	if err != nil {
		return fmt.Errorf("cannot list the start offsets: %w", err)
	}
	if err := b.writeWatermarks(topics, ends); err != nil {
		return err
	}
	policies, err := b.retentions(ctx, topics.Names())
	if err != nil {
		return err
	}
	unread, err := b.unread(ctx, topics)
	if err != nil {
		return err
	}

	var all []*partition
	compact := false
	for name, t := range topics {
		r := policies[name]
		compact = compact || r.compacts
		var after kadm.ListedOffsets
		if r.deletes && r.age >= 0 {
			after, err = b.admin.ListOffsetsAfterMilli(ctx, time.Now().Add(-r.age).UnixMilli(), name)
			if err != nil {
				return fmt.Errorf("cannot find the records of topic %q that are older than %v: %w", name, r.age, err)
			}
		}
		for number := range t.Partitions {
			start, _ := starts.Lookup(name, number)
			end, _ := ends.Lookup(name, number)
			segments, err := listSegments(partitionDir(b.logDir(), name, int(number)))
			if err != nil {
				return err
			}
			p := &partition{topic: name, number: number, start: start.Offset, end: end.Offset, delete: start.Offset, unread: end.Offset, segments: segments}
			if first, held := unread.Lookup(name, number); held {
				p.unread = max(first.At, start.Offset)
			}
			if young, ok := after.Lookup(name, number); ok && young.Err == nil {
				p.delete = max(p.delete, min(young.Offset, p.unread))
			}
			if r.deletes && r.bytes >= 0 {
				for size := p.size(); p.may() && size-p.segments[0].size >= r.bytes; {
					size -= p.segments[0].size
					p.drop()
				}
			}
			all = append(all, p)
		}
	}
	total := b.boundTotal(all)

	offsets := make(kadm.Offsets)
	for _, p := range all {
		// The last record stays, whatever its age.
		if to := min(p.delete, p.end-1); to > p.start {
			offsets.AddOffset(p.topic, p.number, to, -1)
			b.stats.deletedRecords.Add(to - p.start)
		}
	}
	if len(offsets) > 0 {
		resps, err := b.admin.DeleteRecords(ctx, offsets)
		if err == nil {
			err = resps.Error()
		}
		if err != nil {
			return fmt.Errorf("cannot delete records past their retention: %w", err)
		}
	}
	if compact {
		// kfake compacts and applies its own retention in one; the latter may
		// empty a partition, so save the watermarks behind it as well.
		b.cluster.Compact()
		if err := b.saveWatermarks(ctx); err != nil {
			return err
		}
	}
	b.fill(total)
	b.stats.partitions.Store(int64(len(all)))
	return nil
}

// boundTotal drops the oldest closed segments of any partition until all
// together fit MaxLogBytes, with some slack, and returns what is left. What is
// held stays.
func (b *Broker) boundTotal(all []*partition) int64 {
	var total int64
	type closed struct {
		*partition
		segment
	}
	var candidates []closed
	for _, p := range all {
		total += p.size()
		for i := 1; i < len(p.segments) && p.segments[i].base <= p.unread; i++ {
			candidates = append(candidates, closed{p, p.segments[i-1]})
		}
	}
	if total <= b.cfg.MaxLogBytes {
		return total
	}
	slices.SortStableFunc(candidates, func(x, y closed) int { return x.modified.Compare(y.modified) })
	dropped := make(map[string]int64)
	for _, c := range candidates {
		if float64(total) <= float64(b.cfg.MaxLogBytes)*(1-slack) {
			break
		}
		total -= c.segment.size
		dropped[c.topic] += c.segment.size
		c.drop()
	}
	for topic, n := range dropped {
		b.log.Warn("log is over its total bound: oldest records deleted", "topic", topic, "bytes", n,
			"limit", b.cfg.MaxLogBytes, "setting", "embedded_kafka.max_log_bytes")
	}
	return total
}

// retentions returns what each topic asks for; a topic's own settings go
// before the broker's.
func (b *Broker) retentions(ctx context.Context, names []string) (map[string]retention, error) {
	configs, err := b.admin.DescribeTopicConfigs(ctx, names...)
	if err != nil {
		return nil, fmt.Errorf("cannot read the topics' settings: %w", err)
	}
	out := make(map[string]retention, len(configs))
	for _, c := range configs {
		r := retention{age: b.cfg.RetentionTime, bytes: b.cfg.RetentionBytes, deletes: true}
		if r.age < 0 {
			r.age = -1
		}
		for _, kv := range c.Configs {
			if kv.Source != kmsg.ConfigSourceDynamicTopicConfig {
				continue // kfake lists its own default beside the broker's
			}
			switch kv.Key {
			case "cleanup.policy":
				r.compacts = strings.Contains(kv.MaybeValue(), "compact")
				r.deletes = !r.compacts || strings.Contains(kv.MaybeValue(), "delete")
			case "retention.ms":
				if n, err := strconv.ParseInt(kv.MaybeValue(), 10, 64); err == nil {
					r.age = -1
					if n >= 0 {
						r.age = time.Duration(min(n, int64(100*365*24*time.Hour/time.Millisecond))) * time.Millisecond
					}
				}
			case "retention.bytes":
				if n, err := strconv.ParseInt(kv.MaybeValue(), 10, 64); err == nil {
					r.bytes = n
				}
			}
		}
		out[c.Name] = r
	}
	return out, nil
}

func sortSegments(s []segment) {
	slices.SortFunc(s, func(x, y segment) int {
		switch {
		case x.base < y.base:
			return -1
		case x.base > y.base:
			return 1
		}
		return 0
	})
}
