package kafka

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Metrics counts what clients do on the wire. One serves all clients of a
// process. Labels are topic and request name, which we choose, so they are few.
type Metrics struct {
	connects    *prometheus.CounterVec   // result
	disconnects prometheus.Counter       //
	requests    *prometheus.HistogramVec // request
	failures    *prometheus.CounterVec   // request
	throttled   prometheus.Counter
	records     *prometheus.CounterVec // direction, topic
	wire        *prometheus.CounterVec // direction, topic
	raw         *prometheus.CounterVec // direction, topic
}

var (
	_ kgo.HookBrokerConnect       = (*Metrics)(nil)
	_ kgo.HookBrokerDisconnect    = (*Metrics)(nil)
	_ kgo.HookBrokerE2E           = (*Metrics)(nil)
	_ kgo.HookBrokerThrottle      = (*Metrics)(nil)
	_ kgo.HookProduceBatchWritten = (*Metrics)(nil)
	_ kgo.HookFetchBatchRead      = (*Metrics)(nil)
)

// NewMetrics registers the metrics with reg.
func NewMetrics(reg prometheus.Registerer) (*Metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "hoptrace", Subsystem: "kafka", Name: name, Help: help}, labels)
	}
	m := &Metrics{
		connects:    counter("connects_total", "Connections tried, by result.", "result"),
		disconnects: prometheus.NewCounter(prometheus.CounterOpts{Namespace: "hoptrace", Subsystem: "kafka", Name: "disconnects_total", Help: "Connections ended."}),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "hoptrace", Subsystem: "kafka", Name: "request_seconds", Help: "Time from a request written to its answer read.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"request"}),
		failures:  counter("request_failures_total", "Requests that could not be written or whose answer could not be read.", "request"),
		throttled: prometheus.NewCounter(prometheus.CounterOpts{Namespace: "hoptrace", Subsystem: "kafka", Name: "throttled_seconds_total", Help: "Time that brokers told us to wait."}),
		records:   counter("records_total", "Records on the wire.", "direction", "topic"),
		wire:      counter("wire_bytes_total", "Bytes of record batches, compressed.", "direction", "topic"),
		raw:       counter("raw_bytes_total", "Bytes of record batches, not compressed.", "direction", "topic"),
	}
	var errs []error
	for _, c := range []prometheus.Collector{m.connects, m.disconnects, m.requests, m.failures, m.throttled, m.records, m.wire, m.raw} {
		if err := reg.Register(c); err != nil {
			errs = append(errs, fmt.Errorf("cannot register a Kafka metric: %w", err))
		}
	}
	return m, errors.Join(errs...)
}

// OnBrokerConnect implements kgo.HookBrokerConnect.
func (m *Metrics) OnBrokerConnect(_ kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	result := "ok"
	if err != nil {
		result = "failed"
	}
	m.connects.WithLabelValues(result).Inc()
}

// OnBrokerDisconnect implements kgo.HookBrokerDisconnect.
func (m *Metrics) OnBrokerDisconnect(kgo.BrokerMetadata, net.Conn) { m.disconnects.Inc() }

// OnBrokerE2E implements kgo.HookBrokerE2E.
func (m *Metrics) OnBrokerE2E(_ kgo.BrokerMetadata, key int16, e2e kgo.BrokerE2E) {
	name := kmsg.NameForKey(key)
	if e2e.Err() != nil {
		m.failures.WithLabelValues(name).Inc()
		return
	}
	m.requests.WithLabelValues(name).Observe(e2e.DurationE2E().Seconds())
}

// OnBrokerThrottle implements kgo.HookBrokerThrottle.
func (m *Metrics) OnBrokerThrottle(_ kgo.BrokerMetadata, d time.Duration, _ bool) {
	m.throttled.Add(d.Seconds())
}

// OnProduceBatchWritten implements kgo.HookProduceBatchWritten.
func (m *Metrics) OnProduceBatchWritten(_ kgo.BrokerMetadata, topic string, _ int32, b kgo.ProduceBatchMetrics) {
	m.count("produced", topic, b.NumRecords, b.CompressedBytes, b.UncompressedBytes)
}

// OnFetchBatchRead implements kgo.HookFetchBatchRead.
func (m *Metrics) OnFetchBatchRead(_ kgo.BrokerMetadata, topic string, _ int32, b kgo.FetchBatchMetrics) {
	m.count("fetched", topic, b.NumRecords, b.CompressedBytes, b.UncompressedBytes)
}

func (m *Metrics) count(direction, topic string, records, wire, raw int) {
	m.records.WithLabelValues(direction, topic).Add(float64(records))
	m.wire.WithLabelValues(direction, topic).Add(float64(wire))
	m.raw.WithLabelValues(direction, topic).Add(float64(raw))
}
