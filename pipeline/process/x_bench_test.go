package process

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/internal/testevents"
	"github.com/hoptrace/hoptrace/pipeline/consume"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/schemas/wire"
)

// nothing is neighbours that cost nothing.
type nothing struct{}

func (nothing) Append(_ context.Context, p [][]byte) ([]schemas.NodeRef, error) {
	refs := make([]schemas.NodeRef, len(p))
	for i := range refs {
		refs[i] = "fwk.0123456789ab-1.abcdef.1"
	}
	return refs, nil
}

func (nothing) Read(context.Context, schemas.NodeRef) ([]byte, error) {
	return nil, exporters.ErrNotFound
}

func (nothing) SeeIssues(_ context.Context, s []exporters.Sighting) ([]exporters.Seen, error) {
	out := make([]exporters.Seen, len(s))
	for i := range out {
		out[i] = exporters.Seen{Issue: schemas.IssueID(i + 1), Hash: s[i].Hashes[0]} //nolint:gosec // small
	}
	return out, nil
}

func (nothing) ProduceSync(context.Context, ...*kgo.Record) error { return nil }

// BenchmarkHandle is a whole batch of events of 20 KB, 70 % of which repeat one of
// ten errors, without what is beside the stage.
func BenchmarkHandle(b *testing.B) {
	const n = 500
	batch := make([]consume.Record, n)
	for i := range batch {
		kind := i % 10
		if i%10 >= 7 {
			kind = 10 + i
		}
		m := wire.IngestEvent{Type: "event", Payload: testevents.Python(kind, uint64(i)), StartTime: received.Unix(), EventID: fmt.Sprintf("%032x", i+1), ProjectID: 42} //nolint:gosec // small
		batch[i] = consume.Record{
			Topic: "ingest-events", Offset: int64(i), Value: m.AppendMsgpack(nil), Timestamp: received,
			Headers: []consume.Header{
				{Key: schemas.HeaderSchema, Value: []byte(schemas.SchemaIngestEvents)},
				{Key: schemas.HeaderReceived, Value: strconv.AppendInt(nil, received.UnixNano(), 10)},
			},
		}
	}
	for _, workers := range []int{1, 2} {
		b.Run(fmt.Sprintf("workers=%d", workers), func(b *testing.B) {
			m, err := NewMetrics(prometheus.NewRegistry())
			if err != nil {
				b.Fatal(err)
			}
			h := NewEvents(New(Config{Workers: workers}, Deps{Nodes: nothing{}, Issues: nothing{}, Producer: nothing{}}, m, slog.New(slog.DiscardHandler)))
			b.ReportAllocs()
			for b.Loop() {
				if dead, err := h.Handle(context.Background(), batch); err != nil || len(dead) > 0 {
					b.Fatal(dead, err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*n), "µs/event")
		})
	}
}
