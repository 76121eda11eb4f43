package embeddedkafka

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// stats are the broker's counters.
type stats struct {
	refused        atomic.Int64 // connections over the bound
	badRequests    atomic.Int64 // requests that ended their connection
	deletedRecords atomic.Int64 // by retention
	logBytes       atomic.Int64 // segment files after the last pass of retention
	partitions     atomic.Int64
}

// Collector returns the broker's own metrics for a registry of the caller's.
func (b *Broker) Collector() prometheus.Collector { return collector{b} }

type collector struct{ b *Broker }

var (
	descConns   = prometheus.NewDesc("hoptrace_embedded_kafka_connections", "Open client connections.", nil, nil)
	descRefused = prometheus.NewDesc("hoptrace_embedded_kafka_connections_refused_total", "Connections closed because too many were open.", nil, nil)
	descBad     = prometheus.NewDesc("hoptrace_embedded_kafka_bad_requests_total", "Requests that were too large or not the Kafka protocol.", nil, nil)
	descDeleted = prometheus.NewDesc("hoptrace_embedded_kafka_deleted_records_total", "Records deleted by retention.", nil, nil)
	descBytes   = prometheus.NewDesc("hoptrace_embedded_kafka_log_bytes", "Bytes of all segment files, at the last pass of retention.", nil, nil)
	descFull    = prometheus.NewDesc("hoptrace_embedded_kafka_full", "1: the log is full of records that the pipeline has not read, and nothing more is taken.", nil, nil)
	descParts   = prometheus.NewDesc("hoptrace_embedded_kafka_partitions", "Partitions of all topics, at the last pass of retention.", nil, nil)
)

// Describe implements prometheus.Collector.
func (collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descConns, descRefused, descBad, descDeleted, descBytes, descFull, descParts} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	conns := 0
	c.b.mu.Lock()
	l := c.b.listener
	c.b.mu.Unlock()
	if l != nil {
		conns = l.open()
	}
	s := &c.b.stats
	ch <- prometheus.MustNewConstMetric(descConns, prometheus.GaugeValue, float64(conns))
	ch <- prometheus.MustNewConstMetric(descRefused, prometheus.CounterValue, float64(s.refused.Load()))
	ch <- prometheus.MustNewConstMetric(descBad, prometheus.CounterValue, float64(s.badRequests.Load()))
	ch <- prometheus.MustNewConstMetric(descDeleted, prometheus.CounterValue, float64(s.deletedRecords.Load()))
	ch <- prometheus.MustNewConstMetric(descBytes, prometheus.GaugeValue, float64(s.logBytes.Load()))
	full := 0.0
	if c.b.Full() {
		full = 1
	}
	ch <- prometheus.MustNewConstMetric(descFull, prometheus.GaugeValue, full)
	ch <- prometheus.MustNewConstMetric(descParts, prometheus.GaugeValue, float64(s.partitions.Load()))
}
