package embeddedkafka

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// childEnv makes the test binary a broker on the directory it names.
const childEnv = "HOPTRACE_TEST_BROKER_DIR"

func runChild() {
	cfg := testConfig(os.Getenv(childEnv))
	cfg.Listen = os.Getenv(childEnv + "_LISTEN")
	b, err := New(cfg, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err == nil {
		err = b.Start(context.Background())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("ready", b.Addr())
	_, _ = io.Copy(io.Discard, os.Stdin) // until the parent ends or kills us
	if err := b.Shutdown(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// childBroker starts a broker process and waits until it serves; stop ends it
// as SIGTERM would.
func childBroker(t testing.TB, dir, listen string) (cmd *exec.Cmd, stop func()) {
	t.Helper()
	cmd = exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), childEnv+"="+dir, childEnv+"_LISTEN="+listen)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "ready ") {
		t.Fatalf("the broker process said %q, %v", line, err)
	}
	return cmd, func() {
		_ = stdin.Close()
		_ = cmd.Wait()
	}
}

func freeAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// acked collects the values whose writes were acknowledged.
type acked struct {
	mu     sync.Mutex
	values map[string]bool
}

func (a *acked) add(v string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.values[v] = true
}

// all is what was acknowledged so far.
func (a *acked) all() map[string]bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.values)
}

func (a *acked) len() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.values)
}

func TestKilledBrokerLosesNoAcknowledgedRecordAndNoCommit(t *testing.T) {
	dir, addr := t.TempDir(), freeAddr(t)
	child, _ := childBroker(t, dir, addr)
	ack := acked{values: make(map[string]bool)}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var writers sync.WaitGroup

	writers.Add(2)
	go func() { // franz-go, many in flight
		defer writers.Done()
		cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.DefaultProduceTopic("orders"), kgo.AllowAutoTopicCreation(),
			kgo.MaxBufferedRecords(1000), kgo.ProducerLinger(time.Millisecond))
		if err != nil {
			t.Error(err)
			return
		}
		defer cl.Close()
		for i := 0; ctx.Err() == nil; i++ {
			v := "franz-" + strconv.Itoa(i)
			cl.Produce(ctx, kgo.StringRecord(v), func(_ *kgo.Record, err error) {
				if err == nil {
					ack.add(v)
				}
			})
		}
	}()
	go func() { // segmentio kafka-go, what users run
		defer writers.Done()
		transport := &kafka.Transport{}
		defer transport.CloseIdleConnections()
		w := &kafka.Writer{
			Addr: kafka.TCP(addr), Topic: "orders", AllowAutoTopicCreation: true, RequiredAcks: kafka.RequireAll,
			BatchTimeout: time.Millisecond, Transport: transport,
		}
		defer w.Close()
		for i := 0; ctx.Err() == nil; i++ {
			var batch []kafka.Message
			for j := range 20 {
				batch = append(batch, kafka.Message{Value: []byte(fmt.Sprintf("segmentio-%d-%d", i, j))})
			}
			if err := w.WriteMessages(ctx, batch...); err == nil {
				for _, m := range batch {
					ack.add(string(m.Value))
				}
			}
		}
	}()

	adm := kadmClient(t, addr)
	commit := func(at int64) {
		t.Helper()
		var o kadm.Offsets
		o.AddOffset("orders", 0, at, -1)
		if err := adm.CommitAllOffsets(t.Context(), "billing", o); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "records are acknowledged", func() bool { return ack.len() > 2000 })
	commit(1000)

	for round := range 2 { // kill while both write, start again on the same port
		before := ack.len()
		eventually(t, "more records are acknowledged", func() bool { return ack.len() > before+1000 })
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = child.Wait()
		child, _ = childBroker(t, dir, addr)
		before = ack.len()
		eventually(t, fmt.Sprintf("clients go on after kill %d", round+1), func() bool { return ack.len() > before+100 })
	}
	cancel()
	writers.Wait()
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait()
	childBroker(t, dir, addr)

	fetched, err := adm.FetchOffsets(t.Context(), "billing")
	if err != nil {
		t.Fatal(err)
	}
	if o, ok := fetched.Lookup("orders", 0); !ok || o.At != 1000 {
		t.Errorf("committed offset after three kills = %v, %v; want 1000", o.At, ok)
	}
	missing := readAll(t, addr, "orders", ack.all())
	if len(missing) > 0 {
		t.Errorf("%d of %d acknowledged records are lost, %q first", len(missing), ack.len(), missing[0])
	}
	t.Logf("%d acknowledged records, none lost", ack.len())
}

func kadmClient(t testing.TB, addr string) *kadm.Client {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.RetryTimeout(10*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return kadm.NewClient(cl)
}

// readAll reads the topic whole and returns which of want it lacks.
func readAll(t *testing.T, addr, topic string, want map[string]bool) []string {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	_, end := offsets(t, kadm.NewClient(cl), topic, 0)
	got := make(map[string]bool, len(want))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for next := int64(0); next < end; {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			t.Fatalf("at offset %d of %d: %v", next, end, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Offset != next {
				t.Fatalf("offset %d follows %d", r.Offset, next-1)
			}
			next++
			got[string(r.Value)] = true
		})
	}
	var missing []string
	for v := range want {
		if !got[v] {
			missing = append(missing, v)
		}
	}
	return missing
}

func TestRestartServesTheSameOffsets(t *testing.T) {
	dir := t.TempDir()
	b := start(t, testConfig(dir))
	cl := client(t, b, kgo.AllowAutoTopicCreation(), kgo.DefaultProduceTopic("t"))
	for i := range 100 {
		r := kgo.StringRecord("v" + strconv.Itoa(i))
		if err := cl.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if r.Offset != int64(i) {
			t.Fatalf("record %d got offset %d", i, r.Offset)
		}
	}
	stop(t, b)
	b = start(t, testConfig(dir))
	got := 0
	reader := client(t, b, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"t": {0: kgo.NewOffset().At(40)}}))
	for got < 60 {
		fetches := reader.PollFetches(t.Context())
		if err := fetches.Err0(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if want := "v" + strconv.Itoa(int(r.Offset)); string(r.Value) != want {
				t.Fatalf("offset %d holds %q; want %q", r.Offset, r.Value, want)
			}
			got++
		})
	}
	if _, end := offsets(t, kadm.NewClient(reader), "t", 0); end != 100 {
		t.Fatalf("end offset %d; want 100", end)
	}
}

func TestRetentionAppliesToEveryTopicAndNeverGivesAnOffsetTwice(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.RetentionTime, cfg.CleanerInterval = 300*time.Millisecond, 50*time.Millisecond
	b := start(t, cfg)
	cl := client(t, b, kgo.AllowAutoTopicCreation())
	adm := kadm.NewClient(cl)
	produce(t, cl, "users-own", "a", "b", "c", "d", "e")
	eventually(t, "records past retention_time are gone, but the last", func() bool {
		start, end := offsets(t, adm, "users-own", 0)
		return start == 4 && end == 5
	})
	// A user may empty a partition; its offsets go on even then, and even
	// when the process dies right after.
	var all kadm.Offsets
	all.AddOffset("users-own", 0, -1, -1)
	if _, err := adm.DeleteRecords(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	crashed := copyOf(t, cfg.Dir)
	stop(t, b)

	for _, dir := range []string{cfg.Dir, crashed} {
		cfg.Dir = dir
		b := start(t, cfg)
		cl := client(t, b)
		if start, end := offsets(t, kadm.NewClient(cl), "users-own", 0); start != 5 || end != 5 {
			t.Errorf("after a restart the emptied partition has offsets %d to %d; want 5 to 5", start, end)
		}
		r := &kgo.Record{Topic: "users-own", Value: []byte("f")}
		if err := cl.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if r.Offset != 5 {
			t.Errorf("the next record got offset %d; want 5", r.Offset)
		}
		stop(t, b)
		b = start(t, cfg)
		if _, end := offsets(t, kadm.NewClient(client(t, b)), "users-own", 0); end != 6 {
			t.Errorf("end offset after another restart %d; want 6", end)
		}
		stop(t, b)
	}
}

// copyOf copies a directory as a crash would leave it.
func copyOf(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return to
}

func TestRetentionBySizeDeletesWholeSegments(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.SegmentBytes, cfg.RetentionBytes, cfg.CleanerInterval = 64<<10, 256<<10, 50*time.Millisecond
	b := start(t, cfg)
	cl := client(t, b, kgo.AllowAutoTopicCreation(), kgo.ProducerBatchCompression(kgo.NoCompression()))
	value := strings.Repeat("x", 10<<10)
	for range 100 { // 1 MB
		produce(t, cl, "big", value)
	}
	eventually(t, "the partition is within retention_bytes", func() bool {
		segments, err := listSegments(partitionDir(b.logDir(), "big", 0))
		if err != nil {
			t.Fatal(err)
		}
		p := partition{segments: segments}
		return p.size() <= cfg.RetentionBytes+cfg.SegmentBytes
	})
	if start, end := offsets(t, kadm.NewClient(cl), "big", 0); end != 100 || end-start < 20 {
		t.Errorf("offsets %d to %d; want the last 256 KiB kept", start, end)
	}
}

func TestTotalBoundHoldsOverTopicsAndTakesTheOldest(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.SegmentBytes, cfg.MaxLogBytes, cfg.CleanerInterval = 32<<10, 512<<10, 50*time.Millisecond
	b := start(t, cfg)
	cl := client(t, b, kgo.AllowAutoTopicCreation(), kgo.ProducerBatchCompression(kgo.NoCompression()))
	value := strings.Repeat("x", 10<<10)
	for _, topic := range []string{"old", "middle", "new"} {
		for range 60 { // 600 KB each
			produce(t, cl, topic, value)
		}
	}
	eventually(t, "all topics together are within max_log_bytes", func() bool {
		var total int64
		for _, topic := range []string{"old", "middle", "new"} {
			segments, err := listSegments(partitionDir(b.logDir(), topic, 0))
			if err != nil {
				t.Fatal(err)
			}
			p := partition{segments: segments}
			total += p.size()
		}
		return total <= cfg.MaxLogBytes+3*cfg.SegmentBytes
	})
	adm := kadm.NewClient(cl)
	oldStart, _ := offsets(t, adm, "old", 0)
	newStart, _ := offsets(t, adm, "new", 0)
	if oldStart <= newStart {
		t.Errorf("old topic begins at %d, new at %d; want the oldest records to go first", oldStart, newStart)
	}
}

func TestTopicsOwnRetentionGoesFirst(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.RetentionTime, cfg.CleanerInterval = 200*time.Millisecond, 50*time.Millisecond
	b := start(t, cfg)
	keep, short := "-1", "100"
	createTopic(t, b, "kept", 1, map[string]*string{"retention.ms": &keep})
	createTopic(t, b, "short", 1, map[string]*string{"retention.ms": &short})
	createTopic(t, b, "compacted", 1, map[string]*string{"cleanup.policy": kadm.StringPtr("compact")})
	cl := client(t, b)
	for _, topic := range []string{"kept", "short", "compacted"} {
		for _, v := range []string{"1", "2", "3"} {
			r := &kgo.Record{Topic: topic, Key: []byte("k" + v), Value: []byte(v)}
			if err := cl.ProduceSync(t.Context(), r).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	adm := kadm.NewClient(cl)
	eventually(t, "the short topic is trimmed", func() bool { s, _ := offsets(t, adm, "short", 0); return s >= 2 })
	for _, topic := range []string{"kept", "compacted"} {
		if s, e := offsets(t, adm, topic, 0); s != 0 || e != 3 {
			t.Errorf("topic %s has offsets %d to %d; want 0 to 3", topic, s, e)
		}
	}
}

func TestGroupOfAKilledProcessIsJoinedAgainAtOnce(t *testing.T) {
	dir, addr := t.TempDir(), freeAddr(t)
	child, _ := childBroker(t, dir, addr)
	member := func() *kgo.Client {
		t.Helper()
		cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumerGroup("g"), kgo.ConsumeTopics("t"), kgo.AllowAutoTopicCreation())
		if err != nil {
			t.Fatal(err)
		}
		return cl
	}
	poll := func(cl *kgo.Client) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if fetches := cl.PollFetches(ctx); fetches.Err() != nil || fetches.NumRecords() == 0 {
			t.Fatalf("poll: %d records, %v", fetches.NumRecords(), fetches.Err())
		}
	}
	produceTo := func(value string) {
		t.Helper()
		cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.AllowAutoTopicCreation())
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: "t", Value: []byte(value)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	produceTo("a")
	old := member()
	poll(old)
	// Everything of the process dies at once: the broker, and the member that
	// cannot say goodbye any more.
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait()
	leave, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_ = old.LeaveGroupContext(leave)
	old.Close()
	childBroker(t, dir, addr)
	produceTo("b")
	begun := time.Now()
	again := member()
	defer again.Close()
	poll(again)
	// Not after the session of the dead member has timed out (45 s).
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("the group gave records after %v; want at once", took)
	} else {
		t.Logf("the group gave records after %v", took)
	}
}
