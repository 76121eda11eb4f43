// Package keeper keeps issues: what time, counts and deletions do to them, the
// messages that tell others of their changes, and that an error which a program told
// of twice is one event. Of all processes of the pipeline one does it, by a lease in
// the metadata. It sees no event come in (see package persist) and answers nobody
// (see package api).
package keeper

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/internal/issuestate"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/schemas/topics"
)

const (
	leaseName = "issues"
	// step is how many rows one question is about.
	step = 500
	day  = 24 * time.Hour
	// forecastFor is how long a forecast is used; its ceilings reach further, so
	// that a job which stands still a week has one to go by.
	forecastFor = 7 * day
	week        = 7 * 24 // hours
)

// Config says how often.
type Config struct {
	// Every is how often timers and counts are looked at; Soon is the same for
	// messages and deletions. Zero or less means a minute and two seconds.
	Every, Soon time.Duration
	// Twins is how often errors are looked for that are stored twice. Zero or less
	// means ten seconds.
	Twins time.Duration
}

// Producer is what Keeper sends by.
type Producer interface {
	ProduceSync(ctx context.Context, rs ...*kgo.Record) error
}

// Deps are the stores and the bus.
type Deps struct {
	Issues   exporters.IssueKeeper
	Events   exporters.IssueEventReader
	Twins    exporters.TwinKeeper
	Ledger   exporters.LedgerWriter
	Producer Producer
}

// Keeper is the job. Its methods are safe for use by many goroutines.
type Keeper struct {
	cfg     Config
	deps    Deps
	log     *slog.Logger
	holder  string
	now     func() time.Time
	metrics *metrics
	twins   twinTimes // of the job's goroutine

	mu     sync.Mutex // guards the following
	cancel context.CancelFunc
	done   chan struct{}
}

type metrics struct {
	leader  prometheus.Gauge
	changed *prometheus.CounterVec
	sent    prometheus.Counter
	removed prometheus.Counter
	twins   prometheus.Counter
	failed  prometheus.Counter
}

// New makes the job and registers its metrics (hoptrace_issues_…).
func New(cfg Config, deps Deps, reg prometheus.Registerer, log *slog.Logger) (*Keeper, error) {
	if deps.Issues == nil || deps.Events == nil || deps.Twins == nil || deps.Ledger == nil || deps.Producer == nil {
		return nil, errors.New("cannot make the keeper of issues: it needs issues, events, their twins, the ledger and a producer")
	}
	if cfg.Every <= 0 {
		cfg.Every = time.Minute
	}
	if cfg.Soon <= 0 {
		cfg.Soon = 2 * time.Second
	}
	if cfg.Twins <= 0 {
		cfg.Twins = 10 * time.Second
	}
	m := &metrics{
		leader:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "hoptrace_issues_leader", Help: "1 while this process keeps the issues."}),
		changed: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "hoptrace_issues_changed_total", Help: "Issues that time or counts changed, by cause."}, []string{"cause"}),
		sent:    prometheus.NewCounter(prometheus.CounterOpts{Name: "hoptrace_issues_replacements_sent_total", Help: "Messages sent to the topic event-replacements."}),
		removed: prometheus.NewCounter(prometheus.CounterOpts{Name: "hoptrace_issues_hashes_removed_total", Help: "Hashes whose deleted events were removed."}),
		twins:   prometheus.NewCounter(prometheus.CounterOpts{Name: "hoptrace_issues_twins_removed_total", Help: "Errors of OpenTelemetry removed because a Sentry SDK's event of the same error came later."}),
		failed:  prometheus.NewCounter(prometheus.CounterOpts{Name: "hoptrace_issues_rounds_failed_total", Help: "Rounds of the job that failed and are tried again."}),
	}
	for _, c := range []prometheus.Collector{m.leader, m.changed, m.sent, m.removed, m.twins, m.failed} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("cannot register the metrics of issues: %w", err)
		}
	}
	return &Keeper{cfg: cfg, deps: deps, log: log, holder: rand.Text(), now: time.Now, metrics: m}, nil
}

// Name is the component's name.
func (k *Keeper) Name() string { return "issues" }

// Start begins to keep the issues.
func (k *Keeper) Start(context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.cancel != nil {
		return errors.New("cannot start the keeper of issues: it was started before")
	}
	ctx, cancel := context.WithCancel(context.Background())
	k.cancel, k.done = cancel, make(chan struct{})
	go k.run(ctx, k.done)
	return nil
}

// Shutdown stops and gives the lease back. It is safe twice and without Start.
func (k *Keeper) Shutdown(ctx context.Context) error {
	k.mu.Lock()
	cancel, done := k.cancel, k.done
	k.mu.Unlock()
	if cancel == nil {
		return nil
	}
	cancel()
	select {
	case <-done:
	case <-ctx.Done():
		return fmt.Errorf("the keeper of issues does not stop: %w", ctx.Err())
	}
	return nil
}

func (k *Keeper) run(ctx context.Context, done chan struct{}) {
	defer close(done)
	tick := time.NewTicker(k.cfg.Soon)
	defer tick.Stop()
	var next time.Time
	for {
		if err := k.round(ctx, &next); err != nil && ctx.Err() == nil {
			k.metrics.failed.Inc()
			k.log.Warn("cannot keep the issues; it is tried again", "err", err)
		}
		select {
		case <-ctx.Done():
			k.giveBack()
			return
		case <-tick.C:
		}
	}
}

// giveBack lets another process begin at once.
func (k *Keeper) giveBack() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_, _ = k.deps.Issues.Lease(ctx, leaseName, k.holder, -time.Second) // it ends by itself
	k.metrics.leader.Set(0)
}

// lease is how long a process that died is waited for.
func (k *Keeper) lease() time.Duration { return max(3*k.cfg.Soon, 15*time.Second) }

// holds asks for the lease, and prolongs it.
func (k *Keeper) holds(ctx context.Context) (bool, error) {
	held, err := k.deps.Issues.Lease(ctx, leaseName, k.holder, k.lease())
	if err != nil || !held {
		k.metrics.leader.Set(0)
		return false, err
	}
	k.metrics.leader.Set(1)
	return true, nil
}

// round does what is due, if this process is the one to do it. next is when
// timers and counts are.
func (k *Keeper) round(ctx context.Context, next *time.Time) error {
	if held, err := k.holds(ctx); err != nil || !held {
		return err
	}
	if err := k.send(ctx); err != nil {
		return err
	}
	if err := k.remove(ctx); err != nil {
		return err
	}
	now := k.now()
	// Twins come last: that may take longer than the lease, and two may do it at once.
	return errors.Join(k.look(ctx, now, next), k.removeTwins(ctx, now))
}

// look looks at timers and counts when they are due.
func (k *Keeper) look(ctx context.Context, now time.Time, next *time.Time) error {
	if now.Before(*next) {
		return nil
	}
	if err := k.age(ctx, now); err != nil {
		return err
	}
	if err := k.wake(ctx, now); err != nil {
		return err
	}
	*next = now.Add(k.cfg.Every)
	return nil
}

// send puts what happened to issues on the topic, in order; it is removed when it
// is out, so a crash between the two sends it again.
func (k *Keeper) send(ctx context.Context) error {
	for {
		batch, err := k.deps.Issues.Replacements(ctx, step)
		if err != nil || len(batch) == 0 {
			return err
		}
		records, ids := make([]*kgo.Record, len(batch)), make([]int64, len(batch))
		for i, r := range batch {
			project := fmt.Sprint(r.Project)
			records[i] = &kgo.Record{Topic: topics.EventReplacements, Key: []byte(project), Value: r.Value, Headers: []kgo.RecordHeader{
				{Key: schemas.HeaderProject, Value: []byte(project)}, {Key: schemas.HeaderSchema, Value: []byte(schemas.SchemaEventReplacements)},
			}}
			ids[i] = r.ID
		}
		if err := k.deps.Producer.ProduceSync(ctx, records...); err != nil {
			return fmt.Errorf("cannot send %d event replacements: %w", len(batch), err)
		}
		if err := k.deps.Issues.ReplacementsSent(ctx, ids); err != nil {
			return err
		}
		k.metrics.sent.Add(float64(len(batch)))
		if held, err := k.holds(ctx); err != nil || !held || len(batch) < step {
			return err
		}
	}
}

// remove deletes the rows of events that were hidden when they were deleted. A
// round removes one batch: a deletion rewrites parts of the table.
func (k *Keeper) remove(ctx context.Context) error {
	deleted, err := k.deps.Issues.DeletedHashes(ctx, step)
	if err != nil || len(deleted) == 0 {
		return err
	}
	if err := k.deps.Events.RemoveEvents(ctx, deleted); err != nil {
		return err
	}
	if err := k.deps.Issues.HashesRemoved(ctx, deleted); err != nil {
		return err
	}
	k.metrics.removed.Add(float64(len(deleted)))
	return nil
}

func (k *Keeper) age(ctx context.Context, now time.Time) error {
	for {
		n, err := k.deps.Issues.AgeIssues(ctx, now, step)
		if err != nil {
			return err
		}
		k.metrics.changed.WithLabelValues("time").Add(float64(n))
		if n < step {
			return nil
		}
		if held, err := k.holds(ctx); err != nil || !held {
			return err
		}
	}
}

// wake counts the events of archived issues. One that cannot be counted is told
// and passed over.
func (k *Keeper) wake(ctx context.Context, now time.Time) error {
	var failed []error
	for after := schemas.IssueID(0); ; {
		if held, err := k.holds(ctx); err != nil || !held {
			return errors.Join(append(failed, err)...)
		}
		asleep, err := k.deps.Issues.SleepingIssues(ctx, after, step)
		if err != nil {
			return errors.Join(append(failed, err)...)
		}
		for i := range asleep {
			after = asleep[i].ID
			if err := k.count(ctx, asleep[i], now); err != nil {
				if ctx.Err() != nil || errors.Is(err, exporters.ErrUnavailable) {
					return errors.Join(append(failed, err)...)
				}
				failed = append(failed, fmt.Errorf("issue %d: %w", asleep[i].ID, err))
			}
		}
		if len(asleep) < step {
			return errors.Join(failed[:min(len(failed), 10)]...)
		}
	}
}

func (k *Keeper) count(ctx context.Context, s exporters.SleepingIssue, now time.Time) error {
	set := exporters.EventSet{Issue: s.ID, Hashes: s.Hashes}
	a := s.State.Archive
	var n, ceiling uint64
	switch {
	case a.Kind == schemas.UntilEscalating:
		today := now.UTC().Truncate(day)
		f, err := k.forecast(ctx, s, set, today)
		if err != nil {
			return err
		}
		d := int(today.Sub(time.Unix(0, f.First)) / day)
		if d < 0 || d >= len(f.Ceilings) {
			return nil // of another calendar; the next forecast is of this one
		}
		ceiling = f.Ceilings[d]
		// Of the day of archiving what came before it does not count.
		from := time.Unix(0, max(today.UnixNano(), a.At))
		stats, err := k.deps.Events.StatsOf(ctx, s.Project, []exporters.EventSet{set}, exporters.EventFilter{Range: exporters.Range{From: from, To: now.Add(time.Nanosecond)}})
		if err != nil {
			return err
		}
		n = stats[s.ID].Events
	case a.Window > 0:
		var err error
		if n, err = k.deps.Events.MostWithin(ctx, s.Project, set, time.Unix(0, a.At), time.Duration(a.Window), a.Kind == schemas.UntilUsers); err != nil {
			return err
		}
	default:
		stats, err := k.deps.Events.StatsOf(ctx, s.Project, []exporters.EventSet{set}, exporters.EventFilter{Range: exporters.Range{From: time.Unix(0, a.At), To: now.Add(time.Nanosecond)}})
		if err != nil {
			return err
		}
		if n = stats[s.ID].Events; a.Kind == schemas.UntilUsers {
			n = stats[s.ID].Users
		}
	}
	woken, err := k.deps.Issues.CountIssue(ctx, s, n, ceiling, now)
	if woken {
		k.metrics.changed.WithLabelValues(a.Kind).Inc()
		k.log.Info("issue woke", "project", s.Project, "issue", uint64(s.ID), "archived_until", a.Kind, "count", n, "forecast", ceiling)
	}
	return err
}

// forecast gives the issue's ceilings, made anew each week.
func (k *Keeper) forecast(ctx context.Context, s exporters.SleepingIssue, set exporters.EventSet, today time.Time) (exporters.IssueForecast, error) {
	first := time.Unix(0, s.Forecast.First)
	if len(s.Forecast.Ceilings) > 0 && !today.Before(first) && today.Sub(first) < forecastFor {
		return s.Forecast, nil
	}
	begin := today.Add(-week * time.Hour)
	counts, err := k.deps.Events.HourlyOf(ctx, s.Project, []exporters.EventSet{set}, begin, week)
	if err != nil {
		return exporters.IssueForecast{}, err
	}
	hours := counts[s.ID]
	if seen := time.Unix(0, s.FirstSeen); seen.After(begin) {
		// Before it was there it was not silent.
		known := int(max(today.Sub(seen)+time.Hour-1, 0) / time.Hour)
		hours = hours[len(hours)-min(known, len(hours)):]
		if known == 0 {
			// It came up today: the hours until it was archived are all there is.
			if hours, err = k.hoursUntil(ctx, s, set, today); err != nil {
				return exporters.IssueForecast{}, err
			}
		}
	}
	ceilings := issuestate.Forecast(hours, today)
	f := exporters.IssueForecast{First: today.UnixNano(), Ceilings: ceilings[:]}
	return f, k.deps.Issues.KeepForecast(ctx, s.ID, f)
}

// hoursUntil counts the events of each hour of today before the issue was archived.
// What came after that is held against the forecast, and no part of it.
func (k *Keeper) hoursUntil(ctx context.Context, s exporters.SleepingIssue, set exporters.EventSet, today time.Time) ([]uint64, error) {
	archived := time.Unix(0, s.State.Archive.At).UTC()
	whole := max(int(archived.Sub(today)/time.Hour), 0) // hours
	var hours []uint64
	if whole > 0 {
		counts, err := k.deps.Events.HourlyOf(ctx, s.Project, []exporters.EventSet{set}, today, min(whole, 24))
		if err != nil {
			return nil, err
		}
		hours = counts[s.ID]
	}
	rest := exporters.Range{From: today.Add(time.Duration(whole) * time.Hour), To: archived}
	if !rest.From.Before(rest.To) {
		return hours, nil
	}
	stats, err := k.deps.Events.StatsOf(ctx, s.Project, []exporters.EventSet{set}, exporters.EventFilter{Range: rest})
	if err != nil {
		return nil, err
	}
	return append(hours, stats[s.ID].Events), nil
}
