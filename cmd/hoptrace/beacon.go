package main

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/hoptrace/hoptrace/collector/beacon"
	"github.com/hoptrace/hoptrace/instrumentation/messaging"
	"github.com/hoptrace/hoptrace/internal/kafka"
	"github.com/hoptrace/hoptrace/internal/lifecycle"
)

// beaconPart closes the producer after the beacon that uses it.
type beaconPart struct {
	*beacon.Beacon
	producer *kafka.Producer
}

func (p beaconPart) Shutdown(ctx context.Context) error {
	return errors.Join(p.Beacon.Shutdown(ctx), p.producer.Close(ctx))
}

// beacon asks brokers' clocks beside the collector. It has a producer of its own, so
// that the collector notices nothing of it.
func (a *app) beacon(context.Context) (lifecycle.Component, error) {
	cfg, host := a.settings.Beacon, messaging.BootID(messaging.BootIDFile)
	if !cfg.Enabled {
		return part{name: "clock beacon"}, nil
	}
	if host == "" {
		a.log.Warn("no beacon asks brokers' clocks: this system tells no boot id, by which a host's clock is known", "file", messaging.BootIDFile)
		return part{name: "clock beacon"}, nil
	}
	pc := kafka.DefaultProducerConfig()
	pc.MaxMessageBytes, pc.MaxBufferedBytes, pc.DeliveryTimeout = 1<<20, 4<<20, 5*time.Second
	producer, err := kafka.NewProducer(a.kafkaConfig(), pc, a.log, a.metrics)
	if err != nil {
		return nil, err
	}
	name, _ := os.Hostname()
	b, err := beacon.New(cfg, beacon.Deps{Kafka: a.kafkaConfig(), Metrics: a.metrics, Send: producer.ProduceSync, Host: host, Name: name}, a.registry, a.log)
	if err != nil {
		closing, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		return nil, errors.Join(err, producer.Close(closing))
	}
	return beaconPart{b, producer}, nil
}
