package lagwatch

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// place is one partition.
type place struct {
	topic     string
	partition int32
}

// seen is what one round learned.
type seen struct {
	at      time.Time
	groups  map[string]*groupSeen
	logs    map[place]logSeen
	whole   bool  // all brokers told their groups
	trouble error // what was not told
	leftOut exporters.LagLeftOut
}

type groupSeen struct {
	kafkaState string
	members    int
	settled    bool
	committed  map[place]int64 // schemas.Unknown where a member has a partition and nothing was committed
	owners     map[place]owner

	uncommitted map[place]bool // committed was set from the log's end
	err         error
}

type owner struct{ client, host string }

type logSeen struct{ start, end int64 }

// ask does one round: at most seven kinds of requests, whatever the number of
// groups, since franz-go sends each broker what concerns it.
func (c *cluster) ask(ctx context.Context, now time.Time) (*seen, error) {
	out := &seen{at: now, groups: map[string]*groupSeen{}, logs: map[place]logSeen{}, whole: true}
	listed, err := c.adm.ListGroups(ctx)
	if err != nil {
		if len(listed) == 0 {
			return nil, fmt.Errorf("cannot list the groups: %w", err)
		}
		out.whole, out.trouble = false, fmt.Errorf("cannot list the groups of every broker: %w", err)
	}
	var names []string
	for _, g := range listed.Sorted() {
		if (g.ProtocolType != "consumer" && g.ProtocolType != "") || !chosen(g.Group, c.cfg.Groups, c.cfg.ExcludeGroups) {
			continue
		}
		if len(names) == c.cfg.MaxGroups {
			out.leftOut.Groups++
			continue
		}
		names = append(names, g.Group)
		out.groups[g.Group] = &groupSeen{kafkaState: g.State, members: schemas.Unknown, committed: map[place]int64{}, owners: map[place]owner{}}
	}
	if len(names) == 0 {
		return out, nil
	}
	c.askMembers(ctx, names, out)
	topics := c.askCommitted(ctx, names, out)
	if len(topics) == 0 {
		return out, nil
	}
	return out, c.askLogs(ctx, topics, out)
}

// askMembers learns who is in the groups. A group that cannot be described keeps
// unknown members, which no rule counts as none.
func (c *cluster) askMembers(ctx context.Context, names []string, out *seen) {
	described, err := c.adm.DescribeGroups(ctx, names...)
	if err != nil && len(described) == 0 {
		out.trouble = errors.Join(out.trouble, fmt.Errorf("cannot describe the groups: %w", err))
	}
	var newer []string // of the consumer protocol of KIP-848, which the older request does not know
	for name, d := range described {
		g := out.groups[name]
		switch {
		case g == nil:
		case errors.Is(d.Err, kerr.GroupIDNotFound) || d.Err == nil && d.State == "Dead" && g.kafkaState != "Dead":
			newer = append(newer, name)
		case d.Err != nil:
			g.err = fmt.Errorf("cannot describe it: %w", d.Err)
		default:
			g.kafkaState, g.members, g.settled = d.State, len(d.Members), d.State == "Stable"
			for _, m := range d.Members {
				a, ok := m.Assigned.AsConsumer()
				if !ok {
					g.settled = g.settled && len(d.Members) == 0
					continue
				}
				for _, t := range a.Topics {
					for _, p := range t.Partitions {
						g.owners[place{t.Topic, p}] = owner{m.ClientID, m.ClientHost}
					}
				}
			}
		}
	}
	if len(newer) == 0 {
		return
	}
	slices.Sort(newer)
	again, err := c.adm.DescribeConsumerGroups(ctx, newer...)
	if err != nil && len(again) == 0 {
		return // a broker that has no such request told the truth: the group is gone
	}
	for name, d := range again {
		g := out.groups[name]
		if g == nil || d.Err != nil {
			continue
		}
		g.kafkaState, g.members, g.settled = d.State, len(d.Members), d.State == "Stable"
		for _, m := range d.Members {
			for topic, partitions := range m.Assignment {
				for p := range partitions {
					g.owners[place{topic, p}] = owner{m.ClientID, m.ClientHost}
				}
			}
		}
	}
}

// askCommitted learns the committed offsets, and gives the topics that they are of.
func (c *cluster) askCommitted(ctx context.Context, names []string, out *seen) []string {
	fetched := c.adm.FetchManyOffsets(ctx, names...)
	topics := map[string]struct{}{}
	count := 0
	for _, name := range names {
		g := out.groups[name]
		r, ok := fetched[name]
		if !ok || r.Err != nil {
			g.err = fmt.Errorf("cannot read its committed offsets: %w", errors.Join(r.Err, ctx.Err()))
			continue
		}
		note := func(at place, committed int64) {
			switch {
			case !chosen(at.topic, c.cfg.Topics, c.cfg.ExcludeTopics):
			case count == c.cfg.MaxPartitions:
				out.leftOut.Partitions++
			default:
				count++
				g.committed[at] = committed
				topics[at.topic] = struct{}{}
			}
		}
		for _, o := range r.Fetched.Sorted() {
			if o.Err == nil && o.At >= 0 {
				note(place{o.Topic, o.Partition}, o.At)
			}
		}
		for at := range g.owners {
			if o, ok := r.Fetched.Lookup(at.topic, at.partition); !ok || o.Err == nil && o.At < 0 {
				note(at, schemas.Unknown)
			}
		}
		for at, t := range c.tracks[name] { // a member had them, and none has them now
			if _, ok := g.committed[at]; !ok && t.waits(out.at.UnixNano()) {
				note(at, schemas.Unknown)
			}
		}
	}
	sorted := make([]string, 0, len(topics))
	for t := range topics {
		sorted = append(sorted, t)
	}
	slices.Sort(sorted)
	return sorted
}

// askLogs learns begin and end of each log, and now and then how long it is kept.
func (c *cluster) askLogs(ctx context.Context, topics []string, out *seen) error {
	// The ends after the committed offsets: a lag is never negative by that.
	starts, err := c.adm.ListStartOffsets(ctx, topics...)
	if err != nil && len(starts) == 0 {
		return fmt.Errorf("cannot list where the logs begin: %w", err)
	}
	ends, err := c.adm.ListEndOffsets(ctx, topics...)
	if err != nil && len(ends) == 0 {
		return fmt.Errorf("cannot list where the logs end: %w", err)
	}
	failed := 0
	ends.Each(func(e kadm.ListedOffset) {
		s, ok := starts.Lookup(e.Topic, e.Partition)
		if e.Err != nil || !ok || s.Err != nil {
			failed++
			return
		}
		out.logs[place{e.Topic, e.Partition}] = logSeen{s.Offset, e.Offset}
	})
	if failed > 0 {
		out.trouble = errors.Join(out.trouble, fmt.Errorf("%d partitions do not tell where their logs begin and end", failed))
	}
	if out.at.Sub(c.keptAsked) >= keptEvery || !c.knowsKept(topics) {
		c.askKept(ctx, topics)
		c.keptAsked = out.at
	}
	return nil
}

// keptEvery is how often retention and sizes are asked.
const keptEvery = time.Minute

// kept is how long a topic is kept.
type kept struct {
	retention time.Duration // exporters.LagUnknown when not told, LagNever without a limit
	bytes     int64         // schemas.Unknown without a limit or when not told
}

func (c *cluster) knowsKept(topics []string) bool {
	for _, t := range topics {
		if _, ok := c.kept[t]; !ok {
			return false
		}
	}
	return true
}

// askKept learns retention, and the size of logs that are bounded by it. What a
// broker does not let us see stays unknown.
func (c *cluster) askKept(ctx context.Context, topics []string) {
	fresh := map[string]kept{}
	for _, t := range topics {
		fresh[t] = kept{exporters.LagUnknown, schemas.Unknown}
	}
	described, err := c.adm.DescribeTopicConfigs(ctx, topics...)
	if err != nil {
		c.log.Debug("lagwatch: retention is not known", "cluster", c.name, "err", err)
	}
	bySize := kadm.TopicsSet{}
	for _, d := range described {
		if d.Err != nil {
			continue
		}
		k := keptOf(d.Configs)
		fresh[d.Name] = k
		if k.bytes > 0 {
			for at := range c.logs {
				if at.topic == d.Name {
					bySize.Add(d.Name, at.partition)
				}
			}
		}
	}
	c.kept = fresh
	c.sizes = map[place]int64{}
	if len(bySize) == 0 {
		return
	}
	dirs, err := c.adm.DescribeAllLogDirs(ctx, bySize)
	if err != nil {
		c.log.Debug("lagwatch: sizes are not known", "cluster", c.name, "err", err)
	}
	dirs.Each(func(d kadm.DescribedLogDir) {
		for topic, partitions := range d.Topics {
			for p, x := range partitions {
				at := place{topic, p}
				c.sizes[at] = max(c.sizes[at], x.Size)
			}
		}
	})
}

func keptOf(configs []kadm.Config) kept {
	k := kept{exporters.LagUnknown, schemas.Unknown}
	deletes := true
	for _, cfg := range configs {
		if cfg.Value == nil {
			continue
		}
		n, err := strconv.ParseInt(*cfg.Value, 10, 64)
		switch {
		case cfg.Key == "cleanup.policy":
			deletes = *cfg.Value != "compact"
		case err != nil:
		case cfg.Key == "retention.ms" && (n < 0 || n > math.MaxInt64/int64(time.Millisecond)):
			k.retention = exporters.LagNever
		case cfg.Key == "retention.ms":
			k.retention = time.Duration(n) * time.Millisecond
		case cfg.Key == "retention.bytes" && n > 0:
			k.bytes = n
		}
	}
	if !deletes { // only what a newer record of its key replaced goes
		return kept{exporters.LagNever, schemas.Unknown}
	}
	return k
}

// maxDated bounds the partitions whose oldest unread record is dated by asking
// in one round; the others wait for the next.
const maxDated = 1000

// dateRounds bounds the questions about one record: steady logs take three or
// four, since each answer is a record's offset and time to interpolate from.
const dateRounds = 14

// search is one record that is being dated.
type search struct {
	log     *logClock
	at      place
	offset  int64
	undated bool // nothing is known of it

	// The record's time lies between lo and hi, Unix ms, where the log was at loEnd
	// and hiEnd.
	lo, hi       int64
	loEnd, hiEnd int64
	knowsLo      bool // lo is a record's time
	asked        int64
	done, failed bool
}

// close tells that the time is known well enough: to a thousandth of the age.
func (s *search) close(now int64) bool { return s.hi-s.lo <= max(50, (now-s.hi)/1000) }

// next chooses the time to ask for: by turns where the offset should be between
// what is known, and the middle of the age's logarithm, which closes in on any log.
func (s *search) next(now int64, round int) int64 {
	var t int64
	if s.knowsLo && round%3 != 2 && s.hiEnd > s.loEnd {
		t = s.lo + int64(float64(s.offset-s.loEnd)/float64(s.hiEnd-s.loEnd)*float64(s.hi-s.lo))
	} else {
		young, old := float64(max(now-s.hi, 1000)), float64(max(now-s.lo, 1000))
		t = now - int64(math.Sqrt(young*old))
	}
	return min(max(t, s.lo+1), s.hi)
}

// learn takes an answer: the first record that is not before what was asked is
// at offset, with its time; -1 when there is none.
func (s *search) learn(offset, at int64) {
	switch {
	case offset == s.offset:
		s.done, s.lo, s.hi = true, at, at
	case offset < 0 || offset > s.offset:
		s.hi = s.asked
		if offset > 0 {
			s.hiEnd = offset
		}
	default: // the record comes after that one, and not before what was asked
		s.lo, s.loEnd, s.knowsLo = max(s.asked, at), offset, true
		s.hi = max(s.hi, s.lo)
	}
}

// date finds the times of records by asking for offsets by timestamp.
func (c *cluster) date(ctx context.Context, now time.Time, todo []*search) error {
	for round := range dateRounds {
		req := kmsg.NewPtrListOffsetsRequest()
		req.ReplicaID = -1
		byPlace := map[place]*search{}
		topics := map[string]int{}
		for _, s := range todo {
			if s.done = s.done || s.close(now.UnixMilli()); s.done {
				continue
			}
			i, ok := topics[s.at.topic]
			if !ok {
				t := kmsg.NewListOffsetsRequestTopic()
				t.Topic = s.at.topic
				i = len(req.Topics)
				req.Topics, topics[s.at.topic] = append(req.Topics, t), i
			}
			s.asked = s.next(now.UnixMilli(), round)
			p := kmsg.NewListOffsetsRequestTopicPartition()
			p.Partition, p.Timestamp = s.at.partition, s.asked
			req.Topics[i].Partitions = append(req.Topics[i].Partitions, p)
			byPlace[s.at] = s
		}
		if len(byPlace) == 0 {
			break
		}
		resp, err := req.RequestWith(ctx, c.client)
		if err != nil {
			return fmt.Errorf("cannot ask for offsets by time: %w", err)
		}
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				if s := byPlace[place{t.Topic, p.Partition}]; s != nil && p.ErrorCode == 0 {
					s.learn(p.Offset, p.Timestamp)
					delete(byPlace, s.at)
				}
			}
		}
		for _, s := range byPlace {
			s.done, s.failed = true, true
		}
	}
	for _, s := range todo {
		if !s.failed {
			s.log.found(s.offset, (s.lo+s.hi)/2*int64(time.Millisecond))
		}
	}
	return nil
}
