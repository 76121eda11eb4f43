package main

import (
	"context"
	"fmt"

	"github.com/hoptrace/hoptrace/collector/lagwatch"
)

// startLag starts the lag watcher in the role that shows it. Web apart without
// kafka.brokers and lagwatch.clusters has none, and says so when it is asked.
func (a *app) startLag(ctx context.Context) error {
	cfg := a.settings.LagWatch
	bus := cfg.Bus && len(a.settings.Kafka.Brokers) > 0
	if !cfg.Enabled || !bus && len(cfg.Clusters) == 0 {
		return nil
	}
	// Lag belongs to clusters, points to projects: it is kept with the default one.
	project, err := a.metadata.EnsureProject(ctx, a.settings.Collector.DefaultProject, "Default")
	if err != nil {
		return fmt.Errorf("cannot find the project that lag is kept with: %w", err)
	}
	if a.lag, err = lagwatch.New(cfg, lagwatch.Deps{
		Kafka: a.kafkaConfig(), Store: a.store, Project: project.ID, Metrics: a.metrics,
	}, a.registry, a.log); err != nil {
		return err
	}
	return a.lag.Start(ctx)
}

func (a *app) stopLag(ctx context.Context) error {
	if a.lag == nil {
		return nil
	}
	return a.lag.Shutdown(ctx)
}
