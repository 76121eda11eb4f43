package bench

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/integration/harness"
	"github.com/hoptrace/hoptrace/integration/load"
	"github.com/hoptrace/hoptrace/internal/testevents"
	"github.com/hoptrace/hoptrace/pipeline/group"
	"github.com/hoptrace/hoptrace/pipeline/normalize"
)

const (
	// connections are the load's: each sends its next event when the last one was
	// acknowledged, as a program's SDK does.
	connections = 128
	// manyEvents is how many events are sent as fast as they are taken.
	manyEvents = 40_000
	// maxSending and maxStoring bound that.
	maxSending = 3 * time.Minute
	maxStoring = 3 * time.Minute

	visibleRate    = 300 // events a second
	visibleSeconds = 20
	visibleEvery   = 41 // each so many is looked for: of all connections

	visibleConnections = 8
)

// events is one run; see line.
type events struct {
	line
	project   string
	templates *load.EventTemplates
	sent      atomic.Int64 // acknowledged
	fresh     int64        // new errors among them
	seeds     int
}

// BenchmarkEvents runs once (-benchtime 1x), about two minutes on two cores. Events
// of 20 KB come as the Python SDK sends them, 7 of 10 repeat one of 20 errors, the
// others are each an error that never came before. The load's own CPU is not counted.
func BenchmarkEvents(b *testing.B) {
	e := &events{line: line{b: b, metrics: map[string]map[string]float64{}, from: time.Now().Add(-time.Minute)}}
	settings := map[string]string{
		// Repeats are handed on whole, however many come: what is measured is 20 KB each.
		"overload.repeats.burst": "1000000000", "overload.repeats.keep": "1000000000",
	}
	e.h = harness.StartHoptrace(b, harness.Options{Settings: profiling(settings)})
	dsn := e.h.DSN(b)
	u, err := url.Parse(dsn)
	if err != nil {
		b.Fatal(err)
	}
	e.project = strings.Trim(u.Path, "/")
	if e.templates, err = load.NewEventTemplates(dsn); err != nil {
		b.Fatal(err)
	}
	e.idle()
	e.visible()
	e.queryable()
	e.accounts()
	e.disk()
	e.group()
	e.parameterise()
	for _, name := range []string{"queryable", "visible", "group", "parameterise", "idle", "loaded", "ledger"} {
		b.Run(name, func(b *testing.B) {
			b.ReportMetric(0, "ns/op") // of an empty loop: leave it out
			for unit, v := range e.metrics[name] {
				b.ReportMetric(v, unit)
			}
		})
	}
}

// eventSender is one connection with its own events.
type eventSender struct {
	e    *events
	conn *load.EventSender
	from *load.Events
}

func (e *events) connect() *eventSender {
	e.b.Helper()
	conn, err := load.NewEventSender(e.b.Context(), strings.TrimPrefix(e.h.HTTP, "http://"))
	if err != nil {
		e.b.Fatal(err)
	}
	e.seeds++
	return &eventSender{e, conn, e.templates.Generator(uint8(e.seeds))}
}

// send sends one event until it is acknowledged: the receiver may ask to come again.
func (s *eventSender) send(ctx context.Context) (id [16]byte, waits int, err error) {
	request, id := s.from.Next(time.Now())
	for {
		wait, err := s.conn.Send(request)
		if err != nil {
			return id, waits, err
		}
		if wait == 0 {
			s.e.sent.Add(1)
			return id, waits, nil
		}
		waits++
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return id, waits, fmt.Errorf("the time to send is over, and the receiver asks to wait: %w", ctx.Err())
		}
	}
}

func (e *events) done(s *eventSender) {
	_, fresh := s.from.Made()
	e.fresh += int64(fresh) //nolint:gosec // few
	_ = s.conn.Close()
}

// visible: from the acknowledgement of an event until the API knows it, while about
// visibleRate come a second.
func (e *events) visible() {
	var mu sync.Mutex // guards took
	var took []float64
	var looking, sending sync.WaitGroup
	failed := make([]error, visibleConnections)
	start := time.Now()
	senders := make([]*eventSender, visibleConnections)
	for c := range senders {
		senders[c] = e.connect()
	}
	for c, s := range senders {
		sending.Go(func() {
			for i := c; i < visibleRate*visibleSeconds; i += visibleConnections {
				if ahead := time.Until(start.Add(time.Duration(i) * time.Second / visibleRate)); ahead > 0 {
					time.Sleep(ahead) // the rate itself
				}
				var id [16]byte
				if id, _, failed[c] = s.send(e.b.Context()); failed[c] != nil {
					return
				}
				if i%visibleEvery != 0 || i < visibleRate { // the first second warms up
					continue
				}
				acked := time.Now()
				looking.Go(func() {
					d := e.untilKnown(hex.EncodeToString(id[:]), acked)
					mu.Lock()
					defer mu.Unlock()
					took = append(took, float64(d.Microseconds())/1000)
				})
			}
		})
	}
	sending.Wait()
	if err := errors.Join(failed...); err != nil {
		e.b.Fatal(err)
	}
	e.report("visible", "events/s", visibleRate*visibleSeconds/time.Since(start).Seconds())
	looking.Wait()
	for _, s := range senders {
		e.done(s)
	}
	e.percentiles("visible", took)
}

func (e *events) untilKnown(id string, acked time.Time) time.Duration {
	for {
		var grouping struct{}
		err := e.h.Get("projects/"+e.project+"/events/"+id+"/grouping", &grouping)
		switch {
		case err == nil:
			return time.Since(acked)
		case !harness.IsStatus(err, http.StatusNotFound):
			e.b.Errorf("cannot ask for event %s: %v", id, err)
			return time.Since(acked)
		case time.Since(acked) > 30*time.Second:
			e.b.Errorf("event %s is not known 30 s after it was acknowledged", id)
			return time.Since(acked)
		}
		time.Sleep(15 * time.Millisecond)
	}
}

// stored is how many events are durable in the table that the API asks.
func (e *events) stored() int64 {
	return int64(e.h.Metrics(e.b).Sum("hoptrace_pipeline_events_stored_total"))
}

func (e *events) untilStored(want int64, within time.Duration) {
	e.b.Helper()
	for end := time.Now().Add(within); ; {
		n := e.stored()
		if n >= want {
			return
		}
		if time.Now().After(end) {
			e.b.Fatalf("%d of %d events are stored after %s", n, want, within)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// queryable: events as fast as they are taken, until all of them are in the store.
func (e *events) queryable() {
	e.untilStored(e.sent.Load(), time.Minute)
	senders := make([]*eventSender, connections)
	for i := range senders {
		senders[i] = e.connect()
	}
	ctx, cancel := context.WithTimeout(e.b.Context(), maxSending)
	defer cancel()
	peak := e.watch()
	before, engine, first := e.h.Process.Usage(e.b), e.h.Process.EngineCPU(e.b), e.sent.Load()
	profiled := e.profile(15)
	var left, waits atomic.Int64
	left.Store(manyEvents)
	failed := make([]error, connections)
	start := time.Now()
	var wg sync.WaitGroup
	for i, s := range senders {
		wg.Go(func() {
			for left.Add(-1) >= 0 && ctx.Err() == nil && failed[i] == nil {
				var n int
				_, n, failed[i] = s.send(ctx)
				waits.Add(int64(n))
			}
		})
	}
	wg.Wait()
	if err := errors.Join(failed...); err != nil {
		e.b.Fatal(err)
	}
	accepted := time.Since(start)
	profiled()
	behind := e.sent.Load() - e.stored()
	e.untilStored(e.sent.Load(), maxStoring)
	took := time.Since(start)
	after := e.h.Process.Usage(e.b)
	engine = e.h.Process.EngineCPU(e.b) - engine
	for _, s := range senders {
		e.done(s)
	}
	n := float64(e.sent.Load() - first)
	rss, anonymous := peak()
	e.report("queryable", "events", n)
	e.report("queryable", "events/s", n/took.Seconds())
	e.report("queryable", "accepted-events/s", n/accepted.Seconds())
	e.report("queryable", "behind-events", float64(behind))
	e.report("queryable", "cpu-us/event", float64((after.CPU-before.CPU).Microseconds())/n)
	e.report("queryable", "engine-cpu-us/event", float64(engine.Microseconds())/n)
	e.report("queryable", "refused", float64(waits.Load()))
	e.report("queryable", "rss-MB", rss)
	e.report("loaded", "rss-MB", rss)
	e.report("loaded", "anon-MB", anonymous)
}

// accounts asks the ledger.
func (e *events) accounts() {
	var ledger struct {
		Balanced bool   `json:"balanced"`
		Verdict  string `json:"verdict"`
		Lines    []struct {
			Category string `json:"category"`
			Received int64  `json:"received"`
			Stored   int64  `json:"stored"`
			InFlight int64  `json:"inFlight"`
		} `json:"lines"`
	}
	want := e.sent.Load()
	path := "ledger?from=" + strconv.FormatInt(e.from.UnixNano(), 10)
	harness.Until(e.b, "the ledger has all of it", time.Minute, func() error {
		if err := e.h.Get(path, &ledger); err != nil {
			return err
		}
		for _, l := range ledger.Lines {
			if l.Category == "error" && l.Stored == want && l.Received == want && l.InFlight == 0 {
				return nil
			}
		}
		return fmt.Errorf("%d events were acknowledged, the ledger has %+v", want, ledger.Lines)
	})
	balanced := 0.0
	if ledger.Balanced {
		balanced = 1
	} else {
		e.b.Errorf("the ledger does not balance: %s", ledger.Verdict)
	}
	e.report("ledger", "balanced", balanced)
	e.report("ledger", "stored-events", float64(want))
}

// disk counts what is stored behind the product's back, and the bytes.
func (e *events) disk() {
	if err := e.h.Process.Stop(time.Minute); err != nil {
		e.b.Errorf("hoptrace did not end cleanly: %v", err)
	}
	engine := harness.OpenEngine(e.b, e.h.Data)
	sent := e.sent.Load()
	stored := engine.Number("SELECT uniqExact(id) FROM events")
	e.report("queryable", "lost", float64(sent-stored))
	if stored != sent {
		e.b.Errorf("the store has %d events, %d were acknowledged", stored, sent)
	}
	e.report("queryable", "issues", float64(engine.Number("SELECT uniqExact(issue) FROM events")))
	if got, want := engine.Number("SELECT uniqExact(issue) FROM events"), e.fresh+load.KnownKinds; got != want {
		e.b.Errorf("the events are of %d issues, want %d", got, want)
	}
	n := float64(stored)
	rows := float64(engine.Number("SELECT toInt64(sum(bytes_on_disk)) FROM system.parts WHERE active AND database = 'hoptrace' AND table = 'events'"))
	nodes := float64(harness.DiskUsage(e.b, filepath.Join(e.h.Data, "blobs", "nodes")))
	issues := 0.0
	for _, name := range []string{"metadata.db", "metadata.db-wal"} {
		if info, err := os.Stat(filepath.Join(e.h.Data, name)); err == nil {
			issues += float64(info.Size())
		}
	}
	e.report("queryable", "nodes-B/event", nodes/n)
	e.report("queryable", "rows-B/event", rows/n)
	e.report("queryable", "issues-B/event", issues/n)
	e.report("queryable", "B/event", (nodes+rows+issues)/n)
}

// often calls f for about a quarter of a second, five times, and gives the median
// time of one call.
func often(f func()) time.Duration {
	took := make([]time.Duration, 5)
	for i := range took {
		start, n := time.Now(), 0
		for time.Since(start) < 250*time.Millisecond {
			f()
			n++
		}
		took[i] = time.Since(start) / time.Duration(n)
	}
	slices.Sort(took)
	return took[len(took)/2]
}

// group: grouping of the load's own event, by rules that have seen its frames
// before, and anew.
func (e *events) group() {
	normalized, err := normalize.NewNormalizer(normalize.DefaultConfig()).Event(normalize.Input{Payload: testevents.Python(1, 1), Received: time.Now().UnixNano()})
	if err != nil {
		e.b.Fatal(err)
	}
	g, err := group.New(group.Config{})
	if err != nil {
		e.b.Fatal(err)
	}
	of := func(g *group.Grouper) {
		if len(g.Of(normalized).Hashes) == 0 {
			e.b.Fatal("the event has no hash")
		}
	}
	e.report("group", "us/event", micros(often(func() { of(g) })))
	g2, err := group.New(group.Config{})
	if err != nil {
		e.b.Fatal(err)
	}
	frames := normalized.Exceptions[0].Frames
	kind := 0
	e.report("group", "new-us/event", micros(often(func() {
		kind++
		for i := range frames {
			frames[i].Function = "step_" + strconv.Itoa(i) + "_" + strconv.Itoa(kind)
		}
		of(g2)
	})))
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

// valuesText is a message full of values, as BenchmarkParameterise has it.
const valuesText = `cannot charge order 17 of ann@example.com at https://pay.example.com/v1/charge?id=4: dial tcp 10.1.2.3:9092: timeout after 1m30.5s, ` +
	`request 6f9619ff-8b86-d011-b42d-00c04fc964ff, started 2026-11-23T10:11:12.5Z, retry=true, user="ann b", ratio 1.5, at 0xc000123abc`

func (e *events) parameterise() {
	plain := strings.Repeat("cannot connect to the broker since it refused the connection of this client ", 4)
	for _, text := range []struct{ unit, s string }{{"us/100B", valuesText}, {"words-us/100B", plain}} {
		took := often(func() { group.Parameterise(text.s) })
		e.report("parameterise", text.unit, micros(took)*100/float64(len(text.s)))
	}
}
