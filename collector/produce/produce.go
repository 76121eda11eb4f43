// Package produce hands records to Kafka and returns when they are durable. It
// opens no client (see internal/kafka) and keeps no spool.
package produce

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hoptrace/hoptrace/internal/kafka"
	"github.com/hoptrace/hoptrace/schemas"
)

// Errors that receivers turn into their protocol's answers.
var (
	// ErrUnavailable means that Kafka did not acknowledge in time. The sender may try
	// again; what was written in spite of the error is then there twice.
	ErrUnavailable = errors.New("Kafka did not take the data in time") //nolint:staticcheck // a name
	// ErrTooLarge means that the topic refuses records of this size.
	ErrTooLarge = errors.New("record is larger than the topic takes")
)

// Client is what a Producer writes with; [FromKafka] makes one.
type Client interface {
	// ProduceSync returns nil once all in-sync replicas have all records.
	ProduceSync(ctx context.Context, records ...*kgo.Record) error
	Ping(ctx context.Context) error
}

// FromKafka writes with p, which stays the caller's.
func FromKafka(p *kafka.Producer) Client { return kafkaClient{p} }

type kafkaClient struct{ *kafka.Producer }

func (k kafkaClient) Ping(ctx context.Context) error { return k.Client().Ping(ctx) }

// Producer writes to the ingest topics.
type Producer struct {
	client  Client
	timeout time.Duration
	observe func(time.Duration, error)
}

// New makes a producer that waits at most timeout for an acknowledgement.
// observe is told of each write; it may be nil.
func New(client Client, timeout time.Duration, observe func(time.Duration, error)) *Producer {
	if observe == nil {
		observe = func(time.Duration, error) {}
	}
	return &Producer{client, timeout, observe}
}

// Produce returns nil once all records are durable. It does not end with ctx:
// a sender that goes away does not leave half a request behind. It fails with
// ErrTooLarge or ErrUnavailable. The records belong to the producer from here on.
func (p *Producer) Produce(ctx context.Context, records ...*kgo.Record) error {
	if len(records) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.timeout)
	defer cancel()
	begin := time.Now()
	err := p.client.ProduceSync(ctx, records...)
	if err != nil {
		err = classify(err, records[0].Topic)
	}
	p.observe(time.Since(begin), err)
	return err
}

func classify(err error, topic string) error {
	kind := ErrUnavailable
	if errors.Is(err, kafka.ErrTooLarge) {
		kind = ErrTooLarge
	}
	return fmt.Errorf("cannot produce to topic %q: %w (%w)", topic, kind, err)
}

// Ping tells whether Kafka answers.
func (p *Producer) Ping(ctx context.Context) error {
	if err := p.client.Ping(ctx); err != nil {
		return fmt.Errorf("cannot reach Kafka: %w", err)
	}
	return nil
}

// Spans makes a record of an ExportTraceServiceRequest. Its key is random: a
// request holds many traces, and each project is to be spread over all partitions.
func Spans(project uint64, received time.Time, value []byte, count int, truncated bool) *kgo.Record {
	return ofRequest(schemas.TopicIngestSpans, schemas.SchemaOTLPTraces, project, received, value, count, truncated)
}

func ofRequest(topic, schema string, project uint64, received time.Time, value []byte, count int, truncated bool) *kgo.Record {
	key := binary.BigEndian.AppendUint64(make([]byte, 0, 8), rand.Uint64()) //nolint:gosec // no secret
	r := record(topic, key, project, received, value, schema)
	r.Headers = append(r.Headers, header(schemas.HeaderCount, strconv.Itoa(count)))
	if truncated {
		r.Headers = append(r.Headers, header(schemas.HeaderTruncate, "1"))
	}
	return r
}

// Metrics makes a record of an ExportMetricsServiceRequest. Its key is random,
// as that of Spans.
func Metrics(project uint64, received time.Time, value []byte, points int, truncated bool) *kgo.Record {
	return ofRequest(schemas.TopicIngestMetrics, schemas.SchemaOTLPMetrics, project, received, value, points, truncated)
}

// Event makes a record of a Sentry event's JSON. Its key is the event's id, so
// that an event sent twice lies on one partition.
func Event(project uint64, received time.Time, value []byte, id schemas.EventID) *kgo.Record {
	r := record(schemas.TopicIngestEvents, bytes.Clone(id[:]), project, received, value, schemas.SchemaSentryEvent)
	r.Headers = append(r.Headers, header(schemas.HeaderEventID, id.String()))
	return r
}

func record(topic string, key []byte, project uint64, received time.Time, value []byte, schema string) *kgo.Record {
	headers := make([]kgo.RecordHeader, 0, 5)
	headers = append(headers,
		header(schemas.HeaderSchema, schema),
		header(schemas.HeaderProject, strconv.FormatUint(project, 10)),
		header(schemas.HeaderReceived, strconv.FormatInt(received.UnixNano(), 10)))
	return &kgo.Record{Topic: topic, Key: key, Value: value, Headers: headers}
}

func header(key, value string) kgo.RecordHeader {
	return kgo.RecordHeader{Key: key, Value: []byte(value)}
}
