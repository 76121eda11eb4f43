package persist

import (
	"context"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/pipeline/consume"
	"github.com/hoptrace/hoptrace/pipeline/ingest"
	"github.com/hoptrace/hoptrace/pipeline/normalize"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/schemas/topics"
	"github.com/hoptrace/hoptrace/schemas/wire"
)

// logStore keeps what is written.
type logStore struct{ logs []schemas.Log }

func (s *logStore) WriteLogs(_ context.Context, logs []schemas.Log) error {
	s.logs = append(s.logs, logs...)
	return nil
}

func (s *logStore) WrittenLogs(_ context.Context, source schemas.Source, from int64) (map[schemas.Position]struct{}, error) {
	out := map[schemas.Position]struct{}{}
	for _, l := range s.logs {
		if l.Source == source && l.Position.Offset >= from {
			out[l.Position] = struct{}{}
		}
	}
	return out, nil
}

func TestLogsOfBothKindsAreStoredOnceAndImpossibleOnesAreNot(t *testing.T) {
	record := func(offset int64, value string) consume.Record {
		return consume.Record{Topic: topics.IngestLogs, Offset: offset, Value: []byte(value), Headers: headers("42", schemas.SchemaSentryLogs), Timestamp: received}
	}
	at := received.Add(-time.Second).Format(time.RFC3339Nano)
	batch := []consume.Record{
		record(10, `{"items":[{"timestamp":"`+at+`","level":"warning","body":"a"},{"body":"no time"},{"timestamp":"`+at+`","severity_number":21,"body":"b"}]}`),
		record(11, `{"items":`),
		record(12, `{"items":[{"timestamp":"`+at+`","body":"c"}]}`),
	}
	s := &logStore{}
	for range 2 { // the second time after a crash before the commit
		h := NewLogs(s, nil, normalize.DefaultConfig(), ingest.Limits{}, 0, metrics(), quiet())
		assign(t, h, partition(topics.IngestLogs, 0, 10))
		dead, err := h.Handle(t.Context(), batch)
		if err != nil || len(dead) != 1 || dead[0].Record.Offset != 11 {
			t.Fatalf("Handle = %v, %v; want the broken record as a dead letter", dead, err)
		}
	}
	if len(s.logs) != 3 {
		t.Fatalf("%d log records are stored, want 3", len(s.logs))
	}
	for i, want := range []struct {
		body, level string
		severity    uint8
	}{{"a", "warn", 13}, {"b", "fatal", 21}, {"c", "info", 9}} {
		if l := s.logs[i]; l.Body != want.body || l.Level != want.level || l.Severity != want.severity || l.Project != 42 || l.Received != received.UnixNano() {
			t.Errorf("log %d is %+v, want %+v", i, l, want)
		}
	}
}

func TestTransactionsAndSpanContainersBecomeSpans(t *testing.T) {
	at := func(ms int) string {
		return received.Add(-time.Second + time.Duration(ms)*time.Millisecond).Format(time.RFC3339Nano)
	}
	const trace, span = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	transaction := wire.IngestEvent{Type: "transaction", ProjectID: 42, EventID: "9ec79c33ec9942ab8353589fcb2e04dc", Payload: []byte(
		`{"transaction":"process orders","start_timestamp":"` + at(0) + `","timestamp":"` + at(5) + `","contexts":{"trace":{"trace_id":"` + trace + `","span_id":"` + span + `","op":"queue.process",
"data":{"messaging.system":"kafka","messaging.destination.name":"orders","messaging.destination.partition.id":"3","messaging.kafka.offset":17,"messaging.consumer.group.name":"g"}}}}`)}
	container := `{"version":2,"items":[{"trace_id":"` + trace + `","span_id":"1111111111111111","name":"send orders","start_timestamp":"` + at(0) + `","end_timestamp":"` + at(1) + `",
"attributes":{"sentry.op":{"value":"queue.publish"},"messaging.system":{"value":"kafka"},"messaging.destination.name":{"value":"orders"},"messaging.destination.partition.id":{"value":"3"},"messaging.kafka.offset":{"value":17}}}]}`
	s := newStore()
	h := newSpans(s, 0)
	assign(t, h, partition(topics.IngestTransactions, 0, 0), partition(topics.IngestSpans, 0, 0))
	dead, err := h.Handle(t.Context(), []consume.Record{
		{Topic: topics.IngestTransactions, Value: transaction.AppendMsgpack(nil), Headers: headers("42", schemas.SchemaIngestTransactions), Timestamp: received},
		{Topic: topics.IngestSpans, Value: []byte(container), Headers: headers("42", schemas.SchemaSentrySpans), Timestamp: received},
	})
	if err != nil || len(dead) != 0 {
		t.Fatalf("Handle = %v, %v", dead, err)
	}
	var sides []schemas.Side
	for _, m := range s.hops {
		if m.Topic != "orders" || m.Partition != 3 || m.Offset != 17 {
			t.Errorf("message row %+v, want orders/3/17", m)
		}
		sides = append(sides, m.Side)
	}
	if len(s.rows) != 2 || len(sides) != 2 || sides[0] == sides[1] {
		t.Errorf("%d spans and message rows of the sides %v, want two spans, one of the consumer and one of the producer", len(s.rows), sides)
	}
}
