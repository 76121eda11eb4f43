package main

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/getsentry/sentry-go"
	"github.com/segmentio/kafka-go"
	"go.opentelemetry.io/otel/trace"

	"github.com/hoptrace/hoptrace/instrumentation"
	"github.com/hoptrace/hoptrace/instrumentation/otelkafkago"
)

const (
	writeBackoff = 200 * time.Millisecond
	flushTimeout = 5 * time.Second
)

// service is one of the four, with the clients that a program of its own would
// have.
type service struct {
	*shop
	name    string
	tracing *hoptrace.Client
	tracer  trace.Tracer
	errors  *sentry.Client
	writer  *otelkafkago.Writer

	closeOnce sync.Once
}

func newService(s *shop, name string) (*service, error) {
	tracing, err := hoptrace.New(hoptrace.Options{
		ServiceName:    name,
		ServiceVersion: "1.0.0",
		Environment:    "example",
		Endpoint:       s.cfg.otlp,
		Protocol:       s.cfg.protocol,
		DSN:            s.cfg.dsn,
		OnError:        func(err error) { s.log.Warn("tracing: "+err.Error(), "service", name) },
	})
	if err != nil {
		return nil, err
	}
	errors, err := sentry.NewClient(sentry.ClientOptions{
		Dsn:         s.cfg.dsn,
		Environment: "example",
		Release:     "orders-example@1.0.0",
		ServerName:  name,
	})
	if err != nil {
		tracing.Close()
		return nil, fmt.Errorf("cannot report errors to the DSN: %w", err)
	}
	return &service{
		shop:    s,
		name:    name,
		tracing: tracing,
		tracer:  tracing.TracerProvider().Tracer("github.com/hoptrace/hoptrace/examples/orders"),
		errors:  errors,
		writer: otelkafkago.NewWriter(&kafka.Writer{
			Addr:         kafka.TCP(s.cfg.brokers...),
			Balancer:     &kafka.Hash{},
			RequiredAcks: kafka.RequireAll,
			BatchTimeout: max(s.cfg.linger, time.Nanosecond), // zero would mean 1 s
			ErrorLogger:  s.kafkaLog(),
			Transport:    &kafka.Transport{ClientID: name, MetadataTTL: 5 * time.Second},
		}, otelkafkago.WithTracerProvider(tracing.TracerProvider())),
	}, nil
}

// kafkaLog takes what kafka-go has to say about connections it is about to make
// again: worth reading only when they never come back.
func (s *shop) kafkaLog() kafka.LoggerFunc {
	return func(format string, args ...any) { s.log.Debug("kafka-go: " + fmt.Sprintf(format, args...)) }
}

// close sends what is left and ends the service's clients.
func (svc *service) close() {
	svc.closeOnce.Do(func() {
		if err := svc.writer.Close(); err != nil {
			svc.log.Warn("cannot close the writer", "service", svc.name, "err", err)
		}
		if t, ok := svc.writer.Transport.(interface{ Unwrap() kafka.RoundTripper }); ok {
			if t, ok := t.Unwrap().(*kafka.Transport); ok {
				t.CloseIdleConnections()
			}
		}
		if !svc.errors.Flush(flushTimeout) {
			svc.log.Warn("not all errors were reported in time", "service", svc.name)
		}
		svc.errors.Close()
		if !svc.tracing.Flush(flushTimeout) {
			svc.log.Warn("not all spans were exported in time", "service", svc.name)
		}
		svc.tracing.Close()
	})
}

// send writes the order to topic and tries until the broker has it or ctx ends.
// A failed try that the broker did take makes a duplicate, as Kafka's
// at-least-once does.
func (svc *service) send(ctx context.Context, topic string, o *Order) error {
	value, err := json.Marshal(o)
	if err != nil {
		return fmt.Errorf("cannot encode order %s: %w", o.ID, err)
	}
	for {
		err = svc.writer.WriteMessages(ctx, kafka.Message{Topic: topic, Key: []byte(o.Customer), Value: value})
		if err == nil {
			svc.sent[topic].Add(1)
			return nil
		}
		svc.log.Warn("cannot send, trying again", "service", svc.name, "topic", topic, "err", err)
		select {
		case <-ctx.Done():
			return fmt.Errorf("cannot send order %s to %q: %w", o.ID, topic, err)
		case <-time.After(writeBackoff):
		}
	}
}

// createTopics makes the topics that are missing. The broker may still be
// starting.
func createTopics(ctx context.Context, cfg config, log interface{ Info(string, ...any) }) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	transport := &kafka.Transport{ClientID: "orders-example"}
	defer transport.CloseIdleConnections()
	client := &kafka.Client{Addr: kafka.TCP(cfg.brokers...), Timeout: 10 * time.Second, Transport: transport}
	names := []string{topicOrders, topicPayments, topicShipping}
	topics := make([]kafka.TopicConfig, 0, len(names))
	for _, t := range names {
		topics = append(topics, kafka.TopicConfig{Topic: t, NumPartitions: cfg.partitions, ReplicationFactor: 1})
	}
	for {
		res, err := client.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: topics})
		if err == nil {
			for topic, e := range res.Errors {
				switch {
				case e == nil:
					log.Info("topic made", "topic", topic, "partitions", cfg.partitions)
				case !isExists(e):
					err = fmt.Errorf("cannot create topic %q: %w", topic, e)
				}
			}
			if err == nil {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("cannot create the topics at %v within a minute; is the broker running there? %w", cfg.brokers, err)
		case <-time.After(writeBackoff):
		}
	}
}
