package persist

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/pipeline/consume"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/schemas/topics"
)

var errCrash = errors.New("the store went away")

// store is an in-memory store that can die at each of its steps.
type store struct {
	mu          sync.Mutex
	steps       int // durable steps done
	dieAt       int // before this step everything fails; 0 means never
	maxRows     int // more in one write is ErrTooLarge; 0 means no bound
	asked       []int64
	askedIngest int
	spans       map[schemas.Source]map[schemas.Position]int // how often each row was written
	messages    map[schemas.Source]map[schemas.Position]int
	events      map[schemas.Source]map[schemas.Position]schemas.Event
	points      map[schemas.Source]map[schemas.Position]int
	metrics     []schemas.MetricPoint
	eventDup    int
	rows        []schemas.Span
	hops        []schemas.Message
}

func newStore() *store {
	return &store{
		spans: map[schemas.Source]map[schemas.Position]int{}, messages: map[schemas.Source]map[schemas.Position]int{},
		points: map[schemas.Source]map[schemas.Position]int{},
		events: map[schemas.Source]map[schemas.Position]schemas.Event{},
	}
}

func (s *store) step() error {
	if s.dieAt > 0 && s.steps+1 >= s.dieAt {
		return errCrash
	}
	s.steps++
	return nil
}

func count(to map[schemas.Source]map[schemas.Position]int, source schemas.Source, p schemas.Position) {
	if to[source] == nil {
		to[source] = map[schemas.Position]int{}
	}
	to[source][p]++
}

// WriteSpans stores the messages, then half of the spans, then the rest, as a
// store without transactions does.
func (s *store) WriteSpans(_ context.Context, spans []schemas.Span, messages []schemas.Message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.maxRows > 0 && len(spans)+len(messages) > s.maxRows {
		return exporters.ErrTooLarge
	}
	if err := s.step(); err != nil {
		return err
	}
	for i := range messages {
		count(s.messages, messages[i].Source, messages[i].Position)
		m := messages[i]
		m.Topic = string([]byte(m.Topic))
		s.hops = append(s.hops, m)
	}
	half := len(spans) / 2
	for i := range spans {
		if i == half {
			if err := s.step(); err != nil {
				return err
			}
		}
		count(s.spans, spans[i].Source, spans[i].Position)
		sp := spans[i]
		sp.Name = string([]byte(sp.Name))
		sp.Attributes, sp.Resource, sp.Links, sp.Events = nil, nil, nil, nil
		s.rows = append(s.rows, sp)
	}
	return s.step() // durable, but the answer may be lost
}

func (s *store) WrittenSpans(_ context.Context, source schemas.Source, from int64) (exporters.Written, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, from)
	w := exporters.Written{Spans: map[schemas.Position]struct{}{}, Messages: map[schemas.Position]struct{}{}}
	for p := range s.spans[source] {
		if p.Offset >= from {
			w.Spans[p] = struct{}{}
		}
	}
	for p := range s.messages[source] {
		if p.Offset >= from {
			w.Messages[p] = struct{}{}
		}
	}
	return w, nil
}

func (s *store) WriteEvents(_ context.Context, events []schemas.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.maxRows > 0 && len(events) > s.maxRows {
		return exporters.ErrTooLarge
	}
	for _, e := range events {
		if err := s.step(); err != nil {
			return err
		}
		if s.events[e.Source] == nil {
			s.events[e.Source] = map[schemas.Position]schemas.Event{}
		}
		if _, is := s.events[e.Source][e.Position]; is {
			s.eventDup++
		}
		s.events[e.Source][e.Position] = e
	}
	return s.step()
}

func (s *store) WrittenEvents(_ context.Context, source schemas.Source, from int64) (map[schemas.Position]struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, from)
	w := map[schemas.Position]struct{}{}
	for p := range s.events[source] {
		if p.Offset >= from {
			w[p] = struct{}{}
		}
	}
	return w, nil
}

func (s *store) WrittenIngest(_ context.Context, ingest schemas.Source, from int64) (map[int64]struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.askedIngest++
	w := map[int64]struct{}{}
	for _, rows := range s.events {
		for _, e := range rows {
			if e.Ingest == ingest && e.IngestOffset >= from {
				w[e.IngestOffset] = struct{}{}
			}
		}
	}
	return w, nil
}

// WriteMetrics stores half of the points, then the rest.
func (s *store) WriteMetrics(_ context.Context, points []schemas.MetricPoint) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.maxRows > 0 && len(points) > s.maxRows {
		return exporters.ErrTooLarge
	}
	for i := range points {
		if i == 0 || i == len(points)/2 {
			if err := s.step(); err != nil {
				return err
			}
		}
		count(s.points, points[i].Source, points[i].Position)
		p := points[i]
		p.Name, p.Topic = string([]byte(p.Name)), string([]byte(p.Topic))
		p.Attributes, p.Resource, p.Exemplars, p.Histogram = nil, nil, nil, schemas.Distribution{}
		s.metrics = append(s.metrics, p)
	}
	return s.step() // durable, but the answer may be lost
}

func (s *store) WrittenMetrics(_ context.Context, source schemas.Source, from int64) (map[schemas.Position]struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, from)
	w := map[schemas.Position]struct{}{}
	for p := range s.points[source] {
		if p.Offset >= from {
			w[p] = struct{}{}
		}
	}
	return w, nil
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func metrics() *Metrics {
	m, err := NewMetrics(prometheus.NewRegistry())
	if err != nil {
		panic(err)
	}
	return m
}

var received = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func headers(project, schema string) []consume.Header {
	return []consume.Header{
		{Key: schemas.HeaderProject, Value: []byte(project)},
		{Key: schemas.HeaderReceived, Value: strconv.AppendInt(nil, received.UnixNano(), 10)},
		{Key: schemas.HeaderSchema, Value: []byte(schema)},
	}
}

var topicID = [16]byte{7}

// spanRecord has n send spans of topic orders, whose offsets are offset*100+i.
func spanRecord(tb testing.TB, partition int32, offset int64, n int) consume.Record {
	tb.Helper()
	td := ptrace.NewTraces()
	rs := td.ResourceSpans().AppendEmpty()
	rs.Resource().Attributes().PutStr("service.name", "checkout")
	ss := rs.ScopeSpans().AppendEmpty()
	for i := range n {
		s := ss.Spans().AppendEmpty()
		s.SetTraceID(pcommon.TraceID{1, byte(offset)})
		s.SetSpanID(pcommon.SpanID{1, byte(offset), byte(i), byte(i >> 8)})
		s.SetName("send orders")
		s.SetKind(ptrace.SpanKindProducer)
		s.SetStartTimestamp(pcommon.NewTimestampFromTime(received))
		s.SetEndTimestamp(pcommon.NewTimestampFromTime(received.Add(time.Millisecond)))
		s.Attributes().PutStr("messaging.system", "kafka")
		s.Attributes().PutStr("messaging.operation.type", "send")
		s.Attributes().PutStr("messaging.destination.name", "orders")
		s.Attributes().PutInt("messaging.kafka.offset", offset*100+int64(i))
		s.Attributes().PutStr("messaging.destination.partition.id", "0")
	}
	value, err := ptraceotlp.NewExportRequestFromTraces(td).MarshalProto()
	if err != nil {
		tb.Fatal(err)
	}
	return consume.Record{
		Topic: schemas.TopicIngestSpans, Partition: partition, Offset: offset, Value: value,
		Headers: headers("42", schemas.SchemaOTLPTraces), Timestamp: received,
	}
}

// eventRecord is one of topic events, as process-events writes it.
func eventRecord(offset int64, change func(*Row)) consume.Record {
	r := Row{Event: schemas.Event{
		Project: 42, ID: schemas.EventID{15: byte(offset)}, Time: received.UnixNano() + offset, Received: received.UnixNano(), Issue: 7, Fingerprint: schemas.Fingerprint{1},
		Partition: schemas.Unknown, Offset: schemas.Unknown, Age: schemas.Unknown, OriginalPartition: schemas.Unknown, OriginalOffset: schemas.Unknown,
		Ingest: 9, IngestOffset: 1000 + offset, Node: "a.b.c.d", Weight: 1,
	}, Title: "E: v"}
	if change != nil {
		change(&r)
	}
	return consume.Record{
		Topic: topics.Events, Offset: offset, Value: []byte("[]"), Timestamp: received,
		Headers: append(headers("42", schemas.SchemaEvents), consume.Header{Key: schemas.HeaderRow, Value: AppendRow(nil, &r)}),
	}
}

func partition(topic string, n int32, committed int64) consume.Partition {
	return consume.Partition{Topic: topic, TopicID: topicID, Partition: n, CommittedOffset: committed}
}
