// Package process is the stage between ingest-events and events: it normalises
// an event, finds its source, groups it, keeps its payload and lets its issue
// know, and then hands it on. It writes no row (see package persist) and knows no
// backend (see package exporters).
//
// Whatever step a crash comes after, a record that is read again becomes the same
// event: its id, its hashes and its coordinates do not depend on the try. Its
// payload is then kept twice, which retention takes care of; its issue is seen
// twice, which changes nothing; and it lies on events twice, under one id, by
// which all counts are.
package process

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"math"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/pipeline/ledger"
	"github.com/hoptrace/hoptrace/pipeline/normalize"
	"github.com/hoptrace/hoptrace/pipeline/persist"
	"github.com/hoptrace/hoptrace/pipeline/symbolicate"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/schemas/topics"
	"github.com/hoptrace/hoptrace/schemas/wire"
)

// Producer writes records. [kafka.Producer] is one.
type Producer interface {
	// ProduceSync returns nil once all in-sync replicas have all records.
	ProduceSync(ctx context.Context, records ...*kgo.Record) error
}

// Finder looks for events that are stored: those that repeats repeat, and those of
// traces of which OpenTelemetry tells errors.
type Finder interface {
	Event(ctx context.Context, project uint64, id schemas.EventID) (schemas.Event, error)
	EventsOfTraces(ctx context.Context, project uint64, traces []schemas.TraceID, limit int) ([]schemas.Event, error)
}

// reasonDiscarded is the outcome of events whose issue was discarded.
const reasonDiscarded = "discarded"

// Deps are what a Processor works with. Grouper, Frames and Finder may be nil.
type Deps struct {
	Nodes    exporters.Nodes
	Issues   exporters.IssueSighter
	Grouper  Grouper
	Frames   symbolicate.Frames
	Finder   Finder
	Producer Producer
}

// Config of a Processor.
type Config struct {
	Normalize normalize.Config
	// RetentionDays is told to other readers of events. Zero: not told.
	RetentionDays int
	// Workers is how many events are worked on at once. Zero means one a core.
	Workers int
}

// Incoming is an event out of a record of an ingest topic.
type Incoming struct {
	wire.IngestEvent
	ID       schemas.EventID // zero: the payload's
	Received int64           // Unix ns
	SentAt   int64           // the sender's clock, Unix ns; zero when not told
	Weight   uint32
	Category schemas.Category
	Origin   schemas.Origin // empty: an SDK of Sentry sent it
	// IssueCategory is what issues of it are; empty means "error".
	IssueCategory string
	// Seen, when it is not nil, is told which issue the event is of, once it lies on
	// topic events; of what is refused or discarded it is not called.
	Seen func(exporters.Seen)
	// Topic, Ingest and Offset are where the record lies.
	Topic  string
	Ingest schemas.Source
	Offset int64
	// Deferred is how often it was sent on because the event that it repeats was
	// not known yet. Headers are the record's, for the next time.
	Deferred int
	Key      []byte
	Value    []byte
	Headers  []kgo.RecordHeader
}

// Processor makes events of what lies on the ingest topics. Its methods are
// called by one goroutine at a time.
type Processor struct {
	cfg     Config
	deps    Deps
	metrics *Metrics
	log     *slog.Logger
	workers []*worker
	recent  *recent
	told    *told
	values  []byte // of records, used again
}

// New makes a Processor.
func New(cfg Config, deps Deps, m *Metrics, log *slog.Logger) *Processor {
	if cfg.Workers <= 0 {
		cfg.Workers = runtime.GOMAXPROCS(0)
	}
	if deps.Grouper == nil {
		deps.Grouper = DefaultGrouper()
	}
	p := &Processor{cfg: cfg, deps: deps, metrics: m, log: log, recent: newRecent(maxRecent), told: newTold(maxTold)}
	for range cfg.Workers {
		p.workers = append(p.workers, &worker{p: p, normalizer: normalize.NewNormalizer(cfg.Normalize)})
	}
	return p
}

// event is one on its way.
type event struct {
	in       *Incoming
	row      schemas.Event
	title    string
	message  string
	grouping Grouping
	doc      []byte // what is kept; of a worker's buffer
	refusal  error  // it can never become an event
	err      error  // time may heal it
	repeatOf schemas.EventID
	follows  *event // of this batch, whose payload is this one's, too
	deferred bool   // handed on, to be tried again
	dropped  bool   // counted, and goes no further
	sighting int    // -1 when it has none
}

// worker has the memory for one event at a time, and for the documents of a batch.
type worker struct {
	p          *Processor
	normalizer *normalize.Normalizer
	docs       []byte
}

// Refusal is why an event can never become one; Index is its place in the input.
type Refusal struct {
	Index int
	Err   error
}

// Process makes events of in and returns nil once they lie on the topic events.
// Refusals are for dead letters. On an error all may be tried again.
func (p *Processor) Process(ctx context.Context, in []Incoming) ([]Refusal, error) {
	if len(in) == 0 {
		return nil, nil
	}
	start := time.Now()
	events := make([]event, len(in))
	p.each(events, in, func(w *worker, e *event) { w.prepare(ctx, e) })
	for i := range events {
		if events[i].err != nil {
			return nil, events[i].err
		}
	}
	if err := p.repeats(ctx, events); err != nil {
		return nil, err
	}
	if err := p.twins(ctx, events); err != nil {
		return nil, err
	}
	p.metrics.seconds.WithLabelValues("prepare").Add(time.Since(start).Seconds())
	if err := p.keep(ctx, events); err != nil {
		return nil, err
	}
	if err := p.produce(ctx, events); err != nil {
		return nil, err
	}
	var refusals []Refusal
	for i := range events {
		if events[i].refusal != nil {
			refusals = append(refusals, Refusal{i, events[i].refusal})
		} else if events[i].sighting >= 0 && in[i].Seen != nil {
			in[i].Seen(events[i].grouping.seen)
		}
	}
	p.metrics.events.Add(float64(len(events) - len(refusals)))
	return refusals, nil
}

// each calls f for every event, on all workers. A panic comes out here, where the
// loop catches it.
func (p *Processor) each(events []event, in []Incoming, f func(*worker, *event)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	var panicked atomic.Pointer[any]
	const stretch = 4 // so that workers do not write side by side
	for _, w := range p.workers[:min(len(p.workers), (len(events)+stretch-1)/stretch)] {
		w.docs = w.docs[:0]
		wg.Go(func() {
			defer func() {
				if v := recover(); v != nil {
					panicked.CompareAndSwap(nil, &v)
				}
			}()
			for panicked.Load() == nil {
				from := int(next.Add(stretch)) - stretch
				if from >= len(events) {
					return
				}
				for i := from; i < min(from+stretch, len(events)); i++ {
					events[i].in, events[i].sighting = &in[i], -1
					f(w, &events[i])
				}
			}
		})
	}
	wg.Wait()
	if v := panicked.Load(); v != nil {
		panic(*v)
	}
}

// prepare normalises, symbolicates and groups one event, and writes its document.
func (w *worker) prepare(ctx context.Context, e *event) {
	in, p := e.in, w.p
	n := w.normalizer
	ev, err := n.Event(normalize.Input{
		Payload: in.Payload, Security: in.Type == "security", ID: in.ID,
		Received: in.Received, SentAt: in.SentAt, RemoteAddr: in.RemoteAddr,
	})
	if err != nil {
		e.refusal = refuse("undecodable", err)
		return
	}
	ev.Project, ev.Ingest, ev.IngestOffset = in.ProjectID, in.Ingest, in.Offset
	ev.Weight = max(in.Weight, 1)
	if in.Origin != "" {
		ev.Origin = in.Origin
	}
	if ev.ID == (schemas.EventID{}) {
		ev.ID = eventID(in.Ingest, in.Offset)
	}
	if in.Type == "repeat" {
		ev.Repeat = true
		e.repeatOf = ev.RepeatOf
		if e.repeatOf == (schemas.EventID{}) {
			e.refusal = refuse("repeat", fmt.Errorf("it is a repeat and does not say of which event"))
			return
		}
	} else {
		if p.deps.Frames != nil {
			if err := n.Symbolicate(ctx, p.deps.Frames, in.ProjectID); err != nil {
				e.err = err
				return
			}
		}
		if e.grouping, err = p.deps.Grouper.Group(ctx, in.ProjectID, ev); err != nil {
			e.err = fmt.Errorf("cannot group event %s of project %d: %w", ev.ID, in.ProjectID, err)
			return
		}
		e.grouping.apply(ev)
	}
	from := len(w.docs)
	w.docs = n.AppendJSON(w.docs)
	e.doc = w.docs[from:len(w.docs):len(w.docs)]
	e.row, e.title, e.message = ev.Event, ev.Title, ev.Message
}

// eventID is for an event that came without one: the same at each reading.
func eventID(source schemas.Source, offset int64) (id schemas.EventID) {
	var b [17]byte
	binary.BigEndian.PutUint64(b[:], uint64(source))
	binary.BigEndian.PutUint64(b[8:], uint64(offset)) //nolint:gosec // its bits are all that counts
	binary.BigEndian.PutUint64(id[:], xxhash.Sum64(b[:16]))
	b[16] = 1
	binary.BigEndian.PutUint64(id[8:], xxhash.Sum64(b[:]))
	return id
}

// alive tells an event that goes on.
func (e *event) alive() bool { return e.refusal == nil && !e.deferred && !e.dropped }

// keep makes payloads durable and sees issues, at once: neither needs the other.
func (p *Processor) keep(ctx context.Context, events []event) error {
	g, gctx := errgroup.WithContext(ctx)
	var refs []schemas.NodeRef
	var docs [][]byte
	var owners []int
	for i := range events {
		if e := &events[i]; e.alive() && e.row.Node == "" && e.follows == nil {
			docs, owners = append(docs, e.doc), append(owners, i)
		}
	}
	g.Go(func() (err error) {
		begun := time.Now()
		if refs, err = p.deps.Nodes.Append(gctx, docs); err != nil {
			return fmt.Errorf("cannot keep the payloads of %d events: %w", len(docs), err)
		}
		p.metrics.seconds.WithLabelValues("keep").Add(time.Since(begun).Seconds())
		return nil
	})
	g.Go(func() error {
		begun := time.Now()
		if err := p.see(gctx, events); err != nil {
			return err
		}
		p.metrics.seconds.WithLabelValues("see").Add(time.Since(begun).Seconds())
		return nil
	})
	if err := g.Wait(); err != nil {
		return err
	}
	for k, i := range owners {
		events[i].row.Node = refs[k]
	}
	for i := range events {
		if e := &events[i]; e.follows != nil {
			e.row.Node = e.follows.row.Node
		}
	}
	return nil
}

// produce hands the events on.
func (p *Processor) produce(ctx context.Context, events []event) error {
	begun := time.Now()
	records := make([]*kgo.Record, 0, len(events))
	p.values = p.values[:0]
	for i := range events {
		e := &events[i]
		switch {
		case e.deferred:
			records = append(records, again(e.in))
		case e.alive() && e.sighting >= 0:
			records = append(records, p.record(e))
		}
	}
	if len(records) == 0 {
		return nil
	}
	if err := p.deps.Producer.ProduceSync(ctx, records...); err != nil {
		p.values = nil // the client may still read of it
		return fmt.Errorf("cannot hand %d events on to topic %q: %w", len(records), topics.Events, err)
	}
	if cap(p.values) > maxKeptValues {
		p.values = nil
	}
	// What others may repeat is known once it is on its way.
	for i := range events {
		if e := &events[i]; e.alive() && e.sighting >= 0 && !e.row.Repeat {
			p.recent.add(e)
		}
	}
	p.metrics.seconds.WithLabelValues("produce").Add(time.Since(begun).Seconds())
	return nil
}

// maxKeptValues is what is kept of a batch's memory for the next.
const maxKeptValues = 64 << 20

// record is an event in the shape of topic events.
func (p *Processor) record(e *event) *kgo.Record {
	r := &e.row
	seen := &e.grouping.seen
	from := len(p.values)
	m := wire.EventsInsert{
		Event: wire.InsertedEvent{
			EventID: r.ID.String(), GroupID: uint64(r.Issue), PrimaryHash: r.Fingerprint.String(), ProjectID: r.Project,
			Datetime: time.Unix(0, r.Time).UTC().Format(time.RFC3339Nano), Message: e.message, Platform: r.Platform,
			OrganizationID: 1, Data: e.doc,
		},
		PostProcess: wire.PostProcess{IsNew: seen.IsNew, IsRegression: seen.IsRegression, GroupStates: []wire.GroupState{{ID: uint64(r.Issue), IsNew: seen.IsNew, IsRegression: seen.IsRegression}}},
	}
	if days := int64(p.cfg.RetentionDays); days > 0 {
		m.Event.RetentionDays = &days
	}
	p.values = m.AppendJSON(p.values)
	value := p.values[from:len(p.values):len(p.values)]
	source, offset := e.first()
	row := persist.AppendRow(make([]byte, 0, 1024), &persist.Row{Event: *r, Title: e.title, IsNew: seen.IsNew, IsRegression: seen.IsRegression})
	return &kgo.Record{
		Topic: topics.Events, Key: key(r), Value: value,
		Headers: []kgo.RecordHeader{
			{Key: schemas.HeaderSchema, Value: []byte(schemas.SchemaEvents)},
			{Key: schemas.HeaderProject, Value: strconv.AppendUint(nil, r.Project, 10)},
			{Key: schemas.HeaderReceived, Value: strconv.AppendInt(nil, r.Received, 10)},
			{Key: schemas.HeaderEventID, Value: []byte(m.Event.EventID)},
			{Key: schemas.HeaderCategory, Value: []byte(e.in.category())},
			{Key: schemas.HeaderFirstSource, Value: strconv.AppendUint(nil, uint64(source), 10)},
			{Key: schemas.HeaderFirstOffset, Value: strconv.AppendInt(nil, offset, 10)},
			{Key: schemas.HeaderRow, Value: row},
		},
	}
}

// first names what the event came in with. One that was made of a span or a log may
// lie on its ingest topic twice; its id tells it then.
func (e *event) first() (source schemas.Source, offset int64) {
	if e.row.Origin != schemas.OriginOTel {
		return e.in.Ingest, e.in.Offset
	}
	return ledger.PlaceOf(e.row.ID)
}

func (in *Incoming) category() schemas.Category {
	switch {
	case in.Category != "":
		return in.Category
	case in.Type == "security":
		return schemas.CategorySecurity
	}
	return schemas.CategoryError
}

// key spreads a project over the partitions and keeps an issue's order.
func key(r *schemas.Event) []byte {
	var b [24]byte
	binary.BigEndian.PutUint64(b[:], r.Project)
	copy(b[8:], r.Fingerprint[:])
	return binary.BigEndian.AppendUint64(nil, xxhash.Sum64(b[:]))
}

// weightOf reads the header of a record that stands for several events.
func weightOf(text []byte) uint32 {
	v, err := strconv.ParseUint(string(text), 10, 32)
	if err != nil {
		return 1
	}
	return uint32(min(max(v, 1), math.MaxUint32)) //nolint:gosec // of 32 bits
}
