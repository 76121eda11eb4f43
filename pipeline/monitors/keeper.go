package monitors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/pipeline/process"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/schemas/topics"
	"github.com/hoptrace/hoptrace/schemas/wire"
)

const (
	// grace is how long a check-in may be on its way from the collector to the topic.
	grace = 10 * time.Second
	// atOnce bounds one step, so that check-ins get their turn between two.
	atOnce = 100
	// leaseName is one for all processes: one of them keeps the clock.
	leaseName = "monitors"
)

// Ends are where a partition begins and ends, and what names it in the store.
type Ends struct {
	Source     schemas.Source
	Start, End int64 // the first offset, and the one after the last
}

// Topic tells where the partitions of topic ingest-monitors end.
type Topic interface {
	Ends(ctx context.Context) ([]Ends, error)
}

// Teller makes events of what went wrong. [process.Processor] is one.
type Teller interface {
	Process(ctx context.Context, in []process.Incoming) ([]process.Refusal, error)
}

// KeeperDeps are what a Keeper works with. Ledger may be nil.
type KeeperDeps struct {
	Store  exporters.MonitorKeeper
	Topic  Topic
	Tell   Teller
	Ledger exporters.LedgerWriter
}

// Keeper marks runs that were missed or timed out, by a clock that what is not read
// yet holds back, and makes issues of jobs that fail. One process at a time does.
type Keeper struct {
	deps    KeeperDeps
	every   time.Duration
	holder  string
	metrics *Metrics
	log     *slog.Logger

	mu     sync.Mutex // guards the following
	cancel context.CancelFunc
	done   chan struct{}
}

// NewKeeper makes a keeper that looks as often as every; zero means 10 s.
func NewKeeper(deps KeeperDeps, every time.Duration, m *Metrics, log *slog.Logger) *Keeper {
	if every <= 0 {
		every = 10 * time.Second
	}
	return &Keeper{deps: deps, every: every, holder: strconv.FormatUint(rand.Uint64(), 36), metrics: m, log: log}
}

// Start begins to look, until Shutdown.
func (k *Keeper) Start() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.cancel != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	k.cancel, k.done = cancel, make(chan struct{})
	go k.run(ctx, k.done)
}

// Shutdown stops and waits. It is safe twice and without Start.
func (k *Keeper) Shutdown(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.cancel == nil {
		return nil
	}
	k.cancel()
	select {
	case <-k.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("the keeper of monitors did not stop: %w", ctx.Err())
	}
}

func (k *Keeper) run(ctx context.Context, done chan struct{}) {
	defer close(done)
	every := time.NewTicker(k.every)
	defer every.Stop()
	for {
		if err := k.step(ctx); err != nil && ctx.Err() == nil {
			k.log.Warn("cannot look after monitors; trying again", "in", k.every, "error", err)
		}
		select {
		case <-ctx.Done():
			release, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			_, _ = k.deps.Store.Lease(release, leaseName, k.holder, -time.Second) // it ends by itself
			cancel()
			return
		case <-every.C:
		}
	}
}

// step does what is to be done now.
func (k *Keeper) step(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, max(3*k.every, 30*time.Second))
	defer cancel()
	held, err := k.deps.Store.Lease(ctx, leaseName, k.holder, 4*k.every)
	if err != nil || !held {
		return err
	}
	clock, err := k.clock(ctx, time.Now())
	if err != nil {
		return err
	}
	for more := clock > 0; more; {
		if more, err = k.deps.Store.AdvanceMonitors(ctx, clock, atOnce); err != nil {
			return err
		}
		if more {
			if held, err = k.deps.Store.Lease(ctx, leaseName, k.holder, 4*k.every); err != nil || !held {
				return err
			}
		}
	}
	return k.tell(ctx)
}

// clock is the time up to which all check-ins are applied, Unix ns: now, less what
// one may take to come, where a partition is read to its end, else the time of the
// last record that was applied of it. Zero when that of one is not known.
func (k *Keeper) clock(ctx context.Context, now time.Time) (int64, error) {
	// What was on the topic at now lies before these ends; how far it is applied is
	// asked after them.
	ends, err := k.deps.Topic.Ends(ctx)
	if err != nil {
		return 0, err
	}
	progress, err := k.deps.Store.CheckInProgress(ctx)
	if err != nil {
		return 0, err
	}
	clock := now.Add(-grace).UnixNano()
	for _, e := range ends {
		p, known := progress[e.Source]
		if e.Start >= e.End || known && p.Offset+1 >= e.End {
			continue
		}
		if !known {
			p.Time = 0
		}
		clock = min(clock, p.Time)
	}
	k.metrics.behind.Set(now.Sub(time.Unix(0, clock)).Seconds())
	return clock, nil
}

// incidentSource names incidents where others name a partition.
const incidentSource = schemas.Source(0x6d6f6e69746f7273)

// tell makes the issues of jobs that fail, and resolves those of jobs that recovered, in
// the order in which they did. What is over is resolved before the next failure
// is told, so that this one is a regression.
func (k *Keeper) tell(ctx context.Context) error {
	for {
		for {
			n, err := k.deps.Store.ResolveIncidents(ctx, time.Now(), atOnce)
			k.metrics.recovered.Add(float64(n))
			if err != nil {
				return err
			}
			if n < atOnce {
				break
			}
		}
		list, err := k.deps.Store.UntoldIncidents(ctx, atOnce)
		if err != nil || len(list) == 0 {
			return err
		}
		if err := k.makeIssues(ctx, list); err != nil {
			return err
		}
	}
}

// makeIssues makes them, and notes that they are made. A crash between the two makes the
// same event again, which changes nothing.
func (k *Keeper) makeIssues(ctx context.Context, list []exporters.MonitorIncident) (err error) {
	in := make([]process.Incoming, len(list))
	tallies := make([]schemas.Tally, len(list))
	hashes := make([]schemas.Fingerprint, len(list))
	for i := range list {
		if in[i], err = incoming(&list[i]); err != nil {
			return err
		}
		in[i].Seen = func(s exporters.Seen) { hashes[i] = s.Hash }
		tallies[i] = schemas.Tally{
			Project: in[i].ProjectID, Time: in[i].Received, Category: in[i].Category, Outcome: schemas.OutcomeAccepted, Quantity: 1,
			Source: in[i].Ingest, Position: schemas.Position{Offset: in[i].Offset},
		}
	}
	if k.deps.Ledger != nil { // nobody else accepted them
		if err := k.deps.Ledger.WriteTallies(ctx, tallies); err != nil {
			return fmt.Errorf("cannot count the events of %d incidents: %w", len(list), err)
		}
	}
	refusals, err := k.deps.Tell.Process(ctx, in)
	if err != nil {
		return fmt.Errorf("cannot make the issues of %d incidents: %w", len(list), err)
	}
	for _, r := range refusals {
		k.log.Error("no issue could be made of a job that fails", "monitor", list[r.Index].Slug, "error", r.Err)
	}
	for i := range list {
		if err := k.deps.Store.IncidentTold(ctx, list[i].ID, in[i].ID, hashes[i]); err != nil {
			return err
		}
		k.metrics.incidents.Inc()
	}
	return nil
}

// failures are how a run that failed is put in words.
var failures = map[schemas.CheckInStatus]string{
	schemas.CheckInError: "the run failed", schemas.CheckInMissed: "the run did not begin in time", schemas.CheckInTimeout: "the run took too long",
}

// incoming is the event of an incident: the same whenever it is made. Its
// fingerprint is the job and the environment, so that a job has one issue in each.
func incoming(i *exporters.MonitorIncident) (process.Incoming, error) {
	id := idOf(uint64(incidentSource), uint64(i.ID)) //nolint:gosec // its bits are all that counts
	// When it was known: an issue that was resolved while the job ran comes back.
	known := max(i.Opened, i.CheckIn.Updated)
	trace := map[string]any{}
	if !i.CheckIn.Trace.IsZero() {
		trace["trace_id"] = i.CheckIn.Trace.String()
		trace["span_id"] = i.CheckIn.ID.String()[:16]
	}
	event := map[string]any{
		"event_id": id.String(), "level": "error", "platform": "other", "logger": "monitors",
		"timestamp":   time.Unix(0, known).UTC().Format(time.RFC3339Nano),
		"message":     fmt.Sprintf("Monitor failure: %s (%s): %s", i.Name, i.Environment, failures[i.CheckIn.Status]),
		"environment": i.Environment, "fingerprint": []string{"monitor", i.Slug, i.Environment},
		"tags": map[string]string{"monitor.slug": i.Slug, "monitor.status": string(i.CheckIn.Status), "monitor.incident": strconv.FormatInt(i.ID, 10)},
		"contexts": map[string]any{"monitor": map[string]any{
			"slug": i.Slug, "name": i.Name, "status": i.CheckIn.Status, "check_in_id": i.CheckIn.ID.String(), "failures": i.Failures,
		}},
	}
	if i.CheckIn.Release != "" {
		event["release"] = i.CheckIn.Release
	}
	if len(trace) > 0 {
		event["contexts"].(map[string]any)["trace"] = trace
	}
	payload, err := json.Marshal(event)
	if err != nil {
		return process.Incoming{}, errors.Join(fmt.Errorf("cannot write the event of incident %d", i.ID), err)
	}
	return process.Incoming{
		IngestEvent: wire.IngestEvent{Type: "event", Payload: payload, EventID: id.String(), ProjectID: i.Project, StartTime: known / int64(time.Second)},
		ID:          id, Received: known, Weight: 1, Category: schemas.CategoryError, IssueCategory: exporters.MonitorIssues,
		Topic: topics.IngestMonitors, Ingest: incidentSource, Offset: i.ID,
	}, nil
}
