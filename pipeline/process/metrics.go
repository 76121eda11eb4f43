package process

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are the figures of the stages that make events, named
// hoptrace_process_*. Records, bytes, lag and retries are counted by the loop
// (hoptrace_consume_*).
type Metrics struct {
	events    prometheus.Counter
	issuesNew prometheus.Counter
	discarded prometheus.Counter
	deferred  prometheus.Counter
	refused   *prometheus.CounterVec // by reason
	seconds   *prometheus.CounterVec // by step
}

// NewMetrics registers the figures with reg.
func NewMetrics(reg prometheus.Registerer) (*Metrics, error) {
	opts := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Namespace: "hoptrace", Subsystem: "process", Name: name, Help: help}
	}
	m := &Metrics{
		events:    prometheus.NewCounter(opts("events_total", "Events taken from the ingest topics, also those that were discarded.")),
		issuesNew: prometheus.NewCounter(opts("issues_new_total", "Issues seen for the first time.")),
		discarded: prometheus.NewCounter(opts("events_discarded_total", "Events of issues that somebody discarded.")),
		deferred:  prometheus.NewCounter(opts("repeats_deferred_total", "Repeats sent on to the end of their topic, before the event that they repeat was known.")),
		refused:   prometheus.NewCounterVec(opts("records_refused_total", "Ingest records sent to the dead-letter topic, by reason."), []string{"reason"}),
		seconds:   prometheus.NewCounterVec(opts("seconds_total", "Time spent by batches in each step: prepare, keep, see, produce."), []string{"step"}),
	}
	var errs []error
	for _, c := range []prometheus.Collector{m.events, m.issuesNew, m.discarded, m.deferred, m.refused, m.seconds} {
		if err := reg.Register(c); err != nil {
			errs = append(errs, fmt.Errorf("cannot register a metric of the stage process-events: %w", err))
		}
	}
	return m, errors.Join(errs...)
}
