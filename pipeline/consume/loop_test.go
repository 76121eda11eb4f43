package consume

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/hoptrace/hoptrace/internal/embeddedkafka"
	"github.com/hoptrace/hoptrace/internal/kafka"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

// fixture is a broker with the topics "in" and "in-dlq".
type fixture struct {
	cfg Config
	cl  *kgo.Client
	adm *kadm.Client
}

func setup(t testing.TB, partitions int32) *fixture {
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
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cl.Close()
		if err := b.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	f := &fixture{cl: cl, adm: kadm.NewClient(cl)}
	f.createTopic(t, "in", partitions)
	f.createTopic(t, "in-dlq", 1)
	f.cfg = DefaultConfig()
	f.cfg.Kafka.Brokers = []string{b.Addr()}
	f.cfg.Stage, f.cfg.Group, f.cfg.Topic, f.cfg.DLQ = "test", "group", "in", "in-dlq"
	f.cfg.MaxBatchWait, f.cfg.MaxBackoff, f.cfg.SessionTimeout = 20*time.Millisecond, 200*time.Millisecond, 6*time.Second
	f.cfg.DLQMaxBytes = 128 << 10
	return f
}

func (f *fixture) createTopic(t testing.TB, name string, partitions int32) {
	t.Helper()
	if _, err := f.adm.CreateTopic(t.Context(), partitions, -1, nil, name); err != nil {
		t.Fatal(err)
	}
}

func (f *fixture) produce(t testing.TB, partition int32, values ...string) {
	t.Helper()
	rs := make([]*kgo.Record, len(values))
	for i, v := range values {
		rs[i] = &kgo.Record{Topic: "in", Partition: partition, Key: []byte("k"), Value: []byte(v), Headers: []kgo.RecordHeader{{Key: "schema", Value: []byte("test/1")}}}
	}
	if err := f.cl.ProduceSync(t.Context(), rs...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// committed is the group's offset, -1 without.
func (f *fixture) committed(t testing.TB, partition int32) int64 {
	t.Helper()
	os, err := f.adm.FetchOffsets(t.Context(), f.cfg.Group)
	if errors.Is(err, kerr.GroupIDNotFound) {
		return -1
	}
	if err != nil {
		t.Fatal(err)
	}
	if o, ok := os.Lookup("in", partition); ok {
		return o.At
	}
	return -1
}

// dead reads the whole dead-letter topic.
func (f *fixture) dead(t testing.TB) []*kgo.Record {
	t.Helper()
	ends, err := f.adm.ListEndOffsets(t.Context(), "in-dlq")
	if err != nil {
		t.Fatal(err)
	}
	end, _ := ends.Lookup("in-dlq", 0)
	if end.Offset == 0 {
		return nil
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(f.cfg.Kafka.Brokers...), kgo.ConsumeTopics("in-dlq"))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	var out []*kgo.Record
	for int64(len(out)) < end.Offset {
		fetches := cl.PollFetches(t.Context())
		if err := fetches.Err0(); err != nil {
			t.Fatal(err)
		}
		out = append(out, fetches.Records()...)
	}
	return out
}

func headers(r *kgo.Record) map[string]string {
	out := make(map[string]string)
	for _, h := range r.Headers {
		out[h.Key] = string(h.Value)
	}
	return out
}

// stage is a handler that remembers.
type stage struct {
	mu       sync.Mutex
	handled  map[string]int // value → how often it was made durable
	batches  [][]Record
	assigned []Partition
	revoked  []Partition

	// handle, when set, is asked before a batch is taken.
	handle func(batch []Record) ([]DeadLetter, error)
}

func (s *stage) Assigned(_ context.Context, ps []Partition) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.assigned = append(s.assigned, ps...)
	return nil
}

func (s *stage) Revoked(_ context.Context, ps []Partition) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revoked = append(s.revoked, ps...)
}

func (s *stage) Handle(_ context.Context, batch []Record) ([]DeadLetter, error) {
	var dead []DeadLetter
	if s.handle != nil {
		var err error
		if dead, err = s.handle(batch); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.handled == nil {
		s.handled = make(map[string]int)
	}
	for _, r := range batch {
		if !slices.ContainsFunc(dead, func(d DeadLetter) bool { return d.Record.Offset == r.Offset && d.Record.Partition == r.Partition }) {
			s.handled[string(r.Value)]++
		}
	}
	s.batches = append(s.batches, slices.Clone(batch))
	return dead, nil
}

func (s *stage) values() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.handled))
}

func (s *stage) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.handled)
}

func startLoop(t testing.TB, cfg Config, h Handler) *Loop {
	t.Helper()
	l, err := New(cfg, h, quiet, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopLoop(t, l) })
	return l
}

func stopLoop(t testing.TB, l *Loop) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := l.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

// kill ends the loop as a crash would: nothing more is handled or committed,
// and the group is left only so that the test need not wait for its session.
func kill(l *Loop) {
	l.abandon()
	l.stopPolling()
	<-l.done
}

func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !f() {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		}
	}
}

func TestOffsetsAreCommittedAfterTheBatchIsDurable(t *testing.T) {
	f := setup(t, 2)
	release := make(chan struct{})
	s := &stage{handle: func([]Record) ([]DeadLetter, error) { <-release; return nil, nil }}
	var times []BatchTimes
	f.cfg.OnBatch = func(b BatchTimes) { times = append(times, b) }
	f.produce(t, 0, "a", "b")
	f.produce(t, 1, "c")
	l := startLoop(t, f.cfg, s)
	eventually(t, "partitions are assigned", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.assigned) > 0 })
	if got := f.committed(t, 0); got != -1 {
		t.Errorf("committed %d while the batch is not durable", got)
	}
	close(release)
	eventually(t, "both partitions are committed", func() bool { return f.committed(t, 0) == 2 && f.committed(t, 1) == 1 })
	if diff := cmp.Diff([]string{"a", "b", "c"}, s.values()); diff != "" {
		t.Errorf("handled (-want +got):\n%s", diff)
	}
	eventually(t, "lag is 0", func() bool { return maps.Equal(l.Lag(), map[int32]int64{0: 0, 1: 0}) })
	stopLoop(t, l)
	id, err := kafka.NewAdmin(f.cl, quiet).TopicID(t.Context(), "in")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range s.assigned {
		if p.TopicID != id || p.CommittedOffset != -1 || p.Topic != "in" {
			t.Errorf("assigned %+v; want topic id %x and no commit", p, id)
		}
	}
	for _, r := range s.batches[0] {
		if r.TopicID != id || r.Topic != "in" || string(r.Key) != "k" || r.Timestamp.IsZero() {
			t.Errorf("record %+v; want topic id %x, a key and a timestamp", r, id)
		}
		if v, ok := r.Header("schema"); !ok || string(v) != "test/1" {
			t.Errorf("header schema = %q, %t", v, ok)
		}
	}
	if len(s.revoked) != len(s.assigned) {
		t.Errorf("%d partitions assigned but %d revoked at the end", len(s.assigned), len(s.revoked))
	}
	if len(times) == 0 || times[0].Committed.Before(times[0].Handled) || times[0].Handled.Before(times[0].Collected) || times[0].Collected.Before(times[0].Polled) {
		t.Errorf("batch times are out of order: %+v", times)
	}
}

func TestCrashBetweenHandleAndCommitDeliversAgain(t *testing.T) {
	f := setup(t, 1)
	f.produce(t, 0, "a", "b")
	var first *Loop
	crashed := make(chan struct{})
	started := make(chan struct{})
	s := &stage{}
	s.handle = func([]Record) ([]DeadLetter, error) {
		<-started
		first.abandon() // durable, but the commit will not happen
		close(crashed)
		return nil, nil
	}
	first = startLoop(t, f.cfg, s)
	close(started)
	<-crashed
	kill(first)
	if got := f.committed(t, 0); got != -1 {
		t.Fatalf("committed %d; want none", got)
	}
	stopLoop(t, first)
	s.handle = nil
	startLoop(t, f.cfg, s)
	eventually(t, "the batch is committed the second time", func() bool { return f.committed(t, 0) == 2 })
	if diff := cmp.Diff(map[string]int{"a": 2, "b": 2}, s.handled); diff != "" {
		t.Errorf("handled (-want +got):\n%s", diff)
	}
}

func TestCommittedOffsetIsToldWhenPartitionsAreAssigned(t *testing.T) {
	f := setup(t, 1)
	f.produce(t, 0, "a", "b", "c")
	s := &stage{}
	l := startLoop(t, f.cfg, s)
	eventually(t, "committed", func() bool { return f.committed(t, 0) == 3 })
	stopLoop(t, l)
	f.produce(t, 0, "d")
	again := &stage{}
	startLoop(t, f.cfg, again)
	eventually(t, "read on", func() bool { return again.count() == 1 })
	if len(again.assigned) != 1 || again.assigned[0].CommittedOffset != 3 {
		t.Errorf("assigned %+v; want committed offset 3", again.assigned)
	}
}

func TestBatchesEndAtItemsBytesAndRecords(t *testing.T) {
	f := setup(t, 1)
	var rs []*kgo.Record
	for i := range 20 {
		rs = append(rs, &kgo.Record{Topic: "in", Value: []byte(fmt.Sprintf("%04d", i)), Headers: []kgo.RecordHeader{{Key: "count", Value: []byte("10")}}})
	}
	if err := f.cl.ProduceSync(t.Context(), rs...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	run := func(group string, change func(*Config)) []int {
		cfg := f.cfg
		cfg.Group, cfg.MaxBatchWait = group, 100*time.Millisecond
		change(&cfg)
		s := &stage{}
		l := startLoop(t, cfg, s)
		eventually(t, "all is read", func() bool { return s.count() == 20 })
		stopLoop(t, l)
		var sizes []int
		next := int64(0)
		for _, b := range s.batches {
			sizes = append(sizes, len(b))
			for _, r := range b {
				if r.Offset != next {
					t.Fatalf("offset %d follows %d", r.Offset, next-1)
				}
				next++
			}
		}
		return sizes
	}
	if got := run("items", func(c *Config) { c.MaxBatchItems = 65 }); slices.Max(got) != 6 {
		t.Errorf("batches of %v records of 10 items; want at most 6 with a bound of 65 items", got)
	}
	if got := run("bytes", func(c *Config) { c.MaxBatchBytes = 40 }); slices.Max(got) != 3 { // 4 + 5 + 2 bytes each
		t.Errorf("batches of %v records of 11 bytes; want at most 3 with a bound of 40 bytes", got)
	}
	if got := run("records", func(c *Config) { c.MaxBatchRecords = 7 }); slices.Max(got) != 7 {
		t.Errorf("batches of %v records; want at most 7", got)
	}
	if got := run("small", func(c *Config) { c.MaxBatchItems = 1 }); slices.Max(got) != 1 {
		t.Errorf("batches of %v records; want single ones where each exceeds the bound", got)
	}
}

func TestFailingHandlerIsTriedAgainUntilItWorks(t *testing.T) {
	f := setup(t, 1)
	tries := 0
	s := &stage{handle: func([]Record) ([]DeadLetter, error) {
		if tries++; tries < 4 {
			return nil, errors.New("store is down")
		}
		return nil, nil
	}}
	l := startLoop(t, f.cfg, s)
	f.produce(t, 0, "a")
	eventually(t, "handled in the end", func() bool { return f.committed(t, 0) == 1 })
	if tries != 4 {
		t.Errorf("%d tries; want 4", tries)
	}
	if got := testutil.ToFloat64(l.metrics.retries.WithLabelValues("test", "in")); got != 3 {
		t.Errorf("%v retries counted; want 3", got)
	}
	if got := l.metrics.Failures(); len(got) != 1 || got[0].Kind != FailedHandling || got[0].Stage != "test" || got[0].Topic != "in" || got[0].At.IsZero() || !strings.Contains(got[0].Says, "store is down") {
		t.Errorf("failures %+v; want the last of handling", got)
	}
}

func TestShutdownFlushesWhatWasRead(t *testing.T) {
	f := setup(t, 1)
	f.cfg.MaxBatchWait = time.Minute // only shutting down ends the batch
	s := &stage{}
	l := startLoop(t, f.cfg, s)
	f.produce(t, 0, "a")
	eventually(t, "the record is polled", func() bool { l.mu.Lock(); defer l.mu.Unlock(); return l.owned[0] != nil && l.owned[0].position == 1 })
	stopLoop(t, l)
	stopLoop(t, l)
	if got := f.committed(t, 0); got != 1 || s.count() != 1 {
		t.Errorf("committed %d, handled %v; want 1 and a", got, s.values())
	}
}

func TestShutdownIsBoundedWhileTheStoreIsDown(t *testing.T) {
	f := setup(t, 1)
	entered := make(chan struct{}, 100)
	s := &stage{handle: func([]Record) ([]DeadLetter, error) {
		entered <- struct{}{}
		return nil, errors.New("store is down")
	}}
	f.cfg.MaxBackoff = 20 * time.Second
	l := startLoop(t, f.cfg, s)
	f.produce(t, 0, "a")
	for range 4 {
		<-entered
	}
	begun := time.Now()
	stopLoop(t, l)
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("shutting down took %v", took)
	}
	if got := f.committed(t, 0); got != -1 {
		t.Errorf("committed %d although nothing was handled", got)
	}
}

func TestStartNamesBrokersThatDoNotAnswer(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Stage, cfg.Group, cfg.Topic, cfg.DLQ = "s", "g", "t", "d"
	cfg.Kafka.Brokers = []string{"127.0.0.1:1"}
	l, err := New(cfg, &stage{}, quiet, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := l.Start(ctx); err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("Start = %v; want an error that names the broker", err)
	}
	stopLoop(t, l)
}

func TestConfigNamesEveryFaultAtOnce(t *testing.T) {
	_, err := New(Config{Topic: "t", DLQ: "t"}, &stage{}, quiet, nil)
	for _, want := range []string{"kafka.brokers", "Stage is empty", "Group is empty", "DLQ is the topic itself", "DLQMaxBytes", "MaxBatchItems", "MaxBatchWait", "HandleTimeout", "MaxBackoff", "SessionTimeout"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New = %v; want %q in it", err, want)
		}
	}
}

func TestRebalanceBetweenTwoLoopsLosesNoRecord(t *testing.T) {
	f := setup(t, 4)
	f.cfg.MaxBatchWait = 5 * time.Millisecond
	const n = 4000
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range n {
			r := &kgo.Record{Topic: "in", Partition: int32(i % 4), Value: []byte(strconv.Itoa(i))}
			f.cl.Produce(context.Background(), r, func(_ *kgo.Record, err error) {
				if err != nil {
					t.Error(err)
				}
			})
			if i%100 == 0 {
				_ = f.cl.Flush(context.Background())
			}
		}
		_ = f.cl.Flush(context.Background())
	}()
	s := &stage{} // one store behind all members
	failed := false
	locked := &lockedHandler{h: s}
	s.handle = func(batch []Record) ([]DeadLetter, error) {
		if len(batch) > 5 && !failed { // a try that fails in the midst of it all
			failed = true
			return nil, errors.New("once")
		}
		return nil, nil
	}
	first := startLoop(t, f.cfg, locked)
	eventually(t, "the first loop reads", func() bool { return s.count() > 50 })
	second := startLoop(t, f.cfg, locked)
	eventually(t, "the second loop has partitions", func() bool { second.mu.Lock(); defer second.mu.Unlock(); return len(second.owned) == 2 })
	<-done
	stopLoop(t, first)
	eventually(t, "all records are handled", func() bool { return s.count() == n })
	eventually(t, "all is committed", func() bool {
		var sum int64
		for p := range int32(4) {
			sum += f.committed(t, p)
		}
		return sum == n
	})
	again := 0
	for _, times := range s.handled {
		again += times - 1
	}
	t.Logf("%d records, %d of them handled twice", n, again)
}

// lockedHandler lets two loops share a handler.
type lockedHandler struct {
	mu sync.Mutex
	h  Handler
}

func (l *lockedHandler) Assigned(ctx context.Context, ps []Partition) error {
	return l.h.Assigned(ctx, ps)
}

func (l *lockedHandler) Handle(ctx context.Context, b []Record) ([]DeadLetter, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.h.Handle(ctx, b)
}

func (l *lockedHandler) Revoked(ctx context.Context, ps []Partition) { l.h.Revoked(ctx, ps) }

func TestPartitionTakenOverWhileTheStoreIsDownIsLeftToItsNewOwner(t *testing.T) {
	f := setup(t, 2)
	f.produce(t, 0, "a")
	f.produce(t, 1, "b")
	down := &stage{handle: func([]Record) ([]DeadLetter, error) { return nil, errors.New("store is down") }}
	startLoop(t, f.cfg, down)
	works := &stage{}
	startLoop(t, f.cfg, works)
	eventually(t, "the loop that works handles its share", func() bool { return works.count() >= 1 })
	if down.count() != 0 {
		t.Errorf("the loop whose store is down handled %v", down.values())
	}
}
