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
	"strconv"
	"strings"

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
		behind: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "hoptrace_monitors_clock_behind_seconds", Help: "How far the clock that misses are judged by is behind the time of day: what is not read yet holds it.",
		}),
	}
	var errs []error
	for _, c := range []prometheus.Collector{m.checkIns, m.incidents, m.behind} {
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
	metrics *Metrics
	log     *slog.Logger
	doc     document.Document
}

// New makes the handler.
func New(store exporters.MonitorKeeper, m *Metrics, log *slog.Logger) *CheckIns {
	return &CheckIns{store: store, metrics: m, log: log}
}

// Assigned has nothing to ask: the store knows what it has applied.
func (c *CheckIns) Assigned(context.Context, []consume.Partition) error { return nil }

// Revoked has nothing to forget.
func (c *CheckIns) Revoked(context.Context, []consume.Partition) {}

// Handle applies the check-ins of a batch.
func (c *CheckIns) Handle(ctx context.Context, batch []consume.Record) (dead []consume.DeadLetter, err error) {
	defer c.doc.Reset()
	updates := make([]exporters.CheckInUpdate, 0, len(batch))
	progress := make(map[schemas.Source]exporters.Progress)
	for i := range batch {
		r := &batch[i]
		source := persist.Source(r.Topic, r.TopicID, r.Partition)
		// Also of what is parked: it must not hold the clock.
		progress[source] = exporters.Progress{Source: source, Offset: r.Offset, Time: r.Timestamp.UnixNano()}
		u, err := c.read(r)
		if err != nil {
			c.metrics.checkIns.WithLabelValues("parked").Inc()
			c.log.Debug("check-in refused", "topic", r.Topic, "partition", r.Partition, "offset", r.Offset, "error", err)
			dead = append(dead, consume.DeadLetter{Record: r, Reason: "undecodable: " + err.Error()})
			continue
		}
		u.Source, u.Offset = source, r.Offset
		updates = append(updates, u)
	}
	list := make([]exporters.Progress, 0, len(progress))
	for _, p := range progress {
		list = append(list, p)
	}
	refusals, err := c.store.ApplyCheckIns(ctx, updates, list)
	if err != nil {
		return nil, err
	}
	for i, refusal := range refusals {
		if refusal == nil {
			c.metrics.checkIns.WithLabelValues("applied").Inc()
			continue
		}
		c.metrics.checkIns.WithLabelValues(refusal.Error()).Inc()
		o := schemas.OutcomeInvalid
		if errors.Is(refusal, exporters.ErrMonitorDisabled) {
			o = schemas.OutcomeFiltered
		}
		ledger.Drop(ctx, updates[i].Source, updates[i].Offset, o, refusal.Error(), 1)
	}
	return dead, nil
}

// read makes an update of a record.
func (c *CheckIns) read(r *consume.Record) (u exporters.CheckInUpdate, err error) {
	fail := func(format string, args ...any) (exporters.CheckInUpdate, error) {
		return u, fmt.Errorf("%s: payload: "+format, append([]any{topics.IngestMonitors}, args...)...)
	}
	if schema, ok := r.Header(schemas.HeaderSchema); ok && string(schema) != schemas.SchemaIngestMonitors {
		return u, fmt.Errorf("schema is %.64q, this stage reads %q", schema, schemas.SchemaIngestMonitors)
	}
	var m wire.CheckIn
	if err := m.DecodeMsgpack(r.Value); err != nil {
		return u, err
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
	if n := root.Get("monitor_config"); n.Is('{') {
		config, err := configOf(n)
		if err != nil {
			return fail("monitor_config: %w", err)
		}
		u.Config = &config
	}
	return u, nil
}

// configOf reads how an SDK writes a configuration.
func configOf(n *document.Node) (schemas.MonitorConfig, error) {
	schedule := n.Get("schedule")
	c := schemas.MonitorConfig{ScheduleType: strings.Clone(text(schedule, "type")), Timezone: strings.Clone(text(n, "timezone"))}
	value := schedule.Get("value").Scalar()
	if c.ScheduleType == "interval" {
		c.Every, _ = strconv.ParseInt(value, 10, 64) // what is none is refused as 0
		c.Unit = strings.TrimSuffix(strings.Clone(text(schedule, "unit")), "s")
	} else {
		c.Crontab = strings.Clone(value)
	}
	for _, f := range []struct {
		key string
		to  *int64
	}{
		{"checkin_margin", &c.CheckInMargin}, {"max_runtime", &c.MaxRuntime}, {"failure_issue_threshold", &c.FailureThreshold}, {"recovery_threshold", &c.RecoveryThreshold},
	} {
		if v, err := strconv.ParseFloat(n.Get(f.key).Scalar(), 64); err == nil && v > -1e9 && v < 1e9 {
			*f.to = int64(v)
		}
	}
	c = monitor.WithDefaults(c)
	_, err := monitor.Parse(c)
	return c, err
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
