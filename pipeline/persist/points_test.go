package persist

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"

	"github.com/hoptrace/hoptrace/pipeline/consume"
	"github.com/hoptrace/hoptrace/pipeline/ingest"
	"github.com/hoptrace/hoptrace/pipeline/normalize"
	"github.com/hoptrace/hoptrace/schemas"
)

// pointRecord has n points of topic orders; the second of them has no time.
func pointRecord(t *testing.T, partition int32, offset int64, n int) consume.Record {
	t.Helper()
	md := pmetric.NewMetrics()
	m := md.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
	m.SetName("hoptrace.lag")
	g := m.SetEmptyGauge()
	for i := range n {
		p := g.DataPoints().AppendEmpty()
		if i != 1 {
			p.SetTimestamp(pcommon.NewTimestampFromTime(received.Add(-time.Second)))
		}
		p.SetIntValue(offset*100 + int64(i))
		p.Attributes().PutStr("messaging.destination.name", "orders")
	}
	value, err := pmetricotlp.NewExportRequestFromMetrics(md).MarshalProto()
	if err != nil {
		t.Fatal(err)
	}
	return consume.Record{
		Topic: schemas.TopicIngestMetrics, Partition: partition, Offset: offset, Value: value,
		Headers: headers("42", schemas.SchemaOTLPMetrics), Timestamp: received,
	}
}

func newPoints(s *store, writeRows int) *Points {
	return NewPoints(s, nil, normalize.DefaultConfig(), ingest.Limits{}, writeRows, metrics(), quiet())
}

func wantPointsOnce(t *testing.T, s *store, want int) {
	t.Helper()
	total := 0
	for _, positions := range s.points {
		for p, n := range positions {
			total++
			if n != 1 {
				t.Errorf("point %v written %d times", p, n)
			}
		}
	}
	if total != want {
		t.Errorf("%d points, want %d", total, want)
	}
}

func TestACrashAtAnyStepStoresEachPointOnce(t *testing.T) {
	var batch []consume.Record
	for p := range int32(2) {
		for o := range int64(4) {
			batch = append(batch, pointRecord(t, p, 10+o, 4))
		}
	}
	parts := []consume.Partition{partition(schemas.TopicIngestMetrics, 0, 10), partition(schemas.TopicIngestMetrics, 1, 10)}
	for dieAt := 1; ; dieAt++ {
		s := newStore()
		s.dieAt = dieAt
		h := newPoints(s, 7)
		assign(t, h, parts...)
		_, err := h.Handle(context.Background(), batch)
		if err == nil {
			if dieAt < 6 {
				t.Fatalf("only %d steps: the batch was to be written in parts", dieAt)
			}
			wantPointsOnce(t, s, 8*3)
			return // it took fewer steps than dieAt
		}
		if !errors.Is(err, errCrash) {
			t.Fatalf("step %d: %v", dieAt, err)
		}
		s.dieAt = 0
		// The same process tries again, then another begins where it began.
		for _, again := range []*Points{h, newPoints(s, 1000)} {
			assign(t, again, parts...)
			for _, part := range [][]consume.Record{batch[:5], batch[5:]} {
				if _, err := again.Handle(context.Background(), part); err != nil {
					t.Fatalf("step %d, after the restart: %v", dieAt, err)
				}
			}
			wantPointsOnce(t, s, 8*3)
		}
		if t.Failed() {
			t.Fatalf("died before step %d", dieAt)
		}
	}
}

func TestPointsBecomeRowsAndPoisonADeadLetter(t *testing.T) {
	s := newStore()
	s.maxRows = 2 // the store finds more too large
	h := newPoints(s, 0)
	assign(t, h, partition(schemas.TopicIngestMetrics, 0, 0))
	broken := pointRecord(t, 0, 1, 1)
	broken.Value = []byte("points?")
	other := pointRecord(t, 0, 2, 1)
	other.Headers = headers("42", schemas.SchemaOTLPTraces)
	dead, err := h.Handle(context.Background(), []consume.Record{pointRecord(t, 0, 0, 4), broken, other})
	if err != nil {
		t.Fatal(err)
	}
	if len(dead) != 2 || !strings.HasPrefix(dead[0].Reason, "undecodable: ") || !strings.HasPrefix(dead[1].Reason, "schema: ") {
		t.Errorf("dead letters %+v", dead)
	}
	if len(s.metrics) != 3 {
		t.Fatalf("%d points stored; want 3", len(s.metrics))
	}
	p := s.metrics[2]
	if p.Project != 42 || p.Name != "hoptrace.lag" || p.Topic != "orders" || p.Value != 3 || p.Position != (schemas.Position{Index: 3}) || p.Source == 0 {
		t.Errorf("stored %+v", p)
	}
}
