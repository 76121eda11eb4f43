package persist

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hoptrace/hoptrace/pipeline/normalize"
)

// Stages, as metrics and logs name them.
const (
	StageSpans  = "spans"
	StageEvents = "events"
)

// Metrics are the pipeline's own figures, named hoptrace_pipeline_*.
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
	issuesNew      prometheus.Counter

	spans, events stageMetrics
}

// stageMetrics are those that each stage has.
type stageMetrics struct {
	records    prometheus.Counter
	bytes      prometheus.Counter
	refused    *prometheus.CounterVec // by reason
	decode     prometheus.Counter     // seconds
	write      prometheus.Observer
	latency    prometheus.Observer
	batch      prometheus.Observer
	batchBytes prometheus.Observer
}

// NewMetrics registers the figures. Registering twice is an error of the caller
// and panics, as in every use of prometheus.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: "hoptrace", Subsystem: "pipeline", Name: name, Help: help})
		reg.MustRegister(c)
		return c
	}
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "hoptrace", Subsystem: "pipeline", Name: name, Help: help}, labels)
		reg.MustRegister(c)
		return c
	}
	histogram := func(name, help string, buckets []float64) *prometheus.HistogramVec {
		h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: "hoptrace", Subsystem: "pipeline", Name: name, Help: help, Buckets: buckets}, []string{"stage"})
		reg.MustRegister(h)
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
		issuesNew:         counter("issues_new_total", "Issues seen for the first time."),
	}
	dropped := counters("spans_dropped_total", "Spans that no store gets, by reason.", "reason")
	for r := range normalize.Reasons {
		m.spansDropped[r] = dropped.WithLabelValues(r.String())
	}
	m.spansTooLarge = dropped.WithLabelValues("too_large")
	m.eventsTooLarge = counters("events_dropped_total", "Events that no store gets, by reason.", "reason").WithLabelValues("too_large")

	records := counters("records_total", "Ingest records handled.", "stage")
	bytes := counters("record_bytes_total", "Bytes of the values of ingest records handled.", "stage")
	refused := counters("records_refused_total", "Ingest records sent to the dead-letter topic, by reason.", "stage", "reason")
	decode := counters("decode_seconds_total", "Time spent on decoding, normalising and deriving.", "stage")
	short := prometheus.ExponentialBuckets(0.001, 2, 16) // 1 ms to 33 s
	write := histogram("write_seconds", "Time of one write to the store.", short)
	latency := histogram("accept_to_stored_seconds", "From the collector having a request to its items being durable in the store, one observation a record.", prometheus.ExponentialBuckets(0.005, 2, 20))
	batch := histogram("batch_items", "Spans or events in one write.", prometheus.ExponentialBuckets(1, 4, 10))
	batchBytes := histogram("batch_bytes", "Bytes of records in one batch.", prometheus.ExponentialBuckets(1<<10, 4, 10))
	for stage, to := range map[string]*stageMetrics{StageSpans: &m.spans, StageEvents: &m.events} {
		*to = stageMetrics{
			records: records.WithLabelValues(stage),
			bytes:   bytes.WithLabelValues(stage),
			refused: refused.MustCurryWith(prometheus.Labels{"stage": stage}),
			decode:  decode.WithLabelValues(stage),
			write:   write.WithLabelValues(stage), latency: latency.WithLabelValues(stage),
			batch: batch.WithLabelValues(stage), batchBytes: batchBytes.WithLabelValues(stage),
		}
	}
	return m
}

// stored notes how long a record took from the collector to the store.
func (m *stageMetrics) stored(received, now int64) {
	if received > 0 && now >= received {
		m.latency.Observe(time.Duration(now - received).Seconds())
	}
}
