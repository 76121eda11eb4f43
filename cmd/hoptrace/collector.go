package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hoptrace/hoptrace/collector"
	"github.com/hoptrace/hoptrace/collector/outcome"
	"github.com/hoptrace/hoptrace/collector/overload"
	"github.com/hoptrace/hoptrace/collector/policy"
	"github.com/hoptrace/hoptrace/collector/produce"
	"github.com/hoptrace/hoptrace/collector/quota"
	"github.com/hoptrace/hoptrace/collector/spool"
	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/exporters/redis"
	"github.com/hoptrace/hoptrace/internal/kafka"
	"github.com/hoptrace/hoptrace/internal/lifecycle"
	"github.com/hoptrace/hoptrace/schemas"
)

// collectorPart closes what the collector uses after it, in the order in which one
// needs the other: the ledger's last sums go through the spool to the producer.
type collectorPart struct {
	*collector.Collector
	ledger   *outcome.Ledger
	counters *redis.Store // nil: each collector counts for itself
	spool    *spooling    // nil: none
	producer *kafka.Producer
}

func (p collectorPart) Shutdown(ctx context.Context) error {
	return errors.Join(p.Collector.Shutdown(ctx), p.close(ctx))
}

func (p collectorPart) close(ctx context.Context) error {
	var errs []error
	if p.ledger != nil {
		errs = append(errs, p.ledger.Close(ctx))
	}
	if p.counters != nil {
		errs = append(errs, p.counters.Close())
	}
	return errors.Join(append(errs, p.spool.Close(), p.producer.Close(ctx))...)
}

// spooling is the collector's way to Kafka with a spool on it.
type spooling struct {
	*spool.Client
	queue *spool.Queue
}

// Close ends handing on. It does nothing when there is no spool.
func (s *spooling) Close() error {
	if s == nil {
		return nil
	}
	return errors.Join(s.Client.Close(), s.queue.Close())
}

// Pressure is how full the spool is; 0 without one.
func (s *spooling) Pressure() float64 {
	if s == nil {
		return 0
	}
	return s.Client.Pressure()
}

func (a *app) openSpool(to produce.Client) (*spooling, error) {
	dir := a.settings.spoolDir()
	if dir == "" {
		return nil, nil //nolint:nilnil // no spool is wanted
	}
	queue, err := spool.OpenQueue(spool.QueueConfig{Dir: dir, MaxBytes: int64(a.settings.Spool.MaxBytes)}, a.log)
	if err != nil {
		return nil, fmt.Errorf("%w (spool.dir; 'off' for none)", err)
	}
	client, err := spool.NewClient(spool.ClientConfig{}, to, queue, a.registry, a.log)
	if err != nil {
		return nil, errors.Join(err, queue.Close())
	}
	return &spooling{client, queue}, nil
}

// quotas counts in Redis when there is one, else in this process.
func (a *app) quotas(ctx context.Context, part *collectorPart) (*quota.Gate, error) {
	var counters exporters.Counters
	if url := a.settings.Quota.Redis; url != "" {
		store, err := redis.Open(ctx, redis.Config{URL: url})
		if err != nil {
			return nil, fmt.Errorf("%w (quota.redis)", err)
		}
		part.counters, counters = store, store
	}
	limiter, err := quota.New(quota.Config{}, counters, a.registry, a.log)
	if err != nil {
		return nil, err
	}
	return quota.NewGate(limiter, quota.NewAbuse(a.settings.Quota.Abuse)), nil
}

// hasRules tells that a project's grouping may look at what repeats leave out.
func hasRules(p *schemas.Project) bool {
	return p.Settings != nil && (p.Settings.GroupingRules != "" || p.Settings.FingerprintRules != "")
}

// roomy writes as long as the embedded broker has room for what is not read yet.
// Meanwhile the spool takes it.
type roomy struct {
	produce.Client
	full func() bool
}

var errBrokerFull = errors.New("the embedded broker's log is full of what the pipeline has not read (embedded_kafka.max_log_bytes)")

func (r roomy) ProduceSync(ctx context.Context, records ...*kgo.Record) error {
	if r.full() {
		return errBrokerFull
	}
	return r.Client.ProduceSync(ctx, records...)
}

func (r roomy) Ping(ctx context.Context) error {
	if r.full() {
		return errBrokerFull
	}
	return r.Client.Ping(ctx)
}

func (a *app) collector(ctx context.Context) (_ lifecycle.Component, err error) {
	producer, err := kafka.NewProducer(a.kafkaConfig(), kafka.DefaultProducerConfig(), a.log, a.metrics)
	if err != nil {
		return nil, err
	}
	part := collectorPart{producer: producer}
	defer func() {
		if err != nil {
			closing, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			err = errors.Join(err, part.close(closing))
		}
	}()
	to := produce.FromKafka(producer)
	if a.brokerFull != nil {
		to = roomy{to, a.brokerFull}
	}
	if part.spool, err = a.openSpool(to); err != nil {
		return nil, err
	}
	if part.spool != nil {
		to = part.spool
		a.spoolHolds = func() int64 {
			_, entries := part.spool.queue.Size()
			return entries
		}
	}
	quotas, err := a.quotas(ctx, &part)
	if err != nil {
		return nil, err
	}
	part.ledger = outcome.NewLedger(to.ProduceSync, a.log)
	var made atomic.Pointer[collector.Collector]
	pressure := func() float64 {
		p := part.spool.Pressure()
		if c := made.Load(); c != nil {
			p = max(p, c.Pressure())
		}
		return p
	}
	part.Collector, err = collector.New(a.settings.Collector, collector.Deps{
		Kafka: to, Projects: a.metadata, Quota: quotas, Outcomes: part.ledger, Registerer: a.registry, Log: a.log,
		Around: func(next policy.Gate, outcomes outcome.Recorder) (policy.Gate, error) {
			return overload.NewGate(a.settings.Overload, overload.Deps{Next: next, Pressure: pressure, Exact: hasRules, Outcomes: outcomes, Registerer: a.registry})
		},
	})
	if err != nil {
		return nil, err
	}
	made.Store(part.Collector)
	return part, nil
}
