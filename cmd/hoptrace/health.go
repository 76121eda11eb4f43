package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/internal/selftelemetry"
	"github.com/hoptrace/hoptrace/pipeline"
	"github.com/hoptrace/hoptrace/pipeline/consume"
	"github.com/hoptrace/hoptrace/web/api"
)

// reported are the metrics that a process reports, with the labels that are told apart.
var reported = []selftelemetry.Kept{
	{Name: "process_resident_memory_bytes"},
	{Name: "process_cpu_seconds_total"},
	{Name: "hoptrace_collector_requests_total", By: []string{"code"}},
	{Name: "hoptrace_collector_request_bytes_total"},
	{Name: "hoptrace_collector_pressure"},
	{Name: "hoptrace_collector_produce_seconds"},
	{Name: "hoptrace_collector_spool_bytes"},
	{Name: "hoptrace_collector_spool_max_bytes"},
	{Name: "hoptrace_collector_spool_requests"},
	{Name: "hoptrace_consume_records_total", By: []string{"stage", "topic"}},
	{Name: "hoptrace_consume_items_total", By: []string{"stage", "topic"}},
	{Name: "hoptrace_consume_batches_total", By: []string{"stage", "topic"}},
	{Name: "hoptrace_consume_handle_seconds", By: []string{"stage", "topic"}},
	{Name: "hoptrace_consume_commit_errors_total", By: []string{"stage", "topic"}},
	{Name: "hoptrace_consume_fetch_errors_total", By: []string{"stage", "topic"}},
	{Name: "hoptrace_consume_dead_letters_total", By: []string{"stage", "topic"}},
	{Name: "hoptrace_consume_retries_total", By: []string{"stage", "topic"}},
	{Name: "hoptrace_consume_panics_total", By: []string{"stage", "topic"}},
	{Name: "hoptrace_consume_gaps_total", By: []string{"stage", "topic"}},
	{Name: "hoptrace_consume_lost_records_total", By: []string{"stage", "topic"}},
	{Name: "hoptrace_consume_lag_records", By: []string{"stage", "topic"}},
	{Name: "hoptrace_consume_stalled_partition", By: []string{"stage", "topic"}},
	{Name: "hoptrace_pipeline_batch_items", By: []string{"stage"}},
	{Name: "hoptrace_pipeline_write_seconds", By: []string{"stage"}},
	{Name: "hoptrace_web_requests_total", By: []string{"code"}},
	{Name: "hoptrace_web_request_duration_seconds"},
}

// maxStanding bounds the partitions that a report names.
const maxStanding = 20

// reporter tells the metadata store every ten seconds how this process does. It is the
// one store that every role opens, and not a part of the line that is reported on
// (docs/adr/0017).
type reporter struct {
	a       *app
	started time.Time
	stop    context.CancelFunc
	done    sync.WaitGroup

	mu   sync.Mutex // guards the following
	line line       // nil until a pipeline is there
}

// line is what a pipeline tells besides its metrics.
type line interface {
	Gaps() []consume.Gap
	Failures() []consume.Failure
}

// watch has what a pipeline tells reported from now on.
func (r *reporter) watch(l line) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.line = l
}

func (*reporter) Name() string { return "reporter" }

// Start begins to report and returns.
func (r *reporter) Start(ctx context.Context) error {
	ctx, r.stop = context.WithCancel(context.WithoutCancel(ctx))
	r.done.Go(func() { r.run(ctx) })
	return nil
}

// Shutdown ends reporting with a report that says so. Of a process that was killed the
// report before stays, and grows old.
func (r *reporter) Shutdown(ctx context.Context) error {
	if r.stop == nil {
		return nil
	}
	r.stop()
	r.stop = nil
	r.done.Wait()
	last := r.report(time.Now())
	if last.Notes == nil {
		last.Notes = map[string]string{}
	}
	last.Notes[exporters.HealthEnded] = "it was shut down"
	writing, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if err := r.a.metadata.WriteHealth(writing, last); err != nil {
		r.a.log.Warn("cannot report that this process ends; it will be called silent", "err", err)
	}
	return nil
}

func (r *reporter) run(ctx context.Context) {
	tick := time.NewTicker(exporters.HealthEvery)
	defer tick.Stop()
	failed := false
	for {
		writing, cancel := context.WithTimeout(ctx, exporters.HealthEvery)
		err := r.a.metadata.WriteHealth(writing, r.report(time.Now()))
		cancel()
		if err != nil && ctx.Err() == nil && !failed {
			r.a.log.Warn("cannot report how this process does; trying again every ten seconds", "err", err)
		}
		failed = err != nil
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (r *reporter) report(now time.Time) exporters.ProcessReport {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	_, port, err := net.SplitHostPort(r.a.telemetry.Addr())
	if err != nil {
		port = "0"
	}
	values, err := selftelemetry.Values(r.a.registry, reported)
	if err != nil {
		r.a.log.Debug("not all metrics can be reported", "err", err)
	}
	out := exporters.ProcessReport{
		Instance: r.a.role.name + "@" + net.JoinHostPort(host, port), Role: r.a.role.name, Host: host, Version: selftelemetry.Version(), Started: r.started, At: now, Values: values,
	}
	logical := r.a.settings.Kafka.Topics.Logical
	out.Values = byLogicalTopic(values, logical)
	r.mu.Lock()
	l := r.line
	r.mu.Unlock()
	if l != nil {
		out.Notes = standing(l.Gaps(), logical)
		for _, f := range l.Failures() {
			out.Notes["failed/"+f.Stage+"/"+logical(f.Topic)+"/"+string(f.Kind)] = strconv.FormatInt(f.At.UnixNano(), 10) + " " + f.Says
		}
	}
	return out
}

// byLogicalTopic has the topics of values named as the table of stages does, whatever
// Kafka calls them.
func byLogicalTopic(values map[string]float64, logical func(string) string) map[string]float64 {
	out := make(map[string]float64, len(values))
	for key, v := range values {
		if at := strings.LastIndexByte(key, '/'); at >= 0 && strings.HasPrefix(key, "consume_") {
			key = key[:at+1] + logical(key[at+1:])
		}
		out[key] += v
	}
	return out
}

// standing words the gaps that partitions stand still before, by stage and topic.
func standing(gaps []consume.Gap, logical func(string) string) map[string]string {
	out := map[string]string{}
	for _, g := range gaps {
		if g.Accepted || len(out) >= maxStanding {
			continue
		}
		topic := logical(g.Topic)
		for _, s := range pipeline.Stages {
			if s.Topic == topic {
				out["stands/"+s.Name+"/"+topic+"/"+strconv.Itoa(int(g.Partition))] = gapText(g)
			}
		}
	}
	return out
}

func gapText(g consume.Gap) string {
	if g.To < g.From {
		return fmt.Sprintf("partition %d was to be read from offset %d on, which is beyond its end; pipeline.accept_gaps goes on at %d", g.Partition, g.From, max(g.To, 0))
	}
	return fmt.Sprintf("records %d to %d of partition %d were deleted unread; pipeline.accept_gaps goes on behind them", g.From, g.To-1, g.Partition)
}

// lineStages is the pipeline's table for the page of its health.
func lineStages() []api.LineStage {
	out := make([]api.LineStage, len(pipeline.Stages))
	for i, s := range pipeline.Stages {
		out[i] = api.LineStage{Name: s.Name, Topic: s.Topic, DLQ: s.DLQ, Group: s.Group, Does: s.Does}
	}
	return out
}
