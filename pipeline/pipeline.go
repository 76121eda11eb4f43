// Package pipeline is what lies behind the ingest topics: each stage reads one
// topic as a group and makes what it read durable in the stores before it
// commits. The stages are one table; what a stage does is in the packages below
// this one. It opens no store and serves nothing.
package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/internal/kafka"
	"github.com/hoptrace/hoptrace/pipeline/consume"
	"github.com/hoptrace/hoptrace/pipeline/hops"
	"github.com/hoptrace/hoptrace/pipeline/ingest"
	"github.com/hoptrace/hoptrace/pipeline/ledger"
	"github.com/hoptrace/hoptrace/pipeline/monitors"
	"github.com/hoptrace/hoptrace/pipeline/normalize"
	"github.com/hoptrace/hoptrace/pipeline/persist"
	"github.com/hoptrace/hoptrace/pipeline/postprocess"
	"github.com/hoptrace/hoptrace/pipeline/process"
	"github.com/hoptrace/hoptrace/pipeline/symbolicate"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/schemas/topics"
)

// Stage is one line of the table.
type Stage struct {
	Name  string // in logs, metrics and dead letters
	Topic string // what it reads
	DLQ   string // where records go that it can never take
	Group string // the consumer group that it is
	Does  string // for people
}

// Stages is the table, in the order of the line. Spans and metrics go to their
// stores in one step; events pass a topic in between, which others may read
// (docs/adr/0008).
var Stages = []Stage{
	{
		Name: persist.StageSpans, Topic: topics.IngestSpans, DLQ: topics.IngestSpansDLQ, Group: "hoptrace-persist-spans",
		Does: "ingest → normalize → hops → span store",
	},
	{
		Name: process.StageEvents, Topic: topics.IngestEvents, DLQ: topics.IngestEventsDLQ, Group: "hoptrace-process-events",
		Does: "normalize → symbolicate → group → node store, issues, topic events",
	},
	{
		Name: persist.StageEvents, Topic: topics.Events, DLQ: topics.EventsDLQ, Group: "hoptrace-persist-events",
		Does: "event store → postprocess",
	},
	{
		Name: persist.StagePoints, Topic: topics.IngestMetrics, DLQ: topics.IngestMetricsDLQ, Group: "hoptrace-persist-metrics",
		Does: "ingest → normalize → metric store",
	},
	{
		Name: persist.StageTransactions, Topic: topics.IngestTransactions, DLQ: topics.IngestTransactionsDLQ, Group: "hoptrace-persist-transactions",
		Does: "ingest → normalize → hops → span store",
	},
	{
		Name: persist.StageLogs, Topic: topics.IngestLogs, DLQ: topics.IngestLogsDLQ, Group: "hoptrace-persist-logs",
		Does: "ingest → normalize → log store",
	},
	{
		Name: persist.StageOutcomes, Topic: topics.Outcomes, DLQ: topics.OutcomesDLQ, Group: "hoptrace-persist-outcomes",
		Does: "ledger",
	},
	{
		Name: persist.StageAttachments, Topic: topics.IngestAttachments, DLQ: topics.IngestAttachmentsDLQ, Group: "hoptrace-process-attachments",
		Does: "chunks → blobs, file store; user reports → feedback; events as " + process.StageEvents,
	},
	{
		Name: persist.StageProfiles, Topic: topics.Profiles, DLQ: topics.ProfilesDLQ, Group: "hoptrace-persist-profiles",
		Does: "items → blobs, file store",
	},
	{
		Name: persist.StageReplays, Topic: topics.IngestReplayEvents, DLQ: topics.IngestReplayEventsDLQ, Group: "hoptrace-persist-replay-events",
		Does: "items → blobs, file store",
	},
	{
		Name: persist.StageReplays, Topic: topics.IngestReplayRecordings, DLQ: topics.IngestReplayRecordingsDLQ, Group: "hoptrace-persist-replay-recordings",
		Does: "items → blobs, file store",
	},
	{
		Name: persist.StageFeedback, Topic: topics.IngestFeedbackEvents, DLQ: topics.IngestFeedbackEventsDLQ, Group: "hoptrace-persist-feedback",
		Does: "decode → feedback",
	},
	{
		Name: persist.StageSessions, Topic: topics.IngestSessions, DLQ: topics.IngestSessionsDLQ, Group: "hoptrace-persist-sessions",
		Does: "decode → session store",
	},
	{
		Name: monitors.Stage, Topic: topics.IngestMonitors, DLQ: topics.IngestMonitorsDLQ, Group: "hoptrace-persist-monitors",
		Does: "decode → monitors; missed and timed-out runs → issues",
	},
	{
		Name: hops.StageClocks, Topic: topics.ClockSamples, DLQ: topics.ClockSamplesDLQ, Group: "hoptrace-hops-clocks",
		Does: "decode → intervals of clocks",
	},
}

// tallied are the topics whose items the ledger counts, and as what those count that
// do not tell.
var tallied = map[string]ledger.Config{
	topics.IngestSpans:        {Final: true, Category: schemas.CategorySpan},
	topics.IngestTransactions: {Final: true, Category: schemas.CategoryTransaction},
	topics.IngestEvents:       {Category: schemas.CategoryError}, // go on to topic events
	topics.Events:             {Final: true, Category: schemas.CategoryError},
	topics.IngestMetrics:      {Final: true, Category: schemas.CategoryTraceMetric, Bytes: schemas.CategoryTraceMetricByte},
	topics.IngestLogs:         {Final: true, Category: schemas.CategoryLogItem, Bytes: schemas.CategoryLogByte},
	topics.Profiles:           {Final: true, Category: schemas.CategoryProfile},
	topics.IngestReplayEvents: {Final: true, Category: schemas.CategoryReplay},

	topics.IngestReplayRecordings: {Final: true, Category: schemas.CategoryReplay},
	topics.IngestSessions:         {Final: true, Category: schemas.CategorySession},
	topics.IngestMonitors:         {Final: true, Category: schemas.CategoryMonitor},
	topics.IngestFeedbackEvents:   {Final: true, Category: schemas.CategoryFeedback},
	// Its events go on, and its handler tells what else is stored.
	topics.IngestAttachments: {Told: true, Category: schemas.CategoryAttachment},
}

// eventFetchBytes bounds a fetch of events: they are ten times as large as they come.
const eventFetchBytes = 4 << 20

// Config is what a person sets.
type Config struct {
	Kafka kafka.Config

	// A batch of spans ends at the first of these. Stores want 20,000 to
	// 50,000 rows at once; BatchWait is what that may cost in time, and runs
	// from the batch's first record.
	BatchSpans int
	BatchBytes int
	BatchWait  time.Duration

	// The same for events, which cost far more each and come far more rarely.
	BatchEvents    int
	EventBatchWait time.Duration

	// BatchRows is how many events are stored at once, and RowBatchWait how long they
	// are gathered: what a store's insert costs hardly depends on how many rows it has
	// (57 CPU-ms for 250 events, 82 for 1,000: BenchmarkInsertEvents).
	BatchRows    int
	RowBatchWait time.Duration

	// And for metric points, which come in bursts: clients send every few seconds.
	BatchPoints     int
	MetricBatchWait time.Duration

	// HandleTimeout bounds one try of a batch. The stores' own timeouts should
	// be shorter.
	HandleTimeout time.Duration

	// SessionTimeout is how long the partitions of a killed process rest.
	SessionTimeout time.Duration

	// AcceptGaps goes on where records were deleted before they were read.
	// Otherwise such a partition stands still, and says so.
	AcceptGaps bool

	// RetentionDays is for how long the store keeps rows, as other readers of topic
	// events are told. What is older when it comes is treated as too old, as by
	// Normalize.MaxAge: it would be counted as stored and could never be read. Zero:
	// readers are not told, and nothing is too old for the store.
	RetentionDays int

	Normalize normalize.Config
	Limits    ingest.Limits
}

// DefaultConfig needs Kafka's brokers only.
func DefaultConfig() Config {
	c := consume.DefaultConfig()
	return Config{
		Kafka:      c.Kafka,
		BatchSpans: persist.DefaultWriteRows, BatchBytes: c.MaxBatchBytes, BatchWait: c.MaxBatchWait,
		BatchEvents: 500, EventBatchWait: 100 * time.Millisecond, BatchRows: 5000, RowBatchWait: 600 * time.Millisecond,
		BatchPoints: persist.DefaultWritePoints, MetricBatchWait: c.MaxBatchWait,
		HandleTimeout: c.HandleTimeout, SessionTimeout: c.SessionTimeout,
		Normalize: normalize.DefaultConfig(), Limits: ingest.DefaultLimits(),
	}
}

// normalize is c.Normalize, with nothing taken that the store deletes at once.
func (c Config) normalize() normalize.Config {
	n := c.Normalize
	if kept := time.Duration(c.RetentionDays) * 24 * time.Hour; kept > 0 && (n.MaxAge == 0 || n.MaxAge > kept) {
		n.MaxAge = kept
	}
	return n
}

// Validate names every fault of c at once.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("pipeline."+format, args...)) }
	if c.BatchSpans < 1 || c.BatchEvents < 1 || c.BatchRows < 1 || c.BatchPoints < 1 {
		bad("batch_spans, batch_events, batch_rows and batch_points are %d, %d, %d and %d; all must be positive", c.BatchSpans, c.BatchEvents, c.BatchRows, c.BatchPoints)
	}
	if c.BatchBytes < 1 {
		bad("batch_bytes is %d; it must be positive", c.BatchBytes)
	}
	if c.Normalize.MaxAge < 0 || c.Normalize.MaxFuture < 0 {
		bad("normalize: max_age and max_future are %v and %v; neither may be negative", c.Normalize.MaxAge, c.Normalize.MaxFuture)
	}
	for _, w := range []struct {
		name string
		wait time.Duration
	}{{"batch_wait", c.BatchWait}, {"event_batch_wait", c.EventBatchWait}, {"row_batch_wait", c.RowBatchWait}, {"metric_batch_wait", c.MetricBatchWait}} {
		if w.wait <= 0 || w.wait > time.Minute {
			bad("%s is %v; it must be above 0 and at most a minute", w.name, w.wait)
		}
	}
	if c.HandleTimeout <= 0 {
		bad("handle_timeout is %v; it must be positive", c.HandleTimeout)
	}
	if c.SessionTimeout < 6*time.Second || c.SessionTimeout > 5*time.Minute {
		bad("session_timeout is %v; it must be from 6s to 5m", c.SessionTimeout)
	}
	if err := c.Kafka.Validate(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Deps are the stores. One value may be several of them.
type Deps struct {
	Spans   exporters.SpanWriter
	Events  exporters.EventWriter
	Metrics exporters.MetricWriter
	Logs    exporters.LogWriter
	Ledger  exporters.LedgerWriter
	Issues  exporters.IssueSighter
	Nodes   exporters.Nodes

	// What is kept beside events. Nil leaves out the stages that need it: their
	// records stay on the topic.
	Files    exporters.FileWriter
	Blobs    exporters.Blobs
	Feedback exporters.FeedbackWriter
	Sessions exporters.SessionWriter
	Monitors exporters.MonitorKeeper
	Clocks   exporters.ClockWriter

	// Grouper groups events; nil means by the default rules.
	Grouper process.Grouper
	// Frames finds the source of frames; nil means that nobody does.
	Frames symbolicate.Frames
	// Stored finds the events that repeats repeat; nil means only those that this
	// process saw.
	Stored process.Finder
	// Hooks are told of stored events, in order.
	Hooks []postprocess.Hook

	// Kafka is what the clients count with; nil means that nobody counts.
	Kafka *kafka.Metrics
}

// has tells whether there is what the stage of a topic needs.
func (d *Deps) has(topic string) bool {
	switch topic {
	case topics.IngestAttachments:
		return d.Files != nil && d.Blobs != nil && d.Feedback != nil
	case topics.Profiles, topics.IngestReplayEvents, topics.IngestReplayRecordings:
		return d.Files != nil && d.Blobs != nil
	case topics.IngestFeedbackEvents:
		return d.Feedback != nil
	case topics.IngestSessions:
		return d.Sessions != nil
	case topics.IngestMonitors:
		return d.Monitors != nil
	case topics.ClockSamples:
		return d.Clocks != nil
	}
	return true
}

// Pipeline runs the stages of [Stages] in this process. Another process with
// the same brokers shares their partitions.
type Pipeline struct {
	cfg     Config
	kafka   *kafka.Metrics
	handOn  *handOn
	loops   []*consume.Loop
	metrics *consume.Metrics
	pingers []pinger
	log     *slog.Logger

	// monitors is nil when there is no store of them.
	monitors *monitors.Keeper
	ends     *checkInEnds

	mu      sync.Mutex // guards the following
	started bool
	stopped bool
}

type pinger struct {
	name string
	exporters.Pinger
}

// New makes the pipeline without starting it. The error names every fault of
// cfg and deps. The topics must exist before Start.
func New(cfg Config, deps Deps, reg prometheus.Registerer, log *slog.Logger) (*Pipeline, error) {
	errs := []error{cfg.Validate()}
	p := &Pipeline{cfg: cfg, kafka: deps.Kafka, handOn: &handOn{}, log: log}
	for _, d := range []struct {
		name  string
		store any
		unset bool
	}{
		{"spans", deps.Spans, deps.Spans == nil},
		{"events", deps.Events, deps.Events == nil},
		{"metrics", deps.Metrics, deps.Metrics == nil},
		{"logs", deps.Logs, deps.Logs == nil},
		{"the ledger", deps.Ledger, deps.Ledger == nil},
		{"issues", deps.Issues, deps.Issues == nil},
		{"payloads", deps.Nodes, deps.Nodes == nil},
	} {
		if d.unset {
			errs = append(errs, fmt.Errorf("pipeline: there is no store for %s", d.name))
		}
		if ping, ok := d.store.(exporters.Pinger); ok {
			p.pingers = append(p.pingers, pinger{d.name, ping})
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	cfg.Normalize = cfg.normalize()
	metrics, err := persist.NewMetrics(reg)
	if err != nil {
		return nil, err
	}
	processMetrics, err := process.NewMetrics(reg)
	if err != nil {
		return nil, err
	}
	loopMetrics, err := consume.NewMetrics(reg, deps.Kafka)
	if err != nil {
		return nil, err
	}
	p.metrics = loopMetrics
	clockMetrics, err := hops.NewClockMetrics(reg)
	if err != nil {
		return nil, err
	}
	sink := errorSink{p.handOn}
	processor := func(log *slog.Logger) *process.Processor {
		return process.New(process.Config{Normalize: cfg.Normalize, RetentionDays: cfg.RetentionDays}, process.Deps{
			Nodes: deps.Nodes, Issues: deps.Issues, Grouper: deps.Grouper, Frames: deps.Frames, Finder: deps.Stored, Producer: p.handOn,
		}, processMetrics, log)
	}
	events := func(log *slog.Logger) consume.Handler { return process.NewEvents(processor(log)) }
	for _, stage := range Stages {
		if !deps.has(stage.Topic) {
			continue
		}
		c := consume.DefaultConfig()
		c.Kafka, c.AcceptGaps = cfg.Kafka, cfg.AcceptGaps
		c.Stage, c.Topic, c.Group, c.DLQ = stage.Name, stage.Topic, stage.Group, stage.DLQ
		c.MaxBatchBytes, c.HandleTimeout, c.SessionTimeout = cfg.BatchBytes, cfg.HandleTimeout, cfg.SessionTimeout
		dlq, err := topics.Get(stage.DLQ)
		if err != nil {
			return nil, err
		}
		c.DLQMaxBytes = dlq.MaxMessageBytes
		stageLog := log.With("stage", stage.Name)
		var handler consume.Handler
		switch stage.Topic {
		case topics.IngestSpans, topics.IngestTransactions:
			c.MaxBatchItems, c.MaxBatchWait = cfg.BatchSpans, cfg.BatchWait
			handler = persist.NewSpans(deps.Spans, sink, cfg.Normalize, cfg.Limits, cfg.BatchSpans, metrics, stageLog)
		case topics.IngestEvents:
			c.MaxBatchItems, c.MaxBatchWait, c.FetchMaxBytes = cfg.BatchEvents, cfg.EventBatchWait, eventFetchBytes
			handler = events(stageLog)
		case topics.Events:
			c.MaxBatchItems, c.MaxBatchWait, c.FetchMaxBytes = cfg.BatchRows, cfg.RowBatchWait, eventFetchBytes
			handler = persist.NewEvents(deps.Events, deps.Hooks, cfg.Normalize, metrics, stageLog)
		case topics.IngestMetrics:
			c.MaxBatchItems, c.MaxBatchWait = cfg.BatchPoints, cfg.MetricBatchWait
			var clocks *hops.Clocks
			if deps.Clocks != nil {
				clocks = hops.NewClocks(deps.Clocks, clockMetrics, stageLog)
			}
			handler = persist.NewPoints(deps.Metrics, clocks, cfg.Normalize, cfg.Limits, cfg.BatchPoints, metrics, stageLog)
		case topics.IngestLogs:
			c.MaxBatchItems, c.MaxBatchWait = persist.DefaultWriteLogs, cfg.BatchWait
			handler = persist.NewLogs(deps.Logs, sink, cfg.Normalize, cfg.Limits, persist.DefaultWriteLogs, metrics, stageLog)
		case topics.Outcomes:
			c.MaxBatchItems, c.MaxBatchWait = cfg.BatchRows, cfg.BatchWait
			handler = persist.NewOutcomes(deps.Ledger, metrics, stageLog)
		case topics.IngestAttachments:
			c.MaxBatchItems, c.MaxBatchWait, c.FetchMaxBytes = cfg.BatchEvents, cfg.EventBatchWait, eventFetchBytes
			handler = persist.NewAttachments(deps.Files, deps.Blobs, deps.Feedback, events(stageLog), metrics, stageLog)
		case topics.Profiles:
			c.MaxBatchItems, c.MaxBatchWait = cfg.BatchEvents, cfg.BatchWait
			handler = persist.NewProfiles(deps.Files, deps.Blobs, metrics, stageLog)
		case topics.IngestReplayEvents, topics.IngestReplayRecordings:
			c.MaxBatchItems, c.MaxBatchWait = cfg.BatchEvents, cfg.BatchWait
			handler = persist.NewReplays(deps.Files, deps.Blobs, metrics, stageLog)
		case topics.IngestFeedbackEvents:
			c.MaxBatchItems, c.MaxBatchWait, c.FetchMaxBytes = cfg.BatchEvents, cfg.EventBatchWait, eventFetchBytes
			handler = persist.NewFeedback(deps.Feedback, metrics, stageLog)
		case topics.IngestSessions:
			c.MaxBatchItems, c.MaxBatchWait = cfg.BatchRows, cfg.BatchWait
			handler = persist.NewSessions(deps.Sessions, metrics, stageLog)
		case topics.IngestMonitors:
			monitorMetrics, err := monitors.NewMetrics(reg)
			if err != nil {
				return nil, err
			}
			c.MaxBatchItems, c.MaxBatchWait = cfg.BatchEvents, cfg.EventBatchWait
			handler = monitors.New(deps.Monitors, deps.Ledger, monitorMetrics, stageLog)
			p.ends = &checkInEnds{}
			p.monitors = monitors.NewKeeper(monitors.KeeperDeps{Store: deps.Monitors, Topic: p.ends, Tell: processor(stageLog), Ledger: deps.Ledger}, 0, monitorMetrics, stageLog)
		case topics.ClockSamples:
			c.MaxBatchItems, c.MaxBatchWait = cfg.BatchRows, cfg.MetricBatchWait
			handler = hops.NewClocks(deps.Clocks, clockMetrics, stageLog)
		default:
			return nil, fmt.Errorf("stage %s reads topic %q, for which there is no handler", stage.Name, stage.Topic)
		}
		if tally, is := tallied[stage.Topic]; is {
			tally.Source = persist.Source
			handler = ledger.Around(handler, tally, deps.Ledger)
		}
		loop, err := consume.New(c, handler, log, loopMetrics)
		if err != nil {
			return nil, err
		}
		p.loops = append(p.loops, loop)
	}
	return p, nil
}

// Name is the component's name.
func (p *Pipeline) Name() string { return "pipeline" }

// Start joins the groups and begins to read. When a stage cannot start those
// before it are stopped again.
func (p *Pipeline) Start(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.started || p.stopped {
		return errors.New("cannot start the pipeline: it was started before; make a new one")
	}
	p.started = true
	if err := p.handOn.open(p.cfg.Kafka, p.kafka, p.log); err != nil {
		p.stopped = true
		return err
	}
	for _, loop := range p.loops {
		if err := loop.Start(ctx); err != nil {
			p.stopped = true
			return errors.Join(err, p.shutdown(context.WithoutCancel(ctx)))
		}
	}
	if p.monitors != nil {
		if err := p.ends.open(p.cfg.Kafka, p.kafka, p.log); err != nil {
			p.stopped = true
			return errors.Join(err, p.shutdown(context.WithoutCancel(ctx)))
		}
		p.monitors.Start()
	}
	return nil
}

// Shutdown stores and commits what was read, leaves the groups and waits. It is
// safe twice and without Start.
func (p *Pipeline) Shutdown(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = true
	return p.shutdown(ctx)
}

// shutdown stops all stages at once: they share no data, and one that waits for
// its store must not take the others' time.
func (p *Pipeline) shutdown(ctx context.Context) error {
	errs := make([]error, len(p.loops)+2) // theirs, the monitors' and the producer's
	var wg sync.WaitGroup
	for i, loop := range p.loops {
		wg.Go(func() { errs[i] = loop.Shutdown(ctx) })
	}
	if p.monitors != nil { // it hands on, too
		errs[len(p.loops)] = p.monitors.Shutdown(ctx)
		p.ends.close()
	}
	wg.Wait()
	errs[len(p.loops)+1] = p.handOn.close(ctx)
	return errors.Join(errs...)
}

// handOn is the producer that stages hand records on with, from Start to Shutdown.
type handOn struct {
	mu       sync.Mutex // guards the following
	producer *kafka.Producer
}

func (h *handOn) open(cfg kafka.Config, m *kafka.Metrics, log *slog.Logger) error {
	topic, err := topics.Get(topics.Events)
	if err != nil {
		return err
	}
	pc := kafka.DefaultProducerConfig()
	pc.MaxMessageBytes, pc.MaxBufferedBytes, pc.Linger = topic.MaxMessageBytes, 128<<20, 0
	producer, err := kafka.NewProducer(cfg, pc, log, m)
	if err != nil {
		return fmt.Errorf("cannot open the producer of topic %q: %w", topics.Events, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.producer = producer
	return nil
}

func (h *handOn) close(ctx context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.producer == nil {
		return nil
	}
	producer := h.producer
	h.producer = nil
	return producer.Close(ctx)
}

// ProduceSync implements [process.Producer].
func (h *handOn) ProduceSync(ctx context.Context, records ...*kgo.Record) error {
	h.mu.Lock()
	producer := h.producer
	h.mu.Unlock()
	if producer == nil {
		return errors.New("the pipeline does not run")
	}
	return producer.ProduceSync(ctx, records...)
}

// Ready tells whether the stages run and their stores answer.
func (p *Pipeline) Ready(ctx context.Context) error {
	p.mu.Lock()
	running := p.started && !p.stopped
	p.mu.Unlock()
	if !running {
		return errors.New("the pipeline does not run")
	}
	var errs []error
	for _, s := range p.pingers {
		if err := s.Ping(ctx); err != nil {
			errs = append(errs, fmt.Errorf("the store of %s does not answer: %w", s.name, err))
		}
	}
	return errors.Join(errs...)
}

// Failures gives what each stage last failed by, newest first.
func (p *Pipeline) Failures() []consume.Failure { return p.metrics.Failures() }

// Gaps gives the stretches of the topics that were deleted before they were
// read. One that is not accepted is a partition that stands still.
func (p *Pipeline) Gaps() []consume.Gap {
	var out []consume.Gap
	for _, loop := range p.loops {
		out = append(out, loop.Gaps()...)
	}
	return out
}
