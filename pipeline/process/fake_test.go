package process

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/pipeline/consume"
	"github.com/hoptrace/hoptrace/pipeline/persist"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/schemas/topics"
	"github.com/hoptrace/hoptrace/schemas/wire"
)

var errCrash = errors.New("it went away")

var received = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

// world is every neighbour of the stage at once. It can die before each step.
type world struct {
	mu       sync.Mutex
	steps    int
	dieAt    int // before this step everything fails; 0 means never
	nodes    map[schemas.NodeRef]string
	issues   map[schemas.Fingerprint]schemas.IssueID
	calls    int // of SeeIssues
	seen     []exporters.Sighting
	discard  bool
	records  []*kgo.Record
	stored   map[schemas.EventID]schemas.Event
	asked    int // of the store of events
	outcomes []string
}

func newWorld() *world {
	return &world{nodes: map[schemas.NodeRef]string{}, issues: map[schemas.Fingerprint]schemas.IssueID{}, stored: map[schemas.EventID]schemas.Event{}}
}

func (w *world) step() error {
	if w.dieAt > 0 && w.steps+1 >= w.dieAt {
		return errCrash
	}
	w.steps++
	return nil
}

// Append keeps payloads, and may lose its answer.
func (w *world) Append(_ context.Context, payloads [][]byte) ([]schemas.NodeRef, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.step(); err != nil {
		return nil, err
	}
	var refs []schemas.NodeRef
	for _, p := range payloads {
		ref := schemas.NodeRef(fmt.Sprint("node", len(w.nodes)))
		w.nodes[ref] = string(p)
		refs = append(refs, ref)
	}
	return refs, w.step()
}

func (w *world) Read(context.Context, schemas.NodeRef) ([]byte, error) {
	return nil, errors.New("the stage reads no payload")
}

// SeeIssues is one transaction whose answer may be lost.
func (w *world) SeeIssues(_ context.Context, sightings []exporters.Sighting) ([]exporters.Seen, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls++
	if err := w.step(); err != nil {
		return nil, err
	}
	var out []exporters.Seen
	for _, s := range sightings {
		id, is := w.issues[s.Hashes[0]]
		if !is {
			id = schemas.IssueID(len(w.issues) + 1)
			w.issues[s.Hashes[0]] = id
		}
		w.seen = append(w.seen, s)
		out = append(out, exporters.Seen{Issue: id, Hash: s.Hashes[0], IsNew: !is, Discard: w.discard})
	}
	return out, w.step()
}

// ProduceSync writes half of the records, then the rest, and may lose its answer.
func (w *world) ProduceSync(_ context.Context, records ...*kgo.Record) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, r := range records {
		if i == 0 || i == len(records)/2 {
			if err := w.step(); err != nil {
				return err
			}
		}
		c := *r
		c.Value = []byte(string(r.Value))
		w.records = append(w.records, &c)
	}
	return w.step()
}

func (w *world) Event(_ context.Context, _ uint64, id schemas.EventID) (schemas.Event, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked++
	e, is := w.stored[id]
	if !is {
		return e, exporters.ErrNotFound
	}
	return e, nil
}

// WriteTallies is the ledger's.
func (w *world) WriteTallies(_ context.Context, lines []schemas.Tally) error {
	for _, l := range lines {
		w.outcomes = append(w.outcomes, fmt.Sprint(l.Project, " ", l.Category, " ", l.Outcome, " ", l.Reason, " ", l.Position.Offset))
	}
	return nil
}

func newStage(t testing.TB, w *world) *Events {
	t.Helper()
	m, err := NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return NewEvents(New(Config{RetentionDays: 14}, Deps{Nodes: w, Issues: w, Producer: w, Finder: w}, m, slog.New(slog.DiscardHandler)))
}

// sent is what lies on topic events: rows by event id, and how many there are.
func (w *world) sent(t *testing.T) (rows map[schemas.EventID]persist.Row, n int) {
	t.Helper()
	rows = map[schemas.EventID]persist.Row{}
	for _, r := range w.records {
		if r.Topic != topics.Events {
			continue
		}
		var m wire.EventsInsert
		if err := m.DecodeJSON(r.Value); err != nil {
			t.Fatal(err)
		}
		row, err := persist.ParseRow(header(r, schemas.HeaderRow))
		if err != nil {
			t.Fatal(err)
		}
		if m.Event.EventID != row.ID.String() || m.Event.GroupID != uint64(row.Issue) || m.Event.PrimaryHash != row.Fingerprint.String() || m.Event.ProjectID != row.Project || string(header(r, schemas.HeaderSchema)) != schemas.SchemaEvents {
			t.Errorf("value and row differ: %+v, %+v", m.Event, row)
		}
		rows[row.ID] = row
		n++
	}
	return rows, n
}

func header(r *kgo.Record, key string) []byte {
	for _, h := range r.Headers {
		if h.Key == key {
			return h.Value
		}
	}
	return nil
}

func id(n int) string { return fmt.Sprintf("%032x", n) }

// record is one of topic ingest-events.
func record(offset int64, kind string, eventID int, payload string, more ...consume.Header) consume.Record {
	m := wire.IngestEvent{Type: kind, Payload: []byte(payload), StartTime: received.Unix(), EventID: id(eventID), ProjectID: 42, RemoteAddr: "10.0.0.1"}
	return consume.Record{
		Topic: topics.IngestEvents, TopicID: [16]byte{7}, Offset: offset, Key: []byte("key"), Value: m.AppendMsgpack(nil), Timestamp: received,
		Headers: append([]consume.Header{
			{Key: schemas.HeaderSchema, Value: []byte(schemas.SchemaIngestEvents)},
			{Key: schemas.HeaderProject, Value: []byte("42")},
			{Key: schemas.HeaderReceived, Value: strconv.AppendInt(nil, received.UnixNano(), 10)},
		}, more...),
	}
}

func failing(n int) string {
	return `{"timestamp":` + strconv.FormatInt(received.Unix()-700+int64(n), 10) + `,"exception":[{"type":"E` + strconv.Itoa(n%2) + `","value":"v","stacktrace":{"frames":[{"function":"f","module":"shop","in_app":true}]}}]}`
}

func batchOf(n int) []consume.Record {
	var out []consume.Record
	for i := range n {
		out = append(out, record(int64(20+i), "event", 100+i, failing(i)))
	}
	return out
}

func handle(t *testing.T, h *Events, batch ...consume.Record) []consume.DeadLetter {
	t.Helper()
	dead, err := h.Handle(context.Background(), batch)
	if err != nil {
		t.Fatal(err)
	}
	return dead
}

func (w *world) EventsOfTraces(_ context.Context, project uint64, traces []schemas.TraceID, _ int) ([]schemas.Event, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []schemas.Event
	for _, e := range w.stored {
		if e.Project == project && slices.Contains(traces, e.TraceID) {
			out = append(out, e)
		}
	}
	return out, nil
}
