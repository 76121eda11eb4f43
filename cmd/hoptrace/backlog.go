package main

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/internal/kafka"
	"github.com/hoptrace/hoptrace/pipeline"
)

// backlogs asks the broker what the stages have not read yet. It connects for each
// question: a person asks now and then.
type backlogs struct{ a *app }

// Backlogs gives one element a stage.
func (b backlogs) Backlogs(ctx context.Context) (out []exporters.Backlog, err error) {
	if held := b.a.spoolHolds; held != nil { // of this process
		defer func() { out = append(out, exporters.Backlog{Stage: exporters.StageSpool, Records: held()}) }()
	}
	cfg := b.a.kafkaConfig()
	client, err := kafka.NewClient(cfg, b.a.log, nil)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	groups := make([]string, len(pipeline.Stages))
	for i, stage := range pipeline.Stages {
		groups[i] = stage.Group
	}
	lags, err := kadm.NewClient(client).Lag(ctx, groups...)
	if err != nil {
		return nil, fmt.Errorf("cannot ask the brokers for the lag of the stages: %w: %w", exporters.ErrUnavailable, err)
	}
	out = make([]exporters.Backlog, len(pipeline.Stages), len(pipeline.Stages)+1)
	for i, stage := range pipeline.Stages {
		out[i] = exporters.Backlog{Stage: stage.Name, Topic: stage.Topic}
		group, ok := lags[stage.Group]
		if !ok {
			continue
		}
		if err := group.Error(); err != nil {
			return nil, fmt.Errorf("cannot ask for the lag of group %q: %w: %w", stage.Group, exporters.ErrUnavailable, err)
		}
		for _, l := range group.Lag[cfg.Topics.Physical(stage.Topic)] {
			out[i].Records += max(l.Lag, 0)
		}
	}
	return out, nil
}
