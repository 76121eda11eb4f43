package consume

import (
	"errors"
	"fmt"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hoptrace/hoptrace/internal/kafka"
)

// Metrics are those of all loops of a process; a loop is told apart by its stage and
// topic: two may be of one stage.
type Metrics struct {
	kafka *kafka.Metrics

	records, items, bytes, batches *prometheus.CounterVec   // stage, topic
	handle, commit, age            *prometheus.HistogramVec // stage, topic
	commitErrors, fetchErrors      *prometheus.CounterVec   // stage, topic
	deadLetters, retries, panics   *prometheus.CounterVec   // stage, topic
	rebalances                     *prometheus.CounterVec   // stage, topic, what
	gaps                           *prometheus.CounterVec   // stage, topic, accepted
	lost                           *prometheus.CounterVec   // stage, topic
	lag, stalled                   *prometheus.GaugeVec     // stage, topic, partition

	failed failures
}

// NewMetrics registers the loops' metrics with reg. km, which may be nil, is
// what their clients count with.
func NewMetrics(reg prometheus.Registerer, km *kafka.Metrics) (*Metrics, error) {
	m := newMetrics()
	m.kafka = km
	var errs []error
	for _, c := range []prometheus.Collector{
		m.records, m.items, m.bytes, m.batches, m.handle, m.commit, m.age, m.commitErrors, m.fetchErrors,
		m.deadLetters, m.retries, m.panics, m.rebalances, m.gaps, m.lost, m.lag, m.stalled,
	} {
		if err := reg.Register(c); err != nil {
			errs = append(errs, fmt.Errorf("cannot register a metric of the consume loops: %w", err))
		}
	}
	return m, errors.Join(errs...)
}

// newMetrics makes metrics that nobody gathers yet.
func newMetrics() *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "hoptrace", Subsystem: "consume", Name: name, Help: help}, append([]string{"stage", "topic"}, labels...))
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "hoptrace", Subsystem: "consume", Name: name, Help: help}, append([]string{"stage", "topic"}, labels...))
	}
	histogram := func(name, help string, buckets []float64) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: "hoptrace", Subsystem: "consume", Name: name, Help: help, Buckets: buckets}, []string{"stage", "topic"})
	}
	seconds := []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}
	return &Metrics{
		records:      counter("records_total", "Records made durable and committed."),
		items:        counter("items_total", "Items (spans, events) in those records."),
		bytes:        counter("bytes_total", "Bytes of those records, not compressed."),
		batches:      counter("batches_total", "Batches made durable and committed."),
		handle:       histogram("handle_seconds", "Time from a batch complete to durable, retries included.", seconds),
		commit:       histogram("commit_seconds", "Time of a commit.", seconds),
		age:          histogram("age_seconds", "Age of a batch's oldest record when it became durable.", slices.Concat(seconds, []float64{300, 1800, 7200, 43200})),
		commitErrors: counter("commit_errors_total", "Commits that failed."),
		fetchErrors:  counter("fetch_errors_total", "Fetches that failed and are not gaps."),
		deadLetters:  counter("dead_letters_total", "Records written to the dead-letter topic."),
		retries:      counter("retries_total", "Times that a batch or a dead letter had to be tried again."),
		panics:       counter("panics_total", "Panics of the stage that were caught."),
		rebalances:   counter("rebalances_total", "Times that partitions came or went.", "what"),
		gaps:         counter("gaps_total", "Times that the next record was gone.", "accepted"),
		lost:         counter("lost_records_total", "Records skipped over by accepted gaps."),
		lag:          gauge("lag_records", "Records behind the last committed one.", "partition"),
		stalled:      gauge("stalled_partition", "1 while a partition stands still because of a gap.", "partition"),
	}
}

// forget removes the series of a partition that is no longer ours.
func (m *Metrics) forget(cfg Config, partition int32) {
	m.lag.DeleteLabelValues(cfg.Stage, cfg.Topic, partitionLabel(partition))
	m.stalled.DeleteLabelValues(cfg.Stage, cfg.Topic, partitionLabel(partition))
}
