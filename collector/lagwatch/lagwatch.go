// Package lagwatch tells how far consumer groups are behind, by Kafka's admin
// API: it asks any cluster that it is given for groups, members, committed
// offsets, begins and ends of logs and retention, and finds lag in records and in
// time, states, and forecasts. It reads no record and joins no group: the right
// to describe is enough. Nothing here changes a cluster.
//
// It runs in the role that shows it (web): a state is of now, and must be told
// while the pipeline is what stands still. What it saw is kept as metric points
// in the store, too, for lag over time.
package lagwatch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/internal/kafka"
	"github.com/hoptrace/hoptrace/schemas"
)

// Watcher watches clusters. It is an exporters.LagReader.
type Watcher struct {
	cfg      Config
	deps     Deps
	log      *slog.Logger
	clusters []*cluster
	metrics  *metrics

	stop context.CancelFunc
	wait sync.WaitGroup
}

// Deps are what the watcher uses.
type Deps struct {
	// Kafka says how the bus is reached; its TLS and SASL are those of all clusters.
	// Without brokers the bus is not watched.
	Kafka kafka.Config
	// Store keeps lag over time; nil keeps none.
	Store exporters.MetricWriter
	// Project is the one that the kept points belong to.
	Project uint64
	Metrics *kafka.Metrics // of the clients; may be nil
}

// cluster is one that is watched. Its fields without a lock are its own
// goroutine's.
type cluster struct {
	cfg     Config
	name    string
	brokers []string
	log     *slog.Logger
	client  *kgo.Client
	adm     *kadm.Client

	logs      map[place]*logClock
	tracks    map[string]map[place]*track // by group
	kept      map[string]kept
	keptAsked time.Time
	sizes     map[place]int64
	failing   bool
	keep      keeper

	mu     sync.Mutex // guards the following
	report exporters.LagCluster
}

type metrics struct {
	rounds *prometheus.CounterVec
	took   *prometheus.HistogramVec
	points *prometheus.CounterVec
}

// New makes a watcher and registers its metrics (hoptrace_lagwatch_…). It
// connects to nothing before Start.
func New(cfg Config, deps Deps, reg prometheus.Registerer, log *slog.Logger) (*Watcher, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	w := &Watcher{cfg: cfg, deps: deps, log: log, metrics: &metrics{
		rounds: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "hoptrace_lagwatch_rounds_total", Help: "Rounds of questions about consumer groups, by cluster and result."}, []string{"cluster", "result"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "hoptrace_lagwatch_round_seconds", Help: "Time of one round.", Buckets: prometheus.ExponentialBuckets(0.002, 2.5, 10),
		}, []string{"cluster"}),
		points: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "hoptrace_lagwatch_points_total", Help: "Points of lag over time, by what became of them."}, []string{"result"}),
	}}
	for _, c := range []prometheus.Collector{w.metrics.rounds, w.metrics.took, w.metrics.points} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("cannot register the lag watcher's metrics: %w", err)
		}
	}
	if cfg.Bus && len(deps.Kafka.Brokers) > 0 {
		if err := w.add(kafka.BusName, deps.Kafka); err != nil {
			return nil, err
		}
	}
	for _, name := range cfg.Clusters.Names() {
		kc := deps.Kafka
		kc.Brokers = cfg.Clusters.Brokers(name)
		if err := w.add(name, kc); err != nil {
			w.close()
			return nil, err
		}
	}
	return w, nil
}

func (w *Watcher) add(name string, kc kafka.Config) error {
	// A cluster that is away is told once, by us; the client would at every try.
	client, err := kafka.NewClient(kc, w.log, w.deps.Metrics, kgo.WithLogger(nil))
	if err != nil {
		return fmt.Errorf("cannot watch the lag of cluster %q: %w", name, err)
	}
	w.clusters = append(w.clusters, &cluster{
		cfg: w.cfg, name: name, brokers: kc.Brokers, log: w.log, client: client, adm: kadm.NewClient(client),
		logs: map[place]*logClock{}, tracks: map[string]map[place]*track{}, kept: map[string]kept{}, sizes: map[place]int64{},
		report: exporters.LagCluster{Name: name, Brokers: slices.Clone(kc.Brokers)},
	})
	return nil
}

func (w *Watcher) close() {
	for _, c := range w.clusters {
		c.client.Close()
	}
}

// Name is for logs.
func (w *Watcher) Name() string { return "lag watcher" }

// Start begins to ask, each cluster by itself: one that does not answer holds up
// no other.
func (w *Watcher) Start(context.Context) error {
	ctx, stop := context.WithCancel(context.Background())
	w.stop = stop
	for _, c := range w.clusters {
		w.wait.Go(func() {
			tick := time.NewTicker(w.cfg.Interval)
			defer tick.Stop()
			for {
				w.round(ctx, c, time.Now())
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
			}
		})
	}
	return nil
}

// Shutdown ends it. It is safe without Start.
func (w *Watcher) Shutdown(context.Context) error {
	if w.stop != nil {
		w.stop()
	}
	w.wait.Wait()
	w.close()
	return nil
}

// Lag gives what was seen last.
func (w *Watcher) Lag(context.Context) (exporters.LagReport, error) {
	out := exporters.LagReport{Project: w.deps.Project, Interval: w.cfg.Interval, Window: w.cfg.Window}
	for _, c := range w.clusters {
		c.mu.Lock()
		out.Clusters = append(out.Clusters, c.report)
		c.mu.Unlock()
		last := &out.Clusters[len(out.Clusters)-1]
		last.Groups = slices.Clone(last.Groups) // what lies below is made anew each round and never changed
	}
	return out, nil
}

// round asks one cluster once and keeps what it tells.
func (w *Watcher) round(ctx context.Context, c *cluster, now time.Time) {
	asking, cancel := context.WithTimeout(ctx, w.cfg.Timeout)
	defer cancel()
	began := time.Now()
	s, err := c.ask(asking, now)
	if err == nil {
		err = c.learn(asking, s)
	}
	if ctx.Err() != nil {
		return // we are to end
	}
	if err == nil {
		err = s.trouble
	}
	w.metrics.took.WithLabelValues(c.name).Observe(time.Since(began).Seconds())
	result := "ok"
	if err != nil {
		result = "failed"
	}
	w.metrics.rounds.WithLabelValues(c.name, result).Inc()
	c.tell(now, err)
	if s != nil && w.deps.Store != nil {
		w.store(ctx, c, now)
	}
}

// tell notes and logs whether the cluster answers: once when that changes.
func (c *cluster) tell(now time.Time, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err == nil:
		if c.failing {
			c.log.Info("lagwatch: the cluster answers again", "cluster", c.name)
		}
		c.report.Error, c.report.FailedSince = "", time.Time{}
	case !c.failing:
		c.log.Warn("lagwatch: the cluster does not answer in whole; what it told last stays", "cluster", c.name, "brokers", strings.Join(c.brokers, ","), "err", err)
		c.report.FailedSince = now
		fallthrough
	default:
		c.report.Error = describe(err)
	}
	c.failing = err != nil
}

// maxErrorText bounds what is shown of an error.
const maxErrorText = 500

func describe(err error) string {
	s := strings.ReplaceAll(err.Error(), "\n", "; ")
	if errors.Is(err, context.DeadlineExceeded) {
		s = "no answer in time: " + s
	}
	if len(s) > maxErrorText {
		s = strings.ToValidUTF8(s[:maxErrorText], "") + "…"
	}
	return s
}

// learn puts a round's answers into the windows and judges them.
func (c *cluster) learn(ctx context.Context, s *seen) error {
	now := s.at.UnixNano()
	for at, l := range s.logs {
		if c.logs[at] == nil {
			c.logs[at] = &logClock{}
		}
		c.logs[at].add(now, l.end)
	}
	c.place(s)
	err := c.dateUnread(ctx, s)

	c.mu.Lock()
	before := c.report.Groups
	c.mu.Unlock()
	groups := make([]exporters.LagGroup, 0, len(s.groups))
	for name, g := range s.groups {
		if g.err != nil && len(g.committed) == 0 {
			if i := indexGroup(before, name); i >= 0 {
				old := before[i]
				old.Error = describe(g.err)
				groups = append(groups, old)
			} else {
				groups = append(groups, exporters.LagGroup{Group: name, KafkaState: g.kafkaState, Members: g.members, Error: describe(g.err)})
			}
			continue
		}
		groups = append(groups, c.group(s, name, g))
	}
	if !s.whole { // those of a broker that is away stay, with their age
		for _, old := range before {
			if s.groups[old.Group] == nil {
				old.Error = "its broker does not answer"
				groups = append(groups, old)
			}
		}
	}
	slices.SortFunc(groups, func(a, b exporters.LagGroup) int { return strings.Compare(a.Group, b.Group) })
	c.forget(now, groups)
	c.mu.Lock()
	c.report.Groups, c.report.Asked, c.report.LeftOut = groups, s.at, s.leftOut
	c.mu.Unlock()
	return err
}

func indexGroup(groups []exporters.LagGroup, name string) int {
	return slices.IndexFunc(groups, func(g exporters.LagGroup) bool { return g.Group == name })
}

// place gives partitions without a committed offset one to count from: the end of
// the log when the group was first seen to have them.
func (c *cluster) place(s *seen) {
	for name, g := range s.groups {
		g.uncommitted = map[place]bool{}
		for at, committed := range g.committed {
			if committed != schemas.Unknown {
				continue
			}
			l, ok := s.logs[at]
			if !ok {
				continue
			}
			g.uncommitted[at] = true
			g.committed[at] = l.end
			if t := c.tracks[name][at]; t != nil && t.from > 0 && t.from-1 <= l.end {
				g.committed[at] = t.from - 1
			}
		}
	}
}

// dateUnread finds the time of what is unread where the marks do not tell: of one
// record a log, those first of which nothing is known.
func (c *cluster) dateUnread(ctx context.Context, s *seen) error {
	now := s.at.UnixNano()
	todo := map[place]*search{}
	for _, g := range s.groups {
		for at, committed := range g.committed {
			l, ok := s.logs[at]
			from := max(committed, l.start)
			if !ok || from >= l.end {
				continue
			}
			log := c.logs[at]
			when, sure := log.date(from, now, c.cfg.Interval)
			// Kafka answers one question a partition; another group's is the next round's.
			switch other := todo[at]; {
			case sure, other == nil && len(todo) == maxDated, other != nil && (when != 0 || other.undated):
			default:
				todo[at] = &search{log: log, at: at, offset: from, undated: when == 0, hi: s.at.UnixMilli(), hiEnd: l.end}
			}
		}
	}
	if len(todo) == 0 {
		return nil
	}
	return c.date(ctx, s.at, slices.Collect(maps.Values(todo)))
}

// group judges all partitions of one group.
func (c *cluster) group(s *seen, name string, g *groupSeen) exporters.LagGroup {
	out := exporters.LagGroup{Group: name, KafkaState: g.kafkaState, Members: g.members, Asked: s.at}
	if g.err != nil {
		out.Error = describe(g.err)
	}
	tracks := c.tracks[name]
	if tracks == nil {
		tracks = map[place]*track{}
		c.tracks[name] = tracks
	}
	byTopic := map[string]*exporters.LagTopic{}
	now := s.at.UnixNano()
	for at, committed := range g.committed {
		l, ok := s.logs[at]
		if !ok {
			continue
		}
		t := tracks[at]
		if t == nil {
			t = &track{}
			tracks[at] = t
		}
		log := c.logs[at]
		from := max(committed, l.start)
		o, owned := g.owners[at]
		x := sample{at: now, start: l.start, end: l.end, committed: committed, held: owned || g.members != 0 && !g.settled}
		if from < l.end {
			x.behind = exporters.LagUnknown
			if when, _ := log.date(from, now, c.cfg.Interval); when > 0 {
				x.behind = max(time.Duration(now-when), 0)
			}
		}
		t.add(x, c.cfg.Window)
		t.from = 0
		if g.uncommitted[at] {
			t.from = committed + 1
		}
		if owned {
			t.owned = now
		}
		k := c.keptOf(at.topic)
		p := exporters.LagPartition{Partition: at.partition, Uncommitted: g.uncommitted[at], Owner: o.client, OwnerHost: o.host}
		t.judge(&p, facts{
			interval: c.cfg.Interval, window: c.cfg.Window, members: g.members, owned: owned, settled: g.settled && g.members > 0,
			retention: k.retention, retentionBytes: k.bytes, size: c.sizes[at],
		})
		topic := byTopic[at.topic]
		if topic == nil {
			topic = &exporters.LagTopic{Topic: at.topic, Retention: k.retention, RetentionBytes: k.bytes}
			byTopic[at.topic] = topic
		}
		topic.Partitions = append(topic.Partitions, p)
	}
	for at, t := range tracks {
		if _, ok := g.committed[at]; !ok && !t.waits(now) {
			delete(tracks, at) // it expired, or was deleted
		}
	}
	for _, t := range byTopic {
		slices.SortFunc(t.Partitions, func(a, b exporters.LagPartition) int { return int(a.Partition - b.Partition) })
		out.Topics = append(out.Topics, *t)
	}
	slices.SortFunc(out.Topics, func(a, b exporters.LagTopic) int { return strings.Compare(a.Topic, b.Topic) })
	return out
}

func (c *cluster) keptOf(topic string) kept {
	if k, ok := c.kept[topic]; ok {
		return k
	}
	return kept{exporters.LagUnknown, schemas.Unknown}
}

// forget drops what no group is about any more.
func (c *cluster) forget(now int64, groups []exporters.LagGroup) {
	used := map[place]struct{}{}
	for _, g := range groups {
		for _, t := range g.Topics {
			for _, p := range t.Partitions {
				used[place{t.Topic, p.Partition}] = struct{}{}
			}
		}
	}
	for at := range c.logs {
		if _, ok := used[at]; !ok {
			delete(c.logs, at)
		}
	}
	for name, tracks := range c.tracks {
		if indexGroup(groups, name) >= 0 {
			continue
		}
		maps.DeleteFunc(tracks, func(_ place, t *track) bool { return !t.waits(now) })
		if len(tracks) == 0 {
			delete(c.tracks, name)
		}
	}
}
