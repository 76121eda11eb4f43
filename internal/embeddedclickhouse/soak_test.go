package embeddedclickhouse

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"
)

var (
	soakFor  = flag.Duration("soak", 3*time.Second, "how long TestSoak runs")
	soakRate = flag.Float64("soak-rate", 10, "blocks of 10,000 rows a second that TestSoak inserts; 0 is as fast as it goes")
	soakDir  = flag.String("soak-dir", "", "directory of TestSoak's data; empty is a temporary one")
)

const soakBlock = 10_000

// soakSpan is the table of the soak: spans as the exporters have them, cut
// to what makes an engine work.
const soakSpan = `CREATE TABLE spans (
	start DateTime64(9) CODEC(Delta, ZSTD(1)), trace_id FixedString(16), span_id FixedString(8),
	service LowCardinality(String), topic LowCardinality(String), part UInt16, off Int64,
	duration UInt64, backlog Nullable(UInt64),
	attrs Map(LowCardinality(String), String) CODEC(ZSTD(1)),
	INDEX by_trace trace_id TYPE bloom_filter(0.001) GRANULARITY 1
) ENGINE = MergeTree PARTITION BY toStartOfHour(start) ORDER BY (topic, start)`

// TestSoak writes blocks, reads them with aggregates and look-ups, sends
// wrong statements, cancels one in ten queries and deletes old rows; then it
// compares what is stored with what was acknowledged. Run it for longer by
//
//	go test ./internal/embeddedclickhouse -run Soak -soak=60m -soak-rate=1 -timeout 0 -v
func TestSoak(t *testing.T) {
	dir := *soakDir
	if dir == "" {
		dir = t.TempDir()
	}
	p := startProcess(t, testConfig(dir))
	setup := dial(t, p)
	run(t, setup, "DROP TABLE IF EXISTS spans")
	run(t, setup, soakSpan)

	// No deadline: a dial or query at the end would fail by it a moment before
	// the context says so.
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	defer time.AfterFunc(*soakFor, cancel).Stop()
	s := &soak{t: t, p: p, began: time.Now()}
	var wg sync.WaitGroup
	wg.Go(func() { s.write(ctx) })
	for i := range 2 {
		wg.Go(func() { s.read(ctx, uint64(i)) })
	}
	wg.Go(func() { s.delete(ctx) })
	wg.Go(func() { s.report(ctx) })
	wg.Wait()

	idle := processMemory(p.PID())
	t.Logf("at the end: %s", s.line(idle))
	// Deletes are by block, so every block is whole or gone.
	c := dial(t, p)
	if got := number(t, c, "SELECT count() AS n FROM (SELECT off, count() AS c FROM spans GROUP BY off HAVING c != 10000)"); got != 0 {
		t.Errorf("%d blocks are torn", got)
	}
	want := uint64(s.blocks.Load() - s.deleted.Load())
	if got := number(t, c, "SELECT uniqExact(off) AS n FROM spans"); got != want {
		t.Errorf("%d blocks are stored; %d were acknowledged and not deleted", got, want)
	}
	if s.blocks.Load() == 0 || s.queries.Load() == 0 || s.refused.Load() == 0 || s.cancelled.Load() == 0 {
		t.Errorf("the soak did not do all of its work: %s", s.line(idle))
	}
	if s.insertErrors.Load() != 0 || s.queryErrors.Load() != 0 || p.Restarts() != 0 {
		t.Errorf("failures: %s", s.line(idle))
	}
}

// soak counts what happened.
type soak struct {
	t     *testing.T
	p     *Process
	began time.Time

	blocks, deleted, queries, refused, cancelled atomic.Int64
	insertErrors, queryErrors                    atomic.Int64
	peakRSS, parts                               atomic.Int64
}

func (s *soak) line(m memory) string {
	return fmt.Sprintf("%v: rows %d (%.0f/s), failed inserts %d, queries %d, refused as they should %d, cancelled %d, failed queries %d, blocks deleted %d, restarts %d, "+
		"RSS %d MB (anonymous %d MB), peak %d MB, threads %d, parts %d",
		time.Since(s.began).Round(time.Second), s.blocks.Load()*soakBlock, float64(s.blocks.Load()*soakBlock)/time.Since(s.began).Seconds(), s.insertErrors.Load(),
		s.queries.Load(), s.refused.Load(), s.cancelled.Load(), s.queryErrors.Load(), s.deleted.Load(), s.p.Restarts(),
		m.rss>>20, m.anonymous>>20, s.peakRSS.Load()>>20, m.threads, s.parts.Load())
}

// soakBlocks fills the columns with one block after the other.
type soakBlocks struct {
	rng            *rand.Rand
	start          *proto.ColDateTime64
	trace          *proto.ColFixedStr16
	span           *proto.ColFixedStr8
	service, topic *proto.ColLowCardinality[string]
	part           proto.ColUInt16
	off            proto.ColInt64
	duration       proto.ColUInt64
	backlog        *proto.ColNullable[uint64]
	attrs          *proto.ColMap[string, string]
	in             proto.Input
}

func newSoakBlocks() *soakBlocks {
	b := &soakBlocks{
		rng:     rand.New(rand.NewPCG(7, 8)), //nolint:gosec // not a secret
		start:   new(proto.ColDateTime64).WithPrecision(9),
		trace:   new(proto.ColFixedStr16),
		span:    new(proto.ColFixedStr8),
		service: new(proto.ColStr).LowCardinality(),
		topic:   new(proto.ColStr).LowCardinality(),
		backlog: new(proto.ColUInt64).Nullable(),
		attrs:   proto.NewMap(new(proto.ColStr).LowCardinality(), new(proto.ColStr)),
	}
	b.in = proto.Input{
		{Name: "start", Data: b.start},
		{Name: "trace_id", Data: b.trace},
		{Name: "span_id", Data: b.span},
		{Name: "service", Data: b.service},
		{Name: "topic", Data: b.topic},
		{Name: "part", Data: &b.part},
		{Name: "off", Data: &b.off},
		{Name: "duration", Data: &b.duration},
		{Name: "backlog", Data: b.backlog},
		{Name: "attrs", Data: b.attrs},
	}
	return b
}

// soakTrace is the trace id of a row: five rows share one.
func soakTrace(block, row int64) (id [16]byte) {
	for i := range 8 {
		id[i], id[8+i] = byte(block>>(8*i)), byte(row/5>>(8*i))
	}
	return id
}

func (b *soakBlocks) fill(block int64) {
	b.in.Reset()
	now := time.Now()
	for i := range int64(soakBlock) {
		b.start.Append(now.Add(time.Duration(i) * time.Microsecond))
		b.trace.Append(soakTrace(block, i))
		var span [8]byte
		for j := range span {
			span[j] = byte(b.rng.Uint32())
		}
		b.span.Append(span)
		b.service.Append("service-" + strconv.Itoa(int(i%50)))
		b.topic.Append("topic-" + strconv.Itoa(int(i%200)))
		b.part.Append(uint16(i % 12)) //nolint:gosec // small
		b.off.Append(block)
		b.duration.Append(b.rng.Uint64N(1 << 30))
		if i%2 == 0 {
			b.backlog.Append(proto.Null[uint64]())
		} else {
			b.backlog.Append(proto.NewNullable(b.rng.Uint64N(1 << 20)))
		}
		b.attrs.Append(map[string]string{
			"messaging.system": "kafka", "order.id": strconv.FormatUint(b.rng.Uint64(), 36), "user.id": strconv.Itoa(b.rng.IntN(100000)),
			"messaging.operation": "process", "http.route": "/orders/{id}",
		})
	}
}

func (s *soak) client(ctx context.Context) *ch.Client {
	for ctx.Err() == nil {
		opt := clientOptions(s.p)
		opt.ReadTimeout = 30 * time.Second
		c, err := ch.Dial(ctx, opt)
		if err == nil {
			return c
		}
		if ctx.Err() == nil {
			s.t.Logf("dial: %v", err)
		}
	}
	return nil
}

func (s *soak) write(ctx context.Context) {
	c := s.client(ctx)
	blocks := newSoakBlocks()
	for n := int64(0); c != nil && ctx.Err() == nil; n++ {
		blocks.fill(n)
		if *soakRate > 0 {
			due := s.began.Add(time.Duration(float64(n) / *soakRate * float64(time.Second)))
			select {
			case <-time.After(time.Until(due)):
			case <-ctx.Done():
			}
		}
		one, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		err := c.Do(one, ch.Query{Body: blocks.in.Into("spans"), Input: blocks.in})
		cancel()
		if err != nil {
			s.insertErrors.Add(1)
			s.t.Logf("insert of block %d: %v", n, err)
			_ = c.Close()
			c = s.client(ctx)
			continue
		}
		s.blocks.Add(1)
	}
	if c != nil {
		_ = c.Close()
	}
}

var soakQueries = []string{
	"SELECT topic, toStartOfMinute(start) AS m, quantiles(0.5, 0.95, 0.99)(duration), count() FROM spans GROUP BY topic, m ORDER BY m LIMIT 1000",
	"SELECT service, sum(backlog), max(duration) FROM spans WHERE start > now() - 3600 GROUP BY service",
	"SELECT topic, part, start, duration FROM spans WHERE topic = 'topic-7' ORDER BY duration DESC LIMIT 20",
	"SELECT hex(trace_id), attrs FROM spans WHERE attrs['user.id'] = '4711' LIMIT 100",
	"SELECT start, trace_id, duration, attrs FROM spans ORDER BY start DESC LIMIT 50000",
}

// soakMistakes are statements that must be refused.
var soakMistakes = []string{"SELECT nope FROM spans", "SELEC", "SELECT * FROM nope", "SELECT throwIf(1)", "INSERT INTO spans VALUES ('x')", "SELECT 1 +"}

func (s *soak) read(ctx context.Context, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 9)) //nolint:gosec // not a secret
	c := s.client(ctx)
	for n := 0; c != nil && ctx.Err() == nil; n++ {
		q := ch.Query{Body: soakQueries[n%len(soakQueries)], Result: discard{}, OnResult: ignore}
		if n%3 == 1 {
			q.Body = "SELECT start, span_id FROM spans WHERE trace_id = unhex({id:String})"
			id := soakTrace(rng.Int64N(s.blocks.Load()+1), rng.Int64N(soakBlock))
			q.Parameters = ch.Parameters(map[string]any{"id": fmt.Sprintf("%x", id)})
		}
		switch n % 10 {
		case 9:
			s.cancelOne(ctx, c, q, time.Duration(rng.IntN(20))*time.Millisecond)
		case 4:
			err := c.Do(ctx, ch.Query{Body: soakMistakes[rng.IntN(len(soakMistakes))], Result: discard{}, OnResult: ignore})
			if ch.IsException(err) {
				s.refused.Add(1)
			} else if ctx.Err() == nil {
				s.queryErrors.Add(1)
				s.t.Logf("a mistake was not refused: %v", err)
			}
		default:
			if err := c.Do(ctx, q); err == nil {
				s.queries.Add(1)
			} else if ctx.Err() == nil {
				s.queryErrors.Add(1)
				s.t.Logf("%s: %v", q.Body, err)
			}
		}
		if c.IsClosed() {
			c = s.client(ctx)
		}
		if *soakRate > 0 { // as moderate as the writer
			select {
			case <-time.After(time.Duration(float64(time.Second) / (4 * *soakRate))):
			case <-ctx.Done():
			}
		}
	}
	if c != nil {
		_ = c.Close()
	}
}

func (s *soak) cancelOne(ctx context.Context, c *ch.Client, q ch.Query, after time.Duration) {
	one, cancel := context.WithTimeout(ctx, after)
	defer cancel()
	err := c.Do(one, q)
	switch {
	case err == nil:
		s.queries.Add(1)
	case errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) || one.Err() != nil:
		s.cancelled.Add(1)
	default:
		s.queryErrors.Add(1)
		s.t.Logf("cancelled: %v", err)
	}
}

// delete removes the older half of the blocks, every five minutes or a third
// of a short soak.
func (s *soak) delete(ctx context.Context) {
	tick := time.NewTicker(min(5*time.Minute, *soakFor/3))
	defer tick.Stop()
	c := s.client(ctx)
	for c != nil {
		select {
		case <-ctx.Done():
			_ = c.Close()
			return
		case <-tick.C:
		}
		below := (s.deleted.Load() + s.blocks.Load()) / 2
		one, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Minute)
		err := c.Do(one, ch.Query{Body: "DELETE FROM spans WHERE off < {n:Int64}", Parameters: ch.Parameters(map[string]any{"n": below})})
		cancel()
		if err != nil {
			s.queryErrors.Add(1)
			s.t.Logf("delete: %v", err)
			_ = c.Close()
			c = s.client(ctx)
			continue
		}
		s.deleted.Store(below)
	}
}

// report measures, and prints a line a minute.
func (s *soak) report(ctx context.Context) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	c := s.client(ctx)
	for n := 0; c != nil; n++ {
		select {
		case <-ctx.Done():
			_ = c.Close()
			return
		case <-tick.C:
		}
		m := processMemory(s.p.PID())
		s.peakRSS.Store(max(s.peakRSS.Load(), m.rss))
		if n%300 == 0 {
			var parts proto.ColUInt64
			err := c.Do(ctx, ch.Query{
				Body: "SELECT count() AS n FROM system.parts WHERE table = 'spans' AND active", Result: proto.Results{{Name: "n", Data: &parts}},
			})
			if err == nil {
				s.parts.Store(int64(parts.Row(0))) //nolint:gosec // small
			}
			if c.IsClosed() {
				c = s.client(ctx)
			}
			s.t.Log(s.line(m))
		}
	}
}

// memory is what a process holds, in bytes.
type memory struct {
	rss, anonymous int64
	threads        int
}

// processMemory reads it from /proc; all zero where there is none.
func processMemory(pid int) (m memory) {
	f, err := os.Open(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return m
	}
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(io.LimitReader(f, 1<<20))
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), ":")
		fields := strings.Fields(value)
		if len(fields) == 0 {
			continue
		}
		n, _ := strconv.ParseInt(fields[0], 10, 64)
		switch key {
		case "VmRSS":
			m.rss = n << 10
		case "RssAnon":
			m.anonymous = n << 10
		case "Threads":
			m.threads = int(n)
		}
	}
	return m
}
