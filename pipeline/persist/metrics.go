package persist

import (
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hoptrace/hoptrace/pipeline/normalize"
)

// Stages, as metrics and logs name them.
const (
	StageSpans  = "persist-spans"
	StageEvents = "persist-events"
	StagePoints = "persist-metrics"
	StageLogs   = "persist-logs"

	StageAttachments = "process-attachments"
	StageProfiles    = "persist-profiles"
	StageReplays     = "persist-replays"
	StageFeedback    = "persist-feedback"
	StageSessions    = "persist-sessions"

	StageOutcomes     = "persist-outcomes"
	StageTransactions = "persist-transactions"
)

// Metrics are the pipeline's own figures, named hoptrace_pipeline_*. Records,
// bytes, lag and retries are counted by the loop (hoptrace_consume_*).
type Metrics struct {
	spansIn       prometheus.Counter
	spansStored   prometheus.Counter
	spansReplayed prometheus.Counter
	spansDropped  [normalize.Reasons]prometheus.Counter
	spansTooLarge prometheus.Counter

	messagesStored    prometheus.Counter
	messagesReplayed  prometheus.Counter
	messagesMalformed prometheus.Counter

	eventsIn       prometheus.Counter
	eventsStored   prometheus.Counter
	eventsReplayed prometheus.Counter
	eventsTooLarge prometheus.Counter

	spans, events stageMetrics
	points, logs  rowMetrics
	outcomes      rowMetrics

	attachments, profiles, replays rowMetrics
	feedback, sessions             rowMetrics
}

// rowMetrics are those of a stage that stores one kind of row; see [Rows].
type rowMetrics struct {
	stageMetrics
	in, kept, replayed, tooLarge prometheus.Counter
	dropped                      [normalize.Reasons]prometheus.Counter
}

// stageMetrics are those that each stage has.
type stageMetrics struct {
	refused *prometheus.CounterVec // by reason
	decode  prometheus.Counter     // seconds
	write   prometheus.Observer
	latency prometheus.Observer
	batch   prometheus.Observer
}

// NewMetrics registers the figures with reg.
func NewMetrics(reg prometheus.Registerer) (*Metrics, error) {
	var errs []error
	register := func(c prometheus.Collector) {
		if err := reg.Register(c); err != nil {
			errs = append(errs, fmt.Errorf("cannot register a metric of the pipeline: %w", err))
		}
	}
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: "hoptrace", Subsystem: "pipeline", Name: name, Help: help})
		register(c)
		return c
	}
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "hoptrace", Subsystem: "pipeline", Name: name, Help: help}, labels)
		register(c)
		return c
	}
	histogram := func(name, help string, buckets []float64) *prometheus.HistogramVec {
		h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: "hoptrace", Subsystem: "pipeline", Name: name, Help: help, Buckets: buckets}, []string{"stage"})
		register(h)
		return h
	}
	m := &Metrics{
		spansIn:           counter("spans_in_total", "Spans decoded from ingest records."),
		spansStored:       counter("spans_stored_total", "Spans durable in the store."),
		spansReplayed:     counter("spans_replayed_total", "Spans read again after a restart that were stored already."),
		messagesStored:    counter("messages_stored_total", "Message rows durable in the store."),
		messagesReplayed:  counter("messages_replayed_total", "Message rows derived again after a restart that were stored already."),
		messagesMalformed: counter("message_values_malformed_total", "Attribute values of messaging spans that are no numbers in range; they are unknown in the row."),
		eventsIn:          counter("events_in_total", "Events decoded from ingest records."),
		eventsStored:      counter("events_stored_total", "Events durable in the store."),
		eventsReplayed:    counter("events_replayed_total", "Events read again after a restart that were stored already."),
	}
	dropped := counters("spans_dropped_total", "Spans that no store gets, by reason.", "reason")
	for r := range normalize.Reasons {
		m.spansDropped[r] = dropped.WithLabelValues(r.String())
	}
	m.spansTooLarge = dropped.WithLabelValues("too_large")
	rows := func(to *rowMetrics, name, what string) {
		to.in = counter(name+"_in_total", what+" decoded from ingest records.")
		to.kept = counter(name+"_stored_total", what+" durable in the store.")
		to.replayed = counter(name+"_replayed_total", what+" read again after a restart that were stored already.")
		dropped := counters(name+"_dropped_total", what+" that no store gets, by reason.", "reason")
		for _, r := range []normalize.Reason{normalize.NoStart, normalize.InFuture, normalize.TooOld} {
			to.dropped[r] = dropped.WithLabelValues(r.String())
		}
		to.tooLarge = dropped.WithLabelValues("too_large")
	}
	rows(&m.points, "metric_points", "Metric points")
	rows(&m.logs, "logs", "Log records")
	rows(&m.outcomes, "outcomes", "Lines of the ledger")
	rows(&m.attachments, "attachments", "Attachments")
	rows(&m.profiles, "profiles", "Profiles")
	rows(&m.replays, "replays", "Parts of replays")
	rows(&m.feedback, "feedback", "Feedbacks")
	rows(&m.sessions, "sessions", "Rows of sessions")
	m.eventsTooLarge = counters("events_dropped_total", "Events that no store gets, by reason.", "reason").WithLabelValues("too_large")

	refused := counters("records_refused_total", "Ingest records sent to the dead-letter topic, by reason.", "stage", "reason")
	decode := counters("decode_seconds_total", "Time spent on decoding, normalising and deriving.", "stage")
	short := prometheus.ExponentialBuckets(0.001, 2, 16) // 1 ms to 33 s
	write := histogram("write_seconds", "Time of one write to the store.", short)
	latency := histogram("accept_to_stored_seconds", "From the collector having a request to its items being durable in the store, one observation a record.", prometheus.ExponentialBuckets(0.005, 2, 20))
	batch := histogram("batch_items", "Rows in one write.", prometheus.ExponentialBuckets(1, 4, 10))
	for stage, to := range map[string]*stageMetrics{
		StageSpans: &m.spans, StageEvents: &m.events, StagePoints: &m.points.stageMetrics, StageLogs: &m.logs.stageMetrics, StageOutcomes: &m.outcomes.stageMetrics,
		StageAttachments: &m.attachments.stageMetrics, StageProfiles: &m.profiles.stageMetrics, StageReplays: &m.replays.stageMetrics,
		StageFeedback: &m.feedback.stageMetrics, StageSessions: &m.sessions.stageMetrics,
	} {
		*to = stageMetrics{
			refused: refused.MustCurryWith(prometheus.Labels{"stage": stage}),
			decode:  decode.WithLabelValues(stage),
			write:   write.WithLabelValues(stage), latency: latency.WithLabelValues(stage),
			batch: batch.WithLabelValues(stage),
		}
	}
	return m, errors.Join(errs...)
}

// stored notes how long a record took from the collector to the store.
func (m *stageMetrics) stored(received, now int64) {
	if received > 0 && now >= received {
		m.latency.Observe(time.Duration(now - received).Seconds())
	}
}
