// Package bench measures the whole of `hoptrace all` from outside: what it
// takes in, what that costs, and how fast it answers. No figure is a test.
package bench

import (
	"context"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/integration/harness"
	"github.com/hoptrace/hoptrace/integration/load"
)

const (
	spansPerRound = load.SpansPerRequest * load.RequestsPerRound
	senders       = 2
	// roundsPerSender make a little over a million spans.
	roundsPerSender = 1_000_000/spansPerRound/senders + 10
	// Seeds of the generators: the senders' are 1 to senders.
	visibleSeed = 100
)

// line is one run: the parts are measured in order on one data directory, and
// reported at the end, since the bytes on disk are known only then.
type line struct {
	b       *testing.B
	h       *harness.Hoptrace
	metrics map[string]map[string]float64 // by benchmark, by unit
	sent    int
	loads   []*load.Generator
	from    time.Time
}

func (l *line) report(benchmark, unit string, value float64) {
	if l.metrics[benchmark] == nil {
		l.metrics[benchmark] = map[string]float64{}
	}
	l.metrics[benchmark][unit] = value
	l.b.Logf("%s: %.4g %s", benchmark, value, unit)
}

// BenchmarkLine runs once (-benchtime 1x), about five minutes on two cores. The
// load's own CPU is not counted: only hoptrace's process and its children are.
func BenchmarkLine(b *testing.B) {
	l := &line{b: b, metrics: map[string]map[string]float64{}, from: time.Now().Add(-time.Minute)}
	l.h = harness.StartHoptrace(b, harness.Options{Settings: profiling(map[string]string{"log.level": "info"})})
	l.report("idle", "ready-ms", float64(l.h.ReadyAfter.Milliseconds()))
	l.idle()
	l.visible()
	l.queryable()
	l.traceByID()
	l.topicPercentiles()
	l.disk()
	for _, name := range []string{"queryable", "visible", "idle", "loaded", "trace-by-id", "topic-percentiles"} {
		b.Run(name, func(b *testing.B) {
			b.ReportMetric(0, "ns/op") // of an empty loop: leave it out
			for unit, v := range l.metrics[name] {
				b.ReportMetric(v, unit)
			}
		})
	}
}

const megabyte = 1e6

// idle: what it holds when nothing comes, after it has come to rest.
func (l *line) idle() {
	l.settle(time.Minute)
	u := l.h.Process.Usage(l.b)
	start := time.Now()
	time.Sleep(5 * time.Second) // the measurement itself
	after := l.h.Process.Usage(l.b)
	l.report("idle", "rss-MB", float64(after.RSS)/megabyte)
	l.report("idle", "anon-MB", float64(after.Anonymous)/megabyte)
	l.report("idle", "cpu-percent", 100*(after.CPU-u.CPU).Seconds()/time.Since(start).Seconds())
	l.report("idle", "processes", float64(after.Processes))
}

// settle waits until the product uses less than a tenth of a core.
func (l *line) settle(atMost time.Duration) {
	const every = 2 * time.Second
	before := l.h.Process.Usage(l.b).CPU
	for end := time.Now().Add(atMost); time.Now().Before(end); {
		time.Sleep(every)
		now := l.h.Process.Usage(l.b).CPU
		if (now - before).Seconds() < every.Seconds()/10 {
			return
		}
		before = now
	}
	l.b.Logf("it does not come to rest within %s", atMost)
}

// visible: from the acknowledgement of a request to its trace being answered,
// by the web API, while about a thousand spans a second come.
func (l *line) visible() {
	g, s := l.client(visibleSeed)
	defer s.Close()
	const rounds = 24
	var took []float64
	for round := range uint64(rounds) {
		var wg sync.WaitGroup
		var mu sync.Mutex
		for i, body := range g.Next(time.Now()) {
			l.send(s, body)
			acked := time.Now()
			if i != 0 && i != load.RequestsPerRound-1 {
				continue // a trace of the first and one of the last request
			}
			trace := 0
			if i != 0 {
				trace = load.TracesPerRound - 1
			}
			// The span, not the trace: each request holds parts of traces.
			traceID, spanIDs := g.TraceIDs(round)[trace], g.SpanIDs(round, trace)
			span := spanIDs[0]
			if i != 0 {
				span = spanIDs[len(spanIDs)-1]
			}
			wg.Go(func() {
				d := l.untilVisible(hex.EncodeToString(traceID[:]), hex.EncodeToString(span[:]), acked)
				mu.Lock()
				took = append(took, float64(d.Microseconds())/1000)
				mu.Unlock()
			})
		}
		wg.Wait()
		// Not in step with the pipeline's batches.
		time.Sleep(time.Duration(500+rand.IntN(1500)) * time.Millisecond)
	}
	l.percentiles("visible", took)
}

func (l *line) untilVisible(trace, span string, acked time.Time) time.Duration {
	const every = 15 * time.Millisecond
	for {
		var j harness.Journey
		err := l.h.Get("traces/"+trace, &j)
		if err == nil && slices.ContainsFunc(j.Spans, func(s harness.Span) bool { return s.SpanID == span }) {
			return time.Since(acked)
		}
		if err != nil && !harness.IsStatus(err, http.StatusNotFound) {
			l.b.Errorf("cannot ask for trace %s: %v", trace, err)
			return time.Since(acked)
		}
		if time.Since(acked) > 30*time.Second {
			l.b.Errorf("span %s of trace %s is not visible 30 s after it was acknowledged", span, trace)
			return time.Since(acked)
		}
		time.Sleep(every)
	}
}

func (l *line) percentiles(benchmark string, ms []float64) {
	slices.Sort(ms)
	at := func(p float64) float64 { return ms[min(int(p*float64(len(ms))), len(ms)-1)] }
	l.report(benchmark, "p50-ms", at(0.50))
	l.report(benchmark, "p95-ms", at(0.95))
	l.report(benchmark, "samples", float64(len(ms)))
}

func (l *line) client(seed uint8) (*load.Generator, *load.Sender) {
	l.b.Helper()
	g, err := load.NewGenerator(seed)
	if err != nil {
		l.b.Fatal(err)
	}
	s, err := load.NewSender(l.h.GRPC)
	if err != nil {
		l.b.Fatal(err)
	}
	return g, s
}

// send sends until it is acknowledged: the receiver may ask to come again.
func (l *line) send(s *load.Sender, body []byte) (retries int) {
	for {
		ctx, cancel := context.WithTimeout(l.b.Context(), 30*time.Second)
		err := s.Send(ctx, body)
		cancel()
		if err == nil {
			l.count(load.SpansPerRequest)
			return retries
		}
		if retries++; retries > 200 {
			l.b.Fatalf("a request was refused %d times: %v", retries, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

var counted atomic.Int64

func (l *line) count(n int) { counted.Add(int64(n)) }

// queryable: a million spans as fast as they are taken, until all of them are
// in the store, and what that costs with the merges that follow.
func (l *line) queryable() {
	clients := make([]*load.Sender, senders)
	for i := range clients {
		g, s := l.client(uint8(i + 1))
		defer s.Close()
		l.loads, clients[i] = append(l.loads, g), s
	}
	peak := l.watch()
	before := l.h.Process.Usage(l.b)
	start := time.Now()
	first := counted.Load()
	profiled := l.profile(8)
	var retries atomic.Int64
	var wg sync.WaitGroup
	for i, s := range clients {
		wg.Go(func() {
			for range roundsPerSender {
				for _, body := range l.loads[i].Next(time.Now()) {
					retries.Add(int64(l.send(s, body)))
				}
			}
		})
	}
	wg.Wait()
	accepted := time.Since(start)
	profiled()
	harness.WaitDrained(l.b, l.h.Kafka, 3*time.Minute, "ingest-spans")
	took := time.Since(start)
	stored := l.h.Process.Usage(l.b)
	n := float64(counted.Load() - first)
	l.settle(time.Minute)
	settled := l.h.Process.Usage(l.b)
	rss, anonymous := peak()
	l.report("queryable", "spans/s", n/took.Seconds())
	l.report("queryable", "accepted-spans/s", n/accepted.Seconds())
	l.report("queryable", "cpu-us/span", float64((stored.CPU-before.CPU).Microseconds())/n)
	l.report("queryable", "settled-cpu-us/span", float64((settled.CPU-before.CPU).Microseconds())/n)
	l.report("queryable", "refused", float64(retries.Load()))
	l.report("loaded", "rss-MB", rss)
	l.report("loaded", "anon-MB", anonymous)
	l.sent = int(counted.Load())
}

// watch samples the memory until the result is asked for, which is the most at
// one time.
func (l *line) watch() func() (rss, anonymous float64) {
	done := make(chan struct{})
	var wg sync.WaitGroup
	var rss, anonymous int64
	wg.Go(func() {
		tick := time.NewTicker(500 * time.Millisecond)
		defer tick.Stop()
		for {
			u := l.h.Process.Usage(l.b)
			rss, anonymous = max(rss, u.RSS), max(anonymous, u.Anonymous)
			select {
			case <-done:
				return
			case <-tick.C:
			}
		}
	})
	return func() (float64, float64) {
		close(done)
		wg.Wait()
		return float64(rss) / megabyte, float64(anonymous) / megabyte
	}
}

// traceByID: the journey of a trace, anywhere in a million spans.
func (l *line) traceByID() {
	var took []float64
	for i := range 220 {
		g := l.loads[rand.IntN(len(l.loads))]
		ids := g.TraceIDs(uint64(rand.IntN(roundsPerSender)))
		id := ids[rand.IntN(len(ids))]
		var j harness.Journey
		start := time.Now()
		l.h.MustGet(l.b, "traces/"+hex.EncodeToString(id[:]), &j)
		if i >= 20 { // the first ones warm up
			took = append(took, float64(time.Since(start).Microseconds())/1000)
		}
		if len(j.Spans) != 6 || len(j.Hops) != 2 {
			l.b.Errorf("trace %x has %d spans and %d hops, want 6 and 2", id, len(j.Spans), len(j.Hops))
		}
	}
	l.percentiles("trace-by-id", took)
}

// topicPercentiles: the page of the topics over all of it.
func (l *line) topicPercentiles() {
	path := "topics?from=" + strconv.FormatInt(l.from.UnixNano(), 10)
	var took []float64
	for i := range 43 {
		var topics harness.TopicList
		start := time.Now()
		l.h.MustGet(l.b, path, &topics)
		if i >= 3 {
			took = append(took, float64(time.Since(start).Microseconds())/1000)
		}
		consumed := 0
		for _, t := range topics.Topics {
			consumed += t.Consumed
		}
		if want := l.sent / 6 * 2; consumed != want {
			l.b.Errorf("the topics page counts %d consumed records, want %d", consumed, want)
			break
		}
	}
	l.percentiles("topic-percentiles", took)
}

// disk: the bytes of the tables' active parts, told by the engine itself; what
// merges left behind is deleted minutes later.
func (l *line) disk() {
	if err := l.h.Process.Stop(time.Minute); err != nil {
		l.b.Errorf("hoptrace did not end cleanly: %v", err)
	}
	folder := harness.DiskUsage(l.b, filepath.Join(l.h.Data, "clickhouse"))
	e := harness.OpenEngine(l.b, l.h.Data)
	rows := e.Number("SELECT count() FROM spans")
	if rows != int64(l.sent) {
		l.b.Errorf("the store has %d spans, %d were acknowledged", rows, l.sent)
	}
	for _, row := range e.Table("SELECT table, sum(bytes_on_disk), count() FROM system.parts WHERE active AND database = 'hoptrace' AND table IN ('spans', 'messages') GROUP BY table ORDER BY table") {
		n, err := strconv.ParseFloat(row[1], 64)
		if err != nil {
			l.b.Fatal(err)
		}
		l.report("queryable", fmt.Sprintf("%s-B/span", row[0]), n/float64(rows))
	}
	l.report("queryable", "folder-B/span", float64(folder)/float64(rows)) // with what merges left behind
	l.report("queryable", "B/span", l.metrics["queryable"]["spans-B/span"]+l.metrics["queryable"]["messages-B/span"])
}
