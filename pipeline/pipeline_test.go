package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"go.uber.org/goleak"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/internal/embeddedkafka"
	"github.com/hoptrace/hoptrace/internal/kafka"
	"github.com/hoptrace/hoptrace/internal/testcontract"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/schemas/topics"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

// row is one stored row, wherever it came from.
type row struct {
	source   schemas.Source
	position schemas.Position
}

// memory is every store at once. It can be told to fail, and to stop
// answering after it stored.
type memory struct {
	mu       sync.Mutex
	spans    map[row]int
	messages map[row]int
	events   map[row]int
	points   map[row]int
	ingested map[row]int
	times    map[schemas.EventID]int64
	payloads int
	issues   map[schemas.Fingerprint]schemas.IssueID
	writes   int
	fail     func(write int) (store bool, err error)
}

func newMemory() *memory {
	return &memory{
		spans: map[row]int{}, messages: map[row]int{}, events: map[row]int{}, points: map[row]int{}, ingested: map[row]int{}, times: map[schemas.EventID]int64{},
		issues: map[schemas.Fingerprint]schemas.IssueID{},
		fail:   func(int) (bool, error) { return true, nil },
	}
}

func (m *memory) WriteSpans(_ context.Context, spans []schemas.Span, messages []schemas.Message) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.writes++
	store, err := m.fail(m.writes)
	if store {
		for i := range spans {
			m.spans[row{spans[i].Source, spans[i].Position}]++
		}
		for i := range messages {
			m.messages[row{messages[i].Source, messages[i].Position}]++
		}
	}
	return err
}

func written(rows map[row]int, source schemas.Source, from int64) map[schemas.Position]struct{} {
	out := map[schemas.Position]struct{}{}
	for r := range rows {
		if r.source == source && r.position.Offset >= from {
			out[r.position] = struct{}{}
		}
	}
	return out
}

func (m *memory) WrittenSpans(_ context.Context, source schemas.Source, from int64) (exporters.Written, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return exporters.Written{Spans: written(m.spans, source, from), Messages: written(m.messages, source, from)}, nil
}

func (m *memory) WriteEvents(_ context.Context, events []schemas.Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range events {
		m.events[row{events[i].Source, events[i].Position}]++
		m.ingested[row{events[i].Ingest, schemas.Position{Offset: events[i].IngestOffset}}]++
		m.times[events[i].ID] = events[i].Time
	}
	return nil
}

func (m *memory) WrittenEvents(_ context.Context, source schemas.Source, from int64) (map[schemas.Position]struct{}, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return written(m.events, source, from), nil
}

func (m *memory) WrittenIngest(_ context.Context, ingest schemas.Source, from int64) (map[int64]struct{}, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[int64]struct{}{}
	for at := range m.ingested {
		if at.source == ingest && at.position.Offset >= from {
			out[at.position.Offset] = struct{}{}
		}
	}
	return out, nil
}

func (m *memory) WriteMetrics(_ context.Context, points []schemas.MetricPoint) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range points {
		m.points[row{points[i].Source, points[i].Position}]++
	}
	return nil
}

func (m *memory) WrittenMetrics(_ context.Context, source schemas.Source, from int64) (map[schemas.Position]struct{}, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return written(m.points, source, from), nil
}

func (m *memory) SeeIssues(_ context.Context, sightings []exporters.Sighting) ([]exporters.Seen, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []exporters.Seen
	for _, s := range sightings {
		id, is := m.issues[s.Hashes[0]]
		if !is {
			id = schemas.IssueID(len(m.issues) + 1)
			m.issues[s.Hashes[0]] = id
		}
		out = append(out, exporters.Seen{Issue: id, Hash: s.Hashes[0], IsNew: !is})
	}
	return out, nil
}

func (m *memory) Append(_ context.Context, payloads [][]byte) ([]schemas.NodeRef, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var refs []schemas.NodeRef
	for range payloads {
		m.payloads++
		refs = append(refs, schemas.NodeRef(strconv.Itoa(m.payloads)))
	}
	return refs, nil
}

func (m *memory) Read(context.Context, schemas.NodeRef) ([]byte, error) {
	return nil, errors.New("the pipeline does not read this")
}

func (m *memory) Ping(context.Context) error { return nil }

// counts gives how many rows there are, and fails when one is there twice.
func (m *memory) counts(t *testing.T) (spans, messages, events int) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	for kind, rows := range map[string]map[row]int{"span": m.spans, "message": m.messages, "event": m.events, "ingest record": m.ingested, "metric point": m.points} {
		for r, n := range rows {
			if n != 1 {
				t.Errorf("%s row %v is there %d times", kind, r, n)
			}
		}
	}
	return len(m.spans), len(m.messages), len(m.events)
}

// line is a broker with the topics, and a producer.
type line struct {
	cfg      Config
	producer *kafka.Producer
	client   *kgo.Client
}

func newLine(t *testing.T) *line {
	t.Helper()
	bc := embeddedkafka.DefaultConfig()
	bc.Dir, bc.Listen = t.TempDir(), "127.0.0.1:0"
	b, err := embeddedkafka.New(bc, quiet)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Shutdown(context.Background()) })
	l := &line{cfg: DefaultConfig()}
	l.cfg.Kafka = kafka.Config{Brokers: []string{b.Addr()}, ClientID: "test"}
	l.cfg.BatchWait, l.cfg.EventBatchWait, l.cfg.MetricBatchWait = 50*time.Millisecond, 50*time.Millisecond, 50*time.Millisecond
	if l.client, err = kafka.NewClient(l.cfg.Kafka, quiet, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.client.Close)
	if err := kafka.NewAdmin(l.client, quiet).EnsureTopics(t.Context(), topics.All()); err != nil {
		t.Fatal(err)
	}
	if l.producer, err = kafka.NewProducer(l.cfg.Kafka, kafka.DefaultProducerConfig(), quiet, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.producer.Close(context.Background()) })
	return l
}

func (l *line) send(t *testing.T, topic, schema string, values ...[]byte) {
	t.Helper()
	var records []*kgo.Record
	for i, v := range values {
		records = append(records, &kgo.Record{Topic: topic, Key: []byte(strconv.Itoa(i)), Value: v, Headers: []kgo.RecordHeader{
			{Key: schemas.HeaderProject, Value: []byte("1")},
			{Key: schemas.HeaderReceived, Value: strconv.AppendInt(nil, time.Now().UnixNano(), 10)},
			{Key: schemas.HeaderSchema, Value: []byte(schema)},
		}})
	}
	if err := l.producer.ProduceSync(t.Context(), records...); err != nil {
		t.Fatal(err)
	}
}

func (l *line) start(t *testing.T, m *memory) *Pipeline {
	t.Helper()
	p, err := New(l.cfg, Deps{Spans: m, Events: m, Metrics: m, Logs: noLogs{}, Ledger: noLedger{}, Issues: m, Nodes: m}, prometheus.NewRegistry(), quiet)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Shutdown(context.Background()) })
	return p
}

func wait(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited 30 s for %s", what)
		}
	}
}

// sends is a request with n send spans.
func sends(t *testing.T, request, n int) []byte {
	t.Helper()
	td := ptrace.NewTraces()
	ss := td.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty()
	for i := range n {
		s := ss.Spans().AppendEmpty()
		s.SetTraceID(pcommon.TraceID{1, byte(request), byte(request >> 8)})
		s.SetSpanID(pcommon.SpanID{1, byte(i)})
		s.SetName("send orders")
		s.SetKind(ptrace.SpanKindProducer)
		s.SetStartTimestamp(pcommon.NewTimestampFromTime(time.Now()))
		s.SetEndTimestamp(pcommon.NewTimestampFromTime(time.Now()))
		s.Attributes().PutStr("messaging.system", "kafka")
		s.Attributes().PutStr("messaging.operation.type", "send")
		s.Attributes().PutStr("messaging.destination.name", "orders")
	}
	value, err := ptraceotlp.NewExportRequestFromTraces(td).MarshalProto()
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// gauges is a request with n points.
func gauges(t *testing.T, n int) []byte {
	t.Helper()
	md := pmetric.NewMetrics()
	m := md.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
	m.SetName("lag")
	g := m.SetEmptyGauge()
	for i := range n {
		p := g.DataPoints().AppendEmpty()
		p.SetTimestamp(pcommon.NewTimestampFromTime(time.Now()))
		p.SetIntValue(int64(i))
	}
	value, err := pmetricotlp.NewExportRequestFromMetrics(md).MarshalProto()
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func event(i int) []byte {
	return fmt.Appendf(nil, `{"event_id":"%032x","exception":[{"type":"E","value":"number %d"}]}`, i+1, i)
}

func TestRecordsOnTheTopicsBecomeRowsAndPoisonBecomesDeadLetters(t *testing.T) {
	l, m := newLine(t), newMemory()
	l.send(t, topics.IngestSpans, schemas.SchemaOTLPTraces, sends(t, 1, 3), []byte("not protobuf"), sends(t, 2, 4))
	l.send(t, topics.IngestEvents, schemas.SchemaSentryEvent, event(1), []byte(`{"broken`), event(2))
	l.send(t, topics.IngestMetrics, schemas.SchemaOTLPMetrics, gauges(t, 5), []byte("not protobuf either"), gauges(t, 1))
	p := l.start(t, m)
	wait(t, "7 spans, 7 messages, 2 events and 6 metric points", func() bool {
		s, ms, e := m.counts(t)
		m.mu.Lock()
		defer m.mu.Unlock()
		return s == 7 && ms == 7 && e == 2 && len(m.points) == 6
	})
	if len(m.issues) != 1 || m.payloads != 2 {
		t.Errorf("%d issues and %d payloads, want 1 and 2", len(m.issues), m.payloads)
	}
	if err := p.Ready(t.Context()); err != nil {
		t.Errorf("not ready while it works: %v", err)
	}
	reader, err := kafka.NewClient(l.cfg.Kafka, quiet, nil, kgo.ConsumeTopics(topics.IngestSpansDLQ, topics.IngestEventsDLQ, topics.IngestMetricsDLQ))
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	reasons := map[string]string{}
	wait(t, "a dead letter of each topic", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		reader.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
			for _, h := range r.Headers {
				if h.Key == "dlq-reason" {
					reasons[r.Topic] = string(h.Value)
				}
			}
		})
		return len(reasons) == 3
	})
	if got := reasons[topics.IngestSpansDLQ]; !strings.HasPrefix(got, "undecodable: broken protobuf at byte 0") {
		t.Errorf("reason for the spans is %q", got)
	}
	if got := reasons[topics.IngestMetricsDLQ]; !strings.HasPrefix(got, "undecodable: broken protobuf at byte 0") {
		t.Errorf("reason for the metrics is %q", got)
	}
	if got := reasons[topics.IngestEventsDLQ]; !strings.HasPrefix(got, "undecodable: event is broken JSON") {
		t.Errorf("reason for the event is %q", got)
	}
	// The test's own poison aside, all that lies on the bus is what contracts say.
	counts := testcontract.Check(t, l.cfg.Kafka, topics.IngestSpans, topics.IngestEvents, topics.IngestMetrics)
	if counts[topics.IngestSpansDLQ] != 1 || counts[topics.IngestEventsDLQ] != 1 || counts[topics.IngestMetricsDLQ] != 1 {
		t.Errorf("records by topic %v; want one dead letter of each", counts)
	}
}

func TestWhatIsOlderThanTheStoreKeepsIsNotSaidToBeStored(t *testing.T) {
	l, m := newLine(t), newMemory()
	l.cfg.RetentionDays = 7
	now := time.Now()
	at := func(i, days int) []byte {
		return fmt.Appendf(nil, `{"event_id":"%032x","message":"m","timestamp":%d}`, i, now.AddDate(0, 0, -days).Unix())
	}
	l.send(t, topics.IngestEvents, schemas.SchemaSentryEvent, at(6, 6), at(8, 8))
	l.start(t, m)
	wait(t, "2 events", func() bool { _, _, e := m.counts(t); return e == 2 })
	for id, want := range map[byte]time.Time{6: now.AddDate(0, 0, -6), 8: now} {
		if got := time.Unix(0, m.times[schemas.EventID{15: id}]); got.Sub(want).Abs() > time.Minute {
			t.Errorf("the event of %d days ago is stored at %v; want %v", id, got, want)
		}
	}
}

// TestAStoreThatFailsAndAPipelineThatStartsAgainStoreEachRowOnce fails writes
// before and after they are stored, and stops the pipeline in between without
// letting it commit.
func TestAStoreThatFailsAndAPipelineThatStartsAgainStoreEachRowOnce(t *testing.T) {
	l, m := newLine(t), newMemory()
	l.cfg.BatchSpans = 40 // many batches
	failed := errors.New("the answer was lost")
	down := true // from the fourth write on the store keeps what it gets and never says so
	m.fail = func(write int) (bool, error) {
		switch {
		case write == 2:
			return false, failed
		case write == 3 || write >= 6 && down:
			return true, failed
		}
		return true, nil
	}
	const requests, each, events = 60, 7, 30
	for i := range requests {
		l.send(t, topics.IngestSpans, schemas.SchemaOTLPTraces, sends(t, i, each))
	}
	for i := range events {
		l.send(t, topics.IngestEvents, schemas.SchemaSentryEvent, event(i))
	}
	p := l.start(t, m)
	wait(t, "the store to be down", func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.writes >= 7
	})
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Shutdown(ended); err == nil {
		t.Error("the last batch was given up, and nobody was told")
	}
	if err := p.Ready(t.Context()); err == nil {
		t.Error("ready after Shutdown")
	}
	m.mu.Lock()
	down = false
	m.mu.Unlock()
	l.start(t, m)
	wait(t, "every row", func() bool {
		s, ms, e := m.counts(t)
		return s == requests*each && ms == requests*each && e == events
	})
}

func TestConfigAndStoresAreCheckedAtOnce(t *testing.T) {
	cfg := DefaultConfig()
	cfg.BatchSpans, cfg.BatchWait, cfg.SessionTimeout, cfg.Kafka.Brokers = 0, 0, time.Second, nil
	_, err := New(cfg, Deps{Spans: newMemory()}, prometheus.NewRegistry(), quiet)
	for _, want := range []string{"batch_spans", "batch_wait", "session_timeout", "brokers", "no store for events", "no store for metrics", "no store for issues", "no store for payloads"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not name %s: %v", want, err)
		}
	}
	if err != nil && strings.Contains(err.Error(), "no store for spans") {
		t.Errorf("the error names a store that is there: %v", err)
	}
}

func TestTheTableNamesTopicsThatExist(t *testing.T) {
	for _, s := range Stages {
		topic, err := topics.Get(s.Topic)
		if err != nil {
			t.Errorf("stage %s: %v", s.Name, err)
		}
		if topic.DLQ != s.DLQ {
			t.Errorf("stage %s writes dead letters to %q, topic %s says %q", s.Name, s.DLQ, s.Topic, topic.DLQ)
		}
	}
}
