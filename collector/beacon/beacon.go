// Package beacon bounds how far brokers' clocks are from this host's, whatever the
// topics of the programs beside it stamp: at each interval it appends one tiny
// record to each broker, to a topic that the broker stamps (LogAppendTime) and of
// which each broker leads a partition. From the round trip follows an interval
// (package clock), which it sends to the pipeline on topic clock-samples.
//
// It moves no clock and no data. When a cluster is away or refuses, that is logged
// once and counted, and the collector beside it does not notice. Nothing is kept for
// later: an interval is worth little when it is old.
package beacon

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hoptrace/hoptrace/internal/kafka"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/schemas/topics"
	"github.com/hoptrace/hoptrace/schemas/wire"
)

// Deps are what the beacon uses.
type Deps struct {
	// Kafka says how the bus is reached; its TLS and SASL are those of all clusters.
	Kafka   kafka.Config
	Metrics *kafka.Metrics // of the clients; may be nil

	// Send takes the samples, under the logical names of topics.
	Send func(ctx context.Context, records ...*kgo.Record) error

	// Host is the boot id of this host as instrumented processes send it, Name what
	// people call it.
	Host, Name string

	// Now is the host's wall clock in Unix ns, by default the system's.
	Now func() int64
}

// Beacon asks clusters. See the package's comment.
type Beacon struct {
	cfg      Config
	deps     Deps
	log      *slog.Logger
	metrics  *metrics
	clusters []*cluster

	stop context.CancelFunc
	wait sync.WaitGroup
}

type metrics struct {
	records *prometheus.CounterVec   // by cluster and result
	trips   *prometheus.HistogramVec // by cluster
	brokers *prometheus.GaugeVec     // by cluster and state
	samples *prometheus.CounterVec   // by result
	steps   prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		records: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "hoptrace_beacon_records_total", Help: "Records that were sent to ask a broker's clock, by cluster and result."}, []string{"cluster", "result"}),
		trips: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "hoptrace_beacon_round_trip_seconds", Help: "From a record's sending to its acknowledgement; no interval is narrower.", Buckets: prometheus.ExponentialBuckets(0.0002, 2, 16),
		}, []string{"cluster"}),
		brokers: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "hoptrace_beacon_brokers", Help: "Brokers by cluster: asked, or left out because they lead no partition of the topic."}, []string{"cluster", "state"}),
		samples: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "hoptrace_beacon_samples_total", Help: "Intervals of clocks, by result: sent, or lost because the bus did not take them."}, []string{"result"}),
		steps:   prometheus.NewCounter(prometheus.CounterOpts{Name: "hoptrace_beacon_clock_steps_total", Help: "Steps of this host's own clock that the beacon noticed."}),
	}
	for _, c := range []prometheus.Collector{m.records, m.trips, m.brokers, m.samples, m.steps} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("cannot register a metric of the clock beacon: %w", err)
		}
	}
	return m, nil
}

// New makes a beacon without starting it. It opens clients, which connect when they
// are first used.
func New(cfg Config, deps Deps, reg prometheus.Registerer, log *slog.Logger) (*Beacon, error) {
	errs := []error{cfg.Validate()}
	if deps.Send == nil {
		errs = append(errs, errors.New("beacon: nobody takes the samples"))
	}
	if deps.Host == "" {
		errs = append(errs, errors.New("beacon: the host has no boot id, by which its clock is known"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if deps.Now == nil {
		deps.Now = func() int64 { return time.Now().UnixNano() }
	}
	m, err := newMetrics(reg)
	if err != nil {
		return nil, err
	}
	b := &Beacon{cfg: cfg, deps: deps, log: log, metrics: m}
	if cfg.Bus && len(deps.Kafka.Brokers) > 0 {
		err = b.add(kafka.BusName, deps.Kafka)
	}
	for _, name := range cfg.Clusters.Names() {
		kc := deps.Kafka
		kc.Brokers = cfg.Clusters.Brokers(name)
		err = errors.Join(err, b.add(name, kc))
	}
	if err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

// Name is for logs.
func (b *Beacon) Name() string { return "clock beacon" }

// Start begins to ask, each cluster by itself: one that does not answer holds up
// no other.
func (b *Beacon) Start(context.Context) error {
	ctx, stop := context.WithCancel(context.Background())
	b.stop = stop
	for _, c := range b.clusters {
		b.wait.Go(func() {
			tick := time.NewTicker(b.cfg.Interval)
			defer tick.Stop()
			for {
				c.beat(ctx)
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
			}
		})
	}
	return nil
}

// Shutdown ends it and waits. It is safe twice and without Start.
func (b *Beacon) Shutdown(context.Context) error {
	if b.stop != nil {
		b.stop()
	}
	b.wait.Wait()
	b.close()
	return nil
}

func (b *Beacon) close() {
	for _, c := range b.clusters {
		c.client.Close()
	}
}

// sendTimeout bounds how long samples wait for the bus.
const sendTimeout = 5 * time.Second

// send hands samples to the pipeline; what the bus does not take is lost.
func (b *Beacon) send(ctx context.Context, samples []wire.ClockSample) error {
	if len(samples) == 0 {
		return nil
	}
	records := make([]*kgo.Record, len(samples))
	for i := range samples {
		s := &samples[i]
		key := binary.BigEndian.AppendUint64(nil, xxhash.Sum64String(s.Host+" "+s.Cluster))
		records[i] = &kgo.Record{
			Topic: topics.ClockSamples, Key: binary.BigEndian.AppendUint32(key, uint32(s.Node)), Value: s.AppendJSON(nil), //nolint:gosec // its bits are all that counts
			Headers: []kgo.RecordHeader{{Key: schemas.HeaderSchema, Value: []byte(schemas.SchemaClockSamples)}},
		}
	}
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	err := b.deps.Send(ctx, records...)
	result := "sent"
	if err != nil {
		result, err = "lost", fmt.Errorf("the bus does not take samples of clocks: %w", err)
	}
	b.metrics.samples.WithLabelValues(result).Add(float64(len(samples)))
	return err
}
