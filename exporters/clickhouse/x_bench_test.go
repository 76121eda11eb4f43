package clickhouse

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// loaded is a store with a million spans, made by the first benchmark that
// asks, and the ids of some of its traces.
var loaded struct {
	once   sync.Once
	store  *Store
	traces []schemas.TraceID
	last   time.Time
}

const millionSpans = 1_000_000

func load(b *testing.B) (*Store, []schemas.TraceID, time.Time) {
	b.Helper()
	loaded.once.Do(func() {
		cfg := testConfig(engine(b))
		s, err := New(cfg, discard())
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Migrate(context.Background()); err != nil {
			b.Fatal(err)
		}
		w := newWorkload(1, time.Now().Add(-3*time.Hour), 30*time.Millisecond)
		for total := 0; total < millionSpans; {
			spans, rows := w.batch(20_000)
			if err := s.WriteSpans(context.Background(), spans, rows); err != nil {
				b.Fatal(err)
			}
			total += len(spans)
			loaded.traces = append(loaded.traces, spans[len(spans)/2].TraceID)
		}
		settle(b, s)
		loaded.store, loaded.last = s, time.Unix(0, w.now)
	})
	if loaded.store == nil {
		b.Fatal("the store could not be loaded")
	}
	return loaded.store, loaded.traces, loaded.last
}

// settle waits until the engine merges no parts.
func settle(b *testing.B, s *Store) {
	b.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; {
		var n proto.ColUInt64
		merges := uint64(0)
		err := s.query(context.Background(), "SELECT count() AS n FROM system.merges", nil, proto.Results{{Name: "n", Data: &n}},
			func() { merges = 0 }, func() {
				for _, v := range n {
					merges += v
				}
			})
		if err != nil {
			b.Fatal(err)
		}
		if merges == 0 {
			return
		}
		if time.Now().After(deadline) {
			b.Fatalf("the engine still merges parts")
		}
		time.Sleep(50 * time.Millisecond) // poll
	}
}

func (w *workload) batch(n int) (spans []schemas.Span, rows []schemas.Message) {
	for len(spans) < n {
		spans, rows = w.next(spans, rows)
	}
	return spans, rows
}

// BenchmarkInsert writes batches as the persist stage does. Two of three spans
// have a message row. bytes/span is what both tables take when merged.
func BenchmarkInsert(b *testing.B) {
	for _, n := range []int{20_000, 50_000} {
		b.Run(fmt.Sprintf("spans=%d", n), func(b *testing.B) {
			p := engine(b)
			s := open(b, testConfig(p))
			w := newWorkload(2, time.Now().Add(-3*time.Hour), 30*time.Millisecond)
			spans, rows := w.batch(n) // warms up
			if err := s.WriteSpans(b.Context(), spans, rows); err != nil {
				b.Fatal(err)
			}
			total := len(spans)
			var client time.Duration
			before := processCPU(b, p.PID())
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				spans, rows := w.batch(n)
				client -= ownCPU()
				b.StartTimer()
				if err := s.WriteSpans(b.Context(), spans, rows); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				client += ownCPU()
				total += len(spans)
				b.StartTimer()
			}
			b.StopTimer()
			server := processCPU(b, p.PID()) - before
			done := float64(b.N * n)
			b.ReportMetric(float64(client.Microseconds())/done, "client-µs/span")
			b.ReportMetric(float64(server.Microseconds())/done, "engine-µs/span")
			b.ReportMetric(done/b.Elapsed().Seconds(), "spans/s")
			for _, table := range tables[:2] {
				if err := s.exec(b.Context(), "OPTIMIZE TABLE "+table+" FINAL", nil); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(bytesOnDisk(b, s))/float64(total), "bytes/span")
		})
	}
}

func BenchmarkTraceByID(b *testing.B) {
	s, traces, _ := load(b)
	i := 0
	defer engineTime(b)()
	for b.Loop() {
		id := []schemas.TraceID{traces[i%len(traces)]}
		i++
		spans, err := s.Spans(b.Context(), 1, id, 1000)
		if err != nil || len(spans) != 3 {
			b.Fatalf("%d spans, %v; want 3", len(spans), err)
		}
		rows, err := s.MessagesOfTraces(b.Context(), 1, id, 1000)
		if err != nil || len(rows) != 2 {
			b.Fatalf("%d message rows, %v; want 2", len(rows), err)
		}
	}
}

func BenchmarkTopics(b *testing.B) {
	s, _, last := load(b)
	for name, r := range map[string]exporters.Range{"range=all": {}, "range=1h": {From: last.Add(-time.Hour)}} {
		b.Run(name, func(b *testing.B) {
			defer engineTime(b)()
			for b.Loop() {
				topics, err := s.Topics(b.Context(), 1, r)
				if err != nil || len(topics) != 4 {
					b.Fatalf("%d topics, %v; want 4", len(topics), err)
				}
			}
		})
	}
}

func BenchmarkFindTraces(b *testing.B) {
	s, _, _ := load(b)
	for name, q := range map[string]exporters.TraceQuery{
		"newest": {}, "service": {Service: "orders-worker"}, "topic": {Topic: "shipping", Group: "shipping-worker"}, "errors": {ErrorsOnly: true},
		"latency": {MinLatency: time.Second}, "nothing": {Service: "nobody"},
	} {
		b.Run("by="+name, func(b *testing.B) {
			q.Project = 1
			defer engineTime(b)()
			for b.Loop() {
				if _, err := s.FindTraces(b.Context(), q); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkHops(b *testing.B) {
	s, _, _ := load(b)
	for _, slowest := range []bool{false, true} {
		b.Run(fmt.Sprintf("slowest=%v", slowest), func(b *testing.B) {
			defer engineTime(b)()
			for b.Loop() {
				if hops, err := s.Hops(b.Context(), exporters.HopQuery{Project: 1, Slowest: slowest}); err != nil || len(hops) != 50 {
					b.Fatalf("%d hops, %v; want 50", len(hops), err)
				}
			}
		})
	}
}

// BenchmarkWritten asks as a pipeline that starts again does.
func BenchmarkWritten(b *testing.B) {
	s, _, _ := load(b)
	defer engineTime(b)()
	for b.Loop() {
		if _, err := s.WrittenSpans(b.Context(), newWorkload(1, time.Now(), 1).source("orders-worker"), 1250); err != nil {
			b.Fatal(err)
		}
	}
}

// engineTime reports the engine's CPU time, which other work on the machine
// changes less than the time on the wall.
func engineTime(b *testing.B) (stop func()) {
	b.Helper()
	pid := engine(b).PID()
	before := processCPU(b, pid)
	return func() {
		b.ReportMetric(float64((processCPU(b, pid)-before).Microseconds())/1000/float64(b.N), "engine-ms/op")
	}
}

func bytesOnDisk(b *testing.B, s *Store) (n uint64) {
	b.Helper()
	var size proto.ColUInt64
	err := s.query(b.Context(), "SELECT sum(bytes_on_disk) AS size FROM system.parts WHERE active AND database = currentDatabase()", nil,
		proto.Results{{Name: "size", Data: &size}}, func() { n = 0 }, func() {
			for _, v := range size {
				n += v
			}
		})
	if err != nil {
		b.Fatal(err)
	}
	return n
}

func ownCPU() time.Duration {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// processCPU reads Linux's accounts of another process.
func processCPU(b *testing.B, pid int) time.Duration {
	b.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// After the name, which may hold anything, come state and numbers.
	fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	if err1 != nil || err2 != nil {
		b.Fatal(err1, err2)
	}
	const ticks = 100 // a second, on every Linux there is
	return time.Duration(user+system) * time.Second / ticks
}

// BenchmarkInsertEvents writes batches of events as their stage does: 7 of 10 of 20
// issues, each other one of an issue of its own.
func BenchmarkInsertEvents(b *testing.B) {
	for _, n := range []int{250, 1000, 4000} {
		b.Run(fmt.Sprintf("events=%d", n), func(b *testing.B) {
			p := engine(b)
			s := open(b, testConfig(p))
			events, tallies := make([]schemas.Event, n), make([]schemas.Tally, n)
			seed := uint64(0)
			fill := func() {
				for i := range events {
					seed++
					now := time.Now().UnixNano()
					issue := seed % 20
					if seed%10 >= 7 {
						issue = 1000 + seed
					}
					e := &events[i]
					*e = schemas.Event{
						Project: 1, Issue: schemas.IssueID(issue), Time: now, Received: now, Level: "error", Platform: "python",
						Type: "CardDeclined", Value: "card of order " + strconv.FormatUint(seed, 10) + " declined", Culprit: "payments.step_21 in step_21", Transaction: "/pay",
						Release: "payments@1.4.2", Environment: "production", Server: "node-7", SDK: "sentry.python/2.68.0", SDKName: "sentry.python", Topic: "orders", Partition: int32(seed % 12),
						Offset: int64(seed), Group: "billing", UserID: strconv.FormatUint(seed%1e5, 10), HashVersion: "hoptrace:2", Origin: "sentry",
						Node: schemas.NodeRef("fwk.0123456789ab-1." + strconv.FormatUint(seed*977, 36) + ".a"), Weight: 1, Ingest: 7, IngestOffset: int64(seed), Source: 9, Position: schemas.Position{Offset: int64(seed)},
					}
					e.Tags = []schemas.Attribute{{Key: "region", Value: "eu"}, {Key: "shard", Value: strconv.FormatUint(seed%16, 10)}}
					for k := range 8 {
						v := byte(seed * 0x9e3779b97f4a7c15 >> (8 * k))
						e.ID[k], e.Fingerprint[k], e.TraceID[k], e.SpanID[k] = v, v^byte(issue), v^0x5a, v^0xa5
					}
					tallies[i] = schemas.Tally{Project: 1, Time: now, Category: schemas.CategoryError, Outcome: schemas.OutcomeStored, Quantity: 1, Source: 9, Position: schemas.Position{Offset: int64(seed)}}
				}
			}
			for what, write := range map[string]func() error{
				"rows":   func() error { return s.WriteEvents(b.Context(), events) },
				"ledger": func() error { return s.WriteTallies(b.Context(), tallies) },
			} {
				b.Run("what="+what, func(b *testing.B) {
					fill() // warms up
					if err := write(); err != nil {
						b.Fatal(err)
					}
					before := processCPU(b, p.PID())
					for b.Loop() {
						b.StopTimer()
						fill()
						b.StartTimer()
						if err := write(); err != nil {
							b.Fatal(err)
						}
					}
					b.StopTimer()
					settle(b, s)
					b.ReportMetric(float64((processCPU(b, p.PID())-before).Microseconds())/float64(b.N*n), "engine-µs/event")
				})
			}
		})
	}
}

// BenchmarkTwins looks for errors that are stored twice among a million events of half
// an hour, as the keeper does every ten seconds: where OpenTelemetry told nothing, and
// where it told a hundredth, without and with an SDK's event in the same trace.
func BenchmarkTwins(b *testing.B) {
	const n, step = 1_000_000, 20_000
	for _, of := range []struct {
		name       string
		otel, both uint64 // one in so many; zero means none
	}{{"otel=0", 0, 0}, {"otel=1%", 100, 0}, {"otel=1%/twins=0.01%", 100, 10_000}} {
		b.Run(of.name, func(b *testing.B) {
			s := open(b, testConfig(engine(b)))
			end := time.Now()
			events := make([]schemas.Event, step)
			for at := range uint64(n / step) {
				for i := range events {
					seed := at*step + uint64(i) + 1
					hash := seed * 0x9e3779b97f4a7c15
					e := &events[i]
					*e = schemas.Event{
						Project: 1 + seed%3, Issue: schemas.IssueID(hash % 500), Time: end.Add(-30 * time.Minute * time.Duration(n-seed) / n).UnixNano(), Type: "CardDeclined",
						Value: "card of order " + strconv.FormatUint(hash, 10) + " declined", Origin: schemas.OriginSentry, Source: 9, Position: schemas.Position{Offset: int64(seed)},
					}
					e.Received = e.Time
					if of.otel > 0 && seed%of.otel == 0 {
						e.Origin = schemas.OriginOTel
					}
					for k := range 8 {
						e.ID[k], e.TraceID[k] = byte(hash>>(8*k)), byte(hash>>(8*k))^0x5a
					}
					if of.both > 0 && seed%of.both == 0 { // the event before it is its twin
						twin := &events[i-3]
						twin.TraceID, twin.Value = e.TraceID, e.Value
					}
				}
				if err := s.WriteEvents(b.Context(), events); err != nil {
					b.Fatal(err)
				}
			}
			settle(b, s)
			want := 0
			if of.both > 0 {
				want = n / int(of.both)
			}
			defer engineTime(b)()
			for b.Loop() {
				twins, err := s.Twins(b.Context(), exporters.Range{From: end.Add(-30 * time.Minute), To: end.Add(time.Hour)}, exporters.MaxTwins)
				if err != nil || len(twins) != want {
					b.Fatalf("%d twins, %v; want %d", len(twins), err, want)
				}
			}
		})
	}
}
