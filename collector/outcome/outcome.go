// Package outcome counts what became of everything that reached the collector.
// It decides nothing.
package outcome

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Protocols, the values of the label "protocol".
const (
	OTLPGRPC    = "otlp_grpc"
	OTLPHTTP    = "otlp_http"
	Envelope    = "sentry_envelope"
	Tunnel      = "sentry_tunnel"
	Store       = "sentry_store"
	Security    = "sentry_security"
	Minidump    = "sentry_minidump"
	Attachments = "sentry_attachments"
	Cron        = "sentry_cron"
	Other       = "other"
)

// Counts holds the collector's metrics. All methods may be called from several
// goroutines. Label values must come from fixed lists.
type Counts struct {
	requests  *prometheus.CounterVec
	bytes     *prometheus.CounterVec
	accepted  prometheus.Counter
	rejected  *prometheus.CounterVec
	points    prometheus.Counter
	refused   *prometheus.CounterVec // points
	truncated prometheus.Counter
	records   *prometheus.CounterVec
	events    prometheus.Counter
	outcomes  *prometheus.CounterVec
	items     *prometheus.CounterVec
	logs      prometheus.Counter
	lostLogs  *prometheus.CounterVec
	ledger    *prometheus.CounterVec
	produce   *prometheus.HistogramVec
	panics    prometheus.Counter

	mu      sync.Mutex // guards the following
	reasons map[string]struct{}
}

// New registers the metrics. inFlight gives the bytes in flight. It fails when
// a name is taken.
func New(reg prometheus.Registerer, inFlight func() int64) (*Counts, error) {
	const ns, sub = "hoptrace", "collector"
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: name, Help: help})
	}
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: name, Help: help}, labels)
	}
	c := &Counts{
		requests:  vec("requests_total", "Requests by protocol and answer (gRPC code or HTTP status).", "protocol", "code"),
		bytes:     vec("request_bytes_total", "Bytes of request bodies as they came (gRPC: after decompression).", "protocol"),
		accepted:  counter("spans_accepted_total", "Spans that Kafka acknowledged."),
		rejected:  vec("spans_rejected_total", "Spans refused, by reason.", "reason"),
		points:    counter("points_accepted_total", "Metric points that Kafka acknowledged."),
		refused:   vec("points_rejected_total", "Metric points refused, by reason.", "reason"),
		truncated: counter("spans_truncated_total", "Spans, resources and scopes cut to fit a record."),
		records:   vec("records_total", "Records that Kafka acknowledged, by topic.", "topic"),
		events:    counter("events_accepted_total", "Events that Kafka acknowledged."),
		outcomes:  vec("outcomes_total", "Requests and items that were not taken, by reason.", "reason"),
		items:     vec("items_unsupported_total", "Envelope items answered with 200 and not kept, by type.", "type"),
		logs:      counter("logs_accepted_total", "OTLP log records that Kafka acknowledged."),
		lostLogs:  vec("logs_rejected_total", "OTLP log records refused, by reason.", "reason"),
		ledger:    vec("item_outcomes_total", "What became of what was handed over, by category, outcome and reason; attachments and log_byte in bytes.", "category", "outcome", "reason"),
		reasons:   map[string]struct{}{},
		produce: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: ns, Subsystem: sub, Name: "produce_seconds", Help: "Time until Kafka acknowledged a request's records, by result.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"result"}),
		panics: counter("panics_total", "Panics caught in handlers."),
	}
	gauge := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: ns, Subsystem: sub, Name: "in_flight_bytes", Help: "Bytes of requests being handled.",
	}, func() float64 { return float64(inFlight()) })
	var errs []error
	for _, m := range []prometheus.Collector{
		c.requests, c.bytes, c.accepted, c.rejected, c.points, c.refused, c.truncated, c.records, c.events, c.outcomes, c.items, c.logs, c.lostLogs, c.ledger, c.produce, c.panics, gauge,
	} {
		if err := reg.Register(m); err != nil {
			errs = append(errs, fmt.Errorf("cannot register a collector metric: %w", err))
		}
	}
	return c, errors.Join(errs...)
}

// Request counts an answer and the bytes it was for.
func (c *Counts) Request(protocol, code string, bytes int64) {
	c.requests.WithLabelValues(protocol, code).Inc()
	c.bytes.WithLabelValues(protocol).Add(float64(bytes))
}

// SpansAccepted counts durable spans and the records that hold them.
func (c *Counts) SpansAccepted(spans, records int, topic string) {
	c.accepted.Add(float64(spans))
	c.records.WithLabelValues(topic).Add(float64(records))
}

// SpansRejected counts refused spans.
func (c *Counts) SpansRejected(reason string, n int) {
	c.rejected.WithLabelValues(reason).Add(float64(n))
}

// PointsAccepted counts durable metric points and the records that hold them.
func (c *Counts) PointsAccepted(points, records int, topic string) {
	c.points.Add(float64(points))
	c.records.WithLabelValues(topic).Add(float64(records))
}

// PointsRejected counts refused metric points.
func (c *Counts) PointsRejected(reason string, n int) {
	c.refused.WithLabelValues(reason).Add(float64(n))
}

// Truncated counts what was cut.
func (c *Counts) Truncated(n int) { c.truncated.Add(float64(n)) }

// LogsAccepted counts durable OTLP log records and the records that hold them.
func (c *Counts) LogsAccepted(logs, records int, topic string) {
	c.logs.Add(float64(logs))
	c.records.WithLabelValues(topic).Add(float64(records))
}

// LogsRejected counts refused OTLP log records.
func (c *Counts) LogsRejected(reason string, n int) {
	c.lostLogs.WithLabelValues(reason).Add(float64(n))
}

// Written counts a record that Kafka acknowledged.
func (c *Counts) Written(topic string) { c.records.WithLabelValues(topic).Inc() }

// EventAccepted counts a durable event.
func (c *Counts) EventAccepted() { c.events.Inc() }

// Refused counts a request or an item that was not taken.
func (c *Counts) Refused(reason string) { c.outcomes.WithLabelValues(reason).Inc() }

// Unsupported counts an item that was answered with 200 and not kept.
func (c *Counts) Unsupported(itemType string) {
	c.items.WithLabelValues(itemType).Inc()
	c.Refused("unsupported_item")
}

// Produced times a write to Kafka.
func (c *Counts) Produced(d time.Duration, err error) {
	result := "ok"
	if err != nil {
		result = "error"
	}
	c.produce.WithLabelValues(result).Observe(d.Seconds())
}

// Panic counts a caught panic.
func (c *Counts) Panic() { c.panics.Inc() }
