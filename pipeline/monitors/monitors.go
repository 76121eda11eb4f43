// Package monitors is the stage behind topic ingest-monitors: it reads check-ins of
// jobs and applies them, and its keeper marks the runs that were missed or took too
// long, and makes issues of jobs that fail. What a check-in does is the store's
// ([exporters.MonitorKeeper]).
package monitors

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/internal/monitor"
	"github.com/hoptrace/hoptrace/pipeline/consume"
	"github.com/hoptrace/hoptrace/pipeline/document"
	"github.com/hoptrace/hoptrace/pipeline/ledger"
	"github.com/hoptrace/hoptrace/pipeline/persist"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/schemas/topics"
	"github.com/hoptrace/hoptrace/schemas/wire"
)

// Stage is the stage's name in metrics and logs.
const Stage = "persist-monitors"

// maxEnvironment bounds the bytes of an environment's name.
const maxEnvironment = 64

// Metrics are the stage's figures, named hoptrace_monitors_*.
type Metrics struct {
	checkIns  *prometheus.CounterVec // by what became of them
	incidents prometheus.Counter
	recovered prometheus.Counter
	configs   prometheus.Counter
	behind    prometheus.Gauge
}

// NewMetrics registers the figures with reg.
func NewMetrics(reg prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		checkIns: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "hoptrace_monitors_check_ins_total", Help: "Check-ins of jobs by what became of them; those that are read again count again.",
		}, []string{"outcome"}),
		incidents: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "hoptrace_monitors_incidents_total", Help: "Jobs that failed as often as makes an issue.",
		}),
		recovered: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "hoptrace_monitors_recoveries_total", Help: "Incidents that are over and whose issue was seen to: resolved, or left as a person had it.",
		}),
		configs: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "hoptrace_monitors_invalid_configs_total", Help: "Check-ins whose monitor_config is wrong and was left out.",
		}),
		behind: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "hoptrace_monitors_clock_behind_seconds", Help: "How far the clock that misses are judged by is behind the time of day: what is not read yet holds it.",
		}),
	}
	var errs []error
	for _, c := range []prometheus.Collector{m.checkIns, m.incidents, m.recovered, m.configs, m.behind} {
		if err := reg.Register(c); err != nil {
			errs = append(errs, fmt.Errorf("cannot register a metric of the monitors: %w", err))
		}
	}
	return m, errors.Join(errs...)
}

// CheckIns is the handler behind topic ingest-monitors. Its methods are called by one
// goroutine at a time.
type CheckIns struct {
	store   exporters.MonitorKeeper
	ledger  exporters.LedgerWriter // nil: nobody counts
	metrics *Metrics
	log     *slog.Logger
	doc     document.Document
	warned  map[job]time.Time // of a bad configuration
	now     func() time.Time
}

// job names a monitor.
type job struct {
	project uint64
	slug    string
}

const (
	// ReasonConfig is why a check-in is invalid that would have made its monitor.
	ReasonConfig = "invalid_monitor_config"
	// warnEvery is how often a configuration that is wrong is told of, and maxWarned of
	// how many jobs that is remembered.
	warnEvery = time.Hour
	maxWarned = 1000
)

// New makes the handler.
func New(store exporters.MonitorKeeper, l exporters.LedgerWriter, m *Metrics, log *slog.Logger) *CheckIns {
	return &CheckIns{store: store, ledger: l, metrics: m, log: log, warned: make(map[job]time.Time), now: time.Now}
}

// Assigned has nothing to ask: the store knows what it has applied.
func (c *CheckIns) Assigned(context.Context, []consume.Partition) error { return nil }

// Revoked has nothing to forget.
func (c *CheckIns) Revoked(context.Context, []consume.Partition) {}

// Handle applies the check-ins of a batch.
func (c *CheckIns) Handle(ctx context.Context, batch []consume.Record) (dead []consume.DeadLetter, err error) {
	defer c.doc.Reset()
	updates := make([]exporters.CheckInUpdate, 0, len(batch))
	faults := make(map[int]error) // of configurations, by the update
	progress := make(map[schemas.Source]exporters.Progress)
	for i := range batch {
		r := &batch[i]
		source := persist.Source(r.Topic, r.TopicID, r.Partition)
		// Also of what is parked: it must not hold the clock.
		progress[source] = exporters.Progress{Source: source, Offset: r.Offset, Time: r.Timestamp.UnixNano()}
		u, fault, err := c.read(r)
		if err != nil {
			c.metrics.checkIns.WithLabelValues("parked").Inc()
			c.log.Debug("check-in refused", "topic", r.Topic, "partition", r.Partition, "offset", r.Offset, "error", err)
			dead = append(dead, consume.DeadLetter{Record: r, Reason: "undecodable: " + err.Error()})
			continue
		}
		u.Source, u.Offset = source, r.Offset
		if u.BadConfig = fault != nil; u.BadConfig {
			faults[len(updates)] = fault
		}
		updates = append(updates, u)
	}
	list := make([]exporters.Progress, 0, len(progress))
	for _, p := range progress {
		list = append(list, p)
	}
	refusals, revived, err := c.store.ApplyCheckIns(ctx, updates, list)
	if err != nil {
		return nil, err
	}
	if err := c.revive(ctx, revived); err != nil {
		return nil, err
	}
	for i, refusal := range refusals {
		reason := ""
		if refusal != nil {
			reason = refusal.Error()
		}
		if fault := faults[i]; fault != nil {
			if errors.Is(refusal, exporters.ErrNoMonitor) {
				reason = ReasonConfig
			}
			c.warn(&updates[i], refusal == nil, fault)
		}
		if refusal == nil {
			c.metrics.checkIns.WithLabelValues("applied").Inc()
			continue
		}
		c.metrics.checkIns.WithLabelValues(reason).Inc()
		o := schemas.OutcomeInvalid
		if errors.Is(refusal, exporters.ErrMonitorDisabled) {
			o = schemas.OutcomeFiltered
		}
		ledger.Drop(ctx, updates[i].Source, updates[i].Offset, o, reason, 1)
	}
	return dead, nil
}

// Places of a revived check-in's lines among those of its record.
const (
	noLonger = 1<<17 + iota // invalid, less one
	kept                    // stored, one more
)

// revive counts check-ins that were left out and are applied now, since the one that
// makes their monitor came behind them.
func (c *CheckIns) revive(ctx context.Context, revived []exporters.CheckInUpdate) error {
	if len(revived) == 0 {
		return nil
	}
	c.metrics.checkIns.WithLabelValues("revived").Add(float64(len(revived)))
	if c.ledger == nil {
		return nil
	}
	lines := make([]schemas.Tally, 0, 2*len(revived))
	for i := range revived {
		u := &revived[i]
		line := schemas.Tally{Project: u.Project, Time: u.Received, Category: schemas.CategoryMonitor, Source: u.Source, Position: schemas.Position{Offset: u.Offset, Index: noLonger}}
		reason := exporters.ErrNoMonitor.Error()
		if u.BadConfig {
			reason = ReasonConfig
		}
		line.Outcome, line.Reason, line.Quantity = schemas.OutcomeInvalid, schemas.PipelineReason+reason, -1
		lines = append(lines, line)
		line.Position.Index, line.Outcome, line.Reason, line.Quantity = kept, schemas.OutcomeStored, "", 1
		lines = append(lines, line)
	}
	if err := c.ledger.WriteTallies(ctx, lines); err != nil {
		return fmt.Errorf("cannot count %d check-ins that found their monitor: %w", len(revived), err)
	}
	return nil
}

// warn tells of a configuration that is left out, of each monitor once in a while.
func (c *CheckIns) warn(u *exporters.CheckInUpdate, applied bool, fault error) {
	c.metrics.configs.Inc()
	k, now := job{u.Project, u.Slug}, c.now()
	if last, is := c.warned[k]; is && now.Sub(last) < warnEvery {
		return
	}
	if len(c.warned) >= maxWarned {
		clear(c.warned)
	}
	c.warned[k] = now
	what := "check-ins of no monitor are dropped: their monitor_config, which would make it, is wrong"
	if applied {
		what = "check-ins are applied without their monitor_config, which is wrong"
	}
	c.log.Warn(what, "project", u.Project, "monitor", u.Slug, "error", fault)
}

// read makes an update of a record. fault is what is wrong with the configuration that
// it tells, which is left out then.
func (c *CheckIns) read(r *consume.Record) (u exporters.CheckInUpdate, fault, err error) {
	fail := func(format string, args ...any) (exporters.CheckInUpdate, error, error) {
		return u, nil, fmt.Errorf("%s: payload: "+format, append([]any{topics.IngestMonitors}, args...)...)
	}
	if schema, ok := r.Header(schemas.HeaderSchema); ok && string(schema) != schemas.SchemaIngestMonitors {
		return u, nil, fmt.Errorf("schema is %.64q, this stage reads %q", schema, schemas.SchemaIngestMonitors)
	}
	var m wire.CheckIn
	if err := m.DecodeMsgpack(r.Value); err != nil {
		return u, nil, err
	}
	root, err := c.doc.Parse(m.Payload)
	if err != nil {
		return fail("%w", err)
	}
	u = exporters.CheckInUpdate{Project: m.ProjectID, Received: number(r, schemas.HeaderReceived), Duration: -1, NewID: newID(r)}
	if u.Received <= 0 {
		u.Received = r.Timestamp.UnixNano()
	}
	name := text(root, "monitor_slug")
	if u.Slug = monitor.Slug(name); u.Slug == "" {
		return fail("monitor_slug: want letters, digits, hyphens and underscores, got %.80q", name)
	}
	if id := strings.ReplaceAll(text(root, "check_in_id"), "-", ""); id != "" {
		if len(id) != 32 {
			return fail("check_in_id: want a UUID, got %.80q", id)
		}
		if _, err := hex.Decode(u.ID[:], []byte(id)); err != nil {
			return fail("check_in_id: want a UUID, got %.80q", id)
		}
	}
	switch u.Status = schemas.CheckInStatus(text(root, "status")); u.Status {
	case schemas.CheckInOK, schemas.CheckInError, schemas.CheckInInProgress:
	default:
		return fail("status: want ok, error or in_progress, got %.80q", u.Status)
	}
	if seconds, err := strconv.ParseFloat(root.Get("duration").Scalar(), 64); err == nil && seconds >= 0 && seconds < 1e9 {
		u.Duration = int64(seconds * 1e9)
	}
	if u.Environment = strings.Clone(text(root, "environment")); u.Environment == "" {
		u.Environment = "production"
	}
	if len(u.Environment) > maxEnvironment {
		return fail("environment: want at most %d bytes, got %d", maxEnvironment, len(u.Environment))
	}
	u.Release = strings.Clone(text(root, "release"))
	if id, err := schemas.ParseTraceID(text(root.Get("contexts").Get("trace"), "trace_id")); err == nil {
		u.Trace = id
	}
	if n := root.Get("monitor_config"); n != nil && !n.Is('n') {
		config, err := configOf(n)
		if err != nil {
			return u, err, nil
		}
		u.Config = &config
	}
	return u, nil, nil
}

// configPaths are where the fields of a configuration stand in a check-in.
var configPaths = map[string]string{
	monitor.FieldType: "schedule.type", monitor.FieldCrontab: "schedule.value", monitor.FieldEvery: "schedule.value", monitor.FieldUnit: "schedule.unit",
	monitor.FieldTimezone: "timezone", monitor.FieldMargin: "checkin_margin", monitor.FieldMaxRuntime: "max_runtime",
	monitor.FieldFailureThreshold: "failure_issue_threshold", monitor.FieldRecoveryThreshold: "recovery_threshold",
}

// configOf reads how an SDK writes a configuration. The error names the path of each fault.
func configOf(n *document.Node) (c schemas.MonitorConfig, err error) {
	if !n.Is('{') {
		return c, errors.New("monitor_config: want an object")
	}
	schedule := n.Get("schedule")
	c = schemas.MonitorConfig{ScheduleType: strings.Clone(text(schedule, "type")), Timezone: strings.Clone(text(n, "timezone"))}
	value := schedule.Get("value").Scalar()
	if c.ScheduleType == "interval" {
		c.Every, _ = strconv.ParseInt(value, 10, 64) // what is none is refused as 0
		c.Unit = strings.TrimSuffix(strings.Clone(text(schedule, "unit")), "s")
	} else {
		c.Crontab = strings.Clone(value)
	}
	var errs []error
	for _, f := range []struct {
		field string
		to    *int64
	}{
		{monitor.FieldMargin, &c.CheckInMargin},
		{monitor.FieldMaxRuntime, &c.MaxRuntime},
		{monitor.FieldFailureThreshold, &c.FailureThreshold},
		{monitor.FieldRecoveryThreshold, &c.RecoveryThreshold},
	} {
		v := n.Get(configPaths[f.field])
		if v == nil || v.Is('n') {
			continue
		}
		number, err := strconv.ParseFloat(v.Scalar(), 64)
		if err != nil || number != math.Trunc(number) || math.Abs(number) > 1e9 {
			errs = append(errs, fmt.Errorf("monitor_config.%s: want a whole number, got %.80q", configPaths[f.field], v.Scalar()))
			continue
		}
		*f.to = int64(number)
	}
	c = monitor.WithDefaults(c)
	if _, err := monitor.Parse(c); err != nil {
		faults, _ := errors.AsType[monitor.FieldErrors](err)
		for _, f := range faults {
			errs = append(errs, fmt.Errorf("monitor_config.%s: %w", configPaths[f.Field], f.Err))
		}
	}
	return c, errors.Join(errs...)
}

func text(n *document.Node, key string) string {
	s, _ := n.Get(key).Text()
	return s
}

func number(r *consume.Record, header string) int64 {
	v, _ := r.Header(header)
	n, err := strconv.ParseInt(string(v), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// newID is for a run that came without an id: the same at each reading.
func newID(r *consume.Record) schemas.EventID {
	return idOf(uint64(persist.Source(r.Topic, r.TopicID, r.Partition)), uint64(r.Offset)) //nolint:gosec // its bits are all that counts
}

func idOf(a, b uint64) (id schemas.EventID) {
	var buf [17]byte
	binary.BigEndian.PutUint64(buf[:], a)
	binary.BigEndian.PutUint64(buf[8:], b)
	binary.BigEndian.PutUint64(id[:], xxhash.Sum64(buf[:16]))
	buf[16] = 1
	binary.BigEndian.PutUint64(id[8:], xxhash.Sum64(buf[:]))
	return id
}
