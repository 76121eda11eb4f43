// Package produce hands records to Kafka and returns when they are durable. It
// opens no client (see internal/kafka) and keeps no spool.
package produce

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hoptrace/hoptrace/internal/kafka"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/schemas/topics"
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

// Meta is what a record says beside its value. Zero fields are left out.
type Meta struct {
	Topic, Schema string
	Project       uint64
	Received      time.Time
	SentAt        time.Time // by the sender's clock
	// EventID is the record's key, so that what belongs to one event lies on one
	// partition in order. Without one the key is random: a request holds many
	// traces, and each project is to be spread over all partitions.
	EventID   schemas.EventID
	Category  schemas.Category
	Count     int
	Truncated bool
}

// Record makes a record, which keeps value.
func Record(m Meta, value []byte) *kgo.Record {
	// One piece of memory for the key and the headers' values.
	text := make([]byte, 0, 160)
	cut := func(from int) []byte { return text[from:len(text):len(text)] }
	hasID := m.EventID != (schemas.EventID{})
	if hasID {
		text = append(text, m.EventID[:]...)
	} else {
		text = binary.BigEndian.AppendUint64(text, rand.Uint64()) //nolint:gosec // no secret
	}
	r := &kgo.Record{Topic: m.Topic, Key: cut(0), Value: value, Headers: make([]kgo.RecordHeader, 0, 8)}
	header := func(key string, from int) {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: key, Value: cut(from)})
	}
	from := len(text)
	text = append(text, m.Schema...)
	header(schemas.HeaderSchema, from)
	from = len(text)
	text = strconv.AppendUint(text, m.Project, 10)
	header(schemas.HeaderProject, from)
	from = len(text)
	text = strconv.AppendInt(text, m.Received.UnixNano(), 10)
	header(schemas.HeaderReceived, from)
	if !m.SentAt.IsZero() {
		from = len(text)
		text = strconv.AppendInt(text, m.SentAt.UnixNano(), 10)
		header(schemas.HeaderSentAt, from)
	}
	if m.Category != "" {
		from = len(text)
		text = append(text, m.Category...)
		header(schemas.HeaderCategory, from)
	}
	if hasID {
		from = len(text)
		text = hex.AppendEncode(text, m.EventID[:])
		header(schemas.HeaderEventID, from)
	}
	if m.Count > 0 {
		from = len(text)
		text = strconv.AppendInt(text, int64(m.Count), 10)
		header(schemas.HeaderCount, from)
	}
	if m.Truncated {
		from = len(text)
		text = append(text, '1')
		header(schemas.HeaderTruncate, from)
	}
	return r
}

// Spans makes a record of an ExportTraceServiceRequest.
func Spans(project uint64, received time.Time, value []byte, count int, truncated bool) *kgo.Record {
	return Record(Meta{
		Topic: topics.IngestSpans, Schema: schemas.SchemaOTLPTraces, Project: project, Received: received,
		Category: schemas.CategorySpan, Count: count, Truncated: truncated,
	}, value)
}

// Metrics makes a record of an ExportMetricsServiceRequest.
func Metrics(project uint64, received time.Time, value []byte, points int, truncated bool) *kgo.Record {
	return Record(Meta{
		Topic: topics.IngestMetrics, Schema: schemas.SchemaOTLPMetrics, Project: project, Received: received,
		Category: schemas.CategoryTraceMetric, Count: points, Truncated: truncated,
	}, value)
}

// Logs makes a record of an ExportLogsServiceRequest.
func Logs(project uint64, received time.Time, value []byte, logs int, truncated bool) *kgo.Record {
	return Record(Meta{
		Topic: topics.IngestLogs, Schema: schemas.SchemaOTLPLogs, Project: project, Received: received,
		Category: schemas.CategoryLogItem, Count: logs, Truncated: truncated,
	}, value)
}
