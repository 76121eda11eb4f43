package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hoptrace/hoptrace/collector/lagwatch"
	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/exporters/blobs"
	"github.com/hoptrace/hoptrace/exporters/clickhouse"
	"github.com/hoptrace/hoptrace/exporters/metadata"
	"github.com/hoptrace/hoptrace/internal/deadletter"
	"github.com/hoptrace/hoptrace/internal/dirlock"
	"github.com/hoptrace/hoptrace/internal/embeddedclickhouse"
	"github.com/hoptrace/hoptrace/internal/embeddedkafka"
	"github.com/hoptrace/hoptrace/internal/kafka"
	"github.com/hoptrace/hoptrace/internal/lifecycle"
	"github.com/hoptrace/hoptrace/internal/selftelemetry"
	"github.com/hoptrace/hoptrace/pipeline"
	"github.com/hoptrace/hoptrace/pipeline/group"
	"github.com/hoptrace/hoptrace/pipeline/keeper"
	"github.com/hoptrace/hoptrace/pipeline/postprocess"
	"github.com/hoptrace/hoptrace/pipeline/process"
	"github.com/hoptrace/hoptrace/pipeline/symbolicate"
	"github.com/hoptrace/hoptrace/schemas/topics"
	"github.com/hoptrace/hoptrace/web"
	"github.com/hoptrace/hoptrace/web/api"
	"github.com/hoptrace/hoptrace/web/sentryapi"
)

// app is one process: its parts are made in the order in which they start,
// since a later one needs what an earlier one opened.
type app struct {
	role      role
	settings  *settings
	log       *slog.Logger
	registry  *prometheus.Registry
	telemetry *selftelemetry.Server

	// brokerFull tells that the embedded broker has no room; nil with another broker.
	brokerFull func() bool
	// spoolHolds tells how many requests wait in this process's spool; nil without one.
	spoolHolds func() int64

	engine   *embeddedclickhouse.Process // nil with a server
	store    *clickhouse.Store
	metadata *metadata.Store
	blobs    *blobs.Store
	nodes    *blobs.Nodes
	metrics  *kafka.Metrics
	lag      *lagwatch.Watcher // nil when no cluster is watched
	reporter *reporter
}

// part is a component made of two functions; either may be nil.
type part struct {
	name  string
	start func(ctx context.Context) error
	stop  func(ctx context.Context) error
}

func (p part) Name() string { return p.name }

func (p part) Start(ctx context.Context) error {
	if p.start == nil {
		return nil
	}
	return p.start(ctx)
}

func (p part) Shutdown(ctx context.Context) error {
	if p.stop == nil {
		return nil
	}
	return p.stop(ctx)
}

// later is a component that is made when it is started, because it needs what
// an earlier one opened.
type later struct {
	name string
	make func(ctx context.Context) (lifecycle.Component, error)
	made lifecycle.Component
}

func (l *later) Name() string { return l.name }

func (l *later) Start(ctx context.Context) (err error) {
	if l.made, err = l.make(ctx); err != nil {
		l.made = nil
		return err
	}
	return l.made.Start(ctx)
}

func (l *later) Shutdown(ctx context.Context) error {
	if l.made == nil {
		return nil
	}
	return l.made.Shutdown(ctx)
}

// Done passes on the end of what was made.
func (l *later) Done() <-chan error {
	if d, ok := l.made.(lifecycle.Doner); ok {
		return d.Done()
	}
	return nil
}

// Ready asks what was made.
func (l *later) Ready(ctx context.Context) error {
	if l.made == nil {
		return errors.New("not started")
	}
	if r, ok := l.made.(interface{ Ready(context.Context) error }); ok {
		return r.Ready(ctx)
	}
	return nil
}

// serve runs a role until ctx ends or a part of it fails.
func serve(ctx context.Context, r role, s *settings, log *slog.Logger) (err error) {
	begun := time.Now()
	if r.broker || r.engine {
		lock, lockErr := dirlock.Take(s.Data)
		if lockErr != nil {
			return fmt.Errorf("cannot use the data directory (--data): %w", lockErr)
		}
		defer func() { err = errors.Join(err, lock.Release()) }()
	}
	a := &app{role: r, settings: s, log: log, registry: selftelemetry.NewRegistry(r.name)}
	a.telemetry = selftelemetry.NewServer(s.Telemetry.Listen, a.registry, log)
	if s.Telemetry.Pprof {
		a.telemetry.EnableProfiles()
	}
	if a.metrics, err = kafka.NewMetrics(a.registry); err != nil {
		return err
	}
	components := []lifecycle.Component{a.telemetry}
	add := func(c lifecycle.Component) {
		components = append(components, c)
		if ready, ok := c.(interface{ Ready(context.Context) error }); ok {
			a.telemetry.AddCheck(selftelemetry.Check{Name: c.Name(), Ready: ready.Ready})
		}
	}
	if r.broker && len(s.Kafka.Brokers) == 0 {
		add(&later{name: "embedded broker", make: a.broker})
	}
	if r.engine && s.ClickHouse.Address == "" {
		add(&later{name: "embedded engine", make: a.clickhouseEngine})
	}
	if r.name == "clickhouse" {
		add(&later{name: "engine listener", make: a.engineListener})
	}
	if r.pipeline || r.web {
		add(storePart{part{"clickhouse", a.openStore, a.closeStore}, a})
		add(part{"blobs", a.openBlobs, a.closeBlobs})
	}
	if r.collector || r.pipeline || r.web {
		add(metadataPart{part{"metadata", a.openMetadata, a.closeMetadata}, a})
		a.reporter = &reporter{a: a, started: begun}
		add(a.reporter)
	}
	if r.collector || r.pipeline {
		add(&topicsPart{a: a})
	}
	if r.pipeline {
		add(&later{name: "pipeline", make: a.pipeline})
		add(&later{name: "issues", make: a.keeper})
		add(&janitor{a: a})
	}
	if r.web {
		add(part{"lag watcher", a.startLag, a.stopLag})
		add(&later{name: "web", make: a.web})
	}
	if r.collector {
		add(&later{name: "clock beacon", make: a.beacon})
	}
	if r.collector { // last to start and first to stop: it accepts only what the others take
		add(&later{name: "collector", make: a.collector})
	}
	add(part{name: "serving", stop: func(context.Context) error { a.telemetry.SetServing(false); return nil }})
	return lifecycle.Run(ctx, log, lifecycle.Options{Ready: func() {
		a.telemetry.SetServing(true)
		attrs := []any{"took", time.Since(begun).Round(time.Millisecond).String(), "telemetry", a.telemetry.Addr()}
		if r.web {
			scheme := "http://"
			if s.Web.TLS.Cert != "" {
				scheme = "https://"
			}
			attrs = append(attrs, "ui", scheme+s.Web.Listen)
		}
		log.Info("ready", attrs...)
	}}, components...)
}

func (a *app) broker(context.Context) (lifecycle.Component, error) {
	cfg := a.settings.EmbeddedKafka
	if cfg.Dir == "" {
		cfg.Dir = filepath.Join(a.settings.Data, "kafka")
	}
	for _, stage := range pipeline.Stages {
		cfg.Holds = append(cfg.Holds, embeddedkafka.Hold{Topic: a.settings.Kafka.Topics.Physical(stage.Topic), Group: stage.Group})
	}
	b, err := embeddedkafka.New(cfg, a.log)
	if err != nil {
		return nil, err
	}
	a.brokerFull = b.Full
	return brokerPart{b, a}, nil
}

// brokerPart tells the others the address once it is known.
type brokerPart struct {
	*embeddedkafka.Broker
	a *app
}

func (b brokerPart) Start(ctx context.Context) error {
	if err := b.Broker.Start(ctx); err != nil {
		return err
	}
	b.a.settings.Kafka.Brokers = []string{b.Addr()}
	return nil
}

func (a *app) clickhouseEngine(context.Context) (lifecycle.Component, error) {
	cfg := embeddedclickhouse.DefaultConfig()
	cfg.Dir = filepath.Join(a.settings.Data, "clickhouse")
	cfg.Library = a.settings.EmbeddedClickHouse.Library
	cfg.MemoryLimit = int64(a.settings.EmbeddedClickHouse.MemoryLimit)
	if a.role.name == "clickhouse" {
		cfg.Password = a.settings.ClickHouse.Password
	}
	p, err := embeddedclickhouse.New(cfg, a.log)
	if err != nil {
		return nil, err
	}
	restarts := prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "hoptrace_engine_restarts_total", Help: "How often the embedded engine's process was started again.",
	}, func() float64 { return float64(p.Restarts()) })
	if err := a.registry.Register(restarts); err != nil {
		return nil, fmt.Errorf("cannot register the engine's metrics: %w", err)
	}
	a.engine = p
	return enginePart{p}, nil
}

// enginePart names the engine for logs and /readyz.
type enginePart struct{ *embeddedclickhouse.Process }

func (enginePart) Name() string { return "embedded engine" }

// Start waits for the first answer, so that what comes after finds an engine.
func (e enginePart) Start(ctx context.Context) error {
	if err := e.Process.Start(ctx); err != nil {
		return err
	}
	return e.Ready(ctx)
}

func (a *app) openStore(ctx context.Context) (err error) {
	cfg := clickhouse.DefaultConfig()
	cfg.Address, cfg.User, cfg.Password = a.settings.ClickHouse.Address, a.settings.ClickHouse.User, a.settings.ClickHouse.Password
	cfg.Database, cfg.RetentionDays = a.settings.ClickHouse.Database, a.settings.ClickHouse.RetentionDays
	if a.engine != nil {
		cfg.Dial, cfg.User, cfg.Password = a.engine.Dial, embeddedclickhouse.User, a.engine.Password()
	}
	if a.store, err = clickhouse.New(cfg, a.log); err != nil {
		return err
	}
	return a.store.Migrate(ctx)
}

func (a *app) closeStore(context.Context) error {
	if a.store == nil {
		return nil
	}
	return a.store.Close()
}

// storePart and metadataPart are parts that /readyz asks.
type storePart struct {
	part
	a *app
}

func (p storePart) Ready(ctx context.Context) error { return p.a.store.Ping(ctx) }

type metadataPart struct {
	part
	a *app
}

func (p metadataPart) Ready(ctx context.Context) error { return p.a.metadata.Ping(ctx) }

func (a *app) openMetadata(ctx context.Context) (err error) {
	if a.metadata, err = metadata.Open(ctx, a.settings.metadataDSN()); err != nil {
		return err
	}
	_, err = a.metadata.EnsureProject(ctx, a.settings.Collector.DefaultProject, "Default")
	return err
}

func (a *app) closeMetadata(context.Context) error {
	if a.metadata == nil {
		return nil
	}
	return a.metadata.Close()
}

func (a *app) openBlobs(context.Context) (err error) {
	cfg := blobs.DefaultConfig()
	cfg.Dir = a.settings.blobsDir()
	if a.blobs, err = blobs.Open(cfg); err != nil {
		return err
	}
	payloads := blobs.DefaultNodesConfig()
	payloads.Dir = a.settings.nodesDir()
	a.nodes, err = blobs.OpenNodes(payloads)
	return err
}

func (a *app) closeBlobs(context.Context) error {
	var errs []error
	if a.nodes != nil {
		errs = append(errs, a.nodes.Close())
	}
	if a.blobs != nil {
		errs = append(errs, a.blobs.Close())
	}
	return errors.Join(errs...)
}

// kafkaConfig is the clients' of this process.
func (a *app) kafkaConfig() kafka.Config {
	cfg := a.settings.Kafka
	if cfg.ClientID == "" {
		cfg.ClientID = "hoptrace-" + a.role.name
	}
	return cfg
}

func (a *app) ensureTopics(ctx context.Context) error {
	client, err := kafka.NewClient(a.kafkaConfig(), a.log, a.metrics)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := kafka.WaitReady(ctx, client, a.settings.Kafka.Brokers); err != nil {
		return err
	}
	return kafka.NewAdmin(client, a.log).EnsureTopics(ctx, a.settings.Kafka.Topics.Rename(topics.All()))
}

func (a *app) pipeline(context.Context) (lifecycle.Component, error) {
	cfg := pipeline.DefaultConfig()
	cfg.Kafka = a.kafkaConfig()
	cfg.BatchWait, cfg.BatchSpans, cfg.AcceptGaps = a.settings.Pipeline.BatchWait, a.settings.Pipeline.BatchSpans, a.settings.Pipeline.AcceptGaps
	cfg.RetentionDays = a.settings.ClickHouse.RetentionDays
	maps, err := symbolicate.New(symbolicate.Config{CacheBytes: 64 << 20}, a.metadata, a.blobs, a.registry, a.log)
	if err != nil {
		return nil, err
	}
	journal, err := postprocess.NewJournal(a.registry, a.log)
	if err != nil {
		return nil, err
	}
	line, err := pipeline.New(cfg, pipeline.Deps{
		Spans: a.store, Events: a.store, Metrics: a.store, Logs: a.store, Ledger: a.store, Issues: a.metadata, Nodes: a.nodes, Stored: a.store, Frames: maps,
		Grouper: process.GroupBy(process.NewProjectGrouper(a.metadata, a.log).For), Hooks: []postprocess.Hook{journal}, Kafka: a.metrics,
		Files: a.store, Blobs: a.blobs, Feedback: a.metadata, Sessions: a.store, Monitors: a.metadata, Clocks: a.store,
	}, a.registry, a.log)
	if err != nil {
		return nil, err
	}
	a.reporter.watch(line)
	return line, nil
}

// keeperPart closes the producer after the keeper that uses it.
type keeperPart struct {
	*keeper.Keeper
	producer *kafka.Producer
}

func (p keeperPart) Shutdown(ctx context.Context) error {
	return errors.Join(p.Keeper.Shutdown(ctx), p.producer.Close(ctx))
}

func (a *app) keeper(context.Context) (lifecycle.Component, error) {
	producer, err := kafka.NewProducer(a.kafkaConfig(), kafka.DefaultProducerConfig(), a.log, a.metrics)
	if err != nil {
		return nil, err
	}
	k, err := keeper.New(keeper.Config{}, keeper.Deps{Issues: a.metadata, Events: a.store, Twins: a.store, Ledger: a.store, Producer: producer}, a.registry, a.log)
	if err != nil {
		closing, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		return nil, errors.Join(err, producer.Close(closing))
	}
	return keeperPart{k, producer}, nil
}

func (a *app) web(context.Context) (lifecycle.Component, error) {
	cfg := web.DefaultConfig()
	cfg.Listen, cfg.AllowedHosts = a.settings.Web.Listen, a.settings.Web.AllowedHosts
	cfg.Access, cfg.TLS = a.settings.accessConfig(), a.settings.Web.TLS
	cfg.Version = selftelemetry.Version()
	collect := a.settings.Collector
	cfg.Endpoints = api.Endpoints{OTLPGRPC: collect.GRPC, OTLPHTTP: "http://" + collect.HTTP, Sentry: "http://" + collect.HTTP}
	if len(a.settings.Kafka.Brokers) > 0 {
		cfg.Endpoints.Kafka = a.settings.Kafka.Brokers[0]
	}
	cli, err := sentryapi.New(sentryapi.Config{Version: cfg.Version}, sentryapi.Deps{
		Projects: a.metadata, Releases: a.metadata, Artifacts: a.metadata, Tokens: a.metadata, Blobs: a.blobs,
	}, a.registry, a.log)
	if err != nil {
		return nil, err
	}
	var unread exporters.BacklogReader
	if len(a.settings.Kafka.Brokers) > 0 {
		unread = backlogs{a}
	}
	var letters api.Letters
	if len(a.settings.Kafka.Brokers) > 0 {
		letters = deadletter.New(a.kafkaConfig(), a.log)
	}
	var lag exporters.LagReader
	if a.lag != nil {
		lag = a.lag
	}
	server, err := web.New(cfg, web.Deps{
		Backlogs:    unread,
		Lag:         lag,
		Spans:       a.store,
		Messages:    a.store,
		Metrics:     a.store,
		Clocks:      a.store,
		Logs:        a.store,
		Ledger:      a.store,
		Events:      a.store,
		Issues:      a.metadata,
		IssueEvents: a.store,
		Joined:      a.store,
		Projects:    a.metadata,
		Blobs:       a.blobs,
		Nodes:       a.nodes,
		Regrouper:   &regrouper{events: a.store, nodes: a.nodes, blobs: a.blobs, groupers: group.NewCache(0)},
		Files:       a.store,
		Feedback:    a.metadata,
		Sessions:    a.store,
		NewIssues:   a.metadata,
		Health:      a.metadata,
		StoreHealth: a.store,
		Stages:      lineStages(),
		Letters:     letters,
		LetterEnds:  a.metadata,
		Monitors:    a.metadata,
		Topology:    a.store,
		Search:      a.store,
		Queries:     a.metadata,
		Find:        a.store,
		Accounts:    a.metadata,
		Tokens:      a.metadata,
		TopicSums:   a.store,
	}, a.registry, a.log,
		web.Mount{Prefix: sentryapi.Prefix, Handler: cli})
	if err != nil {
		return nil, err
	}
	return webPart{server, cli}, nil
}

// webPart names the web role for logs and /readyz, and puts uploads together as
// long as it serves.
type webPart struct {
	*web.Server
	cli *sentryapi.Handler
}

func (p webPart) Start(ctx context.Context) error {
	if err := p.cli.Start(ctx); err != nil {
		return err
	}
	if err := p.Server.Start(ctx); err != nil {
		return errors.Join(err, p.cli.Shutdown(ctx))
	}
	return nil
}

func (p webPart) Shutdown(ctx context.Context) error {
	return errors.Join(p.Server.Shutdown(ctx), p.cli.Shutdown(ctx))
}

func (webPart) Name() string { return "web" }
